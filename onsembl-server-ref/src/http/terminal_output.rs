//! `GET /api/agents/{id}/terminal-output`: the latest lines that an agent wrote, for the existing dashboard,
//! which shows them when its page is opened.

use super::App;
use super::api::problem;
use super::ask::unreadable;
use super::page;
use super::signed_in::SignedIn;
use crate::store::{StoredBody, StoredRecord};
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{Response, StatusCode};
use onsembl_protocol::fleet::LineAssembler;
use onsembl_protocol::id::{AgentId, CommandId};
use onsembl_protocol::model::Stream;
use onsembl_protocol::time::{Timestamp, WallTime};
use onsembl_protocol::wire::json_len;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Bytes of output that are looked through, from the latest back.
const BYTES: usize = 1 << 20;
/// Bytes of the lines of an answer, as JSON. Of more, the latest are given.
const TEXT: usize = page::PAGE_BYTES / 2;
/// Lines of an answer at most.
const MOST_LINES: usize = 10_000;
/// Lines of an answer unless it says how many.
const LINES: usize = 1_000;

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LinesQuery {
    /// The number of lines, of the latest.
    limit: Option<usize>,
    /// How many of the latest are left out.
    #[serde(default)]
    offset: usize,
    /// `stdout` or `stderr`.
    #[serde(rename = "type")]
    stream: Option<String>,
    /// Of this command only.
    command_id: Option<CommandId>,
    /// Only what was stored later than this: a `timestamp` of an earlier answer, or milliseconds of Unix time.
    since: Option<String>,
}

/// What of the output is asked for.
struct Wanted<'a> {
    query: &'a LinesQuery,
    since: Option<WallTime>,
}

impl<'a> Wanted<'a> {
    /// `None`: its `since` is no time.
    fn of(query: &'a LinesQuery) -> Option<Self> {
        let since = match query.since.as_deref() {
            None | Some("") => None,
            Some(text) => match text.parse() {
                Ok(millis) => Some(WallTime::from_unix_millis(millis)),
                Err(_) => Some(WallTime::parse_rfc3339(text)?),
            },
        };
        Some(Self { query, since })
    }

    fn has(&self, command: &CommandId, stream: &str, at: WallTime) -> bool {
        self.query.stream.as_deref().is_none_or(|wanted| wanted == stream)
            && self.query.command_id.as_ref().is_none_or(|wanted| wanted == command)
            && self.since.is_none_or(|since| at > since)
    }
}

/// One line, under the names that the dashboard reads.
#[derive(Debug, Serialize)]
struct Line {
    id: String,
    command_id: CommandId,
    agent_id: AgentId,
    #[serde(rename = "type")]
    stream: &'static str,
    output: String,
    timestamp: String,
    created_at: String,
}

/// The answer; oldest line first.
#[derive(Debug, Serialize)]
struct Lines {
    outputs: VecDeque<Line>,
    /// How many there would be without a limit.
    total: usize,
    limit: usize,
    offset: usize,
}

pub(super) async fn terminal_output(
    State(app): State<App>,
    Path(id): Path<String>,
    SignedIn(identity): SignedIn,
    Query(query): Query<LinesQuery>,
) -> Response<Body> {
    let limit = query.limit.unwrap_or(LINES);
    if limit > MOST_LINES {
        return problem(StatusCode::BAD_REQUEST, "`limit` is 10000 at most");
    }
    let Some(wanted) = Wanted::of(&query) else {
        let why = "`since` is a time like 2025-01-31T12:00:00Z, or milliseconds since 1970";
        return problem(StatusCode::BAD_REQUEST, why);
    };
    let agent = AgentId::new(id);
    if !app.fleet_views.of(&identity.user).look().agents().contains_key(&agent) {
        return problem(StatusCode::NOT_FOUND, "no agent of yours has this id");
    }
    let slot = match page::slot(&app, &identity.user) {
        Ok(slot) => slot,
        Err(refused) => return *refused,
    };
    match app.store.reading().latest(&identity.user, &agent, BYTES).await {
        Ok(records) => {
            // Once to count, once to keep those that are asked for: a line takes far more memory than its bytes.
            let mut total: usize = 0;
            for_each_line(&records, &wanted, |_| total += 1);
            let end = total.saturating_sub(query.offset);
            let range = end.saturating_sub(limit)..end;
            let (mut outputs, mut bytes) = (VecDeque::<Line>::new(), 0_usize);
            let mut n: usize = 0;
            for_each_line(&records, &wanted, |piece| {
                if range.contains(&n) {
                    let line = Line::new(&agent, n, piece);
                    bytes = bytes.saturating_add(line.bytes());
                    outputs.push_back(line);
                }
                n += 1;
                // The latest lines are what is asked for.
                while bytes > TEXT
                    && let Some(line) = outputs.pop_front()
                {
                    bytes = bytes.saturating_sub(line.bytes());
                }
            });
            drop(records);
            let lines = Lines { outputs, total, limit, offset: query.offset };
            match serde_json::to_vec(&lines) {
                Ok(json) => page::whole(json, slot),
                Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
            }
        }
        Err(error) => unreadable(&app, &error),
    }
}

/// A line, as it is found.
struct Piece<'a> {
    command: &'a CommandId,
    stream: &'static str,
    at: WallTime,
    text: String,
}

impl Line {
    /// How many bytes it takes as JSON.
    fn bytes(&self) -> usize {
        let Self { id, command_id, agent_id, stream, output, timestamp, created_at } = self;
        let texts = [
            id.as_str(),
            command_id.as_str(),
            agent_id.as_str(),
            stream,
            output.as_str(),
            timestamp.as_str(),
            created_at.as_str(),
        ];
        // The names of the fields.
        texts.into_iter().map(json_len).fold(100, usize::saturating_add)
    }

    fn new(agent: &AgentId, number: usize, piece: Piece<'_>) -> Self {
        let Piece { command, stream, at, text } = piece;
        let at = at.to_string();
        Self {
            id: format!("{}-{number}", command.as_str()),
            command_id: command.clone(),
            agent_id: agent.clone(),
            stream,
            output: text,
            timestamp: at.clone(),
            created_at: at,
        }
    }
}

/// The lines of these records that are asked for, in their order.
fn for_each_line(records: &[StoredRecord], wanted: &Wanted<'_>, mut found: impl FnMut(Piece<'_>)) {
    let mut assemblers: BTreeMap<&CommandId, LineAssembler> = BTreeMap::new();
    let mut take = |command, stream: Stream, at, text| {
        let stream = match stream {
            Stream::Stdout | Stream::Terminal => "stdout",
            Stream::Stderr => "stderr",
        };
        if wanted.has(command, stream, at) {
            found(Piece { command, stream, at, text });
        }
    };
    let mut latest = WallTime::default();
    for StoredRecord { command, stream, body, at, .. } in records {
        latest = latest.max(*at);
        let assembler = assemblers.entry(command).or_default();
        let whole = match body {
            StoredBody::Chunk(bytes) => assembler.push(*stream, bytes.clone(), Timestamp::ORIGIN),
            StoredBody::Gap { length, because } => assembler.gap(*stream, *length, *because),
        };
        whole.into_iter().for_each(|text| take(command, *stream, *at, text));
    }
    for (command, assembler) in assemblers {
        for (stream, text) in assembler.finish() {
            take(command, stream, latest, text);
        }
    }
}
