//! How a link ends: who ended it, why, with which code, and whether to come back.
//!
//! One table maps each cause to its WebSocket code, its text and its consequence for the agent.
//! Nothing here closes anything.
//!
//! Tier 0 of the [crate](crate#what-is-public-in-tiers): the ground.

use core::fmt;
use serde::{Deserialize, Serialize};

/// A WebSocket close code (RFC 6455, section 7.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// Normal closure. We send it to a legacy wrapper that must stay away permanently, and never else:
    /// existing clients do not reconnect after it.
    pub const NORMAL: Self = Self(1000);
    /// The server process is going away and will be back.
    pub(crate) const GOING_AWAY: Self = Self(1001);
    /// The peer broke the framing rules.
    pub(crate) const PROTOCOL_ERROR: Self = Self(1002);
    /// Binary frames that were not agreed on.
    pub(crate) const UNSUPPORTED_DATA: Self = Self(1003);
    /// What an API reports when a close frame held no code. Never on the wire.
    pub(crate) const NO_STATUS: Self = Self(1005);
    /// What an API reports when the link ended without a close frame. Never on the wire.
    pub(crate) const ABNORMAL: Self = Self(1006);
    /// Text that is not UTF-8.
    pub(crate) const INVALID_TEXT: Self = Self(1007);
    /// Too many messages that could not be decoded.
    pub(crate) const POLICY: Self = Self(1008);
    /// A message over the size limit.
    pub(crate) const TOO_BIG: Self = Self(1009);
    /// A fault of ours.
    pub const INTERNAL: Self = Self(1011);
    /// Overload or a store that cannot take the session now.
    pub(crate) const TRY_LATER: Self = Self(1013);
    /// No frame was received for the whole of `timeout-after`.
    pub(crate) const SILENT: Self = Self(4100);
    /// The same process opened a newer link.
    pub(crate) const SUPERSEDED: Self = Self(4101);
    /// No hello arrived in time.
    pub(crate) const HELLO_TIMEOUT: Self = Self(4102);
    /// The agent was stopped on its own machine.
    pub const AGENT_STOPPED: Self = Self(4103);
    /// The peer did not read its messages.
    pub(crate) const NOT_READING: Self = Self(4104);
    /// The token ran out or is not valid any more; come back with a newer one.
    pub(crate) const TOKEN_EXPIRED: Self = Self(4105);
    /// The hello was not answered in time (sent by the agent).
    pub(crate) const NO_ANSWER: Self = Self(4106);
    /// A remote order ended the agent.
    pub const TOLD_TO_STOP: Self = Self(4107);
    /// A remote order ended the agent, to restart it.
    pub const TOLD_TO_RESTART: Self = Self(4108);
    /// Another process of the same agent is in session, and answers.
    pub(crate) const CONTESTED: Self = Self(4109);
    /// Another process of the same agent took over. Stay away.
    pub const REPLACED: Self = Self(4200);
    /// The token was revoked. Stay away.
    pub(crate) const REVOKED: Self = Self(4201);
    /// The agent was deleted. Stay away.
    pub(crate) const DELETED: Self = Self(4202);
}

impl CloseCode {
    /// The meaning of a standard close code (RFC 6455, section 7.4.1); `None` for other codes. A proxy can send it
    /// too, so
    /// readers are shown this meaning rather than the one that a peer of ours attaches to it.
    #[must_use]
    pub const fn meaning(self) -> Option<&'static str> {
        Some(match self.0 {
            1000 => "normal closure",
            1001 => "going away",
            1002 => "protocol error",
            1003 => "unsupported data",
            1007 => "invalid text",
            1008 => "policy violation",
            1009 => "message too big",
            1011 => "internal error",
            1012 => "service restart",
            1013 => "try again later",
            1014 => "bad gateway",
            _ => return None,
        })
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Who ended a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Initiator {
    /// The side that reports.
    Local,
    /// The other side, with a close frame.
    Peer,
    /// Neither: the network or an operating system.
    Link,
}

/// What an agent does after its link ended for some cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ComeBack {
    /// Dial again, by backoff.
    Backoff,
    /// Dial again, slowly, after reading the token again.
    WithNewToken,
    /// Stop and say so: an explicit, permanent refusal.
    Never,
}

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident = $code:ident, $come_back:ident, $text:literal;)*) => {
        /// Why a link ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum CloseCause {
            $($(#[$doc])* $name,)*
            /// The link broke without a close frame.
            Broken(Breakage),
            /// A close frame without a code (existing servers send them).
            NoCode,
            /// A code that is not ours.
            Other(CloseCode),
        }

        impl CloseCause {
            /// Every cause with a code of its own.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code for the close frame. Always one that may be sent.
            pub const fn code(self) -> CloseCode {
                match self {
                    $(Self::$name => CloseCode::$code,)*
                    Self::Broken(_) => CloseCode::ABNORMAL,
                    Self::NoCode => CloseCode::NO_STATUS,
                    Self::Other(code) => code,
                }
            }

            /// What a code received from a peer means.
            pub(crate) const fn from_code(code: CloseCode) -> Self {
                match code {
                    $(CloseCode::$code => Self::$name,)*
                    CloseCode::NO_STATUS => Self::NoCode,
                    CloseCode::ABNORMAL => Self::Broken(Breakage::EndOfStream),
                    code => Self::Other(code),
                }
            }

            /// What an agent does after it.
            pub const fn come_back(self) -> ComeBack {
                match self {
                    $(Self::$name => ComeBack::$come_back,)*
                    Self::Broken(_) | Self::NoCode | Self::Other(_) => ComeBack::Backoff,
                }
            }

            /// Whether a link that is closed for it is dropped at once: a silent peer does not answer a close frame.
            pub const fn is_abrupt(self) -> bool {
                matches!(self, Self::Silent)
            }

            /// The text of the close frame, at most 123 bytes (RFC 6455, section 5.5.1).
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Broken(how) => how.text(),
                    Self::NoCode => "closed without a code",
                    Self::Other(_) => "closed with a code of its own",
                }
            }
        }

        impl fmt::Display for CloseCause {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name)|* => write!(f, "{} ({})", self.text(), self.code()),
                    Self::Broken(_) | Self::NoCode => f.write_str(self.text()),
                    Self::Other(code) => write!(f, "closed with code {code}"),
                }
            }
        }
    };
}

