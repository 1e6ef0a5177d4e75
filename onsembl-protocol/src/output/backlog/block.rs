//! What is only on disk, described in pieces that are read back at once.

use super::super::record::{Record, RecordBody};
use super::cost;
use crate::id::{ByteOffset, ChunkSequence};
use crate::model::PerStream;
use alloc::collections::VecDeque;

/// A block takes records until it holds so much.
const BLOCK_BYTES: u64 = 256 * 1024;
/// And this many records.
const BLOCK_RECORDS: u32 = 16 * 1024;

/// Consecutive records of a run.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) from: ChunkSequence,
    pub(super) through: ChunkSequence,
    /// Where each stream continues behind it.
    pub(super) ends: PerStream<ByteOffset>,
    /// Bytes of each stream in it that are gaps.
    pub(super) gaps: PerStream<u64>,
    pub(super) cost: u64,
    /// It is being read back, and takes nothing more.
    pub(super) sealed: bool,
    bytes: u64,
    records: u32,
}

impl Block {
    /// Adds a record behind the last block, or to it.
    pub(super) fn add(blocks: &mut VecDeque<Self>, record: &Record) {
        let length = match &record.body {
            RecordBody::Chunk(bytes) => bytes.len() as u64,
            RecordBody::Gap { .. } => 0,
        };
        let has_room = |b: &&mut Self| {
            !b.sealed && b.bytes.saturating_add(length) <= BLOCK_BYTES && b.records < BLOCK_RECORDS
        };
        let ends = blocks.back().map(|b| b.ends).unwrap_or_default();
        let block = match blocks.back_mut().filter(has_room) {
            Some(block) => block,
            None => {
                let (from, through) = (record.sequence, record.sequence);
                blocks.push_back(Self {
                    from,
                    through,
                    ends,
                    gaps: PerStream::default(),
                    cost: 0,
                    sealed: false,
                    bytes: 0,
                    records: 0,
                });
                let Some(block) = blocks.back_mut() else { return };
                block
            }
        };
        block.through = record.sequence;
        *block.ends.get_mut(record.stream) = record.end();
        let gaps = block.gaps.get_mut(record.stream);
        *gaps = gaps.saturating_add(record.length() - record.byte_count());
        block.cost = block.cost.saturating_add(cost(record));
        block.bytes = block.bytes.saturating_add(length);
        block.records += 1;
    }
}
