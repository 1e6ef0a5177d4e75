//! The cable between two ends: two lanes of frames, and what can happen to them.

use crate::link::LinkEnd;
use bytes::Bytes;
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason};
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A way along a cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the first end (the dialling one) to the second.
    FirstToSecond,
    /// From the second end (the listening one) to the first.
    SecondToFirst,
}

impl Direction {
    /// Both directions.
    pub const ALL: [Self; 2] = [Self::FirstToSecond, Self::SecondToFirst];

    pub(super) const fn back(self) -> Self {
        match self {
            Self::FirstToSecond => Self::SecondToFirst,
            Self::SecondToFirst => Self::FirstToSecond,
        }
    }
}

/// What travels.
#[derive(Debug)]
pub(super) enum Wire {
    Text(String),
    Binary(Bytes),
    Ping,
    Pong,
    Close(CloseCause),
}

/// One direction, and the sender's view of its end.
#[derive(Debug, Default)]
pub(super) struct Lane {
    queue: VecDeque<Wire>,
    frozen: bool,
    /// A pong is due at the sending end. Carried beside the queue, so that pings cannot fill it.
    pong: bool,
    /// The sending end has closed, with this.
    pub(super) closed: Option<CloseCause>,
    /// The sending end was dropped; what is queued still arrives.
    sender_closed: bool,
    /// The receiving end is closed; nothing will ever be read.
    receiver_closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Lane {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

#[derive(Debug)]
pub(super) struct State {
    capacity: usize,
    cut: bool,
    there: Lane,
    back: Lane,
}

impl State {
    pub(super) fn lane(&mut self, direction: Direction) -> &mut Lane {
        match direction {
            Direction::FirstToSecond => &mut self.there,
            Direction::SecondToFirst => &mut self.back,
        }
    }

    fn torn(&self) -> Option<LinkEnd> {
        self.cut.then(|| LinkEnd::broken(Breakage::Reset, "the cable was cut"))
    }

    /// The next frame that arrives by `direction`.
    pub(super) fn poll_next(
        &mut self,
        direction: Direction,
        cx: &Context<'_>,
    ) -> Poll<Result<Wire, LinkEnd>> {
        if let Some(end) = self.torn() {
            return Poll::Ready(Err(end));
        }
        let lane = self.lane(direction);
        if !lane.frozen {
            if lane.pong {
                lane.pong = false;
                return Poll::Ready(Ok(Wire::Pong));
            }
            if let Some(wire) = lane.queue.pop_front() {
                if let Some(writer) = lane.writer.take() {
                    writer.wake();
                }
                return Poll::Ready(Ok(wire));
            }
            if lane.sender_closed {
                return Poll::Ready(Err(LinkEnd::broken(Breakage::EndOfStream, "")));
            }
        }
        lane.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Puts `wire` on the way, as soon as there is room.
    pub(super) fn poll_put(
        &mut self,
        direction: Direction,
        wire: &mut Option<Wire>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), LinkEnd>> {
        if let Some(end) = self.torn() {
            return Poll::Ready(Err(end));
        }
        let capacity = self.capacity;
        let lane = self.lane(direction);
        if let Some(cause) = lane.closed {
            return Poll::Ready(Err(LinkEnd {
                reason: CloseReason::local(cause),
                detail: String::new(),
            }));
        }
        if lane.receiver_closed {
            return Poll::Ready(Err(LinkEnd::broken(Breakage::Reset, "the other end is gone")));
        }
        if lane.queue.len() >= capacity {
            lane.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if let Some(Wire::Close(cause)) = wire {
            lane.closed = Some(*cause);
        }
        lane.queue.extend(wire.take());
        if let Some(reader) = lane.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(()))
    }

    /// Answers a close frame, unless this end has closed before. The answer always finds room.
    pub(super) fn echo(&mut self, direction: Direction, cause: CloseCause) {
        let lane = self.lane(direction);
        if lane.closed.is_none() {
            lane.closed = Some(cause);
            lane.queue.push_back(Wire::Close(cause));
            lane.wake();
        }
    }

    /// Makes a pong due by `direction`.
    pub(super) fn pong(&mut self, direction: Direction) {
        let lane = self.lane(direction);
        lane.pong = true;
        if let Some(reader) = lane.reader.take() {
            reader.wake();
        }
    }

    /// The end that sends by `direction` was dropped.
    pub(super) fn hang_up(&mut self, direction: Direction) {
        let sending = self.lane(direction);
        sending.sender_closed = true;
        sending.wake();
        let receiving = self.lane(direction.back());
        receiving.receiver_closed = true;
        receiving.wake();
    }
}

/// The cable of one link, for tests: what happens to it happens to both ends. A clone is the same
/// cable.
#[derive(Clone)]
pub struct Cable {
    state: Arc<Mutex<State>>,
}

impl Cable {
    pub(super) fn new(capacity: usize) -> Self {
        let (there, back) = (Lane::default(), Lane::default());
        let state = State { capacity: capacity.max(1), cut: false, there, back };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts the cable: both ends see a reset, and what was on the way is lost.
    pub fn cut(&self) {
        let mut state = self.lock();
        state.cut = true;
        for direction in Direction::ALL {
            state.lane(direction).queue.clear();
            state.lane(direction).wake();
        }
    }

    /// Lets nothing arrive by `direction` any more. What is sent fills the lane, then the sender
    /// waits: a peer that closed one direction, or has stopped reading.
    pub fn freeze(&self, direction: Direction) {
        self.lock().lane(direction).frozen = true;
    }

    /// Freezes both directions.
    pub fn freeze_both(&self) {
        Direction::ALL.into_iter().for_each(|direction| self.freeze(direction));
    }

    /// Lets everything arrive again.
    pub fn thaw(&self) {
        let mut state = self.lock();
        for direction in Direction::ALL {
            state.lane(direction).frozen = false;
            state.lane(direction).wake();
        }
    }

    /// Whether both ends are still there and the cable is not cut.
    pub fn is_whole(&self) -> bool {
        let state = self.lock();
        !state.cut && !state.there.sender_closed && !state.back.sender_closed
    }

    /// Frames on the way by `direction`.
    pub fn on_the_way(&self, direction: Direction) -> usize {
        self.lock().lane(direction).queue.len()
    }
}

impl fmt::Debug for Cable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Cable")
            .field("cut", &state.cut)
            .field("there", &state.there.queue.len())
            .field("back", &state.back.queue.len())
            .finish_non_exhaustive()
    }
}
