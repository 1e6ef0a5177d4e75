//! The hub's loop: which fleet gets which event.

use super::bearers::{Bearers, Opened};
use super::fleets::Fleets;
use super::notes::TurnedAway;
use super::perform::Edge;
use super::request::{BeatHop, BeatSeen, HubHandle, HubStats, NoRecording, QueuedRequest, Request};
use super::rows;
use super::seats::Seats;
use super::traces::Traces;
use super::watchdog::{Kind, Watchdog};
use super::write_queue::{Done, WriteQueue};
use crate::auth::{LinkEnd, OpenRequest};
use crate::bounds::{TurnLimits, Turns};
use crate::fleet_view::FleetViews;
use crate::metrics::Metrics;
use crate::own_faults::FaultRecord;
use crate::store::{
    HeartbeatRow, OutputReceipt, Receipts, Recorded, Store, StoreError, StoreHealth,
    StoreTrouble as Trouble,
};
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::diagnosis::BeatReport;
use onsembl_protocol::fleet::{
    self, Fleet, FleetEvent, Receipt, RecordingSource, SeatId, StoreAnswer, Token,
};
use onsembl_protocol::id::{AgentId, ServerInstanceId, UserId};
use onsembl_protocol::limits::{Limits, OUTPUT_WINDOW};
use onsembl_protocol::model::SERVER_FEATURES;
use onsembl_protocol::replay::Excerpt;
use onsembl_protocol::session::{ServerConfig, StoreTrouble};
use onsembl_protocol::supervisor::Key;
use onsembl_protocol::time::Now;
use onsembl_transport::clock::SystemClock;
use onsembl_transport::counters::Counters;
use onsembl_transport::server::{SessionRules, Shard, ShardEvent};
use std::collections::{BTreeMap, VecDeque};
use std::future::ready;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

/// Requests that may wait for the hub; then the asker waits.
pub(crate) const INBOX: usize = 256;
/// Of them, those of one user; the others wait in a line of their own. A request waits for this many of each
/// other user at most.
pub(crate) const INBOX_OF_USER: usize = 16;
/// Questions of one user's fleet that the store has at a time; the others wait in a line of their own. One
/// transaction takes as many.
pub(crate) const ASKED_OF_USER: usize = 32;
/// Recorded heartbeats that are handled in one go before input is looked at again: one commit may have those of all agents.
const RECORDED_AT_ONCE: usize = 256;
/// How long the last writes may take when the server ends; what is left then is given to the store
/// to close with.
const LAST_WRITES: Duration = Duration::from_secs(3);

/// The hub. See the [module](super).
#[derive(Debug)]
pub struct Hub {
    pub(super) edge: Edge,
    clock: SystemClock,
    fleets: Fleets,
    next_token: u64,
    inbox: mpsc::Receiver<QueuedRequest>,
    done: mpsc::UnboundedReceiver<Done>,
    receipts: Receipts,
    health: watch::Receiver<StoreHealth>,
    link_ends: mpsc::UnboundedReceiver<LinkEnd>,
    /// Heartbeats of a commit that were not handled yet.
    recorded: VecDeque<Recorded>,
    watchdog: Watchdog,
    own_faults: FaultRecord,
}

/// What the loop has to do next.
enum Input {
    Link(ShardEvent<OpenRequest>),
    Request(Request),
    Recorded,
    Stored(Vec<OutputReceipt>),
    Answered(UserId, StoreAnswer),
    Health,
    Wake,
    TokenEnded(LinkEnd),
}

impl Input {
    const fn kind(&self) -> Kind {
        match self {
            Self::Link(_) => Kind::LINKS,
            Self::Request(request) => match request {
                Request::AgentLink(_) => Kind::ACCEPT,
                Request::User { .. } => Kind::OF_FLEET,
                Request::Recording { .. } => Kind::RECORDING,
                Request::Beats { .. } => Kind::BEATS,
                Request::Command { .. } => Kind::COMMAND,
                Request::Stats(_) | Request::Shutdown(_) => Kind::STATS,
            },
            Self::Recorded => Kind::RECORDED,
            Self::Stored(_) => Kind::STORED,
            Self::Answered(..) => Kind::ANSWERED,
            Self::Health => Kind::HEALTH,
            Self::Wake => Kind::WAKE,
            Self::TokenEnded(_) => Kind::TOKENS,
        }
    }
}

