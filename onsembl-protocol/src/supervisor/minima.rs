//! The earliest deadline of many, kept right from below only: early allowed, late never.
//!
//! Slots stand in blocks, blocks in groups, and so on, [`FAN_OUT`] each; every node holds a time
//! not later than any deadline under it. An earlier deadline lowers the nodes above it, as far up
//! as it is the earliest. A later one changes nothing: the block is found out of date when its
//! time comes, looked through, and made exact. So a heartbeat, which moves deadlines later most of
//! the time, touches one node, and never waits for the size of the fleet.

use crate::time::{Deadline, Timestamp};
use alloc::vec::Vec;
use core::hint::black_box;
use core::ops::Range;

/// Slots of a block, and nodes of a group: a group of times fills two cache lines.
pub(super) const FAN_OUT: usize = 16;

#[derive(Debug)]
pub(super) struct Minima {
    /// The blocks, then the groups of blocks, up to one node. Above the blocks every node is
    /// exactly the minimum of those under it.
    levels: Vec<Vec<Deadline>>,
}

impl Minima {
    pub(super) const fn new() -> Self {
        Self { levels: Vec::new() }
    }

    /// Makes room for this many slots.
    pub(super) fn cover(&mut self, slots: usize) {
        let mut nodes = slots;
        let mut level = 0;
        while level == 0 || nodes > 1 {
            nodes = nodes.div_ceil(FAN_OUT);
            if level == self.levels.len() {
                // The first node of a new top stands above all that there was.
                let below = self.levels.last().and_then(|l| l.first()).copied();
                self.levels.push(Vec::from([below.unwrap_or_default()]));
            }
            if let Some(row) = self.levels.get_mut(level)
                && row.len() < nodes
            {
                row.resize(nodes, Deadline::Never);
            }
            level += 1;
        }
    }

    /// Not later than the earliest deadline.
    pub(super) fn earliest(&self) -> Deadline {
        self.levels.last().and_then(|top| top.first()).copied().unwrap_or_default()
    }

    /// The deadline of `slot` is this one now.
    #[inline]
    pub(super) fn lower(&mut self, slot: usize, deadline: Deadline) {
        let mut node = slot;
        for row in &mut self.levels {
            node /= FAN_OUT;
            match row.get_mut(node) {
                Some(minimum) if deadline.is_before(*minimum) => *minimum = deadline,
                Some(_) | None => return,
            }
        }
    }

    /// Reads what [`lower`](Self::lower) will read of `slot`, and forgets it.
    #[inline]
    pub(super) fn read_ahead(&self, slot: usize) {
        let _ = black_box(self.levels.first().and_then(|row| row.get(slot / FAN_OUT)).copied());
    }

    /// The earliest deadline in `block` is exactly this one.
    pub(super) fn set(&mut self, block: usize, exact: Deadline) {
        let (mut node, mut minimum) = (block, exact);
        let mut rows = self.levels.iter_mut().peekable();
        while let Some(row) = rows.next() {
            match row.get_mut(node) {
                Some(kept) if *kept != minimum => *kept = minimum,
                Some(_) | None => return,
            }
            if rows.peek().is_none() {
                return;
            }
            node /= FAN_OUT;
            minimum = earliest_in(row, group(node, row.len()));
        }
    }

    /// The first block from `from` on whose time has come.
    pub(super) fn first_due(&self, from: usize, at: Timestamp) -> Option<usize> {
        let (mut level, mut node) = (0, from);
        // Up, until something to the right is due.
        let found = loop {
            let row = self.levels.get(level)?;
            let end = group(node / FAN_OUT, row.len()).end;
            match first_due_in(row, node..end, at) {
                Some(found) => break found,
                None => (level, node) = (level + 1, node / FAN_OUT + 1),
            }
        };
        // Down again, to the first block under it.
        let mut found = found;
        for row in self.levels.get(..level)?.iter().rev() {
            found = first_due_in(row, group(found, row.len()), at)?;
        }
        Some(found)
    }
}

fn group(parent: usize, len: usize) -> Range<usize> {
    let start = parent.saturating_mul(FAN_OUT);
    start.min(len)..start.saturating_add(FAN_OUT).min(len)
}

fn earliest_in(row: &[Deadline], nodes: Range<usize>) -> Deadline {
    row.get(nodes).unwrap_or_default().iter().copied().fold(Deadline::Never, Deadline::min)
}

fn first_due_in(row: &[Deadline], nodes: Range<usize>, at: Timestamp) -> Option<usize> {
    let start = nodes.start;
    row.get(nodes)?.iter().position(|minimum| minimum.is_due(at)).map(|n| start + n)
}
