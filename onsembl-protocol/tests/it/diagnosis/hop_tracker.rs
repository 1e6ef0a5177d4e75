//! The hop tracker names the hop at which heartbeats stop, and the direction that is lost, and never a wrong one.

use super::relay::{INTERVAL, Planted, Relay};
use crate::support::{ms, secs};
use onsembl_protocol::diagnosis::{Cause, Confidence, Hop, Trouble, Ways, Whose};
use proptest::collection::vec;
use proptest::prelude::*;
use std::cell::RefCell;
use std::time::Duration;

/// Two intervals, from the first heartbeat that is lost, and what the way takes.
const NAMED_WITHIN: Duration = Duration::from_millis(2 * 30_000 + 500);

fn in_session(delay: Duration) -> Relay {
    let mut relay = Relay::new(delay, Planted::Nothing);
    relay.run_for(secs(100), |_| {});
    assert!(!relay.is_over);
    assert_eq!((relay.agent.ways(), relay.server.ways()), (Ways::Both, Ways::Both));
    assert_eq!((relay.agent.trouble(), relay.server.trouble()), (None, None));
    relay
}

/// Loses what it is told to, and says when each end first said something else than [`Ways::Both`], and what.
fn lose(delay: u64, up: bool, down: bool) -> [Option<(Duration, Ways)>; 2] {
    let mut relay = in_session(ms(delay));
    (relay.up.is_lost, relay.down.is_lost) = (up, down);
    let from = relay.at;
    let mut named = [None; 2];
    relay.run_for(secs(200), |relay| {
        for (named, ways) in named.iter_mut().zip([relay.agent.ways(), relay.server.ways()]) {
            if ways != Ways::Both && named.is_none() {
                *named = Some((relay.at - from, ways));
            }
        }
    });
    named
}

#[test]
fn a_lost_direction_is_named_by_the_end_that_is_not_heard() {
    for delay in [0, 20, 300] {
        // A heartbeat left at 90 s, so the first that is lost leaves 20 s after the loss begins.
        let first_lost = secs(20);
        let [agent, server] = lose(delay, true, false);
        let (after, ways) = agent.expect("the agent names it");
        assert_eq!(ways, Ways::OutwardLost(Confidence::Medium), "{delay}");
        assert!(after <= first_lost + NAMED_WITHIN, "{after:?}");
        assert_eq!(server.expect("the server names it").1, Ways::OneWayOrCut, "{delay}");

        let [agent, server] = lose(delay, false, true);
        let (after, ways) = server.expect("the server names it");
        assert_eq!(ways, Ways::OutwardLost(Confidence::Medium), "{delay}");
        assert!(after <= first_lost + NAMED_WITHIN, "{after:?}");
        assert_eq!(agent.expect("the agent names it").1, Ways::OneWayOrCut, "{delay}");
    }
}

#[test]
fn of_a_link_that_is_cut_neither_end_names_a_direction() {
    for delay in [0, 20, 300] {
        for (after, ways) in lose(delay, true, true).map(|named| named.expect("it is named")) {
            assert_eq!(ways, Ways::OneWayOrCut);
            assert!(after <= NAMED_WITHIN, "{after:?}");
        }
    }
}

#[test]
fn each_hop_that_is_missed_is_named_within_two_intervals() {
    let (agents, servers) = (Whose::Own, Whose::Peers);
    for (planted, whose, hop, cause) in [
        (Planted::TimerNeverStarted, agents, Hop::Made, Cause::HeartbeatNeverStarted),
        (Planted::StaysQueued, agents, Hop::Written, Cause::HeartbeatNotWritten),
        (Planted::NotRouted, servers, Hop::Handled, Cause::HeartbeatNotHandled),
        (Planted::RecordFails, servers, Hop::Recorded, Cause::HeartbeatNotRecorded),
        (Planted::NoAnswers, servers, Hop::Answered, Cause::HeartbeatNotAnswered),
    ] {
        let mut relay = Relay::new(ms(20), planted);
        let from = relay.at;
        let mut named = None;
        relay.run_for(2 * INTERVAL + ms(500), |relay| {
            let hops = if whose == Whose::Own { &relay.agent } else { &relay.server };
            if let (None, Some(trouble)) = (named, hops.trouble()) {
                named = Some((relay.at - from, trouble, hops.cause()));
            }
        });
        let (after, trouble, found) = named.unwrap_or_else(|| panic!("{planted:?} is not named"));
        let Trouble { hop: missed, confidence, .. } = trouble;
        assert_eq!((trouble.whose, missed, found), (whose, hop, Some(cause)), "{planted:?}");
        assert_eq!(confidence, Confidence::High, "{planted:?} after {after:?}");
        let hops = if whose == Whose::Own { &relay.agent } else { &relay.server };
        let kept = hops.missed(whose, hop).expect("the last failure is kept");
        assert!(kept.0 >= trouble.sequence, "{planted:?}");
    }
}

