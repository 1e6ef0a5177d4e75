//! The hub's loop: which fleet gets which event.

use super::gathered::Gathered;
use super::inputs::{Input, Inputs, Next};
use super::links::is_gathered;
use super::notes::TurnedAway;
use super::perform::Edge;
use super::request::{BeatHop, BeatSeen, HubHandle, HubStats, NoRecording, Request};
use super::rows;
use super::seats::Seats;
use super::unread::Unread;
use super::watchdog::{Kind, Watchdog};
use super::write_queue::WriteQueue;
use crate::auth::{LinkEnd, OpenRequest};
use crate::bounds::{TurnLimits, Turns};
use crate::fleet_view::{FleetView, FleetViews};
use crate::metrics::Metrics;
use crate::own_faults::FaultRecord;
use crate::store::{OutputReceipt, Receipts, Recorded, Store, StoreError, StoreHealth};
use crate::traces::Traces;
use futures::FutureExt as _;
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::diagnosis::BeatReport;
use onsembl_protocol::fleet::{
    self, Beside, Fleet, FleetEvent, FleetSums, Fleets, LinkTokens, Receipt, RecordingSource, Token,
};
use onsembl_protocol::id::{AgentId, ServerInstanceId, UserId};
use onsembl_protocol::limits::{Limits, OUTPUT_WINDOW};
use onsembl_protocol::model::{Feature, SERVER_FEATURES};
use onsembl_protocol::replay::Excerpt;
use onsembl_protocol::session::ServerConfig;
use onsembl_protocol::time::Now;
use onsembl_transport::clock::SystemClock;
use onsembl_transport::counters::Counters;
use onsembl_transport::server::{SessionRules, Shard, ShardEvent};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{info, warn};

/// Requests that may wait for the hub; then the asker waits.
pub(crate) const INBOX: usize = 256;
/// Of them, those of one user; the others wait in a line of their own. A request waits for this many of each
/// other user at most.
pub(crate) const INBOX_OF_USER: usize = 16;
/// Questions of one user's fleet that the store has at a time; the others wait in a line of their own. One
/// transaction takes as many of a user alone: that many hellos of a returning fleet go into one.
pub(crate) const ASKED_OF_USER: usize = 256;
/// How long the last writes may take when the server ends; what is left then is given to the store
/// to close with.
const LAST_WRITES: Duration = Duration::from_secs(3);

/// The hub. See the [module](super).
#[derive(Debug)]
pub struct Hub {
    pub(super) edge: Edge,
    inputs: Inputs,
    pub(super) clock: SystemClock,
    /// All fleets, each with the view in which it is shown.
    fleets: Fleets<Arc<FleetView>>,
    pub(super) views: FleetViews,
    /// What agents said that is not handed to their fleets yet.
    pub(super) gathered: Gathered,
    next_token: u64,
    watchdog: Watchdog,
    own_faults: FaultRecord,
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
    pub observer: Option<mpsc::Sender<BeatSeen>>,
}

