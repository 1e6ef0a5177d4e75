//! One verdict on one drop, from the server's record of it and what the agent tells when it is back.
//!
//! An absence has phases: what ended the session, and what kept the agent from coming back, which may be another
//! thing. The
//! end is a reason for no longer than it explains: until the server runs again, until the machine woke, or, of a
//! process
//! that was stopped, until another one dials. Which of the two took longer is the cause, and both are told.
//!
//! What ended the session, in this order, because what comes first leaves nothing for the rest to explain:
//! 1. what the end that ended it said itself;
//! 2. the agent's process died;
//! 3. a process did not run: the server's, then the agent's.
//!
//! Of any other end:
//! 4. the agent moved to another network, or something kept it away for most of the time;
//! 5. heartbeats stopped at a hop;
//! 6. the network, by what each end heard;
//! 7. what failed when it dialled, for some of the time.
//!
//! What is left is unknown. A cause of one end alone is never sure if another one would look the same from there.

use super::absence::{self, Phase, lasted};
use super::explanation::{rfc3339, rfc3339_if};
use super::found::{ToldEnd, found_by_server};
use super::hop_tracker::Ways;
use super::record::{DropRecord, Process, Return};
use crate::close::{CloseCause, Initiator};
use crate::model::{Cause, Confidence, Dialect, Evidence, Finding, PastFinding};
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

/// A server that begins to run accepts connections only a moment later, and agents whose dials failed wait: what fails
/// until then fails because it did not run, and less of something else is not worth a word.
const STARTING: Duration = Duration::from_secs(10);

/// An agent dials again after 60 s at the latest. What is not back after this is kept away by something else than
/// an end
/// that is over.
const NOT_BACK: Duration = Duration::from_secs(90);

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
    let finding = match case.ended() {
        Some(ended) => case.by_phases(ended),
        None => case.by_both_ends(),
    };
    let evidence = finding.evidence.clone().and(&case.evidence());
    Verdict { at: drop.at, until: back.map(|back| back.at), finding: finding.on(evidence) }
}

/// What ended a session, proven by itself.
struct Ended {
    finding: Finding,
    reach: Reach,
}

/// For how long behind the end of a session that end is reason enough for the agent to be away.
#[derive(Clone, Copy)]
enum Reach {
    /// So long. Then the agent dials again.
    Until(Duration),
    /// So long, until a server runs again.
    UntilServerRuns(Duration),
    /// There is no process that could dial, or it stays away: until something else is known to keep it away.
    UntilAnother,
}

