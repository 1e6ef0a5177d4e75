//! What one end finds by itself: the causes that machines report, as causes of faults.
//!
//! Each end says what it knows, and no more. What both together prove is in `verdict.rs`.

use crate::close::{Breakage, CloseCause, CloseReason, Initiator};
use crate::model::{Cause, Confidence, Evidence, Finding, PastFinding};
use crate::session::{AgentCause, DialFault, HelloRefusal, PresenceCause};
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
        AgentCause::HelloUnanswered => (Cause::ServerBusy, Confidence::Low),
        AgentCause::Silence(silence) => {
            lasted = *silence;
            (Cause::NetworkOneWayOrCut, Confidence::Medium)
        }
        AgentCause::LinkEnded(reason) => of_end(*reason)?,
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

/// Dials that one entry can stand for: a year of them, at the longest wait between two.
const MOST_DIALS: u32 = 1_000_000;

/// Which dials failed, and how often, by what an agent told; for counters, and for nothing that decides. Failures that
/// followed one another and have one cause are one entry, and count under the fault of the first.
pub fn failed_dials(told: &[PastFinding]) -> impl Iterator<Item = (DialFault, u32)> + '_ {
    told.iter().filter_map(|told| {
        let fault = DialFault::parse(told.finding.evidence.text("fault")?)?;
        // Who tells of a fault under another cause is no agent of ours.
        (of_dial(fault).0 == told.finding.cause).then(|| (fault, told.times.min(MOST_DIALS)))
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
        PresenceCause::Evicted(close) | PresenceCause::NotAdmitted(close) => of_close(*close),
        PresenceCause::LinkEnded(reason) => of_end(*reason),
        PresenceCause::HelloReceived
        | PresenceCause::SessionOpened
        | PresenceCause::TakenOver
        | PresenceCause::HeardAgain
        | PresenceCause::ResumeWindowOver(_)
        | PresenceCause::Faulted => None,
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
        DialFault::TlsTimeout => (Cause::Tls, Confidence::Low),
        DialFault::Redirected => (Cause::Redirect, Confidence::High),
        DialFault::RefusedOnTheWay
        | DialFault::Gateway
        | DialFault::NoWebsocket
        | DialFault::SpeaksTls
        | DialFault::NoHttp => (Cause::MiddleboxAnswer, Confidence::High),
        DialFault::Busy | DialFault::ClosedUnanswered => {
            (Cause::MiddleboxAnswer, Confidence::Medium)
        }
        DialFault::Unanswered => (Cause::ServerBusy, Confidence::Low),
        // A server of an earlier version says no more, also of a token that has run out or is of the wrong kind.
        DialFault::TokenRefused => (Cause::TokenRefused, Confidence::Medium),
        DialFault::TokenUnknown => (Cause::TokenRefused, Confidence::High),
        DialFault::TokenExpired => (Cause::TokenExpired, Confidence::High),
        DialFault::TokenWrongKind => (Cause::TokenWrongKind, Confidence::High),
        DialFault::SentAway => (Cause::TokenRevoked, Confidence::High),
        DialFault::ServerBusy => (Cause::ServerBusy, Confidence::High),
    }
}

/// Why a link ended, as either end has it.
fn of_end(reason: CloseReason) -> Option<(Cause, Confidence)> {
    match (reason.initiator, reason.cause) {
        // Its close came over the direction that works.
        (Initiator::Peer, CloseCause::Silent) => Some((Cause::NetworkOneWay, Confidence::Medium)),
        (Initiator::Local | Initiator::Peer | Initiator::Link, close) => of_close(close),
    }
}

/// The cause that a close code states, whichever end sent it; `None` if it states no fault.
fn of_close(close: CloseCause) -> Option<(Cause, Confidence)> {
    let sure = |cause| Some((cause, Confidence::High));
    match close {
        CloseCause::Normal | CloseCause::AgentStopped => sure(Cause::AgentStopped),
        CloseCause::ToldToStop | CloseCause::ToldToRestart => sure(Cause::AgentEndedByOrder),
        CloseCause::GoingAway => sure(Cause::ServerRestarted),
        CloseCause::ProtocolError
        | CloseCause::UnsupportedData
        | CloseCause::InvalidText
        | CloseCause::TooManyUndecodable
        | CloseCause::TooBig => sure(Cause::ProtocolError),
        CloseCause::NotReading => sure(Cause::SlowConsumer),
        CloseCause::TokenExpired => sure(Cause::TokenExpired),
        CloseCause::Revoked => sure(Cause::TokenRevoked),
        CloseCause::Deleted => sure(Cause::AgentDeleted),
        CloseCause::Contested | CloseCause::Replaced => sure(Cause::SecondInstance),
        CloseCause::TryLater => sure(Cause::ServerBusy),
        CloseCause::Internal | CloseCause::NoAnswer => Some((Cause::ServerBusy, Confidence::Low)),
        CloseCause::Silent | CloseCause::Broken(Breakage::WriteStalled) => {
            Some((Cause::NetworkOneWayOrCut, Confidence::Medium))
        }
        CloseCause::Broken(Breakage::EndOfStream | Breakage::Reset | Breakage::Io) => {
            Some((Cause::NetworkCut, Confidence::Low))
        }
        CloseCause::Superseded
        | CloseCause::HelloTimeout
        | CloseCause::NoCode
        | CloseCause::Other(_) => None,
    }
}
