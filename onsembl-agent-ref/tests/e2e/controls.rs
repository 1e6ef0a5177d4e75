//! Orders from afar that are no commands: whoever looks sees that they were given, and what they did.

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
    let told = |order: &str| {
        let history = bench.history(&id);
        history.into_iter().any(|(status, why)| status == "offline" && why.contains(order))
    };
    order(&bench, &["restart"]);
    eventually("it went by that order", || told("start anew by an order (control restart)"));
    eventually("it is back", || {
        bench.history(&id).last().is_some_and(|(status, _)| status == "online")
    });
    assert!(agent.0.try_wait().unwrap().is_none(), "in the same process");

    order(&bench, &["stop"]);
    assert!(agent.wait().success());
    let view = bench.await_status("ada", "offline");
    assert_eq!(view["because"], "it was told to end by an order (control stop)");
    let never = bench.history(&id).iter().any(|(_, why)| why.contains("on its machine"));
    assert!(!never, "{:?}", bench.history(&id));
}
