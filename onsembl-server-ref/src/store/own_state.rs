//! What a server keeps of itself for its next run: one text, replaced each time.

use super::Store;
use super::error::StoreError;
use super::line::Place;
use rusqlite::{OptionalExtension as _, params};

/// Under which name it stands in `meta`.
const KEY: &str = "own_state";

impl Store {
    /// What an earlier run kept last.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub(crate) async fn own_state(&self) -> Result<Option<String>, StoreError> {
        self.read(|db| {
            db.prepare_cached("SELECT value FROM meta WHERE key = ?1")?
                .query_row([KEY], |row| row.get(0))
                .optional()
        })
        .await
    }

    /// Keeps it for the next run.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub(crate) async fn keep_own_state(&self, text: String) -> Result<(), StoreError> {
        let bytes = text.len();
        self.write(Place::house(), "keep own state", bytes, move |db| {
            db.prepare_cached(
                "INSERT INTO meta (key, value) VALUES (?1, ?2)
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            )?
            .execute(params![KEY, text])
            .map(drop)
        })
        .await
    }
}
