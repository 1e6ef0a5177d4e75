//! What a dashboard's message requests, and what is refused without asking its fleet: messages before the hello,
//! features that were not negotiated, and more requests than may be in progress.

use super::super::action::Token;
use super::super::event::{KeyboardRequest, Request};
use super::DashboardLink;
use super::lane::KeyboardLane;
use crate::id::{CommandId, DashboardId, MessageId, UserId};
use crate::model::{Capabilities, OfflinePolicy};
use crate::wire::Draft;
use crate::wire::payload::{
    CommandRequest, DashboardInit, ErrorCode, ErrorReply, LongText, OutputTaken, Ping, Pong,
    ReleaseRequest, Subscription, TokenRefresh,
};
use crate::wire::{DashboardToServer, ServerToDashboard};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;

/// What a message requests.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    /// A hello: to be greeted, even when it is not the first.
    Hello(Box<DashboardInit>),
    /// A request to the fleet. It is in progress until the fleet answers.
    Fleet(Token, Request),
    /// To add a subscription.
    Subscribe(Subscription),
    /// To remove a subscription.
    Unsubscribe(Subscription),
    /// To count as shown what is.
    Take(OutputTaken),
    /// To continue with another token. It is in progress until that is checked.
    Refresh(Token, TokenRefresh),
    /// To keep a piece of a text for the request that follows.
    Draft,
    /// Nothing more than this answer.
    Reply(Box<ServerToDashboard>),
    Nothing,
    /// A type of message that this version does not know.
    Unknown(Box<str>),
}

/// The requests of one dashboard that are in progress.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    asked: u64,
    under_way: BTreeMap<Token, UnderWay>,
    /// Bytes of the messages that are in progress.
    bytes: usize,
    lane: KeyboardLane,
    /// The text of a request that is to come.
    draft: Draft,
}

/// A request that is in progress.
#[derive(Clone, Debug)]
pub(super) struct UnderWay {
    /// The id of the message.
    pub(super) id: Option<MessageId>,
    /// The command that it names, if any.
    pub(super) command: Option<CommandId>,
    pub(super) answering: Answering,
    bytes: usize,
}

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answering {
    /// By an acknowledgement.
    Ack,
    /// By who holds the keyboard.
    Keyboard,
    /// Only if it is refused: `taken` says that it was not (P-403).
    Refusal,
}

/// What a message before the hello requests.
pub(super) fn before_hello(
    owner: &UserId,
    id: Option<MessageId>,
    message: DashboardToServer,
) -> Asked {
    let command = command_of(&message);
    match message {
        DashboardToServer::Init(init) => match &init.user_id {
            Some(user) if user != owner => {
                let why = "`userId` is not the token's user";
                reply(ErrorReply::new(ErrorCode::Unauthorized, why).about(id))
            }
            Some(_) | None => Asked::Hello(Box::new(init)),
        },
        DashboardToServer::Ping(ping) => pong(&ping),
        DashboardToServer::Subscribe(_)
        | DashboardToServer::Unsubscribe(_)
        | DashboardToServer::CommandRequest(_)
        | DashboardToServer::CommandText(_)
        | DashboardToServer::CommandCancel(_)
        | DashboardToServer::Control(_)
        | DashboardToServer::EmergencyStop(_)
        | DashboardToServer::StopRelease(_)
        | DashboardToServer::KeyboardTake(_)
        | DashboardToServer::KeyboardRelease(_)
        | DashboardToServer::TerminalInput(_)
        | DashboardToServer::OutputTaken(_)
        | DashboardToServer::Pong(_)
        | DashboardToServer::TokenRefresh(_)
        | DashboardToServer::Unknown(_) => {
            let why = "DASHBOARD_INIT must come first; nothing was done";
            let error = ErrorReply::new(ErrorCode::Unauthorized, why);
            reply(error.about(id).for_command(command))
        }
    }
}

impl Requests {
    /// Those of this dashboard.
    pub(super) fn of(dashboard: DashboardId) -> Self {
        Self { lane: KeyboardLane::new(dashboard), ..Self::default() }
    }

