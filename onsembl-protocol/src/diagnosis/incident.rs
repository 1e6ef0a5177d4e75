//! Incidents: what many agents have in common that fell silent at once, and the server's doubt of itself.
//!
//! A function over records; whose agents go in decides who may be told what comes out.

use super::explanation::rfc3339;
use super::record::between;
use crate::model::{Cause, Confidence, Evidence, Finding};
use crate::time::WallTime;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// An agent fell silent or lost its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Fall {
    /// Which of the agents, by any number that is its own: one that falls again and again is one.
    pub agent: usize,
    pub at: WallTime,
    /// The verdict on it alone, so far.
    pub cause: Cause,
}

/// A time in which this server did not run, or was not itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnFault {
    /// From when.
    pub from: WallTime,
    /// Until when.
    pub until: WallTime,
    /// [`ServerStalled`](Cause::ServerStalled), [`ServerRestarted`](Cause::ServerRestarted), or
    /// [`HeartbeatNotRecorded`](Cause::HeartbeatNotRecorded) while the database failed.
    pub cause: Cause,
}

/// Many drops of one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Incident {
    /// When the first agent fell.
    #[serde(serialize_with = "rfc3339")]
    pub from: WallTime,
    /// When the last one did.
    #[serde(serialize_with = "rfc3339")]
    pub until: WallTime,
    /// How many did.
    pub agents: usize,
    /// What they have in common.
    #[serde(flatten)]
    pub finding: Finding,
}

/// Fewer agents than this are no incident, and a smaller part of those in session is none.
const FEWEST: usize = 3;
const PART: usize = 5;

/// The incidents among falls, which come in the order of time, of a fleet with this many agents in session before
/// the first. Falls within `window` of one another belong together: an interval of heartbeats, in which silence
/// that began at one moment is noticed. An own fault of the server is an incident even if nobody fell.
#[must_use]
pub fn incidents(
    falls: &[Fall],
    own: &[OwnFault],
    in_session: usize,
    window: Duration,
) -> Vec<Incident> {
    let mut found: Vec<Incident> = own.iter().map(|fault| of_own(fault, falls, window)).collect();
    let by_own = |fall: &&Fall| !own.iter().any(|fault| is_part_of(fault, fall, window));
    let mut group: Vec<Fall> = Vec::new();
    for fall in falls.iter().filter(by_own) {
        if group.first().is_some_and(|first| between(first.at, fall.at) > window) {
            found.extend(of_group(&group, in_session));
            group.clear();
        }
        group.push(*fall);
    }
    found.extend(of_group(&group, in_session));
    found.sort_by_key(|incident| incident.from);
    found
}

/// A server that is stopped closes its links, and stores that, before it is gone.
pub(super) const CLOSING: Duration = Duration::from_secs(3);

/// A link that was given up while the server did not run is found to be over when an agent dials again, at the latest.
const AFTERMATH: Duration = Duration::from_secs(60);

fn is_part_of(fault: &OwnFault, fall: &Fall, window: Duration) -> bool {
    let is_restart = fault.cause == Cause::ServerRestarted;
    let from = if is_restart { fault.from.before(CLOSING) } else { fault.from };
    let until = if fall.cause == fault.cause { window.max(AFTERMATH) } else { window };
    from <= fall.at && between(fault.until, fall.at) <= until
}

fn of_own(fault: &OwnFault, falls: &[Fall], window: Duration) -> Incident {
    let agents = agents(falls.iter().filter(|fall| is_part_of(fault, fall, window)));
    let evidence = Evidence::NONE
        .with("lasted", between(fault.from, fault.until))
        .with("agents", agents as u64);
    let finding = Finding::new(fault.cause, Confidence::High).on(evidence);
    Incident { from: fault.from, until: fault.until, agents, finding }
}

/// How many agents these falls are of.
fn agents<'a>(falls: impl Iterator<Item = &'a Fall>) -> usize {
    falls.map(|fall| fall.agent).collect::<BTreeSet<_>>().len()
}

fn of_group(group: &[Fall], in_session: usize) -> Option<Incident> {
    let (first, last) = (group.first()?, group.last()?);
    let fell = agents(group.iter());
    if fell < FEWEST || fell.saturating_mul(PART) < in_session {
        return None;
    }
    let of_cause =
        |cause| agents(group.iter().filter(|fall| fall.cause == cause && !is_of_one_agent(cause)));
    let (cause, alike) = group
        .iter()
        .map(|fall| (fall.cause, of_cause(fall.cause)))
        .max_by_key(|(cause, alike)| (*alike, core::cmp::Reverse(*cause)))?;
    let by_network = agents(group.iter().filter(|fall| is_of_network(fall.cause)));
    let is_silence = matches!(cause, Cause::Unknown | Cause::NetworkOneWayOrCut);
    let (cause, confidence, alike) = if alike * 2 > fell && !is_silence {
        (cause, Confidence::High, alike)
    } else if by_network * 2 > fell {
        // That many machines are silent at once, or lose it each in its own way, is the network that they share with
        // the server.
        (Cause::NetworkCut, Confidence::Medium, by_network)
    } else {
        // What has nothing in common is no incident.
        return None;
    };
    let evidence = Evidence::NONE
        .with("agents", fell as u64)
        .with("in_session", in_session as u64)
        .with("alike", alike as u64)
        .with("within", between(first.at, last.at));
    let finding = Finding::new(cause, confidence).on(evidence);
    Some(Incident { from: first.at, until: last.at, agents: fell, finding })
}

/// Whether it is how a loss of the network shows.
fn is_of_network(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::Unknown
            | Cause::NetworkCut
            | Cause::NetworkOneWay
            | Cause::NetworkOneWayOrCut
            | Cause::ConnectionCut
            | Cause::DialUnanswered
            | Cause::NameResolution
            | Cause::NoRoute
    )
}

/// Whether it can be no common cause: the agents have their own machines, tokens and users.
fn is_of_one_agent(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::AgentStopped
            | Cause::AgentEndedByOrder
            | Cause::AgentDeleted
            | Cause::AgentUpgraded
            | Cause::AgentRestarted
            | Cause::TokenRevoked
            | Cause::SecondInstance
            | Cause::InstancesEvictEachOther
    )
}
