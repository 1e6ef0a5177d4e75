//! The spool: what processes wrote and the server has not stored, on disk, so that it survives the end
//! of this process. One folder a run, one thread that reads and writes them.
//!
//! Nothing is decided here: the core's outbox says what is kept, read back and forgotten. A write is
//! not synced: it survives the death of the agent, not that of its machine.

mod folder;
mod segment;
mod sizes;

use folder::{Found, RunFolder};
use onsembl_protocol::worker::{
    Appending, LeftRun, Record, Run, SpoolEvent, SpoolPolicy, SpoolRequest,
};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc as std_mpsc};
use std::thread::{self, JoinHandle};
use tokio::sync::mpsc;

/// Requests that are carried out together, so that a run of appends is answered once.
const BATCH: usize = 256;

/// Bytes that may wait for the disk. Beyond it the disk counts as failed: the server may take output
/// faster than a slow disk, and what it acknowledged waits here anyway.
const WAITING: u64 = 8 << 20;

/// The way to the spool's thread.
#[derive(Debug)]
pub(crate) struct Spool {
    appending: Appending,
    waiting: Arc<AtomicU64>,
    requests: Option<std_mpsc::Sender<SpoolRequest>>,
    thread: Option<JoinHandle<()>>,
}

impl Spool {
    /// Opens the spool in `dir`, and reads what is left there. Blocks.
    ///
    /// # Errors
    /// The folder cannot be made or listed. One run that cannot be read is only logged.
    pub(crate) fn open(
        dir: &Path,
    ) -> io::Result<(Self, mpsc::UnboundedReceiver<SpoolEvent>, Vec<LeftRun>)> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let mut folders = BTreeMap::new();
        let mut left = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            match RunFolder::find(&path) {
                Ok(Some(Found { folder, recovered, ended, sizes, damages })) => {
                    for (path, damage) in damages {
                        tracing::error!(path = %path.display(), %damage, "the spool is damaged; data behind the damage is lost and will be declared as a gap");
                    }
                    let _ = folders.insert(recovered.run().clone(), folder);
                    left.push(LeftRun { recovered, ended, sizes });
                }
                Ok(None) => {
                    tracing::warn!(path = %path.display(), "cannot read anything in this folder of the spool; it is left unchanged");
                }
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "cannot read this folder of the spool; it is left unchanged");
                }
            }
        }
        let (requests, inbox) = std_mpsc::channel();
        let (events, outbox) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&waiting);
        let writer = SpoolWriter {
            dir: dir.to_owned(),
            folders,
            events,
            waiting: counted,
            appending: Appending::Works,
        };
        let thread = thread::Builder::new()
            .name("onsembl-spool".to_owned())
            .spawn(move || writer.run(&inbox))?;
        Ok((
            Self {
                appending: Appending::Works,
                waiting,
                requests: Some(requests),
                thread: Some(thread),
            },
            outbox,
            left,
        ))
    }

    /// Asks for something. Gives it back if the thread has ended, or is so far behind that it takes no more
    /// records.
    pub(crate) fn ask(&mut self, request: SpoolRequest) -> Result<(), SpoolRequest> {
        let bytes = request.bytes();
        if !self.appending.takes(&request) {
            return Ok(());
        }
        if bytes > 0 && self.waiting.fetch_add(bytes, Ordering::Relaxed) >= WAITING {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.appending.on_failed();
            return Err(request);
        }
        match &self.requests {
            Some(requests) => requests.send(request).map_err(|refused| refused.0),
            None => Err(request),
        }
    }

    /// Waits until everything that was asked for is done. Blocks.
    pub(crate) fn finish(mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the spool panicked");
        }
    }
}

struct SpoolWriter {
    dir: PathBuf,
    folders: BTreeMap<Run, RunFolder>,
    events: mpsc::UnboundedSender<SpoolEvent>,
    waiting: Arc<AtomicU64>,
    appending: Appending,
}

impl SpoolWriter {
    fn run(mut self, inbox: &std_mpsc::Receiver<SpoolRequest>) {
        while let Ok(first) = inbox.recv() {
            let mut appends: Vec<(Run, Vec<Record>)> = Vec::new();
            for request in [first].into_iter().chain(inbox.try_iter()).take(BATCH) {
                self.waiting.fetch_sub(request.bytes(), Ordering::Relaxed);
                if let SpoolRequest::Append(run, record) = request {
                    match appends.last_mut().filter(|(last, _)| *last == run) {
                        Some((_, records)) => records.push(record),
                        None => appends.push((run, vec![record])),
                    }
                    continue;
                }
                appends.drain(..).for_each(|(run, records)| self.append(&run, &records));
                self.perform(request);
            }
            appends.drain(..).for_each(|(run, records)| self.append(&run, &records));
        }
    }

