//! Output as a server keeps it: what records hold, and what the records of one stream add up to.
//!
//! What is stored of a stream is always whole: here it is decided what of a record is new, where a
//! hole is declared, and when an open end is open no more. The database is an effect.

use super::cut::begun_character;
use super::record::{CHUNK_BYTES, RecordBody};
use crate::id::{ByteOffset, ChunkSequence, Incarnation};
use crate::model::{GapCause, Stream};
use bytes::Bytes;

/// Where a reader is: the last record it has.
pub type Cursor = Option<(Incarnation, ChunkSequence)>;

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum StoredBody {
    /// Bytes, as they were produced.
    Chunk(Bytes),
    /// Bytes that are missing.
    Gap {
        /// How many; `None` if unknown, and then it is the last record of its stream.
        length: Option<u64>,
        because: GapCause,
    },
}

impl StoredBody {
    /// How many bytes of the stream it covers; none for an open gap.
    pub fn length(&self) -> u64 {
        match self {
            Self::Chunk(bytes) => bytes.len() as u64,
            Self::Gap { length, .. } => length.unwrap_or(0),
        }
    }

    /// Bytes that it really holds.
    pub fn byte_count(&self) -> usize {
        match self {
            Self::Chunk(bytes) => bytes.len(),
            Self::Gap { .. } => 0,
        }
    }

    /// Whether it ends its stream at an unknown position.
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Gap { length: None, .. })
    }

    /// Cuts what is longer than a chunk may be (P-113), with where in it each piece begins. A piece of something
    /// longer is a copy, so that a reader that is slow does not keep all of it in memory.
    pub const fn into_pieces(self) -> Pieces {
        Pieces { rest: Some(self), at: 0 }
    }

    /// Without its first `count` bytes.
    #[must_use]
    pub fn without_first(self, count: u64) -> Self {
        match self {
            Self::Chunk(bytes) => {
                let cut = usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len());
                Self::Chunk(bytes.slice(cut..))
            }
            Self::Gap { length, because } => {
                Self::Gap { length: length.map(|l| l.saturating_sub(count)), because }
            }
        }
    }
}

/// The [pieces](StoredBody::into_pieces) of what a record holds.
#[derive(Clone, Debug)]
pub struct Pieces {
    rest: Option<StoredBody>,
    at: u64,
}

impl Pieces {
    /// Whether none is left.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_none()
    }
}

impl Iterator for Pieces {
    type Item = (u64, StoredBody);

    fn next(&mut self) -> Option<Self::Item> {
        let (at, body) = (self.at, self.rest.take()?);
        let StoredBody::Chunk(mut bytes) = body else { return Some((at, body)) };
        if bytes.len() <= CHUNK_BYTES {
            // The last of something longer holds all of it too.
            let last = if at > 0 { Bytes::copy_from_slice(&bytes) } else { bytes };
            return Some((at, StoredBody::Chunk(last)));
        }
        let begun = bytes.get(..CHUNK_BYTES).map_or(0, begun_character);
        let piece = bytes.split_to(CHUNK_BYTES - begun);
        self.at = at.saturating_add(piece.len() as u64);
        self.rest = Some(StoredBody::Chunk(bytes));
        Some((at, StoredBody::Chunk(Bytes::copy_from_slice(&piece))))
    }
}

impl From<RecordBody> for StoredBody {
    fn from(body: RecordBody) -> Self {
        match body {
            RecordBody::Chunk(bytes) => Self::Chunk(bytes),
            RecordBody::Gap { length, because } => Self::Gap { length: Some(length), because },
        }
    }
}

/// Where a stream continues behind what is stored of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct StoredPosition {
    pub incarnation: Incarnation,
    pub stream: Stream,
    /// Everything before it is stored, as bytes or as a gap.
    pub committed: ByteOffset,
    /// Whether it ends with a gap of unknown length.
    pub open_gap: bool,
}

