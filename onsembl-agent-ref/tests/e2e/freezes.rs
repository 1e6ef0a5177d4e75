//! Processes that are stopped for a while.

use crate::bench::Bench;
use std::time::{Duration, Instant};

#[test]
fn an_agent_that_beats_stays_online_and_its_recorded_heartbeat_moves() {
    let bench = Bench::start();
    let _agent = bench.agent("dev");
    let first = bench.await_status("dev", "online");
    let mut seen = std::collections::BTreeSet::new();
    let until = Instant::now() + Duration::from_secs(8);
    while Instant::now() < until {
        let view = bench.agent_view("dev").expect("the server answers");
        assert_eq!(view["status"], "online");
        assert_eq!(view["since"], first["since"]);
        let _ = seen.insert(view["last_heartbeat"].to_string());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(seen.len() >= 8, "16 beats were due, {} were seen recorded", seen.len());
    let id = first["agent_id"].as_str().expect("an id");
    let statuses: Vec<String> = bench.history(id).into_iter().map(|(s, _)| s).collect();
    assert_eq!(statuses, ["online"], "one status, no change");
}

#[test]
fn a_frozen_agent_goes_stale_timed_out_and_offline_each_with_its_reason_and_returns_as_itself() {
    let bench = Bench::start();
    let agent = bench.agent("dev");
    let before = bench.await_status("dev", "online");
    agent.freeze();
    let stale = bench.await_status("dev", "stale");
    assert_eq!(stale["because"], "no frame from the agent for 1.2s");
    let timed_out = bench.await_status("dev", "timed-out");
    assert_eq!(timed_out["because"], "no frame from the agent for 3s");
    let offline = bench.await_status("dev", "offline");
    assert_eq!(offline["because"], "not back within the resume window of 4s");
    let thawed = Instant::now();
    agent.thaw();
    let after = bench.await_status("dev", "online");
    assert!(thawed.elapsed() < Duration::from_secs(10), "{:?}", thawed.elapsed());
    assert_eq!(after["agent_id"], before["agent_id"]);
}

#[test]
fn a_frozen_server_blames_no_agent_for_its_own_absence() {
    let bench = Bench::start();
    let _agents = ["one", "two", "three"].map(|name| bench.agent(name));
    let views = ["one", "two", "three"].map(|name| bench.await_status(name, "online"));
    bench.server().freeze();
    std::thread::sleep(Duration::from_secs(8));
    bench.server().thaw();
    for (name, view) in ["one", "two", "three"].iter().zip(views) {
        let _ = bench.await_status(name, "online");
        let id = view["agent_id"].as_str().expect("an id");
        let blamed: Vec<_> = bench
            .history(id)
            .into_iter()
            .filter(|(status, _)| status == "timed-out" || status == "offline")
            .collect();
        assert_eq!(blamed, [], "{name}");
    }
    // It is one incident of the server, and not one of three agents.
    let said = bench.ask(&["why", "--all"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains(": server-stalled (confidence high): "), "{said}");
    assert!(said.contains("check the load of the server's machine"), "{said}");
    assert!(said.lines().count() <= 10, "{said}");
}
