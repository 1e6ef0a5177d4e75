//! Why an agent is where it is: its presence explained, its drops judged, for its owner and nobody else.

use crate::command_line::{program, run};
use crate::extended::{agent, agent_with, watched};
use crate::fixture::{World, rules};
use crate::frames::{
    Chunk, beat, cancel, command_ack, command_complete, extended_dashboard_hello, extended_hello,
    page_command,
};
use crate::peer::{Peer, Request};
use onsembl_server_ref::auth::TokenKind;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What the page says, as soon as it is as wanted: the log is written behind what it tells of.
pub(crate) async fn why_when(
    world: &World,
    user: &str,
    id: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    let token = world.token(user, TokenKind::Dashboard);
    let begin = Instant::now();
    loop {
        let answer = world.get(&format!("/api/agents/{id}/why"), Some(&token)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let said = answer.json();
        if wanted(&said) {
            return said;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "never as wanted: {said}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn drops(said: &Value) -> Vec<(&str, &str, bool)> {
    let drops = said["drops"].as_array().unwrap().iter();
    drops
        .map(|drop| {
            let word = |name: &str| drop[name].as_str().unwrap();
            (word("cause"), word("confidence"), drop["until"].is_string())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_and_drops_are_told_with_their_causes() {
    let mut world = World::start().await;
    let (link, ack) = agent(&world, "ann", "key-1", "run-1").await;
    let id = ack["agentId"].as_str().unwrap().to_owned();
    let said = why_when(&world, "ann", &id, |said| said["presence"]["state"] == "online").await;
    assert_eq!(said["presence"]["next_state"], "stale");
    assert_eq!(said["presence"]["because"], world.agent("ann").await["because"]);
    assert_eq!(said["presence"]["since"], world.agent("ann").await["since"]);
    assert_eq!(drops(&said), []);

    // Stopped on its machine, and started again.
    link.close(Some(4103)).await;
    let _ = world.agent_is("ann", "offline").await;
    let (link, _) = agent(&world, "ann", "key-1", "run-2").await;
    // Its link breaks.
    drop(link);
    let _ = world.agent_is("ann", "reconnecting").await;
    // Another process was there at once: it was not stopped permanently.
    let stopped = ("agent-restarted", "high", true);
    let said = why_when(&world, "ann", &id, |said| drops(said).len() == 2).await;
    assert_eq!(drops(&said), [stopped, ("unknown", "low", false)], "{said}");
    let presence = &said["presence"];
    assert_eq!(
        (&presence["state"], &presence["next_state"]),
        (&json!("reconnecting"), &json!("offline"))
    );
    assert_eq!(
        (&presence["confidence"], &presence["evidence"]["ended_by"]),
        (&json!("low"), &json!("neither"))
    );
    assert_eq!(said["drops"][1]["evidence"]["close_code"], 1006);

    // It is back, and then the server is another process.
    let (mut link, _) = agent(&world, "ann", "key-1", "run-2").await;
    let _ = world.agent_is("ann", "online").await;
    world.restart_heard_by(&mut [&mut link]).await;
    let said = why_when(&world, "ann", &id, |said| drops(said).len() == 3).await;
    let restarted = ("server-restarted", "high", false);
    assert_eq!(drops(&said), [stopped, ("connection-cut", "low", true), restarted], "{said}");

    // Nobody else is told.
    let bob = world.token("bob", TokenKind::Dashboard);
    assert_eq!(world.get(&format!("/api/agents/{id}/why"), Some(&bob)).await.status, 404);
    assert_eq!(world.get(&format!("/api/agents/{id}/why"), None).await.status, 401);

    // And people get lines.
    let (server, token) =
        (format!("http://{}", world.address()), world.token("ann", TokenKind::Dashboard));
    let mut command = program();
    let _ = command.args(["why", &id, "--server", &server]).env("ONSEMBL_TOKEN", token);
    let (code, text) = run(&mut command).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.lines().count() <= 10, "{text}");
    assert!(text.starts_with("It is reconnecting since "), "{text}");
    assert!(text.contains("agent-restarted (confidence high)"), "{text}");
    assert!(text.contains("What to do: nothing; check the server's log"), "{text}");
}

/// What the page of a command says, as soon as it is as wanted.
async fn command_when(world: &World, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let token = world.token("ann", TokenKind::Dashboard);
    let begin = Instant::now();
    loop {
        let answer = world.get(&format!("/api/commands/{id}/why"), Some(&token)).await;
        let said = answer.json();
        if answer.status == 200 && wanted(&said) {
            return said;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "never as wanted: {}", answer.body);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn command_waits(world: &World, id: &str, waits_for: &str) -> Value {
    command_when(world, id, |said| said["waits_for"] == waits_for).await
}

fn summary(said: &Value) -> &str {
    said["summary"].as_str().unwrap()
}

async fn order(dashboard: &mut Peer, id: &str, agent: &str, more: &Value) {
    let mut request: Value = serde_json::from_str(&page_command(id, agent, "work", &[])).unwrap();
    for (name, value) in more.as_object().unwrap() {
        request["payload"][name] = value.clone();
    }
    dashboard.send(request.to_string()).await;
}

/// An agent with a journal, which can be asked again without risk: for one that is away commands wait.
async fn journaling(world: &World, instance: &str) -> (Peer, Value) {
    let mut hello: Value = serde_json::from_str(&extended_hello("key-1", instance, &[])).unwrap();
    let extensions = &mut hello["payload"]["extensions"];
    extensions["features"].as_array_mut().unwrap().push(json!("command-journal"));
    extensions["journal"] = json!("journal-1");
    let mut link = world.agent_link("ann").await;
    link.send(hello.to_string()).await;
    let ack = link.expect("ACK").await;
    (link, ack)
}

/// The program: `why` with these words, as this user.
async fn why(world: &World, user: &str, words: &[&str]) -> (Option<i32>, String) {
    let server = format!("http://{}", world.address());
    let mut command = program();
    let _ = command.arg("why").args(words).args(["--server", &server]);
    let _ = command.env("ONSEMBL_TOKEN", world.token(user, TokenKind::Dashboard));
    run(&mut command).await
}

async fn lines(world: &World, user: &str, words: &[&str]) -> String {
    let (code, text) = why(world, user, words).await;
    assert_eq!(code, Some(0), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_is_told_of_at_a_glance_and_the_restart_of_its_server_comes_first() {
    let mut world = World::start().await;
    assert_eq!(
        lines(&world, "ann", &["--all"]).await,
        "no agents yet; start one with `onsembl-agent run`\n"
    );
    let mut links = Vec::new();
    for n in 0..4 {
        let (link, _) = agent(&world, "ann", &format!("key-{n}"), "run-1").await;
        links.push(link);
    }
    let (mut of_bob, _) = agent(&world, "bob", "key-9", "run-1").await;
    assert_eq!(lines(&world, "ann", &["--all"]).await, "All 4 agents are healthy.\n");

    let mut all: Vec<&mut Peer> = links.iter_mut().chain([&mut of_bob]).collect();
    world.restart_heard_by(&mut all).await;
    for (n, link) in links.iter_mut().enumerate().take(3) {
        *link = agent(&world, "ann", &format!("key-{n}"), "run-1").await.0;
    }
    let token = world.token("ann", TokenKind::Dashboard);
    let begin = Instant::now();
    let said = loop {
        let said = world.get("/api/why", Some(&token)).await.json();
        if said["well"] == 3 && said["incidents"][0]["agents"] == 4 {
            break said;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "never as wanted: {said}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let incident = &said["incidents"][0];
    assert_eq!(
        (&incident["cause"], &incident["confidence"], said["incidents"].as_array().unwrap().len()),
        (&json!("server-restarted"), &json!("high"), 1)
    );
    let away = &said["agents"][0];
    assert_eq!(
        (&away["name"], &away["state"], &away["cause"], &said["total"]),
        (&json!("name of key-3"), &json!("reconnecting"), &json!("server-restarted"), &json!(4))
    );
    let text = lines(&world, "ann", &["--all", "--since", "1h"]).await;
    assert!(text.starts_with("Incident from "), "{text}");
    for part in [
        "4 agents dropped: server-restarted (confidence high)",
        "What to do: nothing; check the server's log if it was not intended.",
        "name of key-3 is reconnecting since ",
        "3 of 4 agents are healthy.",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.lines().count() <= 10, "{text}");

    // Of the same server bob is told of his own agents, and nobody is told without a token.
    let bob = world.token("bob", TokenKind::Dashboard);
    let told = world.get("/api/why", Some(&bob)).await;
    assert!(!told.body.contains("key-3"), "{}", told.body);
    assert_eq!(
        (&told.json()["total"], &told.json()["incidents"][0]["agents"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(world.get("/api/why", None).await.status, 401);
    let of_agent = world.token("ann", TokenKind::Agent);
    assert_eq!(world.get("/api/why", Some(&of_agent)).await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_took_nothing_is_an_incident_of_the_server() {
    let world = World::with(rules(400, 10_000, 20_000, 10_000)).await;
    let (mut link, _) = agent(&world, "ann", "key-1", "run-1").await;
    let token = world.token("ann", TokenKind::Dashboard);
    let held = world.hold_database();
    link.send(beat(1, 0)).await;
    let begin = Instant::now();
    let said = loop {
        let said = world.get("/api/why", Some(&token)).await.json();
        if said["incidents"].as_array().unwrap().len() == 1 && said["well"] == 0 {
            break said;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "never as wanted: {said}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(said["incidents"][0]["cause"], "heartbeat-not-recorded", "{said}");
    assert_eq!(
        (&said["agents"][0]["cause"], &said["agents"][0]["state"]),
        (&json!("heartbeat-not-recorded"), &json!("online"))
    );
    held.release();
    let begin = Instant::now();
    let mut number = 1;
    while world.get("/api/why", Some(&token)).await.json()["well"] == 0 {
        assert!(begin.elapsed() < Duration::from_secs(20), "it never heals");
        let seen = link.expect("SERVER_HEARTBEAT").await["sequence"].as_u64().unwrap();
        number += 1;
        link.send(beat(number, seen)).await;
    }
    let said = world.get("/api/why", Some(&token)).await.json();
    assert_eq!(said["incidents"][0]["cause"], "heartbeat-not-recorded", "it is remembered: {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_is_told_of_from_its_acceptance_to_its_end() {
    let (world, mut link, id, mut dashboard) = watched().await;
    let name = "name of key-1";
    order(&mut dashboard, "cmd-1", &id, &json!({})).await;
    let _ = link.expect("COMMAND_REQUEST").await;
    let said = command_waits(&world, "cmd-1", "acknowledgement").await;
    assert!(summary(&said).starts_with("It was sent to name of key-1 once, last "), "{said}");
    link.send(command_ack("cmd-1", "QUEUED")).await;
    let said = command_waits(&world, "cmd-1", "start").await;
    assert!(summary(&said).contains("acknowledged by the agent"), "{said}");
    link.send(command_ack("cmd-1", "EXECUTING")).await;
    let said = command_waits(&world, "cmd-1", "end").await;
    assert!(summary(&said).contains("it has written no output yet"), "{said}");
    // Output with a hole in it.
    let chunk = |sequence, offset| Chunk {
        command: "cmd-1",
        stream: "STDOUT",
        sequence,
        offset,
        encoding: "utf-8",
        content: "four",
    };
    link.send(chunk(1, 0).text()).await;
    link.send(chunk(2, 100).text()).await;
    let said = command_when(&world, "cmd-1", |said| said["gaps"][0].is_string()).await;
    assert_eq!(said["gaps"], json!(["96 bytes of stdout are missing"]));
    assert!(summary(&said).contains("its latest stored output came "), "{said}");
    let text = lines(&world, "ann", &["cmd-1"]).await;
    assert!(text.starts_with("Command cmd-1: It runs on name of key-1 since "), "{text}");
    assert!(
        text.lines().count() <= 10 && text.contains("96 bytes of stdout are missing"),
        "{text}"
    );

    dashboard.send(cancel("cmd-1")).await;
    let said = command_waits(&world, "cmd-1", "cancel-confirmation").await;
    assert!(said["action"].as_str().unwrap().contains("cancel --force cmd-1"), "{said}");
    // Its agent goes away meanwhile.
    drop(link);
    let _ = world.agent_is("ann", "reconnecting").await;
    let said = command_waits(&world, "cmd-1", "agent").await;
    assert!(summary(&said).contains("its agent name of key-1 is reconnecting since "), "{said}");
    let (mut link, _) = agent_with(&world, "ann", "key-1", "run-1", &["cmd-1"]).await;
    let _ = command_waits(&world, "cmd-1", "cancel-confirmation").await;
    link.send(command_complete("cmd-1", "CANCELLED", 143)).await;
    let said = command_when(&world, "cmd-1", |said| said["status"] == "cancelled").await;
    assert_eq!((&said["waits_for"], &said["action"]), (&Value::Null, &Value::Null), "{said}");
    assert!(summary(&said).starts_with("It was cancelled, and that is confirmed"), "{said}");
    let steps: Vec<&str> =
        said["steps"].as_array().unwrap().iter().map(|s| s["status"].as_str().unwrap()).collect();
    for status in ["pending", "queued", "delivered", "running", "cancelling", "cancelled"] {
        assert!(steps.contains(&status), "{status}: {said}");
    }
    let text = lines(&world, "ann", &["--command", "cmd-1"]).await;
    assert!(text.lines().count() <= 10, "{text}");

    // Paused, and stopped, for what is ordered then.
    let mut paused: Value = serde_json::from_str(&beat(1, 0)).unwrap();
    paused["payload"]["paused"] = json!(true);
    link.send(paused.to_string()).await;
    let _ = world.agent_when("ann", |a| a["paused"] == true).await;
    order(&mut dashboard, "cmd-2", &id, &json!({})).await;
    let said = command_waits(&world, "cmd-2", "resume").await;
    assert_eq!(said["action"], format!("`onsembl control '{name}' resume`"));

    // Nobody else is told, and not that there is one.
    let bob = world.token("bob", TokenKind::Dashboard);
    let others = world.get("/api/commands/cmd-1/why", Some(&bob)).await;
    let nobodys = world.get("/api/commands/no-such/why", Some(&bob)).await;
    assert_eq!((others.status, &others.body), (404, &nobodys.body));
    assert_eq!(world.get("/api/commands/cmd-1/why", None).await.status, 401);
    let (code, text) = why(&world, "bob", &["cmd-1"]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("no agent of yours is called") && text.contains("no command of yours"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keeps_a_command_from_its_agent_is_told_with_the_agents_explanation() {
    let world = World::start().await;
    let (link, ack) = journaling(&world, "run-1").await;
    let id = ack["agentId"].as_str().unwrap().to_owned();
    let mut dashboard = world.dashboard_link("ann").await;
    dashboard.send(extended_dashboard_hello()).await;
    let _ = dashboard.expect("ACK").await;
    link.close(Some(4103)).await;
    let _ = world.agent_is("ann", "offline").await;
    order(&mut dashboard, "cmd-1", &id, &json!({ "offline": "queue" })).await;
    let said = command_waits(&world, "cmd-1", "agent").await;
    let summary = summary(&said);
    for part in [
        "It is queued and its agent name of key-1 is offline since ",
        "agent-stopped, confidence high",
        "It will be sent when the agent is back.",
    ] {
        assert!(summary.contains(part), "{part}: {said}");
    }
    assert_eq!(said["action"], "start it again when it is needed");

    // The database takes nothing: the command is in no list, and is told of anyway.
    let (mut link, _) = journaling(&world, "run-2").await;
    let _ = link.expect("COMMAND_REQUEST").await;
    let held = world.hold_database();
    order(&mut dashboard, "cmd-2", &id, &json!({})).await;
    let said = command_when(&world, "cmd-2", |said| said["action"].is_string()).await;
    assert_eq!((&said["status"], &said["waits_for"]), (&json!("pending"), &json!("store")));
    assert!(said["summary"].as_str().unwrap().contains("database busy"), "{said}");
    held.release();
    let _ = command_waits(&world, "cmd-2", "acknowledgement").await;

    // An agent that is called as a command.
    order(&mut dashboard, "name of key-1", &id, &json!({})).await;
    let _ = command_waits(&world, "name%20of%20key-1", "acknowledgement").await;
    let (code, text) = why(&world, "ann", &["name of key-1"]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(&format!("`why {id}` for the agent")), "{text}");
    let text = lines(&world, "ann", &["--command", "name of key-1"]).await;
    assert!(text.starts_with("Command name of key-1: "), "{text}");
    let text = lines(&world, "ann", &[&id]).await;
    assert!(text.starts_with("It is online since "), "{text}");
    let json = lines(&world, "ann", &["cmd-1", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["command_id"], "cmd-1");

    // A stop cancels what was sent, and its agent has to confirm that.
    let token = world.token("ann", TokenKind::Dashboard);
    let body = json!({ "agent": id, "reason": "test" }).to_string();
    let stop = Request::new("POST", "/api/stop").bearer(Some(&token)).body(body.as_str());
    let _stopped = stop.send(world.address()).await;
    let _ = command_waits(&world, "cmd-2", "cancel-confirmation").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_that_contend_for_one_identity_make_their_agent_unwell() {
    let world = World::start().await;
    let (mut link, _) = agent(&world, "ann", "key-1", "run-1").await;
    for n in 2..4 {
        let (next, _) = agent(&world, "ann", "key-1", &format!("run-{n}")).await;
        link = next;
    }
    let _ = link.expect("SERVER_HEARTBEAT").await;
    let token = world.token("ann", TokenKind::Dashboard);
    let begin = Instant::now();
    let said = loop {
        let said = world.get("/api/why", Some(&token)).await.json();
        if said["agents"][0]["cause"] == "second-instance"
            || said["agents"][0]["cause"] == "instances-evict-each-other"
        {
            break said;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "never as wanted: {said}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(said["incidents"], json!([]), "one agent is no incident: {said}");
    let text = lines(&world, "ann", &["--all"]).await;
    assert!(text.contains("a state directory of its own"), "{text}");
}

/// What one look at a fleet costs does not grow with its history.
#[tokio::test]
async fn of_a_fleet_with_more_history_than_is_looked_at_the_rest_is_counted() {
    const AGENTS: u64 = 300;
    const TRANSITIONS: u64 = 16 * 1024;
    const OF_AGENT: u64 = 64;
    let mut world = World::start().await;
    let (link, ack) = agent(&world, "ann", "key-1", "run-1").await;
    let id = ack["agentId"].as_str().unwrap();
    let _ = why_when(&world, "ann", id, |said| said["presence"]["state"] == "online").await;
    link.close(Some(4103)).await;
    let _ = world.agent_is("ann", "offline").await;
    world.stop().await;
    let mut database = world.database();
    let filling = database.transaction().unwrap();
    for n in 0..AGENTS {
        filling
            .execute_batch(&format!(
                "CREATE TEMP TABLE one AS SELECT * FROM main.agents WHERE agent_id = '{id}';
                 UPDATE one SET agent_id = 'other {n}', agent_key = 'other {n}', name = 'other {n}';
                 INSERT INTO main.agents SELECT * FROM one;
                 DROP TABLE one;
                 WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {OF_AGENT})
                 INSERT INTO presence_events (agent_id, version, epoch, status, because, evidence, at)
                 SELECT 'other {n}', n.n, 1, of.status, of.because, of.evidence, of.at
                 FROM n, (SELECT * FROM presence_events WHERE agent_id = '{id}' AND status = 'offline'
                          ORDER BY version DESC LIMIT 1) AS of;"
            ))
            .unwrap();
    }
    filling.commit().unwrap();
    drop(database);
    world.boot().await;
    let token = world.token("ann", TokenKind::Dashboard);
    let said = world.get("/api/why", Some(&token)).await;
    assert_eq!(said.status, 200, "{}", said.body);
    let said = said.json();
    assert_eq!(said["total"], AGENTS + 1, "all are counted");
    let not_judged = said["not_judged"].as_u64().unwrap();
    let judged = AGENTS + 1 - not_judged;
    let most = TRANSITIONS / OF_AGENT;
    assert!((most..=most + 64).contains(&judged), "{judged} were judged");
}
