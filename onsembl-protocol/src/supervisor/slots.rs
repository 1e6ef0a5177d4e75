//! Where the machines lie, and which key names which. Nothing here knows of time.
//!
//! Hot parts lie in blocks of [`FAN_OUT`] behind the generations of their slots, so that an event
//! finds both on one page of memory most of the time and its address is looked up once. Cold parts
//! lie in a column of their own.

use super::minima::FAN_OUT;
use alloc::vec::Vec;
use core::hint::black_box;

/// Names a machine of a supervisor. A key whose machine was removed names nothing, also when its
/// slot is in use again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    slot: u32,
    generation: u32,
}

impl Key {
    /// The slot, dense from zero; for what is kept beside the machines.
    pub(crate) const fn slot(self) -> usize {
        self.slot as usize
    }
}

struct Block<H> {
    generations: [u32; FAN_OUT],
    /// `None`: the slot is free.
    hot: [Option<H>; FAN_OUT],
}

pub(super) struct Slots<H, C> {
    blocks: Vec<Block<H>>,
    /// Of a free slot it is left over.
    cold: Vec<C>,
    free: Vec<u32>,
}

impl<H: Copy, C: Copy> Slots<H, C> {
    /// The bytes of a slot but for the cold part.
    pub(super) const HOT_BYTES: usize = size_of::<Block<H>>().div_ceil(FAN_OUT);

    pub(super) const fn new() -> Self {
        Self { blocks: Vec::new(), cold: Vec::new(), free: Vec::new() }
    }

    /// Slots, free ones included.
    pub(super) const fn capacity(&self) -> usize {
        self.cold.len()
    }

    /// Slots in use.
    pub(super) const fn len(&self) -> usize {
        self.cold.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, hot: H, cold: C) -> Key {
        let slot = self.free.pop().unwrap_or(self.cold.len() as u32);
        let (block, within) = locate(slot as usize);
        match self.cold.get_mut(slot as usize) {
            Some(left_over) => *left_over = cold,
            None => self.cold.push(cold),
        }
        if block == self.blocks.len() {
            self.blocks.push(Block { generations: [0; FAN_OUT], hot: [None; FAN_OUT] });
        }
        let mut generation = 0;
        if let Some(block) = self.blocks.get_mut(block)
            && let (Some(free), Some(of_slot)) =
                (block.hot.get_mut(within), block.generations.get(within))
        {
            *free = Some(hot);
            generation = *of_slot;
        }
        Key { slot, generation }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<(H, C)> {
        let (block, within) = locate(key.slot());
        let block = self.blocks.get_mut(block)?;
        let generation = block.generations.get_mut(within).filter(|g| **g == key.generation)?;
        let hot = block.hot.get_mut(within)?.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(key.slot);
        Some((hot, *self.cold.get(key.slot())?))
    }

    pub(super) fn get(&self, key: Key) -> Option<(&H, &C)> {
        let (block, within) = locate(key.slot());
        let block = self.blocks.get(block)?;
        let _ = block.generations.get(within).filter(|g| **g == key.generation)?;
        Some((block.hot.get(within)?.as_ref()?, self.cold.get(key.slot())?))
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: Key) -> Option<(&mut H, &mut C)> {
        let (block, within) = locate(key.slot());
        let block = self.blocks.get_mut(block)?;
        let _ = block.generations.get(within).filter(|g| **g == key.generation)?;
        Some((block.hot.get_mut(within)?.as_mut()?, self.cold.get_mut(key.slot())?))
    }

    /// Reads what an event for `key` will read, and forgets it: what the caches do not hold is then
    /// on its way, for as many keys at once as this is called for in a row.
    #[inline]
    pub(super) fn read_ahead(&self, key: Key) {
        let (block, within) = locate(key.slot());
        if let Some(block) = self.blocks.get(block) {
            let _ =
                black_box((block.generations.get(within).copied(), block.hot.get(within).copied()));
        }
    }

    /// The machines of one block, in the order of their slots.
    #[inline]
    pub(super) fn block_mut(
        &mut self,
        block: usize,
    ) -> impl Iterator<Item = (Key, &mut H, &mut C)> + '_ {
        let first = block.saturating_mul(FAN_OUT);
        let end = self.cold.len().min(first.saturating_add(FAN_OUT));
        let block = self.blocks.get_mut(block).into_iter();
        let cold = self.cold.get_mut(first..end).unwrap_or_default();
        block
            .flat_map(|block| block.generations.iter().zip(&mut block.hot))
            .zip(cold)
            .zip(first..)
            .filter_map(|(((generation, hot), cold), slot)| {
                let key = Key { slot: slot as u32, generation: *generation };
                Some((key, hot.as_mut()?, cold))
            })
    }

    /// All machines, in the order of their slots.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut H, &mut C)> + '_ {
        self.blocks
            .iter_mut()
            .flat_map(|block| block.generations.iter().zip(&mut block.hot))
            .zip(&mut self.cold)
            .zip(0..)
            .filter_map(|(((generation, hot), cold), slot)| {
                Some((Key { slot, generation: *generation }, hot.as_mut()?, cold))
            })
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.blocks
            .iter()
            .flat_map(|block| block.generations.iter().zip(&block.hot))
            .zip(0..)
            .filter(|((_, hot), _)| hot.is_some())
            .map(|((generation, _), slot)| Key { slot, generation: *generation })
    }
}

const fn locate(slot: usize) -> (usize, usize) {
    (slot / FAN_OUT, slot % FAN_OUT)
}
