//! Whole lines for legacy dashboards, which put a line break behind every piece of text they get and cannot read
//! most escape sequences. To whom a line is shown is not decided here.

use super::cut::Utf8Cutter;
use super::escapes::EscapeScan;
use crate::model::{GapCause, Stream, gap_notice};
use crate::time::{Deadline, Timestamp};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// Longest line in bytes; a longer one is cut, because a program may never end its line.
const LONGEST: usize = 64 * 1024;
/// An unfinished line is shown after this long without more text: it may be a question that a user is to
/// answer. A program that writes on is not that slow, and a person hardly notices it.
const UNFINISHED_AFTER: Duration = Duration::from_millis(300);

/// Puts the lines of one command together, each stream by itself; every character once, escape sequences and
/// other control characters never, also when a chunk border cuts them.
#[derive(Clone, Debug, Default)]
pub struct LineAssembler {
    streams: BTreeMap<Stream, Begun>,
    /// When more came last.
    pushed_at: Option<Timestamp>,
}

/// What is begun of a stream.
#[derive(Clone, Debug, Default)]
struct Begun {
    cutter: Utf8Cutter,
    scan: EscapeScan,
    line: String,
}

impl LineAssembler {
    /// Takes bytes of a stream and gives the lines that are whole now, of at most 64 KiB each.
    pub fn push(&mut self, stream: Stream, bytes: Bytes, now: Timestamp) -> Vec<String> {
        self.pushed_at = Some(now);
        let Begun { cutter, scan, line } = self.streams.entry(stream).or_default();
        let mut whole = Vec::new();
        let piece = cutter.push(bytes);
        for c in String::from_utf8_lossy(&piece).chars().filter(|c| scan.take(*c)) {
            if c == '\t' || !c.is_control() {
                line.push(c);
            }
            if c == '\n' || line.len() >= LONGEST {
                whole.push(core::mem::take(line));
            }
        }
        whole
    }

    /// Bytes of a stream are missing here: gives the line that they cut, if one was begun, and a notice on a
    /// line of its own.
    pub fn gap(&mut self, stream: Stream, length: Option<u64>, because: GapCause) -> Vec<String> {
        // How a sequence that was begun continued is unknown.
        let begun = core::mem::take(self.streams.entry(stream).or_default()).line;
        let begun = (!begun.is_empty()).then_some(begun);
        begun.into_iter().chain([gap_notice(length, because)]).collect()
    }

    /// When to look for unfinished lines; never if there is none.
    pub(crate) fn deadline(&self) -> Deadline {
        match self.pushed_at.filter(|_| self.byte_count() > 0) {
            Some(at) => Deadline::At(at.saturating_add(UNFINISHED_AFTER)),
            None => Deadline::Never,
        }
    }

    /// Bytes of unfinished lines.
    pub(crate) fn byte_count(&self) -> usize {
        self.streams.values().map(|begun| begun.line.len()).sum()
    }

    /// What is unfinished of each stream, as it is. What comes later of such a line is the next one.
    pub(crate) fn flush(&mut self) -> Vec<(Stream, String)> {
        self.streams
            .iter_mut()
            .filter(|(_, begun)| !begun.line.is_empty())
            .map(|(stream, begun)| (*stream, core::mem::take(&mut begun.line)))
            .collect()
    }

    /// The command ended: what is left of each stream.
    pub fn finish(mut self) -> Vec<(Stream, String)> {
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned;

    const TEXT: &str =
        "plain\r\n\u{1b}[31mr\u{e9}d \u{2713}\u{1b}[0m\tx\n\n\u{1b}]0;title\u{7}rest";

    fn at(ms: u64) -> Timestamp {
        Timestamp::ORIGIN.saturating_add(Duration::from_millis(ms))
    }

    fn push(assembler: &mut LineAssembler, stream: Stream, bytes: &[u8], ms: u64) -> Vec<String> {
        assembler.push(stream, Bytes::copy_from_slice(bytes), at(ms))
    }

    #[test]
    fn lines_do_not_depend_on_how_the_bytes_were_cut() {
        let expected = ["plain", "r\u{e9}d \u{2713}\tx", "", "rest"];
        for cuts in 1..TEXT.len() {
            let mut assembler = LineAssembler::default();
            let mut lines = Vec::new();
            for chunk in TEXT.as_bytes().chunks(cuts) {
                lines.extend(push(&mut assembler, Stream::Stdout, chunk, 0));
            }
            lines.extend(assembler.finish().into_iter().map(|(_, line)| line));
            assert_eq!(lines, expected, "cut each {cuts} bytes");
        }
    }

    #[test]
    fn streams_do_not_mix() {
        let mut assembler = LineAssembler::default();
        assert!(push(&mut assembler, Stream::Stdout, b"out", 0).is_empty());
        assert_eq!(push(&mut assembler, Stream::Stderr, b"err\n", 0), ["err"]);
        assert_eq!(push(&mut assembler, Stream::Stdout, b"put\n", 0), ["output"]);
    }

    #[test]
    fn an_unfinished_line_is_due_after_a_silence_and_comes_once() {
        let mut assembler = LineAssembler::default();
        assert_eq!(assembler.deadline(), Deadline::Never);
        assert!(push(&mut assembler, Stream::Stdout, b"Proceed? ", 0).is_empty());
        assert!(push(&mut assembler, Stream::Stdout, b"[y/N] \x1b[3", 200).is_empty());
        assert_eq!(assembler.deadline(), Deadline::At(at(500)));
        assert_eq!(assembler.flush(), [(Stream::Stdout, "Proceed? [y/N] ".to_owned())]);
        assert_eq!((assembler.deadline(), assembler.flush()), (Deadline::Never, Vec::new()));
        // An escape sequence that was cut there continues.
        assert_eq!(push(&mut assembler, Stream::Stdout, b"1mred\n", 1000), ["red"]);
        assert!(assembler.finish().is_empty());
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let mut assembler = LineAssembler::default();
        let lines = push(&mut assembler, Stream::Stdout, &[b'x'; LONGEST + 5], 0);
        assert_eq!(lines.len(), 1);
        assert_eq!(assembler.byte_count(), 5);
        assert_eq!(assembler.finish(), [(Stream::Stdout, "xxxxx".to_owned())]);
    }

    #[test]
    fn a_gap_cuts_a_line_and_a_sequence_and_is_told_on_a_line_of_its_own() {
        let mut assembler = LineAssembler::default();
        let notice = gap_notice(Some(9), GapCause::SpoolFull);
        let gap = |assembler: &mut LineAssembler| {
            assembler.gap(Stream::Stdout, Some(9), GapCause::SpoolFull)
        };
        assert_eq!(gap(&mut assembler), [&*notice]);
        assert!(push(&mut assembler, Stream::Stdout, "begun \u{1b}]0;ti".as_bytes(), 0).is_empty());
        assert_eq!(gap(&mut assembler), ["begun ", &*notice]);
        assert_eq!(push(&mut assembler, Stream::Stdout, b"tle\n", 0), ["tle"]);
    }
}
