//! Commands: how they live, who may give them, and how they end.

mod outcome;

pub use outcome::Exit;
