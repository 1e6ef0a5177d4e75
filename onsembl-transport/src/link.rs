//! The seam between sockets and drivers: a [`Link`] carries messages both ways and ends once.
//!
//! Here live the traits that every kind of link implements, and the types that cross them. No type
//! of a socket, TLS or WebSocket library may appear here, and no decision about sessions.

use async_trait::async_trait;
use bytes::Bytes;
use onsembl_protocol::close::{Breakage, CloseCause, CloseCode, CloseReason, Initiator};
use onsembl_protocol::model::Evidence;
use onsembl_protocol::session::{DialFailure, DialFault};
use onsembl_protocol::shown::Shown;
use std::any::Any;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use thiserror::Error;

/// What we send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// One message.
    Text(String),
    /// One message that is no text.
    Binary(Bytes),
    /// A ping of the link itself. The peer's link answers it with a pong, unasked.
    Ping,
}

impl Frame {
    /// Bytes of what it carries.
    pub fn byte_count(&self) -> usize {
        self.len()
    }

    /// Bytes of the message; none in a ping.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
            Self::Ping => 0,
        }
    }
}

/// What the peer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// One message, complete, and not larger than the limit of the link.
    Text(String),
    /// One message that is no text, as complete and as bounded.
    Binary(Bytes),
    /// A ping or a pong of the link itself: proof of life and nothing more. Pings have been
    /// answered already.
    Control,
}

impl Received {
    /// Bytes of the message.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
            Self::Control => 0,
        }
    }
}

/// What a message takes of a budget, from when it was read until it is dropped with the event that it came in.
/// Two of them are equal: it says nothing of the message.
#[derive(Clone, Default)]
pub struct BudgetShare(Option<Arc<dyn Any + Send + Sync>>);

impl BudgetShare {
    /// This is held.
    pub fn new(what: impl Any + Send + Sync) -> Self {
        Self(Some(Arc::new(what)))
    }
}

impl PartialEq for BudgetShare {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for BudgetShare {}

impl fmt::Debug for BudgetShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "BudgetShare" } else { "BudgetShare(nothing)" })
    }
}

/// The half of a link that receives.
#[async_trait]
pub trait LinkReader: Send {
    /// The next frame of the peer.
    ///
    /// Cancel-safe: a dropped call loses nothing, and the next one resumes where it was. A link
    /// that ends because of what the peer sent (a message over the limit, broken framing) says so
    /// to the peer before this returns.
    ///
    /// # Errors
    /// How the link ended; the same again on each further call.
    async fn receive(&mut self) -> Result<Received, LinkEnd>;

    /// What the frame that was received last takes of a budget; nothing unless a link says otherwise.
    fn take_share(&mut self) -> BudgetShare {
        BudgetShare::default()
    }
}

/// The half of a link that sends.
///
/// A dropped call leaves the link usable: the frame of a dropped [`send`](Self::send) was taken
/// whole or not at all, never in part.
#[async_trait]
pub trait LinkWriter: Send {
    /// Takes a frame, in order. May keep it in a buffer until [`flush`](Self::flush).
    ///
    /// # Errors
    /// How the link ended, as far as the writing half can tell; the reading half may know better.
    async fn send(&mut self, frame: Frame) -> Result<(), LinkEnd>;

    /// Hands all that was taken to the network.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    async fn flush(&mut self) -> Result<(), LinkEnd>;

    /// Sends the close frame, with the cause's code and text, behind all that was taken. Nothing
    /// can be sent afterwards; the reading half ends when the peer answers.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    async fn close(&mut self, cause: CloseCause) -> Result<(), LinkEnd>;
}

/// One link to one peer. Both halves may be used at the same time, by one task or by two; the
/// connection goes when both are dropped.
#[allow(missing_docs, reason = "the names say all")]
pub struct Link {
    pub reader: Box<dyn LinkReader>,
    pub writer: Box<dyn LinkWriter>,
    /// The address of the peer, for logs.
    pub peer: String,
    /// The address of this machine at which it is, of a link that was dialled over a network: another one at the next
    /// link to the same peer means another network.
    pub local: Option<IpAddr>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// How a link ended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", self.sentence())]
pub struct LinkEnd {
    /// Who ended it and why.
    pub reason: CloseReason,
    /// The peer's closing text or the error of the operating system. For logs; may be empty.
    pub detail: String,
}

impl LinkEnd {
    /// We ended it.
    pub fn local(cause: CloseCause, detail: impl Into<String>) -> Self {
        Self { reason: CloseReason::local(cause), detail: detail.into() }
    }

    /// The peer ended it with `code` (`None`: its close frame held none) and `text`. The text is
    /// made fit for a log line.
    pub fn peer(code: Option<u16>, text: &str) -> Self {
        Self { reason: CloseReason::peer(code.map(CloseCode)), detail: log_line(text) }
    }

