//! What frames, records and time do to a live session.

use super::super::server_types::{PresenceCause, ServerAction, ServerInbound};
use super::session::Joining;
use super::state::State;
use super::turn::Turn;
use crate::close::CloseCause;
use crate::id::{BeatSequence, Epoch, LinkId};
use crate::liveness::Liveness;
use crate::time::WallTime;

impl Turn<'_> {
    #[inline]
    pub(super) fn received(&mut self, link: LinkId, frame: ServerInbound) {
        let (timing, at, seen_at) = (self.timing(), self.at(), self.hot.seen_at);
        let State::Live(session) = &mut self.hot.state else { return };
        if session.link != link {
            return;
        }
        let notes = &mut self.cold.notes;
        let overslept = session.look(timing, at, seen_at, notes);
        let changed = session.on_received(at);
        let beat = session.note(frame, timing, at, notes);
        let epoch = session.epoch;
        self.looked = true;
        if let Some(late) = overslept {
            self.did.push(ServerAction::Overslept(late));
        }
        if let Some(sequence) = beat {
            self.did.push(ServerAction::Record { epoch, sequence });
        }
        if changed == Some(Liveness::Live) {
            self.publish(PresenceCause::HeardAgain);
        } else {
            self.review();
        }
    }

    pub(super) fn recorded(&mut self, epoch: Epoch, sequence: BeatSequence, received_at: WallTime) {
        let (timing, at) = (self.timing(), self.at());
        let State::Live(session) = &mut self.hot.state else { return };
        let notes = &mut self.cold.notes;
        if epoch != session.epoch || notes.recorded.is_some_and(|(held, _)| held >= sequence) {
            return;
        }
        notes.recorded = Some((sequence, received_at));
        session.note_recorded(sequence, timing, at);
        if session.can_answer() {
            self.did.push(session.beat(timing, at, notes, self.cold.store));
        }
        self.review();
    }

    pub(super) fn faulted(&mut self, link: LinkId) {
        if self.session_over(link).is_some() && !self.cold.notes.faulted {
            self.cold.notes.faulted = true;
            self.publish(PresenceCause::Faulted);
        }
    }

    pub(super) fn wake(&mut self) {
        let at = self.at();
        match &mut self.hot.state {
            State::Joining(joining, away) if joining.give_up_at <= at => {
                let away = *away;
                self.did.push(ServerAction::Close(joining.link, CloseCause::TryLater));
                self.end_joining(away, PresenceCause::NotAdmitted(CloseCause::TryLater));
            }
            State::Away(away) if away.until <= at => {
                self.go(PresenceCause::ResumeWindowOver(self.config.resume_window));
            }
            State::Live(session) => {
                if let Some(challenger) = self.cold.challenger_of(session)
                    && challenger.give_up_at <= at
                {
                    self.did.push(ServerAction::Close(challenger.link, CloseCause::TryLater));
                    self.cold.set_challenger(session, None);
                }
                // Also then: a look that is put off to the next wake-up adds up two latenesses,
                // and may be taken for an absence.
                self.wake_session();
            }
            State::New | State::Joining(..) | State::Away(_) | State::Gone => {}
        }
    }

    fn wake_session(&mut self) {
        let (timing, at, seen_at) = (self.timing(), self.at(), self.hot.seen_at);
        let State::Live(session) = &mut self.hot.state else { return };
        let notes = &mut self.cold.notes;
        if let Some(late) = session.look(timing, at, seen_at, notes) {
            self.did.push(ServerAction::Overslept(late));
        }
        self.looked = true;
        let changed = session.on_wake(timing, at);
        if changed == Some(Liveness::TimedOut) {
            let (link, challenger) = (session.link, self.cold.challenger_of(session));
            return self.time_out(link, challenger);
        }
        if session.beat_is_due(at) {
            self.did.push(session.beat(timing, at, notes, self.cold.store));
        }
        if changed == Some(Liveness::Stale) {
            self.publish(PresenceCause::Silence(timing.stale_after()));
        } else {
            self.review();
        }
    }

    fn time_out(&mut self, link: LinkId, challenger: Option<Joining>) {
        self.did.push(ServerAction::Close(link, CloseCause::Silent));
        let away = self.away(true);
        self.hot.state = match challenger {
            Some(challenger) => State::Joining(challenger, Some(away)),
            None => State::Away(away),
        };
        self.publish(PresenceCause::Silence(self.timing().timeout_after()));
    }
}
