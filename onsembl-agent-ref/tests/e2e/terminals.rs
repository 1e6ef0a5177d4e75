//! Agents with a terminal: one program that stays, and commands that are typed into it.

use crate::bench::{Bench, PATIENCE, Running, eventually, runs};
use onsembl_agent_ref::process::{ProcessEvent, ProcessHandle, ProcessSpec, Runner, spawn};
use onsembl_protocol::model::{Exit, TerminalSize};
use onsembl_protocol::worker::{Stroke, StrokeKind, Typing};
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

fn terminal(bench: &Bench, name: &str, program: &[&str]) -> Running {
    let mut command = bench.agent_command(name);
    command.args(["--runner", "terminal", "--"]).args(program);
    Running(command.spawn().unwrap())
}

fn commands(bench: &Bench) -> Vec<Value> {
    let listed = bench.ask(&["commands", "--json"]);
    let listing: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
    listing["commands"].as_array().cloned().unwrap_or_default()
}

/// The terminals that are listed, the newest first, each with its status.
fn terminals(bench: &Bench) -> Vec<(String, String)> {
    let text = |c: &Value, key: &str| c[key].as_str().unwrap_or_default().to_owned();
    let all = commands(bench).into_iter().map(|c| (text(&c, "command_id"), text(&c, "status")));
    all.filter(|(id, _)| id.starts_with("terminal-")).collect()
}

fn shown(bench: &Bench, id: &str) -> String {
    String::from_utf8_lossy(&bench.ask(&["output", id]).stdout).into_owned()
}

fn runs_in_terminal(bench: &Bench) -> String {
    eventually("a terminal runs", || terminals(bench).iter().any(|(_, s)| s == "running"));
    terminals(bench).into_iter().find(|(_, s)| s == "running").unwrap().0
}

const TALKS: &str = r#"stty -echo; echo ready; while read -r line; do echo "heard:$line"; done"#;

#[test]
fn commands_are_typed_into_one_program_and_its_output_is_one_stream() {
    let bench = Bench::start();
    let _ada = terminal(&bench, "ada", &["/bin/sh", "-c", TALKS]);
    bench.await_status("ada", "online");
    let id = runs_in_terminal(&bench);
    for text in ["one thing", "another"] {
        let typed = bench.exec("ada", text);
        assert_eq!((typed.status.code(), &typed.stdout[..]), (Some(0), &b""[..]), "{typed:?}");
        let said = String::from_utf8_lossy(&typed.stderr);
        assert!(said.contains(&format!("typed into {id}; follow with")), "{said}");
    }
    eventually("it heard both", || shown(&bench, &id).contains("heard:another"));
    assert_eq!(shown(&bench, &id), "ready\r\nheard:one thing\r\nheard:another\r\n");
    let typed = commands(&bench).into_iter().find(|c| c["text"] == "another").unwrap();
    assert_eq!(
        typed["cause"],
        format!("typed into {id}; follow with `onsembl output --follow {id}`")
    );

    // What would act is not typed, unless it is sent as a key.
    for (text, why) in [("a\u{1b}[2J", "U+001B"), ("a\nb", "bracketed paste"), ("a\u{3}", "U+0003")]
    {
        let refused = bench.exec("ada", text);
        assert_eq!(refused.status.code(), Some(125), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains(why), "{refused:?}");
    }
    let keys = bench.exec_command("ada", &["--keys"], "h i enter").output().unwrap();
    assert!(keys.status.success(), "{keys:?}");
    eventually("it heard the keys", || shown(&bench, &id).contains("heard:hi"));
    let wrong = bench.exec_command("ada", &["--keys"], "hyper-x").output().unwrap();
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("\"hyper-x\""), "{wrong:?}");
    assert!(!shown(&bench, &id).contains("heard:a\r"), "{}", shown(&bench, &id));

    let audit = bench.ask(&["audit", "ada"]);
    assert!(audit.status.success(), "{audit:?}");

    // Ctrl-C ends this program; another one is started.
    let ended = bench.exec_command("ada", &["--keys"], "ctrl-c").output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "the exit of the program that it ended: {ended:?}");
    eventually("the next one runs", || {
        let all = terminals(&bench);
        all.len() >= 2 && all.iter().any(|(other, s)| *other != id && s == "running")
    });
    assert!(terminals(&bench).contains(&(id, "failed".to_owned())));
}

