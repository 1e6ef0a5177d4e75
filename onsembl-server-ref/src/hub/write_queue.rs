//! Everything durable that nothing waits for, in the order in which it was decided.
//!
//! The hub must not wait for the database, and two writes about one thing must not change places. So they
//! are put into the store's queue at once, in which each user has a line, and what comes of them comes back as an
//! event.

use super::rows;
use crate::bounds::{Share, Shares};
use crate::store::{Inserted, Store, StoreError, StoredRecord, Submitted};
use futures::stream::{FuturesUnordered, StreamExt as _};
use onsembl_protocol::fleet::{StoreAnswer, StoreFault, Write};
use onsembl_protocol::id::{CommandId, UserId};
use onsembl_transport::counters::Counters;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{error, warn};

/// Writes besides output that may wait while the database does not take them, of all users: of one at most as
/// many as are left, so that alone a user has 16,384. Beyond it a write is dropped, counted and logged, and the
/// end of a command is decided again later. What is [bounded at its source](Write::is_bounded_at_source) does not count.
pub(crate) const BOUND: usize = 32 * 1024;

/// What the hub is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It reads what an earlier run left, in one go: a write for each agent that was in session then. They are as
    /// many as agents were read, and all of them are kept.
    Recovering,
    Running,
}

/// What became of a write, for the fleet of its user.
pub(super) type Done = (UserId, StoreAnswer);

/// The way into the queue.
#[derive(Debug)]
pub(super) struct WriteQueue {
    store: Store,
    handed: mpsc::UnboundedSender<Handed>,
    done: mpsc::UnboundedSender<Done>,
    shares: Shares<UserId>,
    waiting: Arc<AtomicUsize>,
    /// Those that were dropped since there was room last.
    dropped: AtomicUsize,
    phase: Phase,
    counters: Counters,
    task: JoinHandle<()>,
}

impl WriteQueue {
    /// Starts the task that waits for what becomes of writes to `store`; what some of them are answered with
    /// goes to `done`.
    pub(super) fn start(
        store: Store,
        counters: Counters,
        done: mpsc::UnboundedSender<Done>,
    ) -> Self {
        let (handed, inbox) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let keep = keep(inbox, Arc::clone(&waiting), counters.clone(), done.clone());
        let (shares, dropped) = (Shares::new(BOUND, 1), AtomicUsize::new(0));
        let (phase, task) = (Phase::Recovering, tokio::spawn(keep));
        Self { store, handed, done, shares, waiting, dropped, phase, counters, task }
    }

    /// From now on what waits is bounded.
    pub(super) fn recovered(&mut self) {
        self.phase = Phase::Running;
    }

    pub(super) fn write(&self, user: &UserId, write: Write) {
        let counts = match self.phase {
            Phase::Running => !write.is_bounded_at_source(),
            Phase::Recovering => false,
        };
        let share = counts.then(|| self.shares.take(user)).flatten();
        if counts && share.is_none() {
            let waiting = self.waiting.load(Ordering::Relaxed);
            self.counters.count("writes_dropped");
            // As many follow as there are events until the database is well: one line at each end of it.
            if self.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
                error!(%user, ?write, waiting, "the database has not taken writes for too long; this one and others are dropped");
            }
            if let Some(command) = write.ended_command().cloned() {
                let why = "too many writes of this user wait for the database".to_owned();
                let stored = Err(StoreFault::Unavailable(why));
                self.answer((user.clone(), StoreAnswer::EndStored { command, stored }));
            }
            return;
        }
        if counts && let dropped @ 1.. = self.dropped.swap(0, Ordering::Relaxed) {
            warn!(dropped, "writes were dropped until the database had room again");
        }
        let (user, ends) = (user.clone(), write.ended_command().cloned());
        let write = hand_in(&self.store, &user, write);
        if matches!(write, Ok(InStore::Output)) {
            return;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        if self.handed.send(Handed { user, write, ends, _share: share }).is_err() {
            self.counters.count("writes_dropped");
        }
    }

    fn answer(&self, done: Done) {
        if self.done.send(done).is_err() {
            self.counters.count("events_after_the_end");
        }
    }

