//! What the user wants, and that each request is answered once.

use super::judge::Truth;
use super::world::{COMMANDS, World};
use onsembl_protocol::fleet::{Answer, Request, Token};
use onsembl_protocol::id::{AgentId, CommandId};
use onsembl_protocol::model::StopScope;
use onsembl_protocol::wire::payload::{
    AgentControl, CommandCancel, CommandInput, CommandRequest, ControlAction, EmergencyStop,
    OfflinePolicy, Priority,
};

/// What was asked for and is not answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Command(CommandId),
    Other,
}

pub(super) fn command(n: usize) -> CommandId {
    CommandId::new(format!("c-{n:02}"))
}

impl World {
    pub(super) fn request(&mut self, wanted: Wanted, request: Request) {
        let token = self.counts.token();
        self.log(|| format!("request {}: {request:?}", token.0));
        self.wanted.insert(token, wanted);
        self.server.request(token, request, self.at);
        self.look();
    }

    /// A command, new or once more.
    pub(super) fn ask(&mut self) {
        if self.is_over {
            return;
        }
        let id = command(self.random.usize(0..COMMANDS));
        let n = self.random.usize(0..self.hosts.len());
        if self.lost_rows.contains(&id) {
            // Asked for once more, it might go to another agent than the one that has it.
            return;
        }
        let Some(agent) = self.agent_of(n) else { return };
        let mut request = CommandRequest::new(id.clone(), agent, "work");
        if self.random.u8(0..8) == 0 {
            // By its name, or by nothing.
            request.agent_id = self.random.bool().then(|| AgentId::new(format!("host-{n}")));
        }
        request.priority = match self.random.u8(0..4) {
            0 => Priority::Low,
            1 => Priority::High,
            2 => Priority::Emergency,
            _ => Priority::Normal,
        };
        request.constraints.time_limit_ms = (self.random.u8(0..6) == 0).then_some(5_000);
        request.start_within_ms = (self.random.u8(0..6) == 0).then_some(20_000);
        request.offline = (self.random.u8(0..6) == 0).then_some(OfflinePolicy::Refuse);
        request.input = (self.random.u8(0..6) == 0).then_some(CommandInput::Keys);
        if self.random.u8(0..10) == 0 {
            request.working_directory = Some("/".to_owned());
        }
        self.request(Wanted::Command(id), Request::Command(Box::new(request)));
    }

    pub(super) fn cancel(&mut self) {
        let command_id = command(self.random.usize(0..COMMANDS));
        let force = self.random.bool();
        let cancel = CommandCancel { command_id, agent_id: None, reason: None, force };
        self.request(Wanted::Other, Request::Cancel(cancel));
    }

    fn some_agent(&mut self) -> Option<AgentId> {
        let n = self.random.usize(0..self.hosts.len());
        self.agent_of(n)
    }

    fn some_scope(&mut self) -> StopScope {
        match self.some_agent() {
            Some(agent) if self.random.u8(0..3) > 0 => StopScope::Agent(agent),
            Some(_) | None => StopScope::All,
        }
    }

    /// An order for an agent or for all.
    pub(super) fn order(&mut self) {
        let request = match self.random.u8(0..10) {
            0 => {
                let scope = self.some_scope();
                Request::Stop { scope, reason: "enough".to_owned() }
            }
            1 => Request::LatchStop(EmergencyStop::default()),
            2 => Request::StopOnce(EmergencyStop::default()),
            3..6 => Request::Release(self.some_scope()),
            6 => {
                let Some(agent) = self.some_agent() else { return };
                Request::Audit(agent)
            }
            n => {
                let Some(agent) = self.some_agent() else { return };
                let action = match n {
                    7 => ControlAction::Pause,
                    8 => ControlAction::Resume,
                    _ if self.random.bool() => ControlAction::Restart,
                    _ => ControlAction::Resize,
                };
                Request::Control(control(agent, action))
            }
        };
        self.request(Wanted::Other, request);
    }

    pub(super) fn delete(&mut self) {
        if let Some(agent) = self.some_agent() {
            self.request(Wanted::Other, Request::DeleteAgent(agent));
        }
    }

    /// Each request is answered once, and one that is accepted is stored.
    pub(super) fn check_reply(&mut self, token: Token, answer: Answer) {
        self.log(|| format!("answer to {}: {answer:?}", token.0));
        let wanted = self.wanted.remove(&token);
        let wanted = wanted.unwrap_or_else(|| panic!("{token:?} is answered again: {answer:?}"));
        match (wanted, answer.done()) {
            (Wanted::Command(id), Ok(())) => {
                let row = self.store.commands.get(&id);
                assert!(row.is_some(), "{id} is accepted, and not stored");
                self.truth.entry(id).or_insert_with(|| Truth::on(usize::MAX)).is_accepted = true;
            }
            (Wanted::Command(_) | Wanted::Other, _) => {}
        }
    }
}

pub(super) fn control(agent: AgentId, action: ControlAction) -> AgentControl {
    AgentControl {
        agent_id: Some(agent),
        action,
        reason: None,
        graceful_shutdown: None,
        timeout: None,
        size: None,
    }
}
