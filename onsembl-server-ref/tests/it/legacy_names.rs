//! Several wrappers of one machine: they share the id of one configuration file, and are told apart by their
//! names.

use crate::fixture::World;
use crate::frames::{named_wrapper_hello, wrapper_hello};
use crate::peer::Peer;
use serde_json::json;

const SHARED: &str = "claude-x";

async fn named(world: &World, id: &str, name: Option<&str>) -> (Peer, String) {
    let mut link = world.agent_link("ann").await;
    link.send(match name {
        Some(name) => named_wrapper_hello(id, name),
        None => wrapper_hello(id),
    })
    .await;
    let taught = link.expect("ACK").await["agentId"].as_str().unwrap().to_owned();
    (link, taught)
}

/// Name and status of each agent.
async fn listed(world: &World) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let mut agents: Vec<_> =
        world.agents("ann").await.iter().map(|a| (text(&a["name"]), text(&a["status"]))).collect();
    agents.sort();
    agents
}

#[tokio::test]
async fn another_name_on_the_id_of_an_agent_in_session_is_another_agent() {
    let mut world = World::start().await;
    let (mut one, first) = named(&world, SHARED, Some("one")).await;
    let (mut two, second) = named(&world, SHARED, Some("two")).await;
    let (mut plain, third) = named(&world, SHARED, None).await;
    assert!(first != second && second != third && third != first, "three agents");
    for link in [&mut one, &mut two, &mut plain] {
        let heard = link.all_until_pong().await;
        assert!(heard.iter().all(|m| m["type"] == "PING"), "{heard:#?}");
    }
    let online = |name: &str| (name.to_owned(), "online".to_owned());
    assert_eq!(listed(&world).await, [online(SHARED), online("one"), online("two")]);
    // They come back as themselves, by the id that they were taught and by their names.
    world.restart_heard_by(&mut [&mut one, &mut two, &mut plain]).await;
    let (_two, by_name) = named(&world, SHARED, Some("two")).await;
    let (_one, by_taught) = named(&world, &first, Some("one")).await;
    assert_eq!((by_name, by_taught), (second, first));
}

#[tokio::test]
async fn one_that_comes_when_the_other_is_gone_was_renamed_and_the_former_name_is_free() {
    let world = World::start().await;
    let (one, first) = named(&world, SHARED, Some("one")).await;
    one.close(Some(1000)).await;
    let _ = world.agent_is("ann", "offline").await;
    let (mut two, same) = named(&world, SHARED, Some("two")).await;
    assert_eq!(same, first);
    let (mut one, other) = named(&world, SHARED, Some("one")).await;
    assert_ne!(other, first);
    for link in [&mut one, &mut two] {
        let heard = link.all_until_pong().await;
        assert!(heard.iter().all(|m| m["type"] == "PING"), "{heard:#?}");
    }
}

#[tokio::test]
async fn two_without_names_do_not_fight() {
    let world = World::start().await;
    let (mut one, first) = named(&world, SHARED, None).await;
    let (mut again, _) = named(&world, &first, None).await;
    let (mut two, same) = named(&world, SHARED, None).await;
    assert_eq!(same, first);
    for link in [&mut one, &mut again, &mut two] {
        let heard = link.all_until_pong().await;
        assert!(heard.iter().all(|m| m["type"] == "PING"), "{heard:#?}");
    }
}

#[tokio::test]
async fn a_wrapper_without_a_name_keeps_the_one_that_it_is_shown_by() {
    let world = World::start().await;
    let (link, id) = named(&world, SHARED, None).await;
    link.close(None).await;
    let _ = world.agent_is("ann", "reconnecting").await;
    let (_link, same) = named(&world, &id, None).await;
    assert_eq!(same, id);
    assert_eq!(world.agent_is("ann", "online").await["name"], json!(SHARED));
    let stored = format!("SELECT name FROM agents WHERE agent_id = '{id}'");
    world.stored_when(&stored, SHARED).await;
}
