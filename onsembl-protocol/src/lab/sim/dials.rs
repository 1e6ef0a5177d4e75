//! What becomes of dials that do not get to the server: something else answers, or nothing does.

use super::env::Env;
use super::fault::{Fault, FaultKind};
use super::wire::{Packet, ServerEnd};
use super::{MILLI, SECOND};
use crate::lab::fact::Up;
use crate::session::{DialFailure, HelloRefusal};
use core::time::Duration;

/// What a dial meets instead of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    Failure(DialFailure),
    /// Nothing answers.
    Nothing,
    /// The link opens when the agent has given up.
    LateLink,
    /// The link is closed with this code once it is open.
    ClosingLink(u16),
    /// A hello is not answered.
    SilentLink,
    /// A hello is refused.
    RefusingLink(HelloRefusal),
}

impl Met {
    /// None of a fault that is none of dials.
    fn by(fault: Fault) -> Option<Self> {
        use FaultKind as K;
        Some(match fault.kind {
            K::DialUnreachable => Self::Failure(DialFailure::Unreachable),
            K::DialTimedOut => Self::Failure(DialFailure::TimedOut),
            K::DialTls => Self::Failure(DialFailure::Tls),
            K::DialNotAServer => Self::Failure(DialFailure::NotAServer(fault.code % 600)),
            K::DialUnauthorized => Self::Failure(DialFailure::Unauthorized),
            K::DialForbidden => Self::Failure(DialFailure::Forbidden),
            K::DialBusy => Self::Failure(DialFailure::Busy { retry_after: None }),
            K::DialRetryAfter => {
                let wait = Duration::from_secs(u64::from(fault.code) % 100);
                Self::Failure(DialFailure::Busy { retry_after: Some(wait) })
            }
            K::DialHangs => Self::Nothing,
            K::DialLate => Self::LateLink,
            K::AcceptThenClose => Self::ClosingLink(fault.code),
            K::HelloUnanswered => Self::SilentLink,
            K::HelloUnauthorized => Self::RefusingLink(HelloRefusal::Unauthorized),
            K::HelloForbidden => Self::RefusingLink(HelloRefusal::Forbidden),
            K::HelloRefused => Self::RefusingLink(HelloRefusal::Other),
            K::StallUp
            | K::StallDown
            | K::Freeze
            | K::Partition
            | K::Lag
            | K::Cut
            | K::CutAgentLater
            | K::CutServerLater
            | K::CutUnnoticed
            | K::Suspend
            | K::WallAhead
            | K::WallBack
            | K::Wobble
            | K::AgentCrash
            | K::AgentStop
            | K::AgentStall
            | K::SecondCopy
            | K::AgentFault
            | K::Mute
            | K::Chatter
            | K::ServerCrash
            | K::ServerPowerLoss
            | K::ServerStop
            | K::ServerStall
            | K::ServerSuspend
            | K::ServerWallAhead
            | K::ServerWallBack
            | K::ServerWobble
            | K::CloseAll
            | K::CloseOne
            | K::Evict
            | K::OtherToken
            | K::StoreSlow
            | K::StoreBusy
            | K::StoreStuck
            | K::StoreFails
            | K::StoreFailsAfterCommit => return None,
        })
    }
}

impl<W> Env<W> {
    /// What comes of a dial that does not get to the server, if a fault decides it.
    pub(super) fn misdirect(&mut self, wire: u32, agent: u32) -> bool {
        let Some((_, fault)) = self.net.weather(agent).dials else { return false };
        let Some(met) = Met::by(fault) else { return false };
        let patience = self.dial_timeout;
        let entry = &mut self.net.wires[wire as usize];
        match met {
            Met::Failure(failure) => {
                let is_late = failure == DialFailure::TimedOut;
                let wait = if is_late { patience / 2 } else { MILLI };
                self.tell_agent_end(wire, self.now + wait, Packet::DialFailed(failure));
            }
            Met::Nothing => {}
            Met::LateLink => {
                entry.late = true;
                entry.server_end = ServerEnd::Stub;
                self.tell_agent_end(wire, self.now + patience + SECOND, Packet::Opened);
            }
            Met::ClosingLink(_) | Met::SilentLink | Met::RefusingLink(_) => {
                entry.server_end = ServerEnd::Stub;
                self.send_down(wire, Packet::Opened);
            }
        }
        if let Met::ClosingLink(code) = met {
            self.send_down(wire, Packet::Close(code));
        }
        true
    }

    /// Something that is not the server gets a frame.
    pub(super) fn answer_from_stub(&mut self, wire: u32, frame: Up) {
        let agent = self.net.wires[wire as usize].agent;
        let fault = self.net.weather(agent).dials.filter(|_| frame == Up::Hello);
        if let Some(Met::RefusingLink(refusal)) = fault.and_then(|(_, fault)| Met::by(fault)) {
            self.send_down(wire, Packet::Refused(refusal));
        }
    }
}
