//! The server of one user, the machines of its agents and the links between them, and what happens while
//! nothing goes wrong. What goes wrong is in `course`.

use super::agent::{Agent, Asked, Make};
use super::host::{Host, Kind, Program, nonsense, written};
use super::judge;
use super::judge::{Remnant, Truth};
use super::requests::Wanted;
use super::server::{Down, Sent, Server};
use super::store::{Health, Store};
use super::weather::{Weather, limits};
use super::wires::{Counts, Story, Up, Wire};
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason, Initiator};
use onsembl_protocol::fleet::{
    Bearer, CommandStage, FleetLimits, PresenceRecord, SeatId, Token, TokenScope, Write,
};
use onsembl_protocol::id::{AgentId, CommandId, LineageId, LinkId, TokenId, UserId};
use onsembl_protocol::model::Exit;
use onsembl_protocol::session::ServerConfig;
use onsembl_protocol::wire::payload::{CommandComplete, CommandInput, CommandPhase, Pong};
use onsembl_protocol::wire::{AgentToServer, ServerToAgent};
use onsembl_protocol::worker::{Fate, Rest, TypingOutcome};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Commands of users in all.
pub(super) const COMMANDS: usize = 16;
/// Terminals that programs of agents may open in all.
const TERMINALS: usize = 12;
/// How long a program must outlive what it read for that to be completed.
const MOMENT: Duration = Duration::from_millis(200);

pub(super) struct World {
    pub(super) random: fastrand::Rng,
    pub(super) at: Duration,
    pub(super) weather: Weather,
    pub(super) limits: FleetLimits,
    pub(super) config: ServerConfig,
    pub(super) user: (UserId, SeatId),
    pub(super) counts: Counts,
    pub(super) store: Store,
    pub(super) health: Health,
    pub(super) server: Server,
    pub(super) hosts: Vec<Host>,
    pub(super) wires: BTreeMap<LinkId, Wire>,
    pub(super) truth: BTreeMap<CommandId, Truth>,
    /// Commands that the database had and lost.
    pub(super) lost_rows: BTreeSet<CommandId>,
    /// Requests that are not answered yet.
    pub(super) wanted: BTreeMap<Token, Wanted>,
    /// It comes to its end: no terminal is opened any more.
    pub(super) is_over: bool,
    pub(super) met: BTreeSet<CommandStage>,
    pub(super) story: Option<Story>,
    /// Everything that this user's side was given, if it is kept.
    pub(super) transcript: Option<Vec<String>>,
}

impl World {
    pub(super) fn new(
        seed: u64,
        weather: Weather,
        mut random: fastrand::Rng,
        user: (UserId, SeatId),
        counts: Counts,
        story: Option<Story>,
    ) -> Self {
        let limits = limits(&mut random);
        let config = ServerConfig::DEFAULT.with_resume_window(Duration::from_secs(60));
        let mut store = Store::default();
        let server = Server::start(&mut store, user.clone(), limits, config, seed, Duration::ZERO);
        let mut kinds = vec![Kind::Extended, Kind::Extended];
        if weather.has_wrapper {
            kinds.push(Kind::Wrapper);
        }
        if weather.is_hostile {
            kinds.push(Kind::Hostile);
        }
        let mut hosts = Vec::new();
        for (n, kind) in kinds.into_iter().enumerate() {
            let has_terminal = n == 1 && random.bool();
            let make = Make { slots: random.usize(1..4), has_terminal };
            hosts.push(Host::new(n, kind, make));
        }
        let mut world = Self {
            random,
            at: Duration::ZERO,
            weather,
            limits,
            config,
            user,
            counts,
            store,
            health: Health::Works,
            server,
            hosts,
            wires: BTreeMap::new(),
            truth: BTreeMap::new(),
            lost_rows: BTreeSet::new(),
            wanted: BTreeMap::new(),
            is_over: false,
            met: BTreeSet::new(),
            story,
            transcript: None,
        };
        for n in 0..world.hosts.len() {
            world.start(n);
            world.dial(n);
        }
        world
    }

    pub(super) fn log(&self, what: impl FnOnce() -> String) {
        if let Some(story) = &self.story {
            let line = format!("{:>9.3} {}", self.at.as_secs_f64(), what());
            story.borrow_mut().push(line);
        }
    }

