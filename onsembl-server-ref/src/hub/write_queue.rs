//! Everything durable that nothing waits for, in the order in which it was decided.
//!
//! The hub must not wait for the database, and two writes about one thing must not change places. So they
//! are put into the store's queue at once, in which each user has a line, and what comes of them comes back as an
//! event. Which are kept when the database takes none is decided in the core ([`WriteAdmission`]).

use super::rows;
use crate::store::{Inserted, Store, StoreError, StoredRecord, Submitted};
use onsembl_protocol::fleet::{
    AdmittedWrite, StoreAnswer, StoreFault, Write, WriteAdmission, WritePart,
};
use onsembl_protocol::id::{CommandId, UserId};
use onsembl_transport::counters::Counters;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

/// What became of a write, for the fleet of its user.
pub(super) type Done = (UserId, StoreAnswer);

/// The way into the queue.
#[derive(Debug)]
pub(super) struct WriteQueue {
    store: Store,
    shared: Shared,
    /// Of writes that are in the store's queue.
    tasks: TaskTracker,
}

/// What the queue has in common with the tasks that wait.
#[derive(Clone, Debug)]
struct Shared {
    admission: Arc<Mutex<WriteAdmission>>,
    done: mpsc::UnboundedSender<Done>,
    counters: Counters,
}

impl WriteQueue {
    /// What some writes to `store` are answered with goes to `done`.
    pub(super) fn new(store: Store, counters: Counters, done: mpsc::UnboundedSender<Done>) -> Self {
        let admission = Arc::new(Mutex::new(WriteAdmission::recovering()));
        Self { store, shared: Shared { admission, done, counters }, tasks: TaskTracker::new() }
    }

    /// From now on what waits is bounded.
    pub(super) fn recovered(&self) {
        self.shared.admission().recovered();
    }

    pub(super) fn write(&self, user: &UserId, write: Write) {
        let admitted = self.shared.admission().admit(user, &write);
        let part = match admitted {
            AdmittedWrite::Kept { part, dropped } => {
                if dropped > 0 {
                    warn!(dropped, "writes were dropped until the database had room again");
                }
                part
            }
            AdmittedWrite::Dropped { is_first, end } => {
                self.shared.counters.count("writes_dropped");
                if is_first {
                    let waiting = self.waiting();
                    error!(%user, ?write, waiting, "the database has not accepted writes for too long; dropping this one and others");
                }
                if let Some((command, fault)) = end {
                    let stored = Err(fault);
                    self.shared.answer((user.clone(), StoreAnswer::EndStored { command, stored }));
                }
                return;
            }
        };
        let (user, ends) = (user.clone(), write.ended_command().cloned());
        let write = hand_in(&self.store, &user, write);
        let Some(part) = part else {
            // The receipt of output comes another way.
            drop(write.map_err(|error| failed(&self.shared.counters, error)));
            return;
        };
        drop(self.tasks.spawn(self.shared.clone().settle(user, write, ends, part)));
    }

    /// Takes nothing more and waits until all is written, or until `patience` is over.
    pub(super) async fn finish(self, patience: Duration) {
        let _ = self.tasks.close();
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            let waiting = self.shared.admission().waiting();
            warn!(waiting, "the database does not accept the last writes");
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.shared.admission().waiting()
    }
}

impl Shared {
    fn admission(&self) -> MutexGuard<'_, WriteAdmission> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, done: Done) {
        if self.done.send(done).is_err() {
            self.counters.count("events_after_the_end");
        }
    }

    /// Waits for what becomes of a write.
    async fn settle(
        self,
        user: UserId,
        write: Result<InStore, StoreError>,
        ends: Option<CommandId>,
        part: WritePart,
    ) {
        let then = committed(user, write, ends, &self.counters).await;
        self.admission().committed(part);
        if let Some(then) = then {
            self.answer(then);
        }
    }
}

