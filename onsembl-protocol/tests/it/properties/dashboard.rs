//! The invariants of the machine of a dashboard link, and of the supervisor around many of them.

use super::walk::{Clocks, earlier, early, passing};
use crate::support::{ms, secs};
use onsembl_protocol::session::{DashboardAction, DashboardConnection, DashboardEvent};
use onsembl_protocol::supervisor::Supervisor;
use onsembl_protocol::time::{Deadline, Now};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_invariants_of_a_dashboard_link_hold(
        moves in vec((passing(), any::<bool>(), any::<u8>()), 1..400),
    ) {
        let mut clocks = Clocks::new();
        let mut last = clocks.now();
        let mut machine = DashboardConnection::new(last);
        let mut deadline = machine.deadline();
        let mut closed = false;
        for (passing, speaks, fraction) in moves {
            if let Some(moment) = early(last, deadline, fraction) {
                let step = machine.clone().handle(DashboardEvent::Wake, moment);
                prop_assert!(step.actions.is_empty());
            }
            let event = if speaks { DashboardEvent::Received } else { DashboardEvent::Wake };
            let on_time = machine.clone().handle(event, last);
            let back = machine.clone().handle(event, earlier(last, ms(u64::from(fraction) * 997)));
            prop_assert_eq!(on_time.actions, back.actions);

            clocks.pass(passing, deadline);
            let now = clocks.now();
            let step = machine.handle(event, now);
            deadline = step.deadline;
            let at = now.monotonic.max(last.monotonic);
            match deadline {
                Deadline::At(due) => prop_assert!(due > now.monotonic),
                Deadline::Never => closed = true,
            }
            let closes = |a| matches!(a, DashboardAction::Close(_));
            prop_assert_eq!(step.actions.iter().any(closes), closed && !step.actions.is_empty());
            last = Now { monotonic: at, ..now };
        }
    }

    /// Invariant 10: with any budget a supervisor does what a naive scan would.
    #[test]
    fn a_supervisor_wakes_everybody_who_is_due_and_nobody_else(
        starts in vec(0u64..40_000, 1..40),
        budget in 1usize..10,
        gaps in vec(1u64..20_000, 1..20),
    ) {
        let at = |n| crate::support::now(ms(n));
        let mut supervisor = Supervisor::new(());
        let mut naive = Vec::new();
        let mut clock = 40_000;
        for start in starts {
            let machine = DashboardConnection::new(at(start));
            naive.push((supervisor.insert(machine), machine));
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
                let by_scan =
                    due.then(|| machine.handle(DashboardEvent::Wake, at(clock)).actions.iter().collect::<Vec<_>>());
                let by_sweep: Vec<_> = woken.iter().filter(|(k, _)| k == key).collect();
                prop_assert_eq!(by_sweep.len(), usize::from(due));
                prop_assert_eq!(by_sweep.first().map(|(_, a)| a.clone()), by_scan);
            }
        }
    }
}

#[test]
fn a_key_of_a_removed_machine_names_nothing_also_when_its_slot_is_used_again() {
    let now = crate::support::now(secs(1));
    let mut supervisor = Supervisor::new(());
    let old = supervisor.insert(DashboardConnection::new(now));
    assert!(supervisor.remove(old).is_some());
    let new = supervisor.insert(DashboardConnection::new(now));
    assert_ne!(old, new);
    assert!(supervisor.get(old).is_none() && supervisor.remove(old).is_none());
    assert!(supervisor.handle(old, DashboardEvent::Received, now).is_none());
    assert_eq!(supervisor.keys().collect::<Vec<_>>(), [new]);
    assert_eq!((supervisor.len(), supervisor.is_empty()), (1, false));
}
