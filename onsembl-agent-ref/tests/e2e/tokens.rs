//! The token of one agent, changed in its file while the agent works.

use crate::bench::{Bench, Running, eventually, server_binary};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What the command line makes, in the file of the agent.
fn write_token(bench: &Bench, file: &PathBuf, arguments: &[&str]) -> String {
    let made = Command::new(server_binary())
        .args(["token", "--data"])
        .arg(bench.data())
        .args(arguments)
        .output()
        .expect("the server can be run");
    assert!(made.status.success(), "{made:?}");
    std::fs::write(file, &made.stdout).expect("a file");
    let said = String::from_utf8(made.stderr).expect("text");
    said.lines().find_map(|line| line.strip_prefix("token ")).expect("its id").to_owned()
}

#[test]
fn a_token_is_changed_while_a_command_runs_and_one_of_another_lineage_is_not_taken() {
    let bench = Bench::start();
    let file = bench.folder.path().join("dev.token");
    let first = write_token(&bench, &file, &["--user", "ann", "--agent", "dev"]);
    let mut agent = bench.agent_command("dev");
    agent.env_remove("ONSEMBL_TOKEN").arg("--token-file").arg(&file);
    let mut agent = Running(agent.spawn().expect("the agent can be run"));
    let held_by = |token: &str| {
        let path = bench.data().join("onsembl.db");
        let holder = "SELECT coalesce(held_by, '') FROM agents WHERE name = 'dev'";
        eventually("who holds it", || {
            let db = rusqlite::Connection::open(&path).expect("the database");
            let holder: Result<String, _> = db.query_row(holder, [], |row| row.get(0));
            holder.is_ok_and(|holder| holder == token)
        });
        let _ = bench.await_status("dev", "online");
    };
    held_by(&first);
    let done = bench.folder.path().join("done");
    let text = format!("until [ -e {} ]; do sleep 0.1; done; echo whole", done.display());
    let mut exec = bench.exec_command("dev", &[], &text);
    let exec = exec.stdout(Stdio::piped()).spawn().expect("the server can be run");

    let renewed = write_token(&bench, &file, &["--renew", &first]);
    held_by(&renewed);
    // Another token of the same user is refused at the door, and the session continues over the old link.
    let _ = write_token(&bench, &file, &["--user", "ann", "--kind", "agent"]);
    eventually("the refusal", || {
        bench.log("dev.log").contains(&format!("held by the token {renewed}"))
    });
    held_by(&renewed);
    // This one passes the agent on, and ends the lineage that held it.
    let passed_on = write_token(&bench, &file, &["--user", "ann", "--agent", "dev"]);
    held_by(&passed_on);
    assert!(agent.0.try_wait().expect("our child").is_none(), "it goes on");

    std::fs::write(&done, "").expect("a file");
    let output = exec.wait_with_output().expect("its end");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"whole\n"[..]));
    // A copy of the first one is refused; the agent is not affected.
    let listed = bench_tokens(&bench);
    for token in [&first, &renewed] {
        let line =
            listed.lines().find(|line| line.starts_with(token.as_str())).expect("it is listed");
        assert!(line.contains("revoked"), "{line}");
    }
    agent.signal("-TERM");
    let _ = bench.await_status("dev", "offline");
}

fn bench_tokens(bench: &Bench) -> String {
    let listed = Command::new(server_binary())
        .args(["tokens", "--user", "ann", "--data"])
        .arg(bench.data())
        .output()
        .expect("the server can be run");
    assert!(listed.status.success(), "{listed:?}");
    String::from_utf8(listed.stdout).expect("text")
}
