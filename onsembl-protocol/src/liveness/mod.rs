//! Liveness: how long a silence may last, who judges it, and when to try again.

mod backoff;
mod beats;
mod monitor;
mod silence;
mod timing;

pub use backoff::{Backoff, BackoffPolicy, InvalidBackoff};
pub use beats::{BeatLedger, Impairment, Seen};
pub(crate) use beats::{confirmation_due, next_on_schedule};
pub use monitor::{HeartbeatMonitor, Liveness, OVERSLEEP_TOLERANCE, Observation, STALE_CHECK};
pub(crate) use silence::{Silence, overslept};
pub use timing::{HeartbeatTiming, InvalidTiming, WireTiming};
