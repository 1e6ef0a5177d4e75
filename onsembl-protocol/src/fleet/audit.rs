//! Audits: what an agent says that it holds against what is stored.
//!
//! The agent is asked first, so that what moves on meanwhile only moves towards the store.

use super::action::{Answer, Question, Token};
use super::event::StoreFault;
use super::note::FleetNote;
use super::report::{AuditReport, AuditedStream};
use super::resume::cost_of;
use super::row::StreamPosition;
use super::state::State;
use crate::id::{AgentId, CommandId};
use crate::model::{Dialect, Keeping};
use crate::output::{Account, GapCause, Run, Stream, StreamState};
use crate::time::{Deadline, Now, Timestamp};
use crate::wire::ServerToAgent;
use crate::wire::payload::{ErrorCode, ErrorReply, OutputQuery, OutputState, ReportedStream};
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

/// How long an agent may take to say what it holds.
const PATIENCE: Duration = Duration::from_secs(5);
/// Streams of one audit: the newest that are stored, and as many that the agent holds.
const STREAMS: usize = 4096;

/// Audits in progress.
#[derive(Debug, Default)]
pub(super) struct Audits {
    pending: BTreeMap<String, Audit>,
    /// What agents have said for them.
    bytes: usize,
}

#[derive(Debug)]
struct Audit {
    token: Token,
    agent: AgentId,
    reported: Vec<ReportedStream>,
    /// Bytes of `reported`.
    said: usize,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The agent is asked.
    Asked { until: Timestamp },
    /// The store is asked. Why the agent was not heard, if it was not.
    Reading { unheard: Option<&'static str> },
}

impl Audits {
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn deadline(&self) -> Deadline {
        let until = self.pending.values().filter_map(|audit| match audit.stage {
            Stage::Asked { until } => Some(Deadline::At(until)),
            Stage::Reading { .. } => None,
        });
        until.fold(Deadline::Never, Deadline::min)
    }

    /// A user wants an audit.
    pub(super) fn on_request(&mut self, state: &mut State, token: Token, agent: AgentId, now: Now) {
        if state.roster.agent(&agent).is_none() {
            return refuse(state, token, ErrorCode::AgentNotFound, "no agent of yours has this id");
        }
        if self.pending.len() >= state.limits.audits {
            let why = "too many audits are in progress; try again later";
            return refuse(state, token, ErrorCode::QueueFull, why);
        }
        let query = state.ids.query(now.wall);
        let session = state.roster.session(&agent);
        let seat =
            session.filter(|(_, session)| session.capabilities.dialect() == Dialect::Extended);
        let stage = match seat.map(|(seat, _)| seat) {
            Some(seat) => {
                let ask = OutputQuery { query: query.clone() };
                state.out.send(seat, ServerToAgent::OutputQuery(ask));
                Stage::Asked { until: now.monotonic.saturating_add(PATIENCE) }
            }
            None => {
                Stage::Reading { unheard: Some("the agent is not connected, or is a legacy one") }
            }
        };
        let reads = matches!(stage, Stage::Reading { .. });
        let audit = Audit { token, agent, reported: Vec::new(), said: 0, stage };
        let _ = self.pending.insert(query.clone(), audit);
        if reads {
            self.read(state, &query);
        }
    }

    /// An agent says what it holds, because it was asked.
    pub(super) fn on_answer(&mut self, state: &mut State, agent: &AgentId, reported: OutputState) {
        let Some(query) = reported.query else { return };
        // An answer counts only from the agent that was asked, and once: the rest of the balance is the store's.
        let audit = self.pending.get_mut(&query).filter(|audit| audit.agent == *agent);
        let Some(audit) = audit.filter(|audit| matches!(audit.stage, Stage::Asked { .. })) else {
            return state.out.note(FleetNote::AuditAnsweredLate { agent: agent.clone() });
        };
        let mut streams = reported.streams;
        streams.truncate(STREAMS.saturating_sub(audit.reported.len()));
        let bytes = self.bytes.saturating_add(cost_of(&streams));
        if bytes > state.limits.audit_bytes {
            let why = "audits in progress hold too much memory; try again later";
            let Some(audit) = self.take(&query) else { return };
            return refuse(state, audit.token, ErrorCode::QueueFull, why);
        }
        self.bytes = bytes;
        audit.said = audit.said.saturating_add(cost_of(&streams));
        audit.reported.extend(streams);
        if !reported.more {
            audit.stage = Stage::Reading { unheard: None };
            self.read(state, &query);
        }
    }

