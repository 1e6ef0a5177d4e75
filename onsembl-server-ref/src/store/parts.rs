//! The parts of a store: one type for the queries of each subject, which are in the file of that subject. All of them
//! share one writer and the readers.

use super::Store;

macro_rules! parts {
    ($($(#[$doc:meta])+ $name:ident: $Part:ident;)+) => {
        $(
            $(#[$doc])+
            #[derive(Clone, Copy, Debug)]
            pub struct $Part<'a> {
                pub(super) store: &'a Store,
            }
        )+

        impl Store {
            $(
                $(#[$doc])+
                pub const fn $name(&self) -> $Part<'_> {
                    $Part { store: self }
                }
            )+
        }
    };
}

parts! {
    /// Agents, by whom and by what they are known.
    agents: Agents;
    /// What each user has on the disk, and what goes when that is too much.
    budget: Budget;
    /// Commands, their states and how they came there.
    commands: Commands;
    /// Agents that were deleted, until they are forgotten.
    deletion: Deletion;
    /// What agents found while they were away.
    findings: Findings;
    /// Who held the keyboards of terminals.
    keyboards: Keyboards;
    /// What the server keeps of itself.
    meta: Meta;
    /// Output on its way in.
    output: Output;
    /// What was shown of agents.
    presence: Presences;
    /// Output on its way out.
    reading: Reading;
    /// How long history is kept.
    retention: Retention;
    /// Sizes and keyframes of terminals.
    screens: Screens;
    /// Sessions of agents.
    sessions: Sessions;
    /// Emergency stops.
    stops: Stops;
    /// How far streams of output are stored.
    streams: Streams;
    /// Tokens and their revocations.
    tokens: Tokens;
}
