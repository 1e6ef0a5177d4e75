//! What the program of an agent says that it does: by its hooks and by marks in its terminal.

use crate::bench::{AGENT, Bench, Running, eventually};
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn agent(bench: &Bench, name: &str, arguments: &[&str]) -> Running {
    let mut command = bench.agent_command(name);
    command.args(arguments).env("HOME", bench.folder.path());
    Running(command.spawn().unwrap())
}

fn does(bench: &Bench, name: &str, state: &str) -> Value {
    bench.await_view(name, state, |view| view["activity"]["state"] == state)
}

/// A program that runs a hook for each line that it reads: the event, and what it says of it.
fn hooking() -> String {
    format!(
        r#"echo ready; while read -r event input; do echo "$input" | {AGENT} hook "$event"; echo "hooked:$?"; done"#
    )
}

#[test]
fn hooks_of_a_program_are_what_its_agent_shows_and_what_a_text_may_depend_on() {
    let bench = Bench::start();
    let program = hooking();
    let _ada = agent(&bench, "ada", &["--runner", "terminal", "--", "/bin/sh", "-c", &program]);
    bench.await_status("ada", "online");
    does(&bench, "ada", "quiet");
    let refused = bench.exec_command("ada", &["--if", "waiting"], "stop {}").output().unwrap();
    assert_eq!(refused.status.code(), Some(125), "{refused:?}");
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("has never reported its activity"), "{why}");
    assert!(bench.exec("ada", "stop {}").status.success());
    let view = does(&bench, "ada", "waiting");
    assert_eq!(view["activity"]["basis"]["fact"], "stop", "{view}");
    assert_eq!(view["activity"]["basis"]["lane"], "hook");
    let asks = r#"permission {"tool_name":"Bash","tool_input":{"command":"rm -rf build"}}"#;
    let typed = bench.exec_command("ada", &["--if", "waiting"], asks).output().unwrap();
    assert!(typed.status.success(), "{typed:?}");
    let view = does(&bench, "ada", "asking");
    assert_eq!(view["activity"]["question"]["title"], "Allow Bash(rm -rf build)?");
    let table = bench.ask(&["agents"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("asks: Allow Bash(rm -rf build)?"), "{table}");
    let refused = bench.exec_command("ada", &["--if", "waiting"], "stop {}").output().unwrap();
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("asks: Allow Bash"), "{why}");
}

#[test]
fn a_shell_of_the_preset_marks_its_prompts_and_commands() {
    let bench = Bench::start();
    let _ada = agent(&bench, "ada", &["--preset", "shell"]);
    bench.await_status("ada", "online");
    let view = does(&bench, "ada", "waiting");
    assert_eq!(view["activity"]["basis"]["lane"], "terminal", "{view}");
    assert_eq!(view["agent_type"], "shell");
    assert!(bench.exec("ada", "sleep 4").status.success());
    does(&bench, "ada", "working");
    does(&bench, "ada", "waiting");
}

#[test]
fn a_hook_never_fails_and_never_takes_long() {
    for (event, input, socket) in [
        ("stop", "{}", None),
        ("stop", "{}", Some("/nosuch/socket")),
        ("dance", "not a JSON object", Some("/nosuch/socket")),
        ("--what", "{}", None),
    ] {
        let mut hook = Command::new(AGENT);
        hook.args(["hook", event]).stdin(Stdio::piped()).env_remove("ONSEMBL_HOOK");
        if let Some(socket) = socket {
            hook.env("ONSEMBL_HOOK", socket).env("ONSEMBL_HOOK_RUN", "terminal-1");
        }
        let began = Instant::now();
        // Its standard input stays open.
        let mut child = hook.spawn().unwrap();
        let stdin = child.stdin.take();
        let status = child.wait().unwrap();
        drop((stdin, input));
        assert!(status.success(), "{event} {status}");
        assert!(began.elapsed() < Duration::from_secs(5), "{event} {:?}", began.elapsed());
    }
}

#[test]
fn presets_are_printed_and_one_of_ones_own_is_run() {
    let bench = Bench::start();
    let list = Command::new(AGENT).arg("presets").output().unwrap();
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    for name in ["claude", "codex", "gemini", "shell"] {
        assert!(list.contains(name), "{list}");
        let one = Command::new(AGENT).args(["presets", name]).output().unwrap();
        let preset: Value = serde_json::from_slice(&one.stdout).unwrap();
        assert_eq!(preset["name"], name);
    }
    let path = bench.folder.path().join("mine.json");
    let mine = serde_json::json!({
        "name": "mine", "program": ["/bin/sh", "-c", "{hook} session-start </dev/null; exec cat"],
        "terminal": {},
    });
    std::fs::write(&path, mine.to_string()).unwrap();
    let _ada = agent(&bench, "ada", &["--preset", path.to_str().unwrap()]);
    let view = does(&bench, "ada", "waiting");
    assert_eq!(view["agent_type"], "mine");
}

#[test]
fn a_session_is_begun_under_an_id_and_gone_on_with_when_the_program_is_started_again() {
    let bench = Bench::start();
    let (log, path) = (bench.folder.path().join("starts"), bench.folder.path().join("mine.json"));
    let script = format!("echo \"$@\" >>{}; sleep 0.2", log.display());
    let mine = serde_json::json!({
        "name": "mine", "program": ["/bin/sh", "-c", script, "sh"], "terminal": {"arguments": ["-x"]},
        "session": {"start": ["begin", "{uuid}"], "resume": ["resume", "{uuid}"]}
    });
    std::fs::write(&path, mine.to_string()).unwrap();
    let preset = path.to_str().unwrap();
    let _ada = agent(&bench, "ada", &["--preset", preset, "--session", "u-1", "--", "more"]);
    let starts = || std::fs::read_to_string(&log).unwrap_or_default();
    eventually("it is started three times", || starts().lines().count() >= 3);
    let seen = starts();
    let first: Vec<&str> = seen.lines().take(3).collect();
    assert_eq!(first, ["-x begin u-1 more", "-x resume u-1 more", "-x begin u-1 more"]);
    for wrong in [
        &["--session", "u-1"][..],
        &["--preset", preset, "--session", "u-1", "--resume", "u-1"],
        &["--preset", preset, "--session", "-x"],
        &["--preset", preset, "--resume", "latest"],
    ] {
        let refused = bench.agent_command("bob").args(wrong).status().unwrap();
        assert!(!refused.success(), "{wrong:?}");
    }
}
