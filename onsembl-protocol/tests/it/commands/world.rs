//! Both ends of commands in one virtual world: links are cut, either end dies and comes back with what was
//! durable, journals are lost, users cancel. Whatever happens, nothing runs twice, and every command that
//! was accepted ends with an outcome that is true. `ONSEMBL_SIM_SEEDS` runs more worlds than 1,000.

use crate::support::{now, stamp};
use onsembl_protocol::command::{
    CancelDecision, CommandAction, CommandBook, CommandEvent, CommandJournal, CommandLife,
    CommandQueue, CommandStage, CommandTerms, Decision, Exit, Fate, JournalEntry, Origin, Returned,
    Standing,
};
use onsembl_protocol::id::{CommandId, RunMark};
use onsembl_protocol::session::Dialect;
use onsembl_protocol::time::Deadline;
use onsembl_protocol::wire::payload::{CommandAckStatus, CommandComplete, Priority};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

const COMMANDS: usize = 8;
const PLACES: usize = 2;

#[derive(Debug)]
enum Up {
    Ack(CommandId, CommandAckStatus),
    Complete(CommandComplete),
}

#[derive(Debug)]
enum Down {
    Request(CommandId),
    Cancel(CommandId),
    Confirm(CommandId),
}

/// What happened to the process of a command, as nobody inside the world knows it.
#[derive(Clone, Copy, Debug, Default)]
struct Truth {
    runs: u32,
    alive: bool,
    exit: Option<Exit>,
    /// Its agent died while it ran, or was about to.
    orphaned: bool,
}

#[derive(Debug)]
struct Agent {
    book: CommandBook,
    /// Asked of the journal and not durable yet.
    unsynced: VecDeque<JournalEntry>,
}

/// A change on its way into the database.
#[derive(Debug)]
enum Write {
    Stage(CommandId, CommandStage),
    Journal(u32),
}

struct World {
    random: fastrand::Rng,
    at: Duration,
    truth: BTreeMap<CommandId, Truth>,
    // What is durable.
    rows: BTreeMap<CommandId, CommandStage>,
    journal: CommandJournal,
    journal_id: u32,
    stored_journal: Option<u32>,
    // What dies with its process.
    known_journal: Option<u32>,
    lives: BTreeMap<CommandId, CommandLife>,
    queue: CommandQueue<CommandId>,
    ledger: VecDeque<Write>,
    unstored: BTreeSet<CommandId>,
    agent: Option<Agent>,
    agent_was_here: bool,
    // The link.
    linked: bool,
    up: VecDeque<Up>,
    down: VecDeque<Down>,
}

fn id(n: usize) -> CommandId {
    CommandId::new(format!("c-{n}"))
}

impl World {
    fn new(seed: u64) -> Self {
        let mut queue = CommandQueue::default();
        queue.set_places(PLACES);
        let mut world = Self {
            random: fastrand::Rng::with_seed(seed),
            at: Duration::ZERO,
            truth: BTreeMap::new(),
            rows: BTreeMap::new(),
            journal: CommandJournal::default(),
            journal_id: 1,
            stored_journal: None,
            known_journal: None,
            lives: BTreeMap::new(),
            queue,
            ledger: VecDeque::new(),
            unstored: BTreeSet::new(),
            agent: None,
            agent_was_here: false,
            linked: false,
            up: VecDeque::new(),
            down: VecDeque::new(),
        };
        world.start_agent();
        world.link();
        world
    }

    // --- the server

    fn ask(&mut self, n: usize) {
        if self.truth.contains_key(&id(n)) {
            return;
        }
        let life =
            CommandLife::new(Dialect::Extended, CommandTerms::default(), self.linked, now(self.at));
        self.truth.insert(id(n), Truth::default());
        self.lives.insert(id(n), life);
        self.unstored.insert(id(n));
    }

    fn feed(&mut self, command: &CommandId, event: CommandEvent) {
        let Some(life) = self.lives.get_mut(command) else { return };
        let step = life.handle(event, now(self.at));
        for action in step.actions {
            match action {
                CommandAction::Send if self.linked => {
                    self.down.push_back(Down::Request(command.clone()));
                }
                CommandAction::SendCancel { .. } if self.linked => {
                    self.down.push_back(Down::Cancel(command.clone()));
                }
                CommandAction::Send | CommandAction::SendCancel { .. } => {}
                CommandAction::Publish(view) => {
                    if !self.unstored.contains(command) {
                        self.ledger.push_back(Write::Stage(command.clone(), view.status));
                    }
                }
            }
        }
        let stage = self.lives[command].view().status;
        match stage {
            CommandStage::Pending => {}
            CommandStage::Queued => {
                self.queue.join(command.clone(), Priority::Normal, stamp(self.at));
            }
            stage if stage.holds_place() => self.queue.hold(command),
            _ => self.queue.leave(command),
        }
    }

