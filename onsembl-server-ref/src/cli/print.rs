//! The one place where the command line writes: lines for people, JSON, and the bytes of a command's output.
//!
//! Names, ids, texts and reasons were chosen by others, and so was what a server answers. A line therefore takes
//! anything that can be displayed and shows it escaped ([`Shown`]), and nothing else in the command line has
//! standard output or standard error: `clippy.toml` forbids it elsewhere. Only [`raw`] and what is beside it pass bytes
//! on as they are, for `exec`, `output` and `export`, whose purpose that is.

#![allow(clippy::disallowed_methods, reason = "the rule is about everything but this file")]

use onsembl_protocol::shown::Shown;
use std::fmt::Display;
use std::io::{self, StderrLock, StdoutLock, Write as _};

/// Characters of a line. A table has cells of its own bound, an error its causes.
const LONGEST_LINE: usize = 16 * 1024;

/// A line on standard output.
pub(super) fn line(text: impl Display) -> io::Result<()> {
    lines([text])
}

/// Lines on standard output.
pub(super) fn lines(texts: impl IntoIterator<Item = impl Display>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for text in texts {
        writeln!(out, "{}", shown(text))?;
    }
    out.flush()
}

/// What a server answered, for programs that read it as JSON.
pub(super) fn json(answer: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", Shown::json(answer))?;
    out.flush()
}

/// A line on standard error.
pub(super) fn note(text: impl Display) -> io::Result<()> {
    writeln!(io::stderr().lock(), "{}", shown(text))
}

fn shown<T: Display>(text: T) -> Shown<T> {
    Shown::new(text).within(LONGEST_LINE)
}

/// Standard output, for bytes as they are.
pub(super) fn raw() -> StdoutLock<'static> {
    io::stdout().lock()
}

/// Standard error, for bytes as they are.
pub(super) fn raw_errors() -> StderrLock<'static> {
    io::stderr().lock()
}

/// Both, for what is followed.
pub(super) fn raw_streams() -> (tokio::io::Stdout, tokio::io::Stderr) {
    (tokio::io::stdout(), tokio::io::stderr())
}
