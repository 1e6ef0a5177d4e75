//! A preset becomes what is run: arguments, variables, settings of the program, and what its facts mean.

use super::{Preset, PresetError, SessionArguments};
use onsembl_protocol::worker::{ActivityConfig, SubmitKey};
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

/// Which session of its own a program has in its terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SessionChoice {
    /// The program decides.
    #[default]
    Own,
    /// A new one of this id. When the program is started again, it continues with that.
    Begin(String),
    /// One that there was, of this id.
    Resume(String),
    /// The latest that there was.
    Latest,
}

/// Where things are that a preset names.
#[derive(Clone, Copy, Debug)]
pub struct OwnPaths<'a> {
    /// The program of the agent, which hooks run.
    pub agent: &'a Path,
    /// The state directory of the agent.
    pub state_dir: &'a Path,
}

/// What a preset adds to the runs of its program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Additions {
    /// Variables.
    pub environment: Vec<(String, String)>,
    /// What the facts of the program mean.
    pub activity: ActivityConfig,
    /// What is written into a file of settings for the program, in the state directory.
    pub settings: Option<String>,
    /// What submits a text to the program.
    pub submit: SubmitKey,
    /// The arguments with which the program, when it is started again, resumes where it was.
    pub resuming: Option<Vec<String>>,
}

/// A preset, ready to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// What to start; looked for in `PATH` if it names no folder.
    pub program: String,
    /// What it gets.
    pub arguments: Vec<String>,
    /// What else there is to its runs.
    pub additions: Additions,
}

impl Preset {
    /// What is run in this form, with this session and these further arguments.
    ///
    /// # Errors
    /// It has no such form, or no such session.
    pub fn apply(
        &self,
        form: Form,
        session: &SessionChoice,
        further: impl IntoIterator<Item = String>,
        paths: OwnPaths<'_>,
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
        let settings =
            self.settings.as_ref().map(|settings| filled_in(settings, paths).to_string());
        let fill = |text: &String| fill(text, paths, settings.as_deref());
        let program = self.program.first().cloned().unwrap_or_default();
        let fixed = self.program.iter().skip(1).chain(arguments);
        // Those of the user last, but in front of a flag behind which the prompt stands.
        let mut arguments: Vec<String> = fixed.map(fill).collect();
        let further: Vec<String> = further.into_iter().collect();
        let (session, again) = self.session_arguments(form, session)?;
        let resuming = again.map(|again| [arguments.clone(), again, further.clone()].concat());
        arguments.extend(session);
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
        let additions = Additions {
            environment,
            activity,
            settings,
            submit: self.submit_key()?,
            resuming: resuming.filter(|_| form == Form::Terminal),
        };
        Ok(Applied { program, arguments, additions })
    }

    /// The arguments for a session, and those with which the program continues with it when it is started again.
    fn session_arguments(
        &self,
        form: Form,
        choice: &SessionChoice,
    ) -> Result<(Vec<String>, Option<Vec<String>>), PresetError> {
        let none = SessionArguments::default();
        let known = self.session.as_ref().unwrap_or(&none);
        let no_session =
            |what, tip| PresetError::NoForm { name: self.name.clone(), form: what, tip };
        let (template, id) = match choice {
            SessionChoice::Own => return Ok((Vec::new(), None)),
            SessionChoice::Begin(_) | SessionChoice::Resume(_) | SessionChoice::Latest
                if form == Form::OneShot =>
            {
                return Err(no_session("session for runs of one prompt", "use --runner terminal"));
            }
            SessionChoice::Begin(id) => (&known.start, id.as_str()),
            SessionChoice::Resume(id) => (&known.resume, id.as_str()),
            SessionChoice::Latest => (&known.latest, ""),
        };
        if template.is_empty() {
            return Err(no_session(
                "arguments for that session",
                "see `session` in `onsembl-agent presets NAME`",
            ));
        }
        let filled = |template: &[String]| -> Vec<String> {
            template.iter().map(|text| text.replace("{uuid}", id)).collect()
        };
        let again = match choice {
            SessionChoice::Begin(_) if !known.resume.is_empty() => Some(filled(&known.resume)),
            SessionChoice::Begin(_)
            | SessionChoice::Own
            | SessionChoice::Resume(_)
            | SessionChoice::Latest => None,
        };
        Ok((filled(template), again))
    }
}

