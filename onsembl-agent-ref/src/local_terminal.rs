//! The terminal from which the agent was started, while its program is attached to it: what is typed there
//! goes to the program, what the program writes is shown there byte for byte, and afterwards it is as it was before.

#![allow(clippy::disallowed_methods, reason = "it is the terminal that this is about")]

use bytes::Bytes;
use onsembl_protocol::model::TerminalSize;
use onsembl_protocol::shown::Shown;
use onsembl_protocol::worker::{Modes, ScreenEvent};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use std::fmt;
use std::io::{self, Read as _, Write as _, stdin, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc as blocking;
use std::thread;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// So much may wait to be shown before the program is made to wait, as a slow terminal would.
const BEHIND: usize = 256 * 1024;
/// So much at most, also of a program that is being ended and is read for that; more is left out.
const MOST: usize = 1024 * 1024;
/// At this level it resumes.
const CAUGHT_UP: usize = 64 * 1024;

/// How long the last of it may take to be shown when the agent ends.
const LAST_WRITE_WITHIN: Duration = Duration::from_secs(1);

/// Why a terminal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LocalTerminalError {
    /// There is none.
    #[error(
        "--attach needs a terminal for standard input and output; start the agent in one, or without --attach"
    )]
    None,
    /// The system refuses.
    #[error("the terminal of this agent cannot be used: {0}")]
    Io(#[from] io::Error),
}

/// The terminal, in raw mode until this is dropped.
pub(crate) struct LocalTerminal {
    before: Termios,
    modes: Modes,
    shown: Option<blocking::Sender<Bytes>>,
    waiting: Arc<AtomicUsize>,
    /// It was behind for too long, so that output no longer waits for it; this many bytes were not shown since.
    left_out: Option<u64>,
    written: blocking::Receiver<()>,
    sizes: JoinHandle<()>,
}

impl fmt::Debug for LocalTerminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalTerminal").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

impl LocalTerminal {
    /// Takes the terminal of this process. What happens there goes to `events`.
    ///
    /// Its thread that reads keys stays until the process ends: nothing else can end a read.
    ///
    /// # Errors
    ///
    /// There is none, or it cannot be used.
    pub(crate) fn open<E: Send + 'static>(
        events: mpsc::Sender<E>,
        event: fn(ScreenEvent) -> E,
    ) -> Result<Self, LocalTerminalError> {
        if !isatty(stdin()) || !isatty(stdout()) {
            return Err(LocalTerminalError::None);
        }
        let before = tcgetattr(stdin()).map_err(io::Error::from)?;
        let mut resized = signal(SignalKind::window_change())?;
        let waiting = Arc::new(AtomicUsize::new(0));
        let (shown, to_show) = blocking::channel::<Bytes>();
        let (done, written) = blocking::channel();
        let behind = Arc::clone(&waiting);
        let caught_up = events.clone();
        thread::Builder::new().name("local screen".to_owned()).spawn(move || {
            let mut out = stdout().lock();
            for bytes in to_show {
                let shown = out.write_all(&bytes).and_then(|()| out.flush());
                if let Err(error) = shown {
                    tracing::warn!(%error, "the agent's own terminal cannot be written to any more");
                    break;
                }
                let before = behind.fetch_sub(bytes.len(), Ordering::AcqRel);
                if before > CAUGHT_UP && before - bytes.len() <= CAUGHT_UP {
                    // Who waits has a deadline besides.
                    let _no_room = caught_up.try_send(event(ScreenEvent::CaughtUp));
                }
            }
            let _no_room = caught_up.try_send(event(ScreenEvent::CaughtUp));
            let _nobody_waits = done.send(());
        })?;
        let typed = events.clone();
        thread::Builder::new().name("local keyboard".to_owned()).spawn(move || {
            read_keys(|bytes| typed.blocking_send(event(ScreenEvent::Keys(bytes))).is_ok());
        })?;
        let sizes = tokio::spawn(async move {
            while resized.recv().await.is_some() {
                if let Some(size) = size()
                    && events.send(event(ScreenEvent::Resized(size))).await.is_err()
                {
                    break;
                }
            }
        });
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw).map_err(io::Error::from)?;
        let modes = Modes::default();
        let shown = Some(shown);
        let mut here = Self { before, modes, shown, waiting, left_out: None, written, sizes };
        // A program that ends hard leaves its own.
        let _waits_for_nobody = here.show(&Bytes::from_static(Modes::KEEP_TITLE));
        Ok(here)
    }

    /// Shows what the program wrote. Whether the program is to wait until
    /// [`CaughtUp`](ScreenEvent::CaughtUp).
    pub(crate) fn show(&mut self, bytes: &Bytes) -> bool {
        self.modes.read(bytes);
        if self.waiting.load(Ordering::Acquire) > MOST {
            self.leave_behind();
        }
        if let Some(left_out) = &mut self.left_out {
            *left_out = left_out.saturating_add(bytes.len() as u64);
            return false;
        }
        let Some(shown) = &self.shown else { return false };
        let before = self.waiting.fetch_add(bytes.len(), Ordering::AcqRel);
        // It is not shown if the terminal is closed; nothing waits for it then.
        shown.send(bytes.clone()).is_ok() && before + bytes.len() > BEHIND
    }
}

impl LocalTerminal {
    /// Shows a message on it.
    pub(crate) fn notice(&mut self, text: &str) {
        let _waits_for_nobody =
            self.show(&Bytes::from(format!("\r\n[onsembl: {}]\r\n", Shown::new(text))));
    }

    /// It is too far behind to be waited for any longer: what comes is not shown until it has caught up.
    pub(crate) fn leave_behind(&mut self) {
        self.left_out.get_or_insert(0);
    }

    /// It shows again what it is given, and says first what it was not given.
    pub(crate) fn on_caught_up(&mut self) {
        if let Some(left_out) = self.left_out.take().filter(|bytes| *bytes > 0) {
            self.notice(&format!("{left_out} bytes were not shown here"));
        }
    }
}

/// How large it is; `None` if it does not say.
pub(crate) fn size() -> Option<TerminalSize> {
    let size = tcgetwinsize(stdout()).ok()?;
    TerminalSize::new(size.ws_col.into(), size.ws_row.into())
}

impl Drop for LocalTerminal {
    fn drop(&mut self) {
        self.sizes.abort();
        if let Some(shown) = self.shown.take() {
            let _it_may_be_gone = shown.send(Bytes::from(self.modes.restoring()));
        }
        if self.written.recv_timeout(LAST_WRITE_WITHIN).is_err() {
            tracing::warn!("the agent's own terminal did not show everything in time");
        }
        if let Err(errno) = tcsetattr(stdin(), OptionalActions::Now, &self.before)
            && errno != Errno::IO
        {
            tracing::error!(%errno, "the terminal could not be restored; run `stty sane`");
        }
    }
}

fn read_keys(mut take: impl FnMut(Bytes) -> bool) {
    let mut keys = stdin().lock();
    let mut buffer = [0; 4096];
    loop {
        match keys.read(&mut buffer) {
            Ok(0) => return tracing::info!("the agent's own terminal was closed"),
            Ok(n) => {
                let typed = Bytes::copy_from_slice(buffer.get(..n).unwrap_or_default());
                if !take(typed) {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return tracing::info!(%error, "stopped reading from the agent's own terminal");
            }
        }
    }
}
