//! The link to the server: what it says until it is lost, and dialling it again. What is said over it, and
//! what to make of the answers, is not decided here.

use onsembl_protocol::close::{CloseCause, ComeBack};
use onsembl_protocol::id::{LinkId, MessageId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::liveness::{
    Backoff, BackoffPolicy, HeartbeatMonitor, HeartbeatTiming, Liveness,
};
use onsembl_protocol::session::DialFailure;
use onsembl_protocol::time::{Deadline, Human, Timestamp};
use onsembl_protocol::wire::{
    self, DashboardToServer, MessageSet as _, ServerToDashboard, StreamFrame,
};
use onsembl_transport::clock::SystemClock;
use onsembl_transport::messages::Envelopes;
use onsembl_transport::pump::{self, LinkEvent, LinkHandle, LinkInput, PumpConfig};
use onsembl_transport::websocket::WebSocketDialer;
use onsembl_transport::{DialError, Dialer as _, Received};
use std::time::Duration;
use tokio::sync::mpsc;

/// Between attempts to come back. A user waits for the command, so the longest window is short.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// How long a link must last for the next one to be dialled as soon as the first was.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// How long a server may say nothing over a new link. It greets at once; one that does not is another program that took
/// the upgrade, and the next address of the name may be the right one.
const GREETING_WITHIN: Duration = Duration::from_secs(10);

/// Something about the server.
pub(super) enum Heard {
    /// It says something.
    Message(Box<ServerToDashboard>),
    /// The link is lost, for this reason. Dialling again has begun.
    Lost(String),
    /// There is a new link.
    Back,
}

/// A link that is dialled again when it is lost.
pub(super) struct ServerLink {
    dialer: WebSocketDialer,
    clock: SystemClock,
    envelopes: Envelopes,
    backoff: Backoff,
    links: u64,
    ever: Server,
    state: State,
}

enum State {
    Up(Up),
    Down { retry_at: Timestamp },
}

struct Up {
    handle: LinkHandle,
    inbox: mpsc::Receiver<LinkEvent>,
    monitor: HeartbeatMonitor,
    since: Timestamp,
    server: Server,
}

/// Whether the server has said anything, over this link or over any.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    Silent,
    Heard,
}

impl ServerLink {
    /// Dials, once. `prefix` begins the ids of messages.
    ///
    /// # Errors
    /// There is no link to be had.
    pub(super) async fn open(dialer: WebSocketDialer, prefix: &str) -> Result<Self, DialError> {
        let clock = SystemClock::new();
        let policy = BackoffPolicy::new(FIRST_RETRY, LONGEST_RETRY, STABLE_AFTER);
        let seed = uuid::Uuid::new_v4().as_u64_pair().1;
        let mut link = Self {
            dialer,
            clock,
            envelopes: Envelopes::new(prefix),
            backoff: Backoff::new(policy.unwrap_or(BackoffPolicy::DEFAULT), seed),
            links: 0,
            ever: Server::Silent,
            state: State::Down { retry_at: Timestamp::ORIGIN },
        };
        link.dial().await?;
        Ok(link)
    }

    async fn dial(&mut self) -> Result<(), DialError> {
        let link = self.dialer.dial().await?;
        let (entry, inbox) = mpsc::channel(64);
        self.links += 1;
        let now = self.clock.now().monotonic;
        self.state = State::Up(Up {
            handle: pump::spawn(link, LinkId(self.links), PumpConfig::DEFAULT, entry),
            inbox,
            monitor: HeartbeatMonitor::new(HeartbeatTiming::DEFAULT, now),
            since: now,
            server: Server::Silent,
        });
        Ok(())
    }

    /// Waits for what comes next. A dropped call loses nothing.
    ///
    /// # Errors
    /// The server does not want this dashboard any more, or sends what cannot be read.
    pub(super) async fn next(&mut self) -> anyhow::Result<Heard> {
        loop {
            match &mut self.state {
                State::Up(up) => match up.next(&self.clock).await? {
                    Some(Heard::Lost(why)) => {
                        if up.server == Server::Silent {
                            self.dialer.hello_failed();
                        }
                        let now = self.clock.now().monotonic;
                        if up.since.saturating_add(STABLE_AFTER) <= now {
                            self.backoff.reset();
                        }
                        self.state = State::Down { retry_at: self.backoff.next_attempt(now) };
                        return Ok(Heard::Lost(why));
                    }
                    Some(heard) => {
                        self.ever = Server::Heard;
                        return Ok(heard);
                    }
                    None => {}
                },
                State::Down { retry_at } => {
                    self.clock.sleep_until(Deadline::At(*retry_at)).await;
                    match self.dial().await {
                        Ok(()) => return Ok(Heard::Back),
                        Err(error) => {
                            if error.failure.is_about_the_token() {
                                anyhow::bail!("{error}");
                            }
                            tracing::debug!(%error, "cannot reach the server yet");
                            let now = self.clock.now().monotonic;
                            let retry_at = if let DialFailure::Busy { retry_after: Some(after) } =
                                error.failure
                            {
                                self.backoff.next_attempt_after(now, after)
                            } else {
                                self.backoff.next_attempt(now)
                            };
                            self.state = State::Down { retry_at };
                        }
                    }
                }
            }
        }
    }

