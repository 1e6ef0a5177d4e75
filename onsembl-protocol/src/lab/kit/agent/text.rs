//! Wrappers that read and write texts: what the kit knows as events comes to them as messages, and
//! what they write is read again. So what a wrapper makes of a text is tested too.

use super::super::reaction::{Reaction, Subject};
use super::subject::{AgentSubject, Observation};
use crate::close::{CloseCause, CloseReason};
use crate::id::{AgentId, LinkId, MessageId, ServerInstanceId, SessionId};
use crate::limits::Limits;
use crate::model::{Capabilities, Dialect, Feature, HeartbeatTiming, SERVER_FEATURES};
use crate::session::frames::{self, Admission, SessionRules};
use crate::session::{
    AgentEvent, AgentInbound, AgentStatusKind, DialFailure, EndOrder, HelloRefusal, ServerBeat,
    ServerConfig, SessionTerms,
};
use crate::time::{Now, WallTime};
use crate::wire::payload::{
    Ack, ErrorCode, ErrorReply, Ping, Pong, RecordedBeat, RecordingLag, SeenBeat, ServerHeartbeat,
};
use crate::wire::{AgentToServer, ServerToAgent, decode, encode};
use std::string::{String, ToString};
use std::vec::Vec;

/// A wrapper that takes what came over its links as texts, and gives what it wrote as texts.
///
/// Like [`WrapperUnderTest`](super::WrapperUnderTest), but nothing is translated for it: also what it
/// takes for a welcome, and when, is its own.
pub trait TextWrapperUnderTest {
    /// Takes one event at one moment, and tells what it did and when its timer fires.
    fn handle(&mut self, event: TextEvent<'_>, now: Now) -> Reaction<TextObservation>;
}

/// What happens to a wrapper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum TextEvent<'a> {
    Start,
    /// The dial of this link succeeded.
    LinkUp(LinkId),
    /// The dial of this link failed.
    DialFailed(LinkId, DialFailure),
    /// A text message came over this link.
    Text(LinkId, &'a str),
    /// A control frame came over this link, which the link itself has answered.
    Control(LinkId),
    LinkDown(LinkId, CloseReason),
    /// Its timer fires, or something else wakes it.
    Wake,
    /// What its heartbeat says is news.
    News,
    /// The source of tokens has another one than the last dial showed.
    TokenChanged,
    /// It is stopped on its machine.
    Stop,
    /// It is stopped by a remote order.
    EndOrdered(EndOrder),
}

/// What is seen of a wrapper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextObservation {
    /// It began to open this link.
    Dialled(LinkId),
    /// It sent a text message.
    Sent(LinkId, String),
    /// It sent a native ping.
    Pinged(LinkId),
    /// It closed this link, or gave up its dial.
    Closed(LinkId, CloseCause),
    /// It shows this status from now on.
    Shown(AgentStatusKind),
    /// It told people something else.
    Noted,
}

/// The subject of a text wrapper: the other end of its links, as far as it writes and reads.
pub(super) struct Texts<W> {
    wrapper: W,
    /// The id of the last hello, which a welcome answers.
    hello: Option<MessageId>,
    /// Frames without content for the machine so far, so that each kind of them has its turn.
    others: usize,
    /// The last probe had no time to echo; what comes back with its pong proves nothing then.
    ping_has_no_time: bool,
}

impl<W> Texts<W> {
    pub(super) const fn new(wrapper: W) -> Self {
        Self { wrapper, hello: None, others: 0, ping_has_no_time: false }
    }

