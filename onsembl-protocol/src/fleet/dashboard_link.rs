//! What a message of a dashboard asks for, and what is refused before its fleet is asked: what comes before the
//! hello, what the dashboard did not negotiate, and more requests than may be under way.

use super::event::Request;
use crate::id::{CommandId, MessageId, UserId};
use crate::model::{Capabilities, OfflinePolicy};
use crate::wire::payload::{
    DashboardInit, ErrorCode, ErrorReply, Ping, Pong, ReleaseRequest, Subscription, TokenRefresh,
};
use crate::wire::{DashboardToServer, ServerToDashboard};
use alloc::boxed::Box;

/// What a message asks for.
#[derive(Clone, Debug)]
pub enum DashboardRequest {
    /// A hello: to be greeted, also once more in the middle.
    Hello(Box<DashboardInit>),
    /// To put this to the fleet, whose answer goes to the dashboard. It counts as under way until then.
    Fleet {
        /// The command that the answer is about.
        command: Option<CommandId>,
        /// What is asked.
        request: Request,
    },
    /// To see more.
    Subscribe(Subscription),
    /// To see less.
    Unsubscribe(Subscription),
    /// To go on under another token. It counts as under way until that is checked.
    Refresh(TokenRefresh),
    /// This is the answer.
    Reply(Box<ServerToDashboard>),
    /// Nothing.
    Nothing,
    /// Nothing that this version knows; this is its type.
    Unknown(Box<str>),
}

/// The requests of one dashboard's link. A [reducer](crate::step#two-contracts).
#[derive(Clone, Debug)]
pub struct DashboardLink {
    user: UserId,
    stage: Stage,
    under_way: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    BeforeHello,
    Greeted,
}

impl DashboardLink {
    /// Requests that may be under way: 64, more than a person or a page has at once.
    pub const MOST_UNDER_WAY: usize = 64;

    /// A link whose token is this user's.
    pub const fn new(user: UserId) -> Self {
        Self { user, stage: Stage::BeforeHello, under_way: 0 }
    }

    /// Takes a message. `capabilities` is what was negotiated in the hello.
    #[must_use = "the dashboard waits for an answer"]
    pub fn handle(
        &mut self,
        id: Option<MessageId>,
        message: DashboardToServer,
        capabilities: Capabilities,
    ) -> DashboardRequest {
        match self.stage {
            Stage::BeforeHello => self.before_hello(id, message),
            Stage::Greeted => self.greeted(id, message, capabilities),
        }
    }

    fn before_hello(
        &mut self,
        id: Option<MessageId>,
        message: DashboardToServer,
    ) -> DashboardRequest {
        let command = command_of(&message);
        match message {
            DashboardToServer::Init(init) => match &init.user_id {
                Some(user) if *user != self.user => {
                    let why = "`userId` is not the token's user";
                    reply(ErrorReply::new(ErrorCode::Unauthorized, why).about(id))
                }
                Some(_) | None => {
                    self.stage = Stage::Greeted;
                    DashboardRequest::Hello(Box::new(init))
                }
            },
            DashboardToServer::Ping(ping) => pong(&ping),
            DashboardToServer::Subscribe(_)
            | DashboardToServer::Unsubscribe(_)
            | DashboardToServer::CommandRequest(_)
            | DashboardToServer::CommandCancel(_)
            | DashboardToServer::Control(_)
            | DashboardToServer::EmergencyStop(_)
            | DashboardToServer::StopRelease(_)
            | DashboardToServer::Pong(_)
            | DashboardToServer::TokenRefresh(_)
            | DashboardToServer::Unknown(_) => {
                let why = "DASHBOARD_INIT must come first; nothing was done";
                let error = ErrorReply::new(ErrorCode::Unauthorized, why);
                reply(error.about(id).for_command(command))
            }
        }
    }

    fn greeted(
        &mut self,
        id: Option<MessageId>,
        message: DashboardToServer,
        capabilities: Capabilities,
    ) -> DashboardRequest {
        match message {
            DashboardToServer::Init(init) => DashboardRequest::Hello(Box::new(init)),
            DashboardToServer::Subscribe(what) => DashboardRequest::Subscribe(what),
            DashboardToServer::Unsubscribe(what) => DashboardRequest::Unsubscribe(what),
            DashboardToServer::CommandRequest(mut request) => {
                if !capabilities.is_extended() {
                    // It has no way to ask, and shows what waits as if it ran.
                    request.offline = Some(OfflinePolicy::Refuse);
                }
                let command = request.command_id.clone();
                self.ask(id, command, Request::Command(Box::new(request)))
            }
            DashboardToServer::CommandCancel(cancel) => {
                self.ask(id, Some(cancel.command_id.clone()), Request::Cancel(cancel))
            }
            DashboardToServer::Control(control) => self.ask(id, None, Request::Control(control)),
            // A dashboard that could not release it gets a momentary stop.
            DashboardToServer::EmergencyStop(stop) if capabilities.latches_stops() => {
                self.ask(id, None, Request::LatchStop(stop))
            }
            DashboardToServer::EmergencyStop(stop) => self.ask(id, None, Request::StopOnce(stop)),
            DashboardToServer::StopRelease(release) => self.release(id, release, capabilities),
            DashboardToServer::Ping(ping) => pong(&ping),
            DashboardToServer::Pong(_) => DashboardRequest::Nothing,
            DashboardToServer::TokenRefresh(refresh) => match self.begin() {
                true => DashboardRequest::Refresh(refresh),
                false => too_many(id, None),
            },
            DashboardToServer::Unknown(kind) => DashboardRequest::Unknown(kind),
        }
    }

