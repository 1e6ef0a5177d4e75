//! What an earlier process of the agent left, taken up at the start: commands that ran when it died, and output that is
//! in the spool.

use super::course::Course;
use super::note::WorkerNote;
use super::report::{ENDED_UNREPORTED, LOST, reason};
use crate::command::{Cleared, CommandJournal, Fate, JournalEntry};
use crate::output::LeftRun;
use crate::wire::payload::CommandComplete;
use alloc::borrow::ToOwned;
use alloc::format;

/// A command ran when the earlier process died.
pub(super) fn recover_command(course: &mut Course, cleared: Cleared) {
    let Cleared { command, fate, why } = cleared;
    if let Some(report) = course.commands.all.report(&command).cloned() {
        // It had ended, and left something that lived on.
        course.out.note(WorkerNote::RunLeft(command, fate, why));
        return match fate {
            Fate::Ended => course.write(JournalEntry::Ended { report, remains: None }),
            Fate::Unknown => course.stops.emergency.on_survivors(),
        };
    }
    let text = format!("the agent's process died while this command ran; {why}");
    course.out.note(WorkerNote::RunLeft(command.clone(), fate, why));
    match fate {
        Fate::Ended => {}
        // A stop that was in force must not be called verified.
        Fate::Unknown => course.stops.emergency.on_survivors(),
    }
    let report = course.commands.all.lose(&command, fate, reason(&text));
    course.over(report);
}

/// Output of a run is in the spool.
pub(super) fn recover_run(course: &mut Course, run: LeftRun, before: &CommandJournal) {
    let name = run.recovered.run().clone();
    let (id, why) = (name.command.clone(), if run.ended { ENDED_UNREPORTED } else { LOST });
    course.out.note(WorkerNote::OutputLeft(id.clone()));
    for size in &run.sizes {
        let _ = course.handover.sizes.note(&id, *size);
    }
    let known = course.commands.all.report(&id).cloned();
    // A process that saw the end counted what was written, even if the spool did not hear of that end.
    let counted = known.as_ref().and_then(|report| report.output);
    let is_counted = counted.is_some_and(|all| all.incarnation == name.incarnation);
    let has_ended = run.ended;
    // What was read after the end of its command is unknown if something of it lived on then.
    let is_end_known = (has_ended || is_counted) && !before.has_remains(&id);
    let end = if is_end_known { Fate::Ended } else { Fate::Unknown };
    course.handover.delivery.recover(run, end);
    let found = course.handover.delivery.outbox().totals(&id);
    let report = match known {
        Some(report) => report,
        None => {
            let lost = course.commands.all.lose(&id, Fate::Unknown, why.to_owned());
            // What is found of a run that did not end is no count: written down it would be taken for
            // one by the next process, which then said nothing of the end that is unknown.
            let output = found.filter(|_| has_ended);
            course.over(CommandComplete { output, ..lost.clone() });
            lost
        }
    };
    let output = counted.or(found);
    course.handover.reports.withhold(CommandComplete { output, ..report });
}
