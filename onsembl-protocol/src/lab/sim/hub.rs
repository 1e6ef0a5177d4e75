//! The hub of the server: hands to the fleet what happened, and performs what it decides onto the
//! machines and the store. It decides nothing.
//!
//! It also holds what the fleet says against the truth of the world: which agent each wire, machine and
//! row is of.

use super::agents::Agents;
use super::env::{Env, wire_id};
use super::failure::Failure;
use super::hello::{another_token, hello_of};
use super::links::{Link, link, number};
use super::seats::Seated;
use super::server::Server;
use super::wire::Packet;
use crate::close::CloseCause;
use crate::fleet::{
    Admission, Change, FleetAction, FleetEvent, Question, SeatId, SeatOrigin, Write,
};
use crate::id::LinkId;
use crate::lab::fact::{Agent, Down, Fact, Installed, Process, Status, Witness};
use crate::session::{Claimant, HelloRefusal, ServerConnection, ServerEvent, ServerView};
use crate::time::Deadline;
use crate::wire::ServerToAgent;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

impl Server {
    /// Hands an event to the fleet, behind those that happened before it.
    pub(super) fn feed_fleet<W: Witness>(&mut self, env: &mut Env<W>, event: FleetEvent) {
        self.events.push_back(event);
        self.drain_events(env);
    }

    /// Hands to the fleet what has happened, until nothing more has.
    pub(super) fn drain_events<W: Witness>(&mut self, env: &mut Env<W>) {
        if self.events.is_empty() {
            return;
        }
        let now = self.host.sample(env.now);
        while let Some(event) = self.events.pop_front() {
            let mut newcomer = None;
            if let FleetEvent::Hello { link, .. } = &event {
                newcomer = Some(env.net.wires[number(*link) as usize].agent);
            }
            if let FleetEvent::Forgotten { seat, .. } = &event {
                self.seats.remove(*seat);
            }
            self.fleet.handle(event, now);
            self.perform_fleet(env, newcomer);
        }
        self.fleet_wake = self.fleet.deadline();
        if self.fleet_wake != Deadline::Never {
            self.arm_server(env);
        }
    }

    /// A peer with a token of another lineage says what this process says, and then opens a link in the
    /// name of its agent and says nothing. Each is to be refused, and nothing else is to follow. Whether the
    /// fleet knows that agent.
    pub(super) fn say_hello_with_another_token<W: Witness>(
        &mut self,
        env: &mut Env<W>,
        agents: &Agents,
        process: u32,
    ) -> bool {
        let running = &agents.processes[process as usize];
        let agent = running.agent;
        self.drain_events(env);
        let id = self.store.id_of(agent).filter(|id| self.fleet.recording(id).is_some());
        let Some(named) = id.cloned() else { return false };
        let link = LinkId(u64::MAX);
        let (hello, peer) = (Box::new(hello_of(running, process, Some(&named))), String::new());
        let bearer = Some(another_token());
        let silent = FleetEvent::Silent { link, named, bearer: bearer.clone() };
        let now = self.host.sample(env.now);
        for event in [FleetEvent::Hello { link, hello, peer, bearer }, silent] {
            self.fleet.handle(event, now);
            let mut refused = 0;
            while let Some(action) = self.fleet.poll_action() {
                let is_refusal = matches!(
                    &action,
                    FleetAction::RefuseHello { link: of, .. } | FleetAction::GiveUpSilent(of)
                        if *of == link
                );
                if is_refusal {
                    refused += 1;
                } else if !matches!(action, FleetAction::Note(_)) {
                    env.fail(Failure::TakenOver { agent });
                }
            }
            if refused != 1 {
                env.fail(Failure::TakenOver { agent });
            }
        }
        true
    }

