//! Many worlds, one a seed. `ONSEMBL_SIM_SEEDS` runs more than 1,000, from `ONSEMBL_SIM_FROM` on; of one
//! that fails the last `ONSEMBL_SIM_STORY` things that happened are told, 80 if it is not set.

use super::story::Story;
use super::world::World;
use onsembl_protocol::model::GapCause;
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

/// So much happens in a world.
const STEPS: usize = 500;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn run(seed: u64) -> BTreeSet<GapCause> {
    let live = |story: Option<Story>| {
        std::panic::catch_unwind(AssertUnwindSafe(|| World::new(seed, story).live(STEPS)))
    };
    live(None).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let what = text.or(panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        let story = Story::default();
        let _same = live(Some(Rc::clone(&story)));
        let story = story.borrow();
        let begin = story.len().saturating_sub(number("ONSEMBL_SIM_STORY", 80) as usize);
        let count = seed - number("ONSEMBL_SIM_FROM", 0) + 1;
        let briefly = what.lines().next().unwrap_or_default();
        let tail = story[begin..].join("\n");
        panic!("caught after {count} seeds: {briefly}\nseed {seed}: {what}\n{}\n{tail}", story[0]);
    })
}

#[test]
fn in_a_thousand_worlds_what_is_stored_is_what_was_written_or_says_what_is_missing() {
    let mut met = BTreeSet::new();
    let from = number("ONSEMBL_SIM_FROM", 0);
    for seed in from..from + number("ONSEMBL_SIM_SEEDS", 1000) {
        met.extend(run(seed));
    }
    for cause in [
        GapCause::SpoolFull,
        GapCause::SpoolFailed,
        GapCause::AgentDied,
        GapCause::Stopped,
        GapCause::NeverCame,
        GapCause::Retention,
    ] {
        assert!(met.contains(&cause), "no world had a gap because {cause}");
    }
}
