//! What is known of a report beyond what decides, for the log: the words of the end of a link or of a dial, and which
//! warnings were written lately.

use crate::link::LinkEnd;
use crate::log_limit::LogLimit;
use onsembl_protocol::session::{AgentCause, AgentReport, AgentStatus, DialFault};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::mem::discriminant;
use std::net::SocketAddr;
use tracing::{debug, info, warn};

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
    /// Of the status that it reports while it is away, for a cause of this kind.
    Away(&'static str, CauseKind),
}

/// Causes of one kind have the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CauseKind(u64);

impl CauseKind {
    fn of(cause: &AgentCause) -> Self {
        let mut hasher = DefaultHasher::new();
        discriminant(cause).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// Writes a report of the connection to the log. While the agent is away, dials follow one another for as long as that
/// lasts: each kind of their reports once a minute.
pub(super) fn log_report(
    warned: &LogLimit<(), Warning>,
    report: &AgentReport,
    before: AgentStatus,
    because: &str,
) {
    let status = report.status.name();
    if report.cause.asks_for_another_token() {
        return warn!(status, because, "connection: the agent needs another token");
    }
    let dials =
        matches!(report.status, AgentStatus::Connecting { .. } | AgentStatus::Reconnecting { .. });
    if !dials || before.is_in_session() {
        return info!(status, because, "connection");
    }
    match warned.allow((), Warning::Away(status, CauseKind::of(&report.cause))) {
        Some(more) => info!(status, more, because, "connection"),
        None => debug!(status, because, "connection"),
    }
}
