//! The cost of an event for the fleet of a user, and of a chunk of output for its readers, with few and with many
//! open commands.
//!
//! Run with `cargo bench --package onsembl-benches --bench fleet`, or `compare/fleet.py` for instructions
//! instead of times. Every number is the median of several
//! rounds. A round measures all compared fleets in turn, so that other load on the machine affects
//! all of them; ratios are of numbers of the same run.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use bytes::Bytes;
use onsembl_protocol::fleet::{
    Bearer, DashboardAction, DashboardEvent, DashboardLink, DashboardToken, Fleet, FleetAction,
    FleetEvent, FleetLimits, Inserted, LogRecord, OpenedSession, Question, Receipt, RecordOutcome,
    Request, SeatId, StoreAnswer, Token, TokenScope, View, Write,
};
use onsembl_protocol::id::{
    AgentId, AgentKey, ByteOffset, ChunkSequence, CommandId, Epoch, Incarnation, InstanceId,
    JournalId, LineageId, LinkId, MessageId, PresenceVersion, ServerInstanceId, TokenId, UserId,
};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::{
    AGENT_FEATURES, Capabilities, CommandAckStatus, DASHBOARD_FEATURES, Dialect, SERVER_FEATURES,
    Selection, Stream, Subscriptions,
};
use onsembl_protocol::session::{Presence, PresenceCause, PresenceStatus, StatusCause};
use onsembl_protocol::time::Now;
use onsembl_protocol::wire::payload::{
    AgentConnect, AgentExtensions, AgentType, CommandAck, CommandRequest, DashboardExtensions,
    DashboardInit, LegacyCapabilities, OutputContent, StreamType, TerminalOutput,
};
use onsembl_protocol::wire::{AgentToServer, DashboardToServer, ServerToDashboard, encode};
use std::hint::black_box;
use std::time::{Duration, Instant};

const ROUNDS: usize = 15;
const EVENTS: usize = 4000;
const CHUNK: &[u8] = &[b'x'; 100];
const LIMIT: f64 = 1.3;
/// An agent that runs all that it is asked to.
const MANY: u64 = 1 << 20;

fn now() -> Now {
    Now::without_suspend(Duration::from_secs(60))
}

/// The random order, the same for every measurement: Vigna's SplitMix64.
fn random(n: u64) -> u64 {
    let z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A UUID, as ids of commands are.
fn uuid(n: u64) -> String {
    let (a, b) = (random(2 * n), random(2 * n + 1));
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xfff,
        b >> 52,
        b & 0xffff_ffff_ffff
    )
}

fn median(mut metrics: Vec<f64>) -> f64 {
    metrics.sort_by(f64::total_cmp);
    metrics[metrics.len() / 2]
}

/// A running command.
struct Running {
    id: CommandId,
    agent: AgentId,
    seat: SeatId,
    written: u64,
}

/// A fleet, what is shown of it, and the commands that run in it.
struct User {
    fleet: Fleet,
    view: View,
    running: Vec<Running>,
}

impl User {
    /// A user with `open` commands spread over `agents` agents, each of which runs `parallel` at once.
    fn new(number: u64, agents: u64, open: u64, parallel: u64) -> Self {
        let user = UserId::new(format!("user-{number}"));
        let first = SeatId(number << 32);
        let mut new = Self {
            fleet: Fleet::new(user, first, number, FleetLimits::DEFAULT),
            view: View::default(),
            running: Vec::new(),
        };
        let seats: Vec<_> = (0..agents).map(|n| new.joins(number * 1000 + n, parallel)).collect();
        for n in 0..open {
            let (agent, seat) = &seats[(n % agents) as usize];
            let runs = n / agents < parallel;
            new.asks(CommandId::new(uuid(number << 32 | n)), agent, *seat, runs);
        }
        assert_eq!(new.fleet.size().open_commands, open as usize);
        new
    }

    /// Takes an event, and gives what is to be done besides showing it.
    fn feed(&mut self, event: FleetEvent) -> Vec<FleetAction> {
        self.fleet.handle(event, now());
        let mut actions = Vec::new();
        while let Some(action) = self.fleet.poll_action() {
            match action {
                FleetAction::Show(changes) => drop(self.view.apply(changes)),
                action => actions.push(action),
            }
        }
        actions
    }

