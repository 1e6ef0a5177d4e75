//! Output: byte for byte, in order, once.

use crate::common::{HeldLock, at, beside, chunk, command, fresh, one_agent, user};
use onsembl_protocol::id::{ByteOffset, ChunkSequence, CommandId, Incarnation};
use onsembl_protocol::model::{GapCause, Stream};
use onsembl_server_ref::store::{
    CommandUpdate, OutputReceipt, Receipts, Store, StoreError, StoredBody, StoredRecord,
};
use tempfile::TempDir;

async fn with_command() -> (TempDir, Store, Receipts) {
    let (dir, store, receipts) = fresh().await;
    let agent = one_agent(&store).await.agent;
    store.commands().insert(command(&agent, "c")).await.unwrap();
    (dir, store, receipts)
}

async fn take(receipts: &mut Receipts, count: usize) -> Vec<OutputReceipt> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.extend(receipts.output.recv().await.unwrap());
    }
    taken
}

#[tokio::test]
async fn receipts_come_in_order_and_reading_pages_through() {
    let (_dir, store, mut receipts) = with_command().await;
    let bytes = [0, 0xff, b'\n', 0x80];
    for sequence in 1..=2000 {
        store.output().append(chunk("c", 1, sequence, &bytes)).await.unwrap();
    }
    store.output().append(chunk("c", 2, 1, b"second process")).await.unwrap();
    let taken = take(&mut receipts, 2001).await;
    assert!(taken.iter().all(|r| r.outcome.is_ok()));
    assert!(taken.is_sorted_by_key(|r| (r.incarnation, r.sequence)));
    assert_eq!(taken[1999].end, ByteOffset(8000));
    assert!(store.counters().commits < 1000, "chunks share transactions");

    let (mut cursor, mut read) = (None, Vec::new());
    loop {
        let id = CommandId::new("c");
        let page = store.reading().read(&user("u"), &id, None, cursor, 4000).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.iter().map(|c| c.body.byte_count()).sum::<usize>() <= 4000);
        cursor = Some((last.incarnation, last.sequence));
        read.extend(page);
    }
    assert_eq!(read.len(), 2001);
    assert_eq!(read[0], chunk("c", 1, 1, &bytes));
    assert_eq!(read[2000], chunk("c", 2, 1, b"second process"));
    assert!(read.is_sorted_by_key(|c| (c.incarnation, c.sequence)));
}

