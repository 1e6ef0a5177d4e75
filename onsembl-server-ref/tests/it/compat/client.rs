//! `exec` of this version at a server that says what an earlier one said.

use super::host::Host;
use std::process::Command;

#[tokio::test]
async fn exec_says_to_an_earlier_server_what_it_said_before() {
    let mut host = Host::new().await;
    let mut exec = Command::new(env!("CARGO_BIN_EXE_onsembl-server"));
    let text =
        "sleep 0.3; printf 'to stdout\\n'; sleep 0.3; printf 'to stderr\\n' >&2; sleep 0.3; exit 7";
    let _ = exec.args(["exec", "--server", &host.url, "ada", "--", text]);
    let _ = exec.env("ONSEMBL_TOKEN", "token");
    let run = tokio::task::spawn_blocking(move || exec.output().unwrap());
    host.play("agent-life", "exec").await;
    let done = run.await.unwrap();
    assert_eq!(done.status.code(), Some(7), "{done:?}");
    assert_eq!((&done.stdout[..], &done.stderr[..]), (&b"to stdout\n"[..], &b"to stderr\n"[..]));
}
