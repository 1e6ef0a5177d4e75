//! Reads a recording line by line and feeds it to the core.
//!
//! It holds one machine and one line, however long the file is.

use super::check;
use super::error::{Difference, ReplayError};
use super::inputs::{self, Inputs};
use super::line::{self, FORMAT, Failed, MAX_LINE, Start, Tape, VERSION, What, WhatOf};
use super::machine::Recordable;
use super::script;
use crate::session::{AgentConnection, ServerConnection};
use crate::time::WallTime;
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A replay in progress: hand it every line with [`line`](Self::line), then [`finish`](Self::finish) it.
#[derive(Debug)]
pub struct Replay {
    lines: u64,
    stage: Stage,
    about: Replayed,
    /// What the core does, as it would be written; kept to be written to again.
    expected: Vec<u8>,
}

/// A recording that the core still reproduces.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Replayed {
    /// Which machine: `server` or `agent`.
    pub machine: &'static str,
    pub agent: String,
    /// The core that made the recording.
    pub core: String,
    /// Entries that were replayed.
    pub entries: u64,
    /// Entries before them that are not in the recording.
    pub dropped: u64,
    /// When the first and the last one happened.
    pub from_to: Option<(WallTime, WallTime)>,
    /// Why the agent was away, as its server said when it exported the recording: JSON with `drops` and `pattern`, as
    /// `GET /api/agents/{id}/why` answers. Nothing of it is replayed.
    pub verdicts: Option<String>,
}

#[derive(Debug)]
enum Stage {
    Head,
    Server(Box<Player<ServerConnection>>),
    Agent(Box<Player<AgentConnection>>),
    Ended,
}

#[derive(Debug)]
struct Player<M: Recordable> {
    config: M::Config,
    seeds: Vec<u64>,
    machine: Option<M>,
    tape: Tape,
}

/// What tells a recording from another file, and one version from another.
#[derive(Deserialize)]
struct Probe<'a> {
    #[serde(borrow)]
    format: Option<Cow<'a, str>>,
    version: Option<u64>,
    #[serde(borrow)]
    core: Option<Cow<'a, str>>,
    #[serde(borrow)]
    machine: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Head<'a, C> {
    agent: String,
    config: C,
    seeds: Vec<u64>,
    dropped: u64,
    #[serde(borrow)]
    verdicts: Option<&'a RawValue>,
}

/// The parts of a line that are shown to people.
#[derive(Deserialize)]
struct Shown<'a> {
    time: &'a str,
    #[serde(borrow)]
    start: Option<&'a RawValue>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    actions: &'a RawValue,
    #[serde(borrow)]
    deadline: &'a RawValue,
    status: &'a str,
}

/// Replays a whole recording.
///
/// ```
/// use onsembl_protocol::replay::replay;
/// # let recording = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings/agent.jsonl"));
///
/// let replayed = replay(recording).unwrap();
/// assert!(replayed.entries > 10);
/// // The same without its end is no whole recording.
/// let (cut, _) = recording.trim_end().rsplit_once('\n').unwrap();
/// assert!(replay(cut).is_err());
/// ```
///
/// # Errors
/// See [`ReplayError`]: [`Differs`](ReplayError::Differs) if the core does something else now, any
/// other if the text is not a whole recording that can be read here.
pub fn replay(text: &str) -> Result<Replayed, ReplayError> {
    let mut replay = Replay::new();
    for line in text.split_terminator('\n') {
        replay.line(line.as_bytes())?;
    }
    replay.finish()
}

impl Replay {
    /// Awaits the first line.
    pub const fn new() -> Self {
        let about = Replayed {
            machine: "",
            agent: String::new(),
            core: String::new(),
            entries: 0,
            dropped: 0,
            from_to: None,
            verdicts: None,
        };
        Self { lines: 0, stage: Stage::Head, about, expected: Vec::new() }
    }

