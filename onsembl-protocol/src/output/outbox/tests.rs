use super::*;
use crate::limits::OUTPUT_WINDOW;
use crate::model::{GapCause, PerStream};
use crate::output::{RECORD_COST, RecordBody};
use alloc::collections::BTreeMap;
use core::time::Duration;
use proptest::prelude::*;
use std::vec::Vec;

fn id() -> CommandId {
    CommandId::new("c")
}

fn run() -> Run {
    Run { command: id(), incarnation: Incarnation(1) }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_origin(Duration::from_secs(seconds))
}

fn opened(bounds: SpoolBounds, policy: SpoolPolicy) -> Outbox {
    let mut outbox = Outbox::new(bounds);
    outbox.open(run(), policy);
    outbox
}

fn filled(bytes: usize) -> Outbox {
    let mut outbox = opened(SpoolBounds::MEMORY_ONLY, SpoolPolicy::Block);
    outbox.push(&id(), Stream::Stdout, Bytes::from(std::vec![7; bytes]));
    outbox
}

/// What fills the memory: with what each record counts besides, a little more than the bound.
const BOUND: usize = SpoolBounds::MEMORY_ONLY.memory as usize;

fn send_all(outbox: &mut Outbox) -> Vec<Record> {
    core::iter::from_fn(|| outbox.next_to_send()).map(|o| o.record).collect()
}

fn store(outbox: &mut Outbox, record: &Record) {
    outbox.on_stored(&id(), Incarnation(1), record.stream, record.end());
}

#[test]
fn no_more_than_the_window_is_on_the_wire() {
    let mut outbox = filled(BOUND);
    let sent = send_all(&mut outbox);
    assert_eq!(sent.iter().map(Record::length).sum::<u64>(), OUTPUT_WINDOW);
    store(&mut outbox, &sent[0]);
    assert_eq!(outbox.next_to_send().map(|c| c.record.sequence), Some(ChunkSequence(33)));
    assert_eq!(outbox.next_to_send(), None);
}

#[test]
fn a_new_session_sends_everything_again_that_is_not_stored() {
    let mut outbox = filled(3 * CHUNK_BYTES);
    let sent = send_all(&mut outbox);
    store(&mut outbox, &sent[0]);
    outbox.restart(OUTPUT_WINDOW);
    assert_eq!(send_all(&mut outbox), sent[1..]);
}

#[test]
fn a_server_that_resumes_gets_what_it_lacks_to_the_byte() {
    let mut outbox = filled(3 * CHUNK_BYTES);
    let _ = send_all(&mut outbox);
    outbox.resume(OUTPUT_WINDOW, at(1));
    assert_eq!(outbox.next_to_send(), None);
    outbox.on_stored(&id(), Incarnation(1), Stream::Stdout, ByteOffset(CHUNK_BYTES as u64 + 5));
    outbox.on_resume();
    let rest = send_all(&mut outbox);
    assert_eq!(rest[0].offset, ByteOffset(CHUNK_BYTES as u64 + 5));
    assert_eq!(rest.iter().map(Record::length).sum::<u64>(), 2 * CHUNK_BYTES as u64 - 5);
}

#[test]
fn a_server_that_does_not_answer_is_sent_the_oldest_after_ten_seconds() {
    let mut outbox = filled(5);
    outbox.resume(OUTPUT_WINDOW, at(1));
    assert_eq!(outbox.deadline(), Deadline::At(at(11)));
    outbox.on_time(at(10));
    assert_eq!(outbox.next_to_send(), None);
    outbox.on_time(at(11));
    assert_eq!(send_all(&mut outbox).len(), 1);
}

#[test]
fn a_process_waits_at_the_bound_and_goes_on_when_there_is_room() {
    let mut outbox = filled(BOUND);
    assert_eq!(outbox.poll_action(), Some(SpoolAction::PauseReading(id())));
    let sent = send_all(&mut outbox);
    store(&mut outbox, &sent[0]);
    assert_eq!(outbox.poll_action(), None);
    outbox.on_stored(&id(), Incarnation(1), Stream::Stdout, ByteOffset(BOUND as u64 / 2));
    assert_eq!(outbox.poll_action(), Some(SpoolAction::ResumeReading(id())));
}

