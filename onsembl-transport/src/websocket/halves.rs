//! The two halves of a WebSocket link.
//!
//! Both halves share the socket behind a lock that is held for one poll and never across a wait. A link that is
//! idle holds no buffer: what is read goes into a page of the thread first, and of that only what belongs to a message
//! that is not complete, or to the next one, is kept.

use super::fault::Fault;
use super::header::{Opcode, Role};
use super::inbound::{Inbound, Incoming};
use super::outbound::Outbound;
use crate::limits::LinkLimits;
use crate::link::{self, Link, LinkEnd, LinkReader, LinkWriter, Received, close_frame};
use crate::waker::{Half, HalfWakers};
use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason, Initiator};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};

/// Larger messages are sent in fragments of this size (RFC 6455, section 5.4): 32 KiB, a chunk of output. So no
/// more than that of a message is in the buffer at a time, and pongs need not wait for the rest.
const LARGE: usize = 32 * 1024;
/// Bytes that are read at once of a frame that is longer.
const PAGE: usize = 64 * 1024;

thread_local! {
    /// Where links read into, one at a time: what a link is to keep is copied out of it.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Gives `read` a page of this many bytes.
fn with_page<T>(bytes: usize, read: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut page) => {
            if page.len() < bytes {
                page.resize(bytes, 0);
            }
            read(page.get_mut(..bytes).unwrap_or_default())
        }
        // A stream that reads another link to be read.
        Err(_) => read(&mut vec![0; bytes]),
    })
}

/// A link over a stream whose handshake is done, and of which `unread` was read already.
pub(super) fn link<S>(
    stream: S,
    unread: Bytes,
    role: Role,
    peer: String,
    limits: LinkLimits,
) -> Link
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let state = State {
        stream,
        unread,
        inbound: Inbound::new(role, limits.message_bytes),
        outbound: Outbound::new(role, limits.write_buffer()),
        sending: None,
        is_pong_due: false,
        closed_with: None,
        is_peer_closed: false,
        ended: None,
    };
    let LinkLimits { message_bytes, buffers, farewell, handshake: _ } = limits;
    let (wakers, state) = (HalfWakers::new(), Mutex::new(state));
    let shared = Arc::new(Shared { wakers, read: buffers.read, message_bytes, farewell, state });
    Link {
        reader: Box::new(Reader { shared: Arc::clone(&shared), leave_by: None }),
        writer: Box::new(Writer { shared }),
        peer,
        local: None,
    }
}

struct Shared<S> {
    wakers: HalfWakers,
    /// Bytes that are read at once.
    read: usize,
    /// Bytes of the longest message.
    message_bytes: usize,
    /// How long the farewell may last.
    farewell: Duration,
    state: Mutex<State<S>>,
}

struct State<S> {
    stream: S,
    /// What was read behind the message that was given last.
    unread: Bytes,
    inbound: Inbound,
    outbound: Outbound,
    /// The message that is being sent, which was taken and is not in the buffer yet.
    sending: Option<Sending>,
    /// A pong waits, and the socket would not take it yet.
    is_pong_due: bool,
    /// Our own close frame is on its way.
    closed_with: Option<CloseCause>,
    /// The peer's close frame was read: it sends no more.
    is_peer_closed: bool,
    /// The reader has seen the end.
    ended: Option<Box<LinkEnd>>,
}

/// What one read of the stream brought.
enum Read {
    Part,
    Whole(Incoming),
    End,
}

/// A message, or what is left of it.
struct Sending {
    opcode: Opcode,
    rest: Bytes,
}

