//! Epochs, and which sessions are kept.

use super::super::Store;
use super::super::schema::open_writer;
use super::*;
use onsembl_protocol::id::PresenceVersion;

#[test]
fn the_next_epoch_is_the_same_here_and_in_the_core() {
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch("CREATE TABLE agents (epoch INTEGER, presence_version INTEGER)").unwrap();
    let base = 7_i64 << 20;
    for epoch in [0, 1, 7, 8, (1_i64 << 33) - 1] {
        for version in
            [0, 1, base, base + (1 << 19) - 1, base + (1 << 19), base + (1 << 20) - 1, 1_i64 << 52]
        {
            db.execute("DELETE FROM agents", []).unwrap();
            db.execute("INSERT INTO agents VALUES (?1, ?2)", [epoch, version]).unwrap();
            let next: i64 = db
                .query_row(concat!("SELECT ", next_epoch!(), " FROM agents"), [], |row| row.get(0))
                .unwrap();
            let version = PresenceVersion(u64::try_from(version).unwrap());
            let wanted = Epoch(u64::try_from(epoch).unwrap()).next_above(version);
            assert_eq!(u64::try_from(next).unwrap(), wanted.0, "{epoch} {version}");
        }
    }
}

#[tokio::test]
async fn a_new_run_raises_epochs_as_the_core_does_and_keeps_what_is_known_of_the_latest_session() {
    let dir = tempfile::tempdir().unwrap();
    let at = WallTime::from_unix_millis(0);
    let (store, _receipts) = Store::open(dir.path(), at).await.unwrap();
    let user = UserId::new("u");
    let mut new = NewSession::first(&user);
    new.known.instance = Some(InstanceId::new("i"));
    let opened = store.sessions().open(new).await.unwrap();
    let raised = store.sessions().put_next_epochs(vec![user.clone()]).unwrap();
    raised.committed().await.unwrap();
    let agents = vec![opened.agent.clone()];
    store.sessions().put_next_epochs_of(&user, agents).unwrap().committed().await.unwrap();
    let row = store.agents().list(None).await.unwrap().remove(0);
    assert_eq!((row.epoch, row.instance), (Epoch(3), Some(InstanceId::new("i"))));
}

#[test]
fn sessions_are_kept_by_their_number_whatever_epochs_were_spent_between_them() {
    let dir = tempfile::tempdir().unwrap();
    let db = open_writer(dir.path(), WallTime::from_unix_millis(0)).unwrap();
    let user = UserId::new("u");
    let minted = AgentId::new("a");
    for n in 0..KEPT as i64 + 10 {
        let mut new = NewSession::first(&user);
        new.known.session = SessionId::new(format!("s{n}"));
        let Ok(opened) = open(&db, &new, &minted, u64::MAX).unwrap() else { panic!("{n}") };
        assert_eq!(opened.agent, minted);
        db.execute("UPDATE agents SET epoch = epoch + 1000", []).unwrap();
    }
    let count =
        || -> i64 { db.query_row("SELECT count(*) FROM sessions", [], |row| row.get(0)).unwrap() };
    assert_eq!(count(), KEPT as i64);
    db.execute("UPDATE sessions SET closed_at = 1", []).unwrap();
    keep(&db, &minted, 3).unwrap();
    assert_eq!(count(), 3);
}
