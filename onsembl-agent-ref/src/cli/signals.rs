//! The signals of an agent's process: which of them stop it, and that none of those that it ignores is ignored by
//! its programs too.

use anyhow::{Context, Result};
use std::sync::OnceLock;
use tokio::signal::unix::{Signal, SignalKind, signal};

const SIGHUP: i32 = 1;
/// The signal for a file that would outgrow its limit, on Linux and macOS.
const SIGXFSZ: i32 = 25;
/// Ignored in every Rust program, and put back by what starts programs.
const SIGPIPE: i32 = 13;
/// `SIGILL`, `SIGFPE`, `SIGKILL`, `SIGSEGV` and `SIGSTOP` of Linux, and the two that the C library keeps for itself:
/// they cannot be caught, or must not be.
const NEVER_CAUGHT: [i32; 7] = [4, 8, 9, 11, 19, 32, 33];

/// Signals that say nothing to this process, and would end it at once by default, with its commands left behind:
/// `SIGVTALRM`,
/// `SIGPROF` and, on Linux, `SIGPWR` among them.
fn harmless() -> [SignalKind; 8] {
    [
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
        SignalKind::alarm(),
        SignalKind::io(),
        SignalKind::from_raw(26),
        SignalKind::from_raw(27),
        SignalKind::from_raw(30),
        SignalKind::from_raw(SIGXFSZ),
    ]
}

/// How this process was started. Asked before anything is caught: then nothing is ignored any more.
static STARTED_WITH: OnceLock<Hangup> = OnceLock::new();

/// How this process was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hangup {
    /// With `SIGHUP` ignored, as by `nohup`.
    Ignored,
    Heeded,
}

/// How this process was started.
pub(super) fn at_hangup() -> Hangup {
    *STARTED_WITH.get_or_init(hangup)
}

/// Completes at each hang-up: of a terminal that is closed, or of somebody who wants files to be read again. It is
/// never
/// the end.
pub(super) fn hangups() -> Result<Signal> {
    let _first = STARTED_WITH.get_or_init(hangup);
    listen(SignalKind::hangup())
}

fn hangup() -> Hangup {
    if ignored().contains(&SIGHUP) { Hangup::Ignored } else { Hangup::Heeded }
}

/// Completes at the first signal that asks this process to end.
pub(super) fn stop() -> Result<impl Future<Output = ()>> {
    let _first = STARTED_WITH.get_or_init(hangup);
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut quit = listen(SignalKind::quit())?;
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            _ = quit.recv() => "SIGQUIT",
        };
        tracing::info!(signal = name, "asked to stop");
    })
}

/// Catches signals that are to do nothing, as long as what is returned lives. A file that may not grow is a failure
/// to write; by default it is the end of the process. And what this process was started with ignored, as a shell
/// does in front of `&`, a program that it starts would ignore as well: its keys for interrupt and quit would be
/// dead, and a shell in a terminal would outlive its hangup. A signal that is caught is at its default in a program
/// that is started. This process outlives a hangup anyway if it was started so: it catches the signal and does
/// nothing.
pub(super) fn catch() -> Result<Vec<Signal>> {
    let _first = STARTED_WITH.get_or_init(hangup);
    let mut caught = harmless().into_iter().map(listen).collect::<Result<Vec<_>>>()?;
    for number in ignored() {
        if number == SIGPIPE || NEVER_CAUGHT.contains(&number) {
            continue;
        }
        match signal(SignalKind::from_raw(number)) {
            Ok(signal) => caught.push(signal),
            Err(error) => {
                tracing::warn!(number, %error, "a signal that this process ignores cannot be caught; its programs ignore it too");
            }
        }
    }
    Ok(caught)
}

fn listen(kind: SignalKind) -> Result<Signal> {
    signal(kind).context("cannot listen for signals")
}

/// The signals that this process ignores, as far as `/proc` tells.
fn ignored() -> Vec<i32> {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return Vec::new() };
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    (1..=64).filter(|number| (mask >> (number - 1)) & 1 == 1).collect()
}
