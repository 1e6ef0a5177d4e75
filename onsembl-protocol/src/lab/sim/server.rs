//! The server's process: what comes over its wires, its timer, its start and its end.

use super::agents::Running;
use super::host::{self, Host};
use super::queue::What;
use super::translate;
use super::wire::{Packet, ServerEnd};
use super::world::{Failure, World};
use crate::close::{Breakage, CloseCause, CloseCode, CloseReason};
use crate::id::{Epoch, LinkId, PresenceVersion};
use crate::lab::fact::{Agent, Fact, HowEnded, Installed, Process, Up, Witness};
use crate::model::Dialect;
use crate::session::{
    Claimant, Greeting, GreetingEvent, GreetingVerdict, ServerAction, ServerConfig,
    ServerConnection, ServerEvent,
};
use crate::step::Actions;
use crate::supervisor::{Key, Supervisor};
use crate::time::{Deadline, Now};
use alloc::vec::Vec;

/// Machines woken in one go; small, so that sweeps with more due happen.
const SWEEP: usize = 4;

/// What the server's process holds of one agent.
#[derive(Clone, Debug, Default)]
pub(super) struct Live {
    pub(super) key: Option<Key>,
    /// The store has said which agent it is.
    pub(super) bound: bool,
    /// The process of the session, unless it is a legacy one.
    pub(super) instance: Option<u32>,
    pub(super) claimed: Option<Claim>,
    pub(super) version: u64,
    pub(super) epoch: u64,
}

/// The id that a hello claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// What the server taught.
    Taught,
    /// What this process made up.
    Own(u32),
}

/// The server's process and host.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) host: Host,
    pub(super) running: bool,
    pub(super) stalls: u32,
    pub(super) supervisor: Supervisor<ServerConnection>,
    pub(super) live: Vec<Live>,
    pub(super) waiting_dials: Vec<u32>,
    /// By key.
    agents: Vec<(Key, u32)>,
    greeting: Vec<(u32, Greeting)>,
    armed: u64,
    woken: Vec<(Key, Actions<ServerAction>)>,
}

impl Server {
    pub(super) fn new(rules: ServerConfig, host: Host, agents: usize) -> Self {
        Self {
            host,
            running: false,
            stalls: 0,
            supervisor: Supervisor::new(rules),
            live: alloc::vec![Live::default(); agents],
            waiting_dials: Vec::new(),
            agents: Vec::new(),
            greeting: Vec::new(),
            armed: u64::MAX,
            woken: Vec::new(),
        }
    }

    pub(super) fn is_away(&self) -> bool {
        self.stalls > 0 || self.host.is_suspended()
    }

    pub(super) fn is_executed(&self) -> bool {
        self.running && !self.is_away()
    }

    fn deadline_of(&self, key: Key) -> Deadline {
        self.supervisor.deadline(key).unwrap_or_default()
    }

    fn next_wake(&self) -> Deadline {
        let greeting = self.greeting.first().map_or(Deadline::Never, |(_, g)| g.deadline());
        self.supervisor.next_wake().min(greeting)
    }

    fn agent_of(&self, key: Key) -> Option<u32> {
        let at = self.agents.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        Some(self.agents[at].1)
    }

    pub(super) fn seat(&mut self, agent: u32, machine: ServerConnection) {
        let key = self.supervisor.insert(machine);
        let at = self.agents.partition_point(|(other, _)| *other < key);
        self.agents.insert(at, (key, agent));
        self.live[agent as usize].key = Some(key);
    }

    pub(super) fn unseat(&mut self, agent: u32) {
        let live = &mut self.live[agent as usize];
        let Some(key) = live.key.take() else { return };
        let Live { version, epoch, bound, .. } = *live;
        *live = Live { version, epoch, bound, ..Live::default() };
        let _ = self.supervisor.remove(key);
        self.agents.retain(|(other, _)| *other != key);
    }
}

