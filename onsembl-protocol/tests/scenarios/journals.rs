//! Which journal an agent keeps, and what a server that dies in between believes of it.

use super::bench::{Bench, Keeps, is_sent};
use super::store::Health;
use onsembl_protocol::fleet::{CommandStage, FleetLimits};
use onsembl_protocol::id::CommandId;
use std::time::Duration;

#[test]
fn a_journal_is_stored_behind_the_ends_that_the_return_of_its_agent_decided() {
    let mut bench = Bench::new(FleetLimits::DEFAULT);
    let link = bench.join("first", Keeps::Nothing, &[]);
    let id = CommandId::new("c-00");
    bench.command(&id);
    bench.cut(link);
    bench.calm();
    // Another process of it, with a journal that it did not keep before: whether the command ran is unknown.
    let _ = bench.hello("second", Keeps::Journal("its journal"), &[]);
    bench.server.answer(0, &mut bench.store, Health::Works, bench.at);
    bench.store_all(Health::Fails);
    assert_eq!(bench.stage(&id), Some(CommandStage::Unknown));
    let agent = bench.agent();
    assert_eq!(bench.store.agents[&agent].journal, None, "the end of the command is not stored");
    bench.pass(Duration::from_secs(11));
    assert!(bench.store.commands[&id].ended_at.is_some(), "the end is written again");
    assert!(bench.store.agents[&agent].journal.is_some(), "and the journal behind it");
}

#[test]
fn the_process_of_the_last_session_does_not_prove_what_the_session_before_decided() {
    let mut bench = Bench::new(FleetLimits::DEFAULT);
    let link = bench.join("first", Keeps::Journal("the first"), &[]);
    let id = CommandId::new("c-00");
    bench.command(&id);
    assert!(is_sent(&bench.take_sent(), &id));
    bench.cut(link);
    bench.calm();
    // The journal is lost, and with it what the first process did. The server dies before it stores that.
    let _ = bench.hello("second", Keeps::Journal("the second"), &[]);
    bench.server.answer(0, &mut bench.store, Health::Works, bench.at);
    assert_eq!(bench.stage(&id), Some(CommandStage::Unknown));
    bench.restart();
    let _ = bench.hello("second", Keeps::Journal("the second"), &[]);
    bench.calm();
    assert_eq!(bench.stage(&id), Some(CommandStage::Unknown));
    assert!(!is_sent(&bench.take_sent(), &id), "it may have run");
}
