//! The link to the agent of a command, and until when the agent is awaited while there is none.

use crate::time::{Deadline, Timestamp};
use core::time::Duration;

/// How long an agent that continues over another link may take with its hello: as long as any hello.
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(10);

/// The link to the agent of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Up,
    Down,
    /// The agent closed it to continue over another one, which is to be there until then.
    HandedOver {
        until: Timestamp,
    },
    /// Its agent may come back until then, and say what became of the command.
    Awaited {
        until: Timestamp,
    },
}

impl Link {
    /// The link was lost. An agent that is awaited stays awaited.
    pub(super) const fn lost(self) -> Self {
        match self {
            Self::Up | Self::HandedOver { .. } => Self::Down,
            Self::Down | Self::Awaited { .. } => self,
        }
    }

    /// The agent closed its link at this moment to continue over another one.
    pub(super) fn handed_over(self, at: Timestamp) -> Self {
        match self {
            Self::Up => Self::HandedOver { until: at.saturating_add(HANDED_OVER_WITHIN) },
            Self::Down | Self::HandedOver { .. } | Self::Awaited { .. } => self,
        }
    }

    /// From this moment on the agent is awaited for so long.
    pub(super) fn awaited(at: Timestamp, within: Duration) -> Self {
        Self::Awaited { until: at.saturating_add(within) }
    }

    /// When waiting for the agent is over.
    pub(super) const fn deadline(self) -> Deadline {
        match self {
            Self::Awaited { until } | Self::HandedOver { until } => Deadline::At(until),
            Self::Up | Self::Down => Deadline::Never,
        }
    }
}
