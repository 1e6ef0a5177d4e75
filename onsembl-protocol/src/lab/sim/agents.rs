//! The agents' processes: what comes over their wires, their timers, their start and their end.

use super::env::{Env, wire_id};
use super::failure::Failure;
use super::host::{self, Host};
use super::links::code_of;
use super::queue::What;
use super::scenario::Planted;
use super::translate;
use super::wire::{AgentEnd, Packet, ServerEnd, Wire};
use super::{MILLI, work};
use crate::close::{Breakage, CloseCause, CloseCode, CloseReason};
use crate::id::LinkId;
use crate::lab::fact::{self, Agent, Down, Fact, HowEnded, Process, Up, Witness};
use crate::session::{
    AgentAction, AgentConfig, AgentConnection, AgentEvent, AgentInbound, AgentStatus, DialFailure,
    EndOrder, ServerConfig,
};
use crate::step::Step;
use crate::time::{Deadline, Now, WallTime};
use crate::worker::{Worker, WorkerEvent};
use alloc::vec::Vec;

/// One agent: its host and its living processes.
#[derive(Debug)]
pub(super) struct AgentHost {
    pub(super) host: Host,
    pub(super) legacy: bool,
    pub(super) processes: Vec<u32>,
}

/// All agents, and all processes of them that there ever were.
#[derive(Debug)]
pub(super) struct Agents {
    pub(super) rules: AgentConfig,
    /// What a legacy agent takes for granted of a server.
    pub(super) server_rules: ServerConfig,
    pub(super) planted: Option<Planted>,
    pub(super) hosts: Vec<AgentHost>,
    pub(super) processes: Vec<Running>,
}

/// One run of an agent's program.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) agent: u32,
    pub(super) legacy: bool,
    pub(super) alive: bool,
    pub(super) stalls: u32,
    /// A server told it its id.
    pub(super) taught: bool,
    pub(super) machine: AgentConnection,
    /// A legacy wrapper has none.
    pub(super) worker: Option<Worker>,
    pub(super) epoch: u64,
    wires: Vec<u32>,
    deadline: Deadline,
    armed: u64,
    shown: fact::AgentStatus,
}

impl Running {
    /// The wire by the machine's number of it.
    fn wire(&self, link: LinkId) -> u32 {
        self.wires[link.0 as usize - 1]
    }

    /// The wire that it uses or dials, or did last.
    pub(super) fn last_wire(&self) -> Option<u32> {
        self.wires.last().copied()
    }

    pub(super) fn status(&self) -> fact::AgentStatus {
        translate::agent_status(&self.machine.status())
    }
}

impl Agents {
    pub(super) fn start_agent<W: Witness>(&mut self, env: &mut Env<W>, agent: u32) {
        let number = self.processes.len() as u32;
        let host = &mut self.hosts[agent as usize];
        let machine = AgentConnection::new(self.rules, env.net.random(agent).next());
        host.processes.push(number);
        let legacy = host.legacy;
        let worker = (!legacy).then(|| work::worker(number, host.host.sample(env.now)));
        self.processes.push(Running {
            agent,
            legacy,
            alive: true,
            stalls: 0,
            taught: false,
            machine,
            worker,
            epoch: 0,
            wires: Vec::new(),
            deadline: Deadline::Never,
            armed: u64::MAX,
            shown: fact::AgentStatus::Idle,
        });
        self.say(env, number, &Fact::ProcessStarted(Process(number), Agent(agent)));
        self.feed_agent(env, number, AgentEvent::Start);
    }

