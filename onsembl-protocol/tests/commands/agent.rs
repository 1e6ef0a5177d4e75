//! The agent's edge around the real [`Worker`]: its journal, its processes and what it types. It decides
//! nothing. What processes really did is kept by the world.

use super::now;
use onsembl_protocol::id::{AgentId, CommandId, StopId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::{Capabilities, Exit, Pausing, TerminalSize};
use onsembl_protocol::time::Deadline;
use onsembl_protocol::wire::{AgentToServer, OutputFrame, ServerToAgent};
use onsembl_protocol::worker::{
    Cleared, CommandJournal, Fate, Fence, JournalEntry, Journalling, LeftBehind, LineMode,
    Recovered, Rest, RunSignal, Screen, SpoolBounds, SubmitKey, Task, TerminalConfig,
    TerminalSettings, TypingOutcome, Worker, WorkerAction, WorkerConfig, WorkerEnd, WorkerEvent,
    WorkerMessage, WorkerSession,
};
use std::collections::VecDeque;
use std::time::Duration;

/// The program of a terminal reads its own keys.
const READS: TerminalSettings =
    TerminalSettings { lines: LineMode::Program, ..TerminalSettings::AS_OPENED };

/// What stays the same over all processes of an agent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Make {
    pub(super) slots: usize,
    pub(super) has_terminal: bool,
}

/// What a process is asked to do.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Start(CommandId),
    Type(CommandId),
    End(CommandId),
    Sweep,
}

/// A process of an agent.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) worker: Worker,
    /// Asked of the journal, and not durable yet.
    unsynced: VecDeque<JournalEntry>,
    pub(super) asked: VecDeque<Asked>,
    /// The one that it began last.
    terminal: Option<CommandId>,
    /// What heartbeats are to say of its pausing.
    pub(super) says_paused: Option<bool>,
    pub(super) over: Option<WorkerEnd>,
}

impl Agent {
    /// A new process, with what the one before left in the journal. What became of those processes says
    /// `fate`.
    pub(super) fn start(
        make: Make,
        unique: String,
        journal: &CommandJournal,
        mut fate: impl FnMut(&CommandId) -> Fate,
        at: Duration,
    ) -> Self {
        let cleared = |left: LeftBehind| Cleared {
            fate: fate(&left.command),
            command: left.command,
            why: "it was looked for".to_owned(),
        };
        let recovered = Recovered {
            cleared: journal.left_behind().into_iter().map(cleared).collect(),
            journal: journal.clone(),
            runs: Vec::new(),
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
            spool: SpoolBounds { memory: 1 << 16, disk: 0 },
            policy: None,
            journal: Journalling::Kept,
            terminal,
            fence: Fence::open(),
            background: Default::default(),
            activity: Default::default(),
            unique,
        };
        let mut agent = Self {
            worker: Worker::new(config, recovered, now(at)),
            unsynced: VecDeque::new(),
            asked: VecDeque::new(),
            terminal: None,
            says_paused: None,
            over: None,
        };
        agent.perform(at);
        agent
    }

    pub(super) fn feed(&mut self, event: WorkerEvent, at: Duration) {
        self.worker.handle(event, now(at));
        self.perform(at);
    }

    fn perform(&mut self, at: Duration) {
        loop {
            let mut looks = 0;
            self.perform_all(&mut looks);
            if looks == 0 {
                return;
            }
            self.worker.handle(WorkerEvent::Looked(Some(READS)), now(at));
        }
    }

