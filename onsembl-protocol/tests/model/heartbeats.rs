//! Heartbeats and their recording.

use super::world::*;
use onsembl_protocol::lab::fact::*;
use onsembl_protocol::lab::model::Invariant as I;

/// The agent's second beat has come to the server and is not recorded.
fn unrecorded() -> World {
    let mut w = World::in_session();
    w.agent_beats_alone();
    w.server_hears_beat();
    w.server_beats(2);
    w.server_done();
    w
}

#[test]
fn beat_is_recorded() {
    let mut w = World::in_session();
    w.agent_beats_alone();
    w.server_hears(Up::Beat { sequence: 2, seen: 2 });
    w.server_owes_answer();
    caught(I::BeatIsRecorded, &w);
    let mut w = World::in_session();
    w.fact(Fact::BeatAsked(A, 1, 2));
    caught(I::BeatIsRecorded, &w);
    let mut w = World::in_session();
    w.server_hears(Up::Beat { sequence: 2, seen: 2 });
    w.fact(Fact::BeatAsked(A, 7, 2));
    caught(I::BeatIsRecorded, &w);
}

#[test]
fn recorded_is_committed() {
    let mut w = unrecorded();
    let beat = Down::Beat { sequence: 4, seen: 2, recorded: 2, lagging: false };
    w.fact(Fact::ServerSent(A, W, beat));
    caught(I::RecordedIsCommitted, &w);
    // Committed, even if nobody was told.
    let mut w = unrecorded();
    w.fact(Fact::BeatCommitted(A, 1, 2));
    w.fact(Fact::ServerSent(A, W, beat));
    legal(&w);
}

#[test]
fn seen_is_heard() {
    let mut w = World::in_session();
    w.server_beats(5);
    caught(I::SeenIsHeard, &w);
    let mut w = World::in_session();
    w.after(30 * S);
    w.agent_beats(7);
    caught(I::SeenIsHeard, &w);
}

#[test]
fn beats_are_numbered() {
    let mut w = World::in_session();
    w.server_sequence += 1;
    w.server_beats(1);
    caught(I::BeatsAreNumbered, &w);
    let mut w = World::in_session();
    w.after(30 * S);
    w.agent_sequence = 0;
    w.agent_beats(2);
    caught(I::BeatsAreNumbered, &w);
}

#[test]
fn beats_every_interval() {
    let mut w = World::in_session();
    w.after(30 * S + 100 * MS);
    w.agent_beats(2);
    w.agent_done();
    legal(&w);
    w.after(30 * S + 101 * MS);
    w.agent_beats(2);
    caught(I::BeatsEveryInterval, &w);
    let mut w = World::in_session();
    w.after(30 * S + 101 * MS);
    w.server_beats(1);
    caught(I::BeatsEveryInterval, &w);
    // The first one leaves at once.
    let mut w = World::in_session();
    w.agent_loses();
    w.after(S);
    w.dial(Wire(2));
    w.link_up();
    w.fact(Fact::AgentHeard(P, Wire(2), Down::Welcome(2)));
    w.fact(Fact::AgentShows(P, AgentStatus::Connected));
    w.agent_waits(S);
    caught(I::BeatsEveryInterval, &w);
}

#[test]
fn no_burst() {
    let mut w = World::in_session();
    w.fact(Fact::ProcessAway(P));
    w.after(95 * S);
    w.fact(Fact::ProcessBack(P));
    for _ in 0..3 {
        w.agent_beats(2);
    }
    legal(&w);
    w.agent_beats(2);
    caught(I::BeatsEveryInterval, &w);
}

#[test]
fn beat_is_answered() {
    let mut w = World::in_session();
    w.after(5 * S);
    w.server_hears(Up::Beat { sequence: 2, seen: 2 });
    w.fact(Fact::BeatAsked(A, 1, 2));
    w.server_owes_answer();
    w.after(15 * S + 101 * MS);
    w.server_beats(2);
    caught(I::BeatIsAnswered, &w);
}

#[test]
fn lag_named_in_time() {
    // Another beat keeps the link alive; nobody says that the second one is not recorded.
    let mut w = unrecorded();
    let late = |w: &mut World| {
        for _ in 0..2 {
            w.after(30 * S);
            w.agent_sequence += 1;
            w.server_hears_beat();
            w.server_beats(w.agent_sequence);
            w.server_done();
        }
    };
    late(&mut w);
    legal(&w);
    w.after(101 * MS);
    w.server_hears(Up::Other);
    w.server_done();
    caught(I::LagNamedInTime, &w);
    // The agent is told so and says nothing.
    let mut w = World::in_session();
    w.agent_hears(Down::Beat { sequence: 3, seen: 1, recorded: 1, lagging: true });
    w.agent_done();
    caught(I::LagNamedInTime, &w);
}

#[test]
fn lag_is_true() {
    let named = |nanos: u64| {
        let mut w = unrecorded();
        w.after(nanos);
        let next = w.next(Status::Online, w.shown.why);
        w.publish(Presence { ailment: Some(Ailment::NotRecorded), ..next });
        w
    };
    caught(I::LagIsTrue, &named(15 * S - 1));
    legal(&named(15 * S));
    let mut w = World::in_session();
    w.fact(Fact::AgentNames(P, Some(Ailment::NotRecorded)));
    caught(I::LagIsTrue, &w);
    let mut w = World::in_session();
    let beat = Down::Beat { sequence: 3, seen: 1, recorded: 1, lagging: true };
    w.fact(Fact::ServerSent(A, W, beat));
    caught(I::LagIsTrue, &w);
}

#[test]
fn a_probe_that_was_answered_is_not_called_unanswered() {
    let named = |wait, answered| {
        let mut w = World::in_session();
        w.fact(Fact::ServerSent(A, W, Down::Ping));
        if answered {
            w.fact(Fact::ServerHeard(A, W, Up::Pong));
        }
        w.server_done();
        w.after(wait);
        let next = w.next(Status::Online, w.shown.why);
        w.publish(Presence { ailment: Some(Ailment::ProbeUnanswered), ..next });
        w
    };
    caught(I::LagIsTrue, &named(10 * S, false));
    caught(I::LagIsTrue, &named(10 * S, true));
}

#[test]
fn lag_heals() {
    let mut w = unrecorded();
    w.after(15 * S);
    let next = w.next(Status::Online, w.shown.why);
    w.publish(Presence { ailment: Some(Ailment::NotRecorded), ..next });
    w.server_done();
    w.after(S);
    w.store_tells(2);
    w.server_done();
    caught(I::LagHeals, &w);
}
