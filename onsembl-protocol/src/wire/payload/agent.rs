//! What else an agent reports: faults of its own, traces, reports.

use crate::model::wire_enum;
use alloc::string::String;
use serde::{Deserialize, Serialize};
use serde_json::Value;

wire_enum! {
    /// What kind of fault an agent reports.
    #[allow(missing_docs, reason = "the names say all")]
    pub enum AgentErrorType {
        Connection = "CONNECTION",
        Execution = "EXECUTION",
        /// Out of some resource.
        Resource = "RESOURCE",
        /// It does not know.
        Unspecified = "UNKNOWN",
    }
}

/// `AGENT_ERROR`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentErrorReport {
    /// The kind of fault.
    #[serde(default = "unspecified")]
    pub error_type: AgentErrorType,
    /// A sentence for people.
    #[serde(default)]
    pub message: String,
    /// Whether the agent can continue.
    #[serde(default = "yes")]
    pub recoverable: bool,
    /// More, in any shape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

fn unspecified() -> AgentErrorType {
    AgentErrorType::Unspecified
}

fn yes() -> bool {
    true
}

/// A payload that passes through unread: traces and reports, whose shapes differ between existing
/// peers and which are not used yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Opaque(pub Value);
