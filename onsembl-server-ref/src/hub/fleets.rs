//! The fleet of each user: made when it is first needed, woken when it is due, dropped when it is idle.

use crate::fleet_view::{FleetView, FleetViews};
use onsembl_protocol::fleet::{Fleet, FleetAction, FleetLimits, SeatId};
use onsembl_protocol::id::UserId;
use onsembl_protocol::time::{Deadline, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Machines that one fleet may number, so that the numbers of two fleets never meet.
const SEATS_OF_USER: u64 = 1 << 32;

/// All fleets of a server, by user.
#[derive(Debug, Default)]
pub(super) struct Fleets {
    views: FleetViews,
    users: BTreeMap<UserId, User>,
    /// When each fleet is to be woken.
    wakes: BTreeSet<(Timestamp, UserId)>,
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
        change(fleet);
        while let Some(action) = fleet.poll_action() {
            perform(view, action);
        }
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

    /// Whose fleets are to be woken now.
    pub(super) fn due(&self, now: Timestamp) -> Vec<UserId> {
        let due = self.wakes.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, user)| user.clone()).collect()
    }

    pub(super) fn of(&self, user: &UserId) -> Option<&Fleet> {
        self.users.get(user).map(|user| &user.fleet)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Fleet> {
        self.users.values().map(|user| &user.fleet)
    }
}
