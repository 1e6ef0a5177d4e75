//! Performs the actions of the worker: the one place of an agent in which commands are started and given
//! orders, and in which the journal, the spool and the local terminal are written. Decides nothing.

use super::credentials::Credentials;
use super::screen_model::Slice;
use crate::executor::{
    Execution, ExecutionEvents, Executor, Job, RemoteReply, Started, TypingReply,
};
use crate::hooks::{self, HookSocket};
use crate::journal::Journal;
use crate::local_terminal::LocalTerminal;
use crate::process;
use crate::spool::Spool;
use bytes::Bytes;
use onsembl_protocol::id::{CommandId, RunMark};
use onsembl_protocol::wire::AgentToServer;
use onsembl_protocol::wire::payload::AgentErrorReport;
use onsembl_protocol::worker::{
    Drawing, Drawn, Fence, JournalEntry, LineMode, Rest, ScreenAction, ScreenEvent, Severity,
    SpoolRequest, Task, TerminalSettings, Typing, TypingOutcome, Waiting, WorkerAction, WorkerEnd,
    WorkerEvent, WorkerNote,
};
use onsembl_transport::agent::AgentDriver;
use onsembl_transport::clock::SystemClock;
use onsembl_transport::counters::Counters;
use onsembl_transport::screen::Screen;
use std::collections::BTreeMap;
use tokio::sync::mpsc;

/// What actions are performed on.
pub(super) struct Effects {
    pub(super) executor: Box<dyn Executor>,
    pub(super) fence: Fence,
    pub(super) running: BTreeMap<CommandId, Box<dyn Execution>>,
    /// Which of them is the terminal.
    pub(super) terminal: Option<CommandId>,
    pub(super) journal: Option<Journal>,
    pub(super) spool: Option<Spool>,
    pub(super) screen: Option<LocalTerminal>,
    /// What the terminal shows, to answer its program by.
    pub(super) model: Option<(Screen, Drawing)>,
    /// For what executions say.
    pub(super) events: mpsc::Sender<WorkerEvent>,
    /// For what becomes of typing.
    pub(super) terminal_events: mpsc::Sender<WorkerEvent>,
    /// Variables that each run gets.
    pub(super) environment: Vec<(String, String)>,
    /// Where the hooks of programs are heard.
    pub(super) hooks: Option<HookSocket>,
    pub(super) credentials: Credentials,
    pub(super) clock: SystemClock,
    pub(super) counters: Counters,
}

impl Drop for Effects {
    /// Nothing is running here unless the future of the agent was dropped, or the kernel holds it: no one
    /// could end it later.
    fn drop(&mut self) {
        self.running.values_mut().for_each(|execution| execution.kill());
    }
}

impl Effects {
    /// An execution says this: what runs of it is given orders until nothing of it does.
    pub(super) fn said(&mut self, event: &WorkerEvent) {
        if let WorkerEvent::Ended { command, rest, .. } = event {
            let was_terminal = self.terminal.take_if(|terminal| terminal == command).is_some();
            if let Some((_, drawing)) = self.model.as_mut().filter(|_| was_terminal) {
                drawing.forget();
            }
            match rest {
                // What it left is given orders too.
                Rest::Watched | Rest::Unclear(_) => {
                    self.order(command, |execution| execution.leader_ended());
                }
                Rest::Ended | Rest::Unwatched => drop(self.running.remove(command)),
            }
        } else if let WorkerEvent::Cleared(command) = event {
            drop(self.running.remove(command));
        }
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
            WorkerAction::Draw(bytes) => self.draw(|drawing| drawing.draw(bytes)),
            WorkerAction::Answer(query) => self.draw(|drawing| drawing.answer(query)),
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
                self.draw(|drawing| drawing.resize(size));
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
                    let model = || (Screen::new(size), Drawing::default());
                    self.model = self.screen.is_none().then(model);
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
    fn draw(&mut self, add: impl FnOnce(&mut Drawing)) {
        let Some((_, drawing)) = &mut self.model else { return };
        let is_next = !drawing.is_behind();
        add(drawing);
        if is_next {
            self.draw_on();
        }
    }

    /// Whether something waits to be drawn.
    pub(super) fn is_drawing(&self) -> bool {
        self.model.as_ref().is_some_and(|(_, drawing)| drawing.is_behind())
    }

    /// Draws for a moment.
    pub(super) fn draw_on(&mut self) {
        let Some((screen, drawing)) = &mut self.model else { return };
        let now = self.clock.now().monotonic;
        let Drawn { answers, notes, waiting } = drawing.advance(&mut Slice::of(screen), now);
        notes.iter().for_each(|note| self.note(note));
        for (query, answer) in answers {
            if self.of_terminal(|execution| execution.answer(answer.into())) != Some(true) {
                self.counters.count("terminal_answers_dropped");
                tracing::debug!(?query, "the program does not read the replies of its terminal");
            }
        }
        if let Some(waiting) = waiting {
            let _ = self.of_terminal(|execution| execution.set_screen(waiting));
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