impl<W: Witness> World<W> {
    pub(super) fn start_server(&mut self) {
        if self.server.running {
            return;
        }
        self.server.running = true;
        self.say_server(&Fact::ServerStarted);
        for agent in 0..self.agents.len() as u32 {
            let row = self.store.rows[agent as usize];
            let live = &mut self.server.live[agent as usize];
            let version = PresenceVersion(row.version).after_restart();
            live.version = version.0;
            self.store.rows[agent as usize].version = version.0;
            live.epoch = row.epoch;
            live.bound = row.known;
            if !row.known || row.offline {
                continue;
            }
            live.instance = row.process.filter(|p| !self.processes[*p as usize].legacy);
            let now = self.server.host.sample(self.now);
            let epoch = Epoch(row.epoch);
            let (machine, step) =
                ServerConnection::recovered(self.server_rules, version, epoch, now);
            self.server.seat(agent, machine);
            self.shown[agent as usize] = crate::lab::fact::Status::Offline;
            let installed = Installed::Recovered { version: version.0, epoch: row.epoch };
            self.say_server(&Fact::Installed(Agent(agent), installed));
            self.perform(agent, step.actions);
            self.served(agent);
            if self.store.trouble.is_some() {
                self.say_server(&Fact::StoreTold(Agent(agent), true));
                self.feed_server(agent, ServerEvent::Store(self.store.trouble));
            }
        }
    }

    /// The process ends; its links end with it, as far as the agents are told.
    pub(super) fn end_server(&mut self, how: HowEnded, told: bool) {
        if !self.server.running {
            return;
        }
        let in_order = how == HowEnded::InOrder && !self.server.is_away();
        let open: Vec<u32> = self.open_wires();
        for wire in open {
            if in_order {
                self.close_at_server(wire, CloseCause::GoingAway);
                let agent = self.wires[wire as usize].agent;
                self.lose_at_server(agent, wire, CloseReason::local(CloseCause::GoingAway));
            } else if told {
                self.send_down(wire, Packet::Broken);
            }
            let wire = &mut self.wires[wire as usize];
            wire.server_end = ServerEnd::Closed;
            wire.cut |= !in_order;
            wire.to_server.clear();
        }
        self.drop_writes(in_order);
        for wire in core::mem::take(&mut self.server.waiting_dials) {
            self.send_down(wire, Packet::DialFailed(crate::session::DialFailure::Unreachable));
        }
        self.say_server(&Fact::ServerEnded(if in_order { how } else { HowEnded::Killed }));
        let server = &mut self.server;
        server.running = false;
        server.supervisor = Supervisor::new(self.server_rules);
        server.live.fill(Live::default());
        server.agents.clear();
        server.greeting.clear();
        server.armed = u64::MAX;
    }

    pub(super) fn open_wires(&self) -> Vec<u32> {
        let is_open = |end| {
            matches!(
                end,
                ServerEnd::Greeting | ServerEnd::Joining | ServerEnd::Live | ServerEnd::Closing
            )
        };
        let numbered = self.wires.iter().zip(0..);
        numbered.filter(|(wire, _)| is_open(wire.server_end)).map(|(_, number)| number).collect()
    }

    /// A dial got here.
    pub(super) fn accept(&mut self, wire: u32) {
        if !self.server.running {
            return self
                .send_down(wire, Packet::DialFailed(crate::session::DialFailure::Unreachable));
        }
        if self.server.is_away() {
            return self.server.waiting_dials.push(wire);
        }
        let now = self.server.host.sample(self.now);
        self.wires[wire as usize].server_end = ServerEnd::Greeting;
        self.server.greeting.push((wire, Greeting::new(now)));
        self.send_down(wire, Packet::Opened);
        self.arm_server();
    }

    /// Hands over all that has arrived over a wire.
    pub(super) fn on_to_server(&mut self, wire: u32) {
        while self.server.is_executed()
            && let Some(packet) = self.wires[wire as usize].to_server.pop(self.now)
        {
            self.receive_at_server(wire, packet);
        }
    }

    fn receive_at_server(&mut self, wire: u32, packet: Packet) {
        let Wire { agent, process, stage } = self.look(wire);
        let Some(packet) = self.read_at_server(process, packet) else {
            return self.fail(Failure::CodecMismatch { agent });
        };
        match packet {
            Packet::Up(Up::Hello) if stage == ServerEnd::Greeting => self.hello(wire),
            Packet::Up(up) => self.heard_at_server(agent, wire, stage, up),
            Packet::Probe => {
                self.heard_at_server(agent, wire, stage, Up::Other);
                self.send_down(wire, Packet::Down(crate::lab::fact::Down::Other));
            }
            Packet::Fault => {
                self.heard_at_server(agent, wire, stage, Up::Other);
                if stage == ServerEnd::Live {
                    self.say_server(&Fact::FaultReported(
                        Agent(agent),
                        crate::lab::fact::Wire(wire.into()),
                    ));
                    self.feed_server(agent, ServerEvent::Faulted(link(wire)));
                }
            }
            Packet::Close(code) => {
                let reason = CloseReason::peer(code_of(code));
                self.lose_at_server(agent, wire, reason);
            }
            Packet::Broken => {
                self.lose_at_server(agent, wire, CloseReason::broken(Breakage::Reset));
            }
            Packet::Ended(code) => {
                let cause = CloseCause::from_code(CloseCode(code));
                self.lose_at_server(agent, wire, CloseReason::local(cause));
            }
            Packet::Down(_) | Packet::Refused(_) | Packet::Opened | Packet::DialFailed(_) => {
                self.fail(Failure::Confused { process });
            }
        }
    }

