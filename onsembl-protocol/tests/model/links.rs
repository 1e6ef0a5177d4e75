//! Sessions and links, the server's end.

use super::world::*;
use onsembl_protocol::lab::fact::*;
use onsembl_protocol::lab::model::Invariant as I;

/// In session over the first wire, and the hello of `process` over a second one.
fn challenged(process: Process) -> World {
    let mut w = World::in_session();
    w.fact(Fact::ProcessStarted(Q, A));
    w.wire = Wire(2);
    w.fact(Fact::Joined(A, Wire(2), process));
    w.fact(Fact::SessionAsked(A, Wire(2)));
    w.server_waits(25 * S);
    w
}

fn answered(process: Process) -> World {
    let mut w = challenged(process);
    w.fact(Fact::SessionCommitted(A, 2, process));
    w.fact(Fact::SessionAnswered(A, Wire(2), 2));
    w
}

#[test]
fn epochs_grow() {
    let mut w = challenged(P);
    w.fact(Fact::SessionCommitted(A, 1, P));
    caught(I::EpochsGrow, &w);
}

#[test]
fn identity_holds() {
    let mut w = World::in_session();
    w.fact(Fact::Joined(Agent(1), Wire(2), P));
    caught(I::IdentityHolds, &w);
}

#[test]
fn welcome_is_committed() {
    let mut w = challenged(P);
    w.fact(Fact::SessionAnswered(A, Wire(2), 2));
    caught(I::WelcomeIsCommitted, &w);
    let mut w = challenged(P);
    w.fact(Fact::ServerClosed(A, W, 4101));
    caught(I::GivenUpForAReason, &w);
    let mut w = answered(P);
    w.fact(Fact::ServerClosed(A, W, 4101));
    w.fact(Fact::ServerSent(A, Wire(2), Down::Welcome(3)));
    caught(I::WelcomeIsCommitted, &w);
    let mut w = answered(P);
    w.fact(Fact::ServerClosed(A, W, 4101));
    w.server_beats(0);
    caught(I::WelcomeIsCommitted, &w);
    // Committed for another process.
    let mut w = challenged(P);
    w.fact(Fact::SessionCommitted(A, 2, Q));
    w.fact(Fact::SessionAnswered(A, Wire(2), 2));
    caught(I::WelcomeIsCommitted, &w);
}

#[test]
fn hello_is_answered() {
    let mut w = World::in_session();
    w.fact(Fact::Joined(A, Wire(2), P));
    w.server_waits(S);
    caught(I::HelloIsAnswered, &w);
    let mut w = answered(P);
    w.fact(Fact::ServerClosed(A, W, 4101));
    w.server_waits(S);
    caught(I::HelloIsAnswered, &w);
}

#[test]
fn takeover_is_told() {
    let mut w = answered(P);
    w.fact(Fact::ServerClosed(A, W, 4200));
    caught(I::TakeoverIsTold, &w);
    let mut w = answered(Q);
    w.fact(Fact::ServerClosed(A, W, 4101));
    caught(I::TakeoverIsTold, &w);
    let mut w = answered(Q);
    w.fact(Fact::ServerClosed(A, W, 4200));
    legal(&w);
}

#[test]
fn close_has_a_cause() {
    for code in [0, 999, 1004, 1005, 1006, 1015, 3000, 4000, 4109, 4203] {
        let mut w = answered(P);
        w.fact(Fact::ServerClosed(A, W, code));
        caught(I::CloseHasACause, &w);
        let mut w = World::in_session();
        w.fact(Fact::AgentClosed(P, W, code));
        caught(I::CloseHasACause, &w);
    }
}

#[test]
fn normal_only_to_legacy() {
    // It sent a heartbeat of its own, so it is not legacy.
    let mut w = answered(Q);
    w.fact(Fact::ServerClosed(A, W, 1000));
    caught(I::NormalOnlyToLegacy, &w);
    let mut w = World::in_session();
    w.fact(Fact::AgentClosed(P, W, 1000));
    caught(I::NormalOnlyToLegacy, &w);
}

