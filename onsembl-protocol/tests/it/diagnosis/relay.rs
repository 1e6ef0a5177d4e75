//! An agent and a server in session, the real machines with a hop tracker beside each, and between them a relay that
//! can lose or delay each direction. Either process can be frozen, and the agent's machine can sleep.

use crate::support::{awake_and_asleep, ms, now, secs};
use onsembl_protocol::diagnosis::{End, HopTracker};
use onsembl_protocol::id::{BeatSequence, Epoch, LinkId, PresenceVersion};
use onsembl_protocol::liveness::{HeartbeatTiming, Seen};
use onsembl_protocol::session::{
    AgentAction, AgentConfig, AgentConnection, AgentEvent, AgentInbound, BeatOut, Claimant,
    Dialect, ServerAction, ServerBeat, ServerConfig, ServerConnection, ServerEvent, ServerInbound,
    SessionTerms,
};
use onsembl_protocol::time::{Deadline, Timestamp, WallTime};
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) const INTERVAL: Duration = secs(30);
const LINK: LinkId = LinkId(1);

/// What becomes of the messages of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) delay: Duration,
    pub(super) is_lost: bool,
    /// When the latest message arrives, or did.
    latest: Duration,
}

/// Where heartbeats of the agent can be made to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Planted {
    Nothing,
    TimerNeverStarted,
    StaysQueued,
    NotRouted,
    RecordFails,
    NoAnswers,
}

#[derive(Clone, Copy, Debug)]
enum Message {
    Up(BeatSequence, Option<Seen>),
    Down(BeatOut),
    Recorded(BeatSequence, WallTime),
}

/// One process: what waits while it is frozen.
#[derive(Debug, Default)]
struct Process {
    mailbox: Option<Vec<Message>>,
}

pub(super) struct Relay {
    pub(super) at: Duration,
    pub(super) up: Way,
    pub(super) down: Way,
    pub(super) planted: Planted,
    pub(super) agent: HopTracker,
    pub(super) server: HopTracker,
    /// Whether the session is over: one end dropped the link.
    pub(super) is_over: bool,
    agent_machine: AgentConnection,
    server_machine: ServerConnection,
    agent_due: Deadline,
    server_due: Deadline,
    agent_process: Process,
    server_process: Process,
    asleep: Duration,
    asleep_since: Option<Duration>,
    queue: BTreeMap<(Duration, u64), Message>,
    count: u64,
}

impl Relay {
    /// Both ends in session, since now, so far apart one way.
    pub(super) fn new(delay: Duration, planted: Planted) -> Self {
        let at = secs(1000);
        let way = Way { delay, is_lost: false, latest: Duration::ZERO };
        let boot = now(at).boot;
        let mut this = Self {
            at,
            up: way,
            down: way,
            planted,
            agent: HopTracker::new(End::Agent, INTERVAL, boot),
            server: HopTracker::new(End::Server, INTERVAL, boot),
            is_over: false,
            agent_machine: AgentConnection::new(AgentConfig::DEFAULT, 5),
            server_machine: ServerConnection::new(
                ServerConfig::DEFAULT,
                PresenceVersion(0),
                Epoch(0),
                now(at),
            ),
            agent_due: Deadline::Never,
            server_due: Deadline::Never,
            agent_process: Process::default(),
            server_process: Process::default(),
            asleep: Duration::ZERO,
            asleep_since: None,
            queue: BTreeMap::new(),
            count: 0,
        };
        let (dialect, claimant) = (Dialect::Extended, Claimant::OtherProcess);
        this.feed_server(ServerEvent::Joined { link: LINK, dialect, claimant });
        this.feed_server(ServerEvent::Admitted { link: LINK, epoch: Epoch(1) });
        this.feed_agent(AgentEvent::Start);
        this.feed_agent(AgentEvent::LinkUp(LINK));
        let timing = HeartbeatTiming::DEFAULT;
        let terms = SessionTerms { dialect, epoch: Epoch(1), timing, end_orders: true };
        this.feed_agent(AgentEvent::Received(LINK, AgentInbound::HelloAccepted(terms)));
        this
    }

