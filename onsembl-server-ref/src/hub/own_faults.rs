//! When this server itself did not run, or its database took nothing: written down for whoever asks why agents fell.

use crate::store::{Store, StoreError};
use onsembl_protocol::diagnosis::OwnFault;
use onsembl_protocol::model::Cause;
use onsembl_protocol::time::WallTime;
use onsembl_transport::counters::Counters;
use std::time::Duration;
use tracing::warn;

/// A shorter stall ends no session, and is found in the metrics.
const SHORTEST: Duration = Duration::from_secs(1);

/// Keeps what is written down from being written down again for each agent that notices it.
#[derive(Debug, Default)]
pub(super) struct OwnFaults {
    stall: Option<OwnFault>,
    database_down_since: Option<WallTime>,
}

impl OwnFaults {
    /// This server runs again; before, another run of it did.
    pub(super) fn on_restart(&self, store: &Store, last: Option<WallTime>, now: WallTime, counters: &Counters) {
        if let Some(from) = last.filter(|last| *last <= now) {
            put(store, OwnFault { from, until: now, cause: Cause::ServerRestarted }, counters);
        }
    }

    /// It did not run for so long. Each machine says so when it is looked at next.
    pub(super) fn on_stall(&mut self, store: &Store, lasted: Duration, now: WallTime, counters: &Counters) {
        if lasted < SHORTEST {
            return;
        }
        let fault = OwnFault { from: before(now, lasted), until: now, cause: Cause::ServerStalled };
        let is_known = self.stall.is_some_and(|known| {
            known.from <= fault.from && before(fault.until, SHORTEST) <= known.until
        });
        if !is_known {
            self.stall = Some(fault);
            put(store, fault, counters);
        }
    }

    /// Whether the database takes writes.
    pub(super) fn on_health(&mut self, store: &Store, works: bool, now: WallTime, counters: &Counters) {
        match (works, self.database_down_since) {
            (false, None) => self.database_down_since = Some(now),
            (true, Some(from)) => {
                self.database_down_since = None;
                let fault = OwnFault { from, until: now, cause: Cause::HeartbeatNotRecorded };
                put(store, fault, counters);
            }
            (false, Some(_)) | (true, None) => {}
        }
    }
}

fn before(at: WallTime, by: Duration) -> WallTime {
    let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    WallTime::from_unix_millis(at.unix_millis().saturating_sub(millis))
}

/// What becomes of it is waited for apart: the hub does not wait for the database.
fn put(store: &Store, fault: OwnFault, counters: &Counters) {
    let counters = counters.clone();
    let failed = move |error: StoreError| {
        counters.count("own_faults_not_recorded");
        warn!(cause = %fault.cause, %error, "a fault of this server is not recorded; incidents lack it");
    };
    match store.put_own_fault(fault) {
        Ok(submitted) => drop(tokio::spawn(async move {
            if let Err(error) = submitted.committed().await {
                failed(error);
            }
        })),
        Err(error) => failed(error),
    }
}