    /// A process ends; its operating system ends its wires.
    pub(super) fn end_process<W: Witness>(
        &mut self,
        env: &mut Env<W>,
        process: u32,
        how: HowEnded,
    ) {
        if !self.processes[process as usize].alive {
            return;
        }
        if how == HowEnded::InOrder
            && self.processes[process as usize].status() != fact::AgentStatus::Closed
        {
            // By the number of the process, so that it costs the story no random number.
            let (order, event) = match process % 3 {
                0 => (None, AgentEvent::Stop),
                1 => (Some(fact::Order::Stop), AgentEvent::EndOrdered(EndOrder::Stop)),
                _ => (Some(fact::Order::Restart), AgentEvent::EndOrdered(EndOrder::Restart)),
            };
            self.say(env, process, &Fact::AgentOrderedToStop(Process(process), order));
            self.feed_agent(env, process, event);
            if !self.processes[process as usize].alive {
                return;
            }
        }
        let entry = &mut self.processes[process as usize];
        entry.alive = false;
        let agent = entry.agent;
        for wire in core::mem::take(&mut entry.wires) {
            if env.net.wires[wire as usize].agent_end != AgentEnd::Closed {
                env.send_up(wire, Packet::Broken);
                let entry = &mut env.net.wires[wire as usize];
                entry.agent_end = AgentEnd::Closed;
                entry.to_agent.clear();
            }
        }
        self.hosts[agent as usize].processes.retain(|p| *p != process);
        self.say(env, process, &Fact::ProcessEnded(Process(process), how));
    }

    pub(super) fn say<W: Witness>(&self, env: &mut Env<W>, process: u32, fact: &Fact) {
        let agent = self.processes[process as usize].agent;
        env.say(&self.hosts[agent as usize].host, fact);
    }

    pub(super) fn say_away<W: Witness>(&self, env: &mut Env<W>, process: u32, away: bool) {
        let id = Process(process);
        let fact = if away { Fact::ProcessAway(id) } else { Fact::ProcessBack(id) };
        self.say(env, process, &fact);
    }

    pub(super) fn is_away(&self, process: u32) -> bool {
        let entry = &self.processes[process as usize];
        entry.stalls > 0 || self.hosts[entry.agent as usize].host.is_suspended()
    }

    /// A process is executed again: what has arrived first, then time.
    pub(super) fn agent_back<W: Witness>(
        &mut self,
        env: &mut Env<W>,
        process: u32,
        server_wall: WallTime,
    ) {
        let wires = &self.processes[process as usize].wires;
        let recent: Vec<u32> = wires.iter().rev().take(8).rev().copied().collect();
        for wire in recent {
            self.on_to_agent(env, wire, server_wall);
        }
        self.processes[process as usize].armed = u64::MAX;
        self.arm_agent(env, process);
    }

    pub(super) fn feed_agent<W: Witness>(
        &mut self,
        env: &mut Env<W>,
        process: u32,
        event: AgentEvent,
    ) {
        let entry = &mut self.processes[process as usize];
        if !entry.alive {
            return;
        }
        let now = self.hosts[entry.agent as usize].host.sample(env.now);
        let step = entry.machine.handle(event, now);
        self.perform_agent(env, process, step, now);
    }

    fn perform_agent<W: Witness>(
        &mut self,
        env: &mut Env<W>,
        process: u32,
        step: Step<AgentAction>,
        now: Now,
    ) {
        env.steps += 1;
        let id = Process(process);
        for action in step.actions {
            match action {
                AgentAction::Dial(link) => self.dial(env, process, link),
                AgentAction::SendHello(link) => self.say_up(env, process, link, Up::Hello),
                AgentAction::SendBeat { link, sequence, seen } => {
                    env.beats += 1;
                    let seen = seen.map_or(0, |seen| seen.sequence.0);
                    self.say_up(env, process, link, Up::Beat { sequence: sequence.0, seen });
                }
                AgentAction::Probe(link) => {
                    env.beats += 1;
                    let wire = self.processes[process as usize].wire(link);
                    self.say(env, process, &Fact::AgentSent(id, wire_id(wire), Up::Other));
                    env.send_up(wire, Packet::Probe);
                }
                AgentAction::SendPong { link, echo: _ } => {
                    // Of a mute agent nothing gets onto the wire.
                    let agent = self.processes[process as usize].agent;
                    if env.net.weather(agent).mute == 0 {
                        self.say_up(env, process, link, Up::Pong);
                    } else {
                        let wire = wire_id(self.processes[process as usize].wire(link));
                        self.say(env, process, &Fact::AgentSent(id, wire, Up::Pong));
                    }
                }
                AgentAction::Close(link, cause) => {
                    let wire = self.processes[process as usize].wire(link);
                    let code = cause.code().0;
                    self.say(env, process, &Fact::AgentClosed(id, wire_id(wire), code));
                    self.close_at_agent(env, wire, cause);
                }
                AgentAction::Report(report) => {
                    let status = translate::agent_status(&report.status);
                    let entry = &mut self.processes[process as usize];
                    let before = core::mem::replace(&mut entry.shown, status);
                    if before != status {
                        env.coverage.agent_went(before, status);
                    }
                    self.say(env, process, &Fact::AgentShows(id, status));
                    if let Some(event) = WorkerEvent::of_report(&report) {
                        self.feed_worker(env, process, event, now);
                    }
                }
                AgentAction::Impaired(impairment) => {
                    let ailment = impairment.map(translate::ailment);
                    self.say(env, process, &Fact::AgentNames(id, ailment));
                }
                AgentAction::Overslept(_) => self.say(env, process, &Fact::AgentOverslept(id)),
            }
        }
        self.agent_served(env, process, step.deadline, now);
    }

