//! What the model keeps of the server's end of one agent. Each step of that end begins with the machine's input; what
//! must hold of it is in a file for each group of laws, as functions of the seat.

use super::dialling::Loss;
use super::recording::Open;
use super::rules::Rules;
use super::silence::Silence;
use super::violation::{Checked, demand};
use crate::lab::Invariant;
use crate::lab::fact::{
    Code, End, Epoch, Installed, LocalNanos, Presence, Process, Sequence, Status, When, Why, Wire,
};
use alloc::format;

/// Whether a machine of this epoch shows nothing to anybody: until its first session nobody knows whose it is.
pub(super) const fn is_unseen(epoch: Epoch) -> bool {
    epoch == 0
}

/// A session, as an observer with true knowledge sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    pub(super) wire: Wire,
    pub(super) process: Process,
    pub(super) epoch: Epoch,
    pub(super) silence: Silence,
    pub(super) faulted: bool,
    /// The agent sent a heartbeat of its own: it is not legacy.
    pub(super) extended: bool,
    /// The agent's beats that the store was not said to hold.
    pub(super) unrecorded: Open,
    pub(super) heard: Sequence,
    /// What the store holds, whether or not the machine knows.
    pub(super) committed: Sequence,
    pub(super) recorded: Sequence,
    pub(super) sent: Sequence,
    pub(super) sent_at: LocalNanos,
    /// The agent's latest word on our beats.
    pub(super) seen: Sequence,
    /// The oldest heartbeat that is not answered.
    pub(super) unanswered: Option<LocalNanos>,
    /// The oldest probe that is not answered.
    pub(super) probed: Option<LocalNanos>,
}

/// A hello that waits for its session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hello {
    pub(super) wire: Wire,
    pub(super) process: Process,
    pub(super) since: LocalNanos,
    /// `since`, later by the absences that cannot have gone unnoticed.
    pub(super) counted_from: LocalNanos,
}

/// An agent whose return is awaited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awaited {
    pub(super) after: Loss,
    pub(super) since: LocalNanos,
    /// `since`, later by the absences that cannot have gone unnoticed.
    pub(super) counted_from: LocalNanos,
}

/// The machine's input of this step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    Nothing,
    /// Of a wire that is neither current nor joining.
    Foreign,
    Install,
    Hello,
    Frame,
    Pong,
    Beat(Sequence),
    Lost(End),
    Opened,
    TakenOver,
    Replaced,
    Denied,
    Evicted,
    Faulted,
    Store,
}

/// Which codes may close a wire that must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owed {
    Superseded,
    Replaced { legacy: bool },
    Any,
}

/// The step that is in progress.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) came: Came,
    pub(super) shown: bool,
    pub(super) close: [Option<(Wire, Owed)>; 2],
    pub(super) ask: Option<Wire>,
    pub(super) welcome: bool,
    pub(super) record: Option<Sequence>,
    /// A hello was given up in this step, or its wire ended.
    pub(super) hello_ended: bool,
    pub(super) gave_up: bool,
    /// A wire was closed as superseded upon a take-over.
    pub(super) superseded: bool,
    pub(super) was_stale: bool,
}

impl Step {
    pub(super) const NONE: Self = Self {
        came: Came::Nothing,
        shown: false,
        close: [None; 2],
        ask: None,
        welcome: false,
        record: None,
        hello_ended: false,
        gave_up: false,
        superseded: false,
        was_stale: false,
    };
}

/// The server's end of one agent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    pub(super) installed: bool,
    pub(super) evicted: bool,
    /// It was evicted: if it is deleted, what comes later is another agent to the store.
    pub(super) sent_away: bool,
    /// Put in for an agent of an earlier run, and nothing shown yet.
    pub(super) recovering: bool,
    pub(super) shown: Presence,
    pub(super) last_version: u64,
    pub(super) committed: Option<(Epoch, Process)>,
    /// The server knows whose sessions these are: before that nothing is shown.
    pub(super) known: bool,
    pub(super) session: Option<Session>,
    pub(super) hello: Option<Hello>,
    pub(super) awaited: Option<Awaited>,
    pub(super) step: Step,
    pub(super) deadline: Option<LocalNanos>,
}

impl Seat {
    pub(super) const EMPTY: Self = Self {
        installed: false,
        evicted: false,
        sent_away: false,
        recovering: false,
        shown: Presence {
            status: Status::Offline,
            since: 0,
            why: Why::Hello,
            ailment: None,
            version: 0,
            epoch: 0,
        },
        last_version: 0,
        committed: None,
        known: false,
        session: None,
        hello: None,
        awaited: None,
        step: Step::NONE,
        deadline: None,
    };

