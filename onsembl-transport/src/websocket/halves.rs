//! The two halves of a WebSocket link, and what the library's errors mean for it.
//!
//! Both halves share the socket behind a lock that is held for one poll and never across a wait.

use crate::limits::LinkLimits;
use crate::link::{self, Link, LinkEnd, LinkReader, LinkWriter, Received, close_frame};
use crate::waker::{Half, HalfWakers};
use async_trait::async_trait;
use futures::{Sink, Stream};
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason, Initiator};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

/// Larger messages leave no buffer of their size behind, and are sent in fragments of this size: 32 KiB, a chunk
/// of output.
const LARGE: usize = 32 * 1024;

pub(super) fn link<S>(socket: WebSocketStream<S>, peer: String, limits: LinkLimits) -> Link
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let state = State {
        socket,
        large: None,
        fragments: VecDeque::new(),
        pong_due: false,
        closed_with: None,
        peer_closed: false,
        ended: None,
    };
    let shared = Arc::new(Shared { wakers: HalfWakers::new(), state: Mutex::new(state) });
    Link {
        reader: Box::new(Reader { shared: Arc::clone(&shared), limits, leave_by: None }),
        writer: Box::new(Writer { shared, limits }),
        peer,
        local: None,
    }
}

struct Shared<S> {
    wakers: HalfWakers,
    state: Mutex<State<S>>,
}

struct State<S> {
    socket: WebSocketStream<S>,
    /// A large message that was read last. While it is there, the library makes room for the next one in a
    /// buffer of its own; with no other user of it, it would keep this message's for as long as the link lives.
    large: Option<Bytes>,
    /// What is left of a large message that is being sent.
    fragments: VecDeque<Message>,
    /// A pong was queued, but the socket would not take it yet.
    pong_due: bool,
    /// Our own close frame is on its way.
    closed_with: Option<CloseCause>,
    /// The peer's close frame was read: it sends no more.
    peer_closed: bool,
    /// The reader has seen the end.
    ended: Option<LinkEnd>,
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
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, LinkEnd>> {
        if let Some(end) = &self.ended {
            return Poll::Ready(Err(end.clone()));
        }
        self.answer_ping(cx);
        let end = loop {
            let received = Pin::new(&mut self.socket).poll_next(cx);
            self.large = None;
            match ready!(received) {
                Some(Ok(Message::Text(text))) => {
                    if text.len() > LARGE {
                        self.large = Some(text.clone().into());
                    }
                    return Poll::Ready(Ok(Received::Text(text.as_str().to_owned())));
                }
                Some(Ok(Message::Binary(data))) => {
                    if data.len() > LARGE {
                        self.large = Some(data.clone());
                    }
                    return Poll::Ready(Ok(Received::Binary(data)));
                }
                Some(Ok(Message::Ping(_))) => {
                    self.pong_due = true;
                    self.answer_ping(cx);
                    return Poll::Ready(Ok(Received::Control));
                }
                Some(Ok(Message::Pong(_))) => return Poll::Ready(Ok(Received::Control)),
                Some(Ok(Message::Close(frame))) => {
                    self.peer_closed = true;
                    break match frame {
                        Some(frame) => LinkEnd::peer(Some(frame.code.into()), &frame.reason),
                        None => LinkEnd::peer(None, ""),
                    };
                }
                // Raw frames are only ever given to the library, never by it.
                Some(Ok(Message::Frame(_))) => {}
                Some(Err(error)) => break meaning(error),
                None => break LinkEnd::broken(Breakage::EndOfStream, ""),
            }
        };
        let end = self.own(end);
        self.ended = Some(end.clone());
        Poll::Ready(Err(end))
    }

    /// The library queues a pong, but writes it only when it is polled again, and the caller may
    /// have something else to do first. Failures are left to the next read: it may still find the
    /// peer's close frame, which says more.
    fn answer_ping(&mut self, cx: &mut Context<'_>) {
        if self.pong_due {
            self.pong_due = Pin::new(&mut self.socket).poll_flush(cx).is_pending();
        }
    }

    fn poll_send(
        &mut self,
        message: &mut Option<Message>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), LinkEnd>> {
        self.still_open()?;
        ready!(self.poll_fragments(cx))?;
        if let Some(whole) = message.take() {
            // From here on it is taken, whole, whether this is polled again or not.
            self.fragments.extend(fragments(whole));
        }
        self.poll_fragments(cx)
    }

