//! A shard: what it holds, what its owner may ask of it, and its loop: one inbox, one timer, many
//! links.

use super::events::ShardEvent;
use super::lanes::Lanes;
use super::link::{Lane, LinkEntry, LinkTicket};
use super::links::Links;
use super::machines::Machines;
use super::unread::Unread;
use crate::beats::{LinkBeats, Looks};
use crate::clock::SystemClock;
use crate::counters::Counters;
use crate::pump::{self, LinkEvent, LinkInput, PumpConfig};
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason};
use onsembl_protocol::diagnosis::{BeatReport, BeatVerdict, End, HopTracker};
use onsembl_protocol::id::{BeatSequence, Epoch, LinkId, PresenceVersion};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::Dialect;
use onsembl_protocol::replay::{Excerpt, FrameNote, Retired};
use onsembl_protocol::session::frames::{self, Admission, SessionRules};
use onsembl_protocol::session::{
    AcceptedEvent, Claimant, ServerConfig, ServerEvent, ServerInbound, ServerView, StoreTrouble,
};
use onsembl_protocol::supervisor::Key;
use onsembl_protocol::time::{Deadline, Now, Timestamp, WallTime};
use onsembl_protocol::wire::ServerToAgent;
use onsembl_protocol::wire::payload::ErrorReply;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tracing::debug;

/// All that goes to an agent is small and must not wait, so all of it is control. Between two writes
/// there may be an acknowledgement for each stream and, after a return, each open command of a user.
const PUMP: PumpConfig = PumpConfig { control_queue: 2048, ..PumpConfig::DEFAULT };
/// Machines woken in one go before input is looked at again.
const SWEEP: usize = 256;
/// Bytes of frames that are read in one go before the owner does anything else: to read the largest message takes
/// milliseconds, and of small ones these are hundreds.
const TURN: usize = 64 * 1024;
/// What a frame counts besides its bytes.
const FRAME_COST: usize = 256;

/// How long a full inbox may hold up the machines whose deadline has come.
const PATIENCE: Duration = Duration::from_millis(50);

/// The links and machines of many agents. See the [module](super) for how to use it.
///
/// ```no_run
/// use onsembl_transport::Listener;
/// use onsembl_transport::counters::Counters;
/// use onsembl_transport::memory::MemoryListener;
/// use onsembl_transport::protocol::id::{AgentId, Epoch, PresenceVersion, ServerInstanceId, SessionId};
/// use onsembl_transport::protocol::limits::Limits;
/// use onsembl_transport::protocol::model::Feature;
/// use onsembl_transport::protocol::session::{Claimant, ServerConfig};
/// use onsembl_transport::server::{Admission, Lane, LinkTicket, SessionRules, Shard, ShardEvent};
///
/// /// A server of one agent, whose store is empty and keeps nothing.
/// async fn serve(mut listener: MemoryListener) {
///     let rules = SessionRules::new(ServerInstanceId::new("run-1"), vec![Feature::Heartbeats]);
///     let mut shard = Shard::new(rules, ServerConfig::DEFAULT, Limits::DEFAULT, Counters::default());
///     loop {
///         let event = tokio::select! {
///             Ok(link) = listener.accept() => {
///                 shard.accept(LinkTicket::new(link, "ann", Lane::new("ann")));
///                 continue;
///             }
///             event = shard.next() => event,
///         };
///         match event {
///             ShardEvent::Hello(claim) => {
///                 let (version, epoch) = (PresenceVersion(0), Epoch(0));
///                 let key = shard.insert(&Lane::new("ann"), version, epoch, None);
///                 shard.join(claim.link, key, Claimant::SameProcess);
///             }
///             ShardEvent::Admit { key, link } => {
///                 let (agent, session) = (AgentId::new("agent-1"), SessionId::new("session-1"));
///                 shard.admitted(key, link, Admission::new(agent, session, Epoch(1)));
///             }
///             ShardEvent::Record { key, epoch, sequence, at, .. } => {
///                 shard.recorded(key, epoch, sequence, at); // once it is on disk
///             }
///             ShardEvent::Presence { presence, .. } => println!("{}", presence.status.as_str()),
///             _ => {}
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Shard<A> {
    pub(super) rules: SessionRules,
    /// With what the ids of its messages begin.
    sender: Arc<str>,
    pub(super) limits: Limits,
    pub(super) clock: SystemClock,
    /// What the clocks said when the event of a link came that is being handled.
    came: Option<Now>,
    pub(super) counters: Counters,
    pub(super) machines: Machines,
    pub(super) links: Links<A>,
    pub(super) unread: Unread,
    /// What the store said last.
    store_trouble: Option<StoreTrouble>,
    /// Texts that were deferred until a session began, and are to be read before any other.
    pub(super) released: VecDeque<(LinkId, String)>,
    pub(super) admissions: BTreeMap<LinkId, Admission>,
    inbox: Lanes,
    pub(super) events: VecDeque<ShardEvent<A>>,
    looks: Looks,
    /// What the hop tracker said of the session whose link has just ended.
    pub(super) parting: Option<BeatVerdict>,
}

