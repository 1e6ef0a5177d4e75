//! What both sides of a world share: true time and what is due in it, the network, and who is told what happens.

use super::MILLI;
use super::codec::Codec;
use super::coverage::Coverage;
use super::failure::Failure;
use super::host::Host;
use super::network::Network;
use super::queue::{Queue, What};
use super::wire::Packet;
use crate::close::CloseCause;
use crate::lab::fact::{self, Fact, When, Witness};

/// The environment of a world's processes.
#[derive(Debug)]
pub(super) struct Env<W> {
    pub(super) witness: W,
    pub(super) now: u64,
    pub(super) queue: Queue,
    pub(super) net: Network,
    /// If every message is written and read.
    pub(super) codec: Option<Codec>,
    /// How long an agent waits for a dial, in nanoseconds.
    pub(super) dial_timeout: u64,
    pub(super) coverage: Coverage,
    pub(super) beats: u64,
    pub(super) steps: u64,
    pub(super) failure: Option<Failure>,
}

/// A wire as facts name it.
pub(super) const fn wire_id(wire: u32) -> fact::Wire {
    fact::Wire(wire as u64)
}

impl<W> Env<W> {
    /// The first failure counts: what follows may come of it.
    pub(super) fn fail(&mut self, failure: Failure) {
        self.failure = self.failure.or(Some(failure));
    }

    pub(super) const fn when(&self) -> When {
        When { world: self.now, local: self.now, wall: (self.now / MILLI) as i64 }
    }

    /// Sends a packet to an agent's end, if a wire leads there.
    pub(super) fn send_down(&mut self, wire: u32, packet: Packet) {
        if let Some(at) = self.net.down(self.now, wire, packet) {
            self.queue.push(at, What::ToAgent(wire));
        }
    }

    /// Sends a packet to the server's end, if a wire leads there.
    pub(super) fn send_up(&mut self, wire: u32, packet: Packet) {
        if let Some(at) = self.net.up(self.now, wire, packet) {
            self.queue.push(at, What::ToServer(wire));
        }
    }

    /// An end learns this from its own operating system, at once or later.
    pub(super) fn tell_agent_end(&mut self, wire: u32, at: u64, packet: Packet) {
        let at = self.net.wires[wire as usize].to_agent.push_here(at, packet);
        self.queue.push(at, What::ToAgent(wire));
    }

    /// The same of the server's end.
    pub(super) fn tell_server_end(&mut self, wire: u32, at: u64, packet: Packet) {
        let at = self.net.wires[wire as usize].to_server.push_here(at, packet);
        self.queue.push(at, What::ToServer(wire));
    }

    /// Closes the server's end: a close frame goes out, and nothing is heard of the wire any more
    /// but that it is over.
    pub(super) fn close_at_server(&mut self, wire: u32, cause: CloseCause) {
        let Some(wait) = self.net.close_at_server(wire, cause) else { return };
        let code = cause.code().0;
        self.tell_server_end(wire, self.now + wait, Packet::Ended(code));
        self.send_down(wire, Packet::Close(code));
    }
}

impl<W: Witness> Env<W> {
    /// Something happened on this host.
    pub(super) fn say(&mut self, host: &Host, fact: &Fact) {
        self.witness.witness(host.when(self.now), fact);
    }

    /// Something happened between the hosts.
    pub(super) fn say_world(&mut self, fact: &Fact) {
        let when = self.when();
        self.witness.witness(when, fact);
    }
}
