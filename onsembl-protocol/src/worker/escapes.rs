//! Escape sequences in output for a server that shows text as it comes: what is left without them. A sequence
//! may be cut by the end of a chunk, and continues with the next one of its stream.

use super::outbound::Outbound;
use crate::id::CommandId;
use crate::output::{EscapeScan, RecordBody, Run, Stream};
use alloc::collections::BTreeMap;
use alloc::string::String;

const ESCAPE: char = '\u{1b}';

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
            | Outbound::OutputState(_)
            | Outbound::BlackBox(_)
            | Outbound::Acknowledgement(..)
            | Outbound::OpenEnd(..) => {}
        }
    }

    fn forget(&mut self, command: &CommandId) {
        self.0.retain(|(run, _), _| run.command != *command);
    }
}
