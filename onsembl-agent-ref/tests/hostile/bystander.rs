//! Another user, who must not be affected: an agent that stays in session and runs commands one after the other.

use crate::bench::{Bench, Running};
use std::time::{Duration, Instant};

pub struct Bystander {
    _agent: Running,
    exec: Box<dyn Fn() -> bool>,
}

impl Bystander {
    pub fn start(bench: &Bench) -> Self {
        let agent = bench.agent("good");
        bench.await_status("good", "online");
        let (server, token) = (bench.url(), bench.dashboard_token.clone());
        let exec = move || {
            let done = std::process::Command::new(crate::bench::server_binary())
                .args(["exec", "--timeout", "10s", "--server", &server, "good", "--", "true"])
                .env("ONSEMBL_TOKEN", &token)
                .stdin(std::process::Stdio::null())
                .output()
                .expect("the server can be run");
            done.status.success()
        };
        Self { _agent: agent, exec: Box::new(exec) }
    }

    /// The durations of commands that are run one after the other during this time. A failure counts as a minute.
    pub fn works(&self, time: Duration) -> Latencies {
        let until = Instant::now() + time;
        let mut all = Vec::new();
        while Instant::now() < until {
            let began = Instant::now();
            let worked = (self.exec)();
            all.push(if worked { began.elapsed() } else { Duration::from_secs(60) });
        }
        all.sort_unstable();
        Latencies(all)
    }

    /// Whether its agent lost its session.
    pub fn faults(&self, bench: &Bench) -> Vec<String> {
        let Some(view) = bench.agent_view("good") else {
            return vec!["its agent is missing".into()];
        };
        let id = view["agent_id"].as_str().unwrap_or_default();
        let fell = |(status, _): &(String, String)| status != "online" && status != "connecting";
        let history = bench.history(id).into_iter().filter(fell);
        history.map(|(status, why)| format!("its agent was {status}: {why}")).collect()
    }
}

/// In ascending order.
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// The 99th percentile; of fewer than a hundred, the maximum.
    pub fn p99(&self) -> Duration {
        let at = (self.0.len() * 99).div_ceil(100).saturating_sub(1);
        self.0.get(at).copied().unwrap_or_default()
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }
}
