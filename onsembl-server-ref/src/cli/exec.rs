//! `onsembl-server exec`: runs a command on an agent as if it ran here.

use super::exec_text::{Source, Stripping, ignored_input, text};
use super::remote::Remote;
use super::{complain, print};
use crate::client::attach::{Aftermath, Settled};
use crate::client::{Canceller, Followed, RemoteCommand};
use clap::Args;
use onsembl_protocol::model::Exit;
use onsembl_protocol::wire::payload::{
    CommandInput, OfflinePolicy, OpenLine, Priority, SecretEcho, TypeIf,
};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// `exec` itself failed.
const FAILED: u8 = 125;
/// `--timeout` ended the command.
const TIMED_OUT: u8 = 124;
/// A signal ended the wait.
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

/// The names of keys, for `--help`.
const KEYS: &str = "The words are names of keys, for an agent with a terminal, at most 256.

A character is itself: y, G, é. Others have names: enter, tab, escape, space, backspace, delete, insert, home, end, \
page-up (pageup, pgup), page-down (pagedown, pgdn), up, down, left, right, f1 to f12. Any of them may stand behind \
ctrl-, alt- and shift-, in any order: ctrl-c, alt-x, shift-tab, shift-enter, ctrl-enter, shift-up, ctrl-left, \
ctrl-alt-x. A key may be given by its code: 0x1b is one byte, u+e9 the character of that number. Behind an escape \
nothing is typed for a moment, or it would be another key. ctrl-z is refused where it would suspend the program for \
good; 0x1a sends it all the same.

Keys are typed also into a line that somebody has begun at the agent's own terminal: exec --keys AGENT -- ctrl-u";

#[derive(Debug, Args)]
pub(super) struct Exec {
    #[command(flatten)]
    remote: Remote,
    /// Longest run time; then the command is cancelled and the exit code is 124.
    #[arg(long, env = "ONSEMBL_TIMEOUT", default_value = "5m", value_parser = humantime::parse_duration, value_name = "TIME")]
    timeout: Duration,
    /// What to do if the agent is offline: refuse, or queue until it is back (within --timeout).
    #[arg(long, env = "ONSEMBL_OFFLINE", default_value = "refuse", value_parser = offline, value_name = "POLICY")]
    offline: OfflinePolicy,
    /// How urgent it is among the commands that wait for this agent: low, normal or high.
    #[arg(long, env = "ONSEMBL_PRIORITY", default_value = "normal", value_parser = priority, value_name = "PRIORITY")]
    priority: Priority,
    /// The agent, by its name or its id.
    #[arg(env = "ONSEMBL_AGENT")]
    agent: String,
    /// The words are names of keys, for an agent with a terminal: enter, escape, up, ctrl-c, y … (all: --help).
    #[arg(long, env = "ONSEMBL_KEYS", long_help = KEYS)]
    keys: bool,
    /// Type the text though somebody has begun a line at the agent's own terminal; it is sent with that line.
    #[arg(long)]
    take: bool,
    /// Take the text from this file, or from standard input if it is `-`, instead of from the command line.
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    text_from: Option<PathBuf>,
    /// Type a secret, which is in this file, or on standard input if it is `-`, into the terminal of an agent that is
    /// there. It is kept, logged and shown by nobody on the way; what the program shows of it is ordinary output.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["command", "text_from", "keys", "strip"])]
    secret_from: Option<PathBuf>,
    /// Type the secret also where the terminal shows what is typed.
    #[arg(long, requires = "secret_from")]
    allow_echo: bool,
    /// Type it only if the program in the agent's terminal does this at that moment, as its own hooks or marks show;
    /// else refuse it, and say what it does. There is one: waiting, for a prompt. The agent needs a program that says
    /// what it does: `onsembl-agent run --preset claude`.
    #[arg(long = "if", value_name = "STATE", value_parser = condition)]
    condition: Option<TypeIf>,
    /// With an agent that has a terminal: stay until the program has written nothing for so many seconds, or rings or sends
    /// a notification, and print what it wrote as text.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "3")]
    wait: Option<u32>,
    /// Leave colours and other control characters out of the text, as a log has them that was copied from a terminal.
    #[arg(long)]
    strip: bool,
    /// The command, behind `--`; its words are joined by one space and run by `/bin/sh -c` on the agent, or typed
    /// into its terminal if it has one.
    #[arg(last = true, required_unless_present_any = ["text_from", "secret_from"], value_name = "COMMAND")]
    command: Vec<String>,
}

