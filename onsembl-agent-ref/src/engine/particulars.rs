//! Details of links and dials that decide nothing: evidence for later verdicts on an absence.

use onsembl_protocol::model::Evidence;
use onsembl_protocol::session::DialFault;
use onsembl_transport::{DialError, LinkEnd};

/// Of the end of a link or of a dial.
#[derive(Debug, Default)]
pub(super) struct Particulars {
    pub(super) fault: Option<DialFault>,
    pub(super) evidence: Evidence,
}

impl Particulars {
    pub(super) fn of_dial(error: &DialError) -> Self {
        Self { fault: Some(error.fault), evidence: error.evidence() }
    }

    pub(super) fn of_link(end: &LinkEnd) -> Self {
        Self { fault: None, evidence: end.evidence() }
    }
}
