//! Wrappers that read and write the texts themselves: ours, and what others got wrong.

use onsembl_protocol::id::{AgentKey, Epoch, InstanceId, LinkId};
use onsembl_protocol::lab::kit::agent::{
    self, Rules, TextEvent, TextObservation, TextWrapperUnderTest,
};
use onsembl_protocol::lab::kit::{Invariant, Plan, Reaction};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::{AGENT_FEATURES, Dialect, HeartbeatTiming};
use onsembl_protocol::session::frames::{AgentFrames, AgentProfile, AgentRead, FromServer};
use onsembl_protocol::session::{
    AgentAction, AgentConfig, AgentConnection, AgentEvent, AgentInbound, AgentStatus, SessionTerms,
};
use onsembl_protocol::time::{Deadline, Now};
use onsembl_protocol::wire::payload::{AgentType, HealthMetrics};

/// What a wrapper can get wrong when it reads the texts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextBug {
    None,
    /// It takes an acknowledgement for a welcome while it knows of no session, and does not forget the
    /// session when the link is lost: after a restart of the server it is joining forever.
    RemembersTheSession,
    /// It answers a probe with a type of its own.
    InventsATypeForPongs,
    /// It passes on only what it has a use for.
    DropsWhatItDoesNotKnow,
    /// It takes the answer to any message for that to its hello.
    TakesAnyAckForAWelcome,
    /// It has one clock, which stands still while the host sleeps, and says that it is both.
    HasNoBootClock,
}

pub(crate) struct TextWrapper {
    bug: TextBug,
    machine: AgentConnection,
    pub(crate) frames: AgentFrames,
    has_session: bool,
    deadline: Deadline,
    /// What the last text was besides a sign of life.
    pub(crate) content: Option<FromServer>,
}

impl TextWrapper {
    pub(crate) fn new(bug: TextBug) -> Self {
        let profile = {
            let mut it = AgentProfile::new("dev", AgentKey::new("key"), InstanceId::new("run"));
            it.agent_type = AgentType::Custom;
            it.version = "1".into();
            it.host = "box".into();
            it.features = AGENT_FEATURES.to_vec();
            it
        };
        Self {
            bug,
            machine: AgentConnection::new(AgentConfig::DEFAULT, 7),
            frames: AgentFrames::new(profile, Limits::DEFAULT),
            has_session: false,
            deadline: Deadline::Never,
            content: None,
        }
    }

    pub(crate) const fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// What the wrapper makes of a text; `None` if it makes nothing of it.
    fn read(&mut self, link: LinkId, text: &str, now: Now) -> Option<AgentInbound> {
        let AgentRead { inbound, content } = self.frames.read(link, text, now.wall);
        self.content = Some(content.clone());
        match (self.bug, content) {
            (TextBug::TakesAnyAckForAWelcome, FromServer::Nothing)
                if text.contains("\"ACK\"") && self.machine.status() == AgentStatus::Joining =>
            {
                Some(AgentInbound::HelloAccepted(SessionTerms {
                    dialect: Dialect::Legacy,
                    epoch: Epoch::default(),
                    timing: HeartbeatTiming::DEFAULT,
                    end_orders: false,
                }))
            }
            (TextBug::RemembersTheSession, FromServer::Joined(..)) => {
                let known = std::mem::replace(&mut self.has_session, true);
                Some(if known { AgentInbound::Other } else { inbound })
            }
            (TextBug::DropsWhatItDoesNotKnow, FromServer::Unknown(_)) => None,
            _ => Some(inbound),
        }
    }
}

