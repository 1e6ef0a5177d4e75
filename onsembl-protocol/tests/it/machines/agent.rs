//! The table of the agent's machine.

use super::samples::{agent_events, class, ends, reasons};
use super::table::{agent_action, agent_status, deadline, line};
use crate::lifecycle::solo::{Agent, TERMS, peer_closed, server_beat};
use crate::support::{awake_and_asleep, secs};
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason};
use onsembl_protocol::id::LinkId;
use onsembl_protocol::session::{
    AgentEvent, AgentInbound, AgentStatusKind, DialFailure, Dialect, SessionTerms,
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
pub(super) fn states() -> Vec<(&'static str, Agent)> {
    let legacy = SessionTerms { dialect: Dialect::Legacy, end_orders: false, ..TERMS };
    let older = SessionTerms { end_orders: false, ..TERMS };
    let mut joining = started();
    joining.feed(AgentEvent::LinkUp(LinkId(1)));
    let mut unrecorded = after(40, TERMS);
    unrecorded.hear(server_beat(1, 2, 1, true));
    let mut lost = after(5, TERMS);
    lost.lose(CloseReason::broken(Breakage::Reset));
    let mut asked = started();
    asked
        .feed(AgentEvent::DialFailed(LinkId(1), DialFailure::Busy { retry_after: Some(secs(60)) }));
    let mut refused = started();
    refused.feed(AgentEvent::DialFailed(LinkId(1), DialFailure::Unauthorized));
    let mut closed = after(5, TERMS);
    closed.feed(AgentEvent::Stop);
    vec![
        ("idle", Agent::new(11)),
        ("connecting", started()),
        ("joining", joining),
        ("connected, unstable", after(5, TERMS)),
        ("connected", after(20, TERMS)),
        ("connected, legacy", after(20, legacy)),
        ("connected, no end-orders", after(20, older)),
        ("connected, impaired", unrecorded),
        ("stale", after(60, TERMS)),
        ("timed-out", after(90, TERMS)),
        ("reconnecting", lost),
        ("reconnecting, asked to", asked),
        ("reconnecting, token refused", refused),
        ("closed", closed),
    ]
}

/// Every event but a wake-up, about the link that was dialled last, and what an older one can do.
fn events(link: LinkId) -> Vec<(String, AgentEvent)> {
    let mut events = agent_events(link);
    events.retain(|(_, event)| *event != AgentEvent::Wake);
    let old = LinkId(link.0.saturating_sub(1));
    let mut add = |name: &str, event| events.push((name.to_string(), event));
    add("old link up", AgentEvent::LinkUp(old));
    add("old dial failed", AgentEvent::DialFailed(old, DialFailure::Forbidden));
    add("old link received welcome", AgentEvent::Received(old, AgentInbound::HelloAccepted(TERMS)));
    add("old link down: replaced", AgentEvent::LinkDown(old, peer_closed(CloseCause::Replaced)));
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
            let output: Vec<String> =
                step.actions.into_iter().map(|action| agent_action(action, at)).collect();
            let after = agent_status(machine.status(), at);
            table += &line(state, &name, &after, &output, &deadline(step.deadline, at));
        }
        table += "\n";
    }
    let all = AgentStatusKind::ALL.iter().map(|status| status.as_str()).collect();
    assert_eq!(statuses, all, "a status has no representative");
    insta::assert_snapshot!(table);
}

#[test]
fn the_agent_treats_all_ends_of_a_class_alike() {
    for (state, agent) in states() {
        let outcome = |reason: CloseReason| {
            let mut machine = agent.machine.clone();
            let step = machine.handle(AgentEvent::LinkDown(agent.link(), reason), agent.now());
            format!("{:?} {step:?}", machine.status()).replace(&format!("{reason:?}"), "the end")
        };
        let ends = ends();
        for reason in reasons() {
            let (_, like) = ends.iter().find(|(name, _)| name == class(reason)).unwrap();
            assert_eq!(outcome(reason), outcome(*like), "{state}: {reason:?} and {like:?}");
        }
    }
}
