//! Why a recording is refused, and what it means when it is not but differs.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use thiserror::Error;

/// What a replay found. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say all")]
pub enum ReplayError {
    #[error("the file is empty; a recording has at least a header line and an end mark")]
    Empty,
    /// The first line is not that of a recording.
    #[error("line 1: not an Onsembl recording: {why}; make one with `onsembl export`")]
    Foreign {
        /// What is wrong with it.
        why: String,
    },
    /// It was written by a later version.
    #[error(
        "line 1: the recording has format {found}, this program reads {known}; use a newer version \
         of it"
    )]
    Newer {
        found: u64,
        /// The latest one known here.
        known: u64,
    },
    /// A line is not what was written.
    #[error("line {line}: {why}; the file was changed, damaged or cut after it was written")]
    Corrupt {
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A line is as it was written, but does not make sense here.
    #[error("line {line}: {why}; the recording was made by core {core}, this is {}", env!("CARGO_PKG_VERSION"))]
    Unreadable {
        line: u64,
        /// What is wrong with it.
        why: String,
        /// The core that wrote it.
        core: String,
    },
    /// The end mark is missing.
    #[error(
        "the recording is cut off after line {lines}: the end mark is missing; the file was cut, or \
         its export did not end; export it again"
    )]
    Truncated {
        /// Lines that there are.
        lines: u64,
    },
    /// The exporter says itself that the recording is not what happened.
    #[error(
        "line {line}: the server could not reproduce entry {n} when it wrote the recording: {why}; \
         this is a bug of that server, please report it"
    )]
    Unproven { line: u64, n: u64, why: String },
    /// The core does something else now.
    #[error("{0}")]
    Differs(Box<Difference>),
}

/// The first line where the core does something else than it did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct Difference {
    pub line: u64,
    pub n: u64,
    /// When it happened, and what.
    pub event: String,
    /// What the machine did.
    pub was: String,
    /// What it does now.
    pub now: String,
    /// The core that did it.
    pub core: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, n, event, was, now, core } = self;
        let here = env!("CARGO_PKG_VERSION");
        write!(
            f,
            "line {line} differs (entry {n}, {event})\n  was (core {core}): {was}\n  now (core \
             {here}): {now}"
        )
    }
}
