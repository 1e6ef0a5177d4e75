//! No event looks at more the more there is: each kind of event is handed to a small fleet and to a large one,
//! and the elements of collections that it looks at are counted.

use super::collections::counted::take_steps;
use super::*;
use crate::close::{CloseCause, CloseReason};
use crate::id::{
    AgentKey, ByteOffset, ChunkSequence, CommandId, Epoch, Incarnation, InstanceId, JournalId,
    LinkId, PresenceVersion, SessionId, StopId,
};
use crate::model::{
    AGENT_FEATURES, Capabilities, Dialect, Pausing, SERVER_FEATURES, StopScope, Stream,
};
use crate::session::{Presence, PresenceCause, PresenceStatus, StatusCause};
use crate::time::WallTime;
use crate::wire::ServerToAgent;
use crate::wire::payload::{
    AgentConnect, AgentExtensions, AgentType, CommandRequest, EmergencyStop, HealthMetrics,
    LegacyCapabilities, OutputContent, StreamType, TerminalOutput,
};
use alloc::borrow::ToOwned as _;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

const FEW: usize = 10;
const MANY: usize = 10_000;
/// A search in 10,000 looks at 11 more than one in 10, and an event searches some dozen times at most.
const MORE_AT_MOST: u64 = 400;

struct World {
    fleet: Fleet,
    now: Now,
    /// The agent that things happen to.
    agent: AgentId,
    seat: SeatId,
    session: SessionId,
    /// Of all agents in session.
    seats: Vec<SeatId>,
    reports: Vec<StopReport>,
    next: u64,
}

/// The rest of the bounds is out of the way.
fn limits() -> FleetLimits {
    FleetLimits {
        open_commands: usize::MAX,
        open_command_bytes: usize::MAX,
        agents: usize::MAX,
        ended_commands: usize::MAX,
        terminals: usize::MAX,
        ..FleetLimits::DEFAULT
    }
}

