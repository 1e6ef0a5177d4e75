//! The course of a command on its agent: asked for, started, cancelled, ended. In which order that is done, and what is
//! refused; of a terminal only that its program is a command too, and that others are typed into it. What becomes of a
//! command after its end is in `ended`.

use super::carrier::{Cancelled, Carrier, ForTerminal, NewRun, unfit_for_a_process};
use super::commands::{Commands, Output};
use super::event::{Journalling, Rest, Task, WorkerAction};
use super::fence::Fence;
use super::handover::Handover;
use super::journal::Journal;
use super::note::WorkerNote;
use super::outputs::Outputs;
use super::report::{LeftRunning, MOST_WITHHELD, reason};
use super::stops::{Stops, end_process};
use super::work::Work;
use crate::command::{CancelDecision, Decision, Exit, JournalEntry, ProcessIdentity, Remains};
use crate::id::{CommandId, Incarnation};
use crate::model::{Capabilities, Force, Pausing};
use crate::output::{Run, Stream};
use crate::time::{Now, Timestamp};
use crate::wire::Draft;
use crate::wire::payload::{CommandAckStatus, CommandComplete, CommandRequest};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use bytes::Bytes;

/// All commands of an agent.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) commands: Commands,
    /// The text of a request that is to come.
    pub(super) draft: Draft,
    pub(super) handover: Handover,
    pub(super) stops: Stops,
    pub(super) journal: Journal,
    pub(super) fence: Fence,
    pub(super) pausing: Pausing,
    pub(super) out: Outputs,
}

const LOST_REQUEST: &str = "the agent has lost this request; send it again under a new id";

impl Course {
    // --- asked for

    pub(super) fn on_request(&mut self, id: CommandId, mut request: CommandRequest) {
        let joined = self.draft.join(&mut request).map_err(Cow::Owned);
        request.unstored &= self.handover.agreed(Capabilities::leaves_output_unstored);
        match self.commands.all.on_request(&id) {
            Decision::Keep => match joined.and_then(|()| self.admit(&request)) {
                Err(why) => self.refuse(&id, &why),
                Ok(()) => {
                    self.commands.keep(&id, request);
                    self.out.later([Work::Advance, Work::Acknowledge(id)]);
                }
            },
            Decision::Acknowledge(_) => {
                self.out.note(WorkerNote::AskedAgain(id.clone()));
                self.handover.uplink.queue.acknowledge(id);
            }
            // Its report waits for what an earlier process wrote, and comes by itself.
            Decision::Report(_) if self.handover.delivery.left().has(&id) => {
                self.out.note(WorkerNote::AskedAgain(id));
            }
            // Its report must not overtake its output: it is only said that the command is here.
            Decision::Report(_) if self.handover.reports.withholds(&id) => {
                self.handover.uplink.queue.acknowledge(id);
            }
            Decision::Report(report) => {
                self.out.note(WorkerNote::AskedAgain(id));
                self.handover.uplink.queue.report(report);
            }
            Decision::Refuse(report) => {
                let why = report.error.clone().unwrap_or_default();
                self.out.note(WorkerNote::Refused(id, why));
                self.handover.uplink.queue.report(report);
            }
        }
    }