    fn agent_served<W: Witness>(
        &mut self,
        env: &mut Env<W>,
        process: u32,
        deadline: Deadline,
        now: Now,
    ) {
        let deadline = self.plant(process, deadline);
        let entry = &mut self.processes[process as usize];
        entry.deadline = deadline;
        let ends = match (translate::agent_status(&entry.machine.status()), host::nanos(deadline)) {
            (fact::AgentStatus::Closed, _) => true,
            (_, None) => {
                env.fail(Failure::AgentWithoutDeadline { process });
                false
            }
            (_, Some(at)) if at <= host::of(now.monotonic) => {
                env.fail(Failure::AgentDeadlineNotLater { process });
                false
            }
            (_, Some(_)) => false,
        };
        self.say(env, process, &Fact::AgentServed(Process(process), host::nanos(deadline)));
        if ends {
            // Its operator starts it again, unless it was ordered to stop or another one runs.
            let agent = self.processes[process as usize].agent;
            self.end_process(env, process, HowEnded::InOrder);
            let after = env.net.random(agent).seconds(5, 60);
            env.queue.push(env.now + after, What::StartAgent(agent));
        } else {
            self.arm_agent(env, process);
        }
    }

    fn plant(&self, process: u32, deadline: Deadline) -> Deadline {
        let entry = &self.processes[process as usize];
        match (self.planted.filter(|_| entry.agent == 0), deadline) {
            (Some(Planted::DropsDeadlines), _) => Deadline::Never,
            (Some(Planted::SleepsIn), Deadline::At(at)) => {
                Deadline::At(at.saturating_add(core::time::Duration::from_secs(86_400)))
            }
            (Some(Planted::RepeatsDeadlines), _) if entry.deadline != Deadline::Never => {
                entry.deadline
            }
            (Some(Planted::SleepsIn | Planted::RepeatsDeadlines) | None, _) => deadline,
        }
    }

    pub(super) fn arm_agent<W: Witness>(&mut self, env: &mut Env<W>, process: u32) {
        let entry = &mut self.processes[process as usize];
        let Some(local) = host::nanos(entry.deadline) else { return };
        let at = self.hosts[entry.agent as usize].host.world_at(local).max(env.now + 1);
        if at < entry.armed {
            entry.armed = at;
            env.queue.push(at, What::AgentTimer(process));
        }
    }

    pub(super) fn on_agent_timer<W: Witness>(&mut self, env: &mut Env<W>, process: u32) {
        let entry = &mut self.processes[process as usize];
        if entry.armed != env.now || !entry.alive {
            return;
        }
        entry.armed = u64::MAX;
        if self.is_away(process) {
            return;
        }
        let entry = &self.processes[process as usize];
        if self.hosts[entry.agent as usize].host.is_due(entry.deadline, env.now) {
            self.feed_agent(env, process, AgentEvent::Wake);
        } else {
            self.arm_agent(env, process);
        }
    }

