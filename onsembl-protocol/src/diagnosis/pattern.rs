//! What several drops of one agent have in common, which no single one shows.

use super::record::between;
use crate::model::{Cause, Confidence, Evidence, Finding};
use crate::time::WallTime;
use core::time::Duration;

/// One drop in a series of one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastDrop {
    /// When the session ended.
    pub at: WallTime,
    /// Its verdict.
    pub cause: Cause,
    /// How sure that is.
    pub confidence: Confidence,
    /// How long the link had lived.
    pub lived: Duration,
    /// For how long nothing had gone over it, in either direction.
    pub idle: Duration,
}

/// Drops that show a pattern.
const FEW: usize = 3;
/// Drops that prove it.
const MANY: usize = 5;
/// Instances that evict each other do so again within this time, or it is one replacing another permanently.
const EVICTED_AGAIN: Duration = Duration::from_secs(60);
/// Idle times below this are those of a link in use.
const IDLE: Duration = Duration::from_secs(2);

/// The pattern of the latest drops, which come in the order of time; `None` if they have none.
#[must_use]
pub fn pattern(drops: &[PastDrop]) -> Option<Finding> {
    evictions(drops).or_else(|| same_time(drops))
}

/// Two processes of one agent: each takes the session that the other has just taken.
fn evictions(drops: &[PastDrop]) -> Option<Finding> {
    let is_eviction = |drop: &&PastDrop| {
        matches!(drop.cause, Cause::SecondInstance | Cause::InstancesEvictEachOther)
    };
    let quick = |pair: &[PastDrop]| {
        let [earlier, later] = pair else { return false };
        between(earlier.at, later.at) <= EVICTED_AGAIN
    };
    let row = drops.iter().rev().take_while(is_eviction).count();
    let row = drops.get(drops.len() - row..)?;
    let apart = row.windows(2).rev().take_while(|pair| quick(pair)).count();
    let times = apart + 1;
    let latest = row.last()?;
    let first = row.get(row.len().checked_sub(times)?)?;
    (times >= FEW).then(|| {
        let evidence =
            Evidence::NONE.with("times", times as u64).with("within", between(first.at, latest.at));
        Finding::new(Cause::InstancesEvictEachOther, sure(times)).on(evidence)
    })
}

/// The latest links, as far back as they look alike, ended after the same idle time or at the same age.
fn same_time(drops: &[PastDrop]) -> Option<Finding> {
    let row = || drops.iter().rev().take_while(|drop| is_unexplained(drop));
    let alike = |time: fn(&PastDrop) -> Duration| {
        let latest = time(row().next()?);
        let like_it = || row().map(time).take_while(|time| is_near(*time, latest));
        let times = like_it().count();
        // A timer fires on time, and is noticed late.
        (times >= FEW).then(|| (times, like_it().min().unwrap_or(latest)))
    };
    let found = |cause, name: &str, (times, time): (usize, Duration)| {
        let evidence = Evidence::NONE.with(name, time).with("times", times as u64);
        Finding::new(cause, sure(times)).on(evidence)
    };
    let idle = alike(|drop| drop.idle).filter(|(_, time)| *time >= IDLE);
    if let Some((times, time)) = idle {
        let of = (times, rounded_down(time));
        return Some(found(Cause::MiddleboxIdleTimeout, "idle_timeout", of));
    }
    // Links that die young die of something else.
    let lived = alike(|drop| drop.lived).filter(|(_, time)| *time >= EVICTED_AGAIN)?;
    let (times, time) = lived;
    Some(found(Cause::MiddleboxLifetime, "lifetime", (times, rounded(time))))
}

/// Whether a pattern explains it better than its own verdict does.
fn is_unexplained(drop: &PastDrop) -> bool {
    matches!(
        drop.cause,
        Cause::NetworkCut
            | Cause::ConnectionCut
            | Cause::NetworkOneWayOrCut
            | Cause::MiddleboxIdleTimeout
            | Cause::MiddleboxLifetime
            | Cause::Unknown
    )
}

/// Timers of a middlebox are exact to a second, or to a twentieth of what they wait.
fn is_near(time: Duration, other: Duration) -> bool {
    time.abs_diff(other) <= Duration::from_secs(1).max(other / 20)
}

fn sure(times: usize) -> Confidence {
    if times >= MANY { Confidence::High } else { Confidence::Medium }
}

/// So much earlier an idle time-out seems to be, by the end that counts from when it heard and not from when that
/// was sent.
const EARLY: Duration = Duration::from_millis(100);

/// To whole seconds, rounded down: a heartbeat that is set below it is below the time-out.
fn rounded_down(time: Duration) -> Duration {
    Duration::from_secs(time.saturating_add(EARLY).as_secs())
}

/// To whole seconds.
fn rounded(time: Duration) -> Duration {
    Duration::from_secs(time.saturating_add(Duration::from_millis(500)).as_secs())
}
