//! The service manager of a program that may have been started without one. That it does not listen is never a reason for
//! the program to end.

use super::{Notifier, NotifyError, ServiceState};
use std::sync::Arc;
use std::time::Duration;
use tracing::{debug, warn};

/// From one sign of life to the next, where the manager does not ask for more.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Signs within the time that the manager waits for one: one may be late, and one more lost.
const LOOKS: u32 = 3;

/// The way to the service manager, or to nobody.
#[derive(Clone, Debug, Default)]
pub struct Supervisor(Option<Arc<Notifier>>);

impl Supervisor {
    /// As the environment says. What is wrong with it is logged.
    #[must_use]
    pub fn from_env() -> Self {
        Self::of(Notifier::from_env().unwrap_or_else(|error| {
            warn!(%error, "the service manager gets no notifications from this program");
            None
        }))
    }

    /// By this way.
    #[must_use]
    pub fn of(notifier: Option<Notifier>) -> Self {
        Self(notifier.map(Arc::new))
    }

    /// Whether anybody listens.
    #[must_use]
    pub const fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    /// How often the program is to say that it lives; `None` if nobody listens.
    #[must_use]
    pub fn look_every(&self) -> Option<Duration> {
        let asked_for = self.0.as_ref()?.watchdog().map(|limit| limit / LOOKS);
        Some(asked_for.map_or(LOOK_EVERY, |every| every.min(LOOK_EVERY)))
    }

    /// Tells it all of this in one message.
    ///
    /// # Errors
    /// It does not listen any more, or does not read.
    pub fn try_tell(&self, states: &[ServiceState<'_>]) -> Result<(), NotifyError> {
        self.0.as_ref().map_or(Ok(()), |notifier| notifier.tell(states))
    }

    /// The same where nothing depends on it: a failure is logged.
    pub fn tell(&self, states: &[ServiceState<'_>]) {
        if let Err(error) = self.try_tell(states) {
            debug!(%error, "cannot notify the service manager");
        }
    }

    /// Files are being read again.
    pub fn reloading(&self) {
        self.tell(&[ServiceState::reloading()]);
    }

    /// They were read.
    pub fn reloaded(&self) {
        self.tell(&[ServiceState::Ready]);
    }

    /// The program ends, which may take this long from now. `why` is a line for people.
    pub fn stopping(&self, why: &str, within: Duration) {
        let why = ServiceState::Status(why);
        self.tell(&[ServiceState::Stopping, ServiceState::NeedsTime(within), why]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_manager_is_told_three_times_within_its_limit_and_nobody_is_no_failure() {
        let nobody = Supervisor::default();
        nobody.reloading();
        assert!(!nobody.is_heard() && nobody.look_every().is_none());
        assert!(nobody.try_tell(&[ServiceState::Alive]).is_ok());

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let to = |watchdog| {
            Supervisor::of(Some(Notifier::to(path.as_os_str(), watchdog).unwrap())).look_every()
        };
        assert_eq!(to(None), Some(LOOK_EVERY));
        assert_eq!(to(Some(Duration::from_secs(6))), Some(Duration::from_secs(2)));
        assert_eq!(to(Some(Duration::from_secs(600))), Some(LOOK_EVERY));

        let supervisor = Supervisor::of(Some(Notifier::to(path.as_os_str(), None).unwrap()));
        supervisor.stopping("enough", Duration::from_secs(1));
        let mut bytes = [0; 256];
        let length = manager.recv(&mut bytes).unwrap();
        assert_eq!(
            std::str::from_utf8(&bytes[..length]).unwrap(),
            "STOPPING=1\nEXTEND_TIMEOUT_USEC=1000000\nSTATUS=enough\n"
        );
        drop(manager);
        assert!(supervisor.try_tell(&[ServiceState::Alive]).is_err());
        supervisor.reloaded();
    }
}
