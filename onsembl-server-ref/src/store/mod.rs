//! The store: one SQLite file, one writer, a few readers.
//!
//! Here lives what must outlive the process: agents, sessions, presence events, commands, their
//! output, emergency stops, and tokens. "Stored" always means committed with `synchronous=FULL`. Nothing
//! here decides anything; it gets what to write and says when it is written.
//!
//! - Writes go through a bounded queue to one thread, which commits several in one transaction. What somebody waits
//!   for is on its way to the disk at once, unless many ask; what only records waits a little for company (`pace.rs`).
//! - A database that is busy, full or failing is retried for as long as it takes, and named in
//!   [`Store::health`]. Methods that wait for a commit therefore have no time limit of their own:
//!   callers race them against theirs. Dropping such a future is harmless; the write may still be
//!   carried out.
//! - A write that breaks a rule of the schema is answered with [`StoreError::Refused`] and does not
//!   touch the others of its transaction.
//! - Reads use connections of their own and see what is committed.
//!
//! The queries are in the parts of the store, a file for each: `store.commands()`, `store.output()` and so on.

mod agents;
pub mod backup;
mod beat_log;
mod beat_slot;
mod beats;
mod budget;
mod claims;
mod columns;
mod commands;
mod deletion;
mod error;
mod examine;
mod findings;
mod history;
mod json_columns;
mod keyboards;
mod line;
mod output;
mod own_state;
mod pace;
mod parts;
mod presence;
mod queue;
mod reader;
mod reading;
mod records;
mod request;
mod reserve;
mod reserve_shares;
mod retention;
mod schema;
mod screens;
mod segment;
mod segments;
mod sessions;
mod small;
mod stops;
mod streams;
#[cfg(test)]
mod tables;
mod tokens;
mod writer;

pub use agents::{AgentHeartbeat, AgentRow};
pub use beats::{HeartbeatRow, Recorded};
pub use budget::{OverBudget, StoreLimits, Usage};
pub use commands::{CommandRow, CommandUpdate, Inserted, Listed};
pub use error::{OpenError, StoreError, StoreHealth, StoreTrouble};
pub use examine::{Checked, Examined, check};
pub use history::CommandChange;
pub use json_columns::UnreadableRow;
pub(crate) use keyboards::StoredHold;
pub use onsembl_protocol::fleet::{Cursor, StoredBody};
pub use output::{OutputReceipt, StoredRecord};
pub(crate) use own_state::OwnState;
pub use parts::{
    Agents, Budget, Commands, Deletion, Findings, Keyboards, Meta, Output, Presences, Reading,
    Retention, Screens, Sessions, Stops, Streams, Tokens,
};
pub use presence::PresenceRow;
pub(crate) use presence::{History, NewPresence};
pub use retention::Cut;
pub use schema::FILE_NAME;
pub(crate) use screens::{KEYFRAME_BYTES, Keyframe};
pub use sessions::{NewSession, OpenedSession};
pub use streams::StreamPosition;
pub(crate) use tokens::TOKENS_OF_USER;
pub use tokens::{TokenForm, TokenKept, TokenRow, TokenSession, TokenUse};
pub use writer::StoreCounters;

use beat_log::{BeatLog, LastBeats};
use budget::Terms;
pub(crate) use budget::of_agents;
pub(crate) use deletion::REMEMBERED as DELETED_KEPT;
pub(crate) use findings::KEPT_BYTES as FINDINGS_KEPT_BYTES;
use line::{Lane, Routing};
pub(crate) use line::{TURN_OUTPUT, TURN_REQUESTS};
use onsembl_protocol::id::UserId;
use onsembl_protocol::time::WallTime;
pub(crate) use presence::KEPT as PRESENCE_KEPT;
use queue::Queue;
pub(crate) use queue::{
    CONTROL_UNITS, DATA_UNITS, ORDER_UNITS, UNIT, WAITING as WAITING_FOR_ROOM, WAITING_BYTES,
};
pub(crate) use reader::Asker;
use reader::Readers;
pub(crate) use reader::{READERS, WAITING as READS_WAITING, WAITING_BYTES as READS_WAITING_BYTES};
pub(crate) use reading::READ_RECORDS;
use request::Asked;
pub(crate) use reserve::BYTES as RESERVE;
use rusqlite::Connection;
pub(crate) use sessions::KEPT as SESSIONS_KEPT;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
pub(crate) use stops::RELEASED as STOPS_KEPT;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use writer::{Counters, Outlets};

