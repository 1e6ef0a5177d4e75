//! `GET /api/agents/{id}/terminal-output`: the latest lines that an agent wrote, for the existing dashboard,
//! which shows them when its page is opened.

use super::App;
use super::api::problem;
use super::ask::unreadable;
use super::signed_in::SignedIn;
use crate::dashboard::line_assembler::LineAssembler;
use crate::store::{StoredBody, StoredRecord};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use onsembl_protocol::id::{AgentId, CommandId};
use onsembl_protocol::model::{Stream, gap_notice};
use onsembl_protocol::time::{Timestamp, WallTime};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Bytes of output that are looked through, from the latest back.
const BYTES: usize = 1 << 20;
/// Lines of an answer at most.
const MOST_LINES: usize = 10_000;
/// Lines of an answer unless it says how many.
const LINES: usize = 1_000;

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LinesQuery {
    /// So many lines, the latest.
    limit: Option<usize>,
    /// So many of the latest are left out.
    #[serde(default)]
    offset: usize,
    /// `stdout` or `stderr`.
    #[serde(rename = "type")]
    stream: Option<String>,
    /// Of this command only.
    command_id: Option<CommandId>,
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
    let agent = AgentId::new(id);
    if !app.fleet_views.of(&identity.user).look().agents().contains_key(&agent) {
        return problem(StatusCode::NOT_FOUND, "no agent of yours has this id");
    }
    let Ok(_slot) = app.readers.clone().try_acquire_owned() else {
        app.counters.count("readers_refused");
        let why = "too many others read output; come back later";
        return problem(StatusCode::SERVICE_UNAVAILABLE, why);
    };
    match app.store.latest_output(&identity.user, &agent, BYTES).await {
        Ok(records) => {
            let mut outputs = lines(&agent, records, &query);
            let total = outputs.len();
            outputs.truncate(total.saturating_sub(query.offset));
            let _too_old = outputs.drain(..outputs.len().saturating_sub(limit));
            drop(_too_old);
            Json(Lines { outputs, total, limit, offset: query.offset }).into_response()
        }
        Err(error) => unreadable(&app, &error),
    }
}

/// The lines of these records that are wanted, in their order.
fn lines(agent: &AgentId, records: Vec<StoredRecord>, query: &LinesQuery) -> VecDeque<Line> {
    let mut assemblers: BTreeMap<CommandId, LineAssembler> = BTreeMap::new();
    let mut lines = VecDeque::new();
    let mut take = |command: &CommandId, stream: Stream, at: WallTime, text: String| {
        let word = match stream {
            Stream::Stdout | Stream::Terminal => "stdout",
            Stream::Stderr => "stderr",
        };
        let is_wanted = query.stream.as_deref().is_none_or(|wanted| wanted == word)
            && query.command_id.as_ref().is_none_or(|wanted| wanted == command);
        if is_wanted {
            let (id, at) = (format!("{command}-{}", lines.len()), at.to_string());
            let (command_id, agent_id) = (command.clone(), agent.clone());
            let (timestamp, created_at) = (at.clone(), at);
            let stream = word;
            lines.push_back(Line {
                id,
                command_id,
                agent_id,
                stream,
                output: text,
                timestamp,
                created_at,
            });
        }
    };
    let mut latest = WallTime::default();
    for record in records {
        let StoredRecord { command, stream, body, at, .. } = record;
        latest = latest.max(at);
        let assembler = assemblers.entry(command.clone()).or_default();
        let (bytes, notice) = match body {
            StoredBody::Chunk(bytes) => (bytes, None),
            StoredBody::Gap { length, because } => ("\n".into(), Some(gap_notice(length, because))),
        };
        let mut whole = assembler.push(stream, &bytes, Timestamp::ORIGIN);
        if let Some(notice) = notice {
            whole.retain(|line| !line.is_empty());
            whole.push(notice);
        }
        whole.into_iter().for_each(|text| take(&command, stream, at, text));
    }
    for (command, mut assembler) in assemblers {
        for (stream, text) in assembler.finish() {
            take(&command, stream, latest, text);
        }
    }
    lines
}
