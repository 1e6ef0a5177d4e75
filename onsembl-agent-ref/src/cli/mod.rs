//! The command line: what can be said, and what the exit code says. Others script against it.

mod doctor;
mod log;
mod presets;
mod print;
mod run;
mod signals;
mod status;

use crate::process::TextOn;
use clap::{Args, Parser, Subcommand, ValueEnum};
use onsembl_protocol::model::TerminalSize;
use onsembl_protocol::worker::{BackgroundPolicy, SpoolBounds, SpoolPolicy};
use onsembl_transport::logging::LogFormat;
use onsembl_transport::secret::Secret;
use std::convert::Infallible;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// It worked; for `status`, an agent is live.
const OK: u8 = 0;
/// It failed; the reason is on stderr.
const FAILED: u8 = 1;
/// For `status`: no agent is live.
const NOT_RUNNING: u8 = 3;
/// For `run`: another process of this agent took over. The agent must stay away.
const REPLACED: u8 = 4;
/// For `run`: the server refuses this token for good. The agent must stay away.
const REVOKED: u8 = 5;
/// For `run`: the agent was deleted. It must stay away.
const DELETED: u8 = 6;

/// The agent of Onsembl: runs commands on this machine for a control server.
#[derive(Debug, Parser)]
#[command(name = "onsembl-agent", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Connect to a server and run what it asks for, until stopped.
    ///
    /// Exit code 0: it was stopped; 4: another process of this agent took over; 5: the server refuses the token for
    /// good; 6: the agent was deleted; 2: the command line is wrong; 1: anything else. After 4, 5 and 6 it must not be
    /// started again before a person has done something; for systemd: `RestartPreventExitStatus=4 5 6`. With --attach
    /// the exit code is that of the program.
    Run(Box<RunArgs>),
    /// Show the status of an agent on this machine.
    ///
    /// Exit code 0: it is live; 3: it is not running; 2: the command line is wrong; 1: anything else.
    Status(StatusArgs),
    /// Look at everything between an agent and its server, and say what is wrong and what to do.
    ///
    /// It dials as an agent does, over a diagnosis connection that is listed nowhere and disturbs no agent, and reads
    /// what a running agent says of itself. Exit code: how many checks failed, at most 100; 0 if none did. A wrong
    /// command line ends with 2 and says so on standard error.
    ///
    /// Example: onsembl-agent doctor --server https://host --token-file mine.token --name mine
    Doctor(Box<DoctorArgs>),
    /// Show what is known of programs that can be wrapped: with a NAME all of one, as JSON.
    ///
    /// Example: onsembl-agent presets claude > mine.json, and then onsembl-agent run … --preset ./mine.json
    Presets(PresetsArgs),
    /// Say to the agent what the program does that runs this as its hook. EVENT is session-start, session-end, prompt,
    /// tool, notification, permission or stop; what the program says of it is read from standard input, or appended.
    ///
    /// It does nothing outside of an agent's run, takes at most a second, and always ends with 0: a program must not
    /// fail for who watches it.
    Hook(HookArgs),
}

#[derive(Debug, Args)]
struct PresetsArgs {
    /// One of claude, codex, gemini and shell, or a file.
    name: Option<String>,
    /// Whether the program is there, in a version that the preset knows. Exit code 1 if something is amiss.
    #[arg(long, requires = "name")]
    check: bool,
}

