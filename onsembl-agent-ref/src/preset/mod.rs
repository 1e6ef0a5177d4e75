//! Presets: what is known of programs that people wrap. Each is a file of data: how it is started, how it says what it
//! does, how it is answered and interrupted, which version was looked at. A file of one's own takes the place of one
//! of ours.

mod apply;
mod check;

pub(crate) use apply::SETTINGS_FILE;
pub use apply::{Additions, Applied, Form, OwnPaths, SessionChoice};
pub use check::{Finding, check, check_version};

use onsembl_protocol::worker::{Meaning, Modes, StreamFormat, SubmitKey, Typing};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The presets of this program: their names, and their files.
pub const BUILT_IN: [(&str, &str); 4] = [
    ("claude", include_str!("data/claude.json")),
    ("codex", include_str!("data/codex.json")),
    ("gemini", include_str!("data/gemini.json")),
    ("shell", include_str!("data/shell.json")),
];

/// Longest file of a preset that is read.
const MOST_BYTES: u64 = 256 * 1024;

/// A kind of program that is wrapped.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Preset {
    /// Its name, which is the type of the agent too.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub about: String,
    /// The version with which its facts were recorded.
    #[serde(default)]
    pub recorded_with: String,
    /// The program and its first arguments.
    pub program: Vec<String>,
    /// How it runs in a terminal.
    #[serde(default)]
    pub terminal: Option<TerminalForm>,
    /// How it takes one prompt and ends.
    #[serde(default)]
    pub one_shot: Option<OneShotForm>,
    /// Settings for the program, with its hooks: `{settings}` in an argument is their JSON, `{settings_file}` the path
    /// of a file that has it.
    #[serde(default)]
    pub settings: Option<Value>,
    /// Variables that it gets.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The keys that submit a text: Enter if none are named.
    #[serde(default)]
    pub submit: Option<String>,
    /// The key for a line end within a text, for people who type it: a text is pasted.
    #[serde(default)]
    pub newline: Option<String>,
    /// The keys that interrupt a turn, for people who type them: nothing interrupts one by itself.
    #[serde(default)]
    pub interrupt: Option<String>,
    /// What may be answered when it asks for a permission, and by which keys.
    #[serde(default)]
    pub answers: Vec<Answer>,
    /// What the bell of its terminal means.
    #[serde(default, deserialize_with = "meaning")]
    pub bell: Meaning,
    /// What a notification by its terminal means.
    #[serde(default, deserialize_with = "meaning")]
    pub notification: Meaning,
    /// Arguments for a session of a chosen id.
    #[serde(default)]
    pub session: Option<SessionArguments>,
    /// Which version is needed, and how it is asked for.
    #[serde(default)]
    pub version: Option<Version>,
    /// What else is looked at by `presets NAME --check`.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// What people should know.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// How a program runs in a terminal.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TerminalForm {
    /// Further arguments.
    #[serde(default)]
    pub arguments: Vec<String>,
}

/// How a program takes one prompt and ends.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneShotForm {
    /// Further arguments, in front of the prompt.
    pub arguments: Vec<String>,
    /// Whose structured output it writes.
    #[serde(default, deserialize_with = "stream")]
    pub stream: Option<StreamFormat>,
}

/// An answer to a question.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// In a word.
    pub choice: String,
    /// The keys that give it.
    pub keys: String,
}

/// Arguments for a session of a chosen id, which stands for `{uuid}` in them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionArguments {
    /// For a new one.
    #[serde(default)]
    pub start: Vec<String>,
    /// For one that there was.
    #[serde(default)]
    pub resume: Vec<String>,
    /// For the latest.
    #[serde(default)]
    pub latest: Vec<String>,
}

/// Which version is needed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// What prints it.
    pub ask: Vec<String>,
    /// The first that has all that the preset uses.
    pub at_least: String,
}

/// Something that must succeed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What is run.
    pub run: Vec<String>,
    /// What is said if it does not end with 0.
    pub otherwise: String,
}

/// Why there is no such preset.
#[derive(Debug, thiserror::Error)]
pub enum PresetError {
    /// It is neither one of ours nor a file.
    #[error("unknown preset {0:?}, and no such file; presets are claude, codex, gemini and shell")]
    Unknown(String),
    /// The file cannot be read.
    #[error("cannot read the preset {}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        why: std::io::Error,
    },
    /// It is no preset.
    #[error("the preset {name} is wrong: {why}")]
    Wrong {
        /// Its name or its file.
        name: String,
        /// What is wrong, and where.
        why: String,
    },
    /// It cannot run so.
    #[error("the preset {name} has no {form}; {tip}")]
    NoForm {
        /// Its name.
        name: String,
        /// The form that was asked for.
        form: &'static str,
        /// What to do.
        tip: &'static str,
    },
}