/// What is still to be waited for.
#[derive(Debug)]
enum InStore {
    Submitted(Submitted<()>),
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
            store.presence().put(user, rows::new_presence(record)).map(InStore::Submitted)
        }
        Write::Command { command, update } => {
            let update = rows::command_update(update);
            store.commands().put_update(user, &command, update).map(InStore::Updated)
        }
        Write::Terminal(record) => {
            let command = record.command.clone();
            let submitted =
                store.commands().put_terminal(rows::command_row(user.clone(), *record))?;
            Ok(InStore::Inserted { command, submitted })
        }
        Write::Output { command, record } => {
            let record = StoredRecord::of_log(user.clone(), command, record);
            store.output().put(record).map(|()| InStore::Output)
        }
        Write::Alias { agent, alias } => {
            store.agents().put_alias(user, &agent, &alias).map(InStore::Submitted)
        }
        Write::Journal { agent, journal } => {
            store.agents().put_journal(user, &agent, journal).map(InStore::Submitted)
        }
        Write::TerminalSize { command, record } => {
            store.screens().put_size(user, &command, record).map(InStore::Submitted)
        }
        Write::Keyboard(record) => store.keyboards().put_hold(user, record).map(InStore::Submitted),
        Write::SessionEnd { session, at, because } => {
            store.sessions().put_end(user, session, at, because).map(InStore::Submitted)
        }
    }
}

/// What its fleet is told of it.
async fn committed(
    user: UserId,
    write: Result<InStore, StoreError>,
    ends: Option<CommandId>,
    counters: &Counters,
) -> Option<Done> {
    let result = match write {
        Ok(InStore::Submitted(submitted)) => submitted.committed().await,
        Ok(InStore::Updated(submitted)) => submitted.committed().await.map(|updated| {
            if !updated {
                counters.count("updates_of_ended_commands");
                warn!(%user, "a command that has ended, or was never stored, is not updated any more");
            }
        }),
        Ok(InStore::Inserted { command, submitted }) => {
            let inserted = rows::inserted(submitted.committed().await, counters);
            return Some((user, StoreAnswer::Inserted { command, inserted }));
        }
        Ok(InStore::Output) => Ok(()),
        Err(error) => Err(error),
    };
    let stored = result.map_err(|error| failed(counters, error));
    ends.map(|command| (user, StoreAnswer::EndStored { command, stored }))
}

fn failed(counters: &Counters, error: StoreError) -> StoreFault {
    counters.count("write_failures");
    error!(%error, "a write failed and is not tried again");
    StoreFault::from(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{CommandRow, StoredBody};
    use bytes::Bytes;
    use onsembl_protocol::fleet::{CommandStage, CommandUpdate, LogRecord};
    use onsembl_protocol::id::{ByteOffset, ChunkSequence, Incarnation};
    use onsembl_protocol::model::Stream;
    use onsembl_protocol::time::WallTime;

    /// Far more than the store's queue has room for, and than a task is given to do at once.
    #[tokio::test]
    async fn nothing_changes_places_however_much_waits() {
        let dir = tempfile::tempdir().unwrap();
        let at = WallTime::from_unix_millis(1_700_000_000_000);
        let (store, mut receipts) = Store::open(dir.path(), at).await.unwrap();
        let user = UserId::new("u");
        let session = crate::store::NewSession::first(&user);
        let opened = store.sessions().open(session).await.unwrap();
        let command = CommandId::new("c");
        let row = CommandRow::queued(&user, &command, &opened.agent, at);
        store.commands().insert(row).await.unwrap();
        let (done, _dones) = mpsc::unbounded_channel();
        let queue = WriteQueue::new(store.clone(), Counters::default(), done);
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
        let end = store.streams().positions(&user, vec![command.clone()]).await.unwrap();
        let end = end.first().unwrap();
        assert_eq!((end.delivered, end.gaps), (CHUNKS * CHUNK, 0));
        let row = store.commands().get(&user, &command).await.unwrap().unwrap();
        assert_eq!(row.cause, Some((CHUNKS - 1).to_string()));
    }
}
