//! One state directory, copied: two processes of one agent, each with a supervisor that starts it again. Neither is
//! killed, no command is, and everybody is told; and a plain restart is not taken for that.

use crate::bench::{AGENT, Bench, Running, Times, eventually, runs};
use serde_json::Value;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// An agent under the name of `ada` with a state directory of its own.
fn agent_at(bench: &Bench, dir: &str) -> Command {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(bench.folder.path().join(format!("{dir}.log")))
        .unwrap();
    let mut command = Command::new(AGENT);
    command
        .args(["run", "--server", &bench.url(), "--name", "ada", "--state-dir"])
        .arg(bench.folder.path().join(dir))
        .env("ONSEMBL_TOKEN", &bench.agent_token)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    command
}

/// A supervisor: starts the agent again whenever it ends, a second later, as long as the file is not there.
fn supervised(bench: &Bench, dir: &str, until: &Path) -> Supervised {
    let mut script = String::from("while [ ! -e \"$1\" ]; do ");
    let agent = agent_at(bench, dir);
    let words = std::iter::once(agent.get_program()).chain(agent.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    script.push_str(&words.join(" "));
    script.push_str("; echo ended >> \"$2\"; sleep 1; done");
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(bench.folder.path().join(format!("{dir}.log")))
        .unwrap();
    let child = Command::new("/bin/sh")
        .args(["-c", &script, "supervisor"])
        .arg(until)
        .arg(ends(bench, dir))
        .env("ONSEMBL_TOKEN", &bench.agent_token)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn();
    let lock = bench.folder.path().join(dir).join("lock");
    Supervised { supervisor: Running(child.unwrap()), lock }
}

/// A supervisor and its agent, neither of which outlives its test.
struct Supervised {
    supervisor: Running,
    lock: PathBuf,
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let _ = self.supervisor.0.kill();
        let _ = self.supervisor.0.wait();
        let lock = fs::read_to_string(&self.lock).unwrap_or_default();
        if let Some(pid) = lock.lines().next() {
            let _ = Command::new("kill").args(["-KILL", pid]).stderr(Stdio::null()).status();
        }
    }
}

