//! Presence events: every published change of an agent's status, and why. Events are only ever
//! added; the latest one is projected onto the agent in the same transaction.

use super::columns::int;
use super::error::StoreError;
use super::queue::Lane;
use super::{Store, Submitted};
use onsembl_protocol::id::{AgentId, Epoch, PresenceVersion};
use onsembl_protocol::time::WallTime;
use rusqlite::{Connection, params};
use serde_json::Value;

/// One presence event.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct PresenceRow {
    pub agent: AgentId,
    /// Its number among the events of this agent.
    pub version: PresenceVersion,
    /// The epoch of the session it is about.
    pub epoch: Epoch,
    /// The status from now on.
    pub status: String,
    /// Why, for people.
    pub because: String,
    /// What the decision was made from.
    pub evidence: Value,
    pub at: WallTime,
}

impl Store {
    /// Adds a presence event and shows the agent as it says. `since` of the agent moves only when
    /// the status changes; an event older than the one shown is added, but not shown.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the agent is unknown or has an event of this version already,
    /// [`StoreError::Closed`].
    pub async fn append_presence(&self, event: PresenceRow) -> Result<(), StoreError> {
        self.submit_presence(event).await?.committed().await
    }

    /// The first half of [`append_presence`](Self::append_presence).
    pub(crate) async fn submit_presence(
        &self,
        event: PresenceRow,
    ) -> Result<Submitted<()>, StoreError> {
        let evidence = event.evidence.to_string();
        let bytes = evidence.len() + event.because.len() + event.status.len();
        self.submit(Lane::Control, "append presence", bytes, move |db| {
            append(db, &event, &evidence)
        })
        .await
    }
}

fn append(db: &Connection, event: &PresenceRow, evidence: &str) -> rusqlite::Result<()> {
    let (version, epoch) = (int(event.version.0)?, int(event.epoch.0)?);
    db.prepare_cached(
        "INSERT INTO presence_events (agent_id, version, epoch, status, because, evidence, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        event.agent.as_str(),
        version,
        epoch,
        event.status,
        event.because,
        evidence,
        event.at.unix_millis(),
    ])?;
    db.prepare_cached(
        "UPDATE agents
         SET since = CASE WHEN status = ?3 THEN since ELSE ?5 END,
             status = ?3, because = ?4, presence_version = ?2
         WHERE agent_id = ?1 AND presence_version < ?2",
    )?
    .execute(params![
        event.agent.as_str(),
        version,
        event.status,
        event.because,
        event.at.unix_millis(),
    ])?;
    Ok(())
}
