//! Random stories of what a program does: facts in any order, some of them old, floods of them, keys, and texts that are
//! typed only if it waits. What may be told and typed says a model of its own.

use super::now;
use bytes::Bytes;
use onsembl_protocol::id::{AgentId, CommandId, HoldId, InputSequence};
use onsembl_protocol::model::{
    AGENT_FEATURES, ActivityState, Capabilities, Dialect, Question, QuestionKind, SERVER_FEATURES,
    Stream, TerminalSize,
};
use onsembl_protocol::wire::payload::{CommandRequest, TerminalInput, TypeIf, TypedBytes};
use onsembl_protocol::wire::{AgentToServer, ServerToAgent};
use onsembl_protocol::worker::{
    Call, Fact, Fence, Journalling, LineMode, Recovered, RemoteOutcome, Screen, SpoolBounds, Task,
    TerminalConfig, TerminalSettings, ToolUser, TypingOutcome, Worker, WorkerAction, WorkerConfig,
    WorkerEvent, WorkerMessage, WorkerSession,
};
use std::time::Duration;

const READS: TerminalSettings =
    TerminalSettings { lines: LineMode::Program, ..TerminalSettings::AS_OPENED };
/// A state is told for so long at least (P-410).
const DWELL: Duration = Duration::from_millis(500);
/// Facts of a second beyond which nothing is known (P-412).
const MOST: u32 = 100;
const SECOND: Duration = Duration::from_secs(1);

/// What facts show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Nothing,
    Working,
    Waiting,
    Asking,
}

impl Shown {
    fn of(state: &ActivityState) -> Self {
        match state {
            ActivityState::Working => Self::Working,
            ActivityState::Waiting => Self::Waiting,
            ActivityState::Asking => Self::Asking,
            _ => Self::Nothing,
        }
    }
}

/// The rules P-411 and P-412, for facts of hooks.
struct Model {
    shown: Shown,
    /// When something was submitted last.
    turn: Duration,
    /// The second in which facts are counted.
    counted: (Duration, u32),
}

impl Model {
    fn fact(&mut self, fact: &Fact, age: Duration, at: Duration) {
        if self.counted.0 + SECOND <= at {
            self.counted = (at, 0);
        }
        self.counted.1 += 1;
        if self.counted.1 > MOST {
            self.shown = Shown::Nothing;
            return;
        }
        let happened = at.saturating_sub(age);
        let becomes = match fact {
            Fact::SessionEnded => Shown::Nothing,
            Fact::PromptSubmitted | Fact::ToolUsed(ToolUser::Agent) => Shown::Working,
            Fact::SessionStarted | Fact::TurnEnded | Fact::Notified(Call::Waits) => Shown::Waiting,
            Fact::PermissionRequested(_) => Shown::Asking,
            _ => return,
        };
        if *fact == Fact::PromptSubmitted {
            self.turn = self.turn.max(happened);
        }
        let is_old = matches!(becomes, Shown::Waiting | Shown::Asking) && happened < self.turn;
        // A question is not answered by the end of a turn (P-412).
        let leaves_question = self.shown == Shown::Asking && matches!(fact, Fact::TurnEnded);
        if !is_old && !leaves_question {
            self.shown = becomes;
        }
    }

    fn key(&mut self, key: u8, at: Duration) {
        if key == b'\r' {
            self.turn = at;
        }
        self.shown = match (self.shown, key) {
            (Shown::Asking, _) | (Shown::Waiting, b'\r') | (Shown::Working, 0x03) => Shown::Nothing,
            (shown, _) => shown,
        };
    }
}

struct World {
    worker: Worker,
    program: CommandId,
    model: Model,
    random: fastrand::Rng,
    at: Duration,
    /// Each state that the model had, and until when.
    were: Vec<(Shown, Duration)>,
    told_at: Option<Duration>,
    told: [u32; 4],
    keys: u64,
    texts: u64,
    typed: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let terminal = TerminalConfig {
            program: "a shell".to_owned(),
            size: TerminalSize::DEFAULT,
            screen: Screen::Detached,
            line_idle: Duration::from_millis(1),
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
        let mut worker = Worker::new(config, Recovered::default(), now(Duration::ZERO));
        let program = std::iter::from_fn(|| worker.poll_action()).find_map(|action| match action {
            WorkerAction::Start { command, task: Task::Terminal(_), .. } => Some(command),
            _ => None,
        });
        let program = program.expect("its program starts");
        let model =
            Model { shown: Shown::Nothing, turn: Duration::ZERO, counted: (Duration::ZERO, 0) };
        let mut world = Self {
            worker,
            program: program.clone(),
            model,
            random: fastrand::Rng::with_seed(seed),
            at: Duration::ZERO,
            were: Vec::new(),
            told_at: None,
            told: [0; 4],
            keys: 0,
            texts: 0,
            typed: 0,
        };
        world.feed(WorkerEvent::Started { command: program, process: None });
        let capabilities =
            Capabilities::negotiate(AGENT_FEATURES, SERVER_FEATURES, Dialect::Extended);
        let agent = Some(AgentId::new("a"));
        let session = WorkerSession { agent, capabilities, output_window: 1 << 20, stopped: None };
        world.feed(WorkerEvent::Joined(session));
        world
    }

    fn feed(&mut self, event: WorkerEvent) {
        self.worker.handle(event, now(self.at));
        self.perform();
        self.hear();
    }

