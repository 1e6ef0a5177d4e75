//! A server node that stands still condemns nobody.

use super::{Fleet, beat, join, recorded};
use crate::support::{now, secs};
use onsembl_protocol::session::{PresenceStatus, ServerAction, ServerConfig};
use onsembl_protocol::supervisor::Key;
use onsembl_protocol::time::Deadline;
use std::time::Duration;

const AGENTS: u64 = 1_000;

/// Wakes all that is due at this moment, in bounded sweeps.
fn sweep(fleet: &mut Fleet, at: Duration, log: &mut Vec<(Key, ServerAction)>) {
    loop {
        let swept = fleet.sweep(now(at), 256, |key, out| {
            log.extend(out.iter().map(|action| (key, action)));
        });
        assert!(swept.woken + swept.in_vain <= 256);
        if !swept.more_due {
            return;
        }
    }
}

/// An obedient driver, until `end`.
fn run_until(fleet: &mut Fleet, end: Duration, log: &mut Vec<(Key, ServerAction)>) {
    while let Deadline::At(due) = fleet.next_wake()
        && due.since_origin() <= end
    {
        sweep(fleet, due.since_origin(), log);
    }
}

#[test]
fn a_thousand_agents_outlive_ten_minutes_in_which_their_server_stood_still() {
    let mut fleet = Fleet::new(ServerConfig::DEFAULT);
    let keys: Vec<Key> = (0..AGENTS).map(|_| join(&mut fleet, secs(0))).collect();
    let mut log = Vec::new();
    // Beats spread over the interval, up to the stall.
    for n in 0..2 * AGENTS {
        let at = Duration::from_millis(n * 30);
        run_until(&mut fleet, at, &mut log);
        let (key, sequence) = (keys[(n % AGENTS) as usize], n / AGENTS + 1);
        let _ = fleet.handle(key, beat(sequence), now(at)).unwrap();
        let _ = fleet.handle(key, recorded(sequence, at), now(at)).unwrap();
    }
    log.clear();

    let back = secs(660);
    sweep(&mut fleet, back, &mut log);
    let forgiven = log.iter().filter(|(_, a)| matches!(a, ServerAction::Overslept(_))).count();
    assert_eq!(forgiven as u64, AGENTS, "everybody was due, and each is told of the stall");

    // The agents' links held; they beat on within their interval. The last fifty do not.
    let (speaking, silent) = keys.split_at(950);
    for (n, key) in (0u64..).zip(speaking) {
        let at = back + Duration::from_millis(n * 30);
        run_until(&mut fleet, at, &mut log);
        let _ = fleet.handle(*key, beat(9), now(at)).unwrap();
    }
    run_until(&mut fleet, back + secs(44), &mut log);
    for key in &keys {
        assert_eq!(fleet.get(*key).unwrap().presence().status, PresenceStatus::Online);
    }
    assert!(log.iter().all(|(_, a)| !matches!(a, ServerAction::Close(..))));

    // What the stall forgave is not forgiven twice.
    run_until(&mut fleet, back + secs(91), &mut log);
    let status = |key: &Key| fleet.get(*key).unwrap().presence().status;
    assert!(silent.iter().all(|key| status(key) == PresenceStatus::TimedOut));
    // Nobody who spoke three seconds after the stall or later is silent for so long yet.
    assert!(speaking[100..].iter().all(|key| status(key) != PresenceStatus::TimedOut));
}
