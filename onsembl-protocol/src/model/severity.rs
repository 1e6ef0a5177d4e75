//! How much a fact matters to who reads a log.

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// For one who follows what happens step by step.
    Debug,
    /// The course of things.
    Info,
    /// A person may have to act, or asked for what cannot be done.
    Warn,
    /// Something is lost, or a promise cannot be kept.
    Error,
}
