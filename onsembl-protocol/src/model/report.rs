//! The report of a command's end, as it travels and as an agent keeps it.

use super::lenient::{self, Scalar};
use super::{CommandPhase, OutputTotals};
use crate::id::{AgentId, CommandId};
use crate::time::WallTime;
use alloc::string::{String, ToString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `COMMAND_COMPLETE`: a command's process has ended, or never was.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct CommandComplete {
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

impl CommandComplete {
    /// The end of a command, of which nothing else is known.
    ///
    /// ```
    /// use onsembl_protocol::id::CommandId;
    /// use onsembl_protocol::model::{CommandComplete, CommandPhase};
    ///
    /// let mut end = CommandComplete::new(CommandId::new("cmd-1"), CommandPhase::Failed);
    /// end.exit_code = Some(2);
    /// ```
    pub const fn new(command_id: CommandId, status: CommandPhase) -> Self {
        Self {
            command_id,
            agent_id: None,
            status,
            exit_code: None,
            signal: None,
            duration_ms: None,
            tokens_used: 0,
            error: None,
            timestamp: None,
            output: None,
        }
    }
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
