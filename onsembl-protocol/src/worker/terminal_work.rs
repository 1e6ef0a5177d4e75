//! What the terminal means for the commands of an agent: its program starts and ends as a command does, and commands of
//! users are typed into it. What is due for it, what of that is told, and what somebody presses at its screen.

use super::activity::Activities;
use super::course::Course;
use super::event::{Journalling, ScreenAction, ScreenEvent, TypingOutcome, Waiting, WorkerAction};
use super::message::{complaint, program_does_not_run, program_runs_again};
use super::note::WorkerNote;
use super::remote_typing::{NOT_SUSPENDED, RemoteTyping};
use super::stopped_program::StopNews;
use super::terminal::{Keys, Piece, ProgramEnd, Terminal, TerminalTask};
use super::work::Work;
use crate::command::{Exit, JournalEntry, TypingEnd};
use crate::id::CommandId;
use crate::model::{Capabilities, SizeRecord};
use crate::output::{Run, SpoolRequest};
use crate::terminal::{AfterEnd, Asked, Expecting, TerminalSettings, TerminalSize, Typed};
use crate::time::{Deadline, Now};
use crate::wire::payload::{
    AgentErrorReport, AgentErrorType, CommandAckStatus, CommandPhase, CommandRequest, TerminalInput,
};
use alloc::format;
use alloc::string::ToString as _;
use bytes::Bytes;

/// The terminal, with what is typed into it remotely.
#[derive(Debug)]
pub(super) struct TerminalWork {
    pub(super) terminal: Terminal,
    pub(super) remote: RemoteTyping,
}

impl TerminalWork {
    pub(super) fn new(terminal: Terminal) -> Self {
        Self { terminal, remote: RemoteTyping::default() }
    }

    /// Does the next thing that is due for the terminal. Whether there was one.
    pub(super) fn serve(
        &mut self,
        course: &mut Course,
        activities: &mut Activities,
        now: Now,
    ) -> bool {
        let stopped = course.stops.emergency.is_latched();
        let full = course.handover.reports.is_full();
        let within_keys = self.remote.is_within_input();
        let Some(task) = self.terminal.poll(stopped, full, within_keys, now.monotonic) else {
            self.say_what_typing_waits_for(course);
            return false;
        };
        match task {
            TerminalTask::Show(text) => {
                course.out.act(WorkerAction::Screen(ScreenAction::Notice(text)));
            }
            TerminalTask::PutOff => course.out.note(WorkerNote::TerminalWaits),
            TerminalTask::Begin => self.begin(course, now),
            TerminalTask::LeaveScreen => {
                course.out.note(WorkerNote::ScreenLeftBehind);
                course.out.act(WorkerAction::Screen(ScreenAction::LeaveBehind));
                self.go_on_without_screen(course);
            }
            TerminalTask::EndPaste(id) => {
                activities.on_typing(&self.terminal.commands.behind_paste(), now.monotonic);
                course.out.act(WorkerAction::EndPaste(id));
            }
            TerminalTask::Look => course.out.act(WorkerAction::LookAtTerminal),
            TerminalTask::Completed(id) => on_typing_over(course, &id, TypingEnd::Taken, now),
            TerminalTask::GiveUp(id, why) => {
                self.terminal.commands.forget(&id);
                course.refuse(&id, &why);
            }
            TerminalTask::Tell(news) => self.tell_of_stop(news, course, now),
            TerminalTask::NotKnown(id, exit) => {
                self.terminal.commands.forget(&id);
                let why = format!(
                    "the program in the terminal ended while this was typed ({exit}); whether it had read it is unknown"
                );
                on_typing_over(course, &id, TypingEnd::Failed(why), now);
            }
        }
        true
    }

    pub(super) fn deadline(&self) -> Deadline {
        self.terminal.deadline(self.remote.is_within_input())
    }

    // --- the program

