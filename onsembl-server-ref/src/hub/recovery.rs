//! Reads what an earlier run of this server left behind, and hands it to the fleets: stops in force, agents,
//! commands that were not over or ended lately.

use super::perform::log_position;
use super::rows;
use super::run::Hub;
use crate::store::{CommandRow, StoreError};
use onsembl_protocol::fleet::{ALIASES, RECOVERED_COMMANDS, RECOVERED_FOR};
use onsembl_protocol::time::WallTime;
use tracing::info;

impl Hub {
    pub(super) async fn recover(&mut self) -> Result<(), StoreError> {
        let store = self.edge.store.clone();
        let at = self.edge.shard.clock().now().wall;
        let left = store.close_left_sessions(at, "server restarted").await?;
        store.raise_presence_versions().await?;
        for (user, order) in store.stops_in_force().await? {
            self.with_fleet(&user, |fleet, now| fleet.recover_stop(order, now));
        }
        let agents = store.agents(None).await?;
        let mut aliases = store.aliases(ALIASES).await?;
        let open = store.open_commands().await?;
        let (known, commands) = (agents.len(), open.len());
        info!(agents = known, left_sessions = left, open_commands = commands, "recovered");
        for row in agents {
            let aliases = aliases.remove(&row.agent).unwrap_or_default();
            let (user, record) = rows::agent_record(row, aliases, &self.edge.counters);
            self.with_fleet(&user, |fleet, now| fleet.recover_agent(record, now));
        }
        let window = i64::try_from(RECOVERED_FOR.as_millis()).unwrap_or(i64::MAX);
        let recent = WallTime::from_unix_millis(at.unix_millis() - window);
        let ended = store.commands_ended_since(recent, RECOVERED_COMMANDS).await?;
        // The oldest first, so that those make room for the newer ones.
        for row in ended.into_iter().rev().chain(open) {
            self.recover_command(row).await?;
        }
        self.edge.writes.recovered();
        Ok(())
    }

    async fn recover_command(&mut self, row: CommandRow) -> Result<(), StoreError> {
        let position = log_position(&self.edge.store, &row.user, &row.command).await?;
        let (user, record) = rows::command_record(row, &self.edge.counters);
        self.with_fleet(&user, |fleet, now| fleet.recover_command(record, &position, now));
        Ok(())
    }
}
