//! What a fleet publishes of itself: a copy for readers (dashboards, the API), made of [`Change`]s. It is
//! never the fleet's own memory, so that a slow reader cannot delay a decision.
//!
//! A reader does not get a queue of events but looks at what changed since it last looked. So a slow reader
//! misses intermediate states and nothing else, and costs no memory.

use super::agent_view::AgentView;
use super::aliases::Aliases;
use super::by_id::ById;
use super::claims::Bearer;
use super::limits::FleetLimits;
use crate::command::{CommandCause, CommandView};
use crate::diagnosis::BeatVerdict;
use crate::id::{AgentId, ChunkSequence, CommandId, Incarnation};
use crate::model::SizeRecord;
use crate::output::{Cursor, LogRecord, OutputTail};
use crate::session::{PresenceStatus, ServerConfig};
use crate::terminal::KeyboardView;
use crate::time::WallTime;
use crate::wire::payload::HealthMetrics;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Grows with each change that readers are to notice. Zero is before all changes.
pub type Revision = u64;

/// What one user may see.
#[derive(Debug)]
pub struct View {
    revision: Revision,
    agents: BTreeMap<AgentId, Box<AgentView>>,
    /// When one of them last changed, or came or went.
    agents_changed: Revision,
    /// How many of them have each status.
    statuses: BTreeMap<PresenceStatus, usize>,
    aliases: Aliases,
    commands: ById<CommandEntry>,
    /// Open commands of users, by agent: an agent with any is busy.
    open: BTreeMap<AgentId, usize>,
    /// Each command by its latest change, so that a reader need not look at all of them.
    latest: Latest,
    /// What the tails of all commands keep that is stored.
    kept: usize,
    most_kept: usize,
    rules: ServerConfig,
}

impl Default for View {
    fn default() -> Self {
        Self::new(&FleetLimits::DEFAULT)
    }
}

/// Whether a link is let in whose request names an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// The link is let in.
    Open,
    /// It names an agent in session, and is let in while fewer than `room` links are silent that named that one:
    /// each of them may be kept beside the session.
    #[allow(missing_docs, reason = "the names say all")]
    Beside { agent: AgentId, room: usize },
    /// That is a legacy agent in session, which has as many links as one may have.
    Full,
    /// The token may not speak for the agent. The text is for who started the peer.
    Denied(String),
}

/// One command.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub struct CommandEntry {
    pub agent: AgentId,
    /// Where it is in its lifecycle; `None` for output of an agent that belongs to no command.
    pub view: Option<CommandView>,
    /// What its agent says about its end.
    pub detail: Option<String>,
    /// What it wrote lately.
    pub tail: OutputTail,
    /// Where it got its latest sizes, if it is a terminal.
    pub(super) sizes: LatestSizes,
    /// When its view last changed.
    pub revision: Revision,
    /// Who types into it, if it is a terminal; and when that last changed.
    pub keyboard: Option<(KeyboardView, Revision)>,
    /// When its view last changed, or it last wrote.
    changed: Revision,
    /// Its position in [`Latest`].
    position: Option<u64>,
}

/// The latest sizes of a terminal, numbered from 1 in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(super) struct LatestSizes {
    records: VecDeque<SizeRecord>,
    /// The number of the last one.
    last: u64,
}

/// Sizes that readers are shown of a terminal; the store has all of them.
const SIZES_SHOWN: usize = 64;

impl LatestSizes {
    fn push(&mut self, record: SizeRecord) {
        self.last = self.last.saturating_add(1);
        self.records.push_back(record);
        while self.records.len() > SIZES_SHOWN {
            let _ = self.records.pop_front();
        }
    }

    /// The first behind this number that is still there, with its number.
    pub(super) fn behind(&self, number: u64) -> Option<(u64, SizeRecord)> {
        let first = self.last.saturating_sub(self.records.len() as u64).saturating_add(1);
        let next = number.saturating_add(1).max(first);
        let at = usize::try_from(next - first).ok()?;
        self.records.get(at).map(|record| (next, *record))
    }
}

