//! The fleet's plain values as rows of the store, and back.

use crate::store::{self, AgentRow, CommandRow, NewPresence, OpenError, OutputReceipt, StoreError};
use onsembl_protocol::fleet::{
    AgentRecord, CommandOrigin, CommandRecord, CommandStage, CommandUpdate, Inserted, OpenFault,
    OpenedSession, PresenceRecord, Receipt, RecordOutcome, StoreFault, StoredRequest,
    StreamPosition,
};
use onsembl_protocol::id::{AgentId, UserId};
use onsembl_protocol::model::Exit;
use onsembl_protocol::session::PresenceStatus;
use onsembl_protocol::wire::payload::CommandPhase;
use onsembl_transport::counters::Counters;
use tracing::warn;

pub(super) fn opened_session(opened: store::OpenedSession) -> OpenedSession {
    let store::OpenedSession { agent, epoch, unknown_stop, created: _ } = opened;
    OpenedSession { agent, epoch, unknown_stop }
}

impl From<OpenError> for OpenFault {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Deleted(_) => Self::Deleted(error.to_string()),
            OpenError::Held(why) => Self::Claimed(why),
            OpenError::Store(error) => Self::Store(error.into()),
        }
    }
}

impl From<StoreError> for StoreFault {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(_) => Self::Refused(error.to_string()),
            StoreError::OverBudget(_) | StoreError::Crowded { .. } => {
                Self::OverLimit(error.to_string())
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
            | StoreError::Closed => Self::Unavailable(error.to_string()),
        }
    }
}

/// How the server came to a command that is stored.
pub(crate) fn origin(row: &CommandRow) -> CommandOrigin {
    CommandOrigin::of_stored(&row.command, &row.spec)
}

pub(super) fn command_row(user: UserId, record: CommandRecord) -> CommandRow {
    let (exit_code, signal) = Exit::fields(record.exit);
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
        exit: Exit::of_fields(row.exit_code, row.signal),
        created_at: row.created_at,
        updated_at: row.updated_at,
        ended_at,
    };
    (row.user, record)
}

pub(super) fn inserted(
    inserted: Result<store::Inserted, StoreError>,
    counters: &Counters,
) -> Result<Inserted, StoreFault> {
    Ok(match inserted? {
        store::Inserted::New => Inserted::New,
        store::Inserted::Existing(row) => {
            Inserted::Existing(Box::new(command_record(row, counters).1))
        }
    })
}

pub(super) fn command_update(update: CommandUpdate) -> store::CommandUpdate {
    let (exit_code, signal) = Exit::fields(update.exit);
    store::CommandUpdate {
        status: update.stage.phase().as_str().to_owned(),
        cause: Some(update.cause),
        exit_code,
        signal,
        at: update.at,
        ended: update.stage.is_final(),
    }
}

pub(super) fn new_presence(record: PresenceRecord) -> NewPresence {
    let (presence, evidence) = (record.presence, record.evidence());
    NewPresence {
        agent: record.agent,
        version: presence.version,
        epoch: presence.epoch,
        status: presence.status.as_str().into(),
        because: presence.because.to_string(),
        evidence,
        at: record.at,
    }
}

pub(super) fn positions(
    rows: Result<Vec<store::StreamPosition>, StoreError>,
) -> Result<Vec<StreamPosition>, StoreFault> {
    Ok(rows?.into_iter().map(store::StreamPosition::of_fleet).collect())
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
