//! What the process of an agent asks of its engine while it runs: a sign of life, another look at the token, and
//! the end
//! of an attachment.

use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait; then the asker waits.
const WAITING: usize = 8;

/// The way to an engine that runs. See [`AgentOptions::control`](super::AgentOptions::control).
#[derive(Clone, Debug)]
pub struct AgentControl(mpsc::Sender<ControlRequest>);

/// The engine's end of it: for one engine, whichever takes it first.
#[derive(Clone, Debug)]
pub struct ControlInbox(Arc<Mutex<Option<mpsc::Receiver<ControlRequest>>>>);

#[derive(Debug)]
pub(crate) enum ControlRequest {
    Alive(oneshot::Sender<()>),
    LookAtToken,
    HangUp,
}

impl AgentControl {
    /// A way, and its end for the options of an engine.
    #[must_use]
    pub fn new() -> (Self, ControlInbox) {
        let (requests, inbox) = mpsc::channel(WAITING);
        (Self(requests), ControlInbox(Arc::new(Mutex::new(Some(inbox)))))
    }

    /// Completes when the engine's loop has answered; `false` if there is none any more. It has no time limit: for how
    /// long silence is tolerated is the caller's to decide.
    pub async fn is_alive(&self) -> bool {
        let (reply, answer) = oneshot::channel();
        self.0.send(ControlRequest::Alive(reply)).await.is_ok() && answer.await.is_ok()
    }

    /// Has a token file looked at now, which is done every 10 s otherwise.
    pub async fn look_at_token(&self) {
        // An engine that has ended needs no token.
        let _ = self.0.send(ControlRequest::LookAtToken).await;
    }

    /// Ends the attachment of this process's terminal, if there is one; the program continues.
    pub async fn hang_up(&self) {
        // An engine that has ended has left the terminal already.
        let _ = self.0.send(ControlRequest::HangUp).await;
    }
}

impl ControlInbox {
    pub(crate) fn take(&self) -> Option<mpsc::Receiver<ControlRequest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_engine_that_does_not_answer_is_not_taken_for_alive() {
        let (control, inbox) = AgentControl::new();
        let mut requests = inbox.take().unwrap();
        assert!(inbox.take().is_none(), "one engine has it");
        let asked = tokio::spawn({
            let control = control.clone();
            async move { control.is_alive().await }
        });
        let Some(ControlRequest::Alive(reply)) = requests.recv().await else { panic!() };
        reply.send(()).unwrap();
        assert!(asked.await.unwrap());
        drop(requests);
        assert!(!control.is_alive().await);
        control.hang_up().await;
    }
}
