//! `onsembl-agent doctor`: looks at everything between an agent and its session, and says what is wrong.
//!
//! | file | idea |
//! | --- | --- |
//! | `observed` | what was seen, as data |
//! | `judge` | what follows from it: pure |
//! | `local` | looks at this machine: state directory, running agent, disk, descriptors |
//! | `probe` | speaks with the server over a diagnosis connection (P-45) |
//!
//! It dials as the agent does, by the same code, under a key of its own, so that it disturbs no agent.

mod judge;
mod ledger;
mod local;
mod observed;
mod probe;

use judge::judge;
pub(crate) use judge::{Check, Verdict};

use crate::engine::{AgentOptions, TokenSourceKind, doctors_dialer};
use crate::state_dir::key_at;
use observed::{Observed, Path, TokenSeen};
use onsembl_transport::Dialer as _;
use onsembl_transport::clock::SystemClock;
use onsembl_transport::secret::{TokenFile, TokenSource as _};
use onsembl_transport::websocket::{DialerError, WebSocketDialer};
use std::path::PathBuf;
use std::time::Duration;

/// What is looked at.
#[derive(Debug)]
pub(crate) struct Examination {
    /// How the agent would dial.
    pub(crate) agent: AgentOptions,
    /// How long a connection is held without a word.
    pub(crate) idle_hold: Duration,
    /// Of the agent on this machine, if it is known which.
    pub(crate) state_dir: Option<PathBuf>,
}

/// Looks at all of it, in order. Takes as long as the idle hold and the server's answers.
///
/// # Errors
/// Nothing can be dialled: the URL or the certificates to trust are unusable.
pub(crate) async fn examine(examination: Examination) -> Result<Vec<Check>, DialerError> {
    let Examination { agent, idle_hold, state_dir } = examination;
    let token = token(&agent.token);
    // Without a token the server can be reached anyway, and says itself that it wants one.
    let dialer = doctors_dialer(&agent, token.outcome.is_ok())?;
    let (path, addresses) = path(&dialer).await;
    let dialled = dialer.dial().await;
    let clocks = dialer.clocks();
    let certificate_ends = dialer.certificate_ends();
    let (dial, probe) = match dialled {
        Ok(link) => {
            let peer = link.peer.clone();
            let key = state_dir.as_deref().and_then(|dir| key_at(dir).ok().flatten());
            (Ok(peer), Some(probe::speak(link, (&agent.name, key), idle_hold).await))
        }
        Err(error) => (Err(error), None),
    };
    let local = tokio::task::spawn_blocking(move || local::look(state_dir)).await.ok();
    let observed = Observed {
        now: SystemClock::new().now().wall,
        token,
        path: Path { addresses, certificate_ends, ..path },
        dial,
        probe,
        clocks,
        local,
    };
    Ok(judge(&observed))
}

/// Each address, and whether it takes connections.
async fn path(dialer: &WebSocketDialer) -> (Path, observed::Addresses) {
    let addresses = match dialer.addresses().await {
        Err(error) => Err(error),
        Ok(found) => {
            let reached = found.into_iter().map(|address| async move {
                let reached = dialer.reach(address).await;
                (address, reached)
            });
            Ok(futures::future::join_all(reached).await)
        }
    };
    let path = Path {
        addresses: Ok(Vec::new()),
        proxy: dialer.proxy(),
        tls: dialer.is_with_tls(),
        certificate_ends: None,
    };
    (path, addresses)
}

fn token(source: &TokenSourceKind) -> TokenSeen {
    let (from, text) = match source {
        TokenSourceKind::Literal(token) => ("the command line".to_owned(), Ok(token.clone())),
        TokenSourceKind::File(path) => {
            (path.display().to_string(), TokenFile(path.clone()).token())
        }
    };
    let outcome = text.map(|token| observed::token_form(token.expose()));
    TokenSeen { from, outcome: outcome.map_err(|error| error.to_string()) }
}
