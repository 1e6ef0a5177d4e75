//! The laboratory: worlds in virtual time, the model that judges them, and the kit that judges what
//! others build around the machines.
//!
//! - [`sim`] (feature `sim`, no std): agents, server, network, store and the sleep of hosts in one
//!   seeded simulation, with faults of every known kind.
//! - [`fact`]: what a world tells, in words of its own.
//! - [`model`]: the reference model, which judges the facts and knows nothing of the machines.
//! - [`kit`] (feature `testing`, needs std): scripts, drivers and judges for tests of your own.
//!
//! Nothing outside of the laboratory may import it.
//!
//! Tier 4 of the [crate](crate#what-is-public-in-tiers): the laboratory.

#[cfg(feature = "sim")]
pub mod fact;
mod invariant;
#[cfg(feature = "testing")]
pub mod kit;
#[cfg(feature = "sim")]
pub mod model;
#[cfg(feature = "sim")]
pub mod sim;
#[cfg(feature = "sim")]
mod watched;

pub use invariant::Invariant;
#[cfg(feature = "sim")]
pub use watched::{Watched, rules, watch};
