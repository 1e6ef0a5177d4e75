//! The format of a segment: a header, then records, each with its length and a CRC32. Bytes in,
//! bytes out; no file is touched here.
//!
//! What can be read of a segment is its longest prefix of whole records: whatever a crash, a full disk
//! or a fault of the disk left behind it is damage.

use bytes::Bytes;
use onsembl_protocol::id::{ByteOffset, ChunkSequence, CommandId, Incarnation};
use onsembl_protocol::model::{GapCause, PerStream, Stream};
use onsembl_protocol::worker::{CHUNK_BYTES, Record, RecordBody, Run, SpoolPolicy};
use serde::{Deserialize, Serialize};

/// The first bytes of each segment.
const MAGIC: &[u8; 8] = b"OSPOOL1\n";
/// Longest header or record body. A longer one is damage.
const LONGEST: usize = CHUNK_BYTES + 1024;
/// Length and checksum.
const FRAME: usize = 8;

/// What a segment begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    command: CommandId,
    incarnation: Incarnation,
    policy: String,
    /// Where stdout, stderr and the terminal are when it begins.
    starts: [ByteOffset; 3],
}

/// What stands in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A record.
    Record(Record),
    /// The process ended, and everything that it wrote stands before.
    Ended,
}

/// Where and why a segment cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("damaged from byte {at} on: {what}")]
pub(super) struct Damage {
    pub(super) at: usize,
    what: &'static str,
}

impl Header {
    pub(super) fn new(run: &Run, policy: SpoolPolicy, starts: PerStream<ByteOffset>) -> Self {
        Self {
            command: run.command.clone(),
            incarnation: run.incarnation,
            policy: policy.as_str().to_owned(),
            starts: [starts.stdout, starts.stderr, starts.terminal],
        }
    }

    pub(super) fn run(&self) -> Run {
        Run { command: self.command.clone(), incarnation: self.incarnation }
    }

    pub(super) fn policy(&self) -> SpoolPolicy {
        SpoolPolicy::parse(&self.policy).unwrap_or_default()
    }

    pub(super) const fn starts(&self) -> PerStream<ByteOffset> {
        let [stdout, stderr, terminal] = self.starts;
        PerStream { stdout, stderr, terminal }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        out.extend_from_slice(MAGIC);
        frame(out, &serde_json::to_vec(self)?);
        Ok(())
    }

    /// The header, and where the entries begin.
    pub(super) fn read(segment: &[u8]) -> Result<(Self, usize), Damage> {
        let damage = |what| Damage { at: 0, what };
        let rest = segment.strip_prefix(MAGIC).ok_or(damage("it has no segment header"))?;
        let (body, length) = unframe(rest).map_err(damage)?;
        let header = serde_json::from_slice(body).map_err(|_| damage("unreadable header"))?;
        Ok((header, MAGIC.len() + length))
    }
}

impl Entry {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(64);
        match self {
            Self::Ended => body.push(2),
            Self::Record(record) => {
                body.push(match record.body {
                    RecordBody::Chunk(_) => 0,
                    RecordBody::Gap { .. } => 1,
                });
                body.push(index_of(&Stream::ALL, &record.stream));
                body.extend_from_slice(&record.sequence.0.to_le_bytes());
                body.extend_from_slice(&record.offset.0.to_le_bytes());
                match &record.body {
                    RecordBody::Chunk(bytes) => body.extend_from_slice(bytes),
                    RecordBody::Gap { length, because } => {
                        body.extend_from_slice(&length.to_le_bytes());
                        body.push(index_of(&GapCause::ALL, because));
                    }
                }
            }
        }
        frame(out, &body);
    }

    fn parse(body: &[u8]) -> Option<Self> {
        let (&kind, rest) = body.split_first()?;
        if kind == 2 {
            return rest.is_empty().then_some(Self::Ended);
        }
        let (&stream, rest) = rest.split_first()?;
        let (sequence, rest) = number(rest)?;
        let (offset, rest) = number(rest)?;
        let body = match kind {
            0 => RecordBody::Chunk(Bytes::copy_from_slice(rest)),
            1 => {
                let (length, rest) = number(rest)?;
                let [because] = rest else { return None };
                let because = *GapCause::ALL.get(usize::from(*because))?;
                RecordBody::Gap { length, because }
            }
            _ => return None,
        };
        Some(Self::Record(Record {
            sequence: ChunkSequence(sequence),
            stream: *Stream::ALL.get(usize::from(stream))?,
            offset: ByteOffset(offset),
            body,
        }))
    }
}

