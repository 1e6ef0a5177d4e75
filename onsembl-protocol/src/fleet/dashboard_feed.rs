//! The updates that one dashboard has not been sent yet, as the difference between the [`View`] of its user and what
//! it was sent, and their order.
//!
//! A feed holds no lock and no queue of events: it is polled for the next update whenever the link of its dashboard
//! has room. `agents.rs` has the updates about agents, `output.rs` the form of output, `due.rs` whose turn it is.

mod agents;
mod due;
mod item;
mod lookup;
mod output;
mod sent;

pub(super) use item::FeedItem;
pub use item::Seek;

use super::by_id::ById;
use super::encode;
use super::view::{CommandEntry, Revision, View};
use crate::command::{CommandView, watches_command, watches_output};
use crate::id::{AgentId, CommandId, MessageId, ServerInstanceId};
use crate::limits::Limits;
use crate::model::{Capabilities, DASHBOARD_FEATURES, Dialect};
use crate::output::{Cursor, Fetch, LogRecord};
use crate::time::{Deadline, Timestamp, WallTime};
use crate::wire::payload::{
    Ack, DashboardExtensions, ErrorCode, ErrorReply, Replay, Selection, Subscription,
    SubscriptionKind, Subscriptions, TerminalSized,
};
use crate::wire::{ServerToDashboard, json_len};
use agents::{After, Agents, Say};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use due::Due;
use lookup::{Lookup, OpenLookup};
use output::{Output, Source};
use sent::{End, Sent};

/// Bytes of output that are taken from a tail at a time.
const BATCH_BYTES: usize = 64 * 1024;
/// Bytes of the output of an open command that a legacy dashboard gets when it connects late.
const LEGACY_REPLAY: usize = 1 << 20;
/// Bytes of subscriptions that an acknowledgement repeats.
const REPEATED_BYTES: usize = 16 * 1024;
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
    subscriptions: Subscriptions,
    capabilities: Capabilities,
    /// What is sent before anything else. For many agents it holds a position in their list, not messages.
    ready: VecDeque<Ready>,
    /// Output that follows, taken from a tail. It is encoded record by record: for a legacy dashboard a short line
    /// costs thirty times its bytes.
    taken: VecDeque<(CommandId, AgentId, LogRecord)>,
    output: Output,
    agents: Agents,
    commands: ById<Sent>,
    due: Due,
    lookup: OpenLookup,
    seen: Revision,
    hello: Hello,
}

