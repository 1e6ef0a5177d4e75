//! What waits to be written, and its bounds. Callers put in, the writer takes out a batch at a
//! time; neither ever holds the lock while it waits for anything else.
//!
//! Two lanes: sessions, presence and new commands (`Control`) are not held up by output (`Data`).
//! Within a lane the order of each user's requests is kept, and users take turns. Heartbeats have no lane: see
//! [`Beats`].

use super::beats::{Beats, HeartbeatRow};
use super::error::StoreError;
use super::request::Request;
use onsembl_protocol::id::UserId;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room of a lane is counted in these many bytes; each request takes one unit for itself.
pub(crate) const UNIT: usize = 1024;
/// Room for control: 4 MiB, or 4,096 requests.
pub(crate) const CONTROL_UNITS: usize = 4 * 1024;
/// Room for data: 8 MiB, or 8,192 chunks. At 20 MB/s of disk this is less than half a second.
pub(crate) const DATA_UNITS: usize = 8 * 1024;

/// Requests of one lane in one transaction, so that 512 in all.
const BATCH_REQUESTS: usize = 256;
/// Bytes of output in one transaction (one chunk may exceed it).
const BATCH_OUTPUT: usize = 1024 * 1024;

/// What a user gets into a transaction in one turn: so many requests, and bytes of output (one chunk may exceed
/// it).
const TURN_REQUESTS: usize = 32;
const TURN_OUTPUT: usize = 128 * 1024;

/// Which requests may overtake which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Written before data.
    Control,
    /// Output, and what must not overtake it.
    Data,
}

impl Lane {
    /// The place of this user's requests in the lane.
    pub(super) fn of(self, user: &UserId) -> Place {
        Place { lane: self, of: Some(user.clone()) }
    }
}

/// Where a request is put. Those of one place are written in their order.
#[derive(Clone, Debug)]
pub(super) struct Place {
    lane: Lane,
    /// Whose turn it takes; those of nobody take turns like a user's.
    of: Option<UserId>,
}

impl From<Lane> for Place {
    fn from(lane: Lane) -> Self {
        Self { lane, of: None }
    }
}

/// Requests of a lane.
#[derive(Default)]
struct Waiting {
    of: HashMap<Option<UserId>, VecDeque<Request>>,
    /// Who has any, and whose turn is next.
    turns: VecDeque<Option<UserId>>,
}

impl Waiting {
    fn push(&mut self, of: Option<UserId>, request: Request) {
        let requests = self.of.entry(of.clone()).or_default();
        if requests.is_empty() {
            self.turns.push_back(of);
        }
        requests.push_back(request);
    }

    fn len(&self) -> usize {
        self.of.values().map(VecDeque::len).sum()
    }

    /// Takes from each in turn, until one transaction has enough.
    fn take(&mut self) -> Vec<Request> {
        let (mut taken, mut output) = (Vec::new(), 0);
        while taken.len() < BATCH_REQUESTS
            && let Some(of) = self.turns.pop_front()
        {
            let Some(requests) = self.of.get_mut(&of) else { continue };
            let (mut count, mut bytes) = (0, 0);
            while taken.len() < BATCH_REQUESTS
                && let Some(next) = requests.front()
            {
                let length = next.output_len();
                if !taken.is_empty() && output + length > BATCH_OUTPUT {
                    // Whoever had a turn is behind the others in the next transaction.
                    match count {
                        0 => self.turns.push_front(of),
                        _ => self.turns.push_back(of),
                    }
                    return taken;
                }
                if count == TURN_REQUESTS || count > 0 && bytes + length > TURN_OUTPUT {
                    break;
                }
                (count, bytes, output) = (count + 1, bytes + length, output + length);
                taken.extend(requests.pop_front());
            }
            if requests.is_empty() {
                let _ = self.of.remove(&of);
            } else {
                self.turns.push_back(of);
            }
        }
        taken
    }
}

