//! What is known of a report beyond what decides: the words of the end of a link or of a dial for the log, their
//! evidence for later verdicts on an absence, and which warnings were written lately.

use crate::link::{DialError, LinkEnd};
use crate::log_limit::LogLimit;
use onsembl_protocol::diagnosis::found_by_agent;
use onsembl_protocol::id::LinkId;
use onsembl_protocol::model::{Evidence, Finding};
use onsembl_protocol::session::{AgentCause, AgentReport, AgentStatus, DialFault};
use onsembl_protocol::wire::payload::ErrorReply;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::mem::discriminant;
use std::net::SocketAddr;
use std::time::Duration;
use tracing::{debug, info, warn};

/// The reports of a connection, as they are logged and handed on.
#[derive(Debug)]
pub(super) struct Reporting {
    /// What the next report is about.
    particulars: Particulars,
    /// The status that was reported last.
    status: AgentStatus,
    warned: LogLimit<(), Warning>,
}

/// What is known of an event beyond what decides.
#[derive(Debug)]
enum Particulars {
    None,
    Dial(DialFault, Evidence),
    Link(LinkEnd),
}

impl Particulars {
    /// The cause of a report with its particulars.
    fn told(&self, report: &AgentReport) -> String {
        match (report.cause, self) {
            (AgentCause::DialFailed(_), Self::Dial(fault, _)) => fault.to_string(),
            (AgentCause::LinkEnded(reason), Self::Link(end)) if end.reason == reason => {
                end.to_string()
            }
            (cause, Self::None | Self::Dial(..) | Self::Link(_)) => cause.to_string(),
        }
    }

    /// What explains the absence that a report begins or prolongs, and how long it had lasted by then.
    fn found(self, report: &AgentReport) -> Option<(Finding, Duration)> {
        let (fault, evidence) = match self {
            Self::None => (None, Evidence::NONE),
            Self::Dial(fault, evidence) => (Some(fault), evidence),
            Self::Link(end) => (None, end.evidence()),
        };
        found_by_agent(&report.cause, fault, evidence)
    }
}

impl Reporting {
    pub(super) fn new() -> Self {
        let (particulars, status) = (Particulars::None, AgentStatus::Idle);
        Self { particulars, status, warned: LogLimit::new() }
    }

    /// A dial failed. What it means is reported next.
    pub(super) fn on_dial_failed(&mut self, link: LinkId, error: &DialError) {
        let fault = error.fault;
        self.particulars = Particulars::Dial(fault, error.evidence());
        match self.warned.allow((), Warning::Dial(fault, error.address)) {
            Some(more) => warn!(%link, cause = fault.as_str(), more, %error, "dial failed"),
            None => debug!(%link, cause = fault.as_str(), %error, "dial failed again"),
        }
    }

    /// The link ended. What it means is reported next.
    pub(super) fn on_link_ended(&mut self, end: LinkEnd) {
        self.particulars = Particulars::Link(end);
    }

    /// The server refused the hello.
    pub(super) fn on_hello_refused(&self, error: &ErrorReply) {
        let (code, text) = (&error.code, &error.message);
        match self.warned.allow((), Warning::HelloRefused) {
            Some(more) => warn!(%code, more, ?text, "the server refused the hello"),
            None => debug!(%code, ?text, "the server refused the hello again"),
        }
    }

    /// The connection reports this. Gives the status before it, and what was found.
    pub(super) fn on_report(
        &mut self,
        report: &AgentReport,
    ) -> (AgentStatus, Option<(Finding, Duration)>) {
        let particulars = std::mem::replace(&mut self.particulars, Particulars::None);
        let before = std::mem::replace(&mut self.status, report.status);
        log_report(&self.warned, report, before, &particulars.told(report));
        (before, particulars.found(report))
    }
}

/// A warning that comes again and again while its cause lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Warning {
    Dial(DialFault, Option<SocketAddr>),
    HelloRefused,
    /// Of the status that it reports while it is away, for a cause of this kind.
    Away(&'static str, CauseKind),
}

/// Causes of one kind have the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct CauseKind(u64);

impl CauseKind {
    fn of(cause: &AgentCause) -> Self {
        let mut hasher = DefaultHasher::new();
        discriminant(cause).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// Writes a report of the connection to the log. While the agent is away, dials follow one another for as long as that
/// lasts: each kind of their reports once a minute.
fn log_report(
    warned: &LogLimit<(), Warning>,
    report: &AgentReport,
    before: AgentStatus,
    because: &str,
) {
    let status = report.status.as_str();
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
