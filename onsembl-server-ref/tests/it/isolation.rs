//! Users do not see, steer or disturb each other.

use crate::extended::{agent, agent_with};
use crate::fixture::World;
use crate::frames::{
    Chunk, cancel, command_ack, command_complete, dashboard_hello, extended_dashboard_hello,
    extended_hello, named_wrapper_hello, page_command, wrapper_output,
};
use crate::legacy_agent::wrapper;
use crate::peer::Peer;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;

async fn dashboard(world: &World, user: &str) -> Peer {
    let mut link = world.dashboard_link(user).await;
    link.send(extended_dashboard_hello()).await;
    let _ = link.expect("ACK").await;
    link
}

#[tokio::test]
async fn the_same_key_and_name_under_two_users_are_two_agents() {
    let world = World::start().await;
    let (mut of_ann, one) = agent(&world, "ann", "same-key", "same-run").await;
    let (mut of_bob, two) = agent(&world, "bob", "same-key", "same-run").await;
    assert_ne!(one["agentId"], two["agentId"]);
    assert_eq!((&one["extensions"]["epoch"], &two["extensions"]["epoch"]), (&json!(1), &json!(1)));
    let (_a, third) = wrapper(&world, "ann", "same-id").await;
    let (_b, fourth) = wrapper(&world, "bob", "same-id").await;
    assert_ne!(third, fourth);
    for link in [&mut of_ann, &mut of_bob] {
        assert!(link.all_until_pong().await.iter().all(|m| m["type"] == "SERVER_HEARTBEAT"));
    }
    for user in ["ann", "bob"] {
        let agents = world.agents(user).await;
        assert_eq!(agents.len(), 2);
        assert!(agents.iter().all(|a| a["status"] == "online"), "{agents:?}");
    }
}

#[tokio::test]
async fn the_id_that_another_user_was_taught_opens_nothing() {
    let world = World::start().await;
    let (mut of_ann, id) = wrapper(&world, "ann", "mock-1").await;
    let (_of_bob, other) = wrapper(&world, "bob", &id).await;
    assert_ne!(id, other);
    assert!(of_ann.all_until_pong().await.iter().all(|m| m["type"] == "PING"));
    assert_eq!(world.agent("ann").await["agent_id"], id);
}