    fn perform_all(&mut self, looks: &mut u32) {
        while let Some(action) = self.worker.poll_action() {
            match action {
                WorkerAction::Start { command, task, .. } => {
                    let is_terminal = matches!(task, Task::Terminal(_));
                    assert_eq!(is_terminal, command.is_terminal(), "{command}");
                    self.asked.push_back(Asked::Start(command));
                }
                WorkerAction::Cancel { command, .. } | WorkerAction::Kill(command) => {
                    self.asked.push_back(Asked::End(command));
                }
                WorkerAction::Sweep(RunSignal::Kill) => self.asked.push_back(Asked::Sweep),
                // Strays of this world ignore it.
                WorkerAction::Sweep(RunSignal::End) => {}
                WorkerAction::LookAtTerminal => *looks += 1,
                WorkerAction::Type { command, .. } => {
                    let ends = |a: &Asked| matches!(a, Asked::End(id) if self.terminal.as_ref() == Some(id));
                    let is_ending = self.asked.iter().any(ends);
                    assert!(!is_ending, "{command} is typed into a program that is being ended");
                    self.asked.push_back(Asked::Type(command));
                }
                WorkerAction::Journal(entry) => self.unsynced.push_back(entry),
                WorkerAction::SayPaused(pausing) => {
                    self.says_paused = Some(pausing == Pausing::Paused);
                }
                WorkerAction::End(end) => self.over = Some(end),
                WorkerAction::PauseReading(_)
                | WorkerAction::ResumeReading(_)
                | WorkerAction::Spool(_)
                | WorkerAction::Complain(_)
                | WorkerAction::Note(_) => {}
                other => panic!("in no world of commands: {other:?}"),
            }
        }
    }

    /// The oldest entry that is not durable becomes so. Whether there was one.
    pub(super) fn sync(&mut self, journal: &mut CommandJournal, at: Duration) -> bool {
        let Some(entry) = self.unsynced.pop_front() else { return false };
        let awaited = entry.awaited();
        journal.apply(entry);
        if let Some(awaited) = awaited {
            self.feed(WorkerEvent::Journalled { awaited, outcome: Ok(()) }, at);
        }
        true
    }

    /// It dies: of what was written and not synced, any prefix may be there.
    pub(super) fn die(mut self, journal: &mut CommandJournal, random: &mut fastrand::Rng) {
        let kept = random.usize(0..=self.unsynced.len());
        self.unsynced.drain(..kept).for_each(|entry| journal.apply(entry));
    }

    /// It ends in order: everything that it wrote is durable.
    pub(super) fn close(mut self, journal: &mut CommandJournal) {
        self.unsynced.drain(..).for_each(|entry| journal.apply(entry));
    }

    // --- processes

    pub(super) fn started(&mut self, command: CommandId, at: Duration) {
        if command.is_terminal() {
            self.terminal = Some(command.clone());
        }
        self.feed(WorkerEvent::Started { command, process: None }, at);
    }

    pub(super) fn not_started(&mut self, command: CommandId, at: Duration) {
        let why = "there is no such program".to_owned();
        self.feed(WorkerEvent::NotStarted { command, why }, at);
    }

    pub(super) fn ended(&mut self, command: CommandId, exit: Exit, rest: Rest, at: Duration) {
        // What was to be typed into a terminal that ended is typed nowhere.
        if command.is_terminal() {
            self.asked.retain(|asked| !matches!(asked, Asked::Type(_)));
        }
        self.feed(WorkerEvent::Ended { command, exit, rest, open: Vec::new() }, at);
    }

    pub(super) fn cleared(&mut self, command: CommandId, at: Duration) {
        self.feed(WorkerEvent::Cleared(command), at);
    }

    pub(super) fn typed(&mut self, command: CommandId, outcome: TypingOutcome, at: Duration) {
        self.feed(WorkerEvent::Typed { command, outcome }, at);
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

    pub(super) fn on_welcome(
        &mut self,
        agent: AgentId,
        capabilities: Capabilities,
        stopped: Option<StopId>,
        at: Duration,
    ) {
        let agent = Some(agent);
        let session = WorkerSession { agent, capabilities, output_window: 1 << 16, stopped };
        self.feed(WorkerEvent::Joined(session), at);
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

    pub(super) fn hear(&mut self, message: ServerToAgent, at: Duration) {
        self.feed(WorkerEvent::Message(Box::new(message)), at);
    }

    /// Whether it waits for nothing any more.
    pub(super) fn is_at_rest(&self) -> bool {
        self.unsynced.is_empty() && self.asked.is_empty() && !self.worker.has_messages()
    }
}
