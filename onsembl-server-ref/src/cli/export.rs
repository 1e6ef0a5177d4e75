//! `onsembl-server export`: the recording of an agent, on standard output and nothing else there.

use super::remote::Remote;
use anyhow::{Context as _, bail};
use clap::Args;
use onsembl_protocol::command::{Candidate, choose_agent};
use onsembl_protocol::id::AgentId;
use serde::Deserialize;
use std::io::Write;
use std::time::Duration;

/// Longest wait for the server to begin, and between two parts of the answer.
const PATIENCE: Duration = Duration::from_secs(15);

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

#[derive(Debug, Deserialize)]
struct Listing {
    agents: Vec<Agent>,
}

#[derive(Debug, Deserialize)]
struct Agent {
    agent_id: AgentId,
    name: String,
}

impl Export {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        tokio::task::spawn_blocking(move || self.export()).await?
    }

    fn export(&self) -> anyhow::Result<()> {
        let agent = self.find()?;
        let mut answer = self.remote.get(&format!("/api/agents/{agent}/recording"), PATIENCE)?;
        let mut out = Ending { out: std::io::stdout().lock(), last: Vec::new() };
        let _bytes = std::io::copy(&mut answer.body_mut().as_reader(), &mut out)
            .context("the recording broke off")?;
        out.flush().context("cannot write the recording")?;
        let last = String::from_utf8_lossy(&out.last);
        if !last.trim_end().rsplit('\n').next().is_some_and(|line| line.starts_with(END_MARK)) {
            bail!("the recording is not whole; `onsembl-server replay` says why");
        }
        Ok(())
    }

    fn find(&self) -> anyhow::Result<AgentId> {
        let body = self.remote.get("/api/agents", PATIENCE)?.body_mut().read_to_string();
        let listing: Listing = serde_json::from_str(&body.context("the answer broke off")?)
            .context("what answers there is no onsembl-server, or another version of it")?;
        let candidates: Vec<Candidate<'_>> = listing
            .agents
            .iter()
            .map(|a| Candidate { id: &a.agent_id, name: &a.name, aliases: &[], available: true })
            .collect();
        Ok(choose_agent(Some(&AgentId::new(&self.agent)), &candidates)?.clone())
    }
}
