//! Releases of stops that are not answered yet.

use super::action::{Answer, Token};
use super::event::StoreFault;
use super::report::ReleaseReport;
use super::state::State;
use crate::wire::payload::{ErrorCode, ErrorReply};
use alloc::format;
use alloc::vec::Vec;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Releases(Vec<Releasing>);

/// A release that is not answered yet.
#[derive(Debug)]
struct Releasing {
    token: Token,
    count: usize,
    /// What keeps the agent stopped anyway.
    still: Option<ErrorReply>,
}

impl Releases {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// This many stops are released, and the store is asked. `still` is what keeps the agent stopped anyway.
    pub(super) fn add(&mut self, token: Token, count: usize, still: Option<ErrorReply>) {
        self.0.push(Releasing { token, count, still });
    }

    /// The store took a release, or did not.
    pub(super) fn on_stored(
        &mut self,
        state: &mut State,
        token: Token,
        stored: Result<(), StoreFault>,
    ) {
        let Some(at) = self.0.iter().position(|releasing| releasing.token == token) else {
            return;
        };
        let Releasing { count, still, .. } = self.0.swap_remove(at);
        let answer = match (stored, still) {
            (Err(why), _) => Answer::Refused(ErrorReply::new(
                ErrorCode::StorageUnavailable,
                format!("released, but a restart of the server would bring it back: {why}"),
            )),
            (Ok(()), Some(error)) => Answer::Refused(error),
            (Ok(()), None) => Answer::Released(ReleaseReport { released: count }),
        };
        state.out.answer(token, answer);
    }
}
