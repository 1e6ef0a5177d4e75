//! `onsembl-agent run`: from arguments, signals and a log to the engine.

use super::log;
use super::print;
use super::signals::Hangup;
use super::{
    DELETED, OK, REFUSED, REPLACED, REVOKED, RunArgs, RunnerKind, TokenArgs, configured, signals,
};
use crate::engine::{self, AgentControl, AgentEnd, AgentError, AgentOptions, TokenSourceKind};
use crate::preset::{self, Additions, Applied, Finding, Form, OwnPaths, Preset, SessionChoice};
use crate::process::{self, Runner};
use crate::service::Supervision;
use crate::state_dir::locate;
use anyhow::{Context, Result};
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::session::AgentCause;
use onsembl_protocol::wire::payload::AgentType;
use onsembl_protocol::worker::Fence;
use onsembl_transport::ProxyRule;
use onsembl_transport::config::{Effective, Reload};
use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;

/// Threads that carry links and processes. The work is waiting; two keep one slow call from
/// holding up heartbeats.
const THREADS: usize = 2;

/// Observations that the service manager has not been shown yet. It takes each at once.
const OBSERVATIONS: usize = 32;

pub(super) fn run(args: RunArgs, file: Option<PathBuf>, effective: Vec<Effective>) -> Result<u8> {
    let log = log::begin(&args)?;
    let reload = Reload::new(&log, log::RULES, file, effective);
    let supervision = Supervision::from_env();
    let (control, inbox) = AgentControl::new();
    let mut options = options(args)?;
    options.control = Some(inbox);
    let (observer, observed) = mpsc::channel(OBSERVATIONS);
    options.observer = supervision.manager().is_heard().then_some(observer);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .context("cannot start the runtime of the agent")?;
    let end = runtime.block_on(async {
        let stop = signals::stop()?;
        let hangups = signals::hangups()?;
        let _caught = signals::catch()?;
        match process::adopt_orphans() {
            Ok(reaper) => drop(tokio::spawn(reaper)),
            // Processes are found by group, session, mark and parent then.
            Err(error) => {
                tracing::warn!(%error, "a process that leaves its group, session, environment and parent cannot be found on this system");
            }
        }
        let stop = async {
            stop.await;
            supervision.stopping();
        };
        let attended = async {
            let hung_up = on_hangups(hangups, &control, &supervision, reload);
            tokio::join!(supervision.watch(&control), supervision.show(observed), hung_up);
            std::future::pending::<Infallible>().await
        };
        anyhow::Ok(tokio::select! {
            end = engine::run(options, stop) => end,
            never = attended => match never {},
        })
    });
    // A look-up at a silent name server, or a token file that does not answer, may still block a
    // thread for a minute; that is not waited for.
    runtime.shutdown_background();
    let end = match end? {
        Ok(end) => end,
        Err(error) => return refused(error),
    };
    match end {
        AgentEnd::Shutdown => tracing::info!("stopped"),
        // What does not fit into an exit code of this system is cut to it, as a shell does.
        AgentEnd::ProgramEnded(exit) => return Ok((exit.shell_code() & 0xff) as u8),
        AgentEnd::StoppedByServer => tracing::info!("stopped by order of the server"),
        AgentEnd::RestartedByServer => return Err(restart()),
    }
    Ok(OK)
}

/// At each hang-up an attachment ends, and files are read again.
async fn on_hangups(
    mut hangups: Signal,
    control: &AgentControl,
    supervision: &Supervision,
    mut reload: Reload<'_>,
) {
    while hangups.recv().await.is_some() {
        tracing::info!(signal = "SIGHUP", "reloading the token file and the log rules");
        supervision.manager().reloading();
        control.hang_up().await;
        control.look_at_token().await;
        reload.reload(configured::effective);
        supervision.manager().reloaded();
    }
}

/// Whether these arguments can be used.
pub(super) fn check(args: RunArgs) -> Result<()> {
    options(args).map(drop)
}

