//! The store: the truth that outlives the server, and the writes on their way into it.

use super::queue::What;
use super::random::Random;
use super::world::World;
use super::{MILLI, SECOND};
use crate::close::CloseCause;
use crate::id::{BeatSequence, Epoch, LinkId};
use crate::lab::fact::{Agent, Fact, Process, Status, Witness};
use crate::session::{HelloRefusal, ServerEvent, StoreTrouble};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// What the store holds of one agent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Row {
    pub(super) known: bool,
    pub(super) epoch: u64,
    pub(super) version: u64,
    pub(super) offline: bool,
    pub(super) process: Option<u32>,
    pub(super) last_beat: Option<(u64, u64)>,
}

/// A write that waits.
#[derive(Clone, Copy, Debug)]
enum Write {
    Session {
        agent: u32,
        wire: u32,
    },
    /// The newest beat of this agent that waits.
    Beat {
        agent: u32,
    },
    Presence {
        agent: u32,
        version: u64,
        offline: bool,
    },
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
    pub(super) rows: Vec<Row>,
    pub(super) condition: Condition,
    pub(super) trouble: Option<StoreTrouble>,
    writes: VecDeque<(u64, Write)>,
    beats: Vec<Option<(u64, u64)>>,
    latest: u64,
    random: Random,
}

impl Store {
    pub(super) fn new(agents: usize, random: Random) -> Self {
        Self {
            rows: alloc::vec![Row::default(); agents],
            condition: Condition::default(),
            trouble: None,
            writes: VecDeque::new(),
            beats: alloc::vec![None; agents],
            latest: 0,
            random,
        }
    }

    fn push(&mut self, now: u64, write: Write) -> u64 {
        let takes = match self.condition.slow {
            0 => self.random.between(MILLI, 12 * MILLI),
            _ => self.random.between(SECOND, 8 * SECOND),
        };
        // Writes are gathered into transactions: they wait for one another, but do not add up.
        self.latest = self.latest.max(now + takes);
        self.writes.push_back((self.latest, write));
        self.latest
    }
}

impl<W: Witness> World<W> {
    pub(super) fn ask_session(&mut self, agent: u32, wire: u32) {
        let at = self.store.push(self.now, Write::Session { agent, wire });
        self.queue.push(at, What::Store);
    }

    pub(super) fn ask_beat(&mut self, agent: u32, epoch: Epoch, sequence: BeatSequence) {
        let waiting = self.store.beats[agent as usize].replace((epoch.0, sequence.0));
        if waiting.is_none() {
            let at = self.store.push(self.now, Write::Beat { agent });
            self.queue.push(at, What::Store);
        }
    }

    pub(super) fn ask_presence(&mut self, agent: u32, version: u64, offline: bool) {
        let at = self.store.push(self.now, Write::Presence { agent, version, offline });
        self.queue.push(at, What::Store);
    }

    /// Writes all that is due, as far as the store can. It lives in the server's process.
    pub(super) fn on_store(&mut self) {
        while self.server.is_executed() && self.store.condition.stuck == 0 {
            let now = self.now;
            let Some((_, write)) = self.store.writes.pop_front_if(|(at, _)| *at <= now) else {
                return;
            };
            let fails = self.store.condition.fails > 0;
            match write {
                Write::Session { agent, wire } if fails => self.deny(agent, wire),
                Write::Session { agent, wire } => {
                    let epoch = self.commit_session(agent, wire);
                    if self.store.condition.lies > 0 {
                        self.deny(agent, wire);
                    } else {
                        self.tell_session(agent, wire, epoch);
                    }
                }
                Write::Beat { agent } => {
                    let beat = self.store.beats[agent as usize].take();
                    if let Some((epoch, sequence)) = beat.filter(|_| !fails)
                        && self.commit_beat(agent, epoch, sequence)
                        && self.store.condition.lies == 0
                    {
                        self.tell_beat(agent, epoch, sequence);
                    }
                }
                Write::Presence { agent, version, offline } if fails => {
                    self.store
                        .writes
                        .push_front((now + SECOND, Write::Presence { agent, version, offline }));
                    self.queue.push(now + SECOND, What::Store);
                    // What waits behind it waits as long.
                    return;
                }
                Write::Presence { agent, version, offline } => {
                    self.commit_presence(agent, version, offline);
                }
            }
        }
    }

