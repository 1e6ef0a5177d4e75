//! One run on disk: a folder of segments, and the sizes of its terminal beside them. All calls block.

use super::segment::{Entries, Entry, Header};
use super::sizes;
use onsembl_protocol::id::{ByteOffset, ChunkSequence};
use onsembl_protocol::model::{PerStream, SizeRecord};
use onsembl_protocol::worker::{Record, RecoveredRun, Run, SpoolPolicy};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::RangeInclusive;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A segment of this size is followed by the next.
const SEGMENT_BYTES: usize = 1 << 20;
/// So much of a segment can be read by itself, and less than a record more.
const PART_BYTES: usize = 64 * 1024;
const SUFFIX: &str = "seg";
/// Where the sizes stand. Earlier agents pass over it.
const SIZES: &str = "sizes";

/// The segments of one run.
#[derive(Debug)]
pub(super) struct RunFolder {
    dir: PathBuf,
    run: Run,
    policy: SpoolPolicy,
    segments: VecDeque<Segment>,
    /// The last segment, while it is being added to.
    open: Option<File>,
    /// Where the streams continue behind all records.
    ends: PerStream<ByteOffset>,
    dead: Dead,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    /// Lowest and highest number in it; none while it is empty.
    range: Option<(ChunkSequence, ChunkSequence)>,
    bytes: usize,
    parts: Vec<Part>,
}

/// Records of a segment that stand behind one another: from this byte on, to the next part or the end.
#[derive(Debug)]
struct Part {
    at: usize,
    low: ChunkSequence,
    high: ChunkSequence,
}

impl Segment {
    const fn new(path: PathBuf, bytes: usize) -> Self {
        Self { path, range: None, bytes, parts: Vec::new() }
    }

    /// A record with this number begins at `at`.
    fn note(&mut self, n: ChunkSequence, at: usize) {
        let (low, high) = self.range.unwrap_or((n, n));
        self.range = Some((low.min(n), high.max(n)));
        match self.parts.last_mut() {
            Some(part) if at - part.at < PART_BYTES => {
                (part.low, part.high) = (part.low.min(n), part.high.max(n));
            }
            Some(_) | None => self.parts.push(Part { at, low: n, high: n }),
        }
    }

    /// The records with these numbers. What is damaged costs its part and not the next.
    fn read(
        &self,
        numbers: &RangeInclusive<ChunkSequence>,
        records: &mut Vec<Record>,
    ) -> io::Result<()> {
        let mut file = None;
        let mut outcome = Ok(());
        let ends = self.parts.iter().skip(1).map(|next| next.at).chain([self.bytes]);
        for (part, end) in self.parts.iter().zip(ends) {
            if part.high < *numbers.start() || part.low > *numbers.end() {
                continue;
            }
            let file = match &mut file {
                Some(file) => file,
                None => file.insert(File::open(&self.path)?),
            };
            let mut content = vec![0; end.saturating_sub(part.at)];
            if let Err(error) = file.read_exact_at(&mut content, part.at as u64) {
                if super::may_pass(&error) {
                    return Err(error);
                }
                outcome = Err(error);
                continue;
            }
            for entry in Entries::new(&content, 0) {
                match entry {
                    Ok(Entry::Record(r)) if numbers.contains(&r.sequence) => records.push(r),
                    Ok(Entry::Record(_) | Entry::Ended) => {}
                    Err(damage) => outcome = Err(io::Error::other(damage)),
                }
            }
        }
        outcome
    }
}

/// What a folder held when it was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) folder: RunFolder,
    pub(super) recovered: RecoveredRun,
    /// Its process had ended, and all of its output is here.
    pub(super) ended: bool,
    pub(super) sizes: Vec<SizeRecord>,
    /// What cannot be read, and why.
    pub(super) damages: Vec<(PathBuf, String)>,
}