#[test]
fn an_acknowledgement_of_one_stream_leaves_the_other() {
    let mut outbox = filled(10);
    outbox.push(&id(), Stream::Stderr, Bytes::from_static(b"oops"));
    let _ = send_all(&mut outbox);
    outbox.on_stored(&id(), Incarnation(1), Stream::Stdout, ByteOffset(10));
    assert_eq!(outbox.unstored(), 4 + RECORD_COST);
    assert!(!outbox.is_settled(&id()));
}

#[test]
fn small_writes_that_wait_go_out_together() {
    let mut outbox = filled(10);
    for _ in 0..9 {
        outbox.push(&id(), Stream::Stdout, Bytes::from_static(b"0123456789"));
    }
    let sent = send_all(&mut outbox);
    assert_eq!((sent.len(), sent[0].length(), sent[0].sequence), (1, 100, ChunkSequence(10)));
}

#[test]
fn an_agent_that_ends_declares_what_did_not_fit() {
    let mut outbox = filled(BOUND);
    outbox.wind_up();
    outbox.push(&id(), Stream::Stdout, Bytes::from(std::vec![7; 1000]));
    let mut last = None;
    while let Some(sent) = outbox.next_to_send() {
        store(&mut outbox, &sent.record);
        last = Some(sent.record);
    }
    let body = RecordBody::Gap { length: 1000, because: GapCause::Stopped };
    assert_eq!(last.map(|r| r.body), Some(body));
    assert!(outbox.is_settled(&id()) && outbox.unstored() == 0);
}

/// A disk, a server and a process, each of which may misbehave.
#[derive(Debug, Default)]
struct World {
    disk: BTreeMap<(ChunkSequence, ByteOffset, Stream), Record>,
    wrote: [Vec<u8>; 3],
    got: [Vec<Option<u8>>; 3],
    link: VecDeque<Record>,
    paused: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Write(Stream, usize),
    Disk(usize),
    DiskFails,
    Send(usize),
    Deliver(usize),
    Cut { resumes: bool },
    Damage,
    Time,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let stream = prop::sample::select(&Stream::ALL[..]);
    let size = prop_oneof![4 => 1_usize..50, 2 => 1_usize..3000, 1 => 1_usize..90_000];
    let step = prop_oneof![
        8 => (stream, size).prop_map(|(s, n)| Step::Write(s, n)),
        6 => (1_usize..20).prop_map(Step::Disk),
        1 => Just(Step::DiskFails),
        4 => (1_usize..10).prop_map(Step::Send),
        4 => (1_usize..10).prop_map(Step::Deliver),
        1 => any::<bool>().prop_map(|resumes| Step::Cut { resumes }),
        1 => Just(Step::Time),
    ];
    let damage = prop_oneof![30 => Just(false), 1 => Just(true)];
    prop::collection::vec((step, damage), 1..150).prop_map(|steps| {
        steps.into_iter().map(|(step, damage)| if damage { Step::Damage } else { step }).collect()
    })
}

impl World {
    fn perform(&mut self, outbox: &mut Outbox, most: usize, works: bool, now: u64) {
        for _ in 0..most {
            let Some(action) = outbox.poll_action() else { return };
            match action {
                SpoolAction::Append { record, .. } if works => {
                    let sequence = record.sequence;
                    let _ = self.disk.insert((sequence, record.offset, record.stream), record);
                    outbox.on_appended(&run(), sequence);
                }
                SpoolAction::Append { .. } => outbox.on_append_failed(at(now)),
                SpoolAction::Read { from, through, .. } => {
                    let page = self.disk.values().filter(|r| {
                        (from..=through).contains(&r.sequence)
                            && matches!(r.body, RecordBody::Chunk(_) | RecordBody::Gap { .. })
                    });
                    outbox.on_page(&run(), from, page.cloned().collect());
                }
                SpoolAction::Forget { from, before, .. } => {
                    self.disk.retain(|(s, ..), _| *s < from || *s >= before);
                }
                SpoolAction::Close { .. } => self.disk.clear(),
                SpoolAction::End { .. } => {}
                SpoolAction::PauseReading(_) => self.paused = true,
                SpoolAction::ResumeReading(_) => self.paused = false,
            }
        }
    }

