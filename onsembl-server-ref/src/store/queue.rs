//! What waits to be written, and its bounds. Callers put in, the writer takes out a batch at a
//! time; neither ever holds the lock while it waits for anything else.
//!
//! Three lanes: stops and revocations (`Orders`) go first; sessions, presence and new commands
//! (`Control`) are not held up by output (`Data`). Within a lane users take turns, and what one user
//! asked for keeps its order. Heartbeats have no lane: see [`Beats`].

use super::beats::{Beats, HeartbeatRow};
use super::error::StoreError;
use super::reader::Asker;
use super::request::Request;
use crate::bounds::{Turn, TurnLimits, Turns};
use onsembl_protocol::id::{CommandId, UserId};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Room of a lane is counted in these many bytes; each request takes one unit for itself.
const UNIT: usize = 1024;
/// Room for orders: 1 MiB, or 1,024 requests.
const ORDER_UNITS: usize = 1024;
/// Room for other calls: 4 MiB, or 4,096 requests.
const CONTROL_UNITS: usize = 4 * 1024;
/// Room for data: 8 MiB, or 8,192 chunks. At 20 MB/s of disk this is less than half a second.
const DATA_UNITS: usize = 8 * 1024;
/// A user has at most as much of the room as is left free: half of it alone, and something is free for others.
const WEIGHT: usize = 1;
/// Requests of one user that may wait for room, and bytes in them: what a fleet may ask for at once.
const WAITING: usize = 16 * 1024;
const WAITING_BYTES: usize = 64 << 20;

/// Requests of one lane in one transaction, so that 768 in all.
const BATCH_REQUESTS: usize = 256;
/// Bytes of output in one transaction (one chunk may exceed it).
const BATCH_OUTPUT: usize = 1024 * 1024;
/// Requests and bytes of output of one user in a row; then the next user has its turn. Neighbours of one
/// stream are written in one go, so that single ones would cost much.
const RUN_REQUESTS: usize = 32;
const RUN_OUTPUT: usize = 128 * 1024;

/// How long the writer rests while the disk is full; then it looks for room.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(1);

/// Which requests may overtake which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Stops, releases, revocations: before everything else.
    Orders,
    /// Written before data.
    Control,
    /// Output, and what must not overtake it.
    Data,
}

/// What a request needs of the disk, and behind what it must stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Little: on a full disk it is written out of the reserve.
    Little,
    /// The same, but never before what waits of this command.
    Behind(CommandId),
    /// The same, but never before anything that waits of its user.
    BehindAll,
    /// Room for something new: on a full disk it is refused.
    New,
    /// Room: on a full disk it waits, and with it what must stay behind it.
    Room(CommandId),
}

/// Whether there is room on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disk {
    Ample,
    /// Only the reserve is left.
    Scarce,
}

/// Where a request stands.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) lane: Lane,
    pub(super) asker: Asker,
    pub(super) needs: Needs,
}

impl Place {
    /// An order of a user: before everything else.
    pub(super) const fn order(asker: Asker) -> Self {
        Self { lane: Lane::Orders, asker, needs: Needs::Little }
    }

    /// What is not held up by output.
    pub(super) fn control(user: &UserId, needs: Needs) -> Self {
        Self { lane: Lane::Control, asker: Asker::User(user.clone()), needs }
    }

    /// Output, and what must not overtake it.
    pub(super) fn data(user: &UserId, needs: Needs) -> Self {
        Self { lane: Lane::Data, asker: Asker::User(user.clone()), needs }
    }

    /// What keeps house: in turn with the output of users.
    pub(super) const fn house() -> Self {
        Self { lane: Lane::Data, asker: Asker::Server, needs: Needs::Little }
    }
}

/// A request in its place.
pub(super) struct Placed {
    pub(super) place: Place,
    pub(super) request: Request,
}

/// What one transaction writes.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) beats: Beats,
    pub(super) requests: Vec<Placed>,
}

impl Batch {
    /// Writes in it.
    pub(super) fn len(&self) -> usize {
        self.beats.len() + self.requests.len()
    }
}

pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    orders_room: Turns<Asker>,
    control_room: Turns<Asker>,
    data_room: Turns<Asker>,
}