    fn read_at_server(&self, process: u32, packet: Packet) -> Option<Packet> {
        match (&self.codec, packet) {
            (Some(codec), Packet::Up(frame)) => {
                let Running { agent, legacy, instance, .. } = &self.processes[process as usize];
                let wall = self.agents[*agent as usize].host.wall(self.now);
                codec.up(frame, *legacy, instance, wall).map(Packet::Up)
            }
            (_, packet) => Some(packet),
        }
    }

    fn heard_at_server(&mut self, agent: u32, wire: u32, stage: ServerEnd, up: Up) {
        match stage {
            ServerEnd::Live => {
                self.say_server(&Fact::ServerHeard(
                    Agent(agent),
                    crate::lab::fact::Wire(wire.into()),
                    up,
                ));
                self.feed_server(agent, ServerEvent::Received(link(wire), translate::inbound(up)));
            }
            ServerEnd::Greeting => {
                let now = self.server.host.sample(self.now);
                self.greet(wire, GreetingEvent::Other, now);
            }
            ServerEnd::None
            | ServerEnd::Stub
            | ServerEnd::Joining
            | ServerEnd::Closing
            | ServerEnd::Closed => {}
        }
    }

    fn greet(&mut self, wire: u32, event: GreetingEvent, now: Now) {
        let Some((_, greeting)) = self.server.greeting.iter_mut().find(|(w, _)| *w == wire) else {
            return;
        };
        match greeting.handle(event, now) {
            GreetingVerdict::Wait | GreetingVerdict::Identify => {}
            GreetingVerdict::Close(cause) => {
                self.server.greeting.retain(|(w, _)| *w != wire);
                self.close_at_server(wire, cause);
            }
        }
    }

    /// A hello: which machine it is for, and whose link this is.
    fn hello(&mut self, wire: u32) {
        self.server.greeting.retain(|(w, _)| *w != wire);
        self.wires[wire as usize].server_end = ServerEnd::Joining;
        let Wire { agent, process, .. } = self.look(wire);
        let dialect = match self.processes[process as usize].legacy {
            true => Dialect::Legacy,
            false => Dialect::Extended,
        };
        let claimant = if self.server.live[agent as usize].key.is_some() {
            self.judge(agent, process)
        } else {
            let now = self.server.host.sample(self.now);
            let live = &self.server.live[agent as usize];
            let (version, epoch) = (live.version, live.epoch);
            let machine = ServerConnection::new(
                self.server_rules,
                PresenceVersion(version),
                Epoch(epoch),
                now,
            );
            self.server.seat(agent, machine);
            self.shown[agent as usize] = crate::lab::fact::Status::Offline;
            let installed = Installed::Fresh { version, epoch };
            self.say_server(&Fact::Installed(Agent(agent), installed));
            Claimant::SameProcess
        };
        let fact =
            Fact::Joined(Agent(agent), crate::lab::fact::Wire(wire.into()), Process(process));
        self.say_server(&fact);
        self.feed_server(agent, ServerEvent::Joined { link: link(wire), dialect, claimant });
    }

    fn judge(&self, agent: u32, process: u32) -> Claimant {
        let live = &self.server.live[agent as usize];
        let claims = &self.processes[process as usize];
        let held = live.instance.map(|p| &self.processes[p as usize].instance);
        let claimed = (!claims.legacy).then_some(&claims.instance);
        let claim = self.claim_of(process);
        let same_id = live.claimed == Some(claim) || (live.bound && claim == Claim::Taught);
        Claimant::judge(held, claimed, same_id)
    }

    pub(super) fn claim_of(&self, process: u32) -> Claim {
        if self.processes[process as usize].taught { Claim::Taught } else { Claim::Own(process) }
    }

