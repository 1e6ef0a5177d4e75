//! Ids that the core mints: UUIDs of version 7, from the wall clock of an event and a seeded generator.

use crate::id::{CommandId, HoldId, SessionId, StopId};
use crate::time::WallTime;
use alloc::format;
use alloc::string::String;

/// Mints ids. Two with different seeds mint different ids; one mints ids that grow.
#[derive(Clone, Debug)]
pub(crate) struct IdMint {
    state: u64,
    millis: u64,
    count: u16,
}

impl IdMint {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { state: seed, millis: 0, count: 0 }
    }

    /// One that differs from every other whose text differs.
    pub(crate) fn of_text(text: &str) -> Self {
        // FNV-1a: the texts are unique already; the hash has only to keep them distinct.
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        Self::new(text.bytes().fold(0xcbf2_9ce4_8422_2325, hash))
    }

    pub(crate) fn session(&mut self, at: WallTime) -> SessionId {
        SessionId::new(self.uuid(at))
    }

    pub(crate) fn stop(&mut self, at: WallTime) -> StopId {
        StopId::new(self.uuid(at))
    }

    pub(crate) fn hold(&mut self, at: WallTime) -> HoldId {
        HoldId::new(self.uuid(at))
    }

    pub(crate) fn terminal(&mut self, at: WallTime) -> CommandId {
        CommandId::of_terminal(self.uuid(at))
    }

    pub(crate) fn query(&mut self, at: WallTime) -> String {
        self.uuid(at)
    }

    fn uuid(&mut self, at: WallTime) -> String {
        const LAST_COUNT: u16 = 0xfff;
        let millis = u64::try_from(at.unix_millis()).unwrap_or(0) & 0xffff_ffff_ffff;
        // A wall clock may step back, and many ids may be minted within a millisecond; ids grow anyway.
        if millis > self.millis {
            (self.millis, self.count) = (millis, 0);
        } else if self.count == LAST_COUNT {
            (self.millis, self.count) = (self.millis.saturating_add(1), 0);
        } else {
            self.count += 1;
        }
        let random = self.next();
        format!(
            "{:08x}-{:04x}-7{:03x}-{:04x}-{:012x}",
            self.millis >> 16,
            self.millis & 0xffff,
            self.count,
            0x8000 | (random >> 50),
            random & 0xffff_ffff_ffff,
        )
    }

    /// SplitMix64.
    const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_that_grow_whatever_the_clock_does() {
        let mut ids = IdMint::new(7);
        let mut last = String::new();
        for millis in [1_762_041_600_000, 1_762_041_600_000, 1_762_041_599_000, 1_762_041_600_001] {
            for _ in 0..5000 {
                let id = ids.uuid(WallTime::from_unix_millis(millis));
                assert!(id.len() == 36 && id.as_bytes()[14] == b'7', "{id}");
                assert!(id > last, "{id} after {last}");
                last = id;
            }
        }
    }
}
