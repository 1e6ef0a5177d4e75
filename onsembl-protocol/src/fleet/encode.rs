//! What a view shows, in the words that a dashboard understands.

use super::agent_view::{AgentStop, AgentView};
use super::view::CommandEntry;
use crate::command::{CommandStage, CommandView, Exit};
use crate::id::{AgentId, CommandId, InputSequence};
use crate::session::{PresenceStatus, ServerConfig};
use crate::terminal::KeyboardView;
use crate::time::WallTime;
use crate::wire::payload::{
    AgentActivity, AgentConnected, AgentDisconnect, AgentStatus, AgentStopped, AgentSummary,
    AgentType, CommandComplete, CommandPhase, CommandStatus, HealthMetrics, KeyboardState,
    PresenceWhy, SleptSpan,
};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;

/// The word for a status: the API's for a dashboard with extensions, the nearest that it knows for
/// a legacy one.
fn status_name(status: PresenceStatus, extended: bool) -> &'static str {
    if extended { status.as_str() } else { status.legacy() }
}

/// The word for a status in a list of agents, where legacy dashboards expect the database's.
fn listed(status: PresenceStatus) -> &'static str {
    match status {
        PresenceStatus::Online | PresenceStatus::Stale => "CONNECTED",
        PresenceStatus::Connecting | PresenceStatus::TimedOut | PresenceStatus::Reconnecting => {
            "CONNECTING"
        }
        PresenceStatus::Offline => "DISCONNECTED",
        PresenceStatus::Error => "ERROR",
    }
}

pub(super) fn summary(id: &AgentId, agent: &AgentView, extended: bool) -> AgentSummary {
    let status = agent.presence.status;
    AgentSummary {
        agent_id: id.clone(),
        name: agent.name.clone(),
        agent_type: AgentType::parse(&agent.agent_type),
        status: if extended { status.as_str() } else { listed(status) }.to_owned(),
        version: agent.version.clone(),
        capabilities: agent.capabilities.clone(),
        last_heartbeat: agent.last_heard,
        metrics: metrics(agent, extended),
    }
}

/// The metrics of an agent, under the names and in the units that a dashboard reads.
fn metrics(agent: &AgentView, extended: bool) -> Option<HealthMetrics> {
    let metrics = agent.metrics?;
    Some(if extended { metrics } else { metrics.for_legacy_dashboards() })
}

pub(super) fn status(id: &AgentId, agent: &AgentView, busy: bool, extended: bool) -> AgentStatus {
    let presence = &agent.presence;
    AgentStatus {
        agent_id: id.clone(),
        status: status_name(presence.status, extended).to_owned(),
        activity_state: if busy { "PROCESSING" } else { "IDLE" }.to_owned(),
        queued_commands: 0,
        last_ping: agent.last_heard,
        since: Some(presence.since),
        because: Some(agent.because()),
        presence_version: Some(presence.version),
        health_metrics: metrics(agent, extended),
        stopped: None,
        paused: extended && agent.pausing.is_paused(),
        explanation: None,
        activity: None,
    }
}

/// What its program does; `None` if nothing is known of it.
pub(super) fn activity(agent: &AgentView) -> Option<AgentActivity> {
    agent.activity.as_deref().map(|activity| AgentActivity::of(activity, None))
}

/// Why an agent is where it is, beside what its status says.
pub(super) fn explanation(agent: &AgentView, rules: &ServerConfig) -> PresenceWhy {
    let told = agent.explain(rules);
    PresenceWhy {
        confidence: told.confidence,
        evidence: told.evidence,
        next_state: told.next_state.map(|state| state.as_str().to_owned()),
        next_change_at: told.next_change_at,
        slept: agent
            .slept
            .map(|slept| SleptSpan { from: Some(slept.from), until: Some(slept.until) }),
    }
}

pub(super) fn stopped(stop: &AgentStop) -> AgentStopped {
    let AgentStop { order, state } = stop;
    AgentStopped {
        stop_id: order.id.clone(),
        all: order.scope.agent().is_none(),
        by: order.by.as_str().to_owned(),
        at: Some(order.at),
        reason: order.reason.clone(),
        state: state.progress(),
    }
}

