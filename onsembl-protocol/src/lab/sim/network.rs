//! The network: the wires, and what each agent's way to the server is like now.

use super::fault::Fault;
use super::random::Random;
use super::wire::{AgentEnd, Packet, ServerEnd, Wire};
use crate::close::CloseCause;
use alloc::vec::Vec;

/// What an agent's surroundings are like now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    pub(super) lag: u32,
    pub(super) partitions: u32,
    pub(super) mute: u32,
    /// The fault that decides what comes of dials, with its number.
    pub(super) dials: Option<(u32, Fault)>,
}

/// One agent's way to the server.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) weather: Weather,
    /// The random numbers of all that concerns this agent, so that another one's story stays as it is.
    pub(super) random: Random,
}

impl Way {
    pub(super) fn new(random: Random) -> Self {
        Self { weather: Weather::default(), random }
    }

    /// How long a packet takes now.
    fn latency(&mut self, base: u64) -> u64 {
        let jitter = self.random.below(base / 2 + 1);
        let lag = if self.weather.lag > 0 { self.random.seconds(1, 6) } else { 0 };
        base + jitter + lag
    }
}

/// All wires there ever were, and the way of each agent.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) wires: Vec<Wire>,
    pub(super) ways: Vec<Way>,
}

impl Network {
    pub(super) const fn new(ways: Vec<Way>) -> Self {
        Self { wires: Vec::new(), ways }
    }

    pub(super) fn weather(&mut self, agent: u32) -> &mut Weather {
        &mut self.ways[agent as usize].weather
    }

    pub(super) fn random(&mut self, agent: u32) -> &mut Random {
        &mut self.ways[agent as usize].random
    }

    /// A wire that is dialled. Gives its number.
    pub(super) fn dial(&mut self, wire: Wire) -> u32 {
        self.wires.push(wire);
        self.wires.len() as u32 - 1
    }

    /// Sends a packet to an agent's end; when it arrives, if a wire leads there.
    pub(super) fn down(&mut self, now: u64, wire: u32, packet: Packet) -> Option<u64> {
        let entry = &mut self.wires[wire as usize];
        if entry.cut || entry.agent_end == AgentEnd::Closed {
            return None;
        }
        let latency = self.ways[entry.agent as usize].latency(entry.latency);
        Some(entry.to_agent.push(now + latency, packet))
    }

    /// The same to the server's end.
    pub(super) fn up(&mut self, now: u64, wire: u32, packet: Packet) -> Option<u64> {
        let entry = &mut self.wires[wire as usize];
        if !entry.server_end.hears() || entry.cut {
            return None;
        }
        let latency = self.ways[entry.agent as usize].latency(entry.latency);
        Some(entry.to_server.push(now + latency, packet))
    }

    /// The server closes its end, if that is open. Gives how long until it learns that the wire is over.
    pub(super) fn close_at_server(&mut self, wire: u32, cause: CloseCause) -> Option<u64> {
        let entry = &mut self.wires[wire as usize];
        if !entry.server_end.hears() {
            return None;
        }
        entry.server_end = ServerEnd::Closing;
        entry.to_server.clear();
        Some(if cause == CloseCause::Silent { 0 } else { 2 * entry.latency })
    }

    /// The wires that the server's process has.
    pub(super) fn open_wires(&self) -> Vec<u32> {
        let is_open = |end: ServerEnd| end.hears() || end == ServerEnd::Closing;
        let numbered = self.wires.iter().zip(0..);
        numbered.filter(|(wire, _)| is_open(wire.server_end)).map(|(_, number)| number).collect()
    }
}
