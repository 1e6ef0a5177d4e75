//! `attach`: the terminal of an agent in the terminal of a person, live, as a dashboard that watches nothing else. It
//! begins with the screen, and output follows from there; a lost link is dialled again, and goes on where it was.
//!
//! `session.rs` is its life, `typist.rs` decides what becomes of what is typed, `local.rs` has the person's terminal,
//! `view.rs` says what of the output is new, `quiet.rs` waits for an answer of a terminal without attaching.

mod detach;
mod local;
mod quiet;
mod session;
mod typist;
mod view;

pub use detach::DetachKey;
pub use quiet::{Aftermath, Settled};

use super::ClientToken;
use super::link::ServerLink;
use crate::http::ScreenDump;
use anyhow::{Context as _, ensure};
use onsembl_protocol::id::{AgentId, CommandId};
use onsembl_protocol::shown::Shown;
use onsembl_transport::secret::TokenSource as _;
use onsembl_transport::tls::TlsRoots;
use onsembl_transport::websocket::WebSocketDialer;
use onsembl_transport::{HttpClient, ProxyRule};
use session::Session;
use std::time::Duration;
use view::Place;

/// How long the server may take for a screen.
const PATIENCE: Duration = Duration::from_secs(15);

/// A terminal that is to be attached to.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// The server: http, https, ws or wss.
    pub server: String,
    /// A dashboard token.
    pub token: ClientToken,
    /// Which certificates to trust.
    pub roots: TlsRoots,
    /// Which proxy to go through.
    pub proxy: ProxyRule,
    /// What to attach to.
    pub of: Attached,
    /// Who types, for the others.
    pub name: String,
    /// To type too.
    pub typing: AttachTyping,
    /// The key that detaches.
    pub detach: DetachKey,
    /// Whether the terminal gets the size of this one while its keyboard is held.
    pub sizing: Sizing,
}

/// What to attach to.
#[derive(Clone, Debug)]
pub enum Attached {
    /// The terminal of an agent.
    Agent(AgentId),
    /// This terminal.
    Terminal(CommandId),
}

/// Whether to type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachTyping {
    /// If nobody else does.
    IfFree,
    /// Whoever does; they lose the keyboard.
    Over,
    /// Not at all.
    Never,
}

/// What becomes of the size of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizing {
    /// It follows the one of the person who types.
    Follow,
    /// It stays.
    Keep,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// The key was pressed. The terminal goes on.
    Detached(CommandId),
    /// The terminal ended.
    Ended(CommandId, String),
    /// This process was asked to end, by this signal.
    Signal(i32),
}

impl Attachment {
    /// Attaches, until it is left. The terminal of this process is afterwards as it was.
    ///
    /// # Errors
    /// There is no terminal here or there, or the server does not want this dashboard.
    pub async fn run(self) -> anyhow::Result<Left> {
        ensure!(
            local::is_there(),
            "attach needs a terminal for standard input and output; `onsembl-server screen` prints what is shown, `exec` types"
        );
        let (terminal, dump) = self.first_screen().await?;
        let dialer = WebSocketDialer::new(&self.server, "/ws/dashboard", &self.roots)?
            .with_proxy(&self.proxy)?
            .with_token(self.token.clone());
        let prefix = format!("attach-{}", uuid::Uuid::now_v7());
        let link = ServerLink::open(dialer, &prefix).await?;
        Session::attach(self, link, terminal, &dump).await
    }

    /// The screen, and the terminal that it is of.
    async fn first_screen(&self) -> anyhow::Result<(CommandId, ScreenDump)> {
        let page = match &self.of {
            Attached::Agent(agent) => format!("/api/agents/{}", super::escape(agent.as_str())),
            Attached::Terminal(id) => format!("/api/commands/{}", super::escape(id.as_str())),
        };
        let dump = self.screen(&format!("{page}/screen?format=dump")).await?;
        let terminal = dump.command_id.clone();
        ensure!(
            terminal.is_terminal(),
            "this is no terminal but a command, into which nobody types; `onsembl-server output --follow {terminal}` shows what it writes"
        );
        Ok((terminal, dump))
    }

    async fn screen(&self, page: &str) -> anyhow::Result<ScreenDump> {
        get_screen(&self.server, &self.token, &self.roots, &self.proxy, page).await
    }
}

async fn get_screen(
    server: &str,
    token: &ClientToken,
    roots: &TlsRoots,
    proxy: &ProxyRule,
    page: &str,
) -> anyhow::Result<ScreenDump> {
    let client = HttpClient::new(server.parse()?, roots, proxy, token.token()?, PATIENCE)?;
    let mut answer = client.get(page).await?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        let bytes = body.len() + chunk.len();
        ensure!(bytes <= 2 * crate::http::SCREEN_ANSWER, "the screen is too long");
        body.extend_from_slice(&chunk);
    }
    ensure!(
        answer.status() == 200,
        "the server answers {}: {}",
        answer.status(),
        Shown::new(String::from_utf8_lossy(&body)).within(1024)
    );
    serde_json::from_slice(&body)
        .context("what answers there is no onsembl-server, or another version of it")
}

fn place(dump: &ScreenDump) -> Option<Place> {
    dump.incarnation.map(|incarnation| Place { incarnation, offset: dump.offset })
}
