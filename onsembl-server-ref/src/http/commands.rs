//! `GET /api/commands` and `GET /api/commands/{id}`: what is stored of commands, and how one came where
//! it is.

use super::App;
use super::SMALL;
use super::api::problem;
use super::ask::unreadable;
use super::page::{self, PAGE_BYTES, Page};
use super::signed_in::SignedIn;
use crate::hub::origin;
use crate::store::{CommandChange, CommandRow, StoredHold};
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use onsembl_protocol::fleet::{CommandOrigin, CommandStage};
use onsembl_protocol::id::{AgentId, CommandId, UserId};
use onsembl_protocol::time::WallTime;
use onsembl_protocol::wire::payload::CommandPhase;
use serde::{Deserialize, Serialize};

/// Commands in one list unless the asker says otherwise, and at most.
const LISTED: usize = 200;
const MOST_LISTED: usize = 10_000;

/// One command, as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CommandSummary {
    pub(crate) command_id: String,
    pub(crate) agent_id: String,
    pub(crate) text: String,
    /// Its agent has it and the database did not: what it is, and who asked for it, is unknown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) adopted: bool,
    /// Its output was asked not to be stored. What an agent that cannot leave it out has sent is stored nevertheless.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unstored: bool,
    pub(crate) status: String,
    pub(crate) cause: Option<String>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) created_at: String,
    pub(crate) updated_at: String,
    pub(crate) ended_at: Option<String>,
}

impl From<CommandRow> for CommandSummary {
    fn from(row: CommandRow) -> Self {
        Self {
            adopted: origin(&row) == CommandOrigin::Adopted,
            unstored: row.is_asked_unstored(),
            command_id: row.command.into(),
            agent_id: row.agent.into(),
            text: row.text,
            status: row.status,
            cause: row.cause,
            exit_code: row.exit_code,
            signal: row.signal,
            created_at: row.created_at.to_string(),
            updated_at: row.updated_at.to_string(),
            ended_at: row.ended_at.as_ref().map(WallTime::to_string),
        }
    }
}

/// What is stored of commands, and what keeps them waiting now that is not stored.
fn shown(
    app: &App,
    user: &UserId,
    rows: impl IntoIterator<Item = CommandRow>,
) -> Vec<CommandSummary> {
    let fleet_view = app.fleet_views.of(user);
    let view = fleet_view.look();
    let shown = |row: CommandRow| {
        let stage = CommandStage::of(&CommandPhase::parse(&row.status));
        let blocked_by = view.agents().get(&row.agent).and_then(|agent| agent.blocked_by(stage));
        let cause = match (blocked_by, row.cause) {
            (Some(blocked_by), Some(cause)) => Some(format!("{blocked_by}; {cause}")),
            (blocked_by, cause) => blocked_by.or(cause),
        };
        CommandSummary::from(CommandRow { cause, ..row })
    };
    rows.into_iter().map(shown).collect()
}

/// One command, and how it came where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CommandDetail {
    #[serde(flatten)]
    pub(crate) command: CommandSummary,
    pub(crate) history: Vec<CommandStep>,
    /// Who held the keyboard of this terminal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) keyboard: Vec<KeyboardHold>,
}

/// That somebody held the keyboard of a terminal: how much was typed, and never what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeyboardHold {
    /// Who, in the words of that dashboard.
    pub(crate) name: String,
    pub(crate) since: String,
    /// `None` while it lasts, or where the server ended with it.
    pub(crate) ended_at: Option<String>,
    /// When it had ended at the latest: the server ended with it, and it is unknown when. `bytes` is then at least
    /// this many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_by: Option<String>,
    pub(crate) because: Option<String>,
    /// Bytes that were passed to the agent.
    pub(crate) bytes: u64,
    /// Of how many of them it is unknown that they came into the terminal.
    pub(crate) unconfirmed: u64,
}

