//! The existing dashboard: the commands it sends, their statuses, and output as it can show it.

use crate::fixture::World;
use crate::frames::{
    Chunk, command_ack, command_complete, dashboard_hello, extended_hello, page_command,
    wrapper_output,
};
use crate::legacy_agent::wrapper;
use crate::peer::Peer;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

async fn dashboard(world: &World) -> Peer {
    let mut link = world.dashboard_link("ann").await;
    link.send(dashboard_hello("ann")).await;
    let _ = link.expect("ACK").await;
    link
}

#[tokio::test]
async fn its_three_shapes_of_a_command_all_reach_the_agent() {
    let world = World::start().await;
    let (mut agent, id) = wrapper(&world, "ann", "mock-1").await;
    let mut link = dashboard(&world).await;
    let shapes = [
        format!(r#"{{"type":"COMMAND_REQUEST","id":"msg_1_1","timestamp":1762080004000,"payload":{{"agentId":"{id}","commandId":"cmd-1762080004000-ab12","command":"page","args":[],"env":{{}},"type":"NATURAL","priority":0,"executionConstraints":{{"timeLimitMs":300000,"maxRetries":1}}}}}}"#),
        format!(r#"{{"type":"COMMAND_REQUEST","id":"msg_2_1","timestamp":1762080004000,"payload":{{"commandId":"cmd-2","agentId":"{id}","content":"bridge","priority":"normal","timestamp":1762080004000}}}}"#),
        r#"{"type":"COMMAND_REQUEST","id":"msg_3_1","timestamp":1762080004000,"payload":{"commandId":"cmd_1762080004000_cd34","content":"commands page","type":"execute","priority":10,"executionConstraints":{"timeLimitMs":300000,"maxRetries":1}}}"#.to_owned(),
    ];
    let expected = [
        ("cmd-1762080004000-ab12", "page"),
        ("cmd-2", "bridge"),
        ("cmd_1762080004000_cd34", "commands page"),
    ];
    for (shape, (command, text)) in shapes.iter().zip(expected) {
        link.send(shape.as_str()).await;
        let got = agent.expect("COMMAND_REQUEST").await;
        assert_eq!(
            (&got["commandId"], &got["command"], &got["content"]),
            (&json!(command), &json!(text), &json!(text))
        );
        let ack = link.expect_that("ACK", |a| a["commandId"] == command).await;
        assert_eq!(ack["success"], true);
        assert!(ack.get("agentId").is_none(), "an id here would be adopted: {ack}");
    }
}

#[tokio::test]
async fn a_command_that_names_no_agent_needs_exactly_one_candidate() {
    let world = World::start().await;
    let (_one, _) = wrapper(&world, "ann", "mock-1").await;
    let (_two, _) = wrapper(&world, "ann", "mock-2").await;
    let mut link = dashboard(&world).await;
    link.send(r#"{"type":"COMMAND_REQUEST","id":"m","timestamp":1,"payload":{"commandId":"cmd-1","content":"which","type":"execute","priority":5}}"#).await;
    let error = link.expect("ERROR").await;
    assert_eq!(error["code"], "AGENT_AMBIGUOUS");
    assert_eq!(error["context"]["commandId"], "cmd-1");
    assert_eq!(error["originalMessageId"], "m");
}

#[tokio::test]
async fn a_command_for_an_agent_that_is_away_fails_by_its_id_and_is_not_kept() {
    let world = World::start().await;
    let (agent, id) = wrapper(&world, "ann", "mock-1").await;
    let mut link = dashboard(&world).await;
    agent.close(Some(4000)).await;
    let _ = world.agent_is("ann", "reconnecting").await;
    link.send(page_command("cmd-1", &id, "x", &[])).await;
    let error = link.expect("ERROR").await;
    assert_eq!(error["code"], "AGENT_OFFLINE");
    assert_eq!(error["context"]["commandId"], "cmd-1");
    assert!(error["message"].as_str().unwrap().contains("reconnecting"), "{error}");
    let (mut agent, _) = wrapper(&world, "ann", &id).await;
    assert!(agent.all_until_pong().await.iter().all(|m| m["type"] != "COMMAND_REQUEST"));
}

#[tokio::test]
async fn statuses_come_in_lower_case_with_the_real_end() {
    let world = World::start().await;
    let mut agent = world.agent_link("ann").await;
    agent.send(extended_hello("key-1", "run-1", &[])).await;
    let id = agent.expect("ACK").await["agentId"].as_str().unwrap().to_owned();
    let mut link = dashboard(&world).await;
    for (command, exit, word) in [("cmd-1", 0, "completed"), ("cmd-2", 3, "failed")] {
        link.send(page_command(command, &id, "work", &[])).await;
        let _ = agent.expect("COMMAND_REQUEST").await;
        agent.send(command_ack(command, "QUEUED")).await;
        let _ = link.expect_that("COMMAND_STATUS", |s| s["status"] == "queued").await;
        agent.send(command_ack(command, "EXECUTING")).await;
        let _ = link.expect_that("COMMAND_STATUS", |s| s["status"] == "running").await;
        agent
            .send(command_complete(command, if exit == 0 { "COMPLETED" } else { "FAILED" }, exit))
            .await;
        let end = link.expect("COMMAND_STATUS").await;
        assert_eq!((&end["status"], &end["exitCode"]), (&json!(word), &json!(exit)), "{end}");
        assert_eq!(end.get("error").is_some(), exit != 0, "{end}");
        let complete = link.expect("COMMAND_COMPLETE").await;
        assert_eq!(
            (&complete["commandId"], &complete["exitCode"]),
            (&json!(command), &json!(exit))
        );
    }
}

const TEXT: &str = "plain\r\n\u{1b}[1;31mr\u{e9}d \u{2713}\u{1b}[0m\ttab\n\n\u{1b}]0;title\u{7}after \u{1f980}\nlast\n";
const LINES: [&str; 5] = ["plain", "r\u{e9}d \u{2713}\ttab", "", "after \u{1f980}", "last"];

/// The lines of all streams of a command until `count` of them have come.
async fn lines(link: &mut Peer, command: &str, count: usize) -> Vec<Value> {
    let mut lines = Vec::new();
    while lines.len() < count {
        let stream = link.expect_that("TERMINAL_STREAM", |s| s["commandId"] == command).await;
        assert!(stream.get("ansiCodes").is_none() && stream.get("encoding").is_none(), "{stream}");
        assert!(!stream["content"].as_array().unwrap().is_empty(), "{stream}");
        lines.extend(stream["content"].as_array().unwrap().iter().cloned());
    }
    lines
}

#[tokio::test]
async fn lines_come_whole_plain_and_once_however_a_wrapper_cuts_them() {
    let world = World::start().await;
    let (mut agent, id) = wrapper(&world, "ann", "mock-1").await;
    let mut link = dashboard(&world).await;
    for size in 1..=TEXT.chars().count() {
        let command = format!("cmd-{size}");
        let characters: Vec<char> = TEXT.chars().collect();
        for (n, chunk) in characters.chunks(size).enumerate() {
            let chunk: String = chunk.iter().collect();
            agent.send(wrapper_output(&command, &id, n as u64 + 1, &chunk)).await;
        }
        assert_eq!(lines(&mut link, &command, LINES.len()).await, LINES, "cut each {size}");
    }
    let is_shown = |m: &Value| {
        m["type"] == "TERMINAL_STREAM"
            && m["payload"]["commandId"].as_str().unwrap().starts_with("cmd-")
    };
    let later = link.all_within(Duration::from_millis(500)).await;
    assert!(!later.iter().any(is_shown), "{later:#?}");
}

#[tokio::test]
async fn lines_come_whole_plain_and_once_however_bytes_are_cut() {
    let world = World::start().await;
    let mut agent = world.agent_link("ann").await;
    agent.send(extended_hello("key-1", "run-1", &[])).await;
    let id = agent.expect("ACK").await["agentId"].as_str().unwrap().to_owned();
    let mut link = dashboard(&world).await;
    for size in [1, 2, 3, 7, 64] {
        let command = format!("cmd-{size}");
        link.send(page_command(&command, &id, "work", &[])).await;
        let _ = agent.expect("COMMAND_REQUEST").await;
        let mut offset = 0;
        for (n, bytes) in TEXT.as_bytes().chunks(size).enumerate() {
            let content = base64(bytes);
            let chunk = Chunk {
                command: &command,
                stream: "STDOUT",
                sequence: n as u64 + 1,
                offset,
                encoding: "base64",
                content: &content,
            };
            // Twice: the second one is a repetition and must not show.
            agent.send(chunk.text()).await;
            agent.send(chunk.text()).await;
            offset += bytes.len() as u64;
        }
        assert_eq!(lines(&mut link, &command, LINES.len()).await, LINES, "cut each {size}");
        agent.send(command_complete(&command, "COMPLETED", 0)).await;
        let rest = link.expect_that("COMMAND_STATUS", |s| s["status"] == "completed").await;
        assert_eq!(rest["commandId"], command);
    }
}

#[tokio::test]
async fn the_two_streams_do_not_mix_and_an_unfinished_line_comes_at_the_end() {
    let world = World::start().await;
    let mut agent = world.agent_link("ann").await;
    agent.send(extended_hello("key-1", "run-1", &[])).await;
    let id = agent.expect("ACK").await["agentId"].as_str().unwrap().to_owned();
    let mut link = dashboard(&world).await;
    link.send(page_command("cmd-1", &id, "work", &[])).await;
    let _ = agent.expect("COMMAND_REQUEST").await;
    let parts = [("STDOUT", 0, "out"), ("STDERR", 0, "err\n"), ("STDOUT", 3, "put\nprompt> ")];
    for (n, (stream, offset, content)) in parts.into_iter().enumerate() {
        let sequence = n as u64 + 1;
        agent
            .send(
                Chunk { command: "cmd-1", stream, sequence, offset, encoding: "utf-8", content }
                    .text(),
            )
            .await;
    }
    let mut shown = Vec::new();
    let of_it = |s: &Value| s["commandId"] == "cmd-1";
    for _ in 0..2 {
        let stream = link.expect_that("TERMINAL_STREAM", of_it).await;
        shown.push((stream["streamType"].clone(), stream["content"].clone()));
    }
    assert_eq!(shown, [(json!("STDERR"), json!(["err"])), (json!("STDOUT"), json!(["output"]))]);
    agent.send(command_complete("cmd-1", "COMPLETED", 0)).await;
    let rest = link.expect_that("TERMINAL_STREAM", of_it).await;
    assert_eq!(rest["content"], json!(["prompt> "]));
    let _ = link.expect_that("COMMAND_STATUS", |s| s["status"] == "completed").await;
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let n = three.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - three.len()));
        for index in 0..4 {
            let digit = DIGITS[(n >> (18 - 6 * index)) as usize & 63];
            text.push(if index <= three.len() { digit as char } else { '=' });
        }
    }
    text
}

