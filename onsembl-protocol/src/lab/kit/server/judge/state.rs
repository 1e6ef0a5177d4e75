//! Where the agent must be in the eyes of the server, as the judge has it.

use crate::id::LinkId;
use crate::lab::kit::beats::Beats;
use crate::lab::kit::silence::Silence;
use crate::model::Dialect;
use crate::session::PresenceStatus;
use crate::time::Timestamp;

/// Where the agent must be.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    Offline,
    Connecting(Joining, Option<Away>),
    Online(Session, Option<Joining>),
    Reconnecting(Away),
    Closed,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Joining {
    pub(super) link: LinkId,
    pub(super) dialect: Dialect,
    pub(super) by: Timestamp,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Away {
    pub(super) why: Absence,
    pub(super) until: Timestamp,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    pub(super) link: LinkId,
    pub(super) dialect: Dialect,
    pub(super) silence: Silence,
    pub(super) beats: Beats,
    pub(super) faulted: bool,
    pub(super) answer_by: Option<Timestamp>,
}

/// Why an agent is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    LinkEnded,
    TimedOut,
}

impl State {
    pub(super) const fn status(&self) -> PresenceStatus {
        match self {
            Self::Offline | Self::Closed => PresenceStatus::Offline,
            Self::Connecting(..) => PresenceStatus::Connecting,
            Self::Online(s, _) if s.silence.is_stale() => PresenceStatus::Stale,
            Self::Online(s, _) if s.faulted => PresenceStatus::Error,
            Self::Online(..) => PresenceStatus::Online,
            Self::Reconnecting(Away { why: Absence::TimedOut, .. }) => PresenceStatus::TimedOut,
            Self::Reconnecting(Away { why: Absence::LinkEnded, .. }) => {
                PresenceStatus::Reconnecting
            }
        }
    }

    pub(super) fn knows(&self, link: LinkId) -> bool {
        match self {
            Self::Connecting(j, _) => j.link == link,
            Self::Online(s, other) => s.link == link || other.is_some_and(|j| j.link == link),
            Self::Offline | Self::Reconnecting(_) | Self::Closed => false,
        }
    }
}
