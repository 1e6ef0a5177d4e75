//! `GET /api/commands/{id}/why`: what a command waits for, or what became of it. What is known of it is gathered
//! here, from its fleet, the store and the view; the core says what that means.

use super::App;
use super::api::problem;
use super::ask::{ask, too_late, unreadable};
use super::fleet_why::OF_AGENT;
use super::page;
use super::signed_in::SignedIn;
use super::why::Shown;
use crate::hub::Request as HubRequest;
use crate::store::{CommandChange, CommandRow, StoreError, StoreHealth, StreamPosition};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use onsembl_protocol::diagnosis::{AgentOf, CommandStep, CommandWhy, KnownCommand, MissingOutput};
use onsembl_protocol::fleet::OpenCommand;
use onsembl_protocol::id::{AgentId, CommandId, UserId};
use onsembl_protocol::model::CommandPhase;
use onsembl_protocol::time::WallTime;
use onsembl_transport::clock::SystemClock;
use std::time::Duration;

/// How long the hub may take.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn command_why(
    State(app): State<App>,
    Path(id): Path<String>,
    SignedIn(identity): SignedIn,
) -> Response<Body> {
    let (user, id) = (identity.user, CommandId::new(id));
    let _slot = match page::slot(&app, &user) {
        Ok(slot) => slot,
        Err(answer) => return *answer,
    };
    let asked = |reply| HubRequest::Command { user: user.clone(), command: id.clone(), reply };
    // Before the store: what it says of a command that ended in between is then the end.
    let Some(open) = ask(&app, PATIENCE, asked).await else { return too_late() };
    let stored = match Stored::read(&app, &user, &id).await {
        Ok(stored) => stored,
        Err(error) => return unreadable(&app, &error),
    };
    let now = SystemClock::new().now().wall;
    let Some(mut known) = known(&app, id, open, stored, now) else {
        return problem(StatusCode::NOT_FOUND, "no command of yours has this id");
    };
    let Known { agent, command } = &mut known;
    command.agent = match agent_of(&app, &user, agent, now).await {
        Ok(agent) => agent,
        Err(error) => return unreadable(&app, &error),
    };
    Json(CommandWhy::of(known.command, now)).into_response()
}

/// What the store has of a command.
#[derive(Debug)]
struct Stored {
    row: Option<CommandRow>,
    history: Vec<CommandChange>,
    streams: Vec<StreamPosition>,
    last_output: Option<WallTime>,
}

impl Stored {
    async fn read(app: &App, user: &UserId, id: &CommandId) -> Result<Self, StoreError> {
        Ok(Self {
            row: app.store.commands().get(user, id).await?,
            history: app.store.commands().history(user, id).await?,
            streams: app.store.streams().positions(user, vec![id.clone()]).await?,
            last_output: app.store.reading().last_at(user, id).await?,
        })
    }
}

/// A command, and which agent is to run it.
struct Known {
    agent: AgentId,
    command: KnownCommand,
}

/// What is known of a command without its agent; `None` if the command is unknown.
fn known(
    app: &App,
    id: CommandId,
    open: Option<OpenCommand>,
    stored: Stored,
    now: WallTime,
) -> Option<Known> {
    let Stored { row, history, streams, last_output } = stored;
    let is_over = row.as_ref().is_some_and(|row| row.ended_at.is_some());
    // Its end may be stored and its fleet still look after it: what is stored holds.
    let open = open.filter(|_| !is_over);
    let standing = open.as_ref().map(|open| open.standing);
    let busy_with = open.as_ref().map(|open| open.busy_with.clone()).unwrap_or_default();
    let (agent, status, because, since) = match (open, row) {
        (Some(open), row) => {
            let asked = millis_before(now, open.unstored_for.unwrap_or_default());
            let stored = row.map_or(asked, |row| row.updated_at);
            // Its end is on its way to the store.
            let since = open.view.ended_at.unwrap_or(stored);
            (open.agent, open.view.status.phase(), open.because, since)
        }
        (None, Some(row)) => {
            let because = row.cause.unwrap_or_else(|| "no reason is stored".to_owned());
            (row.agent, CommandPhase::parse(&row.status), because, row.updated_at)
        }
        (None, None) => return None,
    };
    let step = |change: CommandChange| CommandStep {
        at: change.at,
        status: CommandPhase::parse(&change.status),
        because: change.cause.unwrap_or_default(),
    };
    let mut steps: Vec<CommandStep> = history.into_iter().map(step).collect();
    if steps.last().is_none_or(|last| last.status != status) {
        // What it is now may not be stored yet.
        steps.push(CommandStep { at: since, status: status.clone(), because: because.clone() });
    }
    let missing = |position: &StreamPosition| MissingOutput {
        stream: position.stream,
        bytes: position.gaps,
        open: position.open_gap,
    };
    let command = KnownCommand {
        command: id,
        status,
        since,
        because,
        steps,
        standing,
        agent: None,
        busy_with,
        last_output,
        missing: streams.iter().map(missing).collect(),
        store: match *app.store.health().borrow() {
            StoreHealth::Healthy => None,
            troubled @ (StoreHealth::Troubled { .. } | StoreHealth::Scarce { .. }) => {
                Some(troubled.to_string())
            }
        },
    };
    Some(Known { agent, command })
}

/// The agent of a command, and why it is away if it is; `None` if it is not there any more.
async fn agent_of(
    app: &App,
    user: &UserId,
    id: &AgentId,
    now: WallTime,
) -> Result<Option<AgentOf>, StoreError> {
    let shown = {
        let fleet_view = app.fleet_views.of(user);
        let view = fleet_view.look();
        let agent = view.agents().get(id);
        agent.map(|agent| (agent.name.clone(), Shown::of(app, agent), agent.order_in_force()))
    };
    let Some((name, shown, order)) = shown else { return Ok(None) };
    let presence = shown.presence.clone();
    let finding = if presence.state.is_in_session() {
        None
    } else {
        let logs = app.store.presence().latest(user, vec![id.clone()], now, OF_AGENT).await?;
        let history = logs.into_iter().next().map(|(_, history)| history).unwrap_or_default();
        let drops = shown.told(app, (user, id), &history, now, now).drops;
        drops.into_iter().next_back().filter(|drop| drop.until.is_none()).map(|drop| drop.finding)
    };
    Ok(Some(AgentOf { name, presence, finding, order }))
}

fn millis_before(now: WallTime, by: Duration) -> WallTime {
    let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    WallTime::from_unix_millis(now.unix_millis().saturating_sub(millis))
}
