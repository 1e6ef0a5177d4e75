//! Performs the actions of the worker: the one place of an agent in which commands are started and given
//! orders, and in which the journal, the spool and the local terminal are written. Decides nothing.

use super::credentials::Credentials;
use super::screen_model::{ScreenModel, Slice, Step};
use crate::executor::{
    Execution, ExecutionEvents, Executor, Job, RemoteReply, Started, TypingReply,
};
use crate::hooks::{self, HookSocket};
use crate::journal::Journal;
use crate::local_terminal::LocalTerminal;
use crate::process::{self, ProcessEvent};
use crate::spool::Spool;
use bytes::Bytes;
use onsembl_protocol::id::{CommandId, RunMark};
use onsembl_protocol::model::{Exit, Stream};
use onsembl_protocol::wire::AgentToServer;
use onsembl_protocol::wire::payload::AgentErrorReport;
use onsembl_protocol::worker::{
    Fence, JournalEntry, LineMode, Rest, ScreenAction, ScreenEvent, Severity, SomeProcesses,
    SpoolRequest, Task, TerminalSettings, Typing, TypingOutcome, Waiting, WorkerAction, WorkerEnd,
    WorkerEvent, WorkerNote,
};
use onsembl_transport::agent::AgentDriver;
use onsembl_transport::counters::Counters;
use std::collections::BTreeMap;
use tokio::sync::mpsc;

/// What actions are performed on.
pub(super) struct Effects {
    executor: Box<dyn Executor>,
    fence: Fence,
    running: BTreeMap<CommandId, Box<dyn Execution>>,
    /// Which of them is the terminal.
    terminal: Option<CommandId>,
    pub(super) journal: Option<Journal>,
    pub(super) spool: Option<Spool>,
    pub(super) screen: Option<LocalTerminal>,
    /// What the terminal shows, to answer its program by.
    model: Option<ScreenModel>,
    /// Whether the program waits for the model.
    model_waits: Waiting,
    events: mpsc::Sender<ProcessEvent<CommandId>>,
    terminal_events: mpsc::Sender<WorkerEvent>,
    /// Variables that each run gets.
    pub(super) environment: Vec<(String, String)>,
    /// Where the hooks of programs are heard.
    pub(super) hooks: Option<HookSocket>,
    pub(super) credentials: Credentials,
    counters: Counters,
}

impl Drop for Effects {
    /// Nothing is running here unless the future of the agent was dropped, or the kernel holds it: no one
    /// could end it later.
    fn drop(&mut self) {
        self.running.values_mut().for_each(|execution| execution.kill());
    }
}

impl Effects {
    pub(super) fn new(
        executor: Box<dyn Executor>,
        fence: Fence,
        events: mpsc::Sender<ProcessEvent<CommandId>>,
        terminal_events: mpsc::Sender<WorkerEvent>,
        credentials: Credentials,
        counters: Counters,
    ) -> Self {
        Self {
            executor,
            fence,
            running: BTreeMap::new(),
            terminal: None,
            journal: None,
            spool: None,
            screen: None,
            model: None,
            model_waits: Waiting::GoesOn,
            events,
            terminal_events,
            environment: Vec::new(),
            hooks: None,
            credentials,
            counters,
        }
    }

    /// What an execution says, for the worker.
    pub(super) fn event(&mut self, event: ProcessEvent<CommandId>) -> WorkerEvent {
        match event {
            ProcessEvent::Output { key, stream, bytes } => {
                WorkerEvent::Output { command: key, stream, bytes }
            }
            ProcessEvent::Ended { key, exit, group_empty, unclear, open } => {
                let rest = match (group_empty, SomeProcesses::new(unclear)) {
                    (true, _) => Rest::Ended,
                    (false, Some(unclear)) => Rest::Unclear(unclear),
                    (false, None) => Rest::Watched,
                };
                self.ended(key, exit, rest, open)
            }
            ProcessEvent::EndedUnwatched { key, exit } => {
                self.ended(key, exit, Rest::Unwatched, Vec::new())
            }
            ProcessEvent::Program { key, state } => WorkerEvent::Program { command: key, state },
            ProcessEvent::Cleared { key } => {
                self.running.remove(&key);
                WorkerEvent::Cleared(key)
            }
        }
    }

