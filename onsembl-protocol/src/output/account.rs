//! The balance of a stream: whether every byte that a process wrote is somewhere.

use super::outbox::StreamState;
use crate::id::ByteOffset;

/// What a server has committed of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CommittedState {
    /// Everything before it is committed, as bytes or as a gap.
    pub committed: ByteOffset,
    /// Bytes that were committed.
    pub delivered: u64,
    /// Bytes in gaps that were committed.
    pub gaps: u64,
}

/// Where the bytes of a stream are. Always `produced = delivered + spooled + gaps + not kept + unaccounted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// Bytes that the process wrote, as far as they were read.
    pub produced: u64,
    /// Bytes in the server's database.
    pub delivered: u64,
    /// Bytes that the agent holds.
    pub spooled: u64,
    /// Bytes that are declared to be lost.
    pub gaps: u64,
    /// Bytes that are unaccounted for. 0, or something is broken.
    pub unaccounted: u64,
    /// Of a stream that is not stored, as asked: bytes that its agent does not hold any more.
    pub not_kept: Option<u64>,
}

impl Account {
    /// The balance of what both ends say. The agent is to be asked first: what moves on meanwhile
    /// then only moves towards the server. `None`: that end has nothing of the stream.
    pub(crate) fn of(reported: Option<&StreamState>, stored: Option<CommittedState>) -> Self {
        let CommittedState { committed, delivered, gaps } = stored.unwrap_or_default();
        let known = delivered.saturating_add(gaps);
        let (produced, from) = match reported {
            Some(reported) => {
                (reported.produced.max(committed).0, reported.stored.max(committed).0)
            }
            None => (committed.0, committed.0),
        };
        let unstored = produced.saturating_sub(from);
        let pending = reported.map_or(0, |reported| reported.gaps).min(unstored);
        Self {
            produced,
            delivered,
            spooled: unstored - pending,
            gaps: gaps.saturating_add(pending),
            unaccounted: from.saturating_sub(known),
            not_kept: None,
        }
    }

    /// The balance of a stream that is not stored, as asked, by what its agent says.
    pub(crate) fn of_unstored(reported: Option<&StreamState>) -> Self {
        let (produced, left) = reported.map_or((0, 0), |state| (state.produced.0, state.stored.0));
        let left = left.min(produced);
        Self {
            produced,
            delivered: 0,
            spooled: produced - left,
            gaps: 0,
            unaccounted: 0,
            not_kept: Some(left),
        }
    }

    /// Whether every byte is somewhere.
    #[cfg(test)]
    pub(crate) const fn is_balanced(&self) -> bool {
        self.unaccounted == 0
            && self.produced
                == self.delivered.saturating_add(self.spooled).saturating_add(self.gaps)
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Run;
    use super::*;
    use crate::id::{CommandId, Incarnation};
    use crate::model::Stream;
    use proptest::prelude::*;

    fn reported(produced: u64, stored: u64, gaps: u64) -> StreamState {
        let run = Run { command: CommandId::new("c"), incarnation: Incarnation(1) };
        let (produced, stored) = (ByteOffset(produced), ByteOffset(stored));
        StreamState { run, stream: Stream::Stdout, produced, stored, gaps }
    }

    fn stored(delivered: u64, gaps: u64) -> Option<CommittedState> {
        Some(CommittedState { committed: ByteOffset(delivered + gaps), delivered, gaps })
    }

    #[test]
    fn what_neither_end_has_is_unaccounted() {
        let thrown_away_too_early = Account::of(Some(&reported(100, 60, 10)), stored(40, 0));
        assert_eq!((thrown_away_too_early.spooled, thrown_away_too_early.gaps), (30, 10));
        assert_eq!(thrown_away_too_early.unaccounted, 20);
        assert!(!thrown_away_too_early.is_balanced());
        let wrong_sums = CommittedState { committed: ByteOffset(9), delivered: 5, gaps: 1 };
        assert_eq!(Account::of(None, Some(wrong_sums)).unaccounted, 3);
    }

    proptest! {
        #[test]
        fn the_parts_add_up_and_a_server_that_is_ahead_is_no_loss(
            delivered in 0_u64..1000, gaps in 0_u64..1000, behind in 0_u64..500,
            more in 0_u64..1000, pending in 0_u64..2000,
        ) {
            let committed = delivered + gaps;
            let agent_knows = committed.saturating_sub(behind);
            let state = reported(agent_knows + more, agent_knows, pending.min(more));
            let account = Account::of(Some(&state), stored(delivered, gaps));
            prop_assert!(account.is_balanced(), "{account:?}");
            prop_assert_eq!(account.produced, committed.max(agent_knows + more));
        }
    }
}
