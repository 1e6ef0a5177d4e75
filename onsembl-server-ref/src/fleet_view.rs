//! What the users of this server may see: the published view of each fleet, written by the hub, read by
//! dashboards and by the API.

use onsembl_protocol::fleet::{Change, Noticed, Revision, View};
use onsembl_protocol::id::UserId;
use onsembl_protocol::session::{PresenceStatus, ServerConfig};
use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use tokio::sync::watch;

/// Views that are kept before unused ones are looked for.
const LOOK_THROUGH_AT: usize = 64;

/// The fleet views of all users. One lives as long as it is used: the hub, while it has a fleet of the user,
/// or a reader.
#[derive(Clone, Debug, Default)]
pub struct FleetViews(Arc<Mutex<Views>>);

#[derive(Debug, Default)]
struct Views {
    of: HashMap<UserId, Weak<FleetView>>,
    /// How many there may be before unused ones are taken out.
    look_through_at: usize,
    rules: ServerConfig,
    /// Agents of fleets that were not read yet: all of them are away.
    unread: usize,
}

impl FleetViews {
    /// Those of a server with these rules for agents.
    pub fn new(rules: ServerConfig) -> Self {
        Self(Arc::new(Mutex::new(Views { rules, ..Views::default() })))
    }

    /// How many agents are in each status, over all users. Looks at no agent: each view has its sums.
    pub(crate) fn statuses(&self) -> BTreeMap<PresenceStatus, usize> {
        let mut count = BTreeMap::new();
        // Not held while views are looked at: the hub waits for it.
        let views: Vec<_> = {
            let views = self.views();
            if views.unread > 0 {
                let _ = count.insert(PresenceStatus::Offline, views.unread);
            }
            views.of.values().filter_map(Weak::upgrade).collect()
        };
        for view in views {
            for (status, agents) in view.look().statuses() {
                *count.entry(*status).or_default() += *agents;
            }
        }
        count
    }

    /// There are these many agents in fleets that are not read yet.
    pub(crate) fn expect(&self, unread: usize) {
        self.views().unread = unread;
    }

    /// Whether the fleet of a user is read, so that its view shows all of it.
    pub(crate) fn is_read(&self, user: &UserId) -> bool {
        let view = self.views().of.get(user).and_then(Weak::upgrade);
        view.is_some_and(|view| view.is_read.load(Ordering::Acquire))
    }

    /// The fleet of a user was read: this many agents, all of which were applied. It counts as read as long as the view
    /// that this returns is used.
    pub(crate) fn read(&self, user: &UserId, agents: usize) -> Arc<FleetView> {
        let view = self.of(user);
        if !view.is_read.swap(true, Ordering::Release) {
            let mut views = self.views();
            views.unread = views.unread.saturating_sub(agents);
        }
        view
    }

    fn views(&self) -> MutexGuard<'_, Views> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fleet view of a user; made on first use.
    pub fn of(&self, user: &UserId) -> Arc<FleetView> {
        let mut views = self.views();
        if let Some(view) = views.of.get(user).and_then(Weak::upgrade) {
            return view;
        }
        if views.of.len() >= views.look_through_at.max(LOOK_THROUGH_AT) {
            views.of.retain(|_, view| view.strong_count() > 0);
            views.look_through_at = 2 * views.of.len();
        }
        let view = Arc::new(FleetView::new(views.rules));
        let _ = views.of.insert(user.clone(), Arc::downgrade(&view));
        view
    }
}

/// What one user may see.
#[derive(Debug)]
pub struct FleetView {
    view: Mutex<View>,
    /// Changes that came while a reader looked. The hub must not wait for the readers of one user: it works for
    /// all.
    changes: Mutex<Vec<Change>>,
    changed: watch::Sender<Revision>,
    /// Whether it shows all that the store has of the fleet.
    is_read: AtomicBool,
}

