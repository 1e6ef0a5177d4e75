//! The life of one command that was asked for here: what is heard of it, and what is done about it. A lost link is
//! dialled
//! again; the command is not asked for twice, and everything resumes where it was.

use super::command_link::{CommandLink, News, WatchFrom};
use super::ending::finished;
use super::endpoint::Endpoint;
use super::link::Server;
use super::notices::{Notices, Waiting};
use super::remote_command::Until;
use super::screen::{ReaderClosed, Screen};
use bytes::Bytes;
use onsembl_protocol::fleet::{OutputFollower, OutputPosition, StoredBody};
use onsembl_protocol::id::{CommandId, MessageId};
use onsembl_protocol::model::{Exit, PROGRAM_ENDED, Stream, gap_notice, typed_into};
use onsembl_protocol::time::Human;
use onsembl_protocol::wire::DashboardToServer;
use onsembl_protocol::wire::payload::{
    CommandCancel, CommandPhase, CommandRequest, CommandStatus, ErrorCode, ErrorReply, Feature,
    OutputGap, StreamContent, TerminalStream, ViewMode,
};
use std::fmt;
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

/// How long the confirmation of a cancel is awaited.
const CANCEL_PATIENCE: Duration = Duration::from_secs(12);

/// How long the last output may take to be written before the client ends.
const LAST_WRITE_WITHIN: Duration = Duration::from_secs(2);

/// How long the server may take to say what a command waits for.
const ASKED_WITHIN: Duration = Duration::from_secs(5);

/// How long before a time limit it is spoken of, at most.
const NEAR: Duration = Duration::from_secs(60);
/// Limits that are shorter are not spoken of.
const SHORT: Duration = Duration::from_secs(20);

/// What ends a process that writes into a pipe without a reader.
const SIGPIPE: i32 = 13;

/// How following a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Followed {
    /// The command ended.
    Exited(Exit),
    /// It was typed into this terminal, which has what comes of it.
    Typed(CommandId),
    /// It ended because it was cancelled from here, or its end did not come in time after that.
    Cancelled {
        by: Canceller,
        /// Whether its end was confirmed.
        confirmed: bool,
    },
    /// The server has stored that it is to be run, and it is not followed further, as was asked for.
    Taken,
}

/// Why a command was cancelled from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canceller {
    /// Its time was over.
    Timeout,
    /// This process was asked to end, by this signal; or its output is closed, which is `SIGPIPE`.
    Signal(i32),
}

/// Why it was cancelled from here, and until when the confirmation is awaited.
#[derive(Clone, Copy)]
struct Cancelled {
    by: Canceller,
    force: bool,
    give_up: Instant,
}

/// When it is said that a time limit is near.
#[derive(Clone, Copy, Debug)]
struct Near {
    at: Instant,
    limit: Duration,
    left: Duration,
}

impl Near {
    /// A tenth of the limit before it, and at most a minute; nothing of one that is so short that nobody could do
    /// anything about it.
    fn of(limit: Duration, end: Instant) -> Option<Self> {
        let left = (limit / 10).min(NEAR);
        let at = end.checked_sub(left)?;
        (limit >= SHORT).then_some(Self { at, limit, left })
    }
}

impl fmt::Display for Near {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, left, .. } = self;
        write!(f, "the time limit of {} ends the command in {}", Human(*limit), Human(*left))
    }
}

/// One command, from when it is asked for until its end is known.
pub(super) struct Run<O, E> {
    link: CommandLink,
    endpoint: Endpoint,
    command: CommandId,
    request: CommandRequest,
    screen: Screen<O, E>,
    /// How the command ended, once that is known.
    ended: Option<Exit>,
    /// Into which terminal it was typed.
    typed_into: Option<CommandId>,
    follower: OutputFollower,
    notices: Notices,
    waiting: Waiting,
    /// The server has said where the command is, so it has it.
    taken: bool,
    links: u32,
    requested: Option<MessageId>,
    /// What asked for a replay over the present link, unless there was nothing to replay yet.
    replay: Option<MessageId>,
    cancelled: Option<Cancelled>,
    until: Until,
}

/// Asks, when it is time to, for all that keeps a command from being started.
async fn ask_what_it_waits_for(
    endpoint: &Endpoint,
    command: &CommandId,
    at: Option<Instant>,
) -> Vec<String> {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
    let asked = Box::pin(endpoint.waits_on(command));
    let asked = tokio::time::timeout(ASKED_WITHIN, asked).await;
    asked.ok().and_then(Result::ok).unwrap_or_default()
}

