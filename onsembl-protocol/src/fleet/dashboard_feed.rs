//! What one dashboard has not been told yet: the difference between the [`View`] of its user and what it was
//! sent; and the order in which it is told.
//!
//! A feed holds no lock and no queue of events: it is asked for the next thing to tell whenever the link of
//! its dashboard has room. `agents.rs` has what is told of agents, `output.rs` the form of output.

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
use crate::wire::ServerToDashboard;
use crate::wire::payload::{
    Ack, DashboardExtensions, ErrorCode, ErrorReply, Replay, Subscription, SubscriptionKind,
    Subscriptions,
};
use agents::{After, Agents, Say};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use due::Due;
use lookup::{Lookup, OpenLookup};
use output::{Output, Source};
use sent::{End, Sent};

/// Output that is taken from a tail at once.
const BATCH_BYTES: usize = 64 * 1024;
/// A legacy dashboard that comes late gets so much of what an open command wrote.
const LEGACY_REPLAY: usize = 1 << 20;
/// What a feed counts for each agent and for each command of its user, and besides them: what it watches, the output
/// that it took, and unfinished lines.
const AGENT_COST: usize = 2048;
const COMMAND_COST: usize = 512;
const FEED_COST: usize = 512 * 1024 + output::MOST_UNFINISHED;
/// How long an ended command is still shown to new dashboards.
const ENDED_SHOWN_MS: i64 = 10 * 60 * 1000;

/// What one dashboard was told, and how it is to be told.
#[derive(Clone, Debug)]
pub(super) struct DashboardFeed {
    subscriptions: Subscriptions,
    capabilities: Capabilities,
    /// What is told before anything else. Of many agents it holds where to go on, and no messages.
    ready: VecDeque<Ready>,
    /// Output that comes behind it, taken from a tail. Put into words one by one: for a legacy dashboard a
    /// short line costs thirty times its bytes.
    taken: VecDeque<(CommandId, AgentId, LogRecord)>,
    output: Output,
    agents: Agents,
    commands: ById<Sent>,
    due: Due,
    lookup: OpenLookup,
    seen: Revision,
    hello: Hello,
}

/// What is told before anything else.
#[derive(Clone, Debug)]
enum Ready {
    Message(Box<ServerToDashboard>),
    /// The agents behind this one, as lists.
    List(After),
    /// How the agents behind this one are.
    Agents(After, Say),
}

/// Whether the hello of a dashboard was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hello {
    Unanswered,
    Answered,
}

impl DashboardFeed {
    /// A dashboard that was accepted now. Of commands that ended lately it is told how. Output that is there
    /// already comes only if it asks; to a legacy one, which cannot, the end of what open commands wrote.
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
                end: if is_old { End::Sent } else { End::Unsent },
                cursor: entry.tail.end(),
                seek: match capabilities.dialect() {
                    Dialect::Extended => None,
                    Dialect::Legacy => tail_of(entry),
                },
                generation: 0,
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

    /// The answer to the hello: the agents there are, then how each is, then its acknowledgement. A page that
    /// came back still shows what it showed before: what open commands wrote does not come again.
    pub(super) fn greet(&mut self, hello: Option<MessageId>, now: WallTime) {
        let is_first = core::mem::replace(&mut self.hello, Hello::Answered) == Hello::Unanswered;
        if is_first && !self.is_extended() && hello.as_ref().is_some_and(is_of_returning_page) {
            self.commands.values_mut().for_each(|sent| sent.seek = None);
        }
        self.ready.push_back(Ready::List(After { agent: None, now }));
        self.ready.push_back(Ready::Agents(After { agent: None, now }, Say::All));
        self.say(ServerToDashboard::Ack(self.acknowledgement(hello)));
    }

    /// Adds to what is watched, and answers.
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

    /// Takes away from what is watched, and answers.
    pub(super) fn unsubscribe(&mut self, view: &View, id: Option<MessageId>, what: &Subscription) {
        let mut wanted = self.subscriptions.clone();
        what.remove_from(&mut wanted);
        self.watch(view, wanted);
        self.say(ServerToDashboard::Ack(self.acknowledgement(id)));
    }