    /// Takes the next line, without its line feed. Hand over no more than [`MAX_LINE`] bytes and one
    /// of a longer line. After an error nothing more is to be handed over.
    ///
    /// # Errors
    /// See [`replay`].
    pub fn line(&mut self, line: &[u8]) -> Result<(), ReplayError> {
        self.lines = self.lines.saturating_add(1);
        if line.len() > MAX_LINE {
            let why = format!("longer than {MAX_LINE} bytes");
            return Err(match self.stage {
                Stage::Head => ReplayError::Foreign { why },
                Stage::Server(_) | Stage::Agent(_) | Stage::Ended => self.corrupt(why),
            });
        }
        let ended = match &mut self.stage {
            Stage::Head => {
                self.stage = self.head(line)?;
                false
            }
            Stage::Server(player) => {
                player.line(line, self.lines, &mut self.about, &mut self.expected)?
            }
            Stage::Agent(player) => {
                player.line(line, self.lines, &mut self.about, &mut self.expected)?
            }
            Stage::Ended => return Err(self.corrupt("there is data after the end mark")),
        };
        if ended {
            self.stage = Stage::Ended;
        }
        Ok(())
    }

    /// There are no more lines.
    ///
    /// # Errors
    /// The end mark is missing.
    pub fn finish(self) -> Result<Replayed, ReplayError> {
        match self.stage {
            Stage::Head => Err(ReplayError::Empty),
            Stage::Server(_) | Stage::Agent(_) => Err(ReplayError::Truncated { lines: self.lines }),
            Stage::Ended => Ok(self.about),
        }
    }

    fn corrupt(&self, why: impl Into<String>) -> ReplayError {
        ReplayError::Corrupt { line: self.lines, why: why.into() }
    }

    fn head(&mut self, line: &[u8]) -> Result<Stage, ReplayError> {
        let foreign = |why: String| ReplayError::Foreign { why };
        let text = core::str::from_utf8(line).map_err(|_| foreign("it is not text".into()))?;
        if text.is_empty() {
            return Err(foreign("it is empty".into()));
        }
        let probe: Probe<'_> = serde_json::from_str(text)
            .map_err(|error| foreign(format!("not a JSON object ({error})")))?;
        match (probe.format.as_deref(), probe.version) {
            (Some(FORMAT), Some(version)) if version > VERSION => {
                return Err(ReplayError::Newer { found: version, known: VERSION });
            }
            (Some(FORMAT), Some(VERSION)) => {}
            (Some(FORMAT), _) => return Err(self.corrupt("its version is missing or invalid")),
            (_, _) => return Err(foreign(format!("its `format` is not {FORMAT:?}"))),
        }
        let (_, check) = checked(line, 0, 1)?;
        self.about.core = probe.core.map(String::from).unwrap_or_default();
        match probe.machine.as_deref() {
            Some(ServerConnection::NAME) => Ok(Stage::Server(Box::new(self.player(text, check)?))),
            Some(AgentConnection::NAME) => Ok(Stage::Agent(Box::new(self.player(text, check)?))),
            _ => Err(self.unreadable("it records a machine unknown to this version")),
        }
    }

    fn player<M: Recordable>(&mut self, text: &str, check: u32) -> Result<Player<M>, ReplayError> {
        let head: Head<'_, M::Config> =
            serde_json::from_str(text).map_err(|error| self.unreadable(&error.to_string()))?;
        self.about.machine = M::NAME;
        self.about.agent = head.agent;
        self.about.dropped = head.dropped;
        self.about.verdicts = head.verdicts.map(|verdicts| verdicts.get().into());
        let tape = Tape { n: 0, check };
        Ok(Player { config: head.config, seeds: head.seeds, machine: None, tape })
    }

    fn unreadable(&self, why: &str) -> ReplayError {
        let core = self.about.core.clone();
        ReplayError::Unreadable { line: self.lines, why: why.into(), core }
    }
}

