//! `GET /api/commands/{id}/output`: what is stored of a command's output as JSON lines, from any record
//! on, and on request what is stored from then on.
//!
//! Only what is committed is shown, so between the past and the present there is no seam.

use super::App;
use super::api::problem;
use super::ask::unreadable;
use super::commands::CommandSummary;
use super::signed_in::SignedIn;
use super::streamed::json_lines;
use crate::bounds::Share;
use crate::store::{Cursor, READ_RECORDS, StoreError, StoredBody, StoredRecord};
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{Response, StatusCode};
use bytes::Bytes;
use onsembl_protocol::fleet::{OpenKind, Pieces};
use onsembl_protocol::id::{ByteOffset, ChunkSequence, CommandId, Incarnation, UserId};
use onsembl_protocol::limits::Limits;
use onsembl_protocol::model::Stream;
use onsembl_protocol::wire::json_len;
use onsembl_protocol::wire::payload::{OutputContent, OutputGap, StreamContent, TerminalStream};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

/// Readers of output at a time.
pub(crate) const READERS: usize = 256;
/// Bytes of output that are read at once, and the longest text of a page: JSON makes six bytes of some.
pub(crate) const PAGE: usize = 256 * 1024;
/// What a reader holds: the records that were read, of which an earlier version stored longer ones, up to a message;
/// a page that its connection writes; and the next one, which is made when that one is taken.
pub(crate) const READER: usize = READ + 2 * PAGE;
/// Records that were read: their bytes, with what each takes besides; or a single long one.
const READ: usize = PAGE + READ_RECORDS * 256;
const _: () = assert!(READ >= Limits::DEFAULT.message_bytes, "a single record fits");
/// What a line has at most besides its output and the id of its command.
const LINE: usize = 256;
/// So often a reader that waits gets an empty line, and can tell a quiet command from a dead link.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// How long the other side may take no page.
const STALLED: Duration = Duration::from_secs(60);
/// How long commits are gathered, since most of them belong to others.
const GATHER: Duration = Duration::from_millis(20);

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum OutputLine {
    /// Bytes.
    Output(TerminalStream),
    /// Bytes that are missing.
    Gap(OutputGap),
    /// All that there is was said. An answer without it broke off.
    End(CommandSummary),
}

/// What is asked for of the output.
#[derive(Debug, Deserialize)]
pub(super) struct OutputQuery {
    stream: Option<String>,
    #[serde(default)]
    follow: bool,
    /// Only what is behind this record: `incarnation.sequence`.
    after: Option<String>,
}

pub(super) async fn output(
    State(app): State<App>,
    Path(id): Path<String>,
    SignedIn(identity): SignedIn,
    Query(query): Query<OutputQuery>,
) -> Response<Body> {
    let (only, cursor) = match query.positions() {
        Ok(positions) => positions,
        Err(why) => return problem(StatusCode::BAD_REQUEST, why),
    };
    let Some(slot) = app.readers.take(&identity.user) else {
        app.counters.count("readers_refused");
        let why = "too many concurrent readers of output, yours or in total; try again later";
        return problem(StatusCode::SERVICE_UNAVAILABLE, why);
    };
    let command = CommandId::new(id);
    match app.store.commands().get(&identity.user, &command).await {
        Ok(Some(_)) => {}
        Ok(None) => return problem(StatusCode::NOT_FOUND, "no command of yours has this id"),
        Err(error) => return unreadable(&app, &error),
    }
    let open = app.opens.open(OpenKind::Output, identity.clone());
    let reader = Reader {
        commits: app.store.commits(),
        user: identity.user.clone(),
        app,
        command,
        only,
        cursor,
        follow: query.follow,
        rest: VecDeque::new(),
        pieces: None,
        done: false,
        _slot: slot,
    };
    let (pages, taken) = mpsc::channel(1);
    tokio::spawn(reader.give(pages));
    json_lines(open, taken)
}

impl OutputQuery {
    fn positions(&self) -> Result<(Option<Stream>, Cursor), &'static str> {
        let only = match self.stream.as_deref() {
            Some(word) => {
                Some(Stream::parse(word).ok_or("`stream` is stdout, stderr or terminal")?)
            }
            None => None,
        };
        let position = |text: &str| {
            let (incarnation, sequence) = text.split_once('.')?;
            Some((Incarnation(incarnation.parse().ok()?), ChunkSequence(sequence.parse().ok()?)))
        };
        let cursor = match self.after.as_deref() {
            Some(text) => Some(position(text).ok_or("`after` is incarnation.sequence")?),
            None => None,
        };
        Ok((only, cursor))
    }
}

/// One answer that is being given.
struct Reader {
    app: App,
    commits: watch::Receiver<u64>,
    user: UserId,
    command: CommandId,
    only: Option<Stream>,
    cursor: Cursor,
    follow: bool,
    /// What was read and is not in a page yet.
    rest: VecDeque<StoredRecord>,
    /// The first of it is being given in pieces.
    pieces: Option<Pieces>,
    done: bool,
    _slot: Share<UserId>,
}