    pub(super) fn on_time(&mut self, state: &mut State, now: Now) {
        let is_late = |audit: &Audit| match audit.stage {
            Stage::Asked { until } => until <= now.monotonic,
            Stage::Reading { .. } => false,
        };
        let late: Vec<String> =
            self.pending.iter().filter(|(_, a)| is_late(a)).map(|(q, _)| q.clone()).collect();
        for query in late {
            let Some(audit) = self.pending.get_mut(&query) else { continue };
            let why = "the agent did not answer within 5 s; it may be an older version";
            audit.stage = Stage::Reading { unheard: Some(why) };
            // What is stored is worth reporting without the agent; the report says that it was not heard.
            state.out.note(FleetNote::AuditUnanswered { agent: audit.agent.clone() });
            self.read(state, &query);
        }
    }

    fn take(&mut self, query: &str) -> Option<Audit> {
        let audit = self.pending.remove(query)?;
        self.bytes = self.bytes.saturating_sub(audit.said);
        Some(audit)
    }

    fn read(&self, state: &mut State, query: &str) {
        let Some(audit) = self.pending.get(query) else { return };
        let mut reported: Vec<_> =
            audit.reported.iter().map(|reported| reported.command_id.clone()).collect();
        // The streams of a command come one after another: each command is asked for once.
        reported.dedup();
        state.out.ask(Question::Balance {
            query: query.to_owned(),
            agent: audit.agent.clone(),
            reported,
            limit: STREAMS,
        });
    }

    /// The store has looked.
    pub(super) fn on_positions(
        &mut self,
        state: &mut State,
        query: &str,
        positions: Result<Vec<StreamPosition>, StoreFault>,
        unstored: Vec<CommandId>,
    ) {
        let Some(Audit { token, reported, stage, .. }) = self.take(query) else { return };
        let unheard = match stage {
            Stage::Reading { unheard } => unheard,
            Stage::Asked { .. } => None,
        };
        match positions {
            Ok(positions) => {
                let report = balance(&reported, positions, unstored, unheard);
                state.out.answer(token, Answer::Audited(report));
            }
            Err(fault) => {
                refuse(state, token, ErrorCode::StorageUnavailable, &fault.to_string());
            }
        }
    }
}

fn refuse(state: &mut State, token: Token, code: ErrorCode, why: &str) {
    state.out.reply(token, Err(ErrorReply::new(code, why)));
}

fn balance(
    reported: &[ReportedStream],
    stored: Vec<StreamPosition>,
    unstored: Vec<CommandId>,
    unheard: Option<&'static str>,
) -> AuditReport {
    type Ends = (Option<(StreamState, Keeping)>, Option<StreamPosition>);
    let mut all: BTreeMap<(Run, Stream), Ends> = BTreeMap::new();
    for position in stored {
        let run = Run { command: position.command.clone(), incarnation: position.incarnation };
        let stream = position.stream;
        all.entry((run, stream)).or_default().1 = Some(position);
    }
    for reported in reported {
        let run = Run { command: reported.command_id.clone(), incarnation: reported.incarnation };
        let stream = reported.stream_type.stream();
        let state = StreamState {
            run: run.clone(),
            stream,
            produced: reported.produced,
            stored: reported.stored,
            gaps: reported.gaps,
        };
        let keeping = Keeping::of(reported.unstored);
        all.entry((run, stream)).or_default().0 = Some((state, keeping));
    }
    let streams: Vec<AuditedStream> = all
        .into_iter()
        .map(|((run, stream), (reported, stored))| {
            let (reported, keeping) = reported.unzip();
            let stored_state = stored.as_ref().map(StreamPosition::state);
            let account = match keeping.unwrap_or_default() {
                Keeping::Stored => Account::of(reported.as_ref(), stored_state),
                // What was given away is accounted for by that.
                Keeping::Unstored => Account::of_unstored(reported.as_ref()),
            };
            AuditedStream {
                command_id: run.command.as_str().to_owned(),
                incarnation: run.incarnation.0,
                stream: stream.as_str().to_owned(),
                produced: account.produced,
                delivered: account.delivered,
                spooled: account.spooled,
                gaps: account.gaps,
                unaccounted: account.unaccounted,
                not_kept: account.not_kept,
                open_gap: stored
                    .and_then(|position| position.open_gap)
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
        not_kept: unstored.iter().map(|id| id.as_str().to_owned()).collect(),
    }
}