#[test]
fn a_legacy_agent_that_was_replaced_gets_1000() {
    let mut w = World::new();
    w.fact(Fact::Installed(A, Installed::Fresh { version: 0, epoch: 0 }));
    w.hello(P);
    w.open(P, Why::Opened);
    w.server_hears(Up::Pong);
    w.fact(Fact::BeatAsked(A, 1, 1));
    w.server_done();
    w.fact(Fact::ProcessStarted(Q, A));
    w.fact(Fact::Joined(A, Wire(2), Q));
    w.fact(Fact::SessionAsked(A, Wire(2)));
    w.server_waits(25 * S);
    w.fact(Fact::SessionCommitted(A, 2, Q));
    w.fact(Fact::SessionAnswered(A, Wire(2), 2));
    w.fact(Fact::ServerClosed(A, W, 1000));
    legal(&w);
}

#[test]
fn dead_link_is_closed() {
    // Taken over, and the old wire left open.
    let mut w = answered(P);
    w.fact(Fact::ServerSent(A, Wire(2), Down::Welcome(2)));
    w.shown.epoch = 2;
    w.shows(Status::Online, Why::TakenOver);
    w.server_done();
    caught(I::DeadLinkIsClosed, &w);
    // A hello that was denied.
    let mut w = challenged(P);
    w.fact(Fact::SessionDenied(A, Wire(2)));
    w.server_done();
    caught(I::DeadLinkIsClosed, &w);
    let mut w = challenged(P);
    w.fact(Fact::SessionDenied(A, Wire(2)));
    w.fact(Fact::ServerClosed(A, Wire(2), 1013));
    w.server_done();
    legal(&w);
    // An agent's dial that succeeded after it was given up.
    let mut w = World::new();
    w.dial(W);
    w.after(10 * S);
    w.fact(Fact::AgentClosed(P, W, 4106));
    w.fact(Fact::AgentShows(P, AgentStatus::Reconnecting));
    w.agent_waits(S);
    w.fact(Fact::DialEnded(P, W, DialOutcome::Up));
    w.agent_waits(S);
    caught(I::DeadLinkIsClosed, &w);
}

#[test]
fn given_up_for_a_reason() {
    // A healthy agent cut by a timer.
    let mut w = World::in_session();
    w.after(S);
    w.fact(Fact::ServerClosed(A, W, 1011));
    caught(I::GivenUpForAReason, &w);
    // A hello cut before its time.
    let mut w = challenged(P);
    w.after(25 * S - 1);
    w.fact(Fact::ServerClosed(A, Wire(2), 1013));
    caught(I::GivenUpForAReason, &w);
    // A wire closed twice.
    let mut w = answered(P);
    w.fact(Fact::ServerClosed(A, W, 4101));
    w.fact(Fact::ServerClosed(A, W, 4101));
    caught(I::GivenUpForAReason, &w);
    // By the agent.
    let mut w = World::in_session();
    w.fact(Fact::AgentClosed(P, W, 4106));
    caught(I::GivenUpForAReason, &w);
    let mut w = World::new();
    w.dial(W);
    w.after(10 * S - 1);
    w.fact(Fact::AgentClosed(P, W, 4106));
    caught(I::GivenUpForAReason, &w);
}

#[test]
fn old_link_changes_nothing() {
    let mut w = World::in_session();
    w.fact(Fact::ServerLost(A, Wire(9), BROKEN));
    w.shows(Status::Reconnecting, Why::LinkEnded(BROKEN));
    caught(I::OldLinkChangesNothing, &w);
    let mut w = World::in_session();
    w.fact(Fact::AgentLost(P, Wire(9), BROKEN));
    w.fact(Fact::AgentShows(P, AgentStatus::Reconnecting));
    caught(I::OldLinkChangesNothing, &w);
    // A session for a hello that is not wanted any more.
    let mut w = challenged(P);
    w.fact(Fact::SessionCommitted(A, 2, P));
    w.fact(Fact::SessionAnswered(A, Wire(7), 2));
    w.fact(Fact::ServerSent(A, Wire(7), Down::Welcome(2)));
    caught(I::OldLinkChangesNothing, &w);
}

