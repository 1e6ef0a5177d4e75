//! Runs one command on an agent and follows it to its end, as a dashboard that watches nothing else.

use onsembl_protocol::command::Exit;
use onsembl_protocol::id::{AgentId, CommandId, LinkId, MessageId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::liveness::{HeartbeatMonitor, HeartbeatTiming, Liveness};
use onsembl_protocol::output::{Stream, gap_notice};
use onsembl_protocol::wire::payload::{
    CommandCancel, CommandInput, CommandPhase, CommandRequest, CommandStatus, DashboardExtensions,
    DashboardInit, Feature, OfflinePolicy, Pong, Priority, Selection, StreamContent, Subscription,
    SubscriptionKind, Subscriptions,
};
use onsembl_protocol::wire::{self, DashboardToServer, ServerToDashboard};
use onsembl_transport::clock::SystemClock;
use onsembl_transport::messages::Envelopes;
use onsembl_transport::pump::{self, LinkEvent, LinkHandle, LinkInput, PumpConfig};
use onsembl_transport::secret::Secret;
use onsembl_transport::tls::TlsRoots;
use onsembl_transport::websocket::WebSocketDialer;
use onsembl_transport::{Dialer as _, Received};
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How to wait for the confirmation of a cancel.
const CANCEL_PATIENCE: Duration = Duration::from_secs(12);
/// The agent enforces the time limit too, this much later, in case this process dies first.
const LIMIT_MARGIN: Duration = Duration::from_secs(10);

/// A command that is to be run.
#[derive(Clone, Debug)]
pub struct RemoteCommand {
    /// The server: http, https, ws or wss.
    pub server: String,
    /// A dashboard token.
    pub token: Secret,
    /// Which certificates to trust.
    pub roots: TlsRoots,
    /// The agent, by its name or its id.
    pub agent: String,
    /// What `/bin/sh -c` is to run there.
    pub text: String,
    /// Longest run time; then it is cancelled.
    pub timeout: Duration,
    /// What if the agent is away.
    pub offline: OfflinePolicy,
    /// How urgent it is among those that wait.
    pub priority: Priority,
    /// What the text is.
    pub input: CommandInput,
}

/// What ends a process that writes into a pipe without a reader.
const SIGPIPE: i32 = 13;

/// How following a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// The command ended.
    Exited(Exit),
    /// It ended because it was cancelled from here, or its end was awaited in vain after that.
    Cancelled {
        /// Why.
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
    /// This process was asked to end, by this signal; or nobody takes the output, which is `SIGPIPE`.
    Signal(i32),
}

impl RemoteCommand {
    /// Runs it. What it writes goes to `stdout` and `stderr`, byte for byte. When `interrupted`
    /// gives a signal, the command is cancelled.
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
            .with_token(self.token.clone());
        let link = dialer.dial().await?;
        let (entry, inbox) = mpsc::channel(64);
        let command = CommandId::new(format!("cmd-{}", uuid::Uuid::now_v7()));
        let clock = SystemClock::new();
        let mut run = Run {
            envelopes: Envelopes::new(command.as_str()),
            monitor: HeartbeatMonitor::new(HeartbeatTiming::DEFAULT, clock.now().monotonic),
            clock,
            handle: pump::spawn(link, LinkId(1), PumpConfig::DEFAULT, entry),
            inbox,
            stdout,
            stderr,
            command,
            requested: None,
            cancelled: None,
        };
        run.ask(&self).await?;
        let followed = run.follow(Instant::now() + self.timeout, interrupted).await;
        run.say_goodbye().await;
        followed
    }
}

/// Why it was cancelled from here, and until when the confirmation is awaited.
#[derive(Clone, Copy)]
struct Cancelled {
    by: Canceller,
    give_up: Instant,
}

struct Run<O, E> {
    stdout: O,
    stderr: E,
    clock: SystemClock,
    monitor: HeartbeatMonitor,
    envelopes: Envelopes,
    handle: LinkHandle,
    inbox: mpsc::Receiver<LinkEvent>,
    command: CommandId,
    requested: Option<MessageId>,
    cancelled: Option<Cancelled>,
}

