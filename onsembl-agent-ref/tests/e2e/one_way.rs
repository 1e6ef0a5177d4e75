//! A relay that discards one direction: the end that hears and is not heard names it, the other end says that it cannot
//! tell, and none names a wrong one.

use crate::bench::{Bench, Times, eventually};
use crate::relay::{Relay, Way};
use serde_json::Value;
use std::cell::RefCell;

/// The time-out leaves time to look.
const TIMES: Times = Times(["600ms", "1500ms", "6s", "10s"]);

/// What the hop trackers of agent and server say of the link, while there is a session.
fn ways(bench: &Bench) -> [String; 2] {
    let file = std::fs::read_to_string(bench.folder.path().join("dev/status.json"));
    let status: Value = serde_json::from_str(&file.unwrap_or_default()).unwrap_or_default();
    let why: Value =
        serde_json::from_slice(&bench.ask(&["why", "dev", "--json"]).stdout).unwrap_or_default();
    [&status, &why].map(|of| of["beats"]["ways"].as_str().unwrap_or_default().to_owned())
}

/// Loses a direction, and waits until each end has said what it must.
fn lose(way: Way, wanted: [&str; 2], wrong: &str) {
    let mut bench = Bench::with(TIMES, &[]);
    let relay = Relay::to(&bench.address);
    let direct = std::mem::replace(&mut bench.address, relay.address.clone());
    let _agent = bench.agent("dev");
    bench.address = direct;
    let _ = bench.await_status("dev", "online");
    eventually("both are heard", || ways(&bench) == ["both", "both"]);
    relay.lose(Some(way));
    let seen = RefCell::new([false; 2]);
    eventually("each end says what it knows", || {
        let said = ways(&bench);
        assert!(!said.iter().any(|ways| ways == wrong), "{said:?}");
        let mut seen = seen.borrow_mut();
        for n in 0..2 {
            seen[n] |= said[n] == wanted[n];
        }
        seen.iter().all(|seen| *seen)
    });
}

#[test]
fn what_the_server_does_not_get_is_named_by_the_agent() {
    lose(Way::ToServer, ["to-server-lost", "one-way-or-cut"], "to-agent-lost");
}

#[test]
fn what_the_agent_does_not_get_is_named_by_the_server() {
    lose(Way::ToAgent, ["one-way-or-cut", "to-agent-lost"], "to-server-lost");
}
