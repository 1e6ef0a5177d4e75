//! What the users of this server may see: one board per user, written by the hub, read by
//! dashboards and by the API.
//!
//! A reader does not get a queue of events but looks at what changed since it last looked. So a
//! slow reader misses intermediate states and nothing else, holds nobody up, and costs no memory;
//! and what one user does can never show on another user's board.

use crate::hub::StopState;
use onsembl_protocol::command::{CommandStage, CommandView};
use onsembl_protocol::id::{AgentId, CommandId, UserId};
use onsembl_protocol::output::OutputLog;
use onsembl_protocol::session::Presence;
use onsembl_protocol::stop::{StopLatch, StopOrder};
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::payload::HealthMetrics;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Grows with each change of a board. Zero is before all changes.
pub type Revision = u64;

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
    content: Mutex<Content>,
    changed: watch::Sender<Revision>,
}

/// Everything on a board.
#[derive(Debug, Default)]
pub struct Content {
    revision: Revision,
    /// The agents.
    pub agents: BTreeMap<AgentId, AgentEntry>,
    /// The emergency stops in force.
    pub stops: StopLatch,
    /// How far each agent is with the stop that is in force for it, as last seen.
    pub stop_states: BTreeMap<AgentId, StopState>,
    /// Open commands, and those that ended lately.
    pub commands: BTreeMap<CommandId, CommandEntry>,
}

impl Content {
    /// The stop that keeps this agent from starting anything, and how far the agent is with it.
    pub fn stop_of(&self, agent: &AgentId) -> Option<(&StopOrder, StopState)> {
        let order = self.stops.in_force(agent)?;
        Some((order, self.stop_states.get(agent).copied().unwrap_or(StopState::Away)))
    }
}

/// One agent.
#[derive(Clone, Debug)]
pub struct AgentEntry {
    /// Its name.
    pub name: String,
    /// What runs behind it.
    pub agent_type: String,
    /// Version of its program.
    pub version: String,
    /// Name of its machine.
    pub host: String,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// Ids it went by before it learned this one.
    pub aliases: Vec<AgentId>,
    /// Its presence, from the live machine.
    pub presence: ShownPresence,
    /// When a frame of it was last received.
    pub last_heard: Option<WallTime>,
    /// Its latest figures.
    pub metrics: Option<HealthMetrics>,
    /// Whether it says, in its present session, that it starts nothing, by order.
    pub paused: bool,
    /// When its presence last changed on this board.
    pub revision: Revision,
}

impl AgentEntry {
    /// What keeps a command of this stage from being started here, beside what its life says.
    pub fn holds_up(&self, stage: CommandStage) -> Option<String> {
        if !self.paused || !awaits_its_agent(stage) {
            return None;
        }
        let name = &self.name;
        Some(format!("its agent is paused, and starts nothing until `control {name} resume`"))
    }
}

/// Whether a command of this stage is one that its agent could start.
pub fn awaits_its_agent(stage: CommandStage) -> bool {
    match stage {
        CommandStage::Queued | CommandStage::Delivered => true,
        CommandStage::Pending
        | CommandStage::Running
        | CommandStage::Cancelling
        | CommandStage::Completed
        | CommandStage::Failed
        | CommandStage::Cancelled
        | CommandStage::Lost
        | CommandStage::Unknown => false,
    }
}

/// A presence as it is shown: from a live machine, or from the database for an agent that has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownPresence {
    /// The status.
    pub status: onsembl_protocol::session::PresenceStatus,
    /// Since when it holds.
    pub since: WallTime,
    /// Why.
    pub because: String,
    /// Its version.
    pub version: onsembl_protocol::id::PresenceVersion,
}

impl From<Presence> for ShownPresence {
    fn from(p: Presence) -> Self {
        Self {
            status: p.status,
            since: p.since,
            because: p.because.to_string(),
            version: p.version,
        }
    }
}

/// One command.
#[derive(Debug)]
pub struct CommandEntry {
    /// Where it runs.
    pub agent: AgentId,
    /// Where it is in its life; `None` for the output of an agent that belongs to no command.
    pub view: Option<CommandView>,
    /// What the agent says about its end.
    pub detail: Option<String>,
    /// What it wrote lately.
    pub log: OutputLog,
    /// When its view last changed on this board.
    pub revision: Revision,
}

impl CommandEntry {
    /// Why the command is where it is, in the words of the server and of its agent.
    pub fn because(&self, view: &CommandView) -> String {
        match (&self.detail, view.exit) {
            (Some(detail), None) if view.status.is_final() => detail.clone(),
            (Some(detail), Some(exit)) if *detail != exit.to_string() => {
                format!("{}: {detail}", view.because)
            }
            (Some(_) | None, _) => view.because.to_string(),
        }
    }
}

impl Default for Board {
    fn default() -> Self {
        Self { content: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

impl Board {
    /// A look at the board. Not to be held across anything slow.
    pub fn look(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the board and wakes its readers. The closure gets the revision of the change.
    pub fn change<T>(&self, change: impl FnOnce(&mut Content, Revision) -> T) -> T {
        let (result, revision) = {
            let mut content = self.look();
            content.revision += 1;
            let revision = content.revision;
            (change(&mut content, revision), revision)
        };
        let _ = self.changed.send_replace(revision);
        result
    }

    /// Changes what nobody is to be woken for.
    pub fn touch(&self, change: impl FnOnce(&mut Content)) {
        change(&mut self.look());
    }

    /// Wakes when the board changed.
    pub fn changes(&self) -> watch::Receiver<Revision> {
        self.changed.subscribe()
    }
}