    fn place(&mut self) {
        while self.linked
            && let Some(next) = self.queue.take_next(stamp(self.at))
        {
            self.feed(&next, CommandEvent::Place);
        }
    }

    fn store(&mut self) {
        if let Some(command) = self.unstored.pop_first() {
            self.rows.insert(command.clone(), CommandStage::Pending);
            self.feed(&command, CommandEvent::Stored);
        }
    }

    fn commit(&mut self) {
        match self.ledger.pop_front() {
            Some(Write::Stage(command, stage)) => {
                self.rows.insert(command.clone(), stage);
                if stage.is_final() {
                    self.lives.remove(&command);
                    self.queue.leave(&command);
                    self.confirm(command);
                }
            }
            Some(Write::Journal(journal)) => self.stored_journal = Some(journal),
            None => {}
        }
    }

    fn confirm(&mut self, command: CommandId) {
        if self.linked {
            self.down.push_back(Down::Confirm(command));
        }
    }

    fn kill_server(&mut self) {
        self.cut();
        self.ledger.clear();
        self.known_journal = self.stored_journal;
        for command in std::mem::take(&mut self.unstored) {
            // Nobody was told that it was accepted.
            self.truth.remove(&command);
        }
        self.queue = CommandQueue::default();
        self.queue.set_places(PLACES);
        self.lives.clear();
        let open: Vec<_> = self.rows.iter().filter(|(_, s)| !s.is_final()).collect();
        let terms = CommandTerms::default();
        for (command, stage) in open {
            let life = CommandLife::recovered(Origin::User, terms, *stage, now(self.at));
            self.lives.insert(command.clone(), life);
        }
        for command in self.lives.keys().cloned().collect::<Vec<_>>() {
            self.feed(&command, CommandEvent::AgentGone { journals: true });
        }
    }

    fn hear(&mut self) {
        match self.up.pop_front() {
            Some(Up::Ack(command, status)) => {
                self.feed(&command, CommandEvent::Acknowledged(status));
            }
            Some(Up::Complete(report)) => {
                let exit = report.signal.map(Exit::Signal).or(report.exit_code.map(Exit::Code));
                let command = report.command_id;
                if self.lives.contains_key(&command) {
                    let event = CommandEvent::Completed { phase: report.status, exit };
                    self.feed(&command, event);
                } else {
                    self.confirm(command);
                }
            }
            None => {}
        }
    }

    // --- the agent

    fn start_agent(&mut self) {
        let mut book = CommandBook::new(PLACES);
        book.recover(&self.journal);
        let left: Vec<_> = self
            .journal
            .standings()
            .filter(|(_, s)| !matches!(s, Standing::Ended { .. }))
            .map(|(command, _)| command.clone())
            .collect();
        let mut agent = Agent { book, unsynced: VecDeque::new() };
        for command in left {
            if let Some(truth) = self.truth.get_mut(&command) {
                truth.alive = false;
            }
            let report = agent.book.lose(&command, Fate::Gone, "its agent died".into());
            agent.unsynced.push_back(JournalEntry::Ended { report });
        }
        self.agent = Some(agent);
        self.agent_was_here = false;
    }

    fn kill_agent(&mut self) {
        self.cut();
        let Some(mut agent) = self.agent.take() else { return };
        // Of what was written and not synced, any prefix may be there.
        let kept = self.random.usize(0..=agent.unsynced.len());
        for entry in agent.unsynced.drain(..kept) {
            self.journal.apply(entry);
        }
        for truth in self.truth.values_mut() {
            truth.orphaned |= truth.alive;
        }
        for (command, standing) in self.journal.standings() {
            if let (Standing::Starting { .. }, Some(truth)) =
                (standing, self.truth.get_mut(command))
            {
                truth.orphaned = true;
            }
        }
    }

    /// The disk forgets; its processes are found by nobody.
    fn lose_journal(&mut self) {
        self.kill_agent();
        self.journal = CommandJournal::default();
        self.journal_id += 1;
        self.start_agent();
    }

    fn say(&mut self, word: Up) {
        if self.linked {
            self.up.push_back(word);
        }
    }

    fn advance(&mut self) {
        let Some(agent) = &mut self.agent else { return };
        while let Some(command) = agent.book.take_next() {
            let mark = RunMark::new(command.as_str());
            agent.unsynced.push_back(JournalEntry::Starting { command, mark });
        }
    }

