//! A link accepted by a server, from its hello to its end: the meaning of each frame on it.
//!
//! [`AcceptedLink`] belongs to a link, not to an agent: it is there before anybody knows whose link it
//! is. It decides what is read, deferred or dropped, what the agent's machine gets, and when the link
//! itself has to go. A close that the agent's machine or the owner orders is theirs: what has arrived
//! before it still counts, until the link has ended.
//!
//! A legacy wrapper mistakes the end of any of its links for the end of its current one, and dials. So its unneeded
//! links are parked instead of closed: see `parked.rs`.

use super::edges::AcceptedStatus;
use super::greeting::{Greeting, GreetingEvent, GreetingVerdict, UndecodableQuota};
use super::parked::{Hello, Parked};
use super::server_types::ServerInbound;
use crate::close::CloseCause;
use crate::limits::Limits;
use crate::liveness::{HeartbeatMonitor, Liveness};
use crate::model::{Capabilities, Dialect, HeartbeatTiming};
use crate::step::{Actions, Step};
use crate::time::{Deadline, Now};

/// Texts that are deferred for a link between its hello and its session. Reading is paused as soon as the
/// hello is seen, so only what was on its way can arrive: the inbox of a shard has room for as many.
const MOST_DEFERRED: u32 = 256;

/// One accepted link. It begins when it is accepted, and owes a hello. A
/// [reducer](crate::step#two-contracts).
#[derive(Clone, Copy, Debug)]
pub struct AcceptedLink {
    state: State,
    opening: Opening,
    limits: Limits,
    undecodable: UndecodableQuota,
    capabilities: Capabilities,
}

/// What the request that opened a link said of its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opening {
    /// The request named no agent.
    Anonymous,
    /// It named an agent, as a wrapper's does.
    NamesAgent,
}

/// What becomes of a link that the machine of its agent does not want any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Unwanted {
    Close,
    Park,
}

/// The data of each state.
#[derive(Clone, Copy, Debug)]
enum State {
    Greeting(Greeting),
    /// No hello came; the owner is asked whether the link may be parked.
    Silent,
    Parked(Parked),
    Claimed {
        deferred: u32,
    },
    Joining {
        deferred: u32,
    },
    Live,
    Probe(HeartbeatMonitor),
    Closing,
}

/// The form of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say all")]
pub enum FrameForm {
    Text,
    Binary,
    /// A control frame of the link itself.
    Control,
}

/// What a message is, once it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Reading {
    /// A hello, and what a session with its sender may rely on.
    Hello(Capabilities),
    /// A heartbeat or a pong: only the agent's machine has use for it.
    Beat(ServerInbound),
    Ping,
    /// Something for the owner of the agent.
    Message,
    /// A type that this version does not know.
    Unknown,
    /// It could not be decoded.
    Undecodable,
}

/// What happens to an accepted link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum AcceptedEvent {
    Arrived(FrameForm),
    /// The frame that was to be read was this.
    Read(Reading),
    /// The owner knows whose link it is; a session is being opened.
    Identified,
    /// The owner takes it for a diagnosis connection, to be judged by these times.
    Probing(HeartbeatTiming),
    /// The session began; its welcome was sent.
    Welcomed,
    /// The link is kept beside the one of the session, and judged by these times.
    Parked(HeartbeatTiming),
    /// The owner refuses the hello, or to park a silent link, for this cause. What is to be said of a hello
    /// was said.
    Refused(CloseCause),
    /// The deadline has passed; harmless at any other time.
    Wake,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum AcceptedAction {
    /// Decode the frame, and say what it was by [`AcceptedEvent::Read`].
    Read,
    /// Keep the text until [`Release`](Self::Release).
    Defer,
    /// It has no effect; count it.
    Discard(Discarded),
    /// Stop reading, and ask the owner whose hello it is.
    Identify,
    /// Go on reading. What was deferred comes first.
    Release,
    /// Tell the agent's machine what was heard.
    Hear(ServerInbound),
    /// Ask the owner whether this silent link may be parked.
    AskToPark,
    /// Send a ping of the link itself.
    SendNativePing,
    /// Give the message to the owner of the agent.
    Deliver,
    Pong,
    /// Acknowledge the hello again.
    WelcomeAgain,
    /// Say what was wrong.
    Complain(Complaint),
    Close(CloseCause),
}

