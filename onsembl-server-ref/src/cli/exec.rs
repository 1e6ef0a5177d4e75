//! `onsembl-server exec`: runs a command on an agent as if it ran here.
//!
//! It is a dashboard that watches one command. What the command writes comes out byte for byte, and
//! nothing else does.

use super::complain;
use super::remote::Remote;
use clap::Args;
use onsembl_protocol::command::Exit;
use onsembl_protocol::id::{AgentId, CommandId, LinkId, MessageId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::liveness::{HeartbeatMonitor, HeartbeatTiming, Liveness};
use onsembl_protocol::output::Stream;
use onsembl_protocol::wire::payload::{
    CommandCancel, CommandPhase, CommandRequest, CommandStatus, DashboardExtensions, DashboardInit,
    Feature, Pong, Selection, StreamContent, Subscription, SubscriptionKind, Subscriptions,
};
use onsembl_protocol::wire::{self, DashboardToServer, ServerToDashboard};
use onsembl_transport::clock::SystemClock;
use onsembl_transport::messages::Envelopes;
use onsembl_transport::pump::{self, LinkEvent, LinkHandle, LinkInput, PumpConfig};
use onsembl_transport::secret::Secret;
use onsembl_transport::websocket::WebSocketDialer;
use onsembl_transport::{Dialer as _, Received};
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// `exec` itself failed.
const FAILED: u8 = 125;
/// `--timeout` ended the command.
const TIMED_OUT: u8 = 124;
/// How long to wait for the confirmation of a cancel.
const CANCEL_PATIENCE: Duration = Duration::from_secs(12);
/// The agent enforces the time limit too, this much later, in case this process dies first.
const LIMIT_MARGIN: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct Exec {
    #[command(flatten)]
    remote: Remote,
    /// Longest run time; then the command is cancelled and the exit code is 124.
    #[arg(long, env = "ONSEMBL_TIMEOUT", default_value = "5m", value_parser = humantime::parse_duration, value_name = "TIME")]
    timeout: Duration,
    /// The agent, by its name or its id.
    #[arg(env = "ONSEMBL_AGENT")]
    agent: String,
    /// The command; its words are joined by one space and run by `/bin/sh -c` on the agent.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Exec {
    pub(super) async fn run(self) -> ExitCode {
        match self.execute().await {
            Ok(code) => ExitCode::from(code),
            Err(error) => complain(FAILED, &format!("{error:#}")),
        }
    }

    async fn execute(self) -> anyhow::Result<u8> {
        let dialer =
            WebSocketDialer::new(&self.remote.server, "/ws/dashboard", &self.remote.roots())?
                .with_token(Secret::new(&self.remote.token));
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
            command,
            requested: None,
            cancelled: None,
        };
        run.ask(&self).await?;
        let code = run.follow(Instant::now() + self.timeout).await;
        run.say_goodbye().await;
        code
    }
}

/// Why it was cancelled from here, and until when the confirmation is awaited.
#[derive(Clone, Copy)]
struct Cancelled {
    code: u8,
    give_up: Instant,
}

struct Run {
    clock: SystemClock,
    monitor: HeartbeatMonitor,
    envelopes: Envelopes,
    handle: LinkHandle,
    inbox: mpsc::Receiver<LinkEvent>,
    command: CommandId,
    requested: Option<MessageId>,
    cancelled: Option<Cancelled>,
}

impl Run {
    async fn ask(&mut self, exec: &Exec) -> anyhow::Result<()> {
        let init = DashboardInit {
            user_id: None,
            subscriptions: Subscriptions {
                agents: Selection::None,
                commands: Selection::None,
                terminals: true,
                traces: false,
            },
            extensions: Some(DashboardExtensions {
                features: vec![Feature::OutputBytes],
                server_instance: None,
            }),
        };
        let watch = Subscription {
            kind: SubscriptionKind::Command,
            id: Some(self.command.to_string()),
            all: false,
        };
        let agent = AgentId::new(&exec.agent);
        let mut request = CommandRequest::new(self.command.clone(), agent, exec.command.join(" "));
        let limit = exec.timeout.saturating_add(LIMIT_MARGIN);
        request.constraints.time_limit_ms = Some(limit.as_millis().try_into().unwrap_or(u64::MAX));
        self.send(&DashboardToServer::Init(init)).await?;
        self.send(&DashboardToServer::Subscribe(watch)).await?;
        self.requested = Some(self.send(&DashboardToServer::CommandRequest(request)).await?);
        Ok(())
    }

