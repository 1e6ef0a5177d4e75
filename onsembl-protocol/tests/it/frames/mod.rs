//! Frames and machines meet: what is written for an action, and what a text is to a machine.

mod agent;
mod server;
