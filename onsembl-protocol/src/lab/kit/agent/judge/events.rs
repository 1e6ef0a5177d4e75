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

pub(super) fn sleeps(judge: &mut Judge, call: &Call<'_>, expected: &mut Expected) {
    let at_once = Window { from: call.at, by: call.at };
    match &mut judge.state {
        State::Connected(s) if call.slept >= s.silence.timing().timeout_after() => {
            expected.owe(Owed::Close(s.link, Some(CloseCause::Silent)), Invariant::SleepIsNoticed);
            judge.windows.begin_anew();
            wait(judge, at_once, Wait::Backoff, Invariant::SleepIsNoticed, expected);
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
            judge.windows.begin_anew();
            expected.change = Invariant::SleepIsNoticed;
        }
        State::Idle | State::Connecting { .. } | State::Joining { .. } | State::Closed => {}
    }
}

fn wait(judge: &mut Judge, window: Window, why: Wait, change: Invariant, expected: &mut Expected) {
    judge.state = State::Reconnecting { window, why };
    expected.change = change;
}

/// A stable session resets the windows.
fn notes_stability(judge: &mut Judge, at: Timestamp) {
    if let State::Connected(s) = &judge.state
        && s.opened_at.saturating_add(judge.rules.stable_after) <= at
    {
        judge.windows.begin_anew();
    }
}

pub(super) fn back_off(
    judge: &mut Judge,
    at: Timestamp,
    why: Wait,
    change: Invariant,
    e: &mut Expected,
) {
    notes_stability(judge, at);
    let window = judge.windows.next(at);
    wait(judge, window, why, change, e);
}

fn ends(judge: &mut Judge, why: Invariant, expected: &mut Expected) {
    judge.state = State::Closed;
    expected.change = why;
}

/// What the event leads to.
pub(super) fn expect(judge: &mut Judge, event: AgentEvent, at: Timestamp, e: &mut Expected) {
    match event {
        AgentEvent::Start => {
            if matches!(judge.state, State::Idle) {
                e.owe(Owed::Dial, Invariant::ComesBack);
            }
        }
        AgentEvent::LinkUp(link) => match judge.state {
            State::Connecting { link: current, .. } if current == link => {
                let by = at.saturating_add(judge.rules.hello_timeout);
                judge.state = State::Joining { link, by };
                e.owe(Owed::Hello(link), Invariant::HelloGoesFirst);
                e.change = Invariant::HelloGoesFirst;
            }
            State::Idle
            | State::Connecting { .. }
            | State::Joining { .. }
            | State::Connected(_)
            | State::Reconnecting { .. }
            | State::Closed => {
                if judge.state.link() != Some(link) {
                    e.owe(Owed::Close(link, None), Invariant::OneLinkAtATime);
                }
            }
        },
        AgentEvent::DialFailed(link, failure) => {
            if let State::Connecting { link: current, .. } = judge.state
                && current == link
            {
                match judge.windows.after(failure, at) {
                    Some((window, why)) => wait(judge, window, why, Invariant::ComesBack, e),
                    None => ends(judge, Invariant::NoDialAfterRefusal, e),
                }
            }
        }
        AgentEvent::Received(link, frame) if judge.state.link() == Some(link) => {
            on_frame(judge, link, frame, at, e);
        }
        AgentEvent::Received(..) => {}
        AgentEvent::LinkDown(link, reason) if judge.state.link() == Some(link) => {
            loses(judge, reason, at, e);
        }
        AgentEvent::LinkDown(..) => {}
        AgentEvent::Wake => wakes(judge, at, e),
        AgentEvent::News => {
            if let State::Connected(s) = &mut judge.state {
                s.silence.woken(at);
                s.news = s.extended;
            }
        }
        AgentEvent::TokenChanged => {
            if let State::Reconnecting { window, why: Wait::RefusedToken } = judge.state {
                let sooner = judge.windows.token_is_there(at);
                let window = Window { from: at, by: sooner.by.min(window.by) };
                judge.state = State::Reconnecting { window, why: Wait::Backoff };
            } else if let State::Connected(Session { link, extended: true, .. }) = judge.state {
                let superseded = Owed::Close(link, Some(CloseCause::Superseded));
                e.owe(superseded, Invariant::OneLinkAtATime);
                notes_stability(judge, at);
                let at_once = Window { from: at, by: at };
                wait(judge, at_once, Wait::Backoff, Invariant::ComesBack, e);
            }
        }
        AgentEvent::Stop => stops(judge, CloseCause::AgentStopped, e),
        AgentEvent::EndOrdered(order) => {
            let tells = matches!(judge.state, State::Connected(s) if s.end_orders);
            let cause = match order {
                EndOrder::Stop if tells => CloseCause::ToldToStop,
                EndOrder::Restart if tells => CloseCause::ToldToRestart,
                EndOrder::Stop | EndOrder::Restart => CloseCause::AgentStopped,
            };
            stops(judge, cause, e);
        }
    }
}

fn stops(judge: &mut Judge, cause: CloseCause, e: &mut Expected) {
    if let Some(link) = judge.state.link() {
        e.owe(Owed::Close(link, Some(cause)), Invariant::StopIsObeyed);
    }
    ends(judge, Invariant::StopIsObeyed, e);
}

fn on_frame(judge: &mut Judge, link: LinkId, frame: AgentInbound, at: Timestamp, e: &mut Expected) {
    match &mut judge.state {
        State::Joining { .. } => match frame {
            AgentInbound::HelloAccepted(terms) => joins(judge, link, terms, at, e),
            AgentInbound::HelloRefused(refusal) => {
                e.owe(Owed::Close(link, None), Invariant::OneLinkAtATime);
                match refusal {
                    HelloRefusal::Forbidden => ends(judge, Invariant::NoDialAfterRefusal, e),
                    HelloRefusal::Unauthorized => {
                        let window = judge.windows.with_new_token(at);
                        wait(judge, window, Wait::RefusedToken, Invariant::ComesBack, e);
                    }
                    HelloRefusal::Other => {
                        back_off(judge, at, Wait::Backoff, Invariant::ComesBack, e);
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
        State::Idle | State::Connecting { .. } | State::Reconnecting { .. } | State::Closed => {}
    }
}

fn joins(judge: &mut Judge, link: LinkId, terms: SessionTerms, at: Timestamp, e: &mut Expected) {
    let silence = Silence::new(terms.timing, at);
    let beats = Beats::new(terms.timing.interval(), at);
    judge.state = State::Connected(Session {
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

fn loses(judge: &mut Judge, reason: CloseReason, at: Timestamp, e: &mut Expected) {
    let come_back = match reason.initiator {
        Initiator::Peer => reason.cause.come_back(),
        Initiator::Local | Initiator::Link => ComeBack::Backoff,
    };
    match come_back {
        ComeBack::Never => ends(judge, Invariant::NoDialAfterRefusal, e),
        ComeBack::Backoff => back_off(judge, at, Wait::Backoff, Invariant::ComesBack, e),
        ComeBack::WithNewToken => {
            notes_stability(judge, at);
            let window = judge.windows.with_new_token(at);
            wait(judge, window, Wait::RefusedToken, Invariant::ComesBack, e);
        }
    }
}

fn wakes(judge: &mut Judge, at: Timestamp, e: &mut Expected) {
    match &mut judge.state {
        State::Connecting { link, by } | State::Joining { link, by } if *by <= at => {
            let link = *link;
            e.owe(Owed::Close(link, Some(CloseCause::NoAnswer)), Invariant::GivesUpInTime);
            back_off(judge, at, Wait::Backoff, Invariant::GivesUpInTime, e);
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
