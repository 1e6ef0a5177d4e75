//! The black box of an agent: what it found while it was away, bounded, handed over when it is back, and kept until
//! the server has confirmed that it is stored.
//!
//! Findings of one cause that follow one another are one entry, so a night of failed dials takes no more room than
//! one. When it is full, the oldest eight stay, because an absence is explained by how it began.

use crate::model::{Cause, Confidence, Evidence, Finding, PastFinding};
use crate::time::Timestamp;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

/// Entries at the beginning of an absence that are never given up.
const KEPT_FROM_THE_BEGINNING: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    finding: Finding,
    first: Moment,
    last: Moment,
    times: u32,
}

/// A time that may be before the origin of the clock, which is the start of the process: what an earlier one left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    at: Timestamp,
    before_origin: Duration,
}

impl Moment {
    fn before(now: Timestamp, ago: Duration) -> Self {
        let before_origin = ago.saturating_sub(now.since_origin());
        Self { at: now.saturating_sub(ago), before_origin }
    }

    fn ago(self, now: Timestamp) -> Duration {
        now.saturating_since(self.at).saturating_add(self.before_origin)
    }
}

/// What an agent found since it was last in session. Times are of the clock that runs through sleep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlackBox {
    entries: VecDeque<Entry>,
    /// What was handed over in this session. It changes no more, so that a confirmation is of all of it.
    handed: VecDeque<Entry>,
    /// The number of what was handed over last.
    number: u64,
    /// How often it changed.
    changes: u64,
}

impl BlackBox {
    /// Most entries.
    pub(crate) const MOST: usize = 32;

    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: VecDeque::new(), handed: VecDeque::new(), number: 0, changes: 0 }
    }

    /// Notes what was found now.
    pub fn note(&mut self, finding: Finding, now: Timestamp) {
        self.note_lasting(finding, Duration::ZERO, now);
    }

    /// Notes what was found now and began so long ago.
    pub fn note_lasting(&mut self, finding: Finding, lasted: Duration, now: Timestamp) {
        let (first, last) = (Moment::before(now, lasted), Moment::before(now, Duration::ZERO));
        self.changes = self.changes.wrapping_add(1);
        if let Some(latest) = self.entries.back_mut().filter(|e| e.finding.cause == finding.cause) {
            // What it was at first is kept, and what is news now is added.
            latest.finding.evidence =
                core::mem::take(&mut latest.finding.evidence).and(&finding.evidence);
            latest.finding.confidence = latest.finding.confidence.max(finding.confidence);
            latest.last = last;
            latest.times = latest.times.saturating_add(1);
            return;
        }
        self.entries.push_back(Entry { finding, first, last, times: 1 });
        self.bound();
    }

    /// Takes up what an earlier process of the agent left, as it was told so long ago.
    pub(crate) fn recover(&mut self, left: Vec<PastFinding>, ago: Duration, now: Timestamp) {
        let entry = |told: PastFinding| {
            let began = told.ago.saturating_add(ago);
            let first = Moment::before(now, began);
            let last = Moment::before(now, began.saturating_sub(told.lasted));
            Entry { finding: told.finding, first, last, times: told.times }
        };
        self.entries = left.into_iter().map(entry).chain(self.entries.drain(..)).collect();
        self.changes = self.changes.wrapping_add(1);
        self.bound();
    }

    /// What is in it, the oldest first, as it is told now.
    #[must_use]
    pub(crate) fn told(&self, now: Timestamp) -> Vec<PastFinding> {
        self.handed.iter().chain(&self.entries).map(|entry| entry.told(now)).collect()
    }

    /// Hands everything over in a session that begins, with its number; `None` if there is nothing. What was handed
    /// over in an earlier session and not confirmed is handed over again, under the number that it had.
    pub fn hand_over(&mut self, now: Timestamp) -> Option<(u64, Vec<PastFinding>)> {
        if self.handed.is_empty() {
            self.number = self.number.saturating_add(1);
        }
        self.entries = self.handed.drain(..).chain(self.entries.drain(..)).collect();
        self.bound();
        self.handed = core::mem::take(&mut self.entries);
        (!self.handed.is_empty()).then(|| (self.number, self.told(now)))
    }

    /// The server has stored what was handed over under this number; it is forgotten here.
    pub(crate) fn confirm(&mut self, number: u64) {
        // A confirmation of an earlier number came twice.
        if number == self.number {
            self.handed.clear();
            self.changes = self.changes.wrapping_add(1);
        }
    }

    /// A number that is another one whenever its content is.
    #[must_use]
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Forgets everything, as there is nobody to tell it.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.handed.clear();
        self.changes = self.changes.wrapping_add(1);
    }

    /// Whether there is nothing to hand over.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.handed.is_empty()
    }

    fn bound(&mut self) {
        while self.entries.len() > Self::MOST {
            let _ = self.entries.remove(KEPT_FROM_THE_BEGINNING);
        }
    }
}