pub(super) fn connected(id: &AgentId, agent: &AgentView, now: WallTime) -> AgentConnected {
    AgentConnected {
        agent_id: id.clone(),
        agent_name: Some(agent.name.clone()),
        agent_type: AgentType::parse(&agent.agent_type),
        version: agent.version.clone(),
        host_machine: agent.host.clone(),
        capabilities: agent.capabilities.clone(),
        timestamp: Some(now),
    }
}

pub(super) fn disconnected(id: &AgentId, agent: &AgentView, now: WallTime) -> AgentDisconnect {
    AgentDisconnect {
        agent_id: id.clone(),
        reason: agent.presence.because.clone(),
        timestamp: Some(now),
    }
}

/// The word for a stage. A legacy dashboard compares with those that it knows, and shows a command
/// whose status it does not know as running without end.
fn phase(stage: CommandStage, extended: bool) -> CommandPhase {
    match stage {
        CommandStage::Delivered if !extended => CommandPhase::Queued,
        CommandStage::Cancelling if !extended => CommandPhase::Running,
        CommandStage::Lost if !extended => CommandPhase::Failed,
        // It is over, and no failure was observed: without an exit code, and the reason in text.
        CommandStage::Unknown if !extended => CommandPhase::Completed,
        CommandStage::Pending
        | CommandStage::Queued
        | CommandStage::Delivered
        | CommandStage::Running
        | CommandStage::Cancelling
        | CommandStage::Completed
        | CommandStage::Failed
        | CommandStage::Cancelled
        | CommandStage::Lost
        | CommandStage::Unknown => stage.phase(),
    }
}

pub(super) fn command(
    id: &CommandId,
    entry: &CommandEntry,
    view: &CommandView,
    blocked_by: Option<String>,
    extended: bool,
) -> CommandStatus {
    let phase = phase(view.status, extended);
    let mut because = entry.because(view);
    if let Some(blocked_by) = blocked_by {
        because = format!("{blocked_by}; {because}");
    }
    let failed = match view.status {
        CommandStage::Failed | CommandStage::Lost => true,
        CommandStage::Unknown => extended,
        CommandStage::Pending
        | CommandStage::Queued
        | CommandStage::Delivered
        | CommandStage::Running
        | CommandStage::Cancelling
        | CommandStage::Completed
        | CommandStage::Cancelled => false,
    };
    let (exit_code, signal) = exit_numbers(view.exit);
    CommandStatus {
        command_id: id.clone(),
        agent_id: Some(entry.agent.clone()),
        status: phase,
        error: failed.then(|| because.clone()),
        because: Some(because),
        exit_code,
        signal,
        started_at: view.started_at,
        completed_at: view.ended_at,
    }
}

/// The end of a command, for the terminal tab of a legacy dashboard.
pub(super) fn complete(
    id: &CommandId,
    entry: &CommandEntry,
    view: &CommandView,
) -> CommandComplete {
    let (exit_code, signal) = exit_numbers(view.exit);
    let took = view.started_at.zip(view.ended_at).map(|(from, to)| {
        u64::try_from(to.unix_millis().saturating_sub(from.unix_millis())).unwrap_or(0)
    });
    CommandComplete {
        command_id: id.clone(),
        agent_id: Some(entry.agent.clone()),
        status: phase(view.status, false),
        exit_code: exit_code.or(signal.map(|s| 128 + s)),
        signal,
        duration_ms: took,
        tokens_used: 0,
        error: None,
        timestamp: view.ended_at,
        output: None,
    }
}

fn exit_numbers(exit: Option<Exit>) -> (Option<i32>, Option<i32>) {
    match exit {
        Some(Exit::Code(code)) => (Some(code), None),
        Some(Exit::Signal(signal)) => (None, Some(signal)),
        None => (None, None),
    }
}
/// Who types into a terminal.
pub(super) fn keyboard(id: &CommandId, agent: &AgentId, keyboard: &KeyboardView) -> KeyboardState {
    let state = KeyboardState {
        command_id: id.clone(),
        agent_id: Some(agent.clone()),
        message_id: None,
        holder: None,
        name: String::new(),
        since: None,
        taken: InputSequence(0),
        because: keyboard.because.clone(),
    };
    match &keyboard.hold {
        None => state,
        Some(hold) => KeyboardState {
            holder: Some(hold.hold.clone()),
            name: hold.name.clone(),
            since: Some(hold.since),
            taken: hold.taken,
            ..state
        },
    }
}
