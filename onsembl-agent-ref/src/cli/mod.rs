//! The command line: what can be said, and what the exit code says. Others script against it.

mod config;
mod configured;
mod definition;
mod doctor;
mod generate;
mod log;
mod presets;
mod print;
mod run;
mod service;
mod signals;
mod status;
mod view;

use crate::process::TextOn;
use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use configured::{Configured, Misuse};
use onsembl_protocol::model::TerminalSize;
use onsembl_protocol::shown::Causes;
use onsembl_protocol::worker::{BackgroundPolicy, SpoolBounds, SpoolPolicy};
use onsembl_transport::logging::LogFormat;
use onsembl_transport::secret::Secret;
use std::convert::Infallible;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use view::View;

/// It worked; for `status`, an agent is live.
const OK: u8 = 0;
/// It failed; the reason is on stderr.
const FAILED: u8 = 1;
/// For `status`: no agent is live.
const NOT_RUNNING: u8 = 3;
/// For `run`: another process of this agent took over. The agent must stay away.
const REPLACED: u8 = 4;
/// For `run`: the server refuses this token permanently. The agent must stay away.
const REVOKED: u8 = 5;
/// For `run`: the agent was deleted. It must stay away.
const DELETED: u8 = 6;
/// For `run`: the server refuses this agent permanently, and does not say that it is for its token. It must stay away.
const REFUSED: u8 = 7;
/// The command line or the configuration file is wrong.
const MISUSED: u8 = 2;

/// The agent of Onsembl: runs commands on this machine for a control server.
#[derive(Debug, Parser)]
#[command(name = "onsembl-agent", version)]
struct Cli {
    #[command(flatten)]
    view: View,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Connect to a server and run its commands, until stopped.
    ///
    /// After the exit codes 2, 4, 5, 6 and 7 a restart does not help until the cause is fixed; for systemd:
    /// `RestartPreventExitStatus=2 4 5 6 7`.
    ///
    /// SIGTERM, SIGINT and SIGQUIT stop it. SIGHUP does not: it reloads the token file and the log rules of the
    /// configuration file, and with --attach it ends the attachment but not the program.
    Run(Box<RunArgs>),
    /// Show the status of an agent on this machine.
    Status(StatusArgs),
    /// Check everything between an agent and its server: report what is wrong and what to do.
    ///
    /// It dials as an agent does, over a diagnosis connection that is not listed and does not affect any agent, and
    /// reads the status of a running agent.
    Doctor(Box<DoctorArgs>),
    /// List presets of programs that can be wrapped; with a NAME print one in full, as JSON.
    Presets(PresetsArgs),
    /// Report an event of a program to its agent; programs run this as their hook. EVENT is session-start,
    /// session-end, prompt, tool, notification, permission or stop; its details are read from standard input, or
    /// from a last argument.
    ///
    /// Outside of an agent it does nothing. It takes at most a second and always exits with 0, so that a program
    /// never fails because it is watched.
    Hook(HookArgs),
    /// Check a configuration file, or show what the agent would run with.
    Config(config::ConfigArgs),
    /// Install the agent as a systemd service, remove it, or show its status.
    Service(service::ServiceArgs),
    /// Print a shell completion script.
    Completions(generate::Completions),
    /// Write a man page for each command.
    Man(generate::Man),
}

const PRESETS: &str = "\
Examples:
  onsembl-agent presets
  onsembl-agent presets claude --check
  onsembl-agent presets claude > mine.json      then: onsembl-agent run … --preset ./mine.json";

#[derive(Debug, Args)]
#[command(after_help = PRESETS)]
struct PresetsArgs {
    /// One of claude, codex, gemini and shell, or a file.
    name: Option<String>,
    /// Check that the program is installed, in a version that the preset supports. Exit code 1 if not.
    #[arg(long, requires = "name")]
    check: bool,
}

const HOOK: &str = "\
Examples:
  echo '{\"prompt\": \"x\"}' | onsembl-agent hook prompt      as the hook of a program that an agent runs

Exit codes:
  0  always";

#[derive(Debug, Args)]
#[command(after_help = HOOK)]
struct HookArgs {
    /// The event, and the JSON that some programs append.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "EVENT")]
    words: Vec<String>,
}

const RUN: &str = "\
Examples:
  onsembl-agent run --server https://control.example --token-file mine.token --name mine
  onsembl-agent run --config /etc/onsembl/agent.toml
  onsembl-agent run … --runner program -- claude -p
  onsembl-agent run … --runner terminal --attach -- claude

