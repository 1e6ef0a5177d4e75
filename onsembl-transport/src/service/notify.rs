//! `sd_notify(3)` without its library: datagrams of `NAME=value` lines to the socket that `NOTIFY_SOCKET` names.
//!
//! The socket is a path, or an abstract name where it begins with `@`.

use onsembl_protocol::shown::Shown;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;
use thiserror::Error;

/// What a service manager shows of a program is one line.
const STATUS_CHARACTERS: usize = 200;

/// Why a service manager cannot be told anything.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// The variable `NOTIFY_SOCKET` names no socket that can be used here.
    #[error("NOTIFY_SOCKET={socket:?} is neither an absolute path nor an abstract name")]
    Address {
        /// As it is.
        socket: OsString,
    },
    /// The system refuses.
    #[error("cannot tell the service manager: {0}")]
    Io(#[from] io::Error),
}

/// What a service manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceState<'a> {
    /// It serves. Also the end of a reload.
    Ready,
    /// Its configuration is being read again, from this time of the monotonic clock on.
    Reloading {
        /// Since the start of the machine.
        monotonic: Duration,
    },
    /// It ends.
    Stopping,
    /// One line for people.
    Status(&'a str),
    /// It was found alive just now.
    Alive,
    /// What is in progress (a start, a stop) may take this long from now.
    NeedsTime(Duration),
}

impl ServiceState<'_> {
    /// A reload that begins now.
    #[must_use]
    pub fn reloading() -> Self {
        Self::Reloading { monotonic: monotonic() }
    }

    fn write(self, text: &mut String) {
        use std::fmt::Write as _;
        // Writing to a string does not fail.
        let _ = match self {
            Self::Ready => writeln!(text, "READY=1"),
            Self::Reloading { monotonic } => {
                writeln!(text, "RELOADING=1\nMONOTONIC_USEC={}", monotonic.as_micros())
            }
            Self::Stopping => writeln!(text, "STOPPING=1"),
            Self::Status(line) => {
                writeln!(text, "STATUS={}", Shown::new(line).within(STATUS_CHARACTERS))
            }
            Self::Alive => writeln!(text, "WATCHDOG=1"),
            Self::NeedsTime(time) => writeln!(text, "EXTEND_TIMEOUT_USEC={}", time.as_micros()),
        };
    }
}

#[cfg(target_os = "linux")]
fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::try_from(now).unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
fn monotonic() -> Duration {
    Duration::ZERO
}

/// The way to the service manager that started this process.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
    manager: SocketAddr,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The way that the environment names; `None` if no service manager waits for word.
    ///
    /// # Errors
    /// It names something that is no way.
    pub fn from_env() -> Result<Option<Self>, NotifyError> {
        Self::of(|name| std::env::var_os(name), std::process::id())
    }

    fn of(
        variable: impl Fn(&str) -> Option<OsString>,
        own: u32,
    ) -> Result<Option<Self>, NotifyError> {
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let number = |name: &str| variable(name)?.to_str()?.parse::<u64>().ok();
        // Meant for another process if it names one: what this one was started by may have been watched itself.
        let is_ours =
            variable("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(own.into());
        let watchdog = number("WATCHDOG_USEC").filter(|usec| is_ours && *usec > 0);
        Self::to(&name, watchdog.map(Duration::from_micros)).map(Some)
    }

    /// The way to a manager at this path, or at this abstract name behind `@`, that watches with this time or not.
    ///
    /// # Errors
    /// It is neither, or the system gives no socket.
    pub fn to(name: &OsStr, watchdog: Option<Duration>) -> Result<Self, NotifyError> {
        let nowhere = || NotifyError::Address { socket: name.to_owned() };
        let manager = address(name).ok_or_else(nowhere)??;
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not hold up what it watches.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, manager, watchdog })
    }

    /// Without a sign of life for this long the manager ends the process; `None`: it does not watch.
    #[must_use]
    pub const fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Tells it all of this in one message.
    ///
    /// # Errors
    /// The manager does not listen any more, or does not read.
    pub fn tell(&self, states: &[ServiceState<'_>]) -> Result<(), NotifyError> {
        let mut text = String::new();
        states.iter().for_each(|state| state.write(&mut text));
        let _ = self.socket.send_to_addr(text.as_bytes(), &self.manager)?;
        Ok(())
    }
}

