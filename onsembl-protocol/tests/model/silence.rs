//! Who is called silent, and when.

use super::world::*;
use onsembl_protocol::lab::fact::*;
use onsembl_protocol::lab::model::Invariant as I;

fn stale_after(nanos: u64) -> World {
    let mut w = World::in_session();
    w.server_beats_alone();
    w.after(nanos - 30 * S);
    w.shows(Status::Stale, Why::Silence(45 * S));
    w
}

#[test]
fn silent_peer_goes_stale_exactly() {
    caught(I::SilentPeerGoesStaleExactly, &stale_after(45 * S - 1));
    legal(&stale_after(45 * S));
    // On the agent's end.
    let mut w = World::in_session();
    w.agent_beats_alone();
    w.after(15 * S - 1);
    w.fact(Fact::AgentShows(P, AgentStatus::Stale));
    caught(I::SilentPeerGoesStaleExactly, &w);
    // Not later than the tolerance.
    legal(&stale_after(45 * S + 100 * MS));
    caught(I::SilentPeerGoesStaleExactly, &stale_after(45 * S + 101 * MS));
    // Nothing said at all.
    let mut w = World::in_session();
    w.server_beats_alone();
    w.fact(Fact::ServerServed(A, Some(w.now + 15 * S)));
    w.after(15 * S + 100 * MS);
    w.fact(Fact::ServerServed(A, Some(w.now + 1)));
    legal(&w);
    w.after(MS);
    w.fact(Fact::StoreReported(A, false));
    w.fact(Fact::ServerServed(A, Some(w.now + S)));
    caught(I::SilentPeerGoesStaleExactly, &w);
}

#[test]
fn silent_peer_times_out_exactly() {
    // The link is given up too early.
    let mut w = World::in_session();
    w.goes_stale();
    w.after(15 * S);
    w.server_beats(1);
    w.server_done();
    w.after(30 * S - 1);
    w.fact(Fact::ServerClosed(A, W, 4100));
    caught(I::SilentPeerTimesOutExactly, &w);
    // The link is not given up.
    let mut w = World::in_session();
    w.goes_stale();
    w.after(15 * S);
    w.server_beats(1);
    w.server_done();
    w.after(30 * S);
    w.server_beats(1);
    w.fact(Fact::ServerServed(A, Some(w.now + 1)));
    legal(&w);
    w.after(101 * MS);
    w.server_done();
    caught(I::SilentPeerTimesOutExactly, &w);
}

#[test]
fn absence_is_not_silence() {
    let stale_at_return = |away: u64| {
        let mut w = World::in_session();
        w.server_beats_alone();
        w.after(14 * S);
        w.fact(Fact::ServerAway);
        w.after(away);
        w.fact(Fact::ServerBack);
        w.shows(Status::Stale, Why::Silence(45 * S));
        w
    };
    caught(I::AbsenceIsNotSilence, &stale_at_return(3600 * S));
    caught(I::AbsenceIsNotSilence, &stale_at_return(2 * S));
    // So short that nobody can tell it from a late timer.
    legal(&stale_at_return(S + 400 * MS));
}

#[test]
fn timed_out_only_after_observed_stale() {
    // Not stale at all before.
    let mut w = World::in_session();
    w.server_beats_alone();
    w.after(60 * S);
    w.fact(Fact::ServerClosed(A, W, 4100));
    caught(I::TimedOutOnlyAfterObservedStale, &w);
    // Shown stale so late that the phase was short.
    let mut w = World::in_session();
    w.server_beats_alone();
    w.after(14 * S);
    w.fact(Fact::ServerAway);
    w.after(S);
    w.fact(Fact::ServerBack);
    w.server_waits(30 * S);
    w.after(30 * S);
    w.server_beats(1);
    w.shows(Status::Stale, Why::Silence(45 * S));
    w.server_done();
    w.after(15 * S);
    w.fact(Fact::ServerClosed(A, W, 4100));
    caught(I::TimedOutOnlyAfterObservedStale, &w);
}

#[test]
fn a_stale_phase_is_not_shortened_by_an_absence() {
    let given_up = |after_return: u64| {
        let mut w = World::in_session();
        w.goes_stale();
        w.fact(Fact::ServerAway);
        w.after(44 * S);
        w.fact(Fact::ServerBack);
        w.server_beats(1);
        w.server_done();
        w.after(after_return);
        w.fact(Fact::ServerClosed(A, W, 4100));
        w
    };
    caught(I::AbsenceIsNotSilence, &given_up(S));
    caught(I::AbsenceIsNotSilence, &given_up(30 * S));
}