/// Output of which there is nothing to show must not hold up what comes behind it.
#[tokio::test]
async fn what_shows_nothing_keeps_nothing_waiting() {
    let world = World::start().await;
    let mut agent = world.agent_link("ann").await;
    agent.send(extended_hello("key-1", "run-1", &[])).await;
    let id = agent.expect("ACK").await["agentId"].as_str().unwrap().to_owned();
    let mut link = dashboard(&world).await;
    link.send(page_command("cmd-1", &id, "work", &[])).await;
    let _ = agent.expect("COMMAND_REQUEST").await;
    let hidden = "x".repeat(16 * 1024);
    let mut parts = vec!["\u{1b}]"];
    parts.extend([hidden.as_str(); 12]);
    parts.push("\u{7}seen\n");
    let (mut sequence, mut offset) = (0, 0);
    for round in 0..6 {
        let began = Instant::now();
        for content in &parts {
            sequence += 1;
            let (command, stream, encoding) = ("cmd-1", "STDOUT", "utf-8");
            agent.send(Chunk { command, stream, sequence, offset, encoding, content }.text()).await;
            offset += content.len() as u64;
        }
        if round == 5 {
            // Nor may the end of the command go before it.
            agent.send(command_complete("cmd-1", "COMPLETED", 0)).await;
        }
        let is = |m: &Value, kind: &str| m["type"] == kind;
        let next = loop {
            let next = link.next().await;
            if is(&next, "TERMINAL_STREAM") || is(&next, "COMMAND_COMPLETE") {
                break next;
            }
        };
        assert_eq!(next["payload"]["content"], json!(["seen"]), "{next}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}
