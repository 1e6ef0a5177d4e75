//! Both ends of output in one virtual world, and what can happen in it while nothing goes wrong. What goes
//! wrong is in `weather`, the course of things in `course`.

use super::agent::{Agent, Make};
use super::database::Database;
use super::disk::Disk;
use super::judge::Faults;
use super::now;
use super::server::Server;
use super::story::{Story, show, show_answer, show_record};
use super::truth::{Process, ProcessState};
use super::viewer::{Source, Viewer};
use super::weather::Weather;
use super::wrapper;
use super::wrapper::{Wrapper, wrapper};
use onsembl_protocol::fleet::{FleetLimits, OutputViewed};
use onsembl_protocol::id::{
    AgentId, AgentKey, CommandId, DashboardId, Incarnation, InstanceId, JournalId,
};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::{
    AGENT_FEATURES, Capabilities, Dialect, Feature, Keeping, SERVER_FEATURES, Stream, TerminalSize,
};
use onsembl_protocol::wire::payload::{AgentConnect, AgentExtensions, AgentType, CommandRequest};
use onsembl_protocol::wire::{AgentToServer, ServerToAgent};
use onsembl_protocol::worker::{
    CommandJournal, Run, ScreenEvent, SpoolBounds, SpoolPolicy, Task, WorkerEvent,
};
use std::collections::VecDeque;
use std::time::Duration;

/// Commands of users that run at a time.
const SLOTS: usize = 3;
/// Commands of users in all.
const COMMANDS: usize = 8;
/// Terminals in all.
const TERMINALS: usize = 12;
/// Terminals that the server lets be open.
const OPEN_TERMINALS: usize = 3;
/// Words that a link takes before it is slow.
const ON_THE_WIRE: usize = 12;
const VIEWERS: usize = 6;

pub(super) struct World {
    pub(super) random: fastrand::Rng,
    pub(super) story: Option<Story>,
    pub(super) at: Duration,
    pub(super) weather: Weather,
    /// All sizes are multiples of it.
    pub(super) unit: u64,
    pub(super) bounds: SpoolBounds,
    pub(super) make: Make,
    /// What the sessions agree on.
    capabilities: Capabilities,
    /// What outlives an agent of what it wrote down.
    pub(super) journal: CommandJournal,
    /// How many agents there were.
    pub(super) agents: u64,
    /// Commands that users asked for.
    asked: usize,
    pub(super) processes: Vec<Process>,
    pub(super) agent: Agent,
    pub(super) disk: Disk,
    pub(super) server: Server,
    pub(super) limits: FleetLimits,
    pub(super) database: Database,
    pub(super) backup: Option<Database>,
    pub(super) database_busy: bool,
    pub(super) viewers: Vec<Viewer>,
    pub(super) linked: bool,
    /// Nothing arrives any more, and nobody has noticed.
    pub(super) swallows: bool,
    pub(super) up: VecDeque<AgentToServer>,
    pub(super) down: VecDeque<ServerToAgent>,
    pub(super) faults: Faults,
    /// It comes to its end: no terminal is opened any more.
    pub(super) over: bool,
    pub(super) wrapper: Option<Wrapper>,
}

