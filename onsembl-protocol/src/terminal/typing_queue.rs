//! Whose turn it is to type, and when what was typed counts as taken. One submission at a time, and none into a line that
//! has been begun: at the agent's own terminal, or by a text that a program took only in part.

use super::begun_line::{BegunLine, During, Person};
use super::submission::Typing;
use crate::id::CommandId;
use crate::model::Exit;
use crate::time::{Deadline, Timestamp};
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

/// The queue for a keyboard that several share. A [queue machine](crate::step#two-contracts).
#[derive(Debug)]
pub(crate) struct TypingQueue {
    line: BegunLine,
    typing: Option<CommandId>,
    /// Typed and read; taken if the program lives until then.
    living: VecDeque<(CommandId, Timestamp)>,
    /// Were being typed when their programs ended: one at most, unless programs end one right after the other.
    parting: VecDeque<Parting>,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    command: CommandId,
    passing: Passing,
    asked_at: Timestamp,
}

#[derive(Debug)]
struct Parting {
    command: CommandId,
    exit: Exit,
    /// Until when it is awaited whether the program had read it.
    until: Timestamp,
}

/// Whether a line that was begun by a person defers something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passing {
    /// It waits for the line: it would be submitted with it.
    Waits,
    /// It goes past: keys, which are how a line is ended from far away, and what is meant to.
    GoesPast,
}

/// What to do for a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TypingAction {
    /// The program read it, and lives: it is completed.
    Outlived(CommandId),
    /// Refuse it, for this reason: a line has been open all the time.
    GiveUp(CommandId, String),
    /// Its program ended so while it was typed, and whether it had read it does not come out.
    NotKnown(CommandId, Exit),
}

/// What waits for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expecting {
    /// Nothing waits for this.
    Nothing,
    /// It was being typed.
    Typing,
    /// It was being typed when its program ended so.
    Parting(Exit),
}

