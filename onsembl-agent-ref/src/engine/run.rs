//! The run loop of an agent: waits for what happens, tells the worker, has its actions performed and its
//! messages sent.

use super::credentials::Credentials;
use super::perform::Effects;
use super::start::{Found, Kept, listen};
use crate::executor::{Executor, TerminalProgram};
use crate::host_metrics::{self, Load};
use crate::journal::JournalEvent;
use crate::local_terminal::{self, LocalTerminal};
use crate::options::{AgentEnd, AgentError, AgentOptions, ControlInbox, ControlRequest};
use crate::process::ProcessEvent;
use crate::state_dir::StateDir;
use crate::status_file::{Haste, StatusWriter, public_server};
use crate::traces::Traces;
use onsembl_protocol::id::{CommandId, InstanceId};
use onsembl_protocol::model::{AGENT_FEATURES, Feature};
use onsembl_protocol::session::AgentStatus;
use onsembl_protocol::worker::{
    Screen, ScreenEvent, SpoolEvent, TerminalConfig, Worker, WorkerConfig, WorkerEnd, WorkerEvent,
    WorkerMessage,
};
use onsembl_transport::agent::{AgentDriver, AgentNotice, AgentProfile, DriverConfig, SendError};
use onsembl_transport::clock::SystemClock;
use onsembl_transport::counters::Counters;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use uuid::Uuid;

/// How long the last link may take to close. Above the link's own close timeout.
const FAREWELL: Duration = Duration::from_secs(3);

/// Events of executions that may wait for the engine, of up to 16 KiB each; then the processes feel it.
/// With the one that each of 64 processes may hold, the outbox can be overrun by 1.25 MiB.
const EVENTS: usize = 16;

/// Events of typing and of the local terminal that may wait for the engine; then keys wait in the system.
const TERMINAL_EVENTS: usize = 16;

/// One running agent.
pub(super) struct Agent {
    driver: AgentDriver,
    worker: Worker,
    effects: Effects,
    events: mpsc::Receiver<ProcessEvent<CommandId>>,
    spool_events: Option<mpsc::UnboundedReceiver<SpoolEvent>>,
    journal_events: Option<mpsc::UnboundedReceiver<JournalEvent>>,
    terminal_events: mpsc::Receiver<WorkerEvent>,
    status: StatusWriter,
    control: Option<mpsc::Receiver<ControlRequest>>,
    load: Arc<Load>,
    traces: Traces,
    clock: SystemClock,
    counters: Counters,
    /// The worker has nothing left to wait for.
    ended: Option<WorkerEnd>,
}

/// What the loop was woken by.
enum Event {
    Notice(AgentNotice),
    Worker(WorkerEvent),
    Control(ControlRequest),
    /// The status file was looked after.
    Status,
    /// Something waits to be drawn.
    Draw,
}

impl Agent {
    pub(super) async fn new(
        options: AgentOptions,
        mut executor: Box<dyn Executor>,
    ) -> Result<Self, AgentError> {
        options.check()?;
        if options.attach {
            executor.attach();
        }
        if let Some(arguments) = &options.additions.resuming {
            executor.resume_with(arguments.clone());
        }
        let credentials = Credentials::new(&options.token);
        let Found { dir, dialer, left } = Found::look(&options, &credentials).await?;
        let instance = Uuid::new_v4().to_string();
        let driver = AgentDriver::with_config(
            dialer,
            profile(&options, &dir, &instance),
            DriverConfig::default(),
            fastrand::u64(..),
        );
        let (clock, counters) = (driver.clock(), driver.counters().clone());
        let load = Arc::new(Load::default());
        let mut driver = driver.with_metrics(host_metrics::source(Arc::clone(&load), &counters));
        let traces = Traces::new(&options, &counters)?;
        let terminal = executor.terminal();
        let terminal = terminal.map(|terminal| terminal_config(terminal, &options));
        let slots = WorkerConfig::slots(options.max_parallel, terminal.as_ref());
        let Kept { recovered, journal, journal_id, journalling, spool, bounds } =
            left.take_up(&options, dir.path(), &counters);
        let (journal, journal_events) = journal.unzip();
        let (spool, spool_events) = spool.unzip();
        let profile = driver.profile_mut();
        profile.features.extend(traces.feature());
        (profile.max_parallel, profile.journal) = (Some(slots), journal_id);

        let (events_entry, events) = mpsc::channel(EVENTS);
        let (terminal_entry, terminal_events) = mpsc::channel(TERMINAL_EVENTS);
        let fence = options.fence.clone().unwrap_or_else(|| executor.fence());
        let mut effects = Effects::new(
            executor,
            fence.clone(),
            events_entry,
            terminal_entry.clone(),
            credentials,
            counters.clone(),
        );
        (effects.journal, effects.spool) = (journal, spool);
        effects.environment.clone_from(&options.additions.environment);
        if terminal.is_some() {
            effects.hooks = listen(&dir, terminal_entry.clone(), &counters);
        }
        if options.attach {
            effects.screen = Some(LocalTerminal::open(terminal_entry, WorkerEvent::Screen)?);
        }
        let config = WorkerConfig {
            slots,
            spool: bounds,
            policy: options.spool_policy,
            journal: journalling,
            terminal,
            fence,
            background: options.background,
            activity: options.additions.activity.clone(),
            unique: instance,
        };
        let worker = Worker::new(config, recovered, clock.now());
        // The first hello is said before the loop begins.
        worker.tell_of(driver.profile_mut());
        let server = public_server(&options.server);
        tracing::info!(name = %options.name, %server, state = %dir.path().display(), "agent started");
        let control = options.control.as_ref().and_then(ControlInbox::take);
        let (observer, name) = (options.observer, options.name);
        let status = StatusWriter::new(dir, name, server, clock, counters.clone(), observer);
        Ok(Self {
            driver,
            worker,
            effects,
            events,
            spool_events,
            journal_events,
            terminal_events,
            status,
            control,
            load,
            traces,
            clock,
            counters,
            ended: None,
        })
    }

