//! Runs one command on an agent and follows it to its end, as a dashboard that watches nothing else. A lost
//! link is dialled again, and everything resumes where it was.

pub mod attach;
mod ending;
mod link;
mod notices;
mod screen;

use bytes::Bytes;
use ending::finished;
use link::{Heard, Server, ServerLink};
use notices::Notices;
use onsembl_protocol::fleet::{OutputFollower, OutputPosition, StoredBody};
use onsembl_protocol::id::{AgentId, CommandId, MessageId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::{Exit, PROGRAM_ENDED, Stream, TYPED_INTO, TraceContext, gap_notice};
use onsembl_protocol::wire::payload::{
    CommandCancel, CommandInput, CommandPhase, CommandRequest, CommandStatus, DashboardConnected,
    DashboardExtensions, DashboardInit, ErrorCode, ErrorReply, Feature, OfflinePolicy, OpenLine,
    OutputGap, Pong, Priority, Replay, SecretEcho, Selection, StreamContent, Subscription,
    SubscriptionKind, Subscriptions, TerminalStream, TypeIf,
};
use onsembl_protocol::wire::{Bounded as _, DashboardToServer, ServerToDashboard};
use onsembl_transport::ProxyRule;
use onsembl_transport::secret::{Secret, TokenFile, TokenSource};
use onsembl_transport::tls::TlsRoots;
use onsembl_transport::websocket::WebSocketDialer;
use screen::{ReaderClosed, Screen};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

/// A text as one part of an address.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(byte.into());
            }
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

/// How to wait for the confirmation of a cancel.
const CANCEL_PATIENCE: Duration = Duration::from_secs(12);
/// The agent enforces the time limit too, this much later, in case this process dies first.
const LIMIT_MARGIN: Duration = Duration::from_secs(10);

/// How long the last output may take to be written before the client ends.
const LAST_WRITE_WITHIN: Duration = Duration::from_secs(2);

/// Longer than any caller waits.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Where the token of a client comes from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientToken {
    /// This is it.
    Text(Secret),
    /// It is in this file, which is read at each dial: one that was renewed there is used from then on.
    File(TokenFile),
}

impl TokenSource for ClientToken {
    fn token(&self) -> std::io::Result<Secret> {
        match self {
            Self::Text(token) => token.token(),
            Self::File(file) => file.token(),
        }
    }
}

impl From<Secret> for ClientToken {
    fn from(token: Secret) -> Self {
        Self::Text(token)
    }
}

/// A command that is to be run.
#[derive(Clone, Debug)]
pub struct RemoteCommand {
    /// The server: http, https, ws or wss.
    pub server: String,
    /// A dashboard token.
    pub token: ClientToken,
    /// Which certificates to trust.
    pub roots: TlsRoots,
    /// Which proxy to go through.
    pub proxy: ProxyRule,
    /// The agent, by its name or its id.
    pub agent: String,
    /// What `/bin/sh -c` is to run there.
    pub text: String,
    /// Longest run time; then it is cancelled.
    pub timeout: Duration,
    /// What to do if the agent is offline.
    pub offline: OfflinePolicy,
    /// How urgent it is among those that wait.
    pub priority: Priority,
    /// What the text is.
    pub input: CommandInput,
    /// What it does about a line that somebody has begun at the agent's own terminal.
    pub open_line: OpenLine,
    /// What becomes of a secret where the terminal shows what is typed.
    pub echo: SecretEcho,
    /// What the program must be doing for it to be typed; anything if not given.
    pub condition: Option<TypeIf>,
}

/// What ends a process that writes into a pipe without a reader.
const SIGPIPE: i32 = 13;

/// How following a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Followed {
    /// The command ended.
    Exited(Exit),
    /// It ended because it was cancelled from here, or its end did not come in time after that.
    Cancelled {
        by: Canceller,
        /// Whether its end was confirmed.
        confirmed: bool,
    },
}

/// Why a command was cancelled from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canceller {
    /// Its time was over.
    Timeout,
    /// This process was asked to end, by this signal; or its output is closed, which is `SIGPIPE`.
    Signal(i32),
}

