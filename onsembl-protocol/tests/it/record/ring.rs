//! A small ring under many agents: whatever is dropped, what is left replays exactly.

use super::events::event;
use crate::support::{now, secs};
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::diagnosis::Verdict;
use onsembl_protocol::id::{BeatSequence, Epoch, LinkId, PresenceVersion};
use onsembl_protocol::model::{Cause, Confidence, Evidence, Finding};
use onsembl_protocol::replay::{
    Handled, MAX_LINE, Owner, Recorder, ReplayError, Replayed, Retired, ServerOrigin, replay,
};
use onsembl_protocol::session::{
    Claimant, Dialect, ServerConfig, ServerConnection, ServerEvent, ServerInbound,
};
use onsembl_protocol::step::Actions;
use onsembl_protocol::supervisor::{Key, Supervisor};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use std::time::Duration;

const LINK: LinkId = LinkId(1);

/// A shard without links: machines, their recorder, and a clock.
struct Shard {
    machines: Supervisor<ServerConnection>,
    recorder: Recorder,
    at: Duration,
    /// What every machine did, as a recording writes it.
    events: Vec<(Key, ServerEvent)>,
}

impl Shard {
    fn new(capacity: usize) -> Self {
        let recorder = Recorder::new(capacity, ServerConfig::DEFAULT);
        Self {
            machines: Supervisor::new(ServerConfig::DEFAULT),
            recorder,
            at: secs(1),
            events: Vec::new(),
        }
    }

    fn insert(&mut self, recovered: bool, earlier: Option<Retired>) -> Key {
        self.insert_of(Owner(0), recovered, earlier)
    }

    fn insert_of(&mut self, owner: Owner, recovered: bool, earlier: Option<Retired>) -> Key {
        let (version, epoch, now) = (PresenceVersion(3), Epoch(3), now(self.at));
        let config = ServerConfig::DEFAULT;
        let (machine, actions, origin) = if recovered {
            let (machine, step) = ServerConnection::recovered(config, version, epoch, now);
            (machine, step.actions, ServerOrigin::Recovered { version, epoch })
        } else {
            let machine = ServerConnection::new(config, version, epoch, now);
            (machine, Actions::none(), ServerOrigin::New { version, epoch })
        };
        let deadline = machine.deadline();
        let key = self.machines.insert(machine);
        self.recorder.began(key, owner, origin, now, &actions, deadline, earlier);
        key
    }

    fn feed(&mut self, key: Key, event: ServerEvent) {
        let now = now(self.at);
        let actions = self.machines.handle(key, event, now).unwrap();
        self.note(key, event, &actions);
    }

    fn note(
        &mut self,
        key: Key,
        event: ServerEvent,
        actions: &Actions<onsembl_protocol::session::ServerAction>,
    ) {
        let machine = self.machines.get(key).unwrap();
        let deadline = self.machines.deadline(key).unwrap();
        let handled = Handled { event, now: now(self.at), frame: None };
        self.recorder.handled(key, &handled, actions, deadline, || machine.snapshot());
        self.events.push((key, event));
    }

    fn in_session(&mut self) -> Key {
        self.in_session_of(Owner(0))
    }

    fn in_session_of(&mut self, owner: Owner) -> Key {
        let key = self.insert_of(owner, false, None);
        let (dialect, claimant) = (Dialect::Extended, Claimant::SameProcess);
        self.feed(key, ServerEvent::Joined { link: LINK, dialect, claimant });
        self.feed(key, ServerEvent::Admitted { link: LINK, epoch: Epoch(4) });
        key
    }

    fn beat(&mut self, key: Key, n: u64) {
        let sequence = Some(BeatSequence(n));
        let frame = ServerInbound::Heartbeat { sequence, seen: sequence };
        self.feed(key, ServerEvent::Received(LINK, frame));
        let at = now(self.at).wall;
        self.feed(key, ServerEvent::Recorded { epoch: Epoch(4), sequence: BeatSequence(n), at });
    }

