//! A stream whose writer waits with a deadline: when the other side takes nothing for too long, it is
//! closed. It holds its connection, so that the slot is free when the socket is.

use super::connection::Connection;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

pub(super) struct PatientIo<S> {
    stream: S,
    connection: Connection,
    /// When the write that waits is given up.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> PatientIo<S> {
    pub(super) fn new(stream: S, connection: Connection) -> Self {
        Self { stream, connection, until: None }
    }

    /// What a write came to, or that it was given up.
    fn within<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.until = None;
            return written;
        }
        let patience = self.connection.patience();
        let until =
            self.until.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + patience)));
        match until.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                let why = format!("the peer read nothing for {} s", patience.as_secs());
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PatientIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PatientIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.within(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.within(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.within(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.within(cx, ended)
    }
}

#[cfg(test)]
mod tests {
    use super::super::connection::Connections;
    use super::*;
    use crate::hub::Joining;
    use futures::FutureExt as _;
    use tokio::io::AsyncWriteExt as _;

    #[tokio::test(start_paused = true)]
    async fn a_writer_that_nobody_reads_is_given_up_and_one_that_is_read_now_and_again_is_not() {
        let connection = Connections::new(1024, 16, Joining::default()).of_another_listener();
        let patience = connection.patience();
        let (mut theirs, ours) = tokio::io::duplex(4);
        let mut stream = PatientIo::new(ours, connection);
        stream.write_all(b"full").await.unwrap();
        let mut waiting = Box::pin(stream.write_all(b"more"));
        for _ in 0..3 {
            assert!((&mut waiting).now_or_never().is_none(), "nothing was read");
            tokio::time::sleep(patience * 9 / 10).await;
            let _ = tokio::io::AsyncReadExt::read_u8(&mut theirs).await.unwrap();
        }
        assert!((&mut waiting).now_or_never().is_none(), "it waits for the last byte");
        let began = Instant::now();
        let error = waiting.await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() <= patience * 2, "after {:?}", began.elapsed());
    }
}
