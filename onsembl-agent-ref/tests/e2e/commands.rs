//! `exec`, end to end.

use crate::bench::{Bench, Running, eventually, runs};
use std::io::Read as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn output_comes_out_byte_for_byte_and_the_exit_code_is_the_commands() {
    let bench = Bench::start();
    let _agent = bench.agent("dev");
    let _ = bench.await_status("dev", "online");
    let mixed = bench.exec("dev", r"printf 'out\377\000\n'; printf 'err\376' >&2; exit 7");
    assert_eq!(mixed.stdout, b"out\xff\x00\n");
    assert_eq!(mixed.stderr, b"err\xfe");
    assert_eq!(mixed.status.code(), Some(7));
    assert_eq!(bench.exec("dev", "true").status.code(), Some(0));
    assert_eq!(bench.exec("dev", "kill -9 $$").status.code(), Some(137));
    assert_eq!(bench.exec("dev", "kill -TERM $$").status.code(), Some(143));
    let nobody = bench.exec("nobody", "true");
    assert_eq!(nobody.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("no agent of yours is called"));
}

#[test]
fn a_large_output_arrives_whole() {
    let bench = Bench::start();
    let _agent = bench.agent("dev");
    let _ = bench.await_status("dev", "online");
    let blob: Vec<u8> =
        (0..8_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let file = bench.folder.path().join("blob");
    std::fs::write(&file, &blob).expect("a file");
    let out = bench.exec("dev", &format!("cat {}", file.display()));
    assert!(out.status.success());
    assert!(out.stdout == blob, "{} of {} bytes", out.stdout.len(), blob.len());
    let lines = bench.exec("dev", "seq 1 100000");
    assert_eq!(lines.stdout.iter().filter(|b| **b == b'\n').count(), 100_000);
}

#[test]
fn a_command_whose_reader_is_gone_ends_and_one_that_is_cancelled_by_its_id_says_so() {
    let bench = Bench::start();
    let _agent = bench.agent("dev");
    let _ = bench.await_status("dev", "online");
    let mut exec = bench
        .exec_command("dev", &[], "trap '' PIPE; while :; do echo y; sleep 0.0836; done")
        .stdout(Stdio::piped())
        .spawn()
        .expect("exec can be run");
    let mut first = [0; 2];
    let mut reader = exec.stdout.take().expect("piped");
    reader.read_exact(&mut first).expect("a line");
    drop(reader);
    assert_eq!(Running(exec).wait().code(), Some(141), "as SIGPIPE ends a local one");
    eventually("nothing is left", || !runs("sleep 0.0836"));

    let exec = bench
        .exec_command("dev", &[], "sleep 8362")
        .stderr(Stdio::piped())
        .spawn()
        .expect("exec can be run");
    eventually("it runs", || runs("sleep 8362"));
    let listed: serde_json::Value =
        serde_json::from_slice(&bench.ask(&["commands", "--json"]).stdout).expect("a list");
    let all = listed["commands"].as_array().expect("a list");
    let running = all.iter().find(|c| c["status"] == "running").expect("it runs");
    let id = running["command_id"].as_str().expect("an id");
    assert!(bench.ask(&["cancel", id]).status.success());
    let ended = exec.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("the command was cancelled"), "{said}");
    assert!(!runs("sleep 8362"));
    assert_eq!(bench.ask(&["cancel", "no-such-command"]).status.code(), Some(1));
}

#[test]
fn the_first_line_comes_while_the_command_still_runs() {
    let bench = Bench::start();
    let _agent = bench.agent("dev");
    let _ = bench.await_status("dev", "online");
    let mut exec = bench
        .exec_command("dev", &[], "echo first; sleep 8361")
        .stdout(Stdio::piped())
        .spawn()
        .expect("exec can be run");
    let mut first = [0; 6];
    exec.stdout.take().expect("piped").read_exact(&mut first).expect("a line");
    assert_eq!(&first, b"first\n");
    assert!(exec.try_wait().expect("our child").is_none());
    // Ctrl-C cancels, and the process is really gone.
    let interrupted = Running(exec);
    interrupted.signal("-INT");
    let mut interrupted = interrupted;
    assert_eq!(interrupted.wait().code(), Some(130));
    eventually("nothing is left", || !runs("sleep 8361"));
}

#[test]
fn a_timeout_cancels_and_the_process_group_is_gone() {
    let bench = Bench::start();
    let _agent = bench.agent("dev");
    let _ = bench.await_status("dev", "online");
    let started = Instant::now();
    let out = bench
        .exec_command("dev", &["--timeout", "1s"], "sleep 9471 & sleep 9472")
        .output()
        .expect("exec can be run");
    assert_eq!(out.status.code(), Some(124));
    assert!(started.elapsed() < Duration::from_secs(20));
    eventually("nothing is left", || !runs("sleep 9471") && !runs("sleep 9472"));
}

#[test]
fn an_agent_that_is_away_is_said_to_be_away() {
    let bench = Bench::start();
    let agent = bench.agent("dev");
    let _ = bench.await_status("dev", "online");
    agent.signal("-KILL");
    let _ = bench.await_status("dev", "reconnecting");
    let out = bench.exec("dev", "true");
    assert_eq!(out.status.code(), Some(125));
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(text.contains("the agent is reconnecting"), "{text}");
}

#[test]
fn a_program_runs_once_for_each_command_with_the_text_as_it_is() {
    let bench = Bench::start();
    let mut command = bench.agent_command("ada");
    let _agent = Running(
        command.args(["--runner", "program", "--", "printf", "%s|", "always"]).spawn().unwrap(),
    );
    let _ = bench.await_status("ada", "online");
    let text = "why does `$(id)` \"not\" run?";
    let ran = bench.exec("ada", text);
    assert_eq!(String::from_utf8(ran.stdout).unwrap(), format!("always|{text}|"));
    let refused = bench.exec("ada", "--help");
    assert_eq!(refused.status.code(), Some(125));
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(why.contains("would take it for an option"), "{why}");
}
