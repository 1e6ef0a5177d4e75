//! One hold of a keyboard, from when it was taken: what was typed under it, how much of that is on its way, and what is
//! written and shown of it. It is told how many bytes are typed and never which, so that it cannot keep, log or
//! show them.

use super::keyboard_edges::KeyboardCause;
use crate::id::{DashboardId, HoldId, InputSequence};
use crate::shown::Shown;
use crate::time::{Deadline, Human, Now, Timestamp, WallTime};
use alloc::collections::VecDeque;
use alloc::string::String;
use core::fmt;
use core::time::Duration;

/// One hold, from when it was taken.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(super) id: HoldId,
    pub(super) by: DashboardId,
    pub(super) name: String,
    pub(super) since: WallTime,
    /// When it was taken, or something was last typed under it.
    touched: Timestamp,
    /// The last number that was accepted.
    accepted: InputSequence,
    /// Up to this number everything is in the terminal, as its agent says.
    taken: InputSequence,
    /// What the agent has not said that of: numbers and how many bytes each.
    under_way: VecDeque<(InputSequence, usize)>,
    /// How many bytes that is.
    outstanding: usize,
    /// Bytes that were accepted.
    bytes: u64,
    /// How many of them are written down, and since when there are others.
    noted: u64,
    unnoted_since: Option<Timestamp>,
}

impl Hold {
    /// How long a hold lasts under which nothing is typed: 10 minutes. Whoever comes back takes it again.
    pub(crate) const IDLE: Duration = Duration::from_secs(10 * 60);

    /// How long something typed may be written down nowhere: 10 s. A server that is killed has lost the count of no
    /// more.
    pub(crate) const NOTED_WITHIN: Duration = Duration::from_secs(10);

    /// Bytes of one input: 16 KiB, a large paste in a handful of messages.
    pub(crate) const INPUT_BYTES: usize = 16 * 1024;

    /// Bytes that may be on their way into a terminal: 64 KiB. A terminal holds some 4 KiB, so that more waits only for
    /// a program that does not read.
    pub(crate) const OUTSTANDING: usize = 64 * 1024;

    /// The same in messages: 64, of a person some seconds at a slow link.
    pub(crate) const OUTSTANDING_INPUTS: usize = 64;

    /// Bytes that are kept of what a dashboard calls itself: 128.
    pub(crate) const NAME_BYTES: usize = 128;

    /// One that begins now. Of a name only its beginning is kept.
    pub(super) fn new(id: HoldId, by: DashboardId, mut name: String, now: Now) -> Self {
        name.truncate(name.floor_char_boundary(Self::NAME_BYTES));
        Self {
            id,
            by,
            name,
            since: now.wall,
            touched: now.monotonic,
            accepted: InputSequence(0),
            taken: InputSequence(0),
            under_way: VecDeque::new(),
            outstanding: 0,
            bytes: 0,
            noted: 0,
            unnoted_since: None,
        }
    }

    /// The number that is due.
    pub(super) const fn due(&self) -> InputSequence {
        self.accepted.next()
    }

    /// Bytes on their way, if they and this many more are too much.
    pub(super) fn too_much_with(&self, bytes: usize) -> Option<usize> {
        let is_too_much = self.outstanding.saturating_add(bytes) > Self::OUTSTANDING
            || self.under_way.len() >= Self::OUTSTANDING_INPUTS;
        is_too_much.then_some(self.outstanding)
    }

