//! `control`: orders to an agent that are no commands.

use super::connect::ServerArgs;
use super::remote::{PATIENCE, escape};
use super::view::View;
use crate::http::Control as Order;
use clap::{Args, ValueEnum};
use onsembl_protocol::model::TerminalSize;
use onsembl_protocol::wire::payload::ControlAction;
use onsembl_transport::Repetition;
use serde_json::json;

const EXAMPLES: &str = "\
Examples:
  onsembl control mine pause --reason 'disk is full'
  onsembl control mine resume
  onsembl control mine resize --size 120x40";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Control {
    #[command(flatten)]
    server: ServerArgs,
    /// The agent, by its name or its id.
    #[arg(env = "ONSEMBL_AGENT")]
    agent: String,
    /// The order.
    action: Action,
    /// The new size of its terminal, with resize.
    #[arg(long, env = "ONSEMBL_SIZE", value_name = "COLUMNSxROWS", value_parser = size, required_if_eq("action", "resize"))]
    size: Option<TerminalSize>,
    /// The reason, shown to people.
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
    /// End all its commands, and restart it.
    Restart,
    /// End it and all its commands. It can be started again on its machine only.
    Stop,
    /// Resize its terminal to --size.
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
    TerminalSize::parse(text).ok_or("expected COLUMNSxROWS, like 120x40, each from 1 to 1000")
}

impl Control {
    pub(super) async fn run(self, view: View) -> anyhow::Result<()> {
        let (remote, action) = (self.server.connect()?, self.action);
        let agent = tokio::task::spawn_blocking(move || {
            let agent = remote.find_agent(&self.agent)?;
            let order = Order { action: action.order(), reason: self.reason, size: self.size };
            let page = format!("/api/agents/{}/control", escape(agent.as_str()));
            let order = serde_json::to_string(&order)?;
            remote.post(&page, &order, Repetition::Harmful, PATIENCE)?;
            anyhow::Ok(agent)
        })
        .await??;
        let id = agent.as_str();
        let word = action.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
        let json = json!({ "agent_id": id, "action": word, "sent": true });
        view.done_for_people(&json, id, format_args!("sent {word} to {id}; see `onsembl agents`"))
    }
}
