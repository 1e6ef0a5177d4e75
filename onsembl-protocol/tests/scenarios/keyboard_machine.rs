//! The agent's machine in the stories of a keyboard: the real worker, and the program of its terminal, of which is noted
//! what came into it.

use super::now;
use onsembl_protocol::id::{CommandId, HoldId};
use onsembl_protocol::model::{Exit, TerminalSize};
use onsembl_protocol::worker::{
    Fence, Journalling, LineMode, Recovered, RemoteOutcome, RemoteStroke, Rest, Screen,
    SpoolBounds, Task, TerminalConfig, TerminalSettings, TypingOutcome, Worker, WorkerAction,
    WorkerConfig, WorkerEvent,
};
use std::collections::VecDeque;
use std::time::Duration;

/// How long a begun line that nobody touches defers texts.
const LINE_IDLE: Duration = TerminalConfig::LINE_IDLE;
const READS: TerminalSettings =
    TerminalSettings { lines: LineMode::Program, ..TerminalSettings::AS_OPENED };

/// The agent's machine.
pub(super) struct Machine {
    pub(super) worker: Worker,
    /// The program that runs.
    pub(super) program: Option<CommandId>,
    pub(super) strokes: VecDeque<RemoteStroke>,
    /// The hold of which something was not typed.
    pub(super) broken: Option<HoldId>,
    pub(super) texts: VecDeque<CommandId>,
    /// What came into the terminal remotely: of which run, under which hold and number.
    pub(super) typed: Vec<(CommandId, RemoteStroke)>,
    /// Since when nobody touched what stands in the line, if something does.
    pub(super) line: Option<Duration>,
    /// The same of what came while a text was being typed: it stands behind that.
    pub(super) meanwhile: Option<Duration>,
    pub(super) typed_texts: usize,
}

impl Machine {
    pub(super) fn new() -> Self {
        let terminal = TerminalConfig {
            program: "a shell".to_owned(),
            size: TerminalSize::DEFAULT,
            screen: Screen::Detached,
            line_idle: LINE_IDLE,
            submit: onsembl_protocol::worker::SubmitKey::Enter,
        };
        let config = WorkerConfig {
            slots: 1,
            spool: SpoolBounds::MEMORY_ONLY,
            policy: None,
            journal: Journalling::Off,
            terminal: Some(terminal),
            fence: Fence::open(),
            background: Default::default(),
            activity: Default::default(),
            unique: "u".to_owned(),
        };
        let mut machine = Self {
            worker: Worker::new(config, Recovered::default(), now(Duration::ZERO)),
            program: None,
            strokes: VecDeque::new(),
            broken: None,
            texts: VecDeque::new(),
            typed: Vec::new(),
            line: None,
            meanwhile: None,
            typed_texts: 0,
        };
        machine.perform(Duration::ZERO);
        machine
    }

    pub(super) fn feed(&mut self, event: WorkerEvent, at: Duration) {
        self.worker.handle(event, now(at));
        self.perform(at);
    }

    pub(super) fn perform(&mut self, at: Duration) {
        loop {
            let mut events = Vec::new();
            while let Some(action) = self.worker.poll_action() {
                match action {
                    WorkerAction::Start { command, task: Task::Terminal(_), .. } => {
                        self.program = Some(command.clone());
                        events.push(WorkerEvent::Started { command, process: None });
                    }
                    WorkerAction::LookAtTerminal => {
                        events.push(WorkerEvent::Looked(self.program.as_ref().map(|_| READS)));
                    }
                    WorkerAction::TypeRemotely(stroke) => {
                        let is_broken = self.broken.as_ref() == Some(&stroke.hold);
                        assert!(!is_broken, "{} is typed behind what is missing", stroke.hold);
                        let is_sent = stroke.keys.0.last() == Some(&b'\r');
                        self.line = (!is_sent).then_some(at);
                        self.meanwhile = self.line;
                        self.strokes.push_back(stroke);
                    }
                    WorkerAction::Type { command, .. } => {
                        let is_begun = self.line.is_some_and(|touched| at < touched + LINE_IDLE);
                        assert!(!is_begun, "{command} is typed into the line that a holder began");
                        self.meanwhile = None;
                        self.typed_texts += 1;
                        self.texts.push_back(command);
                    }
                    WorkerAction::Cancel { command, .. } | WorkerAction::Kill(command) => {
                        events.extend(self.end(&command));
                    }
                    _ => {}
                }
            }
            if events.is_empty() {
                return;
            }
            events.into_iter().for_each(|event| self.worker.handle(event, now(at)));
        }
    }

    /// The program ends: what was not typed is lost.
    pub(super) fn end(&mut self, command: &CommandId) -> Vec<WorkerEvent> {
        if self.program.take_if(|program| program == command).is_none() {
            return Vec::new();
        }
        self.line = None;
        let why = || "the program in the terminal has ended".to_owned();
        let mut events = Vec::new();
        for stroke in self.strokes.drain(..) {
            let outcome = RemoteOutcome::Lost(why());
            events.push(WorkerEvent::TypedRemotely { stroke, outcome });
        }
        for command in self.texts.drain(..) {
            events.push(WorkerEvent::Typed { command, outcome: TypingOutcome::Refused(why()) });
        }
        let (exit, rest, open) = (Exit::Code(0), Rest::Ended, Vec::new());
        events.push(WorkerEvent::Ended { command: command.clone(), exit, rest, open });
        events
    }

    /// The next stroke comes into the terminal, or is not taken.
    pub(super) fn stroke(&mut self, is_taken: bool, at: Duration) {
        let Some(stroke) = self.strokes.pop_front() else { return };
        let outcome = match is_taken {
            true => {
                let program = self.program.clone().expect("strokes go with their program");
                self.typed.push((program, stroke.clone()));
                RemoteOutcome::Typed
            }
            false => {
                // Nothing more of that hold is typed.
                self.broken = Some(stroke.hold.clone());
                RemoteOutcome::Lost("it is not read".to_owned())
            }
        };
        self.feed(WorkerEvent::TypedRemotely { stroke, outcome }, at);
    }

    pub(super) fn wake(&mut self, at: Duration) {
        if self.worker.deadline().is_due(now(at).monotonic) {
            self.feed(WorkerEvent::Wake, at);
        }
    }
}
