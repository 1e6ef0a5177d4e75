//! Whole lines for legacy dashboards, which put a line break behind every piece of text they get
//! and cannot read most escape sequences.

use onsembl_protocol::model::Stream;
use std::collections::BTreeMap;
use vte::{Parser, Perform};

/// Longest line in bytes; a longer one is cut, because a program may never end its line.
const LONGEST: usize = 64 * 1024;

/// Puts the lines of one command together, each stream by itself; every character once, escape
/// sequences and other control characters never, also when a chunk border cuts them.
#[derive(Default)]
pub(super) struct LineAssembler {
    streams: BTreeMap<Stream, (Parser, Lines)>,
}

#[derive(Default)]
struct Lines {
    begun: String,
    whole: Vec<String>,
}

impl LineAssembler {
    /// Takes bytes and gives the lines that are whole now.
    pub(super) fn push(&mut self, stream: Stream, bytes: &[u8]) -> Vec<String> {
        let (parser, lines) = self.streams.entry(stream).or_default();
        parser.advance(lines, bytes);
        std::mem::take(&mut lines.whole)
    }

    /// The command ended: what is left of each stream.
    pub(super) fn finish(&mut self) -> Vec<(Stream, String)> {
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
            .flat_map(|chunk| assembler.push(Stream::Stdout, chunk))
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
        assert!(assembler.push(Stream::Stdout, b"out").is_empty());
        assert_eq!(assembler.push(Stream::Stderr, b"err\n"), ["err"]);
        assert_eq!(assembler.push(Stream::Stdout, b"put\n"), ["output"]);
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let mut assembler = LineAssembler::default();
        let lines = assembler.push(Stream::Stdout, &vec![b'x'; LONGEST + 5]);
        assert_eq!(lines.len(), 1);
        assert_eq!(assembler.finish(), [(Stream::Stdout, "xxxxx".to_owned())]);
    }
}
