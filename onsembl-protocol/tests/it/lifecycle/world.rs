//! A tiny network of agents and one server around the real machines: delay, loss of links, held
//! packets, frozen processes, sleeping hosts, a store that hangs, a server that crashes.
//!
//! Everything happens in one ordered queue; what comes in counts before any time that runs out.

use super::solo::Wakes;
use crate::support::{awake_and_asleep, now};
use onsembl_protocol::close::{Breakage, CloseReason};
use onsembl_protocol::id::{BeatSequence, Epoch, LinkId, PresenceVersion};
use onsembl_protocol::liveness::{Impairment, Seen};
use onsembl_protocol::session::{
    AgentAction, AgentConfig, AgentConnection, AgentEvent, AgentInbound, AgentReport, AgentStatus,
    BeatOut, Claimant, DialFailure, Dialect, Presence, ServerAction, ServerBeat, ServerConfig,
    ServerConnection, ServerEvent, ServerInbound, SessionTerms, StoreTrouble,
};
use onsembl_protocol::time::{Deadline, Now, WallTime};
use std::collections::BTreeMap;
use std::time::Duration;

/// One agent process on its host.
pub(super) struct Host {
    machine: AgentConnection,
    deadline: Deadline,
    asleep: Duration,
    asleep_since: Option<Duration>,
    mailbox: Option<Vec<Happening>>,
    pub(super) reports: Vec<(Duration, AgentReport)>,
    pub(super) impaired: Vec<(Duration, Option<Impairment>)>,
    pub(super) overslept: usize,
    pub(super) dials: Vec<Duration>,
    pub(super) beats: Vec<Duration>,
}

/// The server process and what its database holds of the agent.
pub(super) struct Service {
    config: ServerConfig,
    machine: Option<ServerConnection>,
    deadline: Deadline,
    up: bool,
    mailbox: Option<Vec<Happening>>,
    links: BTreeMap<LinkId, (usize, LinkId)>,
    next_link: LinkId,
    owned_by: Option<usize>,
    known: Option<(PresenceVersion, Epoch)>,
    epochs: u64,
    hung: Option<Vec<Happening>>,
    pub(super) presences: Vec<(Duration, Presence)>,
    pub(super) overslept: usize,
}

#[derive(Clone, Debug)]
enum Happening {
    /// A dial reaches the server.
    Dial(usize, LinkId),
    /// Its outcome reaches the agent.
    Dialled(usize, LinkId, Result<(), DialFailure>),
    /// Something reaches the server over its link.
    Up(LinkId, Up),
    /// Something reaches an agent over its link.
    Down(usize, LinkId, Down),
    /// The store has opened a session.
    Opened(LinkId),
    /// The store holds a beat.
    Recorded(Epoch, BeatSequence, WallTime),
}

#[derive(Clone, Copy, Debug)]
enum Up {
    Hello,
    Beat(BeatSequence, Option<Seen>),
    Other,
    Closed(CloseReason),
}

#[derive(Clone, Copy, Debug)]
enum Down {
    Welcome(Epoch),
    Beat(BeatOut),
    Ping,
    Closed(CloseReason),
}

pub(super) struct World {
    pub(super) at: Duration,
    pub(super) delay: Duration,
    pub(super) hosts: Vec<Host>,
    pub(super) server: Service,
    queue: BTreeMap<(Duration, u64), Happening>,
    count: u64,
    deferred: Option<Vec<Happening>>,
}

impl World {
    /// This many processes of one agent, none started, and a running server, 20 ms apart.
    pub(super) fn new(processes: usize, config: ServerConfig) -> Self {
        let host = |seed| Host {
            machine: AgentConnection::new(AgentConfig::DEFAULT, seed),
            deadline: Deadline::Never,
            asleep: Duration::ZERO,
            asleep_since: None,
            mailbox: None,
            reports: Vec::new(),
            impaired: Vec::new(),
            overslept: 0,
            dials: Vec::new(),
            beats: Vec::new(),
        };
        Self {
            at: Duration::ZERO,
            delay: Duration::from_millis(20),
            hosts: (0..processes as u64).map(host).collect(),
            server: Service {
                config,
                machine: None,
                deadline: Deadline::Never,
                up: true,
                mailbox: None,
                links: BTreeMap::new(),
                next_link: LinkId(1000),
                owned_by: None,
                known: None,
                epochs: 0,
                hung: None,
                presences: Vec::new(),
                overslept: 0,
            },
            queue: BTreeMap::new(),
            count: 0,
            deferred: None,
        }
    }

