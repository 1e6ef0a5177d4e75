//! Each bound of a user: a test tries to exceed it, and what happens then is what ARCHITECTURE, section 9,
//! says. The fleet is alone here: no link, and a store that answers when a test says so.

use super::now;
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::fleet::{
    Answer, Fleet, FleetAction, FleetEvent, FleetLimits, FleetNote, Flow, Inserted, OpenedSession,
    Question, Receipt, RecordOutcome, Request, SeatId, StoreAnswer, Token, View, Write,
};
use onsembl_protocol::id::{
    AgentId, AgentKey, ByteOffset, ChunkSequence, CommandId, Epoch, Incarnation, InstanceId,
    LinkId, UserId,
};
use onsembl_protocol::model::{AGENT_FEATURES, Capabilities, Dialect, Stream};
use onsembl_protocol::wire::AgentToServer;
use onsembl_protocol::wire::payload::{
    AgentConnect, AgentExtensions, AgentType, CommandRequest, ErrorCode, LegacyCapabilities,
    OutputContent, OutputState, ReportedStream, TerminalOpened, TerminalOutput,
};
use std::time::Duration;

struct Alone {
    fleet: Fleet,
    view: View,
    number: u64,
}

impl Alone {
    fn new(limits: FleetLimits) -> Self {
        let fleet = Fleet::new(UserId::new("u"), SeatId(1), 1, limits);
        Self { fleet, view: View::new(&limits), number: 0 }
    }

    fn feed(&mut self, event: FleetEvent) -> Vec<FleetAction> {
        self.fleet.handle(event, now(Duration::from_secs(1)));
        let mut actions = Vec::new();
        while let Some(action) = self.fleet.poll_action() {
            if let FleetAction::Show(changes) = &action {
                let _ = self.view.apply(changes.clone());
            }
            actions.push(action);
        }
        actions
    }

    fn hello(&mut self, key: &str, commands: usize) -> Vec<FleetAction> {
        self.number += 1;
        let hello = AgentConnect {
            agent_id: key.to_owned(),
            name: Some(key.to_owned()),
            agent_type: AgentType::Custom,
            version: None,
            host_machine: None,
            capabilities: LegacyCapabilities::default(),
            extensions: Some(AgentExtensions {
                features: AGENT_FEATURES.to_vec(),
                agent_key: AgentKey::new(key),
                instance: InstanceId::new(key),
                probe: false,
                commands: (0..commands).map(|n| CommandId::new(format!("{n:036}"))).collect(),
                journal: None,
                max_parallel: Some(1000),
                stop_id: None,
            }),
        };
        let (link, hello, peer) = (LinkId(self.number), Box::new(hello), "somewhere".to_owned());
        self.feed(FleetEvent::Hello { link, hello, peer, bearer: None })
    }

    /// An agent in session.
    fn join(&mut self, key: &str) -> SeatId {
        let joined = self.hello(key, 0);
        let link = LinkId(self.number);
        let seat = joined.iter().find_map(|action| match action {
            FleetAction::Join { seat, .. } => Some(*seat),
            _ => None,
        });
        let seat = seat.expect("it is let in");
        self.open(seat, link, key);
        let capabilities =
            Capabilities::negotiate(AGENT_FEATURES, AGENT_FEATURES, Dialect::Extended);
        let _ = self.feed(FleetEvent::Welcomed { seat, link, capabilities });
        seat
    }

    fn open(&mut self, seat: SeatId, link: LinkId, key: &str) {
        let asked = self.feed(FleetEvent::Admit { seat, link });
        let session = asked.iter().find_map(|action| match action {
            FleetAction::Ask(Question::Session { new, .. }) => Some(new.session.clone()),
            _ => None,
        });
        let opened =
            OpenedSession { agent: AgentId::new(key), epoch: Epoch(1), unknown_stop: None };
        let session = session.expect("a session is asked for");
        let answer = StoreAnswer::Session { seat, link, session, opened: Ok(opened) };
        let _ = self.feed(FleetEvent::Store(answer));
    }

    fn hear(&mut self, seat: SeatId, message: AgentToServer) -> Vec<FleetAction> {
        self.feed(FleetEvent::Message { seat, message: Box::new(message) })
    }

    fn request(&mut self, request: Request) -> Vec<FleetAction> {
        self.number += 1;
        self.feed(FleetEvent::Request { token: Token(self.number), request })
    }

