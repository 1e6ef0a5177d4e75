//! `exec --wait`: what a terminal writes from one place on, as text, until its program is quiet or asks for somebody.

use super::super::ClientToken;
use super::super::link::{Heard, ServerLink};
use super::view::{Place, View};
use super::{PATIENCE, ScreenDump, get_screen, place};
use onsembl_protocol::id::{AgentId, CommandId, MessageId};
use onsembl_protocol::model::Stream;
use onsembl_protocol::terminal::{Piece, SequenceKind, Sequences};
use onsembl_protocol::wire::payload::{
    CommandPhase, DashboardExtensions, DashboardInit, Feature, Pong, Replay, Selection,
    StreamContent, Subscription, SubscriptionKind, Subscriptions,
};
use onsembl_protocol::wire::{DashboardToServer, ServerToDashboard};
use onsembl_transport::ProxyRule;
use onsembl_transport::tls::TlsRoots;
use onsembl_transport::websocket::WebSocketDialer;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;

/// A terminal into which something is to be typed, and where it was before.
#[derive(Debug)]
pub struct Aftermath {
    server: String,
    token: ClientToken,
    roots: TlsRoots,
    proxy: ProxyRule,
    terminal: CommandId,
    from: Option<Place>,
}

/// Why it is not waited for any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The program wrote nothing for that long.
    Quiet,
    /// It rang, or sent a notification.
    Asks,
    /// The terminal ended.
    Ended,
    /// The time was over.
    TimedOut,
}

impl Aftermath {
    /// The terminal of this agent, as it is now.
    ///
    /// # Errors
    /// It has none, or the server cannot be asked.
    pub async fn of(
        server: &str,
        token: ClientToken,
        roots: TlsRoots,
        proxy: ProxyRule,
        agent: &AgentId,
    ) -> anyhow::Result<Self> {
        let page =
            format!("/api/agents/{}/screen?format=dump", super::super::escape(agent.as_str()));
        let dump: ScreenDump = get_screen(server, &token, &roots, &proxy, &page).await?;
        anyhow::ensure!(
            dump.command_id.is_terminal(),
            "this agent has no terminal; --wait is for what is typed into one"
        );
        let (server, from) = (server.to_owned(), place(&dump));
        Ok(Self { server, token, roots, proxy, terminal: dump.command_id, from })
    }

