//! Output of processes as numbered bytes: which stream, where in it, and who may still hold it.

mod account;
mod backlog;
mod cut;
mod follower;
mod log;
mod open_ends;
mod outbox;
mod record;
mod retention;
mod spool;
mod stored;
mod tail;

#[doc(no_inline)]
pub use crate::model::{GapCause, PerStream, Stream, gap_notice};
pub use account::{Account, CommittedState};
pub use backlog::RecoveredRun;
pub use cut::Utf8Cutter;
pub use follower::{OutputFollower, OutputPosition};
pub use log::{LogRecord, OutputLog, Taken, Written};
pub use open_ends::OpenEnds;
pub use outbox::{CHUNK_BYTES, Outbox, Outgoing, StreamState};
pub use record::{Record, RecordBody, Run};
pub use retention::{StreamCut, cursor_before};
pub use spool::{
    LeftRun, RECORD_COST, SpoolAction, SpoolBounds, SpoolEvent, SpoolPolicy, SpoolRequest,
};
pub use stored::{Cursor, StoredBody, StoredPosition, StreamSums};
pub use tail::{Fetch, OutputTail};