impl Default for Replay {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Recordable> Player<M> {
    /// Takes a line; whether it was the last one.
    fn line(
        &mut self,
        line: &[u8],
        number: u64,
        about: &mut Replayed,
        expected: &mut Vec<u8>,
    ) -> Result<bool, ReplayError> {
        let (content, check) = checked(line, self.tape.check, number)?;
        let unreadable = |why: String| {
            let core = about.core.clone();
            ReplayError::Unreadable { line: number, why, core }
        };
        let read: Inputs<'_, M> =
            inputs::read(line).map_err(|error| unreadable(error.to_string()))?;
        if let Some(Failed { n, why }) = read.failed {
            return Err(ReplayError::Unproven { line: number, n, why: why.into() });
        }
        if let Some(end) = read.end {
            return if end.count == self.tape.n {
                Ok(true)
            } else {
                let why = format!("the end mark counts {}, there are {}", end.count, self.tape.n);
                Err(ReplayError::Corrupt { line: number, why })
            };
        }
        let n = self.tape.n.saturating_add(1);
        if read.n != Some(n) {
            return Err(unreadable(format!("it is not entry {n}, which was expected")));
        }
        let what: WhatOf<M> = match (read.start, read.event) {
            (Some(start), None) => What::Start(start),
            (None, Some(event)) => What::Event(event),
            (Some(_), Some(_)) | (None, None) => {
                return Err(unreadable("neither one start nor one event".into()));
            }
        };
        let now = read.at.ok_or_else(|| unreadable("`at` is missing".into()))?;
        let step = match what {
            What::Start(Start::Checkpoint(_)) if self.machine.is_some() => {
                return Err(unreadable("a checkpoint in the middle".into()));
            }
            What::Start(start) => {
                let (machine, step) = script::start(self.config, &self.seeds, start, now)
                    .ok_or_else(|| unreadable("the first line has no seed".into()))?;
                self.machine = Some(machine);
                step
            }
            What::Event(event) => match &mut self.machine {
                Some(machine) => machine.handle(event, now),
                None => return Err(unreadable("an event before any start".into())),
            },
        };
        let status = self.machine.as_ref().map(M::status).unwrap_or_default();
        expected.clear();
        line::outcome((&step.actions, step.deadline, status), expected);
        if !content.ends_with(expected) {
            return Err(differs(number, n, line, expected, about));
        }
        self.tape = Tape { n, check };
        about.entries = self.tape.n;
        about.from_to = Some((about.from_to.map_or(now.wall, |(from, _)| from), now.wall));
        Ok(false)
    }
}

/// A line without its check, and the check, which is right.
fn checked(line: &[u8], before: u32, number: u64) -> Result<(&[u8], u32), ReplayError> {
    let corrupt = |why: &str| ReplayError::Corrupt { line: number, why: why.into() };
    let (content, check) =
        line::split(line).ok_or_else(|| corrupt("it does not end in a check"))?;
    if check::of_line(before, content) != check {
        return Err(corrupt("its check does not match it and the previous line"));
    }
    Ok((content, check))
}

fn parts(line: &str) -> Option<Shown<'_>> {
    serde_json::from_str(line).ok()
}

fn differs(line: u64, n: u64, was: &[u8], outcome: &[u8], about: &Replayed) -> ReplayError {
    let text = |bytes| core::str::from_utf8(bytes).unwrap_or_default();
    let now = format!("{{\"time\":\"\"{}}}", text(outcome));
    let done = |line: &str| match parts(line) {
        Some(s) => format!("{}, actions {}, deadline {}", s.status, s.actions, s.deadline),
        None => line.into(),
    };
    let event = parts(text(was)).map_or_else(String::new, |s| {
        format!("{} {}", s.time, s.event.or(s.start).map_or("", RawValue::get))
    });
    let (was, now) = (done(text(was)), done(&now));
    let core = about.core.clone();
    ReplayError::Differs(Box::new(Difference { line, n, event, was, now, core }))
}
