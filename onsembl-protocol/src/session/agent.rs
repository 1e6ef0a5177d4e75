//! The agent's end of its connection: idle, connecting, joining, connected, stale, timed-out,
//! reconnecting, closed.
//!
//! [`AgentConnection`] decides when to dial, when to send a heartbeat, when to drop a link and when to stop
//! permanently. It never sees bytes: the driver reports the kind of each frame and performs the actions.

mod session;

use super::agent_types::{
    AgentAction, AgentCause, AgentConfig, AgentEvent, AgentInbound, AgentReport, AgentStatus,
    EndOrder, HelloRefusal, TokenUse,
};
use super::dial::DialFailure;
use crate::close::{CloseCause, CloseReason, ComeBack, Initiator};
use crate::id::LinkId;
use crate::liveness::{Backoff, Impairment, Liveness};
use crate::model::Dialect;
use crate::step::{Actions, Step};
use crate::time::{Deadline, Now, Timestamp};
use core::time::Duration;
use serde::{Deserialize, Serialize};
use session::{News, Session};

/// A gap between the boot clock and the monotonic clock from which the host counts as having slept.
const SLEPT: Duration = Duration::from_secs(1);

/// The agent's end of its connection, over all its links. A [reducer](crate::step#two-contracts).
#[derive(Clone, Debug)]
pub struct AgentConnection {
    config: AgentConfig,
    backoff: Backoff,
    attempts: u32,
    next_link: LinkId,
    seen_at: Option<Now>,
    state: State,
}

/// The data of each state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Idle,
    Connecting(Connecting),
    Joining(Joining),
    #[serde(rename = "Live")]
    Connected(Session),
    #[serde(rename = "Waiting")]
    Reconnecting(Waiting),
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Connecting {
    link: LinkId,
    attempt: u32,
    give_up_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Joining {
    link: LinkId,
    give_up_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "RecordedWaiting", into = "RecordedWaiting")]
struct Waiting {
    why: Wait,
    dial_at: Timestamp,
}

/// Why the next dial is not made at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// The attempt before failed, or the link ended.
    Backoff,
    /// The link was silent, and was given up.
    TimedOut,
    /// The server asked for so much time.
    ServerAsked,
    /// The server refused the token: another one ends the wait.
    RefusedToken,
}

/// [`Waiting`] as recordings have it.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct RecordedWaiting {
    timed_out: bool,
    at_servers_wish: bool,
    #[serde(default)]
    refused_token: bool,
    dial_at: Timestamp,
}

impl From<RecordedWaiting> for Waiting {
    fn from(recorded: RecordedWaiting) -> Self {
        let why = match (recorded.timed_out, recorded.at_servers_wish, recorded.refused_token) {
            (true, _, _) => Wait::TimedOut,
            (false, true, _) => Wait::ServerAsked,
            (false, false, true) => Wait::RefusedToken,
            (false, false, false) => Wait::Backoff,
        };
        Self { why, dial_at: recorded.dial_at }
    }
}

impl From<Waiting> for RecordedWaiting {
    fn from(waiting: Waiting) -> Self {
        Self {
            timed_out: waiting.why == Wait::TimedOut,
            at_servers_wish: waiting.why == Wait::ServerAsked,
            refused_token: waiting.why == Wait::RefusedToken,
            dial_at: waiting.dial_at,
        }
    }
}

/// The state of an [`AgentConnection`] without its configuration, for storing and restoring only: its shape may
/// change with each version of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSnapshot {
    backoff: Backoff,
    attempts: u32,
    next_link: LinkId,
    seen_at: Option<Now>,
    state: State,
}

type Out = Actions<AgentAction>;

impl AgentConnection {
    /// An idle connection. `seed` makes the dial times of this agent differ from any other's.
    ///
    /// ```
    /// use onsembl_protocol::session::{AgentConfig, AgentConnection, AgentStatus};
    ///
    /// let agent = AgentConnection::new(AgentConfig::DEFAULT, 42);
    /// assert_eq!(agent.status(), AgentStatus::Idle);
    /// ```
    pub fn new(config: AgentConfig, seed: u64) -> Self {
        Self {
            backoff: Backoff::new(config.backoff, seed),
            config,
            attempts: 0,
            next_link: LinkId(1),
            seen_at: None,
            state: State::Idle,
        }
    }

