//! Conversations as an earlier version had them: what was said over each link, in an order in which it can
//! be said again. Written by `tests/compat/record.py`.

use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
    /// Neither: the link broke.
    Network,
}

#[derive(Clone, Debug)]
pub(crate) enum Frame {
    Text(String),
    Binary(Vec<u8>),
}

/// What happened.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A WebSocket was opened.
    Opened {
        path: String,
        user: String,
        token_in_query: bool,
    },
    Sent {
        by: Side,
        frame: Frame,
    },
    Closed {
        by: Side,
        code: Option<u16>,
        reason: String,
    },
    /// A page was asked for.
    Asked {
        user: String,
        method: String,
        path: String,
        body: String,
    },
    Answered {
        status: u16,
        body: String,
    },
}

/// And on which link.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) link: String,
    pub(crate) what: What,
}

/// Where the data of this version are.
pub(crate) fn data() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.join("../onsembl-server-ref/tests/compat/data")
}

/// A conversation by its name.
pub(crate) fn conversation(name: &str) -> Vec<Entry> {
    let path = data().join(format!("conversations/{name}.jsonl"));
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| Entry::read(&serde_json::from_str(line).unwrap())).collect()
}

impl Entry {
    fn read(line: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let link = text(&line["link"]);
        let (opened, closed) = (&line["open"], &line["closed"]);
        let (asked, answered) = (&line["request"], &line["answer"]);
        let what = if opened.is_object() {
            What::Opened {
                path: text(&opened["path"]),
                user: text(&opened["user"]),
                token_in_query: opened["token"] == "query",
            }
        } else if closed.is_object() {
            let code = closed["code"].as_u64().map(|code| u16::try_from(code).unwrap());
            What::Closed { by: side(&closed["by"]), code, reason: text(&closed["reason"]) }
        } else if asked.is_object() {
            What::Asked {
                user: text(&asked["user"]),
                method: text(&asked["method"]),
                path: text(&asked["path"]),
                body: text(&asked["body"]),
            }
        } else if answered.is_object() {
            let status = u16::try_from(answered["status"].as_u64().unwrap()).unwrap();
            What::Answered { status, body: text(&answered["body"]) }
        } else {
            let frame = match (line["text"].as_str(), line["binary"].as_str()) {
                (Some(text), None) => Frame::Text(text.to_owned()),
                (None, Some(hex)) => Frame::Binary(bytes(hex)),
                other => panic!("not understood: {other:?}: {line}"),
            };
            What::Sent { by: side(&line["from"]), frame }
        };
        Self { link, what }
    }
}

impl Frame {
    /// What it says, as JSON; what is none stands as a text.
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Text(text) => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
            Self::Binary(bytes) => chunk(bytes),
        }
    }
}

/// Whether a message says how far something is on its way to what the next one says, so that it may be
/// left out (P-97, P-127, P-196).
pub(crate) fn is_passing(message: &Value) -> bool {
    let (status, stage) = (&message["payload"]["status"], &message["payload"]["stage"]);
    match message["type"].as_str() {
        Some("COMMAND_STATUS") => {
            let passing = ["pending", "queued", "delivered", "running", "cancelling"];
            passing.iter().any(|passing| status == passing)
        }
        // Changes of agents are gathered for 100 ms, within which more or less may happen (P-124).
        Some("AGENT_STATUS") => {
            let state = &message["payload"]["stopped"]["state"];
            status == "connecting" || ["told", "received", "acted"].iter().any(|p| state == p)
        }
        Some("STOP_RECEIPT") => ["RECEIVED", "ACTED"].iter().any(|passing| stage == passing),
        _ => false,
    }
}

/// Whether one of these that come later says how far the same thing is.
pub(crate) fn is_overtaken<'a>(
    message: &Value,
    mut later: impl Iterator<Item = &'a Value>,
) -> bool {
    let of = |message: &Value| {
        let payload = &message["payload"];
        let ids = ["commandId", "agentId", "stopId"].map(|id| payload[id].clone());
        (message["type"].clone(), ids)
    };
    is_passing(message) && later.any(|other| of(other) == of(message))
}

fn side(value: &Value) -> Side {
    match value.as_str() {
        Some("client") => Side::Client,
        Some("server") => Side::Server,
        Some("network") => Side::Network,
        other => panic!("no side: {other:?}"),
    }
}

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let digits = (0..hex.len()).step_by(2);
    digits.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// A chunk of output in a binary message (P-210), taken apart by hand.
fn chunk(bytes: &[u8]) -> Value {
    let number = |from: usize| u64::from_be_bytes(bytes[from..from + 8].try_into().unwrap());
    let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
    let (command, content) = bytes[28..].split_at(length);
    json!({"type": "(binary)", "payload": {
        "kind": bytes[0],
        "stream": bytes[1],
        "incarnation": number(4),
        "sequence": number(12),
        "offset": number(20),
        "commandId": String::from_utf8(command.to_vec()).unwrap(),
        "content": content,
    }})
}
