//! What the agent says of itself: into its status file, and to its observer. And what its run leaves for the next one,
//! which is written with it.

use super::observer::Observer;
use super::{AgentStatusFile, LastFailure, ProgramActivity};
use crate::options::AgentObservation;
use crate::run_file::{Ended, RunFile};
use crate::state_dir::{StateDir, StateDirError};
use onsembl_protocol::diagnosis::BeatReport;
use onsembl_protocol::id::{AgentId, BeatSequence, CommandId, StopId};
use onsembl_protocol::liveness::Impairment;
use onsembl_protocol::session::{AgentReport, AgentStatus, AnsweredBeats, Failure, StatusReason};
use onsembl_protocol::time::{Deadline, Timestamp, WallTime};
use onsembl_protocol::wire::payload::{RecordedBeat, RecordingLag};
use onsembl_protocol::worker::Worker;
use onsembl_transport::clock::SystemClock;
use onsembl_transport::counters::Counters;
use onsembl_transport::{DialError, LinkEnd};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The status file is written at most this often: people look at it, and each write costs a file.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// Commands with something in the background that are named.
const SHOWN_IN_BACKGROUND: usize = 16;

/// How long the last write may take.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// How soon something is to stand in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Haste {
    /// With the next write.
    CanWait,
    /// Now: somebody may look for the reason of a fault.
    AtOnce,
}

/// Whether the file has what is to stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileState {
    Current,
    Outdated,
}

/// Keeps the status file and tells the watcher.
#[derive(Debug)]
pub(crate) struct StatusWriter {
    dir: Arc<StateDir>,
    clock: SystemClock,
    counters: Counters,
    observer: Observer,
    content: AgentStatusFile,
    /// What the next run is to know of this one.
    run: RunFile,
    /// What stands in there of what the worker found.
    findings: u64,
    reason: StatusReason,
    /// How the link ended that the next report is about.
    link_ended: Option<LinkEnd>,
    answered: AnsweredBeats,
    file: FileState,
    not_before: Timestamp,
    writing: Option<JoinHandle<Result<(), StateDirError>>>,
}

impl StatusWriter {
    pub(crate) fn new(
        dir: StateDir,
        name: String,
        server: String,
        clock: SystemClock,
        counters: Counters,
        observer: Option<mpsc::Sender<AgentObservation>>,
    ) -> Self {
        let now = clock.now().wall.to_string();
        let content = AgentStatusFile {
            pid: std::process::id(),
            name,
            server,
            state: AgentStatus::Idle.as_str().to_owned(),
            since: now.clone(),
            because: "not started yet".to_owned(),
            last_failure: None,
            agent_id: None,
            epoch: None,
            last_heartbeat_sent: None,
            last_heartbeat_answered: None,
            last_heartbeat_recorded: None,
            beats: None,
            running_commands: 0,
            background_commands: 0,
            background: Vec::new(),
            spool_failed: false,
            journal_failed: false,
            stopped: None,
            paused: false,
            activity: None,
            updated_at: now,
        };
        Self {
            dir: Arc::new(dir),
            clock,
            observer: Observer::new(observer, counters.clone()),
            counters,
            run: RunFile::begin(env!("CARGO_PKG_VERSION"), clock.now().wall),
            findings: 0,
            reason: StatusReason::new(&content.because),
            link_ended: None,
            content,
            answered: AnsweredBeats::default(),
            file: FileState::Outdated,
            not_before: Timestamp::ORIGIN,
            writing: None,
        }
    }

    /// The report of what it means comes next.
    pub(crate) fn on_dial_failed(&mut self, error: &DialError) {
        let failure = Failure {
            id: error.fault.as_str(),
            text: error.to_string(),
            address: error.address.map(|address| address.to_string()),
            os_error: error.os_error,
        };
        self.reason.on_failure(failure, self.clock.now().wall);
        self.show_reason();
    }

    /// The report of what it means comes next.
    pub(crate) fn on_link_ended(&mut self, end: LinkEnd) {
        self.link_ended = Some(end);
    }

    pub(crate) fn on_report(&mut self, report: &AgentReport) {
        let at = self.clock.now().wall;
        let AgentReport { status, cause } = *report;
        self.content.state = status.as_str().to_owned();
        self.content.since = at.to_string();
        let ended = self.link_ended.take().map(|end| (end.reason, end.to_string()));
        self.reason.on_report(report, ended, at);
        self.show_reason();
        self.content.epoch = status.epoch().map(|epoch| epoch.0);
        if self.content.epoch.is_none() {
            self.content.beats = None;
        }
        self.observer.see(AgentObservation::Status { status, cause, at });
    }

    /// What the server said when it refused the hello.
    pub(crate) fn on_hello_refused(&mut self, text: &str) {
        self.reason.on_hello_refused(text);
        self.show_reason();
    }

    pub(crate) fn on_impaired(&mut self, impairment: Option<Impairment>) {
        self.reason.on_impaired(impairment);
        self.show_reason();
    }

    fn show_reason(&mut self) {
        self.content.because = self.reason.shown().to_owned();
        self.content.last_failure = self.reason.last_failure().map(LastFailure::of);
        self.file = FileState::Outdated;
    }

