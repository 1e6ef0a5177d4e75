//! Reads fleets that were left unread at the start. When one is read, and what waits for it meanwhile, is decided in the
//! core ([`UnreadFleets`]).

use super::inputs::Input;
use crate::store::{AgentRow, Store, StoreError, Submitted};
use onsembl_protocol::fleet::{ALIASES, UnreadFleets};
use onsembl_protocol::id::{AgentId, UserId};
use std::time::Duration;
use tokio::task::JoinSet;
use tracing::warn;

/// Agents whose epochs are raised by one request: those of others are written between these.
const RAISED_AT_ONCE: usize = 64;
/// Between two attempts to read a fleet.
const PAUSE: Duration = Duration::from_millis(500);

/// An agent as it is stored, and the ids that it went by.
pub(super) type StoredAgent = (AgentRow, Vec<AgentId>);
/// A fleet that was read.
type ReadFleet = (UserId, Vec<StoredAgent>);

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Unread {
    pub(super) fleets: UnreadFleets<Input, StoredAgent>,
    /// None of a store that was closed: the hub ends.
    pub(super) reads: JoinSet<Option<ReadFleet>>,
}

impl Unread {
    /// Keeps what came for this fleet until it is read, which is begun now unless it was before.
    pub(super) fn defer(&mut self, user: &UserId, input: Input, store: &Store) {
        if self.fleets.defer(user, input) {
            let _ = self.reads.spawn(read(store.clone(), user.clone()));
        }
    }
}

/// Reads a fleet, and tries until that is done; `None` if the store was closed first.
async fn read(store: Store, user: UserId) -> Option<ReadFleet> {
    let mut was_told = false;
    loop {
        match read_once(&store, &user).await {
            Ok(agents) => return Some((user, agents)),
            Err(StoreError::Closed) => return None,
            Err(error) => {
                if !was_told {
                    warn!(%user, %error, "the agents of a user cannot be read; trying again");
                }
                was_told = true;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn read_once(store: &Store, user: &UserId) -> Result<Vec<StoredAgent>, StoreError> {
    let agents = store.agents().of_users(vec![user.clone()], ALIASES).await?;
    let mut raised = Vec::new();
    for some in agents.chunks(RAISED_AT_ONCE) {
        let some = some.iter().map(|(row, _)| row.agent.clone()).collect();
        raised.push(store.sessions().put_next_epochs_of(user, some)?);
    }
    for raised in raised {
        let _ = unless_troubled(store, raised).await?;
    }
    Ok(agents)
}

/// What came of a write, unless the database takes none now: then nothing waits for it.
pub(super) async fn unless_troubled<T>(
    store: &Store,
    write: Submitted<T>,
) -> Result<Option<T>, StoreError> {
    let mut health = store.health();
    tokio::select! {
        biased;
        written = write.committed() => written.map(Some),
        _ = health.wait_for(|health| health.is_stuck()) => Ok(None),
    }
}
