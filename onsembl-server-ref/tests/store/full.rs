//! A disk that is full: what ends, stops and reports is written out of the reserve, what is new is refused, what
//! needs room waits, and all of it passes by itself. The size of the database stands in for that of the disk.

use crate::common::{PATIENCE, at, chunk, command, hello, user};
use onsembl_protocol::fleet::StopOrder;
use onsembl_protocol::id::{AgentId, CommandId, StopId, UserId};
use onsembl_protocol::model::StopScope;
use onsembl_server_ref::store::{
    CommandUpdate, Receipts, Store, StoreError, StoreHealth, StoreLimits,
};
use std::time::Duration;
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

fn limits() -> StoreLimits {
    let mut limits = StoreLimits::DEFAULT;
    limits.database = Some(8 * MIB);
    limits
}

fn is_scarce(health: &StoreHealth) -> bool {
    matches!(health, StoreHealth::Scarce { .. })
}

fn end() -> CommandUpdate {
    CommandUpdate {
        status: "completed".to_owned(),
        cause: None,
        exit_code: Some(0),
        signal: None,
        at: at(9),
        ended: true,
    }
}

/// A store whose disk was filled with output of `c`.
async fn filled() -> (TempDir, Store, Receipts, AgentId, u64) {
    let dir = tempfile::tempdir().unwrap();
    let (store, receipts) = Store::open_within(dir.path(), at(0), limits()).await.unwrap();
    let agent = store.sessions().open(hello("u", "k", "s")).await.unwrap().agent;
    for id in ["c", "quiet"] {
        store.commands().insert(command(&agent, id)).await.unwrap();
    }
    let mut health = store.health();
    let mut handed_in = 0;
    while !is_scarce(&health.borrow_and_update()) {
        handed_in += 1;
        assert!(handed_in < 1000, "it must become full");
        let record = chunk("c", 1, handed_in, &[b'x'; 64 * 1024]);
        // What waits for room is handed in as well: its place in the queue is not free any more.
        let _ = tokio::time::timeout(Duration::from_secs(1), store.output().append(record)).await;
    }
    (dir, store, receipts, agent, handed_in)
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.unwrap()
}

#[tokio::test]
async fn what_ends_stops_or_reports_is_written_and_what_is_new_is_refused() {
    let (_dir, store, _receipts, agent, _) = filled().await;
    let refused = soon(store.commands().insert(command(&agent, "new"))).await.unwrap_err();
    assert!(matches!(refused, StoreError::NoRoom), "{refused}");
    assert!(refused.to_string().contains("full"), "{refused}");
    for n in 0..200 {
        let order = StopOrder {
            id: StopId::new(format!("stop {n}")),
            scope: StopScope::Agent(agent.clone()),
            reason: "full".to_owned(),
            by: UserId::new("u"),
            at: at(n),
        };
        soon(store.stops().insert(&user("u"), order)).await.unwrap();
        soon(store.sessions().open(hello("u", "k", &format!("s{n}")))).await.unwrap();
    }
    let quiet = CommandId::new("quiet");
    assert!(soon(store.commands().update(&user("u"), &quiet, end())).await.unwrap());
    assert!(is_scarce(&store.health().borrow()));
    assert!(
        soon(store.commands().get(&user("u"), &quiet)).await.unwrap().unwrap().ended_at.is_some()
    );
}

/// Else one token could use up the reserve of all by agents that it makes up.
#[tokio::test]
async fn an_agent_that_nobody_knows_yet_is_not_written_out_of_the_reserve() {
    let (_dir, store, _receipts, _, _) = filled().await;
    let refused =
        soon(store.sessions().open(hello("u", "another key", "s-new"))).await.unwrap_err();
    assert!(refused.to_string().contains("full"), "{refused}");
    let known = soon(store.sessions().open(hello("u", "k", "s-known"))).await.unwrap();
    assert!(!known.created);
}

#[tokio::test]
async fn an_end_does_not_overtake_the_output_that_waits_before_it() {
    let (_dir, store, _receipts, _, _) = filled().await;
    let id = CommandId::new("c");
    let owner = user("u");
    let ended = store.commands().update(&owner, &id, end());
    assert!(tokio::time::timeout(Duration::from_millis(500), ended).await.is_err());
    assert!(store.commands().get(&user("u"), &id).await.unwrap().unwrap().ended_at.is_none());
}

#[tokio::test]
async fn it_starts_again_on_the_full_disk_and_goes_on_by_itself_when_there_is_room() {
    let (dir, store, receipts, agent, _) = filled().await;
    // What waits for room is given up, and its agents have it.
    let _ = store.close(Duration::from_millis(100)).await;
    drop(receipts);
    let (store, _receipts) =
        soon(Store::open_within(dir.path(), at(0), limits())).await.expect("it opens");
    soon(store.sessions().close_left(at(1), "server restarted")).await.unwrap();
    let mut tried = 0;
    while soon(store.commands().insert(command(&agent, &format!("n{tried}")))).await.is_ok() {
        tried += 1;
        assert!(tried < 100_000, "it is full");
    }
    assert!(is_scarce(&store.health().borrow()));
    // Room appears: old output is cut.
    while soon(store.retention().cut_output(at(99), u64::MAX)).await.unwrap().more {}
    let mut health = store.health();
    soon(health.wait_for(|health| *health == StoreHealth::Healthy)).await.unwrap();
    soon(store.commands().insert(command(&agent, "after"))).await.unwrap();
}