    fn dial<W: Witness>(&mut self, env: &mut Env<W>, process: u32, _link: LinkId) {
        let entry = &mut self.processes[process as usize];
        let link = entry.wires.len() as u64 + 1;
        let agent = entry.agent;
        let latency = env.net.random(agent).between(MILLI, 60 * MILLI);
        let wire = env.net.dial(Wire {
            process,
            agent,
            link,
            latency,
            agent_end: AgentEnd::Dialling,
            server_end: ServerEnd::None,
            to_agent: Default::default(),
            to_server: Default::default(),
            cut: false,
            late: false,
        });
        self.processes[process as usize].wires.push(wire);
        self.say(env, process, &Fact::Dialled(Process(process), wire_id(wire)));
        env.queue.push(env.now + latency, What::DialArrives(wire));
    }

    fn say_up<W: Witness>(&mut self, env: &mut Env<W>, process: u32, link: LinkId, frame: Up) {
        let wire = self.processes[process as usize].wire(link);
        self.say(env, process, &Fact::AgentSent(Process(process), wire_id(wire), frame));
        if env.net.wires[wire as usize].server_end == ServerEnd::Stub {
            env.answer_from_stub(wire, frame);
        } else {
            env.send_up(wire, Packet::Up(frame));
        }
    }

    fn close_at_agent<W: Witness>(&mut self, env: &mut Env<W>, wire: u32, cause: CloseCause) {
        let entry = &mut env.net.wires[wire as usize];
        match entry.agent_end {
            // A dial that cannot be called back.
            AgentEnd::Dialling if entry.late => return,
            AgentEnd::Dialling => {
                entry.agent_end = AgentEnd::Closed;
                entry.to_agent.clear();
                return env.send_up(wire, Packet::Broken);
            }
            AgentEnd::Open => {}
            AgentEnd::Closed => return,
        }
        let code = cause.code().0;
        env.send_up(wire, Packet::Close(code));
        let entry = &mut env.net.wires[wire as usize];
        entry.agent_end = AgentEnd::Closed;
        entry.to_agent.clear();
        let wait = if cause == CloseCause::Silent { 0 } else { 2 * entry.latency };
        env.tell_agent_end(wire, env.now + wait, Packet::Ended(code));
    }

    /// Hands over all that has arrived over a wire.
    pub(super) fn on_to_agent<W: Witness>(
        &mut self,
        env: &mut Env<W>,
        wire: u32,
        server_wall: WallTime,
    ) {
        let process = env.net.wires[wire as usize].process;
        while self.processes[process as usize].alive
            && !self.is_away(process)
            && let Some(packet) = env.net.wires[wire as usize].to_agent.pop(env.now)
        {
            self.receive_at_agent(env, process, wire, packet, server_wall);
        }
    }

