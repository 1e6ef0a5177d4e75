//! Time as a value: the core never reads a clock; it is given what the clocks said.
//!
//! Here live [`Timestamp`] (what deadlines are computed from), [`WallTime`] (a label for people),
//! [`Now`] (one sample of all clocks) and [`Deadline`]. Nothing here may know why a time matters.
//!
//! Tier 0 of the [crate](crate#what-is-public-in-tiers): the ground.

use core::fmt;
use core::num::NonZeroU64;
use core::time::Duration;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point on a monotonic clock: nanoseconds since an origin that the owner of the clock picks.
///
/// Two timestamps compare only if they come from the same clock. Arithmetic saturates, so no input
/// can make it panic; the range is 584 years.
///
/// ```
/// use onsembl_protocol::time::Timestamp;
/// use std::time::Duration;
///
/// let begin = Timestamp::from_origin(Duration::from_secs(3));
/// let later = begin.saturating_add(Duration::from_millis(250));
/// assert_eq!(later.saturating_since(begin), Duration::from_millis(250));
/// assert_eq!(begin.saturating_since(later), Duration::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(NonZeroU64);

impl Timestamp {
    /// The origin itself: the earliest timestamp there is.
    pub const ORIGIN: Self = Self(NonZeroU64::MIN);
    /// The latest timestamp there is.
    pub const MAX: Self = Self(NonZeroU64::MAX);

    /// The timestamp `elapsed` after the origin.
    pub const fn from_origin(elapsed: Duration) -> Self {
        Self::ORIGIN.saturating_add(elapsed)
    }

    /// Time since the origin.
    pub const fn since_origin(self) -> Duration {
        Duration::from_nanos(self.0.get() - 1)
    }

    /// This timestamp moved later by `by`.
    pub const fn saturating_add(self, by: Duration) -> Self {
        let nanos = by.as_nanos();
        let nanos = if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 };
        Self(self.0.saturating_add(nanos))
    }

    /// This timestamp moved earlier by `by`, to the origin at most.
    pub const fn saturating_sub(self, by: Duration) -> Self {
        Self::from_origin(self.since_origin().saturating_sub(by))
    }

    /// [`saturating_add`](Self::saturating_add) of whole milliseconds, for paths where the parts of
    /// a `Duration` are worth saving.
    pub(crate) const fn after_millis(self, millis: u32) -> Self {
        Self(self.0.saturating_add(millis as u64 * 1_000_000))
    }

    /// Whether `earlier` is at least this many milliseconds ago.
    pub(crate) const fn is_past(self, earlier: Self, millis: u32) -> bool {
        self.0.get().saturating_sub(earlier.0.get()) >= millis as u64 * 1_000_000
    }

    /// Time from `earlier` to this timestamp; zero if `earlier` is later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let d = self.since_origin();
        write!(f, "+{}.{:03}s", d.as_secs(), d.subsec_millis())
    }
}

/// Written as nanoseconds since the origin.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0.get() - 1)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(|nanos| Self::from_origin(Duration::from_nanos(nanos)))
    }
}

/// Milliseconds since the Unix epoch by some host's wall clock.
///
/// Only ever a label: no decision of this crate compares wall times, because they jump and because
/// two hosts disagree (P-21).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct WallTime(i64);

impl WallTime {
    /// The wall time `millis` milliseconds after the Unix epoch.
    pub const fn from_unix_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn unix_millis(self) -> i64 {
        self.0
    }

    /// So long before it. A label of the past, and no deadline.
    #[must_use]
    pub(crate) fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// So long behind it. A label, and no deadline.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Reads an RFC 3339 text; `None` if it is not one.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|t| Self(t.as_millisecond()))
    }
}

impl fmt::Debug for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// RFC 3339 in UTC with milliseconds; the bare number if no calendar holds it.
impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => write!(f, "{t:.3}"),
            Err(_) => write!(f, "{}", self.0),
        }
    }
}

/// One sample of a host's clocks, taken when an event is handed to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// Runs only while the host is awake (`CLOCK_MONOTONIC`). All deadlines are on this clock.
    pub monotonic: Timestamp,
    /// Runs through suspend too (`CLOCK_BOOTTIME`). When it gains on `monotonic`, the host slept.
    pub boot: Timestamp,
    /// What the wall says. A label.
    pub wall: WallTime,
}

