//! What a server keeps of itself for its next run: one text, replaced each time.

use super::Meta;
use super::error::StoreError;
use super::line::Routing;
use onsembl_protocol::time::WallTime;
use rusqlite::{OptionalExtension as _, params};

/// Under which name it stands in `meta`.
const KEY: &str = "own_state";

/// What an earlier run left of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnState {
    /// The text that it kept last.
    pub(crate) kept: Option<String>,
    /// The latest heartbeat, or change of an agent, that it stored.
    pub(crate) newest: WallTime,
}

impl Meta<'_> {
    /// What an earlier run left of itself.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub(crate) async fn own_state(self) -> Result<OwnState, StoreError> {
        let newest_beat = self.store.0.beats.newest().unwrap_or_default();
        self.store
            .read(move |db| {
                let kept = db
                    .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
                    .query_row([KEY], |row| row.get(0))
                    .optional()?;
                let newest: Option<i64> = db.query_row(
                    "SELECT max(max(coalesce(last_heartbeat, 0), since)) FROM agents",
                    [],
                    |row| row.get(0),
                )?;
                let newest = WallTime::from_unix_millis(newest.unwrap_or_default());
                Ok(OwnState { kept, newest: newest.max(newest_beat) })
            })
            .await
    }

    /// Keeps it for the next run.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub(crate) async fn keep_own_state(self, text: String) -> Result<(), StoreError> {
        let bytes = text.len();
        self.store
            .write(Routing::upkeep(), "keep own state", bytes, move |db| {
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
