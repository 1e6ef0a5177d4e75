//! The two halves of a framed link. The reader owns its stream; the writing stream is shared,
//! because the reader answers pings and closes.

use super::codec::{Codec, Malformed, Wire};
use crate::limits::LinkLimits;
use crate::link::{
    Frame, Link, LinkEnd, LinkReader, LinkWriter, Received, close_frame, may_travel,
};
use crate::waker::{Half, HalfWakers};
use async_trait::async_trait;
use futures::{Sink, StreamExt};
use onsembl_protocol::close::{Breakage, CloseCause, CloseCode, CloseReason, Initiator};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_util::codec::{FramedRead, FramedWrite};

pub(super) fn link<R, W>(read: R, write: W, peer: String, limits: LinkLimits) -> Link
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let mut sink = FramedWrite::new(write, Codec::new(&limits));
    sink.set_backpressure_boundary(limits.write_buffer());
    let state = State { sink, pong: Pong::None, closed_with: None, ended: None };
    let shared = Arc::new(Shared { wakers: HalfWakers::new(), state: Mutex::new(state) });
    let frames = FramedRead::with_capacity(read, Codec::new(&limits), limits.buffers.read);
    Link {
        reader: Box::new(Reader {
            frames,
            shared: Arc::clone(&shared),
            limits,
            peer_closed: false,
            leave_by: None,
        }),
        writer: Box::new(Writer { shared, limits }),
        peer,
        local: None,
    }
}

struct Shared<W> {
    wakers: HalfWakers,
    state: Mutex<State<W>>,
}

struct State<W> {
    sink: FramedWrite<W, Codec>,
    pong: Pong,
    /// Our own close frame was taken.
    closed_with: Option<CloseCause>,
    /// The reader has seen the end.
    ended: Option<LinkEnd>,
}

/// The answer to a ping. Pings that come before it is out are answered by the same one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pong {
    None,
    /// Not encoded yet, as there was no room.
    Due,
    /// Encoded, but not all of it is out.
    Taken,
}

