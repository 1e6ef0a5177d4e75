//! Everywhere the link of a dashboard can go: what each frame counts as in each status, and its edges.

use super::{CANCEL, FOREIGN, HELLO, Happens, NONSENSE, PING, PONG, REFRESH, UNKNOWN, Watched};
use crate::machines::explore::{Clocks, Explored};
use crate::machines::frames::{self, Frames};
use crate::support::{now, secs};
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::fleet::{DashboardAction, DashboardLink, View};
use onsembl_protocol::session::{DashboardCause, DashboardEdge, DashboardStatus, Edge};
use onsembl_protocol::time::Deadline;
use onsembl_protocol::wire::ServerToDashboard;

fn after(events: &[(Happens, u32)]) -> DashboardLink {
    let mut watched = Watched::new();
    for (event, times) in events {
        for _ in 0..*times {
            let _ = watched.feed(event.event(), now(secs(1)));
        }
    }
    watched.link
}

/// Each status, and the links on which a bound is reached.
pub(in crate::machines) fn states() -> Vec<(&'static str, DashboardLink)> {
    let hello = (Happens::Text(HELLO), 1);
    let reserved = (Happens::Reserved, 1);
    vec![
        ("greeting", after(&[])),
        ("greeting, after 64 other messages", after(&[(Happens::Text(PING), 64)])),
        ("greeting, after 20 undecodable", after(&[(Happens::Text(NONSENSE), 20)])),
        ("admitting", after(&[hello])),
        ("open", after(&[hello, reserved])),
        ("open, after 20 undecodable", after(&[hello, reserved, (Happens::Text(NONSENSE), 20)])),
        (
            "open, with 64 requests in progress",
            after(&[hello, reserved, (Happens::Text(CANCEL), 64)]),
        ),
        ("closing", after(&[hello, reserved, (Happens::ServerEnding, 1)])),
    ]
}

/// Everything that can come over a link.
fn frames() -> Vec<(&'static str, Happens)> {
    vec![
        ("a hello", Happens::Text(HELLO)),
        ("a hello of another user", Happens::Text(FOREIGN)),
        ("a request", Happens::Text(CANCEL)),
        ("a new token", Happens::Text(REFRESH)),
        ("a probe", Happens::Text(PING)),
        ("a pong", Happens::Text(PONG)),
        ("an unknown type", Happens::Text(UNKNOWN)),
        ("what cannot be decoded", Happens::Text(NONSENSE)),
        ("a binary message", Happens::Binary),
        ("a control frame", Happens::Control),
    ]
}

fn word(action: &DashboardAction) -> Option<String> {
    Some(match action {
        DashboardAction::Say(message) => match &**message {
            ServerToDashboard::Error(error) => format!("`{}`", error.code.as_str()),
            ServerToDashboard::Pong(_) => "answer".into(),
            other => panic!("{other:?}"),
        },
        DashboardAction::Tell(_) => "greeted".into(),
        DashboardAction::Reserve(_) => "reserve memory".into(),
        DashboardAction::Ask(..) => "to the fleet".into(),
        DashboardAction::CheckToken(..) => "check the token".into(),
        DashboardAction::Close(cause) => format!("close {}", cause.code()),
        DashboardAction::Note(_) => return None,
        other => panic!("{other:?}"),
    })
}

/// The table of the document.
pub(in crate::machines) fn table() -> String {
    frames::table(&Frames {
        states: states(),
        frames: frames(),
        status: DashboardLink::status,
        counts,
    })
}

fn counts(link: &DashboardLink, frame: Happens) -> String {
    let (view, has_room) = (View::default(), true);
    let mut watched = Watched { link: link.clone(), view, has_room };
    let actions = watched.feed(frame.event(), now(secs(1)));
    let mut output: Vec<String> = actions.iter().filter_map(word).collect();
    output.dedup();
    if output.is_empty() {
        output.push(
            match link.status() {
                DashboardStatus::Open => "sign of life",
                DashboardStatus::Greeting => "nothing",
                DashboardStatus::Admitting | DashboardStatus::Closing => "dropped",
            }
            .into(),
        );
    }
    format!("{} | `{}`", output.join(", "), watched.link.status())
}

#[derive(Clone, Debug)]
pub(in crate::machines) struct Dashboard {
    watched: Watched,
    clocks: Clocks,
}

impl Dashboard {
    pub(in crate::machines) fn new(link: DashboardLink) -> Self {
        let mut clocks = Clocks::default();
        clocks.go_to(Deadline::At(now(secs(1)).monotonic));
        Self { watched: Watched { link, view: View::default(), has_room: true }, clocks }
    }
}

impl Explored for Dashboard {
    type Event = Happens;
    type Edge = DashboardEdge;

    /// With what the next frame brings, because a bound that is reached shows only in a number.
    fn text(&self) -> String {
        let next = [PING, NONSENSE].map(|text| {
            let mut watched = self.watched.clone();
            watched.text(text, self.clocks.now())
        });
        format!("{:?} {next:?}", self.watched.link)
    }

    fn clocks(&mut self) -> &mut Clocks {
        &mut self.clocks
    }

    fn deadline(&self) -> Deadline {
        self.watched.link.deadline()
    }

    fn wake() -> Happens {
        Happens::Wake
    }

    fn events(&self) -> Vec<Happens> {
        let mut events: Vec<Happens> = [HELLO, FOREIGN, PING, PONG, UNKNOWN, NONSENSE]
            .into_iter()
            .map(Happens::Text)
            .collect();
        events.extend([
            Happens::Binary,
            Happens::Control,
            Happens::Room,
            Happens::Changed,
            Happens::Reserved,
            Happens::NoRoom,
            Happens::Answered(1),
            Happens::Expired,
            Happens::Revoked,
            Happens::NotRead,
            Happens::ServerEnding,
            Happens::Ended,
            Happens::Wake,
        ]);
        events
    }

    fn feed(&mut self, event: Happens) -> Option<DashboardEdge> {
        let from = self.watched.link.status();
        let actions = self.watched.feed(event.event(), self.clocks.now());
        let to = self.watched.link.status();
        let closed = actions.iter().find_map(|action| match action {
            DashboardAction::Close(cause) => Some(*cause),
            _ => None,
        });
        let is_over = from != to && to == DashboardStatus::Closing;
        assert_eq!(closed.is_some(), is_over && event != Happens::Ended, "{event:?}");
        (from != to).then(|| Edge { from, cause: cause(event, closed), to })
    }
}

fn cause(event: Happens, closed: Option<CloseCause>) -> DashboardCause {
    match (event, closed) {
        (Happens::NotRead, Some(CloseCause::TryLater)) => DashboardCause::NotRead,
        (_, Some(CloseCause::TryLater)) => DashboardCause::NoRoom,
        (_, Some(CloseCause::HelloTimeout)) => DashboardCause::NoHello,
        (_, Some(CloseCause::TooManyUndecodable)) => DashboardCause::TooManyUndecodable,
        (_, Some(CloseCause::UnsupportedData)) => DashboardCause::Binary,
        (_, Some(CloseCause::Silent)) => DashboardCause::Silence,
        (_, Some(CloseCause::TokenExpired)) => DashboardCause::TokenExpired,
        (_, Some(CloseCause::Revoked)) => DashboardCause::Revoked,
        (_, Some(CloseCause::GoingAway)) => DashboardCause::ServerEnding,
        (Happens::Text(_), None) => DashboardCause::Hello,
        (Happens::Reserved, None) => DashboardCause::Admitted,
        (Happens::Ended, None) => DashboardCause::Ended,
        (event, closed) => panic!("{event:?} closed with {closed:?}"),
    }
}
