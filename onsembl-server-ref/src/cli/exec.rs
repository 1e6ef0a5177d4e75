//! `exec`: runs a command on agents as if it ran here.

use super::connect::{ServerArgs, Unsaid};
use super::exec_run::{FAILED, Interrupts, Outcome, TIMED_OUT, run_many, run_one};
use super::exec_text::{Agents, Source, Stripping, ignored_input, text};
use super::remote::Remote;
use super::view::View;
use super::{complain, print};
use crate::client::attach::{Aftermath, Settled};
use crate::client::{Notes, RemoteCommand, Until};
use anyhow::{Context as _, ensure};
use clap::Args;
use onsembl_protocol::shown::Causes;
use onsembl_protocol::wire::payload::{
    CommandInput, OfflinePolicy, OpenLine, Priority, SecretEcho, TypeIf,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// A signal ended the wait for an answer of a terminal.
const INTERRUPTED: u8 = 130;
/// Why a command that ended well counts as failed.
const LATE_INPUT: &str = "text came on standard input after the command was started, and was not passed on to it; give the text of the command with --text-from -, or close standard input: </dev/null";
/// The agent that is meant where none is named.
const AGENT: &str = "ONSEMBL_AGENT";
/// Commands that run at once on several agents, unless something else is asked for.
const AT_ONCE: usize = 16;

const EXAMPLES: &str = "\
Examples:
  onsembl exec mine -- 'uname -a; seq 3'
  onsembl exec mine --cwd /srv/app --env RUST_LOG=debug -- cargo test
  onsembl exec --all -- uptime                      on all agents, each line prefixed with the agent
  onsembl exec --match 'build-*' -- df -h /
  id=$(onsembl exec mine --detach -- make world)    do not wait; later: onsembl output \"$id\" --follow
  onsembl exec mine -o json -- id -u | jq .exit_code
  onsembl exec coder --wait -- 'fix the tests'      type it into a terminal, and print the answer

Exit codes:
  that of the command; 128 plus the number of the signal that ended it
  124  --timeout ended it
  125  exec itself failed; the reason is on standard error
  130, 143  interrupted or terminated here, and the command with it
  2    the command line is wrong, or no server is given
  With several agents: 0 if all are 0, else the largest.";

/// The names of keys, for `--help`.
const KEYS: &str = "The words are names of keys, for an agent with a terminal, at most 256.

A character is itself: y, G, é. Others have names: enter, tab, escape, space, backspace, delete, insert, home, end, \
page-up (pageup, pgup), page-down (pagedown, pgdn), up, down, left, right, f1 to f24; on the keypad kp-0 to kp-9, \
kp-enter, kp-plus, kp-minus, kp-multiply, kp-divide, kp-decimal, kp-comma, kp-equal. Each may have the prefixes \
ctrl-, alt-, shift- and super-, each once and in any order: ctrl-c, alt-x, shift-tab, shift-enter, ctrl-enter, \
shift-up, ctrl-left, ctrl-alt-x. ^C is ctrl-c. A key may be given by its code: 0x1b is one byte, u+e9 the character of that number. After an escape \
there is a short pause, so that it is not read as the prefix of another key. ctrl-z is refused where it would suspend \
the program forever; 0x1a sends it anyway.

Keys are typed even into an unfinished line at the agent's own terminal: exec --keys AGENT -- ctrl-u";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Exec {
    #[command(flatten)]
    server: ServerArgs,
    /// Time limit; a command that exceeds it is cancelled, with exit code 124. Default: no limit.
    #[arg(long, env = "ONSEMBL_TIMEOUT", value_parser = humantime::parse_duration, value_name = "TIME")]
    timeout: Option<Duration>,
    /// The working directory, on the machine of the agent.
    #[arg(long, value_name = "DIR", help_heading = "Command")]
    cwd: Option<String>,
    /// An environment variable, in addition to those of the agent; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment, help_heading = "Command")]
    env: Vec<(String, String)>,
    /// Print the id of the command as soon as the server has stored it, and leave it running.
    #[arg(long, conflicts_with = "wait")]
    detach: bool,
    /// On all agents that are online; with --offline queue also on those that are offline.
    #[arg(long, conflicts_with_all = ["agent", "wait"], help_heading = "Several agents")]
    all: bool,
    /// On all agents whose name matches, as build-*.
    #[arg(long = "match", value_name = "GLOB", conflicts_with_all = ["agent", "all", "wait"], help_heading = "Several agents")]
    matching: Option<String>,
    /// How many agents at a time.
    #[arg(long, value_name = "COUNT", default_value_t = AT_ONCE, help_heading = "Several agents")]
    parallel: usize,
    /// What to do if the agent is offline: refuse, or queue until it is back (within --timeout).
    #[arg(long, env = "ONSEMBL_OFFLINE", default_value = "refuse", value_parser = offline, value_name = "POLICY")]
    offline: OfflinePolicy,
    /// Priority among the commands that wait for this agent: low, normal or high.
    #[arg(long, env = "ONSEMBL_PRIORITY", default_value = "normal", value_parser = priority, value_name = "PRIORITY")]
    priority: Priority,
    /// The agent, by its name or its id [env: ONSEMBL_AGENT].
    agent: Option<String>,
    /// The words are key names, for an agent with a terminal: enter, escape, up, ctrl-c, y … (all: --help).
    #[arg(long, env = "ONSEMBL_KEYS", long_help = KEYS)]
    keys: bool,
    /// Type the text even if there is an unfinished line at the agent's own terminal; it is submitted with that line.
    #[arg(long)]
    take: bool,
    /// Take the text from this file, or from standard input if it is `-`, instead of from the command line. It has 64 KiB
    /// at most, and 1 MiB for the terminal of one agent.
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    text_from: Option<PathBuf>,
    /// Type a secret from this file, or from standard input if it is `-`, into the terminal of an agent that is
    /// online. It is not stored, logged or shown on its path; what the program echoes is ordinary output.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["command", "text_from", "keys", "strip"])]
    secret_from: Option<PathBuf>,
    /// Type the secret even if the terminal echoes input.
    #[arg(long, requires = "secret_from")]
    allow_echo: bool,
    /// Type it only if the program in the agent's terminal is in this state at that moment, as reported by its
    /// hooks or marks; otherwise refuse it and report the state. The only one is waiting: for a prompt. The agent
    /// needs a program that reports its activity: `onsembl-agent run --preset claude`.
    #[arg(long = "if", value_name = "STATE", value_parser = condition)]
    condition: Option<TypeIf>,
    /// On a terminal too, print every byte of the output unchanged. By default, sequences that make a terminal reply or
    /// change state beyond its screen are omitted on a terminal, and its modes are restored at the end. Pipes and
    /// files always get every byte unchanged.
    #[arg(long, env = "ONSEMBL_RAW")]
    raw: bool,
    /// With an agent that has a terminal: wait until the program has been quiet for this many seconds, or rings the
    /// bell or sends a notification, and print its output as text.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "3")]
    wait: Option<u32>,
    /// Remove colours and other control characters from the text, such as a log copied from a terminal has.
    #[arg(long)]
    strip: bool,
    /// The command, after `--`; its words are joined by spaces and run by `/bin/sh -c` on the agent, or typed into
    /// its terminal if it has one.
    #[arg(last = true, required_unless_present_any = ["text_from", "secret_from"], value_name = "COMMAND")]
    command: Vec<String>,
}

