//! What the caller of a command is shown of it: that it waits, or that its agent is away. Pure; when it is
//! and where it is written is the caller's.

use onsembl_protocol::wire::payload::CommandPhase;
use std::time::Duration;
use tokio::time::Instant;

/// How long a command must wait before the caller is notified. Most do not.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it is asked again what a queued command waits for.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// What keeps a command from being started: it is asked for, and said when it is another thing than before.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    ask_at: Option<Instant>,
    /// The phase in which it waits.
    phase: Option<CommandPhase>,
    said: Vec<String>,
    /// What is said if the server does not know more.
    otherwise: Option<String>,
}

impl Waiting {
    /// The caller is to be told this of the command. What is to be said now; nothing if more is asked for first.
    pub(super) fn begin(
        &mut self,
        phase: Option<&CommandPhase>,
        text: String,
        now: Instant,
    ) -> Option<String> {
        let Some(phase) = phase.filter(|phase| has_obstacles(phase)) else { return Some(text) };
        self.ask_at = Some(now);
        self.phase = Some(phase.clone());
        self.otherwise = Some(text);
        None
    }

    /// When to ask.
    pub(super) const fn ask_at(&self) -> Option<Instant> {
        self.ask_at
    }

    /// A status came.
    pub(super) fn on_status(&mut self, phase: &CommandPhase) {
        if !has_obstacles(phase) {
            *self = Self::default();
        }
    }

    /// This keeps it from being started; nothing if that is not known. What is to be said.
    pub(super) fn on_answer(&mut self, lines: Vec<String>, now: Instant) -> Vec<String> {
        self.ask_at = Some(now + ASK_AGAIN);
        let otherwise = self.otherwise.take();
        let phase = self.phase.as_ref().map_or("", CommandPhase::as_str);
        let lines: Vec<String> = match lines.is_empty() {
            true => otherwise.into_iter().collect(),
            false => lines.into_iter().map(|line| format!("{phase}: {line}")).collect(),
        };
        if lines.is_empty() || lines == self.said {
            return Vec::new();
        }
        self.said.clone_from(&lines);
        lines
    }
}

/// Whether something that can be named may keep a command of this phase from being started.
fn has_obstacles(phase: &CommandPhase) -> bool {
    matches!(phase, CommandPhase::Queued | CommandPhase::Delivered)
}

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
    /// It is asked for now.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.latest.is_none() {
            self.due = Some(now + PATIENCE);
        }
    }

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
        } else if phase.is_unstarted() {
            Some(now + PATIENCE)
        } else {
            None
        };
    }

    /// Where the command is, as far as is known.
    pub(super) fn phase(&self) -> Option<&CommandPhase> {
        self.latest.as_ref().map(|(phase, _)| phase)
    }

    /// When to ask for something to say.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What is to be said now.
    pub(super) fn take(&mut self, now: Instant) -> Option<String> {
        let _ = self.due.take_if(|due| *due <= now)?;
        self.spoken = true;
        Some(match &self.latest {
            Some((phase, because)) => format!("{phase}: {because}"),
            None => "waiting for the answer of the server".to_owned(),
        })
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
    fn a_server_that_does_not_answer_is_spoken_of() {
        let (mut notices, start) = (Notices::default(), Instant::now());
        notices.begin(start);
        assert_eq!(notices.take(start), None);
        assert!(notices.take(start + PATIENCE).is_some_and(|text| text.contains("server")));
        notices.on_status(&CommandPhase::Running, "started", start + PATIENCE);
        assert_eq!(notices.take(start + PATIENCE).as_deref(), Some("running: started"));
        let mut notices = Notices::default();
        notices.begin(start);
        notices.on_status(&CommandPhase::Running, "started", start);
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

    #[test]
    fn what_a_queued_command_waits_for_is_said_and_again_when_it_is_another_thing() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        let text = || "queued: waiting for a free slot on its agent".to_owned();
        let runs = Some(&CommandPhase::Running);
        assert_eq!(waiting.begin(runs, text(), start), Some(text()), "nothing keeps it");
        assert_eq!(waiting.begin(None, text(), start), Some(text()), "the server is silent");
        assert_eq!(waiting.ask_at(), None);
        assert_eq!(waiting.begin(Some(&CommandPhase::Queued), text(), start), None);
        assert_eq!(waiting.ask_at(), Some(start));
        let answer = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>();
        assert_eq!(
            waiting.on_answer(answer(&["away", "paused"]), start),
            ["queued: away", "queued: paused"]
        );
        let later = start + ASK_AGAIN;
        assert_eq!(waiting.ask_at(), Some(later));
        assert_eq!(waiting.on_answer(answer(&["away", "paused"]), later), [""; 0]);
        assert_eq!(waiting.on_answer(answer(&["paused"]), later), ["queued: paused"]);
        // A server that does not say.
        assert_eq!(waiting.on_answer(Vec::new(), later), [""; 0]);
        let mut other = Waiting::default();
        assert_eq!(other.begin(Some(&CommandPhase::Delivered), text(), start), None);
        assert_eq!(other.on_answer(Vec::new(), start), [text()]);
        assert_eq!(other.on_answer(Vec::new(), later), [""; 0]);
        other.on_status(&CommandPhase::Running);
        assert_eq!(other.ask_at(), None);
    }
}
