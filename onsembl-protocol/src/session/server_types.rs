//! The inputs and outputs of the server's machine of one agent.

use super::agent_types::EndOrder;
use crate::close::{CloseCause, CloseReason};
use crate::id::{BeatSequence, Epoch, InstanceId, LinkId, PresenceVersion};
use crate::liveness::{Impairment, Seen};
use crate::model::{Dialect, HeartbeatTiming};
use crate::time::{Human, WallTime};
use core::fmt;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// The configuration of a server for its agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The times of liveness.
    pub timing: HeartbeatTiming,
    /// How long the session of an agent that is away is kept: 5 min by default.
    pub resume_window: Duration,
    /// How long the store may take to open a session: 25 s, less than the agent's patience with an
    /// unanswered hello, so that the agent gets the reason.
    pub admission_timeout: Duration,
    /// How versions are numbered: by epoch, except in recordings of earlier versions.
    #[serde(default = "VersionNumbering::of_earlier_recordings")]
    pub numbering: VersionNumbering,
}

/// How a machine numbers the presences that it publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VersionNumbering {
    /// Each version is the one after the last, whatever the epoch: what machines did that are replayed from recordings
    /// without this field.
    Consecutive,
    /// Each epoch has versions of its own, greater than those of all earlier epochs (PROTOCOL.md, P-62).
    ByEpoch,
}

impl VersionNumbering {
    const fn of_earlier_recordings() -> Self {
        Self::Consecutive
    }

    /// The version after this one, of a presence of this epoch.
    #[must_use]
    pub const fn after(self, version: PresenceVersion, epoch: Epoch) -> PresenceVersion {
        match self {
            Self::Consecutive => version.next(),
            Self::ByEpoch => version.next_in(epoch),
        }
    }
}

impl ServerConfig {
    /// The values above.
    pub const DEFAULT: Self = Self {
        timing: HeartbeatTiming::DEFAULT,
        resume_window: Duration::from_secs(300),
        admission_timeout: Duration::from_secs(25),
        numbering: VersionNumbering::ByEpoch,
    };

    /// The same with these heartbeats.
    #[must_use]
    pub const fn with_timing(self, timing: HeartbeatTiming) -> Self {
        Self { timing, ..self }
    }

    /// The same with this resume window.
    #[must_use]
    pub const fn with_resume_window(self, resume_window: Duration) -> Self {
        Self { resume_window, ..self }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Whether a new link of an agent belongs to the process that holds the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Claimant {
    /// The same process: it takes over its own old link.
    SameProcess,
    /// Another process: it replaces the old one, which must stay away, so that two copies do not
    /// evict each other endlessly.
    OtherProcess,
}

impl Claimant {
    /// Compares the instances of two hellos. Two peers that name no instance are distinguished by the
    /// agent id they claim.
    pub fn judge(
        owned_by: Option<&InstanceId>,
        claimed_by: Option<&InstanceId>,
        same_id: bool,
    ) -> Self {
        let same = match (owned_by, claimed_by) {
            (Some(a), Some(b)) => a == b,
            (None, None) => same_id,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if same { Self::SameProcess } else { Self::OtherProcess }
    }
}

/// Why the store does not record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StoreTrouble {
    /// It has not answered yet.
    Slow,
    /// Another process has locked the database.
    Busy,
    /// The disk is full.
    Full,
    /// It reports an error.
    Failed,
}

impl fmt::Display for StoreTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Slow => "database slow",
            Self::Busy => "database busy",
            Self::Full => "disk full",
            Self::Failed => "database failed",
        })
    }
}

/// The kind of a received frame, as far as the machine needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum ServerInbound {
    /// An `AGENT_HEARTBEAT`; without numbers from a peer that has none.
    Heartbeat {
        sequence: Option<BeatSequence>,
        /// Our latest heartbeat that the agent has seen.
        seen: Option<BeatSequence>,
    },
    /// A JSON `PONG`: the heartbeat of a legacy agent.
    Pong,
    /// Any other frame, including control frames and undecodable ones: it proves liveness.
    Other,
}

