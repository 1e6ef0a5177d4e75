//! The course of a command on its agent: asked for, started, cancelled, ended, reported.

use super::commands::Output;
use super::delivery::Readiness;
use super::end::WorkerEnd;
use super::event::{Journalling, Rest, Task, WorkerAction};
use super::note::WorkerNote;
use super::report::{ENDED_UNREPORTED, LOST, LeftRunning, MOST_WITHHELD, StoppedBy, reason};
use super::shutdown::Shutdown;
use super::{Work, Worker, terminal};
use crate::command::{
    Awaited, CancelDecision, Cleared, CommandJournal, Decision, Exit, Fate, JournalEntry,
    ProcessIdentity, Remains,
};
use crate::id::{CommandId, Incarnation};
use crate::model::{Force, Pausing};
use crate::output::{LeftRun, Run, Stream};
use crate::time::Now;
use crate::wire::payload::{
    CommandAckStatus, CommandComplete, CommandInput, CommandPhase, CommandRequest,
};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

/// How long a process group may take to end after it was asked to.
pub(super) const GRACE: Duration = Duration::from_secs(5);

impl Worker {
    /// A command ran when the earlier process died.
    pub(super) fn recover_command(&mut self, cleared: Cleared) {
        let Cleared { command, fate, why } = cleared;
        if let Some(report) = self.commands.all.report(&command).cloned() {
            // It had ended, and left something that lived on.
            self.note(WorkerNote::RunLeft(command, fate, why));
            return match fate {
                Fate::Ended => self.write(JournalEntry::Ended { report, remains: None }),
                Fate::Unknown => self.emergency.on_survivors(),
            };
        }
        let text = format!("the agent's process died while this command ran; {why}");
        self.note(WorkerNote::RunLeft(command.clone(), fate, why));
        match fate {
            Fate::Ended => {}
            // A stop that was in force must not be called verified.
            Fate::Unknown => self.emergency.on_survivors(),
        }
        let report = self.commands.all.lose(&command, fate, reason(&text));
        self.over(report);
    }

    /// Output of a run is in the spool.
    pub(super) fn recover_run(&mut self, run: LeftRun, before: &CommandJournal) {
        let name = run.recovered.run().clone();
        let (id, why) = (name.command.clone(), if run.ended { ENDED_UNREPORTED } else { LOST });
        self.note(WorkerNote::OutputLeft(id.clone()));
        let known = self.commands.all.report(&id).cloned();
        // A process that saw the end counted what was written, even if the spool did not hear of that end.
        let counted = known.as_ref().and_then(|report| report.output);
        let is_counted = counted.is_some_and(|all| all.incarnation == name.incarnation);
        let has_ended = run.ended;
        // What was read after the end of its command is not known if something of it lived on then.
        let is_end_known = (has_ended || is_counted) && !before.has_remains(&id);
        let end = if is_end_known { Fate::Ended } else { Fate::Unknown };
        self.delivery.recover(run, end);
        let found = self.delivery.outbox().totals(&id);
        let report = match known {
            Some(report) => report,
            None => {
                let lost = self.commands.all.lose(&id, Fate::Unknown, why.to_owned());
                // What is found of a run that did not end is no count: written down it would be taken for
                // one by the next process, which then said nothing of the end that is not known.
                let output = found.filter(|_| has_ended);
                self.over(CommandComplete { output, ..lost.clone() });
                lost
            }
        };
        let output = counted.or(found);
        self.reports.withhold(CommandComplete { output, ..report });
    }

    pub(super) fn work(&mut self, work: Work, now: Now) {
        match work {
            Work::Advance => self.advance(),
            Work::Start(id) => self.start(&id, now),
            Work::Over(report) => self.over(report),
            Work::Settle(id) => self.settle(&id),
            Work::Acknowledge(id) => {
                // One that is being started is acknowledged when it runs.
                if self.commands.all.status(&id) == CommandAckStatus::Queued {
                    self.uplink.queue.acknowledge(id);
                }
            }
        }
    }

