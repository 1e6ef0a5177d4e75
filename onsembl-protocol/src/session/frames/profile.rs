//! What an agent says of itself.

use crate::id::{AgentId, AgentKey, CommandId, InstanceId, JournalId, StopId};
use crate::model::Feature;
use crate::wire::payload::{AgentConnect, AgentExtensions, AgentType, LegacyCapabilities};
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

/// Before the name of an agent it makes the name of a probe for that agent (P-370).
pub const PROBE_FOR: &str = "doctor of ";

/// What an agent says of itself in its hello.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub struct AgentProfile {
    /// The name people know it by.
    pub name: String,
    /// What runs behind it.
    pub agent_type: AgentType,
    /// Version of the agent program.
    pub version: String,
    /// Name of its machine.
    pub host: String,
    /// The stable key of this agent.
    pub key: AgentKey,
    pub instance: InstanceId,
    /// What it can do beyond the legacy protocol.
    pub features: Vec<Feature>,
    /// Whether it only wants to look whether a connection is possible.
    pub probe: bool,
    /// Commands it has not finished, or whose end is not confirmed. Keep it up to date: every hello
    /// says it.
    pub open_commands: Vec<CommandId>,
    /// The emergency stop in force for it. Keep it up to date like the commands.
    pub stop: Option<StopId>,
    /// Its journal, if it keeps one.
    pub journal: Option<JournalId>,
    /// How many commands it runs at once, if it says so.
    pub max_parallel: Option<usize>,
}

impl AgentProfile {
    /// A profile that only stays connected; set the other fields to offer more.
    pub fn new(name: impl Into<String>, key: AgentKey, instance: InstanceId) -> Self {
        Self {
            name: name.into(),
            agent_type: AgentType::Custom,
            version: String::new(),
            host: String::new(),
            key,
            instance,
            features: Vec::from([Feature::Heartbeats]),
            probe: false,
            open_commands: Vec::new(),
            stop: None,
            journal: None,
            max_parallel: None,
        }
    }

    /// The hello. `agent_id` is the id that a server taught this agent; before that it goes by its key.
    pub fn hello(&self, agent_id: Option<&AgentId>) -> AgentConnect {
        let id = agent_id.map_or(self.key.as_str(), AgentId::as_str);
        AgentConnect {
            agent_id: id.to_owned(),
            name: Some(self.name.clone()),
            agent_type: self.agent_type.clone(),
            version: Some(self.version.clone()),
            host_machine: Some(self.host.clone()),
            capabilities: LegacyCapabilities {
                max_tokens: 0,
                supports_interrupt: true,
                supports_trace: false,
                words: Vec::new(),
            },
            extensions: Some(AgentExtensions {
                features: self.features.clone(),
                agent_key: self.key.clone(),
                instance: self.instance.clone(),
                probe: self.probe,
                commands: self.open_commands.clone(),
                journal: self.journal.clone(),
                max_parallel: self.max_parallel.map(|slots| slots as u64),
                stop_id: self.stop.clone(),
            }),
        }
    }
}