/// A program that takes pastes, and says how long each was, and its digest, when Enter comes.
const COUNTS: &str = r#"
import hashlib, os, sys, tty
tty.setraw(0)
sys.stdout.write('\x1b[?2004hready\r\n'); sys.stdout.flush()
begins, ends, read = b'\x1b[200~', b'\x1b[201~', bytearray()
while True:
    read += os.read(0, 65536)
    if not read.endswith(b'\r'):
        continue
    text, behind = bytes(read[:-1]), read[-1:]
    whole = text.startswith(begins) and text.endswith(ends)
    text = text.removeprefix(begins).removesuffix(ends)
    said = (whole, len(text), hashlib.sha256(text).hexdigest()[:16], behind)
    sys.stdout.write('got %r %d %s %r\r\n' % said); sys.stdout.flush()
    read.clear()
"#;

/// What `exec --text-from` says of this text.
fn text_from(bench: &Bench, agent: &str, text: &[u8]) -> std::process::Output {
    let file = bench.folder.path().join("text");
    std::fs::write(&file, text).unwrap();
    let mut exec = bench.client();
    exec.args(["exec", "--server", &bench.url(), agent, "--text-from"]).arg(&file);
    exec.env("ONSEMBL_TOKEN", &bench.dashboard_token).stdin(Stdio::null());
    exec.output().unwrap()
}

#[test]
fn a_long_text_is_typed_whole_and_submitted_once() {
    let bench = Bench::start();
    let _ada = terminal(&bench, "ada", &["python3", "-c", COUNTS]);
    bench.await_status("ada", "online");
    let id = runs_in_terminal(&bench);
    let lines: String = (0..60_000).map(|n| format!("line {n} é\n")).collect();
    let longest = "y".repeat(1 << 20);
    for (text, digest) in [(lines.trim_end(), None), (longest.as_str(), Some("34bc6ad817807143"))] {
        let typed = text_from(&bench, "ada", text.as_bytes());
        assert!(typed.status.success(), "{typed:?}");
        let got = format!("got True {} {}", text.len(), digest.unwrap_or_default());
        eventually("it has read it", || shown(&bench, &id).contains(&got));
    }
    let said = shown(&bench, &id);
    assert_eq!(said.matches("got ").count(), 2, "{said}");
    // It is listed by its beginning.
    let is_listed =
        |c: &Value| c["text"].as_str().is_some_and(|text| text.ends_with("y… [1048576 bytes]"));
    let listed = commands(&bench).into_iter().find(is_listed).unwrap();
    assert!(listed.to_string().len() < 4000, "{listed}");
    let short = bench.exec("ada", "short");
    assert!(short.status.success(), "{short:?}");
    eventually("it has read the next one", || shown(&bench, &id).contains("got True 5 "));
}

#[test]
fn a_long_text_is_refused_where_it_cannot_be_typed_and_the_reason_says_what_to_do() {
    let bench = Bench::start();
    let _line = terminal(&bench, "line", &["/bin/sh", "-c", TALKS]);
    let _shell = bench.agent("shell");
    bench.await_status("line", "online");
    bench.await_status("shell", "online");
    let _ = runs_in_terminal(&bench);
    let line = "y".repeat(100_001);
    for (agent, text, why) in [
        ("line", line.as_str(), "4095"),
        ("line", &"two\nlines\n".repeat(10_000), "bracketed paste"),
        ("shell", &line, "128 KiB"),
    ] {
        let refused = text_from(&bench, agent, text.as_bytes());
        assert_eq!(refused.status.code(), Some(125), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains(why), "{refused:?}");
    }
    assert!(bench.exec("line", "next").status.success(), "nothing of it is in the line");
}

/// A program that shows each read on a line of its own, once it has set its terminal as this says.
fn reader(before: &str) -> String {
    format!(
        "import os, sys, time, tty, termios\n{before}\nsys.stdout.write('ready\\r\\n'); sys.stdout.flush()\nwhile True:\n  sys.stdout.write('read ' + repr(os.read(0, 4096)) + '\\r\\n'); sys.stdout.flush()\n"
    )
}

