//! Orders about an agent's work: an emergency stop, its release, a pause. They are told to a wrapper that reads and
//! writes texts, and it has to show in its texts that it obeyed.
//!
//! Two stories in virtual time, without chance. What is judged depends on what the wrapper said in its hello: one that
//! offers `stop-latch` promises to confirm stops, one that offers `command-reports` takes commands and must not start
//! them while it is paused. One that offers neither promises nothing, and a server tells people so.

use super::text::{TextEvent, TextObservation, TextWrapperUnderTest};
use crate::close::{Breakage, CloseReason};
use crate::id::{
    AgentId, BeatSequence, CommandId, Epoch, LinkId, MessageId, ServerInstanceId, SessionId, StopId,
};
use crate::lab::Invariant;
use crate::lab::kit::Violation;
use crate::limits::Limits;
use crate::model::{
    Capabilities, CommandAckStatus, CommandPhase, Dialect, Feature, SERVER_FEATURES, StopStage,
};
use crate::session::ServerConfig;
use crate::session::frames::{self, Admission, SessionRules};
use crate::time::{Deadline, Now, Timestamp};
use crate::wire::payload::{
    AgentControl, AgentExtensions, CommandRequest, ControlAction, EmergencyStop, SeenBeat,
    ServerHeartbeat, StopRelease,
};
use crate::wire::{AgentToServer, ServerToAgent, decode, encode};
use core::time::Duration;
use std::string::{String, ToString};
use std::vec::Vec;

/// How long a wrapper may take to confirm a stop when nothing runs.
const CONFIRMS_WITHIN: Duration = Duration::from_secs(10);
/// How long it may take to say that it is paused: one interval of heartbeats, and as long as a beat may be late.
const SHOWS_WITHIN: Duration = Duration::from_secs(31);
/// How long it is watched for whether it starts something.
const WATCHED_FOR: Duration = Duration::from_secs(60);
/// Wake-ups until a wrapper has dialled; many more than its backoff takes.
const MOST_WAKES: usize = 64;

/// What a wrapper offered in its hello, and so was judged for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promised {
    /// It confirms emergency stops (`stop-latch`).
    pub stops: bool,
    /// It takes commands (`command-reports`), and so obeys a pause.
    pub commands: bool,
}

/// Gives orders to a wrapper, and says what it was judged for.
///
/// # Panics
///
/// If it does not do what it offered.
#[track_caller]
#[allow(clippy::panic, reason = "how a test fails")]
pub fn check_orders<W: TextWrapperUnderTest>(make: impl Fn() -> W) -> Promised {
    match check_orders_with(make) {
        Ok(promised) => promised,
        Err(violation) => panic!("{violation}"),
    }
}

/// The same, with the violation as a value.
///
/// # Errors
/// It does not do what it offered.
pub fn check_orders_with<W: TextWrapperUnderTest>(
    make: impl Fn() -> W,
) -> Result<Promised, Violation> {
    let promised = stop(Stage::new(make()))?;
    if promised.commands {
        pause(Stage::new(make()))?;
    }
    Ok(promised)
}

fn stop<W: TextWrapperUnderTest>(mut stage: Stage<W>) -> Result<Promised, Violation> {
    let promised = stage.joins(None)?;
    if !promised.stops {
        return Ok(promised);
    }
    let stop = StopId::new("stop-1");
    let order = EmergencyStop {
        stop_id: Some(stop.clone()),
        reason: Some("tried by the kit".to_string()),
        ..EmergencyStop::default()
    };
    let is_verified = |message: &AgentToServer| matches!(message, AgentToServer::StopReceipt(r) if r.stop_id == stop && r.stage == StopStage::Verified);
    // The server repeats it until it is verified, and each repetition is answered.
    for _ in 0..2 {
        stage.told(&ServerToAgent::EmergencyStop(order.clone()));
        if !stage.passes(CONFIRMS_WITHIN, is_verified) {
            return stage
                .blame(Invariant::StopIsConfirmed, "STOP_RECEIPT with VERIFIED, as nothing runs");
        }
    }
    if promised.commands {
        stage.starts_nothing("stopped")?;
    }
    stage.loses_its_link();
    let _ = stage.joins(Some(stop.clone()))?;
    let named = stage.hello.as_ref().and_then(|hello| hello.stop_id.as_ref());
    if named != Some(&stop) {
        return stage
            .blame(Invariant::StopOutlivesTheLink, "a hello that names the stop in `stopId`");
    }
    stage.told(&ServerToAgent::StopRelease(StopRelease { stop_id: stop }));
    let _ = stage.passes(CONFIRMS_WITHIN, |_| false);
    stage.loses_its_link();
    let _ = stage.joins(None)?;
    if stage.hello.as_ref().is_some_and(|hello| hello.stop_id.is_some()) {
        return stage
            .blame(Invariant::StopOutlivesTheLink, "a hello without a stop, as it was released");
    }
    Ok(promised)
}

