//! A world with the reference model watching it: one call for who wants to know whether anything is
//! wrong. The model gets its rules as plain numbers; this is where they are taken from.

use super::model::{Model, Rules};
use super::sim::{Failure, Outcome, Scenario, World};
use alloc::string::{String, ToString};
use core::time::Duration;

/// How far samples of a simulated monotonic clock fall back behind each other, in nanoseconds.
const WOBBLE: u64 = 60_000;

/// What came of a watched run.
#[derive(Clone, Debug)]
#[must_use = "a wrong run that is ignored proves nothing"]
pub struct Watched {
    /// What the simulator tells.
    pub outcome: Outcome,
    /// What was wrong: the name of the invariant or of the failure, and then all of it.
    pub wrong: Option<(String, String)>,
}

/// Runs a scenario under the eyes of the model.
pub fn watch(scenario: &Scenario) -> Watched {
    let mut world = World::new(scenario, Model::new(rules(scenario)));
    let outcome = world.run();
    let (mut model, when) = world.into_witness();
    // A world that broke off came to no end that could be looked at.
    if matches!(outcome.failure, None | Some(Failure::NotBack { .. })) {
        model.finish(when);
    }
    let wrong = match (model.violation(), &outcome.failure) {
        (Some(violation), _) => {
            Some((violation.invariant.name().to_string(), violation.to_string()))
        }
        (None, Some(failure)) => {
            let text = failure.to_string();
            let name = text.split(':').next().unwrap_or(&text).to_string();
            Some((name, text))
        }
        (None, None) => None,
    };
    Watched { outcome, wrong }
}

/// The rules of a simulated world, out of the configurations that its machines are given.
pub fn rules(scenario: &Scenario) -> Rules {
    let (server, agent) = (&scenario.server, &scenario.agent);
    let (timing, backoff) = (server.timing, &agent.backoff);
    let interval = nanos(timing.interval());
    let stale_after = nanos(timing.stale_after());
    let timeout_after = nanos(timing.timeout_after());
    Rules {
        interval,
        stale_after,
        timeout_after,
        legacy: (interval, stale_after, timeout_after),
        resume_window: nanos(server.resume_window),
        admission_timeout: nanos(server.admission_timeout),
        dial_timeout: nanos(agent.dial_timeout),
        hello_timeout: nanos(agent.hello_timeout),
        first_window: nanos(backoff.first_window()),
        longest_window: nanos(backoff.longest_window()),
        stable_after: nanos(backoff.stable_after()),
        refused_wait: nanos(backoff.refused_wait()),
        wobble: WOBBLE,
        ..Rules::DEFAULT
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