    // --- programs

    /// The usual program of a machine starts.
    pub(super) fn start(&mut self, n: usize) {
        let kind = self.hosts[n].kind;
        self.start_as(n, kind);
    }

    pub(super) fn start_as(&mut self, n: usize, kind: Kind) {
        let host = &mut self.hosts[n];
        host.starts += 1;
        (host.link, host.in_session) = (None, false);
        host.program = match kind {
            Kind::Wrapper => Program::Wrapper(Vec::new()),
            Kind::Hostile => Program::Hostile,
            Kind::Extended => {
                let (truth, random) = (&mut self.truth, &mut self.random);
                let leaves = self.weather.leaves_survivors;
                let fate = |id: &CommandId| {
                    if leaves && random.u8(0..3) == 0 {
                        return Fate::Unknown;
                    }
                    if let Some(truth) = truth.get_mut(id) {
                        (truth.is_alive, truth.rest) = (false, Remnant::Nothing);
                    }
                    Fate::Ended
                };
                let unique = host.unique();
                let agent = Agent::start(host.make, unique, &host.journal, fate, self.at);
                Program::Worker(Box::new(agent))
            }
        };
        self.log(|| format!("host {n} starts as {kind:?}"));
    }

    /// It dies, and what it ran continues without it.
    pub(super) fn kill(&mut self, n: usize) {
        self.log(|| format!("host {n} dies"));
        self.cut(n, CloseReason::broken(Breakage::Reset));
        let host = &mut self.hosts[n];
        if let Program::Worker(agent) = std::mem::replace(&mut host.program, Program::Dead) {
            agent.die(&mut host.journal, &mut self.random);
        }
        for truth in self.truth.values_mut().filter(|truth| truth.host == n) {
            truth.is_orphaned |= truth.is_alive;
        }
        // It may have been about to start these, and it is unknown.
        for left in self.hosts[n].journal.left_behind() {
            self.truth_of(&left.command, n).is_orphaned = true;
        }
    }

    pub(super) fn truth_of(&mut self, id: &CommandId, host: usize) -> &mut Truth {
        let truth = self.truth.entry(id.clone()).or_insert_with(|| Truth::on(host));
        truth.host = host;
        truth
    }

    /// Does the next thing that an agent asks of its machine.
    pub(super) fn act(&mut self, n: usize) {
        let at = self.at;
        let Some(asked) = self.hosts[n].worker().and_then(|agent| agent.asked.pop_front()) else {
            return;
        };
        self.log(|| format!("host {n}: {asked:?}"));
        let fails = self.random.u8(0..20) == 0;
        match asked {
            Asked::Start(id) => {
                let terminals = self.truth.keys().filter(|id| id.is_terminal()).count();
                let is_enough = id.is_terminal() && (self.is_over || terminals >= TERMINALS);
                if fails || is_enough {
                    return self.with_agent(n, |agent| agent.not_started(id, at));
                }
                let truth = self.truth_of(&id, n);
                truth.runs += 1;
                truth.is_alive = true;
                self.with_agent(n, |agent| agent.started(id, at));
            }
            Asked::Type(id) if fails => {
                let outcome = TypingOutcome::Refused("the terminal is torn".to_owned());
                self.with_agent(n, |agent| agent.typed(id, outcome, at));
            }
            Asked::Type(id) => {
                let open = self.truth.iter().find(|(id, truth)| {
                    id.is_terminal() && truth.host == n && truth.is_alive && !truth.is_orphaned
                });
                let terminal = open.map(|(id, _)| id.clone());
                let truth = self.truth_of(&id, n);
                truth.runs += 1;
                truth.typed = terminal.map(|terminal| (terminal, at));
                self.with_agent(n, |agent| agent.typed(id, TypingOutcome::Typed, at));
            }
            Asked::End(id) => {
                self.end(&id, Exit::Signal(15));
                self.end_rest(&id, Remnant::Member);
            }
            Asked::Sweep => {
                let here = self.truth.iter().filter(|(_, truth)| truth.host == n);
                let ids: Vec<CommandId> = here.map(|(id, _)| id.clone()).collect();
                ids.iter().for_each(|id| self.end_rest(id, Remnant::Stray));
            }
        }
    }

