//! A shard: what it holds, what its owner may ask of it, and its loop: one inbox, one timer, many
//! links.

use super::events::ShardEvent;
use super::lanes::Lanes;
use super::link::{Lane, LinkEntry, LinkTicket};
use crate::beats::{LinkBeats, Looks};
use crate::clock::SystemClock;
use crate::counters::Counters;
use crate::messages::Envelopes;
use crate::pump::{self, LinkEvent, LinkInput, PumpConfig};
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason};
use onsembl_protocol::diagnosis::{BeatLedger, BeatReport, BeatVerdict, End};
use onsembl_protocol::id::{BeatSequence, Epoch, LinkId, PresenceVersion};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::{Dialect, Pausing};
use onsembl_protocol::replay::{
    Excerpt, FrameNote, Handled, Owner, Recorder, Retired, ServerOrigin,
};
use onsembl_protocol::session::frames::{self, Admission, SessionRules};
use onsembl_protocol::session::{
    AcceptedEvent, AcceptedLink, Claimant, Opening, ServerAction, ServerConfig, ServerConnection,
    ServerEvent, ServerInbound, ServerView, StoreTrouble,
};
use onsembl_protocol::step::Actions;
use onsembl_protocol::supervisor::{Key, Supervisor};
use onsembl_protocol::time::{Deadline, Now, Timestamp, WallTime};
use onsembl_protocol::wire::ServerToAgent;
use onsembl_protocol::wire::payload::ErrorReply;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;
use tracing::debug;

/// All that goes to an agent is small and must not wait, so all of it is control. Between two writes
/// there may be an acknowledgement for each stream and, after a return, each open command of a user.
const PUMP: PumpConfig = PumpConfig { control_queue: 2048, ..PumpConfig::DEFAULT };
/// Machines woken in one go before input is looked at again.
const SWEEP: usize = 256;
/// Ledgers of heartbeats that are looked at in one go.
const LOOKS: usize = 4096;
/// Bytes of frames that are read in one go before the owner does anything else: to read the largest message takes
/// milliseconds, and of small ones these are hundreds.
const TURN: usize = 64 * 1024;
/// What a frame counts besides its bytes.
const FRAME_COST: usize = 256;

/// Bytes in which the inputs of all machines of a shard are kept: a month of one agent, three quarters
/// of an hour of a thousand.
pub const RECORDING: usize = 8 * 1024 * 1024;

/// How long a full inbox may hold up the machines whose deadline has come.
const PATIENCE: Duration = Duration::from_millis(50);

