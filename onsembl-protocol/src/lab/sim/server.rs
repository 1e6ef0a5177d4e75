//! The server's process: what comes over its wires, its timer, its start and its end.

use super::World;
use super::failure::Failure;
use super::host::{self, Host};
use super::links::{Link, code_of, link};
use super::queue::What;
use super::random::Random;
use super::seats::{Seated, Seats};
use super::translate;
use super::wire::{Packet, ServerEnd};
use crate::close::{Breakage, CloseCause, CloseCode, CloseReason};
use crate::fleet::{Fleet, FleetEvent, FleetLimits, SeatId};
use crate::id::UserId;
use crate::lab::fact::{Agent, Fact, HowEnded, Up, Witness};
use crate::model::{Capabilities, Dialect, SERVER_FEATURES};
use crate::session::{
    Greeting, GreetingEvent, GreetingVerdict, PresenceStatus, ServerAction, ServerConfig,
    ServerConnection, ServerEvent,
};
use crate::step::Actions;
use crate::supervisor::{Key, Supervisor};
use crate::time::{Deadline, Now};
use crate::wire::AgentToServer;
use crate::wire::payload::{AgentErrorReport, AgentErrorType, Pong};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

/// Machines woken in one go; small, so that sweeps with more due happen.
const SWEEP: usize = 4;

/// The server's process and host.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) host: Host,
    pub(super) running: bool,
    pub(super) stalls: u32,
    pub(super) supervisor: Supervisor<ServerConnection>,
    pub(super) fleet: Fleet,
    /// When it is to be woken.
    pub(super) fleet_wake: Deadline,
    /// What the fleet is to hear, in the order in which it happened.
    pub(super) events: VecDeque<FleetEvent>,
    pub(super) seats: Seats,
    /// Links whose hello was read and which have not ended, by wire.
    pub(super) links: BTreeMap<u32, Link>,
    pub(super) waiting_dials: Vec<u32>,
    greeting: Vec<(u32, Greeting)>,
    armed: u64,
    woken: Vec<(Key, Actions<ServerAction>)>,
    /// How many agents there are.
    agents: usize,
    random: Random,
}

impl Server {
    pub(super) fn new(rules: ServerConfig, host: Host, agents: usize, mut random: Random) -> Self {
        Self {
            host,
            running: false,
            stalls: 0,
            supervisor: Supervisor::new(rules),
            fleet: new_fleet(agents, &mut random),
            fleet_wake: Deadline::Never,
            events: VecDeque::new(),
            seats: Seats::new(agents),
            links: BTreeMap::new(),
            waiting_dials: Vec::new(),
            greeting: Vec::new(),
            armed: u64::MAX,
            woken: Vec::new(),
            agents,
            random,
        }
    }

    pub(super) fn is_away(&self) -> bool {
        self.stalls > 0 || self.host.is_suspended()
    }

    pub(super) fn is_executed(&self) -> bool {
        self.running && !self.is_away()
    }

    fn next_wake(&self) -> Deadline {
        let greeting = self.greeting.first().map_or(Deadline::Never, |(_, g)| g.deadline());
        self.supervisor.next_wake().min(greeting).min(self.fleet_wake)
    }

    /// The machine of an agent.
    pub(super) fn machine_of(&self, agent: u32) -> Option<Key> {
        let key = self.seats.of_agent(agent)?.key;
        self.supervisor.get(key).map(|_| key)
    }

    pub(super) fn seat(&mut self, agent: u32, seat: SeatId, machine: ServerConnection) -> Key {
        let key = self.supervisor.insert(machine);
        self.seats.insert(Seated { key, seat, agent, bound: false });
        key
    }

    /// All that the process knew.
    fn forget_all(&mut self, rules: ServerConfig) {
        self.supervisor = Supervisor::new(rules);
        self.fleet = new_fleet(self.agents, &mut self.random);
        self.fleet_wake = Deadline::Never;
        self.events.clear();
        self.seats = Seats::new(self.agents);
        self.links.clear();
        self.greeting.clear();
        self.armed = u64::MAX;
    }
}

/// The fleet of the only user, with room for the agents that there are and for no other.
fn new_fleet(agents: usize, random: &mut Random) -> Fleet {
    let limits = FleetLimits { agents, ..FleetLimits::DEFAULT };
    Fleet::new(UserId::new("user"), SeatId(0), random.next(), limits)
}

