//! The one place that says who watches the worlds of the tests.

use onsembl_protocol::lab::sim::{Outcome, Scenario};
use onsembl_protocol::lab::watch;

/// Runs a scenario; what was wrong with it, by the simulator or by the model.
pub fn run(scenario: &Scenario) -> (Outcome, Option<(String, String)>) {
    let watched = watch(scenario);
    (watched.outcome, watched.wrong)
}