    fn sentence(&self) -> String {
        let Self { reason, detail } = self;
        let code = reason.cause.code();
        match (reason.initiator, detail.as_str()) {
            // These codes are anybody's, and a peer of ours says what it means by them.
            (Initiator::Peer, "") => match code.meaning() {
                Some(meaning) => {
                    format!("closed by the peer ({code}, {meaning}), without a reason")
                }
                None => reason.to_string(),
            },
            // Most of our own close frames repeat the words of their code, and so does the answer to one.
            (Initiator::Local | Initiator::Link, said)
                if said.is_empty() || said == reason.cause.text() =>
            {
                reason.to_string()
            }
            (Initiator::Peer, said) if said == reason.cause.text() && code.meaning().is_none() => {
                reason.to_string()
            }
            (Initiator::Local, said) if said.contains(reason.cause.text()) => reason.to_string(),
            // These codes are anybody's: what they mean is what the peer says, and not what we mean by them.
            (Initiator::Peer, said) if code.0 < 3000 => match code.meaning() {
                Some(meaning) => format!("closed by the peer ({code}, {meaning}): {said}"),
                None => format!("closed by the peer ({code}): {said}"),
            },
            (Initiator::Peer | Initiator::Local | Initiator::Link, said) => {
                format!("{reason}: {said}")
            }
        }
    }

    /// The particulars, for whoever judges it later.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        let evidence = Evidence::NONE.with("code", self.reason.cause.code().0);
        match self.detail.as_str() {
            "" => evidence,
            said => evidence.with("said", said),
        }
    }

    /// It broke.
    pub fn broken(how: Breakage, detail: impl Into<String>) -> Self {
        Self { reason: CloseReason::broken(how), detail: log_line(&detail.into()) }
    }
}

/// What an input or output error of a connection says about its end.
impl From<io::Error> for LinkEnd {
    #[allow(clippy::wildcard_enum_match_arm, reason = "the kinds of the standard library are open")]
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        let how = match error.kind() {
            Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => Breakage::Reset,
            Kind::UnexpectedEof => Breakage::EndOfStream,
            _ => Breakage::Io,
        };
        Self::broken(how, error.to_string())
    }
}

/// Opens links, one per call.
#[async_trait]
pub trait Dialer: Send + Sync {
    /// Opens a link. Bounded in time by the dialer itself; a dropped call leaves no connection.
    ///
    /// # Errors
    /// Why there is no link. Whether to try again is for the caller to decide.
    async fn dial(&self) -> Result<Link, DialError>;

    /// Whether there is another token to show than the last one that the server granted or refused.
    /// Asked now and again in session, and while an agent waits because its token was refused.
    async fn has_another_token(&self) -> bool {
        false
    }

    /// The link that was dialled last ended, or was given up, before its hello was accepted.
    fn hello_failed(&self) {}
}

/// Why a dial brought no link: what failed, on what, why, and what to do, once each.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", self.sentence())]
#[non_exhaustive]
pub struct DialError {
    /// What decides about the next attempt.
    pub failure: DialFailure,
    /// What was wrong, for people and for verdicts.
    pub fault: DialFault,
    /// On what it failed, and what the operating system or the other side said. For people; may be empty.
    pub detail: String,
    /// The address that was dialled, once there was one.
    pub address: Option<SocketAddr>,
    /// The error number of the operating system, if it gave one.
    pub os_error: Option<i32>,
}

impl DialError {
    /// A failure and what was said of it. The text is made fit for a log line.
    pub fn new(failure: DialFailure, detail: impl AsRef<str>) -> Self {
        Self {
            failure,
            fault: DialFault::of(failure),
            detail: log_line(detail.as_ref()),
            address: None,
            os_error: None,
        }
    }

    /// The same, and what was wrong in particular.
    #[must_use]
    pub fn with_fault(self, fault: DialFault) -> Self {
        Self { fault, ..self }
    }

    /// The same, with the address where it happened.
    #[cfg(feature = "websocket")]
    #[must_use]
    pub(crate) fn at(self, address: SocketAddr) -> Self {
        let detail = match self.detail.contains(&address.to_string()) {
            true => self.detail,
            false if self.detail.is_empty() => address.to_string(),
            false => format!("{address} {}", self.detail),
        };
        Self { detail, address: Some(address), ..self }
    }