    /// Handles one event at one moment; returns the actions and the next deadline.
    ///
    /// Total: every event is allowed in every state. An event that names a link which is not the
    /// current one changes nothing.
    ///
    /// ```
    /// use onsembl_protocol::id::LinkId;
    /// use onsembl_protocol::session::{AgentConfig, AgentConnection, AgentEvent, DialFailure};
    /// use onsembl_protocol::time::Now;
    /// use std::time::Duration;
    ///
    /// let at = |seconds| Now::without_suspend(Duration::from_secs(seconds));
    /// let mut agent = AgentConnection::new(AgentConfig::DEFAULT, 42);
    /// let _dial = agent.handle(AgentEvent::Start, at(0));
    /// let step = agent.handle(AgentEvent::DialFailed(LinkId(1), DialFailure::Unreachable), at(1));
    /// assert_eq!(agent.status().as_str(), "reconnecting");
    /// assert_eq!(step.deadline, agent.deadline());
    /// ```
    pub fn handle(&mut self, event: AgentEvent, now: Now) -> Step<AgentAction> {
        let mut out = Out::none();
        let before = self.seen_at.unwrap_or(now);
        let now = now.not_before(&before);
        let at = now.monotonic;
        self.seen_at = Some(now);
        // An agent that ends must not report a sleep or wait for a dial first.
        if !matches!(event, AgentEvent::Stop | AgentEvent::EndOrdered(_)) {
            self.notice_sleep(now.suspended_since(&before), at, &mut out);
        }
        match event {
            AgentEvent::Start => self.start(at, &mut out),
            AgentEvent::LinkUp(link) => self.link_up(link, at, &mut out),
            AgentEvent::DialFailed(link, failure) => self.dial_failed(link, failure, at, &mut out),
            AgentEvent::Received(link, frame) => self.received(link, frame, at, &mut out),
            AgentEvent::LinkDown(link, reason) => self.link_down(link, reason, at, &mut out),
            AgentEvent::News => self.news(at, &mut out),
            AgentEvent::TokenChanged => self.token_changed(at, &mut out),
            AgentEvent::Stop => self.stop(None, &mut out),
            AgentEvent::EndOrdered(order) => self.stop(Some(order), &mut out),
            AgentEvent::Wake => self.wake(at, &mut out),
        }
        Step { actions: out, deadline: self.deadline().after(at) }
    }

    /// A snapshot of the machine, without its configuration.
    pub(crate) const fn snapshot(&self) -> AgentSnapshot {
        AgentSnapshot {
            backoff: self.backoff,
            attempts: self.attempts,
            next_link: self.next_link,
            seen_at: self.seen_at,
            state: self.state,
        }
    }

    /// Restores the machine of a snapshot; `config` must be its configuration.
    pub(crate) const fn restore(config: AgentConfig, snapshot: AgentSnapshot) -> Self {
        let AgentSnapshot { backoff, attempts, next_link, seen_at, state } = snapshot;
        Self { config, backoff, attempts, next_link, seen_at, state }
    }

    /// Where the connection is.
    pub fn status(&self) -> AgentStatus {
        match self.state {
            State::Idle => AgentStatus::Idle,
            State::Connecting(s) => AgentStatus::Connecting { attempt: s.attempt },
            State::Joining(_) => AgentStatus::Joining,
            State::Connected(s) => match s.monitor.liveness() {
                Liveness::Live => AgentStatus::Connected { epoch: s.epoch },
                Liveness::Stale | Liveness::TimedOut => AgentStatus::Stale { epoch: s.epoch },
            },
            State::Reconnecting(Waiting { why: Wait::TimedOut, dial_at }) => {
                AgentStatus::TimedOut { retry_at: dial_at }
            }
            State::Reconnecting(Waiting {
                why: Wait::Backoff | Wait::ServerAsked | Wait::RefusedToken,
                dial_at,
            }) => AgentStatus::Reconnecting { retry_at: dial_at },
            State::Closed => AgentStatus::Closed,
        }
    }

    /// When to call with [`AgentEvent::Wake`] unless another event comes first. `Never` only in
    /// [`AgentStatus::Idle`] and [`AgentStatus::Closed`].
    pub fn deadline(&self) -> Deadline {
        match &self.state {
            State::Idle | State::Closed => Deadline::Never,
            State::Connecting(s) => Deadline::At(s.give_up_at),
            State::Joining(s) => Deadline::At(s.give_up_at),
            State::Reconnecting(s) => Deadline::At(s.dial_at),
            State::Connected(s) => s.deadline(),
        }
    }