impl World {
    /// A fleet with `others` other agents, each with one command that is open, and as many that are over.
    fn new(others: usize) -> Self {
        let fleet = Fleet::new(UserId::new("u"), SeatId(0), 7, limits());
        let mut world = Self {
            fleet,
            now: Now::without_suspend(Duration::from_secs(60)),
            agent: AgentId::new("none"),
            seat: SeatId(0),
            session: SessionId::new("none"),
            seats: Vec::new(),
            reports: Vec::new(),
            next: 0,
        };
        for n in 0..others {
            let other = format!("other-{n}");
            world.joins(&other);
            // A second process of it is refused.
            let (_, hello) = world.hello_of(&other, &other, "clone");
            let _ = world.feed(hello);
            let _ = world.feed(FleetEvent::Message { seat: world.seat, message: Box::new(pong()) });
            let _ = world.runs(&format!("open-{n}"));
            let over = world.runs(&format!("over-{n}"));
            world.ends(&over);
        }
        world.joins("subject");
        world
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn feed(&mut self, event: FleetEvent) -> Vec<FleetAction> {
        self.fleet.handle(event, self.now);
        let actions = core::iter::from_fn(|| self.fleet.poll_action()).collect();
        let _ = self.fleet.deadline();
        actions
    }

    /// One of three goes by a name of its own; the others share one.
    fn hello(&mut self, key: &str) -> (LinkId, FleetEvent) {
        let number = key.strip_prefix("other-").and_then(|n| n.parse::<usize>().ok());
        let name = if number.is_some_and(|n| n % 3 > 0) { "crowd" } else { key };
        self.hello_of(key, name, key)
    }

    fn hello_of(&mut self, key: &str, name: &str, process: &str) -> (LinkId, FleetEvent) {
        let link = LinkId(self.number());
        let hello = AgentConnect {
            agent_id: key.into(),
            name: Some(name.into()),
            agent_type: AgentType::Custom,
            version: None,
            host_machine: None,
            capabilities: LegacyCapabilities::default(),
            extensions: Some(AgentExtensions {
                features: AGENT_FEATURES.to_vec(),
                agent_key: AgentKey::new(format!("key of {key}")),
                instance: InstanceId::new(process),
                probe: false,
                commands: Vec::new(),
                journal: Some(JournalId::new(key)),
                max_parallel: Some(1 << 20),
                stop_id: None,
            }),
        };
        (
            link,
            FleetEvent::Hello { link, hello: Box::new(hello), peer: String::new(), bearer: None },
        )
    }

    /// Of a legacy wrapper, which has no key: it claims this id.
    fn wrapper_hello(&mut self, id: &str, name: &str) -> FleetEvent {
        let link = LinkId(self.number());
        let hello = AgentConnect {
            agent_id: id.into(),
            name: Some(name.into()),
            agent_type: AgentType::Claude,
            version: None,
            host_machine: None,
            capabilities: LegacyCapabilities::default(),
            extensions: None,
        };
        FleetEvent::Hello { link, hello: Box::new(hello), peer: String::new(), bearer: None }
    }

    /// The session that is asked for, and its answer.
    fn asked(&mut self, actions: Vec<FleetAction>) -> (SessionId, FleetEvent) {
        let epoch = Epoch(self.number());
        let asked = actions.into_iter().find_map(|action| match action {
            FleetAction::Ask(Question::Session { seat, link, new }) => Some((seat, link, new)),
            _ => None,
        });
        let (seat, link, new) = asked.expect("a session is asked for");
        let opened = OpenedSession {
            agent: AgentId::new(new.key.as_str().strip_prefix("key of ").unwrap()),
            epoch,
            unknown_stop: None,
        };
        let session = new.session.clone();
        let answer = StoreAnswer::Session { seat, link, session: new.session, opened: Ok(opened) };
        (session, FleetEvent::Store(answer))
    }

    fn joins(&mut self, name: &str) {
        let (link, hello) = self.hello(name);
        let actions = self.feed(hello);
        let seat = actions.into_iter().find_map(|action| match action {
            FleetAction::Join { seat, .. } => Some(seat),
            _ => None,
        });
        self.seat = seat.expect("it may join");
        self.seats.push(self.seat);
        let actions = self.feed(FleetEvent::Admit { seat: self.seat, link });
        let (session, answer) = self.asked(actions);
        let _ = self.feed(answer);
        let _ = self.feed(self.welcomed(link));
        let _ = self.feed(self.presence(PresenceStatus::Online, 2));
        self.agent = AgentId::new(name);
        self.session = session;
    }

    fn welcomed(&self, link: LinkId) -> FleetEvent {
        let capabilities =
            Capabilities::negotiate(SERVER_FEATURES, AGENT_FEATURES, Dialect::Extended);
        FleetEvent::Welcomed { seat: self.seat, link, capabilities }
    }

    fn presence(&self, status: PresenceStatus, version: u64) -> FleetEvent {
        let because =
            StatusCause { cause: PresenceCause::SessionOpened, impairment: None, trouble: None };
        let presence = Presence {
            status,
            since: self.now.wall,
            because,
            version: PresenceVersion(self.next * 10 + version),
            epoch: Epoch(1),
        };
        FleetEvent::Presence { seat: self.seat, presence, beats: None }
    }

    fn request(&mut self, request: Request) -> FleetEvent {
        FleetEvent::Request { token: Token(self.number()), request }
    }

    fn command(&mut self, id: &CommandId) -> FleetEvent {
        let request = CommandRequest::new(id.clone(), self.agent.clone(), "true");
        self.request(Request::Command(Box::new(request)))
    }

    fn message(&self, message: AgentToServer) -> FleetEvent {
        FleetEvent::Message { seat: self.seat, message: Box::new(message) }
    }

    fn runs(&mut self, id: &str) -> CommandId {
        let id = CommandId::new(id);
        let event = self.command(&id);
        let _ = self.feed(event);
        let _ = self.feed(inserted(&id));
        let _ = self.feed(self.acknowledges(&id));
        id
    }

    fn acknowledges(&self, id: &CommandId) -> FleetEvent {
        let text = format!(r#"{{"commandId":"{id}","status":"EXECUTING"}}"#);
        self.message(AgentToServer::CommandAck(serde_json::from_str(&text).unwrap()))
    }

    fn completes(&self, id: &CommandId) -> FleetEvent {
        let text = format!(
            r#"{{"commandId":"{id}","status":"COMPLETED","exitCode":0,"executionTime":1}}"#
        );
        self.message(AgentToServer::CommandComplete(serde_json::from_str(&text).unwrap()))
    }

    fn ends(&mut self, id: &CommandId) {
        let _ = self.feed(self.completes(id));
        let _ = self.feed(end_stored(id));
    }

    fn writes(&self, id: &CommandId, n: u64) -> FleetEvent {
        let output = TerminalOutput {
            command_id: id.clone(),
            agent_id: None,
            stream: StreamType::Stdout,
            content: OutputContent::Bytes(bytes::Bytes::from_static(b"0123456789")),
            sequence: Some(ChunkSequence(n + 1)),
            offset: Some(ByteOffset(n * 10)),
            incarnation: Some(Incarnation(1)),
        };
        self.message(AgentToServer::Output(output))
    }

    /// What happens, by name, in an order in which each is taken for what it is.
    fn events(&mut self) -> Vec<(&'static str, u64)> {
        let mut steps = Vec::new();
        let mut count = |world: &mut Self, name, event| {
            let _ = take_steps();
            let actions = world.feed(event);
            steps.push((name, take_steps()));
            actions
        };
        let seat = self.seat;
        count(self, "Heard", FleetEvent::Heard { seat, at: WallTime::default() });
        count(self, "Metrics", FleetEvent::Metrics { seat, metrics: HealthMetrics::default() });
        count(self, "Paused", FleetEvent::Paused { seat, pausing: Pausing::Paused });
        let _ = self.feed(FleetEvent::Paused { seat, pausing: Pausing::Running });
        let presence = self.presence(PresenceStatus::Stale, 3);
        count(self, "Presence", presence);

        let id = CommandId::new("mine");
        let event = self.command(&id);
        count(self, "Request: command", event);
        count(self, "Store: inserted", inserted(&id));
        let event = self.command(&id);
        count(self, "Request: command again", event);
        let event = self.acknowledges(&id);
        count(self, "Message: acknowledged", event);
        let event = self.writes(&id, 0);
        count(self, "Message: output", event);
        count(self, "Receipts", receipts(&id));
        let text = format!(
            r#"{{"streams":[{{"commandId":"{id}","incarnation":1,"streamType":"STDOUT",
                 "produced":10,"stored":0}}]}}"#
        );
        let event = self.message(AgentToServer::OutputState(serde_json::from_str(&text).unwrap()));
        count(self, "Message: output state", event);
        let positions = StoreAnswer::Positions { ticket: 1, positions: Ok(Vec::new()) };
        count(self, "Store: positions", FleetEvent::Store(positions));
        for (kind, wanted) in [
            ("Request: command for nobody", Some("nobody")),
            ("Request: command by a name", Some("subject")),
            ("Request: command by a name of many", Some("crowd")),
            ("Request: command that names no agent", None),
        ] {
            let mut request = CommandRequest::new(CommandId::new("no"), AgentId::new(""), "true");
            request.agent_id = wanted.map(AgentId::new);
            // Refused, so that each one finds the same.
            request.env.insert("TOO_LONG".to_owned(), "x".repeat(1 << 20));
            let event = self.request(Request::Command(Box::new(request)));
            count(self, kind, event);
        }
        let stop = EmergencyStop { affected_agents: vec!["nobody".into()], ..Default::default() };
        let event = self.request(Request::StopOnce(stop));
        count(self, "Request: stop of nobody", event);
        let event = self.writes(&CommandId::new("of nothing"), 0);
        count(self, "Message: output of nothing", event);
        let position = StoreAnswer::LogPosition {
            command: CommandId::new("of nothing"),
            position: Ok((None, Vec::new())),
        };
        count(self, "Store: log position", FleetEvent::Store(position));
        let cancel = serde_json::from_str(r#"{"commandId":"mine"}"#).unwrap();
        let event = self.request(Request::Cancel(cancel));
        count(self, "Request: cancel", event);
        let event = self.completes(&id);
        count(self, "Message: complete", event);
        count(self, "Store: end stored", end_stored(&id));

        let control = format!(r#"{{"agentId":"{}","action":"PAUSE"}}"#, self.agent);
        let event = self.request(Request::Control(serde_json::from_str(&control).unwrap()));
        count(self, "Request: control", event);
        let event = self.request(Request::Audit(self.agent.clone()));
        count(self, "Request: audit", event);
        let answer = StoreAnswer::Balance { query: "none".into(), positions: Ok(Vec::new()) };
        count(self, "Store: balance", FleetEvent::Store(answer));

        let scope = StopScope::Agent(self.agent.clone());
        let event = self.request(Request::Stop { scope: scope.clone(), reason: "because".into() });
        let actions = count(self, "Request: stop of an agent", event);
        let stop = actions.into_iter().find_map(|action| match action {
            FleetAction::Ask(Question::Stop(order)) => Some(order.id),
            _ => None,
        });
        let answer = StoreAnswer::Stopped { stop: stop.expect("it is stored"), stored: Ok(()) };
        count(self, "Store: stopped", FleetEvent::Store(answer));
        let event = self.request(Request::Release(scope));
        let actions = count(self, "Request: release of an agent", event);
        let token = actions.into_iter().find_map(|action| match action {
            FleetAction::Ask(Question::Release { token, .. }) => Some(token),
            _ => None,
        });
        let answer = StoreAnswer::Released { token: token.expect("it is stored"), stored: Ok(()) };
        count(self, "Store: released", FleetEvent::Store(answer));

        // One command is due by now.
        let due = CommandId::new("due");
        let mut request = CommandRequest::new(due.clone(), self.agent.clone(), "true");
        request.start_within_ms = Some(1);
        let event = self.request(Request::Command(Box::new(request)));
        let _ = self.feed(event);
        self.now = Now::without_suspend(Duration::from_millis(60_002));
        count(self, "Wake", FleetEvent::Wake);

        let link = LinkId(self.number());
        let named = self.agent.clone();
        count(self, "Silent", FleetEvent::Silent { link, named, bearer: None });
        let link = LinkId(self.number());
        count(self, "Parked", FleetEvent::Parked { seat, link, session: None });
        let (link, hello) = self.hello("subject");
        count(self, "Hello", hello);
        let actions = count(self, "Admit", FleetEvent::Admit { seat, link });
        let (_, answer) = self.asked(actions);
        count(self, "Store: session", answer);
        let event = self.welcomed(link);
        count(self, "Welcomed", event);
        let (link, hello) = self.hello("newcomer");
        count(self, "Hello of a new agent", hello);
        let hello = self.wrapper_hello("claude-1abc", "newcomer");
        count(self, "Hello of a new wrapper", hello);
        let hello = self.wrapper_hello("subject", "crowd");
        count(self, "Hello of a wrapper by the id it was taught", hello);
        let reason = CloseReason::local(CloseCause::GoingAway);
        count(self, "LinkEnded", FleetEvent::LinkEnded { seat, link, session: None, reason });
        count(self, "Forgotten", FleetEvent::Forgotten { seat, history: None });
        let event = self.request(Request::DeleteAgent(self.agent.clone()));
        let actions = count(self, "Request: delete agent", event);
        let token = actions.into_iter().find_map(|action| match action {
            FleetAction::Ask(Question::DeleteAgent { token, .. }) => Some(token),
            _ => None,
        });
        let agent = self.agent.clone();
        let token = token.expect("it is deleted");
        let answer = StoreAnswer::Deleted { token, agent, deleted: Ok(true) };
        count(self, "Store: deleted", FleetEvent::Store(answer));
        steps
    }
}