    /// The name of the error number, as systems document it; `None` without one, or for a rare one.
    #[must_use]
    pub fn errno(&self) -> Option<&'static str> {
        self.os_error.and_then(errno_name)
    }

    /// The same, with who it was.
    #[cfg(feature = "websocket")]
    #[must_use]
    pub(crate) fn by(self, whom: &str) -> Self {
        let detail = match self.detail.as_str() {
            "" => whom.to_owned(),
            detail => log_line(&format!("{whom}: {detail}")),
        };
        Self { detail, ..self }
    }

    /// The particulars, for whoever judges it later.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        let mut evidence = Evidence::NONE
            .with("stage", self.fault.stage().as_str())
            .with("fault", self.fault.as_str());
        if let Some(address) = self.address {
            evidence = evidence.with("address", address.to_string());
        }
        if let Some(errno) = self.errno() {
            evidence = evidence.with("errno", errno);
        }
        match self.detail.as_str() {
            "" => evidence,
            said => evidence.with("said", said),
        }
    }

    fn sentence(&self) -> String {
        let what = self.fault.what();
        let detail = match self.detail.as_str() {
            "" => String::new(),
            detail => format!(": {detail}"),
        };
        match self.fault.advice() {
            "" => format!("{what}{detail}"),
            advice => format!("{what}{detail}; {advice}"),
        }
    }
}

#[cfg(target_os = "linux")]
fn errno_name(number: i32) -> Option<&'static str> {
    use rustix::io::Errno;
    Some(match Errno::from_raw_os_error(number) {
        Errno::CONNREFUSED => "ECONNREFUSED",
        Errno::NETUNREACH => "ENETUNREACH",
        Errno::HOSTUNREACH => "EHOSTUNREACH",
        Errno::NETDOWN => "ENETDOWN",
        Errno::TIMEDOUT => "ETIMEDOUT",
        Errno::CONNRESET => "ECONNRESET",
        Errno::ADDRNOTAVAIL => "EADDRNOTAVAIL",
        Errno::ACCESS => "EACCES",
        Errno::PERM => "EPERM",
        Errno::MFILE => "EMFILE",
        Errno::NFILE => "ENFILE",
        _ => return None,
    })
}

/// The numbers of other systems are unknown here.
#[cfg(not(target_os = "linux"))]
const fn errno_name(_: i32) -> Option<&'static str> {
    None
}

/// Takes links in.
#[async_trait]
pub trait Listener: Send {
    /// The next link, ready for use. Cancel-safe.
    ///
    /// # Errors
    /// The listener cannot take links now (out of file descriptors, say). A peer that fails at its
    /// handshake is no error. Call again, after a pause.
    async fn accept(&mut self) -> io::Result<Link>;
}

/// Code and text of the close frame for `cause`: those of the cause, unless its code must not
/// travel (1005, 1006 and the like).
pub(crate) fn close_frame(cause: CloseCause) -> (u16, &'static str) {
    let code = cause.code().0;
    if may_travel(code) { (code, cause.text()) } else { (CloseCode::INTERNAL.0, cause.text()) }
}

/// Whether a close frame may carry `code` (RFC 6455, section 7.4).
pub(crate) const fn may_travel(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// What a peer said, escaped and not longer than a log line should be.
pub(crate) fn log_line(text: &str) -> String {
    const LONGEST: usize = 300;
    Shown::new(text).within(LONGEST).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_a_close_frame_that_may_travel() {
        let odd = [
            CloseCause::NoCode,
            CloseCause::Broken(Breakage::Reset),
            CloseCause::Other(CloseCode(999)),
            CloseCause::Other(CloseCode(1015)),
            CloseCause::Other(CloseCode(5000)),
        ];
        for cause in odd {
            assert_eq!(close_frame(cause).0, 1011, "{cause:?}");
        }
        for cause in CloseCause::ALL {
            assert_eq!(close_frame(*cause), (cause.code().0, cause.text()));
            assert!(cause.text().len() <= 123);
        }
    }

    #[test]
    fn ends_read_as_one_line() {
        let end = LinkEnd::peer(Some(4200), "go\r\naway");
        assert_eq!(
            end.to_string(),
            "closed by the peer: another process of the same agent took over; stay away (4200): go\\r\\naway"
        );
        let end = LinkEnd::peer(Some(1001), CloseCause::GoingAway.text());
        assert_eq!(
            end.to_string(),
            "closed by the peer (1001, going away): the server is shutting down; come back"
        );
        let end = LinkEnd::peer(Some(1008), "");
        assert_eq!(
            end.to_string(),
            "closed by the peer (1008, policy violation), without a reason"
        );
        let end = LinkEnd::peer(Some(1008), "you are not welcome");
        assert_eq!(
            end.to_string(),
            "closed by the peer (1008, policy violation): you are not welcome"
        );
        let end = LinkEnd::broken(Breakage::EndOfStream, "");
        assert_eq!(end.to_string(), "link lost: the connection ended without a close frame");
    }
}
