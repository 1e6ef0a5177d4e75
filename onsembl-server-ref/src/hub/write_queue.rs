//! Everything durable that nothing waits for, in the order in which it was decided.
//!
//! The hub must not wait for the database, and two writes about one thing must not change places. So they
//! are put into the store's queue at once, in which each user has a line, and what comes of them comes back as an
//! event. Which are kept when the database takes none is decided in the core ([`WriteAdmission`]).

use super::rows;
use crate::store::{Inserted, Store, StoreError, StoredRecord, Submitted};
use futures::stream::{FuturesUnordered, StreamExt as _};
use onsembl_protocol::fleet::{
    AdmittedWrite, StoreAnswer, StoreFault, Write, WriteAdmission, WritePart,
};
use onsembl_protocol::id::{CommandId, UserId};
use onsembl_transport::counters::Counters;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{error, warn};

/// What became of a write, for the fleet of its user.
pub(super) type Done = (UserId, StoreAnswer);

/// The way into the queue.
#[derive(Debug)]
pub(super) struct WriteQueue {
    store: Store,
    handed: mpsc::UnboundedSender<Handed>,
    shared: Shared,
    task: JoinHandle<()>,
}

/// What the queue has in common with the task that waits.
#[derive(Clone, Debug)]
struct Shared {
    admission: Arc<Mutex<WriteAdmission>>,
    done: mpsc::UnboundedSender<Done>,
    counters: Counters,
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
        let admission = Arc::new(Mutex::new(WriteAdmission::recovering()));
        let shared = Shared { admission, done, counters };
        let task = tokio::spawn(shared.clone().keep(inbox));
        Self { store, handed, shared, task }
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
        if self.handed.send(Handed { user, write, ends, part }).is_err() {
            self.shared.counters.count("writes_dropped");
        }
    }

    /// Takes nothing more and waits until all is written, or until `patience` is over.
    pub(super) async fn finish(self, patience: Duration) {
        drop(self.handed);
        if tokio::time::timeout(patience, self.task).await.is_err() {
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

    async fn keep(self, mut inbox: mpsc::UnboundedReceiver<Handed>) {
        let mut writes = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                handed = inbox.recv() => match handed {
                    Some(handed) => writes.push(committed(handed, self.counters.clone())),
                    None => break,
                },
                Some(settled) = writes.next(), if !writes.is_empty() => self.settle(settled),
            }
        }
        while let Some(settled) = writes.next().await {
            self.settle(settled);
        }
    }

    fn settle(&self, (part, then): Settled) {
        self.admission().committed(part);
        if let Some(then) = then {
            self.answer(then);
        }
    }
}

/// A write that is in the store's queue, and what its fleet waits for.
#[derive(Debug)]
struct Handed {
    user: UserId,
    write: Result<InStore, StoreError>,
    ends: Option<CommandId>,
    part: WritePart,
}

/// What became of a write.
type Settled = (WritePart, Option<Done>);

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
            store.sessions().put_end(user, session, at, because).map(InStore::Changed)
        }
    }
}

async fn committed(handed: Handed, counters: Counters) -> Settled {
    let Handed { user, write, ends, part } = handed;
    let result = match write {
        Ok(InStore::Submitted(submitted)) => submitted.committed().await,
        Ok(InStore::Changed(submitted)) => submitted.committed().await.map(drop),
        Ok(InStore::Updated(submitted)) => submitted.committed().await.map(|updated| {
            if !updated {
                counters.count("updates_of_ended_commands");
                warn!(%user, "a command that has ended, or was never stored, is not updated any more");
            }
        }),
        Ok(InStore::Inserted { command, submitted }) => {
            let inserted = rows::inserted(submitted.committed().await, &counters);
            return (part, Some((user, StoreAnswer::Inserted { command, inserted })));
        }
        Ok(InStore::Output) => Ok(()),
        Err(error) => Err(error),
    };
    let stored = result.map_err(|error| failed(&counters, error));
    (part, ends.map(|command| (user, StoreAnswer::EndStored { command, stored })))
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
        let end = store.streams().positions(&user, vec![command.clone()]).await.unwrap();
        let end = end.first().unwrap();
        assert_eq!((end.delivered, end.gaps), (CHUNKS * CHUNK, 0));
        let row = store.commands().get(&user, &command).await.unwrap().unwrap();
        assert_eq!(row.cause, Some((CHUNKS - 1).to_string()));
    }
}
