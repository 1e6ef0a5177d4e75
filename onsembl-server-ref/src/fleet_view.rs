//! What the users of this server may see: the published view of each fleet, written by the hub, read by
//! dashboards and by the API.

use onsembl_protocol::fleet::{Change, Noticed, Revision, View};
use onsembl_protocol::id::UserId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The fleet views of all users.
#[derive(Clone, Debug, Default)]
pub struct FleetViews(Arc<Mutex<HashMap<UserId, Arc<FleetView>>>>);

impl FleetViews {
    /// The fleet view of a user; made on first use.
    pub fn of(&self, user: &UserId) -> Arc<FleetView> {
        let mut fleet_views = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(fleet_views.entry(user.clone()).or_default())
    }
}

/// What one user may see.
#[derive(Debug)]
pub struct FleetView {
    view: Mutex<View>,
    changed: watch::Sender<Revision>,
}

impl Default for FleetView {
    fn default() -> Self {
        Self { view: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

impl FleetView {
    /// A look at the fleet view. Not to be held across anything slow.
    pub fn look(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies changes, and wakes readers if they are to notice.
    pub fn apply(&self, changes: Vec<Change>) {
        let revision = {
            let mut view = self.look();
            match view.apply(changes) {
                Noticed::Now => view.revision(),
                Noticed::Later => return,
            }
        };
        let _ = self.changed.send_replace(revision);
    }

    /// Wakes when the fleet view changed.
    pub fn changes(&self) -> watch::Receiver<Revision> {
        self.changed.subscribe()
    }
}