#[derive(Default)]
struct State {
    beats: Beats,
    orders: Line,
    control: Line,
    data: Line,
    /// Set by closing: from then on nothing new is taken, and what is in the queue has until then.
    give_up: Option<Instant>,
}

/// One lane: what waits of each asker, and whose turn it is.
#[derive(Default)]
struct Line {
    of: HashMap<Asker, VecDeque<Placed>>,
    order: VecDeque<Asker>,
    len: usize,
}

impl Queue {
    pub(super) fn new() -> Self {
        let room = |places| {
            Turns::new(TurnLimits {
                places,
                weight: WEIGHT,
                waiting: WAITING,
                waiting_bytes: WAITING_BYTES,
            })
        };
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            orders_room: room(ORDER_UNITS),
            control_room: room(CONTROL_UNITS),
            data_room: room(DATA_UNITS),
        }
    }

    /// Waits for room for a request of `bytes` in `lane`, in turn with other users.
    ///
    /// # Errors
    /// [`StoreError::Crowded`] if too much of this user waits already, [`StoreError::Closed`].
    pub(super) async fn room(
        &self,
        lane: Lane,
        asker: &Asker,
        bytes: usize,
    ) -> Result<Turn<Asker>, StoreError> {
        let room = match lane {
            Lane::Orders => &self.orders_room,
            Lane::Control => &self.control_room,
            Lane::Data => &self.data_room,
        };
        Ok(room.take(asker, 1 + bytes / UNIT, bytes).await?)
    }

    /// Puts a request in.
    pub(super) fn push(&self, place: Place, request: Request) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.give_up.is_some() {
            return Err(StoreError::Closed);
        }
        state.line(place.lane).push(Placed { place, request });
        self.changed.notify_one();
        Ok(())
    }

    /// Puts requests back that were taken out, in front of all that waits, in the order in which they were
    /// taken.
    pub(super) fn put_back(&self, requests: Vec<Placed>) {
        let mut state = self.lock();
        for placed in requests.into_iter().rev() {
            state.line(placed.place.lane).push_front(placed);
        }
    }

    /// Puts a heartbeat in, in the place of an older one of the same agent.
    pub(super) fn beat(&self, beat: HeartbeatRow) {
        let mut state = self.lock();
        if state.give_up.is_some() {
            tracing::debug!(agent = %beat.agent, sequence = %beat.sequence,
                "a heartbeat came after the store was closed");
            return;
        }
        state.beats.absorb(beat);
        self.changed.notify_one();
    }

    /// The next batch, as soon as there is anything; `None` when closed and empty. While the disk is full what
    /// needs room stays, and an empty batch comes each second: time to look for room.
    pub(super) fn next_batch(&self, disk: Disk) -> Option<Batch> {
        let began = Instant::now();
        let mut state = self.lock();
        loop {
            let batch = state.take_batch(disk);
            if batch.len() > 0 {
                return Some(batch);
            }
            let is_empty = state.data.len == 0;
            if let Some(give_up) = state.give_up
                && (is_empty || give_up <= Instant::now())
            {
                return None;
            }
            state = match disk {
                Disk::Ample => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Disk::Scarce => {
                    let left = LOOK_FOR_ROOM.saturating_sub(began.elapsed());
                    if left.is_zero() {
                        return Some(batch);
                    }
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// What waits now and needs no room, without waiting for any.
    pub(super) fn take_small(&self) -> Batch {
        self.lock().take_batch(Disk::Scarce)
    }

    /// Adds the beats that came meanwhile.
    pub(super) fn refresh(&self, beats: &mut Beats) {
        let later = std::mem::take(&mut self.lock().beats);
        beats.absorb_all(later);
    }

    /// Waits before another attempt. Returns whether there may be one.
    pub(super) fn pause(&self, length: Duration) -> bool {
        let until = Instant::now() + length;
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let give_up = state.give_up;
            if give_up.is_some_and(|at| at <= now) {
                return false;
            }
            if until <= now {
                return true;
            }
            let wake = give_up.map_or(until, |at| at.min(until));
            let waited = self.changed.wait_timeout(state, wake.saturating_duration_since(now));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes nothing new from now on, and lets the writer try until `give_up`.
    pub(super) fn close(&self, give_up: Instant) {
        let mut state = self.lock();
        state.give_up = Some(state.give_up.map_or(give_up, |at| at.min(give_up)));
        self.changed.notify_all();
        drop(state);
        for room in [&self.orders_room, &self.control_room, &self.data_room] {
            room.close();
        }
    }

    /// Drops what is left, so that those who wait for it learn that the store is closed. Returns
    /// how many writes were left.
    pub(super) fn abandon(&self) -> usize {
        self.close(Instant::now());
        let mut state = self.lock();
        let closed = State { give_up: state.give_up, ..State::default() };
        let left = std::mem::replace(&mut *state, closed);
        drop(state);
        left.beats.len() + left.orders.len + left.control.len + left.data.len
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in a critical section can be left half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    const fn line(&mut self, lane: Lane) -> &mut Line {
        match lane {
            Lane::Orders => &mut self.orders,
            Lane::Control => &mut self.control,
            Lane::Data => &mut self.data,
        }
    }

    fn take_batch(&mut self, disk: Disk) -> Batch {
        let mut batch = Batch { beats: std::mem::take(&mut self.beats), requests: Vec::new() };
        self.orders.take(&mut batch.requests);
        self.control.take(&mut batch.requests);
        match disk {
            Disk::Ample => self.data.take(&mut batch.requests),
            Disk::Scarce => self.data.take_small(&mut batch.requests),
        }
        batch
    }
}

impl Line {
    fn push(&mut self, placed: Placed) {
        let own = self.of.entry(placed.place.asker.clone()).or_default();
        if own.is_empty() {
            self.order.push_back(placed.place.asker.clone());
        }
        own.push_back(placed);
        self.len += 1;
    }

    fn push_front(&mut self, placed: Placed) {
        let own = self.of.entry(placed.place.asker.clone()).or_default();
        if own.is_empty() {
            self.order.push_front(placed.place.asker.clone());
        }
        own.push_front(placed);
        self.len += 1;
    }

    /// Takes what one transaction writes of this lane: a run of each asker in turn.
    fn take(&mut self, batch: &mut Vec<Placed>) {
        let (mut count, mut output) = (0, 0);
        while count < BATCH_REQUESTS
            && let Some(asker) = self.order.pop_front()
        {
            let Some(own) = self.of.get_mut(&asker) else { continue };
            let (mut run, mut run_output) = (0, 0);
            while count < BATCH_REQUESTS
                && run < RUN_REQUESTS
                && run_output < RUN_OUTPUT
                && let Some(next) = own.front()
            {
                let length = next.request.output_len();
                if output > 0 && output + length > BATCH_OUTPUT {
                    // Its turn comes first in the next transaction.
                    self.order.push_front(asker);
                    return;
                }
                batch.extend(own.pop_front());
                (count, run, self.len) = (count + 1, run + 1, self.len - 1);
                (output, run_output) = (output + length, run_output + length);
            }
            if own.is_empty() {
                let _ = self.of.remove(&asker);
            } else {
                self.order.push_back(asker);
            }
        }
    }

    /// Takes what needs no room, and is behind nothing that does.
    fn take_small(&mut self, batch: &mut Vec<Placed>) {
        let before = batch.len();
        for own in self.of.values_mut() {
            let mut held = HashSet::new();
            for placed in std::mem::take(own) {
                let may_go = batch.len() - before < BATCH_REQUESTS
                    && match &placed.place.needs {
                        Needs::Little | Needs::New => true,
                        Needs::Behind(command) => !held.contains(command),
                        Needs::BehindAll => held.is_empty(),
                        Needs::Room(command) => {
                            let _ = held.insert(command.clone());
                            false
                        }
                    };
                if may_go {
                    batch.push(placed);
                } else {
                    own.push_back(placed);
                }
            }
        }
        self.len -= batch.len() - before;
        self.of.retain(|_, own| !own.is_empty());
        self.order.retain(|asker| self.of.contains_key(asker));
    }
}

#[cfg(test)]
mod tests {
    use super::super::budget::Terms;
    use super::super::output::StoredRecord;
    use super::super::request::{Asked, QueuedRecord};
    use super::*;
    use bytes::Bytes;
    use futures::FutureExt;
    use onsembl_protocol::fleet::StoredBody;
    use onsembl_protocol::id::{ByteOffset, ChunkSequence, Incarnation};
    use onsembl_protocol::model::Stream;
    use onsembl_protocol::time::WallTime;

    const TERMS: Terms = Terms { budget: u64::MAX, kept_from: WallTime::from_unix_millis(0) };

    async fn put_chunk(queue: &Queue, length: usize) {
        put_chunk_of(queue, "u", "c", length).await;
    }

    fn asker(user: &str) -> Asker {
        Asker::User(UserId::new(user))
    }

    fn place(lane: Lane, user: &str, needs: Needs) -> Place {
        Place { lane, asker: asker(user), needs }
    }

    async fn put_chunk_of(queue: &Queue, user: &str, command: &str, length: usize) {
        let permit = queue.room(Lane::Data, &asker(user), length).await.unwrap();
        let command = CommandId::new(command);
        let place = place(Lane::Data, user, Needs::Room(command.clone()));
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
        queue.push(place, Request::Output(QueuedRecord::new(chunk, TERMS, Some(permit)))).unwrap();
    }

    async fn put_call(queue: &Queue, lane: Lane) {
        put(queue, place(lane, "u", Needs::Little)).await;
    }

    async fn put(queue: &Queue, place: Place) {
        let permit = queue.room(Lane::Control, &place.asker, 0).await.unwrap();
        let (request, _) =
            Asked::request("nothing", Some(permit), |_: &rusqlite::Connection| Ok(()));
        queue.push(place, request).unwrap();
    }

    fn next(queue: &Queue) -> Batch {
        queue.next_batch(Disk::Ample).unwrap()
    }

    fn askers(batch: &Batch) -> Vec<Asker> {
        batch.requests.iter().map(|placed| placed.place.asker.clone()).collect()
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
        assert_eq!(batch.requests.first().unwrap().place.lane, Lane::Orders);
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
            put(&queue, place(Lane::Data, "heavy", Needs::Little)).await;
        }
        put(&queue, place(Lane::Data, "light", Needs::Little)).await;
        let batch = next(&queue);
        assert_eq!(batch.requests.len(), BATCH_REQUESTS);
        let at = askers(&batch).iter().position(|of| *of == asker("light"));
        assert_eq!(at, Some(RUN_REQUESTS), "behind one run of the other, not behind 2,000");
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
        put(&queue, place(Lane::Data, "u", Needs::Behind(command("writes")))).await;
        put(&queue, place(Lane::Data, "u", Needs::Behind(command("quiet")))).await;
        put(&queue, place(Lane::Data, "u", Needs::BehindAll)).await;
        put(&queue, place(Lane::Data, "other", Needs::BehindAll)).await;
        put(&queue, place(Lane::Control, "u", Needs::New)).await;
        let small = queue.next_batch(Disk::Scarce).unwrap();
        let mut needs: Vec<_> =
            small.requests.iter().map(|placed| placed.place.needs.clone()).collect();
        needs.sort_by_key(|needs| format!("{needs:?}"));
        assert_eq!(needs, [Needs::Behind(command("quiet")), Needs::BehindAll, Needs::New]);
        let began = Instant::now();
        assert_eq!(queue.next_batch(Disk::Scarce).unwrap().len(), 0, "time to look for room");
        assert!(began.elapsed() >= LOOK_FOR_ROOM / 2);
        let rest = next(&queue).requests;
        let needs: Vec<_> = rest.iter().map(|placed| placed.place.needs.clone()).collect();
        let writes = command("writes");
        assert_eq!(needs, [Needs::Room(writes.clone()), Needs::Behind(writes), Needs::BehindAll]);
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
            .map(|placed| match &placed.place.needs {
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
        let late = queue.push(place(Lane::Control, "u", Needs::Little), late);
        assert!(matches!(late, Err(StoreError::Closed)));
        let room = queue.room(Lane::Data, &asker("u"), 1).await;
        assert!(matches!(room, Err(StoreError::Closed)));
        assert_eq!(next(&queue).len(), 1);
        assert!(queue.next_batch(Disk::Ample).is_none());
    }
}
