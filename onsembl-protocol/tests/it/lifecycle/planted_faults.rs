//! The three faults that once cut every agent, planted one by one, and each named by the machines
//! instead of guessed at: a heartbeat that nobody records, a probe that nobody answers, a timer
//! that was forgotten.

use super::solo::{Agent, Server, TERMS, agent_beat, server_beat};
use super::world::World;
use crate::support::{ms, secs};
use onsembl_protocol::liveness::Impairment;
use onsembl_protocol::session::{
    AgentAction, AgentEvent, Dialect, ServerAction, ServerEvent, ServerInbound,
};
use onsembl_protocol::time::Deadline;

#[test]
fn fault_1_heartbeat_not_recorded_is_named_and_cuts_nobody() {
    let mut world = World::in_session();
    let since = world.presence().since;
    world.hang_store(None);
    world.run_for(secs(330));
    assert_eq!(world.impairment(0), Some(Impairment::NotRecorded));
    let presence = world.presence();
    assert_eq!((presence.status.as_str(), presence.since), ("online", since));
    assert!(presence.because.to_string().starts_with("heartbeats received but not recorded"));
    assert_eq!(world.hosts[0].dials.len(), 1, "the link was never given up");
}

#[test]
fn fault_1_heartbeat_not_recorded_is_named_for_a_legacy_agent_too() {
    let mut server = Server::in_session(Dialect::Legacy);
    server.records = false;
    for n in 1..=11 {
        server.run_until(secs(30 * n));
        server.hear(1, ServerInbound::Pong);
    }
    assert_eq!(server.story(ms(1)), []);
    assert_eq!(server.machine.presence().because.impairment, Some(Impairment::NotRecorded));
    assert_eq!(server.count(|a| matches!(a, ServerAction::SendBeat { .. })), 0);
}

#[test]
fn fault_2_probe_never_answered_is_named_and_cuts_nobody_who_speaks() {
    let mut server = Server::in_session(Dialect::Legacy);
    for n in 1..=33 {
        server.run_until(secs(10 * n));
        server.hear(1, ServerInbound::Other);
    }
    assert_eq!(server.story(ms(1)), [], "no cut at 100 s, nor later");
    assert_eq!(server.closes(), []);
    assert_eq!(
        server.because(),
        "probes sent but not answered, other frames arrive; session opened"
    );
    let (named, _) = server.presences()[2];
    assert_eq!(named, secs(75), "two and a half intervals after the first probe");
    server.hear(1, ServerInbound::Pong);
    assert_eq!(server.because(), "session opened");
}

#[test]
fn fault_2_beats_that_the_server_never_sees_are_named_by_the_agent() {
    let mut agent = Agent::in_session(TERMS);
    for n in 1..=11 {
        agent.run_until(secs(30 * n));
        agent.hear(server_beat(n, 0, 0, false));
    }
    assert_eq!(agent.story(ms(1)), [], "the server lives, so nobody is cut");
    assert_eq!(agent.machine.impairment(), Some(Impairment::NotSeenByPeer));
    let named = agent.log.iter().find(|(_, a)| matches!(a, AgentAction::Impaired(_))).unwrap();
    assert_eq!(named.0, secs(30), "with the first beat of the server that should have known");
    agent.hear(server_beat(12, 12, 12, false));
    assert_eq!(agent.machine.impairment(), None);
}

#[test]
fn fault_2_beats_that_the_agent_never_sees_are_named_by_the_server() {
    let mut server = Server::in_session(Dialect::Extended);
    for n in 1..=11 {
        server.run_until(secs(30 * n));
        server.hear(1, agent_beat(n, 0));
    }
    assert_eq!(server.story(ms(1)), []);
    assert_eq!(server.because(), "heartbeats sent but not seen by the peer; session opened");
    server.hear(1, agent_beat(12, 1_000));
    assert_eq!(server.because(), "session opened");
}

/// A driver that armed a one-shot timer at the join and never armed another one: it is late for
/// everything, and says so.
#[test]
fn fault_3_forgotten_timer_of_the_server_condemns_nobody_and_is_told() {
    let mut server = Server::in_session(Dialect::Extended);
    let mut beats = 0;
    for n in 1..=11 {
        // Frames come in all the time; the timer does not fire.
        server.stall_until(secs(30 * n));
        server.hear(1, agent_beat(n, beats));
        beats = server.count(|a| matches!(a, ServerAction::SendBeat { .. })) as u64;
    }
    assert_eq!(server.story(ms(1)), []);
    assert_eq!(server.closes(), []);

    // And now the agent is silent, too, and the old timer fires at last.
    server.stall_until(secs(900));
    let out = server.feed(ServerEvent::Wake);
    let late = out.iter().find_map(|a| match a {
        ServerAction::Overslept(late) => Some(*late),
        _ => None,
    });
    assert_eq!(late, Some(secs(900) - secs(330) - secs(45)));
    assert_eq!(server.status(), "online", "a verdict needs a silence that was observed");
}

#[test]
fn fault_3_forgotten_timer_of_the_agent_condemns_nobody_and_is_told() {
    let mut agent = Agent::in_session(TERMS);
    agent.stall_until(secs(900));
    let out = agent.feed(AgentEvent::Wake);
    let late = out.iter().find_map(|a| match a {
        AgentAction::Overslept(late) => Some(*late),
        _ => None,
    });
    assert_eq!(late, Some(secs(855)));
    assert_eq!(agent.status(), "connected");
}

/// The timer of the seed: armed once at 90 s, fired whatever has happened since.
#[test]
fn fault_3_a_one_shot_timer_that_fires_long_after_its_reason_is_gone_does_nothing() {
    let mut server = Server::in_session(Dialect::Extended);
    server.run_beating_until(1, secs(30), secs(89));
    let before = (server.machine.presence(), server.deadline);
    server.at = ms(89_500);
    assert_eq!(server.feed(ServerEvent::Wake), []);
    assert_eq!((server.machine.presence(), server.deadline), before);

    let mut agent = Agent::in_session(TERMS);
    agent.run_healthy_until(secs(89));
    let before = (agent.machine.status(), agent.deadline);
    agent.at = ms(89_500);
    assert_eq!(agent.feed(AgentEvent::Wake), []);
    assert_eq!((agent.machine.status(), agent.deadline), before);
}

#[test]
fn fault_3_every_state_that_waits_says_until_when() {
    let mut world = World::in_session();
    world.crash_server();
    world.run_for(secs(600));
    assert_eq!(world.hosts[0].overslept, 0);
    let mut server = Server::in_session(Dialect::Extended);
    while server.status() != "offline" {
        let Deadline::At(at) = server.deadline else {
            panic!("{} waits for ever", server.status())
        };
        server.run_until(at.since_origin());
    }
}
