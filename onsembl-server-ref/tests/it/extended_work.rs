//! An agent that speaks the extensions at work: commands and their reports, output and its
//! acknowledgement, and what both sides say of them after a lost link.

use crate::extended::{agent, agent_with, watched};
use crate::fixture::World;
use crate::frames::{Chunk, cancel, command_ack, command_complete, page_command};
use crate::peer::Peer;
use serde_json::{Value, json};
use std::time::Duration;

struct Scene {
    world: World,
    agent: Peer,
    id: String,
    dashboard: Peer,
}

impl Scene {
    async fn new() -> Self {
        let (world, agent, id, dashboard) = watched().await;
        Self { world, agent, id, dashboard }
    }

    async fn order(&mut self, command: &str) -> Value {
        self.dashboard.send(page_command(command, &self.id, "work", &["a", "b"])).await;
        self.agent.expect("COMMAND_REQUEST").await
    }

    async fn status(&mut self, command: &str, status: &str) -> Value {
        let wanted = |s: &Value| s["commandId"] == command && s["status"] == status;
        self.dashboard.expect_that("COMMAND_STATUS", wanted).await
    }

    async fn back(&mut self, instance: &str, commands: &[&str]) {
        self.agent = agent_with(&self.world, "ann", "key-1", instance, commands).await.0;
    }

    /// What the dashboard gets, up to the end of this command.
    async fn shown_until_end(&mut self, command: &str) -> Vec<Value> {
        let mut shown = Vec::new();
        loop {
            let next = self.dashboard.next().await;
            let payload = &next["payload"];
            if next["type"] == "TERMINAL_STREAM" {
                shown.push(payload.clone());
            } else if next["type"] == "COMMAND_STATUS"
                && payload["commandId"] == command
                && payload["status"] == "completed"
            {
                return shown;
            }
        }
    }
}

fn chunk<'a>(sequence: u64, offset: u64, content: &'a str) -> Chunk<'a> {
    Chunk { command: "cmd-1", stream: "STDOUT", sequence, offset, encoding: "utf-8", content }
}

#[tokio::test]
async fn a_command_goes_from_pending_to_its_exit_code_and_the_report_is_acknowledged() {
    let mut scene = Scene::new().await;
    let request = scene.order("cmd-1").await;
    assert_eq!((&request["command"], &request["args"]), (&json!("work"), &json!(["a", "b"])));
    assert_eq!(request["userId"], "ann");
    let queued = scene.status("cmd-1", "queued").await;
    let waits = "waiting for a free slot on its agent";
    assert_eq!((&queued["because"], &queued["agentId"]), (&json!(waits), &json!(scene.id)));
    scene.agent.send(command_ack("cmd-1", "RECEIVED")).await;
    let delivered = scene.status("cmd-1", "delivered").await;
    assert_eq!(delivered["because"], "acknowledged by the agent");
    scene.agent.send(command_ack("cmd-1", "EXECUTING")).await;
    let running = scene.status("cmd-1", "running").await;
    assert_eq!(running["because"], "its process runs");
    assert!(running["startedAt"].is_i64());
    scene.agent.send(command_complete("cmd-1", "FAILED", 7)).await;
    let failed = scene.status("cmd-1", "failed").await;
    assert_eq!((&failed["exitCode"], &failed["because"]), (&json!(7), &json!("exit code 7")));
    let ack = scene.agent.expect_that("ACK", |a| a["commandId"] == "cmd-1").await;
    assert_eq!(ack["success"], true);
    assert!(ack.get("agentId").is_none());
    let query = "SELECT status || exit_code || (ended_at IS NOT NULL) FROM commands";
    scene.world.stored_when(query, "failed71").await;

    // It was not heard: the agent reports again, and hears the same.
    scene.agent.send(command_complete("cmd-1", "FAILED", 7)).await;
    let _ = scene.agent.expect_that("ACK", |a| a["commandId"] == "cmd-1").await;
}

#[tokio::test]
async fn what_its_sender_asked_for_arrives_and_outlives_a_restart() {
    let mut scene = Scene::new().await;
    let asked = json!({
        "commandId": "cmd-1", "agentId": scene.id, "command": "make", "args": ["-j", "a b"],
        "env": {"CC": "clang"}, "workingDirectory": "/srv/x", "priority": "emergency",
        "executionConstraints": {"timeLimitMs": 1234}
    });
    let text = json!({"type": "COMMAND_REQUEST", "id": "m", "timestamp": 1, "payload": asked});
    scene.dashboard.send(text.to_string()).await;
    let got = scene.agent.expect("COMMAND_REQUEST").await;
    for field in ["command", "args", "env", "workingDirectory"] {
        assert_eq!(got[field], asked[field], "{field}");
    }
    assert_eq!(got["executionConstraints"]["timeLimitMs"], 1234);
    let kept = "SELECT json_extract(spec, '$.priority') FROM commands WHERE command_id = 'cmd-1'";
    scene.world.stored_when(kept, "emergency").await;
}