/// Events of one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum ServerEvent {
    /// A hello of this agent was received over this link.
    Joined {
        link: LinkId,
        /// The dialect of the agent.
        dialect: Dialect,
        /// Whose link the present one is.
        claimant: Claimant,
    },
    /// The store opened the requested session.
    Admitted {
        link: LinkId,
        epoch: Epoch,
    },
    /// The session cannot be opened.
    Rejected {
        link: LinkId,
        /// Why; sent to the agent.
        cause: CloseCause,
    },
    /// A frame came over this link.
    Received(LinkId, ServerInbound),
    /// This heartbeat is committed to the database.
    Recorded {
        /// Of the session with this epoch.
        epoch: Epoch,
        sequence: BeatSequence,
        /// When it was received, by the server's clock.
        at: WallTime,
    },
    /// The store reports why it does not record, or that it records again.
    Store(Option<StoreTrouble>),
    /// The agent reported that it cannot continue.
    Faulted(LinkId),
    LinkDown(LinkId, CloseReason),
    /// The agent must be removed: deleted, token revoked.
    Evict(CloseCause),
    /// The deadline has passed; harmless at any other time.
    Wake,
}

/// Actions for the driver of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum ServerAction {
    /// Ask the store for a session; answer with `Admitted` or `Rejected`.
    Admit(LinkId),
    Welcome {
        link: LinkId,
        epoch: Epoch,
    },
    /// Write this heartbeat to the database; answer with `Recorded`.
    Record {
        /// Of the session with this epoch.
        epoch: Epoch,
        sequence: BeatSequence,
    },
    SendBeat {
        link: LinkId,
        beat: BeatOut,
    },
    /// Send a JSON `PING`.
    SendPing(LinkId),
    Close(LinkId, CloseCause),
    /// Publish the agent's presence.
    Report(Presence),
    /// Report that this process was suspended for this long past its deadline.
    Overslept(Duration),
    /// The machine has ended; this is its last action.
    Forget,
}

/// The content of a `SERVER_HEARTBEAT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[allow(missing_docs, reason = "the names say all")]
pub struct BeatOut {
    pub sequence: BeatSequence,
    /// The agent's latest beat.
    pub seen: Option<Seen>,
    /// The agent's latest heartbeat that is committed to the database.
    pub recorded: Option<(BeatSequence, WallTime)>,
    /// If recording lags: for how long, and why.
    pub lag: Option<(Duration, StoreTrouble)>,
}

/// The status of an agent, by the API's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names say all")]
pub enum PresenceStatus {
    /// Its hello was received, its session is being opened.
    Connecting,
    Online,
    /// In session, but silent.
    Stale,
    /// We dropped its silent link and await its return.
    TimedOut,
    /// Its link ended otherwise; its return is awaited.
    Reconnecting,
    /// Stopped, refused, or not back within the resume window.
    Offline,
    /// In session, but it reported that it cannot continue.
    Error,
}

impl PresenceStatus {
    /// Every status.
    pub const ALL: [Self; 7] = [
        Self::Connecting,
        Self::Online,
        Self::Stale,
        Self::TimedOut,
        Self::Reconnecting,
        Self::Offline,
        Self::Error,
    ];

    /// Whether the agent is in session.
    pub const fn is_in_session(self) -> bool {
        match self {
            Self::Online | Self::Stale | Self::Error => true,
            Self::Connecting | Self::TimedOut | Self::Reconnecting | Self::Offline => false,
        }
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Online => "online",
            Self::Stale => "stale",
            Self::TimedOut => "timed-out",
            Self::Reconnecting => "reconnecting",
            Self::Offline => "offline",
            Self::Error => "error",
        }
    }

    /// Reads the word; `None` if it is none of ours.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// The nearest status that a legacy dashboard knows.
    pub(crate) const fn legacy(self) -> &'static str {
        match self {
            Self::Online | Self::Stale => "online",
            Self::Connecting | Self::TimedOut | Self::Reconnecting => "connecting",
            Self::Offline => "offline",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for PresenceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An agent's presence: the single source of which API, dashboards and database are projections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Presence {
    pub status: PresenceStatus,
    /// The time since when it applies; changes only with the status.
    pub since: WallTime,
    pub because: StatusCause,
    /// Of two presences of an agent the one with the greater version applies.
    pub version: PresenceVersion,
    pub epoch: Epoch,
}

