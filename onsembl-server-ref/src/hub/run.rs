//! The hub's loop: which fleet gets which event.

use super::bearers::{Bearers, Opened};
use super::fleets::Fleets;
use super::perform::{Edge, Outcome};
use super::request::{BeatHop, BeatSeen, HubHandle, HubStats, NoRecording, Placed, Request};
use super::rows;
use super::seats::Seats;
use super::token_check::{Checked, TokenCheck, revoked};
use super::watchdog::{Kind, Watchdog};
use super::write_queue::{Done, WriteQueue};
use crate::auth::{Authenticator, Identity};
use crate::bounds::{LogLimit, TurnLimits, Turns};
use crate::fleet_view::FleetViews;
use crate::metrics::Metrics;
use crate::own_faults::FaultRecord;
use crate::store::{
    HeartbeatRow, OutputReceipt, Receipts, Recorded, Store, StoreError, StoreHealth,
    StoreTrouble as Trouble,
};
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::diagnosis::{BeatReport, BeatVerdict};
use onsembl_protocol::fleet::{Fleet, FleetEvent, Receipt, RecordingSource, SeatId, Token};
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
use std::collections::BTreeMap;
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
/// How long the last writes may take when the server ends; what is left then is given to the store
/// to close with.
const LAST_WRITES: Duration = Duration::from_secs(3);
/// How often it is said that a token ends soon: whoever renews it has days.
const TOKEN_WARNINGS_EVERY: Duration = Duration::from_secs(24 * 3600);

/// The hub. See the [module](super).
#[derive(Debug)]
pub struct Hub {
    pub(super) edge: Edge,
    clock: SystemClock,
    auth: Authenticator,
    fleets: Fleets,
    next_token: u64,
    inbox: mpsc::Receiver<Placed>,
    done: mpsc::UnboundedReceiver<Done>,
    receipts: Receipts,
    health: watch::Receiver<StoreHealth>,
    token_check: TokenCheck,
    /// Where the last check of tokens stopped, if it stopped.
    tokens_checked_to: Option<String>,
    /// Of which tokens it was said lately that they end.
    token_warnings: LogLimit<String>,
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
    /// Says which tokens were revoked.
    pub auth: Authenticator,
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
    /// Who watches heartbeats.
    pub observer: Option<mpsc::UnboundedSender<BeatSeen>>,
}

