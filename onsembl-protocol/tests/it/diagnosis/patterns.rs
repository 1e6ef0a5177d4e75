//! What drops have in common: of one agent over time, of many at once, and with a sleep that is proven later.

use crate::support::{EPOCH_MS, secs};
use onsembl_protocol::diagnosis::{
    Availability, Cause, Condition, Confidence, DropRecord, Fall, Finding, Logged, OwnFault,
    PastDrop, PastFinding, Process, Return, SinceThen, Sleep, Ways, incidents, pattern, timeline,
};
use onsembl_protocol::session::{Dialect, PresenceCause, PresenceStatus};
use onsembl_protocol::time::WallTime;
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::Duration;

fn at(secs: i64) -> WallTime {
    WallTime::from_unix_millis(EPOCH_MS + secs * 1000)
}

/// Links that were cut, each after this many milliseconds of silence, at this age.
fn cut(idle: &[u64], lived: &[u64]) -> Vec<PastDrop> {
    let drop = |(n, (idle, lived)): (usize, (&u64, &u64))| PastDrop {
        at: at(n as i64 * 600),
        cause: Cause::NetworkCut,
        confidence: Confidence::High,
        lived: Duration::from_millis(*lived),
        idle: Duration::from_millis(*idle),
    };
    idle.iter().zip(lived).enumerate().map(drop).collect()
}

fn word(found: Option<Finding>) -> Option<(Cause, Confidence, String)> {
    found.map(|found| (found.cause, found.confidence, found.evidence.to_string()))
}

#[test]
fn links_that_die_after_the_same_silence_are_cut_by_a_timer_and_its_seconds_are_named() {
    let idle = [60_010, 60_030, 59_990, 60_200, 60_000, 60_050, 60_001, 60_700, 60_020];
    let lived = [60_010, 180_000, 400_000, 66_000, 91_000, 300_000, 120_000, 75_000, 500_000];
    assert_eq!(
        word(pattern(&cut(&idle, &lived))),
        Some((Cause::MiddleboxIdleTimeout, Confidence::High, "idle timeout 60s, times 9".into())),
    );
    assert_eq!(
        word(pattern(&cut(&idle[..3], &lived))),
        Some((Cause::MiddleboxIdleTimeout, Confidence::Medium, "idle timeout 60s, times 3".into())),
    );
    assert_eq!(pattern(&cut(&idle[..2], &lived)), None);
    // What is set below it is below the timer.
    assert_eq!(
        word(pattern(&cut(&[2_500, 2_503, 2_510], &lived))),
        Some((Cause::MiddleboxIdleTimeout, Confidence::Medium, "idle timeout 2s, times 3".into())),
    );
    let mut closed = cut(&idle[..5], &lived);
    closed.iter_mut().for_each(|drop| drop.cause = Cause::ConnectionCut);
    assert_eq!(pattern(&closed).map(|f| f.cause), Some(Cause::MiddleboxIdleTimeout));
    // One that another cause explains ends the row.
    let mut explained = cut(&idle, &lived);
    explained[7].cause = Cause::AgentSlept;
    assert_eq!(pattern(&explained), None);
}

#[test]
fn links_that_die_at_the_same_age_are_ended_by_a_limit_of_their_life() {
    let idle = [3_000, 20_000, 11_000, 29_000, 7_000];
    let lived = [3_600_100, 3_600_400, 3_599_800, 3_600_000, 3_600_900];
    assert_eq!(
        word(pattern(&cut(&idle, &lived))),
        Some((Cause::MiddleboxLifetime, Confidence::High, "lifetime 3600s, times 5".into())),
    );
    // Links that die at once die of something else.
    assert_eq!(pattern(&cut(&[0; 5], &[2_000; 5])), None);
}

