//! What waits to be written, and its bounds. Callers put in, the writer takes out a batch at a
//! time; neither ever holds the lock while it waits for anything else.
//!
//! Three lanes: stops and revocations (`Orders`) go first; sessions, presence and new commands
//! (`Control`) are not delayed by output (`Data`). Within a lane users take turns, and what one user
//! asked for keeps its order. Heartbeats have no lane: see [`Beats`]. When a batch is taken is decided in `pace`.

use super::beats::{Beats, HeartbeatRow};
use super::error::StoreError;
use super::line::{Lane, Line, QueuedWrite, Routing};
use super::pace::{Due, Pace, Waiting};
use super::reader::Asker;
use super::request::Request;
use super::reserve;
use super::reserve_shares::ReserveShares;
use crate::bounds::{Turn, TurnLimits, Turns};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Room of a lane is counted in these many bytes; each request takes one unit for itself.
pub(crate) const UNIT: usize = 1024;
/// Room for orders: 1 MiB, or 1,024 requests.
pub(crate) const ORDER_UNITS: usize = 1024;
/// Room for other calls: 4 MiB, or 4,096 requests.
pub(crate) const CONTROL_UNITS: usize = 4 * 1024;
/// Room for data: 8 MiB, or 8,192 chunks. At 20 MB/s of disk this is less than half a second.
pub(crate) const DATA_UNITS: usize = 8 * 1024;
/// A user has at most as much of the room as is left free: half of it alone, and something is free for others.
const WEIGHT: usize = 1;
/// Requests of one user that may wait for room, and bytes in them: what a fleet may ask for at once.
pub(crate) const WAITING: usize = 16 * 1024;
pub(crate) const WAITING_BYTES: usize = 64 << 20;

/// How long the writer rests while the disk is full; then it looks for room.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(1);

/// Whether there is room on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disk {
    Ample,
    /// Only the reserve is left.
    Scarce,
}

/// What one transaction writes.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) beats: Beats,
    pub(super) requests: Vec<QueuedWrite>,
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
    waiting: Waiting,
    pace: Pace,
    /// Until when the writer sleeps, if it does.
    asleep: Option<Due>,
    /// Who has used how much of the reserve.
    reserve: ReserveShares,
    /// Set by closing: from then on nothing new is taken, and what is in the queue has until then.
    give_up: Option<Instant>,
}

