//! Commands on their way from a user to a process and back, with everything between them failing: nothing
//! runs twice, every outcome is true, every request is answered once, and no command stays open forever.
//!
//! The world holds the real [`Fleet`](onsembl_protocol::fleet::Fleet), the real
//! [`Worker`](onsembl_protocol::worker::Worker) and the real machine of each agent's connection. A test of
//! its own, so that the mutants of both are built fast.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm
)]

#[path = "commands/agent.rs"]
mod agent;
#[path = "commands/apart.rs"]
mod apart;
#[path = "commands/course.rs"]
mod course;
#[path = "commands/host.rs"]
mod host;
#[path = "commands/judge.rs"]
mod judge;
#[path = "commands/requests.rs"]
mod requests;
#[path = "commands/seeds.rs"]
mod seeds;
#[path = "commands/server.rs"]
mod server;
#[path = "commands/store.rs"]
mod store;
#[path = "commands/weather.rs"]
mod weather;
#[path = "commands/wires.rs"]
mod wires;
#[path = "commands/world.rs"]
mod world;

use onsembl_protocol::time::{Now, Timestamp, WallTime};
use std::time::Duration;

/// All clocks, so long after their origin.
fn now(elapsed: Duration) -> Now {
    let stamp = Timestamp::from_origin(elapsed);
    let wall = WallTime::from_unix_millis(1_762_041_600_000 + elapsed.as_millis() as i64);
    Now { monotonic: stamp, boot: stamp, wall }
}
