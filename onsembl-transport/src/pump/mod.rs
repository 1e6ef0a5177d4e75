//! One task per link: bounded queues in, events out.
//!
//! [`spawn`] starts it, [`LinkHandle`] talks to it. It drives both directions at once, so that
//! neither a full socket nor a slow consumer of events stops the other direction. What is sent, and
//! when a link ends, is decided elsewhere.

mod backlog;
mod handle;
mod queues;
mod task;

pub use backlog::SharedBacklog;
pub use handle::{Closed, LinkHandle, QueueFull, TryDataError};

use crate::link::{BudgetShare, Link, LinkEnd, Received};
use onsembl_protocol::id::LinkId;
use queues::Queues;
use std::sync::Arc;
use std::time::Duration;
use task::Patience;
use tokio::sync::mpsc;

/// Queues and deadlines of one pump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PumpConfig {
    /// Control frames that may wait. One more, and the peer is taken not to be reading.
    pub control_queue: usize,
    /// Bytes of control frames that may wait, however few they are, besides the first. With more, the peer is
    /// taken not to be reading.
    pub control_bytes: usize,
    /// Data frames that may wait; then senders wait.
    pub data_queue: usize,
    /// Bytes of data frames that may wait, the last of which may exceed it; then there is no
    /// [room](LinkHandle::has_room).
    pub data_bytes: usize,
    /// How long one frame, or one flush, may take.
    pub write_timeout: Duration,
    /// How long a close may take in all: queued control, the close frame, the peer's answer.
    pub close_timeout: Duration,
}

impl PumpConfig {
    /// 64 frames each: several seconds of control at any sane rate, and 1 MiB of output in the
    /// usual batches of 16 KiB. 10 s for a write, which lets the largest message through at
    /// 100 KiB/s and stays far below any `timeout-after`. 2 s for a close: a slow round trip and
    /// some, and short enough to wait for on the way out.
    pub const DEFAULT: Self = Self {
        control_queue: 64,
        control_bytes: 4 << 20,
        data_queue: 64,
        data_bytes: 1 << 20,
        write_timeout: Duration::from_secs(10),
        close_timeout: Duration::from_secs(2),
    };
}

impl Default for PumpConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Something happened on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct LinkEvent {
    pub link: LinkId,
    pub what: LinkInput,
    /// What it takes of a budget until it is dropped.
    pub share: BudgetShare,
}

impl LinkEvent {
    /// One that takes nothing of any budget.
    pub fn new(link: LinkId, what: LinkInput) -> Self {
        Self { link, what, share: BudgetShare::default() }
    }
}

/// What a link has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkInput {
    /// The peer sent something.
    Received(Received),
    /// The link is over and its connection is closed. The last event of a link, exactly once.
    Ended(LinkEnd),
}

/// A timer that is later than this may have been held up by a process that did not run.
const LATE: Duration = Duration::from_millis(20);

/// So often pumps get a turn then: to be woken by their sockets, to read, and to hand over what they read.
const TURNS: usize = 3;

/// What waits in the socket of a process that was away is to count before what is done at a deadline. To be awaited
/// by a driver whose timer was so late, before it looks into its inbox again.
pub(crate) async fn let_arrive(late: Duration) {
    if late >= LATE {
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
    }
}

/// Starts the pump of `link`. Its events carry `id`.
///
/// When `events` is full the pump stops reading, so that the peer feels it; it still writes, and it
/// still obeys [`LinkHandle::close`] and [`LinkHandle::abort`]. When no task receives events any
/// more, it closes the link with `GoingAway`.
///
/// # Panics
/// Outside a tokio runtime.
pub fn spawn(
    link: Link,
    id: LinkId,
    config: PumpConfig,
    events: mpsc::Sender<LinkEvent>,
) -> LinkHandle {
    spawn_sharing(link, id, config, events, None)
}

/// The same for a link whose control frames share a bound with those of others.
pub(crate) fn spawn_sharing(
    link: Link,
    id: LinkId,
    config: PumpConfig,
    events: mpsc::Sender<LinkEvent>,
    shared: Option<Arc<SharedBacklog>>,
) -> LinkHandle {
    let Link { reader, writer, peer, local: _ } = link;
    let queues = Arc::new(Queues::new(&config, shared, peer));
    let handle = LinkHandle::new(id, Arc::clone(&queues));
    let patience = Patience { write: config.write_timeout, close: config.close_timeout };
    tokio::spawn(task::run((reader, writer), id, patience, queues, events));
    handle
}
