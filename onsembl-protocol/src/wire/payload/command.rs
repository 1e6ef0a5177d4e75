//! A command's way there and its reports' way back.

use super::long_text::LongText;
use crate::id::{AgentId, CommandId, UserId};
use crate::model::lenient::{self, Scalar};
use crate::model::{
    CommandAckStatus, CommandInput, CommandPhase, OfflinePolicy, OpenLine, Priority, SecretEcho,
    TraceContext, TypeIf, WaitsFor, trace,
};
use crate::time::WallTime;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Limits of one execution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecutionConstraints {
    /// Longest run time in milliseconds; none if absent.
    #[serde(deserialize_with = "lenient::count", skip_serializing_if = "Option::is_none")]
    pub time_limit_ms: Option<u64>,
    /// Retries. A command is never run twice, so this is read and not obeyed.
    #[serde(deserialize_with = "lenient::count", skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u64>,
}

/// `COMMAND_REQUEST`, from a dashboard to the server and from the server to an agent.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct CommandRequest {
    /// Minted by the dashboard. A request without one cannot be distinguished from its repetition.
    pub command_id: Option<CommandId>,
    /// The agent; one of the legacy pages does not say.
    pub agent_id: Option<AgentId>,
    /// What to run. Sent as `command` and as `content`, read from either.
    pub text: String,
    /// The text itself, if it is longer than a request takes: it goes before it in pieces, and `text` is its beginning, for
    /// people. `textBytes` on the wire. Extension.
    pub long_text: Option<LongText>,
    pub args: Vec<String>,
    /// Environment on top of the agent's.
    pub env: BTreeMap<String, String>,
    pub working_directory: Option<String>,
    pub priority: Priority,
    pub constraints: ExecutionConstraints,
    /// Milliseconds after which it is not started any more; a day if absent.
    /// Extension.
    pub start_within_ms: Option<u64>,
    /// What if the agent is away; it waits if absent. Extension.
    pub offline: Option<OfflinePolicy>,
    /// What the text is; a text if absent. Extension.
    pub input: Option<CommandInput>,
    /// What it does about a line that was begun at the agent's own terminal; it waits if absent. Extension.
    pub open_line: Option<OpenLine>,
    /// What becomes of a secret where the terminal shows what is typed; it is refused if absent. Extension.
    pub echo: Option<SecretEcho>,
    /// What the program must be doing for it to be typed; anything if absent. `if` on the wire. Extension.
    pub condition: Option<TypeIf>,
    /// Its output is to be relayed to who watches and not stored. Extension.
    pub unstored: bool,
    /// Who asked, on the way to an agent.
    pub user_id: Option<UserId>,
    /// The trace that it is part of. Extension.
    pub trace: Option<TraceContext>,
}

impl CommandRequest {
    /// A plain request.
    ///
    /// ```
    /// use onsembl_protocol::id::{AgentId, CommandId};
    /// use onsembl_protocol::wire::payload::CommandRequest;
    ///
    /// let (command, agent) = (CommandId::new("cmd-1"), AgentId::new("agent-1"));
    /// let mut request = CommandRequest::new(command, agent, "cargo test");
    /// request.working_directory = Some("/src".to_owned());
    /// ```
    pub fn new(command_id: CommandId, agent_id: AgentId, text: impl Into<String>) -> Self {
        Self {
            command_id: Some(command_id),
            agent_id: Some(agent_id),
            text: text.into(),
            long_text: None,
            args: Vec::new(),
            env: BTreeMap::new(),
            working_directory: None,
            priority: Priority::Normal,
            constraints: ExecutionConstraints::default(),
            start_within_ms: None,
            offline: None,
            input: None,
            open_line: None,
            echo: None,
            condition: None,
            unstored: false,
            user_id: None,
            trace: None,
        }
    }
}

impl CommandRequest {
    /// What stands in the place of a secret wherever a request is kept or shown.
    pub(crate) const SECRET: &str = "[secret]";

    /// Whether its text is a secret, here or wherever it came from.
    pub fn is_secret(&self) -> bool {
        self.input == Some(CommandInput::Secret)
    }

    /// The request as it may be kept and shown.
    #[must_use]
    pub(crate) fn without_secret(&self) -> Self {
        let text = if self.is_secret() { Self::SECRET.into() } else { self.text.clone() };
        Self { text, ..self.clone() }
    }
}

impl Serialize for CommandRequest {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Out<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            command_id: &'a Option<CommandId>,
            #[serde(skip_serializing_if = "Option::is_none")]
            agent_id: &'a Option<AgentId>,
            content: &'a str,
            command: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            text_bytes: Option<u64>,
            r#type: &'static str,
            priority: u8,
            args: &'a [String],
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            env: &'a BTreeMap<String, String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            working_directory: &'a Option<String>,
            execution_constraints: &'a ExecutionConstraints,
            #[serde(skip_serializing_if = "Option::is_none")]
            start_within_ms: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            offline: &'a Option<OfflinePolicy>,
            #[serde(skip_serializing_if = "Option::is_none")]
            input: &'a Option<CommandInput>,
            #[serde(skip_serializing_if = "Option::is_none")]
            open_line: &'a Option<OpenLine>,
            #[serde(skip_serializing_if = "Option::is_none")]
            echo: &'a Option<SecretEcho>,
            #[serde(rename = "if", skip_serializing_if = "Option::is_none")]
            condition: &'a Option<TypeIf>,
            #[serde(skip_serializing_if = "core::ops::Not::not")]
            unstored: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            user_id: &'a Option<UserId>,
            #[serde(skip_serializing_if = "Option::is_none")]
            traceparent: Option<TraceContext>,
        }
        Out {
            command_id: &self.command_id,
            agent_id: &self.agent_id,
            content: &self.text,
            command: &self.text,
            text_bytes: self.long_text.as_ref().map(LongText::bytes),
            r#type: "NATURAL",
            // On the scale that goes with `command`: 0 is urgent. "Emergency" has no place on it.
            priority: match self.priority {
                Priority::Emergency | Priority::High => 0,
                Priority::Normal => 5,
                Priority::Low => 10,
            },
            args: &self.args,
            env: &self.env,
            working_directory: &self.working_directory,
            execution_constraints: &self.constraints,
            start_within_ms: self.start_within_ms,
            offline: &self.offline,
            input: &self.input,
            open_line: &self.open_line,
            echo: &self.echo,
            condition: &self.condition,
            unstored: self.unstored,
            user_id: &self.user_id,
            traceparent: self.trace,
        }
        .serialize(s)
    }
}

