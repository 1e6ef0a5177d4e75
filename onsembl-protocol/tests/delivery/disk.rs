//! The disk of an agent: folders of segments as its spool lays them, which outlive it, and every way
//! in which they fail. And the thread that works on them, which dies with the agent.

use onsembl_protocol::id::{ByteOffset, ChunkSequence};
use onsembl_protocol::model::PerStream;
use onsembl_protocol::worker::{
    RECORD_COST, Record, RecoveredRun, Run, SpoolEvent, SpoolPolicy, SpoolRequest,
};
use std::collections::{BTreeMap, VecDeque};

#[derive(Clone, Debug)]
enum Entry {
    Record(Record),
    Ended,
}

#[derive(Debug)]
struct Segment {
    starts: PerStream<ByteOffset>,
    entries: Vec<Entry>,
    /// From here on nothing can be read. 0: not even the header.
    damaged_from: usize,
    range: Option<(u64, u64)>,
    bytes: u64,
}

impl Segment {
    fn readable(&self) -> &[Entry] {
        // The header is the first that is read.
        &self.entries[..self.damaged_from.saturating_sub(1).min(self.entries.len())]
    }
}

/// One run.
#[derive(Debug)]
struct Folder {
    policy: SpoolPolicy,
    segments: Vec<Segment>,
    is_open: bool,
    ends: PerStream<ByteOffset>,
    dead: Vec<(u64, u64)>,
}

/// What outlives an agent.
#[derive(Debug)]
pub(super) struct Disk {
    folders: BTreeMap<Run, Folder>,
    segment_bytes: u64,
    pub(super) is_full: bool,
    pub(super) is_unreadable: bool,
}

impl Disk {
    pub(super) fn new(segment_bytes: u64) -> Self {
        Self { folders: BTreeMap::new(), segment_bytes, is_full: false, is_unreadable: false }
    }

    fn append(&mut self, run: &Run, entry: Entry) -> bool {
        if self.is_full {
            if let Some(folder) = self.folders.get_mut(run) {
                folder.is_open = false;
            }
            return false;
        }
        let segment_bytes = self.segment_bytes;
        let folder = self.folder(run, SpoolPolicy::default());
        if !folder.is_open || folder.segments.last().is_none_or(|s| s.bytes >= segment_bytes) {
            folder.begin();
        }
        let segment = folder.segments.last_mut().unwrap();
        if let Entry::Record(record) = &entry {
            let n = record.sequence.0;
            let (low, high) = segment.range.unwrap_or((n, n));
            segment.range = Some((low.min(n), high.max(n)));
            segment.bytes += record.byte_count() + RECORD_COST;
            let end = folder.ends.get_mut(record.stream);
            *end = (*end).max(record.end());
        }
        segment.entries.push(entry);
        true
    }

    fn folder(&mut self, run: &Run, policy: SpoolPolicy) -> &mut Folder {
        self.folders.entry(run.clone()).or_insert_with(|| Folder {
            policy,
            segments: Vec::new(),
            is_open: false,
            ends: PerStream::default(),
            dead: Vec::new(),
        })
    }

    fn read(&self, run: &Run, from: ChunkSequence, through: ChunkSequence) -> Vec<Record> {
        let mut records = Vec::new();
        if self.is_unreadable {
            return records;
        }
        for segment in self.folders.get(run).iter().flat_map(|f| &f.segments) {
            records.extend(segment.readable().iter().filter_map(|entry| match entry {
                Entry::Record(r) if (from..=through).contains(&r.sequence) => Some(r.clone()),
                Entry::Record(_) | Entry::Ended => None,
            }));
        }
        records.sort_by_key(|r| (r.sequence, r.offset));
        records
    }

    fn forget(&mut self, run: &Run, from: ChunkSequence, before: ChunkSequence) {
        let Some(folder) = self.folders.get_mut(run) else { return };
        folder.dead.push((from.0, before.0));
        let dead = folder.dead.clone();
        let is_dead = |n: u64| dead.iter().any(|(from, before)| (*from..*before).contains(&n));
        let last = if folder.is_open { folder.segments.len() - 1 } else { usize::MAX };
        let mut index = 0;
        folder.segments.retain(|segment| {
            let in_use = index == last;
            index += 1;
            in_use || segment.range.is_none_or(|(low, high)| !(low..=high).all(is_dead))
        });
    }

