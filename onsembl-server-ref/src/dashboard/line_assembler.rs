//! Whole lines for legacy dashboards, which put a line break behind every piece of text they get
//! and cannot read most escape sequences.

use onsembl_protocol::model::Stream;
use onsembl_protocol::time::{Deadline, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;
use vte::{Parser, Perform};

/// Longest line in bytes; a longer one is cut, because a program may never end its line.
const LONGEST: usize = 64 * 1024;
/// An unfinished line is shown after so long without more of it: it may be a question that somebody is to
/// answer. A program that writes on is not that slow, and a person hardly notices it.
const UNFINISHED_AFTER: Duration = Duration::from_millis(300);

/// Puts the lines of one command together, each stream by itself; every character once, escape
/// sequences and other control characters never, also when a chunk border cuts them.
#[derive(Default)]
pub(crate) struct LineAssembler {
    streams: BTreeMap<Stream, (Parser, Lines)>,
    /// When more came last.
    pushed_at: Option<Timestamp>,
}

#[derive(Default)]
struct Lines {
    begun: String,
    whole: Vec<String>,
}

impl LineAssembler {
    /// Takes bytes and gives the lines that are whole now.
    pub(crate) fn push(&mut self, stream: Stream, bytes: &[u8], now: Timestamp) -> Vec<String> {
        self.pushed_at = Some(now);
        let (parser, lines) = self.streams.entry(stream).or_default();
        parser.advance(lines, bytes);
        std::mem::take(&mut lines.whole)
    }

    /// When to look for unfinished lines; never if there is none.
    pub(super) fn deadline(&self) -> Deadline {
        let is_begun = self.streams.values().any(|(_, lines)| !lines.begun.is_empty());
        match self.pushed_at.filter(|_| is_begun) {
            Some(at) => Deadline::At(at.saturating_add(UNFINISHED_AFTER)),
            None => Deadline::Never,
        }
    }

    /// What is unfinished of each stream, if nothing more came for long enough. What comes later of such a
    /// line is the next one.
    pub(super) fn flush(&mut self, now: Timestamp) -> Vec<(Stream, String)> {
        if !self.deadline().is_due(now) {
            return Vec::new();
        }
        self.streams
            .iter_mut()
            .filter(|(_, (_, lines))| !lines.begun.is_empty())
            .map(|(stream, (_, lines))| (*stream, std::mem::take(&mut lines.begun)))
            .collect()
    }

    /// The command ended: what is left of each stream.
    pub(crate) fn finish(&mut self) -> Vec<(Stream, String)> {
        std::mem::take(&mut self.streams)
            .into_iter()
            .filter(|(_, (_, lines))| !lines.begun.is_empty())
            .map(|(stream, (_, lines))| (stream, lines.begun))
            .collect()
    }
}

impl Lines {
    fn end_line(&mut self) {
        self.whole.push(std::mem::take(&mut self.begun));
    }
}

impl Perform for Lines {
    fn print(&mut self, c: char) {
        self.begun.push(c);
        if self.begun.len() >= LONGEST {
            self.end_line();
        }
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\n' => self.end_line(),
            b'\t' => self.print('\t'),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "plain\r\n\u{1b}[31mr\u{e9}d \u{2713}\u{1b}[0m\tx\n\n\u{1b}]0;title\u{7}rest";

    fn all(cuts: usize) -> Vec<String> {
        let mut assembler = LineAssembler::default();
        let mut lines: Vec<String> = TEXT
            .as_bytes()
            .chunks(cuts)
            .flat_map(|chunk| assembler.push(Stream::Stdout, chunk, Timestamp::ORIGIN))
            .collect();
        lines.extend(assembler.finish().into_iter().map(|(_, line)| line));
        lines
    }

    #[test]
    fn lines_do_not_depend_on_how_the_bytes_were_cut() {
        let expected = ["plain", "r\u{e9}d \u{2713}\tx", "", "rest"];
        for cuts in 1..TEXT.len() {
            assert_eq!(all(cuts), expected, "cut each {cuts} bytes");
        }
    }

    #[test]
    fn streams_do_not_mix() {
        let mut assembler = LineAssembler::default();
        let at = Timestamp::ORIGIN;
        assert!(assembler.push(Stream::Stdout, b"out", at).is_empty());
        assert_eq!(assembler.push(Stream::Stderr, b"err\n", at), ["err"]);
        assert_eq!(assembler.push(Stream::Stdout, b"put\n", at), ["output"]);
    }

    #[test]
    fn an_unfinished_line_comes_after_a_silence_and_once() {
        let at = |ms| Timestamp::ORIGIN.saturating_add(Duration::from_millis(ms));
        let mut assembler = LineAssembler::default();
        assert_eq!(assembler.deadline(), Deadline::Never);
        assert!(assembler.push(Stream::Stdout, b"Proceed? ", at(0)).is_empty());
        assert!(assembler.push(Stream::Stdout, b"[y/N] \x1b[3", at(200)).is_empty());
        assert_eq!(assembler.deadline(), Deadline::At(at(500)));
        assert!(assembler.flush(at(499)).is_empty(), "it still writes");
        assert_eq!(assembler.flush(at(500)), [(Stream::Stdout, "Proceed? [y/N] ".to_owned())]);
        assert_eq!((assembler.deadline(), assembler.flush(at(900))), (Deadline::Never, Vec::new()));
        // An escape sequence that was cut there goes on.
        assert_eq!(assembler.push(Stream::Stdout, b"1mred\n", at(1000)), ["red"]);
        assert!(assembler.finish().is_empty());
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let mut assembler = LineAssembler::default();
        let lines = assembler.push(Stream::Stdout, &vec![b'x'; LONGEST + 5], Timestamp::ORIGIN);
        assert_eq!(lines.len(), 1);
        assert_eq!(assembler.finish(), [(Stream::Stdout, "xxxxx".to_owned())]);
    }
}
