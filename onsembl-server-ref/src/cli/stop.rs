//! `onsembl-server stop` and `release`.

use super::remote::Remote;
use crate::http::Order;
use crate::hub::{ReleaseReport, StopReport};
use anyhow::Context as _;
use clap::Args;
use std::time::Duration;

/// The server answers when it is durable, which a held database delays.
const PATIENCE: Duration = Duration::from_secs(40);

#[derive(Debug, Args)]
#[group(required = true, multiple = false, args = ["agent", "all"])]
struct Whom {
    /// The agent, by its name or its id.
    agent: Option<String>,
    /// All agents of the token's user, also those that come later.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
pub(super) struct Stop {
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    whom: Whom,
    /// Why, for people; shown to whoever is refused.
    #[arg(long, env = "ONSEMBL_REASON", value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Release {
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    whom: Whom,
}

impl Whom {
    fn order(self, remote: &Remote, reason: Option<String>) -> anyhow::Result<String> {
        let agent = self.agent.map(|wanted| remote.find_agent(&wanted)).transpose()?;
        let order = Order { agent: agent.map(|id| id.to_string()), all: self.all, reason };
        Ok(serde_json::to_string(&order)?)
    }
}

fn post(remote: &Remote, path: &str, body: &str) -> anyhow::Result<String> {
    let mut answer = remote.post(path, body, PATIENCE)?;
    answer.body_mut().read_to_string().context("the answer broke off")
}

impl Stop {
    #[expect(clippy::print_stdout, reason = "what was stopped is this command's output")]
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let answer = tokio::task::spawn_blocking(move || {
            let body = self.whom.order(&self.remote, self.reason)?;
            post(&self.remote, "/api/stop", &body)
        })
        .await??;
        let report: StopReport = serde_json::from_str(&answer)
            .context("what answers there is no onsembl-server, or another version of it")?;
        print!("{}", shown(&report));
        Ok(())
    }
}

impl Release {
    #[expect(clippy::print_stdout, reason = "what was released is this command's output")]
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let answer = tokio::task::spawn_blocking(move || {
            let body = self.whom.order(&self.remote, None)?;
            post(&self.remote, "/api/release", &body)
        })
        .await??;
        let ReleaseReport { released } = serde_json::from_str(&answer)
            .context("what answers there is no onsembl-server, or another version of it")?;
        match released {
            0 => println!("no stop was in force"),
            1 => println!("released"),
            more => println!("released {more} stops"),
        }
        Ok(())
    }
}

fn shown(report: &StopReport) -> String {
    let mut text = String::new();
    if !report.told.is_empty() {
        text.push_str(&format!("told to kill everything: {}\n", report.told.join(", ")));
    }
    if !report.away.is_empty() {
        let names = report.away.join(", ");
        text.push_str(&format!("away, and start nothing when they return: {names}\n"));
    }
    text.push_str(&format!(
        "{} open commands are being killed; see `onsembl-server commands`\n\
         nothing starts until `onsembl-server release`\n",
        report.commands
    ));
    text
}