    fn begin(&mut self, course: &mut Course, now: Now) {
        let (id, mark) = course.commands.begin_terminal(now.wall);
        self.terminal.begin(id.clone(), now.wall);
        match course.journal.keeping() {
            Journalling::Kept => {
                course.handover.reports.write(&id);
                course.write(JournalEntry::Starting { command: id, mark });
            }
            // No user asked for it, so no promise to run it once depends on the entry.
            Journalling::Off | Journalling::Failed(_) => course.out.later([Work::Start(id)]),
        }
    }

    /// The program of this id runs.
    pub(super) fn on_started(&mut self, id: &CommandId, course: &mut Course, now: Now) {
        self.terminal.on_started(now.monotonic);
        course.handover.uplink.queue.open(self.terminal.opened(id.clone()));
        self.note_size(course);
        // What waited for the program.
        course.out.later([Work::Advance]);
    }

    /// Nothing of it ever was, so that only the log says it.
    pub(super) fn on_not_started(
        &mut self,
        id: &CommandId,
        why: &str,
        course: &mut Course,
        now: Now,
    ) {
        self.terminal.on_not_started(why, now.monotonic);
        let program = self.terminal.program().to_string();
        course.out.note(WorkerNote::TerminalCannotStart { program, why: why.to_string() });
        course.commands.forget(id);
        let report = course.commands.all.refuse(id, why.to_string());
        course.write(JournalEntry::Ended { report, remains: None });
        course.confirm(id);
        // What waits for the program is refused now, since its next start may be far away.
        course.out.later([Work::Advance]);
        self.say_program_fault(course, now);
    }

    /// The program ended so.
    pub(super) fn on_ended(
        &mut self,
        exit: Exit,
        reported_as: &CommandPhase,
        course: &mut Course,
        now: Now,
    ) {
        let program = self.terminal.program().to_string();
        let ProgramEnd { left, after } = self.terminal.on_ended(exit, now.monotonic);
        match after {
            AfterEnd::Finish => {}
            AfterEnd::Restart => course.out.note(WorkerNote::TerminalEnded { program, exit }),
        }
        // The server ends the hold with the terminal, which it hears of by itself.
        self.remote.end();
        for id in left.outlived {
            on_typing_over(course, &id, TypingEnd::Taken, now);
        }
        for id in left.read {
            on_typing_over(course, &id, TypingEnd::ProgramEnded(exit), now);
        }
        // It was meant for that program, and is not typed into another.
        for id in left.waiting {
            let why = format!(
                "the program in the terminal ended ({exit}) before this was typed; send it again under a new id"
            );
            course.refuse(&id, &why);
        }
        // Whoever ended it needs no word that it did.
        match *reported_as == CommandPhase::Cancelled {
            true => self.terminal.forget_fault(),
            false => self.say_program_fault(course, now),
        }
    }

    /// Tells the server why the program of the terminal does not run, as long as it does not.
    pub(super) fn say_program_fault(&self, course: &mut Course, now: Now) {
        let fault = self.terminal.fault(now.monotonic);
        if let Some(fault) = fault.filter(|_| course.handover.uplink.has_session()) {
            course.out.act(WorkerAction::Complain(program_does_not_run(&fault)));
        }
    }

    /// Its program was stopped by a signal, or runs again.
    fn tell_of_stop(&self, news: StopNews, course: &mut Course, now: Now) {
        let program = self.terminal.program().to_string();
        match news {
            StopNews::IsStopped | StopNews::StillStopped => {
                if let (StopNews::IsStopped, Some(fault)) =
                    (news, self.terminal.fault(now.monotonic))
                {
                    course.out.note(WorkerNote::TerminalStopped { program, why: fault.why });
                }
                self.say_program_fault(course, now);
            }
            StopNews::RunsAgain => {
                if course.handover.uplink.has_session() {
                    course.out.act(WorkerAction::Complain(program_runs_again(&program)));
                }
                course.out.note(WorkerNote::TerminalContinues { program });
            }
        }
    }

