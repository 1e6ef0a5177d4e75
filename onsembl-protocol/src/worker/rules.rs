//! What the server of a session understands of an agent's work.

use crate::session::Dialect;
use crate::wire::payload::Feature;

/// What the server of a session understands and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Output has offsets, and is acknowledged once stored. Else it is gone when it is sent.
    pub output_is_stored: bool,
    /// It takes chunks in binary messages.
    pub output_is_binary: bool,
    /// It knows gaps, and says after the welcome how far it is.
    pub output_resumes: bool,
    /// It takes receipts of stops, and says which is in force.
    pub latches_stops: bool,
    /// It knows `LOST`, and of which journal what is known.
    pub knows_journals: bool,
    /// It says when an end of unknown length is stored. Else everything before it must do.
    pub open_ends_are_stored: bool,
    /// It knows terminals that an agent opened.
    pub knows_terminals: bool,
    /// Reports are acknowledged. Else one is as good as confirmed when it is sent.
    pub reports_are_confirmed: bool,
}

impl Rules {
    /// By what the welcome says.
    pub fn of(dialect: Dialect, features: &[Feature]) -> Self {
        let has = |feature| dialect == Dialect::Extended && features.contains(&feature);
        Self {
            output_is_stored: has(Feature::OutputBytes),
            output_is_binary: has(Feature::OutputBytes) && has(Feature::OutputBinary),
            output_resumes: has(Feature::OutputBytes) && has(Feature::OutputSpool),
            latches_stops: has(Feature::StopLatch),
            knows_journals: has(Feature::CommandJournal),
            open_ends_are_stored: has(Feature::OpenEnds),
            knows_terminals: has(Feature::Terminal),
            reports_are_confirmed: has(Feature::CommandReports),
        }
    }
}