fn offline(word: &str) -> Result<OfflinePolicy, &'static str> {
    match OfflinePolicy::parse(word) {
        OfflinePolicy::Unknown(_) => Err("expected refuse or queue"),
        known @ (OfflinePolicy::Refuse | OfflinePolicy::Queue) => Ok(known),
    }
}

fn condition(word: &str) -> Result<TypeIf, &'static str> {
    match TypeIf::parse(word) {
        TypeIf::Unknown(_) => Err("it is waiting"),
        known @ TypeIf::Waiting => Ok(known),
    }
}

fn priority(word: &str) -> Result<Priority, &'static str> {
    match word {
        "low" => Ok(Priority::Low),
        "normal" => Ok(Priority::Normal),
        "high" => Ok(Priority::High),
        _ => Err("expected low, normal or high"),
    }
}

fn assignment(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("expected NAME=VALUE"),
    }
}

impl Exec {
    pub(super) async fn run(self, view: View) -> ExitCode {
        // It is large, and so is all that it is in.
        match Box::pin(self.execute(view)).await {
            Ok(code) => ExitCode::from(code),
            Err(error) => {
                let code = if error.is::<Unsaid>() { 2 } else { FAILED };
                complain(code, Causes(error.as_ref()))
            }
        }
    }

    async fn execute(mut self, view: View) -> anyhow::Result<u8> {
        let remote = std::mem::take(&mut self.server).connect()?;
        let is_one = !self.all && self.matching.is_none();
        let named = self.agent.take().or_else(|| std::env::var(AGENT).ok());
        let named = named.filter(|_| is_one);
        if is_one && named.is_none() {
            let why = "name an agent, or use --all or --match GLOB; `onsembl agents` lists them";
            return Err(Unsaid::new(why).into());
        }
        let input = match (self.keys, &self.secret_from) {
            (_, Some(_)) => CommandInput::Secret,
            (true, None) => CommandInput::Keys,
            (false, None) => CommandInput::Text,
        };
        let file = self.secret_from.as_ref().or(self.text_from.as_ref());
        let reads_input = file.map(PathBuf::as_path) == Some(Path::new("-"));
        ensure!(
            reads_input || ignored_input() == 0,
            "standard input has text, which is not passed on to the command; give the text of the command with --text-from -, or close standard input: </dev/null"
        );
        let source = match file {
            Some(path) => Source::File(path),
            None => Source::Words(&self.command),
        };
        let stripping = if self.strip { Stripping::Stripped } else { Stripping::AsItIs };
        let agents = if is_one { Agents::One } else { Agents::Several };
        let text = text(&source, stripping, &input, agents)?;
        let interrupts = interrupts()?;
        let code = match named {
            Some(agent) => self.on_one(&remote, agent, text, input, view, interrupts).await?,
            None => self.on_several(&remote, &text, &input, view, interrupts).await?,
        };
        if reads_input || ignored_input() == 0 {
            return Ok(code);
        }
        // It came too late to be refused before the command was run.
        print::say(LATE_INPUT)?;
        Ok(after_late_input(code))
    }

