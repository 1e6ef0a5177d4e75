//! `commands`: what was asked for, how far it is, and why.

use super::ages::{age, took};
use super::connect::ServerArgs;
use super::find::short_id;
use super::print;
use super::remote::{NOT_OURS, PATIENCE, Remote, escape, read};
use super::table::{Cell, Column, Fit, Table, Tone, short};
use super::view::{Format, Shape, View};
use crate::http::{CommandDetail, CommandSummary};
use anyhow::Context as _;
use clap::Args;
use onsembl_protocol::time::WallTime;
use onsembl_transport::clock::SystemClock;
use serde_json::Value;
use std::collections::BTreeMap;

const EXAMPLES: &str = "\
Examples:
  onsembl commands                       the latest commands of all agents
  onsembl commands --agent mine          those of one agent
  onsembl commands ffff0001              the history of one command
  onsembl commands -o name --limit 1     the id of the latest";

/// Characters of a command's text that are shown where nothing is cut to a terminal.
const TEXT: usize = 40;
/// Columns of the name of an agent in a table that fits a terminal.
const AGENT: usize = 30;
/// What stands for a text that is unknown.
const ADOPTED: &str = "(adopted: unknown)";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Commands {
    #[command(flatten)]
    server: ServerArgs,
    /// Only those of this agent, by its name or its id.
    #[arg(long, env = "ONSEMBL_AGENT", value_name = "AGENT")]
    agent: Option<String>,
    /// How many at most, the newest first.
    #[arg(long, env = "ONSEMBL_LIMIT", default_value_t = 200, value_name = "COUNT")]
    limit: usize,
    /// Show the history of this command instead of a list.
    #[arg(env = "ONSEMBL_COMMAND", value_name = "COMMAND", conflicts_with = "agent")]
    command: Option<String>,
}

/// What is shown instead of the ids of agents.
type Names = BTreeMap<String, String>;

/// What the server answers.
enum Answered {
    One(String),
    List(Vec<Value>),
}

impl Commands {
    pub(super) async fn run(self, view: View) -> anyhow::Result<()> {
        let remote = self.server.clone().connect()?;
        let (answer, names) = tokio::task::spawn_blocking(move || {
            let needs_names = matches!(view.format, Format::Table | Format::Wide);
            let names = if needs_names { names(&remote)? } else { Names::new() };
            anyhow::Ok((self.ask(&remote)?, names))
        })
        .await??;
        let now = SystemClock::new().now().wall;
        match answer {
            Answered::One(body) => {
                let detail: CommandDetail = serde_json::from_str(&body).context(NOT_OURS)?;
                view.one(&body, &detail.command.command_id, || {
                    Ok(print::table(&describe(&detail, &names, view, now))?)
                })
            }
            Answered::List(commands) => {
                let named = |command: &Value| {
                    command.get("command_id").and_then(Value::as_str).unwrap_or_default().to_owned()
                };
                view.list("commands", &commands, named, || {
                    if commands.is_empty() {
                        let text = "no commands yet; run one with `onsembl exec`";
                        return Ok(Shape::Nothing(text.to_owned()));
                    }
                    let commands: Vec<CommandSummary> = read(commands.clone())?;
                    Ok(Shape::Table(table(&commands, &names, view.format, now)))
                })
            }
        }
    }

    fn ask(&self, remote: &Remote) -> anyhow::Result<Answered> {
        if let Some(wanted) = &self.command {
            let id = remote.find_command(wanted)?;
            let page = format!("/api/commands/{}", escape(id.as_str()));
            return Ok(Answered::One(remote.get(&page, PATIENCE)?.text()?));
        }
        let path = match &self.agent {
            Some(agent) => {
                let agent = remote.find_agent(agent)?;
                format!("/api/commands?agent={}", escape(agent.as_str()))
            }
            None => "/api/commands".to_owned(),
        };
        Ok(Answered::List(remote.list(&path, "commands", self.limit)?))
    }
}

fn names(remote: &Remote) -> anyhow::Result<Names> {
    let agents = remote.agents()?;
    Ok(agents.into_iter().map(|agent| (agent.agent_id.into(), agent.name)).collect())
}

/// One command and its history, with exact times.
fn describe(detail: &CommandDetail, names: &Names, view: View, now: WallTime) -> Vec<String> {
    let mut lines =
        table(std::slice::from_ref(&detail.command), names, view.format, now).lines(view);
    lines.push(format!(
        "id: {}",
        String::from(onsembl_protocol::shown::Shown::new(&detail.command.command_id))
    ));
    let mut steps = Table::new([
        Column::new("AT", Fit::Whole),
        Column::new("STATUS", Fit::Whole),
        Column::new("BECAUSE", Fit::Rest),
    ]);
    for step in &detail.history {
        let cause = Cell::new(step.cause.as_deref().unwrap_or("-"));
        steps.row([Cell::new(&step.at), Cell::new(&step.status), cause]);
    }
    lines.extend(steps.lines(view));
    if !detail.keyboard.is_empty() {
        let heads = ["KEYBOARD HELD BY", "SINCE", "UNTIL", "BYTES"];
        let heads = heads.map(|head| Column::new(head, Fit::Whole));
        let because = Column::new("BECAUSE", Fit::Rest).spare();
        let mut holds = Table::new(heads.into_iter().chain([because]));
        for hold in &detail.keyboard {
            let (ended, bytes) = match (&hold.ended_at, &hold.ended_by) {
                (Some(at), _) => (at.clone(), hold.bytes.to_string()),
                (None, Some(by)) => {
                    (format!("not known; at the latest {by}"), format!("at least {}", hold.bytes))
                }
                (None, None) => ("-".to_owned(), hold.bytes.to_string()),
            };
            holds.row([
                short(&hold.name, TEXT).into(),
                Cell::new(&hold.since),
                Cell::new(ended),
                Cell::new(bytes),
                Cell::new(hold.because.as_deref().unwrap_or("-")),
            ]);
        }
        lines.extend(holds.lines(view));
    }
    lines
}

