//! Audits: what an agent says that it holds against what is stored.
//!
//! The agent is asked first, so that what moves on meanwhile only moves towards the store.

use super::output::Sender;
use super::run::{Answer, Hub};
use crate::store::{Store, StoreError, StreamPosition};
use onsembl_protocol::id::{AgentId, UserId};
use onsembl_protocol::output::{Account, CommittedState, GapCause, Run, Stream, StreamState};
use onsembl_protocol::session::{Dialect, ServerView};
use onsembl_protocol::wire::ServerToAgent;
use onsembl_protocol::wire::payload::{HeldStream, OutputQuery, OutputState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::oneshot;
use tracing::debug;

/// How long an agent may take to say what it holds.
const PATIENCE: Duration = Duration::from_secs(5);
/// Streams of one audit: the newest that are stored, and so many that the agent holds.
const STREAMS: usize = 4096;
/// Audits that may wait for their agents.
const AUDITS: usize = 64;

/// Where the bytes of an agent's streams are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReport {
    /// Whether the agent said what it holds; else what is not stored is not known.
    pub agent_heard: bool,
    /// Why it was not heard.
    pub because: Option<String>,
    /// Whether every byte is somewhere, as far as is known.
    pub balanced: bool,
    /// The streams.
    pub streams: Vec<AuditedStream>,
}

/// The balance of one stream, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditedStream {
    /// The command.
    pub command_id: String,
    /// The process.
    pub incarnation: u64,
    /// The stream.
    pub stream: String,
    /// What the process wrote, as far as it was read.
    pub produced: u64,
    /// What is stored.
    pub delivered: u64,
    /// What the agent holds.
    pub spooled: u64,
    /// What is declared to be lost.
    pub gaps: u64,
    /// What nobody knows anything of.
    pub unaccounted: u64,
    /// Why the stream ends with a gap of unknown length.
    pub open_gap: Option<String>,
}

/// Why there is no audit.
#[derive(Debug, Error)]
pub enum NoAudit {
    /// The user has no such agent.
    #[error("no agent of yours has this id")]
    NoAgent,
    /// Too many are under way.
    #[error("too many audits are under way; come back later")]
    Busy,
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl NoAudit {
    /// The HTTP status that says so.
    pub const fn status(&self) -> u16 {
        match self {
            Self::NoAgent => 404,
            Self::Busy | Self::Store(_) => 503,
        }
    }
}

/// The answer to an audit.
pub type AuditReply = oneshot::Sender<Result<AuditReport, NoAudit>>;

/// An audit that waits for its agent.
#[derive(Debug)]
pub(super) struct PendingAudit {
    user: UserId,
    agent: AgentId,
    held: Vec<HeldStream>,
    reply: AuditReply,
}

impl Hub {
    pub(super) fn on_audit(&mut self, user: UserId, agent: AgentId, reply: AuditReply) {
        let Some(machine) =
            self.known.get(&agent).filter(|known| known.user == user).map(|known| known.machine)
        else {
            return self.refuse_audit(reply, NoAudit::NoAgent);
        };
        if self.audits.len() >= AUDITS {
            return self.refuse_audit(reply, NoAudit::Busy);
        }
        let extended = |key: &_| {
            self.shard.machine(*key).and_then(ServerView::dialect) == Some(Dialect::Extended)
        };
        let query = uuid::Uuid::new_v4().to_string();
        let asked = machine.filter(extended).is_some_and(|key| {
            self.shard.send(key, &ServerToAgent::OutputQuery(OutputQuery { query: query.clone() }))
        });
        let audit = PendingAudit { user, agent, held: Vec::new(), reply };
        if !asked {
            let why = "the agent is not connected, or is a legacy one";
            return self.finish_audit(audit, Some(why));
        }
        let _ = self.audits.insert(query.clone(), audit);
        self.answers.spawn(async move {
            tokio::time::sleep(PATIENCE).await;
            Answer::AuditOverdue { query }
        });
    }

