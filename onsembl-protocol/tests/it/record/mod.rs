//! Record and replay: what went in comes out, what is left of it replays, and what was tampered with
//! is refused by its line.

mod agent;
mod events;
mod files;
mod refusals;
mod ring;
mod story;