impl Now {
    /// A sample of all three clocks, each since an origin of its own that stays the same: `CLOCK_MONOTONIC`,
    /// `CLOCK_BOOTTIME`, and what the wall says.
    ///
    /// A machine that is given the same for both of the first never notices that its host was suspended; see
    /// [`without_suspend`](Self::without_suspend).
    ///
    /// ```
    /// use onsembl_protocol::time::{Now, WallTime};
    /// use std::time::Duration;
    ///
    /// let wall = WallTime::from_unix_millis(1_762_041_600_000);
    /// let before = Now::new(Duration::from_secs(10), Duration::from_secs(500), wall);
    /// // The lid was closed for an hour, less a second.
    /// let after = Now::new(Duration::from_secs(11), Duration::from_secs(4_100), wall);
    /// assert_eq!(after.suspended_since(&before), Duration::from_secs(3_599));
    /// ```
    pub const fn new(monotonic: Duration, boot: Duration, wall: WallTime) -> Self {
        let (monotonic, boot) = (Timestamp::from_origin(monotonic), Timestamp::from_origin(boot));
        Self { monotonic, boot, wall }
    }

    /// A sample of a host that is never suspended and whose clocks all started together: for tests, simulations and
    /// examples. On a real machine that can sleep, take [`new`](Self::new).
    pub const fn without_suspend(elapsed: Duration) -> Self {
        let at = Timestamp::from_origin(elapsed);
        Self {
            monotonic: at,
            boot: at,
            wall: WallTime((elapsed.as_millis() & 0x7fff_ffff_ffff) as i64),
        }
    }

    /// This sample with no clock behind `earlier`: a clock that steps back stands still.
    pub(crate) fn not_before(self, earlier: &Self) -> Self {
        Self {
            monotonic: self.monotonic.max(earlier.monotonic),
            boot: self.boot.max(earlier.boot),
            wall: self.wall,
        }
    }

    /// How long the host was suspended between `earlier` and this sample.
    pub const fn suspended_since(&self, earlier: &Self) -> Duration {
        let boot = self.boot.saturating_since(earlier.boot);
        let awake = self.monotonic.saturating_since(earlier.monotonic);
        boot.saturating_sub(awake)
    }
}

/// When a machine wants to be woken: absolute, and always later than the `now` it was computed at.
///
/// ```
/// use onsembl_protocol::time::{Deadline, Timestamp};
/// use std::time::Duration;
///
/// let at = Timestamp::from_origin(Duration::from_secs(5));
/// let deadline = Deadline::Never.min(Deadline::At(at));
/// assert!(deadline.is_due(at));
/// assert_eq!(deadline.overdue_by(at.saturating_add(Duration::from_secs(1))), Duration::from_secs(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[must_use = "a deadline that is not armed is a state without a way out"]
pub enum Deadline {
    /// No wake-up is needed.
    #[default]
    Never,
    /// Wake at this time, or as soon after it as can be.
    At(Timestamp),
}

impl Deadline {
    /// The earlier of two deadlines.
    pub fn min(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never, d) | (d, Self::Never) => d,
            (Self::At(a), Self::At(b)) => Self::At(a.min(b)),
        }
    }

    /// Whether this deadline comes before another.
    pub fn is_before(self, other: Self) -> bool {
        match (self, other) {
            (Self::Never, _) => false,
            (Self::At(_), Self::Never) => true,
            (Self::At(a), Self::At(b)) => a < b,
        }
    }

    /// This deadline, but later than `now` in any case, so that no driver can spin on it.
    pub fn after(self, now: Timestamp) -> Self {
        match self {
            Self::Never => Self::Never,
            Self::At(at) => Self::At(at.max(now.saturating_add(Duration::from_nanos(1)))),
        }
    }

    /// Whether the deadline has come.
    pub fn is_due(self, now: Timestamp) -> bool {
        match self {
            Self::Never => false,
            Self::At(at) => at <= now,
        }
    }

    /// How late `now` is; zero if the deadline is still ahead.
    pub fn overdue_by(self, now: Timestamp) -> Duration {
        match self {
            Self::Never => Duration::ZERO,
            Self::At(at) => now.saturating_since(at),
        }
    }
}

/// A duration as people write it: `90s`, `2.5s`, `5m`, `250ms`. For reasons and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Human(pub Duration);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        if ms < 1000 {
            write!(f, "{ms}ms")
        } else if ms >= 60_000 && ms.is_multiple_of(60_000) {
            write!(f, "{}m", ms / 60_000)
        } else if ms.is_multiple_of(1000) {
            write!(f, "{}s", ms / 1000)
        } else {
            write!(f, "{}.{}s", ms / 1000, (ms % 1000) / 100)
        }
    }
}