impl Hub {
    /// A hub that has read what the database knows. Run it with [`run`](Self::run).
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn open(parts: HubParts) -> Result<(Self, HubHandle), StoreError> {
        let HubParts { store, receipts, link_ends, fleet_views, counters, .. } = parts;
        // Half of the time after which one that is not recorded is named.
        store.gather_within(parts.config.timing.recording_grace() / 2);
        let features = SERVER_FEATURES
            .iter()
            .cloned()
            .chain(parts.traces.feature())
            .chain([Feature::Ephemeral]);
        let rules =
            SessionRules::new(parts.instance, features.collect()).with_output_window(OUTPUT_WINDOW);
        let shard = Shard::new(rules, parts.config, Limits::DEFAULT, counters.clone())
            .with_recording(parts.recording);
        let (asked, requests) = mpsc::channel(INBOX);
        let handle = HubHandle::new(asked, INBOX_OF_USER);
        let (done_in, done) = mpsc::unbounded_channel();
        let (clock, health, recorded) = (shard.clock(), store.health(), VecDeque::new());
        let mut hub = Self {
            inputs: Inputs { clock, requests, done, receipts, health, link_ends, recorded },
            clock,
            edge: Edge {
                shard,
                writes: WriteQueue::start(store.clone(), counters.clone(), done_in),
                store,
                counters,
                seats: Seats::default(),
                waiters: BTreeMap::new(),
                outcomes: JoinSet::new(),
                unread: Unread::default(),
                joining: handle.joining().clone(),
                asking: Turns::new(TurnLimits::each(ASKED_OF_USER)),
                tokens: LinkTokens::default(),
                turned_away: TurnedAway::new(),
                observer: parts.observer,
                metrics: parts.metrics,
                traces: parts.traces,
            },
            fleets: Fleets::default(),
            views: fleet_views,
            gathered: Gathered::default(),
            next_token: 0,
            watchdog: Watchdog::default(),
            own_faults: parts.own_faults,
        };
        let mut health = hub.edge.store.health();
        let damaged = async { health.wait_for(|health| health.is_damaged()).await.is_ok() };
        tokio::select! {
            recovered = hub.recover() => recovered?,
            // It would be tried without end, and nothing that waits for it would start.
            true = damaged => {
                let why = "a page that the start needs cannot be used".to_owned();
                return Err(StoreError::Damaged { why });
            }
        }
        Ok((hub, handle))
    }

    /// Runs until a shutdown is asked for.
    pub async fn run(mut self) {
        loop {
            // What the shard has decided already comes before everything else: no request is judged by a
            // session that is over.
            loop {
                match self.edge.shard.take_event() {
                    Some(event) => self.take(event),
                    // What was done about it may have brought more.
                    None if self.hand_over_gathered() => {}
                    None => break,
                }
            }
            let wake = self.fleets.deadline();
            match self.inputs.next(&mut self.edge, wake).await {
                Next::Input(Input::Link(event)) => {
                    self.take(event);
                    self.take_what_is_ready().await;
                }
                Next::Input(input) => self.step(input),
                Next::Shutdown(done) => return self.shut_down(done).await,
                Next::Abandoned => return,
            }
        }
    }

    /// Lets links that can be read now be read first, and takes what they bring: handled in one go, it wakes stores and
    /// readers once. No more than the shard reads in one go is added to what it has read.
    async fn take_what_is_ready(&mut self) {
        while let Some(event) = self.edge.shard.take_event() {
            self.take(event);
        }
        tokio::task::yield_now().await;
        if let Some(event) = self.edge.shard.next().now_or_never() {
            self.take(event);
        }
    }

    /// Takes an event of a link. What is only gathered costs less than to measure it.
    fn take(&mut self, event: ShardEvent<OpenRequest>) {
        if is_gathered(&event) {
            self.on_shard(event);
        } else {
            self.step(Input::Link(event));
        }
    }

