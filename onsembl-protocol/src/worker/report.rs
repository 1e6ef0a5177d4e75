//! Reports of ends: what is added to them, which are withheld until the output before them is stored, and
//! which the server has not confirmed.

use super::kin::SomeProcesses;
use crate::id::CommandId;
use crate::time::{Deadline, Timestamp};
use crate::wire::payload::{CommandComplete, CommandPhase};
use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// Reported of a command whose agent died while it ran, and of one that had ended.
pub(super) const LOST: &str =
    "the agent's process ended while this command ran; its outcome is unknown";
pub(super) const ENDED_UNREPORTED: &str =
    "it ended, but the agent's process ended too before it could report how";

/// Longest reason in a report, in bytes. It may quote what the asker sent, which may be as long as
/// a command's text; with words of ours around it no server would take it.
const REASON_BYTES: usize = 4096;

/// Most commands with remarks, and most reports that count as sent: as many ends as
/// [`AgentCommands`](crate::command::AgentCommands) remembers.
const REMEMBERED: usize = 4096;

/// Most ends that wait until the server has stored their output. Beyond it nothing new is taken: a run
/// with a few bytes costs more here than the bounds of the spool count.
pub(super) const MOST_WITHHELD: usize = 4096;

/// How long a report may go unconfirmed within a session before it is said again.
const CONFIRM_WITHIN: Duration = Duration::from_secs(30);

/// What is known of ends that are not confirmed, beyond what the list of commands has.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// Ended, but something before the report is not stored or not written down.
    withheld: BTreeMap<CommandId, CommandComplete>,
    /// A start or an end of these is being written down.
    unwritten: BTreeSet<CommandId>,
    remarks: BTreeMap<CommandId, Remarks>,
    /// Whose reports went out in this session; an acknowledgement means nothing for others.
    sent: BTreeSet<CommandId>,
    repeat_at: Deadline,
}

impl Reports {
    /// Remarks on a command, to change. Beyond the bound those of the smallest id are forgotten: their
    /// reports lack them.
    pub(super) fn remark(&mut self, id: &CommandId) -> &mut Remarks {
        while self.remarks.len() >= REMEMBERED && !self.remarks.contains_key(id) {
            let _ = self.remarks.pop_first();
        }
        self.remarks.entry(id.clone()).or_default()
    }

    /// The report with the remarks on its command.
    pub(super) fn amend(&self, report: CommandComplete) -> CommandComplete {
        self.remarks.get(&report.command_id).copied().unwrap_or_default().amend(report)
    }

    /// This end may not be reported yet.
    pub(super) fn withhold(&mut self, report: CommandComplete) {
        let _ = self.withheld.insert(report.command_id.clone(), report);
    }

    /// Nothing is before it any more.
    pub(super) fn release(&mut self, id: &CommandId) -> Option<CommandComplete> {
        self.withheld.remove(id)
    }

    pub(super) fn withholds(&self, id: &CommandId) -> bool {
        self.withheld.contains_key(id)
    }

    pub(super) fn withheld(&self) -> impl Iterator<Item = &CommandId> {
        self.withheld.keys()
    }

    /// Whether too many ends wait for anything more to be begun.
    pub(super) fn is_full(&self) -> bool {
        self.withheld.len() >= MOST_WITHHELD
    }

    /// A start or an end is to be written down.
    pub(super) fn write(&mut self, id: &CommandId) {
        let _ = self.unwritten.insert(id.clone());
    }

    /// It is, or cannot be.
    pub(super) fn written(&mut self, id: &CommandId) {
        let _ = self.unwritten.remove(id);
    }

    pub(super) fn is_unwritten(&self, id: &CommandId) -> bool {
        self.unwritten.contains(id)
    }

    pub(super) fn has_unwritten(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// A report went out to a server that will confirm it. Beyond the bound the smallest id is forgotten:
    /// its confirmation is taken when the report was said again.
    pub(super) fn on_sent(&mut self, id: &CommandId, now: Timestamp) {
        while self.sent.len() >= REMEMBERED && !self.sent.contains(id) {
            let _ = self.sent.pop_first();
        }
        let _ = self.sent.insert(id.clone());
        // One timer for all: they are said again together, in the order of their ends.
        self.repeat_at = Deadline::At(now.saturating_add(CONFIRM_WITHIN));
    }

    /// The server confirmed a report. Whether it was said in this session.
    pub(super) fn on_confirmed(&mut self, id: &CommandId) -> bool {
        self.sent.remove(id)
    }

    /// This command is not asked for any more.
    pub(super) fn forget(&mut self, id: &CommandId) {
        let _ = self.remarks.remove(id);
        let _ = self.sent.remove(id);
    }

    /// Whether a report that was said in this session is not confirmed.
    pub(super) fn awaits_confirmation(&self) -> bool {
        !self.sent.is_empty()
    }

    /// A session began. What was said in the last one may not have come: all of it is said again.
    pub(super) fn on_session(&mut self) {
        self.sent.clear();
        self.repeat_at = Deadline::Never;
    }

    pub(super) const fn deadline(&self) -> Deadline {
        self.repeat_at
    }

    /// Whether reports are to be said again now.
    pub(super) fn take_repeat(&mut self, now: Timestamp) -> bool {
        let is_due = self.repeat_at.is_due(now);
        if is_due {
            self.repeat_at = Deadline::Never;
        }
        is_due && self.awaits_confirmation()
    }
}

/// What is known of a command's end beyond its exit, so that its report says only what is true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Remarks {
    /// Who ended it, when it was not its user.
    pub(super) stopped_by: Option<StoppedBy>,
    /// Something that it started was not seen to end.
    pub(super) left: Option<LeftRunning>,
    /// Whether output was thrown away after what was sent.
    output: KeptOutput,
}

