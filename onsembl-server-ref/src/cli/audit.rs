//! `onsembl-server audit`.

use super::print;
use super::remote::{PATIENCE, Remote, escape};
use super::table::table;
use anyhow::{Context as _, bail};
use clap::Args;
use onsembl_protocol::fleet::AuditReport;

#[derive(Debug, Args)]
pub(super) struct Audit {
    #[command(flatten)]
    remote: Remote,
    /// The agent, by its name or its id.
    #[arg(env = "ONSEMBL_AGENT")]
    agent: String,
    /// Print what the server answers, as JSON.
    #[arg(long, env = "ONSEMBL_JSON")]
    json: bool,
}

impl Audit {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let json = self.json;
        let body = tokio::task::spawn_blocking(move || {
            let agent = self.remote.find_agent(&self.agent)?;
            let mut answer = self
                .remote
                .get(&format!("/api/agents/{}/audit", escape(agent.as_str())), PATIENCE)?;
            answer.text()
        })
        .await??;
        let report: AuditReport = serde_json::from_str(&body)
            .context("what answers there is no onsembl-server, or another version of it")?;
        if json {
            print::json(&body)?;
        } else {
            print::lines(shown(&report))?;
        }
        let lost: u64 = report.streams.iter().map(|s| s.unaccounted).sum();
        if lost > 0 {
            bail!("{lost} bytes are neither stored, spooled nor declared lost; please report this");
        }
        if let Some(why) = report.because {
            bail!("{why}, so only what is stored could be counted; ask again when it is online");
        }
        Ok(())
    }
}

fn shown(report: &AuditReport) -> Vec<String> {
    if report.streams.is_empty() {
        return vec!["no output yet".to_owned()];
    }
    let rows = report.streams.iter().map(|s| {
        [
            s.command_id.clone(),
            s.stream.clone(),
            s.produced.to_string(),
            s.delivered.to_string(),
            s.spooled.to_string(),
            s.gaps.to_string(),
            s.unaccounted.to_string(),
            s.open_gap.as_ref().map_or_else(String::new, |why| format!("end unknown: {why}")),
        ]
    });
    let head = ["COMMAND", "STREAM", "PRODUCED", "DELIVERED", "SPOOLED", "GAPS", "UNACCOUNTED", ""];
    let mut lines = table(head, rows);
    if report.balanced && report.agent_heard {
        let sum = "produced = delivered + spooled + gaps, for every stream";
        lines.push(match report.streams.iter().filter(|s| s.open_gap.is_some()).count() {
            0 => format!("balanced: {sum}"),
            open => format!("{sum}; but {open} of them end with a gap of unknown length"),
        });
    }
    lines
}
