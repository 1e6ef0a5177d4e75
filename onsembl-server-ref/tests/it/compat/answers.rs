//! What an earlier version said over a database: pages, and the command line.

use super::conversation::{bytes, data};
use super::likeness::Likeness;
use crate::fixture::{PATIENCE, World};
use crate::peer::Request;
use onsembl_server_ref::auth::TokenKind;
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub(super) struct Answers {
    /// When it said that, by its clock, in milliseconds.
    pub(super) recorded_at: i64,
    lines: Vec<Value>,
}

impl Answers {
    pub(super) fn read(version: &str) -> Self {
        let path = data().join(format!("databases/{version}.answers.jsonl"));
        let text = std::fs::read_to_string(path).unwrap();
        let mut lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let recorded_at = lines.remove(0)["recorded_at"].as_i64().unwrap();
        Self { recorded_at, lines }
    }

    /// Asks all of it again, in the same order.
    pub(super) async fn compare(&self, world: &World, mut like: Likeness) {
        assert!(self.lines.len() > 40, "{}", self.lines.len());
        for line in &self.lines {
            let token = world.token(line["user"].as_str().unwrap(), TokenKind::Dashboard);
            let mismatch = match line["path"].as_str() {
                Some(path) => page(world, path, &token, line, &mut like).await,
                None => command_line(world, &token, line, &mut like).await,
            };
            if let Err(why) = mismatch {
                panic!("{} {}: {why}\nwas {line}", line["path"], line["words"]);
            }
        }
    }
}

async fn page(
    world: &World,
    path: &str,
    token: &str,
    line: &Value,
    like: &mut Likeness,
) -> Result<(), String> {
    // What a start changes is changed a moment later.
    let by = Instant::now() + PATIENCE;
    loop {
        let answer = Request::get(path).bearer(Some(token)).send(world.address()).await;
        let mismatch = match like.texts(line["body"].as_str().unwrap(), &answer.body) {
            _ if line["status"] != answer.status => format!("status {}", answer.status),
            Ok(()) => return Ok(()),
            Err(why) => why,
        };
        if Instant::now() >= by {
            return Err(format!("{mismatch}\nis  {}", answer.body));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Commands that print tables unless JSON is asked for: those are for people, and change (docs/CLI.md).
const TABLES: [&str; 3] = ["agents", "commands", "audit"];

/// What `stop --json` says of an agent that is away.
const AWAY: &[u8] = br#""state":"away""#;

async fn command_line(
    world: &World,
    token: &str,
    line: &Value,
    like: &mut Likeness,
) -> Result<(), String> {
    let mut words = line["words"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_onsembl-server"));
    let server = format!("http://{}", world.address());
    let _ = command.arg(words.next().unwrap()).args(["--server", &server]).args(words);
    let _ = command.env("ONSEMBL_TOKEN", token).stdin(Stdio::null());
    let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (out, err) = (done.stdout, String::from_utf8(done.stderr).unwrap());
    // Since then `stop` says by its exit code that an agent is away.
    let is_away = out.windows(AWAY.len()).any(|part| part == AWAY);
    let expected = match line["words"][0].as_str() {
        Some("stop") if line["code"] == 0 && is_away => 4.into(),
        Some(_) | None => line["code"].clone(),
    };
    if expected != done.status.code().unwrap() {
        return Err(format!("exit code {:?}: {err}", done.status.code()));
    }
    like.texts(line["stderr"].as_str().unwrap(), &err).map_err(|why| format!("{why}\n{err}"))?;
    if let Some(hex) = line["stdout_hex"].as_str() {
        return if bytes(hex) == out { Ok(()) } else { Err(format!("{out:?}")) };
    }
    let out = String::from_utf8(out).map_err(|error| error.to_string())?;
    let is_table = TABLES.iter().any(|table| line["words"][0] == *table);
    if is_table && !line["words"].as_array().unwrap().contains(&"--json".into()) {
        return if out.lines().count() > 1 { Ok(()) } else { Err(out) };
    }
    like.texts(line["stdout"].as_str().unwrap(), &out).map_err(|why| format!("{why}\nis  {out}"))
}
