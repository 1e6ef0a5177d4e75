//! One agent as readers see it: what it is, its presence and why, what is wrong with it, and what keeps it from working.

use super::claims::{Bearer, Claim};
use super::report::StopState;
use crate::command::CommandStage;
use crate::diagnosis::{
    BeatVerdict, Explanation, OrderInForce, PresenceTrack, Sleep, Transition, Ways, explain,
};
use crate::id::{AgentId, PresenceVersion, UserId};
use crate::liveness::Impairment;
use crate::model::{Activity, Cause, Confidence, Evidence, Finding, Pausing, ToldFault};
use crate::session::{Presence, PresenceCause, PresenceStatus, ServerConfig};
use crate::stop::StopOrder;
use crate::time::WallTime;
use crate::wire::payload::HealthMetrics;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

/// One agent: its [facts](AgentFacts), which change seldom, and what each heartbeat changes. A fleet and its readers share
/// the facts, so that a copy is small.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentView {
    facts: Arc<AgentFacts>,
    /// When a frame of it last came.
    pub last_heard: Option<WallTime>,
    /// What its latest heartbeat brought. In a [change](super::Change::Agent): nothing new if absent.
    pub metrics: Option<HealthMetrics>,
    /// What the hop tracker says of its session; `None` without a session, or of a legacy agent.
    pub beats: Option<BeatVerdict>,
}

impl From<Arc<AgentFacts>> for AgentView {
    /// An agent of which nothing was heard.
    fn from(facts: Arc<AgentFacts>) -> Self {
        Self { facts, last_heard: None, metrics: None, beats: None }
    }
}

impl From<AgentFacts> for AgentView {
    fn from(facts: AgentFacts) -> Self {
        Self::from(Arc::new(facts))
    }
}

impl Deref for AgentView {
    type Target = AgentFacts;

    fn deref(&self) -> &AgentFacts {
        &self.facts
    }
}

/// What is known of an agent besides what each heartbeat changes. What most agents have none of is in a box.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct AgentFacts {
    pub name: String,
    /// What runs behind it.
    pub agent_type: String,
    /// The version of its program.
    pub version: String,
    /// The name of its machine.
    pub host: String,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// Ids that it went by before it learned its own.
    pub aliases: Vec<AgentId>,
    pub presence: ShownPresence,
    /// Whether it says, in its present session, that it starts nothing, by order.
    pub pausing: Pausing,
    /// By whom and since when, while it says so.
    pub paused: Option<PauseOrder>,
    /// That the program of its terminal does not run, as it said last in its present session.
    pub program_fault: Option<Box<ToldFault>>,
    /// What its program does, as it said last in its present session.
    pub activity: Option<Box<Activity>>,
    /// The emergency stop in force for it, and how far it is with that.
    pub stopped: Option<Box<AgentStop>>,
    /// How many more links may be open beside the one of its session.
    pub link_room: usize,
    /// The token lineage that has claimed the agent; `None` before a bearer has claimed it.
    pub claim: Option<Claim>,
    /// That other processes of it asked for its session lately.
    pub contest: Option<AgentContest>,
    /// When it slept lately, as it proved when it was back: what was shown of it then was no fault.
    pub slept: Option<Sleep>,
}

/// That an agent starts nothing, by order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct PauseOrder {
    /// Who ordered it; `None` if that was before this run of the server.
    pub by: Option<UserId>,
    /// When it was ordered, or first said.
    pub at: WallTime,
}

/// Processes of one agent beside the one that is in session: within the last minute before the latest came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct AgentContest {
    /// How often one was refused, because the one in session answered.
    pub refused: usize,
    /// How often one took over, because the one in session did not answer.
    pub replaced: usize,
    /// Where the processes run, as they say; at most four of them.
    pub hosts: Vec<String>,
}

