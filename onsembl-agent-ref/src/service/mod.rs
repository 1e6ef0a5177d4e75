//! What an agent tells the service manager that started it, if one waits for word.
//!
//! It is ready when its engine runs: an agent works without a server, and waiting for one is no failure to start. A
//! sign
//! of life is sent after the engine's loop has answered, and for no other reason.

mod unit;

pub(crate) use unit::AgentUnit;

use crate::engine::{AgentControl, AgentObservation};
use onsembl_transport::service::{ServiceState, Supervisor};
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::time::sleep;

/// How long an end may take: commands have 8 s, then come the last words and the disk.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// The service manager, or nobody.
#[derive(Debug)]
pub(crate) struct Supervision(Supervisor);

impl Supervision {
    /// As the environment says.
    pub(crate) fn from_env() -> Self {
        Self(Supervisor::from_env())
    }

    /// For what has nothing to do with signs of life.
    pub(crate) const fn manager(&self) -> &Supervisor {
        &self.0
    }

    /// Says when the engine runs, and gives signs of life as long as it does. Ends with it.
    pub(crate) async fn watch(&self, control: &AgentControl) {
        let Some(every) = self.0.look_every() else { return };
        if control.is_alive().await {
            self.0.tell(&[ServiceState::Ready]);
        }
        while control.is_alive().await {
            self.0.tell(&[ServiceState::Alive]);
            sleep(every).await;
        }
    }

    /// Shows what becomes of the connection. Ends with the engine.
    pub(crate) async fn show(&self, mut observed: Receiver<AgentObservation>) {
        while let Some(observation) = observed.recv().await {
            match observation {
                AgentObservation::Status { status, cause, .. } => {
                    self.0.tell(&[ServiceState::Status(&format!("{}: {cause}", status.as_str()))]);
                }
                AgentObservation::BeatSent { .. } | AgentObservation::BeatAnswered { .. } => {}
            }
        }
    }

    /// The agent ends what it runs, and then itself.
    pub(crate) fn stopping(&self) {
        self.0.stopping("stopping: ending running commands", STOP_WITHIN);
    }
}
