//! The fleet of each user: made when it is first needed, woken when it is due, dropped when it is idle.

use crate::fleet_view::{FleetView, FleetViews};
use onsembl_protocol::fleet::{Fleet, FleetAction, FleetLimits, SeatId};
use onsembl_protocol::id::UserId;
use onsembl_protocol::time::{Deadline, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Machines that one fleet may number, so that the numbers of two fleets never meet.
const SEATS_OF_USER: u64 = 1 << 32;
/// Fleets that are woken in one go before input is looked at again.
const WOKEN_AT_ONCE: usize = 64;

/// All fleets of a server, by user.
#[derive(Debug, Default)]
pub(super) struct Fleets {
    views: FleetViews,
    users: BTreeMap<UserId, User>,
    /// When each fleet is to be woken.
    wakes: BTreeSet<(Timestamp, UserId)>,
    /// Machines and open commands of all of them.
    sums: (usize, usize),
    /// Users that had a fleet, whose machines have numbers of their own.
    users_so_far: u64,
}

/// The fleet of one user, and what that user sees of it.
#[derive(Debug)]
struct User {
    fleet: Fleet,
    view: Arc<FleetView>,
    deadline: Deadline,
}

impl Fleets {
    /// Fleets that publish themselves in these views.
    pub(super) fn new(views: FleetViews) -> Self {
        Self { views, ..Self::default() }
    }

    /// Changes the fleet of a user, and hands each action that follows to `perform`.
    pub(super) fn with(
        &mut self,
        user: &UserId,
        change: impl FnOnce(&mut Fleet),
        mut perform: impl FnMut(&FleetView, FleetAction),
    ) {
        if !self.users.contains_key(user) {
            let first = SeatId(self.users_so_far.wrapping_mul(SEATS_OF_USER));
            self.users_so_far = self.users_so_far.wrapping_add(1);
            let seed = fastrand::u64(..);
            let fleet = Fleet::new(user.clone(), first, seed, FleetLimits::DEFAULT);
            let known = User { fleet, view: self.views.of(user), deadline: Deadline::Never };
            let _ = self.users.insert(user.clone(), known);
        }
        let Some(User { fleet, view, deadline }) = self.users.get_mut(user) else { return };
        let counted = fleet.counts();
        change(fleet);
        while let Some(action) = fleet.poll_action() {
            perform(view, action);
        }
        let now = fleet.counts();
        self.sums.0 = (self.sums.0 + now.0).saturating_sub(counted.0);
        self.sums.1 = (self.sums.1 + now.1).saturating_sub(counted.1);
        let before = std::mem::replace(deadline, fleet.deadline());
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
    pub(super) fn deadline(&self) -> Deadline {
        self.wakes.first().map_or(Deadline::Never, |(at, _)| Deadline::At(*at))
    }

    /// Whose fleets are to be woken now: the first of them, a number that is woken in one go.
    pub(super) fn due(&self, now: Timestamp) -> Vec<UserId> {
        let due = self.wakes.iter().take_while(|(at, _)| *at <= now).take(WOKEN_AT_ONCE);
        due.map(|(_, user)| user.clone()).collect()
    }

    pub(super) fn of(&self, user: &UserId) -> Option<&Fleet> {
        self.users.get(user).map(|user| &user.fleet)
    }

    /// Machines and open commands of all users, without looking at any of them.
    pub(super) const fn sums(&self) -> (usize, usize) {
        self.sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onsembl_protocol::fleet::{AgentRecord, FleetEvent};
    use onsembl_protocol::id::{AgentId, AgentKey, Epoch, PresenceVersion};
    use onsembl_protocol::session::PresenceStatus;
    use onsembl_protocol::time::{Now, WallTime};
    use std::time::Duration;

    #[test]
    fn no_more_than_a_number_of_fleets_are_woken_in_one_go() {
        let (mut fleets, at) = (Fleets::default(), Timestamp::from_origin(Duration::from_secs(1)));
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
            agent_type: "custom".to_owned(),
            version: String::new(),
            host: String::new(),
            capabilities: Vec::new(),
            aliases: Vec::new(),
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

    #[test]
    fn the_sums_are_those_of_all_fleets() {
        let mut fleets = Fleets::default();
        let now = Now::from_origin(Duration::from_secs(1));
        for n in 0..6 {
            let user = UserId::new(format!("user {}", n % 3));
            fleets.with(&user, |fleet| fleet.recover_agent(record(n), now), |_, _| {});
        }
        assert_eq!(fleets.sums(), (6, 0));
        let user = UserId::new("user 0");
        let gone = fleets.users.get(&user).map(|user| user.fleet.counts().0);
        fleets.with(
            &user,
            |fleet| {
                let first = SeatId(0);
                fleet.handle(FleetEvent::Forgotten { seat: first, history: None }, now);
            },
            |_, _| {},
        );
        let left = fleets.users.values().map(|user| user.fleet.counts().0).sum::<usize>();
        assert_eq!(gone, Some(2));
        assert_eq!(fleets.sums().0, left);
        assert_eq!(left, 5);
    }
}
