//! The lines of a recording: one JSON object each, with a check behind it.
//!
//! The first line is the head, each further one an entry, the last one the end mark. The check of a
//! line covers the line and the check of the line before, so a line that was changed, lost, moved or
//! added is found where it stands. One writer serves the export and the replay, so what is compared
//! was written by the same code.

use super::check;
use super::machine::Recordable;
use crate::step::Actions;
use crate::time::{Deadline, Now, Timestamp, WallTime};
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

/// The name of the format, in the first line.
pub(crate) const FORMAT: &str = "onsembl-recording";

/// The version of the format that is written and read here.
pub(crate) const VERSION: u64 = 1;

/// The longest line that is read, in bytes. A real one has less than 2 KiB.
pub const MAX_LINE: usize = 64 * 1024;

/// What stands between a line's content and its end: `,"check":"0123abcd"}`.
const CHECK: &[u8] = b",\"check\":\"";
const CHECK_DIGITS: usize = 8;
const CHECK_END: &[u8] = b"\"}";

/// What the first line of a recording says.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Head<M: Recordable> {
    pub agent: String,
    /// The values the machine lives by.
    pub config: M::Config,
    /// Its seeds: one for an agent's machine, none for a server's.
    pub seeds: Vec<u64>,
    /// Entries before the first one of the recording that are not in it.
    pub dropped: u64,
}

/// How an entry begins a machine.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Start<O, S> {
    Origin(O),
    /// It was like this; what came before is not in the recording.
    Checkpoint(S),
}

/// A wall time in RFC 3339.
pub(super) struct Label(pub(super) WallTime);

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[derive(Serialize)]
struct HeadLine<'a, C> {
    format: &'static str,
    version: u64,
    core: &'static str,
    machine: &'static str,
    agent: &'a str,
    config: &'a C,
    seeds: &'a [u64],
    clock_origins: ClockOrigins,
    dropped: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdicts: Option<&'a RawValue>,
}

/// What the wall said when the other clocks were at their origins.
#[derive(Serialize)]
struct ClockOrigins {
    monotonic: Label,
    boot: Label,
}

/// The first part of an entry: what went in.
#[derive(Serialize)]
struct Inputs<'a, E, T, F> {
    n: u64,
    time: Label,
    at: Now,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<E>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frame: Option<&'a F>,
}

#[derive(Serialize)]
struct EndLine {
    end: End,
}

/// The end mark.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct End {
    /// Entries in the recording.
    pub(super) count: u64,
}

#[derive(Serialize)]
struct FailedLine<'a> {
    failed: Failed<'a>,
}

/// The exporter could not reproduce its own history.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Failed<'a> {
    pub(super) n: u64,
    pub(super) why: &'a str,
}

/// What an entry is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum What<E, O, S> {
    Start(Start<O, S>),
    Event(E),
}

/// An entry of machine `M`.
pub(super) type WhatOf<M> =
    What<<M as Recordable>::Event, <M as Recordable>::Origin, <M as Recordable>::Snapshot>;

/// Writes lines one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tape {
    pub(super) n: u64,
    /// The check of the line before.
    pub(super) check: u32,
}

impl Tape {
    pub(super) const fn new() -> Self {
        Self { n: 0, check: 0 }
    }

    /// The first line. `verdicts` are for people, and nothing of them is replayed: they stand here because a reader
    /// that does not know them passes over them.
    pub(super) fn head<M: Recordable>(
        &mut self,
        head: &Head<M>,
        verdicts: Option<&RawValue>,
        now: Now,
        out: &mut Vec<u8>,
    ) {
        let before = |clock: Timestamp| {
            let elapsed = i64::try_from(clock.since_origin().as_millis()).unwrap_or(i64::MAX);
            Label(WallTime::from_unix_millis(now.wall.unix_millis().saturating_sub(elapsed)))
        };
        let line = HeadLine {
            format: FORMAT,
            version: VERSION,
            core: env!("CARGO_PKG_VERSION"),
            machine: M::NAME,
            agent: &head.agent,
            config: &head.config,
            seeds: &head.seeds,
            clock_origins: ClockOrigins {
                monotonic: before(now.monotonic),
                boot: before(now.boot),
            },
            dropped: head.dropped,
            verdicts,
        };
        self.write(&line, out);
    }

    pub(super) fn entry<M: Recordable, F: Serialize>(
        &mut self,
        what: &WhatOf<M>,
        now: Now,
        frame: Option<&F>,
        done: Done<'_, M::Action>,
        out: &mut Vec<u8>,
    ) {
        self.n = self.n.saturating_add(1);
        let (start, event) = match what {
            What::Start(start) => (Some(start), None),
            What::Event(event) => (None, Some(event)),
        };
        let inputs = Inputs { n: self.n, time: Label(now.wall), at: now, start, event, frame };
        let from = out.len();
        json(&inputs, out);
        let _brace = out.pop();
        outcome(done, out);
        self.seal(from, out);
    }

    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        self.write(&EndLine { end: End { count: self.n } }, out);
    }

    pub(super) fn failed(&mut self, why: &str, out: &mut Vec<u8>) {
        let n = self.n.saturating_add(1);
        self.write(&FailedLine { failed: Failed { n, why } }, out);
    }

    fn write<T: Serialize>(&mut self, line: &T, out: &mut Vec<u8>) {
        let from = out.len();
        json(line, out);
        let _brace = out.pop();
        self.seal(from, out);
    }

    /// Ends the line that begins at `from` with its check.
    fn seal(&mut self, from: usize, out: &mut Vec<u8>) {
        self.check = check::of_line(self.check, out.get(from..).unwrap_or_default());
        out.extend_from_slice(CHECK);
        out.extend_from_slice(&digits(self.check));
        out.extend_from_slice(CHECK_END);
        out.push(b'\n');
    }
}

/// What a step did: its actions, its deadline, and the status it left.
pub(super) type Done<'a, A> = (&'a Actions<A>, Deadline, &'static str);

/// The second part of an entry: what came out.
pub(super) fn outcome<A: Copy + Serialize>(
    (actions, deadline, status): Done<'_, A>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b",\"actions\":");
    if actions.is_empty() {
        out.extend_from_slice(b"[]");
    } else {
        json(actions, out);
    }
    out.extend_from_slice(b",\"deadline\":");
    match deadline {
        Deadline::Never => out.extend_from_slice(b"null"),
        Deadline::At(at) => json(&at, out),
    }
    out.extend_from_slice(b",\"status\":\"");
    out.extend_from_slice(status.as_bytes());
    out.push(b'"');
}

/// These are structs of texts, numbers and lists, which cannot fail to be written. If one did, the line
/// would be broken, and its reader says so.
fn json<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    out.extend_from_slice(&serde_json::to_vec(value).unwrap_or_default());
}

fn digits(check: u32) -> [u8; CHECK_DIGITS] {
    let mut digits = [0; CHECK_DIGITS];
    for (index, digit) in digits.iter_mut().rev().enumerate() {
        let nibble = (check >> (4 * index)) as u8 & 0xf;
        *digit = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    }
    digits
}

/// A line without its check, and the check. `None` if it has none.
pub(super) fn split(line: &[u8]) -> Option<(&[u8], u32)> {
    let rest = line.strip_suffix(CHECK_END)?;
    let (rest, written) = rest.split_last_chunk::<CHECK_DIGITS>()?;
    let content = rest.strip_suffix(CHECK)?;
    let mut check = 0;
    for digit in written {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        check = check << 4 | u32::from(value);
    }
    Some((content, check))
}