    /// One agent, in session for a minute.
    pub(super) fn in_session() -> Self {
        let mut world = Self::new(1, ServerConfig::DEFAULT);
        world.start(0);
        world.run_for(Duration::from_secs(60));
        assert!(world.is_connected());
        world
    }

    pub(super) fn start(&mut self, host: usize) {
        self.feed_agent(host, AgentEvent::Start);
    }

    pub(super) fn stop(&mut self, host: usize) {
        self.feed_agent(host, AgentEvent::Stop);
    }

    pub(super) fn status(&self, host: usize) -> AgentStatus {
        self.hosts[host].machine.status()
    }

    pub(super) fn impairment(&self, host: usize) -> Option<Impairment> {
        self.hosts[host].machine.impairment()
    }

    pub(super) fn presence(&self) -> Presence {
        self.server.machine.as_ref().expect("the server knows no agent").presence()
    }

    /// Whether agent 0 and the server both see a session, and the same one.
    pub(super) fn is_connected(&self) -> bool {
        let AgentStatus::Connected { epoch } = self.status(0) else { return false };
        self.server.machine.as_ref().is_some_and(|m| {
            m.presence().status.as_str() == "online" && m.presence().epoch == epoch
        })
    }

    /// Runs until both are connected; fails after `bound`.
    pub(super) fn connected_within(&mut self, bound: Duration) -> Duration {
        let from = self.at;
        while !self.is_connected() {
            assert!(self.at - from <= bound, "not connected after {bound:?}: {:?}", self.status(0));
            self.run_for(Duration::from_millis(10));
        }
        self.at - from
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        let until = self.at + time;
        let mut wakes = Wakes::default();
        while let Some(next) = self.next_moment().filter(|next| *next <= until) {
            self.at = self.at.max(next);
            wakes.one_more(self.at);
            self.step();
        }
        self.at = until;
    }

    // What can happen to them.

    /// The link breaks and both ends see it.
    pub(super) fn break_links(&mut self) {
        let reset = CloseReason::broken(Breakage::Reset);
        for (link, (host, agent_link)) in std::mem::take(&mut self.server.links) {
            self.put(Duration::ZERO, Happening::Up(link, Up::Closed(reset)));
            self.put(Duration::ZERO, Happening::Down(host, agent_link, Down::Closed(reset)));
        }
    }

    /// The network holds everything back, until [`heal`](Self::heal).
    pub(super) fn partition(&mut self) {
        let _ = self.deferred.get_or_insert_default();
    }

    pub(super) fn heal(&mut self) {
        for what in self.deferred.take().unwrap_or_default() {
            self.put(self.delay, what);
        }
    }

    pub(super) fn freeze_agent(&mut self) {
        let _ = self.hosts[0].mailbox.get_or_insert_default();
    }

    /// What waited in its sockets comes first, or its timer does.
    pub(super) fn thaw_agent(&mut self, timer_first: bool) {
        let waiting = self.hosts[0].mailbox.take().unwrap_or_default();
        if self.hosts[0].asleep_since.is_some() {
            return;
        }
        if timer_first {
            self.feed_agent(0, AgentEvent::Wake);
        }
        waiting.into_iter().for_each(|what| self.happen(what));
        self.feed_agent(0, AgentEvent::Wake);
    }

    pub(super) fn freeze_server(&mut self) {
        let _ = self.server.mailbox.get_or_insert_default();
    }

