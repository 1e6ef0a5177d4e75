//! The one writer: a thread that owns the connection, takes whatever is queued into one
//! transaction, commits it, and only then answers. A batch that fails by trouble of the database
//! is tried again until it succeeds or the store is closed; the trouble is published meanwhile.
//! What the requests do is unknown here.

use super::beat_log::BeatLog;
use super::beats::{BeatsWritten, Recorded};
use super::error::{StoreError, StoreHealth, StoreTrouble, trouble_of};
use super::line::{Needs, QueuedWrite};
use super::output::OutputReceipt;
use super::queue::{Batch, Disk, Queue};
use super::request::{Ran, Request, run_all, run_alone, run_together};
use super::reserve::Reserve;
use super::wall_now;
use onsembl_protocol::time::WallTime;
use rusqlite::Connection;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{fmt, thread};
use tokio::sync::{mpsc, watch};

/// Between two attempts on a busy database; SQLite itself has waited 250 ms in each.
const PAUSE_BUSY: Duration = Duration::from_millis(10);
/// Between two attempts after any other trouble, where SQLite does not wait.
const PAUSE_FAILED: Duration = Duration::from_millis(250);

/// How long room on a full disk is not looked for, at first and at most.
const PATIENCE: Duration = Duration::from_secs(1);
const LONGEST_PATIENCE: Duration = Duration::from_secs(60);

/// What the writer tells, and to whom.
pub(super) struct Outlets {
    pub(super) health: watch::Sender<StoreHealth>,
    pub(super) recorded: mpsc::UnboundedSender<Vec<Recorded>>,
    pub(super) output: mpsc::UnboundedSender<Vec<OutputReceipt>>,
    /// Grows with each commit of anything but heartbeats.
    pub(super) commits: watch::Sender<u64>,
    /// Set once, when the thread ends: how many writes were not committed.
    pub(super) finished: watch::Sender<Option<usize>>,
    pub(super) counters: Arc<Counters>,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    commits: AtomicU64,
    writes: AtomicU64,
    refused: AtomicU64,
    failures: AtomicU64,
}

/// What the writer has done since the store was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StoreCounters {
    /// Transactions committed.
    pub commits: u64,
    /// Writes in them: requests, records and heartbeats.
    pub writes: u64,
    /// Writes that broke a rule of the schema, and were answered so.
    pub refused: u64,
    /// Attempts that failed by trouble of the database, and were repeated.
    pub failures: u64,
}

impl Counters {
    pub(super) fn read(&self) -> StoreCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoreCounters {
            commits: read(&self.commits),
            writes: read(&self.writes),
            refused: read(&self.refused),
            failures: read(&self.failures),
        }
    }
}

impl fmt::Debug for Outlets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlets").finish_non_exhaustive()
    }
}

/// Starts the thread. It ends when the queue is closed.
pub(super) fn start(
    (db, log): (Connection, BeatLog),
    reserve: Reserve,
    disk: Disk,
    queue: Arc<Queue>,
    outlets: Outlets,
) -> Result<(), StoreError> {
    let run = move || {
        // Made first, so that it is dropped last: a caller that sees the end finds the file closed.
        let mut ending = Ending { queue: &queue, outlets: &outlets, unwritten: 0 };
        let now = Instant::now();
        let (queue, outlets) = (&*queue, &outlets);
        queue.has_reserve(reserve.bytes());
        let mut writer =
            Writer { db, log, reserve, disk, patience: PATIENCE, look_at: now, queue, outlets };
        if disk == Disk::Scarce {
            writer.became_scarce();
        }
        ending.unwritten = writer.run();
    };
    thread::Builder::new()
        .name("onsembl-store".to_owned())
        .spawn(run)
        .map(drop)
        .map_err(StoreError::Thread)
}

/// Leaves no caller waiting, however the thread ends.
struct Ending<'a> {
    queue: &'a Queue,
    outlets: &'a Outlets,
    unwritten: usize,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let unwritten = self.unwritten + self.queue.abandon();
        if thread::panicking() {
            tracing::error!("the writer of the store panicked; nothing is recorded any more");
            self.outlets
                .health
                .send_modify(|health| *health = worse(*health, StoreTrouble::Failed));
        }
        if unwritten > 0 {
            tracing::error!(writes = unwritten, "the store was closed before all was written");
        }
        self.outlets.finished.send_replace(Some(unwritten));
    }
}

