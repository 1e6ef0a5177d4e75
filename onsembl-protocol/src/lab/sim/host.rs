//! The clocks of one host: a monotonic one that drifts and stands still in suspend, a boot clock
//! that continues, a wall clock that is wrong and jumps.

use super::random::Random;
use super::{MILLI, SECOND};
use crate::lab::fact::When;
use crate::time::{Deadline, Now, Timestamp, WallTime};
use core::time::Duration;

/// One nanosecond of host time for one of true time, with 63 bits behind the point.
const ONE: u128 = 1 << 63;
/// Furthest that a monotonic sample steps back.
const WOBBLE: u64 = 50_000;

/// The clocks of one host.
#[derive(Clone, Debug)]
pub(super) struct Host {
    rate: u64,
    inverse: u64,
    since: u64,
    monotonic: u64,
    asleep: u64,
    asleep_since: u64,
    suspends: u32,
    wall_skew: i64,
    wobbly_samples: u32,
    /// The latest sample handed out.
    floor: u64,
}

impl Host {
    /// A host that has been up for a while, whose clock drifts by up to 200 ppm and whose wall
    /// clock is wrong by up to two hours.
    pub(super) fn new(random: &mut Random) -> Self {
        let ppm = random.below(401) as i128 - 200;
        let rate = (ONE as i128 + ONE as i128 * ppm / 1_000_000) as u128;
        Self {
            rate: rate as u64,
            inverse: (ONE * ONE / rate) as u64,
            since: 0,
            monotonic: random.seconds(10, 100_000),
            asleep: random.seconds(0, 100_000),
            asleep_since: 0,
            suspends: 0,
            wall_skew: 1_767_225_600_000 + random.below(14_400_000) as i64 - 7_200_000,
            wobbly_samples: 0,
            floor: 0,
        }
    }

    /// What the monotonic clock says at this true time.
    pub(super) fn monotonic(&self, world: u64) -> u64 {
        let world = if self.suspends > 0 { self.asleep_since } else { world };
        self.monotonic + scale(world.saturating_sub(self.since), self.rate)
    }

    /// The true time at which the monotonic clock says so, if the host stays awake.
    pub(super) fn world_at(&self, local: u64) -> u64 {
        let Some(ahead) = local.checked_sub(self.monotonic) else { return self.since };
        let mut elapsed = scale(ahead, self.inverse);
        while scale(elapsed, self.rate) < ahead {
            elapsed += 1;
        }
        self.since.saturating_add(elapsed)
    }

    /// Samples all clocks.
    pub(super) fn sample(&mut self, world: u64) -> Now {
        let mut monotonic = self.monotonic(world);
        let boot = monotonic + self.asleep;
        if self.wobbly_samples > 0 {
            let back = u64::from(self.wobbly_samples) * 7919 % WOBBLE;
            self.wobbly_samples -= 1;
            monotonic = monotonic.saturating_sub(back);
        }
        self.floor = self.floor.max(monotonic);
        Now { monotonic: stamp(monotonic), boot: stamp(boot), wall: self.wall(world) }
    }

    /// When a fact is one here.
    pub(super) fn when(&self, world: u64) -> When {
        When {
            world,
            local: self.monotonic(world).max(self.floor),
            wall: self.wall(world).unix_millis(),
        }
    }

    /// The latest sample handed out.
    pub(super) fn latest(&self) -> Timestamp {
        stamp(self.floor)
    }

    pub(super) fn wall(&self, world: u64) -> WallTime {
        WallTime::from_unix_millis((world / MILLI) as i64 + self.wall_skew)
    }

    pub(super) fn step_wall(&mut self, millis: i64) {
        self.wall_skew += millis;
    }

    /// The next samples of the monotonic clock repeat or step back a little.
    pub(super) fn wobble(&mut self) {
        self.wobbly_samples = 40;
    }

    pub(super) fn suspend(&mut self, world: u64) {
        if self.suspends == 0 {
            self.asleep_since = world;
        }
        self.suspends += 1;
    }

    /// One of its suspends is over. The host is awake again when the last of them is.
    pub(super) fn resume(&mut self, world: u64) {
        if self.suspends == 1 {
            self.monotonic = self.monotonic(world);
            self.since = world;
            self.asleep += world.saturating_sub(self.asleep_since);
        }
        self.suspends = self.suspends.saturating_sub(1);
    }

    pub(super) fn is_suspended(&self) -> bool {
        self.suspends > 0
    }

    /// Whether a deadline has come, by the clock as it is.
    pub(super) fn is_due(&self, deadline: Deadline, world: u64) -> bool {
        nanos(deadline).is_some_and(|at| at <= self.monotonic(world))
    }
}

fn scale(nanos: u64, rate: u64) -> u64 {
    ((u128::from(nanos) * u128::from(rate)) >> 63) as u64
}

fn stamp(nanos: u64) -> Timestamp {
    Timestamp::from_origin(Duration::from_nanos(nanos))
}

/// A deadline as a number.
pub(super) fn nanos(deadline: Deadline) -> Option<u64> {
    match deadline {
        Deadline::Never => None,
        Deadline::At(at) => Some(of(at)),
    }
}

/// A timestamp as a number.
pub(super) fn of(at: Timestamp) -> u64 {
    let since = at.since_origin();
    since.as_secs() * SECOND + u64::from(since.subsec_nanos())
}

/// A duration as a number.
pub(super) fn span(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(SECOND) + u64::from(duration.subsec_nanos())
}
