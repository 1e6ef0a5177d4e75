//! What a supervisor may cost: bytes for each connection, work for each sweep.

use super::{Fleet, beat, join};
use crate::support::{ms, now, secs};
use onsembl_protocol::session::{ServerAction, ServerConfig, ServerConnection, StoreTrouble};
use onsembl_protocol::session::{ServerEvent, ServerHot};
use onsembl_protocol::step::Actions;
use onsembl_protocol::supervisor::{Machine, Supervisor};
use onsembl_protocol::time::{Deadline, Now};

#[test]
fn a_supervised_connection_takes_at_most_96_hot_bytes() {
    assert_eq!(size_of::<Option<ServerHot>>(), 88);
    assert_eq!(Supervisor::<ServerConnection>::HOT_BYTES, 88 + 4 + 1);
}

#[test]
fn ten_thousand_that_are_due_at_once_are_woken_in_bounded_sweeps_and_each_once() {
    let mut fleet = Fleet::new(ServerConfig::DEFAULT);
    let keys: Vec<_> = (0..10_000).map(|_| join(&mut fleet, secs(0))).collect();
    // The patience with their admission is out of date; that is found when its time comes.
    assert_eq!(fleet.next_wake(), Deadline::At(now(secs(25)).monotonic));
    while fleet.sweep(now(secs(25)), 256, |_, _| panic!("nobody is due")).more_due {}
    assert_eq!(fleet.next_wake(), Deadline::At(now(secs(30)).monotonic));
    let mut woken = Vec::new();
    let mut sweeps = 0;
    loop {
        let before = woken.len();
        let swept = fleet.sweep(now(secs(30)), 256, |key, out| {
            assert!(out.iter().any(|a| matches!(a, ServerAction::SendBeat { .. })));
            woken.push(key);
        });
        sweeps += 1;
        assert_eq!((swept.woken, swept.in_vain), (woken.len() - before, 0));
        if !swept.more_due {
            break;
        }
        assert_eq!(swept.woken, 256);
    }
    assert_eq!(sweeps, 40);
    woken.sort_unstable();
    assert_eq!(woken, keys);
}

#[test]
fn looking_through_blocks_in_vain_is_bounded_too() {
    let mut fleet = Fleet::new(ServerConfig::DEFAULT);
    let keys: Vec<_> = (0..1_600).map(|_| join(&mut fleet, secs(0))).collect();
    // All beats of the schedule leave; then the whole fleet leaves, and its deadlines stay behind.
    while fleet.sweep(now(secs(30)), 256, |_, _| {}).more_due {}
    let due = fleet.next_wake();
    for key in &keys {
        assert!(fleet.remove(*key).is_some());
    }
    assert_eq!(fleet.next_wake(), due, "early is allowed");
    let (mut in_vain, mut sweeps) = (0, 0);
    loop {
        let swept = fleet.sweep(now(secs(60)), 7, |_, _| panic!("nobody is here"));
        assert!(swept.woken == 0 && swept.in_vain <= 7);
        in_vain += swept.in_vain;
        sweeps += 1;
        if !swept.more_due {
            break;
        }
    }
    assert_eq!((in_vain, sweeps), (100, 15));
    assert_eq!(fleet.next_wake(), Deadline::Never);
}

#[test]
fn a_beat_that_moves_a_deadline_later_leaves_the_next_wake_early_and_a_sweep_makes_it_exact() {
    let mut fleet = Fleet::new(ServerConfig::DEFAULT);
    let key = join(&mut fleet, secs(0));
    // Answered and heard again: the answer is due after the beat of the schedule.
    while fleet.sweep(now(secs(30)), 8, |_, _| {}).more_due {}
    let _ = fleet.handle(key, beat(1), now(secs(40))).unwrap();
    let true_deadline = |fleet: &mut Fleet| fleet.remove(key).unwrap().deadline();
    assert_eq!(fleet.next_wake(), Deadline::At(now(secs(45)).monotonic), "as if still silent");
    let swept = fleet.sweep(now(secs(45)), 8, |_, _| panic!("woken too early"));
    assert_eq!((swept.woken, swept.in_vain, swept.more_due), (0, 1, false));
    let next = fleet.next_wake();
    assert_eq!(next, Deadline::At(now(secs(55)).monotonic));
    assert_eq!(next, true_deadline(&mut fleet));
}

#[test]
fn a_zero_budget_does_nothing_and_says_so() {
    let mut fleet = Fleet::new(ServerConfig::DEFAULT);
    let _ = join(&mut fleet, secs(0));
    let swept = fleet.sweep(now(secs(30)), 0, |_, _| panic!("no budget"));
    assert_eq!((swept.woken, swept.in_vain, swept.more_due), (0, 0, true));
}

#[test]
fn the_health_of_the_store_reaches_everybody_and_only_who_shows_it_has_something_to_say() {
    let mut fleet = Fleet::new(ServerConfig::DEFAULT);
    let keys: Vec<_> = (0..100).map(|_| join(&mut fleet, secs(0))).collect();
    let _ = fleet.handle(keys[7], beat(1), now(secs(1))).unwrap();
    while fleet.sweep(now(secs(16)), 256, |_, _| {}).more_due {}
    let mut outputs = Vec::new();
    let full = ServerEvent::Store(Some(StoreTrouble::Full));
    fleet.handle_all(full, now(secs(17)), |key, out| outputs.push((key, out)));
    assert_eq!(outputs.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [keys[7]]);
    // The others name it when they have cause to.
    let _ = fleet.handle(keys[8], beat(1), now(secs(18))).unwrap();
    for at in [30, 33] {
        while fleet.sweep(now(secs(at)), 256, |_, _| {}).more_due {}
    }
    let because = fleet.get(keys[8]).unwrap().presence().because;
    assert_eq!(because.trouble, Some(StoreTrouble::Full));
}

/// Due again a millisecond after each wake.
#[derive(Clone, Copy)]
struct Metronome {
    due: Deadline,
}

impl Machine for Metronome {
    type Rules = ();
    type Hot = Self;
    type Cold = ();
    type View<'a> = &'a Self;
    type Event = ();
    type Action = ();

    const WAKE: () = ();

    fn into_parts(self) -> (Self, ()) {
        (self, ())
    }

    fn from_parts((): &(), hot: Self, (): ()) -> Self {
        hot
    }

    fn view<'a>(hot: &'a Self, (): &'a ()) -> &'a Self {
        hot
    }

    fn handle_parts(
        (): &(),
        hot: &mut Self,
        (): &mut (),
        (): (),
        now: Now,
        _: &mut Actions<()>,
    ) -> Deadline {
        hot.due = Deadline::At(now.monotonic.saturating_add(ms(1)));
        hot.due
    }

    fn deadline_of_parts((): &(), hot: &Self, (): &()) -> Deadline {
        hot.due
    }
}

#[test]
fn under_overload_everybody_has_a_turn() {
    let mut crowd = Supervisor::new(());
    let due = Deadline::At(now(secs(0)).monotonic);
    let keys: Vec<_> = (0..40).map(|_| crowd.insert(Metronome { due })).collect();
    let mut turns = vec![0; keys.len()];
    // Forty are due each time, three can be woken.
    for n in 0..40 {
        let swept = crowd.sweep(now(ms(n)), 3, |key, _| {
            turns[keys.iter().position(|k| *k == key).unwrap()] += 1;
        });
        assert!(swept.more_due);
    }
    let (least, most) = (turns.iter().min().unwrap(), turns.iter().max().unwrap());
    assert!(*least >= 2 && *most <= 4, "{turns:?}");
}
