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
