//! The states of the server's machine: what is valid in each, and nothing else.
//!
//! A machine is kept in two parts, because of a million of them most are only heard: [`ServerHot`]
//! is all that hearing a frame reads or writes, and it is small; [`ServerCold`] is what is needed
//! to speak, to publish and to change hands. No decision is made here.

use super::super::server_types::{
    Presence, PresenceCause, PresenceStatus, StatusCause, StoreTrouble,
};
use super::session::{Joining, Session, SessionCold};
use crate::id::{Epoch, LinkId, PresenceVersion};
use crate::model::Dialect;
use crate::time::{Now, Timestamp};
use serde::{Deserialize, Serialize};

/// The part of a server's machine that every event touches. Opaque; a supervisor keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerHot {
    /// The time of the latest event. No later one is handled as if it came before.
    pub(super) seen_at: Timestamp,
    pub(super) state: State,
}

/// The part of a server's machine that hearing a heartbeat does not touch. Opaque; a supervisor
/// keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerCold {
    pub(super) published: Presence,
    pub(super) store: Option<StoreTrouble>,
    /// The newer link that waits beside a session; the session says whether there is one.
    challenger: Option<Joining>,
    /// Of the present session, or left over from the last one.
    #[serde(rename = "notes")]
    pub(super) session: SessionCold,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum State {
    #[serde(rename = "New")]
    Offline,
    #[serde(rename = "Joining")]
    Connecting(Joining, Option<Away>),
    #[serde(rename = "Live")]
    Online(Session),
    #[serde(rename = "Away")]
    Reconnecting(Away),
    #[serde(rename = "Gone")]
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Away {
    #[serde(rename = "timed_out")]
    pub(super) why: Absence,
    pub(super) until: Timestamp,
}

/// Why an agent is away; recordings say whether it timed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "bool", into = "bool")]
pub(super) enum Absence {
    LinkEnded,
    TimedOut,
}

impl From<bool> for Absence {
    fn from(timed_out: bool) -> Self {
        if timed_out { Self::TimedOut } else { Self::LinkEnded }
    }
}

impl From<Absence> for bool {
    fn from(absence: Absence) -> Self {
        absence == Absence::TimedOut
    }
}

/// An agent that only the store knows.
pub(super) fn unknown(version: PresenceVersion, epoch: Epoch, now: Now) -> (ServerHot, ServerCold) {
    let because =
        StatusCause { cause: PresenceCause::HelloReceived, impairment: None, trouble: None };
    let published =
        Presence { status: PresenceStatus::Offline, since: now.wall, because, version, epoch };
    let session = SessionCold::new(now.monotonic);
    let cold = ServerCold { published, store: None, challenger: None, session };
    (ServerHot { seen_at: now.monotonic, state: State::Offline }, cold)
}

impl ServerCold {
    /// The newer link that waits beside `session`.
    pub(super) fn challenger_of(&self, session: &Session) -> Option<Joining> {
        if session.challenged { self.challenger } else { None }
    }

    pub(super) fn challenger_of_mut(&mut self, session: &Session) -> Option<&mut Joining> {
        if session.challenged { self.challenger.as_mut() } else { None }
    }

    /// From now on this one waits beside `session`, or none.
    pub(super) fn set_challenger(&mut self, session: &mut Session, challenger: Option<Joining>) {
        session.challenged = challenger.is_some();
        self.challenger = challenger;
    }
}

/// All that a server's machine knows beside its configuration, to be kept and read back, not to be
/// looked into: its shape may differ from one version of this crate to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerSnapshot {
    pub(super) hot: ServerHot,
    pub(super) cold: ServerCold,
}

/// A server's machine inside a supervisor, to look at.
#[derive(Clone, Copy, Debug)]
pub struct ServerView<'a> {
    hot: &'a ServerHot,
    cold: &'a ServerCold,
}

impl<'a> ServerView<'a> {
    pub(crate) const fn new(hot: &'a ServerHot, cold: &'a ServerCold) -> Self {
        Self { hot, cold }
    }

    /// What is published of the agent.
    pub fn presence(self) -> Presence {
        self.cold.published
    }

    /// The link of the session, if it has one.
    pub fn link(self) -> Option<LinkId> {
        self.session().map(|s| s.link)
    }

    /// What the agent of the live session speaks.
    pub fn dialect(self) -> Option<Dialect> {
        self.session().map(|s| s.dialect)
    }

    /// A snapshot of the machine, without its configuration.
    pub const fn snapshot(self) -> ServerSnapshot {
        ServerSnapshot { hot: *self.hot, cold: *self.cold }
    }

    fn session(self) -> Option<&'a Session> {
        match &self.hot.state {
            State::Online(session) => Some(session),
            State::Offline | State::Connecting(..) | State::Reconnecting(_) | State::Closed => None,
        }
    }
}
