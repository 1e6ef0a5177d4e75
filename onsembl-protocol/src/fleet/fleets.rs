//! The fleets of all users of a server: made when they are first needed, woken when they are due, dropped when they are
//! idle. Beside each fleet is something of the edge's own, such as where it is shown.

use super::Fleet;
use super::action::{FleetAction, SeatId};
use super::limits::FleetLimits;
use crate::id::UserId;
use crate::time::{Deadline, Timestamp};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// Machines that one fleet may number, so that the numbers of two fleets never meet.
const SEATS_OF_USER: u64 = 1 << 32;
/// Fleets that are woken in one go before input is looked at again.
const WOKEN_AT_ONCE: usize = 64;

/// All fleets of a server, by user, each with a `T` beside it.
#[derive(Debug)]
pub struct Fleets<T> {
    users: BTreeMap<UserId, OfUser<T>>,
    /// When each fleet is to be woken.
    wakes: BTreeSet<(Timestamp, UserId)>,
    /// What all of them hold.
    sums: FleetSums,
    /// Users that had a fleet, whose machines have numbers of their own.
    users_so_far: u64,
}

/// What the fleets of a server hold together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub struct FleetSums {
    /// Machines: agents in session, joining, or awaited.
    pub seats: usize,
    /// Commands that are open, or whose end is not stored.
    pub open_commands: usize,
}

/// What a fleet is made with when it is first needed.
#[derive(Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub struct Beside<T> {
    /// Keeps its ids distinct from those of other fleets.
    pub seed: u64,
    pub beside: T,
}

#[derive(Debug)]
struct OfUser<T> {
    fleet: Fleet,
    beside: T,
    deadline: Deadline,
}

impl<T> Default for Fleets<T> {
    fn default() -> Self {
        Self {
            users: BTreeMap::new(),
            wakes: BTreeSet::new(),
            sums: FleetSums::default(),
            users_so_far: 0,
        }
    }
}

impl<T> Fleets<T> {
    /// Changes the fleet of a user, which is made with `new` if it is not there, and hands each action that follows to
    /// `perform`. All of them are performed when it returns.
    pub fn with(
        &mut self,
        user: &UserId,
        new: impl FnOnce() -> Beside<T>,
        change: impl FnOnce(&mut Fleet),
        mut perform: impl FnMut(&T, FleetAction),
    ) {
        if !self.users.contains_key(user) {
            let first = SeatId(self.users_so_far.wrapping_mul(SEATS_OF_USER));
            self.users_so_far = self.users_so_far.wrapping_add(1);
            let Beside { seed, beside } = new();
            let fleet = Fleet::new(user.clone(), first, seed, FleetLimits::DEFAULT);
            let _ = self
                .users
                .insert(user.clone(), OfUser { fleet, beside, deadline: Deadline::Never });
        }
        let Some(OfUser { fleet, beside, deadline }) = self.users.get_mut(user) else { return };
        let before = fleet.counts();
        change(fleet);
        while let Some(action) = fleet.poll_action() {
            perform(beside, action);
        }
        self.sums.change(before, fleet.counts());
        let before = core::mem::replace(deadline, fleet.deadline());
        if before != *deadline {
            if let Deadline::At(at) = before {
                let _ = self.wakes.remove(&(at, user.clone()));
            }
            if let Deadline::At(at) = *deadline {
                let _ = self.wakes.insert((at, user.clone()));
            }
        }
        if fleet.is_idle() {
            // It has no deadline, so nothing wakes it.
            let _ = self.users.remove(user);
        }
    }

    /// When the first fleet is to be woken.
    pub fn deadline(&self) -> Deadline {
        self.wakes.first().map_or(Deadline::Never, |(at, _)| Deadline::At(*at))
    }

