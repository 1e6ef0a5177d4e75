//! The certificate, which changes while the server runs: it is renewed, now and again and on SIGHUP.

use onsembl_transport::log_limit::LogLimit;
use onsembl_transport::private::Mode;
use onsembl_transport::tls::{Reloaded, ServerTls};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

/// From one look at the files to the next. A look costs two calls of the system, and an operator who renews a
/// certificate does so days before the old one ends.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Before its end a certificate is warned of for this long: authorities that renew by themselves do so weeks
/// before, so that one that is still there has not been renewed.
const WARN_BEFORE: Duration = Duration::from_secs(14 * 24 * 3600);

/// How often: each day, and within the last one, and after it, each hour.
const DAILY: Duration = Duration::from_secs(24 * 3600);
const HOURLY: Duration = Duration::from_secs(3600);

/// Keeps the certificate of a server that listens as it is on disk.
pub(super) struct Renewal {
    tls: Option<ServerTls>,
    next: Instant,
    /// A look at files that do not answer must hold up neither a stop nor the next look.
    running: Option<JoinHandle<()>>,
    expiry: Arc<Expiry>,
}

/// What was said lately of the end of a certificate.
#[derive(Debug)]
struct Expiry {
    soon: LogLimit<(), SystemTime>,
    pressing: LogLimit<(), SystemTime>,
}

/// What is to be said of a certificate that ends then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remaining {
    Enough,
    Soon(Duration),
    Pressing(Duration),
    Over,
}

impl Remaining {
    fn of(ends: SystemTime, now: SystemTime) -> Self {
        match ends.duration_since(now) {
            Err(_) => Self::Over,
            Ok(left) if left < DAILY => Self::Pressing(left),
            Ok(left) if left < WARN_BEFORE => Self::Soon(left),
            Ok(_) => Self::Enough,
        }
    }
}

impl Expiry {
    fn new() -> Self {
        Self { soon: LogLimit::every(DAILY), pressing: LogLimit::every(HOURLY) }
    }

    fn look(&self, tls: &ServerTls) {
        if let Some(begins) = tls.begins().filter(|begins| *begins > SystemTime::now())
            && self.pressing.allow((), begins).is_some()
        {
            let path = tls.certificate().display();
            let at = humantime::format_rfc3339_seconds(begins);
            warn!(%path, %at, "the certificate is not valid yet, and agents refuse it until then; use another one, or set this machine's clock");
        }
        let Some(ends) = tls.ends() else { return };
        let path = tls.certificate().display();
        let at = humantime::format_rfc3339_seconds(ends);
        let remaining = Remaining::of(ends, SystemTime::now());
        let is_due = match remaining {
            Remaining::Enough => false,
            Remaining::Soon(_) => self.soon.allow((), ends).is_some(),
            Remaining::Pressing(_) | Remaining::Over => self.pressing.allow((), ends).is_some(),
        };
        match remaining {
            _ if !is_due => {}
            Remaining::Enough => {}
            Remaining::Soon(left) | Remaining::Pressing(left) => {
                let left =
                    humantime::format_duration(Duration::from_secs(left.as_secs() / 60 * 60));
                warn!(%path, %at, %left, "the certificate is about to expire, and agents will refuse it then; renew it");
            }
            Remaining::Over => {
                warn!(%path, %at, "the certificate has expired, and agents refuse it; renew it, or set this machine's clock");
            }
        }
    }
}

impl Renewal {
    /// Of this certificate, if there is one.
    pub(super) fn new(tls: Option<ServerTls>) -> Self {
        let expiry = Arc::new(Expiry::new());
        if let Some(tls) = &tls {
            expiry.look(tls);
        }
        Self { tls, next: Instant::now() + LOOK_EVERY, running: None, expiry }
    }

    /// Completes when it is time for the next look.
    pub(super) async fn due(&self) {
        sleep_until(self.next).await;
    }

    /// Takes the files if they changed.
    pub(super) fn look(&mut self) {
        self.next = Instant::now() + LOOK_EVERY;
        self.run(|tls| match tls.reload_if_changed() {
            Ok(Reloaded::Unchanged) => {}
            Ok(Reloaded::Renewed) => {
                info!("the certificate was renewed");
                warn_of_open_key(tls.key());
            }
            Err(error) => kept(&error),
        });
    }

    /// A signal says that the files are new.
    pub(super) fn ordered(&mut self) {
        if self.tls.is_none() {
            info!(signal = "SIGHUP", "no certificate to reload; continuing");
        }
        self.run(|tls| match tls.reload() {
            Ok(()) => {
                info!(signal = "SIGHUP", "the certificate was reloaded");
                warn_of_open_key(tls.key());
            }
            Err(error) => kept(&error),
        });
    }

    fn run(&mut self, look: impl FnOnce(&ServerTls) + Send + 'static) {
        let is_free = self.running.as_ref().is_none_or(JoinHandle::is_finished);
        if !is_free {
            return;
        }
        let Some(tls) = self.tls.clone() else { return };
        let expiry = Arc::clone(&self.expiry);
        self.running = Some(tokio::task::spawn_blocking(move || {
            look(&tls);
            expiry.look(&tls);
        }));
    }
}

/// Says that others than the server's user can use its private key, if they can.
pub(super) fn warn_of_open_key(key: &Path) {
    if let Ok(mode) = Mode::at(key)
        && mode.is_open_to_others()
    {
        let path = key.display();
        warn!(%path, %mode, "every user of this machine can use the private key; run chmod 600 on it");
    }
}

fn kept(error: &impl std::fmt::Display) {
    warn!(%error, "the new certificate is unusable; keeping the current one");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_warned_of_before_it_ends() {
        let now = SystemTime::UNIX_EPOCH + 10_000 * DAILY;
        let remaining = |ends| Remaining::of(ends, now);
        assert_eq!(remaining(now + 30 * DAILY), Remaining::Enough);
        assert_eq!(remaining(now + 13 * DAILY), Remaining::Soon(13 * DAILY));
        assert_eq!(remaining(now + HOURLY), Remaining::Pressing(HOURLY));
        assert_eq!(remaining(now - HOURLY), Remaining::Over);
    }
}
