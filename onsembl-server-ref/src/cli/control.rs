//! `onsembl-server control`: orders to an agent that are no commands.

use super::remote::{PATIENCE, Remote, escape};
use crate::http::Control as Order;
use clap::{Args, ValueEnum};
use onsembl_protocol::model::TerminalSize;
use onsembl_protocol::wire::payload::ControlAction;
use onsembl_transport::Repetition;

#[derive(Debug, Args)]
pub(super) struct Control {
    #[command(flatten)]
    remote: Remote,
    /// The agent, by its name or its id.
    #[arg(env = "ONSEMBL_AGENT")]
    agent: String,
    /// What it is to do.
    action: Action,
    /// How large its terminal is to be, with resize.
    #[arg(long, env = "ONSEMBL_SIZE", value_name = "COLUMNSxROWS", value_parser = size, required_if_eq("action", "resize"))]
    size: Option<TerminalSize>,
    /// Why, for people.
    #[arg(long, env = "ONSEMBL_REASON", value_name = "TEXT")]
    reason: Option<String>,
}

/// The orders there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Action {
    /// Start no more commands; running ones continue.
    Pause,
    /// Start commands again.
    Resume,
    /// End with all its commands, and restart.
    Restart,
    /// End with all its commands. Only a person on its machine can start it again.
    Stop,
    /// Make its terminal as large as --size.
    Resize,
}

impl Action {
    const fn order(self) -> ControlAction {
        match self {
            Self::Pause => ControlAction::Pause,
            Self::Resume => ControlAction::Resume,
            Self::Restart => ControlAction::Restart,
            Self::Stop => ControlAction::Stop,
            Self::Resize => ControlAction::Resize,
        }
    }
}

fn size(text: &str) -> Result<TerminalSize, &'static str> {
    TerminalSize::parse(text).ok_or("it is like 120x40, each from 1 to 1000")
}

impl Control {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        tokio::task::spawn_blocking(move || {
            let agent = self.remote.find_agent(&self.agent)?;
            let order = Order { action: self.action.order(), reason: self.reason, size: self.size };
            let page = format!("/api/agents/{}/control", escape(agent.as_str()));
            self.remote.post(
                &page,
                &serde_json::to_string(&order)?,
                Repetition::Harmful,
                PATIENCE,
            )?;
            Ok(())
        })
        .await?
    }
}
