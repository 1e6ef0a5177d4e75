//! `token`, `tokens` and `revoke` as people run them, beside a server and without one.

use crate::fixture::{PATIENCE, World, now};
use crate::frames::extended_hello;
use crate::peer::{Peer, Request};
use onsembl_server_ref::auth::TokenKind;
use serde_json::Value;
use std::process::Stdio;
use tokio::process::Command;
use tokio::time::timeout;

/// Exit code, standard output, standard error.
async fn run(world: &World, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onsembl-server"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ONSEMBL_") {
            let _ = command.env_remove(name);
        }
    }
    let _ = command.args(arguments).arg("--data").arg(world.data());
    let _ = command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.expect("an end").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

async fn ok(world: &World, arguments: &[&str]) -> String {
    let (code, out, err) = run(world, arguments).await;
    assert_eq!(code, Some(0), "{arguments:?}: {err}");
    out
}

/// A token, and its id.
async fn token(world: &World, arguments: &[&str]) -> (String, String) {
    let (code, out, err) = run(world, &[&["token"], arguments].concat()).await;
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(out.lines().count(), 1, "the token and nothing else: {out}");
    let id = err.lines().find_map(|line| line.strip_prefix("token ")).unwrap().to_owned();
    (out.trim().to_owned(), id)
}

async fn status(world: &World, token: &str) -> u16 {
    Request::upgrade("/ws/agent").bearer(Some(token)).send(world.address()).await.status
}

async fn session(world: &World, token: &str, key: &str) -> Peer {
    let mut link = Peer::open(world.address(), "/ws/agent", Some(token)).await;
    link.send(extended_hello(key, "run", &[])).await;
    let _ = link.expect("ACK").await;
    link
}

fn row<'a>(listed: &'a Value, id: &str) -> &'a Value {
    let rows = listed["tokens"].as_array().unwrap();
    rows.iter().find(|row| row["token_id"] == id).unwrap_or_else(|| panic!("{id} in {listed}"))
}

#[tokio::test]
async fn a_token_says_in_the_list_for_whom_it_is_and_what_was_done_with_it() {
    let mut world = World::start().await;
    let (agents, id) = token(&world, &["--user", "ann", "--agent", "name of key-1"]).await;
    let (_, idle) = token(&world, &["--user", "ann", "--kind", "agent"]).await;
    let (page, page_id) = token(&world, &["--user", "ann"]).await;
    let (signed, signed_id) = world.token_from("ann", TokenKind::Agent, now());
    let _link = session(&world, &agents, "key-1").await;
    let _other = session(&world, &signed, "key-2").await;
    assert_eq!(world.get("/api/agents", Some(&page)).await.status, 200);
    assert_eq!(world.get("/api/agents", Some(&agents)).await.status, 401, "of the other kind");
    // What was gathered is written when the server ends, if not before.
    world.stop().await;
    let listed: Value =
        serde_json::from_str(&ok(&world, &["tokens", "--user", "ann", "--json"]).await).unwrap();
    let one = row(&listed, &id);
    assert_eq!((&one["state"], &one["made_for"]), (&"good".into(), &"name of key-1".into()));
    assert_eq!(one["holds"], serde_json::json!(["name of key-1"]));
    assert!(one["shown_from"].as_str().unwrap().starts_with("127.0.0.1:"), "{one}");
    assert_eq!(row(&listed, &idle)["state"], "unused");
    assert_eq!(row(&listed, &page_id)["kind"], "dashboard");
    let signed = row(&listed, &signed_id);
    assert_eq!((&signed["form"], &signed["state"]), (&"signed".into(), &"good".into()));
    let text = ok(&world, &["tokens", "--user", "ann"]).await;
    for shown in ["ID", "LAST SHOWN", &id, "name of key-1", "any agent", "unused"] {
        assert!(text.contains(shown), "{shown} is in {text}");
    }
    let done = ok(&world, &["tokens", &id]).await;
    assert!(done.contains("OPENED") && done.contains("127.0.0.1:"), "{done}");
    assert!(!text.contains(&agents) && !done.contains(&agents), "the token itself is not known");
}

#[tokio::test]
async fn a_renewed_token_goes_on_with_the_agent_of_the_one_before() {
    let world = World::start().await;
    let (first, id) = token(&world, &["--user", "ann", "--agent", "name of key-1"]).await;
    let _link = session(&world, &first, "key-1").await;
    let (second, newer) = token(&world, &["--renew", &id]).await;
    let (third, _) = token(&world, &["--renew", &second]).await;
    assert_ne!(id, newer);
    for token in [&second, &first, &third] {
        let _link = session(&world, token, "key-1").await;
    }
    // The same of a signed token that no server has seen.
    let (signed, _) = world.token_from("ann", TokenKind::Agent, now());
    let (renewed, _) = token(&world, &["--renew", &signed]).await;
    let _link = session(&world, &signed, "key-2").await;
    let _link = session(&world, &renewed, "key-2").await;
    let (code, _, err) = run(&world, &["token", "--renew", "nonsense"]).await;
    assert!(code == Some(1) && err.contains("onsembl-server tokens"), "{err}");
}

