//! Read-only connections. They see what is committed, and work while the writer waits for a lock. Who reads
//! takes turns with the others who do, and each turn is short.

use super::error::StoreError;
use super::schema::open_reader;
use crate::bounds::{TurnLimits, Turns};
use onsembl_protocol::id::UserId;
use rusqlite::Connection;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;

/// Reads at a time. The machine this was measured on has two cores, and of three readers a user alone has two:
/// one is free for the next user.
pub(crate) const READERS: usize = 3;
/// A user alone has all readers but one.
const WEIGHT: usize = 2;
/// Reads of one user that may wait: far more than one that waits for each answer has.
pub(crate) const WAITING: usize = 4096;
/// Bytes that those may hold: 8 MiB. An agent that says all the time what it holds gets here first; it says it
/// again.
pub(crate) const WAITING_BYTES: usize = 8 << 20;
/// How long one read of a user may compute. Pages are made so small that none comes near it; with more than
/// that the others would feel it.
const QUANTUM: Duration = Duration::from_secs(2);
/// Steps of SQLite between two looks at the clock: well below a millisecond.
const STEPS_BETWEEN_LOOKS: i32 = 4096;

/// For whom the store works. These take turns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Asker {
    /// The server, for all users: at its start, and to keep house.
    Server,
    User(UserId),
    /// Whoever shows a token from this address (IPv6: the first 64 bits) over a connection of which no user is known.
    /// What stands in the token says nothing: a peer makes up as many as it wants.
    Address(Option<IpAddr>),
}

pub(super) struct Readers {
    path: PathBuf,
    quantum: Duration,
    idle: Mutex<Vec<Connection>>,
    turns: Turns<Asker>,
}

impl Readers {
    /// Connections to the database at `path`, opened when they are first needed.
    pub(super) fn new(path: PathBuf) -> Self {
        Self::with_quantum(path, QUANTUM)
    }

    fn with_quantum(path: PathBuf, quantum: Duration) -> Self {
        let limits = TurnLimits {
            slots: READERS,
            each: READERS,
            weight: WEIGHT,
            waiting: WAITING,
            waiting_bytes: WAITING_BYTES,
        };
        Self { path, quantum, idle: Mutex::default(), turns: Turns::new(limits) }
    }

    /// Runs `work`, which holds this many bytes, with a connection, away from the async threads. When the future
    /// is dropped, a read that has begun still runs to its end and keeps its turn until then.
    ///
    /// # Errors
    /// [`StoreError::Trouble`] or [`StoreError::Unreadable`] if it failed, [`StoreError::Crowded`] if too many
    /// reads of this asker wait, [`StoreError::TooLong`] if it took more than its time, [`StoreError::Closed`].
    pub(super) async fn read<T, F>(
        self: &Arc<Self>,
        asker: Asker,
        bytes: usize,
        work: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let turn = self.turns.take(&asker, 1, bytes).await?;
        let readers = Arc::clone(self);
        let reading = spawn_blocking(move || {
            let _turn = turn;
            let idle = readers.idle().pop();
            let db = match idle {
                Some(db) => db,
                None => open_reader(&readers.path)?,
            };
            readers.limit(&db, &asker)?;
            let outcome = work(&db);
            if !readers.turns.is_closed() {
                readers.idle().push(db);
            }
            outcome
        });
        match reading.await {
            Ok(outcome) => outcome.map_err(|error| {
                tracing::warn!(%error, "a read of the store failed");
                StoreError::from(error)
            }),
            Err(stopped) => match stopped.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(StoreError::Closed),
            },
        }
    }

    /// Bounds how long the next read of this connection computes.
    fn limit(&self, db: &Connection, asker: &Asker) -> rusqlite::Result<()> {
        match asker {
            // At the start all that is open must be read, however much it is.
            Asker::Server => db.progress_handler(0, None::<fn() -> bool>),
            Asker::User(_) | Asker::Address(_) => {
                let (began, quantum) = (Instant::now(), self.quantum);
                let is_over = move || began.elapsed() > quantum;
                db.progress_handler(STEPS_BETWEEN_LOOKS, Some(is_over))
            }
        }
    }

    /// Lets no new read begin and closes the idle connections.
    pub(super) fn close(&self) {
        self.turns.close();
        self.idle().clear();
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::open_writer;
    use super::super::wall_now;
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
                           SELECT count(*) FROM n";

    fn user(name: &str) -> Asker {
        Asker::User(UserId::new(name))
    }

    #[tokio::test]
    async fn a_read_that_computes_too_long_is_ended_and_the_connection_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        drop(open_writer(dir.path(), wall_now()).unwrap());
        let path = dir.path().join(super::super::FILE_NAME);
        let readers = Arc::new(Readers::with_quantum(path, Duration::from_millis(50)));
        let count = |db: &Connection| db.query_row(ENDLESS, [], |row| row.get::<_, i64>(0));
        let error = readers.read(user("a"), 0, count).await.unwrap_err();
        assert!(matches!(error, StoreError::TooLong), "{error}");
        let one = |db: &Connection| db.query_row("SELECT 1", [], |row| row.get::<_, i64>(0));
        assert_eq!(readers.read(user("a"), 0, one).await.unwrap(), 1);
    }

    /// What waits of one user does not stand before what another asks for.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_flood_of_one_user_costs_another_no_more_than_what_is_under_way() {
        let dir = tempfile::tempdir().unwrap();
        drop(open_writer(dir.path(), wall_now()).unwrap());
        let readers = Arc::new(Readers::new(dir.path().join(super::super::FILE_NAME)));
        let done = Arc::new(AtomicUsize::new(0));
        let flood: Vec<_> = (0..200)
            .map(|_| {
                let (readers, done) = (Arc::clone(&readers), Arc::clone(&done));
                tokio::spawn(async move {
                    let slow = |_: &Connection| {
                        std::thread::sleep(Duration::from_millis(10));
                        Ok(())
                    };
                    readers.read(user("a"), 0, slow).await.unwrap();
                    done.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        while done.load(Ordering::SeqCst) < 4 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for _ in 0..5 {
            let before = done.load(Ordering::SeqCst);
            readers.read(user("b"), 0, |_| Ok(())).await.unwrap();
            let passed = done.load(Ordering::SeqCst) - before;
            assert!(passed < 20, "{passed} reads of another user went first");
        }
        for read in flood {
            read.await.unwrap();
        }
    }

    #[tokio::test]
    async fn one_read_too_many_of_a_user_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        drop(open_writer(dir.path(), wall_now()).unwrap());
        let readers = Arc::new(Readers::new(dir.path().join(super::super::FILE_NAME)));
        let mut waiting: Vec<_> = (0..WAITING + READERS)
            .map(|_| {
                let slow = |_: &Connection| {
                    std::thread::sleep(Duration::from_millis(500));
                    Ok(())
                };
                Box::pin(readers.read(user("a"), 0, slow))
            })
            .collect();
        let refused = waiting
            .iter_mut()
            .filter_map(|read| futures::FutureExt::now_or_never(read))
            .find_map(Result::err)
            .expect("a refusal");
        assert!(refused.to_string().contains("4096"), "{refused}");
        readers.read(user("b"), 0, |_| Ok(())).await.unwrap();
    }
}