fn tone(command: &CommandSummary) -> Tone {
    match command.status.as_str() {
        "completed" => Tone::Good,
        "failed" | "lost" | "outcome-unknown" | "cancelled" => Tone::Bad,
        "running" | "cancelling" => Tone::Plain,
        _ => Tone::Warning,
    }
}

fn table(commands: &[CommandSummary], names: &Names, format: Format, now: WallTime) -> Table {
    let is_wide = format == Format::Wide;
    let mut table = Table::new([
        Column::new("ID", Fit::Whole),
        Column::new("AGENT", Fit::AtMost(AGENT)),
        Column::new("STATUS", Fit::AtMost(10)),
        Column::new("EXIT", Fit::Whole),
        Column::new(if is_wide { "CREATED" } else { "AGE" }, Fit::Whole),
        Column::new("TOOK", Fit::Whole).spare(),
        Column::new("TEXT", Fit::Rest),
        Column::new("BECAUSE", Fit::Rest).spare(),
    ]);
    for c in commands {
        let exit = match (c.exit_code, c.signal) {
            (_, Some(signal)) if is_wide => format!("signal {signal}"),
            (_, Some(signal)) => format!("sig{signal}"),
            (Some(code), None) => code.to_string(),
            (None, None) => "-".to_owned(),
        };
        let text = match (c.adopted, is_wide) {
            (true, _) => ADOPTED.to_owned(),
            (false, true) => c.text.clone(),
            (false, false) => short(&c.text, 4 * TEXT),
        };
        table.row([
            if is_wide { Cell::new(&c.command_id) } else { short_id(&c.command_id).into() },
            Cell::new(names.get(&c.agent_id).unwrap_or(&c.agent_id)),
            Cell::new(&c.status).toned(tone(c)),
            exit.into(),
            if is_wide { Cell::new(&c.created_at) } else { age(&c.created_at, now).into() },
            took(&c.created_at, c.ended_at.as_deref()).into(),
            text.into(),
            Cell::new(c.cause.as_deref().unwrap_or("-")).toned(Tone::Dim),
        ]);
    }
    table
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use unicode_width::UnicodeWidthStr as _;

    fn command(agent: &str, text: &str) -> CommandSummary {
        CommandSummary {
            command_id: "cmd-0193aaaa-bbbb-7ccc-8ddd-eeeeffff0001".to_owned(),
            agent_id: agent.to_owned(),
            text: text.to_owned(),
            adopted: false,
            status: "outcome-unknown".to_owned(),
            cause: Some("the agent lost its state, and nobody knows how it ended".to_owned()),
            exit_code: None,
            signal: Some(15),
            created_at: "2026-11-30T10:00:00.000Z".to_owned(),
            updated_at: "2026-11-30T11:00:00.000Z".to_owned(),
            ended_at: Some("2026-11-30T11:00:07.000Z".to_owned()),
        }
    }

    /// Commands of an ordinary day, for the documents.
    pub(in crate::cli) fn capture(now: WallTime, view: View) -> Vec<String> {
        let of = |id: &str, agent: &str, status: &str, text: &str, cause: &str| CommandSummary {
            command_id: format!("cmd-0193aaaa-bbbb-7ccc-8ddd-eeee{id}"),
            status: status.to_owned(),
            cause: Some(cause.to_owned()),
            signal: None,
            ended_at: None,
            created_at: "2026-11-30T11:58:00.000Z".to_owned(),
            ..command(agent, text)
        };
        let long = "coder-for-the-payments-service";
        let commands = [
            of("5ad0c3f1", "laptop-of-ann", "queued", "make all", "waits for its agent"),
            of("71be20aa", long, "running", "claude -p 'fix the tests'", "its process runs"),
            CommandSummary {
                exit_code: Some(0),
                ended_at: Some("2026-11-30T11:58:07.000Z".to_owned()),
                ..of("9c04d6e2", "build-7", "completed", "cargo test", "exit code 0")
            },
            CommandSummary {
                signal: Some(15),
                ended_at: Some("2026-11-30T11:59:01.000Z".to_owned()),
                ..of("e2f7b918", "build-7", "cancelled", "sleep 1000", "cancelled by ann")
            },
        ];
        table(&commands, &Names::new(), Format::Table, now).lines(view)
    }

    /// What the issue asks for: 80 columns with names of 30 characters.
    #[test]
    fn the_list_fits_eighty_columns_with_names_of_thirty() {
        let now = WallTime::parse_rfc3339("2026-11-30T12:00:00.000Z").unwrap();
        let commands =
            [command(&"n".repeat(30), "make all\nmake test"), command("漢字", &"x".repeat(300))];
        let lines = table(&commands, &Names::new(), Format::Table, now).lines(View::of_columns(80));
        assert_eq!(lines.len(), 3, "{lines:#?}");
        for line in &lines {
            assert!(line.width() <= 80, "{} {line}", line.width());
        }
        let first = &lines[1];
        for part in ["ffff0001", &"n".repeat(30), "sig15", "2h", "make"] {
            assert!(first.contains(part), "{part}: {lines:#?}");
        }
        let wide = table(&commands, &Names::new(), Format::Wide, now);
        let wide = wide.lines(View::of_pipe(Format::Wide)).join("\n");
        for part in ["cmd-0193aaaa", "signal 15", "make all\\nmake test", "how it ended", "1h00m"] {
            assert!(wide.contains(part), "{part}: {wide}");
        }
    }
}
