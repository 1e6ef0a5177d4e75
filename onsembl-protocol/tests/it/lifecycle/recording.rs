//! Heartbeats that arrive and are not recorded: both ends say so within two intervals, nobody is
//! cut, and it clears by itself.

use super::solo::{Server, agent_beat};
use super::world::World;
use crate::support::{ms, secs};
use onsembl_protocol::id::{BeatSequence, Epoch};
use onsembl_protocol::liveness::{HeartbeatTiming, Impairment};
use onsembl_protocol::session::{Dialect, ServerAction, ServerConfig, ServerEvent, StoreTrouble};
use std::time::Duration;

fn world(interval: Duration) -> World {
    let timing = HeartbeatTiming::new(interval, interval * 5 / 2, interval * 5).unwrap();
    let mut world = World::new(1, ServerConfig::DEFAULT.with_timing(timing));
    world.start(0);
    world.run_for(interval * 10);
    assert!(world.is_connected());
    world
}

#[test]
fn a_store_that_hangs_is_named_on_both_sides_within_two_intervals() {
    for interval in [secs(1), secs(30)] {
        for phase in 0..20 {
            let mut world = world(interval);
            world.run_for(interval * phase / 20);
            let before = world.presence();
            let from = world.at;
            world.hang_store(None);
            world.run_for(interval * 2);
            let presence = world.presence();
            assert_eq!(
                presence.because.to_string(),
                "heartbeats received but not recorded: database slow; session opened"
            );
            assert_eq!(world.impairment(0), Some(Impairment::NotRecorded));
            let (named, _) = world.hosts[0].impaired[0];
            assert!(named - from <= interval * 2, "named after {:?}", named - from);
            assert_eq!((presence.status, presence.since), (before.status, before.since));

            world.run_for(interval * 20);
            assert!(world.is_connected(), "nobody is cut");
            assert_eq!(world.presence().since, before.since);
            world.mend_store();
            world.run_for(interval);
            assert_eq!(world.impairment(0), None, "it clears by itself");
            assert_eq!(world.presence().because.to_string(), "session opened");
            assert_eq!(world.presence().since, before.since);
            assert_eq!(world.hosts[0].dials.len(), 1);
        }
    }
}

#[test]
fn the_cause_is_named_when_the_store_knows_it() {
    for (trouble, words) in [
        (StoreTrouble::Busy, "database busy"),
        (StoreTrouble::Full, "disk full"),
        (StoreTrouble::Failed, "database failed"),
    ] {
        let mut world = world(secs(1));
        world.hang_store(Some(trouble));
        world.run_for(secs(2));
        let because = world.presence().because.to_string();
        let expected = format!("heartbeats received but not recorded: {words}; session opened");
        assert_eq!(because, expected);
    }
}

#[test]
fn trouble_that_delays_nothing_yet_is_not_shown() {
    let mut world = world(secs(30));
    let before = world.presence();
    world.hang_store(Some(StoreTrouble::Busy));
    world.run_for(secs(1));
    world.mend_store();
    world.run_for(secs(60));
    assert_eq!(world.presence(), before);
    assert_eq!(world.hosts[0].impaired, []);
}

#[test]
fn a_beat_is_answered_as_soon_as_it_is_recorded_and_after_half_an_interval_anyway() {
    let mut server = Server::in_session(Dialect::Extended);
    server.records = false;
    server.run_until(secs(3));
    server.hear(1, agent_beat(1, 1));
    let mut slow = server.clone();
    server.at = secs(4);
    let recorded =
        ServerEvent::Recorded { epoch: Epoch(1), sequence: BeatSequence(1), at: server.now().wall };
    let out = server.feed(recorded);
    let ServerAction::SendBeat { beat, .. } = out[0] else { panic!("{out:?}") };
    assert_eq!(beat.recorded.map(|(sequence, _)| sequence), Some(BeatSequence(1)));
    assert_eq!((beat.seen.unwrap().sequence, beat.lag), (BeatSequence(1), None));

    slow.run_until(secs(18));
    let (at, beat) = slow
        .log
        .iter()
        .rev()
        .find_map(|(at, action)| match action {
            ServerAction::SendBeat { beat, .. } => Some((*at, *beat)),
            _ => None,
        })
        .unwrap();
    assert_eq!((at, beat.recorded), (secs(18), None));
    assert_eq!(beat.lag, Some((secs(15), StoreTrouble::Slow)));
}

#[test]
fn the_age_of_a_lag_is_that_of_the_oldest_beat_that_is_not_recorded() {
    // A store that is always one beat behind is slow, but not slower from day to day.
    let mut server = Server::in_session(Dialect::Extended);
    server.records = false;
    for n in 1..500u64 {
        server.run_until(secs(30 * n));
        server.hear(1, agent_beat(n, n));
        server.run_until(secs(30 * n + 20));
        let sequence = BeatSequence(n - 1);
        let at = server.now().wall;
        server.feed(ServerEvent::Recorded { epoch: Epoch(1), sequence, at });
    }
    let longest = server
        .log
        .iter()
        .filter_map(|(_, action)| match action {
            ServerAction::SendBeat { beat, .. } => beat.lag.map(|(age, _)| age),
            _ => None,
        })
        .max();
    assert!(longest.unwrap() <= secs(60), "{longest:?}");
}

#[test]
fn recordings_of_another_session_or_of_old_beats_confirm_nothing() {
    let mut server = Server::in_session(Dialect::Extended);
    server.records = false;
    server.hear(1, agent_beat(5, 1));
    let at = server.now().wall;
    for (epoch, sequence) in [(0, 5), (2, 5), (1, 4)] {
        let event =
            ServerEvent::Recorded { epoch: Epoch(epoch), sequence: BeatSequence(sequence), at };
        assert_eq!(server.feed(event), [], "{event:?}");
    }
    server.run_until(ms(15_000));
    assert_eq!(server.machine.presence().because.impairment, Some(Impairment::NotRecorded));
}

#[test]
fn a_beat_that_comes_after_a_later_one_does_not_hide_that_one() {
    let mut server = Server::in_session(Dialect::Extended);
    server.records = false;
    server.hear(1, agent_beat(5, 1));
    server.hear(1, agent_beat(3, 1));
    let at = server.now().wall;
    server.feed(ServerEvent::Recorded { epoch: Epoch(1), sequence: BeatSequence(4), at });
    server.run_until(ms(15_000));
    assert_eq!(server.machine.presence().because.impairment, Some(Impairment::NotRecorded));
}