Exit codes:
  0  stopped
  1  failed; the reason is on standard error
  2  the command line or the configuration file is wrong
  4  another process of this agent took over
  5  the server refuses the token permanently
  6  the agent was deleted
  7  the server refuses the agent permanently
  With --attach: that of the program.";

#[derive(Debug, Args)]
#[command(after_help = RUN)]
struct RunArgs {
    /// A configuration file; the environment and flags override it. See `onsembl-agent config`.
    #[arg(long, env = "ONSEMBL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The server, as http, https, ws or wss URL, with the path prefix of a reverse proxy, if any.
    #[arg(long, env = "ONSEMBL_SERVER", value_name = "URL")]
    server: String,
    #[command(flatten)]
    token: TokenArgs,
    /// The name of this agent, shown to people.
    #[arg(long, env = "ONSEMBL_NAME")]
    name: String,
    /// The type of agent: claude, gemini, codex or custom [default: that of the preset, else custom].
    #[arg(long = "type", env = "ONSEMBL_TYPE", value_name = "TYPE")]
    agent_type: Option<String>,
    /// State directory: its key, journal, status and spool [default: ~/.local/state/onsembl/NAME].
    #[arg(long, env = "ONSEMBL_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// A PEM file with the certificates to trust, instead of those of the operating system.
    #[arg(long, env = "ONSEMBL_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// The proxy to go through, like http://user:password@host:port, or none. By default from HTTPS_PROXY,
    /// HTTP_PROXY and ALL_PROXY, with the exceptions in NO_PROXY.
    #[arg(long, env = "ONSEMBL_PROXY", hide_env_values = true, value_name = "URL")]
    proxy: Option<String>,
    /// How many bytes of output to keep on disk until the server has stored them; 0 keeps 4 MiB in
    /// memory only.
    #[arg(long, env = "ONSEMBL_SPOOL_BYTES", value_name = "BYTES", default_value_t = SpoolBounds::DEFAULT.disk)]
    spool_bytes: u64,
    /// What to do when the spool is full: block (the process waits), drop-oldest or drop-newest (a gap is declared)
    /// [default: block, and drop-oldest with --runner terminal].
    #[arg(long, env = "ONSEMBL_SPOOL_POLICY", value_name = "POLICY", value_parser = policy)]
    spool_policy: Option<SpoolPolicy>,
    /// How many commands to run at once; the others wait, on the server if it keeps a queue [default:
    /// 4, and 1 with --runner terminal].
    #[arg(long, env = "ONSEMBL_MAX_PARALLEL", value_name = "COUNT", value_parser = slots)]
    max_parallel: Option<usize>,
    /// What runs a command: shell (`/bin/sh -c TEXT`); program, a fresh PROGRAM for each command, with
    /// its text as the last argument: `--runner program -- claude -p`; or terminal, one long-running PROGRAM, into
    /// which commands are typed: `--runner terminal -- claude` [default: shell, and terminal with
    /// --preset].
    #[arg(long, env = "ONSEMBL_RUNNER", value_name = "RUNNER")]
    runner: Option<RunnerKind>,
    /// Run a program with a preset, so that the agent knows when it works, waits for a prompt or asks: claude,
    /// codex, gemini, shell, or a file like those printed by `onsembl-agent presets NAME`. Further arguments follow
    /// `--`: `--preset claude -- --continue`.
    #[arg(long, env = "ONSEMBL_PRESET", value_name = "NAME|FILE")]
    preset: Option<String>,
    /// With --preset: start a session of the program with this id, and resume it when the program is restarted. The
    /// program determines valid ids: for Claude Code and Gemini CLI a UUID.
    #[arg(long, env = "ONSEMBL_SESSION", value_name = "ID", value_parser = session_id, requires = "preset")]
    session: Option<String>,
    /// With --preset: resume the session of the program with this id, or the latest one.
    #[arg(long, env = "ONSEMBL_RESUME", value_name = "ID|latest", value_parser = session_id, requires = "preset", conflicts_with = "session")]
    resume: Option<String>,
    /// How a program gets the text: argument (the last one) or stdin.
    #[arg(long, env = "ONSEMBL_TEXT_ON", value_name = "WHERE", default_value = "argument", value_parser = text_on)]
    text_on: TextOn,
    /// Pass on the arguments of requests too. With --runner program, a request has a text only, unless this option
    /// and the two below allow more.
    #[arg(long, env = "ONSEMBL_ALLOW_ARGS", value_parser = BoolishValueParser::new())]
    allow_args: bool,
    /// Pass on these variables of requests too: `--allow-env LANG NO_COLOR`.
    #[arg(long, env = "ONSEMBL_ALLOW_ENV", value_name = "NAME", num_args = 1.., value_delimiter = ',', value_parser = variable)]
    allow_env: Vec<String>,
    /// Let requests choose this working directory, and all below it: `--allow-directory /srv/work`.
    #[arg(long, env = "ONSEMBL_ALLOW_DIRECTORY", value_name = "DIR", num_args = 1.., value_delimiter = ',')]
    allow_directory: Vec<PathBuf>,
    /// This agent does not come back: the server deletes it 10 min after it disconnects. For containers that are
    /// recreated each time.
    #[arg(long, env = "ONSEMBL_EPHEMERAL", value_parser = BoolishValueParser::new())]
    ephemeral: bool,
    /// What to do with processes that outlive the command that started them: keep them (until a stop, or until this
    /// agent ends) or kill them (with the command).
    #[arg(long, env = "ONSEMBL_BACKGROUND", value_name = "POLICY", default_value = "keep", value_parser = background)]
    background: BackgroundPolicy,
    /// The size of the terminal, with `--runner terminal`.
    #[arg(long, env = "ONSEMBL_SIZE", value_name = "COLUMNSxROWS", default_value_t = TerminalSize::DEFAULT, value_parser = size)]
    size: TerminalSize,
    /// Show the program of `--runner terminal` here too, and type into it from here. The agent then
    /// ends when the program does, with its exit code, and logs to the file `agent.log` in its state
    /// directory if its standard error is this terminal.
    #[arg(long, env = "ONSEMBL_ATTACH", value_parser = BoolishValueParser::new())]
    attach: bool,
    /// With --attach: how long an untouched, unfinished line typed here delays remote texts, which would be
    /// submitted with it.
    #[arg(long, env = "ONSEMBL_LINE_IDLE", value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    line_idle: Duration,
    /// The program and its arguments, with `--runner program` and `--runner terminal`.
    #[arg(last = true, value_name = "PROGRAM")]
    program: Vec<String>,
    /// What to log to stderr: error, warn, info, debug, trace, or directives like
    /// `info,onsembl_transport=debug`. Takes precedence over RUST_LOG, which is used otherwise
    /// [default: info].
    #[arg(long, env = "ONSEMBL_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// Log format: `text`, or `json` with one object per line.
    #[arg(long, env = "ONSEMBL_LOG_FORMAT", value_name = "FORMAT", default_value = "text", value_parser = log_format)]
    log_format: LogFormat,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct TokenArgs {
    /// The token. Other users of this machine can see arguments; prefer a file or ONSEMBL_TOKEN.
    #[arg(long, env = "ONSEMBL_TOKEN", hide_env_values = true, value_parser = secret)]
    token: Option<Secret>,
    /// A file that contains only the token; it is read again at each dial. Takes precedence over --token.
    #[arg(long, env = "ONSEMBL_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
}

const DOCTOR: &str = "\
Examples:
  onsembl-agent doctor --server https://host --token-file mine.token --name mine
  onsembl-agent doctor … -o json

Exit codes:
  0    every check passed
  N    the number of failed checks, at most 100
  2    also: the command line is wrong, which standard error says";

#[derive(Debug, Args)]
#[command(after_help = DOCTOR)]
struct DoctorArgs {
    /// The server, as the agent has it.
    #[arg(long, env = "ONSEMBL_SERVER", value_name = "URL")]
    server: String,
    #[command(flatten)]
    token: TokenArgs,
    /// The agent on this machine to check, by its name or its state directory.
    #[arg(long, env = "ONSEMBL_NAME")]
    name: Option<String>,
    /// The state directory of the agent.
    #[arg(long, env = "ONSEMBL_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// A PEM file with the certificates to trust, instead of those of the operating system.
    #[arg(long, alias = "ca", env = "ONSEMBL_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// The proxy to go through, or none. By default from the environment.
    #[arg(long, env = "ONSEMBL_PROXY", hide_env_values = true, value_name = "URL")]
    proxy: Option<String>,
    /// How long to hold the connection idle, to find what cuts idle links. Longer than the heartbeat interval is
    /// enough.
    #[arg(long, env = "ONSEMBL_IDLE_HOLD", default_value = "10s", value_parser = humantime::parse_duration, value_name = "TIME")]
    idle_hold: Duration,
    /// As JSON: a list of objects with check, verdict, found and action.
    #[arg(long)]
    json: bool,
}

const STATUS: &str = "\
Examples:
  onsembl-agent status
  onsembl-agent status --name mine -o json

Exit codes:
  0  it is live
  1  failed; the reason is on standard error
  2  the command line is wrong
  3  it is not running";

#[derive(Debug, Args)]
#[command(after_help = STATUS)]
struct StatusArgs {
    /// The state directory of the agent.
    #[arg(long, env = "ONSEMBL_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The name of the agent, if it was given no state directory. Without either, every agent in the default
    /// directory is shown.
    #[arg(long, env = "ONSEMBL_NAME")]
    name: Option<String>,
    /// As JSON: one object, or a list of objects if there are several agents to show.
    #[arg(long)]
    json: bool,
}

/// The kinds of runners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RunnerKind {
    Shell,
    Program,
    Terminal,
}