    pub(super) fn thaw_server(&mut self, timer_first: bool) {
        let waiting = self.server.mailbox.take().unwrap_or_default();
        if timer_first {
            self.feed_server(ServerEvent::Wake);
        }
        waiting.into_iter().for_each(|what| self.happen(what));
        self.feed_server(ServerEvent::Wake);
    }

    /// The agent's host sleeps: its monotonic clock stands still, packets to it are lost.
    pub(super) fn sleep_host(&mut self) {
        let _ = self.hosts[0].asleep_since.get_or_insert(self.at);
    }

    pub(super) fn wake_host(&mut self) {
        if let Some(since) = self.hosts[0].asleep_since.take() {
            self.hosts[0].asleep += self.at - since;
        }
        if self.hosts[0].mailbox.is_none() {
            self.feed_agent(0, AgentEvent::Wake);
        }
    }

    /// `kill -9`: sockets break, the database stays.
    pub(super) fn crash_server(&mut self) {
        let ended = CloseReason::broken(Breakage::EndOfStream);
        for (host, link) in std::mem::take(&mut self.server.links).into_values() {
            self.put(self.delay, Happening::Down(host, link, Down::Closed(ended)));
        }
        self.server.machine = None;
        self.server.deadline = Deadline::Never;
        self.server.up = false;
        self.server.owned_by = None;
        self.server.mailbox = None;
        self.queue.retain(|_, what| {
            !matches!(what, Happening::Up(..) | Happening::Opened(_) | Happening::Recorded(..))
        });
    }

    pub(super) fn restart_server(&mut self) {
        if std::mem::replace(&mut self.server.up, true) {
            return;
        }
        if let Some((version, epoch)) = self.server.known {
            let (machine, step) =
                ServerConnection::recovered(self.server.config, version, epoch, now(self.at));
            self.server.machine = Some(machine);
            self.server.deadline = step.deadline;
            step.actions.into_iter().for_each(|action| self.perform_server(action));
        }
    }

    pub(super) fn hang_store(&mut self, trouble: Option<StoreTrouble>) {
        let _ = self.server.hung.get_or_insert_default();
        self.feed_server(ServerEvent::Store(trouble));
    }

    pub(super) fn mend_store(&mut self) {
        for what in self.server.hung.take().unwrap_or_default() {
            self.put(Duration::from_millis(5), what);
        }
        self.feed_server(ServerEvent::Store(None));
    }

    // How it works.

    fn put(&mut self, after: Duration, what: Happening) {
        self.count += 1;
        let _ = self.queue.insert((self.at + after, self.count), what);
    }

    fn agent_deadline(&self, host: &Host) -> Option<Duration> {
        match host.deadline {
            Deadline::At(at) if host.mailbox.is_none() && host.asleep_since.is_none() => {
                Some(at.since_origin() + host.asleep)
            }
            Deadline::At(_) | Deadline::Never => None,
        }
    }

    fn server_deadline(&self) -> Option<Duration> {
        match self.server.deadline {
            Deadline::At(at) if self.server.mailbox.is_none() => Some(at.since_origin()),
            Deadline::At(_) | Deadline::Never => None,
        }
    }

    fn next_moment(&self) -> Option<Duration> {
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let agents = self.hosts.iter().filter_map(|host| self.agent_deadline(host));
        agents.chain(queued).chain(self.server_deadline()).min()
    }

    fn step(&mut self) {
        if let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= self.at
        {
            let what = entry.remove();
            return self.happen(what);
        }
        for host in 0..self.hosts.len() {
            if self.agent_deadline(&self.hosts[host]).is_some_and(|at| at <= self.at) {
                return self.feed_agent(host, AgentEvent::Wake);
            }
        }
        self.feed_server(ServerEvent::Wake);
    }

