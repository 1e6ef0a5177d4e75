//! Somebody else's user: an agent that stays in session, and commands on it one after the other.

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
                .args(["exec", "--server", &server, "good", "--", "true"])
                .env("ONSEMBL_TOKEN", &token)
                .stdin(std::process::Stdio::null())
                .output()
                .expect("the server can be run");
            done.status.success()
        };
        Self { _agent: agent, exec: Box::new(exec) }
    }

    /// The slowest of the commands that are run in this time, one after the other; of fewer than a hundred the
    /// slowest is the 99th percentile. One that fails counts as a minute.
    pub fn slowest(&self, time: Duration) -> Duration {
        let until = Instant::now() + time;
        let mut slowest = Duration::ZERO;
        while Instant::now() < until {
            let began = Instant::now();
            let worked = (self.exec)();
            slowest = slowest.max(if worked { began.elapsed() } else { Duration::from_secs(60) });
        }
        slowest
    }

    /// Whether its agent lost its session.
    pub fn faults(&self, bench: &Bench) -> Vec<String> {
        let Some(view) = bench.agent_view("good") else { return vec!["its agent is gone".into()] };
        let id = view["agent_id"].as_str().unwrap_or_default();
        let fell = |(status, _): &(String, String)| status != "online" && status != "connecting";
        let history = bench.history(id).into_iter().filter(fell);
        history.map(|(status, why)| format!("its agent was {status}: {why}")).collect()
    }
}
