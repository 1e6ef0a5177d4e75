//! What a dashboard was sent of output that is not stored: how much of each stream it has, so that what it missed can be
//! told, and how far its fleet knows that.

use super::item::FeedItem;
use crate::id::{ByteOffset, CommandId, Incarnation};
use crate::model::PerStream;
use crate::output::{Cursor, LogRecord, NotKept, OutputTail};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// What the fleet is to be told of output that was taken.
#[derive(Clone, Debug, Default)]
pub(super) struct ToTell(VecDeque<(CommandId, Cursor)>);

impl ToTell {
    /// The output of this command was taken up to `cursor`, if it is not stored: the fleet is told if it waits for that, or
    /// does not know of this dashboard.
    pub(super) fn note(
        &mut self,
        id: &CommandId,
        sent: &mut RelayedSent,
        cursor: Cursor,
        tail: &OutputTail,
    ) {
        if tail.is_relayed() && sent.tells(cursor, tail.awaited()) {
            self.0.push_back((id.clone(), cursor));
        }
    }

    /// The next to tell.
    pub(super) fn next(&mut self) -> Option<FeedItem> {
        self.0.pop_front().map(|(command, through)| FeedItem::Viewed(command, through))
    }
}

/// The state of one command.
#[derive(Clone, Debug, Default)]
pub(super) struct RelayedSent {
    /// The process whose output it is.
    incarnation: Incarnation,
    /// Everything of each stream before this was sent, or is not wanted.
    had: PerStream<ByteOffset>,
    told: Told,
}

/// Up to where the fleet knows that output was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Told {
    /// It does not know of this dashboard.
    #[default]
    Nothing,
    Up(Cursor),
}

impl RelayedSent {
    /// Of one who is sent what is behind this end.
    pub(super) fn behind(tail: &OutputTail) -> Self {
        Self { had: tail.ends(), ..Self::default() }
    }

    /// Its output is sent behind these offsets.
    pub(super) const fn begin(&mut self, had: PerStream<ByteOffset>) {
        self.had = had;
    }

    /// These records are sent.
    pub(super) fn on_sent(&mut self, records: &[LogRecord]) {
        for record in records {
            if record.incarnation > self.incarnation {
                // The first one says nothing of what was had before.
                if self.incarnation != Incarnation::default() {
                    self.had = PerStream::default();
                }
                self.incarnation = record.incarnation;
            }
            let had = self.had.get_mut(record.stream);
            *had = (*had).max(record.end());
        }
    }

    /// What is to be sent in place of what is not kept.
    pub(super) fn gaps(&self, missed: &NotKept) -> Vec<LogRecord> {
        let is_other =
            self.incarnation != Incarnation::default() && missed.incarnation > self.incarnation;
        let had = if is_other { PerStream::default() } else { self.had };
        missed.gaps(&had)
    }

    /// Whether the fleet is to be told that everything up to `cursor` was taken: it waits for `awaited`, or does not know
    /// of this dashboard.
    fn tells(&mut self, cursor: Cursor, awaited: Cursor) -> bool {
        let tells = match self.told {
            Told::Nothing => true,
            Told::Up(told) => told < awaited && told < cursor,
        };
        if tells {
            self.told = Told::Up(cursor);
        }
        tells
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ChunkSequence;

    fn at(n: u64) -> Cursor {
        Some((Incarnation(1), ChunkSequence(n)))
    }

    #[test]
    fn the_fleet_is_told_once_of_a_dashboard_and_then_while_it_waits() {
        let mut sent = RelayedSent::default();
        assert!(sent.tells(None, None));
        assert!(!sent.tells(at(3), None), "nobody waits");
        assert!(!sent.tells(None, at(5)), "nothing was taken");
        assert!(sent.tells(at(4), at(5)) && sent.tells(at(6), at(5)));
        assert!(!sent.tells(at(7), at(5)), "it knows enough");
    }
}