impl<S> Shared<S> {
    /// Polls the state as one of the halves, with the waker of both.
    fn poll<T>(
        &self,
        half: Half,
        cx: &Context<'_>,
        f: impl FnOnce(&mut State<S>, &mut Context<'_>) -> T,
    ) -> T {
        let mut cx = self.wakers.context(half, cx);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        f(&mut state, &mut cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> State<S> {
    fn poll_receive(
        &mut self,
        bytes: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Received, LinkEnd>> {
        if let Some(end) = &self.ended {
            return Poll::Ready(Err(LinkEnd::clone(end)));
        }
        self.answer_ping(cx);
        let end = match ready!(self.poll_incoming(bytes, cx)) {
            Ok(Some(Incoming::Text(text))) => return Poll::Ready(Ok(Received::Text(text))),
            Ok(Some(Incoming::Binary(data))) => return Poll::Ready(Ok(Received::Binary(data))),
            Ok(Some(Incoming::Ping(payload))) => {
                // Nothing follows our own close frame.
                if self.closed_with.is_none() {
                    self.outbound.pong(payload);
                    self.is_pong_due = true;
                    self.answer_ping(cx);
                }
                return Poll::Ready(Ok(Received::Control));
            }
            Ok(Some(Incoming::Pong)) => return Poll::Ready(Ok(Received::Control)),
            Ok(Some(Incoming::Close(said))) => {
                self.is_peer_closed = true;
                let said = said.as_ref().map(|(code, text)| (*code, text.as_str()));
                if self.closed_with.is_none() {
                    self.outbound.close(said);
                }
                LinkEnd::peer(said.map(|(code, _)| code), said.map_or("", |(_, text)| text))
            }
            Ok(None) => LinkEnd::broken(Breakage::EndOfStream, ""),
            Err(end) => end,
        };
        self.unread = Bytes::new();
        let end = self.own(end);
        self.ended = Some(Box::new(end.clone()));
        Poll::Ready(Err(end))
    }

    /// The next message or control frame; `None` at the end of the stream. Reads this many bytes at once.
    fn poll_incoming(
        &mut self,
        bytes: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Incoming>, LinkEnd>> {
        let Self { stream, unread, inbound, .. } = self;
        if !unread.is_empty() {
            let (taken, incoming) = inbound.read(unread).map_err(Fault::end)?;
            unread.advance(taken);
            if unread.is_empty() {
                *unread = Bytes::new();
            }
            if incoming.is_some() {
                return Poll::Ready(Ok(incoming));
            }
        }
        loop {
            // Of a long frame as much as it has, so that nothing is left over.
            let bytes = bytes.max(inbound.left().min(PAGE)).max(1);
            let read = with_page(bytes, |page: &mut [u8]| -> Poll<Result<Read, LinkEnd>> {
                let mut page = ReadBuf::new(page);
                ready!(Pin::new(&mut *stream).poll_read(cx, &mut page))?;
                let read = page.filled();
                if read.is_empty() {
                    return Poll::Ready(Ok(Read::End));
                }
                let (taken, incoming) = inbound.read(read).map_err(Fault::end)?;
                if let Some(rest) = read.get(taken..).filter(|rest| !rest.is_empty()) {
                    *unread = Bytes::copy_from_slice(rest);
                }
                Poll::Ready(Ok(incoming.map_or(Read::Part, Read::Whole)))
            });
            match ready!(read)? {
                Read::Part => {}
                Read::Whole(incoming) => return Poll::Ready(Ok(Some(incoming))),
                Read::End => return Poll::Ready(Ok(None)),
            }
        }
    }

    /// A pong is to go out at once, and the caller may have something else to do first. Failures are left to the next
    /// read: it may still find the peer's close frame, which says more.
    fn answer_ping(&mut self, cx: &mut Context<'_>) {
        if self.is_pong_due {
            self.is_pong_due = self.poll_write_all(cx).is_pending();
        }
    }

    fn poll_send(
        &mut self,
        message: &mut Option<Sending>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), LinkEnd>> {
        self.still_open()?;
        ready!(self.poll_fragments(cx))?;
        // From here on it is taken, whole, whether this is polled again or not.
        self.sending = message.take();
        self.poll_fragments(cx)
    }

    /// Puts what is left of a message into the buffer, as far as there is room.
    fn poll_fragments(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkEnd>> {
        while self.sending.is_some() {
            ready!(self.poll_room(cx))?;
            let Some(Sending { opcode, mut rest }) = self.sending.take() else { break };
            let part = rest.split_to(rest.len().min(LARGE));
            self.outbound.frame((opcode, rest.is_empty()), &part);
            if !rest.is_empty() {
                self.sending = Some(Sending { opcode: Opcode::Continuation, rest });
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkEnd>> {
        self.still_open()?;
        ready!(self.poll_fragments(cx))?;
        let flushed = ready!(self.poll_write_all(cx));
        Poll::Ready(flushed.map_err(|error| self.own(error)))
    }

    /// Queues the close frame once, then flushes it.
    fn poll_close(&mut self, cause: CloseCause, cx: &mut Context<'_>) -> Poll<Result<(), LinkEnd>> {
        if self.closed_with.is_none() {
            ready!(self.poll_fragments(cx))?;
            ready!(self.poll_room(cx))?;
            self.closed_with = Some(cause);
            self.outbound.close(Some(close_frame(cause)));
        }
        self.poll_write_all(cx)
    }

    /// Writes until another frame may be put into the buffer.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkEnd>> {
        while self.outbound.is_full() {
            ready!(self.poll_write(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkEnd>> {
        while !self.outbound.unwritten().is_empty() {
            ready!(self.poll_write(cx))?;
        }
        Pin::new(&mut self.stream).poll_flush(cx).map_err(LinkEnd::from)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkEnd>> {
        let unwritten = self.outbound.unwritten();
        match ready!(Pin::new(&mut self.stream).poll_write(cx, unwritten))? {
            0 => Poll::Ready(Err(io::Error::from(io::ErrorKind::ConnectionReset).into())),
            bytes => {
                self.outbound.wrote(bytes);
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Reads what the peer still sends, past any framing, until it hangs up.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        with_page(4096, |page| {
            loop {
                let mut page = ReadBuf::new(&mut *page);
                match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut page)) {
                    Ok(()) if !page.filled().is_empty() => {}
                    Ok(()) | Err(_) => return Poll::Ready(()),
                }
            }
        })
    }

    fn still_open(&self) -> Result<(), LinkEnd> {
        match (&self.ended, self.closed_with) {
            (Some(end), _) => Err(LinkEnd::clone(end)),
            (None, Some(cause)) => Err(LinkEnd::local(cause, "")),
            (None, None) => Ok(()),
        }
    }

    /// After our own close frame, whatever ends the link is our close.
    fn own(&self, end: LinkEnd) -> LinkEnd {
        match self.closed_with {
            Some(cause) => LinkEnd { reason: CloseReason::local(cause), detail: end.to_string() },
            None => end,
        }
    }
}

struct Reader<S> {
    shared: Arc<Shared<S>>,
    /// Until when the farewell may last, once it has begun.
    leave_by: Option<Instant>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Reader<S> {
    /// Gets the last words across: the answer to the peer's close frame if there was one, else our
    /// own. A connection that broke gets nothing more.
    async fn leave(&mut self, end: &LinkEnd) {
        if end.reason.initiator == Initiator::Link {
            return;
        }
        let by = *self.leave_by.get_or_insert_with(|| Instant::now() + self.shared.farewell);
        let farewell = poll_fn(|cx| {
            self.shared.poll(Half::Reader, cx, |state, cx| {
                if state.is_peer_closed {
                    ready!(state.poll_write_all(cx))?;
                } else {
                    ready!(state.poll_close(end.reason.cause, cx))?;
                }
                ready!(Pin::new(&mut state.stream).poll_shutdown(cx))?;
                if !state.is_peer_closed {
                    ready!(state.poll_drain(cx));
                }
                Poll::Ready(Ok::<(), LinkEnd>(()))
            })
        });
        match timeout_at(by, farewell).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "could not close the link cleanly"),
            Err(_) => tracing::debug!("the peer did not complete the close in time"),
        }
    }
}

#[async_trait]
impl<S: AsyncRead + AsyncWrite + Unpin + Send> LinkReader for Reader<S> {
    async fn receive(&mut self) -> Result<Received, LinkEnd> {
        let shared = &self.shared;
        let received = poll_fn(|cx| {
            shared.poll(Half::Reader, cx, |state, cx| state.poll_receive(shared.read, cx))
        })
        .await;
        if let Err(end) = &received {
            self.shared.wakers.wake();
            Box::pin(self.leave(end)).await;
        }
        received
    }
}

struct Writer<S> {
    shared: Arc<Shared<S>>,
}

#[async_trait]
impl<S: AsyncRead + AsyncWrite + Unpin + Send> LinkWriter for Writer<S> {
    async fn send(&mut self, frame: link::Frame) -> Result<(), LinkEnd> {
        let (length, limit) = (frame.len(), self.shared.message_bytes);
        if length > limit {
            // Whoever sends it drops it, and says what it was. That the link ended would help nobody: the same message
            // would end the next one.
            tracing::error!(length, limit, "a message of our own is too long; it is dropped");
            return Ok(());
        }
        let (opcode, rest) = match frame {
            link::Frame::Text(text) => (Opcode::Text, text.into()),
            link::Frame::Binary(bytes) => (Opcode::Binary, bytes),
            link::Frame::Ping => (Opcode::Ping, Bytes::new()),
        };
        let mut message = Some(Sending { opcode, rest });
        poll_fn(|cx| {
            self.shared.poll(Half::Writer, cx, |state, cx| state.poll_send(&mut message, cx))
        })
        .await
    }

    async fn flush(&mut self) -> Result<(), LinkEnd> {
        poll_fn(|cx| self.shared.poll(Half::Writer, cx, State::poll_flush)).await
    }

    async fn close(&mut self, cause: CloseCause) -> Result<(), LinkEnd> {
        poll_fn(|cx| {
            self.shared.poll(Half::Writer, cx, |state, cx| {
                if let Some(end) = &state.ended {
                    return Poll::Ready(Err(LinkEnd::clone(end)));
                }
                state.poll_close(cause, cx)
            })
        })
        .await
    }
}
