//! What the caller of a command is shown of it: that it waits, or that its agent is away. Pure; when it is
//! and where it is written is the caller's.

use onsembl_protocol::wire::payload::CommandPhase;
use std::time::Duration;
use tokio::time::Instant;

/// How long a command must wait before the caller is notified. Most do not.
const PATIENCE: Duration = Duration::from_secs(2);

/// The latest status of a command, and whether the caller was notified.
#[derive(Debug, Default)]
pub(super) struct Notices {
    latest: Option<(CommandPhase, String)>,
    /// When to speak of it.
    due: Option<Instant>,
    /// Something was said that the next status makes untrue.
    spoken: bool,
}

impl Notices {
    /// A status came. The caller is notified at once if only the reason for it changed, or if something
    /// else was said before.
    pub(super) fn on_status(&mut self, phase: &CommandPhase, because: &str, now: Instant) {
        let latest = (phase.clone(), because.to_owned());
        let same_phase = match &self.latest {
            Some(before) if *before == latest => return,
            Some((before, _)) => before == phase,
            None => false,
        };
        self.latest = Some(latest);
        self.due = if same_phase || self.spoken {
            Some(now)
        } else if is_waiting(phase) {
            Some(now + PATIENCE)
        } else {
            None
        };
    }

    /// When to ask for something to say.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What is to be said now.
    pub(super) fn take(&mut self, now: Instant) -> Option<String> {
        let _ = self.due.take_if(|due| *due <= now)?;
        self.spoken = true;
        let (phase, because) = self.latest.as_ref()?;
        Some(format!("{phase}: {because}"))
    }
}

const fn is_waiting(phase: &CommandPhase) -> bool {
    match phase {
        CommandPhase::Pending | CommandPhase::Queued | CommandPhase::Delivered => true,
        CommandPhase::Running
        | CommandPhase::Cancelling
        | CommandPhase::Completed
        | CommandPhase::Failed
        | CommandPhase::Cancelled
        | CommandPhase::Lost
        | CommandPhase::OutcomeUnknown
        | CommandPhase::Unknown(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_quickly_is_not_spoken_of() {
        let mut notices = Notices::default();
        let start = Instant::now();
        notices.on_status(&CommandPhase::Queued, "waits", start);
        assert_eq!(notices.take(start), None);
        notices.on_status(&CommandPhase::Running, "started", start + PATIENCE / 2);
        assert_eq!(notices.due(), None);
    }

    #[test]
    fn what_waits_is_and_so_is_what_comes_of_it() {
        let mut notices = Notices::default();
        let start = Instant::now();
        notices.on_status(&CommandPhase::Queued, "waits", start);
        let later = start + PATIENCE;
        assert_eq!(notices.due(), Some(later));
        assert_eq!(notices.take(later).as_deref(), Some("queued: waits"));
        assert_eq!((notices.due(), notices.take(later)), (None, None));
        notices.on_status(&CommandPhase::Running, "started", later);
        assert_eq!(notices.take(later).as_deref(), Some("running: started"));
    }

    #[test]
    fn another_reason_for_the_same_is_spoken_of_at_once_and_only_once() {
        let mut notices = Notices::default();
        let start = Instant::now();
        notices.on_status(&CommandPhase::Running, "started", start);
        assert_eq!(notices.take(start), None);
        for _ in 0..2 {
            notices.on_status(&CommandPhase::Running, "the link is lost", start);
        }
        assert_eq!(notices.take(start).as_deref(), Some("running: the link is lost"));
        notices.on_status(&CommandPhase::Running, "the link is lost", start);
        assert_eq!(notices.take(start), None);
    }
}