/// What was typed before the program read was thrown away by it, or its Enter came as a line feed.
#[test]
fn a_text_that_is_asked_for_before_the_program_reads_arrives_as_a_submission() {
    for flush in ["TCSAFLUSH", "TCSANOW"] {
        let bench = Bench::start();
        let program = reader(&format!("time.sleep(2); tty.setraw(0, termios.{flush})"));
        let _ada = terminal(&bench, "ada", &["python3", "-c", &program]);
        bench.await_status("ada", "online");
        let id = runs_in_terminal(&bench);
        let typed = bench.exec("ada", "EARLY");
        assert!(typed.status.success(), "{typed:?}");
        let early = "ready\r\nread b'EARLY'\r\nread b'\\r'\r\n";
        eventually("it has read it", || shown(&bench, &id) == early);
        let typed = bench.exec("ada", "LATER");
        assert!(typed.status.success(), "{typed:?}");
        let both = format!("{early}read b'LATER'\r\nread b'\\r'\r\n");
        eventually("nothing is glued to it", || shown(&bench, &id) == both);
    }
}

#[test]
fn a_text_that_ends_the_program_has_its_exit_and_none_is_completed_that_it_did_not_outlive() {
    let bench = Bench::start();
    let _ada = terminal(&bench, "ada", &["/bin/sh", "-c", "stty -echo; read x; exit 7"]);
    bench.await_status("ada", "online");
    let _ = runs_in_terminal(&bench);
    let ended = bench.exec("ada", "exit");
    assert_eq!(ended.status.code(), Some(7), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("read this and ended"), "{ended:?}");
    // This one reads nothing at all.
    let _bob = terminal(&bench, "bob", &["/bin/sh", "-c", "stty -echo; sleep 1; exit 1"]);
    bench.await_status("bob", "online");
    for _ in 0..3 {
        let ended = bench.exec("bob", "work");
        assert_eq!(ended.status.code(), Some(125), "{ended:?}");
        assert!(
            String::from_utf8_lossy(&ended.stderr).contains("ended (exit code 1)"),
            "{ended:?}"
        );
    }
}

/// The password prompt of a program, and what asks for it to be typed.
#[test]
fn a_secret_is_typed_and_stands_nowhere() {
    let bench = Bench::start();
    let program = r#"stty -echo; echo ask; read -r p; echo "length:${#p}"; stty echo; echo shown; read -r q; echo done; read x"#;
    let ada = terminal(&bench, "ada", &["/bin/sh", "-c", program]);
    bench.await_status("ada", "online");
    let id = runs_in_terminal(&bench);
    let file = bench.folder.path().join("secret-file");
    let secret = format!("hunter2-{}", std::process::id());
    std::fs::write(&file, format!("{secret}\n")).unwrap();
    let path = file.to_str().unwrap().to_owned();
    let asks = |options: &[&str]| {
        let mut exec = bench.client();
        exec.args(["exec", "--server", &bench.url(), "--secret-from", &path])
            .args(options)
            .arg("ada");
        exec.env("ONSEMBL_TOKEN", &bench.dashboard_token).stdin(Stdio::null());
        exec.output().unwrap()
    };
    let typed = asks(&[]);
    assert!(typed.status.success(), "{typed:?}");
    let length = format!("length:{}", secret.len());
    eventually("the program has it", || shown(&bench, &id).contains(&length));
    eventually("it shows what is typed", || shown(&bench, &id).contains("shown"));
    let refused = asks(&[]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--allow-echo"), "{refused:?}");
    std::fs::remove_file(&file).unwrap();
    let listed = commands(&bench);
    assert!(listed.iter().any(|command| command["text"] == "[secret]"), "{listed:?}");
    // Nothing of it on any disk: neither in the database, nor in a journal, a spool or a log.
    assert!(!is_kept(bench.folder.path(), secret.as_bytes()));
    // Nobody waits with it for an agent that is away.
    std::fs::write(&file, "x").unwrap();
    drop(ada);
    eventually("the agent is away", || {
        let away = asks(&["--offline", "queue"]);
        away.status.code() == Some(125)
            && !String::from_utf8_lossy(&away.stderr).contains("--allow-echo")
    });
}

/// Whether a file below this folder has these bytes.
fn is_kept(folder: &std::path::Path, wanted: &[u8]) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| match std::fs::read(&path) {
        Ok(bytes) => bytes.windows(wanted.len()).any(|part| part == wanted),
        Err(_) => is_kept(&path, wanted),
    })
}

