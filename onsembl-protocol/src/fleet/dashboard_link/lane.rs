//! The lane of what a dashboard types: one request after the other, each behind the answer of the fleet to the one
//! before. Else two could reach the fleet in another order, and the later one would be refused.

use super::super::action::Token;
use super::super::event::{KeyboardRequest, Request};
use crate::id::DashboardId;
use alloc::collections::VecDeque;

/// Requests about keyboards in their order. How many wait is bounded by who numbers them.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyboardLane {
    by: DashboardId,
    asked: Option<Token>,
    waiting: VecDeque<(Token, KeyboardRequest)>,
    use_of_keyboard: UseOfKeyboard,
}

/// Whether the fleet was ever asked for a keyboard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum UseOfKeyboard {
    #[default]
    None,
    Asked,
}

impl KeyboardLane {
    pub(super) fn new(by: DashboardId) -> Self {
        Self { by, ..Self::default() }
    }

    /// A request. Gives what to ask the fleet now, if it is its turn.
    pub(super) fn push(
        &mut self,
        number: Token,
        request: KeyboardRequest,
    ) -> Option<(Token, Request)> {
        self.use_of_keyboard = UseOfKeyboard::Asked;
        self.waiting.push_back((number, request));
        self.next()
    }

    /// A request of any kind was answered. Gives what to ask the fleet now.
    pub(super) fn answered(&mut self, number: Token) -> Option<(Token, Request)> {
        let _ = self.asked.take_if(|asked| *asked == number)?;
        self.next()
    }

    /// The link is over: nothing that waits is asked any more. Gives what to tell the fleet; again, if something may reach it
    /// behind that.
    pub(super) fn end(&mut self) -> Option<Request> {
        self.waiting.clear();
        let before = self.use_of_keyboard;
        if self.asked.is_none() {
            self.use_of_keyboard = UseOfKeyboard::None;
        }
        match before {
            UseOfKeyboard::None => None,
            UseOfKeyboard::Asked => Some(Request::Keyboard(self.by, KeyboardRequest::LinkLost)),
        }
    }

    fn next(&mut self) -> Option<(Token, Request)> {
        if self.asked.is_some() {
            return None;
        }
        let (number, request) = self.waiting.pop_front()?;
        self.asked = Some(number);
        Some((number, Request::Keyboard(self.by, request)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{CommandId, HoldId, InputSequence};
    use crate::wire::payload::{TerminalInput, TypedBytes};

    fn input(n: u64) -> KeyboardRequest {
        KeyboardRequest::Input(TerminalInput {
            command_id: CommandId::of_terminal("1"),
            holder: HoldId::new("h"),
            sequence: InputSequence(n),
            bytes: TypedBytes(bytes::Bytes::from_static(b"x")),
        })
    }

    fn number(asked: Option<(Token, Request)>) -> Option<u64> {
        match asked? {
            (token, Request::Keyboard(DashboardId(7), KeyboardRequest::Input(input))) => {
                assert_eq!(token.0, 10 + input.sequence.0);
                Some(input.sequence.0)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_typed_is_asked_one_behind_the_other() {
        let mut lane = KeyboardLane::new(DashboardId(7));
        assert_eq!(number(lane.push(Token(11), input(1))), Some(1));
        assert_eq!(number(lane.push(Token(12), input(2))), None);
        assert_eq!(number(lane.push(Token(13), input(3))), None);
        assert_eq!(number(lane.answered(Token(99))), None, "an answer to something else");
        assert_eq!(number(lane.answered(Token(11))), Some(2));
        assert_eq!(number(lane.answered(Token(12))), Some(3));
        assert_eq!(number(lane.answered(Token(13))), None);
        assert_eq!(number(lane.push(Token(14), input(4))), Some(4));
    }

    #[test]
    fn the_fleet_is_told_that_a_link_ended_which_used_a_keyboard() {
        let mut lane = KeyboardLane::new(DashboardId(7));
        assert!(lane.end().is_none(), "it never did");
        let _ = lane.push(Token(11), input(1));
        let _ = lane.push(Token(12), input(2));
        let Some(Request::Keyboard(DashboardId(7), KeyboardRequest::LinkLost)) = lane.end() else {
            panic!("nobody is told")
        };
        assert!(lane.end().is_some(), "what was asked may come behind that");
        assert!(lane.answered(Token(11)).is_none(), "what waited is not asked");
        assert!(lane.end().is_some() && lane.end().is_none());
    }
}