    async fn on_one(
        &self,
        remote: &Remote,
        agent: String,
        text: String,
        input: CommandInput,
        view: View,
        interrupts: Interrupts,
    ) -> anyhow::Result<u8> {
        let agent = match may_be_short(&agent) {
            // The server knows names and whole ids.
            false => agent,
            true => find(remote.clone(), agent).await?,
        };
        let aftermath = match self.wait {
            Some(seconds) => {
                let quiet = Duration::from_secs(seconds.into());
                Some((aftermath(remote, &agent).await?, quiet))
            }
            None => None,
        };
        let command = self.command(remote, agent.clone(), text, input, view);
        let outcome = run_one(command, &agent, view, interrupts.clone()).await?;
        if let Some(error) = &outcome.error {
            return Ok(fail(error));
        }
        match aftermath {
            Some((aftermath, quiet)) if outcome.code == 0 => {
                let aftermath = aftermath.typed_into(outcome.typed_into);
                self.answer(aftermath, quiet, view, interrupts).await
            }
            Some(_) | None => Ok(outcome.code),
        }
    }

    /// Prints what a terminal says to what was typed.
    async fn answer(
        &self,
        aftermath: Aftermath,
        quiet: Duration,
        view: View,
        mut interrupts: Interrupts,
    ) -> anyhow::Result<u8> {
        let (stdout, _) = print::raw_streams();
        let timeout = self.timeout.unwrap_or(Duration::MAX);
        let settled = tokio::select! {
            settled = aftermath.follow(stdout, quiet, timeout) => settled?,
            signal = interrupts.wait_for(Option::is_some) => {
                let signal = signal.ok().and_then(|signal| *signal);
                return Ok(signal.and_then(|s| u8::try_from(128 + s).ok()).unwrap_or(INTERRUPTED));
            }
        };
        Ok(match settled {
            Settled::Quiet | Settled::Asks => 0,
            Settled::Ended => {
                if !view.quiet {
                    print::say("the program in the terminal has ended")?;
                }
                0
            }
            Settled::TimedOut => TIMED_OUT,
        })
    }

