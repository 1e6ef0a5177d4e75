//! When a program is done with a paste, so that the Enter behind it is no part of it (P-222). That it has read the paste
//! does not show it: Gemini CLI handles an Enter at once, but a paste only when it draws, and takes an Enter soon behind a
//! paste for a line end. Under load both take it long.

use crate::id::CommandId;
use crate::time::{Deadline, Timestamp};
use core::time::Duration;

/// Output that the reader of a paste wrote at once comes before it is known that the paste was read.
const SEEN_LATE: Duration = Duration::from_millis(50);

/// How long a program must be silent behind its reaction at least: 150 ms.
const QUIET: Duration = Duration::from_millis(150);
/// And at most: 1 s. One that took long to react is slow, and gets as long again.
const LONGEST_QUIET: Duration = Duration::from_secs(1);

/// Whether the program of a terminal is done with a paste. A [queue machine](crate::step#two-contracts) of one.
#[derive(Debug, Default)]
pub(crate) struct Settling(Option<Paste>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Paste {
    command: CommandId,
    /// Since when it is being typed.
    since: Timestamp,
    /// The longest wait once it was read.
    longest: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is not known to be read. When the program wrote last.
    Typed {
        wrote: Option<Timestamp>,
    },
    Read {
        at: Timestamp,
        reaction: Option<Reaction>,
    },
}

/// What the program wrote since it has read the paste.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reaction {
    first: Timestamp,
    last: Timestamp,
}

impl Settling {
    /// The longest wait once a paste was read: 2 s. A program that shows a clock is never silent, and one that shows
    /// nothing of what is typed never reacts.
    pub(crate) const LONGEST: Duration = Duration::from_secs(2);

    /// A paste is typed for this command, which has this long in all.
    pub(crate) fn begin(&mut self, command: CommandId, within: Duration, now: Timestamp) {
        let longest = Self::LONGEST.min(within / 2);
        self.0 = Some(Paste { command, since: now, longest, state: State::Typed { wrote: None } });
    }

    /// The program has read it.
    pub(crate) fn on_read(&mut self, command: &CommandId, now: Timestamp) {
        let Some(paste) = self.0.as_mut().filter(|paste| paste.command == *command) else { return };
        match paste.state {
            State::Typed { wrote } => {
                let reacted = wrote.filter(|at| now <= at.saturating_add(SEEN_LATE));
                let reaction = reacted.map(|at| Reaction { first: at, last: at });
                paste.state = State::Read { at: now, reaction };
            }
            State::Read { .. } => {}
        }
    }

    /// The program wrote.
    pub(crate) fn on_output(&mut self, now: Timestamp) {
        let Some(paste) = &mut self.0 else { return };
        match &mut paste.state {
            State::Typed { wrote } => *wrote = Some(now),
            State::Read { reaction: Some(reaction), .. } => reaction.last = now,
            State::Read { reaction, .. } => *reaction = Some(Reaction { first: now, last: now }),
        }
    }

    /// Whether the Enter of this command waits.
    pub(crate) fn contains(&self, command: &CommandId) -> bool {
        self.0.as_ref().is_some_and(|paste| paste.command == *command)
    }

    /// Nothing is typed any more.
    pub(crate) fn end(&mut self) {
        self.0 = None;
    }

    /// The command whose Enter is to be typed now, once.
    pub(crate) fn poll(&mut self, now: Timestamp) -> Option<CommandId> {
        if !self.deadline().is_due(now) {
            return None;
        }
        self.0.take().map(|paste| paste.command)
    }

    /// When to [`poll`](Self::poll), if nothing else happens.
    pub(crate) fn deadline(&self) -> Deadline {
        self.0.as_ref().and_then(Paste::settled_at).map_or(Deadline::Never, Deadline::At)
    }
}

