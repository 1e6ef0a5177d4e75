//! What becomes of dials that do not get to the server: something else answers, or nothing does.

use super::env::Env;
use super::fault::{Fault, FaultKind};
use super::wire::{Packet, ServerEnd};
use super::{MILLI, SECOND};
use crate::lab::fact::Up;
use crate::session::{DialFailure, HelloRefusal};
use core::time::Duration;

impl<W> Env<W> {
    /// What comes of a dial that does not get to the server, if a fault decides it.
    pub(super) fn misdirect(&mut self, wire: u32, agent: u32) -> bool {
        use FaultKind as K;
        let Some((_, fault)) = self.net.weather(agent).dials else { return false };
        let Fault { kind, code, .. } = fault;
        let patience = self.dial_timeout;
        let entry = &mut self.net.wires[wire as usize];
        let failure = match kind {
            K::DialTimedOut => DialFailure::TimedOut,
            K::DialTls => DialFailure::Tls,
            K::DialNotAServer => DialFailure::NotAServer(code % 600),
            K::DialUnauthorized => DialFailure::Unauthorized,
            K::DialForbidden => DialFailure::Forbidden,
            K::DialBusy => DialFailure::Busy { retry_after: None },
            K::DialRetryAfter => {
                let wait = Duration::from_secs(u64::from(code) % 100);
                DialFailure::Busy { retry_after: Some(wait) }
            }
            K::DialHangs => return true,
            K::DialLate => {
                entry.late = true;
                entry.server_end = ServerEnd::Stub;
                self.tell_agent_end(wire, self.now + patience + SECOND, Packet::Opened);
                return true;
            }
            K::AcceptThenClose
            | K::HelloUnanswered
            | K::HelloUnauthorized
            | K::HelloForbidden
            | K::HelloRefused => {
                entry.server_end = ServerEnd::Stub;
                self.send_down(wire, Packet::Opened);
                if kind == K::AcceptThenClose {
                    self.send_down(wire, Packet::Close(code));
                }
                return true;
            }
            K::DialUnreachable => DialFailure::Unreachable,
            // Not of dials; `dials` names none of them.
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
            | K::StoreFailsAfterCommit => return false,
        };
        let wait = if kind == K::DialTimedOut { patience / 2 } else { MILLI };
        self.tell_agent_end(wire, self.now + wait, Packet::DialFailed(failure));
        true
    }

    /// Something that is not the server gets a frame.
    pub(super) fn answer_from_stub(&mut self, wire: u32, frame: Up) {
        use FaultKind as K;
        let agent = self.net.wires[wire as usize].agent;
        let Some((_, fault)) = self.net.weather(agent).dials.filter(|_| frame == Up::Hello) else {
            return;
        };
        let refusal = match fault.kind {
            K::HelloUnauthorized => HelloRefusal::Unauthorized,
            K::HelloForbidden => HelloRefusal::Forbidden,
            K::HelloRefused => HelloRefusal::Other,
            K::StallUp
            | K::StallDown
            | K::Freeze
            | K::Partition
            | K::Lag
            | K::Cut
            | K::CutAgentLater
            | K::CutServerLater
            | K::CutUnnoticed
            | K::DialUnreachable
            | K::DialTimedOut
            | K::DialTls
            | K::DialNotAServer
            | K::DialUnauthorized
            | K::DialForbidden
            | K::DialBusy
            | K::DialRetryAfter
            | K::DialHangs
            | K::DialLate
            | K::AcceptThenClose
            | K::HelloUnanswered
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
            | K::StoreFailsAfterCommit => return,
        };
        self.send_down(wire, Packet::Refused(refusal));
    }
}
