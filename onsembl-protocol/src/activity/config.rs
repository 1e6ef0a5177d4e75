//! What is known of a kind of program beforehand; a preset says it.

use super::stream::StreamFormat;
use crate::model::Question;
use alloc::string::String;
use alloc::vec::Vec;

/// What is known of a kind of program beforehand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActivityConfig {
    /// What may be answered to a question for a permission.
    pub choices: Vec<String>,
    /// What the bell of its terminal means.
    pub bell: Meaning,
    /// What a notification by its terminal means.
    pub notification: Meaning,
    /// What it writes for other programs, if it does.
    pub stream: Option<StreamFormat>,
}

/// What a signal of a program means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing that is known: bells ring also at a wrong key.
    #[default]
    Nothing,
    /// It waits for a prompt.
    Waits,
    /// It asks something.
    Asks,
}

impl Meaning {
    /// Reads `nothing`, `waits` or `asks`.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "nothing" => Some(Self::Nothing),
            "waits" => Some(Self::Waits),
            "asks" => Some(Self::Asks),
            _ => None,
        }
    }
}

impl ActivityConfig {
    /// A question with the answers that are known, if it names none itself.
    pub(super) fn with_choices(&self, question: &Question) -> Question {
        match question.choices.is_empty() {
            true => Question::new(question.kind.clone(), &question.title, &self.choices),
            false => question.bounded(),
        }
    }
}
