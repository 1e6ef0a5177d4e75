//! A machine of an agent: what runs on it as the agent, and what outlives that.

use super::agent::{Agent, Make};
use onsembl_protocol::id::{AgentId, AgentKey, CommandId, InstanceId, JournalId, LinkId, StopId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::AGENT_FEATURES;
use onsembl_protocol::wire::AgentToServer;
use onsembl_protocol::wire::payload::{
    AgentConnect, AgentExtensions, AgentType, CommandAck, CommandAckStatus, CommandComplete,
    CommandPhase, LegacyCapabilities, OutputContent, StopReceipt, StopStage, TerminalOpened,
    TerminalOutput,
};
use onsembl_protocol::worker::CommandJournal;

/// What a machine usually runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Extended,
    Wrapper,
    /// It speaks the extensions, and says anything.
    Hostile,
}

/// What runs as the agent now.
#[derive(Debug)]
pub(super) enum Program {
    Worker(Box<Agent>),
    /// A legacy wrapper: it does what it is told, however often, and seldom says what came of it. Its
    /// commands, as far as it knows.
    Wrapper(Vec<CommandId>),
    Hostile,
    Dead,
}

#[derive(Debug)]
pub(super) struct Host {
    pub(super) n: usize,
    pub(super) kind: Kind,
    /// Something that lies ran on it.
    pub(super) lies: bool,
    pub(super) make: Make,
    pub(super) journal: CommandJournal,
    pub(super) journals: u32,
    /// How many programs ran here.
    pub(super) starts: u32,
    pub(super) program: Program,
    /// The id that a server taught it.
    pub(super) taught: Option<AgentId>,
    /// The link that it has, as far as it knows, and whether it is in session.
    pub(super) link: Option<LinkId>,
    pub(super) in_session: bool,
    /// It was told to stay away permanently.
    pub(super) is_banned: bool,
}

impl Host {
    pub(super) fn new(n: usize, kind: Kind, make: Make) -> Self {
        Self {
            n,
            kind,
            lies: kind == Kind::Hostile,
            make,
            journal: CommandJournal::default(),
            journals: 1,
            starts: 0,
            program: Program::Dead,
            taught: None,
            link: None,
            in_session: false,
            is_banned: false,
        }
    }

    /// What tells this program from every other.
    pub(super) fn unique(&self) -> String {
        format!("run-{}-{}", self.n, self.starts)
    }

    pub(super) fn worker(&mut self) -> Option<&mut Agent> {
        match &mut self.program {
            Program::Worker(agent) => Some(agent),
            Program::Wrapper(_) | Program::Hostile | Program::Dead => None,
        }
    }

    pub(super) fn hello(&self) -> Option<AgentConnect> {
        let commands = match &self.program {
            Program::Worker(agent) => agent.worker.open_commands(Limits::DEFAULT.list_entries),
            Program::Hostile => vec![CommandId::new("c-00"), CommandId::new("terminal-zz")],
            Program::Wrapper(_) => Vec::new(),
            Program::Dead => return None,
        };
        let stop_id = match &self.program {
            Program::Worker(agent) => agent.worker.stop_in_force().cloned(),
            Program::Hostile => Some(StopId::new("no-stop")),
            Program::Wrapper(_) | Program::Dead => None,
        };
        let own = || format!("mock-{}-{}", self.n, self.starts);
        let extensions = match &self.program {
            Program::Wrapper(_) => None,
            Program::Worker(_) | Program::Hostile | Program::Dead => Some(AgentExtensions {
                features: AGENT_FEATURES.to_vec(),
                agent_key: AgentKey::new(format!("key-{}", self.n)),
                instance: InstanceId::new(self.unique()),
                probe: false,
                commands,
                journal: Some(JournalId::new(format!("journal-{}-{}", self.n, self.journals))),
                max_parallel: Some(self.make.slots as u64),
                stop_id,
            }),
        };
        Some(AgentConnect {
            agent_id: self.taught.as_ref().map_or_else(own, ToString::to_string),
            name: Some(format!("host-{}", self.n)),
            agent_type: AgentType::Custom,
            version: None,
            host_machine: None,
            capabilities: LegacyCapabilities::default(),
            extensions,
        })
    }
}

/// Something that an agent has no business to say.
pub(super) fn nonsense(random: &mut fastrand::Rng, commands: usize) -> AgentToServer {
    let id = match random.u8(0..8) {
        0 => CommandId::new(format!("nobody-{}", random.u8(..))),
        1 => CommandId::of_terminal(format!("{:02x}-bad", random.u8(..))),
        _ => CommandId::new(format!("c-{:02}", random.usize(0..commands))),
    };
    match random.u8(0..6) {
        0 => AgentToServer::CommandComplete({
            let mut it = CommandComplete::new(id, CommandPhase::Completed);
            it.exit_code = Some(0);
            it
        }),
        1 => AgentToServer::CommandAck(CommandAck {
            command_id: id,
            agent_id: None,
            status: CommandAckStatus::Executing,
            queue_position: None,
            waits_for: None,
            line_idle_ms: None,
            unstored: false,
        }),
        2 => AgentToServer::StopReceipt(StopReceipt {
            stop_id: StopId::new("no-stop"),
            stage: StopStage::Verified,
        }),
        3 => AgentToServer::TerminalOpened(TerminalOpened {
            command_id: id,
            program: "evil".to_owned(),
            opened_at: None,
            attached: true,
            size: None,
        }),
        _ => AgentToServer::Output(written(id, "nonsense")),
    }
}

/// What a legacy wrapper writes: without a position.
pub(super) fn written(id: CommandId, text: &str) -> TerminalOutput {
    TerminalOutput {
        command_id: id,
        agent_id: None,
        stream: onsembl_protocol::model::Stream::Stdout.into(),
        content: OutputContent::Text(text.to_owned()),
        sequence: None,
        offset: None,
        incarnation: None,
    }
}
