//! Which agents this server turned away, and for what: noticed where a token is refused, read by `why`. What it means for
//! a drop is decided by the core.
//!
//! Only a refusal counts whose token is known to be a user's, and which names an agent of that user: a stranger must not
//! write into what is told of others. So there are no more than agents. It is not kept over a restart: an agent that is
//! turned away comes back within a minute.

use onsembl_protocol::diagnosis::TurnedAway;
use onsembl_protocol::id::{AgentId, UserId};
use onsembl_protocol::model::Cause;
use onsembl_protocol::shared_pool::SharedPool;
use onsembl_protocol::time::WallTime;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most agents that are remembered. Beyond it the user with the most loses the one that was turned away longest ago.
const MOST: usize = 4096;

type Known = SharedPool<UserId, AgentId, TurnedAway>;

/// A handle to the record.
#[derive(Clone, Debug)]
pub(crate) struct TurnedAwayAgents(Arc<Mutex<Known>>);

impl Default for TurnedAwayAgents {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(SharedPool::new(MOST))))
    }
}

impl TurnedAwayAgents {
    /// This agent of this user is turned away now.
    pub(crate) fn note(&self, user: &UserId, agent: &AgentId, cause: Cause, now: WallTime) {
        let mut known = self.known();
        let before = known.get_mut(user, agent).copied();
        let turned = TurnedAway::now(before, cause, now);
        // What goes for it is forgotten: it is evidence, and a newer refusal brings it back.
        drop(known.insert(user.clone(), agent.clone(), turned));
    }

    /// How it was turned away lately.
    pub(crate) fn of(&self, user: &UserId, agent: &AgentId) -> Option<TurnedAway> {
        self.known().get_mut(user, agent).copied()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_is_turned_away_again_and_again_is_one_and_the_oldest_is_forgotten() {
        let record = TurnedAwayAgents::default();
        let (user, agent) = (UserId::new("u"), |n: usize| AgentId::new(format!("{n}")));
        let at = |n: i64| WallTime::from_unix_millis(n);
        record.note(&user, &agent(0), Cause::TokenExpired, at(0));
        record.note(&user, &agent(0), Cause::TokenExpired, at(30_000));
        let (first, last) = (at(0), at(30_000));
        let twice = TurnedAway { cause: Cause::TokenExpired, first, last, times: 2 };
        assert_eq!(record.of(&user, &agent(0)), Some(twice));
        assert_eq!(record.of(&UserId::new("v"), &agent(0)), None);
        for n in 1..=MOST {
            record.note(&user, &agent(n), Cause::TokenExpired, at(30_000 + n as i64));
        }
        assert_eq!(record.of(&user, &agent(0)), None);
        assert!(record.of(&user, &agent(1)).is_some());
    }

    /// However many agents of one user are turned away.
    #[test]
    fn no_user_evicts_what_is_remembered_of_another() {
        let agents = TurnedAwayAgents::default();
        let (quiet, busy) = (UserId::new("quiet"), UserId::new("busy"));
        let at = WallTime::from_unix_millis;
        agents.note(&quiet, &AgentId::new("a"), Cause::TokenRevoked, at(0));
        for n in 0..2 * MOST {
            let agent = AgentId::new(format!("a{n}"));
            agents.note(&busy, &agent, Cause::TokenRevoked, at(1 + n as i64));
        }
        assert!(agents.of(&quiet, &AgentId::new("a")).is_some());
        assert!(agents.of(&busy, &AgentId::new(format!("a{}", 2 * MOST - 1))).is_some());
        assert!(agents.of(&busy, &AgentId::new("a0")).is_none());
    }
}
