//! Whether what is said now is like what was recorded: the same types, the same fields, the same values,
//! but for ids that are new each time, which must correspond one to one, and for times.

use super::rewordings::reworded;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What times must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Times {
    /// Any time.
    Any,
    /// What is stored was moved by this many milliseconds. What happened at `recorded_at` or later, by the
    /// recording's clock, may have any time.
    Moved { by: i64, recorded_at: i64 },
}

/// Fields that an answer may have since, and that who does not know them does without: where a list that was cut
/// by `limit` continues (P-293), what an agent will be next, on what evidence, and how its heartbeats
/// fare.
const ADDED: &[&str] = &["next", "next_state", "next_change_at", "confidence", "evidence", "beats"];

/// Fields that hold a time in milliseconds.
const TIMES: &[&str] = &[
    "timestamp",
    "serverTime",
    "nextPingExpected",
    "at",
    "startedAt",
    "completedAt",
    "openedAt",
    "recorded_at",
];

/// Fields that hold what was measured.
const MEASURES: &[&str] = &[
    "ageMs",
    "cpuUsage",
    "memoryUsage",
    "uptime",
    "executionTime",
    "duration",
    "latency",
    "averageResponseTime",
    "activeCommands",
];

/// Fields whose whole value may be another one, as long as it is the same one each time.
const NAMES: &[&str] = &["version", "hostMachine"];

