//! The hello of an agent and the welcome it gets.

use crate::id::{
    AgentKey, CommandId, Epoch, InstanceId, JournalId, ServerInstanceId, SessionId, StopId,
};
use crate::model::lenient;
use crate::model::{Feature, WireTiming, wire_enum};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

wire_enum! {
    /// What runs behind an agent.
    pub enum AgentType {
        /// Anthropic's Claude Code.
        Claude = "CLAUDE",
        /// Google's Gemini CLI.
        Gemini = "GEMINI",
        /// OpenAI's Codex CLI.
        Codex = "CODEX",
        /// Anything else (the legacy mock says this too).
        Custom = "CUSTOM" | "MOCK",
    }
}

/// `AGENT_CONNECT`: the first message of an agent on every link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentConnect {
    /// The id the agent goes by: one of its own making, or the one a server taught it.
    #[serde(default)]
    pub agent_id: String,
    /// The name people know it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What runs behind it.
    #[serde(default = "custom")]
    pub agent_type: AgentType,
    /// Version of the agent program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Name of its machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_machine: Option<String>,
    /// What it can do.
    #[serde(default)]
    pub capabilities: LegacyCapabilities,
    /// Present if it speaks the extensions; a peer without them is legacy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<AgentExtensions>,
}

fn custom() -> AgentType {
    AgentType::Custom
}

/// What an agent says of itself beyond the legacy hello.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct AgentExtensions {
    /// What it can do beyond the legacy protocol.
    #[serde(default)]
    pub features: Vec<Feature>,
    /// Stable key from its state directory.
    pub agent_key: AgentKey,
    pub instance: InstanceId,
    /// A diagnosis connection: never listed, stored, or taken for a second instance.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub probe: bool,
    /// Commands this process has not finished, or whose end is not acknowledged yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<CommandId>,
    /// Its journal. A command that was sent while it had the same one, and that is not among
    /// `commands`, was never started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<JournalId>,
    /// How many commands it runs at once; 4 if it does not say.
    #[serde(default, deserialize_with = "lenient::count", skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u64>,
    /// The emergency stop that keeps it from starting anything, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_id: Option<StopId>,
}

/// The part of the hello's acknowledgement that names the session and its rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say all")]
pub struct Welcome {
    /// Features that both ends named.
    #[serde(default)]
    pub features: Vec<Feature>,
    pub session_id: SessionId,
    /// Its epoch: of two sessions of an agent the one with the greater epoch is in force.
    pub epoch: Epoch,
    pub server_instance: ServerInstanceId,
    /// The times of liveness. The agent obeys them.
    #[serde(flatten)]
    pub timing: WireTiming,
    /// How long the server keeps the session of an agent that is away.
    pub resume_window_ms: u64,
    /// How many bytes of output may be unacknowledged.
    pub output_window_bytes: u64,
    /// The stop that is in force for this agent. Without one, whatever it holds is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<StopId>,
}

/// What an agent says it can do: an object on the wire of agents, a list of words elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LegacyCapabilities {
    /// Token limit of the model; the legacy wrapper says 0.
    pub max_tokens: u64,
    /// Whether a running command can be interrupted.
    pub supports_interrupt: bool,
    /// Whether it reports traces.
    pub supports_trace: bool,
    /// Further words, when they came as a list.
    #[serde(skip)]
    pub words: Vec<String>,
}

impl LegacyCapabilities {
    /// The capabilities as words, as dashboards and the store want them.
    pub fn to_words(&self) -> Vec<String> {
        let mut words = self.words.clone();
        for (has, word) in [(self.supports_interrupt, "interrupt"), (self.supports_trace, "trace")]
        {
            if has && !words.iter().any(|w| w.eq_ignore_ascii_case(word)) {
                words.push(word.to_string());
            }
        }
        words
    }
}

impl<'de> Deserialize<'de> for LegacyCapabilities {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "camelCase", default)]
        struct Object {
            #[serde(deserialize_with = "lenient::count")]
            max_tokens: Option<u64>,
            supports_interrupt: bool,
            supports_trace: bool,
        }
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = LegacyCapabilities;
            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("capabilities as an object or a list of words")
            }
            fn visit_unit<E>(self) -> Result<LegacyCapabilities, E> {
                Ok(LegacyCapabilities::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, a: A) -> Result<LegacyCapabilities, A::Error> {
                let words = lenient::texts(serde::de::value::SeqAccessDeserializer::new(a))?;
                let has = |w: &str| words.iter().any(|x| x.eq_ignore_ascii_case(w));
                Ok(LegacyCapabilities {
                    max_tokens: 0,
                    supports_interrupt: has("interrupt"),
                    supports_trace: has("trace"),
                    words,
                })
            }
            fn visit_map<A: MapAccess<'de>>(self, a: A) -> Result<LegacyCapabilities, A::Error> {
                let o = Object::deserialize(serde::de::value::MapAccessDeserializer::new(a))?;
                Ok(LegacyCapabilities {
                    max_tokens: o.max_tokens.unwrap_or(0),
                    supports_interrupt: o.supports_interrupt,
                    supports_trace: o.supports_trace,
                    words: Vec::new(),
                })
            }
        }
        d.deserialize_any(V)
    }
}
