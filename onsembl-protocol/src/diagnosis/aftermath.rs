//! How a fleet comes back after an incident: who was there before, who is back, and when. A function over the logs of
//! presences.

use super::record::between;
use super::why::Transition;
use crate::id::AgentId;
use crate::time::WallTime;
use alloc::vec::Vec;
use core::time::Duration;

/// How the agents came back that were in session before an incident, and left with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Aftermath {
    /// How many left.
    pub left: usize,
    /// How many of those are back.
    pub back: usize,
    /// Who is not, at most [`MISSING`](Self::MISSING).
    pub missing: Vec<AgentId>,
    /// How long after the end of the incident how many were back, at most [`POINTS`](Self::POINTS) of it.
    pub curve: Vec<(Duration, usize)>,
}

impl Aftermath {
    /// Most agents that are named.
    pub const MISSING: usize = 20;
    /// Most points of a curve.
    pub const POINTS: usize = 50;

    /// Of an incident from then until then, by these logs, each in the order of time. An agent left with it if it was in
    /// session before `from` and is out of it by `until`, or soon after.
    #[must_use]
    pub fn of(
        logs: &[(AgentId, Vec<Transition>)],
        (from, until): (WallTime, WallTime),
        slack: Duration,
    ) -> Self {
        let mut it = Self::default();
        let mut returns = Vec::new();
        for (agent, log) in logs {
            let Some(left) = left(log, from.before(slack), until.after(slack)) else { continue };
            it.left += 1;
            let behind = log.get(left..).unwrap_or_default();
            match behind.iter().find(|t| t.presence.status.is_in_session()) {
                Some(back) => returns.push(between(until, back.at)),
                None if it.missing.len() < Self::MISSING => it.missing.push(agent.clone()),
                None => {}
            }
        }
        returns.sort_unstable();
        it.back = returns.len();
        it.curve = curve(&returns);
        it
    }
}

/// The first transition out of session in this time, of an agent that was in session before.
fn left(log: &[Transition], from: WallTime, until: WallTime) -> Option<usize> {
    let mut was_there = false;
    for (at, transition) in log.iter().enumerate() {
        let is_there = transition.presence.status.is_in_session();
        if was_there && !is_there && transition.at >= from && transition.at <= until {
            return Some(at);
        }
        if transition.at > until {
            return None;
        }
        was_there = is_there;
    }
    None
}

/// The counts at evenly chosen returns, with the last.
fn curve(returns: &[Duration]) -> Vec<(Duration, usize)> {
    let step = returns.len().div_ceil(Aftermath::POINTS).max(1);
    let counted = returns.iter().enumerate().map(|(at, after)| (*after, at + 1));
    counted.filter(|(_, count)| count.is_multiple_of(step) || *count == returns.len()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Epoch, PresenceVersion};
    use crate::session::{Presence, PresenceCause, PresenceStatus, StatusCause};
    use alloc::format;

    fn log(steps: &[(i64, PresenceStatus)]) -> Vec<Transition> {
        let transition = |(n, (at, status)): (usize, &(i64, PresenceStatus))| {
            let at = WallTime::from_unix_millis(*at);
            let because = StatusCause {
                cause: PresenceCause::SessionOpened,
                impairment: None,
                trouble: None,
            };
            let presence = Presence {
                status: *status,
                since: at,
                because,
                version: PresenceVersion(n as u64),
                epoch: Epoch(1),
            };
            Transition { at, presence, heard: None, instance: None, beats: None }
        };
        steps.iter().enumerate().map(transition).collect()
    }

    #[test]
    fn who_left_is_counted_back_when_it_is_and_named_if_it_is_not() {
        use PresenceStatus::{Offline, Online, Reconnecting};
        let agent = |n: usize| AgentId::new(format!("a-{n:03}"));
        let mut logs = Vec::new();
        for n in 0..120 {
            let back = 2000 + n as i64;
            logs.push((agent(n), log(&[(0, Online), (1000, Reconnecting), (back, Online)])));
        }
        logs.push((agent(200), log(&[(0, Online), (1000, Reconnecting), (9000, Offline)])));
        logs.push((agent(201), log(&[(0, Offline)])));
        logs.push((agent(202), log(&[(0, Online)])));
        logs.push((agent(203), log(&[(0, Online), (500_000, Offline)])));
        let span = (WallTime::from_unix_millis(1000), WallTime::from_unix_millis(2000));
        let found = Aftermath::of(&logs, span, Duration::from_millis(100));
        assert_eq!((found.left, found.back), (121, 120));
        assert_eq!(found.missing, [agent(200)]);
        assert!(found.curve.len() <= Aftermath::POINTS, "{}", found.curve.len());
        assert_eq!(found.curve.last(), Some(&(Duration::from_millis(119), 120)));
    }
}
