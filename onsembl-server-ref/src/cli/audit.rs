//! `audit`: whether every byte is accounted for.

use super::connect::ServerArgs;
use super::find::short_id;
use super::print;
use super::remote::{NOT_OURS, PATIENCE, escape};
use super::table::{Cell, Column, Fit, Table, Tone};
use super::view::{Format, View};
use anyhow::{Context as _, bail};
use clap::Args;
use onsembl_protocol::fleet::AuditReport;
use serde_json::Value;

const EXAMPLES: &str = "\
Examples:
  onsembl audit mine
  onsembl audit mine -q || echo 'bytes are missing, or the agent could not be asked'

Exit codes:
  0  every byte is stored, spooled or declared lost
  1  bytes are missing, or the agent could not be asked
  2  the command line is wrong";

/// Said of output that is relayed and not stored.
const NOT_KEPT: &str = "not kept, as asked";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Audit {
    #[command(flatten)]
    server: ServerArgs,
    /// The agent, by its name or its id.
    #[arg(env = "ONSEMBL_AGENT")]
    agent: String,
}

impl Audit {
    pub(super) async fn run(self, view: View) -> anyhow::Result<()> {
        let remote = self.server.connect()?;
        let (agent, body) = tokio::task::spawn_blocking(move || {
            let agent = remote.find_agent(&self.agent)?;
            let page = format!("/api/agents/{}/audit", escape(agent.as_str()));
            anyhow::Ok((agent, remote.get(&page, PATIENCE)?.text()?))
        })
        .await??;
        let report: AuditReport = serde_json::from_str(&body).context(NOT_OURS)?;
        match view.format {
            Format::Json => print::json(&body)?,
            Format::Jsonl => {
                let all: Value = serde_json::from_str(&body).context(NOT_OURS)?;
                let streams = all.get("streams").and_then(Value::as_array);
                streams.context(NOT_OURS)?.iter().try_for_each(print::json)?;
            }
            Format::Name => print::line(agent.as_str())?,
            Format::Table | Format::Wide if view.quiet => {}
            Format::Table | Format::Wide => print::table(&shown(&report, view))?,
        }
        let lost: u64 = report.streams.iter().map(|s| s.unaccounted).sum();
        if lost > 0 {
            bail!("{lost} bytes are neither stored, spooled nor declared lost; please report this");
        }
        if let Some(why) = report.because {
            bail!("{why}, so only stored output was counted; try again when it is online");
        }
        Ok(())
    }
}

fn shown(report: &AuditReport, view: View) -> Vec<String> {
    if report.streams.is_empty() && report.not_kept.is_empty() {
        return vec!["no output yet".to_owned()];
    }
    let heads = ["COMMAND", "STREAM", "PRODUCED", "DELIVERED", "SPOOLED", "GAPS", "UNACCOUNTED"];
    let heads = heads.map(|head| Column::new(head, Fit::Whole));
    let mut table = Table::new(heads.into_iter().chain([Column::new("", Fit::Rest)]));
    let is_wide = view.format == Format::Wide;
    for s in &report.streams {
        let unaccounted = Cell::new(s.unaccounted);
        let end = match (s.not_kept, &s.open_gap) {
            (Some(bytes), _) => format!("{bytes} {NOT_KEPT}"),
            (None, Some(why)) => format!("end unknown: {why}"),
            (None, None) => String::new(),
        };
        table.row([
            if is_wide { Cell::new(&s.command_id) } else { short_id(&s.command_id).into() },
            Cell::new(&s.stream),
            Cell::new(s.produced),
            Cell::new(s.delivered),
            Cell::new(s.spooled),
            Cell::new(s.gaps),
            if s.unaccounted > 0 { unaccounted.toned(Tone::Bad) } else { unaccounted },
            end.into(),
        ]);
    }
    let mut lines = if report.streams.is_empty() { Vec::new() } else { table.lines(view) };
    for command in &report.not_kept {
        let id = if is_wide { command.clone() } else { short_id(command).to_string() };
        lines.push(format!("{id}: {NOT_KEPT}"));
    }
    if report.balanced && report.agent_heard {
        let sum = match report.streams.iter().any(|stream| stream.not_kept.is_some()) {
            true => "produced = delivered + spooled + gaps + not kept, for every stream",
            false => "produced = delivered + spooled + gaps, for every stream",
        };
        lines.push(match report.streams.iter().filter(|s| s.open_gap.is_some()).count() {
            0 => format!("balanced: {sum}"),
            open => format!("{sum}; but {open} of them end with a gap of unknown length"),
        });
    }
    lines
}
