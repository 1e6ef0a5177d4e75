//! Attacks of a dashboard that reads what is stored: output that is followed, pages about agents, and lists.

use crate::attacks::command;
use crate::effects::{note_message, note_response};
use crate::target::{Open, Reads, Socket, Target, message};
use futures::future::join_all;
use futures::{SinkExt as _, StreamExt as _};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

/// Many readers follow one command and read nothing.
pub(crate) async fn followers(target: Target) {
    let _agent = target.agent("a").await;
    let request = target.request("/api/commands/c-1/output?follow=true");
    let follow = |_| async {
        loop {
            let mut stream = target.tcp().await;
            let _ = stream.write_all(request.as_bytes()).await;
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    };
    let write = target.repeat(Open::Dashboard, |n| command(n, 3_600_000, "x"), Reads::All);
    futures::future::join(write, join_all((0..300).map(follow))).await;
}

/// Output that becomes six times as long as JSON, and many readers that take a little of it.
pub(crate) async fn readers_of_control_bytes(target: Target) {
    let mut agent = target.agent("a").await;
    let id = format!("big-{}", std::process::id());
    let mut dashboard = target.dashboard().await;
    let hello = r#"{"subscriptions":{"agents":[],"commands":[],"terminals":false,"traces":false}}"#;
    let _ = dashboard.send(Message::text(message("DASHBOARD_INIT", hello))).await;
    let request = format!(r#"{{"agentId":"a","commandId":"{id}","command":"x"}}"#);
    let _ = dashboard.send(Message::text(message("COMMAND_REQUEST", &request))).await;
    let _ = tokio::time::timeout(Duration::from_secs(2), agent.next()).await;
    let runs = format!(r#"{{"commandId":"{id}","status":"RUNNING"}}"#);
    let _ = agent.send(Message::text(message("COMMAND_ACK", &runs))).await;
    let data = vec![1_u8; 1_040_000];
    for n in 0_u64..6 {
        let mut frame = vec![1, 0];
        frame.extend(u16::try_from(id.len()).unwrap().to_be_bytes());
        for number in [7, n + 1, n * data.len() as u64] {
            frame.extend(number.to_be_bytes());
        }
        frame.extend(id.as_bytes());
        frame.extend(&data);
        let _ = agent.send(Message::binary(frame)).await;
        let _ = tokio::time::timeout(Duration::from_millis(100), agent.next()).await;
    }
    let request = target.request(&format!("/api/commands/{id}/output"));
    let one = |_| async {
        loop {
            let mut stream = target.narrow_tcp().await;
            let _ = stream.write_all(request.as_bytes()).await;
            let mut head = [0; 64];
            if let Ok(Ok(bytes)) =
                tokio::time::timeout(Duration::from_secs(5), stream.read(&mut head)).await
            {
                note_response(head.get(..bytes).unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
    };
    let reads = join_all((0..200).map(one));
    futures::future::join(answers(agent), reads).await;
}

/// Stays in session, and answers what it is asked about its output.
pub(crate) async fn answers(mut agent: Socket) {
    while let Some(Ok(heard)) = agent.next().await {
        let Message::Text(text) = heard else { continue };
        note_message(&text);
        let query = text.split_once(r#""query":""#).and_then(|(_, rest)| rest.split_once('"'));
        if let Some((query, _)) = query {
            let state = format!(r#"{{"query":"{query}","streams":[]}}"#);
            let _ = agent.send(Message::text(message("OUTPUT_STATE", &state))).await;
        }
    }
}

/// Many concurrent requests for a page about an agent with commands.
pub(crate) async fn with_agent(target: Target, page: &'static str) {
    let (agent, id) = target.agent_with_id("a").await;
    let request = target.request(&format!("/api/agents/{id}/{page}"));
    let one = |_| target.ask(request.clone());
    let write = target.repeat(Open::Dashboard, |n| command(n, 3_600_000, "x"), Reads::All);
    let asks = join_all((0..64).map(one));
    futures::future::join3(write, asks, answers(agent)).await;
}

/// Many concurrent requests for a list of many commands.
pub(crate) async fn lists(target: Target, path: &'static str) {
    let _agent = target.agent("a").await;
    let request = target.request(path);
    let one = |_| target.ask(request.clone());
    let write = target.repeat(Open::Dashboard, |n| command(n, 3_600_000, "x"), Reads::All);
    futures::future::join(write, join_all((0..64).map(one))).await;
}
