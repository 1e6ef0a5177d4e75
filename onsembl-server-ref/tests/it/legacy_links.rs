//! The links of an existing wrapper. It takes the end of any of them for the end of the one that it uses, and
//! dials again. So the server closes none of them while it has another use than that.

use crate::fixture::{World, fast};
use crate::frames::{dashboard_hello, extended_hello, page_command, wrapper_hello, wrapper_output};
use crate::legacy_agent::wrapper;
use crate::peer::{Peer, Request};
use onsembl_server_ref::auth::TokenKind;
use serde_json::{Value, json};
use std::time::Duration;

/// Longer than the server waits for a hello.
const PAST_THE_HELLO: Duration = Duration::from_secs(12);

/// A link that names an agent in its query, as a wrapper's does.
async fn naming(world: &World, user: &str, agent: &str) -> Peer {
    let token = world.token(user, TokenKind::Agent);
    Peer::open(world.address(), &format!("/ws/agent?agentId={agent}"), Some(&token)).await
}

/// It is open, and nothing was said over it but what belongs to a session in which no more is said.
async fn is_parked(link: &mut Peer) {
    let heard = link.all_until_pong().await;
    assert!(heard.iter().all(|m| m["type"] == "PING"), "{heard:#?}");
}

async fn is_open(link: &mut Peer) {
    let _whatever = link.all_until_pong().await;
}

async fn status_of(world: &World, agent: &str, path: &str) -> u16 {
    let token = world.token("ann", TokenKind::Agent);
    let door = Request::upgrade(&format!("{path}?agentId={agent}")).bearer(Some(&token));
    door.send(world.address()).await.status
}

/// Waits until there is room for another link of this agent.
async fn is_accepted(world: &World, id: &str) {
    let accepted = async {
        while status_of(world, id, "/ws/agent").await != 101 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), accepted).await.expect("there is room again");
}

#[tokio::test]
async fn its_older_link_is_parked_and_what_was_on_its_way_there_counts() {
    let world = World::start().await;
    let (mut old, id) = wrapper(&world, "ann", "mock-1").await;
    let mut dashboard = world.dashboard_link("ann").await;
    dashboard.send(dashboard_hello("ann")).await;
    let _ = dashboard.expect("ACK").await;
    dashboard.send(page_command("cmd-1", &id, "work", &[])).await;
    let _ = old.expect("COMMAND_REQUEST").await;
    let (mut new, same) = wrapper(&world, "ann", &id).await;
    assert_eq!(id, same);
    is_parked(&mut old).await;
    old.send(wrapper_output("cmd-1", &id, 1, "over the old link\n")).await;
    let of_it = |s: &Value| s["commandId"] == "cmd-1";
    let shown = dashboard.expect_that("TERMINAL_STREAM", of_it).await;
    assert!(shown.to_string().contains("over the old link"), "{shown}");
    dashboard.send(page_command("cmd-2", &id, "more", &[])).await;
    assert_eq!(new.expect("COMMAND_REQUEST").await["commandId"], "cmd-2");
    is_parked(&mut old).await;
    old.close(None).await;
    is_open(&mut new).await;
    assert_eq!(world.agent("ann").await["status"], "online");
}

#[tokio::test]
async fn another_process_of_the_same_name_takes_over_and_the_two_do_not_fight() {
    let world = World::start().await;
    let (mut one, id) = wrapper(&world, "ann", "mock-1").await;
    let (mut again, _) = wrapper(&world, "ann", &id).await;
    // A process that starts says the id of its configuration, and not the one that the other was taught.
    let (mut other, same) = wrapper(&world, "ann", "mock-1").await;
    assert_eq!(same, id);
    for link in [&mut one, &mut again, &mut other] {
        is_parked(link).await;
    }
    let agent = world.agent("ann").await;
    assert_eq!(agent["status"], "online");
    assert_eq!(agent["because"], "another process of the same agent took over");
}

#[tokio::test]
async fn the_session_of_a_parked_link_is_over_in_the_database() {
    let world = World::start().await;
    let (_old, id) = wrapper(&world, "ann", "mock-1").await;
    let (_new, _) = wrapper(&world, "ann", &id).await;
    let open = "SELECT CAST(count(*) AS TEXT) FROM sessions WHERE closed_at IS NULL";
    world.stored_when(open, "1").await;
}

#[tokio::test]
async fn at_the_bound_the_door_refuses_and_no_older_link_is_closed() {
    let world = World::start().await;
    let (first, id) = wrapper(&world, "ann", "mock-1").await;
    let mut links = vec![first];
    for _ in 0..4 {
        let (link, _) = wrapper(&world, "ann", &id).await;
        links.push(link);
    }
    for named in [id.as_str(), "mock-1"] {
        assert_eq!(status_of(&world, named, "/ws/agent").await, 503, "{named}");
    }
    // One that did not name itself at the door is told so at its hello.
    let mut late = world.agent_link("ann").await;
    late.send(wrapper_hello(&id)).await;
    assert_eq!(late.expect("ERROR").await["code"], "QUEUE_FULL");
    assert_eq!(late.ended().await.code(), 1013);
    for link in &mut links {
        is_parked(link).await;
    }
    let gone = links.remove(1);
    gone.close(None).await;
    is_accepted(&world, &id).await;
}

