//! What kept an agent away, rather than ending its session: by what it told of its dials, and by what the server knows of
//! itself. Each is a phase of the absence; the longest one is what kept it away.

use super::found::{ToldEnd, as_known_now};
use super::record::{DropRecord, Return, SinceThen, between};
use crate::liveness::BackoffPolicy;
use crate::model::{Cause, Confidence, Evidence, Finding, PastFinding};
use alloc::vec::Vec;
use core::time::Duration;

/// Failures that follow one another take longer: between two dials an agent waits.
const A_MOMENT: Duration = Duration::from_millis(200);

/// A phase of an absence, in times behind the end of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Phase {
    pub(super) finding: Finding,
    pub(super) from: Duration,
    /// How long it kept the agent away.
    pub(super) kept: Duration,
}

/// What kept an agent away for longest, behind the time for which the end of its session is reason enough. What failed
/// last before `counts_from` follows from that end.
pub(super) fn longest(
    drop: &DropRecord,
    back: Option<&Return>,
    explained: Duration,
    counts_from: Duration,
) -> Option<Phase> {
    let SinceThen { stalled, turned_away, .. } = drop.since;
    let away = away(drop, back);
    let told = told_obstacles(back).filter_map(|told| {
        let (from, kept) = span(told, back?.told.as_slice(), away);
        let from_when = match follows_from_server_away(as_known_now(told)) {
            true => counts_from,
            false => explained,
        };
        if last_failure(told, away) < from_when {
            return None;
        }
        let begun = from.max(explained);
        let kept = from.saturating_add(kept).saturating_sub(begun);
        let finding = Finding { cause: as_known_now(told), ..told.finding.clone() };
        let evidence = Evidence::NONE.with("dials", told.times).and(&finding.evidence);
        Some(Phase { finding: finding.on(evidence), from: begun, kept })
    });
    let by_server = turned_away.map(|turned| {
        let from = between(drop.at, turned.first).max(explained);
        // Until it is back, or while it waits for the next time.
        let until = between(drop.at, turned.last).saturating_add(longest_wait()).min(away);
        let evidence =
            Evidence::NONE.with("turned_away", turned.times).with("last_turned_away", turned.last);
        let finding = Finding::new(turned.cause, Confidence::High).on(evidence);
        Phase { finding, from, kept: until.saturating_sub(from) }
    });
    // Dials are not answered while the server does not run, and agents wait a while behind that.
    let follows = |phase: &Phase| {
        phase.finding.cause == Cause::DialUnanswered && stalled.saturating_mul(2) >= phase.kept
    };
    let (of_stall, others): (Vec<Phase>, Vec<Phase>) = told.partition(follows);
    let stall = (stalled > Duration::ZERO).then(|| {
        let evidence = Evidence::NONE.with("stalled", stalled);
        // Unless the agent dialled then and was not answered, it may have been away for another reason too.
        let sure = if of_stall.is_empty() { Confidence::Medium } else { Confidence::High };
        let finding = Finding::new(Cause::ServerStalled, sure).on(evidence);
        let kept = of_stall.iter().map(|phase| phase.kept).max().unwrap_or_default().max(stalled);
        Phase { finding, from: explained, kept }
    });
    // Of the same length, what the server knows of itself goes before what follows from it.
    others.into_iter().chain(by_server).chain(stall).max_by_key(|phase| phase.kept)
}

/// How long the agent was away, or is by now.
pub(super) fn away(drop: &DropRecord, back: Option<&Return>) -> Duration {
    back.map_or(drop.since.away, |back| between(drop.at, back.at))
}

/// What an agent told that kept it away.
pub(super) fn told_obstacles(back: Option<&Return>) -> impl Iterator<Item = &PastFinding> {
    let told = back.into_iter().flat_map(|back| &back.told);
    told.filter(|told| is_obstacle(told))
}

/// Whether something told of kept it away. A close frame that came is the end of a link, and no more than that unless dials
/// failed for the same cause behind it.
fn is_obstacle(told: &PastFinding) -> bool {
    let is_end = match ToldEnd::of(told) {
        ToldEnd::Closed | ToldEnd::Own => lasted(told) <= A_MOMENT,
        ToldEnd::Untold => false,
    };
    keeps_away(as_known_now(told)) && !is_end
}

/// When an obstacle began behind the end of the session, and for how long it kept the agent away: until another one did,
/// or until it was back, since between two dials it waits. Longer than it waits at most, nothing is known.
fn span(told: &PastFinding, all: &[PastFinding], away: Duration) -> (Duration, Duration) {
    let later = all.iter().filter(|other| is_obstacle(other));
    let next = later.map(|other| other.ago).filter(|ago| *ago < told.ago).max();
    let ago = told.ago.min(away);
    let until_next = ago.saturating_sub(next.unwrap_or_default());
    let kept = until_next.min(lasted(told).saturating_add(longest_wait()));
    (away.saturating_sub(ago), kept)
}

fn longest_wait() -> Duration {
    BackoffPolicy::DEFAULT.longest_wait()
}

/// When it failed last, behind the end of the session.
pub(super) fn last_failure(told: &PastFinding, away: Duration) -> Duration {
    away.saturating_sub(told.ago.saturating_sub(lasted(told)))
}

/// How long it lasted, up to the return: what an agent tells may be nonsense.
pub(super) fn lasted(told: &PastFinding) -> Duration {
    told.lasted.min(told.ago)
}

/// Whether dials fail like this also because the server does not run, or has just begun to.
const fn follows_from_server_away(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::ConnectionRefused
            | Cause::DialUnanswered
            | Cause::MiddleboxAnswer
            | Cause::ServerBusy
    )
}

/// Whether it keeps an agent from coming back, rather than ending its session.
pub(super) const fn keeps_away(cause: Cause) -> bool {
    match cause {
        Cause::NameResolution
        | Cause::NoRoute
        | Cause::ConnectionRefused
        | Cause::DialUnanswered
        | Cause::Tls
        | Cause::Proxy
        | Cause::Redirect
        | Cause::MiddleboxAnswer
        | Cause::ServerBusy
        | Cause::TokenMissing
        | Cause::TokenExpired
        | Cause::TokenRevoked
        | Cause::TokenWrongKind
        | Cause::TokenRefused
        | Cause::HostOutOfDescriptors
        | Cause::HostOutOfDisk => true,
        Cause::HeartbeatNeverStarted
        | Cause::HeartbeatNotWritten
        | Cause::HeartbeatNotReceived
        | Cause::HeartbeatNotHandled
        | Cause::HeartbeatNotRecorded
        | Cause::HeartbeatNotAnswered
        | Cause::AgentSlept
        | Cause::AgentStalled
        | Cause::AgentCrashed
        | Cause::AgentKilled
        | Cause::AgentRestarted
        | Cause::AgentStopped
        | Cause::AgentEndedByOrder
        | Cause::AgentUpgraded
        | Cause::AgentDeleted
        | Cause::HostRebooted
        | Cause::HostOutOfMemory
        | Cause::ClockJump
        | Cause::NetworkChanged
        | Cause::NetworkCut
        | Cause::NetworkOneWay
        | Cause::NetworkOneWayOrCut
        | Cause::ConnectionCut
        | Cause::MiddleboxIdleTimeout
        | Cause::MiddleboxLifetime
        | Cause::ServerRestarted
        | Cause::ServerStalled
        | Cause::ServerDrained
        | Cause::ServerMoved
        | Cause::SecondInstance
        | Cause::InstancesEvictEachOther
        | Cause::SlowConsumer
        | Cause::ProtocolError
        | Cause::Unknown => false,
    }
}
