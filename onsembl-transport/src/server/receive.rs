//! What comes over the links of a shard, until it is an event of a machine or of the owner.

use super::events::{HelloClaim, ShardEvent};
use super::link::LinkEntry;
use super::shard::Shard;
use crate::link::{LinkEnd, Received};
use crate::pump::{LinkEvent, LinkInput};
use bytes::Bytes;
use onsembl_protocol::close::CloseReason;
use onsembl_protocol::id::{LinkId, MessageId};
use onsembl_protocol::liveness::Seen;
use onsembl_protocol::model::Pausing;
use onsembl_protocol::replay::FrameNote;
use onsembl_protocol::session::frames::{self, FromAgent, ServerRead};
use onsembl_protocol::session::{
    AcceptedAction, AcceptedEvent, Complaint, Discarded, FrameForm, ServerEvent, ServerInbound,
};
use onsembl_protocol::wire::payload::AgentHeartbeat;
use onsembl_protocol::wire::{AgentFrame, AgentToServer, DecodeError, ServerToAgent};
use tracing::{debug, error, info, warn};

/// What an event of a link is about, for the actions that need more than the machine's input.
enum About<'a> {
    Nothing,
    Text(String),
    Binary(Bytes),
    /// A heartbeat or a pong, and what it says of ours.
    Beat(FrameNote, Option<Seen>),
    Message(Option<MessageId>, Box<AgentToServer>, FrameNote),
    Undecodable(&'a DecodeError, FrameNote),
}

impl About<'_> {
    fn take(&mut self) -> Self {
        std::mem::replace(self, About::Nothing)
    }

    /// What is noted of the frame that was heard.
    fn note(&self) -> FrameNote {
        match self {
            About::Beat(note, _) | About::Message(.., note) | About::Undecodable(_, note) => *note,
            About::Nothing | About::Text(_) | About::Binary(_) => FrameNote::control(),
        }
    }
}

impl<A> Shard<A> {
    pub(super) fn on_link_event(&mut self, event: LinkEvent) {
        let link = event.link;
        let arrived = AcceptedEvent::Arrived;
        match event.what {
            LinkInput::Ended(end) => self.on_ended(link, end.reason, &end.detail),
            LinkInput::Received(Received::Binary(message)) => {
                self.at_link_with(link, arrived(FrameForm::Binary), About::Binary(message));
            }
            LinkInput::Received(Received::Control) => {
                self.at_link(link, arrived(FrameForm::Control));
            }
            LinkInput::Received(Received::Text(text)) => {
                self.at_link_with(link, arrived(FrameForm::Text), About::Text(text));
            }
        }
    }

    fn on_ended(&mut self, link: LinkId, reason: CloseReason, detail: &str) {
        let Some(entry) = self.links.remove(link) else { return };
        self.counters.count("links_ended");
        let end = LinkEnd { reason, detail: detail.to_owned() };
        info!(%link, peer = %entry.handle.peer(), because = %end, "link ended");
        match entry.key {
            Some(key) => {
                let session = entry.session;
                self.events.push_back(ShardEvent::LinkEnded { key, link, session, reason });
                self.parting = entry.beats.map(|beats| beats.verdict(self.now()));
                self.feed(key, ServerEvent::LinkDown(link, reason));
                self.parting = None;
            }
            // Its hello may still wait for the owner. Answered with a machine for a link that is not there, it
            // would leave that machine without an end.
            None => self.events.retain(|event| match event {
                ShardEvent::Hello(claim) => claim.link != link,
                ShardEvent::Silent { link: silent, .. } => *silent != link,
                ShardEvent::Parked { .. }
                | ShardEvent::Admit { .. }
                | ShardEvent::Welcomed { .. }
                | ShardEvent::Record { .. }
                | ShardEvent::Paused { .. }
                | ShardEvent::Answered { .. }
                | ShardEvent::Presence { .. }
                | ShardEvent::Beats { .. }
                | ShardEvent::Message { .. }
                | ShardEvent::Heard { .. }
                | ShardEvent::LinkEnded { .. }
                | ShardEvent::Forgotten { .. }
                | ShardEvent::Overslept(_) => true,
            }),
        }
    }

    /// Hands an event to the machine of a link, and does what it says.
    pub(super) fn at_link(&mut self, link: LinkId, event: AcceptedEvent) {
        self.at_link_with(link, event, About::Nothing);
    }

