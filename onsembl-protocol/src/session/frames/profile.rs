//! What an agent says of itself.

use crate::id::{AgentId, AgentKey, CommandId, InstanceId, JournalId, StopId};
use crate::limits::Limits;
use crate::model::Feature;
use crate::wire::json_len;
use crate::wire::payload::{AgentConnect, AgentExtensions, AgentType, LegacyCapabilities};
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

/// Before the name of an agent it makes the name of a probe for that agent (P-370).
pub const PROBE_FOR: &str = "doctor of ";

/// Bytes of ids of commands in a hello: a message with more would not go out, at any dial. More than 1,024 ids of the
/// usual characters take, so that commands are left out only if their ids are long and full of what JSON escapes.
const NAMED_BYTES: usize = Limits::DEFAULT.message_bytes - 64 * 1024;

/// What an agent says of itself in its hello.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
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
    ///
    /// ```
    /// use onsembl_protocol::id::{AgentKey, InstanceId};
    /// use onsembl_protocol::session::frames::AgentProfile;
    ///
    /// let mut profile = AgentProfile::new("laptop", AgentKey::new("key"), InstanceId::new("run-1"));
    /// profile.version = "1.2.3".to_owned();
    /// assert_eq!(profile.hello(None).agent_id, "key"); // until a server taught it an id
    /// ```
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
                commands: named(&self.open_commands),
                journal: self.journal.clone(),
                max_parallel: self.max_parallel.map(|slots| slots as u64),
                stop_id: self.stop.clone(),
            }),
        }
    }
}

/// The commands that a hello names: the first ones, as many as fit.
fn named(commands: &[CommandId]) -> Vec<CommandId> {
    let mut left = NAMED_BYTES;
    let fits = |id: &&CommandId| {
        let bytes = json_len(id.as_str()).saturating_add(1);
        let fits = bytes <= left;
        left = left.saturating_sub(bytes);
        fits
    };
    commands.iter().take_while(fits).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::MessageId;
    use crate::time::WallTime;
    use crate::wire::{AgentToServer, encode};
    use alloc::format;

    fn hello(of: char) -> (usize, usize) {
        let mut profile = AgentProfile::new("ada", AgentKey::new("k"), InstanceId::new("i"));
        let id = |n| CommandId::new(format!("{n:04}{}", String::from(of).repeat(252)));
        profile.open_commands = (0..1024).map(id).collect();
        let hello = profile.hello(None);
        let named = hello.extensions.as_ref().map_or(0, |e| e.commands.len());
        let text =
            encode(&MessageId::new("m"), WallTime::default(), &AgentToServer::Connect(hello));
        (named, text.len())
    }

    #[test]
    fn a_hello_goes_out_whatever_its_commands_are_called() {
        assert_eq!(hello('x').0, 1024);
        assert_eq!(hello('"').0, 1024);
        let (named, bytes) = hello('\u{1}');
        assert!(named > 500 && bytes <= Limits::DEFAULT.message_bytes, "{named} in {bytes} bytes");
    }
}
