//! `exec`, end to end.

use crate::bench::{Bench, Running, eventually, runs};
use crate::relay::Relay;
use std::fs::File;
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
    let printed = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(printed.contains("the command was cancelled"), "{printed}");
    assert!(!runs("sleep 8362"));
    assert_eq!(bench.ask(&["cancel", "no-such-command"]).status.code(), Some(1));
}

#[test]
fn a_reader_that_does_not_read_keeps_exec_from_nothing() {
    let bench = Bench::start();
    let _agent = bench.agent("dev");
    let _ = bench.await_status("dev", "online");
    // More than a pipe holds.
    let text = "head -c 300000 /dev/zero; exec sleep 8363";
    let exec = bench.exec_command("dev", &[], text).stdout(Stdio::piped()).spawn();
    let mut exec = Running(exec.expect("exec can be run"));
    eventually("all is written", || runs("sleep 8363"));
    exec.signal("-TERM");
    assert_eq!(exec.wait().code(), Some(143));
    assert!(!runs("sleep 8363"), "that was confirmed");
}

#[test]
fn whoever_waits_for_a_command_misses_nothing_when_the_link_is_cut_or_the_server_is_killed() {
    let mut bench = Bench::start();
    let _agent = bench.agent("dev");
    let _ = bench.await_status("dev", "online");
    let relay = Relay::to(&bench.address);
    let path = |name: &str| bench.folder.path().join(name);
    let (out, err, cut, killed) = (path("out"), path("err"), path("cut"), path("killed"));
    // It does not come to its end before both were done.
    let text = format!(
        "for i in $(seq 1 150); do echo out $i; echo err $i >&2; sleep 0.01; \
         until [ $i -ne 50 ] || [ -e {} ]; do sleep 0.05; done; \
         until [ $i -ne 100 ] || [ -e {} ]; do sleep 0.05; done; done; exit 7",
        cut.display(),
        killed.display()
    );
    let direct = std::mem::replace(&mut bench.address, relay.address.clone());
    let mut exec = bench.exec_command("dev", &[], &text);
    bench.address = direct;
    let exec = exec.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap()).spawn();
    let mut exec = Running(exec.expect("exec can be run"));
    let shows = |text: &str| std::fs::read_to_string(&out).unwrap_or_default().contains(text);
    eventually("it writes", || shows("out 50\n"));
    relay.cut();
    std::fs::write(cut, "").unwrap();
    eventually("it goes on", || shows("out 100\n"));
    bench.server.take().expect("running").signal("-KILL");
    std::fs::write(killed, "").unwrap();
    bench.start_server();
    assert_eq!(exec.wait().code(), Some(7));
    let lines = |stream: &str| (1..=150).map(|n| format!("{stream} {n}\n")).collect::<String>();
    assert_eq!(std::fs::read_to_string(&out).unwrap(), lines("out"));
    let printed = std::fs::read_to_string(&err).unwrap();
    let (ours, theirs): (Vec<_>, Vec<_>) =
        printed.lines().partition(|line| line.starts_with("onsembl-server: "));
    assert_eq!(theirs.join("\n") + "\n", lines("err"));
    let count = |what: &str| ours.iter().filter(|line| line.contains(what)).count();
    assert_eq!(
        (count("lost the link to the server"), count("link to the server is back")),
        (2, 2),
        "{printed}"
    );
}

#[test]
fn what_a_command_wrote_before_anybody_heard_that_it_runs_is_not_lost_with_the_link() {
    let mut bench = Bench::start();
    let _agent = bench.agent("dev");
    let _ = bench.await_status("dev", "online");
    let relay = Relay::to(&bench.address);
    relay.mute(true);
    let (out, stop) = (bench.folder.path().join("out"), bench.folder.path().join("stop"));
    // It writes without a pause, so that something comes at each moment.
    let text =
        format!("i=0; until [ -e {} ]; do echo $i; i=$((i+1)); done; echo end $i", stop.display());
    let direct = std::mem::replace(&mut bench.address, relay.address.clone());
    let exec = bench.exec_command("dev", &[], &text).stdout(File::create(&out).unwrap()).spawn();
    let mut exec = Running(exec.expect("exec can be run"));
    bench.address = direct;
    eventually("the command runs", || runs(&text));
    eventually("it has written", || {
        let listed = bench.ask(&["commands", "--json"]);
        let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
        let id = listed["commands"][0]["command_id"].as_str().unwrap().to_owned();
        !bench.ask(&["output", &id]).stdout.is_empty()
    });
    assert_eq!(std::fs::read(&out).unwrap(), b"");
    relay.mute(false);
    relay.cut();
    let shown = || std::fs::read_to_string(&out).unwrap();
    eventually("something comes", || !shown().is_empty());
    std::fs::write(&stop, "").unwrap();
    assert!(exec.wait().success());
    let shown = shown();
    let (lines, end) = shown.trim_end().rsplit_once('\n').unwrap();
    let count: u64 = end.strip_prefix("end ").unwrap().parse().unwrap();
    assert!(
        lines.lines().eq((0..count).map(|n| n.to_string())),
        "of {count} lines some are missing"
    );
}

#[test]
fn whoever_waits_is_told_why_nothing_comes() {
    let mut bench = Bench::start();
    let relay = Relay::to(&bench.address);
    let direct = std::mem::replace(&mut bench.address, relay.address.clone());
    let _agent = bench.agent("dev");
    bench.address = direct;
    let _ = bench.await_status("dev", "online");
    let go = bench.folder.path().join("go");
    let text = format!("until [ -e {} ]; do sleep 0.05; done; echo done", go.display());
    let err = bench.folder.path().join("err");
    let exec = bench.exec_command("dev", &[], &text).stderr(File::create(&err).unwrap()).spawn();
    let mut exec = Running(exec.expect("exec can be run"));
    eventually("it runs", || runs(&text));
    relay.refuse(true);
    relay.cut();
    let printed = || std::fs::read_to_string(&err).unwrap_or_default();
    eventually("its agent is said to be away", || {
        printed().contains("onsembl-server: running: the link to the agent is lost")
    });
    relay.refuse(false);
    let _ = bench.await_status("dev", "online");
    std::fs::write(&go, "").unwrap();
    assert!(exec.wait().success());
    assert_eq!(printed().matches("is lost").count(), 1, "{}", printed());
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
    assert!(why.contains("would parse it as an option"), "{why}");
}
