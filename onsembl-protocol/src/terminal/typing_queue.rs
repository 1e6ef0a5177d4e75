//! Whose turn it is to type. One submission at a time, and none into a line that has been begun: at
//! the agent's own terminal, or by a text that a program took only in part.

use super::line::LocalLine;
use crate::id::CommandId;
use crate::time::{Deadline, Timestamp};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

/// The queue for a keyboard that several share. A [queue machine](crate::step#two-contracts).
#[derive(Debug, Default)]
pub(crate) struct TypingQueue {
    line: LocalLine,
    typing: Option<CommandId>,
    waiting: VecDeque<Waiting>,
    /// A part of a text was typed, and stands where the next one would go.
    spoiled: bool,
}

#[derive(Debug)]
struct Waiting {
    command: CommandId,
    give_up_at: Timestamp,
}

/// What to do for a command that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TypingAction {
    /// Type it now, and say how that went with [`TypingQueue::on_typed`].
    Type(CommandId),
    /// Refuse it: a line has been open all the time.
    GiveUp(CommandId),
}

/// How much of something was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Typed {
    Whole,
    Part,
    Nothing,
}

impl TypingQueue {
    /// How long a command waits for a line at the agent's own terminal to be finished: 30 s, so that its
    /// sender gets the refusal while still looking.
    pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

    /// A command is to be typed.
    pub(crate) fn ask(&mut self, command: CommandId, now: Timestamp) {
        let give_up_at = now.saturating_add(Self::PATIENCE);
        self.waiting.push_back(Waiting { command, give_up_at });
    }

    /// Something was typed at the agent's own terminal.
    pub(crate) fn on_local(&mut self, bytes: &[u8]) {
        self.line.read(bytes);
        if !self.line.is_begun() {
            // The line was submitted or cleared at the keyboard.
            self.spoiled = false;
        }
    }

    /// So much of what was being typed is typed. Says whether that was still awaited.
    pub(crate) fn on_typed(&mut self, command: &CommandId, typed: Typed) -> bool {
        if self.typing.as_ref() != Some(command) {
            return false;
        }
        self.typing = None;
        self.spoiled |= typed == Typed::Part;
        true
    }

    /// Keys were typed: their sender sees the line, and is responsible for it.
    pub(crate) const fn on_keys(&mut self) {
        self.spoiled = false;
    }

    /// Whether a part of an earlier text stands where the next one would go.
    pub(crate) const fn is_spoiled(&self) -> bool {
        self.spoiled
    }

