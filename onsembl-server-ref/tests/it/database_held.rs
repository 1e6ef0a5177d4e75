//! Another program holds the database: heartbeats arrive and are not recorded. Everybody is told,
//! nobody is cut, and it heals by itself.

use crate::extended::agent;
use crate::fixture::{World, rules};
use crate::frames::{
    Chunk, beat, command_ack, command_complete, extended_dashboard_hello, extended_hello,
    page_command, wrapper_pong,
};
use crate::legacy_agent::wrapper;
use crate::peer::Peer;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(400);
const UNRECORDED: &str = "heartbeats received but not recorded";

async fn world() -> World {
    World::with(rules(400, 10_000, 20_000, 10_000)).await
}

/// Beats each interval, and gives back what the server said meanwhile.
async fn beat_for(link: &mut Peer, from: u64, times: u64) -> Vec<Value> {
    let mut heard = Vec::new();
    for n in from..from + times {
        link.send(beat(n, 1_000_000)).await;
        heard.extend(link.all_within(INTERVAL).await);
    }
    heard
        .into_iter()
        .filter(|m| m["type"] == "SERVER_HEARTBEAT")
        .map(|m| m["payload"].clone())
        .collect()
}

#[tokio::test]
async fn both_sides_name_it_within_two_intervals_nobody_is_cut_and_it_heals() {
    let world = World::with(rules(400, 2500, 3500, 10_000)).await;
    let (mut link, _) = agent(&world, "ann", "key-1", "run-1").await;
    let before = beat_for(&mut link, 1, 3).await;
    assert!(before.iter().all(|b| b.get("recordingLag").is_none()), "{before:#?}");
    let healthy = world.agent("ann").await;
    assert_eq!(healthy["because"], "session opened");

    let held = world.hold_database();
    link.send(beat(4, 1_000_000)).await;
    let began = Instant::now();
    let report = link.expect_that("SERVER_HEARTBEAT", |b| b.get("recordingLag").is_some()).await;
    assert!(began.elapsed() <= 2 * INTERVAL, "the agent is told after {:?}", began.elapsed());
    assert!(report["recordingLag"]["ageMs"].as_u64().unwrap() >= 200, "{report}");
    assert!(report["recordingLag"]["why"].as_str().unwrap().starts_with("database "), "{report}");
    assert_eq!(
        (&report["seen"]["sequence"], &report["recorded"]["sequence"]),
        (&json!(4), &json!(3))
    );
    let named = world.agent("ann").await;
    assert!(began.elapsed() <= 2 * INTERVAL + Duration::from_millis(1500));
    assert!(named["because"].as_str().unwrap().starts_with(UNRECORDED), "{named}");
    assert_eq!((&named["status"], &named["since"]), (&healthy["status"], &healthy["since"]));

    // Ten more intervals, beyond every time-out: it stays so, and the age grows.
    let during = beat_for(&mut link, 5, 10).await;
    assert!(during.len() >= 10, "each beat is answered: {}", during.len());
    let ages: Vec<u64> =
        during.iter().map(|b| b["recordingLag"]["ageMs"].as_u64().unwrap()).collect();
    assert!(ages.is_sorted() && *ages.last().unwrap() > 3500, "{ages:?}");
    assert!(during.iter().all(|b| b["recorded"]["sequence"] == 3), "{during:#?}");
    let still = world.agent("ann").await;
    assert!(still["because"].as_str().unwrap().contains("database busy"), "{still}");
    assert_eq!((&still["status"], &still["since"]), (&healthy["status"], &healthy["since"]));
    assert_eq!(still["last_heartbeat"], healthy["last_heartbeat"], "nothing is recorded");
    let ready = world.get("/readyz", None).await;
    assert_eq!((ready.status, &ready.json()["ready"]), (503, &json!(false)));

    held.release();
    let all = |beat: &Value| beat["recorded"]["sequence"] == 17;
    let healed = match beat_for(&mut link, 15, 3).await.pop().filter(all) {
        Some(beat) => beat,
        // Its commit may come behind the answer; the next beat of the server tells of it.
        None => link.expect_that("SERVER_HEARTBEAT", all).await,
    };
    assert!(healed.get("recordingLag").is_none(), "{healed}");
    let after = world.agent("ann").await;
    assert_eq!(after["because"], "session opened");
    assert_eq!((&after["status"], &after["since"]), (&healthy["status"], &healthy["since"]));
    assert_ne!(after["last_heartbeat"], healthy["last_heartbeat"]);
    assert_eq!(world.get("/readyz", None).await.status, 200);
}

