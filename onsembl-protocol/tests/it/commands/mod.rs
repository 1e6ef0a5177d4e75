//! Commands: run at most once, ended exactly once, cancelled only when that is confirmed.

mod book;
mod life;
mod life_properties;
