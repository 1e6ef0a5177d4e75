//! All that is told of one agent: its presence explained, its drops with verdicts, what they have in common, and how
//! much of the time it was there. Made of the log of its presence and of what both ends recorded besides, whenever
//! somebody asks.

use super::beats::BeatVerdict;
use super::explanation::Explanation;
use super::hop_tracker::Ways;
use super::incident::{CLOSING, OwnFault};
use super::pattern::{PastDrop, pattern};
use super::record::{DropRecord, Process, Return, SinceThen, ToldAt, TurnedAway, between};
use super::timeline::{Availability, Logged, Sleep, timeline};
use super::verdict::{Verdict, judge};
use crate::close::{CloseCause, CloseReason};
use crate::id::{Epoch, InstanceId};
use crate::model::{Cause, Confidence, Dialect, Finding, PastFinding};
use crate::session::{Presence, PresenceCause, PresenceStatus};
use crate::time::WallTime;
use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::time::Duration;
use serde::Serialize;

/// One transition, as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Transition {
    pub at: WallTime,
    /// What was published.
    pub presence: Presence,
    /// When the last frame of the agent had come, as far as it was known then.
    pub heard: Option<WallTime>,
    /// The process of the session that is in progress, or was the latest.
    pub instance: Option<InstanceId>,
    /// What the hop tracker of the session said then that was in progress, or ended with this.
    pub beats: Option<BeatVerdict>,
}

/// What is recorded besides the log of an agent's presence.
#[derive(Clone, Copy, Debug, Default)]
pub struct Records<'a> {
    /// The transition by which the agent is out of session. It is written behind its publication, so that the log may
    /// not have it yet.
    pub latest: Option<&'a Transition>,
    /// What the agent told of its absences.
    pub told: &'a [ToldAt],
    /// When the server itself did not run.
    pub own_faults: &'a [OwnFault],
    /// How the server turned the agent away lately.
    pub turned_away: Option<TurnedAway>,
    /// What is wrong with it though it is in session.
    pub fault: Option<&'a Finding>,
}

/// Why an agent is where it is, and was where it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Why {
    /// The present state.
    pub presence: Explanation,
    /// The latest drops, the oldest first.
    pub drops: Vec<Verdict>,
    /// What the latest of them have in common.
    pub pattern: Option<Finding>,
    /// What is wrong now; `None` if it is in session and well.
    pub now: Option<Finding>,
    /// What a person can do; `None` if there is nothing that is news.
    pub action: Option<&'static str>,
    /// How the time was spent that the log covers.
    pub availability: Availability,
}

impl Why {
    /// Most drops that are told of; older ones are left out.
    pub(crate) const MOST_DROPS: usize = 64;

    /// Tells of an agent by its log, which is in the order of versions, and by what else is recorded, from `from`
    /// until now.
    #[must_use]
    pub fn of(
        presence: Explanation,
        log: &[Transition],
        records: Records<'_>,
        from: WallTime,
        now: WallTime,
    ) -> Self {
        let log = &*records.with_latest(log);
        let mut fallen = drops(log);
        fallen.iter_mut().for_each(|(drop, back)| records.complete(drop, back.as_mut(), now));
        let verdicts: Vec<Verdict> =
            fallen.iter().map(|(drop, back)| judge(drop, back.as_ref())).collect();
        let past: Vec<PastDrop> = fallen.iter().zip(&verdicts).map(PastDrop::of).collect();
        let sleeps: Vec<Sleep> = fallen
            .iter()
            .filter_map(|(drop, back)| Some(Sleep::told(drop, back.as_ref()?)))
            .flatten()
            .collect();
        let logged: Vec<Logged> = log.iter().map(Logged::of).collect();
        let mut spans = timeline(&logged, &sleeps, now);
        spans.retain_mut(|span| {
            span.from = span.from.max(from);
            span.from < span.until
        });
        let mut told: Vec<Verdict> =
            verdicts.into_iter().filter(|v| v.until.is_none_or(|until| until >= from)).collect();
        told.drain(..told.len().saturating_sub(Self::MOST_DROPS));
        let pattern = pattern(&past);
        let mut why = Self {
            presence,
            drops: told,
            now: None,
            action: None,
            pattern,
            availability: Availability::of(&spans),
        };
        why.now = why.wrong_now(records.fault, from).cloned();
        let news = why.now.as_ref().or(why.pattern_since(from)).or(why.recent(now));
        why.action = news.map(|finding| finding.cause.action());
        why
    }

