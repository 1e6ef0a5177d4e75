//! What one end finds by itself: the causes that machines report, as causes of faults.
//!
//! Each end says what it knows, and no more. What both together prove is in `verdict.rs`.

use super::hop_tracker::End;
use crate::close::{Breakage, CloseCause, CloseReason, Initiator};
use crate::model::{Cause, Confidence, Evidence, Finding, PastFinding};
use crate::session::{
    AgentCause, DialFault, HelloRefusal, PresenceCause, RefusalReason, TokenFault,
};
use core::time::Duration;

/// What an agent finds when a link or a dial ended, from what its machine reports, the fault of the dial and the
/// evidence of the edge; and for how long that had lasted by then. `None` if that is no fault.
#[must_use]
pub fn found_by_agent(
    reported: &AgentCause,
    fault: Option<DialFault>,
    evidence: Evidence,
) -> Option<(Finding, Duration)> {
    let mut lasted = Duration::ZERO;
    let (cause, confidence) = match reported {
        AgentCause::DialFailed(failure) => of_dial(fault.unwrap_or(DialFault::of(*failure))),
        AgentCause::DialUnanswered => (Cause::NetworkCut, Confidence::Low),
        AgentCause::HelloRefused(HelloRefusal::Unauthorized) => {
            (Cause::TokenRefused, Confidence::Medium)
        }
        AgentCause::HelloRefused(HelloRefusal::Forbidden) => {
            (Cause::TokenRevoked, Confidence::High)
        }
        AgentCause::HelloRefused(HelloRefusal::Other) => (Cause::ServerBusy, Confidence::Medium),
        AgentCause::HelloUnanswered => (Cause::DialUnanswered, Confidence::Medium),
        AgentCause::Silence(silence) => {
            lasted = *silence;
            (Cause::NetworkOneWayOrCut, Confidence::Medium)
        }
        AgentCause::LinkEnded(reason) => {
            let (cause, confidence) = of_end(End::Agent, *reason)?;
            let evidence = evidence.with(TOLD_ENDED_BY, ended_by(*reason));
            return Some((Finding::new(cause, confidence).on(evidence), lasted));
        }
        AgentCause::Slept(sleep) => {
            lasted = *sleep;
            (Cause::AgentSlept, Confidence::High)
        }
        AgentCause::Stopped => (Cause::AgentStopped, Confidence::High),
        AgentCause::EndOrdered(_) => (Cause::AgentEndedByOrder, Confidence::High),
        AgentCause::Started
        | AgentCause::RetryDue
        | AgentCause::LinkOpened
        | AgentCause::HelloAccepted
        | AgentCause::HeardAgain
        | AgentCause::TokenRenewed => return None,
    };
    Some((Finding::new(cause, confidence).on(evidence), lasted))
}

/// Under this name an agent tells who ended its link, as far as it can tell.
const TOLD_ENDED_BY: &str = "told_ended_by";
const BY_SERVER: &str = "server";
const BY_AGENT: &str = "agent";

fn ended_by(reason: CloseReason) -> &'static str {
    match reason.initiator {
        Initiator::Local => BY_AGENT,
        Initiator::Peer => BY_SERVER,
        Initiator::Link => "neither",
    }
}

/// Who ended a link by what the agent told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToldEnd {
    /// A close frame came, which the agent takes for the server's.
    Closed,
    /// It closed the link itself.
    Own,
    /// It tells of no close.
    Untold,
}

impl ToldEnd {
    pub(super) fn of(told: &PastFinding) -> Self {
        match told.finding.evidence.text(TOLD_ENDED_BY) {
            Some(BY_SERVER) => Self::Closed,
            Some(BY_AGENT) => Self::Own,
            Some(_) | None => Self::Untold,
        }
    }
}

/// What an agent tells, by what is known now: earlier versions had no word for a dial that was not answered, and said
/// that the certificate or the server was at fault.
pub(super) fn as_known_now(told: &PastFinding) -> Cause {
    let cause = told.finding.cause;
    let old = match told.finding.evidence.text("fault").and_then(DialFault::parse) {
        // Of several faults of one cause the entry has the first, and the greatest confidence.
        Some(DialFault::TlsTimeout) => Some((Cause::Tls, Confidence::Low)),
        Some(DialFault::Unanswered) => Some((Cause::ServerBusy, Confidence::Low)),
        Some(DialFault::ClosedUnanswered) => Some((Cause::MiddleboxAnswer, Confidence::Medium)),
        Some(_) | None => None,
    };
    let is_old = old == Some((cause, told.finding.confidence));
    if is_old { Cause::DialUnanswered } else { cause }
}

