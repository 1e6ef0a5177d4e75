//! Both ends of output in one virtual world, and what can happen in it while nothing goes wrong. What goes
//! wrong is in `weather`, the course of things in `course`.

use super::agent::Agent;
use super::database::Database;
use super::disk::Disk;
use super::judge::Faults;
use super::server::{Down, Server, Up};
use super::story::{Story, show, show_answer, show_record};
use super::truth::{Life, Process};
use super::viewer::{Source, Viewer};
use super::weather::Weather;
use super::{now, stamp};
use onsembl_protocol::id::{CommandId, Incarnation};
use onsembl_protocol::output::{SpoolBounds, SpoolPolicy};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Commands of users that run at a time.
const PLACES: usize = 3;
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
    /// Every command has it, if there is one.
    policy: Option<SpoolPolicy>,
    /// What may wait for the disk before it counts as failed.
    pub(super) most_waiting: u64,
    pub(super) processes: Vec<Process>,
    pub(super) agent: Agent,
    pub(super) disk: Disk,
    pub(super) server: Server,
    pub(super) database: Database,
    pub(super) backup: Option<Database>,
    pub(super) database_busy: bool,
    pub(super) viewers: Vec<Viewer>,
    pub(super) linked: bool,
    /// Nothing arrives any more, and nobody has noticed.
    pub(super) swallows: bool,
    pub(super) up: VecDeque<Up>,
    pub(super) down: VecDeque<Down>,
    pub(super) faults: Faults,
    /// It comes to its end: no terminal is opened any more.
    pub(super) over: bool,
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
        let policy = random.bool().then(|| SpoolPolicy::ALL[random.usize(0..3)]);
        let mut disk = Disk::new(memory.max(1024) / 2);
        let most_waiting = unit * if random.u8(0..3) == 0 { 512 } else { 4096 };
        let agent = Agent::start(bounds, most_waiting, &mut disk, BTreeMap::new(), None);
        let mut world = Self {
            random,
            story,
            at: Duration::ZERO,
            weather,
            unit,
            bounds,
            policy,
            most_waiting,
            server: Server::default(),
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
        };
        world.agent.keeper = world.keeper();
        world.tell(|w| format!("{:?}, {:?}, unit {}", w.weather, w.bounds, w.unit));
        world.link();
        world
    }

    pub(super) fn tell(&self, what: impl FnOnce(&Self) -> String) {
        if let Some(story) = &self.story {
            let line = format!("{:>9.3} {}", self.at.as_secs_f64(), what(self));
            story.borrow_mut().push(line);
        }
    }

    // --- processes

    /// A user's command starts. It is committed before it is sent.
    pub(super) fn begin(&mut self) {
        let commands = self.processes.iter().filter(|p| !p.run.command.is_terminal());
        let (all, alive) = (commands.clone().count(), commands.filter(|p| p.is_alive()).count());
        if all >= COMMANDS || alive >= PLACES {
            return;
        }
        let n = self.processes.len();
        let policy = self.policy.unwrap_or(SpoolPolicy::ALL[self.random.usize(0..3)]);
        let process = Process::command(n, self.incarnation(), policy);
        self.database.commands.insert(process.run.command.clone());
        self.server.accept(&process.run.command);
        self.start(process);
    }

    /// The program of the terminal starts, if it is time to, server or not.
    pub(super) fn keep_terminal(&mut self) {
        let terminals = self.processes.iter().filter(|p| p.run.command.is_terminal()).count();
        let Some(policy) = self.weather.terminal else { return };
        let (at, is_enough) = (self.at, self.over || terminals >= TERMINALS);
        let Some(keeper) = self.agent.keeper.as_mut().filter(|_| !is_enough) else { return };
        if keeper.take_start(stamp(at)) {
            let process = Process::terminal(self.processes.len(), self.incarnation(), policy);
            self.start(process);
        }
    }

    fn incarnation(&self) -> Incarnation {
        Incarnation(now(self.at).wall.unix_millis() as u64)
    }

    fn start(&mut self, process: Process) {
        self.agent.run(&process, self.at);
        self.tell(|_| format!("{} starts, {}", process.run.command, process.policy));
        self.processes.push(process);
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
        if process.life == Life::Runs && length > 0 {
            *process.wrote.get_mut(stream) += length;
            self.tell(|w| {
                let p = &w.processes[n];
                format!("{} writes {stream} up to {}", p.run.command, p.wrote.get(stream))
            });
        }
    }

    pub(super) fn read(&mut self, n: usize) {
        for stream in self.processes[n].streams() {
            let most = self.most_read();
            self.agent.read(&mut self.processes[n], *stream, most, self.at);
        }
        let process = &mut self.processes[n];
        let is_read = process.streams().iter().all(|s| process.in_pipe(*s) == 0);
        if process.life == Life::Exited && is_read {
            self.agent.on_ended(process, self.at);
            self.tell(|w| format!("the end of {} is known", w.processes[n].run.command));
        }
    }

    pub(super) const fn most_read(&self) -> u64 {
        self.unit * 256
    }

    pub(super) fn exit(&mut self, n: usize) {
        if self.processes[n].life == Life::Runs {
            self.processes[n].life = Life::Exited;
            self.tell(|w| format!("{} exits", w.processes[n].run.command));
        }
    }

    // --- the agent

    pub(super) fn speak(&mut self) {
        while self.linked && self.up.len() < ON_THE_WIRE {
            let Some(word) = self.agent.next_word() else { return };
            self.tell(|_| format!("agent says {}", show(&word)));
            if !self.swallows {
                self.up.push_back(word);
            }
            if self.random.bool() {
                return;
            }
        }
    }

    pub(super) fn listen(&mut self) {
        let Some(word) = self.down.pop_front() else { return };
        self.tell(|_| format!("agent hears {}", show_answer(&word)));
        if let Down::Cancel(id) = &word
            && let Some(n) = self.processes.iter().position(|p| p.run.command == *id)
        {
            self.exit(n);
        }
        self.agent.listen(word, self.at);
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
        if self.server.holds_back(self.unit as usize * 16 * 1024) {
            return;
        }
        let Some(word) = self.up.pop_front() else { return };
        let answer = self.server.hear(word, now(self.at).wall, OPEN_TERMINALS);
        self.faults.given_up.extend(self.server.given_up.iter().cloned());
        self.say(answer);
    }

    pub(super) fn say(&mut self, words: impl IntoIterator<Item = Down>) {
        for word in words {
            match &word {
                Down::Ack(run, stream, offset, open) => {
                    let sums = self.database.sums(run, *stream);
                    let is_open = sums.open_gap.is_some();
                    assert!(*offset <= sums.next && *open <= is_open, "{word:?}, and {sums:?}");
                }
                Down::Confirm(id) => {
                    let is_known = self.database.commands.contains(id);
                    assert!(self.database.ended.contains(id) || !is_known, "{word:?}");
                }
                Down::Unknown(id) => {
                    let is_known = self.database.commands.contains(id);
                    // One that is over may be older than all for which there is room.
                    let is_over = self.database.ended.contains(id);
                    assert!(!is_known || is_over || self.faults.given_up.contains(id), "{word:?}");
                    self.faults.dropped.insert(id.clone());
                }
                Down::Resume(_) | Down::Cancel(_) => {}
            }
            if self.linked && !self.swallows {
                self.down.push_back(word);
            }
        }
    }

    pub(super) fn commit(&mut self) {
        if self.database_busy {
            return;
        }
        self.note_agent();
        let most = self.random.usize(1..20);
        for (command, record) in self.server.commit(&mut self.database, most) {
            let process = self.processes.iter().find(|p| p.run.command == command).unwrap();
            self.tell(|_| format!("committed of {command}: {}", show_record(&record)));
            self.faults.on_commit(process, &record);
        }
    }

    pub(super) fn receive(&mut self) {
        let words = self.server.take_receipts();
        self.say(words);
    }

    pub(super) fn answer(&mut self) {
        if self.database_busy && self.random.u8(0..20) == 0 {
            self.server.fail_to_answer();
        }
        let answer = self.server.answer(&self.database, now(self.at).wall, OPEN_TERMINALS);
        self.faults.given_up.extend(self.server.given_up.iter().cloned());
        self.say(answer);
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
                0 => viewer.resume(&self.database),
                1..4 => {}
                _ => {
                    let process = &self.processes[viewer.n];
                    viewer.look(&self.server, &self.database, process, most);
                }
            }
        }
    }

    fn new_viewer(&mut self) -> Option<Viewer> {
        let process = self.random.choice(&self.processes)?;
        let id = &process.run.command;
        if !id.is_terminal() && !self.database.commands.contains(id) {
            return None;
        }
        let streams = process.streams();
        let stream = streams[self.random.usize(0..streams.len())];
        match self.random.u8(0..6) {
            0 => Some(Viewer::new(process, Source::Board)),
            1 => Some(Viewer::new(process, Source::Store(None))),
            2 => Some(Viewer::new(process, Source::Store(Some(stream)))),
            3 => Viewer::live(process, &self.server),
            _ => {
                let from = self.random.u64(0..=*process.wrote.get(stream));
                Some(Viewer::from_place(process, stream, from, &self.database))
            }
        }
    }

    // --- the link

    pub(super) fn cut(&mut self) {
        self.swallows = false;
        if std::mem::take(&mut self.linked) {
            self.tell(|_| "the link is cut".into());
            self.up.clear();
            self.down.clear();
            self.server.on_link_lost();
        }
    }

    pub(super) fn link(&mut self) {
        if !self.linked {
            self.tell(|_| "a new link".into());
            self.linked = true;
            self.server.on_session();
            self.agent.on_session(self.unit * 2048, self.at);
        }
    }
}

pub(super) fn commands(processes: &[Process]) -> impl Iterator<Item = CommandId> {
    processes.iter().map(|p| p.run.command.clone())
}
