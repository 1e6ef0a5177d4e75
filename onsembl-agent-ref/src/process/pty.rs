//! A pseudo-terminal: the end that reads what its program writes, and the keyboard before it. Knows
//! nothing of what is typed, or why.

use bytes::Bytes;
use onsembl_protocol::model::TerminalSize;
use onsembl_protocol::worker::{LineMode, Typed, Typing};
use pty_process::{OwnedReadPty, OwnedWritePty, Pts, Size};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

/// What may wait to be typed: at most one command, and keystrokes of a person.
const STROKES: usize = 64;

/// The end of a terminal that we read from.
#[derive(Debug)]
pub(super) struct Screen {
    pty: OwnedReadPty,
    /// The same terminal, to ask it things.
    terminal: Arc<OwnedFd>,
}

/// A terminal of this size: what it shows, the keyboard before it, and the end for its program.
pub(super) fn open(size: TerminalSize) -> io::Result<(Screen, Keyboard, Pts)> {
    let (pty, pts) = pty_process::open().map_err(io::Error::other)?;
    pty.resize(Size::new(size.rows(), size.columns())).map_err(io::Error::other)?;
    let terminal = Arc::new(fcntl_dupfd_cloexec(&pty, 0)?);
    let (screen, keys) = pty.into_split();
    let screen = Screen { pty: screen, terminal: Arc::clone(&terminal) };
    Ok((screen, Keyboard::before(keys, terminal), pts))
}

impl AsFd for Screen {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.terminal.as_fd()
    }
}

impl Screen {
    /// Reads what is there now, without waiting; 0 if that is nothing. What its writers wrote is there as
    /// soon as they have.
    pub(super) fn read_now(&self, buffer: &mut [u8]) -> usize {
        loop {
            match rustix::io::read(&self.terminal, &mut *buffer) {
                Ok(read) => return read,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::IO) => return 0,
                Err(errno) => {
                    tracing::error!(%errno, "the last output of a terminal cannot be read");
                    return 0;
                }
            }
        }
    }

    /// Reads all that is there and fits. A terminal hands out at most 4 KiB at a time, which would
    /// make many small chunks.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let begin = buffer.filled().len();
        while buffer.remaining() > 0 {
            let before = buffer.filled().len();
            let read = Pin::new(&mut self.pty).poll_read(cx, buffer);
            let some = buffer.filled().len() > begin;
            match read {
                Poll::Pending if some => break,
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if buffer.filled().len() == before => break,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                // What Linux reports instead of an end, once the other side is closed.
                Poll::Ready(Err(error))
                    if error.raw_os_error() == Some(Errno::IO.raw_os_error()) =>
                {
                    break;
                }
                Poll::Ready(Err(_)) if some => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Why something was not typed, or only a part of it.
#[derive(Debug, thiserror::Error)]
pub enum TypingError {
    /// The program does not read.
    #[error(
        "the program did not read its terminal for {within:?}: {taken} of {all} bytes were typed, and it will see those when it reads again"
    )]
    NotRead {
        /// Bytes that the terminal took.
        taken: usize,
        /// Bytes there were.
        all: usize,
        /// How long it was waited for.
        within: Duration,
    },
    /// Too much waits to be typed.
    #[error("too much waits to be typed into this terminal; nothing of this was typed")]
    Busy,
    /// The program has ended.
    #[error("the program in the terminal ended before everything was typed: {0}")]
    Closed(#[source] io::Error),
}

impl TypingError {
    /// How much was typed.
    pub const fn typed(&self) -> Typed {
        match self {
            Self::NotRead { taken: 0, .. } | Self::Busy => Typed::Nothing,
            Self::NotRead { .. } | Self::Closed(_) => Typed::Part,
        }
    }
}

enum Stroke {
    Command(Typing, Box<dyn FnOnce(Result<(), TypingError>) -> Reply + Send>),
    Local(Bytes),
}

/// What telling of an end takes.
type Reply = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The keyboard of a terminal. What is typed goes in as one piece each, in the order of asking. It
/// ends with the program's end or when it is dropped.
#[derive(Debug)]
pub struct Keyboard {
    terminal: Arc<OwnedFd>,
    strokes: mpsc::Sender<Stroke>,
}

impl Keyboard {
    fn before(keys: OwnedWritePty, terminal: Arc<OwnedFd>) -> Self {
        let (strokes, typed) = mpsc::channel(STROKES);
        tokio::spawn(type_all(keys, typed));
        Self { terminal, strokes }
    }

    /// A place among what waits to be typed.
    ///
    /// # Errors
    ///
    /// Too much waits already, or the program has ended.
    pub fn reserve(&self) -> Result<Stroking<'_>, TypingError> {
        self.strokes.try_reserve().map(Stroking).map_err(|_| TypingError::Busy)
    }

    /// Types what a person typed at another terminal. Whether there was room.
    pub fn type_local(&self, bytes: Bytes) -> bool {
        self.strokes.try_send(Stroke::Local(bytes)).is_ok()
    }

    /// Makes the terminal as large as this; the system notifies its program.
    ///
    /// # Errors
    ///
    /// The terminal is closed.
    pub fn resize(&self, size: TerminalSize) -> io::Result<()> {
        let size =
            Winsize { ws_row: size.rows(), ws_col: size.columns(), ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(&self.terminal, size)?)
    }

    /// Who gathers the characters of a line now.
    pub fn line_mode(&self) -> LineMode {
        match tcgetattr(&self.terminal) {
            Ok(modes) if !modes.local_modes.contains(LocalModes::ICANON) => LineMode::Program,
            Ok(_) => LineMode::Terminal,
            Err(errno) => {
                tracing::warn!(%errno, "the modes of a terminal cannot be read; taking it for one that gathers lines");
                LineMode::Terminal
            }
        }
    }
}

