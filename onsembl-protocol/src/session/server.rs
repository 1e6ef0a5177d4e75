//! The server's end of one agent: joining, connected, stale, timed-out, reconnecting, gone.
//!
//! [`ServerConnection`] outlives links: it is the session of an agent, and the only authority on
//! its presence. It never sees bytes and never touches the store: it asks, and is told.

use super::agent_types::Dialect;
use super::server_types::{
    BeatOut, Because, Claimant, Presence, PresenceCause, PresenceStatus, ServerAction,
    ServerConfig, ServerEvent, ServerInbound, StoreTrouble,
};
use crate::close::{CloseCause, CloseReason, Initiator};
use crate::id::{BeatSequence, Epoch, LinkId, PresenceVersion};
use crate::liveness::{BeatLedger, HeartbeatMonitor, Impairment, Liveness, OVERSLEEP_TOLERANCE};
use crate::step::{Actions, Step};
use crate::time::{Deadline, Now, Timestamp, WallTime};
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// The server's end of one agent, over all its links.
#[derive(Clone, Debug)]
pub struct ServerConnection {
    config: ServerConfig,
    state: State,
    seen_at: Timestamp,
    store: Option<StoreTrouble>,
    published: Presence,
}

/// What is valid in each state, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    New,
    Joining(Joining, Option<Away>),
    Live(Session, Option<Joining>),
    Away(Away),
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Joining {
    link: LinkId,
    dialect: Dialect,
    claimant: Claimant,
    give_up_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Away {
    timed_out: bool,
    until: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Session {
    link: LinkId,
    dialect: Dialect,
    monitor: HeartbeatMonitor,
    beats: BeatLedger,
    faulted: bool,
    unseen_by_agent: bool,
    heard: BeatSequence,
    recorded: Option<(BeatSequence, WallTime)>,
    unrecorded_since: Option<Timestamp>,
    answer_due: Option<Timestamp>,
    unanswered_probe: Option<Timestamp>,
}

/// All that a [`ServerConnection`] knows beside its configuration, to be kept and read back, not to
/// be looked into: its shape may differ from one version of this crate to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerSnapshot {
    state: State,
    seen_at: Timestamp,
    store: Option<StoreTrouble>,
    published: Presence,
}

type Did = Actions<ServerAction>;

impl ServerConnection {
    /// A connection of an agent that is about to join; follow up with [`ServerEvent::Joined`].
    /// `version` and `epoch` are the latest that the store holds of this agent.
    pub fn new(config: ServerConfig, version: PresenceVersion, epoch: Epoch, now: Now) -> Self {
        let because =
            Because { cause: PresenceCause::HelloReceived, impairment: None, trouble: None };
        Self {
            config,
            state: State::New,
            seen_at: now.monotonic,
            store: None,
            published: Presence {
                status: PresenceStatus::Offline,
                since: now.wall,
                because,
                version,
                epoch,
            },
        }
    }

    /// The connection of an agent that had a session with an earlier run of this server: nothing is
    /// online without a session, so its return is awaited.
    pub fn recovered(
        config: ServerConfig,
        version: PresenceVersion,
        epoch: Epoch,
        now: Now,
    ) -> (Self, Step<ServerAction>) {
        let mut this = Self::new(config, version, epoch, now);
        let until = now.monotonic.saturating_add(config.resume_window);
        this.state = State::Away(Away { timed_out: false, until });
        let mut did = Did::none();
        this.publish(PresenceCause::ServerRestarted, now.wall, &mut did);
        let deadline = this.deadline();
        (this, Step { actions: did, deadline })
    }

    /// Takes one event at one moment and answers what to do and when to wake.
    ///
    /// Total: every event is allowed in every state. An event that names a link which is neither
    /// the current one nor the one that is joining changes nothing.
    pub fn handle(&mut self, event: ServerEvent, now: Now) -> Step<ServerAction> {
        let at = now.monotonic.max(self.seen_at);
        let now = Now { monotonic: at, ..now };
        let mut did = Did::none();
        self.forgive_absence(at, &mut did);
        self.seen_at = at;
        match event {
            ServerEvent::Joined { link, dialect, claimant } => {
                let give_up_at = at.saturating_add(self.config.admission_timeout);
                self.joined(Joining { link, dialect, claimant, give_up_at }, now, &mut did);
            }
            ServerEvent::Admitted { link, epoch } => self.admitted(link, epoch, now, &mut did),
            ServerEvent::Rejected { link, cause } => self.rejected(link, cause, now, &mut did),
            ServerEvent::Received(link, frame) => self.received(link, frame, now, &mut did),
            ServerEvent::Recorded { epoch, sequence, at } => {
                self.recorded(epoch, sequence, at, now, &mut did);
            }
            ServerEvent::Store(trouble) => {
                self.store = trouble;
                self.review(now, &mut did);
            }
            ServerEvent::Faulted(link) => self.faulted(link, now, &mut did),
            ServerEvent::LinkDown(link, reason) => self.link_down(link, reason, now, &mut did),
            ServerEvent::Evict(cause) => self.evict(cause, now, &mut did),
            ServerEvent::Wake => self.wake(now, &mut did),
        }
        Step { actions: did, deadline: self.deadline().after(at) }
    }

    /// The machine as it is, without its configuration.
    pub const fn snapshot(&self) -> ServerSnapshot {
        ServerSnapshot {
            state: self.state,
            seen_at: self.seen_at,
            store: self.store,
            published: self.published,
        }
    }

    /// The machine that this snapshot was taken of, if `config` is the one it lived by.
    pub const fn restore(config: ServerConfig, snapshot: ServerSnapshot) -> Self {
        let ServerSnapshot { state, seen_at, store, published } = snapshot;
        Self { config, state, seen_at, store, published }
    }

    /// What the world is told of the agent.
    pub fn presence(&self) -> Presence {
        self.published
    }

    /// The link of the session, if it has one.
    pub fn link(&self) -> Option<LinkId> {
        match &self.state {
            State::Live(s, _) => Some(s.link),
            State::New | State::Joining(..) | State::Away(_) | State::Gone => None,
        }
    }

    /// What the agent of the live session speaks.
    pub fn dialect(&self) -> Option<Dialect> {
        match &self.state {
            State::Live(s, _) => Some(s.dialect),
            State::New | State::Joining(..) | State::Away(_) | State::Gone => None,
        }
    }

    /// When to call with [`ServerEvent::Wake`] if nothing else comes first. `Never` only before the
    /// first hello and when gone.
    pub fn deadline(&self) -> Deadline {
        match &self.state {
            State::Joining(j, _) => Deadline::At(j.give_up_at),
            State::Live(s, challenger) => {
                let join = challenger.map_or(Deadline::Never, |j| Deadline::At(j.give_up_at));
                s.deadline(self.published.because.impairment).min(join)
            }
            State::Away(a) => Deadline::At(a.until),
            State::New | State::Gone => Deadline::Never,
        }
    }

    /// Time in which nobody was here is nobody's delay: it is added to every wait. (In a session the
    /// monitor does so, and says so.)
    fn forgive_absence(&mut self, at: Timestamp, did: &mut Did) {
        let late = self.deadline().overdue_by(at);
        if late <= OVERSLEEP_TOLERANCE {
            return;
        }
        let absence = at.saturating_since(self.seen_at);
        let lengthen = |until: &mut Timestamp| *until = until.saturating_add(absence);
        match &mut self.state {
            State::Joining(joining, away) => {
                lengthen(&mut joining.give_up_at);
                if let Some(away) = away {
                    lengthen(&mut away.until);
                }
                did.push(ServerAction::Overslept(late));
            }
            State::Away(away) => {
                lengthen(&mut away.until);
                did.push(ServerAction::Overslept(late));
            }
            State::Live(session, challenger) => {
                let since = [&mut session.unrecorded_since, &mut session.unanswered_probe];
                since.into_iter().flatten().for_each(lengthen);
                if let Some(challenger) = challenger {
                    lengthen(&mut challenger.give_up_at);
                }
            }
            State::New | State::Gone => {}
        }
    }

    fn joined(&mut self, joining: Joining, now: Now, did: &mut Did) {
        if self.state == State::Gone {
            return;
        }
        did.push(ServerAction::Admit(joining.link));
        match self.state {
            State::Live(session, earlier) => {
                if let Some(earlier) = earlier {
                    did.push(ServerAction::Close(earlier.link, CloseCause::Superseded));
                }
                self.state = State::Live(session, Some(joining));
            }
            State::Joining(earlier, away) => {
                did.push(ServerAction::Close(earlier.link, CloseCause::Superseded));
                self.state = State::Joining(joining, away);
            }
            State::Away(away) => {
                self.state = State::Joining(joining, Some(away));
                self.publish(PresenceCause::HelloReceived, now.wall, did);
            }
            State::New | State::Gone => {
                self.state = State::Joining(joining, None);
                self.publish(PresenceCause::HelloReceived, now.wall, did);
            }
        }
    }

    fn admitted(&mut self, link: LinkId, epoch: Epoch, now: Now, did: &mut Did) {
        let (joining, cause) = match self.state {
            State::Joining(j, _) if j.link == link => (j, PresenceCause::SessionOpened),
            State::Live(old, Some(j)) if j.link == link => {
                let (cause, close) = match (j.claimant, old.dialect) {
                    (Claimant::SameProcess, _) => {
                        (PresenceCause::TakenOver, CloseCause::Superseded)
                    }
                    (Claimant::OtherProcess, Dialect::Extended) => {
                        (PresenceCause::ReplacedOther, CloseCause::Replaced)
                    }
                    // The one code that keeps a legacy wrapper away.
                    (Claimant::OtherProcess, Dialect::Legacy) => {
                        (PresenceCause::ReplacedOther, CloseCause::Normal)
                    }
                };
                did.push(ServerAction::Close(old.link, close));
                (j, cause)
            }
            // The session was opened for a link that is not wanted any more; its epoch is spent,
            // and the next one is greater.
            State::New | State::Joining(..) | State::Live(..) | State::Away(_) | State::Gone => {
                return;
            }
        };
        let mut session = Session::new(joining, &self.config, now.monotonic);
        did.push(ServerAction::Welcome { link, epoch });
        let probe = session.beat(now.monotonic, self.store);
        self.state = State::Live(session, None);
        self.published.epoch = epoch;
        self.publish(cause, now.wall, did);
        did.push(probe);
    }

    fn rejected(&mut self, link: LinkId, cause: CloseCause, now: Now, did: &mut Did) {
        match self.state {
            State::Joining(j, away) if j.link == link => {
                did.push(ServerAction::Close(link, cause));
                self.end_joining(away, PresenceCause::NotAdmitted(cause), now, did);
            }
            State::Live(session, Some(j)) if j.link == link => {
                did.push(ServerAction::Close(link, cause));
                self.state = State::Live(session, None);
            }
            State::New | State::Joining(..) | State::Live(..) | State::Away(_) | State::Gone => {}
        }
    }

    fn end_joining(&mut self, away: Option<Away>, cause: PresenceCause, now: Now, did: &mut Did) {
        match away {
            Some(away) if away.until > now.monotonic => {
                self.state = State::Away(away);
                self.publish(cause, now.wall, did);
            }
            Some(_) | None => self.go(cause, now, did),
        }
    }

    fn received(&mut self, link: LinkId, frame: ServerInbound, now: Now, did: &mut Did) {
        let State::Live(mut s, challenger) = self.state else { return };
        if s.link != link {
            return;
        }
        let at = now.monotonic;
        let observed = s.monitor.on_received(at);
        if let Some(late) = observed.overslept {
            did.push(ServerAction::Overslept(late));
        }
        if let Some(sequence) = s.note(frame, at) {
            did.push(ServerAction::Record { epoch: self.published.epoch, sequence });
        }
        self.state = State::Live(s, challenger);
        if observed.changed == Some(Liveness::Live) {
            self.publish(PresenceCause::HeardAgain, now.wall, did);
        } else {
            self.review(now, did);
        }
    }

    fn recorded(
        &mut self,
        epoch: Epoch,
        sequence: BeatSequence,
        received_at: WallTime,
        now: Now,
        did: &mut Did,
    ) {
        let State::Live(mut s, challenger) = self.state else { return };
        if epoch != self.published.epoch || s.recorded.is_some_and(|(held, _)| held >= sequence) {
            return;
        }
        s.recorded = Some((sequence, received_at));
        s.note_recorded(sequence, now.monotonic);
        if s.unrecorded_since.is_none() && s.answer_due.is_some() {
            did.push(s.beat(now.monotonic, self.store));
        }
        self.state = State::Live(s, challenger);
        self.review(now, did);
    }

    fn faulted(&mut self, link: LinkId, now: Now, did: &mut Did) {
        if let State::Live(s, _) = &mut self.state
            && s.link == link
            && !s.faulted
        {
            s.faulted = true;
            self.publish(PresenceCause::Faulted, now.wall, did);
        }
    }

    fn link_down(&mut self, link: LinkId, reason: CloseReason, now: Now, did: &mut Did) {
        match self.state {
            State::Live(s, challenger) if s.link == link => {
                let stopped = reason.initiator == Initiator::Peer
                    && matches!(reason.cause, CloseCause::AgentStopped | CloseCause::Normal);
                match challenger {
                    Some(j) => {
                        let away = self.away(false, now.monotonic);
                        self.state = State::Joining(j, Some(away));
                        self.publish(PresenceCause::HelloReceived, now.wall, did);
                    }
                    None if stopped => self.go(PresenceCause::AgentStopped, now, did),
                    None => {
                        self.state = State::Away(self.away(false, now.monotonic));
                        self.publish(PresenceCause::LinkEnded(reason), now.wall, did);
                    }
                }
            }
            State::Live(s, Some(j)) if j.link == link => self.state = State::Live(s, None),
            State::Joining(j, away) if j.link == link => {
                self.end_joining(away, PresenceCause::LinkEnded(reason), now, did);
            }
            State::New | State::Joining(..) | State::Live(..) | State::Away(_) | State::Gone => {}
        }
    }

    fn evict(&mut self, cause: CloseCause, now: Now, did: &mut Did) {
        match self.state {
            State::Joining(j, _) => did.push(ServerAction::Close(j.link, cause)),
            State::Live(s, challenger) => {
                did.push(ServerAction::Close(s.link, cause));
                if let Some(j) = challenger {
                    did.push(ServerAction::Close(j.link, cause));
                }
            }
            State::New | State::Away(_) => {}
            State::Gone => return,
        }
        self.go(PresenceCause::Evicted(cause), now, did);
    }

    fn wake(&mut self, now: Now, did: &mut Did) {
        let at = now.monotonic;
        match self.state {
            State::Joining(j, away) if j.give_up_at <= at => {
                did.push(ServerAction::Close(j.link, CloseCause::TryLater));
                let cause = PresenceCause::NotAdmitted(CloseCause::TryLater);
                self.end_joining(away, cause, now, did);
            }
            State::Away(a) if a.until <= at => {
                let window = self.config.resume_window;
                self.go(PresenceCause::ResumeWindowOver(window), now, did);
            }
            State::Live(s, Some(j)) if j.give_up_at <= at => {
                did.push(ServerAction::Close(j.link, CloseCause::TryLater));
                self.state = State::Live(s, None);
            }
            State::Live(s, challenger) => self.wake_session(s, challenger, now, did),
            State::New | State::Joining(..) | State::Away(_) | State::Gone => {}
        }
    }

    fn wake_session(&mut self, mut s: Session, other: Option<Joining>, now: Now, did: &mut Did) {
        let at = now.monotonic;
        let observed = s.monitor.on_wake(at);
        if let Some(late) = observed.overslept {
            did.push(ServerAction::Overslept(late));
        }
        let timing = s.monitor.timing();
        if observed.changed == Some(Liveness::TimedOut) {
            did.push(ServerAction::Close(s.link, CloseCause::Silent));
            let away = self.away(true, at);
            self.state = match other {
                Some(j) => State::Joining(j, Some(away)),
                None => State::Away(away),
            };
            let cause = PresenceCause::Silence(timing.timeout_after());
            return self.publish(cause, now.wall, did);
        }
        if s.beat_is_due(at) {
            did.push(s.beat(at, self.store));
        }
        self.state = State::Live(s, other);
        if observed.changed == Some(Liveness::Stale) {
            self.publish(PresenceCause::Silence(timing.stale_after()), now.wall, did);
        } else {
            self.review(now, did);
        }
    }

    /// Names what ails the session, or that it is over. Status and since stay.
    fn review(&mut self, now: Now, did: &mut Did) {
        let State::Live(s, _) = &self.state else { return };
        let impairment = s.diagnose(now.monotonic);
        let trouble = self.trouble(impairment);
        let shown = &self.published.because;
        if (shown.impairment, shown.trouble) != (impairment, trouble) {
            self.publish(self.published.because.cause, now.wall, did);
        }
    }

    fn trouble(&self, impairment: Option<Impairment>) -> Option<StoreTrouble> {
        match impairment {
            Some(Impairment::NotRecorded) => Some(self.store.unwrap_or(StoreTrouble::Slow)),
            Some(Impairment::NotSeenByPeer | Impairment::ProbeUnanswered) | None => None,
        }
    }

    fn go(&mut self, cause: PresenceCause, now: Now, did: &mut Did) {
        self.state = State::Gone;
        self.publish(cause, now.wall, did);
        did.push(ServerAction::Forget);
    }

    fn away(&self, timed_out: bool, at: Timestamp) -> Away {
        Away { timed_out, until: at.saturating_add(self.config.resume_window) }
    }

    fn publish(&mut self, cause: PresenceCause, wall: WallTime, did: &mut Did) {
        let (status, impairment) = match &self.state {
            State::Joining(..) => (PresenceStatus::Connecting, None),
            State::Live(s, _) => (s.status(), s.diagnose(self.seen_at)),
            State::Away(Away { timed_out: true, .. }) => (PresenceStatus::TimedOut, None),
            State::Away(Away { timed_out: false, .. }) => (PresenceStatus::Reconnecting, None),
            State::New | State::Gone => (PresenceStatus::Offline, None),
        };
        let since = if status == self.published.status { self.published.since } else { wall };
        let because = Because { cause, impairment, trouble: self.trouble(impairment) };
        let version = self.published.version.next();
        self.published = Presence { status, since, because, version, ..self.published };
        did.push(ServerAction::Report(self.published));
    }
}

impl Session {
    fn new(joining: Joining, config: &ServerConfig, at: Timestamp) -> Self {
        Self {
            link: joining.link,
            dialect: joining.dialect,
            monitor: HeartbeatMonitor::new(config.timing, at),
            beats: BeatLedger::new(config.timing, at),
            faulted: false,
            unseen_by_agent: false,
            heard: BeatSequence(0),
            recorded: None,
            unrecorded_since: None,
            answer_due: None,
            unanswered_probe: None,
        }
    }

    fn status(&self) -> PresenceStatus {
        match (self.monitor.liveness(), self.faulted) {
            (Liveness::Live, false) => PresenceStatus::Online,
            (Liveness::Live, true) => PresenceStatus::Error,
            (Liveness::Stale | Liveness::TimedOut, _) => PresenceStatus::Stale,
        }
    }

    /// Takes note of a frame; a heartbeat comes back with the number to record it under.
    fn note(&mut self, frame: ServerInbound, at: Timestamp) -> Option<BeatSequence> {
        let sequence = match frame {
            ServerInbound::Other => return None,
            ServerInbound::Pong => {
                self.unanswered_probe = None;
                match self.dialect {
                    Dialect::Legacy => self.heard.next(),
                    Dialect::Extended => return None,
                }
            }
            ServerInbound::Heartbeat { sequence, seen } => {
                self.unseen_by_agent = self.dialect == Dialect::Extended
                    && self
                        .beats
                        .confirmation_due(seen.unwrap_or_default(), self.unseen_patience())
                        .is_due(at);
                self.answer_due = self.answer_due.or(Some(at.saturating_add(self.grace())));
                sequence.unwrap_or(self.heard.next())
            }
        };
        self.heard = self.heard.max(sequence);
        self.beats.on_heard(sequence, at);
        self.unrecorded_since = self.unrecorded_since.or(Some(at));
        Some(sequence)
    }

    /// The store holds the beats up to this one. Beats come once an interval, so the arrival of the
    /// oldest one that it does not hold follows from that of the latest.
    fn note_recorded(&mut self, sequence: BeatSequence, at: Timestamp) {
        let behind = self.heard.0.saturating_sub(sequence.0);
        self.unrecorded_since = match self.beats.seen(at) {
            Some(latest) if behind > 0 => {
                let earlier = u32::try_from(behind - 1).unwrap_or(u32::MAX);
                let interval = self.monitor.timing().interval();
                let age = latest.age.saturating_add(interval.saturating_mul(earlier));
                self.unrecorded_since.map(|since| since.max(at.saturating_sub(age)))
            }
            Some(_) | None => None,
        };
    }

    fn grace(&self) -> Duration {
        self.monitor.timing().recording_grace()
    }

    fn beat_is_due(&self, at: Timestamp) -> bool {
        self.beats.due().is_due(at) || self.answer_due.is_some_and(|due| due <= at)
    }

    fn beat(&mut self, at: Timestamp, store: Option<StoreTrouble>) -> ServerAction {
        let answering = self.answer_due.take().is_some();
        match self.dialect {
            Dialect::Legacy if !answering => {
                let _ = self.beats.send(at);
                self.unanswered_probe = self.unanswered_probe.or(Some(at));
                ServerAction::SendPing(self.link)
            }
            Dialect::Legacy | Dialect::Extended => ServerAction::SendBeat {
                link: self.link,
                beat: BeatOut {
                    sequence: self.beats.send(at),
                    seen: self.beats.seen(at),
                    recorded: self.recorded,
                    lag: self.lag(at).map(|age| (age, store.unwrap_or(StoreTrouble::Slow))),
                },
            },
        }
    }

    /// For how long the oldest unrecorded beat has waited, if that is longer than it may.
    fn lag(&self, at: Timestamp) -> Option<Duration> {
        let age = at.saturating_since(self.unrecorded_since?);
        (age >= self.grace()).then_some(age)
    }

    fn diagnose(&self, at: Timestamp) -> Option<Impairment> {
        if self.lag(at).is_some() {
            Some(Impairment::NotRecorded)
        } else if self.unseen_by_agent {
            Some(Impairment::NotSeenByPeer)
        } else if self.monitor.liveness() == Liveness::Live
            && self
                .unanswered_probe
                .is_some_and(|sent| at.saturating_since(sent) >= self.probe_patience())
        {
            Some(Impairment::ProbeUnanswered)
        } else {
            None
        }
    }

    /// The agent confirms our beats with its own next one, up to an interval later; half of one
    /// more allows for the way. Judged only when a heartbeat of the agent comes.
    fn unseen_patience(&self) -> Duration {
        self.monitor.timing().interval().saturating_mul(3) / 2
    }

    /// Two probes and a half without an answer, while other frames come.
    fn probe_patience(&self) -> Duration {
        self.monitor.timing().interval().saturating_mul(5) / 2
    }

    fn deadline(&self, shown: Option<Impairment>) -> Deadline {
        let mut next = self.monitor.deadline().min(self.beats.due());
        if let Some(due) = self.answer_due {
            next = next.min(Deadline::At(due));
        }
        let lag = self
            .unrecorded_since
            .filter(|_| shown != Some(Impairment::NotRecorded))
            .map(|since| since.saturating_add(self.grace()));
        let probe = self
            .unanswered_probe
            .filter(|_| shown.is_none() && self.monitor.liveness() == Liveness::Live)
            .map(|sent| sent.saturating_add(self.probe_patience()));
        for due in [lag, probe].into_iter().flatten() {
            next = next.min(Deadline::At(due));
        }
        next
    }
}
