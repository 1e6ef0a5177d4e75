//! One test per behaviour that people rely on, named for it, in virtual time.

mod agent_alone;
mod agent_sleep;
mod pair;
mod planted_faults;
mod recording;
mod returning;
mod server_alone;
mod server_links;
pub(crate) mod solo;
mod world;
mod wrapper_links;
