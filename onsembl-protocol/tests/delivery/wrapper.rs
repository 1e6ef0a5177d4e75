//! A legacy wrapper beside the agent, in the same fleet: what it writes has no position, and what it writes
//! under its own id belongs to no command of a user. Each piece tells its number, so that one that is lost,
//! doubled or moved is seen.

use super::world::World;
use onsembl_protocol::fleet::{Cursor, LogRecord, StoredBody};
use onsembl_protocol::id::{AgentId, ByteOffset, CommandId, Incarnation};
use onsembl_protocol::model::{Capabilities, Stream};
use onsembl_protocol::wire::payload::{
    AgentConnect, AgentType, CommandRequest, LegacyCapabilities, OutputContent, TerminalOutput,
};
use onsembl_protocol::wire::{AgentToServer, ServerToAgent};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Commands that users ask of it.
const COMMANDS: usize = 6;

#[derive(Debug, Default)]
pub(super) struct Wrapper {
    pub(super) linked: bool,
    up: VecDeque<TerminalOutput>,
    /// Commands that it was given.
    commands: Vec<CommandId>,
    asked: usize,
    pieces: u64,
    /// The pieces that the server heard.
    heard: BTreeSet<u64>,
    /// What a reader of each command was shown, and where it is.
    seen: BTreeMap<CommandId, (Cursor, Vec<u64>)>,
    /// What was not stored when a server died, or was put back, is gone.
    pub(super) has_lost: bool,
}

pub(super) fn wrapper() -> AgentId {
    AgentId::new("mock-7")
}

fn hello() -> AgentConnect {
    AgentConnect {
        agent_id: wrapper().to_string(),
        name: Some("grace".to_owned()),
        agent_type: AgentType::Custom,
        version: None,
        host_machine: None,
        capabilities: LegacyCapabilities::default(),
        extensions: None,
    }
}

