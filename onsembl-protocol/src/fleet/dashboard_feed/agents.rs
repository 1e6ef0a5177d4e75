//! The updates about agents: lists of those that a dashboard watches, and the status of each, in parts that fit into
//! one message.

use super::super::agent_view::AgentView;
use super::super::collections::Map;
use super::super::encode;
use super::super::view::View;
use super::sent::Shown;
use crate::command::watches_agent;
use crate::id::{AgentId, PresenceVersion, ServerInstanceId};
use crate::model::{Capabilities, DASHBOARD_FEATURES};
use crate::session::PresenceStatus;
use crate::time::WallTime;
use crate::wire::ServerToDashboard;
use crate::wire::payload::{
    AgentStatus, AgentSummary, DashboardConnected, DashboardExtensions, Subscriptions,
};
use alloc::vec::Vec;
use core::ops::Bound;

/// Bytes of agents in one message; a dashboard takes messages of 1 MiB.
const PAGE_BYTES: usize = 256 * 1024;
/// Status messages that are made at a time.
pub(super) const AGENTS_AT_ONCE: usize = 64;

/// What a dashboard was sent about agents.
#[derive(Clone, Debug)]
pub(super) struct Agents {
    server: ServerInstanceId,
    capabilities: Capabilities,
    told: Map<AgentId, Shown>,
}

/// How far a pass over the agents of a view is, and when it began.
#[derive(Clone, Debug)]
pub(super) struct After {
    /// The last agent that was passed; none at the beginning.
    pub(super) agent: Option<AgentId>,
    pub(super) now: WallTime,
}

/// Which agents' status is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Say {
    All,
    Changed,
}

impl Agents {
    pub(super) const fn new(server: ServerInstanceId, capabilities: Capabilities) -> Self {
        Self { server, capabilities, told: Map::new() }
    }

    /// The status of each is to be sent again.
    pub(super) fn refresh(&mut self) {
        self.told.values_mut().for_each(|shown| shown.version = PresenceVersion(0));
    }

    /// Forgets agents that were removed.
    pub(super) fn keep(&mut self, view: &View) {
        self.told.retain(|id, _| view.agents().contains_key(id));
    }

    /// Lists as many of the agents behind that one as fit into a message, and returns where to continue.
    pub(super) fn list(
        &mut self,
        view: &View,
        watched: &Subscriptions,
        after: After,
    ) -> (Option<ServerToDashboard>, Option<After>) {
        let After { agent: begin, now } = after;
        let (mut page, mut bytes, mut last) = (Vec::new(), 0, None);
        let mut all_fit = true;
        for (id, agent) in behind(view, begin.as_ref()) {
            if !watches_agent(watched, id) {
                continue;
            }
            let summary = encode::summary(id, agent, self.capabilities.is_extended());
            let cost = cost_of(&summary);
            if !page.is_empty() && bytes + cost > PAGE_BYTES {
                all_fit = false;
                break;
            }
            bytes += cost;
            page.push(summary);
            last = Some(id.clone());
            let _ = self.told.insert(id.clone(), Shown::of(agent, self.capabilities));
        }
        let rest = (!all_fit).then_some(After { agent: last, now });
        // An empty list is sent too.
        let message = (begin.is_none() || !page.is_empty()).then(|| self.connected(page, now));
        (message, rest)
    }

    /// The status of some of the agents behind that one, and where to continue.
    pub(super) fn statuses(
        &mut self,
        view: &View,
        watched: &Subscriptions,
        after: After,
        say: Say,
    ) -> (Vec<ServerToDashboard>, Option<After>) {
        let After { agent: begin, now } = after;
        let (mut new, mut bytes, mut told) = (Vec::new(), 0, Vec::new());
        let (mut last, mut rest) = (None, None);
        for (id, agent) in behind(view, begin.as_ref()) {
            if told.len() >= AGENTS_AT_ONCE || bytes > PAGE_BYTES {
                rest = Some(After { agent: last, now });
                break;
            }
            last = Some(id.clone());
            if !watches_agent(watched, id) {
                continue;
            }
            let shown = Shown::of(agent, self.capabilities);
            let (version, status) = (shown.version, shown.status);
            let same = shown.clone();
            let sent = self.told.insert(id.clone(), shown);
            match sent {
                Some(sent)
                    if say == Say::Changed
                        && sent.version >= version
                        && sent.is_same_beside_presence(&same) =>
                {
                    if let Some(shown) = self.told.get_mut(id) {
                        shown.version = sent.version;
                    }
                    continue;
                }
                Some(sent)
                    if status == PresenceStatus::Offline
                        && sent.status != PresenceStatus::Offline =>
                {
                    let disconnected = encode::disconnected(id, agent, now);
                    told.push(ServerToDashboard::AgentDisconnect(disconnected));
                }
                Some(sent)
                    if sent.status == PresenceStatus::Offline
                        && status != PresenceStatus::Offline =>
                {
                    let connected = encode::connected(id, agent, now);
                    told.push(ServerToDashboard::AgentConnected(connected));
                }
                Some(_) => {}
                None => {
                    let summary = encode::summary(id, agent, self.capabilities.is_extended());
                    bytes += cost_of(&summary);
                    new.push(summary);
                    let connected = encode::connected(id, agent, now);
                    told.push(ServerToDashboard::AgentConnected(connected));
                }
            }
            told.push(self.status(id, agent, view));
        }
        if !new.is_empty() {
            told.insert(0, self.connected(new, now));
        }
        (told, rest)
    }

    fn status(&self, id: &AgentId, agent: &AgentView, view: &View) -> ServerToDashboard {
        let is_extended = self.capabilities.is_extended();
        let status = encode::status(id, agent, view.is_busy(id), is_extended);
        let stopped = agent.stopped.as_deref().filter(|_| self.capabilities.latches_stops());
        let stopped = stopped.map(encode::stopped);
        let explains = self.capabilities.explains_presence();
        let explanation = explains.then(|| encode::explanation(agent, view.rules()));
        let tells = self.capabilities.tells_activity();
        let activity = tells.then(|| encode::activity(agent)).flatten();
        ServerToDashboard::AgentStatus(AgentStatus { stopped, explanation, activity, ..status })
    }

    /// A message that lists agents: a dashboard adds what is in each, and removes nothing.
    fn connected(&self, agents: Vec<AgentSummary>, now: WallTime) -> ServerToDashboard {
        let extensions = self.capabilities.is_extended().then(|| DashboardExtensions {
            features: DASHBOARD_FEATURES.to_vec(),
            server_instance: Some(self.server.clone()),
        });
        let timestamp = Some(now);
        ServerToDashboard::Connected(DashboardConnected { agents, timestamp, extensions })
    }
}

/// The agents behind that one.
fn behind<'a>(
    view: &'a View,
    agent: Option<&AgentId>,
) -> impl Iterator<Item = (&'a AgentId, &'a AgentView)> {
    let after = agent.map_or(Bound::Unbounded, Bound::Excluded);
    let behind = view.agents().range::<AgentId, _>((after, Bound::Unbounded));
    behind.map(|(id, agent)| (id, &**agent))
}

/// Bytes of an agent in a list.
fn cost_of(agent: &AgentSummary) -> usize {
    serde_json::to_string(agent).map_or(0, |text| text.len())
}
