// Dashboards beside a fleet, which say anything and read now and again, or never. What each holds counts against
// what it has reserved.

use super::bytes::Clocks;
use onsembl_protocol::fleet::{
    DashboardAction, DashboardEvent, DashboardLink, DashboardToken, View,
};
use onsembl_protocol::id::{ServerInstanceId, UserId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::session::DashboardStatus;
use std::fmt::Write as _;

const VIEWERS: usize = 2;
/// Bytes that a server gives to each.
const SLOTS: usize = 2 << 20;
/// What a link takes before it has reserved anything: a hello with all that one may watch.
const UNRESERVED: usize = 128 << 10;

struct Viewer {
    link: DashboardLink,
    reserved: usize,
    /// Whether it takes what it is sent.
    takes: bool,
}

pub struct Viewers(Vec<Viewer>);

impl Viewers {
    pub fn new(clocks: &Clocks) -> Self {
        Self((0..VIEWERS).map(|_| Viewer::new(clocks)).collect())
    }

    /// The most that they may hold now.
    pub fn most(&self) -> usize {
        self.0.iter().map(|viewer| viewer.reserved + UNRESERVED).sum()
    }

    /// Something changed in what they see.
    pub fn changed(&mut self, view: &View, clocks: &Clocks) {
        self.0.iter_mut().for_each(|viewer| viewer.feed(DashboardEvent::Changed, view, clocks));
    }

    /// One of them does or says something.
    pub fn step(&mut self, (which, count, number): (u8, usize, u64), view: &View, clocks: &Clocks) {
        let Some(viewer) = self.0.get_mut(usize::from(which) % VIEWERS) else { return };
        let text = match which / 2 % 8 {
            0 => init(r#""*""#),
            1 => init(&ids(count, number)),
            2 => said("SUBSCRIBE", &format!(r#"{{"type":"command","id":"c-{number}"}}"#)),
            3 => {
                let text = "t".repeat(count * 100);
                said(
                    "COMMAND_REQUEST",
                    &format!(r#"{{"agentId":"a","commandId":"v-{number}","command":"{text}"}}"#),
                )
            }
            4 => said("TOKEN_REFRESH", r#"{"accessToken":"x"}"#),
            5 => "{".to_owned(),
            6 => {
                viewer.takes = !viewer.takes;
                return viewer.feed(DashboardEvent::Room, view, clocks);
            }
            _ => return viewer.feed(DashboardEvent::Wake, view, clocks),
        };
        if viewer.link.is_read() {
            viewer.feed(DashboardEvent::Text(&text), view, clocks);
        }
    }
}

fn said(kind: &str, payload: &str) -> String {
    format!(r#"{{"type":"{kind}","id":"m","timestamp":1,"payload":{payload}}}"#)
}

fn init(ids: &str) -> String {
    said(
        "DASHBOARD_INIT",
        &format!(
            r#"{{"subscriptions":{{"agents":[{ids}],"commands":[{ids}],"terminals":true,"traces":false}}}}"#
        ),
    )
}

fn ids(count: usize, number: u64) -> String {
    (0..count).fold(r#""none""#.to_owned(), |mut ids, n| {
        let _ = write!(ids, r#","an-id-that-nobody-has-{number}-{n}""#);
        ids
    })
}

impl Viewer {
    fn new(clocks: &Clocks) -> Self {
        let token = DashboardToken { user: UserId::new("u") };
        let (server, limits) = (ServerInstanceId::new("s"), Limits::DEFAULT);
        let link = DashboardLink::new(token, server, limits, clocks.now());
        Self { link, reserved: 0, takes: true }
    }

    fn feed(&mut self, event: DashboardEvent<'_>, view: &View, clocks: &Clocks) {
        self.link.handle(event, view, clocks.now());
        while let Some(action) = self.link.poll_action(view, self.takes, clocks.now()) {
            let event = match action {
                DashboardAction::Reserve(bytes) if bytes <= SLOTS => {
                    self.reserved = bytes;
                    DashboardEvent::Reserved
                }
                DashboardAction::Reserve(bytes) => {
                    DashboardEvent::NoRoom { slots: 2, needed: bytes >> 20 }
                }
                DashboardAction::Ask(number, _) => DashboardEvent::Answered(number, None),
                DashboardAction::Read { command, .. } => DashboardEvent::Read(command, Vec::new()),
                DashboardAction::Seek(command, _) => DashboardEvent::Found(command, None),
                // That of a refresh is never known: it counts as in progress.
                DashboardAction::CheckToken(..)
                | DashboardAction::UseToken
                | DashboardAction::Say(_)
                | DashboardAction::Tell(_)
                | DashboardAction::Stream(_)
                | DashboardAction::Note(_)
                | DashboardAction::Close(_) => continue,
            };
            self.link.handle(event, view, clocks.now());
        }
        if self.link.status() == DashboardStatus::Closing {
            *self = Self { takes: self.takes, ..Self::new(clocks) };
        }
    }
}