#[test]
fn it_works_without_a_server_and_nothing_of_it_is_lost() {
    let mut bench = Bench::start();
    bench.server.take().unwrap().signal("-KILL");
    let name = format!("sleep {}.77", std::process::id());
    let script = format!("echo from before; {name}; echo never");
    let mut ada = terminal(&bench, "ada", &["/bin/sh", "-c", &script]);
    eventually("it runs alone", || runs(&name));
    // What the agent has not read yet dies with the terminal.
    let spool = bench.folder.path().join("ada").join("spool");
    eventually("what it wrote is kept", || is_kept(&spool, b"from before"));
    // Not even kill -9 leaves anything, nor loses what was written before any server knew of it.
    ada.signal("-KILL");
    ada.wait();
    bench.start_server();
    let mut ada = terminal(&bench, "ada", &["/bin/sh", "-c", TALKS]);
    bench.await_status("ada", "online");
    eventually("the first one is known as lost", || {
        terminals(&bench).iter().any(|(_, status)| status == "lost")
    });
    assert!(!runs(&name));
    let lost = terminals(&bench).into_iter().find(|(_, status)| status == "lost").unwrap().0;
    eventually("its output is there", || shown(&bench, &lost).starts_with("from before\r\n"));
    let now = runs_in_terminal(&bench);
    eventually("the next one is there", || shown(&bench, &now).starts_with("ready"));

    // The server dies and comes back: the same terminal continues.
    bench.server.take().unwrap().signal("-KILL");
    bench.start_server();
    bench.await_status("ada", "online");
    eventually("it can be typed into", || bench.exec("ada", "again").status.success());
    eventually("it goes on", || shown(&bench, &now).contains("heard:again"));
    assert_eq!(runs_in_terminal(&bench), now);

    ada.signal("-TERM");
    assert!(ada.wait().success());
    eventually("its end is known", || {
        terminals(&bench).contains(&(now.clone(), "failed".into()))
            || terminals(&bench).contains(&(now.clone(), "cancelled".into()))
    });
}

#[test]
fn a_stop_ends_it_and_it_comes_back_with_the_release() {
    let bench = Bench::start();
    let name = format!("sleep {}.78", std::process::id());
    let script = format!("stty -echo; trap '' TERM HUP; {name} & while read x; do :; done");
    let _ada = terminal(&bench, "ada", &["/bin/sh", "-c", &script]);
    bench.await_status("ada", "online");
    let first = runs_in_terminal(&bench);
    eventually("it runs", || runs(&name));
    let report = bench.ask(&["stop", "ada"]);
    let text = String::from_utf8_lossy(&report.stdout).into_owned();
    assert!(text.contains("everything killed; verified: ada"), "{text}");
    assert!(!runs(&name));
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!runs(&name), "nothing starts while the stop is in force");
    assert!(bench.ask(&["release", "ada"]).status.success());
    eventually("it is started again", || runs(&name));
    assert_ne!(runs_in_terminal(&bench), first);

    // Resizing, pausing and resuming from far away.
    assert!(bench.ask(&["control", "ada", "resize", "--size", "133x44"]).status.success());
    assert_eq!(bench.ask(&["control", "ada", "resize"]).status.code(), Some(2));
    assert!(bench.ask(&["control", "ada", "pause"]).status.success());
    assert!(bench.ask(&["control", "ada", "resume"]).status.success());
    assert!(bench.exec("ada", "on").status.success());

    // It is deaf to everything else, and must not outlive the test.
    assert!(bench.ask(&["stop", "ada"]).status.success());
    eventually("nothing is left", || !runs(&name));
}

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
    let handle = spawn(&spec, (), sender).unwrap();
    (Screen { events, text: String::new() }, handle)
}

struct Screen {
    events: mpsc::Receiver<ProcessEvent<()>>,
    text: String,
}

impl Screen {
    async fn shows(&mut self, text: &str) {
        while !self.text.contains(text) {
            match timeout(PATIENCE, self.events.recv()).await {
                Ok(Some(ProcessEvent::Output { bytes, .. })) => {
                    self.text.push_str(&String::from_utf8_lossy(&bytes));
                }
                other => panic!("{other:?} before {text:?} was shown: {:?}", self.text),
            }
        }
    }

    async fn ends(&mut self) -> Exit {
        loop {
            match timeout(PATIENCE, self.events.recv()).await {
                Ok(Some(ProcessEvent::Output { bytes, .. })) => {
                    self.text.push_str(&String::from_utf8_lossy(&bytes));
                }
                Ok(Some(ProcessEvent::Ended { exit, .. })) => return exit,
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