    /// The text that carries a machine's input. `None` is a control frame.
    fn text(&mut self, inbound: AgentInbound, wall: WallTime) -> Option<String> {
        let message = match inbound {
            AgentInbound::HelloAccepted(terms) => ServerToAgent::Ack(self.welcome(terms)),
            AgentInbound::HelloRefused(why) => {
                let code = match why {
                    HelloRefusal::Unauthorized => ErrorCode::Unauthorized,
                    HelloRefusal::Forbidden => ErrorCode::Forbidden,
                    HelloRefusal::Other => ErrorCode::StorageUnavailable,
                };
                ServerToAgent::Error(ErrorReply::new(code, "refused").about(self.hello.clone()))
            }
            AgentInbound::Heartbeat(beat) => ServerToAgent::Heartbeat(heartbeat(beat, wall)),
            AgentInbound::Ping { echo } => {
                self.ping_has_no_time = echo.is_none();
                ServerToAgent::Ping(Ping { timestamp: echo.map(f64::from), sequence: None })
            }
            AgentInbound::Other => {
                self.others += 1;
                match self.others % 5 {
                    0 => return None,
                    // It answers another message than the hello, so it is no welcome.
                    1 => ServerToAgent::Ack(Ack {
                        message_id: Some(MessageId::new("another-message")),
                        success: true,
                        ..Ack::default()
                    }),
                    2 => return Some(r#"{"type":"TIME_TRAVEL","payload":{}}"#.to_string()),
                    3 => ServerToAgent::Pong(Pong::default()),
                    _ => return Some("no message at all".to_string()),
                }
            }
        };
        Some(encode(&MessageId::new("server-1"), wall, &message))
    }

    fn welcome(&self, terms: SessionTerms) -> Ack {
        let admission = Admission {
            agent: AgentId::new("agent"),
            session: SessionId::new("session"),
            epoch: terms.epoch,
            stopped: None,
        };
        let knows = |feature: &&Feature| terms.end_orders || **feature != Feature::EndOrders;
        let features: Vec<Feature> = SERVER_FEATURES.iter().filter(knows).cloned().collect();
        let agreed = Capabilities::negotiate(&features, &features, terms.dialect);
        let rules = SessionRules {
            server_instance: ServerInstanceId::new("server"),
            features,
            output_window: 1 << 20,
        };
        let config = ServerConfig { timing: terms.timing, ..ServerConfig::DEFAULT };
        frames::welcome(self.hello.clone(), agreed, &admission, &rules, &config)
    }

    /// What is seen in a text that the wrapper sent.
    fn observe(&mut self, link: LinkId, text: &str) -> Observation {
        let Ok(envelope) = decode::<AgentToServer>(text, &Limits::DEFAULT) else {
            return Observation::SentUnreadable(link);
        };
        match envelope.message {
            AgentToServer::Connect(_) => {
                self.hello = envelope.id;
                Observation::SentHello(link)
            }
            AgentToServer::Heartbeat(beat) => Observation::SentBeat(link, beat.sequence),
            AgentToServer::Pong(pong) => {
                let echo = pong.timestamp.filter(|_| !self.ping_has_no_time);
                Observation::SentPong(link, echo.map(Into::into))
            }
            // A type that no server knows is no message to it.
            AgentToServer::Unknown(_) => Observation::SentUnreadable(link),
            AgentToServer::Fault(_)
            | AgentToServer::CommandAck(_)
            | AgentToServer::CommandComplete(_)
            | AgentToServer::Output(_)
            | AgentToServer::OutputGap(_)
            | AgentToServer::OutputState(_)
            | AgentToServer::StopReceipt(_)
            | AgentToServer::TerminalOpened(_)
            | AgentToServer::TerminalInputState(_)
            | AgentToServer::TerminalSize(_)
            | AgentToServer::Activity(_)
            | AgentToServer::BlackBox(_)
            | AgentToServer::Trace(_)
            | AgentToServer::Report(_)
            | AgentToServer::Ping(_) => Observation::Noted,
        }
    }
}

fn heartbeat(beat: ServerBeat, wall: WallTime) -> ServerHeartbeat {
    ServerHeartbeat {
        server_time: Some(wall),
        next_ping_expected: None,
        sequence: beat.sequence,
        seen: beat.seen.map(|sequence| SeenBeat { sequence, age_ms: 12 }),
        recorded: beat.recorded.map(|sequence| RecordedBeat { sequence, at: Some(wall) }),
        recording_lag: beat
            .lagging
            .then(|| RecordingLag { age_ms: 16_000, why: "database slow".to_string() }),
        stopped_at: None,
    }
}

impl<W: TextWrapperUnderTest> Subject for Texts<W> {
    type Event = AgentEvent;
    type Output = Observation;

    fn handle(&mut self, event: AgentEvent, now: Now) -> Reaction<Observation> {
        let text;
        let text_event = match event {
            AgentEvent::Start => TextEvent::Start,
            AgentEvent::LinkUp(link) => TextEvent::LinkUp(link),
            AgentEvent::DialFailed(link, why) => TextEvent::DialFailed(link, why),
            AgentEvent::Received(link, inbound) => match self.text(inbound, now.wall) {
                Some(written) => {
                    text = written;
                    TextEvent::Text(link, &text)
                }
                None => TextEvent::Control(link),
            },
            AgentEvent::LinkDown(link, reason) => TextEvent::LinkDown(link, reason),
            AgentEvent::Wake => TextEvent::Wake,
            AgentEvent::News => TextEvent::News,
            AgentEvent::TokenChanged => TextEvent::TokenChanged,
            AgentEvent::Stop => TextEvent::Stop,
            AgentEvent::EndOrdered(order) => TextEvent::EndOrdered(order),
        };
        let Reaction { actions, deadline } = self.wrapper.handle(text_event, now);
        let observe = |seen: &TextObservation| match seen {
            TextObservation::Dialled(link) => Observation::Dialled(*link),
            TextObservation::Sent(link, text) => self.observe(*link, text),
            TextObservation::Pinged(link) => Observation::SentBeat(*link, None),
            TextObservation::Closed(link, cause) => Observation::Closed(*link, *cause),
            TextObservation::Shown(status) => Observation::Shown(*status),
            TextObservation::Noted => Observation::Noted,
        };
        Reaction { actions: actions.iter().map(observe).collect(), deadline }
    }
}

impl<W: TextWrapperUnderTest> AgentSubject for Texts<W> {
    fn observe(output: &Observation) -> Observation {
        *output
    }

    fn phase(&self) -> Option<AgentStatusKind> {
        None
    }

    /// A legacy welcome names neither times nor an epoch.
    fn as_told(event: AgentEvent) -> AgentEvent {
        match event {
            AgentEvent::Received(
                link,
                AgentInbound::HelloAccepted(terms @ SessionTerms { dialect: Dialect::Legacy, .. }),
            ) => {
                let (epoch, timing) = (Default::default(), HeartbeatTiming::DEFAULT);
                let terms = SessionTerms { epoch, timing, end_orders: false, ..terms };
                AgentEvent::Received(link, AgentInbound::HelloAccepted(terms))
            }
            AgentEvent::Received(..)
            | AgentEvent::Start
            | AgentEvent::LinkUp(_)
            | AgentEvent::DialFailed(..)
            | AgentEvent::LinkDown(..)
            | AgentEvent::Wake
            | AgentEvent::News
            | AgentEvent::TokenChanged
            | AgentEvent::Stop
            | AgentEvent::EndOrdered(_) => event,
        }
    }
}
