//! `cancel`: ends a command, wherever it was asked for.

use super::connect::ServerArgs;
use super::remote::{PATIENCE, escape};
use super::view::View;
use clap::Args;
use onsembl_transport::Repetition;
use serde_json::json;

const EXAMPLES: &str = "\
Examples:
  onsembl cancel ffff0001            ask it to end, and kill it 5 s later
  onsembl cancel ffff0001 --force    kill it at once
  onsembl commands ffff0001          see how it ended";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Cancel {
    #[command(flatten)]
    server: ServerArgs,
    /// The command, by its id; `onsembl commands` lists them.
    #[arg(env = "ONSEMBL_COMMAND")]
    command: String,
    /// Kill it at once, instead of asking it to end and killing it 5 s later.
    #[arg(long, env = "ONSEMBL_FORCE")]
    force: bool,
}

impl Cancel {
    pub(super) async fn run(self, view: View) -> anyhow::Result<()> {
        let remote = self.server.connect()?;
        let id = tokio::task::spawn_blocking(move || {
            let id = remote.find_command(&self.command)?;
            let page = format!("/api/commands/{}/cancel", escape(id.as_str()));
            let order = json!({ "force": self.force });
            remote.post(&page, &order.to_string(), Repetition::Harmless, PATIENCE)?;
            anyhow::Ok(id)
        })
        .await??;
        let (id, json) = (id.as_str(), json!({ "command_id": id.as_str(), "sent": true }));
        view.done_for_people(
            &json,
            id,
            format_args!("cancelling {id}; see `onsembl commands {id}`"),
        )
    }
}
