//! The invariants of the supervisor around many machines.

use crate::support::{ms, now, secs};
use onsembl_protocol::id::{Epoch, PresenceVersion};
use onsembl_protocol::session::{ServerConfig, ServerConnection, ServerEvent};
use onsembl_protocol::supervisor::Supervisor;
use onsembl_protocol::time::Deadline;
use proptest::collection::vec;
use proptest::prelude::*;

/// A machine whose agent is awaited from that time on.
fn machine(from: u64) -> ServerConnection {
    let (version, epoch) = (PresenceVersion(1), Epoch(1));
    ServerConnection::recovered(ServerConfig::DEFAULT, version, epoch, now(ms(from))).0
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

    /// Invariant 10: with any budget a supervisor does what a naive scan would.
    #[test]
    fn a_supervisor_wakes_everybody_who_is_due_and_nobody_else(
        starts in vec(0u64..40_000, 1..40),
        budget in 1usize..10,
        gaps in vec(1u64..40_000, 1..20),
    ) {
        let at = |n| now(ms(n));
        let mut supervisor = Supervisor::new(ServerConfig::DEFAULT);
        let mut naive = Vec::new();
        let mut clock = 40_000;
        for start in starts {
            naive.push((supervisor.insert(machine(start)), machine(start)));
        }
        for gap in gaps {
            clock += gap;
            let earliest = naive.iter().fold(Deadline::Never, |d, (_, m)| d.min(m.deadline()));
            prop_assert_eq!(supervisor.next_wake(), earliest);
            let mut woken = Vec::new();
            loop {
                let swept = supervisor.sweep(at(clock), budget, |key, actions| {
                    woken.push((key, actions.iter().collect::<Vec<_>>()));
                });
                prop_assert!(swept.woken <= budget);
                if !swept.more_due {
                    break;
                }
            }
            for (key, machine) in &mut naive {
                let due = machine.deadline().is_due(at(clock).monotonic);
                let by_scan = due.then(|| {
                    machine.handle(ServerEvent::Wake, at(clock)).actions.iter().collect::<Vec<_>>()
                });
                let by_sweep: Vec<_> = woken.iter().filter(|(k, _)| k == key).collect();
                prop_assert_eq!(by_sweep.len(), usize::from(due));
                prop_assert_eq!(by_sweep.first().map(|(_, a)| a.clone()), by_scan);
            }
        }
    }
}

#[test]
fn a_key_of_a_removed_machine_names_nothing_also_when_its_slot_is_used_again() {
    let mut supervisor = Supervisor::new(ServerConfig::DEFAULT);
    let old = supervisor.insert(machine(1000));
    assert!(supervisor.remove(old).is_some());
    let new = supervisor.insert(machine(1000));
    assert_ne!(old, new);
    assert!(supervisor.get(old).is_none() && supervisor.remove(old).is_none());
    assert!(supervisor.handle(old, ServerEvent::Wake, now(secs(1))).is_none());
    assert_eq!(supervisor.keys().collect::<Vec<_>>(), [new]);
    assert_eq!((supervisor.len(), supervisor.is_empty()), (1, false));
}