    pub(super) fn on_request(&mut self, id: CommandId, request: CommandRequest) {
        match self.commands.all.on_request(&id) {
            Decision::Keep if self.emergency.is_latched() => {
                self.refuse(&id, "an emergency stop is in force; nothing starts on this agent until it is released");
            }
            Decision::Keep if self.shutdown.is_some() => {
                self.refuse(&id, "the agent is being stopped and starts no commands");
            }
            Decision::Keep if self.reports.is_full() => {
                let why = format!(
                    "{MOST_WITHHELD} commands ended on this agent whose output the server has not stored; try again later"
                );
                self.refuse(&id, &why);
            }
            Decision::Keep => match self.fence.check(&request) {
                Err(why) => self.refuse(&id, &why),
                Ok(()) => {
                    self.commands.keep(&id, request);
                    self.todo.push_back(Work::Advance);
                    self.todo.push_back(Work::Acknowledge(id));
                }
            },
            Decision::Acknowledge(_) => {
                self.note(WorkerNote::AskedAgain(id.clone()));
                self.uplink.queue.acknowledge(id);
            }
            // Its report waits for what an earlier process wrote, and comes by itself.
            Decision::Report(_) if self.delivery.left().has(&id) => {
                self.note(WorkerNote::AskedAgain(id));
            }
            // Its report must not overtake its output: it is only said that the command is here.
            Decision::Report(_) if self.reports.withholds(&id) => self.uplink.queue.acknowledge(id),
            Decision::Report(report) => {
                self.note(WorkerNote::AskedAgain(id));
                self.uplink.queue.report(report);
            }
            Decision::Refuse(report) => {
                let why = report.error.clone().unwrap_or_default();
                self.note(WorkerNote::Refused(id, why));
                self.uplink.queue.report(report);
            }
        }
    }

    /// Takes the next from the line, as long as there is a slot.
    fn advance(&mut self) {
        let is_awaited = self.terminal.as_ref().is_some_and(terminal::Terminal::is_awaited);
        let waits = self.pausing.is_paused() || self.shutdown.is_some() || is_awaited;
        self.commands.all.pause(Pausing::of(waits));
        while let Some((id, mark)) = self.commands.take_next() {
            match self.journal.keeping() {
                Journalling::Off => self.todo.push_back(Work::Start(id)),
                // Started without an entry it could run a second time after a crash (P-193).
                Journalling::Failed(why) => {
                    let why = format!("the agent cannot write down that it starts this: {why}");
                    self.refuse(&id, &why);
                }
                Journalling::Kept => {
                    self.reports.write(&id);
                    self.write(JournalEntry::Starting { command: id, mark });
                }
            }
        }
    }

    /// That it is being started is written down: now it may be.
    fn start(&mut self, id: &CommandId, now: Now) {
        let request = self.commands.take_request(id);
        let mark = self.commands.take_mark(id);
        let terminal = self.terminal.as_ref().filter(|terminal| terminal.is_run(id));
        let terminal_size = terminal.map(terminal::Terminal::size);
        match self.commands.all.may_start(id) {
            Ok(()) => {}
            Err(_) if terminal_size.is_some() => {
                return self.terminal_not_started(
                    id,
                    "it was cancelled before it was started",
                    now,
                );
            }
            Err(report) => return self.todo.extend(report.map(Work::Over)),
        }
        if terminal_size.is_none()
            && self.terminal.is_none()
            && request.as_ref().is_some_and(|request| request.condition.is_some())
        {
            return self.refuse(id, "this agent has no terminal whose program could wait for a prompt (`if`); it runs each command by itself");
        }
        let task = match (terminal_size, request) {
            (Some(size), _) => Task::Terminal(size),
            (None, Some(request)) if self.terminal.is_some() => {
                return self.ask_typing_queue(id, request, now);
            }
            (None, Some(request)) => match &request.input {
                None | Some(CommandInput::Text) => Task::Command(Box::new(request)),
                Some(CommandInput::Secret) => {
                    return self.refuse(id, "this agent has no terminal into which a secret could be typed; it runs each command by itself, and would show it to others on its machine");
                }
                Some(CommandInput::Keys) => {
                    return self.refuse(id, "this agent has no terminal in which keys could be pressed; it runs each command by itself");
                }
                Some(CommandInput::Unknown(word)) => {
                    let why = terminal::unknown_input(word);
                    return self.refuse(id, &why);
                }
            },
            (None, None) => return self.refuse(id, LOST_REQUEST),
        };
        let Some(mark) = mark else { return self.refuse(id, LOST_REQUEST) };
        self.commands.starts(id, &task, mark.clone());
        self.actions.push_back(WorkerAction::Start { command: id.clone(), mark, task });
    }