/// Dials that one entry can stand for: a year of them, at the longest wait between two.
const MOST_DIALS: u32 = 1_000_000;

/// Which dials failed, and how often, by what an agent told; for counters, and for nothing that decides. Failures that
/// followed one another and have one cause are one entry, and count under the fault of the first.
pub(crate) fn failed_dials(told: &[PastFinding]) -> impl Iterator<Item = (DialFault, u32)> + '_ {
    told.iter().filter_map(|told| {
        let fault = DialFault::parse(told.finding.evidence.text("fault")?)?;
        // Who tells of a fault under another cause is no agent of ours.
        let knows = [told.finding.cause, as_known_now(told)];
        knows.contains(&of_dial(fault).0).then(|| (fault, told.times.min(MOST_DIALS)))
    })
}

/// What a server finds when a session ended, from what its machine reports. `None` if that is no fault.
pub(super) fn found_by_server(reported: &PresenceCause) -> Option<(Cause, Confidence)> {
    match reported {
        PresenceCause::AgentStopped => Some((Cause::AgentStopped, Confidence::High)),
        PresenceCause::EndOrdered(_) => Some((Cause::AgentEndedByOrder, Confidence::High)),
        PresenceCause::ServerRestarted => Some((Cause::ServerRestarted, Confidence::High)),
        PresenceCause::ReplacedOther => Some((Cause::SecondInstance, Confidence::High)),
        PresenceCause::Silence(_) => Some((Cause::NetworkOneWayOrCut, Confidence::Low)),
        PresenceCause::Evicted(close) | PresenceCause::NotAdmitted(close) => {
            own_close(End::Server, *close)
        }
        PresenceCause::LinkEnded(reason) => of_end(End::Server, *reason),
        PresenceCause::HelloReceived
        | PresenceCause::SessionOpened
        | PresenceCause::TakenOver
        | PresenceCause::HeardAgain
        | PresenceCause::ResumeWindowOver(_)
        | PresenceCause::Faulted => None,
    }
}

/// Why a server turns an agent away whose token it knows, by the reason and what is wrong with the token; `None` if that
/// says nothing of the agent.
#[must_use]
pub const fn found_by_refusal(reason: RefusalReason, fault: Option<TokenFault>) -> Option<Cause> {
    match (reason, fault) {
        (RefusalReason::Forbidden, _) => Some(Cause::TokenRevoked),
        (RefusalReason::Unauthorized, Some(TokenFault::Expired)) => Some(Cause::TokenExpired),
        (RefusalReason::Unauthorized, Some(TokenFault::WrongKind)) => Some(Cause::TokenWrongKind),
        (RefusalReason::Unauthorized, Some(TokenFault::Unknown) | None) => {
            Some(Cause::TokenRefused)
        }
        (RefusalReason::Unavailable, _) => None,
    }
}