    /// What a command left ends, if it left this, and its agent observes that.
    pub(super) fn end_rest(&mut self, id: &CommandId, rest: Remnant) {
        let Some(truth) = self.truth.get_mut(id) else { return };
        if truth.is_alive || truth.is_orphaned || truth.rest != rest || rest == Remnant::Nothing {
            return;
        }
        truth.rest = Remnant::Nothing;
        let (n, at, id) = (truth.host, self.at, id.clone());
        self.log(|| format!("nothing is left of {id}"));
        self.with_agent(n, |agent| agent.cleared(id, at));
    }

    pub(super) fn with_agent(&mut self, n: usize, does: impl FnOnce(&mut Agent)) {
        if let Some(agent) = self.hosts[n].worker() {
            does(agent);
        }
    }

    /// A process ends, if it runs and its agent is there to observe it.
    pub(super) fn end(&mut self, id: &CommandId, exit: Exit) {
        let Some(truth) = self.truth.get_mut(id) else { return };
        if !truth.is_alive || truth.is_orphaned {
            return;
        }
        let n = truth.host;
        (truth.is_alive, truth.exit) = (false, Some(exit));
        let is_worker = matches!(self.hosts[n].program, Program::Worker(_));
        let leaves = is_worker && self.weather.leaves_survivors && self.random.u8(0..6) == 0;
        let (remnant, rest) = match (leaves, self.random.u8(0..4)) {
            (true, 0) => (Remnant::Stray, Rest::Watched),
            (true, 1) => (Remnant::Nothing, Rest::Unwatched),
            (true, _) => (Remnant::Member, Rest::Watched),
            (false, _) => (Remnant::Nothing, Rest::Ended),
        };
        truth.rest = remnant;
        self.log(|| format!("{id} ends: {exit:?}"));
        let (id, at) = (id.clone(), self.at);
        for truth in self.truth.values_mut() {
            let read = truth.typed.as_ref().filter(|(terminal, _)| *terminal == id);
            if read.is_some_and(|(_, read_at)| at < *read_at + MOMENT) {
                truth.ended_by = Some(exit);
            }
        }
        let reports = self.random.bool();
        match &mut self.hosts[n].program {
            Program::Worker(agent) => agent.ended(id, exit, rest, at),
            Program::Wrapper(commands) => {
                commands.retain(|command| *command != id);
                if reports {
                    let report = {
                        let mut it = CommandComplete::new(
                            id,
                            match exit.success() {
                                true => CommandPhase::Completed,
                                false => CommandPhase::Failed,
                            },
                        );
                        it.exit_code = match exit {
                            Exit::Code(code) => Some(code),
                            Exit::Signal(_) => Some(1),
                        };
                        it
                    };
                    self.send_up(n, AgentToServer::CommandComplete(report));
                }
            }
            Program::Hostile | Program::Dead => {}
        }
    }

    /// Some process that runs, on any machine.
    pub(super) fn any_process(&mut self) -> Option<CommandId> {
        let alive = self.truth.iter().filter(|(_, truth)| truth.is_alive);
        self.random.choice(alive.map(|(id, _)| id.clone()).collect::<Vec<_>>())
    }

    // --- links

    pub(super) fn dial(&mut self, n: usize) {
        let host = &mut self.hosts[n];
        if host.link.is_some() || host.is_banned {
            return;
        }
        let Some(hello) = host.hello() else { return };
        let link = self.counts.link();
        host.link = Some(link);
        let up = VecDeque::from([Up::Hello(Box::new(hello))]);
        self.wires.insert(link, Wire { host: n, up, down: VecDeque::new(), is_frozen: false });
        self.log(|| format!("host {n} dials {link}"));
    }

    /// A machine gives its link up.
    pub(super) fn cut(&mut self, n: usize, reason: CloseReason) {
        let host = &mut self.hosts[n];
        host.in_session = false;
        let Some(link) = host.link.take() else { return };
        if let Some(agent) = host.worker() {
            agent.feed(onsembl_protocol::worker::WorkerEvent::SessionEnded, self.at);
        }
        let host = n;
        self.log(|| format!("host {host} gives {link} up: {reason}"));
        if let Some(wire) = self.wires.get_mut(&link)
            && !wire.is_frozen
        {
            wire.down.clear();
            wire.up.push_back(Up::End(reason));
        }
    }

