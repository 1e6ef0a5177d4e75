//! Which unknown commands were reported to which agent: once in a session, since the report has no
//! answer. Bounded for all agents of the user together; with more, one may be reported twice.

use super::action::SeatId;
use crate::id::CommandId;
use alloc::collections::BTreeSet;

/// Commands of one session that are remembered: 1,024.
const OF_SESSION: usize = 1024;
/// What an id counts besides its bytes.
const ID_COST: usize = 64;

/// The commands that were reported to agents in their present sessions.
#[derive(Debug)]
pub(super) struct ReportedUnknown {
    ids: BTreeSet<(SeatId, CommandId)>,
    bytes: usize,
    most: usize,
}

impl ReportedUnknown {
    /// With room for this many bytes.
    pub(super) const fn new(most: usize) -> Self {
        Self { ids: BTreeSet::new(), bytes: 0, most }
    }

    /// Notes that a command is reported to the agent of this machine. Whether that is the first time.
    pub(super) fn tell(&mut self, seat: SeatId, command: &CommandId) -> bool {
        if self.was_told(seat, command) {
            return false;
        }
        let cost = cost_of(command);
        if self.of(seat).count() >= OF_SESSION || self.bytes.saturating_add(cost) > self.most {
            self.forget(seat);
        }
        if self.bytes.saturating_add(cost) > self.most {
            self.ids.clear();
            self.bytes = 0;
        }
        self.bytes = self.bytes.saturating_add(cost);
        self.ids.insert((seat, command.clone()))
    }

    pub(super) fn was_told(&self, seat: SeatId, command: &CommandId) -> bool {
        self.ids.contains(&(seat, command.clone()))
    }

    /// The report does not hold any more: it may be repeated.
    pub(super) fn take_back(&mut self, seat: SeatId, command: &CommandId) {
        if self.ids.remove(&(seat, command.clone())) {
            self.bytes = self.bytes.saturating_sub(cost_of(command));
        }
    }

    /// The session of this machine is over.
    pub(super) fn forget(&mut self, seat: SeatId) {
        let over: alloc::vec::Vec<_> = self.of(seat).cloned().collect();
        for entry in over {
            self.bytes = self.bytes.saturating_sub(cost_of(&entry.1));
            let _ = self.ids.remove(&entry);
        }
    }

    fn of(&self, seat: SeatId) -> impl Iterator<Item = &(SeatId, CommandId)> {
        let first = (seat, CommandId::new(""));
        self.ids.range(first..).take_while(move |(of, _)| *of == seat)
    }
}

fn cost_of(command: &CommandId) -> usize {
    command.as_str().len().saturating_add(ID_COST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn an_agent_is_told_once_in_a_session_while_there_is_room() {
        let mut told = ReportedUnknown::new(10 * (ID_COST + 3));
        let id = |n: usize| CommandId::new(format!("{n:03}"));
        assert!(told.tell(SeatId(1), &id(1)) && !told.tell(SeatId(1), &id(1)));
        assert!(told.tell(SeatId(2), &id(1)), "another agent was not notified");
        for n in 0..1000 {
            let _ = told.tell(SeatId(3), &id(n));
            assert!(told.bytes <= told.most);
        }
        assert!(
            told.was_told(SeatId(1), &id(1)),
            "an agent that names many is notified twice, and the others are not"
        );
        told.forget(SeatId(1));
        assert!(told.tell(SeatId(1), &id(1)));
        for n in 0..1000 {
            let _ = told.tell(SeatId(n), &id(1));
        }
        (0..1000).for_each(|n| told.forget(SeatId(n)));
        assert_eq!((told.bytes, told.ids.len()), (0, 0));
    }
}
