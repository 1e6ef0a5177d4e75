//! Remote orders that are not commands: what users see of them and of their effect.

use crate::bench::{Bench, eventually};
use serde_json::Value;

fn order(bench: &Bench, words: &[&str]) {
    let given = bench.ask(&[&["control", "ada"], words].concat());
    assert!(given.status.success(), "{given:?}");
}

#[test]
fn an_agent_that_an_order_ended_is_not_shown_as_stopped_on_its_machine() {
    let bench = Bench::start();
    let mut agent = bench.agent("ada");
    let id = bench.await_status("ada", "online")["agent_id"].as_str().unwrap().to_owned();
    let report = |order: &str| {
        let history = bench.history(&id);
        history.into_iter().any(|(status, why)| status == "offline" && why.contains(order))
    };
    order(&bench, &["restart"]);
    eventually("it went by that order", || report("restarted by an order (control restart)"));
    eventually("it is back", || {
        bench.history(&id).last().is_some_and(|(status, _)| status == "online")
    });
    assert!(agent.0.try_wait().unwrap().is_none(), "in the same process");

    order(&bench, &["stop"]);
    assert!(agent.wait().success());
    let view = bench.await_status("ada", "offline");
    assert_eq!(view["because"], "it was stopped by an order (control stop)");
    let never = bench.history(&id).iter().any(|(_, why)| why.contains("on its machine"));
    assert!(!never, "{:?}", bench.history(&id));
}

#[test]
fn whoever_looks_sees_that_an_agent_is_paused_and_why_its_commands_wait() {
    let mut bench = Bench::start();
    let mut agent = bench.agent("ada");
    bench.await_status("ada", "online");
    let paused = |view: &Value| view["status"] == "online" && view["paused"] == true;
    let goes_on = |view: &Value| view["status"] == "online" && view["paused"] == false;
    let table = |bench: &Bench, what: &str| {
        String::from_utf8_lossy(&bench.ask(&[what]).stdout).into_owned()
    };
    order(&bench, &["pause"]);
    bench.await_view("ada", "a pause", paused);
    let shown = table(&bench, "agents");
    assert!(shown.contains("paused: starts nothing until `control ada resume`"), "{shown}");
    let mut exec = bench.exec_command("ada", &[], "echo on").spawn().unwrap();
    let why = "its agent is paused, and starts nothing until `control ada resume`";
    eventually("the command says why it waits", || {
        table(&bench, "commands").lines().any(|l| l.contains("delivered") && l.contains(why))
    });

    // The agent reports it by itself, to its server and to `onsembl-agent status`.
    bench.server.take().unwrap().signal("-KILL");
    bench.start_server();
    bench.await_view("ada", "a pause that outlives the link", paused);
    eventually("its own status says it", || {
        bench.log("ada/status.json").contains("\"paused\": true")
    });

    order(&bench, &["resume"]);
    bench.await_view("ada", "the end of the pause", goes_on);
    assert!(exec.wait().unwrap().success(), "what waited is run");
    let shown = table(&bench, "agents") + &table(&bench, "commands");
    assert!(!shown.contains("paused"), "{shown}");

    // A restarted agent is not paused.
    order(&bench, &["pause"]);
    bench.await_view("ada", "a pause", paused);
    order(&bench, &["restart"]);
    bench.await_view("ada", "a new start", goes_on);
    assert!(agent.0.try_wait().unwrap().is_none());
    assert_eq!(bench.exec("ada", "echo on").stdout, b"on\n");
}