/// How long the writer may continue when the last handle was dropped without [`Store::close`].
const DROP_PATIENCE: Duration = Duration::from_secs(1);
/// How much longer than its patience closing may take: one wait for a lock, and closing the file.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// A handle to the store. Clones share one writer, which ends with the last of them.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    queue: Arc<Queue>,
    readers: Arc<Readers>,
    health: watch::Receiver<StoreHealth>,
    commits: watch::Receiver<u64>,
    finished: watch::Receiver<Option<usize>>,
    counters: Arc<Counters>,
    limits: StoreLimits,
    /// The newest recorded heartbeat of each agent that beat lately.
    beats: Arc<LastBeats>,
    /// What the clock of retention shows.
    ages_by: AtomicI64,
}

/// What was committed of the writes that nothing waits for, one list per commit.
///
/// Reading them must not wait for the store, or both wait for each other. A receiver that is not
/// wanted should be dropped, because what is not read is kept.
#[derive(Debug)]
pub struct Receipts {
    /// Heartbeats: the newest of each agent in that commit.
    pub recorded: mpsc::UnboundedReceiver<Vec<Recorded>>,
    /// Records of output, in the order they were handed in.
    pub output: mpsc::UnboundedReceiver<Vec<OutputReceipt>>,
}

impl Store {
    /// Opens the database in `dir`, creating both where they are missing, and brings its schema up
    /// to date. `now` dates a new database. Waits up to 5 s for another program's lock.
    ///
    /// # Errors
    /// [`StoreError::Directory`], [`StoreError::Foreign`], [`StoreError::Damaged`], [`StoreError::Newer`],
    /// [`StoreError::Migration`],
    /// [`StoreError::NoWal`], [`StoreError::Trouble`], [`StoreError::Thread`].
    pub async fn open(dir: &Path, now: WallTime) -> Result<(Self, Receipts), StoreError> {
        Self::open_within(dir, now, StoreLimits::DEFAULT).await
    }

