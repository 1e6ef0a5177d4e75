//! One dashboard link: its hello, its requests, and the loop that feeds it.

use super::refresh::{CheckedToken, Refreshes};
use crate::auth::{Authenticator, Identity, LookupError};
use crate::bounds::{Share, Shares, Turns};
use crate::fleet_view::{FleetView, FleetViews};
use crate::hub::HubHandle;
use crate::store::{Cursor, Store, StoreError, StoredRecord};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::fleet::{
    Answer, DashboardFeed, DashboardLink, DashboardRequest, FeedItem, LogRecord, Request,
};
use onsembl_protocol::id::{CommandId, LinkId, MessageId, ServerInstanceId, UserId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::Capabilities;
use onsembl_protocol::session::{
    DashboardAction, DashboardConnection, DashboardEvent, Greeting, GreetingEvent, GreetingVerdict,
    UndecodableQuota,
};
use onsembl_protocol::time::Deadline;
use onsembl_protocol::wire::payload::{Ack, DashboardInit, ErrorCode, ErrorReply, Ping};
use onsembl_protocol::wire::{self, DashboardToServer, ServerToDashboard};
use onsembl_transport::clock::SystemClock;
use onsembl_transport::counters::Counters;
use onsembl_transport::messages::Envelopes;
use onsembl_transport::pump::{self, LinkHandle, LinkInput, PumpConfig, TryDataError};
use onsembl_transport::{Held, Link, Received};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// Frames that may wait for this task.
const INBOX: usize = 8;
/// At most 16 pieces of output wait for a dashboard that does not read, and 128 KiB of them. The answers to all its
/// requests may come at one moment, and pongs beside them.
const PUMP: PumpConfig = PumpConfig {
    data_queue: 16,
    data_bytes: DATA_BYTES,
    control_queue: 4 * DashboardLink::MOST_UNDER_WAY,
    control_bytes: CONTROL_BYTES,
    ..PumpConfig::DEFAULT
};
/// Bytes of frames that wait for a dashboard that does not read; the last of them may exceed it.
const DATA_BYTES: usize = 128 * 1024;
/// Bytes of answers that wait for one.
const CONTROL_BYTES: usize = 256 * 1024;
/// Bytes of requests under way; one more is not read.
const UNDER_WAY_BYTES: usize = 256 * 1024;
/// Bytes that are read from the store at once.
const READ_BYTES: usize = 128 * 1024;
/// What dashboards of all users may take together, in slots of [`SLOT`]: 512, and one user alone three quarters of
/// them.
pub(crate) const SLOTS: usize = 512;
pub(crate) const SLOTS_WEIGHT: usize = 3;
/// Bytes of a slot. A dashboard of a small fleet has one.
pub(crate) const SLOT: usize = 1 << 20;
/// Dashboards of one user that are worked for at a time. All others of the user wait, and nobody else.
pub(crate) const AT_WORK: usize = 1;
/// What a dashboard takes besides its feed: what waits for its link, is being written and was read from the store,
/// as JSON six times of it at worst.
const LINK_COST: usize =
    DATA_BYTES + CONTROL_BYTES + UNDER_WAY_BYTES + READ_BYTES + 2 * 6 * 32 * 1024;

/// Everything a dashboard's task needs of its server.
#[derive(Clone, Debug)]
pub struct Dashboard {
    /// The way to the hub.
    pub hub: HubHandle,
    /// All fleet views; it reads its user's.
    pub fleet_views: FleetViews,
    /// For output that is not in memory any more.
    pub store: Store,
    /// For a token that is refreshed, or revoked.
    pub auth: Authenticator,
    /// Where to count.
    pub counters: Counters,
    /// This server process.
    pub instance: ServerInstanceId,
    /// Cancelled when the server ends.
    pub stop: CancellationToken,
    /// What dashboards may take.
    pub(crate) slots: Shares<UserId>,
    /// Whose dashboards are worked for.
    pub(crate) turns: Turns<UserId>,
}

/// Serves one dashboard until its link ends.
pub async fn serve(link: Link, identity: Identity, dashboard: Dashboard) {
    let peer = link.peer.clone();
    let (entry, inbox) = mpsc::channel(INBOX);
    let handle = pump::spawn(link, LinkId(1), PUMP, entry);
    let session = Session {
        envelopes: Envelopes::new(format!("msg-{}", dashboard.instance)),
        clock: SystemClock::new(),
        handle,
        inbox,
        requests: DashboardLink::new(identity.user.clone()),
        fleet_view: dashboard.fleet_views.of(&identity.user),
        identity,
        dashboard,
        peer,
        quota: UndecodableQuota::new(),
        slots: Vec::new(),
        refreshes: Refreshes::default(),
        pending: FuturesUnordered::new(),
        under_way: 0,
        link: LinkState::Open,
    };
    session.run().await;
}

/// What came of something that took its time.
enum Outcome {
    /// What is said to a request, and what the request took: its bytes, and its part of a budget.
    Answered(Box<ServerToDashboard>, usize, Held),
    Output(CommandId, Result<Vec<LogRecord>, StoreError>),
    Found(CommandId, Result<Cursor, StoreError>),
    Revoked(Result<bool, LookupError>),
    Refreshed(CheckedToken),
}

/// Whether the link's last event came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkState {
    Open,
    Ended,
}