    /// A stored command of this agent.
    fn command(&mut self, id: &str, agent: &str) -> CommandId {
        let command = CommandId::new(id);
        let request = CommandRequest::new(command.clone(), AgentId::new(agent), "work");
        let _ = self.request(Request::Command(Box::new(request)));
        let inserted = Ok(Inserted::New);
        let answer = StoreAnswer::Inserted { command: command.clone(), inserted };
        let _ = self.feed(FleetEvent::Store(answer));
        command
    }

    fn stored(&mut self, actions: &[FleetAction]) -> Vec<FleetAction> {
        let receipts = actions.iter().filter_map(|action| match action {
            FleetAction::Write(Write::Output { command, record }) => Some(Receipt {
                command: command.clone(),
                incarnation: record.incarnation,
                sequence: record.sequence,
                stream: record.stream,
                offset: record.offset,
                end: record.end(),
                outcome: RecordOutcome::Stored,
            }),
            _ => None,
        });
        let receipts = receipts.collect();
        self.feed(FleetEvent::Receipts(receipts))
    }
}

fn chunk(id: &CommandId, n: u64, length: usize) -> AgentToServer {
    AgentToServer::Output(TerminalOutput {
        command_id: id.clone(),
        agent_id: None,
        stream: Stream::Stdout.into(),
        content: OutputContent::Text("x".repeat(length)),
        sequence: Some(ChunkSequence(n + 1)),
        offset: Some(ByteOffset(n * length as u64)),
        incarnation: Some(Incarnation(7)),
    })
}

fn state(streams: usize, query: Option<String>) -> AgentToServer {
    let stream = |n| ReportedStream {
        command_id: CommandId::new(format!("{n:036}")),
        incarnation: Incarnation(1),
        stream_type: Stream::Stdout.into(),
        produced: ByteOffset(9),
        stored: ByteOffset(0),
        gaps: 0,
    };
    let streams = (0..streams).map(stream).collect();
    AgentToServer::OutputState(OutputState { streams, more: query.is_some(), query })
}

fn refusal(actions: &[FleetAction]) -> Option<&ErrorCode> {
    actions.iter().find_map(|action| match action {
        FleetAction::Reply { answer: Answer::Refused(error), .. } => Some(&error.code),
        _ => None,
    })
}

fn is_refused_hello(actions: &[FleetAction]) -> bool {
    actions.iter().any(|action| match action {
        FleetAction::RefuseHello { error, cause, .. } => {
            error.code == ErrorCode::QueueFull && *cause == CloseCause::TryLater
        }
        _ => false,
    })
}

fn flows(actions: &[FleetAction]) -> Vec<(SeatId, Flow)> {
    let flow = |action: &FleetAction| match action {
        FleetAction::Throttle { seat, flow } => Some((*seat, *flow)),
        _ => None,
    };
    actions.iter().filter_map(flow).collect()
}

fn with(change: impl FnOnce(&mut FleetLimits)) -> Alone {
    let mut limits = FleetLimits::DEFAULT;
    change(&mut limits);
    Alone::new(limits)
}

#[test]
fn one_agent_too_many_is_refused_and_those_that_are_known_return() {
    let mut alone = with(|limits| limits.agents = 3);
    let _ = ["a", "b", "c"].map(|key| alone.join(key));
    assert!(is_refused_hello(&alone.hello("d", 0)));
    assert!(!is_refused_hello(&alone.hello("a", 0)));
}

#[test]
fn what_agents_say_of_themselves_is_bounded_together() {
    let mut alone = with(|limits| limits.agent_bytes = 3 * FleetLimits::AGENT_COST);
    let _ = ["a", "b", "c"].map(|key| alone.join(key));
    assert!(is_refused_hello(&alone.hello("d", 0)));
    assert!(!is_refused_hello(&alone.hello("a", 0)), "it says no more than it said");
}

#[test]
fn hellos_whose_sessions_are_not_opened_are_bounded_together() {
    let mut alone = with(|limits| limits.hello_bytes = 64 * 1024);
    let mut count = 0;
    while !is_refused_hello(&alone.hello(&format!("agent {count}"), 100)) {
        count += 1;
        assert!(count < 100, "never refused");
    }
    // The store answers one of them, and there is room again.
    alone.open(SeatId(1), LinkId(1), "agent 0");
    let capabilities = Capabilities::negotiate(AGENT_FEATURES, AGENT_FEATURES, Dialect::Extended);
    let _ = alone.feed(FleetEvent::Welcomed { seat: SeatId(1), link: LinkId(1), capabilities });
    assert!(!is_refused_hello(&alone.hello("another", 100)));
}

