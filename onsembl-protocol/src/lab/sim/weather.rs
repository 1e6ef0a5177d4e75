//! What each kind of fault does when it begins and when it is over.

use super::env::wire_id;
use super::fault::{Fault, FaultKind};
use super::queue::What;
use super::wire::{AgentEnd, Packet};
use super::{SECOND, World};
use crate::close::{CloseCause, CloseCode};
use crate::lab::fact::{self, Agent, Fact, HowEnded, Up, Witness};
use crate::session::{ServerEvent, StoreTrouble};

impl<W: Witness> World<W> {
    pub(super) fn begin(&mut self, number: u32) {
        let fault = self.faults[number as usize].fault;
        if self.calm || fault.agent as usize >= self.agents.hosts.len() {
            return;
        }
        if self.strike(number, fault) {
            self.env.coverage.met(fault.kind);
            self.env.queue.push(self.env.now + fault.lasts.max(1), What::Over(number));
        }
    }

    /// Whether there was something to strike.
    fn strike(&mut self, number: u32, fault: Fault) -> bool {
        use FaultKind as K;
        let Fault { kind, agent, code, lasts: _ } = fault;
        let (process, wire) = self.present(agent);
        let weather = self.env.net.weather(agent);
        let struck = match kind {
            K::StallUp | K::StallDown | K::Freeze => {
                let Some(wire) = wire else { return false };
                self.stall(wire, kind);
                Some(wire)
            }
            K::Cut | K::CutAgentLater | K::CutServerLater | K::CutUnnoticed => {
                let Some(wire) = wire else { return false };
                self.cut(wire, kind);
                Some(wire)
            }
            K::Partition => {
                weather.partitions += 1;
                if let Some(wire) = wire {
                    self.stall(wire, K::Freeze);
                }
                // A wire that is dialled before the partition is over is not stalled by it.
                return self.note(number, wire.or(Some(u32::MAX)));
            }
            K::Lag => {
                weather.lag += 1;
                Some(0)
            }
            K::Mute => {
                if !self.agents.hosts[agent as usize].legacy {
                    return false;
                }
                self.env.net.weather(agent).mute += 1;
                Some(0)
            }
            K::DialUnreachable
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
            | K::HelloUnauthorized
            | K::HelloForbidden
            | K::HelloRefused => {
                weather.dials = Some((number, fault));
                // What comes of dials shows when there is one.
                if let Some(wire) = wire {
                    self.cut(wire, K::Cut);
                }
                Some(0)
            }
            K::Suspend => {
                self.suspend_agent(agent);
                Some(0)
            }
            K::WallAhead | K::WallBack => {
                let by = i64::from(code) * 1000;
                let host = &mut self.agents.hosts[agent as usize].host;
                host.step_wall(if kind == K::WallAhead { by } else { -by });
                None
            }
            K::Wobble => {
                self.agents.hosts[agent as usize].host.wobble();
                None
            }
            K::AgentCrash | K::AgentStop => {
                let Some(process) = process else { return false };
                if kind == K::AgentStop && self.agents.is_away(process) {
                    return false;
                }
                let crash = kind == K::AgentCrash;
                let how = if crash { HowEnded::Killed } else { HowEnded::InOrder };
                self.agents.end_process(&mut self.env, process, how);
                Some(0)
            }
            K::AgentStall => {
                let Some(process) = process else { return false };
                self.agents.processes[process as usize].stalls += 1;
                if self.agents.processes[process as usize].stalls == 1 {
                    self.agents.say_away(&mut self.env, process, true);
                }
                Some(process)
            }
            K::SecondCopy => {
                let host = &self.agents.hosts[agent as usize];
                if host.processes.len() != 1 || host.host.is_suspended() {
                    return false;
                }
                self.agents.start_agent(&mut self.env, agent);
                None
            }
            K::AgentFault | K::Chatter => {
                let Some(wire) = self.connected(agent) else { return false };
                let process = self.env.net.wires[wire as usize].process;
                let fact = Fact::AgentForwarded(fact::Process(process), wire_id(wire));
                for _ in 0..if kind == K::Chatter { 20 } else { 1 } {
                    self.agents.say(&mut self.env, process, &fact);
                    let chatter = kind == K::Chatter;
                    self.env
                        .send_up(wire, if chatter { Packet::Up(Up::Other) } else { Packet::Fault });
                }
                None
            }
            K::ServerCrash | K::ServerPowerLoss | K::ServerStop => {
                if !self.server.running {
                    return false;
                }
                let stop = kind == K::ServerStop;
                let how = if stop { HowEnded::InOrder } else { HowEnded::Killed };
                self.server.end_server(&mut self.env, how, kind != K::ServerPowerLoss);
                Some(0)
            }
            K::ServerStall | K::ServerSuspend => {
                if !self.server.running {
                    return false;
                }
                if !self.server.is_away() {
                    self.env.say(&self.server.host, &Fact::ServerAway);
                }
                match kind == K::ServerStall {
                    true => self.server.stalls += 1,
                    false => self.server.host.suspend(self.env.now),
                }
                Some(0)
            }
            K::ServerWallAhead | K::ServerWallBack => {
                let by = i64::from(code) * 1000;
                self.server.host.step_wall(if kind == K::ServerWallAhead { by } else { -by });
                None
            }
            K::ServerWobble => {
                self.server.host.wobble();
                None
            }
            K::CloseAll | K::CloseOne => {
                if !self.server.is_executed() {
                    return false;
                }
                let cause = CloseCause::from_code(CloseCode(code));
                for wire in self.env.net.open_wires() {
                    if kind == K::CloseAll || self.env.net.wires[wire as usize].agent == agent {
                        self.env.close_at_server(wire, cause);
                    }
                }
                None
            }
            K::Evict => {
                let key = self.server.machine_of(agent).filter(|_| self.server.is_executed());
                let Some(key) = key else { return false };
                // A token that is revoked concerns its link, and no fleet.
                self.env.say(&self.server.host, &Fact::EvictionAsked(Agent(agent)));
                self.server.feed_server(
                    &mut self.env,
                    key,
                    ServerEvent::Evict(CloseCause::Revoked),
                );
                None
            }
            K::OtherToken => {
                let Some(process) = process.filter(|_| self.server.is_executed()) else {
                    return false;
                };
                return self.server.say_hello_with_another_token(
                    &mut self.env,
                    &self.agents,
                    process,
                );
            }
            K::StoreSlow => {
                self.server.store.condition.slow += 1;
                Some(0)
            }
            K::StoreBusy => {
                self.server.store.condition.stuck += 1;
                self.server.tell_trouble(&mut self.env, Some(StoreTrouble::Busy));
                Some(0)
            }
            K::StoreStuck => {
                self.server.store.condition.stuck += 1;
                Some(0)
            }
            K::StoreFails => {
                self.server.store.condition.fails += 1;
                self.server.tell_trouble(&mut self.env, Some(StoreTrouble::Failed));
                Some(0)
            }
            K::StoreFailsAfterCommit => {
                self.server.store.condition.lies += 1;
                Some(0)
            }
        };
        self.note(number, struck)
    }

