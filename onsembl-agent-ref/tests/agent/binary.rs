//! The program as people run it.

use super::server::{Peer, Server};
use super::{is_alive, soon, until};
use onsembl_protocol::wire::ServerToAgent;
use onsembl_protocol::wire::payload::{AgentControl, ControlAction};
use serde_json::Value;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

pub(crate) const TOKEN: &str = "swordfish";

/// The program, with nothing of this environment's settings.
pub(crate) fn program(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onsembl-agent"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ONSEMBL_") {
            command.env_remove(name);
        }
    }
    command.env("XDG_STATE_HOME", dir).kill_on_drop(true);
    command
}

async fn output(command: &mut Command) -> Output {
    soon("the program", command.output()).await.unwrap()
}

pub(crate) async fn status(dir: &Path, args: &[&str]) -> (Option<i32>, String) {
    let done = output(program(dir).arg("status").args(args)).await;
    (done.status.code(), String::from_utf8(done.stdout).unwrap())
}

pub(crate) fn start(dir: &Path, url: &str, name: &str) -> Child {
    program(dir)
        .args(["run", "--server", url, "--name", name, "--log", "trace"])
        .env("ONSEMBL_TOKEN", TOKEN)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

pub(crate) fn signal(child: &Child, name: &str) {
    let pid = child.id().unwrap().to_string();
    let kill = std::process::Command::new("kill").args([name, &pid]).status().unwrap();
    assert!(kill.success());
}

#[tokio::test]
async fn the_exit_codes_are_those_that_others_script_against() {
    let dir = tempfile::tempdir().unwrap();
    let usage = output(program(dir.path()).args(["run", "--server", "ws://h"])).await;
    assert_eq!(usage.status.code(), Some(2));
    let url = ["run", "--server", "ftp://h", "--name", "n", "--token", TOKEN];
    let bad = output(program(dir.path()).args(url)).await;
    assert_eq!(bad.status.code(), Some(1));
    let error = String::from_utf8(bad.stderr).unwrap();
    assert!(error.contains("ws://") && !error.contains(TOKEN), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert_eq!(status(dir.path(), &[]).await.0, Some(3));
    assert_eq!(status(dir.path(), &["--name", "nobody"]).await.0, Some(3));
    assert_eq!(status(dir.path(), &["--what"]).await.0, Some(2));
    let help =
        output(program(dir.path()).args(["run", "--help"]).env("ONSEMBL_TOKEN", TOKEN)).await;
    assert!(!String::from_utf8(help.stdout).unwrap().contains(TOKEN));
}

#[tokio::test]
async fn it_runs_shows_its_status_and_stops_on_a_signal_without_a_trace_of_its_token() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::new().await;
    let child = start(dir.path(), &server.url, "builder");
    let mut peer = server.session().await;
    peer.run("c", "echo \"$ONSEMBL_TOKEN$$\"; exec sleep 1000").await;
    peer.acknowledged().await;
    let pid = peer.line().await;
    assert!(!pid.contains(TOKEN) && is_alive(&pid), "{pid}");
    let json = loop {
        let (code, text) = status(dir.path(), &["--json"]).await;
        let json: Value = serde_json::from_str(&text).unwrap();
        if code == Some(0) && json["state"] == "connected" && json["running_commands"] == 1 {
            break json;
        }
    };
    assert_eq!((&json["live"], &json["name"]), (&true.into(), &"builder".into()));
    let (code, table) = status(dir.path(), &["--name", "builder"]).await;
    assert_eq!(code, Some(0));
    assert!(table.contains("state               connected\n"), "{table}");

    // These say nothing to it, and are the end of a process that does not catch them.
    for harmless in ["-USR1", "-USR2", "-XFSZ", "-ALRM", "-VTALRM", "-PROF", "-IO", "-PWR"] {
        signal(&child, harmless);
    }
    signal(&child, "-QUIT");
    peer.complete().await;
    peer.confirm("c").await;
    peer.end().await;
    let done = soon("the end", child.wait_with_output()).await.unwrap();
    assert_eq!(done.status.code(), Some(0));
    assert!(!is_alive(&pid));
    let log = String::from_utf8(done.stderr).unwrap();
    assert!(log.contains("command started") && !log.contains(TOKEN), "{log}");
    let (code, table) = status(dir.path(), &[]).await;
    assert_eq!(code, Some(3));
    assert!(table.contains("not running (last known: closed)"), "{table}");
}

#[tokio::test]
async fn told_to_restart_it_comes_back_as_another_instance_of_the_same_process() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::new().await;
    let child = start(dir.path(), &server.url, "phoenix");
    let mut before = server.session().await;
    before
        .send(ServerToAgent::Control(AgentControl {
            agent_id: None,
            action: ControlAction::Restart,
            reason: None,
            graceful_shutdown: None,
            timeout: None,
            size: None,
        }))
        .await;
    before.end().await;
    let mut after = server.session().await;
    let instance = |peer: &Peer| peer.hello.extensions.as_ref().unwrap().instance.clone();
    assert_ne!(instance(&before), instance(&after));
    after.run("c", "echo $PPID").await;
    assert_eq!(after.all().await.0, format!("{}\n", child.id().unwrap()).into_bytes());
    signal(&child, "-TERM");
    after.end().await;
    let done = soon("the end", child.wait_with_output()).await.unwrap();
    assert_eq!(done.status.code(), Some(0));
}