    pub(crate) fn on_joined(&mut self, agent: Option<&AgentId>) {
        if let Some(agent) = agent {
            self.content.agent_id = Some(agent.as_str().to_owned());
        }
        self.answered = AnsweredBeats::default();
        self.file = FileState::Outdated;
    }

    pub(crate) fn on_beat_sent(&mut self, sequence: BeatSequence) {
        let at = self.clock.now().wall;
        self.run.look();
        self.content.last_heartbeat_sent = Some(at.to_string());
        self.file = FileState::Outdated;
        self.observer.see(AgentObservation::BeatSent { sequence, at });
    }

    pub(crate) fn on_beat_answered(
        &mut self,
        seen: Option<BeatSequence>,
        recorded: Option<RecordedBeat>,
        lag: Option<RecordingLag>,
    ) {
        let at = self.clock.now().wall;
        if self.answered.on_seen(seen) {
            self.content.last_heartbeat_answered = Some(at.to_string());
            self.file = FileState::Outdated;
        }
        if self.answered.on_recorded(recorded.map(|recorded| recorded.sequence)) {
            self.content.last_heartbeat_recorded = Some(at.to_string());
            self.file = FileState::Outdated;
        }
        self.observer.see(AgentObservation::BeatAnswered { seen, recorded, lag, at });
    }

    /// What the hop tracker says.
    pub(crate) fn on_beats(&mut self, beats: Option<BeatReport>, haste: Haste) {
        self.content.beats = beats;
        self.file = FileState::Outdated;
        match haste {
            Haste::AtOnce => self.not_before = Timestamp::ORIGIN,
            Haste::CanWait => {}
        }
    }

    /// What the worker shows of itself.
    pub(crate) fn on_worker(&mut self, worker: &Worker) {
        let running = u32::try_from(worker.running()).unwrap_or(u32::MAX);
        if self.content.running_commands != running {
            self.content.running_commands = running;
            self.file = FileState::Outdated;
        }
        let left = u32::try_from(worker.background().count()).unwrap_or(u32::MAX);
        let shown = || worker.background().take(SHOWN_IN_BACKGROUND).map(CommandId::as_str);
        if self.content.background_commands != left || !shown().eq(&self.content.background) {
            self.content.background_commands = left;
            self.content.background = shown().map(str::to_owned).collect();
            self.file = FileState::Outdated;
        }
        for (shown, is) in [
            (&mut self.content.spool_failed, worker.spool_has_failed()),
            (&mut self.content.journal_failed, worker.journal_has_failed()),
            (&mut self.content.paused, worker.pausing().is_paused()),
        ] {
            if *shown != is {
                *shown = is;
                self.file = FileState::Outdated;
            }
        }
        let activity = worker.activity().map(ProgramActivity::of);
        if self.content.activity != activity {
            self.content.activity = activity;
            self.file = FileState::Outdated;
        }
        if self.findings != worker.findings_changed() {
            self.findings = worker.findings_changed();
            let now = self.clock.now();
            self.run.found(worker.findings(now), now.wall);
            self.file = FileState::Outdated;
        }
        let stop = worker.stop_in_force().map(StopId::as_str);
        if self.content.stopped.as_deref() != stop {
            self.content.stopped = stop.map(str::to_owned);
            self.file = FileState::Outdated;
        }
    }

    /// Writes the file whenever it is due. Never returns; cancel-safe.
    pub(crate) async fn keep(&mut self) {
        loop {
            self.written().await;
            if self.file == FileState::Current {
                return std::future::pending().await;
            }
            self.clock.sleep_until(Deadline::At(self.not_before)).await;
            self.write();
        }
    }

    /// Writes what is still to be written, and lets the directory go.
    pub(crate) async fn finish(mut self) {
        self.observer.say_unsaid();
        let last = async {
            self.written().await;
            self.run.end(Ended::Stopped);
            self.write();
            self.written().await;
        };
        if tokio::time::timeout(LAST_WRITE, last).await.is_err() {
            self.counters.count("status_file_failures");
            tracing::warn!("the status file could not be written in time");
        }
    }

    /// A slow disk must not hold up heartbeats.
    fn write(&mut self) {
        let now = self.clock.now();
        self.not_before = now.monotonic.saturating_add(WRITE_EVERY);
        self.content.updated_at = WallTime::to_string(&now.wall);
        self.file = FileState::Current;
        let (content, run, dir) = (self.content.clone(), self.run.clone(), Arc::clone(&self.dir));
        self.writing = Some(tokio::task::spawn_blocking(move || {
            content.write(&dir)?;
            run.write(dir.path())
        }));
    }

    async fn written(&mut self) {
        let Some(writing) = &mut self.writing else { return };
        let outcome = writing.await;
        self.writing = None;
        let why = match outcome {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        self.counters.count("status_file_failures");
        tracing::warn!(%why, "the status file is out of date");
    }
}

/// A run that panics says so before it is gone.
impl Drop for StatusWriter {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.run.end(Ended::Crashed);
            if let Err(error) = self.run.write(self.dir.path()) {
                tracing::warn!(%error, "the next run will not know that this one crashed");
            }
        }
    }
}
