//! Random stories of texts that go in pieces, over a link that goes away behind any of them: what is typed is whole, each
//! once, and none that was accepted is left. The fleet and the worker are the real ones.

use super::bench::{Bench, Keeps};
use super::now;
use super::server::{Down, Sent};
use bytes::Bytes;
use onsembl_protocol::fleet::{Answer, CommandStage, FleetLimits, Request};
use onsembl_protocol::id::{CommandId, LinkId};
use onsembl_protocol::model::{Stream, TerminalSize};
use onsembl_protocol::wire::payload::{CommandRequest, ErrorCode};
use onsembl_protocol::wire::{AgentToServer, ServerToAgent};
use onsembl_protocol::worker::{
    Fence, Journalling, LineMode, Recovered, Screen, SpoolBounds, StrokeKind, SubmitKey, Task,
    TerminalConfig, TerminalSettings, TypingOutcome, Worker, WorkerAction, WorkerConfig,
    WorkerEvent, WorkerMessage, WorkerSession,
};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

const READS: TerminalSettings =
    TerminalSettings { lines: LineMode::Program, ..TerminalSettings::AS_OPENED };

struct World {
    bench: Bench,
    worker: Worker,
    random: fastrand::Rng,
    link: Option<LinkId>,
    up: VecDeque<AgentToServer>,
    down: VecDeque<ServerToAgent>,
    /// What was accepted.
    accepted: BTreeMap<CommandId, String>,
    /// What came into the terminal.
    typed: BTreeMap<CommandId, Vec<u8>>,
    asked: usize,
}

