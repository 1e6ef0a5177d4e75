//! One machine and an obedient driver: it wakes the machine exactly when the machine asks, and
//! writes down what the machine wants.

use crate::support::{awake_and_asleep, ms};
use onsembl_protocol::close::{CloseCause, CloseCode, CloseReason};
use onsembl_protocol::id::{BeatSequence, Epoch, LinkId, PresenceVersion};
use onsembl_protocol::liveness::HeartbeatTiming;
use onsembl_protocol::session::{
    AgentAction, AgentConfig, AgentConnection, AgentEvent, AgentInbound, AgentReport, AgentStatus,
    Claimant, Dialect, Presence, PresenceStatus, ServerAction, ServerBeat, ServerConfig,
    ServerConnection, ServerEvent, ServerInbound, SessionTerms,
};
use onsembl_protocol::time::{Deadline, Now};
use std::time::Duration;

pub(crate) const TERMS: SessionTerms = SessionTerms {
    dialect: Dialect::Extended,
    epoch: Epoch(1),
    timing: HeartbeatTiming::DEFAULT,
    end_orders: true,
};

pub(crate) fn peer_closed(cause: CloseCause) -> CloseReason {
    CloseReason::peer(Some(cause.code()))
}

pub(crate) fn peer_code(code: u16) -> CloseReason {
    CloseReason::peer(Some(CloseCode(code)))
}

/// A beat of a server that sees and records everything.
pub(crate) fn healthy_beat(sequence: u64) -> AgentInbound {
    server_beat(sequence, u64::MAX, u64::MAX, false)
}

pub(crate) fn server_beat(sequence: u64, seen: u64, recorded: u64, lagging: bool) -> AgentInbound {
    AgentInbound::Heartbeat(ServerBeat {
        sequence: Some(BeatSequence(sequence)),
        seen: Some(BeatSequence(seen)),
        recorded: Some(BeatSequence(recorded)),
        lagging,
    })
}

pub(crate) fn agent_beat(sequence: u64, seen: u64) -> ServerInbound {
    ServerInbound::Heartbeat {
        sequence: Some(BeatSequence(sequence)),
        seen: Some(BeatSequence(seen)),
    }
}

/// Notices a driver that is kept busy for nothing.
#[derive(Default)]
pub(super) struct Wakes {
    at: Duration,
    count: u32,
}

impl Wakes {
    pub(super) fn one_more(&mut self, at: Duration) {
        self.count = if at - self.at < ms(1) { self.count + 1 } else { 0 };
        self.at = if self.count == 0 { at } else { self.at };
        assert!(self.count < 1000, "kept busy for nothing at {at:?}");
    }
}

/// An agent's machine on its own.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) machine: AgentConnection,
    /// Time that the host was awake.
    pub(crate) at: Duration,
    pub(crate) asleep: Duration,
    pub(crate) deadline: Deadline,
    pub(crate) log: Vec<(Duration, AgentAction)>,
}