struct Writer<'a> {
    db: Connection,
    log: BeatLog,
    reserve: Reserve,
    disk: Disk,
    /// How long room is not looked for after the disk was found to be full, and until when.
    patience: Duration,
    look_at: Instant,
    queue: &'a Queue,
    outlets: &'a Outlets,
}

impl Writer<'_> {
    /// Writes until the queue is closed. Returns how many writes of its last batch it gave up.
    fn run(mut self) -> usize {
        let mut unwritten = 0;
        while let Some(batch) = self.queue.next_batch(self.disk) {
            if self.disk == Disk::Scarce {
                self.look_for_room();
            }
            unwritten = self.commit(batch);
            if unwritten > 0 {
                break;
            }
        }
        if let Err((_, error)) = self.db.close() {
            tracing::warn!(%error, "the database was not closed cleanly; nothing is lost");
        }
        unwritten
    }

    /// Tries until the batch is committed. Returns how many writes it gave up, because the store
    /// was closed and its time ran out.
    fn commit(&mut self, mut batch: Batch) -> usize {
        loop {
            self.queue.refresh(&mut batch.beats);
            if self.disk == Disk::Scarce {
                self.keep_small(&mut batch);
            }
            if batch.len() == 0 {
                return 0;
            }
            match attempt(&self.db, &mut self.log, &mut batch) {
                Ok(beats) => {
                    self.healed();
                    self.answer(batch, beats);
                    return 0;
                }
                Err(error) => {
                    let trouble = trouble_of(&error).unwrap_or(StoreTrouble::Failed);
                    if self.disk == Disk::Ample && self.is_for_want_of_room(trouble) {
                        tracing::warn!(%error, waiting = batch.len(), "cannot commit");
                        self.outlets.counters.failures.fetch_add(1, Ordering::Relaxed);
                        self.reserve.open_up(&self.db);
                        self.disk = Disk::Scarce;
                        self.became_scarce();
                        continue;
                    }
                    self.troubled(&error, trouble, batch.len());
                    let pause = match trouble {
                        StoreTrouble::Busy => PAUSE_BUSY,
                        StoreTrouble::Full | StoreTrouble::Failed | StoreTrouble::Damaged => {
                            PAUSE_FAILED
                        }
                    };
                    if !self.queue.pause(pause) {
                        return batch.len();
                    }
                    self.look_for_room();
                }
            }
        }
    }

    fn is_for_want_of_room(&self, trouble: StoreTrouble) -> bool {
        match trouble {
            StoreTrouble::Full => true,
            StoreTrouble::Failed => self.reserve.is_disk_full(),
            StoreTrouble::Busy | StoreTrouble::Damaged => false,
        }
    }

    /// Leaves in the batch what is written on a full disk too. What is new is refused; what its agents keep
    /// until there is room goes back.
    fn keep_small(&self, batch: &mut Batch) {
        self.queue.put_back(std::mem::take(&mut batch.requests));
        let small = self.queue.take_small();
        batch.beats.absorb_all(small.beats);
        for queued in small.requests {
            match (queued.routing.needs == Needs::New, queued.request) {
                (true, Request::Call(call)) => {
                    self.outlets.counters.refused.fetch_add(1, Ordering::Relaxed);
                    call.refuse(StoreError::NoRoom);
                }
                (_, request) => {
                    batch.requests.push(QueuedWrite { routing: queued.routing, request });
                }
            }
        }
    }

    fn became_scarce(&mut self) {
        // A system that says that there is room and takes nothing (a quota) is not asked all the time.
        let now = Instant::now();
        let again = now.saturating_duration_since(self.look_at) < LONGEST_PATIENCE;
        self.patience = if again { (2 * self.patience).min(LONGEST_PATIENCE) } else { PATIENCE };
        self.look_at = now + self.patience;
        let before = *self.outlets.health.borrow();
        let since = since(before);
        tracing::warn!(
            "the disk is full: new commands are refused and output waits at its agents; \
                        stops, ends and sessions are written from the reserve. Free disk space"
        );
        self.outlets.health.send_replace(StoreHealth::Scarce { since });
    }

    /// With room again, everything is written again.
    fn look_for_room(&mut self) {
        if self.disk == Disk::Scarce
            && Instant::now() >= self.look_at
            && self.reserve.restore(&self.db)
        {
            self.disk = Disk::Ample;
            self.queue.reserve_restored();
            tracing::info!("disk space is free again; everything is written again");
            let before = *self.outlets.health.borrow();
            match before {
                StoreHealth::Scarce { .. } => {
                    self.outlets.health.send_replace(StoreHealth::Healthy);
                }
                // Whatever else there is, the next commit heals it.
                StoreHealth::Healthy | StoreHealth::Troubled { .. } => {}
            }
        }
    }

    fn troubled(&self, error: &rusqlite::Error, trouble: StoreTrouble, waiting: usize) {
        self.outlets.counters.failures.fetch_add(1, Ordering::Relaxed);
        let before = *self.outlets.health.borrow();
        let after = worse(before, trouble);
        if before == after {
            tracing::debug!(%error, waiting, "still not committed: {trouble}");
        } else {
            tracing::warn!(%error, waiting, "cannot commit, will try until it succeeds: {trouble}");
            self.outlets.health.send_replace(after);
        }
    }

    fn healed(&self) {
        let before = *self.outlets.health.borrow();
        if let StoreHealth::Troubled { since, trouble } = before {
            tracing::info!(%since, "commits succeed again after: {trouble}");
            self.outlets.health.send_replace(match self.disk {
                Disk::Ample => StoreHealth::Healthy,
                Disk::Scarce => StoreHealth::Scarce { since },
            });
        }
    }

    /// Tells everyone what was committed. Counts first, so that an answer never runs ahead of the
    /// counters.
    fn answer(&self, batch: Batch, beats: BeatsWritten) {
        let counters = &self.outlets.counters;
        let refused = batch.requests.iter().filter(|queued| queued.request.is_refused()).count()
            + beats.refused.len();
        counters.commits.fetch_add(1, Ordering::Relaxed);
        counters.writes.fetch_add(batch.len() as u64, Ordering::Relaxed);
        counters.refused.fetch_add(refused as u64, Ordering::Relaxed);

        match self.disk {
            Disk::Ample => {}
            Disk::Scarce => self.queue.charge(&batch.requests),
        }
        if !batch.requests.is_empty() {
            self.outlets.commits.send_modify(|commits| *commits += 1);
        }
        let mut receipts = Vec::new();
        for queued in batch.requests {
            match queued.request {
                Request::Call(call) => call.answer(),
                Request::Output(record) => receipts.push((*record).receipt()),
            }
        }
        for (beat, error) in &beats.refused {
            tracing::warn!(agent = %beat.agent, sequence = %beat.sequence, %error,
                "the store refused a heartbeat");
        }
        for beat in &beats.outdated {
            tracing::debug!(agent = %beat.agent, epoch = %beat.epoch, sequence = %beat.sequence,
                "a heartbeat of no present session was not recorded");
        }

        let committed_at = wall_now();
        let recorded: Vec<_> =
            beats.recorded.into_iter().map(|beat| beat.recorded(committed_at)).collect();
        // A receiver that was dropped does not want to know.
        if !recorded.is_empty() && self.outlets.recorded.send(recorded).is_err() {
            tracing::trace!("the receiver of recorded heartbeats was dropped");
        }
        if !receipts.is_empty() && self.outlets.output.send(receipts).is_err() {
            tracing::trace!("the receiver of stored output was dropped");
        }
    }
}

