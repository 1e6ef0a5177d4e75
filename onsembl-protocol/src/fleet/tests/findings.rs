//! What an agent found while it was away: kept, and confirmed once it is.

use super::kit::{AGENT, Kit, hello};
use crate::fleet::*;
use crate::id::AgentId;
use crate::model::{Cause, Confidence, Evidence, Finding, PastFinding};
use crate::session::DialFault;
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

fn with_dials(fault: &str, cause: Cause, said: &str) -> PastFinding {
    let evidence = Evidence::NONE.with("fault", fault).with("said", said);
    let finding = Finding::new(cause, Confidence::High).on(evidence);
    PastFinding { finding, ago: Duration::from_secs(9), lasted: Duration::from_secs(3), times: 7 }
}

fn dials(kit: &mut Kit) -> Vec<(DialFault, u32)> {
    let notes = core::mem::take(&mut kit.notes).into_iter();
    notes
        .filter_map(|note| match note {
            FleetNote::DialsFailed { fault, times, .. } => Some((fault, times)),
            _ => None,
        })
        .collect()
}

#[test]
fn dials_that_failed_are_counted_by_their_fault_once_they_are_stored() {
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    kit.hello(1, hello("i", "h", &[]));
    let entries = vec![
        with_dials("name-unknown", Cause::NameResolution, "no such host"),
        with_dials("of a later version", Cause::NameResolution, ""),
        // No agent of ours calls it so.
        with_dials("no-route", Cause::AgentSlept, ""),
    ];
    let told = || AgentToServer::BlackBox(AgentBlackBox { number: 1, entries: entries.clone() });
    kit.say(told());
    assert_eq!(dials(&mut kit), []);
    kept(&mut kit, 1, Err(StoreFault::Unavailable("it is busy".to_owned())));
    assert_eq!(dials(&mut kit), [], "it is told again");
    kit.say(told());
    kept(&mut kit, 1, Ok(()));
    assert_eq!(dials(&mut kit), [(DialFault::NameUnknown, 7)]);
}

#[test]
fn of_findings_that_are_too_long_the_evidence_is_left_out_and_the_rest_is_kept() {
    let mut kit = Kit::new(FleetLimits::DEFAULT);
    kit.hello(1, hello("i", "h", &[]));
    let long = "x".repeat(256);
    let entries = |count| vec![with_dials("name-unknown", Cause::NameResolution, &long); count];
    kit.say(AgentToServer::BlackBox(AgentBlackBox { number: 1, entries: entries(3) }));
    assert_eq!(kit.findings[0].told, entries(3));
    kept(&mut kit, 1, Ok(()));
    let cut: Vec<PastFinding> = {
        let evidence = "\u{1}".repeat(256);
        vec![with_dials("name-unknown", Cause::NameResolution, &evidence); 32]
    };
    kit.say(AgentToServer::BlackBox(AgentBlackBox { number: 2, entries: cut.clone() }));
    let told = &kit.findings[1].told;
    assert_eq!(told.len(), 32);
    assert!(told.iter().all(|told| told.finding.evidence.is_empty() && told.times == 7));
    let _ = dials(&mut kit);
    kept(&mut kit, 2, Ok(()));
    assert_eq!(dials(&mut kit).len(), 32, "what is not kept of it counts anyway");
}

fn slept(confidence: Confidence) -> AgentToServer {
    let finding = Finding::new(Cause::AgentSlept, confidence);
    let (ago, lasted) = (Duration::from_secs(60), Duration::from_secs(50));
    let entries = vec![PastFinding { finding, ago, lasted, times: 1 }];
    AgentToServer::BlackBox(AgentBlackBox { number: 1, entries })
}

#[test]
fn a_sleep_that_is_proven_is_shown_and_one_that_is_guessed_is_not() {
    for (confidence, is_shown) in [(Confidence::Medium, false), (Confidence::High, true)] {
        let mut kit = Kit::new(FleetLimits::DEFAULT);
        kit.hello(1, hello("i", "h", &[]));
        kit.say(slept(confidence));
        let shown = kit.view.agents().get(&AgentId::new(AGENT)).and_then(|view| view.slept);
        let lasted = shown.map(|slept| slept.until.unix_millis() - slept.from.unix_millis());
        assert_eq!(lasted, is_shown.then_some(50_000), "{confidence:?}");
    }
}
