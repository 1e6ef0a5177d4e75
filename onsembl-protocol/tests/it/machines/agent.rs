//! The table of the agent's machine.

use super::table::{agent_action, agent_status, deadline, line};
use crate::lifecycle::solo::{Agent, TERMS, healthy_beat, peer_closed, peer_code, server_beat};
use crate::support::{awake_and_asleep, secs};
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason};
use onsembl_protocol::id::LinkId;
use onsembl_protocol::session::{
    AgentEvent, AgentInbound, DialFailure, Dialect, HelloRefusal, SessionTerms,
};
use onsembl_protocol::time::Now;
use std::collections::BTreeSet;

fn started() -> Agent {
    let mut agent = Agent::new(11);
    agent.feed(AgentEvent::Start);
    agent.run_until(secs(2));
    agent
}

fn after(seconds: u64, terms: SessionTerms) -> Agent {
    let mut agent = Agent::in_session(terms);
    agent.run_until(secs(seconds));
    agent
}

/// Representative states, each reached by events.
fn states() -> Vec<(&'static str, Agent)> {
    let legacy = SessionTerms { dialect: Dialect::Legacy, ..TERMS };
    let mut joining = started();
    joining.feed(AgentEvent::LinkUp(LinkId(1)));
    let mut unrecorded = after(40, TERMS);
    unrecorded.hear(server_beat(1, 2, 1, true));
    let mut lost = after(5, TERMS);
    lost.lose(CloseReason::broken(Breakage::Reset));
    let mut asked = started();
    asked
        .feed(AgentEvent::DialFailed(LinkId(1), DialFailure::Busy { retry_after: Some(secs(60)) }));
    let mut closed = after(5, TERMS);
    closed.feed(AgentEvent::Stop);
    vec![
        ("idle", Agent::new(11)),
        ("connecting", started()),
        ("joining", joining),
        ("connected, unstable", after(5, TERMS)),
        ("connected", after(20, TERMS)),
        ("connected, legacy", after(20, legacy)),
        ("connected, impaired", unrecorded),
        ("stale", after(60, TERMS)),
        ("timed-out", after(90, TERMS)),
        ("reconnecting", lost),
        ("reconnecting, asked to", asked),
        ("closed", closed),
    ]
}

/// Every kind of event, about the link that was dialled last and about an older one.
fn events(link: LinkId) -> Vec<(String, AgentEvent)> {
    let mut events = vec![("start".to_string(), AgentEvent::Start)];
    let mut add = |name: &str, event| events.push((name.to_string(), event));
    add("link up", AgentEvent::LinkUp(link));
    for (name, failure) in [
        ("unreachable", DialFailure::Unreachable),
        ("timed out", DialFailure::TimedOut),
        ("tls", DialFailure::Tls),
        ("http 404", DialFailure::NotAServer(404)),
        ("401", DialFailure::Unauthorized),
        ("403", DialFailure::Forbidden),
        ("busy", DialFailure::Busy { retry_after: None }),
        ("busy 60s", DialFailure::Busy { retry_after: Some(secs(60)) }),
    ] {
        add(&format!("dial failed: {name}"), AgentEvent::DialFailed(link, failure));
    }
    for (name, frame) in [
        ("welcome", AgentInbound::HelloAccepted(TERMS)),
        ("refusal: token", AgentInbound::HelloRefused(HelloRefusal::Unauthorized)),
        ("refusal: other", AgentInbound::HelloRefused(HelloRefusal::Other)),
        ("beat, all well", healthy_beat(7)),
        ("beat, nothing seen", server_beat(7, 0, 0, false)),
        ("beat, recording lags", server_beat(7, 9, 0, true)),
        ("ping", AgentInbound::Ping { echo: Some(5.0.into()) }),
        ("other", AgentInbound::Other),
    ] {
        add(&format!("received {name}"), AgentEvent::Received(link, frame));
    }
    for (name, reason) in [
        ("reset", CloseReason::broken(Breakage::Reset)),
        ("no code", CloseReason::peer(None)),
        ("1000", peer_code(1000)),
        ("token expired", peer_closed(CloseCause::TokenExpired)),
        ("superseded", peer_closed(CloseCause::Superseded)),
        ("replaced", peer_closed(CloseCause::Replaced)),
        ("by this side", CloseReason::local(CloseCause::NotReading)),
    ] {
        add(&format!("link down: {name}"), AgentEvent::LinkDown(link, reason));
    }
    let old = LinkId(link.0.saturating_sub(1));
    add("old link up", AgentEvent::LinkUp(old));
    add("old dial failed", AgentEvent::DialFailed(old, DialFailure::Forbidden));
    add("old link received welcome", AgentEvent::Received(old, AgentInbound::HelloAccepted(TERMS)));
    add("old link down: replaced", AgentEvent::LinkDown(old, peer_closed(CloseCause::Replaced)));
    add("stop", AgentEvent::Stop);
    events
}

/// Times at which the machine is woken: now, at its deadline, ten minutes late, after naps.
fn wakes(agent: &Agent) -> Vec<(&'static str, Now)> {
    let now = agent.now();
    let due = match agent.deadline {
        onsembl_protocol::time::Deadline::At(at) => at.since_origin(),
        onsembl_protocol::time::Deadline::Never => agent.at,
    };
    vec![
        ("wake early", now),
        ("wake when due", awake_and_asleep(due.max(agent.at), agent.asleep)),
        ("wake 10m late", awake_and_asleep(due.max(agent.at) + secs(600), agent.asleep)),
        ("wake after 5s of sleep", awake_and_asleep(agent.at, secs(5))),
        ("wake after 10m of sleep", awake_and_asleep(agent.at, secs(600))),
    ]
}

#[test]
fn the_table_of_the_agent() {
    let mut table = String::new();
    let mut statuses = BTreeSet::new();
    for (state, agent) in states() {
        statuses.insert(agent.status());
        let link = agent.link();
        let mut rows: Vec<(String, AgentEvent, Now)> =
            events(link).into_iter().map(|(name, event)| (name, event, agent.now())).collect();
        for (name, now) in wakes(&agent) {
            rows.push((name.to_string(), AgentEvent::Wake, now));
        }
        for (name, event, now) in rows {
            let mut machine = agent.machine.clone();
            let step = machine.handle(event, now);
            let at = now.monotonic;
            let did: Vec<String> =
                step.actions.into_iter().map(|action| agent_action(action, at)).collect();
            let after = agent_status(machine.status(), at);
            table += &line(state, &name, &after, &did, &deadline(step.deadline, at));
        }
        table += "\n";
    }
    let all = [
        "idle",
        "connecting",
        "joining",
        "connected",
        "stale",
        "timed-out",
        "reconnecting",
        "closed",
    ];
    assert_eq!(statuses, all.into(), "a status has no representative");
    insta::assert_snapshot!(table);
}
