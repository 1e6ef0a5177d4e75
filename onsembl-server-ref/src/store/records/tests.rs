//! Output in both forms against a model that keeps one record after the other: whatever comes, is cut, is undone, or was
//! stored by an earlier version, every reader gets the same.

use super::super::budget::Terms;
use super::super::reading::{read, record_at, tail};
use super::super::retention::cut_first;
use super::super::schema::open_writer;
use super::super::wall_now;
use super::*;
use onsembl_protocol::fleet::{StreamCut, StreamSums};
use onsembl_protocol::model::GapCause;
use std::collections::BTreeMap;
use tempfile::TempDir;

const TERMS: Terms = Terms { budget: u64::MAX, kept_from: WallTime::from_unix_millis(0) };

type Key = (Incarnation, &'static str);

/// One command.
#[derive(Clone, Default)]
struct Model {
    records: Vec<(StoredRecord, WallTime)>,
    sums: BTreeMap<Key, StreamSums>,
}

impl Model {
    fn append(&mut self, record: &StoredRecord, kept_from: WallTime) {
        let sums = self.sums.entry((record.incarnation, record.stream.as_str())).or_default();
        let Some(admitted) = sums.admit(record.offset, record.body.clone()) else { return };
        let is_open = |r: &StoredRecord| {
            r.stream == record.stream && r.incarnation == record.incarnation && r.body.is_open()
        };
        if admitted.reopens {
            self.records.retain(|(r, _)| !is_open(r));
        }
        for (offset, body) in admitted.hole.into_iter().chain([admitted.new]) {
            self.records.push((StoredRecord { offset, body, ..record.clone() }, kept_from));
        }
        self.records.sort_by_key(|(r, _)| place(r));
    }

    fn cut(&mut self, of: &StoredRecord, before: WallTime, over: u64, most: usize) {
        let is_of = |r: &StoredRecord| r.stream == of.stream && r.incarnation == of.incarnation;
        let mut chunks: Vec<_> = self.records.iter().filter(|(r, _)| is_of(r)).collect();
        chunks.retain(|(r, _)| matches!(r.body, StoredBody::Chunk(_)));
        chunks.sort_by_key(|(r, _)| (r.offset, r.sequence));
        let mut cut = StreamCut::new(before, over, most);
        for (r, at) in chunks.into_iter().take(most + 1) {
            if !cut.look(r.sequence, r.offset, r.body.length(), *at) {
                break;
            }
        }
        let Some((sequence, body)) = cut.marker() else { return };
        self.records.retain(|(r, _)| !(is_of(r) && r.offset < cut.end()));
        let marker =
            StoredRecord { sequence, offset: ByteOffset(0), body, at: of.at, ..of.clone() };
        self.records.push((marker, of.at));
        self.records.sort_by_key(|(r, _)| place(r));
    }

    fn read(&self, only: Option<Stream>, after: (i64, i64), most: usize) -> Vec<StoredRecord> {
        let (mut read, mut total) = (Vec::<StoredRecord>::new(), 0);
        for (record, _) in &self.records {
            let number = (record.incarnation.0 as i64, record.sequence.0 as i64);
            if number <= after || only.is_some_and(|only| only != record.stream) {
                continue;
            }
            total += record.body.byte_count();
            if let Some(last) = read.last()
                && total > most
                && (last.incarnation, last.sequence) != (record.incarnation, record.sequence)
            {
                break;
            }
            read.push(record.clone());
        }
        read
    }

    fn tail(&self, most: usize) -> Option<(Incarnation, ChunkSequence)> {
        let mut total = 0;
        self.records.iter().rev().map(|(record, _)| record).find_map(|record| {
            total += record.body.byte_count();
            (total > most).then_some((record.incarnation, record.sequence))
        })
    }
}

fn with_command() -> (TempDir, Connection) {
    let dir = tempfile::tempdir().unwrap();
    let db = open_writer(dir.path(), wall_now()).unwrap();
    db.execute_batch(
        "PRAGMA synchronous = OFF;
         INSERT INTO agents (agent_id, user_id, agent_key, name, agent_type, capabilities, epoch, status, since,
             because, presence_version, created_at)
         VALUES ('a', 'u', 'k', 'n', 't', '[]', 1, 'online', 0, '', 1, 0);
         INSERT INTO commands (user_id, command_id, agent_id, text, spec, status, created_at, updated_at)
         VALUES ('u', 'c', 'a', '', '{}', 'running', 0, 0), ('u', 'd', 'a', '', '{}', 'running', 0, 0);",
    )
    .unwrap();
    (dir, db)
}

/// As the versions before had it: each record in a row of its own.
fn explode(db: &Connection) {
    db.execute_batch(
        "INSERT INTO output_singles SELECT * FROM output_records AS r
         WHERE NOT EXISTS (SELECT 1 FROM output_singles AS s
             WHERE (s.user_id, s.command_id, s.incarnation, s.sequence, s.offset, s.stream)
                 = (r.user_id, r.command_id, r.incarnation, r.sequence, r.offset, r.stream));
         DELETE FROM output_segments;",
    )
    .unwrap();
}

/// What may come next of a command: mostly what follows, and at times what is there, what is behind a hole, the end of a
/// stream, or a number that is out of order.
fn any_record(model: &Model, sequence: &mut u64, now: i64) -> StoredRecord {
    let of = fastrand::usize(..3);
    let stream = Stream::ALL[of];
    let incarnation = Incarnation(1 + fastrand::u64(..2));
    let next = model.sums.get(&(incarnation, stream.as_str())).map_or(0, |sums| sums.next.0);
    let offset = match fastrand::u8(..12) {
        0 => next.saturating_sub(fastrand::u64(..30)),
        1 => next + fastrand::u64(..30),
        _ => next,
    };
    // No two streams have the same number.
    *sequence += fastrand::u64(1..3);
    let number = match fastrand::u8(..20) {
        0 => fastrand::u64(1..=*sequence),
        _ => *sequence,
    };
    let number = 3 * number + of as u64;
    let because = GapCause::AgentDied;
    let body = match fastrand::u8(..25) {
        0 => StoredBody::Gap { length: Some(fastrand::u64(1..50)), because },
        1 => StoredBody::Gap { length: None, because },
        2 => StoredBody::Chunk(Bytes::from(vec![fastrand::u8(..); 20_000])),
        _ => StoredBody::Chunk((0..fastrand::usize(1..40)).map(|_| fastrand::u8(..)).collect()),
    };
    StoredRecord {
        user: UserId::new("u"),
        command: CommandId::new("c"),
        incarnation,
        sequence: ChunkSequence(number),
        stream,
        offset: ByteOffset(offset),
        body,
        at: WallTime::from_unix_millis(now - fastrand::i64(0..100)),
    }
}

fn compare(db: &Connection, model: &Model) {
    let (user, command) = (UserId::new("u"), CommandId::new("c"));
    let only = Stream::ALL.into_iter().map(Some).chain([None]);
    for only in only {
        let most = [0, 50, 5000, usize::MAX][fastrand::usize(..4)];
        let (mut cursor, mut after, mut pages) = (None, (-1, -1), 0);
        loop {
            let page = read(db, &user, &command, only, cursor, most).unwrap();
            assert_eq!(page, model.read(only, after, most), "{only:?} behind {after:?}, {most}");
            let Some(last) = page.last() else { break };
            cursor = Some((last.incarnation, last.sequence));
            after = (last.incarnation.0 as i64, last.sequence.0 as i64);
            pages += 1;
            if pages > 30 {
                break;
            }
        }
    }
    for most in [0, 1, 500, 50_000] {
        assert_eq!(tail(db, &user, &command, most).unwrap(), model.tail(most), "the last {most}");
    }
    for (key, sums) in &model.sums {
        let offset = ByteOffset(fastrand::u64(..=sums.next.0));
        let stream = Stream::parse(key.1).unwrap();
        let found = record_at(db, (&user, &command), key.0, stream, offset).unwrap();
        let of_stream = model.records.iter().map(|(record, _)| record);
        let mut of_stream: Vec<_> =
            of_stream.filter(|r| r.incarnation == key.0 && r.stream == stream).collect();
        of_stream.retain(|record| record.offset <= offset);
        let greatest = of_stream.iter().map(|record| record.offset).max();
        let numbers = of_stream.iter().filter(|record| Some(record.offset) == greatest);
        let numbers: Vec<_> = numbers.map(|record| record.sequence).collect();
        match found {
            Some((number, _)) => assert!(numbers.contains(&number), "{key:?} at {offset:?}"),
            None => assert!(numbers.is_empty(), "{key:?} at {offset:?}"),
        }
    }
    // For people.
    let view = "SELECT coalesce(group_concat(incarnation || ' ' || sequence || ' ' || stream || ' ' || offset || ' '
                    || CASE WHEN bytes IS NULL THEN coalesce(gap_length, '') ELSE hex(bytes) END || ' ' || at || ' ' || kept_from, ';'
                    ORDER BY incarnation, sequence, offset, stream), '')
                FROM output_records WHERE command_id = 'c'";
    let view: String = db.query_row(view, [], |row| row.get(0)).unwrap();
    let mut records: Vec<_> = model.records.iter().collect();
    records.sort_by_key(|(r, _)| (place(r), r.stream.as_str()));
    let text = |(r, kept_from): &(StoredRecord, WallTime)| {
        let body = match &r.body {
            StoredBody::Chunk(bytes) => bytes.iter().map(|byte| format!("{byte:02X}")).collect(),
            StoredBody::Gap { length, .. } => length.map(|l| l.to_string()).unwrap_or_default(),
        };
        let (at, kept_from) = (r.at.unix_millis(), kept_from.unix_millis());
        let (run, number, stream) = (r.incarnation.0, r.sequence.0, r.stream.as_str());
        format!("{run} {number} {stream} {} {body} {at} {kept_from}", r.offset.0)
    };
    assert_eq!(view, records.into_iter().map(text).collect::<Vec<_>>().join(";"));
}

