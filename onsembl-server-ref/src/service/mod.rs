//! What the server tells the service manager that started it, if one waits for word.
//!
//! A sign of life is sent after the hub has answered, and for no other reason: a hub that hangs, or a runtime that
//! does not get to it, is silence, upon which the manager ends the process. Trouble of the database is none: agents
//! stay
//! connected through it, and a restart would not heal the disk.

mod unit;

pub(crate) use unit::ServerUnit;

use crate::hub::{HubHandle, HubStats, Request};
use crate::store::{Store, StoreHealth};
use onsembl_transport::service::{NotifyError, ServiceState, Supervisor};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::warn;

/// How long a stop may take, from the last word on: goodbyes, the last writes, and a disk that is slow.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// What is asked whether it lives.
#[derive(Clone, Debug)]
pub(crate) struct Pulse {
    hub: HubHandle,
    health: watch::Receiver<StoreHealth>,
}

impl Pulse {
    pub(crate) fn new(hub: HubHandle, store: &Store) -> Self {
        Self { hub, health: store.health() }
    }

    /// Waits for an answer as long as it takes; `None` if the hub has ended.
    async fn answer(&self) -> Option<HubStats> {
        let (reply, answer) = oneshot::channel();
        if !self.hub.ask(Request::Alive(reply)).await {
            return None;
        }
        answer.await.ok()
    }

    fn status(&self, stats: HubStats) -> String {
        let HubStats { links, sessions, open_commands, .. } = stats;
        let health = *self.health.borrow();
        format!(
            "{links} of {sessions} agents connected, {open_commands} open commands; database {health}"
        )
    }
}

/// The service manager, or nobody, and the task that gives it signs of life.
#[derive(Debug)]
pub(crate) struct Supervision {
    supervisor: Supervisor,
    watch: Option<JoinHandle<()>>,
}

impl Supervision {
    /// As the environment says.
    pub(crate) fn from_env() -> Self {
        let supervisor = Supervisor::from_env();
        supervisor.tell(&[ServiceState::Status("starting: opening the database")]);
        Self { supervisor, watch: None }
    }

    /// The server serves at this address. From here on signs of life are sent, as long as it gives them.
    pub(crate) fn ready(&mut self, address: &str, pulse: Pulse) {
        let status = format!("listening on {address}");
        self.supervisor.tell(&[ServiceState::Ready, ServiceState::Status(&status)]);
        let every = self.supervisor.look_every();
        self.watch = every.map(|every| tokio::spawn(watch(self.supervisor.clone(), every, pulse)));
    }

    /// For what has nothing to do with signs of life.
    pub(crate) const fn manager(&self) -> &Supervisor {
        &self.supervisor
    }

    /// The server ends; there are no signs of life from here on.
    pub(crate) fn stopping(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.abort();
        }
        self.supervisor.stopping("stopping: saying goodbye to agents", STOP_WITHIN);
    }
}

impl Drop for Supervision {
    fn drop(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.abort();
        }
    }
}

async fn watch(supervisor: Supervisor, every: Duration, pulse: Pulse) {
    let mut is_heard = true;
    while let Some(stats) = pulse.answer().await {
        let status = pulse.status(stats);
        let told = supervisor.try_tell(&[ServiceState::Alive, ServiceState::Status(&status)]);
        is_heard = heard(told, is_heard);
        sleep(every).await;
    }
}

/// Whether it was heard; said once when it is not.
fn heard(told: Result<(), NotifyError>, before: bool) -> bool {
    match told {
        Ok(()) => true,
        Err(error) => {
            if before {
                warn!(%error, "cannot notify the service manager, which may end this server");
            }
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onsembl_protocol::time::WallTime;
    use onsembl_transport::service::Notifier;
    use std::os::unix::net::UnixDatagram;
    use tokio::sync::mpsc;

    fn said(manager: &UnixDatagram) -> Vec<String> {
        let mut bytes = [0; 1024];
        let mut all = Vec::new();
        while let Ok(length) = manager.recv(&mut bytes) {
            all.push(String::from_utf8(bytes[..length].to_vec()).unwrap());
        }
        all
    }

    #[tokio::test]
    async fn a_hub_that_does_not_answer_gives_no_sign_of_life() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let second = Duration::from_secs(1);
        let notifier = Notifier::to(path.as_os_str(), Some(second)).unwrap();
        let supervisor = Supervisor::of(Some(notifier));
        let every = supervisor.look_every().unwrap();
        let now = WallTime::from_unix_millis(1_700_000_000_000);
        let (store, _receipts) = Store::open(dir.path(), now).await.unwrap();
        let (requests, mut inbox) = mpsc::channel(8);
        let pulse = Pulse::new(HubHandle::new(requests, 4), &store);
        tokio::time::pause();
        let watching = tokio::spawn(watch(supervisor, every, pulse));
        // It answers once, and then hangs.
        let (asked, _turn) = inbox.recv().await.unwrap();
        let Request::Alive(reply) = asked else { panic!("{asked:?}") };
        reply.send(HubStats { sessions: 3, links: 2, ..HubStats::default() }).unwrap();
        let (_asked_again, _turn) = inbox.recv().await.unwrap();
        let once = said(&manager);
        assert_eq!(once.len(), 1, "{once:?}");
        assert!(once[0].starts_with("WATCHDOG=1\nSTATUS=2 of 3 agents connected"), "{once:?}");
        sleep(10 * second).await;
        assert!(said(&manager).is_empty());
        watching.abort();
    }

    #[tokio::test]
    async fn a_hub_that_has_ended_is_not_asked_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let _manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::to(path.as_os_str(), None).unwrap();
        let now = WallTime::from_unix_millis(1_700_000_000_000);
        let (store, _receipts) = Store::open(dir.path(), now).await.unwrap();
        let (requests, inbox) = mpsc::channel(8);
        drop(inbox);
        let pulse = Pulse::new(HubHandle::new(requests, 4), &store);
        watch(Supervisor::of(Some(notifier)), Duration::from_secs(1), pulse).await;
    }
}
