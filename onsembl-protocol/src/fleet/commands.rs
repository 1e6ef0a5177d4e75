//! All commands of a user: one map, and the indexes that keep the work of one event independent of how
//! many there are. What happens to a command is decided elsewhere.

use super::by_id::ById;
use super::collections::{Line, Map, Set};
use super::command::{Command, Course, Log, Open, cost_of};
use super::limits::FleetLimits;
use super::out::Out;
use super::untyped::Untyped;
use super::view::Change;
use crate::command::{CommandAction, CommandEvent, CommandStage, CommandView};
use crate::id::{AgentId, CommandId};
use crate::step::Actions;
use crate::terminal::TERMINAL_PREFIX;
use crate::time::{Deadline, Now, Timestamp};
use alloc::vec::Vec;
use core::time::Duration;

/// How soon an end that the store did not take is written again.
const END_AGAIN: Duration = Duration::from_secs(10);

/// Commands that are over, looked at for each that ends to find some that can go. Only those of which output
/// waits for the store cannot; the others are caught up with.
const ENDED_LOOKED_AT: usize = 4;

/// What came of an event for the lifecycle of a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fed {
    /// What it wants done.
    pub(super) actions: Actions<CommandAction>,
    /// The stage that it reached, if that is another one.
    pub(super) reached: Option<CommandStage>,
}

impl Default for Fed {
    fn default() -> Self {
        Self { actions: Actions::none(), reached: None }
    }
}

/// The commands of a user.
#[derive(Debug)]
pub(super) struct Commands {
    all: ById<Command>,
    /// Those that are open, by agent.
    open_of: Map<AgentId, Set<CommandId>>,
    deadlines: Set<(Timestamp, CommandId)>,
    /// Those that have ended and whose end is not confirmed as stored yet; by agent.
    ending: Set<(AgentId, CommandId)>,
    /// Those whose end is to be written again.
    ends_again: Set<(Timestamp, CommandId)>,
    /// Those that are over, the oldest first.
    ended: Line<CommandId>,
    /// Those that are output only, the oldest first.
    loose: Line<CommandId>,
    open_by_user: usize,
    open_terminals: usize,
    /// What the requests of open commands take, in bytes.
    open_bytes: usize,
    untyped: Untyped,
    most_ended: usize,
    most_loose: usize,
}