impl RemoteCommand {
    /// A shell command of normal priority for an agent that is there, by a server whose certificate
    /// the system trusts.
    pub fn new(
        server: impl Into<String>,
        token: impl Into<ClientToken>,
        agent: impl Into<String>,
        text: impl Into<String>,
        timeout: Duration,
    ) -> Self {
        Self {
            server: server.into(),
            token: token.into(),
            roots: TlsRoots::Native,
            proxy: ProxyRule::from_env(),
            agent: agent.into(),
            text: text.into(),
            timeout,
            offline: OfflinePolicy::Refuse,
            priority: Priority::Normal,
            input: CommandInput::Text,
            open_line: OpenLine::Wait,
            echo: SecretEcho::Refuse,
            condition: None,
        }
    }

    /// Runs it. What it writes goes to `stdout` and `stderr`, byte for byte, and what there is to know
    /// of the ways to it goes to `stderr` too. When `interrupted` gives a signal, the command is
    /// cancelled.
    ///
    /// The first link must come about at once. One that is lost later is dialled again until the
    /// command's time is over; the command is not asked for twice, and its output resumes where it was.
    ///
    /// # Errors
    /// It could not be run, or how it ended is not known; the text says why.
    pub async fn run(
        self,
        stdout: impl AsyncWrite + Unpin,
        stderr: impl AsyncWrite + Unpin,
        interrupted: impl Future<Output = i32>,
    ) -> anyhow::Result<Followed> {
        let dialer = WebSocketDialer::new(&self.server, "/ws/dashboard", &self.roots)?
            .with_proxy(&self.proxy)?
            .with_token(self.token.clone());
        let command = CommandId::new(format!("cmd-{}", uuid::Uuid::now_v7()));
        let request = request(&self, command.clone());
        // Before anything is dialled: a server would refuse it, or the link would not take it.
        if let Err(too_long) =
            DashboardToServer::CommandRequest(request.clone()).check(&Limits::DEFAULT)
        {
            anyhow::bail!(
                "the command is too long: {too_long}; put what it is to work on into a file or a pipe there"
            );
        }
        let mut interrupted = std::pin::pin!(interrupted);
        let link = tokio::select! {
            biased;
            signal = &mut interrupted => {
                // Nothing was asked for yet.
                let by = Canceller::Signal(signal);
                return Ok(Followed::Cancelled { by, confirmed: true });
            }
            link = ServerLink::open(dialer, command.as_str()) => link?,
        };
        let mut run = Run {
            link,
            request,
            command,
            screen: Screen::new(stdout, stderr),
            ended: None,
            follower: OutputFollower::new(),
            notices: Notices::default(),
            taken: false,
            links: 0,
            requested: None,
            replay: None,
            cancelled: None,
        };
        run.greet().await;
        let now = Instant::now();
        // A limit beyond the range of the clock is no limit.
        let by = now.checked_add(self.timeout).unwrap_or(now + NEVER);
        let followed = run.follow(by, interrupted).await;
        if tokio::time::timeout(LAST_WRITE_WITHIN, run.screen.write_out()).await.is_err() {
            tracing::info!("the output is not being read; the rest of it is not shown");
        }
        run.link.say_goodbye().await;
        followed
    }
}

fn request(exec: &RemoteCommand, command: CommandId) -> CommandRequest {
    let agent = AgentId::new(&exec.agent);
    let mut request = CommandRequest::new(command, agent, exec.text.clone());
    request.offline = Some(exec.offline.clone());
    request.priority = exec.priority;
    request.input = Some(exec.input.clone()).filter(|input| *input != CommandInput::Text);
    request.open_line = Some(exec.open_line.clone()).filter(|line| *line != OpenLine::Wait);
    request.echo = Some(exec.echo.clone()).filter(|echo| *echo != SecretEcho::Refuse);
    request.condition.clone_from(&exec.condition);
    let limit = exec.timeout.saturating_add(LIMIT_MARGIN);
    // What started this program may have said in which trace it runs.
    let trace = std::env::var("TRACEPARENT").ok();
    request.trace = trace.as_deref().and_then(TraceContext::parse);
    request.constraints.time_limit_ms = Some(limit.as_millis().try_into().unwrap_or(u64::MAX));
    request
}

/// Why it was cancelled from here, and until when the confirmation is awaited.
#[derive(Clone, Copy)]
struct Cancelled {
    by: Canceller,
    force: bool,
    give_up: Instant,
}

struct Run<O, E> {
    link: ServerLink,
    command: CommandId,
    request: CommandRequest,
    screen: Screen<O, E>,
    /// How the command ended, once that is known.
    ended: Option<Exit>,
    follower: OutputFollower,
    notices: Notices,
    /// The server has said where the command is, so it has it.
    taken: bool,
    links: u32,
    requested: Option<MessageId>,
    /// What asked for a replay over the present link, unless there was nothing to replay yet.
    replay: Option<MessageId>,
    cancelled: Option<Cancelled>,
}

