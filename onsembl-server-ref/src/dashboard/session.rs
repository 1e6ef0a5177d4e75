//! One dashboard's link: reads and writes it, and does what its machine says. What is decided about it is in the core
//! ([`DashboardLink`]).

use crate::auth::{Authenticator, Credentials, Identity, OpenRequest, Refusal, TokenKind};
use crate::bounds::{Share, Shares, Turns};
use crate::fleet_view::{FleetView, FleetViews};
use crate::hub::HubHandle;
use crate::metrics::Metrics;
use crate::store::{Cursor, Store, StoreError, StoredRecord};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use onsembl_protocol::fleet::{
    Answer, DashboardAction, DashboardEvent, DashboardLink, DashboardNote, DashboardToken,
    KeyboardRequest, LogRecord, OpenHandle, Request, Token,
};
use onsembl_protocol::id::{CommandId, DashboardId, LinkId, ServerInstanceId, UserId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::{Severity, TraceContext};
use onsembl_protocol::session::DashboardStatus;
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::payload::TokenRefresh;
use onsembl_protocol::wire::{MessageSet as _, ServerToDashboard, StreamFrame};
use onsembl_transport::clock::SystemClock;
use onsembl_transport::counters::Counters;
use onsembl_transport::messages::Envelopes;
use onsembl_transport::pump::{self, LinkHandle, LinkInput, PumpConfig, TryDataError};
use onsembl_transport::{BudgetShare, Frame, Link, Received};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

/// Frames that may wait for this task.
const INBOX: usize = 8;
/// At most 128 updates wait for a dashboard that does not read, and [this many bytes](DashboardLink::DATA_BYTES): as many
/// short ones as go out in one write. The answers to all its requests may come at one moment, and pongs beside them.
const PUMP: PumpConfig = {
    let mut it = PumpConfig::DEFAULT;
    it.data_queue = 128;
    it.data_bytes = DashboardLink::DATA_BYTES;
    it.control_queue = 4 * DashboardLink::MOST_UNDER_WAY;
    it.control_bytes = DashboardLink::CONTROL_BYTES;
    it
};
/// Updates that are told with one look at what the user may see.
const TOLD_AT_ONCE: usize = 64;
/// What dashboards of all users may take together, in slots of [`SLOT`]: 512, and one user alone three quarters of
/// them.
pub(crate) const SLOTS: usize = 512;
pub(crate) const SLOTS_WEIGHT: usize = 3;
/// Bytes of a slot. A dashboard of a small fleet has two.
pub(crate) const SLOT: usize = 1 << 20;
/// Dashboards of one user that are served at a time. Further ones of that user wait; other users do not.
pub(crate) const AT_WORK: usize = 1;

/// The number of the next dashboard of this process.
static NEXT: AtomicU64 = AtomicU64::new(1);

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
    pub metrics: Metrics,
    /// This server process.
    pub instance: ServerInstanceId,
    /// Cancelled when the server ends.
    pub stop: CancellationToken,
    /// What dashboards may take.
    pub(crate) slots: Shares<UserId>,
    /// Whose dashboards are worked for.
    pub(crate) turns: Turns<UserId>,
}

/// Serves one dashboard until its link ends. `trace` is the one in which the link was opened.
pub(crate) async fn serve(
    link: Link,
    open: OpenRequest,
    trace: Option<TraceContext>,
    dashboard: Dashboard,
) {
    let peer = link.peer.clone();
    let (entry, inbox) = mpsc::channel(INBOX);
    let handle = pump::spawn(link, LinkId(1), PUMP, entry);
    let clock = SystemClock::new();
    let token = facts(open.identity());
    let instance = dashboard.instance.clone();
    let session = Session {
        envelopes: Envelopes::new(format!("msg-{instance}")),
        machine: DashboardLink::new(token, instance, Limits::DEFAULT, clock.now())
            .numbered(DashboardId(NEXT.fetch_add(1, Ordering::Relaxed))),
        clock,
        handle,
        inbox,
        view: dashboard.fleet_views.of(&open.identity().user),
        user: open.identity().user.clone(),
        open,
        trace,
        dashboard,
        peer,
        slots: Vec::new(),
        pending: FuturesUnordered::new(),
    };
    session.run().await;
}

/// What the machine of a link goes by of a token.
fn facts(identity: &Identity) -> DashboardToken {
    DashboardToken { user: identity.user.clone() }
}

/// What came of something that took its time.
enum Outcome {
    /// With the part that the request took of a budget.
    Answered(Token, Option<Answer>, Option<BudgetShare>),
    Checked(Token, Result<Identity, Refusal>),
    Read(CommandId, Result<Vec<LogRecord>, StoreError>),
    Found(CommandId, Result<Cursor, StoreError>),
}