    fn perform(&mut self) {
        loop {
            let mut events = Vec::new();
            while let Some(action) = self.worker.poll_action() {
                match action {
                    WorkerAction::LookAtTerminal => events.push(WorkerEvent::Looked(Some(READS))),
                    WorkerAction::TypeRemotely(stroke) => {
                        let outcome = RemoteOutcome::Typed;
                        events.push(WorkerEvent::TypedRemotely { stroke, outcome });
                    }
                    WorkerAction::Type { command, .. } => {
                        assert_eq!(self.model.shown, Shown::Waiting, "a text was typed");
                        self.typed += 1;
                        // Its Enter submits.
                        self.become_of(|model, at| model.key(b'\r', at));
                        events.push(WorkerEvent::Typed { command, outcome: TypingOutcome::Typed });
                    }
                    _ => {}
                }
            }
            if events.is_empty() {
                return;
            }
            events.into_iter().for_each(|event| self.worker.handle(event, now(self.at)));
        }
    }

    fn become_of(&mut self, change: impl FnOnce(&mut Model, Duration)) {
        self.were.push((self.model.shown, self.at));
        change(&mut self.model, self.at);
    }

    /// What is told has been so within the time for which a state is told.
    fn hear(&mut self) {
        while let Some(message) = self.worker.next_message(now(self.at)) {
            self.worker.handle(WorkerEvent::Sent, now(self.at));
            self.perform();
            let WorkerMessage::Text(message) = message else { continue };
            let AgentToServer::Activity(activity) = *message else { continue };
            let told = Shown::of(&activity.state);
            let recent = |(_, until): &&(Shown, Duration)| *until + DWELL > self.at;
            let mut may = self.were.iter().rev().take_while(recent).map(|(shown, _)| *shown);
            let is_so = told == self.model.shown || may.any(|shown| shown == told);
            assert!(is_so, "{told:?} was told, and it is {:?}", self.model.shown);
            assert_eq!(activity.question.is_some(), told == Shown::Asking);
            let is_soon = self.told_at.is_some_and(|before| self.at < before + DWELL);
            assert!(!is_soon, "told {told:?} sooner than after {DWELL:?}");
            self.told_at = Some(self.at);
            self.told[told as usize] += 1;
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.at + time;
        loop {
            let next = match self.worker.deadline() {
                onsembl_protocol::time::Deadline::At(at) => at.since_origin().max(self.at),
                onsembl_protocol::time::Deadline::Never => until,
            };
            if next >= until {
                break;
            }
            self.at = next;
            self.feed(WorkerEvent::Wake);
        }
        self.at = until;
        self.feed(WorkerEvent::Wake);
    }

    fn step(&mut self) {
        match self.random.u32(0..20) {
            0..=9 => {
                let question = Question::new(QuestionKind::Permission, "Allow Bash?", ["yes"]);
                let facts = [
                    Fact::SessionStarted,
                    Fact::SessionEnded,
                    Fact::PromptSubmitted,
                    Fact::ToolUsed(ToolUser::Agent),
                    Fact::ToolUsed(ToolUser::Subagent),
                    Fact::TurnEnded,
                    Fact::PermissionRequested(question),
                    Fact::Notified(Call::Waits),
                    Fact::Notified(Call::Other),
                ];
                let fact = self.random.choice(facts).expect("there are some");
                let age = Duration::from_millis(self.random.choice([0, 0, 300, 900]).unwrap_or(0));
                let count = if self.random.u32(0..30) == 0 { 2 * MOST } else { 1 };
                for _ in 0..count {
                    self.become_of(|model, at| model.fact(&fact, age, at));
                    let (command, fact) = (self.program.clone(), fact.clone());
                    self.feed(WorkerEvent::Fact { command, fact, age });
                }
            }
            10..=12 => {
                self.keys += 1;
                let key = self.random.choice([b'\r', 0x03, b'y']).expect("there are some");
                self.become_of(|model, at| model.key(key, at));
                let input = TerminalInput {
                    command_id: self.program.clone(),
                    holder: HoldId::new("h"),
                    sequence: InputSequence(self.keys),
                    bytes: TypedBytes(Bytes::copy_from_slice(&[key])),
                };
                let message = Box::new(ServerToAgent::TerminalInput(input));
                self.feed(WorkerEvent::Message(message));
            }
            13..=14 => {
                self.texts += 1;
                let id = CommandId::new(format!("text-{}", self.texts));
                let mut request = CommandRequest::new(id, AgentId::new("a"), "a text");
                request.condition = Some(TypeIf::Waiting);
                let message = Box::new(ServerToAgent::CommandRequest(request));
                self.feed(WorkerEvent::Message(message));
            }
            15 => {
                let (command, stream) = (self.program.clone(), Stream::Terminal);
                let bytes = Bytes::from_static(b"drawn");
                self.feed(WorkerEvent::Output { command, stream, bytes });
            }
            _ => {
                let time = self.random.choice([50, 200, 700, 3_000]).unwrap_or(50);
                self.pass(Duration::from_millis(time));
            }
        }
    }
}

#[test]
fn what_is_told_of_a_program_rests_on_facts_and_so_does_what_is_typed_for_it() {
    let (mut told, mut typed) = ([0; 4], 0);
    for seed in 0..150 {
        let story = std::panic::AssertUnwindSafe(|| {
            let mut world = World::new(seed);
            (0..300).for_each(|_| world.step());
            (world.told, world.typed)
        });
        match std::panic::catch_unwind(story) {
            Ok((states, texts)) => {
                told.iter_mut().zip(states).for_each(|(all, one)| *all += one);
                typed += texts;
            }
            Err(panic) => {
                eprintln!("caught after {} seeds: what a program does", seed + 1);
                std::panic::resume_unwind(panic);
            }
        }
    }
    assert!(told.iter().all(|told| *told > 100) && typed > 50, "{told:?}, {typed} texts");
}
