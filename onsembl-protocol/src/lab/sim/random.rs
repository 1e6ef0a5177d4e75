//! The random numbers of a simulated world: one seeded stream for each part of it.
//!
//! Streams are kept apart so that taking one fault or one agent away leaves the others as they were.

use super::SECOND;

/// `SplitMix64`, as the backoff has it: what a seed means must never change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The stream of the part `number` of a world.
    pub(super) fn of(seed: u64, number: u64) -> Self {
        let mut stream = Self(seed ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93));
        let first = stream.next();
        Self(first)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Any number below `limit`; zero if the limit is.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// Any number from `from` to `to`, both included.
    pub(super) fn between(&mut self, from: u64, to: u64) -> u64 {
        from.saturating_add(self.below(to.saturating_sub(from).saturating_add(1)))
    }

    /// Once in `times`.
    pub(super) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of these, all equally likely.
    pub(super) fn pick<T: Copy, const N: usize>(&mut self, of: [T; N]) -> T {
        of[self.below(N as u64) as usize]
    }

    /// A time in nanoseconds between two numbers of seconds.
    pub(super) fn seconds(&mut self, from: u64, to: u64) -> u64 {
        self.between(from * SECOND, to * SECOND)
    }
}