impl<O: AsyncWrite + Unpin, E: AsyncWrite + Unpin> Run<O, E> {
    async fn ask(&mut self, exec: &RemoteCommand) -> anyhow::Result<()> {
        let init = DashboardInit {
            user_id: None,
            subscriptions: Subscriptions {
                agents: Selection::None,
                commands: Selection::None,
                terminals: true,
                traces: false,
            },
            extensions: Some(DashboardExtensions {
                features: vec![Feature::OutputBytes, Feature::OutputSpool],
                server_instance: None,
            }),
        };
        let watch = Subscription {
            kind: SubscriptionKind::Command,
            id: Some(self.command.to_string()),
            all: false,
            replay: None,
        };
        let agent = AgentId::new(&exec.agent);
        let mut request = CommandRequest::new(self.command.clone(), agent, exec.text.clone());
        request.offline = Some(exec.offline.clone());
        request.priority = exec.priority;
        request.input = Some(exec.input.clone()).filter(|input| *input != CommandInput::Text);
        let limit = exec.timeout.saturating_add(LIMIT_MARGIN);
        request.constraints.time_limit_ms = Some(limit.as_millis().try_into().unwrap_or(u64::MAX));
        self.send(&DashboardToServer::Init(init)).await?;
        self.send(&DashboardToServer::Subscribe(watch)).await?;
        self.requested = Some(self.send(&DashboardToServer::CommandRequest(request)).await?);
        Ok(())
    }

    async fn follow(
        &mut self,
        timeout: Instant,
        interrupted: impl Future<Output = i32>,
    ) -> anyhow::Result<Followed> {
        let mut interrupted = std::pin::pin!(interrupted);
        loop {
            let deadline = self.cancelled.map_or(timeout, |c| c.give_up);
            let by_signal =
                matches!(self.cancelled, Some(Cancelled { by: Canceller::Signal(_), .. }));
            tokio::select! {
                biased;
                event = self.inbox.recv() => {
                    let Some(event) = event else { anyhow::bail!("the link is gone") };
                    if let Some(exit) = self.on_event(event).await? {
                        return Ok(match self.cancelled {
                            None => Followed::Exited(exit),
                            Some(Cancelled { by, .. }) => Followed::Cancelled { by, confirmed: true },
                        });
                    }
                }
                signal = &mut interrupted, if !by_signal => {
                    self.cancel(Canceller::Signal(signal)).await?;
                }
                () = tokio::time::sleep_until(deadline) => match self.cancelled {
                    None => self.cancel(Canceller::Timeout).await?,
                    Some(Cancelled { by, .. }) => {
                        return Ok(Followed::Cancelled { by, confirmed: false });
                    }
                },
                () = self.clock.sleep_until(self.monitor.deadline()) => {
                    let seen = self.monitor.on_wake(self.clock.now().monotonic);
                    if seen.changed == Some(Liveness::TimedOut) {
                        anyhow::bail!("nothing was heard of the server for 90s; command {} may go on", self.command);
                    }
                }
            }
        }
    }

    async fn on_event(&mut self, event: LinkEvent) -> anyhow::Result<Option<Exit>> {
        let _alive = self.monitor.on_received(self.clock.now().monotonic);
        match event.what {
            LinkInput::Ended(end) => {
                anyhow::bail!("the server is gone ({end}); command {} may go on", self.command)
            }
            LinkInput::Received(Received::Control | Received::Binary(_)) => Ok(None),
            LinkInput::Received(Received::Text(text)) => {
                let envelope = wire::decode::<ServerToDashboard>(&text, &Limits::DEFAULT)
                    .map_err(|e| anyhow::anyhow!("the server sent what cannot be read: {e}"))?;
                self.on_message(envelope.message).await
            }
        }
    }