/// The exit code of an agent that is to stay away; supervisors must be able to tell it from a failure.
fn refused(error: AgentError) -> Result<u8> {
    let AgentError::Refused { cause } = &error else { return Err(error.into()) };
    let code = match cause {
        AgentCause::LinkEnded(reason) if reason.cause == CloseCause::Replaced => REPLACED,
        AgentCause::LinkEnded(reason) if reason.cause == CloseCause::Deleted => DELETED,
        AgentCause::LinkEnded(_) | AgentCause::DialFailed(_) => REVOKED,
        AgentCause::HelloRefused(_)
        | AgentCause::Started
        | AgentCause::RetryDue
        | AgentCause::LinkOpened
        | AgentCause::HelloAccepted
        | AgentCause::HelloUnanswered
        | AgentCause::DialUnanswered
        | AgentCause::Silence(_)
        | AgentCause::HeardAgain
        | AgentCause::Slept(_)
        | AgentCause::TokenRenewed
        | AgentCause::Stopped
        | AgentCause::EndOrdered(_) => REFUSED,
    };
    // If stderr is closed there is nowhere to report to.
    print::note(format_args!("onsembl-agent: {error}"));
    Ok(code)
}

/// Replaces this process with a new run of the program, with the same arguments, environment and
/// number. Comes back only when that fails.
fn restart() -> anyhow::Error {
    let program = match std::env::current_exe() {
        Ok(path) => installed(path),
        Err(error) => return anyhow::Error::new(error).context("cannot find its own program"),
    };
    tracing::info!("restarting by order of the server");
    if signals::at_hangup() == Hangup::Ignored {
        // It catches the signal by now, and what takes its place has it at its default until it catches it too. Only a
        // shell can ignore one in front of a program without unsafe code here; without a shell, better so than not at all.
        let error = Command::new("/bin/sh")
            .args(["-c", "trap '' HUP; exec \"$@\"", "sh"])
            .arg(&program)
            .args(std::env::args_os().skip(1))
            .exec();
        tracing::warn!(%error, "restarting without a shell; a hang-up within the next moment would end the agent");
    }
    let error = Command::new(&program).args(std::env::args_os().skip(1)).exec();
    anyhow::Error::new(error).context(format!(
        "cannot restart {}; the server ordered a restart, and the agent has ended",
        program.display()
    ))
}

/// Linux marks the path of a program that was replaced while it ran; the new one is the one to
/// start.
fn installed(path: PathBuf) -> PathBuf {
    match path.to_str().and_then(|path| path.strip_suffix(" (deleted)")) {
        Some(path) => PathBuf::from(path),
        None => path,
    }
}

/// Where the token comes from.
pub(super) fn token(args: TokenArgs) -> Result<TokenSourceKind> {
    match (args.token, args.token_file) {
        (_, Some(file)) => Ok(TokenSourceKind::File(file)),
        (Some(token), None) => Ok(TokenSourceKind::Literal(token)),
        (None, None) => anyhow::bail!("no token is given; use --token-file or --token"),
    }
}

/// The proxy that is named; `None` if what the environment says counts.
pub(super) fn proxy(named: Option<&str>) -> Result<Option<ProxyRule>> {
    match named {
        None => Ok(None),
        Some("none") => Ok(Some(ProxyRule::direct())),
        Some(url) => Ok(Some(ProxyRule::through(url)?)),
    }
}

