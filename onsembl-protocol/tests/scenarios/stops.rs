//! Commands that are on their way when their agent is stopped.

use super::bench::{Bench, Keeps, is_sent};
use onsembl_protocol::fleet::{FleetLimits, Request};
use onsembl_protocol::id::CommandId;
use onsembl_protocol::model::StopScope;
use std::time::Duration;

#[test]
fn what_may_have_reached_a_stopped_agent_is_not_said_never_to_have_started() {
    let mut bench = Bench::new(FleetLimits::DEFAULT);
    let _link = bench.join("first", Keeps::Journal("its journal"), &[]);
    let id = CommandId::new("c-00");
    bench.command(&id);
    assert!(is_sent(&bench.take_sent(), &id));
    let scope = StopScope::Agent(bench.agent());
    bench.request(Request::Stop { scope, reason: "enough".to_owned() });
    bench.calm();
    // Long enough for a second sending, and short enough that its agent is not taken for dead.
    bench.pass(Duration::from_secs(40));
    assert!(!is_sent(&bench.take_sent(), &id), "nothing is sent to a stopped agent");
    let stage = bench.stage(&id).expect("it is not over");
    assert!(!stage.is_final(), "its agent has not said what became of it, and it is {stage:?}");
}

#[test]
fn a_stop_for_an_agent_ends_with_the_agent() {
    let mut bench = Bench::new(FleetLimits::DEFAULT);
    let _link = bench.join("first", Keeps::Nothing, &[]);
    let agent = bench.agent();
    bench.request(Request::Stop {
        scope: StopScope::Agent(agent.clone()),
        reason: "enough".to_owned(),
    });
    bench.calm();
    assert_eq!(bench.server.fleet.size().stops, 1);
    bench.request(Request::DeleteAgent(agent));
    bench.calm();
    assert_eq!(bench.server.fleet.size().stops, 0);
    bench.restart();
    assert_eq!(bench.server.fleet.size().stops, 0, "nor does it come back");
}

#[test]
fn stops_without_end_ask_a_store_that_does_not_answer_no_more_than_the_bound() {
    let mut bench = Bench::new(FleetLimits::DEFAULT);
    let _link = bench.join("first", Keeps::Nothing, &[]);
    for _ in 0..2000 {
        bench.request(Request::Stop { scope: StopScope::All, reason: "enough".to_owned() });
        bench.request(Request::Release(StopScope::All));
        bench.request(Request::DeleteAgent(bench.agent()));
    }
    let asked = bench.server.questions();
    let limits = FleetLimits::DEFAULT;
    let most = 4 * limits.waiting_stops + limits.deletions;
    assert!(asked <= most, "{asked} questions wait for the store, of at most {most}");
}
