//! The link of a dashboard, from its hello to its end: when it is read, what each message requests, what is
//! refused, what is sent and when, and when the link is closed.
//!
//! Sockets, stores, tokens and logs are at the edge, and so is everything that the dashboards of a server share.

mod lane;
mod note;
mod pace;
mod requests;
mod token;
mod types;

pub use note::DashboardNote;
pub use token::DashboardToken;
pub use types::{DashboardAction, DashboardEvent};

use super::action::{Answer, Token};
use super::dashboard_feed::{DashboardFeed, FeedItem};
use super::encode;
use super::view::View;
use crate::close::CloseCause;
use crate::id::{DashboardId, MessageId, ServerInstanceId};
use crate::limits::Limits;
use crate::session::{
    DashboardStatus, Greeting, GreetingEvent, GreetingVerdict, RefusalReason, UndecodableQuota,
};
use crate::terminal::KeyboardView;
use crate::time::{Deadline, Now};
use crate::wire::payload::{
    Ack, DashboardInit, ErrorCode, ErrorReply, KeyboardState, LongText, Ping,
};
use crate::wire::{self, DashboardToServer, DecodeError, Envelope, ServerToDashboard};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use pace::{Beat, Due, Pace};
use requests::{Answering, Asked, Requests, UnderWay};
use token::{Renewed, TokenInForce};

/// Bytes that a link takes besides its feed: messages that wait, messages that are being written, and records that
/// were read from the store. Escaped as JSON, text takes up to six times its length.
const LINK_COST: usize = DashboardLink::DATA_BYTES
    + DashboardLink::CONTROL_BYTES
    + DashboardLink::UNDER_WAY_BYTES
    + DashboardLink::READ_BYTES
    + 2 * 6 * 32 * 1024;

/// The link of one dashboard, from the moment when it is accepted, with the token of its request, until it has ended.
/// A [queue machine](crate::step#two-contracts) that reads the [`View`] of its user: each action is polled with the
/// view of that moment, and with whether the link has room.
#[derive(Clone, Debug)]
pub struct DashboardLink {
    server: ServerInstanceId,
    limits: Limits,
    state: State,
    hello: Hello,
    undecodable: UndecodableQuota,
    requests: Requests,
    token: TokenInForce,
    actions: VecDeque<DashboardAction>,
}

/// The data of each state.
#[derive(Clone, Debug)]
enum State {
    Greeting(Greeting),
    /// Its hello came; memory is being reserved for it, within the deadline of the hello.
    Admitting(Greeting, Option<MessageId>, Box<DashboardInit>),
    Open(Box<Open>),
    Closing,
}

#[derive(Clone, Debug)]
struct Open {
    feed: DashboardFeed,
    pace: Pace,
    outlet: Outlet,
    /// Bytes that were reserved or requested.
    reserved: usize,
    drafts: Drafts,
}

impl Open {
    /// The most bytes that the link takes, given the agents and commands of its user now.
    fn cost(&self, view: &View) -> usize {
        match self.drafts {
            Drafts::None => cost(view),
            Drafts::Reserved => cost(view).saturating_add(DashboardLink::DRAFT_BYTES),
        }
    }
}

/// Whether there is memory for a text that arrives in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drafts {
    None,
    Reserved,
}

/// Whether a hello came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hello {
    Owed,
    Said,
}

/// Whether the link took another message at the last poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outlet {
    Room,
    Full,
}

impl DashboardLink {
    /// Requests that may be in progress: 64, more than a person or a page sends at once.
    pub const MOST_UNDER_WAY: usize = 64;
    /// Bytes of requests in progress at which reading from the link pauses: 256 KiB.
    pub(crate) const UNDER_WAY_BYTES: usize = 256 * 1024;
    /// Bytes of [updates](DashboardAction::Tell) that may wait in the link: 128 KiB.
    pub const DATA_BYTES: usize = 128 * 1024;
    /// Bytes of [answers](DashboardAction::Say) that may wait in the link: 256 KiB. The answers to all its requests
    /// may come at the same moment, together with pongs.
    pub const CONTROL_BYTES: usize = 256 * 1024;
    /// Bytes that one read from the store returns: 128 KiB.
    pub(crate) const READ_BYTES: usize = 128 * 1024;