impl From<StoredHold> for KeyboardHold {
    fn from(hold: StoredHold) -> Self {
        let StoredHold { name, since, ended_at, ended_by, because, bytes, unconfirmed } = hold;
        let [ended_at, ended_by] = [ended_at, ended_by].map(|at| at.map(|at| at.to_string()));
        Self { name, since: since.to_string(), ended_at, ended_by, because, bytes, unconfirmed }
    }
}

/// One change of a command's status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CommandStep {
    pub(crate) at: String,
    pub(crate) status: String,
    pub(crate) cause: Option<String>,
}

impl From<CommandChange> for CommandStep {
    fn from(change: CommandChange) -> Self {
        Self { at: change.at.to_string(), status: change.status, cause: change.cause }
    }
}

/// What is asked for of the list.
#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    agent: Option<String>,
    limit: Option<usize>,
    /// Only those behind this one: `next` of an earlier page.
    after: Option<String>,
}

/// Where a list continues: when the last command of a page was asked for, and its id.
fn page_cursor(of: &CommandRow) -> String {
    format!("{}.{}", of.created_at.unix_millis(), of.command)
}

fn parse_cursor(text: &str) -> Option<(WallTime, CommandId)> {
    let (at, id) = text.split_once('.')?;
    Some((WallTime::from_unix_millis(at.parse().ok()?), CommandId::new(id)))
}

pub(super) async fn commands(
    State(app): State<App>,
    SignedIn(identity): SignedIn,
    Query(query): Query<ListQuery>,
) -> Response<Body> {
    let agent = query.agent.map(AgentId::new);
    let limit = query.limit.unwrap_or(LISTED).min(MOST_LISTED);
    let after = match query.after.as_deref().map(parse_cursor) {
        None => None,
        Some(Some(cursor)) => Some(cursor),
        Some(None) => {
            let why = "`after` is not the `next` of an earlier page; omit it to start from the first page";
            return problem(StatusCode::BAD_REQUEST, why);
        }
    };
    let slot = match page::slot(&app, &identity.user) {
        Ok(slot) => slot,
        Err(answer) => return *answer,
    };
    let of = &identity.user;
    let listed =
        app.store.commands().list_behind(of, agent.as_ref(), after, limit, PAGE_BYTES).await;
    let listed = match listed {
        Ok(listed) => listed,
        Err(error) => return unreadable(&app, &error),
    };
    let mut next = listed.rows.last().filter(|_| listed.more).map(page_cursor);
    let cursors: Vec<_> = listed.rows.iter().map(page_cursor).collect();
    let mut page = Page::default();
    for (at, command) in shown(&app, of, listed.rows).into_iter().enumerate() {
        if !page.add(command) {
            next = at.checked_sub(1).and_then(|last| cursors.get(last).cloned());
            break;
        }
    }
    page.answer("commands", next, slot)
}

pub(super) async fn command(
    State(app): State<App>,
    Path(id): Path<String>,
    SignedIn(identity): SignedIn,
) -> Response<Body> {
    let id = CommandId::new(id);
    let found = async {
        let row = app.store.commands().get(&identity.user, &id).await?;
        let history = app.store.commands().history(&identity.user, &id).await?;
        let holds = app.store.keyboards().holds(&identity.user, &id).await?;
        let command = shown(&app, &identity.user, row).pop();
        Ok(command.map(|command| CommandDetail {
            command,
            history: history.into_iter().map(Into::into).collect(),
            keyboard: holds.into_iter().map(Into::into).collect(),
        }))
    };
    match found.await {
        Ok(Some(detail)) => match serde_json::to_vec(&detail) {
            Ok(json) => detailed(&app, &identity.user, json),
            Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        },
        Ok(None) => problem(StatusCode::NOT_FOUND, "no command of yours has this id"),
        Err(error) => unreadable(&app, &error),
    }
}

/// A long one, with all that happened to it, takes a place among the lists until it is read.
fn detailed(app: &App, user: &UserId, json: Vec<u8>) -> Response<Body> {
    if json.len() > SMALL {
        return match page::slot(app, user) {
            Ok(slot) => page::whole(json, slot),
            Err(answer) => *answer,
        };
    }
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (kind, json).into_response()
}