/// What was kept of a command's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum KeptOutput {
    #[default]
    All,
    NotItsEnd,
}

/// Who ended a command, when it was not its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoppedBy {
    /// The agent itself was stopped.
    Agent,
    Emergency,
}

/// What becomes of what a command left running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeftRunning {
    /// It stays.
    Kept,
    /// It is asked to end, or killed.
    BeingEnded,
    /// These, or another command started them. They stay until everything is ended.
    Unclear(SomeProcesses),
}

impl Remarks {
    /// The end of its output is thrown away from now on. Whether that is news.
    pub(super) fn cut_output(&mut self) -> bool {
        core::mem::replace(&mut self.output, KeptOutput::NotItsEnd) == KeptOutput::All
    }

    fn amend(self, mut report: CommandComplete) -> CommandComplete {
        let mut reasons: Vec<String> = report.error.take().into_iter().collect();
        match self.stopped_by {
            Some(StoppedBy::Agent) => reasons.push("the agent was stopped".to_owned()),
            Some(StoppedBy::Emergency) => reasons.push("emergency stop".to_owned()),
            None => {}
        }
        match self.left {
            // "Cancelled" promises that it has ended.
            Some(LeftRunning::Unclear(processes)) => {
                if report.status == CommandPhase::Cancelled {
                    report.status = CommandPhase::Failed;
                }
                let (belongs, it) = match processes.are_several() {
                    false => ("belongs", "it"),
                    true => ("belong", "they"),
                };
                reasons.push(format!(
                    "{processes} may be left of it: whether {it} {belongs} to this command or to another of this agent is unknown, so {it} will be ended only by an emergency stop or with the agent"
                ));
            }
            Some(_) if report.status == CommandPhase::Cancelled => {
                report.status = CommandPhase::Failed;
                reasons.push("not all of its processes could be confirmed to have ended".to_owned());
            }
            Some(LeftRunning::Kept) => reasons.push(
                "a process that it started keeps running in the background, until a stop or the end of the agent"
                    .to_owned(),
            ),
            Some(LeftRunning::BeingEnded) => reasons.push(
                "a process that it started kept running in the background, and is being ended".to_owned(),
            ),
            None => {}
        }
        match self.output {
            KeptOutput::All => {}
            KeptOutput::NotItsEnd => {
                reasons.push("the end of its output was discarded".to_owned());
            }
        }
        report.error = (!reasons.is_empty()).then(|| reason(&reasons.join("; ")));
        report
    }
}

/// `text` cut to a length that every server takes.
pub(super) fn reason(text: &str) -> String {
    text.get(..text.floor_char_boundary(REASON_BYTES)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{AgentCommands, CancelDecision};
    use alloc::string::ToString;

    fn cancelled() -> CommandComplete {
        match AgentCommands::default().on_cancel(&CommandId::new("c")) {
            CancelDecision::NeverRan(report) => report,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_remarks_a_report_stays_as_it_is() {
        assert_eq!(Remarks::default().amend(cancelled()), cancelled());
    }

    #[test]
    fn what_may_still_run_is_not_called_cancelled() {
        let remarks = Remarks { left: Some(LeftRunning::Kept), ..Remarks::default() };
        let report = remarks.amend(cancelled());
        assert_eq!(report.status, CommandPhase::Failed);
        assert!(report.error.unwrap().contains("could be confirmed to have ended"));
    }

    #[test]
    fn of_a_process_that_may_be_of_another_command_it_is_said_which_and_what_ends_it() {
        let processes = |pids: &[i32]| SomeProcesses::new(pids.iter().copied()).unwrap();
        let left = Some(LeftRunning::Unclear(processes(&[7402])));
        let report = Remarks { left, ..Remarks::default() }.amend(cancelled());
        assert_eq!(report.status, CommandPhase::Failed);
        let why = report.error.unwrap();
        assert!(why.contains("process 7402 may be left of it"), "{why}");
        assert!(why.contains("an emergency stop or with the agent"), "{why}");
        assert_eq!(SomeProcesses::new([]), None);
        assert_eq!(processes(&[1, 2]).to_string(), "processes 1, 2");
        assert_eq!(processes(&[1, 2, 3, 4, 5]).to_string(), "processes 1, 2, 3, 4 and 1 more");
    }

    #[test]
    fn remarks_and_reports_that_count_as_sent_have_a_bound() {
        let mut reports = Reports::default();
        let id = |n: usize| CommandId::new(format!("c{n:06}"));
        for n in 0..3 * REMEMBERED {
            let _ = reports.remark(&id(n)).cut_output();
            reports.on_sent(&id(n), Timestamp::from_origin(Duration::ZERO));
        }
        assert_eq!((reports.remarks.len(), reports.sent.len()), (REMEMBERED, REMEMBERED));
        let last = 3 * REMEMBERED - 1;
        assert!(!reports.remark(&id(last)).cut_output() && reports.on_confirmed(&id(last)));
        assert!(!reports.on_confirmed(&id(0)), "it is sent again, and confirmed then");
        // What is there already takes no room.
        let first = reports.remarks.keys().next().cloned().unwrap();
        assert!(!reports.remark(&first).cut_output());
        assert_eq!(reports.remarks.len(), REMEMBERED);
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(reason("short"), "short");
        let long = format!("x{}", "\u{e9}".repeat(REASON_BYTES));
        assert_eq!(reason(&long).len(), REASON_BYTES - 1);
    }
}