    // --- typing

    /// A command whose start is written down waits for its turn to be typed.
    pub(super) fn ask(
        &mut self,
        id: &CommandId,
        request: CommandRequest,
        course: &mut Course,
        now: Now,
    ) {
        match self.terminal.ask(id, request, now.monotonic) {
            Ok(()) => course.out.note(WorkerNote::ToBeTyped(id.clone())),
            Err(why) => course.refuse(id, &why),
        }
    }

    /// The terminal was looked at, because something waits to be typed.
    pub(super) fn on_looked(
        &mut self,
        settings: Option<TerminalSettings>,
        course: &mut Course,
        activities: &mut Activities,
        now: Now,
    ) {
        let within_keys = self.remote.is_within_input();
        if let Some(id) = self.terminal.on_looked(settings, within_keys, now.monotonic) {
            activities.on_reads(now.monotonic);
            self.type_in(&id, course, activities, now);
        }
    }

    /// Says again of commands that they are here, if what they wait for is another thing than was said.
    fn say_what_typing_waits_for(&mut self, course: &mut Course) {
        let is_wanted = course.handover.agreed(Capabilities::says_what_typing_waits_for);
        for id in self.terminal.take_other_waits().into_iter().filter(|_| is_wanted) {
            if course.commands.all.status(&id) == CommandAckStatus::Received {
                course.handover.uplink.queue.acknowledge(id);
            }
        }
    }

    fn type_in(
        &mut self,
        id: &CommandId,
        course: &mut Course,
        activities: &mut Activities,
        now: Now,
    ) {
        if let Err(report) = course.commands.all.may_start(id) {
            // It was cancelled while it waited for its turn.
            self.terminal.commands.skip(id, now.monotonic);
            return course.out.later(report.map(Work::Over));
        }
        let condition = self.terminal.commands.condition(id);
        let typing = activities
            .allow_typing(condition.as_ref(), now)
            .and_then(|()| self.terminal.typing(id, now.monotonic));
        match typing {
            Ok((typing, required_mode)) => {
                activities.on_typing(typing.around_paste().0, now.monotonic);
                // It counts as started before the first key, so that a cancellation does not withhold half of it.
                let _ = course.commands.all.on_started(id, None, now.monotonic);
                course.handover.uplink.queue.acknowledge(id.clone());
                course.out.note(WorkerNote::Typing(id.clone()));
                let command = id.clone();
                course.out.act(WorkerAction::Type { command, typing, required_mode });
            }
            Err(why) => {
                self.terminal.commands.skip(id, now.monotonic);
                course.refuse(id, &why);
            }
        }
    }

    /// The program has read a paste that is typed for this command; whether it is done with it shows.
    pub(super) fn on_paste_read(&mut self, id: &CommandId, now: Now) {
        self.terminal.commands.on_paste_read(id, now.monotonic);
    }

    pub(super) fn on_typed(
        &mut self,
        id: &CommandId,
        outcome: TypingOutcome,
        course: &mut Course,
        activities: &mut Activities,
        now: Now,
    ) {
        let commands = &mut self.terminal.commands;
        let (much, result) = match outcome {
            TypingOutcome::Typed => (Typed::Whole, Ok(())),
            TypingOutcome::Broken { much, why } => (much, Err(why)),
            TypingOutcome::Refused(why) => return self.on_not_typed(id, &why, course, now),
            TypingOutcome::OtherMode => {
                let why = commands.too_long(id);
                return self.on_not_typed(id, &why, course, now);
            }
        };
        // Who typed it did not wait for a word, and it counts now.
        match much {
            Typed::Whole if commands.holds_enter(id) => {
                activities.on_typing(&commands.behind_paste(), now.monotonic);
            }
            Typed::Whole | Typed::Part | Typed::Nothing => {}
        }
        match (commands.on_typed(id, much, now.monotonic), result) {
            // Taken when the program has lived for a moment more.
            (Expecting::Typing, Ok(())) | (Expecting::Nothing, _) => {}
            (Expecting::Typing, Err(why)) => {
                commands.forget_typed(id);
                on_typing_over(course, id, TypingEnd::Failed(why), now);
            }
            (Expecting::Parting(exit), Ok(())) => {
                on_typing_over(course, id, TypingEnd::ProgramEnded(exit), now);
            }
            (Expecting::Parting(exit), Err(why)) => on_not_read(course, id, exit, &why, now),
        }
    }

