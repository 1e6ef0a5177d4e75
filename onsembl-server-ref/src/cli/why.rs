//! `onsembl-server why`.

use super::print;
use super::remote::{NOT_OURS, PATIENCE, Remote, escape};
use anyhow::Context as _;
use clap::Args;
use onsembl_protocol::model::{Cause, Evidence};
use onsembl_transport::clock::SystemClock;
use serde::Deserialize;
use std::time::Duration;

/// Drops that are told of to people; --json has all.
const SHOWN: usize = 5;

/// For example: `why coder --since 7d`.
#[derive(Debug, Args)]
pub(super) struct Why {
    #[command(flatten)]
    remote: Remote,
    /// The agent, by its name or its id.
    #[arg(env = "ONSEMBL_AGENT")]
    agent: String,
    /// How far to look back.
    #[arg(long, env = "ONSEMBL_SINCE", default_value = "24h", value_parser = humantime::parse_duration, value_name = "TIME")]
    since: Duration,
    /// Print what the server answers, as JSON.
    #[arg(long, env = "ONSEMBL_JSON")]
    json: bool,
}

#[derive(Debug, Deserialize)]
struct Told {
    presence: Presence,
    drops: Vec<Drop>,
    pattern: Option<Finding>,
    availability: Availability,
}

#[derive(Debug, Deserialize)]
struct Presence {
    state: String,
    since: String,
    because: String,
    next_state: Option<String>,
    next_change_at: Option<String>,
    confidence: String,
}

#[derive(Debug, Deserialize)]
struct Drop {
    at: String,
    until: Option<String>,
    #[serde(flatten)]
    finding: Finding,
}

#[derive(Debug, Deserialize)]
struct Finding {
    /// A later version of the server may know more of them.
    cause: String,
    confidence: String,
    #[serde(default)]
    evidence: Evidence,
}

#[derive(Debug, Deserialize)]
struct Availability {
    permille: Option<u16>,
}

impl Why {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let json = self.json;
        let since = humantime::format_duration(self.since).to_string();
        let body = tokio::task::spawn_blocking(move || {
            let agent = self.remote.find_agent(&self.agent)?;
            let back = i64::try_from(self.since.as_millis()).unwrap_or(i64::MAX);
            let from = SystemClock::new().now().wall.unix_millis().saturating_sub(back);
            let page = format!("/api/agents/{}/why?since={from}", escape(agent.as_str()));
            self.remote.get(&page, PATIENCE)?.text()
        })
        .await??;
        let told: Told = serde_json::from_str(&body).context(NOT_OURS)?;
        if json {
            print::json(&body)?;
        } else {
            print::lines(told.lines(&since))?;
        }
        Ok(())
    }
}

impl Told {
    /// At most ten lines: the present, the pattern, the latest drops, the availability, and what to do.
    fn lines(&self, since: &str) -> Vec<String> {
        let mut lines = vec![self.presence.sentences()];
        if let Some(pattern) = &self.pattern {
            lines.push(format!("Pattern: {}", pattern.sentence()));
        }
        let earlier = self.drops.len().saturating_sub(SHOWN);
        if earlier > 0 {
            lines.push(format!("{earlier} earlier drops are not shown; --json has them"));
        }
        for drop in self.drops.iter().skip(earlier) {
            let until = drop.until.as_deref().unwrap_or("now");
            lines.push(format!("{} to {until}: {}", drop.at, drop.finding.sentence()));
        }
        if let Some(permille) = self.availability.permille {
            let (whole, tenth) = (permille / 10, permille % 10);
            let drops = self.drops.len();
            lines.push(format!(
                "It was there {whole}.{tenth} % of the last {since}, with {drops} drops."
            ));
        }
        let latest = self.drops.last().map(|drop| &drop.finding);
        if let Some(finding) = self.pattern.as_ref().or(latest) {
            lines.push(format!("What to do: {}.", Cause::parse(&finding.cause).action()));
        }
        lines
    }
}

impl Presence {
    fn sentences(&self) -> String {
        let Self { state, since, because, confidence, .. } = self;
        let now = format!("It is {state} since {since}: {because} (confidence {confidence}).");
        match (&self.next_state, &self.next_change_at) {
            (Some(next), Some(at)) => format!("{now} If nothing happens, it is {next} at {at}."),
            (Some(next), None) => format!("{now} If nothing happens, it is {next} next."),
            (None, _) => format!("{now} It stays so until it connects."),
        }
    }
}

impl Finding {
    fn sentence(&self) -> String {
        let Self { cause, confidence, evidence } = self;
        let text = Cause::parse(cause).text();
        match evidence.is_empty() {
            true => format!("{cause} (confidence {confidence}): {text}"),
            false => format!("{cause} (confidence {confidence}): {text}; {evidence}"),
        }
    }
}
