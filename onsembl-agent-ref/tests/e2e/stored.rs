//! What is stored, as the command line shows it.

use crate::bench::{Bench, FAST, Running, eventually, server_binary};
use serde_json::Value;
use std::io::Read as _;
use std::process::{Command, Output, Stdio};

fn ask(bench: &Bench, arguments: &[&str]) -> Command {
    let mut command = Command::new(server_binary());
    command
        .args(arguments)
        .args(["--server", &bench.url(), "--token", &bench.token("dashboard")])
        .stdin(Stdio::null());
    command
}

fn done(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

fn listed(bench: &Bench) -> Vec<Value> {
    let output = done(ask(bench, &["commands", "--json"]));
    let listing: Value = serde_json::from_slice(&output.stdout).unwrap();
    listing["commands"].as_array().unwrap().clone()
}

#[test]
fn stored_output_comes_out_byte_for_byte_stream_by_stream_and_every_byte_is_accounted_for() {
    let bench = Bench::start();
    let _agent = bench.agent("ada");
    bench.await_status("ada", "online");
    let ran =
        bench.exec("ada", r"printf 'caf\303\251\000\377\n'; seq 1 20000; echo oops >&2; exit 3");
    assert_eq!(ran.status.code(), Some(3));

    let commands = listed(&bench);
    assert_eq!(commands.len(), 1, "{commands:?}");
    assert_eq!((&commands[0]["status"], &commands[0]["exit_code"]), (&"failed".into(), &3.into()));
    let id = commands[0]["command_id"].as_str().unwrap();
    let both = done(ask(&bench, &["output", id]));
    assert_eq!((&both.stdout, &both.stderr), (&ran.stdout, &ran.stderr));
    let only = done(ask(&bench, &["output", id, "--stream", "stderr"]));
    assert_eq!((only.stdout.as_slice(), only.stderr.as_slice()), (&b"oops\n"[..], &b""[..]));

    let table = done(ask(&bench, &["commands", "--agent", "ada", "-o", "wide"]));
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains(id) && table.contains("failed"), "{table}");
    let balance = done(ask(&bench, &["audit", "ada"]));
    let balance = String::from_utf8(balance.stdout).unwrap();
    assert!(balance.contains("balanced: "), "{balance}");
    assert!(balance.contains(&ran.stdout.len().to_string()), "{balance}");

    let unknown = ask(&bench, &["output", "no/such"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(1));
    let why = String::from_utf8(unknown.stderr).unwrap();
    assert!(why.contains("no command of yours has this id"), "{why}");
}

#[test]
fn whoever_follows_sees_each_byte_once_across_a_killed_server() {
    let mut bench = Bench::start();
    let _agent = bench.agent("ada");
    bench.await_status("ada", "online");
    let text = "for i in $(seq 1 60); do echo line $i; sleep 0.05; done";
    let mut exec = bench.exec_command("ada", &[], text).stdout(Stdio::null()).spawn().unwrap();
    eventually("a command", || !listed(&bench).is_empty());
    let id = listed(&bench)[0]["command_id"].as_str().unwrap().to_owned();
    let mut following =
        ask(&bench, &["output", &id, "--follow"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = following.stdout.take().unwrap();
    let mut first = [0; 7];
    out.read_exact(&mut first).unwrap();
    bench.server.take().expect("running").signal("-KILL");
    bench.start_server();
    let mut text = String::from_utf8(first.to_vec()).unwrap();
    out.read_to_string(&mut text).unwrap();
    assert!(following.wait().unwrap().success());
    let whole: String = (1..=60).map(|n| format!("line {n}\n")).collect();
    assert_eq!(text, whole);
    let _ = exec.kill();
    let _ = exec.wait();
}

#[test]
fn what_a_killed_agent_had_read_is_delivered_by_its_successor_and_the_rest_declared() {
    let mut bench = Bench::start();
    let agent = bench.agent("ada");
    bench.await_status("ada", "online");
    let text = "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.005; done";
    let mut exec = bench.exec_command("ada", &[], text);
    let _exec = Running(exec.stdout(Stdio::null()).spawn().unwrap());
    eventually("a running command", || {
        listed(&bench).first().is_some_and(|c| c["status"] == "running")
    });
    let id = listed(&bench)[0]["command_id"].as_str().unwrap().to_owned();
    bench.server.take().expect("running").signal("-KILL");
    std::thread::sleep(std::time::Duration::from_secs(1));
    agent.signal("-KILL");
    drop(agent);
    bench.start_server();
    let _successor = bench.agent("ada");
    eventually("an outcome", || listed(&bench)[0]["status"] == "lost");
    let shown = done(ask(&bench, &["output", &id]));
    let lines = String::from_utf8(shown.stdout).unwrap();
    let count = lines.lines().count();
    let expected: String = (0..count).map(|n| format!("line {n}\n")).collect();
    assert!(count > 50 && lines == expected, "{count} lines");
    let printed = String::from_utf8(shown.stderr).unwrap();
    assert!(
        printed.contains("stdout: [the rest of the output is missing: agent-died]"),
        "{printed}"
    );
    let balance = done(ask(&bench, &["audit", "ada"]));
    let balance = String::from_utf8(balance.stdout).unwrap();
    assert!(balance.contains("of unknown length") && balance.contains("end unknown"), "{balance}");
}

#[test]
fn history_that_is_cut_begins_with_a_gap_and_stays_balanced() {
    let bench = Bench::with(FAST, &["--keep-bytes", "65536"]);
    let _agent = bench.agent("ada");
    bench.await_status("ada", "online");
    let ran = bench.exec("ada", "seq 1 100000");
    assert!(ran.status.success());
    let id = listed(&bench)[0]["command_id"].as_str().unwrap().to_owned();
    eventually("the beginning is cut", || {
        let shown = done(ask(&bench, &["output", &id]));
        let printed = String::from_utf8(shown.stderr).unwrap();
        printed.contains("retention")
            && ran.stdout.ends_with(&shown.stdout)
            && shown.stdout.len() <= 65536
    });
    let balance = done(ask(&bench, &["audit", "ada"]));
    assert!(String::from_utf8(balance.stdout).unwrap().contains("balanced: "));
}
