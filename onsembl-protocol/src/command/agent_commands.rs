//! What an agent knows of its commands: which wait, which run, which ended, which it has seen before.
//!
//! A command id is run at most once, however often it arrives and however often the agent is
//! restarted; an end is reported until the server has confirmed it (P-99, P-101).

use super::fate::Fate;
use super::journal::{CommandJournal, Standing};
use super::queue::DEFAULT_SLOTS;
use crate::id::CommandId;
use crate::model::{CommandAckStatus, CommandComplete, CommandPhase, OutputTotals, PROGRAM_ENDED};
use crate::model::{Exit, Pausing};
use crate::time::{Deadline, Human, Timestamp, WallTime};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

/// Most commands that wait for a slot on the agent; one more is refused. A server that keeps a
/// queue sends none too many; this is for one that does not, and for a pause.
pub(super) const MOST_WAITING: usize = 64;

/// Ended commands that are remembered, so that a late repetition is known as one.
const REMEMBERED: usize = 4096;

/// The commands of one agent.
#[derive(Debug)]
pub(crate) struct AgentCommands {
    slots: usize,
    pausing: Pausing,
    entries: BTreeMap<CommandId, Entry>,
    /// Those that have not ended: what is asked of them does not grow with what ended.
    unfinished: BTreeSet<CommandId>,
    /// Those that ended without a confirmation.
    unconfirmed: BTreeSet<CommandId>,
    /// When which runs over its limit, unless it was stopped before.
    limits: BTreeSet<(Timestamp, CommandId)>,
    line: VecDeque<CommandId>,
    /// Begun by the agent itself: they take no slot.
    own: BTreeSet<CommandId>,
    ended: VecDeque<CommandId>,
    occupied: usize,
    finished: u64,
}

impl Default for AgentCommands {
    fn default() -> Self {
        Self::new(DEFAULT_SLOTS)
    }
}

#[derive(Debug)]
enum Entry {
    Waiting,
    Starting { cancelled: bool },
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
pub(crate) enum Decision {
    /// Keep it until [`AgentCommands::take_next`] names it.
    Keep,
    /// It is here already: acknowledge again.
    Acknowledge(CommandAckStatus),
    /// It ended already: report again.
    Report(CommandComplete),
    /// It cannot be run; the report says why.
    Refuse(CommandComplete),
}

/// How it went to type a command into the agent's terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TypingEnd {
    /// The program has read it, and lives. It is not visible when it is done with it.
    Taken,
    /// The program has read it, and ended so right behind it.
    ProgramEnded(Exit),
    /// It was not typed whole, or not read, for this reason.
    Failed(String),
}

/// What to do about a cancellation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CancelDecision {
    /// End its process group.
    Kill,
    /// It is being written down; [`AgentCommands::may_start`] will say no.
    Withheld,
    /// It ended already: report again.
    Report(CommandComplete),
    /// It never ran here; say so.
    NeverRan(CommandComplete),
}

