//! What an agent knows of its commands: which run, which ended, which it has seen before.
//!
//! A command id is run at most once by one agent process, however often it arrives; an end is
//! reported until the server confirmed it (field defects 7 and 24).

use super::outcome::Exit;
use crate::id::CommandId;
use crate::time::{Deadline, Human, Timestamp, WallTime};
use crate::wire::payload::{CommandAckStatus, CommandComplete, CommandPhase, OutputTotals};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

/// Most commands that run at once; one more is refused, because this version has no queue.
pub const MOST_RUNNING: usize = 64;

/// Ended commands that are remembered, so that a late repetition is known as one.
const REMEMBERED: usize = 4096;

/// The commands of one agent process.
#[derive(Debug, Default)]
pub struct CommandBook {
    entries: BTreeMap<CommandId, Entry>,
    ended: VecDeque<CommandId>,
    running: usize,
    finished: u64,
}

#[derive(Debug)]
enum Entry {
    Running { limit: Option<(Timestamp, Duration)>, stopped: Option<Stopped>, started: Timestamp },
    Ended { report: CommandComplete, confirmed: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    Cancelled,
    OverLimit(Duration),
}

/// What to do about a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Run it.
    Run,
    /// It runs already: acknowledge again.
    Acknowledge(CommandAckStatus),
    /// It ended already: report again.
    Report(CommandComplete),
    /// It cannot be run; the report says why.
    Refuse(CommandComplete),
}

/// What to do about a cancellation.
#[derive(Clone, Debug, PartialEq)]
pub enum CancelDecision {
    /// End its process group.
    Kill,
    /// It ended already: report again.
    Report(CommandComplete),
    /// It never came here; say that it did not run.
    NeverRan(CommandComplete),
}

impl CommandBook {
    /// A request came.
    pub fn on_request(&mut self, id: &CommandId) -> Decision {
        match self.entries.get(id) {
            Some(Entry::Running { .. }) => Decision::Acknowledge(CommandAckStatus::Executing),
            Some(Entry::Ended { report, .. }) => Decision::Report(report.clone()),
            None if self.running >= MOST_RUNNING => {
                let why =
                    format!("the agent runs {MOST_RUNNING} commands already; try again later");
                Decision::Refuse(self.refuse(id, why))
            }
            None => Decision::Run,
        }
    }

    /// Its process started.
    pub fn on_started(&mut self, id: CommandId, limit: Option<Duration>, now: Timestamp) {
        let limit = limit.map(|d| (now.saturating_add(d), d));
        let entry = Entry::Running { limit, stopped: None, started: now };
        if self.entries.insert(id, entry).is_none() {
            self.running += 1;
        }
    }

    /// It cannot be run: remembers the refusal and gives the report.
    pub fn refuse(&mut self, id: &CommandId, why: String) -> CommandComplete {
        let mut report = blank(id, CommandPhase::Failed);
        report.error = Some(why);
        self.end(id, report.clone());
        report
    }

    /// It ran under an earlier process of this agent, and nobody saw how it ended.
    pub fn lose(&mut self, id: &CommandId, why: String) -> CommandComplete {
        let mut report = blank(id, CommandPhase::OutcomeUnknown);
        report.error = Some(why);
        self.end(id, report.clone());
        report
    }

    /// Its process ended and its output is settled: remembers and gives the report.
    pub fn on_ended(
        &mut self,
        id: &CommandId,
        exit: Exit,
        output: Option<OutputTotals>,
        now: Timestamp,
        wall: WallTime,
    ) -> Option<CommandComplete> {
        let Some(Entry::Running { stopped, started, .. }) = self.entries.get(id) else {
            return None;
        };
        let phase = match (stopped, exit.success()) {
            (Some(Stopped::Cancelled), _) => CommandPhase::Cancelled,
            (Some(Stopped::OverLimit(_)), _) => CommandPhase::Failed,
            (None, true) => CommandPhase::Completed,
            (None, false) => CommandPhase::Failed,
        };
        let mut report = blank(id, phase);
        match exit {
            Exit::Code(code) => report.exit_code = Some(code),
            Exit::Signal(signal) => report.signal = Some(signal),
        }
        report.error = match stopped {
            Some(Stopped::OverLimit(d)) => {
                Some(format!("it ran longer than its limit of {}", Human(*d)))
            }
            Some(Stopped::Cancelled) => Some("cancelled".to_string()),
            None if exit.success() => None,
            None => Some(format!("{exit}")),
        };
        report.duration_ms = Some(now.saturating_since(*started).as_millis() as u64);
        report.timestamp = Some(wall);
        report.output = output;
        self.running = self.running.saturating_sub(1);
        self.finished = self.finished.saturating_add(1);
        self.end(id, report.clone());
        Some(report)
    }