/// The health after an attempt failed by `trouble`.
fn worse(before: StoreHealth, trouble: StoreTrouble) -> StoreHealth {
    StoreHealth::Troubled { since: since(before), trouble }
}

/// Since when it is not well.
fn since(before: StoreHealth) -> WallTime {
    match before {
        StoreHealth::Healthy => wall_now(),
        StoreHealth::Troubled { since, .. } | StoreHealth::Scarce { since } => since,
    }
}

/// Runs the whole batch in one transaction and commits it; after an error nothing of it is kept.
fn attempt(
    db: &Connection,
    log: &mut BeatLog,
    batch: &mut Batch,
) -> rusqlite::Result<BeatsWritten> {
    let done = run_and_commit(db, log, batch);
    match done {
        Ok(_) => log.committed(),
        Err(_) => log.failed(),
    }
    // Some failures have ended the transaction already.
    if done.is_err()
        && !db.is_autocommit()
        && let Err(error) = db.execute_batch("ROLLBACK")
    {
        tracing::warn!(%error, "could not roll back; the next attempt will tell");
    }
    done
}

fn run_and_commit(
    db: &Connection,
    log: &mut BeatLog,
    batch: &mut Batch,
) -> rusqlite::Result<BeatsWritten> {
    let begin = || db.prepare_cached("BEGIN IMMEDIATE")?.execute([]).map(drop);
    begin()?;
    let mut beats = batch.beats.write(db, log)?;
    match batch.requests.as_mut_slice() {
        [only] if batch.beats.len() == 0 => run_alone(only, db)?,
        all => match run_together(all, db)? {
            Ran::All => {}
            Ran::Undone => {
                // Some failures have ended the transaction already.
                if !db.is_autocommit() {
                    db.prepare_cached("ROLLBACK")?.execute([])?;
                }
                log.failed();
                begin()?;
                beats = batch.beats.write(db, log)?;
                run_all(all, db)?;
            }
        },
    }
    db.prepare_cached("COMMIT")?.execute([])?;
    Ok(beats)
}

