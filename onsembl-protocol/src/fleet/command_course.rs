//! The course of a command as its trace shows it: the phases between its request and its end, out of what a fleet notes
//! and writes. Times are the edge's own, and are not compared.

use crate::command::{CommandCause, CommandStage, CommandView};
use crate::output::StoredBody;

/// What a command is waiting for, or doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoursePhase {
    /// Until the database has it.
    Store,
    /// Until it is handed to its agent's link.
    Queue,
    /// Until the agent acknowledges it.
    Deliver,
    /// Until the agent starts it.
    Wait,
    /// Until its end is reported.
    Run,
    /// Until its end is reported, since it is to be cancelled.
    Cancel,
}

impl CoursePhase {
    /// The name of its span.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Store => "command.store",
            Self::Queue => "command.queue",
            Self::Deliver => "command.deliver",
            Self::Wait => "command.wait",
            Self::Run => "command.run",
            Self::Cancel => "command.cancel",
        }
    }

    /// The phase of a stage; `None` of one that is final.
    const fn of(stage: CommandStage) -> Option<Self> {
        match stage {
            CommandStage::Pending => Some(Self::Store),
            CommandStage::Queued => Some(Self::Queue),
            CommandStage::Delivered => Some(Self::Wait),
            CommandStage::Running => Some(Self::Run),
            CommandStage::Cancelling => Some(Self::Cancel),
            CommandStage::Completed
            | CommandStage::Failed
            | CommandStage::Cancelled
            | CommandStage::Lost
            | CommandStage::Unknown => None,
        }
    }
}

/// Whether this server saw a phase begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseBegan {
    /// It did.
    Seen,
    /// An earlier run of the server did.
    BeforeRestart,
}

/// A phase, of which nothing more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct PastPhase<T> {
    pub phase: CoursePhase,
    /// When it began, or this server did.
    pub since: T,
    pub began: PhaseBegan,
}

/// What was written of a command's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct WrittenOutput<T> {
    pub first: T,
    pub last: T,
    pub bytes: u64,
    pub records: u64,
    pub gaps: u64,
}

/// What a note leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CourseStep<T> {
    /// Another phase began, behind this one.
    Entered(PastPhase<T>),
    /// The phase continues, and this is an event in it.
    Again,
    /// There is nothing to show.
    Nothing,
    /// The command is over.
    Over,
}

/// What the end of a command says of its span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CourseEnd {
    /// It did what it was to do.
    Done,
    /// It did not.
    Failed,
    /// Neither can be said: somebody ended it.
    Unset,
}

impl CourseEnd {
    /// What this stage says.
    #[must_use]
    pub const fn of(stage: CommandStage) -> Self {
        match stage {
            CommandStage::Completed => Self::Done,
            CommandStage::Failed | CommandStage::Lost | CommandStage::Unknown => Self::Failed,
            CommandStage::Cancelled
            | CommandStage::Pending
            | CommandStage::Queued
            | CommandStage::Delivered
            | CommandStage::Running
            | CommandStage::Cancelling => Self::Unset,
        }
    }
}

/// The course of one command.
#[derive(Clone, Debug)]
pub struct CommandCourse<T> {
    now: PastPhase<T>,
    output: Option<WrittenOutput<T>>,
}

impl<T: Copy> CommandCourse<T> {
    /// Of a command that was asked for at this time.
    pub const fn new(at: T) -> Self {
        let now = PastPhase { phase: CoursePhase::Store, since: at, began: PhaseBegan::Seen };
        Self { now, output: None }
    }

    /// Of a command that an earlier run of the server left in this stage; `None` if it is over.
    pub fn recovered(stage: CommandStage, at: T) -> Option<Self> {
        let phase = CoursePhase::of(stage)?;
        let now = PastPhase { phase, since: at, began: PhaseBegan::BeforeRestart };
        Some(Self { now, output: None })
    }

    /// It was handed to its agent's link.
    pub fn sent(&mut self, at: T) -> CourseStep<T> {
        match self.now.phase {
            CoursePhase::Store | CoursePhase::Queue => self.enter(CoursePhase::Deliver, at),
            CoursePhase::Deliver | CoursePhase::Wait | CoursePhase::Run | CoursePhase::Cancel => {
                CourseStep::Again
            }
        }
    }

