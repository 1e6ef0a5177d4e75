//! Performs one attachment: hands what the server and the person say to the machine that decides, and does what
//! that wants.

use super::super::command_link::{CommandLink, News, WatchFrom};
use super::super::endpoint::Endpoint;
use super::super::escape;
use super::local::{self, Local, LocalTerminal};
use super::messages::{self, Asked};
use super::{AttachTyping, Attachment, Left, drawn_at, position};
use crate::http::ScreenDump;
use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use onsembl_protocol::id::{AgentId, CommandId, MessageId};
use onsembl_protocol::model::TerminalSize;
use onsembl_protocol::shown::Shown;
use onsembl_protocol::terminal::TakeForce;
use onsembl_protocol::terminal::attach::{
    Attach, AttachAction, AttachConfig, AttachEvent, Departure, Drawing, TerminalPosition,
    TypistSays, Wish,
};
use onsembl_protocol::time::Timestamp;
use onsembl_protocol::wire::DashboardToServer;
use onsembl_protocol::wire::payload::{
    AgentControl, ControlAction, KeyboardRelease, KeyboardTake, OutputTaken, TakeMode,
    TerminalInput, TypedBytes, ViewMode,
};
use onsembl_transport::clock::SystemClock;
use std::time::Duration;

/// How long the server is waited for when the keyboard is released.
const RELEASED_WITHIN: Duration = Duration::from_secs(1);

/// One look at a terminal.
pub(super) struct Session {
    machine: Attach,
    clock: SystemClock,
    endpoint: Endpoint,
    terminal: CommandId,
    agent: Option<AgentId>,
    /// Who types, for the others.
    name: String,
    link: CommandLink,
    here: LocalTerminal,
    /// The screen that is on its way.
    fetch: Option<BoxFuture<'static, anyhow::Result<ScreenDump>>>,
    asked: Asked,
    /// What gave the keyboard up.
    released: Option<MessageId>,
}

impl Session {
    /// Takes the terminal of this process for one look, which begins with this screen.
    ///
    /// # Errors
    /// The terminal cannot be used.
    pub(super) fn open(
        attachment: &Attachment,
        endpoint: Endpoint,
        link: CommandLink,
        terminal: CommandId,
        dump: &ScreenDump,
    ) -> anyhow::Result<Self> {
        let config = AttachConfig {
            wish: match attachment.typing {
                AttachTyping::IfFree => Wish::Type,
                AttachTyping::Over => Wish::TakeOver,
                AttachTyping::Never => Wish::Look,
            },
            detach: attachment.detach,
            sizing: attachment.sizing,
            here: local::size(),
        };
        let here = LocalTerminal::open().context("the terminal cannot be used")?;
        let clock = SystemClock::new();
        Ok(Self {
            machine: Attach::new(config, drawing(dump), clock.now().monotonic),
            clock,
            endpoint,
            terminal,
            agent: None,
            name: attachment.name.clone(),
            link,
            here,
            fetch: None,
            asked: Asked::default(),
            released: None,
        })
    }

