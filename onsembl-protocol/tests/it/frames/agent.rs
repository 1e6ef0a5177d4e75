//! The agent's end, driven by its machine, with the texts of a server.

use crate::support::now;
use onsembl_protocol::close::{Breakage, CloseReason};
use onsembl_protocol::id::{
    AgentId, AgentKey, BeatSequence, Epoch, InstanceId, LinkId, MessageId, ServerInstanceId,
    SessionId,
};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::liveness::{HeartbeatTiming, InvalidTiming};
use onsembl_protocol::model::{AGENT_FEATURES, Capabilities, Dialect, Pausing, SERVER_FEATURES};
use onsembl_protocol::session::frames::{
    self, Admission, AgentFrames, AgentProfile, AgentRead, FromServer, SessionRules,
};
use onsembl_protocol::session::{
    AgentAction, AgentConfig, AgentConnection, AgentEvent, AgentInbound, HelloRefusal, ServerBeat,
    ServerConfig,
};
use onsembl_protocol::time::Deadline;
use onsembl_protocol::wire::payload::{
    Ack, AgentType, CommandPhase, ErrorCode, ErrorReply, HealthMetrics, RecordedBeat, SeenBeat,
    ServerHeartbeat,
};
use onsembl_protocol::wire::{AgentToServer, ServerToAgent, decode, encode};
use std::time::Duration;

pub(super) fn profile() -> AgentProfile {
    let mut it = AgentProfile::new("dev", AgentKey::new("key"), InstanceId::new("run"));
    it.agent_type = AgentType::Custom;
    it.version = "1".into();
    it.host = "box".into();
    it.features = AGENT_FEATURES.to_vec();
    it
}

pub(super) fn rules() -> SessionRules {
    SessionRules::new(ServerInstanceId::new("server"), SERVER_FEATURES.to_vec())
        .with_output_window(1 << 16)
}

/// A text of the server.
fn text(message: &ServerToAgent) -> String {
    encode(&MessageId::new("m"), now(Duration::ZERO).wall, message)
}

fn welcome(epoch: u64) -> Ack {
    let admission = Admission::new(AgentId::new("taught"), SessionId::new("s"), Epoch(epoch));
    let agreed = Capabilities::negotiate(SERVER_FEATURES, AGENT_FEATURES, Dialect::Extended);
    frames::welcome(None, agreed, &admission, &rules(), &ServerConfig::DEFAULT)
}

/// A driver without a network: what it sends is kept as texts.
struct Agent {
    machine: AgentConnection,
    frames: AgentFrames,
    at: Duration,
    deadline: Deadline,
    dialled: LinkId,
    sent: Vec<String>,
}

impl Agent {
    fn new() -> Self {
        let mut agent = Self {
            machine: AgentConnection::new(AgentConfig::DEFAULT, 3),
            frames: AgentFrames::new(profile(), Limits::DEFAULT),
            at: Duration::ZERO,
            deadline: Deadline::Never,
            dialled: LinkId(0),
            sent: Vec::new(),
        };
        agent.feed(AgentEvent::Start);
        agent
    }

    fn feed(&mut self, event: AgentEvent) {
        let at = now(self.at);
        let step = self.machine.handle(event, at);
        self.deadline = step.deadline;
        for action in step.actions {
            if let AgentAction::Dial(link) = action {
                self.dialled = link;
            }
            let written = self.frames.outgoing(&action, at.wall, HealthMetrics::default);
            if let Some((link, text)) = written {
                assert_eq!(link, self.dialled);
                self.sent.push(text.to_owned());
            }
        }
    }

    fn wake(&mut self) {
        let Deadline::At(at) = self.deadline else { panic!("nothing is due") };
        self.at = at.since_origin();
        self.feed(AgentEvent::Wake);
    }

    fn link_up(&mut self) {
        while self.status() != "connecting" {
            self.wake();
        }
        self.feed(AgentEvent::LinkUp(self.dialled));
    }

