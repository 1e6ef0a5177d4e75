//! What an event leads to: where the agent must be after it, and what is owed. Nothing is judged here.

use super::Judge;
use super::owed::{Expected, Owed};
use super::state::{Absence, Away, Joining, Session, State};
use crate::close::{CloseCause, CloseReason, Initiator};
use crate::id::LinkId;
use crate::lab::Invariant;
use crate::lab::kit::beats::Beats;
use crate::lab::kit::call::Call;
use crate::lab::kit::silence::Silence;
use crate::model::Dialect;
use crate::session::{ServerEvent, ServerInbound};
use crate::time::Timestamp;

/// An absence of the server lengthens what it awaits.
pub(super) fn forgive(judge: &mut Judge, call: &Call<'_>) {
    let lengthen = |until: &mut Timestamp| *until = until.saturating_add(call.gap);
    match &mut judge.state {
        State::Connecting(joining, away) => {
            lengthen(&mut joining.by);
            if let Some(away) = away {
                lengthen(&mut away.until);
            }
        }
        State::Reconnecting(away) => lengthen(&mut away.until),
        State::Online(_, Some(challenger)) => lengthen(&mut challenger.by),
        State::Online(_, None) | State::Offline | State::Closed => {}
    }
}

pub(super) fn expect(judge: &mut Judge, event: ServerEvent, at: Timestamp, e: &mut Expected) {
    match event {
        ServerEvent::Joined { link, dialect, .. } => {
            let by = at.saturating_add(judge.config.admission_timeout);
            let joining = Joining { link, dialect, by };
            e.owe(Owed::Admit(link), Invariant::HelloIsAnswered);
            e.change = Invariant::HelloIsAnswered;
            judge.state = match judge.state {
                State::Online(s, earlier) => {
                    if let Some(earlier) = earlier {
                        e.owe(Owed::Close(earlier.link), Invariant::NewestHelloCounts);
                    }
                    State::Online(s, Some(joining))
                }
                State::Connecting(earlier, away) => {
                    e.owe(Owed::Close(earlier.link), Invariant::NewestHelloCounts);
                    State::Connecting(joining, away)
                }
                State::Reconnecting(away) => State::Connecting(joining, Some(away)),
                State::Offline | State::Closed => State::Connecting(joining, None),
            };
        }
        ServerEvent::Admitted { link, .. } => admitted(judge, link, at, e),
        ServerEvent::Rejected { link, .. } => turned_away(judge, link, at, e),
        ServerEvent::Received(link, frame) => on_frame(judge, link, frame, at, e),
        ServerEvent::Faulted(link) => {
            if let State::Online(s, _) = &mut judge.state
                && s.link == link
            {
                s.faulted = true;
            }
        }
        ServerEvent::LinkDown(link, reason) => loses(judge, link, reason, at, e),
        ServerEvent::Evict(_) => {
            match judge.state {
                State::Connecting(j, _) => {
                    e.owe(Owed::Close(j.link), Invariant::DeadLinkIsClosed);
                }
                State::Online(s, other) => {
                    e.owe(Owed::Close(s.link), Invariant::DeadLinkIsClosed);
                    if let Some(j) = other {
                        e.owe(Owed::Close(j.link), Invariant::DeadLinkIsClosed);
                    }
                }
                State::Offline | State::Reconnecting(_) | State::Closed => {}
            }
            goes(judge, Invariant::StoppedIsOffline, e);
        }
        ServerEvent::Wake => wakes(judge, at, e),
        ServerEvent::Recorded { .. } | ServerEvent::Store(_) => {}
    }
}

fn admitted(judge: &mut Judge, link: LinkId, at: Timestamp, e: &mut Expected) {
    let joining = match judge.state {
        State::Connecting(j, _) if j.link == link => j,
        State::Online(old, Some(j)) if j.link == link => {
            e.owe(Owed::Close(old.link), Invariant::OneSessionAtATime);
            e.may_send_normal = old.dialect == Dialect::Legacy;
            j
        }
        State::Offline
        | State::Connecting(..)
        | State::Online(..)
        | State::Reconnecting(_)
        | State::Closed => {
            return;
        }
    };
    let timing = judge.config.timing;
    let session = Session {
        link,
        dialect: joining.dialect,
        silence: Silence::new(timing, at),
        beats: Beats::new(timing.interval(), at),
        faulted: false,
        answer_by: None,
    };
    judge.state = State::Online(session, None);
    e.owe(Owed::Welcome(link), Invariant::HelloIsAnswered);
    e.owe(Owed::Beat(link), Invariant::BeatsEveryInterval);
    e.change = Invariant::OnlineNeedsASession;
}

