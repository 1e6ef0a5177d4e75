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

impl Judge {
    /// An absence of the server lengthens what it awaits.
    pub(super) fn forgive(&mut self, call: &Call<'_>) {
        let lengthen = |until: &mut Timestamp| *until = until.saturating_add(call.gap);
        match &mut self.state {
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

    pub(super) fn expect(&mut self, event: ServerEvent, at: Timestamp, e: &mut Expected) {
        match event {
            ServerEvent::Joined { link, dialect, .. } => {
                let by = at.saturating_add(self.config.admission_timeout);
                let joining = Joining { link, dialect, by };
                e.owe(Owed::Admit(link), Invariant::HelloIsAnswered);
                e.change = Invariant::HelloIsAnswered;
                self.state = match self.state {
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
            ServerEvent::Admitted { link, .. } => self.admitted(link, at, e),
            ServerEvent::Rejected { link, .. } => self.turned_away(link, at, e),
            ServerEvent::Received(link, frame) => self.on_frame(link, frame, at, e),
            ServerEvent::Faulted(link) => {
                if let State::Online(s, _) = &mut self.state
                    && s.link == link
                {
                    s.faulted = true;
                }
            }
            ServerEvent::LinkDown(link, reason) => self.loses(link, reason, at, e),
            ServerEvent::Evict(_) => {
                match self.state {
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
                self.goes(Invariant::StoppedIsOffline, e);
            }
            ServerEvent::Wake => self.wakes(at, e),
            ServerEvent::Recorded { .. } | ServerEvent::Store(_) => {}
        }
    }

    fn admitted(&mut self, link: LinkId, at: Timestamp, e: &mut Expected) {
        let joining = match self.state {
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
        let timing = self.config.timing;
        let session = Session {
            link,
            dialect: joining.dialect,
            silence: Silence::new(timing, at),
            beats: Beats::new(timing.interval(), at),
            faulted: false,
            answer_by: None,
        };
        self.state = State::Online(session, None);
        e.owe(Owed::Welcome(link), Invariant::HelloIsAnswered);
        e.owe(Owed::Beat(link), Invariant::BeatsEveryInterval);
        e.change = Invariant::OnlineNeedsASession;
    }

    fn turned_away(&mut self, link: LinkId, at: Timestamp, e: &mut Expected) {
        match self.state {
            State::Connecting(j, away) if j.link == link => {
                e.owe(Owed::Close(link), Invariant::HelloIsAnswered);
                self.ends_joining(away, at, e);
            }
            State::Online(s, Some(j)) if j.link == link => {
                e.owe(Owed::Close(link), Invariant::HelloIsAnswered);
                self.state = State::Online(s, None);
            }
            State::Offline
            | State::Connecting(..)
            | State::Online(..)
            | State::Reconnecting(_)
            | State::Closed => {}
        }
    }

    fn ends_joining(&mut self, away: Option<Away>, at: Timestamp, e: &mut Expected) {
        match away {
            Some(away) if away.until > at => {
                self.state = State::Reconnecting(away);
                e.change = Invariant::ResumeWindowIsKept;
            }
            Some(_) | None => self.goes(Invariant::ResumeWindowIsKept, e),
        }
    }

    fn on_frame(&mut self, link: LinkId, frame: ServerInbound, at: Timestamp, e: &mut Expected) {
        let State::Online(s, _) = &mut self.state else { return };
        if s.link != link {
            return;
        }
        if s.silence.heard(at) {
            e.change = Invariant::AnyFrameProvesLife;
        }
        match (frame, s.dialect) {
            (ServerInbound::Heartbeat { .. }, _) => {
                let grace = self.config.timing.recording_grace();
                s.answer_by = s.answer_by.or(Some(at.saturating_add(grace)));
                e.owe(Owed::Record, Invariant::BeatIsRecorded);
            }
            (ServerInbound::Pong, Dialect::Legacy) => {
                e.owe(Owed::Record, Invariant::BeatIsRecorded);
            }
            (ServerInbound::Pong, Dialect::Extended) | (ServerInbound::Other, _) => {}
        }
    }

    fn loses(&mut self, link: LinkId, reason: CloseReason, at: Timestamp, e: &mut Expected) {
        let until = at.saturating_add(self.config.resume_window);
        let away = Away { why: Absence::LinkEnded, until };
        match self.state {
            State::Online(s, other) if s.link == link => {
                let stopped = reason.initiator == Initiator::Peer
                    && (matches!(
                        reason.cause,
                        CloseCause::AgentStopped
                            | CloseCause::ToldToStop
                            | CloseCause::ToldToRestart
                    ) || (reason.cause == CloseCause::Normal && s.dialect == Dialect::Legacy));
                match other {
                    Some(j) => self.state = State::Connecting(j, Some(away)),
                    None if stopped => return self.goes(Invariant::StoppedIsOffline, e),
                    None => self.state = State::Reconnecting(away),
                }
                e.change = Invariant::ResumeWindowIsKept;
            }
            State::Online(s, Some(j)) if j.link == link => self.state = State::Online(s, None),
            State::Connecting(j, away) if j.link == link => self.ends_joining(away, at, e),
            State::Offline
            | State::Connecting(..)
            | State::Online(..)
            | State::Reconnecting(_)
            | State::Closed => {}
        }
    }

    fn wakes(&mut self, at: Timestamp, e: &mut Expected) {
        match self.state {
            State::Connecting(Joining { link, by, .. }, _) if by <= at => {
                self.turned_away(link, at, e);
            }
            State::Online(_, Some(Joining { link, by, .. })) if by <= at => {
                self.turned_away(link, at, e);
            }
            State::Reconnecting(away) if away.until <= at => {
                self.goes(Invariant::ResumeWindowIsKept, e);
            }
            State::Online(..)
            | State::Offline
            | State::Connecting(..)
            | State::Reconnecting(_)
            | State::Closed => {}
        }
        // Also when a challenger is given up, the session is looked at.
        match &mut self.state {
            State::Online(s, _) => s.silence.woken(at),
            State::Offline | State::Connecting(..) | State::Reconnecting(_) | State::Closed => {}
        }
    }

    fn goes(&mut self, why: Invariant, e: &mut Expected) {
        self.state = State::Closed;
        e.owe(Owed::Forget, Invariant::ForgetIsLast);
        e.change = why;
    }
}