impl<O: AsyncWrite + Unpin, E: AsyncWrite + Unpin> Run<O, E> {
    /// One that has asked for nothing yet.
    pub(super) fn new(
        link: CommandLink,
        endpoint: Endpoint,
        command: CommandId,
        request: CommandRequest,
        screen: Screen<O, E>,
        until: Until,
    ) -> Self {
        Self {
            link,
            endpoint,
            request,
            command,
            screen,
            ended: None,
            typed_into: None,
            follower: OutputFollower::new(),
            notices: Notices::default(),
            waiting: Waiting::default(),
            taken: false,
            links: 0,
            requested: None,
            replay: None,
            cancelled: None,
            until,
        }
    }

    /// Asks for it and follows it to its end, and lets what it wrote last get out.
    ///
    /// # Errors
    /// How it ended is unknown; the text says why.
    pub(super) async fn run_to_end(
        mut self,
        timeout: Instant,
        limit: Option<Duration>,
        interrupted: impl Future<Output = i32>,
    ) -> anyhow::Result<Followed> {
        self.notices.begin(Instant::now());
        self.begin().await;
        let near = limit.and_then(|limit| Near::of(limit, timeout));
        let followed = self.follow(timeout, near, interrupted).await;
        self.screen.restore();
        if tokio::time::timeout(LAST_WRITE_WITHIN, self.screen.write_out()).await.is_err() {
            tracing::info!("standard output is not being read; the rest is not shown");
        }
        self.link.say_goodbye().await;
        followed
    }

    /// Says over a new link what this is about. The request goes out again, under its id, if no reply
    /// knows whether it was taken, and it is still wanted.
    async fn begin(&mut self) {
        self.links = self.links.saturating_add(1);
        if self.links > 1 {
            // Also if it is not known yet that it was taken: what it writes now must not come before
            // what it wrote meanwhile.
            self.ask_again().await;
        } else {
            let _no_replay = self.link.watch(WatchFrom::Now, ViewMode::Whole).await;
        }
        // The server says first whether it knows what the request depends on.
        if self.needs().next().is_none() {
            self.ask().await;
        }
        self.send_cancel().await;
    }

    async fn ask(&mut self) {
        if !self.taken && self.cancelled.is_none() {
            for piece in self.request.long_text.iter().flat_map(|text| text.pieces(&self.command)) {
                let _unless_lost = self.link.send(&DashboardToServer::CommandText(piece)).await;
            }
            let request = DashboardToServer::CommandRequest(self.request.clone());
            self.requested = self.link.send(&request).await;
        }
    }

    async fn on_greeted(&mut self, known: &[Feature]) -> anyhow::Result<()> {
        let mut needs = self.needs().peekable();
        if needs.peek().is_none() {
            return Ok(());
        }
        for (feature, why) in needs {
            anyhow::ensure!(known.contains(&feature), why);
        }
        self.ask().await;
        Ok(())
    }

    /// Without which features a server would do something else than the request says, and what.
    fn needs(&self) -> impl Iterator<Item = (Feature, &'static str)> + use<O, E> {
        let needs = [
            (
                self.request.is_secret(),
                Feature::SecretInput,
                "this server does not support secrets, and would store the text; nothing was sent",
            ),
            (
                self.request.condition.is_some(),
                Feature::Activity,
                "this server does not support --if, and would type the text unconditionally; nothing was sent",
            ),
            (
                self.request.unstored,
                Feature::UnstoredOutput,
                "this server does not support --unstored, and would store the output; nothing was sent",
            ),
            (
                self.request.long_text.is_some(),
                Feature::LongText,
                "this server takes texts of 65,536 bytes (64 KiB) at most, and this one is longer; nothing was sent; put it into a file on the agent's machine and name that",
            ),
        ];
        needs
            .into_iter()
            .filter_map(|(is_needed, feature, why)| is_needed.then_some((feature, why)))
    }

    /// Asks for the output that is missing here, and for all that comes behind it.
    async fn ask_again(&mut self) {
        let from = WatchFrom::Position(self.follower.resume());
        self.replay = self.link.watch(from, ViewMode::Whole).await;
    }

