//! A demand that was not met: which, when, of whom, what was expected and what was found.

use crate::lab::Invariant;
use crate::lab::fact::{Agent, Process, When};
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

/// Whose end of a connection a demand is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The server's end of this agent.
    Server(Agent),
    /// The end of this agent's process.
    End(Process),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(Agent(n)) => write!(f, "the server's end of agent {n}"),
            Self::End(Process(n)) => write!(f, "process {n}"),
        }
    }
}

/// The first demand that was not met.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct Violation {
    pub invariant: Invariant,
    /// When it was noticed.
    pub when: When,
    pub subject: Subject,
    /// What had to be true.
    pub expected: &'static str,
    /// What was seen instead.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} at {}.{:09}s (its clock: {} ns): expected {}, found {}",
            self.invariant.name(),
            self.subject,
            self.when.world / 1_000_000_000,
            self.when.world % 1_000_000_000,
            self.when.local,
            self.expected,
            self.found,
        )
    }
}

/// What a check answers.
pub(super) type Checked = Result<(), Box<Broken>>;

/// A demand that was not met, before it is known when and of whom.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) invariant: Invariant,
    pub(super) expected: &'static str,
    pub(super) found: String,
}

/// Demands `holds`; what was found is put into words only if it does not.
#[inline]
pub(super) fn demand(
    holds: bool,
    invariant: Invariant,
    expected: &'static str,
    found: impl FnOnce() -> String,
) -> Checked {
    if holds { Ok(()) } else { Err(broken(invariant, expected, found())) }
}

#[cold]
pub(super) fn broken(invariant: Invariant, expected: &'static str, found: String) -> Box<Broken> {
    Box::new(Broken { invariant, expected, found })
}
