//! What comes over the links of a shard, until it is an event of a machine or of the owner.

use super::events::{HelloClaim, ShardEvent};
use super::link::Stage;
use super::shard::{HELD, Shard};
use crate::link::Received;
use crate::pump::{LinkEvent, LinkInput};
use bytes::Bytes;
use onsembl_protocol::close::{CloseCause, CloseReason};
use onsembl_protocol::id::{LinkId, MessageId, SessionId};
use onsembl_protocol::model::{Capabilities, Dialect};
use onsembl_protocol::replay::FrameNote;
use onsembl_protocol::session::{GreetingEvent, GreetingVerdict, ServerEvent, ServerInbound};
use onsembl_protocol::wire::payload::{Ack, AgentHeartbeat, ErrorCode, ErrorReply, Pong};
use onsembl_protocol::wire::{
    self, AgentFrame, AgentToServer, DecodeError, OutputFrame, ServerToAgent,
};
use tracing::{debug, info, warn};

impl<A> Shard<A> {
    pub(super) fn on_link_event(&mut self, event: LinkEvent) {
        let link = event.link;
        match event.what {
            LinkInput::Ended(end) => self.on_ended(link, end.reason, &end.detail),
            LinkInput::Received(Received::Binary(message)) => self.on_binary(link, message),
            LinkInput::Received(Received::Control) => {
                self.heard(link, ServerInbound::Other, FrameNote::control());
            }
            LinkInput::Received(Received::Text(text)) => self.on_text(link, text),
        }
    }

    pub(super) fn on_ended(&mut self, link: LinkId, reason: CloseReason, detail: &str) {
        let _ = self.greeting.remove(&link);
        let _ = self.probes.remove(&link);
        let Some(entry) = self.links.remove(&link) else { return };
        self.counters.count("links_ended");
        info!(%link, peer = %entry.peer, because = %reason, detail, "link ended");
        if let Some(key) = entry.key() {
            let session: Option<SessionId> = match entry.stage {
                Stage::Live { session, .. } => Some(session),
                Stage::Greeting { .. } | Stage::Claimed | Stage::Joining(_) | Stage::Probe(_) => {
                    None
                }
            };
            self.events.push_back(ShardEvent::LinkEnded { key, link, session, reason });
            self.feed(key, ServerEvent::LinkDown(link, reason));
        }
    }

    pub(super) fn on_text(&mut self, link: LinkId, text: String) {
        let Some(entry) = self.links.get_mut(&link) else { return };
        match &entry.stage {
            Stage::Claimed | Stage::Joining(_) => {
                if entry.held.len() < HELD {
                    entry.held.push(text);
                } else {
                    self.counters.count("frames_dropped_before_session");
                }
                return;
            }
            Stage::Greeting { .. } | Stage::Live { .. } | Stage::Probe(_) => {}
        }
        match wire::decode_in_place(&text, &self.limits) {
            Ok(envelope) => {
                if matches!(entry.stage, Stage::Greeting { .. }) {
                    if let AgentToServer::Connect(hello) = envelope.message.into_owned() {
                        entry.hello = envelope.id.map(MessageId::new);
                        self.on_hello(link, hello);
                    } else {
                        self.counters.count("messages_before_hello");
                        self.greet(link, GreetingEvent::Other);
                    }
                } else {
                    let bytes = text.len();
                    match envelope.message {
                        AgentFrame::Heartbeat(beat) => self.on_beat(link, &beat, bytes),
                        AgentFrame::Pong(_) => {
                            let frame = FrameNote::of_type("PONG", bytes);
                            self.heard(link, ServerInbound::Pong, frame);
                        }
                        AgentFrame::Other(message) => {
                            let frame = FrameNote::message(&*message, bytes);
                            let id = envelope.id.map(MessageId::new);
                            self.on_message(link, id, *message, frame);
                        }
                    }
                }
            }
            Err(error) => self.on_undecodable(link, &error, FrameNote::undecodable(text.len())),
        }
    }

