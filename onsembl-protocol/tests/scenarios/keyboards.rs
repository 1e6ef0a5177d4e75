//! Random stories of the keyboard of a terminal: dashboards that take it, type and go, an agent that is cut off, stopped
//! and whose program ends, and texts that others ask for meanwhile. The fleet and the worker are the real ones; what
//! must come of it says a model of its own, and what came into the terminal is looked at byte by byte.

use super::bench::{Bench, Keeps};
use super::keyboard_machine::Machine;
use super::now;
use super::server::{Down, Sent};
use bytes::Bytes;
use onsembl_protocol::fleet::{
    Answer, CommandStage, FleetLimits, HoldEnd, HoldRecord, KeyboardRequest, Request, Write,
};
use onsembl_protocol::id::{CommandId, DashboardId, HoldId, InputSequence, LinkId};
use onsembl_protocol::model::StopScope;
use onsembl_protocol::wire::payload::{
    CommandRequest, EmergencyStop, ErrorCode, KeyboardRelease, KeyboardTake, TakeMode,
    TerminalInput, TypedBytes,
};
use onsembl_protocol::wire::{AgentToServer, ServerToAgent};
use onsembl_protocol::worker::{TypingOutcome, WorkerEvent, WorkerMessage, WorkerSession};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A hold without a key ends after this (P-401).
const IDLE: Duration = Duration::from_secs(600);
/// What may be on its way under a hold (P-403).
const OUTSTANDING: u64 = 64 * 1024;

/// What the model knows of the present hold.
#[derive(Clone, Debug)]
struct Held {
    by: u64,
    id: HoldId,
    touched: Duration,
    accepted: u64,
    /// Of which it was said that they are in the terminal.
    taken: u64,
    bytes: Vec<u64>,
}

impl Held {
    fn outstanding(&self) -> u64 {
        self.bytes.iter().skip(usize::try_from(self.taken).unwrap()).sum()
    }
}

