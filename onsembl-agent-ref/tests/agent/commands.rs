//! Commands in one undisturbed session.

use super::server::{Server, request};
use super::{Agent, until};
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::id::{ByteOffset, CommandId};
use onsembl_protocol::wire::payload::{
    CommandAckStatus, CommandPhase, ErrorCode, ErrorReply, Ping, TerminalOutput,
};
use onsembl_protocol::wire::payload::{OutputQuery, OutputResume, ResumePosition, StreamType};
use onsembl_protocol::wire::{AgentToServer, ServerToAgent};
use std::collections::BTreeMap;

#[tokio::test]
async fn a_command_is_acknowledged_and_its_bytes_come_out_as_they_are() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.session().await;
    let mut asked =
        request("c", r#"printf 'a\377\376\000b\303\251%s%s' "$1" "$VAR"; pwd >&2; exit 3"#);
    asked.args = vec!["one \u{e9}".to_owned()];
    asked.env = BTreeMap::from([("VAR".to_owned(), "two".to_owned())]);
    asked.working_directory = Some("/usr".to_owned());
    peer.request(asked).await;
    let ack = peer.acknowledged().await;
    assert_eq!(ack.command_id, CommandId::new("c"));
    assert_eq!(ack.status, CommandAckStatus::Executing);
    let (stdout, stderr, report) = peer.all().await;
    assert_eq!(stdout, [&b"a\xff\xfe\x00b"[..], "\u{e9}one \u{e9}two".as_bytes()].concat());
    assert_eq!(stderr, b"/usr\n");
    assert_eq!(report.status, CommandPhase::Failed);
    assert_eq!(report.exit_code, Some(3));
    let totals = report.output.unwrap();
    assert_eq!(totals.stdout_bytes, ByteOffset(stdout.len() as u64));
    assert_eq!(totals.stderr_bytes, ByteOffset(5));
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn the_report_waits_until_all_output_is_stored() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.session().await;
    peer.run("c", "echo $$").await;
    peer.acknowledged().await;
    let output = peer.output().await;
    let pid = String::from_utf8(output.content.as_bytes().to_vec()).unwrap();
    until("the end of the process", || !super::is_alive(&pid)).await;
    // Each answer comes by way of the loop that would send the report.
    for _ in 0..50 {
        peer.send(ServerToAgent::Ping(Ping { timestamp: Some(1.0), sequence: None })).await;
        assert!(matches!(peer.next().await, AgentToServer::Pong(_)));
    }
    // What acknowledges something else confirms no report that was not sent.
    peer.confirm("c").await;
    drop(peer);
    let mut peer = server.session().await;
    assert_eq!(peer.hello.extensions.clone().unwrap().commands, [CommandId::new("c")]);
    assert_eq!(peer.acknowledged().await.command_id, CommandId::new("c"));
    let again = peer.output().await;
    assert_eq!(again, output);
    peer.store(&again).await;
    assert_eq!(peer.complete().await.status, CommandPhase::Completed);
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn no_more_than_the_window_is_unacknowledged_and_nothing_is_lost_behind_it() {
    const WINDOW: usize = 64 * 1024;
    const BYTES: usize = 5 << 20;
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.accept().await;
    peer.welcome(WINDOW as u64).await;
    // More than the outbox holds, so that reading must pause and resume.
    peer.run("c", &format!("head -c {BYTES} /dev/zero | tr '\\0' x")).await;
    peer.acknowledged().await;
    let mut total = 0;
    let mut last = None;
    let mut take = |output: TerminalOutput| {
        let bytes = output.content.as_bytes();
        assert!(bytes.iter().all(|b| *b == b'x'));
        assert_eq!(output.offset, Some(ByteOffset(total as u64)));
        total += bytes.len();
        last = Some(output);
        total
    };
    // No chunk is larger than half of this window, so at least half of it comes unasked; and then
    // no more, however long nothing is acknowledged.
    while take(peer.output().await) < WINDOW / 2 {}
    for _ in 0..50 {
        peer.send(ServerToAgent::Ping(Ping { timestamp: Some(1.0), sequence: None })).await;
        while let AgentToServer::Output(output) = peer.next().await {
            assert!(take(output) <= WINDOW);
        }
    }
    peer.store(&last.take().unwrap()).await;
    while total < BYTES {
        let output = peer.output().await;
        assert_eq!(output.offset, Some(ByteOffset(total as u64)));
        total += output.content.as_bytes().len();
        peer.store(&output).await;
    }
    assert_eq!(peer.complete().await.output.unwrap().stdout_bytes, ByteOffset(BYTES as u64));
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn a_command_id_runs_once_however_often_it_is_asked_for() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.session().await;
    let (mark, go) = (agent.path("mark"), agent.path("go"));
    let text = format!(
        "echo ran >> {}; until [ -e {} ]; do sleep 0.01; done",
        mark.display(),
        go.display()
    );
    for _ in 0..3 {
        peer.run("c", &text).await;
        assert_eq!(peer.acknowledged().await.status, CommandAckStatus::Executing);
    }
    std::fs::write(&go, "").unwrap();
    let first = peer.complete().await;
    // Asked again before and after the report is confirmed.
    peer.run("c", &text).await;
    assert_eq!(peer.complete().await, first);
    peer.confirm("c").await;
    peer.run("c", &text).await;
    assert_eq!(peer.complete().await, first);
    assert_eq!(std::fs::read_to_string(&mark).unwrap(), "ran\n");
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn a_cancelled_command_is_gone_with_all_its_processes_when_it_is_reported() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.session().await;
    for (id, force, signal, text) in [
        ("asked", false, 15, "sleep 1000 & echo $!; wait"),
        ("forced", true, 9, "trap '' TERM; sleep 1000 & echo $!; wait"),
    ] {
        peer.run(id, text).await;
        peer.acknowledged().await;
        let child = peer.line().await;
        assert!(super::is_alive(&child));
        peer.cancel(id, force).await;
        let report = peer.complete().await;
        assert!(!super::is_alive(&child), "{id}");
        assert_eq!((report.status, report.signal), (CommandPhase::Cancelled, Some(signal)));
        peer.confirm(id).await;
    }
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn what_never_came_here_is_reported_as_cancelled_and_never_runs_later() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.session().await;
    let mark = agent.path("mark");
    peer.cancel("c", false).await;
    assert_eq!(peer.complete().await.status, CommandPhase::Cancelled);
    peer.run("c", &format!("touch {}", mark.display())).await;
    assert_eq!(peer.complete().await.status, CommandPhase::Cancelled);
    assert!(!mark.exists());
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn a_command_over_its_time_limit_is_ended_and_the_report_says_why() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.session().await;
    let mut asked = request("c", "exec sleep 1000");
    asked.constraints.time_limit_ms = Some(200);
    peer.request(asked).await;
    peer.acknowledged().await;
    let report = peer.complete().await;
    assert_eq!(report.status, CommandPhase::Failed);
    assert_eq!(report.error.unwrap(), "it ran longer than its limit of 200ms");
    assert!(report.duration_ms.unwrap() >= 200);
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn what_cannot_be_started_is_reported_with_the_reason_and_the_agent_lives_on() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.session().await;
    let mut asked = request("c", "true");
    asked.working_directory = Some("/nowhere/at/all".to_owned());
    peer.request(asked).await;
    let report = peer.complete().await;
    assert_eq!((report.status, report.exit_code), (CommandPhase::Failed, None));
    assert!(report.error.unwrap().contains("/nowhere/at/all"));
    // As long as a request may be: the report must still be one that a server takes.
    let mut asked = request("long", "true");
    asked.working_directory = Some("/x".repeat(32 * 1024));
    peer.request(asked).await;
    assert_eq!(peer.complete().await.status, CommandPhase::Failed);
    // Without an id it could not be distinguished from its repetition.
    let mark = agent.path("mark");
    let mut asked = request("", &format!("touch {}", mark.display()));
    asked.command_id = None;
    peer.request(asked).await;
    let AgentToServer::Fault(fault) = peer.next().await else { panic!("no fault") };
    assert!(fault.recoverable && fault.message.contains("commandId"));
    peer.run("d", "echo on").await;
    assert_eq!(peer.all().await.0, b"on\n");
    assert!(!mark.exists());
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn a_background_process_that_lives_on_is_named_in_the_report() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.session().await;
    peer.run("c", "sleep 1000 >/dev/null 2>&1 & echo $!").await;
    let (stdout, _, report) = peer.all().await;
    assert_eq!((report.status, report.exit_code), (CommandPhase::Completed, Some(0)));
    assert!(report.error.unwrap().contains("running in the background"));
    let pid = String::from_utf8(stdout).unwrap();
    assert!(super::is_alive(&pid));
    let kill = std::process::Command::new("kill").args(["-9", pid.trim()]).status().unwrap();
    assert!(kill.success());
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn what_the_server_does_not_know_is_dropped_and_holds_up_nothing() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.session().await;
    peer.run("lost", "echo lost").await;
    peer.acknowledged().await;
    peer.output().await;
    let unknown = ErrorReply::new(ErrorCode::CommandNotFound, "no such command")
        .for_command(Some(CommandId::new("lost")));
    peer.send(ServerToAgent::Error(unknown)).await;
    peer.run("c", "echo on").await;
    let mut written = Vec::new();
    loop {
        match peer.next().await {
            AgentToServer::Output(output) => {
                written.extend_from_slice(output.content.as_bytes());
                peer.store(&output).await;
            }
            AgentToServer::CommandComplete(report) if report.command_id.as_str() == "c" => break,
            AgentToServer::CommandAck(_) | AgentToServer::CommandComplete(_) => {}
            other => panic!("not expected: {other:?}"),
        }
    }
    assert_eq!(written, b"on\n");
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn in_a_new_session_output_goes_on_where_the_server_says_that_it_is_stored() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.accept().await;
    peer.welcome_resuming(256 * 1024).await;
    peer.run("c", "echo one; sleep 0.2; echo two; exec sleep 1000").await;
    peer.acknowledged().await;
    assert_eq!(peer.output().await.content.as_bytes(), b"one\n");
    let two = peer.output().await;
    assert_eq!(two.content.as_bytes(), b"two\n");
    peer.close(CloseCause::GoingAway).await;

    let mut peer = server.accept().await;
    peer.welcome_resuming(256 * 1024).await;
    let AgentToServer::OutputState(state) = peer.next().await else { panic!("no state") };
    assert!(!state.more && state.query.is_none());
    let reported = state.streams.iter().find(|s| s.stream_type == StreamType::Stdout).unwrap();
    assert_eq!((reported.produced, reported.stored), (ByteOffset(8), ByteOffset(0)));
    peer.acknowledged().await;
    let position = ResumePosition {
        command_id: reported.command_id.clone(),
        incarnation: reported.incarnation,
        stream_type: StreamType::Stdout,
        offset: ByteOffset(6),
    };
    let resume = OutputResume { streams: vec![position], more: false };
    peer.send(ServerToAgent::OutputResume(resume)).await;
    let rest = peer.output().await;
    assert_eq!((rest.content.as_bytes(), rest.offset), (&b"o\n"[..], Some(ByteOffset(6))));

    peer.send(ServerToAgent::OutputQuery(OutputQuery { query: "q".into() })).await;
    let AgentToServer::OutputState(state) = peer.next().await else { panic!("no answer") };
    assert_eq!(state.query.as_deref(), Some("q"));
    let reported = state.streams.iter().find(|s| s.stream_type == StreamType::Stdout).unwrap();
    assert_eq!((reported.produced, reported.stored), (ByteOffset(8), ByteOffset(6)));
    agent.leave(&mut peer).await;
}

#[tokio::test]
async fn far_more_than_memory_holds_waits_on_disk_and_arrives_whole() {
    let mut server = Server::new().await;
    let agent = Agent::start(&server.url);
    let mut peer = server.accept().await;
    peer.welcome_resuming(256 * 1024).await;
    let done = agent.path("done");
    let text = format!("seq 1 2000000; touch {}", done.display());
    peer.run("c", &text).await;
    peer.acknowledged().await;
    // Nothing is acknowledged, and the process does not wait for it.
    until("the process is through", || done.exists()).await;
    let expected: Vec<u8> = (1..=2_000_000).flat_map(|n| format!("{n}\n").into_bytes()).collect();
    let mut got = Vec::new();
    while got.len() < expected.len() {
        let output = peer.output().await;
        assert_eq!(output.offset, Some(ByteOffset(got.len() as u64)));
        got.extend_from_slice(output.content.as_bytes());
        peer.store(&output).await;
    }
    assert!(got == expected);
    let report = peer.complete().await;
    assert_eq!(report.status, CommandPhase::Completed);
    let left = || std::fs::read_dir(agent.path("state/spool")).unwrap().count();
    until("the spool is empty", || left() == 0).await;
    agent.leave(&mut peer).await;
}
