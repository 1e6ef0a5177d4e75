//! Reads what an earlier run of this server left behind, and hands it to the fleets: stops in force, agents,
//! commands that were not over or ended lately.

use super::perform::log_position;
use super::rows;
use super::run::Hub;
use super::watchdog::Kind;
use crate::store::{CommandRow, StoreError, StoreHealth, StoreTrouble, Submitted};
use onsembl_protocol::fleet::{ALIASES, RECOVERED_COMMANDS, RECOVERED_FOR};
use onsembl_protocol::time::WallTime;
use tracing::{info, warn};

impl Hub {
    pub(super) async fn recover(&mut self) -> Result<(), StoreError> {
        let store = self.edge.store.clone();
        let at = self.edge.shard.clock().now().wall;
        for (user, order) in store.stops_in_force().await? {
            self.with_fleet(&user, Kind::RECOVERY, |fleet, now| fleet.recover_stop(order, now));
        }
        // Read before they are raised: on a full disk nothing waits for that to be written. Orders go first, so
        // nothing of this run comes before them.
        let mut agents = store.agents(None).await?;
        for agent in &mut agents {
            agent.presence_version = agent.presence_version.after_restart();
        }
        let left = store.put_left_sessions_end(at, "server restarted")?;
        let raised = store.put_presence_versions()?;
        let mut aliases = store.aliases(ALIASES).await?;
        let open = store.open_commands().await?;
        let (known, commands) = (agents.len(), open.len());
        let left = self.unless_troubled(left).await?;
        let _ = self.unless_troubled(raised).await?;
        info!(
            agents = known,
            left_sessions = left.unwrap_or(0),
            open_commands = commands,
            "recovered"
        );
        for row in agents {
            let aliases = aliases.remove(&row.agent).unwrap_or_default();
            let (user, record) = rows::agent_record(row, aliases, &self.edge.counters);
            self.with_fleet(&user, Kind::RECOVERY, |fleet, now| fleet.recover_agent(record, now));
        }
        let window = i64::try_from(RECOVERED_FOR.as_millis()).unwrap_or(i64::MAX);
        let recent = WallTime::from_unix_millis(at.unix_millis() - window);
        let ended = store.commands_ended_since(recent, RECOVERED_COMMANDS).await?;
        // The oldest first, so that those make room for the newer ones.
        for row in ended.into_iter().rev() {
            let asked_at = row.created_at;
            self.recover_command(row, asked_at).await?;
        }
        for row in open {
            let asked_at = row.created_at;
            self.recover_command(row, asked_at).await?;
        }
        self.edge.writes.recovered();
        Ok(())
    }

    /// What came of a write, unless the database takes none now: then the start does not wait for it.
    async fn unless_troubled<T>(&self, write: Submitted<T>) -> Result<Option<T>, StoreError> {
        let mut health = self.edge.store.health();
        let is_stuck = |health: &StoreHealth| match health {
            StoreHealth::Healthy | StoreHealth::Scarce { .. } => false,
            StoreHealth::Troubled { trouble, .. } => match trouble {
                StoreTrouble::Full | StoreTrouble::Failed => true,
                // Another program has it for a moment; damage ends the start.
                StoreTrouble::Busy | StoreTrouble::Damaged => false,
            },
        };
        tokio::select! {
            biased;
            written = write.committed() => written.map(Some),
            _ = health.wait_for(is_stuck) => {
                warn!("the database takes no writes; the server starts all the same, and resumes when it does");
                Ok(None)
            }
        }
    }

    async fn recover_command(
        &mut self,
        row: CommandRow,
        asked_at: WallTime,
    ) -> Result<(), StoreError> {
        let position = log_position(&self.edge.store, &row.user, &row.command).await?;
        let (user, record) = rows::command_record(row, &self.edge.counters);
        self.edge.traces.recovered(&user, &record, asked_at);
        let observed = self.edge.store.ages_by();
        self.with_fleet(&user, Kind::RECOVERY, |fleet, now| {
            fleet.recover_command(record, &position, observed, now);
        });
        Ok(())
    }
}
