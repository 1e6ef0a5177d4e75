//! A server of one user under one hand: a scenario says what happens and when the store answers.

use super::server::{Down, Sent, Server};
use super::store::{Health, Store};
use onsembl_protocol::close::{Breakage, CloseReason};
use onsembl_protocol::fleet::{
    Bearer, Change, CommandStage, FleetLimits, Request, SeatId, Token, Write,
};
use onsembl_protocol::id::{
    AgentId, AgentKey, ByteOffset, ChunkSequence, CommandId, Incarnation, InstanceId, JournalId,
    LinkId, UserId,
};
use onsembl_protocol::model::{AGENT_FEATURES, OutputTotals};
use onsembl_protocol::session::ServerConfig;
use onsembl_protocol::wire::payload::{
    AgentConnect, AgentExtensions, AgentType, CommandComplete, CommandPhase, CommandRequest,
    LegacyCapabilities, OutputContent, TerminalOutput,
};
use onsembl_protocol::wire::{AgentToServer, ServerToAgent};
use std::time::Duration;

/// Whether an agent of a scenario keeps a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeps {
    Journal(&'static str),
    Nothing,
}

pub(super) struct Bench {
    pub(super) server: Server,
    pub(super) store: Store,
    pub(super) at: Duration,
    limits: FleetLimits,
    links: u64,
    tokens: u64,
}

fn start(store: &mut Store, limits: FleetLimits, at: Duration) -> Server {
    Server::start(store, (UserId::new("u"), SeatId(1)), limits, ServerConfig::DEFAULT, 1, at)
}

impl Bench {
    pub(super) fn new(limits: FleetLimits) -> Self {
        let mut store = Store::default();
        let server = start(&mut store, limits, Duration::ZERO);
        Self { server, store, at: Duration::ZERO, limits, links: 0, tokens: 0 }
    }

    /// An agent, always the same one, comes over a new link and is welcomed.
    pub(super) fn join(&mut self, process: &str, keeps: Keeps, commands: &[CommandId]) -> LinkId {
        let link = self.hello(process, keeps, commands);
        self.calm();
        let is_welcome =
            |sent: &Sent| matches!(sent, Sent::Down(to, Down::Welcome { .. }) if *to == link);
        assert!(self.take_sent().iter().any(is_welcome), "it has no session");
        link
    }

    /// An agent, always the same one, says hello over a new link.
    pub(super) fn hello(&mut self, process: &str, keeps: Keeps, commands: &[CommandId]) -> LinkId {
        self.links += 1;
        let link = LinkId(self.links);
        let journal = match keeps {
            Keeps::Journal(name) => Some(JournalId::new(name)),
            Keeps::Nothing => None,
        };
        let hello = AgentConnect {
            agent_id: "mock".to_owned(),
            name: Some("host".to_owned()),
            agent_type: AgentType::Custom,
            version: None,
            host_machine: None,
            capabilities: LegacyCapabilities::default(),
            extensions: Some(AgentExtensions {
                features: AGENT_FEATURES.to_vec(),
                agent_key: AgentKey::new("its key"),
                instance: InstanceId::new(process),
                probe: false,
                commands: commands.to_vec(),
                journal,
                max_parallel: Some(2),
                stop_id: None,
            }),
        };
        self.server.on_hello(link, hello, None, self.at);
        link
    }

    /// Sends this hello with this token over a new link. Returns the agent as which it is welcomed.
    pub(super) fn comes(
        &mut self,
        hello: AgentConnect,
        bearer: Option<Bearer>,
    ) -> (LinkId, Option<AgentId>) {
        self.links += 1;
        let link = LinkId(self.links);
        self.server.on_hello(link, hello, bearer, self.at);
        self.calm();
        let welcome = |sent: &Sent| match sent {
            Sent::Down(to, Down::Welcome { agent, .. }) if *to == link => Some(agent.clone()),
            _ => None,
        };
        (link, self.server.sent.iter().find_map(welcome))
    }

    /// A wrapper of the older kind, always with the same id, comes over a new link under this name.
    pub(super) fn join_legacy(&mut self, name: &str) -> LinkId {
        self.links += 1;
        let link = LinkId(self.links);
        let hello = AgentConnect {
            agent_id: "its id".to_owned(),
            name: Some(name.to_owned()),
            agent_type: AgentType::Custom,
            version: None,
            host_machine: None,
            capabilities: LegacyCapabilities::default(),
            extensions: None,
        };
        self.server.on_hello(link, hello, None, self.at);
        self.calm();
        link
    }