    /// Output of an agent in session that agreed on this form; nobody else may send binary messages.
    fn on_binary(&mut self, link: LinkId, message: Bytes) {
        let Some(entry) = self.links.get(&link) else { return };
        let in_force =
            matches!(entry.stage, Stage::Live { .. }) && entry.capabilities.output_is_binary();
        let length = message.len();
        if !in_force {
            self.counters.count("binary_frames");
            let why = format!("binary frames ({length} bytes) are not accepted");
            self.say_undecodable(link, why);
            return self.close(link, CloseCause::UnsupportedData);
        }
        match OutputFrame::decode(message, &self.limits) {
            Ok(mut output) => {
                // What was read is a piece of the buffer that the link reads into, which the largest
                // message so far made as large as that (1 MiB at most). A log that kept such pieces
                // would keep a buffer alive with each, however few bytes of it are counted.
                output.bytes = Bytes::copy_from_slice(&output.bytes);
                let message = AgentToServer::Output(output.into());
                let frame = FrameNote::message(&message, length);
                self.on_message(link, None, message, frame);
            }
            Err(error) => self.on_undecodable(link, &error, FrameNote::undecodable(length)),
        }
    }

    pub(super) fn greet(&mut self, link: LinkId, event: GreetingEvent) {
        let now = self.clock.now();
        let Some(entry) = self.links.get_mut(&link) else {
            let _ = self.greeting.remove(&link);
            return;
        };
        let Stage::Greeting { greeting, .. } = &mut entry.stage else { return };
        match greeting.handle(event, now) {
            GreetingVerdict::Wait | GreetingVerdict::Identify => {}
            GreetingVerdict::Close(cause) => {
                self.counters.count("no_hello");
                let error = ErrorReply::new(
                    ErrorCode::AuthTimeout,
                    "no AGENT_CONNECT came in time; send it first",
                );
                self.send_to(link, &ServerToAgent::Error(error));
                self.close(link, cause);
            }
        }
    }

    pub(super) fn on_hello(&mut self, link: LinkId, hello: wire::payload::AgentConnect) {
        let _ = self.greeting.remove(&link);
        let Some(entry) = self.links.get_mut(&link) else { return };
        entry.handle.pause();
        let theirs = hello.extensions.as_ref().map_or(&[][..], |e| &e.features);
        let dialect = Dialect::of(hello.extensions.as_ref());
        entry.capabilities = Capabilities::negotiate(&self.rules.features, theirs, dialect);
        let stage = std::mem::replace(&mut entry.stage, Stage::Claimed);
        let peer = entry.peer.clone();
        if let Stage::Greeting { auth, .. } = stage {
            let hello = Box::new(hello);
            self.events.push_back(ShardEvent::Hello(HelloClaim { link, auth, hello, peer }));
        }
    }

    pub(super) fn on_undecodable(&mut self, link: LinkId, error: &DecodeError, frame: FrameNote) {
        self.counters.count("undecodable");
        warn!(%link, %error, message = ?error.message_id, "an agent sent what cannot be decoded");
        let now = self.clock.now().monotonic;
        let Some(entry) = self.links.get_mut(&link) else { return };
        let in_greeting = matches!(entry.stage, Stage::Greeting { .. });
        let allowed = entry.quota.allow(&self.limits, now);
        if !allowed {
            return self.close(link, CloseCause::TooManyUndecodable);
        }
        let reply = ErrorReply::new(ErrorCode::InvalidMessage, error.to_string())
            .about(error.message_id.clone())
            .for_command(error.command_id.clone());
        self.send_to(link, &ServerToAgent::Error(reply));
        if in_greeting {
            self.greet(link, GreetingEvent::Other);
        } else {
            self.heard(link, ServerInbound::Other, frame);
        }
    }

    pub(super) fn say_undecodable(&mut self, link: LinkId, why: String) {
        warn!(%link, why, "an agent sent what cannot be read");
        self.send_to(link, &ServerToAgent::Error(ErrorReply::new(ErrorCode::InvalidMessage, why)));
    }

    pub(super) fn heard(&mut self, link: LinkId, what: ServerInbound, frame: FrameNote) {
        let now = self.clock.now();
        let Some(entry) = self.links.get_mut(&link) else { return };
        match &mut entry.stage {
            Stage::Live { key, .. } => {
                let key = *key;
                self.events.push_back(ShardEvent::Heard { key, at: now.wall });
                self.feed_at(key, ServerEvent::Received(link, what), now, Some(frame));
            }
            Stage::Probe(monitor) => {
                let _only_silence_ends_a_probe = monitor.on_received(now.monotonic);
            }
            Stage::Greeting { .. } | Stage::Claimed | Stage::Joining(_) => {}
        }
    }

