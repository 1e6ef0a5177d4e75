//! What is handed over to the server: the output of commands until it is stored, the reports of their ends
//! until they are confirmed, and whatever else it is told of them. The order in which a report may follow its output is
//! kept here.

use super::delivery::{Delivery, Readiness};
use super::doubts::Doubts;
use super::event::WorkerSession;
use super::outbound::Outbound;
use super::outputs::Outputs;
use super::report::Reports;
use super::sizes::Sizes;
use super::typed_commands::Waits;
use super::uplink::{Expected, Offer, Uplink};
use super::work::Work;
use crate::command::AgentCommands;
use crate::id::CommandId;
use crate::model::{Capabilities, Stream};
use crate::output::{SpoolBounds, SpoolPolicy};
use crate::time::{Deadline, Timestamp};
use crate::wire::payload::{
    CommandAckStatus, CommandComplete, OutputAck, OutputCredit, OutputResume,
};

/// What the server is told of commands, until it has stored and confirmed it.
#[derive(Debug)]
pub(super) struct Handover {
    pub(super) uplink: Uplink,
    pub(super) delivery: Delivery,
    pub(super) reports: Reports,
    pub(super) doubts: Doubts,
    pub(super) sizes: Sizes,
}

/// What follows from an item that counts as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    Nothing,
    /// The server never confirms the report of this command: sent counts as confirmed.
    Confirmed(CommandId),
    /// Something that the report of this command waits for has happened.
    Settle(CommandId),
}

impl Handover {
    pub(super) fn new(bounds: SpoolBounds, policy: Option<SpoolPolicy>) -> Self {
        Self {
            uplink: Uplink::default(),
            delivery: Delivery::new(bounds, policy),
            reports: Reports::default(),
            doubts: Doubts::default(),
            sizes: Sizes::default(),
        }
    }

    /// A session began. What an earlier one did not confirm is told again.
    pub(super) fn begin(
        &mut self,
        session: WorkerSession,
        all: &AgentCommands,
        now: Timestamp,
        out: &mut Outputs,
    ) {
        let WorkerSession { capabilities, output_window, .. } = session;
        // First: it clears the queue of the earlier session, and what follows is queued for this one.
        self.uplink.begin(session);
        self.reports.on_session();
        self.delivery.on_session(output_window, capabilities, now);
        if capabilities.output_resumes() {
            let agreed = self.uplink.capabilities();
            self.delivery.report_output_state(None, agreed, &mut self.uplink.queue);
        }
        let unfinished = all.unfinished();
        self.doubts.on_session(capabilities, &unfinished);
        for id in unfinished.into_iter().filter(|id| is_there(all, id)) {
            self.uplink.queue.acknowledge(id);
        }
        for (id, record) in self.sizes.all() {
            self.uplink.queue.size(id.clone(), record);
        }
        // An end that waits for its output: the server must not take the command for one that is lost. What an earlier
        // process left is told with its output.
        for id in self.reports.withheld().filter(|id| !self.delivery.left().is_of_earlier(id)) {
            self.uplink.queue.acknowledge(id.clone());
        }
        // Their ends that are unknown are declared again in each session.
        out.later(self.delivery.left().commands().into_iter().map(Work::Settle));
        // What the last link did not take of them is not sent again.
        out.later(self.delivery.given_away().into_iter().map(Work::Settle));
        self.repeat_reports(all);
    }

    /// Says every report again that the server has not confirmed and that may be said.
    pub(super) fn repeat_reports(&mut self, all: &AgentCommands) {
        for report in all.unconfirmed() {
            // A report that is withheld never went out, so there is nothing to repeat: its output comes first.
            if !self.reports.withholds(&report.command_id) {
                self.uplink.queue.report(report);
            }
        }
    }

    /// What is to be offered to the link next. `status` says how far a command is, and what it waits for.
    pub(super) fn next(
        &mut self,
        status: impl FnOnce(&CommandId) -> (CommandAckStatus, Option<Waits>),
    ) -> Option<Offer> {
        self.uplink.offer(|queue| match queue.next(status) {
            Some(Outbound::Complete(report)) => {
                Some(Outbound::Complete(self.reports.amend(report)))
            }
            Some(Outbound::Acknowledgement(id, status, waits, _)) => {
                let keeping = self.delivery.keeping(&id);
                Some(Outbound::Acknowledgement(id, status, waits, keeping))
            }
            Some(item) => Some(item),
            // Last, since there may be much of it; and a report is queued only when its output is stored.
            None => self.delivery.next_to_send().map(Outbound::Output),
        })
    }

    /// The session ended.
    pub(super) fn end(&mut self) {
        self.uplink.end();
        self.delivery.on_session_ended();
    }

