//! What a handle and its pump share: two queues, the order to end, and whether the peer is read.
//!
//! One allocation, and of an idle link no other: a queue is there while something waits in it.

use super::PumpConfig;
use super::backlog::{LatestBeat, SharedBacklog};
use crate::link::Frame;
use futures::task::AtomicWaker;
use onsembl_protocol::close::CloseCause;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// How the pump was ordered to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// In order, with a farewell.
    Close(CloseCause),
    /// At once.
    Abort(CloseCause),
}

/// What became of a frame that was to be queued.
#[derive(Debug)]
pub(super) enum Put {
    Queued,
    /// There is no room. Here it is again.
    Full(Frame),
    /// The link takes nothing any more.
    Closed,
}

/// What the pump is to do next.
#[derive(Debug)]
pub(super) enum Next {
    Control(Frame),
    Data(Frame),
    Flush,
    End(CloseCause),
}

#[derive(Debug)]
pub(super) struct Queues {
    state: Mutex<State>,
    pump: AtomicWaker,
    /// Data was taken or written, or the link takes nothing any more.
    less: Notify,
    pub(super) beat: LatestBeat,
    control_frames: usize,
    control_bytes: usize,
    data_frames: usize,
    data_bytes: usize,
    shared: Option<Arc<SharedBacklog>>,
    /// The other end, for logs.
    peer: Box<str>,
}

#[derive(Debug, Default)]
struct State {
    control: VecDeque<Frame>,
    data: VecDeque<Frame>,
    /// Bytes of frames that are not written.
    control_bytes: usize,
    data_bytes: usize,
    ending: Option<Ending>,
    is_paused: bool,
    /// Nothing is taken any more.
    is_closed: bool,
}

impl Queues {
    pub(super) fn new(
        config: &PumpConfig,
        shared: Option<Arc<SharedBacklog>>,
        peer: String,
    ) -> Self {
        Self {
            state: Mutex::default(),
            pump: AtomicWaker::new(),
            less: Notify::new(),
            beat: LatestBeat::default(),
            control_frames: config.control_queue.max(1),
            control_bytes: config.control_bytes,
            data_frames: config.data_queue.max(1),
            data_bytes: config.data_bytes.max(1),
            shared,
            peer: peer.into_boxed_str(),
        }
    }