impl TextWrapperUnderTest for TextWrapper {
    fn handle(&mut self, event: TextEvent<'_>, now: Now) -> Reaction<TextObservation> {
        let now = match self.bug {
            TextBug::HasNoBootClock => Now { boot: now.monotonic, ..now },
            _ => now,
        };
        let event = match event {
            TextEvent::Start => AgentEvent::Start,
            TextEvent::LinkUp(link) => AgentEvent::LinkUp(link),
            TextEvent::DialFailed(link, why) => AgentEvent::DialFailed(link, why),
            TextEvent::Text(link, text) => match self.read(link, text, now) {
                Some(inbound) => AgentEvent::Received(link, inbound),
                None => return Reaction { actions: Vec::new(), deadline: self.deadline },
            },
            TextEvent::Control(link) => AgentEvent::Received(link, AgentInbound::Other),
            TextEvent::LinkDown(link, reason) => AgentEvent::LinkDown(link, reason),
            TextEvent::Wake => AgentEvent::Wake,
            TextEvent::News => AgentEvent::News,
            TextEvent::TokenChanged => AgentEvent::TokenChanged,
            TextEvent::Stop => AgentEvent::Stop,
            TextEvent::EndOrdered(order) => AgentEvent::EndOrdered(order),
        };
        let step = self.machine.handle(event, now);
        let mut actions = Vec::new();
        for action in step.actions {
            let written = self.frames.outgoing(&action, now.wall, HealthMetrics::default);
            if let Some((link, text)) = written {
                let mut text = text.to_owned();
                if self.bug == TextBug::InventsATypeForPongs {
                    text = text.replace("\"PONG\"", "\"PROBE_ANSWER\"");
                }
                actions.push(TextObservation::Sent(link, text));
            }
            match action {
                AgentAction::Dial(link) => actions.push(TextObservation::Dialled(link)),
                AgentAction::Probe(link) => actions.push(TextObservation::Pinged(link)),
                AgentAction::Close(link, cause) => {
                    actions.push(TextObservation::Closed(link, cause));
                }
                AgentAction::Report(report) => {
                    actions.push(TextObservation::Shown(report.status.kind()));
                }
                AgentAction::SendHello(_)
                | AgentAction::SendBeat { .. }
                | AgentAction::SendPong { .. } => {}
                AgentAction::Impaired(_) | AgentAction::Overslept(_) => {
                    actions.push(TextObservation::Noted);
                }
            }
        }
        self.deadline = step.deadline;
        Reaction { actions, deadline: step.deadline }
    }
}

#[test]
fn our_frames_and_our_agent_keep_every_invariant() {
    let wrapper = || TextWrapper::new(TextBug::None);
    agent::check_text_wrapper_with(&Plan::new(3_000, 1), Rules::DEFAULT, wrapper).unwrap();
}

#[test]
fn each_bug_in_the_reading_of_texts_is_found_by_the_invariant_of_its_name() {
    use Invariant as I;
    let expected: [(TextBug, &[Invariant]); 5] = [
        (TextBug::TakesAnyAckForAWelcome, &[I::NoChangeWithoutReason, I::HelloGoesFirst]),
        // Its deadlines are late by the sleep, too.
        (TextBug::HasNoBootClock, &[I::SleepIsNoticed, I::ComesBack]),
        (TextBug::RemembersTheSession, &[I::AcceptedIsConnected, I::BeatsEveryInterval]),
        (TextBug::InventsATypeForPongs, &[I::SentCanBeRead]),
        // A text that comes at the very deadline and is dropped leaves that deadline as it was.
        (
            TextBug::DropsWhatItDoesNotKnow,
            &[I::AnyFrameProvesLife, I::SilentPeerGoesStaleExactly, I::DeadlineAfterNow],
        ),
    ];
    for (bug, names) in expected {
        let (mut cases, mut steps) = (0, 0);
        for seed in 0..8 {
            let plan = Plan::new(500, seed * 1000);
            let wrapper = || TextWrapper::new(bug);
            let found = agent::check_text_wrapper_with(&plan, Rules::DEFAULT, wrapper);
            let failure = found.expect_err(&format!("{bug:?} was not found"));
            let name = failure.violation.invariant;
            assert!(names.contains(&name), "{bug:?} was found as\n{failure}");
            // Each kind of frame has its turn, so it may take a few until the one that matters.
            assert!(failure.script.steps.len() <= 9, "{failure}");
            cases += failure.cases;
            steps += failure.script.steps.len();
        }
        let (cases, steps) = (f64::from(cases) / 8.0, steps as f64 / 8.0);
        println!("{bug:?}: {cases} scripts, shrunk to {steps} steps on average");
    }
}
