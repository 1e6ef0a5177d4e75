//! What a fact makes of what was known: the transitions, without time.
//!
//! The table of them in `transitions.md`, which STATES.md shows, is compared with this by a test.

use super::config::{ActivityConfig, Meaning};
use super::fact::{Call, Fact, Input, ToolUser};
use crate::model::{ActivityLane, Question, QuestionKind};

/// What facts show that a program does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    Working,
    Waiting,
    Asking(Question),
}

/// What becomes of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The fact shows nothing about it.
    Stays,
    /// It stays, and there is no doubt about it.
    Confirmed,
    /// It stays for a while: the fact speaks against it, and may be about something else.
    Doubted,
    /// It is not known any more what the program does.
    Ends,
    Becomes(Claim),
}

impl Claim {
    /// What is known after this fact.
    pub(super) fn after(
        before: Option<&Self>,
        lane: &ActivityLane,
        fact: &Fact,
        config: &ActivityConfig,
    ) -> Change {
        match fact {
            Fact::SessionStarted => Self::at_prompt(lane),
            Fact::SessionEnded => Change::Ends,
            Fact::PromptSubmitted => Change::Becomes(Self::Working),
            Fact::ToolUsed(ToolUser::Agent) => Change::Becomes(Self::Working),
            // The agent itself may wait meanwhile.
            Fact::ToolUsed(ToolUser::Subagent) => Change::Stays,
            Fact::Notified(Call::Waits) => Self::at_prompt(lane),
            Fact::Notified(Call::Asks(question)) => match before {
                // It is called for the same question, of which more was said before.
                Some(Self::Asking(_)) => Change::Confirmed,
                Some(Self::Working | Self::Waiting) | None => {
                    Change::Becomes(Self::Asking(question.clone()))
                }
            },
            Fact::Notified(Call::Other) => Change::Stays,
            Fact::PermissionRequested(question) => {
                Change::Becomes(Self::Asking(config.with_choices(question)))
            }
            Fact::TurnEnded => match (before, lane) {
                // Codex also says it of the title that it has made, and Claude Code of a turn beside which a subagent asks.
                (Some(Self::Asking(_)), ActivityLane::Hook | ActivityLane::Terminal) => {
                    Change::Doubted
                }
                (Some(Self::Asking(_)), ActivityLane::Stream | ActivityLane::Unknown(_))
                | (Some(Self::Working | Self::Waiting) | None, _) => Self::at_prompt(lane),
            },
            Fact::Bell => Self::meaning(before, config.bell, ""),
            Fact::TerminalNotified(text) => Self::meaning(before, config.notification, text),
            Fact::PromptStarted => Self::at_prompt(lane),
            Fact::CommandStarted => Change::Becomes(Self::Working),
            // What follows is the next prompt, which is marked too.
            Fact::CommandEnded => Change::Ends,
        }
    }

    /// What is known after something was typed.
    pub(super) fn after_input(&self, input: Input) -> Change {
        match (self, input) {
            // What was typed may be the answer, and no hook says that it is.
            (Self::Asking(_), Input::Submits | Input::Interrupts | Input::Key) => Change::Ends,
            // Until the program says that it took it.
            (Self::Waiting, Input::Submits) => Change::Ends,
            (Self::Waiting, Input::Interrupts | Input::Key) => Change::Stays,
            // Programs queue it, and continue.
            (Self::Working, Input::Submits | Input::Key) => Change::Stays,
            // It may have dropped its turn, of which no hook tells.
            (Self::Working, Input::Interrupts) => Change::Ends,
        }
    }

    /// It can take a prompt now, if it is one that does.
    fn at_prompt(lane: &ActivityLane) -> Change {
        match lane {
            ActivityLane::Hook | ActivityLane::Terminal => Change::Becomes(Self::Waiting),
            // Such a run takes one prompt, and ends.
            ActivityLane::Stream => Change::Ends,
            ActivityLane::Unknown(_) => Change::Ends,
        }
    }

    fn meaning(before: Option<&Self>, meaning: Meaning, text: &str) -> Change {
        match (meaning, before) {
            (Meaning::Nothing, _) => Change::Stays,
            (Meaning::Asks, Some(Self::Asking(_))) => Change::Confirmed,
            // It does not say which of those it is about that work in the program.
            (Meaning::Waits, Some(Self::Asking(_))) => Change::Doubted,
            (Meaning::Waits, Some(Self::Working | Self::Waiting) | None) => {
                Change::Becomes(Self::Waiting)
            }
            (Meaning::Asks, Some(Self::Working | Self::Waiting) | None) => {
                let none: [&str; 0] = [];
                let question = Question::new(QuestionKind::Attention, text, none);
                Change::Becomes(Self::Asking(question))
            }
        }
    }