    pub(super) fn on_started(
        &mut self,
        id: &CommandId,
        process: Option<ProcessIdentity>,
        now: Now,
    ) {
        let Some(starting) = self.commands.take_start(id) else {
            // It must not run unobserved.
            self.note(WorkerNote::Unexpected(id.clone()));
            return self.actions.push_back(WorkerAction::Kill(id.clone()));
        };
        let is_cancelled = self.commands.all.on_started(id, starting.limit, now.monotonic);
        if let Some(process) = process.clone() {
            self.write(JournalEntry::Started { command: id.clone(), process });
        }
        // A clock before 1970 gives 0: the number is a label that tells two runs of one id apart.
        let started = u64::try_from(now.wall.unix_millis()).unwrap_or_default();
        let run = Run { command: id.clone(), incarnation: Incarnation(started) };
        let open = self.delivery.open(run);
        self.actions.push_back(WorkerAction::Spool(open));
        self.commands.runs(id, Remains { mark: starting.mark, process });
        self.watch_activity(id, now);
        if self.is_terminal_run(id) {
            self.terminal_started(id, now);
        } else {
            self.uplink.queue.acknowledge(id.clone());
        }
        if is_cancelled {
            self.stop_process(id, starting.force);
        }
    }

    pub(super) fn on_not_started(&mut self, id: &CommandId, why: &str, now: Now) {
        if self.commands.take_start(id).is_none() {
            return self.note(WorkerNote::Unexpected(id.clone()));
        }
        if self.is_terminal_run(id) {
            return self.terminal_not_started(id, why, now);
        }
        match self.commands.all.may_start(id) {
            Ok(()) | Err(None) => self.refuse(id, why),
            // It was cancelled meanwhile, and that is what its report says.
            Err(Some(report)) => self.todo.push_back(Work::Over(report)),
        }
    }

    /// It cannot be run, or is not to be.
    pub(super) fn refuse(&mut self, id: &CommandId, why: &str) {
        self.note(WorkerNote::Refused(id.clone(), why.into()));
        let has_begun = self.commands.all.has_begun(id);
        self.commands.forget(id);
        let report = self.commands.all.refuse(id, reason(why));
        if has_begun {
            self.todo.push_back(Work::Over(report));
        } else {
            self.report_never_ran(report);
        }
    }

    /// One that never left the line needs no entry to be known as never started. That it was taken is not
    /// said any more: of one that is over that would mean that it runs.
    fn report_never_ran(&mut self, report: CommandComplete) {
        self.uplink.queue.unacknowledge(&report.command_id);
        self.uplink.queue.report(report);
    }

    pub(super) fn cancel(&mut self, id: &CommandId, force: Force) {
        match self.commands.all.on_cancel(id) {
            CancelDecision::Kill => {
                self.note(WorkerNote::Cancelling(id.clone()));
                // What is being typed is typed to its end.
                if self.commands.is_running(id) {
                    self.stop_process(id, force);
                }
            }
            CancelDecision::Withheld => {
                self.note(WorkerNote::CancelledInTime(id.clone()));
                if !self.commands.cancel_start(id, force) {
                    self.withdraw(id);
                }
            }
            CancelDecision::Report(report) => {
                // Its end stays what it was; what it left running is ended.
                if self.background.has(id) {
                    self.stop_process(id, force);
                }
                if self.reports.withholds(id) {
                    self.note(WorkerNote::CancelledTooLate(id.clone()));
                } else {
                    self.uplink.queue.report(report);
                }
            }
            CancelDecision::NeverRan(report) => {
                self.commands.forget(id);
                self.report_never_ran(report);
            }
        }
    }

    pub(super) fn stop_process(&mut self, id: &CommandId, force: Force) {
        if let Some(terminal) = self.terminal.as_mut().filter(|terminal| terminal.is_run(id)) {
            terminal.on_ending();
        }
        self.actions.push_back(match force {
            Force::Grace => WorkerAction::Cancel { command: id.clone(), grace: GRACE },
            Force::AtOnce => WorkerAction::Kill(id.clone()),
        });
    }

    /// Ends everything that has not ended.
    pub(super) fn stop_all(&mut self, by: StoppedBy, force: Force) {
        for id in self.commands.all.unfinished() {
            // What ended it first is what its report says.
            let _ = self.reports.remark(&id).stopped_by.get_or_insert(by);
            self.cancel(&id, force);
        }
        self.stop_background(force);
    }

    /// Ends what commands left that have ended.
    pub(super) fn stop_background(&mut self, force: Force) {
        let left: Vec<CommandId> = self.background.ids().cloned().collect();
        for id in left {
            self.stop_process(&id, force);
        }
    }

