//! A database that is locked by another process.

use crate::bench::{AGENT, Bench, Times, eventually};
use std::process::Command;
use std::time::Duration;

#[test]
fn a_held_database_is_named_on_both_sides_cuts_nobody_and_heals() {
    let bench = Bench::with(Times(["1s", "2500ms", "5s", "20s"]), &[]);
    let _agent = bench.agent("dev");
    let before = bench.await_status("dev", "online");
    let holder = rusqlite::Connection::open(bench.data().join("onsembl.db")).expect("the database");
    holder.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let named = bench.await_view("dev", "the fault", |view| {
        view["because"]
            .as_str()
            .is_some_and(|b| b.starts_with("heartbeats received but not recorded"))
    });
    assert_eq!(named["status"], "online");
    assert_eq!(named["since"], before["since"]);
    assert!(named["because"].as_str().is_some_and(|b| b.contains("database busy")), "{named}");
    let agent_says = || {
        let status = Command::new(AGENT)
            .args(["status", "--json", "--state-dir"])
            .arg(bench.folder.path().join("dev"))
            .output()
            .expect("the agent can be run");
        String::from_utf8_lossy(&status.stdout).into_owned()
    };
    eventually("the agent names it too", || agent_says().contains("not recorded"));
    std::thread::sleep(Duration::from_secs(7));
    assert_eq!(bench.agent_view("dev").expect("the server answers")["status"], "online");
    holder.execute_batch("COMMIT").expect("the lock goes");
    let healed = bench.await_view("dev", "healing", |view| {
        view["because"].as_str().is_some_and(|b| !b.contains("not recorded"))
    });
    assert_eq!(healed["since"], before["since"]);
    eventually("the agent sees it healed", || !agent_says().contains("not recorded"));
    let id = before["agent_id"].as_str().expect("an id");
    assert!(bench.history(id).iter().all(|(status, _)| status == "online"), "nobody was cut");
}