    /// The server: takes what follows, or repeats; anything else is a hole.
    fn deliver(&mut self, outbox: &mut Outbox, most: usize) {
        for _ in 0..most {
            let Some(record) = self.link.pop_front() else { return };
            let got = &mut self.got[record.stream as usize];
            let have = ByteOffset(got.len() as u64);
            assert!(record.offset <= have, "an undeclared hole before {record:?}");
            let (stream, wrote) = (record.stream, &self.wrote[record.stream as usize]);
            if let Some(record) = record.behind(have) {
                match record.body {
                    RecordBody::Chunk(bytes) => got.extend(bytes.iter().map(|b| Some(*b))),
                    RecordBody::Gap { length, .. } => got.extend((0..length).map(|_| None)),
                }
            }
            assert!(got.len() <= wrote.len(), "more than was written");
            let end = ByteOffset(got.len() as u64);
            outbox.on_stored(&id(), Incarnation(1), stream, end);
        }
    }
}

fn play(bounds: SpoolBounds, policy: SpoolPolicy, steps: Vec<Step>) {
    let mut outbox = opened(bounds, policy);
    let (mut world, mut now, mut lossless) = (World::default(), 1, policy == SpoolPolicy::Block);
    for step in steps {
        match step {
            Step::Write(stream, length)
                if !world.paused && (policy != SpoolPolicy::Block || !outbox.is_full()) =>
            {
                let wrote = &mut world.wrote[stream as usize];
                let bytes: Vec<u8> = (0..length).map(|i| ((wrote.len() + i) % 251) as u8).collect();
                wrote.extend_from_slice(&bytes);
                outbox.push(&id(), stream, bytes.into());
                world.perform(&mut outbox, 0, true, now);
            }
            Step::Write(..) => {}
            Step::Disk(most) => world.perform(&mut outbox, most, true, now),
            Step::DiskFails => world.perform(&mut outbox, 5, false, now),
            Step::Send(most) => {
                let sent = (0..most).map_while(|_| outbox.next_to_send()).map(|o| o.record);
                world.link.extend(sent.collect::<Vec<_>>());
            }
            Step::Deliver(most) => world.deliver(&mut outbox, most),
            Step::Cut { resumes } => {
                world.link.clear();
                if resumes {
                    outbox.resume(OUTPUT_WINDOW, at(now));
                    for stream in Stream::ALL {
                        let have = ByteOffset(world.got[stream as usize].len() as u64);
                        outbox.on_stored(&id(), Incarnation(1), stream, have);
                    }
                    outbox.on_resume();
                } else {
                    outbox.restart(OUTPUT_WINDOW);
                }
            }
            Step::Damage => {
                let _ = world.disk.pop_first();
                lossless = false;
            }
            Step::Time => {
                now += 1;
                outbox.on_time(at(now));
            }
        }
        assert!(outbox.in_memory() <= bounds.memory + 2 * (90_000 + 3 * RECORD_COST) + 300_000);
        assert!(
            outbox.unstored() <= bounds.disk.max(bounds.memory) + 2 * (90_000 + 3 * RECORD_COST)
        );
        let recounted: (u64, u64) = outbox
            .runs
            .values()
            .map(Backlog::recount)
            .fold((0, 0), |(m, t), (memory, total)| (m + memory, t + total));
        assert_eq!((outbox.runs.memory(), outbox.runs.total()), recounted);
    }
    for _ in 0..10_000 {
        now += 1;
        outbox.on_time(at(now));
        world.perform(&mut outbox, 100, true, now);
        let sent = core::iter::from_fn(|| outbox.next_to_send()).map(|o| o.record);
        world.link.extend(sent.collect::<Vec<_>>());
        world.deliver(&mut outbox, usize::MAX);
        if outbox.is_empty() {
            break;
        }
    }
    assert!(outbox.is_settled(&id()), "it never drains: {outbox:?}");
    assert_eq!(outbox.unstored(), 0, "{outbox:?}");
    world.perform(&mut outbox, usize::MAX, true, now);
    assert!(!world.paused, "it is never read again");
    for (wrote, got) in world.wrote.iter().zip(&world.got) {
        assert_eq!(wrote.len(), got.len());
        for (wrote, got) in wrote.iter().zip(got) {
            assert!(got.is_none_or(|byte| byte == *wrote));
        }
        assert!(!lossless || got.iter().all(Option::is_some), "lost where nothing may be");
    }
    outbox.close(&id());
    world.perform(&mut outbox, usize::MAX, true, now);
    assert!(world.disk.is_empty());
}

