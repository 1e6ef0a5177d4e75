//! Does what the outbox asks of the disk and of the processes, and takes up what an earlier process of
//! this agent left on the disk.

use super::Commands;
use crate::spool::{LeftRun, Spool, SpoolEvent, SpoolRequest};
use onsembl_protocol::command::Fate;
use onsembl_protocol::output::{Outbox, SpoolAction, SpoolBounds, SpoolPolicy};
use onsembl_protocol::wire::payload::CommandComplete;

/// What is said of a command whose agent died while it ran.
const LOST: &str =
    "the agent's process ended while this command ran; what became of it is not known";
/// And of one that had ended.
const ENDED_UNREPORTED: &str =
    "it ended, but the agent's process ended too before it could report how";

impl Commands {
    /// Keeps output on disk too, up to this bound, and takes up what an earlier process left there.
    pub(in super::super) fn with_spool(
        mut self,
        spool: Spool,
        bytes: u64,
        policy: Option<SpoolPolicy>,
        left: Vec<LeftRun>,
    ) -> Self {
        self.outbox = Outbox::new(SpoolBounds { disk: bytes, ..SpoolBounds::DEFAULT });
        self.spool = Some(spool);
        self.policy = policy;
        for LeftRun { recovered, ended } in left {
            let run = recovered.run().clone();
            let (id, why) = (run.command.clone(), if ended { ENDED_UNREPORTED } else { LOST });
            self.counters.count("spooled_runs_left_behind");
            tracing::warn!(command = %id, "an earlier process of this agent left output of this command that the server may not have");
            self.outbox.recover(recovered);
            let known = self.book.report(&id).cloned();
            let is_known = known.is_some();
            let lost = known.unwrap_or_else(|| self.book.lose(&id, Fate::Unknown, why.to_owned()));
            // Whoever saw how it ended counted what it wrote, even if the spool did not hear of that end.
            let counted = lost.output.is_some_and(|all| all.incarnation == run.incarnation);
            let output = lost.output.or(self.outbox.totals(&id));
            let report = CommandComplete { output, ..lost };
            self.left.leave(run, ended || counted);
            if is_known {
                self.held.insert(id, report);
            } else {
                self.over(report);
            }
        }
        self.perform();
        self
    }

    pub(in super::super) fn on_spool(&mut self, event: SpoolEvent) {
        match event {
            SpoolEvent::Appended(run, through) => self.outbox.on_appended(&run, through),
            SpoolEvent::Page(run, from, records) => self.outbox.on_page(&run, from, records),
            SpoolEvent::Failed(error) => {
                if !self.spool_failed {
                    self.counters.count("spool_failures");
                    tracing::error!(%error, "the spool takes no output; it stays in memory, and the disk is tried again every second");
                }
                self.spool_failed = true;
                self.outbox.on_append_failed(self.clock.now().monotonic);
            }
        }
        self.perform();
    }

    /// Whether the disk takes no output.
    pub(in super::super) const fn spool_has_failed(&self) -> bool {
        self.spool_failed
    }

    /// Waits until everything that is to be kept is on disk. Blocks.
    pub(in super::super) fn take_spool(&mut self) -> Option<Spool> {
        self.spool.take()
    }

    /// Does what the outbox asks for.
    pub(super) fn perform(&mut self) {
        while let Some(action) = self.outbox.poll_action() {
            match action {
                SpoolAction::PauseReading(id) => {
                    tracing::debug!(command = %id, held = self.outbox.held(), "the outbox is full; the process waits");
                    if let Some(running) = self.running.get(&id) {
                        running.handle.pause_reading();
                    }
                }
                SpoolAction::ResumeReading(id) => {
                    tracing::debug!(command = %id, held = self.outbox.held(), "reading from the process again");
                    if let Some(running) = self.running.get(&id) {
                        running.handle.resume_reading();
                    }
                }
                SpoolAction::Append { run, record } => {
                    self.ask(SpoolRequest::Append(run, record));
                }
                SpoolAction::Read { run, from, through } => {
                    self.ask(SpoolRequest::Read(run, from, through));
                }
                SpoolAction::Forget { run, from, before } => {
                    self.ask(SpoolRequest::Forget(run, from, before));
                }
                SpoolAction::End { run } => self.ask(SpoolRequest::End(run)),
                SpoolAction::Close { run } => self.ask(SpoolRequest::Close(run)),
            }
        }
    }

    pub(super) fn ask(&mut self, request: SpoolRequest) {
        let Some(spool) = &self.spool else { return };
        let Err(refused) = spool.ask(request) else { return };
        if !self.spool_failed {
            self.counters.count("spool_failures");
            tracing::error!(
                "the spool has ended, or its disk does not keep up; output stays in memory"
            );
        }
        self.spool_failed = true;
        self.outbox.on_append_failed(self.clock.now().monotonic);
        if let SpoolRequest::Read(run, from, _) = refused {
            self.outbox.on_page(&run, from, Vec::new());
        }
    }
}
