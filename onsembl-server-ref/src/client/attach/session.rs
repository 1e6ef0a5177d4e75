//! The life of one attachment: what is heard from the server and from the person, and what is done about it.

use super::super::link::{Heard, ServerLink};
use super::local::{self, Local, LocalTerminal};
use super::typist::{Typist, Wish};
use super::view::{Place, View};
use super::{AttachTyping, Attachment, Left, Sizing, place};
use crate::http::ScreenDump;
use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use onsembl_protocol::id::{AgentId, CommandId, MessageId};
use onsembl_protocol::model::{Stream, TerminalSize};
use onsembl_protocol::shown::Shown;
use onsembl_protocol::wire::payload::{
    AgentControl, CommandPhase, CommandStatus, ControlAction, DashboardExtensions, DashboardInit,
    Feature, Pong, Replay, Selection, StreamContent, Subscription, SubscriptionKind, Subscriptions,
    TerminalSized, TerminalStream,
};
use onsembl_protocol::wire::{DashboardToServer, ServerToDashboard};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A viewer that is further behind gets the screen instead of what it missed.
const BEHIND: usize = 256 * 1024;
/// Between two fresh screens.
const FRESH_EVERY: Duration = Duration::from_millis(100);
/// How long a screen that could not be had is waited for before it is asked for again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long the server is waited for when the keyboard is released.
const RELEASED_WITHIN: Duration = Duration::from_secs(1);
/// How long a notice stands on the screen.
const NOTICE: Duration = Duration::from_secs(4);
/// What ends a look besides the key that detaches.
const CTRL_C: u8 = 3;

/// Whether a screen is on its way.
enum Fetch {
    Idle,
    /// One is to be asked for then.
    Due(Instant),
    UnderWay(BoxFuture<'static, anyhow::Result<ScreenDump>>),
}

/// One look at a terminal.
pub(super) struct Session {
    attachment: Arc<Attachment>,
    terminal: CommandId,
    agent: Option<AgentId>,
    link: ServerLink,
    here: LocalTerminal,
    view: View,
    typist: Typist,
    fetch: Fetch,
    /// Of the terminal that is looked at.
    size: TerminalSize,
    /// Until when a notice is on the screen.
    notice_until: Option<Instant>,
    /// What asked for the output from here on.
    asked: Option<MessageId>,
}

impl Session {
    /// Attaches the terminal of this process, until it is left.
    pub(super) async fn attach(
        attachment: Attachment,
        link: ServerLink,
        terminal: CommandId,
        dump: &ScreenDump,
    ) -> anyhow::Result<Left> {
        let wish = match attachment.typing {
            AttachTyping::IfFree => Wish::Type,
            AttachTyping::Over => Wish::TakeOver,
            AttachTyping::Never => Wish::Look,
        };
        let here = LocalTerminal::open().context("the terminal cannot be used")?;
        let mut session = Self {
            typist: Typist::new(terminal.clone(), attachment.name.clone(), wish),
            attachment: Arc::new(attachment),
            terminal,
            agent: None,
            link,
            here,
            view: View::default(),
            fetch: Fetch::Due(Instant::now()),
            size: TerminalSize::DEFAULT,
            notice_until: None,
            asked: None,
        };
        session.greet().await;
        session.draw(dump, 0);
        session.watch().await;
        if let Some(here) = local::size().filter(|here| *here != session.size)
            && wish == Wish::Look
        {
            let size = session.size;
            session.notice(&format!("that terminal is {size}, and this one {here}"));
        }
        let left = session.follow().await;
        session.end().await;
        left
    }