    fn ended(
        &mut self,
        command: CommandId,
        exit: Exit,
        rest: Rest,
        open: Vec<Stream>,
    ) -> WorkerEvent {
        self.end_terminal(&command);
        match rest {
            // What it left is given orders too.
            Rest::Watched | Rest::Unclear(_) => {
                self.order(&command, |execution| execution.leader_ended());
            }
            Rest::Ended | Rest::Unwatched => drop(self.running.remove(&command)),
        }
        WorkerEvent::Ended { command, exit, rest, open }
    }

    /// Performs an action: on the link, by its driver, or on something of its own. What comes of it at once comes back.
    pub(super) fn perform(
        &mut self,
        action: WorkerAction,
        driver: &mut AgentDriver,
        ended: &mut Option<WorkerEnd>,
    ) -> Option<WorkerEvent> {
        match action {
            WorkerAction::Start { command, mark, task } => {
                return Some(self.start(command, mark, task));
            }
            WorkerAction::Cancel { command, grace } => {
                self.order(&command, |execution| execution.cancel(grace));
            }
            WorkerAction::Sweep(signal) => {
                drop(tokio::task::spawn_blocking(move || process::sweep(signal)));
            }
            WorkerAction::Kill(command) => self.order(&command, |execution| execution.kill()),
            WorkerAction::PauseReading(command) => {
                tracing::debug!(%command, "the outbox is full; the command waits");
                self.order(&command, |execution| execution.set_reading(Waiting::Waits));
            }
            WorkerAction::ResumeReading(command) => {
                tracing::debug!(%command, "resumed reading from the command");
                self.order(&command, |execution| execution.set_reading(Waiting::GoesOn));
            }
            WorkerAction::Journal(entry) => return self.write(entry),
            WorkerAction::Spool(request) => return self.ask_spool(request),
            WorkerAction::Type { command, typing, required_mode } => {
                return self.type_in(command, typing, required_mode);
            }
            WorkerAction::EndPaste(_) => {
                let _ = self.of_terminal(|execution| execution.end_paste());
            }
            WorkerAction::LookAtTerminal => {
                let settings = self.of_terminal(|execution| execution.terminal_settings());
                return Some(WorkerEvent::Looked(settings.flatten()));
            }
            WorkerAction::Draw(bytes) => self.draw(Step::Draw(bytes)),
            WorkerAction::Answer(query) => self.draw(Step::Answer(query)),
            WorkerAction::TypeKeys(keys) => self.type_keys(keys),
            WorkerAction::TypeSuspending(keys) => {
                let settings = self.of_terminal(|execution| execution.terminal_settings());
                if !TerminalSettings::may_suspend(settings.flatten()) {
                    return Some(WorkerEvent::Screen(ScreenEvent::SuspendWithheld));
                }
                self.type_keys(keys);
            }
            WorkerAction::TypeRemotely(stroke) => {
                // Without a terminal the reply is dropped, which says that it is lost.
                let reply = RemoteReply::new(stroke, self.terminal_events.clone());
                let _ = self.of_terminal(|execution| execution.type_remotely(reply));
            }
            WorkerAction::Resize(size) => {
                self.draw(Step::Resize(size));
                if let Some(Err(error)) = self.of_terminal(|execution| execution.resize(size)) {
                    tracing::warn!(%error, %size, "the terminal cannot be resized");
                }
            }
            WorkerAction::WaitForScreen(waiting) => {
                let _ = self.of_terminal(|execution| execution.set_screen(waiting));
            }
            WorkerAction::Screen(action) => return self.show(action),
            WorkerAction::RenewToken(token) => self.credentials.renew(token.reveal()),
            WorkerAction::Note(note) => self.note(&note),
            WorkerAction::Complain(report) => self.complain(report, driver),
            WorkerAction::SayPaused(pausing) => driver.say_pausing(pausing),
            WorkerAction::End(end) => *ended = Some(end),
        }
        None
    }

