//! Escape sequences in output for a server that shows text as it comes: what is left without them. A sequence
//! may be cut by the end of a chunk, and continues with the next one of its stream.

use super::outbound::Outbound;
use crate::id::CommandId;
use crate::output::{EscapeScan, RecordBody, Run, Stream};
use alloc::collections::BTreeMap;
use alloc::string::String;

const ESCAPE: char = '\u{1b}';

/// A text without escape sequences and other control characters, for who pastes what a program wrote. Line ends and
/// tabs stay, in the form `\n`.
pub fn plain_text(text: &str) -> String {
    let mut scan = EscapeScan::default();
    let mut plain = String::with_capacity(text.len());
    let mut before = None;
    for c in text.chars().filter(|c| scan.take(*c)) {
        match c {
            '\n' if before == Some('\r') => {}
            '\r' | '\n' => plain.push('\n'),
            '\t' => plain.push(c),
            c if c.is_control() => {}
            c => plain.push(c),
        }
        before = Some(c);
    }
    plain
}

/// Where each stream stands within a sequence. Those that stand in none are not kept.
#[derive(Debug, Default)]
pub(super) struct Escapes(BTreeMap<(Run, Stream), EscapeScan>);

impl Escapes {
    /// This text of a stream without its escape sequences; `None` if it has none.
    pub(super) fn without(&self, run: &Run, stream: Stream, text: &str) -> Option<String> {
        let mut scan = self.0.get(&(run.clone(), stream)).copied().unwrap_or_default();
        if scan == EscapeScan::Ground && !text.contains(ESCAPE) {
            return None;
        }
        Some(text.chars().filter(|c| scan.take(*c)).collect())
    }

    /// This was said: its stream continues behind it.
    pub(super) fn passed(&mut self, item: &Outbound) {
        match item {
            Outbound::Output(sent) => {
                let RecordBody::Chunk(bytes) = &sent.record.body else { return };
                let key = (sent.run.clone(), sent.record.stream);
                let mut scan = self.0.remove(&key).unwrap_or_default();
                String::from_utf8_lossy(bytes).chars().for_each(|c| {
                    let _ = scan.take(c);
                });
                if scan != EscapeScan::Ground {
                    let _ = self.0.insert(key, scan);
                }
            }
            Outbound::Complete(report) => self.forget(&report.command_id),
            Outbound::Receipt(..)
            | Outbound::Opened(_)
            | Outbound::Typed(_)
            | Outbound::Size(..)
            | Outbound::OutputState(_)
            | Outbound::Activity(_)
            | Outbound::BlackBox(_)
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
    fn a_pasted_log_is_left_as_its_text() {
        for (log, text) in [
            ("\u{1b}[31merror\u{1b}[0m: x\r\n\tat y\r\n", "error: x\n\tat y\n"),
            ("10%\r100%\n", "10%\n100%\n"),
            ("a\u{7}b\u{8}\u{9b}c\u{1b}]0;title\u{7}d", "abcd"),
            ("plain \u{e9}\n\n", "plain \u{e9}\n\n"),
        ] {
            assert_eq!(plain_text(log), text, "{log:?}");
        }
    }
}
