//! What each command prints with `-o json`: written into docs/CLI-JSON.md, and compared with it.

use super::Desk;
use crate::fixture::is_packaged;
use serde_json::{Map, Value};
use std::path::Path;

const BEGIN: &str = "<!-- The shapes: written by a test (ONSEMBL_BLESS=1 cargo test -p onsembl-server-ref --test it shapes). -->";
const END: &str = "<!-- End of the shapes. -->";

/// Objects that differ from case to case; docs/EVIDENCE.md and docs/PROTOCOL.md say what they hold.
const OPEN: [&str; 4] = ["evidence", "last_metrics", "beats", "hops"];

/// Texts and numbers that may be missing: whether they are in a sample hangs on when it was taken.
const MAYBE_TEXT: &[&str] = &[
    "action",
    "cause",
    "closed_at",
    "ended_at",
    "error",
    "expires_at",
    "kept",
    "last_heartbeat",
    "made_for",
    "next_change_at",
    "next_state",
    "out",
    "proxy",
    "revoked_at",
    "revoked_because",
    "shown_at",
    "shown_from",
    "takes",
    "tls_ca",
    "token",
    "until",
    "user",
];
const MAYBE_NUMBER: &[&str] = &["exit_code", "permille", "signal"];

/// A value with words for what is in it.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "boolean".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "text".into(),
        Value::Array(all) => {
            let merged = all.iter().map(shape).reduce(merge);
            Value::Array(merged.into_iter().collect())
        }
        Value::Object(fields) => {
            let of = |(name, value): (&String, &Value)| {
                let key = name.as_str();
                let is_tokens = key == "agent_id" && fields.contains_key("lineage");
                let shape = match value {
                    _ if OPEN.contains(&key) => "object".into(),
                    _ if MAYBE_NUMBER.contains(&key) => "number or null".into(),
                    Value::Null | Value::String(_) if is_tokens || MAYBE_TEXT.contains(&key) => {
                        "text or null".into()
                    }
                    other => shape(other),
                };
                (name.clone(), shape)
            };
            Value::Object(fields.iter().map(of).collect())
        }
    }
}

/// What fits both.
fn merge(one: Value, other: Value) -> Value {
    match (one, other) {
        (one, other) if one == other => one,
        (Value::Object(one), Value::Object(mut other)) => {
            let mut all = Map::new();
            for (name, value) in one {
                let value = match other.remove(&name) {
                    Some(second) => merge(value, second),
                    None => value,
                };
                let _ = all.insert(name, value);
            }
            all.extend(other);
            Value::Object(all)
        }
        (Value::Array(one), Value::Array(other)) => {
            Value::Array(one.into_iter().chain(other).reduce(merge).into_iter().collect())
        }
        (Value::String(one), Value::String(other)) => {
            let mut words: Vec<&str> = one.split(" or ").chain(other.split(" or ")).collect();
            words.sort_unstable();
            words.dedup();
            words.join(" or ").into()
        }
        // That it may be null is left unsaid of what has fields.
        (one, other) if one == "null" => other,
        (one, _) => one,
    }
}

/// One shape of everything that was printed.
fn of(text: &str) -> Value {
    let values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let shapes = values.map(|value| shape(&value.unwrap_or_else(|e| panic!("{e}: {text}"))));
    shapes.reduce(merge).unwrap_or(Value::Null)
}

#[derive(Default)]
struct Written(String);

impl Written {
    fn add(&mut self, title: &str, printed: &str) {
        let shape = serde_json::to_string_pretty(&of(printed)).unwrap();
        self.0.push_str(&format!("`{title}`:\n\n```json\n{shape}\n```\n\n"));
    }
}