/// Why a dial failed, by what was wrong with it.
const fn of_dial(fault: DialFault) -> (Cause, Confidence) {
    match fault {
        DialFault::TokenMissing | DialFault::TokenUnfit => (Cause::TokenMissing, Confidence::High),
        DialFault::TokenUnanswered => (Cause::TokenMissing, Confidence::Medium),
        DialFault::NameUnknown
        | DialFault::NameWithoutAddress
        | DialFault::NameUnanswered
        | DialFault::NameFailed => (Cause::NameResolution, Confidence::High),
        DialFault::ConnectRefused => (Cause::ConnectionRefused, Confidence::High),
        DialFault::NoRoute => (Cause::NoRoute, Confidence::High),
        // Not answered: by a server that does not run, or on the way.
        DialFault::ConnectTimeout | DialFault::ConnectFailed => {
            (Cause::NetworkCut, Confidence::Low)
        }
        DialFault::OutOfDescriptors => (Cause::HostOutOfDescriptors, Confidence::High),
        DialFault::ProxyUnusable
        | DialFault::ProxyUnreachable
        | DialFault::ProxyUnanswered
        | DialFault::ProxyCredentials
        | DialFault::ProxyRefused => (Cause::Proxy, Confidence::High),
        // It did what it could: what is behind it does not answer.
        DialFault::ProxyFailed => (Cause::Proxy, Confidence::Medium),
        // By a clock that is wrong, a good certificate has run out.
        DialFault::CertificateExpired | DialFault::CertificateEarly => {
            (Cause::Tls, Confidence::Medium)
        }
        DialFault::CertificateName
        | DialFault::CertificateUntrusted
        | DialFault::CertificateUnfit
        | DialFault::NoTls
        | DialFault::TlsFailed => (Cause::Tls, Confidence::High),
        DialFault::Redirected => (Cause::Redirect, Confidence::High),
        DialFault::RefusedOnTheWay
        | DialFault::Gateway
        | DialFault::NoWebsocket
        | DialFault::SpeaksTls
        | DialFault::NoHttp => (Cause::MiddleboxAnswer, Confidence::High),
        DialFault::Busy => (Cause::MiddleboxAnswer, Confidence::Medium),
        // No certificate was seen and no word was read: of what was there nothing else is known.
        DialFault::TlsTimeout | DialFault::Unanswered | DialFault::ClosedUnanswered => {
            (Cause::DialUnanswered, Confidence::Medium)
        }
        // A server of an earlier version says no more, also of a token that has run out or is of the wrong kind.
        DialFault::TokenRefused => (Cause::TokenRefused, Confidence::Medium),
        DialFault::TokenUnknown => (Cause::TokenRefused, Confidence::High),
        DialFault::TokenExpired => (Cause::TokenExpired, Confidence::High),
        DialFault::TokenWrongKind => (Cause::TokenWrongKind, Confidence::High),
        DialFault::SentAway => (Cause::TokenRevoked, Confidence::High),
        DialFault::ServerBusy => (Cause::ServerBusy, Confidence::High),
    }
}

/// Why a link ended, as this end has it.
fn of_end(judge: End, reason: CloseReason) -> Option<(Cause, Confidence)> {
    match reason.initiator {
        Initiator::Local => own_close(judge, reason.cause),
        Initiator::Peer => close_that_came(judge, reason.cause),
        Initiator::Link => broken(reason.cause),
    }
}

/// What an end that closed a link itself knows of it; `None` if it is no fault.
fn own_close(judge: End, close: CloseCause) -> Option<(Cause, Confidence)> {
    let sure = |cause| Some((cause, Confidence::High));
    let silent = Some((Cause::NetworkOneWayOrCut, Confidence::Medium));
    match (close, judge) {
        (
            CloseCause::ProtocolError
            | CloseCause::UnsupportedData
            | CloseCause::InvalidText
            | CloseCause::TooManyUndecodable
            | CloseCause::TooBig,
            _,
        ) => sure(Cause::ProtocolError),
        (CloseCause::Silent, _) => silent,
        (CloseCause::Broken(_), _) => broken(close),
        (CloseCause::GoingAway, End::Server) => sure(Cause::ServerRestarted),
        (CloseCause::NotReading, End::Server) => sure(Cause::SlowConsumer),
        (CloseCause::NotReading, End::Agent) => silent,
        (CloseCause::TokenExpired, End::Server) => sure(Cause::TokenExpired),
        (CloseCause::Revoked, End::Server) => sure(Cause::TokenRevoked),
        (CloseCause::Deleted, End::Server) => sure(Cause::AgentDeleted),
        (CloseCause::Contested | CloseCause::Replaced, End::Server) => sure(Cause::SecondInstance),
        (CloseCause::TryLater, End::Server) => sure(Cause::ServerBusy),
        (CloseCause::Internal, End::Server) => Some((Cause::ServerBusy, Confidence::Low)),
        (CloseCause::AgentStopped, End::Agent) => sure(Cause::AgentStopped),
        (CloseCause::ToldToStop | CloseCause::ToldToRestart, End::Agent) => {
            sure(Cause::AgentEndedByOrder)
        }
        (CloseCause::NoAnswer, End::Agent) => Some((Cause::DialUnanswered, Confidence::Medium)),
        (
            CloseCause::GoingAway
            | CloseCause::TokenExpired
            | CloseCause::Revoked
            | CloseCause::Deleted
            | CloseCause::Contested
            | CloseCause::Replaced
            | CloseCause::TryLater
            | CloseCause::Internal,
            End::Agent,
        )
        | (
            CloseCause::AgentStopped
            | CloseCause::ToldToStop
            | CloseCause::ToldToRestart
            | CloseCause::NoAnswer,
            End::Server,
        )
        | (
            CloseCause::Normal
            | CloseCause::Superseded
            | CloseCause::HelloTimeout
            | CloseCause::NoCode
            | CloseCause::Other(_),
            _,
        ) => None,
    }
}

