//! Agents that are attached to the terminal in which they were started: somebody at the desk types too.

use crate::bench::{Bench, PATIENCE, eventually, runs};
use crate::terminals::{TALKS, runs_in_terminal, shown};
use onsembl_agent_ref::process::{ProcessHandle, ProcessSpec, Runner, spawn};
use onsembl_protocol::id::CommandId;
use onsembl_protocol::model::{Exit, TerminalSize};
use onsembl_protocol::worker::{Stroke, StrokeKind, Typing, WorkerEvent};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// The agent under a terminal of ours, as a person would start it.
async fn attached(bench: &Bench, script: &str) -> (Screen, ProcessHandle) {
    attached_to(bench, &["/bin/sh", "-c", script]).await
}

async fn attached_to(bench: &Bench, program: &[&str]) -> (Screen, ProcessHandle) {
    attached_with(bench, &[], program).await
}

async fn attached_with(
    bench: &Bench,
    options: &[&str],
    program: &[&str],
) -> (Screen, ProcessHandle) {
    let folder = bench.folder.path().join("ada").display().to_string();
    let (agent, url) = (env!("CARGO_BIN_EXE_onsembl-agent"), bench.url());
    let run = [agent, "run", "--server", &url, "--name", "ada", "--state-dir", &folder];
    let how = ["--runner", "terminal", "--attach"];
    let words = run.iter().chain(&how).chain(options).chain(&["--"]).chain(program);
    let words: Vec<String> =
        words.map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
    let words = words.join(" ");
    // The shell shows afterwards how the terminal was left.
    let script = format!(
        "stty -a >before; {words}; echo \"code:$?\"; stty -a >after; cmp before after && echo same"
    );
    let runner = Runner::Terminal {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script],
        size: TerminalSize::new(90, 20).unwrap(),
    };
    let spec = ProcessSpec {
        runner,
        working_directory: Some(bench.folder.path().to_owned()),
        environment: vec![
            ("ONSEMBL_TOKEN".to_owned(), bench.agent_token.clone()),
            ("ONSEMBL_LOG".to_owned(), "debug".to_owned()),
        ],
        ..ProcessSpec::default()
    };
    let (sender, events) = mpsc::channel(16);
    let handle = spawn(&spec, CommandId::new("wrapped"), sender).unwrap();
    (Screen { events, text: String::new() }, handle)
}

struct Screen {
    events: mpsc::Receiver<WorkerEvent>,
    text: String,
}

impl Screen {
    async fn shows(&mut self, text: &str) {
        while !self.text.contains(text) {
            match timeout(PATIENCE, self.events.recv()).await {
                Ok(Some(WorkerEvent::Output { bytes, .. })) => {
                    self.text.push_str(&String::from_utf8_lossy(&bytes));
                }
                other => panic!("{other:?} before {text:?} was shown: {:?}", self.text),
            }
        }
    }

    async fn ends(&mut self) -> Exit {
        loop {
            match timeout(PATIENCE, self.events.recv()).await {
                Ok(Some(WorkerEvent::Output { bytes, .. })) => {
                    self.text.push_str(&String::from_utf8_lossy(&bytes));
                }
                Ok(Some(WorkerEvent::Ended { exit, .. })) => return exit,
                other => panic!("{other:?}: {:?}", self.text),
            }
        }
    }
}

