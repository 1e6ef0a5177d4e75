//! The recorder of a shard: the inputs of all its machines in the rings of their users, and where to find them.
//!
//! Each entry knows where the one before it of the same agent is, so an agent's history is read
//! backwards without looking at the others'. An entry that was overwritten cuts it off. A history is
//! replayed from a state that is known: how the machine began, or a checkpoint, which is a snapshot of
//! it that the recorder puts between the events.

use super::check;
use super::compact::{CompactError, Reader, Writer};
use super::entry::{Kind, read_link, wall_origin, write_now};
use super::excerpt::Excerpt;
use super::frame::FrameNote;
use super::machine::ServerOrigin;
use super::ring::{Owner, Position, Ring};
use crate::session::{ServerAction, ServerConfig, ServerEvent, ServerSnapshot};
use crate::step::Actions;
use crate::supervisor::Key;
use crate::time::{Deadline, Now};
use alloc::vec::Vec;

/// In each such part of its user's ring, an agent that has events has a checkpoint: what is lost with a
/// checkpoint that was overwritten is at most this part of the ring.
pub(crate) const CHECKPOINTS_PER_RING: usize = 4;

/// The least number of events of an agent between two checkpoints, so that checkpoints, which have the
/// size of four events, stay the smaller part of the ring. With more agents than the ring has
/// room for that many events each, some have no checkpoint in it, and cannot be replayed.
pub(crate) const CHECKPOINT_EVENTS: u32 = 16;

/// Records the machines of a shard. See the [module](super).
#[derive(Debug)]
pub struct Recorder {
    config: ServerConfig,
    ring: Ring,
    /// What the wall said, in milliseconds, when the monotonic clock was at its origin.
    wall_origin: Option<i64>,
    tracks: Vec<Track>,
    lost: u64,
}

/// An event that a machine has handled.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Handled {
    pub event: ServerEvent,
    pub now: Now,
    /// What the frame was, if it was one.
    pub frame: Option<FrameNote>,
}

/// The history of an agent that has no machine any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retired {
    last: Position,
    count: u64,
}

/// Where the history of one machine is.
#[derive(Clone, Copy, Debug)]
struct Track {
    key: Option<Key>,
    owner: Owner,
    last: Position,
    checkpoint: Position,
    since_checkpoint: u32,
    count: u64,
}

impl Track {
    const NONE: Self =
        Self { key: None, owner: Owner(0), last: 0, checkpoint: 0, since_checkpoint: 0, count: 0 };
}

impl Recorder {
    /// A ring of this many bytes, at least 4 KiB; with zero nothing is recorded. `config` is that of the
    /// machines.
    pub fn new(capacity: usize, config: ServerConfig) -> Self {
        Self { config, ring: Ring::new(capacity), wall_origin: None, tracks: Vec::new(), lost: 0 }
    }

    /// The size of the ring in bytes.
    pub const fn capacity(&self) -> usize {
        self.ring.capacity()
    }

    /// Entries that could not be written. Each is a fault of this crate; the history of the agent
    /// starts over behind it.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// A machine of this owner was made and did this. `earlier` is the history of the same agent before.
    #[allow(clippy::too_many_arguments, reason = "what a recording needs to know of a beginning")]
    pub fn began(
        &mut self,
        key: Key,
        owner: Owner,
        origin: ServerOrigin,
        now: Now,
        actions: &Actions<ServerAction>,
        deadline: Deadline,
        earlier: Option<Retired>,
    ) {
        let earlier = earlier.unwrap_or(Retired { last: 0, count: 0 });
        let mut track = Track {
            key: Some(key),
            owner,
            last: earlier.last,
            count: earlier.count,
            ..Track::NONE
        };
        let digest = check::of_step(actions, deadline);
        let written = self.append(&mut track, Kind::Origin, now, |writer| {
            writer.value(&origin)?;
            writer.bytes(&digest.to_le_bytes())
        });
        if written {
            track.checkpoint = track.last;
        }
        self.set(key, track);
    }

