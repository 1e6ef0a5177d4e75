//! What a log line may hold, and how often one may come: for programs that log to standard error or to a file.
//!
//! Peers choose most of what is worth logging, and how often. So every value of a line goes through
//! [`Shown`](onsembl_protocol::shown::Shown), whichever crate wrote the line and however it was recorded, a line has a
//! longest length, and [`LineLimit`] limits each line for each peer, and leaves a count of the
//! rest. Nothing here knows what is logged.

#![allow(clippy::disallowed_methods, reason = "a log goes to standard error")]

mod budget;
mod json;
mod limit;
mod line;

pub use limit::LineLimit;

use json::JsonLines;
use line::Fields;
use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use thiserror::Error;
use tracing_subscriber::filter::{LevelFilter, Targets as Filter};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt as lines, reload};

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

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people: the message, and `name=value` for each field, in quotes where it has blanks, quotes or `=`.
    #[default]
    Text,
    /// For programs: one object a line, with `time`, `level`, `target`, `message` and `fields`.
    Json,
}

impl LogFormat {
    /// The format of this name: `text` or `json`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Which rules hold, and where they are from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRules {
    rules: String,
    /// What of `RUST_LOG` cannot be used.
    unread: Option<String>,
}

impl LogRules {
    /// `given`, if a person gave some; else those of the variable `RUST_LOG`; else `default`. A `RUST_LOG` that cannot
    /// be read is passed over, and complained of: it may be meant for other programs.
    #[must_use]
    pub fn choose(given: Option<&str>, default: &str) -> Self {
        Self::of(given, std::env::var("RUST_LOG").ok().as_deref(), default)
    }

