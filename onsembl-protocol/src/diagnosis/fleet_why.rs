//! All that is told of the agents of one user at a glance: what many have in common first, then those that are away
//! or unwell, then how many are well. Whose agents go in decides who may be told what comes out.

use super::explanation::{rfc3339, status_name};
use super::incident::{Fall, Incident, OwnFault, incidents};
use super::record::between;
use super::why::Why;
use crate::id::AgentId;
use crate::model::{Cause, Finding};
use crate::session::PresenceStatus;
use crate::time::WallTime;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;
use serde::Serialize;

/// One agent of those that are told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub agent: AgentId,
    /// Its name, as it said last.
    pub name: String,
    /// What is told of it alone.
    pub why: Why,
}

/// An agent that is away, or in session and not well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Unwell {
    /// Its id.
    #[serde(rename = "agent_id")]
    pub agent: AgentId,
    /// Its name, as it said last.
    pub name: String,
    /// The status of its machine.
    #[serde(serialize_with = "status_name")]
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
#[non_exhaustive]
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

    /// Begins to tell of a fleet from this time on. This many agents have been in session without a drop or a fault
    /// since, and are not added.
    #[must_use]
    pub const fn since(from: WallTime, others: usize) -> FleetTally {
        FleetTally {
            from,
            added: 0,
            falls: Vec::new(),
            unwell: Vec::new(),
            not_listed: 0,
            well: others,
            were_there: others,
        }
    }
}

/// What the agents of a fleet that were looked at add up to. It holds a few words of each drop, and no more agents
/// than twice those that are told of.
#[derive(Clone, Debug)]
pub struct FleetTally {
    from: WallTime,
    added: usize,
    falls: Vec<Fall>,
    unwell: Vec<Unwell>,
    not_listed: usize,
    well: usize,
    /// In session, or fallen since `from`.
    were_there: usize,
}

impl FleetTally {
    /// Adds an agent.
    pub fn add(&mut self, member: &Member) {
        let agent = self.added;
        self.added += 1;
        let before = self.falls.len();
        let fallen = member.why.drops.iter().filter(|drop| drop.at >= self.from);
        self.falls.extend(fallen.map(|drop| Fall {
            agent,
            at: drop.at,
            cause: drop.finding.cause,
        }));
        let drops = self.falls.len() - before;
        if drops > 0 || member.why.presence.state.is_in_session() {
            self.were_there += 1;
        }
        match member.why.now.clone() {
            Some(finding) => self.unwell.push(member.unwell(finding, drops)),
            None => self.well += 1,
        }
        if self.unwell.len() >= 2 * FleetWhy::MOST_AGENTS {
            self.shorten();
        }
    }

    /// What is told of all of them. `own` is what this server suffered itself; `window` the interval of heartbeats.
    #[must_use]
    pub fn told(mut self, own: &[OwnFault], window: Duration) -> FleetWhy {
        self.shorten();
        self.falls.sort_by_key(|fall| fall.at);
        let own: Vec<OwnFault> =
            own.iter().copied().filter(|fault| fault.until >= self.from).collect();
        let mut found = incidents(&self.falls, &own, self.were_there, window);
        found.retain(|incident| matters(incident, window));
        found.drain(..found.len().saturating_sub(FleetWhy::MOST_INCIDENTS));
        let Self { unwell, not_listed, well, .. } = self;
        FleetWhy { incidents: found, agents: unwell, not_listed, well }
    }

    /// Keeps those that are told of.
    fn shorten(&mut self) {
        self.unwell.sort_by_key(|one| (urgency(one.state), Reverse(one.since)));
        self.not_listed += self.unwell.len().saturating_sub(FleetWhy::MOST_AGENTS);
        self.unwell.truncate(FleetWhy::MOST_AGENTS);
    }
}

impl Member {
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
