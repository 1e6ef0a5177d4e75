//! Escape sequences in output for a server that shows text as it comes: what is left without them. A sequence
//! may be cut by the end of a chunk, and goes on with the next one of its stream.

use super::outbound::Outbound;
use crate::id::CommandId;
use crate::output::{RecordBody, Run, Stream};
use alloc::collections::BTreeMap;
use alloc::string::String;

const ESCAPE: char = '\u{1b}';
const BELL: char = '\u{7}';

/// Where each stream stands within a sequence. Those that stand in none are not kept.
#[derive(Debug, Default)]
pub(super) struct Escapes(BTreeMap<(Run, Stream), Scan>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Scan {
    #[default]
    Ground,
    /// Behind `ESC`.
    Escape,
    /// Behind `ESC [`, until its final byte.
    Control,
    /// Behind `ESC ]`, until `BEL` or `ESC \`.
    Command,
    /// Behind an `ESC` within that.
    CommandEscape,
}

impl Scan {
    /// Takes a character. Whether it is one to show.
    fn take(&mut self, c: char) -> bool {
        let (next, is_shown) = match (*self, c) {
            (Self::Ground, ESCAPE) => (Self::Escape, false),
            (Self::Ground, _) => (Self::Ground, true),
            (Self::Escape, '[') => (Self::Control, false),
            (Self::Escape, ']') => (Self::Command, false),
            (Self::Escape, ESCAPE) => (Self::Escape, false),
            (Self::Escape, _) => (Self::Ground, false),
            (Self::Control, '\u{40}'..='\u{7e}') => (Self::Ground, false),
            (Self::Control, _) => (Self::Control, false),
            (Self::Command, BELL) => (Self::Ground, false),
            (Self::Command, ESCAPE) => (Self::CommandEscape, false),
            (Self::Command, _) => (Self::Command, false),
            (Self::CommandEscape, '\\') => (Self::Ground, false),
            (Self::CommandEscape, _) => (Self::Command, false),
        };
        *self = next;
        is_shown
    }
}

impl Escapes {
    /// This text of a stream without its escape sequences; `None` if it has none.
    pub(super) fn without(&self, run: &Run, stream: Stream, text: &str) -> Option<String> {
        let mut scan = self.0.get(&(run.clone(), stream)).copied().unwrap_or_default();
        if scan == Scan::Ground && !text.contains(ESCAPE) {
            return None;
        }
        Some(text.chars().filter(|c| scan.take(*c)).collect())
    }

    /// This was said: its stream goes on behind it.
    pub(super) fn passed(&mut self, item: &Outbound) {
        match item {
            Outbound::Output(sent) => {
                let RecordBody::Chunk(bytes) = &sent.record.body else { return };
                let key = (sent.run.clone(), sent.record.stream);
                let mut scan = self.0.remove(&key).unwrap_or_default();
                String::from_utf8_lossy(bytes).chars().for_each(|c| {
                    let _ = scan.take(c);
                });
                if scan != Scan::Ground {
                    let _ = self.0.insert(key, scan);
                }
            }
            Outbound::Complete(report) => self.forget(&report.command_id),
            Outbound::Receipt(..)
            | Outbound::Opened(_)
            | Outbound::OutputState(_)
            | Outbound::Acknowledgement(..)
            | Outbound::OpenEnd(..) => {}
        }
    }

    fn forget(&mut self, command: &CommandId) {
        self.0.retain(|(run, _), _| run.command != *command);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_a_sequence_however_it_is_cut() {
        let text = "\u{1b}[7mecho\u{1b}[27m a\u{1b}[C\u{1b}]0;title\u{7}b\u{1b}]8;;x\u{1b}\\c\u{1b}=d\ttab\r\n";
        for cut in 0..=text.len() {
            let mut scan = Scan::default();
            let (first, second) = text.split_at(cut);
            let mut left = String::new();
            for part in [first, second] {
                left.extend(part.chars().filter(|c| scan.take(*c)));
            }
            assert_eq!(left, "echo abcd\ttab\r\n", "cut at {cut}");
            assert_eq!(scan, Scan::Ground);
        }
    }
}
