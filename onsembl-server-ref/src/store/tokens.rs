//! Tokens that are not accepted any more.

use super::Store;
use super::error::StoreError;
use super::queue::Place;
use super::reader::Asker;
use onsembl_protocol::time::WallTime;
use rusqlite::params;

impl Store {
    /// Revokes a token for good. Revoking it again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn revoke_token(
        &self,
        token_id: &str,
        at: WallTime,
        note: &str,
    ) -> Result<(), StoreError> {
        let (token_id, note) = (token_id.to_owned(), note.to_owned());
        self.write(
            Place::order(Asker::Server),
            "revoke token",
            token_id.len() + note.len(),
            move |db| {
                db.prepare_cached(
                    "INSERT INTO revoked_tokens (token_id, revoked_at, note) VALUES (?1, ?2, ?3)
                 ON CONFLICT (token_id) DO NOTHING",
                )?
                .execute(params![token_id, at.unix_millis(), note])
                .map(drop)
            },
        )
        .await
    }

    /// Whether a token was revoked.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Closed`]; neither says that the token is good.
    pub async fn is_revoked(&self, token_id: &str) -> Result<bool, StoreError> {
        let token_id = token_id.to_owned();
        self.0
            .readers
            .read(Asker::Token(token_id.clone()), 0, move |db| {
                db.prepare_cached("SELECT 1 FROM revoked_tokens WHERE token_id = ?1")?
                    .exists([token_id])
            })
            .await
    }
}
