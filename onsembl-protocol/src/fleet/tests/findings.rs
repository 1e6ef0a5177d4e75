//! What an agent found while it was away: kept, and confirmed once it is.

use super::kit::{AGENT, Kit, hello};
use crate::fleet::*;
use crate::id::AgentId;
use crate::model::{Cause, Confidence, Finding, PastFinding};
use crate::wire::payload::{AgentBlackBox, BlackBoxAck};
use crate::wire::{AgentToServer, ServerToAgent};
use alloc::borrow::ToOwned;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

fn told(number: u64) -> AgentToServer {
    let finding = Finding::new(Cause::NoRoute, Confidence::High);
    let (ago, lasted) = (Duration::from_secs(9), Duration::from_secs(3));
    AgentToServer::BlackBox(AgentBlackBox {
        number,
        entries: vec![PastFinding { finding, ago, lasted, times: 4 }],
    })
}

fn acks(kit: &mut Kit) -> Vec<u64> {
    let sent = core::mem::take(&mut kit.sent).into_iter();
    sent.filter_map(|message| match message {
        ServerToAgent::BlackBoxAck(BlackBoxAck { number }) => Some(number),
        _ => None,
    })
    .collect()
}

fn kept(kit: &mut Kit, number: u64, kept: Result<(), StoreFault>) {
    let agent = AgentId::new(AGENT);
    kit.feed(FleetEvent::Store(StoreAnswer::FindingsKept { agent, number, kept }));
}

#[test]
fn it_is_confirmed_when_it_is_stored_and_never_before() {
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    kit.hello(1, hello("i", "h", &[]));
    kit.say(told(7));
    let [record] = kit.findings.as_slice() else { panic!("{:?}", kit.findings) };
    assert_eq!((record.number, record.agent.as_str(), record.told.len()), (7, AGENT, 1));
    assert!(record.instance.is_some());
    assert_eq!(acks(&mut kit), [0; 0]);
    // What comes before the store has answered is dropped: the agent tells it again.
    kit.say(told(8));
    assert_eq!(kit.findings.len(), 1);
    kept(&mut kit, 7, Ok(()));
    assert_eq!(acks(&mut kit), [7]);
    kit.say(told(8));
    kept(&mut kit, 8, Err(StoreFault::Unavailable("it is busy".to_owned())));
    assert_eq!(acks(&mut kit), [0; 0], "it is not stored");
    kit.say(told(8));
    kept(&mut kit, 8, Err(StoreFault::Refused("no such agent".to_owned())));
    assert_eq!(acks(&mut kit), [8], "it would be refused for ever");
}