    pub(super) fn lose_at_server(&mut self, agent: u32, wire: u32, reason: CloseReason) {
        self.server.greeting.retain(|(w, _)| *w != wire);
        let entry = &mut self.wires[wire as usize];
        let had_machine = entry.joined;
        entry.joined = false;
        entry.server_end = ServerEnd::Closed;
        entry.to_server.clear();
        if had_machine && self.server.live[agent as usize].key.is_some() {
            let end = translate::end(reason);
            self.say_server(&Fact::ServerLost(
                Agent(agent),
                crate::lab::fact::Wire(wire.into()),
                end,
            ));
            self.feed_server(agent, ServerEvent::LinkDown(link(wire), reason));
        }
    }

    pub(super) fn feed_server(&mut self, agent: u32, event: ServerEvent) {
        let Some(key) = self.server.live[agent as usize].key else { return };
        let now = self.server.host.sample(self.now);
        if let ServerEvent::Joined { link, .. } = event {
            self.wires[link.0 as usize - 1].joined = true;
        }
        let Some(actions) = self.server.supervisor.handle(key, event, now) else { return };
        self.perform(agent, actions);
        self.served(agent);
    }

    /// The end of a step of an agent's machine: what it waits for, and that it waits for something.
    fn served(&mut self, agent: u32) {
        self.steps += 1;
        if let Some(key) = self.server.live[agent as usize].key {
            // What is due already is due at once: the supervisor holds it so.
            let deadline = self.server.deadline_of(key).after(self.server.host.latest());
            match (host::nanos(deadline), host::nanos(self.server.supervisor.next_wake())) {
                (None, _) => self.fail(Failure::ServerWithoutDeadline { agent }),
                (Some(at), Some(wake)) if wake <= at => {}
                (Some(_), Some(_) | None) => self.fail(Failure::SupervisorLate { agent }),
            }
            self.say_server(&Fact::ServerServed(Agent(agent), host::nanos(deadline)));
        }
        self.arm_server();
    }

    pub(super) fn arm_server(&mut self) {
        let Some(local) = host::nanos(self.server.next_wake()) else { return };
        let at = self.server.host.world_at(local).max(self.now + 1);
        if at < self.server.armed {
            self.server.armed = at;
            self.queue.push(at, What::ServerTimer);
        }
    }

    pub(super) fn on_server_timer(&mut self) {
        if self.server.armed != self.now {
            return;
        }
        self.server.armed = u64::MAX;
        if !self.server.is_executed() {
            return;
        }
        if self.server.host.is_due(self.server.next_wake(), self.now) {
            self.sweep();
        }
        self.arm_server();
    }

    fn sweep(&mut self) {
        let now = self.server.host.sample(self.now);
        let mut woken = core::mem::take(&mut self.server.woken);
        let _more_is_due_and_the_next_wake_says_so =
            self.server.supervisor.sweep(now, SWEEP, |key, actions| woken.push((key, actions)));
        for (key, actions) in woken.drain(..) {
            if let Some(agent) = self.server.agent_of(key) {
                self.perform(agent, actions);
                self.served(agent);
            }
        }
        self.server.woken = woken;
        while let Some(&(wire, ref greeting)) = self.server.greeting.first()
            && greeting.deadline().is_due(now.monotonic)
        {
            self.greet(wire, GreetingEvent::Wake, now);
        }
    }

    /// The server is executed again: what has arrived first, then what the store did, then time.
    pub(super) fn server_back(&mut self) {
        if !self.server.is_executed() {
            return;
        }
        for wire in core::mem::take(&mut self.server.waiting_dials) {
            self.on_dial(wire);
        }
        for wire in self.open_wires() {
            self.on_to_server(wire);
        }
        self.tell_trouble(self.store.trouble);
        self.on_store();
        self.server.armed = u64::MAX;
        self.arm_server();
    }

    fn look(&self, wire: u32) -> Wire {
        let entry = &self.wires[wire as usize];
        Wire { agent: entry.agent, process: entry.process, stage: entry.server_end }
    }
}

struct Wire {
    agent: u32,
    process: u32,
    stage: ServerEnd,
}

/// The server's number of a wire.
pub(super) const fn link(wire: u32) -> LinkId {
    LinkId(wire as u64 + 1)
}

pub(super) fn code_of(code: u16) -> Option<CloseCode> {
    (code != CloseCode::NO_STATUS.0).then_some(CloseCode(code))
}