fn offline(word: &str) -> Result<OfflinePolicy, &'static str> {
    match OfflinePolicy::parse(word) {
        OfflinePolicy::Unknown(_) => Err("it is refuse or queue"),
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
        _ => Err("it is low, normal or high"),
    }
}

impl Exec {
    /// The exit code is the command's; 128 and the signal's number if a signal ended it; 124 on
    /// `--timeout`; 125 if `exec` itself failed.
    pub(super) async fn run(self) -> ExitCode {
        match self.execute().await {
            Ok(code) => ExitCode::from(code),
            Err(error) => complain(FAILED, format_args!("{error:#}")),
        }
    }

    /// The terminal as it is before anything is typed.
    async fn aftermath(&self) -> anyhow::Result<Aftermath> {
        let (remote, wanted) = (self.remote.clone(), self.agent.clone());
        let agent = tokio::task::spawn_blocking(move || remote.find_agent(&wanted)).await??;
        let (token, roots, proxy) =
            (self.remote.token()?, self.remote.roots(), self.remote.proxy()?);
        Aftermath::of(&self.remote.server, token, roots, proxy, &agent).await
    }

    async fn execute(self) -> anyhow::Result<u8> {
        let input = match (self.keys, &self.secret_from) {
            (_, Some(_)) => CommandInput::Secret,
            (true, None) => CommandInput::Keys,
            (false, None) => CommandInput::Text,
        };
        let stripping = if self.strip { Stripping::Stripped } else { Stripping::AsItIs };
        let file = self.secret_from.as_ref().or(self.text_from.as_ref());
        let source = match file {
            Some(path) => Source::File(path),
            None => Source::Words(&self.command),
        };
        let reads_input = file.map(PathBuf::as_path) == Some(Path::new("-"));
        anyhow::ensure!(
            reads_input || ignored_input() == 0,
            "there is text on standard input, and it is not passed on to the command; give the text of the command by --text-from -, or close standard input: </dev/null"
        );
        let text = text(&source, stripping, &input)?;
        let aftermath = match self.wait {
            Some(seconds) => Some((self.aftermath().await?, Duration::from_secs(seconds.into()))),
            None => None,
        };
        let timeout = self.timeout;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let interrupted = async {
            tokio::select! {
                _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
                _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
            }
        };
        let command = RemoteCommand {
            roots: self.remote.roots(),
            proxy: self.remote.proxy()?,
            token: self.remote.token()?,
            server: self.remote.server,
            agent: self.agent,
            text,
            timeout: self.timeout,
            offline: self.offline,
            priority: self.priority,
            input,
            open_line: if self.take { OpenLine::Take } else { OpenLine::Wait },
            condition: self.condition,
            echo: if self.allow_echo { SecretEcho::Allow } else { SecretEcho::Refuse },
        };
        let (stdout, stderr) = print::raw_streams();
        let followed = command.run(stdout, stderr, interrupted).await?;
        if !reads_input && ignored_input() > 0 {
            // It came too late to be refused.
            print::note(
                "onsembl-server: what came on standard input was not passed on to the command",
            )?;
        }
        if let (Some((aftermath, quiet)), Followed::Exited(Exit::Code(0))) = (aftermath, &followed) {
            let (stdout, _) = print::raw_streams();
            let settled = tokio::select! {
                settled = aftermath.follow(stdout, quiet, timeout) => settled?,
                _ = interrupt.recv() => return Ok(INTERRUPTED),
                _ = terminate.recv() => return Ok(TERMINATED),
            };
            return Ok(match settled {
                Settled::Quiet | Settled::Asks => 0,
                Settled::Ended => {
                    print::note("onsembl-server: the program in the terminal has ended")?;
                    0
                }
                Settled::TimedOut => TIMED_OUT,
            });
        }
        // What does not fit into an exit code of this system is cut to it, as a shell does.
        let cut = |code: i32| (code & 0xff) as u8;
        Ok(match followed {
            Followed::Exited(exit) => cut(exit.shell_code()),
            Followed::Cancelled { by: Canceller::Timeout, .. } => TIMED_OUT,
            Followed::Cancelled { by: Canceller::Signal(signal), .. } => cut(128 + signal),
        })
    }
}