    /// Bytes of texts that arrive in pieces, once one came: 2 MiB, the one that arrives and the one whose request is
    /// in progress.
    pub const DRAFT_BYTES: usize = 2 * LongText::MOST;

    /// A link that was accepted now.
    pub fn new(token: DashboardToken, server: ServerInstanceId, limits: Limits, now: Now) -> Self {
        Self {
            server,
            limits,
            state: State::Greeting(Greeting::new(now)),
            hello: Hello::Owed,
            undecodable: UndecodableQuota::new(),
            requests: Requests::default(),
            token: TokenInForce::new(token),
            actions: VecDeque::new(),
        }
    }

    /// The same under this number, by which its fleet knows who holds a keyboard.
    #[must_use]
    pub fn numbered(self, dashboard: DashboardId) -> Self {
        Self { requests: Requests::of(dashboard), ..self }
    }

    /// Takes one event.
    pub fn handle(&mut self, event: DashboardEvent<'_>, view: &View, now: Now) {
        match event {
            DashboardEvent::Text(text) => self.on_text(text, view, now),
            DashboardEvent::Binary => self.close(CloseCause::UnsupportedData),
            DashboardEvent::Control => self.beat(Beat::Heard, view, now),
            // It takes what it is sent, so it is alive, even while it is not read.
            DashboardEvent::Room => self.beat(Beat::Heard, view, now),
            DashboardEvent::Changed => self.beat(Beat::Changed, view, now),
            DashboardEvent::Reserved => self.on_reserved(view, now),
            DashboardEvent::NoRoom { slots, needed } => self.on_no_room(slots, needed),
            DashboardEvent::Answered(number, answer) => self.on_answer(number, answer),
            DashboardEvent::Checked(number, checked) => self.on_checked(number, checked),
            DashboardEvent::TokenEnded(end) => {
                if let State::Open(_) = self.state {
                    self.note(DashboardNote::TokenEnded(end));
                    self.close(end.close_cause());
                }
            }
            DashboardEvent::Read(command, records) => {
                if let State::Open(open) = &mut self.state {
                    open.feed.stored(view, &command, records);
                }
            }
            DashboardEvent::Found(command, cursor) => {
                if let State::Open(open) = &mut self.state {
                    open.feed.located(&command, cursor);
                }
            }
            DashboardEvent::NotRead(command, why) => {
                if let State::Open(_) = self.state {
                    // Going on would leave a hole in what it is shown that no gap declares.
                    self.note(DashboardNote::OutputNotRead(command, why));
                    self.close(CloseCause::TryLater);
                }
            }
            DashboardEvent::ServerEnding => self.close(CloseCause::GoingAway),
            DashboardEvent::Ended => self.on_ended(),
            DashboardEvent::Wake => self.on_wake(view, now),
        }
    }

