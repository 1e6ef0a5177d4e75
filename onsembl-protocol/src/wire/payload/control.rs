//! Orders to an agent that are no commands, and tokens in transit.

use crate::id::{AgentId, StopId};
use crate::model::lenient;
use crate::model::{StopProgress, StopScope, StopStage, TerminalSize, wire_enum};
use crate::time::WallTime;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};

wire_enum! {
    /// What an `AGENT_CONTROL` asks for.
    #[allow(missing_docs, reason = "the names say all")]
    pub enum ControlAction {
        Stop = "STOP",
        /// End and start it.
        Restart = "RESTART",
        /// Start nothing new.
        Pause = "PAUSE",
        Resume = "RESUME",
        /// Start it (one specification has it; nothing can do it).
        Start = "START",
        /// Make its terminal as large as `size` says. Extension.
        Resize = "RESIZE",
    }
}

/// `AGENT_CONTROL`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct AgentControl {
    /// The agent, when a dashboard asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    pub action: ControlAction,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether to let it finish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graceful_shutdown: Option<bool>,
    /// How long, in milliseconds.
    #[serde(default, deserialize_with = "lenient::count", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// How large, with [`ControlAction::Resize`]. Extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<TerminalSize>,
}

/// `EMERGENCY_STOP`. Everything is optional when reading; everything known is sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names say all")]
pub struct EmergencyStop {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(alias = "initiatedBy", skip_serializing_if = "Option::is_none")]
    pub triggered_by: Option<String>,
    /// When.
    #[serde(
        deserialize_with = "lenient::time",
        serialize_with = "lenient::write_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub timestamp: Option<WallTime>,
    /// Agents that confirmed the stop.
    #[serde(deserialize_with = "lenient::count", skip_serializing_if = "Option::is_none")]
    pub agents_stopped: Option<u64>,
    /// Commands whose cancellation was confirmed.
    #[serde(deserialize_with = "lenient::count", skip_serializing_if = "Option::is_none")]
    pub commands_cancelled: Option<u64>,
    /// The latching order; without one the stop is momentary. Extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_id: Option<StopId>,
    /// Which agents; all if empty.
    #[serde(deserialize_with = "lenient::texts", skip_serializing_if = "Vec::is_empty")]
    pub affected_agents: Vec<String>,
}

/// `STOP_RECEIPT`: how far an agent is with a stop. Extension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct StopReceipt {
    pub stop_id: StopId,
    pub stage: StopStage,
}

/// `STOP_RELEASE`: a stop is not in force any more. Extension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct StopRelease {
    pub stop_id: StopId,
}

/// `STOP_RELEASE` of a dashboard: what it was to release must be said. Extension.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReleaseRequest {
    /// The stop of one agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// Every stop of the user.
    #[serde(deserialize_with = "lenient::or_default", skip_serializing_if = "core::ops::Not::not")]
    pub all: bool,
}

impl ReleaseRequest {
    /// For whom; `None` if it does not say, or says both.
    pub fn scope(self) -> Option<StopScope> {
        match (self.agent_id, self.all) {
            (Some(agent), false) => Some(StopScope::Agent(agent)),
            (None, true) => Some(StopScope::All),
            (Some(_), true) | (None, false) => None,
        }
    }
}

/// The emergency stop in force for an agent, and how far the agent is with it. Extension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct AgentStopped {
    pub stop_id: StopId,
    /// Whether it is for all agents of the user; then only releasing all ends it.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub all: bool,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub by: String,
    /// When.
    #[serde(
        default,
        deserialize_with = "lenient::time",
        serialize_with = "lenient::write_rfc3339",
        skip_serializing_if = "Option::is_none"
    )]
    pub at: Option<WallTime>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub reason: String,
    /// How far the agent is.
    pub state: StopProgress,
}

/// A text that must not be seen: its `Debug` and `Display` hide it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes a text into hiding.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// `TOKEN_REFRESH`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct TokenRefresh {
    pub access_token: Secret,
    /// Its lifetime in seconds; one existing peer sends milliseconds.
    #[serde(
        default,
        deserialize_with = "lenient::lifetime_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub expires_in: Option<u64>,
    /// What to get the next one with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<Secret>,
}