impl Entry {
    fn told(&self, now: Timestamp) -> PastFinding {
        let ago = self.first.ago(now);
        let lasted = ago.saturating_sub(self.last.ago(now));
        PastFinding { finding: self.finding.clone(), ago, lasted, times: self.times }
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
    /// It wrote nothing down, and a process was killed for want of memory.
    OutOfMemory(OutOfMemory),
    /// It wrote nothing down.
    Vanished,
}

/// Among which processes one was killed for want of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfMemory {
    /// Among those of the agent's own control group: the agent, and what it started.
    OwnGroup,
    /// Among all of the machine.
    Machine,
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
            (LastEnd::OutOfMemory(OutOfMemory::OwnGroup), _, _) => {
                (Cause::HostOutOfMemory, Confidence::High)
            }
            // It may have been another process that was killed.
            (LastEnd::OutOfMemory(OutOfMemory::Machine), _, _) => {
                (Cause::HostOutOfMemory, Confidence::Medium)
            }
            (LastEnd::Vanished, LastBoot::Other, _) => (Cause::HostRebooted, Confidence::High),
            // A signal that cannot be caught, or a crash that leaves no time: an abort, a full stack, a fault of the
            // processor. They look the same.
            (LastEnd::Vanished, LastBoot::Same, _) => (Cause::AgentKilled, Confidence::Medium),
            (LastEnd::Vanished, LastBoot::Unknown, _) => (Cause::AgentKilled, Confidence::Low),
        };
        Finding::new(cause, confidence)
    }

    /// The same, for a run whose program had this version, which is told if it is another one now.
    #[must_use]
    pub fn finding_of(&self, version: &str) -> Finding {
        let evidence = match self.version {
            LastVersion::Same => Evidence::NONE,
            LastVersion::Other => Evidence::NONE.with("version_before", version),
        };
        self.finding().on(evidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }

    #[test]
    fn what_is_not_confirmed_is_handed_over_again_under_its_number() {
        let mut black_box = BlackBox::new();
        assert_eq!(black_box.hand_over(at(1)), None);
        black_box.note(found(Cause::NoRoute), at(10));
        let causes = |handed: Option<(u64, Vec<PastFinding>)>| {
            handed.map(|(number, told)| {
                (number, told.iter().map(|told| told.finding.cause).collect::<Vec<_>>())
            })
        };
        let first = causes(black_box.hand_over(at(20)));
        let number = first.as_ref().unwrap().0;
        assert_eq!(first, Some((number, alloc::vec![Cause::NoRoute])));
        // Of the same cause, and yet no part of what was handed over.
        black_box.note(found(Cause::NoRoute), at(30));
        let again = causes(black_box.hand_over(at(40)));
        assert_eq!(again, Some((number, alloc::vec![Cause::NoRoute, Cause::NoRoute])));
        black_box.note(found(Cause::AgentSlept), at(50));
        black_box.confirm(number);
        let rest = causes(black_box.hand_over(at(60)));
        assert_eq!(rest, Some((number + 1, alloc::vec![Cause::AgentSlept])));
        black_box.confirm(number);
        assert!(!black_box.is_empty(), "that was a confirmation of the earlier one");
        black_box.confirm(number + 1);
        assert!(black_box.is_empty());
        assert_eq!(black_box.hand_over(at(70)), None);
    }

    #[test]
    fn what_an_earlier_process_left_comes_first_and_has_aged() {
        let mut black_box = BlackBox::new();
        black_box.note(found(Cause::AgentKilled), at(1000));
        let left = PastFinding {
            ago: secs(30),
            lasted: secs(10),
            times: 4,
            finding: found(Cause::NoRoute),
        };
        black_box.recover(alloc::vec![left.clone()], secs(100), at(1000));
        let told = black_box.told(at(1001));
        assert_eq!((told[0].ago, told[0].lasted, told[0].times), (secs(131), secs(10), 4));
        assert_eq!(told[1].finding.cause, Cause::AgentKilled);
        // The clock of a process begins with the process.
        let mut black_box = BlackBox::new();
        black_box.recover(alloc::vec![left], secs(100), at(0));
        let told = black_box.told(at(1));
        assert_eq!((told[0].ago, told[0].lasted, told[0].times), (secs(131), secs(10), 4));
        black_box.note(found(Cause::NoRoute), at(2));
        let told = black_box.told(at(3));
        assert_eq!((told[0].ago, told[0].lasted, told[0].times), (secs(133), secs(132), 5));
    }
}