/// The entries from byte `at` on, one after the other, until the end or the first damage.
pub(super) struct Entries<'a> {
    segment: &'a [u8],
    at: usize,
}

impl<'a> Entries<'a> {
    pub(super) const fn new(segment: &'a [u8], at: usize) -> Self {
        Self { segment, at }
    }

    /// Where the next one begins.
    pub(super) const fn at(&self) -> usize {
        self.at
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.segment.get(self.at..).filter(|rest| !rest.is_empty())?;
        let at = self.at;
        let entry = unframe(rest).and_then(|(body, length)| {
            let entry = Entry::parse(body).ok_or("it holds an invalid record")?;
            Ok((entry, length))
        });
        match entry {
            Ok((entry, length)) => {
                self.at = at + length;
                Some(Ok(entry))
            }
            Err(what) => {
                self.segment = &[];
                Some(Err(Damage { at, what }))
            }
        }
    }
}

fn index_of<T: PartialEq>(all: &[T], one: &T) -> u8 {
    all.iter().position(|each| each == one).and_then(|n| u8::try_from(n).ok()).unwrap_or(0)
}

pub(super) fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), rest))
}

pub(super) fn frame(out: &mut Vec<u8>, body: &[u8]) {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
    out.extend_from_slice(body);
}

/// The body of the first frame, and the length of the whole.
pub(super) fn unframe(bytes: &[u8]) -> Result<(&[u8], usize), &'static str> {
    let (length, rest) = bytes.split_first_chunk().ok_or("it was cut")?;
    let (checksum, rest) = rest.split_first_chunk().ok_or("it was cut")?;
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if length > LONGEST {
        return Err("an invalid record length");
    }
    let body = rest.get(..length).ok_or("it was cut")?;
    if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
        return Err("a checksum does not match");
    }
    Ok((body, FRAME + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u64, body: RecordBody) -> Entry {
        Entry::Record(Record {
            sequence: ChunkSequence(n),
            stream: Stream::Terminal,
            offset: ByteOffset(n * 10),
            body,
        })
    }

    fn sample() -> (Header, Vec<Entry>, Vec<u8>) {
        let run = Run { command: CommandId::new("c/\u{1f980}"), incarnation: Incarnation(9) };
        let starts = PerStream { stderr: ByteOffset(5), ..PerStream::default() };
        let header = Header::new(&run, SpoolPolicy::DropOldest, starts);
        let entries = vec![
            record(1, RecordBody::Chunk(Bytes::from_static(&[0, 255, 10]))),
            record(2, RecordBody::Gap { length: 7, because: GapCause::Retention }),
            record(3, RecordBody::Chunk(Bytes::from(vec![7; CHUNK_BYTES]))),
            Entry::Ended,
        ];
        let mut bytes = Vec::new();
        header.write(&mut bytes).unwrap();
        entries.iter().for_each(|entry| entry.write(&mut bytes));
        (header, entries, bytes)
    }

    #[test]
    fn what_is_written_is_read() {
        let (header, entries, bytes) = sample();
        let (read, at) = Header::read(&bytes).unwrap();
        assert_eq!(read, header);
        let read: Vec<Entry> = Entries::new(&bytes, at).map(Result::unwrap).collect();
        assert_eq!(read, entries);
    }

    #[test]
    fn cut_or_changed_anywhere_it_gives_a_prefix_and_says_where_the_damage_is() {
        let (_, entries, bytes) = sample();
        let (_, begin) = Header::read(&bytes).unwrap();
        for at in (0..200).chain(bytes.len() - 200..bytes.len()) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            for damaged in [&bytes[..at], &changed] {
                let Ok((_, first)) = Header::read(damaged) else {
                    assert!(at < begin, "{at}");
                    continue;
                };
                let all: Vec<_> = Entries::new(damaged, first).collect();
                let whole: Vec<&Entry> = all.iter().flatten().collect();
                assert!(whole.len() < entries.len());
                assert!(whole.into_iter().eq(entries.iter().take(all.iter().flatten().count())));
                match all.last() {
                    Some(Err(damage)) => assert!(damage.at <= at, "{damage} at {at}"),
                    Some(Ok(_)) | None => assert_eq!(damaged.len(), at, "only a clean cut"),
                }
            }
        }
    }
}
