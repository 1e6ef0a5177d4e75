//! The command line of `onsembl-server`. Others script against it.

mod agents;
mod attach;
mod audit;
mod cancel;
mod commands;
mod control;
mod exec;
mod exec_text;
mod export;
mod limits;
mod listen;
mod output;
mod print;
mod remote;
mod renewal;
mod replay;
mod screen;
mod serve;
mod stop;
mod table;
mod token;
mod tokens;
mod why;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use onsembl_transport::logging::{self, LogFormat, LogRules, LogTo, Targets};
use std::fmt::Display;
use std::process::ExitCode;

/// The control server of Onsembl: agents connect to it, dashboards watch and steer.
#[derive(Debug, Parser)]
#[command(name = "onsembl-server", version, about, max_term_width = 100)]
struct Arguments {
    /// What to log to standard error: a level, or rules such as `info,onsembl_transport=debug`. It goes before
    /// RUST_LOG, which is heeded without it [default: info for serve, error for all others].
    #[arg(long, global = true, env = "ONSEMBL_LOG", value_name = "RULES")]
    log: Option<String>,
    /// Log format: `text`, or `json` with one object per line.
    #[arg(long, global = true, env = "ONSEMBL_LOG_FORMAT", default_value = "text", value_name = "FORMAT", value_parser = log_format)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server. Its first line on standard output is the address it listens on.
    Serve(serve::Serve),
    /// Make a token and print it, and nothing else.
    Token(token::Token),
    /// List tokens: for whom and what, which agents they hold, and when and from where they were last shown.
    Tokens(tokens::ListTokens),
    /// Revoke a token, those of an agent, or all of a user: it opens no session any more, and ends those it opened.
    Revoke(token::Revoke),
    /// List the agents of the token's user.
    Agents(agents::Agents),
    /// Run a command on an agent. Its output comes out as it is; its exit code is this one's.
    Exec(exec::Exec),
    /// Cancel a command. It is `cancelled` when its processes are seen to have ended.
    Cancel(cancel::Cancel),
    /// Pause, resume, restart or end an agent, or resize its terminal.
    Control(control::Control),
    /// Stop agents at once: all that runs is killed, and nothing starts until it is released.
    ///
    /// What runs is every process that a command of the agent started, also in the background and whatever it did to
    /// get away; but not what another service started for it (systemd-run, at, a container engine).
    ///
    /// Exit code 0: every agent has verified that nothing lives; 3: it is in force, and an agent that is there has not
    /// verified that yet; 4: it is in force, and an agent is away (it starts nothing when it returns) or cannot
    /// confirm anything; 2: the command line is wrong; 1: anything else, and then ask again, since it may not be in
    /// force.
    Stop(stop::Stop),
    /// Release a stop, so that commands can start again.
    Release(stop::Release),
    /// List commands: how far they are, and why.
    Commands(commands::Commands),
    /// Print the stored output of a command, byte for byte; with --follow, also new output.
    Output(output::Output),
    /// Print the screen of an agent's terminal, or of a command, as it is now; also while the agent is away.
    Screen(screen::Screen),
    /// Attach to the terminal of an agent: live screen and keyboard, until it is left by ctrl-].
    Attach(attach::Attach),
    /// Say why an agent is where it is, why it was away, and what to do about it; or what a command waits for, or
    /// what became of it; or, with --all, how all agents are.
    Why(why::Why),
    /// Check that every byte written by an agent's commands is accounted for.
    Audit(audit::Audit),
    /// Write what the server recorded of an agent to standard output, to be replayed, and why the agent was away.
    Export(export::Export),
    /// Feed recordings to the core and say whether it still does the same.
    Replay(replay::Replay),
    /// Print every limit of a server, and the most memory that it may take.
    Limits(limits::Limits),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return misused(&error),
    };
    // A client's standard error belongs to the command it runs: it logs only what is asked for.
    let is_client = !matches!(arguments.command, Command::Serve(_));
    let default = if is_client { "error" } else { "info" };
    let rules = LogRules::choose(arguments.log.as_deref(), default);
    let _log = match logging::begin(&rules, LogTo::Stderr, Targets::Shown, arguments.log_format) {
        Ok(log) => log,
        Err(error) => return complain(2, error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(1, format_args!("cannot start: {error}")),
    };
    let code = runtime.block_on(async {
        match arguments.command {
            Command::Serve(serve) => finish(serve.run().await),
            Command::Token(token) => finish(token.run().await),
            Command::Tokens(tokens) => finish(tokens.run().await),
            Command::Revoke(revoke) => finish(revoke.run().await),
            Command::Agents(agents) => finish(agents.run().await),
            Command::Exec(exec) => exec.run().await,
            Command::Cancel(cancel) => finish(cancel.run().await),
            Command::Control(control) => finish(control.run().await),
            Command::Stop(stop) => stop.run().await,
            Command::Release(release) => finish(release.run().await),
            Command::Commands(commands) => finish(commands.run().await),
            Command::Output(output) => finish(output.run().await),
            Command::Screen(screen) => finish(screen.run().await),
            Command::Attach(attach) => attach.run().await,
            Command::Why(why) => finish(why.run().await),
            Command::Audit(audit) => finish(audit.run().await),
            Command::Export(export) => finish(export.run().await),
            Command::Replay(replay) => replay.run(),
            Command::Limits(limits) => finish(limits.run()),
        }
    });
    // A read of standard input or a name look-up may still block a thread; that is not waited for.
    runtime.shutdown_background();
    code
}

/// What clap says of arguments that it does not take, and what is most often behind it.
fn misused(error: &clap::Error) -> ExitCode {
    // If standard error is closed, the exit code is what is left to say.
    let _ = error.print();
    let words: Vec<String> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let is_exec = words.iter().any(|word| word == "exec");
    let lacks_dashes = !words.iter().any(|word| word == "--");
    let is_about_words =
        matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::MissingRequiredArgument);
    if is_exec && lacks_dashes && is_about_words {
        let _ = print::note(
            "onsembl-server: the command goes behind `--`, all options before it: onsembl-server exec AGENT -- ls -l",
        );
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn log_format(word: &str) -> Result<LogFormat, &'static str> {
    LogFormat::parse(word).ok_or("it is text or json")
}

fn finish(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(1, format_args!("{error:#}")),
    }
}

fn complain(code: u8, text: impl Display) -> ExitCode {
    // If standard error is closed, the exit code is what is left to say.
    let _ = print::note(format_args!("onsembl-server: {text}"));
    ExitCode::from(code)
}
