//! The record of this server's own faults: noticed here and by the hub, read by `why`, and kept in the database for
//! the next run. What they are is decided by the core ([`OwnFaults`]).

use crate::store::{OwnState, Store, StoreError, StoreHealth};
use onsembl_protocol::diagnosis::{KeptFaults, OwnFault, OwnFaults};
use onsembl_protocol::time::WallTime;
use onsembl_transport::clock::SystemClock;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How often it is looked whether this process runs.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is kept: so much too early a crash seems to have been at most.
const KEPT_EVERY: Duration = Duration::from_secs(10);
/// How long a server that ends waits for the last of it to be kept.
const LAST: Duration = Duration::from_secs(1);

/// A handle to the record.
#[derive(Clone, Debug, Default)]
pub struct FaultRecord(Arc<Mutex<OwnFaults>>);

impl FaultRecord {
    /// The record of a run that begins now. What an earlier version or a damaged database kept is left out.
    pub(crate) async fn resume(store: &Store, now: WallTime) -> Self {
        let kept = match store.meta().own_state().await {
            Ok(OwnState { kept, newest }) => {
                let kept = kept.and_then(|text| serde_json::from_str::<KeptFaults>(&text).ok());
                kept.map(|kept| KeptFaults { alive: kept.alive.max(newest), ..kept })
            }
            Err(error) => {
                warn!(%error, "cannot read the faults of an earlier run; `why` omits them");
                None
            }
        };
        Self(Arc::new(Mutex::new(OwnFaults::resumed(kept, now))))
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

    /// Watches whether this process runs, and keeps the record in the database, until the server ends and once more
    /// then.
    pub(crate) async fn keep(self, store: Store, stop: CancellationToken) {
        let clock = SystemClock::new();
        // A database that is held must not keep this from looking.
        let ((), ()) = tokio::join!(self.watch(&clock, &stop), self.keep_on(&store, &clock, &stop));
        // What is not kept in time is as old as the last time.
        let _ = tokio::time::timeout(LAST, self.write(&store, &clock)).await;
    }

    async fn keep_on(&self, store: &Store, clock: &SystemClock, stop: &CancellationToken) {
        loop {
            tokio::select! {
                kept = self.write(store, clock) => match kept {
                    Ok(()) => {}
                    Err(StoreError::Closed) => return,
                    Err(error) => warn!(%error, "the record of this server's own faults is not kept"),
                },
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(KEPT_EVERY) => {}
            }
        }
    }

    async fn write(&self, store: &Store, clock: &SystemClock) -> Result<(), StoreError> {
        let kept = self.record().kept(clock.now().wall);
        // Of numbers and words, it cannot fail to be written.
        store.meta().keep_own_state(serde_json::to_string(&kept).unwrap_or_default()).await
    }

    async fn watch(&self, clock: &SystemClock, stop: &CancellationToken) {
        loop {
            let before = clock.now();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            self.record().looked(before, LOOK_EVERY, clock.now());
        }
    }
}
