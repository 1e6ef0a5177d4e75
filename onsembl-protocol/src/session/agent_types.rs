//! The inputs and outputs of the agent's machine.

use super::dial::DialFailure;
use crate::close::{CloseCause, CloseReason, ComeBack, Initiator};
use crate::id::{BeatSequence, Epoch, LinkId};
use crate::liveness::{BackoffPolicy, Impairment, Seen};
use crate::model::{Dialect, HeartbeatTiming};
use crate::time::{Human, Timestamp};
use core::fmt;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// The configuration of an agent; the liveness times are set by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AgentConfig {
    /// Time limit of one dial attempt: 10 s, as in the existing wrappers (P-65).
    pub dial_timeout: Duration,
    /// Time limit for the answer to the hello: 30 s, so that a server whose database is blocked for ten seconds can
    /// still answer.
    pub hello_timeout: Duration,
    /// When to dial again.
    pub backoff: BackoffPolicy,
}

impl AgentConfig {
    /// The values above.
    pub const DEFAULT: Self = Self {
        dial_timeout: Duration::from_secs(10),
        hello_timeout: Duration::from_secs(30),
        backoff: BackoffPolicy::DEFAULT,
    };
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The terms of a session, from the answer to the hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionTerms {
    /// What the server speaks.
    pub dialect: Dialect,
    /// The session's epoch; zero from a legacy server.
    pub epoch: Epoch,
    /// The server's times; the defaults for a legacy server.
    pub timing: HeartbeatTiming,
    /// Whether the server knows the close codes of an [`EndOrder`] (feature `end-orders`). Otherwise the agent
    /// closes as if it was stopped on its machine.
    #[serde(default)]
    pub end_orders: bool,
}

/// A remote order that ends an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum EndOrder {
    Stop,
    /// To end, and to be started again.
    Restart,
}

impl EndOrder {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Stop, Self::Restart];

    /// Why an agent that obeys it closes its link.
    pub(crate) const fn close_cause(self) -> CloseCause {
        match self {
            Self::Stop => CloseCause::ToldToStop,
            Self::Restart => CloseCause::ToldToRestart,
        }
    }

    /// The order that an agent obeyed which closed for this cause; `None` if it obeyed none.
    pub(crate) fn obeyed_by(cause: CloseCause) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.close_cause() == cause)
    }
}

/// The content of a `SERVER_HEARTBEAT` that the machine needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub struct ServerBeat {
    pub sequence: Option<BeatSequence>,
    /// The latest own beat that the server saw.
    pub seen: Option<BeatSequence>,
    /// The latest own beat that its database holds.
    pub recorded: Option<BeatSequence>,
    /// Whether it reports that recording lags.
    pub lagging: bool,
}

/// Why a server refused a hello over an open link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HelloRefusal {
    /// The token (legacy servers say so after accepting the upgrade).
    Unauthorized,
    /// For good: the agent was deleted, its token revoked.
    Forbidden,
    /// Anything else that may pass.
    Other,
}

/// The kind of a received frame, as far as the machine needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum AgentInbound {
    HelloAccepted(SessionTerms),
    HelloRefused(HelloRefusal),
    Heartbeat(ServerBeat),
    /// A JSON probe; its `timestamp` is to be echoed.
    Ping {
        /// Milliseconds by the server's clock.
        echo: Option<EchoBits>,
    },
    /// Any other frame, including control frames and undecodable ones: it proves liveness.
    Other,
}

/// The bits of a number that is only echoed. Numbers with a total equality can be compared in
/// snapshots and recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EchoBits(u64);

impl From<f64> for EchoBits {
    fn from(n: f64) -> Self {
        Self(n.to_bits())
    }
}

impl From<EchoBits> for f64 {
    fn from(n: EchoBits) -> Self {
        Self::from_bits(n.0)
    }
}

/// Events of an agent's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum AgentEvent {
    Start,
    /// The dial of this link succeeded.
    LinkUp(LinkId),
    /// The dial of this link failed.
    DialFailed(LinkId, DialFailure),
    /// A frame came over this link.
    Received(LinkId, AgentInbound),
    LinkDown(LinkId, CloseReason),
    /// The deadline has passed; harmless at any other time.
    Wake,
    /// The content of the next heartbeat changed: send it now, or as soon as the server has seen the last one. To a
    /// legacy server, and outside of a session, nothing is sent.
    News,
    /// The source of tokens has another token than that of the last dial. It ends the wait after a refused token.
    /// In session the agent reconnects with the new one before the old one ends; a capable driver dials with the
    /// new one first, and keeps the link for the dial that follows.
    TokenChanged,
    /// Stop the agent, by a local request.
    Stop,
    /// Stop the agent, by a remote order.
    EndOrdered(EndOrder),
}

/// The use of another token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenUse {
    /// None now: the next dial uses it anyway.
    None,
    /// It ends the wait after a refused token.
    EndsTheWait,
    /// It continues the session when the current token ends.
    RenewsTheSession,
}

