//! Output that comes, or is stored, in pieces longer than a chunk may be (P-113): nobody's link ends by it, and no reader
//! holds more than its pages.

use crate::fixture::World;
use crate::frames::{
    Chunk, command_complete, extended_dashboard_hello, extended_hello, page_command,
};
use crate::peer::Peer;
use onsembl_server_ref::auth::TokenKind;
use serde_json::{Value, json};

const CHUNK: usize = 32 * 1024;

/// A link of an agent whose command `cmd-1` runs, and one of the dashboard that asked for it.
async fn at_work(world: &World) -> (Peer, Peer) {
    let mut agent = world.agent_link("ann").await;
    agent.send(extended_hello("key-1", "run-1", &[])).await;
    let id = agent.expect("ACK").await["agentId"].as_str().unwrap().to_owned();
    let mut link = world.dashboard_link("ann").await;
    link.send(extended_dashboard_hello()).await;
    let _ = link.expect("ACK").await;
    link.send(page_command("cmd-1", &id, "work", &[])).await;
    let _ = agent.expect("COMMAND_REQUEST").await;
    (agent, link)
}

fn wrote(content: &str) -> String {
    let chunk = Chunk {
        command: "cmd-1",
        stream: "STDOUT",
        sequence: 1,
        offset: 0,
        encoding: "utf-8",
        content,
    };
    chunk.text()
}

/// The output in these lines, each of which has at most a chunk.
fn whole(lines: &[Value]) -> String {
    let mut all = String::new();
    for line in lines.iter().filter(|line| line.get("output").is_some()) {
        let content = line["output"]["content"].as_str().unwrap();
        assert!(content.len() <= CHUNK, "{} bytes", content.len());
        assert_eq!(line["output"]["offset"], json!(all.len()));
        all.push_str(content);
    }
    all
}

async fn read(world: &World) -> Vec<Value> {
    let token = world.token("ann", TokenKind::Dashboard);
    let answer = world.get("/api/commands/cmd-1/output", Some(&token)).await;
    assert_eq!(answer.status, 200);
    answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_message_full_of_control_characters_is_stored_and_shown_in_chunks() {
    let world = World::start().await;
    let (mut agent, mut link) = at_work(&world).await;
    // As JSON it takes six bytes for each: in one message as it comes, and in many as it is shown.
    let text = "\u{1}".repeat(170_000);
    agent.send(wrote(&text)).await;
    let mut shown = String::new();
    while shown.len() < text.len() {
        let stream = link.expect("TERMINAL_STREAM").await;
        let content = stream["content"].as_str().unwrap();
        assert!(content.len() <= CHUNK, "{} bytes", content.len());
        shown.push_str(content);
    }
    assert_eq!(shown, text);
    loop {
        let ack = agent.expect("OUTPUT_ACK").await;
        if ack["offset"] == json!(text.len()) {
            break;
        }
    }
    agent.send(command_complete("cmd-1", "COMPLETED", 0)).await;
    let _ = agent.expect_that("ACK", |a| a["commandId"] == "cmd-1").await;
    assert_eq!(whole(&read(&world).await), text);
}

#[tokio::test]
async fn a_row_of_an_earlier_version_is_read_in_chunks() {
    let world = World::start().await;
    let (mut agent, _link) = at_work(&world).await;
    agent.send(wrote("x")).await;
    let _ = agent.expect("OUTPUT_ACK").await;
    let text = "\u{1}".repeat(1 << 20);
    let bytes = text.as_bytes();
    // As versions before stored it, with a row for each chunk.
    let set = "INSERT INTO output_singles
               SELECT user_id, command_id, incarnation, sequence, stream, offset, ?1, NULL, NULL, at, kept_from
               FROM output_records WHERE command_id = 'cmd-1'";
    assert_eq!(world.database().execute(set, [bytes]).unwrap(), 1);
    assert_eq!(world.database().execute("DELETE FROM output_segments", []).unwrap(), 1);
    let lines = read(&world).await;
    assert_eq!(whole(&lines), text);
    assert!(lines.last().unwrap().get("end").is_some());
}
