//! Bounds, turns and order of what waits.

use super::super::budget::Terms;
use super::super::line::{BATCH_OUTPUT, BATCH_REQUESTS, Needs, TURN_REQUESTS, Waits};
use super::super::output::StoredRecord;
use super::super::request::{Asked, QueuedRecord};
use super::*;
use bytes::Bytes;
use futures::FutureExt;
use onsembl_protocol::fleet::StoredBody;
use onsembl_protocol::id::{ByteOffset, ChunkSequence, CommandId, Incarnation, UserId};
use onsembl_protocol::model::Stream;
use onsembl_protocol::time::WallTime;
use std::collections::HashMap;

const TERMS: Terms = Terms { budget: u64::MAX, kept_from: WallTime::from_unix_millis(0) };

async fn put_chunk(queue: &Queue, length: usize) {
    put_chunk_of(queue, "u", "c", length).await;
}

fn asker(user: &str) -> Asker {
    Asker::User(UserId::new(user))
}

fn routing(lane: Lane, user: &str, needs: Needs) -> Routing {
    Routing { lane, asker: asker(user), needs, waits: Waits::ForIt }
}

async fn put_chunk_of(queue: &Queue, user: &str, command: &str, length: usize) {
    let permit = queue.room(Lane::Data, &asker(user), length).await.unwrap();
    push_chunk(queue, user, command, length, Some(permit));
}

fn push_chunk(
    queue: &Queue,
    user: &str,
    command: &str,
    length: usize,
    permit: Option<Turn<Asker>>,
) {
    let command = CommandId::new(command);
    let routing = routing(Lane::Data, user, Needs::Room(command.clone()));
    let chunk = StoredRecord {
        user: UserId::new(user),
        command,
        incarnation: Incarnation(1),
        sequence: ChunkSequence(1),
        stream: Stream::Stdout,
        offset: ByteOffset(0),
        body: StoredBody::Chunk(Bytes::from(vec![0; length])),
        at: WallTime::default(),
    };
    queue
        .push(routing, Request::Output(Box::new(QueuedRecord::new(chunk, TERMS, permit))))
        .unwrap();
}

async fn put_call(queue: &Queue, lane: Lane) {
    put(queue, routing(lane, "u", Needs::Little)).await;
}

async fn put(queue: &Queue, routing: Routing) {
    let permit = queue.room(Lane::Control, &routing.asker, 0).await.unwrap();
    let (request, _) = Asked::request("nothing", Some(permit), |_: &rusqlite::Connection| Ok(()));
    queue.push(routing, request).unwrap();
}

fn push_call(queue: &Queue, routing: Routing) {
    let (request, _) = Asked::request("nothing", None, |_: &rusqlite::Connection| Ok(()));
    queue.push(routing, request).unwrap();
}

fn next(queue: &Queue) -> Batch {
    queue.next_batch(Disk::Ample).unwrap()
}

fn askers(batch: &Batch) -> Vec<Asker> {
    batch.requests.iter().map(|queued| queued.routing.asker.clone()).collect()
}

#[tokio::test]
async fn a_batch_is_bounded_and_control_comes_first() {
    let queue = Queue::new();
    put_chunk(&queue, 1).await;
    for _ in 0..300 {
        put_call(&queue, Lane::Control).await;
    }
    put_call(&queue, Lane::Orders).await;
    let batch = next(&queue);
    assert_eq!(batch.requests.len(), 258);
    assert_eq!(batch.requests.first().unwrap().routing.lane, Lane::Orders);
    let last = batch.requests.last().unwrap();
    assert!(matches!(last.request, Request::Output(_)), "data is not starved");
    assert_eq!(next(&queue).requests.len(), 44);
}

#[tokio::test]
async fn a_batch_holds_a_megabyte_of_output_or_one_chunk() {
    let queue = Queue::new();
    for length in [BATCH_OUTPUT + 1, BATCH_OUTPUT / 2, BATCH_OUTPUT / 2, 1] {
        put_chunk(&queue, length).await;
    }
    let sizes: Vec<_> = (0..3).map(|_| next(&queue).requests.len()).collect();
    assert_eq!(sizes, [1, 2, 1]);
}