impl FleetView {
    fn new(rules: ServerConfig) -> Self {
        let view = Mutex::new(View::default().with_rules(rules));
        let (changed, is_read) = (watch::Sender::new(0), AtomicBool::new(false));
        Self { view, changes: Mutex::default(), changed, is_read }
    }
}

/// A look at a fleet view. What changes meanwhile is seen by the next one.
#[derive(Debug)]
pub struct Look<'a> {
    of: &'a FleetView,
    view: Option<MutexGuard<'a, View>>,
    none: View,
}

impl Deref for Look<'_> {
    type Target = View;

    fn deref(&self) -> &View {
        self.view.as_deref().unwrap_or(&self.none)
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        self.view = None;
        self.of.settle();
    }
}

impl FleetView {
    /// A look at the fleet view: at all that was applied before. Not to be held across anything slow.
    pub fn look(&self) -> Look<'_> {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_changes(&mut view);
        Look { of: self, view: Some(view), none: View::default() }
    }

    /// Applies changes, and wakes readers if they are to notice. Never waits for a reader: if one looks, it
    /// applies them when it has looked.
    pub fn apply(&self, changes: Vec<Change>) {
        self.changes().extend(changes);
        self.settle();
    }

    /// Applies what has come, unless a reader has the lock, which does it afterwards.
    fn settle(&self) {
        while !self.changes().is_empty() {
            let mut view = match self.view.try_lock() {
                Ok(view) => view,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            self.take_changes(&mut view);
        }
    }

    fn take_changes(&self, view: &mut View) {
        let changes = std::mem::take(&mut *self.changes());
        if changes.is_empty() {
            return;
        }
        match view.apply(changes) {
            Noticed::Now => drop(self.changed.send_replace(view.revision())),
            Noticed::Later => {}
        }
    }

    fn changes(&self) -> MutexGuard<'_, Vec<Change>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes when the fleet view changed.
    pub fn revisions(&self) -> watch::Receiver<Revision> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onsembl_protocol::id::{AgentId, CommandId};

    fn shows(command: &str) -> Vec<Change> {
        let (command, agent) = (CommandId::new(command), AgentId::new("a"));
        vec![Change::Command { command, agent, view: None, detail: None }]
    }

    #[test]
    fn what_comes_while_somebody_looks_is_there_for_the_next_one() {
        let view = FleetView::new(ServerConfig::DEFAULT);
        view.apply(shows("1"));
        let look = view.look();
        // Would never return if it waited for the reader.
        view.apply(shows("2"));
        assert_eq!(look.command_count(), 1);
        drop(look);
        assert!(view.revisions().borrow().ge(&2), "readers are woken for it");
        assert_eq!(view.look().command_count(), 2);
    }

    #[test]
    fn agents_of_fleets_that_are_not_read_count_as_away_until_they_are() {
        let (views, user) = (FleetViews::default(), UserId::new("ann"));
        views.expect(5);
        let away = || views.statuses().get(&PresenceStatus::Offline).copied();
        assert_eq!((away(), views.is_read(&user)), (Some(5), false));
        let view = views.of(&user);
        assert!(!views.is_read(&user), "a reader may have come before");
        let read = views.read(&user, 2);
        assert!(Arc::ptr_eq(&view, &read) && views.is_read(&user));
        assert_eq!(away(), Some(3));
        let _ = views.read(&user, 2);
        assert_eq!(away(), Some(3), "once");
        drop((view, read));
        assert!(!views.is_read(&user), "nobody has it any more");
    }

    #[test]
    fn a_view_that_nobody_uses_is_not_kept() {
        let views = FleetViews::default();
        let kept = views.of(&UserId::new("kept"));
        kept.apply(shows("1"));
        for n in 0..10_000 {
            drop(views.of(&UserId::new(format!("user {n}"))));
        }
        assert!(views.0.lock().unwrap().of.len() <= LOOK_THROUGH_AT + 1);
        assert_eq!(views.of(&UserId::new("kept")).look().command_count(), 1);
    }
}
