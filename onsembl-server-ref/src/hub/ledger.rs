//! Everything durable that nobody waits for, in the order in which it was decided.
//!
//! The hub must not wait for the database, and two writes about one thing must not change places.
//! So they go through one queue into the store's, and what comes of them comes back as an event.

use crate::store::{CommandUpdate, PresenceRow, Store, StoreError, StoredRecord};
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
/// is dropped of it would never be asked for again.
const BOUND: usize = 16 * 1024;

/// One durable fact.
#[derive(Debug)]
pub(super) enum Entry {
    Presence(PresenceRow),
    Command { user: UserId, command: CommandId, update: CommandUpdate, then: Option<Done> },
    Output(StoredRecord),
    SessionEnd { session: SessionId, at: WallTime, because: String },
    Journal { agent: AgentId, journal: Option<JournalId> },
}

/// What a write is followed by.
#[derive(Debug)]
pub(super) enum Done {
    /// The end of a command is stored: the agent may forget it.
    CommandEnd { user: UserId, command: CommandId },
}

/// The way into the ledger.
#[derive(Debug)]
pub(super) struct Ledger {
    entries: mpsc::UnboundedSender<Entry>,
    waiting: Arc<AtomicUsize>,
    /// Those of them that are output.
    output: Arc<AtomicUsize>,
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
        let output = Arc::new(AtomicUsize::new(0));
        let counts = (Arc::clone(&waiting), Arc::clone(&output));
        let keep = keep(store, inbox, counts, counters.clone(), done);
        Self { entries, waiting, output, counters, task: tokio::spawn(keep) }
    }

    pub(super) fn write(&self, entry: Entry) {
        let waiting = self.waiting.load(Ordering::Relaxed);
        let others = waiting.saturating_sub(self.output.load(Ordering::Relaxed));
        if others >= BOUND && !matches!(entry, Entry::Output(_)) {
            self.counters.count("ledger_entries_dropped");
            error!(?entry, "the database has not taken writes for too long; this one is dropped");
            return;
        }
        if matches!(entry, Entry::Output(_)) {
            self.output.fetch_add(1, Ordering::Relaxed);
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
    (waiting, output): (Arc<AtomicUsize>, Arc<AtomicUsize>),
    counters: Counters,
    done: mpsc::UnboundedSender<Done>,
) {
    let mut writes = FuturesUnordered::new();
    loop {
        tokio::select! {
            // New entries first: each is handed to the store's own queue when it is first polled,
            // and that happens in the order in which they are pushed.
            biased;
            entry = inbox.recv() => match entry {
                Some(entry) => {
                    writes.push(write(store.clone(), entry, Arc::clone(&output)));
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

async fn write(
    store: Store,
    entry: Entry,
    output: Arc<AtomicUsize>,
) -> (Result<(), StoreError>, Option<Done>) {
    match entry {
        Entry::Presence(row) => (store.append_presence(row).await, None),
        Entry::Command { user, command, update, then } => {
            (store.update_command(&user, &command, update).await.map(drop), then)
        }
        Entry::Output(record) => {
            let handed_in = store.append_output(record).await;
            output.fetch_sub(1, Ordering::Relaxed);
            (handed_in, None)
        }
        Entry::Journal { agent, journal } => (store.set_journal(&agent, journal).await, None),
        Entry::SessionEnd { session, at, because } => {
            (store.close_session(&session, at, &because).await.map(drop), None)
        }
    }
}
