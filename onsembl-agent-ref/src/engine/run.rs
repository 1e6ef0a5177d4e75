//! The run loop of an agent: waits for what happens, tells the worker, has its actions performed and its
//! messages sent.

use super::credentials::Credentials;
use super::error::AgentError;
use super::metrics::{self, Load};
use super::options::{AgentEnd, AgentOptions};
use super::particulars::Particulars;
use super::perform::Effects;
use super::status::{Haste, StatusWriter};
use super::traces::Traces;
use crate::executor::{Executor, TerminalProgram};
use crate::hooks::HookSocket;
use crate::journal::{Journal, JournalEvent};
use crate::local_terminal::{self, LocalTerminal};
use crate::preset::SETTINGS_FILE;
use crate::process::{self, ProcessEvent};
use crate::run_file::RunFile;
use crate::spool::Spool;
use crate::state_dir::{SPOOL_FOLDER, StateDir, io_error};
use crate::status_file::public_server;
use onsembl_protocol::diagnosis::{LastVersion, found_by_agent};
use onsembl_protocol::id::{CommandId, InstanceId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::{AGENT_FEATURES, Evidence};
use onsembl_protocol::session::{AgentReport, AgentStatus};
use onsembl_protocol::worker::{
    Journalling, Predecessor, Recovered, Screen, SpoolBounds, SpoolEvent, TerminalConfig, Worker,
    WorkerConfig, WorkerEnd, WorkerEvent, WorkerMessage, WorkerSession,
};
use onsembl_transport::agent::{
    AgentDriver, AgentNotice, AgentProfile, AgentSession, DriverConfig, SendError,
};
use onsembl_transport::clock::SystemClock;
use onsembl_transport::counters::Counters;
use onsembl_transport::private;
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
    load: Arc<Load>,
    /// What is known of what the next report of the connection is about.
    particulars: Particulars,
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
    /// The status file was looked after.
    Status,
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
        let credentials = Credentials::new(&options.token);
        let at = SystemClock::new().now().wall;
        let opened = {
            let (options, credentials) = (options.clone(), credentials.clone());
            tokio::task::spawn_blocking(move || {
                let dir = StateDir::open(options.state_dir.clone(), &options.name)?;
                let dialer = credentials.dialer(&options)?;
                let owner = dir.earlier_owner().filter(process::is_alive);
                let predecessor = owner.map_or(Predecessor::Ended, Predecessor::Runs);
                let journal = Journal::open(dir.path()).map(|(journal, events, recovered)| {
                    let left = recovered.journal.left_behind();
                    let cleared = match &predecessor {
                        Predecessor::Runs(owner) => process::leave(left, owner),
                        Predecessor::Ended => process::clear(left),
                    };
                    (journal, events, recovered, cleared)
                });
                let version = env!("CARGO_PKG_VERSION");
                let left =
                    predecessor.is_run_before().then(|| RunFile::left(dir.path(), version, at));
                let spool =
                    (options.spool_bytes > 0).then(|| Spool::open(&dir.path().join(SPOOL_FOLDER)));
                if let Some(settings) = &options.additions.settings {
                    let path = dir.path().join(SETTINGS_FILE);
                    private::replace(&path, settings.as_bytes())
                        .map_err(io_error("write the settings of the preset", &path))?;
                }
                Ok::<_, AgentError>((dir, dialer, journal, spool, left.flatten()))
            })
        };
        let (dir, dialer, journal, spool, left) =
            opened.await.map_err(|error| AgentError::Internal(error.to_string()))??;
        let load = Arc::new(Load::default());
        let instance = Uuid::new_v4().to_string();
        let driver = AgentDriver::with_config(
            dialer,
            profile(&options, &dir, &instance),
            DriverConfig::default(),
            fastrand::u64(..),
        );
        let (clock, counters) = (driver.clock(), driver.counters().clone());
        let mut driver = driver.with_metrics(metrics::source(Arc::clone(&load), &counters));
        let traces = Traces::new(&options, &counters)?;
        driver.profile_mut().features.extend(traces.feature());
        let terminal = executor.terminal();
        let terminal = terminal.map(|terminal| terminal_config(terminal, &options));
        let slots = WorkerConfig::slots(options.max_parallel, terminal.as_ref());
        driver.profile_mut().max_parallel = Some(slots);

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
        let mut recovered = Recovered::default();
        let run_before = left.map(|left| {
            (recovered.findings, recovered.findings_ago) = (left.findings, left.ago);
            let evidence = match left.run.version {
                LastVersion::Same => Evidence::NONE,
                LastVersion::Other => Evidence::NONE.with("version_before", left.version),
            };
            left.run.finding().on(evidence)
        });
        let mut journal_events = None;
        let journalling = match journal {
            Ok((journal, events, found, cleared)) => {
                journal_events = Some(events);
                driver.profile_mut().journal = Some(found.id);
                (recovered.journal, recovered.cleared) = (found.journal, cleared);
                effects.journal = Some(journal);
                Journalling::Kept
            }
            Err(error) => {
                counters.count("journal_failures");
                tracing::error!(%error, path = %dir.path().display(), "no journal can be kept here; every command is refused until the agent is started with a state directory that works");
                Journalling::Failed(error.to_string())
            }
        };
        let mut spool_events = None;
        let mut bounds = SpoolBounds::MEMORY_ONLY;
        match spool {
            Some(Ok((spool, events, left))) => {
                spool_events = Some(events);
                recovered.runs = left;
                effects.spool = Some(spool);
                bounds = SpoolBounds { disk: options.spool_bytes, ..SpoolBounds::DEFAULT };
            }
            Some(Err(error)) => {
                counters.count("spool_failures");
                tracing::error!(%error, path = %dir.path().join(SPOOL_FOLDER).display(), "the spool cannot be used; output is kept in memory only, and is lost if the agent dies");
            }
            None => {}
        }
        effects.environment.clone_from(&options.additions.environment);
        if terminal.is_some() {
            match HookSocket::listen(dir.path(), terminal_entry.clone(), counters.clone()) {
                Ok(hooks) => effects.hooks = Some(hooks),
                Err(error) => {
                    counters.count("hooks_unheard");
                    tracing::warn!(%error, path = %dir.path().display(), "the hooks of programs cannot be heard here (is the path of the state directory longer than some 95 bytes?); what the program does is known from its terminal only");
                }
            }
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
        let mut worker = Worker::new(config, recovered, clock.now());
        if let Some(finding) = run_before {
            worker.handle(WorkerEvent::Found { finding, lasted: Duration::ZERO }, clock.now());
        }
        // The first hello is said before the loop begins.
        tell_of(&worker, driver.profile_mut());
        let server = public_server(&options.server);
        tracing::info!(name = %options.name, %server, state = %dir.path().display(), "agent started");
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
            load,
            particulars: Particulars::default(),
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
                () = self.status.keep() => Event::Status,
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
                Event::Status => {}
            }
        };
        Box::pin(self.farewell(&end)).await;
        AgentEnd::of(end)
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
                    tracing::debug!(%error, "the session is over; what is unconfirmed waits for the next");
                    return self.feed(WorkerEvent::SessionEnded);
                }
            }
        }
    }

    /// Copies what others look at.
    fn show(&mut self) {
        let worker = &self.worker;
        tell_of(worker, self.driver.profile_mut());
        self.load.running.store(worker.running() as u64, Ordering::Relaxed);
        self.load.finished.store(worker.finished(), Ordering::Relaxed);
        self.status.on_worker(worker);
    }

    fn on_notice(&mut self, notice: AgentNotice) {
        match notice {
            AgentNotice::DialFailed(error) => {
                self.particulars = Particulars::of_dial(&error);
                self.status.on_dial_failed(&error);
            }
            AgentNotice::LinkOpened(local) => self.feed(WorkerEvent::LinkOpened(local)),
            AgentNotice::LinkEnded(end) => {
                self.particulars = Particulars::of_link(&end);
                self.status.on_link_ended(end);
                self.feed(WorkerEvent::LinkEnded);
            }
            AgentNotice::Reported(report) => self.on_report(&report),
            AgentNotice::HelloRefused(error) => self.status.on_hello_refused(&error.message),
            AgentNotice::Overslept(late) => self.feed(WorkerEvent::Overslept(late)),
            AgentNotice::Impaired(impairment) => self.status.on_impaired(impairment),
            AgentNotice::Joined(session) => {
                self.effects.credentials.learn(session.agent.as_ref());
                self.status.on_joined(session.agent.as_ref());
                self.feed(WorkerEvent::Joined(worker_session(session)));
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

    fn on_report(&mut self, report: &AgentReport) {
        self.status.on_report(report);
        let Particulars { fault, evidence } = std::mem::take(&mut self.particulars);
        if let Some((finding, lasted)) = found_by_agent(&report.cause, fault, evidence) {
            self.feed(WorkerEvent::Found { finding, lasted });
        }
        if let Some(event) = WorkerEvent::of_report(report) {
            self.feed(event);
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
            tracing::error!("the disk does not answer; what was not written to it is lost");
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

fn worker_session(session: AgentSession) -> WorkerSession {
    WorkerSession {
        capabilities: session.capabilities,
        agent: session.agent,
        output_window: session.output_window,
        stopped: session.stopped,
    }
}

fn terminal_config(terminal: TerminalProgram, options: &AgentOptions) -> TerminalConfig {
    let TerminalProgram { program, size } = terminal;
    let (screen, local_size) = match options.attach {
        true => (Screen::Attached, local_terminal::size()),
        false => (Screen::Detached, None),
    };
    let line_idle = options.line_idle;
    TerminalConfig { program, size: local_size.unwrap_or(size), screen, line_idle }
}

/// What the next hello says of the work.
fn tell_of(worker: &Worker, profile: &mut AgentProfile) {
    profile.open_commands = worker.open_commands(Limits::DEFAULT.list_entries);
    profile.stop = worker.stop_in_force().cloned();
}

fn profile(options: &AgentOptions, dir: &StateDir, instance: &str) -> AgentProfile {
    AgentProfile {
        name: options.name.clone(),
        agent_type: options.agent_type.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: sysinfo::System::host_name().unwrap_or_else(|_| "unknown".to_owned()),
        key: dir.key(),
        instance: InstanceId::new(instance),
        features: AGENT_FEATURES.to_vec(),
        probe: false,
        open_commands: Vec::new(),
        stop: None,
        journal: None,
        max_parallel: None,
    }
}
