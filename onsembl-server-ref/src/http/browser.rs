//! What a browser asks for: the page at each of its paths, its files, and `/api/page/…`: signing in and out, the sessions
//! of the user who asks, one-time links, and what the page says of the server.

use super::App;
use super::api::problem;
use super::ask::unreadable;
use super::cookies::{coded, may_sign_in, own_origins, set_cookie, signed_in_for, unavailable};
use super::order_body::OrderBody;
use super::signed_in::{SignedIn, TokenQuery, settle};
use super::waiting_room::network_of;
use crate::auth::{
    Credentials, Identity, OpenedSession, PageSessions, Refusal, SignInFault, TokenKind, Visitor,
};
use crate::page;
use crate::retention::Retention;
use crate::store::PageSessionRow;
use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequest as _, Path, Query, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, Response, StatusCode, Uri, header};
use axum::response::IntoResponse as _;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use onsembl_protocol::fleet::KeptFor;
use onsembl_protocol::id::UserId;
use onsembl_protocol::model::Access;
use onsembl_protocol::sign_in::{CodeFault, Origin, RequestKind};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;

/// The paths of the page itself.
const PATHS: [&str; 10] = [
    "/",
    "/fleet",
    "/agents/{*rest}",
    "/terminals/{*rest}",
    "/commands",
    "/commands/{*rest}",
    "/stop",
    "/incidents",
    "/settings",
    "/sign-in",
];
/// Longest code or token that is looked up, in bytes.
const LONGEST_SECRET: usize = 8 * 1024;
/// Longest id of a session, in bytes.
const LONGEST_ID: usize = 64;

/// The page of a server, if it has one.
#[derive(Debug)]
pub(crate) struct PageService {
    pub(crate) sessions: PageSessions,
    /// How people reach this server, as its operator says.
    pub(crate) public_url: Option<Origin>,
    pub(crate) retention: Retention,
    pub(crate) kept: KeptFor,
    pub(crate) user_bytes: u64,
}

/// Everything of the page.
pub(super) fn router(app: App) -> Router {
    let pages = PATHS.iter().fold(Router::new(), |pages, path| {
        pages.route(path, get(index).fallback(super::api::not_found))
    });
    pages
        .route("/assets/{name}", get(file))
        .route("/api/page/session", post(sign_in).get(session).delete(sign_out))
        .route("/api/page/sessions", get(sessions))
        .route("/api/page/sessions/{id}", delete(end_session))
        .route("/api/page/links", post(link))
        .route("/api/page/about", get(about))
        .with_state(app)
}

/// The page; 404 for who does not want to show one, as on a server without it.
async fn index(uri: Uri, headers: HeaderMap) -> Response<Body> {
    let query = Query::<TokenQuery>::try_from_uri(&uri);
    if query.is_ok_and(|Query(query)| query.has_token()) {
        let why = "no token in the address of the page: it would be kept in histories and logs; \
                   use the link of `onsembl login --browser`";
        return problem(StatusCode::BAD_REQUEST, why);
    }
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = accepted.flat_map(|value| value.split(','));
    let shows = |kind: &str| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("text/html") || kind == "*/*"
    };
    match kinds.any(shows).then(|| page::index(&headers)).flatten() {
        Some(page) => page,
        None => super::api::not_found().await,
    }
}

async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response<Body> {
    match page::file(&name, &headers) {
        Some(file) => file,
        None => super::api::not_found().await,
    }
}

/// A session, as its user sees it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Session<'a> {
    id: &'a str,
    user: &'a str,
    read_only: bool,
    created_at: i64,
    last_used_at: i64,
    idle_until: i64,
    expires_at: i64,
    user_agent: Option<&'a str>,
    address: Option<&'a str>,
    /// Whether it is the one that asks.
    current: bool,
}

impl<'a> Session<'a> {
    fn of(row: &'a PageSessionRow, current: Option<&PageSessionRow>) -> Self {
        let PageSessionRow { id, user, access, times, user_agent, address, .. } = row;
        Self {
            id,
            user: user.as_str(),
            read_only: *access == Access::ReadOnly,
            created_at: times.created.unix_millis(),
            last_used_at: times.last_used.unix_millis(),
            idle_until: times.idle_until().unix_millis(),
            expires_at: times.expires().unix_millis(),
            user_agent: user_agent.as_deref(),
            address: address.as_deref(),
            current: current.is_some_and(|current| current.id == *id),
        }
    }
}

/// With what somebody signs in.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignIn {
    code: Option<String>,
    token: Option<String>,
    #[serde(default)]
    read_only: bool,
}

