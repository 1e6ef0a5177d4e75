//! Terminals that the store does not take, or of which it has an end that nobody waited for.

use super::bench::{Bench, Keeps, is_taken_away, written};
use super::server::Sent;
use super::store::Health;
use onsembl_protocol::fleet::{FleetLimits, Write};
use onsembl_protocol::id::{ByteOffset, CommandId, Incarnation};
use onsembl_protocol::model::TerminalSize;
use onsembl_protocol::wire::AgentToServer;
use onsembl_protocol::wire::payload::{TerminalOpened, TerminalSized};

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

fn sized(id: &CommandId, offset: u64) -> AgentToServer {
    AgentToServer::TerminalSize(TerminalSized {
        command_id: id.clone(),
        agent_id: None,
        incarnation: Incarnation(1),
        offset: ByteOffset(offset),
        size: TerminalSize::DEFAULT,
    })
}

#[test]
fn sizes_of_open_terminals_are_stored_and_no_more_than_a_bound_of_them() {
    let mut bench = Bench::new(FleetLimits::DEFAULT);
    let link = bench.join("first", Keeps::Journal("its journal"), &[]);
    let id = CommandId::of_terminal("0-0");
    let stored = |bench: &mut Bench| {
        let is_size = |sent: &Sent| matches!(sent, Sent::Write(Write::TerminalSize { .. }));
        bench.take_sent().iter().filter(|sent| is_size(sent)).count()
    };
    bench.hear(link, sized(&id, 0));
    assert_eq!(stored(&mut bench), 0, "there is no such terminal");
    bench.hear(link, opened(&id));
    bench.calm();
    for offset in 0..1000 {
        bench.hear(link, sized(&id, offset));
    }
    assert_eq!(stored(&mut bench), 256);
    bench.hear(link, sized(&id, 255));
    assert_eq!(stored(&mut bench), 0, "it is known");
    bench.pass(std::time::Duration::from_secs(10));
    bench.hear(link, sized(&id, 2000));
    assert_eq!(stored(&mut bench), 1);
    let of_user = CommandId::new("c");
    bench.command(&of_user);
    bench.hear(link, sized(&of_user, 0));
    assert_eq!(stored(&mut bench), 0, "a command of a user is no terminal");
}
