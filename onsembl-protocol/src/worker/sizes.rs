//! Where in the output of its terminals an agent gave them which size, until the server has it.
//!
//! What is sent before output behind its position is stored when that output is (P-393). So a record is kept until the
//! output behind its position is acknowledged; the last one of a terminal is kept until the terminal is forgotten, and is
//! said in each session. They are kept beside the output in the spool too, for an agent that dies with output that is
//! not stored.

use crate::id::{ByteOffset, CommandId};
use crate::model::SizeRecord;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

/// Records of one terminal that are kept. Of more the oldest go: what was drawn then is redrawn since.
const MOST_SIZES: usize = 128;

/// The sizes of all terminals of an agent that are not over.
#[derive(Debug, Default)]
pub(super) struct Sizes(BTreeMap<CommandId, VecDeque<SizeRecord>>);

impl Sizes {
    /// A terminal has this size from there. `false`: it had it already.
    pub(super) fn note(&mut self, command: &CommandId, record: SizeRecord) -> bool {
        let records = self.0.entry(command.clone()).or_default();
        if records.back().is_some_and(|last| last.size == record.size) {
            return false;
        }
        if records.back().is_some_and(|last| last.offset == record.offset) {
            let _ = records.pop_back();
        }
        records.push_back(record);
        while records.len() > MOST_SIZES {
            let _ = records.pop_front();
        }
        true
    }

    /// Those of a terminal that are kept.
    pub(super) fn of(&self, command: &CommandId) -> Vec<SizeRecord> {
        self.0.get(command).into_iter().flatten().copied().collect()
    }

    /// The server has stored the output of a terminal up to here.
    pub(super) fn on_stored(&mut self, command: &CommandId, offset: ByteOffset) {
        let Some(records) = self.0.get_mut(command) else { return };
        while records.len() > 1 && records.front().is_some_and(|first| first.offset < offset) {
            let _ = records.pop_front();
        }
    }

    /// What is to be said in a new session.
    pub(super) fn all(&self) -> impl Iterator<Item = (&CommandId, SizeRecord)> {
        self.0.iter().flat_map(|(id, records)| records.iter().map(move |record| (id, *record)))
    }

    /// A terminal is over.
    pub(super) fn forget(&mut self, command: &CommandId) {
        let _ = self.0.remove(command);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Incarnation;
    use crate::model::TerminalSize;

    fn record(offset: u64, columns: u64) -> SizeRecord {
        let size = TerminalSize::new(columns, 24).unwrap();
        SizeRecord { incarnation: Incarnation(1), offset: ByteOffset(offset), size }
    }

    fn kept(sizes: &Sizes) -> Vec<(u64, u16)> {
        sizes.all().map(|(_, record)| (record.offset.0, record.size.columns())).collect()
    }

    #[test]
    fn a_size_is_kept_until_output_behind_it_is_stored_and_the_last_one_stays() {
        let (mut sizes, id) = (Sizes::default(), CommandId::of_terminal("1"));
        for new in [record(0, 80), record(10, 100), record(20, 120)] {
            assert!(sizes.note(&id, new));
        }
        assert!(!sizes.note(&id, record(25, 120)), "it is no other size");
        sizes.on_stored(&id, ByteOffset(10));
        assert_eq!(kept(&sizes), [(10, 100), (20, 120)]);
        sizes.on_stored(&id, ByteOffset(1000));
        assert_eq!(kept(&sizes), [(20, 120)]);
        sizes.forget(&id);
        assert_eq!(kept(&sizes), []);
    }

    #[test]
    fn at_one_position_the_last_size_counts_and_their_number_is_bounded() {
        let (mut sizes, id) = (Sizes::default(), CommandId::of_terminal("1"));
        assert!(sizes.note(&id, record(0, 80)) && sizes.note(&id, record(0, 90)));
        assert_eq!(kept(&sizes), [(0, 90)]);
        for n in 0..1000 {
            sizes.note(&id, record(n, 100 + n % 2));
        }
        assert_eq!(sizes.all().count(), MOST_SIZES);
        assert_eq!(kept(&sizes).last(), Some(&(999, 101)));
    }
}
