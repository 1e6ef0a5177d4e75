//! `forget`: deletes an agent that will not come back.

use super::connect::ServerArgs;
use super::remote::escape;
use super::view::View;
use clap::Args;
use onsembl_protocol::id::AgentId;
use serde_json::json;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  onsembl forget build-7
  onsembl agents -o json | jq -r '.agents[] | select(.status == \"offline\") | .agent_id' | xargs onsembl forget

Its key stays reserved as long as the server keeps history, so it cannot return as a new agent; its commands
and their output stay listed until they are deleted by age.";

/// The server answers when it is durable, which a held database delays.
const PATIENCE: Duration = Duration::from_secs(40);

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Forget {
    #[command(flatten)]
    server: ServerArgs,
    /// The agents, by name or id.
    #[arg(required = true, value_name = "AGENT")]
    agents: Vec<String>,
}

impl Forget {
    pub(super) async fn run(self, view: View) -> anyhow::Result<()> {
        let remote = self.server.connect()?;
        for wanted in self.agents {
            let remote = remote.clone();
            let named = wanted.clone();
            let agent = tokio::task::spawn_blocking(move || {
                let agent: AgentId = remote.find_agent(&named)?;
                remote.delete(&format!("/api/agents/{}", escape(agent.as_str())), PATIENCE)?;
                anyhow::Ok(agent)
            })
            .await??;
            let id = agent.as_str();
            let json = json!({ "agent_id": id, "forgotten": true });
            view.done(&json, id, format_args!("forgot {wanted} ({id})"))?;
        }
        Ok(())
    }
}
