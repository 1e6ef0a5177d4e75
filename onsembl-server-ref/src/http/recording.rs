//! `GET /api/agents/{id}/recording`: what is recorded of an agent, as a file of JSON lines.
//!
//! The hub hands over a copy of what its ring holds and continues; the lines are made here, as fast as
//! the other side takes them.

use super::App;
use super::api::problem;
use super::ask::{ask, too_late};
use super::signed_in::SignedIn;
use super::streamed::json_lines;
use super::upgrade::plain;
use super::why::Shown;
use crate::bounds::Share;
use crate::hub::Request as HubRequest;
use crate::store::{History, PresenceRow, StoreError};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use bytes::Bytes;
use onsembl_protocol::diagnosis::Why;
use onsembl_protocol::fleet::OpenKind;
use onsembl_protocol::id::{AgentId, UserId};
use onsembl_protocol::replay::Lines;
use onsembl_transport::clock::SystemClock;
use onsembl_transport::counters::Counters;
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::{debug, error, warn};

/// Recordings that may be on their way at a time. Each holds a copy of what it is made of, at most the
/// size of the ring.
pub(crate) const EXPORTS: usize = 4;
/// How long the hub may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of lines that are made at a time.
const CHUNK: usize = 64 * 1024;
/// How long the other side may take no chunk.
const STALLED: Duration = Duration::from_secs(10);

pub(super) async fn recording(
    State(app): State<App>,
    Path(id): Path<String>,
    SignedIn(identity): SignedIn,
) -> Response<Body> {
    let Some(slot) = app.exports.take(&identity.user) else {
        app.counters.count("exports_refused");
        let why = "too many recordings are being exported, yours or in total; try again later\n";
        return plain(StatusCode::SERVICE_UNAVAILABLE, why);
    };
    let (user, agent) = (identity.user.clone(), AgentId::new(&id));
    let asked = |reply| HubRequest::Recording { user: user.clone(), agent: agent.clone(), reply };
    match ask(&app, PATIENCE, asked).await {
        Some(Ok(excerpt)) => {
            let (chunks, taken) = mpsc::channel(1);
            let lines = match why_of(&app, &user, &agent).await {
                Some(why) => excerpt.lines(id).with_verdicts(&why.drops, why.pattern.as_ref()),
                None => excerpt.lines(id),
            };
            tokio::spawn(write(lines, chunks, slot, app.counters.clone()));
            json_lines(app.opens.open(OpenKind::Recording, identity), taken)
        }
        Some(Err(none)) => problem(StatusCode::NOT_FOUND, &none.to_string()),
        None => too_late(),
    }
}

/// Why the agent was away, as far as its log goes back. A recording is worth having without it, when the database
/// cannot be read.
async fn why_of(app: &App, user: &UserId, agent: &AgentId) -> Option<Why> {
    let read = async {
        let rows = app.store.presence().log(user, agent).await?;
        let told = app.store.findings().of_agent(user, agent).await?;
        let log = rows.iter().filter_map(PresenceRow::transition).collect();
        Ok::<_, StoreError>(History { log, told })
    };
    let history = match read.await {
        Ok(history) => history,
        Err(error) => {
            app.counters.count("presence_log_not_read");
            warn!(%user, %agent, %error, "the log of presences cannot be read; a recording is exported without verdicts");
            return None;
        }
    };
    let shown = {
        let fleet_view = app.fleet_views.of(user);
        let view = fleet_view.look();
        Shown::of(app, view.agents().get(agent)?)
    };
    let now = SystemClock::new().now().wall;
    let from = history.log.first().map_or(now, |first| first.at);
    let why = shown.told(app, (user, agent), &history, from, now);
    (!why.drops.is_empty()).then_some(why)
}

/// Makes the lines. If they are not taken, or the token has ended, it ends; the end mark is missing then, and a
/// reader of
/// the file notices.
async fn write(
    mut lines: Lines,
    chunks: mpsc::Sender<Bytes>,
    slot: Share<UserId>,
    counters: Counters,
) {
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        while chunk.len() < CHUNK && lines.write_next(&mut chunk) {}
        if lines.failed() {
            counters.count("recordings_not_reproduced");
            error!("a recording does not reproduce what happened; please report this");
        }
        if chunk.is_empty() {
            break;
        }
        if !matches!(tokio::time::timeout(STALLED, chunks.send(chunk.into())).await, Ok(Ok(()))) {
            counters.count("exports_broken_off");
            debug!("the reader of a recording is closed");
            break;
        }
    }
    drop(slot);
}