    /// It was not begun, so it did not start.
    fn on_not_typed(&mut self, id: &CommandId, why: &str, course: &mut Course, now: Now) {
        match self.terminal.commands.on_typed(id, Typed::Nothing, now.monotonic) {
            Expecting::Nothing => {}
            Expecting::Typing => {
                course.handover.uplink.queue.unacknowledge(id);
                course.refuse(id, why);
            }
            Expecting::Parting(exit) => on_not_read(course, id, exit, why, now),
        }
    }

    /// It is not to be typed any more, if it is not being typed.
    pub(super) fn withdraw(&mut self, id: &CommandId, course: &mut Course) {
        if self.terminal.commands.withdraw(id)
            && let Err(Some(report)) = course.commands.all.may_start(id)
        {
            course.out.later([Work::Over(report)]);
        }
    }

    /// The holder of the keyboard types this.
    pub(super) fn on_remote_input(
        &mut self,
        input: TerminalInput,
        course: &mut Course,
        activities: &mut Activities,
        now: Now,
    ) {
        self.remote.on_input(input, &mut self.terminal, course, activities, now);
    }

    // --- the screen and the size

    pub(super) fn on_screen(
        &mut self,
        event: ScreenEvent,
        course: &mut Course,
        activities: &mut Activities,
        now: Now,
    ) {
        let (terminal, out) = (&mut self.terminal, &mut course.out);
        match event {
            ScreenEvent::Keys(bytes) => match terminal.on_keys(&bytes, now.monotonic) {
                Keys::ToProgram(pieces) => {
                    activities.on_input(&bytes, now.monotonic);
                    for piece in pieces {
                        out.act(match piece {
                            Piece::Plain(bytes) => WorkerAction::TypeKeys(bytes),
                            Piece::Suspending(bytes) => WorkerAction::TypeSuspending(bytes),
                        });
                    }
                }
                Keys::Ignored => out.note(WorkerNote::KeysDropped),
                Keys::EndAgent => {}
            },
            ScreenEvent::SuspendWithheld => {
                out.note(WorkerNote::SuspendWithheld);
                out.act(WorkerAction::Screen(ScreenAction::Notice(NOT_SUSPENDED)));
            }
            ScreenEvent::Resized(size) => self.resize(size, course),
            ScreenEvent::Behind => {
                terminal.on_behind(now);
                out.act(WorkerAction::WaitForScreen(Waiting::Waits));
            }
            ScreenEvent::CaughtUp => {
                out.act(WorkerAction::Screen(ScreenAction::CaughtUp));
                self.go_on_without_screen(course);
            }
            ScreenEvent::HungUp => self.hang_up(course),
        }
    }

    /// The attachment ends, and not the work: from here on it is a terminal that nobody sits before.
    fn hang_up(&mut self, course: &mut Course) {
        if !self.terminal.is_attached() {
            return;
        }
        self.terminal.hang_up();
        let text = "the terminal was hung up; the program and its agent go on without it";
        course.out.act(WorkerAction::Screen(ScreenAction::Notice(text)));
        course.out.act(WorkerAction::Screen(ScreenAction::Close));
        course.out.note(WorkerNote::HungUp);
        self.go_on_without_screen(course);
        // The server is not to take the size for that of a screen which is not there.
        if let Some(id) = self.terminal.run().cloned() {
            course.handover.uplink.queue.open(self.terminal.opened(id));
        }
    }

