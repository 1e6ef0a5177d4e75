//! Output of processes as numbered bytes: which stream, where in it, and who may still hold it.

mod account;
mod backlog;
mod cut;
mod escapes;
mod follower;
mod lines;
mod log;
mod open_ends;
mod outbox;
mod record;
mod retention;
mod runs;
mod spool;
mod stored;
mod tail;

pub(crate) use crate::model::{GapCause, PerStream, Stream, gap_notice};
pub(crate) use account::{Account, CommittedState};
pub use backlog::RecoveredRun;
pub(crate) use cut::Utf8Cutter;
pub(crate) use escapes::EscapeScan;
pub use follower::{OutputFollower, OutputPosition};
pub use lines::LineAssembler;
pub use log::LogRecord;
pub(crate) use log::{OutputLog, Taken, Written};
pub(crate) use open_ends::{OpenEnds, UnknownEnd};
pub use outbox::{CHUNK_BYTES, StreamState};
pub(crate) use outbox::{Outbox, Outgoing};
pub use record::{Record, RecordBody, Run};
pub use retention::{RetentionClock, StreamCut, cursor_before};
pub(crate) use spool::SpoolAction;
pub use spool::{LeftRun, RECORD_COST, SpoolBounds, SpoolEvent, SpoolPolicy, SpoolRequest};
pub use stored::{Cursor, Pieces, StoredBody, StoredPosition, StreamSums};
pub use tail::{Fetch, OutputTail};