/// Why a frame has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Discarded {
    /// It is no hello, and there was none.
    BeforeHello,
    /// Too many came between the hello and the session.
    BeforeSession,
    /// The link is being closed.
    Closing,
}

/// The error that a peer gets before its link is closed or its message dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Complaint {
    /// No hello arrived in time.
    NoHello,
    /// The message cannot be decoded.
    Undecodable,
    /// No binary messages are taken here.
    Binary,
}

impl AcceptedLink {
    /// A link that was accepted now.
    pub fn new(opening: Opening, limits: Limits, now: Now) -> Self {
        Self {
            state: State::Greeting(Greeting::new(now)),
            opening,
            limits,
            undecodable: UndecodableQuota::new(),
            capabilities: Capabilities::LEGACY,
        }
    }

    /// Takes one event.
    pub fn handle(&mut self, event: AcceptedEvent, now: Now) -> Step<AcceptedAction> {
        let mut out = Actions::none();
        match event {
            AcceptedEvent::Arrived(FrameForm::Text) => self.on_text(&mut out),
            AcceptedEvent::Arrived(FrameForm::Binary) => self.on_binary(&mut out),
            // No message: before the session it proves nothing that matters.
            AcceptedEvent::Arrived(FrameForm::Control) => {
                self.heard(ServerInbound::Other, now, &mut out);
            }
            AcceptedEvent::Read(reading) => self.on_reading(reading, now, &mut out),
            AcceptedEvent::Identified => {
                if let State::Claimed { deferred } = self.state {
                    self.state = State::Joining { deferred };
                }
            }
            AcceptedEvent::Probing(timing) => {
                if let State::Claimed { .. } = self.state {
                    self.state = State::Probe(HeartbeatMonitor::new(timing, now.monotonic));
                    out.push(AcceptedAction::Release);
                }
            }
            AcceptedEvent::Welcomed => {
                if let State::Joining { .. } = self.state {
                    self.state = State::Live;
                    out.push(AcceptedAction::Release);
                }
            }
            AcceptedEvent::Parked(timing) => self.park(timing, now, &mut out),
            AcceptedEvent::Refused(cause) => match self.state {
                State::Claimed { .. } => self.close(cause, &mut out),
                State::Silent => {
                    out.push(AcceptedAction::Complain(Complaint::NoHello));
                    self.close(cause, &mut out);
                }
                // A peer that was welcomed is not refused any more, and a closing link is closed once.
                State::Greeting(_)
                | State::Parked(_)
                | State::Joining { .. }
                | State::Live
                | State::Probe(_)
                | State::Closing => {}
            },
            AcceptedEvent::Wake => self.on_wake(now, &mut out),
        }
        Step { actions: out, deadline: self.deadline() }
    }

    fn on_text(&mut self, out: &mut Actions<AcceptedAction>) {
        out.push(match &mut self.state {
            State::Greeting(_)
            | State::Silent
            | State::Parked(_)
            | State::Live
            | State::Probe(_) => AcceptedAction::Read,
            // Whose it is decides what it means, and that is not known yet.
            State::Claimed { deferred } | State::Joining { deferred }
                if *deferred < MOST_DEFERRED =>
            {
                *deferred += 1;
                AcceptedAction::Defer
            }
            State::Claimed { .. } | State::Joining { .. } => {
                AcceptedAction::Discard(Discarded::BeforeSession)
            }
            State::Closing => AcceptedAction::Discard(Discarded::Closing),
        });
    }

    fn on_binary(&mut self, out: &mut Actions<AcceptedAction>) {
        match self.state {
            // Only a session can have agreed on binary messages (P-209).
            State::Live if self.capabilities.output_is_binary() => out.push(AcceptedAction::Read),
            State::Closing => out.push(AcceptedAction::Discard(Discarded::Closing)),
            State::Greeting(_)
            | State::Silent
            | State::Parked(_)
            | State::Claimed { .. }
            | State::Joining { .. }
            | State::Live
            | State::Probe(_) => {
                out.push(AcceptedAction::Complain(Complaint::Binary));
                self.close(CloseCause::UnsupportedData, out);
            }
        }
    }