fn text_on(word: &str) -> Result<TextOn, &'static str> {
    TextOn::parse(word).ok_or("expected argument or stdin")
}

fn background(word: &str) -> Result<BackgroundPolicy, &'static str> {
    BackgroundPolicy::parse(word).ok_or("expected keep or kill")
}

fn variable(name: &str) -> Result<String, &'static str> {
    match name.is_empty() || name.contains(['=', '\0']) {
        true => Err("expected the name of a variable, not empty and without `=`"),
        false => Ok(name.to_owned()),
    }
}

fn log_format(word: &str) -> Result<LogFormat, &'static str> {
    LogFormat::parse(word).ok_or("expected text or json")
}

fn slots(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(slots @ 1..=1024) => Ok(slots),
        Ok(_) | Err(_) => Err("expected a number from 1 to 1024".to_owned()),
    }
}

fn size(text: &str) -> Result<TerminalSize, &'static str> {
    TerminalSize::parse(text).ok_or("expected COLUMNSxROWS, like 120x40, each from 1 to 1000")
}

/// An id that no program takes for an option.
fn session_id(text: &str) -> Result<String, &'static str> {
    match text.is_empty() || text.starts_with('-') {
        true => Err("expected the id of a session, which does not begin with a dash"),
        false => Ok(text.to_owned()),
    }
}