    /// The current fault of the session, if any.
    pub fn impairment(&self) -> Option<Impairment> {
        match &self.state {
            State::Connected(s) => s.impairment,
            State::Idle
            | State::Connecting(_)
            | State::Joining(_)
            | State::Reconnecting(_)
            | State::Closed => None,
        }
    }

    /// The use of another token. While there is one, the driver polls the source of tokens, and feeds
    /// [`AgentEvent::TokenChanged`] when there is another one.
    #[must_use]
    pub fn token_use(&self) -> TokenUse {
        match &self.state {
            State::Reconnecting(Waiting { why: Wait::RefusedToken, .. }) => TokenUse::EndsTheWait,
            // A legacy server cannot tell a link that follows from another agent's.
            State::Connected(s) if s.dialect == Dialect::Extended => TokenUse::RenewsTheSession,
            State::Reconnecting(_)
            | State::Connected(_)
            | State::Idle
            | State::Connecting(_)
            | State::Joining(_)
            | State::Closed => TokenUse::None,
        }
    }

    fn report(&self, cause: AgentCause, out: &mut Out) {
        out.push(AgentAction::Report(AgentReport { status: self.status(), cause }));
    }

    fn start(&mut self, at: Timestamp, out: &mut Out) {
        if self.state == State::Idle {
            self.dial(AgentCause::Started, at, out);
        }
    }

    fn dial(&mut self, cause: AgentCause, at: Timestamp, out: &mut Out) {
        let link = self.next_link;
        self.next_link = link.next();
        self.attempts = self.attempts.saturating_add(1);
        self.state = State::Connecting(Connecting {
            link,
            attempt: self.attempts,
            give_up_at: at.saturating_add(self.config.dial_timeout),
        });
        out.push(AgentAction::Dial(link));
        self.report(cause, out);
    }

    fn link_up(&mut self, link: LinkId, at: Timestamp, out: &mut Out) {
        match self.state {
            State::Connecting(s) if s.link == link => {
                let give_up_at = at.saturating_add(self.config.hello_timeout);
                self.state = State::Joining(Joining { link, give_up_at });
                out.push(AgentAction::SendHello(link));
                self.report(AgentCause::LinkOpened, out);
            }
            State::Joining(Joining { link: current, .. })
            | State::Connected(Session { link: current, .. })
                if current == link => {}
            // A dial that was given up may still succeed; its socket must not live on as an orphan,
            // which its server would take for a second copy of the agent.
            State::Idle
            | State::Connecting(_)
            | State::Joining(_)
            | State::Connected(_)
            | State::Reconnecting(_)
            | State::Closed => out.push(AgentAction::Close(link, CloseCause::Superseded)),
        }
    }

    fn dial_failed(&mut self, link: LinkId, failure: DialFailure, at: Timestamp, out: &mut Out) {
        let State::Connecting(s) = self.state else { return };
        if s.link != link {
            return;
        }
        let cause = AgentCause::DialFailed(failure);
        match failure {
            DialFailure::Forbidden => self.close_for_good(cause, out),
            DialFailure::Unauthorized => self.wait_for_a_token(at, cause, out),
            DialFailure::Busy { retry_after: Some(wait) } => {
                let dial_at = self.backoff.next_attempt_after(at, wait);
                self.wait(Wait::ServerAsked, dial_at, cause, out);
            }
            DialFailure::Busy { retry_after: None }
            | DialFailure::Unreachable
            | DialFailure::TimedOut
            | DialFailure::NoToken
            | DialFailure::Tls
            | DialFailure::NotAServer(_) => self.wait_by_backoff(Wait::Backoff, at, cause, out),
        }
    }

    fn received(&mut self, link: LinkId, frame: AgentInbound, at: Timestamp, out: &mut Out) {
        match self.state {
            State::Joining(s) if s.link == link => self.received_joining(link, frame, at, out),
            State::Connected(mut s) if s.link == link => {
                s.received(frame, at, out);
                let revived = s.observe_frame(at, out);
                self.state = State::Connected(s);
                if revived {
                    self.report(AgentCause::HeardAgain, out);
                }
                if matches!(frame, AgentInbound::Heartbeat(_)) {
                    self.review(at, out);
                }
            }
            State::Idle
            | State::Connecting(_)
            | State::Joining(_)
            | State::Connected(_)
            | State::Reconnecting(_)
            | State::Closed => {}
        }
    }