impl Commands {
    pub(super) const fn new(limits: &FleetLimits) -> Self {
        Self {
            all: ById::new(),
            open_of: Map::new(),
            deadlines: Set::new(),
            ending: Set::new(),
            ends_again: Set::new(),
            ended: Line::new(),
            loose: Line::new(),
            open_by_user: 0,
            open_terminals: 0,
            open_bytes: 0,
            untyped: Untyped::new(),
            most_ended: limits.ended_commands,
            most_loose: limits.loose_outputs,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.len() == 0
    }

    pub(super) fn get(&self, id: &CommandId) -> Option<&Command> {
        self.all.get(id)
    }

    /// Its course is to be changed by [`close`](Self::close) only, which keeps the indexes.
    pub(super) fn get_mut(&mut self, id: &CommandId) -> Option<&mut Command> {
        self.all.get_mut(id)
    }

    /// Open commands that users asked for.
    pub(super) const fn open_by_user(&self) -> usize {
        self.open_by_user
    }

    /// What the requests of open commands take, in bytes.
    pub(super) const fn open_bytes(&self) -> usize {
        self.open_bytes
    }

    /// What is on its way of long texts.
    pub(super) const fn untyped(&self) -> &Untyped {
        &self.untyped
    }

    /// Open terminals, those included whose end is not stored yet.
    pub(super) const fn open_terminals(&self) -> usize {
        self.open_terminals
    }

    pub(super) fn open(&self) -> usize {
        self.open_by_user.saturating_add(self.open_terminals)
    }

    /// The open commands of an agent.
    pub(super) fn open_of(&self, agent: &AgentId) -> Vec<CommandId> {
        self.open_of.get(agent).into_iter().flat_map(Set::iter).cloned().collect()
    }

    /// Whether a command of an agent is over and its end is not stored.
    pub(super) fn has_unstored_end(&self, agent: &AgentId) -> bool {
        let first = (agent.clone(), CommandId::new(""));
        self.ending.range(first..).next().is_some_and(|(of, _)| of == agent)
    }

    /// The open commands of an agent that users asked for, but for this one.
    pub(super) fn others_of(&self, agent: &AgentId, than: &CommandId) -> Vec<CommandId> {
        let all = self.open_of.get(agent).into_iter().flat_map(Set::iter);
        all.filter(|id| !id.is_terminal() && *id != than).cloned().collect()
    }

    /// The open terminals of an agent. Their ids grow with the time (UUID version 7), so the oldest is first.
    pub(super) fn terminals_of(
        &self,
        agent: &AgentId,
    ) -> impl Iterator<Item = (&CommandId, &Command)> {
        let first = CommandId::new(TERMINAL_PREFIX);
        let ids = self.open_of.get(agent).map(|ids| ids.range(first..));
        let ids = ids.into_iter().flatten().take_while(|id| id.is_terminal());
        ids.filter_map(|id| Some((id, self.all.get(id)?)))
    }

    /// Puts a command in. One of the same id makes room for it.
    pub(super) fn insert(&mut self, id: CommandId, mut command: Command) {
        let _ = self.remove(&id);
        match &mut command.course {
            Course::Open(open) => {
                open.untyped = open.untyped_bytes();
                self.untyped.changed(&command.agent, 0, open.untyped);
                let _ = self.open_of.entry(command.agent.clone()).or_default().insert(id.clone());
                *self.open_count(&id) += 1;
                self.open_bytes = self.open_bytes.saturating_add(cost_of(&open.request));
                if let Deadline::At(at) = open.deadline {
                    let _ = self.deadlines.insert((at, id.clone()));
                }
                if open.lifecycle.view().status.is_final() {
                    let _ = self.ending.insert((command.agent.clone(), id.clone()));
                }
            }
            Course::Over(_) => self.ended.push_back(id.clone()),
            Course::Loose => self.loose.push_back(id.clone()),
        }
        let _ = self.all.insert(id, command);
    }

    /// Takes a command out.
    pub(super) fn remove(&mut self, id: &CommandId) -> Option<Command> {
        let command = self.all.remove(id)?;
        match &command.course {
            Course::Open(open) => {
                self.unlist(id, &command.agent, open);
            }
            Course::Over(_) => self.ended.retain(|ended| ended != id),
            Course::Loose => self.loose.retain(|loose| loose != id),
        }
        Some(command)
    }

    /// The end of an open command is stored: it stays for readers, and the oldest of those makes room.
    pub(super) fn close(&mut self, id: &CommandId, view: CommandView, out: &mut Out) {
        let Some(command) = self.all.get_mut(id) else { return };
        let before = core::mem::replace(&mut command.course, Course::Over(view));
        let agent = command.agent.clone();
        match before {
            Course::Open(open) => {
                self.unlist(id, &agent, &open);
                self.ended.push_back(id.clone());
            }
            Course::Loose => {
                self.loose.retain(|loose| loose != id);
                self.ended.push_back(id.clone());
            }
            // It has its position already.
            Course::Over(_) => {}
        }
        self.make_room_for_ended(out);
    }

    /// Of commands that are over the oldest make room, a few for each that ends: what all of them wait for must
    /// not be looked at with each.
    pub(super) fn make_room_for_ended(&mut self, out: &mut Out) {
        let mut looked_at = ENDED_LOOKED_AT.min(self.ended.len());
        while self.ended.len() > self.most_ended
            && looked_at > 0
            && let Some(oldest) = self.ended.pop_front()
        {
            looked_at -= 1;
            match self.all.get(&oldest) {
                // Late output of it is not stored yet, and only here.
                Some(Command { course: Course::Over(_), log: Log::Known(log), .. })
                    if log.waiting() > 0 =>
                {
                    self.ended.push_back(oldest);
                }
                Some(Command { course: Course::Over(_), log: Log::Deferred(_), .. }) => {
                    self.ended.push_back(oldest);
                }
                Some(Command { course: Course::Over(_), .. }) => {
                    let _ = self.all.remove(&oldest);
                    out.show(Change::CommandRemoved(oldest));
                }
                // It is another command of that id by now, or removed.
                Some(Command { course: Course::Open(_) | Course::Loose, .. }) | None => {}
            }
        }
    }

    /// Makes room for output of one more id that belongs to no command: the oldest goes of which nothing
    /// waits for the store. Whether there is room.
    pub(super) fn make_room_for_loose(&mut self, out: &mut Out) -> bool {
        if self.loose.len() < self.most_loose {
            return true;
        }
        let waits = |id: &CommandId| match self.all.get(id).map(|command| &command.log) {
            Some(Log::Known(log)) => log.waiting() > 0,
            Some(Log::Deferred(_)) => true,
            None => false,
        };
        // What waits for the store still holds bytes of an agent's throttle, and its receipt has to find it.
        let Some(at) = self.loose.iter().position(|id| !waits(id)) else { return false };
        if let Some(id) = self.loose.remove(at) {
            let _ = self.all.remove(&id);
            out.show(Change::CommandRemoved(id));
        }
        true
    }

    /// Feeds the lifecycle of an open command.
    pub(super) fn feed(&mut self, id: &CommandId, event: CommandEvent, now: Now) -> Fed {
        let Some(command) = self.all.get_mut(id) else { return Fed::default() };
        let untyped = &mut self.untyped;
        step(&mut self.deadlines, &mut self.ending, untyped, id, command, event, now)
    }

    /// Feeds the lifecycle of an open command that an agent reports on; `None` if that is another agent's.
    pub(super) fn feed_of(
        &mut self,
        agent: &AgentId,
        id: &CommandId,
        event: CommandEvent,
        now: Now,
    ) -> Option<Fed> {
        let Some(command) = self.all.get_mut(id) else { return Some(Fed::default()) };
        if command.agent != *agent {
            return None;
        }
        let untyped = &mut self.untyped;
        Some(step(&mut self.deadlines, &mut self.ending, untyped, id, command, event, now))
    }

    /// When a command is due next.
    pub(super) fn deadline(&self) -> Deadline {
        let first = |set: &Set<(Timestamp, CommandId)>| {
            set.first().map_or(Deadline::Never, |(at, _)| Deadline::At(*at))
        };
        first(&self.deadlines).min(first(&self.ends_again))
    }

    /// The store did not take the end of a command: it is to be written again.
    pub(super) fn write_end_later(&mut self, id: &CommandId, now: Timestamp) {
        let _ = self.ends_again.insert((now.saturating_add(END_AGAIN), id.clone()));
    }

    /// Commands whose end is to be written again now.
    pub(super) fn take_ends_again(&mut self, now: Timestamp) -> Vec<CommandId> {
        let mut due = Vec::new();
        while self.ends_again.first().is_some_and(|(at, _)| *at <= now) {
            due.extend(self.ends_again.pop_first().map(|(_, id)| id));
        }
        due
    }

    /// The commands that are due.
    pub(super) fn due(&self, now: Timestamp) -> Vec<CommandId> {
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, id)| id.clone()).collect()
    }

    fn unlist(&mut self, id: &CommandId, agent: &AgentId, open: &Open) {
        self.open_bytes = self.open_bytes.saturating_sub(cost_of(&open.request));
        self.untyped.changed(agent, open.untyped, 0);
        if let Deadline::At(at) = open.deadline {
            let _ = self.deadlines.remove(&(at, id.clone()));
        }
        if let Some(ids) = self.open_of.get_mut(agent) {
            let _ = ids.remove(id);
            if ids.is_empty() {
                let _ = self.open_of.remove(agent);
            }
        }
        let _ = self.ending.remove(&(agent.clone(), id.clone()));
        let count = self.open_count(id);
        *count = count.saturating_sub(1);
    }

    fn open_count(&mut self, id: &CommandId) -> &mut usize {
        if id.is_terminal() { &mut self.open_terminals } else { &mut self.open_by_user }
    }
}