struct World {
    bench: Bench,
    machine: Machine,
    random: fastrand::Rng,
    link: Option<LinkId>,
    up: VecDeque<AgentToServer>,
    down: VecDeque<ServerToAgent>,
    terminal: Option<CommandId>,
    /// By terminal: one that has ended may be open at the server yet.
    held: BTreeMap<CommandId, Held>,
    /// Each dashboard's holds, the latest last.
    own: BTreeMap<u64, Vec<HoldId>>,
    /// Of each hold the bytes that were accepted, and its end as it was written down.
    accepted: BTreeMap<HoldId, Vec<(CommandId, Bytes)>>,
    written: BTreeMap<HoldId, Option<HoldEnd>>,
    stop: bool,
    asked: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            bench: Bench::new(FleetLimits::DEFAULT),
            machine: Machine::new(),
            random: fastrand::Rng::with_seed(seed),
            link: None,
            up: VecDeque::new(),
            down: VecDeque::new(),
            terminal: None,
            held: BTreeMap::new(),
            own: BTreeMap::new(),
            accepted: BTreeMap::new(),
            written: BTreeMap::new(),
            stop: false,
            asked: 0,
        };
        world.join();
        world
    }

    // --- the link

    fn join(&mut self) {
        if self.link.is_some() {
            return;
        }
        let open: Vec<CommandId> = self.machine.worker.open_commands(100);
        let link = self.bench.hello("process", Keeps::Nothing, &open);
        self.bench.calm();
        self.link = Some(link);
        self.hear_of_server();
    }

    fn cut(&mut self) {
        let Some(link) = self.link.take() else { return };
        self.up.clear();
        self.down.clear();
        self.bench.cut(link);
        self.bench.calm();
        self.held.clear();
        self.hear_of_server();
        let at = self.bench.at;
        self.machine.feed(WorkerEvent::SessionEnded, at);
    }

    /// What the server sent goes to where it is for.
    fn hear_of_server(&mut self) {
        let at = self.bench.at;
        for sent in self.bench.take_sent() {
            match sent {
                Sent::Down(link, down) if Some(link) == self.link => match down {
                    Down::Welcome { agent, capabilities, stopped } => {
                        let agent = Some(agent);
                        let output_window = 1 << 16;
                        let session = WorkerSession { agent, capabilities, output_window, stopped };
                        self.machine.feed(WorkerEvent::Joined(session), at);
                    }
                    Down::Message(message) => self.down.push_back(*message),
                    Down::Closed(cause) => panic!("the server closes the link: {cause}"),
                },
                Sent::Write(Write::Keyboard(record)) => self.note(record.hold),
                _ => {}
            }
        }
    }

    /// A hold was written down: first that it began, then while something is typed how much, and then, once, how it ended.
    fn note(&mut self, record: HoldRecord) {
        let HoldRecord { hold: id, ended, bytes, .. } = record;
        let end = ended.map(|(_, why)| why);
        match (self.written.get(&id), &end) {
            (None, None) | (Some(None), None | Some(_)) => {}
            (before, now) => panic!("hold {id} was written as {before:?}, and then as {now:?}"),
        }
        let accepted = self.accepted.get(&id).into_iter().flatten();
        let accepted: usize = accepted.map(|(_, bytes)| bytes.len()).sum();
        match end {
            Some(_) => assert_eq!(bytes, accepted as u64, "bytes of hold {id}"),
            None => assert!(bytes <= accepted as u64, "bytes of hold {id}"),
        }
        self.written.insert(id, end);
    }

    fn carry_up(&mut self) {
        let at = self.bench.at;
        let Some(link) = self.link else { return };
        if let Some(message) = self.machine.worker.next_message(now(at)) {
            self.machine.perform(at);
            self.machine.feed(WorkerEvent::Sent, at);
            if let WorkerMessage::Text(message) = message {
                self.up.push_back(*message);
            }
        }
        let Some(message) = self.up.pop_front() else { return };
        if let AgentToServer::TerminalInputState(said) = &message
            && let Some(held) = self.held.get_mut(&said.command_id)
            && held.id == said.holder
        {
            held.taken = held.taken.max(said.taken.0.min(held.accepted));
            if said.refused.is_some() {
                self.held.remove(&said.command_id);
            }
        }
        self.bench.hear(link, message);
        self.bench.calm();
        self.hear_of_server();
    }

    fn carry_down(&mut self) {
        let at = self.bench.at;
        if let Some(message) = self.down.pop_front() {
            self.machine.feed(WorkerEvent::Message(Box::new(message)), at);
        }
    }

    // --- dashboards

    fn ask(&mut self, request: Request) -> Answer {
        self.asked += 1;
        self.bench.request(request);
        self.bench.calm();
        let replies = self.bench.server.sent.iter();
        let answer = replies.filter_map(|sent| match sent {
            Sent::Reply(_, answer) => Some(answer.clone()),
            _ => None,
        });
        let answer = answer.last().expect("it is answered at once");
        self.hear_of_server();
        answer
    }

    fn keyboard(&mut self, by: u64, request: KeyboardRequest) -> Answer {
        self.ask(Request::Keyboard(DashboardId(by), request))
    }

    fn may_type(&self, terminal: &CommandId) -> bool {
        let is_open = self.bench.stage(terminal) == Some(CommandStage::Running);
        self.link.is_some() && !self.stop && is_open
    }

    fn take(&mut self, by: u64, over: bool) {
        let Some(terminal) = self.terminal.clone() else { return };
        let may = self.may_type(&terminal);
        let mode = if over { TakeMode::Over } else { TakeMode::IfFree };
        let command_id = terminal.clone();
        let take = KeyboardTake { command_id, name: format!("d{by}"), mode: Some(mode) };
        match self.keyboard(by, KeyboardRequest::Take(take)) {
            Answer::Keyboard { view, .. } => {
                assert!(may, "a keyboard was given that nobody may have");
                let at = self.bench.at;
                match self.held.get_mut(&terminal) {
                    Some(held) if held.by == by => {
                        assert_eq!(view.hold, held.id, "it keeps its hold");
                        held.touched = at;
                    }
                    before => {
                        assert!(before.is_none() || over, "it was taken from its holder");
                        let known = self.accepted.keys().next_back();
                        assert!(known.is_none_or(|known| *known < view.hold), "holds grow");
                        let bytes = Vec::new();
                        let id = view.hold.clone();
                        let held = Held { by, id, touched: at, accepted: 0, taken: 0, bytes };
                        self.held.insert(terminal, held);
                        self.own.entry(by).or_default().push(view.hold.clone());
                        self.accepted.insert(view.hold, Vec::new());
                    }
                }
            }
            Answer::Refused(error) => {
                let is_held = self.held.get(&terminal).is_some_and(|held| held.by != by);
                assert!(!may || is_held && !over, "refused: {}", error.message);
            }
            other => panic!("{other:?}"),
        }
    }

    fn release(&mut self, by: u64) {
        let (Some(terminal), Some(id)) = (self.terminal.clone(), self.own.get(&by)) else { return };
        let Some(holder) = id.last().cloned() else { return };
        let held = self.held.get(&terminal);
        let holds = held.is_some_and(|held| held.by == by && held.id == holder);
        let release = KeyboardRelease { command_id: terminal.clone(), holder };
        let answer = self.keyboard(by, KeyboardRequest::Release(release));
        assert_eq!(answer == Answer::Done, holds, "{answer:?}");
        if holds {
            self.held.remove(&terminal);
        }
    }

    /// Types the input that is due, or another one, under the latest hold of this dashboard or its first.
    fn types(&mut self, by: u64) {
        let Some(terminal) = self.terminal.clone() else { return };
        let own = self.own.get(&by).cloned().unwrap_or_default();
        let hold = match self.random.u32(0..8) {
            0 => own.first().cloned(),
            // Of somebody else.
            1 => self.held.get(&terminal).map(|held| held.id.clone()),
            _ => own.last().cloned(),
        };
        let Some(hold) = hold else { return };
        let held = self.held.get(&terminal);
        let is_holder = held.is_some_and(|held| held.by == by && held.id == hold);
        let due = held.filter(|_| is_holder).map_or(1, |held| held.accepted + 1);
        let sequence = match self.random.u32(0..8) {
            0 => due.saturating_sub(1).max(1),
            1 => due + 1 + self.random.u64(0..3),
            _ => due,
        };
        let length = if self.random.u32(0..4) == 0 { 16 * 1024 } else { 9 };
        let mut bytes = format!("{:08}", self.asked).into_bytes();
        bytes.resize(length - 1, b'x');
        bytes.push(if self.random.bool() { b'\r' } else { b'-' });
        let bytes = Bytes::from(bytes);
        let input = TerminalInput {
            command_id: terminal.clone(),
            holder: hold.clone(),
            sequence: InputSequence(sequence),
            bytes: TypedBytes(bytes.clone()),
        };
        let at = self.bench.at;
        match self.keyboard(by, KeyboardRequest::Input(input)).done() {
            Ok(()) => {
                assert!(is_holder, "d{by} typed under {hold}, and holds nothing");
                assert!(sequence <= due, "number {sequence} was taken where {due} was due");
                let Some(held) = self.held.get_mut(&terminal).filter(|_| sequence == due) else {
                    return;
                };
                held.accepted = sequence;
                held.touched = at;
                held.bytes.push(bytes.len() as u64);
                assert!(held.outstanding() <= OUTSTANDING, "{} wait", held.outstanding());
                self.accepted.entry(hold.clone()).or_default().push((terminal, bytes));
            }
            Err(error) => {
                let room =
                    self.held.get(&terminal).map_or(0, |h| h.outstanding() + bytes.len() as u64);
                let is_full = error.code == ErrorCode::QueueFull;
                let is_right = is_holder && sequence <= due && room <= OUTSTANDING;
                // How fast somebody types is not modelled.
                assert!(!is_right || is_full, "refused: {}", error.message);
            }
        }
    }

    fn leave(&mut self, by: u64) {
        let _ = self.keyboard(by, KeyboardRequest::LinkLost);
        self.held.retain(|_, held| held.by != by);
    }

    // --- what happens besides

    fn pass(&mut self, time: Duration) {
        let until = self.bench.at + time;
        while self.bench.at < until {
            self.bench.at += Duration::from_secs(1).min(until - self.bench.at);
            let at = self.bench.at;
            // The agent beats.
            if let Some(link) = self.link {
                self.bench.server.on_frame(link, at);
            }
            self.bench.server.on_time(at);
            self.bench.calm();
            self.hear_of_server();
            self.machine.wake(at);
            self.held.retain(|_, held| at < held.touched + IDLE);
        }
    }

    fn stop(&mut self) {
        if self.stop {
            let _ = self.ask(Request::Release(StopScope::All));
            self.stop = false;
        } else {
            let _ = self.ask(Request::LatchStop(EmergencyStop::default()));
            self.stop = true;
            for held in std::mem::take(&mut self.held).into_values() {
                let end = self.written.get(&held.id).and_then(Option::as_ref);
                assert_eq!(
                    end,
                    Some(&HoldEnd::Stopped),
                    "a stop ends each hold, and is its reason"
                );
            }
        }
    }

    fn text(&mut self) {
        self.asked += 1;
        let id = CommandId::new(format!("text-{}", self.asked));
        let request = CommandRequest::new(id, self.bench.agent(), "a text");
        let _ = self.ask(Request::Command(Box::new(request)));
    }

    fn step(&mut self) {
        let at = self.bench.at;
        let by = self.random.u64(0..3);
        match self.random.u32(0..40) {
            0..=3 => {
                let over = self.random.u32(0..3) == 0;
                self.take(by, over);
            }
            4 => self.release(by),
            5..=14 => self.types(by),
            15..=22 => self.carry_up(),
            23..=26 => self.carry_down(),
            27..=30 => {
                let is_taken = self.random.u32(0..12) != 0;
                self.machine.stroke(is_taken, at);
            }
            31 => self.leave(by),
            32 => self.text(),
            33 => {
                let program = self.machine.program.clone();
                if let Some(program) = program.filter(|_| self.random.bool()) {
                    let events = self.machine.end(&program);
                    events.into_iter().for_each(|event| self.machine.feed(event, at));
                }
            }
            34 => {
                if let Some(command) = self.machine.texts.pop_front() {
                    self.machine.line = self.machine.meanwhile;
                    let outcome = TypingOutcome::Typed;
                    self.machine.feed(WorkerEvent::Typed { command, outcome }, at);
                }
            }
            35 => match self.link {
                Some(_) if self.random.u32(0..3) == 0 => self.cut(),
                Some(_) => {}
                None => self.join(),
            },
            36 if self.random.u32(0..4) == 0 => self.stop(),
            37 if self.random.u32(0..6) == 0 => {
                let time = self.random.u64(50..400);
                self.pass(Duration::from_secs(time));
            }
            _ => self.pass(Duration::from_millis(200)),
        }
        self.judge();
    }

    /// What holds at any time.
    fn judge(&mut self) {
        // Its latest terminal is the one that is open.
        let ids = self.bench.server.view().commands().map(|(id, _)| id);
        let open = ids.filter(|id| id.is_terminal()).max();
        self.terminal = open.cloned().or(self.terminal.take());
        let held = std::mem::take(&mut self.held);
        self.held = held.into_iter().filter(|(terminal, _)| self.may_type(terminal)).collect();
        let view = self.bench.server.view();
        let shown = view.commands().filter_map(|(id, entry)| {
            let hold = entry.keyboard.as_ref()?.0.hold.as_ref()?;
            Some((id.clone(), (hold.hold.clone(), hold.name.clone())))
        });
        let shown: BTreeMap<_, _> = shown.collect();
        let held = self.held.iter();
        let held = held.map(|(id, held)| (id.clone(), (held.id.clone(), format!("d{}", held.by))));
        assert_eq!(shown, held.collect(), "who is shown to hold a keyboard, and who does");
        let mut last: Option<&HoldId> = None;
        let mut next: BTreeMap<&HoldId, u64> = BTreeMap::new();
        for (program, stroke) in &self.machine.typed {
            assert!(last.is_none_or(|last| *last <= stroke.hold), "an earlier hold types again");
            last = Some(&stroke.hold);
            let due = next.entry(&stroke.hold).or_insert(1);
            assert_eq!(
                stroke.sequence.0, *due,
                "what came into the terminal under {}",
                stroke.hold
            );
            let accepted = self.accepted.get(&stroke.hold).expect("it was a hold");
            let (terminal, bytes) = &accepted[usize::try_from(*due - 1).unwrap()];
            assert_eq!((program, &stroke.keys.0), (terminal, bytes), "what was typed, and where");
            *due += 1;
        }
    }

    /// Everybody leaves: each hold was written down, and ended.
    fn end(&mut self) {
        (0..3).for_each(|by| self.leave(by));
        self.judge();
        let holds: Vec<&HoldId> = self.accepted.keys().collect();
        let written: Vec<&HoldId> = self.written.keys().collect();
        assert_eq!(holds, written, "each hold is in the audit");
        let open = self.written.iter().filter(|(_, end)| end.is_none()).count();
        assert_eq!(open, 0, "each hold ended");
    }
}

#[test]
fn one_at_a_time_types_each_byte_once_and_into_nothing_else() {
    let (mut typed, mut holds, mut texts) = (0, 0, 0);
    for seed in 0..150 {
        let told = std::panic::AssertUnwindSafe(|| {
            let mut world = World::new(seed);
            (0..600).for_each(|_| world.step());
            world.end();
            (world.machine.typed.len(), world.accepted.len(), world.machine.typed_texts)
        });
        match std::panic::catch_unwind(told) {
            Ok((inputs, taken, typed_texts)) => {
                texts += typed_texts;
                typed += inputs;
                holds += taken;
            }
            Err(panic) => {
                eprintln!("caught after {} seeds: a keyboard's story", seed + 1);
                std::panic::resume_unwind(panic);
            }
        }
    }
    let about = format!("{typed} inputs, {holds} holds, {texts} texts");
    assert!(typed > 200 && holds > 300 && texts > 50, "it was about something: {about}");
}
