//! A pseudo-terminal: the end that reads what its program writes, and the keyboard before it. Knows
//! nothing of what is typed, or why.

use super::reads::{Expected, Reads};
use bytes::Bytes;
use onsembl_protocol::model::TerminalSize;
use onsembl_protocol::worker::{
    CarriageReturn, Echo, Foreground, LineMode, StrokeKind, TerminalSettings, Typed, Typing,
};
use pty_process::{OwnedReadPty, OwnedWritePty, Pts, Size};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::Pid;
use rustix::termios::{InputModes, LocalModes, Winsize, tcgetattr, tcgetpgrp, tcsetwinsize};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// What may wait to be typed: at most one command, and keystrokes of two persons.
const STROKES: usize = 128;

/// Answers to the program that may wait for it to read; it asked for more than it reads.
const ANSWERS: usize = 32;
/// How long an answer waits for room in the terminal. Programs give up asking after about as long.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);

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
        "the program did not read its terminal for {within:?}: {taken} of {all} bytes were typed, and it will read those later"
    )]
    NotRead {
        /// Bytes that the terminal took.
        taken: usize,
        /// Bytes there were.
        all: usize,
        /// How long it was waited for.
        within: Duration,
    },
    /// The program threw it away unread.
    #[error(
        "the program discarded the text unread, as programs do when they set up their terminal; send it again under a new id"
    )]
    ThrownAway,
    /// Too much waits to be typed.
    #[error("the input queue of this terminal is full; nothing of this was typed")]
    Busy,
    /// The program has ended.
    #[error("the program in the terminal ended before everything was typed: {0}")]
    Closed(#[source] io::Error),
}

impl TypingError {
    /// How much was typed.
    pub const fn typed(&self) -> Typed {
        match self {
            Self::NotRead { taken: 0, .. } | Self::ThrownAway | Self::Busy => Typed::Nothing,
            Self::NotRead { taken, all, .. } if *taken == *all => Typed::Whole,
            Self::NotRead { .. } | Self::Closed(_) => Typed::Part,
        }
    }
}

enum Stroke {
    Command {
        typing: Typing,
        /// Says that the program has read a paste.
        paste_read: Box<dyn FnMut() -> Reply + Send>,
        reply: Box<dyn FnOnce(Result<(), TypingError>) -> Reply + Send>,
    },
    Local(Bytes),
    Remote(Bytes, Box<dyn FnOnce(Result<(), TypingError>) -> Reply + Send>),
    Answer(Bytes),
}

/// What reports how a typing ended.
type Reply = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The keyboard of a terminal. What is typed goes in as one piece each, in the order of asking. It
/// ends with the program's end or when it is dropped.
#[derive(Debug)]
pub struct Keyboard {
    terminal: Arc<OwnedFd>,
    strokes: mpsc::Sender<Stroke>,
    /// How many answers are among them.
    answers: Arc<AtomicUsize>,
    /// How many pastes were said to be dealt with.
    settled: watch::Sender<u64>,
}

impl Keyboard {
    fn before(keys: OwnedWritePty, terminal: Arc<OwnedFd>) -> Self {
        let (strokes, typed) = mpsc::channel(STROKES);
        let reads = Reads::of(&terminal);
        let answers = Arc::new(AtomicUsize::new(0));
        let (settled, pastes) = watch::channel(0);
        tokio::spawn(type_all(keys, (reads, pastes), typed, Arc::clone(&answers)));
        Self { terminal, strokes, answers, settled }
    }

    /// The program is done with the paste that was said to be read: what stands behind it is typed.
    pub fn end_paste(&self) {
        self.settled.send_modify(|pastes| *pastes = pastes.wrapping_add(1));
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

    /// Types what a person typed remotely, and says when it is in the terminal. Without room `reply` is not called.
    ///
    /// # Errors
    ///
    /// Too much waits already, or the program has ended.
    pub fn type_remotely<F>(
        &self,
        bytes: Bytes,
        reply: impl FnOnce(Result<(), TypingError>) -> F + Send + 'static,
    ) -> Result<(), TypingError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let permit = self.strokes.try_reserve().map_err(|_| TypingError::Busy)?;
        permit.send(Stroke::Remote(bytes, Box::new(move |typed| Box::pin(reply(typed)))));
        Ok(())
    }

    /// Types what a terminal answers to its program. Whether there was room.
    pub fn answer(&self, bytes: Bytes) -> bool {
        if self.answers.load(Ordering::Acquire) >= ANSWERS {
            return false;
        }
        self.answers.fetch_add(1, Ordering::AcqRel);
        let is_sent = self.strokes.try_send(Stroke::Answer(bytes)).is_ok();
        if !is_sent {
            self.answers.fetch_sub(1, Ordering::AcqRel);
        }
        is_sent
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

    /// How it is set now, with a program that leads this process group.
    pub(super) fn settings(&self, program: Pid) -> TerminalSettings {
        // None is in the foreground while the program ends.
        let foreground = match tcgetpgrp(&self.terminal) {
            Ok(group) if group != program => Foreground::Job,
            Ok(_) | Err(_) => Foreground::Program,
        };
        TerminalSettings { foreground, ..settings(&self.terminal) }
    }
}

/// How a terminal is set; who is in its foreground is not looked at.
fn settings(terminal: &OwnedFd) -> TerminalSettings {
    let modes = match tcgetattr(terminal) {
        Ok(modes) => modes,
        Err(errno) => {
            tracing::warn!(%errno, "cannot read the modes of a terminal; assuming line mode");
            return TerminalSettings::AS_OPENED;
        }
    };
    let (local, input) = (modes.local_modes, modes.input_modes);
    TerminalSettings {
        lines: match local.contains(LocalModes::ICANON) {
            true => LineMode::Terminal,
            false => LineMode::Program,
        },
        echo: if local.contains(LocalModes::ECHO) { Echo::On } else { Echo::Off },
        carriage_return: match input.contains(InputModes::ICRNL) {
            true => CarriageReturn::Translated,
            false => CarriageReturn::Kept,
        },
        ..TerminalSettings::AS_OPENED
    }
}

/// A place among what waits to be typed.
#[derive(Debug)]
pub struct Stroking<'a>(mpsc::Permit<'a, Stroke>);

