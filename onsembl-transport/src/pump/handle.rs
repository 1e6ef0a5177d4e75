//! The sending side of a pump: two queues and the order to end.

use super::backlog::WrittenAt;
use super::queues::{Ending, Put, Queues};
use crate::link::Frame;
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::id::LinkId;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use thiserror::Error;

/// The queue for control frames was full: the peer does not read. The link is being ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the peer does not read: the queue for control frames is full, and the link is ended")]
pub struct QueueFull;

/// The link has ended or is being closed. The frame was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the link has ended or is being closed")]
pub struct Closed;

/// A data frame was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TryDataError {
    /// No room now. Here is the frame again.
    #[error("the queue for data frames is full")]
    Full(Frame),
    /// The link has ended or is being closed.
    #[error("the link has ended or is being closed")]
    Closed,
}

/// The way to a link. Dropped, it closes the link with `GoingAway`.
#[derive(Debug)]
pub struct LinkHandle {
    id: LinkId,
    queues: Arc<Queues>,
    /// Control frames that were queued, counted around.
    queued: AtomicU32,
}

/// What a control frame is, as far as it is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Followed {
    No,
    Heartbeat,
}

impl LinkHandle {
    /// What following a heartbeat takes of memory for each link.
    pub(crate) const BEAT_BYTES: usize = size_of::<AtomicU32>() + size_of::<AtomicU64>();

    pub(super) fn new(id: LinkId, queues: Arc<Queues>) -> Self {
        Self { id, queues, queued: AtomicU32::new(0) }
    }

    /// The link.
    pub fn id(&self) -> LinkId {
        self.id
    }

    /// The other end, for logs.
    pub(crate) fn peer(&self) -> &str {
        self.queues.peer()
    }

    /// Queues a control frame. It overtakes all data that is still queued. On a link that has
    /// ended it does nothing, as the link's last event says all.
    ///
    /// # Errors
    /// The queue is full. The link is then ended with `NotReading`.
    pub fn control(&self, frame: Frame) -> Result<(), QueueFull> {
        self.put(frame, Followed::No)
    }

    /// The same for a heartbeat: [`beat_written`](Self::beat_written) says when it was written.
    pub(crate) fn heartbeat(&self, frame: Frame) -> Result<(), QueueFull> {
        self.put(frame, Followed::Heartbeat)
    }

    /// When the latest heartbeat was handed to the network; `None` while it waits, or if there was none.
    pub(crate) fn beat_written(&self) -> Option<WrittenAt> {
        self.queues.beat.written()
    }

    fn put(&self, frame: Frame, followed: Followed) -> Result<(), QueueFull> {
        let queued = || {
            let number = self.queued.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            match followed {
                Followed::Heartbeat => self.queues.beat.waits(number),
                Followed::No => {}
            }
        };
        match self.queues.put_control(frame, queued) {
            Put::Queued | Put::Closed => Ok(()),
            Put::Full(_) => {
                self.abort(CloseCause::NotReading);
                Err(QueueFull)
            }
        }
    }

    /// Queues a data frame; waits for room. Cancel-safe in that a dropped call has queued nothing.
    ///
    /// # Errors
    /// The link has ended or is being closed.
    pub async fn data(&self, mut frame: Frame) -> Result<(), Closed> {
        loop {
            let less = self.queues.less();
            frame = match self.queues.put_data(frame) {
                Put::Queued => return Ok(()),
                Put::Closed => return Err(Closed),
                Put::Full(frame) => frame,
            };
            less.await;
        }
    }

    /// Queues a data frame if there is room.
    ///
    /// # Errors
    /// There is none, or the link has ended or is being closed.
    pub fn try_data(&self, frame: Frame) -> Result<(), TryDataError> {
        if !self.queues.has_room() && !self.queues.is_closed() {
            return Err(TryDataError::Full(frame));
        }
        match self.queues.put_data(frame) {
            Put::Queued => Ok(()),
            Put::Full(frame) => Err(TryDataError::Full(frame)),
            Put::Closed => Err(TryDataError::Closed),
        }
    }

    /// Whether [`try_data`](Self::try_data) would be taken now.
    pub fn has_room(&self) -> bool {
        self.queues.has_room()
    }

    /// Whether the link takes nothing any more: it has ended, or is being closed.
    pub fn has_ended(&self) -> bool {
        self.queues.is_closed()
    }

    /// Waits until there is room for data, or the link has ended.
    pub async fn room(&self) {
        loop {
            let less = self.queues.less();
            if self.queues.has_room() || self.queues.is_closed() {
                return;
            }
            less.await;
        }
    }

    /// Stops reading from the peer, which feels it when its socket is full. Frames that were read
    /// already may still arrive. The end of the link is noticed only after
    /// [`resume`](Self::resume) or a close.
    pub fn pause(&self) {
        self.queues.pause();
    }

    /// Goes on reading.
    pub fn resume(&self) {
        self.queues.resume();
    }

    /// Closes the link in order: control that is queued goes out, then the close frame, then the
    /// peer's answer is awaited, all within [`PumpConfig::close_timeout`](super::PumpConfig::close_timeout). Data that is queued, and
    /// what the peer still sends, is dropped. The link's end will be local, with this cause.
    ///
    /// On a link that is closing or has ended it does nothing.
    pub fn close(&self, cause: CloseCause) {
        self.queues.end(Ending::Close(cause));
    }

    /// Ends the link at once: one attempt to get the close frame out, within 250 ms, and the
    /// connection is dropped. For peers that are silent. Overrules a close that is in progress.
    pub fn abort(&self, cause: CloseCause) {
        self.queues.end(Ending::Abort(cause));
    }
}

impl Drop for LinkHandle {
    fn drop(&mut self) {
        self.close(CloseCause::GoingAway);
    }
}