    pub(super) fn send_up(&mut self, n: usize, message: AgentToServer) {
        let host = &self.hosts[n];
        let link = host.link.filter(|_| host.in_session);
        if let Some(wire) = link.and_then(|link| self.wires.get_mut(&link))
            && !wire.is_frozen
        {
            wire.up.push_back(Up::Message(Box::new(message)));
        }
    }

    /// A machine says the next thing that it has to say.
    pub(super) fn speak(&mut self, n: usize) -> bool {
        if !self.hosts[n].in_session {
            return false;
        }
        let at = self.at;
        let message = match &mut self.hosts[n].program {
            Program::Worker(agent) => {
                if let Some(paused) = agent.says_paused.take()
                    && let Some(link) = self.hosts[n].link
                    && let Some(wire) = self.wires.get_mut(&link)
                    && !wire.is_frozen
                {
                    wire.up.push_back(Up::Paused(paused));
                }
                self.hosts[n].worker().and_then(|agent| agent.next_message(at))
            }
            Program::Wrapper(commands) => {
                let own = self.random.choice(commands.iter()).cloned();
                own.filter(|_| self.random.u8(0..8) == 0 && !self.is_over)
                    .map(|id| AgentToServer::Output(written(id, "work\n")))
            }
            Program::Hostile => {
                Some(nonsense(&mut self.random, COMMANDS)).filter(|_| !self.is_over)
            }
            Program::Dead => None,
        };
        let Some(message) = message else { return false };
        self.log(|| format!("host {n} says {message:?}"));
        self.send_up(n, message);
        true
    }

    /// The server hears the next thing of this link.
    pub(super) fn hear(&mut self, link: LinkId) -> bool {
        let at = self.at;
        let Some(wire) = self.wires.get_mut(&link) else { return false };
        let is_end = matches!(wire.up.front(), Some(Up::End(_)));
        if wire.is_frozen || !is_end && !self.server.reads(link) {
            return false;
        }
        let Some(up) = wire.up.pop_front() else { return false };
        match up {
            Up::Hello(hello) => self.server.on_hello(link, *hello, Some(token()), at),
            Up::Message(message) => self.server.on_message(link, *message, at),
            Up::Paused(paused) => self.server.on_paused(link, paused, at),
            Up::End(reason) => {
                self.wires.remove(&link);
                self.server.on_link_end(link, reason, at);
            }
        }
        self.look();
        true
    }

    /// What the server said is judged, and goes onto the wire.
    pub(super) fn look(&mut self) {
        for sent in std::mem::take(&mut self.server.sent) {
            if let Some(transcript) = &mut self.transcript {
                // Several users share what counts links and requests.
                transcript.push(match &sent {
                    Sent::Reply(_, answer) => format!("{answer:?}"),
                    Sent::Down(_, down) => format!("{down:?}"),
                    Sent::Write(Write::Presence(record)) => {
                        format!("{:?}", PresenceRecord { link: None, ..record.clone() })
                    }
                    Sent::Write(_) | Sent::Change(_) => format!("{sent:?}"),
                });
            }
            match sent {
                Sent::Down(link, down) => {
                    judge::check_down(self, link, &down);
                    self.log(|| format!("server says over {link}: {down:?}"));
                    if let Some(wire) = self.wires.get_mut(&link).filter(|wire| !wire.is_frozen) {
                        wire.down.push_back(down);
                    }
                }
                Sent::Reply(token, answer) => self.check_reply(token, answer),
                Sent::Write(write) => self.log(|| format!("to be written: {write:?}")),
                Sent::Change(change) => self.log(|| format!("shown: {change:?}")),
            }
        }
    }