fn turned_away(judge: &mut Judge, link: LinkId, at: Timestamp, e: &mut Expected) {
    match judge.state {
        State::Connecting(j, away) if j.link == link => {
            e.owe(Owed::Close(link), Invariant::HelloIsAnswered);
            ends_joining(judge, away, at, e);
        }
        State::Online(s, Some(j)) if j.link == link => {
            e.owe(Owed::Close(link), Invariant::HelloIsAnswered);
            judge.state = State::Online(s, None);
        }
        State::Offline
        | State::Connecting(..)
        | State::Online(..)
        | State::Reconnecting(_)
        | State::Closed => {}
    }
}

fn ends_joining(judge: &mut Judge, away: Option<Away>, at: Timestamp, e: &mut Expected) {
    match away {
        Some(away) if away.until > at => {
            judge.state = State::Reconnecting(away);
            e.change = Invariant::ResumeWindowIsKept;
        }
        Some(_) | None => goes(judge, Invariant::ResumeWindowIsKept, e),
    }
}

fn on_frame(
    judge: &mut Judge,
    link: LinkId,
    frame: ServerInbound,
    at: Timestamp,
    e: &mut Expected,
) {
    let State::Online(s, _) = &mut judge.state else { return };
    if s.link != link {
        return;
    }
    if s.silence.heard(at) {
        e.change = Invariant::AnyFrameProvesLife;
    }
    match (frame, s.dialect) {
        (ServerInbound::Heartbeat { .. }, _) => {
            let grace = judge.config.timing.recording_grace();
            s.answer_by = s.answer_by.or(Some(at.saturating_add(grace)));
            e.owe(Owed::Record, Invariant::BeatIsRecorded);
        }
        (ServerInbound::Pong, Dialect::Legacy) => {
            e.owe(Owed::Record, Invariant::BeatIsRecorded);
        }
        (ServerInbound::Pong, Dialect::Extended) | (ServerInbound::Other, _) => {}
    }
}

fn loses(judge: &mut Judge, link: LinkId, reason: CloseReason, at: Timestamp, e: &mut Expected) {
    let until = at.saturating_add(judge.config.resume_window);
    let away = Away { why: Absence::LinkEnded, until };
    match judge.state {
        State::Online(s, other) if s.link == link => {
            let stopped = reason.initiator == Initiator::Peer
                && (matches!(
                    reason.cause,
                    CloseCause::AgentStopped | CloseCause::ToldToStop | CloseCause::ToldToRestart
                ) || (reason.cause == CloseCause::Normal && s.dialect == Dialect::Legacy));
            match other {
                Some(j) => judge.state = State::Connecting(j, Some(away)),
                None if stopped => return goes(judge, Invariant::StoppedIsOffline, e),
                None => judge.state = State::Reconnecting(away),
            }
            e.change = Invariant::ResumeWindowIsKept;
        }
        State::Online(s, Some(j)) if j.link == link => judge.state = State::Online(s, None),
        State::Connecting(j, away) if j.link == link => ends_joining(judge, away, at, e),
        State::Offline
        | State::Connecting(..)
        | State::Online(..)
        | State::Reconnecting(_)
        | State::Closed => {}
    }
}

fn wakes(judge: &mut Judge, at: Timestamp, e: &mut Expected) {
    match judge.state {
        State::Connecting(Joining { link, by, .. }, _) if by <= at => {
            turned_away(judge, link, at, e);
        }
        State::Online(_, Some(Joining { link, by, .. })) if by <= at => {
            turned_away(judge, link, at, e);
        }
        State::Reconnecting(away) if away.until <= at => {
            goes(judge, Invariant::ResumeWindowIsKept, e);
        }
        State::Online(..)
        | State::Offline
        | State::Connecting(..)
        | State::Reconnecting(_)
        | State::Closed => {}
    }
    // Also when a challenger is given up, the session is looked at.
    match &mut judge.state {
        State::Online(s, _) => s.silence.woken(at),
        State::Offline | State::Connecting(..) | State::Reconnecting(_) | State::Closed => {}
    }
}

fn goes(judge: &mut Judge, why: Invariant, e: &mut Expected) {
    judge.state = State::Closed;
    e.owe(Owed::Forget, Invariant::ForgetIsLast);
    e.change = why;
}
