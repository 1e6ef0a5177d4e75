//! A ring of bytes for each owner, all of them within one bound: entries go in at the end of their owner's ring, and the
//! oldest ones are overwritten.
//!
//! Memory is given out in blocks. When all are in use, the oldest block of whoever has most is used again
//! ([`SharedPool`]): what one owner records overwrites its own, never what another one has within its part.
//!
//! A position never comes twice. Whether an entry is still there follows from its position alone, so nothing has to be
//! done when one goes.

use super::compact::{CompactError, Writer};
use crate::shared_pool::SharedPool;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// The largest entry in bytes. A snapshot with every number at its largest has about half of it.
pub(super) const MAX_ENTRY: usize = 1024;

/// The smallest ring that is of any use.
const MIN_CAPACITY: usize = 4 * MAX_ENTRY;

/// The largest block: one entry in thirty does not fit into what is left of one, and begins another.
const MAX_BLOCK: usize = 4 * 1024;
/// A smaller ring has smaller blocks: it loses a whole one at a time.
const BLOCKS: usize = 32;

/// Bytes in front of an entry that hold its length.
const LENGTH: usize = 2;

/// The position of an entry. Zero is none.
pub(super) type Position = u64;

/// Whose entries these are: a number for each user. Two with one number share their part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u64);

pub(super) struct Ring {
    bytes: Vec<u8>,
    block: usize,
    /// Blocks by the number under which they were begun: a position is that number times the size, and how far in it is.
    index: BTreeMap<u64, Indexed>,
    /// Who has which of them.
    pool: SharedPool<Owner, u64, ()>,
    /// The block that each owner writes in.
    ends: BTreeMap<Owner, End>,
    unused: Vec<usize>,
    next_number: u64,
}

/// Where a block is.
#[derive(Clone, Copy, Debug)]
struct Indexed {
    slot: usize,
    owner: Owner,
    /// What its owner had written before it.
    before: u64,
}

#[derive(Clone, Copy, Debug)]
struct End {
    number: u64,
    slot: usize,
    used: usize,
    /// Bytes that this owner has written.
    written: u64,
}

/// Not the bytes.
impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("capacity", &self.bytes.len())
            .field("owners", &self.ends.len())
            .finish_non_exhaustive()
    }
}

