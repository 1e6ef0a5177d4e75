//! The drivers of both ends against each other, over links inside the process and in virtual time:
//! what the machines decide is what happens, when it is said to.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::type_complexity,
    reason = "tests"
)]

#[path = "drivers/agent.rs"]
mod agent;
#[path = "drivers/cases.rs"]
mod cases;
#[path = "drivers/cases_of_links.rs"]
mod cases_of_links;
#[path = "drivers/raw.rs"]
mod raw;
#[path = "drivers/server.rs"]
mod server;
