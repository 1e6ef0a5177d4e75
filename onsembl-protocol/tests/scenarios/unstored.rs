//! Output that is relayed and not stored: when its agent gets credit, and what is declared of what did not come.

use super::bench::{Bench, Keeps, ended, is_sent, written};
use super::server::{Down, Sent};
use onsembl_protocol::fleet::{
    Change, FleetEvent, FleetLimits, LogRecord, OutputViewed, Request, StoredBody, Write,
};
use onsembl_protocol::id::{
    AgentKey, ChunkSequence, CommandId, DashboardId, Incarnation, InstanceId, LinkId,
};
use onsembl_protocol::model::{AGENT_FEATURES, Feature, GapCause};
use onsembl_protocol::wire::payload::{
    AgentConnect, AgentExtensions, AgentType, CommandAck, CommandAckStatus, CommandRequest,
    LegacyCapabilities,
};
use onsembl_protocol::wire::{AgentToServer, ServerToAgent};
use std::time::Duration;

const PIECE: u64 = 60;

fn id() -> CommandId {
    CommandId::new("c-00")
}

fn limits() -> FleetLimits {
    let mut limits = FleetLimits::DEFAULT;
    limits.credit_bytes = 100;
    limits
}

fn started(unstored: bool) -> AgentToServer {
    AgentToServer::CommandAck(CommandAck {
        command_id: id(),
        agent_id: None,
        status: CommandAckStatus::Executing,
        queue_position: None,
        waits_for: None,
        line_idle_ms: None,
        unstored,
    })
}

/// Asks for the command, without storage.
fn ask(bench: &mut Bench) {
    let mut request = CommandRequest::new(id(), bench.agent(), "work");
    request.unstored = true;
    bench.request(Request::Command(Box::new(request)));
    bench.calm();
}

/// An agent that runs the command, whose output it relays.
fn running() -> (Bench, LinkId) {
    let mut bench = Bench::new(limits());
    let link = bench.join("first", Keeps::Journal("its journal"), &[]);
    ask(&mut bench);
    assert!(is_sent(&bench.take_sent(), &id()));
    bench.hear(link, started(true));
    (bench, link)
}

fn writes(bench: &mut Bench, link: LinkId, pieces: impl IntoIterator<Item = u64>) {
    for n in pieces {
        bench.hear(link, written(&id(), n, PIECE as usize));
    }
}

fn viewed(bench: &mut Bench, through: Option<u64>) {
    let through = through.map(|n| (Incarnation(7), ChunkSequence(n)));
    let viewed = OutputViewed { by: DashboardId(1), command: id(), through };
    bench.server.feed(FleetEvent::Viewed(viewed), bench.at);
}

/// What happened since the last call.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    credit: Vec<u64>,
    acknowledged: usize,
    /// From where, and how long.
    bytes: Vec<(u64, u64)>,
    gaps: Vec<(u64, Option<u64>, GapCause)>,
    stored: usize,
}

impl Heard {
    fn on_record(&mut self, record: &LogRecord) {
        let from = record.offset.0;
        match &record.body {
            StoredBody::Chunk(bytes) => self.bytes.push((from, bytes.len() as u64)),
            StoredBody::Gap { length, because } => self.gaps.push((from, *length, *because)),
        }
    }
}

fn heard(bench: &mut Bench) -> Heard {
    let mut all = Heard::default();
    for sent in bench.take_sent() {
        match sent {
            Sent::Down(_, Down::Message(message)) => match *message {
                ServerToAgent::OutputCredit(credit) => all.credit.push(credit.offset.0),
                ServerToAgent::OutputAck(_) => all.acknowledged += 1,
                _ => {}
            },
            Sent::Change(Change::Relayed(_, record)) => all.on_record(&record),
            Sent::Write(Write::Output { .. }) => all.stored += 1,
            _ => {}
        }
    }
    all
}

#[test]
fn what_nobody_watches_is_given_credit_and_never_acknowledged() {
    let (mut bench, link) = running();
    writes(&mut bench, link, 1..=2);
    let bytes = vec![(0, PIECE), (PIECE, PIECE)];
    assert_eq!(heard(&mut bench), Heard { bytes, ..Heard::default() }, "somebody may come");
    bench.pass(Duration::from_secs(1));
    assert_eq!(heard(&mut bench), Heard { credit: vec![120], ..Heard::default() });
    writes(&mut bench, link, 3..=4);
    let now = heard(&mut bench);
    assert_eq!((now.credit, now.acknowledged, now.stored), (vec![240], 0, 0));
}

