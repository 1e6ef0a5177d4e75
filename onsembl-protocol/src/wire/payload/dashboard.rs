//! What dashboards say and what they receive about agents.

use super::activity::AgentActivity;
use super::control::AgentStopped;
use super::heartbeat::HealthMetrics;
use super::hello::{AgentType, LegacyCapabilities};
use super::output::StreamType;
use crate::id::{AgentId, ByteOffset, Incarnation, PresenceVersion, ServerInstanceId, UserId};
use crate::model::lenient::{self};
use crate::model::{Confidence, Evidence, Feature, Selection, Subscriptions, wire_enum};
use crate::time::WallTime;
use alloc::string::String;
use alloc::vec::Vec;
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};

/// What a dashboard, or the server to it, says beyond the legacy protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DashboardExtensions {
    /// What the sender can do.
    pub features: Vec<Feature>,
    /// The server process, when the server speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_instance: Option<ServerInstanceId>,
}

/// `DASHBOARD_INIT`: the first message of a dashboard on every link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DashboardInit {
    /// Must be the token's user, if said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// What it wants to see.
    #[serde(deserialize_with = "lenient::or_default")]
    pub subscriptions: Subscriptions,
    /// Present if it speaks the extensions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extensions: Option<DashboardExtensions>,
}

wire_enum! {
    /// What a subscription is about.
    #[allow(missing_docs, reason = "the names say all")]
    pub enum SubscriptionKind {
        Agent = "agent" | "agents",
        Command = "command" | "commands",
        Trace = "trace" | "traces",
        Terminal = "terminal" | "terminals",
    }
}

wire_enum! {
    /// What a viewer wants that cannot keep up with a terminal.
    pub enum ViewMode {
        /// All of the output, however late.
        Whole = "whole",
        /// The present: it says what it has shown, and is told when it is far behind.
        Live = "live",
    }
}

/// `DASHBOARD_SUBSCRIBE` and `DASHBOARD_UNSUBSCRIBE`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Subscription {
    #[serde(rename = "type")]
    pub kind: SubscriptionKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub all: bool,
    /// With a command: its stored output first, from here. Extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
    /// With a terminal: whether all of it is wanted, which is so if it is not said. Extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<ViewMode>,
}

/// From where stored output is wanted. Records of other streams, and bytes before the offset, may
/// come with it; their positions tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Replay {
    /// The process; the first if it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Incarnation>,
    /// The stream of the offset; standard output if it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_type: Option<StreamType>,
    pub offset: ByteOffset,
}

impl Subscription {
    /// Applies a subscribe.
    pub fn apply_to(&self, subscriptions: &mut Subscriptions) {
        match self.kind {
            SubscriptionKind::Agent => self.select(&mut subscriptions.agents),
            SubscriptionKind::Command => self.select(&mut subscriptions.commands),
            SubscriptionKind::Trace => subscriptions.traces = true,
            SubscriptionKind::Terminal => subscriptions.terminals = true,
            SubscriptionKind::Unknown(_) => {}
        }
    }

    /// Applies an unsubscribe.
    pub fn remove_from(&self, subscriptions: &mut Subscriptions) {
        match self.kind {
            SubscriptionKind::Agent => self.deselect(&mut subscriptions.agents),
            SubscriptionKind::Command => self.deselect(&mut subscriptions.commands),
            SubscriptionKind::Trace => subscriptions.traces = false,
            SubscriptionKind::Terminal => subscriptions.terminals = false,
            SubscriptionKind::Unknown(_) => {}
        }
    }

    fn select(&self, selection: &mut Selection) {
        match &self.id {
            Some(id) if !self.all => selection.add(id),
            Some(_) | None => *selection = Selection::All,
        }
    }

    fn deselect(&self, selection: &mut Selection) {
        match &self.id {
            Some(id) if !self.all => selection.remove(id),
            Some(_) | None => *selection = Selection::None,
        }
    }
}

/// Existing servers send words here, and there the object that the agent sent them.
fn capability_words<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    LegacyCapabilities::deserialize(d).map(|capabilities| capabilities.to_words())
}