/// Feeds one lifecycle, if it is open, and keeps its entries among the deadlines and the ends, and what it counts of long
/// texts.
fn step(
    deadlines: &mut Set<(Timestamp, CommandId)>,
    ending: &mut Set<(AgentId, CommandId)>,
    untyped: &mut Untyped,
    id: &CommandId,
    command: &mut Command,
    event: CommandEvent,
    now: Now,
) -> Fed {
    let Command { agent, course: Course::Open(open), .. } = command else {
        return Fed::default();
    };
    let stage = open.lifecycle.view().status;
    let step = open.lifecycle.handle(event, now);
    let reached = Some(open.lifecycle.view().status).filter(|reached| *reached != stage);
    if reached.is_some_and(CommandStage::is_final) {
        let _ = ending.insert((agent.clone(), id.clone()));
    }
    let bytes = open.untyped_bytes();
    untyped.changed(agent, core::mem::replace(&mut open.untyped, bytes), bytes);
    let before = core::mem::replace(&mut open.deadline, step.deadline);
    if before != step.deadline {
        if let Deadline::At(at) = before {
            let _ = deadlines.remove(&(at, id.clone()));
        }
        if let Deadline::At(at) = step.deadline {
            let _ = deadlines.insert((at, id.clone()));
        }
    }
    Fed { actions: step.actions, reached }
}