    /// Whose fleets are to be woken now: the first of them, a number that is woken in one go.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Vec<UserId> {
        let due = self.wakes.iter().take_while(|(at, _)| *at <= now).take(WOKEN_AT_ONCE);
        due.map(|(_, user)| user.clone()).collect()
    }

    /// The fleet of a user, if there is one.
    #[must_use]
    pub fn of(&self, user: &UserId) -> Option<&Fleet> {
        self.users.get(user).map(|user| &user.fleet)
    }

    /// What all of them hold, without looking at any.
    #[must_use]
    pub const fn sums(&self) -> FleetSums {
        self.sums
    }
}

impl FleetSums {
    /// One fleet holds as much as this now, and held that before.
    fn change(&mut self, before: (usize, usize), now: (usize, usize)) {
        self.seats = (self.seats + now.0).saturating_sub(before.0);
        self.open_commands = (self.open_commands + now.1).saturating_sub(before.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{AgentRecord, FleetEvent};
    use crate::id::{AgentId, AgentKey, Epoch, PresenceVersion};
    use crate::session::PresenceStatus;
    use crate::time::{Now, WallTime};
    use alloc::string::{String, ToString as _};
    use alloc::{format, vec};
    use core::time::Duration;

    const NEW: fn() -> Beside<()> = || Beside { seed: 7, beside: () };

    #[test]
    fn no_more_than_a_number_of_fleets_are_woken_in_one_go() {
        let mut fleets = Fleets::<()>::default();
        let at = Timestamp::from_origin(Duration::from_secs(1));
        for n in 0..3 * WOKEN_AT_ONCE {
            let _ = fleets.wakes.insert((at, UserId::new(format!("user {n}"))));
        }
        assert_eq!(fleets.due(at).len(), WOKEN_AT_ONCE);
    }

    fn record(n: u64) -> AgentRecord {
        AgentRecord {
            agent: AgentId::new(format!("agent {n}")),
            key: AgentKey::new(format!("key {n}")),
            name: String::new(),
            agent_type: "custom".to_string(),
            version: String::new(),
            host: String::new(),
            capabilities: vec![],
            aliases: vec![],
            epoch: Epoch(1),
            instance: None,
            status: PresenceStatus::Online,
            since: WallTime::default(),
            because: String::new(),
            presence_version: PresenceVersion(1),
            last_heard: None,
            metrics: None,
            journal: None,
            claim: None,
        }
    }

    fn forgets(seat: SeatId, now: Now) -> impl FnOnce(&mut Fleet) {
        move |fleet| fleet.handle(FleetEvent::Forgotten { seat, history: None }, now)
    }

    #[test]
    fn the_sums_are_those_of_all_fleets() {
        let mut fleets = Fleets::default();
        let now = Now::without_suspend(Duration::from_secs(1));
        for n in 0..6 {
            let user = UserId::new(format!("user {}", n % 3));
            fleets.with(&user, NEW, |fleet| fleet.recover_agent(record(n), now), |(), _| {});
        }
        assert_eq!(fleets.sums(), FleetSums { seats: 6, open_commands: 0 });
        let user = UserId::new("user 0");
        assert_eq!(fleets.of(&user).map(|fleet| fleet.counts().0), Some(2));
        fleets.with(&user, NEW, forgets(SeatId(0), now), |(), _| {});
        let left = fleets.users.values().map(|user| user.fleet.counts().0).sum::<usize>();
        assert_eq!((fleets.sums().seats, left), (5, 5));
    }

    #[test]
    fn an_idle_fleet_is_dropped_and_the_next_one_numbers_other_machines() {
        let mut fleets = Fleets::default();
        let now = Now::without_suspend(Duration::from_secs(1));
        let user = UserId::new("ann");
        fleets.with(&user, NEW, |fleet| fleet.handle(FleetEvent::Wake, now), |(), _| {});
        assert!(fleets.of(&user).is_none());
        let mut installed = Vec::new();
        fleets.with(
            &user,
            NEW,
            |fleet| fleet.recover_agent(record(0), now),
            |(), action| {
                if let FleetAction::Install { seat, .. } = action {
                    installed.push(seat);
                }
            },
        );
        assert_eq!(installed, [SeatId(SEATS_OF_USER)]);
    }
}
