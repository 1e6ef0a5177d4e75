//! What agents found while they were away, as they told it. Only added, and removed from the old end; a verdict is made
//! of it when somebody asks.

use super::Findings;
use super::columns::{int, json, time};
use super::error::StoreError;
use super::json_columns::TOLD;
use super::line::{Needs, Routing};
use onsembl_protocol::diagnosis::{PastFinding, ToldAt};
use onsembl_protocol::fleet::FindingsRecord;
use onsembl_protocol::id::{AgentId, UserId};
use onsembl_protocol::time::WallTime;
use rusqlite::{Connection, params};
use serde_json::json;

/// Messages kept of one agent, the latest: one for each of its absences, as many as there are events of them.
const KEPT: i64 = 256;
/// Bytes kept of one agent; the latest message is kept in any case. An absence takes 100 to 500.
pub(crate) const KEPT_BYTES: usize = 64 * 1024;

impl Findings<'_> {
    /// Keeps what an agent of this user found. The same number of the same process replaces what was kept under it.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the user has no such agent, [`StoreError::Closed`].
    pub(crate) async fn keep(
        self,
        user: &UserId,
        record: FindingsRecord,
    ) -> Result<(), StoreError> {
        // Evidence is no control: on a full disk it is refused, and its agent keeps it and tells it again.
        let (of, routing) = (user.clone(), Routing::control(user, Needs::New));
        let told = json!(record.told).to_string();
        self.store
            .write(routing, "keep findings", told.len(), move |db| keep(db, &of, &record, &told))
            .await
    }

    /// What is kept of an agent of this user, in the order in which it was told.
    ///
    /// # Errors
    /// [`StoreError::Trouble`], [`StoreError::Unreadable`], [`StoreError::Closed`].
    pub(crate) async fn of_agent(
        self,
        user: &UserId,
        agent: &AgentId,
    ) -> Result<Vec<ToldAt>, StoreError> {
        let (of, agent) = (user.clone(), agent.clone());
        self.store
            .read_for(user, move |db| {
                let is_theirs = db
                    .prepare_cached("SELECT 1 FROM agents WHERE agent_id = ?1 AND user_id = ?2")?
                    .exists([agent.as_str(), of.as_str()])?;
                if is_theirs { self::of(db, &agent, None) } else { Ok(Vec::new()) }
            })
            .await
    }
}

