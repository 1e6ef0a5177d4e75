//! Notices that a wall clock was set, by the clock that nobody sets. Decides nothing; what it notices is a finding.

use crate::model::{Cause, Confidence, Evidence, Finding};
use crate::time::{Now, Timestamp, WallTime};
use core::time::Duration;

/// A clock that is set in smaller steps is kept in order by its time service.
const LEAST: Duration = Duration::from_secs(2);
/// What a time service may slew a clock by, in parts: five times what Linux allows, of the time since the last look.
const SLEWED: u32 = 400;

/// The two clocks as they were last looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockWatch {
    wall: WallTime,
    boot: Timestamp,
}

impl ClockWatch {
    /// Watches from now on.
    #[must_use]
    pub(crate) const fn new(now: Now) -> Self {
        Self { wall: now.wall, boot: now.boot }
    }

    /// Looks at the clocks. A finding if the wall clock was set since the last look.
    pub(crate) fn look(&mut self, now: Now) -> Option<Finding> {
        let before = core::mem::replace(self, Self::new(now));
        let passed = now.boot.saturating_since(before.boot);
        let by_wall = now.wall.unix_millis().saturating_sub(before.wall.unix_millis());
        let real = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
        let off = Duration::from_millis(by_wall.saturating_sub(real).unsigned_abs());
        let direction = if by_wall >= real { "ahead" } else { "back" };
        (off >= LEAST.max(passed / SLEWED)).then(|| {
            let evidence = Evidence::NONE.with("set", direction).with("by", off);
            Finding::new(Cause::ClockJump, Confidence::High).on(evidence)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(boot_ms: u64, wall_ms: i64) -> Now {
        let boot = Timestamp::from_origin(Duration::from_millis(boot_ms));
        Now { monotonic: boot, boot, wall: WallTime::from_unix_millis(wall_ms) }
    }

    #[test]
    fn a_clock_that_was_set_is_noticed_once_and_its_drift_never() {
        let mut watch = ClockWatch::new(at(0, 1_000_000));
        assert_eq!(watch.look(at(10_000, 1_010_500)), None, "read at slightly different times");
        let hour = 3_600_000;
        assert_eq!(watch.look(at(10_000 + hour, 1_010_500 + hour as i64 + 1800)), None, "slewed");
        let (boot, wall) = (10_000 + hour, 1_010_500 + hour as i64 + 1800);
        let found = watch.look(at(boot + 1, wall + 400 * 86_400_000)).unwrap();
        assert_eq!(found.cause, Cause::ClockJump);
        assert_eq!(found.evidence.text("set"), Some("ahead"));
        assert_eq!(watch.look(at(boot + 2, wall + 400 * 86_400_000 + 1)), None);
        let back = watch.look(at(boot + 3, wall)).unwrap();
        assert_eq!(back.evidence.text("set"), Some("back"));
    }

    #[test]
    fn a_sleep_is_no_jump() {
        let mut watch = ClockWatch::new(at(0, 0));
        let mut woken = at(3_600_000, 3_600_000);
        woken.monotonic = Timestamp::ORIGIN;
        assert_eq!(watch.look(woken), None);
    }
}