async fn written() -> String {
    let desk = Desk::new().await;
    let mut all = Written::default();
    let token = desk.operate(&["token", "--user", "ann", "-o", "json"]).await.ok();
    all.add("onsembl-server token -o json", &token);
    let token: Value = serde_json::from_str(&token).unwrap();
    let spare = desk.operate(&["token", "--user", "ann", "-o", "json"]).await.json();
    let spare = spare["token_id"].as_str().unwrap();
    let login = ["login", &desk.url(), "-o", "json"];
    let login = desk.fed(&login, token["token"].as_str().unwrap()).await.ok();
    all.add("onsembl login -o json", &login);
    let _agent = desk.agent("mine", 0).await;
    let show = async |all: &mut Written, arguments: &[&str], title: &str| {
        let said = desk.run(arguments).await;
        assert!(!said.out.is_empty(), "{arguments:?}: {said:?}");
        all.add(title, &said.out);
        said.out
    };
    let j = ["-o", "json"];
    show(&mut all, &["exec", "mine", "-o", "json", "--", "make"], "onsembl exec -o json").await;
    show(&mut all, &["exec", "mine", "-o", "jsonl", "--", "make"], "onsembl exec -o jsonl").await;
    show(&mut all, &["exec", "--all", "-o", "json", "--", "make"], "onsembl exec --all -o json")
        .await;
    let detached = ["exec", "mine", "--detach", "-o", "json", "--", "wait"];
    let detached = show(&mut all, &detached, "onsembl exec --detach -o json").await;
    let detached: Value = serde_json::from_str(&detached).unwrap();
    let id = detached["command_id"].as_str().unwrap();
    show(&mut all, &[&["agents"], &j[..]].concat(), "onsembl agents -o json").await;
    show(&mut all, &[&["commands"], &j[..]].concat(), "onsembl commands -o json").await;
    show(&mut all, &["commands", id, "-o", "json"], "onsembl commands ID -o json").await;
    let latest = desk.run(&["commands", "-o", "name", "--limit", "2"]).await.ok();
    let ended = latest.lines().last().unwrap();
    show(&mut all, &["output", ended, "-o", "json"], "onsembl output -o json").await;
    show(&mut all, &["screen", ended, "-o", "json"], "onsembl screen -o json").await;
    show(&mut all, &["why", "mine", "-o", "json"], "onsembl why AGENT -o json").await;
    show(&mut all, &["why", id, "-o", "json"], "onsembl why COMMAND -o json").await;
    show(&mut all, &["why", "--all", "-o", "json"], "onsembl why --all -o json").await;
    show(&mut all, &["audit", "mine", "-o", "json"], "onsembl audit -o json").await;
    show(&mut all, &["cancel", id, "-o", "json"], "onsembl cancel -o json").await;
    show(&mut all, &["control", "mine", "pause", "-o", "json"], "onsembl control -o json").await;
    show(&mut all, &["stop", "mine", "-o", "json"], "onsembl stop -o json").await;
    show(&mut all, &["release", "mine", "-o", "json"], "onsembl release -o json").await;
    let recording = desk.run(&["export", "mine"]).await.ok();
    let file = desk.config.path().join("recording");
    std::fs::write(&file, recording).unwrap();
    let replayed = desk.operate(&["replay", file.to_str().unwrap(), "-o", "json"]).await.ok();
    all.add("onsembl-server replay -o json", &replayed);
    show(&mut all, &["forget", "mine", "-o", "json"], "onsembl forget -o json").await;
    show(&mut all, &["token", "list", "-o", "json"], "onsembl token list -o json").await;
    show(&mut all, &["token", "revoke", spare, "-o", "json"], "onsembl token revoke -o json").await;
    let tokens = desk.operate(&["token", "list", "--user", "ann", "-o", "json"]).await.ok();
    all.add("onsembl-server token list -o json", &tokens);
    let one = desk.operate(&["token", "list", spare, "-o", "json"]).await.ok();
    all.add("onsembl-server token list ID -o json", &one);
    let revoked = desk.operate(&["token", "revoke", spare, "-o", "json"]).await.ok();
    all.add("onsembl-server token revoke -o json", &revoked);
    let limits = desk.operate(&["limits", "-o", "json"]).await.ok();
    all.add("onsembl-server limits -o json", &limits);
    let file = desk.config.path().join("server.toml");
    let data = desk.config.path().join("data");
    std::fs::write(&file, format!("data = '{}'\n", data.display())).unwrap();
    for (words, title) in [
        (vec!["config", "check", file.to_str().unwrap()], "onsembl-server config check -o json"),
        (
            vec!["config", "show", "--config", file.to_str().unwrap()],
            "onsembl-server config show -o json",
        ),
        (vec!["config", "example"], "onsembl-server config example -o json"),
        (
            vec!["service", "install", "--user", "--print", "--config", file.to_str().unwrap()],
            "onsembl-server service install --print -o json",
        ),
    ] {
        let said = desk.operate(&[&words[..], &j].concat()).await.ok();
        all.add(title, &said);
    }
    let copy = desk.config.path().join("copy.db");
    let backup = desk.operate(&["backup", copy.to_str().unwrap(), "-o", "json"]).await.ok();
    all.add("onsembl-server backup -o json", &backup);
    let restored = desk.config.path().join("restored");
    let restore = ["restore", "--data", restored.to_str().unwrap(), copy.to_str().unwrap()];
    let restore = desk.operate(&[&restore[..], &j].concat()).await.ok();
    all.add("onsembl-server restore -o json", &restore);
    show(&mut all, &["context", "list", "-o", "json"], "onsembl context list -o json").await;
    show(&mut all, &["context", "show", "-o", "json"], "onsembl context show -o json").await;
    let folder = desk.config.path().join("man");
    let man = ["man", folder.to_str().unwrap(), "-o", "json"];
    show(&mut all, &man, "onsembl man -o json").await;
    let pages = std::fs::read_dir(&folder).unwrap().count();
    assert!(pages > 20, "{pages} pages");
    show(&mut all, &["logout", "-o", "json"], "onsembl logout -o json").await;
    all.0
}

#[tokio::test]
async fn the_document_shows_what_is_printed() {
    if is_packaged() {
        return;
    }
    let written = written().await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/CLI-JSON.md");
    let is = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = is.split_once(BEGIN).expect("the mark where they begin");
    let (_, after) = rest.split_once(END).expect("the mark where they end");
    let should = format!("{before}{BEGIN}\n\n{written}{END}{after}");
    if std::env::var_os("ONSEMBL_BLESS").is_some() {
        std::fs::write(&path, should).unwrap();
    } else {
        assert!(
            is == should,
            "docs/CLI-JSON.md shows something else; write it again with\n    \
             ONSEMBL_BLESS=1 cargo test -p onsembl-server-ref --test it shapes\n{written}"
        );
    }
}