#[tokio::test]
async fn a_user_sees_and_steers_only_what_is_theirs() {
    let world = World::start().await;
    let (mut of_ann, ack) = agent(&world, "ann", "key-1", "run-1").await;
    let id = ack["agentId"].as_str().unwrap().to_owned();
    let mut ann = dashboard(&world, "ann").await;
    ann.send(page_command("cmd-1", &id, "secret work", &[])).await;
    let _ = of_ann.expect("COMMAND_REQUEST").await;
    let _ = of_ann.all_until_pong().await;

    let mut bob = world.dashboard_link("bob").await;
    bob.send(dashboard_hello("bob")).await;
    let list = bob.next().await;
    assert_eq!(
        (&list["type"], &list["payload"]["agents"]),
        (&json!("DASHBOARD_CONNECTED"), &json!([]))
    );
    let _ = bob.expect("ACK").await;
    assert!(world.agents("bob").await.is_empty());
    let orders = [
        (page_command("cmd-9", &id, "rm -rf /", &[]), "AGENT_NOT_FOUND"),
        (page_command("cmd-9", "name of key-1", "rm -rf /", &[]), "AGENT_NOT_FOUND"),
        (page_command("cmd-1", &id, "rm -rf /", &[]), "AGENT_NOT_FOUND"),
        (cancel("cmd-1"), "COMMAND_NOT_FOUND"),
        (format!(r#"{{"type":"AGENT_CONTROL","id":"m","timestamp":1,"payload":{{"agentId":"{id}","action":"STOP"}}}}"#), "AGENT_NOT_FOUND"),
        (r#"{"type":"COMMAND_REQUEST","id":"m","timestamp":1,"payload":{"commandId":"cmd-8","content":"any","type":"execute"}}"#.to_owned(), "AGENT_AMBIGUOUS"),
    ];
    for (order, code) in orders {
        bob.send(order.clone()).await;
        assert_eq!(bob.expect("ERROR").await["code"], code, "{order}");
    }
    bob.send(format!(r#"{{"type":"EMERGENCY_STOP","id":"m9","timestamp":1,"payload":{{"reason":"mine","affectedAgents":["{id}"]}}}}"#)).await;
    let _ = bob.expect_that("ACK", |a| a["messageId"] == "m9").await;
    bob.send(format!(r#"{{"type":"DASHBOARD_SUBSCRIBE","id":"m8","timestamp":1,"payload":{{"type":"agent","id":"{id}"}}}}"#)).await;
    let _ = bob.expect_that("ACK", |a| a["messageId"] == "m8").await;
    let token = world.token("bob", onsembl_server_ref::auth::TokenKind::Dashboard);
    assert_eq!(world.get(&format!("/api/agents/{id}"), Some(&token)).await.status, 404);
    assert_eq!(world.delete(&format!("/api/agents/{id}"), "bob").await.status, 404);

    assert!(of_ann.all_until_pong().await.is_empty(), "nothing reached the agent");
    of_ann.send(command_ack("cmd-1", "EXECUTING")).await;
    of_ann
        .send(
            Chunk {
                command: "cmd-1",
                stream: "STDOUT",
                sequence: 1,
                offset: 0,
                encoding: "utf-8",
                content: "secret\n",
            }
            .text(),
        )
        .await;
    of_ann.send(command_complete("cmd-1", "COMPLETED", 0)).await;
    let _ = ann.expect_that("COMMAND_STATUS", |s| s["status"] == "completed").await;
    let report = bob.all_within(Duration::from_millis(300)).await;
    assert!(report.is_empty(), "{report:#?}");
}

#[tokio::test]
async fn the_same_command_id_under_two_users_is_two_commands() {
    let world = World::start().await;
    for (user, text) in [("ann", "work of ann"), ("bob", "work of bob")] {
        let (mut agent, id) = wrapper(&world, user, "mock-1").await;
        let mut link = dashboard(&world, user).await;
        link.send(page_command("cmd-1", &id, text, &[])).await;
        assert_eq!(agent.expect("COMMAND_REQUEST").await["command"], text);
        let _ = link.expect_that("COMMAND_STATUS", |s| s["status"] == "running").await;
        agent.send(wrapper_output("cmd-1", &id, 1, &format!("{text}\n"))).await;
        let shown = link.expect("TERMINAL_STREAM").await;
        assert_eq!(
            (&shown["content"], &shown["agentId"]),
            (&json!(format!("{text}\n")), &json!(id))
        );
    }
}

/// What the peers of one user get in a fixed course of events, each step of which is waited for.
async fn course_of(world: &World, user: &str) -> Vec<Value> {
    let mut got = Vec::new();
    let mut agent_link = world.agent_link(user).await;
    agent_link.send(extended_hello("key-1", "run-1", &[])).await;
    let mut step = Step { got: &mut got };
    let ack = step.until(&mut agent_link, "ACK", |_| true).await;
    let _ = step.until(&mut agent_link, "SERVER_HEARTBEAT", |_| true).await;
    let id = ack["agentId"].as_str().unwrap().to_owned();
    let mut legacy = world.agent_link(user).await;
    legacy.send(named_wrapper_hello("mock-1", "dev")).await;
    let _ = step.until(&mut legacy, "PING", |_| true).await;

    let mut link = world.dashboard_link(user).await;
    link.send(dashboard_hello(user)).await;
    let _ = step.until(&mut link, "ACK", |_| true).await;
    link.send(page_command("cmd-1", &id, "work", &[])).await;
    let _ = step.until(&mut agent_link, "COMMAND_REQUEST", |_| true).await;
    let _ = step.until(&mut link, "COMMAND_STATUS", |s| s["status"] == "queued").await;
    agent_link.send(command_ack("cmd-1", "EXECUTING")).await;
    let _ = step.until(&mut link, "COMMAND_STATUS", |s| s["status"] == "running").await;
    let chunk = Chunk {
        command: "cmd-1",
        stream: "STDOUT",
        sequence: 1,
        offset: 0,
        encoding: "utf-8",
        content: "line\n",
    };
    agent_link.send(chunk.text()).await;
    let _ = step.until(&mut agent_link, "OUTPUT_ACK", |_| true).await;
    let _ = step.until(&mut link, "TERMINAL_STREAM", |_| true).await;
    agent_link.send(command_complete("cmd-1", "COMPLETED", 0)).await;
    let _ = step.until(&mut agent_link, "ACK", |_| true).await;
    let _ = step.until(&mut link, "COMMAND_COMPLETE", |_| true).await;
    legacy.close(Some(1000)).await;
    let _ = step.until(&mut link, "AGENT_STATUS", |s| s["status"] == "offline").await;
    link.send(page_command("cmd-2", "dev", "work", &[])).await;
    let _ = step.until(&mut link, "ERROR", |_| true).await;
    // What is stored of it is the same too.
    got.extend(world.agents(user).await);
    got
}

struct Step<'a> {
    got: &'a mut Vec<Value>,
}

impl Step<'_> {
    async fn until(&mut self, peer: &mut Peer, kind: &str, want: impl Fn(&Value) -> bool) -> Value {
        loop {
            let next = peer.next().await;
            self.got.push(next.clone());
            if next["type"] == kind && want(&next["payload"]) {
                return next["payload"].clone();
            }
        }
    }
}

/// The messages with each id that the server minted, and each time, replaced by the order in which
/// it first came.
fn without_names(messages: &[Value]) -> Vec<Value> {
    let mut names = HashMap::new();
    messages.iter().map(|message| unnamed(message, &mut names)).collect()
}

fn unnamed(value: &Value, names: &mut HashMap<String, usize>) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| {
                let time = key.to_lowercase();
                let time = [
                    "time",
                    "at",
                    "since",
                    "lastping",
                    "lastheartbeat",
                    "nextpingexpected",
                    "duration",
                ]
                .iter()
                .any(|word| time == *word || time.ends_with("at") || time.contains("time"));
                (key.clone(), if time { json!("a time") } else { unnamed(value, names) })
            })
            .collect(),
        Value::Array(values) => values.iter().map(|value| unnamed(value, names)).collect(),
        Value::String(text) => {
            // UUIDs of the server, wherever in a text they stand.
            let mut plain = String::new();
            let mut rest = text.as_str();
            while let Some(candidate) = rest.get(..36) {
                if uuid::Uuid::parse_str(candidate).is_ok() {
                    let next = names.len();
                    let name = *names.entry(candidate.to_owned()).or_insert(next);
                    plain.push_str(&format!("<{name}>"));
                    rest = &rest[36..];
                } else {
                    let length = rest.chars().next().map_or(1, char::len_utf8);
                    plain.push_str(&rest[..length]);
                    rest = &rest[length..];
                }
            }
            plain.push_str(rest);
            Value::String(plain)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// A user who does what can be done, under the names the other one uses.
async fn noise(world: &World, commands: &str) {
    let (mut link, ack) = agent(world, "uwe", "key-1", "run-1").await;
    let id = ack["agentId"].as_str().unwrap().to_owned();
    let mut watching = dashboard(world, "uwe").await;
    let mut stopping = world.dashboard_link("uwe").await;
    let features = r#"["output-bytes","stop-latch"]"#;
    stopping.send(extended_dashboard_hello().replace(r#"["output-bytes"]"#, features)).await;
    for n in 1..=20 {
        let command = format!("{commands}-{n}");
        watching.send(page_command(&command, &id, "noise", &[])).await;
        let _ = link.expect("COMMAND_REQUEST").await;
        link.send(command_ack(&command, "EXECUTING")).await;
        link.send(
            Chunk {
                command: &command,
                stream: "STDERR",
                sequence: 1,
                offset: 0,
                encoding: "utf-8",
                content: "noise\n",
            }
            .text(),
        )
        .await;
        link.send("not json").await;
        if n % 2 == 0 {
            link.send(command_complete(&command, "FAILED", 1)).await;
        }
        if n % 5 == 0 {
            link = agent_with(world, "uwe", "key-1", &format!("run-{n}"), &[]).await.0;
        }
        let mut legacy = world.agent_link("uwe").await;
        legacy.send(named_wrapper_hello(&format!("mock-{n}"), "dev")).await;
        let _ = legacy.expect("ACK").await;
        watching.send(r#"{"type":"EMERGENCY_STOP","id":"m","timestamp":1,"payload":{}}"#).await;
        flood(&mut link, n).await;
        stopping.send(r#"{"type":"EMERGENCY_STOP","id":"held","timestamp":1,"payload":{}}"#).await;
        stopping
            .send(r#"{"type":"STOP_RELEASE","id":"free","timestamp":1,"payload":{"all":true}}"#)
            .await;
        let _ = stopping.expect_that("ACK", |a| a["messageId"] == "free").await;
    }
}

/// Terminals without end, output of nothing, and reports of what another user runs.
async fn flood(link: &mut Peer, round: usize) {
    for n in 0..40 {
        let id = format!("terminal-{round:04}-{n:04}");
        let payload = json!({"commandId": id, "openedAt": 1_762_080_000_000_u64, "program": "cat"});
        let opened =
            json!({"type": "TERMINAL_OPENED", "id": "t", "timestamp": 1, "payload": payload});
        link.send(opened.to_string()).await;
        let nothing = format!("nothing-{round}-{n}");
        for command in [id.as_str(), nothing.as_str(), "cmd-1"] {
            let content = "flood\n";
            let (stream, encoding) = ("STDOUT", "utf-8");
            let chunk = Chunk { command, stream, sequence: 1, offset: 0, encoding, content };
            link.send(chunk.text()).await;
        }
        link.send(command_complete("cmd-1", "FAILED", 1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_user_gets_is_the_same_whatever_another_does() {
    let quiet = World::start().await;
    let alone = without_names(&course_of(&quiet, "vic").await);
    let loud = World::start().await;
    noise(&loud, "cmd").await;
    let (beside, ()) = tokio::join!(course_of(&loud, "vic"), noise(&loud, "more"));
    let beside = without_names(&beside);
    assert!(alone.len() >= 20, "{}", alone.len());
    for (n, (alone, beside)) in alone.iter().zip(&beside).enumerate() {
        assert_eq!(alone, beside, "message {n}");
    }
    assert_eq!(alone.len(), beside.len());
}
