//! The links of a shard: when each is to be woken, which are kept beside sessions, and what is written to them.

use super::link::LinkEntry;
use crate::beats::Looks;
use crate::counters::Counters;
use crate::link::{BudgetShare, Frame};
use crate::pump::{LinkHandle, QueueFull};
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::diagnosis::{BeatVerdict, HopTracker};
use onsembl_protocol::id::{AgentId, CommandId, LinkId};
use onsembl_protocol::session::{AcceptedAction, AcceptedEvent};
use onsembl_protocol::step::Step;
use onsembl_protocol::supervisor::Key;
use onsembl_protocol::time::{Deadline, Now, Timestamp, WallTime};
use onsembl_protocol::wire::{MessageSet as _, ServerToAgent};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tracing::{debug, warn};

/// Ledgers of heartbeats that are looked at in one go.
const LOOKS: usize = 4096;

#[derive(Debug)]
pub(super) struct Links<A> {
    /// Each in a place of its own: a node of the tree has room for twice as many as are in it.
    entries: BTreeMap<LinkId, Box<LinkEntry<A>>>,
    /// When which link is to be woken.
    due: BTreeSet<(Timestamp, LinkId)>,
    /// Links that are kept beside the ones of sessions.
    parked: BTreeMap<Key, BTreeSet<LinkId>>,
    /// Links without a hello yet.
    greeting: usize,
    next: LinkId,
    /// Bytes of the longest message that is sent.
    message_bytes: usize,
    /// Where messages are written, one at a time.
    text: String,
    counters: Counters,
}

impl<A> Links<A> {
    pub(super) fn new(message_bytes: usize, counters: Counters) -> Self {
        Self {
            entries: BTreeMap::new(),
            due: BTreeSet::new(),
            parked: BTreeMap::new(),
            greeting: 0,
            next: LinkId(1),
            message_bytes,
            text: String::new(),
            counters,
        }
    }

    /// The number of the next link.
    pub(super) fn number(&mut self) -> LinkId {
        let number = self.next;
        self.next = number.next();
        number
    }

    /// Takes a link in that owes a hello.
    pub(super) fn insert(&mut self, link: LinkId, entry: LinkEntry<A>) {
        let deadline = entry.machine.deadline();
        let _ = self.entries.insert(link, Box::new(entry));
        self.greeting += 1;
        self.arm(link, deadline);
    }

    /// A link has ended.
    pub(super) fn remove(&mut self, link: LinkId) -> Option<LinkEntry<A>> {
        self.unpark(link);
        let entry = *self.entries.remove(&link)?;
        if let Some(at) = entry.due {
            let _ = self.due.remove(&(at, link));
        }
        if entry.owes_hello() {
            self.greeting = self.greeting.saturating_sub(1);
        }
        Some(entry)
    }

    pub(super) fn get(&self, link: LinkId) -> Option<&LinkEntry<A>> {
        self.entries.get(&link).map(Box::as_ref)
    }

    pub(super) fn get_mut(&mut self, link: LinkId) -> Option<&mut LinkEntry<A>> {
        self.entries.get_mut(&link).map(Box::as_mut)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &LinkEntry<A>> {
        self.entries.values().map(Box::as_ref)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Links without a hello yet.
    pub(super) fn greeting(&self) -> usize {
        self.greeting
    }

    /// The agent's machine, once the owner has identified the agent of the link.
    pub(super) fn key_of(&self, link: LinkId) -> Option<Key> {
        self.get(link)?.key
    }

    /// What the machine of a link asks for; `None` if there is no such link any more.
    pub(super) fn handle(
        &mut self,
        link: LinkId,
        event: AcceptedEvent,
        now: Now,
    ) -> Option<Step<AcceptedAction>> {
        let entry = self.entries.get_mut(&link)?;
        let owed_hello = entry.owes_hello();
        let step = entry.machine.handle(event, now);
        if owed_hello && !entry.owes_hello() {
            self.greeting = self.greeting.saturating_sub(1);
            entry.share = BudgetShare::default();
        }
        self.arm(link, step.deadline);
        Some(step)
    }

    /// When the first of them is to be woken.
    pub(super) fn deadline(&self) -> Deadline {
        self.due.first().map_or(Deadline::Never, |(at, _)| Deadline::At(*at))
    }

    /// Those that are to be woken now.
    pub(super) fn due(&self, now: Timestamp) -> Vec<LinkId> {
        self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, link)| *link).collect()
    }