/// What a close frame that came proves. Only the codes of applications are the peer's own: any other may be sent by
/// whatever speaks WebSocket on the way.
fn close_that_came(judge: End, close: CloseCause) -> Option<(Cause, Confidence)> {
    let sure = |cause| Some((cause, Confidence::High));
    match (close, judge) {
        // It came over the direction that works.
        (CloseCause::Silent, _) => Some((Cause::NetworkOneWay, Confidence::Medium)),
        (
            CloseCause::ProtocolError
            | CloseCause::UnsupportedData
            | CloseCause::InvalidText
            | CloseCause::TooManyUndecodable
            | CloseCause::TooBig,
            _,
        ) => Some((Cause::ProtocolError, Confidence::Medium)),
        (CloseCause::Broken(_), _) => broken(close),
        (CloseCause::AgentStopped, End::Server) => sure(Cause::AgentStopped),
        (CloseCause::ToldToStop | CloseCause::ToldToRestart, End::Server) => {
            sure(Cause::AgentEndedByOrder)
        }
        (CloseCause::NoAnswer, End::Server) => Some((Cause::DialUnanswered, Confidence::Low)),
        (CloseCause::NotReading, End::Server) => Some((Cause::NetworkOneWayOrCut, Confidence::Low)),
        // No agent of ours sends them.
        (
            CloseCause::Normal
            | CloseCause::GoingAway
            | CloseCause::Internal
            | CloseCause::TryLater
            | CloseCause::NoCode
            | CloseCause::Other(_),
            End::Server,
        ) => Some((Cause::ConnectionCut, Confidence::Medium)),
        (CloseCause::NotReading, End::Agent) => sure(Cause::SlowConsumer),
        (CloseCause::TokenExpired, End::Agent) => sure(Cause::TokenExpired),
        (CloseCause::Revoked, End::Agent) => sure(Cause::TokenRevoked),
        (CloseCause::Deleted, End::Agent) => sure(Cause::AgentDeleted),
        (CloseCause::Contested | CloseCause::Replaced, End::Agent) => sure(Cause::SecondInstance),
        (CloseCause::GoingAway, End::Agent) => Some((Cause::ServerRestarted, Confidence::Low)),
        (CloseCause::TryLater | CloseCause::Internal, End::Agent) => {
            Some((Cause::ServerBusy, Confidence::Low))
        }
        (CloseCause::Normal | CloseCause::NoCode | CloseCause::Other(_), End::Agent) => {
            Some((Cause::ConnectionCut, Confidence::Low))
        }
        (
            CloseCause::TokenExpired
            | CloseCause::Revoked
            | CloseCause::Deleted
            | CloseCause::Contested
            | CloseCause::Replaced,
            End::Server,
        )
        | (
            CloseCause::AgentStopped
            | CloseCause::ToldToStop
            | CloseCause::ToldToRestart
            | CloseCause::NoAnswer,
            End::Agent,
        )
        | (CloseCause::Superseded | CloseCause::HelloTimeout, _) => None,
    }
}

/// A link that neither end closed.
fn broken(close: CloseCause) -> Option<(Cause, Confidence)> {
    if close == CloseCause::Broken(Breakage::WriteStalled) {
        return Some((Cause::NetworkOneWayOrCut, Confidence::Medium));
    }
    Some((Cause::NetworkCut, Confidence::Low))
}
