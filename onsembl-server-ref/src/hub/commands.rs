//! Commands: from a user's wish to an agent and back.

use super::ledger::{Done, Entry};
use super::output::Sender;
use super::placing::Heard;
use super::request::Reply;
use super::run::{Answer, Hub, OpenCommand};
use crate::board::CommandEntry;
use crate::store::{CommandRow, CommandUpdate, Inserted, StoreError};
use onsembl_protocol::command::{
    Candidate, CommandAction, CommandCause, CommandEvent, CommandLife, CommandStage, CommandTerms,
    CommandView, Exit, Unroutable, choose_agent,
};
use onsembl_protocol::id::{AgentId, CommandId, UserId};
use onsembl_protocol::output::{OutputLog, Written};
use onsembl_protocol::session::Dialect;
use onsembl_protocol::supervisor::Key;
use onsembl_protocol::terminal::TERMINAL_PREFIX;
use onsembl_protocol::time::Deadline;
use onsembl_protocol::wire::ServerToAgent;
use onsembl_protocol::wire::payload::{
    Ack, CommandCancel, CommandComplete, CommandInput, CommandPhase, CommandRequest, ErrorCode,
    ErrorReply, OfflinePolicy,
};
use serde_json::Value;
use std::time::Duration;
use tracing::{debug, info, warn};

/// Commands that may be open for one user at a time; terminals are none of them.
const OPEN_BY_USER: usize = 1024;
/// Ended commands that stay on a board, for dashboards that come a little late.
const ENDED_KEPT: usize = 256;

pub(super) type CommandKey = (UserId, CommandId);

/// What the sender of a command asked for.
pub(super) fn terms(request: &CommandRequest) -> CommandTerms {
    let start_within = request.start_within_ms.map(Duration::from_millis);
    CommandTerms {
        time_limit: request.constraints.time_limit_ms.map(Duration::from_millis),
        start_within: start_within
            .map_or(CommandTerms::START_WITHIN, |asked| asked.min(CommandTerms::START_WITHIN)),
    }
}

/// The request as it is read back after a restart. The numbers of the wire do not tell an emergency from
/// what is merely urgent, so the priority is a word here.
fn spec(request: &CommandRequest) -> Value {
    let mut spec = serde_json::to_value(request).unwrap_or_default();
    if let (Some(fields), Ok(word)) = (spec.as_object_mut(), serde_json::to_value(request.priority))
    {
        let _ = fields.insert("priority".to_owned(), word);
    }
    spec
}

