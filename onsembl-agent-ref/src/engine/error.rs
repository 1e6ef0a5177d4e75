//! Why an agent cannot start or go on.

use crate::local_terminal::LocalTerminalError;
use crate::state_dir::StateDirError;
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::session::{AgentCause, DialFailure, HelloRefusal};
use thiserror::Error;

/// Why an agent cannot start or go on.
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
    #[error("{0}; check its name, or give its whole path")]
    Program(String),
    /// The server's URL or the certificates to trust are unusable.
    #[error("{0}")]
    Server(String),
    /// The server refuses this agent for good.
    #[error("{cause}; {}", advice(cause))]
    Refused {
        /// How it said so.
        cause: AgentCause,
    },
    /// A task of the agent died. Not expected.
    #[error("the agent failed by a fault of its own: {0}; report this as a fault of the program")]
    Internal(String),
}

/// What the owner of a refused agent can do.
fn advice(cause: &AgentCause) -> &'static str {
    const NEW_TOKEN: &str = "get a new token from the server's owner and start the agent with it";
    match cause {
        AgentCause::LinkEnded(reason) => match reason.cause {
            CloseCause::Replaced => {
                "stop one of the two, or give this one a state directory of its own"
            }
            CloseCause::Deleted => {
                "to have it back as a new agent, start it with a new token and a new state directory"
            }
            _ => NEW_TOKEN,
        },
        AgentCause::DialFailed(DialFailure::Forbidden)
        | AgentCause::HelloRefused(HelloRefusal::Forbidden) => NEW_TOKEN,
        AgentCause::DialFailed(_)
        | AgentCause::Started
        | AgentCause::RetryDue
        | AgentCause::LinkOpened
        | AgentCause::HelloAccepted
        | AgentCause::HelloRefused(_)
        | AgentCause::HelloUnanswered
        | AgentCause::DialUnanswered
        | AgentCause::Silence(_)
        | AgentCause::HeardAgain
        | AgentCause::Slept(_)
        | AgentCause::TokenRenewed
        | AgentCause::Stopped
        | AgentCause::EndOrdered(_) => "ask the server's owner why",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onsembl_protocol::close::{CloseCode, CloseReason};

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
