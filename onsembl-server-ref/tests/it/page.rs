//! The page and signing in to it with a browser: what is sent, who is let in, and each attack on that.

use crate::fixture::{PATIENCE, World, now};
use crate::frames::{extended_dashboard_hello, extended_hello};
use crate::peer::{Http, Peer, Request};
use crate::tokens::revoke;
use onsembl_server_ref::auth::TokenKind::Dashboard;
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;

const ORIGIN: &str = "Origin: http://onsembl.test";
const MARKER: &str = "X-Onsembl: 1";

async fn post(world: &World, headers: &[&str], body: &str) -> Http {
    let request = Request::new("POST", "/api/page/session");
    let request = headers.iter().fold(request, |request, header| request.header(header));
    request.body(body).send(world.address()).await
}

async fn sign_in(world: &World, body: &str) -> Http {
    post(world, &[ORIGIN, MARKER, "User-Agent: a browser"], body).await
}

fn value_in(answer: &Http) -> String {
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.contains("; HttpOnly; SameSite=Strict"), "{cookie}");
    let value = cookie.strip_prefix("onsembl=").unwrap().split(';').next().unwrap();
    assert_eq!(value.len(), 43);
    value.to_owned()
}

/// The value of the cookie of a session that this user's token opened.
async fn session(world: &World, user: &str, more: &str) -> String {
    let token = world.token(user, Dashboard);
    let answer = sign_in(world, &format!(r#"{{"token":"{token}"{more}}}"#)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    value_in(&answer)
}

/// A request of a browser with a cookie.
fn asked(method: &str, path: &str, cookie: &str) -> Request {
    Request::new(method, path).header(&format!("Cookie: onsembl={cookie}"))
}

async fn get(world: &World, path: &str, cookie: &str) -> Http {
    asked("GET", path, cookie).send(world.address()).await
}

async fn change(world: &World, method: &str, path: &str, cookie: &str, body: &str) -> Http {
    let request = asked(method, path, cookie).header(ORIGIN).header(MARKER);
    request.body(body).send(world.address()).await
}

fn code(answer: &Http) -> String {
    answer.json()["code"].as_str().unwrap_or_default().to_owned()
}

/// A link of a dashboard, as the page opens it.
async fn link(world: &World, cookie: &str) -> Peer {
    let address = world.address();
    let headers = [
        ("origin", format!("http://{address}")),
        ("cookie", format!("onsembl-{}={cookie}", address.port())),
    ];
    let mut link = Peer::try_open_with(address, "/ws/dashboard", &headers).await.unwrap();
    link.send(extended_dashboard_hello()).await;
    let _ = link.expect("ACK").await;
    link
}

async fn link_of_bearer(world: &World, user: &str, body: &str) -> Value {
    let token = world.token(user, Dashboard);
    let request = Request::new("POST", "/api/page/links").bearer(Some(&token)).body(body);
    let answer = request.send(world.address()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

#[tokio::test]
async fn a_one_time_link_signs_in_once() {
    let world = World::start().await;
    let made = link_of_bearer(&world, "ann", "{}").await;
    let text = made["code"].as_str().unwrap();
    assert_eq!(made["url"], format!("http://onsembl.test/#code={text}"));
    assert_eq!(text.len(), 22);
    let body = format!(r#"{{"code":"{text}"}}"#);
    let answer = sign_in(&world, &body).await;
    let shown = answer.json();
    assert_eq!((&shown["user"], &shown["readOnly"]), (&"ann".into(), &false.into()));
    assert_eq!((&shown["userAgent"], &shown["current"]), (&"a browser".into(), &true.into()));
    let cookie = value_in(&answer);
    let again = sign_in(&world, &body).await;
    assert_eq!((again.status, code(&again)), (401, "CODE_USED".to_owned()));
    assert!(again.header("set-cookie").is_none());
    let guessed = sign_in(&world, r#"{"code":"AAAAAAAAAAAAAAAAAAAAAA"}"#).await;
    assert_eq!((guessed.status, code(&guessed)), (401, "CODE_UNKNOWN".to_owned()));
    let mine = get(&world, "/api/page/session", &cookie).await;
    assert_eq!(mine.json()["id"], shown["id"]);
    assert_eq!(get(&world, "/api/agents", &cookie).await.status, 200);
    let day = 24 * 3600 * 1000;
    let left = shown["expiresAt"].as_i64().unwrap() - now().unix_millis();
    assert!(left <= day, "no longer than its token: {left}");
}

#[tokio::test]
async fn another_origin_does_nothing_with_the_cookie() {
    let world = World::start().await;
    let cookie = session(&world, "ann", "").await;
    let upgrade = |origin: Option<&str>| {
        let request =
            Request::upgrade("/ws/dashboard").header(&format!("Cookie: onsembl={cookie}"));
        match origin {
            Some(origin) => request.header(&format!("Origin: {origin}")),
            None => request,
        }
    };
    for (origin, status, why) in [
        (Some("http://onsembl.test"), 101, ""),
        (Some("http://onsembl.test:9090"), 403, "ORIGIN_FOREIGN"),
        (Some("https://onsembl.test"), 403, "ORIGIN_FOREIGN"),
        (Some("http://evil.onsembl.test"), 403, "ORIGIN_FOREIGN"),
        (Some("null"), 403, "ORIGIN_FOREIGN"),
        (None, 403, "ORIGIN_MISSING"),
    ] {
        let answer = upgrade(origin).send(world.address()).await;
        assert_eq!(answer.status, status, "{origin:?}: {}", answer.body);
        if status != 101 {
            assert_eq!(code(&answer), why);
        }
    }
    let stop = |headers: &[&str]| {
        let request = asked("POST", "/api/stop", &cookie).body(r#"{"all":true}"#);
        headers.iter().fold(request, |request, header| request.header(header))
    };
    for (headers, status, why) in [
        (&[ORIGIN, MARKER][..], 200, ""),
        (&[MARKER], 403, "ORIGIN_MISSING"),
        (&["Origin: http://onsembl.test:9090", MARKER], 403, "ORIGIN_FOREIGN"),
        (&[ORIGIN, "Origin: http://evil.test", MARKER], 403, "ORIGIN_FOREIGN"),
        (&[ORIGIN], 403, "HEADER_MISSING"),
    ] {
        let answer = stop(headers).send(world.address()).await;
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.body);
        if status != 200 {
            assert_eq!(code(&answer), why, "{headers:?}");
        }
    }
    for (header, status) in [
        ("Sec-Fetch-Site: same-origin", 200),
        ("Sec-Fetch-Site: same-site", 403),
        ("Sec-Fetch-Site: cross-site", 403),
        ("Origin: http://onsembl.test:9090", 403),
    ] {
        let read = asked("GET", "/api/agents", &cookie).header(header);
        assert_eq!(read.send(world.address()).await.status, status, "{header}");
    }
    let token = world.token("ann", Dashboard);
    let body = format!(r#"{{"token":"{token}"}}"#);
    assert_eq!(post(&world, &[MARKER], &body).await.status, 403);
    assert_eq!(post(&world, &["Origin: http://evil.test", MARKER], &body).await.status, 403);
    assert_eq!(post(&world, &[ORIGIN], &body).await.status, 403);
}

#[tokio::test]
async fn a_cookie_is_of_dashboards_and_of_one_user() {
    let world = World::start().await;
    let mut agent = world.agent_link("ann").await;
    agent.send(extended_hello("key", "run-1", &[])).await;
    let id = agent.expect("ACK").await["agentId"].as_str().unwrap().to_owned();
    let (ann, bob) = (session(&world, "ann", "").await, session(&world, "bob", "").await);
    assert_eq!(get(&world, "/api/agents", &ann).await.json()["total"], 1);
    assert_eq!(get(&world, "/api/agents", &bob).await.json()["total"], 0);
    for path in ["", "/why", "/screen", "/terminal-output", "/beats", "/presence"] {
        let path = format!("/api/agents/{id}{path}");
        assert_eq!(get(&world, &path, &bob).await.status, 404, "{path}");
    }
    let of_ann = get(&world, "/api/page/session", &ann).await.json()["id"].clone();
    let path = format!("/api/page/sessions/{}", of_ann.as_str().unwrap());
    assert_eq!(change(&world, "DELETE", &path, &bob, "").await.status, 404);
    assert_eq!(
        get(&world, "/api/page/sessions", &bob).await.json()["sessions"].as_array().unwrap().len(),
        1
    );
    let as_agent = Request::upgrade("/ws/agent").header(ORIGIN);
    let as_agent = as_agent.header(&format!("Cookie: onsembl={ann}")).send(world.address()).await;
    assert_eq!(as_agent.status, 401, "it is none of an agent");
    assert_eq!(get(&world, "/metrics", &ann).await.status, 401);
    // A token goes before a cookie, which then counts for nothing.
    let token = world.token("bob", Dashboard);
    let both = asked("GET", "/api/agents", &ann).bearer(Some(&token)).send(world.address()).await;
    assert_eq!(both.json()["total"], 0);
    let twice = asked("GET", "/api/agents", &ann).header(&format!("Cookie: onsembl={bob}"));
    assert_eq!(twice.send(world.address()).await.status, 401);
}

#[tokio::test]
async fn a_read_only_session_looks_and_changes_nothing() {
    let world = World::start().await;
    let cookie = session(&world, "ann", r#","readOnly":true"#).await;
    assert_eq!(get(&world, "/api/page/session", &cookie).await.json()["readOnly"], true);
    for (method, path) in [
        ("POST", "/api/stop"),
        ("POST", "/api/release"),
        ("POST", "/api/agents/a/control"),
        ("DELETE", "/api/agents/a"),
        ("POST", "/api/commands/c/cancel"),
        ("DELETE", "/api/tokens/t"),
        ("POST", "/api/page/links"),
        ("DELETE", "/api/page/sessions/s"),
    ] {
        let answer = change(&world, method, path, &cookie, "{}").await;
        assert_eq!((answer.status, code(&answer)), (403, "READ_ONLY".to_owned()), "{path}");
    }
    let mut link = link(&world, &cookie).await;
    link.send(r#"{"type":"EMERGENCY_STOP","id":"m-1","timestamp":1,"payload":{"all":true}}"#).await;
    assert_eq!(link.expect("ERROR").await["code"], "READ_ONLY");
    let token = world.token("ann", Dashboard);
    let refresh = format!(
        r#"{{"type":"TOKEN_REFRESH","id":"m-2","timestamp":1,"payload":{{"accessToken":"{token}"}}}}"#
    );
    link.send(refresh).await;
    assert_eq!(link.expect("ERROR").await["code"], "READ_ONLY", "no way to more");
    let out = change(&world, "DELETE", "/api/page/session", &cookie, "").await;
    assert_eq!(out.status, 204, "{}", out.body);
    // A link for reading gives no more, whatever is asked for with it.
    let made = link_of_bearer(&world, "ann", r#"{"readOnly":true}"#).await;
    let body = format!(r#"{{"code":{},"readOnly":false}}"#, made["code"]);
    assert_eq!(sign_in(&world, &body).await.json()["readOnly"], true);
}

/// By each way in which a session ends, its links do at once, and its cookie is good for nothing.
#[tokio::test]
async fn a_session_that_ends_closes_what_it_opened() {
    let world = World::start().await;
    let at_once = Duration::from_secs(2);
    for way in ["sign out", "ended by another", "token revoked"] {
        let cookie = session(&world, "ann", "").await;
        let other = session(&world, "ann", "").await;
        let mut link = link(&world, &cookie).await;
        let mine = get(&world, "/api/page/session", &cookie).await.json();
        match way {
            "sign out" => {
                let out = change(&world, "DELETE", "/api/page/session", &cookie, "").await;
                assert_eq!(out.status, 204);
                assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
            }
            "ended by another" => {
                let path = format!("/api/page/sessions/{}", mine["id"].as_str().unwrap());
                assert_eq!(change(&world, "DELETE", &path, &other, "").await.status, 204);
            }
            _ => {
                let token = world.token("ann", Dashboard);
                let own = world.get("/api/token", Some(&token)).await.json();
                let path = format!("/api/tokens/{}", own["token_id"].as_str().unwrap());
                let begun = tokio::time::Instant::now();
                while change(&world, "DELETE", &path, &other, "").await.status == 404 {
                    assert!(begun.elapsed() < PATIENCE, "a signed token is never listed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        let ended = timeout(at_once, link.ended_by(at_once)).await;
        assert_eq!(ended.expect("its link ends").0.code(), 4201, "{way}");
        let gone = get(&world, "/api/agents", &cookie).await;
        assert_eq!((gone.status, code(&gone)), (401, "SESSION_UNKNOWN".to_owned()), "{way}");
        let goes_too = way == "token revoked";
        let status = get(&world, "/api/agents", &other).await.status;
        assert_eq!(status, if goes_too { 401 } else { 200 }, "{way}");
    }
}

#[tokio::test]
async fn a_token_that_the_operator_revokes_ends_its_sessions() {
    let world = World::start().await;
    let (token, id) = world.token_from("ann", Dashboard, now());
    let answer = sign_in(&world, &format!(r#"{{"token":"{token}"}}"#)).await;
    let cookie = value_in(&answer);
    let mut link = link(&world, &cookie).await;
    let made = {
        let request = Request::new("POST", "/api/page/links").bearer(Some(&token)).body("{}");
        request.send(world.address()).await.json()
    };
    revoke(&world, &id);
    assert_eq!(get(&world, "/api/agents", &cookie).await.status, 401);
    let ended = link.ended_by(Duration::from_secs(15)).await;
    assert_eq!(ended.0.code(), 4201, "by a round of look-ups");
    let late = sign_in(&world, &format!(r#"{{"code":{}}}"#, made["code"])).await;
    assert_eq!((late.status, code(&late)), (401, "TOKEN_INVALID".to_owned()));
}

#[tokio::test]
async fn sessions_end_by_time_and_by_a_clock_that_was_set_back() {
    let world = World::start().await;
    let day = 24 * 3600 * 1000_i64;
    for (change, why) in [
        ("last_used_at = last_used_at - ?1", "idle"),
        ("created_at = created_at - 40 * ?1", "thirty days"),
        ("until = created_at - ?1 / ?1", "its token expired"),
        ("last_used_at = last_used_at + ?1", "the clock was set back"),
    ] {
        let cookie = session(&world, "ann", "").await;
        assert_eq!(get(&world, "/api/agents", &cookie).await.status, 200);
        let _ =
            world.database().execute(&format!("UPDATE page_sessions SET {change}"), [day]).unwrap();
        let gone = get(&world, "/api/agents", &cookie).await;
        assert_eq!((gone.status, code(&gone)), (401, "SESSION_EXPIRED".to_owned()), "{why}");
        assert!(gone.header("set-cookie").unwrap().contains("Max-Age=0"), "{why}");
        let again = get(&world, "/api/agents", &cookie).await;
        assert_eq!(code(&again), "SESSION_UNKNOWN", "{why}: it is removed");
    }
}

#[tokio::test]
async fn guessing_is_throttled_and_a_restart_keeps_sessions_and_no_codes() {
    let mut world = World::start().await;
    let cookie = session(&world, "ann", "").await;
    let made = link_of_bearer(&world, "ann", "").await;
    world.restart().await;
    assert_eq!(get(&world, "/api/agents", &cookie).await.status, 200);
    let body = format!(r#"{{"code":{}}}"#, made["code"]);
    assert_eq!(code(&sign_in(&world, &body).await), "CODE_UNKNOWN");
    let mut refused = 1;
    let throttled = loop {
        let answer = sign_in(&world, r#"{"token":"guessed"}"#).await;
        match answer.status {
            401 => refused += 1,
            _ => break answer,
        }
        assert!(refused < 20);
    };
    assert_eq!((throttled.status, code(&throttled)), (429, "THROTTLED".to_owned()));
    let wait = throttled.json()["retryAfterMs"].as_u64().unwrap();
    assert!(refused >= 10 && (1..=6000).contains(&wait), "{refused} {wait}");
    assert!(throttled.header("retry-after").is_some());
    assert_eq!(get(&world, "/api/agents", &cookie).await.status, 200, "others go on");
}

#[tokio::test]
async fn a_user_has_a_number_of_sessions_and_the_unused_ones_go() {
    let world = World::start().await;
    let first = session(&world, "ann", "").await;
    let mut link = link(&world, &first).await;
    for _ in 0..32 {
        let _ = session(&world, "ann", "").await;
    }
    let newest = session(&world, "ann", "").await;
    let listed = get(&world, "/api/page/sessions", &newest).await.json();
    let listed = listed["sessions"].as_array().unwrap();
    assert_eq!(listed.len(), 32);
    assert_eq!(listed.iter().filter(|session| session["current"] == true).count(), 1);
    assert_eq!(link.ended_by(Duration::from_secs(2)).await.0.code(), 4201);
    let stored: String = world
        .database()
        .query_row("SELECT group_concat(hex(hash) || session_id) FROM page_sessions", [], |r| {
            r.get(0)
        })
        .unwrap();
    assert!(!stored.contains(&newest), "no cookie is stored");
}

#[tokio::test]
async fn no_token_goes_into_the_address_of_the_page() {
    let world = World::start().await;
    let token = world.token("ann", Dashboard);
    let html = |path: &str| Request::get(path).header("Accept: text/html,*/*;q=0.8");
    for path in ["/", "/fleet", "/agents/a", "/terminals/c", "/commands", "/sign-in"] {
        assert_eq!(html(path).send(world.address()).await.status, 200, "{path}");
        let with_token = html(&format!("{path}?token={token}")).send(world.address()).await;
        assert_eq!(with_token.status, 400, "{path}");
        assert!(!with_token.body.contains(&token));
        assert_eq!(Request::get(path).send(world.address()).await.status, 404, "{path}");
        let json = Request::get(path).header("Accept: application/json");
        assert_eq!(json.send(world.address()).await.status, 404, "{path}");
        let posted = Request::new("POST", path).header("Accept: text/html").body("");
        assert_eq!(posted.send(world.address()).await.status, 404, "{path}");
    }
    assert_eq!(html("/nothing").send(world.address()).await.status, 404);
    let path = format!("/api/page/session?token={token}");
    let request = Request::new("POST", &path).header(ORIGIN).header(MARKER).body("{}");
    assert_eq!(request.send(world.address()).await.status, 400);
    // A legacy dashboard goes on.
    assert_eq!(world.get(&format!("/api/agents?token={token}"), None).await.status, 200);
}

#[tokio::test]
async fn each_kind_of_answer_has_its_headers() {
    let world = World::start().await;
    let cookie = session(&world, "ann", "").await;
    let page = Request::get("/settings").header("Accept: text/html").send(world.address()).await;
    let policy = page.header("content-security-policy").unwrap();
    for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("cross-origin-opener-policy"), Some("same-origin"));
    assert!(page.header("permissions-policy").unwrap().contains("camera=()"));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let etag = format!("If-None-Match: {}", page.header("etag").unwrap());
    let known = Request::get("/").header("Accept: */*").header(&etag).send(world.address()).await;
    assert_eq!((known.status, known.body.as_str()), (304, ""));
    assert!(known.header("content-security-policy").is_some());
    let answers = [
        get(&world, "/api/agents", &cookie).await,
        get(&world, "/api/commands/none/output", &cookie).await,
        get(&world, "/api/page/about", &cookie).await,
        world.get("/api/agents", None).await,
        world.get("/nothing", None).await,
        world.get("/assets/none.js", None).await,
        world.get("/healthz", None).await,
        page,
    ];
    for answer in &answers {
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{}", answer.head);
        }
    }
    for answer in &answers[..7] {
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; sandbox"), "{}", answer.head);
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{}", answer.head);
    }
    let about = answers[2].json();
    assert!(about["agentCommand"].as_str().unwrap().contains("--server http://onsembl.test "));
    assert!(about["tokenCommand"].as_str().unwrap().contains("--user ann "));
}
