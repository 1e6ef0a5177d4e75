//! `onsembl-server export`: the recording of an agent, on standard output and nothing else there.

use super::print;
use super::remote::{PATIENCE, Remote, escape};
use anyhow::{Context as _, bail};
use clap::Args;
use std::io::Write;

#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    remote: Remote,
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
    pub(super) async fn run(self) -> anyhow::Result<()> {
        tokio::task::spawn_blocking(move || self.export()).await?
    }

    fn export(&self) -> anyhow::Result<()> {
        let agent = self.remote.find_agent(&self.agent)?;
        let mut answer = self
            .remote
            .get(&format!("/api/agents/{}/recording", escape(agent.as_str())), PATIENCE)?;
        let mut out = Ending { out: print::raw(), last: Vec::new() };
        let _bytes = std::io::copy(&mut answer, &mut out).context("the recording broke off")?;
        out.flush().context("cannot write the recording")?;
        let last = String::from_utf8_lossy(&out.last);
        if !last.trim_end().rsplit('\n').next().is_some_and(|line| line.starts_with(END_MARK)) {
            bail!("the recording is not whole; `onsembl-server replay` says why");
        }
        Ok(())
    }
}
