//! A stand-in for the services of coding agents, on the loopback: it speaks as much of each as their programs need for
//! a turn.
//!
//! To `say TEXT` it says the text; to `run COMMAND` it has the program run the command, which asks the person first;
//! when the outcome of that is back it says so. To `think` it says nothing for as long as a case lasts.

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// Longer than a case lasts.
const LONG: Duration = Duration::from_secs(600);

pub struct StandIn {
    pub address: String,
}

/// What the person asked for last.
enum Asked {
    Say(String),
    Run(String),
    Think,
    /// A command has run.
    Ran,
    /// Something of the program's own, such as a title.
    Other,
}

struct Request {
    path: String,
    body: Value,
}

impl StandIn {
    /// Serves until this process ends.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let _ = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = thread::spawn(move || serve(&stream));
            }
        });
        Self { address }
    }
}

fn serve(stream: &TcpStream) {
    // Programs also open connections that they do not use.
    let Some(request) = read(stream) else { return };
    let (code, kind, text) = answer(&request);
    let head = format!(
        "HTTP/1.1 {code}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        text.len()
    );
    let mut writer = stream;
    let _ = writer.write_all((head + &text).as_bytes());
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut length, mut chunked) = (0, false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim().to_ascii_lowercase();
        match header.split_once(':') {
            None => break,
            Some(("content-length", value)) => length = value.trim().parse().ok()?,
            Some(("transfer-encoding", value)) => chunked = value.contains("chunked"),
            Some(_) => {}
        }
    }
    let mut body = Vec::new();
    while chunked {
        let mut size = String::new();
        reader.read_line(&mut size).ok()?;
        let size = u64::from_str_radix(size.trim(), 16).ok()?;
        let _ = reader.by_ref().take(size).read_to_end(&mut body).ok()?;
        reader.read_line(&mut line).ok()?;
        chunked = size > 0;
    }
    let _ = reader.take(length).read_to_end(&mut body).ok()?;
    Some(Request { path, body: serde_json::from_slice(&body).unwrap_or_default() })
}

fn answer(request: &Request) -> (&'static str, &'static str, String) {
    let body = &request.body;
    let events = match request.path.split('?').next().unwrap_or_default() {
        "/v1/messages" => anthropic(body),
        "/v1/responses" => openai(body),
        path if path.ends_with(":streamGenerateContent") => google(body),
        // Asked how hard a task is.
        path if path.ends_with(":generateContent") => {
            let easy = json!({"complexity_reasoning": "short", "complexity_score": 1}).to_string();
            let answer = candidate(&json!({"text": easy})).to_string();
            return ("200 OK", "application/json", answer);
        }
        _ => return ("404 Not Found", "application/json", "{}".to_owned()),
    };
    let lines = events.iter().map(|event| match event["type"].as_str() {
        Some(name) => format!("event: {name}\ndata: {event}\n\n"),
        None => format!("data: {event}\n\n"),
    });
    ("200 OK", "text/event-stream", lines.collect())
}

fn is_order(text: &str) -> bool {
    ["say ", "run ", "think "].iter().any(|word| text.starts_with(word))
}

fn asked<'a>(mut texts: impl DoubleEndedIterator<Item = &'a str>) -> Asked {
    let found = texts.rfind(|text| is_order(text));
    match found.and_then(|text| text.trim().split_once(' ')) {
        Some(("say", text)) => Asked::Say(text.to_owned()),
        Some(("think", _)) => Asked::Think,
        Some((_, command)) => Asked::Run(command.to_owned()),
        None => Asked::Other,
    }
}

impl Asked {
    fn said(&self) -> String {
        match self {
            Self::Say(text) => format!("{text}, says the stand-in."),
            Self::Ran => "It ran, says the stand-in.".to_owned(),
            Self::Run(_) | Self::Think | Self::Other => "Stand-in".to_owned(),
        }
    }
}

