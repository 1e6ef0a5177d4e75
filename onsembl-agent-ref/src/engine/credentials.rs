//! What the agent shows when it dials: its token and the id that a server taught it.

use crate::options::{AgentOptions, TokenSourceKind};
use onsembl_protocol::id::AgentId;
use onsembl_transport::ProxyRule;
use onsembl_transport::private::Mode;
use onsembl_transport::secret::{Secret, TokenFile, TokenSource};
use onsembl_transport::tls::TlsRoots;
use onsembl_transport::websocket::{DialerError, WebSocketDialer};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where agents dial, below the path of their server's URL.
const PATH: &str = "/ws/agent";

/// What changes between two dials. All clones share it.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    token: Token,
    agent: Arc<Mutex<Option<AgentId>>>,
}

#[derive(Clone, Debug)]
enum Token {
    Literal(Arc<Mutex<Secret>>),
    File(TokenFile),
}

impl Credentials {
    pub(super) fn new(token: &TokenSourceKind) -> Self {
        let token = match token {
            TokenSourceKind::Literal(token) => Token::Literal(Arc::new(Mutex::new(token.clone()))),
            TokenSourceKind::File(path) => {
                if let Ok(mode) = Mode::at(path)
                    && mode.is_open_to_others()
                {
                    tracing::warn!(file = %path.display(), %mode, "every user of this machine can read the token; run chmod 600 on the file");
                }
                Token::File(TokenFile(path.clone()))
            }
        };
        Self { token, agent: Arc::default() }
    }

    /// A dialer that shows them.
    pub(super) fn dialer(&self, options: &AgentOptions) -> Result<WebSocketDialer, DialerError> {
        let (bearer, claimant) = (self.clone(), self.clone());
        Ok(Self::bare_dialer(options)?
            .with_token(move || bearer.token())
            // Existing servers find a returning agent by it.
            .with_query("agentId", move || {
                lock(&claimant.agent).as_ref().map(|id| id.as_str().to_owned())
            }))
    }

    /// The same, without a token.
    fn bare_dialer(options: &AgentOptions) -> Result<WebSocketDialer, DialerError> {
        let roots = options.tls_ca.clone().map_or(TlsRoots::Native, TlsRoots::Pem);
        let proxy = options.proxy.clone().unwrap_or_else(ProxyRule::from_env);
        WebSocketDialer::new(&options.server, PATH, &roots)?.with_proxy(&proxy)
    }

    /// A failure is a failed dial, and logged as one.
    fn token(&self) -> io::Result<Secret> {
        match &self.token {
            Token::Literal(token) => Ok(lock(token).clone()),
            Token::File(file) => file.token(),
        }
    }

    /// The server offers a newer token for the next dial.
    pub(super) fn renew(&self, newer: &str) {
        match &self.token {
            // One that no header can carry would be kept until a restart, and no dial could show it.
            _ if !Secret::new(newer).can_be_shown() => {
                tracing::warn!(
                    "the server offered a token that is not valid in an HTTP header; keeping the current one"
                );
            }
            Token::Literal(token) => {
                *lock(token) = Secret::new(newer);
                tracing::info!("the server sent a newer token; the next dial uses it");
            }
            Token::File(TokenFile(path)) => {
                tracing::info!(file = %path.display(), "the server offered a newer token; ignored, since the token file takes precedence");
            }
        }
    }

    /// A server taught this agent its id.
    pub(super) fn learn(&self, agent: Option<&AgentId>) {
        if let Some(agent) = agent {
            *lock(&self.agent) = Some(agent.clone());
        }
    }
}

/// A dialer as the agent of these options has it, for somebody who looks what becomes of a dial: it claims no agent.
/// Without a token what is on the way answers anyway.
pub(crate) fn doctors_dialer(
    options: &AgentOptions,
    with_token: bool,
) -> Result<WebSocketDialer, DialerError> {
    let dialer = Credentials::bare_dialer(options)?;
    let credentials = Credentials::new(&options.token);
    Ok(match with_token {
        true => dialer.with_token(move || credentials.token()),
        false => dialer,
    })
}

/// Nothing that holds these locks can panic between two writes.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_token_replaces_a_literal_one_and_never_a_file() {
        let literal = TokenSourceKind::Literal(Secret::new("old"));
        let credentials = Credentials::new(&literal);
        for rubbish in [" ", "a b\r\n", "a\0", "ä"] {
            credentials.renew(rubbish);
        }
        assert_eq!(credentials.token().unwrap().expose(), "old");
        credentials.renew("new");
        assert_eq!(credentials.token().unwrap().expose(), "new");
        assert!(!format!("{credentials:?}").contains("new"));

        let dir = tempfile::tempdir().unwrap();
        let file = TokenSourceKind::File(dir.path().join("token"));
        let credentials = Credentials::new(&file);
        assert!(credentials.token().is_err());
        std::fs::write(dir.path().join("token"), "from the file\n").unwrap();
        credentials.renew("new");
        assert_eq!(credentials.token().unwrap().expose(), "from the file");
    }
}
