//! Wires: two inboxes in order, that can be slow, stalled or cut.

use crate::lab::fact::{Down, Up};
use crate::session::{DialFailure, HelloRefusal};
use alloc::collections::VecDeque;

/// What travels, or what an end of a wire learns from its own operating system.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Packet {
    /// A frame of an agent.
    Up(Up),
    /// A native ping of an agent; the server's transport answers it.
    Probe,
    /// An agent says that it cannot continue.
    Fault,
    /// A frame of the server.
    Down(Down),
    /// The refusal of a hello.
    Refused(HelloRefusal),
    Opened,
    DialFailed(DialFailure),
    /// The other end closed with this code.
    Close(u16),
    /// The network ended the wire.
    Broken,
    /// This end closed with this code, and now it is over.
    Ended(u16),
}

/// How far an agent's end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AgentEnd {
    Dialling,
    Open,
    Closed,
}

/// How far the server's end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerEnd {
    /// It does not know of it.
    None,
    /// Something else than the server is there.
    Stub,
    /// The hello is owed.
    Greeting,
    /// The hello was given to a machine.
    Joining,
    Live,
    /// The server closed it and waits for the end.
    Closing,
    Closed,
}

impl ServerEnd {
    /// Whether the server's process gets what comes over the wire.
    pub(super) const fn hears(self) -> bool {
        match self {
            Self::Greeting | Self::Joining | Self::Live => true,
            Self::None | Self::Stub | Self::Closing | Self::Closed => false,
        }
    }
}

/// Packets on their way to one end, each with the time of its arrival.
#[derive(Clone, Debug, Default)]
pub(super) struct Inbox {
    packets: VecDeque<(u64, Packet)>,
    latest: u64,
    /// Faults that stall this direction.
    pub(super) stalls: u32,
}

impl Inbox {
    /// Sends a packet that would arrive at `at` if nothing were before it; when it does arrive.
    pub(super) fn push(&mut self, at: u64, packet: Packet) -> u64 {
        self.latest = self.latest.max(at);
        self.packets.push_back((self.latest, packet));
        self.latest
    }

    /// What this end's own operating system says: no network delays it.
    pub(super) fn push_here(&mut self, at: u64, packet: Packet) -> u64 {
        self.packets.push_back((at, packet));
        at
    }

    /// What has arrived by `now`.
    pub(super) fn pop(&mut self, now: u64) -> Option<Packet> {
        let stalls = self.stalls;
        let (_, packet) = self.packets.pop_front_if(|(at, packet)| {
            *at <= now && (stalls == 0 || matches!(packet, Packet::Ended(_)))
        })?;
        Some(packet)
    }

    pub(super) fn clear(&mut self) {
        self.packets.clear();
    }

    /// Drops what the network had; what this end's own system says stays.
    pub(super) fn clear_but_own(&mut self) {
        self.packets.retain(|(_, packet)| matches!(packet, Packet::Ended(_) | Packet::Broken));
    }
}

/// One dialled connection.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    pub(super) process: u32,
    pub(super) agent: u32,
    /// The number by which the agent's machine knows it.
    pub(super) link: u64,
    pub(super) latency: u64,
    pub(super) agent_end: AgentEnd,
    pub(super) server_end: ServerEnd,
    pub(super) to_agent: Inbox,
    pub(super) to_server: Inbox,
    pub(super) cut: bool,
    /// The dial succeeds even after the agent gave it up.
    pub(super) late: bool,
}

impl Wire {
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.agent_end, AgentEnd::Closed)
            && matches!(self.server_end, ServerEnd::None | ServerEnd::Stub | ServerEnd::Closed)
    }
}