impl<O: AsyncWrite + Unpin, E: AsyncWrite + Unpin> Run<O, E> {
    /// Says over a new link what this is about. The request goes out again, under its id, if no reply
    /// knows whether it was taken, and it is still wanted.
    async fn greet(&mut self) {
        self.links = self.links.saturating_add(1);
        let init = DashboardInit {
            user_id: None,
            subscriptions: Subscriptions {
                agents: Selection::None,
                commands: Selection::None,
                terminals: true,
                traces: false,
            },
            extensions: Some(DashboardExtensions {
                features: vec![
                    Feature::OutputBytes,
                    Feature::OutputSpool,
                    Feature::OutputReplay,
                    Feature::SecretInput,
                    Feature::Activity,
                ],
                server_instance: None,
            }),
        };
        self.link.send(&DashboardToServer::Init(init)).await;
        if self.links > 1 {
            // Also if it is not known yet that it was taken: what it writes now must not come before
            // what it wrote meanwhile.
            self.ask_again().await;
        } else {
            self.watch(None).await;
        }
        // It says first whether it knows what the request depends on.
        if self.needs().is_none() {
            self.ask().await;
        }
        self.send_cancel().await;
    }

    async fn ask(&mut self) {
        if !self.taken && self.cancelled.is_none() {
            let request = DashboardToServer::CommandRequest(self.request.clone());
            self.requested = self.link.send(&request).await;
        }
    }

    async fn on_connected(&mut self, connected: &DashboardConnected) -> anyhow::Result<()> {
        let Some((feature, why)) = self.needs() else { return Ok(()) };
        let features = connected.extensions.as_ref().map(|extensions| &extensions.features);
        anyhow::ensure!(features.is_some_and(|features| features.contains(&feature)), why);
        self.ask().await;
        Ok(())
    }

    /// Without which feature a server would do something else than the request says, and what.
    fn needs(&self) -> Option<(Feature, &'static str)> {
        if self.request.is_secret() {
            let why = "this server takes no secrets, and would keep the text; nothing was sent";
            return Some((Feature::SecretInput, why));
        }
        let why = "this server does not know --if, and would have the text typed whatever the program does; nothing was sent";
        self.request.condition.is_some().then_some((Feature::Activity, why))
    }

    /// Asks for the output that is missing here, and for all that comes behind it.
    async fn ask_again(&mut self) {
        self.replay = self.watch(Some(self.missing())).await;
    }

    /// From where on output is missing here.
    fn missing(&self) -> Replay {
        self.follower.resume().map_or_else(Replay::default, |position| Replay {
            incarnation: Some(position.incarnation),
            stream_type: Some(position.stream.into()),
            offset: position.offset,
        })
    }

    async fn watch(&mut self, replay: Option<Replay>) -> Option<MessageId> {
        let watch = Subscription {
            kind: SubscriptionKind::Command,
            id: Some(self.command.as_str().to_owned()),
            all: false,
            replay,
        };
        self.link.send(&DashboardToServer::Subscribe(watch)).await
    }

    async fn follow(
        &mut self,
        timeout: Instant,
        interrupted: impl Future<Output = i32>,
    ) -> anyhow::Result<Followed> {
        let mut interrupted = std::pin::pin!(interrupted);
        loop {
            // A request to end it does not wait for a reader either.
            if let Some(exit) = self.ended
                && (self.screen.is_idle() || self.cancelled.is_some())
            {
                return Ok(self.outcome(exit));
            }
            let deadline = self.cancelled.map_or(timeout, |c| c.give_up);
            let by_signal =
                matches!(self.cancelled, Some(Cancelled { by: Canceller::Signal(_), .. }));
            let notice = self.notices.due();
            tokio::select! {
                // Output may have no end, nor its reader any wish to read, and nothing else may wait
                // for that.
                biased;
                signal = &mut interrupted, if !by_signal => {
                    self.cancel(Canceller::Signal(signal)).await;
                }
                () = tokio::time::sleep_until(deadline) => match (self.ended, self.cancelled) {
                    (Some(exit), _) => return Ok(self.outcome(exit)),
                    // Nobody is there who could confirm a cancel.
                    (None, None) if self.link.ever() == Server::Silent => anyhow::bail!(
                        "the server did not answer in time, and whether it took the command is not known; `onsembl-server commands {}` shows it if it did",
                        self.command
                    ),
                    (None, None) => self.cancel(Canceller::Timeout).await,
                    (None, Some(Cancelled { by, .. })) => {
                        let id = &self.command;
                        self.screen.say(&format!(
                            "the cancel was not confirmed; the command may go on, and `onsembl-server cancel {id}` asks again"
                        ));
                        return Ok(Followed::Cancelled { by, confirmed: false });
                    }
                },
                () = tokio::time::sleep_until(notice.unwrap_or(deadline)), if notice.is_some() => {
                    if let Some(text) = self.notices.take(Instant::now()) {
                        self.screen.say(&text);
                    }
                }
                written = self.screen.write_out(), if !self.screen.is_idle() => {
                    if let Err(closed) = written {
                        self.on_reader_closed(&closed).await;
                    }
                }
                heard = self.link.next(), if self.ended.is_none() && self.screen.has_room() => {
                    let heard = heard.map_err(|why| anyhow::anyhow!("{why}; {}", self.left_behind()))?;
                    self.ended = self.on_heard(heard).await?;
                }
            }
        }
    }

