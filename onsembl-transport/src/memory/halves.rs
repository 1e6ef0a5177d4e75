//! The two halves of each end of a memory link.

use super::cable::{Cable, Direction, Wire};
use crate::link::{Frame, Link, LinkEnd, LinkReader, LinkWriter, Received, close_frame};
use async_trait::async_trait;
use onsembl_protocol::close::{CloseCause, CloseReason};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The links at both ends of `cable`; each sees the other under the given name.
pub(super) fn links(cable: &Cable, [first, second]: [&str; 2]) -> [Link; 2] {
    let end = |out, peer: &str| {
        let end = Arc::new(End { cable: cable.clone(), out });
        Link {
            reader: Box::new(Reader { end: Arc::clone(&end), ended: None }),
            writer: Box::new(Writer { end }),
            peer: peer.to_owned(),
            local: None,
        }
    };
    [end(Direction::FirstToSecond, second), end(Direction::SecondToFirst, first)]
}

/// One end; closed when both its halves are dropped.
struct End {
    cable: Cable,
    /// The direction in which this end sends.
    out: Direction,
}

impl Drop for End {
    fn drop(&mut self) {
        self.cable.lock().hang_up(self.out);
    }
}

struct Reader {
    end: Arc<End>,
    ended: Option<LinkEnd>,
}

impl Reader {
    fn poll_receive(&self, cx: &Context<'_>) -> Poll<Result<Received, LinkEnd>> {
        let out = self.end.out;
        let mut state = self.end.cable.lock();
        let next = ready!(state.poll_next(out.back(), cx));
        let closed_here = state.lane(out).closed;
        let end = match next {
            Ok(Wire::Text(text)) => return Poll::Ready(Ok(Received::Text(text))),
            Ok(Wire::Binary(bytes)) => return Poll::Ready(Ok(Received::Binary(bytes))),
            Ok(Wire::Ping) => {
                state.pong(out);
                return Poll::Ready(Ok(Received::Control));
            }
            Ok(Wire::Pong) => return Poll::Ready(Ok(Received::Control)),
            Ok(Wire::Close(cause)) => {
                state.echo(out, cause);
                let (code, text) = close_frame(cause);
                LinkEnd::peer(Some(code), text)
            }
            Err(end) => end,
        };
        Poll::Ready(Err(match closed_here {
            Some(cause) => LinkEnd { reason: CloseReason::local(cause), detail: end.to_string() },
            None => end,
        }))
    }
}

#[async_trait]
impl LinkReader for Reader {
    async fn receive(&mut self) -> Result<Received, LinkEnd> {
        if let Some(end) = &self.ended {
            return Err(end.clone());
        }
        let received = poll_fn(|cx| self.poll_receive(cx)).await;
        if let Err(end) = &received {
            self.ended = Some(end.clone());
        }
        received
    }
}

struct Writer {
    end: Arc<End>,
}

impl Writer {
    async fn put(&self, wire: Wire) -> Result<(), LinkEnd> {
        let mut wire = Some(wire);
        poll_fn(|cx| self.end.cable.lock().poll_put(self.end.out, &mut wire, cx)).await
    }
}

#[async_trait]
impl LinkWriter for Writer {
    async fn send(&mut self, frame: Frame) -> Result<(), LinkEnd> {
        self.put(match frame {
            Frame::Text(text) => Wire::Text(text),
            Frame::Binary(bytes) => Wire::Binary(bytes),
            Frame::Ping => Wire::Ping,
        })
        .await
    }

    async fn flush(&mut self) -> Result<(), LinkEnd> {
        Ok(())
    }

    async fn close(&mut self, cause: CloseCause) -> Result<(), LinkEnd> {
        self.put(Wire::Close(cause)).await
    }
}
