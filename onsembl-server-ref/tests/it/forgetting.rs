//! Agents that are forgotten by themselves.

use crate::command_line::token;
use crate::fixture::{PATIENCE, fast};
use crate::frames::extended_hello;
use crate::peer::{Peer, Request};
use onsembl_server_ref::auth::TokenKind;
use onsembl_server_ref::server::{Server, ServerOptions};
use std::time::{Duration, Instant};

#[tokio::test]
async fn an_ephemeral_agent_is_forgotten_soon_after_it_left_and_another_is_not() {
    let data = tempfile::tempdir().unwrap();
    let mut options = ServerOptions::new(data.path());
    options.agents = fast();
    options.kept.ephemeral = Duration::from_secs(1);
    let mut server = Server::start(options).await.unwrap();
    let listening = server.listen("127.0.0.1:0".parse().unwrap(), None).await.unwrap();
    let (agents, page) =
        (token(data.path(), TokenKind::Agent), token(data.path(), TokenKind::Dashboard));
    let listed = async || {
        let page = Request::get("/api/agents").bearer(Some(&page)).send(listening.address()).await;
        let agents = page.json()["agents"].as_array().unwrap().clone();
        let of = |agent: &serde_json::Value| {
            (agent["name"].as_str().unwrap().to_owned(), agent["capabilities"].to_string())
        };
        agents.iter().map(of).collect::<Vec<_>>()
    };
    let mut links = Vec::new();
    for key in ["stays", "goes"] {
        let hello = extended_hello(key, "run-1", &[]);
        let hello = match key {
            "goes" => hello.replace("\"features\":[", "\"features\":[\"ephemeral\","),
            _ => hello,
        };
        let mut link = Peer::open(listening.address(), "/ws/agent", Some(&agents)).await;
        link.send(hello).await;
        let welcome = link.expect("ACK").await;
        let features = welcome["extensions"]["features"].to_string();
        assert_eq!(features.contains("ephemeral"), key == "goes", "{features}");
        links.push(link);
    }
    let both = listed().await;
    assert_eq!(both.len(), 2);
    assert!(both.iter().all(|(name, can)| name.contains("goes") == can.contains("ephemeral")));
    for link in links {
        link.close(Some(1000)).await;
    }
    let begin = Instant::now();
    loop {
        let names = listed().await;
        if names.len() == 1 {
            assert_eq!(names[0].0, "name of stays");
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{names:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.stop().await;
}