/// What a program that ended leaves.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ProgramLeft {
    /// It had read these, and outlived them.
    pub(crate) outlived: Vec<CommandId>,
    /// It had read these.
    pub(crate) read: Vec<CommandId>,
    /// These waited: they were meant for that program, and are not typed into another.
    pub(crate) waiting: Vec<CommandId>,
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
    /// How long a command waits for a line at the agent's own terminal that somebody is typing: 30 s, so that its
    /// sender gets the refusal while still looking.
    pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

    /// How long a program must outlive what it read for that to be taken: one that ends because of it does so within
    /// some milliseconds, and a person does not notice the wait.
    pub(crate) const MOMENT: Duration = Duration::from_millis(200);

    /// How long it may take to come out whether a program that ended had read what was being typed.
    const LAST_WORD: Duration = Duration::from_secs(2);

    pub(crate) fn new(line_idle: Duration) -> Self {
        Self {
            line: BegunLine::new(line_idle),
            typing: None,
            living: VecDeque::new(),
            parting: VecDeque::new(),
            waiting: VecDeque::new(),
        }
    }

    /// A command is to be typed.
    pub(crate) fn ask(&mut self, command: CommandId, passing: Passing, now: Timestamp) {
        self.waiting.push_back(Waiting { command, passing, asked_at: now });
    }

    /// So much of this is typed. Says what waited for that.
    pub(crate) fn on_typed(
        &mut self,
        command: &CommandId,
        typing: Option<&Typing>,
        typed: Typed,
        now: Timestamp,
    ) -> Expecting {
        let is_parting = self.parting.iter().position(|parting| parting.command == *command);
        if let Some(parting) = is_parting.and_then(|at| self.parting.remove(at)) {
            return Expecting::Parting(parting.exit);
        }
        if self.typing.take_if(|typing| *typing == *command).is_none() {
            return Expecting::Nothing;
        }
        match typed {
            Typed::Whole => {
                if let Some(typing) = typing {
                    self.line.on_whole(typing);
                }
                // That it was read shows nothing yet: its program may end because of it.
                self.living.push_back((command.clone(), now.saturating_add(Self::MOMENT)));
            }
            Typed::Part => self.line.on_part(),
            Typed::Nothing => {}
        }
        Expecting::Typing
    }

    /// A person typed something. Gives where in it are keys that suspend.
    pub(crate) fn on_person(
        &mut self,
        bytes: &[u8],
        by: Person,
        now: Timestamp,
    ) -> Vec<Range<usize>> {
        let during = if self.typing.is_some() { During::Submission } else { During::Nothing };
        self.line.on_person(bytes, by, during, now)
    }

    /// The line into which the next text would go.
    pub(crate) const fn line(&self) -> &BegunLine {
        &self.line
    }

    /// It was typed whole and was not read in time: nothing comes of a program's life any more.
    pub(crate) fn forget_living(&mut self, command: &CommandId) {
        self.living.retain(|(living, _)| living != command);
    }

    /// It is not to be typed any more. Whether it was still waiting.
    pub(crate) fn withdraw(&mut self, command: &CommandId) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|w| w.command != *command);
        self.waiting.len() < before
    }

    /// The program has ended so, and with it the line that was begun.
    #[must_use = "what it left must be reported, or it would never be answered"]
    pub(crate) fn on_program_ended(&mut self, exit: Exit, now: Timestamp) -> ProgramLeft {
        self.line.on_program_ended();
        // The edge knows in a moment how much of it was read.
        if let Some(command) = self.typing.take() {
            let until = now.saturating_add(Self::LAST_WORD);
            self.parting.push_back(Parting { command, exit, until });
        }
        let (outlived, read): (Vec<_>, Vec<_>) =
            self.living.drain(..).partition(|(_, until)| *until <= now);
        let commands = |of: Vec<(CommandId, Timestamp)>| of.into_iter().map(|(command, _)| command);
        ProgramLeft {
            outlived: commands(outlived).collect(),
            read: commands(read).collect(),
            waiting: self.waiting.drain(..).map(|w| w.command).collect(),
        }
    }

    /// Whether something is being typed, or what was typed is not yet known to be taken.
    pub(crate) fn is_typing(&self) -> bool {
        self.typing.is_some() || !self.living.is_empty() || !self.parting.is_empty()
    }

    /// What is due, until there is nothing.
    pub(crate) fn poll(&mut self, now: Timestamp) -> Option<TypingAction> {
        if self.living.front().is_some_and(|(_, until)| *until <= now) {
            return self.living.pop_front().map(|(command, _)| TypingAction::Outlived(command));
        }
        if self.parting.front().is_some_and(|parting| parting.until <= now) {
            let parting = self.parting.pop_front();
            return parting
                .map(|Parting { command, exit, .. }| TypingAction::NotKnown(command, exit));
        }
        let blocker = self.line.blocker(now)?;
        let given_up = self.waiting.iter().position(|w| {
            w.passing == Passing::Waits
                && self.gives_up_at(w).is_some_and(|give_up_at| give_up_at <= now)
        })?;
        let command = self.waiting.remove(given_up)?.command;
        Some(TypingAction::GiveUp(command, self.line.refusal(blocker, now)))
    }

    /// Whether there is one that could be typed now.
    pub(crate) fn has_next(&self, now: Timestamp) -> bool {
        self.next(now).is_some()
    }

    /// The one whose turn it is is being typed from now on: say how that went by
    /// [`on_typed`](Self::on_typed).
    pub(crate) fn take_next(&mut self, now: Timestamp) -> Option<CommandId> {
        let next = self.next(now)?;
        let command = self.waiting.remove(next)?.command;
        self.line.on_typing();
        self.typing = Some(command.clone());
        Some(command)
    }

    fn next(&self, now: Timestamp) -> Option<usize> {
        if self.typing.is_some() {
            return None;
        }
        match self.line.blocker(now) {
            None if self.waiting.is_empty() => None,
            None => Some(0),
            // Keys, which may end that line.
            Some(_) => self.waiting.iter().position(|w| w.passing == Passing::GoesPast),
        }
    }

    /// When it is refused because of the line: not while nobody touches that, since then it soon defers it no
    /// longer.
    fn gives_up_at(&self, waiting: &Waiting) -> Option<Timestamp> {
        let is_typed_on = self.line.is_touched_after(waiting.asked_at);
        is_typed_on.then(|| waiting.asked_at.saturating_add(Self::PATIENCE))
    }

    /// Whose line defers texts, if one does, and how long it does if nobody touches it.
    pub(crate) fn blocked_by(&self, now: Timestamp) -> Option<(Person, Duration)> {
        self.line.blocker(now).map(|blocker| (blocker.by, self.line.idle()))
    }

    /// What waits for the line that somebody has begun.
    pub(crate) fn deferred(&self, now: Timestamp) -> impl Iterator<Item = &CommandId> {
        let is_blocked = self.line.blocker(now).is_some();
        let deferred =
            self.waiting.iter().filter(move |w| is_blocked && w.passing == Passing::Waits);
        deferred.map(|w| &w.command)
    }

    /// All that waits to be typed.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &CommandId> {
        self.waiting.iter().map(|w| &w.command)
    }

    /// When [`poll`](Self::poll) has something to do though nothing happened, or something that was deferred is not
    /// any more.
    pub(crate) fn deadline(&self, now: Timestamp) -> Deadline {
        let living = self.living.front().map_or(Deadline::Never, |(_, until)| Deadline::At(*until));
        let parting = self.parting.front().map_or(Deadline::Never, |p| Deadline::At(p.until));
        let line = match self.line.blocker(now) {
            Some(blocker) => {
                let texts = self.waiting.iter().filter(|w| w.passing == Passing::Waits);
                texts.fold(Deadline::Never, |earliest, w| {
                    let give_up = self.gives_up_at(w).map_or(Deadline::Never, Deadline::At);
                    earliest.min(give_up).min(Deadline::At(blocker.until))
                })
            }
            None => Deadline::Never,
        };
        living.min(parting).min(line)
    }
}

