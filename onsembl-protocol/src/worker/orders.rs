//! What a worker does because the server, its machine or the end of its terminal asks for it: instructions, stops, and
//! the way to its own end.

use super::carrier::Cancelled;
use super::course::Course;
use super::end::WorkerEnd;
use super::event::WorkerAction;
use super::handover::Handover;
use super::machine::Worker;
use super::message::Instruction;
use super::note::WorkerNote;
use super::remote_typing::RemoteTyping;
use super::report::StoppedBy;
use super::shutdown::Shutdown;
use super::stops::end_process;
use super::terminal_work::cannot_resize;
use super::work::Work;
use crate::command::JournalEntry;
use crate::id::{CommandId, StopId};
use crate::model::{Force, Pausing};
use crate::session::AgentCause;
use crate::terminal::program_ended;
use crate::time::Now;
use crate::wire::payload::TerminalInput;

impl Worker {
    pub(super) fn on_instruction(&mut self, instruction: Instruction, now: Now) {
        let course = &mut self.course;
        match instruction {
            Instruction::Ignore => {}
            Instruction::Run(id, request) => course.on_request(id, *request),
            Instruction::AddText(piece) => course.draft.add(piece),
            // It may mean only that the server has lost its database.
            Instruction::Cancel(id, Force::AtOnce) if course.handover.doubts.doubts_cancel(&id) => {
                course.out.note(WorkerNote::CancelDoubted(id));
            }
            Instruction::Cancel(id, force) => self.cancel(&id, force),
            Instruction::Stored(ack) => {
                let id = course.handover.on_stored(ack);
                course.out.later([Work::Settle(id)]);
            }
            Instruction::Credit(credit) => course.handover.on_credit(&credit),
            Instruction::Resume(resume) => {
                let stored = course.handover.on_resume(resume);
                course.out.later(stored.map(Work::Settle));
            }
            Instruction::ReportOutputState(query) => {
                let Handover { uplink, delivery, .. } = &mut course.handover;
                let agreed = uplink.capabilities();
                delivery.report_output_state(Some(query), agreed, &mut uplink.queue);
            }
            Instruction::Confirmed(id) => {
                // An acknowledgement of another session is none of this report.
                if course.handover.reports.on_confirmed(&id) {
                    course.confirm(&id);
                }
            }
            Instruction::FindingsStored(number) => self.findings.on_stored(number),
            Instruction::UnknownCommand(id) => course.on_unknown_to_server(&id, now.monotonic),
            Instruction::NotTaken(id) => course.on_not_taken(&id),
            Instruction::End(order, force) => self.end(WorkerEnd::Ordered(order), force, now),
            Instruction::Pause(pausing) => {
                course.pausing = pausing;
                course.out.act(WorkerAction::SayPaused(pausing));
                course.out.later([Work::Advance]);
            }
            Instruction::Resize(size) => match &mut self.terminal {
                Some(terminal) => terminal.on_resize(size, course),
                None => {
                    let report = cannot_resize("this agent has no terminal to resize");
                    course.out.act(WorkerAction::Complain(report));
                }
            },
            Instruction::Type(input) => self.on_remote_input(input, now),
            Instruction::Stop(stop) => self.on_stop_order(stop),
            Instruction::Release(stop) => {
                if let Some(released) = course.stops.emergency.on_release(&stop) {
                    self.on_released(released);
                }
            }
            Instruction::KillAll => self.stop_all(StoppedBy::Emergency, Force::AtOnce),
            Instruction::RenewToken(token) => course.out.act(WorkerAction::RenewToken(token)),
            Instruction::Complain(report) => course.out.act(WorkerAction::Complain(report)),
        }
    }

    fn on_remote_input(&mut self, input: TerminalInput, now: Now) {
        match &mut self.terminal {
            Some(work) => {
                work.on_remote_input(input, &mut self.course, &mut self.activities, now);
            }
            None => {
                let TerminalInput { command_id, holder, .. } = input;
                let nothing = RemoteTyping::default();
                nothing.refuse(command_id, holder, program_ended(), &mut self.course);
            }
        }
    }

    // --- stops

