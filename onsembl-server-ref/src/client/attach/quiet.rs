//! `exec --wait`: what a terminal writes from one place on, as text, until its program is quiet or asks for somebody. When
//! that is, the core decides ([`Answer`]).

use super::super::command_link::{CommandLink, News, WatchFrom};
use super::super::ending::is_over;
use super::super::endpoint::Endpoint;
use super::super::{ClientToken, escape};
use super::{drawn_at, position};
use onsembl_protocol::id::{AgentId, CommandId, MessageId};
use onsembl_protocol::terminal::attach::{Answer, AnswerFrom, Settled, TerminalPosition, View};
use onsembl_protocol::wire::payload::{Feature, StreamContent, ViewMode};
use onsembl_transport::ProxyRule;
use onsembl_transport::clock::SystemClock;
use onsembl_transport::tls::TlsRoots;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// A terminal into which something is to be typed, and where it was before.
#[derive(Debug)]
pub struct Aftermath {
    endpoint: Endpoint,
    begins: AnswerFrom,
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
        let endpoint = Endpoint { server: server.to_owned(), token, roots, proxy };
        let page = format!("/api/agents/{}/screen?format=dump", escape(agent.as_str()));
        let dump = endpoint.screen(&page).await?;
        anyhow::ensure!(
            dump.command_id.is_terminal(),
            "this agent has no terminal; --wait is for text typed into one"
        );
        let from = drawn_at(&dump);
        Ok(Self { endpoint, begins: AnswerFrom { terminal: dump.command_id, from } })
    }

    /// The text was typed into this terminal, if that is known.
    #[must_use]
    pub fn typed_into(self, terminal: Option<CommandId>) -> Self {
        Self { begins: self.begins.typed_into(terminal), ..self }
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
        let prefix = format!("wait-{}", uuid::Uuid::now_v7());
        let features = vec![
            Feature::OutputBytes,
            Feature::OutputBinary,
            Feature::OutputSpool,
            Feature::OutputReplay,
        ];
        let AnswerFrom { terminal, from } = self.begins;
        let mut link = self.endpoint.link(&prefix, terminal, features).await?;
        let mut view = View::default();
        view.drawn(from);
        let mut asked = watch(&mut link, &view).await;
        let clock = SystemClock::new();
        let now = || clock.now().monotonic;
        let mut answer = Answer::new(quiet, timeout, now());
        let settled = loop {
            if let Some(settled) = answer.on_time(now()) {
                break settled;
            }
            let news = tokio::select! {
                biased;
                () = clock.sleep_until(answer.deadline()) => continue,
                news = link.next() => news?,
            };
            match news {
                News::Lost(_) => answer.link_lost(),
                News::Back => {
                    view.drawn(view.position());
                    asked = watch(&mut link, &view).await;
                    answer.link_back(now());
                }
                News::Output(output) => {
                    let (Some(incarnation), Some(offset)) = (output.incarnation, output.offset)
                    else {
                        continue;
                    };
                    let StreamContent::Bytes(content) = output.content else { continue };
                    let at = TerminalPosition { incarnation, offset };
                    let Some(new) = view.take(at, content.as_bytes()) else { continue };
                    let (shown, settled) = answer.on_output(new, now());
                    out.write_all(&shown).await?;
                    out.flush().await?;
                    if let Some(settled) = settled {
                        break settled;
                    }
                }
                News::Gap(gap) => {
                    let at = TerminalPosition { incarnation: gap.incarnation, offset: gap.offset };
                    view.on_gap(at, gap.length.unwrap_or(0));
                }
                News::Status(status) if is_over(&status.status) => break Settled::Ended,
                News::Refused(error) if asked.is_some() && error.original_message_id == asked => {
                    break Settled::Ended;
                }
                News::Status(_)
                | News::Refused(_)
                | News::Greeted(_)
                | News::Size(_)
                | News::Behind
                | News::Keyboard(_)
                | News::Acknowledged(_) => {}
            }
        };
        if answer.is_within_a_line() {
            out.write_all(b"\n").await?;
            out.flush().await?;
        }
        link.say_goodbye().await;
        Ok(settled)
    }
}

async fn watch(link: &mut CommandLink, view: &View) -> Option<MessageId> {
    link.watch(WatchFrom::Position(view.position().map(position)), ViewMode::Whole).await
}
