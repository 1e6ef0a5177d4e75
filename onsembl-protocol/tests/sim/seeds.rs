//! Many seeds: each an hour of a small fleet under faults, then everybody must be back.
//!
//! `ONSEMBL_SIM_SEEDS` sets how many, `ONSEMBL_SIM_SECONDS` runs as long as told instead,
//! `ONSEMBL_SIM_SEED` runs one and prints all that happened in it.

#![allow(clippy::disallowed_methods, reason = "a run may last as long as told, in real time")]

use crate::watch;
use onsembl_protocol::lab::fact::{Fact, When, Witness};
use onsembl_protocol::lab::model::Model;
use onsembl_protocol::lab::rules;
use onsembl_protocol::lab::sim::{
    AGENT_EDGES, Coverage, FaultKind, SERVER_EDGES, Scenario, Trace, World, shrink,
};
use std::time::{Duration, Instant};

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a whole number, not {text:?}")))
}

#[test]
fn seeds() {
    if let Some(seed) = setting("ONSEMBL_SIM_SEED") {
        return one(seed);
    }
    let began = Instant::now();
    let seconds = setting("ONSEMBL_SIM_SECONDS").map(Duration::from_secs);
    let count = setting("ONSEMBL_SIM_SEEDS").unwrap_or(2_000);
    let most = setting("ONSEMBL_SIM_FAILURES").unwrap_or(10) as usize;
    let mut coverage = Coverage::default();
    let (mut seeds, mut beats, mut failed) = (0, 0, Vec::new());
    while seconds.map_or(seeds < count, |limit| began.elapsed() < limit) {
        let (outcome, wrong) = watch::run(&Scenario::from_seed(seeds));
        coverage.add(&outcome.coverage);
        beats += outcome.beats;
        seeds += 1;
        if let Some((by, wrong)) = wrong {
            if failed.is_empty() {
                eprintln!("caught after {seeds} seeds: {by}");
            }
            failed.push(seeds - 1);
            eprintln!("{wrong}\n  {}", command(seeds - 1));
            if failed.len() == most {
                break;
            }
        }
    }
    eprintln!("{seeds} seeds, {beats} beats of agents, {:?}", began.elapsed());
    assert!(failed.is_empty(), "{} of {seeds} seeds failed, see above", failed.len());
    if seeds >= 2_000 {
        eprintln!("rarest: {:?}", rarest(&coverage));
        everything_was_met(&coverage);
    }
}

fn command(seed: u64) -> String {
    format!(
        "ONSEMBL_SIM_SEED={seed} cargo test -p onsembl-protocol --features sim --test sim seeds -- --nocapture"
    )
}

/// One seed, told in full if it fails: the shortest list of faults and all that happened.
fn one(seed: u64) {
    let scenario = Scenario::from_seed(seed);
    let (_, wrong) = watch::run(&scenario);
    let Some((by, wrong)) = wrong else {
        eprintln!("{scenario}seed {seed}: nothing is wrong");
        return;
    };
    // Another fault of a smaller world would be another story.
    let small = shrink(&scenario, |candidate| {
        watch::run(candidate).1.is_some_and(|(other, _)| other == by)
    });
    let story = Story { model: Model::new(rules(&small)), trace: Trace::default() };
    let mut world = World::new(&small, story);
    let _the_story_is_wanted = world.run();
    for line in &world.witness().trace.lines {
        eprintln!("{line}");
    }
    let in_small = watch::run(&small).1.map_or_else(String::new, |(_, wrong)| wrong);
    panic!("{in_small}\n{small}before it was shrunk: {wrong}");
}

/// All that happened until the model saw something wrong.
struct Story {
    model: Model,
    trace: Trace,
}

impl Witness for Story {
    fn witness(&mut self, when: When, fact: &Fact) {
        if self.model.violation().is_none() {
            self.trace.witness(when, fact);
            self.model.witness(when, fact);
        }
    }
}

fn rarest(coverage: &Coverage) -> [u64; 3] {
    [
        FaultKind::ALL.iter().map(|kind| coverage.fault(*kind)).min().unwrap_or(0),
        AGENT_EDGES.iter().map(|e| coverage.agent_edge(e.0, e.1)).min().unwrap_or(0),
        SERVER_EDGES.iter().map(|e| coverage.server_edge(e.0, e.1)).min().unwrap_or(0),
    ]
}

fn everything_was_met(coverage: &Coverage) {
    let mut missing = Vec::new();
    for &kind in FaultKind::ALL {
        if coverage.fault(kind) == 0 {
            missing.push(format!("fault: {}", kind.name()));
        }
    }
    for &(from, to) in AGENT_EDGES {
        if coverage.agent_edge(from, to) == 0 {
            missing.push(format!("agent: {from:?} -> {to:?}"));
        }
    }
    for &(from, to) in SERVER_EDGES {
        if coverage.server_edge(from, to) == 0 {
            missing.push(format!("server: {from:?} -> {to:?}"));
        }
    }
    let (agent, server) = coverage.edges();
    for (from, to) in agent.filter(|edge| !AGENT_EDGES.contains(edge)) {
        missing.push(format!("not in the table, agent: {from:?} -> {to:?}"));
    }
    for (from, to) in server.filter(|edge| !SERVER_EDGES.contains(edge)) {
        missing.push(format!("not in the table, server: {from:?} -> {to:?}"));
    }
    assert!(missing.is_empty(), "not met, or unknown:\n{}", missing.join("\n"));
}
