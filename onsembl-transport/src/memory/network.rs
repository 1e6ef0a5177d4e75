//! A dialer and a listener that are joined inside the process.

use super::cable::Cable;
use super::halves;
use crate::link::{DialError, Dialer, Link, Listener};
use async_trait::async_trait;
use onsembl_protocol::session::DialFailure;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Links that may wait for the listener at once; further dials wait.
const BACKLOG: usize = 16;

/// A dialer and the listener it reaches. Each link holds up to `capacity` frames a direction.
///
/// ```
/// use onsembl_transport::memory::network;
/// use onsembl_transport::{Dialer, Frame, Listener, Received};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let (dialer, mut listener) = network(16);
/// let (dialled, accepted) = tokio::join!(dialer.dial(), listener.accept());
/// let (mut agent, mut server) = (dialled.unwrap(), accepted.unwrap());
///
/// agent.writer.send(Frame::Text("hello".to_owned())).await.unwrap();
/// agent.writer.flush().await.unwrap();
/// assert!(matches!(server.reader.receive().await, Ok(Received::Text(text)) if text == "hello"));
/// # });
/// ```
pub fn network(capacity: usize) -> (MemoryDialer, MemoryListener) {
    let (links, accepted) = mpsc::channel(BACKLOG);
    let dialer = MemoryDialer { links, capacity, wiring: Arc::default() };
    (dialer, MemoryListener { accepted })
}

#[derive(Debug, Default)]
struct Wiring {
    refusal: Option<DialFailure>,
    latest: Option<Cable>,
}

/// Dials one [`MemoryListener`]. A clone dials the same one.
#[derive(Clone, Debug)]
pub struct MemoryDialer {
    links: mpsc::Sender<Link>,
    capacity: usize,
    wiring: Arc<Mutex<Wiring>>,
}

impl MemoryDialer {
    /// Makes each dial fail with this, or succeed again with `None`.
    pub fn refuse(&self, failure: Option<DialFailure>) {
        self.wiring().refusal = failure;
    }

    /// The cable of the link that was dialled last.
    pub fn cable(&self) -> Option<Cable> {
        self.wiring().latest.clone()
    }

    fn wiring(&self) -> MutexGuard<'_, Wiring> {
        self.wiring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Dialer for MemoryDialer {
    async fn dial(&self) -> Result<Link, DialError> {
        if let Some(failure) = self.wiring().refusal {
            return Err(DialError::new(failure, "refused by the test"));
        }
        let room = self
            .links
            .reserve()
            .await
            .map_err(|_| DialError::new(DialFailure::Unreachable, "the listener is gone"))?;
        let cable = Cable::new(self.capacity);
        let [near, far] = halves::links(&cable, ["memory:dialer", "memory:listener"]);
        room.send(far);
        self.wiring().latest = Some(cable);
        Ok(near)
    }
}

/// Takes in the links of a [`MemoryDialer`].
#[derive(Debug)]
pub struct MemoryListener {
    accepted: mpsc::Receiver<Link>,
}

#[async_trait]
impl Listener for MemoryListener {
    /// # Errors
    /// Every dialer was dropped; no link can come any more.
    async fn accept(&mut self) -> io::Result<Link> {
        let closed = || io::Error::new(io::ErrorKind::BrokenPipe, "every dialer is gone");
        self.accepted.recv().await.ok_or_else(closed)
    }
}