/// `None` for what is neither a path nor an abstract name.
fn address(name: &OsStr) -> Option<io::Result<SocketAddr>> {
    let bytes = name.as_bytes();
    match bytes.split_first()? {
        (b'/', _) => Some(SocketAddr::from_pathname(name)),
        (b'@', rest) => abstract_name(rest),
        (_, _) => None,
    }
}

#[cfg(target_os = "linux")]
fn abstract_name(name: &[u8]) -> Option<io::Result<SocketAddr>> {
    use std::os::linux::net::SocketAddrExt as _;
    Some(SocketAddr::from_abstract_name(name))
}

#[cfg(not(target_os = "linux"))]
fn abstract_name(_: &[u8]) -> Option<io::Result<SocketAddr>> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn with(variables: &[(&str, &str)]) -> Result<Option<Notifier>, NotifyError> {
        let all: BTreeMap<String, OsString> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        Notifier::of(|name| all.get(name).cloned(), 77)
    }

    fn heard(manager: &UnixDatagram) -> String {
        let mut bytes = [0; 1024];
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_manager_at_a_path_hears_what_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = with(&[("NOTIFY_SOCKET", path.to_str().unwrap())]).unwrap().unwrap();
        assert_eq!(notifier.watchdog(), None);
        notifier.tell(&[ServiceState::Ready, ServiceState::Status("3 agents\nREADY=0")]).unwrap();
        assert_eq!(heard(&manager), "READY=1\nSTATUS=3 agents\\nREADY=0\n");
        let at = Duration::from_micros(1_500_000);
        notifier.tell(&[ServiceState::Reloading { monotonic: at }]).unwrap();
        assert_eq!(heard(&manager), "RELOADING=1\nMONOTONIC_USEC=1500000\n");
        let time = Duration::from_secs(10);
        notifier.tell(&[ServiceState::Stopping, ServiceState::NeedsTime(time)]).unwrap();
        assert_eq!(heard(&manager), "STOPPING=1\nEXTEND_TIMEOUT_USEC=10000000\n");
        drop(manager);
        assert!(notifier.tell(&[ServiceState::Alive]).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_manager_at_an_abstract_name_hears_what_it_is_told() {
        use std::os::linux::net::SocketAddrExt as _;
        let name = format!("onsembl-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let notifier = with(&[("NOTIFY_SOCKET", &format!("@{name}"))]).unwrap().unwrap();
        notifier.tell(&[ServiceState::Alive]).unwrap();
        assert_eq!(heard(&manager), "WATCHDOG=1\n");
    }

    #[test]
    fn without_a_manager_there_is_nobody_to_tell_and_a_bad_name_is_named() {
        assert!(with(&[]).unwrap().is_none());
        assert!(with(&[("NOTIFY_SOCKET", "")]).unwrap().is_none());
        let refused = with(&[("NOTIFY_SOCKET", "notify")]).unwrap_err().to_string();
        assert!(refused.contains("\"notify\""), "{refused}");
    }

    #[test]
    fn a_watchdog_of_another_process_is_none() {
        let watchdog = |pid: &[(&str, &str)]| {
            let all = [&[("NOTIFY_SOCKET", "/x"), ("WATCHDOG_USEC", "3000000")], pid].concat();
            with(&all).unwrap().unwrap().watchdog()
        };
        assert_eq!(watchdog(&[]), Some(Duration::from_secs(3)));
        assert_eq!(watchdog(&[("WATCHDOG_PID", "77")]), Some(Duration::from_secs(3)));
        assert_eq!(watchdog(&[("WATCHDOG_PID", "78")]), None);
        let zero = with(&[("NOTIFY_SOCKET", "/x"), ("WATCHDOG_USEC", "0")]).unwrap().unwrap();
        assert_eq!(zero.watchdog(), None);
    }
}
