//! Emergency stops that hold: acted on at once, answered when they are durable, and the first thing an
//! agent hears when it comes back.

use super::request::Reply;
use super::run::{Answer, Hub};
use crate::store::StoreError;
use onsembl_protocol::command::CommandEvent;
use onsembl_protocol::id::{AgentId, StopId, UserId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::stop::{StopOrder, StopScope};
use onsembl_protocol::supervisor::Key;
use onsembl_protocol::wire::ServerToAgent;
use onsembl_protocol::wire::payload::{
    EmergencyStop, ErrorCode, ErrorReply, StopProgress, StopReceipt, StopRelease, StopStage,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{error, info, warn};

/// How often agents are told again that they are stopped, until they say that nothing runs.
pub(super) const REPEAT: Duration = Duration::from_secs(2);
/// How long whoever orders a stop waits for the agents' receipts.
const RECEIPTS_WITHIN: Duration = Duration::from_secs(3);

/// What came of a stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopReport {
    /// The order in force: this one, or an older one of the same scope.
    pub stop_id: String,
    /// The agents it is for.
    pub agents: Vec<StoppedAgent>,
    /// Open commands that are being killed.
    pub commands: usize,
}

/// How far an agent is with a stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppedAgent {
    /// Its id.
    pub agent_id: String,
    /// Its name.
    pub name: String,
    /// How far it is.
    pub state: StopState,
}

/// How far an agent is with a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopState {
    /// It is away, and starts nothing when it returns.
    Away,
    /// It was told, and cannot say what it did: a legacy wrapper.
    NotConfirmed,
    /// It was told.
    Told,
    /// It has written it down: nothing starts.
    Received,
    /// It has killed everything.
    Acted,
    /// It has seen that nothing lives.
    Verified,
}

impl StopState {
    fn of(stage: &StopStage) -> Self {
        match stage {
            StopStage::Received => Self::Received,
            StopStage::Acted => Self::Acted,
            StopStage::Verified => Self::Verified,
            StopStage::Unknown(_) => Self::Told,
        }
    }

    /// The word of the wire for it.
    pub const fn progress(self) -> StopProgress {
        match self {
            Self::Away => StopProgress::Away,
            Self::NotConfirmed => StopProgress::NotConfirmed,
            Self::Told => StopProgress::Told,
            Self::Received => StopProgress::Received,
            Self::Acted => StopProgress::Acted,
            Self::Verified => StopProgress::Verified,
        }
    }

    /// Whether more is to be heard of it soon.
    const fn is_pending(self) -> bool {
        match self {
            Self::Told | Self::Received | Self::Acted => true,
            Self::Away | Self::NotConfirmed | Self::Verified => false,
        }
    }
}

/// What the answer to a stop waits for, besides its being durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopAnswer {
    /// Nothing.
    Stored,
    /// The receipts of the agents, for a while.
    Verified,
}

/// A stop that somebody waits for.
#[derive(Debug)]
pub(super) struct StopWait {
    order: StopOrder,
    commands: usize,
    agents: Vec<AgentId>,
    stored: Option<Result<(), StoreError>>,
    until: Instant,
    reply: StopReply,
}

/// The answer to a stop.
pub type StopReply = oneshot::Sender<Result<StopReport, ErrorReply>>;
/// What came of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseReport {
    /// How many orders are not in force any more.
    pub released: usize,
}

/// The answer to a release.
pub type ReleaseReply = oneshot::Sender<Result<ReleaseReport, ErrorReply>>;

impl Hub {
    pub(super) async fn recover_stops(&mut self) -> Result<(), StoreError> {
        for (user, order) in self.store.stops_in_force().await? {
            warn!(%user, stop = %order.id, reason = order.reason, "an emergency stop is in force");
            self.boards.of(&user).touch(|content| {
                let _ = content.stops.set(order);
            });
        }
        Ok(())
    }