/// What one transaction writes.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) beats: Beats,
    pub(super) requests: Vec<Request>,
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
    control_room: Arc<Semaphore>,
    data_room: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    beats: Beats,
    control: Waiting,
    data: Waiting,
    /// Set by closing: from then on nothing new is taken, and what is in the queue has until then.
    give_up: Option<Instant>,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            control_room: Arc::new(Semaphore::new(CONTROL_UNITS)),
            data_room: Arc::new(Semaphore::new(DATA_UNITS)),
        }
    }

    /// Waits for room for a request of `bytes` in `lane`, in the order of asking.
    pub(super) async fn room(
        &self,
        lane: Lane,
        bytes: usize,
    ) -> Result<OwnedSemaphorePermit, StoreError> {
        let (room, all) = match lane {
            Lane::Control => (&self.control_room, CONTROL_UNITS),
            Lane::Data => (&self.data_room, DATA_UNITS),
        };
        let units = u32::try_from((1 + bytes / UNIT).min(all)).unwrap_or(u32::MAX);
        Arc::clone(room).acquire_many_owned(units).await.map_err(|_| StoreError::Closed)
    }

    /// Puts a request in.
    pub(super) fn push(&self, place: impl Into<Place>, request: Request) -> Result<(), StoreError> {
        let Place { lane, of } = place.into();
        let mut state = self.lock();
        if state.give_up.is_some() {
            return Err(StoreError::Closed);
        }
        match lane {
            Lane::Control => state.control.push(of, request),
            Lane::Data => state.data.push(of, request),
        }
        self.changed.notify_one();
        Ok(())
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

    /// The next batch, as soon as there is anything; `None` when closed and empty.
    pub(super) fn next_batch(&self) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            let batch = state.take_batch();
            if batch.len() > 0 {
                return Some(batch);
            }
            if state.give_up.is_some() {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
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
        self.control_room.close();
        self.data_room.close();
    }

    /// Drops what is left, so that those who wait for it learn that the store is closed. Returns
    /// how many writes were left.
    pub(super) fn abandon(&self) -> usize {
        self.close(Instant::now());
        let mut state = self.lock();
        let closed = State { give_up: state.give_up, ..State::default() };
        let left = std::mem::replace(&mut *state, closed);
        drop(state);
        left.beats.len() + left.control.len() + left.data.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in a critical section can be left half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_batch(&mut self) -> Batch {
        let mut batch = Batch { beats: std::mem::take(&mut self.beats), requests: Vec::new() };
        batch.requests.extend(self.control.take());
        batch.requests.extend(self.data.take());
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::super::output::StoredRecord;
    use super::super::request::{Asked, QueuedRecord};
    use super::*;
    use bytes::Bytes;
    use futures::FutureExt;
    use onsembl_protocol::fleet::StoredBody;
    use onsembl_protocol::id::{ByteOffset, ChunkSequence, CommandId, Incarnation, UserId};
    use onsembl_protocol::model::Stream;
    use onsembl_protocol::time::WallTime;

    async fn put_chunk(queue: &Queue, length: usize) {
        let permit = queue.room(Lane::Data, length).await.unwrap();
        let chunk = StoredRecord {
            user: UserId::new("u"),
            command: CommandId::new("c"),
            incarnation: Incarnation(1),
            sequence: ChunkSequence(1),
            stream: Stream::Stdout,
            offset: ByteOffset(0),
            body: StoredBody::Chunk(Bytes::from(vec![0; length])),
            at: WallTime::default(),
        };
        let place = Lane::Data.of(&chunk.user);
        queue.push(place, Request::Output(QueuedRecord::new(chunk, permit))).unwrap();
    }

    async fn put_call(queue: &Queue, lane: impl Into<Place>) {
        let permit = queue.room(Lane::Control, 0).await.unwrap();
        let (request, _) = Asked::request("nothing", permit, |_: &rusqlite::Connection| Ok(()));
        queue.push(lane, request).unwrap();
    }

    #[tokio::test]
    async fn a_batch_is_bounded_and_control_comes_first() {
        let queue = Queue::new();
        put_chunk(&queue, 1).await;
        for _ in 0..300 {
            put_call(&queue, Lane::Control).await;
        }
        let batch = queue.next_batch().unwrap();
        assert_eq!(batch.requests.len(), 257);
        assert!(matches!(batch.requests.last(), Some(Request::Output(_))), "data is not starved");
        assert_eq!(queue.next_batch().unwrap().requests.len(), 44);
    }

    #[tokio::test]
    async fn a_batch_holds_a_megabyte_of_output_or_one_chunk() {
        let queue = Queue::new();
        for length in [BATCH_OUTPUT + 1, BATCH_OUTPUT / 2, BATCH_OUTPUT / 2, 1] {
            put_chunk(&queue, length).await;
        }
        let sizes: Vec<_> = (0..3).map(|_| queue.next_batch().unwrap().requests.len()).collect();
        assert_eq!(sizes, [1, 2, 1]);
    }

    #[tokio::test]
    async fn what_one_user_has_to_write_is_not_in_front_of_all_that_others_have() {
        let queue = Queue::new();
        for _ in 0..6 {
            put_chunk(&queue, BATCH_OUTPUT).await;
        }
        put_call(&queue, Lane::Data.of(&UserId::new("another"))).await;
        for _ in 0..1000 {
            put_call(&queue, Lane::Control.of(&UserId::new("u"))).await;
        }
        put_call(&queue, Lane::Control.of(&UserId::new("another"))).await;
        let batch = queue.next_batch().unwrap();
        assert_eq!(batch.requests.len(), BATCH_REQUESTS + 1, "a chunk is all that fits");
        let _ = queue.next_batch().unwrap();
        let rest = queue.next_batch().unwrap();
        // Both of the other's are written by now, and most of what was there before them is not.
        assert!(rest.requests.len() > 1);
        let state = queue.lock();
        let another = Some(UserId::new("another"));
        assert!(!state.control.of.contains_key(&another) && !state.data.of.contains_key(&another));
        assert!(state.control.len() > 200 && state.data.len() > 2);
    }

    #[tokio::test]
    async fn a_full_lane_makes_callers_wait_until_a_batch_is_answered() {
        let queue = Queue::new();
        for _ in 0..7 {
            put_chunk(&queue, 1024 * 1024).await;
        }
        assert!(queue.room(Lane::Data, 1024 * 1024).now_or_never().is_none());
        assert!(queue.room(Lane::Control, 1).now_or_never().is_some(), "control has its own room");
        let batch = queue.next_batch().unwrap();
        assert!(queue.room(Lane::Data, 1024 * 1024).now_or_never().is_none(), "not yet written");
        drop(batch);
        assert!(queue.room(Lane::Data, 1024 * 1024).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_closed_queue_gives_out_what_it_has_and_takes_nothing() {
        let queue = Queue::new();
        put_call(&queue, Lane::Data).await;
        let permit = queue.room(Lane::Control, 0).await.unwrap();
        queue.close(Instant::now() + Duration::from_secs(60));
        let (late, _) = Asked::request("late", permit, |_: &rusqlite::Connection| Ok(()));
        assert!(matches!(queue.push(Lane::Control, late), Err(StoreError::Closed)));
        assert!(matches!(queue.room(Lane::Data, 1).await, Err(StoreError::Closed)));
        assert_eq!(queue.next_batch().unwrap().len(), 1);
        assert!(queue.next_batch().is_none());
    }
}