    fn go_on_without_screen(&mut self, course: &mut Course) {
        self.terminal.on_caught_up();
        course.out.act(WorkerAction::WaitForScreen(Waiting::GoesOn));
    }

    /// A remote user wants the terminal to be as large as this.
    pub(super) fn on_resize(&mut self, size: TerminalSize, course: &mut Course) {
        if self.terminal.is_attached() {
            let why =
                "this agent's terminal is attached on its own machine, which determines its size";
            return course.out.act(WorkerAction::Complain(cannot_resize(why)));
        }
        self.resize(size, course);
    }

    fn resize(&mut self, size: TerminalSize, course: &mut Course) {
        self.terminal.resize(size);
        course.out.note(WorkerNote::Resized(size));
        course.out.act(WorkerAction::Resize(size));
        self.note_size(course);
    }

    /// What the program writes from now on, it writes at the size that its terminal has now.
    fn note_size(&self, course: &mut Course) {
        let Some((id, size)) = self.terminal.run_and_size() else { return };
        let handover = &mut course.handover;
        // Before its first byte it has no run, and says its size when it starts.
        let Some(written) = handover.delivery.outbox().totals(&id) else { return };
        let (incarnation, offset) = (written.incarnation, written.terminal_bytes);
        let record = SizeRecord { incarnation, offset, size };
        if handover.sizes.note(&id, record) {
            let run = Run { command: id.clone(), incarnation };
            let sizes = SpoolRequest::Sizes(run, handover.sizes.of(&id));
            course.out.act(WorkerAction::Spool(sizes));
            handover.uplink.queue.size(id, record);
        }
    }

    /// Looks at what the program wrote, and has it shown at the screen.
    pub(super) fn on_output(&mut self, bytes: &Bytes, course: &mut Course, now: Now) {
        let found = self.terminal.on_output(bytes, now.monotonic);
        let out = &mut course.out;
        if self.terminal.is_attached() {
            return out.act(WorkerAction::Screen(ScreenAction::Show(bytes.clone())));
        }
        // A question is answered by the screen as it was when the program asked.
        let mut rest = bytes.clone();
        let mut drawn = 0;
        for Asked { query, at } in found.asked {
            let piece = rest.split_to(at.saturating_sub(drawn).min(rest.len()));
            drawn += piece.len();
            if !piece.is_empty() {
                out.act(WorkerAction::Draw(piece));
            }
            out.act(WorkerAction::Answer(query));
        }
        if !rest.is_empty() {
            out.act(WorkerAction::Draw(rest));
        }
        if found.exceeded {
            out.note(WorkerNote::AsksTooMuch);
        }
    }
}

/// Its program ended so before it had read all of it.
fn on_not_read(course: &mut Course, id: &CommandId, exit: Exit, why: &str, now: Now) {
    let why = format!(
        "the program in the terminal ended ({exit}) before it had read this: {why}; send it again under a new id"
    );
    on_typing_over(course, id, TypingEnd::Failed(why), now);
}

fn on_typing_over(course: &mut Course, id: &CommandId, typed: TypingEnd, now: Now) {
    match &typed {
        TypingEnd::Failed(why) => course.out.note(WorkerNote::NotTyped(id.clone(), why.clone())),
        TypingEnd::ProgramEnded(exit) => {
            course.out.note(WorkerNote::ProgramEndedBy(id.clone(), *exit));
        }
        TypingEnd::Taken => {}
    }
    let report = course.commands.all.on_typed(id, typed, now.monotonic, now.wall);
    course.out.later(report.map(Work::Over));
}

/// Why the terminal does not get the size that a remote user wants.
pub(super) fn cannot_resize(why: &str) -> AgentErrorReport {
    complaint(AgentErrorType::Unspecified, why)
}