    /// Puts the deadline of a link in its order.
    fn arm(&mut self, link: LinkId, deadline: Deadline) {
        let Some(entry) = self.entries.get_mut(&link) else { return };
        let due = match deadline {
            Deadline::At(at) => Some(at),
            Deadline::Never => None,
        };
        if entry.due == due {
            return;
        }
        if let Some(at) = entry.due {
            let _ = self.due.remove(&(at, link));
        }
        entry.due = due;
        if let Some(at) = due {
            let _ = self.due.insert((at, link));
        }
    }

    /// A link is kept beside that of the session of the agent behind `key`.
    pub(super) fn park(&mut self, link: LinkId, key: Key) {
        self.counters.count("links_parked");
        debug!(%link, ?key, "a second link of a legacy agent is kept open beside that of its session");
        let _ = self.parked.entry(key).or_default().insert(link);
    }

    /// A link is kept no more: it ended, or said hello.
    pub(super) fn unpark(&mut self, link: LinkId) {
        let Some(key) = self.key_of(link) else { return };
        if let Some(links) = self.parked.get_mut(&key) {
            let _ = links.remove(&link);
            if links.is_empty() {
                let _ = self.parked.remove(&key);
            }
        }
    }

    /// Nothing is left of an agent beside which links were kept.
    pub(super) fn close_parked(&mut self, key: Key, cause: CloseCause) {
        for link in self.parked.remove(&key).into_iter().flatten() {
            self.close(link, cause);
        }
    }

    /// The link of the session of the agent behind `key`, if there is one, and those beside it.
    pub(super) fn all_of(
        &self,
        key: Key,
        of_session: Option<LinkId>,
    ) -> impl Iterator<Item = &LinkEntry<A>> {
        let parked = self.parked.get(&key).into_iter().flatten().copied();
        of_session.into_iter().chain(parked).filter_map(|link| self.get(link))
    }

    /// Looks at the hop trackers, four times an interval, and at no more of them at once than takes a few
    /// milliseconds. What those say that say something else than before.
    pub(super) fn look_at_beats(
        &mut self,
        looks: &mut Looks,
        interval: Duration,
        now: Now,
    ) -> Vec<(Key, LinkId, BeatVerdict)> {
        let mut told = Vec::new();
        if !looks.at.is_due(now.monotonic) {
            return told;
        }
        let (mut looked, mut continues) = (0, None);
        for (id, entry) in self.entries.range_mut(looks.from..) {
            if looked >= LOOKS {
                continues = Some(*id);
                break;
            }
            looked += 1;
            if let (Some(verdict), Some(key)) = (entry.note_beats(now, HopTracker::look), entry.key)
            {
                told.push((key, *id, verdict));
            }
        }
        let any = self.entries.values().any(|entry| entry.beats.is_some());
        *looks = Looks::next(continues, any, interval, now);
        told
    }

    pub(super) fn send(&mut self, link: LinkId, message: &ServerToAgent, at: WallTime) {
        self.put(link, message, at, LinkHandle::control);
    }

    pub(super) fn send_beat(&mut self, link: LinkId, message: &ServerToAgent, at: WallTime) {
        self.put(link, message, at, LinkHandle::heartbeat);
    }

    fn put(
        &mut self,
        link: LinkId,
        message: &ServerToAgent,
        at: WallTime,
        queue: impl FnOnce(&LinkHandle, Frame) -> Result<(), QueueFull>,
    ) {
        let Some(entry) = self.entries.get_mut(&link) else { return };
        let (_, frame) = entry.envelopes.frame_by(&mut self.text, message, at);
        if frame.len() > self.message_bytes {
            self.counters.count("own_messages_too_long");
            let (peer, agent, kind, bytes) =
                (entry.handle.peer(), entry.agent.as_ref(), message.kind(), frame.len());
            let (agent, command) = (
                agent.map_or("", AgentId::as_str),
                message.command().map_or("", CommandId::as_str),
            );
            return warn!(%link, %peer, agent, command, kind, bytes, "a message to an agent is too long; it is dropped");
        }
        if queue(&entry.handle, frame).is_err() {
            self.counters.count("control_queue_full");
            warn!(%link, peer = %entry.handle.peer(), "the agent does not read; its link is being ended");
        }
    }

    pub(super) fn ping(&mut self, link: LinkId) {
        if let Some(entry) = self.get(link)
            && entry.handle.control(Frame::Ping).is_err()
        {
            self.counters.count("control_queue_full");
        }
    }

    pub(super) fn close(&mut self, link: LinkId, cause: CloseCause) {
        let Some(entry) = self.get(link) else { return };
        debug!(%link, peer = %entry.handle.peer(), %cause, "closing a link");
        match cause.is_abrupt() {
            true => entry.handle.abort(cause),
            false => entry.handle.close(cause),
        }
    }
}
