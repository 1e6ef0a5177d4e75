//! What an agent says of itself, and the settings of its driver.

use crate::pump::PumpConfig;
use onsembl_protocol::id::{AgentId, AgentKey, CommandId, InstanceId, JournalId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::session::AgentConfig;
use onsembl_protocol::wire::payload::{
    AgentConnect, AgentExtensions, AgentType, Capabilities, Feature,
};

/// What an agent says of itself in its hello.
#[derive(Clone, Debug)]
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
    /// This process.
    pub instance: InstanceId,
    /// What it can do beyond the legacy protocol.
    pub features: Vec<Feature>,
    /// Whether it only wants to look whether a connection is possible.
    pub probe: bool,
    /// Commands it has not finished, or whose end nobody confirmed. Keep it up to date: every hello
    /// says it.
    pub open_commands: Vec<CommandId>,
    /// Its journal, if it keeps one.
    pub journal: Option<JournalId>,
    /// How many commands it runs at once, if it says so.
    pub max_parallel: Option<usize>,
}

impl AgentProfile {
    pub(super) fn hello(&self, agent_id: Option<&AgentId>) -> AgentConnect {
        let id = agent_id.map_or(self.key.as_str(), AgentId::as_str);
        AgentConnect {
            agent_id: id.to_owned(),
            name: Some(self.name.clone()),
            agent_type: self.agent_type.clone(),
            version: Some(self.version.clone()),
            host_machine: Some(self.host.clone()),
            capabilities: Capabilities {
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
                max_parallel: self.max_parallel.map(|places| places as u64),
            }),
        }
    }
}

/// Settings of a driver; the defaults suit.
#[derive(Clone, Copy, Debug, Default)]
pub struct DriverConfig {
    /// Times of the connection.
    pub agent: AgentConfig,
    /// Bounds on what the server may send.
    pub limits: Limits,
    /// Queues and deadlines of the link.
    pub pump: PumpConfig,
}