    fn of(given: Option<&str>, variable: Option<&str>, default: &str) -> Self {
        let variable = variable.filter(|rules| !rules.trim().is_empty());
        match (given, variable) {
            (Some(given), _) => Self { rules: given.to_owned(), unread: None },
            (None, Some(rules)) if filter_of(rules).is_ok() => {
                Self { rules: rules.to_owned(), unread: None }
            }
            (None, unread) => Self { rules: default.to_owned(), unread: unread.map(str::to_owned) },
        }
    }
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
        #[source]
        why: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something else in this process logs already.
    #[error("the log of this process was already started")]
    Begun,
    /// No thread can be had.
    #[error("cannot start the thread of the log: {0}")]
    Thread(#[from] io::Error),
    /// The log is not there any more.
    #[error("the log has ended")]
    Ended,
}

/// The log of this process. When it is dropped, the lines that were left out last are counted.
#[derive(Debug)]
#[must_use = "dropping it ends the counts of lines that are left out"]
pub struct Log {
    limit: LineLimit,
    filter: reload::Handle<Filter, Registry>,
    end: Option<Sender<()>>,
    reporter: Option<JoinHandle<()>>,
}

/// From here on everything is logged that `rules` ask for: a level, or directives such as
/// `info,onsembl_transport=debug`.
///
/// # Errors
/// [`LogError`]: nothing is logged then.
pub fn begin(
    rules: &LogRules,
    to: LogTo,
    targets: Targets,
    format: LogFormat,
) -> Result<Log, LogError> {
    let LogRules { rules, unread } = rules;
    let (filter, handle) = reload::Layer::new(filter_of(rules)?);
    let limit = LineLimit::new();
    let (ansi, writer) = match to {
        LogTo::Stderr => (io::stderr().is_terminal(), BoxMakeWriter::new(io::stderr)),
        LogTo::File(file) => (false, BoxMakeWriter::new(Mutex::new(file))),
    };
    // A log that cannot be written, on a full disk say, would be complained of on the same standard error, and
    // that would be a panic.
    let layer = lines::layer().with_writer(writer).log_internal_errors(false);
    let layer = match format {
        LogFormat::Text => layer
            .fmt_fields(Fields)
            .with_target(targets == Targets::Shown)
            .with_ansi(ansi)
            .with_filter(limit.clone())
            .boxed(),
        LogFormat::Json => layer.event_format(JsonLines).with_filter(limit.clone()).boxed(),
    };
    let registry = tracing_subscriber::registry().with(filter).with(layer);
    registry.try_init().map_err(|_| LogError::Begun)?;
    if let Some(unread) = unread {
        tracing::warn!(RUST_LOG = %unread, "the rules in RUST_LOG cannot be read; logging by the default");
    }
    let (end, ended) = mpsc::channel();
    let reported = limit.clone();
    let reporter = thread::Builder::new().name("onsembl-log".to_owned()).spawn(move || {
        while ended.recv_timeout(REPORT_EVERY) == Err(RecvTimeoutError::Timeout) {
            reported.report(Instant::now());
        }
    })?;
    Ok(Log { limit, filter: handle, end: Some(end), reporter: Some(reporter) })
}

/// Levels, by what part of a program writes a line. Rules about spans and the values of fields are not taken: to read them
/// takes a library of regular expressions, 250 KiB of each program.
fn filter_of(rules: &str) -> Result<Filter, LogError> {
    let given = rules.split(',').map(str::trim).filter(|rule| !rule.is_empty());
    let given: Vec<&str> = given.collect();
    if given.is_empty() {
        return Ok(Filter::new().with_default(LevelFilter::ERROR));
    }
    let refused = |why: Box<dyn std::error::Error + Send + Sync>| LogError::Rules {
        rules: rules.to_owned(),
        why,
    };
    if let Some(rule) = given.iter().find(|rule| rule.contains(['[', ']', '{', '}'])) {
        return Err(refused(format!("{rule:?} is about spans or fields").into()));
    }
    given
        .join(",")
        .parse()
        .map_err(|why: tracing_subscriber::filter::ParseError| refused(why.into()))
}

impl Log {
    /// From here on what these rules ask for is logged instead.
    ///
    /// # Errors
    /// [`LogError`]: the rules from before hold.
    pub fn reload(&self, rules: &LogRules) -> Result<(), LogError> {
        let filter = filter_of(&rules.rules)?;
        self.filter.reload(filter).map_err(|_| LogError::Ended)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_goes_before_the_variable_and_that_before_the_default() {
        let rules = |given, variable| LogRules::of(given, variable, "info").rules;
        assert_eq!(rules(Some("debug"), Some("trace")), "debug");
        assert_eq!(rules(None, Some("trace")), "trace");
        for nothing in [None, Some(""), Some(" ")] {
            assert_eq!(rules(None, nothing), "info");
        }
        for rules in
            ["warn,onsembl_transport=debug", " info , hyper=off,", "onsembl_server_ref=trace"]
        {
            assert_eq!(LogRules::of(None, Some(rules), "info").rules, rules);
        }
        let of_spans = LogRules::of(None, Some("info,[link]=debug"), "info");
        assert_eq!(of_spans.unread.as_deref(), Some("info,[link]=debug"));
        let unread = LogRules::of(None, Some("a=b=c=d"), "info");
        assert_eq!((unread.rules.as_str(), unread.unread.as_deref()), ("info", Some("a=b=c=d")));
    }

    #[test]
    fn rules_are_levels_for_all_and_for_parts_of_the_program() {
        use tracing::Level;
        let of = |rules: &str, target: &str, level| {
            filter_of(rules).expect(rules).would_enable(target, &level)
        };
        let rules = "info, onsembl_transport=debug,hyper=off,";
        assert!(of(rules, "onsembl_server_ref::hub", Level::INFO));
        assert!(!of(rules, "onsembl_server_ref::hub", Level::DEBUG));
        assert!(of(rules, "onsembl_transport::pump", Level::DEBUG));
        assert!(!of(rules, "hyper::proto", Level::ERROR));
        assert!(of("WARN", "any", Level::WARN) && !of("warn", "any", Level::INFO));
        assert!(of("", "any", Level::ERROR) && !of(" ,", "any", Level::WARN));
    }

    #[test]
    fn rules_that_make_no_sense_say_why_once() {
        let refused = filter_of("a=b=c=d").unwrap_err();
        let cause = std::error::Error::source(&refused).expect("a cause").to_string();
        let said = onsembl_protocol::shown::Causes(&refused).to_string();
        assert_eq!((said.matches(&cause).count(), said), (1, refused.to_string()));
    }
}
