//! `GET /api/agents/{id}/presence`: each change of an agent's presence with its cause and evidence, beside the times in
//! which this server did not run; and `GET /api/agents/{id}/beats`: its latest heartbeats, an interval in a character.

use super::App;
use super::api::problem;
use super::page::{self, PAGE_BYTES, Page};
use super::signed_in::SignedIn;
use super::why::{Shown, unread};
use crate::store::{History, PresenceRow, StoreError};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use onsembl_protocol::diagnosis::{OwnFault, Transition, Verdict};
use onsembl_protocol::id::{AgentId, UserId};
use onsembl_protocol::model::{Cause, Confidence, Evidence};
use onsembl_protocol::time::{Now, WallTime};
use onsembl_transport::clock::SystemClock;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

/// Days that are shown if nobody says, and at most.
const DAYS: u32 = 30;
/// Minutes of heartbeats that are shown if nobody says.
const MINUTES: u32 = 30;
const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Deserialize)]
pub(super) struct AskedDays {
    days: Option<u32>,
}

/// One change.
#[derive(Debug, Serialize)]
struct Change {
    at: i64,
    state: &'static str,
    /// What happened to the link, by the name of the edge; see docs/STATES.md.
    event: &'static str,
    because: String,
    /// The verdict on it, of a change that ended a session.
    #[serde(flatten)]
    verdict: Option<Judged>,
    epoch: u64,
}

/// What is found of a drop.
#[derive(Debug, Serialize)]
struct Judged {
    cause: Cause,
    confidence: Confidence,
    evidence: Evidence,
    text: &'static str,
    action: &'static str,
    until: Option<i64>,
}

impl Judged {
    fn of(verdict: &Verdict) -> Self {
        let finding = &verdict.finding;
        Self {
            cause: finding.cause,
            confidence: finding.confidence,
            evidence: finding.evidence.clone(),
            text: finding.cause.text(),
            action: finding.cause.action(),
            until: verdict.until.map(WallTime::unix_millis),
        }
    }
}

pub(super) async fn presence(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(asked): Query<AskedDays>,
    SignedIn(identity): SignedIn,
) -> Response<Body> {
    let (user, id) = (identity.user, AgentId::new(id));
    let slot = match page::slot(&app, &user) {
        Ok(slot) => slot,
        Err(answer) => return *answer,
    };
    let read = async {
        let rows = app.store.presence().log(&user, &id).await?;
        let told = app.store.findings().of_agent(&user, &id).await?;
        Ok::<_, StoreError>((rows, told))
    };
    let (rows, told) = match read.await {
        Ok(read) => read,
        Err(error) => return unread(&app, &user, &error),
    };
    let now = SystemClock::new().now().wall;
    let from = before(now, DAY.saturating_mul(asked.days.unwrap_or(DAYS).min(DAYS)));
    let log: Vec<Transition> = rows.iter().filter_map(PresenceRow::transition).collect();
    let Some(verdicts) =
        verdicts(&app, (&user, &id), &History { log: log.clone(), told }, (from, now))
    else {
        return problem(StatusCode::NOT_FOUND, "no agent of yours has this id");
    };
    let because: std::collections::BTreeMap<u64, &str> =
        rows.iter().map(|row| (row.version.0, row.because.as_str())).collect();
    let (mut shown, mut left_out) = (Page::within(PAGE_BYTES / 2), 0);
    // The one that holds at the beginning, too; the newest first, so that what does not fit is old.
    let first = log.iter().rposition(|t| t.at <= from).unwrap_or_default();
    for transition in log.iter().skip(first).rev() {
        let version = transition.presence.version.0;
        let verdict = verdicts.iter().find(|v| v.at == transition.at);
        let is_end = !transition.presence.status.is_in_session();
        let change = Change {
            at: transition.at.unix_millis(),
            state: transition.presence.status.as_str(),
            event: transition.presence.because.cause.kind().as_str(),
            because: because.get(&version).map(|text| (*text).to_owned()).unwrap_or_default(),
            verdict: verdict.filter(|_| is_end).map(Judged::of),
            epoch: transition.presence.epoch.0,
        };
        if left_out > 0 || !shown.add(change) {
            left_out += 1;
        }
    }
    let mut changes = shown.into_entries();
    changes.reverse();
    let own = app.own_faults.known(now);
    let restarts = own.iter().filter(|fault| fault.cause == Cause::ServerRestarted);
    let restarts: Vec<_> = restarts.filter(|fault| fault.until >= from).map(span).collect();
    let body = json!({
        "from": from.unix_millis(),
        "at": now.unix_millis(),
        "changes": changes,
        "leftOut": left_out,
        "restarts": restarts,
    });
    page::whole(body.to_string().into_bytes(), slot)
}

