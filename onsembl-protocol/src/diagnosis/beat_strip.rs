//! The heartbeats of an agent as one picture: a cell for each interval, of what was heard and of what was seen of ours,
//! in as few bytes as a row of a table can have of each agent.

use crate::id::BeatSequence;
use crate::time::Timestamp;
use alloc::string::String;
use core::time::Duration;

/// The latest [`CELLS`](Self::CELLS) intervals of an agent, by the clock that runs through sleep.
#[derive(Clone, Debug)]
pub struct BeatStrip {
    /// The number of the newest cell, which is the lowest bit of both planes.
    newest: u64,
    heard_at: Timestamp,
    seen: Option<BeatSequence>,
    low: u128,
    high: u128,
}

/// What a heartbeat of an agent shows. A later one shows more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cell {
    Nothing,
    /// It was heard. What it saw of ours is not known.
    Heard,
    /// It was heard, and had seen no further one of ours.
    Unseen,
    /// Both.
    Both,
}

impl Cell {
    const fn letter(self) -> char {
        match self {
            Self::Nothing => '-',
            Self::Heard => 'h',
            Self::Unseen => 'u',
            Self::Both => 'b',
        }
    }
}

impl BeatStrip {
    /// Intervals that are kept: 128, of an hour by default.
    pub const CELLS: u32 = u128::BITS;
    /// What stands for an interval of which nothing was recorded.
    pub const NOT_RECORDED: char = '?';

    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { newest: 0, heard_at: Timestamp::ORIGIN, seen: None, low: 0, high: 0 }
    }

    /// A heartbeat of the agent came, which had seen ours up to this one; `None`: it says nothing of them.
    pub fn heard(&mut self, interval: Duration, seen: Option<BeatSequence>, now: Timestamp) {
        let what = match seen {
            None => Cell::Heard,
            Some(_) if seen == self.seen => Cell::Unseen,
            Some(_) => Cell::Both,
        };
        self.seen = seen;
        let is_first = self.low | self.high == 0;
        let cell = number(interval, now).max(self.newest);
        let passed = cell - self.newest;
        // One that comes a little later than the last leaves no hole, wherever the borders of the cells are.
        let goes_on = !is_first && now.saturating_since(self.heard_at) <= grace(interval);
        let what = if passed == 0 { what.max(self.cell(0)) } else { what };
        let shift = |plane: u128| u32::try_from(passed).ok().and_then(|by| plane.checked_shl(by));
        self.low = shift(self.low).unwrap_or_default();
        self.high = shift(self.high).unwrap_or_default();
        self.newest = cell;
        self.heard_at = self.heard_at.max(now);
        let last = if goes_on { u32::try_from(passed).unwrap_or(Self::CELLS) } else { 1 };
        for behind in 0..last.clamp(1, Self::CELLS) {
            self.set(behind, what);
        }
    }

    /// The last whole intervals until now, this many, the oldest first: `b`, `u`, `h` or `-`, and `?` before `begun`.
    #[must_use]
    pub fn letters(
        &self,
        interval: Duration,
        count: u32,
        begun: Timestamp,
        now: Timestamp,
    ) -> String {
        let (current, count) = (number(interval, now), u64::from(count.min(Self::CELLS)));
        let letter = |cell: u64| {
            if cell < number(interval, begun) {
                return Self::NOT_RECORDED;
            }
            let end = start(interval, cell.saturating_add(1));
            match self.newest.checked_sub(cell) {
                Some(behind) => match u32::try_from(behind) {
                    Ok(behind) if behind < Self::CELLS => self.cell(behind).letter(),
                    Ok(_) | Err(_) => Self::NOT_RECORDED,
                },
                None if end.saturating_since(self.heard_at) <= grace(interval) => {
                    self.cell(0).letter()
                }
                None => Cell::Nothing.letter(),
            }
        };
        let first = current.saturating_sub(count);
        let missing = count.saturating_sub(current - first);
        let before = (0..missing).map(|_| Self::NOT_RECORDED);
        before.chain((first..current).map(letter)).collect()
    }

    /// When the newest heartbeat came.
    #[must_use]
    pub const fn heard_at(&self) -> Timestamp {
        self.heard_at
    }

    fn cell(&self, behind: u32) -> Cell {
        let bit = |plane: u128| plane.checked_shr(behind).unwrap_or_default() & 1 == 1;
        match (bit(self.high), bit(self.low)) {
            (false, false) => Cell::Nothing,
            (false, true) => Cell::Heard,
            (true, false) => Cell::Unseen,
            (true, true) => Cell::Both,
        }
    }

    fn set(&mut self, behind: u32, what: Cell) {
        let mask = 1_u128.checked_shl(behind).unwrap_or_default();
        let (high, low) = match what {
            Cell::Nothing => (0, 0),
            Cell::Heard => (0, mask),
            Cell::Unseen => (mask, 0),
            Cell::Both => (mask, mask),
        };
        self.high = self.high & !mask | high;
        self.low = self.low & !mask | low;
    }
}

