//! Terminals that agents opened: commands that nobody sent; and output that belongs to none.

use super::commands::CommandKey;
use super::ledger::Entry;
use super::run::{Hub, OpenCommand};
use crate::store::CommandRow;
use onsembl_protocol::command::{CommandLife, CommandStage};
use onsembl_protocol::id::{AgentId, CommandId, UserId};
use onsembl_protocol::output::OutputLog;
use onsembl_protocol::session::{Dialect, ServerView};
use onsembl_protocol::terminal::TERMINAL_PREFIX;
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::ServerToAgent;
use onsembl_protocol::wire::payload::{
    CommandPhase, CommandRequest, ErrorCode, ErrorReply, TerminalOpened,
};
use tracing::{info, warn};
use uuid::Uuid;

/// Terminals that may be open for one agent at a time: the one that it has, and those of which it
/// could not report the end yet. One that crashes all the time without a server opens a new one every
/// 30 s, so that these are more than eight hours of it.
const OPEN_BY_AGENT: usize = 1024;
/// Those of which the end is not stored yet, besides them.
const ENDING_OF_AGENT: usize = 1024;
/// Terminals that may be open for all agents of a user: a large fleet, each with one.
const TERMINALS_OF_USER: usize = 4096;
/// Unknown commands that an agent is told of once only in a session. With more it may be told twice.
const TOLD: usize = 1024;

