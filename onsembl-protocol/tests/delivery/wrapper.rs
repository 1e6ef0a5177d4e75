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

impl World {
    /// Something happens to the wrapper.
    pub(super) fn wrap(&mut self) {
        let what = self.random.u8(0..20);
        let Some(wrapper) = &mut self.wrapper else { return };
        match what {
            0 => self.cut_wrapper(),
            1..3 => self.link_wrapper(),
            3..7 => self.wrapper_writes(None),
            7..11 => {
                let own = self.random.choice(wrapper.commands.iter()).cloned();
                if own.is_some() {
                    self.wrapper_writes(own);
                }
            }
            11 if wrapper.linked && wrapper.asked < COMMANDS && !self.over => {
                let id = CommandId::new(format!("w-{}", wrapper.asked));
                wrapper.asked += 1;
                let request = CommandRequest::new(id, super::wrapper::wrapper(), "something");
                self.server.request(request, self.at);
                self.say();
            }
            12..17 => drop(self.hear_wrapper()),
            _ => self.read_wrapper(),
        }
    }

    pub(super) fn link_wrapper(&mut self) {
        let Some(known) = self.wrapper.as_mut().filter(|wrapper| !wrapper.linked) else { return };
        known.linked = true;
        self.log(|_| "the wrapper dials".into());
        let (agent, legacy) = (wrapper(), Capabilities::LEGACY);
        self.server.on_session(&agent, hello(), legacy, &mut self.database, self.at);
        self.say();
    }

    pub(super) fn cut_wrapper(&mut self) {
        let Some(known) = self.wrapper.as_mut().filter(|wrapper| wrapper.linked) else { return };
        known.linked = false;
        known.up.clear();
        self.log(|_| "the wrapper's link is cut".into());
        let epoch = self.database.epoch(&wrapper());
        self.server.on_link_lost(&wrapper(), epoch, self.at);
        if self.random.bool() {
            self.server.forget_agent(&wrapper(), self.at);
        }
        self.say();
    }

    /// It writes a piece, for a command or for none.
    fn wrapper_writes(&mut self, command: Option<CommandId>) {
        let Some(known) = self.wrapper.as_mut().filter(|wrapper| wrapper.linked) else { return };
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
    pub(super) fn hear_wrapper(&mut self) -> bool {
        if self.server.throttles(&wrapper()) {
            return false;
        }
        let Some(known) = &mut self.wrapper else { return false };
        let Some(piece) = known.up.pop_front() else { return false };
        let OutputContent::Text(text) = &piece.content else { panic!("a wrapper writes text") };
        let n = text.trim().parse().unwrap();
        known.heard.insert(n);
        self.log(|_| format!("the wrapper's piece {n} for {}", piece.command_id));
        self.server.hear(&wrapper(), AgentToServer::Output(piece), self.at);
        self.say();
        true
    }

    /// What the server says to the wrapper.
    pub(super) fn on_said_to_wrapper(&mut self, message: ServerToAgent) {
        let Some(known) = &mut self.wrapper else { panic!("there is no wrapper") };
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
    pub(super) fn read_wrapper(&mut self) {
        let Some(known) = &mut self.wrapper else { return };
        let shown = self.server.view().commands();
        for (id, _) in shown.filter(|(_, entry)| entry.agent == wrapper()) {
            let (cursor, seen) = known.seen.entry(id.clone()).or_default();
            let (next, records) = self.server.show(&self.database, id, *cursor, 64);
            *cursor = next;
            seen.extend(pieces(&records));
        }
    }

    pub(super) fn on_server_died(&mut self) {
        if let Some(known) = &mut self.wrapper {
            known.linked = false;
            known.up.clear();
            known.seen.clear();
            known.has_lost = true;
        }
    }

    /// What was heard is stored once and in order, and readers see it.
    pub(super) fn check_wrapper(&mut self) {
        for _ in 0..1000 {
            self.read_wrapper();
        }
        let Some(known) = &self.wrapper else { return };
        let is_cut = self.weather.retention;
        // What a wrapper writes for a command that is over and forgotten belongs to nothing that could be
        // stored: it is shown, and that is all.
        let is_forgotten = self.weather.forgets;
        let mut all = BTreeSet::new();
        let rows = self.database.commands.iter().filter(|(_, row)| row.agent == wrapper());
        for (id, _) in rows {
            let records = self.database.records.get(id).map_or(&[][..], Vec::as_slice);
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
                && !(is_cut || is_forgotten || self.faults.restored)
                && self.server.view().command(id).is_some()
            {
                assert_eq!(*seen, stored, "a reader of {id}");
            }
        }
        if !(known.has_lost || is_cut || is_forgotten) {
            assert_eq!(all, known.heard, "what was heard is stored");
        }
    }

    pub(super) fn wrapper_is_quiet(&self) -> bool {
        self.wrapper.as_ref().is_none_or(|wrapper| wrapper.up.is_empty())
    }
}