/// Each may be kept, so that none is closed once its hello is overdue: a wrapper takes the end of any of its links for the end
/// of its session.
#[tokio::test]
async fn of_silent_links_at_once_no_more_are_let_in_than_can_be_kept() {
    let world = World::start().await;
    let (mut session, id) = wrapper(&world, "ann", "mock-1").await;
    let mut silent = Vec::new();
    for named in [id.as_str(), "mock-1", &id, "mock-1"] {
        silent.push(naming(&world, "ann", named).await);
    }
    for named in [id.as_str(), "mock-1"] {
        assert_eq!(status_of(&world, named, "/ws/agent").await, 503, "{named}");
    }
    // One that ends makes room at once, and so does one that says hello.
    silent.remove(0).close(None).await;
    is_accepted(&world, &id).await;
    let heard = silent.iter_mut().map(|link| link.all_within(PAST_THE_HELLO));
    let heard = futures::future::join_all(heard).await;
    // Kept beside the session, without a frame: a link that ends is none that says nothing.
    assert!(heard.iter().all(Vec::is_empty), "{heard:#?}");
    is_parked(&mut session).await;
}

#[tokio::test]
async fn a_late_silent_link_of_an_agent_in_session_is_parked() {
    let world = World::start().await;
    let (mut session, id) = wrapper(&world, "ann", "mock-1").await;
    let mut extended = world.agent_link("ann").await;
    extended.send(extended_hello("key-1", "run-1", &[])).await;
    let ours = extended.expect("ACK").await["agentId"].as_str().unwrap().to_owned();

    let mut by_taught = naming(&world, "ann", &id).await;
    let mut by_own = naming(&world, "ann", "mock-1").await;
    let mut nameless = world.agent_link("ann").await;
    let mut of_nobody = naming(&world, "ann", "mock-2").await;
    let mut of_ours = naming(&world, "ann", &ours).await;
    let mut foreign = naming(&world, "bob", &id).await;
    let (leaked, _) = world.token_from("ann", TokenKind::Agent, crate::fixture::now());
    let path = "/ws/agent?agentId=mock-1";
    let mut of_another_token = Peer::open(world.address(), path, Some(&leaked)).await;
    for (link, which) in [
        (&mut nameless, "names nobody"),
        (&mut of_nobody, "names nobody in session"),
        (&mut of_ours, "names an extended agent"),
        (&mut foreign, "names another user's agent"),
        (&mut of_another_token, "its token may not speak for the agent"),
    ] {
        assert_eq!(link.ended_by(PAST_THE_HELLO).await.0.code(), 4102, "{which}");
    }
    for link in [&mut by_taught, &mut by_own] {
        let heard = link.all_within(Duration::from_secs(2)).await;
        assert!(heard.is_empty(), "{heard:#?}");
    }
    // Before its hello nothing counts, behind it everything does.
    by_own.send(wrapper_output("mock-1", &id, 1, "not yet\n")).await;
    by_own.send(wrapper_hello(&id)).await;
    assert_eq!(by_own.expect("ACK").await["agentId"], id);
    is_parked(&mut session).await;
    let stored = "SELECT CAST(count(*) AS TEXT) FROM output_records";
    world.stored_when(stored, "0").await;
}

#[tokio::test]
async fn a_parked_link_is_pinged_and_closed_when_nothing_comes_back() {
    let world = World::with(fast()).await;
    let (mut heeding, id) = wrapper(&world, "ann", "mock-1").await;
    let (deaf, _) = wrapper(&world, "ann", &id).await;
    let (mut session, _) = wrapper(&world, "ann", &id).await;
    world.metric_when("onsembl_agent_links", 3).await;
    let mut pings = 0;
    let begin = std::time::Instant::now();
    while begin.elapsed() < Duration::from_secs(5) {
        // The client answers native pings as it reads.
        let heard = heeding.all_within(Duration::from_millis(100)).await;
        assert!(heard.iter().all(|m| m["type"] != "COMMAND_REQUEST"), "{heard:#?}");
        for message in session.all_within(Duration::from_millis(100)).await {
            if message["type"] == "PING" {
                pings += 1;
                let echo = &message["payload"]["timestamp"];
                session.send(crate::frames::wrapper_pong(echo)).await;
            }
        }
    }
    assert!(pings > 3, "{pings}");
    world.metric_when("onsembl_agent_links", 2).await;
    assert_eq!(world.agent("ann").await["status"], "online");
    drop(deaf);
}

#[tokio::test]
async fn who_must_go_goes_with_all_its_links() {
    let world = World::start().await;
    let (mut old, id) = wrapper(&world, "ann", "mock-1").await;
    let (mut new, _) = wrapper(&world, "ann", &id).await;
    assert_eq!(world.delete(&format!("/api/agents/{id}"), "ann").await.status, 204);
    for link in [&mut old, &mut new] {
        assert_eq!(link.ended().await.code(), 4202);
    }
}

#[tokio::test]
async fn a_parked_link_does_not_outlive_its_agent() {
    let world = World::start().await;
    let (mut old, id) = wrapper(&world, "ann", "mock-1").await;
    let (new, _) = wrapper(&world, "ann", &id).await;
    is_parked(&mut old).await;
    new.close(Some(1000)).await;
    assert_eq!(old.ended().await.code(), 4101, "it may be another process, which is to come back");
    let (_back, same) = wrapper(&world, "ann", &id).await;
    assert_eq!(same, id);
    assert_eq!(world.agent_is("ann", "online").await["agent_id"], json!(id));
}