    /// Everything that the loop does, under the watchdog.
    pub(super) fn step(&mut self, input: Input) {
        let Some(input) = self.defer_for_unread(input) else { return };
        let (began, kind) = (Instant::now(), input.kind());
        match input {
            Input::Link(event) => self.on_shard(event),
            Input::Request(request) => self.on_request(request),
            Input::Recorded(beats) => self.on_recorded(&beats),
            Input::Stored(stored) => self.on_stored(stored),
            Input::Answered(user, answer) => {
                self.edge.joining.set(self.edge.outcomes.len());
                self.feed(&user, FleetEvent::Store(answer));
            }
            Input::Health(health) => self.on_health(health),
            Input::Wake => self.wake(),
            Input::TokenEnded(LinkEnd { id, end, link }) => {
                let ending = self.edge.tokens.token_ended(id, end, link);
                self.edge.end(ending);
            }
            Input::Read(fleet) => self.edge.unread.push(fleet),
            Input::Recover => self.recover_some(),
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
        let began = Instant::now();
        let Self { fleets, views, edge, clock, .. } = self;
        let new = || Beside { seed: fastrand::u64(..), beside: views.of(user) };
        let change = |fleet: &mut Fleet| change(fleet, clock.now());
        fleets.with(user, new, change, |view, action| edge.perform(user, view, action));
        self.watchdog.handled(user, kind, began, &self.edge.counters);
    }

    /// Hands the fleets what was gathered for them, under the watchdog. Whether there was anything.
    fn hand_over_gathered(&mut self) -> bool {
        if self.gathered.is_empty() {
            return false;
        }
        let began = Instant::now();
        self.hand_over();
        let _ = self.watchdog.stepped(Kind::LINKS, began.elapsed(), &self.edge.counters);
        true
    }

    /// Hands the fleets what was gathered for them. What is done about it comes behind all of it.
    pub(super) fn hand_over(&mut self) {
        while let Some((user, events)) = self.gathered.pop() {
            let Some(kind) = events.last().map(Kind::of) else { continue };
            self.with_fleet(&user, kind, |fleet, now| {
                events.into_iter().for_each(|event| fleet.handle(event, now));
            });
        }
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
                    let ending = self.edge.tokens.accepted(link, open);
                    self.edge.end(ending);
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
                let began = Instant::now();
                self.answer(reply, self.recording(&user, &agent));
                self.watchdog.handled(&user, Kind::RECORDING, began, &self.edge.counters);
            }
            Request::Beats { user, agent, reply } => {
                let began = Instant::now();
                self.answer(reply, self.beats(&user, &agent).map(Box::new));
                self.watchdog.handled(&user, Kind::BEATS, began, &self.edge.counters);
            }
            Request::Command { user, command, reply } => {
                let (began, now) = (Instant::now(), self.clock.now());
                let fleet = self.fleets.of(&user);
                self.answer(reply, fleet.and_then(|fleet| fleet.open_command(&command, now)));
                self.watchdog.handled(&user, Kind::COMMAND, began, &self.edge.counters);
            }
            // It was deferred until then.
            Request::Read { user: _, reply } => self.answer(reply, ()),
            Request::Stats(reply) | Request::Alive(reply) => self.answer(reply, self.stats()),
            Request::Shutdown(done) => drop(done),
        }
    }

    fn answer<T>(&self, reply: oneshot::Sender<T>, answer: T) {
        if reply.send(answer).is_err() {
            self.edge.counters.count("answers_nobody_took");
        }
    }

    fn stats(&self) -> HubStats {
        let FleetSums { seats: sessions, open_commands } = self.fleets.sums();
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

    /// The hop tracker of an agent of this user; `None` if it has no session, or is none of the user.
    fn beats(&self, user: &UserId, agent: &AgentId) -> Option<BeatReport> {
        match self.fleets.of(user)?.recording(agent)?? {
            RecordingSource::Seat(seat) => self.edge.shard.beats(self.edge.seats.key(seat)?),
            RecordingSource::Retired(_) => None,
        }
    }

    fn on_recorded(&mut self, beats: &[Recorded]) {
        for beat in beats {
            self.edge.metrics.recorded(beat);
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

    fn on_health(&mut self, health: StoreHealth) {
        self.own_faults.store(health, self.clock.now().wall);
        match health {
            StoreHealth::Healthy => info!("the database accepts writes again"),
            StoreHealth::Scarce { .. } => {
                self.edge.counters.count("store_disk_full");
                warn!("{health}; agents stay connected");
            }
            StoreHealth::Troubled { trouble, .. } => {
                self.edge.counters.count("store_troubles");
                warn!(%trouble, "the database does not accept writes; agents stay connected");
            }
        }
        self.edge.shard.store_health(health.trouble());
    }

    /// Says goodbye on every link and waits a little for it to arrive.
    async fn shut_down(mut self, done: oneshot::Sender<()>) {
        self.edge.shard.close_all(CloseCause::GoingAway);
        let patience = tokio::time::sleep(Duration::from_secs(3));
        tokio::pin!(patience);
        while !self.edge.shard.is_done() {
            tokio::select! {
                event = self.edge.shard.next() => {
                    self.step(Input::Link(event));
                    let _ = self.hand_over_gathered();
                }
                () = &mut patience => break,
            }
        }
        drop(done);
        self.edge.traces.finish().await;
        self.edge.writes.finish(LAST_WRITES).await;
    }
}