impl Default for BeatStrip {
    fn default() -> Self {
        Self::new()
    }
}

/// Heartbeats that are no further apart leave no hole: an interval and a half.
fn grace(interval: Duration) -> Duration {
    interval.saturating_add(interval / 2)
}

fn nanos(interval: Duration) -> u64 {
    u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// In which cell a time is.
fn number(interval: Duration, at: Timestamp) -> u64 {
    let at = u64::try_from(at.since_origin().as_nanos()).unwrap_or(u64::MAX);
    at / nanos(interval)
}

/// When a cell begins.
fn start(interval: Duration, cell: u64) -> Timestamp {
    Timestamp::from_origin(Duration::from_nanos(cell.saturating_mul(nanos(interval))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);

    fn at(secs: f64) -> Timestamp {
        Timestamp::from_origin(Duration::from_secs_f64(secs))
    }

    fn strip(beats: &[(f64, Option<u64>)]) -> BeatStrip {
        let mut strip = BeatStrip::new();
        for (secs, seen) in beats {
            strip.heard(INTERVAL, seen.map(BeatSequence), at(*secs));
        }
        strip
    }

    fn letters(strip: &BeatStrip, count: u32, begun: f64, now: f64) -> String {
        strip.letters(INTERVAL, count, at(begun), at(now))
    }

    #[test]
    fn each_direction_shows_and_a_late_heartbeat_is_no_hole() {
        let regular = strip(&[(29.9, None), (60.1, Some(1)), (90.2, Some(2)), (120.3, Some(2))]);
        assert_eq!(letters(&regular, 5, 0.0, 151.0), "hbbbu");
        let due = strip(&[(29.9, Some(1))]);
        assert_eq!(letters(&due, 2, 0.0, 60.05), "bb", "the next is due only now");
        let lost = strip(&[(29.9, Some(1)), (89.9, Some(2)), (119.9, Some(3))]);
        assert_eq!(letters(&lost, 4, 0.0, 121.0), "b-bb", "one was lost");
        assert_eq!(letters(&lost, 8, 0.0, 241.0), "b-bbb---", "and then all");
    }

    #[test]
    fn what_was_not_recorded_is_no_silence() {
        let strip = strip(&[(300.0, Some(1))]);
        assert_eq!(letters(&strip, 6, 240.0, 331.0), "???--b");
        assert_eq!(letters(&BeatStrip::new(), 3, 0.0, 61.0), "?--", "before all clocks");
        assert_eq!(letters(&BeatStrip::new(), 500, 0.0, 30.0 * 200.0).len(), 128);
    }

    #[test]
    fn a_long_silence_and_a_clock_that_stands_leave_the_newest() {
        let mut strip = strip(&[(0.0, Some(1)), (30.0, Some(2))]);
        strip.heard(INTERVAL, Some(BeatSequence(3)), at(30.0 * 1000.0));
        let shown = letters(&strip, 128, 0.0, 30.0 * 1001.0);
        assert_eq!(shown, "-".repeat(127) + "b");
        strip.heard(INTERVAL, Some(BeatSequence(3)), at(5.0));
        assert_eq!(letters(&strip, 1, 0.0, 30.0 * 1001.0), "b");
    }
}