#[tokio::test]
async fn users_take_turns_within_a_batch() {
    let queue = Queue::new();
    for _ in 0..2000 {
        put(&queue, routing(Lane::Data, "heavy", Needs::Little)).await;
    }
    put(&queue, routing(Lane::Data, "light", Needs::Little)).await;
    let batch = next(&queue);
    assert_eq!(batch.requests.len(), BATCH_REQUESTS);
    let at = askers(&batch).iter().position(|of| *of == asker("light"));
    assert_eq!(at, Some(TURN_REQUESTS), "behind one run of the other, not behind 2,000");
}

#[tokio::test]
async fn what_one_user_has_to_write_is_not_in_front_of_all_that_others_have() {
    let queue = Queue::new();
    for _ in 0..6 {
        push_chunk(&queue, "u", "c", BATCH_OUTPUT, None);
    }
    put(&queue, routing(Lane::Data, "another", Needs::Little)).await;
    for _ in 0..1000 {
        put_call(&queue, Lane::Control).await;
    }
    put(&queue, routing(Lane::Control, "another", Needs::Little)).await;
    let batch = next(&queue);
    assert_eq!(batch.requests.len(), BATCH_REQUESTS + 1, "a chunk is all that fits");
    let _ = next(&queue);
    let rest = next(&queue);
    // Both of the other's are written by now, and most of what was there before them is not.
    assert!(rest.requests.len() > 1);
    let state = queue.lock();
    let another = asker("another");
    assert!(!state.control.has_any_of(&another) && !state.data.has_any_of(&another));
    assert!(state.control.len() > 200 && state.data.len() > 2);
}

#[tokio::test]
async fn a_full_lane_makes_callers_wait_until_a_batch_is_answered() {
    const MIB: usize = 1024 * 1024;
    let queue = Queue::new();
    for _ in 0..3 {
        put_chunk(&queue, MIB).await;
    }
    let room = |user: &'static str| {
        let queue = &queue;
        async move { queue.room(Lane::Data, &asker(user), MIB).await }
    };
    assert!(room("u").now_or_never().is_none(), "one user has half of it");
    assert!(room("other").now_or_never().is_some(), "there is room for others");
    let control = queue.room(Lane::Control, &asker("u"), 1).now_or_never();
    assert!(control.is_some(), "control has its own room");
    let batch = next(&queue);
    assert!(room("u").now_or_never().is_none(), "not yet written");
    drop(batch);
    assert!(room("u").now_or_never().is_some());
}

#[tokio::test]
async fn on_a_full_disk_what_needs_room_stays_and_what_must_not_overtake_it_too() {
    let queue = Queue::new();
    let command = |id: &str| CommandId::new(id);
    put_chunk_of(&queue, "u", "writes", 10).await;
    put(&queue, routing(Lane::Data, "u", Needs::Behind(command("writes")))).await;
    put(&queue, routing(Lane::Data, "u", Needs::Behind(command("quiet")))).await;
    put(&queue, routing(Lane::Data, "u", Needs::BehindAll)).await;
    put(&queue, routing(Lane::Data, "other", Needs::BehindAll)).await;
    put(&queue, routing(Lane::Control, "u", Needs::New)).await;
    let small = queue.next_batch(Disk::Scarce).unwrap();
    let mut needs: Vec<_> =
        small.requests.iter().map(|queued| queued.routing.needs.clone()).collect();
    needs.sort_by_key(|needs| format!("{needs:?}"));
    assert_eq!(needs, [Needs::Behind(command("quiet")), Needs::BehindAll, Needs::New]);
    let began = Instant::now();
    assert_eq!(queue.next_batch(Disk::Scarce).unwrap().len(), 0, "time to look for room");
    assert!(began.elapsed() >= LOOK_FOR_ROOM / 2);
    let rest = next(&queue).requests;
    let needs: Vec<_> = rest.iter().map(|queued| queued.routing.needs.clone()).collect();
    let writes = command("writes");
    assert_eq!(needs, [Needs::Room(writes.clone()), Needs::Behind(writes), Needs::BehindAll]);
}

