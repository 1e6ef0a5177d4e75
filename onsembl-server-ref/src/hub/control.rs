//! Orders that are no commands, deletions, and tokens that ended.

use super::request::Reply;
use super::run::{Answer, Hub};
use crate::store::StoreError;
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::command::CommandEvent;
use onsembl_protocol::id::{AgentId, UserId};
use onsembl_protocol::session::Dialect;
use onsembl_protocol::supervisor::Key;
use onsembl_protocol::wire::ServerToAgent;
use onsembl_protocol::wire::payload::{
    AgentControl, ControlAction, EmergencyStop, ErrorCode, ErrorReply,
};
use std::collections::BTreeSet;
use tracing::{info, warn};

impl Hub {
    pub(super) fn on_control(&mut self, user: &UserId, control: AgentControl, reply: Reply) {
        let Some(agent) = control.agent_id.clone() else {
            let error = ErrorReply::new(ErrorCode::InvalidMessage, "the order names no agent");
            return self.answer(reply, Err(error));
        };
        let machine = match self.known.get(&agent) {
            Some(known) if known.user == *user => known.machine,
            Some(_) | None => {
                let error =
                    ErrorReply::new(ErrorCode::AgentNotFound, "no agent of yours has this id");
                return self.answer(reply, Err(error.for_agent(Some(agent))));
            }
        };
        let session = machine.and_then(|key| Some((key, self.shard.machine(key)?.dialect()?)));
        let result = match session {
            None => Err(self.offline(user, &agent)),
            Some((key, dialect)) => match self.not_obeyed(&agent, dialect, &control) {
                Some((code, why)) => Err(ErrorReply::new(code, why).for_agent(Some(agent))),
                None => {
                    info!(%agent, action = %control.action, "an order for an agent");
                    if self.shard.send(key, &ServerToAgent::Control(control)) {
                        Ok(())
                    } else {
                        Err(self.offline(user, &agent))
                    }
                }
            },
        };
        self.answer(reply, result);
    }

    /// Why an agent in session would not obey this.
    fn not_obeyed(
        &self,
        agent: &AgentId,
        dialect: Dialect,
        control: &AgentControl,
    ) -> Option<(ErrorCode, String)> {
        let unsupported = |why: &str| Some((ErrorCode::NotSupported, why.to_owned()));
        match (&control.action, dialect) {
            (ControlAction::Start, _) => {
                unsupported("an agent in session has started already; nothing was done")
            }
            (ControlAction::Unknown(action), _) => {
                unsupported(&format!("{action:?} is no order that this version knows"))
            }
            (_, Dialect::Legacy) => unsupported(
                "this agent is a legacy wrapper, which ignores orders; nothing was done",
            ),
            (ControlAction::Resize, Dialect::Extended) if control.size.is_none() => {
                let why = "RESIZE needs a `size` with `columns` and `rows`";
                Some((ErrorCode::InvalidMessage, why.to_owned()))
            }
            (ControlAction::Resize, Dialect::Extended) => {
                self.keeps_its_size(agent).and_then(unsupported)
            }
            (
                ControlAction::Stop
                | ControlAction::Restart
                | ControlAction::Pause
                | ControlAction::Resume,
                Dialect::Extended,
            ) => None,
        }
    }

    /// Cancels every open command of the user without grace, and tells the user's agents to stop
    /// all they run.
    pub(super) fn on_emergency_stop(
        &mut self,
        user: &UserId,
        mut stop: EmergencyStop,
        reply: Reply,
    ) {
        let only: BTreeSet<AgentId> = stop.affected_agents.iter().map(AgentId::new).collect();
        let meant = |agent: &AgentId| only.is_empty() || only.contains(agent);
        let machines: Vec<Key> = self
            .known
            .iter()
            .filter(|(agent, k)| k.user == *user && meant(agent))
            .filter_map(|(_, k)| k.machine)
            .collect();
        let commands: Vec<_> = self
            .commands
            .iter()
            .filter(|((owner, _), c)| owner == user && meant(&c.agent))
            .map(|(key, _)| key.clone())
            .collect();
        warn!(%user, agents = machines.len(), commands = commands.len(), "emergency stop");
        stop.triggered_by = Some(user.to_string());
        stop.timestamp = Some(self.now().wall);
        for command in commands {
            self.feed_command(&command, CommandEvent::Cancel { force: true });
        }
        for machine in machines {
            let _agents_that_are_away_run_nothing_new =
                self.shard.send(machine, &ServerToAgent::EmergencyStop(stop.clone()));
        }
        self.answer(reply, Ok(()));
    }

    pub(super) fn on_delete(&mut self, user: UserId, agent: AgentId, reply: Reply) {
        let store = self.store.clone();
        let at = self.now().wall;
        self.answers.spawn(async move {
            let deleted = store.delete_agent(&user, &agent, at).await;
            Answer::Deleted { user, agent, reply, deleted }
        });
    }

    pub(super) fn on_deleted(
        &mut self,
        user: &UserId,
        agent: &AgentId,
        reply: Reply,
        deleted: Result<bool, StoreError>,
    ) {
        let result = match deleted {
            Ok(true) => {
                info!(%agent, %user, "agent deleted");
                if let Some(machine) = self.known.get(agent).and_then(|k| k.machine) {
                    self.shard.evict(machine, CloseCause::Deleted);
                }
                let _ = self.boards.of(user).change(|content, _| content.agents.remove(agent));
                for command in self.commands_of(agent) {
                    self.feed_command(&command, CommandEvent::AgentDeleted);
                }
                Ok(())
            }
            Ok(false) => {
                Err(ErrorReply::new(ErrorCode::AgentNotFound, "no agent of yours has this id"))
            }
            Err(error) => Err(ErrorReply::new(ErrorCode::StorageUnavailable, error.to_string())),
        };
        self.answer(reply, result);
    }

    /// Ends sessions whose token has expired, and asks the store which were revoked.
    pub(super) fn check_tokens(&mut self) {
        let wall = self.now().wall;
        let mut expired = Vec::new();
        let mut tokens = BTreeSet::new();
        for (key, live) in &self.live {
            if let Some(identity) = &live.identity {
                if identity.has_expired(wall) {
                    expired.push(*key);
                } else {
                    let _ = tokens.insert(identity.token_id.clone());
                }
            }
        }
        for key in expired {
            self.counters.count("tokens_expired_in_session");
            self.shard.close_session(key, CloseCause::TokenExpired);
        }
        for token_id in tokens {
            let auth = self.auth.clone();
            self.answers.spawn(async move {
                match auth.is_revoked(&token_id).await {
                    Ok(true) => Answer::Revoked { token_id },
                    Ok(false) => Answer::Nothing,
                    Err(error) => {
                        warn!(%error, "cannot look up revoked tokens; trying again later");
                        Answer::Nothing
                    }
                }
            });
        }
    }

    pub(super) fn on_revoked(&mut self, token_id: &str) {
        let bearers: Vec<Key> = self
            .live
            .iter()
            .filter(|(_, l)| l.identity.as_ref().is_some_and(|i| i.token_id == token_id))
            .map(|(key, _)| *key)
            .collect();
        for key in bearers {
            self.counters.count("tokens_revoked_in_session");
            self.shard.evict(key, CloseCause::Revoked);
        }
    }
}
