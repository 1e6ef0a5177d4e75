//! `exec` of this version at a server that says what an earlier one said.

use super::host::Host;
use std::fs::File;
use std::process::{Child, Command};

/// Ended with the test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn exec_says_to_an_earlier_server_what_it_said_before() {
    let mut host = Host::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let says = "sleep 0.3; printf 'to stdout\\n'; sleep 0.3; printf 'to stderr\\n' >&2; sleep 0.3";
    let mut exec = Command::new(env!("CARGO_BIN_EXE_onsembl-server"));
    let _ = exec.args(["exec", "--server", &host.url, "--timeout", "5m", "ada"]);
    let _ = exec.args(["--", &format!("{says}; exit 7")]);
    let _ = exec.env("ONSEMBL_TOKEN", "token");
    let _ = exec.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
    let mut exec = Running(exec.spawn().unwrap());
    host.play("agent-life", "exec").await;
    assert_eq!(exec.0.wait().unwrap().code(), Some(7));
    let sent = [out, err].map(|path| std::fs::read_to_string(path).unwrap());
    assert_eq!(sent, ["to stdout\n", "to stderr\n"]);
}