    fn say(&mut self, message: ServerToDashboard) {
        self.ready.push_back(Ready::Message(Box::new(message)));
    }

    /// What this takes at most, in bytes, while its user has so many agents and commands to show: what it was told of
    /// each, and one message about each that waits.
    pub(super) fn cost(view: &View) -> usize {
        let agents = view.agents().len().saturating_mul(AGENT_COST);
        let commands = view.command_count().saturating_mul(COMMAND_COST);
        agents.saturating_add(commands).saturating_add(FEED_COST)
    }

    /// Whether answers wait for the link: then nothing more is to be read from it, because each message that
    /// is read may bring more of them.
    pub(super) fn is_behind(&self) -> bool {
        // What changed about agents is no answer, and comes when there is room for it.
        let is_answer = |ready: &Ready| match ready {
            Ready::Message(_) | Ready::List(_) | Ready::Agents(_, Say::All) => true,
            Ready::Agents(_, Say::Changed) => false,
        };
        self.output.is_ready() || self.ready.iter().any(is_answer)
    }

    /// Takes what it wants to see from now on. To a legacy dashboard, of open commands that it did not see
    /// the end of what they wrote.
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

    /// Says what is subscribed now.
    fn acknowledgement(&self, message_id: Option<MessageId>) -> Ack {
        let subscriptions = Some(self.subscriptions.clone());
        Ack { message_id, success: true, subscriptions, ..Ack::default() }
    }

    /// Says the status of each watched agent again.
    pub(super) fn refresh(&mut self) {
        self.agents.refresh();
    }

    /// Looks at what changed about agents, when there is room for it.
    pub(super) fn scan_agents(&mut self, view: &View, now: WallTime) {
        self.agents.keep(view);
        self.output.keep(|command| view.command(command).is_some());
        let has_not_begun =
            |ready: &Ready| matches!(ready, Ready::Agents(After { agent: None, .. }, _));
        // One that is under way has passed some that changed since.
        if !self.ready.iter().any(has_not_begun) {
            self.ready.push_back(Ready::Agents(After { agent: None, now }, Say::Changed));
        }
    }

    /// When to call with [`flush`](Self::flush): a line is unfinished.
    pub(super) fn deadline(&self) -> Deadline {
        self.output.deadline()
    }

    /// Shows unfinished lines of which nothing more came for some time; harmless at any other time.
    pub(super) fn flush(&mut self, now: Timestamp) {
        self.output.flush(now);
    }

    /// The next thing to tell. Output goes before the end of its command.
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