impl Reader {
    /// Gives pages as fast as they are taken. A reader that takes none for too long must come again, or a few
    /// that sleep would keep all others out.
    async fn give(mut self, pages: mpsc::Sender<Bytes>) {
        loop {
            // A page is made when the last one was taken, so that one that reads slowly holds two at most.
            let Ok(Ok(room)) = tokio::time::timeout(STALLED, pages.reserve()).await else {
                self.app.counters.count("readers_broken_off");
                debug!(command = %self.command, "the reader of the output is closed");
                return;
            };
            match self.next(&pages).await {
                Some(page) => room.send(page),
                None => return,
            }
        }
    }

    /// The next lines; `None` when all is said, or when it cannot continue.
    async fn next(&mut self, pages: &mpsc::Sender<Bytes>) -> Option<Bytes> {
        if self.done {
            return None;
        }
        match self.page(pages).await {
            Ok(page) => page,
            Err(error) => {
                self.app.counters.count("store_reads_failed");
                warn!(user = %self.user, command = %self.command, %error, "stored output cannot be read; breaking off");
                None
            }
        }
    }

    async fn page(&mut self, pages: &mpsc::Sender<Bytes>) -> Result<Option<Bytes>, StoreError> {
        loop {
            if let Some(page) = self.of_rest() {
                return Ok(Some(page));
            }
            let _commits_so_far = *self.commits.borrow_and_update();
            // Read before its output: the end of a command is stored behind it.
            let row = self.app.store.commands().get(&self.user, &self.command).await?;
            let (only, cursor) = (self.only, self.cursor);
            let records = self
                .app
                .store
                .reading()
                .read(&self.user, &self.command, only, cursor, PAGE)
                .await?;
            if let Some(last) = records.last() {
                self.cursor = Some((last.incarnation, last.sequence));
                self.rest = records.into();
                continue;
            }
            let Some(row) = row else { return Ok(None) };
            if row.ended_at.is_some() || !self.follow {
                self.done = true;
                return Ok(lines([OutputLine::End(row.into())]));
            }
            tokio::select! {
                // Its token has ended, or nobody reads it any more.
                () = pages.closed() => return Ok(None),
                () = self.app.dashboard.stop.cancelled() => return Ok(None),
                changed = self.commits.changed() => {
                    if changed.is_err() {
                        return Ok(None);
                    }
                    tokio::time::sleep(GATHER).await;
                }
                () = tokio::time::sleep(SIGN_OF_LIFE) => return Ok(Some(Bytes::from_static(b"\n"))),
            }
        }
    }
}

impl Reader {
    /// A page of what was read; `None` if nothing is left of it.
    fn of_rest(&mut self) -> Option<Bytes> {
        let mut text = Vec::new();
        while let Some(front) = self.rest.front_mut() {
            // Its bytes go into the pieces, so that a long record is not there twice.
            let nothing = StoredBody::Chunk(Bytes::new());
            let pieces = self
                .pieces
                .get_or_insert_with(|| std::mem::replace(&mut front.body, nothing).into_pieces());
            let before = pieces.clone();
            let Some((at, body)) = pieces.next() else {
                self.pieces = None;
                let _ = self.rest.pop_front();
                continue;
            };
            let offset = ByteOffset(front.offset.0.saturating_add(at));
            let line = OutputLine::from(StoredRecord { offset, body, ..front.clone() });
            if !text.is_empty() && text.len().saturating_add(line.most_bytes()) > PAGE {
                *pieces = before;
                break;
            }
            serde_json::to_writer(&mut text, &line).ok()?;
            text.push(b'\n');
        }
        text.shrink_to_fit();
        (!text.is_empty()).then(|| text.into())
    }
}

impl OutputLine {
    /// How long it is as text at most.
    fn most_bytes(&self) -> usize {
        let (command, content) = match self {
            Self::Output(output) => match &output.content {
                StreamContent::Bytes(content) => (&output.command_id, content.json_len()),
                StreamContent::Lines(_) => (&output.command_id, 0),
            },
            Self::Gap(gap) => (&gap.command_id, 0),
            Self::End(_) => return 0,
        };
        json_len(command.as_str()).saturating_add(content).saturating_add(LINE)
    }
}

impl From<StoredRecord> for OutputLine {
    fn from(record: StoredRecord) -> Self {
        match record.body {
            StoredBody::Chunk(bytes) => Self::Output(TerminalStream {
                command_id: record.command,
                agent_id: None,
                stream: record.stream.into(),
                content: StreamContent::Bytes(OutputContent::from_bytes(&bytes)),
                timestamp: Some(record.at),
                sequence: Some(record.sequence),
                offset: Some(record.offset),
                incarnation: Some(record.incarnation),
            }),
            StoredBody::Gap { length, because } => Self::Gap(OutputGap {
                command_id: record.command,
                agent_id: None,
                incarnation: record.incarnation,
                stream_type: record.stream.into(),
                sequence: record.sequence,
                offset: record.offset,
                length,
                because,
                timestamp: Some(record.at),
            }),
        }
    }
}

fn lines(lines: impl IntoIterator<Item = OutputLine>) -> Option<Bytes> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, &line).ok()?;
        text.push(b'\n');
    }
    Some(text.into())
}