impl RunFolder {
    pub(super) fn create(dir: PathBuf, run: Run, policy: SpoolPolicy) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        Ok(Self {
            dir,
            run,
            policy,
            segments: VecDeque::new(),
            open: None,
            ends: PerStream::default(),
            dead: Dead::default(),
        })
    }

    /// Reads what an earlier process left. `None` if nothing of it can be recognized.
    pub(super) fn find(dir: &Path) -> io::Result<Option<Found>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let first = path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse().ok());
            if let Some(first) = first.filter(|_| path.extension().is_some_and(|e| e == SUFFIX)) {
                let first: u64 = first;
                paths.push((first, path));
            }
        }
        paths.sort();
        let mut found: Option<Found> = None;
        let mut damages = Vec::new();
        for (_, path) in paths {
            let content = match fs::read(&path) {
                // A full disk took not even the header.
                Ok(content) if content.is_empty() => continue,
                Ok(content) => content,
                Err(error) => {
                    damages.push((path, error.to_string()));
                    continue;
                }
            };
            let (header, begin) = match Header::read(&content) {
                Ok(read) => read,
                Err(damage) => {
                    damages.push((path, damage.to_string()));
                    continue;
                }
            };
            let found = found.get_or_insert_with(|| Found {
                recovered: RecoveredRun::new(header.run(), header.policy(), header.starts()),
                folder: Self {
                    dir: dir.to_owned(),
                    run: header.run(),
                    policy: header.policy(),
                    segments: VecDeque::new(),
                    open: None,
                    ends: header.starts(),
                    dead: Dead::default(),
                },
                ended: false,
                sizes: Vec::new(),
                damages: Vec::new(),
            });
            if header.run() != found.folder.run {
                damages.push((path, "it belongs to another run".to_owned()));
                continue;
            }
            found.recovered.reach(header.starts());
            let mut segment = Segment::new(path, begin);
            let mut entries = Entries::new(&content, begin);
            loop {
                let at = entries.at();
                let Some(entry) = entries.next() else { break };
                match entry {
                    Ok(Entry::Record(record)) => {
                        found.recovered.add(&record);
                        found.folder.note(&mut segment, &record, at);
                        segment.bytes = entries.at();
                    }
                    Ok(Entry::Ended) => found.ended = true,
                    Err(damage) => damages.push((segment.path.clone(), damage.to_string())),
                }
            }
            found.folder.segments.push_back(segment);
        }
        let sizes = found.as_ref().map_or(Ok(Vec::new()), |found| found.folder.sizes());
        let sizes = sizes.unwrap_or_else(|error| {
            damages.push((dir.join(SIZES), error.to_string()));
            Vec::new()
        });
        Ok(found.map(|found| Found { damages, sizes, ..found }))
    }

    /// The sizes that were kept; an earlier agent kept none.
    fn sizes(&self) -> io::Result<Vec<SizeRecord>> {
        match fs::read(self.dir.join(SIZES)) {
            Ok(content) => sizes::read(&content, self.run.incarnation).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Keeps these sizes instead of those before.
    pub(super) fn keep_sizes(&self, all: &[SizeRecord]) -> io::Result<()> {
        // A process that dies on the way leaves the ones before.
        let (path, new) = (self.dir.join(SIZES), self.dir.join(format!("{SIZES}.new")));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&sizes::write(all))?;
        drop(file);
        fs::rename(&new, &path)
    }

    fn note(&mut self, segment: &mut Segment, record: &Record, at: usize) {
        segment.note(record.sequence, at);
        let end = self.ends.get_mut(record.stream);
        *end = (*end).max(record.end());
    }

    /// Adds records. How many of them are there, and what kept the others away.
    pub(super) fn append(&mut self, records: &[Record]) -> (usize, io::Result<()>) {
        for (done, record) in records.iter().enumerate() {
            if let Err(error) = self.append_one(record) {
                return (done, Err(error));
            }
        }
        (records.len(), Ok(()))
    }

    fn append_one(&mut self, record: &Record) -> io::Result<()> {
        let at = self.write(&Entry::Record(record.clone()), record.sequence)?;
        if let Some(mut segment) = self.segments.pop_back() {
            self.note(&mut segment, record, at);
            self.segments.push_back(segment);
        }
        Ok(())
    }

    /// Says that the process ended and nothing of its output is missing here.
    pub(super) fn end(&mut self) -> io::Result<()> {
        let next = self.segments.back().and_then(|s| s.range).map(|(_, last)| last.next());
        self.write(&Entry::Ended, next.unwrap_or(ChunkSequence(1))).map(drop)
    }

    /// Adds an entry; where in its segment it begins.
    fn write(&mut self, entry: &Entry, first: ChunkSequence) -> io::Result<usize> {
        let mut bytes = Vec::new();
        if self.open.is_none() || self.segments.back().is_none_or(|s| s.bytes >= SEGMENT_BYTES) {
            self.begin(first, &mut bytes)?;
        }
        let header = bytes.len();
        entry.write(&mut bytes);
        let (Some(file), Some(segment)) = (&mut self.open, self.segments.back_mut()) else {
            return Err(io::Error::other("no segment is open"));
        };
        match file.write_all(&bytes) {
            Ok(()) => {
                let at = segment.bytes + header;
                segment.bytes += bytes.len();
                Ok(at)
            }
            Err(error) => {
                // What was written of it is cut off, or found to be damaged when it is read.
                let cut = file.set_len(segment.bytes as u64);
                self.open = None;
                if let Err(cut) = cut {
                    tracing::debug!(error = %cut, path = %segment.path.display(), "a torn record stays");
                }
                Err(error)
            }
        }
    }

    fn begin(&mut self, first: ChunkSequence, header: &mut Vec<u8>) -> io::Result<()> {
        // A count that included a record that never got into the segment finds the name taken.
        let path = self.dir.join(format!("{:020}.{SUFFIX}", first.0));
        let path = if path.exists() {
            let last =
                self.segments.back().and_then(|s| s.path.file_stem()?.to_str()?.parse().ok());
            let next = u64::max(last.unwrap_or(0), first.0) + 1;
            self.dir.join(format!("{next:020}.{SUFFIX}"))
        } else {
            path
        };
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Header::new(&self.run, self.policy, self.ends).write(header)?;
        self.open = Some(file);
        self.segments.push_back(Segment::new(path, 0));
        Ok(())
    }

    /// The records with these numbers, as far as they can be read.
    pub(super) fn read(
        &self,
        from: ChunkSequence,
        through: ChunkSequence,
    ) -> (Vec<Record>, io::Result<()>) {
        let (mut records, mut outcome) = (Vec::new(), Ok(()));
        for segment in &self.segments {
            if segment.range.is_none_or(|(low, high)| high < from || low > through) {
                continue;
            }
            let read = segment.read(&(from..=through), &mut records);
            // One that may pass counts more than damage, since the whole page is read again then.
            if read.is_err() && !outcome.as_ref().is_err_and(super::may_pass) {
                outcome = read;
            }
        }
        records.sort_by_key(|r| (r.sequence, r.offset));
        (records, outcome)
    }

    /// Deletes the segments that are not needed any more.
    pub(super) fn forget(&mut self, from: ChunkSequence, before: ChunkSequence) -> io::Result<()> {
        self.dead.add(from.0, before.0);
        let last =
            if self.open.is_some() { self.segments.len().saturating_sub(1) } else { usize::MAX };
        let mut outcome = Ok(());
        let mut index = 0;
        let dead = &self.dead;
        self.segments.retain(|segment| {
            let in_use = index == last;
            index += 1;
            let needed = segment.range.is_none_or(|(low, high)| !dead.covers(low.0, high.0));
            if in_use || needed {
                return true;
            }
            match fs::remove_file(&segment.path) {
                Ok(()) => false,
                Err(error) => {
                    outcome = Err(error);
                    true
                }
            }
        });
        outcome
    }

    /// Deletes it all.
    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_dir_all(&self.dir)
    }
}

