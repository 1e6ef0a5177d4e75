//! What is shown of an agent.

use super::world::*;
use onsembl_protocol::lab::fact::*;
use onsembl_protocol::lab::model::Invariant as I;

#[test]
fn version_grows_by_one() {
    let mut w = World::in_session();
    w.after(45 * S);
    let next = w.next(Status::Stale, Why::Silence(45 * S));
    w.publish(Presence { version: next.version + 1, ..next });
    caught(I::VersionGrowsByOne, &w);
    // A newer epoch has versions of its own.
    let mut w = World::new();
    w.fact(Fact::Installed(A, Installed::Fresh { version: 0, epoch: 0 }));
    w.hello(P);
    w.fact(Fact::SessionCommitted(A, 1, P));
    w.fact(Fact::SessionAnswered(A, W, 1));
    w.fact(Fact::ServerSent(A, W, Down::Welcome(1)));
    let next = w.next(Status::Online, Why::Opened);
    w.publish(Presence { version: next.version, epoch: 1, ..next });
    caught(I::VersionGrowsByOne, &w);
    // After a restart too.
    let mut w = World::in_session();
    w.fact(Fact::ServerEnded(HowEnded::Killed));
    w.fact(Fact::ServerStarted);
    w.fact(Fact::Installed(A, Installed::Recovered { version: 1, epoch: 1 }));
    caught(I::VersionGrowsByOne, &w);
}

#[test]
fn since_moves_only_with_status() {
    let mut w = World::in_session();
    w.server_beats_alone();
    w.after(15 * S);
    let next = w.next(Status::Stale, Why::Silence(45 * S));
    w.publish(Presence { since: w.shown.since, ..next });
    caught(I::SinceMovesOnlyWithStatus, &w);
    let mut w = World::in_session();
    w.goes_stale();
    w.after(S);
    w.server_hears(Up::Other);
    let next = w.next(Status::Online, Why::HeardAgain);
    w.publish(Presence { since: 0, ..next });
    caught(I::SinceMovesOnlyWithStatus, &w);
}

#[test]
fn status_edges() {
    let mut w = World::in_session();
    w.server_loses();
    w.after(S);
    w.shows(Status::Online, Why::HeardAgain);
    caught(I::StatusEdges, &w);
}

#[test]
fn status_is_true() {
    // The late end of an old wire.
    let mut w = World::in_session();
    w.fact(Fact::ServerLost(A, W, BROKEN));
    w.server_waits(S);
    caught(I::StatusIsTrue, &w);
    // Online without a session.
    let mut w = World::in_session();
    w.server_loses();
    w.after(S);
    w.shows(Status::Connecting, Why::Hello);
    caught(I::ReasonIsTrue, &w);
}

#[test]
fn any_frame_proves_life() {
    let mut w = World::in_session();
    w.goes_stale();
    w.after(S);
    w.server_hears(Up::Pong);
    w.server_done();
    caught(I::AnyFrameProvesLife, &w);
    let mut w = World::in_session();
    w.goes_stale();
    w.after(S);
    w.server_hears(Up::Pong);
    w.shows(Status::Online, Why::HeardAgain);
    w.server_done();
    legal(&w);
}

#[test]
fn reason_is_true() {
    let mut w = World::in_session();
    w.fact(Fact::ServerLost(A, W, BROKEN));
    w.shows(Status::Reconnecting, Why::LinkEnded(closed_there(1001)));
    caught(I::ReasonIsTrue, &w);
    let mut w = World::in_session();
    w.fact(Fact::ServerLost(A, W, BROKEN));
    w.shows(Status::Offline, Why::Stopped);
    caught(I::ReasonIsTrue, &w);
    let whys = [Why::Stopped, Why::Ordered(Order::Stop), Why::Ordered(Order::Restart)];
    for (code, why) in [4103, 4107, 4108].into_iter().zip(whys) {
        for claimed in whys {
            let mut w = World::in_session();
            w.fact(Fact::ServerLost(A, W, closed_there(code)));
            w.shows(Status::Offline, claimed);
            if claimed != why {
                caught(I::ReasonIsTrue, &w);
                continue;
            }
            w.fact(Fact::Forgotten(A));
            w.fact(Fact::ServerServed(A, None));
            legal(&w);
        }
    }
}