/// What the records of a stream add up to. Always `next = delivered + gaps`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamSums {
    /// Everything before it is stored, as bytes or as a gap.
    pub next: ByteOffset,
    /// Bytes that were stored.
    pub delivered: u64,
    /// Bytes in declared gaps.
    pub gaps: u64,
    /// Why the stream ends with a gap of unknown length, if it does.
    pub open_gap: Option<GapCause>,
}

/// What is to be stored of a record, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// More came of a stream that was thought to be over: its open gap is to be removed.
    pub reopens: bool,
    /// What never came before it, as a gap, [`GapCause::NeverCame`].
    pub hole: Option<(ByteOffset, StoredBody)>,
    /// What is new of it, and where that begins.
    pub new: (ByteOffset, StoredBody),
}

impl StreamSums {
    /// Takes a record that begins at `offset`. `None`: all of it is stored already.
    pub fn admit(&mut self, offset: ByteOffset, body: StoredBody) -> Option<Admitted> {
        let next = self.next;
        let is_stored = match &body {
            StoredBody::Gap { length: None, .. } => self.open_gap.is_some(),
            StoredBody::Gap { .. } | StoredBody::Chunk(_) => {
                offset.0.saturating_add(body.length()) <= next.0
            }
        };
        if is_stored {
            return None;
        }
        let reopens = self.open_gap.take().is_some();
        let hole = (offset > next).then(|| {
            let length = Some(offset.0.saturating_sub(next.0));
            (next, StoredBody::Gap { length, because: GapCause::NeverCame })
        });
        let new = body.without_first(next.0.saturating_sub(offset.0));
        if let Some((_, hole)) = &hole {
            self.add(hole);
        }
        self.add(&new);
        Some(Admitted { reopens, hole, new: (offset.max(next), new) })
    }

    fn add(&mut self, body: &StoredBody) {
        let length = body.length();
        match body {
            StoredBody::Chunk(_) => self.delivered = self.delivered.saturating_add(length),
            StoredBody::Gap { length: Some(_), .. } => self.gaps = self.gaps.saturating_add(length),
            StoredBody::Gap { length: None, because } => self.open_gap = Some(*because),
        }
        self.next = ByteOffset(self.next.0.saturating_add(length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(bytes: &'static [u8]) -> StoredBody {
        StoredBody::Chunk(Bytes::from_static(bytes))
    }

    #[test]
    fn what_is_stored_is_whole_and_nothing_is_stored_twice() {
        let mut sums = StreamSums::default();
        let first = sums.admit(ByteOffset(0), chunk(b"abc")).unwrap();
        assert_eq!((first.hole, first.new), (None, (ByteOffset(0), chunk(b"abc"))));
        assert_eq!(sums.admit(ByteOffset(1), chunk(b"bc")), None);
        let overlaps = sums.admit(ByteOffset(2), chunk(b"cd")).unwrap();
        assert_eq!(overlaps.new, (ByteOffset(3), chunk(b"d")));
        let behind = sums.admit(ByteOffset(6), chunk(b"g")).unwrap();
        let because = GapCause::NeverCame;
        let hole = StoredBody::Gap { length: Some(2), because };
        assert_eq!(behind.hole, Some((ByteOffset(4), hole)));
        assert_eq!((sums.next, sums.delivered, sums.gaps), (ByteOffset(7), 5, 2));
    }

    #[test]
    fn an_open_end_is_stored_once_and_ends_when_more_comes() {
        let mut sums = StreamSums::default();
        let open = StoredBody::Gap { length: None, because: GapCause::AgentDied };
        assert!(sums.admit(ByteOffset(0), open.clone()).is_some());
        assert_eq!(sums.admit(ByteOffset(0), open.clone()), None);
        assert!(sums.admit(ByteOffset(0), chunk(b"more")).unwrap().reopens);
        assert_eq!(sums.open_gap, None);
        let at_an_old_position = sums.admit(ByteOffset(1), open.clone()).unwrap();
        assert_eq!(at_an_old_position.new, (ByteOffset(4), open));
    }
}