fn options(args: RunArgs) -> Result<AgentOptions> {
    let kind = match (args.runner, &args.preset) {
        (Some(kind), _) => kind,
        (None, Some(_)) => RunnerKind::Terminal,
        (None, None) => RunnerKind::Shell,
    };
    let fence = fence(&args, kind)?;
    let preset = preset(&args, kind)?;
    let token = token(args.token)?;
    let (program, additions, preset_type) = match preset {
        Some((applied, name)) => {
            let Applied { program, arguments, additions } = applied;
            (std::iter::once(program).chain(arguments).collect(), additions, Some(name))
        }
        None => (args.program, Additions::default(), None),
    };
    let mut words = program.into_iter();
    let runner = match (kind, words.next()) {
        (RunnerKind::Shell, None) => Runner::Shell,
        (RunnerKind::Shell, Some(_)) => {
            anyhow::bail!(
                "a program is given, but commands are run by the shell; add --runner program"
            )
        }
        (RunnerKind::Program, None) => {
            anyhow::bail!(
                "--runner program needs a program: onsembl-agent run … --runner program -- PROGRAM ARGUMENTS"
            )
        }
        (RunnerKind::Program, Some(program)) => {
            Runner::Program { program, arguments: words.collect(), text_on: args.text_on }
        }
        (RunnerKind::Terminal, None) => {
            anyhow::bail!(
                "--runner terminal needs a program: onsembl-agent run … --runner terminal -- PROGRAM ARGUMENTS"
            )
        }
        (RunnerKind::Terminal, Some(program)) => {
            Runner::Terminal { program, arguments: words.collect(), size: args.size }
        }
    };
    if args.attach && kind != RunnerKind::Terminal {
        anyhow::bail!("--attach shows the program of a terminal; add --runner terminal");
    }
    let proxy = proxy(args.proxy.as_deref())?;
    Ok(AgentOptions {
        runner,
        fence,
        ephemeral: args.ephemeral,
        background: args.background,
        agent_type: args
            .agent_type
            .or(preset_type)
            .map_or(AgentType::Custom, |name| AgentType::parse(&name)),
        additions,
        state_dir: args.state_dir,
        tls_ca: args.tls_ca,
        proxy,
        spool_bytes: args.spool_bytes,
        spool_policy: args.spool_policy,
        max_parallel: args.max_parallel,
        attach: args.attach,
        line_idle: args.line_idle,
        #[cfg(feature = "otel")]
        traces: onsembl_transport::traces::TraceSettings::from_env("onsembl-agent")?,
        ..AgentOptions::new(args.server, token, args.name)
    })
}

/// The program of a preset, with its name.
fn preset(args: &RunArgs, kind: RunnerKind) -> Result<Option<(Applied, String)>> {
    let Some(word) = &args.preset else { return Ok(None) };
    let form = match kind {
        RunnerKind::Terminal => Form::Terminal,
        RunnerKind::Program => Form::OneShot,
        RunnerKind::Shell => anyhow::bail!(
            "--preset runs a program, but --runner shell runs each command in a shell; use --runner terminal, or --runner program for one run per prompt"
        ),
    };
    let preset = Preset::load(word)?;
    match preset::check_version(&preset) {
        Some(Finding::Bad(why)) => tracing::warn!(preset = preset.name, "{why}"),
        Some(Finding::Good(what)) => tracing::info!(preset = preset.name, "{what}"),
        None => {}
    }
    let agent = std::env::current_exe().map(installed).context("cannot find its own program")?;
    let state_dir = std::path::absolute(locate(args.state_dir.clone(), &args.name)?)?;
    let paths = OwnPaths { agent: &agent, state_dir: &state_dir };
    let session = match (&args.session, args.resume.as_deref()) {
        (Some(id), _) => SessionChoice::Begin(id.clone()),
        (None, Some("latest")) => SessionChoice::Latest,
        (None, Some(id)) => SessionChoice::Resume(id.to_owned()),
        (None, None) => SessionChoice::Own,
    };
    let applied = preset.apply(form, &session, args.program.iter().cloned(), paths)?;
    Ok(Some((applied, preset.name)))
}

/// What of a request reaches the program, if the arguments say anything of it.
fn fence(args: &RunArgs, kind: RunnerKind) -> Result<Option<Fence>> {
    let allows = args.allow_args || !args.allow_env.is_empty() || !args.allow_directory.is_empty();
    match (kind, allows) {
        (_, false) => return Ok(None),
        (RunnerKind::Program, true) => {}
        (RunnerKind::Shell | RunnerKind::Terminal, true) => anyhow::bail!(
            "--allow-args, --allow-env and --allow-directory apply to --runner program only: a shell can do anything anyway, and a terminal takes typed text only"
        ),
    }
    let mut fence = Fence::text_only();
    if args.allow_args {
        fence = fence.with_args();
    }
    for name in &args.allow_env {
        fence = fence.with_variable(name);
    }
    for given in &args.allow_directory {
        let resolved = std::fs::canonicalize(given)
            .with_context(|| format!("cannot allow the directory {}", given.display()))?;
        // By the name that people know it by, and by the one that links lead to.
        for path in [std::path::absolute(given)?, resolved] {
            let Some(path) = path.to_str() else {
                anyhow::bail!("the directory {} has no name in UTF-8", path.display());
            };
            fence = fence.with_directory(path);
        }
    }
    Ok(Some(fence))
}