    fn export(&self, key: Key) -> Option<Vec<Value>> {
        let text = String::from_utf8(self.recorder.excerpt(key)?.to_bytes("a")).unwrap();
        replay(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    /// The export is the newest part of what happened, and says how much went before.
    fn check(&self, key: Key) -> usize {
        let Some(lines) = self.export(key) else { return 0 };
        let events: Vec<ServerEvent> = lines
            .iter()
            .filter(|line| !line["event"].is_null())
            .map(|line| serde_json::from_value(line["event"].clone()).unwrap())
            .collect();
        let all: Vec<ServerEvent> =
            self.events.iter().filter(|(k, _)| *k == key).map(|(_, e)| *e).collect();
        assert_eq!(events, all[all.len() - events.len()..]);
        let whole = lines[1]["start"]["checkpoint"].is_null();
        let kept = events.len() + usize::from(whole);
        assert_eq!(lines[0]["dropped"], all.len() + 1 - kept, "{}", lines[0]);
        events.len()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_dropped_what_is_left_replays(
        moves in vec((0usize..5, event(), 0u64..40_000), 1..1500),
        capacity in 1usize..40_000,
        recovered in any::<bool>(),
        owners in 1u64..4,
    ) {
        let mut shard = Shard::new(capacity);
        let keys: Vec<Key> = (0..5)
            .map(|n| shard.insert_of(Owner(n % owners), recovered && n % 2 == 0, None))
            .collect();
        for (who, event, ms) in moves {
            shard.at += Duration::from_millis(ms);
            // An end would make the rest of the walk dull.
            if !matches!(event, ServerEvent::Evict(_)) {
                shard.feed(keys[who], event);
            }
        }
        for key in keys {
            let _ = shard.check(key);
        }
        prop_assert_eq!(shard.recorder.lost(), 0);
    }
}

#[test]
fn three_quarters_of_a_full_ring_can_be_replayed_by_whoever_it_is_full_of() {
    let mut shard = Shard::new(64 * 1024);
    let key = shard.in_session();
    for n in 1..20_000 {
        shard.at += secs(30);
        shard.beat(key, n);
        if n % 997 == 0 {
            let events = shard.check(key);
            let size = shard.recorder.excerpt(key).unwrap().size();
            assert!(n < 2000 || size > 44 * 1024, "{n}: {events} events in {size} bytes");
        }
    }
}

#[test]
fn agents_that_are_many_for_the_ring_still_have_the_newest_of_it() {
    let mut shard = Shard::new(256 * 1024);
    let keys: Vec<Key> = (0..100).map(|_| shard.in_session()).collect();
    for n in 1..400 {
        shard.at += secs(30);
        for key in &keys {
            shard.beat(*key, n);
        }
    }
    for key in &keys {
        assert!(shard.check(*key) >= 20, "{} events", shard.check(*key));
    }
}

#[test]
fn a_user_whose_agents_are_loud_overwrites_nothing_of_another_user() {
    let mut shard = Shard::new(256 * 1024);
    let quiet = shard.in_session_of(Owner(1));
    for n in 1..100 {
        shard.beat(quiet, n);
    }
    let before = shard.check(quiet);
    let loud: Vec<Key> = (0..50).map(|_| shard.in_session_of(Owner(2))).collect();
    for n in 1..400 {
        shard.at += secs(30);
        for key in &loud {
            shard.beat(*key, n);
        }
    }
    assert_eq!(shard.check(quiet), before, "all of it is there");
    assert!(loud.iter().all(|key| shard.check(*key) >= 20), "and the newest of the others");
}

#[test]
fn with_too_many_agents_there_is_nothing_rather_than_something_wrong() {
    let mut shard = Shard::new(4 * 1024);
    let keys: Vec<Key> = (0..100).map(|_| shard.in_session()).collect();
    for n in 1..100 {
        shard.at += secs(30);
        for key in &keys {
            shard.beat(*key, n);
        }
    }
    assert!(keys.iter().any(|key| shard.recorder.excerpt(*key).is_none()));
    for key in keys {
        let _ = shard.check(key);
    }
}

#[test]
fn a_ring_without_room_records_nothing() {
    let mut shard = Shard::new(0);
    let key = shard.in_session();
    shard.beat(key, 1);
    assert!(shard.recorder.excerpt(key).is_none());
    assert_eq!((shard.recorder.capacity(), shard.recorder.lost()), (0, 0));
}

#[test]
fn an_agent_that_went_can_be_looked_up_and_its_return_continues_its_history() {
    let mut shard = Shard::new(64 * 1024);
    let key = shard.in_session();
    shard.beat(key, 1);
    shard.feed(key, ServerEvent::Evict(CloseCause::Superseded));
    let retired = shard.recorder.forget(key).unwrap();
    assert!(shard.recorder.excerpt(key).is_none());
    assert!(shard.recorder.forget(key).is_none());
    let _ = shard.machines.remove(key);
    let text = shard.recorder.excerpt_of(retired).unwrap().to_bytes("a");
    let text = String::from_utf8(text).unwrap();
    assert_eq!(replay(&text).unwrap().entries, 6);
    assert!(text.lines().nth_back(1).unwrap().contains(r#""Forget""#));

    let other = shard.in_session();
    assert_ne!(other, key, "the slot is used again, under another key");
    assert!(shard.recorder.excerpt(key).is_none());
    let back = shard.insert(false, Some(retired));
    shard.feed(back, ServerEvent::Wake);
    let lines = shard.export(back).unwrap();
    assert_eq!(lines.len(), 2 + 6 + 2);
    let starts: Vec<usize> = (0..lines.len()).filter(|n| !lines[*n]["start"].is_null()).collect();
    assert_eq!(starts, [1, 7]);
    for n in 2..2000 {
        shard.beat(other, n);
    }
    assert!(shard.recorder.excerpt_of(retired).is_none(), "overwritten");
    assert!(shard.recorder.excerpt(back).is_none(), "overwritten too");
}

#[test]
fn an_input_that_was_not_recorded_is_found_by_the_digest() {
    let mut shard = Shard::new(64 * 1024);
    let key = shard.in_session();
    shard.beat(key, 1);
    let sequence = Some(BeatSequence(2));
    let frame = ServerInbound::Heartbeat { sequence, seen: sequence };
    let _ = shard.machines.handle(key, ServerEvent::Received(LINK, frame), now(shard.at)).unwrap();
    shard.at += secs(1);
    shard.feed(key, ServerEvent::Wake);
    let text = String::from_utf8(shard.recorder.excerpt(key).unwrap().to_bytes("a")).unwrap();
    let error = replay(&text).unwrap_err();
    assert!(matches!(error, ReplayError::Unproven { line: 7, n: 6, .. }), "{error}");
}

#[test]
fn a_machine_that_nobody_announced_is_recorded_from_its_first_event_on() {
    let mut shard = Shard::new(64 * 1024);
    let machine =
        ServerConnection::new(ServerConfig::DEFAULT, PresenceVersion(1), Epoch(1), now(shard.at));
    let key = shard.machines.insert(machine);
    let (dialect, claimant) = (Dialect::Legacy, Claimant::SameProcess);
    shard.feed(key, ServerEvent::Joined { link: LINK, dialect, claimant });
    shard.feed(key, ServerEvent::Admitted { link: LINK, epoch: Epoch(2) });
    let lines = shard.export(key).unwrap();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0]["dropped"], 1);
    assert_eq!(lines[1]["status"], "connecting");
}

#[test]
fn verdicts_stand_in_the_first_line_as_many_as_there_is_room_for_and_are_not_replayed() {
    let mut shard = Shard::new(1 << 20);
    let key = shard.insert(false, None);
    for _ in 0..50 {
        shard.at += secs(1);
        shard.feed(key, ServerEvent::Wake);
    }
    let verdict = |n: u64| Verdict {
        at: now(secs(n)).wall,
        until: Some(now(secs(n + 1)).wall),
        finding: Finding::new(Cause::TokenExpired, Confidence::High)
            .on(Evidence::NONE.with("address", "x".repeat(200)).with("n", n)),
    };
    let exported = |drops: &[Verdict], pattern: Option<&Finding>| {
        let mut lines =
            shard.recorder.excerpt(key).unwrap().lines("a").with_verdicts(drops, pattern);
        let mut out = Vec::new();
        while lines.write_next(&mut out) {}
        String::from_utf8(out).unwrap()
    };
    // A reader that does not know of them sees the same recording.
    let without = exported(&[], None);
    assert!(!without.contains("verdicts"), "{without}");
    let plain = replay(&without).unwrap();
    assert_eq!(plain.verdicts, None);
    let pattern = Finding::new(Cause::MiddleboxLifetime, Confidence::Medium);
    let drops: Vec<Verdict> = (0..64).map(verdict).collect();
    let text = exported(&drops, Some(&pattern));
    let told = replay(&text).unwrap();
    let said: Value = serde_json::from_str(told.verdicts.as_deref().unwrap()).unwrap();
    assert_eq!(said["pattern"]["cause"], "middlebox-lifetime");
    let drops_said = said["drops"].as_array().unwrap();
    assert_eq!(drops_said.len(), 64);
    assert_eq!(
        (&drops_said[63]["cause"], &drops_said[63]["evidence"]["n"]),
        (&"token-expired".into(), &63.into())
    );
    assert_eq!(Replayed { verdicts: None, ..told }, plain);

    let many: Vec<Verdict> = (0..1000).map(verdict).collect();
    let text = exported(&many, None);
    assert!(text.lines().all(|line| line.len() <= MAX_LINE));
    let said = replay(&text).unwrap().verdicts.unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    let kept = said["drops"].as_array().unwrap();
    assert!(kept.len() > 64 && kept.len() < 1000, "{}", kept.len());
    assert_eq!(kept.last().unwrap()["evidence"]["n"], 999, "the latest are there");
}

#[test]
fn what_a_later_version_says_in_the_first_line_is_passed_over() {
    let mut shard = Shard::new(1 << 20);
    let key = shard.insert(false, None);
    let text = String::from_utf8(shard.recorder.excerpt(key).unwrap().to_bytes("a")).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[0] =
        lines[0].replace(",\"check\"", ",\"later\":{\"a\":[1]},\"verdicts\":{\"b\":2},\"check\"");
    super::refusals::seal(&mut lines);
    let told = replay(&lines.join("\n")).unwrap();
    assert_eq!(told.verdicts.as_deref(), Some(r#"{"b":2}"#));
}