    /// Time passes; each moment is looked at when all of it has happened. It ends early when the session does.
    pub(super) fn run_for(&mut self, time: Duration, mut each: impl FnMut(&Self)) {
        let until = self.at + time;
        while !self.is_over {
            let Some(next) = self.next_moment().filter(|next| *next <= until) else { break };
            self.at = self.at.max(next);
            self.step();
            each(self);
        }
        self.at = self.at.max(until);
    }

    pub(super) fn freeze_agent(&mut self) {
        let _ = self.agent_process.mailbox.get_or_insert_default();
    }

    pub(super) fn freeze_server(&mut self) {
        let _ = self.server_process.mailbox.get_or_insert_default();
    }

    /// What waited in its sockets comes first, or its timer does.
    pub(super) fn thaw(&mut self, timer_first: bool) {
        if let Some(waiting) = self.agent_process.mailbox.take() {
            if timer_first {
                self.wake_agent();
            }
            waiting.into_iter().for_each(|message| self.arrive(message));
            self.wake_agent();
        }
        if let Some(waiting) = self.server_process.mailbox.take() {
            if timer_first {
                self.wake_server();
            }
            waiting.into_iter().for_each(|message| self.arrive(message));
            self.wake_server();
        }
    }

    /// The agent's machine sleeps so long; what comes meanwhile waits in its socket.
    pub(super) fn sleep(&mut self, time: Duration, each: impl FnMut(&Self)) {
        self.freeze_agent();
        self.asleep_since = Some(self.at);
        self.run_for(time, each);
        self.asleep += self.at - self.asleep_since.take().unwrap_or(self.at);
        self.thaw(true);
    }

    /// Whether agent and server run: one that does not says nothing to anybody.
    pub(super) fn run(&self) -> [bool; 2] {
        [&self.agent_process, &self.server_process].map(|process| process.mailbox.is_none())
    }

    /// The agent's clocks: awake, and with sleep.
    fn agent_now(&self) -> onsembl_protocol::time::Now {
        awake_and_asleep(self.at - self.asleep, self.asleep)
    }

    fn boot(&self) -> Timestamp {
        now(self.at).boot
    }

    fn next_moment(&self) -> Option<Duration> {
        let of = |deadline: Deadline, slept: Duration| match deadline {
            Deadline::At(at) => Some(at.since_origin() + slept),
            Deadline::Never => None,
        };
        let agent = self.agent_process.mailbox.is_none().then_some(()).and_then(|()| {
            of(self.agent_due, self.asleep)
                .into_iter()
                .chain(of(self.agent.deadline(), Duration::ZERO))
                .min()
        });
        let server = self.server_process.mailbox.is_none().then_some(()).and_then(|()| {
            let hops = of(self.server.deadline(), Duration::ZERO);
            of(self.server_due, Duration::ZERO).into_iter().chain(hops).min()
        });
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        queued.into_iter().chain(agent).chain(server).min()
    }

    fn step(&mut self) {
        if let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= self.at
        {
            let message = entry.remove();
            return self.arrive(message);
        }
        if self.agent_process.mailbox.is_none() {
            self.wake_agent();
        }
        if self.server_process.mailbox.is_none() {
            self.wake_server();
        }
    }

    fn wake_agent(&mut self) {
        self.feed_agent(AgentEvent::Wake);
        self.agent.look(self.boot());
    }

    fn wake_server(&mut self) {
        self.feed_server(ServerEvent::Wake);
        self.server.look(self.boot());
    }

