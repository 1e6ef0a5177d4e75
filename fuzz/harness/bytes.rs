// Bytes as decisions: numbers, choices, and how time goes between two events.

use core::time::Duration;
use onsembl_protocol::time::{Deadline, Now, Timestamp, WallTime};

/// More events than any story needs; bounds the time of one input.
pub const MOST_EVENTS: usize = 512;

/// Reads decisions until the bytes end; from there on everything is zero.
#[derive(Clone, Copy)]
pub struct Bytes<'a>(pub &'a [u8]);

impl Bytes<'_> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub fn short(&mut self) -> u64 {
        u64::from(u16::from_le_bytes([self.byte(), self.byte()]))
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.byte()) % from.len()]
    }

    /// A small number, or none.
    pub fn number(&mut self) -> Option<u64> {
        match self.byte() {
            255 => None,
            254 => Some(u64::MAX),
            n => Some(u64::from(n % 64)),
        }
    }

    /// A short text with all that JSON must escape.
    pub fn text(&mut self) -> String {
        let length = self.byte() % 12;
        (0..length).map(|_| char::from(self.byte())).collect()
    }
}

/// The clocks of one host. Wall and monotonic clock may step back.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    awake: Duration,
    asleep: Duration,
}

impl Default for Clocks {
    fn default() -> Self {
        Self { awake: Duration::from_secs(1_000_000), asleep: Duration::ZERO }
    }
}

impl Clocks {
    pub fn now(&self) -> Now {
        Now {
            monotonic: Timestamp::from_origin(self.awake),
            boot: Timestamp::from_origin(self.awake + self.asleep),
            wall: WallTime::from_unix_millis(self.awake.as_millis() as i64),
        }
    }

    /// Nothing, a little, much, to the deadline and beyond, backwards, in sleep, by days.
    pub fn pass(&mut self, bytes: &mut Bytes<'_>, deadline: Deadline) {
        let ms = Duration::from_millis;
        match bytes.byte() % 12 {
            0..4 => {}
            4 => self.awake += ms(bytes.short()),
            5 => self.awake += ms(bytes.short() * 10),
            6 | 7 => self.reach(deadline, 0),
            8 => self.reach(deadline, u64::from(bytes.byte()) * 4),
            9 => self.awake = self.awake.saturating_sub(ms(bytes.short())),
            10 => self.asleep += ms(bytes.short() * 8),
            _ => self.awake += Duration::from_secs(3600 * u64::from(bytes.byte())),
        }
    }

    fn reach(&mut self, deadline: Deadline, late: u64) {
        if let Deadline::At(at) = deadline {
            self.awake = self.awake.max(at.since_origin()) + Duration::from_millis(late);
        }
    }
}

/// A moment strictly before the deadline and not before now, if there is one. (A deadline of one
/// nanosecond means "at once": what it is for is due already.)
pub fn early(now: Now, deadline: Deadline, fraction: u8) -> Option<Now> {
    let ahead = match deadline {
        Deadline::Never => Duration::from_secs(3600),
        Deadline::At(at) => {
            at.saturating_since(now.monotonic).checked_sub(Duration::from_nanos(2))?
        }
    };
    let by = (ahead / 255).saturating_mul(u32::from(fraction)).min(ahead);
    Some(Now {
        monotonic: now.monotonic.saturating_add(by),
        boot: now.boot.saturating_add(by),
        wall: now.wall,
    })
}

/// The same sample, so much earlier by the clocks that decide.
pub fn earlier(now: Now, by: Duration) -> Now {
    Now {
        monotonic: now.monotonic.saturating_sub(by),
        boot: now.boot.saturating_sub(by),
        wall: now.wall,
    }
}

/// Up to 2,000 bytes from a seed.
pub fn drawn(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let length = next() % 2_000;
    (0..length).map(|_| (next() >> 32) as u8).collect()
}
