//! The black box of an agent: what it found while it was away, bounded, to be handed over when it is back.
//!
//! Findings of one cause that follow one another are one entry, so a night of failed dials takes no more room than
//! one. When it is full, the oldest eight stay, because an absence is explained by how it began.

use crate::model::{Cause, Confidence, Finding, Told};
use crate::time::Timestamp;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

/// Entries at the beginning of an absence that are never given up.
const KEPT_FROM_THE_BEGINNING: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    finding: Finding,
    first: Timestamp,
    last: Timestamp,
    times: u32,
}

/// What an agent found since it was last in session. Times are of the clock that runs through sleep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlackBox {
    entries: VecDeque<Entry>,
}

impl BlackBox {
    /// Most entries.
    pub const MOST: usize = 32;

    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: VecDeque::new() }
    }

    /// Notes what was found now.
    pub fn note(&mut self, finding: Finding, now: Timestamp) {
        self.note_lasting(finding, Duration::ZERO, now);
    }

    /// Notes what was found now and began so long ago.
    pub fn note_lasting(&mut self, finding: Finding, lasted: Duration, now: Timestamp) {
        let first = now.saturating_sub(lasted);
        if let Some(latest) = self.entries.back_mut().filter(|e| e.finding.cause == finding.cause) {
            // What it was at first is kept, and what is news now is added.
            latest.finding.evidence =
                core::mem::take(&mut latest.finding.evidence).and(&finding.evidence);
            latest.finding.confidence = latest.finding.confidence.max(finding.confidence);
            latest.last = latest.last.max(now);
            latest.times = latest.times.saturating_add(1);
            return;
        }
        if self.entries.len() >= Self::MOST {
            let _ = self.entries.remove(KEPT_FROM_THE_BEGINNING);
        }
        self.entries.push_back(Entry { finding, first, last: now, times: 1 });
    }

    /// What is in it, the oldest first, as it is told now.
    #[must_use]
    pub fn told(&self, now: Timestamp) -> Vec<Told> {
        let told = |entry: &Entry| Told {
            finding: entry.finding.clone(),
            ago: now.saturating_since(entry.first),
            lasted: entry.last.saturating_since(entry.first),
            times: entry.times,
        };
        self.entries.iter().map(told).collect()
    }

    /// The server has it: what was told is forgotten.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Whether there is nothing to hand over.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// What a new process of an agent knows of the run before it, from the files that one left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct LastRun {
    pub end: LastEnd,
    pub boot: LastBoot,
    pub version: LastVersion,
}

/// How a run ended, by its own last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastEnd {
    /// It was stopped, and wrote that down.
    Stopped,
    /// It wrote down that it crashed.
    Crashed,
    /// It wrote nothing down, and its machine counted a process that was killed for want of memory.
    OutOfMemory,
    /// It wrote nothing down.
    Vanished,
}

/// Whether the machine was restarted since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum LastBoot {
    Same,
    Other,
    Unknown,
}

/// Whether it was the same version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum LastVersion {
    Same,
    Other,
}

impl LastRun {
    /// What became of that run.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let (cause, confidence) = match (self.end, self.boot, self.version) {
            (LastEnd::Stopped, _, LastVersion::Other) => (Cause::AgentUpgraded, Confidence::High),
            (LastEnd::Stopped, _, LastVersion::Same) => (Cause::AgentRestarted, Confidence::High),
            (LastEnd::Crashed, _, _) => (Cause::AgentCrashed, Confidence::High),
            (LastEnd::OutOfMemory, _, _) => (Cause::HostOutOfMemory, Confidence::High),
            (LastEnd::Vanished, LastBoot::Other, _) => (Cause::HostRebooted, Confidence::High),
            // A signal that cannot be caught, or a fault of the processor.
            (LastEnd::Vanished, LastBoot::Same, _) => (Cause::AgentKilled, Confidence::Medium),
            (LastEnd::Vanished, LastBoot::Unknown, _) => (Cause::AgentKilled, Confidence::Low),
        };
        Finding::new(cause, confidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Evidence;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_origin(Duration::from_secs(secs))
    }

    fn found(cause: Cause) -> Finding {
        Finding::new(cause, Confidence::Medium)
    }

    #[test]
    fn repeated_findings_are_one_entry() {
        let mut black_box = BlackBox::new();
        black_box.note(found(Cause::NetworkCut), at(10));
        for n in 0..1000 {
            let evidence = Evidence::NONE.with("attempt", n);
            black_box.note(found(Cause::NameResolution).on(evidence), at(20 + n));
        }
        let told = black_box.told(at(1100));
        assert_eq!(told.len(), 2);
        let last = &told[1];
        assert_eq!((last.times, last.ago, last.lasted), (1000, secs(1080), secs(999)));
        assert_eq!(last.finding.evidence, Evidence::NONE.with("attempt", 0u64));
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn it_is_bounded_and_keeps_how_it_began() {
        let mut black_box = BlackBox::new();
        let causes = [Cause::NoRoute, Cause::NameResolution];
        for n in 0..1000u64 {
            black_box.note(found(causes[n as usize % 2]), at(n));
        }
        let told = black_box.told(at(1000));
        assert_eq!(told.len(), BlackBox::MOST);
        let agos: Vec<u64> = told.iter().map(|told| told.ago.as_secs()).collect();
        assert_eq!(agos[..8], [1000, 999, 998, 997, 996, 995, 994, 993]);
        assert_eq!(agos[8..], (1..=24).rev().collect::<Vec<_>>());
    }

    #[test]
    fn what_lasted_began_earlier() {
        let mut black_box = BlackBox::new();
        black_box.note_lasting(found(Cause::AgentSlept), secs(600), at(700));
        let told = &black_box.told(at(701))[0];
        assert_eq!((told.ago, told.lasted), (secs(601), secs(600)));
        black_box.clear();
        assert!(black_box.is_empty());
    }
}
