//! Heartbeats in the database: a ring of slots, many beats in each, so that a commit writes a page or two however many
//! agents beat. What is newest of each agent is in memory too, once it is committed: readers take it from there, over
//! what the rows of agents say.
//!
//! A slot that is needed again is the oldest one. What in it is still the newest of its agent moves to the slot that is
//! being filled; an agent that has been silent for long gets its beat written into its row and is in the log no more.

use super::beat_slot::{self, LoggedBeat, ROOM};
use super::columns::int;
use onsembl_protocol::id::{AgentId, Epoch};
use onsembl_protocol::time::WallTime;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Slots of a log at least.
const LEAST_SLOTS: usize = 8;
/// A log has room for this many times what is newest of all its agents: then a slot that comes round again holds little
/// that is still the newest.
const SPARE: usize = 3;
/// An agent whose newest beat is so much older than others is silent.
const SILENT_MS: i64 = 10 * 60 * 1000;

/// The newest recorded heartbeat of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LastBeat {
    pub(super) epoch: Epoch,
    pub(super) at: WallTime,
    /// The latest metrics that the log has of it.
    pub(super) metrics: Option<Box<str>>,
    slot: usize,
}

/// What is newest of each agent in the log, as it is committed. For readers.
#[derive(Debug, Default)]
pub(super) struct LastBeats(Mutex<HashMap<AgentId, LastBeat>>);

impl LastBeats {
    fn lock(&self) -> MutexGuard<'_, HashMap<AgentId, LastBeat>> {
        // Nothing in a critical section can be left half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of these agents, or of all.
    pub(super) fn of(&self, agents: Option<&[AgentId]>) -> HashMap<AgentId, LastBeat> {
        let all = self.lock();
        match agents {
            None => all.clone(),
            Some(agents) => {
                let of = |agent: &AgentId| Some((agent.clone(), all.get(agent)?.clone()));
                agents.iter().filter_map(of).collect()
            }
        }
    }

    /// When the newest of them was received.
    pub(super) fn newest(&self) -> Option<WallTime> {
        self.lock().values().map(|last| last.at).max()
    }
}

/// The log of the writer.
#[derive(Debug)]
pub(super) struct BeatLog {
    last: Arc<LastBeats>,
    /// `None` after a failed transaction: then it is read again.
    ring: Option<Ring>,
    /// What the transaction changes of `last`, in the order in which it does.
    changes: HashMap<AgentId, Option<LastBeat>>,
}

/// The slots.
#[derive(Debug, Default)]
struct Ring {
    slots: Vec<Slot>,
    /// The one that is being filled, and what is in it.
    filling: usize,
    content: Vec<u8>,
    /// Bytes of what is newest, about.
    live: usize,
    newest: i64,
}

#[derive(Debug, Default)]
struct Slot {
    number: u64,
    /// The agents of the beats in it.
    agents: Vec<AgentId>,
}

impl BeatLog {
    /// A log that is not read yet.
    pub(super) fn new() -> Self {
        Self { last: Arc::default(), ring: None, changes: HashMap::new() }
    }

    /// The same, read.
    pub(super) fn open(db: &Connection) -> rusqlite::Result<Self> {
        let mut log = Self::new();
        let _ = log.ring(db)?;
        Ok(log)
    }

    pub(super) fn last(&self) -> Arc<LastBeats> {
        Arc::clone(&self.last)
    }

    /// Adds a beat, in a transaction. Metrics that it lacks are those of the beat before.
    pub(super) fn add(
        &mut self,
        db: &Connection,
        agent: &AgentId,
        epoch: Epoch,
        at: WallTime,
        metrics: Option<&str>,
    ) -> rusqlite::Result<()> {
        // Before this transaction writes a row: what is read has to be what is committed.
        let _ = self.ring(db)?;
        let before = self.find(agent);
        let metrics = metrics.map(Into::into).or_else(|| before.as_ref()?.metrics.clone());
        let beat = LoggedBeat { agent: agent.clone(), epoch, at, metrics };
        let mut entry = Vec::new();
        beat_slot::push(&mut entry, agent, epoch, at, beat.metrics.as_deref());
        if entry.len() > ROOM / 2 {
            // Nobody's metrics are so long; a slot is for many.
            let _ = self.changes.insert(agent.clone(), None);
            return write_row(db, &beat);
        }
        if before.is_none() {
            self.ring(db)?.live += entry.len();
        }
        self.put(db, beat, &entry)
    }