    fn received_joining(
        &mut self,
        link: LinkId,
        frame: AgentInbound,
        at: Timestamp,
        out: &mut Out,
    ) {
        match frame {
            AgentInbound::HelloAccepted(terms) => {
                self.state = State::Connected(Session::new(link, terms, &self.config, at));
                self.report(AgentCause::HelloAccepted, out);
                // The first beat leaves at once (P-70).
                self.wake_session(at, out);
            }
            AgentInbound::HelloRefused(refusal) => {
                out.push(AgentAction::Close(link, CloseCause::NoAnswer));
                let cause = AgentCause::HelloRefused(refusal);
                match refusal {
                    HelloRefusal::Unauthorized => self.wait_for_a_token(at, cause, out),
                    HelloRefusal::Forbidden => self.close_for_good(cause, out),
                    HelloRefusal::Other => self.wait_by_backoff(Wait::Backoff, at, cause, out),
                }
            }
            AgentInbound::Ping { echo } => out.push(AgentAction::SendPong { link, echo }),
            AgentInbound::Heartbeat(_) | AgentInbound::Other => {}
        }
    }

    fn link_down(&mut self, link: LinkId, reason: CloseReason, at: Timestamp, out: &mut Out) {
        if self.current_link() != Some(link) {
            return;
        }
        self.note_stability(at);
        let cause = AgentCause::LinkEnded(reason);
        let by_peer = match reason.initiator {
            Initiator::Peer => reason.cause.come_back(),
            // Only the peer's own word can keep an agent away (P-81).
            Initiator::Local | Initiator::Link => ComeBack::Backoff,
        };
        match by_peer {
            ComeBack::Never => self.close_for_good(cause, out),
            ComeBack::WithNewToken => self.wait_for_a_token(at, cause, out),
            ComeBack::Backoff => self.wait_by_backoff(Wait::Backoff, at, cause, out),
        }
    }

    fn stop(&mut self, order: Option<EndOrder>, out: &mut Out) {
        if self.state == State::Closed {
            return;
        }
        if let Some(link) = self.current_link() {
            let ordered = order.filter(|_| self.can_tell_orders()).map(EndOrder::close_cause);
            out.push(AgentAction::Close(link, ordered.unwrap_or(CloseCause::AgentStopped)));
        }
        let cause = order.map_or(AgentCause::Stopped, AgentCause::EndOrdered);
        self.close_for_good(cause, out);
    }

    /// Whether the server said that it knows the close codes of orders: one that does not would await
    /// an agent that closes with them.
    const fn can_tell_orders(&self) -> bool {
        match &self.state {
            State::Connected(s) => s.end_orders,
            State::Idle
            | State::Connecting(_)
            | State::Joining(_)
            | State::Reconnecting(_)
            | State::Closed => false,
        }
    }

    fn wake(&mut self, at: Timestamp, out: &mut Out) {
        match self.state {
            State::Connecting(s) if s.give_up_at <= at => {
                out.push(AgentAction::Close(s.link, CloseCause::NoAnswer));
                self.wait_by_backoff(Wait::Backoff, at, AgentCause::DialUnanswered, out);
            }
            State::Joining(s) if s.give_up_at <= at => {
                out.push(AgentAction::Close(s.link, CloseCause::NoAnswer));
                self.wait_by_backoff(Wait::Backoff, at, AgentCause::HelloUnanswered, out);
            }
            State::Reconnecting(s) if s.dial_at <= at => self.dial(AgentCause::RetryDue, at, out),
            State::Connected(_) => self.wake_session(at, out),
            State::Idle
            | State::Connecting(_)
            | State::Joining(_)
            | State::Reconnecting(_)
            | State::Closed => {}
        }
    }

    fn news(&mut self, at: Timestamp, out: &mut Out) {
        if let State::Connected(s) = &mut self.state {
            s.news = News::from(s.dialect == Dialect::Extended);
            self.wake_session(at, out);
        }
    }

    fn wake_session(&mut self, at: Timestamp, out: &mut Out) {
        self.note_stability(at);
        let State::Connected(mut s) = self.state else { return };
        let observed = s.monitor.on_wake(at);
        if let Some(late) = observed.overslept {
            out.push(AgentAction::Overslept(late));
        }
        let silence = s.monitor.timing();
        if observed.changed == Some(Liveness::TimedOut) {
            out.push(AgentAction::Close(s.link, CloseCause::Silent));
            let cause = AgentCause::Silence(silence.timeout_after());
            return self.wait_by_backoff(Wait::TimedOut, at, cause, out);
        }
        if s.beats.due().is_due(at) || s.may_tell_news() {
            out.push(s.beat(at));
        }
        self.state = State::Connected(s);
        if observed.changed == Some(Liveness::Stale) {
            self.report(AgentCause::Silence(silence.stale_after()), out);
        }
    }

