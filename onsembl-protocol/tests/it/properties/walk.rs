//! How time goes in a random walk: in small steps, to the next deadline, in stalls, backwards, and
//! through sleep of the host.

use crate::support::{EPOCH_MS, ms, stamp};
use onsembl_protocol::time::{Deadline, Now, WallTime};
use proptest::prelude::*;
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub(super) enum Passing {
    /// Nothing.
    None,
    /// So much.
    By(Duration),
    /// To the deadline, and this much beyond it.
    ToDeadline(Duration),
    /// Backwards, by all clocks.
    Back(Duration),
    /// The host sleeps.
    Sleep(Duration),
}

pub(super) fn passing() -> impl Strategy<Value = Passing> {
    prop_oneof![
        2 => Just(Passing::None),
        4 => (1u64..5_000).prop_map(|n| Passing::By(ms(n))),
        2 => (5_000u64..100_000).prop_map(|n| Passing::By(ms(n))),
        1 => (100_000u64..10_000_000).prop_map(|n| Passing::By(ms(n))),
        8 => Just(Passing::ToDeadline(Duration::ZERO)),
        4 => (0u64..600).prop_map(|n| Passing::ToDeadline(ms(n))),
        1 => (1u64..200_000).prop_map(|n| Passing::Back(ms(n))),
        1 => (1u64..300_000).prop_map(|n| Passing::Sleep(ms(n))),
    ]
}

/// The clocks of one host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    awake: Duration,
    asleep: Duration,
}

impl Clocks {
    pub(super) fn new() -> Self {
        Self { awake: ms(1_000_000), asleep: Duration::ZERO }
    }

    pub(super) fn now(&self) -> Now {
        Now {
            monotonic: stamp(self.awake),
            boot: stamp(self.awake + self.asleep),
            wall: WallTime::from_unix_millis(EPOCH_MS + self.awake.as_millis() as i64),
        }
    }

    pub(super) fn pass(&mut self, passing: Passing, deadline: Deadline) {
        match passing {
            Passing::None => {}
            Passing::By(time) => self.awake += time,
            Passing::ToDeadline(late) => {
                if let Deadline::At(at) = deadline {
                    self.awake = self.awake.max(at.since_origin()) + late;
                }
            }
            Passing::Back(time) => self.awake = self.awake.saturating_sub(time),
            Passing::Sleep(time) => self.asleep += time,
        }
    }
}

/// A moment strictly before the deadline and not before now, if there is one. (A deadline of one
/// nanosecond means "at once": what it is for is due already.)
pub(super) fn early(now: Now, deadline: Deadline, fraction: u8) -> Option<Now> {
    let ahead = match deadline {
        Deadline::Never => Duration::from_secs(3600),
        Deadline::At(at) => {
            at.saturating_since(now.monotonic).checked_sub(Duration::from_nanos(2))?
        }
    };
    let by = ahead.mul_f64(f64::from(fraction) / 255.0).min(ahead);
    Some(Now {
        monotonic: now.monotonic.saturating_add(by),
        boot: now.boot.saturating_add(by),
        wall: now.wall,
    })
}

/// The same sample, so much earlier by all clocks.
pub(super) fn earlier(now: Now, by: Duration) -> Now {
    Now {
        monotonic: stamp(now.monotonic.since_origin().saturating_sub(by)),
        boot: stamp(now.boot.since_origin().saturating_sub(by)),
        wall: now.wall,
    }
}