    /// Performs what the fleet decided; a machine that it puts in is for this agent.
    pub(super) fn perform_fleet<W: Witness>(&mut self, env: &mut Env<W>, newcomer: Option<u32>) {
        while let Some(action) = self.fleet.poll_action() {
            match action {
                FleetAction::Show(changes) => self.show(env, changes),
                FleetAction::Install { seat, origin } => {
                    match newcomer.or_else(|| self.contender(env)) {
                        Some(agent) => self.install(env, agent, seat, origin),
                        None => env.fail(Failure::Unasked),
                    }
                }
                FleetAction::Join { link, seat, claimant } => self.join(env, link, seat, claimant),
                FleetAction::RefuseHello {
                    link,
                    cause: cause @ (CloseCause::Contested | CloseCause::Superseded),
                    ..
                } => {
                    let wire = number(link);
                    env.send_down(wire, Packet::Refused(HelloRefusal::Other));
                    let _ = self.links.remove(&wire);
                    env.close_at_server(wire, cause);
                }
                FleetAction::RefuseHello { link, .. } => {
                    let agent = env.net.wires[number(link) as usize].agent;
                    env.fail(Failure::Refused { agent });
                }
                FleetAction::Admit { seat, link, admission } => {
                    self.admit(env, seat, link, admission);
                }
                FleetAction::Reject { seat, link, cause, .. } => {
                    // Its machine may have given the hello up by itself, and be removed since.
                    let seated = self.seats.of_seat(seat);
                    let Some(Seated { key, agent, .. }) = seated else { continue };
                    let wire = number(link);
                    env.send_down(wire, Packet::Refused(HelloRefusal::Other));
                    env.say(&self.host, &Fact::SessionDenied(Agent(agent), wire_id(wire)));
                    self.feed_server(env, key, ServerEvent::Rejected { link, cause });
                }
                FleetAction::Faulted(seat) => {
                    let Some(Seated { key, agent, .. }) = self.seated(env, seat) else { return };
                    let current = self.supervisor.get(key).and_then(ServerView::link);
                    if let Some(link) = current {
                        let wire = wire_id(number(link));
                        env.say(&self.host, &Fact::FaultReported(Agent(agent), wire));
                        self.feed_server(env, key, ServerEvent::Faulted(link));
                    }
                }
                FleetAction::Ask(Question::Session { seat, link, new }) => {
                    self.store.ask_session(env, seat, link, new);
                }
                FleetAction::Send { seat, message } => {
                    if matches!(*message, ServerToAgent::Ping(_)) {
                        self.ask_process_in_session(env, seat);
                    } else {
                        env.fail(Failure::Unasked);
                    }
                }
                FleetAction::Write(write) => self.ask_write(env, write),
                FleetAction::Note(_) => {}
                // Without commands, stops and a user who asks for something nothing leads to these.
                FleetAction::WelcomeProbe { .. }
                | FleetAction::Throttle { .. }
                | FleetAction::Evict { .. }
                | FleetAction::Ask(
                    Question::Insert(_)
                    | Question::Positions { .. }
                    | Question::LogPosition(_)
                    | Question::Balance { .. }
                    | Question::KeepFindings(_)
                    | Question::DeleteAgent { .. }
                    | Question::Stop(_)
                    | Question::Release { .. },
                )
                | FleetAction::Reply { .. }
                | FleetAction::Park { .. }
                | FleetAction::GiveUpSilent(_) => env.fail(Failure::Unasked),
            }
        }
    }

    fn ask_process_in_session<W: Witness>(&mut self, env: &mut Env<W>, seat: SeatId) {
        let Some(Seated { key, .. }) = self.seated(env, seat) else { return };
        // It is the fleet's, and none of the numbered signs of life of the machine.
        if let Some(link) = self.supervisor.get(key).and_then(ServerView::link) {
            env.send_down(number(link), Packet::Down(Down::Ping));
        }
    }

    /// The agent of a hello that waited while another process of it had a session, and has no machine now.
    fn contender<W>(&self, env: &Env<W>) -> Option<u32> {
        let waiting = self.links.iter().filter(|(_, link)| link.key.is_none());
        let mut agents = waiting.map(|(wire, _)| env.net.wires[*wire as usize].agent);
        agents.find(|agent| self.seats.of_agent(*agent).is_none())
    }

    /// The machine of a seat. The fleet must not name one after it was informed of its removal.
    fn seated<W: Witness>(&mut self, env: &mut Env<W>, seat: SeatId) -> Option<Seated> {
        let seated = self.seats.of_seat(seat);
        if seated.is_none() {
            env.fail(Failure::SeatGone);
        }
        seated
    }

