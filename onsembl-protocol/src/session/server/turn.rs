//! One event at one moment: who takes it, what is published of it, and when to wake next.

use super::super::server_types::{
    Presence, PresenceCause, PresenceStatus, ServerAction, ServerConfig, ServerEvent, StatusCause,
    StoreTrouble,
};
use super::session::{Joining, Session};
use super::state::{Absence, Away, ServerCold, ServerHot, State};
use crate::id::LinkId;
use crate::liveness::{Impairment, overslept};
use crate::model::HeartbeatTiming;
use crate::step::Actions;
use crate::time::{Deadline, Now, Timestamp, WallTime};
use core::time::Duration;

/// The parts of a machine while it takes an event.
pub(super) struct Turn<'a> {
    pub(super) config: &'a ServerConfig,
    pub(super) hot: &'a mut ServerHot,
    pub(super) cold: &'a mut ServerCold,
    /// The moment, not before the event that came before.
    pub(super) at: Timestamp,
    /// What the wall said then.
    pub(super) wall: WallTime,
    /// Whether this event was a look at the link of the session.
    pub(super) looked: bool,
    pub(super) out: &'a mut Actions<ServerAction>,
}

/// Takes an event, adds what is to be done to `out`, and says when to wake the machine.
#[inline]
pub(crate) fn handle(
    config: &ServerConfig,
    hot: &mut ServerHot,
    cold: &mut ServerCold,
    event: ServerEvent,
    now: Now,
    out: &mut Actions<ServerAction>,
) -> Deadline {
    let at = now.monotonic.max(hot.seen_at);
    let mut turn = Turn { config, hot, cold, at, wall: now.wall, looked: false, out };
    turn.forgive_absence();
    turn.take(event);
    turn.settle();
    armed(config, hot, cold)
}

/// When the machine wants to be woken.
#[inline]
pub(super) fn deadline(config: &ServerConfig, hot: &ServerHot, cold: &ServerCold) -> Deadline {
    match &hot.state {
        State::Connecting(joining, _) => Deadline::At(joining.give_up_at),
        State::Online(session) => {
            let own = session.deadline(config.timing, hot.seen_at, &cold.session);
            match cold.challenger_of(session) {
                Some(challenger) => own.min(Deadline::At(challenger.give_up_at)),
                None => own,
            }
        }
        State::Reconnecting(away) => Deadline::At(away.until),
        State::Offline | State::Closed => Deadline::Never,
    }
}

/// The deadline that the latest event left: later than that event.
#[inline]
pub(crate) fn armed(config: &ServerConfig, hot: &ServerHot, cold: &ServerCold) -> Deadline {
    deadline(config, hot, cold).after(hot.seen_at)
}

/// Begins with an agent that is away.
pub(super) fn await_return(
    config: &ServerConfig,
    hot: &mut ServerHot,
    cold: &mut ServerCold,
    cause: PresenceCause,
    now: Now,
    out: &mut Actions<ServerAction>,
) {
    let (at, wall) = (now.monotonic, now.wall);
    let mut turn = Turn { config, hot, cold, at, wall, looked: false, out };
    turn.hot.state = State::Reconnecting(turn.away(Absence::LinkEnded));
    turn.publish(cause);
}

