//! Performs the decisions of the agents' machines: one inbox, one timer, many links.

use super::events::{Admission, HelloClaim, SessionRules, ShardEvent};
use super::link::{LinkEntry, LinkTicket, Stage};
use crate::clock::SystemClock;
use crate::counters::Counters;
use crate::link::Received;
use crate::messages::Envelopes;
use crate::pump::{self, LinkEvent, LinkInput, PumpConfig};
use onsembl_protocol::close::{CloseCause, CloseReason};
use onsembl_protocol::id::{BeatSequence, Epoch, LinkId, MessageId, PresenceVersion, SessionId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::liveness::{HeartbeatMonitor, Liveness};
use onsembl_protocol::session::{
    BeatOut, Claimant, Dialect, Greeting, GreetingEvent, GreetingVerdict, ServerAction,
    ServerConfig, ServerConnection, ServerEvent, ServerInbound, StoreTrouble, UndecodableQuota,
};
use onsembl_protocol::step::Actions;
use onsembl_protocol::supervisor::{Key, Supervisor};
use onsembl_protocol::time::{Deadline, WallTime};
use onsembl_protocol::wire::payload::{
    Ack, ErrorCode, ErrorReply, Ping, Pong, RecordedBeat, RecordingLag, SeenBeat, ServerHeartbeat,
    Welcome,
};
use onsembl_protocol::wire::{self, AgentToServer, DecodeError, NextBeat, ServerToAgent};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

/// Frames of all links that may wait for the shard; then the links feel it.
const INBOX: usize = 256;
/// All that goes to an agent is small and must not wait, so all of it is control. Between two writes
/// there may be an acknowledgement for each stream and, after a return, each open command of a user.
const PUMP: PumpConfig = PumpConfig { control_queue: 2048, ..PumpConfig::DEFAULT };
/// Machines woken in one go before input is looked at again.
const SWEEP: usize = 256;
/// Frames that are held for a link between its hello and its session. Reading is paused as soon as
/// the hello is seen, so only what was on its way can arrive.
const HELD: usize = INBOX;

/// How long a full inbox may hold up the machines whose deadline has come.
const PATIENCE: Duration = Duration::from_millis(50);

/// The links and machines of many agents. See the [module](super) for how to use it.
#[derive(Debug)]
pub struct Shard<A> {
    rules: SessionRules,
    config: ServerConfig,
    limits: Limits,
    pump: PumpConfig,
    clock: SystemClock,
    counters: Counters,
    supervisor: Supervisor<ServerConnection>,
    links: BTreeMap<LinkId, LinkEntry<A>>,
    greeting: BTreeMap<LinkId, Deadline>,
    probes: BTreeSet<LinkId>,
    admissions: BTreeMap<LinkId, Admission>,
    next_link: LinkId,
    inbox: mpsc::Receiver<LinkEvent>,
    inbox_entry: mpsc::Sender<LinkEvent>,
    events: VecDeque<ShardEvent<A>>,
}

impl<A> Shard<A> {
    /// A shard without links.
    pub fn new(
        rules: SessionRules,
        config: ServerConfig,
        limits: Limits,
        counters: Counters,
    ) -> Self {
        let (inbox_entry, inbox) = mpsc::channel(INBOX);
        Self {
            rules,
            config,
            limits,
            pump: PUMP,
            clock: SystemClock::new(),
            counters,
            supervisor: Supervisor::new(),
            links: BTreeMap::new(),
            greeting: BTreeMap::new(),
            probes: BTreeSet::new(),
            admissions: BTreeMap::new(),
            next_link: LinkId(1),
            inbox,
            inbox_entry,
            events: VecDeque::new(),
        }
    }

    /// Takes a link in; it now owes a hello.
    pub fn accept(&mut self, ticket: LinkTicket<A>) -> LinkId {
        let id = self.next_link;
        self.next_link = id.next();
        let peer = ticket.link.peer.clone();
        debug!(link = %id, %peer, "link accepted, waiting for its hello");
        let handle = pump::spawn(ticket.link, id, self.pump, self.inbox_entry.clone());
        let greeting = Greeting::new(self.clock.now());
        let _ = self.greeting.insert(id, greeting.deadline());
        let entry = LinkEntry {
            handle,
            envelopes: Envelopes::new(format!("msg-{}", self.rules.server_instance)),
            peer,
            stage: Stage::Greeting { greeting, auth: ticket.auth },
            dialect: Dialect::Legacy,
            hello: None,
            features: Vec::new(),
            agent: None,
            quota: UndecodableQuota::new(),
            held: Vec::new(),
            metrics: None,
        };
        let _ = self.links.insert(id, entry);
        id
    }

    /// What happens next. Cancel-safe; links and machines live only while this is awaited.
    pub async fn next(&mut self) -> ShardEvent<A> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            // Input first: what has arrived counts before any time that has run out.
            let deadline = self.next_wake();
            tokio::select! {
                biased;
                Some(event) = self.inbox.recv() => self.on_link_event(event),
                () = self.clock.sleep_until(deadline) => {}
            }
            // After a stall everything that waited in the inbox must count before any verdict.
            while self.events.len() < SWEEP
                && let Ok(event) = self.inbox.try_recv()
            {
                self.on_link_event(event);
            }
            let (wake, now) = (self.next_wake(), self.clock.now().monotonic);
            if wake.is_due(now) && (self.inbox.is_empty() || wake.overdue_by(now) > PATIENCE) {
                self.sweep();
            }
        }
    }

    /// Puts a machine in for an agent that had a session with an earlier run of this server.
    pub fn recover(&mut self, version: PresenceVersion, epoch: Epoch) -> Key {
        let (machine, step) =
            ServerConnection::recovered(self.config, version, epoch, self.clock.now());
        let key = self.supervisor.insert(machine);
        self.perform(key, step.actions);
        key
    }

    /// Puts a machine in for an agent that has none.
    pub fn insert(&mut self, version: PresenceVersion, epoch: Epoch) -> Key {
        let now = self.clock.now();
        self.supervisor.insert(ServerConnection::new(self.config, version, epoch, now))
    }

    /// The hello that came over `link` is of the agent behind `key`.
    pub fn join(&mut self, link: LinkId, key: Key, claimant: Claimant) {
        let Some(entry) = self.links.get_mut(&link) else { return };
        entry.stage = Stage::Joining(key);
        let dialect = entry.dialect;
        self.feed(key, ServerEvent::Joined { link, dialect, claimant });
    }

    /// The hello that came over `link` is refused, and the agent is told why.
    pub fn refuse(&mut self, link: LinkId, error: ErrorReply, cause: CloseCause) {
        if let Some(entry) = self.links.get(&link) {
            let error = error.about(entry.hello.clone());
            self.send_to(link, &ServerToAgent::Error(error));
        }
        self.counters.count("hellos_refused");
        self.close(link, cause);
    }

    /// The hello that came over `link` is of a diagnosis connection: it is welcomed, but is no
    /// session of anybody.
    pub fn welcome_probe(&mut self, link: LinkId, admission: &Admission) {
        if let Some(entry) = self.links.get_mut(&link) {
            let now = self.clock.now().monotonic;
            entry.stage = Stage::Probe(HeartbeatMonitor::new(self.config.timing, now));
            let _ = self.probes.insert(link);
            entry.handle.resume();
        }
        self.send_welcome(link, admission);
    }

    /// The store opened a session for `link`.
    pub fn admitted(&mut self, key: Key, link: LinkId, admission: Admission) {
        let epoch = admission.epoch;
        let _ = self.admissions.insert(link, admission);
        self.feed(key, ServerEvent::Admitted { link, epoch });
        let _ = self.admissions.remove(&link);
    }

    /// No session can be opened for `link`.
    pub fn rejected(&mut self, key: Key, link: LinkId, cause: CloseCause, why: &str) {
        let code = match cause {
            CloseCause::Deleted | CloseCause::Revoked => ErrorCode::Forbidden,
            _ => ErrorCode::StorageUnavailable,
        };
        self.send_to(link, &ServerToAgent::Error(ErrorReply::new(code, why)));
        self.feed(key, ServerEvent::Rejected { link, cause });
    }

    /// The database holds this heartbeat.
    pub fn recorded(&mut self, key: Key, epoch: Epoch, sequence: BeatSequence, at: WallTime) {
        debug!(?key, %sequence, "heartbeat recorded");
        self.feed(key, ServerEvent::Recorded { epoch, sequence, at });
    }

    /// The store says why it does not record, or that it does again.
    pub fn store_health(&mut self, trouble: Option<StoreTrouble>) {
        let keys: Vec<Key> = self.supervisor.keys().collect();
        for key in keys {
            self.feed(key, ServerEvent::Store(trouble));
        }
    }

    /// The agent reported that it cannot go on.
    pub fn faulted(&mut self, key: Key) {
        if let Some(link) = self.link_of(key) {
            self.feed(key, ServerEvent::Faulted(link));
        }
    }

    /// The agent must go.
    pub fn evict(&mut self, key: Key, cause: CloseCause) {
        self.feed(key, ServerEvent::Evict(cause));
    }

    /// Ends the agent's present link; the agent is expected back.
    pub fn close_session(&mut self, key: Key, cause: CloseCause) {
        if let Some(link) = self.link_of(key) {
            self.close(link, cause);
        }
    }

    /// Stops reading from the agent's link, so that it feels that it sends too much.
    pub fn pause(&self, key: Key) {
        if let Some(entry) = self.link_of(key).and_then(|link| self.links.get(&link)) {
            entry.handle.pause();
        }
    }

    /// Goes on reading.
    pub fn resume(&self, key: Key) {
        if let Some(entry) = self.link_of(key).and_then(|link| self.links.get(&link)) {
            entry.handle.resume();
        }
    }

    /// Says something to an agent in session; whether there was a session to say it in.
    pub fn send(&mut self, key: Key, message: &ServerToAgent) -> bool {
        match self.link_of(key) {
            Some(link) => {
                self.send_to(link, message);
                true
            }
            None => false,
        }
    }

    /// What is known of the agent behind `key`.
    pub fn machine(&self, key: Key) -> Option<&ServerConnection> {
        self.supervisor.get(key)
    }

    /// Closes every link because this process ends.
    pub fn close_all(&mut self, cause: CloseCause) {
        for entry in self.links.values() {
            entry.handle.close(cause);
        }
    }

    /// Links that are open.
    pub fn link_count(&self) -> usize {
        self.links.len()
    }

    /// Whether no link is open and everything was told.
    pub fn is_done(&self) -> bool {
        self.links.is_empty() && self.events.is_empty()
    }

    /// Links that owe a hello.
    pub fn greeting_count(&self) -> usize {
        self.greeting.len()
    }

    /// The clock the machines live by.
    pub fn clock(&self) -> SystemClock {
        self.clock
    }

    fn next_wake(&self) -> Deadline {
        let greeting = self.greeting.values().next().copied().unwrap_or_default();
        self.probes
            .iter()
            .filter_map(|link| self.probe(*link))
            .map(HeartbeatMonitor::deadline)
            .fold(self.supervisor.next_wake().min(greeting), Deadline::min)
    }

    fn probe(&self, link: LinkId) -> Option<&HeartbeatMonitor> {
        match &self.links.get(&link)?.stage {
            Stage::Probe(monitor) => Some(monitor),
            Stage::Greeting { .. } | Stage::Claimed | Stage::Joining(_) | Stage::Live { .. } => {
                None
            }
        }
    }

    fn link_of(&self, key: Key) -> Option<LinkId> {
        self.supervisor.get(key)?.link()
    }

    fn sweep(&mut self) {
        let now = self.clock.now();
        let mut woken = Vec::new();
        let _more_is_due_and_the_next_wake_says_so =
            self.supervisor.sweep(now, SWEEP, |key, actions| woken.push((key, actions)));
        for (key, actions) in woken {
            self.perform(key, actions);
        }
        while let Some((&link, due)) = self.greeting.first_key_value()
            && due.is_due(now.monotonic)
        {
            self.greet(link, GreetingEvent::Wake);
        }
        let mut silent = Vec::new();
        for link in &self.probes {
            if let Some(LinkEntry { stage: Stage::Probe(monitor), .. }) = self.links.get_mut(link)
                && monitor.on_wake(now.monotonic).changed == Some(Liveness::TimedOut)
            {
                silent.push(*link);
            }
        }
        for link in silent {
            self.close(link, CloseCause::Silent);
        }
    }

    fn feed(&mut self, key: Key, event: ServerEvent) {
        let now = self.clock.now();
        match self.supervisor.handle(key, event, now) {
            Some(actions) => self.perform(key, actions),
            None => self.counters.count("events_of_forgotten_agents"),
        }
    }

    fn perform(&mut self, key: Key, actions: Actions<ServerAction>) {
        for action in actions {
            match action {
                ServerAction::Admit(link) => self.events.push_back(ShardEvent::Admit { key, link }),
                ServerAction::Welcome { link, epoch } => self.welcome(key, link, epoch),
                ServerAction::Record { epoch, sequence } => {
                    let metrics =
                        self.link_of(key).and_then(|l| self.links.get_mut(&l)?.metrics.take());
                    let at = self.clock.now().wall;
                    debug!(?key, %sequence, "heartbeat received");
                    self.events.push_back(ShardEvent::Record { key, epoch, sequence, at, metrics });
                }
                ServerAction::SendBeat { link, beat } => self.send_beat(key, link, beat),
                ServerAction::SendPing(link) => {
                    let timestamp = Some(self.clock.now().wall.unix_millis() as f64);
                    debug!(?key, "probe sent");
                    self.send_to(link, &ServerToAgent::Ping(Ping { timestamp, sequence: None }));
                }
                ServerAction::Close(link, cause) => self.close(link, cause),
                ServerAction::Report(presence) => {
                    self.events.push_back(ShardEvent::Presence { key, presence });
                }
                ServerAction::Overslept(late) => {
                    self.counters.count("overslept");
                    self.events.push_back(ShardEvent::Overslept(late));
                }
                ServerAction::Forget => {
                    let _ = self.supervisor.remove(key);
                    self.events.push_back(ShardEvent::Forgotten { key });
                }
            }
        }
    }

    fn welcome(&mut self, key: Key, link: LinkId, epoch: Epoch) {
        let Some(admission) = self.admissions.remove(&link).filter(|a| a.epoch == epoch) else {
            self.counters.count("welcomes_without_admission");
            return;
        };
        let Some(entry) = self.links.get_mut(&link) else { return };
        entry.stage = Stage::Live { key, session: admission.session.clone() };
        entry.agent = Some(admission.agent.clone());
        let dialect = entry.dialect;
        let held = std::mem::take(&mut entry.held);
        entry.handle.resume();
        self.send_welcome(link, &admission);
        self.events.push_back(ShardEvent::Welcomed { key, link, dialect });
        for text in held {
            self.inbox_again(link, text);
        }
    }

    /// Frames that waited for the session are handled before any that comes after it: they go
    /// through the same path, now.
    fn inbox_again(&mut self, link: LinkId, text: String) {
        self.on_link_event(LinkEvent { link, what: LinkInput::Received(Received::Text(text)) });
    }

    fn send_welcome(&mut self, link: LinkId, admission: &Admission) {
        let Some(entry) = self.links.get(&link) else { return };
        let extensions = (entry.dialect == Dialect::Extended).then(|| Welcome {
            features: self
                .rules
                .features
                .iter()
                .filter(|f| entry.features.contains(f))
                .cloned()
                .collect(),
            session_id: admission.session.clone(),
            epoch: admission.epoch,
            server_instance: self.rules.server_instance.clone(),
            timing: self.config.timing.into(),
            resume_window_ms: self.config.resume_window.as_millis() as u64,
            output_window_bytes: self.rules.output_window,
        });
        let ack = Ack {
            message_id: entry.hello.clone(),
            success: true,
            connection_id: Some(format!("agent-{}", admission.session)),
            agent_id: Some(admission.agent.clone()),
            authenticated: Some(true),
            extensions,
            ..Ack::default()
        };
        self.send_to(link, &ServerToAgent::Ack(ack));
    }

    fn send_beat(&mut self, key: Key, link: LinkId, beat: BeatOut) {
        let wall = self.clock.now().wall;
        let interval = self.config.timing.interval().as_millis() as i64;
        let message = ServerHeartbeat {
            server_time: Some(wall),
            next_ping_expected: Some(NextBeat::At(WallTime::from_unix_millis(
                wall.unix_millis().saturating_add(interval),
            ))),
            sequence: Some(beat.sequence),
            seen: beat
                .seen
                .map(|s| SeenBeat { sequence: s.sequence, age_ms: s.age.as_millis() as u64 }),
            recorded: beat.recorded.map(|(sequence, at)| RecordedBeat { sequence, at: Some(at) }),
            recording_lag: beat.lag.map(|(age, why)| RecordingLag {
                age_ms: age.as_millis() as u64,
                why: why.to_string(),
            }),
        };
        debug!(?key, sequence = %beat.sequence, lagging = beat.lag.is_some(), "heartbeat answered");
        self.send_to(link, &ServerToAgent::Heartbeat(message));
        self.events.push_back(ShardEvent::Answered { key, sequence: beat.sequence });
    }

    fn send_to(&mut self, link: LinkId, message: &ServerToAgent) {
        let Some(entry) = self.links.get_mut(&link) else { return };
        let (_, frame) = entry.envelopes.frame(message, self.clock.now().wall);
        if entry.handle.control(frame).is_err() {
            self.counters.count("control_queue_full");
            warn!(%link, peer = %entry.peer, "the agent does not read; its link is being ended");
        }
    }

    fn close(&mut self, link: LinkId, cause: CloseCause) {
        let _ = self.greeting.remove(&link);
        let _ = self.probes.remove(&link);
        let Some(entry) = self.links.get(&link) else { return };
        debug!(%link, peer = %entry.peer, %cause, "closing a link");
        match cause {
            CloseCause::Silent => entry.handle.abort(cause),
            cause => entry.handle.close(cause),
        }
    }

    fn on_link_event(&mut self, event: LinkEvent) {
        let link = event.link;
        match event.what {
            LinkInput::Ended(end) => self.on_ended(link, end.reason, &end.detail),
            LinkInput::Received(Received::Binary { bytes }) => {
                self.counters.count("binary_frames");
                self.say_undecodable(
                    link,
                    format!("binary frames ({bytes} bytes) are not accepted"),
                );
                self.close(link, CloseCause::UnsupportedData);
            }
            LinkInput::Received(Received::Control) => self.heard(link, ServerInbound::Other),
            LinkInput::Received(Received::Text(text)) => self.on_text(link, text),
        }
    }

    fn on_ended(&mut self, link: LinkId, reason: CloseReason, detail: &str) {
        let _ = self.greeting.remove(&link);
        let _ = self.probes.remove(&link);
        let Some(entry) = self.links.remove(&link) else { return };
        self.counters.count("links_ended");
        info!(%link, peer = %entry.peer, because = %reason, detail, "link ended");
        if let Some(key) = entry.key() {
            let session: Option<SessionId> = match entry.stage {
                Stage::Live { session, .. } => Some(session),
                Stage::Greeting { .. } | Stage::Claimed | Stage::Joining(_) | Stage::Probe(_) => {
                    None
                }
            };
            self.events.push_back(ShardEvent::LinkEnded { key, session, reason });
            self.feed(key, ServerEvent::LinkDown(link, reason));
        }
    }

    fn on_text(&mut self, link: LinkId, text: String) {
        let Some(entry) = self.links.get_mut(&link) else { return };
        match &entry.stage {
            Stage::Claimed | Stage::Joining(_) => {
                if entry.held.len() < HELD {
                    entry.held.push(text);
                } else {
                    self.counters.count("frames_dropped_before_session");
                }
                return;
            }
            Stage::Greeting { .. } | Stage::Live { .. } | Stage::Probe(_) => {}
        }
        match wire::decode::<AgentToServer>(&text, &self.limits) {
            Ok(envelope) => {
                if matches!(entry.stage, Stage::Greeting { .. }) {
                    if let AgentToServer::Connect(hello) = envelope.message {
                        entry.hello = envelope.id;
                        self.on_hello(link, hello);
                    } else {
                        self.counters.count("messages_before_hello");
                        self.greet(link, GreetingEvent::Other);
                    }
                } else {
                    self.on_message(link, envelope.id, envelope.message);
                }
            }
            Err(error) => self.on_undecodable(link, &error),
        }
    }

    fn greet(&mut self, link: LinkId, event: GreetingEvent) {
        let now = self.clock.now();
        let Some(entry) = self.links.get_mut(&link) else {
            let _ = self.greeting.remove(&link);
            return;
        };
        let Stage::Greeting { greeting, .. } = &mut entry.stage else { return };
        match greeting.handle(event, now) {
            GreetingVerdict::Wait | GreetingVerdict::Identify => {}
            GreetingVerdict::Close(cause) => {
                self.counters.count("no_hello");
                let error = ErrorReply::new(
                    ErrorCode::AuthTimeout,
                    "no AGENT_CONNECT came in time; send it first",
                );
                self.send_to(link, &ServerToAgent::Error(error));
                self.close(link, cause);
            }
        }
    }

    fn on_hello(&mut self, link: LinkId, hello: wire::payload::AgentConnect) {
        let _ = self.greeting.remove(&link);
        let Some(entry) = self.links.get_mut(&link) else { return };
        entry.handle.pause();
        entry.dialect = match &hello.extensions {
            Some(extensions) => {
                entry.features = extensions.features.clone();
                Dialect::Extended
            }
            None => Dialect::Legacy,
        };
        let stage = std::mem::replace(&mut entry.stage, Stage::Claimed);
        let peer = entry.peer.clone();
        if let Stage::Greeting { auth, .. } = stage {
            let hello = Box::new(hello);
            self.events.push_back(ShardEvent::Hello(HelloClaim { link, auth, hello, peer }));
        }
    }

    fn on_undecodable(&mut self, link: LinkId, error: &DecodeError) {
        self.counters.count("undecodable");
        warn!(%link, %error, message = ?error.message_id, "an agent sent what cannot be decoded");
        let now = self.clock.now().monotonic;
        let Some(entry) = self.links.get_mut(&link) else { return };
        let in_greeting = matches!(entry.stage, Stage::Greeting { .. });
        let allowed = entry.quota.allow(&self.limits, now);
        let reply = ErrorReply::new(ErrorCode::InvalidMessage, error.to_string())
            .about(error.message_id.clone())
            .for_command(error.command_id.clone());
        self.send_to(link, &ServerToAgent::Error(reply));
        if !allowed {
            self.close(link, CloseCause::TooManyUndecodable);
        }
        if in_greeting {
            self.greet(link, GreetingEvent::Other);
        } else {
            self.heard(link, ServerInbound::Other);
        }
    }

    fn say_undecodable(&mut self, link: LinkId, why: String) {
        warn!(%link, why, "an agent sent what cannot be read");
        self.send_to(link, &ServerToAgent::Error(ErrorReply::new(ErrorCode::InvalidMessage, why)));
    }

    fn heard(&mut self, link: LinkId, what: ServerInbound) {
        let now = self.clock.now();
        let Some(entry) = self.links.get_mut(&link) else { return };
        match &mut entry.stage {
            Stage::Live { key, .. } => {
                let key = *key;
                self.events.push_back(ShardEvent::Heard { key, at: now.wall });
                self.feed(key, ServerEvent::Received(link, what));
            }
            Stage::Probe(monitor) => {
                let _only_silence_ends_a_probe = monitor.on_received(now.monotonic);
            }
            Stage::Greeting { .. } | Stage::Claimed | Stage::Joining(_) => {}
        }
    }

    fn on_message(&mut self, link: LinkId, id: Option<MessageId>, message: AgentToServer) {
        let Some(entry) = self.links.get_mut(&link) else { return };
        let key = match &entry.stage {
            Stage::Live { key, .. } => Some(*key),
            Stage::Greeting { .. } | Stage::Claimed | Stage::Joining(_) | Stage::Probe(_) => None,
        };
        let inbound = match &message {
            AgentToServer::Heartbeat(beat) => {
                entry.metrics = beat.health_metrics;
                ServerInbound::Heartbeat {
                    sequence: beat.sequence,
                    seen: beat.seen.map(|s| s.sequence),
                }
            }
            AgentToServer::Pong(_) => ServerInbound::Pong,
            AgentToServer::Ping(ping) => {
                let pong =
                    Pong { timestamp: ping.timestamp, latency: None, sequence: ping.sequence };
                self.send_to(link, &ServerToAgent::Pong(pong));
                ServerInbound::Other
            }
            AgentToServer::Connect(_) => {
                self.answer_repeated_hello(link, id);
                ServerInbound::Other
            }
            AgentToServer::Unknown(kind) => {
                self.counters.count("unknown_types");
                debug!(%link, %kind, "an agent sent a type that this version does not know");
                ServerInbound::Other
            }
            AgentToServer::Fault(_)
            | AgentToServer::CommandAck(_)
            | AgentToServer::CommandComplete(_)
            | AgentToServer::Output(_)
            | AgentToServer::Trace(_)
            | AgentToServer::Report(_) => ServerInbound::Other,
        };
        self.heard(link, inbound);
        let Some(key) = key else { return };
        match message {
            AgentToServer::Fault(_)
            | AgentToServer::CommandAck(_)
            | AgentToServer::CommandComplete(_)
            | AgentToServer::Output(_)
            | AgentToServer::Trace(_)
            | AgentToServer::Report(_) => {
                let now = self.clock.now();
                let message = Box::new(message);
                self.events.push_back(ShardEvent::Message { key, message, now });
            }
            AgentToServer::Connect(_)
            | AgentToServer::Heartbeat(_)
            | AgentToServer::Ping(_)
            | AgentToServer::Pong(_)
            | AgentToServer::Unknown(_) => {}
        }
    }

    /// A legacy wrapper may say hello twice on one link; it is told its id again.
    fn answer_repeated_hello(&mut self, link: LinkId, id: Option<MessageId>) {
        let Some(entry) = self.links.get(&link) else { return };
        let ack = Ack {
            message_id: id,
            success: true,
            agent_id: entry.agent.clone(),
            authenticated: Some(true),
            ..Ack::default()
        };
        self.send_to(link, &ServerToAgent::Ack(ack));
    }
}