/// One agent as dashboards list it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct AgentSummary {
    pub agent_id: AgentId,
    pub name: String,
    /// What runs behind it.
    #[serde(rename = "type")]
    pub agent_type: AgentType,
    /// Its status, in the words this dashboard understands.
    pub status: String,
    /// Version of its program.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub version: String,
    /// What it can do.
    #[serde(default, deserialize_with = "capability_words")]
    pub capabilities: Vec<String>,
    /// Its latest heartbeat.
    #[serde(
        default,
        deserialize_with = "lenient::time",
        serialize_with = "lenient::write_rfc3339"
    )]
    pub last_heartbeat: Option<WallTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<HealthMetrics>,
}

/// `DASHBOARD_CONNECTED`: the agents of the user, or those that are new since the last one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DashboardConnected {
    /// The agents. A dashboard adds and updates, and removes none.
    pub agents: Vec<AgentSummary>,
    /// The server's clock.
    #[serde(default, deserialize_with = "lenient::time", serialize_with = "lenient::write_millis")]
    pub timestamp: Option<WallTime>,
    /// Present for a dashboard that speaks the extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<DashboardExtensions>,
}

/// `AGENT_CONNECTED`: lets a legacy dashboard make its terminal tab.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct AgentConnected {
    pub agent_id: AgentId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_name: Option<String>,
    /// What runs behind it.
    pub agent_type: AgentType,
    /// Version of its program.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub version: String,
    /// Name of its machine.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub host_machine: String,
    /// What it can do.
    #[serde(default, deserialize_with = "capability_words")]
    pub capabilities: Vec<String>,
    /// The server's clock.
    #[serde(default, deserialize_with = "lenient::time", serialize_with = "lenient::write_millis")]
    pub timestamp: Option<WallTime>,
}

/// `AGENT_STATUS`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct AgentStatus {
    pub agent_id: AgentId,
    /// Its status, in the words this dashboard understands.
    pub status: String,
    /// `IDLE` or `PROCESSING`.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub activity_state: String,
    #[serde(default)]
    pub queued_commands: u64,
    /// When it was last heard. Always a time for an agent that is online: a legacy dashboard turns
    /// an agent without one, or with one older than two minutes, offline.
    #[serde(
        default,
        deserialize_with = "lenient::time",
        serialize_with = "lenient::write_rfc3339"
    )]
    pub last_ping: Option<WallTime>,
    /// Since when the status holds. Extension.
    #[serde(
        default,
        deserialize_with = "lenient::time",
        serialize_with = "lenient::write_rfc3339",
        skip_serializing_if = "Option::is_none"
    )]
    pub since: Option<WallTime>,
    /// Why. Extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// Of two statuses of an agent the one with the greater version holds. Extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence_version: Option<PresenceVersion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_metrics: Option<HealthMetrics>,
    /// The emergency stop in force. Extension, with `stop-latch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<AgentStopped>,
    /// It starts nothing, by order, until an order to resume. Extension.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "core::ops::Not::not"
    )]
    pub paused: bool,
    /// Why it is where it is. Extension, with `presence-why`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<PresenceWhy>,
    /// What its program does. Extension, with `activity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<AgentActivity>,
}

/// A presence explained, beside `status`, `since` and `because`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PresenceWhy {
    /// How sure it is that `because` is the whole reason.
    pub confidence: Confidence,
    /// What that rests on.
    #[serde(default, skip_serializing_if = "Evidence::is_empty")]
    pub evidence: Evidence,
    /// The status that comes next, if nothing but time happens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_state: Option<String>,
    /// When, at the earliest, as of `lastPing`.
    #[serde(
        default,
        deserialize_with = "lenient::time",
        serialize_with = "lenient::write_rfc3339",
        skip_serializing_if = "Option::is_none"
    )]
    pub next_change_at: Option<WallTime>,
    /// The time in which it was missing lately and is proven to have slept: what was shown of it then was no fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slept: Option<SleptSpan>,
}

/// When an agent slept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub struct SleptSpan {
    #[serde(deserialize_with = "lenient::time", serialize_with = "lenient::write_rfc3339")]
    pub from: Option<WallTime>,
    #[serde(deserialize_with = "lenient::time", serialize_with = "lenient::write_rfc3339")]
    pub until: Option<WallTime>,
}

/// `AGENT_DISCONNECT`, with the real reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct AgentDisconnect {
    pub agent_id: AgentId,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub reason: String,
    /// The server's clock.
    #[serde(default, deserialize_with = "lenient::time", serialize_with = "lenient::write_millis")]
    pub timestamp: Option<WallTime>,
}
