//! Liveness: detection of silent peers, heartbeat numbers, and backoff.
//!
//! Tier 1 of the [crate](crate#what-is-public-in-tiers): the connection.

mod backoff;
mod beats;
mod monitor;
#[cfg(onsembl_faults)]
mod planted;
mod silence;

#[doc(no_inline)]
pub use crate::model::{HeartbeatTiming, InvalidTiming, WireTiming};
pub use backoff::{Backoff, BackoffPolicy, InvalidBackoff, RETRY_AFTER_LIMIT};
pub(crate) use beats::HeartbeatTracker;
pub use beats::{Impairment, Seen};
pub(crate) use beats::{confirmation_due, next_on_schedule};
pub use monitor::{HeartbeatMonitor, Observation};
#[cfg(onsembl_faults)]
pub use planted::PlantedFault;
pub use silence::{Liveness, OVERSLEEP_TOLERANCE, STALE_CHECK};
pub(crate) use silence::{Silence, overslept};