#[tokio::test]
async fn a_process_ended_by_a_signal_says_so() {
    let mut scene = Scene::new().await;
    let _ = scene.order("cmd-1").await;
    scene.agent.send(r#"{"type":"COMMAND_COMPLETE","id":"c","timestamp":1,"payload":{"commandId":"cmd-1","status":"FAILED","exitCode":null,"signal":9,"executionTime":5,"duration":5,"tokensUsed":0}}"#).await;
    let failed = scene.status("cmd-1", "failed").await;
    assert_eq!((&failed["signal"], &failed["because"]), (&json!(9), &json!("ended by signal 9")));
    assert!(failed.get("exitCode").is_none());
}

#[tokio::test]
async fn a_cancel_is_confirmed_only_by_the_agent() {
    let mut scene = Scene::new().await;
    let _ = scene.order("cmd-1").await;
    scene.agent.send(command_ack("cmd-1", "EXECUTING")).await;
    let _ = scene.status("cmd-1", "running").await;
    scene.dashboard.send(cancel("cmd-1")).await;
    let order = scene.agent.expect("COMMAND_CANCEL").await;
    assert_eq!((&order["commandId"], &order["force"]), (&json!("cmd-1"), &json!(false)));
    let waiting = scene.status("cmd-1", "cancelling").await;
    assert_eq!(waiting["because"], "cancel sent, not confirmed yet");
    scene.agent.send(r#"{"type":"COMMAND_COMPLETE","id":"c","timestamp":1,"payload":{"commandId":"cmd-1","status":"CANCELLED","exitCode":null,"signal":15,"executionTime":5,"duration":5,"tokensUsed":0}}"#).await;
    let _ = scene.status("cmd-1", "cancelled").await;

    scene.dashboard.send(cancel("cmd-never")).await;
    let error = scene.dashboard.expect("ERROR").await;
    assert_eq!(error["code"], "COMMAND_NOT_FOUND");
    assert_eq!(error["context"]["commandId"], "cmd-never");
}

#[tokio::test]
async fn output_is_relayed_byte_for_byte_and_acknowledged_when_it_is_stored() {
    let mut scene = Scene::new().await;
    let _ = scene.order("cmd-1").await;
    scene.agent.send(chunk(1, 0, "caf\u{e9}\n").text()).await;
    let shown = scene.dashboard.expect("TERMINAL_STREAM").await;
    assert_eq!((&shown["content"], &shown["encoding"]), (&json!("caf\u{e9}\n"), &json!("utf-8")));
    assert_eq!((&shown["offset"], &shown["sequence"]), (&json!(0), &json!(1)));
    assert_eq!(shown["incarnation"], 1_762_080_000_000u64);
    let ack = scene.agent.expect("OUTPUT_ACK").await;
    assert_eq!((&ack["commandId"], &ack["offset"]), (&json!("cmd-1"), &json!(6)));
    assert_eq!(
        (&ack["streamType"], &ack["incarnation"]),
        (&json!("STDOUT"), &json!(1_762_080_000_000u64))
    );

    // 0x00 0xff 0xfe 0x0a
    let bytes = Chunk { encoding: "base64", ..chunk(2, 6, "AP/+Cg==") };
    scene.agent.send(bytes.text()).await;
    let shown = scene.dashboard.expect("TERMINAL_STREAM").await;
    assert_eq!((&shown["content"], &shown["encoding"]), (&json!("AP/+Cg=="), &json!("base64")));
    let ack = scene.agent.expect_that("OUTPUT_ACK", |a| a["offset"] == 10).await;
    assert_eq!(ack["commandId"], "cmd-1");
    let stored: Vec<u8> = scene
        .world
        .database()
        .query_row("SELECT bytes FROM output_records WHERE offset = 6", [], |r| r.get(0))
        .unwrap();
    assert_eq!(stored, [0x00, 0xff, 0xfe, 0x0a], "committed before it was acknowledged");
}

#[tokio::test]
async fn what_is_sent_twice_is_shown_once_and_acknowledged_again() {
    let mut scene = Scene::new().await;
    let _ = scene.order("cmd-1").await;
    for n in 0..3 {
        scene.agent.send(chunk(n + 1, n * 4, &format!("n={n}\n")).text()).await;
    }
    let _ = scene.agent.expect_that("OUTPUT_ACK", |a| a["offset"] == 12).await;
    for n in 0..3 {
        scene.agent.send(chunk(n + 1, n * 4, &format!("n={n}\n")).text()).await;
        let _ = scene.agent.expect_that("OUTPUT_ACK", |a| a["offset"] == 12).await;
    }
    scene.agent.send(command_complete("cmd-1", "COMPLETED", 0)).await;
    let shown = scene.shown_until_end("cmd-1").await;
    let text: Vec<&str> = shown.iter().map(|s| s["content"].as_str().unwrap()).collect();
    assert_eq!(text, ["n=0\n", "n=1\n", "n=2\n"]);
}

#[tokio::test]
async fn after_a_lost_link_what_is_sent_again_is_not_shown_again_and_the_command_goes_on() {
    let mut scene = Scene::new().await;
    let _ = scene.order("cmd-1").await;
    scene.agent.send(command_ack("cmd-1", "EXECUTING")).await;
    scene.agent.send(chunk(1, 0, "one\n").text()).await;
    let _ = scene.agent.expect("OUTPUT_ACK").await;
    scene.agent = {
        let old = scene.agent;
        old.close(Some(4106)).await;
        agent_with(&scene.world, "ann", "key-1", "run-1", &["cmd-1"]).await.0
    };
    scene.agent.send(chunk(1, 0, "one\n").text()).await;
    scene.agent.send(chunk(2, 4, "two\n").text()).await;
    let _ = scene.agent.expect_that("OUTPUT_ACK", |a| a["offset"] == 8).await;
    scene.agent.send(command_complete("cmd-1", "COMPLETED", 0)).await;
    let shown = scene.shown_until_end("cmd-1").await;
    let text: Vec<&str> = shown.iter().map(|s| s["content"].as_str().unwrap()).collect();
    assert_eq!(text, ["one\n", "two\n"]);
    assert!(scene.agent.all_until_pong().await.iter().all(|m| m["type"] != "COMMAND_REQUEST"));
}

#[tokio::test]
async fn a_command_the_agent_never_got_is_sent_again_and_one_it_lost_is_over() {
    let mut scene = Scene::new().await;
    let _ = scene.order("cmd-1").await;
    scene.back("run-1", &[]).await;
    let again = scene.agent.expect("COMMAND_REQUEST").await;
    assert_eq!(again["commandId"], "cmd-1", "it was not acknowledged, so it may not have arrived");

    scene.agent.send(command_ack("cmd-1", "EXECUTING")).await;
    let _ = scene.status("cmd-1", "running").await;
    scene.back("run-1", &[]).await;
    let lost = scene.status("cmd-1", "unknown").await;
    assert_eq!(lost["because"], "the agent is back and no longer knows it");
}

#[tokio::test]
async fn a_new_process_ends_what_the_old_one_had_and_is_told_what_is_over() {
    let mut scene = Scene::new().await;
    let _ = scene.order("cmd-1").await;
    scene.agent.send(command_ack("cmd-1", "EXECUTING")).await;
    let _ = scene.status("cmd-1", "running").await;
    let _ = scene.order("cmd-over").await;
    scene.agent.send(command_complete("cmd-over", "COMPLETED", 0)).await;
    let _ = scene.agent.expect_that("ACK", |a| a["commandId"] == "cmd-over").await;
    scene.back("run-2", &["cmd-over"]).await;
    let order = scene.agent.expect("COMMAND_CANCEL").await;
    assert_eq!((&order["commandId"], &order["force"]), (&json!("cmd-over"), &json!(true)));
    let lost = scene.status("cmd-1", "unknown").await;
    assert!(lost["because"].as_str().unwrap().contains("is gone"), "{lost}");
    scene.agent.send(command_complete("cmd-over", "COMPLETED", 0)).await;
    let _ = scene.agent.expect_that("ACK", |a| a["commandId"] == "cmd-over").await;
}

#[tokio::test]
async fn a_command_that_the_database_does_not_have_is_adopted_and_not_cancelled() {
    let mut scene = Scene::new().await;
    scene.back("run-1", &["cmd-not-known"]).await;
    let adopted = scene.status("cmd-not-known", "delivered").await;
    assert!(adopted["because"].as_str().unwrap().starts_with("adopted"), "{adopted}");
    scene.agent.send(command_ack("cmd-not-known", "EXECUTING")).await;
    let _ = scene.status("cmd-not-known", "running").await;
    scene.agent.send(chunk(1, 0, "tail\n").text().replace("cmd-1", "cmd-not-known")).await;
    let acknowledged = |ack: &Value| ack["commandId"] == "cmd-not-known";
    let _ = scene.agent.expect_that("OUTPUT_ACK", acknowledged).await;
    scene.agent.send(command_complete("cmd-not-known", "COMPLETED", 0)).await;
    let _ = scene.status("cmd-not-known", "completed").await;
    let _ = scene.agent.expect_that("ACK", acknowledged).await;
    let said = scene.agent.all_until_pong().await;
    assert!(said.iter().all(|message| message["type"] != "COMMAND_CANCEL"), "{said:?}");
}

#[tokio::test]
async fn an_agent_cannot_speak_for_the_command_of_another_agent() {
    let mut scene = Scene::new().await;
    let _ = scene.order("cmd-1").await;
    let (mut other, _) = agent(&scene.world, "ann", "key-2", "run-9").await;
    other.send(command_ack("cmd-1", "EXECUTING")).await;
    other.send(chunk(1, 0, "not mine\n").text()).await;
    other.send(command_complete("cmd-1", "COMPLETED", 0)).await;
    let _ = other.all_until_pong().await;
    scene.agent.send(command_ack("cmd-1", "QUEUED")).await;
    let delivered = scene.status("cmd-1", "delivered").await;
    assert_eq!(delivered["because"], "acknowledged by the agent");
    scene.agent.send(chunk(1, 0, "mine\n").text()).await;
    scene.agent.send(command_complete("cmd-1", "COMPLETED", 0)).await;
    let shown = scene.shown_until_end("cmd-1").await;
    assert_eq!(shown.len(), 1, "{shown:#?}");
    assert_eq!((&shown[0]["content"], &shown[0]["agentId"]), (&json!("mine\n"), &json!(scene.id)));
}

#[tokio::test]
async fn a_command_that_is_over_is_shown_and_not_run_again() {
    let mut scene = Scene::new().await;
    let _ = scene.order("cmd-1").await;
    scene.agent.send(command_complete("cmd-1", "COMPLETED", 0)).await;
    let _ = scene.status("cmd-1", "completed").await;
    let _ = scene.agent.expect_that("ACK", |a| a["commandId"] == "cmd-1").await;
    scene.dashboard.send(page_command("cmd-1", &scene.id, "work", &[])).await;
    let _ = scene.dashboard.expect_that("ACK", |a| a["commandId"] == "cmd-1").await;
    let again = scene.agent.all_within(Duration::from_millis(200)).await;
    assert!(again.iter().all(|m| m["type"] != "COMMAND_REQUEST"), "{again:#?}");

    // Nor is it refused, as if it had not run, because its agent takes no other now.
    scene.agent.close(Some(4103)).await;
    let _ = scene.world.agent_is("ann", "offline").await;
    scene.dashboard.send(page_command("cmd-1", &scene.id, "work", &[])).await;
    let answer = loop {
        let next = scene.dashboard.next().await;
        if next["type"] == "ACK" || next["type"] == "ERROR" {
            break next;
        }
    };
    assert_eq!(
        (&answer["type"], &answer["payload"]["commandId"]),
        (&json!("ACK"), &json!("cmd-1"))
    );
}

#[tokio::test]
async fn control_and_emergency_stop_reach_the_agent() {
    let mut scene = Scene::new().await;
    let _ = scene.order("cmd-1").await;
    let control = r#"{"type":"AGENT_CONTROL","id":"m1","timestamp":1,"payload":{"agentId":"ID","action":"pause"}}"#;
    scene.dashboard.send(control.replace("ID", &scene.id)).await;
    assert_eq!(scene.agent.expect("AGENT_CONTROL").await["action"], "PAUSE");
    let _ = scene.dashboard.expect_that("ACK", |a| a["messageId"] == "m1").await;
    scene.dashboard.send(control.replace("ID", &scene.id).replace("pause", "dance")).await;
    assert_eq!(scene.dashboard.expect("ERROR").await["code"], "NOT_SUPPORTED");

    scene.dashboard.send(r#"{"type":"EMERGENCY_STOP","id":"m2","timestamp":1,"payload":{"reason":"User triggered","force":true}}"#).await;
    assert_eq!(scene.agent.expect("COMMAND_CANCEL").await["force"], true);
    let stop = scene.agent.expect("EMERGENCY_STOP").await;
    assert_eq!((&stop["reason"], &stop["triggeredBy"]), (&json!("User triggered"), &json!("ann")));
    assert!(stop["timestamp"].as_i64().unwrap() > 1_762_080_000_000);
    assert_eq!(
        scene.dashboard.expect_that("ACK", |a| a["messageId"] == "m2").await["success"],
        true
    );
}
