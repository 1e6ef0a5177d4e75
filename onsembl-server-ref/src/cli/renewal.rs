//! Certificates that are renewed on disk while the server runs: looked at now and again, and on SIGHUP.

use onsembl_transport::tls::{Reloaded, ServerTls};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

/// From one look at the files to the next. A look costs two calls of the system, and an operator who renews a
/// certificate does so days before the old one ends.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Keeps the certificate of a server that listens as it is on disk.
pub(super) struct Renewal {
    tls: Option<ServerTls>,
    next: Instant,
    /// A look at files that do not answer must hold up neither a stop nor the next look.
    running: Option<JoinHandle<()>>,
}

impl Renewal {
    pub(super) fn new(tls: Option<ServerTls>) -> Self {
        Self { tls, next: Instant::now() + LOOK_EVERY, running: None }
    }

    /// Completes when it is time for the next look; never without a certificate.
    pub(super) async fn due(&self) {
        match self.tls {
            Some(_) => sleep_until(self.next).await,
            None => std::future::pending().await,
        }
    }

    /// Takes the files if they changed.
    pub(super) fn look(&mut self) {
        self.next = Instant::now() + LOOK_EVERY;
        self.run(|tls| match tls.reload_if_changed() {
            Ok(Reloaded::Unchanged) => {}
            Ok(Reloaded::Renewed) => info!("the certificate was renewed"),
            Err(error) => kept(&error),
        });
    }

    /// A signal says that the files are new.
    pub(super) fn ordered(&mut self) {
        if self.tls.is_none() {
            info!(signal = "SIGHUP", "there is no certificate to read again; going on");
        }
        self.run(|tls| match tls.reload() {
            Ok(()) => info!(signal = "SIGHUP", "the certificate was read again"),
            Err(error) => kept(&error),
        });
    }

    fn run(&mut self, look: impl FnOnce(&ServerTls) + Send + 'static) {
        let is_free = self.running.as_ref().is_none_or(JoinHandle::is_finished);
        if let Some(tls) = self.tls.clone().filter(|_| is_free) {
            self.running = Some(tokio::task::spawn_blocking(move || look(&tls)));
        }
    }
}

fn kept(error: &impl std::fmt::Display) {
    warn!(%error, "the new certificate cannot be used; keeping the one in use");
}
