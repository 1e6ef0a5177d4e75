//! `onsembl` as people run it, beside a server and agents that answer as told.

mod contexts;
mod finding;
mod running;
mod shapes;
mod terminal;
mod tokens;

use crate::fixture::{PATIENCE, World};
use crate::frames::{Chunk, command_ack, command_complete, extended_hello};
use crate::peer::Peer;
use onsembl_server_ref::auth::TokenKind;
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// What a run printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    #[track_caller]
    pub(crate) fn json(self) -> Value {
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"))
    }
}

/// A program without this environment's settings, and with a configuration folder of its own.
pub(crate) fn program(binary: &str, config: &Path) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("ONSEMBL_") || name.to_ascii_uppercase().ends_with("_PROXY") {
            let _ = command.env_remove(name);
        }
    }
    let _ = command.env("ONSEMBL_CONFIG_DIR", config).stdin(Stdio::null()).kill_on_drop(true);
    command
}

pub(crate) async fn ended(command: &mut Command) -> Ran {
    let output = timeout(PATIENCE, command.output()).await.expect("an end").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A server, and the configuration of somebody.
pub(crate) struct Desk {
    pub(crate) world: World,
    pub(crate) config: TempDir,
}

impl Desk {
    /// Nobody is logged in.
    pub(crate) async fn new() -> Self {
        Self { world: World::start().await, config: tempfile::tempdir().unwrap() }
    }

    /// Ann is logged in.
    pub(crate) async fn of_ann() -> Self {
        let desk = Self::new().await;
        let token = desk.world.token("ann", TokenKind::Dashboard);
        let _ = desk.fed(&["login", &desk.url()], &token).await.ok();
        desk
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.world.address())
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(env!("CARGO_BIN_EXE_onsembl"), self.config.path());
        let _ = command.args(arguments);
        command
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        ended(&mut self.command(arguments)).await
    }

    /// The program of the operator, on the data of this server.
    pub(crate) async fn operate(&self, arguments: &[&str]) -> Ran {
        let mut command = program(env!("CARGO_BIN_EXE_onsembl-server"), self.config.path());
        let _ = command.args(arguments).env("ONSEMBL_DATA", self.world.data());
        ended(&mut command).await
    }

    /// With this on standard input.
    pub(crate) async fn fed(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = self.command(arguments);
        let _ = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // One that does not read it has ended.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = timeout(PATIENCE, child.wait_with_output()).await.expect("an end").unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// An agent of ann's that says how it ends with each command: by this exit code, and what it was asked for.
    pub(crate) async fn agent(&self, name: &str, code: i32) -> JoinHandle<()> {
        let mut link = self.world.agent_link("ann").await;
        let key = format!("key-of-{name}");
        let hello = extended_hello(&key, "run-1", &[]);
        link.send(hello.replace(&format!("name of {key}"), name)).await;
        let _ = link.expect("ACK").await;
        tokio::spawn(work(link, code))
    }
}

async fn work(mut link: Peer, code: i32) {
    while let Some(Ok(message)) = link.next_by(Instant::now() + PATIENCE).await {
        if message["type"] != "COMMAND_REQUEST" {
            continue;
        }
        let asked = &message["payload"];
        let command = asked["commandId"].as_str().unwrap();
        if asked["command"] == "wait" {
            link.send(command_ack(command, "EXECUTING")).await;
            continue;
        }
        let env = asked["env"].as_object().map(serde_json::Map::len).unwrap_or_default();
        let text = format!(
            "ran {}\nin {} with {env}\nrest",
            asked["command"].as_str().unwrap(),
            asked["workingDirectory"].as_str().unwrap_or("-"),
        );
        link.send(command_ack(command, "EXECUTING")).await;
        for (stream, sequence, content) in
            [("STDOUT", 1, text.as_str()), ("STDERR", 2, "to stderr\n")]
        {
            let chunk = Chunk { command, stream, sequence, offset: 0, encoding: "utf-8", content };
            link.send(chunk.text()).await;
        }
        let status = if code == 0 { "COMPLETED" } else { "FAILED" };
        link.send(command_complete(command, status, code)).await;
    }
}
