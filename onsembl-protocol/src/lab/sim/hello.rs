//! What the agents say of themselves, which is all that a fleet can tell them by.

use super::agents::Running;
use crate::fleet::{Bearer, TokenScope};
use crate::id::{AgentId, AgentKey, InstanceId, JournalId, LineageId, TokenId};
use crate::limits::Limits;
use crate::model::AGENT_FEATURES;
use crate::session::frames::AgentProfile;
use crate::wire::payload::{AgentConnect, AgentType};
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

/// The hello of a process. An agent of ours shows the key and the journal of its state directory, and
/// which process it is. A legacy wrapper shows its name, and an id: of its own making, until a server
/// has taught it another one. `id` is that of its row, once it has one.
pub(super) fn hello_of(running: &Running, process: u32, id: Option<&AgentId>) -> AgentConnect {
    let (agent, legacy) = (running.agent, running.legacy);
    let key = match legacy {
        true => format!("process-{process}"),
        false => format!("key-{agent}"),
    };
    let profile = AgentProfile {
        agent_type: AgentType::Claude,
        version: "0.1.0".to_string(),
        host: "simulated-host".to_string(),
        features: AGENT_FEATURES.to_vec(),
        open_commands: running
            .worker
            .as_ref()
            .map_or_else(Vec::new, |worker| worker.open_commands(Limits::DEFAULT.list_entries)),
        stop: running.worker.as_ref().and_then(|worker| worker.stop_in_force().cloned()),
        journal: Some(JournalId::new(format!("journal-{agent}"))),
        ..AgentProfile::new(format!("agent-{agent}"), AgentKey::new(key), instance_of(process))
    };
    // It is what the welcome said: an admission under another id is a failure of the world.
    let hello = profile.hello(id.filter(|_| running.taught));
    AgentConnect { extensions: hello.extensions.filter(|_| !legacy), ..hello }
}

/// The token of an agent: one for any agent, or one that is made for it.
pub(super) fn token_of(agent: u32, id: Option<&AgentId>) -> Bearer {
    let scope = match (agent % 2, id) {
        (0, _) => TokenScope::Any,
        (_, None) => TokenScope::New(format!("agent-{agent}")),
        (_, Some(id)) => TokenScope::Bound(id.clone()),
    };
    let name = format!("token-{agent}");
    Bearer { token: TokenId::new(&name), lineage: LineageId::new(&name), scope }
}

/// A token that is no agent's of the world.
pub(super) fn another_token() -> Bearer {
    let (token, lineage) = (TokenId::new("another"), LineageId::new("another"));
    Bearer { token, lineage, scope: TokenScope::Any }
}

fn instance_of(process: u32) -> InstanceId {
    InstanceId::new(format!("process-{process}"))
}
