//! Performs the decisions of the agent's machine: dials, sends, closes, wakes. Decides nothing.

use super::notice::{AgentNotice, AgentSession, SendError};
use super::profile::{AgentProfile, DriverConfig};
use crate::clock::SystemClock;
use crate::counters::Counters;
use crate::link::{DialError, Dialer, Frame, Link, Received};
use crate::messages::Envelopes;
use crate::pump::{self, LinkEvent, LinkHandle, LinkInput, TryDataError};
use bytes::Bytes;
use onsembl_protocol::close::{CloseCause, CloseReason};
use onsembl_protocol::id::{AgentId, BeatSequence, LinkId, MessageId};
use onsembl_protocol::liveness::{HeartbeatTiming, Seen};
use onsembl_protocol::model::{Capabilities, Dialect};
use onsembl_protocol::output::Outbox;
use onsembl_protocol::session::{
    AgentAction, AgentConnection, AgentEvent, AgentInbound, AgentStatus, DialFailure, EndOrder,
    HelloRefusal, ServerBeat, SessionTerms,
};
use onsembl_protocol::time::Deadline;
use onsembl_protocol::wire::payload::{
    Ack, AgentHeartbeat, CommandComplete, CommandPhase, ErrorCode, HealthMetrics, Pong, SeenBeat,
};
use onsembl_protocol::wire::{self, AgentToServer, DecodeCause, DecodeError, ServerToAgent};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};

/// Frames that may wait for the owner of the driver; then the link feels it.
const INBOX: usize = 64;

/// Keeps one agent connected. See the [module](super) for how to use it.
pub struct AgentDriver {
    machine: AgentConnection,
    config: DriverConfig,
    clock: SystemClock,
    counters: Counters,
    dialer: Arc<dyn Dialer>,
    profile: AgentProfile,
    vitals: Box<dyn FnMut() -> HealthMetrics + Send>,
    paused: bool,
    envelopes: Envelopes,
    inbox: mpsc::Receiver<LinkEvent>,
    inbox_entry: mpsc::Sender<LinkEvent>,
    dial: Option<(LinkId, JoinHandle<Result<Link, DialError>>)>,
    link: Option<LinkHandle>,
    hello: Option<MessageId>,
    agent_id: Option<AgentId>,
    session: Option<AgentSession>,
    deadline: Deadline,
    notices: VecDeque<AgentNotice>,
    room_wanted: bool,
    links_open: usize,
}

impl fmt::Debug for AgentDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentDriver")
            .field("status", &self.machine.status())
            .finish_non_exhaustive()
    }
}

impl AgentDriver {
    /// A driver that dials with `dialer`, with the default settings.
    pub fn new(dialer: impl Dialer + 'static, profile: AgentProfile) -> Self {
        Self::with_config(dialer, profile, DriverConfig::default(), random_seed())
    }

    /// A driver with settings of its own. `seed` tells this agent's dial times from any other's.
    pub fn with_config(
        dialer: impl Dialer + 'static,
        profile: AgentProfile,
        config: DriverConfig,
        seed: u64,
    ) -> Self {
        let (inbox_entry, inbox) = mpsc::channel(INBOX);
        Self {
            machine: AgentConnection::new(config.agent, seed),
            envelopes: Envelopes::new(profile.instance.as_str()),
            config,
            clock: SystemClock::new(),
            counters: Counters::default(),
            dialer: Arc::new(dialer),
            profile,
            vitals: Box::new(HealthMetrics::default),
            paused: false,
            inbox,
            inbox_entry,
            dial: None,
            link: None,
            hello: None,
            agent_id: None,
            session: None,
            deadline: Deadline::Never,
            notices: VecDeque::new(),
            room_wanted: false,
            links_open: 0,
        }
    }

    /// Where the figures of each heartbeat come from. Called once a beat; must not block.
    #[must_use]
    pub fn with_vitals(mut self, vitals: impl FnMut() -> HealthMetrics + Send + 'static) -> Self {
        self.vitals = Box::new(vitals);
        self
    }

    /// Begins to connect.
    pub fn start(&mut self) {
        self.feed(AgentEvent::Start);
    }

    /// Ends the connection for good. Go on calling [`next`](Self::next) until it has reported
    /// `closed`, await [`gone`](Self::gone), and drop the driver then.
    pub fn stop(&mut self) {
        self.feed(AgentEvent::Stop);
    }