/// What came with an event and is no matter of the machine.
#[derive(Default)]
struct Brought {
    /// The part that a message took of a budget.
    share: Option<BudgetShare>,
    /// A token that was checked.
    identity: Option<Identity>,
}

struct Session {
    dashboard: Dashboard,
    view: Arc<FleetView>,
    user: UserId,
    open: OpenRequest,
    trace: Option<TraceContext>,
    peer: String,
    clock: SystemClock,
    envelopes: Envelopes,
    handle: LinkHandle,
    inbox: mpsc::Receiver<pump::LinkEvent>,
    machine: DashboardLink,
    /// What it takes.
    slots: Vec<Share<UserId>>,
    pending: FuturesUnordered<BoxFuture<'static, Outcome>>,
}

impl Session {
    async fn run(mut self) {
        let (turns, user) = (self.dashboard.turns.clone(), self.user.clone());
        let mut changes = self.view.revisions();
        let stop = self.dashboard.stop.clone();
        loop {
            let (is_open, is_closing) = match self.machine.status() {
                // One that owes its hello has seconds.
                DashboardStatus::Greeting | DashboardStatus::Admitting => (false, false),
                DashboardStatus::Open => (true, false),
                DashboardStatus::Closing => (false, true),
            };
            // Before everything else: one that sends all the time would never be asked below.
            if let Some(end) = self.open.end().filter(|_| is_open) {
                self.feed(DashboardEvent::TokenEnded(end), Brought::default());
                continue;
            }
            // Of a link that takes nothing any more only its last event is to come, whatever waits for it.
            let has_ended = self.handle.has_ended();
            tokio::select! {
                biased;
                event = self.inbox.recv(), if self.machine.is_read() || has_ended => {
                    let Some(event) = event else { return };
                    let _turn = turns.take_one(&user).await;
                    match event.what {
                        LinkInput::Ended(end) => {
                            debug!(peer = %self.peer, %end, "dashboard link ended");
                            return self.feed(DashboardEvent::Ended, Brought::default());
                        }
                        LinkInput::Received(received) => self.on_received(received, event.share),
                    }
                }
                Some(outcome) = self.pending.next(), if !self.pending.is_empty() => {
                    let _turn = turns.take_one(&user).await;
                    self.on_outcome(outcome);
                }
                () = self.clock.sleep_until(self.machine.deadline()) => {
                    let _turn = turns.take_one(&user).await;
                    self.feed(DashboardEvent::Wake, Brought::default());
                }
                Ok(()) = changes.changed() => {
                    let _turn = turns.take_one(&user).await;
                    self.feed(DashboardEvent::Changed, Brought::default());
                }
                () = self.handle.room(), if self.machine.waits_for_room() && !has_ended => {
                    let _turn = turns.take_one(&user).await;
                    self.feed(DashboardEvent::Room, Brought::default());
                }
                end = self.open.ended(), if is_open => {
                    self.feed(DashboardEvent::TokenEnded(end), Brought::default());
                }
                () = stop.cancelled(), if !is_closing => {
                    self.feed(DashboardEvent::ServerEnding, Brought::default());
                }
            }
        }
    }

    fn on_received(&mut self, received: Received, share: BudgetShare) {
        match received {
            Received::Control => self.feed(DashboardEvent::Control, Brought::default()),
            Received::Binary(_) => self.feed(DashboardEvent::Binary, Brought::default()),
            Received::Text(text) => {
                let brought = Brought { share: Some(share), ..Brought::default() };
                self.feed(DashboardEvent::Text(&text), brought);
            }
        }
    }

    fn on_outcome(&mut self, outcome: Outcome) {
        let mut brought = Brought::default();
        let event = match outcome {
            Outcome::Answered(number, answer, share) => {
                drop(share);
                DashboardEvent::Answered(number, answer)
            }
            Outcome::Checked(number, Ok(identity)) => {
                let token = facts(&identity);
                brought.identity = Some(identity);
                DashboardEvent::Checked(number, Ok(token))
            }
            Outcome::Checked(number, Err(refusal)) => {
                DashboardEvent::Checked(number, Err((refusal.reason(), refusal.to_string())))
            }
            Outcome::Read(command, Ok(records)) => DashboardEvent::Read(command, records),
            Outcome::Found(command, Ok(cursor)) => DashboardEvent::Found(command, cursor),
            Outcome::Read(command, Err(error)) | Outcome::Found(command, Err(error)) => {
                DashboardEvent::NotRead(command, error.to_string())
            }
        };
        self.feed(event, brought);
    }

