// What one user can make a server hold, whatever its agents and its dashboards say and read, and whether the store answers
// late or never. The measure is the allocator, if there is one that counts; else only that nothing panics.

use super::bytes::{Bytes, Clocks};
use super::viewers::Viewers;
use onsembl_protocol::close::{Breakage, CloseReason};
use onsembl_protocol::fleet::{
    Fleet, FleetAction, FleetEvent, FleetLimits, Flow, Inserted, OpenedSession, Question, Receipt,
    RecordOutcome, Request, SeatId, StoreAnswer, StoreFault, Token, View, Write,
};
use onsembl_protocol::id::{
    AgentId, AgentKey, ByteOffset, ChunkSequence, CommandId, Epoch, Incarnation, InstanceId,
    LinkId, PresenceVersion, SessionId, UserId,
};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::{AGENT_FEATURES, Capabilities, Dialect, StopScope, Stream};
use onsembl_protocol::wire::payload::{
    AgentConnect, AgentExtensions, AgentType, CommandCancel, CommandRequest, EmergencyStop,
    LegacyCapabilities, OutputContent, OutputState, ReportedStream, TerminalOpened, TerminalOutput,
};
use onsembl_protocol::wire::{self, AgentToServer};
use std::collections::{BTreeMap, VecDeque};

/// Bytes that this process has allocated and not given back; zero if they are not counted.
pub type Meter = fn() -> usize;

/// Events of one input at most, with their repetitions.
const EVENTS: usize = 2_000;
/// What this world keeps besides the fleet: answers and receipts that are late.
const OWN: usize = 768 * 1024;
/// Answers of the store, and receipts, that are kept until they are due; others never come.
const LATE: usize = 64;
const LATE_RECEIPTS: usize = 512;
/// The largest piece of output of this world: one may come when all have too much already.
const PIECE: usize = 32 * 1024;

/// Any bytes, as what happens to a fleet.
pub fn fleet(bytes: &[u8]) {
    bounded(bytes, || 0);
}

/// The same, and the fleet with its view never holds more than its limits say.
pub fn bounded(bytes: &[u8], meter: Meter) {
    let mut bytes = Bytes(bytes);
    let before = meter();
    let mut world = World::new(limits());
    let of_fleet = world.limits.held_bytes() + OWN + 2 * PIECE;
    let mut left = EVENTS;
    while !bytes.is_empty() && left > 0 {
        let times = [1, 1, 1, 4, 64, 256][usize::from(bytes.byte() % 6)];
        let step = Step::read(&mut bytes);
        world.clocks.pass(&mut bytes, world.fleet.deadline());
        for _ in 0..times {
            left = left.saturating_sub(1);
            world.step(&step);
            let (held, most) = (meter(), of_fleet + world.viewers.most());
            assert!(
                held <= before + most,
                "{} bytes held, of at most {most}, after {step:?}",
                held - before,
            );
        }
    }
}

/// Small ones, so that short stories reach them.
fn limits() -> FleetLimits {
    let mut limits = FleetLimits::DEFAULT;
    limits.agents = 64;
    limits.agent_bytes = 256 << 10;
    limits.hello_bytes = 64 << 10;
    limits.open_commands = 16;
    limits.open_command_bytes = 256 << 10;
    limits.repetitions = 4;
    limits.terminals_of_agent = 4;
    limits.terminals_ending = 4;
    limits.terminals = 8;
    limits.unstored_output = 64 << 10;
    limits.unstored_output_of_user = 256 << 10;
    limits.tail_bytes = 256 << 10;
    limits.told_bytes = 16 << 10;
    limits.loose_outputs = 8;
    limits.ended_commands = 8;
    limits.pages_of_agent = 4;
    limits.pages = 16;
    limits.page_bytes = 64 << 10;
    limits.audits = 4;
    limits.audit_bytes = 64 << 10;
    limits.waiting_stops = 8;
    limits.deletions = 4;
    limits
}

/// One thing that happens, as often as it is repeated.
#[derive(Clone, Copy, Debug)]
struct Step {
    kind: u8,
    /// Which of several there are, or how it goes.
    which: u8,
    length: usize,
    id_length: usize,
    count: usize,
    /// Whether each repetition is about something new.
    is_new: bool,
}