impl Turn<'_> {
    #[inline]
    fn take(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::Received(link, frame) => self.received(link, frame),
            ServerEvent::Wake => self.wake(),
            ServerEvent::Recorded { epoch, sequence, at } => self.recorded(epoch, sequence, at),
            ServerEvent::Joined { link, dialect, claimant } => {
                let give_up_at = self.at().saturating_add(self.config.admission_timeout);
                self.joined(Joining { link, dialect, claimant, give_up_at });
            }
            ServerEvent::Admitted { link, epoch } => self.admitted(link, epoch),
            ServerEvent::Rejected { link, cause } => self.rejected(link, cause),
            ServerEvent::Store(trouble) => self.store(trouble),
            ServerEvent::Faulted(link) => self.faulted(link),
            ServerEvent::LinkDown(link, reason) => self.link_down(link, reason),
            ServerEvent::Evict(cause) => self.evict(cause),
        }
    }

    pub(super) const fn at(&self) -> Timestamp {
        self.at
    }

    pub(super) const fn timing(&self) -> HeartbeatTiming {
        self.config.timing
    }

    /// Time in which this process did not run is no peer's delay: it is added to every wait. (In a session the
    /// monitor does so, and says so.)
    #[inline]
    fn forgive_absence(&mut self) {
        let due = deadline(self.config, self.hot, self.cold);
        if let Some(late) = overslept(due, self.at()) {
            self.forgive(late);
        }
    }

    #[cold]
    fn forgive(&mut self, late: Duration) {
        let absence = self.at().saturating_since(self.hot.seen_at);
        let lengthen = |until: &mut Timestamp| *until = until.saturating_add(absence);
        match &mut self.hot.state {
            State::Connecting(joining, away) => {
                lengthen(&mut joining.give_up_at);
                if let Some(away) = away {
                    lengthen(&mut away.until);
                }
                self.out.push(ServerAction::Overslept(late));
            }
            State::Reconnecting(away) => {
                lengthen(&mut away.until);
                self.out.push(ServerAction::Overslept(late));
            }
            State::Online(session) => {
                session.forgive(absence);
                if let Some(challenger) = self.cold.challenger_of_mut(session) {
                    lengthen(&mut challenger.give_up_at);
                }
            }
            State::Offline | State::Closed => {}
        }
    }

    /// Notes when the latest event was, and apart from it the last look at the link, if this event
    /// was none.
    #[inline]
    fn settle(&mut self) {
        let at = self.at();
        if let State::Online(session) = &mut self.hot.state
            && session.looked
            && !self.looked
            && at > self.hot.seen_at
        {
            session.looked = false;
            self.cold.session.looked_at = self.hot.seen_at;
        }
        self.hot.seen_at = at;
    }

    fn store(&mut self, trouble: Option<StoreTrouble>) {
        self.cold.store = trouble;
        let State::Online(session) = &self.hot.state else { return };
        let impairment = session.diagnose(self.timing(), self.at());
        let shown = &self.cold.published.because;
        if (shown.impairment, shown.trouble) != (impairment, self.trouble(impairment)) {
            self.publish(shown.cause);
        }
    }

    /// Names the impairment of the session, or that it is over. Status and since stay. (Why the store does
    /// not record is compared where the store says so.)
    #[inline]
    pub(super) fn review(&mut self) {
        let State::Online(session) = &self.hot.state else { return };
        // Published only when it changes: a version for each beat would flood readers.
        if session.diagnose(self.timing(), self.at()) != session.shown {
            self.publish(self.cold.published.because.cause);
        }
    }

    fn trouble(&self, impairment: Option<Impairment>) -> Option<StoreTrouble> {
        match impairment {
            Some(Impairment::NotRecorded) => Some(self.cold.store.unwrap_or(StoreTrouble::Slow)),
            Some(Impairment::NotSeenByPeer | Impairment::ProbeUnanswered) | None => None,
        }
    }

    pub(super) fn away(&self, why: Absence) -> Away {
        Away { why, until: self.at().saturating_add(self.config.resume_window) }
    }

    pub(super) fn go(&mut self, cause: PresenceCause) {
        self.hot.state = State::Closed;
        self.publish(cause);
        self.out.push(ServerAction::Forget);
    }

    #[inline(never)]
    pub(super) fn publish(&mut self, cause: PresenceCause) {
        let (timing, at) = (self.timing(), self.at());
        let (status, impairment) = match &mut self.hot.state {
            State::Connecting(..) => (PresenceStatus::Connecting, None),
            State::Online(session) => {
                session.shown = session.diagnose(timing, at);
                (session.status(&self.cold.session), session.shown)
            }
            State::Reconnecting(Away { why: Absence::TimedOut, .. }) => {
                (PresenceStatus::TimedOut, None)
            }
            State::Reconnecting(Away { why: Absence::LinkEnded, .. }) => {
                (PresenceStatus::Reconnecting, None)
            }
            State::Offline | State::Closed => (PresenceStatus::Offline, None),
        };
        let trouble = self.trouble(impairment);
        let old = &self.cold.published;
        let since = if status == old.status { old.since } else { self.wall };
        let because = StatusCause { cause, impairment, trouble };
        let version = self.config.numbering.after(old.version, old.epoch);
        self.cold.published = Presence { status, since, because, version, epoch: old.epoch };
        self.out.push(ServerAction::Report(self.cold.published));
    }

    /// The session, if this link is its own.
    #[inline]
    pub(super) fn session_over(&mut self, link: LinkId) -> Option<&mut Session> {
        match &mut self.hot.state {
            State::Online(session) if session.link == link => Some(session),
            State::Offline
            | State::Connecting(..)
            | State::Online(_)
            | State::Reconnecting(_)
            | State::Closed => None,
        }
    }
}
