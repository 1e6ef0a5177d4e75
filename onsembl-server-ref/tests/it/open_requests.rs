//! Whatever is open under a token ends with it: every kind there is, by either end.

use crate::fixture::{World, now};
use crate::frames::{beat, extended_dashboard_hello, extended_hello, page_command, wrapper_hello};
use crate::peer::Peer;
use futures::future::BoxFuture;
use onsembl_protocol::fleet::{OpenKind, TokenEnd};
use onsembl_protocol::time::WallTime;
use onsembl_server_ref::auth::TokenKind::{self, Agent, Dashboard};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Tokens of the tests last a day.
const DAY_MS: i64 = 24 * 3600 * 1000;
/// Time enough to open everything.
const OPENED_IN_MS: i64 = 6000;
/// What a look-up of revocations takes at most, and as much again.
const IN_TIME: Duration = Duration::from_secs(15);

/// A token that ends this way before long, and its id.
fn token(world: &World, kind: TokenKind, end: TokenEnd) -> (String, String) {
    let at = match end {
        TokenEnd::Expired => {
            WallTime::from_unix_millis(now().unix_millis() - DAY_MS + OPENED_IN_MS)
        }
        TokenEnd::Revoked => now(),
    };
    world.token_from("ann", kind, at)
}

/// Opens something of this kind; what is returned waits for its end.
async fn open(world: &World, kind: OpenKind, end: TokenEnd) -> (String, BoxFuture<'static, ()>) {
    let address = world.address();
    match kind {
        OpenKind::AgentLink => {
            let (token, id) = token(world, Agent, end);
            let mut link = Peer::open(address, "/ws/agent", Some(&token)).await;
            link.send(extended_hello(&format!("key of {end:?}"), "run-1", &[])).await;
            let _ = link.expect("ACK").await;
            // One that owes its hello, and one for diagnosis, which has no session.
            let mut silent = Peer::open(address, "/ws/agent", Some(&token)).await;
            let mut probe = Peer::open(address, "/ws/agent", Some(&token)).await;
            let hello = extended_hello(&format!("key of {end:?}"), "run-2", &[]);
            probe.send(hello.replace(r#""agentKey""#, r#""probe":true,"agentKey""#)).await;
            assert_eq!(probe.expect("ACK").await["extensions"]["epoch"], 0);
            let all = async move {
                drop(tokio::join!(closed(link, end), closed(probe, end), silent.ended()));
            };
            (id, Box::pin(all))
        }
        OpenKind::ParkedLink => {
            let (token, id) = token(world, Agent, end);
            let mut parked = Peer::open(address, "/ws/agent", Some(&token)).await;
            parked.send(wrapper_hello(&format!("mock of {end:?}"))).await;
            let taught = parked.expect("ACK").await["agentId"].as_str().unwrap().to_owned();
            let mut newer = Peer::open(address, "/ws/agent", Some(&token)).await;
            newer.send(wrapper_hello(&taught)).await;
            let _ = newer.expect("ACK").await;
            let _ = parked.all_until_pong().await;
            (id, Box::pin(async move { drop(tokio::join!(closed(parked, end), newer.ended())) }))
        }
        OpenKind::Dashboard => {
            let (token, id) = token(world, Dashboard, end);
            let mut link = Peer::open(address, "/ws/dashboard", Some(&token)).await;
            link.send(extended_dashboard_hello()).await;
            let _ = link.expect("ACK").await;
            (id, Box::pin(closed(link, end)))
        }
        OpenKind::Output => {
            let (token, id) = token(world, Dashboard, end);
            let path = "/api/commands/cmd-1/output?follow=true";
            let mut stream = begun(world, path, &token).await;
            (
                id,
                Box::pin(async move {
                    let mut rest = Vec::new();
                    let _ = stream.read_to_end(&mut rest).await.unwrap();
                    assert!(!String::from_utf8_lossy(&rest).contains("\"end\""));
                }),
            )
        }
        OpenKind::Recording => {
            let (token, id) = token(world, Dashboard, end);
            let agent = world.agents("ann").await;
            let agent = agent.iter().find(|agent| agent["name"] == "name of loud").unwrap();
            let agent = agent["agent_id"].as_str().unwrap();
            let stream = begun(world, &format!("/api/agents/{agent}/recording"), &token).await;
            // It is not read, so that it stays open. That it ended is counted.
            (id, Box::pin(async move { drop(stream) }))
        }
    }
}

/// An answer whose head has come.
async fn begun(world: &World, path: &str, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(world.address()).await.unwrap();
    let asked = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(asked.as_bytes()).await.unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(stream.read_u8().await.unwrap()));
    }
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    stream
}

async fn closed(mut link: Peer, end: TokenEnd) {
    assert_eq!(link.ended_by(IN_TIME).await.0.code(), end.close_cause().code().0);
}

/// One with more history than is taken at once, and a command that runs.
async fn busy(world: &World) -> (Peer, Peer) {
    let mut link = world.agent_link("ann").await;
    link.send(extended_hello("loud", "run-1", &[])).await;
    let id = link.expect("ACK").await["agentId"].as_str().unwrap().to_owned();
    for n in 1..=12_000 {
        link.send(beat(n, n)).await;
        if n % 400 == 0 {
            let _ = link.all_until_pong().await;
        }
    }
    let mut watching = world.dashboard_link("ann").await;
    watching.send(extended_dashboard_hello()).await;
    watching.send(page_command("cmd-1", &id, "work", &[])).await;
    let _ = link.expect("COMMAND_REQUEST").await;
    (link, watching)
}

#[tokio::test]
async fn every_kind_of_open_request_ends_with_its_token() {
    for end in [TokenEnd::Revoked, TokenEnd::Expired] {
        let mut world = World::start().await;
        let _busy = busy(&world).await;
        let mut opened = Vec::new();
        for kind in OpenKind::ALL {
            opened.push((kind, open(&world, kind, end).await));
        }
        let (mut waiting, mut readers) = (Vec::new(), Vec::new());
        for (kind, (id, ended)) in opened {
            if end == TokenEnd::Revoked {
                let revoke = "INSERT INTO revoked_tokens (token_id, revoked_at, note) VALUES (?1, 1, 'test')";
                let _ = world.database().execute(revoke, [id]).unwrap();
            }
            match kind {
                OpenKind::Recording => readers.push(ended),
                OpenKind::AgentLink
                | OpenKind::ParkedLink
                | OpenKind::Dashboard
                | OpenKind::Output => waiting.push(ended),
            }
        }
        let all = tokio::time::timeout(IN_TIME, futures::future::join_all(waiting)).await;
        assert!(all.is_ok(), "something is open yet: {end:?}");
        let counter = OpenKind::Recording.counter(end);
        let counters = world.server_mut().counters().clone();
        let counted = async {
            while counters.snapshot().get(counter) != Some(&2) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let counted = tokio::time::timeout(IN_TIME, counted).await;
        assert!(counted.is_ok(), "{end:?}: {:?}", counters.snapshot());
        drop(readers);
    }
}
