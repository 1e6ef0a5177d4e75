//! `agents`: which agents there are, and how they are.

use super::ages::age;
use super::connect::ServerArgs;
use super::print;
use super::remote::{NOT_OURS, Remote, read};
use super::stop::describe;
use super::table::{Cell, Column, Fit, Table, Tone};
use super::view::{Format, Shape, View};
use anyhow::Context as _;
use clap::Args;
use onsembl_protocol::fleet::StopState;
use onsembl_protocol::shown::Causes;
use onsembl_protocol::time::WallTime;
use onsembl_transport::clock::SystemClock;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  onsembl agents                    all agents and their current status
  onsembl agents --watch            the same, refreshed every 2 s
  onsembl agents -o wide            all columns, exact times, whole ids
  onsembl agents -o json | jq -r '.agents[] | select(.status == \"offline\") | .name'";

/// How often a watched list is refreshed.
const EVERY: Duration = Duration::from_secs(2);
/// Columns of a name in a table that fits a terminal.
const NAME: usize = 30;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Agents {
    #[command(flatten)]
    server: ServerArgs,
    /// Show the list again every 2 s, until Ctrl-C.
    #[arg(short, long)]
    watch: bool,
}

#[derive(Debug, Deserialize)]
struct Agent {
    agent_id: String,
    name: String,
    agent_type: String,
    status: String,
    since: String,
    because: String,
    last_heartbeat: Option<String>,
    #[serde(default)]
    paused: bool,
    #[serde(default)]
    program_fault: Option<String>,
    #[serde(default)]
    activity: Option<Activity>,
    #[serde(default)]
    stopped: Option<Stopped>,
}

/// What its program does.
#[derive(Debug, Deserialize)]
struct Activity {
    words: String,
}

/// The emergency stop in force.
#[derive(Debug, Deserialize)]
struct Stopped {
    by: String,
    at: String,
    reason: String,
    state: StopState,
}

impl Agent {
    /// Whether it is there, and what else keeps it from working.
    fn because(&self) -> String {
        let because = match self.paused {
            true => format!(
                "paused: starts nothing until `control {} resume`; {}",
                self.name, self.because
            ),
            false => self.because.clone(),
        };
        let because = match &self.program_fault {
            Some(fault) => format!("{fault}; {because}"),
            None => because,
        };
        let Some(Stopped { by, at, reason, state }) = &self.stopped else {
            return because;
        };
        let state = describe(*state);
        format!("emergency stop by {by} at {at} ({reason}): {state}; {because}")
    }

    fn tone(&self) -> Tone {
        match (self.status.as_str(), self.paused || self.stopped.is_some()) {
            (_, true) => Tone::Warning,
            ("online", false) if self.program_fault.is_none() => Tone::Good,
            ("online" | "stale" | "reconnecting", false) => Tone::Warning,
            (_, false) => Tone::Bad,
        }
    }
}