#[cfg(test)]
mod tests {
    use super::super::error::StoreError;
    use super::super::line::{Lane, Routing, Waits};
    use super::super::reader::Asker;
    use super::super::request::Asked;
    use super::super::schema::open_writer;
    use super::*;
    use tokio::sync::oneshot;

    const ROUTING: Routing = Routing {
        lane: Lane::Control,
        asker: Asker::Server,
        needs: Needs::Little,
        waits: Waits::ForIt,
    };

    type Answer = oneshot::Receiver<Result<usize, StoreError>>;

    async fn note(queue: &Queue, key: &'static str, length: usize) -> (Request, Answer) {
        let permit = queue.room(Lane::Control, &Asker::Server, length).await.unwrap();
        Asked::request("note", Some(permit), move |db: &Connection| {
            let value = "x".repeat(length);
            db.execute("INSERT INTO meta (key, value) VALUES (?1, ?2)", [key, &value])
        })
    }

    fn notes(db: &Connection) -> i64 {
        let count = "SELECT count(*) FROM meta WHERE key LIKE 'note%'";
        db.query_row(count, [], |row| row.get(0)).unwrap()
    }

    /// Allows the database `spare` more pages than it has.
    fn confine(db: &Connection, spare: i64) {
        let pages: i64 = db.pragma_query_value(None, "page_count", |r| r.get(0)).unwrap();
        let allowed = pages + spare;
        db.pragma_update_and_check(None, "max_page_count", allowed, |_| Ok(())).unwrap();
    }

    #[tokio::test]
    async fn nothing_of_a_failed_attempt_is_kept_and_the_next_one_does_it_all() {
        let dir = tempfile::tempdir().unwrap();
        let db = open_writer(dir.path(), wall_now()).unwrap();
        confine(&db, 0);
        let queue = Queue::new();
        let (small, small_answer) = note(&queue, "note 1", 1).await;
        let (large, large_answer) = note(&queue, "note 2", 100_000).await;
        let requests = [small, large].map(|request| QueuedWrite { routing: ROUTING, request });
        let mut batch = Batch { requests: requests.into(), ..Batch::default() };

        let error = attempt(&db, &mut BeatLog::new(), &mut batch).unwrap_err();
        assert_eq!(trouble_of(&error), Some(StoreTrouble::Full));
        assert!(db.is_autocommit());
        assert_eq!(notes(&db), 0);

        confine(&db, 1000);
        attempt(&db, &mut BeatLog::new(), &mut batch).unwrap();
        assert_eq!(notes(&db), 2);
        for queued in batch.requests {
            let Request::Call(call) = queued.request else { panic!("no output here") };
            assert!(!call.is_refused());
            call.answer();
        }
        assert_eq!(small_answer.await.unwrap().unwrap(), 1);
        assert_eq!(large_answer.await.unwrap().unwrap(), 1);
    }

