//! How much output may be unacknowledged on the wire, and whether any goes out at all.

use super::record::CHUNK_BYTES;
use crate::limits::OUTPUT_WINDOW;
use crate::time::{Deadline, Timestamp};
use core::time::Duration;

/// Most records on the wire: small ones must not make an acknowledgement expensive.
const SENT_RECORDS: usize = 1024;

/// What is on the wire, and what may be.
#[derive(Debug)]
pub(super) struct Window {
    flow: Flow,
    /// Most bytes.
    size: u64,
    bytes: u64,
    records: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Open,
    /// Nothing goes out until the server said how far it is, or until then.
    Resuming(Timestamp),
}

impl Window {
    /// How long a server may take to say how far it is: 10 s. Then the oldest goes out first.
    pub(super) const RESUME_WITHIN: Duration = Duration::from_secs(10);

    pub(super) const fn new() -> Self {
        Self { flow: Flow::Open, size: OUTPUT_WINDOW, bytes: 0, records: 0 }
    }

    /// How many bytes the next record may have; `None` while none may go out.
    pub(super) fn room(&self) -> Option<u64> {
        let is_open = self.flow == Flow::Open && self.records < SENT_RECORDS;
        is_open.then(|| self.size.saturating_sub(self.bytes))
    }

    pub(super) const fn is_idle(&self) -> bool {
        self.records == 0
    }

    /// A record of this many bytes goes out.
    pub(super) fn on_sent(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.records += 1;
    }

    /// So much is not on the wire any more: stored, or taken back.
    pub(super) fn on_back(&mut self, (bytes, records): (u64, usize)) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.records = self.records.saturating_sub(records);
    }

    /// A new session: nothing is on the wire.
    pub(super) fn restart(&mut self, size: u64) {
        // Below one chunk nothing could go out at all.
        let size = size.clamp(CHUNK_BYTES as u64, OUTPUT_WINDOW);
        *self = Self { size, ..Self::new() };
    }

    /// Nothing goes out before the server has said how far it is.
    pub(super) fn await_positions(&mut self, now: Timestamp) {
        self.flow = Flow::Resuming(now.saturating_add(Self::RESUME_WITHIN));
    }

    /// It has said so of all streams.
    pub(super) fn open(&mut self) {
        self.flow = Flow::Open;
    }

    pub(super) const fn deadline(&self) -> Deadline {
        match self.flow {
            Flow::Resuming(until) => Deadline::At(until),
            Flow::Open => Deadline::Never,
        }
    }

    /// Time has passed.
    pub(super) fn on_time(&mut self, now: Timestamp) {
        if self.deadline().is_due(now) {
            self.open();
        }
    }
}
