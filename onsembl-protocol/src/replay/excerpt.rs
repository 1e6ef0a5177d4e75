//! What the ring holds of one agent, written as a recording.
//!
//! The ring has only the inputs. What the machine did is found by feeding them to it again, and held
//! against the digests that were taken when it did it: an export proves that it is what happened.

use super::check;
use super::compact::{CompactError, Reader};
use super::entry::{Kind, read_link, read_now};
use super::frame::FrameNote;
use super::line::{Head, Start, Tape, What, WhatOf};
use super::machine::Recordable as _;
use super::script;
use crate::diagnosis::{Finding, Verdict};
use crate::session::{ServerConfig, ServerConnection};
use alloc::boxed::Box;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use thiserror::Error;

/// What the verdicts of a recording may take of its first line, which has the length of any other at most.
const VERDICTS: usize = 48 * 1024;

/// A copy of what the ring holds of one agent; the ring may continue.
#[derive(Clone, Debug)]
pub struct Excerpt {
    config: ServerConfig,
    wall_origin: i64,
    dropped: u64,
    /// Entries, oldest first, each with its length in front.
    entries: Vec<u8>,
}

/// The lines of an [`Excerpt`].
#[derive(Clone, Debug)]
pub struct Lines {
    head: Head<ServerConnection>,
    verdicts: Option<Box<RawValue>>,
    wall_origin: i64,
    entries: Vec<u8>,
    next: usize,
    machine: Option<ServerConnection>,
    tape: Tape,
    over: bool,
    failed: bool,
}

/// Why an entry cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
enum Fault {
    #[error("an entry of the ring cannot be read: {0}")]
    Unreadable(#[from] CompactError),
    #[error("there is no state to begin from")]
    NoState,
    #[error("the replay differs from the recording; an input was not recorded")]
    OtherStep,
    #[error("the state differs from this checkpoint; an input was not recorded")]
    OtherState,
}

impl Excerpt {
    pub(super) fn new<'a>(
        config: ServerConfig,
        wall_origin: i64,
        dropped: u64,
        found: impl Iterator<Item = &'a [u8]>,
    ) -> Self {
        let mut entries = Vec::new();
        for entry in found {
            entries.extend_from_slice(&(entry.len() as u16).to_le_bytes());
            entries.extend_from_slice(entry);
        }
        Self { config, wall_origin, dropped, entries }
    }

    /// Its size in memory, in bytes. As a file it has about fifteen times as many.
    pub const fn size(&self) -> usize {
        self.entries.len()
    }

    /// Its lines, under the id of the agent.
    pub fn lines(self, agent: impl Into<String>) -> Lines {
        let Self { config, wall_origin, dropped, entries } = self;
        let head = Head { agent: agent.into(), config, seeds: Vec::new(), dropped };
        let tape = Tape::new();
        Lines {
            head,
            verdicts: None,
            wall_origin,
            entries,
            next: 0,
            machine: None,
            tape,
            over: false,
            failed: false,
        }
    }

    /// The whole file.
    pub fn to_bytes(self, agent: impl Into<String>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut lines = self.lines(agent);
        while lines.write_next(&mut out) {}
        out
    }
}

/// What the first line says of why the agent was away.
#[derive(Serialize)]
struct Verdicts<'a> {
    drops: &'a [Verdict],
    pattern: Option<&'a Finding>,
}

impl Lines {
    /// Has the first line say why the agent was away, the latest drops at most that there is room for: 48 KiB. To be
    /// called before the first line is written. Nothing of it is replayed.
    #[must_use]
    pub fn with_verdicts(mut self, drops: &[Verdict], pattern: Option<&Finding>) -> Self {
        let fit = (0..drops.len()).filter_map(|from| {
            let drops = drops.get(from..)?;
            // Structs of texts and numbers, which cannot fail to be written.
            to_raw_value(&Verdicts { drops, pattern }).ok()
        });
        self.verdicts = fit.into_iter().find(|text| text.get().len() <= VERDICTS);
        self
    }

    /// Writes the next line behind what `out` holds; the first call writes the head too. `false` when
    /// there is none.
    ///
    /// If the machine does not do again what it did, the line says so and is the last one: the
    /// recording is not complete, and a replay refuses it with the reason.
    pub fn write_next(&mut self, out: &mut Vec<u8>) -> bool {
        if self.over {
            return false;
        }
        let Some(entry) = self.take() else {
            self.tape.end(out);
            self.over = true;
            return true;
        };
        if let Err(fault) = self.play(entry, out) {
            self.tape.failed(&fault.to_string(), out);
            (self.over, self.failed) = (true, true);
        }
        true
    }

    /// Whether the machine did not do again what it did.
    pub const fn failed(&self) -> bool {
        self.failed
    }

    fn take(&mut self) -> Option<core::ops::Range<usize>> {
        let (length, _) = self.entries.get(self.next..)?.split_first_chunk::<2>()?;
        let from = self.next + length.len();
        let to = from + usize::from(u16::from_le_bytes(*length));
        self.next = to;
        Some(from..to)
    }

    fn play(&mut self, entry: core::ops::Range<usize>, out: &mut Vec<u8>) -> Result<(), Fault> {
        let bytes = self.entries.get(entry).ok_or(CompactError::End)?;
        let mut reader = Reader::new(bytes);
        let (_, kind) = read_link(&mut reader)?;
        let now = read_now(&mut reader, self.wall_origin)?;
        let what: WhatOf<ServerConnection> = match kind {
            Kind::Origin => What::Start(Start::Origin(reader.value()?)),
            Kind::Checkpoint => What::Start(Start::Checkpoint(reader.value()?)),
            Kind::Event | Kind::EventWithFrame => What::Event(reader.value()?),
        };
        let frame = match kind {
            Kind::EventWithFrame => Some(FrameNote::of_parts(reader.value()?)),
            Kind::Origin | Kind::Checkpoint | Kind::Event => None,
        };
        let step = match what {
            What::Start(Start::Checkpoint(snapshot)) if self.machine.is_some() => {
                let same = self.machine.as_ref().is_some_and(|m| m.snapshot() == snapshot);
                return if same { Ok(()) } else { Err(Fault::OtherState) };
            }
            What::Start(start) => {
                let config = self.head.config;
                let (machine, step) = script::start::<ServerConnection>(config, &[], start, now)
                    .ok_or(Fault::NoState)?;
                self.machine = Some(machine);
                step
            }
            What::Event(event) => self.machine.as_mut().ok_or(Fault::NoState)?.handle(event, now),
        };
        let machine = self.machine.as_ref().ok_or(Fault::NoState)?;
        if kind != Kind::Checkpoint {
            let noted = <[u8; 4]>::try_from(reader.bytes(4)?).map_err(|_| CompactError::End)?;
            if check::of_step(&step.actions, step.deadline) != u32::from_le_bytes(noted) {
                return Err(Fault::OtherStep);
            }
        }
        let status = machine.status();
        if self.tape.n == 0 {
            self.tape.head(&self.head, self.verdicts.as_deref(), now, out);
        }
        let done = (&step.actions, step.deadline, status);
        self.tape.entry::<ServerConnection, _>(&what, now, frame.as_ref(), done, out);
        Ok(())
    }
}
