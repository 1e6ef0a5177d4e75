//! What the tests of the store share: an open store, rows to write, and a foreign write lock.

use onsembl_protocol::fleet;
use onsembl_protocol::id::{
    AgentId, AgentKey, BeatSequence, ByteOffset, ChunkSequence, CommandId, Epoch, Incarnation,
    InstanceId, SessionId, UserId,
};
use onsembl_protocol::model::Stream;
use onsembl_protocol::time::WallTime;
use onsembl_server_ref::store::{
    CommandRow, FILE_NAME, HeartbeatRow, NewSession, OpenedSession, Receipts, Store, StoredBody,
    StoredRecord,
};
use rusqlite::Connection;
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Longer than anything here takes, so that a hang is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn at(millis: i64) -> WallTime {
    WallTime::from_unix_millis(1_700_000_000_000 + millis)
}

pub(crate) async fn open(dir: &Path) -> (Store, Receipts) {
    Store::open(dir, at(0)).await.unwrap()
}

pub(crate) async fn fresh() -> (TempDir, Store, Receipts) {
    let dir = tempfile::tempdir().unwrap();
    let (store, receipts) = open(dir.path()).await;
    (dir, store, receipts)
}

/// A connection beside the store's own.
pub(crate) fn beside(dir: &Path) -> Connection {
    Connection::open(dir.join(FILE_NAME)).unwrap()
}

/// Another program that holds the database for writing until it is released.
pub(crate) struct HeldLock(Connection);

impl HeldLock {
    pub(crate) fn take(dir: &Path) -> Self {
        let other = beside(dir);
        other.busy_timeout(PATIENCE).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self(other)
    }

    pub(crate) fn release(self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name)
}

pub(crate) fn hello(user: &str, key: &str, session: &str) -> NewSession {
    let known = fleet::NewSession {
        key: AgentKey::new(key),
        candidate: None,
        alias: None,
        bearer: None,
        name: format!("name of {key}"),
        agent_type: "custom".to_owned(),
        version: Some("1.0".to_owned()),
        host: None,
        capabilities: vec!["exec".to_owned()],
        instance: Some(InstanceId::new("i")),
        stop: None,
        peer: "127.0.0.1:1".to_owned(),
        session: SessionId::new(session),
        at: at(1),
    };
    NewSession { user: UserId::new(user), known }
}

pub(crate) async fn one_agent(store: &Store) -> OpenedSession {
    store.sessions().open(hello("u", "k", "s")).await.unwrap()
}

pub(crate) fn beat(agent: &AgentId, epoch: Epoch, sequence: u64) -> HeartbeatRow {
    HeartbeatRow {
        agent: agent.clone(),
        epoch,
        sequence: BeatSequence(sequence),
        at: at(sequence as i64),
        metrics: Some(json!({ "n": sequence }).to_string()),
    }
}

pub(crate) fn command(agent: &AgentId, id: &str) -> CommandRow {
    CommandRow {
        user: user("u"),
        command: CommandId::new(id),
        agent: agent.clone(),
        text: "echo".to_owned(),
        spec: json!({"args": ["a", "b"]}),
        status: "queued".to_owned(),
        cause: None,
        exit_code: None,
        signal: None,
        created_at: at(2),
        updated_at: at(2),
        ended_at: None,
    }
}

pub(crate) fn chunk(id: &str, incarnation: u64, sequence: u64, bytes: &[u8]) -> StoredRecord {
    StoredRecord {
        user: user("u"),
        command: CommandId::new(id),
        incarnation: Incarnation(incarnation),
        sequence: ChunkSequence(sequence),
        stream: Stream::Stdout,
        offset: ByteOffset((sequence - 1) * bytes.len() as u64),
        body: StoredBody::Chunk(bytes.to_vec().into()),
        at: at(3),
    }
}