    /// Whether it is that somebody is awaited.
    pub(super) const fn awaits_somebody(&self) -> bool {
        match self {
            Self::Working => false,
            Self::Waiting | Self::Asking(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    fn question() -> Question {
        Question::new(QuestionKind::Permission, "Allow Bash(rm)?", ["yes"])
    }

    fn facts() -> Vec<(&'static str, ActivityLane, Fact)> {
        use ActivityLane::{Hook, Stream, Terminal};
        let text = String::new;
        alloc::vec![
            ("`session-start`", Hook, Fact::SessionStarted),
            ("`session-end`", Hook, Fact::SessionEnded),
            ("`prompt`", Hook, Fact::PromptSubmitted),
            ("`tool`", Hook, Fact::ToolUsed(ToolUser::Agent)),
            ("`tool` of a subagent", Hook, Fact::ToolUsed(ToolUser::Subagent)),
            ("`permission`", Hook, Fact::PermissionRequested(question())),
            ("`notification`: waits", Hook, Fact::Notified(Call::Waits)),
            ("`notification`: asks", Hook, Fact::Notified(Call::Asks(question()))),
            ("`notification`: else", Hook, Fact::Notified(Call::Other)),
            ("`stop`", Hook, Fact::TurnEnded),
            ("`session-start` in a stream", Stream, Fact::SessionStarted),
            ("`prompt` in a stream", Stream, Fact::PromptSubmitted),
            ("`tool` in a stream", Stream, Fact::ToolUsed(ToolUser::Agent)),
            ("`stop` in a stream", Stream, Fact::TurnEnded),
            ("`prompt-start`", Terminal, Fact::PromptStarted),
            ("`command-start`", Terminal, Fact::CommandStarted),
            ("`command-end`", Terminal, Fact::CommandEnded),
            ("`bell` that asks", Terminal, Fact::Bell),
            ("`terminal-notification` that waits", Terminal, Fact::TerminalNotified(text())),
        ]
    }

    const INPUTS: [(&str, Input); 3] = [
        ("Enter is typed", Input::Submits),
        ("Escape or Ctrl-C is typed", Input::Interrupts),
        ("another key is typed", Input::Key),
    ];

    fn word(before: Option<&Claim>, change: &Change) -> &'static str {
        match change {
            Change::Stays if before.is_none() => "-",
            Change::Stays | Change::Confirmed => "stays",
            Change::Doubted => "stays, doubted",
            Change::Ends if before.is_none() => "-",
            Change::Ends => "not known",
            Change::Becomes(Claim::Working) => "`working`",
            Change::Becomes(Claim::Waiting) => "`waiting`",
            Change::Becomes(Claim::Asking(_)) => "`asking`",
        }
    }

    /// The table as it is to stand in the document.
    fn table() -> String {
        let config = ActivityConfig {
            bell: Meaning::Asks,
            notification: Meaning::Waits,
            ..ActivityConfig::default()
        };
        let befores =
            [None, Some(Claim::Working), Some(Claim::Waiting), Some(Claim::Asking(question()))];
        let mut table = String::from(
            "| fact | not known | `working` | `waiting` | `asking` |\n| --- | --- | --- | --- | --- |\n",
        );
        for (name, lane, fact) in facts() {
            let cells = befores.each_ref().map(|before| {
                let change = Claim::after(before.as_ref(), &lane, &fact, &config);
                word(before.as_ref(), &change)
            });
            table += &format!("| {name} | {} |\n", cells.join(" | "));
        }
        for (name, input) in INPUTS {
            let cells = befores.each_ref().map(|before| {
                let change = before.as_ref().map_or(Change::Stays, |b| b.after_input(input));
                word(before.as_ref(), &change)
            });
            table += &format!("| {name} | {} |\n", cells.join(" | "));
        }
        table
    }

    #[test]
    fn the_document_has_every_transition() {
        let document = include_str!("transitions.md");
        let table = table();
        assert!(document.contains(&table), "transitions.md is to have this table:\n{table}");
    }

    #[test]
    fn a_question_keeps_what_was_said_of_it_first() {
        let config = ActivityConfig::default();
        let asked = Claim::Asking(question());
        let call = Fact::Notified(Call::Asks(Question::new(
            QuestionKind::Permission,
            "Claude needs your permission",
            [""; 0],
        )));
        let lane = ActivityLane::Hook;
        assert_eq!(Claim::after(Some(&asked), &lane, &call, &config), Change::Confirmed);
    }
}
