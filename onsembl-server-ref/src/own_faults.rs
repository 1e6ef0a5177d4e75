//! The record of this server's own faults: told of them by the hub, read by `why`, and kept in the database for the
//! next run. What they are is decided by the core ([`OwnFaults`]).

use crate::store::{Store, StoreError, StoreHealth};
use onsembl_protocol::diagnosis::{KeptFaults, OwnFault, OwnFaults};
use onsembl_protocol::time::WallTime;
use onsembl_transport::clock::SystemClock;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How often it is kept: so much too early a crash seems to have been at most.
const KEPT_EVERY: Duration = Duration::from_secs(30);
/// How long a server that ends waits for the last of it to be kept.
const LAST: Duration = Duration::from_secs(1);

/// A handle to the record.
#[derive(Clone, Debug, Default)]
pub struct FaultRecord(Arc<Mutex<OwnFaults>>);

impl FaultRecord {
    /// The record of a run that begins now. What an earlier version or a damaged database kept is left out.
    pub(crate) async fn resume(store: &Store, now: WallTime) -> Self {
        let kept = match store.own_state().await {
            Ok(text) => text.and_then(|text| serde_json::from_str::<KeptFaults>(&text).ok()),
            Err(error) => {
                warn!(%error, "what an earlier run suffered cannot be read; `why` does not tell of it");
                None
            }
        };
        Self(Arc::new(Mutex::new(OwnFaults::resumed(kept, now))))
    }

    /// This process did not run for so long, until now.
    pub(crate) fn stalled(&self, late: Duration, now: WallTime) {
        self.record().stalled(late, now);
    }

    /// How the database is now.
    pub(crate) fn store(&self, health: StoreHealth, now: WallTime) {
        let failing = match health {
            StoreHealth::Troubled { since, .. } => Some(since),
            // On a full disk heartbeats are recorded, out of the reserve.
            StoreHealth::Healthy | StoreHealth::Scarce { .. } => None,
        };
        self.record().store(failing, now);
    }

    /// All that is known now, the oldest first.
    pub(crate) fn known(&self, now: WallTime) -> Vec<OwnFault> {
        self.record().known(now)
    }

    fn record(&self) -> MutexGuard<'_, OwnFaults> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps it in the database, until the server ends and once more then.
    pub(crate) async fn keep(self, store: Store, stop: CancellationToken) {
        let clock = SystemClock::new();
        loop {
            let kept = self.record().kept(clock.now().wall);
            // Of numbers and words, it cannot fail to be written.
            let text = serde_json::to_string(&kept).unwrap_or_default();
            let writing = store.keep_own_state(text);
            if stop.is_cancelled() {
                // What was not kept in time is as old as the last time.
                let _ = tokio::time::timeout(LAST, writing).await;
                return;
            }
            tokio::select! {
                kept = writing => match kept {
                    Ok(()) => {}
                    Err(StoreError::Closed) => return,
                    Err(error) => warn!(%error, "the record of this server's own faults is not kept"),
                },
                // Once more, with the time at which it ends.
                () = stop.cancelled() => continue,
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(KEPT_EVERY) => {}
            }
        }
    }
}
