//! `onsembl-server exec`: runs a command on an agent as if it ran here.

use super::remote::Remote;
use super::{complain, print};
use crate::client::{Canceller, Followed, RemoteCommand};
use clap::Args;
use onsembl_protocol::wire::payload::{CommandInput, OfflinePolicy, Priority};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// `exec` itself failed.
const FAILED: u8 = 125;
/// `--timeout` ended the command.
const TIMED_OUT: u8 = 124;

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
    /// The words are names of keys, for an agent with a terminal: enter, escape, up, ctrl-c, y ….
    #[arg(long, env = "ONSEMBL_KEYS")]
    keys: bool,
    /// The command; its words are joined by one space and run by `/bin/sh -c` on the agent, or typed
    /// into its terminal if it has one.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

fn offline(word: &str) -> Result<OfflinePolicy, &'static str> {
    match OfflinePolicy::parse(word) {
        OfflinePolicy::Unknown(_) => Err("it is refuse or queue"),
        known @ (OfflinePolicy::Refuse | OfflinePolicy::Queue) => Ok(known),
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

    async fn execute(self) -> anyhow::Result<u8> {
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
            text: self.command.join(" "),
            timeout: self.timeout,
            offline: self.offline,
            priority: self.priority,
            input: if self.keys { CommandInput::Keys } else { CommandInput::Text },
        };
        let (stdout, stderr) = print::raw_streams();
        let followed = command.run(stdout, stderr, interrupted).await?;
        // What does not fit into an exit code of this system is cut to it, as a shell does.
        let cut = |code: i32| (code & 0xff) as u8;
        Ok(match followed {
            Followed::Exited(exit) => cut(exit.shell_code()),
            Followed::Cancelled { by: Canceller::Timeout, .. } => TIMED_OUT,
            Followed::Cancelled { by: Canceller::Signal(signal), .. } => cut(128 + signal),
        })
    }
}