    /// The input that is due is typed, and has this many bytes. One without any is nothing that is typed: it does not make
    /// the hold last.
    pub(super) fn accept(&mut self, bytes: usize, now: Timestamp) {
        if bytes > 0 {
            self.touched = now;
            let _ = self.unnoted_since.get_or_insert(now);
        }
        self.accepted = self.due();
        self.under_way.push_back((self.accepted, bytes));
        self.outstanding = self.outstanding.saturating_add(bytes);
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Everything up to this number is in the terminal. Whether that is news.
    pub(super) fn on_taken(&mut self, upto: InputSequence) -> bool {
        // An agent cannot have taken what it was not sent.
        let upto = upto.min(self.accepted);
        if upto <= self.taken {
            return false;
        }
        self.taken = upto;
        while let Some((_, bytes)) = self.under_way.pop_front_if(|(sequence, _)| *sequence <= upto)
        {
            self.outstanding = self.outstanding.saturating_sub(bytes);
        }
        true
    }

    /// Whether something is to be written down because it is not for too long, which is then done.
    pub(super) fn take_note(&mut self, now: Timestamp) -> bool {
        if !self.note_at().is_due(now) {
            return false;
        }
        self.unnoted_since = None;
        core::mem::replace(&mut self.noted, self.bytes) < self.bytes
    }

    /// When to ask [`take_note`](Self::take_note).
    pub(super) fn note_at(&self) -> Deadline {
        let at = |since: Timestamp| Deadline::At(since.saturating_add(Self::NOTED_WITHIN));
        self.unnoted_since.map_or(Deadline::Never, at)
    }

    /// When it ends if nothing more is typed.
    pub(super) fn idle_at(&self) -> Deadline {
        Deadline::At(self.touched.saturating_add(Self::IDLE))
    }

    /// As others may see it.
    pub(super) fn view(&self) -> HoldView {
        HoldView {
            hold: self.id.clone(),
            name: self.name.clone(),
            since: self.since,
            taken: self.taken,
        }
    }

    /// For the audit, as far as it is.
    pub(super) fn record(&self) -> HoldRecord {
        HoldRecord {
            hold: self.id.clone(),
            name: self.name.clone(),
            since: self.since,
            ended: None,
            bytes: self.bytes,
            unconfirmed: self.outstanding as u64,
        }
    }
}

/// What is shown of the keyboard of a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyboardView {
    /// Who holds it.
    pub hold: Option<HoldView>,
    /// Why the hold before ended, or what became of something that was typed.
    pub because: String,
}

/// A hold as others may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct HoldView {
    pub hold: HoldId,
    /// Who has it, in that dashboard's own words.
    pub name: String,
    pub since: WallTime,
    /// Up to this number everything is in the terminal.
    pub taken: InputSequence,
}

/// A hold for the audit: who, from when to when, and how many bytes. Which, is written nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct HoldRecord {
    pub hold: HoldId,
    /// Who had it, in that dashboard's own words.
    pub name: String,
    pub since: WallTime,
    /// When it ended, and why; none while it lasts, and then what follows is so far.
    pub ended: Option<(WallTime, HoldEnd)>,
    /// Bytes that were passed to the agent.
    pub bytes: u64,
    /// Of how many of them it is unknown that they came into the terminal.
    pub unconfirmed: u64,
}

/// Why a hold ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum HoldEnd {
    Released,
    /// Another dashboard, of this name, took it over.
    TakenOver(String),
    /// The link of its dashboard ended.
    LinkLost,
    /// Nothing was typed for ten minutes.
    Idle,
    /// The agent's session ended.
    AgentAway,
    /// The terminal ended.
    TerminalEnded,
    /// A stop is in force.
    Stopped,
    /// The agent did not take something, for this reason.
    Refused(String),
    /// The server ended without a word, by a crash or a kill. When that was is unknown.
    ServerEnded,
}

impl HoldEnd {
    /// The edge by which the keyboard became free.
    pub const fn cause(&self) -> KeyboardCause {
        match self {
            Self::Released => KeyboardCause::Released,
            Self::TakenOver(_) => KeyboardCause::TakenOver,
            Self::LinkLost => KeyboardCause::LinkLost,
            Self::Idle => KeyboardCause::Idle,
            Self::AgentAway => KeyboardCause::AgentAway,
            Self::TerminalEnded => KeyboardCause::TerminalEnded,
            Self::Stopped => KeyboardCause::Stopped,
            Self::Refused(_) => KeyboardCause::Refused,
            Self::ServerEnded => KeyboardCause::ServerEnded,
        }
    }
}

impl fmt::Display for HoldEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Released => f.write_str("released"),
            Self::TakenOver(name) => {
                write!(f, "taken over by {}", Shown::new(name).within(Hold::NAME_BYTES))
            }
            Self::LinkLost => f.write_str("the link of its holder ended"),
            Self::Idle => write!(f, "no input for {}", Human(Hold::IDLE)),
            Self::AgentAway => f.write_str("the session of its agent ended"),
            Self::TerminalEnded => f.write_str("the terminal ended"),
            Self::Stopped => f.write_str("an emergency stop is in force"),
            Self::Refused(why) => write!(f, "{}", Shown::new(why).within(1024)),
            Self::ServerEnded => f.write_str("the server ended while it was held"),
        }
    }
}