#[test]
fn one_report_per_step() {
    let mut w = World::in_session();
    w.fact(Fact::ServerLost(A, W, BROKEN));
    w.shows(Status::Reconnecting, Why::LinkEnded(BROKEN));
    w.shows(Status::Connecting, Why::Hello);
    caught(I::OneReportPerStep, &w);
}

#[test]
fn no_empty_report() {
    let mut w = World::in_session();
    w.after(S);
    w.shows(Status::Online, w.shown.why);
    caught(I::NoEmptyReport, &w);
}

#[test]
fn restart_is_honest() {
    let mut w = World::in_session();
    w.fact(Fact::ServerEnded(HowEnded::Killed));
    w.fact(Fact::ServerStarted);
    let (version, epoch) = (w.shown.version, w.shown.epoch);
    w.fact(Fact::Installed(A, Installed::Fresh { version, epoch }));
    caught(I::RestartIsHonest, &w);
    let mut w = World::in_session();
    w.fact(Fact::ServerEnded(HowEnded::Killed));
    w.fact(Fact::ServerStarted);
    w.fact(Fact::Installed(A, Installed::Recovered { version, epoch }));
    w.shown.status = Status::Offline;
    w.fact(Fact::Joined(A, Wire(2), P));
    w.shows(Status::Connecting, Why::Hello);
    caught(I::RestartIsHonest, &w);
}

#[test]
fn ailment_only_in_session() {
    let mut w = World::in_session();
    w.fact(Fact::ServerLost(A, W, BROKEN));
    let next = w.next(Status::Reconnecting, Why::LinkEnded(BROKEN));
    w.publish(Presence { ailment: Some(Ailment::NotSeen), ..next });
    caught(I::AilmentOnlyInSession, &w);
    let mut w = World::in_session();
    w.agent_loses();
    w.fact(Fact::AgentNames(P, Some(Ailment::NotRecorded)));
    caught(I::AilmentOnlyInSession, &w);
}

#[test]
fn fault_is_shown() {
    let mut w = World::in_session();
    w.fact(Fact::FaultReported(A, W));
    w.server_done();
    caught(I::FaultIsShown, &w);
    let mut w = World::in_session();
    w.fact(Fact::FaultReported(A, W));
    w.shows(Status::Error, Why::Faulted);
    w.server_done();
    legal(&w);
}

#[test]
fn resume_window_is_kept() {
    let offline_after = |nanos: u64| {
        let mut w = World::in_session();
        w.server_loses();
        w.after(nanos);
        w.shows(Status::Offline, Why::WindowOver);
        w.fact(Fact::Forgotten(A));
        w.fact(Fact::ServerServed(A, None));
        w
    };
    caught(I::ResumeWindowIsKept, &offline_after(300 * S - 1));
    legal(&offline_after(300 * S));
    legal(&offline_after(300 * S + 100 * MS));
    caught(I::ResumeWindowIsKept, &offline_after(300 * S + 101 * MS));
}

#[test]
fn a_servers_absence_does_not_count_for_the_window() {
    let offline = |after_return: u64| {
        let mut w = World::in_session();
        w.server_loses();
        w.after(200 * S);
        w.fact(Fact::ServerAway);
        w.after(200 * S);
        w.fact(Fact::ServerBack);
        w.fact(Fact::ServerOverslept(A));
        w.server_waits(100 * S);
        w.after(after_return);
        w.shows(Status::Offline, Why::WindowOver);
        w
    };
    caught(I::ResumeWindowIsKept, &offline(0));
    caught(I::ResumeWindowIsKept, &offline(100 * S - 1));
    legal(&offline(100 * S));
}
