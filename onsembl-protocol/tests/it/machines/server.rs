//! The table of the server's machine.

use super::samples::{class, ends, reasons, server_events};
use super::table::{deadline, line, presence, server_action};
use crate::lifecycle::solo::{Server, agent_beat};
use crate::support::{now, secs};
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason};
use onsembl_protocol::id::LinkId;
use onsembl_protocol::session::{Claimant, Dialect, PresenceStatus, ServerEvent, ServerInbound};
use onsembl_protocol::time::{Deadline, Now};
use std::collections::BTreeSet;

fn away() -> Server {
    let mut server = Server::in_session(Dialect::Extended);
    server.run_until(secs(5));
    server.feed(ServerEvent::LinkDown(LinkId(1), CloseReason::broken(Breakage::Reset)));
    server
}

fn after(seconds: u64, dialect: Dialect) -> Server {
    let mut server = Server::in_session(dialect);
    server.run_until(secs(seconds));
    server
}

/// Representative states, each reached by events. Admissions and records are the table's events.
pub(super) fn states() -> Vec<(&'static str, Server)> {
    let mut joining = Server::new();
    joining.admits = false;
    joining.join(1, Dialect::Extended, Claimant::SameProcess);
    let mut rejoining = away();
    rejoining.admits = false;
    rejoining.join(2, Dialect::Extended, Claimant::SameProcess);
    let mut challenged = after(5, Dialect::Extended);
    challenged.admits = false;
    challenged.join(2, Dialect::Extended, Claimant::OtherProcess);
    let mut challenged_late = after(80, Dialect::Extended);
    challenged_late.admits = false;
    challenged_late.join(2, Dialect::Extended, Claimant::SameProcess);
    let mut unrecorded = Server::in_session(Dialect::Extended);
    unrecorded.records = false;
    unrecorded.hear(1, agent_beat(1, 1));
    unrecorded.run_until(secs(20));
    let mut unprobed = Server::in_session(Dialect::Legacy);
    for n in 1..9 {
        unprobed.run_until(secs(10 * n));
        unprobed.hear(1, ServerInbound::Other);
    }
    let mut faulted = after(5, Dialect::Extended);
    faulted.feed(ServerEvent::Faulted(LinkId(1)));
    let mut closed = after(5, Dialect::Extended);
    closed.feed(ServerEvent::Evict(CloseCause::Deleted));
    let mut states = vec![
        ("new", Server::new()),
        ("connecting", joining),
        ("connecting, was away", rejoining),
        ("online", after(5, Dialect::Extended)),
        ("online, legacy", after(5, Dialect::Legacy)),
        ("online, challenged", challenged),
        ("online, unrecorded", unrecorded),
        ("online, probe unans.", unprobed),
        ("error", faulted),
        ("stale", after(60, Dialect::Extended)),
        ("stale, challenged", challenged_late),
        ("timed-out", after(90, Dialect::Extended)),
        ("reconnecting", away()),
        ("recovered", Server::recovered()),
        ("gone", closed),
    ];
    for (_, server) in &mut states {
        server.admits = false;
        server.records = false;
    }
    states
}

/// Every event but a wake-up: about link 1, about link 2 (the joining one, where there is one), about
/// a link that it is unknown.
fn events(server: &Server) -> Vec<(String, ServerEvent)> {
    let epoch = server.machine.presence().epoch;
    let mut events: Vec<(String, ServerEvent)> = Vec::new();
    for link in [1, 2, 9] {
        for (name, event) in server_events(LinkId(3), LinkId(link), epoch) {
            if event != ServerEvent::Wake && events.iter().all(|(_, known)| *known != event) {
                events.push((name, event));
            }
        }
    }
    events
}

fn wakes(server: &Server) -> Vec<(&'static str, Now)> {
    let due = match server.deadline {
        Deadline::At(at) => at.since_origin().max(server.at),
        Deadline::Never => server.at,
    };
    vec![
        ("wake early", server.now()),
        ("wake when due", now(due)),
        ("wake 10m late", now(due + secs(600))),
    ]
}

#[test]
fn the_table_of_the_server() {
    let mut table = String::new();
    let mut statuses = BTreeSet::new();
    for (state, server) in states() {
        statuses.insert(server.status());
        let mut rows: Vec<(String, ServerEvent, Now)> =
            events(&server).into_iter().map(|(name, event)| (name, event, server.now())).collect();
        for (name, now) in wakes(&server) {
            rows.push((name.to_string(), ServerEvent::Wake, now));
        }
        for (name, event, now) in rows {
            let mut machine = server.machine.clone();
            let step = machine.handle(event, now);
            let at = now.monotonic;
            let output: Vec<String> =
                step.actions.into_iter().map(|action| server_action(action, at)).collect();
            let after = presence(machine.presence());
            table += &line(state, &name, &after, &output, &deadline(step.deadline, at));
        }
        table += "\n";
    }
    let all = PresenceStatus::ALL.iter().map(|status| status.as_str()).collect();
    assert_eq!(statuses, all, "a status has no representative");
    insta::assert_snapshot!(table);
}

#[test]
fn the_server_treats_all_ends_of_a_class_alike() {
    for (state, server) in states() {
        for link in [1, 2].map(LinkId) {
            let outcome = |reason: CloseReason| {
                let mut machine = server.machine.clone();
                let step = machine.handle(ServerEvent::LinkDown(link, reason), server.now());
                format!("{step:?}").replace(&format!("{reason:?}"), "the end")
            };
            let ends = ends();
            for reason in reasons() {
                let (_, like) = ends.iter().find(|(name, _)| name == class(reason)).unwrap();
                assert_eq!(outcome(reason), outcome(*like), "{state}: {reason:?} and {like:?}");
            }
        }
    }
}