fn worker() -> Worker {
    let terminal = TerminalConfig {
        program: "a program that takes pastes".to_owned(),
        size: TerminalSize::DEFAULT,
        screen: Screen::Detached,
        line_idle: TerminalConfig::LINE_IDLE,
        submit: SubmitKey::Enter,
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
    Worker::new(config, Recovered::default(), now(Duration::ZERO))
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            bench: Bench::new(FleetLimits::DEFAULT),
            worker: worker(),
            random: fastrand::Rng::with_seed(seed),
            link: None,
            up: VecDeque::new(),
            down: VecDeque::new(),
            accepted: BTreeMap::new(),
            typed: BTreeMap::new(),
            asked: 0,
        };
        world.perform();
        world.join();
        world
    }

    fn feed(&mut self, event: WorkerEvent) {
        self.worker.handle(event, now(self.bench.at));
        self.perform();
    }

    fn perform(&mut self) {
        loop {
            let mut events = Vec::new();
            while let Some(action) = self.worker.poll_action() {
                match action {
                    WorkerAction::Start { command, task: Task::Terminal(_), .. } => {
                        let (stream, bytes) =
                            (Stream::Terminal, Bytes::from_static(b"\x1b[?2004h"));
                        let of = command.clone();
                        events.push(WorkerEvent::Started { command, process: None });
                        events.push(WorkerEvent::Output { command: of, stream, bytes });
                    }
                    WorkerAction::LookAtTerminal => events.push(WorkerEvent::Looked(Some(READS))),
                    WorkerAction::Type { command, typing, .. } => {
                        let Some(StrokeKind::Text(text)) = typing.strokes.first().map(|s| &s.what)
                        else {
                            panic!("{:?}", typing.strokes)
                        };
                        let before = self.typed.insert(command.clone(), text.clone());
                        assert!(before.is_none(), "{command} is typed twice");
                        let outcome = TypingOutcome::Typed;
                        events.push(WorkerEvent::Typed { command, outcome });
                    }
                    _ => {}
                }
            }
            if events.is_empty() {
                return;
            }
            events.into_iter().for_each(|event| self.worker.handle(event, now(self.bench.at)));
        }
    }

    fn join(&mut self) {
        if self.link.is_some() {
            return;
        }
        let open: Vec<CommandId> = self.worker.open_commands(100);
        let link = self.bench.hello("process", Keeps::Nothing, &open);
        self.bench.calm();
        self.link = Some(link);
        let _ = self.hear_of_server();
    }

    /// What is on its way is lost.
    fn cut(&mut self) {
        let Some(link) = self.link.take() else { return };
        self.up.clear();
        self.down.clear();
        self.bench.cut(link);
        self.bench.calm();
        let _ = self.hear_of_server();
        self.feed(WorkerEvent::SessionEnded);
    }

    /// What the server sent goes to where it is for. Gives why a request was refused, if one was.
    fn hear_of_server(&mut self) -> Option<ErrorCode> {
        let mut refused = None;
        for sent in self.bench.take_sent() {
            match sent {
                Sent::Down(link, down) if Some(link) == self.link => match down {
                    Down::Welcome { agent, capabilities, stopped } => {
                        let (agent, output_window) = (Some(agent), 1 << 16);
                        let session = WorkerSession { agent, capabilities, output_window, stopped };
                        self.feed(WorkerEvent::Joined(session));
                    }
                    Down::Message(message) => self.down.push_back(*message),
                    Down::Closed(cause) => panic!("the server closes the link: {cause}"),
                },
                Sent::Reply(_, Answer::Refused(error)) => refused = Some(error.code),
                _ => {}
            }
        }
        refused
    }

    fn ask(&mut self) {
        self.asked += 1;
        let id = CommandId::new(format!("c-{:03}", self.asked));
        let length = self.random.usize(66_000..500_000);
        let text = format!("{} ", self.asked).repeat(length / 4);
        let request = CommandRequest::of_any_length(id.clone(), self.bench.agent(), text.clone());
        self.bench.request(Request::Command(Box::new(request)));
        self.bench.calm();
        match self.hear_of_server() {
            None => drop(self.accepted.insert(id, text)),
            Some(ErrorCode::QueueFull | ErrorCode::AgentOffline) => {}
            Some(other) => panic!("{id} is refused: {other}"),
        }
    }

    fn carry_down(&mut self) {
        if let Some(message) = self.down.pop_front() {
            // As it is on the wire, which has a text and its request apart.
            let message = match message {
                ServerToAgent::CommandRequest(request) => ServerToAgent::CommandRequest(
                    serde_json::from_value(serde_json::to_value(request).unwrap()).unwrap(),
                ),
                other => other,
            };
            self.feed(WorkerEvent::Message(Box::new(message)));
        }
    }

    fn carry_up(&mut self) {
        let Some(link) = self.link else { return };
        if let Some(message) = self.worker.next_message(now(self.bench.at)) {
            self.feed(WorkerEvent::Sent);
            if let WorkerMessage::Text(message) = message {
                self.up.push_back(*message);
            }
        }
        if let Some(message) = self.up.pop_front() {
            self.bench.hear(link, message);
            self.bench.calm();
            let _ = self.hear_of_server();
        }
    }

    fn pass(&mut self) {
        // The agent beats.
        if let Some(link) = self.link {
            self.bench.server.on_frame(link, self.bench.at);
        }
        self.bench.pass(Duration::from_secs(1));
        let _ = self.hear_of_server();
        if self.worker.deadline().is_due(now(self.bench.at).monotonic) {
            self.feed(WorkerEvent::Wake);
        }
    }

    fn step(&mut self) {
        match self.random.u32(0..100) {
            0..8 => self.ask(),
            8..60 => self.carry_down(),
            60..80 => self.carry_up(),
            80..85 => self.cut(),
            85..92 => self.join(),
            _ => self.pass(),
        }
    }

    /// All goes well from now on.
    fn settle(&mut self) {
        self.join();
        for _ in 0..200 {
            for _ in 0..20 {
                self.carry_down();
                self.carry_up();
            }
            self.pass();
        }
    }
}

#[test]
fn a_text_in_pieces_is_typed_whole_and_once_wherever_its_link_goes_away() {
    let mut typed = 0;
    for seed in 0..40 {
        let mut world = World::new(seed);
        for _ in 0..150 {
            world.step();
        }
        world.settle();
        for (id, text) in &world.accepted {
            assert_eq!(world.bench.stage(id), Some(CommandStage::Completed), "{id}, seed {seed}");
            let text = text.trim_end_matches('\n');
            let pasted = ["\x1b[200~", text, "\x1b[201~"].concat();
            assert!(world.typed.get(id) == Some(&pasted.into_bytes()), "{id}, seed {seed}");
        }
        assert_eq!(world.typed.len(), world.accepted.len(), "seed {seed}");
        typed += world.typed.len();
    }
    assert!(typed > 100, "{typed}");
}
