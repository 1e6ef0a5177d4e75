//! Reads what an earlier run of this server left behind, and hands it to the fleets: stops in force, agents,
//! commands that were not over or ended lately. Sessions and holds of keyboards that it left open are over. A fleet of
//! which nothing is in progress is left unread until its first event ([`unread`](super::unread)).

use super::inputs::Input;
use super::rows;
use super::run::Hub;
use super::unread::{Recovery, StoredAgent, unless_troubled};
use super::watchdog::Kind;
use crate::store::{CommandRow, StoreError, Submitted};
use onsembl_protocol::fleet::{ALIASES, RECOVERED_COMMANDS, RECOVERED_FOR};
use onsembl_protocol::id::UserId;
use onsembl_protocol::time::WallTime;
use std::collections::{BTreeMap, BTreeSet};
use tracing::{info, warn};

impl Hub {
    pub(super) async fn recover(&mut self) -> Result<(), StoreError> {
        let store = self.edge.store.clone();
        let at = self.edge.shard.clock().now().wall;
        let mut going_on = BTreeSet::new();
        for (user, order) in store.stops().in_force().await? {
            self.with_fleet(&user, Kind::RECOVERY, |fleet, now| fleet.recover_stop(order, now));
            let _ = going_on.insert(user);
        }
        let known = store.agents().counts().await?;
        let awaited = known.iter().filter(|(_, count)| count.is_awaited);
        going_on.extend(awaited.map(|(user, _)| user.clone()));
        let open = store.commands().open().await?;
        let window = i64::try_from(RECOVERED_FOR.as_millis()).unwrap_or(i64::MAX);
        let recent = WallTime::from_unix_millis(at.unix_millis() - window);
        let ended = store.commands().ended_since(recent, RECOVERED_COMMANDS).await?;
        going_on.extend(open.iter().chain(&ended).map(|row| row.user.clone()));
        // Read before they are raised: on a full disk nothing waits for that to be written. Orders go first, so
        // nothing of this run comes before them.
        let users: Vec<_> = going_on.iter().cloned().collect();
        let agents = store.agents().of_users(users.clone(), ALIASES).await?;
        let left = store.sessions().put_end_of_left(at, "server restarted")?;
        let holds = store.keyboards().put_end_of_left(at)?;
        let raised = store.sessions().put_presence_versions(users)?;
        let (read, commands) = (agents.len(), open.len());
        let left = self.written(left).await?;
        let holds = self.written(holds).await?;
        let _ = self.written(raised).await?;
        let all = known.values().map(|count| count.agents).sum::<usize>();
        info!(
            agents = all,
            agents_read = read,
            left_sessions = left.unwrap_or(0),
            left_holds = holds.unwrap_or(0),
            open_commands = commands,
            "recovered"
        );
        self.views.expect(all);
        let mut counts: BTreeMap<UserId, usize> = BTreeMap::new();
        for agent in agents {
            *counts.entry(agent.0.user.clone()).or_default() += 1;
            self.recover_agent(agent);
        }
        // Held until the end: a fleet without agents has nothing but its commands that keeps it.
        let views: Vec<_> = going_on
            .iter()
            .map(|user| self.views.read(user, counts.get(user).copied().unwrap_or(0)))
            .collect();
        // The oldest first, so that those make room for the newer ones.
        for row in ended.into_iter().rev().chain(open) {
            let asked_at = row.created_at;
            self.recover_command(row, asked_at).await?;
        }
        drop(views);
        self.edge.writes.recovered();
        Ok(())
    }

    /// Recovers the next agents of fleets that were read.
    pub(super) fn recover_some(&mut self) {
        match self.edge.unread.next() {
            Some(Recovery::Some(agents)) => {
                agents.into_iter().for_each(|agent| self.recover_agent(agent));
            }
            Some(Recovery::Done { user, agents, waited }) => {
                let view = self.views.read(&user, agents);
                waited.into_iter().for_each(|input| self.step(input));
                drop(view);
            }
            None => {}
        }
    }

    /// What came for a fleet that is not read yet is deferred until it is.
    pub(super) fn defer_for_unread(&mut self, input: Input) -> Option<Input> {
        match input.first_of(&self.edge.shard) {
            Some(user) if !self.views.is_read(user) => {
                let user = user.clone();
                self.edge.unread.defer(&user, input, &self.edge.store);
                None
            }
            Some(_) | None => Some(input),
        }
    }

    fn recover_agent(&mut self, (mut row, aliases): StoredAgent) {
        row.presence_version = row.presence_version.after_restart();
        let (user, record) = rows::agent_record(row, aliases, &self.edge.counters);
        self.with_fleet(&user, Kind::RECOVERY, |fleet, now| fleet.recover_agent(record, now));
    }

    /// What came of a write, unless the database takes none now: then the start does not wait for it. It has the hub for
    /// itself, because what waits in it cannot be shared between threads.
    async fn written<T>(&mut self, write: Submitted<T>) -> Result<Option<T>, StoreError> {
        let written = unless_troubled(&self.edge.store, write).await?;
        if written.is_none() {
            warn!("the database is not writable; the server starts anyway, and resumes when it is");
        }
        Ok(written)
    }

    async fn recover_command(
        &mut self,
        row: CommandRow,
        asked_at: WallTime,
    ) -> Result<(), StoreError> {
        let position = self.edge.store.streams().log_position(&row.user, &row.command).await?;
        let (user, record) = rows::command_record(row, &self.edge.counters);
        self.edge.traces.recovered(&user, &record, asked_at);
        let observed = self.edge.store.retention().ages_by();
        self.with_fleet(&user, Kind::RECOVERY, |fleet, now| {
            fleet.recover_command(record, &position, observed, now);
        });
        Ok(())
    }
}