/// Commands in the order of their latest changes. A change costs the same however many there are: it leaves
/// a gap where the command stood before, and gaps are closed when there are many of them.
#[derive(Clone, Debug, Default)]
struct Latest {
    line: VecDeque<Option<(Revision, CommandId)>>,
    /// The number of the first position in the queue.
    first: u64,
}

/// Positions for each command that may be in the queue before its gaps are closed.
const POSITIONS_EACH: usize = 8;
/// Positions that may be in it however few commands there are.
const POSITIONS: usize = 64;

impl Latest {
    /// A command changed now.
    fn touch(&mut self, id: &CommandId, entry: &mut CommandEntry, revision: Revision) {
        let before = core::mem::replace(&mut entry.changed, revision);
        if before == revision {
            return;
        }
        let id = self.leave(entry).unwrap_or_else(|| id.clone());
        entry.position = Some(self.first.saturating_add(self.line.len() as u64));
        self.line.push_back(Some((revision, id)));
    }

    /// A command leaves its position.
    fn leave(&mut self, entry: &mut CommandEntry) -> Option<CommandId> {
        let at = entry.position.take()?.checked_sub(self.first)?;
        let (_, id) = self.line.get_mut(usize::try_from(at).ok()?)?.take()?;
        while let Some(None) = self.line.front() {
            let _ = self.line.pop_front();
            self.first = self.first.saturating_add(1);
        }
        Some(id)
    }

    /// Closes the gaps, if there are many.
    fn close(&mut self, commands: &mut ById<CommandEntry>) {
        if self.line.len()
            <= POSITIONS_EACH.saturating_mul(commands.len()).saturating_add(POSITIONS)
        {
            return;
        }
        self.line.retain(Option::is_some);
        for (position, (_, id)) in (self.first..).zip(self.line.iter().flatten()) {
            if let Some(entry) = commands.get_mut(id) {
                entry.position = Some(position);
            }
        }
    }

    /// Those that changed after this revision, the latest first.
    fn since(&self, revision: Revision) -> impl Iterator<Item = &CommandId> {
        let changed = self.line.iter().rev().flatten();
        changed.take_while(move |(at, _)| *at > revision).map(|(_, id)| id)
    }
}

impl CommandEntry {
    /// A command of which only its agent is known.
    fn new(agent: AgentId, revision: Revision) -> Self {
        let tail = OutputTail::default();
        Self {
            agent,
            view: None,
            detail: None,
            tail,
            sizes: LatestSizes::default(),
            revision,
            keyboard: None,
            changed: 0,
            position: None,
        }
    }

    /// Why the command is where it is, from the server's cause and the agent's own text.
    pub(crate) fn because(&self, view: &CommandView) -> String {
        reason(self.detail.as_deref(), view)
    }

    fn is_open(&self, id: &CommandId) -> bool {
        !id.is_terminal() && self.view.is_some_and(|view| !view.status.is_final())
    }
}

/// Why a command is where it is, from the server's cause and the agent's own text.
pub(super) fn reason(detail: Option<&str>, view: &CommandView) -> String {
    match (detail, view.exit) {
        (Some(detail), None)
            if view.status.is_final() || view.because == CommandCause::AgentHasIt =>
        {
            detail.into()
        }
        (Some(detail), Some(exit)) if *detail != exit.to_string() => {
            format!("{}: {detail}", view.because)
        }
        (Some(_) | None, _) => view.because.to_string(),
    }
}