    /// Hands an event to the machine, and does all that it says. What an action brings at once comes behind the others.
    fn feed(&mut self, event: DashboardEvent<'_>, mut brought: Brought) {
        let view = Arc::clone(&self.view);
        let (mut next, mut behind) = (Some(event), None);
        loop {
            // One look and one time for several updates. Everything else is done without a look.
            let (look, now) = (view.look(), self.clock.now());
            let mut other = None;
            for _ in 0..TOLD_AT_ONCE {
                if let Some(event) = next.take() {
                    self.machine.handle(event, &look, now);
                }
                // A link that has ended accepts and discards everything: sending to it would never end.
                let has_room = self.handle.has_room() && !self.handle.has_ended();
                match self.machine.poll_action(&look, has_room, now) {
                    Some(DashboardAction::Tell(message)) => self.tell(&message, now.wall),
                    Some(DashboardAction::Stream(frame)) => self.stream(&frame),
                    Some(action) => {
                        other = Some(action);
                        break;
                    }
                    None => match behind.take() {
                        Some(event) => next = Some(event),
                        None => return,
                    },
                }
            }
            drop(look);
            if let Some(action) = other {
                behind = self.perform(action, &mut brought, now.wall).or(behind);
            }
        }
    }

    /// Does one thing; gives what comes of it at once.
    fn perform(
        &mut self,
        action: DashboardAction,
        brought: &mut Brought,
        wall: WallTime,
    ) -> Option<DashboardEvent<'static>> {
        match action {
            DashboardAction::Reserve(bytes) => return Some(self.reserve(bytes)),
            DashboardAction::Say(message) => self.say(&message, wall),
            DashboardAction::Tell(message) => self.tell(&message, wall),
            DashboardAction::Stream(frame) => self.stream(&frame),
            DashboardAction::Ask(number, request) => {
                self.ask(number, request, brought.share.take());
            }
            DashboardAction::CheckToken(number, refresh) => self.check_token(number, refresh),
            DashboardAction::UseToken => {
                if let Some(identity) = brought.identity.take() {
                    self.open.renew(identity);
                }
            }
            DashboardAction::Read { command, after, max_bytes } => {
                let (store, user) = (self.dashboard.store.clone(), self.user.clone());
                self.later(async move {
                    let read = store.reading().read(&user, &command, None, after, max_bytes).await;
                    let records = read.map(|r| r.into_iter().map(StoredRecord::into_log).collect());
                    Outcome::Read(command, records)
                });
            }
            DashboardAction::Seek(command, seek) => {
                let (store, user) = (self.dashboard.store.clone(), self.user.clone());
                self.later(async move {
                    let found = store.reading().seek(&user, &command, &seek).await;
                    Outcome::Found(command, found)
                });
            }
            DashboardAction::Note(note) => self.note(&note),
            DashboardAction::Close(cause) if cause.is_abrupt() => self.handle.abort(cause),
            DashboardAction::Close(cause) => self.handle.close(cause),
        }
        None
    }

    fn later(&self, outcome: impl Future<Output = Outcome> + Send + 'static) {
        self.pending.push(Box::pin(outcome));
    }

    /// Takes as many slots as that needs.
    fn reserve(&mut self, bytes: usize) -> DashboardEvent<'static> {
        let needed = bytes.div_ceil(SLOT);
        while self.slots.len() < needed {
            let Some(share) = self.dashboard.slots.take(&self.user) else {
                return DashboardEvent::NoRoom { slots: self.dashboard.slots.capacity(), needed };
            };
            self.slots.push(share);
        }
        DashboardEvent::Reserved
    }

    /// Asks the fleet.
    fn ask(&self, number: Token, mut request: Request, share: Option<BudgetShare>) {
        if let Request::Command(request) = &mut request {
            request.trace = request.trace.or(self.trace);
        }
        let (hub, user) = (self.dashboard.hub.clone(), self.user.clone());
        if matches!(request, Request::Keyboard(_, KeyboardRequest::LinkLost)) {
            // This session, with all that it waits for, is about to end.
            drop(tokio::spawn(async move { hub.ask_fleet(user, request).await }));
            return;
        }
        self.later(
            async move { Outcome::Answered(number, hub.ask_fleet(user, request).await, share) },
        );
    }

    fn check_token(&self, number: Token, refresh: TokenRefresh) {
        let (auth, user) = (self.dashboard.auth.clone(), self.user.clone());
        self.later(async move {
            let token = refresh.access_token.reveal();
            let credentials = Credentials::of_link(TokenKind::Dashboard, token, &user);
            Outcome::Checked(number, auth.admit(&credentials).await)
        });
    }

    /// `None`: it would not go out. The rest does, and what it is about is asked for otherwise.
    fn frame(&mut self, message: &ServerToDashboard, wall: WallTime) -> Option<Frame> {
        let (_, frame) = self.envelopes.frame(message, wall);
        if frame.byte_count() <= Limits::DEFAULT.message_bytes {
            return Some(frame);
        }
        self.dashboard.counters.count("own_messages_too_long");
        let (user, peer, kind, bytes) =
            (&self.user, &self.peer, message.kind(), frame.byte_count());
        let command = message.command().map_or("", CommandId::as_str);
        warn!(%user, %peer, command, kind, bytes, "a message to a dashboard is too long; it is dropped");
        None
    }

    fn say(&mut self, message: &ServerToDashboard, wall: WallTime) {
        let Some(frame) = self.frame(message, wall) else { return };
        if self.handle.control(frame).is_err() {
            self.dashboard.counters.count("control_queue_full");
            warn!(user = %self.user, peer = %self.peer, "a dashboard does not read; its link is being ended");
        }
    }

    fn tell(&mut self, message: &ServerToDashboard, wall: WallTime) {
        self.dashboard.metrics.delivered(message);
        if let Some(frame) = self.frame(message, wall) {
            self.send(frame);
        }
    }

    fn stream(&mut self, frame: &StreamFrame) {
        // Its ids came over a link, so they have a form.
        if let Some(message) = frame.encode() {
            self.dashboard.metrics.delivered_output(frame.byte_count());
            self.send(Frame::Binary(message));
        }
    }

    fn send(&self, frame: Frame) {
        match self.handle.try_data(frame) {
            Ok(()) => {}
            // Room was seen just now, so the link is ending; its last event says how.
            Err(TryDataError::Full(_) | TryDataError::Closed) => {}
        }
    }

    fn note(&self, note: &DashboardNote) {
        if let Some(counter) = note.counter() {
            self.dashboard.counters.count(counter);
        }
        let (user, peer) = (&self.user, &self.peer);
        // Each at a place of its own: a log bounds what comes from one place.
        macro_rules! line {
            ($($about:tt)*) => {
                match note.severity() {
                    Severity::Debug => debug!(%user, %peer, $($about)* "{note}"),
                    Severity::Info => info!(%user, %peer, $($about)* "{note}"),
                    Severity::Warn => warn!(%user, %peer, $($about)* "{note}"),
                    Severity::Error => error!(%user, %peer, $($about)* "{note}"),
                }
            };
        }
        match note {
            DashboardNote::Connected => line!(),
            DashboardNote::Gone => line!(),
            DashboardNote::NoHello => line!(),
            DashboardNote::Undecodable(error) => line!(%error,),
            DashboardNote::UnknownType(kind) => line!(%kind,),
            DashboardNote::NoRoom => line!(),
            DashboardNote::Silent => line!(),
            DashboardNote::TokenEnded(_) => line!(),
            DashboardNote::OutputNotRead(command, error) => line!(%command, %error,),
        }
    }
}