    /// Takes a message after the hello, with its id and its length in bytes. `capabilities` is what was negotiated in
    /// the hello.
    #[must_use = "the dashboard waits for an answer"]
    pub(super) fn take(
        &mut self,
        from: (Option<MessageId>, usize),
        message: DashboardToServer,
        capabilities: Capabilities,
    ) -> Asked {
        match message {
            DashboardToServer::Init(init) => Asked::Hello(Box::new(init)),
            DashboardToServer::Subscribe(what) => Asked::Subscribe(what),
            DashboardToServer::Unsubscribe(what) => Asked::Unsubscribe(what),
            DashboardToServer::CommandRequest(mut request) => {
                if !capabilities.is_extended() {
                    // It cannot choose, and shows a command that waits as if it ran.
                    request.offline = Some(OfflinePolicy::Refuse);
                }
                self.run(from, request, capabilities)
            }
            DashboardToServer::CommandText(piece) if capabilities.takes_long_texts() => {
                self.draft.add(piece);
                Asked::Draft
            }
            // Its request is refused.
            DashboardToServer::CommandText(_) => Asked::Nothing,
            DashboardToServer::CommandCancel(cancel) => {
                self.ask(from, Some(cancel.command_id.clone()), Request::Cancel(cancel))
            }
            DashboardToServer::Control(control) => self.ask(from, None, Request::Control(control)),
            DashboardToServer::EmergencyStop(stop) if capabilities.latches_stops() => {
                self.ask(from, None, Request::LatchStop(stop))
            }
            // A dashboard that cannot release a stop gets a momentary one.
            DashboardToServer::EmergencyStop(stop) => self.ask(from, None, Request::StopOnce(stop)),
            DashboardToServer::StopRelease(release) => self.release(from, release, capabilities),
            DashboardToServer::KeyboardTake(take) => {
                let terminal = take.command_id.clone();
                self.type_on(from, terminal, KeyboardRequest::Take(take), capabilities)
            }
            DashboardToServer::KeyboardRelease(release) => {
                let terminal = release.command_id.clone();
                self.type_on(from, terminal, KeyboardRequest::Release(release), capabilities)
            }
            DashboardToServer::TerminalInput(input) => {
                let terminal = input.command_id.clone();
                self.type_on(from, terminal, KeyboardRequest::Input(input), capabilities)
            }
            DashboardToServer::OutputTaken(taken) => Asked::Take(taken),
            DashboardToServer::Ping(ping) => pong(&ping),
            DashboardToServer::Pong(_) => Asked::Nothing,
            DashboardToServer::TokenRefresh(refresh) => match self.begin(from, None) {
                Ok(number) => Asked::Refresh(number, refresh),
                Err(refused) => reply(refused),
            },
            DashboardToServer::Unknown(kind) => Asked::Unknown(kind),
        }
    }

    /// A command is to be run, with the text that came before the request, if it has one of those.
    fn run(
        &mut self,
        (id, bytes): (Option<MessageId>, usize),
        mut request: CommandRequest,
        capabilities: Capabilities,
    ) -> Asked {
        let command = request.command_id.clone();
        if request.long_text.is_some() && !capabilities.takes_long_texts() {
            let why = "this dashboard did not offer `long-text` in its hello; nothing was done";
            let error = ErrorReply::new(ErrorCode::NotSupported, why);
            return reply(error.about(id).for_command(command));
        }
        if let Err(why) = self.draft.join(&mut request) {
            let error = ErrorReply::new(ErrorCode::InvalidMessage, why);
            return reply(error.about(id).for_command(command));
        }
        let bytes = bytes.saturating_add(request.long_text.as_ref().map_or(0, LongText::held));
        self.ask((id, bytes), command, Request::Command(Box::new(request)))
    }

    /// A request was answered. Returns it, if it was in progress.
    pub(super) fn end(&mut self, number: Token) -> Option<UnderWay> {
        let ended = self.under_way.remove(&number)?;
        self.bytes = self.bytes.saturating_sub(ended.bytes);
        Some(ended)
    }

    /// What the fleet is to be asked because this was answered.
    pub(super) fn next_typed(&mut self, answered: Token) -> Option<(Token, Request)> {
        self.lane.answered(answered)
    }

    /// The link is over. Gives what the fleet is to be told.
    pub(super) fn end_typing(&mut self) -> Option<(Token, Request)> {
        let request = self.lane.end()?;
        self.asked = self.asked.saturating_add(1);
        Some((Token(self.asked), request))
    }

    fn type_on(
        &mut self,
        from: (Option<MessageId>, usize),
        terminal: CommandId,
        request: KeyboardRequest,
        capabilities: Capabilities,
    ) -> Asked {
        if !capabilities.types() {
            let why = "this dashboard did not offer `typing` in its hello; nothing was typed";
            let error = ErrorReply::new(ErrorCode::NotSupported, why).about(from.0);
            return reply(error.for_command(Some(terminal)));
        }
        let kind = match &request {
            KeyboardRequest::Take(_) => Answering::Keyboard,
            KeyboardRequest::Input(_) => Answering::Refusal,
            KeyboardRequest::Release(_) | KeyboardRequest::LinkLost => Answering::Ack,
        };
        match self.begin_as(from, Some(terminal), kind) {
            Ok(number) => match self.lane.push(number, request) {
                Some((number, request)) => Asked::Fleet(number, request),
                None => Asked::Nothing,
            },
            Err(refused) => reply(refused),
        }
    }

