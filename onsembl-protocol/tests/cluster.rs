//! Several servers over one database and one bus, in virtual time: every agent has one owner, what was acknowledged is
//! stored, and nobody is lost because a server was.
//!
//! The machines of [`cluster`](onsembl_protocol::cluster) are the real ones, and so are those of both ends of each
//! connection. The database applies the rules of `OwnerRow` one request after the other; the bus loses, repeats and delays.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm
)]

#[path = "cluster/agent.rs"]
mod agent;
#[path = "cluster/database.rs"]
mod database;
#[path = "cluster/judge.rs"]
mod judge;
#[path = "cluster/node.rs"]
mod node;
#[path = "cluster/seeds.rs"]
mod seeds;
#[path = "cluster/weather.rs"]
mod weather;
#[path = "cluster/wires.rs"]
mod wires;
#[path = "cluster/world.rs"]
mod world;

use onsembl_protocol::liveness::HeartbeatTiming;
use onsembl_protocol::session::ServerConfig;
use onsembl_protocol::time::{Now, Timestamp, WallTime};
use std::time::Duration;

/// Milliseconds of a world.
type Millis = u64;

/// How long an agent is awaited.
const RESUME_WINDOW: Millis = 60_000;

/// All clocks of a host, so long after the world began.
fn now(at: Millis) -> Now {
    let stamp = Timestamp::from_origin(Duration::from_millis(at));
    Now {
        monotonic: stamp,
        boot: stamp,
        wall: WallTime::from_unix_millis(1_762_041_600_000 + at as i64),
    }
}

/// Heartbeats each 5 s, stale after 7.5 s, timed out after 15 s, so that a world of minutes has many.
fn rules() -> ServerConfig {
    let ms = Duration::from_millis;
    ServerConfig::DEFAULT
        .with_timing(HeartbeatTiming::new(ms(5_000), ms(7_500), ms(15_000)).unwrap())
        .with_resume_window(ms(RESUME_WINDOW))
}
