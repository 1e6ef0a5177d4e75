//! Who is let in, what others hear, and that no token is ever written to a log.

use crate::extended::agent;
use crate::fixture::{World, now};
use crate::frames::{extended_dashboard_hello, extended_hello, page_command, quoted};
use crate::peer::{Http, Peer, Request};
use onsembl_protocol::time::WallTime;
use onsembl_server_ref::auth::TokenKind::{Agent, Dashboard};
use std::io::Write;
use std::sync::{Arc, Mutex};
use tracing_subscriber::fmt::MakeWriter;

async fn asked(world: &World, path: &str, token: Option<&str>) -> (u16, String) {
    let answer = Request::upgrade(path).bearer(token).send(world.address()).await;
    (answer.status, answer.body)
}

pub(crate) fn revoke(world: &World, token_id: &str) {
    let revoke = "INSERT INTO revoked_tokens (token_id, revoked_at, note) VALUES (?1, 1, 'test')";
    let _ = world.database().execute(revoke, [token_id]).unwrap();
}

#[tokio::test]
async fn only_good_tokens_open_links_and_the_others_hear_why() {
    let world = World::start().await;
    let long_ago = WallTime::from_unix_millis(1_000_000_000_000);
    let (revoked, id) = world.token_from("ann", Agent, now());
    revoke(&world, &id);
    let cases = [
        (None, 401, "no token"),
        (Some("nonsense".to_owned()), 401, "invalid token"),
        (Some(World::start().await.token("ann", Agent)), 401, "not from this server"),
        (Some(world.token_from("ann", Agent, long_ago).0), 401, "expired"),
        (Some(world.token("ann", Dashboard)), 401, "kind"),
        (Some(revoked), 403, "revoked"),
        (Some(world.token("ann", Agent)), 101, ""),
    ];
    for (token, status, why) in &cases {
        let (got, body) = asked(&world, "/ws/agent", token.as_deref()).await;
        assert_eq!(got, *status, "{why}: {body}");
        assert!(body.contains(why), "{why}: {body}");
        if let Some(token) = token {
            let (got, _) = asked(&world, &format!("/ws/agent?token={token}"), None).await;
            assert_eq!(got, *status, "in the query: {why}");
        }
    }
    assert_eq!(asked(&world, "/ws/dashboard", Some(&world.token("ann", Agent))).await.0, 401);
    assert_eq!(world.get("/api/agents", None).await.status, 401);
    assert_eq!(world.get("/api/agents", Some(&world.token("ann", Agent))).await.status, 401);
    assert!(Peer::try_open(world.address(), "/ws/agent", Some("nonsense")).await.is_err());
}

