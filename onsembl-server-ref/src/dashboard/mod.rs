//! Dashboards: one task each, a cursor over its user's board.
//!
//! A dashboard holds no queue of events that others fill: it looks at the board when it has room to
//! say more. So a slow one hurts only itself.

mod lines;
mod refresh;
mod seeking;
mod session;
mod telling;

pub use session::{Dashboard, serve};