    fn hear(&mut self, text: &str) -> FromServer {
        let AgentRead { inbound, content } =
            self.frames.read(self.dialled, text, now(self.at).wall);
        self.feed(AgentEvent::Received(self.dialled, inbound));
        content
    }

    fn joined(epoch: u64) -> Self {
        let mut agent = Self::new();
        agent.link_up();
        let content = agent.hear(&text(&ServerToAgent::Ack(welcome(epoch))));
        assert!(matches!(content, FromServer::Joined(..)), "{content:?}");
        agent
    }

    fn status(&self) -> &'static str {
        self.machine.status().as_str()
    }

    fn messages(&self) -> Vec<AgentToServer> {
        let read = |text: &String| decode(text, &Limits::DEFAULT).unwrap().message;
        self.sent.iter().map(read).collect()
    }
}

#[test]
fn an_agent_whose_server_was_restarted_takes_the_next_welcome_for_what_it_is() {
    let mut agent = Agent::joined(1);
    assert_eq!(agent.status(), "connected");
    assert_eq!(agent.frames.session().map(|s| s.epoch), Some(Epoch(1)));
    for epoch in 2..5 {
        agent.feed(AgentEvent::LinkDown(agent.dialled, CloseReason::broken(Breakage::Reset)));
        assert!(agent.frames.session().is_none(), "no session without a link");
        agent.link_up();
        assert_eq!(agent.status(), "joining");
        let content = agent.hear(&text(&ServerToAgent::Ack(welcome(epoch))));
        assert!(matches!(content, FromServer::Joined(..)), "{content:?}");
        assert_eq!(agent.status(), "connected");
    }
    let hellos = agent.messages().into_iter().filter_map(|message| match message {
        AgentToServer::Connect(hello) => Some(hello.agent_id),
        _ => None,
    });
    assert_eq!(hellos.collect::<Vec<_>>(), ["key", "taught", "taught", "taught"]);
}

#[test]
fn an_acknowledgement_within_a_session_is_no_welcome() {
    let mut agent = Agent::joined(1);
    let ack = ServerToAgent::Ack(welcome(9));
    assert_eq!(agent.hear(&text(&ack)), FromServer::Message(Box::new(ack)));
    assert_eq!(agent.frames.session().map(|s| s.epoch), Some(Epoch(1)));
}

#[test]
fn what_comes_before_the_welcome_has_no_effect_but_is_a_sign_of_life() {
    let mut agent = Agent::new();
    agent.link_up();
    let other = ServerToAgent::Ack(Ack {
        message_id: Some(MessageId::new("of something else")),
        success: true,
        ..Ack::default()
    });
    assert_eq!(agent.hear(&text(&other)), FromServer::Nothing);
    let order = r#"{"type":"EMERGENCY_STOP","payload":{}}"#;
    assert_eq!(agent.hear(order), FromServer::BeforeSession);
    assert_eq!(agent.status(), "joining");
}

#[test]
fn the_code_of_an_error_says_whether_an_agent_may_come_back() {
    let refusals = [
        (ErrorCode::Unauthorized, HelloRefusal::Unauthorized, "reconnecting"),
        (ErrorCode::AuthTimeout, HelloRefusal::Unauthorized, "reconnecting"),
        (ErrorCode::Forbidden, HelloRefusal::Forbidden, "closed"),
        (ErrorCode::StorageUnavailable, HelloRefusal::Other, "reconnecting"),
        (ErrorCode::Unknown("NEW".into()), HelloRefusal::Other, "reconnecting"),
    ];
    for (code, refusal, status) in refusals {
        assert_eq!(frames::hello_refusal(&code), refusal);
        let mut agent = Agent::new();
        agent.link_up();
        let error = ErrorReply::new(code, "no");
        let content = agent.hear(&text(&ServerToAgent::Error(error.clone())));
        assert_eq!(content, FromServer::Refused(error));
        assert_eq!(agent.status(), status);
    }
}

