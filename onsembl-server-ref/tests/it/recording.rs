//! Recordings of a running server: exported by its owner and nobody else, replayed to the byte, and
//! without a word of what was said.

use crate::extended::agent;
use crate::fixture::{World, fast};
use crate::frames::{
    Chunk, beat, command_ack, command_complete, extended_dashboard_hello, page_command,
};
use crate::peer::Peer;
use onsembl_protocol::replay::{FrameNote, Head, Recordable, Script, ServerOrigin, replay};
use onsembl_protocol::session::{
    ServerAction, ServerConfig, ServerConnection, ServerEvent, ServerSnapshot,
};
use onsembl_protocol::step::Step;
use onsembl_protocol::time::{Deadline, Now};
use onsembl_server_ref::auth::TokenKind;
use serde_json::Value;
use std::process::{Command, Output};
use std::time::Duration;

async fn run(arguments: Vec<String>) -> Output {
    let run = move || {
        Command::new(env!("CARGO_BIN_EXE_onsembl-server")).args(arguments).output().unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

async fn export(world: &World, user: &str, agent: &str) -> Output {
    let server = format!("http://{}", world.address());
    let token = world.token(user, TokenKind::Dashboard);
    let words = ["export", "--server", &server, "--token", &token, agent];
    run(words.map(str::to_owned).to_vec()).await
}

async fn exported(world: &World, user: &str, agent: &str) -> String {
    let output = export(world, user, agent).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn replayed(files: &[&str]) -> (i32, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = vec!["replay".to_owned()];
    for (n, text) in files.iter().enumerate() {
        let path = folder.path().join(format!("{n}.jsonl"));
        std::fs::write(&path, text).unwrap();
        arguments.push(path.to_str().unwrap().to_owned());
    }
    let output = run(arguments).await;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Heartbeats up to this one, each answered as recorded.
async fn beat_up_to(link: &mut Peer, last: u64) {
    for n in 1..=last {
        link.send(beat(n, n)).await;
        let recorded = |b: &Value| b["recorded"]["sequence"] == n;
        let _ = link.expect_that("SERVER_HEARTBEAT", recorded).await;
    }
}

#[tokio::test]
async fn what_a_server_recorded_of_an_agent_replays_to_the_byte() {
    let world = World::start().await;
    let (mut link, ack) = agent(&world, "ann", "key-1", "run-1").await;
    beat_up_to(&mut link, 5).await;
    let by_id = exported(&world, "ann", ack["agentId"].as_str().unwrap()).await;
    let by_name = exported(&world, "ann", "name of key-1").await;
    assert_eq!(by_id, by_name);
    let summary = replay(&by_id).unwrap();
    assert_eq!((summary.agent.as_str(), summary.dropped), (ack["agentId"].as_str().unwrap(), 0));
    assert_eq!(by_id.matches(r#""type":"AGENT_HEARTBEAT""#).count(), 5);
    assert_eq!(by_id.matches(r#""Recorded""#).count(), 5);

    let (code, out, err) = replayed(&[&by_id]).await;
    let entries = summary.entries;
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, format!("1 recording agrees with this core, {entries} entries\n"));
    let (code, out, _) = replayed(&[&by_id, &by_name]).await;
    assert_eq!(code, 0);
    assert_eq!(out, format!("2 recordings agree with this core, {} entries\n", 2 * entries));
}

#[tokio::test]
async fn a_long_recording_comes_in_parts_and_whole() {
    let world = World::start().await;
    let (mut link, ack) = agent(&world, "ann", "key-1", "run-1").await;
    for _ in 0..700 {
        let _ = link.all_until_pong().await;
    }
    let text = exported(&world, "ann", ack["agentId"].as_str().unwrap()).await;
    assert!(text.len() > 2 * 64 * 1024, "{}", text.len());
    assert!(replay(&text).unwrap().entries > 700);
}

#[tokio::test]
async fn no_text_of_anybody_is_in_a_recording() {
    let world = World::start().await;
    let (mut link, ack) = agent(&world, "ann", "key-1", "run-1").await;
    let id = ack["agentId"].as_str().unwrap().to_owned();
    let mut ann = world.dashboard_link("ann").await;
    ann.send(extended_dashboard_hello()).await;
    let _ = ann.expect("ACK").await;
    ann.send(page_command("cmd-1", &id, "cat very-secret", &[])).await;
    let _ = link.expect("COMMAND_REQUEST").await;
    link.send(command_ack("cmd-1", "EXECUTING")).await;
    let chunk = Chunk {
        command: "cmd-1",
        stream: "STDOUT",
        sequence: 1,
        offset: 0,
        encoding: "utf-8",
        content: "very-secret",
    };
    link.send(chunk.text()).await;
    link.send(r#"{"type":"VERY_SECRET_TYPE","id":"m","timestamp":1,"payload":{}}"#).await;
    link.send("very-secret nonsense").await;
    link.send(command_complete("cmd-1", "COMPLETED", 0)).await;
    let _ = link.all_until_pong().await;
    let text = exported(&world, "ann", &id).await;
    let _ = replay(&text).unwrap();
    for word in ["secret", "SECRET", "cmd-1"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
    for frame in ["TERMINAL_OUTPUT", "COMMAND_ACK", "COMMAND_COMPLETE", "unknown", "undecodable"] {
        assert!(
            text.contains(&format!(r#""frame":{{"type":"{frame}","bytes":"#)),
            "{frame}: {text}"
        );
    }
}

#[tokio::test]
async fn a_recording_is_its_owners_alone() {
    let world = World::start().await;
    let (_link, ack) = agent(&world, "ann", "key-1", "run-1").await;
    let id = ack["agentId"].as_str().unwrap();
    let path = format!("/api/agents/{id}/recording");
    assert_eq!(world.get(&path, None).await.status, 401);
    let of_agent = world.token("ann", TokenKind::Agent);
    assert_eq!(world.get(&path, Some(&of_agent)).await.status, 401);
    let of_bob = world.token("bob", TokenKind::Dashboard);
    let others = world.get(&path, Some(&of_bob)).await;
    let nobodys = world.get("/api/agents/no-such/recording", Some(&of_bob)).await;
    assert_eq!((others.status, &others.body), (404, &nobodys.body));
    assert_eq!(nobodys.status, 404);
    for (user, agent, why) in [
        ("bob", id, "no agent of yours is called"),
        ("ann", "nobody", "no agent of yours is called \"nobody\""),
    ] {
        let output = export(&world, user, agent).await;
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), b"".as_slice()));
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(err.contains(why), "{err}");
    }
    assert_eq!(world.delete(&format!("/api/agents/{id}"), "ann").await.status, 204);
    let of_ann = world.token("ann", TokenKind::Dashboard);
    assert_eq!(world.get(&path, Some(&of_ann)).await.status, 404, "deleted");
}

#[tokio::test]
async fn an_agent_that_went_can_be_looked_at_and_its_return_follows() {
    let world = World::with(fast()).await;
    let (link, ack) = agent(&world, "ann", "key-1", "run-1").await;
    let id = ack["agentId"].as_str().unwrap().to_owned();
    drop(link);
    let _ = world.agent_is("ann", "offline").await;
    let text = exported(&world, "ann", &id).await;
    let excerpt = replay(&text).unwrap();
    let last = text.lines().nth_back(1).unwrap();
    assert!(last.contains(r#""Forget""#) && last.contains(r#""status":"offline""#), "{last}");

    let (mut link, _) = agent(&world, "ann", "key-1", "run-2").await;
    beat_up_to(&mut link, 1).await;
    let text = exported(&world, "ann", &id).await;
    assert!(replay(&text).unwrap().entries > excerpt.entries);
    assert_eq!(text.matches(r#""start":{"origin":{"New""#).count(), 2);
    assert!(text.contains(r#""ResumeWindowOver""#), "{text}");
}

#[tokio::test]
async fn a_recording_says_why_its_agent_was_away_and_replays_as_before() {
    let world = World::start().await;
    let (link, ack) = agent(&world, "ann", "key-1", "run-1").await;
    let id = ack["agentId"].as_str().unwrap().to_owned();
    let before = exported(&world, "ann", &id).await;
    assert_eq!(replay(&before).unwrap().verdicts, None, "it was not away");
    link.close(Some(4103)).await;
    let _ = world.agent_is("ann", "offline").await;
    let (mut link, _) = agent(&world, "ann", "key-1", "run-2").await;
    beat_up_to(&mut link, 1).await;
    let stored = "SELECT count(*) || '' FROM presence_events WHERE status = 'online'";
    world.stored_when(stored, "2").await;
    let text = exported(&world, "ann", &id).await;
    let told = replay(&text).unwrap();
    let said: Value = serde_json::from_str(told.verdicts.as_deref().unwrap()).unwrap();
    assert_eq!(said["drops"][0]["cause"], "agent-restarted", "{said}");
    let (code, out, err) = replayed(&[&text]).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let mut lines = out.lines();
    let summary = format!("1 recording agrees with this core, {} entries", told.entries);
    assert_eq!(lines.next(), Some(summary.as_str()));
    let rest: Vec<&str> = lines.collect();
    assert!(rest[0].ends_with(&format!("0.jsonl: its server said of {id}:")), "{out}");
    assert!(
        rest[1].contains("agent-restarted (confidence high): the agent was restarted"),
        "{out}"
    );
}

#[tokio::test]
async fn a_server_that_restarted_says_so_in_its_recording() {
    let mut world = World::start().await;
    let (mut link, ack) = agent(&world, "ann", "key-1", "run-1").await;
    world.restart_heard_by(&mut [&mut link]).await;
    let text = exported(&world, "ann", ack["agentId"].as_str().unwrap()).await;
    assert!(text.contains(r#""start":{"origin":{"Recovered""#), "{text}");
    assert!(text.contains(r#""cause":"ServerRestarted""#), "{text}");
    assert_eq!(replay(&text).unwrap().entries, 1);
}

#[tokio::test]
async fn what_is_no_recording_ends_with_2_and_names_the_line() {
    let text = story::<ServerConnection>();
    let cut: String = text.split_inclusive('\n').take(3).collect();
    let changed = text.replacen("Wake", "wake", 1);
    for (file, why) in [
        (cut.as_str(), "is cut off after line 3"),
        (changed.as_str(), "line 3: its check does not match"),
        ("", "the file is empty"),
        ("{}", "line 1: not an Onsembl recording"),
        (r#"{"format":"onsembl-recording","version":99}"#, "format 99"),
    ] {
        let (code, out, err) = replayed(&[&text, file]).await;
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        assert!(err.contains(why) && err.contains("1.jsonl"), "{err}");
    }
    let output = run(vec!["replay".into(), "/no/such/file".into()]).await;
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn what_another_core_did_ends_with_1_and_shows_both() {
    let (code, out, err) = replayed(&[&story::<OtherCore>()]).await;
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("0.jsonl: line 4 differs (entry 3, "), "{err}");
    assert!(err.contains("was (core ") && err.contains(": stale, actions"), "{err}");
    assert!(err.contains("now (core ") && err.contains(": offline, actions"), "{err}");
}

/// A machine that is made and woken twice.
fn story<M>() -> String
where
    M: Recordable<Event = ServerEvent, Config = ServerConfig, Origin = ServerOrigin>,
{
    let head: Head<M> =
        Head { agent: "a".into(), config: ServerConfig::DEFAULT, seeds: vec![], dropped: 0 };
    let at = |seconds| Now::without_suspend(Duration::from_secs(seconds));
    let origin = ServerOrigin::New { version: Default::default(), epoch: Default::default() };
    let mut out = Vec::new();
    let (mut script, _) = Script::begin(&head, origin, at(1), &mut out).unwrap();
    let none: Option<FrameNote> = None;
    let _ = script.handle(ServerEvent::Wake, at(2), none, &mut out);
    let _ = script.handle(ServerEvent::Wake, at(3), none, &mut out);
    script.finish(&mut out);
    String::from_utf8(out).unwrap()
}

/// A core that says something else after its second wake-up.
#[derive(Debug)]
struct OtherCore(ServerConnection, u32);

impl Recordable for OtherCore {
    const NAME: &'static str = ServerConnection::NAME;
    type Event = ServerEvent;
    type Action = ServerAction;
    type Config = ServerConfig;
    type Origin = ServerOrigin;
    type Snapshot = ServerSnapshot;

    fn begin(
        config: ServerConfig,
        seeds: &[u64],
        origin: ServerOrigin,
        now: Now,
    ) -> Option<(Self, Step<ServerAction>)> {
        let (machine, step) = <ServerConnection as Recordable>::begin(config, seeds, origin, now)?;
        Some((Self(machine, 0), step))
    }

    fn handle(&mut self, event: ServerEvent, now: Now) -> Step<ServerAction> {
        self.1 += 1;
        self.0.handle(event, now)
    }

    fn snapshot(&self) -> ServerSnapshot {
        self.0.snapshot()
    }

    fn restore(config: ServerConfig, snapshot: ServerSnapshot) -> Self {
        Self(ServerConnection::restore(config, snapshot), 0)
    }

    fn deadline(&self) -> Deadline {
        self.0.deadline()
    }

    fn status(&self) -> &'static str {
        if self.1 == 2 { "stale" } else { Recordable::status(&self.0) }
    }
}