/// Numbers that are no longer needed, as ranges that do not touch.
#[derive(Debug, Default)]
struct Dead(BTreeMap<u64, u64>);

impl Dead {
    fn add(&mut self, mut from: u64, mut before: u64) {
        while let Some((&low, &high)) =
            self.0.range(..=before).next_back().filter(|(_, h)| **h >= from)
        {
            let _ = self.0.remove(&low);
            (from, before) = (from.min(low), before.max(high));
        }
        let _ = self.0.insert(from, before);
    }

    fn covers(&self, low: u64, high: u64) -> bool {
        self.0.range(..=low).next_back().is_some_and(|(_, before)| high < *before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use onsembl_protocol::id::{CommandId, Incarnation};
    use onsembl_protocol::model::{Stream, TerminalSize};
    use onsembl_protocol::worker::RecordBody;

    fn run() -> Run {
        Run { command: CommandId::new("c"), incarnation: Incarnation(7) }
    }

    fn records(numbers: RangeInclusive<u64>) -> Vec<Record> {
        numbers
            .map(|n| Record {
                sequence: ChunkSequence(n),
                stream: Stream::Stdout,
                offset: ByteOffset((n - 1) * 30_000),
                body: RecordBody::Chunk(Bytes::from(vec![n as u8; 30_000])),
            })
            .collect()
    }

    fn files(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn sizes_are_found_beside_the_output_and_a_spool_without_them_is_read_as_before() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("r");
        let mut folder = RunFolder::create(dir.clone(), run(), SpoolPolicy::Block).unwrap();
        assert!(matches!(folder.append(&records(1..=3)), (3, Ok(()))));
        let found = RunFolder::find(&dir).unwrap().unwrap();
        assert!(found.sizes.is_empty() && found.damages.is_empty(), "an earlier agent kept none");
        let size = |offset, columns| SizeRecord {
            incarnation: run().incarnation,
            offset: ByteOffset(offset),
            size: TerminalSize::new(columns, 24).unwrap(),
        };
        folder.keep_sizes(&[size(0, 80)]).unwrap();
        folder.keep_sizes(&[size(0, 80), size(30_000, 120)]).unwrap();
        let found = RunFolder::find(&dir).unwrap().unwrap();
        assert_eq!(found.sizes, [size(0, 80), size(30_000, 120)]);
        assert!(found.damages.is_empty(), "{:?}", found.damages);
        // What is damaged costs the sizes behind it, and no output.
        let path = dir.join(SIZES);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let found = RunFolder::find(&dir).unwrap().unwrap();
        assert_eq!(found.sizes, [size(0, 80)]);
        fs::write(&path, b"something else").unwrap();
        let found = RunFolder::find(&dir).unwrap().unwrap();
        assert_eq!((found.sizes.len(), found.damages.len()), (0, 1));
        assert_eq!(found.folder.segments.len(), 1);
    }

    #[test]
    fn pages_come_back_and_what_is_forgotten_is_deleted_segment_by_segment() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("r");
        let mut folder = RunFolder::create(dir.clone(), run(), SpoolPolicy::Block).unwrap();
        let all = records(1..=200);
        assert!(matches!(folder.append(&all), (200, Ok(()))));
        assert_eq!(files(&dir), 6);
        let (page, read) = folder.read(ChunkSequence(30), ChunkSequence(45));
        read.unwrap();
        assert_eq!(page, all[29..45]);
        folder.forget(ChunkSequence(1), ChunkSequence(30)).unwrap();
        assert_eq!(files(&dir), 6, "half of the first segment is needed");
        folder.forget(ChunkSequence(30), ChunkSequence(100)).unwrap();
        assert_eq!(files(&dir), 4);
        folder.forget(ChunkSequence(100), ChunkSequence(201)).unwrap();
        assert_eq!(files(&dir), 1, "the last one is being added to");
        folder.remove().unwrap();
        assert!(!dir.exists());
    }

    #[test]
    fn what_rots_while_it_is_in_use_is_missing_and_the_parts_beside_it_are_not() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("r");
        let mut folder = RunFolder::create(dir.clone(), run(), SpoolPolicy::Block).unwrap();
        let all = records(1..=100);
        assert!(matches!(folder.append(&all), (100, Ok(()))));
        let first = dir.join(format!("{:020}.seg", 1));
        let mut content = fs::read(&first).unwrap();
        content[200_000] ^= 1;
        fs::write(&first, content).unwrap();
        let (page, read) = folder.read(ChunkSequence(1), ChunkSequence(20));
        assert!(read.unwrap_err().to_string().contains("checksum"));
        let whole: Vec<u64> = page.iter().map(|r| r.sequence.0).collect();
        // The third part of three records each.
        assert_eq!(whole, [1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
    }

    #[test]
    fn a_new_process_finds_everything_and_goes_around_the_damage() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("r");
        let mut folder = RunFolder::create(dir.clone(), run(), SpoolPolicy::Block).unwrap();
        let all = records(1..=100);
        assert!(matches!(folder.append(&all), (100, Ok(()))));
        folder.end().unwrap();
        drop(folder);
        let first = dir.join(format!("{:020}.seg", 1));
        let mut content = fs::read(&first).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 1;
        fs::write(&first, content).unwrap();

        let found = RunFolder::find(&dir).unwrap().unwrap();
        assert!(found.ended);
        assert_eq!((found.recovered.run(), found.damages.len()), (&run(), 1));
        assert!(found.damages[0].1.contains("checksum"));
        let (page, read) = found.folder.read(ChunkSequence(1), ChunkSequence(100));
        read.unwrap();
        assert!(page.len() > 80 && page.len() < 100);
        assert!(page.iter().all(|r| all.contains(r)));
    }

    #[test]
    fn what_cannot_be_written_is_said_and_what_was_written_stays_readable() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("r");
        let mut folder = RunFolder::create(dir.clone(), run(), SpoolPolicy::Block).unwrap();
        assert!(matches!(folder.append(&records(1..=2)), (2, Ok(()))));
        folder.open = Some(File::open("/dev/null").unwrap());
        let (done, outcome) = folder.append(&records(3..=4));
        assert!(done == 0 && outcome.is_err());
        assert!(matches!(folder.append(&records(4..=5)), (2, Ok(()))));
        let (page, read) = folder.read(ChunkSequence(1), ChunkSequence(9));
        read.unwrap();
        assert_eq!(page.iter().map(|r| r.sequence.0).collect::<Vec<_>>(), [1, 2, 4, 5]);
    }

    #[test]
    fn dead_ranges_grow_together() {
        let mut dead = Dead::default();
        dead.add(50, 60);
        dead.add(1, 50);
        dead.add(70, 80);
        assert!(dead.covers(1, 59) && !dead.covers(40, 60) && !dead.covers(55, 75));
        dead.add(60, 70);
        assert!(dead.covers(1, 79) && dead.0.len() == 1);
    }
}