impl Hub {
    pub(super) fn on_command(
        &mut self,
        user: UserId,
        mut request: Box<CommandRequest>,
        reply: Reply,
    ) {
        let Some(id) = request.command_id.clone() else {
            let why =
                "the request has no `commandId`; without one it cannot be told from its repetition";
            return self.answer(reply, Err(ErrorReply::new(ErrorCode::InvalidMessage, why)));
        };
        if id.is_terminal() {
            let why = format!(
                "ids that begin with {TERMINAL_PREFIX:?} are of terminals, which agents open by themselves; name the command otherwise"
            );
            return self.answer(reply, Err(ErrorReply::new(ErrorCode::InvalidMessage, why)));
        }
        let key = (user.clone(), id.clone());
        if let Some(open) = self.commands.get_mut(&key) {
            debug!(command = %id, "a command that is open already was asked for again");
            if open.stored {
                return self.answer(reply, Ok(()));
            }
            return open.replies.push(reply);
        }
        let board = self.boards.of(&user);
        let shown = board.look().commands.get(&id).and_then(|entry| entry.view);
        if shown.is_some_and(|view| view.status.is_final()) {
            // Whether its agent would take another one now says nothing of this one.
            debug!(command = %id, "a command that ended lately was asked for again");
            return self.answer(reply, Ok(()));
        }
        let refusal = |error: ErrorReply| Err(error.for_command(Some(id.clone())));
        let agent = match self.choose(&user, request.agent_id.as_ref()) {
            Ok(agent) => agent,
            Err(error) => return self.answer(reply, refusal(error)),
        };
        if self.open_of(&user) >= OPEN_BY_USER {
            let why = format!("{OPEN_BY_USER} commands of yours are open; wait for some to end");
            return self.answer(reply, refusal(ErrorReply::new(ErrorCode::QueueFull, why)));
        }
        if let Some(order) = self.stop_of(&user, &agent) {
            return self.answer(reply, refusal(Self::stopped(&order, &agent)));
        }
        let session = self.dialect_of(&agent);
        let waits = match &request.offline {
            Some(OfflinePolicy::Refuse) => false,
            // Only an agent with a journal can be asked again without risk.
            Some(OfflinePolicy::Queue | OfflinePolicy::Unknown(_)) | None => {
                self.known.get(&agent).is_some_and(|known| known.journal.is_some())
            }
        };
        let Some(dialect) = session.or(waits.then_some(Dialect::Extended)) else {
            return self.answer(reply, refusal(self.offline(&user, &agent)));
        };
        if session.is_some()
            && let Some(why) = self.misread(&agent, dialect, request.input.as_ref())
        {
            return self.answer(reply, refusal(ErrorReply::new(ErrorCode::NotSupported, why)));
        }
        if dialect == Dialect::Legacy
            && (request.working_directory.is_some() || !request.env.is_empty())
        {
            let why = "this agent is a legacy wrapper, which obeys neither `workingDirectory` nor `env`; \
                       put them into the command itself";
            return self.answer(reply, refusal(ErrorReply::new(ErrorCode::NotSupported, why)));
        }
        request.agent_id = Some(agent.clone());
        request.user_id = Some(user.clone());
        let now = self.now();
        let life = CommandLife::new(dialect, terms(&request), session.is_some(), now);
        let row = CommandRow {
            user: user.clone(),
            command: id.clone(),
            agent: agent.clone(),
            text: request.text.clone(),
            spec: spec(&request),
            status: life.view().status.phase().as_str().to_owned(),
            cause: Some(life.view().because.to_string()),
            exit_code: None,
            signal: None,
            created_at: now.wall,
            updated_at: now.wall,
            ended_at: None,
        };
        info!(command = %id, %agent, %user, "command accepted, being stored");
        let open = OpenCommand {
            deadline: life.deadline(),
            life,
            agent,
            dialect,
            request,
            stored: false,
            given_up: false,
            replies: vec![reply],
        };
        let _ = self.commands.insert(key, open);
        let store = self.store.clone();
        self.answers.spawn(async move {
            Answer::Inserted { user, command: id, inserted: store.insert_command(row).await }
        });
    }

    pub(super) fn on_inserted(
        &mut self,
        user: UserId,
        command: CommandId,
        inserted: Result<Inserted, StoreError>,
    ) {
        let key = (user, command);
        match inserted {
            Ok(Inserted::New) => {
                let Some(open) = self.commands.get_mut(&key) else { return };
                open.stored = true;
                let (agent, view) = (open.agent.clone(), open.life.view());
                if view.status.is_final() {
                    // It ended while the database did not take it. Its row must say so, or it
                    // would be run after the next start.
                    return self.publish_command(&key, view);
                }
                let replies = std::mem::take(&mut open.replies);
                self.post_command(&key, agent, view);
                replies.into_iter().for_each(|reply| self.answer(reply, Ok(())));
                self.feed_command(&key, CommandEvent::Stored);
            }
            Ok(Inserted::Existing(row)) => {
                debug!(command = %key.1, status = row.status, "a command that is over was asked for again");
                if let Some(open) = self.commands.remove(&key) {
                    self.leave_line(&open.agent, &key);
                    open.replies.into_iter().for_each(|reply| self.answer(reply, Ok(())));
                    if open.request.is_of_terminal()
                        && let Some(machine) = self.known.get(&open.agent).and_then(|k| k.machine)
                    {
                        // It is over here, so it must not go on there.
                        self.cancel_at(machine, &key.1, true);
                    }
                    let is_shown = self.boards.of(&key.0).look().commands.contains_key(&key.1);
                    self.post_ended(&key, &row, OutputLog::default());
                    if !is_shown {
                        self.ask_place(&key, &row.agent);
                    }
                }
            }
            Err(error) => {
                self.counters.count("commands_not_stored");
                warn!(command = %key.1, %error, "a command could not be stored");
                let Some(mut open) = self.commands.remove(&key) else { return };
                self.leave_line(&open.agent, &key);
                if open.request.is_of_terminal() {
                    self.drop_output(&key);
                    if matches!(error, StoreError::Refused(_)) {
                        self.tell_unknown(&open.agent, &key.1);
                    }
                }
                for reply in open.replies.drain(..) {
                    let error = ErrorReply::new(ErrorCode::StorageUnavailable, error.to_string());
                    self.answer(reply, Err(error.for_command(Some(key.1.clone()))));
                }
            }
        }
    }

