//! Performs the actions of the agent's machine: dials, sends, closes, wakes it. Decides nothing.

use super::dialling::{Dialled, Dialling};
use super::links::{Links, send_data};
use super::notice::{AgentNotice, SendError};
use super::profile::{DriverConfig, random_seed};
use super::reporting::Reporting;
use super::session_beats::SessionBeats;
use crate::clock::SystemClock;
use crate::counters::Counters;
use crate::link::{DialError, Dialer, Frame, Link, Received};
use crate::pump::{self, LinkEvent, LinkHandle, LinkInput};
use bytes::Bytes;
use onsembl_protocol::close::{CloseCause, CloseReason};
use onsembl_protocol::diagnosis::{BeatReport, End, HopTracker};
use onsembl_protocol::id::{AgentId, CommandId, LinkId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::liveness::Seen;
use onsembl_protocol::model::Pausing;
use onsembl_protocol::session::frames::{
    self, AgentFrames, AgentProfile, AgentRead, AgentSession, FromServer,
};
use onsembl_protocol::session::{
    AgentAction, AgentConnection, AgentEvent, AgentInbound, AgentReport, AgentStatus, EndOrder,
};
use onsembl_protocol::time::{Deadline, Timestamp};
use onsembl_protocol::wire::payload::{HealthMetrics, ServerHeartbeat};
use onsembl_protocol::wire::{AgentToServer, MessageSet as _};
use std::collections::VecDeque;
use std::fmt;
use tracing::{debug, error, info, warn};

/// Keeps one agent connected. See the [module](super) for how to use it.
pub struct AgentDriver {
    machine: AgentConnection,
    deadline: Deadline,
    clock: SystemClock,
    counters: Counters,
    dialling: Dialling,
    links: Links,
    frames: AgentFrames,
    metrics: Box<dyn FnMut() -> HealthMetrics + Send>,
    reporting: Reporting,
    beats: SessionBeats,
    notices: VecDeque<AgentNotice>,
    room: Room,
}

/// Whether the owner waits for room for output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Wanted,
    Unwanted,
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

    /// A driver with these settings. `seed` makes the dial times of agents differ.
    pub fn with_config(
        dialer: impl Dialer + 'static,
        profile: AgentProfile,
        config: DriverConfig,
        seed: u64,
    ) -> Self {
        let counters = Counters::default();
        Self {
            machine: AgentConnection::new(config.agent, seed),
            deadline: Deadline::Never,
            clock: SystemClock::new(),
            dialling: Dialling::new(dialer),
            links: Links::new(config.pump, counters.clone()),
            counters,
            frames: AgentFrames::new(profile, config.limits),
            metrics: Box::new(HealthMetrics::default),
            reporting: Reporting::new(),
            beats: SessionBeats::NONE,
            notices: VecDeque::new(),
            room: Room::Unwanted,
        }
    }

    /// The source of the metrics in each heartbeat. Called once per heartbeat; must not block.
    #[must_use]
    pub fn with_metrics(mut self, metrics: impl FnMut() -> HealthMetrics + Send + 'static) -> Self {
        self.metrics = Box::new(metrics);
        self
    }

    /// Starts to connect.
    pub fn start(&mut self) {
        self.feed(AgentEvent::Start);
    }

    /// Ends the connection permanently. Keep calling [`next`](Self::next) until it has reported
    /// `closed`, await [`closed`](Self::closed), and drop the driver then.
    pub fn stop(&mut self) {
        self.feed(AgentEvent::Stop);
    }

    /// Like [`stop`](Self::stop), because of a remote order.
    pub fn obey(&mut self, order: EndOrder) {
        self.feed(AgentEvent::EndOrdered(order));
    }

    /// After a [`stop`](Self::stop): returns when no link is left, so the close frame has been sent or
    /// never will be. Bounded by the close timeout of the link. Cancel-safe.
    pub async fn closed(&mut self) {
        while !self.links.are_closed() {
            if let Some(event) = self.links.inbox.recv().await {
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
            let Links { inbox, current, .. } = &mut self.links;
            // Input first: frames that have arrived count before any deadline that has passed.
            tokio::select! {
                biased;
                Some(event) = inbox.recv() => self.on_link_event(event),
                dialled = self.dialling.next() => match dialled {
                    Dialled::Over(link, dialled) => self.on_dialled(link, dialled),
                    Dialled::AnotherToken => self.feed(AgentEvent::TokenChanged),
                },
                () = Links::room(current.as_ref()), if self.room == Room::Wanted => {
                    self.room = Room::Unwanted;
                    self.notices.push_back(AgentNotice::Room);
                }
                () = self.clock.sleep_until(self.deadline.min(self.beats.deadline())) => self.let_arrive().await,
            }
            let now = self.clock.now();
            if self.deadline.is_due(now.monotonic) {
                self.feed(AgentEvent::Wake);
            }
            if self.beats.deadline().is_due(now.monotonic) {
                self.beats.looked(now);
                self.note_beats(HopTracker::look);
            }
        }
    }

    /// What waits in the socket of a process that was away is to be told of before its next heartbeat: lets the pump
    /// hand it over.
    async fn let_arrive(&mut self) {
        let late = self.deadline.min(self.beats.deadline()).overdue_by(self.clock.now().monotonic);
        pump::let_arrive(late).await;
        while let Ok(event) = self.links.inbox.try_recv() {
            self.on_link_event(event);
        }
    }

    /// All that the hop tracker says of the session; `None` without one, and with a legacy server.
    pub fn beats(&self) -> Option<BeatReport> {
        self.beats.report(self.clock.now())
    }

    /// Notes something of the heartbeats. If the hop tracker says something else then, the owner is told, and the server
    /// of what it cannot see.
    fn note_beats(&mut self, what: impl FnOnce(&mut HopTracker, Timestamp)) {
        let now = self.clock.now();
        let Some(verdict) = self.beats.note(self.links.current(), now, what) else { return };
        match verdict.stopped {
            Some(stop) => {
                self.counters.count("heartbeats_missed");
                warn!(hop = %stop.hop, cause = %stop.cause, ways = verdict.ways.word(End::Agent), "heartbeats stop; `onsembl-agent status` follows them");
            }
            None => {
                info!(ways = verdict.ways.word(End::Agent), "the hop tracker has a new verdict");
            }
        }
        self.notices.push_back(AgentNotice::Beats(verdict));
        if let Some(hop) = verdict.for_server() {
            let told = AgentToServer::Fault(frames::told_of_hop(hop));
            if self.send(&told).is_err() {
                self.counters.count("hops_not_told");
                debug!(%hop, "the server was not notified where heartbeats stop");
            }
        }
    }

    /// Sends a message that must not wait behind output: a report, an acknowledgement.
    ///
    /// # Errors
    /// There is no session.
    pub fn send(&mut self, message: &AgentToServer) -> Result<(), SendError> {
        let frame = self.frame(message);
        let link = self.in_session()?;
        if self.is_too_long(message, &frame) {
            return Ok(());
        }
        link.control(frame).map_err(|_| SendError::Full)
    }

    /// Sends output, if the link has room.
    ///
    /// # Errors
    /// There is no session, or no room.
    pub fn send_output(&mut self, message: &AgentToServer) -> Result<(), SendError> {
        let frame = self.frame(message);
        if self.is_too_long(message, &frame) {
            return self.in_session().map(drop);
        }
        send_data(self.in_session()?, frame)
    }

    /// Whether it would not go out. Then it is dropped: it would not go out over the next link either.
    fn is_too_long(&self, message: &AgentToServer, frame: &Frame) -> bool {
        let (bytes, limit) = (frame.len(), Limits::DEFAULT.message_bytes);
        if bytes <= limit {
            return false;
        }
        self.counters.count("own_messages_too_long");
        let command = message.command().map_or("", CommandId::as_str);
        warn!(
            kind = message.kind(),
            command, bytes, limit, "a message to the server is too long; it is dropped"
        );
        true
    }

    /// Sends a binary message that [`OutputFrame::encode`](onsembl_protocol::wire::OutputFrame::encode) wrote, if the
    /// link has room. For sessions with
    /// [`Feature::OutputBinary`](onsembl_protocol::model::Feature::OutputBinary).
    ///
    /// # Errors
    /// There is no session, or no room.
    pub fn send_binary(&mut self, message: Bytes) -> Result<(), SendError> {
        send_data(self.in_session()?, Frame::Binary(message))
    }

    /// Whether [`send_output`](Self::send_output) would succeed now.
    pub fn has_room(&self) -> bool {
        self.in_session().is_ok_and(LinkHandle::has_room)
    }

    /// Requests one [`AgentNotice::Room`] as soon as [`send_output`](Self::send_output) may succeed
    /// again. None is given while there is no link.
    pub fn want_room(&mut self) {
        self.room = Room::Wanted;
    }

    /// Sets whether this agent is paused by order. Each heartbeat reports it; after a change the next one is
    /// sent early.
    pub fn say_pausing(&mut self, pausing: Pausing) {
        if self.frames.set_pausing(pausing) {
            self.feed(AgentEvent::News);
        }
    }

    /// Looks now whether there is another token than the one in use, as is done every few seconds without it.
    pub fn look_at_token(&mut self) {
        self.dialling.look_at_token();
    }

    /// The content of the next hello. Its owner keeps the list of open commands up to date.
    pub fn profile_mut(&mut self) -> &mut AgentProfile {
        self.frames.profile_mut()
    }

    /// The status of the connection.
    pub fn status(&self) -> AgentStatus {
        self.machine.status()
    }

    /// The session, while there is one.
    pub fn session(&self) -> Option<&AgentSession> {
        self.frames.session()
    }

    /// The id that a server taught this agent.
    pub fn agent_id(&self) -> Option<&AgentId> {
        self.frames.agent_id()
    }

    /// Counters of faults and of what was tolerated.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The clock of this driver's machine.
    pub fn clock(&self) -> SystemClock {
        self.clock
    }

    fn in_session(&self) -> Result<&LinkHandle, SendError> {
        match (self.frames.session(), self.links.current()) {
            (Some(_), Some(link)) => Ok(link),
            (None, _) | (Some(_), None) => Err(SendError::NoSession),
        }
    }

    fn frame(&mut self, message: &AgentToServer) -> Frame {
        Frame::Text(self.frames.write(message, self.clock.now().wall).to_owned())
    }

    fn feed(&mut self, event: AgentEvent) {
        let step = self.machine.handle(event, self.clock.now());
        self.deadline = step.deadline;
        if step.actions.lost() > 0 {
            self.counters.count("actions_lost");
            error!(?event, "the machine returned more actions than a step holds; some are lost");
        }
        for action in step.actions {
            self.perform(action);
        }
        self.dialling.want_token(self.machine.token_use());
    }

    fn perform(&mut self, mut action: AgentAction) {
        let wall = self.clock.now().wall;
        if let AgentAction::SendBeat { seen: Some(seen), .. } = &mut action {
            self.note_beats(|hops, now| *seen = hops.vouch(*seen, now));
        }
        let text = self.frames.outgoing(&action, wall, || (self.metrics)());
        if let Some((link, text)) = text {
            let frame = Frame::Text(text.to_owned());
            match action {
                AgentAction::SendBeat { sequence, seen, .. } => {
                    self.note_beats(|hops, now| {
                        hops.on_made(sequence, now);
                        if let Some(seen) = seen {
                            hops.on_answered(seen.sequence, now);
                        }
                        hops.on_queued(sequence, now);
                    });
                    self.links.put(link, frame, LinkHandle::heartbeat);
                }
                AgentAction::Dial(_)
                | AgentAction::SendHello(_)
                | AgentAction::SendPong { .. }
                | AgentAction::Probe(_)
                | AgentAction::Close(..)
                | AgentAction::Report(_)
                | AgentAction::Impaired(_)
                | AgentAction::Overslept(_) => self.links.put(link, frame, LinkHandle::control),
            }
        }
        match action {
            AgentAction::Dial(link) => self.dialling.begin(link),
            AgentAction::SendHello(_) | AgentAction::SendPong { .. } => {}
            AgentAction::SendBeat { sequence, .. } => {
                debug!(%sequence, "heartbeat sent");
                self.notices.push_back(AgentNotice::BeatSent(sequence));
            }
            AgentAction::Probe(link) => {
                debug!(%link, "heartbeat sent as a native ping");
                self.links.put(link, Frame::Ping, LinkHandle::control);
            }
            AgentAction::Close(link, cause) => self.close(link, cause),
            AgentAction::Report(report) => self.report(report),
            AgentAction::Impaired(impairment) => {
                match impairment {
                    Some(ails) => {
                        self.counters.count("impairments");
                        warn!(fault = %ails, "the session is impaired");
                    }
                    None => info!("the session is no longer impaired"),
                }
                self.notices.push_back(AgentNotice::Impaired(impairment));
            }
            AgentAction::Overslept(late) => {
                self.counters.count("overslept");
                warn!(
                    late_ms = late.as_millis() as u64,
                    "this process was suspended; that time does not count against the peer"
                );
                self.notices.push_back(AgentNotice::Overslept(late));
            }
        }
    }

    fn report(&mut self, report: AgentReport) {
        let (before, found) = self.reporting.on_report(&report);
        match report.status {
            AgentStatus::Connected { .. } | AgentStatus::Stale { .. } => {}
            AgentStatus::Idle
            | AgentStatus::Connecting { .. }
            | AgentStatus::Joining
            | AgentStatus::TimedOut { .. }
            | AgentStatus::Reconnecting { .. }
            | AgentStatus::Closed => self.beats.end(),
        }
        if report.blames_address(before, self.machine.token_use()) {
            self.dialling.blame_address();
        }
        self.notices.extend(found.map(|(finding, lasted)| AgentNotice::Found(finding, lasted)));
        self.notices.push_back(AgentNotice::Reported(report));
    }

    fn close(&mut self, link: LinkId, cause: CloseCause) {
        self.dialling.abort(link);
        self.links.close(link, cause);
    }

    fn on_dialled(&mut self, link: LinkId, dialled: Result<Link, DialError>) {
        match dialled {
            Ok(opened) => {
                info!(%link, server = %opened.peer, "link open");
                self.notices.push_back(AgentNotice::LinkOpened(opened.local));
                self.links.open(link, opened);
                self.feed(AgentEvent::LinkUp(link));
            }
            Err(error) => {
                self.counters.count("dial_failures");
                self.reporting.on_dial_failed(link, &error);
                let failure = error.failure;
                self.notices.push_back(AgentNotice::DialFailed(error));
                self.feed(AgentEvent::DialFailed(link, failure));
            }
        }
    }

    fn on_link_event(&mut self, event: LinkEvent) {
        let link = event.link;
        let current = self.links.is_current(link);
        match event.what {
            LinkInput::Ended(end) => {
                self.links.on_ended(link);
                if current {
                    self.counters.count("links_ended");
                    debug!(%link, %end, "link ended");
                    self.reporting.on_link_ended(end.clone());
                    self.notices.push_back(AgentNotice::LinkEnded(end.clone()));
                }
                self.feed(AgentEvent::LinkDown(link, end.reason));
            }
            LinkInput::Received(_) if !current => self.counters.count("frames_of_old_links"),
            LinkInput::Received(Received::Control) => {
                self.beats.heard(self.clock.now());
                self.feed(AgentEvent::Received(link, AgentInbound::Other));
            }
            LinkInput::Received(Received::Binary(message)) => {
                self.counters.count("binary_frames");
                warn!(%link, bytes = message.len(), "the server sent a binary frame; closing the link");
                let cause = self.frames.read_binary();
                self.close(link, cause);
                self.feed(AgentEvent::LinkDown(link, CloseReason::local(cause)));
            }
            LinkInput::Received(Received::Text(text)) => self.on_text(link, &text),
        }
    }

    fn on_text(&mut self, link: LinkId, text: &str) {
        let AgentRead { inbound, content } = self.frames.read(link, text, self.clock.now().wall);
        if let FromServer::Refused(error) = &content {
            self.counters.count("hello_refused");
            self.reporting.on_hello_refused(error);
        }
        self.beats.heard(self.clock.now());
        match (inbound, &content) {
            // Before the first heartbeat is made.
            (AgentInbound::HelloAccepted(terms), _) => self.beats.begin(terms, self.clock.now()),
            (_, FromServer::Heartbeat(beat)) => self.note_beat_of_server(beat),
            (
                AgentInbound::HelloRefused(_)
                | AgentInbound::Heartbeat(_)
                | AgentInbound::Ping { .. }
                | AgentInbound::Other,
                _,
            ) => {}
        }
        self.feed(AgentEvent::Received(link, inbound));
        match content {
            FromServer::Joined(session, wrong_times) => {
                if let Some(error) = wrong_times {
                    self.counters.count("bad_timings");
                    warn!(%error, "the server sent invalid heartbeat times; using the defaults");
                }
                self.notices.push_back(AgentNotice::Joined(*session));
            }
            FromServer::Heartbeat(beat) => self.on_beat(*beat),
            FromServer::Message(message) => self.notices.push_back(AgentNotice::Message(message)),
            FromServer::BeforeSession => self.counters.count("messages_before_session"),
            FromServer::Unknown(kind) => {
                self.counters.count("unknown_types");
                debug!(?kind, "the server sent a message of an unknown type");
            }
            FromServer::Undecodable(error, reply) => {
                self.counters.count("undecodable");
                warn!(%error, id = ?error.message_id, "the server sent a message that cannot be decoded");
                if let Some(reply) = reply
                    && self.send(&reply).is_err()
                {
                    self.counters.count("replies_without_session");
                }
            }
            FromServer::Refused(error) => self.notices.push_back(AgentNotice::HelloRefused(error)),
            FromServer::Nothing => {}
        }
    }

    /// A heartbeat of the server goes to the machine now.
    fn note_beat_of_server(&mut self, beat: &ServerHeartbeat) {
        let Some(sequence) = beat.sequence else { return };
        let (told, seen) = (beat.stopped_at, beat.seen.map(Seen::from));
        let recorded = beat.recorded.map(|recorded| recorded.sequence);
        self.note_beats(|hops, now| {
            hops.on_told(told, now);
            hops.on_received(sequence, now);
            hops.on_handled(sequence, seen, recorded, now);
        });
    }

    fn on_beat(&mut self, beat: ServerHeartbeat) {
        let seen = beat.seen.map(|seen| seen.sequence);
        debug!(sequence = ?beat.sequence, ?seen, recorded = ?beat.recorded, "server heartbeat received");
        if let Some(lag) = &beat.recording_lag {
            debug!(why = ?lag.why, age_ms = lag.age_ms, "the server does not record heartbeats");
        }
        self.notices.push_back(AgentNotice::BeatAnswered {
            seen,
            recorded: beat.recorded,
            lag: beat.recording_lag,
        });
    }
}
