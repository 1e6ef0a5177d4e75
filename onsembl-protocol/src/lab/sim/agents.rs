//! The agents' processes: what comes over their wires, their timers, their start and their end.

use super::failure::Failure;
use super::host::{self, Host};
use super::links::code_of;
use super::queue::What;
use super::random::Random;
use super::scenario::Planted;
use super::translate;
use super::weather::Weather;
use super::wire::{AgentEnd, Packet, ServerEnd, Wire};
use super::work;
use super::{MILLI, SECOND, World};
use crate::close::{Breakage, CloseCause, CloseCode, CloseReason};
use crate::id::LinkId;
use crate::lab::fact::{self, Agent, Down, Fact, HowEnded, Process, Up, Witness};
use crate::session::{
    AgentAction, AgentConnection, AgentEvent, AgentInbound, AgentStatus, DialFailure, EndOrder,
};
use crate::step::Step;
use crate::time::{Deadline, Now};
use crate::worker::{Worker, WorkerEvent};
use alloc::vec::Vec;

/// One agent: its host, its network, its living processes.
#[derive(Debug)]
pub(super) struct AgentHost {
    pub(super) host: Host,
    pub(super) legacy: bool,
    pub(super) processes: Vec<u32>,
    pub(super) weather: Weather,
    pub(super) random: Random,
}

impl AgentHost {
    /// How long a packet takes now.
    pub(super) fn latency(&mut self, base: u64) -> u64 {
        let jitter = self.random.below(base / 2 + 1);
        let lag = if self.weather.lag > 0 { self.random.seconds(1, 6) } else { 0 };
        base + jitter + lag
    }
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

impl<W: Witness> World<W> {
    pub(super) fn start_agent(&mut self, agent: u32) {
        let number = self.processes.len() as u32;
        let host = &mut self.agents[agent as usize];
        let machine = AgentConnection::new(self.agent_rules, host.random.next());
        host.processes.push(number);
        let legacy = host.legacy;
        let worker = (!legacy).then(|| work::worker(number, host.host.sample(self.now)));
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
        self.say_agent(number, &Fact::ProcessStarted(Process(number), Agent(agent)));
        self.feed_agent(number, AgentEvent::Start);
    }

    /// A process ends; its operating system ends its wires.
    pub(super) fn end_process(&mut self, process: u32, how: HowEnded) {
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
            self.say_agent(process, &Fact::AgentOrderedToStop(Process(process), order));
            self.feed_agent(process, event);
            if !self.processes[process as usize].alive {
                return;
            }
        }
        let entry = &mut self.processes[process as usize];
        entry.alive = false;
        let agent = entry.agent;
        for wire in core::mem::take(&mut entry.wires) {
            if self.wires[wire as usize].agent_end != AgentEnd::Closed {
                self.send_up(wire, Packet::Broken);
                let entry = &mut self.wires[wire as usize];
                entry.agent_end = AgentEnd::Closed;
                entry.to_agent.clear();
            }
        }
        self.agents[agent as usize].processes.retain(|p| *p != process);
        self.say_agent(process, &Fact::ProcessEnded(Process(process), how));
    }

    pub(super) fn is_away(&self, process: u32) -> bool {
        let entry = &self.processes[process as usize];
        entry.stalls > 0 || self.agents[entry.agent as usize].host.is_suspended()
    }

    /// A process is executed again: what has arrived first, then time.
    pub(super) fn agent_back(&mut self, process: u32) {
        let wires = &self.processes[process as usize].wires;
        let recent: Vec<u32> = wires.iter().rev().take(8).rev().copied().collect();
        for wire in recent {
            self.on_to_agent(wire);
        }
        self.processes[process as usize].armed = u64::MAX;
        self.arm_agent(process);
    }

    pub(super) fn feed_agent(&mut self, process: u32, event: AgentEvent) {
        let entry = &mut self.processes[process as usize];
        if !entry.alive {
            return;
        }
        let now = self.agents[entry.agent as usize].host.sample(self.now);
        let step = entry.machine.handle(event, now);
        self.perform_agent(process, step, now);
    }