    fn append(&mut self, run: &Run, records: &[Record]) {
        if !self.appending.works() {
            return;
        }
        let (done, outcome) = match self.folder(run, SpoolPolicy::default()) {
            Ok(folder) => folder.append(records),
            Err(error) => (0, Err(error)),
        };
        let kept = records.iter().take(done).map(|record| record.sequence).max();
        if let Some(through) = kept {
            self.say(SpoolEvent::Appended(run.clone(), through));
        }
        if let Err(error) = outcome {
            self.appending.on_failed();
            self.say(SpoolEvent::Failed(error.to_string()));
        }
    }

    fn perform(&mut self, request: SpoolRequest) {
        if !self.appending.takes(&request) {
            return;
        }
        let outcome = match request {
            SpoolRequest::Append(run, record) => return self.append(&run, &[record]),
            SpoolRequest::Retry => Ok(()),
            SpoolRequest::Open(run, policy) => self.folder(&run, policy).map(drop),
            SpoolRequest::Sizes(run, sizes) => self
                .folder(&run, SpoolPolicy::default())
                .and_then(|folder| folder.keep_sizes(&sizes)),
            SpoolRequest::Read(run, from, through) => {
                let (records, outcome) = match self.folders.get(&run) {
                    Some(folder) => folder.read(from, through),
                    None => (Vec::new(), Err(io::Error::other("the run has no folder"))),
                };
                self.say(match &outcome {
                    Err(error) if may_pass(error) => {
                        SpoolEvent::NotRead(run, from, error.to_string())
                    }
                    // What is damaged or deleted stays so.
                    Ok(()) | Err(_) => SpoolEvent::Page(run, from, records),
                });
                outcome
            }
            SpoolRequest::Forget(run, from, before) => {
                self.folders.get_mut(&run).map_or(Ok(()), |folder| folder.forget(from, before))
            }
            SpoolRequest::End(run) => self.folders.get_mut(&run).map_or(Ok(()), RunFolder::end),
            SpoolRequest::Close(run) => self.folders.remove(&run).map_or(Ok(()), RunFolder::remove),
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "a spool operation failed");
        }
    }

    fn folder(&mut self, run: &Run, policy: SpoolPolicy) -> io::Result<&mut RunFolder> {
        use std::collections::btree_map::Entry;
        match self.folders.entry(run.clone()) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(entry) => {
                let free = (0..).map(|n| self.dir.join(format!("{}-{n}", run.incarnation.0)));
                let dir = free.into_iter().find(|dir| !dir.exists());
                let dir = dir.ok_or_else(|| io::Error::other("no name is free"))?;
                Ok(entry.insert(RunFolder::create(dir, run.clone(), policy)?))
            }
        }
    }

    fn say(&self, event: SpoolEvent) {
        // The receiver is dropped when the agent ends.
        let _ = self.events.send(event);
    }
}

/// Whether a read may succeed later: the system refused it, as it does for want of descriptors.
fn may_pass(error: &io::Error) -> bool {
    error.raw_os_error().is_some() && error.kind() != io::ErrorKind::NotFound
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use onsembl_protocol::id::{ByteOffset, ChunkSequence, CommandId, Incarnation};
    use onsembl_protocol::model::Stream;
    use onsembl_protocol::worker::RecordBody;

    #[test]
    fn a_disk_that_is_too_slow_is_not_waited_for_without_end() {
        // Nothing is taken out: a disk that hangs.
        let (requests, _inbox) = std_mpsc::channel();
        let mut spool = Spool {
            appending: Appending::Works,
            waiting: Arc::default(),
            requests: Some(requests),
            thread: None,
        };
        let run = Run { command: CommandId::new("c"), incarnation: Incarnation(1) };
        let record = Record {
            sequence: ChunkSequence(1),
            stream: Stream::Stdout,
            offset: ByteOffset(0),
            body: RecordBody::Chunk(Bytes::from(vec![0; 32 * 1024])),
        };
        let append = SpoolRequest::Append(run, record);
        let taken = (0..10_000).take_while(|_| spool.ask(append.clone()).is_ok()).count();
        assert!((200..=256).contains(&taken), "{taken}");
        assert!(spool.ask(append.clone()).is_ok(), "it is thrown away until the retry");
        assert!(spool.ask(SpoolRequest::Retry).is_ok(), "what holds nothing is always taken");
        assert!(spool.ask(append).is_err());
    }
}
