//! What always holds, for random events at random times: the invariants of both machines, which a
//! fuzzer and a simulator share.

mod agent;
mod dashboard;
mod monitor;
mod server;
mod silence;
mod supervisor;
mod versions;
mod walk;