    async fn follow(&mut self, timeout: Instant) -> anyhow::Result<u8> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        loop {
            let deadline = self.cancelled.map_or(timeout, |c| c.give_up);
            tokio::select! {
                biased;
                event = self.inbox.recv() => {
                    let Some(event) = event else { anyhow::bail!("the link is gone") };
                    if let Some(code) = self.on_event(event).await? {
                        return Ok(self.cancelled.map_or(code, |c| c.code));
                    }
                }
                _ = interrupt.recv() => self.cancel(130).await?,
                _ = terminate.recv() => self.cancel(143).await?,
                () = tokio::time::sleep_until(deadline) => match self.cancelled {
                    None => self.cancel(TIMED_OUT).await?,
                    Some(Cancelled { code: TIMED_OUT, .. }) => {
                        let _ = complain(TIMED_OUT, "the time is over, and the cancel was not confirmed; the command may go on");
                        return Ok(TIMED_OUT);
                    }
                    Some(_) => anyhow::bail!("the cancel was not confirmed; the command may go on"),
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

    async fn on_event(&mut self, event: LinkEvent) -> anyhow::Result<Option<u8>> {
        let _alive = self.monitor.on_received(self.clock.now().monotonic);
        match event.what {
            LinkInput::Ended(end) => {
                anyhow::bail!("the server is gone ({end}); command {} may go on", self.command)
            }
            LinkInput::Received(Received::Control | Received::Binary { .. }) => Ok(None),
            LinkInput::Received(Received::Text(text)) => {
                let envelope = wire::decode::<ServerToDashboard>(&text, &Limits::DEFAULT)
                    .map_err(|e| anyhow::anyhow!("the server sent what cannot be read: {e}"))?;
                self.on_message(envelope.message).await
            }
        }
    }

    async fn on_message(&mut self, message: ServerToDashboard) -> anyhow::Result<Option<u8>> {
        match message {
            ServerToDashboard::TerminalStream(output) if output.command_id == self.command => {
                let stream = output.stream.stream();
                match &output.content {
                    StreamContent::Bytes(content) => write(stream, content.as_bytes()).await,
                    StreamContent::Lines(lines) => {
                        write(stream, format!("{}\n", lines.join("\n")).as_bytes()).await
                    }
                }
                .map_err(|e| anyhow::anyhow!("cannot write {stream}: {e}"))?;
                Ok(None)
            }
            ServerToDashboard::CommandStatus(status) if status.command_id == self.command => {
                finished(&status)
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

    async fn cancel(&mut self, code: u8) -> anyhow::Result<()> {
        let force = self.cancelled.is_some();
        self.cancelled = Some(Cancelled { code, give_up: Instant::now() + CANCEL_PATIENCE });
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

/// The exit code, once the command is over.
fn finished(status: &CommandStatus) -> anyhow::Result<Option<u8>> {
    let because = || status.because.clone().unwrap_or_default();
    let exit = status.signal.map(Exit::Signal).or(status.exit_code.map(Exit::Code));
    match &status.status {
        CommandPhase::Pending | CommandPhase::Queued | CommandPhase::Running => Ok(None),
        CommandPhase::Unknown(word) => {
            tracing::warn!(word, "a status that this version does not know");
            Ok(None)
        }
        CommandPhase::OutcomeUnknown => anyhow::bail!("{}", because()),
        CommandPhase::Completed | CommandPhase::Failed | CommandPhase::Cancelled => match exit {
            // What does not fit into an exit code of this system is cut to it, as a shell does.
            Some(exit) => Ok(Some((exit.shell_code() & 0xff) as u8)),
            None if status.status == CommandPhase::Completed => Ok(Some(0)),
            None => anyhow::bail!("{}", because()),
        },
    }
}

async fn write(stream: Stream, bytes: &[u8]) -> std::io::Result<()> {
    match stream {
        Stream::Stdout => {
            let mut out = tokio::io::stdout();
            out.write_all(bytes).await?;
            out.flush().await
        }
        Stream::Stderr => {
            let mut out = tokio::io::stderr();
            out.write_all(bytes).await?;
            out.flush().await
        }
    }
}