    fn receive_at_agent<W: Witness>(
        &mut self,
        env: &mut Env<W>,
        process: u32,
        wire: u32,
        packet: Packet,
        server_wall: WallTime,
    ) {
        let Some(packet) = self.read_at_agent(env, process, packet, server_wall) else {
            let agent = self.processes[process as usize].agent;
            return env.fail(Failure::CodecMismatch { agent });
        };
        let entry = &mut env.net.wires[wire as usize];
        let link = LinkId(entry.link);
        let (id, wire_id) = (Process(process), fact::Wire(wire.into()));
        match packet {
            Packet::Opened => {
                entry.agent_end = AgentEnd::Open;
                entry.late = false;
                self.say(env, process, &Fact::DialEnded(id, wire_id, fact::DialOutcome::Up));
                self.feed_agent(env, process, AgentEvent::LinkUp(link));
            }
            Packet::DialFailed(failure) => {
                entry.agent_end = AgentEnd::Closed;
                let outcome = translate::outcome(failure);
                self.say(env, process, &Fact::DialEnded(id, wire_id, outcome));
                self.feed_agent(env, process, AgentEvent::DialFailed(link, failure));
            }
            Packet::Down(frame) => {
                let legacy = self.processes[process as usize].legacy;
                if let Down::Welcome(epoch) = frame {
                    self.processes[process as usize].epoch = epoch;
                    self.processes[process as usize].taught = true;
                }
                self.say(env, process, &Fact::AgentHeard(id, wire_id, frame));
                let inbound = translate::to_agent(frame, legacy, &self.server_rules);
                self.feed_agent(env, process, AgentEvent::Received(link, inbound));
                if let Down::Welcome(_) = frame {
                    self.begin_work(env, process);
                }
            }
            Packet::Refused(refusal) => {
                self.say(env, process, &Fact::AgentHeard(id, wire_id, Down::Refused));
                let inbound = AgentInbound::HelloRefused(refusal);
                self.feed_agent(env, process, AgentEvent::Received(link, inbound));
            }
            Packet::Close(code) => {
                self.lose_at_agent(env, process, wire, CloseReason::peer(code_of(code)));
                // An existing wrapper takes this for final, from any peer.
                if self.processes[process as usize].legacy && code == CloseCode::NORMAL.0 {
                    self.end_process(env, process, HowEnded::InOrder);
                }
            }
            Packet::Broken => {
                self.lose_at_agent(env, process, wire, CloseReason::broken(Breakage::Reset));
            }
            Packet::Ended(code) => {
                let cause = CloseCause::from_code(CloseCode(code));
                self.lose_at_agent(env, process, wire, CloseReason::local(cause));
            }
            Packet::Up(_) | Packet::Probe | Packet::Fault => {
                env.fail(Failure::Confused { process });
            }
        }
    }

    /// Tells the worker of a process, if it has one.
    fn feed_worker<W: Witness>(
        &mut self,
        env: &mut Env<W>,
        process: u32,
        event: WorkerEvent,
        now: Now,
    ) {
        let Some(worker) = &mut self.processes[process as usize].worker else { return };
        if !work::feed(worker, event, now) {
            env.fail(Failure::WorkerNotIdle { process });
        }
    }

    /// A welcome came: the worker gets it, if that began a session.
    fn begin_work<W: Witness>(&mut self, env: &mut Env<W>, process: u32) {
        let entry = &self.processes[process as usize];
        if let AgentStatus::Connected { .. } = entry.machine.status() {
            let now = self.hosts[entry.agent as usize].host.sample(env.now);
            self.feed_worker(env, process, WorkerEvent::Joined(work::session()), now);
        }
    }

    fn read_at_agent<W>(
        &self,
        env: &Env<W>,
        process: u32,
        packet: Packet,
        server_wall: WallTime,
    ) -> Option<Packet> {
        match (&env.codec, packet) {
            (Some(codec), Packet::Down(frame)) => {
                let legacy = self.processes[process as usize].legacy;
                codec.down(frame, legacy, server_wall).map(Packet::Down)
            }
            (_, packet) => Some(packet),
        }
    }

    fn lose_at_agent<W: Witness>(
        &mut self,
        env: &mut Env<W>,
        process: u32,
        wire: u32,
        reason: CloseReason,
    ) {
        let entry = &mut env.net.wires[wire as usize];
        let link = LinkId(entry.link);
        if entry.agent_end == AgentEnd::Dialling {
            // The other side was gone before the dial was answered.
            entry.agent_end = AgentEnd::Closed;
            let failure = DialFailure::Unreachable;
            let (id, wire) = (Process(process), wire_id(wire));
            self.say(env, process, &Fact::DialEnded(id, wire, translate::outcome(failure)));
            return self.feed_agent(env, process, AgentEvent::DialFailed(link, failure));
        }
        entry.agent_end = AgentEnd::Closed;
        entry.to_agent.clear();
        let end = translate::end(reason);
        self.say(env, process, &Fact::AgentLost(Process(process), wire_id(wire), end));
        self.feed_agent(env, process, AgentEvent::LinkDown(link, reason));
    }
}
