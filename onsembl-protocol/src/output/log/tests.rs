use super::*;
use bytes::Bytes;

const PIECE: usize = 32 * 1024;

fn record(n: u64, offset: u64, bytes: &'static [u8]) -> LogRecord {
    LogRecord {
        incarnation: Incarnation(1),
        sequence: ChunkSequence(n),
        stream: Stream::Stdout,
        offset: ByteOffset(offset),
        body: StoredBody::Chunk(Bytes::from_static(bytes)),
        at: WallTime::default(),
    }
}

fn piece(n: u64) -> LogRecord {
    record(n, (n - 1) * PIECE as u64, &[0; PIECE])
}

fn store(log: &mut OutputLog, n: u64) {
    let end = ByteOffset(n * PIECE as u64);
    log.on_stored(Incarnation(1), ChunkSequence(n), Stream::Stdout, end);
}

fn new(record: LogRecord) -> Taken {
    Taken::New { hole: None, record }
}

#[test]
fn repetitions_are_told_and_acknowledged_only_when_stored() {
    let mut log = OutputLog::default();
    assert_eq!(log.push(piece(1)), new(piece(1)));
    assert_eq!(log.push(piece(1)), Taken::Repeated(None));
    store(&mut log, 1);
    assert_eq!(log.push(piece(1)), Taken::Repeated(Some(ByteOffset(PIECE as u64))));
}

#[test]
fn of_a_record_that_overlaps_only_the_new_part_is_taken() {
    let mut log = OutputLog::default();
    let _ = log.push(record(1, 0, b"abc"));
    assert_eq!(log.push(record(2, 1, b"bcdef")), new(record(2, 3, b"def")));
}

#[test]
fn a_hole_becomes_a_gap_and_numbers_go_upwards() {
    let mut log = OutputLog::default();
    let _ = log.push(record(5, 0, b"abc"));
    let Taken::New { hole: Some(hole), record: taken } = log.push(record(4, 10, b"x")) else {
        panic!("expected a hole")
    };
    let because = GapCause::NeverCame;
    assert_eq!(hole.body, StoredBody::Gap { length: Some(7), because });
    assert_eq!((hole.offset, hole.sequence), (ByteOffset(3), ChunkSequence(6)));
    assert_eq!((taken.offset, taken.sequence), (ByteOffset(10), ChunkSequence(7)));
}

#[test]
fn behind_a_restart_of_the_server_nothing_is_taken_twice() {
    let position = StoredPosition {
        incarnation: Incarnation(1),
        stream: Stream::Stdout,
        committed: ByteOffset(2),
        open_gap: false,
    };
    let mut log = OutputLog::behind(Some((Incarnation(1), ChunkSequence(9))), [position]);
    assert_eq!(log.push(record(1, 0, b"ab")), Taken::Repeated(Some(ByteOffset(2))));
    assert_eq!(log.push(record(2, 1, b"bc")), new(record(10, 2, b"c")));
}

fn open_end(offset: u64) -> LogRecord {
    let body = StoredBody::Gap { length: None, because: GapCause::AgentDied };
    LogRecord { body, ..record(0, offset, b"") }
}

#[test]
fn an_open_end_is_taken_once_and_said_to_be_stored_only_when_it_is() {
    let mut log = OutputLog::default();
    let _ = log.push(record(1, 0, b"abc"));
    log.on_stored(Incarnation(1), ChunkSequence(1), Stream::Stdout, ByteOffset(3));
    let Taken::New { record: end, .. } = log.push(open_end(3)) else { panic!("not taken") };
    assert_eq!(log.push(open_end(3)), Taken::Repeated(None));
    let _old = log.push(record(1, 0, b"abc"));
    assert!(!log.is_open_stored(Stream::Stdout));
    log.on_stored(Incarnation(1), end.sequence, Stream::Stdout, ByteOffset(3));
    assert!(log.is_open_stored(Stream::Stdout));
    assert_eq!(log.push(open_end(3)), Taken::Repeated(Some(ByteOffset(3))));
}

#[test]
fn what_a_report_shows_to_be_missing_is_declared() {
    let totals = OutputTotals {
        incarnation: Incarnation(1),
        stdout_bytes: ByteOffset(10),
        stderr_bytes: ByteOffset(2),
        terminal_bytes: ByteOffset(0),
        unstored: false,
    };
    let mut log = OutputLog::default();
    let _ = log.push(record(1, 0, b"abc"));
    assert!(log.finish(&CommandId::new("c"), Written::Unsaid, WallTime::default()).is_empty());
    let missing = log.finish(&CommandId::new("c"), Written::Known(totals), WallTime::default());
    let positions: Vec<_> =
        missing.iter().map(|r| (r.stream, r.offset.0, r.body.length())).collect();
    assert_eq!(positions, [(Stream::Stdout, 3, 7), (Stream::Stderr, 0, 2)]);
    assert!(
        log.finish(&CommandId::new("c"), Written::Known(totals), WallTime::default()).is_empty()
    );
    let ends = log.finish(&CommandId::new("c"), Written::Unknown, WallTime::default());
    assert!(ends.len() == 2 && ends.iter().all(|r| r.body.is_open()));
    assert!(log.finish(&CommandId::new("c"), Written::Unknown, WallTime::default()).is_empty());
}
#[test]
fn the_end_that_nobody_knows_of_a_terminal_is_one_of_its_own_stream() {
    let mut log = OutputLog::default();
    let terminal = CommandId::new("terminal-1");
    let ends = log.finish(&terminal, Written::Unknown, WallTime::default());
    assert_eq!(ends.iter().map(|r| r.stream).collect::<Vec<_>>(), [Stream::Terminal]);
}

#[test]
fn what_is_given_up_ends_where_it_is_and_takes_nothing_more() {
    let mut log = OutputLog::default();
    assert_eq!(log.push(record(1, 0, b"abc")), new(record(1, 0, b"abc")));
    let ends = log.give_up(&CommandId::new("c"), WallTime::default());
    assert!(ends.iter().all(|end| end.body.is_open()) && ends.len() == 2);
    assert_eq!(ends[0].offset, ByteOffset(3));
    assert_eq!(log.push(record(2, 3, b"d")), Taken::GivenUp);
    assert!(log.give_up(&CommandId::new("c"), WallTime::default()).is_empty());
    assert_eq!(log.next(Stream::Stdout), ByteOffset(3));
}
