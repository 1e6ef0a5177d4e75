//! The worker at a legacy server, which takes texts without a position and confirms nothing: what it hears of a
//! command is what the command wrote, in order and once, and the report comes behind it.

use super::agent::{Agent, Make};
use super::disk::Disk;
use onsembl_protocol::id::{AgentId, CommandId};
use onsembl_protocol::model::{Capabilities, Exit, Stream};
use onsembl_protocol::wire::payload::{CommandRequest, OutputContent};
use onsembl_protocol::wire::{AgentToServer, ServerToAgent};
use onsembl_protocol::worker::{CommandJournal, Rest, SpoolBounds, SpoolPolicy, WorkerEvent};
use std::collections::BTreeMap;
use std::time::Duration;

const COMMANDS: usize = 4;
const STEPS: usize = 300;

/// A command, as its process and the server know it.
#[derive(Debug, Default)]
struct Known {
    runs: bool,
    text: String,
    read: usize,
    lines: u32,
    /// What the server heard in each session.
    heard: Vec<String>,
    reports: u32,
}

struct World {
    random: fastrand::Rng,
    at: Duration,
    agent: Agent,
    journal: CommandJournal,
    disk: Disk,
    commands: BTreeMap<CommandId, Known>,
    linked: bool,
    sessions: usize,
    asked: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let bounds = SpoolBounds { memory: 1 << 20, disk: 0 };
        let policy = Some(SpoolPolicy::Block);
        let make = Make { slots: 2, bounds, policy, most_waiting: 1 << 20, has_terminal: false };
        let (mut disk, journal) = (Disk::new(1024), CommandJournal::default());
        let agent = Agent::start(make, 0, &mut disk, &journal, Duration::ZERO);
        Self {
            random: fastrand::Rng::with_seed(seed),
            at: Duration::ZERO,
            agent,
            journal,
            disk,
            commands: BTreeMap::new(),
            linked: false,
            sessions: 0,
            asked: 0,
        }
    }

    fn step(&mut self, cuts: bool) {
        self.at += Duration::from_millis(self.random.u64(0..20));
        match self.random.u8(0..24) {
            0..2 => self.ask(),
            2..8 => self.write(),
            8..12 => self.read(),
            12 => self.end(3),
            13..18 => self.hear(),
            18 if cuts => self.cut(),
            19..21 => self.link(),
            _ => self.settle(),
        }
    }

    fn ask(&mut self) {
        if self.linked && self.asked < COMMANDS {
            let id = CommandId::new(format!("c-{}", self.asked));
            self.asked += 1;
            let request = CommandRequest::new(id, AgentId::new("a"), "something");
            self.agent.listen(ServerToAgent::CommandRequest(request), self.at);
        }
    }

    /// The journal and the machine do what they are asked.
    fn settle(&mut self) {
        while let Some((id, _)) = self.agent.to_start.pop_front() {
            let known = self.commands.entry(id.clone()).or_default();
            assert!(!std::mem::replace(&mut known.runs, true), "{id} starts twice");
            self.agent.started(id, self.at);
        }
        for _ in 0..4 {
            self.agent.sync(&mut self.journal, self.at);
        }
        self.agent.thread.perform(&mut self.disk);
        self.agent.on_time(self.at);
    }

    fn write(&mut self) {
        let running = self.commands.iter_mut().filter(|(_, known)| known.runs);
        if let Some((id, known)) = self.random.choice(running.collect::<Vec<_>>()) {
            known.lines += 1;
            known.text += &format!("{id} line {:05} µ\n", known.lines);
        }
    }

    fn read(&mut self) {
        for (id, known) in self.commands.iter_mut().filter(|(_, known)| known.runs) {
            // Anywhere, also within a character.
            let rest = &known.text.as_bytes()[known.read..];
            let length = self.random.usize(0..=rest.len());
            let bytes = bytes::Bytes::copy_from_slice(&rest[..length]);
            known.read += length;
            let output = WorkerEvent::Output { command: id.clone(), stream: Stream::Stdout, bytes };
            self.agent.feed(output, self.at);
        }
    }

    /// A process ends that has written this many lines.
    fn end(&mut self, least: u32) {
        let is_read = |known: &Known| known.runs && known.read == known.text.len();
        let over = |known: &Known| is_read(known) && known.lines >= least;
        let ready = self.commands.iter_mut().find(|(_, known)| over(known));
        if let Some((id, known)) = ready {
            known.runs = false;
            let (command, exit, rest) = (id.clone(), Exit::Code(0), Rest::Ended);
            self.agent.feed(WorkerEvent::Ended { command, exit, rest, open: vec![] }, self.at);
        }
    }

    fn link(&mut self) {
        if !std::mem::replace(&mut self.linked, true) {
            self.sessions += 1;
            self.agent.on_session(Capabilities::LEGACY, 1 << 20, self.at);
        }
    }

    fn cut(&mut self) {
        if std::mem::take(&mut self.linked) {
            self.agent.on_cut(self.at);
        }
    }

    /// The server hears the next message.
    fn hear(&mut self) {
        if !self.linked {
            return;
        }
        match self.agent.next_message(self.at) {
            Some(AgentToServer::Output(output)) => {
                let has_position = output.offset.is_some() || output.incarnation.is_some();
                assert!(!has_position && output.sequence.is_some(), "{output:?}");
                let OutputContent::Text(text) = output.content else { panic!("not a text") };
                let known = self.commands.get_mut(&output.command_id).unwrap();
                assert_eq!(known.reports, 0, "{} wrote behind its report", output.command_id);
                known.heard.resize(self.sessions, String::new());
                known.heard[self.sessions - 1] += &text;
            }
            Some(AgentToServer::CommandComplete(report)) => {
                let known = self.commands.get_mut(&report.command_id).unwrap();
                known.reports += 1;
            }
            Some(AgentToServer::CommandAck(_)) | None => {}
            Some(other) => panic!("a legacy server does not know {other:?}"),
        }
    }

    fn rest(&mut self, cuts: bool) {
        for _ in 0..400 {
            self.at += Duration::from_millis(100);
            self.link();
            self.ask();
            self.settle();
            self.write();
            self.read();
            self.hear();
        }
        for _ in 0..400 {
            self.at += Duration::from_millis(100);
            self.settle();
            self.read();
            self.end(0);
            self.hear();
        }
        assert_eq!(self.commands.len(), COMMANDS);
        for (id, known) in &self.commands {
            assert_eq!(known.reports, 1, "{id}: {known:?}");
            if !cuts {
                assert_eq!(known.heard.concat(), known.text, "{id}");
            }
            // Of each session a piece, behind that of the session before.
            let mut at = 0;
            for heard in &known.heard {
                let found = known.text[at..].find(heard.as_str());
                let begin = found.unwrap_or_else(|| panic!("{id}: {heard:?} is not behind {at}"));
                at += begin + heard.len();
            }
        }
    }
}

#[test]
fn a_legacy_server_hears_what_each_command_wrote_in_order_and_once() {
    for seed in 0..200 {
        for cuts in [false, true] {
            let run = std::panic::catch_unwind(|| {
                let mut world = World::new(seed);
                world.link();
                for _ in 0..STEPS {
                    world.step(cuts);
                }
                world.rest(cuts);
            });
            run.unwrap_or_else(|_| panic!("seed {seed}, cuts: {cuts}"));
        }
    }
}