    fn cancel(&mut self, id: &CommandId, force: Force) {
        let cancelled = self.course.cancel(id, force);
        let Some(work) = &mut self.terminal else { return };
        match cancelled {
            Cancelled::Nothing => {}
            Cancelled::Ending => work.terminal.on_ending(id),
            Cancelled::Withdrawn => work.withdraw(id, &mut self.course),
        }
    }

    pub(super) fn end_process(&mut self, id: &CommandId, force: Force) {
        if let Some(work) = &mut self.terminal {
            work.terminal.on_ending(id);
        }
        self.course.out.act(end_process(id, force));
    }

    /// Ends everything that has not ended.
    fn stop_all(&mut self, by: StoppedBy, force: Force) {
        for id in self.course.commands.all.unfinished() {
            // What ended it first is what its report says.
            let remarks = self.course.handover.reports.remark(&id);
            let _ = remarks.stopped_by.get_or_insert(by);
            self.cancel(&id, force);
        }
        self.course.stops.stop_background(force, &mut self.course.out);
    }

    /// An emergency stop; perhaps again, because the server has not heard that it is carried out.
    pub(super) fn on_stop_order(&mut self, stop: StopId) {
        if self.course.stops.emergency.on_order(stop.clone()) {
            self.course.out.note(WorkerNote::StopOrdered(stop.clone()));
            // Killing does not wait for the disk.
            self.stop_all(StoppedBy::Emergency, Force::AtOnce);
            self.course.stops.background.sweep_at_once();
            self.course.write(JournalEntry::Stopped { stop });
        }
        self.course.say_receipt();
    }

    pub(super) fn on_released(&mut self, stop: StopId) {
        self.course.stops.background.stop_sweeping();
        self.course.out.note(WorkerNote::StopReleased(stop.clone()));
        self.course.write(JournalEntry::Released { stop });
    }

    // --- the own end

    /// The server refuses this agent permanently.
    pub(super) fn on_refused(&mut self, cause: AgentCause, now: Now) {
        let why = WorkerEnd::Refused(cause);
        match why.is_replacement() {
            true => self.leave(why, now),
            false => self.end(why, Force::Grace, now),
        }
    }

    pub(super) fn on_shut_down(&mut self, now: Now) {
        // A second one does not restart the wait; it ends one for commands that run on (P-241).
        if self.course.stops.shutdown.as_ref().is_none_or(Shutdown::is_patient) {
            self.end(WorkerEnd::Shutdown, Force::Grace, now);
        }
    }

    /// The agent is to end: nothing starts any more, and what runs is ended. Reading continues, since the end
    /// of a process is reported only when its output was read.
    pub(super) fn end(&mut self, why: WorkerEnd, force: Force, now: Now) {
        self.course.out.note(WorkerNote::Ending(why.clone()));
        match &mut self.course.stops.shutdown {
            Some(shutdown) => shutdown.again(why, now.monotonic),
            none => *none = Some(Shutdown::new(why, now.monotonic)),
        }
        self.start_nothing_more();
        self.stop_all(StoppedBy::Agent, force);
        let Course { commands, stops, out, .. } = &mut self.course;
        stops.begin_leaving(force, !commands.are_none(), now.monotonic, out);
        self.course.handover.delivery.wind_up();
    }

    /// Another process of this agent has the session. Nothing starts here any more; what runs continues to its end,
    /// because no order says that it end, and what it writes is kept for a successor.
    fn leave(&mut self, why: WorkerEnd, now: Now) {
        if self.course.stops.is_ending() {
            return self.end(why, Force::Grace, now);
        }
        let running = self.course.commands.count();
        self.course.out.note(match running {
            0 => WorkerNote::Ending(why.clone()),
            _ => WorkerNote::Leaving(running),
        });
        self.course.stops.shutdown = Some(Shutdown::patient(why));
        self.start_nothing_more();
        self.course.handover.delivery.wind_up();
    }

    fn start_nothing_more(&mut self) {
        if let Some(work) = &mut self.terminal {
            work.terminal.finish();
        }
        self.course.commands.all.pause(Pausing::Paused);
    }
}