    /// A machine hears the next thing of this link.
    pub(super) fn listen(&mut self, link: LinkId) -> bool {
        let Some(wire) = self.wires.get_mut(&link) else { return false };
        let n = wire.host;
        if wire.is_frozen || self.hosts[n].link != Some(link) {
            return false;
        }
        let Some(down) = wire.down.pop_front() else { return false };
        let at = self.at;
        match down {
            Down::Welcome { agent, capabilities, stopped } => {
                let host = &mut self.hosts[n];
                host.taught = Some(agent.clone());
                host.in_session = true;
                self.with_agent(n, |host| host.on_welcome(agent, capabilities, stopped, at));
            }
            Down::Message(message) => self.on_message(n, *message),
            Down::Closed(cause) => {
                self.wires.remove(&link);
                self.server.on_link_end(link, CloseReason::local(cause), at);
                self.look();
                let host = &mut self.hosts[n];
                (host.link, host.in_session) = (None, false);
                self.with_agent(n, |agent| {
                    agent.feed(onsembl_protocol::worker::WorkerEvent::SessionEnded, at);
                });
                if cause == CloseCause::Deleted {
                    self.banish(n);
                }
            }
        }
        true
    }

    fn on_message(&mut self, n: usize, message: ServerToAgent) {
        let at = self.at;
        match &mut self.hosts[n].program {
            // Its driver answers at once.
            Program::Worker(_) if matches!(message, ServerToAgent::Ping(_)) => {
                self.send_up(n, AgentToServer::Pong(Pong::default()));
            }
            Program::Worker(agent) => agent.hear(message, at),
            Program::Wrapper(commands) => match message {
                ServerToAgent::CommandRequest(request) => {
                    let id = request.command_id.unwrap();
                    let is_text = matches!(request.input, None | Some(CommandInput::Text));
                    assert!(is_text, "a wrapper would type the names of the keys of {id}");
                    commands.push(id.clone());
                    let truth = self.truth_of(&id, n);
                    truth.runs += 1;
                    truth.is_alive = true;
                }
                ServerToAgent::EmergencyStop(_) => {
                    for id in commands.clone() {
                        self.end(&id, Exit::Signal(9));
                    }
                }
                _ => {}
            },
            Program::Hostile | Program::Dead => {}
        }
    }

    /// Its user deleted this agent: the program ends, and stays away.
    fn banish(&mut self, n: usize) {
        self.log(|| format!("host {n} stays away"));
        self.kill(n);
        self.hosts[n].is_banned = true;
        for truth in self.truth.values_mut().filter(|truth| truth.host == n) {
            truth.is_alive = false;
        }
    }

    /// An agent has ended in order.
    pub(super) fn finish(&mut self, n: usize) {
        let host = &mut self.hosts[n];
        if !matches!(&host.program, Program::Worker(agent) if agent.over.is_some()) {
            return;
        }
        let program = std::mem::replace(&mut host.program, Program::Dead);
        if let Program::Worker(agent) = program {
            agent.close(&mut host.journal);
        }
        let reason = CloseReason { initiator: Initiator::Peer, cause: CloseCause::AgentStopped };
        self.cut(n, reason);
        // What it left, because it would not end, is orphaned.
        for truth in self.truth.values_mut().filter(|truth| truth.host == n) {
            truth.is_orphaned |= truth.is_alive;
        }
        for left in self.hosts[n].journal.left_behind() {
            self.truth_of(&left.command, n).is_orphaned = true;
        }
    }

    // --- time

    pub(super) fn wait(&mut self, by: Duration) {
        self.at += by;
        let at = self.at;
        // Heartbeats.
        for n in 0..self.hosts.len() {
            let host = &self.hosts[n];
            let link = host.link.filter(|_| host.in_session);
            let alive = |link: &LinkId| self.wires.get(link).is_some_and(|wire| !wire.is_frozen);
            if let Some(link) = link.filter(alive) {
                self.server.on_frame(link, at);
                self.look();
            }
            self.with_agent(n, |agent| agent.on_time(at));
        }
        self.server.on_time(at);
        self.look();
    }

    pub(super) fn agent_of(&self, n: usize) -> Option<AgentId> {
        self.hosts[n].taught.clone()
    }
}

/// The token that all agents of the world have.
fn token() -> Bearer {
    let (token, lineage) = (TokenId::new("fleet"), LineageId::new("fleet"));
    Bearer { token, lineage, scope: TokenScope::Any }
}
