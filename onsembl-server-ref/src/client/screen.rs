//! Where a command is shown: what it wrote, and what there is to say, on its way to the reader. Nothing
//! here waits for a reader unless it is asked to, so that one who does not read holds nothing else up.

use crate::cli::program;
use bytes::{Buf as _, Bytes};
use onsembl_protocol::model::Stream;
use onsembl_protocol::shown::Shown;
use onsembl_protocol::terminal::Viewing;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// What becomes of what there is to say of a command, beside what it writes.
#[derive(Clone, Default)]
pub enum Notes {
    /// It goes to where the command's standard error goes, a line for each.
    #[default]
    WithStderr,
    /// Nothing is said.
    Unsaid,
    /// This is called with each.
    To(Arc<dyn Fn(&str) + Send + Sync>),
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WithStderr => "WithStderr",
            Self::Unsaid => "Unsaid",
            Self::To(_) => "To(…)",
        })
    }
}

/// What becomes of the control sequences in what a command writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Passing {
    /// It is passed on byte for byte.
    #[default]
    Raw,
    /// It is passed on as to a terminal of somebody who only looks on ([`Viewing`]), which is at the end as it was.
    Viewed,
}

/// The same for each of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Ends {
    pub stdout: Passing,
    pub stderr: Passing,
}

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
    notes: Notes,
    waiting: VecDeque<Piece>,
    /// What those cost that wait.
    cost: usize,
    unflushed: PerEnd<Unflushed>,
    ends: Ends,
    /// Of those that are terminals, as far as anything was shown there.
    viewing: PerEnd<Option<Viewing>>,
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
    pub(super) fn new(stdout: O, stderr: E, notes: Notes, ends: Ends) -> Self {
        let (waiting, unflushed) = (VecDeque::new(), PerEnd::default());
        let viewing = PerEnd::default();
        Self { stdout, stderr, notes, waiting, cost: 0, unflushed, ends, viewing }
    }

    /// Shows what the command wrote: byte for byte, or as much as may reach a terminal.
    pub(super) fn output(&mut self, stream: Stream, bytes: Bytes) {
        let (passing, viewing) = match stream {
            Stream::Stdout | Stream::Terminal => (self.ends.stdout, &mut self.viewing.stdout),
            Stream::Stderr => (self.ends.stderr, &mut self.viewing.stderr),
        };
        let passed = match passing {
            Passing::Raw => bytes,
            Passing::Viewed => {
                Bytes::from(viewing.get_or_insert_with(Viewing::default).pass(&bytes))
            }
        };
        self.add(Piece::new(stream, passed, true));
    }

    /// Nothing more is shown of the command: a terminal is left as it was.
    pub(super) fn restore(&mut self) {
        let PerEnd { stdout, stderr } = std::mem::take(&mut self.viewing);
        for (stream, viewing) in [(Stream::Stdout, stdout), (Stream::Stderr, stderr)] {
            if let Some(viewing) = viewing {
                self.add(Piece::new(stream, Bytes::from(viewing.restoring()), false));
            }
        }
    }

    /// Tells the caller, escaped: it quotes what agents and servers say. It is no loss if this is not read.
    pub(super) fn say(&mut self, text: &str) {
        let text = Shown::new(text).within(LONGEST_LINE).to_string();
        match &self.notes {
            Notes::WithStderr => {
                let line = format!("{}: {text}\n", program());
                self.add(Piece::new(Stream::Stderr, Bytes::from(line), false));
            }
            Notes::Unsaid => {}
            Notes::To(say) => say(&text),
        }
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
        let mut screen = Screen::new(near, sink(), Notes::WithStderr, Ends::default());
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
    async fn a_terminal_is_asked_nothing_and_is_at_the_end_as_it_was_and_a_pipe_gets_every_byte() {
        let written: &'static [u8] = b"\x1b[?1049h\x1b[c\x1b[6n\x1b]52;c;ZXZpbA==\x07\x05text";
        for (passing, expected) in
            [(Passing::Viewed, &b"\x1b[?1049htext\x1b[?1049l\x1b[0m"[..]), (Passing::Raw, written)]
        {
            for stream in [Stream::Stdout, Stream::Stderr] {
                let (near, mut far) = duplex(100);
                let (other, mut unused) = duplex(100);
                let (stdout, stderr) = match stream {
                    Stream::Stdout | Stream::Terminal => (near, other),
                    Stream::Stderr => (other, near),
                };
                let ends = Ends { stdout: passing, stderr: passing };
                let mut screen = Screen::new(stdout, stderr, Notes::WithStderr, ends);
                screen.output(stream, Bytes::from_static(written));
                screen.restore();
                screen.write_out().await.unwrap();
                drop(screen);
                let (mut read, mut rest) = (Vec::new(), Vec::new());
                far.read_to_end(&mut read).await.unwrap();
                unused.read_to_end(&mut rest).await.unwrap();
                assert_eq!((read.as_slice(), rest.as_slice()), (expected, &b""[..]));
            }
        }
    }

    #[tokio::test]
    async fn a_reader_that_is_gone_is_told_of_output_only() {
        let (near, far) = duplex(4);
        drop(far);
        let mut screen = Screen::new(empty(), near, Notes::WithStderr, Ends::default());
        screen.say("nobody reads this");
        assert!(screen.write_out().await.is_ok());
        screen.output(Stream::Stderr, Bytes::from_static(b"nor this"));
        let closed = screen.write_out().await.unwrap_err();
        assert_eq!(closed.stream, Stream::Stderr);
        assert!(screen.waiting.is_empty() && screen.cost == 0);
    }
}