    fn outcome(&self, exit: Exit) -> Followed {
        match self.cancelled {
            None => Followed::Exited(exit),
            Some(Cancelled { by, .. }) => Followed::Cancelled { by, confirmed: true },
        }
    }

    async fn on_heard(&mut self, heard: Heard) -> anyhow::Result<Option<Exit>> {
        match heard {
            Heard::Message(message) => self.on_message(*message).await,
            Heard::Lost(why) => {
                let command = &self.command;
                let so_far = match (self.cancelled, self.taken) {
                    (Some(_), _) => {
                        format!("whether the cancel of command {command} came there is not known")
                    }
                    (None, true) => format!("command {command} keeps running"),
                    (None, false) => format!("whether command {command} was taken is not known"),
                };
                let text =
                    format!("no link to the server any more ({why}); trying again, and {so_far}");
                self.screen.say(&text);
                Ok(None)
            }
            Heard::Back => {
                self.screen.say("the link to the server is back");
                self.greet().await;
                Ok(None)
            }
        }
    }

    /// What there is to know of the command for who does not wait for it any more.
    fn left_behind(&self) -> String {
        let id = &self.command;
        format!(
            "the command may go on, and `onsembl-server commands {id}` shows what becomes of it"
        )
    }

    async fn on_message(&mut self, message: ServerToDashboard) -> anyhow::Result<Option<Exit>> {
        match message {
            ServerToDashboard::TerminalStream(output) if output.command_id == self.command => {
                self.on_output(output);
                Ok(None)
            }
            ServerToDashboard::OutputGap(gap) if gap.command_id == self.command => {
                self.on_gap(&gap);
                Ok(None)
            }
            ServerToDashboard::CommandStatus(status) if status.command_id == self.command => {
                self.on_status(&status).await
            }
            ServerToDashboard::Error(error) => {
                self.on_error(&error)?;
                Ok(None)
            }
            ServerToDashboard::Ping(ping) => {
                let pong =
                    Pong { timestamp: ping.timestamp, latency: None, sequence: ping.sequence };
                self.link.send(&DashboardToServer::Pong(pong)).await;
                Ok(None)
            }
            ServerToDashboard::Connected(connected) => {
                self.on_connected(&connected).await?;
                Ok(None)
            }
            ServerToDashboard::TerminalStream(_)
            | ServerToDashboard::OutputGap(_)
            | ServerToDashboard::TerminalSize(_)
            | ServerToDashboard::KeyboardState(_)
            | ServerToDashboard::CommandStatus(_)
            | ServerToDashboard::AgentConnected(_)
            | ServerToDashboard::AgentStatus(_)
            | ServerToDashboard::AgentDisconnect(_)
            | ServerToDashboard::CommandComplete(_)
            | ServerToDashboard::Trace(_)
            | ServerToDashboard::QueueUpdate(_)
            | ServerToDashboard::EmergencyStop(_)
            | ServerToDashboard::Ack(_)
            | ServerToDashboard::Pong(_)
            | ServerToDashboard::TokenRefresh(_)
            | ServerToDashboard::Unknown(_) => Ok(None),
        }
    }