    /// Whether a command that is new may wait for its turn.
    ///
    /// # Errors
    /// It may not, and why.
    fn admit(&self, request: &CommandRequest) -> Result<(), Cow<'static, str>> {
        // A stop first: whoever sent it wants to hear that it is in force.
        if self.stops.emergency.is_latched() {
            return Err(
                "an emergency stop is in force; nothing starts on this agent until it is released"
                    .into(),
            );
        }
        if self.stops.is_ending() {
            return Err("the agent is being stopped and starts no commands".into());
        }
        // Each end that waits for the server takes memory here, and only the server can free it.
        if self.handover.reports.is_full() {
            return Err(format!(
                "{MOST_WITHHELD} commands ended on this agent whose output the server has not stored; try again later"
            )
            .into());
        }
        self.fence.check(request).map_err(Cow::Owned)
    }

    /// Takes the next from the line, as long as there is a slot.
    pub(super) fn advance(&mut self, is_terminal_awaited: bool) {
        let waits = self.pausing.is_paused() || self.stops.is_ending() || is_terminal_awaited;
        self.commands.all.pause(Pausing::of(waits));
        while let Some((id, mark)) = self.commands.take_next() {
            match self.journal.keeping() {
                Journalling::Off => self.out.later([Work::Start(id)]),
                // Started without an entry it could run a second time after a crash (P-193).
                Journalling::Failed(why) => {
                    let why = format!("the agent cannot record the start: {why}");
                    self.refuse(&id, &why);
                }
                Journalling::Kept => {
                    self.handover.reports.write(&id);
                    self.write(JournalEntry::Starting { command: id, mark });
                }
            }
        }
    }

    /// It waits, and nothing else was said of it meanwhile.
    pub(super) fn acknowledge_waiting(&mut self, id: CommandId) {
        // One that is being started is acknowledged when it runs.
        if self.commands.all.status(&id) == CommandAckStatus::Queued {
            self.handover.uplink.queue.acknowledge(id);
        }
    }

    // --- started

    /// That it is being started is written down: now it may be.
    pub(super) fn start(&mut self, id: &CommandId, carrier: Carrier) -> ForTerminal {
        let request = self.commands.take_request(id);
        let mark = self.commands.take_mark(id);
        if let Err(report) = self.commands.all.may_start(id) {
            return match carrier {
                Carrier::Terminal(_) => ForTerminal::ProgramCancelled,
                Carrier::Typing | Carrier::Process => {
                    self.out.later(report.map(Work::Over));
                    ForTerminal::Nothing
                }
            };
        }
        let task = match (carrier, request) {
            (Carrier::Terminal(size), _) => Ok(Task::Terminal(size)),
            (Carrier::Typing | Carrier::Process, None) => Err(LOST_REQUEST.into()),
            (Carrier::Typing, Some(request)) => return ForTerminal::ToBeTyped(Box::new(request)),
            (Carrier::Process, Some(request)) => match unfit_for_a_process(&request) {
                None => Ok(Task::Command(Box::new(request))),
                Some(why) => Err(why),
            },
        };
        let task = task.and_then(|task| Ok((task, mark.ok_or(LOST_REQUEST)?)));
        match task {
            Ok((task, mark)) => {
                self.commands.starts(id, &task, mark.clone());
                self.out.act(WorkerAction::Start { command: id.clone(), mark, task });
            }
            Err(why) => self.refuse(id, &why),
        }
        ForTerminal::Nothing
    }

    pub(super) fn on_started(
        &mut self,
        id: &CommandId,
        process: Option<ProcessIdentity>,
        now: Now,
    ) -> NewRun {
        let Some(starting) = self.commands.take_start(id) else {
            // It must not run unobserved.
            self.out.note(WorkerNote::Unexpected(id.clone()));
            self.out.act(WorkerAction::Kill(id.clone()));
            return NewRun::Unexpected;
        };
        let is_cancelled = self.commands.all.on_started(id, starting.limit, now.monotonic);
        if let Some(process) = process.clone() {
            self.write(JournalEntry::Started { command: id.clone(), process });
        }
        // A clock before 1970 gives 0: the number is a label that tells two runs of one id apart.
        let started = u64::try_from(now.wall.unix_millis()).unwrap_or_default();
        let run = Run { command: id.clone(), incarnation: Incarnation(started) };
        if let Some(open) = self.handover.delivery.open(run, starting.keeping) {
            self.out.act(WorkerAction::Spool(open));
        }
        self.commands.runs(id, Remains { mark: starting.mark, process });
        match is_cancelled {
            true => NewRun::IsToEnd(starting.force),
            false => NewRun::GoesOn,
        }
    }

    /// It cannot be started after all.
    pub(super) fn on_not_started(&mut self, id: &CommandId, why: &str) {
        match self.commands.all.may_start(id) {
            Ok(()) | Err(None) => self.refuse(id, why),
            // It was cancelled meanwhile, and that is what its report says.
            Err(Some(report)) => self.out.later([Work::Over(report)]),
        }
    }

    /// It cannot be run, or is not to be.
    pub(super) fn refuse(&mut self, id: &CommandId, why: &str) {
        self.out.note(WorkerNote::Refused(id.clone(), why.into()));
        let has_begun = self.commands.all.has_begun(id);
        self.commands.forget(id);
        let report = self.commands.all.refuse(id, reason(why));
        if has_begun {
            // Its start is written down, so its end is too.
            self.out.later([Work::Over(report)]);
        } else {
            self.handover.report_never_ran(report);
        }
    }

    // --- cancelled

    pub(super) fn cancel(&mut self, id: &CommandId, force: Force) -> Cancelled {
        match self.commands.all.on_cancel(id) {
            CancelDecision::Kill => {
                self.out.note(WorkerNote::Cancelling(id.clone()));
                // What is being typed is typed to its end.
                if self.commands.is_running(id) {
                    self.out.act(end_process(id, force));
                    return Cancelled::Ending;
                }
            }
            CancelDecision::Withheld => {
                self.out.note(WorkerNote::CancelledInTime(id.clone()));
                // The edge may be starting it: then it is ended when it says that it runs.
                if !self.commands.cancel_start(id, force) {
                    return Cancelled::Withdrawn;
                }
            }
            CancelDecision::Report(report) => {
                // Its end stays what it was; what it left running is ended.
                if self.stops.background.has(id) {
                    self.out.act(end_process(id, force));
                }
                if self.handover.reports.withholds(id) {
                    self.out.note(WorkerNote::CancelledTooLate(id.clone()));
                } else {
                    self.handover.uplink.queue.report(report);
                }
            }
            CancelDecision::NeverRan(report) => {
                self.commands.forget(id);
                self.handover.report_never_ran(report);
            }
        }
        Cancelled::Nothing
    }

    /// Ends commands that ran over their limits.
    pub(super) fn end_expired(&mut self, now: Timestamp) {
        for id in self.commands.all.take_expired(now) {
            self.out.note(WorkerNote::OverLimit(id.clone()));
            if self.commands.is_running(&id) {
                self.out.act(end_process(&id, Force::Grace));
            }
        }
    }

    // --- ended

    pub(super) fn on_output(&mut self, id: &CommandId, stream: Stream, bytes: Bytes) {
        let Some(running) = self.commands.running(id) else {
            return self.out.note(WorkerNote::Unexpected(id.clone()));
        };
        match running.output {
            Output::Taken => {}
            Output::Muted => return,
        }
        let whole = running.cutters.get_mut(stream).push(bytes);
        // While the agent ends, processes are read to their end; what has no room is declared as a gap.
        if self.stops.is_ending()
            && self.handover.delivery.outbox().is_full()
            && !self.handover.delivery.keeping(id).is_unstored()
            && self.handover.reports.remark(id).cut_output()
        {
            self.out.note(WorkerNote::OutputCut(id.clone()));
        }
        self.handover.delivery.push(id, stream, whole);
    }

    /// A process has ended. Gives the report of its command, which is [`over`](Self::over) then.
    pub(super) fn on_ended(
        &mut self,
        id: &CommandId,
        (exit, rest): (Exit, Rest),
        open: &[Stream],
        now: Now,
    ) -> Option<CommandComplete> {
        let Some(mut running) = self.commands.ended(id) else {
            self.out.note(WorkerNote::Unexpected(id.clone()));
            return None;
        };
        let delivery = &mut self.handover.delivery;
        match running.output {
            Output::Taken => {
                for stream in Stream::ALL {
                    let last = running.cutters.get_mut(stream).finish();
                    delivery.push(id, stream, last);
                }
                delivery.end(id, open);
            }
            // Nothing of it is sent, so nothing of it can be missing.
            Output::Muted => delivery.end(id, &[]),
        }
        match rest {
            Rest::Ended => {}
            Rest::Watched => {
                self.out.note(WorkerNote::LeftInBackground(id.clone()));
                let left = self.stops.leave(id, running.processes, &mut self.out);
                self.handover.reports.remark(id).left = Some(left);
            }
            Rest::Unclear(processes) => {
                self.out.note(WorkerNote::LeftInBackground(id.clone()));
                let left = self.stops.leave(id, running.processes, &mut self.out);
                let is_all_ending = self.stops.emergency.is_latched() || self.stops.is_ending();
                let left = if is_all_ending { left } else { LeftRunning::Unclear(processes) };
                self.handover.reports.remark(id).left = Some(left);
            }
            Rest::Unwatched => {
                self.out.note(WorkerNote::LeftInBackground(id.clone()));
                self.handover.reports.remark(id).left = Some(LeftRunning::Kept);
                self.stops.emergency.on_survivors();
            }
        }
        let totals = self.handover.delivery.totals(id);
        let report = self.commands.all.on_ended(id, exit, totals, now.monotonic, now.wall);
        match &report {
            Some(report) => {
                let (command, phase, ms) = (id.clone(), report.status.clone(), report.duration_ms);
                self.out.note(WorkerNote::Ended { command, exit, phase, ms });
            }
            None => self.out.note(WorkerNote::Unexpected(id.clone())),
        }
        report
    }
}
