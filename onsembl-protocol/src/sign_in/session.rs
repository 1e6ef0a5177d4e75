//! How long a session of a browser lasts. It outlives the server process, so its times are those of the wall, and a clock
//! that was set back ends it sooner instead of later.

use crate::time::WallTime;
use core::time::Duration;

/// The times of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimes {
    /// When it was signed in to.
    pub created: WallTime,
    /// When it was used last, as far as that is recorded.
    pub last_used: WallTime,
    /// When what it was opened with ends; never if absent.
    pub until: Option<WallTime>,
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// It was not used for [`SessionTimes::IDLE`].
    Idle,
    /// Its time is over, or that of the token that opened it.
    Expired,
    /// It was used at a time that has not come: the clock was set back, so nobody knows how old it is.
    ClockSetBack,
}

impl SessionTimes {
    /// How long it may be unused: 12 hours, from one working day to the next.
    pub const IDLE: Duration = Duration::from_secs(12 * 3600);
    /// How long it lasts at most: 30 days.
    pub const ABSOLUTE: Duration = Duration::from_secs(30 * 24 * 3600);
    /// By how much a clock may be set back: 10 minutes, far more than a time service corrects at once.
    pub const SLACK: Duration = Duration::from_secs(600);
    /// How much later than recorded it must be used for that to be recorded: a minute.
    pub const NEWS_AFTER: Duration = Duration::from_secs(60);
    /// Sessions that are kept of one user: 32. That which was not used for the longest time makes room.
    pub const OF_USER: usize = 32;

    /// A session that begins now.
    #[must_use]
    pub const fn new(now: WallTime, until: Option<WallTime>) -> Self {
        Self { created: now, last_used: now, until }
    }

    /// Whether it is good now.
    ///
    /// # Errors
    /// [`SessionEnd`]: it is over.
    pub fn check(&self, now: WallTime) -> Result<(), SessionEnd> {
        if self.created.max(self.last_used) > now.after(Self::SLACK) {
            Err(SessionEnd::ClockSetBack)
        } else if now >= self.expires() {
            Err(SessionEnd::Expired)
        } else if now >= self.idle_until() {
            Err(SessionEnd::Idle)
        } else {
            Ok(())
        }
    }

    /// When it is over if it is not used.
    #[must_use]
    pub fn idle_until(&self) -> WallTime {
        self.last_used.after(Self::IDLE).min(self.expires())
    }

    /// When it is over in any case.
    #[must_use]
    pub fn expires(&self) -> WallTime {
        let absolute = self.created.after(Self::ABSOLUTE);
        self.until.map_or(absolute, |until| until.min(absolute))
    }

    /// Whether it is to be recorded that it is used now.
    #[must_use]
    pub fn is_news(&self, now: WallTime) -> bool {
        now >= self.last_used.after(Self::NEWS_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn at(hours: i64) -> WallTime {
        WallTime::from_unix_millis(hours * HOUR)
    }

    fn used(created: i64, last_used: i64) -> SessionTimes {
        SessionTimes { last_used: at(last_used), ..SessionTimes::new(at(created), None) }
    }

    #[test]
    fn a_session_ends_when_it_is_idle_and_in_any_case_after_thirty_days() {
        let day = 24;
        assert_eq!(used(0, 0).check(at(11)), Ok(()));
        assert_eq!(used(0, 0).check(at(12)), Err(SessionEnd::Idle));
        assert_eq!(used(0, 29 * day).check(at(29 * day + 11)), Ok(()));
        assert_eq!(used(0, 30 * day - 1).check(at(30 * day)), Err(SessionEnd::Expired));
        assert_eq!(used(0, 30 * day - 1).idle_until(), at(30 * day));
    }

    #[test]
    fn a_session_lasts_no_longer_than_the_token_that_opened_it() {
        let of_token = SessionTimes::new(at(0), Some(at(2)));
        assert_eq!((of_token.expires(), of_token.idle_until()), (at(2), at(2)));
        assert_eq!(of_token.check(at(1)), Ok(()));
        assert_eq!(of_token.check(at(2)), Err(SessionEnd::Expired));
        let longer = SessionTimes::new(at(0), Some(at(1000)));
        assert_eq!(longer.expires(), at(30 * 24));
    }

    #[test]
    fn a_clock_that_jumps_back_ends_a_session_instead_of_lengthening_it() {
        let session = used(1000, 1001);
        assert_eq!(session.check(at(1000)), Err(SessionEnd::ClockSetBack));
        let slack = i64::try_from(SessionTimes::SLACK.as_millis()).unwrap();
        let corrected = WallTime::from_unix_millis(1001 * HOUR - slack);
        assert_eq!(session.check(corrected), Ok(()));
        assert!(!session.is_news(corrected));
    }

    #[test]
    fn a_use_is_recorded_once_a_minute() {
        let session = SessionTimes::new(at(0), None);
        assert!(!session.is_news(WallTime::from_unix_millis(59_999)));
        assert!(session.is_news(WallTime::from_unix_millis(60_000)));
    }
}