#[tokio::test]
async fn tokens_are_revoked_by_id_by_agent_and_by_user() {
    let world = World::start().await;
    let (by_id, id) = token(&world, &["--user", "ann", "--kind", "agent"]).await;
    let (itself, _) = token(&world, &["--user", "ann", "--kind", "agent"]).await;
    let (of_agent, _) = token(&world, &["--user", "ann", "--kind", "agent"]).await;
    let (page, _) = token(&world, &["--user", "ann"]).await;
    let (unseen, _) = world.token_from("ann", TokenKind::Agent, now());
    let (others, _) = token(&world, &["--user", "bob", "--kind", "agent"]).await;
    let mut link = session(&world, &of_agent, "key-1").await;
    let _ = ok(&world, &["revoke", &id]).await;
    let _ = ok(&world, &["revoke", &itself]).await;
    assert_eq!((status(&world, &by_id).await, status(&world, &itself).await), (403, 403));
    assert_eq!(status(&world, &of_agent).await, 101);
    let _ = ok(&world, &["revoke", "--user", "ann", "--agent", "name of key-1"]).await;
    assert_eq!(status(&world, &of_agent).await, 403);
    assert_eq!(link.ended().await.code(), 4201);
    assert_eq!(status(&world, &unseen).await, 101);
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let _ = ok(&world, &["revoke", "--user", "ann", "--all"]).await;
    assert_eq!(status(&world, &unseen).await, 403, "also what was never listed");
    assert_eq!(world.get("/api/agents", Some(&page)).await.status, 403);
    assert_eq!(status(&world, &others).await, 101);
    let (after, _) = token(&world, &["--user", "ann", "--kind", "agent"]).await;
    assert_eq!(status(&world, &after).await, 101, "newer ones are good");
    let (code, _, err) = run(&world, &["revoke", "nonsense"]).await;
    assert!(code == Some(1) && err.contains("onsembl-server tokens"), "{err}");
    let (code, _, err) = run(&world, &["revoke"]).await;
    assert!(code == Some(1) && err.contains("--expired"), "{err}");
}

#[tokio::test]
async fn a_user_has_so_many_tokens_and_is_told_what_to_do_about_it() {
    let world = World::start().await;
    let fill = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1024)
                INSERT INTO tokens (token_id, user_id, kind, lineage, hash, made_at, expires_at)
                SELECT 't' || n, 'ann', 'agent', 't' || n, x'00', n, 32503680000000 FROM n";
    let _ = world.database().execute(fill, []).unwrap();
    let (code, _, err) = run(&world, &["token", "--user", "ann"]).await;
    assert_eq!(code, Some(1));
    assert!(err.contains("1024") && err.contains("revoke ID"), "{err}");
    let _ = token(&world, &["--user", "bob"]).await;
    // A revoked one makes room, and is good for nothing afterwards either.
    let _ = ok(&world, &["revoke", "t7"]).await;
    let _ = token(&world, &["--user", "ann"]).await;
    let kept = |id: &str| {
        let kept = "SELECT count(*) FROM tokens WHERE token_id = ?1 AND user_id = 'ann'";
        world.database().query_row(kept, [id], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(kept("t7"), 0);
    let (code, _, _) = run(&world, &["token", "--user", "ann"]).await;
    assert_eq!(code, Some(1));
    // And so does one that has expired, the oldest first; nothing needs to be cleared away by hand.
    let expired = "UPDATE tokens SET expires_at = made_at WHERE token_id IN ('t20', 't21')";
    let _ = world.database().execute(expired, []).unwrap();
    let _ = token(&world, &["--user", "ann"]).await;
    assert_eq!((kept("t20"), kept("t21")), (0, 1));
    let _ = ok(&world, &["revoke", "--expired"]).await;
    assert_eq!(kept("t21"), 0);
    let _ = token(&world, &["--user", "ann"]).await;
}

#[tokio::test]
async fn a_token_that_is_not_known_here_or_damaged_is_refused() {
    let world = World::start().await;
    let (good, id) = token(&world, &["--user", "ann", "--kind", "agent"]).await;
    let forged = format!("onsembl_agent_{id}_{}", "0".repeat(64));
    let other = good.replace("_agent_", "_dashboard_");
    for bad in [&good[..good.len() - 1], &forged, &other] {
        assert_eq!(status(&world, bad).await, 401, "{bad}");
    }
    let (elsewhere, _) = token(&World::start().await, &["--user", "ann", "--kind", "agent"]).await;
    assert_eq!(status(&world, &elsewhere).await, 401);
    assert_eq!(status(&world, &good).await, 101);
    let held = world.database().query_row(
        "SELECT count(*) FROM tokens WHERE instr(?1, hex(hash)) > 0 OR token_id = ?1",
        [&good],
        |row| row.get::<_, i64>(0),
    );
    assert_eq!(held.unwrap(), 0, "what is stored is not what is shown");
    let expired = "UPDATE tokens SET expires_at = 1 WHERE token_id = ?1";
    let _ = world.database().execute(expired, [&id]).unwrap();
    assert_eq!(status(&world, &good).await, 401);
}

/// To a clock that is ahead by 400 days, the time that the server has observed looks 400 days old.
#[tokio::test]
async fn nothing_that_cannot_be_taken_back_hangs_on_a_clock_that_is_ahead() {
    let mut world = World::start().await;
    let (kept, _) = token(&world, &["--user", "ann", "--kind", "agent", "--ttl", "30d"]).await;
    world.stop().await;
    let ahead = 400 * 24 * 3600 * 1000_i64;
    let older = format!(
        "UPDATE meta SET value = value - {ahead} WHERE key = 'retention_clock';
         UPDATE tokens SET made_at = made_at - {ahead}, expires_at = expires_at - {ahead};"
    );
    world.database().execute_batch(&older).unwrap();
    let (code, _, err) = run(&world, &["revoke", "--user", "ann", "--all"]).await;
    assert!(code == Some(1) && err.contains("--force") && err.lines().count() == 1, "{err}");
    let (_, _, err) = run(&world, &["revoke", "--expired"]).await;
    assert!(err.starts_with("0 tokens"), "{err}");
    let (_, _, err) = run(&world, &["revoke", "--user", "ann", "--all", "--force"]).await;
    assert!(err.starts_with("1 token "), "{err}");
    assert!(kept.starts_with("onsembl_agent_"));
}
