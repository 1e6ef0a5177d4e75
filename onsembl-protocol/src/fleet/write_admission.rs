//! Which writes of fleets are kept when the store takes none, by the memory that the edge has for them, and what is to
//! be said of those that are dropped.

use super::action::Write;
use super::event::StoreFault;
use crate::id::CommandId;
use alloc::borrow::ToOwned;

/// Decides for each write of all fleets of a server.
#[derive(Debug)]
pub struct WriteAdmission {
    phase: Phase,
    /// Those that were dropped since there was room last.
    dropped: u64,
}

/// What the server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It reads what an earlier run left, in one go: a write for each agent that was in session then. They are as
    /// many as agents were read, and all of them are kept.
    Recovering,
    Running,
}

/// What becomes of a write. `S` stands for its part of the memory.
#[derive(Clone, Debug, PartialEq)]
pub enum AdmittedWrite<S> {
    /// It is kept, and takes no part: what brings it is bounded elsewhere.
    Free,
    /// It is kept in this part. This many were dropped before it, since there was room last.
    InPart {
        /// Occupied until it is committed.
        part: S,
        /// None in most cases.
        dropped: u64,
    },
    /// There is no room for it.
    Dropped {
        /// Whether it is the first since there was room: only that one is worth a line of its own, as many follow as
        /// there are events until the store is well.
        is_first: bool,
        /// The command whose end it is, if it is one, and why that is not stored: its fleet waits for it, and decides
        /// again later.
        end: Option<(CommandId, StoreFault)>,
    },
}

impl WriteAdmission {
    /// For a server that starts.
    #[must_use]
    pub const fn recovering() -> Self {
        Self { phase: Phase::Recovering, dropped: 0 }
    }

    /// From now on what waits is bounded.
    pub fn recovered(&mut self) {
        self.phase = Phase::Running;
    }

    /// Decides. `part` takes one part of the memory, if there is one left for the user of this write.
    pub fn admit<S>(
        &mut self,
        write: &Write,
        part: impl FnOnce() -> Option<S>,
    ) -> AdmittedWrite<S> {
        match self.phase {
            Phase::Recovering => return AdmittedWrite::Free,
            Phase::Running if write.is_bounded_at_source() => return AdmittedWrite::Free,
            Phase::Running => {}
        }
        if let Some(part) = part() {
            return AdmittedWrite::InPart { part, dropped: core::mem::take(&mut self.dropped) };
        }
        let is_first = self.dropped == 0;
        self.dropped = self.dropped.saturating_add(1);
        let why = "too many writes of this user wait for the database";
        let fault = || StoreFault::Unavailable(why.to_owned());
        let end = write.ended_command().map(|command| (command.clone(), fault()));
        AdmittedWrite::Dropped { is_first, end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::CommandStage;
    use crate::fleet::CommandUpdate;
    use crate::id::SessionId;
    use crate::time::WallTime;
    use alloc::string::String;

    fn end_of_session() -> Write {
        let at = WallTime::default();
        Write::SessionEnd { session: SessionId::new("s"), at, because: String::new() }
    }

    fn end_of_command() -> Write {
        let (stage, at) = (CommandStage::Failed, WallTime::default());
        let update = CommandUpdate { stage, cause: String::new(), exit: None, at };
        Write::Command { command: CommandId::new("c"), update }
    }

    #[test]
    fn nothing_that_the_recovery_writes_is_dropped() {
        let mut admission = WriteAdmission::recovering();
        let full = || None::<()>;
        assert_eq!(admission.admit(&end_of_session(), full), AdmittedWrite::Free);
        admission.recovered();
        let dropped = admission.admit(&end_of_session(), full);
        assert!(matches!(dropped, AdmittedWrite::Dropped { is_first: true, end: None }));
    }

    #[test]
    fn of_many_that_are_dropped_the_first_is_told_of_and_then_how_many_there_were() {
        let mut admission = WriteAdmission::recovering();
        admission.recovered();
        for n in 0..3 {
            let AdmittedWrite::Dropped { is_first, .. } =
                admission.admit(&end_of_session(), || None::<()>)
            else {
                panic!("there is no room");
            };
            assert_eq!(is_first, n == 0);
        }
        let kept = admission.admit(&end_of_session(), || Some(7));
        assert_eq!(kept, AdmittedWrite::InPart { part: 7, dropped: 3 });
        let kept = admission.admit(&end_of_session(), || Some(8));
        assert_eq!(kept, AdmittedWrite::InPart { part: 8, dropped: 0 });
    }

    #[test]
    fn the_fleet_of_an_end_that_is_dropped_hears_that_it_is_not_stored() {
        let mut admission = WriteAdmission::recovering();
        admission.recovered();
        let dropped = admission.admit(&end_of_command(), || None::<()>);
        let AdmittedWrite::Dropped { end: Some((command, fault)), .. } = dropped else {
            panic!("its fleet waits: {dropped:?}");
        };
        assert_eq!(command, CommandId::new("c"));
        assert!(matches!(fault, StoreFault::Unavailable(_)));
    }
}
