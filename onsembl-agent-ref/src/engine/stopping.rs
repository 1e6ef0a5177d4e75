//! The way out: what is awaited before an agent ends, and how long.

use super::error::AgentError;
use super::options::AgentEnd;
use onsembl_protocol::command::Exit;
use onsembl_protocol::session::{AgentCause, EndOrder};
use onsembl_protocol::time::{Deadline, Timestamp};
use std::time::Duration;

/// Longest wait for processes: the grace, the confirmation after `SIGKILL`, and a second for a busy
/// machine.
const FOR_PROCESSES: Duration = Duration::from_secs(8);

/// Longest wait for the server to confirm what is left, once no process is.
const FOR_CONFIRMATIONS: Duration = Duration::from_secs(1);

/// A server that confirms nothing gets this long to take what was handed to the link last: a close
/// drops what is still queued.
const FOR_THE_QUEUE: Duration = Duration::from_millis(500);

/// Why an agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Its machine says so.
    Shutdown,
    /// The server orders it.
    Ordered,
    /// The server orders it, and to start anew.
    Restart,
    /// The program that it was attached to ended.
    ProgramEnded(Exit),
    /// The program that it was to be attached to cannot be started.
    ProgramCannotStart,
    /// The server refuses it for good.
    Refused(AgentCause),
}

impl Why {
    /// The order from afar that is obeyed, if one is.
    pub(super) const fn order(&self) -> Option<EndOrder> {
        match self {
            Self::Ordered => Some(EndOrder::Stop),
            Self::Restart => Some(EndOrder::Restart),
            Self::Shutdown
            | Self::ProgramEnded(_)
            | Self::ProgramCannotStart
            | Self::Refused(_) => None,
        }
    }

    pub(super) fn outcome(self) -> Result<AgentEnd, AgentError> {
        match self {
            Self::Shutdown | Self::ProgramCannotStart => Ok(AgentEnd::Shutdown),
            Self::ProgramEnded(exit) => Ok(AgentEnd::ProgramEnded(exit)),
            Self::Ordered => Ok(AgentEnd::StoppedByServer),
            Self::Restart => Ok(AgentEnd::RestartedByServer),
            Self::Refused(cause) => Err(AgentError::Refused { cause }),
        }
    }
}

/// What is left to do before the link is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// Processes.
    pub(super) running: bool,
    /// Something to say, in a session that can take it.
    pub(super) words: bool,
    /// Something said in this session that the server confirms.
    pub(super) confirmations: bool,
    /// When something was last handed to a link whose server confirms nothing.
    pub(super) unconfirmed_at: Option<Timestamp>,
}

/// An agent on its way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopping {
    pub(super) why: Why,
    give_up: Timestamp,
    alone_since: Option<Timestamp>,
}

impl Stopping {
    pub(super) fn new(why: Why, now: Timestamp) -> Self {
        Self { why, give_up: now.saturating_add(FOR_PROCESSES), alone_since: None }
    }

    /// When to look again; `None` when there is nothing left to wait for.
    pub(super) fn wait(&mut self, left: Left, now: Timestamp) -> Option<Deadline> {
        let until = if left.running {
            self.alone_since = None;
            self.give_up
        } else {
            let alone_since = *self.alone_since.get_or_insert(now);
            if left.words || left.confirmations {
                self.give_up.min(alone_since.saturating_add(FOR_CONFIRMATIONS))
            } else {
                self.give_up.min(left.unconfirmed_at?.saturating_add(FOR_THE_QUEUE))
            }
        };
        (until > now).then_some(Deadline::At(until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Left =
        Left { running: false, words: false, confirmations: false, unconfirmed_at: None };

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_origin(Duration::from_millis(ms))
    }

    #[test]
    fn with_nothing_left_nothing_is_awaited() {
        assert_eq!(Stopping::new(Why::Shutdown, at(0)).wait(NOTHING, at(0)), None);
    }

    #[test]
    fn processes_get_eight_seconds_and_what_is_left_to_say_one_more() {
        let mut stopping = Stopping::new(Why::Shutdown, at(0));
        let running = Left { running: true, words: true, ..NOTHING };
        assert_eq!(stopping.wait(running, at(10)), Some(Deadline::At(at(8000))));
        let words = Left { words: true, ..NOTHING };
        assert_eq!(stopping.wait(words, at(100)), Some(Deadline::At(at(1100))));
        let said = Left { confirmations: true, ..NOTHING };
        assert_eq!(stopping.wait(said, at(200)), Some(Deadline::At(at(1100))));
        assert_eq!(stopping.wait(said, at(1100)), None);
        assert_eq!(stopping.wait(running, at(8000)), None);
    }

    #[test]
    fn what_nobody_confirms_gets_time_to_leave_the_queue() {
        let mut stopping = Stopping::new(Why::Ordered, at(0));
        let legacy = Left { unconfirmed_at: Some(at(300)), ..NOTHING };
        assert_eq!(stopping.wait(legacy, at(400)), Some(Deadline::At(at(800))));
        assert_eq!(stopping.wait(legacy, at(800)), None);
    }
}