proptest! {
    #[test]
    fn all_that_was_written_arrives_once_or_is_a_gap(
        policy in prop::sample::select(&SpoolPolicy::ALL[..]),
        memory in prop::sample::select(&[4_000_u64, 60_000, 1 << 20][..]),
        disk in prop::sample::select(&[0_u64, 100_000, 700_000, 256 << 20][..]),
        steps in steps(),
    ) {
        play(SpoolBounds { memory, disk }, policy, steps);
    }
}

#[test]
fn a_disk_that_works_again_gets_what_it_missed_also_if_that_can_be_sent_from_memory() {
    let mut outbox = opened(SpoolBounds::DEFAULT, SpoolPolicy::Block);
    outbox.push(&id(), Stream::Stdout, Bytes::from_static(b"one"));
    outbox.on_append_failed(at(1));
    outbox.push(&id(), Stream::Stderr, Bytes::from_static(b"two"));
    assert_eq!(outbox.poll_action(), None);
    let _sent = outbox.next_to_send();
    outbox.on_time(at(2));
    let appended = core::iter::from_fn(|| outbox.poll_action()).map(|action| match action {
        SpoolAction::Append { record, .. } => record.stream,
        other => panic!("{other:?}"),
    });
    assert_eq!(appended.collect::<Vec<_>>(), [Stream::Stdout, Stream::Stderr]);
}

/// What a spool keeps: the records that were appended, less those that it lost or may forget.
fn crash(disk: &[Record], starts: PerStream<ByteOffset>) -> Outbox {
    let mut recovered = RecoveredRun::new(run(), SpoolPolicy::Block, starts);
    disk.iter().for_each(|record| recovered.add(record));
    let mut outbox = Outbox::new(SpoolBounds { memory: 64 * 1024, disk: 1 << 30 });
    outbox.recover(recovered);
    outbox
}

/// Reads back and sends everything; what goes out, in order.
fn drain(outbox: &mut Outbox, disk: &[Record]) -> Vec<Record> {
    let mut sent = Vec::new();
    loop {
        let mut idle = true;
        while let Some(action) = outbox.poll_action() {
            idle = false;
            if let SpoolAction::Read { run, from, through } = action {
                let within = |r: &&Record| (from..=through).contains(&r.sequence);
                outbox.on_page(&run, from, disk.iter().filter(within).cloned().collect());
            }
        }
        while let Some(next) = outbox.next_to_send() {
            idle = false;
            store(outbox, &next.record);
            sent.push(next.record);
        }
        if idle {
            return sent;
        }
    }
}

#[test]
fn what_was_dropped_at_the_oldest_end_is_still_declared_after_a_restart() {
    let chunk = |n: u64, offset, bytes: &'static [u8]| Record {
        sequence: ChunkSequence(n),
        stream: Stream::Stdout,
        offset: ByteOffset(offset),
        body: RecordBody::Chunk(Bytes::from_static(bytes)),
    };
    let because = GapCause::SpoolFull;
    let gap = |n, offset, length| Record {
        body: RecordBody::Gap { length, because },
        ..chunk(n, offset, b"")
    };
    // The oldest was on the wire, and dropped after what is behind it.
    let disk = [chunk(7, 70, b"ab"), gap(2, 60, 10), gap(1, 40, 20), chunk(8, 72, b"c")];
    let starts = PerStream { stdout: ByteOffset(70), ..PerStream::default() };
    let mut outbox = crash(&disk, starts);
    let sent = drain(&mut outbox, &disk);
    assert_eq!(sent[0], gap(2, 40, 30));
    assert_eq!((sent[1].offset, sent[1].length(), sent.len()), (ByteOffset(70), 3, 2));
    assert!(outbox.is_settled(&id()));
    assert_eq!(outbox.unstored(), 0);
}