impl Agent {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            machine: AgentConnection::new(AgentConfig::DEFAULT, seed),
            at: Duration::ZERO,
            asleep: Duration::ZERO,
            deadline: Deadline::Never,
            log: Vec::new(),
        }
    }

    /// An agent whose hello was accepted at time zero.
    pub(crate) fn in_session(terms: SessionTerms) -> Self {
        let mut agent = Self::new(1);
        agent.feed(AgentEvent::Start);
        agent.join(terms);
        agent
    }

    /// Opens the link that was dialled last and accepts the hello.
    pub(crate) fn join(&mut self, terms: SessionTerms) {
        let link = self.link();
        self.feed(AgentEvent::LinkUp(link));
        self.hear(AgentInbound::HelloAccepted(terms));
    }

    pub(crate) fn now(&self) -> Now {
        awake_and_asleep(self.at, self.asleep)
    }

    pub(crate) fn feed(&mut self, event: AgentEvent) -> Vec<AgentAction> {
        let step = self.machine.handle(event, self.now());
        self.deadline = step.deadline;
        let actions: Vec<AgentAction> = step.actions.into_iter().collect();
        self.log.extend(actions.iter().map(|action| (self.at, *action)));
        actions
    }

    pub(crate) fn hear(&mut self, frame: AgentInbound) -> Vec<AgentAction> {
        let link = self.link();
        self.feed(AgentEvent::Received(link, frame))
    }

    pub(crate) fn lose(&mut self, reason: CloseReason) -> Vec<AgentAction> {
        let link = self.link();
        self.feed(AgentEvent::LinkDown(link, reason))
    }

    /// Obeys every deadline up to and including `until`.
    pub(crate) fn run_until(&mut self, until: Duration) {
        let mut wakes = Wakes::default();
        while let Deadline::At(due) = self.deadline {
            let due = due.since_origin();
            if due > until {
                break;
            }
            wakes.one_more(due);
            self.at = due;
            self.feed(AgentEvent::Wake);
        }
        self.at = self.at.max(until);
    }

    /// Time passes and nobody looks.
    pub(crate) fn stall_until(&mut self, until: Duration) {
        self.at = until;
    }

    /// A server that answers everything, until then.
    pub(crate) fn run_healthy_until(&mut self, until: Duration) {
        let mut next = self.at + ms(10_000);
        while next < until {
            self.run_until(next);
            self.hear(healthy_beat(next.as_millis() as u64));
            next += ms(10_000);
        }
        self.run_until(until);
    }

    /// The link that was dialled last.
    pub(crate) fn link(&self) -> LinkId {
        let dial = |(_, action): &(_, AgentAction)| match action {
            AgentAction::Dial(link) => Some(*link),
            _ => None,
        };
        self.log.iter().rev().find_map(dial).unwrap_or(LinkId(0))
    }

    pub(crate) fn status(&self) -> &'static str {
        self.machine.status().as_str()
    }

    /// When the next dial is due.
    pub(crate) fn retry_at(&self) -> Duration {
        match self.machine.status() {
            AgentStatus::Reconnecting { retry_at } | AgentStatus::TimedOut { retry_at } => {
                retry_at.since_origin()
            }
            other => panic!("no dial is due: {other:?}"),
        }
    }

    pub(crate) fn reports(&self) -> Vec<(Duration, AgentReport)> {
        self.log
            .iter()
            .filter_map(|(at, action)| match action {
                AgentAction::Report(report) => Some((*at, *report)),
                _ => None,
            })
            .collect()
    }

    /// Time and status of each report since `from`.
    pub(crate) fn story(&self, from: Duration) -> Vec<(Duration, &'static str)> {
        self.reports()
            .iter()
            .filter(|(at, _)| *at >= from)
            .map(|(at, report)| (*at, report.status.as_str()))
            .collect()
    }

    pub(crate) fn count(&self, of: impl Fn(&AgentAction) -> bool) -> usize {
        self.log.iter().filter(|(_, action)| of(action)).count()
    }
}

/// A server's machine on its own. Its store answers at once, unless told not to.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) machine: ServerConnection,
    pub(crate) at: Duration,
    pub(crate) deadline: Deadline,
    pub(crate) log: Vec<(Duration, ServerAction)>,
    pub(crate) records: bool,
    pub(crate) admits: bool,
    epochs: u64,
}

impl Server {
    pub(crate) fn new() -> Self {
        let at = Duration::ZERO;
        let (version, epoch) = (PresenceVersion(0), Epoch(0));
        let now = awake_and_asleep(at, Duration::ZERO);
        Self::of(ServerConnection::new(ServerConfig::DEFAULT, version, epoch, now), 0)
    }

    pub(crate) fn recovered() -> Self {
        let now = awake_and_asleep(Duration::ZERO, Duration::ZERO);
        let (version, epoch) = (PresenceVersion(41), Epoch(7));
        let (machine, step) =
            ServerConnection::recovered(ServerConfig::DEFAULT, version, epoch, now);
        let mut server = Self::of(machine, 7);
        server.deadline = step.deadline;
        server.log.extend(step.actions.into_iter().map(|action| (Duration::ZERO, action)));
        server
    }

