//! Why an agent cannot start or continue.

use crate::local_terminal::LocalTerminalError;
use crate::state_dir::StateDirError;
use onsembl_protocol::session::AgentCause;
use thiserror::Error;

/// What caused an error here, and is its [source](std::error::Error::source).
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why an agent cannot start or continue.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AgentError {
    /// A name or type that no server would take.
    #[error("the agent's {what} must have 1 to {most} bytes; choose another")]
    Label {
        /// Which one.
        what: &'static str,
        /// The most bytes.
        most: usize,
    },
    /// A token without a text.
    #[error("the token is empty; get one from the server's owner (onsembl-server token)")]
    EmptyToken,
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateDirError),
    /// The terminal of this process cannot be attached.
    #[error(transparent)]
    Terminal(#[from] LocalTerminalError),
    /// The program to attach to cannot be started.
    #[error("{0}; check its name, or give its full path")]
    Program(String),
    /// The server's URL or the certificates to trust are unusable.
    #[error("{0}")]
    Server(#[source] Cause),
    /// The server refuses this agent permanently.
    #[error("{cause}; {}", cause.advice())]
    Refused {
        /// How it said so.
        cause: AgentCause,
    },
    /// The export of traces cannot be set up.
    #[cfg(feature = "otel")]
    #[error("{0}")]
    Traces(#[source] Cause),
    /// A task of the agent died. Not expected.
    #[error("the agent failed because of an internal error: {0}; report this as a bug")]
    Internal(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use onsembl_protocol::close::{CloseCode, CloseReason};
    use onsembl_protocol::session::{DialFailure, HelloRefusal};

    #[test]
    fn a_refusal_says_why_and_what_to_do() {
        let replaced = CloseReason::peer(Some(CloseCode::REPLACED));
        for (cause, why, remedy) in [
            (AgentCause::DialFailed(DialFailure::Forbidden), "HTTP 403", "new token"),
            (AgentCause::HelloRefused(HelloRefusal::Forbidden), "refuse", "new token"),
            (AgentCause::LinkEnded(replaced), "4200", "stop one of the two"),
        ] {
            let text = AgentError::Refused { cause }.to_string();
            assert!(text.contains(why) && text.contains(remedy), "{text}");
        }
    }
}