impl World {
    pub(super) fn new(seed: u64, story: Option<Story>) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        // Some worlds are large enough for the core's own sizes.
        let unit = if random.u8(0..12) == 0 { 64 } else { 1 };
        let memory = unit * random.u64(1..=4) * 1024;
        let has_no_disk = random.u8(0..8) == 0;
        let disk = if has_no_disk { 0 } else { memory * random.u64(2..=6) };
        let bounds = SpoolBounds { memory, disk };
        let weather = Weather::draw(&mut random, !has_no_disk);
        let policy = (random.u8(0..3) > 0).then(|| SpoolPolicy::ALL[random.usize(0..3)]);
        let mut disk = Disk::new(memory.max(1024) / 2);
        let most_waiting = unit * if random.u8(0..3) == 0 { 512 } else { 4096 };
        let make = Make {
            slots: SLOTS,
            bounds,
            policy: weather.terminal.map_or(policy, Some),
            most_waiting,
            has_terminal: weather.terminal.is_some(),
        };
        let journal = CommandJournal::default();
        let agent = Agent::start(make, 0, &mut disk, &journal, Duration::ZERO);
        let is_binary = random.u8(0..4) > 0;
        let theirs: Vec<Feature> = SERVER_FEATURES
            .iter()
            .filter(|feature| is_binary || **feature != Feature::OutputBinary)
            .cloned()
            .collect();
        let mut limits = FleetLimits::DEFAULT;
        limits.terminals_of_agent = OPEN_TERMINALS;
        limits.unstored_output = unit as usize * 16 * 1024;
        limits.credit_bytes = unit as usize * 1024;
        if weather.forgets {
            limits.ended_commands = random.usize(0..3);
        }
        let mut world = Self {
            random,
            story,
            at: Duration::ZERO,
            weather,
            unit,
            bounds,
            make,
            capabilities: Capabilities::negotiate(AGENT_FEATURES, &theirs, Dialect::Extended),
            journal,
            agents: 0,
            asked: 0,
            server: Server::start(&Database::default(), limits, seed, |_| true, Duration::ZERO),
            limits,
            processes: Vec::new(),
            agent,
            disk,
            database: Database::default(),
            backup: None,
            database_busy: false,
            viewers: Vec::new(),
            linked: false,
            swallows: false,
            up: VecDeque::new(),
            down: VecDeque::new(),
            faults: Faults::default(),
            over: false,
            wrapper: weather.has_wrapper.then(Wrapper::default),
        };
        world.log(|w| format!("{:?}, {:?}, unit {}", w.weather, w.bounds, w.unit));
        world.link();
        world
    }

    pub(super) fn log(&self, what: impl FnOnce(&Self) -> String) {
        if let Some(story) = &self.story {
            let line = format!("{:>9.3} {}", self.at.as_secs_f64(), what(self));
            story.borrow_mut().push(line);
        }
    }

    // --- processes

    /// A user's command. It is committed before it is sent.
    pub(super) fn begin(&mut self) {
        if self.asked >= COMMANDS || self.over {
            return;
        }
        let id = command(self.asked);
        self.asked += 1;
        let mut request = CommandRequest::new(id.clone(), agent(), "something");
        request.unstored = self.weather.unstored && self.random.bool();
        self.log(|_| format!("{id} is asked for, unstored: {}", request.unstored));
        self.server.request(request, self.at);
        self.say();
    }

    /// Whether every command came to an end that the database has.
    pub(super) fn is_all_over(&self) -> bool {
        let is_over =
            |id: &CommandId| self.database.is_over(id) || !self.database.commands.contains_key(id);
        (0..self.asked).all(|n| is_over(&command(n)))
    }

    /// Starts one thing that the agent asks for, and ends all that it does.
    pub(super) fn start_and_end(&mut self) {
        if self.random.bool()
            && let Some((id, task)) = self.agent.to_start.pop_front()
        {
            self.start(id, &task);
        }
        self.agent.types(self.at);
        for id in std::mem::take(&mut self.agent.to_end) {
            if let Some(n) = self.processes.iter().position(|p| p.run.command == id) {
                self.exit(n);
            }
        }
    }

    fn start(&mut self, id: CommandId, task: &Task) {
        let is_again = self.processes.iter().any(|p| p.run.command == id);
        assert!(!is_again, "{id} is started twice");
        let terminals = self.processes.iter().filter(|p| p.run.command.is_terminal()).count();
        if matches!(task, Task::Terminal(_)) && (self.over || terminals >= TERMINALS) {
            let why = "there were enough of them".to_owned();
            return self.agent.feed(WorkerEvent::NotStarted { command: id, why }, self.at);
        }
        let by_kind = if id.is_terminal() { SpoolPolicy::DropOldest } else { SpoolPolicy::Block };
        let policy = self.make.policy.unwrap_or(by_kind);
        let run = Run { command: id.clone(), incarnation: self.incarnation() };
        self.log(|_| format!("{id} starts, {policy}"));
        let keeping = match task {
            Task::Command(request) => Keeping::of(request.unstored),
            Task::Terminal(_) => Keeping::Stored,
        };
        let mut process = Process::new(self.processes.len(), run, policy, keeping);
        if let Task::Terminal(size) = task {
            process.sizes.push((0, *size));
        }
        self.processes.push(process);
        self.agent.started(id, self.at);
    }

    fn incarnation(&self) -> Incarnation {
        Incarnation(now(self.at).wall.unix_millis() as u64)
    }

    /// Any process that is alive.
    pub(super) fn somebody(&mut self) -> Option<usize> {
        let alive = self.processes.iter().filter(|p| p.is_alive()).map(|p| p.n);
        self.random.choice(alive.collect::<Vec<_>>())
    }

    /// Writes as much as the pipe takes.
    pub(super) fn write(&mut self) {
        let Some(n) = self.somebody() else { return };
        let streams = self.processes[n].streams();
        let stream = streams[self.random.usize(0..streams.len())];
        let most = if self.random.u8(0..6) == 0 { 600 } else { 60 };
        let length = self.unit * self.random.u64(1..=most);
        let process = &mut self.processes[n];
        let room = (self.unit * 512).saturating_sub(process.in_pipe(stream));
        let length = length.min(room);
        if process.state == ProcessState::Runs && length > 0 {
            *process.wrote.get_mut(stream) += length;
            self.log(|w| {
                let p = &w.processes[n];
                format!("{} writes {stream} up to {}", p.run.command, p.wrote.get(stream))
            });
        }
    }

    /// The terminal that runs gets another size.
    pub(super) fn resize(&mut self) {
        let running = |p: &Process| p.run.command.is_terminal() && p.is_alive();
        let Some(n) = self.processes.iter().rposition(running) else { return };
        let columns = self.random.u64(20..24);
        let size = TerminalSize::new(columns, 24).unwrap();
        let read = *self.processes[n].read.get(Stream::Terminal);
        self.processes[n].sizes.push((read, size));
        self.log(|w| format!("{} is {size} from {read}", w.processes[n].run.command));
        self.agent.feed(WorkerEvent::Screen(ScreenEvent::Resized(size)), self.at);
    }

    pub(super) fn read(&mut self, n: usize) {
        for stream in self.processes[n].streams() {
            let most = self.most_read();
            self.agent.read(&mut self.processes[n], *stream, most, self.at);
        }
        let process = &mut self.processes[n];
        let is_read = process.streams().iter().all(|s| process.in_pipe(*s) == 0);
        if process.state == ProcessState::Exited && is_read {
            self.agent.on_ended(process, self.at);
            self.log(|w| format!("the end of {} is known", w.processes[n].run.command));
        }
    }

    pub(super) const fn most_read(&self) -> u64 {
        self.unit * 256
    }

    pub(super) fn exit(&mut self, n: usize) {
        if self.processes[n].state == ProcessState::Runs {
            self.processes[n].state = ProcessState::Exited;
            self.log(|w| format!("{} exits", w.processes[n].run.command));
        }
    }

    // --- the agent

    pub(super) fn speak(&mut self) {
        while self.linked && self.up.len() < ON_THE_WIRE {
            let Some(message) = self.agent.next_message(self.at) else { return };
            self.log(|_| format!("agent says {}", show(&message)));
            self.faults.passing.on_said(&message, &self.processes);
            if !self.swallows {
                self.up.push_back(message);
            }
            if self.random.bool() {
                return;
            }
        }
    }

    pub(super) fn listen(&mut self) {
        let Some(message) = self.down.pop_front() else { return };
        self.log(|_| format!("agent hears {}", show_answer(&message)));
        self.faults.passing.on_answered(&message);
        self.agent.listen(message, self.at);
    }

    pub(super) fn sync(&mut self) {
        for _ in 0..self.random.u8(1..4) {
            self.agent.sync(&mut self.journal, self.at);
        }
    }

    pub(super) fn work_on_disk(&mut self) {
        for _ in 0..self.random.u8(1..8) {
            self.agent.thread.perform(&mut self.disk);
        }
        self.faults.disk |= self.disk.is_full || self.disk.is_unreadable;
    }

    pub(super) fn hear_of_disk(&mut self) {
        while !self.agent.thread.events.is_empty() {
            self.agent.on_disk(self.at);
        }
        self.faults.disk |= self.agent.disk_failed;
    }

    pub(super) fn note_agent(&mut self) {
        self.faults.full |= self.agent.was_full;
        self.faults.disk |= self.agent.disk_failed;
    }

    // --- the server

    pub(super) fn hear(&mut self) {
        if self.server.throttles(&agent()) {
            return;
        }
        let Some(message) = self.up.pop_front() else { return };
        self.faults.passing.on_heard(&message);
        self.server.hear(&agent(), message, self.at);
        self.say();
    }

    /// What the server said goes onto the wire, and must be true.
    pub(super) fn say(&mut self) {
        self.faults.given_up.extend(self.server.given_up.iter().cloned());
        for (agent, message) in self.server.take_sent() {
            self.check_sent(&message);
            if agent == wrapper() {
                wrapper::on_said_to_wrapper(self, message);
                continue;
            }
            if self.linked && !self.swallows {
                self.down.push_back(message);
            }
        }
    }

    fn check_sent(&mut self, message: &ServerToAgent) {
        match message {
            ServerToAgent::OutputCredit(credit) => {
                self.faults.passing.check_credit(credit, &self.processes);
            }
            ServerToAgent::OutputAck(ack) => {
                let is_it = |p: &&Process| p.run.command == ack.command_id;
                let process = self.processes.iter().find(is_it);
                let is_unstored = process.is_some_and(|p| p.keeping.is_unstored());
                assert!(!is_unstored, "acknowledged as stored: {ack:?}");
                let run = Run { command: ack.command_id.clone(), incarnation: ack.incarnation };
                let sums = self.database.sums(&run, ack.stream_type.stream());
                let is_open = sums.open_gap.is_some();
                assert!(
                    ack.offset <= sums.next && ack.open_gap <= is_open,
                    "{message:?}, and {sums:?}"
                );
            }
            ServerToAgent::Ack(ack) => {
                let id = ack.command_id.as_ref().unwrap();
                let is_known = self.database.commands.contains_key(id);
                assert!(self.database.is_over(id) || !is_known, "{message:?}");
            }
            ServerToAgent::Error(error) => {
                let id = error.context.command_id.as_ref().unwrap();
                let is_known = self.database.commands.contains_key(id);
                // One that is over may be older than all for which there is room.
                let is_over = self.database.is_over(id);
                assert!(!is_known || is_over || self.faults.given_up.contains(id), "{message:?}");
                self.faults.dropped.insert(id.clone());
            }
            ServerToAgent::OutputResume(_)
            | ServerToAgent::CommandCancel(_)
            | ServerToAgent::CommandRequest(_) => {}
            other => panic!("in no world of output: {other:?}"),
        }
    }

    pub(super) fn commit(&mut self) {
        if self.database_busy {
            return;
        }
        self.note_agent();
        let most = self.random.usize(1..20);
        for (command, record) in self.server.commit(&mut self.database, most) {
            self.log(|_| format!("committed of {command}: {}", show_record(&record)));
            match self.processes.iter().find(|p| p.run.command == command) {
                Some(process) => self.faults.on_commit(process, &record),
                None if self.is_of_wrapper(&command) => {}
                // Its agent died before it was started, and nothing says that it was not.
                None => assert!(record.body.is_open(), "{command} never ran: {record:?}"),
            }
        }
    }

    fn is_of_wrapper(&self, command: &CommandId) -> bool {
        self.database.commands.get(command).is_some_and(|row| row.agent == wrapper())
    }

    pub(super) fn receive(&mut self) {
        self.server.take_receipts(self.at);
        self.say();
    }

    pub(super) fn answer(&mut self) {
        if self.database_busy && self.random.u8(0..20) == 0 {
            self.server.fail_to_answer(self.at);
        }
        self.server.answer(&mut self.database, self.at);
        self.say();
    }

    // --- viewers

    pub(super) fn view(&mut self) {
        if self.viewers.len() < VIEWERS && self.random.u8(0..4) == 0 {
            let viewer = self.new_viewer();
            self.viewers.extend(viewer);
        }
        let most = self.unit as usize * 256;
        for viewer in &mut self.viewers {
            match self.random.u8(0..10) {
                0 => viewer.resume(&self.server, &self.database),
                1..4 => {}
                _ => {
                    let process = &self.processes[viewer.n];
                    viewer.look(&self.server, &self.database, process, most);
                    // Some are gone before they say what they took.
                    if process.keeping.is_unstored() && self.random.u8(0..4) > 0 {
                        let by = DashboardId(viewer.n as u64);
                        let command = process.run.command.clone();
                        let through = viewer.cursor;
                        self.server.on_viewed(OutputViewed { by, command, through }, self.at);
                    }
                }
            }
        }
        self.say();
    }

    fn new_viewer(&mut self) -> Option<Viewer> {
        let process = self.random.choice(&self.processes)?;
        let id = &process.run.command;
        if !id.is_terminal() && !self.database.commands.contains_key(id) {
            return None;
        }
        let streams = process.streams();
        let stream = streams[self.random.usize(0..streams.len())];
        if process.keeping.is_unstored() {
            // There is nothing to read.
            return match self.random.u8(0..3) {
                0 => Some(Viewer::new(process, Source::FleetView)),
                1 => Viewer::live(process, &self.server),
                _ => {
                    let from = self.random.u64(0..=*process.wrote.get(stream));
                    let (server, database) = (&self.server, &self.database);
                    Some(Viewer::from_position(process, stream, from, server, database))
                }
            };
        }
        match self.random.u8(0..6) {
            0 => Some(Viewer::new(process, Source::FleetView)),
            1 => Some(Viewer::new(process, Source::Store(None))),
            2 => Some(Viewer::new(process, Source::Store(Some(stream)))),
            3 => Viewer::live(process, &self.server),
            _ => {
                let from = self.random.u64(0..=*process.wrote.get(stream));
                let (server, database) = (&self.server, &self.database);
                Some(Viewer::from_position(process, stream, from, server, database))
            }
        }
    }

    // --- the link

    pub(super) fn cut(&mut self) {
        self.swallows = false;
        if std::mem::take(&mut self.linked) {
            self.log(|_| "the link is cut".into());
            self.up.clear();
            self.down.clear();
            self.faults.passing.on_link_ended();
            let epoch = self.database.epoch(&agent());
            self.server.on_link_lost(&agent(), epoch, self.at);
            self.agent.on_cut(self.at);
        }
    }

    pub(super) fn link(&mut self) {
        if !self.linked {
            self.log(|_| "a new link".into());
            self.linked = true;
            let hello = self.hello();
            let capabilities = self.capabilities;
            self.server.on_session(&agent(), hello, capabilities, &mut self.database, self.at);
            self.agent.on_session(capabilities, self.unit * 2048, self.at);
            self.say();
        }
    }

    fn hello(&self) -> AgentConnect {
        AgentConnect {
            agent_id: agent().to_string(),
            name: Some("ada".to_owned()),
            agent_type: AgentType::Custom,
            version: None,
            host_machine: None,
            capabilities: onsembl_protocol::wire::payload::Capabilities::default(),
            extensions: Some(AgentExtensions {
                features: AGENT_FEATURES.to_vec(),
                agent_key: AgentKey::new("key"),
                instance: InstanceId::new(self.agents.to_string()),
                probe: false,
                commands: self.agent.worker.open_commands(Limits::DEFAULT.list_entries),
                journal: Some(JournalId::new("journal")),
                max_parallel: Some(SLOTS as u64),
                stop_id: None,
            }),
        }
    }
}

/// The agent.
pub(super) fn agent() -> AgentId {
    AgentId::new("a")
}

fn command(n: usize) -> CommandId {
    CommandId::new(format!("c-{n:02}"))
}

pub(super) fn commands(processes: &[Process]) -> impl Iterator<Item = CommandId> {
    processes.iter().map(|p| p.run.command.clone())
}
