//! Processes that are ended, with and without a word.

use crate::bench::{AGENT, Bench, Running, eventually, runs};
use std::process::Command;

#[test]
fn agents_return_to_a_server_that_was_killed_and_their_processes_go_on() {
    let mut bench = Bench::start();
    let _agent = bench.agent("dev");
    let before = bench.await_status("dev", "online");
    let mark = bench.folder.path().join("mark");
    let text = format!("sleep 4; echo survived > {}", mark.display());
    let exec = bench.exec_command("dev", &[], &text).spawn().expect("exec can be run");
    let mut exec = Running(exec);
    eventually("the command runs", || runs(&text));
    bench.server.take().expect("running").signal("-KILL");
    bench.start_server();
    let id = before["agent_id"].as_str().expect("an id");
    let _ = bench.await_status("dev", "online");
    let history = bench.history(id);
    assert!(
        history.iter().any(|(s, b)| s == "reconnecting" && b == "server restarted"),
        "{history:?}"
    );
    assert_eq!(bench.await_status("dev", "online")["agent_id"], before["agent_id"]);
    eventually("the process went on", || mark.exists());
    assert!(exec.wait().success(), "`exec` hears of its end");
}

#[test]
fn a_killed_agent_is_awaited_then_offline_and_its_successor_is_the_same_agent() {
    let bench = Bench::start();
    let agent = bench.agent("dev");
    let before = bench.await_status("dev", "online");
    agent.signal("-KILL");
    drop(agent);
    let reconnecting = bench.await_status("dev", "reconnecting");
    assert!(reconnecting["because"].as_str().is_some_and(|b| b.starts_with("link lost")));
    let _ = bench.await_status("dev", "offline");
    let _successor = bench.agent("dev");
    let after = bench.await_status("dev", "online");
    assert_eq!(after["agent_id"], before["agent_id"]);
}

#[test]
fn a_stopped_agent_is_offline_at_once_and_leaves_no_process() {
    let bench = Bench::start();
    let mut agent = bench.agent("dev");
    let _ = bench.await_status("dev", "online");
    let text = "sleep 7351 & sleep 7352; echo never";
    let mut exec = bench.exec_command("dev", &[], text).spawn().expect("exec can be run");
    eventually("both processes run", || runs("sleep 7351") && runs("sleep 7352"));
    agent.signal("-TERM");
    assert!(agent.wait().success());
    assert!(!runs("sleep 7351") && !runs("sleep 7352"));
    let offline = bench.await_status("dev", "offline");
    assert_eq!(offline["because"], "the agent was stopped on its machine");
    assert!(!exec.wait().expect("exec ends").success());
}

#[test]
fn a_log_that_cannot_be_written_ends_neither_of_them() {
    let full = || std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let mut bench = Bench::start();
    let mut server = bench.server.take().expect("running");
    server.signal("-TERM");
    let _ = server.wait();
    bench.start_server_with_log(full());
    let _agent =
        Running(bench.agent_command("dev").stderr(full()).spawn().expect("the agent can be run"));
    let _ = bench.await_status("dev", "online");
    assert_eq!(bench.exec("dev", "echo still here").stdout, b"still here\n");
    let _ = bench.await_status("dev", "online");
}

#[test]
fn an_agent_starts_without_a_server_and_finds_it_when_it_comes() {
    let mut bench = Bench::start();
    bench.server.take().expect("running").signal("-TERM");
    let mut agent = bench.agent("dev");
    eventually("it tried", || bench.log("dev.log").contains("cause=\"connect-refused\""));
    bench.start_server();
    let _ = bench.await_status("dev", "online");
    assert!(agent.0.try_wait().expect("our child").is_none());
}

#[test]
fn a_second_copy_of_an_agent_on_one_machine_is_refused_and_told_why() {
    let bench = Bench::start();
    let _agent = bench.agent("dev");
    let before = bench.await_status("dev", "online");
    let second = bench.agent_command("dev").stderr(std::process::Stdio::piped()).output();
    let second = second.expect("the agent can be run");
    assert!(!second.status.success());
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(text.contains("already") || text.contains("in use"), "{text}");
    let status = || {
        let status = Command::new(AGENT)
            .args(["status", "--json", "--state-dir"])
            .arg(bench.folder.path().join("dev"))
            .output()
            .expect("the agent can be run");
        assert!(status.status.success(), "{status:?}");
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
        status
    };
    eventually("the live status file says so", || status()["state"] == "connected");
    assert_eq!(status()["agent_id"], before["agent_id"]);
}
