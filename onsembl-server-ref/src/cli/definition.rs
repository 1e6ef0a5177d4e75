//! The commands of both programs, defined once: `onsembl` for people, `onsembl-server` for its machine.
//!
//! What a command of a user is called and takes is the same in both. What all commands have, such as exit codes in
//! their help, is added here.

use super::context::{ContextCommand, ContextName, Login, Logout};
use super::generate::{Completions, Man};
use super::view::{JsonVariable, ViewArgs};
use super::{
    agents, attach, audit, backup, cancel, commands, config, control, exec, export, forget, limits,
    output, replay, revoke, screen, serve, service, stop, token, tokens, user_token, why,
};
use clap::builder::BoolishValueParser;
use clap::{Arg, ArgAction, Args, Command, CommandFactory as _, Parser, Subcommand};
use onsembl_transport::logging::LogFormat;

/// What every command takes.
#[derive(Debug, Args)]
pub(super) struct Globals {
    #[command(flatten)]
    pub(super) view: ViewArgs,
    /// What to log to standard error: a level, or rules such as `info,onsembl_transport=debug`. Takes precedence
    /// over RUST_LOG, which is used otherwise [default: info for serve, error for all others].
    #[arg(
        long,
        global = true,
        env = "ONSEMBL_LOG",
        value_name = "RULES",
        help_heading = "Logging"
    )]
    pub(super) log: Option<String>,
    /// Log format: `text`, or `json` with one object per line.
    #[arg(long, global = true, env = "ONSEMBL_LOG_FORMAT", default_value = "text", value_name = "FORMAT", value_parser = log_format, help_heading = "Logging")]
    pub(super) log_format: LogFormat,
}

fn log_format(word: &str) -> Result<LogFormat, &'static str> {
    LogFormat::parse(word).ok_or("expected text or json")
}