    fn of(machine: ServerConnection, epochs: u64) -> Self {
        Self {
            machine,
            at: Duration::ZERO,
            deadline: Deadline::Never,
            log: Vec::new(),
            records: true,
            admits: true,
            epochs,
        }
    }

    /// An agent in session over link 1 since time zero.
    pub(crate) fn in_session(dialect: Dialect) -> Self {
        let mut server = Self::new();
        server.join(1, dialect, Claimant::SameProcess);
        server
    }

    pub(crate) fn now(&self) -> Now {
        awake_and_asleep(self.at, Duration::ZERO)
    }

    pub(crate) fn join(&mut self, link: u64, dialect: Dialect, claimant: Claimant) {
        self.feed(ServerEvent::Joined { link: LinkId(link), dialect, claimant });
    }

    pub(crate) fn admit(&mut self, link: u64) {
        self.epochs += 1;
        let epoch = Epoch(self.epochs);
        self.feed(ServerEvent::Admitted { link: LinkId(link), epoch });
    }

    pub(crate) fn hear(&mut self, link: u64, frame: ServerInbound) {
        self.feed(ServerEvent::Received(LinkId(link), frame));
    }

    pub(crate) fn feed(&mut self, event: ServerEvent) -> Vec<ServerAction> {
        let step = self.machine.handle(event, self.now());
        self.deadline = step.deadline;
        let actions: Vec<ServerAction> = step.actions.into_iter().collect();
        self.log.extend(actions.iter().map(|action| (self.at, *action)));
        for action in &actions {
            match *action {
                ServerAction::Record { epoch, sequence } if self.records => {
                    self.feed(ServerEvent::Recorded { epoch, sequence, at: self.now().wall });
                }
                ServerAction::Admit(link) if self.admits => self.admit(link.0),
                _ => {}
            }
        }
        actions
    }

    pub(crate) fn run_until(&mut self, until: Duration) {
        let mut wakes = Wakes::default();
        while let Deadline::At(due) = self.deadline {
            let due = due.since_origin();
            if due > until {
                break;
            }
            wakes.one_more(due);
            self.at = due;
            self.feed(ServerEvent::Wake);
        }
        self.at = self.at.max(until);
    }

    pub(crate) fn stall_until(&mut self, until: Duration) {
        self.at = until;
    }

    /// An agent that beats each `every` over `link`, until then.
    pub(crate) fn run_beating_until(&mut self, link: u64, every: Duration, until: Duration) {
        let mut n = self.at.as_millis() as u64;
        let mut next = self.at + every;
        while next < until {
            self.run_until(next);
            n += 1;
            self.hear(link, agent_beat(n, u64::MAX));
            next += every;
        }
        self.run_until(until);
    }

    pub(crate) fn status(&self) -> &'static str {
        self.machine.presence().status.as_str()
    }

    pub(crate) fn because(&self) -> String {
        self.machine.presence().because.to_string()
    }

    pub(crate) fn presences(&self) -> Vec<(Duration, Presence)> {
        self.log
            .iter()
            .filter_map(|(at, action)| match action {
                ServerAction::Report(presence) => Some((*at, *presence)),
                _ => None,
            })
            .collect()
    }

    /// Time and status of each change of status since `from`.
    pub(crate) fn story(&self, from: Duration) -> Vec<(Duration, &'static str)> {
        let mut last = PresenceStatus::Offline;
        let mut story = Vec::new();
        for (at, presence) in self.presences() {
            if presence.status != last {
                last = presence.status;
                if at >= from {
                    story.push((at, last.as_str()));
                }
            }
        }
        story
    }

    pub(crate) fn closes(&self) -> Vec<(LinkId, CloseCause)> {
        self.log
            .iter()
            .filter_map(|(_, action)| match action {
                ServerAction::Close(link, cause) => Some((*link, *cause)),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn count(&self, of: impl Fn(&ServerAction) -> bool) -> usize {
        self.log.iter().filter(|(_, action)| of(action)).count()
    }
}
