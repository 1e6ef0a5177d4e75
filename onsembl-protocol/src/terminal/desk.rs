//! Whose turn it is to type. One submission at a time, and none into the middle of a line that
//! somebody is typing at the agent's own terminal.

use crate::id::CommandId;
use crate::time::{Deadline, Timestamp};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

/// The place before a keyboard that several share.
#[derive(Debug, Default)]
pub struct Desk {
    line: Line,
    typing: Option<CommandId>,
    waiting: VecDeque<Waiting>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Empty,
    /// Somebody has typed something here and not sent it.
    Begun,
}

#[derive(Debug)]
struct Waiting {
    command: CommandId,
    give_up_at: Timestamp,
}

/// What to do for a command that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeskAction {
    /// Type it now, and say so with [`Desk::on_typed`].
    Type(CommandId),
    /// Refuse it: somebody has been typing all the time.
    GiveUp(CommandId),
}

impl Desk {
    /// How long a command waits for somebody to finish a line at the agent's own terminal: 30 s. Who
    /// asked should hear of it while still looking.
    pub const PATIENCE: Duration = Duration::from_secs(30);

    /// A command is to be typed.
    pub fn ask(&mut self, command: CommandId, now: Timestamp) {
        let give_up_at = now.saturating_add(Self::PATIENCE);
        self.waiting.push_back(Waiting { command, give_up_at });
    }

    /// Something was typed at the agent's own terminal.
    pub fn on_local(&mut self, bytes: &[u8]) {
        let mut bytes = bytes.iter().copied();
        while let Some(byte) = bytes.next() {
            match byte {
                // Enter, and what throws a line away: Ctrl-C, Ctrl-D, Ctrl-U.
                b'\r' | b'\n' | 0x03 | 0x04 | 0x15 => self.line = Line::Empty,
                // A key without a character, or an answer of the terminal to its program.
                0x1b => skip_sequence(&mut bytes),
                b'\t' | b' '..=b'~' | 0x80.. => self.line = Line::Begun,
                _ => {}
            }
        }
    }

    /// What was being typed is typed, or could not be.
    pub fn on_typed(&mut self) {
        self.typing = None;
    }

    /// The program is gone, and with it the line that somebody has begun. Gives what waited: it was
    /// meant for that program, and is not typed into another.
    #[must_use = "what waited must be refused, or it would wait for ever"]
    pub fn on_program_gone(&mut self) -> Vec<CommandId> {
        self.line = Line::Empty;
        self.waiting.drain(..).map(|w| w.command).collect()
    }

    /// Whether something is being typed.
    pub const fn is_typing(&self) -> bool {
        self.typing.is_some()
    }

    /// The next thing to do, until there is none.
    pub fn poll(&mut self, now: Timestamp) -> Option<DeskAction> {
        if self.waiting.front().is_some_and(|w| w.give_up_at <= now) && self.line == Line::Begun {
            return self.waiting.pop_front().map(|w| DeskAction::GiveUp(w.command));
        }
        if self.typing.is_some() || self.line == Line::Begun {
            return None;
        }
        let next = self.waiting.pop_front()?.command;
        self.typing = Some(next.clone());
        Some(DeskAction::Type(next))
    }

    /// When [`poll`](Self::poll) has something to do though nothing happened.
    pub fn deadline(&self) -> Deadline {
        match (self.line, self.waiting.front()) {
            (Line::Begun, Some(first)) => Deadline::At(first.give_up_at),
            (Line::Empty, _) | (Line::Begun, None) => Deadline::Never,
        }
    }
}

/// Behind an escape character.
fn skip_sequence(bytes: &mut impl Iterator<Item = u8>) {
    match bytes.next() {
        Some(b'[') => {
            let _ = bytes.find(|byte| matches!(byte, b'@'..=b'~'));
        }
        // Up to a bell, or the backslash of a string's end.
        Some(b'P' | b']' | b'_' | b'^' | b'X') => {
            let _ = bytes.find(|byte| matches!(byte, 0x07 | b'\\'));
        }
        Some(b'O') => {
            let _ = bytes.next();
        }
        Some(_) | None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_origin(Duration::from_secs(seconds))
    }

    fn id(name: &str) -> CommandId {
        CommandId::new(name)
    }

    #[test]
    fn one_after_another_in_order_of_arrival() {
        let mut desk = Desk::default();
        desk.ask(id("a"), at(0));
        desk.ask(id("b"), at(0));
        assert_eq!(desk.poll(at(0)), Some(DeskAction::Type(id("a"))));
        assert_eq!(desk.poll(at(0)), None);
        desk.on_typed();
        assert_eq!(desk.poll(at(1)), Some(DeskAction::Type(id("b"))));
        desk.on_typed();
        assert_eq!(desk.poll(at(1)), None);
        assert_eq!(desk.deadline(), Deadline::Never);
    }

    #[test]
    fn nothing_is_typed_into_a_line_that_somebody_has_begun() {
        let mut desk = Desk::default();
        desk.on_local(b"git com");
        desk.ask(id("a"), at(0));
        assert_eq!(desk.poll(at(0)), None);
        desk.on_local(b"mit\r");
        assert_eq!(desk.poll(at(1)), Some(DeskAction::Type(id("a"))));
        desk.on_typed();

        desk.on_local(b"x");
        desk.ask(id("b"), at(2));
        desk.ask(id("c"), at(3));
        assert_eq!(desk.deadline(), Deadline::At(at(32)));
        assert_eq!(desk.poll(at(31)), None);
        assert_eq!(desk.poll(at(32)), Some(DeskAction::GiveUp(id("b"))));
        assert_eq!(desk.poll(at(32)), None);
        desk.on_local(b"\x15");
        assert_eq!(desk.poll(at(32)), Some(DeskAction::Type(id("c"))));
    }

    #[test]
    fn keys_without_a_character_and_answers_of_the_terminal_begin_no_line() {
        for silent in
            [&b"\x1b[A"[..], b"\x1bOB", b"\x1b[24;80R", b"\x1bP1$r0m\x1b\\", b"\x1b]11;rgb:0\x07"]
        {
            let mut desk = Desk::default();
            desk.on_local(silent);
            desk.ask(id("a"), at(0));
            assert_eq!(desk.poll(at(0)), Some(DeskAction::Type(id("a"))), "{silent:?}");
        }
    }

    #[test]
    fn what_waited_for_a_program_is_not_typed_into_the_next() {
        let mut desk = Desk::default();
        desk.on_local(b"half a li");
        desk.ask(id("a"), at(0));
        desk.ask(id("b"), at(0));
        assert_eq!(desk.on_program_gone(), [id("a"), id("b")]);
        desk.ask(id("c"), at(1));
        assert_eq!(desk.poll(at(1)), Some(DeskAction::Type(id("c"))));
    }
}
