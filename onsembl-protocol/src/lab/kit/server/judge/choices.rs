//! What is said of a silence within a range, and what must not be put off beyond it.

use super::Judge;
use super::life::{Away, Life};
use super::owed::{Expected, Owed};
use super::report::report;
use crate::lab::Invariant;
use crate::lab::kit::call::Call;
use crate::lab::kit::violation::Violation;
use crate::session::{PresenceStatus, ServerAction};

impl Judge {
    /// What may be said of a silence within a range.
    pub(super) fn chooses(
        &mut self,
        call: &Call<'_>,
        did: &[ServerAction],
        e: &mut Expected,
    ) -> Result<(), Violation> {
        let Life::Session(s, other) = &mut self.life else { return Ok(()) };
        let other = *other;
        let shown = did.iter().find_map(|action| report(*action)).map(|p| p.status);
        let closed =
            |link| did.iter().any(|a| matches!(a, ServerAction::Close(l, _) if *l == link));
        let mut overdue = e.owed.is_empty();
        if shown == Some(PresenceStatus::Stale) && !s.silence.is_stale() {
            s.silence.goes_stale(call)?;
        } else if shown == Some(PresenceStatus::TimedOut)
            || (shown == Some(PresenceStatus::Connecting) && other.is_some() && closed(s.link))
        {
            s.silence.times_out(call)?;
            e.owe(Owed::Close(s.link), Invariant::DeadLinkIsClosed);
            e.change = Invariant::SilentPeerTimesOutExactly;
            let until = call.at.saturating_add(self.config.resume_window);
            let away = Away { timed_out: true, until };
            self.life = match other {
                Some(j) => Life::Joining(j, Some(away)),
                None => Life::Away(away),
            };
            overdue = false;
        }
        let Life::Session(s, _) = &mut self.life else { return Ok(()) };
        if !overdue {
            return Ok(());
        }
        if call.is_overdue(s.silence.due()) {
            call.blame(s.silence.name(), s.silence.next_word(), call.did())?;
        }
        if call.is_overdue(s.beats.due()) {
            e.owe(Owed::Beat(s.link), Invariant::BeatsEveryInterval);
        }
        if s.answer_by.is_some_and(|by| call.is_overdue(by)) {
            e.owe(Owed::Answer(s.link), Invariant::BeatIsAnswered);
        }
        Ok(())
    }
}