impl Hub {
    /// Why the terminal of this agent cannot be resized from here, if it cannot.
    pub(super) fn keeps_its_size(&self, agent: &AgentId) -> Option<&'static str> {
        let runs = |c: &OpenCommand| c.life.view().status == CommandStage::Running;
        let mut own = self
            .commands
            .iter()
            .filter(|(_, c)| c.agent == *agent && c.request.is_of_terminal() && runs(c))
            .peekable();
        if !self.knows_terminals(agent) {
            Some("this agent knows no terminals, so it has none to resize; nothing was done")
        } else if own.peek().is_none() {
            Some("this agent has no terminal to resize now; nothing was done")
        } else if own.any(|(key, _)| self.attached(agent) == Some(&key.1)) {
            Some(
                "this agent is attached to a terminal of its own machine, which decides the size; nothing was done",
            )
        } else {
            None
        }
    }

    fn attached(&self, agent: &AgentId) -> Option<&CommandId> {
        let machine = self.known.get(agent)?.machine?;
        self.live.get(&machine)?.attached.as_ref()
    }

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
        if opened.attached
            && let Some(machine) = self.known.get(agent).and_then(|known| known.machine)
            && let Some(live) = self.live.get_mut(&machine)
        {
            live.attached = Some(id.clone());
        }
        let key = (user, id.clone());
        if self.is_of(agent, &key) && !self.commands.contains_key(&key) {
            let at = opened.opened_at.unwrap_or(self.now().wall);
            let program = opened.program;
            if !self.open_terminal(&key, agent, Dialect::Extended, program, at) {
                self.tell_unknown(agent, &id);
            }
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
        if self.open_terminal(&key, agent, Dialect::Legacy, program, now) {
            id
        } else {
            CommandId::of_session(agent)
        }
    }

    fn open_terminal(
        &mut self,
        key: &CommandKey,
        agent: &AgentId,
        dialect: Dialect,
        program: String,
        opened_at: WallTime,
    ) -> bool {
        let id = key.1.clone();
        if !self.make_room(key, agent) {
            self.counters.count("terminals_refused");
            warn!(%agent, command = %id, "too many terminals are open; one of this agent is not taken");
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
        // One that is not shown may be in the database all the same: its agent did not hear of its end.
        if dialect == Dialect::Extended && !self.boards.of(&key.0).look().commands.contains_key(&id)
        {
            self.ask_place(key, agent);
        }
        // What it writes is kept from now on.
        self.post_command(key, agent.clone(), life.view());
        let open = OpenCommand {
            deadline: life.deadline(),
            life,
            agent: agent.clone(),
            dialect,
            request: Box::new(request),
            stored: false,
            given_up: false,
            replies: Vec::new(),
        };
        let _ = self.commands.insert(key.clone(), open);
        // It writes at once, and what it writes takes the same way.
        self.ledger.write(Entry::Terminal(Box::new(row)));
        true
    }

    /// Whether this agent may open one more terminal. If too many are open, the oldest is given up: an
    /// agent says what it has oldest first, and the last of them is the one that lives.
    fn make_room(&mut self, new: &CommandKey, agent: &AgentId) -> bool {
        let first = (new.0.clone(), CommandId::new(TERMINAL_PREFIX));
        let of_user = self
            .commands
            .range(first..)
            .take_while(|(key, _)| key.0 == new.0 && key.1.is_terminal());
        let (mut of_all, mut ending, mut open, mut oldest) = (0, 0, 0, None);
        for (key, command) in of_user {
            of_all += 1;
            if command.agent != *agent {
                continue;
            }
            let is_going = self.unplaced.get(key).is_some_and(|unplaced| unplaced.given_up);
            if is_going || command.life.view().status.is_final() {
                ending += 1;
            } else {
                open += 1;
                // Their ids grow with the time (UUID version 7).
                let _ = oldest.get_or_insert(key);
            }
        }
        if of_all >= TERMINALS_OF_USER || ending >= ENDING_OF_AGENT {
            return false;
        }
        match oldest.cloned() {
            Some(oldest) if open >= OPEN_BY_AGENT => {
                let older = oldest.1 < new.1;
                if older {
                    self.give_up_terminal(&oldest, agent);
                }
                older
            }
            Some(_) | None => true,
        }
    }

    /// Ends a terminal that its agent may still have. It is told to drop it when the end is stored: what
    /// is stored of its output would else end where nobody says that it does.
    pub(super) fn give_up_terminal(&mut self, key: &CommandKey, agent: &AgentId) {
        if let Some(unplaced) = self.unplaced.get_mut(key) {
            unplaced.given_up = true;
            return;
        }
        self.counters.count("terminals_given_up");
        warn!(%agent, command = %key.1, "too many terminals of this agent are open; the oldest is given up");
        let machine = self.known.get(agent).and_then(|known| known.machine);
        self.give_up_output(machine, key);
        if let Some(open) = self.commands.get_mut(key) {
            open.given_up = true;
        }
        let why = "too many terminals of its agent were open, and it was the oldest";
        self.end_because(key, CommandPhase::Lost, why);
    }

    /// Whether an agent in session knows terminals.
    pub(super) fn knows_terminals(&self, agent: &AgentId) -> bool {
        let live = self.known.get(agent).and_then(|known| self.live.get(&known.machine?));
        live.is_some_and(|live| live.knows_terminals)
    }

    /// The database refuses output because it knows no such command. Nothing of it will ever be stored,
    /// so nothing of it is acknowledged.
    pub(super) fn on_output_of_nothing(&mut self, key: &CommandKey) {
        let Some(agent) = self.drop_output(key) else { return };
        self.tell_unknown(&agent, &key.1);
        if self.commands.get(key).is_some_and(|open| open.stored) {
            self.end_because(key, CommandPhase::Lost, "the database does not have it any more");
        }
    }

    /// Forgets the output of a command that cannot be stored, and the command as far as it is shown for
    /// its output only. Whose it is comes back.
    pub(super) fn drop_output(&mut self, key: &CommandKey) -> Option<AgentId> {
        let known = self.commands.contains_key(key);
        let (agent, waiting) = self.boards.of(&key.0).change(|content, _| {
            let entry = content.commands.get_mut(&key.1)?;
            let log = std::mem::replace(&mut entry.log, OutputLog::resumed());
            let dropped = (entry.agent.clone(), log.waiting());
            if !known {
                let _ = content.commands.remove(&key.1);
            }
            Some(dropped)
        })?;
        self.release(&agent, waiting);
        Some(agent)
    }

    /// Tells an agent, once in a session, that nobody here knows this command: what it keeps of it
    /// would be sent for ever.
    pub(super) fn tell_unknown(&mut self, agent: &AgentId, command: &CommandId) {
        let Some(machine) = self.known.get(agent).and_then(|known| known.machine) else { return };
        if self.shard.machine(machine).and_then(ServerView::dialect) != Some(Dialect::Extended) {
            return;
        }
        let Some(live) = self.live.get_mut(&machine) else { return };
        if live.told_unknown.contains(command) {
            return;
        }
        let why = "this server does not have this command and will not take its output; drop both";
        let error = ErrorReply::new(ErrorCode::CommandNotFound, why);
        let error = error.for_command(Some(command.clone()));
        if self.shard.send(machine, &ServerToAgent::Error(error)) {
            self.counters.count("unknown_commands_told");
            if live.told_unknown.len() >= TOLD {
                live.told_unknown.clear();
            }
            let _ = live.told_unknown.insert(command.clone());
        }
    }
}