    /// As [`stop`](Self::stop), because an order from afar says so.
    pub fn obey(&mut self, order: EndOrder) {
        self.feed(AgentEvent::EndOrdered(order));
    }

    /// After a [`stop`](Self::stop): returns when no link is left, so that the close frame is out or
    /// never will be. The close timeout of the link bounds it. Cancel-safe.
    pub async fn gone(&mut self) {
        while self.links_open > 0 {
            if let Some(event) = self.inbox.recv().await {
                self.on_link_event(event);
            }
        }
    }

    /// What happens next. Cancel-safe; the connection lives only while this is awaited.
    pub async fn next(&mut self) -> AgentNotice {
        loop {
            if let Some(notice) = self.notices.pop_front() {
                return notice;
            }
            // Input first: what has arrived counts before any time that has run out.
            tokio::select! {
                biased;
                Some(event) = self.inbox.recv() => self.on_link_event(event),
                (link, dialled) = dialled(&mut self.dial) => self.on_dialled(link, dialled),
                () = room(self.link.as_ref()), if self.room_wanted => {
                    self.room_wanted = false;
                    self.notices.push_back(AgentNotice::Room);
                }
                () = self.clock.sleep_until(self.deadline) => self.feed(AgentEvent::Wake),
            }
            if self.deadline.is_due(self.clock.now().monotonic) {
                self.feed(AgentEvent::Wake);
            }
        }
    }

    /// Sends something that must not wait behind output: reports, acknowledgements.
    ///
    /// # Errors
    /// There is no session.
    pub fn send(&mut self, message: &AgentToServer) -> Result<(), SendError> {
        let frame = self.envelopes.frame(message, self.clock.now().wall).1;
        let link = self.in_session()?;
        link.control(frame).map_err(|_| SendError::Full)
    }

    /// Sends output, if the link has room.
    ///
    /// # Errors
    /// There is no session, or no room.
    pub fn send_output(&mut self, message: &AgentToServer) -> Result<(), SendError> {
        let frame = self.envelopes.frame(message, self.clock.now().wall).1;
        self.send_data(frame)
    }

    /// Sends a chunk in a binary message, as [`OutputFrame::encode`](wire::OutputFrame::encode) wrote
    /// it, if the link has room. For sessions with
    /// [`Feature::OutputBinary`](wire::payload::Feature::OutputBinary).
    ///
    /// # Errors
    /// There is no session, or no room.
    pub fn send_binary(&mut self, message: Bytes) -> Result<(), SendError> {
        self.send_data(Frame::Binary(message))
    }

    fn send_data(&self, frame: Frame) -> Result<(), SendError> {
        match self.in_session()?.try_data(frame) {
            Ok(()) => Ok(()),
            Err(TryDataError::Full(_)) => Err(SendError::Full),
            Err(TryDataError::Closed) => Err(SendError::NoSession),
        }
    }

    /// Whether [`send_output`](Self::send_output) would be taken now.
    pub fn has_room(&self) -> bool {
        self.in_session().is_ok_and(LinkHandle::has_room)
    }

    /// Asks for one [`AgentNotice::Room`] as soon as [`send_output`](Self::send_output) may be taken
    /// again. Nothing comes while there is no link.
    pub fn want_room(&mut self) {
        self.room_wanted = true;
    }

    /// Whether this agent starts nothing, by order. Each heartbeat says it, and the next one is not to
    /// wait for its time if it changes.
    pub fn say_paused(&mut self, paused: bool) {
        if std::mem::replace(&mut self.paused, paused) != paused {
            self.feed(AgentEvent::News);
        }
    }

    /// What the next hello says. Owners keep the open commands in it up to date.
    pub fn profile_mut(&mut self) -> &mut AgentProfile {
        &mut self.profile
    }

    /// Where the connection is.
    pub fn status(&self) -> AgentStatus {
        self.machine.status()
    }

    /// The session, while there is one.
    pub fn session(&self) -> Option<&AgentSession> {
        self.session.as_ref()
    }

    /// The id that a server taught this agent.
    pub fn agent_id(&self) -> Option<&AgentId> {
        self.agent_id.as_ref()
    }

    /// What went wrong or was borne.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The clock that this driver's machine lives by.
    pub fn clock(&self) -> SystemClock {
        self.clock
    }

