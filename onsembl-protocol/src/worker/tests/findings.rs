//! What was found while the agent was away: handed over once a session, until it is confirmed.

use super::*;
use crate::model::{Cause, Feature, Finding};
use crate::wire::payload::{AgentBlackBox, BlackBoxAck};

fn found(cause: Cause) -> WorkerEvent {
    let finding = Finding::new(cause, crate::model::Confidence::High);
    WorkerEvent::Found { finding, lasted: Duration::ZERO }
}

fn told(worker: &mut Worker, now: Now) -> Option<AgentBlackBox> {
    sent(worker, now).into_iter().find_map(|message| match message {
        AgentToServer::BlackBox(told) => Some(told),
        _ => None,
    })
}

fn causes(told: &AgentBlackBox) -> Vec<Cause> {
    told.entries.iter().map(|told| told.finding.cause).collect()
}

fn confirmed(told: &AgentBlackBox) -> WorkerEvent {
    message(ServerToAgent::BlackBoxAck(BlackBoxAck { number: told.number }))
}

#[test]
fn what_was_found_is_told_in_the_next_session_until_it_is_confirmed() {
    let mut worker = worker(config());
    worker.handle(WorkerEvent::Joined(session()), at(0));
    assert_eq!(told(&mut worker, at(0)), None);
    worker.handle(WorkerEvent::SessionEnded, at(10));
    worker.handle(found(Cause::NetworkCut), at(10));
    worker.handle(found(Cause::NameResolution), at(12));
    worker.handle(found(Cause::NameResolution), at(20));
    assert_eq!(worker.findings(at(20)).len(), 2);
    worker.handle(WorkerEvent::Joined(session()), at(30));
    let first = told(&mut worker, at(30)).expect("there is something to tell");
    assert_eq!(causes(&first), [Cause::NetworkCut, Cause::NameResolution]);
    let ages: Vec<_> = first.entries.iter().map(|told| (told.ago.as_secs(), told.times)).collect();
    assert_eq!(ages, [(20, 1), (18, 2)]);
    worker.handle(WorkerEvent::SessionEnded, at(40));
    worker.handle(WorkerEvent::Joined(session()), at(50));
    let again = told(&mut worker, at(50)).expect("nobody confirmed it");
    assert_eq!((again.number, causes(&again)), (first.number, causes(&first)));
    let before = worker.findings_changed();
    worker.handle(confirmed(&again), at(51));
    assert!(worker.findings(at(51)).is_empty() && worker.findings_changed() != before);
    worker.handle(WorkerEvent::SessionEnded, at(60));
    worker.handle(WorkerEvent::Joined(session()), at(61));
    assert_eq!(told(&mut worker, at(61)), None);
}

#[test]
fn a_server_that_keeps_nothing_is_told_nothing() {
    let features: Vec<_> =
        SERVER_FEATURES.iter().filter(|f| **f != Feature::BlackBox).cloned().collect();
    let capabilities = Capabilities::negotiate(AGENT_FEATURES, &features, Dialect::Extended);
    let mut worker = worker(config());
    worker.handle(found(Cause::NoRoute), at(0));
    worker.handle(WorkerEvent::Joined(WorkerSession { capabilities, ..session() }), at(5));
    assert_eq!(told(&mut worker, at(5)), None);
    assert!(worker.findings(at(5)).is_empty());
}

#[test]
fn a_clock_that_was_set_while_it_was_away_is_told_too() {
    let mut worker = worker(config());
    let set = |seconds: u64, by_days: i64| {
        let now = at(seconds);
        let wall = now.wall.unix_millis() + by_days * 86_400_000;
        Now { wall: crate::time::WallTime::from_unix_millis(wall), ..now }
    };
    worker.handle(found(Cause::Tls), set(10, 400));
    worker.handle(WorkerEvent::Joined(session()), set(20, 400));
    let told = told(&mut worker, set(20, 400)).unwrap();
    assert_eq!(causes(&told), [Cause::ClockJump, Cause::Tls]);
}

#[test]
fn another_address_of_the_next_link_is_told_with_when_the_one_before_ended() {
    let mut worker = worker(config());
    let opened = |address: &str| WorkerEvent::LinkOpened(Some(address.parse().unwrap()));
    worker.handle(opened("192.168.1.7"), at(0));
    worker.handle(WorkerEvent::Joined(session()), at(1));
    assert_eq!(told(&mut worker, at(1)), None, "the first network is no change");
    worker.handle(WorkerEvent::LinkEnded, at(100));
    worker.handle(WorkerEvent::SessionEnded, at(100));
    worker.handle(opened("10.0.0.3"), at(130));
    worker.handle(WorkerEvent::Joined(session()), at(131));
    let told = told(&mut worker, at(131)).expect("it moved");
    assert_eq!(causes(&told), [Cause::NetworkChanged]);
    let entry = &told.entries[0];
    assert_eq!(entry.ago.as_secs(), 31, "when the link before ended");
    assert_eq!(entry.finding.evidence.text("address_now"), Some("10.0.0.3"));
}

#[test]
fn what_an_earlier_process_left_is_told_first_and_as_old_as_it_is() {
    let finding = Finding::new(Cause::NoRoute, crate::model::Confidence::High);
    let (ago, lasted) = (Duration::from_secs(30), Duration::from_secs(10));
    let recovered = Recovered {
        findings: vec![PastFinding { finding, ago, lasted, times: 4 }],
        findings_ago: Duration::from_secs(100),
        ..Recovered::default()
    };
    let mut worker = Worker::new(config(), recovered, at(0));
    worker.handle(found(Cause::AgentKilled), at(0));
    worker.handle(WorkerEvent::Joined(session()), at(5));
    let told = told(&mut worker, at(5)).expect("there is something to tell");
    assert_eq!(causes(&told), [Cause::NoRoute, Cause::AgentKilled]);
    assert_eq!((told.entries[0].ago.as_secs(), told.entries[0].times), (135, 4));
}

#[test]
fn a_process_that_was_suspended_says_so() {
    let mut worker = worker(config());
    worker.handle(WorkerEvent::Overslept(Duration::from_secs(90)), at(100));
    let findings = worker.findings(at(100));
    let [stalled] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!(stalled.finding, Finding::new(Cause::AgentStalled, crate::model::Confidence::High));
    assert_eq!(stalled.lasted, Duration::from_secs(90));
}
