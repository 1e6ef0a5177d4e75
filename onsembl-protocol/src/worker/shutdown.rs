//! The way out: what is awaited before an agent ends, and how long.

use super::end::WorkerEnd;
use crate::time::{Deadline, Timestamp};
use core::time::Duration;

/// Longest wait for processes: the grace that all of them get together, the confirmation after `SIGKILL`, and a second
/// for a busy machine.
const FOR_PROCESSES: Duration = Duration::from_secs(8);

/// Longest wait for the server to confirm what is left, once no process is.
const FOR_CONFIRMATIONS: Duration = Duration::from_secs(1);

/// A server that confirms nothing gets this long to take what was handed to the link last: a close
/// drops what is still queued.
const FOR_THE_QUEUE: Duration = Duration::from_millis(500);

/// What is left to do before the link is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) running: bool,
    /// Something is to be said, in a session that can take it.
    pub(super) unsent: bool,
    /// Something said in this session is to be confirmed.
    pub(super) unconfirmed: bool,
    /// When something was last handed to a link whose server confirms nothing.
    pub(super) sent_unconfirmed_at: Option<Timestamp>,
}

/// An agent on its way out.
#[derive(Clone, Debug)]
pub(super) struct Shutdown {
    why: WorkerEnd,
    /// When processes are not awaited any more; one that was replaced awaits them however long they run.
    give_up_at: Deadline,
    /// Since when nothing runs.
    alone_since: Option<Timestamp>,
    until: Until,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Waits(Deadline),
    Over,
}

impl Shutdown {
    pub(super) fn new(why: WorkerEnd, now: Timestamp) -> Self {
        let give_up_at = Deadline::At(now.saturating_add(FOR_PROCESSES));
        Self { why, give_up_at, alone_since: None, until: Until::Waits(give_up_at) }
    }

    /// The way out of an agent whose commands continue to their end.
    pub(super) fn patient(why: WorkerEnd) -> Self {
        let give_up_at = Deadline::Never;
        Self { why, give_up_at, alone_since: None, until: Until::Waits(give_up_at) }
    }

    /// Whether it waits for processes however long they run.
    pub(super) fn is_patient(&self) -> bool {
        self.give_up_at == Deadline::Never
    }

    /// There is one more reason to end. What a patient one let run is ended now, and awaited with a deadline.
    /// A refusal is what is reported in the end, whatever came first.
    pub(super) fn again(&mut self, why: WorkerEnd, now: Timestamp) {
        if self.is_patient() {
            self.give_up_at = Deadline::At(now.saturating_add(FOR_PROCESSES));
            return;
        }
        match why {
            // Whoever started the agent has to act on a refusal; started again as after a stop, it would be refused again.
            WorkerEnd::Refused(_) => self.why = why,
            WorkerEnd::Shutdown
            | WorkerEnd::Ordered(_)
            | WorkerEnd::ProgramEnded(_)
            | WorkerEnd::ProgramCannotStart(_) => {}
        }
    }

    /// No command runs any more, and what they left is asked to end: a patient one awaits that with a deadline.
    pub(super) fn on_only_background(&mut self, now: Timestamp) {
        if self.is_patient() {
            self.give_up_at = Deadline::At(now.saturating_add(FOR_PROCESSES));
        }
    }

    /// Looks at what is left; gives why the agent ends, once, when there is nothing left to wait for.
    pub(super) fn look(&mut self, left: Left, now: Timestamp) -> Option<WorkerEnd> {
        if self.until == Until::Over {
            return None;
        }
        let until = if left.running {
            // A process that was found again has an end of its own, which needs the whole second to be confirmed.
            self.alone_since = None;
            self.give_up_at
        } else {
            // Counted once for all that is left: each confirmation that brings a further message would prolong it.
            let alone_since = *self.alone_since.get_or_insert(now);
            if left.unsent || left.unconfirmed {
                Deadline::At(alone_since.saturating_add(FOR_CONFIRMATIONS))
            } else {
                let at = left.sent_unconfirmed_at.map(|at| at.saturating_add(FOR_THE_QUEUE));
                Deadline::At(at.unwrap_or(now))
            }
        };
        // Who stops the agent was promised one bound, whatever is left.
        let until = until.min(self.give_up_at);
        if until.is_due(now) {
            self.until = Until::Over;
            return Some(self.why.clone());
        }
        self.until = Until::Waits(until);
        None
    }

    /// When to look again.
    pub(super) const fn deadline(&self) -> Deadline {
        match self.until {
            Until::Waits(at) => at,
            Until::Over => Deadline::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::EndOrder;

    const NOTHING: Left =
        Left { running: false, unsent: false, unconfirmed: false, sent_unconfirmed_at: None };

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_origin(Duration::from_millis(ms))
    }

    fn wait(shutdown: &mut Shutdown, left: Left, ms: u64) -> Option<u64> {
        match shutdown.look(left, at(ms)) {
            Some(_) => None,
            None => match shutdown.deadline() {
                Deadline::At(at) => Some(at.since_origin().as_millis() as u64),
                Deadline::Never => panic!("it waits for nothing and does not end"),
            },
        }
    }

    #[test]
    fn with_nothing_left_nothing_is_awaited_and_the_end_comes_once() {
        let mut shutdown = Shutdown::new(WorkerEnd::Shutdown, at(0));
        assert_eq!(shutdown.look(NOTHING, at(0)), Some(WorkerEnd::Shutdown));
        assert_eq!(shutdown.look(NOTHING, at(1)), None);
        assert_eq!(shutdown.deadline(), Deadline::Never);
    }

    #[test]
    fn processes_get_eight_seconds_and_what_is_left_to_say_one_more() {
        let mut shutdown = Shutdown::new(WorkerEnd::Shutdown, at(0));
        let running = Left { running: true, unsent: true, ..NOTHING };
        assert_eq!(wait(&mut shutdown, running, 10), Some(8000));
        let unsent = Left { unsent: true, ..NOTHING };
        assert_eq!(wait(&mut shutdown, unsent, 100), Some(1100));
        let unreported = Left { unconfirmed: true, ..NOTHING };
        assert_eq!(wait(&mut shutdown, unreported, 200), Some(1100));
        assert_eq!(wait(&mut shutdown.clone(), unreported, 1100), None);
        assert_eq!(wait(&mut shutdown, running, 8000), None);
    }

    #[test]
    fn what_is_not_confirmed_gets_time_to_leave_the_queue() {
        let mut shutdown = Shutdown::new(WorkerEnd::Ordered(EndOrder::Stop), at(0));
        let legacy = Left { sent_unconfirmed_at: Some(at(300)), ..NOTHING };
        assert_eq!(wait(&mut shutdown, legacy, 400), Some(800));
        assert_eq!(wait(&mut shutdown, legacy, 800), None);
    }
}
