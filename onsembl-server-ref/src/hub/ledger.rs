//! Everything durable that nobody waits for, in the order in which it was decided.
//!
//! The hub must not wait for the database, and two writes about one thing must not change places.
//! So they go through one queue into the store's, and what comes of them comes back as an event.

use crate::store::{
    CommandRow, CommandUpdate, Inserted, PresenceRow, Store, StoreError, StoredRecord, Submitted,
};
use futures::stream::{FuturesUnordered, StreamExt as _};
use onsembl_protocol::id::{AgentId, CommandId, JournalId, SessionId, UserId};
use onsembl_protocol::time::WallTime;
use onsembl_transport::counters::Counters;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{error, warn};

/// Writes besides output that may wait here while the database does not take them. Beyond it a write
/// is dropped, counted and logged. Output does not count: each of its senders is held back, and what
/// is dropped of it would never be asked for again. Nor do terminals, which the hub bounds, and without
/// which their output would be of nothing.
const BOUND: usize = 16 * 1024;

/// One durable fact.
#[derive(Debug)]
pub(super) enum Entry {
    Presence(PresenceRow),
    /// A terminal that an agent opened, in front of its output.
    Terminal(Box<CommandRow>),
    Command {
        user: UserId,
        command: CommandId,
        update: CommandUpdate,
        then: Option<Done>,
    },
    Output(StoredRecord),
    SessionEnd {
        session: SessionId,
        at: WallTime,
        because: String,
    },
    Journal {
        agent: AgentId,
        journal: Option<JournalId>,
    },
}

impl Entry {
    /// Whether so few of them come that none is ever dropped here.
    const fn is_bounded_elsewhere(&self) -> bool {
        match self {
            Self::Output(_) | Self::Terminal(_) => true,
            Self::Presence(_)
            | Self::Command { .. }
            | Self::SessionEnd { .. }
            | Self::Journal { .. } => false,
        }
    }
}

/// What a write is followed by.
#[derive(Debug)]
pub(super) enum Done {
    /// The end of a command is stored: the agent may forget it.
    CommandEnd { user: UserId, command: CommandId },
    /// What came of storing a terminal.
    Inserted { user: UserId, command: CommandId, inserted: Box<Result<Inserted, StoreError>> },
}

/// The way into the ledger.
#[derive(Debug)]
pub(super) struct Ledger {
    entries: mpsc::UnboundedSender<Entry>,
    waiting: Arc<AtomicUsize>,
    /// Those of them that do not count.
    uncounted: Arc<AtomicUsize>,
    counters: Counters,
    task: JoinHandle<()>,
}

impl Ledger {
    /// Starts the task that hands entries to `store`; what some of them are followed by goes to
    /// `done`.
    pub(super) fn start(
        store: Store,
        counters: Counters,
        done: mpsc::UnboundedSender<Done>,
    ) -> Self {
        let (entries, inbox) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let uncounted = Arc::new(AtomicUsize::new(0));
        let counts = (Arc::clone(&waiting), Arc::clone(&uncounted));
        let keep = keep(store, inbox, counts, counters.clone(), done);
        Self { entries, waiting, uncounted, counters, task: tokio::spawn(keep) }
    }

