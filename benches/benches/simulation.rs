//! Simulated agent-years in a second of real time: 100 agents under faults, with a complete
//! fleet in the loop. One beat is an agent's heartbeat with its recording and its answers.
//!
//! `cargo bench --package onsembl-benches --bench simulation`

#![allow(missing_docs, clippy::print_stdout)]

use onsembl_protocol::lab::fact::Witness;
use onsembl_protocol::lab::model::Model;
use onsembl_protocol::lab::rules;
use onsembl_protocol::lab::sim::{Faults, Scenario, World};
use std::time::{Duration, Instant};

const YEAR: f64 = 365.25 * 86_400.0;

fn main() {
    let days = 2;
    let scenario = Scenario {
        agents: 100,
        duration: Duration::from_secs(days * 86_400),
        faults: Faults::PerHour(20),
        legacy_one_in: 10,
        ..Scenario::quiet(1)
    };
    let with_codec = Scenario { codec: true, ..scenario.clone() };
    measure("machines", &scenario, || ());
    measure("machines and model (goal: at least 1)", &scenario, || Model::new(rules(&scenario)));
    measure("machines, model and codec", &with_codec, || Model::new(rules(&with_codec)));
}

/// The best of five runs.
fn measure<W: Witness>(name: &str, scenario: &Scenario, witness: impl Fn() -> W) {
    let best = (0..5)
        .map(|_| {
            let mut world = World::new(scenario, witness());
            let began = Instant::now();
            let outcome = world.run();
            let took = began.elapsed().as_secs_f64();
            assert!(outcome.failure.is_none(), "{:?}", outcome.failure);
            (took, outcome)
        })
        .min_by(|(a, _), (b, _)| a.total_cmp(b));
    let Some((took, outcome)) = best else { return };
    let years = outcome.lasted as f64 / 1e9 * f64::from(scenario.agents) / YEAR;
    println!(
        "{name}: {:.2} agent-years/s, {:.0} ns a beat ({} beats, {} steps, {took:.3} s)",
        years / took,
        took * 1e9 / outcome.beats as f64,
        outcome.beats,
        outcome.steps,
    );
}
