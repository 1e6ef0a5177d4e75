//! The server's process: what comes over its wires, its timer, its start and its end.

use super::SECOND;
use super::agents::Agents;
use super::env::{Env, wire_id};
use super::failure::Failure;
use super::hello::{hello_of, token_of};
use super::host::{self, Host};
use super::links::{Link, code_of, link};
use super::queue::What;
use super::random::Random;
use super::seats::{Seated, Seats};
use super::store::Store;
use super::translate;
use super::wire::{AgentEnd, Packet, ServerEnd};
use crate::close::{Breakage, CloseCause, CloseCode, CloseReason};
use crate::fleet::{Fleet, FleetEvent, FleetLimits, SeatId};
use crate::id::{PresenceVersion, UserId};
use crate::lab::fact::{Agent, Down, Fact, HowEnded, Status, Up, Witness};
use crate::model::{Capabilities, Dialect, SERVER_FEATURES};
use crate::session::{
    DialFailure, Greeting, GreetingEvent, GreetingVerdict, PresenceStatus, ServerAction,
    ServerConfig, ServerConnection, ServerEvent,
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

/// The server's process, its host and its store.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) rules: ServerConfig,
    pub(super) host: Host,
    pub(super) store: Store,
    /// The latest status of each agent that it showed.
    pub(super) shown: Vec<Status>,
    /// What readers of the fleet's view were shown last of each agent.
    pub(super) readers: Vec<Option<(PresenceVersion, PresenceStatus)>>,
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
    pub(super) fn new(rules: ServerConfig, host: Host, store: Store, mut random: Random) -> Self {
        let agents = store.agents();
        Self {
            rules,
            host,
            store,
            shown: alloc::vec![Status::Offline; agents],
            readers: alloc::vec![None; agents],
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
    fn forget_all(&mut self) {
        self.supervisor = Supervisor::new(self.rules);
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

impl Server {
    pub(super) fn start_server<W: Witness>(&mut self, env: &mut Env<W>) {
        if self.running {
            return;
        }
        self.running = true;
        env.say(&self.host, &Fact::ServerStarted);
        for (agent, record) in self.store.rows.recover() {
            let now = self.host.sample(env.now);
            self.fleet.recover_agent(record, now);
            self.perform_fleet(env, Some(agent));
        }
    }

    /// The process ends; its links end with it, as far as the agents learn of it.
    pub(super) fn end_server<W: Witness>(
        &mut self,
        env: &mut Env<W>,
        how: HowEnded,
        orderly: bool,
    ) {
        if !self.running {
            return;
        }
        let in_order = how == HowEnded::InOrder && !self.is_away();
        let open = env.net.open_wires();
        for wire in open {
            if in_order {
                env.close_at_server(wire, CloseCause::GoingAway);
                self.lose_at_server(env, wire, CloseReason::local(CloseCause::GoingAway));
            } else if orderly {
                env.send_down(wire, Packet::Broken);
            }
            let wire = &mut env.net.wires[wire as usize];
            wire.server_end = ServerEnd::Closed;
            wire.cut |= !in_order;
            wire.to_server.clear();
        }
        if in_order {
            self.drain_events(env);
        }
        self.store.drop_writes(env, in_order);
        for wire in core::mem::take(&mut self.waiting_dials) {
            env.send_down(wire, Packet::DialFailed(DialFailure::Unreachable));
        }
        env.say(&self.host, &Fact::ServerEnded(if in_order { how } else { HowEnded::Killed }));
        self.running = false;
        self.forget_all();
    }

    /// A dial got to the other side.
    pub(super) fn on_dial<W: Witness>(&mut self, env: &mut Env<W>, wire: u32) {
        let entry = &env.net.wires[wire as usize];
        if entry.agent_end != AgentEnd::Dialling {
            return;
        }
        let agent = entry.agent;
        if env.net.weather(agent).partitions > 0 {
            return env.queue.push(env.now + SECOND, What::DialArrives(wire));
        }
        if !env.misdirect(wire, agent) {
            self.accept(env, wire);
        }
    }

    /// A dial got here.
    fn accept<W: Witness>(&mut self, env: &mut Env<W>, wire: u32) {
        if !self.running {
            return env.send_down(wire, Packet::DialFailed(DialFailure::Unreachable));
        }
        if self.is_away() {
            return self.waiting_dials.push(wire);
        }
        let now = self.host.sample(env.now);
        env.net.wires[wire as usize].server_end = ServerEnd::Greeting;
        self.greeting.push((wire, Greeting::new(now)));
        env.send_down(wire, Packet::Opened);
        self.arm_server(env);
    }

    /// Hands over all that has arrived over a wire.
    pub(super) fn on_to_server<W: Witness>(
        &mut self,
        env: &mut Env<W>,
        agents: &Agents,
        wire: u32,
    ) {
        while self.is_executed()
            && let Some(packet) = env.net.wires[wire as usize].to_server.pop(env.now)
        {
            self.receive_at_server(env, agents, wire, packet);
        }
    }

    fn receive_at_server<W: Witness>(
        &mut self,
        env: &mut Env<W>,
        agents: &Agents,
        wire: u32,
        packet: Packet,
    ) {
        let entry = &env.net.wires[wire as usize];
        let (agent, process, stage) = (entry.agent, entry.process, entry.server_end);
        let Some(packet) = self.read_at_server(env, agents, process, packet) else {
            return env.fail(Failure::CodecMismatch { agent });
        };
        match packet {
            Packet::Up(Up::Hello) if stage == ServerEnd::Greeting => self.hello(env, agents, wire),
            Packet::Up(up) => self.heard_at_server(env, wire, stage, up),
            Packet::Probe => {
                self.heard_at_server(env, wire, stage, Up::Other);
                env.send_down(wire, Packet::Down(Down::Other));
            }
            Packet::Fault => {
                self.heard_at_server(env, wire, stage, Up::Other);
                if stage == ServerEnd::Live {
                    self.deliver_fault(wire);
                }
            }
            Packet::Close(code) => self.lose_at_server(env, wire, CloseReason::peer(code_of(code))),
            Packet::Broken => self.lose_at_server(env, wire, CloseReason::broken(Breakage::Reset)),
            Packet::Ended(code) => {
                let cause = CloseCause::from_code(CloseCode(code));
                self.lose_at_server(env, wire, CloseReason::local(cause));
            }
            Packet::Down(_) | Packet::Refused(_) | Packet::Opened | Packet::DialFailed(_) => {
                env.fail(Failure::Confused { process });
            }
        }
    }

    fn read_at_server<W>(
        &self,
        env: &Env<W>,
        agents: &Agents,
        process: u32,
        packet: Packet,
    ) -> Option<Packet> {
        match (&env.codec, packet) {
            (Some(codec), Packet::Up(frame)) => {
                let running = &agents.processes[process as usize];
                let wall = agents.hosts[running.agent as usize].host.wall(env.now);
                let hello = || hello_of(running, process, self.store.id_of(running.agent));
                codec.up(frame, hello, wall).map(Packet::Up)
            }
            (_, packet) => Some(packet),
        }
    }

    /// The seat whose machine gets the events of this wire.
    fn hearer_of(&self, wire: u32) -> Option<Seated> {
        self.seats.of_key(self.links.get(&wire)?.key?)
    }

    fn heard_at_server<W: Witness>(
        &mut self,
        env: &mut Env<W>,
        wire: u32,
        stage: ServerEnd,
        up: Up,
    ) {
        match stage {
            ServerEnd::Live => {
                let Some(seated) = self.hearer_of(wire) else { return };
                env.say(&self.host, &Fact::ServerHeard(Agent(seated.agent), wire_id(wire), up));
                let (seat, at) = (seated.seat, self.host.wall(env.now));
                self.events.push_back(FleetEvent::Heard { seat, at });
                if up == Up::Pong {
                    let message = Box::new(AgentToServer::Pong(Pong::default()));
                    self.events.push_back(FleetEvent::Message { seat, message });
                }
                self.feed_seated(
                    env,
                    seated,
                    ServerEvent::Received(link(wire), translate::inbound(up)),
                );
            }
            ServerEnd::Greeting => {
                let now = self.host.sample(env.now);
                self.greet(env, wire, GreetingEvent::Other, now);
            }
            ServerEnd::None
            | ServerEnd::Stub
            | ServerEnd::Joining
            | ServerEnd::Closing
            | ServerEnd::Closed => {}
        }
    }

    fn greet<W: Witness>(&mut self, env: &mut Env<W>, wire: u32, event: GreetingEvent, now: Now) {
        let Some((_, greeting)) = self.greeting.iter_mut().find(|(w, _)| *w == wire) else {
            return;
        };
        match greeting.handle(event, now) {
            GreetingVerdict::Wait | GreetingVerdict::Identify => {}
            GreetingVerdict::Close(cause) => {
                self.greeting.retain(|(w, _)| *w != wire);
                env.close_at_server(wire, cause);
            }
        }
    }

    /// A hello: the fleet is to say whose it is.
    fn hello<W: Witness>(&mut self, env: &mut Env<W>, agents: &Agents, wire: u32) {
        self.greeting.retain(|(w, _)| *w != wire);
        let entry = &mut env.net.wires[wire as usize];
        entry.server_end = ServerEnd::Joining;
        let (agent, process) = (entry.agent, entry.process);
        let id = self.store.id_of(agent);
        let running = &agents.processes[process as usize];
        let hello = Box::new(hello_of(running, process, id));
        let bearer = Some(token_of(agent, id));
        let capabilities = match &hello.extensions {
            Some(theirs) => {
                Capabilities::negotiate(SERVER_FEATURES, &theirs.features, Dialect::Extended)
            }
            None => Capabilities::LEGACY,
        };
        let entry = Link { capabilities, key: None, admission: None, session: None };
        let _ = self.links.insert(wire, entry);
        let event = FleetEvent::Hello { link: link(wire), hello, peer: String::new(), bearer };
        self.events.push_back(event);
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
        self.events.push_back(FleetEvent::Message { seat, message });
    }

    pub(super) fn lose_at_server<W: Witness>(
        &mut self,
        env: &mut Env<W>,
        wire: u32,
        reason: CloseReason,
    ) {
        self.greeting.retain(|(w, _)| *w != wire);
        let entry = &mut env.net.wires[wire as usize];
        entry.server_end = ServerEnd::Closed;
        entry.to_server.clear();
        let Some(Link { key: Some(key), session, .. }) = self.links.remove(&wire) else {
            return;
        };
        let Some(Seated { seat, agent, .. }) = self.seats.of_key(key) else { return };
        let event = FleetEvent::LinkEnded { seat, link: link(wire), session, reason };
        self.events.push_back(event);
        if self.supervisor.get(key).is_some() {
            let end = translate::end(reason);
            env.say(&self.host, &Fact::ServerLost(Agent(agent), wire_id(wire), end));
            self.feed_server(env, key, ServerEvent::LinkDown(link(wire), reason));
        }
    }

    pub(super) fn feed_server<W: Witness>(
        &mut self,
        env: &mut Env<W>,
        key: Key,
        event: ServerEvent,
    ) {
        if let Some(seated) = self.seats.of_key(key) {
            self.feed_seated(env, seated, event);
        }
    }

    fn feed_seated<W: Witness>(&mut self, env: &mut Env<W>, seated: Seated, event: ServerEvent) {
        let now = self.host.sample(env.now);
        let Some(actions) = self.supervisor.handle(seated.key, event, now) else { return };
        self.perform(env, seated, actions);
        self.served(env, seated);
    }

    /// The end of a step of an agent's machine: what it waits for, and that it waits for something.
    pub(super) fn served<W: Witness>(&mut self, env: &mut Env<W>, seated: Seated) {
        env.steps += 1;
        let Seated { key, agent, .. } = seated;
        if let Some(deadline) = self.supervisor.deadline(key) {
            // What is due already is due at once: the supervisor holds it so.
            let deadline = deadline.after(self.host.latest());
            match (host::nanos(deadline), host::nanos(self.supervisor.next_wake())) {
                (None, _) if self.awaits_hello(key) => {}
                (None, _) => env.fail(Failure::ServerWithoutDeadline { agent }),
                (Some(at), Some(wake)) if wake <= at => {}
                (Some(_), Some(_) | None) => env.fail(Failure::SupervisorLate { agent }),
            }
            env.say(&self.host, &Fact::ServerServed(Agent(agent), host::nanos(deadline)));
        }
        self.arm_server(env);
    }

    /// Whether a machine was put in for a hello that it has not been given yet.
    fn awaits_hello(&self, key: Key) -> bool {
        let machine = self.supervisor.get(key);
        machine.is_some_and(|machine| machine.presence().status == PresenceStatus::Offline)
    }

    pub(super) fn arm_server<W: Witness>(&mut self, env: &mut Env<W>) {
        let Some(local) = host::nanos(self.next_wake()) else { return };
        let at = self.host.world_at(local).max(env.now + 1);
        if at < self.armed {
            self.armed = at;
            env.queue.push(at, What::ServerTimer);
        }
    }

    pub(super) fn on_server_timer<W: Witness>(&mut self, env: &mut Env<W>) {
        if self.armed != env.now {
            return;
        }
        self.armed = u64::MAX;
        if !self.is_executed() {
            return;
        }
        if self.host.is_due(self.next_wake(), env.now) {
            self.sweep(env);
        }
        self.arm_server(env);
    }

    fn sweep<W: Witness>(&mut self, env: &mut Env<W>) {
        let now = self.host.sample(env.now);
        let mut woken = core::mem::take(&mut self.woken);
        let _more_is_due_and_the_next_wake_says_so =
            self.supervisor.sweep(now, SWEEP, |key, actions| woken.push((key, actions)));
        for (key, actions) in woken.drain(..) {
            if let Some(seated) = self.seats.of_key(key) {
                self.perform(env, seated, actions);
                self.served(env, seated);
            }
        }
        self.woken = woken;
        while let Some(&(wire, ref greeting)) = self.greeting.first()
            && greeting.deadline().is_due(now.monotonic)
        {
            self.greet(env, wire, GreetingEvent::Wake, now);
        }
        if self.fleet_wake.is_due(now.monotonic) {
            self.feed_fleet(env, FleetEvent::Wake);
        }
    }

    /// The server is executed again: what has arrived first, then what the store did, then time.
    pub(super) fn back<W: Witness>(&mut self, env: &mut Env<W>, agents: &Agents) {
        if !self.is_executed() {
            return;
        }
        for wire in core::mem::take(&mut self.waiting_dials) {
            self.on_dial(env, wire);
        }
        for wire in env.net.open_wires() {
            self.on_to_server(env, agents, wire);
        }
        self.tell_trouble(env, self.store.trouble);
        self.on_store(env);
        self.armed = u64::MAX;
        self.arm_server(env);
    }
}
