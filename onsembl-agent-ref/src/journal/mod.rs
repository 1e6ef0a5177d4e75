//! The journal: what is written down of commands before they start and before their ends are reported, so
//! that a successor of this process knows. One file, one thread that writes it.
//!
//! Nothing is decided here: the core's `CommandJournal` says what an entry proves. What must last is
//! synced before it is reported as written.

mod file;

pub(crate) use file::NAME as JOURNAL_FILE;

use file::JournalFile;
use onsembl_protocol::id::JournalId;
use onsembl_protocol::worker::{Awaited, CommandJournal, JournalEntry};
use std::io;
use std::path::Path;
use std::sync::mpsc as std_mpsc;
use std::thread::{self, JoinHandle};
use tokio::sync::mpsc;

/// Entries that are written and synced together.
const BATCH: usize = 256;

/// An entry that something waits for is durable, or could not be written.
#[derive(Debug)]
pub(crate) struct JournalEvent {
    /// What waits.
    pub(crate) awaited: Awaited,
    /// Why it is not written, if it is not.
    pub(crate) outcome: Result<(), String>,
}

/// What an earlier process of this agent wrote down.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// Which journal it is. A new one where the old one was damaged: it proves nothing about earlier starts.
    pub(crate) id: JournalId,
    /// What it says.
    pub(crate) journal: CommandJournal,
}

/// The way to the journal's thread. Requests are bounded by the commands that there are: nothing new
/// is started before what is written of it was acknowledged.
#[derive(Debug)]
pub(crate) struct Journal {
    requests: Option<std_mpsc::Sender<JournalEntry>>,
    thread: Option<JoinHandle<()>>,
}

impl Journal {
    /// Opens the journal in `dir`, or begins one. A damaged one is set aside, and its longest valid
    /// prefix taken over. Blocks.
    ///
    /// # Errors
    /// It can neither be read nor set aside, or no other can be begun.
    pub(crate) fn open(
        dir: &Path,
    ) -> io::Result<(Self, mpsc::UnboundedReceiver<JournalEvent>, Recovered)> {
        let (file, id) = JournalFile::open(dir)?;
        let recovered = Recovered { id, journal: file.journal().clone() };
        let (requests, inbox) = std_mpsc::channel();
        let (events, outbox) = mpsc::unbounded_channel();
        let thread = thread::Builder::new()
            .name("onsembl-journal".to_owned())
            .spawn(move || keep(file, &inbox, &events))?;
        Ok((Self { requests: Some(requests), thread: Some(thread) }, outbox, recovered))
    }

    /// Asks for an entry to be written. Whether the thread still lives to do it.
    #[must_use = "without the thread nothing is written, and no error says so"]
    pub(crate) fn write(&self, entry: JournalEntry) -> bool {
        self.requests.as_ref().is_some_and(|requests| requests.send(entry).is_ok())
    }

    /// Waits until everything that was asked for is done. Blocks.
    pub(crate) fn finish(mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the journal panicked");
        }
    }
}

fn keep(
    mut file: JournalFile,
    inbox: &std_mpsc::Receiver<JournalEntry>,
    events: &mpsc::UnboundedSender<JournalEvent>,
) {
    while let Ok(first) = inbox.recv() {
        let batch: Vec<JournalEntry> =
            [first].into_iter().chain(inbox.try_iter()).take(BATCH).collect();
        let awaited: Vec<Awaited> = batch.iter().filter_map(JournalEntry::awaited).collect();
        let outcome = file.append(batch).map_err(|error| error.to_string());
        if let Err(error) = &outcome {
            tracing::error!(%error, path = %file.path().display(), "the journal cannot be written");
        }
        for awaited in awaited {
            // The receiver is dropped when the agent ends.
            let _ = events.send(JournalEvent { awaited, outcome: outcome.clone() });
        }
        if let Err(error) = file.compact_if_due() {
            tracing::warn!(%error, path = %file.path().display(), "the journal could not be compacted; it keeps growing");
        }
    }
}
