//! What measurements of the store write: sessions, heartbeats, commands and their output.

use bytes::Bytes;
use onsembl_protocol::fleet;
use onsembl_protocol::id::{
    AgentKey, BeatSequence, ByteOffset, ChunkSequence, CommandId, Incarnation, SessionId, UserId,
};
use onsembl_protocol::model::Stream;
use onsembl_protocol::time::WallTime;
use onsembl_server_ref::store::{
    CommandRow, HeartbeatRow, NewSession, OpenedSession, StoredBody, StoredRecord,
};

/// Of each heartbeat.
pub const METRICS: &str =
    r#"{"activeCommands":1,"commandsProcessed":3,"cpuUsage":12.5,"memoryUsage":64,"uptime":100}"#;

/// The first session of this agent of a user.
pub fn session(user: UserId, agent: u64, at: WallTime) -> NewSession {
    let known = fleet::NewSession {
        key: AgentKey::new(format!("key {agent}")),
        candidate: None,
        alias: None,
        bearer: None,
        name: format!("agent {agent}"),
        agent_type: "custom".to_owned(),
        version: Some("1.0".to_owned()),
        host: Some("host.example".to_owned()),
        capabilities: vec!["exec".to_owned()],
        instance: None,
        stop: None,
        peer: "127.0.0.1:1".to_owned(),
        session: SessionId::new(format!("session {agent}")),
        at,
    };
    NewSession { user, known }
}

/// A heartbeat in a session.
pub fn beat(of: &OpenedSession, sequence: u64, at: WallTime) -> HeartbeatRow {
    HeartbeatRow {
        agent: of.agent.clone(),
        epoch: of.epoch,
        sequence: BeatSequence(sequence),
        at,
        metrics: Some(METRICS.to_owned()),
    }
}

/// A command that runs on the agent of this session.
pub fn command(user: &UserId, number: u64, of: &OpenedSession, at: WallTime) -> CommandRow {
    CommandRow {
        user: user.clone(),
        command: CommandId::new(format!("0197a1b2-c3d4-7e5f-8a9b-{number:012}")),
        agent: of.agent.clone(),
        text: "yes".to_owned(),
        spec: serde_json::Value::Null,
        status: "running".to_owned(),
        cause: None,
        exit_code: None,
        signal: None,
        created_at: at,
        updated_at: at,
        ended_at: None,
    }
}

/// The chunk of this number of a command, from 0 on, all of which have the same length.
pub fn chunk(
    user: &UserId,
    command: &CommandId,
    number: u64,
    body: &Bytes,
    at: WallTime,
) -> StoredRecord {
    StoredRecord {
        user: user.clone(),
        command: command.clone(),
        incarnation: Incarnation(1_762_080_000_000),
        sequence: ChunkSequence(number + 1),
        stream: Stream::Stdout,
        offset: ByteOffset(number * body.len() as u64),
        body: StoredBody::Chunk(body.clone()),
        at,
    }
}