    /// Goes on by one step. What it brings is ready as output if it is nothing else.
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
        // How commands are, before what they write: output may have no end. But the end of a command comes
        // behind its own.
        while let Some(id) = self.due.take_moved() {
            let item = self.next_of(view, &id);
            if item.is_some() || self.output.is_ready() {
                return item;
            }
        }
        while let Some(id) = self.due.next_to_serve() {
            let item = self.next_output(view, &id, now);
            // What was taken comes before more is taken, also if nothing of it makes a whole line yet.
            if item.is_some() || self.output.is_ready() || !self.taken.is_empty() {
                return item;
            }
        }
        Some(FeedItem::Nothing)
    }

    /// Notes which commands changed since it last looked.
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
            if self.subscriptions.terminals {
                self.due.wrote(id);
            }
        }
        self.seen = view.revision();
        // Those that are gone from the view are forgotten, though not one by one.
        if self.commands.len() > 2 * view.command_count() + 64 {
            self.commands.retain(|id| view.command(id).is_some());
        }
    }

    /// Looks at all commands that it watches, but for those of which it was told all. Whoever comes for one
    /// command (`exec`) does not pay for what others left behind.
    fn look_at_all(&mut self, view: &View) {
        let Self { subscriptions, commands, due, .. } = self;
        for (id, entry) in view.commands() {
            if commands.get(id).is_some_and(|sent| sent.end == End::Sent) {
                continue;
            }
            if watches_command(subscriptions, &entry.agent, id) {
                due.moved(id);
            }
            if watches_output(subscriptions, &entry.agent, id) {
                due.wrote(id);
            }
        }
    }

    /// Where a command is, if that is to be told now.
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
            // Else it comes behind the last of its output.
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
        // To a legacy dashboard a terminal is what its agent writes beside its commands, which does not end.
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

    /// Output of a command, if there is any to be told now; its end, if that was all.
    fn next_output(&mut self, view: &View, id: &CommandId, now: Timestamp) -> Option<FeedItem> {
        let entry = view.command(id);
        let entry = entry.filter(|entry| watches_output(&self.subscriptions, &entry.agent, id));
        let sent = self.commands.entry(id, Sent::default);
        let Some(entry) = entry.filter(|_| sent.end == End::Unsent) else {
            self.due.has_no_output(id);
            return None;
        };
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
                // Nothing of it is left to be told but its end, which comes behind all output.
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

    /// Takes records that are told next.
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

    /// What its dashboard and this server may rely on.
    pub(super) const fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    const fn is_extended(&self) -> bool {
        self.capabilities.is_extended()
    }

    /// Shows the stored output of a command from there on. Whether there is such a command.
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
        self.due.wrote(id);
        self.due.moved(id);
        true
    }

    /// Where the store has what was sought.
    pub(super) fn located(&mut self, id: &CommandId, cursor: Cursor) {
        if let Some(Lookup::Seek(seek)) = self.lookup.answered(id)
            && let Some(sent) = self.commands.get_mut(id)
            && sent.seek == Some(seek)
        {
            sent.begin_at(cursor);
            self.due.wrote(id);
        }
    }

    /// What the store had behind a cursor; nothing if it has nothing there any more.
    pub(super) fn stored(&mut self, view: &View, id: &CommandId, records: Vec<LogRecord>) {
        let Some(lookup) = self.lookup.answered(id) else { return };
        let Some(entry) = view.command(id) else { return };
        let sent = self.commands.entry(id, Sent::default);
        let Lookup::Read { after, generation } = lookup else { return };
        // It may have been told to begin elsewhere meanwhile.
        if sent.seek.is_some() || (sent.cursor, sent.generation) != (after, generation) {
            return;
        }
        if records.is_empty() {
            sent.cursor = sent.cursor.max(entry.tail.begin());
        } else {
            self.take(id, &entry.agent, records);
        }
    }

    /// A command as its output is shown. Legacy dashboards have one place for what an agent writes beside its
    /// commands, and would call a terminal an unknown command.
    fn source(&self, id: &CommandId, agent: &AgentId) -> Source {
        let shown = match self.capabilities.dialect() {
            Dialect::Legacy if id.is_terminal() => CommandId::of_session(agent),
            Dialect::Legacy | Dialect::Extended => id.clone(),
        };
        let generation = self.commands.get(id).map_or(0, |sent| sent.generation);
        Source { command: id.clone(), shown, agent: agent.clone(), generation }
    }
}

/// Whether a legacy page that says hello with this id was connected before: it numbers its messages from the
/// time when it was opened, `msg_1_…`, and its first one is a hello.
fn is_of_returning_page(hello: &MessageId) -> bool {
    let numbered = hello.as_str().strip_prefix("msg_");
    let number = numbered.and_then(|rest| rest.split('_').next()?.parse::<u64>().ok());
    number.is_some_and(|number| number > 1)
}

/// Where a legacy dashboard begins that did not see this command: nowhere if it is over.
fn tail_of(entry: &CommandEntry) -> Option<Seek> {
    let ended = entry.view.is_some_and(|view| view.status.is_final());
    let tail = LEGACY_REPLAY.saturating_sub(entry.tail.unstored());
    (!ended).then_some(Seek::Tail(tail))
}

#[cfg(test)]
mod tests;
