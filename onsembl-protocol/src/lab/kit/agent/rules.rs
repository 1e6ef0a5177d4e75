//! The numbers that an agent keeps to, and the windows in which its dials must fall.

use crate::session::DialFailure;
use crate::time::Timestamp;
use core::time::Duration;

/// A `Retry-After` beyond this is cut to it (P-13).
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// The numbers that the thing under test promises to keep to. Those of liveness are not here: the
/// server names them in each script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Longest wait for one dial.
    pub dial_timeout: Duration,
    /// Longest wait for the answer to the hello.
    pub hello_timeout: Duration,
    /// First window of the backoff; each is twice as long as the one before.
    pub first_window: Duration,
    /// Longest window of the backoff.
    pub longest_window: Duration,
    /// A session of this length resets the windows.
    pub stable_after: Duration,
    /// After a refused token the next dial comes within one and two of these.
    pub refused_token: Duration,
}

impl Rules {
    /// Those of `AgentConfig::DEFAULT` (P-55, P-64, P-65, and section 2 of `docs/PROTOCOL.md`).
    pub const DEFAULT: Self = Self {
        dial_timeout: Duration::from_secs(10),
        hello_timeout: Duration::from_secs(30),
        first_window: Duration::from_secs(1),
        longest_window: Duration::from_secs(30),
        stable_after: Duration::from_secs(10),
        refused_token: Duration::from_secs(30),
    };
}

impl Default for Rules {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why the agent waits for its next dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    Backoff,
    TimedOut,
    ServerAsked,
    RefusedToken,
}

/// When the next dial is due: not before, and not after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: Timestamp,
    pub(super) by: Timestamp,
}

/// The windows of one agent: each begins where the last one ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    rules: Rules,
    failures: u32,
    end: Option<Timestamp>,
}

impl Windows {
    pub(super) const fn new(rules: Rules) -> Self {
        Self { rules, failures: 0, end: None }
    }

    pub(super) fn begin_anew(&mut self) {
        (self.failures, self.end) = (0, None);
    }

    pub(super) fn next(&mut self, at: Timestamp) -> Window {
        let doubled = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let length = self.rules.first_window.saturating_mul(doubled).min(self.rules.longest_window);
        let from = self.end.map_or(at, |end| end.max(at));
        let by = from.saturating_add(length);
        self.failures = self.failures.saturating_add(1);
        self.end = Some(by);
        Window { from, by }
    }

    pub(super) fn with_new_token(&mut self, at: Timestamp) -> Window {
        let from = at.saturating_add(self.rules.refused_token);
        self.end = Some(from);
        Window { from, by: from.saturating_add(self.rules.refused_token) }
    }

    /// The wait for another token is over: it is there.
    pub(super) fn token_is_there(&mut self, at: Timestamp) -> Window {
        self.end = Some(at);
        self.next(at)
    }

    /// After a failed dial; `None` if it was refused permanently. Also why.
    pub(super) fn after(&mut self, failure: DialFailure, at: Timestamp) -> Option<(Window, Wait)> {
        match failure {
            DialFailure::Forbidden => None,
            DialFailure::Unauthorized => Some((self.with_new_token(at), Wait::RefusedToken)),
            DialFailure::Busy { retry_after: Some(wait) } => {
                let asked = at.saturating_add(wait.min(LONGEST_RETRY_AFTER));
                self.end = Some(self.end.map_or(asked, |end| end.max(asked)));
                Some((self.next(at), Wait::ServerAsked))
            }
            DialFailure::Busy { retry_after: None }
            | DialFailure::Unreachable
            | DialFailure::TimedOut
            | DialFailure::NoToken
            | DialFailure::Tls
            | DialFailure::NotAServer(_) => Some((self.next(at), Wait::Backoff)),
        }
    }
}
