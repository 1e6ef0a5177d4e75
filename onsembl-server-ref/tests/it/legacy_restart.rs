//! What is known of a wrapper and its commands after a restart of the server or of the wrapper.

use crate::fixture::World;
use crate::frames::{dashboard_hello, page_command, wrapper_output};
use crate::legacy_agent::wrapper;
use crate::peer::Peer;
use serde_json::Value;

const OWN_ID: &str = "mock-1";

async fn dashboard(world: &World) -> Peer {
    let mut link = world.dashboard_link("ann").await;
    link.send(dashboard_hello("ann")).await;
    let _ = link.expect("ACK").await;
    link
}

async fn because(dashboard: &mut Peer, command: &str, word: &str) -> Value {
    let wanted = |s: &Value| {
        s["commandId"] == command && s["because"].as_str().is_some_and(|b| b.contains(word))
    };
    dashboard.expect_that("COMMAND_STATUS", wanted).await
}

/// A wrapper with a command that it runs.
async fn working(world: &World) -> (Peer, String, Peer) {
    let (mut link, id) = wrapper(world, "ann", OWN_ID).await;
    let mut dashboard = dashboard(world).await;
    dashboard.send(page_command("cmd-1", &id, "work", &[])).await;
    let _ = link.expect("COMMAND_REQUEST").await;
    (link, id, dashboard)
}

/// Wrappers of that age go by their own id forever.
#[tokio::test]
async fn a_wrapper_that_keeps_its_own_id_is_the_same_process_after_a_restart_of_the_server() {
    let mut world = World::start().await;
    let (mut link, _, mut watching) = working(&world).await;
    link.send(wrapper_output("cmd-1", OWN_ID, 1, "before\n")).await;
    let _ = watching.expect("TERMINAL_STREAM").await;
    world.restart_heard_by(&mut [&mut link, &mut watching]).await;
    let mut watching = dashboard(&world).await;
    let _ = because(&mut watching, "cmd-1", "server restarted").await;
    let (mut link, _) = wrapper(&world, "ann", OWN_ID).await;
    let back = because(&mut watching, "cmd-1", "the link to the agent is back").await;
    assert_eq!(back["status"], "running");
    link.send(wrapper_output("cmd-1", OWN_ID, 2, "after\n")).await;
    let on = because(&mut watching, "cmd-1", "sent to a legacy agent").await;
    assert_eq!(on["status"], "running");
}

/// One that took the id it was taught says that one; its next process begins with its own again.
#[tokio::test]
async fn a_wrapper_that_took_the_taught_id_is_told_from_its_next_process() {
    for restarts in [false, true] {
        let mut world = World::start().await;
        let (mut link, id, mut watching) = working(&world).await;
        link.send(wrapper_output("cmd-1", &id, 1, "going by the taught id\n")).await;
        let _ = watching.expect("TERMINAL_STREAM").await;
        let alias = format!("SELECT alias FROM agent_aliases WHERE alias = '{id}'");
        world.stored_when(&alias, &id).await;
        if restarts {
            world.restart_heard_by(&mut [&mut link, &mut watching]).await;
        } else {
            drop(link);
            let _ = world.agent_is("ann", "reconnecting").await;
        }
        let mut watching = dashboard(&world).await;
        let (_next, same) = wrapper(&world, "ann", OWN_ID).await;
        assert_eq!(same, id);
        let _ = because(&mut watching, "cmd-1", "the agent process that had it is gone").await;
        world
            .stored_when("SELECT status FROM commands WHERE command_id = 'cmd-1'", "unknown")
            .await;
    }
}

#[tokio::test]
async fn it_is_found_by_ids_that_it_went_by_before_a_restart() {
    let mut world = World::start().await;
    let (mut link, id) = wrapper(&world, "ann", OWN_ID).await;
    world.restart_heard_by(&mut [&mut link]).await;
    let (mut link, same) = wrapper(&world, "ann", &id).await;
    assert_eq!(same, id);
    let mut watching = dashboard(&world).await;
    watching.send(page_command("cmd-1", OWN_ID, "work", &[])).await;
    assert_eq!(link.expect("COMMAND_REQUEST").await["commandId"], "cmd-1");
    // What it writes under that id is its own monitoring output.
    link.send(wrapper_output(OWN_ID, OWN_ID, 1, "beside\n")).await;
    let tab = format!("agent-session-{id}");
    let _ = watching.expect_that("TERMINAL_STREAM", |s| s["commandId"] == tab.as_str()).await;
}