impl Hub {
    /// A hub that has read what the database knows. Run it with [`run`](Self::run).
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn open(parts: HubParts) -> Result<(Self, HubHandle), StoreError> {
        let HubParts { store, receipts, auth, fleet_views, counters, .. } = parts;
        let rules = SessionRules {
            server_instance: parts.instance,
            features: SERVER_FEATURES.to_vec(),
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
                turned_away: LogLimit::new(),
                observer: parts.observer,
                metrics: parts.metrics,
            },
            auth,
            fleets: Fleets::new(fleet_views),
            next_token: 0,
            inbox,
            done,
            receipts,
            token_check: TokenCheck::after_a_while(),
            tokens_checked_to: None,
            token_warnings: LogLimit::every(TOKEN_WARNINGS_EVERY),
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
                self.on_shard(event);
            }
            let wake = self.fleets.deadline();
            // Whichever there is, each as likely as the others: who floods one of them holds up no other.
            tokio::select! {
                request = self.inbox.recv() => match request {
                    Some((Request::Shutdown(done), _)) => return self.shut_down(done).await,
                    Some((request, _turn)) => self.on_request(request),
                    None => return,
                },
                event = self.edge.shard.next() => self.on_shard(event),
                Some(recorded) = self.receipts.recorded.recv() => self.on_recorded(recorded),
                Some(stored) = self.receipts.output.recv() => self.on_stored(stored),
                Some((user, answer)) = self.done.recv() => self.feed(&user, FleetEvent::Store(answer)),
                Some(outcome) = self.edge.outcomes.join_next(), if !self.edge.outcomes.is_empty() => {
                    match outcome {
                        Ok(outcome) => self.on_outcome(outcome),
                        Err(error) => {
                            self.edge.counters.count("tasks_lost");
                            warn!(%error, "a request to the database was lost");
                        }
                    }
                }
                Ok(()) = self.health.changed() => self.on_health(),
                () = self.clock.sleep_until(wake) => self.wake(),
                () = self.token_check.due() => self.check_tokens(),
            }
        }
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
                let _ = self.edge.shard.accept(ticket);
            }
            Request::User { user, request, reply } => {
                let token = Token(self.next_token);
                self.next_token += 1;
                let _ = self.edge.waiters.insert(token, reply);
                self.feed(&user, FleetEvent::Request { token, request });
            }
            Request::Recording { user, agent, reply } => {
                if reply.send(self.recording(&user, &agent)).is_err() {
                    self.edge.counters.count("answers_nobody_took");
                }
            }
            Request::Beats { user, agent, reply } => {
                if reply.send(self.beats(&user, &agent).map(Box::new)).is_err() {
                    self.edge.counters.count("answers_nobody_took");
                }
            }
            Request::Command { user, command, reply } => {
                let now = self.clock.now();
                let fleet = self.fleets.of(&user);
                if reply.send(fleet.and_then(|fleet| fleet.open_command(&command, now))).is_err() {
                    self.edge.counters.count("answers_nobody_took");
                }
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
        let sizes = self.fleets.all().map(Fleet::size);
        let (sessions, open_commands) = sizes
            .fold((0, 0), |(seats, open), size| (seats + size.seats, open + size.open_commands));
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

    fn on_shard(&mut self, event: ShardEvent<Identity>) {
        match event {
            ShardEvent::Hello(claim) => {
                let (user, bearer) = (claim.auth.user.clone(), claim.auth.bearer());
                self.edge.bearers.hello(claim.link, claim.auth);
                let (link, hello, peer) = (claim.link, claim.hello, claim.peer);
                self.feed(&user, FleetEvent::Hello { link, hello, peer, bearer });
            }
            ShardEvent::Silent { link, named } => {
                if let Some(identity) = self.edge.shard.bearer(link) {
                    let (user, bearer) = (identity.user.clone(), identity.bearer());
                    self.feed(&user, FleetEvent::Silent { link, named, bearer });
                }
            }
            ShardEvent::Parked { key, link, session } => {
                self.edge.bearers.parked(link, key);
                self.feed_seat(key, |seat| FleetEvent::Parked { seat, link, session });
            }
            ShardEvent::Admit { key, link } => {
                self.feed_seat(key, |seat| FleetEvent::Admit { seat, link });
            }
            ShardEvent::Welcomed { key, link, capabilities, dialect: _ } => {
                self.edge.bearers.welcomed(link, key);
                self.feed_seat(key, |seat| FleetEvent::Welcomed { seat, link, capabilities });
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
                let metrics = metrics.and_then(|m| serde_json::to_value(m).ok());
                let row = HeartbeatRow { agent, epoch, sequence, at, metrics };
                self.edge.store.record_heartbeat(row);
            }
            ShardEvent::Paused { key, paused } => {
                self.feed_seat(key, |seat| FleetEvent::Paused { seat, paused });
            }
            ShardEvent::Presence { key, presence, beats } => {
                self.edge.metrics.presence(&presence);
                self.feed_seat(key, |seat| FleetEvent::Presence { seat, presence, beats });
            }
            ShardEvent::Beats { key, verdict } => {
                self.tell_of_beats(key, &verdict);
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

    /// Counts and logs at which hop heartbeats stop.
    fn tell_of_beats(&self, key: Key, verdict: &BeatVerdict) {
        let Some(stop) = verdict.stopped else { return };
        self.edge.metrics.missed(&stop);
        if let Some(seated) = self.edge.seats.of(key) {
            let agent = seated.agent.as_ref().map(tracing::field::display);
            warn!(user = %seated.user, agent, hop = %stop.hop, cause = %stop.cause, "heartbeats stop; `why` follows them");
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

    fn on_recorded(&mut self, recorded: Vec<Recorded>) {
        for beat in recorded {
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

    fn on_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Store(user, answer) => self.feed(&user, FleetEvent::Store(answer)),
            Outcome::TokensChecked(Checked { revoked, left_behind }) => {
                self.token_check = TokenCheck::after_a_while();
                self.tokens_checked_to = left_behind;
                for opened in revoked.iter().flat_map(|token| self.edge.bearers.of_token(token)) {
                    self.edge.counters.count("tokens_revoked_in_session");
                    match opened {
                        Opened::Session(key) => self.edge.shard.evict(key, CloseCause::Revoked),
                        Opened::Parked(link) => {
                            self.edge.shard.end_parked(link, CloseCause::Revoked);
                        }
                    }
                }
            }
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

    /// Ends sessions whose token has expired, and asks which tokens were revoked.
    fn check_tokens(&mut self) {
        self.token_check = TokenCheck::UnderWay;
        let (expired, tokens) = self.edge.bearers.check(self.clock.now().wall);
        for opened in expired {
            self.edge.counters.count("tokens_expired_in_session");
            let cause = CloseCause::TokenExpired;
            if let Opened::Session(key) = opened
                && let Some(seated) = self.edge.seats.of(key)
            {
                let agent = seated.agent.as_ref().map(tracing::field::display);
                warn!(user = %seated.user, agent, "the token of an agent in session has expired; it is turned away until it has a newer one (onsembl-server token --renew)");
            }
            match opened {
                Opened::Session(key) => self.edge.shard.close_session(key, cause),
                Opened::Parked(link) => self.edge.shard.end_parked(link, cause),
            }
        }
        for (identity, left) in self.edge.bearers.ending(self.clock.now().wall) {
            if self.token_warnings.allow(identity.token_id.clone()).is_some() {
                let left =
                    humantime::format_duration(Duration::from_secs(left.as_secs() / 60 * 60));
                let (user, token) = (&identity.user, &identity.token_id);
                warn!(%user, token, %left, "the token of an agent in session is about to expire; make a newer one (onsembl-server token --renew) and put it where the agent reads it");
            }
        }
        let (auth, behind) = (self.auth.clone(), self.tokens_checked_to.take());
        self.edge
            .outcomes
            .spawn(async move { Outcome::TokensChecked(revoked(&auth, tokens, behind).await) });
    }

    /// Says goodbye on every link and waits a little for it to arrive.
    async fn shut_down(mut self, done: oneshot::Sender<()>) {
        self.edge.shard.close_all(CloseCause::GoingAway);
        let patience = tokio::time::sleep(Duration::from_secs(3));
        tokio::pin!(patience);
        while !self.edge.shard.is_done() {
            tokio::select! {
                event = self.edge.shard.next() => self.on_shard(event),
                () = &mut patience => break,
            }
        }
        drop(done);
        self.edge.writes.finish(LAST_WRITES).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Auth, Credentials, LookupError, Refusal, TokenKind};
    use onsembl_protocol::id::{AgentKey, InstanceId, LinkId};
    use onsembl_protocol::model::AGENT_FEATURES;
    use onsembl_protocol::time::WallTime;
    use onsembl_protocol::wire::payload::{
        AgentConnect, AgentExtensions, AgentType, LegacyCapabilities,
    };
    use onsembl_transport::server::HelloClaim;

    struct Anybody;

    impl Auth for Anybody {
        async fn identify(&self, of: &Credentials<'_>) -> Result<Identity, Refusal> {
            Ok(Identity::new(UserId::new("u"), of.kind(), "t"))
        }

        async fn is_revoked(&self, _: &str) -> Result<bool, LookupError> {
            Ok(false)
        }
    }

    /// No event tells the hub how such a link ends.
    #[tokio::test]
    async fn nothing_is_kept_of_a_diagnosis_connection() {
        let dir = tempfile::tempdir().unwrap();
        let at = WallTime::from_unix_millis(1_700_000_000_000);
        let (store, receipts) = Store::open(dir.path(), at).await.unwrap();
        let parts = HubParts {
            store,
            receipts,
            auth: Authenticator::new(Anybody),
            fleet_views: FleetViews::default(),
            metrics: Metrics::new(Counters::default()),
            own_faults: FaultRecord::default(),
            counters: Counters::default(),
            config: ServerConfig::DEFAULT,
            instance: ServerInstanceId::new("s"),
            recording: 0,
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
            auth: Identity::new(UserId::new("u"), TokenKind::Agent, "t"),
            hello: Box::new(hello),
            peer: "somewhere".to_owned(),
        }));
        assert!(hub.edge.bearers.is_empty());
    }
}