    fn in_session(&self) -> Result<&LinkHandle, SendError> {
        match (&self.session, &self.link) {
            (Some(_), Some(link)) => Ok(link),
            _ => Err(SendError::NoSession),
        }
    }

    fn feed(&mut self, event: AgentEvent) {
        let step = self.machine.handle(event, self.clock.now());
        self.deadline = step.deadline;
        for action in step.actions {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: AgentAction) {
        match action {
            AgentAction::Dial(link) => {
                let dialer = Arc::clone(&self.dialer);
                self.dial = Some((link, tokio::spawn(async move { dialer.dial().await })));
            }
            AgentAction::SendHello(link) => {
                let hello = AgentToServer::Connect(self.profile.hello(self.agent_id.as_ref()));
                self.hello = Some(self.control(link, &hello));
            }
            AgentAction::SendBeat { link, sequence, seen } => self.beat(link, sequence, seen),
            AgentAction::Probe(link) => {
                debug!(%link, "heartbeat sent as a native ping");
                if let Some(l) = self.link.as_ref().filter(|l| l.id() == link)
                    && l.control(Frame::Ping).is_err()
                {
                    self.counters.count("control_queue_full");
                }
            }
            AgentAction::SendPong { link, echo } => {
                let wall = self.clock.now().wall;
                let timestamp = echo.map(f64::from).or(Some(wall.unix_millis() as f64));
                let pong = Pong { timestamp, latency: None, sequence: None };
                let _ = self.control(link, &AgentToServer::Pong(pong));
            }
            AgentAction::Close(link, cause) => self.close(link, cause),
            AgentAction::Report(report) => {
                info!(status = report.status.name(), because = %report.cause, "connection");
                match report.status {
                    AgentStatus::Connected { .. } | AgentStatus::Stale { .. } => {}
                    AgentStatus::Idle
                    | AgentStatus::Connecting { .. }
                    | AgentStatus::Joining
                    | AgentStatus::TimedOut { .. }
                    | AgentStatus::Reconnecting { .. }
                    | AgentStatus::Closed => self.session = None,
                }
                self.notices.push_back(AgentNotice::Reported(report));
            }
            AgentAction::Impaired(impairment) => {
                match impairment {
                    Some(ails) => {
                        self.counters.count("impairments");
                        warn!(fault = %ails, "the session is impaired");
                    }
                    None => info!("the session is not impaired any more"),
                }
                self.notices.push_back(AgentNotice::Impaired(impairment));
            }
            AgentAction::Overslept(late) => {
                self.counters.count("overslept");
                warn!(
                    late_ms = late.as_millis() as u64,
                    "this process was away; nobody is blamed for it"
                );
            }
        }
    }

    fn beat(&mut self, link: LinkId, sequence: BeatSequence, seen: Option<Seen>) {
        let beat = AgentHeartbeat {
            agent_id: self.agent_id.clone(),
            health_metrics: Some((self.vitals)()),
            sequence: Some(sequence),
            seen: seen.map(|s| SeenBeat { sequence: s.sequence, age_ms: s.age.as_millis() as u64 }),
            paused: self.paused,
        };
        let _ = self.control(link, &AgentToServer::Heartbeat(beat));
        debug!(%sequence, "heartbeat sent");
        self.notices.push_back(AgentNotice::BeatSent(sequence));
    }

    fn control(&mut self, link: LinkId, message: &AgentToServer) -> MessageId {
        let (id, frame) = self.envelopes.frame(message, self.clock.now().wall);
        if let Some(l) = self.link.as_ref().filter(|l| l.id() == link)
            && l.control(frame).is_err()
        {
            self.counters.count("control_queue_full");
            warn!(%link, "the server does not read; the link is being ended");
        }
        id
    }

    fn close(&mut self, link: LinkId, cause: CloseCause) {
        if let Some((_, dial)) = self.dial.take_if(|(dialling, _)| *dialling == link) {
            dial.abort();
        }
        if let Some(l) = self.link.take_if(|l| l.id() == link) {
            debug!(%link, %cause, "closing the link");
            match cause {
                CloseCause::Silent => l.abort(cause),
                cause => l.close(cause),
            }
        }
    }

    fn on_dialled(&mut self, link: LinkId, dialled: Result<Link, DialError>) {
        match dialled {
            Ok(opened) => {
                info!(%link, server = %opened.peer, "link open");
                let entry = self.inbox_entry.clone();
                self.links_open += 1;
                self.link = Some(pump::spawn(opened, link, self.config.pump, entry));
                self.feed(AgentEvent::LinkUp(link));
            }
            Err(error) => {
                self.counters.count("dial_failures");
                debug!(%link, %error, "dial failed");
                self.feed(AgentEvent::DialFailed(link, error.failure));
            }
        }
    }

    fn on_link_event(&mut self, event: LinkEvent) {
        let link = event.link;
        let current = self.link.as_ref().is_some_and(|l| l.id() == link);
        match event.what {
            LinkInput::Ended(end) => {
                self.links_open = self.links_open.saturating_sub(1);
                if current {
                    self.counters.count("links_ended");
                    debug!(%link, %end, "link ended");
                    self.link = None;
                }
                self.feed(AgentEvent::LinkDown(link, end.reason));
            }
            LinkInput::Received(_) if !current => self.counters.count("frames_of_old_links"),
            LinkInput::Received(Received::Control) => {
                self.feed(AgentEvent::Received(link, AgentInbound::Other));
            }
            LinkInput::Received(Received::Binary(message)) => {
                self.counters.count("binary_frames");
                warn!(%link, bytes = message.len(), "the server sent a binary frame; closing the link");
                let cause = CloseCause::UnsupportedData;
                self.close(link, cause);
                self.feed(AgentEvent::LinkDown(link, CloseReason::local(cause)));
            }
            LinkInput::Received(Received::Text(text)) => self.on_text(link, &text),
        }
    }

    fn on_text(&mut self, link: LinkId, text: &str) {
        match wire::decode::<ServerToAgent>(text, &self.config.limits) {
            Ok(envelope) => self.on_message(link, envelope.message),
            Err(error) => {
                self.feed(AgentEvent::Received(link, AgentInbound::Other));
                self.on_undecodable(&error);
            }
        }
    }

    /// Exactly one negative reply where the protocol has one: a command that cannot be read failed.
    fn on_undecodable(&mut self, error: &DecodeError) {
        self.counters.count("undecodable");
        warn!(%error, message = ?error.message_id, "the server sent what cannot be decoded");
        let about_a_request = match &error.cause {
            DecodeCause::BadPayload { kind, .. } | DecodeCause::TooLong { kind, .. } => {
                kind.as_ref() == "COMMAND_REQUEST"
            }
            _ => false,
        };
        if let (true, Some(command)) = (about_a_request, &error.command_id) {
            let report = AgentToServer::CommandComplete(CommandComplete {
                command_id: command.clone(),
                agent_id: self.agent_id.clone(),
                status: CommandPhase::Failed,
                exit_code: None,
                signal: None,
                duration_ms: None,
                tokens_used: 0,
                error: Some(error.to_string()),
                timestamp: Some(self.clock.now().wall),
                output: None,
            });
            if self.send(&report).is_err() {
                self.counters.count("replies_without_session");
            }
        }
    }

    fn on_message(&mut self, link: LinkId, message: ServerToAgent) {
        match message {
            ServerToAgent::Ack(ack) if self.session.is_none() => self.on_welcome(link, ack),
            ServerToAgent::Error(error) if self.session.is_none() => {
                self.counters.count("hello_refused");
                warn!(code = %error.code, text = %error.message, "the server refused the hello");
                let refusal = match error.code {
                    ErrorCode::Unauthorized | ErrorCode::AuthTimeout => HelloRefusal::Unauthorized,
                    ErrorCode::Forbidden => HelloRefusal::Forbidden,
                    _ => HelloRefusal::Other,
                };
                self.feed(AgentEvent::Received(link, AgentInbound::HelloRefused(refusal)));
            }
            ServerToAgent::Ping(ping) => {
                let echo = ping.timestamp.map(Into::into);
                self.feed(AgentEvent::Received(link, AgentInbound::Ping { echo }));
            }
            ServerToAgent::Heartbeat(beat) => {
                let inbound = ServerBeat {
                    sequence: beat.sequence,
                    seen: beat.seen.map(|s| s.sequence),
                    recorded: beat.recorded.map(|r| r.sequence),
                    lagging: beat.recording_lag.is_some(),
                };
                debug!(sequence = ?beat.sequence, seen = ?inbound.seen, recorded = ?inbound.recorded, "heartbeat of the server received");
                if let Some(lag) = &beat.recording_lag {
                    debug!(why = %lag.why, age_ms = lag.age_ms, "the server does not record heartbeats");
                }
                self.feed(AgentEvent::Received(link, AgentInbound::Heartbeat(inbound)));
                self.notices.push_back(AgentNotice::BeatAnswered {
                    seen: inbound.seen,
                    recorded: beat.recorded,
                    lag: beat.recording_lag,
                });
            }
            ServerToAgent::Pong(_) => {
                self.feed(AgentEvent::Received(link, AgentInbound::Other));
            }
            ServerToAgent::Unknown(kind) => {
                self.counters.count("unknown_types");
                debug!(%kind, "the server sent a type that this version does not know");
                self.feed(AgentEvent::Received(link, AgentInbound::Other));
            }
            message @ (ServerToAgent::Ack(_)
            | ServerToAgent::Error(_)
            | ServerToAgent::CommandRequest(_)
            | ServerToAgent::CommandCancel(_)
            | ServerToAgent::OutputAck(_)
            | ServerToAgent::OutputResume(_)
            | ServerToAgent::OutputQuery(_)
            | ServerToAgent::Control(_)
            | ServerToAgent::EmergencyStop(_)
            | ServerToAgent::StopRelease(_)
            | ServerToAgent::TokenRefresh(_)) => {
                self.feed(AgentEvent::Received(link, AgentInbound::Other));
                if self.session.is_some() {
                    self.notices.push_back(AgentNotice::Message(Box::new(message)));
                } else {
                    self.counters.count("messages_before_session");
                }
            }
        }
    }

    fn on_welcome(&mut self, link: LinkId, ack: Ack) {
        let answers_hello = ack.agent_id.is_some() || ack.message_id == self.hello;
        if !answers_hello || !ack.success {
            return self.feed(AgentEvent::Received(link, AgentInbound::Other));
        }
        self.agent_id = ack.agent_id.or(self.agent_id.take());
        let session = match ack.extensions {
            Some(welcome) => {
                let timing = HeartbeatTiming::try_from(welcome.timing).unwrap_or_else(|error| {
                    self.counters.count("bad_timings");
                    warn!(%error, "the server named times that cannot be; using the defaults");
                    HeartbeatTiming::DEFAULT
                });
                let session = AgentSession {
                    dialect: Dialect::Extended,
                    capabilities: Capabilities::negotiate(
                        &self.profile.features,
                        &welcome.features,
                        Dialect::Extended,
                    ),
                    agent: self.agent_id.clone(),
                    session: Some(welcome.session_id),
                    epoch: welcome.epoch,
                    features: welcome.features,
                    output_window: welcome.output_window_bytes,
                    stopped: welcome.stopped,
                };
                (session, timing)
            }
            None => {
                let session = AgentSession {
                    dialect: Dialect::Legacy,
                    capabilities: Capabilities::LEGACY,
                    agent: self.agent_id.clone(),
                    session: None,
                    epoch: Default::default(),
                    features: Vec::new(),
                    output_window: Outbox::DEFAULT_WINDOW,
                    stopped: None,
                };
                (session, HeartbeatTiming::DEFAULT)
            }
        };
        let (session, timing) = session;
        let terms = SessionTerms {
            dialect: session.dialect,
            epoch: session.epoch,
            timing,
            end_orders: session.capabilities.end_orders(),
        };
        self.session = Some(session.clone());
        self.feed(AgentEvent::Received(link, AgentInbound::HelloAccepted(terms)));
        self.notices.push_back(AgentNotice::Joined(session));
    }
}

async fn dialled(
    dial: &mut Option<(LinkId, JoinHandle<Result<Link, DialError>>)>,
) -> (LinkId, Result<Link, DialError>) {
    let Some((link, task)) = dial else { return std::future::pending().await };
    let link = *link;
    let outcome = match task.await {
        Ok(outcome) => outcome,
        Err(gone) => Err(DialError::new(DialFailure::Unreachable, gone.to_string())),
    };
    *dial = None;
    (link, outcome)
}

async fn room(link: Option<&LinkHandle>) {
    match link {
        Some(link) => link.room().await,
        None => std::future::pending().await,
    }
}

/// A seed that differs between processes, without a dependency for it: the standard library seeds
/// its hash maps from the operating system.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}