#[test]
fn credit_waits_for_who_watches_but_not_for_long() {
    let (mut bench, link) = running();
    viewed(&mut bench, None);
    writes(&mut bench, link, 1..=4);
    assert_eq!(heard(&mut bench).credit, []);
    viewed(&mut bench, Some(2));
    assert_eq!(heard(&mut bench).credit, [120]);
    bench.pass(Duration::from_secs(1));
    assert_eq!(heard(&mut bench).credit, [240], "it is too slow");
}

#[test]
fn what_did_not_come_is_a_gap_with_a_cause_of_its_own() {
    let (mut bench, link) = running();
    writes(&mut bench, link, [1, 3]);
    let now = heard(&mut bench);
    assert_eq!(now.gaps, [(PIECE, Some(PIECE), GapCause::NotKept)]);
    let AgentToServer::CommandComplete(mut report) = ended(&id(), 200) else { panic!() };
    report.output.as_mut().unwrap().unstored = true;
    bench.hear(link, AgentToServer::CommandComplete(report));
    bench.calm();
    let now = heard(&mut bench);
    assert_eq!(now.gaps, [(3 * PIECE, Some(20), GapCause::NotKept)]);
    assert_eq!((now.acknowledged, now.stored), (0, 0));
}

#[test]
fn a_new_session_has_credit_of_its_own() {
    let (mut bench, link) = running();
    writes(&mut bench, link, 1..=2);
    bench.pass(Duration::from_secs(1));
    bench.cut(link);
    let link = bench.join("first", Keeps::Journal("its journal"), &[id()]);
    let _ = heard(&mut bench);
    // Of what was on the link nothing came, and nobody waits for it.
    writes(&mut bench, link, 7..=8);
    let now = heard(&mut bench);
    assert_eq!(now.gaps, [(2 * PIECE, Some(4 * PIECE), GapCause::NotKept)]);
    assert_eq!(now.credit, [8 * PIECE]);
}

#[test]
fn what_an_earlier_run_of_the_server_relayed_is_a_gap() {
    let (mut bench, link) = running();
    writes(&mut bench, link, 1..=2);
    bench.calm();
    bench.restart();
    let link = bench.join("first", Keeps::Journal("its journal"), &[id()]);
    writes(&mut bench, link, 3..=4);
    let now = heard(&mut bench);
    assert_eq!(now.gaps, [(0, Some(2 * PIECE), GapCause::NotKept)]);
    let bytes = [(2 * PIECE, PIECE), (3 * PIECE, PIECE)];
    assert_eq!((now.bytes, now.stored, now.acknowledged), (bytes.to_vec(), 0, 0));
}

#[test]
fn an_agent_that_does_not_know_of_it_has_its_output_stored() {
    let mut bench = Bench::new(limits());
    let features = AGENT_FEATURES.iter().filter(|f| **f != Feature::UnstoredOutput).cloned();
    let hello = AgentConnect {
        agent_id: "mock".to_owned(),
        name: Some("host".to_owned()),
        agent_type: AgentType::Custom,
        version: None,
        host_machine: None,
        capabilities: LegacyCapabilities::default(),
        extensions: Some(AgentExtensions {
            features: features.collect(),
            agent_key: AgentKey::new("its key"),
            instance: InstanceId::new("first"),
            probe: false,
            commands: Vec::new(),
            journal: None,
            max_parallel: Some(2),
            stop_id: None,
        }),
    };
    let (link, agent) = bench.comes(hello, None);
    assert!(agent.is_some());
    ask(&mut bench);
    let is_unstored = |sent: &Sent| match sent {
        Sent::Down(_, Down::Message(message)) => {
            matches!(&**message, ServerToAgent::CommandRequest(request) if request.unstored)
        }
        _ => false,
    };
    let sent = bench.take_sent();
    assert!(is_sent(&sent, &id()) && !sent.iter().any(is_unstored));
    bench.hear(link, started(false));
    writes(&mut bench, link, 1..=2);
    bench.calm();
    let now = heard(&mut bench);
    assert_eq!((now.stored, now.credit, now.bytes), (2, vec![], vec![]));
    assert!(now.acknowledged > 0);
    bench.hear(link, ended(&id(), 2 * PIECE));
    bench.calm();
    assert_eq!(heard(&mut bench).gaps, []);
}
