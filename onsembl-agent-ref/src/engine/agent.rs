//! The loop: what happens next, and who acts on it. What goes out is in `speak.rs`.

use super::commands::{Commands, Finished, TerminalEvent, left_behind};
use super::dial::Papers;
use super::due::Rules;
use super::error::AgentError;
use super::notes::StoppedBy;
use super::options::{AgentEnd, AgentOptions};
use super::status::StatusKeeper;
use super::stopping::{Left, Stopping, Why};
use super::vitals::{self, Load};
use crate::journal::{Journal, JournalEvent};
use crate::local_terminal::LocalTerminal;
use crate::process::{self, ProcessEvent};
use crate::spool::{Spool, SpoolEvent};
use crate::state_dir::StateDir;
use crate::status_file::public_server;
use onsembl_protocol::id::{CommandId, InstanceId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::AGENT_FEATURES;
use onsembl_protocol::session::{AgentCause, AgentReport, AgentStatus, EndOrder};
use onsembl_protocol::time::{Deadline, Timestamp};
use onsembl_protocol::wire::payload::{
    AgentControl, AgentErrorReport, AgentErrorType, ControlAction, EmergencyStop, ErrorCode,
};
use onsembl_protocol::wire::{AgentToServer, ServerToAgent};
use onsembl_transport::agent::{AgentDriver, AgentNotice, AgentProfile, DriverConfig};
use onsembl_transport::clock::SystemClock;
use onsembl_transport::counters::Counters;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long the last link may take to close. Above the link's own close timeout.
const FAREWELL: Duration = Duration::from_secs(3);

/// Events of the terminal that may wait for the engine; then keys wait in the system.
const TERMINAL_EVENTS: usize = 16;

/// The folder of the spool in the state directory.
const SPOOL: &str = "spool";

/// One running agent.
pub(super) struct Agent {
    pub(super) driver: AgentDriver,
    pub(super) commands: Commands,
    events: mpsc::Receiver<ProcessEvent<CommandId>>,
    spool_events: Option<mpsc::UnboundedReceiver<SpoolEvent>>,
    journal_events: Option<mpsc::UnboundedReceiver<JournalEvent>>,
    terminal_events: mpsc::Receiver<TerminalEvent>,
    status: StatusKeeper,
    papers: Papers,
    load: Arc<Load>,
    pub(super) clock: SystemClock,
    counters: Counters,
    /// What holds in the current session; none outside of one.
    pub(super) rules: Option<Rules>,
    /// When a report that nobody confirmed is said again.
    pub(super) repeat_at: Deadline,
    /// When something was last said to a server that confirms nothing.
    pub(super) unconfirmed_at: Option<Timestamp>,
    /// When the next command runs over its limit.
    limit_at: Deadline,
    /// Why the program of an attached terminal cannot be started.
    cannot_start: Option<String>,
    stopping: Option<Stopping>,
}

/// What the loop was woken by.
enum Event {
    Notice(AgentNotice),
    Process(ProcessEvent<CommandId>),
    Spool(SpoolEvent),
    Journal(JournalEvent),
    Terminal(TerminalEvent),
    Time,
    Shutdown,
}

impl Agent {
    pub(super) async fn new(options: AgentOptions) -> Result<Self, AgentError> {
        options.check()?;
        let papers = Papers::new(&options.token);
        let opened = {
            let (options, papers) = (options.clone(), papers.clone());
            tokio::task::spawn_blocking(move || {
                let dir = StateDir::open(options.state_dir.clone(), &options.name)?;
                let dialer = papers.dialer(&options)?;
                let journal = Journal::open(dir.path()).map(|(journal, events, recovered)| {
                    let cleared = process::clear(left_behind(&recovered));
                    (journal, events, recovered, cleared)
                });
                let spool = (options.spool_bytes > 0).then(|| Spool::open(&dir.path().join(SPOOL)));
                Ok::<_, AgentError>((dir, dialer, journal, spool))
            })
        };
        let (dir, dialer, journal, spool) =
            opened.await.map_err(|error| AgentError::Internal(error.to_string()))??;
        let load = Arc::new(Load::default());
        let driver = AgentDriver::with_config(
            dialer,
            profile(&options, &dir),
            DriverConfig::default(),
            fastrand::u64(..),
        );
        let (clock, counters) = (driver.clock(), driver.counters().clone());
        let mut driver = driver.with_vitals(vitals::source(Arc::clone(&load), &counters));
        let places = options.places();
        driver.profile_mut().max_parallel = Some(places);
        let (mut commands, events) = Commands::new(places, clock, counters.clone());
        commands = commands.with_runner(options.runner.clone());
        let mut journal_events = None;
        match journal {
            Ok((journal, events, recovered, cleared)) => {
                journal_events = Some(events);
                driver.profile_mut().journal = Some(recovered.id.clone());
                commands = commands.with_journal(journal, &recovered, cleared);
            }
            Err(error) => {
                counters.count("journal_failures");
                tracing::error!(%error, path = %dir.path().display(), "no journal can be kept here; every command is refused until the agent is started with a state directory that works");
                commands = commands.without_journal(error.to_string());
            }
        }
        let mut spool_events = None;
        match spool {
            Some(Ok((spool, events, left))) => {
                spool_events = Some(events);
                let (bytes, policy) = (options.spool_bytes, options.spool_policy);
                commands = commands.with_spool(spool, bytes, policy, left);
            }
            Some(Err(error)) => {
                counters.count("spool_failures");
                tracing::error!(%error, path = %dir.path().join(SPOOL).display(), "the spool cannot be used; output is kept in memory only, and is lost if the agent dies");
            }
            None => {}
        }
        let (terminal_entry, terminal_events) = mpsc::channel(TERMINAL_EVENTS);
        let local = match options.attach {
            true => Some(LocalTerminal::open(terminal_entry.clone(), TerminalEvent::Local)?),
            false => None,
        };
        commands = commands.with_terminal(terminal_entry, local);
        driver.profile_mut().open_commands = commands.open(Limits::DEFAULT.list_entries);
        let server = public_server(&options.server);
        tracing::info!(name = %options.name, %server, state = %dir.path().display(), "agent started");
        let (observer, name) = (options.observer, options.name);
        let status = StatusKeeper::new(dir, name, server, clock, counters.clone(), observer);
        Ok(Self {
            driver,
            commands,
            events,
            spool_events,
            journal_events,
            terminal_events,
            status,
            papers,
            load,
            clock,
            counters,
            rules: None,
            repeat_at: Deadline::Never,
            unconfirmed_at: None,
            limit_at: Deadline::Never,
            cannot_start: None,
            stopping: None,
        })
    }

    pub(super) async fn run(
        mut self,
        shutdown: impl Future<Output = ()>,
    ) -> Result<AgentEnd, AgentError> {
        let mut shutdown = std::pin::pin!(shutdown);
        self.driver.start();
        self.commands.keep_terminal();
        self.limit_at = self.commands.deadline();
        let why = loop {
            self.speak();
            let now = self.clock.now().monotonic;
            let mut wake = self.limit_at.min(self.repeat_at);
            if let Some(mut stopping) = self.stopping {
                match stopping.wait(self.left(), now) {
                    Some(deadline) => wake = wake.min(deadline),
                    None => break stopping.why,
                }
                self.stopping = Some(stopping);
            }
            let event = tokio::select! {
                notice = self.driver.next() => Event::Notice(notice),
                Some(event) = next_of(&mut self.journal_events) => Event::Journal(event),
                Some(event) = next_of(&mut self.spool_events) => Event::Spool(event),
                Some(event) = self.terminal_events.recv() => Event::Terminal(event),
                Some(event) = self.events.recv() => Event::Process(event),
                () = self.clock.sleep_until(wake) => Event::Time,
                () = &mut shutdown, if self.stopping.is_none() => Event::Shutdown,
                () = self.status.keep() => Event::Time,
            };
            self.on_event(event);
        };
        let cannot_start = self.cannot_start.take();
        self.farewell(why.order()).await;
        match cannot_start {
            Some(why) => Err(AgentError::Program(why)),
            None => why.outcome(),
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Process(ProcessEvent::Output { key, stream, bytes }) => {
                // The one event of which there are many, and which changes nothing below.
                return self.commands.on_output(&key, stream, bytes);
            }
            Event::Process(ProcessEvent::Ended { key, exit, group_empty }) => {
                self.commands.on_ended(&key, exit, group_empty);
            }
            Event::Spool(event) => self.commands.on_spool(event),
            Event::Journal(event) => self.commands.on_journal(event),
            Event::Terminal(event) => self.commands.on_terminal(event),
            Event::Notice(notice) => self.on_notice(notice),
            Event::Time => {
                self.commands.expire();
                if self.repeat_at.is_due(self.clock.now().monotonic) {
                    self.repeat_at = Deadline::Never;
                    if self.commands.awaits_confirmation() {
                        self.counters.count("reports_repeated");
                        tracing::warn!("the server has not confirmed a report; saying it again");
                        self.commands.repeat_reports();
                    }
                }
            }
            Event::Shutdown => {
                tracing::info!("stopping");
                self.stop(Why::Shutdown, false);
            }
        }
        self.commands.keep_terminal();
        if self.stopping.is_none()
            && let Some(finished) = self.commands.finished_terminal()
        {
            tracing::info!(
                ?finished,
                "the terminal that this agent was attached to is over; stopping"
            );
            let why = match finished {
                Finished::Program(exit) => Why::ProgramEnded(exit),
                Finished::CannotStart(why) => {
                    self.cannot_start = Some(why);
                    Why::ProgramCannotStart
                }
                Finished::Interrupted => Why::Shutdown,
            };
            self.stop(why, false);
        }
        self.limit_at = self.commands.deadline();
        self.driver.profile_mut().open_commands = self.commands.open(Limits::DEFAULT.list_entries);
        self.load.running.store(self.commands.running() as u64, Ordering::Relaxed);
        self.load.finished.store(self.commands.finished(), Ordering::Relaxed);
        self.status.on_running(self.commands.running());
        self.status.on_spool(self.commands.spool_has_failed());
        self.status.on_journal(self.commands.journal_has_failed());
        self.status.on_stopped(self.commands.stop_in_force());
    }

    fn on_notice(&mut self, notice: AgentNotice) {
        match notice {
            AgentNotice::Reported(report) => self.on_report(&report),
            AgentNotice::Impaired(impairment) => self.status.on_impaired(impairment),
            AgentNotice::Joined(session) => {
                self.papers.learn(session.agent.as_ref());
                self.status.on_joined(session.agent.as_ref());
                let rules = Rules::of(&session);
                self.rules = Some(rules);
                self.repeat_at = Deadline::Never;
                self.commands.on_joined(session.output_window, rules);
                if rules.latches_stops {
                    self.commands.on_welcome_of_latch(session.stopped);
                }
            }
            AgentNotice::BeatSent(sequence) => self.status.on_beat_sent(sequence),
            AgentNotice::BeatAnswered { seen, recorded, lag } => {
                self.status.on_beat_answered(seen, recorded, lag);
            }
            AgentNotice::Message(message) => self.on_message(*message),
            // It was to wake the loop, and did. Kinds of a later driver are for its later owners.
            AgentNotice::Room | _ => {}
        }
    }

    fn on_report(&mut self, report: &AgentReport) {
        self.status.on_report(report);
        match report.status {
            AgentStatus::Connected { .. } | AgentStatus::Stale { .. } => {}
            AgentStatus::Idle
            | AgentStatus::Connecting { .. }
            | AgentStatus::Joining
            | AgentStatus::TimedOut { .. }
            | AgentStatus::Reconnecting { .. } => self.rules = None,
            AgentStatus::Closed => {
                self.rules = None;
                if !matches!(report.cause, AgentCause::Stopped | AgentCause::EndOrdered(_)) {
                    self.counters.count("refused_for_good");
                    tracing::error!(because = %report.cause, "the server refuses this agent for good; stopping");
                    self.stop(Why::Refused(report.cause), false);
                }
            }
        }
    }

    fn on_message(&mut self, message: ServerToAgent) {
        match message {
            ServerToAgent::CommandRequest(request) if request.command_id.is_none() => {
                self.counters.count("requests_without_id");
                self.complain(
                    AgentErrorType::Execution,
                    "a COMMAND_REQUEST without a commandId is not run: it could not be told from its repetition",
                );
            }
            ServerToAgent::CommandRequest(request) => self.commands.on_request(request),
            // It cancels whatever it does not know, and does not know terminals.
            ServerToAgent::CommandCancel(cancel)
                if cancel.command_id.is_terminal()
                    && self.rules.is_some_and(|rules| !rules.knows_terminals) => {}
            ServerToAgent::CommandCancel(cancel) => {
                self.commands.on_cancel(&cancel.command_id, cancel.force);
            }
            ServerToAgent::OutputAck(ack) => self.commands.on_stored(&ack, self.rules),
            ServerToAgent::OutputResume(resume) => self.commands.on_resume(&resume),
            ServerToAgent::OutputQuery(ask) => self.commands.say_what_is_held(Some(ask.query)),
            ServerToAgent::Ack(ack) => {
                if let Some(id) = ack.command_id.filter(|_| ack.success) {
                    self.commands.on_confirmed(&id);
                }
            }
            ServerToAgent::Error(error) => {
                self.counters.count("errors_from_server");
                let about = error.context.command_id;
                tracing::warn!(code = %error.code, text = %error.message, command = ?about, "the server reports an error");
                if let (ErrorCode::CommandNotFound, Some(id)) = (&error.code, &about) {
                    self.commands.on_unknown_to_server(id);
                }
            }
            ServerToAgent::Control(control) => self.on_control(&control),
            ServerToAgent::EmergencyStop(EmergencyStop { stop_id: Some(stop), .. })
                if self.rules.is_some_and(|rules| rules.latches_stops) =>
            {
                self.commands.on_stop_order(stop);
            }
            ServerToAgent::StopRelease(release) => self.commands.on_stop_release(&release.stop_id),
            ServerToAgent::EmergencyStop(order) => {
                self.counters.count("emergency_stops");
                tracing::warn!(
                    reason = order.reason.as_deref(),
                    by = order.triggered_by.as_deref(),
                    "emergency stop: killing all commands"
                );
                self.commands.stop_all(StoppedBy::Emergency, true);
            }
            ServerToAgent::TokenRefresh(refresh) => {
                self.papers.renew(refresh.access_token.reveal());
            }
            // The driver acts on these itself.
            ServerToAgent::Heartbeat(_)
            | ServerToAgent::Ping(_)
            | ServerToAgent::Pong(_)
            | ServerToAgent::Unknown(_) => {}
        }
    }

    fn on_control(&mut self, control: &AgentControl) {
        tracing::info!(action = %control.action, reason = control.reason.as_deref(), "order from the server");
        match &control.action {
            ControlAction::Stop => {
                self.stop(Why::Ordered, control.graceful_shutdown == Some(false));
            }
            ControlAction::Restart => {
                self.stop(Why::Restart, control.graceful_shutdown == Some(false));
            }
            ControlAction::Pause => self.pause(true),
            ControlAction::Resume => self.pause(false),
            ControlAction::Resize => {
                let resized = match control.size {
                    Some(size) => self.commands.on_resize(size),
                    None => Err("RESIZE came without a size"),
                };
                if let Err(why) = resized {
                    self.complain(AgentErrorType::Unspecified, why);
                }
            }
            action @ (ControlAction::Start | ControlAction::Unknown(_)) => {
                self.counters.count("orders_not_supported");
                let text = format!(
                    "this agent cannot {action}; it knows STOP, RESTART, PAUSE and RESUME, and whoever runs it on its machine can start it again"
                );
                self.complain(AgentErrorType::Unspecified, &text);
            }
        }
    }

    fn pause(&mut self, paused: bool) {
        self.commands.pause(paused);
        self.driver.say_paused(paused);
        self.status.on_paused(paused);
    }

    /// Tells the server that it asked for what cannot be done.
    fn complain(&mut self, error_type: AgentErrorType, message: &str) {
        tracing::warn!("{message}");
        let message = message.to_owned();
        let fault = AgentErrorReport { error_type, message, recoverable: true, details: None };
        if let Err(error) = self.driver.send(&AgentToServer::Fault(fault)) {
            self.counters.count("faults_not_sent");
            tracing::warn!(%error, "the server was not told");
        }
    }

    fn left(&self) -> Left {
        let in_session = self.rules.is_some();
        Left {
            running: self.commands.running() > 0 || self.commands.is_typing(),
            words: in_session && self.commands.has_words(),
            confirmations: in_session && self.commands.awaits_confirmation(),
            unconfirmed_at: self.unconfirmed_at.filter(|_| in_session),
        }
    }

    fn stop(&mut self, why: Why, at_once: bool) {
        let now = self.clock.now().monotonic;
        let stopping = self.stopping.get_or_insert(Stopping::new(why, now));
        if matches!(why, Why::Refused(_)) {
            stopping.why = why;
        }
        self.commands.wind_up(at_once);
    }

    /// Closes the link and waits until the close is out.
    async fn farewell(mut self, order: Option<EndOrder>) {
        if self.commands.running() > 0 {
            self.counters.count("processes_left_behind");
            tracing::error!(
                commands = self.commands.running(),
                "the kernel holds processes that cannot be killed; leaving them"
            );
        }
        let closed_before = self.driver.status() == AgentStatus::Closed;
        match order {
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
            self.driver.gone().await;
        };
        if timeout(FAREWELL, closing).await.is_err() {
            self.counters.count("farewells_unfinished");
            tracing::warn!("the link did not close in time");
        }
        let (spool, journal) = (self.commands.take_spool(), self.commands.take_journal());
        let kept = tokio::task::spawn_blocking(move || {
            if let Some(journal) = journal {
                journal.finish();
            }
            if let Some(spool) = spool {
                spool.finish();
            }
        });
        if timeout(FAREWELL, kept).await.is_err() {
            self.counters.count("farewells_unfinished");
            tracing::error!("the disk does not answer; what was not written to it is lost");
        }
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

fn profile(options: &AgentOptions, dir: &StateDir) -> AgentProfile {
    AgentProfile {
        name: options.name.clone(),
        agent_type: options.agent_type.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: sysinfo::System::host_name().unwrap_or_else(|_| "unknown".to_owned()),
        key: dir.key(),
        instance: InstanceId::new(uuid::Uuid::new_v4().to_string()),
        features: AGENT_FEATURES.to_vec(),
        probe: false,
        open_commands: Vec::new(),
        journal: None,
        max_parallel: None,
    }
}
