//! Emergency stops that hold, across the absence of either side.

use crate::bench::{Bench, eventually, runs};
use std::process::Output;

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_stop_kills_at_once_and_nothing_starts_until_it_is_released() {
    let mut bench = Bench::start();
    let _ada = bench.agent("ada");
    let bob = bench.agent("bob");
    bench.await_status("ada", "online");
    bench.await_status("bob", "online");
    let text = "trap '' TERM; sleep 1234.5";
    let mut exec = bench.exec_command("ada", &[], text).spawn().unwrap();
    eventually("the command runs", || runs("sleep 1234.5"));
    drop(bob);
    let stop = bench.ask(&["stop", "--all", "--reason", "the model went wild"]);
    assert_eq!(stop.status.code(), Some(4), "one is away: {stop:?}");
    let report = String::from_utf8_lossy(&stop.stdout).into_owned();
    assert!(report.contains("everything killed; verified: ada"), "{report}");
    assert!(!runs("sleep 1234.5"), "verified means verified");
    assert!(report.contains("bob"), "{report}");
    eventually("it is killed", || !runs("sleep 1234.5"));
    assert!(!exec.wait().unwrap().success());

    let refused = bench.exec("ada", "touch never");
    assert_eq!(refused.status.code(), Some(125));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("the model went wild") && why.contains("release --all"), "{why}");

    // Neither a restart of the server nor of an agent ends it, and the agent itself knows.
    eventually("the agent shows it", || bench.log("ada/status.json").contains("\"stopped\": \""));
    bench.server.take().unwrap().signal("-KILL");
    bench.start_server();
    let _bob = bench.agent("bob");
    let view = bench.await_status("bob", "online");
    assert_eq!(view["stopped"]["reason"], "the model went wild");
    assert_eq!(bench.exec("bob", "true").status.code(), Some(125));
    let one = bench.ask(&["release", "bob"]);
    assert!(!one.status.success(), "an order for all holds for each");

    assert_eq!(printed(&bench.ask(&["release", "--all"])), "released\n");
    assert_eq!(printed(&bench.ask(&["release", "--all"])), "no stop was in force\n");
    bench.await_status("ada", "online");
    for agent in ["ada", "bob"] {
        assert_eq!(bench.exec(agent, "echo on").stdout, b"on\n");
    }
}

#[test]
fn a_stop_of_one_agent_leaves_the_others() {
    let bench = Bench::start();
    let _ada = bench.agent("ada");
    let _bob = bench.agent("bob");
    bench.await_status("ada", "online");
    bench.await_status("bob", "online");
    let report = printed(&bench.ask(&["stop", "ada"]));
    assert!(report.contains("ada") && !report.contains("bob"), "{report}");
    assert_eq!(bench.exec("bob", "echo on").stdout, b"on\n");
    assert_eq!(bench.exec("ada", "true").status.code(), Some(125));
    assert_eq!(printed(&bench.ask(&["release", "ada"])), "released\n");
    assert_eq!(bench.exec("ada", "echo on").stdout, b"on\n");
    let nobody = bench.ask(&["stop", "eve"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert_eq!(bench.ask(&["stop"]).status.code(), Some(2), "it must be said whom");
}
