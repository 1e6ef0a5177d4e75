//! `onsembl-agent run`: from arguments, signals and a log to the engine.

use super::log;
use super::{OK, RunArgs, RunnerKind};
use crate::engine::{self, AgentEnd, AgentOptions, TokenSourceKind};
use crate::process::Runner;
use anyhow::{Context, Result};
use onsembl_protocol::wire::payload::AgentType;
use onsembl_protocol::worker::Fence;
use onsembl_transport::ProxyRule;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signal for a file that would outgrow its limit, on Linux and macOS.
const SIGXFSZ: i32 = 25;

/// Threads that carry links and processes. The work is waiting; two keep one slow call from
/// holding up heartbeats.
const THREADS: usize = 2;

pub(super) fn run(args: RunArgs) -> Result<u8> {
    let _log = log::begin(&args)?;
    let options = options(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .context("cannot start the runtime of the agent")?;
    let end = runtime.block_on(async {
        let stop = stop_signals()?;
        // A file that may not grow is a failure to write; by default it is the end of the process.
        let _caught = signal(SignalKind::from_raw(SIGXFSZ))
            .context("cannot catch the signal for files that are too large")?;
        anyhow::Ok(engine::run(options, stop).await?)
    });
    // A look-up at a silent name server, or a token file that does not answer, may still block a
    // thread for a minute; that is not waited for.
    runtime.shutdown_background();
    match end? {
        AgentEnd::Shutdown => tracing::info!("stopped"),
        // What does not fit into an exit code of this system is cut to it, as a shell does.
        AgentEnd::ProgramEnded(exit) => return Ok((exit.shell_code() & 0xff) as u8),
        AgentEnd::StoppedByServer => tracing::info!("stopped by order of the server"),
        AgentEnd::RestartedByServer => return Err(start_anew()),
    }
    Ok(OK)
}

/// Puts the program anew in the place of this process, with the same arguments, environment and
/// number. Comes back only when that fails.
fn start_anew() -> anyhow::Error {
    let program = match std::env::current_exe() {
        Ok(path) => installed(path),
        Err(error) => return anyhow::Error::new(error).context("cannot find its own program"),
    };
    tracing::info!("starting anew by order of the server");
    let error = Command::new(&program).args(std::env::args_os().skip(1)).exec();
    anyhow::Error::new(error).context(format!(
        "cannot start {} anew; the server ordered a restart, and the agent has ended",
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

fn options(args: RunArgs) -> Result<AgentOptions> {
    let fence = fence(&args)?;
    let token = match (args.token.token, args.token.token_file) {
        (_, Some(file)) => TokenSourceKind::File(file),
        (Some(token), None) => TokenSourceKind::Literal(token),
        (None, None) => anyhow::bail!("no token is given; use --token-file or --token"),
    };
    let mut words = args.program.into_iter();
    let runner = match (args.runner, words.next()) {
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
    if args.attach && args.runner != RunnerKind::Terminal {
        anyhow::bail!("--attach shows the program of a terminal; add --runner terminal");
    }
    let proxy = match args.proxy.as_deref() {
        None => None,
        Some("none") => Some(ProxyRule::direct()),
        Some(url) => Some(ProxyRule::through(url)?),
    };
    Ok(AgentOptions {
        runner,
        fence,
        agent_type: AgentType::parse(&args.agent_type),
        state_dir: args.state_dir,
        tls_ca: args.tls_ca,
        proxy,
        spool_bytes: args.spool_bytes,
        spool_policy: args.spool_policy,
        max_parallel: args.max_parallel,
        attach: args.attach,
        ..AgentOptions::new(args.server, token, args.name)
    })
}

/// What of a request reaches the program, if the arguments say anything of it.
fn fence(args: &RunArgs) -> Result<Option<Fence>> {
    let allows = args.allow_args || !args.allow_env.is_empty() || !args.allow_directory.is_empty();
    match (args.runner, allows) {
        (_, false) => return Ok(None),
        (RunnerKind::Program, true) => {}
        (RunnerKind::Shell | RunnerKind::Terminal, true) => anyhow::bail!(
            "--allow-args, --allow-env and --allow-directory are about --runner program: a shell can do anything anyhow, and into a terminal texts are typed and nothing else"
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

/// Completes at the first signal that asks this process to end.
fn stop_signals() -> Result<impl Future<Output = ()>> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    // Closing the terminal must not leave processes behind either; but who started us with the
    // signal ignored (nohup) wants us to stay.
    let mut hangup = match hangup_is_ignored() {
        true => None,
        false => Some(listen(SignalKind::hangup())?),
    };
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            () = received(hangup.as_mut()) => "SIGHUP",
        };
        tracing::info!(signal = name, "asked to stop");
    })
}

async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => {
            let _ = signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Whether `SIGHUP` (number 1, the lowest bit) was ignored when we were started, as far as `/proc`
/// tells.
fn hangup_is_ignored() -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return false };
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}