/// In virtual time, over a link in memory.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{Server, ServerOptions};
    use futures::FutureExt as _;
    use onsembl_protocol::fleet::OpenKind;
    use onsembl_transport::memory;
    use std::path::Path;
    use std::time::Duration;

    /// More than a dashboard is told of in the time of the test, one message a second.
    const AGENTS: usize = 600;

    async fn server(data: &Path) -> Server {
        Server::start(ServerOptions::new(data)).await.unwrap()
    }

    fn opened(server: &Server) -> OpenRequest {
        let identity = Identity::new(UserId::new("ann"), TokenKind::Dashboard, "token");
        server.open(OpenKind::Dashboard, identity)
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
        let open = opened(&server);
        let dashboard = server.dashboard();
        // As where a dashboard is admitted.
        assert!(dashboard.hub.read(&UserId::new("ann")).await);
        let session = tokio::spawn(serve(far, open, None, dashboard));
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

    /// Answers wait for it, more than its link holds, and it goes without having read any.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_dashboard_that_goes_while_answers_wait_for_it_leaves_nothing() {
        let data = tempfile::tempdir().unwrap();
        server(data.path()).await.stop().await;
        add_agents(data.path());
        let server = server(data.path()).await;
        let (near, far) = memory::pair(1);
        let Link { reader, mut writer, .. } = near;
        let open = opened(&server);
        let dashboard = server.dashboard();
        let slots = dashboard.slots.clone();
        let session = tokio::spawn(serve(far, open, None, dashboard));
        let hello = r#"{"type":"DASHBOARD_INIT","id":"1","timestamp":1,"payload":
                        {"subscriptions":{"agents":{"all":true}}}}"#;
        for _ in 0..4 {
            writer.send(Frame::Text(hello.to_owned())).await.unwrap();
        }
        // Time enough for its link to be full.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!session.is_finished());
        drop((reader, writer));
        let ended = tokio::time::timeout(Duration::from_secs(20), session).await;
        ended.expect("it ends with its link").unwrap();
        let all: Vec<_> = std::iter::from_fn(|| slots.take(&UserId::new("ann"))).collect();
        assert!(all.len() > SLOTS / 2, "its slots are free again: {}", all.len());
    }
}