    pub(super) fn on_audit_overdue(&mut self, query: &str) {
        if let Some(audit) = self.audits.remove(query) {
            self.counters.count("audits_unanswered");
            let why = "the agent did not answer within 5 s; it may be of an earlier version";
            self.finish_audit(audit, Some(why));
        }
    }

    pub(super) fn on_audited(&mut self, from: &Sender, state: OutputState) {
        let Some(query) = &state.query else { return };
        let Some(audit) = self.audits.get_mut(query).filter(|a| a.agent == from.agent) else {
            debug!(agent = %from.agent, "an agent answers an audit that is over");
            return;
        };
        let room = STREAMS.saturating_sub(audit.held.len());
        audit.held.extend(state.streams.into_iter().take(room));
        if !state.more
            && let Some(audit) = self.audits.remove(query)
        {
            self.finish_audit(audit, None);
        }
    }

    fn refuse_audit(&self, reply: AuditReply, why: NoAudit) {
        if reply.send(Err(why)).is_err() {
            self.counters.count("answers_nobody_took");
        }
    }

    fn finish_audit(&mut self, audit: PendingAudit, unheard: Option<&'static str>) {
        let (store, counters) = (self.store.clone(), self.counters.clone());
        self.answers.spawn(async move {
            let PendingAudit { user, agent, held, reply } = audit;
            let report = positions(&store, &user, &agent, &held)
                .await
                .map(|stored| balance(&held, stored, unheard))
                .map_err(NoAudit::from);
            if reply.send(report).is_err() {
                counters.count("answers_nobody_took");
            }
            Answer::Nothing
        });
    }
}

async fn positions(
    store: &Store,
    user: &UserId,
    agent: &AgentId,
    held: &[HeldStream],
) -> Result<Vec<StreamPosition>, StoreError> {
    let mut stored = store.output_positions_of_agent(user, agent, STREAMS).await?;
    let mut others: Vec<_> = held
        .iter()
        .map(|held| held.command_id.clone())
        .filter(|command| stored.iter().all(|p| p.command != *command))
        .collect();
    others.dedup();
    stored.extend(store.output_positions(user, others).await?);
    Ok(stored)
}

fn balance(
    held: &[HeldStream],
    stored: Vec<StreamPosition>,
    unheard: Option<&'static str>,
) -> AuditReport {
    type Ends = (Option<StreamState>, Option<StreamPosition>);
    let mut all: BTreeMap<(Run, Stream), Ends> = BTreeMap::new();
    for position in stored {
        let run = Run { command: position.command.clone(), incarnation: position.incarnation };
        let stream = position.stream;
        all.entry((run, stream)).or_default().1 = Some(position);
    }
    for held in held {
        let run = Run { command: held.command_id.clone(), incarnation: held.incarnation };
        let stream = held.stream_type.stream();
        let state = StreamState {
            run: run.clone(),
            stream,
            produced: held.produced,
            stored: held.stored,
            gaps: held.gaps,
        };
        all.entry((run, stream)).or_default().0 = Some(state);
    }
    let streams: Vec<AuditedStream> = all
        .into_iter()
        .map(|((run, stream), (held, stored))| {
            let committed = stored.as_ref().map(|p| CommittedState {
                committed: p.committed,
                delivered: p.delivered,
                gaps: p.gaps,
            });
            let account = Account::of(held.as_ref(), committed);
            AuditedStream {
                command_id: run.command.to_string(),
                incarnation: run.incarnation.0,
                stream: stream.as_str().to_owned(),
                produced: account.produced,
                delivered: account.delivered,
                spooled: account.spooled,
                gaps: account.gaps,
                unaccounted: account.unaccounted,
                open_gap: stored
                    .and_then(|p| p.open_gap)
                    .map(GapCause::as_str)
                    .map(ToOwned::to_owned),
            }
        })
        .collect();
    AuditReport {
        agent_heard: unheard.is_none(),
        because: unheard.map(ToOwned::to_owned),
        balanced: streams.iter().all(|s| s.unaccounted == 0),
        streams,
    }
}
