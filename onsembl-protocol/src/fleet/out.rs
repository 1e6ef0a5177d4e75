//! Where the parts of a fleet put what they decide: actions, and changes of the view. Nothing is performed
//! here, and nothing is fed.

use super::action::{Answer, FleetAction, Question, SeatId, Token, Write};
use super::note::FleetNote;
use super::view::Change;
use crate::wire::ServerToAgent;
use crate::wire::payload::ErrorReply;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Decisions that wait to be performed.
#[derive(Debug, Default)]
pub(super) struct Out {
    actions: VecDeque<FleetAction>,
    changes: Vec<Change>,
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
        self.changes.push(change);
    }

    /// Changes go first: a reader that sees an answer finds what it is about.
    pub(super) fn poll(&mut self) -> Option<FleetAction> {
        if !self.changes.is_empty() {
            return Some(FleetAction::Show(core::mem::take(&mut self.changes)));
        }
        self.actions.pop_front()
    }
}