    fn sync(&mut self) {
        let Some(agent) = &mut self.agent else { return };
        let Some(entry) = agent.unsynced.pop_front() else { return };
        self.journal.apply(entry.clone());
        match entry {
            JournalEntry::Starting { command, .. } => match agent.book.may_start(&command) {
                Ok(()) => {
                    agent.book.on_started(&command, None, stamp(self.at));
                    if let Some(truth) = self.truth.get_mut(&command) {
                        truth.runs += 1;
                        truth.alive = true;
                    }
                    self.say(Up::Ack(command, CommandAckStatus::Executing));
                }
                Err(Some(report)) => agent.unsynced.push_back(JournalEntry::Ended { report }),
                Err(None) => {}
            },
            JournalEntry::Ended { report } => {
                self.say(Up::Complete(report));
                self.advance();
            }
            JournalEntry::Started { .. }
            | JournalEntry::Confirmed { .. }
            | JournalEntry::Stopped { .. }
            | JournalEntry::Released { .. } => {}
        }
    }

    fn end_process(&mut self, command: &CommandId, exit: Exit) {
        let (Some(truth), Some(agent)) = (self.truth.get_mut(command), &mut self.agent) else {
            return;
        };
        if !truth.alive || truth.orphaned {
            return;
        }
        truth.alive = false;
        truth.exit = Some(exit);
        let at = now(self.at);
        if let Some(report) = agent.book.on_ended(command, exit, None, at.monotonic, at.wall) {
            agent.unsynced.push_back(JournalEntry::Ended { report });
        }
        self.advance();
    }

    fn listen(&mut self) {
        let Some(word) = self.down.pop_front() else { return };
        let Some(agent) = &mut self.agent else { return };
        match word {
            Down::Request(command) => match agent.book.on_request(&command) {
                Decision::Keep => {
                    self.advance();
                    let agent = self.agent.as_ref().unwrap();
                    let status = agent.book.status(&command);
                    self.say(Up::Ack(command, status));
                }
                Decision::Acknowledge(status) => self.say(Up::Ack(command, status)),
                Decision::Report(report) if self.is_durable(&report) => {
                    self.say(Up::Complete(report));
                }
                Decision::Report(_) => {}
                Decision::Refuse(report) => self.say(Up::Complete(report)),
            },
            Down::Cancel(command) => match agent.book.on_cancel(&command) {
                CancelDecision::Kill => self.end_process(&command, Exit::Signal(15)),
                CancelDecision::Withheld => {}
                CancelDecision::Report(report) if self.is_durable(&report) => {
                    self.say(Up::Complete(report));
                }
                CancelDecision::Report(_) => {}
                CancelDecision::NeverRan(report) => self.say(Up::Complete(report)),
            },
            Down::Confirm(command) => {
                agent.book.on_confirmed(&command);
                agent.unsynced.push_back(JournalEntry::Confirmed { command });
            }
        }
    }

    /// Whether this end is not still being written down.
    fn is_durable(&self, report: &CommandComplete) -> bool {
        let agent = self.agent.as_ref().unwrap();
        let same = |e: &JournalEntry| matches!(e, JournalEntry::Ended { report: r } if r.command_id == report.command_id);
        !agent.unsynced.iter().any(same)
    }

    // --- the link

    fn cut(&mut self) {
        if std::mem::take(&mut self.linked) {
            self.up.clear();
            self.down.clear();
            for command in self.lives.keys().cloned().collect::<Vec<_>>() {
                self.feed(&command, CommandEvent::LinkLost);
            }
        }
    }

    fn link(&mut self) {
        let Some(agent) = &self.agent else { return };
        if self.linked {
            return;
        }
        self.linked = true;
        let open: BTreeSet<_> = agent.book.open().into_iter().collect();
        let unfinished = agent.book.unfinished();
        let reports = agent.book.unconfirmed();
        let was_here = std::mem::replace(&mut self.agent_was_here, true);
        let remembers = self.known_journal == Some(self.journal_id);
        // What was decided when it came may have died with the server that decided it.
        let same_process = was_here && remembers;
        for command in self.lives.keys().cloned().collect::<Vec<_>>() {
            let known = open.contains(&command);
            let dialect = Dialect::Extended;
            let back = Returned { dialect, same_process, remembers, known };
            self.feed(&command, CommandEvent::LinkBack(back));
        }
        for command in &open {
            if !self.lives.contains_key(command) {
                self.down.push_back(Down::Cancel(command.clone()));
            }
        }
        if !remembers {
            self.known_journal = Some(self.journal_id);
            self.ledger.push_back(Write::Journal(self.journal_id));
        }
        for command in unfinished {
            let status = self.agent.as_ref().unwrap().book.status(&command);
            self.up.push_back(Up::Ack(command, status));
        }
        for report in reports {
            if self.is_durable(&report) {
                self.up.push_back(Up::Complete(report));
            }
        }
    }

