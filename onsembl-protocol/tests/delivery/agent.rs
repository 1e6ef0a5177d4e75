//! The agent's edge around the real [`Worker`]: it starts what the worker asks for, reads what processes
//! write, keeps the journal and the spool, and hands messages to the link. It decides nothing.

use super::disk::{Disk, Thread};
use super::now;
use super::truth::{Process, ProcessState};
use onsembl_protocol::id::{AgentId, CommandId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::{Capabilities, Exit, Stream, TerminalSize};
use onsembl_protocol::time::Deadline;
use onsembl_protocol::wire::{AgentToServer, OutputFrame, ServerToAgent};
use onsembl_protocol::worker::{
    Cleared, CommandJournal, Fate, Fence, JournalEntry, Journalling, LeftBehind, LeftRun, LineMode,
    Recovered, Rest, Screen, SpoolBounds, SpoolEvent, SpoolPolicy, SpoolRequest, Standing,
    SubmitKey, Task, TerminalConfig, TerminalSettings, TypingOutcome, UnstoredOutput, Worker,
    WorkerAction, WorkerConfig, WorkerEvent, WorkerMessage, WorkerSession,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// The program of a terminal reads its own keys.
const READS: TerminalSettings =
    TerminalSettings { lines: LineMode::Program, ..TerminalSettings::AS_OPENED };

/// What stays the same over all processes of an agent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Make {
    pub(super) slots: usize,
    pub(super) bounds: SpoolBounds,
    pub(super) policy: Option<SpoolPolicy>,
    pub(super) most_waiting: u64,
    pub(super) has_terminal: bool,
}

#[derive(Debug)]
pub(super) struct Agent {
    pub(super) worker: Worker,
    pub(super) thread: Thread,
    has_disk: bool,
    pub(super) paused: BTreeSet<CommandId>,
    /// Asked of the journal, and not durable yet.
    unsynced: VecDeque<JournalEntry>,
    /// What it is to start.
    pub(super) to_start: VecDeque<(CommandId, Task)>,
    /// What it is to type.
    typing: VecDeque<CommandId>,
    /// Whose processes it is to end.
    pub(super) to_end: Vec<CommandId>,
    /// A policy had to decide at some time.
    pub(super) was_full: bool,
    /// What the last page of each run brought into memory.
    pub(super) pages: BTreeMap<CommandId, u64>,
    /// The spool rejected a write, or was too slow.
    pub(super) disk_failed: bool,
}

impl Agent {
    /// A new process of the agent, with what the one before left on the disk and in the journal. Nothing that
    /// it left runs any more.
    pub(super) fn start(
        make: Make,
        unique: u64,
        disk: &mut Disk,
        journal: &CommandJournal,
        at: Duration,
    ) -> Self {
        let cleared = |left: LeftBehind| Cleared {
            command: left.command,
            fate: Fate::Ended,
            why: "it was killed".to_owned(),
        };
        let runs = disk.find().into_iter();
        let recovered = Recovered {
            cleared: journal.left_behind().into_iter().map(cleared).collect(),
            journal: journal.clone(),
            runs: runs
                .map(|(recovered, ended)| LeftRun { recovered, ended, sizes: Vec::new() })
                .collect(),
            ..Recovered::default()
        };
        let terminal = make.has_terminal.then(|| TerminalConfig {
            program: "a shell".to_owned(),
            size: TerminalSize::DEFAULT,
            screen: Screen::Detached,
            line_idle: TerminalConfig::LINE_IDLE,
            submit: SubmitKey::Enter,
        });
        let config = WorkerConfig {
            slots: make.slots,
            spool: make.bounds,
            policy: make.policy,
            journal: Journalling::Kept,
            terminal,
            fence: Fence::open(),
            background: Default::default(),
            activity: Default::default(),
            unique: unique.to_string(),
        };
        let mut agent = Self {
            worker: Worker::new(config, recovered, now(at)),
            thread: Thread::new(make.most_waiting),
            has_disk: make.bounds.disk > 0,
            paused: BTreeSet::new(),
            unsynced: VecDeque::new(),
            to_start: VecDeque::new(),
            typing: VecDeque::new(),
            to_end: Vec::new(),
            was_full: false,
            pages: BTreeMap::new(),
            disk_failed: false,
        };
        agent.perform(at);
        agent
    }

    pub(super) fn feed(&mut self, event: WorkerEvent, at: Duration) {
        self.worker.handle(event, now(at));
        self.perform(at);
    }

    fn perform(&mut self, at: Duration) {
        let mut outcomes = VecDeque::new();
        loop {
            self.perform_all(&mut outcomes);
            let Some(event) = outcomes.pop_front() else { return };
            self.worker.handle(event, now(at));
        }
    }

    fn perform_all(&mut self, outcomes: &mut VecDeque<WorkerEvent>) {
        while let Some(action) = self.worker.poll_action() {
            match action {
                WorkerAction::Start { command, task, .. } => {
                    self.to_start.push_back((command, task));
                }
                WorkerAction::Cancel { command, .. } | WorkerAction::Kill(command) => {
                    self.to_end.push(command);
                }
                WorkerAction::PauseReading(id) => drop(self.paused.insert(id)),
                WorkerAction::ResumeReading(id) => drop(self.paused.remove(&id)),
                WorkerAction::Journal(entry) => self.unsynced.push_back(entry),
                WorkerAction::Spool(request) => {
                    outcomes.extend(self.ask(request).map(WorkerEvent::Spool));
                }
                WorkerAction::Type { command, .. } => self.typing.push_back(command),
                WorkerAction::LookAtTerminal => {
                    outcomes.push_back(WorkerEvent::Looked(Some(READS)));
                }
                WorkerAction::Complain(_)
                | WorkerAction::End(_)
                | WorkerAction::Note(_)
                | WorkerAction::Draw(_)
                | WorkerAction::Answer(_)
                | WorkerAction::Resize(_)
                // Nothing that it starts leaves its group.
                | WorkerAction::Sweep(_) => {}
                other => panic!("in no world of output: {other:?}"),
            }
        }
    }

    fn ask(&mut self, request: SpoolRequest) -> Option<SpoolEvent> {
        if !self.has_disk || self.thread.ask(request) {
            return None;
        }
        self.disk_failed = true;
        Some(SpoolEvent::Failed("it is too slow".to_owned()))
    }

    // --- processes

    /// The oldest thing to start, under a run of this process.
    pub(super) fn started(&mut self, command: CommandId, at: Duration) {
        self.feed(WorkerEvent::Started { command, process: None }, at);
    }

    /// Reads from a pipe, unless it is to wait.
    pub(super) fn read(&mut self, process: &mut Process, stream: Stream, most: u64, at: Duration) {
        let id = process.run.command.clone();
        let length = process.in_pipe(stream).min(most);
        if !process.is_alive() || self.paused.contains(&id) || length == 0 {
            return;
        }
        let bytes = process.content(stream, *process.read.get(stream), length);
        *process.read.get_mut(stream) += length;
        self.was_full |= UnstoredOutput::is_full(&self.worker);
        self.feed(WorkerEvent::Output { command: id, stream, bytes }, at);
        self.was_full |= UnstoredOutput::is_full(&self.worker);
    }

    /// A process ended, and its pipes are empty.
    pub(super) fn on_ended(&mut self, process: &mut Process, at: Duration) {
        process.state = ProcessState::Done;
        let command = process.run.command.clone();
        self.feed(
            WorkerEvent::Ended { command, exit: Exit::Code(0), rest: Rest::Ended, open: vec![] },
            at,
        );
        self.was_full |= UnstoredOutput::is_full(&self.worker);
    }

    // --- the disk

    /// The oldest entry that is not durable becomes so.
    pub(super) fn sync(&mut self, journal: &mut CommandJournal, at: Duration) {
        let Some(entry) = self.unsynced.pop_front() else { return };
        let awaited = entry.awaited();
        journal.apply(entry);
        if let Some(awaited) = awaited {
            self.feed(WorkerEvent::Journalled { awaited, outcome: Ok(()) }, at);
        }
    }

    /// It dies: of what was written and not synced, any prefix may be there.
    pub(super) fn die(&mut self, journal: &mut CommandJournal, random: &mut fastrand::Rng) {
        let kept = random.usize(0..=self.unsynced.len());
        self.unsynced.drain(..kept).for_each(|entry| journal.apply(entry));
    }

    /// It ends: everything that it wrote is durable.
    pub(super) fn close(&mut self, journal: &mut CommandJournal) {
        self.unsynced.drain(..).for_each(|entry| journal.apply(entry));
    }

    pub(super) fn on_disk(&mut self, at: Duration) {
        let Some(event) = self.thread.events.pop_front() else { return };
        match &event {
            SpoolEvent::Appended(..) | SpoolEvent::NotRead(..) => {}
            SpoolEvent::Page(run, _, records) => {
                let cost = records.iter().map(|r| r.byte_count() + 64).sum();
                self.pages.insert(run.command.clone(), cost);
            }
            SpoolEvent::Failed(_) => self.disk_failed = true,
        }
        self.feed(WorkerEvent::Spool(event), at);
    }

    /// Types what is to be typed.
    pub(super) fn types(&mut self, at: Duration) {
        if let Some(command) = self.typing.pop_front() {
            self.feed(WorkerEvent::Typed { command, outcome: TypingOutcome::Typed }, at);
        }
    }

    pub(super) fn on_time(&mut self, at: Duration) {
        if self.worker.deadline().is_due(now(at).monotonic) {
            self.feed(WorkerEvent::Wake, at);
            let deadline = self.worker.deadline();
            let spins = deadline != Deadline::Never && deadline.is_due(now(at).monotonic);
            assert!(!spins, "woken at {at:?}, it asks for {deadline:?}");
        }
    }

    // --- the link

    pub(super) fn on_session(&mut self, capabilities: Capabilities, window: u64, at: Duration) {
        let session = WorkerSession {
            agent: Some(AgentId::new("a")),
            capabilities,
            output_window: window,
            stopped: None,
        };
        self.feed(WorkerEvent::Joined(session), at);
    }

    pub(super) fn on_cut(&mut self, at: Duration) {
        self.feed(WorkerEvent::SessionEnded, at);
    }

    /// The next message that the link takes.
    pub(super) fn next_message(&mut self, at: Duration) -> Option<AgentToServer> {
        let message = self.worker.next_message(now(at));
        self.perform(at);
        let message = match message? {
            WorkerMessage::Text(message) => *message,
            WorkerMessage::Binary(bytes) => {
                let frame = OutputFrame::decode(bytes, &Limits::DEFAULT).unwrap();
                AgentToServer::Output(frame.into())
            }
        };
        self.feed(WorkerEvent::Sent, at);
        Some(message)
    }

    pub(super) fn listen(&mut self, message: ServerToAgent, at: Duration) {
        self.feed(WorkerEvent::Message(Box::new(message)), at);
    }

    // --- to look at

    pub(super) fn held(&self) -> UnstoredOutput {
        UnstoredOutput::of(&self.worker)
    }

    /// Whether it waits for nothing any more.
    pub(super) fn is_at_rest(&self) -> bool {
        let relayed = self.held().relayed;
        let disk = self.thread.requests.is_empty() && self.unsynced.is_empty();
        let open = !self.to_start.is_empty() || !self.worker.open_commands(1).is_empty();
        self.held().streams.is_empty() && relayed.is_empty() && disk && !open
    }

    /// How many runs it holds anything of.
    pub(super) fn runs(&self) -> u64 {
        self.held().streams.len() as u64 / Stream::ALL.len() as u64
    }
}

/// Whether an end is written down.
pub(super) fn is_written(journal: &CommandJournal, command: &CommandId) -> bool {
    let of = |(id, standing): (&CommandId, &Standing)| {
        id == command && matches!(standing, Standing::Ended { .. })
    };
    journal.standings().any(of)
}