    /// The directory was admitted by its name; this is where the links of the file system lead from there.
    fn resolve_directory(&self, task: &mut Task) -> Result<(), String> {
        let Task::Command(request) = task else { return Ok(()) };
        let Some(directory) = request.working_directory.as_ref().filter(|_| !self.fence.is_open())
        else {
            return Ok(());
        };
        // One that is not there fails where it is entered, with the system's own reason.
        let Ok(resolved) = std::fs::canonicalize(directory) else { return Ok(()) };
        let resolved = resolved.into_os_string().into_string();
        let resolved = resolved.map_err(|resolved| resolved.to_string_lossy().into_owned());
        request.working_directory = Some(self.fence.admit_resolved(directory, resolved)?);
        Ok(())
    }

    fn start(&mut self, command: CommandId, mark: RunMark, mut task: Task) -> WorkerEvent {
        if let Err(why) = self.resolve_directory(&mut task) {
            return WorkerEvent::NotStarted { command, why };
        }
        let terminal = match &task {
            Task::Terminal(size) => Some(*size),
            Task::Command(_) => None,
        };
        let events = ExecutionEvents::new(command.clone(), self.events.clone());
        let environment = self.environment_of(&command);
        let job = Job { command: command.clone(), mark, task, environment };
        match self.executor.start(job, events) {
            Ok(Started { execution, process }) => {
                let pid = process.as_ref().map(|process| process.pid);
                tracing::info!(%command, pid, "command started");
                self.running.insert(command.clone(), execution);
                if let Some(size) = terminal {
                    self.terminal = Some(command.clone());
                    // Somebody's own terminal answers for itself.
                    self.model = self.screen.is_none().then(|| ScreenModel::new(size));
                    self.model_waits = Waiting::GoesOn;
                }
                WorkerEvent::Started { command, process }
            }
            Err(why) => WorkerEvent::NotStarted { command, why },
        }
    }

    fn environment_of(&self, command: &CommandId) -> Vec<(String, String)> {
        let mut environment = self.environment.clone();
        if let Some(path) = self.hooks.as_ref().and_then(|hooks| hooks.path().to_str()) {
            environment.push((hooks::SOCKET.to_owned(), path.to_owned()));
            environment.push((hooks::RUN.to_owned(), command.as_str().to_owned()));
        }
        environment
    }

    /// One that has ended meanwhile needs no order.
    fn order(&mut self, command: &CommandId, order: impl FnOnce(&mut dyn Execution)) {
        if let Some(execution) = self.running.get_mut(command) {
            order(execution.as_mut());
        }
    }

    fn of_terminal<R>(&mut self, act: impl FnOnce(&mut dyn Execution) -> R) -> Option<R> {
        let execution = self.running.get_mut(self.terminal.as_ref()?)?;
        Some(act(execution.as_mut()))
    }

    /// Does this with the model of the terminal's screen, behind what waits to be drawn.
    fn draw(&mut self, step: Step) {
        let Some(model) = &mut self.model else { return };
        let is_next = !model.is_behind();
        model.push(step);
        if is_next {
            self.draw_on();
        }
    }

    /// Whether something waits to be drawn.
    pub(super) fn is_drawing(&self) -> bool {
        self.model.as_ref().is_some_and(ScreenModel::is_behind)
    }

    /// Draws for a moment.
    pub(super) fn draw_on(&mut self) {
        let Some(model) = &mut self.model else { return };
        let Slice { answers, failed, left_out } = model.advance();
        let waits = if model.is_behind() { Waiting::Waits } else { Waiting::GoesOn };
        if failed {
            self.counters.count("screen_model_faults");
            tracing::error!(
                "the screen model of the terminal failed and was reset; cursor positions may be wrong until the program redraws"
            );
        }
        if left_out {
            self.counters.count("screen_model_behind");
            tracing::warn!(
                "the output of the program takes too long to draw, and part of it is missing from the screen model; cursor positions may be wrong until the program redraws"
            );
        }
        for (query, answer) in answers {
            if self.of_terminal(|execution| execution.answer(answer.into())) != Some(true) {
                self.counters.count("terminal_answers_dropped");
                tracing::debug!(?query, "the program does not read the replies of its terminal");
            }
        }
        if std::mem::replace(&mut self.model_waits, waits) != waits {
            let _ = self.of_terminal(|execution| execution.set_screen(waits));
        }
    }

