//! What earlier versions said and stored, at this one. See `tests/compat/README.md`.

mod answers;
mod client;
mod conversation;
mod database;
mod host;
mod likeness;
mod replay;
mod rewordings;
mod upgrading;