    /// All of a transaction run without savepoints first.
    #[tokio::test]
    async fn what_is_refused_leaves_nothing_behind_and_takes_nothing_else_along() {
        let dir = tempfile::tempdir().unwrap();
        let db = open_writer(dir.path(), wall_now()).unwrap();
        let queue = Queue::new();
        let mut requests = Vec::new();
        for key in ["note 1", "note 2", "note 1", "note 3"] {
            requests.push(note(&queue, key, 1).await.0);
        }
        let permit = queue.room(Lane::Control, &Asker::Server, 0).await.unwrap();
        let (half, _answer) = Asked::request("half", Some(permit), |db: &Connection| {
            db.execute("INSERT INTO meta (key, value) VALUES ('note 4', '')", [])?;
            db.execute("INSERT INTO meta (key, value) VALUES ('note 4', '')", [])
        });
        requests.push(half);
        let queued = |request| QueuedWrite { routing: ROUTING, request };
        let requests = requests.into_iter().map(queued).collect();
        let mut batch = Batch { requests, ..Batch::default() };
        attempt(&db, &mut BeatLog::new(), &mut batch).unwrap();
        let refused: Vec<_> = batch.requests.iter().map(|one| one.request.is_refused()).collect();
        assert_eq!(refused, [false, false, true, false, true]);
        assert_eq!(notes(&db), 3);
    }

    #[tokio::test]
    async fn a_full_disk_is_named_and_closing_tells_what_was_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let db = open_writer(dir.path(), wall_now()).unwrap();
        let reserve = Reserve::new(dir.path(), None);
        confine(&db, 0);
        let queue = Arc::new(Queue::new());
        let (health_in, mut health) = watch::channel(StoreHealth::Healthy);
        let (finished_in, mut finished) = watch::channel(None);
        let outlets = Outlets {
            health: health_in,
            recorded: mpsc::unbounded_channel().0,
            output: mpsc::unbounded_channel().0,
            commits: watch::channel(0).0,
            finished: finished_in,
            counters: Arc::default(),
        };
        start((db, BeatLog::new()), reserve, Disk::Ample, Arc::clone(&queue), outlets).unwrap();
        let (large, answer) = note(&queue, "note", 100_000).await;
        queue.push(ROUTING, large).unwrap();

        let full = |h: &StoreHealth| {
            matches!(h, StoreHealth::Troubled { trouble: StoreTrouble::Full, .. })
        };
        health.wait_for(full).await.unwrap();
        queue.close(Instant::now());
        assert_eq!(*finished.wait_for(Option::is_some).await.unwrap(), Some(1));
        assert!(answer.await.is_err(), "who waited learns that it was not written");
    }

    #[tokio::test]
    async fn a_panic_leaves_nobody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let db = open_writer(dir.path(), wall_now()).unwrap();
        let reserve = Reserve::new(dir.path(), None);
        let queue = Arc::new(Queue::new());
        let (health_in, mut health) = watch::channel(StoreHealth::Healthy);
        let outlets = Outlets {
            health: health_in,
            recorded: mpsc::unbounded_channel().0,
            output: mpsc::unbounded_channel().0,
            commits: watch::channel(0).0,
            finished: watch::channel(None).0,
            counters: Arc::default(),
        };
        let permit = queue.room(Lane::Control, &Asker::Server, 0).await.unwrap();
        let (bad, bad_answer) =
            Asked::request("bad", Some(permit), |_: &Connection| -> rusqlite::Result<()> {
                panic!("planted")
            });
        let (mate, mate_answer) = note(&queue, "note", 1).await;
        queue.push(ROUTING, bad).unwrap();
        queue.push(ROUTING, mate).unwrap();
        start((db, BeatLog::new()), reserve, Disk::Ample, Arc::clone(&queue), outlets).unwrap();

        assert!(bad_answer.await.is_err());
        assert!(mate_answer.await.is_err());
        let failed = |h: &StoreHealth| {
            matches!(h, StoreHealth::Troubled { trouble: StoreTrouble::Failed, .. })
        };
        health.wait_for(failed).await.unwrap();
        assert!(matches!(queue.room(Lane::Data, &Asker::Server, 1).await, Err(StoreError::Closed)));
    }
}
