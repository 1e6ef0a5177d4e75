//! What the agent knows of a command's end beyond its exit: added to the report, so that it says
//! only what is true.

use onsembl_protocol::wire::payload::{CommandComplete, CommandPhase};

/// Longest reason in a report, in bytes. It may quote what the asker sent, which may be as long as
/// a command's text; with words of ours around it no server would take it.
const REASON_BYTES: usize = 4096;

/// Remarks on one command. A server does not learn them from the exit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Notes {
    /// Who ended it, when it was not its user.
    pub(super) stopped_by: Option<StoppedBy>,
    /// Nobody saw its process group empty.
    pub(super) group_may_live: bool,
    /// Output was thrown away after what was sent.
    pub(super) output_cut: bool,
}

/// Who ended a command, when it was not its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoppedBy {
    /// The agent itself was stopped.
    Agent,
    /// An emergency stop.
    Emergency,
}

impl Notes {
    /// The report with these remarks in it.
    pub(super) fn amend(self, mut report: CommandComplete) -> CommandComplete {
        let mut reasons: Vec<String> = report.error.take().into_iter().collect();
        match self.stopped_by {
            Some(StoppedBy::Agent) => reasons.push("the agent was stopped".to_owned()),
            Some(StoppedBy::Emergency) => reasons.push("emergency stop".to_owned()),
            None => {}
        }
        if self.group_may_live {
            reasons.push(
                "its process group could not be confirmed empty: a process of it may still run"
                    .to_owned(),
            );
            // "Cancelled" promises that it is gone.
            if report.status == CommandPhase::Cancelled {
                report.status = CommandPhase::Failed;
            }
        }
        if self.output_cut {
            reasons.push("the end of its output was thrown away".to_owned());
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
    use onsembl_protocol::command::{CancelDecision, CommandBook};
    use onsembl_protocol::id::CommandId;

    fn cancelled() -> CommandComplete {
        match CommandBook::default().on_cancel(&CommandId::new("c")) {
            CancelDecision::NeverRan(report) => report,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_remarks_a_report_stays_as_it_is() {
        assert_eq!(Notes::default().amend(cancelled()), cancelled());
    }

    #[test]
    fn what_may_still_run_is_not_called_cancelled() {
        let notes = Notes { group_may_live: true, ..Notes::default() };
        let report = notes.amend(cancelled());
        assert_eq!(report.status, CommandPhase::Failed);
        assert!(report.error.unwrap().contains("could not be confirmed empty"));
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(reason("short"), "short");
        let long = format!("x{}", "\u{e9}".repeat(REASON_BYTES));
        assert_eq!(reason(&long).len(), REASON_BYTES - 1);
    }
}