#[tokio::test]
async fn a_page_holds_at_least_one_chunk_and_never_those_of_another_user() {
    let (_dir, store, mut receipts) = with_command().await;
    store.output().append(chunk("c", 1, 1, &[7; 1000])).await.unwrap();
    store.output().append(chunk("c", 1, 2, &[8; 1000])).await.unwrap();
    take(&mut receipts, 2).await;
    let id = CommandId::new("c");
    assert_eq!(store.reading().read(&user("u"), &id, None, None, 1).await.unwrap().len(), 1);
    let after = Some((Incarnation(1), ChunkSequence(2)));
    assert!(store.reading().read(&user("u"), &id, None, after, 9999).await.unwrap().is_empty());
    assert!(store.reading().read(&user("v"), &id, None, None, 9999).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_second_copy_counts_as_stored_and_changes_nothing() {
    let (_dir, store, mut receipts) = with_command().await;
    store.output().append(chunk("c", 1, 1, b"first")).await.unwrap();
    store.output().append(chunk("c", 1, 1, b"other")).await.unwrap();
    let taken = take(&mut receipts, 2).await;
    assert!(taken.iter().all(|r| r.outcome.is_ok()), "{taken:?}");
    let read =
        store.reading().read(&user("u"), &CommandId::new("c"), None, None, 100).await.unwrap();
    assert_eq!(read, [chunk("c", 1, 1, b"first")]);
}

#[tokio::test]
async fn a_refused_chunk_is_told_and_the_others_are_stored() {
    let (dir, store, mut receipts) = with_command().await;
    let lock = HeldLock::take(dir.path());
    let mut out_of_range = chunk("c", 1, 2, b"range");
    out_of_range.offset = ByteOffset(u64::MAX);
    for chunk in [
        chunk("c", 1, 1, b"one"),
        chunk("unknown", 1, 1, b"orphan"),
        out_of_range,
        chunk("c", 1, 3, b"three"),
    ] {
        store.output().append(chunk).await.unwrap();
    }
    lock.release();
    let taken = take(&mut receipts, 4).await;
    let stored: Vec<_> = taken.iter().map(|r| r.outcome.is_ok()).collect();
    assert_eq!(stored, [true, false, false, true]);
    assert!(matches!(taken[1].outcome, Err(StoreError::Refused(_))), "{:?}", taken[1]);
    let read =
        store.reading().read(&user("u"), &CommandId::new("c"), None, None, 100).await.unwrap();
    let hole = StoredRecord {
        offset: ByteOffset(3),
        body: StoredBody::Gap { length: Some(7), because: GapCause::NeverCame },
        ..chunk("c", 1, 3, b"three")
    };
    assert_eq!(read, [chunk("c", 1, 1, b"one"), hole, chunk("c", 1, 3, b"three")]);
    assert_eq!(store.counters().refused, 2);
}

#[tokio::test]
async fn the_end_of_a_command_is_stored_behind_its_output() {
    let (dir, store, _receipts) = with_command().await;
    let lock = HeldLock::take(dir.path());
    for sequence in 1..=1500 {
        store.output().append(chunk("c", 1, sequence, b"x")).await.unwrap();
    }
    let end = CommandUpdate {
        status: "completed".to_owned(),
        cause: None,
        exit_code: Some(0),
        signal: None,
        at: at(9),
        ended: true,
    };
    let (owner, id) = (user("u"), CommandId::new("c"));
    let mut ending = Box::pin(store.commands().update(&owner, &id, end));
    assert!(futures::poll!(&mut ending).is_pending());
    lock.release();
    assert!(ending.await.unwrap());
    let read =
        store.reading().read(&user("u"), &CommandId::new("c"), None, None, 9999).await.unwrap();
    assert_eq!(read.len(), 1500);
}

#[tokio::test]
async fn what_is_stored_of_a_stream_is_whole_whatever_comes() {
    let (_dir, store, mut receipts) = with_command().await;
    let record_at = |offset, sequence, body| StoredRecord {
        offset: ByteOffset(offset),
        body,
        ..chunk("c", 1, sequence, b"")
    };
    let bytes = |b: &'static [u8]| StoredBody::Chunk(b.into());
    let open = StoredBody::Gap { length: None, because: GapCause::AgentDied };
    for record in [
        record_at(0, 1, bytes(b"abc")),
        record_at(1, 2, bytes(b"bcde")),
        record_at(5, 3, open.clone()),
        record_at(5, 4, open.clone()),
    ] {
        store.output().append(record).await.unwrap();
    }
    take(&mut receipts, 4).await;
    let id = CommandId::new("c");
    let read = store.reading().read(&user("u"), &id, None, None, 100).await.unwrap();
    let overlap = record_at(3, 2, bytes(b"de"));
    assert_eq!(read, [record_at(0, 1, bytes(b"abc")), overlap, record_at(5, 3, open)]);
    let position = store.streams().positions(&user("u"), vec![id.clone()]).await.unwrap().remove(0);
    assert_eq!((position.committed, position.delivered), (ByteOffset(5), 5));
    assert_eq!(position.open_gap, Some(GapCause::AgentDied));

    // It continues anyway: nothing was missing at that position.
    store.output().append(record_at(5, 5, bytes(b"f"))).await.unwrap();
    take(&mut receipts, 1).await;
    let read = store.reading().read(&user("u"), &id, None, None, 100).await.unwrap();
    assert_eq!(read.len(), 3);
    assert_eq!(read[2], record_at(5, 5, bytes(b"f")));
    let position = store.streams().positions(&user("u"), vec![id.clone()]).await.unwrap().remove(0);
    assert_eq!((position.committed, position.open_gap), (ByteOffset(6), None));

    let end = store.reading().end(&user("u"), &id).await.unwrap();
    assert_eq!(end, Some((Incarnation(1), ChunkSequence(5))));
    let tail = store.reading().tail(&user("u"), &id, 3).await.unwrap();
    assert_eq!(tail, Some((Incarnation(1), ChunkSequence(1))));
    let (owner, record_at) = (user("u"), ByteOffset(4));
    let at = store
        .reading()
        .cursor(&owner, &id, Incarnation(1), Stream::Stdout, record_at)
        .await
        .unwrap();
    assert_eq!(at, Some((Incarnation(1), ChunkSequence(1))));
}

/// Neighbours of one stream are written in one go; what is refused among them is found anyway.
#[tokio::test]
async fn of_neighbours_in_one_transaction_each_has_an_outcome_of_its_own() {
    let (dir, store, mut receipts) = with_command().await;
    let lock = HeldLock::take(dir.path());
    let of = |stream, sequence, offset, bytes| StoredRecord {
        stream,
        offset: ByteOffset(offset),
        ..chunk("c", 1, sequence, bytes)
    };
    let mut refused = of(Stream::Stdout, 3, 2, b"c");
    refused.sequence = ChunkSequence(u64::MAX);
    for record in [
        of(Stream::Stdout, 1, 0, b"a"),
        of(Stream::Stdout, 2, 1, b"b"),
        refused,
        of(Stream::Stdout, 4, 3, b"d"),
        of(Stream::Stderr, 5, 0, b"e"),
        of(Stream::Stderr, 5, 0, b"e"),
        of(Stream::Stderr, 6, 1, b"f"),
        of(Stream::Stdout, 7, 4, b"g"),
    ] {
        store.output().append(record).await.unwrap();
    }
    lock.release();
    let taken = take(&mut receipts, 8).await;
    let stored: Vec<_> = taken.iter().map(|r| r.outcome.is_ok()).collect();
    assert_eq!(stored, [true, true, false, true, true, true, true, true]);
    let positions = store.streams().positions(&user("u"), vec![CommandId::new("c")]).await.unwrap();
    let mut sums: Vec<_> =
        positions.iter().map(|p| (p.stream, p.committed.0, p.delivered, p.gaps)).collect();
    sums.sort();
    assert_eq!(sums, [(Stream::Stdout, 5, 4, 1), (Stream::Stderr, 2, 2, 0)]);
    let read =
        store.reading().read(&user("u"), &CommandId::new("c"), None, None, 99).await.unwrap();
    let kept: Vec<u8> = read
        .iter()
        .filter_map(|r| match &r.body {
            StoredBody::Chunk(bytes) => bytes.first().copied(),
            StoredBody::Gap { .. } => None,
        })
        .collect();
    assert_eq!(kept, b"abdefg");
}

/// Of two commands and both streams of each, as they come from one user.
#[tokio::test]
async fn chunks_that_came_together_share_a_row_and_are_read_one_by_one() {
    let (dir, store, mut receipts) = with_command().await;
    let agent = store.agents().list(None).await.unwrap().remove(0).agent;
    store.commands().insert(command(&agent, "d")).await.unwrap();
    let lock = HeldLock::take(dir.path());
    let mut sent = Vec::new();
    for n in 0..200_u64 {
        for id in ["c", "d"] {
            let stream = if n % 3 == 0 { Stream::Stderr } else { Stream::Stdout };
            let offset = if n % 3 == 0 { n / 3 } else { n - n / 3 - 1 };
            let offset = ByteOffset(offset * 4);
            sent.push(StoredRecord { stream, offset, ..chunk(id, 7, n + 1, b"abcd") });
        }
    }
    for record in &sent {
        store.output().append(record.clone()).await.unwrap();
    }
    lock.release();
    let taken = take(&mut receipts, 400).await;
    assert!(taken.iter().all(|receipt| receipt.outcome.is_ok() && !receipt.is_gap));
    let of_command = |id: &str| -> Vec<StoredRecord> {
        sent.iter().filter(|record| record.command.as_str() == id).cloned().collect()
    };
    let read = async |id: &str| {
        store.reading().read(&user("u"), &CommandId::new(id), None, None, 9999).await.unwrap()
    };
    for id in ["c", "d"] {
        assert_eq!(read(id).await, of_command(id));
    }
    let count = |table: &str| -> i64 {
        let count = format!("SELECT count(*) FROM {table}");
        beside(dir.path()).query_row(&count, [], |row| row.get(0)).unwrap()
    };
    // Those before the lock was seen, and the rest.
    assert!(count("output_segments") <= 4, "{}", count("output_segments"));
    assert_eq!((count("output_singles"), count("output_records")), (0, 400));
    // As a version before has left it, and what comes now.
    let explode =
        "INSERT INTO output_singles SELECT * FROM output_records; DELETE FROM output_segments";
    beside(dir.path()).execute_batch(explode).unwrap();
    let more = StoredRecord { offset: ByteOffset(532), ..chunk("c", 7, 201, b"abcd") };
    store.output().append(more.clone()).await.unwrap();
    take(&mut receipts, 1).await;
    let all: Vec<_> = of_command("c").into_iter().chain([more]).collect();
    assert_eq!(read("c").await, all);
}