    /// The server's process ended: writes that are under way may be committed or not, nobody hears.
    pub(super) fn drop_writes(&mut self, in_order: bool) {
        let able = self.store.condition.stuck == 0 && self.store.condition.fails == 0;
        while let Some((_, write)) = self.store.writes.pop_front() {
            let committed = able && (in_order || self.store.random.once_in(3));
            match write {
                Write::Session { agent, wire } if committed => {
                    let _nobody_hears = self.commit_session(agent, wire);
                }
                Write::Beat { agent } => {
                    let beat = self.store.beats[agent as usize].take();
                    if let Some((epoch, sequence)) = beat.filter(|_| committed) {
                        let _nobody_hears = self.commit_beat(agent, epoch, sequence);
                    }
                }
                Write::Presence { agent, version, offline } if committed => {
                    self.commit_presence(agent, version, offline);
                }
                Write::Session { .. } | Write::Presence { .. } => {}
            }
            if !committed && !in_order {
                break;
            }
        }
        self.store.writes.clear();
        self.store.beats.fill(None);
        self.store.latest = 0;
    }

    fn commit_session(&mut self, agent: u32, wire: u32) -> u64 {
        let process = self.wires[wire as usize].process;
        let row = &mut self.store.rows[agent as usize];
        // What a run goes on from is noted of everybody at its start, also of who is not known yet.
        row.known = true;
        row.epoch += 1;
        row.process = Some(process);
        // Who has a session is awaited after a restart, whatever was last stored of its presence.
        row.offline = false;
        let epoch = row.epoch;
        self.say_world(&Fact::SessionCommitted(Agent(agent), epoch, Process(process)));
        epoch
    }

    fn commit_beat(&mut self, agent: u32, epoch: u64, sequence: u64) -> bool {
        let row = &mut self.store.rows[agent as usize];
        if !row.known || row.epoch != epoch {
            return false;
        }
        row.last_beat = Some((epoch, sequence));
        self.say_world(&Fact::BeatCommitted(Agent(agent), epoch, sequence));
        true
    }

    fn commit_presence(&mut self, agent: u32, version: u64, offline: bool) {
        let row = &mut self.store.rows[agent as usize];
        if row.known && version > row.version {
            row.version = version;
            row.offline = offline;
        }
    }

    fn tell_session(&mut self, agent: u32, wire: u32, epoch: u64) {
        let live = &mut self.server.live[agent as usize];
        live.bound = true;
        live.epoch = live.epoch.max(epoch);
        let wire_id = self.wire_id(wire);
        self.say_server(&Fact::SessionTold(Agent(agent), wire_id, epoch));
        self.feed_server(
            agent,
            ServerEvent::Admitted { link: LinkId(u64::from(wire) + 1), epoch: Epoch(epoch) },
        );
    }

    fn deny(&mut self, agent: u32, wire: u32) {
        self.send_down(wire, super::wire::Packet::Refused(HelloRefusal::Other));
        let wire_id = self.wire_id(wire);
        self.say_server(&Fact::SessionDenied(Agent(agent), wire_id));
        let link = LinkId(u64::from(wire) + 1);
        self.feed_server(agent, ServerEvent::Rejected { link, cause: CloseCause::TryLater });
    }

    fn tell_beat(&mut self, agent: u32, epoch: u64, sequence: u64) {
        if self.server.live[agent as usize].key.is_none() {
            return;
        }
        self.say_server(&Fact::BeatTold(Agent(agent), epoch, sequence));
        let at = self.server.host.wall(self.now);
        let (epoch, sequence) = (Epoch(epoch), BeatSequence(sequence));
        self.feed_server(agent, ServerEvent::Recorded { epoch, sequence, at });
    }

    /// The store says how it is, to every machine.
    pub(super) fn tell_trouble(&mut self, trouble: Option<StoreTrouble>) {
        self.store.trouble = trouble;
        if !self.server.is_executed() {
            return;
        }
        for agent in 0..self.server.live.len() as u32 {
            if self.server.live[agent as usize].key.is_some() {
                self.say_server(&Fact::StoreTold(Agent(agent), trouble.is_some()));
                self.feed_server(agent, ServerEvent::Store(trouble));
            }
        }
    }
}

/// Whether a status is one that a restarted server awaits nobody for.
pub(super) const fn is_offline(status: Status) -> bool {
    matches!(status, Status::Offline)
}