    // --- the course of things

    fn wake(&mut self, by: Duration) {
        self.at += by;
        for command in self.lives.keys().cloned().collect::<Vec<_>>() {
            let due = self.lives[&command].deadline();
            if matches!(due, Deadline::At(at) if at <= stamp(self.at)) {
                self.feed(&command, CommandEvent::Wake);
            }
        }
    }

    fn step(&mut self, losses: bool) {
        let n = self.random.usize(0..COMMANDS);
        let what = self.random.u32(0..100);
        match what {
            0..8 => self.ask(n),
            8..20 => self.store(),
            20..35 => self.commit(),
            35..50 => self.hear(),
            50..65 => self.listen(),
            65..78 => self.sync(),
            78..85 => {
                let exit = if n.is_multiple_of(2) { Exit::Code(0) } else { Exit::Code(3) };
                self.end_process(&id(n), exit);
            }
            85..88 => self.cut(),
            88..93 => self.link(),
            93 => self.feed(&id(n), CommandEvent::Cancel { force: false }),
            94..96 => {
                self.kill_agent();
                self.start_agent();
            }
            96..98 => self.kill_server(),
            98 if losses && self.random.u32(0..5) == 0 => self.lose_journal(),
            _ => {
                let by = self.random.u64(1..12);
                self.wake(Duration::from_secs(by));
            }
        }
        self.place();
        for (command, truth) in &self.truth {
            assert!(truth.runs <= 1, "{command} ran {} times", truth.runs);
        }
    }

    /// Nothing goes wrong any more: everything must come to its end.
    fn settle(&mut self) {
        if self.agent.is_none() {
            self.start_agent();
        }
        for round in 0..2000 {
            self.link();
            while !(self.unstored.is_empty() && self.ledger.is_empty()) {
                self.store();
                self.commit();
            }
            while !self.up.is_empty() {
                self.hear();
            }
            while !self.down.is_empty() {
                self.listen();
            }
            while self.agent.as_ref().is_some_and(|a| !a.unsynced.is_empty()) {
                self.sync();
            }
            let n = round % COMMANDS;
            self.end_process(
                &id(n),
                if n.is_multiple_of(2) { Exit::Code(0) } else { Exit::Code(3) },
            );
            self.place();
            if round % 20 == 19 {
                self.wake(Duration::from_secs(10));
            }
            let open = self.rows.values().any(|s| !s.is_final());
            if !open && self.unstored.is_empty() && self.lives.is_empty() {
                return;
            }
        }
        panic!("no end: {:?} {:?}", self.rows, self.lives);
    }

    fn judge(&self) {
        for (command, truth) in &self.truth {
            let Some(stage) = self.rows.get(command) else { panic!("{command} was forgotten") };
            let context = format!("{command}: {stage:?}, {truth:?}");
            assert!(truth.runs <= 1, "{context}");
            match stage {
                CommandStage::Completed => {
                    assert!(truth.runs == 1 && truth.exit == Some(Exit::Code(0)), "{context}");
                }
                CommandStage::Failed => {
                    assert!(truth.exit.is_some_and(|exit| !exit.success()), "{context}");
                }
                CommandStage::Cancelled => assert!(!truth.alive, "{context}"),
                CommandStage::Lost => assert!(truth.orphaned && !truth.alive, "{context}"),
                // It claims nothing. That it is rare is not held here.
                CommandStage::Unknown => {}
                CommandStage::Pending
                | CommandStage::Queued
                | CommandStage::Delivered
                | CommandStage::Running
                | CommandStage::Cancelling => panic!("open: {context}"),
            }
        }
    }
}

fn seeds() -> u64 {
    std::env::var("ONSEMBL_SIM_SEEDS").map_or(1000, |text| text.parse().expect("a number"))
}

fn run(seed: u64, losses: bool) -> BTreeSet<CommandStage> {
    let run = std::panic::catch_unwind(|| {
        let mut world = World::new(seed);
        for _ in 0..400 {
            world.step(losses);
        }
        world.settle();
        world.judge();
        world.rows.values().copied().collect()
    });
    run.unwrap_or_else(|_| panic!("seed {seed}, losses {losses}"))
}

#[test]
fn in_a_thousand_worlds_nothing_runs_twice_and_every_outcome_is_true() {
    let mut met = BTreeSet::new();
    for seed in 0..seeds() {
        met.extend(run(seed, false));
        met.extend(run(seed, true));
    }
    for stage in [
        CommandStage::Completed,
        CommandStage::Failed,
        CommandStage::Cancelled,
        CommandStage::Lost,
        CommandStage::Unknown,
    ] {
        assert!(met.contains(&stage), "no world had {stage:?}");
    }
}