    /// The order of a dashboard that can release it. Its answer does not wait for receipts: the dashboard
    /// is shown how far its agents are.
    pub(super) fn on_dashboard_stop(&mut self, user: &UserId, stop: EmergencyStop, reply: Reply) {
        let mut reason = stop.reason.unwrap_or_else(|| "no reason given".to_owned());
        reason.truncate(reason.floor_char_boundary(Limits::DEFAULT.name_bytes));
        let only: BTreeSet<AgentId> = stop.affected_agents.into_iter().map(AgentId::new).collect();
        let scopes = match only.is_empty() {
            true => vec![StopScope::All],
            false => only.into_iter().map(StopScope::Agent).collect(),
        };
        let mut answers = Vec::with_capacity(scopes.len());
        for scope in scopes {
            let (each, answer) = oneshot::channel();
            self.on_stop(user.clone(), scope, reason.clone(), StopAnswer::Stored, each);
            answers.push(answer);
        }
        self.answers.spawn(async move {
            let mut result = Ok(());
            for answer in answers {
                let ended = || Err(ErrorReply::new(ErrorCode::Internal, "the server is ending"));
                result = result.and(answer.await.unwrap_or_else(|_| ended()).map(drop));
            }
            Answer::DashboardStop { reply, result }
        });
    }

    pub(super) fn on_stop(
        &mut self,
        user: UserId,
        scope: StopScope,
        reason: String,
        answer: StopAnswer,
        reply: StopReply,
    ) {
        if let Some(error) = self.unknown_agent(&user, &scope) {
            return self.answer_stop(reply, Err(error));
        }
        let at = self.now().wall;
        let id = StopId::new(uuid::Uuid::now_v7().to_string());
        let order = StopOrder { id, scope, reason, by: user.clone(), at };
        let order = self.boards.of(&user).change(|content, _| content.stops.set(order).clone());
        let mut agents: Vec<(AgentId, Option<Key>)> = Vec::new();
        for (agent, known) in &self.known {
            if known.user == user && order.scope.covers(agent) {
                agents.push((agent.clone(), known.machine));
            }
        }
        // First the word to the agents: everything else can wait.
        for (_, machine) in &agents {
            if let Some(key) = machine {
                let _ = self.tell_stop(*key, &order);
            }
        }
        let mut commands = 0;
        for (agent, _) in &agents {
            for command in self.commands_of(agent) {
                commands += 1;
                self.feed_command(&command, CommandEvent::Cancel { force: true });
            }
        }
        warn!(%user, stop = %order.id, agents = agents.len(), commands,
            reason = order.reason, "emergency stop");
        for (agent, _) in &agents {
            self.show_stop(&user, agent);
        }
        let awaited = match answer {
            StopAnswer::Verified => agents.into_iter().map(|(agent, _)| agent).collect(),
            StopAnswer::Stored => Vec::new(),
        };
        self.stop_waits.push(StopWait {
            order: order.clone(),
            commands,
            agents: awaited,
            stored: None,
            until: Instant::now() + RECEIPTS_WITHIN,
            reply,
        });
        let store = self.store.clone();
        self.answers.spawn(async move {
            let stop = order.id.clone();
            let stored = store.insert_stop(&user, order).await;
            Answer::Stopped { stop, stored }
        });
    }

    pub(super) fn on_stopped(&mut self, stop: &StopId, stored: Result<(), StoreError>) {
        let mut stored = Some(stored);
        for wait in self.stop_waits.iter_mut().filter(|w| w.order.id == *stop) {
            // Of two who press the button at once, both hear what became of the first.
            if wait.stored.is_none() {
                wait.stored = stored.take().or(Some(Ok(())));
            }
        }
        self.answer_stops();
    }

    /// An agent says how far it is.
    pub(super) fn on_stop_receipt(&mut self, key: Key, agent: &AgentId, receipt: &StopReceipt) {
        info!(%agent, stop = %receipt.stop_id, stage = %receipt.stage, "receipt of an emergency stop");
        if let Some(live) = self.live.get_mut(&key) {
            live.stop_receipt = Some((receipt.stop_id.clone(), StopState::of(&receipt.stage)));
            let user = live.user.clone();
            self.show_stop(&user, agent);
        }
        self.answer_stops();
    }