    /// What is wrong with the agent now, by its state, its drops since then, and what is wrong with it though it is in
    /// session.
    pub fn wrong_now<'a>(
        &'a self,
        fault: Option<&'a Finding>,
        from: WallTime,
    ) -> Option<&'a Finding> {
        const UNKNOWN: &Finding = &Finding::new(Cause::Unknown, Confidence::Low);
        const SILENT: &Finding = &Finding::new(Cause::NetworkOneWayOrCut, Confidence::Low);
        let pattern = self.pattern_since(from);
        match self.presence.state {
            PresenceStatus::Online => fault.or(pattern),
            // It is silent, and one end alone cannot tell more.
            PresenceStatus::Stale => Some(fault.unwrap_or(SILENT)),
            PresenceStatus::Error => Some(fault.unwrap_or(UNKNOWN)),
            PresenceStatus::Connecting
            | PresenceStatus::TimedOut
            | PresenceStatus::Reconnecting
            | PresenceStatus::Offline => {
                let open = self.drops.last().filter(|drop| drop.until.is_none());
                Some(pattern.or(open.map(|drop| &drop.finding)).unwrap_or(UNKNOWN))
            }
        }
    }

    /// What its drops have in common is no news any more when none of them was since then.
    fn pattern_since(&self, from: WallTime) -> Option<&Finding> {
        self.pattern.as_ref().filter(|_| self.drops.iter().any(|drop| drop.at >= from))
    }

    /// The latest drop, if people are to do something about it though the agent is back.
    fn recent(&self, now: WallTime) -> Option<&Finding> {
        let latest = self.drops.last()?;
        let is_news = latest.until.is_none_or(|until| between(until, now) <= NEWS);
        // It is back: nobody needs to start it again.
        let is_done = matches!(
            latest.finding.cause,
            Cause::AgentStopped | Cause::AgentEndedByOrder | Cause::AgentDeleted
        );
        (is_news && !is_done).then_some(&latest.finding)
    }
}

/// A drop that was over longer ago is no news, unless it is part of a pattern.
const NEWS: Duration = Duration::from_secs(3600);

/// An agent notices a loss so much earlier or later than its server, beyond the silence.
const NOTICED: Duration = Duration::from_secs(2);

impl Records<'_> {
    /// The log, and what was published since it was read.
    fn with_latest<'l>(&self, log: &'l [Transition]) -> Cow<'l, [Transition]> {
        let written = log.last().map(|last| last.presence.version);
        match self.latest.filter(|latest| Some(latest.presence.version) > written) {
            Some(latest) => log.iter().chain([latest]).cloned().collect(),
            None => Cow::Borrowed(log),
        }
    }

    /// Adds what is recorded of a drop.
    fn complete(&self, drop: &mut DropRecord, back: Option<&mut Return>, now: WallTime) {
        drop.stalled = self.stalled(drop.at.before(drop.quiet), drop.at);
        if drop.how == GIVEN_UP_BY_AGENT {
            // What the agent had sent before is read when this server runs again: then it was heard a moment ago.
            drop.stalled = drop.stalled.max(self.stalled_just_before(drop.at));
        }
        let silent_since = drop.at.before(drop.quiet.max(drop.stalled));
        let until = back.as_ref().map_or(now, |back| back.at);
        drop.since = SinceThen {
            away: between(drop.at, until),
            restarted_after: self.restarted_after(drop.at),
            stalled: self.stalled(drop.at, until),
            turned_away: self
                .turned_away
                .filter(|turned| turned.last >= drop.at && turned.first <= until),
        };
        let Some(back) = back else { return };
        let first = self.blind_since(silent_since, drop.at).before(NOTICED);
        let last = back.at.after(NOTICED);
        let of_this = self.told.iter().filter_map(|told| {
            let (from, until) = told.span();
            (from <= last && until >= first)
                .then(|| PastFinding { ago: between(from, back.at), ..told.told.clone() })
        });
        back.told = of_this.collect();
        drop.stalled = drop.stalled.max(self.stalled_while_unheard(back));
    }

    /// Since when the end of a session may have been there, and not noticed: while this server did not run.
    fn blind_since(&self, silent_since: WallTime, at: WallTime) -> WallTime {
        let stalls = self.own_faults.iter().filter(|fault| fault.cause == Cause::ServerStalled);
        let until_then =
            |stall: &&OwnFault| stall.from <= at && stall.until.after(NOTICED) >= silent_since;
        stalls.filter(until_then).map(|stall| stall.from).fold(silent_since, WallTime::min)
    }

    /// How much of the time in which the agent heard nothing this server did not run, if it was most of it: what the
    /// agent said last waited for it, and is news when it runs again.
    fn stalled_while_unheard(&self, back: &Return) -> Duration {
        let silences =
            back.told.iter().filter(|told| told.finding.cause == Cause::NetworkOneWayOrCut);
        let stalled = silences.map(|told| {
            let from = back.at.before(told.ago);
            let stalled = self.stalled(from, from.after(told.lasted));
            if stalled >= told.lasted / 2 { stalled } else { Duration::ZERO }
        });
        stalled.max().unwrap_or_default()
    }

    /// How much of a time this server did not run.
    fn stalled(&self, from: WallTime, until: WallTime) -> Duration {
        let within =
            self.stalls().map(|stall| between(stall.from.max(from), stall.until.min(until)));
        within.fold(Duration::ZERO, Duration::saturating_add)
    }

    /// How long a stall had lasted that was over a moment before.
    fn stalled_just_before(&self, at: WallTime) -> Duration {
        let just_before = self
            .stalls()
            .filter(|stall| stall.from <= at && between(stall.until, at) <= NOTICED)
            .map(|stall| between(stall.from, stall.until.min(at)));
        just_before.max().unwrap_or_default()
    }

    fn stalls(&self) -> impl Iterator<Item = &OwnFault> {
        self.own_faults.iter().filter(|fault| fault.cause == Cause::ServerStalled)
    }

    /// How long after this moment a server ran again, if none ran.
    fn restarted_after(&self, at: WallTime) -> Duration {
        let restarts = self.own_faults.iter().filter(|fault| {
            fault.cause == Cause::ServerRestarted
                && fault.from.before(CLOSING) <= at
                && at <= fault.until
        });
        restarts.map(|fault| between(at, fault.until)).max().unwrap_or_default()
    }
}