#[cfg(test)]
mod tests {
    use super::super::modes::Modes;
    use super::super::settings::LineMode;
    use super::*;
    use alloc::vec;

    const IDLE: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_origin(Duration::from_secs(seconds))
    }

    fn after(seconds: u64, ms: u64) -> Timestamp {
        at(seconds).saturating_add(Duration::from_millis(ms))
    }

    fn id(name: &str) -> CommandId {
        CommandId::new(name)
    }

    fn queue() -> TypingQueue {
        TypingQueue::new(IDLE)
    }

    fn asks(queue: &mut TypingQueue, name: &str, seconds: u64) {
        queue.ask(id(name), Passing::Waits, at(seconds));
    }

    fn text() -> Typing {
        Typing::submission("text", &Modes::default(), LineMode::Program).unwrap()
    }

    fn keys(names: &str) -> Typing {
        Typing::keys(names, &Modes::default()).unwrap()
    }

    fn typed(queue: &mut TypingQueue, name: &str, what: &Typing, seconds: u64) -> Expecting {
        queue.on_typed(&id(name), Some(what), Typed::Whole, at(seconds))
    }

    #[test]
    fn one_after_another_in_order_of_arrival() {
        let mut queue = queue();
        asks(&mut queue, "a", 0);
        asks(&mut queue, "b", 0);
        assert_eq!(queue.take_next(at(0)), Some(id("a")));
        assert!(!queue.has_next(at(0)) && queue.take_next(at(0)).is_none());
        assert_eq!(
            typed(&mut queue, "b", &text(), 0),
            Expecting::Nothing,
            "that is not being typed"
        );
        assert_eq!(typed(&mut queue, "a", &text(), 0), Expecting::Typing);
        assert_eq!(queue.take_next(at(1)), Some(id("b")));
        assert_eq!(queue.on_typed(&id("b"), None, Typed::Nothing, at(1)), Expecting::Typing);
        assert_eq!(queue.take_next(at(1)), None);
    }

    #[test]
    fn what_was_read_is_taken_when_the_program_outlives_it_by_a_moment() {
        let mut queue = queue();
        asks(&mut queue, "a", 0);
        assert!(queue.take_next(at(0)).is_some());
        assert_eq!(typed(&mut queue, "a", &text(), 0), Expecting::Typing);
        assert_eq!(
            (queue.poll(after(0, 199)), queue.deadline(at(0))),
            (None, Deadline::At(after(0, 200)))
        );
        assert!(queue.is_typing());
        assert_eq!(queue.poll(after(0, 200)), Some(TypingAction::Outlived(id("a"))));
        assert!(!queue.is_typing());
        assert_eq!(queue.deadline(at(1)), Deadline::Never);
    }

    #[test]
    fn what_a_program_that_ends_had_read_and_what_it_had_not_are_told_apart() {
        let mut queue = queue();
        for name in ["read", "typing", "waiting"] {
            asks(&mut queue, name, 0);
        }
        assert!(queue.take_next(at(0)).is_some());
        assert_eq!(typed(&mut queue, "read", &text(), 0), Expecting::Typing);
        assert!(queue.take_next(at(0)).is_some());
        let left = queue.on_program_ended(Exit::Code(3), at(0));
        let (read, waiting) = (vec![id("read")], vec![id("waiting")]);
        assert_eq!(left, ProgramLeft { outlived: vec![], read, waiting });
        assert_eq!(typed(&mut queue, "typing", &text(), 1), Expecting::Parting(Exit::Code(3)));
        assert!(!queue.is_typing());
        // It may not come out at all.
        asks(&mut queue, "next", 2);
        assert!(queue.take_next(at(2)).is_some());
        let _ = queue.on_program_ended(Exit::Signal(9), at(2));
        asks(&mut queue, "of the next program", 3);
        assert_eq!(queue.take_next(at(3)), Some(id("of the next program")));
        assert_eq!(queue.deadline(at(3)), Deadline::At(at(4)));
        let not_known = TypingAction::NotKnown(id("next"), Exit::Signal(9));
        assert_eq!(queue.poll(at(4)), Some(not_known));
        assert_eq!(typed(&mut queue, "next", &text(), 5), Expecting::Nothing);
    }

    #[test]
    fn what_was_outlived_before_the_end_was_is_taken() {
        let mut queue = queue();
        asks(&mut queue, "a", 0);
        assert!(queue.take_next(at(0)).is_some());
        assert_eq!(typed(&mut queue, "a", &text(), 0), Expecting::Typing);
        let left = queue.on_program_ended(Exit::Code(1), after(0, 200));
        assert_eq!(left, ProgramLeft { outlived: vec![id("a")], ..ProgramLeft::default() });
    }

    #[test]
    fn nothing_is_typed_into_a_line_that_somebody_types() {
        let mut queue = queue();
        let _ = queue.on_person(b"git com", Person::AtMachine, at(0));
        asks(&mut queue, "a", 0);
        assert!(!queue.has_next(at(0)));
        let _ = queue.on_person(b"mit\r", Person::AtMachine, at(1));
        assert_eq!(queue.take_next(at(1)), Some(id("a")));
        assert_eq!(typed(&mut queue, "a", &text(), 1), Expecting::Typing);
        assert!(queue.poll(at(2)).is_some());

        let _ = queue.on_person(b"x", Person::AtMachine, at(2));
        asks(&mut queue, "b", 2);
        asks(&mut queue, "c", 3);
        let _ = queue.on_person(b"yz", Person::AtMachine, at(20));
        assert_eq!(queue.deadline(at(20)), Deadline::At(at(32)));
        assert_eq!(queue.poll(at(31)), None);
        let Some(TypingAction::GiveUp(command, why)) = queue.poll(at(32)) else { panic!() };
        assert_eq!(command, id("b"));
        assert!(why.contains("3 characters in it, last key 12s ago"), "{why}");
        assert_eq!(queue.poll(at(32)), None);
        let _ = queue.on_person(b"\x03", Person::AtMachine, at(32));
        assert_eq!(queue.take_next(at(32)), Some(id("c")));
    }

    #[test]
    fn a_line_that_nobody_touches_holds_nothing_back_for_ever() {
        let mut queue = queue();
        let _ = queue.on_person(b"1", Person::AtMachine, at(0));
        asks(&mut queue, "a", 10);
        assert_eq!(queue.deferred(at(10)).count(), 1);
        assert_eq!(queue.deadline(at(10)), Deadline::At(at(60)));
        // What the terminal itself sends is no key.
        let _ = queue.on_person(b"\x1b[I", Person::AtMachine, at(50));
        assert_eq!((queue.poll(at(59)), queue.has_next(at(59))), (None, false));
        assert_eq!(queue.take_next(at(60)), Some(id("a")));
        // Its Enter submits what stood there.
        assert_eq!(typed(&mut queue, "a", &text(), 60), Expecting::Typing);
        let _ = queue.on_person(b"\x1b[I", Person::AtMachine, at(61));
        asks(&mut queue, "b", 61);
        assert!(queue.has_next(at(61)));
    }

    #[test]
    fn keys_and_what_is_meant_to_go_past_a_line_and_may_end_it() {
        let mut queue = queue();
        let _ = queue.on_person(b"half a li", Person::AtMachine, at(0));
        asks(&mut queue, "text", 0);
        queue.ask(id("keys"), Passing::GoesPast, at(1));
        assert_eq!(queue.take_next(at(1)), Some(id("keys")));
        assert_eq!(typed(&mut queue, "keys", &keys("y"), 1), Expecting::Typing);
        assert!(!queue.has_next(at(1)), "the line stands");
        queue.ask(id("clear"), Passing::GoesPast, at(1));
        assert_eq!(queue.take_next(at(1)), Some(id("clear")));
        assert_eq!(typed(&mut queue, "clear", &keys("ctrl-c"), 1), Expecting::Typing);
        assert_eq!(queue.take_next(at(1)), Some(id("text")));
    }

    #[test]
    fn what_is_withdrawn_is_not_typed() {
        let mut queue = queue();
        asks(&mut queue, "a", 0);
        asks(&mut queue, "b", 0);
        assert!(queue.withdraw(&id("a")));
        assert!(!queue.withdraw(&id("a")));
        assert_eq!(queue.take_next(at(0)), Some(id("b")));
        assert!(!queue.withdraw(&id("b")), "it is being typed");
    }

    #[test]
    fn a_text_that_was_typed_in_part_spoils_the_line_until_somebody_sees_to_it() {
        let mended: [fn(&mut TypingQueue); 3] = [
            |queue| {
                queue.ask(id("k"), Passing::GoesPast, at(0));
                assert!(queue.take_next(at(0)).is_some());
                assert_eq!(typed(queue, "k", &keys("ctrl-u"), 0), Expecting::Typing);
            },
            |queue| drop(queue.on_person(b"\x03", Person::AtMachine, at(0))),
            |queue| drop(queue.on_program_ended(Exit::Code(0), at(0))),
        ];
        for mended in mended {
            let mut queue = queue();
            asks(&mut queue, "a", 0);
            assert!(queue.take_next(at(0)).is_some());
            let part = queue.on_typed(&id("a"), Some(&text()), Typed::Part, at(0));
            assert_eq!(part, Expecting::Typing);
            assert!(queue.line.is_spoiled() && queue.line.standing() == 0);
            mended(&mut queue);
            assert!(!queue.line.is_spoiled());
        }
    }

    #[test]
    fn what_keys_leave_in_the_line_is_counted() {
        let mut queue = queue();
        for (names, standing) in [("a b c", 3), ("d", 4), ("enter", 0), ("x", 1)] {
            queue.ask(id("k"), Passing::GoesPast, at(0));
            assert!(queue.take_next(at(0)).is_some());
            assert_eq!(typed(&mut queue, "k", &keys(names), 0), Expecting::Typing);
            assert_eq!(queue.line.standing(), standing, "{names}");
        }
        let _ = queue.on_person(b"yz", Person::AtMachine, at(0));
        assert_eq!(queue.line.standing(), 3);
    }
}
