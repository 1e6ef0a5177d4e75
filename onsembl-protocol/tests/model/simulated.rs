//! The model over the simulator: fleets in all weathers, and nothing that it demands is broken.

use onsembl_protocol::sim::model::{Model, Rules};
use onsembl_protocol::sim::{Scenario, World};
use std::time::Duration;

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The rules of a simulated world, out of the configurations that its machines are given.
fn rules(scenario: &Scenario) -> Rules {
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
        wobble: 60_000,
        presence_is_durable: false,
        ..Rules::DEFAULT
    }
}

#[test]
fn fleets_in_all_weathers_break_no_demand() {
    for seed in 0..60 {
        let scenario = Scenario::from_seed(seed);
        let mut world = World::new(&scenario, Model::new(rules(&scenario)));
        let outcome = world.run();
        assert!(outcome.failure.is_none(), "seed {seed}: {:?}", outcome.failure);
        let (mut model, when) = world.into_witness();
        model.finish(when);
        if let Some(violation) = model.violation() {
            panic!("seed {seed}: {violation}");
        }
    }
}
