//! Databases of this and of earlier schemas, filled by an earlier version, opened by this server.
//!
//! Their times are moved so that they are as old as they were when they were asked: rules go by age.

use super::answers::Answers;
use super::conversation::data;
use super::likeness::{Likeness, Times};
use crate::extended::agent;
use crate::fixture::{World, now};
use crate::frames::extended_dashboard_hello;
use onsembl_server_ref::store::FILE_NAME;
use rusqlite::Connection;
use std::collections::BTreeMap;

/// Every column that holds a time, of all schemas.
const TIMES: &[(&str, &[&str])] = &[
    ("agents", &["since", "last_heartbeat", "created_at", "deleted_at"]),
    ("presence_events", &["at"]),
    ("sessions", &["opened_at", "closed_at"]),
    ("commands", &["created_at", "updated_at", "ended_at"]),
    ("command_events", &["at"]),
    ("output_chunks", &["at"]),
    ("output_records", &["at"]),
    ("output_streams", &["oldest_at"]),
    ("stops", &["at", "released_at"]),
    ("revoked_tokens", &["revoked_at"]),
];

fn move_times(db: &Connection, by: i64) {
    for (table, columns) in TIMES {
        let exists = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?1";
        let exists: i64 = db.query_row(exists, [table], |row| row.get(0)).unwrap();
        if exists == 1 {
            let set: Vec<String> = columns.iter().map(|c| format!("{c} = {c} + {by}")).collect();
            let moved = db.execute(&format!("UPDATE {table} SET {}", set.join(", ")), []).unwrap();
            assert!(moved > 0, "nothing is in {table}");
        }
    }
}

async fn open(version: &str) {
    let answers = Answers::read(version);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(FILE_NAME);
    let sql = data().join(format!("databases/{version}.sql"));
    if sql.exists() {
        let db = Connection::open(&file).unwrap();
        db.execute_batch(&std::fs::read_to_string(sql).unwrap()).unwrap();
    } else {
        let _ = std::fs::copy(data().join(format!("databases/{version}.db")), &file).unwrap();
    }
    // By whole seconds, since some times are shown without their fractions.
    let by = (now().unix_millis() - answers.recorded_at).div_euclid(1_000) * 1_000;
    let db = Connection::open(&file).unwrap();
    let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(found, version.parse::<i64>().unwrap());
    move_times(&db, by);
    drop(db);

    let mut world = World::over(dir).await;
    let like = Likeness::new(Times::Moved { by, recorded_at: answers.recorded_at });
    answers.compare(&world, like).await;
    world.stop().await;
}

/// As many presences as an earlier server published at most and had not stored when it ended.
const UNSTORED: u64 = 1 << 20;

/// A dashboard that stays open over the upgrade knows each agent by the greatest version that the earlier server published.
/// It takes none that is smaller for newer (P-62).
#[tokio::test]
async fn a_dashboard_sees_no_agent_go_back_over_the_upgrade() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(FILE_NAME);
    let _ = std::fs::copy(data().join("databases/0004.db"), &file).unwrap();
    let db = Connection::open(&file).unwrap();
    let mut newest: BTreeMap<String, u64> = db
        .prepare(
            "SELECT agent_id, presence_version FROM agents
             WHERE user_id = 'ann' AND deleted_at IS NULL",
        )
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(|row| {
            row.map(|(agent, version): (String, i64)| (agent, version as u64 + UNSTORED - 1))
        })
        .collect::<Result<_, _>>()
        .unwrap();
    drop(db);
    assert_eq!(newest.len(), 4);

    let mut world = World::over(dir).await;
    let shown = async |world: &World, newest: &mut BTreeMap<String, u64>| {
        let mut watching = world.dashboard_link("ann").await;
        watching.send(extended_dashboard_hello()).await;
        for _ in 0..4 {
            let status = watching.expect("AGENT_STATUS").await;
            let agent = status["agentId"].as_str().unwrap().to_owned();
            let version = status["presenceVersion"].as_u64().unwrap();
            let before = newest.insert(agent, version).unwrap();
            assert!(version > before, "{status} behind version {before}");
        }
        watching
    };
    let mut watching = shown(&world, &mut newest).await;
    // One of them comes back, to this run and to the next one.
    for _ in 0..2 {
        let (mut link, _) = agent(&world, "ann", "key-literal", "run-1").await;
        let online = watching.expect_that("AGENT_STATUS", |s| s["status"] == "online").await;
        let version = online["presenceVersion"].as_u64().unwrap();
        let before = newest.insert(online["agentId"].as_str().unwrap().to_owned(), version);
        assert!(before.is_some_and(|before| version > before), "{online} behind {before:?}");
        world.restart_heard_by(&mut [&mut link, &mut watching]).await;
        watching = shown(&world, &mut newest).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn the_first_schema_is_read_as_before() {
    open("0001").await;
}

#[tokio::test]
async fn the_second_schema_is_read_as_before() {
    open("0002").await;
}

#[tokio::test]
async fn the_third_schema_is_read_as_before() {
    open("0003").await;
}

#[tokio::test]
async fn the_fourth_schema_is_read_as_before() {
    open("0004").await;
}