#[test]
fn what_is_well_is_counted_hop_by_hop() {
    let relay = in_session(ms(20));
    let own = |hop| relay.agent.passed(Whose::Own, hop);
    let hops = [Hop::Due, Hop::Made, Hop::Queued, Hop::Written, Hop::Received, Hop::Recorded];
    assert_eq!(hops.map(own), [4; 6]);
    let peers = |hop| relay.server.passed(Whose::Peers, hop);
    assert_eq!([Hop::Received, Hop::Handled, Hop::Recorded, Hop::Answered].map(peers), [4; 4]);
    let trips: Vec<_> = relay.agent.round_trips().map(|(_, trip)| trip).collect();
    assert_eq!(trips, [ms(90); 4], "20 ms each way, 50 ms to record");
    assert_eq!(relay.agent.confirmed().map(|n| n.0), Some(4));
}

#[derive(Clone, Copy, Debug)]
enum Episode {
    Delay { up: u64, down: u64 },
    FreezeAgent { for_ms: u64 },
    FreezeServer { for_ms: u64 },
    Sleep { for_ms: u64 },
    LoseUp { for_ms: u64 },
    LoseDown { for_ms: u64 },
    LoseBoth { for_ms: u64 },
}

fn episode() -> impl Strategy<Value = Episode> {
    let time = || 0u64..80_000;
    prop_oneof![
        3 => (0u64..12_000, 0u64..12_000).prop_map(|(up, down)| Episode::Delay { up, down }),
        3 => time().prop_map(|for_ms| Episode::FreezeAgent { for_ms }),
        3 => time().prop_map(|for_ms| Episode::FreezeServer { for_ms }),
        3 => time().prop_map(|for_ms| Episode::Sleep { for_ms }),
        1 => time().prop_map(|for_ms| Episode::LoseUp { for_ms }),
        1 => time().prop_map(|for_ms| Episode::LoseDown { for_ms }),
        2 => time().prop_map(|for_ms| Episode::LoseBoth { for_ms }),
    ]
}

/// Which direction was lost last, and until when.
#[derive(Clone, Copy, Debug, Default)]
struct Lost {
    up_until: Option<Duration>,
    down_until: Option<Duration>,
}

fn is_true(relay: &Relay, lost: Lost) -> Result<(), String> {
    // It is over when the next one is heard of, at most two intervals and two ways later.
    let lately =
        |until: Option<Duration>| until.is_some_and(|until| relay.at <= until + 3 * INTERVAL);
    let [agent_runs, server_runs] = relay.run();
    for (end, runs, ways, lost) in [
        ("agent", agent_runs, relay.agent.ways(), lost.up_until),
        ("server", server_runs, relay.server.ways(), lost.down_until),
    ] {
        match ways {
            Ways::Both | Ways::OneWayOrCut => {}
            Ways::OutwardLost(_) if !runs => {}
            Ways::OutwardLost(_) if lately(lost) => {}
            Ways::OutwardLost(sure) => {
                return Err(format!("{end} at {:?} says that it is not heard: {sure:?}", relay.at));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_direction_is_lost_that_is_not(
        episodes in vec((episode(), 0u64..100_000), 1..12), timer_first: bool,
    ) {
        let mut relay = Relay::new(ms(20), Planted::Nothing);
        let mut lost = Lost::default();
        let wrong = RefCell::new(None);
        let watch = |lost: Lost| {
            let wrong = &wrong;
            move |relay: &Relay| {
                if let Err(what) = is_true(relay, lost) {
                    let _ = wrong.borrow_mut().get_or_insert(what);
                }
            }
        };
        for (episode, pause) in episodes {
            let until = |relay: &Relay, for_ms: u64| Some(relay.at + ms(for_ms) + relay.up.delay);
            match episode {
                Episode::Delay { up, down } => {
                    (relay.up.delay, relay.down.delay) = (ms(up), ms(down));
                }
                Episode::FreezeAgent { for_ms } => {
                    relay.freeze_agent();
                    relay.run_for(ms(for_ms), watch(lost));
                    relay.thaw(timer_first);
                }
                Episode::FreezeServer { for_ms } => {
                    relay.freeze_server();
                    relay.run_for(ms(for_ms), watch(lost));
                    relay.thaw(timer_first);
                }
                Episode::Sleep { for_ms } => relay.sleep(ms(for_ms), watch(lost)),
                Episode::LoseUp { for_ms } => {
                    lost.up_until = until(&relay, for_ms);
                    relay.up.is_lost = true;
                    relay.run_for(ms(for_ms), watch(lost));
                }
                Episode::LoseDown { for_ms } => {
                    lost.down_until = until(&relay, for_ms);
                    relay.down.is_lost = true;
                    relay.run_for(ms(for_ms), watch(lost));
                }
                Episode::LoseBoth { for_ms } => {
                    // Neither end may say which, and of what it heard before it may say what was true.
                    (relay.up.is_lost, relay.down.is_lost) = (true, true);
                    relay.run_for(ms(for_ms), watch(lost));
                    // What was lost in both directions was lost in each.
                    (lost.up_until, lost.down_until) = (Some(relay.at), Some(relay.at));
                }
            }
            // A process that does not run learns nothing meanwhile.
            if let Episode::FreezeAgent { for_ms }
            | Episode::FreezeServer { for_ms }
            | Episode::Sleep { for_ms } = episode
            {
                let later = |until: Option<Duration>| until.map(|until| until + ms(for_ms));
                lost = Lost { up_until: later(lost.up_until), down_until: later(lost.down_until) };
            }
            (relay.up.is_lost, relay.down.is_lost) = (false, false);
            relay.run_for(ms(pause), watch(lost));
        }
        prop_assert_eq!(wrong.into_inner(), None);
    }
}