proptest! {
    /// After a crash everything that the spool has goes out, in order and once, and what it lost is
    /// declared.
    #[test]
    fn what_a_spool_kept_is_sent_after_a_restart_and_what_it_lost_is_declared(
        writes in proptest::collection::vec((any::<bool>(), 1_usize..40_000), 1..60),
        lost in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
        acknowledged in 0.0_f64..1.0,
    ) {
        let (mut disk, mut next, mut ends) = (Vec::new(), 1_u64, PerStream::<ByteOffset>::default());
        for (err, length) in writes {
            let stream = if err { Stream::Stderr } else { Stream::Stdout };
            for part in std::vec![0; length].chunks(CHUNK_BYTES) {
                let offset = *ends.get(stream);
                let bytes = std::vec![(next % 251) as u8; part.len()];
                let body = RecordBody::Chunk(Bytes::from(bytes));
                let record = Record { sequence: ChunkSequence(next), stream, offset, body };
                *ends.get_mut(stream) = record.end();
                disk.push(record);
                next += 1;
            }
        }
        let whole = disk.clone();
        for index in lost {
            if disk.len() > 1 {
                let _ = disk.remove(index.index(disk.len()));
            }
        }
        let mut outbox = crash(&disk, PerStream::default());
        let kept = |stream| disk.iter().filter(|r| r.stream == stream).map(Record::end).max();
        let mut from = PerStream::<ByteOffset>::default();
        outbox.resume(OUTPUT_WINDOW, at(1));
        for stream in [Stream::Stdout, Stream::Stderr] {
            let end = kept(stream).unwrap_or_default();
            let position = ByteOffset((end.0 as f64 * acknowledged) as u64);
            outbox.on_stored(&id(), Incarnation(1), stream, position);
            *from.get_mut(stream) = position;
        }
        outbox.on_resume();
        for record in drain(&mut outbox, &disk) {
            let reached = from.get_mut(record.stream);
            prop_assert_eq!(record.offset, *reached);
            *reached = record.end();
            if let RecordBody::Chunk(bytes) = &record.body {
                for (at, byte) in (record.offset.0..).zip(bytes) {
                    let contains = |r: &&Record| {
                        r.stream == record.stream && (r.offset.0..r.end().0).contains(&at)
                    };
                    let wrote = whole.iter().find(contains).unwrap();
                    prop_assert_eq!(u64::from(*byte), wrote.sequence.0 % 251);
                }
            } else {
                prop_assert_eq!(disk.iter().filter(|r| r.stream == record.stream
                    && r.offset < record.end() && r.end() > record.offset).count(), 0);
            }
        }
        for stream in [Stream::Stdout, Stream::Stderr] {
            prop_assert_eq!(*from.get(stream), kept(stream).unwrap_or_default());
        }
        prop_assert!(outbox.is_settled(&id()));
        prop_assert_eq!((outbox.unstored(), outbox.in_memory()), (0, 0));
    }
}

/// Does to a disk what an outbox asks for.
fn keep(outbox: &mut Outbox, disk: &mut Vec<Record>) {
    while let Some(action) = outbox.poll_action() {
        match action {
            SpoolAction::Append { run, record } => {
                let through = record.sequence;
                disk.push(record);
                outbox.on_appended(&run, through);
            }
            SpoolAction::Forget { from, before, .. } => {
                disk.retain(|r| !(from..before).contains(&r.sequence));
            }
            SpoolAction::Read { run, from, through } => {
                let within = |r: &&Record| (from..=through).contains(&r.sequence);
                let mut page: Vec<Record> = disk.iter().filter(within).cloned().collect();
                page.sort_by_key(|r| (r.sequence, r.offset));
                outbox.on_page(&run, from, page);
            }
            SpoolAction::Close { .. } => disk.clear(),
            SpoolAction::End { .. }
            | SpoolAction::PauseReading(_)
            | SpoolAction::ResumeReading(_) => {}
        }
    }
}

#[test]
fn what_was_not_taken_of_the_last_output_is_kept_as_a_gap_when_the_process_ends() {
    let bounds = SpoolBounds { memory: 1000, disk: 1000 };
    let mut outbox = opened(bounds, SpoolPolicy::DropNewest);
    let mut disk = Vec::new();
    for _ in 0..2 {
        outbox.push(&id(), Stream::Stdout, Bytes::from(std::vec![7; 1000]));
    }
    keep(&mut outbox, &mut disk);
    assert_eq!(disk.len(), 1, "the gap may still grow");
    outbox.end(&id());
    keep(&mut outbox, &mut disk);
    let because = GapCause::SpoolFull;
    assert_eq!(disk[1].body, RecordBody::Gap { length: 1000, because });
}

