//! Where a command is shown: what it wrote, and what there is to say, on its way to the reader. Nothing
//! here waits for a reader unless it is asked to, so that one who does not read holds nothing else up.

use bytes::{Buf as _, Bytes};
use onsembl_protocol::model::Stream;
use onsembl_protocol::shown::Shown;
use std::collections::VecDeque;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// What the command writes is not read any more.
#[derive(Debug)]
pub(super) struct ReaderClosed {
    pub(super) stream: Stream,
    pub(super) error: std::io::Error,
}

#[derive(Debug)]
struct Piece {
    stream: Stream,
    bytes: Bytes,
    /// It is of the command, not of us.
    output: bool,
    cost: usize,
}

impl Piece {
    fn new(stream: Stream, bytes: Bytes, output: bool) -> Self {
        let cost = bytes.len() + PIECE;
        Self { stream, bytes, output, cost }
    }
}

/// Bytes that may wait, but for the last piece: a few of the largest messages.
const MOST_WAITING: usize = 1 << 20;
/// Most characters of a notice to the caller.
const LONGEST_LINE: usize = 4096;
/// What a piece costs beside its bytes.
const PIECE: usize = 64;

/// Standard output and standard error, or what stands for them, and what waits for them. Bounded by its
/// user, who adds output only while it [has room](Screen::has_room).
#[derive(Debug)]
pub(super) struct Screen<O, E> {
    stdout: O,
    stderr: E,
    waiting: VecDeque<Piece>,
    /// What those cost that wait.
    cost: usize,
    unflushed: PerEnd<Unflushed>,
}

#[derive(Debug, Default)]
struct PerEnd<T> {
    stdout: T,
    stderr: T,
}

/// What was written and may not be out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Unflushed {
    #[default]
    Nothing,
    Words,
    Output,
}

impl<O: AsyncWrite + Unpin, E: AsyncWrite + Unpin> Screen<O, E> {
    pub(super) fn new(stdout: O, stderr: E) -> Self {
        Self { stdout, stderr, waiting: VecDeque::new(), cost: 0, unflushed: PerEnd::default() }
    }

    /// Shows what the command wrote, byte for byte.
    pub(super) fn output(&mut self, stream: Stream, bytes: Bytes) {
        self.add(Piece::new(stream, bytes, true));
    }

    /// Tells the caller, escaped: it quotes what agents and servers say. It is no loss if this is not read.
    pub(super) fn say(&mut self, text: &str) {
        let bytes =
            Bytes::from(format!("onsembl-server: {}\n", Shown::new(text).within(LONGEST_LINE)));
        self.add(Piece::new(Stream::Stderr, bytes, false));
    }

    fn add(&mut self, piece: Piece) {
        self.cost += piece.cost;
        self.waiting.push_back(piece);
    }

    /// Shows nothing of the output that still waits.
    pub(super) fn drop_output(&mut self) {
        self.waiting.retain(|piece| !piece.output);
        self.cost = self.waiting.iter().map(|piece| piece.cost).sum();
    }

    /// Whether more may be added.
    pub(super) fn has_room(&self) -> bool {
        self.cost < MOST_WAITING
    }

    /// Whether everything is out.
    pub(super) fn is_idle(&self) -> bool {
        let PerEnd { stdout, stderr } = self.unflushed;
        self.waiting.is_empty() && stdout.max(stderr) == Unflushed::Nothing
    }

    /// Writes until everything is out. A dropped call loses nothing.
    ///
    /// # Errors
    /// The reader of the output is closed. What could not be written is dropped.
    pub(super) async fn write_out(&mut self) -> Result<(), ReaderClosed> {
        while let Some(Piece { stream, bytes, output, cost }) = self.waiting.front_mut() {
            let (stream, output) = (*stream, *output);
            let what = if output { Unflushed::Output } else { Unflushed::Words };
            let written = match stream {
                Stream::Stdout | Stream::Terminal => {
                    self.unflushed.stdout = self.unflushed.stdout.max(what);
                    self.stdout.write_buf(bytes).await
                }
                Stream::Stderr => {
                    self.unflushed.stderr = self.unflushed.stderr.max(what);
                    self.stderr.write_buf(bytes).await
                }
            };
            let failed = match written {
                Ok(0) if bytes.has_remaining() => Some(std::io::ErrorKind::WriteZero.into()),
                Ok(_) if bytes.has_remaining() => continue,
                Ok(_) => None,
                Err(error) => Some(error),
            };
            self.cost -= *cost;
            let _done = self.waiting.pop_front();
            if let Some(error) = failed.filter(|_| output) {
                return Err(ReaderClosed { stream, error });
            }
        }
        // A system's own streams say only now what became of a write.
        if self.unflushed.stdout != Unflushed::Nothing {
            let flushed = self.stdout.flush().await;
            self.settle(Stream::Stdout, flushed)?;
        }
        if self.unflushed.stderr != Unflushed::Nothing {
            let flushed = self.stderr.flush().await;
            self.settle(Stream::Stderr, flushed)?;
        }
        Ok(())
    }

    fn settle(&mut self, stream: Stream, flushed: std::io::Result<()>) -> Result<(), ReaderClosed> {
        let unflushed = match stream {
            Stream::Stdout | Stream::Terminal => &mut self.unflushed.stdout,
            Stream::Stderr => &mut self.unflushed.stderr,
        };
        match (flushed, std::mem::take(unflushed)) {
            (Err(error), Unflushed::Output) => Err(ReaderClosed { stream, error }),
            (Err(_), Unflushed::Words | Unflushed::Nothing) | (Ok(()), _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, duplex, empty, sink};

    #[tokio::test]
    async fn a_reader_that_does_not_read_loses_nothing_and_holds_nothing_up() {
        let (near, mut far) = duplex(4);
        let mut screen = Screen::new(near, sink());
        screen.output(Stream::Stdout, Bytes::from_static(b"0123456789"));
        assert!(screen.write_out().now_or_never().is_none());
        assert!(!screen.is_idle());
        let mut read = Vec::new();
        while !screen.is_idle() {
            let mut part = [0; 3];
            let count = far.read(&mut part).await.unwrap();
            read.extend_from_slice(&part[..count]);
            let _ = screen.write_out().now_or_never();
        }
        drop(screen);
        far.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"0123456789");
    }

    #[tokio::test]
    async fn a_reader_that_is_gone_is_told_of_output_only() {
        let (near, far) = duplex(4);
        drop(far);
        let mut screen = Screen::new(empty(), near);
        screen.say("nobody reads this");
        assert!(screen.write_out().await.is_ok());
        screen.output(Stream::Stderr, Bytes::from_static(b"nor this"));
        let closed = screen.write_out().await.unwrap_err();
        assert_eq!(closed.stream, Stream::Stderr);
        assert!(screen.waiting.is_empty() && screen.cost == 0);
    }
}
