//! The fleet's plain values as rows of the store, and back.

use crate::store::{self, AgentRow, CommandRow, NewPresence, OpenError, OutputReceipt, StoreError};
use onsembl_protocol::diagnosis::BeatVerdict;
use onsembl_protocol::fleet::{
    AgentRecord, CommandOrigin, CommandRecord, CommandStage, CommandUpdate, Inserted, OpenFault,
    OpenedSession, PresenceRecord, Receipt, RecordOutcome, StoreFault, StoredRequest,
    StreamPosition,
};
use onsembl_protocol::id::{AgentId, InstanceId, UserId};
use onsembl_protocol::model::Exit;
use onsembl_protocol::session::{Presence, PresenceStatus};
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::payload::CommandPhase;
use onsembl_transport::counters::Counters;
use serde::Serialize;
use tracing::warn;

pub(super) fn opened_session(opened: store::OpenedSession) -> OpenedSession {
    let store::OpenedSession { agent, epoch, presence_version, unknown_stop, created: _ } = opened;
    OpenedSession { agent, epoch, presence_version, unknown_stop }
}

pub(super) fn open_fault(error: &OpenError) -> OpenFault {
    match error {
        OpenError::Deleted(_) => OpenFault::Deleted(error.to_string()),
        OpenError::Held(why) => OpenFault::Claimed(why.clone()),
        OpenError::Store(error) => OpenFault::Store(fault(error)),
    }
}

pub(super) fn fault(error: &StoreError) -> StoreFault {
    match error {
        StoreError::Refused(_) => StoreFault::Refused(error.to_string()),
        StoreError::OverBudget(_) | StoreError::Crowded { .. } => {
            StoreFault::OverLimit(error.to_string())
        }
        StoreError::Directory { .. }
        | StoreError::Newer { .. }
        | StoreError::Migration { .. }
        | StoreError::NoWal { .. }
        | StoreError::Thread(_)
        | StoreError::Unwritten { .. }
        | StoreError::Hanging
        | StoreError::Trouble { .. }
        | StoreError::Unreadable(_)
        | StoreError::Foreign { .. }
        | StoreError::Damaged { .. }
        | StoreError::NoRoom
        | StoreError::TooLong
        | StoreError::Closed => StoreFault::Unavailable(error.to_string()),
    }
}

/// How the server came to a command that is stored.
pub(crate) fn origin(row: &CommandRow) -> CommandOrigin {
    CommandOrigin::of_stored(&row.command, &row.spec)
}

const fn exit_numbers(exit: Option<Exit>) -> (Option<i32>, Option<i32>) {
    match exit {
        Some(Exit::Code(code)) => (Some(code), None),
        Some(Exit::Signal(signal)) => (None, Some(signal)),
        None => (None, None),
    }
}

pub(super) fn command_row(user: UserId, record: CommandRecord) -> CommandRow {
    let (exit_code, signal) = exit_numbers(record.exit);
    let spec = record.stored_fields();
    CommandRow {
        user,
        command: record.command,
        agent: record.agent,
        text: record.request.text.clone(),
        spec,
        status: record.stage.phase().as_str().to_owned(),
        cause: record.cause,
        exit_code,
        signal,
        created_at: record.created_at,
        updated_at: record.updated_at,
        ended_at: record.ended_at,
    }
}

/// What was stored of a command.
pub(super) fn command_record(row: CommandRow, counters: &Counters) -> (UserId, CommandRecord) {
    let origin = origin(&row);
    let CommandRow { command, agent, text, spec: fields, ended_at, .. } = row;
    let stored = StoredRequest { command: &command, agent: &agent, text, fields, ended_at };
    let request = stored.read().unwrap_or_else(|(request, error)| {
        counters.count("unreadable_stored_commands");
        warn!(%command, %error, "a stored request cannot be read; only its text is taken");
        *request
    });
    let record = CommandRecord {
        request: Box::new(request),
        command,
        agent,
        origin,
        stage: CommandStage::of(&CommandPhase::parse(&row.status)),
        cause: row.cause,
        exit: row.signal.map(Exit::Signal).or(row.exit_code.map(Exit::Code)),
        created_at: row.created_at,
        updated_at: row.updated_at,
        ended_at,
    };
    (row.user, record)
}