    fn on_reading(&mut self, reading: Reading, now: Now, out: &mut Actions<AcceptedAction>) {
        if reading == Reading::Undecodable {
            return self.on_undecodable(now, out);
        }
        match &mut self.state {
            State::Greeting(greeting) => match reading {
                Reading::Hello(capabilities) => match greeting.handle(GreetingEvent::Hello, now) {
                    GreetingVerdict::Wait | GreetingVerdict::Identify => {
                        self.capabilities = capabilities;
                        self.state = State::Claimed { deferred: 0 };
                        out.push(AcceptedAction::Identify);
                    }
                    GreetingVerdict::Close(cause) => self.close(cause, out),
                },
                Reading::Beat(_)
                | Reading::Ping
                | Reading::Message
                | Reading::Unknown
                | Reading::Undecodable => {
                    out.push(AcceptedAction::Discard(Discarded::BeforeHello));
                    self.greet(GreetingEvent::Other, now, out);
                }
            },
            State::Silent => self.unheard(reading, out),
            State::Parked(parked) => {
                parked.heard(now);
                match parked.hello {
                    Hello::Owed => self.unheard(reading, out),
                    Hello::Said => match reading {
                        Reading::Hello(_) => out.push(AcceptedAction::WelcomeAgain),
                        Reading::Ping => out.push(AcceptedAction::Pong),
                        Reading::Message => out.push(AcceptedAction::Deliver),
                        // The session is over another link: a beat over this one says nothing of it.
                        Reading::Beat(_) | Reading::Unknown | Reading::Undecodable => {}
                    },
                }
            }
            State::Live | State::Probe(_) => match reading {
                // A hello that is sent again asks for its answer, not for another session.
                Reading::Hello(_) => {
                    out.push(AcceptedAction::WelcomeAgain);
                    self.heard(ServerInbound::Other, now, out);
                }
                Reading::Ping => {
                    out.push(AcceptedAction::Pong);
                    self.heard(ServerInbound::Other, now, out);
                }
                Reading::Beat(inbound) => self.heard(inbound, now, out),
                Reading::Unknown | Reading::Undecodable => {
                    self.heard(ServerInbound::Other, now, out);
                }
                Reading::Message => {
                    self.heard(ServerInbound::Other, now, out);
                    // A diagnosis connection has no agent for which it could say something.
                    if let State::Live = self.state {
                        out.push(AcceptedAction::Deliver);
                    }
                }
            },
            // Nothing is read in these states.
            State::Claimed { .. } | State::Joining { .. } => {
                out.push(AcceptedAction::Discard(Discarded::BeforeSession));
            }
            State::Closing => out.push(AcceptedAction::Discard(Discarded::Closing)),
        }
    }

    /// A link without a hello said something after its time for one: only a hello counts.
    fn unheard(&mut self, reading: Reading, out: &mut Actions<AcceptedAction>) {
        match reading {
            Reading::Hello(capabilities) => {
                self.capabilities = capabilities;
                self.state = State::Claimed { deferred: 0 };
                out.push(AcceptedAction::Identify);
            }
            Reading::Beat(_)
            | Reading::Ping
            | Reading::Message
            | Reading::Unknown
            | Reading::Undecodable => out.push(AcceptedAction::Discard(Discarded::BeforeHello)),
        }
    }

    fn park(&mut self, timing: HeartbeatTiming, now: Now, out: &mut Actions<AcceptedAction>) {
        let hello = match self.state {
            State::Silent => Hello::Owed,
            State::Live => Hello::Said,
            State::Joining { .. } => {
                out.push(AcceptedAction::Release);
                Hello::Said
            }
            // Its hello came in between and decides, or it is parked or closed already.
            State::Greeting(_)
            | State::Parked(_)
            | State::Claimed { .. }
            | State::Probe(_)
            | State::Closing => return,
        };
        self.state = State::Parked(Parked::new(hello, timing, now));
    }

    fn on_undecodable(&mut self, now: Now, out: &mut Actions<AcceptedAction>) {
        match self.state {
            State::Greeting(_)
            | State::Silent
            | State::Parked(_)
            | State::Live
            | State::Probe(_) => {}
            State::Claimed { .. } | State::Joining { .. } => {
                return out.push(AcceptedAction::Discard(Discarded::BeforeSession));
            }
            State::Closing => return out.push(AcceptedAction::Discard(Discarded::Closing)),
        }
        if !self.undecodable.allow(&self.limits, now.monotonic) {
            return self.close(CloseCause::TooManyUndecodable, out);
        }
        out.push(AcceptedAction::Complain(Complaint::Undecodable));
        match self.state {
            State::Greeting(_) => self.greet(GreetingEvent::Other, now, out),
            // Nonsense is not silence.
            State::Live | State::Probe(_) | State::Parked(_) => {
                self.heard(ServerInbound::Other, now, out);
            }
            State::Silent | State::Claimed { .. } | State::Joining { .. } | State::Closing => {}
        }
    }

