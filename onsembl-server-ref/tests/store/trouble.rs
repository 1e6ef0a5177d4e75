//! Trouble of the database, and what requests in one transaction do to each other.

use crate::common::{HeldLock, PATIENCE, at, beat, beside, command, fresh, hello, one_agent, open};
use onsembl_protocol::id::{AgentId, BeatSequence, Epoch};
use onsembl_server_ref::store::{FILE_NAME, StoreError, StoreHealth, StoreTrouble};
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

fn busy(health: &StoreHealth) -> bool {
    matches!(health, StoreHealth::Troubled { trouble: StoreTrouble::Busy, .. })
}

#[tokio::test]
async fn a_held_lock_is_named_read_around_and_healed() {
    let (dir, store, mut receipts) = fresh().await;
    let opened = one_agent(&store).await;
    store.record_heartbeat(beat(&opened.agent, opened.epoch, 1));
    receipts.recorded.recv().await.unwrap();
    let before = store.counters();
    let mut health = store.health();
    assert_eq!(*health.borrow_and_update(), StoreHealth::Healthy);

    let lock = HeldLock::take(dir.path());
    store.record_heartbeat(beat(&opened.agent, opened.epoch, 2));
    let named = tokio::time::timeout(Duration::from_millis(500), health.wait_for(busy)).await;
    let StoreHealth::Troubled { since, .. } = *named.unwrap().unwrap() else { unreachable!() };
    assert!(since > at(0));

    for sequence in 3..=10_000 {
        store.record_heartbeat(beat(&opened.agent, opened.epoch, sequence));
    }
    let rows = store.agents().heartbeats(None).await.unwrap();
    assert_eq!(rows[0].at, Some(at(1)), "reads go on, and show what is committed");
    assert!(receipts.recorded.try_recv().is_err(), "nothing is recorded that is not committed");

    // An attempt that began before the last beat may fail; the one after it has them all.
    let two_more = store.counters().failures + 2;
    while store.counters().failures < two_more {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    lock.release();
    let healed = health.wait_for(|h| *h == StoreHealth::Healthy);
    tokio::time::timeout(PATIENCE, healed).await.unwrap().unwrap();
    let recorded = receipts.recorded.recv().await.unwrap();
    assert_eq!(recorded[0].sequence, BeatSequence(10_000), "the newest speaks for all");
    let after = store.counters();
    assert_eq!(after.writes - before.writes, 1, "one row for all beats that waited");
    assert!(after.failures > before.failures);
    assert_eq!(store.agents().heartbeats(None).await.unwrap()[0].at, Some(at(10_000)));
}

/// As when a start reads a page that was not checked: waiting callers can learn that nothing will come.
#[tokio::test]
async fn damage_is_told_from_other_trouble() {
    let (dir, store, _receipts) = fresh().await;
    store.close(PATIENCE).await.unwrap();
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'revoked_tokens'";
    let page: u32 = beside(dir.path()).query_row(root, [], |row| row.get(0)).unwrap();
    let file = std::fs::File::options().write(true).open(dir.path().join(FILE_NAME)).unwrap();
    file.write_all_at(&[0xa5; 8192], u64::from(page - 1) * 8192).unwrap();
    let (store, _receipts) = open(dir.path()).await;
    let mut health = store.health();
    let waits = tokio::spawn({
        let store = store.clone();
        async move { store.tokens().revoke("t", at(0), "").await }
    });
    let damaged =
        |h: &StoreHealth| matches!(h, StoreHealth::Troubled { trouble: StoreTrouble::Damaged, .. });
    let named = tokio::time::timeout(PATIENCE, health.wait_for(damaged)).await.unwrap();
    assert!(named.unwrap().to_string().starts_with("database damaged since"));
    waits.abort();
}

#[tokio::test]
async fn what_is_queued_together_is_committed_together() {
    let (dir, store, _receipts) = fresh().await;
    let before = store.counters();
    let lock = HeldLock::take(dir.path());
    let mut writes: Vec<_> = (0..100)
        .map(|n| {
            let store = store.clone();
            Box::pin(async move { store.tokens().revoke(&format!("t{n}"), at(0), "").await })
        })
        .collect();
    for write in &mut writes {
        assert!(futures::poll!(write).is_pending());
    }
    lock.release();
    for write in writes {
        write.await.unwrap();
    }
    let after = store.counters();
    assert_eq!(after.writes - before.writes, 100);
    // What the writer took before the lock, and the rest.
    assert!(after.commits - before.commits <= 2, "{after:?}");
}

#[tokio::test]
async fn a_refused_request_does_not_sink_its_mates() {
    let (dir, store, _receipts) = fresh().await;
    let agent = one_agent(&store).await.agent;
    let lock = HeldLock::take(dir.path());
    let orphan = command(&AgentId::new("unknown"), "orphan");
    let taken = hello("u", "other", "s");
    let mut first = Box::pin(store.commands().insert(command(&agent, "first")));
    let mut orphan = Box::pin(store.commands().insert(orphan));
    // Fails at its last statement, the session, after it made an agent.
    let mut taken = Box::pin(store.sessions().open(taken));
    let mut last = Box::pin(store.commands().insert(command(&agent, "last")));
    assert!(futures::poll!(&mut first).is_pending());
    assert!(futures::poll!(&mut orphan).is_pending());
    assert!(futures::poll!(&mut taken).is_pending());
    assert!(futures::poll!(&mut last).is_pending());
    lock.release();

    first.await.unwrap();
    assert!(matches!(orphan.await, Err(StoreError::Refused(_))));
    assert!(taken.await.is_err());
    last.await.unwrap();
    assert_eq!(store.commands().open().await.unwrap().len(), 2);
    assert_eq!(
        store.agents().list(None).await.unwrap().len(),
        1,
        "nothing of a refused request is kept"
    );
    assert_eq!(*store.health().borrow(), StoreHealth::Healthy, "a bad request is no trouble");
    assert_eq!(store.counters().refused, 2);
}

#[tokio::test]
async fn a_dropped_future_does_no_harm() {
    let (dir, store, _receipts) = fresh().await;
    let lock = HeldLock::take(dir.path());
    let mut opening = Box::pin(store.sessions().open(hello("u", "k", "s1")));
    assert!(futures::poll!(&mut opening).is_pending());
    drop(opening);
    lock.release();
    let next = store.sessions().open(hello("u", "k", "s2")).await.unwrap();
    assert_eq!((next.epoch, next.created), (Epoch(2), false), "the write was carried out");
}

#[tokio::test]
async fn a_database_that_is_locked_can_be_opened_and_written_later() {
    let (dir, store, _receipts) = fresh().await;
    store.close(PATIENCE).await.unwrap();
    let lock = HeldLock::take(dir.path());
    let (store, _receipts) = open(dir.path()).await;
    let mut health = store.health();
    let writer = store.clone();
    let writing = tokio::spawn(async move { writer.tokens().revoke("t", at(0), "").await });
    health.wait_for(busy).await.unwrap();
    lock.release();
    writing.await.unwrap().unwrap();
    assert!(store.tokens().is_revoked("t").await.unwrap());
}
