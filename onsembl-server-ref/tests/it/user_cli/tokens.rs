//! Tokens: by their user over the API, and by the operator on the data.

use super::Desk;
use crate::fixture::now;
use onsembl_server_ref::auth::TokenKind;
use std::time::Duration;

#[tokio::test]
async fn a_user_lists_and_revokes_own_tokens_and_no_others() {
    let desk = Desk::new().await;
    let made = async |arguments: &[&str]| {
        let made = desk.operate(&[&["token"], arguments, &["-o", "json"]].concat()).await.json();
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        (text("token_id"), text("token"))
    };
    let (own_id, own) = made(&["--user", "ann"]).await;
    let (agent_id, agent) = made(&["--user", "ann", "--agent", "mine"]).await;
    let (others_id, others) = made(&["--user", "bob"]).await;
    let _ = desk.fed(&["login", &desk.url()], &own).await.ok();
    let listed = desk.run(&["token", "list", "-o", "json"]).await.json();
    let ids: Vec<_> =
        listed["tokens"].as_array().unwrap().iter().map(|t| t["token_id"].as_str()).collect();
    assert!(ids.contains(&Some(own_id.as_str())) && ids.contains(&Some(agent_id.as_str())));
    assert!(!ids.contains(&Some(others_id.as_str())), "{listed}");
    let table = desk.run(&["token", "list"]).await.ok();
    assert!(table.contains("in use here") && table.contains("mine"), "{table}");
    assert!(!table.contains(&own) && !table.contains(&agent));
    let said = desk.run(&["token", "revoke", &agent_id[..6]]).await.ok();
    assert!(said.contains(&agent_id) && said.contains("for mine"), "{said}");
    assert_eq!(desk.world.get("/ws/agent", Some(&agent)).await.status, 403);
    let said = desk.run(&["token", "revoke", &others_id]).await;
    assert!(said.code == Some(1) && said.err.contains("no token of yours"), "{said:?}");
    let path = format!("/api/tokens/{others_id}");
    assert_eq!(desk.world.delete(&path, "ann").await.status, 404, "nor past the command line");
    assert_eq!(desk.world.get("/api/token", Some(&others)).await.json()["user"], "bob");
    // The one in use only if that is meant.
    let said = desk.run(&["token", "revoke", &own_id]).await;
    assert!(said.code == Some(1) && said.err.contains("--own"), "{said:?}");
    let said = desk.run(&["token", "revoke", &own_id, "--own"]).await;
    assert!(said.code == Some(0) && said.err.contains("log in again"), "{said:?}");
    let said = desk.run(&["token", "list"]).await;
    assert!(said.code == Some(1) && said.err.contains("403"), "{said:?}");
}

#[tokio::test]
async fn revoke_never_takes_the_token_of_who_asks() {
    let desk = Desk::of_ann().await;
    let token = desk.world.token("ann", TokenKind::Dashboard);
    for words in [&["revoke"][..], &["token", "revoke"]] {
        let mut command = super::program(env!("CARGO_BIN_EXE_onsembl-server"), desk.config.path());
        let _ = command.args(words).env("ONSEMBL_DATA", desk.world.data());
        let said = super::ended(command.env("ONSEMBL_TOKEN", &token)).await;
        assert!(said.code != Some(0) && said.err.contains("--expired"), "{said:?}");
    }
    assert_eq!(desk.run(&["agents"]).await.code, Some(0));
    let (other, id) = desk.world.token_from("ann", TokenKind::Dashboard, now());
    let said = desk.operate(&["revoke", &other]).await;
    assert!(said.code == Some(0) && said.err.contains(&id), "it is named: {said:?}");
}

#[tokio::test]
async fn a_rotated_token_leaves_the_older_one_until_it_is_to_end() {
    let desk = Desk::new().await;
    let first = desk.operate(&["token", "--user", "ann", "-o", "json"]).await.json();
    let id = first["token_id"].as_str().unwrap();
    let said = desk.operate(&["token", "rotate", &id[..8]]).await;
    assert!(said.err.contains("stays valid"), "{said:?}");
    let second = said.ok();
    let open = async |token: &str| desk.world.get("/api/agents", Some(token.trim())).await.status;
    assert_eq!((open(first["token"].as_str().unwrap()).await, open(&second).await), (200, 200));
    let third = desk.operate(&["token", "rotate", id, "--revoke-old"]).await.ok();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!((open(first["token"].as_str().unwrap()).await, open(&third).await), (403, 200));
    let listed = desk.operate(&["token", "list", "--user", "ann", "-o", "name"]).await.ok();
    assert_eq!(listed.lines().count(), 3, "{listed}");
}
