//! The store: the truth that outlives the server, and the writes on their way into it.

use super::failure::Failure;
use super::links::number;
use super::queue::What;
use super::random::Random;
use super::rows::Rows;
use super::{MILLI, SECOND, World};
use crate::fleet::{
    FleetEvent, NewSession, OpenFault, OpenedSession, SeatId, StoreAnswer, StoreFault, Write,
};
use crate::id::{AgentId, BeatSequence, Epoch, LinkId};
use crate::lab::fact::{Agent, Fact, Process, Witness};
use crate::session::{ServerEvent, StoreTrouble};
use crate::supervisor::Key;
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// What waits for its turn.
#[derive(Debug)]
enum Task {
    Session {
        seat: SeatId,
        link: LinkId,
        new: Box<NewSession>,
    },
    /// The newest beat of this agent that waits.
    Beat {
        agent: u32,
    },
    /// What the fleet wants stored.
    Write(Box<Write>),
}

/// How the store is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Condition {
    pub(super) slow: u32,
    pub(super) stuck: u32,
    pub(super) fails: u32,
    pub(super) lies: u32,
}

/// The store.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) rows: Rows,
    pub(super) condition: Condition,
    pub(super) trouble: Option<StoreTrouble>,
    tasks: VecDeque<(u64, Task)>,
    beats: Vec<Option<(u64, u64)>>,
    latest: u64,
    random: Random,
}

impl Store {
    pub(super) fn new(agents: usize, random: Random) -> Self {
        Self {
            rows: Rows::new(agents),
            condition: Condition::default(),
            trouble: None,
            tasks: VecDeque::new(),
            beats: alloc::vec![None; agents],
            latest: 0,
            random,
        }
    }

    fn push(&mut self, now: u64, task: Task) -> u64 {
        let takes = match self.condition.slow {
            0 => self.random.between(MILLI, 12 * MILLI),
            _ => self.random.between(SECOND, 8 * SECOND),
        };
        // Writes are gathered into transactions: they wait for one another, but do not add up.
        self.latest = self.latest.max(now + takes);
        self.tasks.push_back((self.latest, task));
        self.latest
    }

    /// The id of an agent, once it has a row.
    pub(super) fn id_of(&self, agent: u32) -> Option<&AgentId> {
        self.rows.of_agent(agent).map(|row| &row.record.agent)
    }

    /// Whose id this is.
    pub(super) fn agent_of(&self, id: &AgentId) -> Option<u32> {
        self.rows.agent_of(id)
    }
}

impl<W: Witness> World<W> {
    pub(super) fn ask_session(&mut self, seat: SeatId, link: LinkId, new: Box<NewSession>) {
        let at = self.store.push(self.now, Task::Session { seat, link, new });
        self.queue.push(at, What::Store);
    }

    pub(super) fn ask_beat(&mut self, agent: u32, epoch: Epoch, sequence: BeatSequence) {
        let waiting = self.store.beats[agent as usize].replace((epoch.0, sequence.0));
        if waiting.is_none() {
            let at = self.store.push(self.now, Task::Beat { agent });
            self.queue.push(at, What::Store);
        }
    }

    pub(super) fn ask_store(&mut self, write: Write) {
        let at = self.store.push(self.now, Task::Write(Box::new(write)));
        self.queue.push(at, What::Store);
    }

    /// Does all that is due, as far as the store can. It lives in the server's process.
    pub(super) fn on_store(&mut self) {
        while self.server.is_executed() && self.store.condition.stuck == 0 {
            let now = self.now;
            let Some((_, task)) = self.store.tasks.pop_front_if(|(at, _)| *at <= now) else {
                return;
            };
            let fails = self.store.condition.fails > 0;
            match task {
                Task::Session { seat, link, new } => {
                    let opened = if fails { None } else { self.commit_session(link, &new) };
                    let opened = opened.filter(|_| self.store.condition.lies == 0);
                    let opened = opened.ok_or_else(unavailable);
                    let session = new.session;
                    let answer = StoreAnswer::Session { seat, link, session, opened };
                    self.feed_fleet(FleetEvent::Store(answer));
                }
                Task::Beat { agent } => {
                    let beat = self.store.beats[agent as usize].take();
                    if let Some((epoch, sequence)) = beat.filter(|_| !fails)
                        && self.commit_beat(agent, epoch, sequence)
                        && self.store.condition.lies == 0
                    {
                        self.tell_beat(agent, epoch, sequence);
                    }
                }
                Task::Write(write) if fails => {
                    self.store.tasks.push_front((now + SECOND, Task::Write(write)));
                    self.queue.push(now + SECOND, What::Store);
                    // What waits behind it waits as long.
                    return;
                }
                Task::Write(write) => self.commit_write(&write),
            }
        }
    }