/// Actions for the driver of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum AgentAction {
    /// Open a link under this number.
    Dial(LinkId),
    SendHello(LinkId),
    SendBeat {
        link: LinkId,
        sequence: BeatSequence,
        /// Saying this of the server's beats.
        seen: Option<Seen>,
    },
    /// Send a native ping.
    Probe(LinkId),
    /// Answer a JSON probe.
    SendPong {
        link: LinkId,
        /// With the probe's timestamp.
        echo: Option<EchoBits>,
    },
    /// Close this link, or abort its dial.
    Close(LinkId, CloseCause),
    /// Report the status of the connection.
    Report(AgentReport),
    /// Report the current impairment of the session; `None` once it has cleared.
    Impaired(Option<Impairment>),
    /// Report that this process was suspended for this long past its deadline.
    Overslept(Duration),
}

/// A change of status, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[allow(missing_docs, reason = "the names say all")]
pub struct AgentReport {
    pub status: AgentStatus,
    pub cause: AgentCause,
}

impl AgentReport {
    /// Whether the status is due to a failed hello that another address of the server may accept. A refused token
    /// says nothing about the address.
    pub const fn blames_address(&self, before: AgentStatus, token: TokenUse) -> bool {
        let failed = matches!(
            (before, self.status),
            (AgentStatus::Joining, AgentStatus::Reconnecting { .. })
        );
        failed && !matches!(token, TokenUse::EndsTheWait)
    }
}

/// The status of an agent's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum AgentStatus {
    Idle,
    /// A dial is in progress.
    Connecting {
        /// Counted since the last stable session, from 1.
        attempt: u32,
    },
    /// The link is open, the hello not answered.
    Joining,
    Connected {
        epoch: Epoch,
    },
    /// In session, but the server is silent.
    Stale {
        epoch: Epoch,
    },
    /// The silent link was dropped; a dial is due.
    TimedOut {
        /// When the next dial is due.
        retry_at: Timestamp,
    },
    /// The link ended otherwise, or a dial failed; a dial is due.
    Reconnecting {
        /// When the next dial is due.
        retry_at: Timestamp,
    },
    Closed,
}

impl AgentStatus {
    /// The epoch of the session, while there is one.
    pub const fn epoch(&self) -> Option<Epoch> {
        match self {
            Self::Connected { epoch } | Self::Stale { epoch } => Some(*epoch),
            Self::Idle
            | Self::Connecting { .. }
            | Self::Joining
            | Self::TimedOut { .. }
            | Self::Reconnecting { .. }
            | Self::Closed => None,
        }
    }

    /// Whether it is in session.
    pub const fn is_in_session(&self) -> bool {
        match self {
            Self::Connected { .. } | Self::Stale { .. } => true,
            Self::Idle
            | Self::Connecting { .. }
            | Self::Joining
            | Self::TimedOut { .. }
            | Self::Reconnecting { .. }
            | Self::Closed => false,
        }
    }

    /// Its name, the same everywhere.
    pub const fn as_str(&self) -> &'static str {
        self.kind().as_str()
    }
}

/// The cause of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum AgentCause {
    Started,
    /// The time of the next attempt came.
    RetryDue,
    /// The link is open.
    LinkOpened,
    /// The server accepted the hello.
    HelloAccepted,
    /// The server refused the hello.
    HelloRefused(HelloRefusal),
    /// No answer to the hello in time.
    HelloUnanswered,
    /// No outcome of the dial in time.
    DialUnanswered,
    DialFailed(DialFailure),
    /// No frame was received for this long.
    Silence(Duration),
    /// A frame of the silent server was received.
    HeardAgain,
    LinkEnded(CloseReason),
    /// This machine was asleep for this long.
    Slept(Duration),
    /// There is a newer token, and the session continues with it.
    TokenRenewed,
    Stopped,
    /// A remote order ended it.
    EndOrdered(EndOrder),
}

impl AgentCause {
    /// Whether the server ended the link because of its token: the agent needs another one.
    pub fn asks_for_another_token(&self) -> bool {
        match self {
            Self::LinkEnded(reason) => {
                reason.initiator == Initiator::Peer
                    && reason.cause.come_back() == ComeBack::WithNewToken
            }
            Self::Started
            | Self::RetryDue
            | Self::LinkOpened
            | Self::HelloAccepted
            | Self::HelloRefused(_)
            | Self::HelloUnanswered
            | Self::DialUnanswered
            | Self::DialFailed(_)
            | Self::Silence(_)
            | Self::HeardAgain
            | Self::Slept(_)
            | Self::TokenRenewed
            | Self::Stopped
            | Self::EndOrdered(_) => false,
        }
    }