    fn on_output(&mut self, output: TerminalStream) {
        let stream = output.stream.stream();
        match output.content {
            StreamContent::Bytes(content) => {
                let body = StoredBody::Chunk(content.into_bytes());
                let new = match (output.incarnation, output.offset) {
                    (Some(incarnation), Some(offset)) => {
                        self.follower.take(OutputPosition { incarnation, stream, offset }, body)
                    }
                    (None, _) | (_, None) => Some(body),
                };
                if let Some(StoredBody::Chunk(bytes)) = new {
                    self.show(stream, bytes);
                }
            }
            StreamContent::Lines(lines) => {
                self.show(stream, Bytes::from(format!("{}\n", lines.join("\n"))));
            }
        }
    }

    fn on_gap(&mut self, gap: &OutputGap) {
        let &OutputGap { incarnation, offset, length, because, .. } = gap;
        let position = OutputPosition { incarnation, stream: gap.stream_type.stream(), offset };
        let new = self.follower.take(position, StoredBody::Gap { length, because });
        if let Some(StoredBody::Gap { length, because }) = new {
            let notice = format!("{}\n", gap_notice(length, because));
            self.show(Stream::Stderr, Bytes::from(notice));
        }
    }

    async fn on_status(&mut self, status: &CommandStatus) -> anyhow::Result<Option<Exit>> {
        let because = status.because.as_deref().unwrap_or("no reason given");
        self.notices.on_status(&status.status, because, Instant::now());
        // What is not stored yet can still vanish with the server.
        let is_taken = status.status != CommandPhase::Pending;
        let is_first = is_taken && !std::mem::replace(&mut self.taken, true);
        if is_first && self.links > 1 && self.replay.is_none() {
            // It may have been taken over an earlier link, and have ended so long ago that it was
            // looked up only now.
            self.ask_again().await;
            return Ok(None);
        }
        let ended = finished(status, self.cancelled.is_some())?;
        // It writes nothing itself, so the caller is told where to look.
        let is_typed = because.starts_with(TYPED_INTO) || because.contains(PROGRAM_ENDED);
        if ended.is_some() && is_typed {
            self.screen.say(because);
        }
        if ended.is_some() && status.status == CommandPhase::Cancelled && self.cancelled.is_none() {
            self.screen.say(&format!("the command was cancelled: {because}"));
        }
        Ok(ended)
    }

    fn on_error(&mut self, error: &ErrorReply) -> anyhow::Result<()> {
        let about = error.original_message_id.as_ref();
        let is_about = |sent: &Option<MessageId>| about.is_some() && about == sent.as_ref();
        if !self.taken && error.code == ErrorCode::CommandNotFound && is_about(&self.replay) {
            // The request, which goes out behind it, may well be the first that arrives.
            self.replay = None;
            return Ok(());
        }
        let ours =
            error.context.command_id.as_ref() == Some(&self.command) || is_about(&self.requested);
        if !ours {
            tracing::warn!(code = %error.code, text = %error.message, "the server complains");
            return Ok(());
        }
        if self.links > 1 {
            anyhow::bail!(
                "{}; what became of it while the link was lost is shown by `onsembl-server commands {}`",
                error.message,
                self.command
            );
        }
        anyhow::bail!("{}", error.message)
    }

    fn has_lost_its_reader(&self) -> bool {
        let by = self.cancelled.map(|cancelled| cancelled.by);
        by == Some(Canceller::Signal(SIGPIPE))
    }

    fn show(&mut self, stream: Stream, bytes: Bytes) {
        if !self.has_lost_its_reader() {
            self.screen.output(stream, bytes);
        }
    }

    /// The command ends as a local one would, which writes into a closed pipe.
    async fn on_reader_closed(&mut self, closed: &ReaderClosed) {
        tracing::info!(stream = %closed.stream, error = %closed.error, "the reader of the output is closed; ending the command");
        self.screen.drop_output();
        if self.ended.is_none() && !self.has_lost_its_reader() {
            self.cancel(Canceller::Signal(SIGPIPE)).await;
        }
    }

    async fn cancel(&mut self, by: Canceller) {
        let force = self.cancelled.is_some();
        let give_up = Instant::now() + CANCEL_PATIENCE;
        self.cancelled = Some(Cancelled { by, force, give_up });
        self.send_cancel().await;
    }

    /// Over a lost link nothing goes out; it is sent again over the next one.
    async fn send_cancel(&mut self) {
        let Some(Cancelled { force, .. }) = self.cancelled else { return };
        let cancel = CommandCancel {
            command_id: self.command.clone(),
            agent_id: None,
            reason: Some("cancelled by exec".to_owned()),
            force,
        };
        self.link.send(&DashboardToServer::CommandCancel(cancel)).await;
    }
}