struct Session {
    dashboard: Dashboard,
    fleet_view: Arc<FleetView>,
    identity: Identity,
    peer: String,
    clock: SystemClock,
    envelopes: Envelopes,
    handle: LinkHandle,
    inbox: mpsc::Receiver<pump::LinkEvent>,
    quota: UndecodableQuota,
    /// What it takes.
    slots: Vec<Share<UserId>>,
    requests: DashboardLink,
    refreshes: Refreshes,
    pending: FuturesUnordered<BoxFuture<'static, Outcome>>,
    /// Bytes of requests whose answers are awaited.
    under_way: usize,
    link: LinkState,
}

impl Session {
    async fn run(mut self) {
        let Some((init, hello)) = self.greet().await else {
            self.drain().await;
            return;
        };
        info!(user = %self.identity.user, peer = %self.peer, "dashboard connected");
        self.serve(init, hello).await;
        self.drain().await;
        info!(user = %self.identity.user, peer = %self.peer, "dashboard gone");
    }

    /// Waits until the link is really over, so that a close frame gets out.
    async fn drain(&mut self) {
        while self.link == LinkState::Open {
            match self.inbox.recv().await.map(|event| event.what) {
                Some(LinkInput::Ended(_)) => self.link = LinkState::Ended,
                Some(LinkInput::Received(_)) => {}
                None => return,
            }
        }
    }

