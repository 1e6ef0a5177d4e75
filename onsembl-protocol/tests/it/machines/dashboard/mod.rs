//! The link of a dashboard, and what an obedient driver does with it: `walk.rs` goes everywhere it can go,
//! `course.rs` has what it is told and asks in the course of time.

mod course;
mod walk;

pub(super) use walk::{Dashboard, states, table};

use crate::support::{now, secs};
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::fleet::{
    Answer, DashboardAction, DashboardEvent, DashboardLink, DashboardToken, Token, TokenEnd, View,
};
use onsembl_protocol::id::{CommandId, ServerInstanceId, UserId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::session::DashboardStatus;
use onsembl_protocol::time::Now;
use onsembl_protocol::wire::ServerToDashboard;
use onsembl_protocol::wire::payload::ErrorCode;
use std::time::Duration;

const HELLO: &str = r#"{"type":"DASHBOARD_INIT","id":"msg_1_1","payload":{"userId":"ann",
    "subscriptions":{"agents":{"all":true},"commands":{"all":true},"terminals":true}}}"#;
const FOREIGN: &str = r#"{"type":"DASHBOARD_INIT","payload":{"userId":"bob"}}"#;
const CANCEL: &str = r#"{"type":"COMMAND_CANCEL","id":"m","payload":{"commandId":"c"}}"#;
const REFRESH: &str = r#"{"type":"TOKEN_REFRESH","id":"r","payload":{"accessToken":"t"}}"#;
const PING: &str = r#"{"type":"PING","payload":{"timestamp":1}}"#;
const PONG: &str = r#"{"type":"PONG","payload":{"timestamp":1}}"#;
const UNKNOWN: &str = r#"{"type":"NEW_IN_A_LATER_VERSION","payload":{}}"#;
const NONSENSE: &str = "nonsense";

/// What happens to a link, as it can be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happens {
    Text(&'static str),
    Binary,
    Control,
    Room,
    Changed,
    Reserved,
    NoRoom,
    Answered(u64),
    Expired,
    Revoked,
    NotRead,
    ServerEnding,
    Ended,
    Wake,
}

impl Happens {
    fn event(self) -> DashboardEvent<'static> {
        match self {
            Self::Text(text) => DashboardEvent::Text(text),
            Self::Binary => DashboardEvent::Binary,
            Self::Control => DashboardEvent::Control,
            Self::Room => DashboardEvent::Room,
            Self::Changed => DashboardEvent::Changed,
            Self::Reserved => DashboardEvent::Reserved,
            Self::NoRoom => DashboardEvent::NoRoom { slots: 512, needed: 3 },
            Self::Answered(number) => DashboardEvent::Answered(Token(number), Some(Answer::Done)),
            Self::Expired => DashboardEvent::TokenEnded(TokenEnd::Expired),
            Self::Revoked => DashboardEvent::TokenEnded(TokenEnd::Revoked),
            Self::NotRead => DashboardEvent::NotRead(CommandId::new("c"), "disk".into()),
            Self::ServerEnding => DashboardEvent::ServerEnding,
            Self::Ended => DashboardEvent::Ended,
            Self::Wake => DashboardEvent::Wake,
        }
    }
}

/// A link of Ann's dashboard, and the view that it looks at.
#[derive(Debug)]
struct Watched {
    link: DashboardLink,
    view: View,
    has_room: bool,
}

/// With a view of nothing.
impl Clone for Watched {
    fn clone(&self) -> Self {
        Self { link: self.link.clone(), view: View::default(), has_room: self.has_room }
    }
}

impl Watched {
    fn new() -> Self {
        let token = DashboardToken { user: UserId::new("ann") };
        let server = ServerInstanceId::new("s");
        let link = DashboardLink::new(token, server, Limits::DEFAULT, now(Duration::ZERO));
        Self { link, view: View::default(), has_room: true }
    }

    fn open() -> Self {
        let mut watched = Self::new();
        let _ = watched.feed(Happens::Text(HELLO).event(), now(secs(1)));
        let _ = watched.feed(DashboardEvent::Reserved, now(secs(1)));
        assert_eq!(watched.link.status(), DashboardStatus::Open);
        watched
    }

    /// What an obedient driver does.
    fn feed(&mut self, event: DashboardEvent<'_>, now: Now) -> Vec<DashboardAction> {
        self.link.handle(event, &self.view, now);
        self.drain(now)
    }

    fn drain(&mut self, now: Now) -> Vec<DashboardAction> {
        std::iter::from_fn(|| self.link.poll_action(&self.view, self.has_room, now)).collect()
    }

    fn text(&mut self, text: &str, now: Now) -> Vec<DashboardAction> {
        self.feed(DashboardEvent::Text(text), now)
    }
}

/// The code of the error that is said, and the close behind it.
fn refused(actions: &[DashboardAction]) -> (Option<ErrorCode>, Option<CloseCause>) {
    let code = actions.iter().find_map(|action| match action {
        DashboardAction::Say(message) => match &**message {
            ServerToDashboard::Error(error) => Some(error.code.clone()),
            _ => None,
        },
        _ => None,
    });
    let close = actions.iter().find_map(|action| match action {
        DashboardAction::Close(cause) => Some(*cause),
        _ => None,
    });
    (code, close)
}