fn pause<W: TextWrapperUnderTest>(mut stage: Stage<W>) -> Result<(), Violation> {
    let _ = stage.joins(None)?;
    for (action, paused) in [(ControlAction::Pause, true), (ControlAction::Resume, false)] {
        stage.told(&ServerToAgent::Control(AgentControl {
            agent_id: None,
            action,
            reason: None,
            graceful_shutdown: None,
            timeout: None,
            size: None,
        }));
        let says = |message: &AgentToServer| matches!(message, AgentToServer::Heartbeat(beat) if beat.paused == paused);
        if !stage.passes(SHOWS_WITHIN, says) {
            let expected = match paused {
                true => "a heartbeat that says `paused`",
                false => "a heartbeat that does not say `paused` any more",
            };
            return stage.blame(Invariant::PauseShows, expected);
        }
        if paused {
            stage.starts_nothing("paused")?;
        }
    }
    Ok(())
}

/// A wrapper, its server and its clock.
struct Stage<W> {
    wrapper: W,
    at: Duration,
    deadline: Deadline,
    link: LinkId,
    hello_id: Option<MessageId>,
    hello: Option<AgentExtensions>,
    /// What it sent and was not looked at yet.
    sent: Vec<AgentToServer>,
    beats: u64,
    sessions: u64,
    commands: u64,
    last_input: String,
}

impl<W: TextWrapperUnderTest> Stage<W> {
    fn new(wrapper: W) -> Self {
        let mut stage = Self {
            wrapper,
            at: Duration::ZERO,
            deadline: Deadline::Never,
            link: LinkId(0),
            hello_id: None,
            hello: None,
            sent: Vec::new(),
            beats: 0,
            sessions: 0,
            commands: 0,
            last_input: String::new(),
        };
        stage.feed(TextEvent::Start);
        stage
    }

    fn now(&self) -> Now {
        Now::without_suspend(self.at)
    }

    /// What its server says in answer comes at once.
    fn feed(&mut self, event: TextEvent<'_>) {
        let mut answers = self.hears(event);
        while let Some(answer) = answers.pop() {
            let text = self.text(&answer);
            answers.append(&mut self.hears(TextEvent::Text(self.link, &text)));
        }
    }

    fn hears(&mut self, event: TextEvent<'_>) -> Vec<ServerToAgent> {
        let reaction = self.wrapper.handle(event, self.now());
        self.deadline = reaction.deadline;
        let mut answers = Vec::new();
        for seen in reaction.actions {
            match seen {
                TextObservation::Dialled(link) => self.link = link,
                TextObservation::Sent(link, text) if link == self.link => {
                    let Ok(envelope) = decode::<AgentToServer>(&text, &Limits::DEFAULT) else {
                        continue;
                    };
                    if let AgentToServer::Connect(hello) = &envelope.message {
                        self.hello_id = envelope.id;
                        self.hello = hello.extensions.clone();
                    }
                    if let AgentToServer::Heartbeat(beat) = &envelope.message {
                        answers.push(self.answer(beat.sequence));
                    }
                    self.sent.push(envelope.message);
                }
                TextObservation::Sent(..)
                | TextObservation::Pinged(_)
                | TextObservation::Closed(..)
                | TextObservation::Shown(_)
                | TextObservation::Noted => {}
            }
        }
        answers
    }

    fn answer(&mut self, seen: Option<BeatSequence>) -> ServerToAgent {
        self.beats += 1;
        ServerToAgent::Heartbeat(ServerHeartbeat {
            server_time: None,
            next_ping_expected: None,
            sequence: Some(BeatSequence(self.beats)),
            seen: seen.map(|sequence| SeenBeat { sequence, age_ms: 1 }),
            recorded: None,
            recording_lag: None,
            stopped_at: None,
        })
    }

    fn text(&self, message: &ServerToAgent) -> String {
        encode(&MessageId::new("server-1"), self.now().wall, message)
    }

