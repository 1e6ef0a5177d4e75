//! How this host and this process fare: the metrics that heartbeats carry. Reads, judges nothing.

mod heartbeat;

pub(crate) use heartbeat::{Load, source};

use std::fmt;
use std::time::{Duration, Instant};
use sysinfo::{
    CpuRefreshKind, MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, RefreshKind,
    System,
};

/// This platform gives no metrics.
#[derive(Debug, thiserror::Error)]
#[error("the metrics of this host cannot be read: {0}")]
pub struct HostMetricsError(#[source] sysinfo::Error);

/// The metrics of one moment. `None` is a metric that the host does not give.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct HostMetricsSample {
    /// Use of all processors of the host since the previous sample, 0 to 100. Samples less than
    /// 200 ms apart repeat the value; the first one may cover the time since the host's start.
    pub cpu_percent: f32,
    /// Resident memory of this process, in MiB. Its commands are not counted in.
    pub memory_mib: Option<u64>,
    /// Memory of the host in use (not available to new processes), 0 to 100.
    pub host_memory_used_percent: Option<f32>,
    /// Time since [`HostMetrics::new`], which a process calls at its start. Excludes suspend.
    pub uptime: Duration,
    /// Runnable tasks, averaged over a minute.
    pub load_average_1m: Option<f64>,
}

/// The source of [`HostMetricsSample`]s. A sample takes well under a millisecond and never waits.
pub struct HostMetrics {
    system: System,
    own: Pid,
    started: Instant,
}

impl HostMetrics {
    /// Takes the first reading of the processors, to which the first sample compares.
    ///
    /// # Errors
    ///
    /// When the platform is not supported.
    pub fn new() -> Result<Self, HostMetricsError> {
        let own = Pid::from_u32(std::process::id());
        let mut metrics =
            Self { system: System::new().map_err(HostMetricsError)?, own, started: Instant::now() };
        metrics.refresh();
        Ok(metrics)
    }

    fn refresh(&mut self) {
        self.system.refresh_specifics(
            RefreshKind::nothing()
                .with_cpu(CpuRefreshKind::nothing().with_usage())
                .with_memory(MemoryRefreshKind::nothing().with_ram()),
        );
        let memory = ProcessRefreshKind::nothing().with_memory();
        self.system.refresh_processes_specifics(
            ProcessesToUpdate::Some(&[self.own]),
            false,
            memory,
        );
    }

    /// The metrics now.
    pub fn sample(&mut self) -> HostMetricsSample {
        self.refresh();
        let total = self.system.total_memory();
        let cpu = self.system.global_cpu_usage();
        HostMetricsSample {
            cpu_percent: if cpu.is_finite() { cpu.clamp(0.0, 100.0) } else { 0.0 },
            memory_mib: self.system.process(self.own).map(|own| own.memory() >> 20),
            host_memory_used_percent: (total > 0)
                .then(|| percent(self.system.used_memory(), total)),
            uptime: self.started.elapsed(),
            load_average_1m: System::load_average().ok().map(|load| load.one),
        }
    }
}

impl fmt::Debug for HostMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostMetrics").field("started", &self.started).finish_non_exhaustive()
    }
}

fn percent(part: u64, whole: u64) -> f32 {
    let thousandths = u128::from(part) * 100_000 / u128::from(whole);
    u32::try_from(thousandths.min(100_000)).map_or(100.0, |t| t as f32 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::sleep;

    /// Keeps one processor busy for `time`.
    fn burn(time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            std::hint::black_box(0_u64);
        }
    }

    #[test]
    fn metrics_are_real() {
        let mut metrics = HostMetrics::new().unwrap();
        burn(Duration::from_millis(400));
        let busy = metrics.sample();
        let share = 100.0 / std::thread::available_parallelism().unwrap().get() as f32;
        assert!(busy.cpu_percent >= share / 4.0, "one busy processor shows: {busy:?}");
        assert!(busy.cpu_percent <= 100.0, "{busy:?}");
        let rss = busy.memory_mib.unwrap();
        assert!((1..4096).contains(&rss), "{busy:?}");
        let used = busy.host_memory_used_percent.unwrap();
        assert!(used > 0.0 && used < 100.0, "{busy:?}");
        assert!(busy.load_average_1m.unwrap() >= 0.0, "{busy:?}");
        assert!(busy.uptime >= Duration::from_millis(400), "{busy:?}");
    }

    #[test]
    fn memory_follows_what_the_process_holds() {
        let mut metrics = HostMetrics::new().unwrap();
        let before = metrics.sample().memory_mib.unwrap();
        let allocated = vec![1_u8; 200 << 20];
        let during = metrics.sample().memory_mib.unwrap();
        assert!(during >= before + 150, "{before} MiB, then {during} MiB");
        drop(allocated);
    }

    #[test]
    fn a_sample_is_cheap_and_does_not_wait() {
        let mut metrics = HostMetrics::new().unwrap();
        let started = Instant::now();
        for _ in 0..100 {
            metrics.sample();
        }
        // Measured: about 30 ms for a hundred.
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        sleep(Duration::from_millis(1));
        assert!(metrics.sample().uptime > Duration::ZERO);
    }

    #[test]
    fn percent_holds_at_its_ends() {
        assert_eq!(percent(0, 7), 0.0);
        assert_eq!(percent(u64::MAX, u64::MAX), 100.0);
        assert_eq!(percent(1, 8), 12.5);
        assert_eq!(percent(9, 8), 100.0);
    }
}
