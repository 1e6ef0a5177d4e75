//! Output that is relayed and not stored: every byte is shown or declared to be missing, whether somebody watches, is slow,
//! or nobody does; and people are told that it is not kept.

use crate::bench::{Bench, FAST, PATIENCE, Running};
use serde_json::Value;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Much more than may be on the way, or waits in memory.
const LENGTH: u64 = 24_000_000;

fn words(output: &std::process::Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// Waits until the only command that is not over is. Returns its id.
fn over(bench: &Bench) -> String {
    let deadline = Instant::now() + PATIENCE * 4;
    loop {
        let listed = bench.ask(&["commands", "--json"]);
        let listed: Value = serde_json::from_slice(&listed.stdout).expect("a list");
        let all = listed["commands"].as_array().expect("a list");
        if let Some(newest) = all.first()
            && all.iter().all(|command| command["status"] == "completed")
        {
            assert_eq!(newest["unstored"], true, "{newest}");
            return newest["command_id"].as_str().expect("an id").to_owned();
        }
        assert!(Instant::now() < deadline, "never over: {listed}");
        sleep(Duration::from_millis(100));
    }
}

/// How much is declared to be missing.
fn missing(notices: &str) -> u64 {
    let of = |line: &str| {
        let (length, rest) = line.strip_prefix('[')?.split_once(' ')?;
        assert_eq!(rest, "bytes of output are missing here: not kept, as asked]");
        length.parse::<u64>().ok()
    };
    notices.lines().filter_map(of).sum()
}

fn check_whole(out: &Path, err: &Path) {
    let shown = std::fs::metadata(out).expect("a file").len();
    let notices = std::fs::read_to_string(err).expect("a text");
    assert_eq!(shown + missing(&notices), LENGTH, "{shown} bytes were shown; {notices}");
}

fn check_told(bench: &Bench, id: &str) {
    const NOT_KEPT: &str = "not kept, as asked";
    let output = bench.ask(&["output", id]);
    assert_eq!(output.stdout, b"");
    assert!(words(&output).contains(NOT_KEPT), "{output:?}");
    for words_of in [&["why", id][..], &["audit", "dev"]] {
        let said = words(&bench.ask(words_of));
        assert!(said.contains(NOT_KEPT), "{words_of:?}: {said}");
    }
    let audit: Value =
        serde_json::from_slice(&bench.ask(&["audit", "dev", "--json"]).stdout).expect("an audit");
    let kept: Vec<&str> =
        audit["not_kept"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert!(kept.contains(&id), "{audit}");
    let db = rusqlite::Connection::open(bench.data().join("onsembl.db")).expect("the database");
    let count = "SELECT COUNT(*) FROM output_records";
    let records: i64 = db.query_row(count, [], |row| row.get(0)).expect("a number");
    assert_eq!(records, 0, "nothing of it is stored");
}

#[test]
fn it_is_shown_or_declared_missing_and_people_are_told_that_it_is_not_kept() {
    let bench = Bench::start();
    let _agent = bench.agent("dev");
    let _ = bench.await_status("dev", "online");
    let path = |name: &str| bench.folder.path().join(name);
    let text = format!("head -c {LENGTH} /dev/zero");
    let start = |arguments: &[&str], text: &str| {
        let mut exec = bench.exec_command("dev", arguments, text);
        exec.stderr(File::create(path("err")).unwrap());
        exec
    };

    // Somebody watches, and keeps up as well as this machine lets it.
    let mut exec = start(&["--unstored"], &text);
    let exec = exec.stdout(File::create(path("out")).unwrap()).spawn().expect("exec can be run");
    assert!(Running(exec).wait().success());
    check_whole(&path("out"), &path("err"));
    check_told(&bench, &over(&bench));

    // Nobody does.
    let left = start(&["--unstored", "--detach"], &text).status().expect("exec can be run");
    assert!(left.success());
    check_told(&bench, &over(&bench));

    // Somebody stops to read, which keeps the command from nothing.
    let slow = format!("sleep 1; {text}");
    let mut exec = start(&["--unstored"], &slow);
    let exec = exec.stdout(File::create(path("out")).unwrap()).spawn().expect("exec can be run");
    let mut exec = Running(exec);
    crate::bench::eventually("it runs", || crate::bench::runs("head -c 24000000"));
    exec.freeze();
    let id = over(&bench);
    exec.thaw();
    let _ = exec.wait();
    check_whole(&path("out"), &path("err"));
    check_told(&bench, &id);
}

#[test]
fn a_server_that_relays_only_stores_the_output_of_no_command() {
    let bench = Bench::with(FAST, &["--relay-only"]);
    let _agent = bench.agent("dev");
    let _ = bench.await_status("dev", "online");
    let exec = bench.exec_command("dev", &[], "echo hello; exit 3").stderr(Stdio::null()).output();
    let exec = exec.expect("exec can be run");
    assert_eq!((exec.stdout.as_slice(), exec.status.code()), (&b"hello\n"[..], Some(3)));
    let listed: Value =
        serde_json::from_slice(&bench.ask(&["commands", "--json"]).stdout).expect("a list");
    let id = listed["commands"][0]["command_id"].as_str().expect("an id").to_owned();
    check_told(&bench, &id);
}
