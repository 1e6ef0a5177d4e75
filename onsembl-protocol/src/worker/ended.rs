//! From the end of a command to its confirmation: written down, its output stored, its report said and confirmed.
//! And what
//! becomes of one that the server does not know.

use super::carrier::AskedBy;
use super::commands::Output;
use super::course::Course;
use super::event::Journalling;
use super::note::WorkerNote;
use super::work::Work;
use crate::command::{Awaited, JournalEntry};
use crate::id::CommandId;
use crate::time::Timestamp;
use crate::wire::payload::CommandComplete;
use alloc::format;
use alloc::string::String;

impl Course {
    /// Nothing lives any more of what a command left.
    pub(super) fn on_cleared(&mut self, id: &CommandId) {
        if !self.stops.background.clear(id) {
            return self.out.note(WorkerNote::Unexpected(id.clone()));
        }
        self.out.note(WorkerNote::BackgroundEnded(id.clone()));
        let is_reported = self.commands.all.report(id).is_some();
        // Before its report is confirmed a successor needs to know that the end of its output is unknown.
        if !is_reported || self.commands.all.is_confirmed(id) {
            self.write_cleared(id);
        }
    }

    fn write_cleared(&mut self, id: &CommandId) {
        if self.stops.background.take_cleared(id)
            && let Some(report) = self.commands.all.report(id).cloned()
        {
            self.write(JournalEntry::Ended { report, remains: None });
        }
    }

    /// Its end is reported once it is written down, and the server has its output.
    pub(super) fn over(&mut self, report: CommandComplete) {
        let id = report.command_id.clone();
        // Its slot is free.
        self.out.later([Work::Advance]);
        self.handover.reports.withhold(report.clone());
        match self.journal.keeping() {
            // It is over whether or not that can be written down, and the server has it written down too.
            Journalling::Off | Journalling::Failed(_) => self.out.later([Work::Settle(id)]),
            Journalling::Kept => {
                self.handover.reports.write(&id);
                let report = self.handover.reports.amend(report);
                let remains = self.stops.background.remains(&id);
                self.write(JournalEntry::Ended { report, remains });
            }
        }
    }

    /// The server has its report, or will never ask for it.
    pub(super) fn confirm(&mut self, id: &CommandId) {
        self.handover.forget(id);
        self.commands.all.on_confirmed(id);
        self.write(JournalEntry::Confirmed { command: id.clone() });
        self.write_cleared(id);
    }

    /// The server cannot take up this command now. What is kept of it is said in the next session.
    pub(super) fn on_not_taken(&mut self, id: &CommandId) {
        self.out.note(WorkerNote::NotTakenByServer(id.clone()));
        self.handover.delivery.withhold(id);
    }

    /// The server says that it knows no such command. If that means that it is over, what is kept for it would
    /// be sent again and again.
    pub(super) fn on_unknown_to_server(&mut self, id: &CommandId, now: Timestamp) {
        if self.handover.doubts.doubts_unknown(id, now) {
            return self.on_not_taken(id);
        }
        self.out.note(WorkerNote::UnknownToServer(id.clone()));
        if let Some(running) = self.commands.running(id) {
            // It is read on, so that the process does not hang on a full pipe.
            running.output = Output::Muted;
        }
        self.handover.give_up(id);
        self.confirm(id);
    }

    /// Asks for an entry, if entries are written at all.
    pub(super) fn write(&mut self, entry: JournalEntry) {
        self.journal.write(entry, &mut self.out);
    }

    /// Something is written down, or cannot be. `by`: who asked for what is being started, if it is a start.
    pub(super) fn on_journalled(
        &mut self,
        awaited: Awaited,
        outcome: Result<(), String>,
        by: AskedBy,
    ) {
        self.journal.on_written(&outcome);
        if let Err(error) = &outcome {
            self.out.note(WorkerNote::JournalFailed(error.clone()));
        }
        match awaited {
            Awaited::Start(id) => {
                self.handover.reports.written(&id);
                match (outcome, by) {
                    (Ok(()), _) => self.out.later([Work::Start(id)]),
                    // It was not asked for, so it was not promised to run once.
                    (Err(error), AskedBy::Agent) => {
                        self.out.note(WorkerNote::TerminalNotWritten(id.clone(), error));
                        self.out.later([Work::Start(id)]);
                    }
                    (Err(error), AskedBy::User) => {
                        let why = format!(
                            "never started: the agent cannot record the start ({error}); free space on its disk and send it again under a new id"
                        );
                        self.refuse(&id, &why);
                    }
                }
            }
            Awaited::End(id) => {
                self.handover.reports.written(&id);
                // Its report goes out anyway: the server writes it down too.
                if outcome.is_err() {
                    self.out.note(WorkerNote::EndNotWritten(id.clone()));
                }
                self.out.later([Work::Settle(id)]);
            }
            Awaited::Stop(stop) => {
                match outcome {
                    Ok(()) => self.stops.emergency.on_durable(&stop),
                    Err(error) => self.out.note(WorkerNote::StopNotDurable(stop, error)),
                }
                self.say_receipt();
            }
        }
    }

    /// Before the first session nothing is known of what a server takes.
    pub(super) fn say_receipt(&mut self) {
        if let Some((stop, stage)) = self.stops.emergency.receipt()
            && self.handover.delivery.had_session()
        {
            self.handover.uplink.queue.receipt(stop, stage);
        }
    }
}
