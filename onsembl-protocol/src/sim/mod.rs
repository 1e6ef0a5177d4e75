//! Agents, server, network, store and the sleep of hosts in one seeded simulation.

pub mod fact;
pub mod model;