impl Preset {
    /// The preset of this name, or of the file at this path.
    ///
    /// # Errors
    /// There is none, or it is wrong.
    pub fn load(word: &str) -> Result<Self, PresetError> {
        if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == word) {
            return Self::parse(name, text);
        }
        let path = PathBuf::from(word);
        let unreadable = |why| PresetError::Unreadable { path: path.clone(), why };
        let size = match std::fs::metadata(&path) {
            Ok(found) => found.len(),
            Err(_) if !word.contains(['/', '.']) => {
                return Err(PresetError::Unknown(word.to_owned()));
            }
            Err(error) => return Err(unreadable(error)),
        };
        if size > MOST_BYTES {
            let why = format!("it has more than {MOST_BYTES} bytes");
            return Err(PresetError::Wrong { name: word.to_owned(), why });
        }
        Self::parse(word, &std::fs::read_to_string(&path).map_err(unreadable)?)
    }

    fn parse(name: &str, text: &str) -> Result<Self, PresetError> {
        let wrong = |why: String| PresetError::Wrong { name: name.to_owned(), why };
        let preset: Self = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if preset.program.is_empty() {
            return Err(wrong("`program` is empty".to_owned()));
        }
        let keys = [&preset.submit, &preset.newline, &preset.interrupt].into_iter().flatten();
        let answers = preset.answers.iter().map(|answer| &answer.keys);
        for keys in keys.chain(answers) {
            if let Err(error) = Typing::keys(keys, &Modes::default()) {
                return Err(wrong(error.to_string()));
            }
        }
        Ok(preset)
    }
}

impl Preset {
    /// What submits a text.
    fn submit_key(&self) -> Result<SubmitKey, PresetError> {
        let Some(names) = &self.submit else { return Ok(SubmitKey::Enter) };
        SubmitKey::parse(names)
            .map_err(|error| PresetError::Wrong { name: self.name.clone(), why: error.to_string() })
    }
}

fn meaning<'de, D: Deserializer<'de>>(d: D) -> Result<Meaning, D::Error> {
    let word = String::deserialize(d)?;
    let wrong =
        || serde::de::Error::custom(format!("{word:?} is not one of nothing, waits and asks"));
    Meaning::parse(&word).ok_or_else(wrong)
}

fn stream<'de, D: Deserializer<'de>>(d: D) -> Result<Option<StreamFormat>, D::Error> {
    let word = String::deserialize(d)?;
    let wrong =
        || serde::de::Error::custom(format!("{word:?} is not one of claude, codex and gemini"));
    StreamFormat::parse(&word).map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_read() {
        for (name, _) in BUILT_IN {
            let preset = Preset::load(name).unwrap();
            assert_eq!(preset.name, name);
            assert!(preset.terminal.is_some() && preset.version.is_some(), "{name}");
            assert_eq!(preset.one_shot.is_none(), name == "shell");
        }
    }

    #[test]
    fn a_file_takes_the_place_of_one_of_ours_and_what_is_wrong_in_it_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let load = |text: &str| {
            let path = dir.path().join("mine.json");
            std::fs::write(&path, text).unwrap();
            Preset::load(path.to_str().unwrap())
                .map(|preset| preset.name)
                .map_err(|e| e.to_string())
        };
        let mine =
            r#"{ "name": "mine", "program": ["mine"], "interrupt": "ctrl-c", "bell": "asks" }"#;
        assert_eq!(load(mine), Ok("mine".to_owned()));
        for (text, word) in [
            (r#"{ "name": "x", "program": [] }"#, "empty"),
            (r#"{ "name": "x", "program": ["x"], "hooks": 1 }"#, "hooks"),
            (r#"{ "name": "x", "program": ["x"], "bell": "rings" }"#, "rings"),
            (r#"{ "name": "x", "program": ["x"], "interrupt": "esc4pe" }"#, "esc4pe"),
            (r#"{ "name": "x" "#, "line 1"),
        ] {
            let why = load(text).unwrap_err();
            assert!(why.contains(word), "{why}");
        }
        assert!(Preset::load("cluade").unwrap_err().to_string().contains("claude, codex"));
        assert!(Preset::load("./nosuch.json").unwrap_err().to_string().contains("cannot read"));
    }
}