impl<A> Shard<A> {
    /// A shard without links.
    pub fn new(
        rules: SessionRules,
        config: ServerConfig,
        limits: Limits,
        counters: Counters,
    ) -> Self {
        Self {
            sender: format!("msg-{}", rules.server_instance).into(),
            rules,
            limits,
            clock: SystemClock::new(),
            came: None,
            machines: Machines::new(config),
            links: Links::new(limits.message_bytes, counters.clone()),
            counters,
            unread: Unread::NONE,
            store_trouble: None,
            released: VecDeque::new(),
            admissions: BTreeMap::new(),
            inbox: Lanes::default(),
            events: VecDeque::new(),
            looks: Looks::NONE,
            parting: None,
        }
    }

    /// The same, with this many bytes for the recording instead of [`RECORDING`](super::RECORDING); none with zero.
    #[must_use]
    pub fn with_recording(mut self, bytes: usize) -> Self {
        self.machines.record_in(bytes);
        self
    }

    /// Takes a link in; it now owes a hello.
    pub fn accept(&mut self, ticket: LinkTicket<A>) -> LinkId {
        let link = self.links.number();
        debug!(%link, peer = %ticket.link.peer, "link accepted, waiting for its hello");
        let (entry, backlog) = self.inbox.entry(&ticket.lane);
        let pump = |opened| pump::spawn_sharing(opened, link, PUMP, entry, Some(backlog));
        let entry = LinkEntry::accepted(ticket, pump, &self.sender, self.limits, self.now());
        self.links.insert(link, entry);
        link
    }

    /// An event that is there already. What happened goes before what is asked for: look here before a
    /// decision is made that depends on sessions.
    pub fn take_event(&mut self) -> Option<ShardEvent<A>> {
        self.read_released();
        self.events.pop_front()
    }

    /// What happens next. Cancel-safe; links and machines live only while this is awaited.
    pub async fn next(&mut self) -> ShardEvent<A> {
        loop {
            self.read_released();
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            // Input first: what has arrived counts before any time that has run out.
            let deadline = self.next_wake();
            let mut read = 0;
            tokio::select! {
                biased;
                event = self.inbox.next() => {
                    read += cost_of(&event);
                    self.take(event);
                }
                () = self.clock.sleep_until(deadline) => {
                    pump::let_arrive(deadline.overdue_by(self.clock.now().monotonic)).await;
                }
            }
            // After a stall everything that waited in the inbox must count before any verdict.
            let mut is_empty = false;
            while !is_empty && self.events.len() < SWEEP && read < TURN {
                match self.inbox.try_next() {
                    Some(event) => {
                        read += cost_of(&event);
                        self.take(event);
                    }
                    None => is_empty = true,
                }
            }
            let (wake, now) = (self.next_wake(), self.clock.now().monotonic);
            if wake.is_due(now) && (is_empty || wake.overdue_by(now) > PATIENCE) {
                self.sweep();
            }
        }
    }

    /// Handles an event of a link, for which the clocks are read once.
    fn take(&mut self, event: LinkEvent) {
        self.came = Some(self.clock.now());
        self.on_link_event(event);
        self.came = None;
    }

    /// The time of what is being handled.
    pub(super) fn now(&self) -> Now {
        self.came.unwrap_or_else(|| self.clock.now())
    }

    /// Puts a machine in for an agent that had a session with an earlier run of this server. Its inputs are recorded in
    /// the part of this lane.
    pub fn recover(&mut self, lane: &Lane, version: PresenceVersion, epoch: Epoch) -> Key {
        let (key, actions) = self.machines.recover(lane, version, epoch, self.now());
        self.perform(key, actions);
        self.tell_store_trouble(key);
        key
    }