#[test]
fn unstored_output_of_all_agents_stops_all_of_them_until_half_is_stored() {
    const BOUND: usize = 100_000;
    let mut alone = with(|limits| limits.unstored_output_of_user = BOUND);
    let seats = ["a", "b", "c"].map(|key| alone.join(key));
    let commands = ["a", "b"].map(|agent| alone.command(&format!("of {agent}"), agent));
    let mut written = Vec::new();
    for n in 0..4 {
        for (seat, command) in seats.iter().zip(&commands) {
            let actions = alone.hear(*seat, chunk(command, n, 10_000));
            assert_eq!(flows(&actions), [], "{n}");
            written.extend(actions);
        }
    }
    let actions = alone.hear(seats[0], chunk(&commands[0], 4, 20_000));
    let paused: Vec<_> = seats.iter().map(|seat| (*seat, Flow::Paused)).collect();
    assert_eq!(flows(&actions), paused, "also the one that wrote nothing");
    let later = alone.join("d");
    let actions = alone.hear(later, chunk(&CommandId::new("of d"), 0, 10_000));
    assert_eq!(flows(&actions), [(later, Flow::Paused)], "and one that comes then");
    let (first, rest) = written.split_at(written.len() / 2);
    let _ = alone.stored(first);
    let actions = alone.stored(rest);
    let flows = flows(&actions);
    assert!(seats.iter().all(|seat| flows.contains(&(*seat, Flow::Resumed))), "{flows:?}");
}

#[test]
fn stored_output_that_is_kept_for_readers_is_bounded_together() {
    const BOUND: usize = 200_000;
    let mut alone = with(|limits| limits.tail_bytes = BOUND);
    let seat = alone.join("a");
    let commands: Vec<_> = (0..20).map(|n| alone.command(&format!("c-{n:02}"), "a")).collect();
    for command in &commands {
        let actions = alone.hear(seat, chunk(command, 0, 30_000));
        let _ = alone.stored(&actions);
    }
    let kept = |command: &&CommandId| {
        alone.view.command(command).is_some_and(|entry| entry.tail.begin() != entry.tail.end())
    };
    let kept: Vec<_> = commands.iter().filter(kept).collect();
    assert!((4..=6).contains(&kept.len()), "{} of them", kept.len());
    assert_eq!(kept.last().copied(), commands.last(), "those that wrote last");
}

#[test]
fn pages_that_wait_for_the_store_are_bounded_in_number_and_in_bytes() {
    let is_dropped = |actions: &[FleetAction]| {
        let dropped =
            |a: &FleetAction| matches!(a, FleetAction::Note(FleetNote::StatesDropped { .. }));
        actions.iter().any(dropped)
    };
    let mut alone = with(|limits| limits.pages_of_agent = 2);
    let seat = alone.join("a");
    for _ in 0..2 {
        assert!(!is_dropped(&alone.hear(seat, state(1, None))));
    }
    assert!(is_dropped(&alone.hear(seat, state(1, None))));
    let mut alone = with(|limits| limits.pages = 2);
    let seats = ["a", "b", "c"].map(|key| alone.join(key));
    let dropped = seats.map(|seat| is_dropped(&alone.hear(seat, state(1, None))));
    assert_eq!(dropped, [false, false, true]);
    let mut alone = with(|limits| limits.page_bytes = 50_000);
    let seat = alone.join("a");
    let dropped = [0, 1, 2].map(|_| is_dropped(&alone.hear(seat, state(120, None))));
    assert_eq!(dropped, [false, false, true]);
}

#[test]
fn audits_are_bounded_in_number_and_in_bytes() {
    let mut alone = with(|limits| {
        limits.audits = 2;
        limits.audit_bytes = 50_000;
    });
    let seat = alone.join("a");
    let audit = || Request::Audit(AgentId::new("a"));
    let asked = alone.request(audit());
    assert_eq!(refusal(&asked), None);
    assert_eq!(refusal(&alone.request(audit())), None);
    assert_eq!(refusal(&alone.request(audit())), Some(&ErrorCode::QueueFull));
    let query = asked.iter().find_map(|action| match action {
        FleetAction::Send { message, .. } => match &**message {
            onsembl_protocol::wire::ServerToAgent::OutputQuery(query) => Some(query.query.clone()),
            _ => None,
        },
        _ => None,
    });
    assert!(query.is_some(), "its agent is asked");
    for _ in 0..2 {
        assert_eq!(refusal(&alone.hear(seat, state(120, query.clone()))), None);
    }
    let refused = alone.hear(seat, state(120, query));
    assert_eq!(refusal(&refused), Some(&ErrorCode::QueueFull));
    assert_eq!(refusal(&alone.request(audit())), None, "there is room for another");
}

