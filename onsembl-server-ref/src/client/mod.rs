//! Runs one command on an agent and follows it to its end, or attaches to a terminal, as a dashboard that watches nothing
//! else.
//!
//! `endpoint.rs` is the server and who asks it; `link.rs` a link that is dialled again when it is lost, `command_link.rs` the
//! same for who watches one command. `remote_command.rs` and `run.rs` run a command, `attach/` is for terminals.

pub mod attach;
mod command_link;
mod ending;
mod endpoint;
mod link;
mod notices;
mod remote_command;
mod run;
mod screen;

pub use remote_command::{RemoteCommand, Until};
pub use run::{Canceller, Followed};
pub use screen::{Ends, Notes, Passing};

use onsembl_transport::secret::{Secret, TokenFile, TokenSource};

/// A text as one part of an address.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(byte.into());
            }
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}
/// Where the token of a client comes from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientToken {
    /// This is it.
    Text(Secret),
    /// It is in this file, which is read at each dial: one that was renewed there is used from then on.
    File(TokenFile),
}

impl TokenSource for ClientToken {
    fn token(&self) -> std::io::Result<Secret> {
        match self {
            Self::Text(token) => token.token(),
            Self::File(file) => file.token(),
        }
    }
}

impl From<Secret> for ClientToken {
    fn from(token: Secret) -> Self {
        Self::Text(token)
    }
}
