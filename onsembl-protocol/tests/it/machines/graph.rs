//! The published edges are the edges there are, and the documents show them.
//!
//! `ONSEMBL_BLESS=1 cargo test -p onsembl-protocol --test it machines::graph` writes the documents.

use super::explore::{self, explore};
use super::render::{self, Graph};
use super::{accepted, agent, dashboard, server};
use crate::support::is_packaged;
use onsembl_protocol::id::{Epoch, PresenceVersion};
use onsembl_protocol::session::{
    ACCEPTED_EDGES, AGENT_EDGES, AcceptedCause, AcceptedStatus, AgentCauseKind, AgentConfig,
    AgentConnection, AgentStatusKind, DASHBOARD_EDGES, DashboardCause, DashboardStatus,
    PRESENCE_EDGES, Presence, PresenceCauseKind, PresenceStatus, ServerAction, ServerConfig,
    ServerConnection,
};
use onsembl_protocol::terminal::{KEYBOARD_EDGES, KeyboardCause, KeyboardStatus};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs::{read_to_string, write};
use std::path::Path;

/// Both ways: what can happen is published, and what is published can happen, once each.
fn same<E: Copy + Ord + Display>(published: &[E], met: &BTreeSet<E>, list: &str) {
    let known: BTreeSet<E> = published.iter().copied().collect();
    let words = |edges: BTreeSet<E>| edges.iter().map(E::to_string).collect::<Vec<_>>();
    let missing = words(met - &known);
    let superfluous = words(&known - met);
    assert!(missing.is_empty(), "edges that {list} does not have: {missing:#?}");
    assert!(superfluous.is_empty(), "edges of {list} that nothing brings: {superfluous:#?}");
    assert_eq!(known.len(), published.len(), "{list} has an edge twice");
}

#[test]
fn the_published_edges_of_the_agent_are_those_there_are() {
    let fresh = AgentConnection::new(AgentConfig::DEFAULT, 3);
    let mut starts = vec![explore::Agent::new(fresh, Default::default(), Default::default())];
    for (_, agent) in agent::states() {
        starts.push(explore::Agent::new(agent.machine.clone(), agent.link(), agent.at));
    }
    same(AGENT_EDGES, &explore(starts), "AGENT_EDGES");
    let used: BTreeSet<_> = AGENT_EDGES.iter().map(|edge| edge.cause).collect();
    assert_eq!(used, AgentCauseKind::ALL.iter().copied().collect(), "a cause brings nothing");
}

#[test]
fn the_published_edges_of_a_presence_are_those_there_are() {
    let now = crate::support::now(Default::default());
    let (version, epoch) = (PresenceVersion(4), Epoch(4));
    let fresh = ServerConnection::new(ServerConfig::DEFAULT, version, epoch, now);
    let before: Presence = fresh.presence();
    let (recovered, step) = ServerConnection::recovered(ServerConfig::DEFAULT, version, epoch, now);
    let restart = step.actions.into_iter().find_map(|action| match action {
        ServerAction::Report(presence) => Some(presence.edge_from(&before)),
        _ => None,
    });
    let mut starts: Vec<explore::Server> =
        [fresh, recovered].map(|m| explore::Server::new(m, Default::default())).into();
    for (_, server) in server::states() {
        starts.push(explore::Server::new(server.machine.clone(), server.at));
    }
    let mut met = explore(starts);
    met.extend(restart);
    same(PRESENCE_EDGES, &met, "PRESENCE_EDGES");
    let used: BTreeSet<_> = PRESENCE_EDGES.iter().map(|edge| edge.cause).collect();
    assert_eq!(used, PresenceCauseKind::ALL.iter().copied().collect(), "a cause brings nothing");
}

#[test]
fn the_published_edges_of_an_accepted_link_are_those_there_are() {
    let starts = accepted::states().into_iter().map(|(_, link)| accepted::Accepted::new(link));
    same(ACCEPTED_EDGES, &explore(starts), "ACCEPTED_EDGES");
    let used: BTreeSet<_> = ACCEPTED_EDGES.iter().map(|edge| edge.cause).collect();
    assert_eq!(used, AcceptedCause::ALL.iter().copied().collect(), "a cause brings nothing");
    let shown: BTreeSet<_> = accepted::states().iter().map(|(_, link)| link.status()).collect();
    assert_eq!(shown, AcceptedStatus::ALL.iter().copied().collect(), "a status without a state");
}

#[test]
fn the_published_edges_of_a_dashboards_link_are_those_there_are() {
    let starts = dashboard::states().into_iter().map(|(_, link)| dashboard::Dashboard::new(link));
    same(DASHBOARD_EDGES, &explore(starts), "DASHBOARD_EDGES");
    let used: BTreeSet<_> = DASHBOARD_EDGES.iter().map(|edge| edge.cause).collect();
    assert_eq!(used, DashboardCause::ALL.iter().copied().collect(), "a cause brings nothing");
    let shown: BTreeSet<_> = dashboard::states().iter().map(|(_, link)| link.status()).collect();
    assert_eq!(shown, DashboardStatus::ALL.iter().copied().collect(), "a status without a state");
}

