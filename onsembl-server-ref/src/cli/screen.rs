//! `screen`: what a terminal shows now.

use super::connect::ServerArgs;
use super::print;
use super::remote::{NOT_OURS, PATIENCE, Remote, escape};
use super::view::{Format, View};
use anyhow::Context as _;
use clap::Args;
use serde_json::Value;
use std::io::Write as _;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onsembl screen ada                  the current screen of ada's terminal
  onsembl screen terminal-0193 --text as text, without colours
  onsembl screen ada --json           with cursor, title, size, and which screen it is")]
pub(super) struct Screen {
    #[command(flatten)]
    server: ServerArgs,
    /// The agent, by its name or its id; or a command, by its id.
    #[arg(value_name = "AGENT|COMMAND")]
    of: String,
    /// With colours: the default on a terminal.
    #[arg(long, conflicts_with = "text")]
    ansi: bool,
    /// As plain text: the default elsewhere.
    #[arg(long)]
    text: bool,
}

impl Screen {
    pub(super) async fn run(self, view: View) -> anyhow::Result<()> {
        let remote = self.server.clone().connect()?;
        tokio::task::spawn_blocking(move || self.print(&remote, view)).await?
    }

    fn print(&self, remote: &Remote, view: View) -> anyhow::Result<()> {
        let (is_ansi, is_text) = match view.format {
            Format::Json | Format::Jsonl | Format::Name => (false, false),
            Format::Table | Format::Wide => {
                let is_ansi = self.ansi || print::is_terminal() && !self.text;
                (is_ansi, !is_ansi)
            }
        };
        let format = match (is_ansi, is_text) {
            (true, _) => "ansi",
            (false, true) => "text",
            (false, false) => "json",
        };
        let page = format!("/api/commands/{}/screen?format={format}", escape(&self.of));
        let mut answer = match remote.find(&page, PATIENCE)? {
            Some(answer) => answer,
            None => {
                let page = match remote.look_for_agent(&self.of)? {
                    Ok(agent) => format!("/api/agents/{}", escape(agent.as_str())),
                    Err(why) => {
                        let command = remote.look_for_command(&self.of)?;
                        let command = command.with_context(|| {
                            format!("{why}; and no command of yours has this id")
                        })?;
                        format!("/api/commands/{}", escape(command.as_str()))
                    }
                };
                remote.get(&format!("{page}/screen?format={format}"), PATIENCE)?
            }
        };
        let text = answer.text().context("the screen was cut off")?;
        if format == "json" {
            let screen: Value = serde_json::from_str(&text).context(NOT_OURS)?;
            let id = screen.get("command_id").and_then(Value::as_str).context(NOT_OURS)?;
            return view.one(&text, id, || Ok(()));
        }
        // Characters of a screen are no controls, and its colours are the server's own.
        let mut out = print::raw();
        out.write_all(text.as_bytes()).context("cannot write the screen")?;
        out.flush().context("cannot write the screen")
    }
}
