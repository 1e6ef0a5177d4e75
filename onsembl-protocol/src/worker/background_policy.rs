//! Whether what outlives its command is kept or ended.

/// What becomes of a process that outlives the command that started it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackgroundPolicy {
    /// It stays until a stop or the end of the agent.
    #[default]
    Keep,
    /// It is ended with its command.
    Kill,
}

impl BackgroundPolicy {
    /// Reads `keep` or `kill`.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "keep" => Some(Self::Keep),
            "kill" => Some(Self::Kill),
            _ => None,
        }
    }
}