    fn note(&mut self, number: u32, struck: Option<u32>) -> bool {
        self.struck[number as usize] = struck;
        true
    }

    /// A fault is over: what it struck heals. Some need no healing.
    pub(super) fn over(&mut self, number: u32) {
        use FaultKind as K;
        let Some(struck) = self.struck[number as usize].take() else { return };
        let Fault { kind, agent, .. } = self.faults[number as usize].fault;
        let weather = self.env.net.weather(agent);
        match kind {
            K::StallUp | K::StallDown | K::Freeze => self.release(struck, kind),
            K::Partition => {
                weather.partitions -= 1;
                if struck != u32::MAX {
                    self.release(struck, K::Freeze);
                }
            }
            K::CutAgentLater => self.tell_cut(struck, true, false),
            K::CutServerLater => self.tell_cut(struck, false, true),
            K::Lag => weather.lag -= 1,
            K::Mute => weather.mute -= 1,
            K::DialUnreachable
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
            | K::HelloUnauthorized
            | K::HelloForbidden
            | K::HelloRefused => {
                if weather.dials.is_some_and(|(by, _)| by == number) {
                    weather.dials = None;
                }
            }
            K::Suspend => self.resume_agent(agent),
            K::AgentCrash | K::AgentStop => {
                self.env.queue.push(self.env.now, What::StartAgent(agent));
            }
            K::AgentStall => {
                self.agents.processes[struck as usize].stalls -= 1;
                if self.agents.processes[struck as usize].alive && !self.agents.is_away(struck) {
                    self.agents.say_away(&mut self.env, struck, false);
                    self.wake_agent_process(struck);
                }
            }
            K::ServerCrash | K::ServerPowerLoss | K::ServerStop => {
                self.env.queue.push(self.env.now, What::StartServer);
            }
            K::ServerStall | K::ServerSuspend => {
                match kind == K::ServerStall {
                    true => self.server.stalls -= 1,
                    false => self.server.host.resume(self.env.now),
                }
                if self.server.is_executed() {
                    self.env.say(&self.server.host, &Fact::ServerBack);
                }
                self.server.back(&mut self.env, &self.agents);
            }
            K::StoreSlow => self.server.store.condition.slow -= 1,
            K::StoreBusy => {
                self.server.store.condition.stuck -= 1;
                self.server.tell_trouble(&mut self.env, None);
                self.server.on_store(&mut self.env);
            }
            K::StoreStuck => {
                self.server.store.condition.stuck -= 1;
                self.server.on_store(&mut self.env);
            }
            K::StoreFails => {
                self.server.store.condition.fails -= 1;
                self.server.tell_trouble(&mut self.env, None);
            }
            K::StoreFailsAfterCommit => self.server.store.condition.lies -= 1,
            K::Cut
            | K::CutUnnoticed
            | K::WallAhead
            | K::WallBack
            | K::Wobble
            | K::SecondCopy
            | K::AgentFault
            | K::Chatter
            | K::ServerWallAhead
            | K::ServerWallBack
            | K::ServerWobble
            | K::CloseAll
            | K::CloseOne
            | K::Evict
            | K::OtherToken => {}
        }
    }