    /// Says over a new link what this is about.
    async fn greet(&mut self) {
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
                    Feature::Typing,
                    Feature::TerminalSize,
                ],
                server_instance: None,
            }),
        };
        self.link.send(&DashboardToServer::Init(init)).await;
    }

    /// Asks for the output from where the screen is, and for all that comes behind it.
    async fn watch(&mut self) {
        let replay = self.view.place().map_or_else(Replay::default, |place| Replay {
            incarnation: Some(place.incarnation),
            stream_type: Some(Stream::Terminal.into()),
            offset: place.offset,
        });
        let watch = Subscription { replay: Some(replay), ..self.subscription() };
        self.asked = self.link.send(&DashboardToServer::Subscribe(watch)).await;
    }

    async fn unwatch(&mut self) {
        let watch = self.subscription();
        self.link.send(&DashboardToServer::Unsubscribe(watch)).await;
    }

    fn subscription(&self) -> Subscription {
        Subscription {
            kind: SubscriptionKind::Command,
            id: Some(self.terminal.as_str().to_owned()),
            all: false,
            replay: None,
        }
    }

    async fn follow(&mut self) -> anyhow::Result<Left> {
        let drained = self.here.drained();
        loop {
            self.say_typed().await;
            if let Some(text) = self.typist.take_notice() {
                self.notice(&text);
            }
            let due = match &self.fetch {
                // What is not shown yet would be thrown away; or it would be shown behind the screen.
                Fetch::Due(at) if self.here.behind() == 0 => Some(*at),
                Fetch::Due(_) | Fetch::Idle | Fetch::UnderWay(_) => None,
            };
            let timer =
                [due, self.typist.deadline(), self.notice_until].into_iter().flatten().min();
            tokio::select! {
                biased;
                local = self.here.next() => if let Some(left) = self.on_local(local).await? {
                    return Ok(left);
                },
                () = tokio::time::sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => {
                    self.on_time(Instant::now());
                }
                dump = fetched(&mut self.fetch) => self.on_screen(dump).await,
                heard = self.link.next() => if let Some(left) = self.on_heard(heard?).await {
                    return Ok(left);
                },
                () = drained.notified() => {}
            }
        }
    }

    fn on_time(&mut self, now: Instant) {
        self.typist.on_time(now);
        if self.notice_until.take_if(|until| *until <= now).is_some() {
            // A fresh screen takes the notice away.
            self.refresh(now);
        }
        if let Fetch::Due(at) = &self.fetch
            && *at <= now
            && self.here.behind() == 0
        {
            let (attachment, terminal) = (Arc::clone(&self.attachment), self.terminal.clone());
            self.fetch = Fetch::UnderWay(Box::pin(async move {
                let id = super::super::escape(terminal.as_str());
                attachment.screen(&format!("/api/commands/{id}/screen?format=dump")).await
            }));
        }
    }

    /// A fresh screen is to come.
    fn refresh(&mut self, at: Instant) {
        self.fetch = match std::mem::replace(&mut self.fetch, Fetch::Idle) {
            Fetch::Idle => Fetch::Due(at),
            Fetch::Due(before) => Fetch::Due(before.min(at)),
            under_way @ Fetch::UnderWay(_) => under_way,
        };
    }

    async fn on_local(&mut self, local: Local) -> anyhow::Result<Option<Left>> {
        match local {
            Local::Keys(keys) => {
                let detach = self.attachment.detach.find(&keys);
                let typed = detach.map_or_else(|| keys.clone(), |at| keys.slice(..at));
                let is_taken = typed.is_empty() || self.typist.typed(typed.clone());
                if detach.is_some() {
                    self.say_typed().await;
                    return Ok(Some(Left::Detached(self.terminal.clone())));
                }
                if !is_taken {
                    if typed.contains(&CTRL_C) && !self.typist.is_away() {
                        return Ok(Some(Left::Detached(self.terminal.clone())));
                    }
                    let key = self.attachment.detach;
                    self.notice(&format!("nothing is typed from here now; {key} leaves"));
                }
                Ok(None)
            }
            Local::Closed => anyhow::bail!("the terminal of this process was closed"),
            Local::Resized => {
                self.take_size().await;
                self.refresh(Instant::now());
                Ok(None)
            }
            Local::Continued => {
                self.refresh(Instant::now());
                Ok(None)
            }
            Local::Signal(signal) => Ok(Some(Left::Signal(signal))),
        }
    }

    /// The terminal gets the size of this one, while its keyboard is held from here.
    async fn take_size(&mut self) {
        let size = local::size().filter(|here| *here != self.size);
        if let (Some(size), true, Some(agent), Sizing::Follow) =
            (size, self.typist.holds(), self.agent.clone(), self.attachment.sizing)
        {
            let control = AgentControl {
                agent_id: Some(agent),
                action: ControlAction::Resize,
                reason: Some("attach".to_owned()),
                graceful_shutdown: None,
                timeout: None,
                size: Some(size),
            };
            self.link.send(&DashboardToServer::Control(control)).await;
        }
    }

    /// Sends what the typist has to say.
    async fn say_typed(&mut self) {
        while let Some(message) = self.typist.next_message() {
            let asks = matches!(message, DashboardToServer::KeyboardTake(_));
            let id = self.link.send(&message).await;
            if asks {
                self.typist.asked_as(id);
            }
        }
    }

    /// A screen came, or could not be had.
    async fn on_screen(&mut self, dump: anyhow::Result<ScreenDump>) {
        let dump = match dump {
            Ok(dump) => dump,
            Err(error) => {
                tracing::info!(%error, "no fresh screen");
                return self.refresh(Instant::now() + AGAIN_AFTER);
            }
        };
        let missed = self.view.missed(place(&dump));
        if self.view.resumes(missed, BEHIND as u64) {
            // It is so little that it is shown as it came.
            self.view.go_on();
            return self.watch().await;
        }
        self.draw(&dump, missed);
        self.watch().await;
    }

    /// Shows a screen instead of what is shown.
    fn draw(&mut self, dump: &ScreenDump, missed: u64) {
        let was_behind = self.view.was_behind();
        let drawn = STANDARD.decode(&dump.dump).unwrap_or_default();
        self.here.draw(&drawn);
        self.size = TerminalSize::new(dump.columns, dump.rows).unwrap_or(self.size);
        self.view.drawn(place(dump));
        self.fetch = Fetch::Idle;
        if was_behind && missed > 0 {
            let id = &self.terminal;
            self.notice(&format!(
                "{missed} bytes were skipped here; all of them are stored: onsembl-server output {id}"
            ));
        }
    }

    async fn on_heard(&mut self, heard: Heard) -> Option<Left> {
        match heard {
            Heard::Message(message) => self.on_message(*message).await,
            Heard::Lost(why) => {
                self.typist.link_lost();
                self.view.link_lost();
                self.fetch = Fetch::Idle;
                self.notice(&format!("no link to the server any more ({why}); trying again"));
                self.notice_until = None;
                None
            }
            Heard::Back => {
                self.greet().await;
                self.notice("the link to the server is back");
                self.refresh(Instant::now());
                None
            }
        }
    }

    async fn on_message(&mut self, message: ServerToDashboard) -> Option<Left> {
        match message {
            ServerToDashboard::Connected(connected) => {
                let features = connected.extensions.map(|extensions| extensions.features);
                self.typist.connected(features.is_some_and(|all| all.contains(&Feature::Typing)));
            }
            ServerToDashboard::TerminalStream(output) if output.command_id == self.terminal => {
                self.agent = output.agent_id.clone().or(self.agent.take());
                self.on_output(output).await;
            }
            ServerToDashboard::OutputGap(gap) if gap.command_id == self.terminal => {
                self.view.on_gap(
                    Place { incarnation: gap.incarnation, offset: gap.offset },
                    gap.length.unwrap_or(0),
                );
            }
            ServerToDashboard::TerminalSize(sized) if sized.command_id == self.terminal => {
                self.on_size(&sized);
            }
            ServerToDashboard::CommandStatus(status) if status.command_id == self.terminal => {
                return self.on_status(&status);
            }
            ServerToDashboard::KeyboardState(said) => {
                self.agent = said.agent_id.clone().or(self.agent.take());
                let held = self.typist.holds();
                self.typist.on_state(said);
                if self.typist.holds() && !held {
                    self.take_size().await;
                }
            }
            ServerToDashboard::Error(error) => {
                if self.asked.is_some() && error.original_message_id == self.asked {
                    return Some(Left::Ended(self.terminal.clone(), error.message));
                }
                if !self.typist.on_error(&error, Instant::now()) {
                    self.notice(&error.message);
                }
            }
            ServerToDashboard::Ack(ack) => {
                if self.asked.is_some() && ack.message_id == self.asked {
                    self.view.joined();
                }
            }
            ServerToDashboard::Ping(ping) => {
                let pong =
                    Pong { timestamp: ping.timestamp, latency: None, sequence: ping.sequence };
                self.link.send(&DashboardToServer::Pong(pong)).await;
            }
            ServerToDashboard::TerminalStream(_)
            | ServerToDashboard::OutputGap(_)
            | ServerToDashboard::TerminalSize(_)
            | ServerToDashboard::CommandStatus(_)
            | ServerToDashboard::AgentConnected(_)
            | ServerToDashboard::AgentStatus(_)
            | ServerToDashboard::AgentDisconnect(_)
            | ServerToDashboard::CommandComplete(_)
            | ServerToDashboard::Trace(_)
            | ServerToDashboard::QueueUpdate(_)
            | ServerToDashboard::EmergencyStop(_)
            | ServerToDashboard::Pong(_)
            | ServerToDashboard::TokenRefresh(_)
            | ServerToDashboard::Unknown(_) => {}
        }
        None
    }

    async fn on_output(&mut self, output: TerminalStream) {
        let (Some(incarnation), Some(offset)) = (output.incarnation, output.offset) else { return };
        let StreamContent::Bytes(content) = output.content else { return };
        let place = Place { incarnation, offset };
        let Some(new) = self.view.take(place, content.as_bytes()) else {
            // Something is missing before it, or another program runs.
            if self.view.is_lost() {
                self.refresh(Instant::now());
            }
            return;
        };
        self.here.show_output(new);
        if self.here.behind() > BEHIND {
            self.view.fell_behind();
            self.refresh(Instant::now() + FRESH_EVERY);
            self.unwatch().await;
        }
    }

    fn on_size(&mut self, sized: &TerminalSized) {
        let at = Place { incarnation: sized.incarnation, offset: sized.offset };
        if sized.size != self.size && self.view.is_news(at) {
            self.size = sized.size;
            self.refresh(Instant::now() + FRESH_EVERY);
        }
    }

    fn on_status(&mut self, status: &CommandStatus) -> Option<Left> {
        match &status.status {
            CommandPhase::Pending
            | CommandPhase::Queued
            | CommandPhase::Delivered
            | CommandPhase::Running
            | CommandPhase::Cancelling
            | CommandPhase::Unknown(_) => None,
            CommandPhase::Completed
            | CommandPhase::Failed
            | CommandPhase::Cancelled
            | CommandPhase::Lost
            | CommandPhase::OutcomeUnknown => {
                let because = status.because.clone().unwrap_or_default();
                Some(Left::Ended(self.terminal.clone(), because))
            }
        }
    }

    /// Shows a notice on the last row, which a fresh screen takes away.
    fn notice(&mut self, text: &str) {
        let Some(size) = local::size() else { return };
        let columns = usize::from(size.columns());
        let text = Shown::new(text).within(columns.saturating_mul(4)).to_string();
        let cut: String = text.chars().take(columns.saturating_sub(13)).collect();
        let rows = size.rows();
        let line = format!("\x1b7\x1b[{rows};1H\x1b[0;7m[onsembl: {cut}]\x1b[0m\x1b[K\x1b8");
        self.here.show(line.into_bytes());
        self.notice_until = Some(Instant::now() + NOTICE);
    }

    /// Leaves everything as it was.
    async fn end(mut self) {
        self.typist.release();
        let mut released = None;
        while let Some(message) = self.typist.next_message() {
            released = self.link.send(&message).await;
        }
        // Before the goodbye, which may take a second.
        drop(self.here);
        if released.is_some() {
            // Else the link could end first, and with it the hold.
            let answered = async {
                while let Ok(Heard::Message(message)) = self.link.next().await {
                    let about = if let ServerToDashboard::Ack(ack) = &*message {
                        &ack.message_id
                    } else if let ServerToDashboard::Error(error) = &*message {
                        &error.original_message_id
                    } else {
                        continue;
                    };
                    if *about == released {
                        break;
                    }
                }
            };
            if tokio::time::timeout(RELEASED_WITHIN, answered).await.is_err() {
                tracing::info!("the server did not say that the keyboard is released");
            }
        }
        self.link.say_goodbye().await;
    }
}

/// The screen that is on its way; never, if none is.
async fn fetched(fetch: &mut Fetch) -> anyhow::Result<ScreenDump> {
    match fetch {
        Fetch::UnderWay(screen) => {
            let dump = screen.await;
            *fetch = Fetch::Idle;
            dump
        }
        Fetch::Idle | Fetch::Due(_) => std::future::pending().await,
    }
}
