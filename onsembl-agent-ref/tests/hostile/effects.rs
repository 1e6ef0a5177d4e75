//! What each attack must move: a counter of the server, rows of the attacker, or what the attacker was answered. An
//! attack that does nothing, because it asks for what does not exist or is refused at the door, fails by it.

use crate::bench::Bench;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

/// What grows by at least so much while an attack runs.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    /// A counter of `/metrics`, by its name and labels as they stand there.
    Metric(&'static str, u64),
    /// An event that the server counts, by its name.
    Event(&'static str, u64),
    /// What this query of the database gives.
    Rows(&'static str, u64),
    /// How often the attacker heard or did this: see [`note`].
    Heard(&'static str, u64),
}

/// The file to which an attacker writes what it heard.
pub const HEARD: &str = "ONSEMBL_ATTACK_HEARD";

static NOTED: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

/// Notes something that the attacker heard or did: `connected`, `sent`, `HTTP 200`, `ACK`, `ERROR QUEUE_FULL`.
pub fn note(what: &str) {
    let mut noted = NOTED.lock().unwrap();
    match noted.get_mut(what) {
        Some(count) => *count += 1,
        None => drop(noted.insert(what.to_owned(), 1)),
    }
}

/// Notes a message of the server by its type, and an error by its code too.
pub fn note_message(text: &str) {
    let word = |field: &str| {
        let (_, rest) = text.split_once(&format!(r#""{field}":""#))?;
        Some(rest.split_once('"')?.0)
    };
    match (word("type"), word("code")) {
        (Some("ERROR"), Some(code)) => {
            let why = word("message").unwrap_or_default();
            note(&format!("ERROR {code} {}", why.chars().take(80).collect::<String>()));
        }
        (Some(kind), _) => note(kind),
        (None, _) => {}
    }
}

/// Notes the status of a response.
pub fn note_response(bytes: &[u8]) {
    if let Some(status) = bytes.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3)) {
        note(&format!("HTTP {}", String::from_utf8_lossy(status)));
    }
}

/// Writes what was noted to the file that was asked for, again and again.
pub fn write_notes() {
    let Some(path) = std::env::var_os(HEARD) else { return };
    let write = move || {
        loop {
            std::thread::sleep(Duration::from_millis(200));
            let text = serde_json::to_string(&*NOTED.lock().unwrap()).unwrap();
            // Whole, whenever this process is killed.
            let new = Path::new(&path).with_extension("new");
            if std::fs::write(&new, text).is_ok() {
                let _ = std::fs::rename(&new, &path);
            }
        }
    };
    drop(std::thread::spawn(write));
}

/// What there was at a moment.
pub struct Seen {
    values: Vec<u64>,
    heard: BTreeMap<String, u64>,
}

/// How far all effects of an attack are.
pub fn look(effects: &[Effect], bench: &Bench, heard: &Path) -> Seen {
    let metrics = metrics(bench);
    let heard: BTreeMap<String, u64> = std::fs::read_to_string(heard)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let value = |effect: &Effect| match *effect {
        Effect::Metric(name, _) => metrics.get(name).copied().unwrap_or(0),
        Effect::Event(name, _) => {
            let name = format!(r#"onsembl_events_total{{event="{name}"}}"#);
            metrics.get(&name).copied().unwrap_or(0)
        }
        Effect::Rows(query, _) => rows(bench, query),
        Effect::Heard(what, _) => {
            let of_it = heard.iter().filter(|(name, _)| name.starts_with(what));
            of_it.map(|(_, count)| count).sum()
        }
    };
    let values = effects.iter().map(value).collect();
    Seen { values, heard }
}

/// How much of its effects an attack must have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// Each, as much as it says.
    Whole,
    /// Any at all: how far a second of a debug build goes depends on the machine.
    Trace,
}

/// How much each effect grew.
pub fn moved(effects: &[Effect], before: &Seen, after: &Seen) -> String {
    let values = before.values.iter().zip(&after.values);
    let grown = effects.iter().zip(values.map(|(before, after)| after.saturating_sub(*before)));
    let words = grown.map(|(effect, grown)| {
        let (Effect::Metric(name, least)
        | Effect::Event(name, least)
        | Effect::Rows(name, least)
        | Effect::Heard(name, least)) = effect;
        let name: String = name.chars().take(60).collect();
        format!("{grown} of {least} {name:?}")
    });
    words.collect::<Vec<_>>().join(", ")
}

/// The effects that an attack did not have.
pub fn missing(effects: &[Effect], demand: Demand, before: &Seen, after: &Seen) -> Vec<String> {
    let values = before.values.iter().zip(&after.values);
    let grown = values.map(|(before, after)| after.saturating_sub(*before));
    let grown: Vec<(&Effect, u64)> = effects.iter().zip(grown).collect();
    let has_trace = grown.iter().any(|(_, grown)| *grown > 0);
    let is_met = |effect: &Effect, grown: u64| match demand {
        Demand::Trace => has_trace,
        Demand::Whole => {
            let (Effect::Metric(_, least)
            | Effect::Event(_, least)
            | Effect::Rows(_, least)
            | Effect::Heard(_, least)) = effect;
            grown >= *least
        }
    };
    let heard = &after.heard;
    let missing = grown.iter().filter(|(effect, grown)| !is_met(effect, *grown));
    missing
        .map(|(effect, grown)| format!("it has no effect: {effect:?} is {grown}; heard {heard:?}"))
        .collect()
}

/// What this query of the database gives.
pub fn rows(bench: &Bench, query: &str) -> u64 {
    let database = rusqlite::Connection::open(bench.data().join("onsembl.db")).expect("a database");
    database.busy_timeout(Duration::from_secs(10)).expect("a timeout");
    let count: i64 = database.query_row(query, [], |row| row.get(0)).expect("a number");
    count.cast_unsigned()
}

/// The counters of the server, by name and labels.
fn metrics(bench: &Bench) -> BTreeMap<String, u64> {
    if bench.scheme != "http" {
        return BTreeMap::new();
    }
    let token = bench.token("metrics");
    let mut stream = TcpStream::connect(&bench.address).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let request = format!(
        "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("a request");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("a page");
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    let number = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    page.lines().filter(|line| !line.starts_with('#')).filter_map(number).collect()
}