#[derive(Debug, Args)]
struct HookArgs {
    /// The event, and the JSON of programs that append it.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "EVENT")]
    words: Vec<String>,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The server, as http, https, ws or wss URL; behind a proxy with a prefix, that too.
    #[arg(long, env = "ONSEMBL_SERVER", value_name = "URL")]
    server: String,
    #[command(flatten)]
    token: TokenArgs,
    /// The name people know this agent by.
    #[arg(long, env = "ONSEMBL_NAME")]
    name: String,
    /// What runs behind it: claude, gemini, codex or custom [default: what the preset says, else custom].
    #[arg(long = "type", env = "ONSEMBL_TYPE", value_name = "TYPE")]
    agent_type: Option<String>,
    /// Where it keeps its key, its journal, its status and its spool [default: ~/.local/state/onsembl/NAME].
    #[arg(long, env = "ONSEMBL_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// A PEM file with the certificates to trust, instead of those of the operating system.
    #[arg(long, env = "ONSEMBL_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// The proxy to go through, like http://user:password@host:port, or none. By default what
    /// HTTPS_PROXY, HTTP_PROXY and ALL_PROXY say, but for what NO_PROXY excepts.
    #[arg(long, env = "ONSEMBL_PROXY", hide_env_values = true, value_name = "URL")]
    proxy: Option<String>,
    /// How many bytes of output to keep on disk until the server has stored them; 0 keeps 4 MiB in
    /// memory only.
    #[arg(long, env = "ONSEMBL_SPOOL_BYTES", value_name = "BYTES", default_value_t = SpoolBounds::DEFAULT.disk)]
    spool_bytes: u64,
    /// What happens when that much is kept: block (the process waits), drop-oldest or drop-newest (a
    /// gap is declared) [default: block, and drop-oldest with --runner terminal].
    #[arg(long, env = "ONSEMBL_SPOOL_POLICY", value_name = "POLICY", value_parser = policy)]
    spool_policy: Option<SpoolPolicy>,
    /// How many commands to run at once; the others wait, on the server if it keeps a queue [default:
    /// 4, and 1 with --runner terminal].
    #[arg(long, env = "ONSEMBL_MAX_PARALLEL", value_name = "COUNT", value_parser = slots)]
    max_parallel: Option<usize>,
    /// What runs a command: shell (`/bin/sh -c TEXT`); program, a fresh PROGRAM for each command, with
    /// its text as the last argument: `--runner program -- claude -p`; or terminal, one PROGRAM that
    /// stays, and into which commands are typed: `--runner terminal -- claude` [default: shell, and terminal with
    /// --preset].
    #[arg(long, env = "ONSEMBL_RUNNER", value_name = "RUNNER")]
    runner: Option<RunnerKind>,
    /// Run a program of which something is known, so that the agent knows when it works, waits for a prompt or asks:
    /// claude, codex, gemini, shell, or a file like those that `onsembl-agent presets NAME` prints. What stands behind
    /// `--` are further arguments: `--preset claude -- --continue`.
    #[arg(long, env = "ONSEMBL_PRESET", value_name = "NAME|FILE")]
    preset: Option<String>,
    /// How a program gets the text: argument (the last one) or stdin.
    #[arg(long, env = "ONSEMBL_TEXT_ON", value_name = "WHERE", default_value = "argument", value_parser = text_on)]
    text_on: TextOn,
    /// Pass on the arguments of requests too. With --runner program a request may hold a text and
    /// nothing else, unless this and the two below allow it.
    #[arg(long, env = "ONSEMBL_ALLOW_ARGS")]
    allow_args: bool,
    /// Pass on these variables of requests too: `--allow-env LANG NO_COLOR`.
    #[arg(long, env = "ONSEMBL_ALLOW_ENV", value_name = "NAME", num_args = 1.., value_delimiter = ',', value_parser = variable)]
    allow_env: Vec<String>,
    /// Let requests choose this working directory, and all below it: `--allow-directory /srv/work`.
    #[arg(long, env = "ONSEMBL_ALLOW_DIRECTORY", value_name = "DIR", num_args = 1.., value_delimiter = ',')]
    allow_directory: Vec<PathBuf>,
    /// What becomes of processes that outlive the command that started them: keep (they stay until a stop, or until
    /// this agent ends) or kill (they are ended with the command).
    #[arg(long, env = "ONSEMBL_BACKGROUND", value_name = "POLICY", default_value = "keep", value_parser = background)]
    background: BackgroundPolicy,
    /// How large the terminal is, with `--runner terminal`.
    #[arg(long, env = "ONSEMBL_SIZE", value_name = "COLUMNSxROWS", default_value_t = TerminalSize::DEFAULT, value_parser = size)]
    size: TerminalSize,
    /// Show the program of `--runner terminal` here too, and type into it from here. The agent then
    /// ends when the program does, with its exit code, and logs to the file `agent.log` in its state
    /// directory if its standard error is this terminal.
    #[arg(long, env = "ONSEMBL_ATTACH")]
    attach: bool,
    /// With --attach: how long a line that was begun here, and that nobody touches, holds texts of others back. They
    /// would be sent with it.
    #[arg(long, env = "ONSEMBL_LINE_IDLE", value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    line_idle: Duration,
    /// The program and its arguments, with `--runner program` and `--runner terminal`.
    #[arg(last = true, value_name = "PROGRAM")]
    program: Vec<String>,
    /// What to log to stderr: error, warn, info, debug, trace, or directives like
    /// `info,onsembl_transport=debug`. It goes before RUST_LOG, which is heeded without it
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

#[derive(Debug, Args)]
struct DoctorArgs {
    /// The server, as the agent has it.
    #[arg(long, env = "ONSEMBL_SERVER", value_name = "URL")]
    server: String,
    #[command(flatten)]
    token: TokenArgs,
    /// The agent on this machine to look at, by its name or its state directory.
    #[arg(long, env = "ONSEMBL_NAME")]
    name: Option<String>,
    /// The state directory of the agent.
    #[arg(long, env = "ONSEMBL_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// A PEM file with the certificates to trust, instead of those of the operating system.
    #[arg(long, alias = "ca", env = "ONSEMBL_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// The proxy to go through, or none. By default what the environment says.
    #[arg(long, env = "ONSEMBL_PROXY", hide_env_values = true, value_name = "URL")]
    proxy: Option<String>,
    /// How long to hold the connection without a word, to find what cuts idle links. Longer than the heartbeat
    /// interval finds all that matters.
    #[arg(long, env = "ONSEMBL_IDLE_HOLD", default_value = "10s", value_parser = humantime::parse_duration, value_name = "TIME")]
    idle_hold: Duration,
    /// As JSON: a list of objects with check, verdict, found and action.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct StatusArgs {
    /// The state directory of the agent.
    #[arg(long, env = "ONSEMBL_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The name of the agent, if it was given no state directory. Without either, every agent at
    /// the default place is shown.
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
    TextOn::parse(word).ok_or("it is argument or stdin")
}

fn background(word: &str) -> Result<BackgroundPolicy, &'static str> {
    BackgroundPolicy::parse(word).ok_or("it is keep or kill")
}