    /// Takes nothing more and waits until all is written, or until `patience` is over.
    pub(super) async fn finish(self, patience: Duration) {
        drop(self.handed);
        if tokio::time::timeout(patience, self.task).await.is_err() {
            warn!(
                waiting = self.waiting.load(Ordering::Relaxed),
                "the database does not take the last writes"
            );
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

async fn keep(
    mut inbox: mpsc::UnboundedReceiver<Handed>,
    waiting: Arc<AtomicUsize>,
    counters: Counters,
    done: mpsc::UnboundedSender<Done>,
) {
    let mut writes = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            handed = inbox.recv() => match handed {
                Some(handed) => writes.push(committed(handed, counters.clone())),
                None => break,
            },
            Some(settled) = writes.next(), if !writes.is_empty() => {
                settle(&waiting, &counters, &done, settled);
            }
        }
    }
    while let Some(settled) = writes.next().await {
        settle(&waiting, &counters, &done, settled);
    }
}

/// What became of a write.
type Settled = (Result<(), StoreError>, Option<Done>);

fn settle(
    waiting: &AtomicUsize,
    counters: &Counters,
    done: &mpsc::UnboundedSender<Done>,
    (result, then): Settled,
) {
    waiting.fetch_sub(1, Ordering::Relaxed);
    if let Err(error) = result {
        counters.count("write_failures");
        error!(%error, "a write failed and is not tried again");
    }
    if let Some(then) = then
        && done.send(then).is_err()
    {
        counters.count("events_after_the_end");
    }
}

/// A write that is in the store's queue, and what its fleet waits for.
#[derive(Debug)]
struct Handed {
    user: UserId,
    write: Result<InStore, StoreError>,
    ends: Option<CommandId>,
    _share: Option<Share<UserId>>,
}

/// What is still to be waited for.
#[derive(Debug)]
enum InStore {
    Submitted(Submitted<()>),
    Changed(Submitted<bool>),
    Updated(Submitted<bool>),
    Inserted {
        command: CommandId,
        submitted: Submitted<Inserted>,
    },
    /// Its receipt comes another way.
    Output,
}

fn hand_in(store: &Store, user: &UserId, write: Write) -> Result<InStore, StoreError> {
    match write {
        Write::Presence(record) => {
            store.put_presence(user, rows::presence_row(record)).map(InStore::Submitted)
        }
        Write::Command { command, update } => {
            let update = rows::command_update(update);
            store.put_command_update(user, &command, update).map(InStore::Updated)
        }
        Write::Terminal(record) => {
            let command = record.command.clone();
            let submitted = store.put_terminal(rows::command_row(user.clone(), *record))?;
            Ok(InStore::Inserted { command, submitted })
        }
        Write::Output { command, record } => {
            let record = StoredRecord::of_log(user.clone(), command, record);
            store.put_output(record).map(|()| InStore::Output)
        }
        Write::Alias { agent, alias } => {
            store.put_alias(user, &agent, &alias).map(InStore::Submitted)
        }
        Write::Journal { agent, journal } => {
            store.put_journal(user, &agent, journal).map(InStore::Submitted)
        }
        Write::TerminalSize { command, record } => {
            store.put_size(user, &command, record).map(InStore::Submitted)
        }
        Write::Keyboard(record) => store.put_hold(user, record).map(InStore::Submitted),
        Write::SessionEnd { session, at, because } => {
            store.put_session_end(user, session, at, because).map(InStore::Changed)
        }
    }
}

async fn committed(handed: Handed, counters: Counters) -> Settled {
    // It counts until it is committed.
    let Handed { user, write, ends, _share } = handed;
    let result = match write {
        Ok(InStore::Submitted(submitted)) => submitted.committed().await,
        Ok(InStore::Changed(submitted)) => submitted.committed().await.map(drop),
        Ok(InStore::Updated(submitted)) => submitted.committed().await.map(|updated| {
            if !updated {
                counters.count("updates_of_ended_commands");
                warn!(%user, "a command that is over, or was never stored, is not changed any more");
            }
        }),
        Ok(InStore::Inserted { command, submitted }) => {
            let inserted = submitted.committed().await;
            let inserted = inserted.map(|inserted| rows::inserted(inserted, &counters));
            let inserted = inserted.map_err(|error| rows::fault(&error));
            return (Ok(()), Some((user, StoreAnswer::Inserted { command, inserted })));
        }
        Ok(InStore::Output) => Ok(()),
        Err(error) => Err(error),
    };
    let then = ends.map(|command| {
        let stored = match &result {
            Ok(()) => Ok(()),
            Err(error) => Err(rows::fault(error)),
        };
        (user, StoreAnswer::EndStored { command, stored })
    });
    (result, then)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{CommandRow, StoredBody};
    use bytes::Bytes;
    use onsembl_protocol::fleet::{CommandStage, CommandUpdate, LogRecord};
    use onsembl_protocol::id::{ByteOffset, ChunkSequence, Incarnation, SessionId};
    use onsembl_protocol::model::Stream;
    use onsembl_protocol::time::WallTime;

    /// As at a start with a large fleet whose server was killed.
    #[tokio::test]
    async fn nothing_that_the_recovery_writes_is_dropped() {
        const OF_ONE: usize = BOUND / 2;
        let dir = tempfile::tempdir().unwrap();
        let at = WallTime::from_unix_millis(1_700_000_000_000);
        let (store, _receipts) = Store::open(dir.path(), at).await.unwrap();
        let (done, _dones) = mpsc::unbounded_channel();
        let counters = Counters::default();
        let mut queue = WriteQueue::start(store, counters.clone(), done);
        let user = UserId::new("u");
        let end = |n: usize| Write::SessionEnd {
            session: SessionId::new(n.to_string()),
            at,
            because: "server restarted".to_owned(),
        };
        (0..BOUND + 1000).for_each(|n| queue.write(&user, end(n)));
        assert_eq!(counters.snapshot().get("writes_dropped"), None);
        queue.recovered();
        (0..OF_ONE + 1000).for_each(|n| queue.write(&user, end(n)));
        assert_eq!(counters.snapshot().get("writes_dropped"), Some(&1000), "bounded from then on");
        queue.finish(Duration::from_secs(60)).await;
    }

    /// Far more than the store's queue has room for, and than a task is given to do at once.
    #[tokio::test]
    async fn nothing_changes_places_however_much_waits() {
        let dir = tempfile::tempdir().unwrap();
        let at = WallTime::from_unix_millis(1_700_000_000_000);
        let (store, mut receipts) = Store::open(dir.path(), at).await.unwrap();
        let user = UserId::new("u");
        let session = crate::store::NewSession::first(&user);
        let opened = store.open_session(session).await.unwrap();
        let command = CommandId::new("c");
        let row = CommandRow {
            user: user.clone(),
            command: command.clone(),
            agent: opened.agent,
            text: "t".into(),
            spec: serde_json::Value::Null,
            status: "queued".into(),
            cause: None,
            exit_code: None,
            signal: None,
            created_at: at,
            updated_at: at,
            ended_at: None,
        };
        store.insert_command(row).await.unwrap();
        let (done, _dones) = mpsc::unbounded_channel();
        let queue = WriteQueue::start(store.clone(), Counters::default(), done);
        let other = rusqlite::Connection::open(dir.path().join(crate::store::FILE_NAME)).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        const CHUNKS: u64 = 2000;
        const CHUNK: u64 = 16 * 1024;
        for n in 0..CHUNKS {
            let record = LogRecord {
                incarnation: Incarnation(1),
                sequence: ChunkSequence(n + 1),
                stream: Stream::Stdout,
                offset: ByteOffset(n * CHUNK),
                body: StoredBody::Chunk(Bytes::from(vec![b'x'; CHUNK as usize])),
                at,
            };
            queue.write(&user, Write::Output { command: command.clone(), record });
            let (stage, cause) = (CommandStage::Running, n.to_string());
            let update = CommandUpdate { stage, cause, exit: None, at };
            queue.write(&user, Write::Command { command: command.clone(), update });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        other.execute_batch("ROLLBACK").unwrap();
        queue.finish(Duration::from_secs(60)).await;
        while let Ok(batch) = receipts.output.try_recv() {
            assert!(batch.iter().all(|receipt| !receipt.is_gap));
        }
        let end = store.output_positions(&user, vec![command.clone()]).await.unwrap();
        let end = end.first().unwrap();
        assert_eq!((end.delivered, end.gaps), (CHUNKS * CHUNK, 0));
        let row = store.command(&user, &command).await.unwrap().unwrap();
        assert_eq!(row.cause, Some((CHUNKS - 1).to_string()));
    }
}
