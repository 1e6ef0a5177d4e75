//! Coming back: after outages of any length, crashes, frozen processes and sleep, both ends are
//! connected again within the declared bound, without anybody's help.

use super::world::World;
use crate::support::{ms, secs};
use onsembl_protocol::liveness::{BackoffPolicy, HeartbeatTiming};
use onsembl_protocol::session::{AgentStatus, ServerConfig};
use std::time::Duration;

/// Dial, hello and admission over a network with 20 ms one way.
const HANDSHAKE: Duration = ms(500);

fn backoff_bound() -> Duration {
    BackoffPolicy::DEFAULT.longest_wait() + HANDSHAKE
}

#[test]
fn an_agent_is_back_within_the_backoff_bound_after_an_outage_of_any_length() {
    for outage in [1, 5, 60, 300, 3600, 24 * 3600, 3 * 24 * 3600] {
        let mut world = World::in_session();
        world.crash_server();
        world.run_for(secs(outage));
        world.restart_server();
        let took = world.connected_within(backoff_bound());
        // A short outage costs about as much again, not a capped window.
        assert!(took <= secs(4 * outage + 2), "{took:?} after {outage}s");
    }
}

#[test]
fn a_server_that_comes_up_after_the_agent_is_found() {
    let mut world = World::new(1, ServerConfig::DEFAULT);
    world.crash_server();
    world.start(0);
    world.run_for(secs(1000));
    world.restart_server();
    world.connected_within(backoff_bound());
}

#[test]
fn a_link_that_breaks_is_replaced_within_two_seconds() {
    let mut world = World::in_session();
    world.break_links();
    world.run_for(ms(1));
    let took = world.connected_within(secs(2));
    let statuses: Vec<&str> =
        world.server.presences.iter().map(|(_, p)| p.status.as_str()).collect();
    assert_eq!(
        statuses,
        ["connecting", "online", "reconnecting", "connecting", "online"],
        "{took:?}"
    );
}

#[test]
fn a_server_that_is_killed_and_started_again_awaits_its_agents() {
    let mut world = World::in_session();
    let epoch = world.presence().epoch;
    world.crash_server();
    world.run_for(secs(3));
    world.restart_server();
    assert_eq!(world.presence().because.to_string(), "server restarted");
    world.connected_within(secs(8));
    assert!(world.presence().epoch > epoch);
}

#[test]
fn a_frozen_agent_is_stale_then_timed_out_and_online_two_seconds_after_the_thaw() {
    let timing = HeartbeatTiming::new(secs(1), ms(2500), secs(5)).unwrap();
    for timer_first in [false, true] {
        let mut world = World::new(1, ServerConfig::DEFAULT.with_timing(timing));
        world.start(0);
        world.run_for(secs(30));
        world.freeze_agent();
        world.run_for(secs(20));
        let last = |n: usize| world.server.presences.iter().rev().nth(n).unwrap().1;
        assert_eq!((last(1).status.as_str(), last(0).status.as_str()), ("stale", "timed-out"));
        world.thaw_agent(timer_first);
        world.connected_within(secs(2));
    }
}

#[test]
fn a_frozen_server_calls_no_agent_timed_out_or_offline_and_has_them_all_within_ten_seconds() {
    let timing = HeartbeatTiming::new(secs(1), ms(2500), secs(5)).unwrap();
    for frozen in [3, 6, 30, 600] {
        for timer_first in [false, true] {
            let mut world = World::new(1, ServerConfig::DEFAULT.with_timing(timing));
            world.start(0);
            world.run_for(secs(30));
            world.freeze_server();
            world.run_for(secs(frozen));
            world.thaw_server(timer_first);
            world.connected_within(secs(10));
            for (at, presence) in &world.server.presences {
                let word = presence.status.as_str();
                assert!(word != "timed-out" && word != "offline", "{at:?} {word} ({frozen}s)");
            }
        }
    }
}

#[test]
fn a_host_that_napped_beats_at_once_and_one_that_slept_dials_at_once() {
    let mut world = World::in_session();
    world.sleep_host();
    world.run_for(secs(30));
    world.wake_host();
    assert_eq!(world.hosts[0].beats.last(), Some(&world.at));
    world.connected_within(ms(50));
    assert_eq!(world.hosts[0].dials.len(), 1);

    world.sleep_host();
    world.run_for(secs(8 * 3600));
    world.wake_host();
    world.connected_within(HANDSHAKE);
    assert_eq!(world.hosts[0].dials.len(), 2);
}

#[test]
fn a_network_that_holds_everything_back_is_survived() {
    for outage in [1, 44, 60, 100, 1000] {
        let mut world = World::in_session();
        world.partition();
        world.run_for(secs(outage));
        world.heal();
        world.connected_within(backoff_bound() + secs(10));
        if outage < 44 {
            assert_eq!(world.hosts[0].dials.len(), 1, "nothing had to be done");
        }
    }
}

#[test]
fn a_slow_network_is_no_reason_for_anything() {
    // A round trip of up to nine tenths of the heartbeat interval.
    let timing = HeartbeatTiming::new(secs(1), ms(2500), secs(5)).unwrap();
    for delay in [1, 50, 200, 300, 400, 450] {
        let mut world = World::new(1, ServerConfig::DEFAULT.with_timing(timing));
        world.delay = ms(delay);
        world.start(0);
        world.run_for(secs(600));
        assert!(world.is_connected());
        assert_eq!(world.hosts[0].dials.len(), 1, "{delay} ms");
        assert_eq!(world.server.presences.len(), 2, "{delay} ms: {:?}", world.server.presences);
        assert_eq!(world.hosts[0].impaired, [], "{delay} ms");
    }
}

#[test]
fn a_day_in_session_changes_no_status_at_either_end() {
    let mut world = World::in_session();
    world.run_for(secs(24 * 3600));
    assert!(world.is_connected());
    assert_eq!(world.hosts[0].dials.len(), 1);
    assert_eq!(world.hosts[0].reports.len(), 3, "connecting, joining, connected");
    assert_eq!(world.server.presences.len(), 2, "connecting, online");
    assert_eq!(world.hosts[0].impaired, []);
    assert_eq!((world.hosts[0].overslept, world.server.overslept), (0, 0));
    assert!(world.hosts[0].beats.len() >= 2881);
}

#[test]
fn of_two_processes_the_newer_one_stays_and_the_older_one_stops() {
    let mut world = World::new(2, ServerConfig::DEFAULT);
    world.start(0);
    world.run_for(secs(60));
    world.start(1);
    world.run_for(secs(600));
    assert_eq!(world.status(0), AgentStatus::Closed);
    assert_eq!(world.status(1).as_str(), "connected");
    assert_eq!((world.hosts[0].dials.len(), world.hosts[1].dials.len()), (1, 1));
}

#[test]
fn an_agent_that_is_stopped_is_offline_at_once() {
    let mut world = World::in_session();
    world.stop(0);
    world.run_for(secs(1));
    assert_eq!(world.status(0), AgentStatus::Closed);
    let (_, last) = world.server.presences.last().unwrap();
    assert_eq!(last.because.to_string(), "the agent was stopped on its machine");
    assert_eq!(last.status.as_str(), "offline");
}
