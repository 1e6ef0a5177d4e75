//! What an event leads to: where the agent must be after it, and what it owes. Nothing is judged here.

use super::super::rules::Window;
use super::Judge;
use super::owed::{Expected, Owed};
use super::state::{Session, State, Wait};
use crate::close::{CloseCause, CloseReason, ComeBack, Initiator};
use crate::id::{BeatSequence, LinkId};
use crate::lab::Invariant;
use crate::lab::kit::beats::Beats;
use crate::lab::kit::call::{Call, SLACK};
use crate::lab::kit::silence::Silence;
use crate::model::Dialect;
use crate::session::{AgentEvent, AgentInbound, EndOrder, HelloRefusal, SessionTerms};
use crate::time::Timestamp;

impl Judge {
    pub(super) fn sleeps(&mut self, call: &Call<'_>, expected: &mut Expected) {
        let at_once = Window { from: call.at, by: call.at };
        match &mut self.state {
            State::Connected(s) if call.slept >= s.silence.timing().timeout_after() => {
                expected
                    .owe(Owed::Close(s.link, Some(CloseCause::Silent)), Invariant::SleepIsNoticed);
                self.windows.begin_anew();
                self.wait(at_once, Wait::Backoff, Invariant::SleepIsNoticed, expected);
            }
            State::Connected(s) => s.beats.hurry(call.at),
            State::Reconnecting { window, why: Wait::ServerAsked } => {
                window.from = window.from.saturating_sub(call.slept).max(call.at);
                window.by = window.by.saturating_sub(call.slept).max(call.at);
            }
            State::Reconnecting {
                window,
                why: Wait::Backoff | Wait::TimedOut | Wait::RefusedToken,
            } => {
                *window = at_once;
                self.windows.begin_anew();
                expected.change = Invariant::SleepIsNoticed;
            }
            State::Idle | State::Connecting { .. } | State::Joining { .. } | State::Closed => {}
        }
    }

    fn wait(&mut self, window: Window, why: Wait, change: Invariant, expected: &mut Expected) {
        self.state = State::Reconnecting { window, why };
        expected.change = change;
    }

    /// A stable session resets the windows.
    fn notes_stability(&mut self, at: Timestamp) {
        if let State::Connected(s) = &self.state
            && s.opened_at.saturating_add(self.rules.stable_after) <= at
        {
            self.windows.begin_anew();
        }
    }

    pub(super) fn back_off(
        &mut self,
        at: Timestamp,
        why: Wait,
        change: Invariant,
        e: &mut Expected,
    ) {
        self.notes_stability(at);
        let window = self.windows.next(at);
        self.wait(window, why, change, e);
    }

    fn ends(&mut self, why: Invariant, expected: &mut Expected) {
        self.state = State::Closed;
        expected.change = why;
    }

    /// What the event leads to.
    pub(super) fn expect(&mut self, event: AgentEvent, at: Timestamp, e: &mut Expected) {
        match event {
            AgentEvent::Start => {
                if matches!(self.state, State::Idle) {
                    e.owe(Owed::Dial, Invariant::ComesBack);
                }
            }
            AgentEvent::LinkUp(link) => match self.state {
                State::Connecting { link: current, .. } if current == link => {
                    let by = at.saturating_add(self.rules.hello_timeout);
                    self.state = State::Joining { link, by };
                    e.owe(Owed::Hello(link), Invariant::HelloGoesFirst);
                    e.change = Invariant::HelloGoesFirst;
                }
                State::Idle
                | State::Connecting { .. }
                | State::Joining { .. }
                | State::Connected(_)
                | State::Reconnecting { .. }
                | State::Closed => {
                    if self.state.link() != Some(link) {
                        e.owe(Owed::Close(link, None), Invariant::OneLinkAtATime);
                    }
                }
            },
            AgentEvent::DialFailed(link, failure) => {
                if let State::Connecting { link: current, .. } = self.state
                    && current == link
                {
                    match self.windows.after(failure, at) {
                        Some((window, why)) => self.wait(window, why, Invariant::ComesBack, e),
                        None => self.ends(Invariant::NoDialAfterRefusal, e),
                    }
                }
            }
            AgentEvent::Received(link, frame) if self.state.link() == Some(link) => {
                self.on_frame(link, frame, at, e);
            }
            AgentEvent::Received(..) => {}
            AgentEvent::LinkDown(link, reason) if self.state.link() == Some(link) => {
                self.loses(reason, at, e);
            }
            AgentEvent::LinkDown(..) => {}
            AgentEvent::Wake => self.wakes(at, e),
            AgentEvent::News => {
                if let State::Connected(s) = &mut self.state {
                    s.silence.woken(at);
                    s.news = s.extended;
                }
            }
            AgentEvent::TokenChanged => {
                if let State::Reconnecting { window, why: Wait::RefusedToken } = self.state {
                    let sooner = self.windows.token_is_there(at);
                    let window = Window { from: at, by: sooner.by.min(window.by) };
                    self.state = State::Reconnecting { window, why: Wait::Backoff };
                } else if let State::Connected(Session { link, extended: true, .. }) = self.state {
                    let superseded = Owed::Close(link, Some(CloseCause::Superseded));
                    e.owe(superseded, Invariant::OneLinkAtATime);
                    self.notes_stability(at);
                    let at_once = Window { from: at, by: at };
                    self.wait(at_once, Wait::Backoff, Invariant::ComesBack, e);
                }
            }
            AgentEvent::Stop => self.stops(CloseCause::AgentStopped, e),
            AgentEvent::EndOrdered(order) => {
                let tells = matches!(self.state, State::Connected(s) if s.end_orders);
                let cause = match order {
                    EndOrder::Stop if tells => CloseCause::ToldToStop,
                    EndOrder::Restart if tells => CloseCause::ToldToRestart,
                    EndOrder::Stop | EndOrder::Restart => CloseCause::AgentStopped,
                };
                self.stops(cause, e);
            }
        }
    }

