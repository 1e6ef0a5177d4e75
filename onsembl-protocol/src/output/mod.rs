//! Output of processes as numbered bytes: which stream, where in it, and who may still hold it.

mod account;
mod backlog;
mod capacity;
mod credit;
mod cut;
mod escapes;
mod follower;
mod lines;
mod live;
mod log;
mod open_ends;
mod outbox;
mod record;
mod relay;
mod retention;
mod runs;
mod spool;
mod stored;
mod tail;
mod window;

pub(crate) use crate::model::{GapCause, PerStream, Stream, gap_notice};
pub(crate) use account::{Account, CommittedState};
pub use backlog::RecoveredRun;
pub(crate) use credit::{Granted, PATIENCE};
pub(crate) use cut::Utf8Cutter;
pub(crate) use escapes::EscapeScan;
pub use follower::{OutputFollower, OutputPosition};
pub use lines::LineAssembler;
pub(crate) use live::{LiveView, Mark, Turn};
pub use log::LogRecord;
pub(crate) use log::{OutputLog, Taken, Written};
pub(crate) use open_ends::{OpenEnds, UnknownEnd};
pub use outbox::StreamState;
pub(crate) use outbox::{Outbox, Outgoing};
pub use record::{CHUNK_BYTES, Record, RecordBody, Run};
pub(crate) use relay::Relay;
pub use retention::{RetentionClock, StreamCut, cursor_before};
pub(crate) use spool::SpoolAction;
pub use spool::{
    Appending, LeftRun, RECORD_COST, SpoolBounds, SpoolEvent, SpoolPolicy, SpoolRequest,
};
pub use stored::{Cursor, Pieces, StoredBody, StoredPosition, StreamSums};
pub use tail::{Fetch, NotKept, OutputTail};
