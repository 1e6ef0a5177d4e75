//! What hooks of programs say: an event that the preset of the program names in our words, and the JSON that the
//! program hands to its hooks. Of that JSON only names are read that Claude Code, Codex and Gemini CLI document.

use super::fact::{Call, Fact, ToolUser};
use crate::model::{Question, QuestionKind};
use alloc::format;
use alloc::string::{String, ToString};
use serde_json::Value;

/// Most characters of what a tool is to do that are shown in a question.
const MOST_OF_TOOL: usize = 120;

/// What the hook of a program is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookEvent {
    /// A session began.
    SessionStart,
    /// A session ended.
    SessionEnd,
    /// A prompt was taken.
    Prompt,
    /// A tool is used, or was.
    Tool,
    /// Somebody is called.
    Notification,
    /// A permission is asked for.
    Permission,
    /// A turn is over.
    Stop,
}

impl HookEvent {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::SessionStart,
        Self::SessionEnd,
        Self::Prompt,
        Self::Tool,
        Self::Notification,
        Self::Permission,
        Self::Stop,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessionStart => "session-start",
            Self::SessionEnd => "session-end",
            Self::Prompt => "prompt",
            Self::Tool => "tool",
            Self::Notification => "notification",
            Self::Permission => "permission",
            Self::Stop => "stop",
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == name)
    }

    /// The fact in it, if there is one. `input` is what the program handed to its hook; without one, or with one that
    /// is not understood, the event counts alone.
    pub fn fact(self, input: &Value) -> Option<Fact> {
        let text = |name: &str| input.get(name).and_then(Value::as_str);
        Some(match self {
            // Not a new session: what is said is made shorter in the middle of a turn.
            Self::SessionStart if text("source") == Some("compact") => return None,
            Self::SessionStart => Fact::SessionStarted,
            // The next session begins at once.
            Self::SessionEnd if text("reason") == Some("clear") => return None,
            Self::SessionEnd => Fact::SessionEnded,
            Self::Prompt => Fact::PromptSubmitted,
            Self::Tool => Fact::ToolUsed(match text("agent_id") {
                Some(_) => ToolUser::Subagent,
                None => ToolUser::Agent,
            }),
            Self::Notification => Fact::Notified(call(text("notification_type"), text("message"))),
            Self::Permission => {
                let title = format!("Allow {}?", tool(input));
                Fact::PermissionRequested(question(QuestionKind::Permission, &title))
            }
            Self::Stop => Fact::TurnEnded,
        })
    }
}

fn question(kind: QuestionKind, title: &str) -> Question {
    let none: [&str; 0] = [];
    Question::new(kind, title, none)
}

/// What a notification says by its type; its text is for people, and changes.
fn call(kind: Option<&str>, message: Option<&str>) -> Call {
    let message = message.unwrap_or_default();
    match kind {
        Some("idle_prompt") => Call::Waits,
        Some("permission_prompt" | "ToolPermission") => {
            Call::Asks(question(QuestionKind::Permission, message))
        }
        Some("elicitation_dialog") => Call::Asks(question(QuestionKind::Question, message)),
        Some(_) | None => Call::Other,
    }
}

/// `Bash(rm -rf build)`: the tool, and the first thing that it is given which says what it does.
fn tool(input: &Value) -> String {
    let name = input.get("tool_name").and_then(Value::as_str).unwrap_or("a tool");
    let given = input.get("tool_input");
    let names =
        ["command", "file_path", "path", "notebook_path", "url", "pattern", "query", "prompt"];
    let value = |name: &&str| given.and_then(|given| given.get(*name));
    let what = names.iter().find_map(value).and_then(|what| match what {
        Value::String(text) => Some(text.clone()),
        // A command as a list of words.
        Value::Array(words) => {
            let words = words.iter().filter_map(Value::as_str);
            Some(words.fold(String::new(), |all, word| {
                if all.is_empty() { word.to_string() } else { format!("{all} {word}") }
            }))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    });
    match what {
        Some(what) => {
            let shown: String = what.chars().take(MOST_OF_TOOL).collect();
            let rest = if shown.len() < what.len() { "…" } else { "" };
            format!("{name}({shown}{rest})")
        }
        None => name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_event_has_its_name() {
        for event in HookEvent::ALL {
            assert_eq!(HookEvent::parse(event.as_str()), Some(event));
        }
        assert_eq!(HookEvent::parse("Stop"), None);
    }

    #[test]
    fn a_permission_says_what_for() {
        let asks = |input: Value| match HookEvent::Permission.fact(&input) {
            Some(Fact::PermissionRequested(question)) => question.title,
            other => panic!("{other:?}"),
        };
        let bash = json!({ "tool_name": "Bash", "tool_input": { "command": "rm -rf build" } });
        assert_eq!(asks(bash), "Allow Bash(rm -rf build)?");
        let words =
            json!({ "tool_name": "shell", "tool_input": { "command": ["rm", "-rf", "x"] } });
        assert_eq!(asks(words), "Allow shell(rm -rf x)?");
        assert_eq!(asks(json!({ "tool_name": "WebSearch" })), "Allow WebSearch?");
        for odd in [Value::Null, json!([]), json!({ "tool_name": 7, "tool_input": "x" })] {
            assert_eq!(asks(odd), "Allow a tool?");
        }
        let long =
            json!({ "tool_name": "Bash", "tool_input": { "command": "\u{e9}".repeat(999) } });
        assert!(asks(long).len() <= Question::MOST_TITLE);
    }

    #[test]
    fn what_is_no_new_session_is_none() {
        assert_eq!(HookEvent::SessionStart.fact(&json!({ "source": "compact" })), None);
        assert_eq!(HookEvent::SessionEnd.fact(&json!({ "reason": "clear" })), None);
        let started = HookEvent::SessionStart.fact(&json!({ "source": "resume" }));
        assert_eq!(started, Some(Fact::SessionStarted));
    }

    #[test]
    fn a_notification_counts_by_its_type_and_never_by_its_text() {
        let call = |kind: &str| {
            let input =
                json!({ "notification_type": kind, "message": "is waiting for your input" });
            HookEvent::Notification.fact(&input)
        };
        assert_eq!(call("idle_prompt"), Some(Fact::Notified(Call::Waits)));
        for kind in ["auth_success", "", "waiting"] {
            assert_eq!(call(kind), Some(Fact::Notified(Call::Other)));
        }
        assert!(matches!(call("permission_prompt"), Some(Fact::Notified(Call::Asks(_)))));
        assert!(matches!(call("ToolPermission"), Some(Fact::Notified(Call::Asks(_)))));
    }
}