#[tokio::test]
async fn it_is_named_for_a_wrapper_too_and_told_to_dashboards() {
    let world = world().await;
    let (mut link, _) = wrapper(&world, "ann", "mock-1").await;
    let mut watching = world.dashboard_link("ann").await;
    watching.send(extended_dashboard_hello()).await;
    let _ = watching.expect("ACK").await;
    let held = world.hold_database();
    for _ in 0..3 {
        let ping = link.expect("PING").await;
        link.send(wrapper_pong(&ping["timestamp"])).await;
    }
    let named = |s: &Value| s["because"].as_str().is_some_and(|b| b.starts_with(UNRECORDED));
    assert_eq!(watching.expect_that("AGENT_STATUS", named).await["status"], "online");
    held.release();
    let healed = |s: &Value| s["because"] == "session opened";
    assert_eq!(watching.expect_that("AGENT_STATUS", healed).await["status"], "online");
}

#[tokio::test]
async fn an_agent_that_comes_meanwhile_waits_and_gets_in() {
    let world = world().await;
    let held = world.hold_database();
    let mut link = world.agent_link("ann").await;
    link.send(extended_hello("key-1", "run-1", &[])).await;
    assert!(link.all_within(2 * INTERVAL).await.is_empty(), "no welcome without a session");
    held.release();
    let ack = link.expect("ACK").await;
    assert_eq!(ack["extensions"]["epoch"], 1);
    let _ = world.agent_is("ann", "online").await;
}

#[tokio::test]
async fn a_command_meanwhile_is_sent_once_it_is_stored_and_output_is_acknowledged_then() {
    let world = world().await;
    let (mut link, ack) = agent(&world, "ann", "key-1", "run-1").await;
    let id = ack["agentId"].as_str().unwrap().to_owned();
    let mut watching = world.dashboard_link("ann").await;
    watching.send(extended_dashboard_hello()).await;
    let _ = watching.expect("ACK").await;
    watching.send(page_command("cmd-1", &id, "before", &[])).await;
    let _ = link.expect("COMMAND_REQUEST").await;
    let _ = watching.expect_that("ACK", |a| a["commandId"] == "cmd-1").await;

    let held = world.hold_database();
    watching.send(page_command("cmd-2", &id, "meanwhile", &[])).await;
    link.send(command_ack("cmd-1", "EXECUTING")).await;
    link.send(
        Chunk {
            command: "cmd-1",
            stream: "STDOUT",
            sequence: 1,
            offset: 0,
            encoding: "utf-8",
            content: "live\n",
        }
        .text(),
    )
    .await;
    assert_eq!(watching.expect("TERMINAL_STREAM").await["content"], "live\n", "relayed at once");
    link.send(command_complete("cmd-1", "COMPLETED", 0)).await;
    let heard = link.all_within(2 * INTERVAL).await;
    assert!(
        heard.iter().all(|m| m["type"] == "SERVER_HEARTBEAT"),
        "nothing is promised: {heard:#?}"
    );
    held.release();
    let (mut output, mut end) = (false, false);
    while !(output && end) {
        let heard = link.next().await;
        output |= heard["type"] == "OUTPUT_ACK" && heard["payload"]["offset"] == 5;
        end |= heard["type"] == "ACK" && heard["payload"]["commandId"] == "cmd-1";
    }
    let _ = watching.expect_that("ACK", |a| a["commandId"] == "cmd-2").await;
    world.stored_when("SELECT status FROM commands WHERE command_id = 'cmd-1'", "completed").await;
    world.stored_when("SELECT status FROM commands WHERE command_id = 'cmd-2'", "queued").await;
}

/// It must not lie in the database as waiting: the next start would send it.
#[tokio::test]
async fn a_command_that_ended_before_it_could_be_stored_is_not_run_later() {
    let mut world = world().await;
    let (link, id) = wrapper(&world, "ann", "mock-1").await;
    let mut watching = world.dashboard_link("ann").await;
    watching.send(extended_dashboard_hello()).await;
    let _ = watching.expect("ACK").await;
    let held = world.hold_database();
    watching.send(page_command("cmd-1", &id, "work", &[])).await;
    world.metric_when("onsembl_open_commands", 1).await;
    link.close(Some(1000)).await;
    // The answer to the request may overtake the status.
    let error = watching.expect("ERROR").await;
    assert_eq!(error["code"], "STORAGE_UNAVAILABLE");
    assert_eq!(error["context"]["commandId"], "cmd-1");
    assert!(error["message"].as_str().unwrap().contains("never started"), "{error}");
    held.release();
    world.stored_when("SELECT status FROM commands WHERE command_id = 'cmd-1'", "failed").await;
    world.restart_heard_by(&mut [&mut watching]).await;
    let (mut link, _) = wrapper(&world, "ann", "mock-1").await;
    let heard = link.all_within(Duration::from_millis(300)).await;
    assert!(heard.iter().all(|m| m["type"] != "COMMAND_REQUEST"), "{heard:#?}");
}