    /// Bytes of the messages that are in progress.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn release(
        &mut self,
        from: (Option<MessageId>, usize),
        release: ReleaseRequest,
        capabilities: Capabilities,
    ) -> Asked {
        let agent = release.agent_id.clone();
        let refuse = |id, code, why| reply(ErrorReply::new(code, why).about(id).for_agent(agent));
        if !capabilities.latches_stops() {
            let why = "this dashboard did not offer `stop-latch` in its hello; nothing is released";
            return refuse(from.0, ErrorCode::NotSupported, why);
        }
        match release.scope() {
            Some(scope) => self.ask(from, None, Request::Release(scope)),
            None => {
                let why = "give one `agentId`, or `all`; nothing is released";
                refuse(from.0, ErrorCode::InvalidMessage, why)
            }
        }
    }

    fn ask(
        &mut self,
        from: (Option<MessageId>, usize),
        command: Option<CommandId>,
        request: Request,
    ) -> Asked {
        match self.begin(from, command) {
            Ok(number) => Asked::Fleet(number, request),
            Err(refused) => reply(refused),
        }
    }

    fn begin(
        &mut self,
        from: (Option<MessageId>, usize),
        command: Option<CommandId>,
    ) -> Result<Token, ErrorReply> {
        self.begin_as(from, command, Answering::Ack)
    }

    fn begin_as(
        &mut self,
        (id, bytes): (Option<MessageId>, usize),
        command: Option<CommandId>,
        answering: Answering,
    ) -> Result<Token, ErrorReply> {
        if self.under_way.len() >= DashboardLink::MOST_UNDER_WAY {
            let why = "too many requests are in progress; wait for their answers";
            let error = ErrorReply::new(ErrorCode::QueueFull, why);
            return Err(error.about(id).for_command(command));
        }
        self.asked = self.asked.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        let number = Token(self.asked);
        let _ = self.under_way.insert(number, UnderWay { id, command, answering, bytes });
        Ok(number)
    }
}

fn reply(error: ErrorReply) -> Asked {
    Asked::Reply(Box::new(ServerToDashboard::Error(error)))
}

fn pong(ping: &Ping) -> Asked {
    let pong = Pong { timestamp: ping.timestamp, latency: Some(0.0), sequence: ping.sequence };
    Asked::Reply(Box::new(ServerToDashboard::Pong(pong)))
}

