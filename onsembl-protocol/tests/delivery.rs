//! Output on its way from a process to a viewer, with everything between them failing: nothing is
//! lost that is not declared, and nothing is declared without a cause.
//!
//! A test of its own, so that the mutants of output are built fast.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm
)]

#[path = "delivery/agent.rs"]
mod agent;
#[path = "delivery/course.rs"]
mod course;
#[path = "delivery/database.rs"]
mod database;
#[path = "delivery/disk.rs"]
mod disk;
#[path = "delivery/judge.rs"]
mod judge;
#[path = "delivery/legacy_server.rs"]
mod legacy_server;
#[path = "delivery/passing.rs"]
mod passing;
#[path = "delivery/seeds.rs"]
mod seeds;
#[path = "delivery/server.rs"]
mod server;
#[path = "delivery/story.rs"]
mod story;
#[path = "delivery/truth.rs"]
mod truth;
#[path = "delivery/viewer.rs"]
mod viewer;
#[path = "delivery/weather.rs"]
mod weather;
#[path = "delivery/world.rs"]
mod world;
#[path = "delivery/wrapper.rs"]
mod wrapper;

use onsembl_protocol::time::{Now, Timestamp, WallTime};
use std::time::Duration;

/// All clocks, so long after their origin.
fn now(elapsed: Duration) -> Now {
    let stamp = Timestamp::from_origin(elapsed);
    let wall = WallTime::from_unix_millis(1_762_041_600_000 + elapsed.as_millis() as i64);
    Now { monotonic: stamp, boot: stamp, wall }
}