impl Queue {
    pub(super) fn new() -> Self {
        let room = |slots| {
            Turns::new(TurnLimits {
                slots,
                each: slots,
                weight: WEIGHT,
                waiting: WAITING,
                waiting_bytes: WAITING_BYTES,
            })
        };
        Self {
            state: Mutex::new(State {
                reserve: ReserveShares::new(reserve::BYTES),
                ..State::default()
            }),
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
    pub(super) fn push(&self, routing: Routing, request: Request) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.give_up.is_some() {
            return Err(StoreError::Closed);
        }
        state.push(QueuedWrite { routing, request });
        if state.wakes() {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Puts requests back that were taken out, in front of all that waits, in the order in which they were
    /// taken.
    pub(super) fn put_back(&self, requests: Vec<QueuedWrite>) {
        let mut state = self.lock();
        for queued in requests.into_iter().rev() {
            state.waiting.add(&queued, Instant::now);
            state.line(queued.routing.lane).push_front(queued);
        }
    }

    /// Puts a heartbeat in, instead of an older one of the same agent.
    pub(super) fn beat(&self, beat: HeartbeatRow) {
        let mut state = self.lock();
        if state.give_up.is_some() {
            tracing::debug!(agent = %beat.agent, sequence = %beat.sequence,
                "a heartbeat came after the store was closed");
            return;
        }
        state.waiting.beat(Instant::now);
        state.beats.absorb(beat);
        if state.wakes() {
            self.changed.notify_one();
        }
    }

    /// The next batch, as soon as it is due; `None` when closed and empty. While the disk is full what
    /// needs room stays, and an empty batch comes each second: time to look for room.
    pub(super) fn next_batch(&self, disk: Disk) -> Option<Batch> {
        let began = Instant::now();
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if disk == Disk::Ample
                && let Due::At(at) = state.due()
                && at > now
            {
                state = self.sleep(state, Due::At(at), Some(at - now));
                continue;
            }
            let batch = state.take_batch(disk);
            if batch.len() > 0 {
                return Some(batch);
            }
            let is_empty = state.orders.len() + state.control.len() + state.data.len() == 0;
            if let Some(give_up) = state.give_up
                && (is_empty || give_up <= Instant::now())
            {
                return None;
            }
            state = match disk {
                Disk::Ample => self.sleep(state, Due::Never, None),
                Disk::Scarce => {
                    let left = LOOK_FOR_ROOM.saturating_sub(began.elapsed());
                    if left.is_zero() {
                        return Some(batch);
                    }
                    self.sleep(state, Due::Never, Some(left))
                }
            };
        }
    }

    /// Sleeps so long, or until something is due before `until`, or may be.
    fn sleep<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        until: Due,
        longest: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        state.asleep = Some(until);
        let mut state = match longest {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(longest) => {
                let waited = self.changed.wait_timeout(state, longest);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.asleep = None;
        state
    }

    /// What only records waits no longer than this.
    pub(super) fn gather_within(&self, longest: Duration) {
        self.lock().pace.gather_within(longest);
    }

    /// What waits now and needs no room, without waiting for any.
    pub(super) fn take_small(&self) -> Batch {
        self.lock().take_batch(Disk::Scarce)
    }

    /// The reserve has this many bytes, of which nothing is used.
    pub(super) fn has_reserve(&self, bytes: u64) {
        self.lock().reserve = ReserveShares::new(bytes);
    }

    /// These were written out of the reserve.
    pub(super) fn charge(&self, written: &[QueuedWrite]) {
        let mut state = self.lock();
        for queued in written.iter().filter(|placed| !placed.request.is_refused()) {
            state.reserve.charge(&queued.routing.asker);
        }
    }

    /// The reserve is whole again: what waited because its user had used up its share is written.
    pub(super) fn reserve_restored(&self) {
        let mut state = self.lock();
        state.reserve.reset();
        for lane in [Lane::Orders, Lane::Control, Lane::Data] {
            state.line(lane).wake_all();
        }
    }

    /// Adds the beats that came meanwhile.
    pub(super) fn refresh(&self, beats: &mut Beats) {
        let mut state = self.lock();
        let later = std::mem::take(&mut state.beats);
        let _ = state.waiting.took(&[], Instant::now);
        drop(state);
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
        left.beats.len() + left.orders.len() + left.control.len() + left.data.len()
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

    fn push(&mut self, queued: QueuedWrite) {
        self.waiting.add(&queued, Instant::now);
        self.line(queued.routing.lane).push(queued);
    }

    /// When the next batch is to be taken. A store that is closed waits for no company.
    fn due(&self) -> Due {
        match self.give_up {
            Some(_) => Due::Now,
            None => self.pace.due(&self.waiting),
        }
    }

    /// Whether the writer must be woken, once.
    fn wakes(&mut self) -> bool {
        let due = self.due();
        match self.asleep {
            Some(until) if due < until => {
                self.asleep = Some(due);
                true
            }
            Some(_) | None => false,
        }
    }

    fn take_batch(&mut self, disk: Disk) -> Batch {
        let mut batch = Batch { beats: std::mem::take(&mut self.beats), requests: Vec::new() };
        match disk {
            Disk::Ample => {
                for line in [&mut self.orders, &mut self.control, &mut self.data] {
                    line.take(&mut batch.requests, None);
                }
            }
            Disk::Scarce => {
                self.orders.take(&mut batch.requests, Some(&self.reserve));
                self.control.take(&mut batch.requests, Some(&self.reserve));
                self.data.take_small(&mut batch.requests, &self.reserve);
            }
        }
        let now = Instant::now();
        let answers = self.waiting.took(&batch.requests, || now);
        if batch.len() > 0 {
            self.pace.began(now, answers);
        }
        batch
    }
}

#[cfg(test)]
mod tests;