fn command_of(message: &DashboardToServer) -> Option<CommandId> {
    match message {
        DashboardToServer::CommandRequest(request) => request.command_id.clone(),
        DashboardToServer::CommandText(piece) => Some(piece.command_id.clone()),
        DashboardToServer::CommandCancel(cancel) => Some(cancel.command_id.clone()),
        DashboardToServer::KeyboardTake(take) => Some(take.command_id.clone()),
        DashboardToServer::KeyboardRelease(release) => Some(release.command_id.clone()),
        DashboardToServer::TerminalInput(input) => Some(input.command_id.clone()),
        DashboardToServer::OutputTaken(taken) => Some(taken.command_id.clone()),
        DashboardToServer::Init(_)
        | DashboardToServer::Subscribe(_)
        | DashboardToServer::Unsubscribe(_)
        | DashboardToServer::Control(_)
        | DashboardToServer::EmergencyStop(_)
        | DashboardToServer::StopRelease(_)
        | DashboardToServer::Ping(_)
        | DashboardToServer::Pong(_)
        | DashboardToServer::TokenRefresh(_)
        | DashboardToServer::Unknown(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DASHBOARD_FEATURES, Dialect};
    use crate::wire::payload::{CommandCancel, EmergencyStop};

    fn cancel() -> DashboardToServer {
        let command_id = CommandId::new("c");
        let cancel = CommandCancel { command_id, agent_id: None, reason: None, force: false };
        DashboardToServer::CommandCancel(cancel)
    }

    fn take(requests: &mut Requests, message: DashboardToServer) -> Asked {
        requests.take((None, 100), message, Capabilities::LEGACY)
    }

    fn code(asked: &Asked) -> Option<&ErrorCode> {
        match asked {
            Asked::Reply(message) => match &**message {
                ServerToDashboard::Error(error) => Some(&error.code),
                _ => None,
            },
            _ => None,
        }
    }

    #[test]
    fn before_its_hello_a_dashboard_does_nothing() {
        let ann = UserId::new("ann");
        assert_eq!(code(&before_hello(&ann, None, cancel())), Some(&ErrorCode::Unauthorized));
        let hello = |user: Option<&str>| {
            let user_id = user.map(UserId::new);
            DashboardToServer::Init(DashboardInit { user_id, ..DashboardInit::default() })
        };
        let foreign = before_hello(&ann, None, hello(Some("bob")));
        assert_eq!(code(&foreign), Some(&ErrorCode::Unauthorized));
        for own in [Some("ann"), None] {
            assert!(matches!(before_hello(&ann, None, hello(own)), Asked::Hello(_)));
        }
    }

    #[test]
    fn one_request_more_than_may_be_under_way_is_refused() {
        let mut requests = Requests::default();
        let mut numbers = alloc::vec::Vec::new();
        for _ in 0..DashboardLink::MOST_UNDER_WAY {
            match take(&mut requests, cancel()) {
                Asked::Fleet(number, _) => numbers.push(number),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(code(&take(&mut requests, cancel())), Some(&ErrorCode::QueueFull));
        assert_eq!(requests.bytes(), 100 * DashboardLink::MOST_UNDER_WAY);
        let first = numbers[0];
        assert_eq!(requests.end(first).and_then(|r| r.command), Some(CommandId::new("c")));
        assert!(requests.end(first).is_none(), "answered once");
        assert!(matches!(take(&mut requests, cancel()), Asked::Fleet(..)));
    }

    #[test]
    fn a_long_text_is_joined_to_its_request_or_refused() {
        let all =
            Capabilities::negotiate(DASHBOARD_FEATURES, DASHBOARD_FEATURES, Dialect::Extended);
        let (id, agent) = (CommandId::new("c"), crate::id::AgentId::new("a"));
        let whole = CommandRequest::of_any_length(id.clone(), agent, "x".repeat(300_000));
        let pieces: alloc::vec::Vec<_> =
            whole.long_text.iter().flat_map(|l| l.pieces(&id)).collect();
        let mut declared = whole.clone();
        declared.long_text = Some(LongText::Declared(300_000));
        let asks = |kept: &[usize], capabilities: Capabilities| {
            let mut requests = Requests::default();
            for piece in kept.iter().filter_map(|at| pieces.get(*at)) {
                let piece = DashboardToServer::CommandText(piece.clone());
                let _ = requests.take((None, 1), piece, capabilities);
            }
            let request = DashboardToServer::CommandRequest(declared.clone());
            let asked = requests.take((None, 100), request, capabilities);
            (asked, requests.bytes())
        };
        match asks(&[0, 1, 2], all) {
            (Asked::Fleet(_, Request::Command(request)), bytes) => {
                assert_eq!((*request, bytes), (whole.clone(), 300_100));
            }
            other => panic!("{other:?}"),
        }
        for kept in [&[][..], &[0, 1], &[0, 2], &[1, 2], &[0, 2, 1], &[0, 0, 1, 2, 2]] {
            let (asked, bytes) = asks(kept, all);
            assert_eq!(code(&asked), Some(&ErrorCode::InvalidMessage), "{kept:?}");
            assert_eq!(bytes, 0);
        }
        let (asked, _) = asks(&[0, 1, 2], Capabilities::LEGACY);
        assert_eq!(code(&asked), Some(&ErrorCode::NotSupported));
    }

    #[test]
    fn only_a_dashboard_that_can_release_a_stop_gets_a_latching_one() {
        let all =
            Capabilities::negotiate(DASHBOARD_FEATURES, DASHBOARD_FEATURES, Dialect::Extended);
        let asked = |capabilities| {
            let stop = DashboardToServer::EmergencyStop(EmergencyStop::default());
            match Requests::default().take((None, 1), stop, capabilities) {
                Asked::Fleet(_, request) => request,
                other => panic!("{other:?}"),
            }
        };
        assert!(matches!(asked(all), Request::LatchStop(_)));
        assert!(matches!(asked(Capabilities::LEGACY), Request::StopOnce(_)));
        let release = ReleaseRequest { agent_id: None, all: true };
        let refused = take(&mut Requests::default(), DashboardToServer::StopRelease(release));
        assert_eq!(code(&refused), Some(&ErrorCode::NotSupported));
    }
}
