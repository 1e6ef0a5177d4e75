//! What an earlier run of this server left behind: agents that had a session, commands that were
//! not over.

use super::commands::terms;
use super::run::{Hub, Known, Live, OpenCommand};
use crate::board::{AgentEntry, CommandEntry, ShownPresence};
use crate::store::{AgentRow, CommandRow, StoreError, StreamPosition};
use onsembl_protocol::command::{
    CommandEvent, CommandLife, CommandStage, CommandTerms, DEFAULT_PLACES, Origin,
};
use onsembl_protocol::id::AgentId;
use onsembl_protocol::output::OutputLog;
use onsembl_protocol::session::{Dialect, PresenceStatus};
use onsembl_protocol::time::{Deadline, WallTime};
use onsembl_protocol::wire::payload::{CommandPhase, CommandRequest};
use std::time::Duration;
use tracing::{info, warn};

/// Commands that ended so long ago are shown as if the server had not ended meanwhile.
const RECENT_MS: i64 = 10 * 60 * 1000;
/// So many of them at most.
const ENDED_RECOVERED: usize = 1024;

impl Hub {
    pub(super) async fn recover(&mut self) -> Result<(), StoreError> {
        let at = self.now().wall;
        let left = self.store.close_left_sessions(at, "server restarted").await?;
        self.store.raise_presence_versions().await?;
        self.recover_stops().await?;
        let agents = self.store.agents(None).await?;
        let commands = self.store.open_commands().await?;
        let recent = WallTime::from_unix_millis(at.unix_millis() - RECENT_MS);
        info!(
            agents = agents.len(),
            left_sessions = left,
            open_commands = commands.len(),
            "recovered"
        );
        for row in commands {
            let end = self.store.output_end(&row.user, &row.command).await?;
            let positions =
                self.store.output_positions(&row.user, vec![row.command.clone()]).await?;
            self.recover_command(
                row,
                OutputLog::behind(end, positions.iter().map(StreamPosition::place)),
            );
        }
        for row in self.store.commands_ended_since(recent, ENDED_RECOVERED).await? {
            let key = (row.user.clone(), row.command.clone());
            let end = self.store.output_end(&row.user, &row.command).await?;
            let positions =
                self.store.output_positions(&row.user, vec![row.command.clone()]).await?;
            self.post_ended(
                &key,
                &row,
                OutputLog::behind(end, positions.iter().map(StreamPosition::place)),
            );
        }
        for row in agents {
            self.recover_agent(row);
        }
        let orphaned: Vec<_> = self
            .commands
            .iter()
            .filter(|(_, c)| self.known.get(&c.agent).is_none_or(|k| k.machine.is_none()))
            .map(|(key, _)| key.clone())
            .collect();
        for key in orphaned {
            let known = self.commands.get(&key).and_then(|c| self.known.get(&c.agent));
            let journals = known.is_some_and(|k| k.journal.is_some());
            self.feed_command(&key, CommandEvent::AgentGone { journals });
        }
        let all: Vec<_> = self.commands.keys().cloned().collect();
        all.iter().for_each(|key| self.line_up(key));
        Ok(())
    }

    fn recover_agent(&mut self, row: AgentRow) {
        let status = PresenceStatus::parse(&row.status).unwrap_or_else(|| {
            self.counters.count("unknown_stored_statuses");
            warn!(agent = %row.agent, status = row.status, "a stored status that nobody knows");
            PresenceStatus::Offline
        });
        let metrics = row.last_metrics.and_then(|m| serde_json::from_value(m).ok());
        self.boards.of(&row.user).change(|content, revision| {
            let entry = AgentEntry {
                name: row.name,
                agent_type: row.agent_type,
                version: row.version.unwrap_or_default(),
                host: row.host.unwrap_or_default(),
                capabilities: row.capabilities,
                aliases: Vec::new(),
                presence: ShownPresence {
                    status,
                    since: row.since,
                    because: row.because,
                    version: row.presence_version,
                },
                last_heard: row.last_heartbeat,
                metrics,
                paused: false,
                revision,
            };
            let _ = content.agents.insert(row.agent.clone(), entry);
        });
        let newest = self.newest.entry(row.user.clone()).or_default();
        *newest = row.presence_version.max(*newest);
        let agent = row.agent.clone();
        let _ = self.by_key.insert((row.user.clone(), row.key.clone()), agent.clone());
        let mut known = Known {
            user: row.user.clone(),
            version: row.presence_version,
            epoch: row.epoch,
            machine: None,
            journal: row.journal,
            places: DEFAULT_PLACES,
            history: None,
        };
        match status {
            PresenceStatus::Offline => {}
            PresenceStatus::Connecting
            | PresenceStatus::Online
            | PresenceStatus::Stale
            | PresenceStatus::TimedOut
            | PresenceStatus::Reconnecting
            | PresenceStatus::Error => {
                let key = self.shard.recover(row.presence_version, row.epoch);
                known.machine = Some(key);
                let mut live = Live::new(row.user, row.key, Some(agent.clone()));
                live.instance = row.instance;
                let _ = self.live.insert(key, live);
            }
        }
        let _ = self.known.insert(agent, known);
    }

    fn recover_command(&mut self, row: CommandRow, log: OutputLog) {
        let stage = CommandStage::of(&CommandPhase::parse(&row.status));
        let request = serde_json::from_value::<CommandRequest>(row.spec).unwrap_or_else(|_| {
            self.counters.count("unreadable_stored_commands");
            CommandRequest::new(row.command.clone(), row.agent.clone(), row.text.clone())
        });
        let now = self.now();
        let waited = now.wall.unix_millis().saturating_sub(row.created_at.unix_millis());
        let waited = Duration::from_millis(u64::try_from(waited).unwrap_or(0));
        let asked = terms(&request);
        let start_within = asked.start_within.saturating_sub(waited);
        let origin = if row.command.is_terminal() { Origin::Agent } else { Origin::User };
        let life =
            CommandLife::recovered(origin, CommandTerms { start_within, ..asked }, stage, now);
        let view = life.view();
        let agent: AgentId = row.agent;
        let key = (row.user, row.command);
        self.boards.of(&key.0).change(|content, revision| {
            let entry = CommandEntry {
                agent: agent.clone(),
                view: Some(view),
                detail: None,
                log,
                revision,
            };
            let _ = content.commands.insert(key.1.clone(), entry);
        });
        let open = OpenCommand {
            life,
            deadline: Deadline::Never,
            agent,
            dialect: Dialect::Extended,
            request: Box::new(request),
            stored: true,
            given_up: false,
            replies: Vec::new(),
        };
        let _ = self.commands.insert(key, open);
    }
}