    fn perform_agent(&mut self, process: u32, step: Step<AgentAction>, now: Now) {
        self.steps += 1;
        let id = Process(process);
        for action in step.actions {
            match action {
                AgentAction::Dial(link) => self.dial(process, link),
                AgentAction::SendHello(link) => self.say_up(process, link, Up::Hello),
                AgentAction::SendBeat { link, sequence, seen } => {
                    self.beats += 1;
                    let seen = seen.map_or(0, |seen| seen.sequence.0);
                    self.say_up(process, link, Up::Beat { sequence: sequence.0, seen });
                }
                AgentAction::Probe(link) => {
                    self.beats += 1;
                    let wire = self.processes[process as usize].wire(link);
                    self.say_agent(process, &Fact::AgentSent(id, self.wire_id(wire), Up::Other));
                    self.send_up(wire, Packet::Probe);
                }
                AgentAction::SendPong { link, echo: _ } => {
                    // Of a mute agent nothing gets onto the wire.
                    let agent = self.processes[process as usize].agent;
                    if self.agents[agent as usize].weather.mute == 0 {
                        self.say_up(process, link, Up::Pong);
                    } else {
                        let wire = self.wire_id(self.processes[process as usize].wire(link));
                        self.say_agent(process, &Fact::AgentSent(id, wire, Up::Pong));
                    }
                }
                AgentAction::Close(link, cause) => {
                    let wire = self.processes[process as usize].wire(link);
                    let code = cause.code().0;
                    self.say_agent(process, &Fact::AgentClosed(id, self.wire_id(wire), code));
                    self.close_at_agent(wire, cause);
                }
                AgentAction::Report(report) => {
                    let status = translate::agent_status(&report.status);
                    let entry = &mut self.processes[process as usize];
                    let before = core::mem::replace(&mut entry.shown, status);
                    if before != status {
                        self.coverage.agent_went(before, status);
                    }
                    self.say_agent(process, &Fact::AgentShows(id, status));
                    if let Some(event) = WorkerEvent::of_report(&report) {
                        self.feed_worker(process, event, now);
                    }
                }
                AgentAction::Impaired(impairment) => {
                    let ailment = impairment.map(translate::ailment);
                    self.say_agent(process, &Fact::AgentNames(id, ailment));
                }
                AgentAction::Overslept(_) => self.say_agent(process, &Fact::AgentOverslept(id)),
            }
        }
        self.agent_served(process, step.deadline, now);
    }

