//! The link of a dashboard that watches one command and nothing else, dialled again when it is lost. It greets over each
//! new link and answers what only asks whether it lives; everything that is about the command is news for its user, who
//! says over each new link from where on to watch.

use super::link::{Heard, Server, ServerLink};
use onsembl_protocol::fleet::OutputPosition;
use onsembl_protocol::id::{CommandId, MessageId};
use onsembl_protocol::wire::payload::{
    CommandStatus, DashboardExtensions, DashboardInit, ErrorReply, Feature, KeyboardState,
    OutputGap, Pong, Replay, Selection, Subscription, SubscriptionKind, Subscriptions,
    TerminalSized, TerminalStream, ViewMode,
};
use onsembl_protocol::wire::{DashboardToServer, ServerToDashboard};
use std::collections::VecDeque;

/// Something about the command, or about the link.
#[derive(Debug)]
pub(super) enum News {
    /// The server greets, and knows these features.
    Greeted(Vec<Feature>),
    Output(Box<TerminalStream>),
    Gap(OutputGap),
    Size(TerminalSized),
    /// So much is missing that the present is to be shown; nothing more comes.
    Behind,
    Keyboard(Box<KeyboardState>),
    Status(Box<CommandStatus>),
    /// The message of this id was done.
    Acknowledged(Option<MessageId>),
    /// Something was refused; it may be about anything that was sent.
    Refused(Box<ErrorReply>),
    /// The link is lost, for this reason. Dialling again has begun.
    Lost(String),
    /// There is a new link, over which nothing is watched yet.
    Back,
}

/// From where on output is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatchFrom {
    /// What is written from now on.
    Now,
    /// What is stored from a position on, or from the start, and what comes behind it.
    Position(Option<OutputPosition>),
}

pub(super) struct CommandLink {
    link: ServerLink,
    command: CommandId,
    features: Vec<Feature>,
    /// What must go out before anything else.
    owed: VecDeque<DashboardToServer>,
    /// What is told when that went out.
    news: Option<News>,
}

impl CommandLink {
    /// Greets over this link, and over each that takes its place, as one that knows these features.
    pub(super) fn new(link: ServerLink, command: CommandId, features: Vec<Feature>) -> Self {
        let mut new = Self { link, command, features, owed: VecDeque::new(), news: None };
        new.greet();
        new
    }

    /// Waits for what comes next. A dropped call loses nothing.
    ///
    /// # Errors
    /// The server does not want this dashboard any more, or sends what cannot be read.
    pub(super) async fn next(&mut self) -> anyhow::Result<News> {
        loop {
            self.settle().await;
            if let Some(news) = self.news.take() {
                return Ok(news);
            }
            self.news = match self.link.next().await? {
                Heard::Message(message) => self.read(*message),
                Heard::Lost(why) => {
                    self.owed.clear();
                    Some(News::Lost(why))
                }
                Heard::Back => {
                    self.greet();
                    Some(News::Back)
                }
            };
        }
    }

    /// Sends a message, if there is a link. One that is being lost takes nothing, and that is the next thing heard.
    pub(super) async fn send(&mut self, message: &DashboardToServer) -> Option<MessageId> {
        self.settle().await;
        self.link.send(message).await
    }

    /// Watches the command from there on.
    pub(super) async fn watch(&mut self, from: WatchFrom, view: ViewMode) -> Option<MessageId> {
        let replay = match from {
            WatchFrom::Now => None,
            WatchFrom::Position(None) => Some(Replay::default()),
            WatchFrom::Position(Some(position)) => Some(Replay {
                incarnation: Some(position.incarnation),
                stream_type: Some(position.stream.into()),
                offset: position.offset,
            }),
        };
        let view = Some(view).filter(|view| *view != ViewMode::Whole);
        let watch = Subscription { replay, view, ..self.subscription() };
        self.send(&DashboardToServer::Subscribe(watch)).await
    }

    /// Watches it no longer.
    pub(super) async fn unwatch(&mut self) {
        let watch = self.subscription();
        let _unless_lost = self.send(&DashboardToServer::Unsubscribe(watch)).await;
    }

    /// Whether the server has said anything since the first dial.
    pub(super) const fn ever(&self) -> Server {
        self.link.ever()
    }

    /// Lets the close frame get out before the process ends.
    pub(super) async fn say_goodbye(self) {
        self.link.say_goodbye().await;
    }

    /// Sends what is owed. Kept until it is sent, because a call may be dropped.
    async fn settle(&mut self) {
        while let Some(message) = self.owed.front() {
            let _unless_lost = self.link.send(message).await;
            let _sent = self.owed.pop_front();
        }
    }

    fn greet(&mut self) {
        self.owed.clear();
        self.owed.push_back(DashboardToServer::Init(DashboardInit {
            user_id: None,
            subscriptions: Subscriptions {
                agents: Selection::None,
                commands: Selection::None,
                terminals: true,
                traces: false,
            },
            extensions: Some(DashboardExtensions {
                features: self.features.clone(),
                server_instance: None,
            }),
        }));
    }

    fn subscription(&self) -> Subscription {
        Subscription {
            kind: SubscriptionKind::Command,
            id: Some(self.command.as_str().to_owned()),
            all: false,
            replay: None,
            view: None,
        }
    }

    /// What of a message is news.
    fn read(&mut self, message: ServerToDashboard) -> Option<News> {
        match message {
            ServerToDashboard::Connected(connected) => {
                let features = connected.extensions.map(|extensions| extensions.features);
                Some(News::Greeted(features.unwrap_or_default()))
            }
            ServerToDashboard::TerminalStream(output) if output.command_id == self.command => {
                Some(News::Output(Box::new(output)))
            }
            ServerToDashboard::OutputGap(gap) if gap.command_id == self.command => {
                Some(News::Gap(gap))
            }
            ServerToDashboard::TerminalSize(sized) if sized.command_id == self.command => {
                Some(News::Size(sized))
            }
            ServerToDashboard::OutputBehind(said) if said.command_id == self.command => {
                Some(News::Behind)
            }
            ServerToDashboard::KeyboardState(said) if said.command_id == self.command => {
                Some(News::Keyboard(Box::new(said)))
            }
            ServerToDashboard::CommandStatus(status) if status.command_id == self.command => {
                Some(News::Status(Box::new(status)))
            }
            ServerToDashboard::Ack(ack) => Some(News::Acknowledged(ack.message_id)),
            ServerToDashboard::Error(error) => Some(News::Refused(Box::new(error))),
            ServerToDashboard::Ping(ping) => {
                self.owed.push_back(DashboardToServer::Pong(Pong {
                    timestamp: ping.timestamp,
                    latency: None,
                    sequence: ping.sequence,
                }));
                None
            }
            ServerToDashboard::TerminalStream(_)
            | ServerToDashboard::OutputGap(_)
            | ServerToDashboard::TerminalSize(_)
            | ServerToDashboard::OutputBehind(_)
            | ServerToDashboard::KeyboardState(_)
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
            | ServerToDashboard::Unknown(_) => None,
        }
    }
}