    /// Looks, until it is left. The terminal of this process is afterwards as it was.
    ///
    /// # Errors
    /// The server does not want this dashboard any more, or the terminal of this process is closed.
    pub(super) async fn follow(mut self) -> anyhow::Result<Left> {
        let drained = self.here.drained();
        let departure = loop {
            if let Some(departure) = self.perform().await {
                break Ok(departure);
            }
            let event = tokio::select! {
                biased;
                local = self.here.next() => local_event(local),
                () = self.clock.sleep_until(self.machine.deadline()) => AttachEvent::Wake,
                dump = fetched(&mut self.fetch) => fetched_event(dump),
                news = self.link.next() => match news {
                    Ok(news) => {
                        self.note_agent(&news);
                        match messages::event(news, &self.terminal, &self.asked) {
                            Some(event) => event,
                            None => continue,
                        }
                    }
                    Err(error) => break Err(error),
                },
                () = drained.notified() => AttachEvent::Wake,
            };
            let now = self.now();
            self.machine.handle(event, self.here.behind(), now);
        };
        let terminal = self.terminal.clone();
        self.end().await;
        match departure? {
            Departure::Detached => Ok(Left::Detached(terminal)),
            Departure::Ended(why) => Ok(Left::Ended(terminal, why)),
            Departure::Signal(signal) => Ok(Left::Signal(signal)),
            Departure::Closed => anyhow::bail!("the terminal of this process was closed"),
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now().monotonic
    }

    /// Does all that is to be done now, until it is over.
    async fn perform(&mut self) -> Option<Departure> {
        while let Some(action) = self.machine.poll_action() {
            match action {
                AttachAction::Watch(from) => {
                    let from = WatchFrom::Position(from.map(position));
                    self.asked.watch = self.link.watch(from, ViewMode::Live).await;
                }
                AttachAction::Unwatch => self.link.unwatch().await,
                AttachAction::Taken(at) => self.say_taken(at).await,
                AttachAction::Type(says) => self.say_typed(says).await,
                AttachAction::Resize(size) => self.resize(size).await,
                AttachAction::Fetch => {
                    let (endpoint, id) = (self.endpoint.clone(), escape(self.terminal.as_str()));
                    self.fetch = Some(Box::pin(async move {
                        endpoint.screen(&format!("/api/commands/{id}/screen?format=dump")).await
                    }));
                }
                AttachAction::DropFetch => self.fetch = None,
                AttachAction::Draw(drawn) => self.here.draw(&drawn),
                AttachAction::Show(output) => self.here.show_output(&output),
                AttachAction::Notice(text) => self.notice(&text),
                AttachAction::Leave(departure) => return Some(departure),
            }
        }
        None
    }

    async fn say_taken(&mut self, at: TerminalPosition) {
        let TerminalPosition { incarnation, offset } = at;
        let taken = OutputTaken { command_id: self.terminal.clone(), incarnation, offset };
        let _unless_lost = self.link.send(&DashboardToServer::OutputTaken(taken)).await;
    }

    async fn say_typed(&mut self, says: TypistSays) {
        let command_id = self.terminal.clone();
        match says {
            TypistSays::Take(force) => {
                let mode = Some(match force {
                    TakeForce::IfFree => TakeMode::IfFree,
                    TakeForce::Over => TakeMode::Over,
                });
                let take = KeyboardTake { command_id, name: self.name.clone(), mode };
                self.asked.keyboard = self.link.send(&DashboardToServer::KeyboardTake(take)).await;
            }
            TypistSays::Input { hold, sequence, bytes } => {
                let bytes = TypedBytes(bytes);
                let input = TerminalInput { command_id, holder: hold, sequence, bytes };
                let _unless_lost = self.link.send(&DashboardToServer::TerminalInput(input)).await;
            }
            TypistSays::Release(holder) => {
                let release = KeyboardRelease { command_id, holder };
                self.released = self.link.send(&DashboardToServer::KeyboardRelease(release)).await;
            }
        }
    }

    async fn resize(&mut self, size: TerminalSize) {
        // Every server says whose terminal it is with the first output, or with who types.
        let Some(agent) = self.agent.clone() else { return };
        let control = AgentControl {
            agent_id: Some(agent),
            action: ControlAction::Resize,
            reason: Some("attach".to_owned()),
            graceful_shutdown: None,
            timeout: None,
            size: Some(size),
        };
        let _unless_lost = self.link.send(&DashboardToServer::Control(control)).await;
    }

    fn note_agent(&mut self, news: &News) {
        let said = match news {
            News::Output(output) => output.agent_id.clone(),
            News::Keyboard(said) => said.agent_id.clone(),
            News::Greeted(_)
            | News::Gap(_)
            | News::Size(_)
            | News::Behind
            | News::Status(_)
            | News::Acknowledged(_)
            | News::Refused(_)
            | News::Lost(_)
            | News::Back => None,
        };
        self.agent = said.or(self.agent.take());
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
    }

    /// Leaves everything as it was.
    async fn end(mut self) {
        // Before the goodbye, which may take a second.
        drop(self.here);
        if let Some(released) = self.released.take() {
            // Else the link could end first, and with it the hold.
            let answered = async {
                while let Ok(news) = self.link.next().await {
                    let about = match news {
                        News::Acknowledged(about) => about,
                        News::Refused(error) => error.original_message_id,
                        News::Lost(_) => break,
                        News::Greeted(_)
                        | News::Output(_)
                        | News::Gap(_)
                        | News::Size(_)
                        | News::Behind
                        | News::Keyboard(_)
                        | News::Status(_)
                        | News::Back => continue,
                    };
                    if about.as_ref() == Some(&released) {
                        break;
                    }
                }
            };
            if tokio::time::timeout(RELEASED_WITHIN, answered).await.is_err() {
                tracing::info!("the server did not confirm the release of the keyboard");
            }
        }
        self.link.say_goodbye().await;
    }
}

fn local_event(local: Local) -> AttachEvent {
    match local {
        Local::Keys(keys) => AttachEvent::Keys(keys),
        Local::Closed => AttachEvent::Closed,
        Local::Resized => AttachEvent::Resized(local::size()),
        Local::Continued => AttachEvent::Continued,
        Local::Signal(signal) => AttachEvent::Signal(signal),
    }
}

fn fetched_event(dump: anyhow::Result<ScreenDump>) -> AttachEvent {
    match dump {
        Ok(dump) => AttachEvent::Fetched(drawing(&dump)),
        Err(error) => {
            tracing::info!(%error, "no fresh screen");
            AttachEvent::NotFetched
        }
    }
}

fn drawing(dump: &ScreenDump) -> Drawing {
    Drawing {
        at: drawn_at(dump),
        size: TerminalSize::new(dump.columns, dump.rows).unwrap_or(TerminalSize::DEFAULT),
        bytes: STANDARD.decode(&dump.dump).unwrap_or_default().into(),
    }
}

/// The screen that is on its way; never, if none is.
async fn fetched(
    fetch: &mut Option<BoxFuture<'static, anyhow::Result<ScreenDump>>>,
) -> anyhow::Result<ScreenDump> {
    match fetch {
        Some(screen) => {
            let dump = screen.await;
            *fetch = None;
            dump
        }
        None => std::future::pending().await,
    }
}
