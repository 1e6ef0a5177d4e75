//! A command's way there and its reports' way back.

use super::super::lenient::{self, Scalar};
use super::terminal::CommandInput;
use crate::id::{AgentId, ByteOffset, CommandId, Incarnation, UserId};
use crate::model::wire_enum;
use crate::output::Stream;
use crate::time::WallTime;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How urgent a command is.
///
/// Existing peers use five scales, two of them upside down (wire reference, divergence 11). Which
/// one a number is on follows from the shape of the request; inside there is only this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// When nothing else waits.
    Low,
    /// The usual.
    #[default]
    Normal,
    /// Before the usual.
    High,
    /// Before all else.
    Emergency,
}

impl Priority {
    /// Reads a priority by the sender's scale.
    ///
    /// With `low_is_urgent`, 0, 5 and 10 are on the scale of the page that sends `command`, where 0
    /// is urgent; any other number up to 10 is on one where 10 is, and above 10 the scale of the
    /// first specification applies (90, 70, 50, 20).
    fn read(value: &Scalar<'_>, low_is_urgent: bool) -> Self {
        match value {
            Scalar::Text(text) => match text.to_ascii_lowercase().as_str() {
                "low" => Self::Low,
                "high" => Self::High,
                "emergency" | "urgent" | "critical" => Self::Emergency,
                _ => Self::Normal,
            },
            Scalar::Number(n) if *n > 10.0 => match *n {
                n if n >= 80.0 => Self::Emergency,
                n if n >= 60.0 => Self::High,
                n if n >= 35.0 => Self::Normal,
                _ => Self::Low,
            },
            Scalar::Number(n) => {
                let upside_down = low_is_urgent && [0.0, 5.0, 10.0].contains(n);
                match if upside_down { 10.0 - n } else { *n } {
                    n if n >= 8.0 => Self::High,
                    n if n <= 2.0 => Self::Low,
                    _ => Self::Normal,
                }
            }
            Scalar::Null | Scalar::Bool(_) | Scalar::Compound => Self::Normal,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Emergency => "emergency",
        }
    }
}

impl Serialize for Priority {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Priority {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Scalar::deserialize(d).map(|value| Self::read(&value, false))
    }
}

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

wire_enum! {
    /// What is to become of a command whose agent is away.
    pub enum OfflinePolicy {
        /// It waits until the agent is back, or its time to start is over.
        Queue = "queue",
        /// It is refused at once.
        Refuse = "refuse",
    }
}

/// `COMMAND_REQUEST`, from a dashboard to the server and from the server to an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandRequest {
    /// Minted by the dashboard. A request without one cannot be told apart from its repetition.
    pub command_id: Option<CommandId>,
    /// The agent; one of the legacy pages does not say.
    pub agent_id: Option<AgentId>,
    /// What to run. Sent as `command` and as `content`, read from either.
    pub text: String,
    /// Arguments.
    pub args: Vec<String>,
    /// Environment on top of the agent's.
    pub env: BTreeMap<String, String>,
    /// Where to run.
    pub working_directory: Option<String>,
    /// How urgent.
    pub priority: Priority,
    /// Limits.
    pub constraints: ExecutionConstraints,
    /// After so many milliseconds without a start it is not started any more; a day if absent.
    /// Extension.
    pub start_within_ms: Option<u64>,
    /// What if the agent is away; it waits if absent. Extension.
    pub offline: Option<OfflinePolicy>,
    /// What the text is; a text if absent. Extension.
    pub input: Option<CommandInput>,
    /// Who asked, on the way to an agent.
    pub user_id: Option<UserId>,
}

impl CommandRequest {
    /// A plain request.
    pub fn new(command_id: CommandId, agent_id: AgentId, text: impl Into<String>) -> Self {
        Self {
            command_id: Some(command_id),
            agent_id: Some(agent_id),
            text: text.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            working_directory: None,
            priority: Priority::Normal,
            constraints: ExecutionConstraints::default(),
            start_within_ms: None,
            offline: None,
            input: None,
            user_id: None,
        }
    }
}