/// One difference between a [`View`] and its fleet.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Change {
    /// An agent is so now. Without metrics it has those that it had.
    Agent(AgentId, Box<AgentView>),
    /// An agent is not shown any more.
    AgentRemoved(AgentId),
    /// A frame of an agent came. No reader is woken.
    Heard(AgentId, WallTime),
    /// An agent sent metrics. No reader is woken.
    Metrics(AgentId, HealthMetrics),
    /// The hop tracker of an agent says this now. No reader is woken.
    Beats(AgentId, BeatVerdict),
    /// A command is so now.
    Command {
        command: CommandId,
        agent: AgentId,
        view: Option<CommandView>,
        /// What its agent says about its end.
        detail: Option<String>,
    },
    /// What is known of a command besides its view changed.
    CommandAgain(CommandId),
    /// Of the keyboard of a terminal it is known that.
    Keyboard(CommandId, KeyboardView),
    /// Output of a command continues behind this record, which only the store has. The command is shown from
    /// now on if it was not.
    Log { command: CommandId, agent: AgentId, end: Cursor },
    /// A command wrote this.
    Output(CommandId, LogRecord),
    /// From where in its output a terminal has which size.
    TerminalSize(CommandId, SizeRecord),
    /// The store has this record of a command. No reader is woken.
    Stored(CommandId, (Incarnation, ChunkSequence)),
    /// The output of a command is relayed and not stored, from now on.
    Unstored(CommandId),
    /// A command wrote this, which is not stored.
    Relayed(CommandId, LogRecord),
    /// Readers are waited for to take all that a command wrote up to this record. None is woken: they were for the record.
    Awaited(CommandId, (Incarnation, ChunkSequence)),
    /// Readers are not waited for any more up to this record. None is woken.
    Credited(CommandId, (Incarnation, ChunkSequence)),
    /// A command is not shown any more.
    CommandRemoved(CommandId),
}

/// Whether readers are to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "readers that are not woken show what was"]
pub enum Noticed {
    /// Something changed that they are to notice now.
    Now,
    /// They notice it whenever they look for another reason.
    Later,
}

impl View {
    /// One with nothing in it. Its fleet has these limits.
    pub fn new(limits: &FleetLimits) -> Self {
        Self {
            revision: 0,
            agents: BTreeMap::new(),
            agents_changed: 0,
            statuses: BTreeMap::new(),
            aliases: Aliases::new(),
            commands: ById::new(),
            open: BTreeMap::new(),
            latest: Latest::default(),
            kept: 0,
            most_kept: limits.tail_bytes,
            rules: ServerConfig::DEFAULT,
        }
    }

    /// The same for agents under these rules, by which their presence is explained.
    #[must_use]
    pub fn with_rules(self, rules: ServerConfig) -> Self {
        Self { rules, ..self }
    }

    pub(super) const fn rules(&self) -> &ServerConfig {
        &self.rules
    }

    /// Applies changes in their order.
    pub fn apply(&mut self, changes: Vec<Change>) -> Noticed {
        let revision = self.revision + 1;
        let mut noticed = Noticed::Later;
        for change in changes {
            if self.apply_one(change, revision) == Noticed::Now {
                noticed = Noticed::Now;
            }
        }
        if noticed == Noticed::Now {
            self.revision = revision;
        }
        self.latest.close(&mut self.commands);
        self.shorten_tails();
        noticed
    }

    fn shorten_tails(&mut self) {
        if self.kept <= self.most_kept {
            return;
        }
        for (_, id) in self.latest.line.iter().flatten() {
            // Further than to the bound, or all would be looked at for each record.
            if self.kept <= self.most_kept / 8 * 7 {
                break;
            }
            if let Some(entry) = self.commands.get_mut(id) {
                let before = entry.tail.kept();
                entry.tail.leave_to_store();
                self.kept = self.kept.saturating_sub(before).saturating_add(entry.tail.kept());
            }
        }
    }