/// How a session ended, as far as it decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Whoever ended it said why.
    Said(Cause, Confidence),
    /// The server heard nothing any more.
    ServerHeardNothing,
    /// The agent heard nothing any more, and its word came.
    AgentHeardNothing,
    /// Neither end closed the link.
    Broke,
    /// A close frame came that no agent of ours sends.
    Shut,
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
            Some((Cause::ConnectionCut, _)) => Self::Shut,
            Some((cause, sure @ (Confidence::High | Confidence::Medium))) => {
                Self::Said(cause, sure)
            }
            Some((_, Confidence::Low)) | None => Self::Untold,
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
            Self::Said(..) | Self::Broke | Self::Shut | Self::Untold => false,
        }
    }

    /// Whether one end dropped the link because it heard nothing.
    const fn is_silence(self) -> bool {
        match self {
            Self::ServerHeardNothing | Self::AgentHeardNothing => true,
            Self::Said(..) | Self::Broke | Self::Shut | Self::Untold => false,
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

    /// How long the agent was away, or is by now.
    fn absence(self) -> Duration {
        absence::away(self.drop, self.back)
    }

    /// How long before the end of the session something told of began; zero if it began later.
    fn before_the_end(self, told: &PastFinding) -> Duration {
        told.ago.saturating_sub(self.absence())
    }

    /// How long behind the end of the session it began; zero if it began earlier.
    fn behind_the_end(self, told: &PastFinding) -> Duration {
        self.absence().saturating_sub(told.ago)
    }

    fn ended(self) -> Option<Ended> {
        self.said_by_who_ended_it().or_else(|| self.process_died()).or_else(|| self.did_not_run())
    }

    /// What ended the session, or what kept the agent away behind that, whichever took longer.
    fn by_phases(self, ended: Ended) -> Finding {
        let Ended { finding, reach } = ended;
        let (explained, counts_from) = match reach {
            Reach::Until(time) => (time, time),
            Reach::UntilServerRuns(time) => (time, time.saturating_add(STARTING)),
            Reach::UntilAnother => (Duration::ZERO, Duration::ZERO),
        };
        let kept = absence::longest(self.drop, self.back, explained, counts_from)
            .filter(|kept| kept.finding.cause != finding.cause && kept.kept >= STARTING);
        let Some(Phase { finding: by, from, kept }) = kept else {
            return self.within_reach(finding, reach);
        };
        let took = match reach {
            Reach::Until(time) | Reach::UntilServerRuns(time) => time,
            Reach::UntilAnother => from,
        };
        if kept > took && kept.saturating_mul(2) >= self.absence().saturating_sub(took) {
            let evidence = Evidence::NONE
                .with("kept_away", kept)
                .with("began_as", finding.cause.as_str())
                .and(&by.evidence);
            return by.on(evidence);
        }
        let evidence = Evidence::NONE
            .with("then", by.cause.as_str())
            .with("kept_away", kept)
            .and(&finding.evidence);
        finding.on(evidence)
    }

    /// What ended a session, if nothing else is known: of an absence that is longer than that explains it is no more
    /// than its beginning.
    fn within_reach(self, finding: Finding, reach: Reach) -> Finding {
        let explained = match reach {
            Reach::Until(time) | Reach::UntilServerRuns(time) => time,
            Reach::UntilAnother => return finding,
        };
        let unexplained = self.absence().saturating_sub(explained);
        // What its dials met it tells a moment behind its return, and earlier versions never. Dials that failed behind
        // what is explained may have failed for something else.
        let absence = self.absence();
        let failed_later = absence::told_obstacles(self.back)
            .any(|told| absence::last_failure(told, absence) > explained);
        let is_accounted_for =
            unexplained <= STARTING || (self.told().next().is_some() && !failed_later);
        if unexplained > NOT_BACK && self.back.is_none() {
            let evidence =
                Evidence::NONE.with("began_as", finding.cause.as_str()).and(&finding.evidence);
            return Finding::new(Cause::Unknown, Confidence::Low).on(evidence);
        }
        if unexplained > NOT_BACK || !is_accounted_for {
            let confidence = finding.confidence.min(Confidence::Medium);
            return Finding { confidence, ..finding };
        }
        finding
    }

    /// Of an end that proves nothing by itself.
    fn by_both_ends(self) -> Finding {
        self.moved()
            .or_else(|| self.kept_away())
            .or_else(|| self.hop_missed())
            .or_else(|| self.network())
            .or_else(|| self.failed_once())
            .unwrap_or_else(|| self.unknown())
    }

    fn said_by_who_ended_it(self) -> Option<Ended> {
        let Ending::Said(cause, sure) = self.ending else { return None };
        let was_replaced = |told: &&PastFinding| {
            told.finding.cause == Cause::AgentUpgraded
                || (told.finding.cause == Cause::AgentRestarted && self.absence() <= SHORT)
        };
        let finding = match (cause, self.told().find(was_replaced)) {
            // A process that was stopped does not come back: something else said that it was.
            (Cause::AgentStopped | Cause::AgentEndedByOrder, _)
                if self.process() == Some(Process::Same) =>
            {
                Finding::new(Cause::ConnectionCut, Confidence::Medium)
            }
            (Cause::AgentStopped, Some(told)) => told.finding.clone(),
            (Cause::AgentStopped, None) if self.is_soon_another() => {
                Finding::new(Cause::AgentRestarted, Confidence::High)
            }
            // A legacy wrapper says so by a code that anything on the way may send.
            (Cause::AgentStopped, None) if self.drop.dialect == Dialect::Legacy => {
                Finding::new(cause, Confidence::Medium)
            }
            (Cause::ProtocolError, _) if sure < Confidence::High => self.refused_by_agent(),
            (_, Some(_) | None) => Finding::new(cause, sure),
        };
        let is_over_at_once = matches!(
            finding.cause,
            Cause::ServerBusy | Cause::ProtocolError | Cause::SlowConsumer | Cause::ConnectionCut
        );
        let reach = if finding.cause == Cause::ServerRestarted {
            Reach::UntilServerRuns(self.drop.since.restarted_after)
        } else if is_over_at_once {
            Reach::Until(Duration::ZERO)
        } else {
            Reach::UntilAnother
        };
        Some(Ended { finding, reach })
    }

    /// A close frame came that says that the rules of the protocol were broken: the agent's, or that of something
    /// on the
    /// way.
    fn refused_by_agent(self) -> Finding {
        match self.told_end() {
            ToldEnd::Own => Finding::new(Cause::ProtocolError, Confidence::High),
            ToldEnd::Closed => Finding::new(Cause::ConnectionCut, Confidence::High),
            ToldEnd::Untold => Finding::new(Cause::ProtocolError, Confidence::Medium),
        }
    }

    /// Who ended the link, as the agent tells of that moment.
    fn told_end(self) -> ToldEnd {
        let known = |told| match ToldEnd::of(told) {
            ToldEnd::Untold => None,
            end @ (ToldEnd::Closed | ToldEnd::Own) => Some(end),
        };
        let mut told = self.told().filter(|told| self.is_at_once(told));
        told.find_map(known).unwrap_or(ToldEnd::Untold)
    }

    /// Whether something told of began when the session ended.
    fn is_at_once(self, told: &PastFinding) -> bool {
        self.before_the_end(told).max(self.behind_the_end(told)) <= ONE_MOMENT
    }

    /// Whether another process of the agent was there after a short absence.
    fn is_soon_another(self) -> bool {
        self.process() == Some(Process::Other) && self.absence() <= SHORT
    }

    fn process_died(self) -> Option<Ended> {
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
        let finding = match self.told().find(died) {
            Some(told) => told.finding.clone(),
            None if self.process() == Some(Process::Other) => {
                Finding::new(Cause::AgentRestarted, Confidence::Low)
            }
            None => return None,
        };
        Some(Ended { finding, reach: Reach::UntilAnother })
    }

    fn did_not_run(self) -> Option<Ended> {
        let half = self.drop.quiet / 2;
        // A link that an agent gave up meanwhile is found broken, which it may be for another reason too.
        let sure = match self.ending {
            Ending::ServerHeardNothing | Ending::AgentHeardNothing => Some(Confidence::High),
            Ending::Broke => Some(Confidence::Medium),
            Ending::Said(..) | Ending::Shut | Ending::Untold => None,
        };
        if let Some(sure) = sure
            && self.drop.stalled > Duration::ZERO
            && self.drop.stalled >= half.max(self.agent_was_patient())
        {
            let evidence = Evidence::NONE.with("stalled", self.drop.stalled);
            let finding = Finding::new(Cause::ServerStalled, sure).on(evidence);
            return Some(Ended { finding, reach: Reach::Until(Duration::ZERO) });
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
        let over = self.absence().saturating_sub(told.ago.saturating_sub(lasted(told)));
        let finding = told.finding.clone().on(evidence);
        Some(Ended { finding, reach: Reach::Until(over) })
    }

    /// For how long an agent that dropped the link had heard nothing, by half of which a stall of the server must have
    /// lasted.
    fn agent_was_patient(self) -> Duration {
        let silence = self.told_of(Cause::NetworkOneWayOrCut).map(lasted);
        match self.ending {
            Ending::AgentHeardNothing => silence.unwrap_or_default() / 2,
            Ending::ServerHeardNothing
            | Ending::Broke
            | Ending::Said(..)
            | Ending::Shut
            | Ending::Untold => Duration::ZERO,
        }
    }

    fn moved(self) -> Option<Finding> {
        let told = self.told_of(Cause::NetworkChanged)?;
        let with_the_end = self.behind_the_end(told) <= self.drop.quiet.max(ONE_MOMENT);
        with_the_end.then(|| told.finding.clone())
    }

    /// What kept it away for most of the time.
    fn kept_away(self) -> Option<Finding> {
        let Phase { finding, kept, .. } = self.longest()?;
        if kept.saturating_mul(2) < self.absence() {
            return None;
        }
        // A certificate has dates, which are compared with a clock.
        let by_date = finding.cause == Cause::Tls && finding.confidence < Confidence::High;
        if by_date && let Some(jump) = self.told_of(Cause::ClockJump) {
            let evidence = jump.finding.evidence.clone().and(&finding.evidence);
            let sure = self.jumped_around(Cause::Tls);
            return Some(Finding::new(Cause::ClockJump, sure).on(evidence));
        }
        // A link does not fall silent because a name is not resolved or a dial not answered: that too is for want of a
        // network.
        if self.ending.is_silence() {
            let without_network = matches!(finding.cause, Cause::NameResolution | Cause::NoRoute);
            let is_unanswered = finding.cause == Cause::DialUnanswered;
            if without_network || is_unanswered {
                let by_ends = self.network().filter(|_| is_unanswered);
                let cut = Finding::new(Cause::NetworkCut, Confidence::Medium);
                let of_network = by_ends.unwrap_or(cut);
                let evidence = of_network.evidence.clone().and(&finding.evidence);
                return Some(of_network.on(evidence));
            }
        }
        Some(finding)
    }

    /// How sure it is that a clock that was set is why something failed: it did not before the clock was set, and
    /// no more
    /// once it was set again.
    fn jumped_around(self, cause: Cause) -> Confidence {
        let Some(told) = self.told_of(cause) else { return Confidence::Medium };
        let over = told.ago.saturating_sub(lasted(told));
        let jumps = || self.told().filter(|jump| jump.finding.cause == Cause::ClockJump);
        let before = jumps().any(|jump| jump.ago >= told.ago);
        let after = jumps().any(|jump| jump.ago <= over);
        let is_all = absence::told_obstacles(self.back).count() == 1;
        if before && after && is_all { Confidence::High } else { Confidence::Medium }
    }

    /// What failed when it dialled, for some of the time: better than nothing.
    fn failed_once(self) -> Option<Finding> {
        let Phase { finding, .. } = self.longest()?;
        // That it was turned away is what the server itself has seen, and did.
        let by_server =
            self.drop.since.turned_away.is_some_and(|turned| turned.cause == finding.cause);
        let most = if by_server { Confidence::High } else { Confidence::Medium };
        Some(Finding { confidence: finding.confidence.min(most), ..finding })
    }

    fn longest(self) -> Option<Phase> {
        absence::longest(self.drop, self.back, Duration::ZERO, Duration::ZERO)
    }

    /// Nothing is known but that the link ended, or fell silent.
    fn unknown(self) -> Finding {
        let unknown = Finding::new(Cause::Unknown, Confidence::Low);
        match (self.ending, self.back) {
            // An operating system closes the connections of a process that ends; of a machine that is cut off, nobody does.
            (Ending::Broke, None) => unknown.on(Evidence::NONE.with(
                "likely",
                "the agent's process ended, or something in between cut the connection",
            )),
            (
                Ending::Broke
                | Ending::Shut
                | Ending::Untold
                | Ending::Said(..)
                | Ending::ServerHeardNothing
                | Ending::AgentHeardNothing,
                _,
            ) => unknown,
        }
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
        let without_network = self.dials_failed_too();
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
            // Its dials failed the same way: it is the network, and not this connection.
            Ending::Broke if agent_is_back && without_network.is_some() => {
                found(Cause::NetworkCut, without_network?, "both")
            }
            Ending::Broke | Ending::Shut if agent_is_back => {
                let sure = match self.told().find(|told| is_end_of_link(told)) {
                    Some(told) if self.is_at_once(told) && self.absence() <= SHORT => {
                        Confidence::High
                    }
                    Some(_) => Confidence::Medium,
                    None => Confidence::Low,
                };
                Some(Finding::new(Cause::ConnectionCut, sure))
            }
            Ending::ServerHeardNothing
            | Ending::Broke
            | Ending::Shut
            | Ending::Said(..)
            | Ending::Untold => None,
        }
    }

    /// Whether connecting failed behind the end of the link for want of a network, for longer than a moment: the agent
    /// tells both under one cause. How sure it is that it was the network: this server ran, and for most of the time
    /// nothing answered at all.
    fn dials_failed_too(self) -> Option<Confidence> {
        let told = self
            .told()
            .find(|told| told.finding.cause == Cause::NetworkCut && lasted(told) > ONE_MOMENT)?;
        let nothing_answered = told.finding.evidence.text("fault") == Some("connect-timeout");
        let ran = self.drop.since.stalled.is_zero();
        let most = lasted(told).saturating_mul(2) >= self.absence();
        Some(if nothing_answered && ran && most { Confidence::High } else { Confidence::Medium })
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
        let mut evidence = Evidence::NONE.with("ended", how.kind().as_str());
        // Behind a session that another one replaced, it is the other one that was heard.
        if *how != PresenceCause::ReplacedOther {
            evidence = evidence.with("quiet", *quiet);
        }
        let evidence = evidence.with("lived", *lived);
        if let PresenceCause::LinkEnded(reason) = how {
            return evidence.with("close_code", reason.cause.code().0);
        }
        evidence
    }
}

/// Whether an agent tells by this that its link ended, and that it did not end it itself.
fn is_end_of_link(told: &PastFinding) -> bool {
    match ToldEnd::of(told) {
        ToldEnd::Closed => true,
        ToldEnd::Own => false,
        ToldEnd::Untold => told.finding.cause == Cause::NetworkCut,
    }
}
