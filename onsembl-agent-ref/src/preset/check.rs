//! Whether a program is there in a version that its preset knows.

use super::{Preset, Version};
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long one question to a program may take. Some are slow to start.
const WITHIN: Duration = Duration::from_secs(10);

/// Between two looks whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The most that is read of an answer.
const MOST_BYTES: u64 = 4096;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Finding {
    Good(String),
    Bad(String),
}

/// Looks at everything that the preset names. Blocks.
pub fn check(preset: &Preset) -> Vec<Finding> {
    let version = preset.version.as_ref().map(version);
    let checks = preset.checks.iter().map(|check| match ask(&check.run) {
        Ok((true, _)) => Finding::Good(check.run.join(" ")),
        Ok((false, _)) => Finding::Bad(check.otherwise.clone()),
        Err(why) => Finding::Bad(why),
    });
    version.into_iter().chain(checks).collect()
}

/// Looks at the version alone. Blocks.
pub fn check_version(preset: &Preset) -> Option<Finding> {
    preset.version.as_ref().map(version)
}

fn version(wanted: &Version) -> Finding {
    let at_least = &wanted.at_least;
    match ask(&wanted.ask) {
        Err(why) => Finding::Bad(why),
        Ok((_, answer)) => match (numbers(&answer), numbers(at_least)) {
            (Some((text, has)), Some((_, needs))) if has >= needs => {
                Finding::Good(format!("version {text}, of at least {at_least}"))
            }
            (Some((text, _)), Some(_)) => Finding::Bad(format!(
                "version {text} is older than {at_least}, for which this preset was made; its reports of its activity may be incomplete"
            )),
            (_, _) => Finding::Bad(format!(
                "{} reports no version; this preset was made for {at_least}",
                wanted.ask.join(" ")
            )),
        },
    }
}

/// The first numbers with points between them.
fn numbers(text: &str) -> Option<(&str, Vec<u64>)> {
    let words = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    let mut words = words.map(|word| word.trim_matches('.'));
    let word = words.find(|word| word.contains('.'))?;
    let all: Result<Vec<u64>, _> = word.split('.').map(str::parse).collect();
    Some((word, all.ok()?))
}

/// Whether a program ends with 0, and what it says.
fn ask(words: &[String]) -> Result<(bool, String), String> {
    let shown = words.join(" ");
    let (program, arguments) = words.split_first().ok_or("the command for the version is empty")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{program} cannot be started: {error}"))?;
    let end = Instant::now() + WITHIN;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < end => std::thread::sleep(LOOK_EVERY),
            Ok(None) => {
                let killed = child.kill().and_then(|()| child.wait());
                return Err(match killed {
                    Ok(_) => format!("{shown} does not end within {} s", WITHIN.as_secs()),
                    Err(error) => format!("{shown} does not end, and cannot be killed: {error}"),
                });
            }
            Err(error) => return Err(format!("cannot wait for {shown}: {error}")),
        }
    };
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout
            .take(MOST_BYTES)
            .read_to_end(&mut answer)
            .map_err(|error| format!("cannot read the output of {shown}: {error}"))?;
    }
    Ok((status.success(), String::from_utf8_lossy(&answer).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(answer: &str, at_least: &str) -> Finding {
        let ask = ["echo", answer].map(str::to_owned).to_vec();
        version(&Version { ask, at_least: at_least.to_owned() })
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for good in
            ["2.1.197 (Claude Code)", "codex-cli 2.1.0", "GNU bash, version 2.10.1(1)-release"]
        {
            assert!(matches!(of(good, "2.1.0"), Finding::Good(_)), "{good}");
        }
        for bad in ["2.0.99", "codex-cli 1.9.9", "no version", ""] {
            assert!(matches!(of(bad, "2.1.0"), Finding::Bad(_)), "{bad}");
        }
    }

    #[test]
    fn a_program_that_is_missing_is_said() {
        let ask = vec!["nosuchprogram-x".to_owned()];
        let found = version(&Version { ask, at_least: "1.0".to_owned() });
        assert!(matches!(found, Finding::Bad(why) if why.contains("nosuchprogram-x")));
    }
}