pub(super) fn inserted(inserted: store::Inserted, counters: &Counters) -> Inserted {
    match inserted {
        store::Inserted::New => Inserted::New,
        store::Inserted::Existing(row) => {
            Inserted::Existing(Box::new(command_record(row, counters).1))
        }
    }
}

pub(super) fn command_update(update: CommandUpdate) -> store::CommandUpdate {
    let (exit_code, signal) = exit_numbers(update.exit);
    store::CommandUpdate {
        status: update.stage.phase().as_str().to_owned(),
        cause: Some(update.cause),
        exit_code,
        signal,
        at: update.at,
        ended: update.stage.is_final(),
    }
}

/// What a presence was decided from, as it is stored: by the names, of which [`PresenceRow`](store::PresenceRow) knows some, the log is read
/// again.
#[derive(Serialize)]
struct PresenceEvidence {
    presence: Presence,
    since: i64,
    last_heard: Option<i64>,
    impairment: Option<String>,
    store: Option<String>,
    link: Option<u64>,
    instance: Option<InstanceId>,
    beats: Option<BeatVerdict>,
}

pub(super) fn new_presence(record: PresenceRecord) -> NewPresence {
    let PresenceRecord { agent, presence, last_heard, link, instance, at, beats } = record;
    let evidence = PresenceEvidence {
        presence,
        since: presence.since.unix_millis(),
        last_heard: last_heard.map(WallTime::unix_millis),
        impairment: presence.because.impairment.map(|i| i.to_string()),
        store: presence.because.trouble.map(|t| t.to_string()),
        link: link.map(|link| link.0),
        instance,
        beats,
    };
    NewPresence {
        agent,
        version: presence.version,
        epoch: presence.epoch,
        status: presence.status.as_str().into(),
        because: presence.because.to_string(),
        // Of numbers and words, it cannot fail to be written.
        evidence: serde_json::to_string(&evidence).unwrap_or_else(|_| "null".to_owned()),
        at,
    }
}

pub(super) fn positions(rows: Vec<store::StreamPosition>) -> Vec<StreamPosition> {
    rows.into_iter().map(store::StreamPosition::of_fleet).collect()
}

pub(super) fn receipt(receipt: OutputReceipt) -> (UserId, Receipt) {
    let outcome = match &receipt.outcome {
        Ok(()) => RecordOutcome::Stored,
        Err(error) if error.is_unknown_command() => RecordOutcome::NoSuchCommand,
        Err(error) if receipt.is_gap => RecordOutcome::RefusedGap(error.to_string()),
        Err(error) => RecordOutcome::RefusedChunk(error.to_string()),
    };
    let OutputReceipt { user, command, incarnation, sequence, stream, offset, end, .. } = receipt;
    (user, Receipt { command, incarnation, sequence, stream, offset, end, outcome })
}

pub(super) fn agent_record(
    row: AgentRow,
    aliases: Vec<AgentId>,
    counters: &Counters,
) -> (UserId, AgentRecord) {
    let status = PresenceStatus::parse(&row.status).unwrap_or_else(|| {
        counters.count("unknown_stored_statuses");
        warn!(agent = %row.agent, status = row.status, "a stored status unknown to this version");
        PresenceStatus::Offline
    });
    let record = AgentRecord {
        agent: row.agent,
        key: row.key,
        name: row.name,
        agent_type: row.agent_type,
        version: row.version.unwrap_or_default(),
        host: row.host.unwrap_or_default(),
        capabilities: row.capabilities,
        aliases,
        epoch: row.epoch,
        instance: row.instance,
        status,
        since: row.since,
        because: row.because,
        presence_version: row.presence_version,
        last_heard: row.last_heartbeat,
        metrics: row.last_metrics.and_then(|metrics| serde_json::from_value(metrics).ok()),
        journal: row.journal,
        claim: row.claim,
    };
    (row.user, record)
}