impl Ring {
    /// Holds at most this many bytes, and not less than is of any use; zero holds nothing.
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = if capacity == 0 { 0 } else { capacity.max(MIN_CAPACITY) };
        let block = (capacity / BLOCKS).clamp(MAX_ENTRY, MAX_BLOCK);
        let blocks = capacity / block;
        Self {
            bytes: vec![0; capacity],
            block,
            index: BTreeMap::new(),
            pool: SharedPool::new(blocks),
            ends: BTreeMap::new(),
            unused: (0..blocks).rev().collect(),
            next_number: 1,
        }
    }

    pub(super) const fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// How many bytes the owner of this position wrote after it; all of them if it was overwritten.
    pub(super) fn since(&self, at: Position) -> u64 {
        let (number, offset) = self.split(at);
        let indexed = self.index.get(&number);
        match indexed.and_then(|indexed| Some((indexed, self.ends.get(&indexed.owner)?))) {
            Some((indexed, end)) => end.written.saturating_sub(indexed.before + offset as u64),
            None => u64::MAX,
        }
    }

    /// How many bytes this owner may have as things are.
    pub(super) fn part_of(&self, owner: Owner) -> usize {
        (self.pool.count_of(&owner) + self.pool.free()) * self.block
    }

    /// Lets `write` write an entry of this owner, behind how far back the position `last` is; nothing with zero. `None`
    /// if it does not fit into one.
    pub(super) fn append(
        &mut self,
        owner: Owner,
        last: Position,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), CompactError>,
    ) -> Option<Position> {
        if self.bytes.is_empty() {
            return None;
        }
        let mut room = [0; MAX_ENTRY];
        let mut writer = Writer::new(&mut room);
        write(&mut writer).ok()?;
        let len = writer.len();
        let body = room.get(..len)?;
        let end = self.ends.get(&owner).copied().unwrap_or_else(|| self.begin_block(owner));
        if let Some(at) = self.put(owner, end, last, body) {
            return Some(at);
        }
        let end = self.begin_block(owner);
        self.put(owner, end, last, body)
    }

    fn put(&mut self, owner: Owner, end: End, last: Position, body: &[u8]) -> Option<Position> {
        let at = end.number * self.block as u64 + end.used as u64;
        let back = if last == 0 { 0 } else { at.saturating_sub(last) };
        let from = end.slot * self.block + end.used;
        let room = self.bytes.get_mut(from..(end.slot + 1) * self.block)?;
        let room = room.get_mut(..room.len().min(MAX_ENTRY)).unwrap_or_default();
        let (length, room) = room.split_first_chunk_mut::<LENGTH>()?;
        let mut writer = Writer::new(room);
        writer.value(&back).and_then(|()| writer.bytes(body)).ok()?;
        let len = writer.len();
        *length = (len as u16).to_le_bytes();
        let taken = LENGTH + len;
        let written = end.written + taken as u64;
        let _ = self.ends.insert(owner, End { used: end.used + taken, written, ..end });
        Some(at)
    }

    /// A block for what this owner writes next.
    fn begin_block(&mut self, owner: Owner) -> End {
        let number = self.next_number;
        self.next_number += 1;
        let written = self.ends.get(&owner).map_or(0, |end| end.written);
        let gone = self.pool.insert(owner, number, ());
        let slot = gone.and_then(|(victim, number, ())| {
            if self.ends.get(&victim).is_some_and(|end| end.number == number) {
                let _ = self.ends.remove(&victim);
            }
            self.index.remove(&number).map(|indexed| indexed.slot)
        });
        let slot = slot.or_else(|| self.unused.pop()).unwrap_or_default();
        let _ = self.index.insert(number, Indexed { slot, owner, before: written });
        let end = End { number, slot, used: 0, written };
        let _ = self.ends.insert(owner, end);
        end
    }

    /// The entry at this position, unless it was overwritten.
    pub(super) fn get(&self, at: Position) -> Option<&[u8]> {
        let (number, offset) = self.split(at);
        let slot = self.index.get(&number)?.slot;
        let from = slot * self.block + offset;
        let (length, rest) = self.bytes.get(from..)?.split_first_chunk::<LENGTH>()?;
        rest.get(..usize::from(u16::from_le_bytes(*length)))
    }

    /// The number of the block, and how far in it is.
    const fn split(&self, at: Position) -> (u64, usize) {
        let size = self.block as u64;
        (at / size, (at % size) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const ONE: Owner = Owner(1);

    #[test]
    fn what_is_still_there_is_whole_and_the_newest_are_there() {
        let mut ring = Ring::new(1);
        let mut written: Vec<(Position, Vec<u8>)> = Vec::new();
        for n in 0..5000usize {
            let entry: Vec<u8> = (0..n * 7 % 200).map(|i| (n + i) as u8).collect();
            let at = ring.append(ONE, 0, |w| w.bytes(&entry)).unwrap();
            written.push((at, entry));
            if n % 97 == 0 {
                assert_eq!(ring.append(ONE, 0, |w| w.bytes(&[1; MAX_ENTRY])), None);
            }
            let mut there = 0;
            for (at, entry) in written.iter().rev().take(200) {
                match ring.get(*at) {
                    Some(found) => {
                        assert_eq!(found.split_first().unwrap(), (&0, entry.as_slice()));
                        there += 1;
                    }
                    None => break,
                }
            }
            assert!(there >= 10.min(written.len()), "{n}: {there}");
        }
        assert_eq!(ring.get(written[0].0), None);
        assert_eq!(Ring::new(0).append(ONE, 0, |w| w.value(&1u8)), None);
    }

    #[test]
    fn who_writes_without_end_overwrites_only_its_own() {
        let mut ring = Ring::new(64 * 1024);
        let quiet: Vec<Position> =
            (0..20).map(|n| ring.append(Owner(2), 0, |w| w.bytes(&[n; 100])).unwrap()).collect();
        for n in 0..100_000_u32 {
            let _ = ring.append(ONE, 0, |w| w.bytes(&n.to_le_bytes())).unwrap();
        }
        for (n, at) in quiet.iter().enumerate() {
            assert_eq!(ring.get(*at).map(|entry| entry[1]), Some(n as u8));
        }
        assert_eq!(ring.since(quiet[0]), 20 * 103, "what others write is no part of it");
        assert!(ring.part_of(ONE) > 56 * 1024, "all else is there for who needs it");
    }

    #[test]
    fn who_comes_later_gets_a_like_part() {
        let mut ring = Ring::new(64 * 1024);
        for owner in [ONE, Owner(2), Owner(3), Owner(4)] {
            for _ in 0..10_000 {
                let _ = ring.append(owner, 0, |w| w.bytes(&[7; 50])).unwrap();
            }
        }
        for owner in [ONE, Owner(2), Owner(3), Owner(4)] {
            assert!(ring.part_of(owner) >= 14 * 1024, "{owner:?}: {}", ring.part_of(owner));
        }
    }

    #[test]
    fn with_more_owners_than_blocks_the_newest_are_there() {
        let mut ring = Ring::new(8 * 1024);
        let at: Vec<Position> = (0..100)
            .map(|n| ring.append(Owner(n), 0, |w| w.bytes(&n.to_le_bytes())).unwrap())
            .collect();
        let there = at.iter().filter(|at| ring.get(**at).is_some()).count();
        assert_eq!(there, 8);
        assert!(at[92..].iter().all(|at| ring.get(*at).is_some()));
        assert_eq!((ring.ends.len(), ring.index.len()), (8, 8));
        assert_eq!(ring.since(at[0]), u64::MAX);
    }
}
