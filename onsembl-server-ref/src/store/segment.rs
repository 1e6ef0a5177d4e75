//! What a row of output says of the chunks in it (`records` of `output_segments`). Nothing here knows of the database.

use onsembl_protocol::id::{ByteOffset, ChunkSequence};
use onsembl_protocol::model::Stream;
use onsembl_protocol::time::WallTime;

/// Bytes of output in one segment; a chunk that is longer has one of its own. What a page read of the database takes at
/// once, and with it most of what rows cost.
pub(crate) const BYTES: usize = 32 * 1024;
/// Chunks in one segment.
pub(crate) const CHUNKS: usize = 512;

/// What is said of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) sequence: ChunkSequence,
    pub(super) stream: Stream,
    pub(super) offset: ByteOffset,
    pub(super) length: usize,
    pub(super) at: WallTime,
}

const fn code(stream: Stream) -> i64 {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
        Stream::Terminal => 2,
    }
}

fn stream(code: i64) -> Option<Stream> {
    Stream::ALL.into_iter().find(|stream| self::code(*stream) == code)
}

/// A segment on its way into the database.
#[derive(Clone, Debug, Default)]
pub(super) struct Segment {
    first: Option<Entry>,
    last: ChunkSequence,
    count: usize,
    records: String,
    bytes: Vec<u8>,
}

impl Segment {
    /// Its first chunk; `None` while it is empty.
    pub(super) const fn first(&self) -> Option<&Entry> {
        self.first.as_ref()
    }

    /// The number of its last chunk.
    pub(super) const fn last(&self) -> ChunkSequence {
        self.last
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it takes a chunk of this length.
    pub(super) const fn has_room(&self, length: usize) -> bool {
        self.count == 0 || (self.count < CHUNKS && self.bytes.len() + length <= BYTES)
    }

    /// Adds a chunk with a number behind the last one.
    pub(super) fn push(&mut self, entry: Entry, bytes: &[u8]) {
        let first = self.first.get_or_insert(entry);
        let from = |at: i64, first: i64| at.wrapping_sub(first);
        let said = [
            entry.sequence.0.wrapping_sub(first.sequence.0).cast_signed(),
            code(entry.stream),
            entry.offset.0.cast_signed(),
            bytes.len() as i64,
            from(entry.at.unix_millis(), first.at.unix_millis()),
        ];
        self.records.push(if self.count == 0 { '[' } else { ',' });
        for (n, number) in said.into_iter().enumerate() {
            self.records.push(if n == 0 { '[' } else { ',' });
            push_number(&mut self.records, number);
        }
        self.records.push(']');
        self.last = entry.sequence;
        self.count += 1;
        self.bytes.extend_from_slice(bytes);
    }

    /// Nothing more comes.
    pub(super) fn close(&mut self) {
        self.records.push(']');
    }

    /// What it says of its chunks, once it is closed.
    pub(super) fn records(&self) -> &str {
        &self.records
    }

    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.bytes.clear();
        (self.first, self.count) = (None, 0);
    }
}

/// Each chunk says five numbers, so that formatting would be a good part of what storing it costs.
fn push_number(text: &mut String, number: i64) {
    let (mut digits, mut at, mut rest) = ([0_u8; 20], 20, number.unsigned_abs());
    loop {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            *digit = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        text.push('-');
    }
    text.extend(digits.iter().skip(at).map(|digit| char::from(*digit)));
}

/// Why what a segment says cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("a segment says of its chunks: {0}")]
    Json(#[from] serde_json::Error),
    #[error("a segment says of a chunk what no chunk can be")]
    Number,
}

/// What a segment says of its chunks, by the number and the time of its first one.
pub(super) fn parse(
    records: &str,
    sequence: ChunkSequence,
    at: WallTime,
) -> Result<Vec<Entry>, Unreadable> {
    let said: Vec<[i64; 5]> = serde_json::from_str(records)?;
    let entry = |[number, of, offset, length, later]: [i64; 5]| {
        Some(Entry {
            sequence: ChunkSequence(sequence.0.checked_add_signed(number)?),
            stream: stream(of)?,
            offset: ByteOffset(u64::try_from(offset).ok()?),
            length: usize::try_from(length).ok()?,
            at: WallTime::from_unix_millis(at.unix_millis().wrapping_add(later)),
        })
    };
    said.into_iter().map(entry).collect::<Option<_>>().ok_or(Unreadable::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_chunks_is_read_again() {
        fastrand::seed(5);
        for _ in 0..300 {
            let mut segment = Segment::default();
            let (mut sequence, mut entries, mut bytes) =
                (fastrand::u64(..1 << 40), Vec::new(), Vec::new());
            for _ in 0..fastrand::usize(1..60) {
                let chunk: Vec<u8> = (0..fastrand::usize(..50)).map(|_| fastrand::u8(..)).collect();
                let entry = Entry {
                    sequence: ChunkSequence(sequence),
                    stream: Stream::ALL[fastrand::usize(..3)],
                    offset: ByteOffset(fastrand::u64(..1 << 62)),
                    length: chunk.len(),
                    at: WallTime::from_unix_millis(fastrand::i64(..)),
                };
                assert!(segment.has_room(chunk.len()));
                segment.push(entry, &chunk);
                bytes.extend_from_slice(&chunk);
                entries.push(entry);
                sequence += fastrand::u64(1..1000);
            }
            let first = *segment.first().unwrap();
            segment.close();
            assert_eq!(parse(segment.records(), first.sequence, first.at).unwrap(), entries);
            assert_eq!(
                (segment.bytes(), segment.last()),
                (&*bytes, entries.last().unwrap().sequence)
            );
            segment.clear();
            assert!(segment.first().is_none() && segment.bytes().is_empty());
        }
        let mut text = String::new();
        for number in [0, 7, -1, i64::MAX, i64::MIN] {
            text.clear();
            push_number(&mut text, number);
            assert_eq!(text, number.to_string());
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let of = |records| parse(records, ChunkSequence(5), WallTime::default());
        assert!(of("[[0,0,0,3,0],[2,1,0,4,0]]").is_ok());
        for wrong in [
            "",
            "[[0,0,0,3]]",
            "[[0,3,0,3,0]]",
            "[[-6,0,0,3,0]]",
            "[[0,0,-1,3,0]]",
            "[[0,0,0,-3,0]]",
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_segment_is_bounded_but_takes_any_chunk() {
        let entry = Entry {
            sequence: ChunkSequence(1),
            stream: Stream::Stdout,
            offset: ByteOffset(0),
            length: 1,
            at: WallTime::default(),
        };
        let mut segment = Segment::default();
        assert!(segment.has_room(BYTES + 1));
        segment.push(entry, b"x");
        assert!(segment.has_room(BYTES - 1) && !segment.has_room(BYTES));
        for _ in 1..CHUNKS {
            assert!(segment.has_room(0));
            segment.push(entry, b"");
        }
        assert!(!segment.has_room(0));
    }
}
