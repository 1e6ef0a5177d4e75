//! Many worlds, one a seed. `ONSEMBL_SIM_SEEDS` runs more than 1,000, from `ONSEMBL_SIM_FROM` on; of one
//! that fails the last `ONSEMBL_SIM_STORY` things that happened are told, 60 if it is not set.

use super::weather::Weather;
use super::wires::{Counts, Story};
use super::world::World;
use onsembl_protocol::fleet::{CommandStage, SeatId};
use onsembl_protocol::id::UserId;
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

/// So much happens in a world.
const STEPS: usize = 600;

pub(super) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn world(seed: u64, story: Option<Story>) -> World {
    let mut random = fastrand::Rng::with_seed(seed);
    let weather = Weather::draw(&mut random);
    let user = (UserId::new("u"), SeatId(1));
    let world = World::new(seed, weather, random, user, Counts::default(), story);
    world.log(|| format!("{weather:?}, {:?}", world.limits));
    world
}

fn run(seed: u64) -> BTreeSet<CommandStage> {
    let live = |story: Option<Story>| {
        std::panic::catch_unwind(AssertUnwindSafe(|| world(seed, story).live(STEPS)))
    };
    live(None).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let what = text.or(panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        let story = Story::default();
        let _same = live(Some(Rc::clone(&story)));
        let story = story.borrow();
        let begin = story.len().saturating_sub(number("ONSEMBL_SIM_STORY", 60) as usize);
        let count = seed - number("ONSEMBL_SIM_FROM", 0) + 1;
        let briefly = what.lines().next().unwrap_or_default();
        let tail = story[begin..].join("\n");
        panic!("caught after {count} seeds: {briefly}\nseed {seed}: {what}\n{tail}");
    })
}

#[test]
fn in_a_thousand_worlds_nothing_runs_twice_and_every_outcome_is_true() {
    let mut met = BTreeSet::new();
    let from = number("ONSEMBL_SIM_FROM", 0);
    for seed in from..from + number("ONSEMBL_SIM_SEEDS", 1000) {
        met.extend(run(seed));
    }
    for stage in [
        CommandStage::Completed,
        CommandStage::Failed,
        CommandStage::Cancelled,
        CommandStage::Lost,
        CommandStage::Unknown,
    ] {
        assert!(met.contains(&stage), "no world had {stage:?}");
    }
}