    fn joins(&mut self, number: u64, parallel: u64) -> (AgentId, SeatId) {
        let (link, agent) = (LinkId(number), AgentId::new(uuid(u64::MAX - number)));
        let hello = AgentConnect {
            agent_id: format!("agent-{number}"),
            name: Some(format!("agent-{number}")),
            agent_type: AgentType::Custom,
            version: None,
            host_machine: None,
            capabilities: LegacyCapabilities::default(),
            extensions: Some(AgentExtensions {
                features: AGENT_FEATURES.to_vec(),
                agent_key: AgentKey::new(format!("key-{number}")),
                instance: InstanceId::new(format!("instance-{number}")),
                probe: false,
                commands: Vec::new(),
                journal: Some(JournalId::new(format!("journal-{number}"))),
                max_parallel: Some(parallel),
                stop_id: None,
            }),
        };
        let bearer = Bearer {
            token: TokenId::new(format!("token-{number}")),
            lineage: LineageId::new(format!("token-{number}")),
            scope: TokenScope::Any,
        };
        let (hello, peer) = (Box::new(hello), String::new());
        let hello = FleetEvent::Hello { link, hello, peer, bearer: Some(bearer) };
        let seat = self.feed(hello).into_iter().find_map(|action| match action {
            FleetAction::Join { seat, .. } => Some(seat),
            _ => None,
        });
        let seat = seat.unwrap();
        let asked = self.feed(FleetEvent::Admit { seat, link });
        let session = asked.into_iter().find_map(|action| match action {
            FleetAction::Ask(Question::Session { new, .. }) => Some(new.session),
            _ => None,
        });
        let opened = OpenedSession { agent: agent.clone(), epoch: Epoch(1), unknown_stop: None };
        let session = session.unwrap();
        let answer = StoreAnswer::Session { seat, link, session, opened: Ok(opened) };
        let _ = self.feed(FleetEvent::Store(answer));
        let capabilities =
            Capabilities::negotiate(SERVER_FEATURES, AGENT_FEATURES, Dialect::Extended);
        let _ = self.feed(FleetEvent::Welcomed { seat, link, capabilities });
        let because =
            StatusCause { cause: PresenceCause::SessionOpened, impairment: None, trouble: None };
        let presence = Presence {
            status: PresenceStatus::Online,
            since: now().wall,
            because,
            version: PresenceVersion(2),
            epoch: Epoch(1),
        };
        let _ = self.feed(FleetEvent::Presence { seat, presence, beats: None });
        (agent, seat)
    }

    fn asks(&mut self, id: CommandId, agent: &AgentId, seat: SeatId, runs: bool) {
        let _ = self.feed(asks_for(&id, agent));
        let inserted = StoreAnswer::Inserted { command: id.clone(), inserted: Ok(Inserted::New) };
        let _ = self.feed(FleetEvent::Store(inserted));
        if !runs {
            return;
        }
        let running = Running { id, agent: agent.clone(), seat, written: 0 };
        let _ = self.feed(acknowledges(&running));
        self.running.push(running);
    }
}

fn asks_for(id: &CommandId, agent: &AgentId) -> FleetEvent {
    let request = CommandRequest::new(id.clone(), agent.clone(), "true");
    FleetEvent::Request { token: Token(0), request: Request::Command(Box::new(request)) }
}

fn acknowledges(running: &Running) -> FleetEvent {
    let ack = CommandAck {
        command_id: running.id.clone(),
        agent_id: None,
        status: CommandAckStatus::Executing,
        queue_position: None,
        waits_for: None,
        line_idle_ms: None,
    };
    let message = Box::new(AgentToServer::CommandAck(ack));
    FleetEvent::Message { seat: running.seat, message }
}

fn writes(running: &mut Running) -> FleetEvent {
    running.written += 1;
    let output = TerminalOutput {
        command_id: running.id.clone(),
        agent_id: None,
        stream: StreamType::Stdout,
        content: OutputContent::Bytes(Bytes::from_static(CHUNK)),
        sequence: Some(ChunkSequence(running.written)),
        offset: Some(ByteOffset((running.written - 1) * CHUNK.len() as u64)),
        incarnation: Some(Incarnation(1)),
    };
    let message = Box::new(AgentToServer::Output(output));
    FleetEvent::Message { seat: running.seat, message }
}

fn heard(running: &Running) -> FleetEvent {
    FleetEvent::Heard { seat: running.seat, at: now().wall }
}

/// What the store says of a record that it was given.
fn stored(command: CommandId, record: &LogRecord) -> Receipt {
    Receipt {
        command,
        incarnation: record.incarnation,
        sequence: record.sequence,
        stream: Stream::Stdout,
        offset: record.offset,
        end: ByteOffset(record.offset.0 + CHUNK.len() as u64),
        outcome: RecordOutcome::Stored,
    }
}

/// Users that are measured together.
struct Scenario {
    name: &'static str,
    users: Vec<User>,
    events: u64,
}

impl Scenario {
    fn new(name: &'static str, users: u64, agents: u64, open: u64, parallel: u64) -> Self {
        let users = (0..users).map(|number| User::new(number, agents, open, parallel)).collect();
        Self { name, users, events: 0 }
    }

