//! `onsembl-server cancel`: ends a command, wherever it was asked for.

use super::remote::{PATIENCE, Remote, escape};
use clap::Args;
use onsembl_transport::Repetition;

#[derive(Debug, Args)]
pub(super) struct Cancel {
    #[command(flatten)]
    remote: Remote,
    /// The command, by its id; `onsembl-server commands` lists them.
    #[arg(env = "ONSEMBL_COMMAND")]
    command: String,
    /// Kill it at once, instead of asking it to end and killing it 5 s later.
    #[arg(long, env = "ONSEMBL_FORCE")]
    force: bool,
}

impl Cancel {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        tokio::task::spawn_blocking(move || {
            let page = format!("/api/commands/{}/cancel", escape(&self.command));
            let order = serde_json::json!({ "force": self.force });
            self.remote.post(&page, &order.to_string(), Repetition::Harmless, PATIENCE)?;
            Ok(())
        })
        .await?
    }
}
