//! What is written down before it is done: a start before the process, an end before its report. And
//! what an earlier process of this agent wrote down.

use super::{Commands, Writing};
use crate::engine::notes::reason;
use crate::journal::{Awaited, Journal, JournalEvent, Recovered};
use crate::process::{Cleared, LeftBehind};
use onsembl_protocol::command::{JournalEntry, Standing};
use onsembl_protocol::id::{CommandId, RunMark};
use onsembl_protocol::stop::StopGuard;
use onsembl_protocol::wire::payload::CommandComplete;
use uuid::Uuid;

/// What is left behind by an earlier process, as its journal says.
pub(in super::super) fn left_behind(recovered: &Recovered) -> Vec<LeftBehind> {
    let left = |(id, standing): (&CommandId, &Standing)| {
        let (mark, leader) = match standing {
            Standing::Starting { mark } => (mark.clone(), None),
            Standing::Started { mark, process } => (mark.clone(), Some(process.clone())),
            Standing::Ended { .. } => return None,
        };
        Some(LeftBehind { command: id.clone(), mark, leader })
    };
    recovered.journal.standings().filter_map(left).collect()
}

impl Commands {
    /// Writes down what it does, and takes up what an earlier process wrote down.
    pub(in super::super) fn with_journal(
        mut self,
        journal: Journal,
        recovered: &Recovered,
        cleared: Vec<Cleared>,
    ) -> Self {
        self.writing = Writing::Journal(journal);
        self.book.recover(&recovered.journal);
        self.guard = StopGuard::recovered(recovered.journal.stop().cloned());
        if self.guard.is_held() {
            tracing::warn!(
                "an emergency stop is in force; nothing starts until a server says that it is released"
            );
        }
        for Cleared { command, fate, why } in cleared {
            self.counters.count("runs_left_behind");
            tracing::warn!(%command, "an earlier process of this agent left this command: {why}");
            let why = format!("the agent's process died while this command ran; {why}");
            let report = self.book.lose(&command, fate, reason(&why));
            self.over(report);
        }
        self
    }

    /// Nothing can be written down, so nothing is started.
    pub(in super::super) fn without_journal(mut self, why: String) -> Self {
        self.writing = Writing::Failed(why);
        self
    }

    /// Takes the next from the line, as long as there is a place.
    pub(super) fn advance(&mut self) {
        self.book.pause(self.paused || self.stopping || self.terminal_is_awaited());
        while let Some(id) = self.book.take_next() {
            let mark = RunMark::new(Uuid::new_v4().to_string());
            self.marks.insert(id.clone(), mark.clone());
            match &self.writing {
                Writing::Nothing => self.start(&id),
                Writing::Failed(why) => {
                    let why = format!("the agent cannot write down that it starts this: {why}");
                    self.refuse(&id, &why);
                }
                Writing::Journal(_) => {
                    self.unwritten.insert(id.clone());
                    self.write(JournalEntry::Starting { command: id, mark });
                }
            }
        }
    }

    /// Its end is told once it is written down, and the server has its output.
    pub(super) fn over(&mut self, report: CommandComplete) {
        let id = report.command_id.clone();
        self.held.insert(id.clone(), report.clone());
        match &self.writing {
            Writing::Nothing | Writing::Failed(_) => self.settle(&id),
            Writing::Journal(_) => {
                let notes = self.notes.get(&id).copied().unwrap_or_default();
                self.unwritten.insert(id);
                self.write(JournalEntry::Ended { report: notes.amend(report) });
            }
        }
    }

    /// Whether starts are written down.
    pub(super) const fn writes_down(&self) -> bool {
        matches!(self.writing, Writing::Journal(_))
    }

    /// Asks for an entry; what waits for it hears of a failure at once if nobody writes any more.
    pub(super) fn write(&mut self, entry: JournalEntry) {
        let Writing::Journal(journal) = &self.writing else { return };
        let awaited = Awaited::by(&entry);
        if journal.write(entry) {
            return;
        }
        if let Some(awaited) = awaited {
            let failed = Some("the thread of the journal has ended".to_owned());
            self.on_journal(JournalEvent { awaited, failed });
        }
    }

    /// Something is written down, or cannot be.
    pub(in super::super) fn on_journal(&mut self, event: JournalEvent) {
        let JournalEvent { awaited, failed } = event;
        if failed.is_some() {
            self.counters.count("journal_failures");
        }
        self.journal_failed = failed.is_some();
        match (awaited, failed) {
            (Awaited::Start(command), None) => {
                self.unwritten.remove(&command);
                self.start(&command);
            }
            // Nobody asked for it, so nobody is promised that it runs once.
            (Awaited::Start(command), Some(error)) if self.is_own_terminal(&command) => {
                self.unwritten.remove(&command);
                tracing::warn!(%command, %error, "the start of the terminal is not written down; if this agent is killed, its processes are not found");
                self.start(&command);
            }
            (Awaited::Start(command), Some(error)) => {
                self.unwritten.remove(&command);
                let why = format!(
                    "never started: the agent cannot write down that it starts this ({error}); free space on its disk and ask again under a new id"
                );
                self.refuse(&command, &why);
            }
            (Awaited::End(command), failed) => {
                self.unwritten.remove(&command);
                if failed.is_some() {
                    tracing::warn!(%command, "the end of a command is not written down; a successor of this agent would call it lost");
                }
                self.settle(&command);
            }
            (Awaited::Stop(stop), failed) => self.on_stop_written(&stop, failed),
        }
        self.advance();
    }

    /// Whether the journal took nothing when something was last to be written.
    pub(in super::super) const fn journal_has_failed(&self) -> bool {
        self.journal_failed || matches!(self.writing, Writing::Failed(_))
    }

    /// Hands out the journal, to be ended.
    pub(in super::super) fn take_journal(&mut self) -> Option<Journal> {
        match std::mem::replace(&mut self.writing, Writing::Nothing) {
            Writing::Journal(journal) => Some(journal),
            Writing::Nothing | Writing::Failed(_) => None,
        }
    }
}