#[test]
fn two_processes_that_evict_each_other_are_named_and_one_that_replaces_another_is_not() {
    let evicted = |apart: i64, times: i64| -> Vec<PastDrop> {
        let drop = |n| PastDrop {
            at: at(n * apart),
            cause: Cause::SecondInstance,
            confidence: Confidence::High,
            lived: secs(apart as u64),
            idle: Duration::ZERO,
        };
        (0..times).map(drop).collect()
    };
    assert_eq!(
        word(pattern(&evicted(1, 10))),
        Some((Cause::InstancesEvictEachOther, Confidence::High, "times 10, within 9s".into())),
    );
    assert_eq!(pattern(&evicted(1, 2)), None);
    assert_eq!(pattern(&evicted(3600, 10)), None);
    let late = [evicted(3600, 3), evicted(1, 1)].concat();
    assert_eq!(pattern(&late), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

    /// Random networks have no timers.
    #[test]
    fn of_drops_at_random_no_timer_is_sure(idle in vec(2_000u64..900_000, 5..12), lived in vec(60_000u64..90_000_000, 12)) {
        let drops = cut(&idle, &lived);
        let latest: Vec<u64> = idle.iter().rev().take(5).copied().collect();
        let spread = latest.iter().max().unwrap() - latest.iter().min().unwrap();
        prop_assume!(spread > 200_000);
        let sure = pattern(&drops).is_some_and(|found| found.confidence == Confidence::High);
        prop_assert!(!sure);
    }
}

fn falls(times: impl IntoIterator<Item = i64>, cause: Cause) -> Vec<Fall> {
    times.into_iter().enumerate().map(|(agent, n)| Fall { agent, at: at(n), cause }).collect()
}

fn told(falls: &[Fall], own: &[OwnFault], in_session: usize) -> Vec<(Cause, Confidence, usize)> {
    incidents(falls, own, in_session, secs(30))
        .into_iter()
        .map(|incident| (incident.finding.cause, incident.finding.confidence, incident.agents))
        .collect()
}

#[test]
fn many_that_fall_silent_at_once_are_one_incident() {
    let thousand = falls(
        (0..1000)
            .map(|n| n % 20)
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .flat_map(|s| vec![s; 50]),
        Cause::NetworkOneWayOrCut,
    );
    assert_eq!(told(&thousand, &[], 1200), [(Cause::NetworkCut, Confidence::Medium, 1000)]);
    assert_eq!(
        told(&falls(0..10, Cause::ConnectionRefused), &[], 12),
        [(Cause::ConnectionRefused, Confidence::High, 10)]
    );
    // A few of many, or one after the other, have nothing in common.
    assert_eq!(told(&falls(0..10, Cause::NetworkCut), &[], 1000), []);
    assert_eq!(told(&falls([0, 40, 80, 120], Cause::NetworkCut), &[], 4), []);
    assert_eq!(told(&falls([0, 1], Cause::NetworkCut), &[], 2), []);
    // That users stop or restart their agents is no incident, and what has nothing in common neither.
    for cause in [Cause::AgentStopped, Cause::AgentRestarted, Cause::AgentUpgraded] {
        assert_eq!(told(&falls(0..10, cause), &[], 10), [], "{cause}");
    }
    let one_each = [Cause::AgentStopped, Cause::Tls, Cause::NetworkCut];
    let unrelated: Vec<Fall> = one_each
        .into_iter()
        .enumerate()
        .map(|(agent, cause)| Fall { agent, at: at(agent as i64), cause })
        .collect();
    assert_eq!(told(&unrelated, &[], 10), []);
    // One network shows in several ways.
    let ways = [Cause::NetworkCut, Cause::ConnectionCut, Cause::DialUnanswered, Cause::Unknown];
    let alike: Vec<Fall> =
        (0..8).map(|agent| Fall { agent, at: at(agent as i64), cause: ways[agent % 4] }).collect();
    assert_eq!(told(&alike, &[], 10), [(Cause::NetworkCut, Confidence::Medium, 8)]);
}

#[test]
fn a_stall_of_the_server_is_its_own_incident_and_no_drop_of_anybody() {
    let stall = OwnFault { from: at(100), until: at(220), cause: Cause::ServerStalled };
    assert_eq!(told(&[], &[stall], 2000), [(Cause::ServerStalled, Confidence::High, 0)]);
    let during = falls(221..240, Cause::NetworkOneWayOrCut);
    assert_eq!(told(&during, &[stall], 2000), [(Cause::ServerStalled, Confidence::High, 19)]);
    // What fell before, or long after, has a cause of its own.
    let mut more = falls(0..20, Cause::NoRoute);
    more.extend(during);
    more.extend(falls(300..320, Cause::NameResolution));
    assert_eq!(
        told(&more, &[stall], 60),
        [
            (Cause::NoRoute, Confidence::High, 20),
            (Cause::ServerStalled, Confidence::High, 19),
            (Cause::NameResolution, Confidence::High, 20),
        ]
    );
}

fn slept(quiet: u64, absence: i64, ago: u64, lasted: u64) -> Vec<(i64, i64)> {
    let drop = DropRecord {
        at: at(0),
        how: PresenceCause::Silence(secs(90)),
        lived: secs(900),
        quiet: secs(quiet),
        stalled: Duration::ZERO,
        ways: Ways::Both,
        stopped_at: None,
        dialect: Dialect::Extended,
        since: SinceThen::default(),
    };
    let finding = Finding::new(Cause::AgentSlept, Confidence::High);
    let told = vec![PastFinding { finding, ago: secs(ago), lasted: secs(lasted), times: 1 }];
    let back = Return { at: at(absence), process: Process::Same, told };
    let from = |time: WallTime| (time.unix_millis() - EPOCH_MS) / 1000;
    Sleep::told(&drop, &back).map(|sleep| (from(sleep.from), from(sleep.until))).collect()
}

#[test]
fn a_sleep_that_is_told_lies_between_the_last_frame_and_the_return() {
    assert_eq!(slept(90, 500, 585, 580), [(-85, 495)]);
    assert_eq!(slept(90, 500, 9_000_000, 8_999_999), [(-90, 499)], "it was heard at -90");
    assert_eq!(slept(90, 500, 400, 4_000_000), [(100, 500)]);
    assert_eq!(slept(90, 500, 10, 0), []);
}

fn shown(
    log: &[(i64, PresenceStatus)],
    sleeps: &[(i64, i64)],
    until: i64,
) -> Vec<(i64, i64, String)> {
    let log: Vec<_> =
        log.iter().map(|(n, status)| Logged { at: at(*n), status: *status }).collect();
    let sleeps: Vec<_> =
        sleeps.iter().map(|(from, until)| Sleep { from: at(*from), until: at(*until) }).collect();
    let from = |time: WallTime| (time.unix_millis() - EPOCH_MS) / 1000;
    let word = |condition| match condition {
        Condition::Published(status) => status.to_string(),
        Condition::Asleep => "asleep".to_owned(),
    };
    timeline(&log, &sleeps, at(until))
        .into_iter()
        .map(|span| (from(span.from), from(span.until), word(span.condition)))
        .collect()
}

#[test]
fn a_sleep_is_shown_in_hindsight_where_the_agent_was_missing() {
    use PresenceStatus::{Online, Stale, TimedOut};
    let log = [(0, Online), (100, Stale), (145, TimedOut), (600, Online)];
    let plain = [
        (0, 100, "online".to_owned()),
        (100, 145, "stale".to_owned()),
        (145, 600, "timed-out".to_owned()),
        (600, 700, "online".to_owned()),
    ];
    assert_eq!(shown(&log, &[], 700), plain);
    assert_eq!(
        shown(&log, &[(60, 590)], 700),
        [
            (0, 100, "online".to_owned()),
            (100, 590, "asleep".to_owned()),
            (590, 600, "timed-out".to_owned()),
            (600, 700, "online".to_owned()),
        ],
        "until it was stale, it was online for all anybody knew"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_timeline_has_no_holes_and_sleep_is_neither_there_nor_missing(
        steps in vec((1i64..300, 0usize..7), 1..20), naps in vec((1i64..200, 1i64..200), 0..6),
    ) {
        let mut time = 0;
        let mut log = Vec::new();
        for (by, status) in steps {
            log.push(Logged { at: at(time), status: PresenceStatus::ALL[status] });
            time += by;
        }
        let mut from = 0;
        let mut sleeps = Vec::new();
        for (pause, nap) in naps {
            sleeps.push(Sleep { from: at(from + pause), until: at(from + pause + nap) });
            from += pause + nap;
        }
        let spans = timeline(&log, &sleeps, at(time));
        prop_assert_eq!(spans.first().map(|span| span.from), Some(at(0)));
        prop_assert_eq!(spans.last().map(|span| span.until), Some(at(time)));
        for pair in spans.windows(2) {
            prop_assert_eq!(pair[0].until, pair[1].from);
            prop_assert_ne!(pair[0].condition, pair[1].condition);
        }
        let sum = Availability::of(&spans);
        prop_assert_eq!(sum.there + sum.asleep + sum.missing, secs(time as u64));
        let plain = Availability::of(&timeline(&log, &[], at(time)));
        prop_assert_eq!(sum.there, plain.there, "a sleep takes nothing from the time it was there");
        prop_assert!(sum.permille() >= plain.permille());
    }
}