impl CommandRequest {
    /// Whether nobody asked for it: it stands for a terminal that its agent opened.
    pub fn is_of_terminal(&self) -> bool {
        self.command_id.as_ref().is_some_and(CommandId::is_terminal)
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
            user_id: &'a Option<UserId>,
        }
        Out {
            command_id: &self.command_id,
            agent_id: &self.agent_id,
            content: &self.text,
            command: &self.text,
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
            user_id: &self.user_id,
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
            user_id: Option<UserId>,
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
            args: raw.args,
            env: raw.env.unwrap_or_default(),
            working_directory: raw.working_directory.filter(|d| !d.is_empty()),
            priority: raw.priority.map_or(Priority::Normal, |p| Priority::read(&p, by_page)),
            constraints: raw.execution_constraints.unwrap_or_default(),
            start_within_ms: raw.start_within_ms,
            offline: raw.offline,
            input: raw.input,
            user_id: raw.user_id,
        })
    }
}

/// `COMMAND_CANCEL`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandCancel {
    /// Which command.
    pub command_id: CommandId,
    /// The agent, if the sender knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether to skip the grace.
    #[serde(default)]
    pub force: bool,
}

wire_enum! {
    /// What a `COMMAND_ACK` says.
    pub enum CommandAckStatus {
        /// It arrived.
        Received = "RECEIVED" | "ACKNOWLEDGED",
        /// It waits for others.
        Queued = "QUEUED",
        /// Its process runs.
        Executing = "EXECUTING" | "RUNNING" | "PROCESSING",
    }
}

/// `COMMAND_ACK`: an agent took a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandAck {
    /// Which command.
    pub command_id: CommandId,
    /// The sender's own claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// How far it is.
    pub status: CommandAckStatus,
    /// How many are before it.
    #[serde(default, deserialize_with = "lenient::count", skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<u64>,
}

wire_enum! {
    /// Where a command is in its life, in the words of the wire.
    pub enum CommandPhase {
        /// Not stored yet.
        Pending = "pending",
        /// Stored; waits for its agent, or for its turn.
        Queued = "queued" | "acknowledged" | "received",
        /// The agent has it.
        Delivered = "delivered",
        /// Its process runs.
        Running = "running" | "executing" | "processing",
        /// Somebody wants it gone, and nobody has confirmed that it is.
        Cancelling = "cancelling" | "canceling",
        /// Exit code 0.
        Completed = "completed",
        /// Any other end.
        Failed = "failed",
        /// Cancelled, and confirmed to be gone.
        Cancelled = "cancelled" | "canceled" | "interrupted",
        /// Its agent died while it ran; its processes are confirmed gone.
        Lost = "lost",
        /// It is over for this server, and nobody can say how it ended.
        OutcomeUnknown = "unknown",
    }
}

/// How much a process wrote, as the agent that read it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutputTotals {
    /// The process.
    pub incarnation: Incarnation,
    /// Bytes of standard output.
    pub stdout_bytes: ByteOffset,
    /// Bytes of standard error.
    pub stderr_bytes: ByteOffset,
    /// Bytes of its terminal.
    #[serde(skip_serializing_if = "is_none_written")]
    pub terminal_bytes: ByteOffset,
}

impl OutputTotals {
    /// Bytes of this stream.
    pub const fn of(&self, stream: Stream) -> ByteOffset {
        match stream {
            Stream::Stdout => self.stdout_bytes,
            Stream::Stderr => self.stderr_bytes,
            Stream::Terminal => self.terminal_bytes,
        }
    }
}

fn is_none_written(bytes: &ByteOffset) -> bool {
    bytes.0 == 0
}