    /// A round of such events, of commands at random; nanoseconds each, with all that follows from it.
    fn round(&mut self, event: impl Fn(&mut Running) -> FleetEvent) -> f64 {
        let events = self.events(event);
        let start = Instant::now();
        self.take(events);
        start.elapsed().as_nanos() as f64 / EVENTS as f64
    }

    /// Made beforehand: what a decoder does is not measured.
    fn events(&mut self, event: impl Fn(&mut Running) -> FleetEvent) -> Vec<(usize, FleetEvent)> {
        (0..EVENTS)
            .map(|_| {
                self.events += 1;
                let which = random(self.events);
                let user = (which >> 32) as usize % self.users.len();
                let running = &mut self.users[user].running;
                let command = which as u32 as usize % running.len();
                (user, event(&mut running[command]))
            })
            .collect()
    }

    fn take(&mut self, events: Vec<(usize, FleetEvent)>) {
        let mut receipts = Vec::new();
        for (user, event) in events {
            let User { fleet, view, .. } = &mut self.users[user];
            take(fleet, view, event, &mut receipts);
            if let Some(receipt) = receipts.pop() {
                take(fleet, view, FleetEvent::Receipts(vec![receipt]), &mut receipts);
            }
        }
    }
}

fn take(fleet: &mut Fleet, view: &mut View, event: FleetEvent, receipts: &mut Vec<Receipt>) {
    fleet.handle(event, now());
    while let Some(action) = fleet.poll_action() {
        match action {
            FleetAction::Show(changes) => drop(view.apply(changes)),
            FleetAction::Write(Write::Output { command, record }) => {
                receipts.push(stored(command, &record));
            }
            action => drop(black_box(action)),
        }
    }
    let _ = black_box(fleet.deadline());
}

/// A dashboard of this user that watches so much, and is greeted.
fn greeted(view: &View, subscriptions: Subscriptions) -> DashboardLink {
    let token = DashboardToken { user: UserId::new("user") };
    let server = ServerInstanceId::new("server");
    let mut link = DashboardLink::new(token, server, Limits::DEFAULT, now());
    let features = DASHBOARD_FEATURES.to_vec();
    let extensions = Some(DashboardExtensions { features, server_instance: None });
    let init = DashboardInit { user_id: None, subscriptions, extensions };
    let hello = encode(&MessageId::new("1"), now().wall, &DashboardToServer::Init(init));
    link.handle(DashboardEvent::Text(&hello), view, now());
    link.handle(DashboardEvent::Reserved, view, now());
    assert_eq!(tell_all(&mut link, view), 0);
    link
}

/// What a dashboard that watches everything receives for a piece of output, without the fleet's part.
fn sends_output(scenario: &mut Scenario) -> f64 {
    let all = Subscriptions {
        agents: Selection::All,
        commands: Selection::All,
        terminals: true,
        traces: false,
    };
    let user = &mut scenario.users[0];
    let mut link = greeted(&user.view, all);
    let mut receipts = Vec::new();
    let mut metric = 0;
    for n in 0..EVENTS {
        let command = random(n as u64) as usize % user.running.len();
        let event = writes(&mut user.running[command]);
        take(&mut user.fleet, &mut user.view, event, &mut receipts);
        let start = Instant::now();
        let pieces = tell_all(&mut link, &user.view);
        metric += start.elapsed().as_nanos();
        assert_eq!(pieces, 1);
        let receipt = receipts.pop().unwrap();
        take(&mut user.fleet, &mut user.view, FleetEvent::Receipts(vec![receipt]), &mut receipts);
    }
    metric as f64 / EVENTS as f64
}

/// Tells all there is. How many pieces of output were in it.
#[inline(never)]
fn tell_all(link: &mut DashboardLink, view: &View) -> usize {
    let mut pieces = 0;
    while let Some(action) = link.poll_action(view, true, now()) {
        match black_box(action) {
            DashboardAction::Tell(message) => {
                pieces += usize::from(matches!(*message, ServerToDashboard::TerminalStream(_)));
            }
            DashboardAction::Stream(frame) => pieces += frame.chunks.len(),
            _ => {}
        }
    }
    pieces
}

/// What it costs to come: a dashboard for one new command, among all that are shown.
fn connects(scenario: &mut Scenario) -> f64 {
    const TIMES: usize = 50;
    let user = &scenario.users[0];
    let none = Subscriptions {
        agents: Selection::None,
        commands: Selection::None,
        terminals: true,
        traces: false,
    };
    let start = Instant::now();
    for _ in 0..TIMES {
        let _ = black_box(greeted(&user.view, none.clone()));
    }
    start.elapsed().as_nanos() as f64 / TIMES as f64
}