    fn agent_served(&mut self, process: u32, deadline: Deadline, now: Now) {
        let deadline = self.plant(process, deadline);
        let entry = &mut self.processes[process as usize];
        entry.deadline = deadline;
        let ends = match (translate::agent_status(&entry.machine.status()), host::nanos(deadline)) {
            (fact::AgentStatus::Closed, _) => true,
            (_, None) => {
                self.fail(Failure::AgentWithoutDeadline { process });
                false
            }
            (_, Some(at)) if at <= host::of(now.monotonic) => {
                self.fail(Failure::AgentDeadlineNotLater { process });
                false
            }
            (_, Some(_)) => false,
        };
        self.say_agent(process, &Fact::AgentServed(Process(process), host::nanos(deadline)));
        if ends {
            // Its operator starts it again, unless it was ordered to stop or another one runs.
            let agent = self.processes[process as usize].agent;
            self.end_process(process, HowEnded::InOrder);
            let after = self.agents[agent as usize].random.seconds(5, 60);
            self.queue.push(self.now + after, What::StartAgent(agent));
        } else {
            self.arm_agent(process);
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

    pub(super) fn arm_agent(&mut self, process: u32) {
        let entry = &mut self.processes[process as usize];
        let Some(local) = host::nanos(entry.deadline) else { return };
        let at = self.agents[entry.agent as usize].host.world_at(local).max(self.now + 1);
        if at < entry.armed {
            entry.armed = at;
            self.queue.push(at, What::AgentTimer(process));
        }
    }

    pub(super) fn on_agent_timer(&mut self, process: u32) {
        let entry = &mut self.processes[process as usize];
        if entry.armed != self.now || !entry.alive {
            return;
        }
        entry.armed = u64::MAX;
        if self.is_away(process) {
            return;
        }
        let entry = &self.processes[process as usize];
        if self.agents[entry.agent as usize].host.is_due(entry.deadline, self.now) {
            self.feed_agent(process, AgentEvent::Wake);
        } else {
            self.arm_agent(process);
        }
    }

    fn dial(&mut self, process: u32, _link: LinkId) {
        let wire = self.wires.len() as u32;
        let entry = &mut self.processes[process as usize];
        entry.wires.push(wire);
        let link = entry.wires.len() as u64;
        let agent = entry.agent;
        let host = &mut self.agents[agent as usize];
        let latency = host.random.between(MILLI, 60 * MILLI);
        self.wires.push(Wire {
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
        self.say_agent(process, &Fact::Dialled(Process(process), self.wire_id(wire)));
        self.queue.push(self.now + latency, What::DialArrives(wire));
    }

    fn say_up(&mut self, process: u32, link: LinkId, frame: Up) {
        let wire = self.processes[process as usize].wire(link);
        self.say_agent(process, &Fact::AgentSent(Process(process), self.wire_id(wire), frame));
        if self.wires[wire as usize].server_end == ServerEnd::Stub {
            self.answer_from_stub(wire, frame);
        } else {
            self.send_up(wire, Packet::Up(frame));
        }
    }

    fn close_at_agent(&mut self, wire: u32, cause: CloseCause) {
        let entry = &mut self.wires[wire as usize];
        match entry.agent_end {
            // A dial that cannot be called back.
            AgentEnd::Dialling if entry.late => return,
            AgentEnd::Dialling => {
                entry.agent_end = AgentEnd::Closed;
                entry.to_agent.clear();
                return self.send_up(wire, Packet::Broken);
            }
            AgentEnd::Open => {}
            AgentEnd::Closed => return,
        }
        let code = cause.code().0;
        self.send_up(wire, Packet::Close(code));
        let entry = &mut self.wires[wire as usize];
        entry.agent_end = AgentEnd::Closed;
        entry.to_agent.clear();
        let wait = if cause == CloseCause::Silent { 0 } else { 2 * entry.latency };
        let at = entry.to_agent.push_here(self.now + wait, Packet::Ended(code));
        self.queue.push(at, What::ToAgent(wire));
    }

    /// Hands over all that has arrived over a wire.
    pub(super) fn on_to_agent(&mut self, wire: u32) {
        let process = self.wires[wire as usize].process;
        while self.processes[process as usize].alive
            && !self.is_away(process)
            && let Some(packet) = self.wires[wire as usize].to_agent.pop(self.now)
        {
            self.receive_at_agent(process, wire, packet);
        }
    }

    fn receive_at_agent(&mut self, process: u32, wire: u32, packet: Packet) {
        let Some(packet) = self.read_at_agent(process, packet) else {
            let agent = self.processes[process as usize].agent;
            return self.fail(Failure::CodecMismatch { agent });
        };
        let entry = &mut self.wires[wire as usize];
        let link = LinkId(entry.link);
        let (id, wire_id) = (Process(process), fact::Wire(wire.into()));
        match packet {
            Packet::Opened => {
                entry.agent_end = AgentEnd::Open;
                entry.late = false;
                self.say_agent(process, &Fact::DialEnded(id, wire_id, fact::DialOutcome::Up));
                self.feed_agent(process, AgentEvent::LinkUp(link));
            }
            Packet::DialFailed(failure) => {
                entry.agent_end = AgentEnd::Closed;
                let outcome = translate::outcome(failure);
                self.say_agent(process, &Fact::DialEnded(id, wire_id, outcome));
                self.feed_agent(process, AgentEvent::DialFailed(link, failure));
            }
            Packet::Down(frame) => {
                let legacy = self.processes[process as usize].legacy;
                if let Down::Welcome(epoch) = frame {
                    self.processes[process as usize].epoch = epoch;
                    self.processes[process as usize].taught = true;
                }
                self.say_agent(process, &Fact::AgentHeard(id, wire_id, frame));
                let inbound = translate::to_agent(frame, legacy, &self.server_rules);
                self.feed_agent(process, AgentEvent::Received(link, inbound));
                if let Down::Welcome(_) = frame {
                    self.begin_work(process);
                }
            }
            Packet::Refused(refusal) => {
                self.say_agent(process, &Fact::AgentHeard(id, wire_id, Down::Refused));
                let inbound = AgentInbound::HelloRefused(refusal);
                self.feed_agent(process, AgentEvent::Received(link, inbound));
            }
            Packet::Close(code) => {
                self.lose_at_agent(process, wire, CloseReason::peer(code_of(code)));
                // An existing wrapper takes this for final, from any peer.
                if self.processes[process as usize].legacy && code == CloseCode::NORMAL.0 {
                    self.end_process(process, HowEnded::InOrder);
                }
            }
            Packet::Broken => {
                self.lose_at_agent(process, wire, CloseReason::broken(Breakage::Reset));
            }
            Packet::Ended(code) => {
                let cause = CloseCause::from_code(CloseCode(code));
                self.lose_at_agent(process, wire, CloseReason::local(cause));
            }
            Packet::Up(_) | Packet::Probe | Packet::Fault => {
                self.fail(Failure::Confused { process });
            }
        }
    }

    /// A welcome came: the worker gets it, if that began a session.
    fn begin_work(&mut self, process: u32) {
        let entry = &self.processes[process as usize];
        if let AgentStatus::Connected { .. } = entry.machine.status() {
            let now = self.agents[entry.agent as usize].host.sample(self.now);
            self.feed_worker(process, WorkerEvent::Joined(work::session()), now);
        }
    }

    fn read_at_agent(&self, process: u32, packet: Packet) -> Option<Packet> {
        match (&self.codec, packet) {
            (Some(codec), Packet::Down(frame)) => {
                let wall = self.server.host.wall(self.now);
                let legacy = self.processes[process as usize].legacy;
                codec.down(frame, legacy, wall).map(Packet::Down)
            }
            (_, packet) => Some(packet),
        }
    }

    fn lose_at_agent(&mut self, process: u32, wire: u32, reason: CloseReason) {
        let entry = &mut self.wires[wire as usize];
        let link = LinkId(entry.link);
        if entry.agent_end == AgentEnd::Dialling {
            // The other side was gone before the dial was answered.
            entry.agent_end = AgentEnd::Closed;
            let failure = DialFailure::Unreachable;
            let (id, wire) = (Process(process), self.wire_id(wire));
            self.say_agent(process, &Fact::DialEnded(id, wire, translate::outcome(failure)));
            return self.feed_agent(process, AgentEvent::DialFailed(link, failure));
        }
        entry.agent_end = AgentEnd::Closed;
        entry.to_agent.clear();
        let end = translate::end(reason);
        self.say_agent(process, &Fact::AgentLost(Process(process), self.wire_id(wire), end));
        self.feed_agent(process, AgentEvent::LinkDown(link, reason));
    }

    /// A dial got to the other side.
    pub(super) fn on_dial(&mut self, wire: u32) {
        let entry = &self.wires[wire as usize];
        if entry.agent_end != AgentEnd::Dialling {
            return;
        }
        let agent = entry.agent;
        if self.agents[agent as usize].weather.partitions > 0 {
            return self.queue.push(self.now + SECOND, What::DialArrives(wire));
        }
        if !self.misdirect(wire, agent) {
            self.accept(wire);
        }
    }
}
