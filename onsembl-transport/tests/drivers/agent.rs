//! An agent's driver in a task of its own, and what it told its owner.

use onsembl_protocol::id::{AgentKey, InstanceId};
use onsembl_protocol::session::{AgentCause, AgentStatus};
use onsembl_protocol::wire::AgentToServer;
use onsembl_protocol::wire::payload::{AgentType, Feature};
use onsembl_transport::Dialer;
use onsembl_transport::agent::{AgentDriver, AgentNotice, AgentProfile, DriverConfig};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub(crate) enum Order {
    Send(Box<AgentToServer>),
    Stop,
}

pub(crate) struct Agent {
    began: Instant,
    notices: Arc<Mutex<Vec<(Duration, AgentNotice)>>>,
    orders: mpsc::UnboundedSender<Order>,
    /// Ends when the driver has reported that it is closed.
    pub(crate) task: JoinHandle<()>,
}

pub(crate) fn profile(instance: &str) -> AgentProfile {
    let mut it = AgentProfile::new("dev", AgentKey::new("k"), InstanceId::new(instance));
    it.agent_type = AgentType::Custom;
    it.version = "0.1.0".into();
    it.host = "test".into();
    it.features = vec![Feature::Heartbeats];
    it.open_commands = vec![];
    it
}

impl Agent {
    pub(crate) fn start(dialer: impl Dialer + 'static, instance: &str) -> Self {
        let mut driver =
            AgentDriver::with_config(dialer, profile(instance), DriverConfig::default(), 1);
        let notices: Arc<Mutex<Vec<(Duration, AgentNotice)>>> = Arc::default();
        let (orders, mut taken) = mpsc::unbounded_channel();
        let (log, began) = (Arc::clone(&notices), Instant::now());
        let task = tokio::spawn(async move {
            driver.start();
            loop {
                tokio::select! {
                    notice = driver.next() => {
                        let closed = matches!(
                            &notice,
                            AgentNotice::Reported(report) if report.status == AgentStatus::Closed
                        );
                        log.lock().unwrap().push((began.elapsed(), notice));
                        if closed {
                            return driver.closed().await;
                        }
                    }
                    Some(order) = taken.recv() => match order {
                        Order::Send(message) => driver.send(&message).unwrap(),
                        Order::Stop => driver.stop(),
                    },
                }
            }
        });
        Self { began, notices, orders, task }
    }

    pub(crate) fn order(&self, order: Order) {
        self.orders.send(order).unwrap_or_else(|_| panic!("the driver is gone"));
    }

    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn notices(&self) -> Vec<(Duration, AgentNotice)> {
        self.notices.lock().unwrap().clone()
    }

    /// Time, status and cause of each report since `from`.
    pub(crate) fn reports(&self, from: Duration) -> Vec<(Duration, AgentStatus, AgentCause)> {
        self.notices()
            .into_iter()
            .filter_map(|(at, notice)| match notice {
                AgentNotice::Reported(report) if at >= from => {
                    Some((at, report.status, report.cause))
                }
                _ => None,
            })
            .collect()
    }

    pub(crate) fn story(&self, from: Duration) -> Vec<&'static str> {
        self.reports(from).iter().map(|(_, status, _)| status.as_str()).collect()
    }

    /// When the server was heard last, before `until`.
    pub(crate) fn heard(&self, until: Duration) -> Duration {
        let heard = |(at, notice): &(Duration, AgentNotice)| {
            (*at <= until && matches!(notice, AgentNotice::BeatAnswered { .. })).then_some(*at)
        };
        self.notices().iter().filter_map(heard).next_back().unwrap()
    }

    pub(crate) fn count(&self, of: impl Fn(&AgentNotice) -> bool) -> usize {
        self.notices().iter().filter(|(_, notice)| of(notice)).count()
    }
}