/// What a hub is made of.
#[derive(Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub struct HubParts {
    pub store: Store,
    /// What comes out of it.
    pub receipts: Receipts,
    /// Says of which links the tokens ended.
    pub(crate) link_ends: mpsc::UnboundedReceiver<LinkEnd>,
    /// The fleet views to write.
    pub fleet_views: FleetViews,
    /// Where to count.
    pub counters: Counters,
    /// Where to measure.
    pub metrics: Metrics,
    /// Where to note what this server suffers itself.
    pub own_faults: FaultRecord,
    /// The rules for agents.
    pub config: ServerConfig,
    /// This process.
    pub instance: ServerInstanceId,
    /// Bytes for the recording of inputs; none with zero.
    pub recording: usize,
    /// Where the spans of commands go.
    pub traces: Traces,
    /// Who watches heartbeats.
    pub observer: Option<mpsc::UnboundedSender<BeatSeen>>,
}

impl Hub {
    /// A hub that has read what the database knows. Run it with [`run`](Self::run).
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn open(parts: HubParts) -> Result<(Self, HubHandle), StoreError> {
        let HubParts { store, receipts, link_ends, fleet_views, counters, .. } = parts;
        let features = SERVER_FEATURES.iter().cloned().chain(parts.traces.feature());
        let rules = SessionRules {
            server_instance: parts.instance,
            features: features.collect(),
            output_window: OUTPUT_WINDOW,
        };
        let shard = Shard::new(rules, parts.config, Limits::DEFAULT, counters.clone())
            .with_recording(parts.recording);
        let (requests, inbox) = mpsc::channel(INBOX);
        let (done_in, done) = mpsc::unbounded_channel();
        let mut hub = Self {
            clock: shard.clock(),
            health: store.health(),
            edge: Edge {
                shard,
                writes: WriteQueue::start(store.clone(), counters.clone(), done_in),
                store,
                counters,
                seats: Seats::default(),
                waiters: BTreeMap::new(),
                outcomes: JoinSet::new(),
                asking: Turns::new(TurnLimits::each(ASKED_OF_USER)),
                bearers: Bearers::default(),
                turned_away: TurnedAway::new(),
                observer: parts.observer,
                metrics: parts.metrics,
                traces: parts.traces,
            },
            fleets: Fleets::new(fleet_views),
            next_token: 0,
            inbox,
            done,
            receipts,
            link_ends,
            recorded: VecDeque::new(),
            watchdog: Watchdog::default(),
            own_faults: parts.own_faults,
        };
        let mut health = hub.edge.store.health();
        let damaged = async {
            let is_damaged = |health: &StoreHealth| {
                matches!(health, StoreHealth::Troubled { trouble: Trouble::Damaged, .. })
            };
            health.wait_for(is_damaged).await.is_ok()
        };
        tokio::select! {
            recovered = hub.recover() => recovered?,
            // It would be tried without end, and nothing that waits for it would start.
            true = damaged => {
                let why = "a page that the start needs cannot be used".to_owned();
                return Err(StoreError::Damaged { why });
            }
        }
        Ok((hub, HubHandle::new(requests, INBOX_OF_USER)))
    }

