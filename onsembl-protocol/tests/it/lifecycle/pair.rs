//! Any series of disturbances, in any order and overlapping: when the last one is over, both ends
//! are connected again within the declared bound.

use super::world::World;
use crate::support::{ms, secs};
use onsembl_protocol::liveness::{BackoffPolicy, HeartbeatTiming};
use onsembl_protocol::session::{AgentConfig, StoreTrouble};
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
enum Disturbance {
    BreakLinks,
    Partition,
    FreezeAgent { timer_first: bool },
    FreezeServer { timer_first: bool },
    Sleep,
    Crash,
    HangStore,
    Nothing,
}

fn disturbance() -> impl Strategy<Value = Disturbance> {
    prop_oneof![
        Just(Disturbance::BreakLinks),
        Just(Disturbance::Partition),
        any::<bool>().prop_map(|timer_first| Disturbance::FreezeAgent { timer_first }),
        any::<bool>().prop_map(|timer_first| Disturbance::FreezeServer { timer_first }),
        Just(Disturbance::Sleep),
        Just(Disturbance::Crash),
        Just(Disturbance::HangStore),
        Just(Disturbance::Nothing),
    ]
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![(0u64..2_000).prop_map(ms), (2u64..60).prop_map(secs), (60u64..600).prop_map(secs),]
}

impl Disturbance {
    fn begin(self, world: &mut World) {
        match self {
            Self::BreakLinks => world.break_links(),
            Self::Partition => world.partition(),
            Self::FreezeAgent { .. } => world.freeze_agent(),
            Self::FreezeServer { .. } => world.freeze_server(),
            Self::Sleep => world.sleep_host(),
            Self::Crash => world.crash_server(),
            Self::HangStore => world.hang_store(Some(StoreTrouble::Busy)),
            Self::Nothing => {}
        }
    }

    fn end(self, world: &mut World) {
        match self {
            Self::Partition => world.heal(),
            Self::FreezeAgent { timer_first } => world.thaw_agent(timer_first),
            Self::FreezeServer { timer_first } => world.thaw_server(timer_first),
            Self::Sleep => world.wake_host(),
            Self::Crash => world.restart_server(),
            Self::HangStore => world.mend_store(),
            Self::BreakLinks | Self::Nothing => {}
        }
    }
}

/// A half-open link is noticed after `timeout-after`, and later by the watched stale phase if this
/// end itself was away; then comes the longest wait, a dial and a hello that may go unanswered
/// once more, and the next one is answered.
fn bound() -> Duration {
    let timing = HeartbeatTiming::DEFAULT;
    let noticed = timing.timeout_after() * 2 - timing.stale_after();
    let config = AgentConfig::DEFAULT;
    let attempt =
        BackoffPolicy::DEFAULT.longest_wait() + config.dial_timeout + config.hello_timeout;
    noticed + attempt * 2
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn after_any_disturbances_both_are_connected_again(
        series in vec((disturbance(), duration(), duration()), 1..8),
    ) {
        let mut world = World::in_session();
        for (disturbance, lasts, then) in series {
            disturbance.begin(&mut world);
            world.run_for(lasts);
            disturbance.end(&mut world);
            world.run_for(then);
        }
        world.run_for(bound());
        prop_assert!(world.is_connected());
        // And they stay so.
        let dials = world.hosts[0].dials.len();
        world.run_for(secs(600));
        prop_assert!(world.is_connected());
        prop_assert_eq!(world.hosts[0].dials.len(), dials);
        prop_assert_eq!(world.impairment(0), None);
        prop_assert_eq!(world.presence().because.impairment, None);
    }

    #[test]
    fn disturbances_may_overlap(
        (first, second) in (disturbance(), disturbance()),
        (before, both, after) in (duration(), duration(), duration()),
    ) {
        let mut world = World::in_session();
        first.begin(&mut world);
        world.run_for(before);
        second.begin(&mut world);
        world.run_for(both);
        first.end(&mut world);
        world.run_for(after);
        second.end(&mut world);
        world.run_for(bound());
        prop_assert!(world.is_connected());
    }
}