/// The numbers of the pieces in these records.
fn pieces(records: &[LogRecord]) -> Vec<u64> {
    let bytes = records.iter().flat_map(|record| match &record.body {
        StoredBody::Chunk(bytes) => bytes.to_vec(),
        StoredBody::Gap { .. } => Vec::new(),
    });
    let text = String::from_utf8(bytes.collect()).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// Something happens to the wrapper.
pub(super) fn wrap(world: &mut World) {
    let what = world.random.u8(0..20);
    let Some(wrapper) = &mut world.wrapper else { return };
    match what {
        0 => cut_wrapper(world),
        1..3 => link_wrapper(world),
        3..7 => wrapper_writes(world, None),
        7..11 => {
            let own = world.random.choice(wrapper.commands.iter()).cloned();
            if own.is_some() {
                wrapper_writes(world, own);
            }
        }
        11 if wrapper.linked && wrapper.asked < COMMANDS && !world.over => {
            let id = CommandId::new(format!("w-{}", wrapper.asked));
            wrapper.asked += 1;
            let request = CommandRequest::new(id, super::wrapper::wrapper(), "something");
            world.server.request(request, world.at);
            world.say();
        }
        12..17 => drop(hear_wrapper(world)),
        _ => read_wrapper(world),
    }
}

pub(super) fn link_wrapper(world: &mut World) {
    let Some(known) = world.wrapper.as_mut().filter(|wrapper| !wrapper.linked) else { return };
    known.linked = true;
    world.log(|_| "the wrapper dials".into());
    let (agent, legacy) = (wrapper(), Capabilities::LEGACY);
    world.server.on_session(&agent, hello(), legacy, &mut world.database, world.at);
    world.say();
}

pub(super) fn cut_wrapper(world: &mut World) {
    let Some(known) = world.wrapper.as_mut().filter(|wrapper| wrapper.linked) else { return };
    known.linked = false;
    known.up.clear();
    world.log(|_| "the wrapper's link is cut".into());
    let epoch = world.database.epoch(&wrapper());
    world.server.on_link_lost(&wrapper(), epoch, world.at);
    if world.random.bool() {
        world.server.forget_agent(&wrapper(), world.at);
    }
    world.say();
}

/// It writes a piece, for a command or for none.
fn wrapper_writes(world: &mut World, command: Option<CommandId>) {
    let Some(known) = world.wrapper.as_mut().filter(|wrapper| wrapper.linked) else { return };
    known.pieces += 1;
    let n = known.pieces;
    known.up.push_back(TerminalOutput {
        command_id: command.unwrap_or_else(|| CommandId::new(wrapper().as_str())),
        agent_id: None,
        stream: Stream::Stdout.into(),
        content: OutputContent::Text(format!("{n}\n")),
        sequence: None,
        offset: None,
        incarnation: None,
    });
}

/// The server hears the next piece. Whether there was one that it reads.
pub(super) fn hear_wrapper(world: &mut World) -> bool {
    if world.server.throttles(&wrapper()) {
        return false;
    }
    let Some(known) = &mut world.wrapper else { return false };
    let Some(piece) = known.up.pop_front() else { return false };
    let OutputContent::Text(text) = &piece.content else { panic!("a wrapper writes text") };
    let n = text.trim().parse().unwrap();
    known.heard.insert(n);
    world.log(|_| format!("the wrapper's piece {n} for {}", piece.command_id));
    world.server.hear(&wrapper(), AgentToServer::Output(piece), world.at);
    world.say();
    true
}

/// What the server says to the wrapper.
pub(super) fn on_said_to_wrapper(world: &mut World, message: ServerToAgent) {
    let Some(known) = &mut world.wrapper else { panic!("there is no wrapper") };
    match message {
        ServerToAgent::CommandRequest(request) => {
            let id = request.command_id.unwrap();
            assert!(!known.commands.contains(&id), "{id} is sent to a wrapper again");
            known.commands.push(id);
        }
        ServerToAgent::Ack(_) | ServerToAgent::CommandCancel(_) => {}
        other => panic!("a wrapper does not know {other:?}"),
    }
}

/// A reader of each command looks for what is new.
pub(super) fn read_wrapper(world: &mut World) {
    let Some(known) = &mut world.wrapper else { return };
    let shown = world.server.view().commands();
    for (id, _) in shown.filter(|(_, entry)| entry.agent == wrapper()) {
        let (cursor, seen) = known.seen.entry(id.clone()).or_default();
        let (next, records) = world.server.show(&world.database, id, *cursor, 64);
        *cursor = next;
        seen.extend(pieces(&records));
    }
}

pub(super) fn on_server_died(world: &mut World) {
    if let Some(known) = &mut world.wrapper {
        known.linked = false;
        known.up.clear();
        known.seen.clear();
        known.has_lost = true;
    }
}

/// What was heard is stored once and in order, and readers see it.
pub(super) fn check_wrapper(world: &mut World) {
    for _ in 0..1000 {
        read_wrapper(world);
    }
    let Some(known) = &world.wrapper else { return };
    let is_cut = world.weather.retention;
    // What a wrapper writes for a command that is over and forgotten belongs to nothing that could be
    // stored: it is shown, and that is all.
    let is_forgotten = world.weather.forgets;
    let mut all = BTreeSet::new();
    let rows = world.database.commands.iter().filter(|(_, row)| row.agent == wrapper());
    for (id, _) in rows {
        let records = world.database.records.get(id).map_or(&[][..], Vec::as_slice);
        // Behind a lost link it counts from the start again.
        let (mut at, mut incarnation) = (ByteOffset(0), Incarnation(0));
        for record in records {
            if record.incarnation != incarnation {
                (at, incarnation) = (ByteOffset(0), record.incarnation);
            }
            assert_eq!(record.offset, at, "{id}: {records:?}");
            at = record.end();
        }
        let stored = pieces(records);
        assert!(stored.is_sorted_by(|a, b| a < b), "{id} is out of order: {stored:?}");
        for n in &stored {
            assert!(known.heard.contains(n), "{n} of {id} was never heard");
            assert!(all.insert(*n), "{n} is stored twice, also in {id}");
        }
        if let Some((_, seen)) = known.seen.get(id)
            && !(is_cut || is_forgotten || world.faults.restored)
            && world.server.view().command(id).is_some()
        {
            assert_eq!(*seen, stored, "a reader of {id}");
        }
    }
    if !(known.has_lost || is_cut || is_forgotten) {
        assert_eq!(all, known.heard, "what was heard is stored");
    }
}

pub(super) fn wrapper_is_quiet(world: &World) -> bool {
    world.wrapper.as_ref().is_none_or(|wrapper| wrapper.up.is_empty())
}
