//! The updates that one dashboard has not been sent yet, as the difference between the [`View`] of its user and what
//! it was sent, and their order.
//!
//! A feed holds no lock and no queue of events: it is polled for the next update whenever the link of its dashboard
//! has room. `answers.rs` has what goes first, `agents.rs` the updates about agents, `taken.rs` output that follows,
//! `output.rs` its form, `watched.rs` what is watched at all, `live_views.rs` what of it may be skipped, `relayed.rs` what
//! was sent of output that is not stored, `due.rs` whose turn it is.

mod agents;
mod answers;
mod due;
mod item;
mod legacy;
mod live_views;
mod lookup;
mod output;
mod relayed;
mod sent;
mod taken;
mod watched;

pub(super) use item::FeedItem;
pub use item::Seek;

use super::by_id::ById;
use super::encode;
use super::view::{CommandEntry, Revision, View};
use crate::command::CommandView;
use crate::id::{AgentId, CommandId, MessageId, ServerInstanceId};
use crate::model::{Capabilities, DASHBOARD_FEATURES, Dialect};
use crate::output::{Cursor, Fetch, LogRecord};
use crate::time::{Deadline, Timestamp, WallTime};
use crate::wire::ServerToDashboard;
use crate::wire::payload::{
    DashboardExtensions, ErrorCode, ErrorReply, OutputTaken, Replay, Subscription,
    SubscriptionKind, Subscriptions, TerminalSized,
};
use agents::Agents;
use alloc::boxed::Box;
use alloc::vec::Vec;
use answers::Answers;
use due::Due;
use legacy::{is_of_returning_page, tail_of};
use live_views::{Allowed, LiveViews};
use lookup::{Lookup, OpenLookup};
use output::{Output, Source};
use relayed::ToTell;
use sent::{End, Sent};
use taken::TakenOutput;
use watched::Watched;

/// Bytes of output that are taken from a tail at a time.
const BATCH_BYTES: usize = 64 * 1024;
/// Bytes that a feed counts for each agent and for each command of its user, and for the rest: its subscriptions, the
/// output that it took, and unfinished lines.
const AGENT_COST: usize = 2048;
const COMMAND_COST: usize = 512;
const FEED_COST: usize = 512 * 1024 + output::MOST_UNFINISHED;
/// How long an ended command is shown to new dashboards.
const ENDED_SHOWN_MS: i64 = 10 * 60 * 1000;

/// What one dashboard was sent, and what it is to be sent next.
#[derive(Clone, Debug)]
pub(super) struct DashboardFeed {
    watched: Watched,
    capabilities: Capabilities,
    answers: Answers,
    taken: TakenOutput,
    output: Output,
    agents: Agents,
    commands: ById<Sent>,
    live: LiveViews,
    due: Due,
    lookup: OpenLookup,
    to_tell: ToTell,
    seen: Revision,
    /// The last change of agents that was looked at.
    agents_seen: Revision,
    hello: Hello,
}

/// Whether the hello of a dashboard was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hello {
    Unanswered,
    Answered,
}

impl DashboardFeed {
    /// The feed of a dashboard that was accepted now. It shows how commands ended that ended lately. Earlier output is
    /// sent only on request; a legacy dashboard, which cannot request it, gets the tail of each open command.
    pub(super) fn new(
        view: &View,
        server: ServerInstanceId,
        subscriptions: Subscriptions,
        extensions: Option<&DashboardExtensions>,
        now: WallTime,
    ) -> Self {
        let capabilities = extensions.map_or(Capabilities::LEGACY, |theirs| {
            Capabilities::negotiate(DASHBOARD_FEATURES, &theirs.features, Dialect::Extended)
        });
        let age = |at: WallTime| now.unix_millis() - at.unix_millis();
        let sent_of = |entry: &CommandEntry| {
            let ended = entry.view.filter(|view| view.status.is_final());
            let is_old =
                ended.is_some_and(|view| age(view.ended_at.unwrap_or_default()) > ENDED_SHOWN_MS);
            Sent::behind(entry, if is_old { End::Sent } else { End::Unsent }, capabilities)
        };
        let mut feed = Self {
            watched: Watched::new(subscriptions),
            capabilities,
            answers: Answers::default(),
            taken: TakenOutput::default(),
            output: Output::new(capabilities),
            agents: Agents::new(server, capabilities),
            commands: view.by_id().map(sent_of),
            live: LiveViews::default(),
            due: Due::default(),
            lookup: OpenLookup::default(),
            to_tell: ToTell::default(),
            seen: view.revision(),
            agents_seen: 0,
            hello: Hello::Unanswered,
        };
        feed.look_at_all(view);
        feed
    }

