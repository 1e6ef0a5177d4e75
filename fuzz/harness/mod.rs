// What must hold for any bytes: one function a target. Shared by the fuzz targets and by the test
// that replays the corpora on a stable compiler, so nothing here may need more than the core.
#![allow(dead_code, clippy::wildcard_enum_match_arm)]

pub mod agent;
pub mod bytes;
pub mod decode;
pub mod fleet;
#[cfg(feature = "sim")]
pub mod model;
pub mod roundtrip;
pub mod server;
pub mod supervisor;
pub mod viewers;

/// What runs one input; it panics when something does not hold.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also the name of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("agent", agent::agent),
    ("decode", decode::decode),
    ("fleet", fleet::fleet),
    #[cfg(feature = "sim")]
    ("model", model::model),
    ("roundtrip", roundtrip::roundtrip),
    ("server", server::server),
    ("supervisor", supervisor::supervisor),
];