fn span(fault: &OwnFault) -> serde_json::Value {
    json!({ "from": fault.from.unix_millis(), "to": fault.until.unix_millis() })
}

fn before(now: WallTime, time: Duration) -> WallTime {
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    WallTime::from_unix_millis(now.unix_millis().saturating_sub(millis))
}

/// The verdicts on the drops of an agent; `None` if the user has no such agent.
fn verdicts(
    app: &App,
    (user, agent): (&UserId, &AgentId),
    history: &History,
    (from, now): (WallTime, WallTime),
) -> Option<Vec<Verdict>> {
    let fleet_view = app.fleet_views.of(user);
    let shown = Shown::of(app, fleet_view.look().agents().get(agent)?);
    Some(shown.told(app, (user, agent), history, from, now).drops)
}

#[derive(Debug, Deserialize)]
pub(super) struct AskedMinutes {
    minutes: Option<u32>,
}

pub(super) async fn beats(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(asked): Query<AskedMinutes>,
    SignedIn(identity): SignedIn,
) -> Response<Body> {
    let (user, id) = (identity.user, AgentId::new(id));
    let _slot = match page::slot(&app, &user) {
        Ok(slot) => slot,
        Err(answer) => return *answer,
    };
    let now = app.strips.now();
    let time = Duration::from_secs(60).saturating_mul(asked.minutes.unwrap_or(MINUTES));
    if !app.fleet_views.of(&user).look().agents().contains_key(&id) {
        return problem(StatusCode::NOT_FOUND, "no agent of yours has this id");
    }
    let beats = app.strips.of(&id, time, now);
    let spans = match spans(&app, (&user, &id), beats.from, now).await {
        Ok(spans) => spans,
        Err(error) => return unread(&app, &user, &error),
    };
    let interval = i64::try_from(beats.interval.as_millis()).unwrap_or(i64::MAX).max(1);
    let cell = |(n, letter): (usize, char)| {
        let n = i64::try_from(n).unwrap_or(i64::MAX);
        let from = beats.from.unix_millis().saturating_add(n.saturating_mul(interval));
        let middle = WallTime::from_unix_millis(from.saturating_add(interval / 2));
        spans.corrected(letter, middle)
    };
    let cells: String = beats.cells.chars().enumerate().map(cell).collect();
    let from = beats.from.unix_millis();
    Json(json!({ "intervalMs": interval, "from": from, "cells": cells })).into_response()
}

/// What was proven later of the time in which nothing was heard.
struct Spans {
    asleep: Vec<(WallTime, WallTime)>,
    /// The agent was not heard, and heard us.
    to_server_lost: Vec<(WallTime, WallTime)>,
    /// This server did not run.
    stalled: Vec<(WallTime, WallTime)>,
}

impl Spans {
    fn corrected(&self, letter: char, at: WallTime) -> char {
        let within = |spans: &[(WallTime, WallTime)]| {
            spans.iter().any(|(from, until)| *from <= at && at < *until)
        };
        match letter {
            '-' if within(&self.stalled) => '?',
            '-' if within(&self.asleep) => 'z',
            '-' if within(&self.to_server_lost) => 'd',
            other => other,
        }
    }
}

async fn spans(
    app: &App,
    (user, agent): (&UserId, &AgentId),
    from: WallTime,
    now: Now,
) -> Result<Spans, StoreError> {
    let now = now.wall;
    let of = vec![agent.clone()];
    let read = app.store.presence().latest(user, of, from, super::fleet_why::OF_AGENT).await?;
    let history = read.into_iter().next().map(|(_, history)| history).unwrap_or_default();
    let told: Vec<_> = history
        .told
        .iter()
        .filter_map(|told| {
            let began = before(told.at, told.told.ago);
            let span = (began, began.after(told.told.lasted));
            (span.1 >= from).then_some((told.told.finding.cause, span))
        })
        .collect();
    let of_cause = |cause: Cause| {
        let found = told.iter().filter(|(is, _)| *is == cause).map(|(_, span)| *span);
        found.collect::<Vec<_>>()
    };
    let lost = verdicts(app, (user, agent), &history, (from, now)).unwrap_or_default();
    let lost = lost.iter().filter(|verdict| {
        let finding = &verdict.finding;
        finding.cause == Cause::NetworkOneWay && finding.evidence.text("lost") == Some("to-server")
    });
    let until = |verdict: &Verdict| verdict.until.unwrap_or(now);
    let stalled = app.own_faults.known(now).into_iter();
    let stalled = stalled.filter(|fault| fault.cause == Cause::ServerStalled);
    Ok(Spans {
        asleep: of_cause(Cause::AgentSlept),
        to_server_lost: lost
            .map(|v| (before(v.at, app.rules.timing.timeout_after()), until(v)))
            .collect(),
        stalled: stalled.map(|fault| (fault.from, fault.until)).collect(),
    })
}
