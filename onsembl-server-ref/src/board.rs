//! What the users of this server may see: the published view of each fleet, written by the hub, read by
//! dashboards and by the API.

use onsembl_protocol::fleet::{Change, Noticed, Revision, View};
use onsembl_protocol::id::UserId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The boards of all users.
#[derive(Clone, Debug, Default)]
pub struct Boards(Arc<Mutex<HashMap<UserId, Arc<Board>>>>);

impl Boards {
    /// The board of a user; made on first use.
    pub fn of(&self, user: &UserId) -> Arc<Board> {
        let mut boards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(boards.entry(user.clone()).or_default())
    }
}

/// What one user may see.
#[derive(Debug)]
pub struct Board {
    view: Mutex<View>,
    changed: watch::Sender<Revision>,
}

impl Default for Board {
    fn default() -> Self {
        Self { view: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

impl Board {
    /// A look at the board. Not to be held across anything slow.
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

    /// Wakes when the board changed.
    pub fn changes(&self) -> watch::Receiver<Revision> {
        self.changed.subscribe()
    }
}