fn variable(name: &str) -> Result<String, &'static str> {
    match name.is_empty() || name.contains(['=', '\0']) {
        true => Err("a name of a variable is not empty and has no `=`"),
        false => Ok(name.to_owned()),
    }
}

fn log_format(word: &str) -> Result<LogFormat, &'static str> {
    LogFormat::parse(word).ok_or("it is text or json")
}

fn slots(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(slots @ 1..=1024) => Ok(slots),
        Ok(_) | Err(_) => Err("it is a number from 1 to 1024".to_owned()),
    }
}

fn size(text: &str) -> Result<TerminalSize, &'static str> {
    TerminalSize::parse(text).ok_or("it is like 120x40, each from 1 to 1000")
}

fn policy(word: &str) -> Result<SpoolPolicy, String> {
    SpoolPolicy::parse(word).ok_or_else(|| "it is block, drop-oldest or drop-newest".to_owned())
}

/// Never fails, so that no error message can repeat the token.
fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => run::run(*args),
        Command::Status(args) => status::status(&args),
        Command::Doctor(args) => doctor::doctor(*args),
        Command::Presets(args) => presets::presets(&args),
        Command::Hook(args) => {
            crate::hooks::helper::run(args.words);
            Ok(OK)
        }
    };
    ExitCode::from(done.unwrap_or_else(|error| {
        print::note(format_args!("onsembl-agent: {error:#}"));
        FAILED
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

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
