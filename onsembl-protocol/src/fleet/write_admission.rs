//! Which writes of fleets are kept when the store takes none, how many of whom, and what is to be said of those that are
//! dropped.

use super::action::Write;
use super::event::StoreFault;
use crate::id::{AgentId, CommandId, UserId};
use crate::shared_slots::SharedSlots;
use alloc::borrow::ToOwned;

/// Decides for each write of all fleets of a server.
#[derive(Debug)]
pub struct WriteAdmission {
    phase: Phase,
    /// Those that were dropped since there was room last.
    dropped: u64,
    /// Those that are kept and are not committed yet.
    waiting: usize,
    of_users: SharedSlots<UserId>,
    /// Presence events beyond the part of their user.
    of_agents: SharedSlots<AgentId>,
}

/// What the server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It reads what an earlier run left, in one go: a write for each agent that was in session then. They are as
    /// many as agents were read, and all of them are kept.
    Recovering,
    Running,
}

/// What becomes of a write.
#[derive(Debug, PartialEq, Eq)]
pub enum AdmittedWrite {
    /// It is kept.
    Kept {
        /// Its part of the memory, to be [given back](WriteAdmission::committed) when it is committed; none of output,
        /// which the store bounds itself.
        part: Option<WritePart>,
        /// This many were dropped before it, since there was room last. None in most cases.
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

/// The part of the memory that a write takes until it is committed.
#[derive(Debug, PartialEq, Eq)]
pub struct WritePart(PartOf);

#[derive(Debug, PartialEq, Eq)]
enum PartOf {
    /// What brings it is bounded elsewhere.
    Nobody,
    User(UserId),
    Agent(AgentId),
}

impl WriteAdmission {
    /// Writes that may wait while the store does not take them, of all users: of one at most as many as are left, so
    /// that alone a user has 16,384. Beyond it a write is dropped, and the end of a command is decided again later. What
    /// is bounded at its source does not count.
    pub const MOST: usize = 32 * 1024;
    /// Presence events of one agent that may wait besides: where all agents of a user go from one status to another at
    /// one moment, and back, none is dropped. A fleet has a bound on its agents, which take far more than these.
    pub const PRESENCE_OF_AGENT: usize = 2;

    /// For a server that starts.
    #[must_use]
    pub const fn recovering() -> Self {
        Self {
            phase: Phase::Recovering,
            dropped: 0,
            waiting: 0,
            of_users: SharedSlots::new(Self::MOST, 1),
            // Of each agent it is bounded; of all, by how many agents there are.
            of_agents: SharedSlots::new(usize::MAX, usize::MAX),
        }
    }

    /// From now on what waits is bounded.
    pub fn recovered(&mut self) {
        self.phase = Phase::Running;
    }

    /// Decides about a write of this user's fleet.
    pub fn admit(&mut self, user: &UserId, write: &Write) -> AdmittedWrite {
        if let Write::Output { .. } = write {
            return AdmittedWrite::Kept { part: None, dropped: 0 };
        }
        let (part, dropped) = match self.phase {
            Phase::Recovering => (PartOf::Nobody, 0),
            Phase::Running if write.is_bounded_at_source() => (PartOf::Nobody, 0),
            Phase::Running => match self.part_of(user, write) {
                Some(part) => (part, core::mem::take(&mut self.dropped)),
                None => return self.drop_it(write),
            },
        };
        self.waiting = self.waiting.saturating_add(1);
        AdmittedWrite::Kept { part: Some(WritePart(part)), dropped }
    }

    /// A write that was kept is committed, or has failed.
    pub fn committed(&mut self, part: WritePart) {
        self.waiting = self.waiting.saturating_sub(1);
        match part.0 {
            PartOf::Nobody => {}
            PartOf::User(user) => self.of_users.give_back(&user),
            PartOf::Agent(agent) => self.of_agents.give_back(&agent),
        }
    }

    /// How many writes besides output are kept and not committed yet.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    fn part_of(&mut self, user: &UserId, write: &Write) -> Option<PartOf> {
        if let Some(user) = self.of_users.take(user) {
            return Some(PartOf::User(user));
        }
        let Write::Presence(record) = write else { return None };
        self.of_agents.take_below(&record.agent, Self::PRESENCE_OF_AGENT).map(PartOf::Agent)
    }

    fn drop_it(&mut self, write: &Write) -> AdmittedWrite {
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
    use crate::fleet::{CommandUpdate, PresenceRecord};
    use crate::id::{Epoch, PresenceVersion, SessionId};
    use crate::session::{Presence, PresenceCause, PresenceStatus, StatusCause};
    use crate::time::WallTime;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    const ALONE: usize = WriteAdmission::MOST / 2;

    fn end_of_session() -> Write {
        let at = WallTime::default();
        Write::SessionEnd { session: SessionId::new("s"), at, because: String::new() }
    }

    fn end_of_command() -> Write {
        let (stage, at) = (CommandStage::Failed, WallTime::default());
        let update = CommandUpdate { stage, cause: String::new(), exit: None, at };
        Write::Command { command: CommandId::new("c"), update }
    }

    fn presence(agent: usize) -> Write {
        let cause = PresenceCause::ServerRestarted;
        let presence = Presence {
            status: PresenceStatus::Offline,
            since: WallTime::default(),
            because: StatusCause { cause, impairment: None, trouble: None },
            version: PresenceVersion(1),
            epoch: Epoch(1),
        };
        Write::Presence(PresenceRecord {
            agent: AgentId::new(format!("agent {agent}")),
            presence,
            last_heard: None,
            link: None,
            instance: None,
            at: WallTime::default(),
            beats: None,
        })
    }

    fn kept(admitted: AdmittedWrite) -> Option<WritePart> {
        match admitted {
            AdmittedWrite::Kept { part, .. } => part,
            AdmittedWrite::Dropped { .. } => None,
        }
    }

    /// Of a server that runs, and of which this user has all that one may have.
    fn full(user: &UserId) -> (WriteAdmission, Vec<WritePart>) {
        let mut admission = WriteAdmission::recovering();
        admission.recovered();
        let mut next = || kept(admission.admit(user, &end_of_session()));
        let parts: Vec<_> = core::iter::from_fn(&mut next).collect();
        (admission, parts)
    }

    /// As at a start with a large fleet whose server was killed.
    #[test]
    fn nothing_that_the_recovery_writes_is_dropped() {
        let user = UserId::new("u");
        let mut admission = WriteAdmission::recovering();
        for _ in 0..WriteAdmission::MOST + 1000 {
            assert!(kept(admission.admit(&user, &end_of_session())).is_some());
        }
        admission.recovered();
        let bounded = (0..ALONE).all(|_| kept(admission.admit(&user, &end_of_session())).is_some());
        assert!(bounded && kept(admission.admit(&user, &end_of_session())).is_none());
        assert_eq!(admission.waiting(), WriteAdmission::MOST + 1000 + ALONE);
    }

    /// As when a server is back and its fleet is not, or when its resume window ends.
    #[test]
    fn a_large_fleet_that_changes_its_status_and_back_at_one_moment_loses_no_presence_event() {
        const AGENTS: usize = 20_000;
        let user = UserId::new("u");
        let (mut admission, _parts) = full(&user);
        let mut parts = Vec::new();
        for agent in (0..AGENTS).chain(0..AGENTS) {
            parts.extend(kept(admission.admit(&user, &presence(agent))));
        }
        assert_eq!(parts.len(), 2 * AGENTS);
        assert_eq!(kept(admission.admit(&user, &presence(7))), None, "one agent has its bound");
        parts.into_iter().for_each(|part| admission.committed(part));
        assert!(kept(admission.admit(&user, &presence(7))).is_some());
    }

    #[test]
    fn of_many_that_are_dropped_the_first_is_told_of_and_then_how_many_there_were() {
        let user = UserId::new("u");
        let (mut admission, mut parts) = full(&user);
        // One was dropped when all was taken.
        for _ in 0..2 {
            let admitted = admission.admit(&user, &end_of_session());
            assert_eq!(admitted, AdmittedWrite::Dropped { is_first: false, end: None });
        }
        for told in [3, 0] {
            admission.committed(parts.pop().unwrap());
            let AdmittedWrite::Kept { dropped, .. } = admission.admit(&user, &end_of_session())
            else {
                panic!("there is room again");
            };
            assert_eq!(dropped, told);
        }
        let other = admission.admit(&UserId::new("v"), &end_of_session());
        assert!(matches!(other, AdmittedWrite::Kept { dropped: 0, .. }), "{other:?}");
        let admitted = admission.admit(&user, &end_of_session());
        assert!(matches!(admitted, AdmittedWrite::Dropped { is_first: true, .. }), "{admitted:?}");
    }

    #[test]
    fn the_fleet_of_an_end_that_is_dropped_hears_that_it_is_not_stored() {
        let user = UserId::new("u");
        let (mut admission, _parts) = full(&user);
        let dropped = admission.admit(&user, &end_of_command());
        let AdmittedWrite::Dropped { end: Some((command, fault)), .. } = dropped else {
            panic!("its fleet waits: {dropped:?}");
        };
        assert_eq!(command, CommandId::new("c"));
        assert!(matches!(fault, StoreFault::Unavailable(_)));
    }
}