    /// Something of a command lives that has ended itself.
    fn on_left(&mut self, id: &CommandId, processes: Remains) {
        self.note(WorkerNote::LeftInBackground(id.clone()));
        let force = match self.background.leave(id, processes) {
            // It may have been born while the others were killed.
            _ if self.emergency.is_latched() => Some(Force::AtOnce),
            force => force,
        };
        self.reports.remark(id).left = match force {
            None => Some(LeftRunning::Kept),
            Some(Force::Grace | Force::AtOnce) => Some(LeftRunning::BeingEnded),
        };
        if let Some(force) = force {
            self.stop_process(id, force);
        }
    }

    /// Nothing lives any more of what a command left.
    pub(super) fn on_cleared(&mut self, id: &CommandId) {
        if !self.background.clear(id) {
            return self.note(WorkerNote::Unexpected(id.clone()));
        }
        self.note(WorkerNote::BackgroundEnded(id.clone()));
        let is_reported = self.commands.all.report(id).is_some();
        if !is_reported || self.commands.all.is_confirmed(id) {
            self.write_cleared(id);
        }
    }

    fn write_cleared(&mut self, id: &CommandId) {
        if self.background.take_cleared(id)
            && let Some(report) = self.commands.all.report(id).cloned()
        {
            self.write(JournalEntry::Ended { report, remains: None });
        }
    }

    /// Ends commands that ran over their limits.
    pub(super) fn end_expired(&mut self, now: Now) {
        for id in self.commands.all.take_expired(now.monotonic) {
            self.note(WorkerNote::OverLimit(id.clone()));
            if self.commands.is_running(&id) {
                self.stop_process(&id, Force::Grace);
            }
        }
    }

    pub(super) fn on_output(&mut self, id: &CommandId, stream: Stream, bytes: Bytes, now: Now) {
        if self.is_terminal_run(id) {
            self.watch_terminal(&bytes, now);
        }
        self.watch_output(id, &bytes, now);
        let Some(running) = self.commands.running(id) else {
            return self.note(WorkerNote::Unexpected(id.clone()));
        };
        match running.output {
            Output::Taken => {}
            Output::Muted => return,
        }
        let whole = running.cutters.get_mut(stream).push(bytes);
        // While the agent ends, processes are read to their end; what has no room is declared as a gap.
        if self.shutdown.is_some()
            && self.delivery.outbox().is_full()
            && !core::mem::replace(&mut self.reports.remark(id).output_cut, true)
        {
            self.note(WorkerNote::OutputCut(id.clone()));
        }
        self.delivery.push(id, stream, whole);
    }

    pub(super) fn on_ended(
        &mut self,
        id: &CommandId,
        (exit, rest): (Exit, Rest),
        open: &[Stream],
        now: Now,
    ) {
        let Some(mut running) = self.commands.ended(id) else {
            return self.note(WorkerNote::Unexpected(id.clone()));
        };
        self.unwatch_activity(id);
        match running.output {
            Output::Taken => {
                for stream in Stream::ALL {
                    let last = running.cutters.get_mut(stream).finish();
                    self.delivery.push(id, stream, last);
                }
            }
            Output::Muted => {}
        }
        match running.output {
            Output::Taken => self.delivery.end(id, open),
            Output::Muted => self.delivery.end(id, &[]),
        }
        match rest {
            Rest::Gone => {}
            Rest::Watched => self.on_left(id, running.processes),
            Rest::Unwatched => {
                self.note(WorkerNote::LeftInBackground(id.clone()));
                self.reports.remark(id).left = Some(LeftRunning::Kept);
                self.emergency.on_survivors();
            }
        }
        let totals = self.delivery.outbox().totals(id);
        match self.commands.all.on_ended(id, exit, totals, now.monotonic, now.wall) {
            Some(report) => {
                let (command, phase, ms) = (id.clone(), report.status.clone(), report.duration_ms);
                let is_ordered = phase == CommandPhase::Cancelled;
                self.note(WorkerNote::Ended { command, exit, phase, ms });
                if self.is_terminal_run(id) {
                    self.terminal_ended(exit, now);
                    // Whoever ended it needs no word that it did.
                    match is_ordered {
                        true => self.forget_program_fault(),
                        false => self.say_program_fault(now),
                    }
                }
                self.todo.push_back(Work::Over(report));
            }
            None => self.note(WorkerNote::Unexpected(id.clone())),
        }
    }

    /// Its end is reported once it is written down, and the server has its output.
    pub(super) fn over(&mut self, report: CommandComplete) {
        let id = report.command_id.clone();
        // Its slot is free.
        self.todo.push_back(Work::Advance);
        self.reports.withhold(report.clone());
        match self.journal.keeping() {
            // It is over whether or not that can be written down, and the server has it written down too.
            Journalling::Off | Journalling::Failed(_) => self.todo.push_back(Work::Settle(id)),
            Journalling::Kept => {
                self.reports.write(&id);
                let report = self.reports.amend(report);
                let remains = self.background.remains(&id);
                self.write(JournalEntry::Ended { report, remains });
            }
        }
    }