/// What is sent before anything else.
#[derive(Clone, Debug)]
enum Ready {
    Message(Box<ServerToDashboard>),
    /// The agents behind this one, as lists.
    List(After),
    /// The status of each agent behind this one.
    Agents(After, Say),
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
            Sent {
                revision: if is_old { entry.revision } else { 0 },
                keyboard: 0,
                end: if is_old { End::Sent } else { End::Unsent },
                cursor: entry.tail.end(),
                seek: match capabilities.dialect() {
                    Dialect::Extended => None,
                    Dialect::Legacy => tail_of(entry),
                },
                generation: 0,
                sizes: 0,
            }
        };
        let mut feed = Self {
            subscriptions,
            capabilities,
            ready: VecDeque::new(),
            taken: VecDeque::new(),
            output: Output::new(capabilities.output_format()),
            agents: Agents::new(server, capabilities),
            commands: view.by_id().map(sent_of),
            due: Due::default(),
            lookup: OpenLookup::default(),
            seen: view.revision(),
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
        self.ready.push_back(Ready::List(After { agent: None, now }));
        self.ready.push_back(Ready::Agents(After { agent: None, now }, Say::All));
        self.say(ServerToDashboard::Ack(self.acknowledgement(hello)));
    }

    /// Adds a subscription, and answers.
    pub(super) fn subscribe(
        &mut self,
        view: &View,
        id: Option<MessageId>,
        what: Subscription,
        now: WallTime,
    ) {
        let mut wanted = self.subscriptions.clone();
        what.apply_to(&mut wanted);
        if wanted.agents.named().max(wanted.commands.named()) > Limits::DEFAULT.list_entries {
            let why = "this dashboard watches as many single agents or commands as it may; \
                       unsubscribe from some, or subscribe to all";
            let error = ErrorReply::new(ErrorCode::QueueFull, why).about(id);
            return self.ready.push_back(Ready::Message(Box::new(ServerToDashboard::Error(error))));
        }
        self.watch(view, wanted);
        self.scan_agents(view, now);
        let is_of_command = what.kind == SubscriptionKind::Command;
        let replayed = match (what.replay, what.id.map(CommandId::new)) {
            (Some(from), Some(command)) if is_of_command => {
                self.replay(view, &command, &from).then_some(()).ok_or(command)
            }
            (Some(_) | None, Some(_) | None) => Ok(()),
        };
        let answer = match replayed {
            Ok(()) => ServerToDashboard::Ack(self.acknowledgement(id)),
            Err(command) => {
                let why = "no command of yours that is open or ended lately has this id; \
                           `onsembl-server output` shows older ones";
                let error = ErrorReply::new(ErrorCode::CommandNotFound, why);
                ServerToDashboard::Error(error.about(id).for_command(Some(command)))
            }
        };
        self.say(answer);
    }

    /// Removes a subscription, and answers.
    pub(super) fn unsubscribe(&mut self, view: &View, id: Option<MessageId>, what: &Subscription) {
        let mut wanted = self.subscriptions.clone();
        what.remove_from(&mut wanted);
        self.watch(view, wanted);
        self.say(ServerToDashboard::Ack(self.acknowledgement(id)));
    }

    fn say(&mut self, message: ServerToDashboard) {
        self.ready.push_back(Ready::Message(Box::new(message)));
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
        // Changes of agents are not answers, and are sent when there is room.
        let is_answer = |ready: &Ready| match ready {
            Ready::Message(_) | Ready::List(_) | Ready::Agents(_, Say::All) => true,
            Ready::Agents(_, Say::Changed) => false,
        };
        self.output.is_ready() || self.ready.iter().any(is_answer)
    }

    /// Replaces the subscriptions. A legacy dashboard gets the tail of the output of each open command that it did not
    /// watch before.
    pub(super) fn watch(&mut self, view: &View, subscriptions: Subscriptions) {
        let before = core::mem::replace(&mut self.subscriptions, subscriptions);
        match self.capabilities.dialect() {
            Dialect::Extended => {}
            Dialect::Legacy => {
                for (id, entry) in view.commands() {
                    if watches_output(&before, &entry.agent, id)
                        || !watches_output(&self.subscriptions, &entry.agent, id)
                    {
                        continue;
                    }
                    let sent = self.commands.entry(id, Sent::default);
                    sent.cursor = entry.tail.end();
                    sent.seek = tail_of(entry);
                    sent.generation = sent.generation.wrapping_add(1);
                }
            }
        }
        self.look_at_all(view);
    }

    /// Acknowledges, with the subscriptions in force as far as they are short: they are the dashboard's own words, and
    /// each message of it would be answered with all of them.
    fn acknowledgement(&self, message_id: Option<MessageId>) -> Ack {
        let subscriptions = Some(&self.subscriptions).filter(|all| is_short(all)).cloned();
        Ack { message_id, success: true, subscriptions, ..Ack::default() }
    }

    /// Sends the status of each watched agent again.
    pub(super) fn refresh(&mut self) {
        self.agents.refresh();
    }

    /// Schedules the changes of agents, to be sent when there is room.
    pub(super) fn scan_agents(&mut self, view: &View, now: WallTime) {
        self.agents.keep(view);
        self.output.keep(|command| view.command(command).is_some());
        let has_not_begun =
            |ready: &Ready| matches!(ready, Ready::Agents(After { agent: None, .. }, _));
        // A scan that is under way has passed agents that may have changed since.
        if !self.ready.iter().any(has_not_begun) {
            self.ready.push_back(Ready::Agents(After { agent: None, now }, Say::Changed));
        }
    }

    /// When to call [`flush`](Self::flush), because a line is unfinished.
    pub(super) fn deadline(&self) -> Deadline {
        self.output.deadline()
    }

    /// Sends unfinished lines that got no more text for some time; harmless at any other time.
    pub(super) fn flush(&mut self, now: Timestamp) {
        self.output.flush(now);
    }

    /// The next update. Output goes before the end of its command.
    pub(super) fn next(&mut self, view: &View, now: Timestamp) -> FeedItem {
        loop {
            if let Some(message) = self.output.next() {
                return FeedItem::Message(message);
            }
            if let Some(item) = self.advance(view, now) {
                return item;
            }
        }
    }

    /// Takes one step. Its result is in `output` unless it is returned.
    fn advance(&mut self, view: &View, now: Timestamp) -> Option<FeedItem> {
        while let Some(ready) = self.ready.pop_front() {
            match ready {
                Ready::Message(message) => return Some(FeedItem::Message(message)),
                Ready::List(after) => {
                    let (message, rest) = self.agents.list(view, &self.subscriptions, after);
                    rest.into_iter().for_each(|rest| self.ready.push_front(Ready::List(rest)));
                    if let Some(message) = message {
                        return Some(FeedItem::Message(Box::new(message)));
                    }
                }
                Ready::Agents(after, say) => {
                    let (told, rest) = self.agents.statuses(view, &self.subscriptions, after, say);
                    let rest = rest.map(|rest| Ready::Agents(rest, say));
                    let told = told.into_iter().map(|message| Ready::Message(Box::new(message)));
                    let in_front: Vec<Ready> = told.chain(rest).collect();
                    in_front.into_iter().rev().for_each(|ready| self.ready.push_front(ready));
                }
            }
        }
        if let Some((id, agent, record)) = self.taken.pop_front() {
            let source = self.source(&id, &agent);
            self.output.wrote(&source, record, now);
            return None;
        }
        self.look(view);
        // Who types waits for that to go on.
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
            if !watches_command(&self.subscriptions, &entry.agent, id) {
                continue;
            }
            if entry.revision > self.seen {
                self.due.moved(id);
            }
            if entry.keyboard.as_ref().is_some_and(|(_, revision)| *revision > self.seen) {
                self.due.keyboard(id);
            }
            if self.subscriptions.terminals {
                self.due.wrote(id);
            }
        }
        self.seen = view.revision();
        // Commands that left the view are forgotten, in batches.
        if self.commands.len() > 2 * view.command_count() + 64 {
            self.commands.retain(|id| view.command(id).is_some());
        }
    }

    /// Marks all watched commands, except those whose end was sent. So a dashboard that watches one command (`exec`)
    /// does not pay for the history of others.
    fn look_at_all(&mut self, view: &View) {
        let Self { subscriptions, commands, due, .. } = self;
        for (id, entry) in view.commands() {
            if commands.get(id).is_some_and(|sent| sent.end == End::Sent) {
                continue;
            }
            if watches_command(subscriptions, &entry.agent, id) {
                due.moved(id);
                if entry.keyboard.is_some() {
                    due.keyboard(id);
                }
            }
            if watches_output(subscriptions, &entry.agent, id) {
                due.wrote(id);
            }
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
        if !watches_command(&self.subscriptions, &entry.agent, id) {
            return None;
        }
        let sent = self.commands.entry(id, Sent::default);
        let shown = match sent.end {
            End::Unsent => entry.view?,
            End::Sent => return None,
        };
        if shown.status.is_final() {
            let writes = watches_output(&self.subscriptions, &entry.agent, id);
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
        let status = encode::command(id, entry, &shown, blocked_by, self.is_extended());
        Some(FeedItem::Message(Box::new(ServerToDashboard::CommandStatus(status))))
    }

    fn over(&mut self, id: &CommandId, entry: &CommandEntry, view: &CommandView) {
        self.commands.entry(id, Sent::default).end = End::Sent;
        let source = self.source(id, &entry.agent);
        let mut end = Vec::new();
        // A legacy dashboard shows a terminal as output of the agent outside of its commands, which does not end.
        if self.is_extended() || !id.is_terminal() {
            let status = encode::command(&source.shown, entry, view, None, self.is_extended());
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
        let entry = entry.filter(|entry| watches_output(&self.subscriptions, &entry.agent, id));
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
        if let Some(seek) = sent.seek.clone() {
            return Some(self.lookup.ask(id, Lookup::Seek(seek)));
        }
        match entry.tail.after(sent.cursor, BATCH_BYTES) {
            Fetch::InStore => {
                self.due.served(id);
                let (after, generation) = (sent.cursor, sent.generation);
                Some(self.lookup.ask(id, Lookup::Read { after, generation }))
            }
            Fetch::Records(records) => {
                self.due.served(id);
                // Nothing is left but the end of the command, which follows all output.
                if records.last().map(LogRecord::position) == entry.tail.end()
                    && entry.view.is_none_or(|view| !view.status.is_final())
                {
                    self.due.has_no_output(id);
                }
                let mut records = records.into_iter();
                let record = records.next()?;
                sent.cursor = Some(record.position());
                if records.len() > 0 {
                    self.take(id, &entry.agent, records);
                }
                let source = self.source(id, &entry.agent);
                self.output.wrote(&source, record, now);
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

    /// Takes records that are sent next.
    fn take(
        &mut self,
        id: &CommandId,
        agent: &AgentId,
        records: impl IntoIterator<Item = LogRecord>,
    ) {
        let sent = self.commands.entry(id, Sent::default);
        for record in records {
            sent.cursor = Some(record.position());
            self.taken.push_back((id.clone(), agent.clone(), record));
        }
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

/// Whether a legacy page whose hello has this id was connected before: it numbers its messages from 1 since it was
/// opened (`msg_1_…`), and the first is a hello.
fn is_of_returning_page(hello: &MessageId) -> bool {
    let numbered = hello.as_str().strip_prefix("msg_");
    let number = numbered.and_then(|rest| rest.split('_').next()?.parse::<u64>().ok());
    number.is_some_and(|number| number > 1)
}

/// Where a legacy dashboard begins that did not watch this command; nowhere if the command has ended.
fn tail_of(entry: &CommandEntry) -> Option<Seek> {
    let ended = entry.view.is_some_and(|view| view.status.is_final());
    let tail = LEGACY_REPLAY.saturating_sub(entry.tail.unstored());
    (!ended).then_some(Seek::Tail(tail))
}

/// Whether subscriptions are repeated in acknowledgements.
fn is_short(subscriptions: &Subscriptions) -> bool {
    let mut left = REPEATED_BYTES;
    let Subscriptions { agents, commands, .. } = subscriptions;
    [agents, commands].into_iter().all(|selection| match selection {
        Selection::None | Selection::All => true,
        Selection::Only(ids) => ids.iter().all(|id| {
            let bytes = json_len(id).saturating_add(1);
            let fits = bytes <= left;
            left = left.saturating_sub(bytes);
            fits
        }),
    })
}

#[cfg(test)]
mod tests;