impl Agents {
    pub(super) async fn run(self, view: View) -> anyhow::Result<()> {
        let remote = self.server.connect()?;
        if !self.watch {
            return show(&ask(remote).await?, view);
        }
        let mut shown = None;
        loop {
            let answer = ask(remote.clone()).await;
            match (answer, print::is_terminal() && !view.is_json()) {
                (Ok(agents), true) => print::table_afresh(&lines(&agents, view)?)?,
                // A program is not told the same again.
                (Ok(agents), false) if shown.as_ref() != Some(&agents) => {
                    show(&agents, view)?;
                    shown = Some(agents);
                }
                (Ok(_), false) => {}
                // It may come back.
                (Err(error), _) => {
                    print::say(format_args!("{}; trying again", Causes(error.as_ref())))?;
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

async fn ask(remote: Remote) -> anyhow::Result<Vec<Value>> {
    let ask = move || remote.list("/api/agents", "agents", usize::MAX);
    tokio::task::spawn_blocking(ask).await?
}

fn show(agents: &[Value], view: View) -> anyhow::Result<()> {
    let mut count = BTreeMap::<&str, usize>::new();
    for agent in agents {
        *count.entry(text(agent, "name")).or_default() += 1;
    }
    let named = |agent: &Value| {
        let name = text(agent, "name");
        let is_one = count.get(name).is_some_and(|count| *count == 1);
        if is_one { name } else { text(agent, "agent_id") }.to_owned()
    };
    view.list("agents", agents, named, || shape(agents, view))
}

fn text<'a>(of: &'a Value, field: &str) -> &'a str {
    of.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn shape(agents: &[Value], view: View) -> anyhow::Result<Shape> {
    let agents: Vec<Agent> = read(agents.to_vec())?;
    if agents.is_empty() {
        let text = "no agents yet; start one with `onsembl-agent run`";
        return Ok(Shape::Nothing(text.to_owned()));
    }
    Ok(Shape::Table(table(&agents, view.format, SystemClock::new().now().wall)))
}

fn lines(agents: &[Value], view: View) -> anyhow::Result<Vec<String>> {
    Ok(match shape(agents, view).context(NOT_OURS)? {
        Shape::Table(table) => table.lines(view),
        Shape::Nothing(text) => vec![text],
    })
}

fn table(agents: &[Agent], format: Format, now: WallTime) -> Table {
    let is_wide = format == Format::Wide;
    // Most fleets have no program that says what it does.
    let is_active = agents.iter().any(|a| a.activity.is_some());
    let because = Column::new("BECAUSE", Fit::Rest);
    let because = if is_active { because.spare() } else { because };
    let activity = is_active.then_some(Column::new("ACTIVITY", Fit::Rest));
    let name = Column::new("NAME", Fit::AtMost(NAME));
    let head: Vec<Column> = match is_wide {
        true => ["TYPE", "STATUS", "SINCE", "LAST HEARTBEAT", "ID"]
            .map(|head| Column::new(head, Fit::Whole))
            .to_vec(),
        false => ["STATUS", "SINCE", "HEARD"].map(|head| Column::new(head, Fit::Whole)).to_vec(),
    };
    let mut table = Table::new([name].into_iter().chain(head).chain(activity).chain([because]));
    for a in agents {
        let status = Cell::new(&a.status).toned(a.tone());
        let heard = a.last_heartbeat.as_deref();
        let mut row = match is_wide {
            true => vec![
                Cell::new(&a.name),
                Cell::new(&a.agent_type),
                status,
                Cell::new(&a.since),
                Cell::new(heard.unwrap_or("-")),
                Cell::new(&a.agent_id),
            ],
            false => vec![
                Cell::new(&a.name),
                status,
                age(&a.since, now).into(),
                heard.map_or_else(|| "-".to_owned(), |at| age(at, now)).into(),
            ],
        };
        if is_active {
            row.push(Cell::new(a.activity.as_ref().map_or("-", |activity| &activity.words)));
        }
        row.push(Cell::new(a.because()).toned(Tone::Dim));
        table.row(row);
    }
    table
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use unicode_width::UnicodeWidthStr as _;

    fn agent(name: &str, status: &str, activity: Option<&str>) -> Agent {
        Agent {
            agent_id: "0193aaaa-bbbb-7ccc-8ddd-eeeeffff0001".to_owned(),
            name: name.to_owned(),
            agent_type: "custom".to_owned(),
            status: status.to_owned(),
            since: "2026-11-30T10:00:00.000Z".to_owned(),
            because:
                "the link was lost, and the agent is awaited for 5m before it counts as offline"
                    .to_owned(),
            last_heartbeat: Some("2026-11-30T11:59:30.000Z".to_owned()),
            paused: false,
            program_fault: None,
            activity: activity.map(|words| Activity { words: words.to_owned() }),
            stopped: None,
        }
    }

    /// A fleet on an ordinary day, for the documents.
    pub(in crate::cli) fn capture(now: WallTime, view: View) -> Vec<String> {
        let of = |name: &str, status: &str, heard: &str, because: &str| Agent {
            last_heartbeat: Some(format!("2026-11-30T{heard}.000Z")),
            because: because.to_owned(),
            ..agent(name, status, None)
        };
        let there = |name, activity: &str| Agent {
            activity: Some(Activity { words: activity.to_owned() }),
            ..of(name, "online", "11:59:50", "session opened")
        };
        let agents = [
            there("coder-for-the-payments-service", "asking for 2m 5s: a permission (Bash)"),
            there("reviewer", "working for 40s"),
            of("build-7", "reconnecting", "11:57:10", "the link was lost"),
            of("laptop-of-ann", "offline", "09:12:44", "the agent was stopped on its machine"),
        ];
        table(&agents, Format::Table, now).lines(view)
    }

    /// What the issue asks for: 80 columns with names of 30 characters.
    #[test]
    fn the_list_fits_eighty_columns_with_names_of_thirty() {
        let now = WallTime::parse_rfc3339("2026-11-30T12:00:00.000Z").unwrap();
        let names = ["n".repeat(30), "漢".repeat(15), "short".to_owned()];
        for activity in [None, Some("working on something for 2m 5s: a tool runs (Bash)")] {
            let of = |name: &String| agent(name, "reconnecting", activity);
            let agents: Vec<Agent> = names.iter().map(of).collect();
            let lines = table(&agents, Format::Table, now).lines(View::of_columns(80));
            assert_eq!(lines.len(), 4, "{lines:#?}");
            for (line, name) in lines.iter().skip(1).zip(&names) {
                assert!(line.width() <= 80, "{} {line}", line.width());
                assert!(
                    line.starts_with(name.as_str()) && line.contains("reconnecting  2h     30s")
                );
            }
        }
        let wide = table(&[agent("ada", "online", None)], Format::Wide, now);
        let wide = wide.lines(View::of_pipe(Format::Wide)).join("\n");
        for part in ["LAST HEARTBEAT", "2026-11-30T10:00:00.000Z", "ffff0001", "as offline"] {
            assert!(wide.contains(part), "{part}: {wide}");
        }
    }
}
