//! Links that come, go, and come back.

use super::server::{AGENT, Peer, Server, read_head, upgrade};
use super::{Agent, soon};
use onsembl_agent_ref::engine::{AgentObservation, TokenSourceKind};
use onsembl_agent_ref::status_file::AgentStatusFile;
use onsembl_protocol::close::{CloseCause, Initiator};
use onsembl_protocol::id::{ByteOffset, CommandId};
use onsembl_protocol::session::{AgentCause, AgentStatus, DialFailure};
use onsembl_protocol::wire::payload::{
    AgentType, CommandPhase, Feature, SeenBeat, ServerHeartbeat, TokenRefresh,
};
use onsembl_protocol::wire::{AgentToServer, ServerToAgent, payload};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

#[tokio::test]
async fn the_hello_says_who_the_agent_is() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.accept().await;
    let hello = peer.hello.clone();
    assert_eq!(hello.name.as_deref(), Some("builder"));
    assert_eq!(hello.agent_type, AgentType::Custom);
    assert_eq!(hello.version.as_deref(), Some(env!("CARGO_PKG_VERSION")));
    assert!(!hello.host_machine.unwrap().is_empty());
    assert!(hello.capabilities.supports_interrupt && !hello.capabilities.supports_trace);
    let extensions = hello.extensions.unwrap();
    let key = std::fs::read_to_string(agent.path("state/agent.key")).unwrap();
    assert_eq!(extensions.agent_key.as_str(), key.trim());
    assert_eq!(hello.agent_id, key.trim());
    assert!(!extensions.probe && extensions.commands.is_empty());
    for feature in [Feature::Heartbeats, Feature::OutputBytes, Feature::CommandReports] {
        assert!(extensions.features.contains(&feature), "{feature}");
    }
    peer.welcome(256 * 1024).await;
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn output_goes_out_in_binary_to_a_server_that_agreed_and_in_text_to_the_next() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.accept().await;
    let agreed = vec![Feature::OutputBytes, Feature::OutputBinary, Feature::CommandReports];
    peer.welcome_with(agreed, 256 * 1024).await;
    peer.run("c", r"printf 'a\377\n'; exec sleep 1000").await;
    peer.acknowledged().await;
    let binary = peer.output().await;
    assert_eq!(binary.content.as_bytes(), b"a\xff\n");
    assert_eq!((peer.binary, binary.agent_id.is_some()), (1, false));
    drop(peer);

    let mut peer = server.session().await;
    peer.acknowledged().await;
    let text = peer.output().await;
    assert_eq!((peer.binary, text.agent_id.is_some()), (0, true));
    assert_eq!(text.content.as_bytes(), b"a\xff\n");
    assert_eq!((text.offset, text.incarnation), (binary.offset, binary.incarnation));
    assert_eq!((text.sequence, &text.stream), (binary.sequence, &binary.stream));
    peer.store(&text).await;
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn heartbeats_carry_real_figures_and_the_status_file_follows() {
    let mut server = Server::new().await;
    let mut agent = Agent::start(&server.url);
    let mut peer = server.session().await;
    peer.run("c", "echo on; exec sleep 1000").await;
    peer.acknowledged().await;
    peer.line().await;
    let beat = peer.beats.first().expect("the first beat goes at once").clone();
    let metrics = beat.health_metrics.unwrap();
    assert!((0.0..=100.0).contains(&metrics.cpu_usage.unwrap()));
    assert!(metrics.memory_usage.unwrap() > 0.0);
    assert!(metrics.uptime.unwrap() >= 0.0);
    let answer = ServerHeartbeat {
        seen: Some(SeenBeat { sequence: beat.sequence.unwrap(), age_ms: 0 }),
        ..ServerHeartbeat::default()
    };
    peer.send(ServerToAgent::Heartbeat(answer)).await;
    agent.sees("the answer", |o| matches!(o, AgentObservation::BeatAnswered { .. })).await;
    let dir = agent.path("state");
    super::until("the status file", || {
        let status = AgentStatusFile::read(&dir).unwrap();
        status.is_some_and(|s| {
            s.state == "connected"
                && s.epoch == Some(7)
                && s.agent_id.as_deref() == Some(AGENT)
                && s.running_commands == 1
                && s.last_heartbeat_sent.is_some()
                && s.last_heartbeat_answered.is_some()
        })
    })
    .await;
    // The directory must outlive the agent.
    let Agent { task, stop, dir: _dir, .. } = agent;
    drop(stop);
    peer.complete().await;
    peer.confirm("c").await;
    peer.end().await;
    soon("the end", task).await.unwrap().unwrap();
    let last = AgentStatusFile::read(&dir).unwrap().unwrap();
    assert_eq!((last.state.as_str(), last.running_commands), ("closed", 0));
}