#[test]
fn speaks_over_current_wire() {
    let mut w = challenged(P);
    let beat = w.down(1);
    w.fact(Fact::ServerSent(A, Wire(2), beat));
    caught(I::SpeaksOverCurrentWire, &w);
    let mut w = World::in_session();
    w.fact(Fact::AgentSent(P, Wire(9), Up::Other));
    caught(I::SpeaksOverCurrentWire, &w);
    let mut w = World::in_session();
    w.fact(Fact::AgentForwarded(P, Wire(9)));
    caught(I::SpeaksOverCurrentWire, &w);
    // Before the hello is accepted the program has no say.
    let mut w = World::new();
    w.dial(W);
    w.link_up();
    w.fact(Fact::AgentForwarded(P, W));
    caught(I::SpeaksOverCurrentWire, &w);
}

#[test]
fn eviction_is_obeyed() {
    let mut w = World::in_session();
    w.fact(Fact::EvictionAsked(A));
    w.shows(Status::Offline, Why::Evicted);
    w.fact(Fact::Forgotten(A));
    w.fact(Fact::ServerServed(A, None));
    caught(I::EvictionIsObeyed, &w);
    let mut w = World::in_session();
    w.fact(Fact::EvictionAsked(A));
    w.fact(Fact::ServerClosed(A, W, 4202));
    w.server_done();
    caught(I::EvictionIsObeyed, &w);
    let mut w = World::in_session();
    w.fact(Fact::EvictionAsked(A));
    w.fact(Fact::ServerClosed(A, W, 4202));
    w.shows(Status::Offline, Why::Evicted);
    w.fact(Fact::Forgotten(A));
    w.fact(Fact::ServerServed(A, None));
    legal(&w);
}

#[test]
fn terminal_is_final() {
    let evicted = || {
        let mut w = World::in_session();
        w.fact(Fact::EvictionAsked(A));
        w.fact(Fact::ServerClosed(A, W, 4202));
        w.shows(Status::Offline, Why::Evicted);
        w.fact(Fact::Forgotten(A));
        w.fact(Fact::ServerServed(A, None));
        w
    };
    // A timer of a deleted agent.
    let mut w = evicted();
    w.after(90 * S);
    w.shows(Status::TimedOut, Why::Silence(90 * S));
    caught(I::TerminalIsFinal, &w);
    // Offline, and kept.
    let mut w = World::in_session();
    w.fact(Fact::ServerLost(A, W, closed_there(4103)));
    w.shows(Status::Offline, Why::Stopped);
    w.fact(Fact::ServerServed(A, None));
    caught(I::TerminalIsFinal, &w);
    let mut w = World::in_session();
    w.fact(Fact::AgentOrderedToStop(P, None));
    w.fact(Fact::AgentClosed(P, W, 4103));
    w.fact(Fact::AgentShows(P, AgentStatus::Closed));
    w.fact(Fact::AgentServed(P, None));
    legal(&w);
    w.fact(Fact::Dialled(P, Wire(2)));
    caught(I::TerminalIsFinal, &w);
}

#[test]
fn gives_up_in_time() {
    let mut w = challenged(P);
    w.after(25 * S + 101 * MS);
    w.server_done();
    caught(I::GivesUpInTime, &w);
    let mut w = World::new();
    w.dial(W);
    w.after(10 * S + 101 * MS);
    w.agent_waits(S);
    caught(I::GivesUpInTime, &w);
}