    /// Puts a machine in for an agent that has none; with its history, if it had one. Its inputs are recorded in the
    /// part of this lane.
    pub fn insert(
        &mut self,
        lane: &Lane,
        version: PresenceVersion,
        epoch: Epoch,
        history: Option<Retired>,
    ) -> Key {
        let key = self.machines.insert(lane, version, epoch, history, self.now());
        self.tell_store_trouble(key);
        key
    }

    /// A machine that is put in while the store is in trouble was not there when the store said so.
    fn tell_store_trouble(&mut self, key: Key) {
        if self.store_trouble.is_some() {
            self.feed(key, ServerEvent::Store(self.store_trouble));
        }
    }

    /// The hello that came over `link` is of the agent behind `key`.
    pub fn join(&mut self, link: LinkId, key: Key, claimant: Claimant) {
        self.links.unpark(link);
        let Some(entry) = self.links.get_mut(link) else {
            return self.join_ended(link, key, claimant);
        };
        entry.key = Some(key);
        let dialect = entry.machine.capabilities().dialect();
        self.at_link(link, AcceptedEvent::Identified);
        self.feed(key, ServerEvent::Joined { link, dialect, claimant });
    }

    /// The link ended while it was decided whose it is: machine and owner hear of its end behind its hello.
    fn join_ended(&mut self, link: LinkId, key: Key, claimant: Claimant) {
        let (dialect, reason) = (Dialect::Extended, CloseReason::broken(Breakage::EndOfStream));
        self.feed(key, ServerEvent::Joined { link, dialect, claimant });
        self.events.push_back(ShardEvent::LinkEnded { key, link, session: None, reason });
        self.feed(key, ServerEvent::LinkDown(link, reason));
    }

    /// The hello that came over `link` is refused, and the agent gets the reason.
    pub fn refuse(&mut self, link: LinkId, error: ErrorReply, cause: CloseCause) {
        if let Some(entry) = self.links.get(link) {
            let error = error.about(entry.hello.clone());
            self.send_to(link, &ServerToAgent::Error(error));
        }
        self.counters.count("hellos_refused");
        self.at_link(link, AcceptedEvent::Refused(cause));
    }

    /// The hello that came over `link` is of a diagnosis connection: it is welcomed, but is no
    /// session of anybody.
    pub fn welcome_probe(&mut self, link: LinkId, admission: &Admission) {
        self.send_welcome(link, admission);
        self.at_link(link, AcceptedEvent::Probing(self.machines.rules().timing));
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
        self.send_to(link, &ServerToAgent::Error(frames::not_admitted(cause, why)));
        self.feed(key, ServerEvent::Rejected { link, cause });
    }

    /// This heartbeat is committed to the database.
    pub fn recorded(&mut self, key: Key, epoch: Epoch, sequence: BeatSequence, at: WallTime) {
        debug!(?key, %sequence, "heartbeat recorded");
        let now = self.now();
        let is_of_session =
            self.machine(key).is_some_and(|machine| machine.presence().epoch == epoch);
        if let Some(link) = self.link_of(key).filter(|_| is_of_session) {
            self.note_beats_at(now, link, |hops, now| hops.on_recorded(sequence, now));
        }
        self.feed_at(key, ServerEvent::Recorded { epoch, sequence, at }, now, None);
    }

    /// The store reports why it does not record, or that it records again.
    pub fn store_health(&mut self, trouble: Option<StoreTrouble>) {
        self.store_trouble = trouble;
        // One by one, because each machine's inputs are recorded, also those that change nothing yet.
        for key in self.machines.keys() {
            self.feed(key, ServerEvent::Store(trouble));
        }
    }

    /// The agent reported that it cannot continue.
    pub fn faulted(&mut self, key: Key) {
        if let Some(link) = self.link_of(key) {
            self.feed(key, ServerEvent::Faulted(link));
        }
    }

    /// The agent must go, with all its links.
    pub fn evict(&mut self, key: Key, cause: CloseCause) {
        self.links.close_parked(key, cause);
        self.feed(key, ServerEvent::Evict(cause));
    }

