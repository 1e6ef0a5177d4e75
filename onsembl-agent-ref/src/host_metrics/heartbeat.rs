//! The metrics of a heartbeat: those of the host, and how many commands there are.

use super::HostMetrics;
use onsembl_protocol::wire::payload::HealthMetrics;
use onsembl_transport::counters::Counters;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many commands there are, told by the engine and read when a beat leaves.
#[derive(Debug, Default)]
pub(crate) struct Load {
    pub(crate) running: AtomicU64,
    pub(crate) finished: AtomicU64,
}

/// Where heartbeats get their metrics from. On a platform that gives none they go without.
pub(crate) fn source(
    load: Arc<Load>,
    counters: &Counters,
) -> impl FnMut() -> HealthMetrics + Send + use<> {
    let mut metrics = HostMetrics::new()
        .inspect_err(|error| {
            counters.count("vitals_failures");
            tracing::warn!(%error, "heartbeats are sent without host metrics");
        })
        .ok();
    move || {
        let sample = metrics.as_mut().map(HostMetrics::sample);
        let mut health = HealthMetrics::default();
        health.cpu_usage = sample.map(|s| s.cpu_percent.into());
        health.memory_usage = sample.and_then(|s| s.memory_mib).map(|mib| mib as f64);
        health.uptime = sample.map(|s| s.uptime.as_secs_f64());
        health.commands_processed = Some(load.finished.load(Ordering::Relaxed));
        health.active_commands = Some(load.running.load(Ordering::Relaxed));
        health
    }
}