    /// A request that was under way is answered.
    pub const fn answered(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    fn release(
        &mut self,
        id: Option<MessageId>,
        release: ReleaseRequest,
        capabilities: Capabilities,
    ) -> DashboardRequest {
        let agent = release.agent_id.clone();
        let refuse = |id, code, why| reply(ErrorReply::new(code, why).about(id).for_agent(agent));
        if !capabilities.latches_stops() {
            let why = "this dashboard did not say `stop-latch` in its hello; nothing is released";
            return refuse(id, ErrorCode::NotSupported, why);
        }
        match release.scope() {
            Some(scope) => self.ask(id, None, Request::Release(scope)),
            None => {
                let why = "name one `agentId`, or say `all`; nothing is released";
                refuse(id, ErrorCode::InvalidMessage, why)
            }
        }
    }

    fn ask(
        &mut self,
        id: Option<MessageId>,
        command: Option<CommandId>,
        request: Request,
    ) -> DashboardRequest {
        match self.begin() {
            true => DashboardRequest::Fleet { command, request },
            false => too_many(id, command),
        }
    }

    const fn begin(&mut self) -> bool {
        let has_room = self.under_way < Self::MOST_UNDER_WAY;
        if has_room {
            self.under_way += 1;
        }
        has_room
    }
}

fn too_many(id: Option<MessageId>, command: Option<CommandId>) -> DashboardRequest {
    let why = "too many requests are under way; wait for their answers";
    reply(ErrorReply::new(ErrorCode::QueueFull, why).about(id).for_command(command))
}

fn reply(error: ErrorReply) -> DashboardRequest {
    DashboardRequest::Reply(Box::new(ServerToDashboard::Error(error)))
}

fn pong(ping: &Ping) -> DashboardRequest {
    let pong = Pong { timestamp: ping.timestamp, latency: Some(0.0), sequence: ping.sequence };
    DashboardRequest::Reply(Box::new(ServerToDashboard::Pong(pong)))
}

fn command_of(message: &DashboardToServer) -> Option<CommandId> {
    match message {
        DashboardToServer::CommandRequest(request) => request.command_id.clone(),
        DashboardToServer::CommandCancel(cancel) => Some(cancel.command_id.clone()),
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

    fn greeted() -> DashboardLink {
        DashboardLink { user: UserId::new("ann"), stage: Stage::Greeted, under_way: 0 }
    }

    fn code(request: &DashboardRequest) -> Option<&ErrorCode> {
        match request {
            DashboardRequest::Reply(message) => match &**message {
                ServerToDashboard::Error(error) => Some(&error.code),
                _ => None,
            },
            _ => None,
        }
    }

    #[test]
    fn before_its_hello_a_dashboard_does_nothing() {
        let mut link = DashboardLink::new(UserId::new("ann"));
        let refused = link.handle(None, cancel(), Capabilities::LEGACY);
        assert_eq!(code(&refused), Some(&ErrorCode::Unauthorized));
        let hello = |user: Option<&str>| {
            DashboardToServer::Init(DashboardInit {
                user_id: user.map(UserId::new),
                ..DashboardInit::default()
            })
        };
        let foreign = link.handle(None, hello(Some("bob")), Capabilities::LEGACY);
        assert_eq!(code(&foreign), Some(&ErrorCode::Unauthorized));
        let own = link.handle(None, hello(Some("ann")), Capabilities::LEGACY);
        assert!(matches!(own, DashboardRequest::Hello(_)));
        let taken = link.handle(None, cancel(), Capabilities::LEGACY);
        assert!(matches!(taken, DashboardRequest::Fleet { .. }));
    }

    #[test]
    fn one_request_more_than_may_be_under_way_is_refused() {
        let mut link = greeted();
        for _ in 0..DashboardLink::MOST_UNDER_WAY {
            let taken = link.handle(None, cancel(), Capabilities::LEGACY);
            assert!(matches!(taken, DashboardRequest::Fleet { .. }));
        }
        let refused = link.handle(None, cancel(), Capabilities::LEGACY);
        assert_eq!(code(&refused), Some(&ErrorCode::QueueFull));
        link.answered();
        let taken = link.handle(None, cancel(), Capabilities::LEGACY);
        assert!(matches!(taken, DashboardRequest::Fleet { .. }));
    }

    #[test]
    fn only_who_can_release_a_stop_gets_one_that_holds() {
        let all =
            Capabilities::negotiate(DASHBOARD_FEATURES, DASHBOARD_FEATURES, Dialect::Extended);
        let stop = || DashboardToServer::EmergencyStop(EmergencyStop::default());
        let asked = |capabilities| match greeted().handle(None, stop(), capabilities) {
            DashboardRequest::Fleet { request, .. } => request,
            other => unreachable!("{other:?}"),
        };
        assert!(matches!(asked(all), Request::LatchStop(_)));
        assert!(matches!(asked(Capabilities::LEGACY), Request::StopOnce(_)));
        let release = ReleaseRequest { agent_id: None, all: true };
        let refused =
            greeted().handle(None, DashboardToServer::StopRelease(release), Capabilities::LEGACY);
        assert_eq!(code(&refused), Some(&ErrorCode::NotSupported));
    }
}