    fn at_link_with(&mut self, link: LinkId, event: AcceptedEvent, mut about: About<'_>) {
        let now = self.now();
        let Some(step) = self.links.handle(link, event, now) else { return };
        if step.actions.lost() > 0 {
            self.counters.count("actions_lost");
            error!(%link, ?event, "a link returned more actions than a step holds; some are lost");
        }
        let mut to_read = None;
        for action in step.actions {
            match action {
                AcceptedAction::Read => to_read = Some(about.take()),
                AcceptedAction::Defer => self.defer(link, about.take()),
                AcceptedAction::Release => self.release(link),
                AcceptedAction::Discard(why) => self.counters.count(match why {
                    Discarded::BeforeHello => "messages_before_hello",
                    Discarded::BeforeSession => "frames_dropped_before_session",
                    Discarded::Closing => "frames_on_closing_links",
                }),
                AcceptedAction::Identify => self.on_hello(link, about.take()),
                AcceptedAction::Hear(inbound) => self.hear(link, inbound, &about),
                AcceptedAction::AskToPark => self.ask_to_park(link),
                AcceptedAction::SendNativePing => self.links.ping(link),
                AcceptedAction::Deliver => self.deliver(link, about.take()),
                AcceptedAction::Pong => self.answer_probe(link, &about),
                AcceptedAction::WelcomeAgain => self.welcome_again(link, &about),
                AcceptedAction::Complain(complaint) => self.complain(link, complaint, &about),
                AcceptedAction::Close(cause) => self.links.close(link, cause),
            }
        }
        // Behind the actions: what is read is the next event of the same machine.
        match to_read {
            Some(About::Text(text)) => self.read_text(link, &text),
            Some(About::Binary(message)) => self.read_binary(link, message),
            Some(
                About::Nothing | About::Beat(..) | About::Message(..) | About::Undecodable(..),
            )
            | None => {}
        }
    }

    fn defer(&mut self, link: LinkId, about: About<'_>) {
        if let (Some(entry), About::Text(text)) = (self.links.get_mut(link), about) {
            entry.deferred.push(text);
        }
    }

    fn release(&mut self, link: LinkId) {
        if let Some(entry) = self.links.get_mut(link) {
            entry.handle.resume();
            let deferred = std::mem::take(&mut entry.deferred);
            self.released.extend(deferred.into_iter().map(|text| (link, text)));
        }
    }

    fn ask_to_park(&mut self, link: LinkId) {
        if let Some(named) = self.links.get(link).and_then(|entry| entry.named.clone()) {
            self.events.push_back(ShardEvent::Silent { link, named });
        }
    }

    fn deliver(&mut self, link: LinkId, about: About<'_>) {
        let key = self.links.key_of(link);
        if let (Some(key), About::Message(_, message, _)) = (key, about) {
            if let AgentToServer::Fault(report) = &*message
                && let Some(hop) = frames::told_hop(report)
            {
                self.note_beats(link, |hops, now| hops.on_told(Some(hop), now));
            }
            let now = self.now();
            self.events.push_back(ShardEvent::Message { key, message, now });
        }
    }

    fn answer_probe(&mut self, link: LinkId, about: &About<'_>) {
        if let About::Message(_, message, _) = about
            && let AgentToServer::Ping(ping) = &**message
        {
            let pong = frames::answer_to(ping);
            self.send_to(link, &ServerToAgent::Pong(pong));
        }
    }

    fn welcome_again(&mut self, link: LinkId, about: &About<'_>) {
        if let About::Message(id, ..) = about {
            let agent = self.links.get(link).and_then(|entry| entry.agent.clone());
            let ack = frames::welcome_again(id.clone(), agent);
            self.send_to(link, &ServerToAgent::Ack(ack));
        }
    }

    /// Reads what was deferred for links whose session began meanwhile. Not while that beginning is still
    /// being performed: the machine that it belongs to must not be fed then.
    pub(super) fn read_released(&mut self) {
        while let Some((link, text)) = self.released.pop_front() {
            let arrived = AcceptedEvent::Arrived(FrameForm::Text);
            self.at_link_with(link, arrived, About::Text(text));
        }
    }

    fn read_text(&mut self, link: LinkId, text: &str) {
        let read = frames::read(text, &self.limits, &self.rules.features);
        self.on_read(link, read, text.len());
    }

    fn read_binary(&mut self, link: LinkId, message: Bytes) {
        let length = message.len();
        let read = frames::read_binary(message, &self.limits);
        self.on_read(link, read, length);
    }

