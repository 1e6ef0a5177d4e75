//! Where a client finds its server, and as whom: what every client dials and asks with.

use super::command_link::CommandLink;
use super::link::ServerLink;
use super::{ClientToken, escape};
use crate::http::ScreenDump;
use anyhow::{Context as _, ensure};
use onsembl_protocol::id::CommandId;
use onsembl_protocol::shown::Shown;
use onsembl_protocol::wire::payload::Feature;
use onsembl_transport::secret::TokenSource as _;
use onsembl_transport::tls::TlsRoots;
use onsembl_transport::websocket::WebSocketDialer;
use onsembl_transport::{HttpClient, ProxyRule};
use serde::Deserialize;
use std::time::Duration;

/// How long the server may take for a screen.
const PATIENCE: Duration = Duration::from_secs(15);
/// Most bytes of the answer why a command is where it is: its steps are many.
const WHY_ANSWER: usize = 1024 * 1024;

/// A server, and a token for it.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// http, https, ws or wss.
    pub(super) server: String,
    pub(super) token: ClientToken,
    pub(super) roots: TlsRoots,
    pub(super) proxy: ProxyRule,
}

impl Endpoint {
    /// Dials, once; a link that is lost later is dialled again. `prefix` begins the ids of messages.
    ///
    /// # Errors
    /// There is no link to be had.
    pub(super) async fn link(
        &self,
        prefix: &str,
        command: CommandId,
        features: Vec<Feature>,
    ) -> anyhow::Result<CommandLink> {
        let dialer = WebSocketDialer::new(&self.server, "/ws/dashboard", &self.roots)?
            .with_proxy(&self.proxy)?
            .with_token(self.token.clone());
        Ok(CommandLink::new(ServerLink::open(dialer, prefix).await?, command, features))
    }

    /// The screen that this page gives.
    ///
    /// # Errors
    /// It cannot be had; the text says why.
    pub(super) async fn screen(&self, page: &str) -> anyhow::Result<ScreenDump> {
        let body = self.get(page, 2 * crate::http::SCREEN_ANSWER).await?;
        serde_json::from_slice(&body)
            .context("the reply is not from an onsembl-server of a compatible version")
    }

    /// All that keeps this command from being started, a line each.
    ///
    /// # Errors
    /// The server cannot be asked, or does not say.
    pub(super) async fn waits_on(&self, command: &CommandId) -> anyhow::Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Why {
            waits_on: Vec<Obstacle>,
        }
        #[derive(Deserialize)]
        struct Obstacle {
            text: String,
        }
        let page = format!("/api/commands/{}/why", escape(command.as_str()));
        let why: Why = serde_json::from_slice(&self.get(&page, WHY_ANSWER).await?)?;
        Ok(why.waits_on.into_iter().map(|obstacle| obstacle.text).collect())
    }

    /// What this page says, at most this many bytes.
    async fn get(&self, page: &str, most: usize) -> anyhow::Result<Vec<u8>> {
        let token = self.token.token()?;
        let server = self.server.parse()?;
        let client = HttpClient::new(server, &self.roots, &self.proxy, token, PATIENCE)?;
        let mut answer = client.get(page).await?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            let bytes = body.len() + chunk.len();
            ensure!(bytes <= most, "the reply is too long");
            body.extend_from_slice(&chunk);
        }
        ensure!(
            answer.status() == 200,
            "the server answers {}: {}",
            answer.status(),
            Shown::new(String::from_utf8_lossy(&body)).within(1024)
        );
        Ok(body)
    }
}
