//! An agent's own end.

use super::world::*;
use onsembl_protocol::lab::fact::*;
use onsembl_protocol::lab::model::Invariant as I;

/// The first dial ended so.
fn dialled(outcome: DialOutcome) -> World {
    let mut w = World::new();
    w.dial(W);
    w.fact(Fact::DialEnded(P, W, outcome));
    w
}

fn waiting(outcome: DialOutcome, nanos: u64) -> World {
    let mut w = dialled(outcome);
    w.fact(Fact::AgentShows(P, AgentStatus::Reconnecting));
    w.agent_waits(nanos);
    w
}

#[test]
fn agent_status_edges() {
    let mut w = World::in_session();
    w.fact(Fact::AgentShows(P, AgentStatus::TimedOut));
    caught(I::AgentStatusEdges, &w);
}

#[test]
fn agent_status_is_true() {
    // Connected without a welcome.
    let mut w = World::new();
    w.dial(W);
    w.link_up();
    w.fact(Fact::AgentShows(P, AgentStatus::Connected));
    w.agent_waits(S);
    caught(I::AgentStatusIsTrue, &w);
}

#[test]
fn both_ends_agree() {
    let mut w = World::new();
    w.dial(W);
    w.link_up();
    w.fact(Fact::Installed(A, Installed::Fresh { version: 0, epoch: 0 }));
    w.hello(P);
    w.open(P, Why::Opened);
    w.fact(Fact::AgentHeard(P, W, Down::Welcome(9)));
    caught(I::BothEndsAgree, &w);
}

#[test]
fn one_link_at_a_time() {
    let mut w = World::in_session();
    w.fact(Fact::Dialled(P, Wire(2)));
    caught(I::OneLinkAtATime, &w);
    let mut w = World::new();
    w.dial(W);
    w.fact(Fact::Dialled(P, Wire(2)));
    caught(I::OneLinkAtATime, &w);
    let mut w = waiting(DialOutcome::Failed, S);
    w.after(S);
    w.fact(Fact::Dialled(P, W));
    caught(I::OneLinkAtATime, &w);
}

#[test]
fn never_gives_up() {
    for outcome in [DialOutcome::Failed, DialOutcome::Unauthorised, DialOutcome::Busy(None)] {
        let mut w = dialled(outcome);
        w.fact(Fact::AgentShows(P, AgentStatus::Closed));
        caught(I::NeverGivesUp, &w);
    }
    // Gone permanently after a normal closure that its server never meant.
    let mut w = World::in_session();
    w.fact(Fact::AgentLost(P, W, closed_there(1000)));
    w.fact(Fact::AgentShows(P, AgentStatus::Closed));
    caught(I::NeverGivesUp, &w);
}

#[test]
fn no_dial_after_refusal() {
    let mut w = waiting(DialOutcome::Forbidden, S);
    caught(I::NoDialAfterRefusal, &w);
    for code in [4200, 4201, 4202] {
        w = World::in_session();
        w.fact(Fact::AgentLost(P, W, closed_there(code)));
        w.fact(Fact::AgentShows(P, AgentStatus::Reconnecting));
        w.agent_waits(S);
        caught(I::NoDialAfterRefusal, &w);
        w = World::in_session();
        w.fact(Fact::AgentLost(P, W, closed_there(code)));
        w.fact(Fact::AgentShows(P, AgentStatus::Closed));
        w.fact(Fact::AgentServed(P, None));
        legal(&w);
    }
}

#[test]
fn stop_is_obeyed() {
    let mut w = World::in_session();
    w.fact(Fact::AgentOrderedToStop(P, None));
    w.fact(Fact::AgentClosed(P, W, 4100));
    caught(I::StopIsObeyed, &w);
    let mut w = World::in_session();
    w.fact(Fact::AgentOrderedToStop(P, None));
    w.agent_done();
    caught(I::StopIsObeyed, &w);
    // The code says which order ended it, and none if none did.
    for (order, expected) in [(None, 4103), (Some(Order::Stop), 4107), (Some(Order::Restart), 4108)]
    {
        for code in [4103, 4107, 4108] {
            let mut w = World::in_session();
            w.fact(Fact::AgentOrderedToStop(P, order));
            w.fact(Fact::AgentClosed(P, W, code));
            if code == expected { legal(&w) } else { caught(I::StopIsObeyed, &w) }
        }
    }
    let mut w = waiting(DialOutcome::Failed, S);
    w.fact(Fact::AgentOrderedToStop(P, None));
    w.agent_waits(S);
    caught(I::StopIsObeyed, &w);
}