    /// The server's process ended: writes that are under way may be committed or not; their outcome is lost.
    pub(super) fn drop_writes(&mut self, in_order: bool) {
        let able = self.store.condition.stuck == 0 && self.store.condition.fails == 0;
        while let Some((_, task)) = self.store.tasks.pop_front() {
            let committed = able && (in_order || self.store.random.once_in(3));
            match task {
                Task::Session { link, new, .. } if committed => {
                    let _nobody_hears = self.commit_session(link, &new);
                }
                Task::Beat { agent } => {
                    let beat = self.store.beats[agent as usize].take();
                    if let Some((epoch, sequence)) = beat.filter(|_| committed) {
                        let _nobody_hears = self.commit_beat(agent, epoch, sequence);
                    }
                }
                Task::Write(write) if committed => self.commit_write(&write),
                Task::Session { .. } | Task::Write(_) => {}
            }
            if !committed && !in_order {
                break;
            }
        }
        self.store.tasks.clear();
        self.store.beats.fill(None);
        self.store.latest = 0;
    }

    /// Opens the next session of whichever agent it is. Whose it is by the truth its wire says.
    fn commit_session(&mut self, link: LinkId, new: &NewSession) -> Option<OpenedSession> {
        let wire = &self.wires[number(link) as usize];
        let (agent, process) = (wire.agent, wire.process);
        let Some(opened) = self.store.rows.open(agent, new) else {
            self.fail(Failure::OtherAgent { agent });
            return None;
        };
        let epoch = opened.epoch.0;
        self.say_world(&Fact::SessionCommitted(Agent(agent), epoch, Process(process)));
        Some(opened)
    }

    fn commit_beat(&mut self, agent: u32, epoch: u64, sequence: u64) -> bool {
        let row = self.store.rows.of_agent(agent);
        if row.is_none_or(|row| row.record.epoch.0 != epoch) {
            return false;
        }
        self.say_world(&Fact::BeatCommitted(Agent(agent), epoch, sequence));
        true
    }

    fn commit_write(&mut self, write: &Write) {
        match write {
            Write::Presence(record) => self.store.rows.present(record),
            Write::SessionEnd { session, .. } => self.store.rows.end(session),
            Write::Alias { agent, alias } => self.store.rows.note_alias(agent, alias),
            Write::Journal { agent, journal } => self.store.rows.note_journal(agent, journal),
            Write::Terminal(_)
            | Write::Command { .. }
            | Write::Output { .. }
            | Write::TerminalSize { .. }
            | Write::Keyboard(_) => {
                self.fail(Failure::Unasked);
            }
        }
    }

    fn tell_beat(&mut self, agent: u32, epoch: u64, sequence: u64) {
        let Some(key) = self.server.machine_of(agent) else { return };
        self.say_server(&Fact::BeatAnswered(Agent(agent), epoch, sequence));
        let at = self.server.host.wall(self.now);
        let (epoch, sequence) = (Epoch(epoch), BeatSequence(sequence));
        self.feed_server(key, ServerEvent::Recorded { epoch, sequence, at });
    }

    /// The store says how it is, to every machine.
    pub(super) fn tell_trouble(&mut self, trouble: Option<StoreTrouble>) {
        self.store.trouble = trouble;
        if !self.server.is_executed() {
            return;
        }
        for agent in 0..self.agents.len() as u32 {
            if let Some(key) = self.server.machine_of(agent) {
                self.tell_trouble_to(key);
            }
        }
    }

    pub(super) fn tell_trouble_to(&mut self, key: Key) {
        let Some(seated) = self.server.seats.of_key(key) else { return };
        let trouble = self.store.trouble;
        self.say_server(&Fact::StoreReported(Agent(seated.agent), trouble.is_some()));
        self.feed_server(key, ServerEvent::Store(trouble));
    }
}

fn unavailable() -> OpenFault {
    OpenFault::Store(StoreFault::Unavailable("the store is in trouble".to_owned()))
}
