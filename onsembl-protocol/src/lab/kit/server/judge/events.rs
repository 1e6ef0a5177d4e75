//! What an event leads to: where the agent must be after it, and what is owed. Nothing is judged here.

use super::Judge;
use super::life::{Away, Joining, Life, Session};
use super::owed::{Expected, Owed};
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
        match &mut self.life {
            Life::Joining(joining, away) => {
                lengthen(&mut joining.by);
                if let Some(away) = away {
                    lengthen(&mut away.until);
                }
            }
            Life::Away(away) => lengthen(&mut away.until),
            Life::Session(_, Some(challenger)) => lengthen(&mut challenger.by),
            Life::Session(_, None) | Life::New | Life::Gone => {}
        }
    }

    pub(super) fn expect(&mut self, event: ServerEvent, at: Timestamp, e: &mut Expected) {
        match event {
            ServerEvent::Joined { link, dialect, .. } => {
                let by = at.saturating_add(self.config.admission_timeout);
                let joining = Joining { link, dialect, by };
                e.owe(Owed::Admit(link), Invariant::HelloIsAnswered);
                e.change = Invariant::HelloIsAnswered;
                self.life = match self.life {
                    Life::Session(s, earlier) => {
                        if let Some(earlier) = earlier {
                            e.owe(Owed::Close(earlier.link), Invariant::NewestHelloCounts);
                        }
                        Life::Session(s, Some(joining))
                    }
                    Life::Joining(earlier, away) => {
                        e.owe(Owed::Close(earlier.link), Invariant::NewestHelloCounts);
                        Life::Joining(joining, away)
                    }
                    Life::Away(away) => Life::Joining(joining, Some(away)),
                    Life::New | Life::Gone => Life::Joining(joining, None),
                };
            }
            ServerEvent::Admitted { link, .. } => self.admitted(link, at, e),
            ServerEvent::Rejected { link, .. } => self.turned_away(link, at, e),
            ServerEvent::Received(link, frame) => self.hears(link, frame, at, e),
            ServerEvent::Faulted(link) => {
                if let Life::Session(s, _) = &mut self.life
                    && s.link == link
                {
                    s.faulted = true;
                }
            }
            ServerEvent::LinkDown(link, reason) => self.loses(link, reason, at, e),
            ServerEvent::Evict(_) => {
                match self.life {
                    Life::Joining(j, _) => e.owe(Owed::Close(j.link), Invariant::DeadLinkIsClosed),
                    Life::Session(s, other) => {
                        e.owe(Owed::Close(s.link), Invariant::DeadLinkIsClosed);
                        if let Some(j) = other {
                            e.owe(Owed::Close(j.link), Invariant::DeadLinkIsClosed);
                        }
                    }
                    Life::New | Life::Away(_) | Life::Gone => {}
                }
                self.goes(Invariant::StoppedIsOffline, e);
            }
            ServerEvent::Wake => self.wakes(at, e),
            ServerEvent::Recorded { .. } | ServerEvent::Store(_) => {}
        }
    }

    fn admitted(&mut self, link: LinkId, at: Timestamp, e: &mut Expected) {
        let joining = match self.life {
            Life::Joining(j, _) if j.link == link => j,
            Life::Session(old, Some(j)) if j.link == link => {
                e.owe(Owed::Close(old.link), Invariant::OneSessionAtATime);
                e.may_send_normal = old.dialect == Dialect::Legacy;
                j
            }
            Life::New | Life::Joining(..) | Life::Session(..) | Life::Away(_) | Life::Gone => {
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
        self.life = Life::Session(session, None);
        e.owe(Owed::Welcome(link), Invariant::HelloIsAnswered);
        e.owe(Owed::Beat(link), Invariant::BeatsEveryInterval);
        e.change = Invariant::OnlineNeedsASession;
    }

    fn turned_away(&mut self, link: LinkId, at: Timestamp, e: &mut Expected) {
        match self.life {
            Life::Joining(j, away) if j.link == link => {
                e.owe(Owed::Close(link), Invariant::HelloIsAnswered);
                self.ends_joining(away, at, e);
            }
            Life::Session(s, Some(j)) if j.link == link => {
                e.owe(Owed::Close(link), Invariant::HelloIsAnswered);
                self.life = Life::Session(s, None);
            }
            Life::New | Life::Joining(..) | Life::Session(..) | Life::Away(_) | Life::Gone => {}
        }
    }

    fn ends_joining(&mut self, away: Option<Away>, at: Timestamp, e: &mut Expected) {
        match away {
            Some(away) if away.until > at => {
                self.life = Life::Away(away);
                e.change = Invariant::ResumeWindowIsKept;
            }
            Some(_) | None => self.goes(Invariant::ResumeWindowIsKept, e),
        }
    }

    fn hears(&mut self, link: LinkId, frame: ServerInbound, at: Timestamp, e: &mut Expected) {
        let Life::Session(s, _) = &mut self.life else { return };
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
        let away = Away { timed_out: false, until };
        match self.life {
            Life::Session(s, other) if s.link == link => {
                let stopped = reason.initiator == Initiator::Peer
                    && matches!(
                        reason.cause,
                        CloseCause::AgentStopped
                            | CloseCause::Normal
                            | CloseCause::ToldToStop
                            | CloseCause::ToldToRestart
                    );
                match other {
                    Some(j) => self.life = Life::Joining(j, Some(away)),
                    None if stopped => return self.goes(Invariant::StoppedIsOffline, e),
                    None => self.life = Life::Away(away),
                }
                e.change = Invariant::ResumeWindowIsKept;
            }
            Life::Session(s, Some(j)) if j.link == link => self.life = Life::Session(s, None),
            Life::Joining(j, away) if j.link == link => self.ends_joining(away, at, e),
            Life::New | Life::Joining(..) | Life::Session(..) | Life::Away(_) | Life::Gone => {}
        }
    }

    fn wakes(&mut self, at: Timestamp, e: &mut Expected) {
        match self.life {
            Life::Joining(Joining { link, by, .. }, _) if by <= at => {
                self.turned_away(link, at, e);
            }
            Life::Session(_, Some(Joining { link, by, .. })) if by <= at => {
                self.turned_away(link, at, e);
            }
            Life::Away(away) if away.until <= at => self.goes(Invariant::ResumeWindowIsKept, e),
            Life::Session(..) | Life::New | Life::Joining(..) | Life::Away(_) | Life::Gone => {}
        }
        // Also when a challenger is given up, the session is looked at.
        match &mut self.life {
            Life::Session(s, _) => s.silence.woken(at),
            Life::New | Life::Joining(..) | Life::Away(_) | Life::Gone => {}
        }
    }

    fn goes(&mut self, why: Invariant, e: &mut Expected) {
        self.life = Life::Gone;
        e.owe(Owed::Forget, Invariant::ForgetIsLast);
        e.change = why;
    }
}
