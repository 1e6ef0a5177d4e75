//! The one place that says who watches the worlds of the tests.

use onsembl_protocol::sim::{Outcome, Scenario, World};

/// What watches.
pub type Watch = ();

/// Runs a scenario; what was wrong with it, by the simulator or by who watched.
pub fn run(scenario: &Scenario) -> (Outcome, Option<String>) {
    let mut world = World::new(scenario, Watch::default());
    let outcome = world.run();
    let wrong = outcome.failure.map(|failure| failure.to_string());
    (outcome, wrong)
}
