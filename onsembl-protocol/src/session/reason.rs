//! The reason that is shown with the status of an agent's connection: what its machine reports, in view of what went
//! wrong last.

use super::agent_types::{AgentCause, AgentReport, AgentStatus};
use crate::close::CloseReason;
use crate::liveness::Impairment;
use crate::time::WallTime;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};

/// Something that went wrong with a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Failure {
    /// That of a [`DialFault`](super::DialFault), or `hello-refused`, `hello-unanswered`, `unanswered`, `silence` or
    /// `link-ended`.
    pub id: &'static str,
    /// For people: what, on what, why, and what to do.
    pub text: String,
    /// The address that was dialled, if it was about a dial and there was one.
    pub address: Option<String>,
    /// The error number of the operating system, if it gave one.
    pub os_error: Option<i32>,
}

/// The latest of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastFailure {
    /// What it was.
    pub failure: Failure,
    /// When it last happened.
    pub at: WallTime,
    /// How often it happened without a session or another failure between.
    pub times: u64,
}

/// Whether the last failure is still the reason why there is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// No failure since the last session.
    Undisturbed,
    Failing,
}

/// Why a connection is in its status..
#[derive(Clone, Debug)]
pub struct StatusReason {
    /// The reason of the latest report.
    reported: String,
    /// That, or what has come up since.
    shown: String,
    last: Option<LastFailure>,
    course: Course,
}

impl StatusReason {
    /// That of an agent whose machine has reported nothing yet.
    pub fn new(because: &str) -> Self {
        let (reported, shown) = (because.to_owned(), because.to_owned());
        Self { reported, shown, last: None, course: Course::Undisturbed }
    }

    /// What to show.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// What went wrong last, be it over.
    pub const fn last_failure(&self) -> Option<&LastFailure> {
        self.last.as_ref()
    }

    /// A dial failed. The report of what that means comes next.
    pub fn on_failure(&mut self, failure: Failure, at: WallTime) {
        let before = self.failing().filter(|last| {
            (last.failure.id, &last.failure.address) == (failure.id, &failure.address)
        });
        let times = before.map_or(1, |last| last.times.saturating_add(1));
        self.last = Some(LastFailure { failure, at, times });
        self.course = Course::Failing;
    }

    /// The machine reports a status. How the link ended before it is told in the words of who had the link, if the
    /// report is about that end.
    pub fn on_report(
        &mut self,
        report: &AgentReport,
        link_ended: Option<(CloseReason, String)>,
        at: WallTime,
    ) {
        let AgentReport { status, cause } = *report;
        let text = match (cause, link_ended) {
            (AgentCause::LinkEnded(reason), Some((ended, text))) if ended == reason => text,
            (cause, Some(_) | None) => cause.to_string(),
        };
        if let Some(id) = cause.failure_id() {
            let failure = Failure { id, text: text.clone(), address: None, os_error: None };
            self.on_failure(failure, at);
        }
        match status {
            AgentStatus::Connected { .. } => self.course = Course::Undisturbed,
            AgentStatus::Idle
            | AgentStatus::Connecting { .. }
            | AgentStatus::Joining
            | AgentStatus::Stale { .. }
            | AgentStatus::TimedOut { .. }
            | AgentStatus::Reconnecting { .. }
            | AgentStatus::Closed => {}
        }
        self.reported = self
            .failing()
            .map_or_else(|| text.clone(), |last| cause.explained_by(&text, &last.failure.text));
        self.shown = self.reported.clone();
    }

    /// What the server said when it refused the hello; shown in one line.
    pub fn on_hello_refused(&mut self, said: &str) {
        let said: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.shown = format!("{}: {said}", self.reported);
        if let (Course::Failing, Some(last)) = (self.course, &mut self.last) {
            last.failure.text = self.shown.clone();
        }
    }

    /// An impairment leaves the status and its time alone; it is what the status is shown with while it lasts.
    pub fn on_impaired(&mut self, impairment: Option<Impairment>) {
        self.shown = impairment.map_or_else(|| self.reported.clone(), |fault| fault.to_string());
    }

    fn failing(&self) -> Option<&LastFailure> {
        match self.course {
            Course::Failing => self.last.as_ref(),
            Course::Undisturbed => None,
        }
    }
}