    pub(super) fn write(&self, entry: Entry) {
        let waiting = self.waiting.load(Ordering::Relaxed);
        let others = waiting.saturating_sub(self.uncounted.load(Ordering::Relaxed));
        if others >= BOUND && !entry.is_bounded_elsewhere() {
            self.counters.count("ledger_entries_dropped");
            error!(?entry, "the database has not taken writes for too long; this one is dropped");
            return;
        }
        if entry.is_bounded_elsewhere() {
            self.uncounted.fetch_add(1, Ordering::Relaxed);
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        if self.entries.send(entry).is_err() {
            self.counters.count("ledger_entries_dropped");
        }
    }

    /// Takes nothing more and waits until all is written, or until `patience` is over.
    pub(super) async fn finish(self, patience: Duration) {
        drop(self.entries);
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
    store: Store,
    mut inbox: mpsc::UnboundedReceiver<Entry>,
    (waiting, uncounted): (Arc<AtomicUsize>, Arc<AtomicUsize>),
    counters: Counters,
    done: mpsc::UnboundedSender<Done>,
) {
    let mut writes = FuturesUnordered::new();
    let mut handing = None;
    loop {
        tokio::select! {
            biased;
            // One after the other: two that wait for room at once would change places.
            handed = next(&mut handing), if handing.is_some() => {
                handing = None;
                writes.push(committed(handed));
            }
            entry = inbox.recv(), if handing.is_none() => match entry {
                Some(entry) => {
                    handing = Some(Box::pin(hand_in(store.clone(), entry, Arc::clone(&uncounted))));
                }
                None => break,
            },
            Some((result, then)) = writes.next(), if !writes.is_empty() => {
                settle(&waiting, &counters, &done, result, then);
            }
        }
    }
    while let Some((result, then)) = writes.next().await {
        settle(&waiting, &counters, &done, result, then);
    }
}

async fn next<F: Future + Unpin>(handing: &mut Option<F>) -> F::Output {
    match handing {
        Some(handing) => handing.await,
        None => std::future::pending().await,
    }
}

fn settle(
    waiting: &AtomicUsize,
    counters: &Counters,
    done: &mpsc::UnboundedSender<Done>,
    result: Result<(), StoreError>,
    then: Option<Done>,
) {
    waiting.fetch_sub(1, Ordering::Relaxed);
    if let Err(error) = result {
        counters.count("ledger_failures");
        error!(%error, "a write failed and is not tried again");
        return;
    }
    if let Some(then) = then
        && done.send(then).is_err()
    {
        counters.count("events_after_the_end");
    }
}

/// A write that is in the store's queue, and what follows it.
#[derive(Debug)]
struct Handed {
    write: Result<Write, StoreError>,
    then: Option<Done>,
}

/// What is still to be waited for.
#[derive(Debug)]
enum Write {
    Told(Submitted<()>),
    Changed(Submitted<bool>),
    Inserted {
        user: UserId,
        command: CommandId,
        submitted: Submitted<Inserted>,
    },
    /// Its receipt comes another way.
    Output,
}

async fn hand_in(store: Store, entry: Entry, uncounted: Arc<AtomicUsize>) -> Handed {
    let mut follows = None;
    let write = match entry {
        Entry::Presence(row) => store.submit_presence(row).await.map(Write::Told),
        Entry::Command { user, command, update, then } => {
            follows = then;
            store.submit_command_update(&user, &command, update).await.map(Write::Changed)
        }
        Entry::Terminal(row) => {
            let (user, command) = (row.user.clone(), row.command.clone());
            let submitted = store.submit_terminal(*row).await;
            uncounted.fetch_sub(1, Ordering::Relaxed);
            submitted.map(|submitted| Write::Inserted { user, command, submitted })
        }
        Entry::Output(record) => {
            let handed_in = store.append_output(record).await;
            uncounted.fetch_sub(1, Ordering::Relaxed);
            handed_in.map(|()| Write::Output)
        }
        Entry::Journal { agent, journal } => {
            store.submit_journal(&agent, journal).await.map(Write::Told)
        }
        Entry::SessionEnd { session, at, because } => {
            store.submit_session_end(&session, at, &because).await.map(Write::Changed)
        }
    };
    Handed { write, then: follows }
}

async fn committed(handed: Handed) -> (Result<(), StoreError>, Option<Done>) {
    let result = match handed.write {
        Ok(Write::Told(submitted)) => submitted.committed().await,
        Ok(Write::Changed(submitted)) => submitted.committed().await.map(drop),
        Ok(Write::Inserted { user, command, submitted }) => {
            let inserted = Box::new(submitted.committed().await);
            return (Ok(()), Some(Done::Inserted { user, command, inserted }));
        }
        Ok(Write::Output) => Ok(()),
        Err(error) => Err(error),
    };
    (result, handed.then)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoredBody;
    use bytes::Bytes;
    use onsembl_protocol::id::{AgentKey, ByteOffset, ChunkSequence, Incarnation, PresenceVersion};
    use onsembl_protocol::output::Stream;

    /// Far more than the store's queue has room for, and than a task is given to do at once.
    #[tokio::test]
    async fn nothing_changes_places_however_much_waits() {
        let dir = tempfile::tempdir().unwrap();
        let at = WallTime::from_unix_millis(1_700_000_000_000);
        let (store, mut receipts) = Store::open(dir.path(), at).await.unwrap();
        let user = UserId::new("u");
        let opened = store
            .open_session(crate::store::NewSession {
                user: user.clone(),
                key: AgentKey::new("k"),
                candidates: Vec::new(),
                aliases: Vec::new(),
                name: "n".into(),
                agent_type: "custom".into(),
                version: None,
                host: None,
                capabilities: Vec::new(),
                instance: None,
                peer: "p".into(),
                session: SessionId::new("s"),
                at,
                presence_floor: PresenceVersion(0),
            })
            .await
            .unwrap();
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
        let ledger = Ledger::start(store.clone(), Counters::default(), done);
        let other = rusqlite::Connection::open(dir.path().join(crate::store::FILE_NAME)).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        const CHUNKS: u64 = 2000;
        const CHUNK: u64 = 16 * 1024;
        for n in 0..CHUNKS {
            ledger.write(Entry::Output(StoredRecord {
                user: user.clone(),
                command: command.clone(),
                incarnation: Incarnation(1),
                sequence: ChunkSequence(n + 1),
                stream: Stream::Stdout,
                offset: ByteOffset(n * CHUNK),
                body: StoredBody::Chunk(Bytes::from(vec![b'x'; CHUNK as usize])),
                at,
            }));
            ledger.write(Entry::Command {
                user: user.clone(),
                command: command.clone(),
                update: CommandUpdate {
                    status: n.to_string(),
                    cause: None,
                    exit_code: None,
                    signal: None,
                    at,
                    ended: false,
                },
                then: None,
            });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        other.execute_batch("ROLLBACK").unwrap();
        ledger.finish(Duration::from_secs(60)).await;
        while let Ok(batch) = receipts.output.try_recv() {
            assert!(batch.iter().all(|receipt| !receipt.is_gap));
        }
        let end = store.output_positions(&user, vec![command.clone()]).await.unwrap();
        let end = end.first().unwrap();
        assert_eq!((end.delivered, end.gaps), (CHUNKS * CHUNK, 0));
        let row = store.command(&user, &command).await.unwrap().unwrap();
        assert_eq!(row.status, (CHUNKS - 1).to_string());
    }
}