    async fn greet(&mut self) -> Option<(DashboardInit, Option<MessageId>)> {
        let mut greeting = Greeting::new(self.clock.now());
        let stop = self.dashboard.stop.clone();
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => {
                    self.handle.close(CloseCause::GoingAway);
                    return None;
                }
                event = self.inbox.recv() => match event?.what {
                    LinkInput::Ended(_) => {
                        self.link = LinkState::Ended;
                        return None;
                    }
                    LinkInput::Received(Received::Control) => continue,
                    LinkInput::Received(Received::Binary(_)) => {
                        self.handle.close(CloseCause::UnsupportedData);
                        return None;
                    }
                    LinkInput::Received(Received::Text(text)) => {
                        if let Some((id, message)) = self.decode(&text) {
                            let asked = self.requests.handle(id.clone(), message, Capabilities::LEGACY);
                            match asked {
                                DashboardRequest::Hello(init) => return Some((*init, id)),
                                DashboardRequest::Reply(reply) => self.say(&reply),
                                DashboardRequest::Fleet { .. }
                                | DashboardRequest::Subscribe(_)
                                | DashboardRequest::Unsubscribe(_)
                                | DashboardRequest::Refresh(_)
                                | DashboardRequest::Nothing
                                | DashboardRequest::Unknown(_) => {}
                            }
                        }
                        GreetingEvent::Other
                    }
                },
                () = self.clock.sleep_until(greeting.deadline()) => GreetingEvent::Wake,
            };
            match greeting.handle(event, self.clock.now()) {
                GreetingVerdict::Wait | GreetingVerdict::Identify => {}
                GreetingVerdict::Close(cause) => {
                    self.dashboard.counters.count("no_hello");
                    let why = "no DASHBOARD_INIT came in time; send it first";
                    let error = ErrorReply::new(ErrorCode::AuthTimeout, why);
                    self.say(&ServerToDashboard::Error(error));
                    self.handle.close(cause);
                    return None;
                }
            }
        }
    }

    /// Whether there is room for what it takes, while its user has so many agents and commands. If not, its link
    /// is being closed.
    fn has_slots(&mut self, fleet_view: &FleetView) -> bool {
        let cost = LINK_COST.saturating_add(DashboardFeed::cost(&fleet_view.look()));
        while self.slots.len() < cost.div_ceil(SLOT) {
            let Some(share) = self.dashboard.slots.take(&self.identity.user) else {
                self.dashboard.counters.count("dashboards_over_share");
                let why = format!(
                    "too many dashboards are open, of yours or in all: of {} slots this one needs {}; close some",
                    self.dashboard.slots.capacity(),
                    cost.div_ceil(SLOT)
                );
                self.say(&ServerToDashboard::Error(ErrorReply::new(ErrorCode::QueueFull, why)));
                self.handle.close(CloseCause::TryLater);
                return false;
            };
            self.slots.push(share);
        }
        true
    }

    async fn serve(&mut self, init: DashboardInit, hello: Option<MessageId>) {
        let fleet_view = Arc::clone(&self.fleet_view);
        let (turns, user) = (self.dashboard.turns.clone(), self.identity.user.clone());
        if !self.has_slots(&fleet_view) {
            return;
        }
        let turn = turns.take_one(&user).await;
        let mut changes = fleet_view.revisions();
        let instance = self.dashboard.instance.clone();
        let extensions = init.extensions.as_ref();
        let now = self.clock.now().wall;
        let mut feed = {
            let view = fleet_view.look();
            DashboardFeed::new(&view, instance, init.subscriptions, extensions, now)
        };
        feed.greet(hello, self.clock.now().wall);
        drop(turn);
        let mut machine = DashboardConnection::new(self.clock.now());
        let mut deadline = machine.deadline();
        let stop = self.dashboard.stop.clone();
        loop {
            let full = {
                let _turn = turns.take_one(&user).await;
                self.feed_link(&mut feed)
            };
            tokio::select! {
                biased;
                // What it asks for is answered before more of it is read.
                event = self.inbox.recv(),
                    if (!feed.is_behind() || !full) && self.under_way < UNDER_WAY_BYTES =>
                {
                    let Some(event) = event else { return };
                    let _turn = turns.take_one(&user).await;
                    deadline = self.step(&mut machine, DashboardEvent::Received, &mut feed);
                    match event.what {
                        LinkInput::Ended(end) => {
                            debug!(peer = %self.peer, %end, "dashboard link ended");
                            self.link = LinkState::Ended;
                            return;
                        }
                        LinkInput::Received(Received::Control) => {}
                        LinkInput::Received(Received::Binary(_)) => {
                            self.handle.close(CloseCause::UnsupportedData);
                        }
                        LinkInput::Received(Received::Text(text)) => {
                            if let Some((id, message)) = self.decode(&text) {
                                let took = (text.len(), event.held);
                                self.on_message(id, message, took, &mut feed);
                            }
                        }
                    }
                }
                Some(outcome) = self.pending.next(), if !self.pending.is_empty() => {
                    self.on_outcome(outcome, &mut feed);
                }
                () = self.clock.sleep_until(deadline) => {
                    if !self.has_slots(&fleet_view) {
                        return;
                    }
                    let _turn = turns.take_one(&user).await;
                    deadline = self.step(&mut machine, DashboardEvent::Wake, &mut feed);
                }
                () = self.clock.sleep_until(feed.deadline()) => {
                    let _turn = turns.take_one(&user).await;
                    feed.flush(self.clock.now().monotonic);
                }
                Ok(()) = changes.changed() => {
                    let _turn = turns.take_one(&user).await;
                    deadline = self.step(&mut machine, DashboardEvent::Changed, &mut feed);
                }
                // It takes what it is sent, so it lives, also while nothing of it is read.
                () = self.handle.room(), if full => {
                    deadline = self.step(&mut machine, DashboardEvent::Received, &mut feed);
                }
                () = stop.cancelled() => {
                    self.handle.close(CloseCause::GoingAway);
                    return;
                }
            }
            if matches!(deadline, Deadline::Never) {
                return;
            }
        }
    }

    /// Tells the machine of the link, and does what it says.
    fn step(
        &mut self,
        machine: &mut DashboardConnection,
        event: DashboardEvent,
        feed: &mut DashboardFeed,
    ) -> Deadline {
        let step = machine.handle(event, self.clock.now());
        for action in step.actions {
            self.perform(action, feed);
        }
        step.deadline
    }

    /// Says what there is to say while the link has room. Whether it was the room that ended it.
    fn feed_link(&mut self, feed: &mut DashboardFeed) -> bool {
        loop {
            if !self.handle.has_room() {
                return true;
            }
            let item = feed.next(&self.fleet_view.look(), self.clock.now().monotonic);
            let message = match item {
                FeedItem::Message(message) => *message,
                FeedItem::Read(command, cursor) => {
                    let store = self.dashboard.store.clone();
                    let user = self.identity.user.clone();
                    self.pending.push(Box::pin(async move {
                        let read =
                            store.read_output(&user, &command, None, cursor, READ_BYTES).await;
                        let records =
                            read.map(|r| r.into_iter().map(StoredRecord::into_log).collect());
                        Outcome::Output(command, records)
                    }));
                    return false;
                }
                FeedItem::Seek(command, seek) => {
                    let store = self.dashboard.store.clone();
                    let user = self.identity.user.clone();
                    self.pending.push(Box::pin(async move {
                        let found = store.seek_output(&user, &command, &seek).await;
                        Outcome::Found(command, found)
                    }));
                    return false;
                }
                FeedItem::Nothing => return false,
            };
            let (_, frame) = self.envelopes.frame(&message, self.clock.now().wall);
            match self.handle.try_data(frame) {
                Ok(()) => {}
                Err(TryDataError::Full(_) | TryDataError::Closed) => {
                    // Room was seen just now, so the link is ending; its last event says how.
                    return false;
                }
            }
        }
    }

    fn perform(&mut self, action: DashboardAction, feed: &mut DashboardFeed) {
        match action {
            DashboardAction::SendPing => {
                let timestamp = Some(self.clock.now().wall.unix_millis() as f64);
                self.say(&ServerToDashboard::Ping(Ping { timestamp, sequence: None }));
            }
            DashboardAction::Show => {
                feed.scan_agents(&self.fleet_view.look(), self.clock.now().wall);
            }
            DashboardAction::Refresh => {
                feed.refresh();
                feed.scan_agents(&self.fleet_view.look(), self.clock.now().wall);
                self.check_token();
            }
            DashboardAction::Close(cause) => {
                self.dashboard.counters.count("dashboards_silent");
                self.handle.abort(cause);
            }
        }
    }

    fn check_token(&mut self) {
        if self.identity.has_expired(self.clock.now().wall) {
            self.dashboard.counters.count("tokens_expired_in_session");
            return self.handle.close(CloseCause::TokenExpired);
        }
        let auth = self.dashboard.auth.clone();
        let token = self.identity.token_id.clone();
        self.pending.push(Box::pin(async move { Outcome::Revoked(auth.is_revoked(&token).await) }));
    }

    fn on_outcome(&mut self, outcome: Outcome, feed: &mut DashboardFeed) {
        match outcome {
            Outcome::Answered(message, bytes, held) => {
                drop(held);
                self.under_way = self.under_way.saturating_sub(bytes);
                self.requests.answered();
                self.say(&message);
            }
            Outcome::Output(command, Ok(records)) => {
                feed.stored(&self.fleet_view.look(), &command, records);
            }
            Outcome::Found(command, Ok(cursor)) => {
                feed.located(&command, cursor);
            }
            Outcome::Output(command, Err(error)) | Outcome::Found(command, Err(error)) => {
                self.dashboard.counters.count("output_not_read");
                warn!(user = %self.identity.user, %command, %error, "stored output cannot be read; closing, so that the dashboard starts anew");
                self.handle.close(CloseCause::TryLater);
            }
            Outcome::Refreshed(token) => {
                self.requests.answered();
                let answer = self.refreshes.conclude(token, &mut self.identity);
                self.say(&answer);
            }
            Outcome::Revoked(Ok(true)) => self.handle.close(CloseCause::Revoked),
            Outcome::Revoked(Ok(false)) => {}
            Outcome::Revoked(Err(error)) => {
                warn!(user = %self.identity.user, %error, "cannot look up revoked tokens; trying again later");
            }
        }
    }

    fn on_message(
        &mut self,
        id: Option<MessageId>,
        message: DashboardToServer,
        took: (usize, Held),
        feed: &mut DashboardFeed,
    ) {
        match self.requests.handle(id.clone(), message, feed.capabilities()) {
            DashboardRequest::Hello(init) => {
                feed.watch(&self.fleet_view.look(), init.subscriptions);
                feed.greet(id, self.clock.now().wall);
            }
            DashboardRequest::Subscribe(what) => {
                feed.subscribe(&self.fleet_view.look(), id, what, self.clock.now().wall);
            }
            DashboardRequest::Unsubscribe(what) => {
                feed.unsubscribe(&self.fleet_view.look(), id, &what);
            }
            DashboardRequest::Fleet { command, request } => self.ask(id, command, request, took),
            DashboardRequest::Refresh(refresh) => {
                let check = self.refreshes.check(self.dashboard.auth.clone(), id, refresh);
                self.pending.push(Box::pin(async move { Outcome::Refreshed(check.await) }));
            }
            DashboardRequest::Reply(reply) => self.say(&reply),
            DashboardRequest::Nothing => {}
            DashboardRequest::Unknown(kind) => {
                self.dashboard.counters.count("unknown_types");
                debug!(%kind, "a dashboard sent a type that this version does not know");
            }
        }
    }

    /// Asks the fleet and says what it answers, whenever that is.
    fn ask(
        &mut self,
        id: Option<MessageId>,
        command: Option<CommandId>,
        request: Request,
        (bytes, held): (usize, Held),
    ) {
        self.under_way = self.under_way.saturating_add(bytes);
        let (hub, user) = (self.dashboard.hub.clone(), self.identity.user.clone());
        self.pending.push(Box::pin(async move {
            let ended = || ErrorReply::new(ErrorCode::Internal, "the server is ending");
            let answer = hub.ask_fleet(user, request).await;
            let answer = match answer.map_or_else(|| Err(ended()), Answer::done) {
                Ok(()) => ServerToDashboard::Ack(Ack {
                    message_id: id,
                    success: true,
                    command_id: command,
                    ..Ack::default()
                }),
                Err(error) => ServerToDashboard::Error(error.about(id)),
            };
            Outcome::Answered(Box::new(answer), bytes, held)
        }));
    }

    fn say(&mut self, message: &ServerToDashboard) {
        let (_, frame) = self.envelopes.frame(message, self.clock.now().wall);
        if self.handle.control(frame).is_err() {
            self.dashboard.counters.count("control_queue_full");
            warn!(user = %self.identity.user, peer = %self.peer, "a dashboard does not read; its link is being ended");
        }
    }

    fn decode(&mut self, text: &str) -> Option<(Option<MessageId>, DashboardToServer)> {
        let limits = Limits::DEFAULT;
        match wire::decode(text, &limits) {
            Ok(envelope) => Some((envelope.id, envelope.message)),
            Err(error) => {
                self.dashboard.counters.count("undecodable");
                debug!(peer = %self.peer, %error, "a dashboard sent what cannot be decoded");
                if self.quota.allow(&limits, self.clock.now().monotonic) {
                    let reply = ErrorReply::new(ErrorCode::InvalidMessage, error.to_string())
                        .about(error.message_id)
                        .for_command(error.command_id);
                    self.say(&ServerToDashboard::Error(reply));
                } else {
                    self.handle.close(CloseCause::TooManyUndecodable);
                }
                None
            }
        }
    }
}