impl AgentCause {
    /// The id of what went wrong, if something did; a failed dial has its own ([`DialFault`](super::DialFault)).
    pub(crate) const fn failure_id(&self) -> Option<&'static str> {
        match self {
            Self::HelloRefused(_) => Some("hello-refused"),
            Self::HelloUnanswered => Some("hello-unanswered"),
            Self::DialUnanswered => Some("unanswered"),
            Self::Silence(_) => Some("silence"),
            Self::LinkEnded(_) => Some("link-ended"),
            Self::DialFailed(_)
            | Self::Started
            | Self::RetryDue
            | Self::LinkOpened
            | Self::HelloAccepted
            | Self::HeardAgain
            | Self::Slept(_)
            | Self::TokenRenewed
            | Self::Stopped
            | Self::EndOrdered(_) => None,
        }
    }

    /// The reason to show for a cause with this text, behind a failure that there has been no session since.
    fn explained_by(&self, text: &str, failure: &str) -> String {
        match self {
            // The driver's own text names the address and what to do.
            Self::DialFailed(_) => failure.to_owned(),
            // Who looks is to see why there is no session yet.
            Self::RetryDue | Self::LinkOpened => format!("{text}; before that: {failure}"),
            Self::Started
            | Self::HelloAccepted
            | Self::HelloRefused(_)
            | Self::HelloUnanswered
            | Self::DialUnanswered
            | Self::Silence(_)
            | Self::HeardAgain
            | Self::LinkEnded(_)
            | Self::Slept(_)
            | Self::TokenRenewed
            | Self::Stopped
            | Self::EndOrdered(_) => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::close::CloseCause;
    use crate::id::Epoch;
    use crate::session::{DialFailure, HelloRefusal};
    use crate::time::Timestamp;

    const AT: WallTime = WallTime::from_unix_millis(0);
    const WAITING: AgentStatus = AgentStatus::Reconnecting { retry_at: Timestamp::ORIGIN };

    fn dial(address: &str) -> Failure {
        let (text, address) = (format!("cannot reach {address}"), Some(address.to_owned()));
        Failure { id: "refused", text, address, os_error: Some(111) }
    }

    fn report(reason: &mut StatusReason, status: AgentStatus, cause: AgentCause) {
        reason.on_report(&AgentReport { status, cause }, None, AT);
    }

    #[test]
    fn a_failed_dial_is_told_in_its_own_words_until_there_is_a_session() {
        let mut reason = StatusReason::new("not started yet");
        assert_eq!(reason.shown(), "not started yet");
        reason.on_failure(dial("10.0.0.1"), AT);
        report(&mut reason, WAITING, AgentCause::DialFailed(DialFailure::Unreachable));
        assert_eq!(reason.shown(), "cannot reach 10.0.0.1");
        report(&mut reason, AgentStatus::Connecting { attempt: 2 }, AgentCause::RetryDue);
        assert_eq!(reason.shown(), "the next attempt is due; before that: cannot reach 10.0.0.1");
        let connected = AgentStatus::Connected { epoch: Epoch(1) };
        report(&mut reason, connected, AgentCause::HelloAccepted);
        assert_eq!(reason.shown(), "the server accepted the hello");
        report(&mut reason, AgentStatus::Connecting { attempt: 1 }, AgentCause::RetryDue);
        assert_eq!(reason.shown(), "the next attempt is due", "a session came between");
        assert!(reason.last_failure().is_some(), "and is still reported");
    }

    #[test]
    fn the_same_failure_at_the_same_address_counts_on() {
        let mut reason = StatusReason::new("");
        let mut times = |failure| {
            reason.on_failure(failure, AT);
            reason.last_failure().unwrap().times
        };
        assert_eq!([times(dial("a")), times(dial("a")), times(dial("b"))], [1, 2, 1]);
        assert_eq!(times(Failure { id: "timed-out", ..dial("b") }), 1);
    }

    #[test]
    fn the_end_of_a_link_has_the_words_of_who_had_it_unless_it_is_another_end() {
        let ended = CloseReason::local(CloseCause::Silent);
        let other = CloseReason::local(CloseCause::Normal);
        let mut reason = StatusReason::new("");
        let of = AgentReport { status: WAITING, cause: AgentCause::LinkEnded(ended) };
        reason.on_report(&of, Some((ended, "closed by the proxy".to_owned())), AT);
        assert_eq!(reason.shown(), "closed by the proxy");
        assert_eq!(reason.last_failure().unwrap().failure.id, "link-ended");
        reason.on_report(&of, Some((other, "closed by the proxy".to_owned())), AT);
        assert_eq!(reason.shown(), ended.to_string());
    }

    #[test]
    fn what_the_server_says_is_one_line_and_an_impairment_passes() {
        let mut reason = StatusReason::new("");
        let refused = AgentCause::HelloRefused(HelloRefusal::Other);
        report(&mut reason, WAITING, refused);
        reason.on_hello_refused("too\nmany");
        assert_eq!(reason.shown(), "the server refused the hello: too many");
        assert_eq!(reason.last_failure().unwrap().failure.text, reason.shown());
        let impairment = Impairment::NotRecorded;
        reason.on_impaired(Some(impairment));
        assert_eq!(reason.shown(), impairment.to_string());
        reason.on_impaired(None);
        assert_eq!(reason.shown(), "the server refused the hello");
    }
}
