//! What a judge of the kit found, in words.

use crate::lab::Invariant;
use core::fmt;
use core::time::Duration;
use std::string::String;

/// An invariant that did not hold: which, when, what was expected and what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct Violation {
    pub invariant: Invariant,
    /// When, counted from the first input.
    pub at: Duration,
    /// The input that was handled.
    pub input: String,
    /// What should have happened.
    pub expected: String,
    pub happened: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} ({})", self.invariant, self.invariant.says(), self.invariant.source())?;
        writeln!(f, "  at:       {}, {}", Elapsed(self.at), self.input)?;
        writeln!(f, "  expected: {}", self.expected)?;
        write!(f, "  happened: {}", self.happened)
    }
}

impl std::error::Error for Violation {}

/// `+45.000s`; with as many digits as it takes when milliseconds do not tell.
pub(super) struct Elapsed(pub(super) Duration);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        if nanos.is_multiple_of(1_000_000) {
            write!(f, "+{seconds}.{:03}s", nanos / 1_000_000)
        } else {
            write!(f, "+{seconds}.{nanos:09}s")
        }
    }
}