/// Nothing is awaited from an unknown caller either: the bodies announced here never come.
#[tokio::test]
async fn every_page_asks_who_is_there_before_it_reads_on() {
    let world = World::start().await;
    let pages = [
        ("GET", "/api/agents"),
        ("GET", "/api/agents/a"),
        ("DELETE", "/api/agents/a"),
        ("GET", "/api/agents/a/recording"),
        ("GET", "/api/agents/a/audit"),
        ("POST", "/api/agents/a/control"),
        ("GET", "/api/commands"),
        ("GET", "/api/commands/c"),
        ("GET", "/api/commands/c/output"),
        ("POST", "/api/commands/c/cancel"),
        ("POST", "/api/stop"),
        ("POST", "/api/release"),
    ];
    let of_agent = world.token("ann", Agent);
    for (method, page) in pages {
        for (token, why) in [(None, "no token"), (Some(of_agent.as_str()), "kind")] {
            let request = Request::new(method, page).bearer(token).header("Content-Length: 100000");
            let answer = request.send(world.address()).await;
            assert_eq!(answer.status, 401, "{method} {page}: {}", answer.body);
            assert!(answer.body.contains(why), "{method} {page}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn other_addresses_answer_as_http_does() {
    let world = World::start().await;
    let token = world.token("ann", Agent);
    assert_eq!(world.get("/nothing/here", None).await.status, 404);
    let plain = world.get("/ws/agent", Some(&token)).await;
    assert_eq!(plain.status, 400);
    assert!(plain.body.contains("WebSocket"), "{}", plain.body);
    assert_eq!(world.get("/healthz", None).await.json()["status"], "ok");
    assert_eq!(world.get("/readyz", None).await.json()["ready"], true);
    let old = Request::get("/ws/agent")
        .bearer(Some(&token))
        .header("Connection: Upgrade")
        .header("Upgrade: websocket")
        .header("Sec-WebSocket-Version: 8")
        .send(world.address())
        .await;
    assert_eq!(old.status, 400);
    let post = Request::new("POST", "/api/agents").bearer(Some(&token)).send(world.address()).await;
    assert_eq!(post.status, 405);
}

#[tokio::test]
async fn empty_parts_of_a_path_and_a_slash_at_its_end_mean_nothing() {
    let world = World::start().await;
    let (agent, dashboard) = (world.token("ann", Agent), world.token("ann", Dashboard));
    for path in ["/ws/agent/", "//ws/agent", "//ws//agent//", "/v1/ws/agent/a-1/", "/ws/"] {
        assert_eq!(asked(&world, path, Some(&agent)).await.0, 101, "{path}");
        assert_eq!(asked(&world, path, None).await.0, 401, "{path}");
    }
    assert_eq!(asked(&world, "//ws/dashboard/", Some(&dashboard)).await.0, 101);
    for path in ["//api/agents", "/api/agents/", "/api//commands/", "//healthz", "/readyz/"] {
        assert_eq!(world.get(path, Some(&dashboard)).await.status, 200, "{path}");
    }
    assert_eq!(world.get("/api/agents/", None).await.status, 401);
    for path in ["//", "/ws/agentx", "/api/agents/a/b"] {
        assert_eq!(world.get(path, Some(&dashboard)).await.status, 404, "{path}");
    }
}

/// What a refusal shows that a proxy cannot know.
fn vouched(answer: &Http) -> (Option<&str>, Option<&str>) {
    (answer.header("onsembl-nonce"), answer.header("onsembl-refusal"))
}

#[tokio::test]
async fn a_refusal_repeats_the_nonce_of_the_dial_and_says_why_in_a_word() {
    let world = World::start().await;
    let (revoked, id) = world.token_from("ann", Agent, now());
    revoke(&world, &id);
    for (token, word) in [(None, "unauthorized"), (Some(revoked.as_str()), "forbidden")] {
        for path in ["/ws/agent", "/ws/dashboard", "/api/agents"] {
            let asked = || Request::upgrade(path).bearer(token);
            let word = if path == "/ws/agent" { word } else { "unauthorized" };
            let answer = asked().header("Onsembl-Nonce: abc-1").send(world.address()).await;
            assert_eq!(vouched(&answer), (Some("abc-1"), Some(word)), "{path}");
            let answer = asked().send(world.address()).await;
            assert_eq!(vouched(&answer), (None, None), "{path}: nobody asked");
            let long = format!("Onsembl-Nonce: {}", "x".repeat(65));
            let answer = asked().header(&long).send(world.address()).await;
            assert_eq!(vouched(&answer), (None, None), "{path}: too long");
        }
    }
}

#[tokio::test]
async fn the_scheme_of_a_token_is_read_in_any_case() {
    let world = World::start().await;
    let token = world.token("ann", Agent);
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let asked =
            Request::upgrade("/ws/agent").header(&format!("Authorization: {scheme} {token}"));
        assert_eq!(asked.send(world.address()).await.status, 101, "{scheme}");
    }
}

#[tokio::test]
async fn an_upgrade_over_http_1_0_is_refused_with_what_nginx_needs() {
    let world = World::start().await;
    for (path, kind) in [("/ws/agent", Agent), ("/ws/dashboard", Dashboard)] {
        let token = world.token("ann", kind);
        let answer = Request::upgrade(path).version_1_0().bearer(Some(&token));
        let answer = answer.send(world.address()).await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.body.contains("`proxy_http_version 1.1`"), "{path}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_token_that_is_revoked_ends_its_session() {
    let world = World::start().await;
    let (token, id) = world.token_from("ann", Agent, now());
    let mut link = Peer::open(world.address(), "/ws/agent", Some(&token)).await;
    link.send(extended_hello("key-1", "run-1", &[])).await;
    let _ = link.expect("ACK").await;
    let (mut other, _) = agent(&world, "ann", "key-2", "run-1").await;
    revoke(&world, &id);
    assert_eq!(link.ended().await.code(), 4201);
    assert!(other.all_until_pong().await.iter().all(|m| m["type"] != "ERROR"));
    assert_eq!(asked(&world, "/ws/agent", Some(&token)).await.0, 403);
}

#[tokio::test]
async fn a_revoked_token_does_not_take_the_place_of_a_good_one() {
    let world = World::start().await;
    let (revoked, id) = world.token_from("ann", Dashboard, now());
    revoke(&world, &id);
    let mut dashboard = world.dashboard_link("ann").await;
    dashboard.send(extended_dashboard_hello()).await;
    let _ = dashboard.expect("ACK").await;
    let good = world.token("ann", Dashboard);
    for (token, kind, about) in
        [(revoked, "ERROR", "originalMessageId"), (good, "ACK", "messageId")]
    {
        dashboard.send(format!(
            r#"{{"type":"TOKEN_REFRESH","id":"t","timestamp":1,"payload":{{"accessToken":"{token}"}}}}"#
        ))
        .await;
        let _ = dashboard.expect_that(kind, |answer| answer[about] == "t").await;
    }
}

/// Everything that was logged in this process, at every level.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Captured {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn no_log_line_holds_a_token() {
    let captured = Captured::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(captured.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let world = World::start().await;
    let (revoked, id) = world.token_from("logged-user", Agent, now());
    revoke(&world, &id);
    let long_ago = WallTime::from_unix_millis(1_000_000_000_000);
    let expired = world.token_from("logged-user", Agent, long_ago).0;
    let good = world.token("logged-user", Agent);
    let dashboard = world.token("logged-user", Dashboard);
    let refreshed = world.token("another", Dashboard);
    let nonsense = "marker-nonsense-token".to_owned();
    for token in [&revoked, &expired, &good, &dashboard, &nonsense] {
        for path in ["/ws/agent", "/ws/dashboard", "/api/agents", "/nowhere", "/ws/agent/"] {
            let _ = asked(&world, path, Some(token)).await;
            let _ = asked(&world, &format!("{path}?agentId=x&token={token}"), None).await;
            let _ = world.get(&format!("{path}?token={token}"), Some(token)).await;
        }
    }
    let mut link = Peer::open(world.address(), &format!("/ws/agent?token={good}"), None).await;
    link.send(extended_hello("key-1", "run-1", &[])).await;
    let _ = link.expect("ACK").await;
    let mut watching = world.dashboard_link("logged-user").await;
    watching.send(extended_dashboard_hello()).await;
    let refresh = |token: &str| {
        let token = quoted(token);
        format!(
            r#"{{"type":"TOKEN_REFRESH","id":"t","timestamp":1,"payload":{{"accessToken":{token},"refreshToken":{token},"expiresIn":3600000}}}}"#
        )
    };
    for token in [&refreshed, &dashboard, &nonsense] {
        watching.send(refresh(token)).await;
        link.send(refresh(token)).await;
        watching.send(refresh(token).replace("\"accessToken\"", "\"accessToken\":7,\"x\"")).await;
        let broken = refresh(token);
        link.send(&broken[..broken.len() - 2]).await;
    }
    let _ = link.all_until_pong().await;
    let _ = watching.expect_that("ACK", |a| a["messageId"] == "t").await;
    drop(world);

    let log = String::from_utf8_lossy(&captured.0.lock().unwrap()).into_owned();
    assert!(log.contains("logged-user") && log.contains("was refused"), "it was captured");
    for token in [&revoked, &expired, &good, &dashboard, &refreshed, &nonsense] {
        // The last part of a JSON Web Token is what makes it one.
        let secret = token.rsplit('.').next().unwrap();
        if let Some(line) = log.lines().find(|line| line.contains(secret)) {
            panic!("a token was logged: {line}");
        }
    }
}

/// A reader that follows output has a request that may last for days.
#[tokio::test]
async fn output_is_followed_no_longer_than_the_token_is_good() {
    let world = World::start().await;
    let (mut link, ack) = agent(&world, "ann", "key-1", "run-1").await;
    let id = ack["agentId"].as_str().unwrap().to_owned();
    let mut watching = world.dashboard_link("ann").await;
    watching.send(extended_dashboard_hello()).await;
    watching.send(page_command("cmd-1", &id, "work", &[])).await;
    let _ = link.expect("COMMAND_REQUEST").await;

    let almost_a_day_ago = now().unix_millis() - (24 * 3600 - 3) * 1000;
    let at = WallTime::from_unix_millis(almost_a_day_ago);
    let (expiring, _) = world.token_from("ann", Dashboard, at);
    let (revoked, token_id) = world.token_from("ann", Dashboard, now());
    let path = "/api/commands/cmd-1/output?follow=true";
    let revoking = async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        revoke(&world, &token_id);
    };
    let followed =
        tokio::join!(world.get(path, Some(&expiring)), world.get(path, Some(&revoked)), revoking);
    for answer in [followed.0, followed.1] {
        assert_eq!(answer.status, 200);
        assert!(!answer.body.contains("\"end\""), "the command is not over: {}", answer.body);
    }
}