fn all(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn texts(parts: &Value) -> impl DoubleEndedIterator<Item = &str> {
    all(parts).iter().filter_map(|part| part["text"].as_str())
}

/// A message of Anthropic, as a stream.
fn anthropic(body: &Value) -> Vec<Value> {
    let of_person = all(&body["messages"]).iter().filter(|message| message["role"] == "user");
    // The program may send the outcome of a command again with what the person asks next.
    let parts: Vec<&Value> = of_person.flat_map(|message| all(&message["content"])).collect();
    let text = parts.iter().rposition(|part| part["text"].as_str().is_some_and(is_order));
    let ran = parts.iter().rposition(|part| part["type"] == "tool_result");
    let asked = match (text, ran) {
        (text, ran) if ran > text => Asked::Ran,
        (Some(text), _) => asked(parts[text]["text"].as_str().into_iter()),
        (None, _) => Asked::Other,
    };
    if matches!(asked, Asked::Think) {
        thread::sleep(LONG);
    }
    let (block, delta, reason) = match &asked {
        Asked::Run(command) => (
            json!({"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}),
            json!({"type": "input_json_delta",
                "partial_json": json!({"command": command, "description": "As asked"}).to_string()}),
            "tool_use",
        ),
        Asked::Say(_) | Asked::Think | Asked::Ran | Asked::Other => (
            json!({"type": "text", "text": ""}),
            json!({"type": "text_delta", "text": asked.said()}),
            "end_turn",
        ),
    };
    let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"],
        "content": [], "stop_reason": null, "stop_sequence": null,
        "usage": {"input_tokens": 1, "output_tokens": 1}});
    vec![
        json!({"type": "message_start", "message": message}),
        json!({"type": "content_block_start", "index": 0, "content_block": block}),
        json!({"type": "content_block_delta", "index": 0, "delta": delta}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null},
            "usage": {"output_tokens": 1}}),
        json!({"type": "message_stop"}),
    ]
}

/// A response of OpenAI, as a stream.
fn openai(body: &Value) -> Vec<Value> {
    let input = all(&body["input"]);
    let of_person =
        input.iter().rposition(|item| item["type"] == "message" && item["role"] == "user");
    let ran = input.iter().rposition(|item| item["type"] == "function_call_output");
    let asked = match (of_person, ran) {
        // Without tools it is about a title.
        _ if all(&body["tools"]).is_empty() => Asked::Other,
        (person, ran) if ran > person => Asked::Ran,
        (Some(person), _) => asked(
            input
                .get(person)
                .into_iter()
                .flat_map(|item| texts(&item["content"]))
                .collect::<Vec<_>>()
                .into_iter(),
        ),
        (None, _) => Asked::Other,
    };
    let item = match &asked {
        Asked::Run(command) => json!({"type": "function_call", "id": "fc_1", "call_id": "call_1",
            "name": "exec_command",
            "arguments": json!({"cmd": command, "sandbox_permissions": "require_escalated",
                "justification": "As asked"}).to_string()}),
        Asked::Say(_) | Asked::Think | Asked::Ran | Asked::Other => {
            json!({"type": "message", "role": "assistant", "id": "msg_1",
            "content": [{"type": "output_text", "text": asked.said(), "annotations": []}]})
        }
    };
    let usage = json!({"input_tokens": 1, "input_tokens_details": null, "output_tokens": 1,
        "output_tokens_details": null, "total_tokens": 2});
    vec![
        json!({"type": "response.created", "response": {"id": "resp_1"}}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
        json!({"type": "response.completed", "response": {"id": "resp_1", "usage": usage}}),
    ]
}

/// Contents of Google, as a stream.
fn google(body: &Value) -> Vec<Value> {
    let last =
        all(&body["contents"]).last().map(|content| &content["parts"]).unwrap_or(&Value::Null);
    let asked = match all(last).iter().any(|part| part.get("functionResponse").is_some()) {
        true => Asked::Ran,
        false => asked(texts(last)),
    };
    let part = match &asked {
        Asked::Run(command) => json!({"functionCall": {"name": "run_shell_command",
            "args": {"command": command, "description": "As asked"}}}),
        Asked::Say(_) | Asked::Think | Asked::Ran | Asked::Other => json!({"text": asked.said()}),
    };
    vec![candidate(&part)]
}

fn candidate(part: &Value) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
        "modelVersion": "stand-in"})
}
