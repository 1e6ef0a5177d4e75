//! Whether a process ran: the times at which one process was not executed. The model knows
//! them from the world; the machines have to find out.

use super::rules::Rules;
use crate::lab::fact::{LocalNanos, TrueNanos, When};

/// The presence of one process on its host.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Host {
    pub(super) running: bool,
    away: Option<(TrueNanos, LocalNanos)>,
    /// The last return, or the start, by its own clock.
    pub(super) back: LocalNanos,
    /// How long it was suspended since this was last asked for.
    slept: u64,
    /// How often it was away.
    pub(super) absences: u32,
}

/// A time in which a process was away, by its own clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Absence {
    pub(super) from: LocalNanos,
    pub(super) to: LocalNanos,
}

impl Absence {
    pub(super) const fn length(self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}

impl Host {
    pub(super) fn started(when: When) -> Self {
        Self { running: true, back: when.local, ..Self::default() }
    }

    pub(super) fn leaves(&mut self, when: When) {
        self.away = self.away.or(Some((when.world, when.local)));
        self.absences += 1;
    }

    pub(super) fn returns(&mut self, when: When) -> Option<Absence> {
        let (world, local) = self.away.take()?;
        let absence = Absence { from: local, to: when.local };
        let passed = when.world.saturating_sub(world);
        // Drift over a long freeze is no sleep: clocks are wrong by up to 200 ppm.
        let drift = passed / 5_000;
        self.slept += passed.saturating_sub(absence.length()).saturating_sub(drift);
        self.back = when.local;
        Some(absence)
    }

    /// How long the host was suspended since the last call, if that counts as sleep.
    #[inline]
    pub(super) fn take_sleep(&mut self, rules: &Rules) -> Option<u64> {
        if self.slept == 0 {
            return None;
        }
        let slept = core::mem::take(&mut self.slept);
        (slept >= rules.slept.saturating_sub(rules.tolerance)).then_some(slept)
    }

    /// A sleep does not delay a stop.
    pub(super) fn forget_sleep(&mut self) {
        self.slept = 0;
    }

    /// The latest time at which something due after `wait` from `since` may be done: own absence
    /// is not a fault, so it is counted no later than from the return.
    #[inline]
    pub(super) fn latest(&self, since: LocalNanos, wait: u64) -> LocalNanos {
        since.max(self.back).saturating_add(wait)
    }
}
