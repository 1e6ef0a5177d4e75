//! What becomes of commands when their agents die, are away, or cannot write down what they do.

use crate::bench::{Bench, Running, eventually, runs, server_binary};
use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};

fn api(bench: &Bench, arguments: &[&str]) -> Value {
    let output = Command::new(server_binary())
        .args(arguments)
        .args(["--json", "--server", &bench.url(), "--token", &bench.dashboard_token])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn listed(bench: &Bench) -> Vec<Value> {
    api(bench, &["commands"])["commands"].as_array().unwrap().clone()
}

/// The command whose text holds this.
fn find(bench: &Bench, text: &str) -> Option<Value> {
    listed(bench).into_iter().find(|c| c["text"].as_str().unwrap().contains(text))
}

fn has_status(bench: &Bench, text: &str, status: &str) -> bool {
    find(bench, text).is_some_and(|c| c["status"] == status)
}

fn history(bench: &Bench, text: &str) -> Vec<String> {
    let id = find(bench, text).unwrap()["command_id"].as_str().unwrap().to_owned();
    let detail = api(bench, &["commands", &id]);
    let steps = detail["history"].as_array().unwrap();
    steps.iter().map(|s| s["status"].as_str().unwrap().to_owned()).collect()
}

fn start(bench: &Bench, arguments: &[&str], text: &str) -> Running {
    let mut exec = bench.exec_command("ada", arguments, text);
    Running(exec.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

fn kill(agent: Running) {
    agent.signal("-KILL");
    drop(agent);
}

#[test]
fn a_killed_agents_processes_are_killed_by_its_successor_and_the_command_is_lost() {
    let bench = Bench::start();
    let agent = bench.agent("ada");
    bench.await_status("ada", "online");
    // A member of the group, one that left it, and one that cannot be asked to end.
    let text = "trap '' TERM; sleep 6401 & setsid sleep 6402 & sleep 6403";
    let _exec = start(&bench, &[], text);
    let members = ["sleep 6401", "sleep 6402", "sleep 6403"];
    eventually("all run", || members.iter().all(|m| runs(m)));
    kill(agent);
    assert!(members.iter().all(|m| runs(m)), "they outlive their agent");
    let _successor = bench.agent("ada");
    eventually("the outcome", || has_status(&bench, "6401", "lost"));
    assert!(!members.iter().any(|m| runs(m)), "before that is said, they are gone");
    let cause = find(&bench, "6401").unwrap()["cause"].as_str().unwrap().to_owned();
    assert!(cause.contains("were left and were killed"), "{cause}");
    assert_eq!(history(&bench, "6401").last().unwrap(), "lost");
}

#[test]
fn an_end_that_was_written_down_is_told_by_the_successor() {
    let mut bench = Bench::start();
    let agent = bench.agent("ada");
    bench.await_status("ada", "online");
    let mark = bench.folder.path().join("mark");
    let text = format!("sleep 1; echo ran >> {}; exit 7", mark.display());
    let _exec = start(&bench, &[], &text);
    eventually("it runs", || has_status(&bench, "exit 7", "running"));
    bench.server.take().expect("running").signal("-KILL");
    eventually("it is written down", || bench.log("ada/journal.log").contains("\"exitCode\":7"));
    kill(agent);
    bench.start_server();
    let _successor = bench.agent("ada");
    eventually("the outcome", || has_status(&bench, "exit 7", "failed"));
    assert_eq!(find(&bench, "exit 7").unwrap()["exit_code"], 7);
    assert_eq!(fs::read_to_string(mark).unwrap(), "ran\n");
}

#[test]
fn a_damaged_journal_keeps_what_is_before_the_damage_and_the_agent_works_on() {
    let bench = Bench::start();
    let agent = bench.agent("ada");
    bench.await_status("ada", "online");
    assert!(bench.exec("ada", "true").status.success());
    let _exec = start(&bench, &[], "sleep 6404");
    eventually("it runs", || has_status(&bench, "6404", "running"));
    kill(agent);
    let path = bench.folder.path().join("ada/journal.log");
    let mut journal = fs::read_to_string(&path).unwrap();
    journal.push_str("00000000 {\"entry\":\"what is this\"}\n");
    fs::write(&path, journal).unwrap();
    let _successor = bench.agent("ada");
    eventually("the outcome", || has_status(&bench, "6404", "lost"));
    assert!(!runs("sleep 6404"));
    let log = bench.log("ada.log");
    assert!(log.contains("the journal is damaged and was set aside"), "{log}");
    assert!(bench.folder.path().join("ada/journal.damaged").exists());
    assert!(bench.exec("ada", "true").status.success());
}

#[test]
fn a_disk_that_takes_no_journal_means_that_nothing_is_started() {
    let bench = Bench::start();
    let agent = bench.agent("ada");
    bench.await_status("ada", "online");
    let limit = |size: &str| {
        let (pid, size) = (agent.0.id().to_string(), format!("--fsize={size}"));
        let set = Command::new("prlimit").args(["--pid", &pid, &size]).status();
        assert!(set.unwrap().success());
    };
    let mark = bench.folder.path().join("mark");
    let text = format!("echo ran >> {}", mark.display());
    limit("1:unlimited");
    let refused = bench.exec("ada", &text);
    assert_eq!(refused.status.code(), Some(125), "{refused:?}");
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(why.contains("never started") && why.contains("free space"), "{why}");
    assert!(!mark.exists());
    limit("unlimited:unlimited");
    assert!(bench.exec("ada", &text).status.success());
    assert!(mark.exists());
}

#[test]
fn what_waits_for_an_agent_that_is_away_runs_when_it_is_back_in_order_of_priority() {
    let mut bench = Bench::start();
    let agent = bench.agent("ada");
    bench.await_status("ada", "online");
    kill(agent);
    bench.await_status("ada", "offline");
    let refused = bench.exec("ada", "true");
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(why.contains("the agent is offline"), "{why}");

    let mark = bench.folder.path().join("mark");
    let mut waiting = Vec::new();
    for (name, priority) in [("one", "low"), ("two", "normal"), ("three", "high")] {
        let text = format!("echo {name} >> {}", mark.display());
        waiting.push(start(&bench, &["--offline", "queue", "--priority", priority], &text));
        eventually("it waits", || has_status(&bench, name, "queued"));
    }
    let _short = start(&bench, &["--offline", "queue"], "echo cancelled");
    eventually("it waits", || has_status(&bench, "cancelled", "queued"));
    // The queue is in the database.
    bench.server.take().expect("running").signal("-KILL");
    bench.start_server();
    let mut one = bench.agent_command("ada");
    let _agent = Running(one.args(["--max-parallel", "1"]).spawn().unwrap());
    eventually("all ran", || has_status(&bench, "one", "completed"));
    assert_eq!(fs::read_to_string(mark).unwrap(), "three\ntwo\none\n");
    let steps = history(&bench, "one");
    assert_eq!(
        (steps.first().unwrap().as_str(), steps.last().unwrap().as_str()),
        ("pending", "completed")
    );
}

#[test]
fn an_agent_runs_no_more_than_it_has_slots_for() {
    let bench = Bench::start();
    let mut two = bench.agent_command("ada");
    let _agent = Running(two.args(["--max-parallel", "2"]).spawn().unwrap());
    bench.await_status("ada", "online");
    let go = bench.folder.path().join("go");
    let text = |n: u32| format!("until [ -e {} ]; do sleep 0.05; done; true {n}", go.display());
    let _execs: Vec<Running> = (0..5).map(|n| start(&bench, &[], &text(n))).collect();
    let count = |status: &str| listed(&bench).iter().filter(|c| c["status"] == status).count();
    eventually("two run and three wait", || count("running") == 2 && count("queued") == 3);
    fs::write(&go, "").unwrap();
    eventually("all are done", || count("completed") == 5);
}
