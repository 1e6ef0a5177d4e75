//! `onsembl-server screen`: what a terminal shows now.

use super::print;
use super::remote::{PATIENCE, Remote, escape};
use anyhow::Context as _;
use clap::Args;
use std::io::{IsTerminal as _, Read as _, Write as _};

/// Print the screen of an agent's terminal, or of a command, as it is now; also while the agent is away.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  onsembl-server screen ada                  what ada's terminal shows
  onsembl-server screen terminal-0193 --text as text, without colours
  onsembl-server screen ada --json           with cursor, title, size, and which screen it is")]
pub(super) struct Screen {
    #[command(flatten)]
    remote: Remote,
    /// The agent, by its name or its id; or a command, by its id.
    #[arg(value_name = "AGENT|COMMAND")]
    of: String,
    /// With colours. So it is on a terminal unless something else is asked for.
    #[arg(long, conflicts_with_all = ["text", "json"])]
    ansi: bool,
    /// As text. So it is elsewhere.
    #[arg(long, conflicts_with = "json")]
    text: bool,
    /// All that is known, for programs.
    #[arg(long)]
    json: bool,
}

impl Screen {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        tokio::task::spawn_blocking(move || self.print()).await?
    }

    fn print(&self) -> anyhow::Result<()> {
        let is_terminal = print::raw().is_terminal();
        let format = match (self.json, self.ansi || is_terminal && !self.text) {
            (true, _) => "json",
            (false, true) => "ansi",
            (false, false) => "text",
        };
        let page = format!("/api/commands/{}/screen?format={format}", escape(&self.of));
        let mut answer = match self.remote.find(&page, PATIENCE)? {
            Some(answer) => answer,
            None => {
                let agent = self.remote.find_agent(&self.of)?;
                let page = format!("/api/agents/{}/screen?format={format}", escape(agent.as_str()));
                self.remote.get(&page, PATIENCE)?
            }
        };
        let mut text = String::new();
        answer.read_to_string(&mut text).context("the screen broke off")?;
        if self.json {
            return Ok(print::json(&text)?);
        }
        // Characters of a screen are no controls, and its colours are the server's own.
        let mut out = print::raw();
        out.write_all(text.as_bytes()).context("cannot write the screen")?;
        out.flush().context("cannot write the screen")
    }
}