    /// What to do next. Updates are given only while the link has room.
    pub fn poll_action(
        &mut self,
        view: &View,
        has_room: bool,
        now: Now,
    ) -> Option<DashboardAction> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        let State::Open(open) = &mut self.state else { return None };
        open.outlet = if has_room { Outlet::Room } else { Outlet::Full };
        match open.outlet {
            Outlet::Full => None,
            Outlet::Room => match open.feed.next(view, now.monotonic) {
                FeedItem::Message(message) => Some(DashboardAction::Tell(message)),
                FeedItem::Stream(frame) => Some(DashboardAction::Stream(frame)),
                FeedItem::Read(command, after) => {
                    let max_bytes = Self::READ_BYTES;
                    Some(DashboardAction::Read { command, after, max_bytes })
                }
                FeedItem::Seek(command, seek) => Some(DashboardAction::Seek(command, seek)),
                FeedItem::Nothing => None,
            },
        }
    }

    /// Whether the link is to be read now. Answers go out before more requests are read, because each request may
    /// cause more answers. A link that is closing is read until it has ended.
    pub fn is_read(&self) -> bool {
        match &self.state {
            State::Greeting(_) | State::Closing => true,
            State::Admitting(..) => false,
            State::Open(open) => {
                let is_behind = open.outlet == Outlet::Full && open.feed.is_behind();
                !is_behind && self.requests.bytes() < Self::UNDER_WAY_BYTES
            }
        }
    }

    /// Whether [`DashboardEvent::Room`] is to be handed over as soon as the link has room.
    pub const fn waits_for_room(&self) -> bool {
        match &self.state {
            State::Open(open) => matches!(open.outlet, Outlet::Full),
            State::Greeting(_) | State::Admitting(..) | State::Closing => false,
        }
    }

    /// The status of the link.
    pub const fn status(&self) -> DashboardStatus {
        match &self.state {
            State::Greeting(_) => DashboardStatus::Greeting,
            State::Admitting(..) => DashboardStatus::Admitting,
            State::Open(_) => DashboardStatus::Open,
            State::Closing => DashboardStatus::Closing,
        }
    }

    /// When to hand over [`DashboardEvent::Wake`].
    pub fn deadline(&self) -> Deadline {
        match &self.state {
            State::Greeting(greeting) | State::Admitting(greeting, ..) => greeting.deadline(),
            State::Open(open) => open.pace.deadline().min(open.feed.deadline()),
            State::Closing => Deadline::Never,
        }
    }

    fn on_text(&mut self, text: &str, view: &View, now: Now) {
        match self.state {
            State::Greeting(_) => {}
            State::Open(_) => self.beat(Beat::Heard, view, now),
            // Links are not read in these states; what was read before is not answered in front of the welcome.
            State::Admitting(..) | State::Closing => return,
        }
        match wire::decode::<DashboardToServer>(text, &self.limits) {
            Ok(envelope) => self.on_message(envelope, text.len(), view, now),
            Err(error) => self.on_undecodable(&error, now),
        }
    }

    fn on_message(
        &mut self,
        envelope: Envelope<DashboardToServer>,
        bytes: usize,
        view: &View,
        now: Now,
    ) {
        let Envelope { id, message, .. } = envelope;
        let asked = match &self.state {
            State::Greeting(_) => requests::before_hello(self.token.user(), id.clone(), message),
            State::Open(open) => {
                let capabilities = open.feed.capabilities();
                self.requests.take((id.clone(), bytes), message, capabilities)
            }
            State::Admitting(..) | State::Closing => return,
        };
        match asked {
            Asked::Hello(init) => self.on_hello(id, init, view, now),
            Asked::Subscribe(what) => {
                if let State::Open(open) = &mut self.state {
                    open.feed.subscribe(view, id, what, now.wall);
                }
            }
            Asked::Unsubscribe(what) => {
                if let State::Open(open) = &mut self.state {
                    open.feed.unsubscribe(id, &what);
                }
            }
            Asked::Take(taken) => {
                if let State::Open(open) = &mut self.state {
                    open.feed.taken(&taken);
                }
            }
            Asked::Draft => self.reserve_draft(view),
            Asked::Fleet(number, request) => self.act(DashboardAction::Ask(number, request)),
            Asked::Refresh(number, refresh) => {
                self.act(DashboardAction::CheckToken(number, refresh));
            }
            Asked::Reply(reply) => {
                self.act(DashboardAction::Say(reply));
                self.greet(GreetingEvent::Other, now);
            }
            Asked::Unknown(kind) => self.note(DashboardNote::UnknownType(kind)),
            Asked::Nothing => {}
        }
    }

    /// A text arrives in pieces. What that takes is never given back: a link that sent one may send another.
    fn reserve_draft(&mut self, view: &View) {
        let State::Open(open) = &mut self.state else { return };
        open.drafts = Drafts::Reserved;
        let cost = open.cost(view);
        if cost > open.reserved {
            open.reserved = cost;
            self.act(DashboardAction::Reserve(cost));
        }
    }

    fn on_hello(&mut self, id: Option<MessageId>, init: Box<DashboardInit>, view: &View, now: Now) {
        match &mut self.state {
            State::Greeting(greeting) => {
                // Memory first: its feed holds what it was sent of each agent and command.
                self.state = State::Admitting(*greeting, id, init);
                self.hello = Hello::Said;
                self.note(DashboardNote::Connected);
                self.act(DashboardAction::Reserve(cost(view)));
            }
            State::Open(open) => {
                open.feed.watch(view, init.subscriptions);
                open.feed.greet(id, now.wall);
            }
            State::Admitting(..) | State::Closing => {}
        }
    }

    fn on_reserved(&mut self, view: &View, now: Now) {
        let State::Admitting(_, id, init) = &mut self.state else { return };
        let DashboardInit { subscriptions, extensions, .. } = core::mem::take(&mut **init);
        let (server, extensions) = (self.server.clone(), extensions.as_ref());
        let mut feed = DashboardFeed::new(view, server, subscriptions, extensions, now.wall);
        feed.greet(id.take(), now.wall);
        let (pace, outlet, reserved) = (Pace::new(now), Outlet::Room, cost(view));
        let drafts = Drafts::None;
        self.state = State::Open(Box::new(Open { feed, pace, outlet, reserved, drafts }));
    }

    fn on_no_room(&mut self, slots: usize, needed: usize) {
        match self.state {
            State::Admitting(..) | State::Open(_) => {}
            State::Greeting(_) | State::Closing => return,
        }
        // Closed and not left as it is: without room for what it was sent it would miss changes and show old ones.
        self.note(DashboardNote::NoRoom);
        let why = format!(
            "too many open dashboards, yours or in total: this one needs {needed} of {slots} slots; close some"
        );
        self.say(ServerToDashboard::Error(ErrorReply::new(ErrorCode::QueueFull, why)));
        self.close(CloseCause::TryLater);
    }

    fn on_undecodable(&mut self, error: &DecodeError, now: Now) {
        self.note(DashboardNote::Undecodable(error.to_string()));
        if !self.undecodable.allow(&self.limits, now.monotonic) {
            return self.close(CloseCause::TooManyUndecodable);
        }
        let reply = ErrorReply::new(ErrorCode::InvalidMessage, error.to_string())
            .about(error.message_id.clone())
            .for_command(error.command_id.clone());
        self.say(ServerToDashboard::Error(reply));
        self.greet(GreetingEvent::Other, now);
    }

    fn on_answer(&mut self, number: Token, answer: Option<Answer>) {
        let Some(request) = self.requests.end(number) else { return };
        if let Some((number, request)) = self.requests.next_typed(number) {
            self.act(DashboardAction::Ask(number, request));
        }
        let ended = || ErrorReply::new(ErrorCode::Internal, "the server is shutting down");
        let answer = answer.unwrap_or_else(|| Answer::Refused(ended()));
        if let Some(answer) = answer_to(request, answer) {
            self.say(answer);
        }
    }

    fn on_checked(
        &mut self,
        number: Token,
        checked: Result<DashboardToken, (RefusalReason, String)>,
    ) {
        let Some(request) = self.requests.end(number) else { return };
        let renewed = self.token.checked(number, checked);
        // Of two refreshes in progress the later one counts, in whichever order they are answered.
        if renewed == Renewed::InForce {
            self.act(DashboardAction::UseToken);
        }
        self.say(match renewed {
            Renewed::InForce | Renewed::Older => ServerToDashboard::Ack(Ack {
                message_id: request.id,
                success: true,
                ..Ack::default()
            }),
            Renewed::Refused(error) => ServerToDashboard::Error(error.about(request.id)),
        });
    }

    fn on_ended(&mut self) {
        self.end_typing();
        self.state = State::Closing;
        match core::mem::replace(&mut self.hello, Hello::Owed) {
            Hello::Said => self.note(DashboardNote::Gone),
            Hello::Owed => {}
        }
    }

    fn on_wake(&mut self, view: &View, now: Now) {
        match &mut self.state {
            State::Greeting(_) => self.greet(GreetingEvent::Wake, now),
            State::Admitting(greeting, ..) => {
                if greeting.deadline().is_due(now.monotonic) {
                    self.close(CloseCause::TryLater);
                }
            }
            State::Open(open) => {
                // The fleet of its user grows while it looks on. It never shrinks: what was sent is kept.
                let cost = open.cost(view);
                if cost > open.reserved {
                    open.reserved = cost;
                    self.act(DashboardAction::Reserve(cost));
                }
                self.beat(Beat::Wake, view, now);
                if let State::Open(open) = &mut self.state {
                    open.feed.flush(now.monotonic);
                }
            }
            State::Closing => {}
        }
    }

    fn greet(&mut self, event: GreetingEvent, now: Now) {
        let State::Greeting(greeting) = &mut self.state else { return };
        match greeting.handle(event, now) {
            GreetingVerdict::Wait | GreetingVerdict::Identify => {}
            GreetingVerdict::Close(cause) => {
                self.note(DashboardNote::NoHello);
                let why = "no DASHBOARD_INIT arrived in time; send it first";
                self.say(ServerToDashboard::Error(ErrorReply::new(ErrorCode::AuthTimeout, why)));
                self.close(cause);
            }
        }
    }

    fn beat(&mut self, beat: Beat, view: &View, now: Now) {
        let State::Open(open) = &mut self.state else { return };
        for due in open.pace.take(beat, now) {
            match due {
                Due::Ping => {
                    let timestamp = Some(now.wall.unix_millis() as f64);
                    self.say(ServerToDashboard::Ping(Ping { timestamp, sequence: None }));
                }
                Due::Show => self.show(view, now),
                Due::Refresh => {
                    if let State::Open(open) = &mut self.state {
                        open.feed.refresh();
                    }
                    self.show(view, now);
                }
                Due::Silent => {
                    self.note(DashboardNote::Silent);
                    self.close(CloseCause::Silent);
                }
            }
        }
    }

    fn show(&mut self, view: &View, now: Now) {
        if let State::Open(open) = &mut self.state {
            open.feed.scan_agents(view, now.wall);
        }
    }

    fn say(&mut self, message: ServerToDashboard) {
        self.act(DashboardAction::Say(Box::new(message)));
    }

    fn note(&mut self, note: DashboardNote) {
        self.actions.push_back(DashboardAction::Note(note));
    }

    /// It types no more: others may. Also of a link that is closing.
    fn end_typing(&mut self) {
        if let Some((number, request)) = self.requests.end_typing() {
            self.actions.push_back(DashboardAction::Ask(number, request));
        }
    }

    /// A link that is closing gets no more actions.
    fn act(&mut self, action: DashboardAction) {
        match self.state {
            State::Greeting(_) | State::Admitting(..) | State::Open(_) => {
                self.actions.push_back(action);
            }
            State::Closing => {}
        }
    }

    fn close(&mut self, cause: CloseCause) {
        self.end_typing();
        self.act(DashboardAction::Close(cause));
        self.state = State::Closing;
    }
}

