//! A ring of bytes: entries go in at the end, and the oldest ones are overwritten.
//!
//! A position is the number of bytes written before it, so it never comes twice. Whether an entry is
//! still there follows from its position alone, so nothing has to be done when one goes.

use super::compact::{CompactError, Writer};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// The largest entry in bytes. A snapshot with every number at its largest has about half of it.
pub(super) const MAX_ENTRY: usize = 1024;

/// The smallest ring that is of any use.
const MIN_CAPACITY: usize = 4 * MAX_ENTRY;

/// Bytes in front of an entry that hold its length.
const LENGTH: usize = 2;

/// The position of an entry. Zero is none.
pub(super) type Position = u64;

pub(super) struct Ring {
    bytes: Vec<u8>,
    end: Position,
}

/// Not the bytes.
impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("capacity", &self.bytes.len()).field("end", &self.end).finish()
    }
}

impl Ring {
    /// Holds at most this many bytes, and not less than is of any use; zero holds nothing.
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = if capacity == 0 { 0 } else { capacity.max(MIN_CAPACITY) };
        Self { bytes: vec![0; capacity], end: capacity as Position }
    }

    pub(super) const fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// How many bytes were written after this position.
    pub(super) const fn since(&self, at: Position) -> u64 {
        self.end.saturating_sub(at)
    }

    /// The position that the next entry will have.
    pub(super) fn next(&self) -> Position {
        let offset = self.offset(self.end);
        if self.bytes.len() - offset < MAX_ENTRY {
            self.end + (self.bytes.len() - offset) as Position
        } else {
            self.end
        }
    }

    /// Lets `write` write an entry. `None` if it does not fit into one.
    pub(super) fn append(
        &mut self,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), CompactError>,
    ) -> Option<Position> {
        if self.bytes.is_empty() {
            return None;
        }
        let at = self.next();
        let offset = self.offset(at);
        let room = self.bytes.get_mut(offset..offset + MAX_ENTRY)?;
        let (length, room) = room.split_first_chunk_mut::<LENGTH>()?;
        let mut writer = Writer::new(room);
        let written = write(&mut writer);
        let len = writer.len();
        *length = (len as u16).to_le_bytes();
        // What did not fit has overwritten all the room it had.
        let taken = if written.is_ok() { LENGTH + len } else { MAX_ENTRY };
        self.end = at + taken as Position;
        written.is_ok().then_some(at)
    }

    /// The entry at this position, unless it was overwritten.
    pub(super) fn get(&self, at: Position) -> Option<&[u8]> {
        let overwritten =
            at == 0 || at >= self.end || at + (self.bytes.len() as Position) < self.end;
        if overwritten {
            return None;
        }
        let (length, rest) = self.bytes.get(self.offset(at)..)?.split_first_chunk::<LENGTH>()?;
        rest.get(..usize::from(u16::from_le_bytes(*length)))
    }

    fn offset(&self, at: Position) -> usize {
        at.checked_rem(self.bytes.len() as Position).unwrap_or_default() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn what_is_still_there_is_whole_and_the_newest_are_there() {
        let mut ring = Ring::new(1);
        let mut written: Vec<(Position, Vec<u8>)> = Vec::new();
        for n in 0..5000usize {
            let entry: Vec<u8> = (0..n * 7 % 200).map(|i| (n + i) as u8).collect();
            let at = ring.append(|w| w.bytes(&entry)).unwrap();
            written.push((at, entry));
            if n % 97 == 0 {
                assert_eq!(ring.append(|w| w.bytes(&[1; MAX_ENTRY])), None);
            }
            let mut there = 0;
            for (at, entry) in written.iter().rev().take(200) {
                match ring.get(*at) {
                    Some(found) => {
                        assert_eq!(found, entry.as_slice());
                        there += 1;
                    }
                    None => break,
                }
            }
            assert!(there >= 10.min(written.len()), "{n}: {there}");
        }
        assert_eq!(ring.get(written[0].0), None);
        assert_eq!(Ring::new(0).append(|w| w.byte(1)), None);
    }
}
