//! Payloads of our protocol, as far as a load generator sends and receives them.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;

/// Of the process that writes, and the time of every message.
pub const INCARNATION: u64 = 1_762_080_000_000;
const AGENT_FEATURES: [&str; 7] = [
    "heartbeats",
    "output-bytes",
    "output-spool",
    "output-binary",
    "command-reports",
    "stop-latch",
    UNSTORED,
];
const DASHBOARD_FEATURES: [&str; 6] =
    ["output-bytes", "output-binary", "output-spool", "output-replay", "stop-latch", UNSTORED];
const UNSTORED: &str = "unstored-output";

/// Whether output of a command is to be stored.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keeping {
    #[default]
    Stored,
    Unstored,
}

#[derive(Deserialize)]
pub struct Envelope<'a> {
    #[serde(rename = "type")]
    pub kind: &'a str,
    #[serde(borrow)]
    pub payload: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Piece<'a> {
    #[serde(borrow)]
    pub command_id: Cow<'a, str>,
    #[serde(borrow)]
    pub content: Cow<'a, str>,
    pub encoding: Option<&'a str>,
    pub offset: Option<u64>,
}

/// As a legacy dashboard gets it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lines<'a> {
    #[serde(borrow)]
    pub command_id: Cow<'a, str>,
    pub content: Vec<String>,
}

/// The hello of an agent; `id` is what the server calls it, or nothing.
pub fn agent_hello(name: &str, id: &str, extended: bool) -> Value {
    let key = format!("key-of-{name}");
    let mut hello = json!({
        "agentId": if id.is_empty() { &key } else { id }, "name": name, "agentType": "CUSTOM", "version": "0.1.0",
        "hostMachine": "bench",
        "capabilities": {"maxTokens": 0, "supportsInterrupt": true, "supportsTrace": false},
    });
    if extended {
        hello["extensions"] = json!({
            "features": AGENT_FEATURES, "agentKey": key, "instance": format!("instance-of-{name}"),
            "journal": format!("journal-of-{name}"), "maxParallel": 100_000,
        });
    }
    hello
}

/// The hello of a dashboard: of everything, or of one command only.
pub fn dashboard_hello(command: Option<&str>, terminals: bool, extended: bool) -> Value {
    let (agents, commands) = match command {
        Some(command) => (json!(["none"]), json!([command])),
        None => (json!("*"), json!("*")),
    };
    let mut hello = json!({"subscriptions": {
        "agents": agents, "commands": commands, "terminals": terminals, "traces": false,
    }});
    if extended {
        hello["extensions"] = json!({"features": DASHBOARD_FEATURES});
    }
    hello
}

pub fn beat(id: &str, sequence: u64, heard: u64) -> Value {
    json!({
        "agentId": id, "sequence": sequence, "seen": {"sequence": heard, "ageMs": 1},
        "healthMetrics": {
            "cpuUsage": 12.5, "memoryUsage": 34.0, "uptime": 56, "commandsProcessed": 7, "activeCommands": 1,
            "averageResponseTime": 0,
        },
    })
}

/// A request for a command.
pub fn request(agent: &str, command: &str, text: &str, keeping: Keeping) -> Value {
    let mut request = json!({
        "agentId": agent, "commandId": command, "command": text, "args": [], "env": {}, "type": "NATURAL", "priority": 5,
        "executionConstraints": {"timeLimitMs": 3_600_000, "maxRetries": 1},
    });
    if keeping == Keeping::Unstored {
        request["unstored"] = json!(true);
    }
    request
}

/// The report of a command that wrote nothing.
pub fn ended(agent: &str, command: &str) -> Value {
    json!({
        "commandId": command, "agentId": agent, "status": "COMPLETED", "exitCode": 0, "executionTime": 1, "duration": 1,
        "tokensUsed": 0, "timestamp": INCARNATION,
        "output": {"incarnation": INCARNATION, "stdoutBytes": 0, "stderrBytes": 0},
    })
}