async fn types(handle: &ProcessHandle, text: &str) {
    let (done, mut typed) = mpsc::channel(1);
    let what = StrokeKind::Keys(text.as_bytes().to_vec());
    let strokes = vec![Stroke { what, pause: Duration::ZERO }];
    let typing = Typing { strokes, within: Typing::TAKEN_WITHIN };
    let permit = handle.keyboard().unwrap().reserve().unwrap();
    permit.type_command(
        typing,
        || async {},
        |typed| async move { done.send(typed).await.unwrap() },
    );
    timeout(PATIENCE, typed.recv()).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_types_too_and_gets_the_terminal_back_as_it_was() {
    let bench = Bench::start();
    // It switches to the other screen and hides the cursor, and does not switch back.
    let program = r#"printf '\033[?1049h\033[?25lready '; stty size; while read -r line; do echo "heard:$line"; test "$line" = bye && exit 7; done"#;
    let (mut screen, handle) = attached(&bench, program).await;
    screen.shows("ready 20 90").await;
    types(&handle, "from here\r").await;
    screen.shows("heard:from here").await;
    let exec = tokio::task::block_in_place(|| {
        bench.await_status("ada", "online");
        bench.exec("ada", "from far")
    });
    assert!(exec.status.success(), "{exec:?} {}", bench.log("ada/agent.log"));
    screen.shows("heard:from far").await;
    let resized = tokio::task::block_in_place(|| {
        bench.ask(&["control", "ada", "resize", "--size", "133x44"])
    });
    let why = String::from_utf8_lossy(&resized.stderr);
    assert!(!resized.status.success() && why.contains("attached"), "{resized:?}");
    // A line that is begun here is not typed into from far away.
    types(&handle, "by").await;
    let mut far = tokio::task::block_in_place(|| {
        bench.exec_command("ada", &["--timeout", "20s"], "not into it").spawn().unwrap()
    });
    tokio::task::block_in_place(|| {
        let came = || bench.log("ada/agent.log").matches("a command is to be typed").count() == 2;
        eventually("it came", came);
    });
    types(&handle, "e\r").await;
    assert_eq!(screen.ends().await, Exit::Code(0));
    assert!(screen.text.contains("heard:bye"), "{:?}", screen.text);
    assert!(!screen.text.contains("heard:bynot"), "{:?}", screen.text);
    assert!(
        screen.text.contains("code:7") && screen.text.ends_with("same\r\n"),
        "{:?}",
        screen.text
    );
    // What the program left switched on is switched off behind all that it showed.
    let (_, after) = screen.text.rsplit_once("heard:bye").unwrap();
    assert!(after.contains("\u{1b}[?25h") && after.contains("\u{1b}[?1049l"), "{after:?}");
    let refused = tokio::task::block_in_place(|| far.wait().unwrap());
    // It came behind the line that ended the program: typed in time or not, its outcome is known.
    assert!(matches!(refused.code(), Some(0 | 125)), "{refused} {}", bench.log("ada/agent.log"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_at_the_desk_keeps_nobody_out_for_ever() {
    let bench = Bench::start();
    let program = reader("tty.setraw(0)");
    let idle = ["--line-idle", "4s"];
    let (mut screen, handle) = attached_with(&bench, &idle, &["python3", "-c", &program]).await;
    screen.shows("ready").await;
    tokio::task::block_in_place(|| bench.await_status("ada", "online"));
    types(&handle, "1").await;
    screen.shows("read b'1'").await;
    let exec = |options: &[&str], text: &str| {
        tokio::task::block_in_place(|| bench.exec_command("ada", options, text).output().unwrap())
    };
    let keys = exec(&["--keys"], "escape");
    assert!(keys.status.success(), "{keys:?}");
    screen.shows("read b'\\x1b'").await;
    let taken = exec(&["--take"], "on purpose");
    assert!(taken.status.success(), "{taken:?}");
    screen.shows("read b'on purpose'").await;
    types(&handle, "2").await;
    screen.shows("read b'2'").await;
    let waited = exec(&[], "when it was left alone");
    assert!(waited.status.success(), "{waited:?} {}", bench.log("ada/agent.log"));
    screen.shows("read b'when it was left alone'").await;
    // Nobody could continue it.
    types(&handle, "\u{1a}").await;
    screen.shows("Ctrl-Z would suspend this program").await;
    let refused = exec(&["--keys"], "ctrl-z");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("nothing could resume it"));
    let typed = exec(&["--keys"], "0x1a");
    assert!(typed.status.success(), "{typed:?}");
    screen.shows("read b'\\x1a'").await;
    handle.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_ends_an_attached_agent_and_says_why() {
    let bench = Bench::start();
    let (mut screen, _handle) = attached_to(&bench, &["no-such-program-at-all"]).await;
    assert_eq!(screen.ends().await, Exit::Code(0));
    assert!(
        screen.text.contains("no-such-program-at-all could not be started"),
        "{:?}",
        screen.text
    );
    assert!(
        screen.text.contains("code:1") && screen.text.ends_with("same\r\n"),
        "{:?}",
        screen.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sits_before_an_attached_agent_is_told_of_a_stop_and_can_leave() {
    let bench = Bench::start();
    let (mut screen, handle) = attached(&bench, "echo ready; while read x; do :; done").await;
    screen.shows("ready").await;
    tokio::task::block_in_place(|| {
        bench.await_status("ada", "online");
        assert!(bench.ask(&["stop", "ada"]).status.success());
    });
    screen.shows("an emergency stop is in force").await;
    tokio::task::block_in_place(|| assert!(bench.ask(&["release", "ada"]).status.success()));
    screen.shows("the emergency stop is released").await;
    screen.text.clear();
    screen.shows("ready").await;
    tokio::task::block_in_place(|| assert!(bench.ask(&["stop", "ada"]).status.success()));
    screen.shows("an emergency stop is in force").await;
    types(&handle, "\u{3}").await;
    assert_eq!(screen.ends().await, Exit::Code(0));
    assert!(screen.text.ends_with("same\r\n"), "{:?}", screen.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_title_of_who_attached_comes_back_after_a_program_that_died_hard() {
    let bench = Bench::start();
    let program = r#"printf '\033]0;mine\007ready\n'; read x; kill -9 $$"#;
    let (mut screen, handle) = attached(&bench, program).await;
    screen.shows("ready").await;
    let kept = screen.text.find("\u{1b}[22;0t").expect("it is kept");
    assert!(kept < screen.text.find("\u{1b}]0;mine").unwrap(), "{:?}", screen.text);
    types(&handle, "\r\u{3}").await;
    let _ = screen.ends().await;
    assert_eq!(screen.text.matches("\u{1b}[23;0t").count(), 1, "{:?}", screen.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_leaves_no_process_and_restores_the_terminal() {
    let bench = Bench::start();
    let name = format!("sleep {}.79", std::process::id());
    let program = format!("trap '' TERM; {name} & echo ready; while read x; do :; done");
    let (mut screen, _handle) = attached(&bench, &program).await;
    screen.shows("ready").await;
    tokio::task::block_in_place(|| {
        eventually("it runs", || runs(&name));
        // The program may be there before the agent has written that.
        eventually("its status is written", || !bench.log("ada/status.json").is_empty());
        let pid: Value = serde_json::from_str(&bench.log("ada/status.json")).unwrap();
        let pid = pid["pid"].as_u64().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    });
    assert_eq!(screen.ends().await, Exit::Code(0));
    assert!(
        screen.text.contains("code:0") && screen.text.ends_with("same\r\n"),
        "{:?}",
        screen.text
    );
    assert!(!runs(&name));
    assert!(bench.log("ada/agent.log").contains("SIGTERM"), "the log is beside the screen");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang_up_ends_the_attachment_and_not_the_program() {
    let bench = Bench::start();
    let (mut screen, _handle) = attached(&bench, TALKS).await;
    screen.shows("ready").await;
    tokio::task::block_in_place(|| bench.await_status("ada", "online"));
    let status = Command::new(env!("CARGO_BIN_EXE_onsembl-agent"))
        .args(["status", "--json", "--state-dir"])
        .arg(bench.folder.path().join("ada"))
        .output()
        .unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let pid = status["pid"].as_u64().unwrap_or_else(|| panic!("{status}")).to_string();
    let signal = |name: &str| {
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    };
    signal("-HUP");
    screen.shows("the terminal was hung up").await;
    tokio::task::block_in_place(|| {
        let id = runs_in_terminal(&bench);
        let typed = bench.exec("ada", "still here");
        assert!(typed.status.success(), "{typed:?}");
        eventually("it heard it", || shown(&bench, &id).contains("heard:still here"));
        // Nobody's screen decides the size any more.
        let resized = || bench.ask(&["control", "ada", "resize", "--size", "133x44"]).status;
        eventually("the server knows that", || resized().success());
        // A second one ends nothing either, and what runs is the same program.
        signal("-HUP");
        assert!(bench.exec("ada", "and here").status.success());
        eventually("it heard that too", || shown(&bench, &id).contains("heard:and here"));
    });
    assert!(!screen.text.contains("heard:still here"), "{:?}", screen.text);
    signal("-TERM");
    assert_eq!(screen.ends().await, Exit::Code(0));
    assert!(
        screen.text.contains("code:0") && screen.text.ends_with("same\r\n"),
        "{:?}",
        screen.text
    );
}