    /// Hands what is left of a message to the library, which keeps a buffer as large as the largest that it
    /// ever wrote at once.
    fn poll_fragments(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkEnd>> {
        while !self.fragments.is_empty() {
            let mut socket = Pin::new(&mut self.socket);
            ready!(socket.as_mut().poll_ready(cx)).map_err(meaning)?;
            let Some(next) = self.fragments.pop_front() else { break };
            match socket.as_mut().start_send(next) {
                Ok(()) => {}
                // Pongs have filled the buffer. They go first, then there is room.
                Err(Error::WriteBufferFull(back)) => {
                    self.fragments.push_front(*back);
                    ready!(socket.as_mut().poll_flush(cx)).map_err(meaning)?;
                }
                Err(error) => return Poll::Ready(Err(self.own(meaning(error)))),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkEnd>> {
        self.still_open()?;
        ready!(self.poll_fragments(cx))?;
        let flushed = ready!(Pin::new(&mut self.socket).poll_flush(cx));
        Poll::Ready(flushed.map_err(|error| self.own(meaning(error))))
    }

    /// Queues the close frame once, then flushes it.
    fn poll_close(&mut self, cause: CloseCause, cx: &mut Context<'_>) -> Poll<Result<(), LinkEnd>> {
        if self.closed_with.is_none() {
            ready!(self.poll_fragments(cx))?;
            // Room first: the library drops a close frame that finds its buffer full.
            ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(meaning)?;
            self.closed_with = Some(cause);
            let (code, text) = close_frame(cause);
            let frame = CloseFrame { code: code.into(), reason: text.into() };
            let close = Message::Close(Some(frame));
            Pin::new(&mut self.socket).start_send(close).map_err(meaning)?;
        }
        Pin::new(&mut self.socket).poll_flush(cx).map_err(meaning)
    }

    /// Reads what the peer still sends, past any framing, until it hangs up.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0u8; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(self.socket.get_mut()).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    }

    fn still_open(&self) -> Result<(), LinkEnd> {
        match (&self.ended, self.closed_with) {
            (Some(end), _) => Err(end.clone()),
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

/// A message as it is sent: a large one in fragments (RFC 6455, section 5.4).
#[allow(clippy::wildcard_enum_match_arm, reason = "an enum of another crate")]
fn fragments(message: Message) -> Vec<Message> {
    let (kind, bytes) = match message {
        Message::Text(text) if text.len() > LARGE => (Data::Text, Bytes::from(text)),
        Message::Binary(bytes) if bytes.len() > LARGE => (Data::Binary, bytes),
        small => return vec![small],
    };
    let count = bytes.len().div_ceil(LARGE);
    let fragment = |n: usize| {
        let kind = if n == 0 { kind } else { Data::Continue };
        let end = bytes.len().min((n + 1) * LARGE);
        let payload = bytes.slice(n * LARGE..end);
        Message::Frame(Frame::message(payload, OpCode::Data(kind), n + 1 == count))
    };
    (0..count).map(fragment).collect()
}

/// What an error of the library says about the end of the link.
fn meaning(error: Error) -> LinkEnd {
    match error {
        Error::Io(error) => error.into(),
        Error::Capacity(error) => LinkEnd::local(CloseCause::TooBig, error.to_string()),
        Error::Utf8(error) => LinkEnd::local(CloseCause::InvalidText, error),
        Error::Protocol(
            ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing,
        )
        | Error::ConnectionClosed
        | Error::AlreadyClosed => LinkEnd::broken(Breakage::EndOfStream, ""),
        Error::Protocol(error) => LinkEnd::local(CloseCause::ProtocolError, error.to_string()),
        Error::AttackAttempt => LinkEnd::local(CloseCause::ProtocolError, "attack attempt"),
        // None of these comes from a socket whose handshake is done.
        Error::WriteBufferFull(_)
        | Error::Tls(_)
        | Error::Url(_)
        | Error::Http(_)
        | Error::HttpFormat(_) => LinkEnd::local(CloseCause::Internal, error.to_string()),
    }
}

struct Reader<S> {
    shared: Arc<Shared<S>>,
    limits: LinkLimits,
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
        let by = *self.leave_by.get_or_insert_with(|| Instant::now() + self.limits.farewell);
        let farewell = poll_fn(|cx| {
            self.shared.poll(Half::Reader, cx, |state, cx| {
                if state.peer_closed {
                    ready!(Pin::new(&mut state.socket).poll_flush(cx)).map_err(meaning)?;
                } else {
                    ready!(state.poll_close(end.reason.cause, cx))?;
                }
                ready!(Pin::new(state.socket.get_mut()).poll_shutdown(cx))?;
                if !state.peer_closed {
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
        let received = poll_fn(|cx| self.shared.poll(Half::Reader, cx, State::poll_receive)).await;
        if let Err(end) = &received {
            self.shared.wakers.wake();
            self.leave(end).await;
        }
        received
    }
}

struct Writer<S> {
    shared: Arc<Shared<S>>,
    limits: LinkLimits,
}

#[async_trait]
impl<S: AsyncRead + AsyncWrite + Unpin + Send> LinkWriter for Writer<S> {
    async fn send(&mut self, frame: link::Frame) -> Result<(), LinkEnd> {
        let (length, limit) = (frame.len(), self.limits.message_bytes);
        if length > limit {
            // Whoever sends it drops it, and says what it was. That the link ended would help nobody: the same message
            // would end the next one.
            tracing::error!(length, limit, "a message of our own is too long; it is dropped");
            return Ok(());
        }
        let message = match frame {
            link::Frame::Text(text) => Message::Text(text.into()),
            link::Frame::Binary(bytes) => Message::Binary(bytes),
            link::Frame::Ping => Message::Ping(Bytes::new()),
        };
        let mut message = Some(message);
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
                    return Poll::Ready(Err(end.clone()));
                }
                state.poll_close(cause, cx)
            })
        })
        .await
    }
}