impl Step {
    fn read(bytes: &mut Bytes<'_>) -> Self {
        Self {
            kind: bytes.byte(),
            which: bytes.byte(),
            length: bytes.pick(&[0, 1, 200, 3_000, 16_000, PIECE]),
            id_length: bytes.pick(&[4, 36, 250]),
            count: bytes.pick(&[0, 1, 20, 200]),
            is_new: bytes.byte().is_multiple_of(2),
        }
    }
}

struct Linked {
    link: LinkId,
    capabilities: Capabilities,
    session: Option<SessionId>,
    flow: Flow,
}

struct World {
    fleet: Fleet,
    view: View,
    viewers: Viewers,
    limits: FleetLimits,
    clocks: Clocks,
    seats: BTreeMap<SeatId, Linked>,
    /// Capabilities of hellos that are not answered.
    hellos: BTreeMap<LinkId, Capabilities>,
    answers: VecDeque<StoreAnswer>,
    receipts: VecDeque<Receipt>,
    number: u64,
}

impl World {
    fn new(limits: FleetLimits) -> Self {
        let clocks = Clocks::default();
        Self {
            viewers: Viewers::new(&clocks),
            fleet: Fleet::new(UserId::new("u"), SeatId(1), 1, limits),
            view: View::new(&limits),
            limits,
            clocks,
            seats: BTreeMap::new(),
            hellos: BTreeMap::new(),
            answers: VecDeque::new(),
            receipts: VecDeque::new(),
            number: 0,
        }
    }