#[tokio::test]
async fn several_agents_are_listed_and_a_killed_one_is_told_from_a_live_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::new().await;
    let mut first = start(dir.path(), &server.url, "one");
    let _one = server.session().await;
    let second = start(dir.path(), &server.url, "two");
    let _two = server.session().await;
    let shown = |name: &str| dir.path().join("onsembl").join(name).join("status.json").exists();
    until("both status files", || shown("one") && shown("two")).await;
    signal(&first, "-KILL");
    soon("the end", first.wait()).await.unwrap();
    let (code, list) = status(dir.path(), &[]).await;
    assert_eq!(code, Some(0));
    let line = |name: &str| list.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(line("one").contains("not running") && !line("two").contains("not running"), "{list}");
    let (_, json) = status(dir.path(), &["--json"]).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json[0]["live"], &json[1]["live"]), (&false.into(), &true.into()));
    assert_eq!(status(dir.path(), &["--name", "one"]).await.0, Some(3));
    drop(second);
}

/// A pipe that nobody writes to blocks its reader as a silent name server blocks a look-up.
#[tokio::test]
async fn a_stop_does_not_wait_for_a_thread_that_is_blocked() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("token");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut child = program(dir.path())
        .args(["run", "--server", "ws://127.0.0.1:9", "--name", "n", "--token-file"])
        .arg(&pipe)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    loop {
        let line = soon("the log", log.next_line()).await.unwrap().unwrap();
        if line.contains("connecting") {
            break;
        }
    }
    signal(&child, "-TERM");
    let ended = tokio::time::timeout(Duration::from_secs(20), child.wait()).await;
    assert!(ended.expect("the end of the process").unwrap().success());
}

/// As `nohup` and a shell's `&` start a program.
#[tokio::test]
async fn what_it_was_started_with_ignored_its_commands_do_not_ignore_and_it_survives_a_hangup() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::new().await;
    let mut command = Command::new("/bin/sh");
    command
        .args([
            "-c",
            "trap '' HUP INT QUIT; exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_onsembl-agent"),
        ])
        .args(["run", "--server", &server.url, "--name", "stays", "--log", "trace"])
        .env("XDG_STATE_HOME", dir.path())
        .env("ONSEMBL_TOKEN", TOKEN)
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let child = command.spawn().unwrap();
    for run in ["first", "second"] {
        let mut peer = server.session().await;
        signal(&child, "-HUP");
        peer.run(run, "grep SigIgn /proc/self/status").await;
        let said = String::from_utf8(peer.all().await.0).unwrap();
        let mask = u64::from_str_radix(said.split_whitespace().last().unwrap(), 16).unwrap();
        for number in [1, 2, 3] {
            assert_eq!(mask >> (number - 1) & 1, 0, "signal {number} of {said}");
        }
        if run == "first" {
            // What takes its place must survive a hangup too.
            peer.send(ServerToAgent::Control(AgentControl {
                agent_id: None,
                action: ControlAction::Restart,
                reason: None,
                graceful_shutdown: None,
                timeout: None,
                size: None,
            }))
            .await;
        } else {
            signal(&child, "-TERM");
        }
        peer.end().await;
    }
    let done = soon("the end", child.wait_with_output()).await.unwrap();
    assert_eq!(done.status.code(), Some(0));
}