    pub(super) async fn run(
        mut self,
        shutdown: impl Future<Output = ()>,
    ) -> Result<AgentEnd, AgentError> {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut is_told_to_end = false;
        self.driver.start();
        self.feed(WorkerEvent::Wake);
        self.show();
        let end = loop {
            self.speak();
            if let Some(end) = self.ended.take() {
                break end;
            }
            let event = tokio::select! {
                notice = self.driver.next() => Event::Notice(notice),
                Some(event) = next_of(&mut self.journal_events) => {
                    let JournalEvent { awaited, outcome } = event;
                    Event::Worker(WorkerEvent::Journalled { awaited, outcome })
                }
                Some(event) = next_of(&mut self.spool_events) => {
                    Event::Worker(WorkerEvent::Spool(event))
                }
                Some(event) = self.terminal_events.recv() => Event::Worker(event),
                Some(event) = self.events.recv() => Event::Worker(self.effects.event(event)),
                () = self.clock.sleep_until(self.worker.deadline()) => {
                    Event::Worker(WorkerEvent::Wake)
                }
                () = &mut shutdown, if !is_told_to_end => {
                    is_told_to_end = true;
                    Event::Worker(WorkerEvent::ShutDown)
                }
                Some(request) = asked(&mut self.control) => Event::Control(request),
                () = self.status.keep() => Event::Status,
                () = std::future::ready(()), if self.effects.is_drawing() => Event::Draw,
            };
            match event {
                // The most frequent event, which changes nothing that others look at.
                Event::Worker(event @ WorkerEvent::Output { .. }) => self.feed(event),
                Event::Worker(event) => {
                    self.feed(event);
                    self.show();
                }
                Event::Notice(notice) => {
                    self.on_notice(notice);
                    self.show();
                }
                Event::Control(request) => self.on_control(request),
                Event::Status => {}
                Event::Draw => self.effects.draw_on(),
            }
        };
        Box::pin(self.farewell(&end)).await;
        AgentEnd::of(end)
    }

    fn on_control(&mut self, request: ControlRequest) {
        match request {
            ControlRequest::Alive(reply) => {
                // Who asked may have stopped waiting.
                let _ = reply.send(());
            }
            ControlRequest::LookAtToken => self.driver.look_at_token(),
            ControlRequest::HangUp => self.feed(WorkerEvent::Screen(ScreenEvent::HungUp)),
        }
    }

    /// Tells the worker what happened and performs what it asks for.
    fn feed(&mut self, event: WorkerEvent) {
        self.traces.happened(&event);
        self.worker.handle(event, self.clock.now());
        self.perform();
    }

    /// Performs until nothing is left to do. What comes of an action at once is handed in behind all actions
    /// that wait: no machine is fed while its own actions are being performed.
    fn perform(&mut self) {
        let mut outcomes = VecDeque::new();
        loop {
            while let Some(action) = self.worker.poll_action() {
                self.traces.performing(&action);
                outcomes.extend(self.effects.perform(action, &mut self.driver, &mut self.ended));
            }
            let Some(event) = outcomes.pop_front() else { return };
            self.traces.happened(&event);
            self.worker.handle(event, self.clock.now());
        }
    }

    /// Sends what the worker has to say, as far as the link has room.
    fn speak(&mut self) {
        while self.driver.session().is_some() {
            if !self.driver.has_room() {
                if self.worker.has_messages() {
                    self.driver.want_room();
                }
                return;
            }
            let message = self.worker.next_message(self.clock.now());
            self.perform();
            let Some(message) = message else { return };
            // All by the queue that makes senders wait: after a long absence there may be more messages
            // than the other one holds, and it keeps their order.
            let sent = match message {
                WorkerMessage::Text(message) => self.driver.send_output(&message),
                WorkerMessage::Binary(message) => self.driver.send_binary(message),
            };
            match sent {
                Ok(()) => self.feed(WorkerEvent::Sent),
                // The worker gives the same message again when there is room.
                Err(SendError::Full) => return self.driver.want_room(),
                Err(error @ SendError::NoSession) => {
                    tracing::debug!(%error, "session ended; unconfirmed messages wait for the next one");
                    return self.feed(WorkerEvent::SessionEnded);
                }
            }
        }
    }

