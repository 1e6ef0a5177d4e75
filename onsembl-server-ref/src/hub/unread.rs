//! Fleets that are not read yet: at the start of a server those whose agents are all away. One is read when one of its
//! agents comes, or its user asks for something; until then it takes no memory. What comes for it while it is read
//! waits here.

use super::inputs::Input;
use crate::store::{AgentRow, Store, StoreError, Submitted};
use onsembl_protocol::fleet::ALIASES;
use onsembl_protocol::id::{AgentId, UserId};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};
use tracing::warn;

/// Agents that are recovered in one go, before other users are served.
const RECOVERED_AT_ONCE: usize = 64;
/// Agents whose presence versions are raised by one request: those of others are written between these.
const RAISED_AT_ONCE: usize = 64;
/// Between two attempts to read a fleet.
const PAUSE: Duration = Duration::from_millis(500);

/// An agent as it is stored, and the ids that it went by.
pub(super) type StoredAgent = (AgentRow, Vec<AgentId>);

/// The agents of a fleet, of which some may be recovered already.
pub(super) struct ReadFleet {
    user: UserId,
    agents: std::vec::IntoIter<StoredAgent>,
    count: usize,
}

/// See the [module](self).
#[derive(Default)]
pub(super) struct Unread {
    /// What waits for each fleet that is being read. It is bounded where it comes from: links and requests of a user
    /// are.
    waiting: BTreeMap<UserId, Vec<Input>>,
    reads: JoinSet<Option<ReadFleet>>,
    read: VecDeque<ReadFleet>,
}

/// What is to be done next with a fleet that was read.
pub(super) enum Recovery {
    /// These agents of it are to be recovered; more follow.
    Some(Vec<StoredAgent>),
    /// It is recovered, this many agents: this waited for it.
    Done { user: UserId, agents: usize, waited: Vec<Input> },
}

impl Unread {
    /// Keeps what came for this fleet until it is read, which is begun now unless it was before.
    pub(super) fn defer(&mut self, user: &UserId, input: Input, store: &Store) {
        match self.waiting.entry(user.clone()) {
            Entry::Occupied(mut waiting) => waiting.get_mut().push(input),
            Entry::Vacant(waiting) => {
                let _ = waiting.insert(vec![input]);
                let _ = self.reads.spawn(read(store.clone(), user.clone()));
            }
        }
    }

    /// Whether a fleet is being read.
    pub(super) fn is_reading(&self) -> bool {
        !self.reads.is_empty()
    }

    /// Waits until one was read. Cancel-safe.
    pub(super) async fn next_read(&mut self) -> Option<Result<Option<ReadFleet>, JoinError>> {
        self.reads.join_next().await
    }

    /// This fleet is to be recovered, in turn.
    pub(super) fn push(&mut self, fleet: ReadFleet) {
        self.read.push_back(fleet);
    }

    /// Whether one is to be recovered.
    pub(super) fn is_recovering(&self) -> bool {
        !self.read.is_empty()
    }

    /// The next agents that are to be recovered. Fleets take turns.
    pub(super) fn next(&mut self) -> Option<Recovery> {
        let mut fleet = self.read.pop_front()?;
        let some: Vec<_> = fleet.agents.by_ref().take(RECOVERED_AT_ONCE).collect();
        if some.is_empty() {
            let ReadFleet { user, count: agents, .. } = fleet;
            let waited = self.waiting.remove(&user).unwrap_or_default();
            return Some(Recovery::Done { user, agents, waited });
        }
        self.read.push_back(fleet);
        Some(Recovery::Some(some))
    }
}

impl fmt::Debug for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting: Vec<_> = self.waiting.keys().collect();
        f.debug_struct("Unread").field("waiting", &waiting).finish_non_exhaustive()
    }
}

/// Reads a fleet, and tries until that is done; `None` if the store was closed first.
async fn read(store: Store, user: UserId) -> Option<ReadFleet> {
    let mut was_told = false;
    loop {
        match read_once(&store, &user).await {
            Ok(agents) => {
                let count = agents.len();
                return Some(ReadFleet { user, agents: agents.into_iter(), count });
            }
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
        raised.push(store.sessions().put_presence_versions_of(user, some)?);
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