    /// It counts as said: what the server will confirm is awaited, and all else is over with that.
    pub(super) fn mark_sent(&mut self, item: &Outbound, now: Timestamp) -> Passed {
        match self.uplink.pass(item) {
            Expected::Nothing => match item {
                Outbound::Output(sent) if self.delivery.is_given_away(&sent.run.command) => {
                    Passed::Settle(sent.run.command.clone())
                }
                Outbound::Receipt(..)
                | Outbound::Opened(_)
                | Outbound::Typed(_)
                | Outbound::Size(..)
                | Outbound::OutputState(_)
                | Outbound::Acknowledgement(..)
                | Outbound::OpenEnd(_)
                | Outbound::BlackBox(_)
                | Outbound::Activity(_)
                | Outbound::Complete(_)
                | Outbound::Output(_) => Passed::Nothing,
            },
            Expected::Confirmation(id) => {
                self.reports.on_sent(id, now);
                Passed::Nothing
            }
            Expected::NoConfirmation(id) => Passed::Confirmed(id.clone()),
            // Such a server never acknowledges a gap: without this the report would wait behind it for ever.
            Expected::StorageWithoutGaps(sent) => {
                self.delivery.outbox_mut().pass_gaps(&sent.run.command);
                Passed::Settle(sent.run.command.clone())
            }
            // No acknowledgement will come: output kept until then would fill the outbox and pause its program.
            Expected::NoStorage(sent) => {
                self.delivery.on_sent_to_legacy(sent);
                Passed::Settle(sent.run.command.clone())
            }
        }
    }

    /// The server has stored a stream up to here. Gives its command.
    pub(super) fn on_stored(&mut self, ack: OutputAck) -> CommandId {
        self.doubts.on_known(&ack.command_id);
        // Sizes stand at offsets of the terminal's stream; one of another stream says nothing about them.
        if ack.stream_type.stream() == Stream::Terminal {
            self.sizes.on_stored(&ack.command_id, ack.offset);
        }
        self.delivery.on_ack(&ack, self.uplink.capabilities());
        ack.command_id
    }

    /// The server has what is not stored of a stream up to here.
    pub(super) fn on_credit(&mut self, credit: &OutputCredit) {
        self.doubts.on_known(&credit.command_id);
        self.delivery.on_credit(credit);
    }

    /// The server says how far it is with these streams. Gives their commands.
    pub(super) fn on_resume(&mut self, resume: OutputResume) -> impl Iterator<Item = CommandId> {
        for position in &resume.streams {
            self.doubts.on_position(&position.command_id, position.offset);
        }
        self.delivery.on_resume(&resume);
        resume.streams.into_iter().map(|position| position.command_id)
    }

    /// Queues the report of a command once nothing is before it.
    pub(super) fn settle(&mut self, id: &CommandId) {
        // Not before the journal has the end: after a crash the next process would report the command as lost,
        // against what the server was told.
        if self.reports.is_unwritten(id) {
            return;
        }
        match self.delivery.readiness(id) {
            Readiness::Waits => {}
            Readiness::OpenEnds(ends) => self.uplink.queue.open_ends(ends),
            Readiness::Ready => {
                if let Some(report) = self.reports.release(id) {
                    self.delivery.close(id);
                    self.uplink.queue.report(report);
                }
            }
        }
    }

    /// One that never left the line needs no entry to be known as never started. That it was taken is not
    /// said any more: of one that is over that would mean that it runs.
    pub(super) fn report_never_ran(&mut self, report: CommandComplete) {
        self.uplink.queue.unacknowledge(&report.command_id);
        self.uplink.queue.report(report);
    }

    /// The server does not know this command: nothing more is kept for it or said of it.
    pub(super) fn give_up(&mut self, id: &CommandId) {
        self.delivery.give_up(id);
        // Without its output the report is due, and settling queues it; forgetting comes last, and takes it out again.
        self.settle(id);
        self.uplink.queue.forget(id);
    }

    /// The server has confirmed its report, or will never ask for it.
    pub(super) fn forget(&mut self, id: &CommandId) {
        self.doubts.forget(id);
        self.sizes.forget(id);
        self.reports.forget(id);
    }

    /// What was agreed with the server of the session.
    pub(super) fn agreed(&self, on: impl FnOnce(Capabilities) -> bool) -> bool {
        self.uplink.capabilities().is_some_and(on)
    }

    /// Whether something waits to be said, now or once the server stores what it has.
    pub(super) fn has_messages(&self) -> bool {
        !self.uplink.is_empty() || !self.delivery.is_empty() || self.reports.has_unwritten()
    }

    pub(super) fn deadline(&self) -> Deadline {
        self.delivery.deadline().min(self.reports.deadline())
    }
}

/// A terminal that is being started is said when it runs. It may never, and then no message would say
/// that it is over.
pub(super) fn is_there(all: &AgentCommands, id: &CommandId) -> bool {
    !id.is_terminal() || all.status(id) != CommandAckStatus::Received
}