    fn next(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// An id of this length: another one each time, or one of a few.
    fn id(&mut self, step: &Step) -> String {
        let n = if step.is_new { self.next() } else { u64::from(step.which % 8) };
        format!("{n:0width$}", width = step.id_length)
    }

    fn seat(&self, step: &Step) -> Option<SeatId> {
        let count = self.seats.len().max(1);
        self.seats.keys().nth(usize::from(step.which) % count).copied()
    }

    fn agent(&self, step: &Step) -> AgentId {
        let agents = self.view.agents();
        let at = usize::from(step.which) % agents.len().max(1);
        agents.keys().nth(at).cloned().unwrap_or_else(|| AgentId::new("nobody"))
    }

    fn step(&mut self, step: &Step) {
        match step.kind % 24 {
            0..3 => self.hello(step),
            3..11 => self.message(step),
            11..15 => self.request(step),
            15..18 => self.answer(step),
            18..20 => self.receive(step),
            20 => self.end_link(step),
            21 => self.forget(step),
            22 => {
                let doing = (step.which, step.count, self.next());
                self.viewers.step(doing, &self.view, &self.clocks);
            }
            _ => self.feed(FleetEvent::Wake),
        }
    }

    fn hello(&mut self, step: &Step) {
        let id = self.id(step);
        let link = LinkId(self.next());
        let word = "w".repeat(step.length.min(250));
        let is_legacy = step.which.is_multiple_of(4);
        let extensions = (!is_legacy).then(|| AgentExtensions {
            features: AGENT_FEATURES.to_vec(),
            agent_key: AgentKey::new(&id),
            instance: InstanceId::new(&id),
            probe: step.which == 255,
            commands: (0..step.count).map(|n| CommandId::new(format!("{n:0>36}"))).collect(),
            journal: None,
            max_parallel: Some(8),
            stop_id: None,
        });
        let capabilities = match is_legacy {
            true => Capabilities::LEGACY,
            false => Capabilities::negotiate(AGENT_FEATURES, AGENT_FEATURES, Dialect::Extended),
        };
        let capable = LegacyCapabilities {
            words: (0..step.count).map(|n| format!("{n}{word}")).collect(),
            ..LegacyCapabilities::default()
        };
        let hello = AgentConnect {
            agent_id: id.clone(),
            name: Some(id),
            agent_type: AgentType::Custom,
            version: Some(word.clone()),
            host_machine: Some(word),
            capabilities: capable,
            extensions,
        };
        if self.hellos.len() < LATE {
            let _ = self.hellos.insert(link, capabilities);
            let (hello, peer) = (Box::new(hello), "p".to_owned());
            self.feed(FleetEvent::Hello { link, hello, peer, bearer: None });
        }
    }

    fn message(&mut self, step: &Step) {
        let Some(seat) = self.seat(step) else { return };
        // An agent that is not read is not heard.
        if self.seats.get(&seat).is_none_or(|linked| linked.flow == Flow::Paused) {
            return;
        }
        let id = CommandId::new(self.id(step));
        let text = "x".repeat(step.length);
        let message = match step.kind % 24 {
            3 | 4 => {
                let number = self.next();
                let numbered = step.which.is_multiple_of(2);
                AgentToServer::Output(TerminalOutput {
                    command_id: self.open_command(step).unwrap_or(id),
                    agent_id: None,
                    stream: Stream::Stdout.into(),
                    content: OutputContent::Text(text),
                    sequence: numbered.then_some(ChunkSequence(number)),
                    offset: numbered.then_some(ByteOffset(number * PIECE as u64)),
                    incarnation: numbered.then_some(Incarnation(7)),
                })
            }
            5 | 6 => {
                let streams = (0..step.count).map(|n| ReportedStream {
                    command_id: CommandId::new(format!("{n:0width$}", width = step.id_length)),
                    incarnation: Incarnation(1),
                    stream_type: Stream::Stdout.into(),
                    produced: ByteOffset(9),
                    stored: ByteOffset(0),
                    gaps: 0,
                });
                let query = (step.which.is_multiple_of(2)).then(|| self.query()).flatten();
                let streams = streams.collect();
                AgentToServer::OutputState(OutputState { streams, more: step.is_new, query })
            }
            7 => AgentToServer::TerminalOpened(TerminalOpened {
                command_id: CommandId::new(format!("terminal-{id}")),
                program: text,
                opened_at: None,
                attached: step.which.is_multiple_of(2),
                size: None,
            }),
            8 => {
                let command = self.open_command(step).unwrap_or(id);
                let text = format!(
                    r#"{{"type":"COMMAND_COMPLETE","payload":{{"commandId":"{command}","status":"FAILED","error":"{text}"}}}}"#
                );
                return self.say(seat, &text);
            }
            9 => {
                let command = self.open_command(step).unwrap_or(id);
                let text = format!(
                    r#"{{"type":"COMMAND_ACK","payload":{{"commandId":"{command}","status":"EXECUTING"}}}}"#
                );
                return self.say(seat, &text);
            }
            10 => {
                let entry = format!(
                    r#"{{"cause":"no-route","confidence":"high","evidence":{{"said":"{text}"}},"agoMs":5}}"#
                );
                let entries = vec![entry; step.count.min(64)].join(",");
                let text = format!(
                    r#"{{"type":"AGENT_BLACK_BOX","payload":{{"number":{},"entries":[{entries}]}}}}"#,
                    step.length
                );
                return self.say(seat, &text);
            }
            _ => {
                let text = format!(
                    r#"{{"type":"AGENT_ERROR","payload":{{"errorType":"RESOURCE","message":"{text}","recoverable":true}}}}"#
                );
                return self.say(seat, &text);
            }
        };
        self.feed(FleetEvent::Message { seat, message: Box::new(message) });
    }

    /// A text as it comes over a link.
    fn say(&mut self, seat: SeatId, text: &str) {
        if let Ok(envelope) = wire::decode::<AgentToServer>(text, &Limits::DEFAULT) {
            self.feed(FleetEvent::Message { seat, message: Box::new(envelope.message) });
        }
    }

    fn open_command(&self, step: &Step) -> Option<CommandId> {
        let mut open = self.view.commands().map(|(id, _)| id);
        (step.which % 4 != 3).then(|| open.nth(usize::from(step.which / 4)).cloned())?
    }

    fn query(&self) -> Option<String> {
        self.answers.iter().find_map(|answer| match answer {
            StoreAnswer::Balance { query, .. } => Some(query.clone()),
            _ => None,
        })
    }

    fn request(&mut self, step: &Step) {
        let token = Token(self.next());
        let agent = self.agent(step);
        let id = CommandId::new(self.id(step));
        let reason = "r".repeat(step.length);
        let stop = |agent: &AgentId| EmergencyStop {
            reason: Some(reason.clone()),
            affected_agents: if step.is_new { vec![agent.to_string()] } else { Vec::new() },
            ..EmergencyStop::default()
        };
        let request = match step.which % 12 {
            0..5 => {
                let text = "t".repeat(step.length);
                Request::Command(Box::new(CommandRequest::new(id, agent, text)))
            }
            5 => Request::Cancel(CommandCancel {
                command_id: self.open_command(step).unwrap_or(id),
                agent_id: None,
                reason: None,
                force: true,
            }),
            6 => Request::LatchStop(stop(&agent)),
            7 => Request::Stop { scope: StopScope::Agent(agent), reason },
            8 => Request::Release(StopScope::All),
            9 => Request::DeleteAgent(agent),
            10 => Request::StopOnce(stop(&agent)),
            _ => Request::Audit(agent),
        };
        self.feed(FleetEvent::Request { token, request });
    }

    /// The store answers something, not always what was asked first, and not always well.
    fn answer(&mut self, step: &Step) {
        let count = self.answers.len().max(1);
        let Some(mut answer) = self.answers.remove(usize::from(step.which) % count) else { return };
        if step.count == 1 {
            let fault = || StoreFault::Unavailable("full".to_owned());
            match &mut answer {
                StoreAnswer::Session { opened, .. } => *opened = Err(fault().into()),
                StoreAnswer::Inserted { inserted, .. } => *inserted = Err(fault()),
                StoreAnswer::EndStored { stored, .. }
                | StoreAnswer::Stopped { stored, .. }
                | StoreAnswer::Released { stored, .. }
                | StoreAnswer::FindingsKept { kept: stored, .. } => *stored = Err(fault()),
                StoreAnswer::Positions { positions, .. }
                | StoreAnswer::Balance { positions, .. } => {
                    *positions = Err(fault());
                }
                StoreAnswer::LogPosition { position, .. } => *position = Err(fault()),
                StoreAnswer::Deleted { deleted, .. } => *deleted = Err(fault()),
            }
        }
        self.feed(FleetEvent::Store(answer));
    }

    fn receive(&mut self, step: &Step) {
        let count = self.receipts.len().min(step.count.max(1));
        let mut receipts: Vec<_> = self.receipts.drain(..count).collect();
        if step.which.is_multiple_of(8) {
            receipts.iter_mut().for_each(|receipt| receipt.outcome = RecordOutcome::NoSuchCommand);
        }
        self.feed(FleetEvent::Receipts(receipts));
    }

    fn end_link(&mut self, step: &Step) {
        let Some(seat) = self.seat(step) else { return };
        let Some(linked) = self.seats.get_mut(&seat) else { return };
        let (link, session) = (linked.link, linked.session.take());
        let reason = CloseReason::broken(Breakage::Reset);
        let _ = self.hellos.remove(&link);
        self.feed(FleetEvent::LinkEnded { seat, link, session, reason });
    }

    fn forget(&mut self, step: &Step) {
        let Some(seat) = self.seat(step) else { return };
        let Some(linked) = self.seats.remove(&seat) else { return };
        let _ = self.hellos.remove(&linked.link);
        let reason = CloseReason::broken(Breakage::Reset);
        let (link, session) = (linked.link, linked.session);
        self.feed(FleetEvent::LinkEnded { seat, link, session, reason });
        self.feed(FleetEvent::Forgotten { seat, history: None });
    }

    fn feed(&mut self, event: FleetEvent) {
        let mut next = VecDeque::from([event]);
        while let Some(event) = next.pop_front() {
            self.fleet.handle(event, self.clocks.now());
            while let Some(action) = self.fleet.poll_action() {
                next.extend(self.perform(action));
            }
        }
    }

    fn perform(&mut self, action: FleetAction) -> Option<FleetEvent> {
        match action {
            FleetAction::Show(changes) => {
                let _ = self.view.apply(changes);
                self.viewers.changed(&self.view, &self.clocks);
            }
            FleetAction::Join { link, seat, .. } => {
                let capabilities = self.hellos.get(&link).copied()?;
                let flow = Flow::Resumed;
                let linked = Linked { link, capabilities, session: None, flow };
                let _ = self.seats.insert(seat, linked);
                return Some(FleetEvent::Admit { seat, link });
            }
            FleetAction::RefuseHello { link, .. } | FleetAction::WelcomeProbe { link, .. } => {
                let _ = self.hellos.remove(&link);
            }
            FleetAction::Admit { seat, link, admission } => {
                let capabilities = self.hellos.remove(&link)?;
                if let Some(linked) = self.seats.get_mut(&seat) {
                    linked.session = Some(admission.session);
                    linked.capabilities = capabilities;
                }
                return Some(FleetEvent::Welcomed { seat, link, capabilities });
            }
            FleetAction::Reject { seat, link, .. } => {
                let _ = self.hellos.remove(&link);
                let reason = CloseReason::broken(Breakage::Reset);
                return Some(FleetEvent::LinkEnded { seat, link, session: None, reason });
            }
            FleetAction::Throttle { seat, flow } => {
                if let Some(linked) = self.seats.get_mut(&seat) {
                    linked.flow = flow;
                }
            }
            FleetAction::Evict { seat, .. } => {
                let linked = self.seats.remove(&seat)?;
                let _ = self.hellos.remove(&linked.link);
                return Some(FleetEvent::Forgotten { seat, history: None });
            }
            FleetAction::Ask(question) => self.ask(question),
            FleetAction::Write(write) => self.write(write),
            _ => {}
        }
        None
    }

    fn ask(&mut self, question: Question) {
        if self.answers.len() >= LATE {
            return;
        }
        let answer = match question {
            Question::Session { seat, link, new } => StoreAnswer::Session {
                seat,
                link,
                session: new.session,
                opened: Ok(OpenedSession {
                    agent: new.candidate.unwrap_or_else(|| AgentId::new(format!("a-{}", new.key))),
                    epoch: Epoch(self.next()),
                    presence_version: PresenceVersion(1),
                    unknown_stop: new.stop,
                }),
            },
            Question::Insert(mut record) => {
                record.request.text.clear();
                let inserted = match self.number % 7 {
                    0 => Inserted::Existing(record.clone()),
                    _ => Inserted::New,
                };
                StoreAnswer::Inserted { command: record.command, inserted: Ok(inserted) }
            }
            Question::Positions { ticket, .. } => {
                StoreAnswer::Positions { ticket, positions: Ok(Vec::new()) }
            }
            Question::LogPosition(command) => {
                StoreAnswer::LogPosition { command, position: Ok((None, Vec::new())) }
            }
            Question::Balance { query, .. } => {
                StoreAnswer::Balance { query, positions: Ok(Vec::new()) }
            }
            Question::KeepFindings(record) => StoreAnswer::FindingsKept {
                agent: record.agent,
                number: record.number,
                kept: Ok(()),
            },
            Question::DeleteAgent { token, agent } => {
                StoreAnswer::Deleted { token, agent, deleted: Ok(true) }
            }
            Question::Stop(order) => StoreAnswer::Stopped { stop: order.id, stored: Ok(()) },
            Question::Release { token, .. } => StoreAnswer::Released { token, stored: Ok(()) },
        };
        self.answers.push_back(answer);
    }

    fn write(&mut self, write: Write) {
        match write {
            Write::Output { command, record } if self.receipts.len() < LATE_RECEIPTS => {
                self.receipts.push_back(Receipt {
                    command,
                    incarnation: record.incarnation,
                    sequence: record.sequence,
                    stream: record.stream,
                    offset: record.offset,
                    end: record.end(),
                    outcome: RecordOutcome::Stored,
                });
            }
            Write::Terminal(record) if self.answers.len() < LATE => {
                let inserted = Ok(Inserted::New);
                self.answers.push_back(StoreAnswer::Inserted { command: record.command, inserted });
            }
            Write::Command { command, update }
                if update.stage.is_final() && self.answers.len() < LATE =>
            {
                self.answers.push_back(StoreAnswer::EndStored { command, stored: Ok(()) });
            }
            _ => {}
        }
    }
}