    /// Ends the agent's present link; the agent is expected back.
    pub fn close_session(&mut self, key: Key, cause: CloseCause) {
        if let Some(link) = self.link_of(key) {
            self.links.close(link, cause);
        }
    }

    /// A silent link is kept beside the session of the agent behind `key`.
    pub fn park(&mut self, link: LinkId, key: Key) {
        if let Some(entry) = self.links.get_mut(link) {
            entry.key = Some(key);
            self.keep(key, link);
        }
    }

    /// A silent link is of no use to anybody.
    pub fn give_up_silent(&mut self, link: LinkId) {
        self.at_link(link, AcceptedEvent::Refused(CloseCause::HelloTimeout));
    }

    /// What was established when a link was accepted that has not said hello yet, or is for diagnosis.
    pub fn bearer(&self, link: LinkId) -> Option<&A> {
        self.links.get(link)?.auth.as_deref()
    }

    /// Keeps what was established with a link for as long as it is open: of a diagnosis connection, which is no
    /// session.
    pub fn entrust(&mut self, link: LinkId, auth: A) {
        if let Some(entry) = self.links.get_mut(link) {
            entry.auth = Some(Box::new(auth));
        }
    }

    /// Closes one link that is kept beside a session, or is none's.
    pub fn end_parked(&mut self, link: LinkId, cause: CloseCause) {
        self.links.close(link, cause);
    }

    /// A newer link took over from this one, which is kept.
    pub(super) fn keep_older(&mut self, key: Key, link: LinkId) {
        let Some(entry) = self.links.get_mut(link) else { return };
        let session = entry.session.take();
        self.events.push_back(ShardEvent::Parked { key, link, session });
        self.keep(key, link);
    }

    fn keep(&mut self, key: Key, link: LinkId) {
        self.links.park(link, key);
        let timing = self.machines.rules().timing;
        self.at_link(link, AcceptedEvent::Parked(timing));
    }

    /// Stops reading from the agent's links, so that it feels that it sends too much. Until
    /// [`resume`](Self::resume) its silence is ours, and counts for nothing.
    pub fn pause(&mut self, key: Key) {
        self.links.all_of(key, self.link_of(key)).for_each(|entry| entry.handle.pause());
        self.unread.insert(key, self.interval(), self.now().monotonic);
    }

    /// Goes on reading.
    pub fn resume(&mut self, key: Key) {
        self.links.all_of(key, self.link_of(key)).for_each(|entry| entry.handle.resume());
        self.unread.remove(key);
    }

    /// An agent that is not read cannot be called silent. It gets no answers either, so a ping shows it that
    /// its server is there.
    fn excuse_unread(&mut self, now: Now) {
        for key in self.unread.due(now.monotonic) {
            match self.link_of(key) {
                Some(link) => {
                    self.links.ping(link);
                    self.heard(link, now);
                    self.feed_at(key, ServerEvent::Received(link, ServerInbound::Other), now, None);
                }
                // Its link is over, and the next one is read until its fleet says otherwise.
                None => self.unread.remove(key),
            }
        }
        self.unread.excused(self.interval(), now.monotonic);
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
    pub fn machine(&self, key: Key) -> Option<ServerView<'_>> {
        self.machines.get(key)
    }

    /// What is recorded of the agent behind `key`, as far as it can be replayed.
    pub fn recording(&self, key: Key) -> Option<Excerpt> {
        self.machines.recording(key)
    }

    /// The same of an agent that has no machine any more.
    pub fn recording_of(&self, history: Retired) -> Option<Excerpt> {
        self.machines.recording_of(history)
    }

    /// All that the hop tracker says of the session of the agent behind `key`; `None` without one, and of a
    /// legacy agent.
    pub fn beats(&self, key: Key) -> Option<BeatReport> {
        let entry = self.links.get(self.link_of(key)?)?;
        Some(entry.beats.as_ref()?.report(self.now()))
    }

    /// Closes every link because this process ends.
    pub fn close_all(&mut self, cause: CloseCause) {
        self.links.iter().for_each(|entry| entry.handle.close(cause));
    }

    /// Links that are open.
    pub fn link_count(&self) -> usize {
        self.links.len()
    }

    /// Whether no link is open and all events were taken.
    pub fn is_done(&self) -> bool {
        self.links.is_empty() && self.events.is_empty()
    }

    /// Links without a hello yet.
    pub fn greeting_count(&self) -> usize {
        self.links.greeting()
    }

