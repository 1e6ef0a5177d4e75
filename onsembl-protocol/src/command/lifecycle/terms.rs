//! What a command brings with it: where it comes from, and how long it may wait and run.

use core::time::Duration;

/// How long an agent with a journal may be away before its commands are given up. As long as a
/// command may wait for its start.
const AWAY_FOR: Duration = CommandTerms::START_WITHIN;
/// How long an agent with a terminal may be away before its terminal is given up, and ended when it is
/// back: as long as output is kept. A user may work in it all the while.
const TERMINAL_AWAY_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// What the sender of a command asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommandTerms {
    /// The longest run time; none if absent.
    pub time_limit: Option<Duration>,
    /// The longest wait before it is sent; after that it never starts.
    pub start_within: Duration,
    /// How much longer than others it may be on its way to its agent before it is sent again.
    pub on_its_way: Duration,
}

impl CommandTerms {
    /// A day: longer than any wait whose end still matters.
    pub(crate) const START_WITHIN: Duration = Duration::from_secs(24 * 3600);
}

impl Default for CommandTerms {
    fn default() -> Self {
        Self { time_limit: None, start_within: Self::START_WITHIN, on_its_way: Duration::ZERO }
    }
}

/// How the server came to know a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandOrigin {
    /// A user asked for it.
    User,
    /// Its agent began it, and told the server: it runs already, and is never sent.
    Agent,
    /// Its agent has it and the database did not: it was taken up, and is never sent.
    Adopted,
}

impl CommandOrigin {
    /// How long its agent may be away before its outcome counts as unknown.
    pub(super) const fn away_for(self) -> Duration {
        match self {
            Self::User | Self::Adopted => AWAY_FOR,
            Self::Agent => TERMINAL_AWAY_FOR,
        }
    }
}
