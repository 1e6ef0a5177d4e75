//! Short scenarios of the composed machines, one a test: orders of events that random worlds meet too
//! seldom to rely on. Each scenario has at least one mutant that only it is sure to catch.
//!
//! The fleet is the real one, behind the edge and the store of the world of commands.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm
)]

#[path = "scenarios/activity.rs"]
mod activity;
#[path = "scenarios/bench.rs"]
mod bench;
#[path = "scenarios/bounds.rs"]
mod bounds;
#[path = "scenarios/claims.rs"]
mod claims;
#[path = "scenarios/journals.rs"]
mod journals;
#[path = "scenarios/keyboard_machine.rs"]
mod keyboard_machine;
#[path = "scenarios/keyboards.rs"]
mod keyboards;
#[path = "scenarios/long_texts.rs"]
mod long_texts;
#[path = "scenarios/outputs.rs"]
mod outputs;
#[path = "scenarios/requests.rs"]
mod requests;
#[path = "scenarios/roster.rs"]
mod roster;
#[path = "commands/server.rs"]
#[allow(dead_code, reason = "the world of commands uses more of it")]
mod server;
#[path = "scenarios/sizes.rs"]
mod sizes;
#[path = "scenarios/spool.rs"]
mod spool;
#[path = "scenarios/stops.rs"]
mod stops;
#[path = "commands/store.rs"]
mod store;
#[path = "scenarios/terminals.rs"]
mod terminals;
#[path = "scenarios/versions.rs"]
mod versions;

use onsembl_protocol::time::{Now, Timestamp, WallTime};
use std::time::Duration;

/// All clocks, so long after their origin.
fn now(elapsed: Duration) -> Now {
    let stamp = Timestamp::from_origin(elapsed);
    let wall = WallTime::from_unix_millis(1_762_041_600_000 + elapsed.as_millis() as i64);
    Now { monotonic: stamp, boot: stamp, wall }
}
