//! `export`: the recording of an agent, on standard output and nothing else there.

use super::connect::ServerArgs;
use super::print;
use super::remote::{PATIENCE, Remote, escape};
use super::view::{Format, View};
use anyhow::{Context as _, bail};
use clap::Args;
use std::io::Write;

const EXAMPLES: &str = "\
Examples:
  onsembl export mine > mine.jsonl
  onsembl-server replay mine.jsonl     check that this version decides the same

The recording is JSON lines whatever the -o, except for `-o name`, which prints the id of the agent.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Export {
    #[command(flatten)]
    server: ServerArgs,
    /// The agent, by its name or its id.
    #[arg(env = "ONSEMBL_AGENT")]
    agent: String,
}

/// How the last line of a whole recording begins.
const END_MARK: &str = r#"{"end":"#;
/// Longer than the last line.
const ENDING: usize = 256;

/// Passes on what is written, and keeps the end of it.
struct Ending<W> {
    out: W,
    last: Vec<u8>,
}

impl<W: Write> Write for Ending<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.last.extend_from_slice(bytes.get(..written).unwrap_or(bytes));
        let _ = self.last.drain(..self.last.len().saturating_sub(ENDING));
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

impl Export {
    pub(super) async fn run(self, view: View) -> anyhow::Result<()> {
        let remote = self.server.clone().connect()?;
        tokio::task::spawn_blocking(move || self.export(&remote, view)).await?
    }

    fn export(&self, remote: &Remote, view: View) -> anyhow::Result<()> {
        let agent = remote.find_agent(&self.agent)?;
        if view.format == Format::Name {
            return Ok(print::line(agent.as_str())?);
        }
        let page = format!("/api/agents/{}/recording", escape(agent.as_str()));
        let mut answer = remote.get(&page, PATIENCE)?;
        let mut out = Ending { out: print::raw(), last: Vec::new() };
        let _bytes = std::io::copy(&mut answer, &mut out).context("the recording was cut off")?;
        out.flush().context("cannot write the recording")?;
        let last = String::from_utf8_lossy(&out.last);
        if !last.trim_end().rsplit('\n').next().is_some_and(|line| line.starts_with(END_MARK)) {
            bail!("the recording is incomplete; `onsembl-server replay` says why");
        }
        Ok(())
    }
}
