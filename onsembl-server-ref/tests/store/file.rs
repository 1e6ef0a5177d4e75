//! The file: migrations, what survives an end of the process, and closing.

use crate::common::{
    HeldLock, PATIENCE, at, beat, beside, chunk, command, fresh, hello, one_agent, open, user,
};
use onsembl_protocol::id::CommandId;
use onsembl_server_ref::store::{FILE_NAME, Store, StoreError};
use std::fs;
use std::time::Duration;

#[tokio::test]
async fn opening_again_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    for epoch in 1..=3 {
        let (store, _receipts) = open(dir.path()).await;
        let session = store.sessions().open(hello("u", "k", &format!("s{epoch}"))).await.unwrap();
        assert_eq!((session.epoch.0, session.created), (epoch, epoch == 1));
        store.close(PATIENCE).await.unwrap();
    }
}

#[tokio::test]
async fn the_database_of_a_newer_program_is_refused_and_left_alone() {
    let (dir, store, _receipts) = fresh().await;
    store.close(PATIENCE).await.unwrap();
    beside(dir.path()).pragma_update(None, "user_version", 1000).unwrap();

    let error = Store::open(dir.path(), at(0)).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 1000, .. }), "{error:?}");
    assert!(error.to_string().contains("schema 1000"), "{error}");
    let version: i64 =
        beside(dir.path()).pragma_query_value(None, "user_version", |r| r.get(0)).unwrap();
    assert_eq!(version, 1000);
}

#[tokio::test]
async fn a_directory_that_cannot_be_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "").unwrap();
    let error = Store::open(&path.join("data"), at(0)).await.unwrap_err();
    assert!(matches!(error, StoreError::Directory { .. }), "{error:?}");
}

/// What a killed process leaves behind is the files as they are: no checkpoint, no closing.
#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    let (dir, store, mut receipts) = fresh().await;
    let opened = one_agent(&store).await;
    let agent = opened.agent;
    store.commands().insert(command(&agent, "c")).await.unwrap();
    store.output().append(chunk("c", 1, 1, b"out")).await.unwrap();
    receipts.output.recv().await.unwrap();
    for sequence in [1, 2] {
        store.record_heartbeat(beat(&agent, opened.epoch, sequence));
        receipts.recorded.recv().await.unwrap();
    }

    let killed = tempfile::tempdir().unwrap();
    for name in [FILE_NAME.to_owned(), format!("{FILE_NAME}-wal")] {
        fs::copy(dir.path().join(&name), killed.path().join(&name)).unwrap();
    }
    let (again, _receipts) = open(killed.path()).await;
    let listed = again.agents().list(None).await.unwrap().remove(0);
    assert_eq!((listed.agent, listed.last_heartbeat), (agent, Some(at(2))));
    assert_eq!(listed.last_metrics, Some(serde_json::json!({ "n": 2 })));
    let output =
        again.reading().read(&user("u"), &CommandId::new("c"), None, None, 100).await.unwrap();
    assert_eq!(output, [chunk("c", 1, 1, b"out")]);

    assert_eq!(again.sessions().close_left(at(9), "server restarted").await.unwrap(), 1);
    assert_eq!(again.sessions().close_left(at(9), "server restarted").await.unwrap(), 0);
}

#[tokio::test]
async fn closing_and_dropping_write_what_is_queued() {
    for close in [true, false] {
        let (dir, store, mut receipts) = fresh().await;
        let agent = one_agent(&store).await.agent;
        store.commands().insert(command(&agent, "c")).await.unwrap();
        let lock = HeldLock::take(dir.path());
        for sequence in 1..=1000 {
            store.output().append(chunk("c", 1, sequence, b"12345678")).await.unwrap();
        }
        lock.release();
        if close {
            store.close(PATIENCE).await.unwrap();
        } else {
            drop(store);
        }
        let mut stored = 0;
        while let Some(batch) = receipts.output.recv().await {
            stored += batch.len();
        }
        assert_eq!(stored, 1000);
        let count: i64 = beside(dir.path())
            .query_row("SELECT count(*) FROM output_records", [], |r| r.get(0))
            .unwrap();
        assert_eq!(count, 1000);
    }
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let (_dir, store, _receipts) = fresh().await;
    let other = store.clone();
    store.close(PATIENCE).await.unwrap();
    assert!(matches!(other.agents().list(None).await, Err(StoreError::Closed)));
    assert!(matches!(other.tokens().revoke("t", at(0), "").await, Err(StoreError::Closed)));
    assert!(matches!(other.output().append(chunk("c", 1, 1, b"")).await, Err(StoreError::Closed)));
    other.close(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn closing_under_a_lock_ends_in_time_and_tells_what_was_lost() {
    let (dir, store, _receipts) = fresh().await;
    let lock = HeldLock::take(dir.path());
    let other = store.clone();
    let waiting = tokio::spawn(async move { other.tokens().revoke("t", at(0), "").await });
    store.health().wait_for(|h| h.to_string().starts_with("database busy")).await.unwrap();

    let closing = tokio::time::timeout(PATIENCE, store.close(Duration::from_millis(100)));
    let error = closing.await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Unwritten { writes: 1 }), "{error:?}");
    assert!(matches!(waiting.await.unwrap(), Err(StoreError::Closed)));
    lock.release();
}
