//! What frames, records and time do to a live session.

use super::super::server_types::{PresenceCause, ServerAction, ServerInbound};
use super::session::{Fault, Joining};
use super::state::{Absence, State};
use super::turn::Turn;
use crate::close::CloseCause;
use crate::id::{BeatSequence, Epoch, LinkId};
use crate::liveness::Liveness;
use crate::time::WallTime;

impl Turn<'_> {
    #[inline]
    pub(super) fn received(&mut self, link: LinkId, frame: ServerInbound) {
        let (timing, at, seen_at) = (self.timing(), self.at(), self.hot.seen_at);
        let State::Online(session) = &mut self.hot.state else { return };
        if session.link != link {
            return;
        }
        let cold = &mut self.cold.session;
        let overslept = session.look(timing, at, seen_at, cold);
        let changed = session.on_received(at);
        let beat = session.note(frame, timing, at, cold);
        let epoch = session.epoch;
        self.looked = true;
        if let Some(late) = overslept {
            self.out.push(ServerAction::Overslept(late));
        }
        if let Some(sequence) = beat {
            self.out.push(ServerAction::Record { epoch, sequence });
        }
        if changed == Some(Liveness::Live) {
            self.publish(PresenceCause::HeardAgain);
        } else {
            self.review();
        }
    }

    pub(super) fn recorded(&mut self, epoch: Epoch, sequence: BeatSequence, received_at: WallTime) {
        let (timing, at) = (self.timing(), self.at());
        let State::Online(session) = &mut self.hot.state else { return };
        let cold = &mut self.cold.session;
        // The store may answer late: for an earlier session, or behind the answer for a later beat.
        if epoch != session.epoch || cold.recorded.is_some_and(|(latest, _)| latest >= sequence) {
            return;
        }
        cold.recorded = Some((sequence, received_at));
        session.note_recorded(sequence, timing, at);
        if session.can_answer() {
            self.out.push(session.beat(timing, at, cold, self.cold.store));
        }
        self.review();
    }

    pub(super) fn faulted(&mut self, link: LinkId) {
        if self.session_over(link).is_none() {
            return;
        }
        match core::mem::replace(&mut self.cold.session.faulted, Fault::Reported) {
            Fault::None => self.publish(PresenceCause::Faulted),
            Fault::Reported => {}
        }
    }

    pub(super) fn wake(&mut self) {
        let at = self.at();
        match &mut self.hot.state {
            State::Connecting(joining, away) if joining.give_up_at <= at => {
                let away = *away;
                self.out.push(ServerAction::Close(joining.link, CloseCause::TryLater));
                self.end_joining(away, PresenceCause::NotAdmitted(CloseCause::TryLater));
            }
            State::Reconnecting(away) if away.until <= at => {
                self.go(PresenceCause::ResumeWindowOver(self.config.resume_window));
            }
            State::Online(session) => {
                if let Some(challenger) = self.cold.challenger_of(session)
                    && challenger.give_up_at <= at
                {
                    self.out.push(ServerAction::Close(challenger.link, CloseCause::TryLater));
                    self.cold.set_challenger(session, None);
                }
                // Also then: a look that is put off to the next wake-up adds up two latenesses,
                // and may be taken for an absence.
                self.wake_session();
            }
            State::Offline | State::Connecting(..) | State::Reconnecting(_) | State::Closed => {}
        }
    }

    fn wake_session(&mut self) {
        let (timing, at, seen_at) = (self.timing(), self.at(), self.hot.seen_at);
        let State::Online(session) = &mut self.hot.state else { return };
        let cold = &mut self.cold.session;
        if let Some(late) = session.look(timing, at, seen_at, cold) {
            self.out.push(ServerAction::Overslept(late));
        }
        self.looked = true;
        let changed = session.on_wake(timing, at);
        if changed == Some(Liveness::TimedOut) {
            let (link, challenger) = (session.link, self.cold.challenger_of(session));
            return self.time_out(link, challenger);
        }
        if session.beat_is_due(at) {
            self.out.push(session.beat(timing, at, cold, self.cold.store));
        }
        if changed == Some(Liveness::Stale) {
            self.publish(PresenceCause::Silence(timing.stale_after()));
        } else {
            self.review();
        }
    }

    fn time_out(&mut self, link: LinkId, challenger: Option<Joining>) {
        self.out.push(ServerAction::Close(link, CloseCause::Silent));
        let away = self.away(Absence::TimedOut);
        self.hot.state = match challenger {
            // Its hello waits for the store and has nothing to do with the silence of the older link.
            Some(challenger) => State::Connecting(challenger, Some(away)),
            None => State::Reconnecting(away),
        };
        self.publish(PresenceCause::Silence(self.timing().timeout_after()));
    }
}
