//! Both ends of output in one virtual world, and the course of things in it: links are cut or swallow
//! what is said, either end dies and comes back with what was durable, disks fill up, fail and rot,
//! the database is busy or put back. Then all heals, and everything must come to rest.

use super::agent::Agent;
use super::disk::Disk;
use super::judge::{self, Faults};
use super::now;
use super::server::{Database, Down, Server, Up};
use super::story::{Story, show, show_answer, show_record};
use super::truth::{Life, Process, STREAMS};
use super::viewer::Viewer;
use super::weather::Weather;
use onsembl_protocol::id::{CommandId, Incarnation};
use onsembl_protocol::output::{SpoolBounds, SpoolPolicy};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

pub(super) const COMMANDS: usize = 3;
/// Words that a link takes before it is slow.
const ON_THE_WIRE: usize = 12;

pub(super) struct World {
    pub(super) random: fastrand::Rng,
    pub(super) story: Option<Story>,
    pub(super) at: Duration,
    pub(super) weather: Weather,
    /// All sizes are multiples of it.
    pub(super) unit: u64,
    pub(super) bounds: SpoolBounds,
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
        let same = random.bool().then(|| SpoolPolicy::ALL[random.usize(0..3)]);
        let processes: Vec<_> = (0..COMMANDS)
            .map(|n| Process::new(n, same.unwrap_or(SpoolPolicy::ALL[random.usize(0..3)])))
            .collect();
        let mut disk = Disk::new(memory.max(1024) / 2);
        let agent = Agent::start(bounds, unit * 4096, &mut disk, BTreeMap::new());
        let mut world = Self {
            random,
            story,
            at: Duration::ZERO,
            weather,
            unit,
            bounds,
            server: Server::start(&Database::default(), commands(&processes)),
            processes,
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
        };
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

    pub(super) fn begin(&mut self) {
        let Some(n) = self.processes.iter().position(|p| p.life == Life::NotStarted) else {
            return;
        };
        let process = &mut self.processes[n];
        process.life = Life::Runs;
        process.run.incarnation = Incarnation(now(self.at).wall.unix_millis() as u64);
        self.agent.run(&self.processes[n]);
        self.tell(|w| format!("{} starts, {}", w.processes[n].run.command, w.processes[n].policy));
    }

    /// Writes as much as the pipe takes.
    pub(super) fn write(&mut self) {
        let (n, stream) = (self.random.usize(0..COMMANDS), STREAMS[self.random.usize(0..2)]);
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
        for stream in STREAMS {
            let most = self.most_read();
            self.agent.read(&mut self.processes[n], stream, most, self.at);
        }
        let process = &mut self.processes[n];
        let is_read = STREAMS.iter().all(|s| process.in_pipe(*s) == 0);
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
        let answer = self.server.hear(word, now(self.at).wall);
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
                Down::Confirm(command) => assert!(self.database.ended.contains(command)),
                Down::Resume(_) => {}
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
        let answer = self.server.answer(&self.database);
        self.say(answer);
    }

    // --- viewers

    pub(super) fn view(&mut self) {
        if self.viewers.is_empty() || self.random.u8(0..12) == 0 && self.viewers.len() < 4 {
            let n = self.random.usize(0..COMMANDS);
            if self.processes[n].life != Life::NotStarted {
                let stream = STREAMS[self.random.usize(0..2)];
                self.viewers.push(Viewer::new(&self.processes[n], stream));
            }
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
            self.agent.on_session(self.unit * 2048, self.at);
        }
    }

    // --- the course of things

    pub(super) fn wait(&mut self, by: Duration) {
        self.at += by;
        self.agent.on_time(self.at);
    }

    pub(super) fn step(&mut self) {
        self.at += Duration::from_millis(self.random.u64(0..4));
        match self.random.u32(0..200) {
            0..6 => self.begin(),
            6..50 => self.write(),
            50..76 => {
                let n = self.random.usize(0..COMMANDS);
                self.read(n);
            }
            76..78 => {
                let n = self.random.usize(0..COMMANDS);
                self.exit(n);
            }
            78..92 => self.work_on_disk(),
            92..104 => self.hear_of_disk(),
            104..122 => self.speak(),
            122..140 => self.hear(),
            140..152 => self.commit(),
            152..160 => self.receive(),
            160..164 => self.answer(),
            164..176 => self.listen(),
            176..182 => self.view(),
            182..187 => self.link(),
            187..190 => {
                let by = self.random.u64(1..4000);
                self.wait(Duration::from_millis(by));
            }
            _ => self.fault(),
        }
        self.check();
    }

    pub(super) fn check(&mut self) {
        self.note_agent();
        judge::check_step(
            &self.agent,
            &self.processes,
            &self.database,
            &self.faults,
            self.bounds,
            self.most_read(),
        );
    }

    /// Nothing goes wrong any more: everything must come to rest.
    pub(super) fn settle(&mut self) {
        self.tell(|_| "all heals".into());
        (self.disk.is_full, self.disk.is_unreadable, self.database_busy) = (false, false, false);
        if self.swallows {
            self.cut();
        }
        for round in 0..600 {
            self.link();
            if round < 20 {
                self.write();
            }
            for n in 0..COMMANDS {
                if round >= 20 {
                    self.exit(n);
                }
                self.read(n);
            }
            self.work_on_disk();
            self.hear_of_disk();
            self.speak();
            self.hear();
            self.commit();
            self.receive();
            self.answer();
            self.listen();
            self.check();
            self.wait(Duration::from_millis(50));
            let over = !self.processes.iter().any(Process::is_alive);
            let is_quiet = self.agent.is_at_rest() && self.up.is_empty() && self.down.is_empty();
            if round > 20 && over && is_quiet && self.server.is_idle() {
                break;
            }
        }
        self.tell(|_| "it comes to rest".into());
        let left: Vec<_> = self.agent.outbox.states().collect();
        assert!(left.is_empty(), "unsent for ever: {left:?}, {:?}", self.agent.outbox);
        assert!(self.disk.is_empty(), "left on the disk: {:?}", self.disk);
        assert_eq!((self.agent.outbox.held(), self.agent.outbox.in_memory()), (0, 0));
        let most = self.unit as usize * 256;
        for viewer in &mut self.viewers {
            let process = &self.processes[viewer.n];
            let looks = (0..10_000)
                .take_while(|_| viewer.look(&self.server, &self.database, process, most))
                .count();
            assert!(looks < 10_000, "a viewer never comes to an end");
        }
        judge::check_end(&self.processes, &self.database, &self.faults, &self.viewers);
    }
}

pub(super) fn commands(processes: &[Process]) -> impl Iterator<Item = CommandId> {
    processes.iter().map(|p| p.run.command.clone())
}

impl World {
    /// So many things happen, then all heals. The gaps that were met.
    pub(super) fn live(
        mut self,
        steps: usize,
    ) -> std::collections::BTreeSet<onsembl_protocol::output::GapCause> {
        for _ in 0..steps {
            self.step();
        }
        self.settle();
        self.faults.met
    }
}
