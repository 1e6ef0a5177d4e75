//! Many agents and one cause: a server that does not run for a while blames none of them, and tells of one incident.
//!
//! `ONSEMBL_FREEZE="2000 120"` connects 2,000 agents and freezes the server for 120 seconds, with the default timing.

use crate::Case;
use crate::bench::{Bench, PATIENCE, Times, server_binary};
use crate::crowd::Crowd;
use serde_json::Value;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub const CASES: &[Case] =
    &[Case { name: "incidents/frozen-server", needs: &[], run: frozen_server }];

fn statuses(bench: &Bench) -> Vec<String> {
    let path = bench.data().join("onsembl.db");
    let db = rusqlite::Connection::open(path).unwrap();
    let mut all = db.prepare("SELECT status FROM agents").unwrap();
    all.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn await_online(bench: &Bench, count: usize, patience: Duration) {
    let by = Instant::now() + patience;
    loop {
        let online = statuses(bench).iter().filter(|status| *status == "online").count();
        if online == count {
            return;
        }
        assert!(Instant::now() < by, "{online} of {count} are online\n{}", bench.log("server.log"));
        sleep(Duration::from_millis(100));
    }
}

fn frozen_server() {
    let wanted = std::env::var("ONSEMBL_FREEZE").ok();
    let (count, frozen, times, interval) = match &wanted {
        Some(text) => {
            let (count, seconds) = text.split_once(' ').expect("two numbers");
            let frozen = Duration::from_secs(seconds.parse().unwrap());
            let times = Times(["25s", "45s", "90s", "5m"]);
            (count.parse().unwrap(), frozen, times, Duration::from_secs(25))
        }
        None => {
            let times = Times(["500ms", "1250ms", "3s", "60s"]);
            (100, Duration::from_secs(6), times, Duration::from_millis(500))
        }
    };
    let mut bench = Bench::with(times, &[]);
    bench.server = None;
    bench.server_log = "warn";
    bench.start_server();
    let _crowd = Crowd::new(&bench.url(), &bench.agent_token, count);
    let mut victim = bench.agent("victim");
    await_online(&bench, count + 1, Duration::from_secs(60));
    sleep(2 * interval.min(Duration::from_secs(5)));
    bench.server().freeze();
    sleep(frozen / 2);
    victim.0.kill().unwrap();
    let _ = victim.wait();
    sleep(frozen / 2);
    bench.server().thaw();
    let thawed = Instant::now();
    let _ = bench.await_view("victim", "not online", |view| view["status"] != "online");
    let found = thawed.elapsed();
    await_online_but_one(&bench, count);
    let back = thawed.elapsed();
    // What follows from the stall is over by then, and what does not would have shown.
    sleep(2 * interval);
    let blamed = {
        let db = rusqlite::Connection::open(bench.data().join("onsembl.db")).unwrap();
        let query = "SELECT count(*) FROM presence_events JOIN agents USING (agent_id)
                     WHERE name != 'victim' AND presence_events.status IN ('offline', 'timed-out')";
        db.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let said = bench.ask(&["why", "--all", "--json"]);
    let why: Value = serde_json::from_slice(&said.stdout).unwrap();
    let incidents = why["incidents"].as_array().unwrap().clone();
    println!(
        "{count} agents, frozen {frozen:?}: {blamed} blamed, the killed one found after {found:?}, all back after {back:?}, {incidents:?}"
    );
    assert_eq!(blamed, 0);
    assert!(found <= 2 * interval + Duration::from_secs(1), "{found:?}");
    // The test restarted the server before the agents connected.
    let causes: Vec<_> = incidents.iter().map(|incident| incident["cause"].clone()).collect();
    assert_eq!(causes, ["server-restarted", "server-stalled"], "{incidents:?}");
    let people = Command::new(server_binary())
        .args(["why", "--all", "--server", &bench.url()])
        .env("ONSEMBL_TOKEN", &bench.dashboard_token)
        .output()
        .unwrap();
    println!("{}", String::from_utf8_lossy(&people.stdout));
}

fn await_online_but_one(bench: &Bench, count: usize) {
    let by = Instant::now() + PATIENCE + Duration::from_secs(120);
    while statuses(bench).iter().filter(|status| *status == "online").count() < count {
        assert!(Instant::now() < by, "{}", bench.log("server.log"));
        sleep(Duration::from_millis(100));
    }
}