    /// What a new process finds, and whether the process of each run had ended.
    pub(super) fn find(&mut self) -> Vec<(RecoveredRun, bool)> {
        let mut found = Vec::new();
        for (run, folder) in &mut self.folders {
            let mut recovered: Option<RecoveredRun> = None;
            let mut ended = false;
            folder.is_open = false;
            folder.dead.clear();
            for segment in folder.segments.iter_mut().filter(|s| s.damaged_from > 0) {
                let recovered = recovered.get_or_insert_with(|| {
                    folder.ends = segment.starts;
                    RecoveredRun::new(run.clone(), folder.policy, segment.starts)
                });
                recovered.reach(segment.starts);
                segment.range = None;
                for entry in &segment.entries[..segment.readable().len()] {
                    match entry {
                        Entry::Record(record) => {
                            recovered.add(record);
                            let n = record.sequence.0;
                            let (low, high) = segment.range.unwrap_or((n, n));
                            segment.range = Some((low.min(n), high.max(n)));
                            let end = folder.ends.get_mut(record.stream);
                            *end = (*end).max(record.end());
                        }
                        Entry::Ended => ended = true,
                    }
                }
            }
            found.extend(recovered.map(|recovered| (recovered, ended)));
        }
        // What cannot be told apart stays as it is, and is nobody's.
        self.folders.retain(|run, _| found.iter().any(|(r, _)| r.run() == run));
        found
    }

    /// Damages a segment somewhere. Whether there was one.
    pub(super) fn damage(&mut self, random: &mut fastrand::Rng) -> bool {
        let mut segments: Vec<_> =
            self.folders.values_mut().flat_map(|f| &mut f.segments).collect();
        let Some(segment) = random.choice(segments.iter_mut()) else { return false };
        let least = usize::from(random.u8(0..8) > 0);
        let at = random.usize(least..=segment.entries.len() + 1);
        segment.damaged_from = segment.damaged_from.min(at);
        true
    }

    /// What can be read of it, for a story.
    pub(super) fn show(&self) -> String {
        let mut all = String::new();
        for (run, folder) in &self.folders {
            all += &format!("\n{:>14}", run.command.as_str());
            for segment in &folder.segments {
                let starts = segment.starts;
                all += &format!(" | from {} {}:", starts.stdout, starts.stderr);
                for entry in segment.readable() {
                    let Entry::Record(r) = entry else {
                        all += " end";
                        continue;
                    };
                    let kind = if r.byte_count() > 0 { "" } else { "gap " };
                    all +=
                        &format!(" {kind}{} {} {}+{}", r.sequence, r.stream, r.offset, r.length());
                }
            }
        }
        all
    }

    pub(super) fn is_empty(&self) -> bool {
        self.folders.is_empty()
    }
}

impl Folder {
    fn begin(&mut self) {
        self.is_open = true;
        self.segments.push(Segment {
            starts: self.ends,
            entries: Vec::new(),
            damaged_from: usize::MAX,
            range: None,
            bytes: 0,
        });
    }
}

/// The thread of the spool.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) requests: VecDeque<SpoolRequest>,
    pub(super) events: VecDeque<SpoolEvent>,
    waiting: u64,
    reads: u64,
    most_waiting: u64,
    failed: bool,
    /// A record was not taken, and what follows is not to be tried yet.
    refused: bool,
}

impl Thread {
    pub(super) fn new(most_waiting: u64) -> Self {
        let (requests, events) = (VecDeque::new(), VecDeque::new());
        let (waiting, reads, failed, refused) = (0, 0, false, false);
        Self { requests, events, waiting, reads, most_waiting, failed, refused }
    }

    /// Asks for something; what is too much for a slow disk is not taken.
    pub(super) fn ask(&mut self, request: SpoolRequest) -> bool {
        let bytes = request.bytes();
        match &request {
            SpoolRequest::Retry => self.refused = false,
            SpoolRequest::Append(..) | SpoolRequest::End(_) if self.refused => return true,
            _ => {}
        }
        if bytes > 0 && self.waiting >= self.most_waiting {
            self.refused = true;
            return false;
        }
        self.waiting += bytes;
        self.requests.push_back(request);
        true
    }

    /// Does the next thing.
    pub(super) fn perform(&mut self, disk: &mut Disk) {
        let Some(request) = self.requests.pop_front() else { return };
        self.waiting -= request.bytes();
        match request {
            SpoolRequest::Open(run, policy) => {
                let folder = disk.folder(&run, policy);
                folder.policy = policy;
            }
            SpoolRequest::Append(..) if self.failed => {}
            SpoolRequest::Append(run, record) => {
                let through = record.sequence;
                if disk.append(&run, Entry::Record(record)) {
                    self.events.push_back(SpoolEvent::Appended(run, through));
                } else {
                    self.failed = true;
                    self.events.push_back(SpoolEvent::Failed("it is full".to_owned()));
                }
            }
            SpoolRequest::Retry => self.failed = false,
            SpoolRequest::Read(run, from, through) => {
                self.reads += 1;
                if self.reads.is_multiple_of(3) {
                    let why = "no descriptor is free".to_owned();
                    return self.events.push_back(SpoolEvent::NotRead(run, from, why));
                }
                let records = disk.read(&run, from, through);
                self.events.push_back(SpoolEvent::Page(run, from, records));
            }
            SpoolRequest::Forget(run, from, before) => disk.forget(&run, from, before),
            SpoolRequest::End(run) => {
                if !self.failed {
                    disk.append(&run, Entry::Ended);
                }
            }
            // What is compared there is output.
            SpoolRequest::Sizes(..) => {}
            SpoolRequest::Close(run) => drop(disk.folders.remove(&run)),
        }
    }
}