causes! {
    /// Normal closure. From a peer of ours it is not expected; from a legacy wrapper it means that
    /// its user stopped it. Local intent alone decides whether an agent returns (P-65).
    Normal = NORMAL, Backoff, "normal closure";
    /// The server process is going away.
    GoingAway = GOING_AWAY, Backoff, "the server is shutting down; come back";
    /// WebSocket framing was violated.
    ProtocolError = PROTOCOL_ERROR, Backoff, "the framing rules were broken";
    /// Binary frames that were not agreed on.
    UnsupportedData = UNSUPPORTED_DATA, Backoff, "only text messages are accepted here";
    /// Text that is not UTF-8.
    InvalidText = INVALID_TEXT, Backoff, "a text message was not UTF-8";
    /// Too many messages that could not be decoded.
    TooManyUndecodable = POLICY, Backoff, "too many messages that could not be decoded";
    /// A message over the size limit.
    TooBig = TOO_BIG, Backoff, "a message was larger than the limit";
    /// A fault of the side that closed.
    Internal = INTERNAL, Backoff, "internal fault; see the log of the side that closed";
    /// Overload, or the store cannot take the session now.
    TryLater = TRY_LATER, Backoff, "cannot take the session now; come back later";
    /// No frame was received for `timeout-after`.
    Silent = SILENT, Backoff, "nothing was heard for the whole time-out";
    /// The same process opened a newer link.
    Superseded = SUPERSEDED, Backoff, "the same process opened a newer link";
    /// No hello arrived in time.
    HelloTimeout = HELLO_TIMEOUT, Backoff, "no hello came in time";
    /// The agent was stopped on its machine.
    AgentStopped = AGENT_STOPPED, Backoff, "the agent was stopped on its machine";
    /// The peer did not read its messages.
    NotReading = NOT_READING, Backoff, "the peer did not read what was sent to it";
    /// The token is not valid any more.
    TokenExpired = TOKEN_EXPIRED, WithNewToken, "the token is not valid here, or not any more; bring another one";
    /// The hello was not answered in time.
    NoAnswer = NO_ANSWER, Backoff, "the hello was not answered in time";
    /// The agent was told to end by an order.
    ToldToStop = TOLD_TO_STOP, Backoff, "the agent was told to end by an order (control stop)";
    /// The agent was told to restart by an order.
    ToldToRestart = TOLD_TO_RESTART, Backoff, "the agent was told to restart by an order (control restart)";
    /// Another process of the same agent is in session, and answers.
    Contested = CONTESTED, Backoff, "another process of the same agent is in session, and answers";
    /// Another process of the same agent took over.
    Replaced = REPLACED, Never, "another process of the same agent took over; stay away";
    /// The token was revoked.
    Revoked = REVOKED, Never, "the token was revoked; stay away";
    /// The agent was deleted.
    Deleted = DELETED, Never, "the agent was deleted; stay away";
}

macro_rules! breakages {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// How a link broke when neither end closed it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Breakage {
            $($(#[$doc])* $name,)*
        }

        impl Breakage {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// A sentence for people.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

breakages! {
    /// The stream ended without a close frame.
    EndOfStream = "the connection ended without a close frame";
    /// The connection was reset.
    Reset = "the connection was reset";
    /// A write did not finish in time.
    WriteStalled = "a write did not finish in time";
    /// Any other failure of the operating system or of TLS.
    Io = "the connection failed";
}

/// How a link ended: who and why.
///
/// ```
/// use onsembl_protocol::close::{CloseCause, CloseReason, ComeBack};
///
/// let told = CloseReason::peer(Some(CloseCause::Replaced.code()));
/// assert_eq!(told.cause, CloseCause::Replaced);
/// assert_eq!(told.cause.come_back(), ComeBack::Never);
/// let own = CloseReason::local(CloseCause::Normal);
/// assert_eq!(own.to_string(), "closed by this side: normal closure (1000)");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub struct CloseReason {
    pub initiator: Initiator,
    pub cause: CloseCause,
}

impl CloseReason {
    /// We ended it.
    pub const fn local(cause: CloseCause) -> Self {
        Self { initiator: Initiator::Local, cause }
    }

    /// The peer ended it with this code; `None` if its close frame held none.
    pub const fn peer(code: Option<CloseCode>) -> Self {
        let cause = match code {
            Some(code) => CloseCause::from_code(code),
            None => CloseCause::NoCode,
        };
        Self { initiator: Initiator::Peer, cause }
    }

    /// It broke.
    pub const fn broken(how: Breakage) -> Self {
        Self { initiator: Initiator::Link, cause: CloseCause::Broken(how) }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.initiator {
            Initiator::Local => write!(f, "closed by this side: {}", self.cause),
            Initiator::Peer => match self.cause.code().meaning() {
                Some(meaning) => write!(f, "closed by the peer ({}, {meaning})", self.cause.code()),
                None => write!(f, "closed by the peer: {}", self.cause),
            },
            Initiator::Link => write!(f, "link lost: {}", self.cause),
        }
    }
}