    /// Puts on the board how far this agent is with the stop that is in force for it, if one is.
    pub(super) fn show_stop(&self, user: &UserId, agent: &AgentId) {
        let state = self.stop_of(user, agent).map(|order| self.stop_state(agent, &order.id));
        let board = self.boards.of(user);
        if board.look().stop_states.get(agent).copied() != state {
            board.change(|content, _| match state {
                Some(state) => drop(content.stop_states.insert(agent.clone(), state)),
                None => drop(content.stop_states.remove(agent)),
            });
        }
    }

    fn stop_state(&self, agent: &AgentId, stop: &StopId) -> StopState {
        let Some(key) = self.known.get(agent).and_then(|known| known.machine) else {
            return StopState::Away;
        };
        let linked = self.shard.machine(key).is_some_and(|machine| machine.link().is_some());
        let Some(live) = self.live.get(&key).filter(|_| linked) else { return StopState::Away };
        match &live.stop_receipt {
            _ if !live.latches_stops => StopState::NotConfirmed,
            Some((of, state)) if of == stop => *state,
            Some(_) | None => StopState::Told,
        }
    }

    /// When [`answer_stops`](Self::answer_stops) is to be called at the latest.
    pub(super) fn stop_deadline(&self) -> Option<Instant> {
        self.stop_waits.iter().map(|wait| wait.until).min()
    }

    /// Answers those whose stop is durable, and seen through or waited for long enough.
    pub(super) fn answer_stops(&mut self) {
        let now = Instant::now();
        let waits = std::mem::take(&mut self.stop_waits);
        for wait in waits {
            let stop = &wait.order.id;
            let pending = wait.agents.iter().any(|a| self.stop_state(a, stop).is_pending());
            match &wait.stored {
                Some(_) if pending && now < wait.until => self.stop_waits.push(wait),
                Some(_) => self.answer_wait(wait),
                None => {
                    // The database decides when; then there is nothing more to wait for.
                    let until = wait.until.max(now + RECEIPTS_WITHIN);
                    self.stop_waits.push(StopWait { until, ..wait });
                }
            }
        }
    }

    fn answer_wait(&self, wait: StopWait) {
        let StopWait { order, commands, agents, stored, reply, .. } = wait;
        let board = self.boards.of(&order.by);
        let agents = agents.into_iter().map(|agent| {
            let name = board.look().agents.get(&agent).map(|a| a.name.clone());
            StoppedAgent {
                name: name.unwrap_or_else(|| agent.to_string()),
                state: self.stop_state(&agent, &order.id),
                agent_id: agent.to_string(),
            }
        });
        let report =
            StopReport { stop_id: order.id.to_string(), agents: agents.collect(), commands };
        let result = stored.unwrap_or(Ok(())).map(|()| report).map_err(|why| {
            self.counters.count("stops_not_stored");
            error!(%why, "an emergency stop was carried out, but is not stored");
            let text = format!(
                "the stop is in force, but would not survive a restart of the server: {why}"
            );
            ErrorReply::new(ErrorCode::StorageUnavailable, text)
        });
        self.answer_stop(reply, result);
    }

    /// Tells agents again that have not said that nothing runs.
    pub(super) fn repeat_stops(&mut self) {
        let stopped: Vec<(Key, StopOrder)> = self
            .known
            .iter()
            .filter_map(|(agent, known)| {
                let key = known.machine?;
                self.live.get(&key).filter(|live| live.latches_stops)?;
                let order = self.stop_of(&known.user, agent)?;
                self.stop_state(agent, &order.id).is_pending().then_some((key, order))
            })
            .collect();
        for (key, order) in stopped {
            self.counters.count("stops_repeated");
            let _ = self.tell_stop(key, &order);
        }
    }

    fn answer_stop(&self, reply: StopReply, result: Result<StopReport, ErrorReply>) {
        if reply.send(result).is_err() {
            self.counters.count("answers_nobody_took");
        }
    }

    fn unknown_agent(&self, user: &UserId, scope: &StopScope) -> Option<ErrorReply> {
        let agent = scope.agent()?;
        let own = self.known.get(agent).is_some_and(|known| known.user == *user);
        let error = ErrorReply::new(ErrorCode::AgentNotFound, "no agent of yours has this id");
        (!own).then(|| error.for_agent(Some(agent.clone())))
    }

