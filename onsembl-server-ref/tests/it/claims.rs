//! Whose tokens may speak for an agent, over real sockets: what a caller gets with a token of another lineage,
//! and what the holder of the agent notices of it.

use crate::fixture::{World, now};
use crate::frames::{
    extended_dashboard_hello, extended_hello, named_wrapper_hello, page_command, wrapper_hello,
};
use crate::peer::{Peer, Request};
use crate::tokens::revoke;
use crate::why::{drops, why_when};
use onsembl_protocol::id::{AgentId, TokenId};
use onsembl_server_ref::auth::TokenKind;
use serde_json::Value;

/// Sends this hello with this token.
async fn comes(world: &World, token: &str, hello: String) -> Peer {
    let mut link = Peer::open(world.address(), "/ws/agent", Some(token)).await;
    link.send(hello).await;
    link
}

async fn welcomed(world: &World, token: &str, hello: String) -> (Peer, String) {
    let mut link = comes(world, token, hello).await;
    let id = link.expect("ACK").await["agentId"].as_str().unwrap().to_owned();
    (link, id)
}

/// Why it is refused.
async fn refused(world: &World, token: &str, hello: String) -> String {
    let mut link = comes(world, token, hello).await;
    let error = link.expect("ERROR").await;
    assert_eq!(error["code"], "UNAUTHORIZED", "{error}");
    assert_eq!(link.ended().await.code(), 4105);
    error["message"].as_str().unwrap().to_owned()
}

async fn door(world: &World, path: &str, token: &str) -> (u16, String) {
    let answer = Request::upgrade(path).bearer(Some(token)).send(world.address()).await;
    (answer.status, answer.body)
}

/// It is in session, and nothing was said to it that is not about that.
async fn is_undisturbed(link: &mut Peer) {
    let quiet = ["PING", "SERVER_HEARTBEAT"];
    let heard = link.all_until_pong().await;
    assert!(heard.iter().all(|m| quiet.contains(&m["type"].as_str().unwrap())), "{heard:#?}");
}

fn key(key: &str) -> String {
    extended_hello(key, &format!("run of {key}"), &[])
}

/// The tokens of this test are those that an earlier version made.
#[tokio::test]
async fn a_leaked_token_takes_over_no_agent_and_the_holder_notices_nothing() {
    let mut world = World::start().await;
    let (mine, of_mine) = world.token_from("ann", TokenKind::Agent, now());
    let (leaked, _) = world.token_from("ann", TokenKind::Agent, now());
    let (mut link, id) = welcomed(&world, &mine, key("key-1")).await;
    let (mut wrapper, taught) =
        welcomed(&world, &mine, named_wrapper_hello("claude-x", "one")).await;
    let before = world.agents("ann").await;
    for hello in [
        key("key-1"),
        wrapper_hello(&id),
        wrapper_hello(&taught),
        named_wrapper_hello("claude-y", "one"),
    ] {
        let why = refused(&world, &leaked, hello).await;
        assert!(why.contains(&of_mine), "the holder is named: {why}");
    }
    is_undisturbed(&mut link).await;
    is_undisturbed(&mut wrapper).await;
    let about = |agents: &[Value]| -> Vec<_> {
        agents
            .iter()
            .map(|a| (a["agent_id"].clone(), a["since"].clone(), a["status"].clone()))
            .collect()
    };
    assert_eq!(about(&world.agents("ann").await), about(&before));
    // Who has the id needs no hello to be refused, and is told so by this server and no proxy.
    for id in [&id, &taught] {
        let path = format!("/ws/agent?agentId={id}");
        let asked = Request::upgrade(&path).bearer(Some(&leaked)).header("Onsembl-Nonce: n");
        let answer = asked.send(world.address()).await;
        assert_eq!((answer.status, answer.header("onsembl-refusal")), (401, Some("unauthorized")));
        assert!(answer.body.contains(&of_mine), "{}", answer.body);
        assert_eq!(door(&world, &path, &mine).await.0, 101);
    }
    world.restart_heard_by(&mut [&mut link, &mut wrapper]).await;
    let _ = refused(&world, &leaked, key("key-1")).await;
    let (_link, same) = welcomed(&world, &mine, key("key-1")).await;
    assert_eq!(same, id);
}

