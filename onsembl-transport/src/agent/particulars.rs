//! What is known of a report beyond what decides, for the log: the words of the end of a link or of a dial, and which
//! warnings were written lately.

use crate::link::LinkEnd;
use onsembl_protocol::session::{AgentCause, AgentReport, DialFault};
use std::net::SocketAddr;

/// What is known of an event beyond what decides.
#[derive(Debug, Default)]
pub(super) enum Particulars {
    #[default]
    None,
    Dial(DialFault),
    Link(LinkEnd),
}

impl Particulars {
    /// The cause of a report with its particulars.
    pub(super) fn told(&self, report: &AgentReport) -> String {
        match (report.cause, self) {
            (AgentCause::DialFailed(_), Self::Dial(fault)) => fault.to_string(),
            (AgentCause::LinkEnded(reason), Self::Link(end)) if end.reason == reason => {
                end.to_string()
            }
            (cause, Self::None | Self::Dial(_) | Self::Link(_)) => cause.to_string(),
        }
    }
}

/// A warning that comes again and again while its cause lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Warning {
    Dial(DialFault, Option<SocketAddr>),
    HelloRefused,
}
