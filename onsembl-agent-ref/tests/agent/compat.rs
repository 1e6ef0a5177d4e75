//! This agent at a server that says what an earlier version said: what the agent says must be like what
//! that version's agent said. The data are the server's: see `onsembl-server-ref/tests/compat/README.md`.

#[allow(dead_code, reason = "pages and other clients are for the server's tests")]
#[path = "../../../onsembl-server-ref/tests/it/compat/conversation.rs"]
mod conversation;
#[path = "../../../onsembl-server-ref/tests/it/compat/host.rs"]
mod host;
#[path = "../../../onsembl-server-ref/tests/it/compat/likeness.rs"]
mod likeness;
#[path = "../../../onsembl-server-ref/tests/it/compat/rewordings.rs"]
mod rewordings;

use super::{soon, until};
use host::Host;
use onsembl_agent_ref::engine::{self, AgentEnd, AgentOptions, TokenSourceKind};
use onsembl_agent_ref::process::Runner;
use onsembl_protocol::model::TerminalSize;
use onsembl_transport::secret::Secret;
use std::path::Path;

/// Plays the server to an agent until an order ends it.
async fn play(name: &str, agent: &str, runner: Runner) {
    let mut host = Host::new().await;
    let dir = tempfile::tempdir().unwrap();
    let token = TokenSourceKind::Literal(Secret::new("token"));
    let options = {
        let mut it = AgentOptions::new(&host.url, token, agent);
        it.state_dir = Some(dir.path().join("state"));
        it.runner = runner;
        it
    };
    let is_terminal = matches!(options.runner, Runner::Terminal { .. });
    let run = tokio::spawn(engine::run(options, std::future::pending()));
    if is_terminal {
        // In the recording its program was there before there was a link.
        let spool = dir.path().join("state/spool");
        until("the first output of the program", || holds(&spool, b"ready\r\n")).await;
    }
    host.play(name, "agent").await;
    let end = soon("the end of the agent", run).await.unwrap().unwrap();
    assert_eq!(end, AgentEnd::StoppedByServer);
}

/// Whether a file in this folder, or below it, has these bytes.
fn holds(folder: &Path, wanted: &[u8]) -> bool {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.map(|file| file.path()).any(|path| {
        let bytes = std::fs::read(&path).unwrap_or_default();
        holds(&path, wanted) || bytes.windows(wanted.len()).any(|part| part == wanted)
    })
}

#[tokio::test]
async fn it_runs_what_an_earlier_server_asks_for_as_before() {
    play("agent-life", "ada", Runner::Shell).await;
}

#[tokio::test]
async fn it_takes_orders_of_an_earlier_server_as_before() {
    play("orders", "ada", Runner::Shell).await;
}

#[tokio::test]
async fn its_terminal_is_told_of_as_before() {
    const TALKS: &str =
        r#"stty -echo; printf "ready\n"; while read -r line; do printf "heard:$line\n"; done"#;
    let runner = Runner::Terminal {
        program: "/bin/sh".to_owned(),
        arguments: vec!["-c".to_owned(), TALKS.to_owned()],
        size: TerminalSize::DEFAULT,
    };
    play("terminal", "tess", runner).await;
}