    /// Names the impairment of the session, or that it is over; the status stays.
    fn review(&mut self, at: Timestamp, out: &mut Out) {
        let State::Connected(s) = &mut self.state else { return };
        let found = s.diagnose(at);
        if found != s.impairment {
            s.impairment = found;
            out.push(AgentAction::Impaired(found));
        }
    }

    /// After sleep a silent link tells nothing about the peer: a short nap is answered with a beat
    /// at once, after a long one the server has given the link up, and every wait is over.
    fn notice_sleep(&mut self, slept: Duration, at: Timestamp, out: &mut Out) {
        if slept < SLEPT {
            return;
        }
        match &mut self.state {
            State::Connected(s) if slept >= s.monitor.timing().timeout_after() => {
                out.push(AgentAction::Close(s.link, CloseCause::Silent));
                self.begin_anew();
                self.wait(Wait::Backoff, soon(at), AgentCause::Slept(slept), out);
            }
            State::Connected(s) => s.beats.hurry(at),
            // The server asked for time; the time asleep counts as waiting.
            State::Reconnecting(s) if s.why == Wait::ServerAsked => {
                let shortened = s.dial_at.saturating_sub(slept).max(soon(at));
                s.dial_at = s.dial_at.min(shortened);
            }
            State::Reconnecting(s) => {
                s.dial_at = s.dial_at.min(soon(at));
                self.begin_anew();
            }
            State::Idle | State::Connecting(_) | State::Joining(_) | State::Closed => {}
        }
    }

    fn note_stability(&mut self, at: Timestamp) {
        if let State::Connected(s) = &mut self.state
            && s.stable_at.is_some_and(|stable| stable <= at)
        {
            s.stable_at = None;
            self.begin_anew();
        }
    }

    fn begin_anew(&mut self) {
        self.backoff.reset();
        self.attempts = 0;
    }

    /// Only a person or a token service can help: a slow wait, which another token ends.
    fn wait_for_a_token(&mut self, at: Timestamp, cause: AgentCause, out: &mut Out) {
        let dial_at = self.backoff.next_attempt_unauthorized(at);
        self.wait(Wait::RefusedToken, dial_at, cause, out);
    }

    fn token_changed(&mut self, at: Timestamp, out: &mut Out) {
        let by = self.token_use();
        match (&mut self.state, by) {
            (State::Reconnecting(waiting), TokenUse::EndsTheWait) => {
                let dial_at = self.backoff.next_attempt_with_new_token(at);
                *waiting = Waiting { why: Wait::Backoff, dial_at: dial_at.min(waiting.dial_at) };
            }
            (State::Connected(s), TokenUse::RenewsTheSession) => {
                out.push(AgentAction::Close(s.link, CloseCause::Superseded));
                self.note_stability(at);
                self.wait(Wait::Backoff, soon(at), AgentCause::TokenRenewed, out);
            }
            (
                State::Idle
                | State::Connecting(_)
                | State::Joining(_)
                | State::Connected(_)
                | State::Reconnecting(_)
                | State::Closed,
                TokenUse::None | TokenUse::EndsTheWait | TokenUse::RenewsTheSession,
            ) => {}
        }
    }

    fn wait_by_backoff(&mut self, why: Wait, at: Timestamp, cause: AgentCause, out: &mut Out) {
        let dial_at = self.backoff.next_attempt(at);
        self.wait(why, dial_at, cause, out);
    }

    fn wait(&mut self, why: Wait, dial_at: Timestamp, cause: AgentCause, out: &mut Out) {
        self.state = State::Reconnecting(Waiting { why, dial_at });
        self.report(cause, out);
    }

    fn close_for_good(&mut self, cause: AgentCause, out: &mut Out) {
        self.state = State::Closed;
        self.report(cause, out);
    }

    fn current_link(&self) -> Option<LinkId> {
        match &self.state {
            State::Connecting(s) => Some(s.link),
            State::Joining(s) => Some(s.link),
            State::Connected(s) => Some(s.link),
            State::Idle | State::Reconnecting(_) | State::Closed => None,
        }
    }
}

fn soon(at: Timestamp) -> Timestamp {
    at.saturating_add(Duration::from_millis(1))
}