    async fn follow(
        &mut self,
        timeout: Instant,
        mut near: Option<Near>,
        interrupted: impl Future<Output = i32>,
    ) -> anyhow::Result<Followed> {
        let mut interrupted = std::pin::pin!(interrupted);
        loop {
            if self.until == Until::Taken && self.taken {
                return Ok(Followed::Taken);
            }
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
                        "the server did not answer in time, and whether it accepted the command is unknown; `onsembl commands {}` shows it if it did",
                        self.command
                    ),
                    (None, None) => self.cancel(Canceller::Timeout).await,
                    (None, Some(Cancelled { by, .. })) => {
                        let id = &self.command;
                        self.screen.say(&format!(
                            "the cancel was not confirmed; the command may still be running; try again: `onsembl cancel {id}`"
                        ));
                        return Ok(Followed::Cancelled { by, confirmed: false });
                    }
                },
                () = tokio::time::sleep_until(notice.unwrap_or(deadline)), if notice.is_some() => {
                    if let Some(text) = self.notices.take(Instant::now()) {
                        let phase = self.notices.phase();
                        if let Some(text) = self.waiting.begin(phase, text, Instant::now()) {
                            self.screen.say(&text);
                        }
                    }
                }
                lines = ask_what_it_waits_for(&self.endpoint, &self.command, self.waiting.ask_at()),
                    if self.waiting.ask_at().is_some() =>
                {
                    for line in self.waiting.on_answer(lines, Instant::now()) {
                        self.screen.say(&line);
                    }
                }
                () = tokio::time::sleep_until(near.map_or(deadline, |near| near.at)), if near.is_some() => {
                    if let Some(near) = near.take().filter(|_| self.cancelled.is_none()) {
                        self.screen.say(&near.to_string());
                    }
                }
                written = self.screen.write_out(), if !self.screen.is_idle() => {
                    if let Err(closed) = written {
                        self.on_reader_closed(&closed).await;
                    }
                }
                news = self.link.next(), if self.ended.is_none() && self.screen.has_room() => {
                    let news = news.map_err(|why| anyhow::anyhow!("{why}; {}", self.left_behind()))?;
                    self.ended = self.on_news(news).await?;
                }
            }
        }
    }

    fn outcome(&self, exit: Exit) -> Followed {
        match self.cancelled {
            None => match &self.typed_into {
                Some(terminal) => Followed::Typed(terminal.clone()),
                None => Followed::Exited(exit),
            },
            Some(Cancelled { by, .. }) => Followed::Cancelled { by, confirmed: true },
        }
    }

    async fn on_news(&mut self, news: News) -> anyhow::Result<Option<Exit>> {
        match news {
            News::Output(output) => {
                self.on_output(*output);
                Ok(None)
            }
            News::Gap(gap) => {
                self.on_gap(&gap);
                Ok(None)
            }
            News::Status(status) => self.on_status(&status).await,
            News::Refused(error) => {
                self.on_error(&error)?;
                Ok(None)
            }
            News::Greeted(known) => {
                self.on_greeted(&known).await?;
                Ok(None)
            }
            News::Size(_) | News::Behind | News::Keyboard(_) | News::Acknowledged(_) => Ok(None),
            News::Lost(why) => {
                let command = &self.command;
                let so_far = match (self.cancelled, self.taken) {
                    (Some(_), _) => {
                        format!("whether the cancel of command {command} arrived is unknown")
                    }
                    (None, true) => format!("command {command} keeps running"),
                    (None, false) => format!("whether command {command} was accepted is unknown"),
                };
                let text =
                    format!("lost the link to the server ({why}); reconnecting, and {so_far}");
                self.screen.say(&text);
                Ok(None)
            }
            News::Back => {
                self.screen.say("the link to the server is back");
                self.begin().await;
                Ok(None)
            }
        }
    }

    /// What there is to know of the command for who does not wait for it any more.
    fn left_behind(&self) -> String {
        let id = &self.command;
        format!("the command may still be running; see `onsembl commands {id}`")
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
        self.waiting.on_status(&status.status);
        self.say_if_stored(status);
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
        if ended.is_some() {
            self.typed_into = typed_into(because);
            if self.typed_into.is_some() || because.contains(PROGRAM_ENDED) {
                self.screen.say(because);
            }
        }
        if ended.is_some() && status.status == CommandPhase::Cancelled && self.cancelled.is_none() {
            self.screen.say(&format!("the command was cancelled: {because}"));
        }
        Ok(ended)
    }

    /// An agent of an earlier version knows no other way.
    fn say_if_stored(&mut self, status: &CommandStatus) {
        if self.request.unstored && status.status == CommandPhase::Completed && !status.unstored {
            self.screen.say(
                "the output of this command was stored: its agent cannot leave it out, or it was typed into a terminal",
            );
        }
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
                "{}; its status while the link was lost is shown by `onsembl commands {}`",
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