/// How what was recorded corresponds to what is said now.
#[derive(Clone, Debug)]
pub(crate) struct Likeness {
    times: Times,
    /// What was recorded, and what stands for it now.
    now: BTreeMap<String, String>,
    /// The other way round.
    then: BTreeMap<String, String>,
}

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Id(&'a str),
    /// As RFC 3339.
    Time(&'a str),
}

impl Likeness {
    pub(crate) fn new(times: Times) -> Self {
        Self { times, now: BTreeMap::new(), then: BTreeMap::new() }
    }

    /// Compares two messages, bodies or lines of JSON; texts that are none are compared as texts.
    pub(crate) fn texts(&mut self, recorded: &str, now: &str) -> Result<(), String> {
        let (then_lines, now_lines) = (recorded.lines().count(), now.lines().count());
        if then_lines != now_lines {
            return Err(format!("{then_lines} lines were recorded, now there are {now_lines}"));
        }
        for (then, now) in recorded.lines().zip(now.lines()) {
            match (serde_json::from_str(then), serde_json::from_str(now)) {
                (Ok(then), Ok(now)) => self.values(&then, &now)?,
                _ => self.sentences("", then, now)?,
            }
        }
        Ok(())
    }

    /// Compares two values; what corresponds is remembered only if they are alike.
    pub(crate) fn values(&mut self, recorded: &Value, now: &Value) -> Result<(), String> {
        let mut attempt = self.clone();
        attempt.value("", "", recorded, now)?;
        *self = attempt;
        Ok(())
    }

    fn value(&mut self, at: &str, field: &str, then: &Value, now: &Value) -> Result<(), String> {
        match (then, now) {
            (Value::Object(then), Value::Object(now)) => self.objects(at, then, now),
            // A later version can do more, and says so (P-43).
            (Value::Array(then), Value::Array(now)) if field == "features" => {
                match then.iter().find(|feature| !now.contains(feature)) {
                    Some(feature) => Err(format!("{at} has no {feature} any more")),
                    None => Ok(()),
                }
            }
            (Value::Array(then), Value::Array(now)) if then.len() == now.len() => {
                let pairs = then.iter().zip(now).enumerate();
                pairs.into_iter().try_for_each(|(n, (then, now))| {
                    self.value(&format!("{at}[{n}]"), field, then, now)
                })
            }
            // Of a message. It is told apart by it on its link only.
            (Value::String(then), Value::String(now)) if at == ".id" => {
                let _ = self.now.insert(then.clone(), now.clone());
                Ok(())
            }
            (Value::String(then), Value::String(now)) if NAMES.contains(&field) => {
                self.correspond(at, then, now)
            }
            // How it was when the message was made, which another change gave rise to.
            (Value::String(_), Value::String(_)) if field == "activityState" => Ok(()),
            // It says by now into which terminal it was.
            (Value::String(then), Value::String(now))
                if then == "typed into the agent's terminal" && now.starts_with("typed into ") =>
            {
                Ok(())
            }
            (Value::String(then), Value::String(now)) => self.sentences(at, then, now),
            (Value::Number(a), Value::Number(b)) => match self.times {
                Times::Any if TIMES.contains(&field) || MEASURES.contains(&field) => Ok(()),
                Times::Any if field == "incarnation" => {
                    self.correspond(at, &a.to_string(), &b.to_string())
                }
                Times::Moved { .. } if TIMES.contains(&field) => {
                    self.moved(at, a.as_i64().unwrap_or(0), b.as_i64().unwrap_or(0))
                }
                // A terminal is ended with a hangup and a SIGTERM at once: its program ends by either.
                _ if field == "signal"
                    && [a, b].iter().all(|n| matches!(n.as_u64(), Some(1 | 15))) =>
                {
                    Ok(())
                }
                // Only which of two is greater says something (P-62); that none follows a greater one is seen where they
                // are heard.
                _ if field == "presenceVersion" => Ok(()),
                _ if a == b => Ok(()),
                _ => Err(different(at, then, now)),
            },
            (Value::Null, Value::Null) => Ok(()),
            (Value::Bool(a), Value::Bool(b)) if a == b => Ok(()),
            _ => Err(different(at, then, now)),
        }
    }

    fn objects(
        &mut self,
        at: &str,
        then: &Map<String, Value>,
        now: &Map<String, Value>,
    ) -> Result<(), String> {
        let is_new =
            |field: &&String| !then.contains_key(*field) && !ADDED.contains(&field.as_str());
        if let Some(field) = now.keys().find(is_new) {
            return Err(format!("{at}.{field} was not recorded, now it is {}", now[field]));
        }
        for (field, then) in then {
            let at = format!("{at}.{field}");
            let now = now.get(field).ok_or_else(|| format!("{at} is missing, it was {then}"))?;
            self.value(&at, field, then, now)?;
        }
        Ok(())
    }

    /// What a recorded peer said, or an earlier version stored, is passed on as it is; the rest is worded
    /// as it is now.
    fn sentences(&mut self, at: &str, then: &str, now: &str) -> Result<(), String> {
        self.strings(at, then, now).or_else(|_| {
            let [new, or] = reworded(then);
            self.strings(at, &new, now).or_else(|_| self.strings(at, &or, now))
        })
    }

    fn strings(&mut self, at: &str, then: &str, now: &str) -> Result<(), String> {
        if self.now.get(then).is_some_and(|bound| bound == now) {
            return Ok(());
        }
        let (pieces, others) = (pieces(then), pieces(now));
        if pieces.len() != others.len() {
            return Err(different(at, then, now));
        }
        for pair in pieces.into_iter().zip(others) {
            match pair {
                (Piece::Text(a), Piece::Text(b)) if a == b => {}
                (Piece::Id(a), Piece::Id(b)) => match self.times {
                    // What is stored has the ids that it had.
                    Times::Moved { recorded_at, .. } if made_at(a) < recorded_at => {
                        if a != b {
                            return Err(different(at, then, now));
                        }
                    }
                    _ => self.correspond(at, a, b)?,
                },
                (Piece::Time(a), Piece::Time(b)) => match self.times {
                    Times::Any => {}
                    Times::Moved { .. } => self.moved(at, millis(a), millis(b))?,
                },
                _ => return Err(different(at, then, now)),
            }
        }
        Ok(())
    }

    fn moved(&self, at: &str, then: i64, now: i64) -> Result<(), String> {
        match self.times {
            Times::Moved { by, recorded_at } if then < recorded_at && then + by != now => {
                Err(format!("{at} is {} ms off", now - then - by))
            }
            Times::Moved { .. } | Times::Any => Ok(()),
        }
    }

    /// From here on this was, and is, one and the same.
    fn correspond(&mut self, at: &str, then: &str, now: &str) -> Result<(), String> {
        let known = (self.now.get(then), self.then.get(now));
        match known {
            (None, None) => {
                let _ = self.now.insert(then.to_owned(), now.to_owned());
                let _ = self.then.insert(now.to_owned(), then.to_owned());
                Ok(())
            }
            (Some(bound), Some(back)) if bound == now && back == then => Ok(()),
            (bound, back) => Err(format!(
                "{at} is {now:?}, was {then:?}; that corresponds to {bound:?}, this to {back:?}"
            )),
        }
    }

    /// What was recorded of a message, as it has to be sent now. Ids in it that were not made again are its
    /// own.
    pub(crate) fn message(&mut self, recorded: &str) -> String {
        match serde_json::from_str::<Value>(recorded) {
            Ok(mut value) => {
                self.translate(&mut value);
                value.to_string()
            }
            Err(_) => recorded.to_owned(),
        }
    }

    fn translate(&mut self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (field, value) in fields {
                    if let (true, Value::Number(number)) = (field == "incarnation", &*value)
                        && let Some(bound) = self.now.get(&number.to_string())
                    {
                        *value = serde_json::from_str(bound).unwrap_or_default();
                    }
                    self.translate(value);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.translate(item)),
            Value::String(text) => *text = self.text(text),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// The same for a text.
    pub(crate) fn text(&mut self, recorded: &str) -> String {
        if let Some(bound) = self.now.get(recorded) {
            return bound.clone();
        }
        let mut text = String::new();
        for piece in pieces(recorded) {
            match piece {
                Piece::Text(part) | Piece::Time(part) => text.push_str(part),
                Piece::Id(id) => {
                    let _ = self.correspond("", id, id);
                    text.push_str(self.now.get(id).map_or(id, String::as_str));
                }
            }
        }
        text
    }
}

fn different(at: &str, then: impl std::fmt::Debug, now: impl std::fmt::Debug) -> String {
    let mut text = String::new();
    let _ = write!(text, "{at} is {now:?}, it was {then:?}");
    text
}

/// `0` stands for a digit, `x` for a hexadecimal one, everything else for itself.
fn fits(text: &[u8], form: &str) -> bool {
    text.len() >= form.len()
        && text.iter().zip(form.bytes()).all(|(&c, form)| match form {
            b'0' => c.is_ascii_digit(),
            b'x' => c.is_ascii_digit() || (b'a'..=b'f').contains(&c),
            other => c == other,
        })
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    const ID: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    const TIMES: [&str; 2] = ["0000-00-00T00:00:00.000Z", "0000-00-00T00:00:00Z"];
    let (mut pieces, mut begin, mut at) = (Vec::new(), 0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        let (length, is_time) = match TIMES.iter().find(|form| fits(rest, form)) {
            Some(form) => (form.len(), true),
            None if fits(rest, ID) => (ID.len(), false),
            None => {
                at += 1;
                continue;
            }
        };
        if begin < at {
            pieces.push(Piece::Text(&text[begin..at]));
        }
        let found = &text[at..at + length];
        pieces.push(if is_time { Piece::Time(found) } else { Piece::Id(found) });
        at += length;
        begin = at;
    }
    if begin < text.len() {
        pieces.push(Piece::Text(&text[begin..]));
    }
    pieces
}

/// When an id was made, if it says so (UUID, version 7).
fn made_at(id: &str) -> i64 {
    let hex: String = id.chars().filter(|&c| c != '-').take(12).collect();
    let is_timed = id.as_bytes().get(14) == Some(&b'7');
    if is_timed { i64::from_str_radix(&hex, 16).unwrap_or(0) } else { 0 }
}

/// A time in milliseconds since 1970.
fn millis(time: &str) -> i64 {
    let number = |from: usize, to: usize| -> i64 {
        time.get(from..to).and_then(|digits| digits.parse().ok()).unwrap_or(0)
    };
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    // Days since 1970, counted in years that begin in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
    let seconds =
        (days - 719_469) * 86_400 + number(11, 13) * 3_600 + number(14, 16) * 60 + number(17, 19);
    seconds * 1_000 + number(20, 23)
}

#[test]
fn what_differs_is_named_and_what_is_made_anew_corresponds() {
    const A: &str = "01a225bd-9b7e-76b3-8e35-ced45fa0901b";
    const B: &str = "01a225bd-9b83-7209-bb7c-4595e48e5816";
    let mut like = Likeness::new(Times::Any);
    let message = |agent: &str, more: &str| {
        format!(r#"{{"id":"m","timestamp":1,"payload":{{"agentId":"{agent}"{more}}}}}"#)
    };
    assert_eq!(like.texts(&message(A, ""), &message(B, "")), Ok(()));
    assert_eq!(like.text(&format!("/api/agents/{A}/audit")), format!("/api/agents/{B}/audit"));
    for (then, now) in [
        (message(A, ""), message(A, "")),
        (message(A, r#","n":1"#), message(B, "")),
        (message(A, ""), message(B, r#","n":1"#)),
        (message(A, r#","n":1"#), message(B, r#","n":2"#)),
        (message(A, r#","n":1"#), message(B, r#","m":1"#)),
        (message(A, r#","n":"1""#), message(B, r#","n":1"#)),
    ] {
        let mismatch = like.texts(&then, &now);
        assert!(mismatch.as_ref().is_err_and(|why| why.contains(".payload")), "{mismatch:?}");
    }
    assert_eq!(millis("1970-01-01T00:00:01Z"), 1_000);
    assert_eq!(millis("2026-11-29T05:18:32.679Z"), 1_795_929_512_679);
    assert_eq!(made_at("01a225bd-9b7e-76b3-8e35-ced45fa0901b"), 1_795_929_512_830);
    let mut moved = Likeness::new(Times::Moved { by: 5_000, recorded_at: 1_795_929_600_000 });
    let (then, now) = ("at 2026-11-29T05:18:32.679Z", "at 2026-11-29T05:18:37.679Z");
    assert_eq!(moved.texts(then, now), Ok(()));
    assert!(moved.texts(then, then).is_err());
    assert!(moved.texts(A, B).is_err(), "it is stored");
}