/// The reason of a presence: the cause of the status, and its impairment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub struct StatusCause {
    /// The cause of the status.
    pub cause: PresenceCause,
    /// A fault that does not change the status.
    pub impairment: Option<Impairment>,
    /// Why the store does not record, if that is the fault.
    pub trouble: Option<StoreTrouble>,
}

impl fmt::Display for StatusCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.impairment, self.trouble) {
            (None, _) => fmt::Display::fmt(&self.cause, f),
            (Some(fault), None) => write!(f, "{fault}; {}", self.cause),
            (Some(fault), Some(trouble)) => write!(f, "{fault}: {trouble}; {}", self.cause),
        }
    }
}

/// The cause of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
#[allow(missing_docs, reason = "the names say all")]
pub enum PresenceCause {
    HelloReceived,
    SessionOpened,
    /// A newer link of the same process took over.
    TakenOver,
    /// Another process of the same agent took over.
    ReplacedOther,
    /// The session could not be opened.
    NotAdmitted(CloseCause),
    /// No frame was received for this long.
    Silence(Duration),
    /// A frame of the silent agent was received.
    HeardAgain,
    LinkEnded(CloseReason),
    /// The agent was stopped on its machine.
    AgentStopped,
    /// A remote order ended the agent.
    EndOrdered(EndOrder),
    /// It was not back in time.
    ResumeWindowOver(Duration),
    /// The server process is a new one.
    ServerRestarted,
    Evicted(CloseCause),
    /// It reported that it cannot continue.
    Faulted,
}

/// The evidence for the cause of a presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// The server did it or was told, with this close code if there was one.
    Said(Option<CloseCause>),
    /// No frame was received for this long.
    Silence(Duration),
    /// The link ended.
    Link(CloseReason),
    /// This much time has passed.
    Time(Duration),
}

impl PresenceCause {
    /// Its evidence.
    pub(crate) const fn ground(&self) -> Ground {
        match *self {
            Self::HelloReceived
            | Self::SessionOpened
            | Self::TakenOver
            | Self::ReplacedOther
            | Self::HeardAgain
            | Self::AgentStopped
            | Self::EndOrdered(_)
            | Self::ServerRestarted
            | Self::Faulted => Ground::Said(None),
            Self::NotAdmitted(close) | Self::Evicted(close) => Ground::Said(Some(close)),
            Self::Silence(silence) => Ground::Silence(silence),
            Self::LinkEnded(reason) => Ground::Link(reason),
            Self::ResumeWindowOver(window) => Ground::Time(window),
        }
    }
}

impl fmt::Display for PresenceCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HelloReceived => f.write_str("hello received, session being opened"),
            Self::SessionOpened => f.write_str("session opened"),
            Self::TakenOver => f.write_str("a newer link of the same process took over"),
            Self::ReplacedOther => f.write_str("another process of the same agent took over"),
            Self::NotAdmitted(cause) => write!(f, "not admitted: {cause}"),
            Self::Silence(d) => write!(f, "no frame from the agent for {}", Human(*d)),
            Self::HeardAgain => f.write_str("the agent responds again"),
            Self::LinkEnded(reason) => fmt::Display::fmt(reason, f),
            Self::AgentStopped => f.write_str("the agent was stopped on its machine"),
            Self::EndOrdered(EndOrder::Stop) => {
                f.write_str("it was stopped by an order (control stop)")
            }
            Self::EndOrdered(EndOrder::Restart) => f.write_str(
                "it was restarted by an order (control restart), and should be back in a moment",
            ),
            Self::ResumeWindowOver(d) => {
                write!(f, "not back within the resume window of {}", Human(*d))
            }
            Self::ServerRestarted => f.write_str("server restarted"),
            Self::Evicted(cause) => write!(f, "sent away: {cause}"),
            Self::Faulted => f.write_str("the agent reported that it cannot continue"),
        }
    }
}