    /// The clock the machines live by.
    pub fn clock(&self) -> SystemClock {
        self.clock
    }

    pub(super) fn next_wake(&self) -> Deadline {
        let of_links = self.links.deadline().min(self.looks.at);
        self.machines.next_wake().min(of_links).min(self.unread.deadline())
    }

    pub(super) fn link_of(&self, key: Key) -> Option<LinkId> {
        self.machines.link_of(key)
    }

    fn interval(&self) -> Duration {
        self.machines.rules().timing.interval()
    }

    pub(super) fn sweep(&mut self) {
        let now = self.now();
        self.excuse_unread(now);
        self.look_at_beats(now);
        for (key, actions) in self.machines.sweep(now, SWEEP) {
            self.perform(key, actions);
        }
        for link in self.links.due(now.monotonic) {
            self.at_link(link, AcceptedEvent::Wake);
        }
    }

    /// The session over `link` begins, and with it its hop tracker.
    pub(super) fn begin_beats(&mut self, link: LinkId) {
        let (now, interval) = (self.now(), self.interval());
        if let Some(entry) = self.links.get_mut(link)
            && entry.machine.capabilities().is_extended()
        {
            entry.beats = Some(LinkBeats::new(End::Server, interval, now));
            self.looks.begin(interval, now);
        }
    }

    /// Notes something of the heartbeats of a session, and tells the owner if their hop tracker says something else then.
    pub(super) fn note_beats(
        &mut self,
        link: LinkId,
        what: impl FnOnce(&mut HopTracker, Timestamp),
    ) {
        self.note_beats_at(self.now(), link, what);
    }

    /// The same, when the clocks were read already.
    pub(super) fn note_beats_at(
        &mut self,
        now: Now,
        link: LinkId,
        what: impl FnOnce(&mut HopTracker, Timestamp),
    ) {
        let Some(entry) = self.links.get_mut(link) else { return };
        if let (Some(verdict), Some(key)) = (entry.note_beats(now, what), entry.key) {
            self.tell_of_beats(key, link, verdict);
        }
    }

    /// The hop tracker of a link that is over, and only not closed yet, says nothing of the session that took over.
    fn tell_of_beats(&mut self, key: Key, link: LinkId, verdict: BeatVerdict) {
        if self.link_of(key) == Some(link) {
            self.events.push_back(ShardEvent::Beats { key, verdict });
        }
    }

    /// A frame came over a link, or would have come if it were read.
    pub(super) fn heard(&mut self, link: LinkId, now: Now) {
        if let Some(beats) = self.links.get_mut(link).and_then(|entry| entry.beats.as_mut()) {
            beats.heard(now);
        }
    }

    /// What the hop tracker says of the session over `link`, looked at now.
    pub(super) fn verdict_of(&mut self, link: LinkId) -> Option<BeatVerdict> {
        let now = self.now();
        let entry = self.links.get_mut(link)?;
        let (changed, key) = (entry.note_beats(now, HopTracker::look), entry.key);
        let verdict = entry.beats.as_ref()?.verdict(now);
        // Whatever this look finds first is not found again by the next.
        if let (Some(_), Some(key)) = (changed, key) {
            self.tell_of_beats(key, link, verdict);
        }
        Some(verdict)
    }

    /// Looks at the hop trackers whose turn it is.
    fn look_at_beats(&mut self, now: Now) {
        let interval = self.interval();
        for (key, link, verdict) in self.links.look_at_beats(&mut self.looks, interval, now) {
            self.tell_of_beats(key, link, verdict);
        }
    }

    pub(super) fn feed(&mut self, key: Key, event: ServerEvent) {
        self.feed_at(key, event, self.now(), None);
    }

    pub(super) fn feed_at(
        &mut self,
        key: Key,
        event: ServerEvent,
        now: Now,
        frame: Option<FrameNote>,
    ) {
        match self.machines.handle(key, event, now, frame) {
            Some(actions) => self.perform(key, actions),
            None => self.counters.count("events_of_forgotten_agents"),
        }
    }
}

/// What an event counts of a [`TURN`].
fn cost_of(event: &LinkEvent) -> usize {
    let bytes = match &event.what {
        LinkInput::Received(received) => received.len(),
        LinkInput::Ended(_) => 0,
    };
    bytes.saturating_add(FRAME_COST)
}