impl fmt::Display for AgentContest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = |n: usize| if n == 1 { "once".into() } else { format!("{n} times") };
        match (self.refused, self.replaced) {
            (refused, 0) => write!(f, "contested {}", times(refused))?,
            (0, replaced) => write!(f, "replaced {}", times(replaced))?,
            (refused, replaced) => {
                write!(f, "replaced {} and contested {}", times(replaced), times(refused))?;
            }
        }
        let hosts = if self.hosts.len() > 1 { "hosts" } else { "host" };
        write!(f, " in a minute by processes on {hosts} ")?;
        for (n, host) in self.hosts.iter().enumerate() {
            let before = match n {
                0 => "",
                n if n + 1 == self.hosts.len() => " and ",
                _ => ", ",
            };
            write!(f, "{before}{}", host.escape_debug())?;
        }
        Ok(())
    }
}

/// An emergency stop that keeps an agent from starting anything.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct AgentStop {
    pub order: StopOrder,
    /// How far the agent is.
    pub state: StopState,
}

/// A presence as it is shown: of a live machine, or from the store for an agent that has none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct ShownPresence {
    pub status: PresenceStatus,
    /// Since when it holds.
    pub since: WallTime,
    pub because: String,
    pub version: PresenceVersion,
    /// What its transitions add up to; `None` before this run of the server published one.
    pub track: Option<PresenceTrack>,
    /// What the hop tracker said when the session ended that is over with this.
    pub ended_with: Option<Box<BeatVerdict>>,
}

impl ShownPresence {
    /// What is shown from this transition on.
    #[must_use]
    pub(super) fn then(&self, presence: Presence, beats: Option<BeatVerdict>) -> Self {
        Self {
            status: presence.status,
            since: presence.since,
            because: presence.because.to_string(),
            version: presence.version,
            track: Some(match self.track {
                Some(track) => track.then(presence),
                None => PresenceTrack::begin(presence),
            }),
            ended_with: beats.filter(|_| !presence.status.is_in_session()).map(Box::new),
        }
    }
}

/// What the evidence of a presence calls the hop at which heartbeats stop.
pub const HEARTBEATS_MISS: &str = "heartbeats_miss";

impl AgentView {
    /// Its presence, explained.
    #[must_use]
    pub fn explain(&self, rules: &ServerConfig) -> Explanation {
        let shown = &self.presence;
        let because = self.because();
        match &shown.track {
            Some(track) => {
                let explained = explain(track, self.last_heard, rules);
                let evidence = match self.beats.and_then(|beats| beats.stopped) {
                    Some(stop) => {
                        explained.evidence.clone().with(HEARTBEATS_MISS, stop.hop.as_str())
                    }
                    None => explained.evidence.clone(),
                };
                Explanation { because, evidence, ..explained }
            }
            None => Explanation::without_transitions(shown.status, shown.since, because),
        }
    }

    /// The transition by which it is out of session, as the log will have it but for the process, which is that of the
    /// transition before. `None` of one in session, and before this run of the server published one.
    pub fn latest_absence(&self) -> Option<Transition> {
        let presence = *self.presence.track.as_ref()?.latest();
        let beats = self.presence.ended_with.as_deref().copied();
        let (at, heard) = (presence.since, self.last_heard);
        let is_away = !presence.status.is_in_session();
        is_away.then_some(Transition { at, presence, heard, instance: None, beats })
    }

    /// Why it is where it is: an impairment comes in front of the cause of its presence.
    pub(crate) fn because(&self) -> String {
        let because = &self.presence.because;
        match &self.contest {
            Some(contest) => format!("{contest}; {because}"),
            None => because.clone(),
        }
    }

    /// Whether it has been in session and well since before this time, as far as its latest transition tells: then
    /// there is nothing to look for in its log.
    pub fn is_well_since(&self, from: WallTime) -> bool {
        let replaced = self
            .presence
            .track
            .is_none_or(|track| track.latest().because.cause == PresenceCause::ReplacedOther);
        self.presence.status == PresenceStatus::Online
            && self.presence.since < from
            && !replaced
            && self.fault().is_none()
    }

