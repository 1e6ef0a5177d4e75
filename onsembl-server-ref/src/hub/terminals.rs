//! Terminals that agents opened: commands that nobody sent.

use super::commands::OPEN_BY_USER;
use super::run::{Answer, Hub, OpenCommand};
use crate::store::CommandRow;
use onsembl_protocol::command::CommandLife;
use onsembl_protocol::id::{AgentId, CommandId, UserId};
use onsembl_protocol::session::Dialect;
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::payload::{CommandRequest, TerminalOpened};
use tracing::{info, warn};
use uuid::Uuid;

/// Terminals that may be open for one agent at a time: the one that it has, and those of which an
/// earlier process of it could not report the end.
const OPEN_BY_AGENT: usize = 64;

impl Hub {
    /// An agent has a terminal, as it says in each session until the end of it is acknowledged.
    pub(super) fn on_terminal_opened(
        &mut self,
        user: UserId,
        agent: &AgentId,
        opened: TerminalOpened,
    ) {
        let id = opened.command_id;
        if !id.is_terminal() {
            self.counters.count("terminals_under_foreign_ids");
            warn!(%agent, command = %id, "an agent opened a terminal under an id that no terminal has; it is not taken");
            return;
        }
        let key = (user, id);
        if self.is_of(agent, &key) && !self.commands.contains_key(&key) {
            let at = opened.opened_at.unwrap_or(self.now().wall);
            let _not_taken_if_too_much_is_open =
                self.open_terminal(key, agent, Dialect::Extended, opened.program, at);
        }
    }

    /// What a legacy wrapper writes beside its commands belongs to a terminal that it does not know
    /// of: here it is one as long as the wrapper is there.
    pub(super) fn terminal_of_wrapper(&mut self, user: &UserId, agent: &AgentId) -> CommandId {
        let open = |c: &OpenCommand| {
            c.agent == *agent && c.request.is_of_terminal() && !c.life.view().status.is_final()
        };
        let mut of_user = self.commands.iter().filter(|(key, _)| key.0 == *user);
        if let Some((key, _)) = of_user.find(|(_, command)| open(command)) {
            return key.1.clone();
        }
        let id = CommandId::of_terminal(Uuid::now_v7());
        let (key, now) = ((user.clone(), id.clone()), self.now().wall);
        let program = "a legacy wrapper".to_owned();
        if self.open_terminal(key, agent, Dialect::Legacy, program, now) {
            id
        } else {
            CommandId::of_session(agent)
        }
    }

    fn open_terminal(
        &mut self,
        key: (UserId, CommandId),
        agent: &AgentId,
        dialect: Dialect,
        program: String,
        opened_at: WallTime,
    ) -> bool {
        let id = key.1.clone();
        let of_agent = |c: &OpenCommand| c.agent == *agent && c.request.is_of_terminal();
        let open = self.commands.values().filter(|c| of_agent(c)).count();
        if open >= OPEN_BY_AGENT || self.open_of(&key.0) >= OPEN_BY_USER {
            self.counters.count("terminals_refused");
            warn!(%agent, command = %id, open, "too much is open; a terminal of this agent is not taken");
            return false;
        }
        let now = self.now();
        let life = CommandLife::opened(dialect, now);
        let request = CommandRequest {
            user_id: Some(key.0.clone()),
            ..CommandRequest::new(id.clone(), agent.clone(), program)
        };
        let row = CommandRow {
            user: key.0.clone(),
            command: id.clone(),
            agent: agent.clone(),
            text: request.text.clone(),
            spec: serde_json::to_value(&request).unwrap_or_default(),
            status: life.view().status.phase().as_str().to_owned(),
            cause: Some(life.view().because.to_string()),
            exit_code: None,
            signal: None,
            created_at: opened_at.min(now.wall),
            updated_at: now.wall,
            ended_at: None,
        };
        info!(command = %id, %agent, "an agent has a terminal");
        // What it writes is kept from now on.
        self.post_command(&key, agent.clone(), life.view());
        let open = OpenCommand {
            deadline: life.deadline(),
            life,
            agent: agent.clone(),
            dialect,
            request: Box::new(request),
            stored: false,
            replies: Vec::new(),
        };
        let _ = self.commands.insert(key.clone(), open);
        let store = self.store.clone();
        self.answers.spawn(async move {
            let (user, command) = key;
            Answer::Inserted { user, command, inserted: store.insert_command(row).await }
        });
        true
    }
}