    async fn on_several(
        &self,
        remote: &Remote,
        text: &str,
        input: &CommandInput,
        view: View,
        interrupts: Interrupts,
    ) -> anyhow::Result<u8> {
        let asked = remote.clone();
        let agents = tokio::task::spawn_blocking(move || asked.agents()).await??;
        let is_meant = |name: &str| {
            self.matching.as_ref().is_none_or(|glob| fast_glob::glob_match(glob, name))
        };
        let waits = self.offline == OfflinePolicy::Queue;
        let (meant, away): (Vec<_>, Vec<_>) = agents
            .into_iter()
            .filter(|agent| is_meant(&agent.name))
            .partition(|agent| waits || agent.is_there());
        if !away.is_empty() && !view.quiet {
            let names: Vec<_> = away.iter().map(|agent| agent.name.as_str()).collect();
            print::say(format_args!("left out, because they are away: {}", names.join(", ")))?;
        }
        ensure!(!meant.is_empty(), "none of these agents is online; `onsembl agents` lists them");
        let commands = meant.into_iter().map(|agent| {
            let id = agent.agent_id.as_str().to_owned();
            let command = self.command(remote, id, text.to_owned(), input.clone(), view);
            (agent.name, command)
        });
        let outcomes = run_many(commands.collect(), self.parallel, view, interrupts).await?;
        let codes = outcomes.iter().map(|Outcome { code, .. }| *code);
        Ok(codes.max().unwrap_or_default())
    }

    fn command(
        &self,
        remote: &Remote,
        agent: String,
        text: String,
        input: CommandInput,
        view: View,
    ) -> RemoteCommand {
        let server = remote.server();
        let mut command = RemoteCommand::new(server, remote.token(), agent, text, self.timeout);
        command.roots = remote.roots();
        command.proxy = remote.proxy();
        command.working_directory.clone_from(&self.cwd);
        command.env = self.env.iter().cloned().collect::<BTreeMap<_, _>>();
        command.offline = self.offline.clone();
        command.priority = self.priority;
        command.input = input;
        command.open_line = if self.take { OpenLine::Take } else { OpenLine::Wait };
        command.condition.clone_from(&self.condition);
        command.echo = if self.allow_echo { SecretEcho::Allow } else { SecretEcho::Refuse };
        command.until = if self.detach { Until::Taken } else { Until::End };
        command.ends = print::ends(self.raw);
        command.notes = if view.quiet { Notes::Unsaid } else { Notes::WithStderr };
        command
    }
}

/// The exit code of a command for which text came on standard input while it ran: it may have lacked that, so that it
/// did not do what was wanted, whatever it says.
const fn after_late_input(code: u8) -> u8 {
    if code == 0 { FAILED } else { code }
}

/// Says why, and what the exit code is.
fn fail(why: &str) -> u8 {
    // If standard error is closed, the exit code is what is left to say.
    let _ = print::say(why);
    FAILED
}

/// Whether it can be the beginning or the end of an id. Names go before, but cost one more question.
fn may_be_short(agent: &str) -> bool {
    agent.len() >= 4 && agent.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

async fn find(remote: Remote, wanted: String) -> anyhow::Result<String> {
    let agent = tokio::task::spawn_blocking(move || remote.find_agent(&wanted)).await??;
    Ok(agent.as_str().to_owned())
}

/// The terminal as it is before anything is typed.
async fn aftermath(remote: &Remote, agent: &str) -> anyhow::Result<Aftermath> {
    let (asked, wanted) = (remote.clone(), agent.to_owned());
    let agent = tokio::task::spawn_blocking(move || asked.find_agent(&wanted)).await??;
    let (token, roots, proxy) = (remote.token(), remote.roots(), remote.proxy());
    Aftermath::of(remote.server(), token, roots, proxy, &agent).await
}

/// The signals that end the wait, as they come.
fn interrupts() -> anyhow::Result<Interrupts> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    let (sender, receiver) = watch::channel(None);
    drop(tokio::spawn(async move {
        let signal = tokio::select! {
            _ = interrupt.recv() => SignalKind::interrupt(),
            _ = terminate.recv() => SignalKind::terminate(),
        };
        let _ = sender.send_replace(Some(signal.as_raw_value()));
        // Who waits is to see it, and not that nobody sends any more.
        sender.closed().await;
    }));
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_has_a_name_and_may_have_any_value() {
        assert_eq!(assignment("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert_eq!(assignment("A="), Ok(("A".to_owned(), String::new())));
        assert!(assignment("=b").is_err() && assignment("A").is_err());
    }

    #[test]
    fn a_command_that_lacked_its_input_has_not_succeeded() {
        let codes = [0, 3, TIMED_OUT].map(after_late_input);
        assert_eq!(codes, [FAILED, 3, TIMED_OUT]);
    }
}