    fn on_read(&mut self, link: LinkId, read: ServerRead<'_>, bytes: usize) {
        let event = AcceptedEvent::Read(read.reading);
        match read.content {
            FromAgent::Message(_, AgentFrame::Heartbeat(beat)) => {
                self.on_beat(link, event, &beat, bytes);
            }
            FromAgent::Message(_, AgentFrame::Pong(pong)) => {
                let note = FrameNote::of_type("PONG", bytes);
                // A late heartbeat on a link that was taken over is not one of the process in session.
                let key = self.links.key_of(link);
                if key.is_some_and(|key| self.link_of(key) == Some(link)) {
                    let message = Box::new(AgentToServer::Pong(pong));
                    self.deliver(link, About::Message(None, message, note));
                }
                self.at_link_with(link, event, About::Beat(note, None));
            }
            FromAgent::Message(id, AgentFrame::Other(message)) => {
                let note = FrameNote::message(&*message, bytes);
                if let AgentToServer::Unknown(kind) = &*message
                    && !self.links.get(link).is_some_and(LinkEntry::owes_hello)
                {
                    self.counters.count("unknown_types");
                    debug!(%link, ?kind, "an agent sent a type that this version does not know");
                }
                self.at_link_with(link, event, About::Message(id, message, note));
            }
            FromAgent::Undecodable(error) => {
                self.counters.count("undecodable");
                warn!(%link, peer = self.peer(link), %error, id = ?error.message_id, "an agent sent what cannot be decoded");
                let about = About::Undecodable(&error, FrameNote::undecodable(bytes));
                self.at_link_with(link, event, about);
            }
        }
    }

    /// For logs.
    fn peer(&self, link: LinkId) -> Option<&str> {
        self.links.get(link).map(|entry| entry.handle.peer())
    }

    fn on_hello(&mut self, link: LinkId, about: About<'_>) {
        let About::Message(id, message, _) = about else { return };
        let AgentToServer::Connect(hello) = *message else { return };
        let Some(entry) = self.links.get_mut(link) else { return };
        entry.handle.pause();
        entry.hello = id;
        let peer = entry.handle.peer().to_owned();
        if let Some(auth) = entry.auth.take() {
            let hello = Box::new(hello);
            self.events.push_back(ShardEvent::Hello(HelloClaim { link, auth: *auth, hello, peer }));
        }
    }

    fn complain(&mut self, link: LinkId, complaint: Complaint, about: &About<'_>) {
        let error = match (complaint, about) {
            (Complaint::NoHello, _) => {
                self.counters.count("no_hello");
                frames::hello_missing()
            }
            (Complaint::Undecodable, About::Undecodable(error, _)) => frames::undecodable(error),
            (Complaint::Binary, About::Binary(message)) => {
                self.counters.count("binary_frames");
                warn!(%link, peer = self.peer(link), bytes = message.len(), "an agent sent a binary frame, which was not agreed on");
                frames::binary_refused(message.len())
            }
            (Complaint::Undecodable | Complaint::Binary, _) => return,
        };
        self.send_to(link, &ServerToAgent::Error(error));
    }

    fn hear(&mut self, link: LinkId, what: ServerInbound, about: &About<'_>) {
        #[cfg(onsembl_faults)]
        if matches!(what, ServerInbound::Heartbeat { .. })
            && crate::planted::PlantedFault::NotRouted.is_planted()
        {
            return;
        }
        let now = self.now();
        self.heard(link, now);
        if let Some(key) = self.links.key_of(link) {
            self.events.push_back(ShardEvent::Heard { key, at: now.wall });
            if let (About::Beat(_, seen), ServerInbound::Heartbeat { sequence: Some(n), .. }) =
                (about, what)
            {
                self.note_beats_at(now, link, |hops, now| {
                    hops.on_handled(n, *seen, None, now);
                });
            }
            self.feed_at(key, ServerEvent::Received(link, what), now, Some(about.note()));
        }
    }

    /// A heartbeat as it lies in its text; nothing of it is copied.
    fn on_beat<Id>(
        &mut self,
        link: LinkId,
        event: AcceptedEvent,
        beat: &AgentHeartbeat<Id>,
        bytes: usize,
    ) {
        let Some(entry) = self.links.get_mut(link) else { return };
        let key = entry.key;
        let (mut changed, pausing) = (false, Pausing::of(beat.paused));
        // Before the hello, and of a diagnosis connection, it says nothing of an agent.
        if key.is_some() {
            entry.metrics = beat.health_metrics.map(Box::new);
            changed = std::mem::replace(&mut entry.pausing, pausing) != pausing;
        }
        let note = FrameNote::of_type("AGENT_HEARTBEAT", bytes);
        if let Some(sequence) = beat.sequence {
            self.note_beats(link, |hops, now| hops.on_received(sequence, now));
        }
        let seen = beat.seen.map(Seen::from);
        self.at_link_with(link, event, About::Beat(note, seen));
        // A late heartbeat on a link that was taken over says nothing of the agent.
        if let Some(key) = key.filter(|key| changed && self.link_of(*key) == Some(link)) {
            self.events.push_back(ShardEvent::Paused { key, pausing });
        }
    }
}