#[tokio::test]
async fn commands_for_a_name_do_not_go_to_who_goes_by_it() {
    let world = World::start().await;
    let (leaked, _) = world.token_from("ann", TokenKind::Agent, now());
    let name = "name of key-1";
    // It was there first, and the agent takes its name anyway.
    let (mut early, _) = welcomed(&world, &leaked, named_wrapper_hello(name, "harmless")).await;
    let token = world.token("ann", TokenKind::Agent);
    let (mut link, _) = welcomed(&world, &token, key("key-1")).await;
    let (mut late, _) = welcomed(&world, &leaked, named_wrapper_hello(name, "harmless too")).await;
    let mut watching = world.dashboard_link("ann").await;
    watching.send(extended_dashboard_hello()).await;
    let _ = watching.expect("ACK").await;
    watching.send(page_command("cmd-1", name, "deploy --password=s3cret", &[])).await;
    assert_eq!(link.expect("COMMAND_REQUEST").await["commandId"], "cmd-1");
    is_undisturbed(&mut early).await;
    is_undisturbed(&mut late).await;
    // Who is called so gets it neither, not even while the agent is away.
    let second = key("key-2").replace("name of key-2", name);
    let (mut rogue, _) = welcomed(&world, &leaked, second).await;
    link.close(None).await;
    watching.send(page_command("cmd-2", name, "deploy", &[])).await;
    let error = watching.expect("ERROR").await;
    assert_eq!(error["code"], "AGENT_AMBIGUOUS", "{error}");
    is_undisturbed(&mut rogue).await;
}

#[tokio::test]
async fn a_token_for_one_agent_is_bound_to_its_key_at_its_first_use() {
    let mut world = World::start().await;
    let made = world.made("ann", Some("name of key-1")).await;
    let why = refused(&world, &made.text, key("key-2")).await;
    assert!(why.contains("name of key-1") && why.contains("name of key-2"), "{why}");
    let (mut link, id) = welcomed(&world, &made.text, key("key-1")).await;
    let copied = key("key-2").replace("name of key-2", "name of key-1");
    let why = refused(&world, &made.text, copied.clone()).await;
    assert!(why.contains("key"), "{why}");
    let _ = refused(&world, &made.text, wrapper_hello(&id)).await;
    is_undisturbed(&mut link).await;
    world.restart_heard_by(&mut [&mut link]).await;
    let _ = refused(&world, &made.text, copied).await;
    let (_link, same) = welcomed(&world, &made.text, key("key-1")).await;
    assert_eq!(same, id);
    assert_eq!(world.held_by("ann").await, made.id.as_str());
}

/// Commands, and an emergency stop, find an agent by its name.
#[tokio::test]
async fn the_name_for_which_a_token_was_made_is_that_agents_alone() {
    let mut world = World::start().await;
    let (leaked, _) = world.token_from("ann", TokenKind::Agent, now());
    let others = world.token("bob", TokenKind::Agent);
    let made = world.made("ann", Some("name of key-1")).await;
    let named = |key_of: &str| key(key_of).replace(&format!("name of {key_of}"), "name of key-1");
    let wrapper = named_wrapper_hello("one", "name of key-1");
    // Before its agent was ever there, while it is, and while it is away.
    for hello in [named("key-2"), wrapper.clone()] {
        let why = refused(&world, &leaked, hello).await;
        assert!(why.contains(made.id.as_str()) && why.contains("is reserved for"), "{why}");
    }
    let (mut link, id) = welcomed(&world, &made.text, key("key-1")).await;
    let _ = refused(&world, &leaked, named("key-2")).await;
    // One that has another name cannot take it later either.
    let (second, _) = welcomed(&world, &leaked, key("key-2")).await;
    drop(second);
    let _ = refused(&world, &leaked, named("key-2")).await;
    is_undisturbed(&mut link).await;
    world.restart_heard_by(&mut [&mut link]).await;
    let _ = refused(&world, &leaked, named("key-3")).await;
    let (_link, same) = welcomed(&world, &made.text, key("key-1")).await;
    assert_eq!(same, id);
    // It is of this user only, and free once no token is there for it.
    let _ = welcomed(&world, &others, named("key-4")).await;
    let ended =
        "INSERT INTO revoked_tokens (token_id, revoked_at, note) SELECT token_id, 1, '' FROM tokens
                 WHERE agent_name IS NOT NULL";
    let _ = world.database().execute(ended, []).unwrap();
    let _ = welcomed(&world, &leaked, named("key-5")).await;
}

#[tokio::test]
async fn a_token_for_an_agent_that_exists_passes_it_on_with_its_first_use() {
    let world = World::start().await;
    let (old, old_id) = world.token_from("ann", TokenKind::Agent, now());
    let (mut link, id) = welcomed(&world, &old, key("key-1")).await;
    let made = world.made("ann", Some("name of key-1")).await;
    assert_eq!(made.takes.as_ref().map(AgentId::as_str), Some(id.as_str()));
    assert_eq!(made.from.as_ref().map(TokenId::as_str), Some(old_id.as_str()));
    is_undisturbed(&mut link).await;
    assert_eq!(door(&world, "/ws/agent", &old).await.0, 101, "until then nothing changes");
    let (mut new, same) = welcomed(&world, &made.text, key("key-1")).await;
    assert_eq!(same, id);
    assert_eq!(link.ended().await.code(), 4101, "it is the same process");
    assert_eq!(door(&world, "/ws/agent", &old).await.0, 403, "it held no other agent");
    is_undisturbed(&mut new).await;
    // Another machine takes it over, with a key of its own, and the one before is out.
    let again = world.made("ann", Some(&id)).await;
    let unused = world.made("ann", Some(&id)).await;
    assert_eq!(door(&world, "/ws/agent", &again.text).await.0, 403, "a newer one was made");
    let moved = key("key-9").replace("name of key-9", "name of key-1");
    let (mut there, same) = welcomed(&world, &unused.text, moved).await;
    assert_eq!(same, id);
    assert_eq!(door(&world, "/ws/agent", &made.text).await.0, 403);
    is_undisturbed(&mut there).await;
    assert_eq!(world.agents("ann").await.len(), 1);
}

