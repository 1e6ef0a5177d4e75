//! Many worlds, one a seed. `ONSEMBL_SIM_SEEDS` runs more than 2,000, from `ONSEMBL_SIM_FROM` on.

use super::weather::Kind;
use super::world::World;
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

/// Far more than the worlds take: a test that takes longer is not run any more.
const BUDGET: Duration = Duration::from_secs(120);
const WORLDS: u64 = 2_000;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn run(seed: u64, from: u64) -> (BTreeSet<Kind>, BTreeSet<&'static str>) {
    let live = || {
        let mut world = World::new(seed);
        world.live();
        (world.kinds, world.judge.met)
    };
    std::panic::catch_unwind(AssertUnwindSafe(live)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let what = text.or(panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        let briefly = what.lines().next().unwrap_or_default();
        panic!("caught after {} seeds: {briefly}\nseed {seed}: {what}", seed - from + 1);
    })
}

#[test]
fn in_two_thousand_worlds_each_agent_has_one_owner_and_nothing_acknowledged_is_lost() {
    let (mut kinds, mut met) = (BTreeSet::new(), BTreeSet::new());
    let (from, count) = (number("ONSEMBL_SIM_FROM", 0), number("ONSEMBL_SIM_SEEDS", WORLDS));
    let begin = Instant::now();
    for seed in from..from + count {
        let (had, happened) = run(seed, from);
        kinds.extend(had);
        met.extend(happened);
    }
    if count < WORLDS {
        return;
    }
    assert_eq!(kinds.len(), Kind::ALL.len(), "no world had one of {:?}", Kind::ALL);
    for what in [
        "a node was swept",
        "an agent was given up",
        "a request was handled by another node",
        "a user was told that a request waits",
    ] {
        assert!(met.contains(what), "no world had this: {what}");
    }
    let took = begin.elapsed();
    assert!(count > WORLDS || took < BUDGET, "{WORLDS} worlds took {took:?}");
}