/// The links and machines of many agents. See the [module](super) for how to use it.
#[derive(Debug)]
pub struct Shard<A> {
    pub(super) rules: SessionRules,
    pub(super) limits: Limits,
    pub(super) pump: PumpConfig,
    pub(super) clock: SystemClock,
    pub(super) counters: Counters,
    pub(super) supervisor: Supervisor<ServerConnection>,
    pub(super) recorder: Recorder,
    /// Makes the numbers under which the recorder knows lanes.
    owners: RandomState,
    /// What the store said last.
    store_trouble: Option<StoreTrouble>,
    pub(super) links: BTreeMap<LinkId, LinkEntry<A>>,
    /// When which link is to be woken.
    pub(super) due: BTreeSet<(Timestamp, LinkId)>,
    /// Machines whose links are not read, because the owner holds their agents back.
    pub(super) unread: BTreeSet<Key>,
    /// When they are to be excused next, if there are any.
    pub(super) excuse_at: Deadline,
    /// Links that are kept beside the ones of sessions.
    pub(super) parked: BTreeMap<Key, BTreeSet<LinkId>>,
    /// Links that owe a hello.
    pub(super) greeting: usize,
    /// Texts that were deferred until a session began, and are to be read before any other.
    pub(super) released: VecDeque<(LinkId, String)>,
    pub(super) admissions: BTreeMap<LinkId, Admission>,
    pub(super) next_link: LinkId,
    pub(super) inbox: Lanes,
    pub(super) events: VecDeque<ShardEvent<A>>,
    looks: Looks,
    /// What the ledger said of the session whose link has just ended.
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
            rules,
            limits,
            pump: PUMP,
            clock: SystemClock::new(),
            counters,
            supervisor: Supervisor::new(config),
            recorder: Recorder::new(RECORDING, config),
            owners: RandomState::new(),
            store_trouble: None,
            links: BTreeMap::new(),
            due: BTreeSet::new(),
            unread: BTreeSet::new(),
            excuse_at: Deadline::Never,
            parked: BTreeMap::new(),
            greeting: 0,
            released: VecDeque::new(),
            admissions: BTreeMap::new(),
            next_link: LinkId(1),
            inbox: Lanes::default(),
            events: VecDeque::new(),
            looks: Looks::NONE,
            parting: None,
        }
    }

    /// The same, with this many bytes for the recording instead of [`RECORDING`]; none with zero.
    #[must_use]
    pub fn with_recording(mut self, bytes: usize) -> Self {
        self.recorder = Recorder::new(bytes, *self.supervisor.rules());
        self
    }

    /// Takes a link in; it now owes a hello.
    pub fn accept(&mut self, ticket: LinkTicket<A>) -> LinkId {
        let id = self.next_link;
        self.next_link = id.next();
        let peer = ticket.link.peer.clone();
        debug!(link = %id, %peer, "link accepted, waiting for its hello");
        let (entry, backlog) = self.inbox.entry(&ticket.lane);
        let handle = pump::spawn_sharing(ticket.link, id, self.pump, entry, Some(backlog));
        let opening = match &ticket.named {
            Some(_) => Opening::NamesAgent,
            None => Opening::Anonymous,
        };
        let machine = AcceptedLink::new(opening, self.limits, self.clock.now());
        let deadline = machine.deadline();
        let entry = LinkEntry {
            handle,
            envelopes: Envelopes::new(format!("msg-{}", self.rules.server_instance)),
            peer,
            machine,
            due: None,
            auth: Some(ticket.auth),
            named: ticket.named,
            share: ticket.share,
            key: None,
            session: None,
            hello: None,
            agent: None,
            deferred: Vec::new(),
            metrics: None,
            pausing: Pausing::Running,
            beats: None,
        };
        let _ = self.links.insert(id, entry);
        self.greeting += 1;
        self.arm(id, deadline);
        id
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
                    self.on_link_event(event);
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
                        self.on_link_event(event);
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

    /// Puts a machine in for an agent that had a session with an earlier run of this server. Its inputs are recorded in
    /// the part of this lane.
    pub fn recover(&mut self, lane: &Lane, version: PresenceVersion, epoch: Epoch) -> Key {
        let now = self.clock.now();
        let (machine, step) =
            ServerConnection::recovered(*self.supervisor.rules(), version, epoch, now);
        let key = self.supervisor.insert(machine);
        let origin = ServerOrigin::Recovered { version, epoch };
        let owner = self.owner(lane);
        self.recorder.began(key, owner, origin, now, &step.actions, step.deadline, None);
        self.perform(key, step.actions);
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
        let now = self.clock.now();
        let machine = ServerConnection::new(*self.supervisor.rules(), version, epoch, now);
        let deadline = machine.deadline();
        let key = self.supervisor.insert(machine);
        let origin = ServerOrigin::New { version, epoch };
        let owner = self.owner(lane);
        self.recorder.began(key, owner, origin, now, &Actions::none(), deadline, history);
        self.tell_store_trouble(key);
        key
    }

    /// Nobody can choose a name that has the number of another one.
    fn owner(&self, lane: &Lane) -> Owner {
        Owner(self.owners.hash_one(lane))
    }

    /// A machine that is put in while the store is in trouble was not there when the store said so.
    fn tell_store_trouble(&mut self, key: Key) {
        if self.store_trouble.is_some() {
            self.feed(key, ServerEvent::Store(self.store_trouble));
        }
    }

    /// The hello that came over `link` is of the agent behind `key`.
    pub fn join(&mut self, link: LinkId, key: Key, claimant: Claimant) {
        self.unpark(link);
        let Some(entry) = self.links.get_mut(&link) else {
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
        if let Some(entry) = self.links.get(&link) {
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
        self.at_link(link, AcceptedEvent::Probing(self.supervisor.rules().timing));
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

    /// The database holds this heartbeat.
    pub fn recorded(&mut self, key: Key, epoch: Epoch, sequence: BeatSequence, at: WallTime) {
        debug!(?key, %sequence, "heartbeat recorded");
        let now = self.clock.now();
        let is_of_session =
            self.machine(key).is_some_and(|machine| machine.presence().epoch == epoch);
        if let Some(link) = self.link_of(key).filter(|_| is_of_session) {
            self.note_beats_at(now, link, |ledger, now| ledger.on_recorded(sequence, now));
        }
        self.feed_at(key, ServerEvent::Recorded { epoch, sequence, at }, now, None);
    }

    /// The store says why it does not record, or that it does again.
    pub fn store_health(&mut self, trouble: Option<StoreTrouble>) {
        self.store_trouble = trouble;
        // One by one, because each machine's inputs are recorded, also those that change nothing yet.
        let keys: Vec<Key> = self.supervisor.keys().collect();
        for key in keys {
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
        self.end_parked_of(key, cause);
        self.feed(key, ServerEvent::Evict(cause));
    }

    /// Ends the agent's present link; the agent is expected back.
    pub fn close_session(&mut self, key: Key, cause: CloseCause) {
        if let Some(link) = self.link_of(key) {
            self.close(link, cause);
        }
    }

    /// Stops reading from the agent's links, so that it feels that it sends too much. Until
    /// [`resume`](Self::resume) its silence is ours, and counts for nothing.
    pub fn pause(&mut self, key: Key) {
        self.links_of(key).for_each(|entry| entry.handle.pause());
        if self.unread.is_empty() {
            self.excuse_at = self.excuse_after(self.clock.now().monotonic);
        }
        let _ = self.unread.insert(key);
    }

    /// Twice in each interval: neither end may have been heard just now.
    fn excuse_after(&self, now: Timestamp) -> Deadline {
        Deadline::At(now.saturating_add(self.supervisor.rules().timing.interval() / 2))
    }

    /// Goes on reading.
    pub fn resume(&mut self, key: Key) {
        self.links_of(key).for_each(|entry| entry.handle.resume());
        let _ = self.unread.remove(&key);
    }

    /// An agent that is not read cannot be called silent. It gets no answers either, so a ping shows it that
    /// its server is there.
    fn excuse_unread(&mut self, now: Now) {
        if !self.excuse_at.is_due(now.monotonic) {
            return;
        }
        for key in self.unread.clone() {
            match self.link_of(key) {
                Some(link) => {
                    self.ping(link);
                    self.heard(link, now);
                    self.feed_at(key, ServerEvent::Received(link, ServerInbound::Other), now, None);
                }
                // Its link is over, and the next one is read until its fleet says otherwise.
                None => {
                    let _ = self.unread.remove(&key);
                }
            }
        }
        self.excuse_at = match self.unread.is_empty() {
            true => Deadline::Never,
            false => self.excuse_after(now.monotonic),
        };
    }

    /// The link of the session, and those beside it.
    fn links_of(&self, key: Key) -> impl Iterator<Item = &LinkEntry<A>> {
        let parked = self.parked.get(&key).into_iter().flatten().copied();
        self.link_of(key).into_iter().chain(parked).filter_map(|link| self.links.get(&link))
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
        self.supervisor.get(key)
    }

    /// What is recorded of the agent behind `key`, as far as it can be replayed.
    pub fn recording(&self, key: Key) -> Option<Excerpt> {
        self.recorder.excerpt(key)
    }

    /// The same of an agent that has no machine any more.
    pub fn recording_of(&self, history: Retired) -> Option<Excerpt> {
        self.recorder.excerpt_of(history)
    }

    /// All that the ledger of heartbeats says of the session of the agent behind `key`; `None` without one, and of a
    /// legacy agent.
    pub fn beats(&self, key: Key) -> Option<BeatReport> {
        let entry = self.links.get(&self.link_of(key)?)?;
        Some(entry.beats.as_ref()?.report(self.clock.now()))
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

    /// Whether no link is open and all events were taken.
    pub fn is_done(&self) -> bool {
        self.links.is_empty() && self.events.is_empty()
    }

    /// Links that owe a hello.
    pub fn greeting_count(&self) -> usize {
        self.greeting
    }

    /// The clock the machines live by.
    pub fn clock(&self) -> SystemClock {
        self.clock
    }

    pub(super) fn next_wake(&self) -> Deadline {
        let links = self.due.first().map_or(Deadline::Never, |(at, _)| Deadline::At(*at));
        self.supervisor.next_wake().min(links).min(self.excuse_at).min(self.looks.at)
    }

    pub(super) fn link_of(&self, key: Key) -> Option<LinkId> {
        self.supervisor.get(key)?.link()
    }

    pub(super) fn sweep(&mut self) {
        let now = self.clock.now();
        self.excuse_unread(now);
        self.look_at_beats(now);
        let mut woken = Vec::new();
        let _more_is_due_and_the_next_wake_says_so =
            self.supervisor.sweep(now, SWEEP, |key, actions| woken.push((key, actions)));
        // Recorded first, in the order in which it was handled: performing feeds the machines of other links.
        for (key, actions) in &woken {
            self.record(*key, ServerEvent::Wake, now, None, actions);
        }
        for (key, actions) in woken {
            self.perform(key, actions);
        }
        let due: Vec<LinkId> = self
            .due
            .iter()
            .take_while(|(at, _)| *at <= now.monotonic)
            .map(|(_, link)| *link)
            .collect();
        for link in due {
            self.at_link(link, AcceptedEvent::Wake);
        }
    }

    /// The session over `link` begins, and with it its ledger.
    pub(super) fn begin_beats(&mut self, link: LinkId) {
        let (now, interval) = (self.clock.now(), self.supervisor.rules().timing.interval());
        if let Some(entry) = self.links.get_mut(&link)
            && entry.machine.capabilities().is_extended()
        {
            entry.beats = Some(LinkBeats::new(End::Server, interval, now));
            self.looks.begin(interval, now);
        }
    }

    /// Notes something of the heartbeats of a session, and tells the owner if their ledger says something else then.
    pub(super) fn note_beats(
        &mut self,
        link: LinkId,
        what: impl FnOnce(&mut BeatLedger, Timestamp),
    ) {
        self.note_beats_at(self.clock.now(), link, what);
    }

    /// The same, when the clocks were read already.
    pub(super) fn note_beats_at(
        &mut self,
        now: Now,
        link: LinkId,
        what: impl FnOnce(&mut BeatLedger, Timestamp),
    ) {
        let Some(entry) = self.links.get_mut(&link) else { return };
        if let (Some(verdict), Some(key)) = (entry.note_beats(now, what), entry.key) {
            self.tell_of_beats(key, link, verdict);
        }
    }

    /// The ledger of a link that is over, and only not closed yet, says nothing of the session that took over.
    fn tell_of_beats(&mut self, key: Key, link: LinkId, verdict: BeatVerdict) {
        if self.link_of(key) == Some(link) {
            self.events.push_back(ShardEvent::Beats { key, verdict });
        }
    }

    /// A frame came over a link, or would have come if it were read.
    pub(super) fn heard(&mut self, link: LinkId, now: Now) {
        if let Some(beats) = self.links.get_mut(&link).and_then(|entry| entry.beats.as_mut()) {
            beats.heard(now);
        }
    }

    /// What the ledger says of the session over `link`, looked at now.
    pub(super) fn verdict_of(&mut self, link: LinkId) -> Option<BeatVerdict> {
        let now = self.clock.now();
        let entry = self.links.get_mut(&link)?;
        let (changed, key) = (entry.note_beats(now, BeatLedger::look), entry.key);
        let verdict = entry.beats.as_ref()?.verdict(now);
        // Whatever this look finds first is not found again by the next.
        if let (Some(_), Some(key)) = (changed, key) {
            self.tell_of_beats(key, link, verdict);
        }
        Some(verdict)
    }

    /// Looks at the ledgers, four times an interval, and at no more of them at once than takes a few milliseconds.
    fn look_at_beats(&mut self, now: Now) {
        if !self.looks.at.is_due(now.monotonic) {
            return;
        }
        let interval = self.supervisor.rules().timing.interval();
        let (mut looked, mut continues, mut told) = (0, None, Vec::new());
        for (id, entry) in self.links.range_mut(self.looks.from..) {
            if looked >= LOOKS {
                continues = Some(*id);
                break;
            }
            looked += 1;
            if let (Some(verdict), Some(key)) = (entry.note_beats(now, BeatLedger::look), entry.key)
            {
                told.push((key, *id, verdict));
            }
        }
        for (key, link, verdict) in told {
            self.tell_of_beats(key, link, verdict);
        }
        let any = self.links.values().any(|entry| entry.beats.is_some());
        self.looks = Looks::next(continues, any, interval, now);
    }

    pub(super) fn feed(&mut self, key: Key, event: ServerEvent) {
        self.feed_at(key, event, self.clock.now(), None);
    }

    pub(super) fn feed_at(
        &mut self,
        key: Key,
        event: ServerEvent,
        now: Now,
        frame: Option<FrameNote>,
    ) {
        match self.supervisor.handle(key, event, now) {
            Some(actions) => {
                self.record(key, event, now, frame, &actions);
                self.perform(key, actions);
            }
            None => self.counters.count("events_of_forgotten_agents"),
        }
    }

    fn record(
        &mut self,
        key: Key,
        event: ServerEvent,
        now: Now,
        frame: Option<FrameNote>,
        actions: &Actions<ServerAction>,
    ) {
        let Some(machine) = self.supervisor.get(key) else { return };
        let Some(deadline) = self.supervisor.deadline(key) else { return };
        let handled = Handled { event, now, frame };
        self.recorder.handled(key, &handled, actions, deadline, || machine.snapshot());
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