    /// The server dies, with everything that is not stored, and another one takes up what is.
    pub(super) fn restart(&mut self) {
        self.server = start(&mut self.store, self.limits, self.at);
    }

    pub(super) fn agent(&self) -> AgentId {
        self.server.view().agents().keys().next().expect("an agent came").clone()
    }

    /// Its link ends without a word.
    pub(super) fn cut(&mut self, link: LinkId) {
        let reason = CloseReason::broken(Breakage::Reset);
        self.server.on_link_end(link, reason, self.at);
    }

    pub(super) fn hear(&mut self, link: LinkId, message: AgentToServer) {
        self.server.on_message(link, message, self.at);
    }

    pub(super) fn request(&mut self, request: Request) {
        self.tokens += 1;
        self.server.request(Token(self.tokens), request, self.at);
    }

    /// A command of the user is on its way to the agent.
    pub(super) fn command(&mut self, id: &CommandId) {
        let request = CommandRequest::new(id.clone(), self.agent(), "work");
        self.request(Request::Command(Box::new(request)));
        self.calm();
    }

    /// The store answers and writes until there is nothing more.
    pub(super) fn calm(&mut self) {
        self.store_all(Health::Works);
    }

    pub(super) fn store_all(&mut self, health: Health) {
        while !self.server.is_idle() {
            self.server.answer(0, &mut self.store, health, self.at);
            self.server.commit(&mut self.store, health);
            self.server.settle(self.at);
            self.server.reap(self.at);
        }
    }

    /// Time passes second by second, and the store works.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.at + time;
        while self.at < until {
            self.at += Duration::from_secs(1);
            self.server.on_time(self.at);
            self.calm();
        }
    }

    pub(super) fn take_sent(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.server.sent)
    }

    /// The output that was written since the last call.
    pub(super) fn taken_output(&mut self) -> Vec<onsembl_protocol::fleet::LogRecord> {
        let of_output = |sent: Sent| match sent {
            Sent::Write(Write::Output { record, .. }) => Some(record),
            _ => None,
        };
        self.take_sent().into_iter().filter_map(of_output).collect()
    }

    pub(super) fn stage(&self, id: &CommandId) -> Option<CommandStage> {
        Some(self.server.view().command(id)?.view?.status)
    }
}

/// Whether the server sent this command to its agent.
pub(super) fn is_sent(sent: &[Sent], id: &CommandId) -> bool {
    sent.iter().any(|sent| match sent {
        Sent::Down(_, Down::Message(message)) => {
            matches!(&**message, ServerToAgent::CommandRequest(r) if r.command_id.as_ref() == Some(id))
        }
        _ => false,
    })
}

/// Whether it was said that this command is not shown any more.
pub(super) fn is_taken_away(sent: &[Sent], id: &CommandId) -> bool {
    sent.iter()
        .any(|sent| matches!(sent, Sent::Change(Change::CommandRemoved(removed)) if removed == id))
}

/// The chunk of this number, of those that are all as long.
pub(super) fn written(id: &CommandId, sequence: u64, length: usize) -> AgentToServer {
    AgentToServer::Output(TerminalOutput {
        command_id: id.clone(),
        agent_id: None,
        stream: onsembl_protocol::model::Stream::Stdout.into(),
        content: OutputContent::Text("x".repeat(length)),
        sequence: Some(ChunkSequence(sequence)),
        offset: Some(ByteOffset((sequence - 1) * length as u64)),
        incarnation: Some(Incarnation(7)),
    })
}

/// The end of a command, which wrote so much.
pub(super) fn ended(id: &CommandId, wrote: u64) -> AgentToServer {
    AgentToServer::CommandComplete({
        let mut it = CommandComplete::new(id.clone(), CommandPhase::Completed);
        it.exit_code = Some(0);
        it.output = Some(OutputTotals {
            incarnation: Incarnation(7),
            stdout_bytes: ByteOffset(wrote),
            stderr_bytes: ByteOffset(0),
            terminal_bytes: ByteOffset(0),
        });
        it
    })
}
