//! What became of processes whose agent died.

/// What became of the processes of a command whose agent died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They are confirmed to have ended.
    Ended,
    /// Whether they have ended is unknown.
    Unknown,
}
