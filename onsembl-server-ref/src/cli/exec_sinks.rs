//! Where the output of a command goes, unless it goes to the terminal as it is: in lines with the name of its agent, in
//! events, or into the result.
//!
//! Lines go through one channel to a thread that writes them, so that a reader who is slow holds no link up, and the
//! lines of several agents stay whole.

use super::print;
use onsembl_protocol::model::Stream;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::PollSender;

/// Lines on their way to the thread that writes.
const WAITING: usize = 64;
/// Longer lines are given away in parts, in bytes.
const LONGEST: usize = 8 * 1024;
/// What of each stream a result holds, in bytes.
pub(super) const KEPT: usize = 1 << 20;

/// A line as it is written, and where.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) to: Stream,
    pub(super) bytes: Vec<u8>,
}

/// Writes lines until nobody sends any more. When nobody reads them, it ends, and who sends is told.
pub(super) fn writer() -> (mpsc::Sender<Line>, JoinHandle<()>) {
    let (sender, mut lines) = mpsc::channel::<Line>(WAITING);
    let thread = tokio::task::spawn_blocking(move || {
        while let Some(Line { to, bytes }) = lines.blocking_recv() {
            let written = match to {
                Stream::Stdout | Stream::Terminal => {
                    let mut out = print::raw();
                    out.write_all(&bytes).and_then(|()| out.flush())
                }
                Stream::Stderr => print::raw_errors().write_all(&bytes),
            };
            if let Err(error) = written {
                tracing::info!(%error, "the lines are not being read");
                return;
            }
        }
    });
    (sender, thread)
}

/// How a line of a stream is written.
pub(super) type Dress = Arc<dyn Fn(Stream, &[u8]) -> Line + Send + Sync>;

/// What is behind the last line break.
#[derive(Clone, Debug, Default)]
pub(super) struct Rest(Arc<Mutex<Vec<u8>>>);

impl Rest {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes it, if there is any.
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        Some(std::mem::take(&mut *self.lock())).filter(|rest| !rest.is_empty())
    }

    /// Adds bytes up to the next end of a line, and gives the line if it has one. How many were taken.
    fn add(&self, bytes: &[u8]) -> (usize, Option<Vec<u8>>) {
        let mut rest = self.lock();
        let room = LONGEST.saturating_sub(rest.len()).max(1);
        let part = bytes.get(..room.min(bytes.len())).unwrap_or(bytes);
        match part.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                rest.extend_from_slice(part.get(..end).unwrap_or_default());
                (end + 1, Some(std::mem::take(&mut *rest)))
            }
            None => {
                rest.extend_from_slice(part);
                let line = (rest.len() >= LONGEST).then(|| std::mem::take(&mut *rest));
                (part.len(), line)
            }
        }
    }
}

/// Gives a stream away in lines.
pub(super) struct LineSink {
    stream: Stream,
    lines: PollSender<Line>,
    rest: Rest,
    dress: Dress,
}

impl LineSink {
    pub(super) fn new(stream: Stream, lines: mpsc::Sender<Line>, rest: Rest, dress: Dress) -> Self {
        Self { stream, lines: PollSender::new(lines), rest, dress }
    }
}

fn unread() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

impl AsyncWrite for LineSink {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // A place for a line is had before any byte is taken.
        ready!(self.lines.poll_reserve(cx)).map_err(|_| unread())?;
        let (taken, line) = self.rest.add(bytes);
        if let Some(line) = line {
            let line = (self.dress)(self.stream, &line);
            self.lines.send_item(line).map_err(|_| unread())?;
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The beginning of a stream, for a result.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(Arc<Mutex<(Vec<u8>, bool)>>);

impl Kept {
    /// It as text, and whether something of it is missing.
    pub(super) fn text(&self) -> (String, bool) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (String::from_utf8_lossy(&kept.0).into_owned(), kept.1)
    }
}

impl AsyncWrite for Kept {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = KEPT.saturating_sub(kept.0.len());
        kept.0.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        kept.1 |= bytes.len() > room;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    #[tokio::test]
    async fn a_stream_comes_in_whole_lines_and_its_rest_is_not_lost() {
        let (sender, mut lines) = mpsc::channel(1);
        let rest = Rest::default();
        let dress: Dress = Arc::new(|to, line| Line { to, bytes: line.to_vec() });
        let mut sink = LineSink::new(Stream::Stdout, sender, rest.clone(), dress);
        let long = "x".repeat(LONGEST + 10);
        let text = format!("one\ntwo\n\n{long}\nend");
        let written = tokio::spawn(async move { sink.write_all(text.as_bytes()).await });
        let mut got = Vec::new();
        while let Some(line) = lines.recv().await {
            got.push(String::from_utf8(line.bytes).unwrap());
        }
        written.await.unwrap().unwrap();
        assert_eq!(got, ["one", "two", "", &long[..LONGEST], &long[LONGEST..]]);
        assert_eq!(rest.take().as_deref(), Some(&b"end"[..]));
        assert_eq!(rest.take(), None);
    }

    #[tokio::test]
    async fn who_is_not_read_any_more_is_told() {
        let (sender, lines) = mpsc::channel(1);
        drop(lines);
        let dress: Dress = Arc::new(|to, line| Line { to, bytes: line.to_vec() });
        let mut sink = LineSink::new(Stream::Stdout, sender, Rest::default(), dress);
        let error = sink.write_all(b"x\n").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn a_result_has_the_beginning_and_says_that_more_came() {
        let mut kept = Kept::default();
        kept.write_all(&vec![b'a'; KEPT - 1]).await.unwrap();
        assert!(!kept.text().1);
        kept.write_all(b"bcd").await.unwrap();
        let (text, is_cut) = kept.text();
        assert!(is_cut && text.len() == KEPT && text.ends_with("ab"));
    }
}
