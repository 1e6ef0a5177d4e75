//! The drill: a copy is made while output flows, the server dies, the copy is put in its place. What ran continues,
//! what is
//! over is not run again, and what the copy lacks is declared.

use crate::bench::{Bench, Running, eventually, server_binary};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn operator(bench: &Bench, words: &[&str], file: &Path) -> Output {
    let mut command = Command::new(server_binary());
    command.args(words).arg("--data").arg(bench.data()).arg(file);
    command.output().expect("the server can be run")
}

fn commands(bench: &Bench) -> Vec<Value> {
    let listed = bench.ask(&["commands", "--json"]);
    let listing: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
    listing["commands"].as_array().cloned().unwrap_or_default()
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn start(bench: &Bench, text: &str) -> Running {
    let mut exec = bench.exec_command("ada", &[], text);
    Running(exec.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

fn status(bench: &Bench, wanted: impl Fn(&Value) -> bool) -> Option<String> {
    let found = commands(bench).into_iter().find(wanted)?;
    found["status"].as_str().map(str::to_owned)
}

#[test]
fn a_copy_that_is_put_in_place_loses_nothing_that_runs_and_runs_nothing_twice() {
    let mut bench = Bench::start();
    let _agent = bench.agent("ada");
    bench.await_status("ada", "online");
    let folder = bench.folder.path().to_owned();
    let path = |name: &str| -> PathBuf { folder.join(name) };
    let (progress, end) = (path("progress"), path("end"));

    // One is over before the copy, one runs through all of it, and one waits for its agent while the copy is made.
    let note = |name: &str| format!("echo {name} >> {}", path("ran").display());
    assert!(bench.exec("ada", &note("before")).status.success());
    let writer = format!(
        "n=0; while [ ! -e {} ]; do n=$((n+1)); echo line $n; echo $n >> {}; sleep 0.05; done; exit 7",
        end.display(),
        progress.display()
    );
    let _writer = start(&bench, &writer);
    eventually("it writes", || lines(&progress).len() > 3);
    assert!(bench.ask(&["control", "ada", "pause"]).status.success());
    let _waits = start(&bench, &note("waited"));
    let is_waiting =
        |c: &Value| c["text"].as_str().is_some_and(|text| text.contains("echo waited"));
    eventually("it waits", || status(&bench, is_waiting).is_some());

    let copy = path("copy.db");
    let copied = operator(&bench, &["backup", "--json"], &copy);
    assert!(copied.status.success(), "{copied:?}");
    let contents: Value = serde_json::from_slice(&copied.stdout).unwrap();
    assert_eq!((contents["agents"].as_u64(), contents["commands"].as_u64()), (Some(1), Some(3)));
    let again = operator(&bench, &["backup"], &copy);
    assert!(!again.status.success(), "it is there: {again:?}");

    // It runs and is over, and one more is, of which the copy knows nothing.
    assert!(bench.ask(&["control", "ada", "resume"]).status.success());
    eventually("it ran", || lines(&path("ran")).contains(&"waited".to_owned()));
    let is_over =
        |bench: &Bench| status(bench, is_waiting).is_some_and(|status| status == "completed");
    eventually("that is recorded", || is_over(&bench));
    assert!(bench.exec("ada", &note("after")).status.success());

    let running = operator(&bench, &["restore", "--force"], &copy);
    let said = String::from_utf8_lossy(&running.stderr).into_owned();
    assert!(!running.status.success() && said.contains("another onsembl-server runs"), "{said}");
    bench.server.take().expect("running").signal("-KILL");
    eventually("its lock is free", || {
        let refused = operator(&bench, &["restore"], &copy);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success(), "there is a database: {refused:?}");
        said.contains("--force")
    });
    let restored = operator(&bench, &["restore", "--force", "--json"], &copy);
    assert!(restored.status.success(), "{restored:?}");
    let restored: Value = serde_json::from_slice(&restored.stdout).unwrap();
    let kept = Path::new(restored["kept"].as_str().unwrap());
    assert!(kept.is_file() && restored["has_secret"] == true, "{restored}");
    bench.start_server();
    bench.await_status("ada", "online");

    // The one that waited in the copy is sent again, and its agent says how it ended instead of running it.
    eventually("its end is recorded again", || is_over(&bench));
    let before = lines(&progress).len();
    eventually("the writer goes on", || lines(&progress).len() > before + 3);
    fs::write(&end, "").unwrap();
    let is_writer = |c: &Value| c["exit_code"] == 7;
    eventually("its end is recorded", || status(&bench, is_writer).is_some());
    assert_eq!(lines(&path("ran")), ["before", "waited", "after"], "nothing ran twice");
    let numbers: Vec<usize> = lines(&progress).iter().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>(), "it ran once");
    let id = commands(&bench).into_iter().find(is_writer).unwrap();
    let output = bench.ask(&["output", id["command_id"].as_str().unwrap()]);
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.contains(&format!("line {}\n", numbers.len())),
        "its last line is stored: {output}"
    );
    let audit = bench.ask(&["audit", "ada"]);
    assert!(audit.status.success(), "each byte is accounted for: {audit:?}");
}
