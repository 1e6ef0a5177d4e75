//! The sending side of a pump: two queues and the order to end.

use super::PumpConfig;
use super::backlog::{Backlog, SharedBacklog, WrittenAt};
use crate::link::Frame;
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::id::LinkId;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use thiserror::Error;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};

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

/// How the pump was ordered to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// In order, with a farewell.
    Close(CloseCause),
    /// At once.
    Abort(CloseCause),
}

/// The order to end, as the handle and the pump share it: the first one counts, but an abort
/// overrules a close.
pub(super) type EndingCell = Arc<watch::Sender<Option<Ending>>>;

pub(super) fn set_ending(cell: &EndingCell, ending: Ending) {
    cell.send_if_modified(|current| {
        let news = match (&current, ending) {
            (None, _) | (Some(Ending::Close(_)), Ending::Abort(_)) => true,
            (Some(Ending::Close(_)), Ending::Close(_)) | (Some(Ending::Abort(_)), _) => false,
        };
        if news {
            *current = Some(ending);
        }
        news
    });
}

/// What the pump takes from its handle.
pub(super) struct Queues {
    pub(super) control: mpsc::Receiver<Frame>,
    pub(super) data: mpsc::Receiver<Frame>,
    pub(super) backlog: Arc<Backlog>,
    pub(super) paused: watch::Receiver<bool>,
    pub(super) ending: EndingCell,
}

pub(super) fn queues(
    id: LinkId,
    config: &PumpConfig,
    shared: Option<Arc<SharedBacklog>>,
) -> (LinkHandle, Queues) {
    let (control_in, control) = mpsc::channel(config.control_queue.max(1));
    let (data_in, data) = mpsc::channel(config.data_queue.max(1));
    let ending = Arc::new(watch::Sender::new(None));
    let (pause, paused) = watch::channel(false);
    let most = (config.control_bytes, config.data_bytes.max(1));
    let backlog = Arc::new(Backlog::new(most, shared));
    let shared = (Arc::clone(&backlog), Arc::clone(&ending));
    let queues = Queues { control, data, backlog: shared.0, paused, ending: shared.1 };
    let queued = AtomicU32::new(0);
    (LinkHandle { id, control: control_in, data: data_in, backlog, pause, ending, queued }, queues)
}

/// The way to a link. Dropped, it closes the link with `GoingAway`.
#[derive(Debug)]
pub struct LinkHandle {
    id: LinkId,
    control: mpsc::Sender<Frame>,
    data: mpsc::Sender<Frame>,
    backlog: Arc<Backlog>,
    pause: watch::Sender<bool>,
    ending: EndingCell,
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

    /// The link.
    pub fn id(&self) -> LinkId {
        self.id
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
        self.backlog.beat_written()
    }

    fn put(&self, frame: Frame, followed: Followed) -> Result<(), QueueFull> {
        match self.control.try_reserve() {
            Ok(room) if self.backlog.more_control(frame.len()) => {
                let number = self.queued.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
                match followed {
                    Followed::Heartbeat => self.backlog.beat_waits(number),
                    Followed::No => {}
                }
                room.send(frame);
                Ok(())
            }
            Err(TrySendError::Closed(())) => Ok(()),
            Ok(_) | Err(TrySendError::Full(())) => {
                self.abort(CloseCause::NotReading);
                Err(QueueFull)
            }
        }
    }

    /// Queues a data frame; waits for room. Cancel-safe in that a dropped call has queued nothing.
    ///
    /// # Errors
    /// The link has ended or is being closed.
    pub async fn data(&self, frame: Frame) -> Result<(), Closed> {
        let room = self.data.reserve().await.map_err(|_| Closed)?;
        self.backlog.more_data(frame.len());
        room.send(frame);
        Ok(())
    }

    /// Queues a data frame if there is room.
    ///
    /// # Errors
    /// There is none, or the link has ended or is being closed.
    pub fn try_data(&self, frame: Frame) -> Result<(), TryDataError> {
        if !self.backlog.has_room() && !self.data.is_closed() {
            return Err(TryDataError::Full(frame));
        }
        match self.data.try_reserve() {
            Ok(room) => {
                self.backlog.more_data(frame.len());
                room.send(frame);
                Ok(())
            }
            Err(TrySendError::Full(())) => Err(TryDataError::Full(frame)),
            Err(TrySendError::Closed(())) => Err(TryDataError::Closed),
        }
    }

    /// Whether [`try_data`](Self::try_data) would be taken now.
    pub fn has_room(&self) -> bool {
        self.data.capacity() > 0 && self.backlog.has_room()
    }

    /// Whether the link takes nothing any more: it has ended, or is being closed.
    pub fn has_ended(&self) -> bool {
        self.data.is_closed()
    }

    /// Waits until there is room for data, or the link has ended.
    pub async fn room(&self) {
        loop {
            if self.has_room() || self.data.is_closed() {
                return;
            }
            // One that was written meanwhile is not missed: that is remembered.
            tokio::select! {
                () = self.backlog.until_less_data() => {}
                () = self.data.closed() => {}
            }
        }
    }

    /// Stops reading from the peer, which feels it when its socket is full. Frames that were read
    /// already may still arrive. The end of the link is noticed only after
    /// [`resume`](Self::resume) or a close.
    pub fn pause(&self) {
        let _ = self.pause.send_replace(true);
    }

    /// Goes on reading.
    pub fn resume(&self) {
        let _ = self.pause.send_replace(false);
    }

    /// Closes the link in order: control that is queued goes out, then the close frame, then the
    /// peer's answer is awaited, all within [`PumpConfig::close_timeout`]. Data that is queued, and
    /// what the peer still sends, is dropped. The link's end will be local, with this cause.
    ///
    /// On a link that is closing or has ended it does nothing.
    pub fn close(&self, cause: CloseCause) {
        set_ending(&self.ending, Ending::Close(cause));
    }

    /// Ends the link at once: one attempt to get the close frame out, within 250 ms, and the
    /// connection is dropped. For peers that are silent. Overrules a close that is under way.
    pub fn abort(&self, cause: CloseCause) {
        set_ending(&self.ending, Ending::Abort(cause));
    }
}

impl Drop for LinkHandle {
    fn drop(&mut self) {
        self.close(CloseCause::GoingAway);
    }
}
