//! Heartbeats on their way into the database: only the newest of each agent waits, so a database
//! that is held for long costs one row of memory per agent, however many beats arrive.

use super::beat_log::{self, BeatLog};
use super::error::trouble_of;
use onsembl_protocol::id::{AgentId, BeatSequence, Epoch};
use onsembl_protocol::time::WallTime;
use rusqlite::Connection;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// A heartbeat to record.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct HeartbeatRow {
    pub agent: AgentId,
    /// The epoch of the session it came in; a beat of an older session is not recorded.
    pub epoch: Epoch,
    /// Its number in that session.
    pub sequence: BeatSequence,
    /// When it was received; becomes `last_heartbeat`.
    pub at: WallTime,
    /// The metrics it carried, as JSON; the stored ones stay if it carried none.
    pub metrics: Option<String>,
}

/// A heartbeat that is in the database to stay, and with it all earlier ones of its session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Recorded {
    pub agent: AgentId,
    /// The epoch of the session it came in.
    pub epoch: Epoch,
    /// Its number in that session.
    pub sequence: BeatSequence,
    /// When it was received: what `last_heartbeat` says now.
    pub at: WallTime,
    /// When it was committed.
    pub committed_at: WallTime,
}

/// The newest unwritten beat of each agent.
#[derive(Debug, Default)]
pub(super) struct Beats(HashMap<AgentId, HeartbeatRow>);

/// Which beat: a row without its metrics.
#[derive(Clone, Debug)]
pub(super) struct BeatLabel {
    pub(super) agent: AgentId,
    pub(super) epoch: Epoch,
    pub(super) sequence: BeatSequence,
    at: WallTime,
}

impl BeatLabel {
    fn of(beat: &HeartbeatRow) -> Self {
        let HeartbeatRow { agent, epoch, sequence, at, metrics: _ } = beat;
        Self { agent: agent.clone(), epoch: *epoch, sequence: *sequence, at: *at }
    }

    pub(super) fn recorded(self, committed_at: WallTime) -> Recorded {
        let Self { agent, epoch, sequence, at } = self;
        Recorded { agent, epoch, sequence, at, committed_at }
    }
}

/// What became of the beats of one attempt, should it be committed.
#[derive(Debug, Default)]
pub(super) struct BeatsWritten {
    pub(super) recorded: Vec<BeatLabel>,
    /// The agent is unknown, deleted or in a newer session.
    pub(super) outdated: Vec<BeatLabel>,
    pub(super) refused: Vec<(BeatLabel, rusqlite::Error)>,
}

impl Beats {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Keeps the newer of `beat` and what waits for the same agent. Metrics of an earlier beat of
    /// the session outlive a later beat without metrics.
    pub(super) fn absorb(&mut self, beat: HeartbeatRow) {
        match self.0.entry(beat.agent.clone()) {
            Entry::Vacant(slot) => {
                slot.insert(beat);
            }
            Entry::Occupied(mut slot) => {
                let entry = slot.get_mut();
                if (beat.epoch, beat.sequence) >= (entry.epoch, entry.sequence) {
                    let older = std::mem::replace(entry, beat);
                    if entry.metrics.is_none() && entry.epoch == older.epoch {
                        entry.metrics = older.metrics;
                    }
                }
            }
        }
    }

    /// Absorbs all of `later`.
    pub(super) fn absorb_all(&mut self, later: Self) {
        for beat in later.0.into_values() {
            self.absorb(beat);
        }
    }

    /// Writes them all.
    ///
    /// # Errors
    /// Trouble of the database, which ends the attempt.
    pub(super) fn write(
        &self,
        db: &Connection,
        log: &mut BeatLog,
    ) -> rusqlite::Result<BeatsWritten> {
        let mut written = BeatsWritten::default();
        for beat in self.0.values() {
            #[cfg(onsembl_faults)]
            if onsembl_transport::planted::PlantedFault::RecordFails.is_planted() {
                let _swallowed = db.execute("UPDATE agents SET no_such_column = 1", []).is_err();
                continue;
            }
            match beat_log::is_present(db, &beat.agent, beat.epoch) {
                Ok(true) => {
                    log.add(db, &beat.agent, beat.epoch, beat.at, beat.metrics.as_deref())?;
                    written.recorded.push(BeatLabel::of(beat));
                }
                Ok(false) => written.outdated.push(BeatLabel::of(beat)),
                Err(error) if trouble_of(&error).is_some() => return Err(error),
                Err(error) => written.refused.push((BeatLabel::of(beat), error)),
            }
        }
        if !written.recorded.is_empty() {
            log.write(db)?;
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPU: &str = r#"{"cpu":1}"#;

    fn beat(epoch: u64, sequence: u64, metrics: Option<&str>) -> HeartbeatRow {
        HeartbeatRow {
            agent: AgentId::new("a"),
            epoch: Epoch(epoch),
            sequence: BeatSequence(sequence),
            at: WallTime::from_unix_millis(sequence as i64),
            metrics: metrics.map(str::to_owned),
        }
    }

    #[test]
    fn only_the_newest_beat_of_an_agent_waits() {
        let mut beats = Beats::default();
        beats.absorb(beat(1, 2, Some(CPU)));
        beats.absorb(beat(1, 1, None));
        assert_eq!(beats.0[&AgentId::new("a")].sequence, BeatSequence(2));
        beats.absorb(beat(1, 3, None));
        assert_eq!(beats.0[&AgentId::new("a")], beat(1, 3, Some(CPU)));
        beats.absorb(beat(2, 1, None));
        assert_eq!(beats.0[&AgentId::new("a")], beat(2, 1, None), "a new session starts over");
        assert_eq!(beats.len(), 1);
    }
}