    /// The answer to the hello: the list of agents, the status of each, then the acknowledgement. A page that
    /// reconnected still shows earlier output, so the output of open commands is not repeated.
    pub(super) fn greet(&mut self, hello: Option<MessageId>, now: WallTime) {
        let is_first = core::mem::replace(&mut self.hello, Hello::Answered) == Hello::Unanswered;
        if is_first && !self.is_extended() && hello.as_ref().is_some_and(is_of_returning_page) {
            self.commands.values_mut().for_each(|sent| sent.seek = None);
        }
        self.answers.list_agents(now);
        self.acknowledge(hello);
    }

    /// Adds a subscription, and answers.
    pub(super) fn subscribe(
        &mut self,
        view: &View,
        id: Option<MessageId>,
        what: Subscription,
        now: WallTime,
    ) {
        let is_of_command = what.kind == SubscriptionKind::Command;
        let (is_of_one, command) =
            (is_of_command && !what.all, what.id.clone().map(CommandId::new));
        match (self.watched.with(&what), &command) {
            // Whoever watches one more command does not look at all of them for it.
            (Ok(wanted), Some(one)) if is_of_one => {
                self.watch_among(wanted, view.command(one).map(|entry| (one, entry)));
            }
            (Ok(wanted), Some(_) | None) => self.watch(view, wanted),
            (Err(error), Some(_) | None) => {
                return self.answers.say(ServerToDashboard::Error(error.about(id)));
            }
        }
        self.scan_agents(view, now);
        if is_of_command && let Some(command) = &command {
            self.live.end(command);
            if view.command(command).is_some()
                && self.live.begin(
                    command,
                    what.view.as_ref(),
                    what.replay.as_ref(),
                    self.capabilities,
                )
            {
                self.due.wrote(command);
            }
        }
        let replayed = match (what.replay, command) {
            (Some(from), Some(command)) if is_of_command => {
                self.replay(view, &command, &from).then_some(()).ok_or(command)
            }
            (Some(_) | None, Some(_) | None) => Ok(()),
        };
        match replayed {
            Ok(()) => self.acknowledge(id),
            Err(command) => {
                let why = "no open or recently ended command of yours has this id; \
                           `onsembl output` shows older ones";
                let error = ErrorReply::new(ErrorCode::CommandNotFound, why);
                let error = error.about(id).for_command(Some(command));
                self.answers.say(ServerToDashboard::Error(error));
            }
        }
    }

    /// The dashboard has shown this.
    pub(super) fn taken(&mut self, taken: &OutputTaken) {
        if self.live.on_taken(taken) {
            self.due.wrote(&taken.command_id);
        }
    }

    /// Removes a subscription, and answers.
    pub(super) fn unsubscribe(&mut self, id: Option<MessageId>, what: &Subscription) {
        if let (SubscriptionKind::Command, Some(id)) = (&what.kind, &what.id) {
            self.live.end(&CommandId::new(id.clone()));
        }
        // Nothing is watched that was not.
        self.watch_among(self.watched.without(what), None);
        self.acknowledge(id);
    }

    fn acknowledge(&mut self, message: Option<MessageId>) {
        self.answers.say(ServerToDashboard::Ack(self.watched.acknowledgement(message)));
    }

    /// The most bytes that a feed takes, given the agents and commands of its user now: what was sent about each, and
    /// one message about each that waits.
    pub(super) fn cost(view: &View) -> usize {
        let agents = view.agents().len().saturating_mul(AGENT_COST);
        let commands = view.command_count().saturating_mul(COMMAND_COST);
        agents.saturating_add(commands).saturating_add(FEED_COST)
    }

    /// Whether answers wait for the link. Then nothing more is to be read from it, because each message that is read
    /// may cause more of them.
    pub(super) fn is_behind(&self) -> bool {
        self.output.is_ready() || self.answers.are_behind()
    }

    /// Replaces the subscriptions. A legacy dashboard gets the tail of the output of each open command that it did not
    /// watch before.
    pub(super) fn watch(&mut self, view: &View, subscriptions: Subscriptions) {
        self.watch_among(subscriptions, view.commands());
    }

