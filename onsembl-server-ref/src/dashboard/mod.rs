//! Dashboards: one task each, a cursor over its user's fleet view.
//!
//! A dashboard holds no queue of events that others fill: it looks at the fleet view when it has room to
//! say more. So a slow one hurts only itself.

mod session;

pub use session::Dashboard;
pub(crate) use session::serve;
pub(crate) use session::{AT_WORK, SLOT, SLOTS, SLOTS_WEIGHT};