impl<'de> Deserialize<'de> for CommandRequest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct In<'a> {
            #[serde(default)]
            command_id: Option<CommandId>,
            #[serde(default)]
            agent_id: Option<AgentId>,
            #[serde(default)]
            command: Option<String>,
            #[serde(default)]
            content: Option<String>,
            #[serde(default, deserialize_with = "lenient::count")]
            text_bytes: Option<u64>,
            #[serde(default, rename = "type")]
            kind: Option<String>,
            #[serde(borrow, default)]
            priority: Option<Scalar<'a>>,
            #[serde(default, deserialize_with = "lenient::texts")]
            args: Vec<String>,
            #[serde(default)]
            env: Option<BTreeMap<String, String>>,
            #[serde(default)]
            working_directory: Option<String>,
            #[serde(default)]
            execution_constraints: Option<ExecutionConstraints>,
            #[serde(default, deserialize_with = "lenient::count")]
            start_within_ms: Option<u64>,
            #[serde(default)]
            offline: Option<OfflinePolicy>,
            #[serde(default)]
            input: Option<CommandInput>,
            #[serde(default)]
            open_line: Option<OpenLine>,
            #[serde(default)]
            echo: Option<SecretEcho>,
            #[serde(default, rename = "if")]
            condition: Option<TypeIf>,
            #[serde(default)]
            unstored: Option<bool>,
            #[serde(default)]
            user_id: Option<UserId>,
            #[serde(default, deserialize_with = "trace::read")]
            traceparent: Option<TraceContext>,
        }
        let raw = In::deserialize(d)?;
        let by_page = raw.command.is_some()
            && !raw.kind.as_deref().is_some_and(|k| k.eq_ignore_ascii_case("execute"));
        let text = raw
            .command
            .filter(|t| !t.is_empty())
            .or(raw.content)
            .filter(|t| !t.is_empty())
            .ok_or_else(|| {
                serde::de::Error::custom("neither `command` nor `content` has a text")
            })?;
        Ok(Self {
            command_id: raw.command_id,
            agent_id: raw.agent_id,
            text,
            long_text: raw.text_bytes.map(LongText::Declared),
            args: raw.args,
            env: raw.env.unwrap_or_default(),
            working_directory: raw.working_directory.filter(|d| !d.is_empty()),
            priority: raw.priority.map_or(Priority::Normal, |p| Priority::read(&p, by_page)),
            constraints: raw.execution_constraints.unwrap_or_default(),
            start_within_ms: raw.start_within_ms,
            offline: raw.offline,
            input: raw.input,
            open_line: raw.open_line,
            echo: raw.echo,
            condition: raw.condition,
            unstored: raw.unstored.unwrap_or(false),
            user_id: raw.user_id,
            trace: raw.traceparent,
        })
    }
}

/// `COMMAND_CANCEL`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct CommandCancel {
    pub command_id: CommandId,
    /// The agent, if the sender knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether to skip the grace.
    #[serde(default)]
    pub force: bool,
}

/// `COMMAND_ACK`: an agent took a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct CommandAck {
    pub command_id: CommandId,
    /// The sender's own claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// How far it is.
    pub status: CommandAckStatus,
    /// How many are before it.
    #[serde(default, deserialize_with = "lenient::count", skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<u64>,
    /// What it waits for on its agent, with `typing-waits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<WaitsFor>,
    /// Of a line that it waits for: untouched for so long it is waited for no longer, in ms. With `line-origin`.
    #[serde(default, deserialize_with = "lenient::count", skip_serializing_if = "Option::is_none")]
    pub line_idle_ms: Option<u64>,
    /// It runs, and its output is sent to be relayed and not stored. With `unstored-output`.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub unstored: bool,
}

/// `COMMAND_STATUS`, to dashboards. Status in lower case: existing ones compare it so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct CommandStatus {
    pub command_id: CommandId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// Where it is in its life.
    pub status: CommandPhase,
    /// The reason, shown to people. Always there from our server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// What went wrong, where legacy dashboards look for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Exit code, if it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Signal, if one ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Its output is relayed and not stored. With `unstored-output`.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub unstored: bool,
    /// When it was started.
    #[serde(
        default,
        deserialize_with = "lenient::time",
        serialize_with = "lenient::write_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub started_at: Option<WallTime>,
    /// When it ended.
    #[serde(
        default,
        deserialize_with = "lenient::time",
        serialize_with = "lenient::write_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub completed_at: Option<WallTime>,
}
