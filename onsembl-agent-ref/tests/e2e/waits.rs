//! What is said of a program that does nothing, of a text typed into one that was started again, and of a command that
//! waits.

use crate::bench::{Bench, Running, eventually};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};

fn terminal(bench: &Bench, script: &str) -> Running {
    let mut agent = bench.agent_command("ada");
    Running(agent.args(["--runner", "terminal", "--", "/bin/sh", "-c", script]).spawn().unwrap())
}

#[test]
fn a_program_that_a_signal_has_stopped_is_shown_with_what_continues_it_until_it_runs_again() {
    let bench = Bench::start();
    let _ada = terminal(&bench, "echo up; kill -STOP $$; echo on; exec sleep 1000");
    let view = bench.await_view("ada", "that it is stopped", |v| v["program_fault"].is_string());
    let fault = view["program_fault"].as_str().unwrap().to_owned();
    assert!(fault.contains("stopped by a signal since 2"), "{fault}");
    let table = String::from_utf8(bench.ask(&["agents"]).stdout).unwrap();
    assert!(table.contains("stopped by a signal"), "{table}");
    let (_, behind) = fault.split_once("kill -CONT ").unwrap();
    let pid: String = behind.chars().take_while(char::is_ascii_digit).collect();
    assert!(Command::new("kill").args(["-CONT", &pid]).status().unwrap().success());
    bench.await_view("ada", "that it runs", |view| view["program_fault"].is_null());
}

/// It is typed into the next program: the one that was there when it was asked for ends.
#[test]
fn the_answer_that_is_waited_for_is_that_of_the_program_into_which_the_text_was_typed() {
    let bench = Bench::start();
    let mut agent = bench.agent_command("ada");
    let _ada = Running(agent.args(["--runner", "terminal", "--", "/bin/sh"]).spawn().unwrap());
    bench.await_status("ada", "online");
    for n in 0..3 {
        let ended = bench.exec("ada", "exit 5");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(said.contains("ended"), "{said}");
        let mut exec = bench.exec_command("ada", &["--wait=1"], &format!("echo he''llo-{n}"));
        let answer = exec.output().unwrap();
        let (said, heard) =
            (String::from_utf8_lossy(&answer.stderr), String::from_utf8_lossy(&answer.stdout));
        assert!(heard.contains(&format!("hello-{n}")), "{said}{heard}");
        assert!(!said.contains("has ended"), "{said}");
    }
}

/// A command that waits, and what its caller is told meanwhile.
struct Waits {
    _exec: Running,
    said: PathBuf,
}

impl Waits {
    fn begin(bench: &Bench, name: &str, arguments: &[&str]) -> Self {
        let said = bench.folder.path().join(name);
        let mut exec = bench.exec_command("ada", arguments, "true");
        exec.stdout(Stdio::null()).stderr(File::create(&said).unwrap());
        Self { _exec: Running(exec.spawn().unwrap()), said }
    }

    fn is_told(&self, text: &str) {
        let said = || std::fs::read_to_string(&self.said).unwrap();
        eventually(text, || said().lines().any(|line| line.contains(text)));
    }
}

#[test]
fn a_queued_command_names_what_it_waits_for() {
    let bench = Bench::start();
    let mut ada = bench.agent("ada");
    bench.await_status("ada", "online");
    assert!(bench.ask(&["control", "ada", "pause"]).status.success());
    bench.await_view("ada", "that it is paused", |view| view["paused"] == true);
    let paused = Waits::begin(&bench, "paused", &[]);
    paused.is_told("its agent ada is paused by ann since ");
    assert!(bench.ask(&["control", "ada", "resume"]).status.success());
    let mut busy: Vec<Running> = Vec::new();
    for _ in 0..4 {
        busy.push(Running(bench.exec_command("ada", &[], "exec sleep 1000").spawn().unwrap()));
    }
    let full = || {
        let listed = bench.ask(&["commands", "--json"]).stdout;
        String::from_utf8_lossy(&listed).matches("\"running\"").count() >= 4
    };
    eventually("every slot is taken", full);
    let turn = Waits::begin(&bench, "turn", &[]);
    turn.is_told("queued: its agent ada is busy with 4 of at most 4 commands: cmd-");
    drop((turn, busy));
    ada.signal("-TERM");
    assert!(ada.wait().success());
    bench.await_status("ada", "offline");
    let away = Waits::begin(&bench, "away", &["--offline", "queue"]);
    away.is_told("queued: its agent ada is offline since ");
}
