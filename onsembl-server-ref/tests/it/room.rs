//! Room on the server: lists in pages, what one user may have on the disk, a disk that is full.

use crate::extended::agent;
use crate::fixture::World;
use crate::frames::{extended_dashboard_hello, page_command};
use crate::peer::{Peer, Request};
use onsembl_server_ref::auth::TokenKind;
use onsembl_server_ref::store::StoreLimits;
use serde_json::Value;
use std::time::Duration;

/// A user with an agent and a dashboard.
struct User {
    name: &'static str,
    dashboard: Peer,
    link: Peer,
    agent: String,
}

impl User {
    async fn new(world: &World, name: &'static str) -> Self {
        let (link, ack) = agent(world, name, "key-1", "run-1").await;
        let agent = ack["agentId"].as_str().unwrap().to_owned();
        let mut dashboard = world.dashboard_link(name).await;
        dashboard.send(extended_dashboard_hello()).await;
        let _ = dashboard.expect("ACK").await;
        Self { name, dashboard, link, agent }
    }

    /// Asks for a command with so long a text; the error if it is refused.
    async fn asks(&mut self, id: &str, length: usize) -> Result<(), Value> {
        self.dashboard.send(page_command(id, &self.agent, &"x".repeat(length), &[])).await;
        loop {
            let message = self.dashboard.next().await;
            let of = &message["payload"];
            if of["commandId"] != id && of["context"]["commandId"] != id {
                continue;
            }
            if message["type"] == "ACK" {
                return Ok(());
            }
            if message["type"] == "ERROR" {
                return Err(message["payload"].clone());
            }
        }
    }

    async fn list(&self, world: &World, path: &str) -> Value {
        let token = world.token(self.name, TokenKind::Dashboard);
        let answer = world.get(path, Some(&token)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }
}

fn ids(page: &Value) -> Vec<String> {
    let commands = page["commands"].as_array().unwrap();
    commands.iter().map(|command| command["command_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_too_long_for_a_page_goes_on_where_it_says() {
    const COUNT: usize = 60;
    let world = World::start().await;
    let mut user = User::new(&world, "ann").await;
    for n in 0..COUNT {
        user.asks(&format!("c{n:02}"), 60_000).await.unwrap();
    }
    let (mut seen, mut after, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = user.list(&world, &format!("/api/commands?limit=1000{after}")).await;
        let listed = ids(&page);
        assert_eq!(page["total"], listed.len());
        assert!(page.to_string().len() < 3 << 20, "{}", page.to_string().len());
        seen.extend(listed);
        pages += 1;
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert!(pages > 1);
    let mut expected: Vec<_> = (0..COUNT).map(|n| format!("c{n:02}")).collect();
    expected.reverse();
    assert_eq!(seen, expected, "each once, the newest first");

    let page = user.list(&world, "/api/commands?limit=2").await;
    assert_eq!(ids(&page), ["c59", "c58"]);
    let next = page["next"].as_str().expect("there are more").to_owned();
    let page = user.list(&world, &format!("/api/commands?limit=1&after={next}")).await;
    assert_eq!(ids(&page), ["c57"]);
    let token = world.token("ann", TokenKind::Dashboard);
    assert_eq!(world.get("/api/commands?after=nonsense", Some(&token)).await.status, 400);
}

#[tokio::test]
async fn agents_come_in_pages_too() {
    let world = World::start().await;
    let mut links = Vec::new();
    for n in 0..5 {
        links.push(agent(&world, "ann", &format!("key-{n}"), "run").await);
    }
    let token = world.token("ann", TokenKind::Dashboard);
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("/api/agents?limit=2{after}"), Some(&token)).await.json();
        let agents = page["agents"].as_array().unwrap();
        assert!(agents.len() <= 2);
        seen.extend(agents.iter().map(|agent| agent["agent_id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    let all = world.agents("ann").await;
    let all: Vec<_> = all.iter().map(|agent| agent["agent_id"].as_str().unwrap()).collect();
    assert_eq!(seen, all);
    assert_eq!(all.len(), 5);
}

#[tokio::test]
async fn a_user_without_room_is_told_which_limit_it_is_and_others_are_not_told_anything() {
    let mut limits = StoreLimits::DEFAULT;
    limits.user_bytes = 1 << 20;
    let world = World::within(limits).await;
    let (mut ann, mut bob) = (User::new(&world, "ann").await, User::new(&world, "bob").await);
    let mut taken = 0;
    let error = loop {
        match ann.asks(&format!("c{taken}"), 60_000).await {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 100, "never refused");
    };
    // A text is stored thrice: as the text, and twice in the request.
    assert!(taken > 3, "{taken}: {error}");
    assert_eq!(error["code"], "QUEUE_FULL");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("1048576") && message.contains("--user-bytes"), "{message}");
    bob.asks("theirs", 60_000).await.unwrap();
    let _ = bob.link.expect("COMMAND_REQUEST").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_stops_work_new_commands_are_refused_and_a_restart_listens() {
    let mut limits = StoreLimits::DEFAULT;
    limits.database = Some(8 << 20);
    let mut world = World::within(limits).await;
    let (mut ann, mut bob) = (User::new(&world, "ann").await, User::new(&world, "bob").await);
    let mut taken = 0;
    let error = loop {
        match ann.asks(&format!("c{taken}"), 60_000).await {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 1000, "it must become full");
    };
    assert_eq!(error["code"], "STORAGE_UNAVAILABLE", "{error}");
    assert!(error["message"].as_str().unwrap().contains("full"), "{error}");
    let refused = bob.asks("theirs", 10).await.unwrap_err();
    assert_eq!(refused["code"], "STORAGE_UNAVAILABLE");

    let health = world.get("/healthz", None).await;
    assert_eq!((health.status, &health.json()["status"]), (200, &"ok".into()));
    assert!(health.json()["store"].as_str().unwrap().contains("disk full"), "{}", health.body);
    let ready = world.get("/readyz", None).await;
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("disk full"), "{}", ready.body);

    // The agents of others come back, and a stop of theirs is stored and answered.
    drop(bob.link);
    let (_link, ack) = agent(&world, "bob", "key-1", "run-2").await;
    assert_eq!(ack["success"], true);
    let stop = async |world: &World| {
        let token = world.token("bob", TokenKind::Dashboard);
        let body = r#"{"all":true,"reason":"full"}"#;
        let post = Request::new("POST", "/api/stop").bearer(Some(&token)).body(body);
        tokio::time::timeout(Duration::from_secs(15), post.send(world.address())).await.unwrap()
    };
    let stopped = stop(&world).await;
    assert_eq!(stopped.status, 200, "{}", stopped.body);

    world.restart().await;
    let health = world.get("/healthz", None).await;
    assert_eq!(health.status, 200, "{}", health.body);
    assert_eq!(world.agents("bob").await.len(), 1);
    let stopped = stop(&world).await;
    assert_eq!(stopped.status, 200, "{}", stopped.body);
}