    /// Its server says this.
    fn told(&mut self, message: &ServerToAgent) {
        let text = self.text(message);
        self.last_input = text.clone();
        self.sent.clear();
        self.feed(TextEvent::Text(self.link, &text));
    }

    /// Time passes until it has sent such a message, or so much has passed; whether it has.
    fn passes(&mut self, time: Duration, mut is_it: impl FnMut(&AgentToServer) -> bool) -> bool {
        let end = Timestamp::from_origin(self.at.saturating_add(time));
        loop {
            if self.sent.drain(..).any(|message| is_it(&message)) {
                return true;
            }
            match self.deadline {
                Deadline::At(at) if at <= end => {
                    self.at = self.at.max(at.since_origin());
                    self.feed(TextEvent::Wake);
                }
                Deadline::At(_) | Deadline::Never => {
                    self.at = end.since_origin();
                    return false;
                }
            }
        }
    }

    fn loses_its_link(&mut self) {
        let lost = CloseReason::broken(Breakage::EndOfStream);
        self.feed(TextEvent::LinkDown(self.link, lost));
    }

    /// It dials, says hello and is welcomed.
    fn joins(&mut self, stopped: Option<StopId>) -> Result<Promised, Violation> {
        let before = core::mem::take(&mut self.hello_id);
        let mut opened = before.as_ref().map(|_| self.link);
        for _ in 0..MOST_WAKES {
            if opened != Some(self.link) && self.link != LinkId(0) {
                opened = Some(self.link);
                self.feed(TextEvent::LinkUp(self.link));
            }
            if self.hello_id.is_some() {
                break;
            }
            let Deadline::At(at) = self.deadline else { break };
            self.at = self.at.max(at.since_origin());
            self.feed(TextEvent::Wake);
        }
        if self.hello_id.is_none() {
            return self.blame(Invariant::HelloGoesFirst, "a dial, and a hello on its link");
        }
        self.sessions += 1;
        let features = self.hello.as_ref().map_or(&[][..], |hello| &hello.features);
        let dialect = match self.hello {
            Some(_) => Dialect::Extended,
            None => Dialect::Legacy,
        };
        let agreed = Capabilities::negotiate(features, SERVER_FEATURES, dialect);
        let promised = Promised {
            stops: features.contains(&Feature::StopLatch),
            commands: features.contains(&Feature::CommandReports),
        };
        let admission = Admission {
            agent: AgentId::new("agent"),
            session: SessionId::new("session"),
            epoch: Epoch(self.sessions),
            stopped,
        };
        let rules = SessionRules {
            server_instance: ServerInstanceId::new("server"),
            features: SERVER_FEATURES.to_vec(),
            output_window: 1 << 20,
        };
        let config = ServerConfig::DEFAULT;
        let welcome = frames::welcome(self.hello_id.clone(), agreed, &admission, &rules, &config);
        self.told(&ServerToAgent::Ack(welcome));
        Ok(promised)
    }

    /// A command comes anyway, as one may that was on its way. Nothing of it may run.
    fn starts_nothing(&mut self, why: &str) -> Result<(), Violation> {
        self.commands += 1;
        let command = CommandId::new(std::format!("cmd-{}", self.commands));
        let request = CommandRequest::new(command.clone(), AgentId::new("agent"), "true");
        self.told(&ServerToAgent::CommandRequest(request));
        let runs = |message: &AgentToServer| {
            let is_it = message.command() == Some(&command);
            let began = matches!(message, AgentToServer::CommandAck(ack) if ack.status == CommandAckStatus::Executing);
            let ended = matches!(message, AgentToServer::CommandComplete(end) if end.status == CommandPhase::Completed);
            is_it && (began || ended || matches!(message, AgentToServer::Output(_)))
        };
        if self.passes(WATCHED_FOR, runs) {
            let expected = std::format!("no sign of a run, as the agent is {why}");
            return self.blame(Invariant::NothingStartsUnderAnOrder, &expected);
        }
        Ok(())
    }

    fn blame<T>(&self, invariant: Invariant, expected: &str) -> Result<T, Violation> {
        let happened = match self.sent.last() {
            Some(message) => std::format!("{message:?}"),
            None => "nothing of the kind".to_string(),
        };
        Err(Violation {
            invariant,
            at: self.at,
            input: self.last_input.clone(),
            expected: expected.to_string(),
            happened,
        })
    }
}