    /// The program of the terminal has ended, if this was its run.
    fn end_terminal(&mut self, run: &CommandId) {
        if self.terminal.take_if(|terminal| terminal == run).is_some()
            && let Some(model) = &mut self.model
        {
            model.forget();
        }
    }

    fn type_keys(&mut self, keys: Bytes) {
        if self.of_terminal(|execution| execution.type_keys(keys)) != Some(true) {
            self.counters.count("local_keys_dropped");
            tracing::warn!("the program does not read its input; keys typed here are dropped");
        }
    }

    fn type_in(
        &mut self,
        command: CommandId,
        typing: Typing,
        required_mode: Option<LineMode>,
    ) -> Option<WorkerEvent> {
        let reply = TypingReply::new(command.clone(), self.terminal_events.clone());
        let asked = self.of_terminal(|execution| execution.type_in(typing, required_mode, reply));
        let outcome = TypingOutcome::program_ended();
        asked.is_none().then_some(WorkerEvent::Typed { command, outcome })
    }

    fn write(&mut self, entry: JournalEntry) -> Option<WorkerEvent> {
        let awaited = entry.awaited();
        if self.journal.as_ref().is_some_and(|journal| journal.write(entry)) {
            return None;
        }
        let outcome = Err("the thread of the journal has ended".to_owned());
        awaited.map(|awaited| WorkerEvent::Journalled { awaited, outcome })
    }

    fn ask_spool(&mut self, request: SpoolRequest) -> Option<WorkerEvent> {
        let refused = self.spool.as_mut()?.ask(request).err()?;
        let why = "the spool's thread has ended, or its disk does not keep up";
        Some(WorkerEvent::Spool(refused.not_taken(why)))
    }

    fn show(&mut self, action: ScreenAction) -> Option<WorkerEvent> {
        let screen = self.screen.as_mut()?;
        match action {
            ScreenAction::Show(bytes) => {
                return screen.show(&bytes).then_some(WorkerEvent::Screen(ScreenEvent::Behind));
            }
            ScreenAction::Notice(text) => screen.notice(text),
            ScreenAction::LeaveBehind => screen.leave_behind(),
            ScreenAction::CaughtUp => screen.on_caught_up(),
            ScreenAction::Close => {
                self.executor.detach();
                self.screen = None;
            }
        }
        None
    }

    /// Tells the server, before everything that waits, that it asked for what cannot be done.
    fn complain(&self, report: AgentErrorReport, driver: &mut AgentDriver) {
        tracing::warn!("{}", report.message);
        if let Err(error) = driver.send(&AgentToServer::Fault(report)) {
            self.counters.count("faults_not_sent");
            tracing::warn!(%error, "the server was not notified");
        }
    }

    fn note(&self, note: &WorkerNote) {
        if let Some(counter) = note.counter() {
            self.counters.count(counter);
        }
        let command = note.command().map(tracing::field::display);
        match note.severity() {
            Severity::Debug => tracing::debug!(command, "{note}"),
            Severity::Info => tracing::info!(command, "{note}"),
            Severity::Warn => tracing::warn!(command, "{note}"),
            Severity::Error => tracing::error!(command, "{note}"),
        }
    }

    /// Waits until everything that is to be kept is on disk. Blocks; ends what still runs.
    pub(super) fn into_disk(mut self) -> impl FnOnce() + Send + 'static {
        let (journal, spool) = (self.journal.take(), self.spool.take());
        move || {
            if let Some(journal) = journal {
                journal.finish();
            }
            if let Some(spool) = spool {
                spool.finish();
            }
        }
    }
}