    /// All faults are over permanently.
    pub(super) fn heal(&mut self) {
        self.calm = true;
        for number in 0..self.faults.len() as u32 {
            self.over(number);
        }
        self.env.queue.push(self.env.now, What::StartServer);
        for agent in 0..self.agents.hosts.len() as u32 {
            self.end_older_copies(agent);
            self.env.queue.push(self.env.now + SECOND, What::StartAgent(agent));
        }
    }

    /// Two processes of one agent do not end by themselves; a person ends the one too many.
    fn end_older_copies(&mut self, agent: u32) {
        let copies = self.agents.hosts[agent as usize].processes.clone();
        for process in copies.into_iter().rev().skip(1) {
            self.agents.end_process(&mut self.env, process, HowEnded::InOrder);
        }
    }

    /// The youngest process of an agent, and its wire if that is open or being dialled.
    fn present(&self, agent: u32) -> (Option<u32>, Option<u32>) {
        let process = self.agents.hosts[agent as usize].processes.last().copied();
        let wire = process.and_then(|p| self.agents.processes[p as usize].last_wire());
        (process, wire.filter(|wire| !self.env.net.wires[*wire as usize].is_over()))
    }

    /// The wire of an agent that is in session by its own word, and executed.
    fn connected(&self, agent: u32) -> Option<u32> {
        let (process, wire) = self.present(agent);
        let process = process.filter(|p| !self.agents.is_away(*p))?;
        let status = self.agents.processes[process as usize].status();
        wire.filter(|_| status == fact::AgentStatus::Connected)
    }

    fn stall(&mut self, wire: u32, kind: FaultKind) {
        let entry = &mut self.env.net.wires[wire as usize];
        entry.to_server.stalls += u32::from(kind != FaultKind::StallDown);
        entry.to_agent.stalls += u32::from(kind != FaultKind::StallUp);
        self.env.say_world(&Fact::WireStalled(wire_id(wire)));
    }

    fn release(&mut self, wire: u32, kind: FaultKind) {
        let entry = &mut self.env.net.wires[wire as usize];
        for (inbox, stalled) in [
            (&mut entry.to_server, kind != FaultKind::StallDown),
            (&mut entry.to_agent, kind != FaultKind::StallUp),
        ] {
            inbox.stalls = inbox.stalls.saturating_sub(u32::from(stalled));
        }
        if entry.to_server.stalls + entry.to_agent.stalls == 0 {
            self.env.say_world(&Fact::WireHealed(wire_id(wire)));
        }
        self.server.on_to_server(&mut self.env, &self.agents, wire);
        self.on_to_agent(wire);
    }

    fn cut(&mut self, wire: u32, kind: FaultKind) {
        let entry = &mut self.env.net.wires[wire as usize];
        if entry.cut {
            return;
        }
        entry.cut = true;
        entry.to_agent.clear_but_own();
        entry.to_server.clear_but_own();
        self.env.say_world(&Fact::WireCut(wire_id(wire)));
        let agent = matches!(kind, FaultKind::Cut | FaultKind::CutServerLater);
        let server = matches!(kind, FaultKind::Cut | FaultKind::CutAgentLater);
        self.tell_cut(wire, agent, server);
    }

    /// The operating system of an end tells it that the wire is closed.
    fn tell_cut(&mut self, wire: u32, agent: bool, server: bool) {
        let now = self.env.now;
        let entry = &mut self.env.net.wires[wire as usize];
        if agent && entry.agent_end != AgentEnd::Closed {
            entry.to_agent.stalls = 0;
            self.env.tell_agent_end(wire, now, Packet::Broken);
        }
        let entry = &mut self.env.net.wires[wire as usize];
        if server && entry.server_end.hears() {
            entry.to_server.stalls = 0;
            self.env.tell_server_end(wire, now, Packet::Broken);
        }
    }

    /// A process is executed again.
    fn wake_agent_process(&mut self, process: u32) {
        let server_wall = self.server.host.wall(self.env.now);
        self.agents.agent_back(&mut self.env, process, server_wall);
    }

    fn suspend_agent(&mut self, agent: u32) {
        for process in self.agents.hosts[agent as usize].processes.clone() {
            if !self.agents.is_away(process) {
                self.agents.say_away(&mut self.env, process, true);
            }
        }
        self.agents.hosts[agent as usize].host.suspend(self.env.now);
    }

    fn resume_agent(&mut self, agent: u32) {
        self.agents.hosts[agent as usize].host.resume(self.env.now);
        for process in self.agents.hosts[agent as usize].processes.clone() {
            if !self.agents.is_away(process) {
                self.agents.say_away(&mut self.env, process, false);
                self.wake_agent_process(process);
            }
        }
    }
}