    /// It is not to be typed any more. Whether it was still waiting.
    pub(crate) fn withdraw(&mut self, command: &CommandId) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|w| w.command != *command);
        self.waiting.len() < before
    }

    /// The program has ended, and with it the line that was begun. Gives what was being typed,
    /// and what waited: it was meant for that program, and is not typed into another.
    #[must_use = "what waited must be refused, or it would never be answered"]
    pub(crate) fn on_program_ended(&mut self) -> (Option<CommandId>, Vec<CommandId>) {
        self.line = LocalLine::default();
        self.spoiled = false;
        (self.typing.take(), self.waiting.drain(..).map(|w| w.command).collect())
    }

    /// Whether something is being typed.
    pub(crate) const fn is_typing(&self) -> bool {
        self.typing.is_some()
    }

    /// The next thing to do, until there is none.
    pub(crate) fn poll(&mut self, now: Timestamp) -> Option<TypingAction> {
        let begun = self.line.is_begun();
        if begun && self.waiting.front().is_some_and(|w| w.give_up_at <= now) {
            return self.waiting.pop_front().map(|w| TypingAction::GiveUp(w.command));
        }
        if self.typing.is_some() || begun {
            return None;
        }
        let next = self.waiting.pop_front()?.command;
        self.typing = Some(next.clone());
        Some(TypingAction::Type(next))
    }

    /// When [`poll`](Self::poll) has something to do though nothing happened.
    pub(crate) fn deadline(&self) -> Deadline {
        match self.waiting.front() {
            Some(first) if self.line.is_begun() => Deadline::At(first.give_up_at),
            Some(_) | None => Deadline::Never,
        }
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
        let mut queue = TypingQueue::default();
        queue.ask(id("a"), at(0));
        queue.ask(id("b"), at(0));
        assert_eq!(queue.poll(at(0)), Some(TypingAction::Type(id("a"))));
        assert_eq!(queue.poll(at(0)), None);
        assert!(!queue.on_typed(&id("b"), Typed::Whole), "that is not being typed");
        assert!(queue.on_typed(&id("a"), Typed::Whole));
        assert_eq!(queue.poll(at(1)), Some(TypingAction::Type(id("b"))));
        assert!(queue.on_typed(&id("b"), Typed::Nothing));
        assert_eq!(queue.poll(at(1)), None);
        assert_eq!(queue.deadline(), Deadline::Never);
    }

    #[test]
    fn nothing_is_typed_into_a_line_that_somebody_has_begun() {
        let mut queue = TypingQueue::default();
        queue.on_local(b"git com");
        queue.ask(id("a"), at(0));
        assert_eq!(queue.poll(at(0)), None);
        queue.on_local(b"mit\r");
        assert_eq!(queue.poll(at(1)), Some(TypingAction::Type(id("a"))));
        assert!(queue.on_typed(&id("a"), Typed::Whole));

        queue.on_local(b"x");
        queue.ask(id("b"), at(2));
        queue.ask(id("c"), at(3));
        assert_eq!(queue.deadline(), Deadline::At(at(32)));
        assert_eq!(queue.poll(at(31)), None);
        assert_eq!(queue.poll(at(32)), Some(TypingAction::GiveUp(id("b"))));
        assert_eq!(queue.poll(at(32)), None);
        queue.on_local(b"\x03");
        assert_eq!(queue.poll(at(32)), Some(TypingAction::Type(id("c"))));
    }

    #[test]
    fn what_is_withdrawn_is_not_typed() {
        let mut queue = TypingQueue::default();
        queue.ask(id("a"), at(0));
        queue.ask(id("b"), at(0));
        assert!(queue.withdraw(&id("a")));
        assert!(!queue.withdraw(&id("a")));
        assert_eq!(queue.poll(at(0)), Some(TypingAction::Type(id("b"))));
        assert!(!queue.withdraw(&id("b")), "it is being typed");
    }

    #[test]
    fn what_was_meant_for_a_program_is_not_typed_into_the_next() {
        let mut queue = TypingQueue::default();
        queue.ask(id("a"), at(0));
        assert_eq!(queue.poll(at(0)), Some(TypingAction::Type(id("a"))));
        queue.on_local(b"half a li");
        queue.ask(id("b"), at(0));
        assert_eq!(queue.on_program_ended(), (Some(id("a")), [id("b")].into()));
        queue.ask(id("c"), at(1));
        assert_eq!(queue.poll(at(1)), Some(TypingAction::Type(id("c"))));
        assert!(!queue.on_typed(&id("a"), Typed::Whole), "it was over when its program was");
        assert!(queue.is_typing());
    }

    #[test]
    fn a_text_that_was_typed_in_part_spoils_the_line_until_somebody_sees_to_it() {
        for mended in [
            TypingQueue::on_keys,
            |queue: &mut TypingQueue| queue.on_local(b"\x03"),
            |queue: &mut TypingQueue| {
                drop(queue.on_program_ended());
            },
        ] {
            let mut queue = TypingQueue::default();
            queue.ask(id("a"), at(0));
            assert!(queue.poll(at(0)).is_some());
            assert!(queue.on_typed(&id("a"), Typed::Part));
            assert!(queue.is_spoiled());
            mended(&mut queue);
            assert!(!queue.is_spoiled());
        }
    }
}