#[tokio::test]
async fn users_take_turns_on_a_full_disk_too() {
    let queue = Queue::new();
    push_chunk(&queue, "waits", "c", 10, None);
    for user in ["heavy", "heavier"] {
        for _ in 0..500 {
            put(&queue, routing(Lane::Data, user, Needs::Little)).await;
        }
    }
    for _ in 0..8 {
        let batch = queue.next_batch(Disk::Scarce).unwrap();
        assert_eq!(batch.requests.len(), 2 * TURN_REQUESTS);
    }
    put(&queue, routing(Lane::Data, "light", Needs::Little)).await;
    let batch = queue.next_batch(Disk::Scarce).unwrap();
    assert!(askers(&batch).contains(&asker("light")));
}

#[tokio::test]
async fn on_a_full_disk_only_what_is_written_is_looked_at_however_much_waits() {
    let queue = Queue::new();
    for user in 0..50 {
        let user = format!("user {user}");
        push_chunk(&queue, &user, "c", 10, None);
        for _ in 0..200 {
            let behind = Needs::Behind(CommandId::new("c"));
            push_call(&queue, routing(Lane::Data, &user, behind));
        }
    }
    push_call(&queue, routing(Lane::Data, "light", Needs::Little));
    let batch = queue.next_batch(Disk::Scarce).unwrap();
    assert_eq!(askers(&batch), [asker("light")]);
    let looked_at = queue.lock().data.looked_at();
    assert!(looked_at <= 4, "{looked_at} of 10,051");
}

#[tokio::test]
async fn one_user_cannot_use_up_the_reserve() {
    let queue = Queue::new();
    queue.has_reserve(1 << 20);
    let mut written: HashMap<Asker, usize> = HashMap::new();
    let mut write_all = |queue: &Queue| {
        loop {
            let batch = queue.next_batch(Disk::Scarce).unwrap();
            if batch.requests.is_empty() {
                break;
            }
            queue.charge(&batch.requests);
            for of in askers(&batch) {
                *written.entry(of).or_default() += 1;
            }
        }
        written.clone()
    };
    for lane in [Lane::Orders, Lane::Control, Lane::Data] {
        for _ in 0..1000 {
            push_call(&queue, routing(lane, "loud", Needs::Little));
        }
    }
    let of_loud = write_all(&queue)[&asker("loud")];
    assert!((512..512 + 2 * BATCH_REQUESTS).contains(&of_loud), "half of it: {of_loud}");
    for n in 0..10 {
        let quiet = format!("quiet {n}");
        for lane in [Lane::Orders, Lane::Control, Lane::Data] {
            push_call(&queue, routing(lane, &quiet, Needs::Little));
        }
    }
    let written = write_all(&queue);
    assert_eq!(written[&asker("loud")], of_loud, "it waits");
    for n in 0..10 {
        assert_eq!(written[&asker(&format!("quiet {n}"))], 3);
    }
    queue.reserve_restored();
    let mut rest = 0;
    while rest < 3000 - of_loud {
        rest += next(&queue).requests.len();
    }
    let state = queue.lock();
    assert_eq!(state.orders.len() + state.control.len() + state.data.len(), 0);
}

#[tokio::test]
async fn what_is_put_back_keeps_its_order() {
    let queue = Queue::new();
    for id in ["1", "2", "3"] {
        put_chunk_of(&queue, "u", id, 1).await;
    }
    let batch = next(&queue);
    put_chunk_of(&queue, "u", "4", 1).await;
    queue.put_back(batch.requests);
    let ids: Vec<_> = next(&queue)
        .requests
        .iter()
        .map(|queued| match &queued.routing.needs {
            Needs::Room(command) => command.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn a_closed_queue_gives_out_what_it_has_and_takes_nothing() {
    let queue = Queue::new();
    put_call(&queue, Lane::Data).await;
    let permit = queue.room(Lane::Control, &asker("u"), 0).await.unwrap();
    queue.close(Instant::now() + Duration::from_secs(60));
    let (late, _) = Asked::request("late", Some(permit), |_: &rusqlite::Connection| Ok(()));
    let late = queue.push(routing(Lane::Control, "u", Needs::Little), late);
    assert!(matches!(late, Err(StoreError::Closed)));
    let room = queue.room(Lane::Data, &asker("u"), 1).await;
    assert!(matches!(room, Err(StoreError::Closed)));
    assert_eq!(next(&queue).len(), 1);
    assert!(queue.next_batch(Disk::Ample).is_none());
}
