//! What is ended has ended: whatever a process did to get away from its command, and whoever ends it.

use crate::bench::{AGENT, Bench, Running, eventually};
use std::process::{Command, Stdio};

/// A sleep that no other test has.
pub fn nap(n: u32) -> String {
    format!("sleep {}.{n}", 20_000 + std::process::id())
}

/// Each way to get away, each with a sleep of its own: a session, an empty environment, both, and both behind a
/// parent that has ended; and no way at all.
fn ways(first: u32) -> (String, Vec<String>) {
    let naps: Vec<String> = (first..first + 6).map(nap).collect();
    let quiet = ">/dev/null 2>&1";
    let script = format!(
        "{} {quiet} & setsid {} {quiet} & env -i {} {quiet} & setsid env -i {} {quiet} & (setsid env -i {} {quiet} &) ; nohup {} {quiet} &",
        naps[0], naps[1], naps[2], naps[3], naps[4], naps[5]
    );
    (script, naps)
}

pub fn all_run(naps: &[String]) {
    for nap in naps {
        eventually(nap, || lives(nap));
    }
}

pub fn living(naps: &[String]) -> Vec<&String> {
    naps.iter().filter(|nap| lives(nap)).collect()
}

/// Whether it lives, and not merely the shell that is to start it.
pub fn lives(nap: &str) -> bool {
    let line = nap.replace(' ', "\0") + "\0";
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.into_iter().any(|found| found == line.as_bytes())
}

#[test]
fn a_stop_ends_what_commands_started_wherever_it_went_and_says_so() {
    let bench = Bench::start();
    let _ada = bench.agent("ada");
    bench.await_status("ada", "online");
    // One that has ended, and one that runs.
    let (left, mut naps) = ways(0);
    assert!(bench.exec("ada", &left).status.success());
    let (running, more) = ways(10);
    naps.extend(more);
    let mut exec =
        bench.exec_command("ada", &[], &format!("{running} sleep 1000")).spawn().unwrap();
    all_run(&naps);
    let shown = || bench.log("ada/status.json");
    eventually("it is listed", || shown().contains("\"background_commands\": 1"));
    let report = bench.ask(&["stop", "ada"]);
    assert_eq!(living(&naps), [""; 0], "{report:?}");
    let text = String::from_utf8_lossy(&report.stdout).into_owned();
    assert_eq!(report.status.code(), Some(0), "{text}");
    assert!(text.contains("everything killed; verified: ada"), "{text}");
    assert!(!exec.wait().unwrap().success());
    eventually("it is listed no more", || shown().contains("\"background_commands\": 0"));
}

#[test]
fn a_cancelled_command_leaves_nothing_and_an_agent_that_is_stopped_neither() {
    let bench = Bench::start();
    let mut ada = bench.agent("ada");
    bench.await_status("ada", "online");
    let (script, naps) = ways(20);
    let exec = bench.exec_command("ada", &[], &format!("{script} sleep 1000")).spawn().unwrap();
    all_run(&naps);
    let listed = String::from_utf8(bench.ask(&["commands", "--json"]).stdout).unwrap();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let id = listed["commands"][0]["command_id"].as_str().unwrap().to_owned();
    assert!(bench.ask(&["cancel", &id]).status.success());
    let _ = Running(exec).wait();
    assert_eq!(living(&naps), [""; 0]);

    let (left, mut naps) = ways(30);
    assert!(bench.exec("ada", &left).status.success());
    let (running, more) = ways(40);
    naps.extend(more);
    let exec = bench.exec_command("ada", &[], &format!("{running} sleep 1000")).spawn().unwrap();
    all_run(&naps);
    ada.signal("-TERM");
    assert!(ada.wait().success());
    assert_eq!(living(&naps), [""; 0]);
    let _ = Running(exec).wait();
}

#[test]
fn a_successor_ends_what_a_command_left_that_had_ended_before_its_agent_was_killed() {
    let bench = Bench::start();
    let ada = bench.agent("ada");
    bench.await_status("ada", "online");
    let naps = [nap(50), nap(51)];
    let quiet = ">/dev/null 2>&1";
    let script = format!("setsid {} {quiet} & {} {quiet} &", naps[0], naps[1]);
    assert!(bench.exec("ada", &script).status.success());
    all_run(&naps);
    ada.signal("-KILL");
    drop(ada);
    assert_eq!(living(&naps).len(), 2);
    let _ada = bench.agent("ada");
    bench.await_status("ada", "online");
    eventually("they are ended", || living(&naps).is_empty());
    // And of a stop that comes then it is true.
    assert_eq!(bench.ask(&["stop", "ada"]).status.code(), Some(0));
}

