//! From the words of the machines to the words of the facts, and from packets to inputs.

#![allow(clippy::wildcard_enum_match_arm, reason = "a cause names its own code")]

use super::host::span;
use crate::close::{CloseCause, CloseReason, Initiator};
use crate::id::{BeatSequence, Epoch};
use crate::lab::fact::{self, Ailment, DialOutcome, Down, End, EndedBy, Order, Up, Why};
use crate::liveness::Impairment;
use crate::model::Dialect;
use crate::session::{
    AgentInbound, AgentStatus, BeatOut, DialFailure, EndOrder, HelloRefusal, Presence,
    PresenceCause, PresenceStatus, ServerBeat, ServerConfig, ServerInbound, SessionTerms,
};

pub(super) fn end(reason: CloseReason) -> End {
    let by = match reason.initiator {
        Initiator::Local => EndedBy::Here,
        Initiator::Peer => EndedBy::There,
        Initiator::Link => EndedBy::Network,
    };
    let code = match reason.cause {
        CloseCause::Broken(_) | CloseCause::NoCode => None,
        cause => Some(cause.code().0),
    };
    End { by, code }
}

pub(super) fn outcome(failure: DialFailure) -> DialOutcome {
    match failure {
        DialFailure::Unreachable
        | DialFailure::TimedOut
        | DialFailure::NoToken
        | DialFailure::Tls
        | DialFailure::NotAServer(_) => DialOutcome::Failed,
        DialFailure::Unauthorized => DialOutcome::Unauthorised,
        DialFailure::Forbidden => DialOutcome::Forbidden,
        DialFailure::Busy { retry_after } => DialOutcome::Busy(retry_after.map(span)),
    }
}

pub(super) const fn agent_status(status: &AgentStatus) -> fact::AgentStatus {
    match status {
        AgentStatus::Idle => fact::AgentStatus::Idle,
        AgentStatus::Connecting { .. } => fact::AgentStatus::Connecting,
        AgentStatus::Joining => fact::AgentStatus::Joining,
        AgentStatus::Connected { .. } => fact::AgentStatus::Connected,
        AgentStatus::Stale { .. } => fact::AgentStatus::Stale,
        AgentStatus::TimedOut { .. } => fact::AgentStatus::TimedOut,
        AgentStatus::Reconnecting { .. } => fact::AgentStatus::Reconnecting,
        AgentStatus::Closed => fact::AgentStatus::Closed,
    }
}

pub(super) const fn status(status: PresenceStatus) -> fact::Status {
    match status {
        PresenceStatus::Connecting => fact::Status::Connecting,
        PresenceStatus::Online => fact::Status::Online,
        PresenceStatus::Stale => fact::Status::Stale,
        PresenceStatus::TimedOut => fact::Status::TimedOut,
        PresenceStatus::Reconnecting => fact::Status::Reconnecting,
        PresenceStatus::Offline => fact::Status::Offline,
        PresenceStatus::Error => fact::Status::Error,
    }
}

pub(super) const fn ailment(impairment: Impairment) -> Ailment {
    match impairment {
        Impairment::NotRecorded => Ailment::NotRecorded,
        Impairment::NotSeenByPeer => Ailment::NotSeen,
        Impairment::ProbeUnanswered => Ailment::ProbeUnanswered,
    }
}

pub(super) fn presence(shown: &Presence) -> fact::Presence {
    let why = match shown.because.cause {
        PresenceCause::HelloReceived => Why::Hello,
        PresenceCause::SessionOpened => Why::Opened,
        PresenceCause::TakenOver => Why::TakenOver,
        PresenceCause::ReplacedOther => Why::Replaced,
        PresenceCause::NotAdmitted(_) => Why::NotAdmitted,
        PresenceCause::Silence(silence) => Why::Silence(span(silence)),
        PresenceCause::HeardAgain => Why::HeardAgain,
        PresenceCause::LinkEnded(reason) => Why::LinkEnded(end(reason)),
        PresenceCause::AgentStopped => Why::Stopped,
        PresenceCause::EndOrdered(EndOrder::Stop) => Why::Ordered(Order::Stop),
        PresenceCause::EndOrdered(EndOrder::Restart) => Why::Ordered(Order::Restart),
        PresenceCause::ResumeWindowOver(_) => Why::WindowOver,
        PresenceCause::ServerRestarted => Why::ServerRestarted,
        PresenceCause::Evicted(_) => Why::Evicted,
        PresenceCause::Faulted => Why::Faulted,
    };
    fact::Presence {
        status: status(shown.status),
        since: shown.since.unix_millis(),
        why,
        ailment: shown.because.impairment.map(ailment),
        version: shown.version.0,
        epoch: shown.epoch.0,
    }
}

/// A heartbeat of the server as it leaves.
pub(super) fn beat_out(beat: &BeatOut) -> Down {
    Down::Beat {
        sequence: beat.sequence.0,
        seen: beat.seen.map_or(0, |seen| seen.sequence.0),
        recorded: beat.recorded.map_or(0, |(sequence, _)| sequence.0),
        lagging: beat.lag.is_some(),
    }
}

/// A frame of an agent as the server's machine takes it.
pub(super) fn inbound(up: Up) -> ServerInbound {
    match up {
        Up::Beat { sequence, seen } => {
            ServerInbound::Heartbeat { sequence: number(sequence), seen: number(seen) }
        }
        Up::Pong => ServerInbound::Pong,
        Up::Hello | Up::Other => ServerInbound::Other,
    }
}

/// A frame of the server as the agent's machine takes it.
pub(super) fn to_agent(down: Down, legacy: bool, rules: &ServerConfig) -> AgentInbound {
    match down {
        Down::Welcome(_) if legacy => AgentInbound::HelloAccepted(SessionTerms {
            dialect: Dialect::Legacy,
            epoch: Epoch(0),
            // Its own, but both are configured alike.
            timing: rules.timing,
            end_orders: false,
        }),
        Down::Welcome(epoch) => AgentInbound::HelloAccepted(SessionTerms {
            dialect: Dialect::Extended,
            epoch: Epoch(epoch),
            timing: rules.timing,
            end_orders: true,
        }),
        Down::Beat { sequence, seen, recorded, lagging } => AgentInbound::Heartbeat(ServerBeat {
            sequence: number(sequence),
            seen: number(seen),
            recorded: number(recorded),
            lagging,
        }),
        Down::Ping => AgentInbound::Ping { echo: None },
        Down::Refused => AgentInbound::HelloRefused(HelloRefusal::Other),
        Down::Other => AgentInbound::Other,
    }
}

fn number(sequence: u64) -> Option<BeatSequence> {
    (sequence > 0).then_some(BeatSequence(sequence))
}
