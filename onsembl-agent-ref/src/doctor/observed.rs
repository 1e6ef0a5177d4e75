//! What was seen, as data: nothing here looks, and nothing judges.

use crate::status_file::AgentStatusFile;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use onsembl_protocol::model::HeartbeatTiming;
use onsembl_protocol::time::WallTime;
use onsembl_transport::{Clocks, DialError};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// All that was seen.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) now: WallTime,
    pub(super) token: TokenSeen,
    pub(super) path: Path,
    /// With whom there was a link.
    pub(super) dial: Result<String, DialError>,
    pub(super) probe: Option<Probe>,
    pub(super) clocks: Option<Clocks>,
    /// `None`: this machine could not be checked.
    pub(super) local: Option<Local>,
}

/// Addresses, and how long a connection to each took.
pub(super) type Addresses = Result<Vec<(SocketAddr, Result<Duration, DialError>)>, DialError>;

/// The way to the server, or to the proxy that leads to it.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) addresses: Addresses,
    pub(super) proxy: Option<String>,
    pub(super) tls: bool,
    pub(super) certificate_ends: Option<SystemTime>,
}

/// The token, without its text.
#[derive(Debug)]
pub(super) struct TokenSeen {
    /// Where it comes from.
    pub(super) from: String,
    pub(super) outcome: Result<TokenForm, String>,
}

/// What a token says of itself. Nobody has checked it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenForm {
    /// A random one of a server of ours.
    Random { kind: String, id: String },
    /// A signed one.
    Signed { kind: Option<String>, id: Option<String>, expires: Option<WallTime> },
    /// Neither.
    Other,
}

/// What can be read of a token without its secret part.
pub(super) fn token_form(token: &str) -> TokenForm {
    #[derive(Deserialize)]
    struct Claims {
        kind: Option<String>,
        jti: Option<String>,
        exp: Option<i64>,
    }
    let random: Vec<&str> = token.split('_').collect();
    if let ["onsembl", kind, id, _] = random.as_slice() {
        return TokenForm::Random { kind: (*kind).to_owned(), id: (*id).to_owned() };
    }
    let payload = token.split('.').nth(1).filter(|_| token.split('.').count() == 3);
    let claims = payload
        .and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok())
        .and_then(|json| serde_json::from_slice::<Claims>(&json).ok());
    match claims {
        None => TokenForm::Other,
        Some(Claims { kind, jti, exp }) => TokenForm::Signed {
            kind,
            id: jti,
            expires: exp.map(|exp| WallTime::from_unix_millis(exp.saturating_mul(1000))),
        },
    }
}

/// What the server said over a diagnosis connection.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) hello: Result<Hello, String>,
    /// How long the answer to a ping took; none was sent if the hello was not accepted.
    pub(super) ping: Option<Result<Duration, String>>,
    pub(super) idle: Option<Idle>,
    /// Bytes of the large frame, and how long its answer took.
    pub(super) large: Option<(usize, Result<Duration, String>)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Hello {
    pub(super) took: Duration,
    pub(super) server: ServerKind,
    pub(super) timing: HeartbeatTiming,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerKind {
    Extended,
    Legacy,
}

/// A link that was held without a word.
#[derive(Debug)]
pub(super) struct Idle {
    pub(super) asked: Duration,
    pub(super) lasted: Duration,
    /// How it ended, or why a ping behind the silence was not answered; `Ok` if it was.
    pub(super) outcome: Result<(), String>,
}

/// What was seen on this machine.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) state: State,
    /// Open descriptors of this process, and how many it may have.
    pub(super) descriptors: Option<Descriptors>,
}

#[derive(Debug)]
pub(super) enum State {
    /// It is unknown which state directory is meant.
    NotNamed,
    /// No agent has run there.
    Missing {
        path: PathBuf,
        /// Why none can: the nearest directory that exists, and why nothing can be made in it.
        unmakeable: Option<(PathBuf, String)>,
    },
    Found(Box<StateFound>),
}

#[derive(Debug)]
pub(super) struct StateFound {
    pub(super) path: PathBuf,
    /// Why nothing can be written there.
    pub(super) unwritable: Option<String>,
    /// Free bytes and free files of its file system; `u64::MAX` if it has no fixed number of files.
    pub(super) disk: Result<(u64, u64), String>,
    /// Other state directories with the same key.
    pub(super) copies: Vec<PathBuf>,
    pub(super) agent: Running,
}

/// The agent that belongs to a state directory.
#[derive(Debug)]
pub(super) enum Running {
    /// No process has it.
    Not,
    /// A process has it, and what it says of itself cannot be read.
    Unreadable(String),
    Yes {
        status: Box<AgentStatusFile>,
        process: Process,
    },
}

/// A process, as the system shows it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Process {
    /// As in the third field of `/proc/PID/stat`.
    pub(super) state: Option<char>,
    pub(super) descriptors: Option<Descriptors>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Descriptors {
    pub(super) open: u64,
    pub(super) allowed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_of_itself_what_is_no_secret() {
        let random = TokenForm::Random { kind: "agent".into(), id: "0123".into() };
        assert_eq!(token_form("onsembl_agent_0123_secret"), random);
        let payload =
            URL_SAFE_NO_PAD.encode(r#"{"sub":"a","kind":"dashboard","jti":"t-1","exp":7}"#);
        let signed = TokenForm::Signed {
            kind: Some("dashboard".into()),
            id: Some("t-1".into()),
            expires: Some(WallTime::from_unix_millis(7000)),
        };
        assert_eq!(token_form(&format!("h.{payload}.s")), signed);
        for other in ["", "x", "a.b.c", "a.b", "onsembl_agent"] {
            assert_eq!(token_form(other), TokenForm::Other, "{other}");
        }
    }
}