#[test]
fn times_that_cannot_be_are_told_and_replaced_by_the_defaults() {
    let mut ack = welcome(1);
    ack.extensions.as_mut().unwrap().timing.timeout_after_ms = 1;
    let mut frames = AgentFrames::new(profile(), Limits::DEFAULT);
    let wall = now(Duration::ZERO).wall;
    let link = LinkId(1);
    assert!(frames.outgoing(&AgentAction::SendHello(link), wall, HealthMetrics::default).is_some());
    let read = frames.read(link, &text(&ServerToAgent::Ack(ack)), wall);
    let AgentInbound::HelloAccepted(terms) = read.inbound else { panic!("{read:?}") };
    assert_eq!(terms.timing, HeartbeatTiming::DEFAULT);
    let FromServer::Joined(_, wrong) = read.content else { panic!("not joined") };
    assert_eq!(wrong, Some(InvalidTiming::TimeoutNotAfterStale));
}

#[test]
fn a_legacy_server_names_the_agent_or_the_message_and_nothing_else() {
    for ack in [
        Ack { success: true, agent_id: Some(AgentId::new("taught")), ..Ack::default() },
        Ack { success: true, message_id: Some(MessageId::new("run-1")), ..Ack::default() },
    ] {
        let mut agent = Agent::new();
        agent.link_up();
        let FromServer::Joined(session, None) = agent.hear(&text(&ServerToAgent::Ack(ack))) else {
            panic!("not joined")
        };
        assert_eq!(session.capabilities, Capabilities::LEGACY);
        assert_eq!(agent.status(), "connected");
    }
}

#[test]
fn a_heartbeat_says_what_was_seen_and_whether_the_agent_is_paused() {
    let mut agent = Agent::joined(1);
    let beat = ServerHeartbeat {
        sequence: Some(BeatSequence(7)),
        seen: Some(SeenBeat { sequence: BeatSequence(1), age_ms: 3 }),
        recorded: Some(RecordedBeat { sequence: BeatSequence(1), at: None }),
        ..ServerHeartbeat::default()
    };
    let expected = ServerBeat {
        sequence: Some(BeatSequence(7)),
        seen: Some(BeatSequence(1)),
        recorded: Some(BeatSequence(1)),
        lagging: false,
    };
    assert_eq!(ServerBeat::of(&beat), expected);
    let content = agent.hear(&text(&ServerToAgent::Heartbeat(beat.clone())));
    assert_eq!(content, FromServer::Heartbeat(Box::new(beat)));
    assert!(
        agent.frames.set_pausing(Pausing::Paused) && !agent.frames.set_pausing(Pausing::Paused)
    );
    agent.feed(AgentEvent::News);
    let Some(AgentToServer::Heartbeat(last)) = agent.messages().pop() else { panic!("no beat") };
    assert_eq!(last.seen.map(|seen| seen.sequence), Some(BeatSequence(7)));
    assert!(last.paused && last.sequence == Some(BeatSequence(2)), "{last:?}");
    assert_eq!(last.agent_id, Some(AgentId::new("taught")));
}

#[test]
fn a_command_that_cannot_be_read_failed_and_other_nonsense_gets_no_reply() {
    let mut agent = Agent::joined(1);
    let request = r#"{"type":"COMMAND_REQUEST","payload":{"commandId":"c-1"}}"#;
    let FromServer::Undecodable(_, Some(reply)) = agent.hear(request) else { panic!("no reply") };
    let AgentToServer::CommandComplete(report) = *reply else { panic!("{reply:?}") };
    assert_eq!((report.command_id.as_str(), report.status), ("c-1", CommandPhase::Failed));
    for nonsense in ["", "{}", r#"{"type":"COMMAND_CANCEL","payload":{"commandId":7}}"#] {
        let content = agent.hear(nonsense);
        assert!(matches!(content, FromServer::Undecodable(_, None)), "{content:?}");
    }
    assert_eq!(agent.status(), "connected");
}
