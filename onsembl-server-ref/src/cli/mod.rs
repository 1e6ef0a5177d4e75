//! The command lines of `onsembl` and `onsembl-server`. Others script against them: docs/CLI.md says what stays.

mod agents;
mod ages;
mod attach;
mod audit;
mod backup;
mod cancel;
#[cfg(test)]
mod captures;
mod commands;
mod config;
mod configured;
mod connect;
mod context;
mod control;
mod definition;
mod exec;
mod exec_run;
mod exec_sinks;
mod exec_text;
mod export;
mod find;
mod forget;
mod generate;
mod limits;
mod listen;
mod output;
mod print;
mod remote;
mod renewal;
mod replay;
mod revoke;
mod screen;
mod serve;
mod service;
mod stop;
mod table;
mod token;
mod tokens;
mod user_token;
mod view;
mod why;

pub(crate) use print::program;

use clap::error::ErrorKind;
use clap::{Command, FromArgMatches as _};
use configured::{Configured, Misuse};
use connect::Unsaid;
use definition::{
    Globals, Onsembl, OnsemblCommand, OwnCommand, Server, ServerCommand, UserCommand,
};
use onsembl_protocol::shown::Causes;
use onsembl_transport::config::Reload;
use onsembl_transport::logging::{self, Log, LogRules, LogTo, Targets};
use std::fmt::Display;
use std::process::ExitCode;
use view::{JsonVariable, View};

/// Runs the command line of a person, `onsembl`, in this process.
pub fn user_main() -> ExitCode {
    print::begin("onsembl");
    let Onsembl { globals, command } = match parse(definition::onsembl()) {
        Ok(arguments) => arguments,
        Err(error) => return misused(&error),
    };
    let variable = match &command {
        OnsemblCommand::User(command) => command.json_variable(),
        OnsemblCommand::Context(_) | OnsemblCommand::Token(_) => JsonVariable::Heeded,
        OnsemblCommand::Login(_) | OnsemblCommand::Logout(_) | OnsemblCommand::Own(_) => {
            JsonVariable::Ignored
        }
    };
    let view = View::new(globals.view, variable);
    run(&globals, "error", async |_log| match command {
        OnsemblCommand::User(command) => user(command, view).await,
        OnsemblCommand::Login(login) => finish(login.run(view).await),
        OnsemblCommand::Logout(logout) => finish(logout.run(view)),
        OnsemblCommand::Context(context) => finish(context.run(view)),
        OnsemblCommand::Token(token) => finish(token.run(view).await),
        OnsemblCommand::Own(command) => own(&command, definition::onsembl(), view),
    })
}

/// Runs the command line of the server's machine, `onsembl-server`, in this process.
pub fn main() -> ExitCode {
    print::begin("onsembl-server");
    let Configured { arguments, file, effective } = match configured::parse() {
        Ok(configured) => configured,
        Err(Misuse::Words(error)) => return misused(&error),
        Err(Misuse::File(faults)) => {
            // Each has a line of its own. If standard error is closed, the exit code is what is left to say.
            faults.iter().for_each(|fault| drop(print::say(fault)));
            return ExitCode::from(2);
        }
    };
    let Server { globals, command } = arguments;
    let (variable, level) = match &command {
        ServerCommand::Serve(_) => (JsonVariable::Ignored, "info"),
        // A client's standard error belongs to the command it runs: it logs only what is asked for.
        ServerCommand::User(command) => (command.json_variable(), "error"),
        ServerCommand::Tokens(_)
        | ServerCommand::Limits(_)
        | ServerCommand::Config(_)
        | ServerCommand::Service(_)
        | ServerCommand::Backup(_)
        | ServerCommand::Restore(_) => (JsonVariable::Heeded, "error"),
        ServerCommand::Token(_)
        | ServerCommand::Revoke(_)
        | ServerCommand::Replay(_)
        | ServerCommand::Own(_) => (JsonVariable::Ignored, "error"),
    };
    let view = View::new(globals.view, variable);
    run(&globals, level, async |log| match command {
        ServerCommand::Serve(serve) => {
            match serve.run(view, Reload::new(log, level, file, effective)).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => complain(serve::exit_code(&error), Causes(error.as_ref())),
            }
        }
        ServerCommand::Token(token) => finish(token.run(view).await),
        ServerCommand::Tokens(tokens) => finish(tokens.run(view).await),
        ServerCommand::Revoke(revoke) => finish(revoke.run(view).await),
        ServerCommand::Replay(replay) => replay.run(view),
        ServerCommand::Limits(limits) => finish(limits.run(view)),
        ServerCommand::Config(config) => finish(config.run(view, &effective)),
        ServerCommand::Service(service) => service.run(view),
        ServerCommand::Backup(backup) => finish(backup.run(view).await),
        ServerCommand::Restore(restore) => finish(restore.run(view).await),
        ServerCommand::Own(command) => own(&command, definition::server(), view),
        ServerCommand::User(command) => user(command, view).await,
    })
}

async fn user(command: UserCommand, view: View) -> ExitCode {
    match command {
        UserCommand::Agents(agents) => finish(agents.run(view).await),
        UserCommand::Exec(exec) => exec.run(view).await,
        UserCommand::Commands(commands) => finish(commands.run(view).await),
        UserCommand::Output(output) => finish(output.run(view).await),
        UserCommand::Cancel(cancel) => finish(cancel.run(view).await),
        UserCommand::Why(why) => finish(why.run(view).await),
        UserCommand::Attach(attach) => attach.run(view).await,
        UserCommand::Screen(screen) => finish(screen.run(view).await),
        UserCommand::Control(control) => finish(control.run(view).await),
        UserCommand::Stop(stop) => stop.run(view).await,
        UserCommand::Release(release) => finish(release.run(view).await),
        UserCommand::Forget(forget) => finish(forget.run(view).await),
        UserCommand::Audit(audit) => finish(audit.run(view).await),
        UserCommand::Export(export) => finish(export.run(view).await),
    }
}

fn own(command: &OwnCommand, of: Command, view: View) -> ExitCode {
    match command {
        OwnCommand::Completions(completions) => finish(completions.run(of)),
        OwnCommand::Man(man) => finish(man.run(of, view)),
    }
}

/// The arguments of this process; an error also if they ask for no more than help.
fn parse(mut of: Command) -> Result<Onsembl, clap::Error> {
    let parsed = of.try_get_matches_from_mut(std::env::args_os());
    let read = parsed.and_then(|mut matches| Onsembl::from_arg_matches_mut(&mut matches));
    read.map_err(|error| error.format(&mut of))
}

fn run(globals: &Globals, level: &str, work: impl AsyncFnOnce(&Log) -> ExitCode) -> ExitCode {
    let rules = LogRules::choose(globals.log.as_deref(), level);
    let log = match logging::begin(&rules, LogTo::Stderr, Targets::Shown, globals.log_format) {
        Ok(log) => log,
        Err(error) => return complain(2, error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(1, format_args!("cannot start: {error}")),
    };
    let code = runtime.block_on(work(&log));
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
        let _ = print::say(
            "put the command after `--`, and all options before it: onsembl exec AGENT -- ls -l",
        );
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// The exit code of what was done, and the reason if it failed.
fn finish(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = if error.is::<Unsaid>() { 2 } else { 1 };
            complain(code, Causes(error.as_ref()))
        }
    }
}

fn complain(code: u8, text: impl Display) -> ExitCode {
    // If standard error is closed, the exit code is what is left to say.
    let _ = print::say(text);
    ExitCode::from(code)
}
