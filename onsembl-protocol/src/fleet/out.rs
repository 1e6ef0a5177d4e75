//! Where the parts of a fleet put what they decide: actions, and changes of the view. Nothing is performed
//! here, and nothing is fed.

use super::action::{Answer, FleetAction, Question, SeatId, Token, Write};
use super::note::FleetNote;
use super::view::Change;
use crate::id::CommandId;
use crate::output::{CHUNK_BYTES, LogRecord, StoredBody};
use crate::wire::ServerToAgent;
use crate::wire::payload::ErrorReply;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;

/// Bytes of relayed neighbours that become one record: what a dashboard is sent in one message (P-462).
const RELAYED_BYTES: usize = CHUNK_BYTES - 1024;

/// Decisions that wait to be performed.
#[derive(Debug, Default)]
pub(super) struct Out {
    actions: VecDeque<FleetAction>,
    changes: Vec<Change>,
    /// The bytes of the last change, if that is relayed output of which neighbours came together.
    neighbours: Vec<u8>,
}

impl Out {
    pub(super) fn act(&mut self, action: FleetAction) {
        self.actions.push_back(action);
    }

    pub(super) fn note(&mut self, note: FleetNote) {
        self.act(FleetAction::Note(note));
    }

    pub(super) fn send(&mut self, seat: SeatId, message: ServerToAgent) {
        self.act(FleetAction::Send { seat, message: Box::new(message) });
    }

    pub(super) fn ask(&mut self, question: Question) {
        self.act(FleetAction::Ask(question));
    }

    pub(super) fn write(&mut self, write: Write) {
        self.act(FleetAction::Write(write));
    }

    pub(super) fn answer(&mut self, token: Token, answer: Answer) {
        self.act(FleetAction::Reply { token, answer });
    }

    pub(super) fn reply(&mut self, token: Token, result: Result<(), ErrorReply>) {
        let answer = match result {
            Ok(()) => Answer::Done,
            Err(error) => Answer::Refused(error),
        };
        self.answer(token, answer);
    }

    pub(super) fn show(&mut self, change: Change) {
        self.finish_neighbours();
        self.changes.push(change);
    }

    /// Shows output that is not stored. Neighbours that are decided on together become one record: for readers they are
    /// the same, and each record costs.
    pub(super) fn relay(&mut self, command: &CommandId, record: LogRecord) {
        let Self { changes, neighbours, .. } = self;
        if let Some(Change::Relayed(before, last)) = changes.last_mut()
            && before == command
            && (last.incarnation, last.stream) == (record.incarnation, record.stream)
            && let (StoredBody::Chunk(first), StoredBody::Chunk(more)) = (&last.body, &record.body)
        {
            let joined = first.len().max(neighbours.len());
            if last.offset.0.saturating_add(joined as u64) == record.offset.0
                && joined.saturating_add(more.len()) <= RELAYED_BYTES
            {
                if neighbours.is_empty() {
                    neighbours.extend_from_slice(first);
                }
                neighbours.extend_from_slice(more);
                last.sequence = record.sequence;
                return;
            }
        }
        self.show(Change::Relayed(command.clone(), record));
    }

    /// Puts the bytes of neighbours that came together in their place.
    fn finish_neighbours(&mut self) {
        if !self.neighbours.is_empty()
            && let Some(Change::Relayed(_, last)) = self.changes.last_mut()
        {
            last.body = StoredBody::Chunk(Bytes::from(core::mem::take(&mut self.neighbours)));
        }
    }

    /// Changes go first: a reader that sees an answer finds what it is about.
    pub(super) fn poll(&mut self) -> Option<FleetAction> {
        if !self.changes.is_empty() {
            self.finish_neighbours();
            return Some(FleetAction::Show(core::mem::take(&mut self.changes)));
        }
        self.actions.pop_front()
    }
}