    fn put(&mut self, after: Duration, message: Message) {
        self.count += 1;
        // A link keeps the order of what it carries: what is slow holds up what is behind it.
        let arrives = match message {
            Message::Up(..) => Some(&mut self.up.latest),
            Message::Down(_) => Some(&mut self.down.latest),
            Message::Recorded(..) => None,
        };
        let mut at = self.at + after;
        if let Some(latest) = arrives {
            at = at.max(*latest);
            *latest = at;
        }
        let _ = self.queue.insert((at, self.count), message);
    }

    fn arrive(&mut self, message: Message) {
        let process = match message {
            Message::Down(_) => &mut self.agent_process,
            Message::Up(..) | Message::Recorded(..) => &mut self.server_process,
        };
        if let Some(mailbox) = &mut process.mailbox {
            return mailbox.push(message);
        }
        let at = self.boot();
        match message {
            Message::Up(sequence, seen) => {
                self.server.on_received(sequence, at);
                if self.planted == Planted::NotRouted {
                    return self.feed_server(ServerEvent::Received(LINK, ServerInbound::Other));
                }
                let frame = ServerInbound::Heartbeat {
                    sequence: Some(sequence),
                    seen: seen.map(|seen| seen.sequence),
                };
                self.server.on_handled(sequence, seen, None, at);
                self.feed_server(ServerEvent::Received(LINK, frame));
            }
            Message::Down(beat) => {
                self.agent.on_received(beat.sequence, at);
                let recorded = beat.recorded.map(|(sequence, _)| sequence);
                self.agent.on_handled(beat.sequence, beat.seen, recorded, at);
                let frame = AgentInbound::Heartbeat(ServerBeat {
                    sequence: Some(beat.sequence),
                    seen: beat.seen.map(|seen| seen.sequence),
                    recorded,
                    lagging: beat.lag.is_some(),
                });
                self.feed_agent(AgentEvent::Received(LINK, frame));
            }
            Message::Recorded(sequence, received_at) => {
                self.server.on_recorded(sequence, at);
                let (epoch, at) = (Epoch(1), received_at);
                self.feed_server(ServerEvent::Recorded { epoch, sequence, at });
            }
        }
    }

    fn feed_agent(&mut self, event: AgentEvent) {
        let step = self.agent_machine.handle(event, self.agent_now());
        self.agent_due = step.deadline;
        let at = self.boot();
        for action in step.actions {
            match action {
                AgentAction::SendBeat { sequence, seen, .. } => {
                    if self.planted == Planted::TimerNeverStarted {
                        continue;
                    }
                    let seen = seen.map(|seen| self.agent.vouch(seen, at));
                    self.agent.on_made(sequence, at);
                    self.agent.on_queued(sequence, at);
                    if self.planted == Planted::StaysQueued {
                        continue;
                    }
                    self.agent.on_written(sequence, at);
                    if !self.up.is_lost {
                        self.put(self.up.delay, Message::Up(sequence, seen));
                    }
                }
                AgentAction::Close(..) => self.is_over = true,
                _ => {}
            }
        }
    }

    fn feed_server(&mut self, event: ServerEvent) {
        let step = self.server_machine.handle(event, now(self.at));
        self.server_due = step.deadline;
        let at = self.boot();
        for action in step.actions {
            match action {
                ServerAction::Record { sequence, .. } if self.planted != Planted::RecordFails => {
                    self.put(ms(50), Message::Recorded(sequence, now(self.at).wall));
                }
                ServerAction::SendBeat { mut beat, .. } => {
                    beat.seen = beat.seen.map(|seen| self.server.vouch(seen, at));
                    self.server.on_made(beat.sequence, at);
                    self.server.on_queued(beat.sequence, at);
                    self.server.on_written(beat.sequence, at);
                    if self.planted == Planted::NoAnswers {
                        continue;
                    }
                    if let Some(seen) = beat.seen {
                        self.server.on_answered(seen.sequence, at);
                    }
                    if !self.down.is_lost {
                        self.put(self.down.delay, Message::Down(beat));
                    }
                }
                ServerAction::Close(..) => self.is_over = true,
                _ => {}
            }
        }
    }
}
