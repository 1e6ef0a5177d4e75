//! The machines of commands alone: run at most once, ended exactly once, cancelled only when that is confirmed.

mod agent_commands;
mod driven;
mod lifecycle;
mod lifecycle_legacy;
mod lifecycle_properties;

use crate::time::{Now, Timestamp};
use core::time::Duration;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn stamp(elapsed: Duration) -> Timestamp {
    Timestamp::from_origin(elapsed)
}

fn now(elapsed: Duration) -> Now {
    Now::without_suspend(elapsed)
}