    fn happen(&mut self, what: Happening) {
        let crosses = !matches!(what, Happening::Opened(_) | Happening::Recorded(..));
        if crosses && let Some(deferred) = &mut self.deferred {
            return deferred.push(what);
        }
        if !crosses && let Some(hung) = &mut self.server.hung {
            return hung.push(what);
        }
        match &what {
            Happening::Dialled(host, ..) | Happening::Down(host, ..) => {
                if self.hosts[*host].asleep_since.is_some() {
                    return;
                }
                if let Some(mailbox) = &mut self.hosts[*host].mailbox {
                    return mailbox.push(what);
                }
            }
            Happening::Dial(..)
            | Happening::Up(..)
            | Happening::Opened(_)
            | Happening::Recorded(..) => {
                if let Some(mailbox) = &mut self.server.mailbox {
                    return mailbox.push(what);
                }
            }
        }
        match what {
            Happening::Dial(host, link) => self.accept(host, link),
            Happening::Dialled(host, link, Ok(())) => {
                self.feed_agent(host, AgentEvent::LinkUp(link));
            }
            Happening::Dialled(host, link, Err(failure)) => {
                self.feed_agent(host, AgentEvent::DialFailed(link, failure));
            }
            Happening::Up(link, what) => self.reach_server(link, what),
            Happening::Down(host, link, what) => self.reach_agent(host, link, what),
            Happening::Opened(link) => {
                self.server.epochs += 1;
                self.server.owned_by = self.server.links.get(&link).map(|(host, _)| *host);
                let epoch = Epoch(self.server.epochs);
                self.feed_server(ServerEvent::Admitted { link, epoch });
            }
            Happening::Recorded(epoch, sequence, at) => {
                self.feed_server(ServerEvent::Recorded { epoch, sequence, at });
            }
        }
    }

    fn accept(&mut self, host: usize, link: LinkId) {
        let outcome = if self.server.up { Ok(()) } else { Err(DialFailure::Unreachable) };
        if outcome.is_ok() {
            let id = self.server.next_link;
            self.server.next_link = id.next();
            let _ = self.server.links.insert(id, (host, link));
        }
        self.put(self.delay, Happening::Dialled(host, link, outcome));
    }

    fn reach_server(&mut self, link: LinkId, what: Up) {
        match what {
            Up::Hello => {
                let Some((host, _)) = self.server.links.get(&link).copied() else { return };
                let claimant = if self.server.owned_by == Some(host) {
                    Claimant::SameProcess
                } else {
                    Claimant::OtherProcess
                };
                if self.server.machine.is_none() {
                    let (version, epoch) = self.server.known.unwrap_or_default();
                    let at = now(self.at);
                    self.server.machine =
                        Some(ServerConnection::new(self.server.config, version, epoch, at));
                }
                let dialect = Dialect::Extended;
                self.feed_server(ServerEvent::Joined { link, dialect, claimant });
            }
            Up::Beat(sequence, seen) => {
                let seen = seen.map(|s| s.sequence);
                let frame = ServerInbound::Heartbeat { sequence: Some(sequence), seen };
                self.feed_server(ServerEvent::Received(link, frame));
            }
            Up::Other => self.feed_server(ServerEvent::Received(link, ServerInbound::Other)),
            Up::Closed(reason) => {
                let _ = self.server.links.remove(&link);
                self.feed_server(ServerEvent::LinkDown(link, reason));
            }
        }
    }

    fn reach_agent(&mut self, host: usize, link: LinkId, what: Down) {
        let frame = match what {
            Down::Closed(reason) => {
                return self.feed_agent(host, AgentEvent::LinkDown(link, reason));
            }
            Down::Welcome(epoch) => AgentInbound::HelloAccepted(SessionTerms {
                dialect: Dialect::Extended,
                epoch,
                timing: self.server.config.timing,
                end_orders: true,
            }),
            Down::Beat(beat) => AgentInbound::Heartbeat(ServerBeat {
                sequence: Some(beat.sequence),
                seen: beat.seen.map(|s| s.sequence),
                recorded: beat.recorded.map(|(sequence, _)| sequence),
                lagging: beat.lag.is_some(),
            }),
            Down::Ping => AgentInbound::Ping { echo: None },
        };
        self.feed_agent(host, AgentEvent::Received(link, frame));
    }

    fn agent_now(&self, host: usize) -> Now {
        let asleep = self.hosts[host].asleep;
        awake_and_asleep(self.at - asleep, asleep)
    }

