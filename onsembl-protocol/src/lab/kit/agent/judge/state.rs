//! Where the agent must be, as the judge has it.

pub(super) use super::super::rules::Wait;
use super::super::rules::Window;
use crate::id::{BeatSequence, LinkId};
use crate::lab::kit::beats::Beats;
use crate::lab::kit::silence::Silence;
use crate::session::AgentStatusKind;
use crate::time::Timestamp;

/// Where the agent must be.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    Idle,
    Connecting { link: LinkId, by: Timestamp },
    Joining { link: LinkId, by: Timestamp },
    Connected(Session),
    Reconnecting { window: Window, why: Wait },
    Closed,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    pub(super) link: LinkId,
    pub(super) opened_at: Timestamp,
    pub(super) silence: Silence,
    pub(super) beats: Beats,
    pub(super) end_orders: bool,
    pub(super) extended: bool,
    /// The latest own beat that the server saw.
    pub(super) seen: BeatSequence,
    /// The next beat is not to wait for its time.
    pub(super) news: bool,
}

impl State {
    pub(super) const fn phase(&self) -> AgentStatusKind {
        match self {
            Self::Idle => AgentStatusKind::Idle,
            Self::Connecting { .. } => AgentStatusKind::Connecting,
            Self::Joining { .. } => AgentStatusKind::Joining,
            Self::Connected(s) if s.silence.is_stale() => AgentStatusKind::Stale,
            Self::Connected(_) => AgentStatusKind::Connected,
            Self::Reconnecting { why: Wait::TimedOut, .. } => AgentStatusKind::TimedOut,
            Self::Reconnecting {
                why: Wait::Backoff | Wait::ServerAsked | Wait::RefusedToken,
                ..
            } => AgentStatusKind::Reconnecting,
            Self::Closed => AgentStatusKind::Closed,
        }
    }

    pub(super) const fn link(&self) -> Option<LinkId> {
        match self {
            Self::Connecting { link, .. } | Self::Joining { link, .. } => Some(*link),
            Self::Connected(s) => Some(s.link),
            Self::Idle | Self::Reconnecting { .. } | Self::Closed => None,
        }
    }
}
