//! What a process writes to: two pipes, or one terminal. Read fairly and without loss. Knows nothing of
//! the process.

use super::CHUNK_BYTES;
use super::pty::Screen;
use bytes::Bytes;
use onsembl_protocol::model::Stream;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::process::{ChildStderr, ChildStdout};

/// More than the system keeps for a terminal: so much is read at most when it is to be closed, whatever process
/// continues writing.
const TERMINAL_HOLDS: u64 = 1024 * 1024;

/// All of them.
#[derive(Debug)]
pub(super) struct Outputs {
    sources: Vec<Source>,
    /// Whose turn it is.
    turn: usize,
    buffer: Box<[u8]>,
}

/// One end to read from.
#[derive(Debug)]
enum Pipe {
    Stdout(ChildStdout),
    Stderr(ChildStderr),
    Terminal(Screen),
}

impl Pipe {
    const fn stream(&self) -> Stream {
        match self {
            Self::Stdout(_) => Stream::Stdout,
            Self::Stderr(_) => Stream::Stderr,
            Self::Terminal(_) => Stream::Terminal,
        }
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Stdout(pipe) => Pin::new(pipe).poll_read(cx, buffer),
            Self::Stderr(pipe) => Pin::new(pipe).poll_read(cx, buffer),
            Self::Terminal(screen) => screen.poll_read(cx, buffer),
        }
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Stdout(pipe) => pipe.as_fd(),
            Self::Stderr(pipe) => pipe.as_fd(),
            Self::Terminal(screen) => screen.as_fd(),
        }
    }
}

impl Outputs {
    /// The two pipes of a process.
    pub(super) fn of_pipes(stdout: ChildStdout, stderr: ChildStderr) -> Self {
        Self::of([Pipe::Stdout(stdout), Pipe::Stderr(stderr)])
    }

    /// The terminal of a process.
    pub(super) fn of_terminal(screen: Screen) -> Self {
        Self::of([Pipe::Terminal(screen)])
    }

    fn of(pipes: impl IntoIterator<Item = Pipe>) -> Self {
        let sources = pipes.into_iter().map(Source::new).collect();
        Self { sources, turn: 0, buffer: vec![0; CHUNK_BYTES].into_boxed_slice() }
    }

    /// The next bytes of any; `None` once all are closed. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Option<(Stream, Bytes)> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Stream, Bytes)>> {
        for _ in 0..self.sources.len() {
            let turn = self.turn;
            self.turn = (turn + 1) % self.sources.len();
            let Some(source) = self.sources.get_mut(turn) else { continue };
            if let Poll::Ready(Some(bytes)) = source.poll(cx, &mut self.buffer) {
                return Poll::Ready(Some((source.stream, bytes)));
            }
        }
        if self.are_closed() { Poll::Ready(None) } else { Poll::Pending }
    }

    /// Whether nothing more can come.
    pub(super) fn are_closed(&self) -> bool {
        self.sources.iter().all(|source| source.pipe.is_none())
    }

    /// Those whose writers have not all closed them, as far as was read.
    pub(super) fn unfinished(&self) -> Vec<Stream> {
        let open = self.sources.iter().filter(|source| source.end == End::NotSeen);
        open.map(|source| source.stream).collect()
    }

    /// How many bytes lie in them now.
    pub(super) fn waiting_bytes(&self) -> u64 {
        self.sources.iter().map(Source::waiting_bytes).fold(0, u64::saturating_add)
    }

    /// Reads what lies in them now and then closes them, even if another process still has the other end open.
    pub(super) fn finish(&mut self) {
        self.sources.iter_mut().for_each(Source::finish);
    }
}

/// One pipe.
#[derive(Debug)]
struct Source {
    pipe: Option<Pipe>,
    stream: Stream,
    /// How many bytes are still to be read before closing; `None` is all there will ever be.
    left: Option<u64>,
    end: End,
}

/// Whether the last writer was seen to be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    NotSeen,
    Seen,
}

impl Source {
    fn new(pipe: Pipe) -> Self {
        Self { stream: pipe.stream(), pipe: Some(pipe), left: None, end: End::NotSeen }
    }

    /// The next bytes; `None` once closed.
    fn poll(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Option<Bytes>> {
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(None) };
        if let (Pipe::Terminal(screen), Some(left)) = (&*pipe, self.left) {
            // It does not say how much is there, so it is read until nothing is.
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let read = screen.read_now(buffer.get_mut(..most).unwrap_or_default());
            self.left = Some(left.saturating_sub(read as u64));
            if read == 0 {
                self.pipe = None;
            }
            let bytes = buffer.get(..read).unwrap_or_default();
            return Poll::Ready((read > 0).then(|| Bytes::copy_from_slice(bytes)));
        }
        let wanted =
            self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let wanted = wanted.min(buffer.len());
        let mut chunk = ReadBuf::new(buffer.get_mut(..wanted).unwrap_or_default());
        match pipe.poll_read(cx, &mut chunk) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => {
                tracing::error!(stream = %self.stream, %error, "output of a process cannot be read; closing it");
                self.pipe = None;
                return Poll::Ready(None);
            }
        }
        if chunk.filled().is_empty() && wanted > 0 {
            self.end = End::Seen;
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
            tracing::error!(stream = %self.stream, %errno, "cannot read the fill level of a pipe; assuming it is empty");
            0
        })
    }

    fn finish(&mut self) {
        if let Some(Pipe::Terminal(_)) = &self.pipe {
            self.left = Some(TERMINAL_HOLDS);
            return;
        }
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
        let outputs = Outputs::of_pipes(child.stdout.take().unwrap(), child.stderr.take().unwrap());
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