#[test]
fn a_successor_finds_all_that_was_dropped_and_the_spool_keeps_no_pieces_of_it() {
    let bounds = SpoolBounds { memory: 1 << 20, disk: 3 << 20 };
    let mut outbox = opened(bounds, SpoolPolicy::DropOldest);
    let mut disk = Vec::new();
    for n in 0..600 {
        let stream = if n % 3 == 0 { Stream::Stderr } else { Stream::Stdout };
        outbox.push(&id(), stream, Bytes::from(std::vec![7; 20_000]));
        keep(&mut outbox, &mut disk);
    }
    let is_gap = |r: &&Record| matches!(r.body, RecordBody::Gap { .. });
    assert!(disk.iter().filter(is_gap).count() <= 3, "{disk:?}");
    assert!(disk.iter().map(Record::byte_count).sum::<u64>() < 2 * bounds.disk);
    let oldest = |stream| {
        let chunks = disk.iter().filter(|r| r.stream == stream && !is_gap(r));
        chunks.map(|r| r.offset).min().unwrap()
    };
    let starts = PerStream {
        stdout: oldest(Stream::Stdout),
        stderr: oldest(Stream::Stderr),
        terminal: ByteOffset(0),
    };
    let mut outbox = crash(&disk, starts);
    let mut reached = PerStream::<ByteOffset>::default();
    for record in drain(&mut outbox, &disk) {
        let reached = reached.get_mut(record.stream);
        assert_eq!(record.offset, *reached);
        *reached = record.end();
    }
    assert!(outbox.is_settled(&id()));
}

#[test]
fn the_end_of_a_spool_that_is_damaged_is_known_by_where_a_later_piece_begins() {
    let record = Record {
        sequence: ChunkSequence(1),
        stream: Stream::Stdout,
        offset: ByteOffset(0),
        body: RecordBody::Chunk(Bytes::from_static(b"abc")),
    };
    let mut recovered = RecoveredRun::new(run(), SpoolPolicy::Block, PerStream::default());
    recovered.add(&record);
    recovered.reach(PerStream { stdout: ByteOffset(10), ..PerStream::default() });
    let mut outbox = Outbox::new(SpoolBounds { memory: 64 * 1024, disk: 1 << 30 });
    outbox.recover(recovered);
    let sent = drain(&mut outbox, std::slice::from_ref(&record));
    let body = RecordBody::Gap { length: 7, because: GapCause::SpoolFailed };
    assert_eq!((sent[0].clone(), sent[1].offset, &sent[1].body), (record, ByteOffset(3), &body));
    assert!(outbox.is_settled(&id()));
}

#[test]
fn what_is_on_the_wire_counts_before_more_is_read_back() {
    let bounds = SpoolBounds { memory: 10_000, disk: 10 << 20 };
    let mut outbox = opened(bounds, SpoolPolicy::Block);
    let mut disk = Vec::new();
    outbox.restart(OUTPUT_WINDOW);
    for _ in 0..200 {
        outbox.push(&id(), Stream::Stdout, Bytes::from(std::vec![7; 4000]));
        keep(&mut outbox, &mut disk);
    }
    let block = 256 * 1024 + 64 * RECORD_COST;
    while outbox.next_to_send().is_some() {
        keep(&mut outbox, &mut disk);
        assert!(outbox.in_memory() < bounds.memory + block, "{}", outbox.in_memory());
    }
}

#[test]
fn a_spool_is_told_of_an_end_only_behind_all_that_it_was_to_keep() {
    let ends = |outbox: &mut Outbox| {
        let done: Vec<_> = core::iter::from_fn(|| outbox.poll_action()).collect();
        let at = done.iter().position(|a| matches!(a, SpoolAction::End { .. }));
        at.map(|at| (at, done.len()))
    };
    let mut outbox = opened(SpoolBounds::DEFAULT, SpoolPolicy::Block);
    outbox.push(&id(), Stream::Stdout, Bytes::from_static(b"one"));
    outbox.end(&id());
    // The record could not be handed over, so neither is what stands behind it.
    outbox.on_append_failed(at(1));
    assert_eq!(ends(&mut outbox), None);
    outbox.on_time(at(2));
    assert_eq!(ends(&mut outbox), Some((1, 2)));

    let mut outbox = opened(SpoolBounds::DEFAULT, SpoolPolicy::Block);
    outbox.push(&id(), Stream::Stdout, Bytes::from_static(b"one"));
    let _asked = outbox.poll_action();
    outbox.on_append_failed(at(1));
    outbox.end(&id());
    assert_eq!(ends(&mut outbox), None);
}