async fn sign_in(
    State(app): State<App>,
    Query(query): Query<TokenQuery>,
    headers: HeaderMap,
    request: Request,
) -> Response<Body> {
    let Some(page) = &app.page else { return super::api::not_found().await };
    let extensions = request.extensions().clone();
    let own = match may_sign_in(&app, &headers, &extensions) {
        Ok(own) => own,
        Err(answer) => return *answer,
    };
    if query.has_token() {
        let why = "the token goes into the body, never into the address";
        return problem(StatusCode::BAD_REQUEST, why);
    }
    let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    if let Err(wait) = page.sessions.attempt(peer.map(network_of)) {
        return throttled(wait);
    }
    let body = match OrderBody::from_request(request, &app).await {
        Ok(OrderBody(body)) => body,
        Err(answer) => return answer,
    };
    let Ok(SignIn { code, token, read_only }) = serde_json::from_slice(&body) else {
        return problem(StatusCode::BAD_REQUEST, "invalid body: give `code` or `token`");
    };
    let access = access(read_only);
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let visitor = Visitor { address: peer, user_agent: agent.map(str::to_owned) };
    let is_short = |secret: &String| secret.len() <= LONGEST_SECRET;
    let opened = match (code.filter(is_short), token.filter(is_short)) {
        (Some(code), None) => page.sessions.open_with_code(&code, access, visitor).await,
        (None, Some(token)) => {
            let shown = Credentials::of_body(TokenKind::Dashboard, &token, &headers, &extensions);
            match app.auth.admit(&shown).await {
                Ok(identity) => {
                    page.sessions.open(page.sessions.grant(&identity, access), visitor).await
                }
                Err(refusal) => return token_refused(&app, &refusal),
            }
        }
        (Some(_), Some(_)) | (None, None) => {
            return problem(StatusCode::BAD_REQUEST, "give one of `code` and `token`");
        }
    };
    let OpenedSession { cookie, row, ended } = match opened {
        Ok(opened) => opened,
        Err(fault) => return not_opened(fault),
    };
    ended.iter().for_each(|id| app.opens.end(&PageSessions::token_id(id)));
    let token = PageSessions::token_id(&row.id);
    let identity = Identity::new(row.user.clone(), TokenKind::Dashboard, token.as_str());
    if let Err(answer) = settle(&app, identity, &extensions).await {
        return answer;
    }
    let mut answer = Json(Session::of(&row, Some(&row))).into_response();
    if let Some(cookie) = set_cookie(&own, Some(&cookie)) {
        let _ = answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answer
}

const fn access(read_only: bool) -> Access {
    if read_only { Access::ReadOnly } else { Access::Full }
}

fn throttled(wait: Duration) -> Response<Body> {
    let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let body = json!({
        "error": "too many attempts to sign in from this address; try again later",
        "code": "THROTTLED",
        "retryAfterMs": millis,
    });
    let mut answer = (StatusCode::TOO_MANY_REQUESTS, Json(body)).into_response();
    let seconds = HeaderValue::from(millis.div_ceil(1000));
    let _ = answer.headers_mut().insert(header::RETRY_AFTER, seconds);
    answer
}

fn token_refused(app: &App, refusal: &Refusal) -> Response<Body> {
    app.counters.count("page_sign_ins_refused");
    match refusal {
        Refusal::Unauthorized(why) | Refusal::Unfit(_, why) | Refusal::Forbidden(why) => {
            coded(StatusCode::UNAUTHORIZED, "TOKEN_INVALID", why)
        }
        Refusal::Unavailable(_) => unavailable(),
    }
}

fn not_opened(fault: SignInFault) -> Response<Body> {
    let (code, why) = match fault {
        SignInFault::Code(CodeFault::Unknown) => {
            ("CODE_UNKNOWN", "unknown code: make another link (`onsembl login --browser`)")
        }
        SignInFault::Code(CodeFault::Used) => {
            ("CODE_USED", "this link was used already; each is good once: make another one")
        }
        SignInFault::Code(CodeFault::Expired) => {
            ("CODE_EXPIRED", "this link is older than 5 minutes; make another one")
        }
        SignInFault::Revoked => ("TOKEN_INVALID", "what this was made with has been revoked"),
        SignInFault::Unavailable => return unavailable(),
    };
    coded(StatusCode::UNAUTHORIZED, code, why)
}

/// The session that asks.
async fn session(State(app): State<App>, request: Request) -> Response<Body> {
    let (parts, _body) = request.into_parts();
    match signed_in_for(&app, &parts, RequestKind::Read).await {
        Some(Ok(identity)) => match &identity.session {
            Some(row) => Json(Session::of(row, Some(row))).into_response(),
            None => nobody(),
        },
        Some(Err(answer)) => answer,
        None => nobody(),
    }
}

fn nobody() -> Response<Body> {
    coded(StatusCode::UNAUTHORIZED, "SESSION_UNKNOWN", "nobody is signed in here")
}

/// Ends the session that asks, also one that may look only.
async fn sign_out(State(app): State<App>, request: Request) -> Response<Body> {
    let (parts, _body) = request.into_parts();
    let identity = match signed_in_for(&app, &parts, RequestKind::Sign).await {
        Some(Ok(identity)) => identity,
        Some(Err(answer)) => return answer,
        None => return nobody(),
    };
    let Some(row) = &identity.session else { return nobody() };
    let mut answer = end(&app, &row.user, &row.id).await;
    for own in own_origins(&app, &parts.headers, &parts.extensions) {
        if let Some(cookie) = set_cookie(&own, None) {
            let _ = answer.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    answer
}

async fn end(app: &App, user: &UserId, id: &str) -> Response<Body> {
    let Some(page) = &app.page else { return super::api::not_found().await };
    match page.sessions.end(user, id).await {
        Ok(true) => {
            app.opens.end(&PageSessions::token_id(id));
            StatusCode::NO_CONTENT.into_response()
        }
        Ok(false) => problem(StatusCode::NOT_FOUND, "no session of yours has this id"),
        Err(error) => unreadable(app, &error),
    }
}

/// All sessions of the user.
async fn sessions(State(app): State<App>, SignedIn(identity): SignedIn) -> Response<Body> {
    let Some(page) = &app.page else { return super::api::not_found().await };
    match page.sessions.list(&identity.user).await {
        Ok(rows) => {
            let current = identity.session.as_deref();
            let shown: Vec<_> = rows.iter().map(|row| Session::of(row, current)).collect();
            Json(json!({ "sessions": shown })).into_response()
        }
        Err(error) => unreadable(&app, &error),
    }
}

async fn end_session(
    State(app): State<App>,
    Path(id): Path<String>,
    SignedIn(identity): SignedIn,
) -> Response<Body> {
    if id.len() > LONGEST_ID {
        return problem(StatusCode::NOT_FOUND, "no session of yours has this id");
    }
    end(&app, &identity.user, &id).await
}

/// What a link is to give.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Link {
    read_only: bool,
}

/// A one-time link.
async fn link(
    State(app): State<App>,
    SignedIn(identity): SignedIn,
    headers: HeaderMap,
    extensions: Extensions,
    OrderBody(body): OrderBody,
) -> Response<Body> {
    let Some(page) = &app.page else { return super::api::not_found().await };
    let wish = if body.is_empty() { Ok(Link::default()) } else { serde_json::from_slice(&body) };
    let Ok(Link { read_only }) = wish else {
        return problem(StatusCode::BAD_REQUEST, "invalid body");
    };
    let base = base(&app, &headers, &extensions);
    match page.sessions.make_code(page.sessions.grant(&identity, access(read_only))) {
        Ok((code, expires)) => Json(json!({
            "url": base.as_deref().map(|base| link_of(base, &code)),
            "code": code,
            "expiresAt": expires.unix_millis(),
        }))
        .into_response(),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

/// A link with this code, in the part of an address that a browser sends to nobody.
pub(crate) fn link_of(base: &str, code: &str) -> String {
    format!("{base}/#code={code}")
}

/// How this server is reached, as its operator says, or else as this request reached it.
fn base(app: &App, headers: &HeaderMap, extensions: &Extensions) -> Option<String> {
    let named = app.page.as_ref().and_then(|page| page.public_url.clone());
    let asked = || own_origins(app, headers, extensions).into_iter().next();
    named.or_else(asked).map(|origin| origin.to_string())
}

/// What the page says of the server.
async fn about(
    State(app): State<App>,
    SignedIn(identity): SignedIn,
    headers: HeaderMap,
    extensions: Extensions,
) -> Response<Body> {
    let Some(page) = &app.page else { return super::api::not_found().await };
    let used = match app.store.budget().usage(&identity.user).await {
        Ok(usage) => usage.bytes(),
        Err(error) => return unreadable(&app, &error),
    };
    let (version, commit) = match env!("ONSEMBL_VERSION").split_once(' ') {
        Some((version, commit)) => (version, Some(commit.trim_matches(['(', ')']))),
        None => (env!("ONSEMBL_VERSION"), None),
    };
    let url = base(&app, &headers, &extensions).unwrap_or_else(|| "URL".to_owned());
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let Retention { keep_for, keep_bytes, keep_history } = page.retention;
    let user = identity.user.as_str();
    Json(json!({
        "version": version,
        "commit": commit,
        "publicUrl": page.public_url.as_ref().map(ToString::to_string),
        "tokenCommand": format!("onsembl-server token --data DIR --user {} --agent mine --out mine.token", word(user)),
        "agentCommand": format!("onsembl-agent run --server {url} --token-file mine.token --name mine"),
        "retention": {
            "keepForMs": millis(keep_for),
            "keepBytes": keep_bytes,
            "keepHistoryMs": millis(keep_history),
            "forgetAfterMs": page.kept.others.map(millis),
        },
        "use": { "bytes": used, "limit": page.user_bytes },
        "page": page::SOURCES,
    }))
    .into_response()
}

/// A word for a shell.
fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-@+:/".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_word() {
        assert_eq!(word("ann@example.org"), "ann@example.org");
        assert_eq!(word("a b"), "'a b'");
        assert_eq!(word("'; rm -rf ~'"), r"''\''; rm -rf ~'\'''");
        assert_eq!(word(""), "''");
    }
}