    /// A heartbeat as it lies in its text; nothing of it is copied.
    fn on_beat<Id>(&mut self, link: LinkId, beat: &AgentHeartbeat<Id>, bytes: usize) {
        let Some(entry) = self.links.get_mut(&link) else { return };
        entry.metrics = beat.health_metrics;
        let changed = std::mem::replace(&mut entry.paused, beat.paused) != beat.paused;
        let key = entry.key();
        let seen = beat.seen.map(|s| s.sequence);
        let frame = FrameNote::of_type("AGENT_HEARTBEAT", bytes);
        self.heard(link, ServerInbound::Heartbeat { sequence: beat.sequence, seen }, frame);
        // A late word on a link that was taken over says nothing of the agent.
        if let Some(key) = key.filter(|key| changed && self.link_of(*key) == Some(link)) {
            self.events.push_back(ShardEvent::Paused { key, paused: beat.paused });
        }
    }

    pub(super) fn on_message(
        &mut self,
        link: LinkId,
        id: Option<MessageId>,
        message: AgentToServer,
        frame: FrameNote,
    ) {
        let Some(entry) = self.links.get_mut(&link) else { return };
        let key = match &entry.stage {
            Stage::Live { key, .. } => Some(*key),
            Stage::Greeting { .. } | Stage::Claimed | Stage::Joining(_) | Stage::Probe(_) => None,
        };
        let inbound = match &message {
            AgentToServer::Heartbeat(beat) => {
                return self.on_beat(link, beat, frame.bytes() as usize);
            }
            AgentToServer::Pong(_) => ServerInbound::Pong,
            AgentToServer::Ping(ping) => {
                let pong =
                    Pong { timestamp: ping.timestamp, latency: None, sequence: ping.sequence };
                self.send_to(link, &ServerToAgent::Pong(pong));
                ServerInbound::Other
            }
            AgentToServer::Connect(_) => {
                self.answer_repeated_hello(link, id);
                ServerInbound::Other
            }
            AgentToServer::Unknown(kind) => {
                self.counters.count("unknown_types");
                debug!(%link, %kind, "an agent sent a type that this version does not know");
                ServerInbound::Other
            }
            AgentToServer::Fault(_)
            | AgentToServer::CommandAck(_)
            | AgentToServer::CommandComplete(_)
            | AgentToServer::Output(_)
            | AgentToServer::OutputGap(_)
            | AgentToServer::OutputState(_)
            | AgentToServer::StopReceipt(_)
            | AgentToServer::TerminalOpened(_)
            | AgentToServer::Trace(_)
            | AgentToServer::Report(_) => ServerInbound::Other,
        };
        self.heard(link, inbound, frame);
        let Some(key) = key else { return };
        match message {
            AgentToServer::Fault(_)
            | AgentToServer::CommandAck(_)
            | AgentToServer::CommandComplete(_)
            | AgentToServer::Output(_)
            | AgentToServer::OutputGap(_)
            | AgentToServer::OutputState(_)
            | AgentToServer::StopReceipt(_)
            | AgentToServer::TerminalOpened(_)
            | AgentToServer::Trace(_)
            | AgentToServer::Report(_) => {
                let now = self.clock.now();
                let message = Box::new(message);
                self.events.push_back(ShardEvent::Message { key, message, now });
            }
            AgentToServer::Connect(_)
            | AgentToServer::Heartbeat(_)
            | AgentToServer::Ping(_)
            | AgentToServer::Pong(_)
            | AgentToServer::Unknown(_) => {}
        }
    }

    /// A legacy wrapper may say hello twice on one link; it is told its id again.
    pub(super) fn answer_repeated_hello(&mut self, link: LinkId, id: Option<MessageId>) {
        let Some(entry) = self.links.get(&link) else { return };
        let ack = Ack {
            message_id: id,
            success: true,
            agent_id: entry.agent.clone(),
            authenticated: Some(true),
            ..Ack::default()
        };
        self.send_to(link, &ServerToAgent::Ack(ack));
    }
}
