//! The store: the truth that outlives the server, and the writes on their way into it.

use super::env::Env;
use super::failure::Failure;
use super::links::number;
use super::queue::What;
use super::random::Random;
use super::rows::Rows;
use super::{MILLI, SECOND};
use crate::fleet::{NewSession, OpenFault, OpenedSession, SeatId, StoreFault, Write};
use crate::id::{AgentId, BeatSequence, Epoch, LinkId, SessionId};
use crate::lab::fact::{Agent, Fact, Process, Witness};
use crate::session::StoreTrouble;
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

/// What came of a task.
#[derive(Debug)]
pub(super) enum Done {
    Session {
        seat: SeatId,
        link: LinkId,
        session: SessionId,
        opened: Result<OpenedSession, OpenFault>,
    },
    Beat {
        agent: u32,
        epoch: u64,
        sequence: u64,
    },
    /// Nobody awaits it, or is told.
    Unheard,
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

    /// How many agents there are.
    pub(super) const fn agents(&self) -> usize {
        self.beats.len()
    }

    pub(super) fn ask_session<W>(
        &mut self,
        env: &mut Env<W>,
        seat: SeatId,
        link: LinkId,
        new: Box<NewSession>,
    ) {
        let at = self.push(env.now, Task::Session { seat, link, new });
        env.queue.push(at, What::Store);
    }

    pub(super) fn ask_beat<W>(
        &mut self,
        env: &mut Env<W>,
        agent: u32,
        epoch: Epoch,
        sequence: BeatSequence,
    ) {
        let waiting = self.beats[agent as usize].replace((epoch.0, sequence.0));
        if waiting.is_none() {
            let at = self.push(env.now, Task::Beat { agent });
            env.queue.push(at, What::Store);
        }
    }

    pub(super) fn ask_write<W>(&mut self, env: &mut Env<W>, write: Write) {
        let at = self.push(env.now, Task::Write(Box::new(write)));
        env.queue.push(at, What::Store);
    }

    /// Does the next task that is due, if the store can.
    pub(super) fn next<W: Witness>(&mut self, env: &mut Env<W>) -> Option<Done> {
        if self.condition.stuck > 0 {
            return None;
        }
        let now = env.now;
        let (_, task) = self.tasks.pop_front_if(|(at, _)| *at <= now)?;
        let fails = self.condition.fails > 0;
        Some(match task {
            Task::Session { seat, link, new } => {
                let opened = if fails { None } else { self.commit_session(env, link, &new) };
                let opened = opened.filter(|_| self.condition.lies == 0);
                let opened = opened.ok_or_else(unavailable);
                Done::Session { seat, link, session: new.session, opened }
            }
            Task::Beat { agent } => {
                let beat = self.beats[agent as usize].take();
                match beat.filter(|_| !fails) {
                    Some((epoch, sequence))
                        if self.commit_beat(env, agent, epoch, sequence)
                            && self.condition.lies == 0 =>
                    {
                        Done::Beat { agent, epoch, sequence }
                    }
                    Some(_) | None => Done::Unheard,
                }
            }
            Task::Write(write) if fails => {
                self.tasks.push_front((now + SECOND, Task::Write(write)));
                env.queue.push(now + SECOND, What::Store);
                // What waits behind it waits as long.
                return None;
            }
            Task::Write(write) => {
                self.commit_write(env, &write);
                Done::Unheard
            }
        })
    }

    /// The server's process ended: writes that are in progress may be committed or not; their outcome is lost.
    pub(super) fn drop_writes<W: Witness>(&mut self, env: &mut Env<W>, in_order: bool) {
        let able = self.condition.stuck == 0 && self.condition.fails == 0;
        while let Some((_, task)) = self.tasks.pop_front() {
            let committed = able && (in_order || self.random.once_in(3));
            match task {
                Task::Session { link, new, .. } if committed => {
                    let _nobody_hears = self.commit_session(env, link, &new);
                }
                Task::Beat { agent } => {
                    let beat = self.beats[agent as usize].take();
                    if let Some((epoch, sequence)) = beat.filter(|_| committed) {
                        let _nobody_hears = self.commit_beat(env, agent, epoch, sequence);
                    }
                }
                Task::Write(write) if committed => self.commit_write(env, &write),
                Task::Session { .. } | Task::Write(_) => {}
            }
            if !committed && !in_order {
                break;
            }
        }
        self.tasks.clear();
        self.beats.fill(None);
        self.latest = 0;
    }

    /// Opens the next session of whichever agent it is. Whose it is by the truth its wire says.
    fn commit_session<W: Witness>(
        &mut self,
        env: &mut Env<W>,
        link: LinkId,
        new: &NewSession,
    ) -> Option<OpenedSession> {
        let wire = &env.net.wires[number(link) as usize];
        let (agent, process) = (wire.agent, wire.process);
        let Some(opened) = self.rows.open(agent, new) else {
            env.fail(Failure::OtherAgent { agent });
            return None;
        };
        let epoch = opened.epoch.0;
        env.say_world(&Fact::SessionCommitted(Agent(agent), epoch, Process(process)));
        Some(opened)
    }

    fn commit_beat<W: Witness>(
        &self,
        env: &mut Env<W>,
        agent: u32,
        epoch: u64,
        sequence: u64,
    ) -> bool {
        let row = self.rows.of_agent(agent);
        if row.is_none_or(|row| row.record.epoch.0 != epoch) {
            return false;
        }
        env.say_world(&Fact::BeatCommitted(Agent(agent), epoch, sequence));
        true
    }

    fn commit_write<W>(&mut self, env: &mut Env<W>, write: &Write) {
        match write {
            Write::Presence(record) => self.rows.present(record),
            Write::SessionEnd { session, .. } => self.rows.end(session),
            Write::Alias { agent, alias } => self.rows.note_alias(agent, alias),
            Write::Journal { agent, journal } => self.rows.note_journal(agent, journal),
            Write::Terminal(_)
            | Write::Command { .. }
            | Write::Output { .. }
            | Write::TerminalSize { .. }
            | Write::Keyboard(_) => env.fail(Failure::Unasked),
        }
    }
}

fn unavailable() -> OpenFault {
    OpenFault::Store(StoreFault::Unavailable("the store is in trouble".to_owned()))
}
