//! What a log line may hold, and how often one may come: for programs that log to standard error or to a file.
//!
//! Peers choose most of what is worth logging, and how often. So every value of a line goes through
//! [`Shown`](onsembl_protocol::shown::Shown), whichever crate wrote the line and however it was recorded, a line has a
//! longest length, and [`LineLimit`] limits each line for each peer, and leaves a count of the
//! rest. Nothing here knows what is logged.

#![allow(clippy::disallowed_methods, reason = "a log goes to standard error")]

mod budget;
mod limit;
mod line;

pub use limit::LineLimit;

use line::Fields;
use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use thiserror::Error;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt as lines};

/// How often it is said how many lines were left out.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Where lines go.
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say all")]
pub enum LogTo {
    /// With colours if it is a terminal.
    Stderr,
    File(Box<dyn Write + Send>),
}

impl fmt::Debug for LogTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stderr => "Stderr",
            Self::File(_) => "File",
        })
    }
}

/// Whether a line says which module wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Targets {
    Shown,
    Hidden,
}

/// Why nothing is logged.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LogError {
    /// The rules make no sense.
    #[error(
        "cannot read the log rules {rules:?}: {why}; give error, warn, info, debug or trace, or rules such as info,onsembl_transport=debug"
    )]
    Rules {
        /// As they were given.
        rules: String,
        /// What is wrong with them.
        why: String,
    },
    /// Something else in this process logs already.
    #[error("the log of this process was begun already")]
    Begun,
    /// No thread can be had.
    #[error("cannot start the thread of the log: {0}")]
    Thread(#[from] io::Error),
}

/// The log of this process. When it is dropped, the lines that were left out last are counted.
#[derive(Debug)]
#[must_use = "dropping it ends the counts of lines that are left out"]
pub struct Log {
    limit: LineLimit,
    end: Option<Sender<()>>,
    reporter: Option<JoinHandle<()>>,
}

/// From here on everything is logged that `rules` ask for: a level, or directives such as
/// `info,onsembl_transport=debug`.
///
/// # Errors
/// [`LogError`]: nothing is logged then.
pub fn begin(rules: &str, to: LogTo, targets: Targets) -> Result<Log, LogError> {
    let filter = EnvFilter::try_new(rules)
        .map_err(|why| LogError::Rules { rules: rules.to_owned(), why: why.to_string() })?;
    let limit = LineLimit::new();
    let layer = lines::layer()
        .fmt_fields(Fields)
        .with_target(targets == Targets::Shown)
        // A log that cannot be written, on a full disk say, would be complained of on the same standard error,
        // and that would be a panic.
        .log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(filter);
    match to {
        LogTo::Stderr => {
            let ansi = io::stderr().is_terminal();
            let layer = layer.with_ansi(ansi).with_writer(io::stderr);
            registry
                .with(layer.with_filter(limit.clone()))
                .try_init()
                .map_err(|_| LogError::Begun)?;
        }
        LogTo::File(file) => {
            let layer = layer.with_ansi(false).with_writer(Mutex::new(file));
            registry
                .with(layer.with_filter(limit.clone()))
                .try_init()
                .map_err(|_| LogError::Begun)?;
        }
    }
    let (end, ended) = mpsc::channel();
    let reported = limit.clone();
    let reporter = thread::Builder::new().name("onsembl-log".to_owned()).spawn(move || {
        while ended.recv_timeout(REPORT_EVERY) == Err(RecvTimeoutError::Timeout) {
            reported.report(Instant::now());
        }
    })?;
    Ok(Log { limit, end: Some(end), reporter: Some(reporter) })
}

impl Drop for Log {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(reporter) = self.reporter.take() {
            // It cannot panic, and if it did, that would have been said by itself.
            let _ = reporter.join();
        }
        self.limit.report(Instant::now());
    }
}