    /// Runs until a shutdown is asked for.
    pub async fn run(mut self) {
        loop {
            // What the shard has decided already comes before everything else: no request is judged by a
            // session that is over.
            while let Some(event) = self.edge.shard.take_event() {
                self.step(Input::Link(event));
            }
            let wake = self.fleets.deadline();
            // Whichever there is, each as likely as the others: who floods one of them holds up no other.
            let input = tokio::select! {
                request = self.inbox.recv() => match request {
                    Some((Request::Shutdown(done), _)) => return self.shut_down(done).await,
                    Some((request, _turn)) => Input::Request(request),
                    None => return,
                },
                event = self.edge.shard.next() => Input::Link(event),
                Some(recorded) = self.receipts.recorded.recv(), if self.recorded.is_empty() => {
                    self.recorded.extend(recorded);
                    Input::Recorded
                }
                () = ready(()), if !self.recorded.is_empty() => Input::Recorded,
                Some(stored) = self.receipts.output.recv() => Input::Stored(stored),
                Some((user, answer)) = self.done.recv() => Input::Answered(user, answer),
                Some(outcome) = self.edge.outcomes.join_next(), if !self.edge.outcomes.is_empty() => {
                    match outcome {
                        Ok((user, answer)) => Input::Answered(user, answer),
                        Err(error) => {
                            self.edge.counters.count("tasks_lost");
                            warn!(%error, "a request to the database was lost");
                            continue;
                        }
                    }
                }
                Ok(()) = self.health.changed() => Input::Health,
                () = self.clock.sleep_until(wake) => Input::Wake,
                Some(ended) = self.link_ends.recv() => Input::TokenEnded(ended),
            };
            self.step(input);
        }
    }

    /// Everything that the loop does, under the watchdog.
    fn step(&mut self, input: Input) {
        let (began, kind) = (std::time::Instant::now(), input.kind());
        match input {
            Input::Link(event) => self.on_shard(event),
            Input::Request(request) => self.on_request(request),
            Input::Recorded => self.on_recorded(),
            Input::Stored(stored) => self.on_stored(stored),
            Input::Answered(user, answer) => self.feed(&user, FleetEvent::Store(answer)),
            Input::Health => self.on_health(),
            Input::Wake => self.wake(),
            Input::TokenEnded(LinkEnd { id, end, link }) => {
                let opened = self.edge.bearers.opened(id).or_else(|| link.map(Opened::Link));
                if let Some(opened) = opened {
                    self.edge.end_opened(opened, end);
                }
            }
        }
        let _ = self.watchdog.stepped(kind, began.elapsed(), &self.edge.counters);
    }

    /// Hands an event to the fleet of a user, and performs what it decides.
    pub(super) fn feed(&mut self, user: &UserId, event: FleetEvent) {
        let kind = Kind::of(&event);
        self.with_fleet(user, kind, |fleet, now| fleet.handle(event, now));
    }

    pub(super) fn with_fleet(
        &mut self,
        user: &UserId,
        kind: Kind,
        change: impl FnOnce(&mut Fleet, Now),
    ) {
        let began = std::time::Instant::now();
        let Self { fleets, edge, clock, .. } = self;
        let change = |fleet: &mut Fleet| change(fleet, clock.now());
        fleets.with(user, change, |view, action| edge.perform(user, view, action));
        self.watchdog.handled(user, kind, began, &self.edge.counters);
    }

