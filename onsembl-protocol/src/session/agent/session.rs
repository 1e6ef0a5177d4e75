//! One session as the agent has it: what its link has proved, which heartbeats are in progress, its impairment.

use super::super::agent_types::{AgentAction, AgentConfig, AgentInbound, SessionTerms};
use super::Out;
use crate::id::{BeatSequence, Epoch, LinkId};
use crate::liveness::{HeartbeatMonitor, HeartbeatTracker, Impairment, Liveness};
use crate::model::Dialect;
use crate::time::{Deadline, Timestamp};
use serde::{Deserialize, Serialize};

/// What is known of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) link: LinkId,
    pub(super) epoch: Epoch,
    pub(super) dialect: Dialect,
    #[serde(default)]
    pub(super) end_orders: bool,
    #[serde(default)]
    pub(super) news: News,
    pub(super) monitor: HeartbeatMonitor,
    pub(super) beats: HeartbeatTracker,
    pub(super) seen_by_server: BeatSequence,
    pub(super) recorded: BeatSequence,
    #[serde(rename = "lag_reported")]
    pub(super) lag: Lag,
    pub(super) impairment: Option<Impairment>,
    pub(super) stable_at: Option<Timestamp>,
}

/// Whether the next heartbeat has something to say, and is not to wait for its time; recordings say it as a truth
/// value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "bool", into = "bool")]
pub(super) enum News {
    #[default]
    None,
    Waits,
}

impl From<bool> for News {
    fn from(waits: bool) -> Self {
        if waits { Self::Waits } else { Self::None }
    }
}

impl From<News> for bool {
    fn from(news: News) -> Self {
        news == News::Waits
    }
}

/// Whether the server says that it records heartbeats late; recordings say it as a truth value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "bool", into = "bool")]
pub(super) enum Lag {
    None,
    Reported,
}

impl From<bool> for Lag {
    fn from(is_reported: bool) -> Self {
        if is_reported { Self::Reported } else { Self::None }
    }
}

impl From<Lag> for bool {
    fn from(lag: Lag) -> Self {
        lag == Lag::Reported
    }
}

impl Session {
    pub(super) fn new(
        link: LinkId,
        terms: SessionTerms,
        config: &AgentConfig,
        at: Timestamp,
    ) -> Self {
        Self {
            link,
            epoch: terms.epoch,
            dialect: terms.dialect,
            end_orders: terms.end_orders,
            news: News::None,
            monitor: HeartbeatMonitor::new(terms.timing, at),
            beats: HeartbeatTracker::new(terms.timing, at),
            seen_by_server: BeatSequence(0),
            recorded: BeatSequence(0),
            lag: Lag::None,
            impairment: None,
            stable_at: Some(at.saturating_add(config.backoff.stable_after())),
        }
    }

    pub(super) fn beat(&mut self, at: Timestamp) -> AgentAction {
        self.news = News::None;
        let sequence = self.beats.send(at);
        match self.dialect {
            Dialect::Extended => {
                AgentAction::SendBeat { link: self.link, sequence, seen: self.beats.seen(at) }
            }
            // A legacy server answers a heartbeat with an error; what it understands is a
            // native ping, whose answer is the proof of life that this end needs.
            Dialect::Legacy => AgentAction::Probe(self.link),
        }
    }

    /// Whether there is news, and no beat is on its way: so orders that come in quick succession bring
    /// one beat a round trip, and the server never finds many of its answers unseen.
    pub(super) fn may_tell_news(&self) -> bool {
        self.news == News::Waits && self.seen_by_server >= self.beats.sent()
    }

    pub(super) fn received(&mut self, frame: AgentInbound, at: Timestamp, out: &mut Out) {
        match frame {
            AgentInbound::Ping { echo } => {
                out.push(AgentAction::SendPong { link: self.link, echo });
            }
            AgentInbound::Heartbeat(beat) => {
                if let Some(sequence) = beat.sequence {
                    self.beats.on_heard(sequence, at);
                }
                self.seen_by_server = self.seen_by_server.max(beat.seen.unwrap_or_default());
                self.recorded = self.recorded.max(beat.recorded.unwrap_or_default());
                self.lag = Lag::from(beat.lagging);
                if self.may_tell_news() {
                    out.push(self.beat(at));
                }
            }
            AgentInbound::HelloAccepted(_)
            | AgentInbound::HelloRefused(_)
            | AgentInbound::Other => {}
        }
    }

    pub(super) fn observe_frame(&mut self, at: Timestamp, out: &mut Out) -> bool {
        let observed = self.monitor.on_received(at);
        if let Some(late) = observed.overslept {
            out.push(AgentAction::Overslept(late));
        }
        observed.changed == Some(Liveness::Live)
    }

    /// The impairment of the session, by the latest heartbeat of the server. Judged only when one comes:
    /// while the server is silent, silence is all there is to say. It comes at least once an
    /// interval, so a beat that went unconfirmed for an interval is named within two.
    pub(super) fn diagnose(&self, at: Timestamp) -> Option<Impairment> {
        let patience = self.monitor.timing().interval();
        let overdue = |confirmed| self.beats.confirmation_due(confirmed, patience).is_due(at);
        if overdue(self.seen_by_server) {
            Some(Impairment::NotSeenByPeer)
        } else if self.lag == Lag::Reported || overdue(self.recorded) {
            Some(Impairment::NotRecorded)
        } else {
            None
        }
    }

    pub(super) fn deadline(&self) -> Deadline {
        let stable = self.stable_at.map_or(Deadline::Never, Deadline::At);
        self.monitor.deadline().min(self.beats.due()).min(stable)
    }
}