#[test]
fn repetitions_and_deletions_that_wait_for_the_store_are_bounded() {
    let mut alone = with(|limits| {
        limits.repetitions = 2;
        limits.deletions = 2;
    });
    let _ = ["a", "b", "c"].map(|key| alone.join(key));
    let command = || {
        let request = CommandRequest::new(CommandId::new("c"), AgentId::new("a"), "work");
        Request::Command(Box::new(request))
    };
    for _ in 0..2 {
        assert_eq!(refusal(&alone.request(command())), None);
    }
    assert_eq!(refusal(&alone.request(command())), Some(&ErrorCode::QueueFull));
    let mut delete =
        |agent: &str| refusal(&alone.request(Request::DeleteAgent(AgentId::new(agent)))).cloned();
    assert_eq!((delete("a"), delete("b")), (None, None));
    assert_eq!(delete("c"), Some(ErrorCode::QueueFull));
}

#[test]
fn output_of_no_command_makes_room_for_newer_only_when_it_is_stored() {
    let mut alone = with(|limits| limits.loose_outputs = 2);
    let seat = alone.join("a");
    let mut hear = |id: &str| alone.hear(seat, chunk(&CommandId::new(id), 0, 10));
    let is_dropped = |actions: &[FleetAction]| {
        let dropped =
            |a: &FleetAction| matches!(a, FleetAction::Note(FleetNote::LooseOutputDropped { .. }));
        actions.iter().any(dropped)
    };
    assert!(!is_dropped(&hear("1")) && !is_dropped(&hear("2")));
    assert!(is_dropped(&hear("3")), "the store has not said where those before go on");
}

#[test]
fn long_words_of_an_agent_are_shortened() {
    let mut alone = Alone::new(FleetLimits::DEFAULT);
    let seat = alone.join("a");
    let program = "p".repeat(60_000);
    let opened = TerminalOpened {
        command_id: CommandId::new("terminal-1"),
        program,
        opened_at: None,
        attached: false,
        size: None,
    };
    let actions = alone.hear(seat, AgentToServer::TerminalOpened(opened));
    let stored = actions.iter().find_map(|action| match action {
        FleetAction::Write(Write::Terminal(record)) => Some(record.request.text.len()),
        _ => None,
    });
    assert_eq!(stored, Some(4096));
}

#[test]
fn an_agent_goes_by_the_last_eight_ids_that_it_made_itself() {
    let mut alone = Alone::new(FleetLimits::DEFAULT);
    for n in 0..20 {
        alone.number += 1;
        let link = LinkId(alone.number);
        let hello = AgentConnect {
            agent_id: format!("id {n:02}"),
            name: Some("its name".to_owned()),
            agent_type: AgentType::Custom,
            version: None,
            host_machine: None,
            capabilities: LegacyCapabilities::default(),
            extensions: None,
        };
        let (hello, peer) = (Box::new(hello), "somewhere".to_owned());
        let joined = alone.feed(FleetEvent::Hello { link, hello, peer, bearer: None });
        let seat = joined.iter().find_map(|action| match action {
            FleetAction::Join { seat, .. } => Some(*seat),
            _ => None,
        });
        let seat = seat.expect("it is let in");
        alone.open(seat, link, "a");
        let capabilities = Capabilities::LEGACY;
        let _ = alone.feed(FleetEvent::Welcomed { seat, link, capabilities });
    }
    let shown = alone.view.agents().get(&AgentId::new("a")).expect("it is shown");
    let last: Vec<_> = (12..20).map(|n| AgentId::new(format!("id {n:02}"))).collect();
    assert_eq!(shown.aliases, last);
}

#[test]
fn a_fleet_of_which_nothing_is_left_is_idle() {
    let mut alone = Alone::new(FleetLimits::DEFAULT);
    assert!(alone.fleet.is_idle());
    let seat = alone.join("a");
    assert!(!alone.fleet.is_idle());
    let agent = AgentId::new("a");
    let _ = alone.request(Request::DeleteAgent(agent.clone()));
    let token = Token(alone.number);
    let deleted = StoreAnswer::Deleted { token, agent, deleted: Ok(true) };
    let _ = alone.feed(FleetEvent::Store(deleted));
    assert!(!alone.fleet.is_idle(), "its machine is still there");
    let _ = alone.feed(FleetEvent::Forgotten { seat, history: None });
    assert!(alone.fleet.is_idle());
}