    /// What the owner of an agent that ended for this cause can do.
    pub const fn advice(&self) -> &'static str {
        const NEW_TOKEN: &str =
            "get a new token from the server's owner and start the agent with it";
        match self {
            Self::LinkEnded(reason) => match reason.cause {
                CloseCause::Replaced => {
                    "stop one of the two, or give this one a state directory of its own"
                }
                CloseCause::Deleted => {
                    "to have it back as a new agent, start it with a new token and a new state directory"
                }
                CloseCause::Normal
                | CloseCause::GoingAway
                | CloseCause::ProtocolError
                | CloseCause::UnsupportedData
                | CloseCause::InvalidText
                | CloseCause::TooManyUndecodable
                | CloseCause::TooBig
                | CloseCause::Internal
                | CloseCause::TryLater
                | CloseCause::Silent
                | CloseCause::Superseded
                | CloseCause::HelloTimeout
                | CloseCause::AgentStopped
                | CloseCause::NotReading
                | CloseCause::TokenExpired
                | CloseCause::NoAnswer
                | CloseCause::ToldToStop
                | CloseCause::ToldToRestart
                | CloseCause::Contested
                | CloseCause::Revoked
                | CloseCause::Broken(_)
                | CloseCause::NoCode
                | CloseCause::Other(_) => NEW_TOKEN,
            },
            Self::DialFailed(DialFailure::Forbidden)
            | Self::HelloRefused(HelloRefusal::Forbidden) => NEW_TOKEN,
            Self::DialFailed(_)
            | Self::Started
            | Self::RetryDue
            | Self::LinkOpened
            | Self::HelloAccepted
            | Self::HelloRefused(_)
            | Self::HelloUnanswered
            | Self::DialUnanswered
            | Self::Silence(_)
            | Self::HeardAgain
            | Self::Slept(_)
            | Self::TokenRenewed
            | Self::Stopped
            | Self::EndOrdered(_) => "ask the server's owner why",
        }
    }
}

impl fmt::Display for AgentCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("started"),
            Self::RetryDue => f.write_str("the next attempt is due"),
            Self::LinkOpened => f.write_str("the link is open"),
            Self::HelloAccepted => f.write_str("the server accepted the hello"),
            Self::HelloRefused(HelloRefusal::Unauthorized) => {
                f.write_str("the server refused the token; a new one is needed")
            }
            Self::HelloRefused(HelloRefusal::Forbidden) => {
                f.write_str("the server refuses this agent permanently (revoked or deleted)")
            }
            Self::HelloRefused(HelloRefusal::Other) => f.write_str("the server refused the hello"),
            Self::HelloUnanswered => f.write_str("the server did not answer the hello in time"),
            Self::DialUnanswered => f.write_str("the dial timed out"),
            Self::DialFailed(failure) => fmt::Display::fmt(failure, f),
            Self::Silence(d) => write!(f, "no frame from the server for {}", Human(*d)),
            Self::HeardAgain => f.write_str("the server responds again"),
            Self::LinkEnded(reason) => fmt::Display::fmt(reason, f),
            Self::Slept(d) => write!(f, "this machine slept for {}", Human(*d)),
            Self::TokenRenewed => f.write_str("a newer token is available; continuing with it"),
            Self::Stopped => f.write_str("stopped on this machine"),
            Self::EndOrdered(EndOrder::Stop) => f.write_str("stopped by an order (control stop)"),
            Self::EndOrdered(EndOrder::Restart) => {
                f.write_str("restarted by an order (control restart)")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failed_hello_that_another_token_does_not_help_blames_the_address() {
        let reconnecting = AgentStatus::Reconnecting { retry_at: Timestamp::ORIGIN };
        let report = |status| AgentReport { status, cause: AgentCause::HelloUnanswered };
        for (before, status, token, blamed) in [
            (AgentStatus::Joining, reconnecting, TokenUse::None, true),
            (AgentStatus::Joining, reconnecting, TokenUse::RenewsTheSession, true),
            (AgentStatus::Joining, reconnecting, TokenUse::EndsTheWait, false),
            (AgentStatus::Connecting { attempt: 1 }, reconnecting, TokenUse::None, false),
            (AgentStatus::Connected { epoch: Epoch(1) }, reconnecting, TokenUse::None, false),
            (AgentStatus::Joining, AgentStatus::Closed, TokenUse::None, false),
        ] {
            assert_eq!(report(status).blames_address(before, token), blamed, "{before:?}");
        }
    }

    #[test]
    fn the_owner_of_a_refused_agent_is_told_what_can_be_done() {
        let ended = |cause| AgentCause::LinkEnded(CloseReason::local(cause)).advice();
        assert!(ended(CloseCause::Replaced).starts_with("stop one of the two"));
        assert!(ended(CloseCause::Deleted).contains("new state directory"));
        assert!(ended(CloseCause::Revoked).starts_with("get a new token"));
        let forbidden = AgentCause::DialFailed(DialFailure::Forbidden).advice();
        assert!(forbidden.starts_with("get a new token"));
        assert_eq!(AgentCause::Stopped.advice(), "ask the server's owner why");
    }
}