    fn wake(&mut self) {
        let now = self.clock.now().monotonic;
        for user in self.fleets.due(now) {
            self.feed(&user, FleetEvent::Wake);
        }
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::AgentLink(ticket) => {
                let link = self.edge.shard.accept(ticket);
                if let Some(open) = self.edge.shard.bearer(link) {
                    open.is_link(link);
                    if let Some(end) = open.end() {
                        self.edge.end_opened(Opened::Link(link), end);
                    }
                }
            }
            Request::User { user, mut request, reply } => {
                let token = Token(self.next_token);
                self.next_token += 1;
                let _ = self.edge.waiters.insert(token, reply);
                if let fleet::Request::Command(request) = &mut request {
                    self.edge.traces.asked(&user, request);
                }
                self.feed(&user, FleetEvent::Request { token, request });
                self.edge.traces.answered(&user);
            }
            Request::Recording { user, agent, reply } => {
                let began = std::time::Instant::now();
                if reply.send(self.recording(&user, &agent)).is_err() {
                    self.edge.counters.count("answers_nobody_took");
                }
                self.watchdog.handled(&user, Kind::RECORDING, began, &self.edge.counters);
            }
            Request::Beats { user, agent, reply } => {
                let began = std::time::Instant::now();
                if reply.send(self.beats(&user, &agent).map(Box::new)).is_err() {
                    self.edge.counters.count("answers_nobody_took");
                }
                self.watchdog.handled(&user, Kind::BEATS, began, &self.edge.counters);
            }
            Request::Command { user, command, reply } => {
                let (began, now) = (std::time::Instant::now(), self.clock.now());
                let fleet = self.fleets.of(&user);
                if reply.send(fleet.and_then(|fleet| fleet.open_command(&command, now))).is_err() {
                    self.edge.counters.count("answers_nobody_took");
                }
                self.watchdog.handled(&user, Kind::COMMAND, began, &self.edge.counters);
            }
            Request::Stats(reply) => {
                if reply.send(self.stats()).is_err() {
                    self.edge.counters.count("answers_nobody_took");
                }
            }
            Request::Shutdown(done) => drop(done),
        }
    }

    fn stats(&self) -> HubStats {
        let (sessions, open_commands) = self.fleets.sums();
        HubStats {
            links: self.edge.shard.link_count(),
            greeting: self.edge.shard.greeting_count(),
            sessions,
            open_commands,
            unwritten: self.edge.writes.waiting(),
        }
    }

    fn recording(&self, user: &UserId, agent: &AgentId) -> Result<Excerpt, NoRecording> {
        let source = self.fleets.of(user).and_then(|fleet| fleet.recording(agent));
        let excerpt = match source.ok_or(NoRecording::NoAgent)? {
            Some(RecordingSource::Seat(seat)) => {
                self.edge.seats.key(seat).and_then(|key| self.edge.shard.recording(key))
            }
            Some(RecordingSource::Retired(history)) => self.edge.shard.recording_of(history),
            None => None,
        };
        excerpt.ok_or(NoRecording::Nothing)
    }

    fn on_shard(&mut self, event: ShardEvent<OpenRequest>) {
        match event {
            ShardEvent::Hello(claim) => {
                let identity = claim.auth.identity();
                let (user, bearer) = (identity.user.clone(), identity.bearer());
                let ended = self.edge.bearers.hello(claim.link, claim.auth);
                let (link, hello, peer) = (claim.link, claim.hello, claim.peer);
                if let Some(end) = ended {
                    self.edge.bearers.link_ended(link);
                    return self.edge.end_opened(Opened::Link(link), end);
                }
                self.feed(&user, FleetEvent::Hello { link, hello, peer, bearer });
            }
            ShardEvent::Silent { link, named } => {
                if let Some(identity) = self.edge.shard.bearer(link).map(OpenRequest::identity) {
                    let (user, bearer) = (identity.user.clone(), identity.bearer());
                    self.feed(&user, FleetEvent::Silent { link, named, bearer });
                }
            }
            ShardEvent::Parked { key, link, session } => {
                if let Some(end) = self.edge.bearers.parked(link, key) {
                    self.edge.end_opened(Opened::Link(link), end);
                }
                self.feed_seat(key, |seat| FleetEvent::Parked { seat, link, session });
            }
            ShardEvent::Admit { key, link } => {
                self.feed_seat(key, |seat| FleetEvent::Admit { seat, link });
            }
            ShardEvent::Welcomed { key, link, capabilities, dialect: _ } => {
                let ended = self.edge.bearers.welcomed(link, key);
                self.feed_seat(key, |seat| FleetEvent::Welcomed { seat, link, capabilities });
                if let Some(end) = ended {
                    self.edge.end_opened(Opened::Session(key), end);
                }
            }
            ShardEvent::Record { key, epoch, sequence, at, metrics } => {
                if let Some(metrics) = metrics {
                    self.feed_seat(key, |seat| FleetEvent::Metrics { seat, metrics });
                }
                let Some(agent) = self.edge.seats.of(key).and_then(|s| s.agent.clone()) else {
                    return;
                };
                self.edge.metrics.heartbeat(BeatHop::Received);
                self.edge.observe(&agent, sequence, BeatHop::Received, at);
                let metrics = metrics.and_then(|m| serde_json::to_string(&m).ok());
                let row = HeartbeatRow { agent, epoch, sequence, at, metrics };
                self.edge.store.record_heartbeat(row);
            }
            ShardEvent::Paused { key, pausing } => {
                self.feed_seat(key, |seat| FleetEvent::Paused { seat, pausing });
            }
            ShardEvent::Presence { key, presence, beats } => {
                self.edge.metrics.presence(&presence);
                self.feed_seat(key, |seat| FleetEvent::Presence { seat, presence, beats });
            }
            ShardEvent::Beats { key, verdict } => {
                self.feed_seat(key, |seat| FleetEvent::Beats { seat, verdict });
            }
            ShardEvent::Message { key, message, now: _ } => {
                self.edge.metrics.message(&message);
                self.feed_seat(key, |seat| FleetEvent::Message { seat, message });
            }
            ShardEvent::Heard { key, at } => {
                self.feed_seat(key, |seat| FleetEvent::Heard { seat, at });
            }
            ShardEvent::LinkEnded { key, link, session, reason } => {
                self.edge.bearers.link_ended(link);
                let event = |seat| FleetEvent::LinkEnded { seat, link, session, reason };
                self.feed_seat(key, event);
            }
            ShardEvent::Forgotten { key, history } => {
                self.edge.bearers.forgotten(key);
                if let Some(seated) = self.edge.seats.remove(key) {
                    let event = FleetEvent::Forgotten { seat: seated.seat, history };
                    self.feed(&seated.user, event);
                }
            }
            ShardEvent::Overslept(late) => {
                self.edge.metrics.stalled(late);
                let late_ms = late.as_millis() as u64;
                warn!(
                    late_ms,
                    "this process was suspended; that time counts as no agent's silence"
                );
            }
            ShardEvent::Answered { key, sequence } => {
                self.edge.metrics.heartbeat(BeatHop::Answered);
                if let Some(agent) = self.edge.seats.of(key).and_then(|s| s.agent.as_ref()) {
                    let at = self.clock.now().wall;
                    self.edge.observe(agent, sequence, BeatHop::Answered, at);
                }
            }
        }
    }

    /// The ledger of heartbeats of an agent of this user; `None` if it has no session, or is none of the user.
    fn beats(&self, user: &UserId, agent: &AgentId) -> Option<BeatReport> {
        match self.fleets.of(user)?.recording(agent)?? {
            RecordingSource::Seat(seat) => self.edge.shard.beats(self.edge.seats.key(seat)?),
            RecordingSource::Retired(_) => None,
        }
    }

    fn feed_seat(&mut self, key: Key, event: impl FnOnce(SeatId) -> FleetEvent) {
        match self.edge.seats.of(key) {
            Some(seated) => {
                let (user, seat) = (seated.user.clone(), seated.seat);
                self.feed(&user, event(seat));
            }
            None => self.edge.counters.count("events_of_forgotten_agents"),
        }
    }

    fn on_recorded(&mut self) {
        for beat in self.recorded.drain(..self.recorded.len().min(RECORDED_AT_ONCE)) {
            self.edge.metrics.recorded(&beat);
            let at = beat.committed_at;
            self.edge.observe(&beat.agent, beat.sequence, BeatHop::Recorded, at);
            if let Some(key) = self.edge.seats.machine_of(&beat.agent) {
                self.edge.shard.recorded(key, beat.epoch, beat.sequence, beat.at);
            }
        }
    }

    fn on_stored(&mut self, stored: Vec<OutputReceipt>) {
        let mut by_user: BTreeMap<UserId, Vec<Receipt>> = BTreeMap::new();
        stored.iter().for_each(|receipt| self.edge.metrics.stored(receipt));
        for (user, receipt) in stored.into_iter().map(rows::receipt) {
            by_user.entry(user).or_default().push(receipt);
        }
        for (user, receipts) in by_user {
            self.feed(&user, FleetEvent::Receipts(receipts));
        }
    }

    fn on_health(&mut self) {
        let health = *self.health.borrow_and_update();
        self.own_faults.store(health, self.clock.now().wall);
        let trouble = match health {
            StoreHealth::Healthy => {
                info!("the database takes writes again");
                None
            }
            StoreHealth::Scarce { .. } => {
                self.edge.counters.count("store_disk_full");
                warn!("{health}; agents stay connected");
                Some(StoreTrouble::Full)
            }
            StoreHealth::Troubled { trouble, .. } => {
                self.edge.counters.count("store_troubles");
                warn!(%trouble, "the database does not take writes; agents stay connected");
                Some(match trouble {
                    Trouble::Busy => StoreTrouble::Busy,
                    Trouble::Full => StoreTrouble::Full,
                    Trouble::Failed | Trouble::Damaged => StoreTrouble::Failed,
                })
            }
        };
        self.edge.shard.store_health(trouble);
    }

    /// Says goodbye on every link and waits a little for it to arrive.
    async fn shut_down(mut self, done: oneshot::Sender<()>) {
        self.edge.shard.close_all(CloseCause::GoingAway);
        let patience = tokio::time::sleep(Duration::from_secs(3));
        tokio::pin!(patience);
        while !self.edge.shard.is_done() {
            tokio::select! {
                event = self.edge.shard.next() => self.step(Input::Link(event)),
                () = &mut patience => break,
            }
        }
        drop(done);
        self.edge.traces.finish().await;
        self.edge.writes.finish(LAST_WRITES).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Identity, Opens, TokenKind};
    use onsembl_protocol::fleet::OpenKind;
    use onsembl_protocol::id::{AgentKey, InstanceId, LinkId};
    use onsembl_protocol::model::AGENT_FEATURES;
    use onsembl_protocol::time::WallTime;
    use onsembl_protocol::wire::payload::{
        AgentConnect, AgentExtensions, AgentType, LegacyCapabilities,
    };
    use onsembl_transport::server::HelloClaim;

    /// No event tells the hub how such a link ends.
    #[tokio::test]
    async fn nothing_is_kept_of_a_diagnosis_connection() {
        let dir = tempfile::tempdir().unwrap();
        let at = WallTime::from_unix_millis(1_700_000_000_000);
        let (store, receipts) = Store::open(dir.path(), at).await.unwrap();
        let (opens, link_ends) = Opens::new(Counters::default());
        let parts = HubParts {
            store,
            receipts,
            link_ends,
            fleet_views: FleetViews::default(),
            metrics: Metrics::new(Counters::default()),
            own_faults: FaultRecord::default(),
            counters: Counters::default(),
            config: ServerConfig::DEFAULT,
            instance: ServerInstanceId::new("s"),
            recording: 0,
            traces: Traces::default(),
            observer: None,
        };
        let (mut hub, _handle) = Hub::open(parts).await.unwrap();
        let extensions = AgentExtensions {
            features: AGENT_FEATURES.to_vec(),
            agent_key: AgentKey::new("k"),
            instance: InstanceId::new("i"),
            probe: true,
            commands: Vec::new(),
            journal: None,
            max_parallel: None,
            stop_id: None,
        };
        let hello = AgentConnect {
            agent_id: "k".to_owned(),
            name: None,
            agent_type: AgentType::Custom,
            version: None,
            host_machine: None,
            capabilities: LegacyCapabilities::default(),
            extensions: Some(extensions),
        };
        hub.on_shard(ShardEvent::Hello(HelloClaim {
            link: LinkId(1),
            auth: opens
                .open(OpenKind::AgentLink, Identity::new(UserId::new("u"), TokenKind::Agent, "t")),
            hello: Box::new(hello),
            peer: "somewhere".to_owned(),
        }));
        assert!(hub.edge.bearers.is_empty());
    }
}
