//! One verdict on one drop, from the server's record of it and what the agent tells when it is back.
//!
//! In this order, because what comes first leaves nothing for the rest to explain:
//! 1. what the end that ended the session said itself;
//! 2. the agent's process died;
//! 3. a process did not run: the server's, then the agent's;
//! 4. the agent moved to another network, or something kept it away for most of the time;
//! 5. heartbeats stopped at a hop;
//! 6. the network, by what each end heard;
//! 7. what failed when it dialled, for some of the time.
//!
//! What is left is unknown. A cause of one end alone is never sure if another one would look the same from there.

use super::explanation::{rfc3339, rfc3339_if};
use super::found::found_by_server;
use super::ledger::Ways;
use super::record::{DropRecord, Process, Return, between};
use crate::close::{CloseCause, Initiator};
use crate::liveness::BackoffPolicy;
use crate::model::{Cause, Confidence, Evidence, Finding, PastFinding};
use crate::session::{Ground, PresenceCause};
use crate::time::WallTime;
use core::time::Duration;
use serde::Serialize;

/// Two ends that tell of one moment differ by no more than this: clocks of one host are read with each event, and a
/// connection that breaks is noticed at once or not at all.
const ONE_MOMENT: Duration = Duration::from_secs(2);

/// An absence this short needs no other reason than what ended the session: a process that was stopped was
/// restarted, and a link that broke was dialled again.
const SHORT: Duration = Duration::from_secs(60);

/// Why an agent was away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// When its session ended.
    #[serde(serialize_with = "rfc3339")]
    pub at: WallTime,
    /// When it was back; `None` while it is not.
    #[serde(serialize_with = "rfc3339_if")]
    pub until: Option<WallTime>,
    /// Why.
    #[serde(flatten)]
    pub finding: Finding,
}

/// Judges one drop. Without its return, by what the server knows alone.
#[must_use]
pub fn judge(drop: &DropRecord, back: Option<&Return>) -> Verdict {
    let case = Case { drop, ending: Ending::of(&drop.how), back };
    let finding = case
        .said_by_who_ended_it()
        .or_else(|| case.process_died())
        .or_else(|| case.did_not_run())
        .or_else(|| case.moved())
        .or_else(|| case.kept_away())
        .or_else(|| case.hop_missed())
        .or_else(|| case.network())
        .or_else(|| case.failed_once())
        .unwrap_or(Finding::new(Cause::Unknown, Confidence::Low));
    let evidence = finding.evidence.clone().and(&case.evidence());
    Verdict { at: drop.at, until: back.map(|back| back.at), finding: finding.on(evidence) }
}

/// How a session ended, as far as it decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Whoever ended it said why.
    Said(Cause),
    /// The server heard nothing any more.
    ServerHeardNothing,
    /// The agent heard nothing any more, and its word came.
    AgentHeardNothing,
    /// Neither end closed the link.
    Broke,
    /// It was closed, and the code tells nothing.
    Untold,
}

impl Ending {
    fn of(how: &PresenceCause) -> Self {
        match how.ground() {
            Ground::Silence(_) => Self::ServerHeardNothing,
            Ground::Link(reason) => match (reason.initiator, reason.cause) {
                (Initiator::Link, _) => Self::Broke,
                (Initiator::Peer, CloseCause::Silent) => Self::AgentHeardNothing,
                (Initiator::Local, CloseCause::Silent) => Self::ServerHeardNothing,
                (Initiator::Peer | Initiator::Local, _) => Self::said(how),
            },
            Ground::Said(_) | Ground::Time(_) => Self::said(how),
        }
    }

    fn said(how: &PresenceCause) -> Self {
        match found_by_server(how) {
            Some((cause, Confidence::High)) => Self::Said(cause),
            Some((_, Confidence::Medium | Confidence::Low)) | None => Self::Untold,
        }
    }