    /// What is wrong with it though it is in session.
    pub fn fault(&self) -> Option<Finding> {
        if let Some(contest) = &self.contest {
            let evidence = Evidence::NONE
                .with("refused", contest.refused as u64)
                .with("replaced", contest.replaced as u64);
            let cause = Finding::new(Cause::SecondInstance, Confidence::Medium);
            return Some(cause.on(evidence));
        }
        let because = self.presence.track.as_ref()?.latest().because;
        let evidence = match because.trouble {
            Some(trouble) => Evidence::NONE.with("store", trouble.to_string()),
            None => Evidence::NONE,
        };
        if let Some(found) = self.by_hops() {
            let evidence = found.evidence.clone().and(&evidence);
            return Some(found.on(evidence));
        }
        let (cause, confidence) = match because.impairment? {
            Impairment::NotRecorded => (Cause::HeartbeatNotRecorded, Confidence::High),
            // What it does not see may be lost, or it may not look.
            Impairment::NotSeenByPeer => (Cause::NetworkOneWay, Confidence::Low),
            Impairment::ProbeUnanswered => (Cause::Unknown, Confidence::Low),
        };
        Some(Finding::new(cause, confidence).on(evidence))
    }

    /// What the hop tracker says, while it is in session: where heartbeats stop, or which direction is lost.
    fn by_hops(&self) -> Option<Finding> {
        let beats = self.beats.filter(|_| self.presence.status.is_in_session())?;
        let lost = match beats.ways {
            Ways::Both | Ways::OneWayOrCut => None,
            Ways::OutwardLost(sure) => Some(sure),
        };
        let evidence = match lost {
            Some(_) => Evidence::NONE.with("lost", "to-agent"),
            None => Evidence::NONE,
        };
        match (beats.stopped, lost) {
            (Some(stop), _) => {
                let evidence = Evidence::NONE
                    .with("hop", stop.hop.as_str())
                    .with("since", stop.since)
                    .and(&evidence);
                Some(Finding::new(stop.cause, stop.confidence).on(evidence))
            }
            (None, Some(sure)) => Some(Finding::new(Cause::NetworkOneWay, sure).on(evidence)),
            (None, None) => None,
        }
    }

    /// Whether the bearer of this token may speak for it; without a lineage it may for each agent of its user.
    pub fn is_spoken_for_by(&self, id: &AgentId, bearer: Option<&Bearer>) -> bool {
        bearer.is_none_or(|bearer| bearer.speaks_for(id, self.claim.as_ref()))
    }

    /// What keeps it from starting anything, by order.
    pub fn order_in_force(&self) -> OrderInForce {
        match (self.stopped.as_deref(), self.pausing) {
            (Some(AgentStop { order, .. }), _) => OrderInForce::Stopped {
                by: order.by.as_str().into(),
                at: order.at,
                reason: order.reason.clone(),
            },
            (None, Pausing::Paused) => {
                let order = self.paused.as_ref();
                OrderInForce::Paused {
                    by: order.and_then(|order| order.by.as_ref()).map(|by| by.as_str().into()),
                    since: order.map(|order| order.at),
                }
            }
            (None, Pausing::Running) => OrderInForce::None,
        }
    }

    /// What keeps a command of this stage from being started, besides what its lifecycle says.
    pub fn blocked_by(&self, stage: CommandStage) -> Option<String> {
        if !self.pausing.is_paused() || !awaits_agent(stage) {
            return None;
        }
        let name = &self.name;
        Some(format!("its agent is paused, and starts nothing until `control {name} resume`"))
    }
}

/// Whether a command of this stage is one that its agent could start.
pub(super) const fn awaits_agent(stage: CommandStage) -> bool {
    match stage {
        CommandStage::Queued | CommandStage::Delivered => true,
        CommandStage::Pending
        | CommandStage::Running
        | CommandStage::Cancelling
        | CommandStage::Completed
        | CommandStage::Failed
        | CommandStage::Cancelled
        | CommandStage::Lost
        | CommandStage::Unknown => false,
    }
}