#[tokio::test]
async fn a_cut_link_ends_no_process_and_loses_no_byte() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.session().await;
    let go = agent.path("go");
    let wait = format!("until [ -e {} ]; do sleep 0.01; done", go.display());
    peer.run("c", &format!("echo first; {wait}; echo second; echo third >&2")).await;
    peer.acknowledged().await;
    let first = peer.output().await;
    drop(peer);
    std::fs::write(&go, "").unwrap();

    let mut peer = server.accept().await;
    let open = peer.hello.extensions.clone().unwrap().commands;
    assert_eq!(open, [CommandId::new("c")]);
    assert_eq!(peer.hello.agent_id, AGENT);
    peer.welcome(256 * 1024).await;
    assert_eq!(peer.acknowledged().await.command_id, CommandId::new("c"));
    let again = peer.output().await;
    assert_eq!(again, first);
    assert_eq!(again.offset, Some(ByteOffset(0)));
    peer.store(&again).await;
    let (mut stdout, mut stderr) = (first.content.as_bytes().to_vec(), Vec::new());
    let report = loop {
        match peer.next().await {
            AgentToServer::Output(output) => {
                assert_eq!(output.incarnation, first.incarnation);
                let stream = match output.stream {
                    payload::StreamType::Stderr => &mut stderr,
                    _ => &mut stdout,
                };
                assert_eq!(output.offset, Some(ByteOffset(stream.len() as u64)));
                stream.extend_from_slice(output.content.as_bytes());
                peer.store(&output).await;
            }
            AgentToServer::CommandComplete(report) => break report,
            other => panic!("not expected: {other:?}"),
        }
    };
    assert_eq!((stdout.as_slice(), stderr.as_slice()), (&b"first\nsecond\n"[..], &b"third\n"[..]));
    assert_eq!(report.status, CommandPhase::Completed);
    drop(peer);

    // The report was not confirmed: it is sent again until it is.
    let mut peer = server.session().await;
    assert_eq!(peer.complete().await, report);
    peer.confirm("c").await;
    // By its answer the agent has read what came before.
    peer.cancel("other", false).await;
    peer.complete().await;
    peer.confirm("other").await;
    peer.cancel("third", false).await;
    peer.complete().await;
    drop(peer);
    let mut peer = server.accept().await;
    assert_eq!(peer.hello.extensions.clone().unwrap().commands, [CommandId::new("third")]);
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn after_an_absence_more_reports_than_any_queue_holds_all_arrive() {
    const REPORTS: usize = 1500;
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.session().await;
    for n in 0..REPORTS {
        peer.cancel(&format!("c{n}"), false).await;
        peer.complete().await;
    }
    drop(peer);
    let mut peer = server.session().await;
    // More than a hello may list, and yet one that a server takes.
    assert_eq!(peer.hello.extensions.clone().unwrap().commands.len(), 1024);
    let mut ids = BTreeSet::new();
    while ids.len() < REPORTS {
        ids.insert(peer.complete().await.command_id);
    }
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn the_agent_starts_without_a_server_and_finds_it_when_it_appears() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut agent = Agent::start(&format!("http://{free}"));
    let waits = |o: &AgentObservation| {
        matches!(o, AgentObservation::Status { status: AgentStatus::Reconnecting { .. }, .. })
    };
    agent.sees("a failed dial", waits).await;
    let mut server = Server::at(&free.to_string()).await;
    let mut peer = server.session().await;
    peer.run("c", "echo on").await;
    assert_eq!(peer.all().await.0, b"on\n");
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn dials_show_the_newest_token_and_the_learned_id() {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let agent = Agent::start(&format!("ws://{}", tcp.local_addr().unwrap()));
    let (head, link) = upgrade(soon("a dial", tcp.accept()).await.unwrap().0).await;
    assert!(head.starts_with("GET /ws/agent HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains("authorization: bearer token-1\r\n"), "{head}");
    let mut peer = Peer::greet(link).await;
    peer.welcome(256 * 1024).await;
    peer.send(ServerToAgent::TokenRefresh(TokenRefresh {
        access_token: payload::Secret::new("token-2"),
        expires_in: None,
        refresh_token: None,
    }))
    .await;
    peer.close(CloseCause::GoingAway).await;
    let (head, link) = upgrade(soon("a dial", tcp.accept()).await.unwrap().0).await;
    assert!(head.starts_with(&format!("GET /ws/agent?agentId={AGENT} HTTP/1.1\r\n")), "{head}");
    assert!(head.to_lowercase().contains("authorization: bearer token-2\r\n"), "{head}");
    let mut peer = Peer::greet(link).await;
    agent.leave(&mut peer).await;
}

/// The next dial: the token it shows, and the link.
async fn dialled(tcp: &TcpListener) -> (String, Peer) {
    let (stream, _) = soon("a dial", tcp.accept()).await.unwrap();
    let (head, link) = upgrade(stream).await;
    let token = head.lines().find_map(|line| line.split_once("Bearer ")).unwrap().1.to_owned();
    (token, Peer::greet(link).await)
}

/// The 30 to 60 s after a refused token are for a token that only a person can bring.
const AT_ONCE: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_token_that_was_renewed_in_its_file_is_shown_as_soon_as_it_is_there() {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "one").unwrap();
    let url = format!("ws://{}", tcp.local_addr().unwrap());
    let agent = Agent::start_with(&url, TokenSourceKind::File(file.clone()));
    let (token, mut peer) = dialled(&tcp).await;
    assert_eq!(token, "one");
    peer.welcome(256 * 1024).await;

    std::fs::write(&file, "two").unwrap();
    let refused = Instant::now();
    peer.close(CloseCause::TokenExpired).await;
    let (token, mut peer) = dialled(&tcp).await;
    assert_eq!(token, "two");
    assert!(refused.elapsed() < AT_ONCE, "{:?}", refused.elapsed());
    peer.welcome(256 * 1024).await;

    // The same token again: it is waited for, and found when it comes.
    peer.close(CloseCause::TokenExpired).await;
    let early = tokio::time::timeout(Duration::from_secs(3), tcp.accept()).await;
    assert!(early.is_err(), "the refused token was shown again");
    std::fs::write(&file, "three").unwrap();
    let written = Instant::now();
    let (token, mut peer) = dialled(&tcp).await;
    assert_eq!(token, "three");
    assert!(written.elapsed() < AT_ONCE, "{:?}", written.elapsed());
    peer.welcome(256 * 1024).await;
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn a_session_goes_on_with_the_newer_token_before_the_old_one_ends() {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "one").unwrap();
    let url = format!("ws://{}", tcp.local_addr().unwrap());
    let agent = Agent::start_with(&url, TokenSourceKind::File(file.clone()));
    let (_, mut old) = dialled(&tcp).await;
    old.welcome(256 * 1024).await;
    std::fs::write(&file, "two").unwrap();
    let (stream, _) = soon("a dial in session", tcp.accept()).await.unwrap();
    let (head, link) = upgrade(stream).await;
    assert!(head.contains("Bearer two"), "{head}");
    // The old link ends only when the new one stands.
    let end = old.end().await.reason;
    assert_eq!((end.initiator, end.cause), (Initiator::Peer, CloseCause::Superseded));
    let mut peer = Peer::greet(link).await;
    peer.welcome(256 * 1024).await;
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn a_newer_token_that_is_refused_costs_the_session_nothing() {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "one").unwrap();
    let url = format!("ws://{}", tcp.local_addr().unwrap());
    let agent = Agent::start_with(&url, TokenSourceKind::File(file.clone()));
    let (_, mut peer) = dialled(&tcp).await;
    peer.welcome(256 * 1024).await;
    std::fs::write(&file, "revoked").unwrap();
    let (mut stream, _) = soon("a dial in session", tcp.accept()).await.unwrap();
    let head = read_head(&mut stream).await;
    let mut headers = head.lines().filter_map(|line| line.split_once(": "));
    let nonce = headers.find(|(name, _)| name.eq_ignore_ascii_case("onsembl-nonce")).unwrap().1;
    let answer = format!(
        "HTTP/1.1 403 Forbidden\r\nOnsembl-Nonce: {nonce}\r\nOnsembl-Refusal: forbidden\r\n\
         Content-Length: 0\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
    peer.run("c", "echo here").await;
    peer.acknowledged().await;
    assert_eq!(peer.line().await.trim(), "here");
    let _ = peer.complete().await;
    peer.confirm("c").await;
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn a_token_file_that_is_late_is_not_taken_for_a_refused_token() {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let url = format!("ws://{}", tcp.local_addr().unwrap());
    let mut agent = Agent::start_with(&url, TokenSourceKind::File(file.clone()));
    let no_token = AgentCause::DialFailed(DialFailure::NoToken);
    agent
        .sees(
            "a dial without a token",
            |seen| matches!(seen, AgentObservation::Status { cause, .. } if *cause == no_token),
        )
        .await;
    std::fs::write(&file, "late").unwrap();
    let written = Instant::now();
    let (token, mut peer) = dialled(&tcp).await;
    assert_eq!(token, "late");
    assert!(written.elapsed() < AT_ONCE, "{:?}", written.elapsed());
    peer.welcome(256 * 1024).await;
    agent.leave(&mut peer).await;
}
