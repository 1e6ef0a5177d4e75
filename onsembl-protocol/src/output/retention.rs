//! How history is cut: which chunks at the beginning of a stream go, and the gap that stands for them.
//!
//! Sums of a stream stay what they are. Which stream has the oldest chunk, and deleting it, is an effect.

use super::stored::{Cursor, StoredBody};
use crate::id::{ByteOffset, ChunkSequence, Incarnation};
use crate::model::GapCause;
use crate::time::WallTime;

/// What one transaction cuts of the beginning of one stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamCut {
    before: WallTime,
    over: u64,
    most: usize,
    bytes: u64,
    chunks: usize,
    end: ByteOffset,
    last: ChunkSequence,
    oldest_at: Option<WallTime>,
}

impl StreamCut {
    /// Cuts chunks that were received before a time, and as many as hold `over` bytes; at most `most`
    /// chunks.
    pub const fn new(before: WallTime, over: u64, most: usize) -> Self {
        Self {
            before,
            over,
            most,
            bytes: 0,
            chunks: 0,
            end: ByteOffset(0),
            last: ChunkSequence(0),
            oldest_at: None,
        }
    }

    /// Looks at the next chunk, in the order of their offsets; gaps between them go with what is before
    /// them. Whether it goes: if it stays, so do all behind it.
    pub fn look(
        &mut self,
        sequence: ChunkSequence,
        offset: ByteOffset,
        length: u64,
        at: WallTime,
    ) -> bool {
        if self.chunks >= self.most || (at >= self.before && self.bytes >= self.over) {
            self.oldest_at = Some(at);
            return false;
        }
        self.end = ByteOffset(offset.0.saturating_add(length));
        self.last = self.last.max(sequence);
        self.bytes = self.bytes.saturating_add(length);
        self.chunks += 1;
        true
    }

    /// The number and the body of the gap that stands at the beginning of the stream, in the place of all
    /// its records before [`end`](Self::end); `None` if nothing goes. It has the number of the last chunk
    /// that went: a reader that is behind that has missed nothing.
    pub fn marker(&self) -> Option<(ChunkSequence, StoredBody)> {
        let body = StoredBody::Gap { length: Some(self.end.0), because: GapCause::Retention };
        (self.chunks > 0).then_some((self.last, body))
    }

    /// Everything of the stream before it goes.
    pub const fn end(&self) -> ByteOffset {
        self.end
    }

    /// How many bytes go.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many chunks go.
    pub const fn chunks(&self) -> usize {
        self.chunks
    }

    /// When the first chunk was received that stays; `None` if none does.
    pub const fn oldest_at(&self) -> Option<WallTime> {
        self.oldest_at
    }
}

/// The cursor of a reader that is to begin with the record that holds some position of a stream, or with the
/// last one before it: its number and body, if there is one. Records of other streams may come first.
///
/// The gap that stands for what was cut has the number of the last chunk that it stands for. What other
/// streams wrote beside the first may still be there: a reader begins in front of all of it.
pub fn cursor_before(
    incarnation: Incarnation,
    record: Option<(ChunkSequence, &StoredBody)>,
) -> Cursor {
    let number = match record {
        Some((_, StoredBody::Gap { because: GapCause::Retention, .. })) | None => 0,
        Some((number, StoredBody::Gap { .. } | StoredBody::Chunk(_))) => number.0.saturating_sub(1),
    };
    Some((incarnation, ChunkSequence(number)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn at(ms: i64) -> WallTime {
        WallTime::from_unix_millis(ms)
    }

    /// Looks at chunks of 10 bytes, numbered by twos, one a millisecond; how many went.
    fn cut(mut cut: StreamCut) -> StreamCut {
        let mut chunks = 0..9_u64;
        while let Some(n) = chunks.next()
            && cut.look(ChunkSequence(2 * n + 1), ByteOffset(10 * n), 10, at(n as i64))
        {}
        cut
    }

    #[test]
    fn what_is_too_old_or_too_much_goes_and_no_more_than_a_transaction_takes() {
        let old = cut(StreamCut::new(at(3), 0, 100));
        assert_eq!((old.chunks(), old.bytes(), old.end()), (3, 30, ByteOffset(30)));
        assert_eq!(old.oldest_at(), Some(at(3)));
        let gap = StoredBody::Gap { length: Some(30), because: GapCause::Retention };
        assert_eq!(old.marker(), Some((ChunkSequence(5), gap)));
        let much = cut(StreamCut::new(at(0), 41, 100));
        assert_eq!((much.chunks(), much.oldest_at()), (5, Some(at(5))));
        let both = cut(StreamCut::new(at(3), 41, 100));
        assert_eq!(both.chunks(), 5);
        assert_eq!(cut(StreamCut::new(at(9), 0, 4)).chunks(), 4);
        let all = cut(StreamCut::new(at(9), 0, 100));
        assert_eq!((all.end(), all.oldest_at()), (ByteOffset(90), None));
        assert_eq!(cut(StreamCut::new(at(0), 0, 100)).marker(), None);
    }

    #[test]
    fn a_reader_begins_with_the_record_that_holds_its_place_and_with_all_that_a_cut_stands_before()
    {
        let run = Incarnation(7);
        let cursor = |number, body: &StoredBody| {
            cursor_before(run, Some((ChunkSequence(number), body))).unwrap().1.0
        };
        assert_eq!(cursor(4, &StoredBody::Chunk(Bytes::from_static(b"x"))), 3);
        let gap = |because| StoredBody::Gap { length: Some(5), because };
        assert_eq!(cursor(4, &gap(GapCause::SpoolFull)), 3);
        assert_eq!(cursor(4, &gap(GapCause::Retention)), 0);
        assert_eq!(cursor_before(run, None), Some((run, ChunkSequence(0))));
    }
}
