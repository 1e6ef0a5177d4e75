//! What each kind of fault does when it begins and when it is over.
use super::fault::{Fault, FaultKind};
use super::queue::What;
use super::wire::{AgentEnd, Packet, ServerEnd};
use super::{MILLI, SECOND, World};
use crate::close::{CloseCause, CloseCode};
use crate::lab::fact::{self, Agent, Fact, HowEnded, Up, Witness};
use crate::session::{DialFailure, HelloRefusal, ServerEvent, StoreTrouble};
use core::time::Duration;

/// What an agent's surroundings are like now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    pub(super) lag: u32,
    pub(super) partitions: u32,
    pub(super) mute: u32,
    /// The fault that decides what comes of dials.
    dials: Option<u32>,
}

impl<W: Witness> World<W> {
    pub(super) fn begin(&mut self, number: u32) {
        let Fault { kind, agent, lasts, code } = self.faults[number as usize].fault;
        if self.calm || self.agent_there(agent).is_none() {
            return;
        }
        if self.strike(number, kind, agent, code) {
            self.coverage.met(kind);
            self.queue.push(self.now + lasts.max(1), What::Over(number));
        }
    }

    /// Whether there was something to strike.
    fn strike(&mut self, number: u32, kind: FaultKind, agent: u32, code: u16) -> bool {
        use FaultKind as K;
        let (process, wire) = self.present(agent);
        let weather = &mut self.agents[agent as usize].weather;
        let struck = match kind {
            K::HoldUp | K::HoldDown | K::Freeze => {
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
                // A wire that is dialled before the partition is over is not held by it.
                return self.note(number, wire.or(Some(u32::MAX)));
            }
            K::Lag => {
                weather.lag += 1;
                Some(0)
            }
            K::Mute => {
                if !self.agents[agent as usize].legacy {
                    return false;
                }
                self.agents[agent as usize].weather.mute += 1;
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
                weather.dials = Some(number);
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
                let host = &mut self.agents[agent as usize].host;
                host.step_wall(if kind == K::WallAhead { by } else { -by });
                None
            }
            K::Wobble => {
                self.agents[agent as usize].host.wobble();
                None
            }
            K::AgentCrash | K::AgentStop => {
                let Some(process) = process else { return false };
                if kind == K::AgentStop && self.is_away(process) {
                    return false;
                }
                let crash = kind == K::AgentCrash;
                let how = if crash { HowEnded::Killed } else { HowEnded::InOrder };
                self.end_process(process, how);
                Some(0)
            }
            K::AgentStall => {
                let Some(process) = process else { return false };
                self.processes[process as usize].stalls += 1;
                if self.processes[process as usize].stalls == 1 {
                    self.say_away(process, true);
                }
                Some(process)
            }
            K::SecondCopy => {
                let host = &self.agents[agent as usize];
                if host.processes.len() != 1 || host.host.is_suspended() {
                    return false;
                }
                self.start_agent(agent);
                None
            }
            K::AgentFault | K::Chatter => {
                let Some(wire) = self.connected(agent) else { return false };
                let process = self.wires[wire as usize].process;
                let fact = Fact::AgentForwarded(fact::Process(process), self.wire_id(wire));
                for _ in 0..if kind == K::Chatter { 20 } else { 1 } {
                    self.say_agent(process, &fact);
                    let chatter = kind == K::Chatter;
                    self.send_up(wire, if chatter { Packet::Up(Up::Other) } else { Packet::Fault });
                }
                None
            }
            K::ServerCrash | K::ServerPowerLoss | K::ServerStop => {
                if !self.server.running {
                    return false;
                }
                let stop = kind == K::ServerStop;
                let how = if stop { HowEnded::InOrder } else { HowEnded::Killed };
                self.end_server(how, kind != K::ServerPowerLoss);
                Some(0)
            }
            K::ServerStall | K::ServerSuspend => {
                if !self.server.running {
                    return false;
                }
                if !self.server.is_away() {
                    self.say_server(&Fact::ServerAway);
                }
                match kind == K::ServerStall {
                    true => self.server.stalls += 1,
                    false => self.server.host.suspend(self.now),
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
                for wire in self.open_wires() {
                    if kind == K::CloseAll || self.wires[wire as usize].agent == agent {
                        self.close_at_server(wire, cause);
                    }
                }
                None
            }
            K::Evict => {
                let key = self.server.machine_of(agent).filter(|_| self.server.is_executed());
                let Some(key) = key else { return false };
                // A token that is revoked concerns its link, and no fleet.
                self.say_server(&Fact::EvictionAsked(Agent(agent)));
                self.feed_server(key, ServerEvent::Evict(CloseCause::Revoked));
                None
            }
            K::OtherToken => {
                let Some(process) = process.filter(|_| self.server.is_executed()) else {
                    return false;
                };
                return self.say_hello_with_another_token(process);
            }
            K::StoreSlow => {
                self.store.condition.slow += 1;
                Some(0)
            }
            K::StoreBusy => {
                self.store.condition.stuck += 1;
                self.tell_trouble(Some(StoreTrouble::Busy));
                Some(0)
            }
            K::StoreStuck => {
                self.store.condition.stuck += 1;
                Some(0)
            }
            K::StoreFails => {
                self.store.condition.fails += 1;
                self.tell_trouble(Some(StoreTrouble::Failed));
                Some(0)
            }
            K::StoreFailsAfterCommit => {
                self.store.condition.lies += 1;
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
        let weather = &mut self.agents[agent as usize].weather;
        match kind {
            K::HoldUp | K::HoldDown | K::Freeze => self.release(struck, kind),
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
                if weather.dials == Some(number) {
                    weather.dials = None;
                }
            }
            K::Suspend => self.resume_agent(agent),
            K::AgentCrash | K::AgentStop => self.queue.push(self.now, What::StartAgent(agent)),
            K::AgentStall => {
                self.processes[struck as usize].stalls -= 1;
                if self.processes[struck as usize].alive && !self.is_away(struck) {
                    self.say_away(struck, false);
                    self.agent_back(struck);
                }
            }
            K::ServerCrash | K::ServerPowerLoss | K::ServerStop => {
                self.queue.push(self.now, What::StartServer);
            }
            K::ServerStall | K::ServerSuspend => {
                match kind == K::ServerStall {
                    true => self.server.stalls -= 1,
                    false => self.server.host.resume(self.now),
                }
                if self.server.is_executed() {
                    self.say_server(&Fact::ServerBack);
                }
                self.server_back();
            }
            K::StoreSlow => self.store.condition.slow -= 1,
            K::StoreBusy => {
                self.store.condition.stuck -= 1;
                self.tell_trouble(None);
                self.on_store();
            }
            K::StoreStuck => {
                self.store.condition.stuck -= 1;
                self.on_store();
            }
            K::StoreFails => {
                self.store.condition.fails -= 1;
                self.tell_trouble(None);
            }
            K::StoreFailsAfterCommit => self.store.condition.lies -= 1,
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

    /// All faults are over for good.
    pub(super) fn heal(&mut self) {
        self.calm = true;
        for number in 0..self.faults.len() as u32 {
            self.over(number);
        }
        self.queue.push(self.now, What::StartServer);
        for agent in 0..self.agents.len() as u32 {
            self.end_older_copies(agent);
            self.queue.push(self.now + SECOND, What::StartAgent(agent));
        }
    }

    /// Two processes of one agent do not end by themselves; a person ends the one too many.
    fn end_older_copies(&mut self, agent: u32) {
        let copies = self.agents[agent as usize].processes.clone();
        for process in copies.into_iter().rev().skip(1) {
            self.end_process(process, HowEnded::InOrder);
        }
    }

    /// The youngest process of an agent, and its wire if that is open or being dialled.
    fn present(&self, agent: u32) -> (Option<u32>, Option<u32>) {
        let process = self.agents[agent as usize].processes.last().copied();
        let wire = process.and_then(|p| self.processes[p as usize].last_wire());
        (process, wire.filter(|wire| !self.wires[*wire as usize].is_over()))
    }

    /// The wire of an agent that is in session by its own word, and executed.
    fn connected(&self, agent: u32) -> Option<u32> {
        let (process, wire) = self.present(agent);
        let process = process.filter(|p| !self.is_away(*p))?;
        let status = self.processes[process as usize].status();
        wire.filter(|_| status == fact::AgentStatus::Connected)
    }

    fn stall(&mut self, wire: u32, kind: FaultKind) {
        let entry = &mut self.wires[wire as usize];
        entry.to_server.stalls += u32::from(kind != FaultKind::HoldDown);
        entry.to_agent.stalls += u32::from(kind != FaultKind::HoldUp);
        self.say_world(&Fact::WireStalled(self.wire_id(wire)));
    }

    fn release(&mut self, wire: u32, kind: FaultKind) {
        let entry = &mut self.wires[wire as usize];
        for (inbox, stalled) in [
            (&mut entry.to_server, kind != FaultKind::HoldDown),
            (&mut entry.to_agent, kind != FaultKind::HoldUp),
        ] {
            inbox.stalls = inbox.stalls.saturating_sub(u32::from(stalled));
        }
        if entry.to_server.stalls + entry.to_agent.stalls == 0 {
            self.say_world(&Fact::WireHealed(self.wire_id(wire)));
        }
        self.on_to_server(wire);
        self.on_to_agent(wire);
    }

    fn cut(&mut self, wire: u32, kind: FaultKind) {
        let entry = &mut self.wires[wire as usize];
        if entry.cut {
            return;
        }
        entry.cut = true;
        entry.to_agent.clear_but_own();
        entry.to_server.clear_but_own();
        self.say_world(&Fact::WireCut(self.wire_id(wire)));
        let agent = matches!(kind, FaultKind::Cut | FaultKind::CutServerLater);
        let server = matches!(kind, FaultKind::Cut | FaultKind::CutAgentLater);
        self.tell_cut(wire, agent, server);
    }

    /// The operating system of an end tells it that the wire is closed.
    fn tell_cut(&mut self, wire: u32, agent: bool, server: bool) {
        let now = self.now;
        let entry = &mut self.wires[wire as usize];
        if agent && entry.agent_end != AgentEnd::Closed {
            entry.to_agent.stalls = 0;
            let _ = entry.to_agent.push_here(now, Packet::Broken);
            self.queue.push(now, What::ToAgent(wire));
        }
        let open =
            matches!(entry.server_end, ServerEnd::Greeting | ServerEnd::Joining | ServerEnd::Live);
        if server && open {
            entry.to_server.stalls = 0;
            let _ = entry.to_server.push_here(now, Packet::Broken);
            self.queue.push(now, What::ToServer(wire));
        }
    }

    fn suspend_agent(&mut self, agent: u32) {
        for process in self.agents[agent as usize].processes.clone() {
            if !self.is_away(process) {
                self.say_away(process, true);
            }
        }
        self.agents[agent as usize].host.suspend(self.now);
    }

    fn resume_agent(&mut self, agent: u32) {
        self.agents[agent as usize].host.resume(self.now);
        for process in self.agents[agent as usize].processes.clone() {
            if !self.is_away(process) {
                self.say_away(process, false);
                self.agent_back(process);
            }
        }
    }

    /// What comes of a dial that does not get to the server, if a fault decides it.
    pub(super) fn misdirect(&mut self, wire: u32, agent: u32) -> bool {
        use FaultKind as K;
        let Some(number) = self.agents[agent as usize].weather.dials else { return false };
        let Fault { kind, code, .. } = self.faults[number as usize].fault;
        let patience = super::host::span(self.agent_rules.dial_timeout);
        let entry = &mut self.wires[wire as usize];
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
                let at = entry.to_agent.push_here(self.now + patience + SECOND, Packet::Opened);
                self.queue.push(at, What::ToAgent(wire));
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
            K::HoldUp
            | K::HoldDown
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
        let at = self.wires[wire as usize]
            .to_agent
            .push_here(self.now + wait, Packet::DialFailed(failure));
        self.queue.push(at, What::ToAgent(wire));
        true
    }

    /// Something that is not the server gets a frame.
    pub(super) fn answer_from_stub(&mut self, wire: u32, frame: Up) {
        use FaultKind as K;
        let agent = self.wires[wire as usize].agent;
        let kind = self.agents[agent as usize]
            .weather
            .dials
            .map(|number| self.faults[number as usize].fault.kind);
        if frame != Up::Hello {
            return;
        }
        let Some(kind) = kind else { return };
        let refusal = match kind {
            K::HelloUnauthorized => HelloRefusal::Unauthorized,
            K::HelloForbidden => HelloRefusal::Forbidden,
            K::HelloRefused => HelloRefusal::Other,
            K::HoldUp
            | K::HoldDown
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