    /// The transaction was committed.
    pub(super) fn committed(&mut self) {
        let mut last = self.last.lock();
        for (agent, beat) in self.changes.drain() {
            let _ = match beat {
                Some(beat) => last.insert(agent, beat),
                None => last.remove(&agent),
            };
        }
    }

    /// It was not.
    pub(super) fn failed(&mut self) {
        // One that did not even begin has changed nothing.
        if !self.changes.is_empty() {
            self.ring = None;
            self.changes.clear();
        }
    }

    /// Writes the slot that is being filled, at the end of a transaction that added something.
    pub(super) fn write(&mut self, db: &Connection) -> rusqlite::Result<()> {
        let ring = self.ring(db)?;
        let number = ring.slots.get(ring.filling).map_or(0, |slot| slot.number);
        write_slot(db, ring.filling, number, &ring.content)
    }

    fn find(&self, agent: &AgentId) -> Option<LastBeat> {
        match self.changes.get(agent) {
            Some(changed) => changed.clone(),
            None => self.last.lock().get(agent).cloned(),
        }
    }

    fn put(&mut self, db: &Connection, beat: LoggedBeat, entry: &[u8]) -> rusqlite::Result<()> {
        while self.ring(db)?.content.len() + entry.len() > ROOM {
            self.next_slot(db)?;
        }
        let ring = self.ring(db)?;
        ring.content.extend_from_slice(entry);
        ring.newest = ring.newest.max(beat.at.unix_millis());
        let slot = ring.filling;
        if let Some(filled) = ring.slots.get_mut(slot) {
            filled.agents.push(beat.agent.clone());
        }
        let LoggedBeat { agent, epoch, at, metrics } = beat;
        let _ = self.changes.insert(agent, Some(LastBeat { epoch, at, metrics, slot }));
        Ok(())
    }

    /// Goes on with the oldest slot, or with a new one while there are few.
    fn next_slot(&mut self, db: &Connection) -> rusqlite::Result<()> {
        self.write(db)?;
        let ring = self.ring(db)?;
        let number = ring.slots.get(ring.filling).map_or(0, |slot| slot.number) + 1;
        let wanted = LEAST_SLOTS.max(1 + SPARE * ring.live / ROOM);
        let oldest = ring.slots.iter().enumerate().min_by_key(|(_, slot)| slot.number);
        let (at, agents) = match oldest.map(|(at, _)| at) {
            Some(at) if ring.slots.len() >= wanted => {
                let agents = ring.slots.get_mut(at).map(|slot| {
                    slot.number = number;
                    std::mem::take(&mut slot.agents)
                });
                (at, agents.unwrap_or_default())
            }
            Some(_) | None => {
                ring.slots.push(Slot { number, agents: Vec::new() });
                (ring.slots.len() - 1, Vec::new())
            }
        };
        ring.filling = at;
        ring.content.clear();
        let silent = ring.newest.saturating_sub(SILENT_MS);
        let mut moved = Vec::new();
        for agent in agents {
            match self.find(&agent) {
                Some(LastBeat { epoch, at: received, metrics, slot }) if slot == at => {
                    // Once, however often it is in there.
                    let beat = LoggedBeat { agent, epoch, at: received, metrics };
                    let _ = self.changes.insert(beat.agent.clone(), None);
                    moved.push(beat);
                }
                Some(_) | None => {}
            }
        }
        for beat in moved {
            let mut entry = Vec::new();
            beat_slot::push(&mut entry, &beat.agent, beat.epoch, beat.at, beat.metrics.as_deref());
            if beat.at.unix_millis() < silent {
                let ring = self.ring(db)?;
                ring.live = ring.live.saturating_sub(entry.len());
                write_row(db, &beat)?;
            } else {
                // All of them were in one slot before.
                self.put(db, beat, &entry)?;
            }
        }
        Ok(())
    }

    /// The slots, read if they are not known.
    fn ring(&mut self, db: &Connection) -> rusqlite::Result<&mut Ring> {
        let ring = match self.ring.take() {
            Some(ring) => ring,
            None => self.load(db)?,
        };
        Ok(self.ring.insert(ring))
    }