/// What a dashboard is told of an answer; nothing of input that was taken.
fn answer_to(request: UnderWay, answer: Answer) -> Option<ServerToDashboard> {
    let UnderWay { id, command, answering, .. } = request;
    match (answer, answering) {
        (Answer::Keyboard { agent, view }, Answering::Keyboard) => {
            let keyboard = KeyboardView { hold: Some(view), because: String::new() };
            let state = encode::keyboard(&command?, &agent, &keyboard);
            let state = KeyboardState { message_id: id, ..state };
            Some(ServerToDashboard::KeyboardState(state))
        }
        (answer, Answering::Ack | Answering::Keyboard | Answering::Refusal) => {
            match (answer.done(), answering) {
                (Ok(()), Answering::Refusal) => None,
                (Ok(()), Answering::Ack | Answering::Keyboard) => {
                    let ack = Ack {
                        message_id: id,
                        success: true,
                        command_id: command,
                        ..Ack::default()
                    };
                    Some(ServerToDashboard::Ack(ack))
                }
                (Err(error), _) => Some(ServerToDashboard::Error(error.about(id))),
            }
        }
    }
}

/// The most bytes that a link takes besides drafts, given the agents and commands of its user now.
fn cost(view: &View) -> usize {
    LINK_COST.saturating_add(DashboardFeed::cost(view))
}