fn policy(word: &str) -> Result<SpoolPolicy, String> {
    SpoolPolicy::parse(word).ok_or_else(|| "expected block, drop-oldest or drop-newest".to_owned())
}

/// Never fails, so that no error message can repeat the token.
fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let Configured { cli, file, effective, token_goes_before } = match configured::parse() {
        Ok(configured) => configured,
        Err(Misuse::Words(error)) => error.exit(),
        Err(Misuse::File(faults)) => {
            faults.iter().for_each(|fault| print::note(format_args!("onsembl-agent: {fault}")));
            return ExitCode::from(MISUSED);
        }
    };
    let view = cli.view;
    let done = match cli.command {
        Command::Run(mut args) => {
            if token_goes_before {
                args.token.token_file = None;
            }
            run::run(*args, file, effective)
        }
        Command::Status(args) => status::status(&args, view),
        Command::Doctor(args) => doctor::doctor(*args, view),
        Command::Presets(args) => presets::presets(&args, view),
        Command::Hook(args) => {
            crate::hooks::helper::run(args.words);
            Ok(OK)
        }
        Command::Config(args) => config::config(args, &effective, view),
        Command::Service(args) => service::service(args, view),
        Command::Completions(completions) => completions.run().map(|()| OK),
        Command::Man(man) => man.run(view).map(|()| OK),
    };
    ExitCode::from(done.unwrap_or_else(|error| {
        print::note(format_args!("onsembl-agent: {}", Causes(error.as_ref())));
        FAILED
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_nowhere() {
        let args = ["onsembl-agent", "run", "--server", "ws://h", "--name", "n"];
        let cli = Cli::try_parse_from(args.iter().chain(&["--token", "swordfish"])).unwrap();
        assert!(!format!("{cli:?}").contains("swordfish"));
        let wrong = ["--token", "swordfish", "--what"];
        let error = Cli::try_parse_from(args.iter().chain(&wrong)).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(!error.to_string().contains("swordfish"));
        assert_eq!(Cli::try_parse_from(args).unwrap_err().exit_code(), 2);
    }
}
