//! How an agent ends, and that nothing is left behind.

use super::server::{Peer, Server, read_head, upgrade};
use super::{Agent, soon, until};
use onsembl_agent_ref::engine::{self, AgentEnd, AgentError, AgentOptions, TokenSourceKind};
use onsembl_protocol::close::{CloseCause, CloseCode, Initiator};
use onsembl_protocol::wire::payload::CommandPhase;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

#[tokio::test]
async fn a_stopped_agent_reports_its_commands_and_says_goodbye() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.session().await;
    peer.run("c", "echo $$; exec sleep 1000").await;
    peer.acknowledged().await;
    let pid = peer.line().await;
    let stopping = tokio::spawn(agent.stop());
    let report = peer.complete().await;
    assert_eq!((report.status, report.signal), (CommandPhase::Cancelled, Some(15)));
    assert!(!super::is_alive(&pid));
    peer.confirm("c").await;
    let end = peer.end().await.reason;
    assert_eq!((end.initiator, end.cause.code()), (Initiator::Peer, CloseCode::AGENT_STOPPED));
    assert_eq!(stopping.await.unwrap().unwrap(), AgentEnd::Shutdown);
}

#[tokio::test]
async fn what_ignores_being_asked_is_killed_and_the_end_is_not_long_in_coming() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.session().await;
    peer.run("c", "trap '' TERM; echo $$; while :; do sleep 1; done").await;
    peer.acknowledged().await;
    let pid = peer.line().await;
    // The server is gone, so nothing can be confirmed either.
    drop(peer);
    drop(server);
    let asked = Instant::now();
    assert_eq!(agent.stop().await.unwrap(), AgentEnd::Shutdown);
    let took = asked.elapsed();
    assert!(!super::is_alive(&pid));
    assert!(took >= Duration::from_secs(5), "{took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[tokio::test]
async fn a_flood_that_nobody_takes_does_not_hold_up_the_end() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.session().await;
    peer.run("c", "echo $$; exec yes").await;
    peer.acknowledged().await;
    let pid = peer.output().await;
    let pid = String::from_utf8(pid.content.as_bytes().to_vec()).unwrap();
    let pid = pid.lines().next().unwrap().to_owned();
    // Nothing is stored, so the outbox fills up.
    let asked = Instant::now();
    let stopping = tokio::spawn(agent.stop());
    peer.end().await;
    assert_eq!(stopping.await.unwrap().unwrap(), AgentEnd::Shutdown);
    assert!(!super::is_alive(&pid));
    assert!(asked.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_dropped_agent_leaves_no_process() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.session().await;
    peer.run("c", "trap '' TERM; echo $$; while :; do sleep 1; done").await;
    peer.acknowledged().await;
    let pid = peer.line().await;
    agent.task.abort();
    until("the end of the process", || !super::is_alive(&pid)).await;
}

#[tokio::test]
async fn a_permanent_refusal_of_the_dial_ends_the_agent_with_an_error() {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let agent = Agent::start(&format!("ws://{}", tcp.local_addr().unwrap()));
    let (mut stream, _) = soon("a dial", tcp.accept()).await.unwrap();
    let head = read_head(&mut stream).await;
    let mut headers = head.lines().filter_map(|line| line.split_once(": "));
    let nonce = headers.find(|(name, _)| name.eq_ignore_ascii_case("onsembl-nonce")).unwrap().1;
    let answer = format!(
        "HTTP/1.1 403 Forbidden\r\nOnsembl-Nonce: {nonce}\r\nOnsembl-Refusal: forbidden\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
    let error = agent.ended().await.unwrap_err();
    assert!(matches!(error, AgentError::Refused { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("HTTP 403") && text.contains("new token"), "{text}");
}

/// The next link, in session.
async fn session(tcp: &TcpListener) -> Peer {
    let (stream, _) = soon("a dial", tcp.accept()).await.unwrap();
    let mut peer = Peer::greet(upgrade(stream).await.1).await;
    peer.welcome(256 * 1024).await;
    peer
}

/// A firewall, a captive portal or an older server: it may be over in a second.
#[tokio::test]
async fn a_refusal_of_something_on_the_way_ends_nothing() {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let agent = Agent::start(&format!("ws://{}", tcp.local_addr().unwrap()));
    let mut peer = session(&tcp).await;
    peer.run("c", "echo $$; exec sleep 1000").await;
    peer.acknowledged().await;
    let pid = peer.line().await;
    peer.close(CloseCause::GoingAway).await;
    for status in ["403 Forbidden", "401 Unauthorized", "403 Forbidden"] {
        let (mut stream, _) = soon("a dial", tcp.accept()).await.unwrap();
        read_head(&mut stream).await;
        let answer = format!("HTTP/1.1 {status}\r\nServer: edge\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        assert!(super::is_alive(&pid), "{status}");
    }
    let mut peer = session(&tcp).await;
    assert!(super::is_alive(&pid));
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn a_replaced_agent_ends_no_command_and_ends_when_the_last_one_has() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.session().await;
    let go = agent.path("go");
    let text = format!("echo $$; while [ ! -e {} ]; do sleep 0.05; done", go.display());
    peer.run("c", &text).await;
    peer.acknowledged().await;
    let pid = peer.line().await;
    peer.close(CloseCause::Replaced).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(super::is_alive(&pid), "nobody ordered that it end");
    std::fs::write(&go, "").unwrap();
    let text = agent.ended().await.unwrap_err().to_string();
    assert!(text.contains("4200") && text.contains("stop one of the two"), "{text}");
    assert!(!super::is_alive(&pid));
}

#[tokio::test]
async fn a_replaced_agent_without_work_waits_for_nothing() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let peer = server.session().await;
    let began = Instant::now();
    peer.close(CloseCause::Replaced).await;
    let _ = agent.ended().await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_second_agent_on_the_same_state_is_kept_out() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.session().await;
    let token = TokenSourceKind::File("token".into());
    let state_dir = Some(agent.path("state"));
    let options = {
        let mut it = AgentOptions::new(&server.url, token, "builder");
        it.state_dir = state_dir;
        it
    };
    let second = engine::run(options, std::future::pending()).await;
    assert!(matches!(second, Err(AgentError::State(_))), "{second:?}");
    agent.leave(&mut peer).await;
}