    /// Commands that this user sent and that are not over.
    fn open_of(&self, user: &UserId) -> usize {
        let first = (user.clone(), CommandId::new(""));
        let all = self.commands.range(first..).take_while(|(key, _)| key.0 == *user);
        all.filter(|(_, command)| !command.request.is_of_terminal()).count()
    }

    /// Why an agent is not to get what is typed so: it would take it for a text.
    fn misread(
        &self,
        agent: &AgentId,
        dialect: Dialect,
        input: Option<&CommandInput>,
    ) -> Option<&'static str> {
        match input {
            None | Some(CommandInput::Text) => None,
            Some(CommandInput::Keys | CommandInput::Unknown(_)) => match dialect {
                Dialect::Legacy => Some(
                    "this agent is a legacy wrapper, which takes a text only and would type the names of keys; nothing was done",
                ),
                Dialect::Extended if self.knows_terminals(agent) => None,
                Dialect::Extended => Some(
                    "this agent knows no terminals and would take the names of keys for a text; nothing was done",
                ),
            },
        }
    }

    fn choose(&self, user: &UserId, wanted: Option<&AgentId>) -> Result<AgentId, ErrorReply> {
        let board = self.boards.of(user);
        let content = board.look();
        let candidates: Vec<Candidate<'_>> = content
            .agents
            .iter()
            .map(|(id, a)| Candidate {
                id,
                name: &a.name,
                aliases: &a.aliases,
                available: a.presence.status.takes_commands(),
            })
            .collect();
        choose_agent(wanted, &candidates).cloned().map_err(|error| {
            let code = match &error {
                Unroutable::NotFound(_) => ErrorCode::AgentNotFound,
                Unroutable::Ambiguous { .. } | Unroutable::Unnamed(_) => ErrorCode::AgentAmbiguous,
            };
            ErrorReply::new(code, error.to_string()).for_agent(wanted.cloned())
        })
    }

    /// What the agent speaks, if it takes commands now.
    fn dialect_of(&self, agent: &AgentId) -> Option<Dialect> {
        let machine = self.shard.machine(self.known.get(agent)?.machine?)?;
        machine.dialect().filter(|_| machine.presence().status.takes_commands())
    }

    pub(super) fn offline(&self, user: &UserId, agent: &AgentId) -> ErrorReply {
        let board = self.boards.of(user);
        let shown = board.look().agents.get(agent).map(|a| {
            format!("the agent is {} ({})", a.presence.status.as_str(), a.presence.because)
        });
        let why = shown.unwrap_or_else(|| "the agent is not known".to_owned());
        let why = format!("{why}; try again when it is online");
        ErrorReply::new(ErrorCode::AgentOffline, why).for_agent(Some(agent.clone()))
    }

    pub(super) fn on_cancel(&mut self, user: &UserId, cancel: &CommandCancel, reply: Reply) {
        let key = (user.clone(), cancel.command_id.clone());
        if self.commands.contains_key(&key) {
            self.feed_command(&key, CommandEvent::Cancel { force: cancel.force });
            return self.answer(reply, Ok(()));
        }
        let ended = self.boards.of(user).look().commands.contains_key(&key.1);
        if ended {
            return self.answer(reply, Ok(()));
        }
        let why = "no open command of yours has this id";
        let error = ErrorReply::new(ErrorCode::CommandNotFound, why).for_command(Some(key.1));
        self.answer(reply, Err(error));
    }

    pub(super) fn on_complete(&mut self, from: Sender, report: CommandComplete) {
        let of_user = (from.user.clone(), report.command_id.clone());
        let heard = Heard::Complete(from, report);
        let Some(Heard::Complete(from, report)) = self.hold(&of_user, heard) else { return };
        let Sender { key, user, agent } = from;
        let exit = match (report.exit_code, report.signal) {
            (_, Some(signal)) => Some(Exit::Signal(signal)),
            (Some(code), None) => Some(Exit::Code(code)),
            (None, None) => None,
        };
        let command = (user, report.command_id.clone());
        if let Some(error) = &report.error {
            debug!(command = %report.command_id, error, "the agent says why");
        }
        let detail = report.error.clone();
        if !self.is_of(&agent, &command) {
            return;
        }
        if self.commands.contains_key(&command) {
            self.finish_output(key, &command, Written::of(&report));
            self.boards.of(&command.0).touch(|content| {
                if let Some(entry) = content.commands.get_mut(&command.1) {
                    entry.detail = detail;
                }
            });
            let event = CommandEvent::Completed { phase: report.status, exit };
            self.feed_command(&command, event);
        } else {
            // It is over here already; the agent only wants to hear that.
            self.confirm(key, &report.command_id);
        }
    }

    /// Whether this agent may report on this command: not if it is another agent's.
    pub(super) fn is_of(&self, agent: &AgentId, command: &CommandKey) -> bool {
        let own = self.commands.get(command).is_none_or(|open| open.agent == *agent);
        if !own {
            self.refuse_foreign(agent, &command.1);
        }
        own
    }

    pub(super) fn refuse_foreign(&self, agent: &AgentId, command: &CommandId) {
        self.counters.count("reports_on_foreign_commands");
        warn!(%agent, %command, "an agent speaks of a command of another agent; it is not heard");
    }

    fn confirm(&mut self, key: Key, command: &CommandId) {
        let ack = Ack { command_id: Some(command.clone()), success: true, ..Ack::default() };
        if !self.shard.send(key, &ServerToAgent::Ack(ack)) {
            debug!(%command, "no session to confirm an end in; the agent will report again");
        }
    }

    pub(super) fn on_done(&mut self, done: Done) {
        match done {
            Done::CommandEnd { user, command } => {
                let key = (user, command);
                let Some(open) = self.commands.remove(&key) else { return };
                self.leave_line(&open.agent, &key);
                if open.given_up {
                    self.tell_unknown(&open.agent, &key.1);
                } else if let Some(machine) = self.known.get(&open.agent).and_then(|k| k.machine) {
                    self.confirm(machine, &key.1);
                }
            }
            Done::Inserted { user, command, inserted } => {
                self.on_inserted(user, command, *inserted);
            }
        }
    }

    pub(super) fn commands_of(&self, agent: &AgentId) -> Vec<CommandKey> {
        self.commands.iter().filter(|(_, c)| c.agent == *agent).map(|(k, _)| k.clone()).collect()
    }

    pub(super) fn feed_command(&mut self, key: &CommandKey, event: CommandEvent) {
        let now = self.now();
        let Some(open) = self.commands.get_mut(key) else { return };
        let step = open.life.handle(event, now);
        open.deadline = step.deadline;
        self.perform_all(key, step.actions);
        self.line_up(key);
    }

    pub(super) fn perform_command(&mut self, key: &CommandKey, action: CommandAction) {
        match action {
            CommandAction::Send => self.send_command(key),
            CommandAction::SendCancel { force } => {
                let agent = self.commands.get(key).map(|c| c.agent.clone());
                if let Some(machine) = agent.and_then(|a| self.known.get(&a)?.machine) {
                    self.cancel_at(machine, &key.1, force);
                }
            }
            CommandAction::Publish(view) => self.publish_command(key, view),
        }
    }

    pub(super) fn cancel_at(&mut self, machine: Key, command: &CommandId, force: bool) {
        let cancel = CommandCancel {
            command_id: command.clone(),
            agent_id: None,
            reason: Some("cancelled".to_owned()),
            force,
        };
        if !self.shard.send(machine, &ServerToAgent::CommandCancel(cancel)) {
            debug!(%command, "no session to cancel in; it is sent again when there is one");
        }
    }

    fn send_command(&mut self, key: &CommandKey) {
        let Some(open) = self.commands.get(key) else { return };
        if self.stop_of(&key.0, &open.agent).is_some() {
            debug!(command = %key.1, "not sent: an emergency stop is in force");
            let phase = CommandPhase::Cancelled;
            return self.feed_command(key, CommandEvent::Completed { phase, exit: None });
        }
        let mut request = (*open.request).clone();
        let (agent, dialect) = (open.agent.clone(), open.dialect);
        if let Some(why) = self.misread(&agent, dialect, request.input.as_ref()) {
            // It waited for an agent that came back as another.
            return self.end_because(key, CommandPhase::Failed, why);
        }
        if dialect == Dialect::Legacy {
            // A legacy wrapper types the text and uses nothing else.
            for argument in std::mem::take(&mut request.args) {
                request.text.push(' ');
                request.text.push_str(&argument);
            }
            let others = self.commands_of(&agent);
            for other in others.iter().filter(|o| *o != key) {
                self.feed_command(other, CommandEvent::NextCommand);
            }
        }
        let Some(machine) = self.known.get(&agent).and_then(|k| k.machine) else { return };
        if self.shard.send(machine, &ServerToAgent::CommandRequest(request)) {
            info!(command = %key.1, %agent, "command sent");
        } else {
            debug!(command = %key.1, %agent, "no session to send a command in");
        }
    }

    /// Ends a command for a reason of this server's.
    pub(super) fn end_because(&mut self, key: &CommandKey, phase: CommandPhase, why: &str) {
        self.boards.of(&key.0).touch(|content| {
            if let Some(entry) = content.commands.get_mut(&key.1) {
                entry.detail = Some(why.to_owned());
            }
        });
        self.feed_command(key, CommandEvent::Completed { phase, exit: None });
    }

    fn publish_command(&mut self, key: &CommandKey, view: CommandView) {
        info!(command = %key.1, status = view.status.phase().as_str(), because = %view.because, "command");
        let Some(open) = self.commands.get_mut(key) else { return };
        let (agent, stored) = (open.agent.clone(), open.stored);
        let replies =
            if view.status.is_final() { std::mem::take(&mut open.replies) } else { Vec::new() };
        for reply in replies {
            let error = ErrorReply::new(ErrorCode::StorageUnavailable, view.because.to_string());
            self.answer(reply, Err(error.for_command(Some(key.1.clone()))));
        }
        self.post_command(key, agent, view);
        if !stored {
            // Its row is not there yet. If it never comes, neither must an update; if it comes
            // late, what is decided by then is written behind it.
            return;
        }
        let (exit_code, signal) = match view.exit {
            Some(Exit::Code(code)) => (Some(code), None),
            Some(Exit::Signal(signal)) => (None, Some(signal)),
            None => (None, None),
        };
        let ended = view.status.is_final();
        let (user, command) = key.clone();
        let then = ended.then(|| Done::CommandEnd { user: user.clone(), command: command.clone() });
        let detail = self.boards.of(&user).look().commands.get(&command).map(|e| e.because(&view));
        let update = CommandUpdate {
            status: view.status.phase().as_str().to_owned(),
            cause: Some(detail.unwrap_or_else(|| view.because.to_string())),
            exit_code,
            signal,
            at: self.now().wall,
            ended,
        };
        self.ledger.write(Entry::Command { user, command, update, then });
    }

    pub(super) fn post_command(&self, key: &CommandKey, agent: AgentId, view: CommandView) {
        self.boards.of(&key.0).change(|content, revision| {
            let entry = content.commands.entry(key.1.clone()).or_insert_with(|| CommandEntry {
                agent,
                view: None,
                detail: None,
                log: OutputLog::default(),
                revision,
            });
            entry.view = Some(view);
            entry.revision = revision;
            let ended = |e: &CommandEntry| e.view.is_some_and(|v| v.status.is_final());
            while content.commands.values().filter(|e| ended(e)).count() > ENDED_KEPT {
                let oldest = content
                    .commands
                    .iter()
                    .filter(|(_, e)| ended(e) && e.log.unstored() == 0)
                    .min_by_key(|(_, e)| e.revision)
                    .map(|(id, _)| id.clone());
                match oldest {
                    Some(id) => drop(content.commands.remove(&id)),
                    None => break,
                }
            }
        });
    }

    /// Shows a command that ended earlier, as the store has it, to those who ask for it again.
    pub(super) fn post_ended(&self, key: &CommandKey, row: &CommandRow, log: OutputLog) {
        let exit = row.signal.map(Exit::Signal).or(row.exit_code.map(Exit::Code));
        let stage = CommandStage::of(&CommandPhase::parse(&row.status));
        let status = if stage.is_final() { stage } else { CommandStage::Unknown };
        let view = CommandView {
            status,
            because: CommandCause::AgentReported(exit),
            exit,
            started_at: Some(row.created_at),
            ended_at: row.ended_at,
        };
        self.boards.of(&key.0).change(|content, revision| {
            let entry = content.commands.entry(key.1.clone()).or_insert_with(|| CommandEntry {
                agent: row.agent.clone(),
                view: None,
                detail: None,
                log,
                revision,
            });
            entry.view = Some(view);
            entry.revision = revision;
        });
    }

    pub(super) fn command_deadline(&self) -> Deadline {
        self.commands.values().map(|c| c.deadline).fold(Deadline::Never, Deadline::min)
    }

    pub(super) fn wake_commands(&mut self) {
        let at = self.now().monotonic;
        let due: Vec<CommandKey> = self
            .commands
            .iter()
            .filter(|(_, c)| c.deadline.is_due(at))
            .map(|(k, _)| k.clone())
            .collect();
        for key in due {
            self.feed_command(&key, CommandEvent::Wake);
        }
    }
}