#[test]
fn all_readers_get_what_a_model_has_in_both_forms() {
    fastrand::seed(17);
    for round in 0..40 {
        let (_dir, db) = with_command();
        let (mut model, mut sequence) = (Model::default(), 0);
        for step in 0..20 {
            let (before, now) = (model.clone(), step * 1000);
            let terms = Terms { kept_from: WallTime::from_unix_millis(now), ..TERMS };
            db.execute_batch("BEGIN").unwrap();
            let mut batch: BTreeMap<Incarnation, Vec<StoredRecord>> = BTreeMap::new();
            for _ in 0..fastrand::usize(..40) {
                let record = any_record(&model, &mut sequence, now);
                model.append(&record, terms.kept_from);
                batch.entry(record.incarnation).or_default().push(record);
            }
            // What another command has does not matter.
            let command = CommandId::new("d");
            let other = any_record(&Model::default(), &mut 5, now);
            StoredRecord { command, ..other }.write(&db, terms).unwrap();
            for records in batch.values() {
                StoredRecord::write_all(&db, &records[0], records.iter(), terms).unwrap();
            }
            if fastrand::u8(..6) == 0 {
                db.execute_batch("ROLLBACK").unwrap();
                model = before;
                continue;
            }
            db.execute_batch("COMMIT").unwrap();
            if fastrand::u8(..5) == 0
                && let Some((of, _)) = model.records.last().cloned()
            {
                let before = WallTime::from_unix_millis(fastrand::i64(0..=now));
                let (over, most) = (fastrand::u64(..2000), fastrand::usize(1..60));
                model.cut(&of, before, over, most);
                cut_first(&db, &of, before, over, most).unwrap();
            }
            if round % 2 == 0 && fastrand::u8(..6) == 0 {
                explode(&db);
            }
            compare(&db, &model);
        }
    }
}
