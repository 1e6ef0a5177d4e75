//! Heartbeats of both directions, and the JSON probes of legacy peers.

use crate::id::{AgentId, BeatSequence};
use crate::model::Hop;
use crate::model::lenient::{self, NextBeat, Scalar};
use crate::time::WallTime;
use alloc::string::String;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The latest heartbeat of the other direction that the sender saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct SeenBeat {
    pub sequence: BeatSequence,
    /// How long ago it came.
    pub age_ms: u64,
}

/// `AGENT_HEARTBEAT`: once an interval, whatever else is sent. `A` is how it holds the agent's id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, bound(deserialize = "A: Deserialize<'de>"))]
pub struct AgentHeartbeat<A = AgentId> {
    /// The sender's own claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<A>,
    /// How its machine does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_metrics: Option<HealthMetrics>,
    /// Number of this beat in its session. Absent from peers without the feature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<BeatSequence>,
    /// The server's latest beat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<SeenBeat>,
    /// It starts nothing, by order, until an order to resume. Extension.
    #[serde(deserialize_with = "lenient::or_default", skip_serializing_if = "core::ops::Not::not")]
    pub paused: bool,
}

impl<A: AsRef<str>> AgentHeartbeat<A> {
    /// The heartbeat, holding its own id.
    pub fn into_owned(self) -> AgentHeartbeat {
        AgentHeartbeat {
            agent_id: self.agent_id.map(AgentId::new),
            health_metrics: self.health_metrics,
            sequence: self.sequence,
            seen: self.seen,
            paused: self.paused,
        }
    }
}

impl<A> Default for AgentHeartbeat<A> {
    fn default() -> Self {
        Self { agent_id: None, health_metrics: None, sequence: None, seen: None, paused: false }
    }
}

/// How an agent's machine does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct HealthMetrics {
    /// Processor use of the host in percent.
    #[serde(deserialize_with = "lenient::number", alias = "cpu_usage")]
    pub cpu_usage: Option<f64>,
    /// Memory of the agent process in MiB.
    #[serde(deserialize_with = "lenient::number", alias = "memory_usage")]
    pub memory_usage: Option<f64>,
    /// Uptime of the agent process in seconds (an older wrapper sends milliseconds).
    #[serde(deserialize_with = "lenient::number")]
    pub uptime: Option<f64>,
    /// Commands run since the process started.
    #[serde(deserialize_with = "lenient::count", alias = "commands_processed")]
    pub commands_processed: Option<u64>,
    /// The same, under the name that legacy dashboards read. No agent sends it.
    #[serde(deserialize_with = "lenient::count", skip_serializing_if = "Option::is_none")]
    pub commands_executed: Option<u64>,
    /// Commands running now.
    #[serde(
        deserialize_with = "lenient::count",
        alias = "active_commands",
        skip_serializing_if = "Option::is_none"
    )]
    pub active_commands: Option<u64>,
    /// Mean time to answer in milliseconds.
    #[serde(
        deserialize_with = "lenient::number",
        alias = "average_response_time",
        skip_serializing_if = "Option::is_none"
    )]
    pub average_response_time: Option<f64>,
}

impl HealthMetrics {
    /// The same as existing dashboards read it: memory in bytes, and commands under another name.
    #[must_use]
    pub fn for_legacy_dashboards(self) -> Self {
        const BYTES_PER_MIB: f64 = 1024.0 * 1024.0;
        Self {
            memory_usage: self.memory_usage.map(|mib| mib * BYTES_PER_MIB),
            commands_executed: self.commands_processed,
            ..self
        }
    }
}

/// `SERVER_HEARTBEAT`: on the server's own schedule at least once an interval, and as the answer to
/// each heartbeat of the agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerHeartbeat {
    /// The server's wall clock.
    #[serde(deserialize_with = "lenient::time", serialize_with = "lenient::write_millis")]
    pub server_time: Option<WallTime>,
    /// When the next beat is expected; sent as an absolute time, read in both forms.
    #[serde(
        deserialize_with = "lenient::time_or_delta",
        serialize_with = "write_next",
        skip_serializing_if = "Option::is_none"
    )]
    pub next_ping_expected: Option<NextBeat>,
    /// Number of this beat in its session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<BeatSequence>,
    /// The agent's latest beat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<SeenBeat>,
    /// The agent's latest beat that is committed to the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<RecordedBeat>,
    /// Present while recording lags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recording_lag: Option<RecordingLag>,
    /// The hop that the agent's heartbeats do not get to at the server, while there is one. Extension.
    #[serde(deserialize_with = "read_hop", skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<Hop>,
}

/// A hop of a later version counts as absent.
fn read_hop<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Hop>, D::Error> {
    Ok(match Scalar::deserialize(d)? {
        Scalar::Text(word) => Hop::parse(&word),
        Scalar::Null | Scalar::Bool(_) | Scalar::Number(_) | Scalar::Compound => None,
    })
}

fn write_next<S: Serializer>(next: &Option<NextBeat>, s: S) -> Result<S::Ok, S::Error> {
    match next {
        Some(NextBeat::In(ms)) => s.serialize_u64(*ms),
        Some(NextBeat::At(at)) => s.serialize_i64(at.unix_millis()),
        None => s.serialize_none(),
    }
}

/// A heartbeat that is committed to the database.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct RecordedBeat {
    pub sequence: BeatSequence,
    /// When it was received, by the server's clock.
    #[serde(default, deserialize_with = "lenient::time", serialize_with = "lenient::write_millis")]
    pub at: Option<WallTime>,
}

/// Heartbeats arrive, but are not recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordingLag {
    /// For how long the oldest unrecorded beat has waited.
    pub age_ms: u64,
    /// Why, as far as the server knows.
    #[serde(default)]
    pub why: String,
}

/// JSON `PING`, by which legacy servers and dashboards probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ping {
    /// The sender's clock; to be echoed as it is.
    #[serde(deserialize_with = "lenient::number", serialize_with = "lenient::write_number")]
    pub timestamp: Option<f64>,
    /// A number some peers add.
    #[serde(deserialize_with = "lenient::count", skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
}

/// JSON `PONG`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pong {
    /// The echo of the `PING`'s; some peers put their own clock here, so it proves nothing.
    #[serde(deserialize_with = "lenient::number", serialize_with = "lenient::write_number")]
    pub timestamp: Option<f64>,
    /// A metric some peers add.
    #[serde(deserialize_with = "lenient::number", skip_serializing_if = "Option::is_none")]
    pub latency: Option<f64>,
    /// Echo of the `PING`'s number.
    #[serde(deserialize_with = "lenient::count", skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
}
