//! The one place where the command line writes. What a status or an error says was chosen by a server, a proxy or
//! the author of the file, so a line takes anything that can be displayed and shows it escaped ([`Shown`]);
//! `clippy.toml` keeps standard output and standard error from everything else but an attached terminal.

#![allow(clippy::disallowed_methods, reason = "the rule is about everything but this file")]

use onsembl_protocol::shown::Shown;
use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

/// Characters of a line.
const LONGEST_LINE: usize = 16 * 1024;

/// Lines on standard output.
pub(super) fn lines(texts: impl IntoIterator<Item = impl Display>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for text in texts {
        writeln!(out, "{}", Shown::new(text).within(LONGEST_LINE))?;
    }
    out.flush()
}

/// JSON on standard output.
pub(super) fn json(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", Shown::json(text))?;
    out.flush()
}

/// A script that this program wrote itself, unchanged, on standard output.
pub(super) fn raw(script: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(script)?;
    out.flush()
}

/// A line on standard error. If that is closed there is nowhere to report to.
pub(super) fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{}", Shown::new(text).within(LONGEST_LINE));
}

/// Whether a person sees standard error.
pub(super) fn errors_are_seen() -> bool {
    io::stderr().is_terminal()
}