    /// Whether a link may be let in that names this agent, by its id or by one that it went by before, with
    /// this token; without one, the service vouches for the peer.
    pub fn door(&self, named: &AgentId, bearer: Option<&Bearer>) -> Door {
        let spoken_for = |id: &AgentId| {
            let (id, agent) = self.agents.get_key_value(id)?;
            let agent: &AgentView = agent;
            let claim = agent.claim.as_ref();
            bearer.is_none_or(|bearer| bearer.speaks_for(id, claim)).then_some((id, agent))
        };
        if let (Some(agent), Some(bearer), None) =
            (self.agents.get(named), bearer, spoken_for(named))
        {
            return Door::Denied(bearer.why_not(named, &agent.name, agent.claim.as_ref()));
        }
        let by_alias = || self.aliases.of(named).find_map(spoken_for);
        let Some((id, agent)) = spoken_for(named).or_else(by_alias) else { return Door::Open };
        match agent.presence.status {
            PresenceStatus::Online | PresenceStatus::Stale | PresenceStatus::Error => {
                match agent.link_room {
                    0 => Door::Full,
                    room => Door::Beside { agent: id.clone(), room },
                }
            }
            PresenceStatus::Connecting
            | PresenceStatus::TimedOut
            | PresenceStatus::Reconnecting
            | PresenceStatus::Offline => Door::Open,
        }
    }

    /// How many agents have each status that any has.
    pub const fn statuses(&self) -> &BTreeMap<PresenceStatus, usize> {
        &self.statuses
    }