    /// The same, within these limits. On a full disk it opens too, as long as the reserve or anything else is
    /// left: see [`StoreHealth::Scarce`].
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_within(
        dir: &Path,
        now: WallTime,
        limits: StoreLimits,
    ) -> Result<(Self, Receipts), StoreError> {
        let path = dir.join(FILE_NAME);
        let dir = dir.to_owned();
        let open = move || -> Result<_, StoreError> {
            let (db, reserve, disk) = schema::open_with_reserve(&dir, now, limits.database)?;
            let log = BeatLog::open(&db)?;
            let ages_by = retention::resume_clock(&db, log.last().newest(), now)?;
            Ok((db, log, reserve, disk, ages_by))
        };
        let (db, log, reserve, disk, ages_by) = match spawn_blocking(open).await {
            Ok(opened) => opened?,
            Err(stopped) => match stopped.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return Err(StoreError::Closed),
            },
        };
        let queue = Arc::new(Queue::new());
        let counters = Arc::new(Counters::default());
        let (health_in, health) = watch::channel(StoreHealth::Healthy);
        let (commits_in, commits) = watch::channel(0);
        let (finished_in, finished) = watch::channel(None);
        let (recorded_in, recorded) = mpsc::unbounded_channel();
        let (output_in, output) = mpsc::unbounded_channel();
        let outlets = Outlets {
            health: health_in,
            recorded: recorded_in,
            output: output_in,
            commits: commits_in,
            finished: finished_in,
            counters: Arc::clone(&counters),
        };
        let beats = log.last();
        writer::start((db, log), reserve, disk, Arc::clone(&queue), outlets)?;
        let readers = Arc::new(Readers::new(path));
        let ages_by = AtomicI64::new(ages_by.unix_millis());
        let inner =
            Inner { queue, readers, health, commits, finished, counters, limits, beats, ages_by };
        Ok((Self(Arc::new(inner)), Receipts { recorded, output }))
    }

    /// Whether writes are being committed, and if not, why and since when.
    pub fn health(&self) -> watch::Receiver<StoreHealth> {
        self.0.health.clone()
    }

    /// Changes with each commit of anything but heartbeats: what is waited for may be there now.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.0.commits.clone()
    }

    /// What the writer has done so far.
    pub fn counters(&self) -> StoreCounters {
        self.0.counters.read()
    }

    /// Records a heartbeat. Never waits: a newer beat of the same agent takes the place of one that
    /// is not written yet. What was committed comes out of [`Receipts::recorded`].
    ///
    /// A beat that comes after the store was closed is dropped.
    pub fn record_heartbeat(&self, beat: HeartbeatRow) {
        self.queue().beat(beat);
    }

    /// Heartbeats wait no longer than this for others to be committed with, 60 ms unless it is less. For who must know
    /// sooner whether they are recorded.
    pub fn gather_within(&self, longest: Duration) {
        self.queue().gather_within(longest);
    }

    /// Takes no more requests, writes what is queued, and closes the file. If that cannot be done
    /// within `patience`, what is left is given up. Other handles get [`StoreError::Closed`].
    ///
    /// # Errors
    /// [`StoreError::Unwritten`] if something was given up, [`StoreError::Hanging`] if the writer
    /// does not even stop a second after `patience`.
    pub async fn close(self, patience: Duration) -> Result<(), StoreError> {
        self.0.queue.close(Instant::now() + patience);
        self.0.readers.close();
        let mut finished = self.0.finished.clone();
        let ended = finished.wait_for(Option::is_some);
        match tokio::time::timeout(patience + CLOSE_GRACE, ended).await {
            Ok(Ok(unwritten)) => match unwritten.unwrap_or(0) {
                0 => Ok(()),
                writes => Err(StoreError::Unwritten { writes }),
            },
            Ok(Err(_)) | Err(_) => Err(StoreError::Hanging),
        }
    }

    fn queue(&self) -> &Queue {
        &self.0.queue
    }

    /// Under which terms something is stored now.
    fn terms(&self) -> Terms {
        let kept_from = WallTime::from_unix_millis(self.0.ages_by.load(Ordering::Relaxed));
        Terms { budget: self.0.limits.user_bytes, kept_from }
    }

    /// Has the writer run `work` (several times, should a transaction fail) and waits for the
    /// commit. `what` names it in the log; `bytes` is about what it holds in the queue.
    async fn write<T, F>(
        &self,
        routing: Routing,
        what: &'static str,
        bytes: usize,
        work: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        // Calls in the lane of output have their room elsewhere: an end does not wait for that of chunks.
        let lane = match routing.lane {
            Lane::Orders => Lane::Orders,
            Lane::Control | Lane::Data => Lane::Control,
        };
        let room = self.queue().room(lane, &routing.asker, bytes).await?;
        let (request, answer) = Asked::request(what, Some(room), work);
        self.queue().push(routing, request)?;
        Submitted(answer).committed().await
    }

    /// Puts `work` in the queue at once: who must keep an order puts one thing in after the other. Its caller
    /// bounds how much of this waits.
    fn put<T, F>(
        &self,
        routing: Routing,
        what: &'static str,
        work: F,
    ) -> Result<Submitted<T>, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (request, answer) = Asked::request(what, None, work);
        self.queue().push(routing, request)?;
        Ok(Submitted(answer))
    }

    /// Runs `work` on a read-only connection, for the server itself.
    async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.0.readers.read(Asker::Server, 0, work).await
    }

    /// Runs `work` on a read-only connection when it is this user's turn.
    async fn read_for<T, F>(&self, user: &UserId, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.0.readers.read(Asker::User(user.clone()), 0, work).await
    }
}

/// A write that has its place in the queue.
#[derive(Debug)]
#[must_use = "what becomes of it is known only to who waits"]
pub(crate) struct Submitted<T>(oneshot::Receiver<Result<T, StoreError>>);

impl<T> Submitted<T> {
    /// What came of it.
    pub(crate) async fn committed(self) -> Result<T, StoreError> {
        self.0.await.map_err(|_| StoreError::Closed)?
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close(Instant::now() + DROP_PATIENCE);
        self.readers.close();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("health", &*self.0.health.borrow())
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

/// The wall clock of this host.
fn wall_now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
