//! The heartbeat monitor by itself, against a model that only subtracts.

use crate::support::{ms, stamp};
use onsembl_protocol::liveness::{
    HeartbeatMonitor, HeartbeatTiming, Liveness, OVERSLEEP_TOLERANCE,
};
use onsembl_protocol::time::Deadline;
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

    /// With a driver that is never late the monitor is exactly "now minus last heard".
    #[test]
    fn without_stalls_the_monitor_is_a_subtraction(steps in vec((0u64..20_000, any::<bool>()), 1..200)) {
        let timing = HeartbeatTiming::DEFAULT;
        let (mut at, mut heard) = (0u64, 0u64);
        let mut monitor = HeartbeatMonitor::new(timing, stamp(ms(0)));
        for (gap, speaks) in steps {
            let until = at + gap;
            while let Deadline::At(due) = monitor.deadline() && due <= stamp(ms(until)) {
                prop_assert!(monitor.on_wake(due).overslept.is_none());
            }
            at = until;
            let silent = ms(at - heard);
            let model = if silent >= timing.timeout_after() {
                Liveness::TimedOut
            } else if silent >= timing.stale_after() {
                Liveness::Stale
            } else {
                Liveness::Live
            };
            prop_assert_eq!(monitor.liveness(), model, "at {} heard {}", at, heard);
            if model == Liveness::TimedOut {
                prop_assert_eq!(monitor.deadline(), Deadline::Never);
                let _ = monitor.on_received(stamp(ms(at)));
                prop_assert_eq!(monitor.liveness(), Liveness::TimedOut, "it is final");
                return Ok(());
            }
            if speaks {
                let _ = monitor.on_received(stamp(ms(at)));
                heard = at;
            }
        }
    }

    /// However late the driver is: no step is skipped, and what it slept through is not counted.
    #[test]
    fn no_stall_condemns(stalls in vec((0u64..500_000, any::<bool>()), 1..100)) {
        let timing = HeartbeatTiming::DEFAULT;
        let mut monitor = HeartbeatMonitor::new(timing, stamp(ms(0)));
        let mut at = stamp(ms(0));
        let mut watched = ms(0);
        for (late, speaks) in stalls {
            let Deadline::At(due) = monitor.deadline() else { break };
            let moment = due.saturating_add(ms(late));
            let before = monitor.liveness();
            let seen = if speaks { monitor.on_received(moment) } else { monitor.on_wake(moment) };
            prop_assert_eq!(seen.overslept.is_some(), ms(late) > OVERSLEEP_TOLERANCE);
            if seen.overslept.is_none() {
                watched += moment.saturating_since(at);
            }
            if speaks {
                watched = ms(0);
            }
            at = moment;
            match (before, monitor.liveness()) {
                (Liveness::Live, Liveness::TimedOut) => prop_assert!(false, "a step was skipped"),
                (_, Liveness::Stale) => prop_assert!(watched >= timing.stale_after()),
                (_, Liveness::TimedOut) => prop_assert!(watched >= timing.timeout_after()),
                (_, Liveness::Live) => {}
            }
        }
    }
}
