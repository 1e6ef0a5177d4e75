//! Whether what was typed into a terminal has been read. A terminal does not say so; the system says what lies in
//! it unread, and on Linux also that somebody has read from it. Where that is unavailable, input counts as read.

use super::pty::TypingError;
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between the first two looks; it doubles.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LONGEST_LOOK: Duration = Duration::from_millis(10);
/// A terminal takes what is typed a moment after it was written.
const ON_ITS_WAY: Duration = Duration::from_millis(100);
/// The same for keys, of which many never lie in it: signals, and what stands in a line that it gathers.
const KEYS_ON_THEIR_WAY: Duration = Duration::from_millis(20);

/// What is seen of those who read from a terminal.
#[derive(Debug)]
pub(super) struct Reads {
    terminal: Arc<OwnedFd>,
    accesses: Option<OwnedFd>,
}

/// What becomes of something that was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// The program reads it.
    Reading,
    /// The terminal may act on it, or keep it until a line is whole.
    Acting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unread {
    Nothing,
    Something,
    /// The system does not say.
    NotSaid,
}

impl Reads {
    pub(super) fn of(terminal: &Arc<OwnedFd>) -> Self {
        Self { terminal: Arc::clone(terminal), accesses: accesses(terminal) }
    }

    pub(super) fn terminal(&self) -> &OwnedFd {
        &self.terminal
    }

    /// What is typed from now on is what matters.
    pub(super) fn forget(&self) {
        while self.has_access() {}
    }

    /// Waits until what was just typed is read, `typed` of `all` bytes by now. `is_over` says whether the program has
    /// ended, as far as that is known.
    pub(super) async fn wait(
        &self,
        expected: Expected,
        (typed, all): (usize, usize),
        within: Duration,
        give_up: Instant,
        is_over: impl Fn() -> bool,
    ) -> Result<(), TypingError> {
        let mut pause = FIRST_LOOK;
        let mut is_accessed = false;
        let mut lay_unread = false;
        let mut nothing_since = None;
        loop {
            let is_over = is_over();
            // In this order: what is read is reported before it is missing.
            let unread = self.unread();
            is_accessed |= self.has_access();
            let now = Instant::now();
            match unread {
                Ok(Unread::NotSaid) => return Ok(()),
                Ok(Unread::Nothing) | Err(_) if is_accessed => return Ok(()),
                Ok(Unread::Nothing | Unread::Something) if !is_over => {}
                Ok(Unread::Nothing | Unread::Something) | Err(_) => {
                    return match expected {
                        // A key may be what ended it.
                        Expected::Acting => Ok(()),
                        Expected::Reading => Err(TypingError::Closed(Errno::IO.into())),
                    };
                }
            }
            match unread {
                Ok(Unread::NotSaid) | Err(_) => return Ok(()),
                Ok(Unread::Nothing) => {
                    let since = *nothing_since.get_or_insert(now);
                    let enough = match expected {
                        Expected::Reading => ON_ITS_WAY,
                        Expected::Acting => KEYS_ON_THEIR_WAY,
                    };
                    if since + enough <= now {
                        let is_gone = lay_unread && self.accesses.is_some();
                        return match expected {
                            Expected::Reading if is_gone => Err(TypingError::ThrownAway),
                            Expected::Reading | Expected::Acting => Ok(()),
                        };
                    }
                }
                Ok(Unread::Something) => {
                    lay_unread = true;
                    nothing_since = None;
                }
            }
            if give_up <= now {
                return Err(TypingError::NotRead { taken: typed, all, within });
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_LOOK);
        }
    }

    /// Whether somebody has read since this was asked last; false if that is unavailable.
    fn has_access(&self) -> bool {
        let Some(accesses) = &self.accesses else { return false };
        matches!(rustix::io::read(accesses, &mut [0; 1024]), Ok(read) if read > 0)
    }

    #[cfg(target_os = "linux")]
    fn unread(&self) -> Result<Unread, Errno> {
        use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
        // Only the other end tells. It is opened for this moment: held open, it would hide the end of the program.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let end = match ioctl_tiocgptpeer(&*self.terminal, flags) {
            Ok(end) => end,
            Err(Errno::IO) => return Err(Errno::IO),
            Err(errno) => {
                tracing::debug!(%errno, "cannot read how much input of a terminal is unread");
                return Ok(Unread::NotSaid);
            }
        };
        match rustix::io::ioctl_fionread(&end) {
            Ok(0) => Ok(Unread::Nothing),
            Ok(_) => Ok(Unread::Something),
            Err(Errno::IO) => Err(Errno::IO),
            Err(_) => Ok(Unread::NotSaid),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn unread(&self) -> Result<Unread, Errno> {
        let _ = &self.terminal;
        Ok(Unread::NotSaid)
    }
}

/// Where the system says that somebody has read from this terminal, by its own name or as the terminal of its
/// session.
#[cfg(target_os = "linux")]
fn accesses(terminal: &Arc<OwnedFd>) -> Option<OwnedFd> {
    use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
    let watch = || {
        let name = rustix::pty::ptsname(&**terminal, Vec::new())?;
        let accesses = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        inotify::add_watch(&accesses, name.as_c_str(), WatchFlags::ACCESS)?;
        inotify::add_watch(&accesses, c"/dev/tty", WatchFlags::ACCESS)?;
        Ok::<_, Errno>(accesses)
    };
    match watch() {
        Ok(accesses) => Some(accesses),
        Err(errno) => {
            tracing::debug!(%errno, "cannot determine which process reads from a terminal");
            None
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn accesses(_terminal: &Arc<OwnedFd>) -> Option<OwnedFd> {
    None
}
