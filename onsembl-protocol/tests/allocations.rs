//! What happens to a machine of a supervisor allocates nothing. A test binary of its own, because
//! it counts what the whole process allocates.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use onsembl_protocol::id::{BeatSequence, Epoch, LinkId, PresenceVersion};
use onsembl_protocol::session::{
    Claimant, Dialect, ServerConfig, ServerConnection, ServerEvent, ServerInbound, StoreTrouble,
};
use onsembl_protocol::supervisor::{Key, Supervisor};
use onsembl_protocol::time::{Deadline, Now};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const LINK: LinkId = LinkId(1);

fn at(millis: u64) -> Now {
    Now::without_suspend(Duration::from_millis(millis))
}

fn join(fleet: &mut Supervisor<ServerConnection>) -> Key {
    let (version, epoch) = (PresenceVersion(0), Epoch(0));
    let key = fleet.insert(ServerConnection::new(ServerConfig::DEFAULT, version, epoch, at(0)));
    let joined = ServerEvent::Joined {
        link: LINK,
        dialect: Dialect::Extended,
        claimant: Claimant::SameProcess,
    };
    for event in [joined, ServerEvent::Admitted { link: LINK, epoch: Epoch(1) }] {
        assert!(fleet.handle(key, event, at(0)).is_some());
    }
    key
}

/// What a fleet allocates and reallocates from its first frame to the end of its last machine.
fn allocated() -> (usize, usize) {
    let counted = Region::new(ALLOCATOR);
    let mut fleet = Supervisor::new(ServerConfig::DEFAULT);
    let keys: Vec<Key> = (0..5_000).map(|_| join(&mut fleet)).collect();
    assert!(counted.change().allocations > 0, "the count counts");

    let frame = ServerInbound::Other;
    let batch: Vec<_> = keys.iter().map(|key| (*key, ServerEvent::Received(LINK, frame))).collect();

    let counted = Region::new(ALLOCATOR);
    let mut known = 0;
    fleet.handle_batch(&batch, at(0), |_, out| known += usize::from(out.is_some()));
    assert_eq!(known, batch.len());
    for n in 1..=100_000u64 {
        let (key, now) = (keys[(n * 7_919 % 5_000) as usize], at(n / 4));
        let sequence = Some(BeatSequence(n));
        let frame = ServerInbound::Heartbeat { sequence, seen: sequence };
        assert!(fleet.handle(key, ServerEvent::Received(LINK, frame), now).is_some());
        let sequence = BeatSequence(n);
        let recorded = ServerEvent::Recorded { epoch: Epoch(1), sequence, at: now.wall };
        assert!(fleet.handle(key, recorded, now).is_some());
    }
    let mut informed = 0;
    fleet
        .handle_all(ServerEvent::Store(Some(StoreTrouble::Full)), at(25_000), |_, _| informed += 1);
    // Everybody falls silent: own beats, stale, every look of the stale phase, time-out, gone.
    let mut removed = 0;
    while let Deadline::At(due) = fleet.next_wake() {
        let now = Now::without_suspend(due.since_origin());
        let swept = fleet.sweep(now, 256, |_, out| {
            removed += out
                .iter()
                .filter(|a| *a == onsembl_protocol::session::ServerAction::Forget)
                .count();
        });
        assert!(swept.woken + swept.in_vain > 0);
    }
    let change = counted.change();
    assert_eq!((informed, removed), (0, 5_000));
    (change.allocations, change.reallocations)
}

#[test]
fn beats_records_sweeps_and_time_outs_of_a_fleet_allocate_nothing() {
    // The thread that waits for this test may allocate meanwhile. What a machine allocates, it allocates in
    // every round.
    let least = (0..5).map(|_| allocated()).min();
    assert_eq!(least, Some((0, 0)));
}