    fn count_status(&mut self, left: Option<PresenceStatus>, entered: Option<PresenceStatus>) {
        if let Some(status) = entered {
            *self.statuses.entry(status).or_default() += 1;
        }
        if let Some(status) = left
            && let Some(count) = self.statuses.get_mut(&status)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                let _ = self.statuses.remove(&status);
            }
        }
    }

    fn apply_one(&mut self, change: Change, revision: Revision) -> Noticed {
        match change {
            Change::Agent(id, mut agent) => {
                self.agents_changed = revision;
                let before = self.agents.get(&id);
                agent.metrics = agent.metrics.or(before.and_then(|before| before.metrics));
                let aliases = before.map_or(&[][..], |before| &before.aliases);
                self.aliases.replace(&id, aliases, &agent.aliases);
                let entered = agent.presence.status;
                let left = self.agents.insert(id, agent).map(|before| before.presence.status);
                self.count_status(left, Some(entered));
            }
            Change::AgentRemoved(id) => {
                self.agents_changed = revision;
                if let Some(agent) = self.agents.remove(&id) {
                    self.count_status(Some(agent.presence.status), None);
                    self.aliases.replace(&id, &agent.aliases, &[]);
                }
            }
            Change::Heard(id, at) => {
                if let Some(agent) = self.agents.get_mut(&id) {
                    agent.last_heard = agent.last_heard.max(Some(at));
                }
                return Noticed::Later;
            }
            Change::Beats(id, verdict) => {
                if let Some(agent) = self.agents.get_mut(&id) {
                    agent.beats = Some(verdict);
                }
                return Noticed::Later;
            }
            Change::Metrics(id, metrics) => {
                if let Some(agent) = self.agents.get_mut(&id) {
                    agent.metrics = Some(metrics);
                }
                return Noticed::Later;
            }
            Change::Command { command, agent, view, detail } => {
                let new = || CommandEntry::new(agent, revision);
                let entry = self.commands.entry(&command, new);
                let was_open = entry.is_open(&command);
                (entry.view, entry.detail, entry.revision) = (view, detail, revision);
                self.latest.touch(&command, entry, revision);
                let (is_open, agent) = (entry.is_open(&command), entry.agent.clone());
                self.count(&agent, was_open, is_open);
            }
            Change::CommandAgain(id) => {
                if let Some(entry) = self.commands.get_mut(&id) {
                    entry.revision = revision;
                    self.latest.touch(&id, entry, revision);
                }
            }
            Change::Keyboard(id, keyboard) => {
                if let Some(entry) = self.commands.get_mut(&id) {
                    entry.keyboard = Some((keyboard, revision));
                    self.latest.touch(&id, entry, revision);
                }
            }
            Change::Log { command, agent, end } => {
                let new = || CommandEntry::new(agent, revision);
                let entry = self.commands.entry(&command, new);
                self.kept = self.kept.saturating_sub(entry.tail.kept());
                entry.tail = OutputTail::behind(end);
                self.latest.touch(&command, entry, revision);
            }
            Change::Output(id, record) => {
                if let Some(entry) = self.commands.get_mut(&id) {
                    entry.tail.push(record);
                    self.latest.touch(&id, entry, revision);
                }
            }
            Change::TerminalSize(id, record) => {
                if let Some(entry) = self.commands.get_mut(&id) {
                    entry.sizes.push(record);
                    self.latest.touch(&id, entry, revision);
                }
            }
            Change::Stored(id, position) => {
                if let Some(entry) = self.commands.get_mut(&id) {
                    let before = entry.tail.kept();
                    entry.tail.on_stored(position);
                    self.kept = self.kept.saturating_sub(before).saturating_add(entry.tail.kept());
                }
                return Noticed::Later;
            }
            Change::Unstored(id) => {
                if let Some(entry) = self.commands.get_mut(&id) {
                    let before = entry.tail.kept();
                    entry.tail.relay();
                    self.kept = self.kept.saturating_sub(before).saturating_add(entry.tail.kept());
                    entry.revision = revision;
                    self.latest.touch(&id, entry, revision);
                }
            }
            Change::Relayed(id, record) => {
                if let Some(entry) = self.commands.get_mut(&id) {
                    let before = entry.tail.kept();
                    entry.tail.push(record);
                    self.kept = self.kept.saturating_sub(before).saturating_add(entry.tail.kept());
                    self.latest.touch(&id, entry, revision);
                }
            }
            Change::Awaited(id, position) => {
                if let Some(entry) = self.commands.get_mut(&id) {
                    entry.tail.wait_for(position);
                }
                return Noticed::Later;
            }
            Change::Credited(id, through) => {
                if let Some(entry) = self.commands.get_mut(&id) {
                    let before = entry.tail.kept();
                    entry.tail.on_credit(through);
                    self.kept = self.kept.saturating_sub(before).saturating_add(entry.tail.kept());
                }
                return Noticed::Later;
            }
            Change::CommandRemoved(id) => {
                if let Some(mut entry) = self.commands.remove(&id) {
                    self.count(&entry.agent, entry.is_open(&id), false);
                    self.kept = self.kept.saturating_sub(entry.tail.kept());
                    let _ = self.latest.leave(&mut entry);
                }
            }
        }
        Noticed::Now
    }

    fn count(&mut self, agent: &AgentId, was_open: bool, is_open: bool) {
        match (was_open, is_open) {
            (false, true) => *self.open.entry(agent.clone()).or_default() += 1,
            (true, false) => {
                let left = self.open.get(agent).map_or(0, |open| open.saturating_sub(1));
                if left == 0 {
                    let _ = self.open.remove(agent);
                } else {
                    let _ = self.open.insert(agent.clone(), left);
                }
            }
            (false, false) | (true, true) => {}
        }
    }

    /// How often something changed that readers notice.
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// When an agent last changed so that readers notice, or came or went.
    pub(super) const fn agents_revision(&self) -> Revision {
        self.agents_changed
    }

    /// The agents.
    pub const fn agents(&self) -> &BTreeMap<AgentId, Box<AgentView>> {
        &self.agents
    }

    /// Open commands, and those that ended lately, in no order.
    pub fn commands(&self) -> impl Iterator<Item = (&CommandId, &CommandEntry)> {
        self.commands.iter()
    }

    /// How many those are.
    pub fn command_count(&self) -> usize {
        self.commands.len()
    }

    pub(super) const fn by_id(&self) -> &ById<CommandEntry> {
        &self.commands
    }

    /// One of those.
    pub fn command(&self, id: &CommandId) -> Option<&CommandEntry> {
        self.commands.get(id)
    }

    /// The commands that changed, or wrote, after this revision.
    pub(crate) fn changed_since(&self, revision: Revision) -> impl Iterator<Item = &CommandId> {
        self.latest.since(revision)
    }

    /// Whether a command of the user is open on this agent.
    pub(crate) fn is_busy(&self, agent: &AgentId) -> bool {
        self.open.contains_key(agent)
    }
}
