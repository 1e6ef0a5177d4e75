//! The task that forgets agents which are away for longer than they are kept. Which ones those are, the core decides.

use crate::fleet_view::FleetViews;
use crate::hub::WeakHubHandle;
use crate::store::Store;
use onsembl_protocol::fleet::{Answer, KeptFor, Request, is_forgotten};
use onsembl_protocol::id::{AgentId, UserId};
use onsembl_protocol::session::ServerConfig;
use onsembl_protocol::time::WallTime;
use onsembl_transport::clock::SystemClock;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often it is looked, at most: a tenth of how long agents are kept, and no oftener than each second.
const EVERY: Duration = Duration::from_secs(60);
/// Agents that are looked at, and forgotten, in one go.
const AT_ONCE: usize = 32;
/// How long one may take: a database that is held for a while delays it.
const WITHIN: Duration = Duration::from_secs(30);

/// What it needs of the server.
pub(crate) struct Forgetting {
    pub(crate) store: Store,
    pub(crate) hub: WeakHubHandle,
    pub(crate) views: FleetViews,
    pub(crate) rules: ServerConfig,
    pub(crate) kept: KeptFor,
}

impl Forgetting {
    /// Forgets until `stop`.
    pub(crate) async fn keep(self, stop: CancellationToken) {
        let every = (self.kept.shortest() / 10).clamp(Duration::from_secs(1), EVERY);
        let work = async {
            loop {
                tokio::time::sleep(every).await;
                self.look().await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    async fn look(&self) {
        let (now, observed) = (SystemClock::new().now().wall, self.store.retention().ages_by());
        let before = |keep: Duration| {
            let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
            let at = now.min(observed).unix_millis().saturating_sub(keep);
            WallTime::from_unix_millis(at.saturating_add(1))
        };
        let (ephemeral, others) = (before(self.kept.shortest()), self.kept.others.map(before));
        loop {
            let away = match self.store.agents().away_since(ephemeral, others, AT_ONCE).await {
                Ok(away) => away,
                Err(error) => {
                    return warn!(%error, "cannot read which agents have been away for long");
                }
            };
            let (found, mut forgotten) = (away.len(), 0);
            for (user, agent) in away {
                if self.is_read(&user).await
                    && self.is_forgotten(&user, &agent, now, observed)
                    && self.forget(user, agent).await
                {
                    forgotten += 1;
                }
            }
            if found < AT_ONCE || forgotten == 0 {
                return;
            }
        }
    }

    /// Whether what is known of the user's agents can be seen.
    async fn is_read(&self, user: &UserId) -> bool {
        let Some(hub) = self.hub.upgrade() else { return false };
        self.views.is_read(user) || tokio::time::timeout(WITHIN, hub.read(user)).await == Ok(true)
    }

    /// Whether it still is away: what is stored may be older than what is known.
    fn is_forgotten(
        &self,
        user: &UserId,
        agent: &AgentId,
        now: WallTime,
        observed: WallTime,
    ) -> bool {
        let view = self.views.of(user);
        let look = view.look();
        let Some(agent) = look.agents().get(agent) else { return false };
        let Some(keep) = self.kept.of(&agent.capabilities) else { return false };
        let told = agent.explain(&self.rules);
        is_forgotten(told.state, told.since, keep, now, observed)
    }

    /// Whether it is forgotten now.
    async fn forget(&self, user: UserId, agent: AgentId) -> bool {
        let request = Request::DeleteAgent(agent.clone());
        let Some(hub) = self.hub.upgrade() else { return false };
        let asked = hub.ask_fleet(user.clone(), request);
        match tokio::time::timeout(WITHIN, asked).await.map(|answer| answer.map(Answer::done)) {
            Ok(Some(Ok(()))) => {
                info!(%user, %agent, "an agent that was away for too long is forgotten");
                return true;
            }
            Ok(Some(Err(error))) => {
                warn!(%user, %agent, error = %error.message, "an agent that is away cannot be forgotten yet");
            }
            Ok(None) | Err(_) => {
                warn!(%user, %agent, "an agent that is away cannot be forgotten in time");
            }
        }
        false
    }
}