fn dashboard_graph() -> Graph {
    Graph {
        begins: DashboardStatus::Greeting.as_str(),
        ends: DashboardStatus::Closing.as_str(),
        statuses: DashboardStatus::ALL.iter().map(|s| s.as_str()).collect(),
        causes: DashboardCause::ALL.iter().map(|c| (c.as_str(), c.text())).collect(),
        edges: DASHBOARD_EDGES
            .iter()
            .map(|e| [e.from.as_str(), e.cause.as_str(), e.to.as_str()])
            .collect(),
    }
}

fn accepted_graph() -> Graph {
    Graph {
        begins: AcceptedStatus::Greeting.as_str(),
        ends: AcceptedStatus::Closing.as_str(),
        statuses: AcceptedStatus::ALL.iter().map(|s| s.as_str()).collect(),
        causes: AcceptedCause::ALL.iter().map(|c| (c.as_str(), c.text())).collect(),
        edges: ACCEPTED_EDGES
            .iter()
            .map(|e| [e.from.as_str(), e.cause.as_str(), e.to.as_str()])
            .collect(),
    }
}

fn keyboard_graph() -> Graph {
    Graph {
        begins: KeyboardStatus::Free.as_str(),
        ends: KeyboardStatus::Free.as_str(),
        statuses: KeyboardStatus::ALL.iter().map(|s| s.as_str()).collect(),
        causes: KeyboardCause::ALL.iter().map(|c| (c.as_str(), c.text())).collect(),
        edges: KEYBOARD_EDGES
            .iter()
            .map(|e| [e.from.as_str(), e.cause.as_str(), e.to.as_str()])
            .collect(),
    }
}

const KEYBOARD: &str = "\
`Keyboard`, one for each open terminal, at its server; P-400 to P-404. The edges are `onsembl_protocol::terminal::KEYBOARD_EDGES`,
and a test beside the machine, which is not public, compares them with what it does. Each end of a hold goes to the
audit with its cause, its time and how many bytes were typed. `idle` is the way out by time: it needs nobody to say anything. A server
that was killed could not say when its holds ended: the next one writes that they did, at the latest when it began (P-408).";

fn agent_graph() -> Graph {
    Graph {
        begins: AgentStatusKind::Idle.as_str(),
        ends: AgentStatusKind::Closed.as_str(),
        statuses: AgentStatusKind::ALL.iter().map(|s| s.as_str()).collect(),
        causes: AgentCauseKind::ALL.iter().map(|c| (c.as_str(), c.text())).collect(),
        edges: AGENT_EDGES
            .iter()
            .map(|e| [e.from.as_str(), e.cause.as_str(), e.to.as_str()])
            .collect(),
    }
}

fn presence_graph() -> Graph {
    Graph {
        begins: PresenceStatus::Offline.as_str(),
        ends: PresenceStatus::Offline.as_str(),
        statuses: PresenceStatus::ALL.iter().map(|s| s.as_str()).collect(),
        causes: PresenceCauseKind::ALL.iter().map(|c| (c.as_str(), c.text())).collect(),
        edges: PRESENCE_EDGES
            .iter()
            .map(|e| [e.from.as_str(), e.cause.as_str(), e.to.as_str()])
            .collect(),
    }
}

/// Compares a file of the repository with what it should be, or writes it.
fn shown(path: &str, should: impl Fn(&str) -> String) {
    if path.starts_with("../") && is_packaged() {
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let is = read_to_string(&path).unwrap_or_default();
    let should = should(&is);
    if std::env::var_os("ONSEMBL_BLESS").is_some() {
        write(&path, should).expect("the document can be written");
    } else {
        assert!(
            is == should,
            "{} does not show the published edges; rewrite it with\n    \
             ONSEMBL_BLESS=1 cargo test -p onsembl-protocol --test it machines::graph",
            path.display(),
        );
    }
}

#[test]
fn the_documents_show_the_published_edges() {
    let (agent, presence, accepted) = (agent_graph(), presence_graph(), accepted_graph());
    let dashboard = dashboard_graph();
    let states = render::document(
        (&agent, &presence),
        (&accepted, &accepted::table()),
        (&dashboard, &dashboard::table()),
    );
    // Of a machine that is not public; a test beside it compares the table with what it does.
    let activity = include_str!("../../../src/activity/transitions.md");
    let keyboard = render::section("The keyboard of a terminal", KEYBOARD, &keyboard_graph());
    shown("../docs/STATES.md", |_| format!("{states}\n{keyboard}\n{activity}"));
    shown("src/session/edges/agent.md", |_| render::text(&agent));
    shown("src/session/edges/presence.md", |_| render::text(&presence));
    shown("../README.md", |readme| render::between_marks(readme, &render::diagram(&agent)));
}
