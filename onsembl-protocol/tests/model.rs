//! The reference model itself: it is neither blind (each demand has a story that breaks it, and is
//! caught under its name) nor over-strict (stories that come close, and a long one, are legal).

#![allow(clippy::panic, reason = "a test that fails says why")]

#[path = "model/agent_end.rs"]
mod agent_end;
#[path = "model/heartbeats.rs"]
mod heartbeats;
#[path = "model/legal.rs"]
mod legal;
#[path = "model/links.rs"]
mod links;
#[path = "model/presence.rs"]
mod presence;
#[path = "model/silence.rs"]
mod silence;
#[path = "model/simulated.rs"]
mod simulated;
#[path = "model/steps.rs"]
mod steps;
#[path = "model/world.rs"]
mod world;
