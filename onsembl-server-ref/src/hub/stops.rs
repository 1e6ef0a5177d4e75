//! Emergency stops that hold: acted on at once, answered when they are durable, and the first thing an
//! agent hears when it comes back.

use super::run::{Answer, Hub};
use crate::store::StoreError;
use onsembl_protocol::command::CommandEvent;
use onsembl_protocol::id::{AgentId, StopId, UserId};
use onsembl_protocol::stop::{StopOrder, StopScope};
use onsembl_protocol::supervisor::Key;
use onsembl_protocol::wire::ServerToAgent;
use onsembl_protocol::wire::payload::{EmergencyStop, ErrorCode, ErrorReply};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tracing::{error, info, warn};

/// What came of a stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopReport {
    /// The order in force: this one, or an older one of the same scope.
    pub stop_id: String,
    /// Agents that were told, by name.
    pub told: Vec<String>,
    /// Agents that are away. They start nothing when they return.
    pub away: Vec<String>,
    /// Open commands that are being killed.
    pub commands: usize,
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

    pub(super) fn on_stop(
        &mut self,
        user: UserId,
        scope: StopScope,
        reason: String,
        reply: StopReply,
    ) {
        if let Some(error) = self.unknown_agent(&user, &scope) {
            return self.answer_stop(reply, Err(error));
        }
        let at = self.now().wall;
        let id = StopId::new(uuid::Uuid::now_v7().to_string());
        let order = StopOrder { id, scope, reason, by: user.clone(), at };
        let order = self.boards.of(&user).change(|content, _| content.stops.set(order).clone());
        let mut report = StopReport {
            stop_id: order.id.to_string(),
            told: Vec::new(),
            away: Vec::new(),
            commands: 0,
        };
        let mut agents: Vec<(AgentId, Option<Key>)> = Vec::new();
        for (agent, known) in &self.known {
            if known.user == user && order.scope.covers(agent) {
                agents.push((agent.clone(), known.machine));
            }
        }
        // First the word to the agents: everything else can wait.
        for (agent, machine) in &agents {
            let told = machine.is_some_and(|key| self.tell_stop(key, &order));
            let name = self.boards.of(&user).look().agents.get(agent).map(|a| a.name.clone());
            let names = if told { &mut report.told } else { &mut report.away };
            names.push(name.unwrap_or_else(|| agent.to_string()));
        }
        for (agent, _) in &agents {
            for command in self.commands_of(agent) {
                report.commands += 1;
                self.feed_command(&command, CommandEvent::Cancel { force: true });
            }
        }
        warn!(%user, stop = %order.id, told = report.told.len(), away = report.away.len(),
            commands = report.commands, reason = order.reason, "emergency stop");
        let store = self.store.clone();
        self.answers.spawn(async move {
            let stored = store.insert_stop(&user, order).await;
            Answer::Stopped { report, reply, stored }
        });
    }

    pub(super) fn on_stopped(
        &self,
        report: StopReport,
        reply: StopReply,
        stored: Result<(), StoreError>,
    ) {
        let result = stored.map(|()| report).map_err(|why| {
            self.counters.count("stops_not_stored");
            error!(%why, "an emergency stop was carried out, but is not stored");
            let text = format!(
                "the stop is in force, but would not survive a restart of the server: {why}"
            );
            ErrorReply::new(ErrorCode::StorageUnavailable, text)
        });
        self.answer_stop(reply, result);
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
            ..EmergencyStop::default()
        };
        self.shard.send(key, &ServerToAgent::EmergencyStop(stop))
    }

    /// An agent came back: before anything else it hears that it is stopped.
    pub(super) fn repeat_stop(&mut self, user: &UserId, agent: &AgentId, key: Key) {
        if let Some(order) = self.stop_of(user, agent) {
            info!(%agent, stop = %order.id, "an agent comes back to an emergency stop");
            let _told_in_the_session_that_began = self.tell_stop(key, &order);
        }
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