    /// Says to an agent that it is stopped. Whether it is in session to hear it.
    fn tell_stop(&mut self, key: Key, order: &StopOrder) -> bool {
        let stop = EmergencyStop {
            reason: Some(order.reason.clone()),
            triggered_by: Some(order.by.to_string()),
            timestamp: Some(order.at),
            stop_id: Some(order.id.clone()),
            ..EmergencyStop::default()
        };
        self.shard.send(key, &ServerToAgent::EmergencyStop(stop))
    }

    /// Tells the agents that were stopped by this order. Those for whom another one is in force now hear
    /// of that.
    fn tell_release(&mut self, user: &UserId, order: &StopOrder) {
        let covered: Vec<(AgentId, Key)> = self
            .known
            .iter()
            .filter(|(agent, known)| known.user == *user && order.scope.covers(agent))
            .filter_map(|(agent, known)| Some((agent.clone(), known.machine?)))
            .filter(|(_, key)| self.live.get(key).is_some_and(|live| live.latches_stops))
            .collect();
        for (agent, key) in covered {
            let release = StopRelease { stop_id: order.id.clone() };
            // Who is away is told by the next welcome.
            let _ = self.shard.send(key, &ServerToAgent::StopRelease(release));
            if let Some(other) = self.stop_of(user, &agent) {
                let _ = self.tell_stop(key, &other);
            }
        }
    }

    /// An agent came back: before anything else it hears that it is stopped.
    pub(super) fn repeat_stop(&mut self, user: &UserId, agent: &AgentId, key: Key) {
        if let Some(order) = self.stop_of(user, agent) {
            info!(%agent, stop = %order.id, "an agent comes back to an emergency stop");
            let _told_in_the_session_that_began = self.tell_stop(key, &order);
        }
        self.show_stop(user, agent);
    }

    /// The stop that keeps this agent from starting anything.
    pub(super) fn stop_of(&self, user: &UserId, agent: &AgentId) -> Option<StopOrder> {
        self.boards.of(user).look().stops.in_force(agent).cloned()
    }

    /// Why a command for this agent is refused.
    pub(super) fn stopped(order: &StopOrder, agent: &AgentId) -> ErrorReply {
        let (by, at, reason) = (&order.by, order.at, &order.reason);
        let how = match &order.scope {
            StopScope::All => "release --all".to_owned(),
            StopScope::Agent(agent) => format!("release {agent}"),
        };
        let why = format!(
            "an emergency stop by {by} at {at} is in force ({reason}); `onsembl-server {how}` ends it"
        );
        ErrorReply::new(ErrorCode::AgentStopped, why).for_agent(Some(agent.clone()))
    }

    pub(super) fn on_release(&mut self, user: UserId, scope: &StopScope, reply: ReleaseReply) {
        let released = self.boards.of(&user).change(|content, _| content.stops.release(scope));
        let still = match scope {
            StopScope::All => None,
            StopScope::Agent(agent) => self
                .unknown_agent(&user, scope)
                .or_else(|| self.stop_of(&user, agent).map(|order| Self::stopped(&order, agent))),
        };
        for order in &released {
            info!(%user, stop = %order.id, "an emergency stop is released");
            self.tell_release(&user, order);
        }
        for (agent, _) in self.known.iter().filter(|(_, known)| known.user == user) {
            self.show_stop(&user, agent);
        }
        let (store, at) = (self.store.clone(), self.now().wall);
        self.answers.spawn(async move {
            let count = released.len();
            let stored = store.release_stops(&user, released, &user, at).await;
            let result = match (stored, still) {
                (Err(why), _) => Err(ErrorReply::new(
                    ErrorCode::StorageUnavailable,
                    format!("released, but a restart of the server would bring it back: {why}"),
                )),
                (Ok(()), Some(error)) => Err(error),
                (Ok(()), None) => Ok(ReleaseReport { released: count }),
            };
            Answer::Released { reply, result }
        });
    }
}
