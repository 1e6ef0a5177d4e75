//! The link of the agent's connection, and those before it that are still closing: what goes into their queues and what
//! comes out of them.

use super::notice::SendError;
use crate::counters::Counters;
use crate::link::{Frame, Link};
use crate::pump::{self, LinkEvent, LinkHandle, PumpConfig, QueueFull, TryDataError};
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::id::LinkId;
use tokio::sync::mpsc;
use tracing::{debug, warn};

/// Frames that may wait for the owner of the driver; then the link is not read.
const INBOX: usize = 64;

/// All links of one agent, of which at most one is the current one.
pub(super) struct Links {
    pub(super) current: Option<LinkHandle>,
    /// Those whose pumps have not ended.
    open: usize,
    pub(super) inbox: mpsc::Receiver<LinkEvent>,
    entry: mpsc::Sender<LinkEvent>,
    pump: PumpConfig,
    counters: Counters,
}

impl Links {
    pub(super) fn new(pump: PumpConfig, counters: Counters) -> Self {
        let (entry, inbox) = mpsc::channel(INBOX);
        Self { current: None, open: 0, inbox, entry, pump, counters }
    }

    /// This one is the current link from now on.
    pub(super) fn open(&mut self, link: LinkId, opened: Link) {
        self.open += 1;
        self.current = Some(pump::spawn(opened, link, self.pump, self.entry.clone()));
    }

    /// A pump has ended.
    pub(super) fn on_ended(&mut self, link: LinkId) {
        self.open = self.open.saturating_sub(1);
        let _ = self.current.take_if(|current| current.id() == link);
    }

    pub(super) const fn are_closed(&self) -> bool {
        self.open == 0
    }

    pub(super) const fn current(&self) -> Option<&LinkHandle> {
        self.current.as_ref()
    }

    pub(super) fn is_current(&self, link: LinkId) -> bool {
        self.current.as_ref().is_some_and(|current| current.id() == link)
    }

    /// Hands a frame to a queue of this link, if it is the current one.
    pub(super) fn put(
        &self,
        link: LinkId,
        frame: Frame,
        queue: impl FnOnce(&LinkHandle, Frame) -> Result<(), QueueFull>,
    ) {
        if let Some(current) = self.current.as_ref().filter(|current| current.id() == link)
            && queue(current, frame).is_err()
        {
            self.counters.count("control_queue_full");
            warn!(%link, "the server does not read; closing the link");
        }
    }

    /// Closes this link, if it is the current one.
    pub(super) fn close(&mut self, link: LinkId, cause: CloseCause) {
        if let Some(current) = self.current.take_if(|current| current.id() == link) {
            debug!(%link, %cause, "closing the link");
            match cause.is_abrupt() {
                true => current.abort(cause),
                false => current.close(cause),
            }
        }
    }

    /// Completes when the current link has room for output.
    pub(super) async fn room(current: Option<&LinkHandle>) {
        match current {
            Some(link) => link.room().await,
            None => std::future::pending().await,
        }
    }
}

/// Hands output to a link, if it has room.
pub(super) fn send_data(link: &LinkHandle, frame: Frame) -> Result<(), SendError> {
    match link.try_data(frame) {
        Ok(()) => Ok(()),
        Err(TryDataError::Full(_)) => Err(SendError::Full),
        Err(TryDataError::Closed) => Err(SendError::NoSession),
    }
}