    /// The report goes out once nothing is before it.
    fn settle(&mut self, id: &CommandId) {
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

    /// The server has its report, or will never ask for it.
    pub(super) fn confirm(&mut self, id: &CommandId) {
        self.doubts.forget(id);
        self.sizes.forget(id);
        self.commands.all.on_confirmed(id);
        self.reports.forget(id);
        self.write(JournalEntry::Confirmed { command: id.clone() });
        self.write_cleared(id);
    }

    /// The server cannot take up this command now. What is kept of it is said in the next session.
    pub(super) fn on_not_taken(&mut self, id: &CommandId) {
        self.note(WorkerNote::NotTakenByServer(id.clone()));
        self.delivery.withhold(id);
    }

    /// The server says that it knows no such command. If that means that it is over, what is kept for it would
    /// be sent again and again.
    pub(super) fn on_unknown_to_server(&mut self, id: &CommandId, now: Now) {
        if self.doubts.doubts_unknown(id, now.monotonic) {
            return self.on_not_taken(id);
        }
        self.note(WorkerNote::UnknownToServer(id.clone()));
        if let Some(running) = self.commands.running(id) {
            // It is read on, so that the process does not hang on a full pipe.
            running.output = Output::Muted;
        }
        self.delivery.give_up(id);
        self.settle(id);
        self.uplink.queue.forget(id);
        self.confirm(id);
    }

    /// Something is written down, or cannot be.
    pub(super) fn on_journalled(&mut self, awaited: Awaited, outcome: Result<(), String>) {
        self.journal.on_written(&outcome);
        if let Err(error) = &outcome {
            self.note(WorkerNote::JournalFailed(error.clone()));
        }
        match awaited {
            Awaited::Start(id) => {
                self.reports.written(&id);
                match outcome {
                    Ok(()) => self.todo.push_back(Work::Start(id)),
                    // It was not asked for, so it was not promised to run once.
                    Err(error) if self.is_terminal_run(&id) => {
                        self.note(WorkerNote::TerminalNotWritten(id.clone(), error));
                        self.todo.push_back(Work::Start(id));
                    }
                    Err(error) => {
                        let why = format!(
                            "never started: the agent cannot write down that it starts this ({error}); free space on its disk and ask again under a new id"
                        );
                        self.refuse(&id, &why);
                    }
                }
            }
            Awaited::End(id) => {
                self.reports.written(&id);
                if outcome.is_err() {
                    self.note(WorkerNote::EndNotWritten(id.clone()));
                }
                self.todo.push_back(Work::Settle(id));
            }
            Awaited::Stop(stop) => {
                match outcome {
                    Ok(()) => self.emergency.on_durable(&stop),
                    Err(error) => self.note(WorkerNote::StopNotDurable(stop, error)),
                }
                self.say_receipt();
            }
        }
    }

    /// Another process of this agent has the session. Nothing starts here any more; what runs continues to its end,
    /// because no order says that it end, and what it writes is kept for a successor.
    pub(super) fn leave(&mut self, why: WorkerEnd, now: Now) {
        if self.shutdown.is_some() {
            return self.end(why, Force::Grace, now);
        }
        let running = self.commands.count();
        self.note(match running {
            0 => WorkerNote::Ending(why.clone()),
            _ => WorkerNote::Leaving(running),
        });
        self.shutdown = Some(Shutdown::patient(why));
        if let Some(terminal) = &mut self.terminal {
            terminal.finish();
        }
        self.commands.all.pause(Pausing::Paused);
        self.delivery.wind_up();
    }

    /// The agent is to end because of its terminal, unless it does already.
    pub(super) fn end_by_terminal(&mut self, now: Now) -> bool {
        let finished = self.terminal.as_mut().and_then(terminal::Terminal::take_finished);
        match finished {
            Some(why) if self.shutdown.is_none() => {
                self.end(why, Force::Grace, now);
                true
            }
            Some(WorkerEnd::Shutdown | WorkerEnd::Ordered(_) | WorkerEnd::ProgramEnded(_))
            | Some(WorkerEnd::ProgramCannotStart(_) | WorkerEnd::Refused(_))
            | None => false,
        }
    }
}

const LOST_REQUEST: &str = "the agent has lost what was to be run; ask again under a new id";