/// The agent heard nothing any more, and its close came.
const GIVEN_UP_BY_AGENT: PresenceCause =
    PresenceCause::LinkEnded(CloseReason::peer(Some(CloseCause::Silent.code())));

impl Logged {
    fn of(transition: &Transition) -> Self {
        Self { at: transition.at, status: transition.presence.status }
    }
}

impl PastDrop {
    fn of(((drop, _), verdict): (&(DropRecord, Option<Return>), &Verdict)) -> Self {
        Self {
            at: drop.at,
            cause: verdict.finding.cause,
            confidence: verdict.finding.confidence,
            lived: drop.lived,
            idle: drop.quiet,
        }
    }
}

/// The drops in a log, each with the return of the agent if it is back.
fn drops(log: &[Transition]) -> Vec<(DropRecord, Option<Return>)> {
    let mut found: Vec<(DropRecord, Option<Return>)> = Vec::new();
    // The session that is in progress, and since when.
    let mut session: Option<(Epoch, WallTime)> = None;
    // While a hello of a machine that was forgotten is looked at, no process is known.
    let mut known: Option<&InstanceId> = None;
    for transition in log {
        let Transition { at, presence, .. } = *transition;
        let process = process(known, transition.instance.as_ref());
        known = transition.instance.as_ref().or(known);
        let Presence { status, epoch, because, .. } = presence;
        match (session, status.is_in_session()) {
            (None, true) => {
                session = Some((epoch, at));
                if let Some((_, back @ None)) = found.last_mut() {
                    *back = Some(returned(at, process));
                }
            }
            (Some((old, began)), true) if old != epoch => {
                session = Some((epoch, at));
                if because.cause == PresenceCause::ReplacedOther {
                    found.push((dropped(transition, began, known), Some(returned(at, process))));
                }
            }
            (Some((_, began)), false) => {
                session = None;
                found.push((dropped(transition, began, known), None));
            }
            (Some(_), true) | (None, false) => {}
        }
    }
    found
}

fn dropped(last: &Transition, began: WallTime, process: Option<&InstanceId>) -> DropRecord {
    DropRecord {
        at: last.at,
        how: last.presence.because.cause,
        lived: between(began, last.at),
        quiet: last.heard.map_or(Duration::ZERO, |heard| between(heard, last.at)),
        stalled: Duration::ZERO,
        ways: last.beats.map_or(Ways::Both, |beats| beats.ways),
        stopped_at: last.beats.and_then(|beats| beats.stopped_at()),
        // A legacy wrapper names no process.
        dialect: Dialect::of(process),
        since: SinceThen::default(),
    }
}

/// It is back. What it found meanwhile, and how long this server did not run, is not in the log.
const fn returned(at: WallTime, process: Process) -> Return {
    Return { at, process, told: Vec::new() }
}

/// Whether a process is the one before.
fn process(before: Option<&InstanceId>, now: Option<&InstanceId>) -> Process {
    match (before, now) {
        (Some(before), Some(now)) if before == now => Process::Same,
        (Some(_), Some(_)) => Process::Other,
        (None, _) | (_, None) => Process::Unknown,
    }
}