/// The command line of Onsembl: watch agents, run commands on them, stop them.
#[derive(Debug, Parser)]
#[command(name = "onsembl", version = env!("ONSEMBL_VERSION"), max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
pub(super) struct Onsembl {
    #[command(flatten)]
    pub(super) globals: Globals,
    #[command(subcommand)]
    pub(super) command: OnsemblCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum OnsemblCommand {
    #[command(flatten)]
    User(UserCommand),
    /// Store a server and a token for it, after checking the token with the server.
    Login(Login),
    /// Remove a server and its token.
    Logout(Logout),
    /// List, select and show the servers you are logged in to.
    Context(ContextCommand),
    /// List and revoke your tokens.
    Token(user_token::UserToken),
    #[command(flatten)]
    Own(OwnCommand),
}

/// The control server of Onsembl: agents connect to it; people watch and control them.
#[derive(Debug, Parser)]
#[command(name = "onsembl-server", version = env!("ONSEMBL_VERSION"), max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
pub(super) struct Server {
    #[command(flatten)]
    pub(super) globals: Globals,
    #[command(subcommand)]
    pub(super) command: ServerCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum ServerCommand {
    /// Run the server. Its first line on standard output is the address it listens on.
    Serve(Box<serve::Serve>),
    /// Create a token and print it; list, rotate and revoke tokens.
    Token(token::Token),
    /// The same as `token list`.
    Tokens(tokens::ListTokens),
    /// The same as `token revoke`: invalidate a token and close its sessions.
    Revoke(revoke::Revoke),
    /// Replay recordings and check that the core still does the same.
    Replay(replay::Replay),
    /// Print every limit of a server, and the most memory it can use.
    Limits(limits::Limits),
    /// Check a configuration file, or show what the server would run with.
    Config(config::Config),
    /// Install the server as a systemd service, remove it, or show its status.
    Service(service::Service),
    /// Copy the database to a file, even while the server runs.
    Backup(backup::Backup),
    /// Restore the database of a stopped server from a copy.
    Restore(backup::Restore),
    #[command(flatten)]
    Own(OwnCommand),
    #[command(flatten)]
    User(UserCommand),
}

/// What a program does about itself.
#[derive(Debug, Subcommand)]
pub(super) enum OwnCommand {
    /// Print a shell completion script.
    Completions(Completions),
    /// Write a man page for each command.
    Man(Man),
}

/// What is asked of a server as a user.
#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// List the agents of the token's user.
    Agents(agents::Agents),
    /// Run a command on an agent, stream its output unchanged, and exit with its exit code.
    Exec(Box<exec::Exec>),
    /// List commands, with their status and its reason.
    Commands(commands::Commands),
    /// Print the stored output of a command, byte for byte; with --follow, also new output.
    Output(output::Output),
    /// Cancel a command. It is `cancelled` once all its processes have ended.
    Cancel(cancel::Cancel),
    /// Explain the state of an agent, why it was away, and what to do; or what a command waits for, or how it
    /// ended; or, with --all, the state of all agents.
    Why(why::Why),
    /// Attach to the terminal of an agent: live screen and keyboard; ctrl-] detaches.
    ///
    /// One user at a time types, any number can watch. Input goes to the program unchanged and is not stored; the
    /// server records who typed, from when to when, and how many bytes. A lost link is dialled again, and missed
    /// output is shown. The program keeps running when this ends.
    Attach(attach::Attach),
    /// Print the current screen of an agent's terminal, or of a command; also while the agent is away.
    Screen(screen::Screen),
    /// Pause, resume, restart or end an agent, or resize its terminal.
    Control(control::Control),
    /// Stop agents at once: kill everything that runs, and start nothing until the stop is released.
    ///
    /// It kills every process that a command of the agent started, also in the background and however detached, but
    /// not what another service started for it (systemd-run, at, a container engine).
    Stop(stop::Stop),
    /// Release a stop, so that commands can start again.
    Release(stop::Release),
    /// Delete agents that will not come back.
    Forget(forget::Forget),
    /// Check that every byte written by an agent's commands is accounted for.
    Audit(audit::Audit),
    /// Write the server's recording of an agent to standard output, for replay, with the reasons why the agent was
    /// away.
    Export(export::Export),
}

impl UserCommand {
    /// See [`JsonVariable`].
    pub(super) const fn json_variable(&self) -> JsonVariable {
        match self {
            Self::Agents(_) | Self::Commands(_) | Self::Stop(_) | Self::Why(_) | Self::Audit(_) => {
                JsonVariable::Heeded
            }
            Self::Exec(_)
            | Self::Output(_)
            | Self::Cancel(_)
            | Self::Attach(_)
            | Self::Screen(_)
            | Self::Control(_)
            | Self::Release(_)
            | Self::Forget(_)
            | Self::Export(_) => JsonVariable::Ignored,
        }
    }
}

/// The commands of `onsembl` in groups, as its help shows them.
pub(super) const GROUPS: &[(&str, &[&str])] = &[
    ("Agents", &["agents", "why", "attach", "screen", "control", "audit", "export", "forget"]),
    ("Commands", &["exec", "commands", "output", "cancel"]),
    ("Emergency", &["stop", "release"]),
    ("Servers and tokens", &["login", "logout", "context", "token"]),
    ("This program", &["completions", "man", "help"]),
];

/// What the exit code of a command means where it says nothing else.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed; the reason is on standard error
  2  the command line is wrong, or no server is given";

/// `onsembl`, as clap has it.
pub(super) fn onsembl() -> Command {
    // Also before the command: each that asks a server shows it as its own.
    let context = Arg::new("context")
        .long("context")
        .global(true)
        .hide(true)
        .value_name("NAME")
        .value_parser(ContextName::parse)
        .help_heading("Connection")
        .help("Use this context");
    let command = finished(Onsembl::command().arg(context));
    let mut groups = String::new();
    for (group, names) in GROUPS {
        groups.push_str(&format!("{group}:\n"));
        for name in *names {
            let about = command.find_subcommand(name).and_then(Command::get_about);
            let about = about.map_or_else(|| "Help for a command".to_owned(), ToString::to_string);
            let about = about.split_inclusive([';', ':']).next().unwrap_or_default();
            groups.push_str(&format!("  {name:<12} {}\n", about.trim_end_matches([';', ':'])));
        }
        groups.push('\n');
    }
    // `{options}` follows, without what is hidden.
    groups.push_str("For every command:\n      --context <NAME>       Use this context\n");
    let template = format!(
        "{{before-help}}{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}{{options}}{{after-help}}"
    );
    command.help_template(template).after_help(
        "\
Examples:
  onsembl login https://control.example
  onsembl agents
  onsembl exec mine -- 'uname -a; seq 3'
  onsembl exec --help                          examples and exit codes of a command",
    )
}

/// `onsembl-server`, as clap has it.
pub(super) fn server() -> Command {
    let mut command = finished(Server::command());
    // The commands of a user are here as they always were, and are said once.
    let names = user_commands();
    for name in &names {
        command = command.mut_subcommand(name.clone(), |command| command.hide(true));
    }
    command.after_help(format!(
        "\
The commands of `onsembl` work here too, with the same flags: {}.

Examples:
  onsembl-server serve --data ~/onsembl-data
  onsembl-server token --data ~/onsembl-data --user me --agent mine --out mine.token",
        names.join(", ")
    ))
}

/// The names of what is asked of a server as a user.
pub(super) fn user_commands() -> Vec<String> {
    let all = UserCommand::augment_subcommands(Command::new("user"));
    all.get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

/// Adds what all commands have.
fn finished(command: Command) -> Command {
    let command = command.mut_args(finished_argument).mut_subcommands(finished);
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    if after.contains("Exit codes:") || command.is_subcommand_required_set() {
        return command;
    }
    let gap = if after.is_empty() { "" } else { "\n\n" };
    command.after_help(format!("{after}{gap}{EXIT_CODES}"))
}

/// A variable that is on or off takes every usual word for that.
fn finished_argument(argument: Arg) -> Arg {
    let is_switch = matches!(argument.get_action(), ArgAction::SetTrue);
    if is_switch && argument.get_env().is_some() {
        return argument.value_parser(BoolishValueParser::new());
    }
    argument
}

#[cfg(test)]
mod tests {
    use super::super::captures::keep_in_document;
    use super::*;
    use std::collections::BTreeSet;

    const BEGIN: &str = "<!-- The commands: written by a test (ONSEMBL_BLESS=1 cargo test -p onsembl-server-ref --lib definition). -->";
    const END: &str = "<!-- End of the commands. -->";

    /// All commands below, with the names that lead to them.
    fn leaves(command: &Command, path: &str, all: &mut Vec<(String, Command)>) {
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            let path = format!("{path} {}", below.get_name());
            let is_usable = !below.is_subcommand_required_set()
                && (below.get_arguments().any(Arg::is_required_set) || !below.has_subcommands());
            if is_usable {
                all.push((path.clone(), below.clone()));
            }
            leaves(below, &path, all);
        }
    }

    fn both() -> Vec<(String, Command)> {
        let mut all = Vec::new();
        for mut program in [onsembl(), server()] {
            program.build();
            leaves(&program, program.get_name(), &mut all);
        }
        all
    }

    #[test]
    fn the_definition_is_sound() {
        onsembl().debug_assert();
        server().debug_assert();
    }

    #[test]
    fn every_command_has_examples_exit_codes_and_every_output() {
        let all = both();
        assert!(all.len() > 30, "{}", all.len());
        for (path, command) in &all {
            let help = command.clone().render_long_help().to_string();
            for part in ["Examples:", "Exit codes:", "--output <FORMAT>", "--quiet"] {
                assert!(help.contains(part), "{path} lacks {part}: {help}");
            }
            let is_short = command.get_about().is_some_and(|about| !about.to_string().is_empty());
            assert!(is_short, "{path} says not what it does");
        }
    }

    #[test]
    fn what_is_on_or_off_takes_every_usual_word_for_that() {
        for (words, name) in [
            (&["onsembl", "cancel", "x"][..], "ONSEMBL_FORCE"),
            (&["onsembl", "output", "x"], "ONSEMBL_FOLLOW"),
            (&["onsembl", "exec", "x", "--", "y"], "ONSEMBL_KEYS"),
        ] {
            let mut command = onsembl();
            // The parser of the flag itself: the environment of a test is that of all tests.
            let sub = command.find_subcommand_mut(words[1]).unwrap();
            let argument = sub.get_arguments().find(|a| a.get_env().is_some_and(|env| env == name));
            let parser = format!("{:?}", argument.unwrap().get_value_parser());
            let boolish =
                format!("{:?}", clap::builder::ValueParser::new(BoolishValueParser::new()));
            assert_eq!(parser, boolish, "{name}");
        }
        for (word, on) in [("1", true), ("yes", true), ("TRUE", true), ("0", false), ("", false)] {
            assert_eq!(super::super::view::is_on(word), on, "{word}");
        }
    }

    #[test]
    fn every_command_of_a_person_is_in_a_group() {
        let command = onsembl();
        let known: BTreeSet<&str> = command.get_subcommands().map(Command::get_name).collect();
        let grouped: Vec<&str> =
            GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let is: BTreeSet<&str> = grouped.iter().copied().filter(|name| *name != "help").collect();
        assert_eq!(is, known);
        assert_eq!(grouped.len(), known.len() + 1);
        let help = onsembl().render_help().to_string();
        for name in known {
            assert!(help.contains(&format!("  {name} ")), "{name}: {help}");
        }
    }

    #[test]
    fn completions_and_pages_are_of_every_command() {
        for shell in
            [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish]
        {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut onsembl(), "onsembl", &mut script);
            let script = String::from_utf8(script).unwrap();
            for word in ["agents", "exec", "detach", "context"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }

    /// A row for each command, with what is its own of its flags.
    fn written() -> String {
        let own = |command: &Command| {
            let shared = ["Connection", "Output", "Logging"];
            let arguments = command.get_arguments().filter(|a| {
                let is_shared = a.get_help_heading().is_some_and(|h| shared.contains(&h));
                !is_shared && a.get_id() != "help" && a.get_id() != "version" && !a.is_hide_set()
            });
            let shown = arguments.map(|a| match (a.get_long(), a.get_short()) {
                (Some(long), Some(short)) => format!("`--{long}`, `-{short}`"),
                (Some(long), None) => format!("`--{long}`"),
                (None, _) => {
                    let names = a.get_value_names().unwrap_or_default();
                    let names: Vec<&str> = names.iter().map(clap::builder::Str::as_str).collect();
                    format!("`{}`", names.join(" ").replace('|', "\\|"))
                }
            });
            shown.collect::<Vec<_>>().join(" ")
        };
        let mut text = "| command | what | its own arguments |\n| --- | --- | --- |\n".to_owned();
        let hidden = user_commands();
        for (path, command) in both() {
            let is_twice = path
                .strip_prefix("onsembl-server ")
                .is_some_and(|name| hidden.iter().any(|hidden| hidden == name));
            if is_twice {
                continue;
            }
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            text.push_str(&format!(
                "| `{path}` | {} | {} |\n",
                about.replace('|', "\\|"),
                own(&command)
            ));
        }
        text
    }

    #[test]
    fn the_document_lists_every_command() {
        let how = "ONSEMBL_BLESS=1 cargo test -p onsembl-server-ref --lib definition";
        keep_in_document(BEGIN, END, &written(), how);
    }
}
