//! Screens of terminals: what programs ask is answered, and what they show can be looked at, with real programs.

use crate::bench::{Bench, Running, eventually};
use serde_json::Value;
use std::process::{Command, Stdio};

fn terminal(bench: &Bench, name: &str, program: &[&str]) -> Running {
    let mut command = bench.agent_command(name);
    command.args(["--runner", "terminal", "--"]).args(program);
    Running(command.spawn().unwrap())
}

fn screen(bench: &Bench, of: &str, form: &str) -> String {
    String::from_utf8_lossy(&bench.ask(&["screen", of, form]).stdout).into_owned()
}

fn has(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Asks as programs do at their start, and shows each answer.
const ASKS: &str = r#"
import os, sys, tty, select
tty.setraw(0)
def ask(question):
    os.write(1, question)
    answer = b''
    while select.select([0], [], [], 3)[0]:
        answer += os.read(0, 100)
        if answer[-1:] in b'RncuytR\\\x07' and len(answer) > 2: break
    os.write(1, b'\r\n' + repr(answer).encode() + b'\r\n')
os.write(1, b'\x1b[2J\x1b[5;10H')
ask(b'\x1b[6n')
ask(b'\x1b[c')
ask(b'\x1b[?2026$p')
ask(b'\x1b]11;?\x1b\\')
ask(b'\x1b[18t')
os.write(1, b'done')
while True: os.read(0, 100)
"#;

#[test]
fn what_a_program_asks_its_terminal_is_answered_from_its_screen() {
    let bench = Bench::start();
    let _ada = terminal(&bench, "ada", &["python3", "-c", ASKS]);
    bench.await_status("ada", "online");
    eventually("all was asked", || screen(&bench, "ada", "--text").contains("done"));
    let shown = screen(&bench, "ada", "--text");
    for answer in [
        r"b'\x1b[5;10R'",
        r"b'\x1b[?62;22c'",
        r"b'\x1b[?2026;2$y'",
        r"b'\x1b]11;rgb:1818/1818/1818\x1b\\'",
        r"b'\x1b[8;24;80t'",
    ] {
        assert!(shown.contains(answer), "{answer} in {shown}");
    }
}

#[test]
fn a_screen_has_its_size_and_is_there_while_its_agent_is_away() {
    let bench = Bench::start();
    let program = "stty -echo; printf '\\033]2;a title\\007\\033[31mred\\033[0m'; trap 'printf resized' WINCH; while :; do read -r x; done";
    let ada = terminal(&bench, "ada", &["/bin/sh", "-c", program]);
    bench.await_status("ada", "online");
    eventually("it is shown", || screen(&bench, "ada", "--text") == "red\n");
    let resized = bench.ask(&["control", "ada", "resize", "--size", "100x30"]);
    assert!(resized.status.success(), "{resized:?}");
    eventually("it is drawn at the new size", || screen(&bench, "ada", "--text") == "redresized\n");
    let all: Value = serde_json::from_str(&screen(&bench, "ada", "--json")).unwrap();
    assert_eq!((&all["size"]["columns"], &all["size"]["rows"]), (&100.into(), &30.into()), "{all}");
    assert_eq!((&all["title"], &all["whole"]), (&"a title".into(), &true.into()), "{all}");
    assert_eq!(all["rows"][0]["runs"][0]["foreground"], "1", "{all}");
    assert_eq!(screen(&bench, "ada", "--ansi"), "\u{1b}[0;38;5;1mred\u{1b}[0mresized\n");
    drop(ada);
    eventually("the agent is away", || {
        let all = bench.ask(&["agents", "--json"]);
        !String::from_utf8_lossy(&all.stdout).contains("\"online\"")
    });
    assert_eq!(screen(&bench, "ada", "--text"), "redresized\n");
    let none = bench.ask(&["screen", "nobody"]);
    assert!(!none.status.success(), "{none:?}");
}

/// It shows no prompt before its question for the cursor is answered.
#[test]
fn a_shell_that_asks_for_the_cursor_shows_its_prompt() {
    let (program, text, answer): (&[&str], &str, &str) = if has("nu") {
        (&["nu", "--no-config-file"], "echo (1 + 41)", "42")
    } else if has("ipython") {
        (&["ipython", "--no-banner"], "print(1 + 41)", "42")
    } else {
        eprintln!("skipped: neither nu nor ipython is installed");
        return;
    };
    let bench = Bench::start();
    let _ada = terminal(&bench, "ada", program);
    bench.await_status("ada", "online");
    let typed = bench.exec("ada", text);
    assert!(typed.status.success(), "{typed:?}");
    eventually("it has done it", || screen(&bench, "ada", "--text").contains(answer));
    assert!(!screen(&bench, "ada", "--text").contains("CPR"), "nobody answered");
}

/// Runs `onsembl output` under a terminal of its own, by `script`.
#[test]
fn output_on_a_terminal_asks_nothing_of_it_and_to_a_pipe_is_byte_for_byte() {
    let bench = Bench::start();
    let asks = r"stty -echo raw; printf '\033[6n\033[c\033[?1049h\033[?25lshown\033]52;c;aGk=\007'; sleep 1000";
    let _ada = terminal(&bench, "ada", &["/bin/sh", "-c", asks]);
    bench.await_status("ada", "online");
    eventually("it is shown", || screen(&bench, "ada", "--text") == "shown\n");
    let all: Value = serde_json::from_str(&screen(&bench, "ada", "--json")).unwrap();
    let id = all["command_id"].as_str().unwrap();
    let piped = bench.ask(&["output", id]).stdout;
    let every = b"\x1b[6n\x1b[c\x1b[?1049h\x1b[?25lshown\x1b]52;c;aGk=\x07";
    assert_eq!(piped.escape_ascii().to_string(), every.escape_ascii().to_string());
    if !has("script") {
        return eprintln!("skipped: script is not installed");
    }
    let under_terminal = |extra: &str| {
        let mut command = bench.under_script(&format!("output {id} {extra}"));
        command.stdin(Stdio::null()).output().unwrap().stdout
    };
    let shown = under_terminal("");
    // At the end both streams are restored, which are one terminal here.
    let filtered = b"\x1b[?1049h\x1b[?25lshown\x1b[?25h\x1b[?1049l\x1b[0m\x1b[0m";
    assert_eq!(shown.escape_ascii().to_string(), filtered.escape_ascii().to_string());
    assert_eq!(
        under_terminal("--raw").escape_ascii().to_string(),
        every.escape_ascii().to_string()
    );
}

/// Runs `onsembl exec` under a terminal of its own, by `script`.
#[test]
fn exec_on_a_terminal_asks_nothing_of_it_and_to_a_pipe_is_byte_for_byte() {
    let bench = Bench::start();
    let _ada = bench.agent("ada");
    bench.await_status("ada", "online");
    let asks = r"printf '\033[?1049h\033[c\033[6n\005shown\033]52;c;ZXZpbA==\007'";
    let piped = bench.exec("ada", asks).stdout;
    let every = b"\x1b[?1049h\x1b[c\x1b[6n\x05shown\x1b]52;c;ZXZpbA==\x07";
    assert_eq!(piped.escape_ascii().to_string(), every.escape_ascii().to_string());
    if !has("script") {
        return eprintln!("skipped: script is not installed");
    }
    let file = bench.folder.path().join("asks");
    std::fs::write(&file, asks).unwrap();
    let under_terminal = |extra: &str| {
        let words = format!("exec {extra} ada --text-from {}", file.display());
        let mut command = bench.under_script(&words);
        command.stdin(Stdio::null()).output().unwrap().stdout
    };
    // Nothing came on standard error, so that nothing is to be restored for that.
    let filtered = b"\x1b[?1049hshown\x1b[?1049l\x1b[0m";
    assert_eq!(under_terminal("").escape_ascii().to_string(), filtered.escape_ascii().to_string());
    assert_eq!(
        under_terminal("--raw").escape_ascii().to_string(),
        every.escape_ascii().to_string()
    );
}

#[test]
fn text_that_comes_on_standard_input_while_a_command_runs_is_no_success() {
    let bench = Bench::start();
    let _ada = bench.agent("ada");
    bench.await_status("ada", "online");
    let goes = bench.folder.path().join("goes");
    let mut exec = bench.exec_command(
        "ada",
        &[],
        &format!("while [ ! -e {} ]; do sleep 0.05; done", goes.display()),
    );
    exec.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = exec.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let runs = || {
        let listed = bench.ask(&["commands", "--json"]);
        let listing: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
        listing["commands"][0]["status"] == "running"
    };
    eventually("it runs", runs);
    std::io::Write::write_all(&mut input, b"late\n").unwrap();
    let begun = bench.exec("ada", &format!("touch {}", goes.display()));
    assert!(begun.status.success(), "{begun:?}");
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(125), "{done:?}");
    let why = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(
        why.contains("after the command was started") && why.contains("--text-from -"),
        "{why}"
    );
}
