//! What one end finds by itself: the words of the machines as causes.
//!
//! Each end says what it knows, and no more. What both together prove is in `verdict.rs`.

use crate::close::{Breakage, CloseCause, CloseReason, Initiator};
use crate::model::{Cause, Confidence, Evidence, Finding};
use crate::session::{AgentCause, DialFailure, HelloRefusal, PresenceCause};

/// What an agent finds when a link or a dial ended, from the word of its machine and the evidence of the edge.
/// `None` if the word tells of no fault.
#[must_use]
pub fn found_by_agent(word: &AgentCause, evidence: Evidence) -> Option<Finding> {
    let (cause, confidence) = match word {
        AgentCause::DialFailed(failure) => of_dial(*failure, &evidence),
        AgentCause::DialUnanswered => (Cause::NetworkCut, Confidence::Low),
        AgentCause::HelloRefused(HelloRefusal::Unauthorized) => of_token(&evidence),
        AgentCause::HelloRefused(HelloRefusal::Forbidden) => {
            (Cause::TokenRevoked, Confidence::High)
        }
        AgentCause::HelloRefused(HelloRefusal::Other) => (Cause::ServerBusy, Confidence::Medium),
        AgentCause::HelloUnanswered => (Cause::ServerBusy, Confidence::Low),
        AgentCause::Silence(_) => (Cause::NetworkOneWayOrCut, Confidence::Medium),
        AgentCause::LinkEnded(reason) => of_end(*reason)?,
        AgentCause::Slept(_) => (Cause::AgentSlept, Confidence::High),
        AgentCause::Stopped => (Cause::AgentStopped, Confidence::High),
        AgentCause::EndOrdered(_) => (Cause::AgentEndedByOrder, Confidence::High),
        AgentCause::Started
        | AgentCause::RetryDue
        | AgentCause::LinkOpened
        | AgentCause::HelloAccepted
        | AgentCause::HeardAgain
        | AgentCause::TokenRenewed => return None,
    };
    Some(Finding::new(cause, confidence).on(evidence))
}

/// What a server finds when a session ended, from the word of its machine. `None` if the word tells of no fault.
pub(super) fn found_by_server(word: &PresenceCause) -> Option<(Cause, Confidence)> {
    match word {
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

/// Why a dial failed. The failure says what to do next, the evidence what it was: `stage`, `errno`, `fault` and
/// `token` are read.
fn of_dial(failure: DialFailure, evidence: &Evidence) -> (Cause, Confidence) {
    match failure {
        DialFailure::Unreachable | DialFailure::TimedOut => of_connect(evidence),
        DialFailure::NoToken => (Cause::TokenMissing, Confidence::High),
        // By a clock that is wrong, a good certificate has run out.
        DialFailure::Tls => match evidence.text("fault") {
            Some("expired" | "not-yet-valid") => (Cause::Tls, Confidence::Medium),
            Some(_) | None => (Cause::Tls, Confidence::High),
        },
        DialFailure::NotAServer(407) => (Cause::Proxy, Confidence::High),
        DialFailure::NotAServer(300..=399) => (Cause::Redirect, Confidence::High),
        DialFailure::NotAServer(_) => match evidence.text("stage") {
            Some("proxy") => (Cause::Proxy, Confidence::High),
            Some(_) | None => (Cause::MiddleboxAnswer, Confidence::High),
        },
        DialFailure::Unauthorized => of_token(evidence),
        DialFailure::Forbidden => (Cause::TokenRevoked, Confidence::High),
        DialFailure::Busy { .. } => (Cause::ServerBusy, Confidence::High),
    }
}

/// Why no connection came about, by the stage that failed and the error of the operating system.
fn of_connect(evidence: &Evidence) -> (Cause, Confidence) {
    match (evidence.text("stage"), evidence.text("errno")) {
        (_, Some("EMFILE" | "ENFILE")) => (Cause::HostOutOfDescriptors, Confidence::High),
        (Some("resolve"), _) => (Cause::NameResolution, Confidence::High),
        (Some("proxy"), _) => (Cause::Proxy, Confidence::High),
        (_, Some("ECONNREFUSED")) => (Cause::ConnectionRefused, Confidence::High),
        (_, Some("ENETUNREACH" | "EHOSTUNREACH" | "ENETDOWN")) => {
            (Cause::NoRoute, Confidence::High)
        }
        // Not answered, or the edge says nothing.
        (Some(_) | None, Some(_) | None) => (Cause::NetworkCut, Confidence::Low),
    }
}

/// What is wrong with a token that a server refused, as far as it says.
fn of_token(evidence: &Evidence) -> (Cause, Confidence) {
    match evidence.text("token") {
        Some("expired") => (Cause::TokenExpired, Confidence::High),
        Some("revoked") => (Cause::TokenRevoked, Confidence::High),
        Some("wrong-kind") => (Cause::TokenWrongKind, Confidence::High),
        Some(_) | None => (Cause::TokenRefused, Confidence::Medium),
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