/// The settings with the command of the hook in them.
fn filled_in(value: &Value, paths: OwnPaths<'_>) -> Value {
    match value {
        Value::String(text) => Value::String(fill(text, paths, None)),
        Value::Array(all) => all.iter().map(|value| filled_in(value, paths)).collect(),
        Value::Object(all) => {
            all.iter().map(|(name, value)| (name.clone(), filled_in(value, paths))).collect()
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other.clone(),
    }
}

fn fill(text: &str, paths: OwnPaths<'_>, settings: Option<&str>) -> String {
    let agent = paths.agent.to_string_lossy();
    let hook = format!("{} hook", for_shell(&agent));
    let file = paths.state_dir.join(SETTINGS_FILE);
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
        with_session(name, form, &SessionChoice::Own, further).unwrap()
    }

    fn with_session(
        name: &str,
        form: Form,
        session: &SessionChoice,
        further: &[&str],
    ) -> Result<Applied, PresetError> {
        let (agent, state_dir) = (Path::new("/opt/a b/onsembl-agent"), Path::new("/state"));
        let further = further.iter().map(ToString::to_string);
        let paths = OwnPaths { agent, state_dir };
        Preset::load(name).unwrap().apply(form, session, further, paths)
    }

    #[test]
    fn a_session_is_begun_under_an_id_and_gone_on_with() {
        let of = |name, choice: &SessionChoice, further: &[&str]| {
            with_session(name, Form::Terminal, choice, further)
        };
        let (begin, resume) =
            (SessionChoice::Begin("u-1".to_owned()), SessionChoice::Resume("u-1".to_owned()));
        let run = of("gemini", &begin, &["-m", "x"]).unwrap();
        assert_eq!(run.arguments, ["--session-id", "u-1", "-m", "x"]);
        let again = run.additions.resuming.unwrap();
        assert_eq!(again, ["--resume", "u-1", "-m", "x"]);
        let run = of("gemini", &resume, &[]).unwrap();
        assert_eq!(
            (run.arguments, run.additions.resuming),
            (vec!["--resume".into(), "u-1".into()], None)
        );
        let run = of("claude", &SessionChoice::Latest, &[]).unwrap();
        assert_eq!(run.arguments.last().unwrap(), "--continue");
        let run = of("codex", &resume, &[]).unwrap();
        assert!(run.arguments.ends_with(&["resume".to_owned(), "u-1".to_owned()]), "{run:?}");
        // It chooses its ids itself; a shell has none.
        for (name, choice) in
            [("codex", &begin), ("shell", &begin), ("shell", &SessionChoice::Latest)]
        {
            let why = of(name, choice, &[]).unwrap_err().to_string();
            assert!(why.contains("has no arguments for that session"), "{why}");
        }
        let why = with_session("claude", Form::OneShot, &begin, &[]).unwrap_err().to_string();
        assert!(why.contains("--runner terminal"), "{why}");
    }

    #[test]
    fn the_key_that_submits_is_that_of_the_preset() {
        assert_eq!(applied("claude", Form::Terminal, &[]).additions.submit, SubmitKey::Enter);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.json");
        let mine = r#"{ "name": "x", "program": ["x"], "terminal": {}, "submit": "ctrl-s" }"#;
        std::fs::write(&path, mine).unwrap();
        let run = applied(path.to_str().unwrap(), Form::Terminal, &[]);
        assert_eq!(run.additions.submit, SubmitKey::Keys("ctrl-s".to_owned()));
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
        let paths = OwnPaths { agent: Path::new("a"), state_dir: Path::new("s") };
        let shell =
            Preset::load("shell").unwrap().apply(Form::OneShot, &SessionChoice::Own, [], paths);
        assert!(shell.unwrap_err().to_string().contains("--runner terminal"));
    }
}