    /// It is shown like this from now on.
    pub fn shown(&mut self, view: &CommandView, at: T) -> CourseStep<T> {
        let Some(phase) = CoursePhase::of(view.status) else { return CourseStep::Over };
        // It waits for its turn, and was sent a moment before that is shown.
        let was_sent = phase == CoursePhase::Queue && self.now.phase == CoursePhase::Deliver;
        let waits = matches!(view.because, CommandCause::Waits | CommandCause::WaitsForAgent);
        if was_sent && waits {
            return CourseStep::Nothing;
        }
        match self.now.phase == phase {
            true => CourseStep::Again,
            false => self.enter(phase, at),
        }
    }

    fn enter(&mut self, phase: CoursePhase, at: T) -> CourseStep<T> {
        let now = PastPhase { phase, since: at, began: PhaseBegan::Seen };
        CourseStep::Entered(core::mem::replace(&mut self.now, now))
    }

    /// A record of its output is written.
    pub fn wrote(&mut self, body: &StoredBody, at: T) {
        let none = WrittenOutput { first: at, last: at, bytes: 0, records: 0, gaps: 0 };
        let written = self.output.get_or_insert(none);
        written.last = at;
        written.records += 1;
        match body {
            StoredBody::Chunk(bytes) => written.bytes += bytes.len() as u64,
            StoredBody::Gap { .. } => written.gaps += 1,
        }
    }

    /// All that is to be shown of it when nothing more comes: the phase that is in progress, and what was written.
    pub fn ended(self) -> (PastPhase<T>, Option<WrittenOutput<T>>) {
        (self.now, self.output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn view(status: CommandStage, because: CommandCause) -> CommandView {
        CommandView { status, because, exit: None, started_at: None, ended_at: None }
    }

    fn past(phase: CoursePhase, since: u8) -> CourseStep<u8> {
        CourseStep::Entered(PastPhase { phase, since, began: PhaseBegan::Seen })
    }

    #[test]
    fn each_phase_ends_where_the_next_one_begins() {
        let mut course = CommandCourse::new(0);
        let queued = view(CommandStage::Queued, CommandCause::Waits);
        assert_eq!(course.shown(&queued, 1), past(CoursePhase::Store, 0));
        assert_eq!(course.sent(2), past(CoursePhase::Queue, 1));
        assert_eq!(course.shown(&queued, 3), CourseStep::Nothing, "it was sent before");
        assert_eq!(course.sent(4), CourseStep::Again);
        let running = view(CommandStage::Running, CommandCause::Waits);
        assert_eq!(course.shown(&running, 5), past(CoursePhase::Deliver, 2));
        assert_eq!(course.shown(&running, 6), CourseStep::Again);
        let over = view(CommandStage::Completed, CommandCause::Waits);
        assert_eq!(course.shown(&over, 7), CourseStep::Over);
        let running = PastPhase { phase: CoursePhase::Run, since: 5, began: PhaseBegan::Seen };
        assert_eq!(course.ended(), (running, None));
    }

    #[test]
    fn of_a_command_that_was_left_only_a_phase_that_this_server_saw_begin_is_seen() {
        assert!(CommandCourse::recovered(CommandStage::Lost, 0).is_none());
        let mut course = CommandCourse::recovered(CommandStage::Queued, 3).unwrap();
        let left =
            PastPhase { phase: CoursePhase::Queue, since: 3, began: PhaseBegan::BeforeRestart };
        assert_eq!(course.sent(4), CourseStep::Entered(left));
        assert_eq!(course.ended().0.began, PhaseBegan::Seen);
    }

    #[test]
    fn output_is_from_its_first_record_to_its_last() {
        let mut course = CommandCourse::new(0);
        for at in [2, 4, 9] {
            course.wrote(&StoredBody::Chunk(Bytes::from_static(b"abc")), at);
        }
        let written = WrittenOutput { first: 2, last: 9, bytes: 9, records: 3, gaps: 0 };
        assert_eq!(course.ended().1, Some(written));
    }
}