    fn on_wake(&mut self, now: Now, out: &mut Actions<AcceptedAction>) {
        match &mut self.state {
            State::Greeting(_) => self.greet(GreetingEvent::Wake, now, out),
            State::Probe(monitor) => {
                if monitor.on_wake(now.monotonic).changed == Some(Liveness::TimedOut) {
                    self.close(CloseCause::Silent, out);
                }
            }
            State::Parked(parked) => match parked.wake(now) {
                Some(Liveness::TimedOut) => self.close(CloseCause::Silent, out),
                Some(Liveness::Live | Liveness::Stale) | None => {
                    if parked.ping(now) {
                        out.push(AcceptedAction::SendNativePing);
                    }
                }
            },
            State::Silent
            | State::Claimed { .. }
            | State::Joining { .. }
            | State::Live
            | State::Closing => {}
        }
    }

    fn greet(&mut self, event: GreetingEvent, now: Now, out: &mut Actions<AcceptedAction>) {
        let State::Greeting(greeting) = &mut self.state else { return };
        match greeting.handle(event, now) {
            GreetingVerdict::Wait | GreetingVerdict::Identify => {}
            GreetingVerdict::Close(_)
                if self.opening == Opening::NamesAgent && !greeting.is_overrun() =>
            {
                // Perhaps a spare link of a wrapper, which would dial again for each that is closed (P-236).
                self.state = State::Silent;
                out.push(AcceptedAction::AskToPark);
            }
            GreetingVerdict::Close(cause) => {
                out.push(AcceptedAction::Complain(Complaint::NoHello));
                self.close(cause, out);
            }
        }
    }

    /// A sign of life, for whatever judges it.
    fn heard(&mut self, inbound: ServerInbound, now: Now, out: &mut Actions<AcceptedAction>) {
        match &mut self.state {
            State::Live => out.push(AcceptedAction::Hear(inbound)),
            State::Probe(monitor) => {
                let _only_silence_ends_a_probe = monitor.on_received(now.monotonic);
            }
            State::Parked(parked) => parked.heard(now),
            State::Greeting(_)
            | State::Silent
            | State::Claimed { .. }
            | State::Joining { .. }
            | State::Closing => {}
        }
    }

    fn close(&mut self, cause: CloseCause, out: &mut Actions<AcceptedAction>) {
        self.state = State::Closing;
        out.push(AcceptedAction::Close(cause));
    }

    /// Where the link is.
    pub const fn status(&self) -> AcceptedStatus {
        match self.state {
            State::Greeting(_) | State::Silent => AcceptedStatus::Greeting,
            State::Parked(_) => AcceptedStatus::Parked,
            State::Claimed { .. } => AcceptedStatus::Claimed,
            State::Joining { .. } => AcceptedStatus::Joining,
            State::Live => AcceptedStatus::Live,
            State::Probe(_) => AcceptedStatus::Probe,
            State::Closing => AcceptedStatus::Closing,
        }
    }

    /// What is to become of this link when the machine of its agent closes it for this cause.
    pub const fn when_closed_for(&self, cause: CloseCause) -> Unwanted {
        // The causes with which a newer link takes over from one of a wrapper.
        let taken_over = matches!(cause, CloseCause::Superseded | CloseCause::Normal);
        match self.capabilities.dialect() {
            Dialect::Legacy if taken_over => Unwanted::Park,
            Dialect::Legacy | Dialect::Extended => Unwanted::Close,
        }
    }

    /// What a session over this link may rely on; a legacy peer's until a hello said more.
    pub const fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// When to call with [`AcceptedEvent::Wake`].
    pub fn deadline(&self) -> Deadline {
        match &self.state {
            State::Greeting(greeting) => greeting.deadline(),
            State::Probe(monitor) => monitor.deadline(),
            State::Parked(parked) => parked.deadline(),
            // The agent's machine and the owner have deadlines of their own.
            State::Silent
            | State::Claimed { .. }
            | State::Joining { .. }
            | State::Live
            | State::Closing => Deadline::Never,
        }
    }
}
