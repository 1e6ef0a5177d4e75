//! The terminal of the person who attaches: raw while this lives, and afterwards as it was, whatever happens. What is
//! typed there comes as events; what is shown is written by a thread of its own, so that a terminal that takes nothing
//! holds nothing up.

#![allow(clippy::disallowed_methods, reason = "it is the terminal that this is about")]

use bytes::Bytes;
use onsembl_protocol::model::TerminalSize;
use onsembl_protocol::terminal::Viewing;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{self, Read as _, Write as _, stdin, stdout};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc as blocking;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};

/// Pieces of what is typed that may wait to be looked at.
const TYPED: usize = 64;
/// How long the last of it may take to be shown.
const LAST_WRITE_WITHIN: Duration = Duration::from_secs(1);

/// Brings a terminal to a state from which a screen is drawn: no margins, no colours, nothing shown.
const BLANK: &[u8] = b"\x1b[!p\x1b[?6l\x1b[?7h\x1b[r\x1b[0m\x1b[?25h\x1b[H\x1b[2J";

/// How the terminal was, for a process that panics.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Something that happened at the terminal.
#[derive(Debug)]
pub(super) enum Local {
    Keys(Bytes),
    /// Nothing more comes from it.
    Closed,
    /// It may have another size.
    Resized,
    /// This process was suspended, and somebody else had the terminal.
    Continued,
    /// This process is to end, by this signal.
    Signal(i32),
}

pub(super) struct LocalTerminal {
    before: Termios,
    /// What of the output reaches it.
    viewing: Viewing,
    keys: mpsc::Receiver<Bytes>,
    signals: Signals,
    shown: Option<blocking::Sender<Bytes>>,
    waiting: Arc<AtomicUsize>,
    drained: Arc<Notify>,
    written: blocking::Receiver<()>,
}

struct Signals {
    resized: Signal,
    continued: Signal,
    hangup: Signal,
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
}

/// Whether this process has a terminal for both directions.
pub(super) fn is_there() -> bool {
    isatty(stdin()) && isatty(stdout())
}

/// How large it is; `None` if it does not say.
pub(super) fn size() -> Option<TerminalSize> {
    let size = tcgetwinsize(stdout()).ok()?;
    TerminalSize::new(size.ws_col.into(), size.ws_row.into())
}

impl LocalTerminal {
    /// Takes the terminal of this process. Its thread that reads keys stays until the process ends: nothing else can
    /// end a read.
    ///
    /// # Errors
    /// It cannot be used.
    pub(super) fn open() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let signals = Signals {
            resized: signal(SignalKind::window_change())?,
            continued: signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?,
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
        };
        let (waiting, drained) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (shown, to_show) = blocking::channel::<Bytes>();
        let (done, written) = blocking::channel();
        let (behind, tell) = (Arc::clone(&waiting), Arc::clone(&drained));
        thread::Builder::new().name("screen".to_owned()).spawn(move || {
            let mut out = stdout().lock();
            for bytes in to_show {
                if let Err(error) = out.write_all(&bytes).and_then(|()| out.flush()) {
                    tracing::info!(%error, "the terminal cannot be written to any more");
                    break;
                }
                behind.fetch_sub(bytes.len(), Ordering::AcqRel);
                tell.notify_one();
            }
            let _nobody_waits = done.send(());
        })?;
        let (typed, keys) = mpsc::channel(TYPED);
        thread::Builder::new().name("keyboard".to_owned()).spawn(move || {
            read_keys(|bytes| typed.blocking_send(bytes).is_ok());
        })?;
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before.clone());
        restore_on_panic();
        set_raw(&before)?;
        let viewing = Viewing::default();
        Ok(Self { before, viewing, keys, signals, shown: Some(shown), waiting, drained, written })
    }

    /// Waits for what comes next. A dropped call loses nothing.
    pub(super) async fn next(&mut self) -> Local {
        let Self { keys, signals, before, .. } = self;
        tokio::select! {
            biased;
            _ = signals.terminate.recv() => Local::Signal(SignalKind::terminate().as_raw_value()),
            _ = signals.hangup.recv() => Local::Signal(SignalKind::hangup().as_raw_value()),
            _ = signals.interrupt.recv() => Local::Signal(SignalKind::interrupt().as_raw_value()),
            _ = signals.quit.recv() => Local::Signal(SignalKind::quit().as_raw_value()),
            _ = signals.continued.recv() => {
                if let Err(error) = set_raw(before) {
                    tracing::warn!(%error, "the terminal cannot be made raw again");
                }
                Local::Continued
            }
            _ = signals.resized.recv() => Local::Resized,
            typed = keys.recv() => typed.map_or(Local::Closed, Local::Keys),
        }
    }

    /// Shows what the program wrote, when what came before is shown.
    pub(super) fn show_output(&mut self, bytes: &[u8]) {
        let passed = self.viewing.pass(bytes);
        self.show(passed);
    }

    /// Shows a screen instead of what is shown, by what brings a fresh terminal to it.
    pub(super) fn draw(&mut self, dump: &[u8]) {
        let mut bytes = std::mem::take(&mut self.viewing).restoring();
        bytes.extend_from_slice(BLANK);
        bytes.extend_from_slice(&self.viewing.pass(dump));
        self.show(bytes);
    }

    /// Shows this, when what came before is shown.
    pub(super) fn show(&self, bytes: Vec<u8>) {
        let Some(shown) = self.shown.as_ref().filter(|_| !bytes.is_empty()) else { return };
        self.waiting.fetch_add(bytes.len(), Ordering::AcqRel);
        // It is not shown if the terminal is closed, which is heard from its keyboard.
        let _closed = shown.send(bytes.into());
    }

    /// Bytes that are not shown yet.
    pub(super) fn behind(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// For when fewer are.
    pub(super) fn drained(&self) -> Arc<Notify> {
        Arc::clone(&self.drained)
    }
}

impl Drop for LocalTerminal {
    fn drop(&mut self) {
        let mut last = self.viewing.restoring();
        let row = size().map_or(999, TerminalSize::rows);
        last.extend_from_slice(format!("\x1b[r\x1b[0m\x1b[?25h\x1b[{row};1H\r\n").as_bytes());
        self.show(last);
        drop(self.shown.take());
        if self.written.recv_timeout(LAST_WRITE_WITHIN).is_err() {
            tracing::info!("the terminal did not show everything in time");
        }
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if let Err(error) = tcsetattr(stdin(), OptionalActions::Now, &self.before) {
            tracing::error!(%error, "the terminal could not be restored; run `stty sane`");
        }
    }
}

fn set_raw(before: &Termios) -> io::Result<()> {
    let mut raw = before.clone();
    raw.make_raw();
    Ok(tcsetattr(stdin(), OptionalActions::Now, &raw)?)
}

/// Before a panic is told, so that its lines are readable.
fn restore_on_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(before) = before {
            let _nothing_helps = tcsetattr(stdin(), OptionalActions::Now, &before);
        }
        tell(panic);
    }));
}

fn read_keys(mut take: impl FnMut(Bytes) -> bool) {
    let mut keys = stdin().lock();
    let mut buffer = [0; 4096];
    loop {
        match keys.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => {
                let typed = Bytes::copy_from_slice(buffer.get(..n).unwrap_or_default());
                if !take(typed) {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return tracing::info!(%error, "stopped reading from the terminal");
            }
        }
    }
}
