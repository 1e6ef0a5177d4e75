//! The length of everything in a message that will be kept or shown.
//!
//! The size of the whole message is bounded already; these bounds keep one field from being all of
//! it. Output content is bounded by the message alone.

use super::message::{AgentToServer, DashboardToServer, ServerToAgent, ServerToDashboard};
use super::payload::{
    AgentConnect, AgentHeartbeat, CommandRequest, Selection, Subscriptions, TerminalInput,
    TerminalOutput,
};
use crate::id::{AgentId, CommandId, HoldId, JournalId, StopId};
use crate::limits::Limits;
use alloc::string::String;
use core::fmt;

/// A field that is longer than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    pub(super) field: &'static str,
    pub(super) limit: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, limit } = self;
        write!(f, "`{field}` is longer than {limit}")
    }
}

/// Messages whose fields can be checked against [`Limits`].
pub trait Bounded {
    /// Checks each field that will be kept.
    #[doc(hidden)]
    fn check(&self, limits: &Limits) -> Result<(), TooLong>;
}

type Check = Result<(), TooLong>;

pub(super) fn within(field: &'static str, text: Option<&str>, limit: usize) -> Check {
    match text {
        Some(text) if text.len() > limit => Err(TooLong { field, limit }),
        Some(_) | None => Ok(()),
    }
}

fn list<'a>(
    field: &'static str,
    texts: impl IntoIterator<IntoIter: ExactSizeIterator<Item = &'a String>>,
    limits: &Limits,
    each: usize,
) -> Check {
    let mut texts = texts.into_iter();
    if texts.len() > limits.list_entries {
        return Err(TooLong { field, limit: limits.list_entries });
    }
    texts.try_for_each(|text| within(field, Some(text), each))
}

fn command(id: &CommandId, limits: &Limits) -> Check {
    within("commandId", Some(id.as_str()), limits.name_bytes)
}

fn streams<'a>(
    mut commands: impl ExactSizeIterator<Item = &'a CommandId>,
    limits: &Limits,
) -> Check {
    if commands.len() > limits.list_entries {
        return Err(TooLong { field: "streams", limit: limits.list_entries });
    }
    commands.try_for_each(|id| command(id, limits))
}

fn stop_id(id: Option<&StopId>, limits: &Limits) -> Check {
    within("stopId", id.map(StopId::as_str), limits.name_bytes)
}

fn hold(id: &HoldId, limits: &Limits) -> Check {
    within("holder", Some(id.as_str()), limits.name_bytes)
}

/// How much is typed is bounded where that is decided, with the bytes that wait.
fn input(m: &TerminalInput, limits: &Limits) -> Check {
    command(&m.command_id, limits).and_then(|()| hold(&m.holder, limits))
}

fn agent(id: Option<&AgentId>, limits: &Limits) -> Check {
    within("agentId", id.map(AgentId::as_str), limits.name_bytes)
}

impl Bounded for AgentToServer {
    fn check(&self, limits: &Limits) -> Check {
        match self {
            Self::Connect(m) => hello(m, limits),
            Self::Heartbeat(AgentHeartbeat { agent_id, .. }) => agent(agent_id.as_ref(), limits),
            Self::Fault(m) => within("message", Some(&m.message), limits.command_bytes),
            Self::CommandAck(m) => command(&m.command_id, limits),
            Self::CommandComplete(m) => command(&m.command_id, limits)
                .and_then(|()| within("error", m.error.as_deref(), limits.command_bytes)),
            Self::Output(TerminalOutput { command_id, .. }) => command(command_id, limits),
            Self::OutputGap(m) => command(&m.command_id, limits),
            Self::OutputState(m) => within("query", m.query.as_deref(), limits.name_bytes)
                .and_then(|()| streams(m.streams.iter().map(|s| &s.command_id), limits)),
            Self::StopReceipt(m) => stop_id(Some(&m.stop_id), limits),
            Self::TerminalSize(m) => command(&m.command_id, limits),
            Self::TerminalOpened(m) => command(&m.command_id, limits)
                .and_then(|()| within("program", Some(&m.program), limits.command_bytes)),
            Self::TerminalInputState(m) => command(&m.command_id, limits)
                .and_then(|()| hold(&m.holder, limits))
                .and_then(|()| within("refused", m.refused.as_deref(), limits.command_bytes))
                .and_then(|()| within("notice", m.notice.as_deref(), limits.command_bytes)),
            Self::Activity(m) => m.command_id.as_ref().map_or(Ok(()), |id| command(id, limits)),
            // Its entries are bounded as they are read.
            Self::BlackBox(_)
            | Self::Trace(_)
            | Self::Report(_)
            | Self::Ping(_)
            | Self::Pong(_) => Ok(()),
            Self::Unknown(kind) => within("type", Some(kind), limits.name_bytes),
        }
    }
}

