//! Two small hashes: the check of a line, and the digest of what a step did.
//!
//! They find accidents, not attackers. The check is part of the format and never changes; the digest
//! never leaves the process.

use crate::step::Actions;
use crate::time::Deadline;
use core::hash::{Hash, Hasher};

const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
const BLOCK: usize = 32;

const fn mix(state: u64, word: u64) -> u64 {
    let state = (state ^ word).wrapping_mul(FACTOR);
    state ^ (state >> 29)
}

const fn fold(state: u64) -> u32 {
    (state ^ (state >> 32)) as u32
}

/// The check of a line that follows one with the check `before`.
///
/// Four sums run side by side, each over every fourth word of eight bytes of the line, which is filled
/// up with zeros to whole blocks of four words; in the end they are mixed into one.
pub(super) fn of_line(before: u32, bytes: &[u8]) -> u32 {
    let mut sums = [u64::from(before), bytes.len() as u64, 0, 0];
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    for block in blocks {
        add(&mut sums, block);
    }
    if !rest.is_empty() {
        let mut last = [0; BLOCK];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        add(&mut sums, &last);
    }
    fold(sums.into_iter().fold(0, mix))
}

fn add(sums: &mut [u64; 4], block: &[u8; BLOCK]) {
    let (words, _) = block.as_chunks::<8>();
    for (sum, word) in sums.iter_mut().zip(words) {
        *sum = mix(*sum, u64::from_le_bytes(*word));
    }
}

/// The digest of what one step did.
pub(super) fn of_step<A: Copy + Hash>(actions: &Actions<A>, deadline: Deadline) -> u32 {
    let mut hasher = Words(0);
    for action in actions.iter() {
        action.hash(&mut hasher);
    }
    deadline.hash(&mut hasher);
    fold(hasher.0)
}

struct Words(u64);

impl Hasher for Words {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = mix(self.0, u64::from(of_line(0, bytes)));
    }

    fn write_u8(&mut self, n: u8) {
        self.0 = mix(self.0, u64::from(n));
    }

    fn write_u16(&mut self, n: u16) {
        self.0 = mix(self.0, u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.0 = mix(self.0, u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = mix(self.0, n);
    }

    fn write_usize(&mut self, n: usize) {
        self.0 = mix(self.0, n as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_is_part_of_the_format() {
        assert_eq!(of_line(0, b"a"), 2_413_693_518);
        assert_eq!(of_line(7, b"onsembl recording"), 726_117_496);
    }

    #[test]
    fn each_byte_its_position_the_length_and_what_went_before_count() {
        let text = b"seventeen bytes..";
        let check = of_line(1, text);
        assert_ne!(check, of_line(2, text));
        assert_ne!(check, of_line(1, b"seventeen bytes..\0"));
        for index in 0..text.len() {
            for bit in 0..8 {
                let mut other = *text;
                other[index] ^= 1 << bit;
                assert_ne!(check, of_line(1, &other), "{index} {bit}");
            }
        }
    }
}
