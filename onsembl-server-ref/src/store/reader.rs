//! Read-only connections. They see what is committed, and work while the writer waits for a lock.

use super::error::StoreError;
use super::schema::open_reader;
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Reads at a time. The machine this was measured on has two cores.
const READERS: usize = 2;

pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    turns: Arc<Semaphore>,
}

impl Readers {
    /// Connections to the database at `path`, opened when they are first needed.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::default(), turns: Arc::new(Semaphore::new(READERS)) }
    }

    /// Runs `work` with a connection, away from the async threads. When the future is dropped, a
    /// read that has begun still runs to its end and keeps its turn until then.
    ///
    /// # Errors
    /// [`StoreError::Trouble`] or [`StoreError::Unreadable`] if it failed, [`StoreError::Closed`].
    pub(super) async fn read<T, F>(self: &Arc<Self>, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let readers = Arc::clone(self);
        let reading = spawn_blocking(move || {
            let _turn = turn;
            let idle = readers.idle().pop();
            let db = match idle {
                Some(db) => db,
                None => open_reader(&readers.path)?,
            };
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

    /// Lets no new read begin and closes the idle connections.
    pub(super) fn close(&self) {
        self.turns.close();
        self.idle().clear();
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