impl Paste {
    /// When it counts as dealt with, if it was read.
    fn settled_at(&self) -> Option<Timestamp> {
        let State::Read { at, reaction } = self.state else { return None };
        let at_last = at.saturating_add(self.longest);
        let quiet = reaction.map(|Reaction { first, last }| {
            let took = first.saturating_since(self.since);
            last.max(at).saturating_add(took.clamp(QUIET, LONGEST_QUIET))
        });
        Some(quiet.map_or(at_last, |quiet| quiet.min(at_last)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WITHIN: Duration = Duration::from_secs(10);

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_origin(Duration::from_millis(5000 + ms))
    }

    fn id() -> CommandId {
        CommandId::new("c")
    }

    fn typed() -> Settling {
        let mut settling = Settling::default();
        settling.begin(id(), WITHIN, at(0));
        settling
    }

    fn due(settling: &Settling) -> Option<u64> {
        match settling.deadline() {
            Deadline::At(due) => Some(due.saturating_since(at(0)).as_millis() as u64),
            Deadline::Never => None,
        }
    }

    #[test]
    fn enter_comes_when_the_program_has_reacted_and_is_silent() {
        let mut settling = typed();
        assert_eq!(due(&settling), None, "it is not read");
        settling.on_read(&id(), at(10));
        assert_eq!(due(&settling), Some(2010));
        settling.on_output(at(40));
        assert_eq!(due(&settling), Some(190));
        settling.on_output(at(100));
        assert_eq!((settling.poll(at(249)), due(&settling)), (None, Some(250)));
        assert_eq!(settling.poll(at(250)), Some(id()));
        assert_eq!((settling.poll(at(250)), due(&settling)), (None, None), "once");
    }

    #[test]
    fn one_that_took_long_to_react_gets_as_long_again() {
        for (read, reacted, enter) in
            [(10, 400, 800), (390, 400, 800), (10, 900, 1800), (500, 1200, 2200), (10, 1500, 2010)]
        {
            let mut settling = typed();
            settling.on_read(&id(), at(read));
            settling.on_output(at(reacted));
            assert_eq!(due(&settling), Some(enter), "{read} {reacted}");
        }
    }

    #[test]
    fn what_it_wrote_before_it_read_is_no_reaction_unless_that_is_only_known_late() {
        let mut settling = typed();
        settling.on_output(at(100));
        settling.on_read(&id(), at(151));
        assert_eq!(due(&settling), Some(2151));
        let mut settling = typed();
        settling.on_output(at(100));
        settling.on_read(&id(), at(150));
        assert_eq!(due(&settling), Some(300));
    }

    #[test]
    fn one_that_never_reacts_or_is_never_silent_gets_it_by_the_bound() {
        let mut settling = typed();
        settling.on_read(&id(), at(0));
        for ms in (0..2000).step_by(80) {
            settling.on_output(at(ms));
            assert_eq!(settling.poll(at(ms)), None, "{ms}");
        }
        assert_eq!(settling.poll(at(2000)), Some(id()));
        let mut settling = Settling::default();
        settling.begin(id(), Duration::from_secs(1), at(0));
        settling.on_read(&id(), at(0));
        assert_eq!(due(&settling), Some(500), "a time limit leaves time for the Enter");
    }

    #[test]
    fn nothing_of_another_command_counts_and_an_end_is_one() {
        let mut settling = typed();
        settling.on_read(&CommandId::new("another"), at(0));
        assert_eq!(due(&settling), None);
        settling.on_read(&id(), at(0));
        settling.end();
        settling.on_output(at(1));
        assert_eq!((due(&settling), settling.poll(at(60_000))), (None, None));
    }

    proptest! {
        /// Whatever it writes: the Enter comes, not within 150 ms of what was written last unless by the bound, and by
        /// 2 s behind the reading.
        #[test]
        fn the_enter_comes_between_its_bounds(
            read in 0..3000_u64,
            writes in proptest::collection::btree_set(0..6000_u64, 0..40),
        ) {
            let mut settling = typed();
            let mut writes = writes.into_iter().peekable();
            let mut last = None;
            let mut enter = None;
            for ms in 0..=6000 {
                if ms == read {
                    settling.on_read(&id(), at(ms));
                }
                if writes.next_if_eq(&ms).is_some() {
                    settling.on_output(at(ms));
                    last = Some(ms);
                }
                if settling.poll(at(ms)).is_some() {
                    enter = Some(ms);
                    break;
                }
            }
            let enter = enter.expect("it comes");
            let is_by_bound = enter == read + 2000;
            prop_assert!(enter > read && enter <= read + 2000);
            prop_assert!(is_by_bound || last.is_some_and(|last| enter >= last + 150));
        }
    }
}