/// In virtual time, over a link in memory.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::TokenKind;
    use crate::server::{Server, ServerOptions};
    use futures::FutureExt as _;
    use onsembl_protocol::id::UserId;
    use onsembl_transport::{Frame, memory};
    use std::path::Path;
    use std::time::Duration;

    /// More than a dashboard is told of in the time of the test, one message a second.
    const AGENTS: usize = 600;

    async fn server(data: &Path) -> Server {
        Server::start(ServerOptions::new(data)).await.unwrap()
    }

    fn add_agents(data: &Path) {
        let mut db = rusqlite::Connection::open(data.join("onsembl.db")).unwrap();
        let transaction = db.transaction().unwrap();
        for n in 0..AGENTS {
            let add = "INSERT INTO agents (agent_id, user_id, agent_key, name, agent_type, capabilities, epoch,
                           status, since, because, presence_version, created_at)
                       VALUES (?1, 'ann', ?1, ?1, 'custom', '[]', 1, 'offline', 1, 'gone', 1, 1)";
            let _ = transaction.execute(add, [format!("agent-{n}")]).unwrap();
        }
        transaction.commit().unwrap();
    }

    /// It sends nothing, as a program that is busy with what it reads; and it takes less than there is for it, so
    /// that probes wait behind the rest.
    #[tokio::test]
    async fn a_dashboard_that_reads_slowly_is_not_taken_for_a_silent_one() {
        let data = tempfile::tempdir().unwrap();
        server(data.path()).await.stop().await;
        add_agents(data.path());
        let server = server(data.path()).await;
        let (near, far) = memory::pair(1);
        let Link { mut reader, mut writer, .. } = near;
        let identity = Identity::new(UserId::new("ann"), TokenKind::Dashboard, "token");
        let session = tokio::spawn(serve(far, identity, server.dashboard()));
        let hello = r#"{"type":"DASHBOARD_INIT","id":"1","timestamp":1,"payload":
                        {"subscriptions":{"agents":{"all":true}},"extensions":{"features":[]}}}"#;
        writer.send(Frame::Text(hello.to_owned())).await.unwrap();
        assert!(matches!(reader.receive().await.unwrap(), Received::Text(_)));

        // While something blocks, time passes only when it is told to.
        let (awake, held) = std::sync::mpsc::channel::<()>();
        let blocked = tokio::task::spawn_blocking(move || held.recv());
        tokio::time::pause();
        let mut taken = 0;
        for second in 0..240 {
            for _ in 0..64 {
                tokio::task::yield_now().await;
            }
            match reader.receive().now_or_never() {
                Some(Ok(_)) => taken += 1,
                Some(Err(end)) => panic!("closed after {second} s: {end}"),
                None => {}
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(taken > 120, "there was not always something to take: {taken}");
        assert!(!session.is_finished());
        drop(awake);
        let _ = blocked.await;
        session.abort();
    }
}
