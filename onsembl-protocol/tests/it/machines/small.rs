//! The small machines: the link that owes a hello, the patience with nonsense, the dashboard link.

use crate::support::{ms, now, secs};
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::limits::Limits;
use onsembl_protocol::session::{
    DashboardAction, DashboardConnection, DashboardEvent, Greeting, GreetingEvent, GreetingVerdict,
    UndecodableQuota,
};
use onsembl_protocol::time::Deadline;
use std::time::Duration;

const CLOSED: GreetingVerdict = GreetingVerdict::Close(CloseCause::HelloTimeout);

#[test]
fn a_link_that_says_hello_is_identified_and_one_that_does_not_is_closed() {
    let mut greeting = Greeting::new(now(secs(1)));
    assert_eq!(greeting.deadline(), Deadline::At(now(secs(11)).monotonic));
    assert_eq!(greeting.handle(GreetingEvent::Wake, now(ms(10_999))), GreetingVerdict::Wait);
    let mut silent = greeting;
    assert_eq!(silent.handle(GreetingEvent::Wake, now(secs(11))), CLOSED);
    assert_eq!(silent.handle(GreetingEvent::Other, now(secs(12))), CLOSED);
    assert_eq!(greeting.handle(GreetingEvent::Hello, now(ms(10_999))), GreetingVerdict::Identify);
}

#[test]
fn a_hello_that_this_side_sees_late_is_still_one() {
    let mut greeting = Greeting::new(now(secs(1)));
    assert_eq!(greeting.handle(GreetingEvent::Hello, now(secs(60))), GreetingVerdict::Identify);
}

#[test]
fn a_link_may_send_sixty_four_other_frames_first() {
    let mut greeting = Greeting::new(now(secs(1)));
    for _ in 0..64 {
        assert_eq!(greeting.handle(GreetingEvent::Other, now(secs(2))), GreetingVerdict::Wait);
    }
    let mut patient = greeting;
    assert_eq!(patient.handle(GreetingEvent::Hello, now(secs(2))), GreetingVerdict::Identify);
    assert_eq!(greeting.handle(GreetingEvent::Other, now(secs(2))), CLOSED);
}

#[test]
fn twenty_undecodable_messages_a_minute_are_borne() {
    let limits = Limits::DEFAULT;
    let mut quota = UndecodableQuota::new();
    let at = |n| now(secs(1000) + n).monotonic;
    for n in 0..20u64 {
        assert!(quota.allow(&limits, at(ms(n))), "{n}");
    }
    assert!(!quota.allow(&limits, at(ms(59_999))));
    assert!(quota.allow(&limits, at(secs(60))), "a new minute");
    // One every four seconds can go on for ever.
    let mut slow = UndecodableQuota::new();
    assert!((0..1000).all(|n| slow.allow(&limits, at(secs(4 * n)))));
}

/// What an obedient driver does for a dashboard that speaks each `every`, until `end`.
fn dashboard(every: Option<Duration>, end: Duration) -> Vec<(Duration, DashboardAction)> {
    let mut machine = DashboardConnection::new(now(Duration::ZERO));
    let mut log = Vec::new();
    let mut speaks = every;
    loop {
        let Deadline::At(due) = machine.deadline() else { return log };
        let due = due.since_origin();
        let (at, event) = match speaks {
            Some(next) if next <= due => {
                speaks = every.map(|e| next + e);
                (next, DashboardEvent::Received)
            }
            _ => (due, DashboardEvent::Wake),
        };
        if at > end {
            return log;
        }
        log.extend(machine.handle(event, now(at)).actions.into_iter().map(|a| (at, a)));
    }
}

#[test]
fn a_dashboard_gets_a_ping_every_twenty_seconds_and_a_refresh_every_thirty() {
    use DashboardAction::{Refresh, SendPing};
    let log = dashboard(Some(secs(25)), secs(60));
    let expected = [
        (secs(20), SendPing),
        (secs(30), Refresh),
        (secs(40), SendPing),
        (secs(60), SendPing),
        (secs(60), Refresh),
    ];
    assert_eq!(log, expected);
}

#[test]
fn a_silent_dashboard_is_closed_and_a_speaking_one_is_not() {
    let closed = DashboardAction::Close(CloseCause::Silent);
    let silent = dashboard(None, secs(3600));
    assert_eq!(silent.last(), Some(&(secs(90), closed)));
    let speaking = dashboard(Some(secs(30)), secs(24 * 3600));
    assert!(speaking.iter().all(|(_, action)| *action != closed));
}

#[test]
fn a_server_that_was_frozen_closes_no_dashboard() {
    let mut machine = DashboardConnection::new(now(secs(1)));
    let step = machine.handle(DashboardEvent::Wake, now(secs(600)));
    assert!(step.actions.iter().all(|a| !matches!(a, DashboardAction::Close(_))));
    let pings = step.actions.iter().filter(|a| *a == DashboardAction::SendPing).count();
    assert_eq!(pings, 1, "no burst of missed ones");
}