impl Bounded for ServerToAgent {
    fn check(&self, limits: &Limits) -> Check {
        match self {
            Self::Ack(m) => agent(m.agent_id.as_ref(), limits).and_then(|()| {
                stop_id(m.extensions.as_ref().and_then(|w| w.stopped.as_ref()), limits)
            }),
            Self::Error(m) => within("message", Some(&m.message), limits.command_bytes),
            Self::CommandRequest(m) => request(m, limits),
            Self::CommandText(m) => command(&m.command_id, limits),
            Self::CommandCancel(m) => command(&m.command_id, limits),
            Self::OutputAck(m) => command(&m.command_id, limits),
            Self::OutputCredit(m) => command(&m.command_id, limits),
            Self::OutputResume(m) => streams(m.streams.iter().map(|s| &s.command_id), limits),
            Self::OutputQuery(m) => within("query", Some(&m.query), limits.name_bytes),
            Self::Control(m) => agent(m.agent_id.as_ref(), limits),
            Self::EmergencyStop(m) => within("reason", m.reason.as_deref(), limits.command_bytes)
                .and_then(|()| stop_id(m.stop_id.as_ref(), limits)),
            Self::StopRelease(m) => stop_id(Some(&m.stop_id), limits),
            Self::TerminalInput(m) => input(m, limits),
            Self::Heartbeat(_)
            | Self::BlackBoxAck(_)
            | Self::Ping(_)
            | Self::Pong(_)
            | Self::TokenRefresh(_) => Ok(()),
            Self::Unknown(kind) => within("type", Some(kind), limits.name_bytes),
        }
    }
}

impl Bounded for DashboardToServer {
    fn check(&self, limits: &Limits) -> Check {
        match self {
            Self::Init(m) => subscriptions(&m.subscriptions, limits),
            Self::Subscribe(m) | Self::Unsubscribe(m) => {
                within("id", m.id.as_deref(), limits.name_bytes)
            }
            Self::CommandRequest(m) => request(m, limits),
            Self::CommandText(m) => command(&m.command_id, limits),
            Self::CommandCancel(m) => command(&m.command_id, limits)
                .and_then(|()| within("reason", m.reason.as_deref(), limits.command_bytes)),
            Self::Control(m) => agent(m.agent_id.as_ref(), limits)
                .and_then(|()| within("reason", m.reason.as_deref(), limits.command_bytes)),
            Self::EmergencyStop(m) => within("reason", m.reason.as_deref(), limits.command_bytes)
                .and_then(|()| {
                    list("affectedAgents", &m.affected_agents, limits, limits.name_bytes)
                }),
            Self::StopRelease(m) => agent(m.agent_id.as_ref(), limits),
            Self::KeyboardTake(m) => command(&m.command_id, limits)
                .and_then(|()| within("name", Some(&m.name), limits.name_bytes)),
            Self::KeyboardRelease(m) => {
                command(&m.command_id, limits).and_then(|()| hold(&m.holder, limits))
            }
            Self::TerminalInput(m) => input(m, limits),
            Self::OutputTaken(m) => command(&m.command_id, limits),
            Self::Ping(_) | Self::Pong(_) | Self::TokenRefresh(_) => Ok(()),
            Self::Unknown(kind) => within("type", Some(kind), limits.name_bytes),
        }
    }
}

/// A dashboard trusts its server for lengths; what it keeps is bounded by the message.
impl Bounded for ServerToDashboard {
    fn check(&self, _: &Limits) -> Check {
        Ok(())
    }
}

fn hello(m: &AgentConnect, limits: &Limits) -> Check {
    let name = limits.name_bytes;
    within("agentId", Some(&m.agent_id), name)?;
    within("name", m.name.as_deref(), name)?;
    within("agentType", Some(m.agent_type.as_str()), name)?;
    within("version", m.version.as_deref(), name)?;
    within("hostMachine", m.host_machine.as_deref(), name)?;
    list("capabilities", &m.capabilities.words, limits, name)?;
    let Some(ext) = &m.extensions else { return Ok(()) };
    within("agentKey", Some(ext.agent_key.as_str()), name)?;
    within("instance", Some(ext.instance.as_str()), name)?;
    within("journal", ext.journal.as_ref().map(JournalId::as_str), name)?;
    if ext.features.len() > limits.list_entries || ext.commands.len() > limits.list_entries {
        return Err(TooLong { field: "extensions", limit: limits.list_entries });
    }
    stop_id(ext.stop_id.as_ref(), limits)?;
    ext.commands.iter().try_for_each(|id| command(id, limits))
}

fn request(m: &CommandRequest, limits: &Limits) -> Check {
    within("command", Some(&m.text), limits.command_bytes)?;
    within("commandId", m.command_id.as_ref().map(CommandId::as_str), limits.name_bytes)?;
    agent(m.agent_id.as_ref(), limits)?;
    within("workingDirectory", m.working_directory.as_deref(), limits.command_bytes)?;
    list("args", &m.args, limits, limits.command_bytes)?;
    if m.env.len() > limits.list_entries {
        return Err(TooLong { field: "env", limit: limits.list_entries });
    }
    m.env.iter().try_for_each(|(key, value)| {
        within("env", Some(key), limits.name_bytes)?;
        within("env", Some(value), limits.command_bytes)
    })
}

fn subscriptions(s: &Subscriptions, limits: &Limits) -> Check {
    for selection in [&s.agents, &s.commands] {
        match selection {
            Selection::Only(ids) => list("subscriptions", ids, limits, limits.name_bytes)?,
            Selection::None | Selection::All => {}
        }
    }
    Ok(())
}