    /// Whether an end by silence follows from heartbeats that stop for this cause. That they are not recorded
    /// makes nobody silent.
    fn follows_from(self, stopped: Cause) -> bool {
        let silences_agent = [
            Cause::HeartbeatNeverStarted,
            Cause::HeartbeatNotWritten,
            Cause::HeartbeatNotReceived,
            Cause::HeartbeatNotHandled,
        ];
        match self {
            Self::ServerHeardNothing => silences_agent.contains(&stopped),
            Self::AgentHeardNothing => stopped == Cause::HeartbeatNotAnswered,
            Self::Said(_) | Self::Broke | Self::Untold => false,
        }
    }

    /// Whether one end gave the link up because it heard nothing.
    const fn is_silence(self) -> bool {
        match self {
            Self::ServerHeardNothing | Self::AgentHeardNothing => true,
            Self::Said(_) | Self::Broke | Self::Untold => false,
        }
    }
}

/// What is known of one drop.
#[derive(Clone, Copy)]
struct Case<'a> {
    drop: &'a DropRecord,
    ending: Ending,
    back: Option<&'a Return>,
}

impl<'a> Case<'a> {
    fn told(self) -> impl Iterator<Item = &'a PastFinding> {
        self.back.into_iter().flat_map(|back| &back.told)
    }

    /// What the agent told of one cause, if it did.
    fn told_of(self, cause: Cause) -> Option<&'a PastFinding> {
        self.told().find(|told| told.finding.cause == cause)
    }

    fn process(self) -> Option<Process> {
        self.back.map(|back| back.process)
    }

    /// How long the agent was away; zero while it is.
    fn absence(self) -> Duration {
        self.back.map_or(Duration::ZERO, |back| between(self.drop.at, back.at))
    }

    /// How long before the end of the session something told of began; zero if it began later.
    fn before_the_end(self, told: &PastFinding) -> Duration {
        told.ago.saturating_sub(self.absence())
    }

    /// How long behind the end of the session it began; zero if it began earlier.
    fn behind_the_end(self, told: &PastFinding) -> Duration {
        self.absence().saturating_sub(told.ago)
    }

    fn said_by_who_ended_it(self) -> Option<Finding> {
        let Ending::Said(cause) = self.ending else { return None };
        let was_replaced = |told: &&PastFinding| {
            told.finding.cause == Cause::AgentUpgraded
                || (told.finding.cause == Cause::AgentRestarted && self.absence() <= SHORT)
        };
        match self.told().find(was_replaced) {
            Some(told) if cause == Cause::AgentStopped => Some(told.finding.clone()),
            None if cause == Cause::AgentStopped && self.is_soon_another() => {
                Some(Finding::new(Cause::AgentRestarted, Confidence::High))
            }
            Some(_) | None => Some(Finding::new(cause, Confidence::High)),
        }
    }

    /// Whether another process of the agent was there after a short absence.
    fn is_soon_another(self) -> bool {
        self.process() == Some(Process::Other) && self.absence() <= SHORT
    }

    fn process_died(self) -> Option<Finding> {
        // What it tells of the process before it was the end of an earlier session.
        if self.process() == Some(Process::Same) {
            return None;
        }
        let died = |told: &&PastFinding| {
            matches!(
                told.finding.cause,
                Cause::HostRebooted
                    | Cause::HostOutOfMemory
                    | Cause::AgentCrashed
                    | Cause::AgentKilled
                    | Cause::AgentUpgraded
                    | Cause::AgentRestarted
            )
        };
        if let Some(told) = self.told().find(died) {
            let mut finding = told.finding.clone();
            // An operating system closes the connections of a process that dies, and at once. By what it was killed
            // does not show in that.
            let is_sure = finding.cause != Cause::HostOutOfMemory;
            if is_sure && finding.confidence == Confidence::Medium && self.ending == Ending::Broke {
                finding.confidence = Confidence::High;
            }
            return Some(finding);
        }
        let is_other = self.process() == Some(Process::Other);
        is_other.then(|| Finding::new(Cause::AgentRestarted, Confidence::Low))
    }

    fn did_not_run(self) -> Option<Finding> {
        let half = self.drop.quiet / 2;
        // A link that an agent gave up meanwhile is found broken, which it may be for another reason too.
        let sure = match self.ending {
            Ending::ServerHeardNothing | Ending::AgentHeardNothing => Some(Confidence::High),
            Ending::Broke => Some(Confidence::Medium),
            Ending::Said(_) | Ending::Untold => None,
        };
        if let Some(sure) = sure
            && self.drop.stalled > Duration::ZERO
            && self.drop.stalled >= half
        {
            let evidence = Evidence::NONE.with("stalled", self.drop.stalled);
            return Some(Finding::new(Cause::ServerStalled, sure).on(evidence));
        }
        let asleep = |told: &&PastFinding| {
            // The connection of a process that stands still does not break.
            (told.finding.cause == Cause::AgentSlept
                || (told.finding.cause == Cause::AgentStalled && self.ending.is_silence()))
                && lasted(told).saturating_add(ONE_MOMENT) >= half
                // It had begun when the session ended, and was not over long before.
                && self.behind_the_end(told) <= ONE_MOMENT
                && self.before_the_end(told) <= lasted(told).saturating_add(half).saturating_add(ONE_MOMENT)
        };
        let told = self.told().find(asleep)?;
        let evidence = Evidence::NONE.with("lasted", lasted(told)).and(&told.finding.evidence);
        Some(told.finding.clone().on(evidence))
    }

    fn moved(self) -> Option<Finding> {
        let told = self.told_of(Cause::NetworkChanged)?;
        let with_the_end = self.behind_the_end(told) <= self.drop.quiet.max(ONE_MOMENT);
        with_the_end.then(|| told.finding.clone())
    }

    /// What failed when it dialled, if it was that for most of the time.
    fn kept_away(self) -> Option<Finding> {
        let longest = self.longest_obstacle()?;
        if self.kept(longest).saturating_mul(2) < self.absence() {
            return None;
        }
        let finding = longest.finding.clone();
        let evidence = Evidence::NONE.with("dials", longest.times).and(&finding.evidence);
        // A certificate has dates, which are compared with a clock.
        let by_date = finding.cause == Cause::Tls && finding.confidence < Confidence::High;
        if by_date && let Some(jump) = self.told_of(Cause::ClockJump) {
            let evidence = jump.finding.evidence.clone().and(&evidence);
            let sure = self.jumped_around(longest);
            return Some(Finding::new(Cause::ClockJump, sure).on(evidence));
        }
        // A link does not fall silent because a name is not resolved: that too is for want of a network.
        let without_network = matches!(finding.cause, Cause::NameResolution | Cause::NoRoute);
        if without_network && self.ending.is_silence() {
            return Some(Finding::new(Cause::NetworkCut, Confidence::Medium).on(evidence));
        }
        Some(finding.on(evidence))
    }

    /// How sure it is that a clock that was set is why something failed: it did not before the clock was set, and no more
    /// once it was set again.
    fn jumped_around(self, told: &PastFinding) -> Confidence {
        let over = told.ago.saturating_sub(lasted(told));
        let jumps = || self.told().filter(|jump| jump.finding.cause == Cause::ClockJump);
        let before = jumps().any(|jump| jump.ago >= told.ago);
        let after = jumps().any(|jump| jump.ago <= over);
        let is_all = self.told().filter(|other| keeps_away(other.finding.cause)).count() == 1;
        if before && after && is_all { Confidence::High } else { Confidence::Medium }
    }

    /// What failed when it dialled, for some of the time: better than nothing.
    fn failed_once(self) -> Option<Finding> {
        let told = self.longest_obstacle()?;
        let confidence = told.finding.confidence.min(Confidence::Medium);
        Some(Finding { confidence, ..told.finding.clone() })
    }

    fn longest_obstacle(self) -> Option<&'a PastFinding> {
        let obstacles = self.told().filter(|told| keeps_away(told.finding.cause));
        obstacles.max_by_key(|told| (self.kept(told), told.times))
    }

    /// For how long an obstacle kept the agent away: until another one did, or until it was back, since between two
    /// dials it waits. Longer than it waits at most, nothing is known.
    fn kept(self, told: &PastFinding) -> Duration {
        let later = self.told().filter(|other| keeps_away(other.finding.cause));
        let next = later.map(|other| other.ago).filter(|ago| *ago < told.ago).max();
        let until_next = told.ago.saturating_sub(next.unwrap_or_default());
        let waits = BackoffPolicy::DEFAULT.longest_wait();
        until_next.min(lasted(told).saturating_add(waits))
    }

    fn hop_missed(self) -> Option<Finding> {
        if !self.ending.is_silence() {
            return None;
        }
        let by_agent = |told: &&PastFinding| {
            matches!(told.finding.cause, Cause::HeartbeatNeverStarted | Cause::HeartbeatNotWritten)
        };
        if let Some(told) = self.told().find(by_agent) {
            return Some(told.finding.clone());
        }
        let cause = self.drop.stopped_at.filter(|cause| self.ending.follows_from(*cause))?;
        Some(Finding::new(cause, Confidence::High))
    }

    fn network(self) -> Option<Finding> {
        let found = |cause, confidence, lost: &str| {
            let evidence = Evidence::NONE.with("lost", lost);
            Some(Finding::new(cause, confidence).on(evidence))
        };
        let agent_is_back = self.process() == Some(Process::Same);
        let server_was_heard = self.told_of(Cause::NetworkOneWay).is_some()
            || self.told_of(Cause::HeartbeatNotReceived).is_some();
        match self.ending {
            Ending::ServerHeardNothing if server_was_heard => {
                found(Cause::NetworkOneWay, Confidence::High, "to-server")
            }
            Ending::ServerHeardNothing if self.agent_heard_nothing() => {
                found(Cause::NetworkCut, Confidence::High, "both")
            }
            Ending::ServerHeardNothing if agent_is_back && self.agent_lost_link() => {
                found(Cause::NetworkCut, Confidence::Medium, "both")
            }
            Ending::AgentHeardNothing => {
                let both =
                    matches!(self.drop.ways, Ways::OutwardLost(_)) || self.agent_heard_nothing();
                // From one end alone, a server that did not run looks the same.
                let sure = if both { Confidence::High } else { Confidence::Low };
                found(Cause::NetworkOneWay, sure, "to-agent")
            }
            Ending::Broke if agent_is_back => {
                let at_once = |told: &PastFinding| {
                    self.before_the_end(told).max(self.behind_the_end(told)) <= ONE_MOMENT
                };
                let sure = match self.told_of(Cause::NetworkCut) {
                    Some(told) if at_once(told) && self.absence() <= SHORT => Confidence::High,
                    Some(_) => Confidence::Medium,
                    None => Confidence::Low,
                };
                found(Cause::NetworkCut, sure, "both")
            }
            Ending::ServerHeardNothing | Ending::Broke | Ending::Said(_) | Ending::Untold => None,
        }
    }

    fn agent_heard_nothing(self) -> bool {
        self.told_of(Cause::NetworkOneWayOrCut).is_some()
    }

    fn agent_lost_link(self) -> bool {
        self.told_of(Cause::NetworkCut).is_some() || self.agent_heard_nothing()
    }

    /// What the server knows of every drop.
    fn evidence(self) -> Evidence {
        let DropRecord { how, lived, quiet, .. } = self.drop;
        let evidence = Evidence::NONE
            .with("ended", how.kind().as_str())
            .with("quiet", *quiet)
            .with("lived", *lived);
        if let PresenceCause::LinkEnded(reason) = how {
            return evidence.with("close_code", reason.cause.code().0);
        }
        evidence
    }
}

/// Whether it keeps an agent from coming back, rather than ending its session.
const fn keeps_away(cause: Cause) -> bool {
    match cause {
        Cause::NameResolution
        | Cause::NoRoute
        | Cause::ConnectionRefused
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

/// How long it lasted, up to the return: what an agent tells may be nonsense.
fn lasted(told: &PastFinding) -> Duration {
    told.lasted.min(told.ago)
}
