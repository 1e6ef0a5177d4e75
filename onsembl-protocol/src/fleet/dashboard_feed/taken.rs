//! Output that follows, taken from tails or read from the store. It is encoded message by message: for a legacy
//! dashboard a short line costs thirty times its bytes.

use super::output::{Output, Source};
use crate::output::LogRecord;
use crate::time::Timestamp;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// What was taken, in the order in which it is sent.
#[derive(Clone, Debug, Default)]
pub(super) struct TakenOutput(VecDeque<OfCommand>);

/// Records of one command.
#[derive(Clone, Debug)]
struct OfCommand {
    source: Source,
    records: VecDeque<LogRecord>,
}

impl TakenOutput {
    /// These follow what was taken before.
    pub(super) fn push(&mut self, source: Source, records: Vec<LogRecord>) {
        self.0.push_back(OfCommand { source, records: records.into() });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Hands the next record to the output, and those that go in the same message. Whether there was one.
    pub(super) fn write_next(&mut self, output: &mut Output, now: Timestamp) -> bool {
        let Some(OfCommand { source, records }) = self.0.front_mut() else { return false };
        if let Some(record) = records.pop_front() {
            output.wrote(source, record, now);
        }
        while let Some(record) = records.pop_front() {
            if let Some(next) = output.join(record) {
                records.push_front(next);
                break;
            }
        }
        if records.is_empty() {
            let _ = self.0.pop_front();
        }
        true
    }
}
