//! Terminals that the store does not take.

use super::bench::{Bench, Keeps, is_taken_away};
use super::store::Health;
use onsembl_protocol::fleet::FleetLimits;
use onsembl_protocol::id::CommandId;
use onsembl_protocol::wire::AgentToServer;
use onsembl_protocol::wire::payload::TerminalOpened;

#[test]
fn a_terminal_that_the_store_does_not_take_is_shown_no_longer() {
    let mut bench = Bench::new(FleetLimits::DEFAULT);
    let link = bench.join("first", Keeps::Journal("its journal"), &[]);
    let id = CommandId::of_terminal("0-0");
    let opened = TerminalOpened {
        command_id: id.clone(),
        program: "a shell".to_owned(),
        opened_at: None,
        attached: false,
    };
    bench.hear(link, AgentToServer::TerminalOpened(opened));
    assert!(bench.stage(&id).is_some(), "it is shown while the store is asked");
    bench.store_all(Health::Fails);
    assert!(is_taken_away(&bench.take_sent(), &id));
    assert_eq!(bench.stage(&id), None);
}