    pub(super) fn install(&mut self, how: Installed, when: When) -> Checked {
        let (version, epoch, recovered) = match how {
            Installed::Fresh { version, epoch } => (version, epoch, false),
            Installed::Recovered { version, epoch } => (version, epoch, true),
        };
        let versions_lost = core::mem::take(&mut self.sent_away) && version < self.last_version;
        if versions_lost {
            (self.last_version, self.committed) = (0, None);
        }
        demand(
            version >= self.last_version || is_unseen(epoch),
            Invariant::VersionGrowsByOne,
            "the greatest version that was ever shown",
            || format!("{version} after {}", self.last_version),
        )?;
        // One that was committed and never heard of was never in force.
        demand(
            epoch >= self.shown.epoch || versions_lost,
            Invariant::EpochsGrow,
            "the greatest epoch that was ever in force",
            || format!("{epoch} after {}", self.shown.epoch),
        )?;
        let was_in_session = self.shown_in_session();
        demand(
            recovered || self.installed || !was_in_session,
            Invariant::RestartIsHonest,
            "an agent that was in session to be awaited after a restart",
            || {
                let Presence { status, epoch: shown, .. } = self.shown;
                format!("a fresh start at epoch {epoch} after {status:?} under epoch {shown}")
            },
        )?;
        let now = when.local;
        *self = Self {
            installed: true,
            recovering: recovered,
            shown: Presence {
                status: Status::Offline,
                since: when.wall,
                why: Why::Hello,
                ailment: None,
                version,
                epoch,
            },
            last_version: self.last_version,
            committed: self.committed,
            known: self.known,
            awaited: recovered.then_some(Awaited {
                after: Loss::LinkEnded,
                since: now,
                counted_from: now,
            }),
            ..Self::EMPTY
        };
        self.step.came = Came::Install;
        Ok(())
    }

    /// The server's memory is lost.
    pub(super) fn forget_all(&mut self, versions_too: bool) {
        *self = Self {
            shown: self.shown,
            last_version: if versions_too || !self.known { 0 } else { self.last_version },
            committed: self.committed,
            known: self.known,
            sent_away: self.sent_away,
            ..Self::EMPTY
        };
    }

    pub(super) fn shown_in_session(&self) -> bool {
        match self.shown.status {
            Status::Online | Status::Stale | Status::Error => true,
            Status::Connecting | Status::TimedOut | Status::Reconnecting | Status::Offline => false,
        }
    }

    /// The machine takes an input.
    #[inline]
    pub(super) fn informed(&mut self, came: Came) -> Checked {
        self.step.came = came;
        Ok(())
    }

    /// The machine does something.
    #[inline]
    pub(super) fn does(&self) -> Checked {
        demand(
            self.installed && !self.evicted,
            Invariant::TerminalIsFinal,
            "nothing from a machine that is done",
            || format!("an action after {:?}", self.shown.status),
        )?;
        demand(
            self.step.came != Came::Foreign,
            Invariant::OldLinkChangesNothing,
            "no action upon a wire that is neither current nor joining",
            || "an action".into(),
        )
    }

    pub(super) fn owe_close(&mut self, wire: Wire, owed: Owed) {
        let [first, second] = &mut self.step.close;
        if first.is_none() {
            *first = Some((wire, owed));
        } else {
            *second = Some((wire, owed));
        }
    }

    /// Takes a close that is owed.
    pub(super) fn pay_close(&mut self, wire: Wire) -> Option<Owed> {
        let slot = self.step.close.iter_mut().find(|owed| owed.is_some_and(|(w, _)| w == wire))?;
        slot.take().map(|(_, owed)| owed)
    }

    /// The server was away.
    pub(super) fn absent(
        &mut self,
        absence: super::host::Absence,
        before: LocalNanos,
        rules: &Rules,
    ) {
        let noticed = |since: LocalNanos, counted_from: LocalNanos, wait: u64| {
            [counted_from + wait, since.max(before) + wait].iter().all(|due| {
                absence.from < *due && due + rules.absence + rules.tolerance < absence.to
            })
        };
        // While a hello waits, no wake-up is needed for the window: what is late is the hello.
        let late = match (&self.hello, &self.awaited) {
            (Some(h), _) => noticed(h.since, h.counted_from, rules.admission_timeout),
            (None, Some(a)) => noticed(a.since, a.counted_from, rules.resume_window),
            (None, None) => false,
        };
        if late {
            if let Some(hello) = &mut self.hello {
                hello.counted_from += absence.length();
            }
            if let Some(awaited) = &mut self.awaited {
                awaited.counted_from += absence.length();
            }
        }
        if let Some(session) = &mut self.session {
            session.silence.absent(absence, before, rules);
        }
    }

    pub(super) fn code_text(code: Code) -> alloc::string::String {
        format!("code {code}")
    }
}
