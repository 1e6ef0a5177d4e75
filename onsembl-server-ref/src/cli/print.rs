//! The one place where the command line writes: lines for people, JSON, and the bytes of a command's output.
//!
//! Names, ids, texts and reasons were chosen by others, and so was what a server answers. A line therefore takes
//! anything that can be displayed and shows it escaped ([`Shown`]), and nothing else in the command line has
//! standard output or standard error: `clippy.toml` forbids it elsewhere. Only [`raw`] and what is beside it pass bytes
//! on as they are, for `exec`, `output` and `export`, whose purpose that is; and [`table`], whose cells are escaped
//! where they become cells.

#![allow(clippy::disallowed_methods, reason = "the rule is about everything but this file")]

use crate::client::{Ends, Passing};
use onsembl_protocol::shown::Shown;
use std::fmt::Display;
use std::io::{self, IsTerminal as _, StderrLock, StdoutLock, Write as _};
use std::sync::OnceLock;

/// Characters of a line. A table has cells of its own bound, an error its causes.
const LONGEST_LINE: usize = 16 * 1024;

/// The program that people called.
static PROGRAM: OnceLock<&'static str> = OnceLock::new();

/// Says which program this is, for what it says of itself.
pub(super) fn begin(program: &'static str) {
    // A second start in one process is of the same program.
    let _ = PROGRAM.set(program);
}

/// The name of this program.
pub(crate) fn program() -> &'static str {
    PROGRAM.get().copied().unwrap_or("onsembl")
}

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

/// The lines of a table, whose cells are escaped and may have colours.
pub(super) fn table(lines: &[String]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()
}

/// The same instead of all that the terminal shows.
pub(super) fn table_afresh(lines: &[String]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "\x1b[H\x1b[2J\x1b[3J")?;
    drop(out);
    table(lines)
}

/// What a server answered, for programs that read it as JSON.
pub(super) fn json(answer: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", Shown::json(answer))?;
    out.flush()
}

/// A line on standard error.
pub(super) fn note(text: impl Display) -> io::Result<()> {
    writeln!(io::stderr().lock(), "{}", shown(text))
}

/// A line on standard error, in the name of this program.
pub(super) fn say(text: impl Display) -> io::Result<()> {
    note(format_args!("{}: {text}", program()))
}

fn shown<T: Display>(text: T) -> Shown<T> {
    Shown::new(text).within(LONGEST_LINE)
}

/// Whether standard output is a terminal.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Columns of the terminal that standard output is, if it is one.
pub(super) fn columns() -> Option<usize> {
    let out = io::stdout();
    let size = rustix::termios::tcgetwinsize(&out).ok()?;
    Some(size.ws_col.into()).filter(|columns| *columns > 0)
}

/// Standard output, for bytes as they are.
pub(super) fn raw() -> StdoutLock<'static> {
    io::stdout().lock()
}

/// Standard error, for bytes as they are.
pub(super) fn raw_errors() -> StderrLock<'static> {
    io::stderr().lock()
}

/// What of a command's output may reach each of the two: all of it where it is no terminal.
pub(super) fn ends(is_raw: bool) -> Ends {
    let passing = |is_terminal: bool| match is_terminal && !is_raw {
        true => Passing::Viewed,
        false => Passing::Raw,
    };
    Ends {
        stdout: passing(io::stdout().is_terminal()),
        stderr: passing(io::stderr().is_terminal()),
    }
}

/// Both, for what is followed.
pub(super) fn raw_streams() -> (tokio::io::Stdout, tokio::io::Stderr) {
    (tokio::io::stdout(), tokio::io::stderr())
}
