//! Stories that are legal, some of them only just.

use super::world::*;
use onsembl_protocol::lab::fact::*;

#[test]
fn a_long_ordinary_life() {
    let mut w = World::in_session();
    w.lives(100_000);
    let when = w.when();
    w.model.finish(when);
    legal(&w);
}

#[test]
fn a_silent_agent_is_stale_timed_out_and_offline_and_may_come_again() {
    let mut w = World::in_session();
    w.times_out();
    w.after(300 * S);
    w.shows(Status::Offline, Why::WindowOver);
    w.fact(Fact::Forgotten(A));
    w.fact(Fact::ServerServed(A, None));
    let (version, epoch) = (w.shown.version, w.shown.epoch);
    w.fact(Fact::Installed(A, Installed::Fresh { version, epoch }));
    w.wire = Wire(2);
    w.hello(Q);
    w.open(Q, Why::Opened);
    legal(&w);
}

#[test]
fn a_lost_link_is_dialled_again_and_the_session_opened_anew() {
    let mut w = World::in_session();
    w.lives(3);
    w.server_loses();
    w.agent_loses();
    w.after(S);
    w.dial(Wire(2));
    w.link_up();
    w.hello(P);
    w.open(P, Why::Opened);
    w.welcomed();
    w.exchange();
    w.lives(2);
    legal(&w);
}

#[test]
fn the_same_process_takes_its_link_over() {
    let mut w = World::in_session();
    w.agent_loses();
    w.after(500 * MS);
    w.dial(Wire(2));
    w.link_up();
    let old = W;
    w.fact(Fact::Joined(A, w.wire, P));
    w.fact(Fact::SessionAsked(A, w.wire));
    w.server_waits(25 * S);
    w.fact(Fact::SessionCommitted(A, 2, P));
    w.fact(Fact::SessionAnswered(A, w.wire, 2));
    w.fact(Fact::ServerClosed(A, old, 4101));
    w.shown.epoch = 2;
    w.fact(Fact::ServerSent(A, w.wire, Down::Welcome(2)));
    w.shows(Status::Online, Why::TakenOver);
    w.server_sequence = 0;
    w.recorded = 0;
    w.server_heard_at = w.now;
    w.server_beats(0);
    w.server_done();
    // The end of the old wire, and a frame that was still on its way, change nothing.
    w.fact(Fact::ServerHeard(A, old, Up::Other));
    w.server_done();
    w.fact(Fact::ServerLost(A, old, BROKEN));
    w.server_done();
    w.welcomed();
    w.exchange();
    legal(&w);
}

#[test]
fn an_agent_is_awaited_after_a_restart_of_the_server() {
    let mut w = World::in_session();
    w.fact(Fact::ServerEnded(HowEnded::Killed));
    w.agent_loses();
    w.fact(Fact::ServerStarted);
    let (version, epoch) = (w.shown.version, w.shown.epoch);
    w.shown.status = Status::Offline;
    w.fact(Fact::Installed(A, Installed::Recovered { version, epoch }));
    w.shows(Status::Reconnecting, Why::ServerRestarted);
    w.server_waits(300 * S);
    w.after(S);
    w.dial(Wire(2));
    w.link_up();
    w.hello(P);
    w.open(P, Why::Opened);
    w.welcomed();
    w.exchange();
    let when = w.when();
    w.model.finish(when);
    legal(&w);
}

#[test]
fn a_server_that_was_frozen_grants_its_agent_a_new_silence() {
    let mut w = World::in_session();
    w.after(10 * S);
    w.fact(Fact::ServerAway);
    w.after(3600 * S);
    w.fact(Fact::ServerBack);
    w.fact(Fact::ServerOverslept(A));
    w.server_beats(1);
    let now = w.now;
    w.server_heard_at = now;
    w.server_done();
    w.server_beats_alone();
    w.after(15 * S);
    w.shows(Status::Stale, Why::Silence(45 * S));
    w.server_done();
    legal(&w);
}

#[test]
fn a_held_store_is_named_and_heals() {
    let mut w = World::in_session();
    w.agent_beats_alone();
    w.server_beats(1);
    w.server_hears_beat();
    w.server_owes_answer();
    w.after(15 * S);
    let confirmed = w.recorded;
    let ailing =
        Presence { ailment: Some(Ailment::NotRecorded), ..w.next(Status::Online, w.shown.why) };
    w.publish(ailing);
    let sequence = w.server_sequence + 1;
    let beat = Down::Beat { sequence, seen: 2, recorded: confirmed, lagging: true };
    w.fact(Fact::ServerSent(A, W, beat));
    w.server_sequence = sequence;
    w.server_sent_at = w.now;
    w.server_done();
    w.agent_hears(beat);
    w.fact(Fact::AgentNames(P, Some(Ailment::NotRecorded)));
    w.agent_done();
    w.after(S);
    w.store_tells(2);
    w.publish(w.next(Status::Online, w.shown.why));
    w.server_done();
    legal(&w);
}

#[test]
fn wall_clocks_may_jump_by_days() {
    let mut w = World::in_session();
    w.lives(3);
    for day in [-3, 2, -1, 5] {
        w.skew = day * 86_400_000;
        w.goes_stale();
        w.skew = -w.skew;
        w.server_hears(Up::Other);
        w.shows(Status::Online, Why::HeardAgain);
        w.server_beats(w.agent_sequence);
        w.server_done();
    }
    legal(&w);
}

#[test]
fn a_host_that_slept_dials_at_once() {
    let mut w = World::in_session();
    w.fact(Fact::ProcessAway(P));
    // Its monotonic clock stood still.
    let local = w.now;
    let mut when = w.when();
    when.world += 3600 * S;
    for fact in [
        Fact::ProcessBack(P),
        Fact::AgentClosed(P, W, 4100),
        Fact::AgentShows(P, AgentStatus::Reconnecting),
        Fact::AgentServed(P, Some(local + MS)),
    ] {
        w.model.witness(when, &fact);
    }
    when.local += MS;
    w.model.witness(when, &Fact::Dialled(P, Wire(2)));
    legal(&w);
}

#[test]
fn a_violation_stays_and_says_what_it_is() {
    let mut w = World::in_session();
    w.fact(Fact::AgentShows(P, AgentStatus::Closed));
    let first = w.model.violation().cloned();
    w.fact(Fact::ServerClosed(A, W, 1005));
    assert_eq!(w.model.violation().cloned(), first);
    let text = w.model.violation().map(ToString::to_string).unwrap_or_default();
    assert!(text.starts_with("never-gives-up: process 0 at 1000."), "{text}");
}
