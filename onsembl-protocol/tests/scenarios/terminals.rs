//! Terminals that the store does not take, or of which it has an end that nobody waited for.

use super::bench::{Bench, Keeps, is_taken_away, written};
use super::store::Health;
use onsembl_protocol::fleet::FleetLimits;
use onsembl_protocol::id::CommandId;
use onsembl_protocol::wire::AgentToServer;
use onsembl_protocol::wire::payload::TerminalOpened;

fn opened(id: &CommandId) -> AgentToServer {
    AgentToServer::TerminalOpened(TerminalOpened {
        command_id: id.clone(),
        program: "a shell".to_owned(),
        opened_at: None,
        attached: false,
        size: None,
    })
}

#[test]
fn a_terminal_that_the_store_does_not_take_is_shown_no_longer() {
    let mut bench = Bench::new(FleetLimits::DEFAULT);
    let link = bench.join("first", Keeps::Journal("its journal"), &[]);
    let id = CommandId::of_terminal("0-0");
    bench.hear(link, opened(&id));
    assert!(bench.stage(&id).is_some(), "it is shown while the store is asked");
    bench.store_all(Health::Fails);
    assert!(is_taken_away(&bench.take_sent(), &id));
    assert_eq!(bench.stage(&id), None);
}

#[test]
fn nothing_is_stored_behind_the_end_of_a_terminal_that_was_given_up_and_forgotten() {
    let mut limits = FleetLimits::DEFAULT;
    (limits.terminals_of_agent, limits.ended_commands) = (1, 0);
    let mut bench = Bench::new(limits);
    let link = bench.join("first", Keeps::Journal("its journal"), &[]);
    let (given_up, next) = (CommandId::of_terminal("0-0"), CommandId::of_terminal("0-1"));
    for id in [&given_up, &next] {
        bench.hear(link, opened(id));
        bench.calm();
    }
    assert_eq!(bench.stage(&given_up), None, "it is over, and not kept for readers");
    // Its agent did not hear that.
    bench.cut(link);
    let link = bench.join("first", Keeps::Journal("its journal"), &[]);
    bench.hear(link, opened(&given_up));
    bench.calm();
    let _ = bench.taken_output();
    bench.hear(link, written(&given_up, 1, 10));
    bench.calm();
    assert_eq!(bench.taken_output(), []);
}
