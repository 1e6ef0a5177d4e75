//! Output of processes as numbered bytes: which stream, where in it, and who may still hold it.

mod cut;
mod outbox;
mod record;
mod stream;

pub use cut::Utf8Cutter;
pub use outbox::{CHUNK_BYTES, Chunk, Outbox};
pub use record::{GapCause, Record, RecordBody, Run};
pub use stream::{PerStream, Stream};
