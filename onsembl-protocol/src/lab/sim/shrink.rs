//! From a failing scenario to the few faults that it needs.

use super::fault::Planned;
use super::scenario::{Faults, Scenario};
use super::{SECOND, host::span};
use alloc::vec::Vec;
use core::time::Duration;

/// Takes away faults and agents for as long as the scenario still fails (delta debugging), then
/// shortens what is left. `fails` is asked some hundreds of times. A scenario that does not fail
/// comes back as it was.
#[must_use]
pub fn shrink(scenario: &Scenario, mut fails: impl FnMut(&Scenario) -> bool) -> Scenario {
    let mut best = scenario.clone().spelled_out();
    if !fails(&best) {
        return scenario.clone();
    }
    let mut parts = 2;
    loop {
        let list = best.planned();
        if list.is_empty() {
            break;
        }
        let size = list.len().div_ceil(parts).max(1);
        let smaller = (0..list.len()).step_by(size).find_map(|from| {
            let left: Vec<Planned> = list
                .iter()
                .enumerate()
                .filter(|(n, _)| *n < from || *n >= from + size)
                .map(|(_, planned)| *planned)
                .collect();
            let candidate = Scenario { faults: Faults::These(left), ..best.clone() };
            fails(&candidate).then_some(candidate)
        });
        match smaller {
            Some(candidate) => {
                best = candidate;
                parts = parts.saturating_sub(1).max(2);
            }
            None if size == 1 => break,
            None => parts *= 2,
        }
    }
    while best.agents > 1 {
        let agents = best.agents - 1;
        if best.planned().iter().any(|planned| planned.fault.agent >= agents) {
            break;
        }
        let candidate = Scenario { agents, ..best.clone() };
        if !fails(&candidate) {
            break;
        }
        best = candidate;
    }
    shorten(best, fails)
}

/// Ends the faults soon after the last one.
fn shorten(best: Scenario, mut fails: impl FnMut(&Scenario) -> bool) -> Scenario {
    let last = best.planned().iter().map(|p| p.at + p.fault.lasts).max().unwrap_or(SECOND);
    let duration = Duration::from_nanos((last + SECOND).min(span(best.duration)));
    let candidate = Scenario { duration, ..best.clone() };
    if fails(&candidate) { candidate } else { best }
}