#[tokio::test]
async fn an_agent_that_is_deleted_does_not_come_back_under_a_new_key() {
    let world = World::start().await;
    let made = world.made("ann", Some("name of key-1")).await;
    let (rogue, _) = world.token_from("ann", TokenKind::Agent, now());
    let (shared, _) = world.token_from("ann", TokenKind::Agent, now());
    let (mut one, first) = welcomed(&world, &made.text, key("key-1")).await;
    let (mut two, second) = welcomed(&world, &rogue, key("key-2")).await;
    let (mut three, third) = welcomed(&world, &shared, key("key-3")).await;
    let (mut four, _) = welcomed(&world, &shared, key("key-4")).await;
    for (id, link) in [(first, &mut one), (second, &mut two), (third, &mut three)] {
        assert_eq!(world.delete(&format!("/api/agents/{id}"), "ann").await.status, 204);
        assert_eq!(link.ended().await.code(), 4202);
    }
    for token in [&made.text, &rogue] {
        assert_eq!(door(&world, "/ws/agent", token).await.0, 403);
    }
    // This one holds another agent, which continues.
    is_undisturbed(&mut four).await;
    assert_eq!(door(&world, "/ws/agent", &shared).await.0, 101);
}

#[tokio::test]
async fn agents_of_an_earlier_version_are_claimed_by_the_first_token_that_comes() {
    let mut world = World::start().await;
    let (mut link, id) =
        welcomed(&world, &world.token("ann", TokenKind::Agent), key("key-1")).await;
    let forget = "UPDATE agents SET lineage = NULL, held_by = NULL";
    let _ = world.database().execute(forget, []).unwrap();
    world.restart_heard_by(&mut [&mut link]).await;
    assert_eq!(world.held_by("ann").await, Value::Null);
    let (first, _) = world.token_from("ann", TokenKind::Agent, now());
    let (mut link, same) = welcomed(&world, &first, key("key-1")).await;
    assert_eq!(same, id);
    let _ = refused(&world, &world.token("ann", TokenKind::Agent), key("key-1")).await;
    is_undisturbed(&mut link).await;
}

#[tokio::test]
async fn what_the_fleet_did_not_know_the_database_refuses() {
    let world = World::start().await;
    let made = world.made("ann", Some("name of key-1")).await;
    // Both links are let in before the token is bound.
    let mut one = Peer::open(world.address(), "/ws/agent", Some(&made.text)).await;
    let mut two = Peer::open(world.address(), "/ws/agent", Some(&made.text)).await;
    one.send(key("key-1")).await;
    let _ = one.expect("ACK").await;
    two.send(key("key-2").replace("name of key-2", "name of key-1")).await;
    assert_eq!(
        two.expect("ERROR").await["code"],
        "UNAUTHORIZED",
        "nothing is wrong with the store"
    );
    assert_eq!(two.ended().await.code(), 4105);
    is_undisturbed(&mut one).await;
    assert_eq!(world.agents("ann").await.len(), 1);
}

#[tokio::test]
async fn an_agent_that_is_turned_away_is_told_of_and_strangers_change_nothing_of_that() {
    let world = World::start().await;
    let (mine, id_of_mine) = world.token_from("ann", TokenKind::Agent, now());
    let (bobs, id_of_bobs) = world.token_from("bob", TokenKind::Agent, now());
    let (link, id) = welcomed(&world, &mine, key("key-1")).await;
    drop(link);
    let _ = world.agent_is("ann", "reconnecting").await;
    revoke(&world, &id_of_bobs);
    let path = format!("/ws/agent?agentId={id}");
    assert_eq!(door(&world, &path, &bobs).await.0, 403);
    assert_eq!(door(&world, &path, "nonsense").await.0, 401);
    let fell = |said: &Value| drops(said).len() == 1;
    let said = why_when(&world, "ann", &id, fell).await;
    assert_eq!(drops(&said), [("unknown", "low", false)], "{said}");
    revoke(&world, &id_of_mine);
    for _ in 0..2 {
        assert_eq!(door(&world, &path, &mine).await.0, 403);
    }
    let said = why_when(&world, "ann", &id, fell).await;
    assert_eq!(drops(&said), [("token-revoked", "high", false)], "{said}");
    assert_eq!(said["now"]["cause"], "token-revoked");
    assert_eq!(said["drops"][0]["evidence"]["turned_away"], 2, "{said}");
}