fn ends(bench: &Bench, dir: &str) -> PathBuf {
    bench.folder.path().join(format!("{dir}.ends"))
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

fn status_of(bench: &Bench, dir: &str) -> Value {
    let text = bench.log(&format!("{dir}/status.json"));
    serde_json::from_str(&text).unwrap_or_default()
}

/// Ends the agent that holds this state directory.
fn end_agent(bench: &Bench, dir: &str, signal: &str) {
    let lock = bench.log(&format!("{dir}/lock"));
    let pid = lock.lines().next().unwrap_or_default().to_owned();
    let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
    assert!(sent.success(), "{lock}");
}

fn start(bench: &Bench, text: &str) -> Running {
    let mut exec = bench.exec_command("ada", &[], text);
    Running(exec.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

#[test]
fn two_supervised_copies_of_one_agent_end_no_command_and_are_named() {
    let bench = Bench::start();
    let over = bench.folder.path().join("over");
    let _one = supervised(&bench, "one", &over);
    bench.await_status("ada", "online");
    let _exec = start(&bench, "sleep 7101");
    eventually("it runs", || runs("sleep 7101"));
    copy(&bench.folder.path().join("one"), &bench.folder.path().join("two"));
    let _two = supervised(&bench, "two", &over);
    let names = |view: &Value| view["because"].as_str().unwrap().contains("contested");
    let view = bench.await_view("ada", "the contest", names);
    assert_eq!(view["status"], "online");
    let said = bench.ask(&["why", "--all"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    for part in ["ada is online since ", "second-instance", "a state directory of its own"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    eventually("the copy says why it is not in session", || {
        let because = status_of(&bench, "two")["because"].as_str().unwrap_or_default().to_owned();
        because.contains("another process of this agent") && because.contains("state directory")
    });
    // Five seconds in which they used to replace each other four times.
    std::thread::sleep(Duration::from_secs(5));
    assert!(runs("sleep 7101"), "{}", bench.log("one.log"));
    for dir in ["one", "two"] {
        assert!(!ends(&bench, dir).exists(), "{dir} ended: {}", bench.log(&format!("{dir}.log")));
    }
    let server = bench.log("server.log");
    let named = server.matches("two processes of one agent compete for its session").count();
    assert_eq!(named, 1, "the log says so now and again, and not each time");
    // When the one in session goes, the other takes its place.
    fs::write(&over, "").unwrap();
    end_agent(&bench, "one", "-TERM");
    eventually("the copy is in session", || status_of(&bench, "two")["state"] == "connected");
    end_agent(&bench, "two", "-TERM");
}

#[test]
fn an_agent_that_was_replaced_ends_its_commands_before_itself_and_has_an_exit_code_of_its_own() {
    // So long that a frozen process is not given up for its silence.
    let bench = Bench::with(Times(["1s", "40s", "60s", "60s"]), &[]);
    let mut one = Running(agent_at(&bench, "one").spawn().unwrap());
    bench.await_status("ada", "online");
    let mark = bench.folder.path().join("mark");
    let go = bench.folder.path().join("go");
    let text = format!(
        "while [ ! -e {} ]; do sleep 0.1; done; echo done >> {}",
        go.display(),
        mark.display()
    );
    let _exec = start(&bench, &text);
    let name = go.display().to_string();
    eventually("it runs", || runs(&name));
    copy(&bench.folder.path().join("one"), &bench.folder.path().join("two"));
    one.freeze();
    let mut two = Running(agent_at(&bench, "two").spawn().unwrap());
    bench.await_view("ada", "the replacement", |view| {
        view["because"].as_str().unwrap().contains("replaced once in a minute")
    });
    assert!(runs(&name), "its successor leaves alone what it has: {}", bench.log("two.log"));
    one.thaw();
    eventually("it is told", || status_of(&bench, "one")["state"] == "closed");
    std::thread::sleep(Duration::from_secs(2));
    assert!(runs(&name), "{}", bench.log("one.log"));
    assert!(one.0.try_wait().unwrap().is_none());
    fs::write(&go, "").unwrap();
    assert_eq!(one.wait().code(), Some(4), "{}", bench.log("one.log"));
    assert_eq!(fs::read_to_string(&mark).unwrap(), "done\n");
    two.signal("-TERM");
    assert_eq!(two.wait().code(), Some(0));
}

#[test]
fn an_agent_that_was_deleted_has_an_exit_code_of_its_own() {
    let bench = Bench::start();
    let mut agent = Running(agent_at(&bench, "one").spawn().unwrap());
    let view = bench.await_status("ada", "online");
    let id = view["agent_id"].as_str().unwrap();
    let mut stream = TcpStream::connect(&bench.address).unwrap();
    let token = &bench.dashboard_token;
    write!(
        stream,
        "DELETE /api/agents/{id} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    assert_eq!(agent.wait().code(), Some(6), "{}", bench.log("one.log"));
}

#[test]
fn a_restart_of_one_agent_is_not_taken_for_a_copy() {
    let bench = Bench::start();
    for _ in 0..4 {
        let agent = Running(agent_at(&bench, "one").spawn().unwrap());
        bench.await_status("ada", "online");
        let begun = Instant::now();
        agent.signal("-KILL");
        drop(agent);
        let successor = Running(agent_at(&bench, "one").spawn().unwrap());
        eventually("it is back", || status_of(&bench, "one")["state"] == "connected");
        bench.await_status("ada", "online");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        successor.signal("-TERM");
    }
    let log = bench.log("server.log");
    assert!(!log.contains("two processes of one agent"), "{log}");
}

#[test]
fn what_an_agent_was_started_with_ignored_its_programs_do_not_ignore() {
    let bench = Bench::start();
    let agent = agent_at(&bench, "one");
    let words = std::iter::once(agent.get_program()).chain(agent.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let script = format!("trap '' INT QUIT USR1; exec {}", words.join(" "));
    let agent = Command::new("/bin/sh")
        .args(["-c", &script])
        .env("ONSEMBL_TOKEN", &bench.agent_token)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _agent = Running(agent.unwrap());
    bench.await_status("ada", "online");
    let shown = bench.exec("ada", "grep SigIgn /proc/self/status");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let mask = shown.trim().rsplit(char::is_whitespace).next().unwrap_or_default();
    // SIGINT, SIGQUIT and SIGUSR1; the parent of the tests may ignore others.
    let ours = (1 << 1) | (1 << 2) | (1 << 9);
    assert_eq!(u64::from_str_radix(mask, 16).unwrap() & ours, 0, "{shown}");
}