    fn load(&self, db: &Connection) -> rusqlite::Result<Ring> {
        let mut query = db.prepare_cached("SELECT slot, beats FROM beat_log ORDER BY slot")?;
        let mut rows = query.query([])?;
        let (mut ring, mut packed) = (Ring::default(), Vec::<Vec<u8>>::new());
        while let Some(row) = rows.next()? {
            // Slots are numbered from 0 without a hole; what is not there is empty.
            let at = usize::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
            if at < packed.len() || at > packed.len() + LEAST_SLOTS {
                tracing::warn!(slot = at, "a slot of the log of heartbeats is out of place");
                continue;
            }
            packed.resize_with(at, Vec::new);
            packed.push(row.get(1)?);
        }
        if packed.is_empty() {
            packed.push(Vec::new());
        }
        let number = |slot: &Vec<u8>| beat_slot::number(slot).unwrap_or(0);
        ring.slots =
            packed.iter().map(|slot| Slot { number: number(slot), agents: Vec::new() }).collect();
        let mut order: Vec<usize> = (0..packed.len()).collect();
        order.sort_by_key(|at| packed.get(*at).map(number));
        let mut last = HashMap::new();
        for at in order {
            let Some((bytes, slot)) = packed.get(at).zip(ring.slots.get_mut(at)) else { continue };
            let mut beats = beat_slot::beats(bytes);
            for LoggedBeat { agent, epoch, at: received, metrics } in beats.by_ref() {
                ring.newest = ring.newest.max(received.unix_millis());
                slot.agents.push(agent.clone());
                let _ = last.insert(agent, LastBeat { epoch, at: received, metrics, slot: at });
            }
            let read = bytes.len().saturating_sub(beats.left());
            ring.filling = at;
            ring.content = bytes.get(beat_slot::NUMBER..read).unwrap_or_default().to_vec();
        }
        // A beat that is too long for a slot went into its row, and leaves older ones of its agent in the log.
        let mut in_row =
            db.prepare_cached("SELECT last_heartbeat FROM agents WHERE agent_id = ?1")?;
        let mut outdated = Vec::new();
        for (agent, beat) in &last {
            let row = in_row.query_row([agent.as_str()], |row| row.get::<_, Option<i64>>(0));
            if row.optional()?.flatten().is_some_and(|at| at > beat.at.unix_millis()) {
                outdated.push(agent.clone());
            }
        }
        for agent in &outdated {
            let _ = last.remove(agent);
        }
        let mut entry = Vec::new();
        for (agent, beat) in &last {
            beat_slot::push(&mut entry, agent, beat.epoch, beat.at, beat.metrics.as_deref());
            ring.live += entry.len();
            entry.clear();
        }
        *self.last.lock() = last;
        Ok(ring)
    }
}

fn write_slot(db: &Connection, at: usize, number: u64, content: &[u8]) -> rusqlite::Result<()> {
    // In place: a row of the same length under the same key.
    db.prepare_cached(
        "INSERT INTO beat_log (slot, beats) VALUES (?1, ?2)
         ON CONFLICT (slot) DO UPDATE SET beats = excluded.beats",
    )?
    .execute(params![int(at as u64)?, beat_slot::seal(number, content)])
    .map(drop)
}

/// Writes a beat into the row of its agent.
fn write_row(db: &Connection, beat: &LoggedBeat) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE agents SET last_heartbeat = ?2, last_metrics = coalesce(?3, last_metrics)
         WHERE agent_id = ?1 AND deleted_at IS NULL",
    )?
    .execute(params![beat.agent.as_str(), beat.at.unix_millis(), beat.metrics.as_deref()])
    .map(drop)
}

/// Whether an agent is in the session of this epoch, and not deleted.
pub(super) fn is_present(db: &Connection, agent: &AgentId, epoch: Epoch) -> rusqlite::Result<bool> {
    db.prepare_cached(
        "SELECT 1 FROM agents WHERE agent_id = ?1 AND epoch = ?2 AND deleted_at IS NULL",
    )?
    .query_row(params![agent.as_str(), int(epoch.0)?], |_| Ok(()))
    .optional()
    .map(|found| found.is_some())
}

#[cfg(test)]
mod tests;
