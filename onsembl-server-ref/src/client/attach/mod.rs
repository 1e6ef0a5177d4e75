//! `attach`: the terminal of an agent in the terminal of a person, live, as a dashboard that watches nothing else. It
//! begins with the screen, and output follows from there; a lost link is dialled again, and output resumes where it
//! was.
//!
//! What becomes of what is typed, what is shown and when it is left is decided by `Attach` of the core
//! (`protocol/terminal/attach`). `session.rs` performs that, `messages.rs` translates what the server says,
//! `local.rs` has the
//! person's terminal, `quiet.rs` waits for an answer of a terminal without attaching.

mod local;
mod messages;
mod quiet;
mod session;

pub use onsembl_protocol::terminal::attach::Settled;
pub use onsembl_protocol::terminal::attach::{DetachKey, Sizing};
pub use quiet::Aftermath;

use super::ClientToken;
use super::endpoint::Endpoint;
use crate::http::ScreenDump;
use anyhow::ensure;
use onsembl_protocol::fleet::OutputPosition;
use onsembl_protocol::id::{AgentId, CommandId};
use onsembl_protocol::model::Stream;
use onsembl_protocol::terminal::attach::TerminalPosition;
use onsembl_protocol::wire::payload::Feature;
use onsembl_transport::ProxyRule;
use onsembl_transport::tls::TlsRoots;
use session::Session;

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

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// The key was pressed. The terminal continues.
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
            "attach needs a terminal for standard input and output; `onsembl screen` prints the screen, `exec` types"
        );
        let endpoint = Endpoint {
            server: self.server.clone(),
            token: self.token.clone(),
            roots: self.roots.clone(),
            proxy: self.proxy.clone(),
        };
        let (terminal, dump) = self.first_screen(&endpoint).await?;
        let prefix = format!("attach-{}", uuid::Uuid::now_v7());
        let features = vec![
            Feature::OutputBytes,
            Feature::OutputBinary,
            Feature::OutputSpool,
            Feature::OutputReplay,
            Feature::Typing,
            Feature::TerminalSize,
            Feature::LiveView,
        ];
        let link = endpoint.link(&prefix, terminal.clone(), features).await?;
        Session::open(&self, endpoint, link, terminal, &dump)?.follow().await
    }

    /// The screen, and the terminal that it is of.
    async fn first_screen(&self, endpoint: &Endpoint) -> anyhow::Result<(CommandId, ScreenDump)> {
        let page = match &self.of {
            Attached::Agent(agent) => format!("/api/agents/{}", super::escape(agent.as_str())),
            Attached::Terminal(id) => format!("/api/commands/{}", super::escape(id.as_str())),
        };
        let dump = endpoint.screen(&format!("{page}/screen?format=dump")).await?;
        let terminal = dump.command_id.clone();
        ensure!(
            terminal.is_terminal(),
            "this is a command, not a terminal; follow its output with `onsembl output --follow {terminal}`"
        );
        Ok((terminal, dump))
    }
}

fn drawn_at(dump: &ScreenDump) -> Option<TerminalPosition> {
    dump.incarnation.map(|incarnation| TerminalPosition { incarnation, offset: dump.offset })
}

const fn position(at: TerminalPosition) -> OutputPosition {
    let TerminalPosition { incarnation, offset } = at;
    OutputPosition { incarnation, stream: Stream::Terminal, offset }
}
