//! Why an agent is where it is: its presence explained, its drops judged, for its owner and nobody else.

use crate::command_line::{program, run};
use crate::extended::agent;
use crate::fixture::World;
use onsembl_server_ref::auth::TokenKind;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What the page says, as soon as it is as wanted: the log is written behind what it tells of.
async fn why_when(world: &World, user: &str, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let token = world.token(user, TokenKind::Dashboard);
    let begin = Instant::now();
    loop {
        let answer = world.get(&format!("/api/agents/{id}/why"), Some(&token)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let said = answer.json();
        if wanted(&said) {
            return said;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "never as wanted: {said}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn drops(said: &Value) -> Vec<(&str, &str, bool)> {
    let drops = said["drops"].as_array().unwrap().iter();
    drops
        .map(|drop| {
            let word = |name: &str| drop[name].as_str().unwrap();
            (word("cause"), word("confidence"), drop["until"].is_string())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_and_drops_are_told_with_their_causes() {
    let mut world = World::start().await;
    let (link, ack) = agent(&world, "ann", "key-1", "run-1").await;
    let id = ack["agentId"].as_str().unwrap().to_owned();
    let said = why_when(&world, "ann", &id, |said| said["presence"]["state"] == "online").await;
    assert_eq!(said["presence"]["next_state"], "stale");
    assert_eq!(said["presence"]["because"], world.agent("ann").await["because"]);
    assert_eq!(said["presence"]["since"], world.agent("ann").await["since"]);
    assert_eq!(drops(&said), []);

    // Stopped on its machine, and started again.
    link.close(Some(4103)).await;
    let _ = world.agent_is("ann", "offline").await;
    let (link, _) = agent(&world, "ann", "key-1", "run-2").await;
    // Its link breaks.
    drop(link);
    let _ = world.agent_is("ann", "reconnecting").await;
    // Another process was there at once: it was not stopped for good.
    let stopped = ("agent-restarted", "high", true);
    let said = why_when(&world, "ann", &id, |said| drops(said).len() == 2).await;
    assert_eq!(drops(&said), [stopped, ("unknown", "low", false)], "{said}");
    let presence = &said["presence"];
    assert_eq!(
        (&presence["state"], &presence["next_state"]),
        (&json!("reconnecting"), &json!("offline"))
    );
    assert_eq!(
        (&presence["confidence"], &presence["evidence"]["ended_by"]),
        (&json!("low"), &json!("neither"))
    );
    assert_eq!(said["drops"][1]["evidence"]["close_code"], 1006);

    // It is back, and then the server is another process.
    let (mut link, _) = agent(&world, "ann", "key-1", "run-2").await;
    let _ = world.agent_is("ann", "online").await;
    world.restart_heard_by(&mut [&mut link]).await;
    let said = why_when(&world, "ann", &id, |said| drops(said).len() == 3).await;
    let restarted = ("server-restarted", "high", false);
    assert_eq!(drops(&said), [stopped, ("network-cut", "low", true), restarted], "{said}");

    // Nobody else is told.
    let bob = world.token("bob", TokenKind::Dashboard);
    assert_eq!(world.get(&format!("/api/agents/{id}/why"), Some(&bob)).await.status, 404);
    assert_eq!(world.get(&format!("/api/agents/{id}/why"), None).await.status, 401);

    // And people get lines.
    let (server, token) =
        (format!("http://{}", world.address()), world.token("ann", TokenKind::Dashboard));
    let mut command = program();
    let _ = command.args(["why", &id, "--server", &server]).env("ONSEMBL_TOKEN", token);
    let (code, text) = run(&mut command).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.lines().count() <= 10, "{text}");
    assert!(text.starts_with("It is reconnecting since "), "{text}");
    assert!(text.contains("agent-restarted (confidence high)"), "{text}");
    assert!(text.contains("What to do: nothing; look at the server's log"), "{text}");
}