impl AgentCommands {
    /// The commands of an agent that runs `slots` commands at once, one at least.
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            slots: slots.max(1),
            pausing: Pausing::Running,
            entries: BTreeMap::new(),
            unfinished: BTreeSet::new(),
            unconfirmed: BTreeSet::new(),
            limits: BTreeSet::new(),
            line: VecDeque::new(),
            own: BTreeSet::new(),
            ended: VecDeque::new(),
            occupied: 0,
            finished: 0,
        }
    }

    /// Takes up what an earlier process of the agent wrote down. Commands that had not ended are
    /// to be told by [`lose`](Self::lose).
    pub(crate) fn recover(&mut self, journal: &CommandJournal) {
        for (id, standing) in journal.standings() {
            match standing {
                // What became of these shows a look at the machine.
                Standing::Starting { .. } | Standing::Started { .. } => {}
                Standing::Ended { report, confirmed, .. } => {
                    self.end(id, report.clone());
                    if *confirmed {
                        self.on_confirmed(id);
                    }
                }
            }
        }
    }

    /// A request came.
    pub(crate) fn on_request(&mut self, id: &CommandId) -> Decision {
        match self.entries.get(id) {
            Some(Entry::Ended { report, .. }) => Decision::Report(report.clone()),
            Some(Entry::Waiting | Entry::Starting { .. } | Entry::Running { .. }) => {
                Decision::Acknowledge(self.status(id))
            }
            None if self.line.len() >= MOST_WAITING => {
                let why = format!("{MOST_WAITING} commands wait on this agent; try again later");
                Decision::Refuse(self.refuse(id, why))
            }
            None => {
                let _ = self.entries.insert(id.clone(), Entry::Waiting);
                let _ = self.unfinished.insert(id.clone());
                self.line.push_back(id.clone());
                Decision::Keep
            }
        }
    }

    /// The agent itself begins a command, under an unused id: its terminal. It takes none
    /// of the slots and waits for nothing. Write down that it is being started.
    pub(crate) fn begin_own(&mut self, id: &CommandId) {
        let _ = self.entries.insert(id.clone(), Entry::Starting { cancelled: false });
        let _ = self.unfinished.insert(id.clone());
        let _ = self.own.insert(id.clone());
    }

    /// How far a command is that has not ended.
    pub(crate) fn status(&self, id: &CommandId) -> CommandAckStatus {
        match self.entries.get(id) {
            Some(Entry::Waiting) => CommandAckStatus::Queued,
            Some(Entry::Starting { .. }) | None => CommandAckStatus::Received,
            Some(Entry::Running { .. } | Entry::Ended { .. }) => CommandAckStatus::Executing,
        }
    }

    /// Whether nothing is started; what runs continues.
    pub(crate) const fn pause(&mut self, pausing: Pausing) {
        self.pausing = pausing;
    }

    /// The command whose turn it is, if there is a slot: write down that it is being started.
    #[must_use = "the command occupies the slot and would never start"]
    pub(crate) fn take_next(&mut self) -> Option<CommandId> {
        if self.pausing.is_paused() || self.occupied >= self.slots {
            return None;
        }
        let id = self.line.pop_front()?;
        let _ = self.entries.insert(id.clone(), Entry::Starting { cancelled: false });
        self.occupied += 1;
        Some(id)
    }

    /// That it is being started is written down. Whether to start it: not if it was cancelled
    /// meanwhile, and then this is its report.
    ///
    /// # Errors
    /// The report, if it is not to be started.
    pub(crate) fn may_start(&mut self, id: &CommandId) -> Result<(), Option<CommandComplete>> {
        match self.entries.get(id) {
            Some(Entry::Starting { cancelled: false }) => Ok(()),
            Some(Entry::Starting { cancelled: true }) => {
                let report = blank(id, CommandPhase::Cancelled);
                self.end(id, report.clone());
                Err(Some(report))
            }
            Some(Entry::Waiting | Entry::Running { .. } | Entry::Ended { .. }) | None => Err(None),
        }
    }

    /// Its process started. Whether it was cancelled since [`may_start`](Self::may_start): end it then.
    pub(crate) fn on_started(
        &mut self,
        id: &CommandId,
        limit: Option<Duration>,
        now: Timestamp,
    ) -> bool {
        let limit = limit.map(|d| (now.saturating_add(d), d));
        let Some(entry @ Entry::Starting { .. }) = self.entries.get_mut(id) else { return false };
        let cancelled = matches!(entry, Entry::Starting { cancelled: true });
        let stopped = cancelled.then_some(Stopped::Cancelled);
        *entry = Entry::Running { limit, stopped, started: now };
        // One that was cancelled is ended for that, however long it takes.
        if let (Some((at, _)), false) = (limit, cancelled) {
            let _ = self.limits.insert((at, id.clone()));
        }
        cancelled
    }

    /// Whether it left the line and has not ended: a start of it may be written down.
    pub(crate) fn has_begun(&self, id: &CommandId) -> bool {
        match self.entries.get(id) {
            Some(Entry::Starting { .. } | Entry::Running { .. }) => true,
            Some(Entry::Waiting | Entry::Ended { .. }) | None => false,
        }
    }

    /// It cannot be run: remembers the refusal and gives the report.
    pub(crate) fn refuse(&mut self, id: &CommandId, why: String) -> CommandComplete {
        let mut report = blank(id, CommandPhase::Failed);
        report.error = Some(why);
        self.end(id, report.clone());
        report
    }

    /// It ran under an earlier process of this agent, and its end was not seen.
    pub(crate) fn lose(&mut self, id: &CommandId, fate: Fate, why: String) -> CommandComplete {
        let phase = match fate {
            Fate::Ended => CommandPhase::Lost,
            Fate::Unknown => CommandPhase::OutcomeUnknown,
        };
        let mut report = blank(id, phase);
        report.error = Some(why);
        self.end(id, report.clone());
        report
    }

    /// Its process ended and its output is settled: remembers and gives the report.
    pub(crate) fn on_ended(
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
            // Whatever its exit says (P-104).
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
        self.finished = self.finished.saturating_add(1);
        self.end(id, report.clone());
        Some(report)
    }

    /// It was typed into the agent's terminal, or could not be, whole or at all: remembers and gives
    /// the report.
    pub(crate) fn on_typed(
        &mut self,
        id: &CommandId,
        typed: TypingEnd,
        now: Timestamp,
        wall: WallTime,
    ) -> Option<CommandComplete> {
        let Some(Entry::Running { started, .. }) = self.entries.get(id) else { return None };
        let phase = match &typed {
            TypingEnd::Taken => CommandPhase::Completed,
            // As `exit` typed into a shell does.
            TypingEnd::ProgramEnded(exit) if exit.success() => CommandPhase::Completed,
            TypingEnd::ProgramEnded(_) | TypingEnd::Failed(_) => CommandPhase::Failed,
        };
        let mut report = blank(id, phase);
        match typed {
            TypingEnd::Taken => {}
            TypingEnd::ProgramEnded(exit) => {
                match exit {
                    Exit::Code(code) => report.exit_code = Some(code),
                    Exit::Signal(signal) => report.signal = Some(signal),
                }
                report.error = Some(format!("{PROGRAM_ENDED}: {exit}"));
            }
            TypingEnd::Failed(why) => report.error = Some(why),
        }
        report.duration_ms = Some(now.saturating_since(*started).as_millis() as u64);
        report.timestamp = Some(wall);
        self.finished = self.finished.saturating_add(1);
        self.end(id, report.clone());
        Some(report)
    }

    /// Its user cancels it.
    pub(crate) fn on_cancel(&mut self, id: &CommandId) -> CancelDecision {
        match self.entries.get_mut(id) {
            Some(Entry::Running { stopped, limit, .. }) => {
                // The first reason counts: one that ran over its limit stays failed.
                *stopped = Some(stopped.unwrap_or(Stopped::Cancelled));
                if let Some((at, _)) = limit {
                    let _ = self.limits.remove(&(*at, id.clone()));
                }
                CancelDecision::Kill
            }
            // Its start is on its way to the journal, or to the edge, which cannot be stopped there.
            Some(Entry::Starting { cancelled }) => {
                *cancelled = true;
                CancelDecision::Withheld
            }
            Some(Entry::Ended { report, .. }) => CancelDecision::Report(report.clone()),
            // Also of one that never came: remembered as ended, it does not run if it still comes (P-103).
            Some(Entry::Waiting) | None => {
                let report = blank(id, CommandPhase::Cancelled);
                self.end(id, report.clone());
                CancelDecision::NeverRan(report)
            }
        }
    }

    /// The server has the report of its end.
    pub(crate) fn on_confirmed(&mut self, id: &CommandId) {
        if let Some(Entry::Ended { confirmed, .. }) = self.entries.get_mut(id) {
            *confirmed = true;
            let _ = self.unconfirmed.remove(id);
        }
    }

    /// Commands that ran over their limit: end their process groups. Each is named once.
    pub(crate) fn take_expired(&mut self, now: Timestamp) -> Vec<CommandId> {
        let mut expired = Vec::new();
        while self.limits.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, id)) = self.limits.pop_first()
        {
            if let Some(Entry::Running { limit: Some((_, limit)), stopped, .. }) =
                self.entries.get_mut(&id)
            {
                *stopped = Some(Stopped::OverLimit(*limit));
                expired.push(id);
            }
        }
        expired
    }

    /// When the next command runs over its limit.
    pub(crate) fn deadline(&self) -> Deadline {
        self.limits.first().map_or(Deadline::Never, |(at, _)| Deadline::At(*at))
    }

    /// Commands that run.
    #[cfg(test)]
    pub(crate) fn running(&self) -> Vec<CommandId> {
        let runs = |id: &&CommandId| matches!(self.entries.get(*id), Some(Entry::Running { .. }));
        self.unfinished.iter().filter(runs).cloned().collect()
    }

    /// Commands that have not ended.
    pub(crate) fn unfinished(&self) -> Vec<CommandId> {
        self.unfinished.iter().cloned().collect()
    }

    /// Whether the server has heard of its end.
    pub(crate) fn is_confirmed(&self, id: &CommandId) -> bool {
        matches!(self.entries.get(id), Some(Entry::Ended { confirmed: true, .. }))
    }

    /// The report of a command that ended, if it is remembered.
    pub(crate) fn report(&self, id: &CommandId) -> Option<&CommandComplete> {
        match self.entries.get(id)? {
            Entry::Ended { report, .. } => Some(report),
            Entry::Waiting | Entry::Starting { .. } | Entry::Running { .. } => None,
        }
    }

    /// Reports that the server has not confirmed: to be sent again in a new session.
    pub(crate) fn unconfirmed(&self) -> Vec<CommandComplete> {
        self.unconfirmed.iter().filter_map(|id| self.report(id).cloned()).collect()
    }

    /// Commands that have not ended or whose end is not confirmed: what a hello says.
    pub(crate) fn open(&self) -> Vec<CommandId> {
        self.unfinished.union(&self.unconfirmed).cloned().collect()
    }

    /// Commands that ran to their end.
    pub(crate) const fn finished(&self) -> u64 {
        self.finished
    }

    /// Remembers an end. Beyond the bound the oldest confirmed one is forgotten first; when none is
    /// confirmed, the oldest.
    fn end(&mut self, id: &CommandId, report: CommandComplete) {
        // A command ends once (P-97): a later end of the same id would contradict what was reported.
        if matches!(self.entries.get(id), Some(Entry::Ended { .. })) {
            return;
        }
        let ended = Entry::Ended { report, confirmed: false };
        let _ = self.unfinished.remove(id);
        let _ = self.unconfirmed.insert(id.clone());
        if let Some(Entry::Running { limit: Some((at, _)), .. }) = self.entries.get(id) {
            let _ = self.limits.remove(&(*at, id.clone()));
        }
        match self.entries.insert(id.clone(), ended) {
            Some(Entry::Starting { .. } | Entry::Running { .. }) => {
                if !self.own.remove(id) {
                    self.occupied = self.occupied.saturating_sub(1);
                }
            }
            Some(Entry::Waiting) => self.line.retain(|waiting| waiting != id),
            Some(Entry::Ended { .. }) | None => {}
        }
        self.ended.push_back(id.clone());
        while self.ended.len() > REMEMBERED {
            let confirmed = |id: &CommandId| {
                matches!(self.entries.get(id), Some(Entry::Ended { confirmed: true, .. }))
            };
            let oldest = self.ended.iter().position(confirmed).unwrap_or(0);
            if let Some(id) = self.ended.remove(oldest) {
                let _ = self.unconfirmed.remove(&id);
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