    /// A machine handled an event and did this; its deadline is now this, and this is what it is.
    pub fn handled(
        &mut self,
        key: Key,
        handled: &Handled,
        actions: &Actions<ServerAction>,
        deadline: Deadline,
        snapshot: impl FnOnce() -> ServerSnapshot,
    ) {
        if self.ring.capacity() == 0 {
            return;
        }
        let mut track = self.track(key).unwrap_or(Track { key: Some(key), ..Track::NONE });
        let now = handled.now;
        if track.checkpoint == 0 {
            // Nothing to begin a replay from: the event is passed over, what came of it is the start.
            track.count = track.count.saturating_add(1);
        } else {
            let digest = check::of_step(actions, deadline);
            let kind = match handled.frame {
                Some(_) => Kind::EventWithFrame,
                None => Kind::Event,
            };
            let _noted_in_the_track_when_it_fails = self.append(&mut track, kind, now, |writer| {
                writer.value(&handled.event)?;
                if let Some(frame) = handled.frame {
                    writer.value(&frame.parts())?;
                }
                writer.bytes(&digest.to_le_bytes())
            });
            track.since_checkpoint = track.since_checkpoint.saturating_add(1);
        }
        let part = (self.ring.part_of(track.owner) / CHECKPOINTS_PER_RING) as u64;
        let due = track.since_checkpoint >= CHECKPOINT_EVENTS
            && self.ring.since(track.checkpoint) >= part;
        if track.checkpoint == 0 || due {
            let snapshot = snapshot();
            if self.append(&mut track, Kind::Checkpoint, now, |w| w.value(&snapshot)) {
                track.checkpoint = track.last;
                track.since_checkpoint = 0;
            }
        }
        self.set(key, track);
    }

    /// The machine was removed. Its history stays in the ring for a while; keep what is returned to find
    /// it.
    pub fn forget(&mut self, key: Key) -> Option<Retired> {
        let track = self.track(key)?;
        if let Some(slot) = self.tracks.get_mut(key.slot()) {
            *slot = Track::NONE;
        }
        Some(Retired { last: track.last, count: track.count })
    }

    /// What the ring still holds of a machine, as far back as it can be replayed. `None` if that is
    /// nothing.
    pub fn excerpt(&self, key: Key) -> Option<Excerpt> {
        let track = self.track(key)?;
        self.cut(track.last, track.count)
    }

    /// The same of an agent that has no machine any more.
    pub fn excerpt_of(&self, retired: Retired) -> Option<Excerpt> {
        self.cut(retired.last, retired.count)
    }

    fn cut(&self, last: Position, count: u64) -> Option<Excerpt> {
        let mut found = Vec::new();
        let mut at = last;
        while let Some(bytes) = self.ring.get(at) {
            let Ok((back, kind)) = link(bytes) else { break };
            found.push((bytes, kind));
            if back == 0 {
                break;
            }
            at = at.saturating_sub(back);
        }
        while let Some((_, Kind::Event | Kind::EventWithFrame)) = found.last() {
            let _ = found.pop();
        }
        let entries = || found.iter().rev().map(|(bytes, _)| *bytes);
        let kept = found.iter().filter(|(_, kind)| *kind != Kind::Checkpoint).count() as u64;
        let wall_origin = self.wall_origin?;
        let dropped = count.saturating_sub(kept);
        (!found.is_empty()).then(|| Excerpt::new(self.config, wall_origin, dropped, entries()))
    }

    fn track(&self, key: Key) -> Option<Track> {
        self.tracks.get(key.slot()).copied().filter(|track| track.key == Some(key))
    }

    fn set(&mut self, key: Key, track: Track) {
        if self.ring.capacity() == 0 {
            return;
        }
        if self.tracks.len() <= key.slot() {
            self.tracks.resize(key.slot().saturating_add(1), Track::NONE);
        }
        if let Some(slot) = self.tracks.get_mut(key.slot()) {
            *slot = track;
        }
    }

    /// Adds an entry to a history; whether it could be.
    fn append(
        &mut self,
        track: &mut Track,
        kind: Kind,
        now: Now,
        body: impl FnOnce(&mut Writer<'_>) -> Result<(), CompactError>,
    ) -> bool {
        let wall_origin = *self.wall_origin.get_or_insert_with(|| wall_origin(now));
        let written = self.ring.append(track.owner, track.last, |writer| {
            writer.value(&(kind as u8))?;
            write_now(writer, wall_origin, now)?;
            body(writer)
        });
        if kind != Kind::Checkpoint {
            track.count = track.count.saturating_add(1);
        }
        match written {
            Some(at) => track.last = at,
            None if self.ring.capacity() == 0 => {}
            None => {
                self.lost = self.lost.saturating_add(1);
                *track =
                    Track { key: track.key, owner: track.owner, count: track.count, ..Track::NONE };
            }
        }
        written.is_some()
    }
}

/// How far back the entry before is, and what this one is.
fn link(bytes: &[u8]) -> Result<(u64, Kind), CompactError> {
    let mut reader = Reader::new(bytes);
    read_link(&mut reader)
}