    /// Copies what others look at.
    fn show(&mut self) {
        let worker = &self.worker;
        worker.tell_of(self.driver.profile_mut());
        self.load.running.store(worker.running() as u64, Ordering::Relaxed);
        self.load.finished.store(worker.finished(), Ordering::Relaxed);
        self.status.on_worker(worker);
    }

    fn on_notice(&mut self, notice: AgentNotice) {
        match notice {
            AgentNotice::DialFailed(error) => self.status.on_dial_failed(&error),
            AgentNotice::LinkOpened(local) => self.feed(WorkerEvent::LinkOpened(local)),
            AgentNotice::LinkEnded(end) => {
                self.status.on_link_ended(end);
                self.feed(WorkerEvent::LinkEnded);
            }
            AgentNotice::Found(finding, lasted) => {
                self.feed(WorkerEvent::Found { finding, lasted });
            }
            AgentNotice::Reported(report) => {
                self.status.on_report(&report);
                if let Some(event) = WorkerEvent::of_report(&report) {
                    self.feed(event);
                }
            }
            AgentNotice::HelloRefused(error) => self.status.on_hello_refused(&error.message),
            AgentNotice::Overslept(late) => self.feed(WorkerEvent::Overslept(late)),
            AgentNotice::Impaired(impairment) => self.status.on_impaired(impairment),
            AgentNotice::Joined(session) => {
                self.effects.credentials.learn(session.agent.as_ref());
                self.status.on_joined(session.agent.as_ref());
                self.feed(WorkerEvent::Joined(session.into()));
            }
            AgentNotice::BeatSent(sequence) => {
                self.status.on_beat_sent(sequence);
                self.status.on_beats(self.driver.beats(), Haste::CanWait);
            }
            AgentNotice::BeatAnswered { seen, recorded, lag } => {
                self.status.on_beat_answered(seen, recorded, lag);
                self.status.on_beats(self.driver.beats(), Haste::CanWait);
            }
            AgentNotice::Beats(_) => self.status.on_beats(self.driver.beats(), Haste::AtOnce),
            AgentNotice::Message(message) => self.feed(WorkerEvent::Message(message)),
            // Its only purpose was to wake the loop.
            AgentNotice::Room => {}
        }
    }

    /// Closes the link and waits until the close is out.
    async fn farewell(mut self, end: &WorkerEnd) {
        let closed_before = self.driver.status() == AgentStatus::Closed;
        match end.order() {
            Some(order) => self.driver.obey(order),
            None => self.driver.stop(),
        }
        let closing = async {
            let mut closed = closed_before;
            while !closed {
                if let AgentNotice::Reported(report) = self.driver.next().await {
                    self.status.on_report(&report);
                    closed = report.status == AgentStatus::Closed;
                }
            }
            self.driver.closed().await;
        };
        if timeout(FAREWELL, closing).await.is_err() {
            self.counters.count("farewells_unfinished");
            tracing::warn!("the link did not close in time");
        }
        let kept = tokio::task::spawn_blocking(self.effects.into_disk());
        if timeout(FAREWELL, kept).await.is_err() {
            self.counters.count("farewells_unfinished");
            tracing::error!("the disk does not respond; unwritten data is lost");
        }
        self.traces.finish().await;
        tracing::info!(counters = ?self.counters.snapshot(), "agent ended");
        self.status.finish().await;
    }
}

async fn next_of<T>(events: &mut Option<mpsc::UnboundedReceiver<T>>) -> Option<T> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}

async fn asked(control: &mut Option<mpsc::Receiver<ControlRequest>>) -> Option<ControlRequest> {
    match control {
        Some(requests) => requests.recv().await,
        None => std::future::pending().await,
    }
}

fn terminal_config(terminal: TerminalProgram, options: &AgentOptions) -> TerminalConfig {
    let TerminalProgram { program, size } = terminal;
    let (screen, local_size) = match options.attach {
        true => (Screen::Attached, local_terminal::size()),
        false => (Screen::Detached, None),
    };
    let (line_idle, submit) = (options.line_idle, options.additions.submit.clone());
    TerminalConfig { program, size: local_size.unwrap_or(size), screen, line_idle, submit }
}

fn profile(options: &AgentOptions, dir: &StateDir, instance: &str) -> AgentProfile {
    let ephemeral = options.ephemeral.then_some(Feature::Ephemeral);
    let mut profile = AgentProfile::new(options.name.clone(), dir.key(), InstanceId::new(instance));
    profile.agent_type = options.agent_type.clone();
    profile.version = env!("CARGO_PKG_VERSION").to_owned();
    profile.host = sysinfo::System::host_name().unwrap_or_else(|_| "unknown".to_owned());
    profile.features = AGENT_FEATURES.iter().cloned().chain(ephemeral).collect();
    profile
}
