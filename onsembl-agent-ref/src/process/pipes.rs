//! The two output pipes of a process, read fairly and without loss. Knows nothing of the process.

use super::CHUNK_BYTES;
use bytes::Bytes;
use onsembl_protocol::output::Stream;
use std::future::poll_fn;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::process::{ChildStderr, ChildStdout};

/// Both pipes.
#[derive(Debug)]
pub(super) struct Outputs {
    stdout: Source<ChildStdout>,
    stderr: Source<ChildStderr>,
    stderr_is_next: bool,
    buffer: Box<[u8]>,
}

impl Outputs {
    pub(super) fn new(stdout: ChildStdout, stderr: ChildStderr) -> Self {
        Self {
            stdout: Source::new(stdout, Stream::Stdout),
            stderr: Source::new(stderr, Stream::Stderr),
            stderr_is_next: false,
            buffer: vec![0; CHUNK_BYTES].into_boxed_slice(),
        }
    }

    /// The next bytes of either pipe; `None` once both are closed. Nothing is lost when the future
    /// is dropped.
    pub(super) async fn next(&mut self) -> Option<(Stream, Bytes)> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Stream, Bytes)>> {
        let (mut stdout, mut stderr) = (false, false);
        while !(stdout && stderr) {
            let polled = if self.stderr_is_next {
                stderr = true;
                self.stderr.poll(cx, &mut self.buffer).map(|b| b.map(|b| (Stream::Stderr, b)))
            } else {
                stdout = true;
                self.stdout.poll(cx, &mut self.buffer).map(|b| b.map(|b| (Stream::Stdout, b)))
            };
            self.stderr_is_next = !self.stderr_is_next;
            if let Poll::Ready(Some(read)) = polled {
                return Poll::Ready(Some(read));
            }
        }
        if self.are_closed() { Poll::Ready(None) } else { Poll::Pending }
    }

    /// Whether nothing more can come.
    pub(super) fn are_closed(&self) -> bool {
        self.stdout.pipe.is_none() && self.stderr.pipe.is_none()
    }

    /// How many bytes lie in the pipes now.
    pub(super) fn waiting_bytes(&self) -> u64 {
        self.stdout.waiting_bytes().saturating_add(self.stderr.waiting_bytes())
    }

    /// Reads what lies in the pipes now and then closes them, whoever may still hold the other end.
    pub(super) fn finish(&mut self) {
        self.stdout.finish();
        self.stderr.finish();
    }
}

/// One pipe.
#[derive(Debug)]
struct Source<R> {
    pipe: Option<R>,
    stream: Stream,
    /// How many bytes are still to be read before closing; `None` is all there will ever be.
    left: Option<u64>,
}

impl<R: AsyncRead + AsFd + Unpin> Source<R> {
    fn new(pipe: R, stream: Stream) -> Self {
        Self { pipe: Some(pipe), stream, left: None }
    }

    /// The next bytes; `None` once closed.
    fn poll(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Option<Bytes>> {
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(None) };
        let wanted =
            self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let wanted = wanted.min(buffer.len());
        let mut chunk = ReadBuf::new(buffer.get_mut(..wanted).unwrap_or_default());
        match Pin::new(pipe).poll_read(cx, &mut chunk) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => {
                tracing::error!(stream = %self.stream, %error, "output of a process cannot be read; closing it");
                self.pipe = None;
                return Poll::Ready(None);
            }
        }
        let bytes = chunk.filled();
        self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
        if bytes.is_empty() || self.left == Some(0) {
            self.pipe = None;
        }
        Poll::Ready((!bytes.is_empty()).then(|| Bytes::copy_from_slice(bytes)))
    }

    fn waiting_bytes(&self) -> u64 {
        let Some(pipe) = &self.pipe else { return 0 };
        rustix::io::ioctl_fionread(pipe).unwrap_or_else(|errno| {
            tracing::error!(stream = %self.stream, %errno, "the fill of a pipe cannot be read; taking it as empty");
            0
        })
    }

    fn finish(&mut self) {
        let waiting = self.waiting_bytes();
        self.left = Some(waiting);
        if waiting == 0 {
            self.pipe = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;
    use tokio::process::Command;

    /// Both pipes, filled with 48 KiB each by a process that has ended.
    async fn filled() -> Outputs {
        let mut child = Command::new("/bin/sh")
            .args(["-c", "head -c 49152 /dev/zero; head -c 49152 /dev/zero >&2"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let outputs = Outputs::new(child.stdout.take().unwrap(), child.stderr.take().unwrap());
        assert!(child.wait().await.unwrap().success());
        outputs
    }

    #[tokio::test]
    async fn two_full_pipes_take_turns() {
        let mut outputs = filled().await;
        let mut order = Vec::new();
        while let Some((stream, bytes)) = outputs.next().await {
            assert_eq!(bytes.len(), CHUNK_BYTES);
            order.push(stream);
        }
        let turns = [Stream::Stdout, Stream::Stderr].repeat(3);
        assert_eq!(order, turns);
    }

    #[tokio::test]
    async fn finishing_delivers_what_is_there_and_closes() {
        let mut outputs = filled().await;
        assert_eq!(outputs.waiting_bytes(), 2 * 49152);
        outputs.finish();
        assert!(!outputs.are_closed());
        let mut bytes_seen = 0;
        while !outputs.are_closed() {
            bytes_seen += outputs.next().await.map_or(0, |(_, bytes)| bytes.len());
        }
        assert_eq!(bytes_seen, 2 * 49152);
        assert!(outputs.next().await.is_none());
    }
}
