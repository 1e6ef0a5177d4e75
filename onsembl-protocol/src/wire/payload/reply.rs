//! `ACK` and `ERROR`: the answers both kinds of peer get.

use super::hello::Welcome;
use crate::id::{AgentId, CommandId, MessageId};
use crate::model::{Subscriptions, lenient, wire_enum};
use alloc::string::String;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `ACK`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ack {
    /// The message that is acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// Whether it was done.
    #[serde(default = "yes")]
    pub success: bool,
    /// The connection, as legacy servers name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<String>,
    /// The agent's id. Only in the acknowledgement of a hello; the agent goes by it from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// In the acknowledgement of a hello.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authenticated: Option<bool>,
    /// In the acknowledgement of legacy output.
    #[serde(deserialize_with = "lenient::count", skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// In the acknowledgement of legacy output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<bool>,
    /// In the acknowledgement of a command or of its report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_id: Option<CommandId>,
    /// In the acknowledgement of a subscription: all that is subscribed now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscriptions: Option<Subscriptions>,
    /// The session and its rules, for a peer that speaks the extensions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extensions: Option<Welcome>,
}

fn yes() -> bool {
    true
}

wire_enum! {
    /// What an `ERROR` is about. The set is open.
    #[allow(missing_docs, reason = "the names say all")]
    pub enum ErrorCode {
        /// Token missing, bad, or not this user's.
        Unauthorized = "UNAUTHORIZED" | "AUTH_FAILED",
        /// No hello arrived in time.
        AuthTimeout = "AUTH_TIMEOUT",
        /// Known user, not allowed.
        Forbidden = "FORBIDDEN",
        /// The text could not be decoded.
        InvalidMessage = "INVALID_MESSAGE",
        /// A type that this direction does not have.
        InvalidMessageType = "INVALID_MESSAGE_TYPE",
        UnknownMessageType = "UNKNOWN_MESSAGE_TYPE",
        /// A fault of the server.
        Internal = "INTERNAL_ERROR",
        /// The agent is neither online nor stale.
        AgentOffline = "AGENT_OFFLINE" | "ROUTING_FAILED",
        /// An emergency stop of the agent is in force.
        AgentStopped = "AGENT_STOPPED",
        /// No such agent, or not this user's.
        AgentNotFound = "AGENT_NOT_FOUND",
        /// The request does not say which of several agents it means.
        AgentAmbiguous = "AGENT_AMBIGUOUS",
        /// No such command, or not this user's.
        CommandNotFound = "COMMAND_NOT_FOUND",
        /// A limit of the agent or of the server is reached.
        QueueFull = "QUEUE_FULL",
        /// Another dashboard holds the keyboard, or the sender does not hold it.
        KeyboardHeld = "KEYBOARD_HELD",
        /// The request asks for what this peer or this version cannot do.
        NotSupported = "NOT_SUPPORTED",
        /// The store cannot take it now.
        StorageUnavailable = "STORAGE_UNAVAILABLE",
        /// Another process of the same agent is in session, and answers.
        SessionContested = "SESSION_CONTESTED",
        /// The session could not be opened.
        ConnectionFailed = "CONNECTION_FAILED" | "INIT_FAILED",
    }
}

/// `ERROR`: exactly one for each message that cannot be served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorReply {
    /// What it is about.
    pub code: ErrorCode,
    /// Who is at fault and what to do, for people.
    #[serde(default)]
    pub message: String,
    /// What the request concerned, where legacy dashboards look for it.
    #[serde(default, skip_serializing_if = "ErrorContext::is_empty")]
    pub context: ErrorContext,
    /// More, in any shape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// The message that could not be served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_message_id: Option<MessageId>,
    /// Whether trying again may help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recoverable: Option<bool>,
}

/// What an `ERROR` concerns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ErrorContext {
    /// The command, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_id: Option<CommandId>,
    /// The agent, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
}

impl ErrorContext {
    fn is_empty(&self) -> bool {
        self.command_id.is_none() && self.agent_id.is_none()
    }
}

impl ErrorReply {
    /// An error about nothing in particular.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            context: ErrorContext::default(),
            details: None,
            original_message_id: None,
            recoverable: None,
        }
    }

    /// Names the message that could not be served.
    #[must_use]
    pub fn about(mut self, message: Option<MessageId>) -> Self {
        self.original_message_id = message;
        self
    }

    /// Names the command it is about.
    #[must_use]
    pub fn for_command(mut self, command: Option<CommandId>) -> Self {
        self.context.command_id = command;
        self
    }

    /// Names the agent it is about.
    #[must_use]
    pub fn for_agent(mut self, agent: Option<AgentId>) -> Self {
        self.context.agent_id = agent;
        self
    }
}