    fn feed_agent(&mut self, host: usize, event: AgentEvent) {
        let now = self.agent_now(host);
        let step = self.hosts[host].machine.handle(event, now);
        self.hosts[host].deadline = step.deadline;
        if let Deadline::At(at) = step.deadline {
            assert!(at > now.monotonic, "a deadline that has passed");
        }
        step.actions.into_iter().for_each(|action| self.perform_agent(host, action));
    }

    fn perform_agent(&mut self, host: usize, action: AgentAction) {
        let server_link = |world: &Self, link| {
            world.server.links.iter().find(|(_, l)| **l == (host, link)).map(|(id, _)| *id)
        };
        let (at, delay) = (self.at, self.delay);
        match action {
            AgentAction::Dial(link) => {
                self.hosts[host].dials.push(at);
                self.put(delay, Happening::Dial(host, link));
            }
            AgentAction::SendHello(link) => self.send_up(server_link(self, link), Up::Hello),
            AgentAction::SendBeat { link, sequence, seen } => {
                self.hosts[host].beats.push(at);
                self.send_up(server_link(self, link), Up::Beat(sequence, seen));
            }
            AgentAction::Probe(link) | AgentAction::SendPong { link, .. } => {
                self.send_up(server_link(self, link), Up::Other);
            }
            AgentAction::Close(link, cause) => {
                let closed = CloseReason::peer(Some(cause.code()));
                self.send_up(server_link(self, link), Up::Closed(closed));
                let ended = Down::Closed(CloseReason::local(cause));
                self.put(Duration::ZERO, Happening::Down(host, link, ended));
            }
            AgentAction::Report(report) => self.hosts[host].reports.push((at, report)),
            AgentAction::Impaired(fault) => self.hosts[host].impaired.push((at, fault)),
            AgentAction::Overslept(_) => self.hosts[host].overslept += 1,
        }
    }

    fn send_up(&mut self, link: Option<LinkId>, what: Up) {
        if let Some(link) = link {
            self.put(self.delay, Happening::Up(link, what));
        }
    }

    fn feed_server(&mut self, event: ServerEvent) {
        let now = now(self.at);
        let Some(machine) = &mut self.server.machine else { return };
        let step = machine.handle(event, now);
        self.server.deadline = step.deadline;
        if let Deadline::At(at) = step.deadline {
            assert!(at > now.monotonic, "a deadline that has passed");
        }
        step.actions.into_iter().for_each(|action| self.perform_server(action));
    }

    fn perform_server(&mut self, action: ServerAction) {
        match action {
            ServerAction::Admit(link) => {
                self.put(Duration::from_millis(10), Happening::Opened(link));
            }
            ServerAction::Welcome { link, epoch } => self.send_down(link, Down::Welcome(epoch)),
            ServerAction::Record { epoch, sequence } => {
                let recorded = Happening::Recorded(epoch, sequence, now(self.at).wall);
                self.put(Duration::from_millis(50), recorded);
            }
            ServerAction::SendBeat { link, beat } => self.send_down(link, Down::Beat(beat)),
            ServerAction::SendPing(link) => self.send_down(link, Down::Ping),
            ServerAction::Close(link, cause) => {
                self.send_down(link, Down::Closed(CloseReason::peer(Some(cause.code()))));
                let ended = Up::Closed(CloseReason::local(cause));
                self.put(Duration::ZERO, Happening::Up(link, ended));
            }
            ServerAction::Report(presence) => {
                self.server.known = Some((presence.version, presence.epoch));
                self.server.presences.push((self.at, presence));
            }
            ServerAction::Overslept(_) => self.server.overslept += 1,
            ServerAction::Forget => {
                self.server.machine = None;
                self.server.deadline = Deadline::Never;
                self.server.owned_by = None;
            }
        }
    }

    fn send_down(&mut self, link: LinkId, what: Down) {
        if let Some((host, agent_link)) = self.server.links.get(&link).copied() {
            self.put(self.delay, Happening::Down(host, agent_link, what));
        }
    }
}