    fn install<W: Witness>(
        &mut self,
        env: &mut Env<W>,
        agent: u32,
        seat: SeatId,
        origin: SeatOrigin,
    ) {
        if self.seats.of_agent(agent).is_some() {
            env.fail(Failure::TwoSeats { agent });
        }
        let now = self.host.sample(env.now);
        self.shown[agent as usize] = Status::Offline;
        let key = match origin {
            SeatOrigin::New { version, epoch, history: _ } => {
                let machine = ServerConnection::new(self.rules, version, epoch, now);
                let key = self.seat(agent, seat, machine);
                let installed = Installed::Fresh { version: version.0, epoch: epoch.0 };
                env.say(&self.host, &Fact::Installed(Agent(agent), installed));
                key
            }
            SeatOrigin::Recovered { version, epoch } => {
                let (machine, step) = ServerConnection::recovered(self.rules, version, epoch, now);
                let key = self.seat(agent, seat, machine);
                let installed = Installed::Recovered { version: version.0, epoch: epoch.0 };
                env.say(&self.host, &Fact::Installed(Agent(agent), installed));
                if let Some(seated) = self.seats.of_key(key) {
                    self.perform(env, seated, step.actions);
                    self.served(env, seated);
                }
                key
            }
        };
        // It was not there when the store said so.
        if self.store.trouble.is_some() {
            self.tell_trouble_to(env, key);
        }
    }

    fn join<W: Witness>(
        &mut self,
        env: &mut Env<W>,
        link: LinkId,
        seat: SeatId,
        claimant: Claimant,
    ) {
        let Some(Seated { key, agent, .. }) = self.seated(env, seat) else { return };
        let wire = number(link);
        // It may have ended while its hello waited for the fleet.
        let Some(entry) = self.links.get_mut(&wire) else { return };
        entry.key = Some(key);
        let dialect = entry.capabilities.dialect();
        if self.supervisor.get(key).is_none() {
            return;
        }
        let process = env.net.wires[wire as usize].process;
        env.say(&self.host, &Fact::Joined(Agent(agent), wire_id(wire), Process(process)));
        if env.net.wires[wire as usize].agent != agent {
            env.fail(Failure::OtherAgent { agent });
        }
        self.feed_server(env, key, ServerEvent::Joined { link, dialect, claimant });
    }

    fn admit<W: Witness>(
        &mut self,
        env: &mut Env<W>,
        seat: SeatId,
        link: LinkId,
        admission: Admission,
    ) {
        let Some(Seated { key, agent, .. }) = self.seated(env, seat) else { return };
        if self.store.id_of(agent) != Some(&admission.agent) {
            env.fail(Failure::OtherAgent { agent });
        }
        self.seats.bind(key);
        let (wire, epoch) = (number(link), admission.epoch);
        if let Some(entry) = self.links.get_mut(&wire) {
            entry.admission = Some(admission);
        }
        env.say(&self.host, &Fact::SessionAnswered(Agent(agent), wire_id(wire), epoch.0));
        self.feed_server(env, key, ServerEvent::Admitted { link, epoch });
        if let Some(entry) = self.links.get_mut(&wire) {
            entry.admission = None;
        }
    }

    /// The machine began the session over this wire, and its welcome goes out.
    pub(super) fn began(&mut self, seat: SeatId, wire: u32) {
        let Some(entry) = self.links.get_mut(&wire) else { return };
        let Some(Admission { session, .. }) = entry.admission.take() else { return };
        entry.session = Some(session);
        let capabilities = entry.capabilities;
        let event = FleetEvent::Welcomed { seat, link: link(wire), capabilities };
        self.events.push_back(event);
    }

    /// What readers of the fleet's view are shown. None may go back (P-62).
    fn show<W: Witness>(&mut self, env: &mut Env<W>, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Agent(id, agent) => {
                    let Some(of) = self.store.agent_of(&id) else {
                        return env.fail(Failure::Unasked);
                    };
                    let presence = &agent.presence;
                    let next = (presence.version, presence.status);
                    let before = self.readers[of as usize].replace(next);
                    if before.is_some_and(|(version, _)| version > next.0) {
                        env.fail(Failure::ReadersWentBack { agent: of });
                    }
                }
                Change::Heard(..) | Change::Metrics(..) | Change::Beats(..) => {}
                Change::AgentRemoved(_)
                | Change::Command { .. }
                | Change::CommandAgain(_)
                | Change::Keyboard(..)
                | Change::Log { .. }
                | Change::Output(..)
                | Change::Stored(..)
                | Change::TerminalSize(..)
                | Change::CommandRemoved(_) => env.fail(Failure::Unasked),
            }
        }
    }

    fn ask_write<W: Witness>(&mut self, env: &mut Env<W>, write: Write) {
        if let Write::SessionEnd { session, .. } = &write {
            let goes_on = |(_, link): (&u32, &Link)| link.session.as_ref() == Some(session);
            if let Some((wire, _)) = self.links.iter().find(|(wire, link)| goes_on((wire, link))) {
                let agent = env.net.wires[*wire as usize].agent;
                env.fail(Failure::EndedWhileOpen { agent });
            }
        }
        self.store.ask_write(env, write);
    }
}
