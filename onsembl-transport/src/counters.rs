//! Counters of things that went wrong or were tolerated: no failure without one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Named counters, shared by all that count into them. Names are constants, so their number is
/// bounded by the program.
#[derive(Clone, Debug, Default)]
pub struct Counters(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Counters {
    /// Counts one more.
    pub fn count(&self, name: &'static str) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = counters.entry(name).or_default();
        *value = value.saturating_add(1);
    }

    /// Every counter that is not zero.
    pub fn snapshot(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