    fn stops(&mut self, cause: CloseCause, e: &mut Expected) {
        if let Some(link) = self.state.link() {
            e.owe(Owed::Close(link, Some(cause)), Invariant::StopIsObeyed);
        }
        self.ends(Invariant::StopIsObeyed, e);
    }

    fn on_frame(&mut self, link: LinkId, frame: AgentInbound, at: Timestamp, e: &mut Expected) {
        match &mut self.state {
            State::Joining { .. } => match frame {
                AgentInbound::HelloAccepted(terms) => self.joins(link, terms, at, e),
                AgentInbound::HelloRefused(refusal) => {
                    e.owe(Owed::Close(link, None), Invariant::OneLinkAtATime);
                    match refusal {
                        HelloRefusal::Forbidden => self.ends(Invariant::NoDialAfterRefusal, e),
                        HelloRefusal::Unauthorized => {
                            let window = self.windows.with_new_token(at);
                            self.wait(window, Wait::RefusedToken, Invariant::ComesBack, e);
                        }
                        HelloRefusal::Other => {
                            self.back_off(at, Wait::Backoff, Invariant::ComesBack, e);
                        }
                    }
                }
                AgentInbound::Ping { echo } => {
                    e.owe(Owed::Pong(link, echo), Invariant::PingIsAnswered);
                }
                AgentInbound::Heartbeat(_) | AgentInbound::Other => {}
            },
            State::Connected(s) => {
                if s.silence.heard(at) {
                    e.change = Invariant::AnyFrameProvesLife;
                }
                match frame {
                    AgentInbound::Ping { echo } => {
                        e.owe(Owed::Pong(link, echo), Invariant::PingIsAnswered);
                    }
                    AgentInbound::Heartbeat(beat) => {
                        s.seen = s.seen.max(beat.seen.unwrap_or_default());
                    }
                    AgentInbound::HelloAccepted(_)
                    | AgentInbound::HelloRefused(_)
                    | AgentInbound::Other => {}
                }
            }
            State::Idle | State::Connecting { .. } | State::Reconnecting { .. } | State::Closed => {
            }
        }
    }

    fn joins(&mut self, link: LinkId, terms: SessionTerms, at: Timestamp, e: &mut Expected) {
        let silence = Silence::new(terms.timing, at);
        let beats = Beats::new(terms.timing.interval(), at);
        self.state = State::Connected(Session {
            link,
            opened_at: at,
            silence,
            beats,
            end_orders: terms.end_orders,
            extended: terms.dialect == Dialect::Extended,
            seen: BeatSequence(0),
            news: false,
        });
        e.owe(Owed::Beat(link), Invariant::BeatsEveryInterval);
        e.change = Invariant::AcceptedIsConnected;
    }

    fn loses(&mut self, reason: CloseReason, at: Timestamp, e: &mut Expected) {
        let come_back = match reason.initiator {
            Initiator::Peer => reason.cause.come_back(),
            Initiator::Local | Initiator::Link => ComeBack::Backoff,
        };
        match come_back {
            ComeBack::Never => self.ends(Invariant::NoDialAfterRefusal, e),
            ComeBack::Backoff => self.back_off(at, Wait::Backoff, Invariant::ComesBack, e),
            ComeBack::WithNewToken => {
                self.notes_stability(at);
                let window = self.windows.with_new_token(at);
                self.wait(window, Wait::RefusedToken, Invariant::ComesBack, e);
            }
        }
    }

    fn wakes(&mut self, at: Timestamp, e: &mut Expected) {
        match &mut self.state {
            State::Connecting { link, by } | State::Joining { link, by } if *by <= at => {
                let link = *link;
                e.owe(Owed::Close(link, Some(CloseCause::NoAnswer)), Invariant::GivesUpInTime);
                self.back_off(at, Wait::Backoff, Invariant::GivesUpInTime, e);
            }
            State::Reconnecting { window, .. } if window.by.saturating_add(SLACK) <= at => {
                e.owe(Owed::Dial, Invariant::ComesBack);
            }
            State::Connected(s) => s.silence.woken(at),
            State::Idle
            | State::Connecting { .. }
            | State::Joining { .. }
            | State::Reconnecting { .. }
            | State::Closed => {}
        }
    }
}
