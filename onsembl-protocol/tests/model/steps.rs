//! Deadlines, drivers, and the end of the world.

use super::world::*;
use onsembl_protocol::lab::fact::*;
use onsembl_protocol::lab::model::Invariant as I;

#[test]
fn deadline_after_now() {
    let mut w = World::in_session();
    w.server_hears(Up::Other);
    w.fact(Fact::ServerServed(A, Some(w.now)));
    caught(I::DeadlineAfterNow, &w);
    let mut w = World::in_session();
    w.fact(Fact::AgentServed(P, Some(w.now)));
    caught(I::DeadlineAfterNow, &w);
}

#[test]
fn every_wait_has_a_deadline() {
    let mut w = World::in_session();
    w.server_hears(Up::Other);
    w.fact(Fact::ServerServed(A, None));
    caught(I::EveryWaitHasADeadline, &w);
    // A waiting agent without a timer.
    let mut w = World::in_session();
    w.fact(Fact::AgentLost(P, W, BROKEN));
    w.fact(Fact::AgentShows(P, AgentStatus::Reconnecting));
    w.fact(Fact::AgentServed(P, None));
    caught(I::EveryWaitHasADeadline, &w);
}

#[test]
fn deadline_soon_enough() {
    let mut w = World::in_session();
    w.server_hears(Up::Other);
    w.fact(Fact::ServerServed(A, Some(w.now + 30 * S)));
    legal(&w);
    w.server_hears(Up::Other);
    w.fact(Fact::ServerServed(A, Some(w.now + 30 * S + 1)));
    caught(I::DeadlineSoonEnough, &w);
    let mut w = World::in_session();
    w.fact(Fact::AgentLost(P, W, BROKEN));
    w.fact(Fact::AgentShows(P, AgentStatus::Reconnecting));
    w.agent_waits(S + 1);
    caught(I::DeadlineSoonEnough, &w);
}

#[test]
fn served_in_time() {
    let mut w = World::in_session();
    w.server_hears(Up::Other);
    w.fact(Fact::ServerServed(A, Some(w.now + S)));
    w.after(S + 101 * MS);
    w.server_done();
    caught(I::ServedInTime, &w);
    let mut w = World::in_session();
    w.fact(Fact::AgentServed(P, Some(w.now + S)));
    w.fact(Fact::ProcessAway(P));
    w.after(20 * S);
    w.fact(Fact::ProcessBack(P));
    w.agent_done();
    legal(&w);
}

#[test]
fn absence_is_real() {
    let mut w = World::in_session();
    w.fact(Fact::ServerOverslept(A));
    caught(I::AbsenceIsReal, &w);
    let mut w = World::in_session();
    w.fact(Fact::AgentOverslept(P));
    caught(I::AbsenceIsReal, &w);
}

#[test]
fn connected_in_the_end() {
    let mut w = World::in_session();
    w.server_loses();
    w.agent_loses();
    let when = w.when();
    w.model.finish(when);
    caught(I::ConnectedInTheEnd, &w);
    // Only one end knows.
    let mut w = World::in_session();
    w.server_loses();
    let when = w.when();
    w.model.finish(when);
    caught(I::ConnectedInTheEnd, &w);
    // An agent that was stopped need not be.
    let mut w = World::in_session();
    w.fact(Fact::AgentOrderedToStop(P, None));
    w.fact(Fact::AgentClosed(P, W, 4103));
    w.fact(Fact::AgentShows(P, AgentStatus::Closed));
    w.fact(Fact::AgentServed(P, None));
    w.fact(Fact::ServerLost(A, W, closed_there(4103)));
    w.shows(Status::Offline, Why::Stopped);
    w.fact(Fact::Forgotten(A));
    w.fact(Fact::ServerServed(A, None));
    w.fact(Fact::ProcessEnded(P, HowEnded::InOrder));
    let when = w.when();
    w.model.finish(when);
    legal(&w);
}