/// `COMMAND_COMPLETE`: a command's process is gone, or never was.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandComplete {
    /// Which command.
    pub command_id: CommandId,
    /// The sender's own claim.
    pub agent_id: Option<AgentId>,
    /// `Completed`, `Failed` or `Cancelled`.
    pub status: CommandPhase,
    /// Exit code, if it exited.
    pub exit_code: Option<i32>,
    /// Signal, if one ended it. Extension: a legacy wrapper reports a killed process as code 0.
    pub signal: Option<i32>,
    /// Run time in milliseconds. Sent as `executionTime` and as `duration`.
    pub duration_ms: Option<u64>,
    /// Tokens, if something counted them.
    pub tokens_used: u64,
    /// What went wrong, for people.
    pub error: Option<String>,
    /// When it ended, by the agent's clock.
    pub timestamp: Option<WallTime>,
    /// How much it wrote. Extension.
    pub output: Option<OutputTotals>,
}

impl Serialize for CommandComplete {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Out<'a> {
            command_id: &'a CommandId,
            #[serde(skip_serializing_if = "Option::is_none")]
            agent_id: &'a Option<AgentId>,
            status: String,
            exit_code: Option<i32>,
            #[serde(skip_serializing_if = "Option::is_none")]
            signal: Option<i32>,
            execution_time: u64,
            duration: u64,
            tokens_used: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            error: &'a Option<String>,
            #[serde(
                serialize_with = "lenient::write_millis",
                skip_serializing_if = "Option::is_none"
            )]
            timestamp: Option<WallTime>,
            #[serde(skip_serializing_if = "Option::is_none")]
            output: Option<OutputTotals>,
        }
        let duration = self.duration_ms.unwrap_or(0);
        Out {
            command_id: &self.command_id,
            agent_id: &self.agent_id,
            status: self.status.as_str().to_ascii_uppercase(),
            exit_code: self.exit_code,
            signal: self.signal,
            execution_time: duration,
            duration,
            tokens_used: self.tokens_used,
            error: &self.error,
            timestamp: self.timestamp,
            output: self.output,
        }
        .serialize(s)
    }
}

impl<'de> Deserialize<'de> for CommandComplete {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct In<'a> {
            command_id: CommandId,
            #[serde(default)]
            agent_id: Option<AgentId>,
            #[serde(default)]
            status: Option<CommandPhase>,
            #[serde(default, deserialize_with = "lenient::number")]
            exit_code: Option<f64>,
            #[serde(default, deserialize_with = "lenient::number")]
            signal: Option<f64>,
            #[serde(default, deserialize_with = "lenient::count")]
            execution_time: Option<u64>,
            #[serde(default, deserialize_with = "lenient::count")]
            duration: Option<u64>,
            #[serde(default, deserialize_with = "lenient::count")]
            tokens_used: Option<u64>,
            #[serde(borrow, default)]
            error: Option<Scalar<'a>>,
            #[serde(default, deserialize_with = "lenient::time")]
            timestamp: Option<WallTime>,
            #[serde(default)]
            output: Option<OutputTotals>,
        }
        let raw = In::deserialize(d)?;
        let exit_code = raw.exit_code.map(|n| n as i32);
        Ok(Self {
            command_id: raw.command_id,
            agent_id: raw.agent_id,
            status: raw.status.unwrap_or(match exit_code {
                Some(0) => CommandPhase::Completed,
                Some(_) | None => CommandPhase::Failed,
            }),
            exit_code,
            signal: raw.signal.map(|n| n as i32),
            duration_ms: raw.execution_time.or(raw.duration),
            tokens_used: raw.tokens_used.unwrap_or(0),
            error: match raw.error {
                Some(Scalar::Text(text)) => Some(text.into_owned()),
                Some(Scalar::Compound) => Some("an error in a shape of its own".to_string()),
                Some(Scalar::Null | Scalar::Bool(_) | Scalar::Number(_)) | None => None,
            },
            timestamp: raw.timestamp,
            output: raw.output,
        })
    }
}

/// `COMMAND_STATUS`, to dashboards. Status in lower case: existing ones compare it so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandStatus {
    /// Which command.
    pub command_id: CommandId,
    /// Where it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// Where it is in its life.
    pub status: CommandPhase,
    /// Why, for people. Always there from our server.
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
