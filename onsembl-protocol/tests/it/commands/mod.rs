//! Commands: run at most once, ended exactly once, cancelled only when that is confirmed.

mod agent_commands;
mod lifecycle;
mod lifecycle_properties;