/// What is kept of an agent and was told since then, in the order in which it was told.
pub(super) fn of(
    db: &Connection,
    agent: &AgentId,
    since: Option<WallTime>,
) -> rusqlite::Result<Vec<ToldAt>> {
    let rows = db
        .prepare_cached(
            "SELECT agent_id, id, at, told FROM findings WHERE agent_id = ?1 AND at >= ?2 ORDER BY id",
        )?
        .query_map(params![agent.as_str(), since.map_or(i64::MIN, WallTime::unix_millis)], |row| {
            let told: Option<Vec<PastFinding>> = json(row, &TOLD)?;
            Ok((time(row, "at")?, told.unwrap_or_default()))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let each = rows
        .into_iter()
        .flat_map(|(at, told)| told.into_iter().map(move |told| ToldAt { at, told }));
    Ok(each.collect())
}

fn keep(
    db: &Connection,
    user: &UserId,
    record: &FindingsRecord,
    told: &str,
) -> rusqlite::Result<()> {
    let FindingsRecord { agent, epoch, instance, number, told: _, at } = record;
    let instance = instance.as_ref().map_or("", |instance| instance.as_str());
    let _ = db
        .prepare_cached(
            "DELETE FROM findings WHERE agent_id = ?1 AND instance = ?2 AND number = ?3
                 AND agent_id IN (SELECT agent_id FROM agents WHERE agent_id = ?1 AND user_id = ?4)",
        )?
        .execute(params![agent.as_str(), instance, int(*number)?, user.as_str()])?;
    // Without such an agent its column would be empty, which is refused.
    let _ = db
        .prepare_cached(
            "INSERT INTO findings (agent_id, instance, number, epoch, at, told)
             VALUES ((SELECT agent_id FROM agents WHERE agent_id = ?1 AND user_id = ?7),
                     ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            agent.as_str(),
            instance,
            int(*number)?,
            int(epoch.0)?,
            at.unix_millis(),
            told,
            user.as_str(),
        ])?;
    db.prepare_cached(
        "DELETE FROM findings WHERE id IN (
             SELECT id FROM (
                 SELECT id, row_number() OVER latest AS place,
                        sum(length(told)) OVER latest AS bytes
                 FROM findings WHERE agent_id = ?1 WINDOW latest AS (ORDER BY id DESC))
             WHERE place > ?2 OR (place > 1 AND bytes > ?3))",
    )?
    .execute(params![agent.as_str(), KEPT, KEPT_BYTES as i64])
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::*;
    use crate::store::{CommandRow, NewSession, StoreLimits};
    use onsembl_protocol::fleet::LONGEST_FINDINGS;
    use onsembl_protocol::id::{CommandId, Epoch, InstanceId};
    use onsembl_protocol::model::{Cause, Confidence, Evidence, Finding};
    use std::time::Duration;

    fn at(ms: i64) -> WallTime {
        WallTime::from_unix_millis(ms)
    }

    fn record(agent: &AgentId, number: u64, entries: usize, text: &str) -> FindingsRecord {
        let told = |n: usize| PastFinding {
            finding: Finding::new(Cause::NoRoute, Confidence::High)
                .on(Evidence::NONE.with("said", text)),
            ago: Duration::from_secs(n as u64),
            lasted: Duration::ZERO,
            times: 1,
        };
        FindingsRecord {
            agent: agent.clone(),
            epoch: Epoch(1),
            instance: Some(InstanceId::new("i")),
            number,
            told: (0..entries).map(told).collect(),
            at: at(1000 + number as i64),
        }
    }

    #[tokio::test]
    async fn what_is_told_again_replaces_what_was_told_and_another_user_reads_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _receipts) = Store::open(dir.path(), at(0)).await.unwrap();
        let (user, other) = (UserId::new("u"), UserId::new("v"));
        let agent = store.sessions().open(NewSession::first(&user)).await.unwrap().agent;
        store.findings().keep(&user, record(&agent, 1, 1, "first")).await.unwrap();
        store.findings().keep(&user, record(&agent, 2, 1, "second")).await.unwrap();
        store.findings().keep(&user, record(&agent, 2, 2, "again")).await.unwrap();
        let kept = store.findings().of_agent(&user, &agent).await.unwrap();
        let said = |told: &ToldAt| told.told.finding.evidence.text("said").unwrap().to_owned();
        assert_eq!(kept.iter().map(said).collect::<Vec<_>>(), ["first", "again", "again"]);
        assert_eq!(kept[0].at, at(1001));
        assert_eq!(store.findings().of_agent(&other, &agent).await.unwrap(), []);
        let foreign = store.findings().keep(&other, record(&agent, 3, 1, "no")).await;
        assert!(matches!(foreign, Err(StoreError::Refused(_))), "{foreign:?}");
    }

    /// What is kept for the stops and ends of all is not for evidence.
    #[tokio::test]
    async fn on_a_full_disk_they_are_refused_and_take_nothing_of_the_reserve() {
        let dir = tempfile::tempdir().unwrap();
        let limits = StoreLimits { database: Some(8 << 20), ..StoreLimits::DEFAULT };
        let (store, _receipts) = Store::open_within(dir.path(), at(0), limits).await.unwrap();
        let user = UserId::new("u");
        let agent = store.sessions().open(NewSession::first(&user)).await.unwrap().agent;
        let command = |n: i64| CommandRow {
            user: user.clone(),
            command: CommandId::new(format!("c{n}")),
            agent: agent.clone(),
            text: "x".repeat(60_000),
            spec: json!({}),
            status: "queued".to_owned(),
            cause: None,
            exit_code: None,
            signal: None,
            created_at: at(n),
            updated_at: at(n),
            ended_at: None,
        };
        let mut n = 0;
        while store.commands().insert(command(n)).await.is_ok() {
            n += 1;
            assert!(n < 1000, "it must become full");
        }
        let refused = store.findings().keep(&user, record(&agent, 1, 1, "x")).await;
        assert!(matches!(refused, Err(StoreError::NoRoom)), "{refused:?}");
        assert!(store.agents().is_deleted(&user, &agent).await.is_ok());
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_in_number_and_in_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _receipts) = Store::open(dir.path(), at(0)).await.unwrap();
        let user = UserId::new("u");
        let agent = store.sessions().open(NewSession::first(&user)).await.unwrap().agent;
        for number in 0..300 {
            store.findings().keep(&user, record(&agent, number, 1, "x")).await.unwrap();
        }
        let kept = store.findings().of_agent(&user, &agent).await.unwrap();
        assert_eq!((kept.len(), kept[0].at), (KEPT as usize, at(1000 + 300 - KEPT)));
        // Of nearly the largest messages that there can be.
        let long = "x".repeat(256);
        for number in 300..400 {
            store.findings().keep(&user, record(&agent, number, 32, &long)).await.unwrap();
        }
        let kept = store.findings().of_agent(&user, &agent).await.unwrap();
        let bytes: usize = kept.iter().map(|told| json!([told.told]).to_string().len()).sum();
        assert!(bytes <= KEPT_BYTES + LONGEST_FINDINGS, "{bytes}");
        assert!(kept.len() >= 32, "the latest is kept whole");
    }
}