    pub(super) fn peer(&self) -> &str {
        &self.peer
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever is woken by a change.
    pub(super) fn register(&self, pump: &Waker) {
        self.pump.register(pump);
    }

    /// Queues a control frame; `queued` is done before the pump can take it.
    pub(super) fn put_control(&self, frame: Frame, queued: impl FnOnce()) -> Put {
        let mut state = self.state();
        if state.is_closed {
            return Put::Closed;
        }
        if state.control.len() >= self.control_frames {
            return Put::Full(frame);
        }
        let (before, bytes) = (state.control_bytes, frame.len());
        // The first one is always taken: it may be larger than all that may wait behind it.
        let is_first = before == 0;
        let own = is_first || before.saturating_add(bytes) <= self.control_bytes;
        let all = self.shared.as_ref().is_none_or(|shared| shared.more(bytes) || is_first);
        if !(own && all) {
            if let Some(shared) = &self.shared {
                shared.less(bytes);
            }
            return Put::Full(frame);
        }
        state.control_bytes = before.saturating_add(bytes);
        queued();
        state.control.push_back(frame);
        drop(state);
        self.pump.wake();
        Put::Queued
    }

    /// Queues a data frame if fewer than may wait do, whatever their bytes.
    pub(super) fn put_data(&self, frame: Frame) -> Put {
        let mut state = self.state();
        if state.is_closed {
            return Put::Closed;
        }
        if state.data.len() >= self.data_frames {
            return Put::Full(frame);
        }
        state.data_bytes = state.data_bytes.saturating_add(frame.len());
        state.data.push_back(frame);
        drop(state);
        self.pump.wake();
        Put::Queued
    }

    /// Whether a data frame may be put behind those that wait.
    pub(super) fn has_room(&self) -> bool {
        let state = self.state();
        state.data.len() < self.data_frames && state.data_bytes < self.data_bytes
    }

    /// Completes when less data waits, or the link takes nothing any more, and forgets nothing of that from this call on.
    pub(super) fn less(&self) -> Notified<'_> {
        self.less.notified()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    /// The order to end. The first one counts, but an abort overrules a close.
    pub(super) fn end(&self, ending: Ending) {
        let mut state = self.state();
        match (state.ending, ending) {
            (None, _) | (Some(Ending::Close(_)), Ending::Abort(_)) => state.ending = Some(ending),
            (Some(Ending::Close(_)), Ending::Close(_)) | (Some(Ending::Abort(_)), _) => return,
        }
        drop(state);
        self.pump.wake();
    }

    pub(super) fn ending(&self) -> Option<Ending> {
        self.state().ending
    }

    pub(super) fn pause(&self) {
        self.state().is_paused = true;
    }

    pub(super) fn resume(&self) {
        self.state().is_paused = false;
        self.pump.wake();
    }

    /// Whether the peer is to be read. One that is not is read once the link ends, since that is how the end is noticed.
    pub(super) fn poll_may_read(&self) -> Poll<()> {
        let state = self.state();
        if state.is_paused && state.ending.is_none() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// What to write next, control first; a flush when nothing more is there, if something is unflushed.
    pub(super) fn poll_next(&self, is_unflushed: bool) -> Poll<Next> {
        let mut state = self.state();
        if let Some(Ending::Close(cause) | Ending::Abort(cause)) = state.ending {
            return Poll::Ready(Next::End(cause));
        }
        if let Some(frame) = state.control.pop_front() {
            return Poll::Ready(Next::Control(frame));
        }
        if let Some(frame) = state.data.pop_front() {
            drop(state);
            self.less.notify_waiters();
            return Poll::Ready(Next::Data(frame));
        }
        if is_unflushed {
            return Poll::Ready(Next::Flush);
        }
        (state.control, state.data) = (VecDeque::new(), VecDeque::new());
        Poll::Pending
    }

    /// A control frame was written.
    pub(super) fn less_control(&self, bytes: usize) {
        let mut state = self.state();
        state.control_bytes = state.control_bytes.saturating_sub(bytes);
        drop(state);
        if let Some(shared) = &self.shared {
            shared.less(bytes);
        }
    }

    /// A data frame was written.
    pub(super) fn less_data(&self, bytes: usize) {
        let mut state = self.state();
        state.data_bytes = state.data_bytes.saturating_sub(bytes);
        drop(state);
        self.less.notify_waiters();
    }

    /// Takes nothing any more; gives the control frames that still wait.
    pub(super) fn close(&self) -> VecDeque<Frame> {
        let mut state = self.state();
        state.is_closed = true;
        state.data = VecDeque::new();
        let control = std::mem::take(&mut state.control);
        drop(state);
        self.less.notify_waiters();
        control
    }
}

impl Drop for Queues {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        // What was not written by now never will be.
        if let Some(shared) = &self.shared {
            shared.less(state.control_bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(shared: &Arc<SharedBacklog>) -> Queues {
        let config =
            PumpConfig { control_bytes: 80, data_bytes: 10, data_queue: 2, ..PumpConfig::DEFAULT };
        Queues::new(&config, Some(Arc::clone(shared)), String::new())
    }

    fn takes(link: &Queues, bytes: usize) -> bool {
        matches!(link.put_control(Frame::Text("x".repeat(bytes)), || ()), Put::Queued)
    }

    #[test]
    fn what_waits_of_many_links_has_one_bound() {
        let shared = SharedBacklog::new(100);
        let (first, second) = (queues(&shared), queues(&shared));
        assert!(takes(&first, 80) && !takes(&first, 1), "its own bound");
        assert!(takes(&second, 15), "within the bound of both");
        assert!(!takes(&second, 15), "the bound of both");
        first.less_control(80);
        assert!(takes(&second, 15));
        assert!(takes(&first, 1000), "the first frame of a link is always taken");
        drop((first, second));
        assert_eq!(shared.bytes(), 0);
    }

    #[test]
    fn a_queue_is_there_while_something_waits_in_it() {
        let link = queues(&SharedBacklog::new(100));
        let capacity = || {
            let state = link.state();
            state.control.capacity() + state.data.capacity()
        };
        assert_eq!(capacity(), 0);
        assert!(takes(&link, 1));
        assert!(matches!(link.put_data(Frame::Ping), Put::Queued));
        assert!(capacity() > 0);
        for _ in 0..2 {
            assert!(matches!(link.poll_next(true), Poll::Ready(Next::Control(_) | Next::Data(_))));
        }
        assert!(matches!(link.poll_next(true), Poll::Ready(Next::Flush)));
        assert!(link.poll_next(false).is_pending());
        assert_eq!(capacity(), 0);
    }

    #[test]
    fn data_has_room_by_frames_and_by_bytes() {
        let link = queues(&SharedBacklog::new(100));
        assert!(matches!(link.put_data(Frame::Text("x".repeat(10))), Put::Queued));
        assert!(!link.has_room(), "its bytes wait");
        let Poll::Ready(Next::Data(frame)) = link.poll_next(false) else { panic!() };
        assert!(!link.has_room(), "its bytes are not written");
        link.less_data(frame.len());
        assert!(link.has_room());
        for _ in 0..2 {
            assert!(matches!(link.put_data(Frame::Ping), Put::Queued));
        }
        assert!(!link.has_room());
        assert!(matches!(link.put_data(Frame::Ping), Put::Full(Frame::Ping)));
        let _ = link.close();
        assert!(matches!(link.put_data(Frame::Ping), Put::Closed));
    }
}
