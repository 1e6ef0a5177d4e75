//! `onsembl-agent hook EVENT`: what a program runs as its hook. It says the event to the agent and ends, within a
//! second and with success, whatever becomes of that: a program must not fail for who watches it.

use super::{MOST_BYTES, Message, RUN, SOCKET, WITHIN};
use onsembl_protocol::id::CommandId;
use serde_json::Value;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Instant;

/// The most that is read of what a program says: it may hold a whole file that is written.
const MOST_INPUT: u64 = 16 * 1024 * 1024;

/// Longest text that is handed on; the core shows less.
const MOST_TEXT: usize = 512;

/// Most members of an object or a list that are handed on, and how deep.
const MOST_MEMBERS: usize = 64;
const DEEPEST: usize = 6;

/// Says the event, at most for [`WITHIN`]. `words`: the event, and what the program appends, which is the JSON of those
/// that do not write it to the standard input of a hook.
pub(crate) fn run(words: Vec<String>) {
    let (done, wait) = mpsc::channel();
    // What blocks ends with the process.
    let spawned = std::thread::Builder::new().spawn(move || {
        say(words, Instant::now());
        let _ = done.send(());
    });
    if spawned.is_ok() {
        let _ = wait.recv_timeout(WITHIN);
    }
}

fn say(words: Vec<String>, began: Instant) -> Option<()> {
    // Without them it was not started by an agent.
    let socket = PathBuf::from(std::env::var_os(SOCKET)?);
    let run = CommandId::new(std::env::var(RUN).ok()?);
    let mut words = words.into_iter();
    let event = words.next()?;
    let text = match words.next_back() {
        Some(appended) => appended.into_bytes(),
        None => standard_input(),
    };
    let input = serde_json::from_slice(&text).map_or(Value::Null, |input| shortened(input, 0));
    let ago_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut message = Message { run, event, ago_ms, input };
    let mut line = serde_json::to_vec(&message).ok()?;
    if line.len() >= MOST_BYTES {
        message.input = Value::Null;
        line = serde_json::to_vec(&message).ok()?;
    }
    line.push(b'\n');
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_write_timeout(Some(WITHIN)).ok()?;
    stream.set_read_timeout(Some(WITHIN)).ok()?;
    stream.write_all(&line).ok()?;
    // The agent has it: what the program does next comes behind it.
    let mut taken = [0];
    let _ = stream.read(&mut taken).ok()?;
    Some(())
}

fn standard_input() -> Vec<u8> {
    let mut text = Vec::new();
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let _ = stdin.lock().take(MOST_INPUT).read_to_end(&mut text);
    }
    text
}

/// The same with long texts cut, and without what is deep inside.
fn shortened(value: Value, depth: usize) -> Value {
    match value {
        Value::String(mut text) => {
            text.truncate(text.floor_char_boundary(MOST_TEXT));
            Value::String(text)
        }
        Value::Array(_) | Value::Object(_) if depth >= DEEPEST => Value::Null,
        Value::Array(all) => {
            let all = all.into_iter().take(MOST_MEMBERS);
            all.map(|value| shortened(value, depth.saturating_add(1))).collect()
        }
        Value::Object(all) => {
            let all = all.into_iter().take(MOST_MEMBERS);
            all.map(|(name, value)| (name, shortened(value, depth.saturating_add(1)))).collect()
        }
        value @ (Value::Null | Value::Bool(_) | Value::Number(_)) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_long_or_deep_is_cut() {
        let long = "\u{e9}".repeat(10_000);
        let mut deep = json!("x");
        for _ in 0..100 {
            deep = json!([deep]);
        }
        let many = vec![1; 1000];
        let input = json!({ "tool_name": "Write", "content": long, "deep": deep, "many": many });
        let short = shortened(input, 0);
        assert_eq!(short["tool_name"], "Write");
        assert_eq!(short["content"].as_str().unwrap().len(), MOST_TEXT);
        assert_eq!(short["many"].as_array().unwrap().len(), MOST_MEMBERS);
        assert!(serde_json::to_vec(&short).unwrap().len() < 2 * MOST_TEXT);
    }

    #[test]
    fn a_hook_that_no_agent_started_does_nothing() {
        let began = Instant::now();
        assert_eq!(say(vec!["stop".into(), "{}".into()], began), None);
        assert!(began.elapsed() < WITHIN);
    }
}