#[test]
fn under_the_policy_kill_nothing_outlives_its_command() {
    let bench = Bench::start();
    let mut agent = bench.agent_command("ada");
    let _ada = Running(agent.args(["--background", "kill"]).spawn().unwrap());
    bench.await_status("ada", "online");
    let (script, naps) = ways(60);
    assert!(bench.exec("ada", &script).status.success());
    eventually("they are ended", || living(&naps).is_empty());
}

#[test]
fn what_a_background_process_writes_after_the_end_is_declared_where_it_is_missing() {
    let bench = Bench::start();
    let _ada = bench.agent("ada");
    bench.await_status("ada", "online");
    let late = bench.folder.path().join("late");
    let text = format!("(sleep 3; echo LATE; echo LATE >&2; touch {}) & echo now", late.display());
    let exec = bench.exec("ada", &text);
    assert_eq!((exec.status.code(), exec.stdout.as_slice()), (Some(0), &b"now\n"[..]));
    eventually("it lives to write", || late.exists());
    let listed = String::from_utf8(bench.ask(&["commands", "--json"]).stdout).unwrap();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let id = listed["commands"][0]["command_id"].as_str().unwrap().to_owned();
    let output = bench.ask(&["output", &id]);
    assert_eq!(output.stdout, b"now\n");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.matches("keeps running in the background").count(), 2, "{said}");
    let audit = bench.ask(&["audit", "ada"]);
    let said = String::from_utf8_lossy(&audit.stdout).into_owned();
    assert!(audit.status.success() && said.contains("end unknown: background"), "{said}");
    assert!(!said.contains("balanced: produced"), "{said}");
}

/// As the only program of a container: orphans of the whole container come to it.
#[test]
fn as_process_1_it_leaves_no_zombies() {
    let alone = ["--fork", "--pid", "--mount-proc", "--kill-child"];
    let can = Command::new("unshare").args(alone).arg("true").stderr(Stdio::null()).status();
    if !can.is_ok_and(|done| done.success()) {
        println!("skipped: this machine does not let the test begin a PID namespace");
        return;
    }
    let bench = Bench::start();
    let mut command = Command::new("unshare");
    command.args(alone).arg(AGENT).args(bench.agent_command("ada").get_args());
    command.env("ONSEMBL_TOKEN", &bench.agent_token).stdin(Stdio::null());
    let _ada = Running(command.stderr(Stdio::null()).spawn().unwrap());
    bench.await_status("ada", "online");
    let orphans = "for n in 1 2 3; do setsid sleep 0.2 >/dev/null 2>&1 & sleep 0.2 >/dev/null 2>&1 & (setsid env -i sleep 0.2 >/dev/null 2>&1 &); done";
    assert!(bench.exec("ada", orphans).status.success());
    let zombies = || {
        let listed = bench.exec("ada", "ps -e -o pid=,stat=,args=");
        assert!(listed.status.success(), "{listed:?}");
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(listed.trim_start().starts_with("1 "), "it is alone: {listed}");
        listed.lines().filter(|line| line.contains("<defunct>")).count()
    };
    eventually("none is left", || zombies() == 0 && !bench_sleeps(&bench));
}

fn bench_sleeps(bench: &Bench) -> bool {
    let listed = bench.exec("ada", "ps -e -o args= | grep -c '^sleep 0.2'");
    listed.stdout != b"0\n"
}

#[test]
fn a_program_that_is_not_there_or_ends_at_once_is_shown_with_the_reason() {
    let bench = Bench::start();
    let start = |name: &str, program: &[&str]| {
        let mut agent = bench.agent_command(name);
        Running(agent.args(["--runner", "terminal", "--"]).args(program).spawn().unwrap())
    };
    let _missing = start("missing", &["no-such-program"]);
    let _crashes = start("crashes", &["/bin/sh", "-c", "exit 44"]);
    for (name, why) in [("missing", "No such file or directory"), ("crashes", "exit code 44")] {
        let view = bench.await_view(name, "its fault", |view| view["program_fault"].is_string());
        assert!(view["program_fault"].as_str().unwrap().contains(why), "{view}");
        let table = String::from_utf8(bench.ask(&["agents"]).stdout).unwrap();
        assert!(table.contains(why), "{table}");
    }
    let refused = bench.exec("missing", "hello");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("No such file or directory"), "{said}");
    let _well = start("well", &["/bin/sh", "-c", "sleep 1000"]);
    let view = bench.await_status("well", "online");
    assert!(view["program_fault"].is_null(), "{view}");
}