    /// The same if no others than these commands are watched that were not before.
    fn watch_among<'v>(
        &mut self,
        subscriptions: Subscriptions,
        of: impl IntoIterator<Item = (&'v CommandId, &'v CommandEntry)>,
    ) {
        let before = self.watched.replace(subscriptions);
        if before.subscriptions().agents != self.watched.subscriptions().agents {
            self.agents_seen = 0;
        }
        for (id, entry) in of {
            match self.capabilities.dialect() {
                Dialect::Legacy
                    if !before.output(&entry.agent, id)
                        && self.watched.output(&entry.agent, id) =>
                {
                    let sent = self.commands.entry(id, Sent::default);
                    sent.cursor = entry.tail.end();
                    sent.seek = tail_of(entry);
                    sent.generation = sent.generation.wrapping_add(1);
                }
                Dialect::Legacy | Dialect::Extended => {}
            }
            self.look_at(id, entry);
        }
    }

    /// Sends the status of each watched agent again.
    pub(super) fn refresh(&mut self) {
        self.agents.refresh();
        self.agents_seen = 0;
    }

    /// Schedules the changes of agents, if there are any, to be sent when there is room.
    pub(super) fn scan_agents(&mut self, view: &View, now: WallTime) {
        self.output.keep(|command| view.command(command).is_some());
        if view.agents_revision() > self.agents_seen {
            self.agents_seen = view.agents_revision();
            self.agents.keep(view);
            self.answers.scan_agents(now);
        }
    }

    /// When to call [`flush`](Self::flush), because a line is unfinished or a viewer is late.
    pub(super) fn deadline(&self) -> Deadline {
        self.output.deadline().min(self.live.deadline())
    }

    /// Sends unfinished lines that got no more text for some time, and looks at viewers that are late; harmless at any
    /// other time.
    pub(super) fn flush(&mut self, now: Timestamp) {
        self.output.flush(now);
        self.live.late(now).for_each(|id| self.due.wrote(id));
    }

    /// The next update. Output goes before the end of its command.
    pub(super) fn next(&mut self, view: &View, now: Timestamp) -> FeedItem {
        loop {
            if let Some(item) = self.to_tell.next().or_else(|| self.output.next()) {
                return item;
            }
            if let Some(item) = self.advance(view, now) {
                return item;
            }
        }
    }

    /// Takes one step. Its result is in `output` unless it is returned.
    fn advance(&mut self, view: &View, now: Timestamp) -> Option<FeedItem> {
        let watched = self.watched.subscriptions();
        if let Some(message) = self.answers.next(&mut self.agents, view, watched) {
            return Some(FeedItem::Message(message));
        }
        if self.taken.write_next(&mut self.output, now) {
            return None;
        }
        self.look(view);
        // Who types waits for that to continue.
        while let Some(id) = self.due.take_keyboard() {
            if let Some(message) = self.keyboard_of(view, &id) {
                return Some(FeedItem::Message(Box::new(message)));
            }
        }
        // The status of commands goes before their output, which may be endless. But the end of a command follows
        // its own output.
        while let Some(id) = self.due.take_moved() {
            let item = self.next_of(view, &id);
            if item.is_some() || self.output.is_ready() {
                return item;
            }
        }
        while let Some(id) = self.due.next_to_serve() {
            let item = self.next_output(view, &id, now);
            // What was taken is sent before more is taken, even if it is not a whole line yet.
            if item.is_some() || self.output.is_ready() || !self.taken.is_empty() {
                return item;
            }
        }
        Some(FeedItem::Nothing)
    }

    /// Notes which commands changed since the last call.
    fn look(&mut self, view: &View) {
        if view.revision() == self.seen {
            return;
        }
        for id in view.changed_since(self.seen) {
            let Some(entry) = view.command(id) else { continue };
            if !self.watched.command(&entry.agent, id) {
                continue;
            }
            if entry.revision > self.seen {
                self.due.moved(id);
            }
            if entry.keyboard.as_ref().is_some_and(|(_, revision)| *revision > self.seen) {
                self.due.keyboard(id);
            }
            if self.watched.terminals() {
                self.due.wrote(id);
            }
        }
        self.seen = view.revision();
        // Commands that left the view are forgotten, in batches.
        if self.commands.len() > 2 * view.command_count() + 64 {
            self.commands.retain(|id| view.command(id).is_some());
            self.live.keep(|id| view.command(id).is_some());
        }
    }

    /// Marks all watched commands, except those whose end was sent. So a dashboard that watches one command (`exec`)
    /// does not pay for the history of others.
    fn look_at_all(&mut self, view: &View) {
        view.commands().for_each(|(id, entry)| self.look_at(id, entry));
    }

    fn look_at(&mut self, id: &CommandId, entry: &CommandEntry) {
        let Self { watched, commands, due, .. } = self;
        if commands.get(id).is_some_and(|sent| sent.end == End::Sent) {
            return;
        }
        if watched.command(&entry.agent, id) {
            due.moved(id);
            if entry.keyboard.is_some() {
                due.keyboard(id);
            }
        }
        if watched.output(&entry.agent, id) {
            due.wrote(id);
        }
    }

    /// Who types into a terminal, if that is to be said now.
    fn keyboard_of(&mut self, view: &View, id: &CommandId) -> Option<ServerToDashboard> {
        if !self.capabilities.types() {
            return None;
        }
        let entry = view.command(id)?;
        let (keyboard, revision) = entry.keyboard.as_ref()?;
        let sent = self.commands.entry(id, Sent::default);
        if sent.keyboard >= *revision {
            return None;
        }
        sent.keyboard = *revision;
        Some(ServerToDashboard::KeyboardState(encode::keyboard(id, &entry.agent, keyboard)))
    }

    /// The status of a command, if it is to be sent now.
    fn next_of(&mut self, view: &View, id: &CommandId) -> Option<FeedItem> {
        let entry = view.command(id)?;
        if !self.watched.command(&entry.agent, id) {
            return None;
        }
        let sent = self.commands.entry(id, Sent::default);
        let shown = match sent.end {
            End::Unsent => entry.view?,
            End::Sent => return None,
        };
        if shown.status.is_final() {
            let writes = self.watched.output(&entry.agent, id);
            // Otherwise it follows the last of the output.
            if !writes || sent.has_all_of(&entry.tail) {
                self.over(id, entry, &shown);
            }
            return None;
        }
        if sent.revision >= entry.revision {
            return None;
        }
        sent.revision = entry.revision;
        if !self.is_extended() && id.is_terminal() {
            return None;
        }
        let agent = view.agents().get(&entry.agent);
        let blocked_by = agent.and_then(|agent| agent.blocked_by(shown.status));
        let mut status = encode::command(id, entry, &shown, blocked_by, self.is_extended());
        status.unstored = encode::is_unstored(entry, self.capabilities);
        Some(FeedItem::Message(Box::new(ServerToDashboard::CommandStatus(status))))
    }

    fn over(&mut self, id: &CommandId, entry: &CommandEntry, view: &CommandView) {
        self.commands.entry(id, Sent::default).end = End::Sent;
        let source = self.source(id, &entry.agent);
        let mut end = Vec::new();
        // A legacy dashboard shows a terminal as output of the agent outside of its commands, which does not end.
        if self.is_extended() || !id.is_terminal() {
            let mut status = encode::command(&source.shown, entry, view, None, self.is_extended());
            status.unstored = encode::is_unstored(entry, self.capabilities);
            end.push(ServerToDashboard::CommandStatus(status));
            if !self.is_extended() {
                let complete = encode::complete(&source.shown, entry, view);
                end.push(ServerToDashboard::CommandComplete(complete));
            }
        }
        self.output.ended(&source, end);
    }

    /// Output of a command, if there is any to be sent now; or its end, if that was all.
    fn next_output(&mut self, view: &View, id: &CommandId, now: Timestamp) -> Option<FeedItem> {
        let entry = view.command(id);
        let entry = entry.filter(|entry| self.watched.output(&entry.agent, id));
        let sent = self.commands.entry(id, Sent::default);
        let Some(entry) = entry.filter(|_| sent.end == End::Unsent) else {
            self.due.has_no_output(id);
            return None;
        };
        if self.capabilities.records_sizes()
            && let Some((number, record)) = entry.sizes.behind(sent.sizes)
        {
            sent.sizes = number;
            let sized = TerminalSized::new(id.clone(), Some(entry.agent.clone()), record);
            return Some(FeedItem::Message(Box::new(ServerToDashboard::TerminalSize(sized))));
        }
        match sent.seek.clone() {
            Some(seek) if entry.tail.is_relayed() => sent.begin_relayed(&entry.tail, &seek),
            Some(seek) => return Some(self.lookup.ask(id, Lookup::Seek(seek))),
            None => {}
        }
        self.to_tell.note(id, &mut sent.relayed, sent.cursor, &entry.tail);
        let most = match self.live.allow(id, &entry.agent, entry.tail.written(), now) {
            Allowed::All => BATCH_BYTES,
            Allowed::AtMost(bytes) => bytes,
            Allowed::Nothing => {
                self.due.has_no_output(id);
                return None;
            }
            Allowed::Behind(behind) => {
                self.due.has_no_output(id);
                return Some(FeedItem::Message(Box::new(ServerToDashboard::OutputBehind(behind))));
            }
        };
        match entry.tail.after(sent.cursor, most) {
            Fetch::InStore => {
                self.due.served(id);
                let (after, generation) = (sent.cursor, sent.generation);
                Some(self.lookup.ask(id, Lookup::Read { after, generation }))
            }
            Fetch::NotKept(missed) => {
                self.due.served(id);
                let gaps = sent.relayed.gaps(&missed);
                sent.cursor = Some(missed.through);
                self.take(id, &entry.agent, gaps);
                None
            }
            Fetch::Records(records) => {
                self.due.served(id);
                // Nothing is left but the end of the command, which follows all output.
                if records.last().map(LogRecord::position) == entry.tail.end()
                    && entry.view.is_none_or(|view| !view.status.is_final())
                    && !entry.tail.is_relayed()
                {
                    self.due.has_no_output(id);
                }
                self.take(id, &entry.agent, records);
                let _ = self.taken.write_next(&mut self.output, now);
                None
            }
            Fetch::UpToDate => {
                self.due.has_no_output(id);
                let ended = entry.view.filter(|view| view.status.is_final())?;
                self.over(id, entry, &ended);
                None
            }
        }
    }

    /// Takes records that are sent next, before all that stands behind them.
    fn take(&mut self, id: &CommandId, agent: &AgentId, records: Vec<LogRecord>) {
        let Some(last) = records.last() else { return };
        let sent = self.commands.entry(id, Sent::default);
        sent.cursor = Some(last.position());
        sent.relayed.on_sent(&records);
        self.live.on_sent(id, &records);
        let source = self.source(id, agent);
        self.taken.push(source, records);
    }

    /// What was negotiated with the dashboard.
    pub(super) const fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    const fn is_extended(&self) -> bool {
        self.capabilities.is_extended()
    }

    /// Sends the output of a command again, from this position on. Whether the command is known.
    pub(super) fn replay(&mut self, view: &View, id: &CommandId, from: &Replay) -> bool {
        if view.command(id).is_none() {
            return false;
        }
        let sent = self.commands.entry(id, Sent::default);
        match Seek::of(from) {
            Some(seek) => sent.seek = Some(seek),
            None => sent.begin_at(None),
        }
        sent.end = End::Unsent;
        sent.sizes = 0;
        self.due.wrote(id);
        self.due.moved(id);
        true
    }

    /// The store has looked up where to begin.
    pub(super) fn located(&mut self, id: &CommandId, cursor: Cursor) {
        if let Some(Lookup::Seek(seek)) = self.lookup.answered(id)
            && let Some(sent) = self.commands.get_mut(id)
            && sent.seek == Some(seek)
        {
            sent.begin_at(cursor);
            self.due.wrote(id);
        }
    }

    /// The records that the store has behind a cursor; none if they were removed.
    pub(super) fn stored(&mut self, view: &View, id: &CommandId, records: Vec<LogRecord>) {
        let Some(lookup) = self.lookup.answered(id) else { return };
        let Some(entry) = view.command(id) else { return };
        let sent = self.commands.entry(id, Sent::default);
        let Lookup::Read { after, generation } = lookup else { return };
        // Another position may have been requested meanwhile.
        if sent.seek.is_some() || (sent.cursor, sent.generation) != (after, generation) {
            return;
        }
        if records.is_empty() {
            sent.cursor = sent.cursor.max(entry.tail.begin());
        } else {
            self.take(id, &entry.agent, records);
        }
    }

    /// A command as the source of its output. A legacy dashboard has one place for output of an agent outside of its
    /// commands, and would report a terminal as an unknown command.
    fn source(&self, id: &CommandId, agent: &AgentId) -> Source {
        let shown = match self.capabilities.dialect() {
            Dialect::Legacy if id.is_terminal() => CommandId::of_session(agent),
            Dialect::Legacy | Dialect::Extended => id.clone(),
        };
        let generation = self.commands.get(id).map_or(0, |sent| sent.generation);
        Source { command: id.clone(), shown, agent: agent.clone(), generation }
    }
}

#[cfg(test)]
mod tests;
