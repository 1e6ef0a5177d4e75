//! What the program of an agent does, as far as facts show it: working, waiting for a prompt, or asking somebody;
//! in the words of the wire and of people.

use super::wire_enum;
use crate::id::CommandId;
use crate::shown::Shown;
use crate::time::WallTime;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use serde::{Deserialize, Serialize};

wire_enum! {
    /// What a program does.
    pub enum ActivityState {
        /// A turn of it is in progress.
        Working = "working",
        /// It is at its prompt: the next text is a new turn.
        Waiting = "waiting",
        /// It has asked somebody something, and continues with the answer.
        Asking = "asking",
        /// No fact shows what it does; it has written lately.
        Writing = "writing",
        /// No fact shows what it does; it has not written for a while.
        Quiet = "quiet",
        /// It does not run.
        Gone = "none",
    }
}

wire_enum! {
    /// What shows that a program does something.
    pub enum ActivityFact {
        /// It was started.
        Started = "started",
        /// A session of it began.
        SessionStart = "session-start",
        /// A session of it ended.
        SessionEnd = "session-end",
        /// It took a prompt.
        Prompt = "prompt",
        /// It uses a tool, or has used it.
        Tool = "tool",
        /// It calls for somebody.
        Notification = "notification",
        /// It asks for a permission.
        Permission = "permission",
        /// Its turn is over.
        Stop = "stop",
        /// It rang the bell of its terminal.
        Bell = "bell",
        /// It showed a notification by its terminal (OSC 9, OSC 777).
        TerminalNotification = "terminal-notification",
        /// It marked a prompt (OSC 133 A, B).
        PromptStart = "prompt-start",
        /// It marked the start of a command (OSC 133 C).
        CommandStart = "command-start",
        /// It marked the end of a command (OSC 133 D).
        CommandEnd = "command-end",
        /// Something was typed into it.
        Input = "input",
        /// It wrote.
        Output = "output",
        /// It reads its terminal.
        Reads = "reads",
    }
}

wire_enum! {
    /// By which way a fact came.
    pub enum ActivityLane {
        /// From a hook of the program, which ran for it.
        Hook = "hook",
        /// From what it writes for other programs.
        Stream = "stream",
        /// From its terminal.
        Terminal = "terminal",
    }
}

wire_enum! {
    /// What a question is about.
    pub enum QuestionKind {
        /// Whether the program may do something.
        Permission = "permission",
        /// Something else, which it waits for an answer to.
        Question = "question",
        /// It calls for attention, and has not said why.
        Attention = "attention",
    }
}

wire_enum! {
    /// What a program must be doing for a text to be typed into it.
    pub enum TypeIf {
        /// It waits for a prompt.
        Waiting = "waiting",
    }
}

/// A question of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// What it is about.
    pub kind: QuestionKind,
    /// The question, at most [`MOST_TITLE`](Self::MOST_TITLE) bytes.
    #[serde(default)]
    pub title: String,
    /// What may be answered, as far as it is known: at most [`MOST_CHOICES`](Self::MOST_CHOICES).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
}

impl Question {
    /// Most bytes of a title: it stands in one cell of a table.
    pub const MOST_TITLE: usize = 256;
    /// Most answers that are named.
    pub const MOST_CHOICES: usize = 8;
    /// Most bytes of one of them.
    pub const MOST_CHOICE: usize = 64;

    /// A question within the bounds. The program chose its texts.
    pub fn new(
        kind: QuestionKind,
        title: &str,
        choices: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Self {
        let choices = choices.into_iter().take(Self::MOST_CHOICES);
        let choices = choices.map(|choice| cut(choice.as_ref(), Self::MOST_CHOICE)).collect();
        Self { kind, title: cut(title.trim(), Self::MOST_TITLE), choices }
    }

    /// The same within the bounds.
    #[must_use]
    pub(crate) fn bounded(&self) -> Self {
        Self::new(self.kind.clone(), &self.title, &self.choices)
    }
}

fn cut(text: &str, most: usize) -> String {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text).into()
}

/// For people: `Allow Bash(rm -rf build)? [yes, no]`.
impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = if self.title.is_empty() { "something" } else { &self.title };
        write!(f, "{}", Shown::new(title))?;
        let mut separator = " [";
        for choice in &self.choices {
            write!(f, "{separator}{}", Shown::new(choice))?;
            separator = ", ";
        }
        if self.choices.is_empty() { Ok(()) } else { f.write_str("]") }
    }
}

/// The fact on which a state rests.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct ActivityBasis {
    pub fact: ActivityFact,
    pub lane: ActivityLane,
    /// When it came.
    pub at: WallTime,
}