impl Stroking<'_> {
    /// Types this for a command, and says then how it went. `paste_read`: the program has read a paste, and what stands
    /// behind that waits for [`Keyboard::end_paste`].
    pub fn type_command<F, P>(
        self,
        typing: Typing,
        mut paste_read: impl FnMut() -> P + Send + 'static,
        reply: impl FnOnce(Result<(), TypingError>) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
        P: Future<Output = ()> + Send + 'static,
    {
        let paste_read = Box::new(move || -> Reply { Box::pin(paste_read()) });
        let reply = Box::new(move |typed| -> Reply { Box::pin(reply(typed)) });
        self.0.send(Stroke::Command { typing, paste_read, reply });
    }
}

async fn type_all(
    mut keys: OwnedWritePty,
    (reads, mut pastes): (Reads, watch::Receiver<u64>),
    mut strokes: mpsc::Receiver<Stroke>,
    answers: Arc<AtomicUsize>,
) {
    while let Some(stroke) = strokes.recv().await {
        match stroke {
            Stroke::Local(bytes) => {
                let within = Typing::TAKEN_WITHIN;
                if let Err(error) = press(&mut keys, &bytes, within, Instant::now() + within).await
                {
                    tracing::warn!(%error, "input typed at the agent's own terminal is lost");
                }
            }
            Stroke::Remote(bytes, reply) => {
                let within = Typing::TAKEN_WITHIN;
                let typed = press(&mut keys, &bytes, within, Instant::now() + within).await;
                reply(typed).await;
            }
            Stroke::Answer(bytes) => {
                answers.fetch_sub(1, Ordering::AcqRel);
                let within = ANSWERED_WITHIN;
                let answered = press(&mut keys, &bytes, within, Instant::now() + within).await;
                if let Err(error) = answered {
                    tracing::debug!(%error, "cannot answer a terminal query of the program");
                }
            }
            Stroke::Command { typing, paste_read, reply } => {
                // Who holds the other end drops it when the program has ended.
                let is_over = || strokes.is_closed();
                let paste = Paste { read: paste_read, settled: &mut pastes };
                let typed = type_one(&mut keys, &reads, typing, paste, is_over).await;
                reply(typed).await;
            }
        }
    }
}

/// A paste behind which something waits.
struct Paste<'a> {
    read: Box<dyn FnMut() -> Reply + Send>,
    settled: &'a mut watch::Receiver<u64>,
}

impl Paste<'_> {
    /// Says that the program has read it, and waits until it is said to be done with it.
    async fn settle(&mut self) {
        self.settled.mark_unchanged();
        (self.read)().await;
        // It ends with the keyboard too.
        if timeout(Typing::SETTLED_WITHIN, self.settled.changed()).await.is_err() {
            tracing::warn!("no sign that a program has processed a paste; typing Enter anyway");
        }
    }
}

async fn type_one(
    keys: &mut OwnedWritePty,
    reads: &Reads,
    typing: Typing,
    mut paste: Paste<'_>,
    is_over: impl Fn() -> bool,
) -> Result<(), TypingError> {
    let Typing { strokes, within } = typing;
    let give_up = Instant::now() + within;
    let bytes_of = |what: &StrokeKind| match what {
        StrokeKind::Text(bytes) | StrokeKind::Keys(bytes) | StrokeKind::Submit(bytes) => {
            bytes.len()
        }
        StrokeKind::Enter => 1,
        StrokeKind::Settle => 0,
    };
    let all: usize = strokes.iter().map(|stroke| bytes_of(&stroke.what)).sum();
    let mut typed = 0;
    for stroke in strokes {
        // As it is now: it may have been set in another way since the stroke before.
        let settings = settings(reads.terminal());
        let (bytes, expected) = match stroke.what {
            StrokeKind::Enter => (settings.enter().to_vec(), Expected::Reading),
            StrokeKind::Keys(bytes) => (bytes, Expected::Acting),
            StrokeKind::Settle => {
                paste.settle().await;
                continue;
            }
            StrokeKind::Text(bytes) | StrokeKind::Submit(bytes) => match settings.lines {
                LineMode::Program => (bytes, Expected::Reading),
                // It stands in the line until that is whole.
                LineMode::Terminal => (bytes, Expected::Acting),
            },
        };
        reads.forget();
        press(keys, &bytes, within, give_up).await.map_err(|error| match error {
            TypingError::NotRead { taken, .. } => {
                TypingError::NotRead { taken: taken + typed, all, within }
            }
            other @ (TypingError::Busy | TypingError::ThrownAway | TypingError::Closed(_)) => other,
        })?;
        typed += bytes.len();
        reads.wait(expected, (typed, all), within, give_up, &is_over).await?;
        if !stroke.pause.is_zero() {
            sleep(stroke.pause).await;
        }
    }
    Ok(())
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
