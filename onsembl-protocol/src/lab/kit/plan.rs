//! How many scripts are run, from which seed; and what comes back: that all was well, or the
//! shortest script that shows the fault.

use super::script::Script;
use super::violation::Violation;
use crate::lab::Invariant;
use core::fmt;
use core::time::Duration;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::boxed::Box;
use std::vec::Vec;

/// How often a script is tried in a shorter or simpler form.
const SHRINKS: u32 = 4096;

/// How many scripts to tell, how long, from which seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    cases: u32,
    seed: u64,
    longest: usize,
    waived: Vec<Invariant>,
}

impl Plan {
    /// `cases` scripts of at most 40 steps, drawn from `seed`.
    pub const fn new(cases: u32, seed: u64) -> Self {
        Self { cases, seed, longest: 40, waived: Vec::new() }
    }

    /// The one script that a failure named.
    pub const fn only(seed: u64) -> Self {
        Self::new(1, seed)
    }

    /// Scripts of at most this many steps.
    #[must_use]
    pub fn longest(self, steps: usize) -> Self {
        Self { longest: steps, ..self }
    }

    /// Without these invariants, for a thing that does not promise them.
    #[must_use]
    pub fn waiving(mut self, invariants: &[Invariant]) -> Self {
        self.waived.extend_from_slice(invariants);
        self
    }

    pub(super) fn waived(&self) -> &[Invariant] {
        &self.waived
    }

    pub(super) const fn longest_script(&self) -> usize {
        self.longest
    }
}

impl Default for Plan {
    /// 500 scripts: on a small machine below a second. Always the same ones.
    fn default() -> Self {
        Self::new(500, 0)
    }
}

/// All scripts of a plan were run, and every invariant held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct Passed {
    pub cases: u32,
}

/// An invariant was violated; `script` is the shortest story found that shows it.
#[derive(Clone)]
pub struct Failure<H> {
    /// What was violated, at the end of the shortest script.
    pub violation: Violation,
    /// The shortest script found that shows it.
    pub script: Script<H>,
    /// In which of its steps, from zero, or in the time behind it until the next.
    pub step: usize,
    /// How many scripts were run until it was found, this one included.
    pub cases: u32,
    /// [`Plan::only`] this finds it again.
    pub seed: u64,
}

impl<H: fmt::Display> fmt::Display for Failure<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.violation)?;
        writeln!(
            f,
            "script ({} of {} steps told):",
            self.step + 1,
            self.script.steps.len().max(1)
        )?;
        writeln!(f, "{}", self.script)?;
        write!(f, "again: check_with(&Plan::only({:#x}), ..)", self.seed)
    }
}

impl<H: fmt::Display> fmt::Debug for Failure<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<H: fmt::Display> std::error::Error for Failure<H> {}

/// What a check comes back with.
pub type Verdict<H> = Result<Passed, Box<Failure<H>>>;

/// Draws scripts and tells them until one fails; that one is made as short as it will go, keeping
/// to the invariant that it violated first.
pub(super) fn hunt<H: Copy + fmt::Debug + fmt::Display>(
    plan: &Plan,
    strategy: &impl Strategy<Value = Script<H>>,
    play: impl Fn(&Script<H>) -> Result<(), (usize, Violation)>,
) -> Verdict<H> {
    for case in 0..plan.cases {
        let seed = if case == 0 { plan.seed } else { mix(plan.seed, case) };
        let Ok(mut tree) = strategy.new_tree(&mut runner(seed)) else { continue };
        let script = tree.current();
        let Err(first) = play(&script) else { continue };
        let name = first.1.invariant;
        let mut best = Best { script, found: first };
        let fails = |script: &Script<H>| play(script).err().filter(|(_, v)| v.invariant == name);
        best.shrink(&mut tree, &fails);
        best.polish(&fails);
        let Best { script, found: (step, violation) } = best;
        return Err(Box::new(Failure { violation, script, step, cases: case + 1, seed }));
    }
    Ok(Passed { cases: plan.cases })
}

struct Best<H> {
    script: Script<H>,
    found: (usize, Violation),
}

impl<H: Copy> Best<H> {
    fn shrink(
        &mut self,
        tree: &mut impl ValueTree<Value = Script<H>>,
        fails: &impl Fn(&Script<H>) -> Option<(usize, Violation)>,
    ) {
        let mut tries = 0;
        while tries < SHRINKS && tree.simplify() {
            loop {
                tries += 1;
                if self.take(tree.current(), fails) {
                    break;
                }
                if tries >= SHRINKS || !tree.complicate() {
                    return;
                }
            }
        }
    }

    /// What the tree cannot do: cut off what was never told, take out single steps while the time
    /// stays, and round times.
    fn polish(&mut self, fails: &impl Fn(&Script<H>) -> Option<(usize, Violation)>) {
        let mut cut = self.script.clone();
        cut.steps.truncate(self.found.0 + 1);
        self.take(cut, fails);
        let mut progress = true;
        while progress {
            progress = false;
            for n in (0..self.script.steps.len()).rev() {
                progress |= self.simpler(n).into_iter().any(|s| self.take(s, fails));
            }
        }
    }

    fn simpler(&self, n: usize) -> Vec<Script<H>> {
        let Some(step) = self.script.steps.get(n).copied() else { return Vec::new() };
        let mut out = Vec::new();
        let mut without = self.script.clone();
        without.steps.remove(n);
        out.push(without.clone());
        if let Some(next) = without.steps.get_mut(n) {
            next.after += step.after;
            out.push(without);
        }
        let whole = Duration::from_secs(step.after.as_secs());
        for shorter in [Duration::ZERO, Duration::from_secs(1), whole] {
            if shorter < step.after {
                let mut timed = self.script.clone();
                if let Some(same) = timed.steps.get_mut(n) {
                    same.after = shorter;
                }
                out.push(timed);
            }
        }
        out
    }

    fn take(
        &mut self,
        script: Script<H>,
        fails: &impl Fn(&Script<H>) -> Option<(usize, Violation)>,
    ) -> bool {
        let found = fails(&script);
        if let Some(found) = found {
            *self = Self { script, found };
            return true;
        }
        false
    }
}

fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    for (byte, seed) in bytes.iter_mut().zip(seed.to_le_bytes()) {
        *byte = seed;
    }
    let config = Config { failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// One well-mixed seed per case (the finaliser of `SplitMix64`).
const fn mix(seed: u64, case: u32) -> u64 {
    let z = seed.wrapping_add((case as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