impl ActivityBasis {
    /// For people: `its turn ended 40s ago, as its hook says`.
    pub(crate) fn words(&self, now: WallTime) -> String {
        let ago = seconds(now, self.at);
        let fact = match &self.fact {
            ActivityFact::Started => "it was started",
            ActivityFact::SessionStart => "its session began",
            ActivityFact::SessionEnd => "its session ended",
            ActivityFact::Prompt => "it took a prompt",
            ActivityFact::Tool => "it used a tool",
            ActivityFact::Notification => "it called for attention",
            ActivityFact::Permission => "it asked for a permission",
            ActivityFact::Stop => "its turn ended",
            ActivityFact::Bell => "it rang its bell",
            ActivityFact::TerminalNotification => "it showed a notification",
            ActivityFact::PromptStart => "it showed its prompt",
            ActivityFact::CommandStart => "it began a command",
            ActivityFact::CommandEnd => "it ended a command",
            ActivityFact::Input => "something was typed",
            ActivityFact::Output => "it wrote",
            ActivityFact::Reads => "it reads its terminal, seen",
            ActivityFact::Unknown(word) => return format!("{} {ago} ago", Shown::new(word)),
        };
        let by = match &self.lane {
            ActivityLane::Hook => ", as its hook says",
            ActivityLane::Stream => ", as its output says",
            ActivityLane::Terminal => "",
            ActivityLane::Unknown(_) => "",
        };
        format!("{fact} {ago} ago{by}")
    }
}

/// What a program does, as it was told of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Activity {
    /// Which of the agent's commands it is: a terminal, or a run of a program.
    pub command: Option<CommandId>,
    pub state: ActivityState,
    pub since: WallTime,
    pub basis: Option<ActivityBasis>,
    /// While it asks.
    pub question: Option<Question>,
}

impl Activity {
    /// For people, as of `now`: `waiting for a prompt 40s`, `asks: Allow Bash(rm)? [yes, no]`, `quiet for 40s`.
    pub fn words(&self, now: WallTime) -> String {
        let lasts = seconds(now, self.since);
        match (&self.state, &self.question) {
            (ActivityState::Working, _) => format!("working {lasts}"),
            (ActivityState::Waiting, _) => format!("waiting for a prompt {lasts}"),
            (ActivityState::Asking, Some(question)) => format!("asks: {question}"),
            (ActivityState::Asking, None) => format!("asks something {lasts}"),
            (ActivityState::Writing, _) => "writing".into(),
            (ActivityState::Quiet, _) => format!("quiet for {lasts}"),
            (ActivityState::Gone, _) => "not running".into(),
            (ActivityState::Unknown(_), _) => self.state.to_string(),
        }
    }

    /// The state in words, and the fact that shows it.
    pub(crate) fn with_basis(&self, now: WallTime) -> String {
        match &self.basis {
            Some(basis) => format!("{} ({})", self.words(now), basis.words(now)),
            None => self.words(now),
        }
    }
}

/// Whole units, as long as a person reads them: 40s, 12m, 3h.
fn seconds(now: WallTime, then: WallTime) -> String {
    let ms = now.unix_millis().saturating_sub(then.unix_millis()).max(0);
    let lasted = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    match lasted.as_secs() {
        s @ 0..120 => format!("{s}s"),
        s @ 120..7200 => format!("{}m", s / 60),
        s => format!("{}h", s / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activity(state: ActivityState) -> Activity {
        let since = WallTime::from_unix_millis(1_000_000);
        Activity { command: None, state, since, basis: None, question: None }
    }

    #[test]
    fn the_words_of_each_state() {
        let now = WallTime::from_unix_millis(1_040_000);
        let words = |state| activity(state).words(now);
        assert_eq!(words(ActivityState::Waiting), "waiting for a prompt 40s");
        assert_eq!(words(ActivityState::Quiet), "quiet for 40s");
        assert_eq!(words(ActivityState::Working), "working 40s");
        assert_eq!(words(ActivityState::Asking), "asks something 40s");
        let title = "Allow Bash(rm)?";
        let question = Some(Question::new(QuestionKind::Permission, title, ["yes", "no"]));
        let asks = Activity { question, ..activity(ActivityState::Asking) };
        assert_eq!(asks.words(now), "asks: Allow Bash(rm)? [yes, no]");
    }

    #[test]
    fn what_a_program_chose_is_bounded_and_shown_without_control_characters() {
        let title = "\u{e9}".repeat(1000);
        let choices = core::iter::repeat_n("\u{e9}".repeat(100), 100);
        let question = Question::new(QuestionKind::Question, &title, choices);
        assert_eq!(question.title.len(), Question::MOST_TITLE);
        assert_eq!(question.choices.len(), Question::MOST_CHOICES);
        assert!(question.choices.iter().all(|choice| choice.len() == Question::MOST_CHOICE));
        let question = Question::new(QuestionKind::Question, "a\u{1b}[2Jb", ["\u{7}"]);
        assert!(!question.to_string().contains(['\u{1b}', '\u{7}']), "{question}");
    }

    #[test]
    fn a_state_names_its_fact() {
        let (fact, lane) = (ActivityFact::Stop, ActivityLane::Hook);
        let basis = Some(ActivityBasis { fact, lane, at: WallTime::from_unix_millis(1_000_000) });
        let waits = Activity { basis, ..activity(ActivityState::Waiting) };
        assert_eq!(
            waits.with_basis(WallTime::from_unix_millis(1_300_000)),
            "waiting for a prompt 5m (its turn ended 5m ago, as its hook says)"
        );
    }
}
