//! Invariant 11: a silent peer and an obedient driver. Stale and timed-out come exactly when they
//! are said to, whatever happened before.

use crate::lifecycle::solo::{Agent, Server, TERMS, agent_beat, healthy_beat};
use crate::support::ms;
use onsembl_protocol::liveness::HeartbeatTiming;
use onsembl_protocol::session::{AgentInbound, Dialect, ServerInbound, SessionTerms};
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::Duration;

const EXACT: Duration = Duration::from_millis(100);

fn timing() -> impl Strategy<Value = HeartbeatTiming> {
    (10u64..60_000, 1u64..60_000, 1u64..60_000).prop_map(|(interval, stale, timeout)| {
        let stale = interval + stale;
        HeartbeatTiming::new(ms(interval), ms(stale), ms(stale + timeout)).unwrap()
    })
}

fn exactly(story: &[(Duration, &'static str)], heard: Duration, timing: HeartbeatTiming) {
    assert_eq!((story[0].1, story[1].1), ("stale", "timed-out"));
    assert!(story[0].0 - (heard + timing.stale_after()) <= EXACT, "{story:?} after {heard:?}");
    assert!(story[1].0 - (heard + timing.timeout_after()) <= EXACT, "{story:?} after {heard:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_silent_server_is_stale_and_timed_out_to_the_tenth_of_a_second(
        timing in timing(),
        gaps in vec(0.0f64..0.99, 0..40),
        dialect in prop::sample::select(vec![Dialect::Extended, Dialect::Legacy]),
    ) {
        let mut agent = Agent::in_session(SessionTerms { timing, dialect, ..TERMS });
        let mut heard = agent.at;
        for (n, gap) in gaps.into_iter().enumerate() {
            agent.run_until(heard + timing.stale_after().mul_f64(gap));
            heard = agent.at;
            let frame = if n % 3 == 0 { AgentInbound::Other } else { healthy_beat(n as u64) };
            agent.hear(frame);
        }
        prop_assert_eq!(agent.story(ms(1)), []);
        agent.run_until(heard + timing.timeout_after() + EXACT);
        exactly(&agent.story(ms(1)), heard, timing);
    }

    #[test]
    fn a_silent_agent_is_stale_and_timed_out_to_the_tenth_of_a_second(
        gaps in vec(0.0f64..0.99, 0..40),
        dialect in prop::sample::select(vec![Dialect::Extended, Dialect::Legacy]),
        records: bool,
    ) {
        let timing = HeartbeatTiming::DEFAULT;
        let mut server = Server::in_session(dialect);
        server.records = records;
        let mut heard = server.at;
        for (n, gap) in gaps.into_iter().enumerate() {
            server.run_until(heard + timing.stale_after().mul_f64(gap));
            heard = server.at;
            let n = n as u64;
            let frame = match n % 3 {
                0 => ServerInbound::Other,
                1 => ServerInbound::Pong,
                _ => agent_beat(n, n),
            };
            server.hear(1, frame);
        }
        prop_assert_eq!(server.story(ms(1)), []);
        server.run_until(heard + timing.timeout_after() + EXACT);
        exactly(&server.story(ms(1)), heard, timing);
    }
}
