//! `onsembl-server commands`.

use super::remote::{PATIENCE, Remote, escape};
use super::table::{short, table};
use crate::http::{CommandDetail, CommandSummary};
use anyhow::Context as _;
use clap::Args;
use serde::Deserialize;

/// Characters of a command's text that are shown.
const TEXT: usize = 40;

#[derive(Debug, Args)]
pub(super) struct Commands {
    #[command(flatten)]
    remote: Remote,
    /// Only those of this agent, by its name or its id.
    #[arg(long, env = "ONSEMBL_AGENT", value_name = "AGENT")]
    agent: Option<String>,
    /// How many at most, the newest first.
    #[arg(long, env = "ONSEMBL_LIMIT", default_value_t = 200, value_name = "COUNT")]
    limit: usize,
    /// Show how this command came where it is, instead of a list.
    #[arg(env = "ONSEMBL_COMMAND", value_name = "COMMAND", conflicts_with = "agent")]
    command: Option<String>,
    /// Print what the server answers, as JSON.
    #[arg(long, env = "ONSEMBL_JSON")]
    json: bool,
}

#[derive(Debug, Deserialize)]
struct Listing {
    commands: Vec<CommandSummary>,
}

impl Commands {
    #[expect(clippy::print_stdout, reason = "the list is this command's output")]
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let (json, one) = (self.json, self.command.is_some());
        let body = tokio::task::spawn_blocking(move || self.ask()).await??;
        if json {
            println!("{body}");
            return Ok(());
        }
        if one {
            let detail: CommandDetail = serde_json::from_str(&body)
                .context("what answers there is no onsembl-server, or another version of it")?;
            print!("{}", told(&detail));
            return Ok(());
        }
        let listing: Listing = serde_json::from_str(&body)
            .context("what answers there is no onsembl-server, or another version of it")?;
        print!("{}", shown(&listing.commands));
        Ok(())
    }

    fn ask(&self) -> anyhow::Result<String> {
        let mut path = match &self.command {
            Some(id) => format!("/api/commands/{}", escape(id)),
            None => format!("/api/commands?limit={}", self.limit),
        };
        if let Some(agent) = &self.agent {
            path.push_str("&agent=");
            path.push_str(&escape(self.remote.find_agent(agent)?.as_str()));
        }
        let mut answer = self.remote.get(&path, PATIENCE)?;
        answer
            .body_mut()
            .with_config()
            .limit(64 << 20)
            .read_to_string()
            .context("the answer broke off")
    }
}

/// One command and its history.
fn told(detail: &CommandDetail) -> String {
    let rows = detail.history.iter().map(|step| {
        let cause = step.cause.clone().unwrap_or_else(|| "-".to_owned());
        [step.at.clone(), step.status.clone(), cause]
    });
    format!(
        "{}{}",
        shown(std::slice::from_ref(&detail.command)),
        table(["AT", "STATUS", "BECAUSE"], rows)
    )
}

fn shown(commands: &[CommandSummary]) -> String {
    if commands.is_empty() {
        return "no commands yet; run one with `onsembl-server exec`\n".to_owned();
    }
    let rows = commands.iter().map(|c| {
        let exit = match (c.exit_code, c.signal) {
            (_, Some(signal)) => format!("signal {signal}"),
            (Some(code), None) => code.to_string(),
            (None, None) => "-".to_owned(),
        };
        [
            c.command_id.clone(),
            c.status.clone(),
            exit,
            c.created_at.clone(),
            c.ended_at.clone().unwrap_or_else(|| "-".to_owned()),
            c.agent_id.clone(),
            short(&c.text, TEXT),
            c.cause.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    });
    table(["ID", "STATUS", "EXIT", "CREATED", "ENDED", "AGENT", "TEXT", "BECAUSE"], rows)
}
