//! All that is told of the agents of one user at a glance: what many have in common first, then those that are away
//! or unwell, then how many are well. Whose agents go in decides who may be told what comes out.

use super::explanation::rfc3339;
use super::incident::{Fall, Incident, OwnFault, incidents};
use super::record::between;
use super::why::Why;
use crate::id::AgentId;
use crate::model::{Cause, Confidence, Finding};
use crate::session::PresenceStatus;
use crate::time::WallTime;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;
use serde::{Serialize, Serializer};

/// One agent of those that are told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub agent: AgentId,
    /// Its name, as it said last.
    pub name: String,
    /// What is told of it alone.
    pub why: Why,
    /// What is wrong with it though it is in session.
    pub fault: Option<Finding>,
}

/// An agent that is away, or in session and not well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unwell {
    /// Its id.
    #[serde(rename = "agent_id")]
    pub agent: AgentId,
    /// Its name, as it said last.
    pub name: String,
    /// The status of its machine.
    #[serde(serialize_with = "word")]
    pub state: PresenceStatus,
    /// Since when it has that status.
    #[serde(serialize_with = "rfc3339")]
    pub since: WallTime,
    /// Why, for people; the same text as in every other place.
    pub because: String,
    /// The verdict on it.
    #[serde(flatten)]
    pub finding: Finding,
    /// How often it fell in the time that is looked at.
    pub drops: usize,
}

/// Why a fleet is as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FleetWhy {
    /// What many agents have in common, and what the server itself suffered; the latest, the oldest first.
    pub incidents: Vec<Incident>,
    /// The agents that are away or unwell: what needs somebody comes first.
    pub agents: Vec<Unwell>,
    /// Agents that are away or unwell, and for which there was no room in `agents`.
    pub not_listed: usize,
    /// Agents that are in session and well.
    pub well: usize,
}

impl FleetWhy {
    /// Most incidents that are told of; older ones are left out.
    pub const MOST_INCIDENTS: usize = 64;
    /// Most agents that are told of one by one.
    pub const MOST_AGENTS: usize = 256;

    /// Tells of a fleet: of these agents, and of `others` that are in session and had neither a drop nor a fault
    /// since `from`. `own` is what this server suffered itself; `window` the interval of heartbeats.
    #[must_use]
    pub fn of(
        members: &[Member],
        others: usize,
        own: &[OwnFault],
        from: WallTime,
        window: Duration,
    ) -> Self {
        let mut falls: Vec<Fall> = Vec::new();
        let (mut unwell, mut well, mut were_there) = (Vec::new(), others, others);
        for (n, member) in members.iter().enumerate() {
            let fallen = member.why.drops.iter().filter(|drop| drop.at >= from);
            let before = falls.len();
            falls.extend(fallen.map(|drop| Fall {
                agent: n,
                at: drop.at,
                cause: drop.finding.cause,
            }));
            let drops = falls.len() - before;
            if drops > 0 || member.why.presence.state.is_in_session() {
                were_there += 1;
            }
            match member.trouble(drops) {
                Some(finding) => unwell.push(member.unwell(finding, drops)),
                None => well += 1,
            }
        }
        falls.sort_by_key(|fall| fall.at);
        let own: Vec<OwnFault> = own.iter().copied().filter(|fault| fault.until >= from).collect();
        let mut found = incidents(&falls, &own, were_there, window);
        found.retain(|incident| matters(incident, window));
        found.drain(..found.len().saturating_sub(Self::MOST_INCIDENTS));
        unwell.sort_by_key(|one| (urgency(one.state), Reverse(one.since)));
        let not_listed = unwell.len().saturating_sub(Self::MOST_AGENTS);
        unwell.truncate(Self::MOST_AGENTS);
        Self { incidents: found, agents: unwell, not_listed, well }
    }
}

impl Member {
    /// What is wrong with it, with so many drops in the time that is looked at; `None` if it is well.
    fn trouble(&self, drops: usize) -> Option<Finding> {
        let Why { presence, drops: verdicts, pattern, .. } = &self.why;
        // What its drops have in common is no news any more when none of them was of this time.
        let pattern = pattern.as_ref().filter(|_| drops > 0);
        let unknown = Finding::new(Cause::Unknown, Confidence::Low);
        match presence.state {
            PresenceStatus::Online => self.fault.as_ref().or(pattern).cloned(),
            // It is silent, and one end alone cannot tell more.
            PresenceStatus::Stale => {
                let silent = Finding::new(Cause::NetworkOneWayOrCut, Confidence::Low);
                Some(self.fault.clone().unwrap_or(silent))
            }
            PresenceStatus::Error => Some(self.fault.clone().unwrap_or(unknown)),
            PresenceStatus::Connecting
            | PresenceStatus::TimedOut
            | PresenceStatus::Reconnecting
            | PresenceStatus::Offline => {
                let open = verdicts.last().filter(|drop| drop.until.is_none());
                let verdict = open.map(|drop| &drop.finding);
                Some(pattern.or(verdict).cloned().unwrap_or(unknown))
            }
        }
    }

    fn unwell(&self, finding: Finding, drops: usize) -> Unwell {
        let presence = &self.why.presence;
        Unwell {
            agent: self.agent.clone(),
            name: self.name.clone(),
            state: presence.state,
            since: presence.since,
            because: presence.because.clone(),
            finding,
            drops,
        }
    }
}

/// Whether people need to know: not of a moment of the server that nobody felt. Half an interval is what the record
/// of a heartbeat may be late.
fn matters(incident: &Incident, window: Duration) -> bool {
    incident.agents > 0
        || incident.finding.cause == Cause::ServerRestarted
        || between(incident.from, incident.until) >= window / 2
}

/// What needs somebody comes first, and last what was most likely meant.
const fn urgency(state: PresenceStatus) -> u8 {
    match state {
        PresenceStatus::Error => 0,
        PresenceStatus::Stale => 1,
        PresenceStatus::TimedOut => 2,
        PresenceStatus::Reconnecting => 3,
        PresenceStatus::Connecting => 4,
        PresenceStatus::Online => 5,
        PresenceStatus::Offline => 6,
    }
}

fn word<S: Serializer>(status: &PresenceStatus, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(status.as_str())
}
