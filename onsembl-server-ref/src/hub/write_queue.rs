//! Everything durable that nothing waits for, in the order in which it was decided.
//!
//! The hub must not wait for the database, and two writes about one thing must not change places. So they
//! are put into the store's queue at once, in which each user has a line, and what comes of them comes back as an
//! event.

use super::rows;
use crate::bounds::{Share, Shares};
use crate::store::{Inserted, Store, StoreError, StoredRecord, Submitted};
use futures::stream::{FuturesUnordered, StreamExt as _};
use onsembl_protocol::fleet::{AdmittedWrite, StoreAnswer, Write, WriteAdmission};
use onsembl_protocol::id::{AgentId, CommandId, UserId};
use onsembl_transport::counters::Counters;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{error, warn};

/// Writes besides output that may wait while the database does not take them, of all users: of one at most as
/// many as are left, so that alone a user has 16,384. Beyond it a write is dropped, counted and logged, and the
/// end of a command is decided again later. What is bounded at its source does not count.
pub(crate) const BOUND: usize = 32 * 1024;
/// Presence events of one agent that may wait besides: where all agents of a user go from one status to another at one
/// moment, and back, none is dropped. A fleet has a bound on its agents, which take far more than these.
pub(crate) const PRESENCE_OF_AGENT: usize = 2;

/// What became of a write, for the fleet of its user.
pub(super) type Done = (UserId, StoreAnswer);

/// The way into the queue.
#[derive(Debug)]
pub(super) struct WriteQueue {
    store: Store,
    handed: mpsc::UnboundedSender<Handed>,
    done: mpsc::UnboundedSender<Done>,
    shares: Shares<UserId>,
    presence: Shares<AgentId>,
    waiting: Arc<AtomicUsize>,
    admission: WriteAdmission,
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
        let (shares, admission) = (Shares::new(BOUND, 1), WriteAdmission::recovering());
        let task = tokio::spawn(keep);
        // Of each agent it is bounded; of all, by how many agents there are.
        let presence = Shares::new(usize::MAX, usize::MAX);
        Self { store, handed, done, shares, presence, waiting, admission, counters, task }
    }

    /// From now on what waits is bounded.
    pub(super) fn recovered(&mut self) {
        self.admission.recovered();
    }

    pub(super) fn write(&mut self, user: &UserId, write: Write) {
        let part = match self
            .admission
            .admit(&write, || part_of(&self.shares, &self.presence, user, &write))
        {
            AdmittedWrite::Free => None,
            AdmittedWrite::InPart { part, dropped } => {
                if dropped > 0 {
                    warn!(dropped, "writes were dropped until the database had room again");
                }
                Some(part)
            }
            AdmittedWrite::Dropped { is_first, end } => {
                let waiting = self.waiting.load(Ordering::Relaxed);
                self.counters.count("writes_dropped");
                if is_first {
                    error!(%user, ?write, waiting, "the database has not accepted writes for too long; dropping this one and others");
                }
                if let Some((command, fault)) = end {
                    let stored = Err(fault);
                    self.answer((user.clone(), StoreAnswer::EndStored { command, stored }));
                }
                return;
            }
        };
        let (user, ends) = (user.clone(), write.ended_command().cloned());
        let write = hand_in(&self.store, &user, write);
        if matches!(write, Ok(InStore::Output)) {
            return;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        if self.handed.send(Handed { user, write, ends, _part: part }).is_err() {
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
                "the database does not accept the last writes"
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

/// The part of the memory that a write takes until it is committed.
#[derive(Debug)]
enum Part {
    OfUser(#[allow(dead_code, reason = "given back when it is dropped")] Share<UserId>),
    OfAgent(#[allow(dead_code, reason = "given back when it is dropped")] Share<AgentId>),
}

fn part_of(
    shares: &Shares<UserId>,
    presence: &Shares<AgentId>,
    user: &UserId,
    write: &Write,
) -> Option<Part> {
    if let Some(share) = shares.take(user) {
        return Some(Part::OfUser(share));
    }
    match write {
        Write::Presence(record) => {
            presence.take_below(&record.agent, PRESENCE_OF_AGENT).map(Part::OfAgent)
        }
        Write::Command { .. }
        | Write::Terminal(_)
        | Write::Output { .. }
        | Write::Alias { .. }
        | Write::Journal { .. }
        | Write::TerminalSize { .. }
        | Write::Keyboard(_)
        | Write::SessionEnd { .. } => None,
    }
}

/// A write that is in the store's queue, and what its fleet waits for.
#[derive(Debug)]
struct Handed {
    user: UserId,
    write: Result<InStore, StoreError>,
    ends: Option<CommandId>,
    _part: Option<Part>,
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
    // It counts until it is committed.
    let Handed { user, write, ends, _part } = handed;
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
    use onsembl_protocol::fleet::{CommandStage, CommandUpdate, LogRecord, PresenceRecord};
    use onsembl_protocol::id::{
        ByteOffset, ChunkSequence, Epoch, Incarnation, PresenceVersion, SessionId,
    };
    use onsembl_protocol::model::Stream;
    use onsembl_protocol::session::{Presence, PresenceCause, PresenceStatus, StatusCause};
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

    fn presence(n: usize, version: u64) -> Write {
        let at = WallTime::from_unix_millis(1_700_000_000_000);
        let presence = Presence {
            status: PresenceStatus::Offline,
            since: at,
            because: StatusCause {
                cause: PresenceCause::ServerRestarted,
                impairment: None,
                trouble: None,
            },
            version: PresenceVersion(version),
            epoch: Epoch(1),
        };
        Write::Presence(PresenceRecord {
            agent: AgentId::new(format!("agent {n}")),
            presence,
            last_heard: None,
            link: None,
            instance: None,
            at,
            beats: None,
        })
    }

    /// As when a server is back and its fleet is not, or when its resume window ends.
    #[tokio::test]
    async fn a_large_fleet_that_changes_its_status_at_one_moment_loses_no_presence_event() {
        const AGENTS: usize = 20_000;
        let dir = tempfile::tempdir().unwrap();
        let at = WallTime::from_unix_millis(1_700_000_000_000);
        let (store, _receipts) = Store::open(dir.path(), at).await.unwrap();
        let other = rusqlite::Connection::open(dir.path().join(crate::store::FILE_NAME)).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let (done, _dones) = mpsc::unbounded_channel();
        let counters = Counters::default();
        let mut queue = WriteQueue::start(store, counters.clone(), done);
        queue.recovered();
        let user = UserId::new("u");
        for version in 1..=2 {
            (0..AGENTS).for_each(|n| queue.write(&user, presence(n, version)));
        }
        assert_eq!(counters.snapshot().get("writes_dropped"), None);
        // One agent still has its bound.
        (0..1000).for_each(|n| queue.write(&user, presence(AGENTS, n)));
        let dropped = 1000 - PRESENCE_OF_AGENT as u64;
        assert_eq!(counters.snapshot().get("writes_dropped"), Some(&dropped));
        drop(other);
    }

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
        store.commands().insert(row).await.unwrap();
        let (done, _dones) = mpsc::unbounded_channel();
        let mut queue = WriteQueue::start(store.clone(), Counters::default(), done);
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