    /// Whether the server has said anything since the first dial.
    pub(super) const fn ever(&self) -> Server {
        self.ever
    }

    /// Sends a message, if there is a link. One that is being lost takes nothing, and that is the next
    /// thing heard.
    pub(super) async fn send(&mut self, message: &DashboardToServer) -> Option<MessageId> {
        let State::Up(up) = &self.state else { return None };
        let (id, frame) = self.envelopes.frame(message, self.clock.now().wall);
        if frame.byte_count() > Limits::DEFAULT.message_bytes {
            tracing::warn!(
                kind = message.kind(),
                bytes = frame.byte_count(),
                "a message to the server is too long; it is dropped"
            );
            return None;
        }
        up.handle.data(frame).await.is_ok().then_some(id)
    }

    /// Lets the close frame get out before the process ends.
    pub(super) async fn say_goodbye(self) {
        let State::Up(Up { handle, mut inbox, .. }) = self.state else { return };
        handle.close(CloseCause::GoingAway);
        let ended = async {
            while let Some(event) = inbox.recv().await {
                if matches!(event.what, LinkInput::Ended(_)) {
                    break;
                }
            }
        };
        if tokio::time::timeout(Duration::from_secs(1), ended).await.is_err() {
            tracing::debug!("the link did not end in time");
        }
    }
}

impl Up {
    /// Until when the server must have said something.
    fn greeting(&self) -> Deadline {
        match self.server {
            Server::Silent => Deadline::At(self.since.saturating_add(GREETING_WITHIN)),
            Server::Heard => Deadline::Never,
        }
    }

    /// `None` for what only shows that the server lives.
    async fn next(&mut self, clock: &SystemClock) -> anyhow::Result<Option<Heard>> {
        let greeting = self.greeting();
        let event = tokio::select! {
            biased;
            event = self.inbox.recv() => event,
            () = clock.sleep_until(greeting) => {
                self.handle.abort(CloseCause::HelloTimeout);
                let within = Human(GREETING_WITHIN);
                return Ok(Some(Heard::Lost(format!("it accepted the connection and sent nothing for {within}"))));
            }
            () = clock.sleep_until(self.monitor.deadline()) => {
                let seen = self.monitor.on_wake(clock.now().monotonic);
                if seen.changed != Some(Liveness::TimedOut) {
                    return Ok(None);
                }
                self.handle.abort(CloseCause::Silent);
                return Ok(Some(Heard::Lost("no frame from it for 90s".to_owned())));
            }
        };
        let Some(event) = event else {
            return Ok(Some(Heard::Lost("it ended without a close frame".to_owned())));
        };
        let _alive = self.monitor.on_received(clock.now().monotonic);
        match event.what {
            LinkInput::Ended(end) => match end.reason.cause.come_back() {
                ComeBack::Backoff => Ok(Some(Heard::Lost(end.to_string()))),
                ComeBack::WithNewToken | ComeBack::Never => anyhow::bail!("{end}"),
            },
            LinkInput::Received(Received::Control) => Ok(None),
            LinkInput::Received(Received::Binary(message)) => {
                self.server = Server::Heard;
                let frame = StreamFrame::decode(message, &Limits::DEFAULT).map_err(unreadable)?;
                let output = ServerToDashboard::TerminalStream(frame.into());
                Ok(Some(Heard::Message(Box::new(output))))
            }
            LinkInput::Received(Received::Text(text)) => {
                self.server = Server::Heard;
                let envelope = wire::decode::<ServerToDashboard>(&text, &Limits::DEFAULT)
                    .map_err(unreadable)?;
                Ok(Some(Heard::Message(Box::new(envelope.message))))
            }
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn unreadable(error: wire::DecodeError) -> anyhow::Error {
    anyhow::anyhow!("the server sent an unreadable message: {error}")
}
