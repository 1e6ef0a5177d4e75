//! A preset becomes what is run: arguments, variables, settings of the program, and what its facts mean.

use super::{Preset, PresetError};
use onsembl_protocol::worker::ActivityConfig;
use serde_json::Value;
use std::path::Path;

/// The file of the settings of a program, in the state directory of its agent.
pub(crate) const SETTINGS_FILE: &str = "preset-settings.json";

/// How a program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One that stays, in a terminal.
    Terminal,
    /// A fresh one for each prompt.
    OneShot,
}

/// Where things are that a preset names.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The program of the agent, which hooks run.
    pub agent: &'a Path,
    /// The state directory of the agent.
    pub state_dir: &'a Path,
}

/// What a preset adds to the runs of its program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Additions {
    /// Variables.
    pub environment: Vec<(String, String)>,
    /// What the facts of the program mean.
    pub activity: ActivityConfig,
    /// What is written into a file of settings for the program, in the state directory.
    pub settings: Option<String>,
}

/// A preset, ready to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What to start; looked for in `PATH` if it names no folder.
    pub program: String,
    /// What it gets.
    pub arguments: Vec<String>,
    /// What else there is to its runs.
    pub additions: Additions,
}

impl Preset {
    /// What is run in this form, with these further arguments.
    ///
    /// # Errors
    /// It has no such form.
    pub fn apply(
        &self,
        form: Form,
        further: impl IntoIterator<Item = String>,
        place: Place<'_>,
    ) -> Result<Applied, PresetError> {
        let no_form = |form, tip| PresetError::NoForm { name: self.name.clone(), form, tip };
        let (arguments, stream) = match form {
            Form::Terminal => {
                let tip = "use --runner program";
                let form = self.terminal.as_ref();
                (&form.ok_or_else(|| no_form("form for a terminal", tip))?.arguments, None)
            }
            Form::OneShot => {
                let tip = "use --runner terminal";
                let form = self.one_shot.as_ref();
                let form = form.ok_or_else(|| no_form("form for one prompt", tip))?;
                (&form.arguments, form.stream)
            }
        };
        let settings = self.settings.as_ref().map(|settings| filled_in(settings, place).to_string());
        let fill = |text: &String| fill(text, place, settings.as_deref());
        let program = self.program.first().cloned().unwrap_or_default();
        let fixed = self.program.iter().skip(1).chain(arguments);
        // Those of the user last, but in front of a flag behind which the prompt stands.
        let mut arguments: Vec<String> = fixed.map(fill).collect();
        let last = (form == Form::OneShot).then(|| arguments.pop()).flatten();
        let (before, behind) = match last {
            Some(flag) if flag.starts_with('-') && stream.is_some() => (None, Some(flag)),
            other => (other, None),
        };
        arguments.extend(before);
        arguments.extend(further);
        arguments.extend(behind);
        let environment = self.environment.iter();
        let environment = environment.map(|(name, value)| (name.clone(), fill(value))).collect();
        let needs_file = self.environment.values().any(|value| value.contains("{settings_file}"));
        let activity = ActivityConfig {
            choices: self.answers.iter().map(|answer| answer.choice.clone()).collect(),
            bell: self.bell,
            notification: self.notification,
            stream,
        };
        let settings = settings.filter(|_| needs_file && form == Form::Terminal);
        let additions = Additions { environment, activity, settings };
        Ok(Applied { program, arguments, additions })
    }
}

/// The settings with the command of the hook in them.
fn filled_in(value: &Value, place: Place<'_>) -> Value {
    match value {
        Value::String(text) => Value::String(fill(text, place, None)),
        Value::Array(all) => all.iter().map(|value| filled_in(value, place)).collect(),
        Value::Object(all) => {
            all.iter().map(|(name, value)| (name.clone(), filled_in(value, place))).collect()
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other.clone(),
    }
}

fn fill(text: &str, place: Place<'_>, settings: Option<&str>) -> String {
    let agent = place.agent.to_string_lossy();
    let hook = format!("{} hook", for_shell(&agent));
    let file = place.state_dir.join(SETTINGS_FILE);
    text.replace("{settings_file}", &file.to_string_lossy())
        .replace("{settings}", settings.unwrap_or_default())
        .replace("{agent_quoted}", &Value::String(agent.into_owned()).to_string())
        .replace("{hook}", &hook)
}

/// As one word of a shell.
fn for_shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(name: &str, form: Form, further: &[&str]) -> Applied {
        let (agent, state_dir) = (Path::new("/opt/a b/onsembl-agent"), Path::new("/state"));
        let further = further.iter().map(ToString::to_string);
        Preset::load(name).unwrap().apply(form, further, Place { agent, state_dir }).unwrap()
    }

    #[test]
    fn claude_gets_its_hooks_by_an_argument_and_no_file_of_the_user_is_touched() {
        let run = applied("claude", Form::Terminal, &["--continue"]);
        let [flag, settings, further] = run.arguments.as_slice() else { panic!("{run:?}") };
        assert_eq!((run.program.as_str(), flag.as_str()), ("claude", "--settings"));
        assert_eq!(further, "--continue");
        let settings: Value = serde_json::from_str(settings).unwrap();
        let command = &settings["hooks"]["Stop"][0]["hooks"][0]["command"];
        assert_eq!(command, "'/opt/a b/onsembl-agent' hook stop");
        assert_eq!(run.additions.settings, None);
        assert_eq!(run.additions.activity.choices, ["yes", "no"]);
    }

    #[test]
    fn codex_says_by_its_configuration_whom_it_notifies() {
        let run = applied("codex", Form::Terminal, &[]);
        let notify = "notify=[\"/opt/a b/onsembl-agent\", \"hook\", \"stop\"]";
        assert!(run.arguments.iter().any(|argument| argument == notify), "{run:?}");
    }

    #[test]
    fn gemini_gets_a_file_of_its_own() {
        let run = applied("gemini", Form::Terminal, &[]);
        let variable = ("GEMINI_CLI_SYSTEM_DEFAULTS_PATH", "/state/preset-settings.json");
        let [(name, value)] = run.additions.environment.as_slice() else { panic!("{run:?}") };
        assert_eq!((name.as_str(), value.as_str()), variable);
        assert!(run.additions.settings.unwrap().contains("hook prompt"));
    }

    #[test]
    fn a_run_for_one_prompt_has_it_last() {
        let run = applied("claude", Form::OneShot, &["--model", "x"]);
        assert!(run.additions.activity.stream.is_some());
        let expected = ["-p", "--output-format", "stream-json", "--model", "x", "--verbose"];
        assert_eq!(run.arguments, expected);
        let run = applied("gemini", Form::OneShot, &["-m", "x"]);
        assert_eq!(run.arguments, ["-o", "stream-json", "-m", "x", "-p"]);
        let place = Place { agent: Path::new("a"), state_dir: Path::new("s") };
        let shell = Preset::load("shell").unwrap().apply(Form::OneShot, [], place);
        assert!(shell.unwrap_err().to_string().contains("--runner terminal"));
    }
}