fn pong() -> AgentToServer {
    AgentToServer::Pong(Default::default())
}

fn inserted(id: &CommandId) -> FleetEvent {
    let answer = StoreAnswer::Inserted { command: id.clone(), inserted: Ok(Inserted::New) };
    FleetEvent::Store(answer)
}

fn end_stored(id: &CommandId) -> FleetEvent {
    FleetEvent::Store(StoreAnswer::EndStored { command: id.clone(), stored: Ok(()) })
}

fn receipts(id: &CommandId) -> FleetEvent {
    FleetEvent::Receipts(vec![Receipt {
        command: id.clone(),
        incarnation: Incarnation(1),
        sequence: ChunkSequence(1),
        stream: Stream::Stdout,
        offset: ByteOffset(0),
        end: ByteOffset(10),
        outcome: RecordOutcome::Stored,
    }])
}

#[test]
fn no_event_looks_at_more_the_more_agents_and_commands_there_are() {
    let few = World::new(FEW).events();
    let many = World::new(MANY).events();
    assert_eq!(few.len(), many.len());
    let mut wrong = Vec::new();
    for ((name, few), (same, many)) in few.into_iter().zip(many) {
        assert_eq!(name, same);
        if many > few + MORE_AT_MOST {
            wrong.push(format!("{name}: {few} steps with {FEW}, {many} with {MANY}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

impl World {
    /// Takes the turns that are due, and gives the most steps that an event took, and the orders that were sent.
    fn takes_turns(&mut self, event: FleetEvent) -> (u64, Vec<StopId>) {
        let (mut most, mut next, mut told) = (0, Some(event), Vec::new());
        while let Some(event) = next {
            let _ = take_steps();
            for action in self.feed(event) {
                match action {
                    FleetAction::Send { message, .. } => match *message {
                        ServerToAgent::EmergencyStop(stop) => told.extend(stop.stop_id),
                        ServerToAgent::StopRelease(release) => told.push(release.stop_id),
                        _ => {}
                    },
                    FleetAction::Reply { answer: Answer::Stopped(report), .. } => {
                        self.reports.push(report);
                    }
                    _ => {}
                }
            }
            most = most.max(take_steps());
            next = self.fleet.deadline().is_due(self.now.monotonic).then_some(FleetEvent::Wake);
        }
        (most, told)
    }

    fn stops_all(&mut self) -> (u64, Vec<StopId>) {
        let stop = self.request(Request::Stop { scope: StopScope::All, reason: "x".into() });
        self.takes_turns(stop)
    }

    fn waits(&mut self, time: Duration) -> (u64, Vec<StopId>) {
        self.now = Now::without_suspend(self.now.monotonic.since_origin() + time);
        self.takes_turns(FleetEvent::Wake)
    }
}

/// A stop of all is in force at once, and is told, repeated, reported and released in turns: none of its events looks at
/// more agents than one turn has, and each agent hears of it.
#[test]
fn a_stop_of_all_goes_by_turns() {
    // As many as one turn takes.
    let (one_turn, told) = World::new(200).stops_all();
    assert_eq!(told.len(), 201);
    let most = 3 * one_turn;
    let mut world = World::new(MANY);
    let (steps, told) = world.stops_all();
    assert_eq!(told.len(), MANY + 1, "each agent is told once");
    assert!(steps < most, "{steps} steps in one event, and {one_turn} for 201 agents");
    let stop = told[0].clone();
    assert!(told.iter().all(|told| *told == stop));
    let stored = StoreAnswer::Stopped { stop: stop.clone(), stored: Ok(()) };
    let (steps, _) = world.takes_turns(FleetEvent::Store(stored));
    assert!(steps < most, "{steps} steps when it is stored");

    let (steps, told) = world.waits(Duration::from_millis(2000));
    assert_eq!(told.len(), MANY + 1, "none has said that nothing runs");
    assert!(steps < most, "{steps} steps in one event of a repetition");
    for seat in world.seats.clone() {
        let text = format!(r#"{{"stopId":"{stop}","stage":"VERIFIED"}}"#);
        let receipt = AgentToServer::StopReceipt(serde_json::from_str(&text).unwrap());
        let event = FleetEvent::Message { seat, message: Box::new(receipt) };
        let (steps, _) = world.takes_turns(event);
        assert!(steps < most, "{steps} steps for a receipt");
    }
    assert_eq!(world.reports.len(), 1);
    let report = &world.reports[0];
    assert_eq!((report.agents.len(), report.commands), (MANY + 1, MANY));
    assert!(report.agents.iter().all(|agent| agent.state == StopState::Verified));
    let (steps, told) = world.waits(Duration::from_millis(2000));
    assert_eq!(told.len(), 0, "all have said that nothing runs");
    assert!(steps < MORE_AT_MOST, "{steps} steps of a repetition for nobody");

    let release = world.request(Request::Release(StopScope::All));
    let (steps, told) = world.takes_turns(release);
    assert_eq!(told.len(), MANY + 1);
    assert!(steps < most, "{steps} steps in one event of a release");
}

/// The same for a momentary stop.
#[test]
fn a_momentary_stop_of_all_goes_by_turns() {
    let once = |world: &mut World| world.request(Request::StopOnce(EmergencyStop::default()));
    let mut small = World::new(200);
    let event = once(&mut small);
    let most = 3 * small.takes_turns(event).0;
    let mut world = World::new(MANY);
    let event = once(&mut world);
    let (steps, _) = world.takes_turns(event);
    assert!(steps < most, "{steps} steps in one event, of at most {most}");
}