impl<W> Shared<W> {
    fn lock(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll<T>(
        &self,
        half: Half,
        cx: &Context<'_>,
        f: impl FnOnce(&mut State<W>, &mut Context<'_>) -> T,
    ) -> T {
        let mut cx = self.wakers.context(half, cx);
        f(&mut self.lock(), &mut cx)
    }
}

impl<W: AsyncWrite + Unpin> Shared<W> {
    /// Pongs go out as soon as the stream takes them. Failures are left to the reads: they may
    /// still find the peer's close frame, which says more.
    fn answer_ping(&self, cx: &Context<'_>) {
        self.poll(Half::Reader, cx, |state, cx| {
            if state.pong == Pong::None || state.poll_pong(cx).is_pending() {
                return;
            }
            match Pin::new(&mut state.sink).poll_flush(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => state.pong = Pong::None,
                Poll::Ready(Err(error)) => {
                    state.pong = Pong::None;
                    tracing::debug!(%error, "cannot answer a ping");
                }
            }
        });
    }
}

impl<W: AsyncWrite + Unpin> State<W> {
    fn poll_send(
        &mut self,
        frame: &mut Option<Wire>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), LinkEnd>> {
        self.still_open()?;
        ready!(self.poll_pong(cx))?;
        if frame.is_some() {
            ready!(Pin::new(&mut self.sink).poll_ready(cx)).map_err(meaning)?;
        }
        if let Some(frame) = frame.take() {
            Pin::new(&mut self.sink).start_send(frame).map_err(own_fault)?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkEnd>> {
        self.still_open()?;
        ready!(self.poll_pong(cx))?;
        Pin::new(&mut self.sink).poll_flush(cx).map_err(meaning)
    }

    /// Takes the pong that is due, if there is room.
    fn poll_pong(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkEnd>> {
        if self.pong == Pong::Due {
            ready!(Pin::new(&mut self.sink).poll_ready(cx)).map_err(meaning)?;
            self.pong = Pong::Taken;
            Pin::new(&mut self.sink).start_send(Wire::Pong).map_err(own_fault)?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(
        &mut self,
        cause: CloseCause,
        frame: (u16, &str),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), LinkEnd>> {
        if self.closed_with.is_none() {
            ready!(Pin::new(&mut self.sink).poll_ready(cx)).map_err(meaning)?;
            self.closed_with = Some(cause);
            let (code, text) = frame;
            let close = Wire::Close(Some((code, text.to_owned())));
            Pin::new(&mut self.sink).start_send(close).map_err(own_fault)?;
        }
        Pin::new(&mut self.sink).poll_flush(cx).map_err(meaning)
    }

    fn still_open(&self) -> Result<(), LinkEnd> {
        match (&self.ended, self.closed_with) {
            (Some(end), _) => Err(end.clone()),
            (None, Some(cause)) => Err(LinkEnd::local(cause, "")),
            (None, None) => Ok(()),
        }
    }
}

/// What bytes that are no frame say about the end of the link.
fn meaning(error: Malformed) -> LinkEnd {
    let cause = match error {
        Malformed::Io(error) => return error.into(),
        Malformed::TooBig { .. } => CloseCause::TooBig,
        Malformed::Framing(_) => CloseCause::ProtocolError,
        Malformed::Utf8 => CloseCause::InvalidText,
    };
    LinkEnd::local(cause, error.to_string())
}

/// A frame of our own that cannot be encoded.
fn own_fault(error: Malformed) -> LinkEnd {
    match error {
        Malformed::Io(error) => error.into(),
        error @ (Malformed::TooBig { .. } | Malformed::Framing(_) | Malformed::Utf8) => {
            LinkEnd::local(CloseCause::Internal, format!("a message of our own: {error}"))
        }
    }
}

struct Reader<R, W> {
    frames: FramedRead<R, Codec>,
    shared: Arc<Shared<W>>,
    limits: LinkLimits,
    /// The peer's close frame was read: it sends no more.
    peer_closed: bool,
    /// Until when the farewell may last, once it has begun.
    leave_by: Option<Instant>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Reader<R, W> {
    async fn next(&mut self) -> Result<Received, LinkEnd> {
        if let Some(end) = self.shared.lock().ended.clone() {
            return Err(end);
        }
        let frame = poll_fn(|cx| {
            self.shared.answer_ping(cx);
            self.frames.poll_next_unpin(cx)
        })
        .await;
        let end = match frame {
            Some(Ok(Wire::Text(text))) => return Ok(Received::Text(text)),
            Some(Ok(Wire::Binary(bytes))) => return Ok(Received::Binary(bytes)),
            Some(Ok(Wire::Ping)) => {
                self.shared.lock().pong = Pong::Due;
                let shared = &self.shared;
                poll_fn(|cx| {
                    shared.answer_ping(cx);
                    Poll::Ready(())
                })
                .await;
                return Ok(Received::Control);
            }
            Some(Ok(Wire::Pong)) => return Ok(Received::Control),
            Some(Ok(Wire::Close(close))) => {
                self.peer_closed = true;
                match close {
                    Some((code, text)) => LinkEnd::peer(Some(code), &text),
                    None => LinkEnd::peer(None, ""),
                }
            }
            Some(Err(error)) => meaning(error),
            None => LinkEnd::broken(Breakage::EndOfStream, ""),
        };
        let mut state = self.shared.lock();
        let end = match state.closed_with {
            Some(cause) => LinkEnd { reason: CloseReason::local(cause), detail: end.to_string() },
            None => end,
        };
        state.ended = Some(end.clone());
        Err(end)
    }

    /// Gets the close frame across: ours if the end is ours, the echo of the peer's otherwise.
    async fn leave(&mut self, end: &LinkEnd) {
        if end.reason.initiator == Initiator::Link {
            return;
        }
        let by = *self.leave_by.get_or_insert_with(|| Instant::now() + self.limits.farewell);
        let cause = end.reason.cause;
        let frame = match (end.reason.initiator, cause.code()) {
            (Initiator::Peer, CloseCode(code)) if may_travel(code) => (code, cause.text()),
            (Initiator::Peer, _) => (CloseCode::NORMAL.0, "closed as asked"),
            (Initiator::Local | Initiator::Link, _) => close_frame(cause),
        };
        let farewell = async {
            let shared = &self.shared;
            poll_fn(|cx| {
                shared.poll(Half::Reader, cx, |state, cx| {
                    ready!(state.poll_close(cause, frame, cx))?;
                    Pin::new(&mut state.sink).poll_close(cx).map_err(meaning)
                })
            })
            .await?;
            if !self.peer_closed {
                let mut scratch = [0u8; 4096];
                while self.frames.get_mut().read(&mut scratch).await? > 0 {}
            }
            Ok::<(), LinkEnd>(())
        };
        match timeout_at(by, farewell).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "could not close the link cleanly"),
            Err(_) => tracing::debug!("the peer did not complete the close in time"),
        }
    }
}

#[async_trait]
impl<R, W> LinkReader for Reader<R, W>
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    async fn receive(&mut self) -> Result<Received, LinkEnd> {
        let received = self.next().await;
        if let Err(end) = &received {
            self.shared.wakers.wake();
            self.leave(end).await;
        }
        received
    }
}

struct Writer<W> {
    shared: Arc<Shared<W>>,
    limits: LinkLimits,
}

#[async_trait]
impl<W: AsyncWrite + Unpin + Send> LinkWriter for Writer<W> {
    async fn send(&mut self, frame: Frame) -> Result<(), LinkEnd> {
        let (length, limit) = (frame.len(), self.limits.message_bytes);
        if length > limit {
            // As over a WebSocket: the same message would end the next link too.
            tracing::error!(length, limit, "a message of our own is too long; it is dropped");
            return Ok(());
        }
        let mut frame = Some(match frame {
            Frame::Text(text) => Wire::Text(text),
            Frame::Binary(bytes) => Wire::Binary(bytes),
            Frame::Ping => Wire::Ping,
        });
        poll_fn(|cx| {
            self.shared.poll(Half::Writer, cx, |state, cx| state.poll_send(&mut frame, cx))
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
                state.poll_close(cause, close_frame(cause), cx)
            })
        })
        .await
    }
}