    /// Writes what the program writes to `out`, as text, until it wrote nothing for `quiet`, or asks for somebody.
    ///
    /// # Errors
    /// The server does not want this dashboard, or `out` cannot be written.
    pub async fn follow(
        self,
        mut out: impl AsyncWrite + Unpin,
        quiet: Duration,
        timeout: Duration,
    ) -> anyhow::Result<Settled> {
        let dialer = WebSocketDialer::new(&self.server, "/ws/dashboard", &self.roots)?
            .with_proxy(&self.proxy)?
            .with_token(self.token.clone());
        let prefix = format!("wait-{}", uuid::Uuid::now_v7());
        let mut link = ServerLink::open(dialer, &prefix).await?;
        let (mut view, mut text) = (View::default(), PlainText::default());
        view.drawn(self.from);
        let mut asked = self.watch(&mut link, &view).await;
        let give_up = Instant::now() + timeout.min(Duration::from_secs(365 * 24 * 3600));
        let mut quiet_at = Instant::now() + quiet.max(Duration::from_millis(1));
        let settled = loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(give_up) => break Settled::TimedOut,
                () = tokio::time::sleep_until(quiet_at) => break Settled::Quiet,
                heard = link.next() => match heard? {
                    // What it wrote meanwhile is not known.
                    Heard::Lost(_) => quiet_at = give_up + PATIENCE,
                    Heard::Back => {
                        view.drawn(view.place());
                        asked = self.watch(&mut link, &view).await;
                        quiet_at = Instant::now() + quiet;
                    }
                    Heard::Message(message) => match *message {
                        ServerToDashboard::TerminalStream(output) if output.command_id == self.terminal => {
                            let (Some(incarnation), Some(offset)) = (output.incarnation, output.offset) else { continue };
                            let StreamContent::Bytes(content) = output.content else { continue };
                            let Some(new) = view.take(Place { incarnation, offset }, content.as_bytes()) else { continue };
                            let (shown, attention) = text.read(new);
                            out.write_all(&shown).await?;
                            out.flush().await?;
                            if attention == Attention::Asked {
                                break Settled::Asks;
                            }
                            quiet_at = Instant::now() + quiet;
                        }
                        ServerToDashboard::OutputGap(gap) if gap.command_id == self.terminal => {
                            let at = Place { incarnation: gap.incarnation, offset: gap.offset };
                            view.on_gap(at, gap.length.unwrap_or(0));
                        }
                        ServerToDashboard::CommandStatus(status) if status.command_id == self.terminal => {
                            let has_ended = matches!(
                                status.status,
                                CommandPhase::Completed | CommandPhase::Failed | CommandPhase::Cancelled
                                    | CommandPhase::Lost | CommandPhase::OutcomeUnknown
                            );
                            if has_ended {
                                break Settled::Ended;
                            }
                        }
                        ServerToDashboard::Error(error) if asked.is_some() && error.original_message_id == asked => {
                            break Settled::Ended;
                        }
                        ServerToDashboard::Ping(ping) => {
                            let pong = Pong { timestamp: ping.timestamp, latency: None, sequence: ping.sequence };
                            link.send(&DashboardToServer::Pong(pong)).await;
                        }
                        ServerToDashboard::TerminalStream(_)
                        | ServerToDashboard::OutputGap(_)
                        | ServerToDashboard::TerminalSize(_)
                        | ServerToDashboard::KeyboardState(_)
                        | ServerToDashboard::CommandStatus(_)
                        | ServerToDashboard::Connected(_)
                        | ServerToDashboard::AgentConnected(_)
                        | ServerToDashboard::AgentStatus(_)
                        | ServerToDashboard::AgentDisconnect(_)
                        | ServerToDashboard::CommandComplete(_)
                        | ServerToDashboard::Trace(_)
                        | ServerToDashboard::QueueUpdate(_)
                        | ServerToDashboard::EmergencyStop(_)
                        | ServerToDashboard::Error(_)
                        | ServerToDashboard::Ack(_)
                        | ServerToDashboard::Pong(_)
                        | ServerToDashboard::TokenRefresh(_)
                        | ServerToDashboard::Unknown(_) => {}
                    },
                },
            }
        };
        if text.is_within_a_line() {
            out.write_all(b"\n").await?;
            out.flush().await?;
        }
        link.say_goodbye().await;
        Ok(settled)
    }

    async fn watch(&self, link: &mut ServerLink, view: &View) -> Option<MessageId> {
        let init = DashboardInit {
            user_id: None,
            subscriptions: Subscriptions {
                agents: Selection::None,
                commands: Selection::None,
                terminals: true,
                traces: false,
            },
            extensions: Some(DashboardExtensions {
                features: vec![Feature::OutputBytes, Feature::OutputSpool, Feature::OutputReplay],
                server_instance: None,
            }),
        };
        link.send(&DashboardToServer::Init(init)).await;
        let replay = view.place().map_or_else(Replay::default, |place| Replay {
            incarnation: Some(place.incarnation),
            stream_type: Some(Stream::Terminal.into()),
            offset: place.offset,
        });
        let watch = Subscription {
            kind: SubscriptionKind::Command,
            id: Some(self.terminal.as_str().to_owned()),
            all: false,
            replay: Some(replay),
        };
        link.send(&DashboardToServer::Subscribe(watch)).await
    }
}

/// Output without what only a terminal understands.
#[derive(Debug, Default)]
struct PlainText {
    sequences: Sequences,
    last: Option<u8>,
}

/// Whether the program asked for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attention {
    None,
    Asked,
}

impl PlainText {
    fn read(&mut self, bytes: &[u8]) -> (Vec<u8>, Attention) {
        let (mut text, mut attention) = (Vec::new(), Attention::None);
        self.sequences.read(bytes, |piece| match piece {
            Piece::Plain(plain) => {
                if plain.contains(&0x07) {
                    attention = Attention::Asked;
                }
                let is_text = |byte: &&u8| {
                    **byte >= 0x20 && **byte != 0x7f || matches!(**byte, b'\n' | b'\t')
                };
                text.extend(plain.iter().filter(is_text));
            }
            // Two kinds of notifications; a progress bar, which is 9;4, is none.
            Piece::Sequence { kind: SequenceKind::Command, body, .. } => {
                let is_notification = body.starts_with(b"777;notify")
                    || body.starts_with(b"9;") && !body.starts_with(b"9;4;");
                if is_notification {
                    attention = Attention::Asked;
                }
            }
            Piece::Sequence { .. } | Piece::Broken(_) | Piece::Long { .. } | Piece::Rest(_) => {}
        });
        self.last = text.last().copied().or(self.last);
        (text, attention)
    }

    fn is_within_a_line(&self) -> bool {
        self.last.is_some_and(|last| last != b'\n')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_is_left_and_a_bell_or_a_notification_asks() {
        let mut text = PlainText::default();
        let (shown, attention) = text.read(b"\x1b[31mre\x1b[0md\r\nn\xc3\xa4chste\x1b]0;t\x07");
        assert_eq!(
            (shown.as_slice(), attention),
            ("red\nn\u{e4}chste".as_bytes(), Attention::None)
        );
        assert!(text.is_within_a_line());
        assert_eq!(text.read(b"\x1b]9;4;1;50\x07\n").1, Attention::None);
        assert!(!text.is_within_a_line());
        for asks in [&b"\x07"[..], b"\x1b]9;look\x07", b"\x1b]777;notify;a;b\x1b\\"] {
            assert_eq!(text.read(asks).1, Attention::Asked, "{}", asks.escape_ascii());
        }
    }
}
