//! The whole agent against a scripted server, over real WebSockets on the loopback, with real
//! processes and a real state directory.
//!
//! No test sleeps to synchronise: each wait is for a message or a condition, with a deadline far
//! beyond what a loaded machine needs.

// Clippy's leave for tests ends at their helper functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod binary;
mod commands;
mod compat;
mod ending;
mod findings;
mod legacy;
mod orders;
mod server;
mod service;
mod sessions;
mod shown;

use onsembl_agent_ref::engine::{
    self, AgentEnd, AgentError, AgentObservation, AgentOptions, TokenSourceKind,
};
use onsembl_transport::secret::Secret;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The deadline of every wait.
const PATIENCE: Duration = Duration::from_secs(60);

async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

/// Waits until `condition` holds.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    soon(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// An agent in this process.
struct Agent {
    task: JoinHandle<Result<AgentEnd, AgentError>>,
    stop: oneshot::Sender<()>,
    seen: mpsc::Receiver<AgentObservation>,
    dir: TempDir,
}

impl Agent {
    fn start(url: &str) -> Self {
        Self::start_with(url, TokenSourceKind::Literal(Secret::new("token-1")))
    }

    fn start_with(url: &str, token: TokenSourceKind) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (observer, seen) = mpsc::channel(1024);
        let (stop, stopped) = oneshot::channel::<()>();
        let options = {
            let mut it = AgentOptions::new(url, token, "builder");
            it.state_dir = Some(dir.path().join("state"));
            it.observer = Some(observer);
            it
        };
        let task = tokio::spawn(engine::run(options, async {
            let _ = stopped.await;
        }));
        Self { task, stop, seen, dir }
    }

    /// A path for a command to leave something at.
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Waits for something that the agent lets be watched.
    async fn sees(&mut self, what: &str, mut wanted: impl FnMut(&AgentObservation) -> bool) {
        soon(what, async { while !wanted(&self.seen.recv().await.expect("the agent ended")) {} })
            .await;
    }

    /// How it ended, by itself.
    async fn ended(self) -> Result<AgentEnd, AgentError> {
        soon("the end of the agent", self.task).await.unwrap()
    }

    /// Stops it at the end of a test, with a server that reads to the end.
    async fn leave(self, peer: &mut server::Peer) {
        let (_, end) = tokio::join!(peer.end(), self.stop());
        assert_eq!(end.unwrap(), AgentEnd::Shutdown);
    }

    /// Stops it; what it still says must be read meanwhile.
    async fn stop(self) -> Result<AgentEnd, AgentError> {
        let _ = self.stop.send(());
        soon("the end of the agent", self.task).await.unwrap()
    }
}

/// Whether a process of this number is alive, dead ones that nobody reaped not counted.
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat"));
    stat.is_ok_and(|line| !line.rsplit_once(')').unwrap().1.trim_start().starts_with('Z'))
}