impl<W: Witness> World<W> {
    pub(super) fn start_server(&mut self) {
        if self.server.running {
            return;
        }
        self.server.running = true;
        self.say_server(&Fact::ServerStarted);
        for (agent, record) in self.store.rows.recover() {
            let now = self.server.host.sample(self.now);
            self.server.fleet.recover_agent(record, now);
            self.perform_fleet(Some(agent));
        }
    }

    /// The process ends; its links end with it, as far as the agents learn of it.
    pub(super) fn end_server(&mut self, how: HowEnded, orderly: bool) {
        if !self.server.running {
            return;
        }
        let in_order = how == HowEnded::InOrder && !self.server.is_away();
        let open: Vec<u32> = self.open_wires();
        for wire in open {
            if in_order {
                self.close_at_server(wire, CloseCause::GoingAway);
                self.lose_at_server(wire, CloseReason::local(CloseCause::GoingAway));
            } else if orderly {
                self.send_down(wire, Packet::Broken);
            }
            let wire = &mut self.wires[wire as usize];
            wire.server_end = ServerEnd::Closed;
            wire.cut |= !in_order;
            wire.to_server.clear();
        }
        if in_order {
            self.drain_events();
        }
        self.drop_writes(in_order);
        for wire in core::mem::take(&mut self.server.waiting_dials) {
            self.send_down(wire, Packet::DialFailed(crate::session::DialFailure::Unreachable));
        }
        self.say_server(&Fact::ServerEnded(if in_order { how } else { HowEnded::Killed }));
        self.server.running = false;
        self.server.forget_all(self.server_rules);
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
            Packet::Up(up) => self.heard_at_server(wire, stage, up),
            Packet::Probe => {
                self.heard_at_server(wire, stage, Up::Other);
                self.send_down(wire, Packet::Down(crate::lab::fact::Down::Other));
            }
            Packet::Fault => {
                self.heard_at_server(wire, stage, Up::Other);
                if stage == ServerEnd::Live {
                    self.deliver_fault(wire);
                }
            }
            Packet::Close(code) => self.lose_at_server(wire, CloseReason::peer(code_of(code))),
            Packet::Broken => self.lose_at_server(wire, CloseReason::broken(Breakage::Reset)),
            Packet::Ended(code) => {
                let cause = CloseCause::from_code(CloseCode(code));
                self.lose_at_server(wire, CloseReason::local(cause));
            }
            Packet::Down(_) | Packet::Refused(_) | Packet::Opened | Packet::DialFailed(_) => {
                self.fail(Failure::Confused { process });
            }
        }
    }

    fn read_at_server(&self, process: u32, packet: Packet) -> Option<Packet> {
        match (&self.codec, packet) {
            (Some(codec), Packet::Up(frame)) => {
                let agent = self.processes[process as usize].agent;
                let wall = self.agents[agent as usize].host.wall(self.now);
                codec.up(frame, || self.hello_of(process), wall).map(Packet::Up)
            }
            (_, packet) => Some(packet),
        }
    }

    /// The seat whose machine gets the events of this wire.
    fn hearer_of(&self, wire: u32) -> Option<Seated> {
        self.server.seats.of_key(self.server.links.get(&wire)?.key?)
    }

    fn heard_at_server(&mut self, wire: u32, stage: ServerEnd, up: Up) {
        match stage {
            ServerEnd::Live => {
                let Some(seated) = self.hearer_of(wire) else { return };
                self.say_server(&Fact::ServerHeard(Agent(seated.agent), self.wire_id(wire), up));
                let (seat, at) = (seated.seat, self.server.host.wall(self.now));
                self.server.events.push_back(FleetEvent::Heard { seat, at });
                if up == Up::Pong {
                    let message = Box::new(AgentToServer::Pong(Pong::default()));
                    self.server.events.push_back(FleetEvent::Message { seat, message });
                }
                self.feed_seated(seated, ServerEvent::Received(link(wire), translate::inbound(up)));
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

    /// A hello: the fleet is to say whose it is.
    fn hello(&mut self, wire: u32) {
        self.server.greeting.retain(|(w, _)| *w != wire);
        self.wires[wire as usize].server_end = ServerEnd::Joining;
        let hello = Box::new(self.hello_of(self.wires[wire as usize].process));
        let capabilities = match &hello.extensions {
            Some(theirs) => {
                Capabilities::negotiate(SERVER_FEATURES, &theirs.features, Dialect::Extended)
            }
            None => Capabilities::LEGACY,
        };
        let entry = Link { capabilities, key: None, admission: None, session: None };
        let _ = self.server.links.insert(wire, entry);
        let bearer = Some(self.token_of(self.wires[wire as usize].agent));
        let event = FleetEvent::Hello { link: link(wire), hello, peer: String::new(), bearer };
        self.server.events.push_back(event);
    }

    fn deliver_fault(&mut self, wire: u32) {
        let Some(Seated { seat, .. }) = self.hearer_of(wire) else { return };
        let report = AgentErrorReport {
            error_type: AgentErrorType::Resource,
            message: String::new(),
            recoverable: false,
            details: None,
        };
        let message = Box::new(AgentToServer::Fault(report));
        self.server.events.push_back(FleetEvent::Message { seat, message });
    }

    pub(super) fn lose_at_server(&mut self, wire: u32, reason: CloseReason) {
        self.server.greeting.retain(|(w, _)| *w != wire);
        let entry = &mut self.wires[wire as usize];
        entry.server_end = ServerEnd::Closed;
        entry.to_server.clear();
        let Some(Link { key: Some(key), session, .. }) = self.server.links.remove(&wire) else {
            return;
        };
        let Some(Seated { seat, agent, .. }) = self.server.seats.of_key(key) else { return };
        let event = FleetEvent::LinkEnded { seat, link: link(wire), session, reason };
        self.server.events.push_back(event);
        if self.server.supervisor.get(key).is_some() {
            let end = translate::end(reason);
            self.say_server(&Fact::ServerLost(Agent(agent), self.wire_id(wire), end));
            self.feed_server(key, ServerEvent::LinkDown(link(wire), reason));
        }
    }

    pub(super) fn feed_server(&mut self, key: Key, event: ServerEvent) {
        if let Some(seated) = self.server.seats.of_key(key) {
            self.feed_seated(seated, event);
        }
    }

    fn feed_seated(&mut self, seated: Seated, event: ServerEvent) {
        let now = self.server.host.sample(self.now);
        let Some(actions) = self.server.supervisor.handle(seated.key, event, now) else { return };
        self.perform(seated, actions);
        self.served(seated);
    }

    /// The end of a step of an agent's machine: what it waits for, and that it waits for something.
    pub(super) fn served(&mut self, seated: Seated) {
        self.steps += 1;
        let Seated { key, agent, .. } = seated;
        if let Some(deadline) = self.server.supervisor.deadline(key) {
            // What is due already is due at once: the supervisor holds it so.
            let deadline = deadline.after(self.server.host.latest());
            match (host::nanos(deadline), host::nanos(self.server.supervisor.next_wake())) {
                (None, _) if self.awaits_hello(key) => {}
                (None, _) => self.fail(Failure::ServerWithoutDeadline { agent }),
                (Some(at), Some(wake)) if wake <= at => {}
                (Some(_), Some(_) | None) => self.fail(Failure::SupervisorLate { agent }),
            }
            self.say_server(&Fact::ServerServed(Agent(agent), host::nanos(deadline)));
        }
        self.arm_server();
    }

    /// Whether a machine was put in for a hello that it has not been given yet.
    fn awaits_hello(&self, key: Key) -> bool {
        let machine = self.server.supervisor.get(key);
        machine.is_some_and(|machine| machine.presence().status == PresenceStatus::Offline)
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
            if let Some(seated) = self.server.seats.of_key(key) {
                self.perform(seated, actions);
                self.served(seated);
            }
        }
        self.server.woken = woken;
        while let Some(&(wire, ref greeting)) = self.server.greeting.first()
            && greeting.deadline().is_due(now.monotonic)
        {
            self.greet(wire, GreetingEvent::Wake, now);
        }
        if self.server.fleet_wake.is_due(now.monotonic) {
            self.feed_fleet(FleetEvent::Wake);
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