/// A place among what waits to be typed.
#[derive(Debug)]
pub struct Stroking<'a>(mpsc::Permit<'a, Stroke>);

impl Stroking<'_> {
    /// Types this for a command, and says then how it went.
    pub fn type_command<F>(
        self,
        typing: Typing,
        reply: impl FnOnce(Result<(), TypingError>) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        self.0.send(Stroke::Command(typing, Box::new(move |typed| Box::pin(reply(typed)))));
    }
}

async fn type_all(mut keys: OwnedWritePty, mut strokes: mpsc::Receiver<Stroke>) {
    while let Some(stroke) = strokes.recv().await {
        match stroke {
            Stroke::Local(bytes) => {
                let within = Typing::TAKEN_WITHIN;
                if let Err(error) = press(&mut keys, &bytes, within, Instant::now() + within).await
                {
                    tracing::warn!(%error, "what was typed at the agent's own terminal is lost");
                }
            }
            Stroke::Command(typing, reply) => reply(type_one(&mut keys, typing).await).await,
        }
    }
}

async fn type_one(keys: &mut OwnedWritePty, typing: Typing) -> Result<(), TypingError> {
    let Typing { bytes, enter, within } = typing;
    let give_up = Instant::now() + within;
    press(keys, &bytes, within, give_up).await?;
    if enter.is_empty() {
        return Ok(());
    }
    sleep(Typing::PAUSE).await;
    press(keys, &enter, within, give_up).await.map_err(|error| match error {
        TypingError::NotRead { taken, all, within } => {
            TypingError::NotRead { taken: taken + bytes.len(), all: all + bytes.len(), within }
        }
        other @ (TypingError::Busy | TypingError::Closed(_)) => other,
    })
}

/// What there is room for is typed, also when the time is over.
async fn press(
    keys: &mut OwnedWritePty,
    bytes: &[u8],
    within: Duration,
    give_up: Instant,
) -> Result<(), TypingError> {
    let mut taken = 0;
    while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
        match timeout_at(give_up, keys.write(rest)).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(Ok(n)) => taken += n,
            Ok(Err(error)) => return Err(TypingError::Closed(error)),
            Err(_) => return Err(TypingError::NotRead { taken, all: bytes.len(), within }),
        }
    }
    Ok(())
}