/// One line: the measurement of each size, and its ratio to the first.
fn compare(
    what: &str,
    scenarios: &mut [Scenario],
    limit: Option<f64>,
    round: impl Fn(&mut Scenario) -> f64,
) {
    let mut metrics = vec![Vec::new(); scenarios.len()];
    for _ in 0..ROUNDS {
        for (scenario, metrics) in scenarios.iter_mut().zip(&mut metrics) {
            metrics.push(round(scenario));
        }
    }
    let metrics: Vec<_> = metrics.into_iter().map(median).collect();
    for (scenario, metric) in scenarios.iter().zip(&metrics) {
        let ratio = metric / metrics[0];
        let goal = match limit {
            Some(limit) if ratio > limit => format!("goal <= {limit}, MISSED"),
            Some(limit) => format!("goal <= {limit}"),
            None => String::new(),
        };
        println!("{what:<24} {:<28} {metric:>10.0} ns {ratio:>6.2}  {goal}", scenario.name);
    }
}

/// All events, at each of these places.
fn events(scenarios: &mut [Scenario]) {
    let limit = Some(LIMIT);
    compare("output and its receipt", scenarios, limit, |p| p.round(writes));
    compare("acknowledgement", scenarios, limit, |p| p.round(|r| acknowledges(r)));
    compare("wake that is not due", scenarios, limit, |p| p.round(|_| FleetEvent::Wake));
    compare("repetition refused", scenarios, limit, |p| {
        p.round(|running| asks_for(&running.id, &running.agent))
    });
    compare("frame heard", scenarios, limit, |p| p.round(|r| heard(r)));
}

/// One kind of event at one place, for `compare/fleet.py`: callgrind counts what `counted` and [`tell_all`] do.
/// Unlike times, the counts do not depend on what else the machine does, nor on its caches.
fn count(what: &str, users: u64, agents: u64, open: u64, parallel: u64) {
    let mut scenario = Scenario::new("", users, agents, open, parallel);
    let event = match what {
        "output" => writes,
        "acknowledgement" => |running: &mut Running| acknowledges(running),
        "wake" => |_: &mut Running| FleetEvent::Wake,
        "repetition" => |running: &mut Running| asks_for(&running.id, &running.agent),
        "heard" => |running: &mut Running| heard(running),
        "told" => {
            let _ = sends_output(&mut scenario);
            return println!("{EVENTS}");
        }
        other => panic!("no event is called {other}"),
    };
    // As in a time that is measured, rings and maps have their sizes.
    for _ in 0..4 {
        let _ = scenario.round(event);
    }
    let events = scenario.events(event);
    counted(&mut scenario, events);
    println!("{EVENTS}");
}

#[inline(never)]
fn counted(scenario: &mut Scenario, events: Vec<(usize, FleetEvent)>) {
    scenario.take(events);
}

fn main() {
    let words: Vec<_> = std::env::args().skip(1).collect();
    if let [count_it, what, numbers @ ..] = words.as_slice()
        && count_it == "--count"
    {
        let numbers: Vec<u64> = numbers.iter().map(|number| number.parse().unwrap()).collect();
        let [users, agents, open, parallel] = numbers.try_into().unwrap();
        return count(what, users, agents, open, parallel);
    }
    println!("All run, and each event is of another one:");
    let mut scenarios = [
        Scenario::new("10 open, 1 agent", 1, 1, 10, MANY),
        Scenario::new("100 open, 1 agent", 1, 1, 100, MANY),
        Scenario::new("1 000 open, 1 agent", 1, 1, 1000, MANY),
        Scenario::new("10 000 open, 20 users", 20, 1, 500, MANY),
    ];
    events(&mut scenarios);
    compare("told of a piece", &mut scenarios[..3], Some(LIMIT), sends_output);
    // Where each of them is has to be noted, so this one grows with them.
    compare("dashboard comes", &mut scenarios[..3], None, connects);
    println!("The same over ten agents:");
    events(&mut [
        Scenario::new("10 open, 10 agents", 1, 10, 10, MANY),
        Scenario::new("100 open, 10 agents", 1, 10, 100, MANY),
        Scenario::new("1 000 open, 10 agents", 1, 10, 1000, MANY),
    ]);
    println!("Four run, and the others wait for their turn:");
    events(&mut [
        Scenario::new("10 open, 1 agent", 1, 1, 10, 4),
        Scenario::new("100 open, 1 agent", 1, 1, 100, 4),
        Scenario::new("1 000 open, 1 agent", 1, 1, 1000, 4),
        Scenario::new("10 000 open, 20 users", 20, 1, 500, 4),
    ]);
}