    async fn on_message(&mut self, message: ServerToDashboard) -> anyhow::Result<Option<Exit>> {
        match message {
            ServerToDashboard::TerminalStream(output) if output.command_id == self.command => {
                if self.has_lost_its_reader() {
                    return Ok(None);
                }
                let stream = output.stream.stream();
                let written = match &output.content {
                    StreamContent::Bytes(content) => self.write(stream, content.as_bytes()).await,
                    StreamContent::Lines(lines) => {
                        self.write(stream, format!("{}\n", lines.join("\n")).as_bytes()).await
                    }
                };
                if let Err(error) = written {
                    // It ends as a local command would, which writes into a closed pipe.
                    tracing::info!(%stream, %error, "nobody takes the output; ending the command");
                    self.cancel(Canceller::Signal(SIGPIPE)).await?;
                }
                Ok(None)
            }
            ServerToDashboard::OutputGap(gap) if gap.command_id == self.command => {
                let notice = format!("{}\n", gap_notice(gap.length, gap.because));
                self.write(Stream::Stderr, notice.as_bytes())
                    .await
                    .map_err(|e| anyhow::anyhow!("cannot write stderr: {e}"))?;
                Ok(None)
            }
            ServerToDashboard::CommandStatus(status) if status.command_id == self.command => {
                let ended = finished(&status, self.cancelled.is_some())?;
                if ended.is_some()
                    && status.status == CommandPhase::Cancelled
                    && self.cancelled.is_none()
                {
                    let because = status.because.as_deref().unwrap_or("nobody says why");
                    let notice = format!("onsembl-server: the command was cancelled: {because}\n");
                    let _nobody_reads = self.write(Stream::Stderr, notice.as_bytes()).await;
                }
                Ok(ended)
            }
            ServerToDashboard::Error(error) => {
                let ours = error.context.command_id.as_ref() == Some(&self.command)
                    || (error.original_message_id.is_some()
                        && error.original_message_id == self.requested);
                if ours {
                    anyhow::bail!("{}", error.message);
                }
                tracing::warn!(code = %error.code, text = %error.message, "the server complains");
                Ok(None)
            }
            ServerToDashboard::Ping(ping) => {
                let pong =
                    Pong { timestamp: ping.timestamp, latency: None, sequence: ping.sequence };
                self.send(&DashboardToServer::Pong(pong)).await?;
                Ok(None)
            }
            ServerToDashboard::TerminalStream(_)
            | ServerToDashboard::OutputGap(_)
            | ServerToDashboard::CommandStatus(_)
            | ServerToDashboard::Connected(_)
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

    fn has_lost_its_reader(&self) -> bool {
        let by = self.cancelled.map(|cancelled| cancelled.by);
        by == Some(Canceller::Signal(SIGPIPE))
    }

    async fn write(&mut self, stream: Stream, bytes: &[u8]) -> std::io::Result<()> {
        match stream {
            Stream::Stdout | Stream::Terminal => {
                self.stdout.write_all(bytes).await?;
                self.stdout.flush().await
            }
            Stream::Stderr => {
                self.stderr.write_all(bytes).await?;
                self.stderr.flush().await
            }
        }
    }

    async fn cancel(&mut self, by: Canceller) -> anyhow::Result<()> {
        let force = self.cancelled.is_some();
        self.cancelled = Some(Cancelled { by, give_up: Instant::now() + CANCEL_PATIENCE });
        let cancel = CommandCancel {
            command_id: self.command.clone(),
            agent_id: None,
            reason: Some("cancelled by exec".to_owned()),
            force,
        };
        self.send(&DashboardToServer::CommandCancel(cancel)).await?;
        Ok(())
    }

    async fn send(&mut self, message: &DashboardToServer) -> anyhow::Result<MessageId> {
        let (id, frame) = self.envelopes.frame(message, self.clock.now().wall);
        self.handle.data(frame).await?;
        Ok(id)
    }

    /// Lets the close frame get out before the process ends.
    async fn say_goodbye(&mut self) {
        self.handle.close(onsembl_protocol::close::CloseCause::GoingAway);
        let ended = async {
            while let Some(event) = self.inbox.recv().await {
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

/// How the command ended, once it is over.
fn finished(status: &CommandStatus, cancelled: bool) -> anyhow::Result<Option<Exit>> {
    let because = || status.because.clone().unwrap_or_default();
    let exit = status.signal.map(Exit::Signal).or(status.exit_code.map(Exit::Code));
    match &status.status {
        CommandPhase::Pending
        | CommandPhase::Queued
        | CommandPhase::Delivered
        | CommandPhase::Running
        | CommandPhase::Cancelling => Ok(None),
        CommandPhase::Unknown(word) => {
            tracing::warn!(word, "a status that this version does not know");
            Ok(None)
        }
        CommandPhase::Lost | CommandPhase::OutcomeUnknown => anyhow::bail!("{}", because()),
        CommandPhase::Completed | CommandPhase::Failed | CommandPhase::Cancelled => match exit {
            Some(exit) => Ok(Some(exit)),
            // Typed into a terminal; or never started, because it was cancelled from here.
            None if status.status == CommandPhase::Completed || cancelled => {
                Ok(Some(Exit::Code(0)))
            }
            None => anyhow::bail!("{}", because()),
        },
    }
}