    /// Its user wants it gone.
    pub fn on_cancel(&mut self, id: &CommandId) -> CancelDecision {
        match self.entries.get_mut(id) {
            Some(Entry::Running { stopped, .. }) => {
                *stopped = Some(stopped.unwrap_or(Stopped::Cancelled));
                CancelDecision::Kill
            }
            Some(Entry::Ended { report, .. }) => CancelDecision::Report(report.clone()),
            None => {
                let report = blank(id, CommandPhase::Cancelled);
                self.end(id, report.clone());
                CancelDecision::NeverRan(report)
            }
        }
    }

    /// The server has the report of its end.
    pub fn on_confirmed(&mut self, id: &CommandId) {
        if let Some(Entry::Ended { confirmed, .. }) = self.entries.get_mut(id) {
            *confirmed = true;
        }
    }

    /// Commands that ran over their limit: end their process groups. Each is named once.
    pub fn take_expired(&mut self, now: Timestamp) -> Vec<CommandId> {
        let mut expired = Vec::new();
        for (id, entry) in &mut self.entries {
            if let Entry::Running { limit: Some((at, d)), stopped: stopped @ None, .. } = entry
                && *at <= now
            {
                *stopped = Some(Stopped::OverLimit(*d));
                expired.push(id.clone());
            }
        }
        expired
    }

    /// When the next command runs over its limit.
    pub fn deadline(&self) -> Deadline {
        let mut next = Deadline::Never;
        for entry in self.entries.values() {
            if let Entry::Running { limit: Some((at, _)), stopped: None, .. } = entry {
                next = next.min(Deadline::At(*at));
            }
        }
        next
    }

    /// Commands that run.
    pub fn running(&self) -> Vec<CommandId> {
        let runs = |e: &Entry| matches!(e, Entry::Running { .. });
        self.entries.iter().filter(|(_, e)| runs(e)).map(|(id, _)| id.clone()).collect()
    }

    /// Reports that the server has not confirmed: to be sent again in a new session.
    pub fn unconfirmed(&self) -> Vec<CommandComplete> {
        let open = |e: &Entry| match e {
            Entry::Ended { report, confirmed: false } => Some(report.clone()),
            Entry::Ended { confirmed: true, .. } | Entry::Running { .. } => None,
        };
        self.entries.values().filter_map(open).collect()
    }

    /// Commands that run or whose end is not confirmed: what a hello says.
    pub fn open(&self) -> Vec<CommandId> {
        let open = |e: &Entry| !matches!(e, Entry::Ended { confirmed: true, .. });
        self.entries.iter().filter(|(_, e)| open(e)).map(|(id, _)| id.clone()).collect()
    }

    /// Commands that ran to their end.
    pub const fn finished(&self) -> u64 {
        self.finished
    }

    /// Remembers an end. Beyond the bound the oldest confirmed one is forgotten first; when none is
    /// confirmed, the oldest.
    fn end(&mut self, id: &CommandId, report: CommandComplete) {
        let _ = self.entries.insert(id.clone(), Entry::Ended { report, confirmed: false });
        self.ended.push_back(id.clone());
        while self.ended.len() > REMEMBERED {
            let confirmed = |id: &CommandId| {
                matches!(self.entries.get(id), Some(Entry::Ended { confirmed: true, .. }))
            };
            let oldest = self.ended.iter().position(confirmed).unwrap_or(0);
            if let Some(id) = self.ended.remove(oldest) {
                let _ = self.entries.remove(&id);
            }
        }
    }
}

fn blank(id: &CommandId, status: CommandPhase) -> CommandComplete {
    CommandComplete {
        command_id: id.clone(),
        agent_id: None,
        status,
        exit_code: None,
        signal: None,
        duration_ms: None,
        tokens_used: 0,
        error: None,
        timestamp: None,
        output: None,
    }
}
