//! The table of the server's machine.

use super::table::{deadline, line, presence, server_action};
use crate::lifecycle::solo::{Server, agent_beat, peer_closed, peer_code};
use crate::support::{now, secs};
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason};
use onsembl_protocol::id::{BeatSequence, Epoch, LinkId};
use onsembl_protocol::session::{Claimant, Dialect, ServerEvent, ServerInbound, StoreTrouble};
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
fn states() -> Vec<(&'static str, Server)> {
    let mut joining = Server::new();
    joining.admits = false;
    joining.join(1, Dialect::Extended, Claimant::SameProcess);
    let mut rejoining = away();
    rejoining.admits = false;
    rejoining.join(2, Dialect::Extended, Claimant::SameProcess);
    let mut challenged = after(5, Dialect::Extended);
    challenged.admits = false;
    challenged.join(2, Dialect::Extended, Claimant::OtherProcess);
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
    let mut gone = after(5, Dialect::Extended);
    gone.feed(ServerEvent::Evict(CloseCause::Deleted));
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
        ("timed-out", after(90, Dialect::Extended)),
        ("reconnecting", away()),
        ("recovered", Server::recovered()),
        ("gone", gone),
    ];
    for (_, server) in &mut states {
        server.admits = false;
        server.records = false;
    }
    states
}

/// Every kind of event: about link 1, about link 2 (the joining one, where there is one), about a
/// link that nobody knows.
fn events(server: &Server) -> Vec<(String, ServerEvent)> {
    let epoch = server.machine.presence().epoch;
    let at = server.now().wall;
    let mut events = Vec::new();
    let mut add = |name: &str, event| events.push((name.to_string(), event));
    for (name, dialect, claimant) in [
        ("joined: same", Dialect::Extended, Claimant::SameProcess),
        ("joined: other", Dialect::Extended, Claimant::OtherProcess),
        ("joined: legacy", Dialect::Legacy, Claimant::SameProcess),
    ] {
        add(name, ServerEvent::Joined { link: LinkId(3), dialect, claimant });
    }
    for n in [1, 2, 9] {
        let link = LinkId(n);
        add(&format!("admitted {n}"), ServerEvent::Admitted { link, epoch: Epoch(20) });
        let cause = CloseCause::TryLater;
        add(&format!("rejected {n}"), ServerEvent::Rejected { link, cause });
        for (name, frame) in [
            ("beat", agent_beat(5, 99)),
            ("beat, nothing seen", agent_beat(5, 0)),
            ("pong", ServerInbound::Pong),
            ("other", ServerInbound::Other),
        ] {
            add(&format!("received {name} over {n}"), ServerEvent::Received(link, frame));
        }
        add(&format!("faulted over {n}"), ServerEvent::Faulted(link));
        for (name, reason) in [
            ("reset", CloseReason::broken(Breakage::Reset)),
            ("stopped", peer_closed(CloseCause::AgentStopped)),
            ("1000", peer_code(1000)),
            ("by this side", CloseReason::local(CloseCause::NotReading)),
        ] {
            add(&format!("link {n} down: {name}"), ServerEvent::LinkDown(link, reason));
        }
    }
    let sequence = BeatSequence(1);
    add("recorded 1", ServerEvent::Recorded { epoch, sequence, at });
    add("recorded 1 of an old epoch", ServerEvent::Recorded { epoch: Epoch(0), sequence, at });
    add("store busy", ServerEvent::Store(Some(StoreTrouble::Busy)));
    add("store well", ServerEvent::Store(None));
    add("evict: deleted", ServerEvent::Evict(CloseCause::Deleted));
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
            let did: Vec<String> =
                step.actions.into_iter().map(|action| server_action(action, at)).collect();
            let after = presence(machine.presence());
            table += &line(state, &name, &after, &did, &deadline(step.deadline, at));
        }
        table += "\n";
    }
    let all = ["connecting", "online", "stale", "timed-out", "reconnecting", "offline", "error"];
    assert_eq!(statuses, all.into(), "a status has no representative");
    insta::assert_snapshot!(table);
}