#[test]
fn hello_goes_first() {
    let mut w = dialled(DialOutcome::Up);
    w.fact(Fact::AgentSent(P, W, Up::Other));
    caught(I::HelloGoesFirst, &w);
    let mut w = dialled(DialOutcome::Up);
    w.fact(Fact::AgentShows(P, AgentStatus::Joining));
    w.agent_waits(S);
    caught(I::HelloGoesFirst, &w);
    let mut w = World::new();
    w.dial(W);
    w.link_up();
    w.agent_beats(0);
    caught(I::HelloGoesFirst, &w);
    let mut w = World::in_session();
    w.fact(Fact::AgentSent(P, W, Up::Hello));
    caught(I::HelloGoesFirst, &w);
    // A probe is answered even before.
    let mut w = World::new();
    w.dial(W);
    w.link_up();
    w.fact(Fact::AgentHeard(P, W, Down::Ping));
    w.fact(Fact::AgentSent(P, W, Up::Pong));
    w.agent_waits(S);
    legal(&w);
}

#[test]
fn ping_is_answered() {
    let mut w = World::in_session();
    w.agent_hears(Down::Ping);
    w.agent_done();
    caught(I::PingIsAnswered, &w);
}

#[test]
fn redials_by_backoff() {
    // The second window begins where the first one ends.
    let second = |nanos: u64| {
        let mut w = waiting(DialOutcome::Failed, S);
        w.after(300 * MS);
        w.dial(Wire(2));
        w.fact(Fact::DialEnded(P, Wire(2), DialOutcome::Failed));
        w.fact(Fact::AgentShows(P, AgentStatus::Reconnecting));
        w.agent_waits(2 * S);
        w.after(nanos);
        w.fact(Fact::Dialled(P, Wire(3)));
        w
    };
    caught(I::RedialsByBackoff, &second(700 * MS - 1));
    legal(&second(700 * MS));
    let mut w = waiting(DialOutcome::Unauthorised, 40 * S);
    w.after(29 * S);
    w.fact(Fact::Dialled(P, Wire(2)));
    caught(I::RedialsByBackoff, &w);
    // A token that ran out in session is as one that was refused.
    let mut w = World::in_session();
    w.fact(Fact::AgentLost(P, W, closed_there(4105)));
    w.fact(Fact::AgentShows(P, AgentStatus::Reconnecting));
    w.agent_waits(40 * S);
    w.after(29 * S);
    w.fact(Fact::Dialled(P, Wire(2)));
    caught(I::RedialsByBackoff, &w);
}

#[test]
fn ten_minutes_of_rejection() {
    // Accepted and cut at once, each time: the windows continue.
    let mut w = World::new();
    w.dial(W);
    w.link_up();
    w.fact(Fact::AgentHeard(P, W, Down::Welcome(1)));
    w.fact(Fact::AgentShows(P, AgentStatus::Connected));
    (w.agent_heard_at, w.agent_sequence) = (w.now, 0);
    w.agent_beats(0);
    w.agent_done();
    w.agent_loses();
    w.after(S);
    w.dial(Wire(2));
    w.link_up();
    w.fact(Fact::AgentLost(P, Wire(2), closed_there(1013)));
    w.fact(Fact::AgentShows(P, AgentStatus::Reconnecting));
    w.agent_waits(2 * S);
    legal(&w);
    w.after(2 * S + 101 * MS);
    w.fact(Fact::Dialled(P, Wire(3)));
    caught(I::ComesBack, &w);
}

#[test]
fn retry_after_obeyed() {
    let dial = |nanos: u64| {
        let mut w = waiting(DialOutcome::Busy(Some(60 * S)), 61 * S);
        w.after(nanos);
        w.fact(Fact::Dialled(P, Wire(2)));
        w
    };
    caught(I::RetryAfterObeyed, &dial(60 * S - 1));
    legal(&dial(60 * S));
}

#[test]
fn comes_back() {
    let mut w = waiting(DialOutcome::Failed, S);
    w.after(S + 101 * MS);
    w.fact(Fact::Dialled(P, Wire(2)));
    caught(I::ComesBack, &w);
    // An absence excuses it.
    let mut w = waiting(DialOutcome::Failed, S);
    w.fact(Fact::ProcessAway(P));
    w.after(3600 * S);
    w.fact(Fact::ProcessBack(P));
    w.fact(Fact::Dialled(P, Wire(2)));
    legal(&w);
}
