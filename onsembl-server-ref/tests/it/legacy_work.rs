//! The existing wrapper at work: commands it types into its child, output it sends back.

use crate::fixture::World;
use crate::frames::{cancel, dashboard_hello, page_command, wrapper_output};
use crate::legacy_agent::wrapper;
use crate::peer::Peer;
use serde_json::{Value, json};

/// A wrapper and a legacy dashboard of the same user.
async fn pair(world: &World) -> (Peer, String, Peer) {
    let (link, id) = wrapper(world, "ann", "mock-1").await;
    let mut dashboard = world.dashboard_link("ann").await;
    dashboard.send(dashboard_hello("ann")).await;
    let _ = dashboard.expect("ACK").await;
    (link, id, dashboard)
}

async fn status(dashboard: &mut Peer, command: &str, status: &str) -> Value {
    let wanted = |s: &Value| s["commandId"] == command && s["status"] == status;
    dashboard.expect_that("COMMAND_STATUS", wanted).await
}

#[tokio::test]
async fn a_command_comes_under_both_names_with_its_arguments_in_the_text() {
    let world = World::start().await;
    let (mut link, id, mut dashboard) = pair(&world).await;
    dashboard.send(page_command("cmd-1", &id, "ls", &["-l", "/tmp"])).await;
    let command = link.expect("COMMAND_REQUEST").await;
    assert_eq!(command["command"], "ls -l /tmp");
    assert_eq!(command["content"], "ls -l /tmp");
    assert_eq!(command["args"], json!([]));
    assert_eq!(command["commandId"], "cmd-1");
    assert_eq!(command["type"], "NATURAL");
    assert_eq!(command["priority"], 5);
    assert_eq!(command["executionConstraints"]["timeLimitMs"], 300_000);
}

/// A wrapper reads both and obeys neither, so a command that needs them would do something else.
#[tokio::test]
async fn what_it_would_not_obey_is_refused_and_not_sent() {
    let world = World::start().await;
    let (mut link, id, mut dashboard) = pair(&world).await;
    let plain = page_command("cmd-1", &id, "ls", &[]);
    for wish in [r#""env":{"A":"b"}"#, r#""env":{},"workingDirectory":"/srv""#] {
        dashboard.send(plain.replace(r#""env":{}"#, wish)).await;
        let error = dashboard.expect("ERROR").await;
        assert_eq!(error["code"], "NOT_SUPPORTED");
        assert_eq!(error["context"]["commandId"], "cmd-1");
    }
    let all = link.all_until_pong().await;
    assert!(all.iter().all(|m| m["type"] != "COMMAND_REQUEST"), "{all:#?}");
    dashboard.send(plain).await;
    assert_eq!(link.expect("COMMAND_REQUEST").await["command"], "ls");
}

#[tokio::test]
async fn the_same_command_is_never_sent_twice() {
    let world = World::start().await;
    let (mut link, id, mut dashboard) = pair(&world).await;
    for _ in 0..3 {
        dashboard.send(page_command("cmd-1", &id, "rm x", &[])).await;
    }
    for _ in 0..3 {
        assert_eq!(dashboard.expect("ACK").await["commandId"], "cmd-1");
    }
    let all = link.all_until_pong().await;
    let sent = all.iter().filter(|m| m["type"] == "COMMAND_REQUEST").count();
    assert_eq!(sent, 1, "{all:#?}");
}

#[tokio::test]
async fn its_statuses_are_made_up_for_it_honestly() {
    let world = World::start().await;
    let (mut link, id, mut dashboard) = pair(&world).await;
    dashboard.send(page_command("cmd-1", &id, "first", &[])).await;
    let _ = link.expect("COMMAND_REQUEST").await;
    let running = status(&mut dashboard, "cmd-1", "running").await;
    assert!(running["because"].as_str().unwrap().contains("legacy agent"), "{running}");

    dashboard.send(page_command("cmd-2", &id, "second", &[])).await;
    let over = status(&mut dashboard, "cmd-1", "completed").await;
    assert!(over["because"].as_str().unwrap().contains("next command"), "{over}");
    let _ = status(&mut dashboard, "cmd-2", "running").await;
    world.stored_when("SELECT status FROM commands WHERE command_id = 'cmd-1'", "unknown").await;
}

#[tokio::test]
async fn a_cancel_is_sent_on_and_said_to_be_unconfirmed() {
    let world = World::start().await;
    let (mut link, id, mut dashboard) = pair(&world).await;
    dashboard.send(page_command("cmd-1", &id, "sleep 1000", &[])).await;
    let _ = status(&mut dashboard, "cmd-1", "running").await;
    dashboard.send(cancel("cmd-1")).await;
    assert_eq!(link.expect("COMMAND_CANCEL").await["commandId"], "cmd-1");
    let after = status(&mut dashboard, "cmd-1", "running").await;
    assert!(after["because"].as_str().unwrap().starts_with("cancel not confirmed"), "{after}");
}

#[tokio::test]
async fn output_of_a_command_of_no_command_and_of_an_unknown_one_is_shown_where_it_belongs() {
    let world = World::start().await;
    let (mut link, id, mut dashboard) = pair(&world).await;
    dashboard.send(page_command("cmd-1", &id, "work", &[])).await;
    let _ = link.expect("COMMAND_REQUEST").await;
    let own_tab = format!("agent-session-{id}");
    let cases = [
        ("mock-1", own_tab.as_str(), "under its first id"),
        (id.as_str(), own_tab.as_str(), "under the id it was taught"),
        ("cmd-1", "cmd-1", "of a command"),
        ("cmd-from-elsewhere", "cmd-from-elsewhere", "of what nobody knows"),
    ];
    for (sent_as, shown_as, line) in cases {
        link.send(wrapper_output(sent_as, &id, 1, &format!("{line}\n"))).await;
        let shown = dashboard.expect("TERMINAL_STREAM").await;
        assert_eq!(shown["commandId"], shown_as);
        if shown_as != own_tab {
            let copy = dashboard.expect("TERMINAL_STREAM").await;
            assert_eq!((&copy["commandId"], &copy["content"]), (&json!(own_tab), &json!([line])));
        }
        assert_eq!(shown["agentId"], id);
        assert_eq!(shown["content"], json!([line]));
    }
    let stored = "SELECT CAST(bytes AS TEXT) FROM output_records WHERE command_id = 'cmd-1'";
    world.stored_when(stored, "of a command\n").await;
    // What belongs to no command is kept too: who comes late sees it where it belongs.
    let stored = "SELECT group_concat(CAST(bytes AS TEXT), '') FROM output_records
                  WHERE command_id LIKE 'terminal-%'";
    world.stored_when(stored, "under its first id\nunder the id it was taught\n").await;
    let mut late = world.dashboard_link("ann").await;
    late.send(dashboard_hello("ann")).await;
    let mut shown = Vec::new();
    while shown.len() < 3 {
        let heard = late.expect("TERMINAL_STREAM").await;
        if heard["commandId"] == own_tab.as_str() {
            shown.extend(heard["content"].as_array().unwrap().clone());
        }
    }
    // Beside it is what its command wrote.
    shown.retain(|line| *line != json!("of a command"));
    assert_eq!(shown, ["under its first id", "under the id it was taught"]);
    drop(link);
}

#[tokio::test]
async fn a_raw_chunk_beside_the_stripped_one_is_shown_once() {
    let world = World::start().await;
    let (mut link, id, mut dashboard) = pair(&world).await;
    link.send(format!(
        r#"{{"type":"TERMINAL_OUTPUT","id":"{id}-1","timestamp":1762080001000,"payload":{{"commandId":"{id}","agentId":"{id}","streamType":"STDOUT","content":"red\nend\n","sequence":1,"ansiCodes":"\u001b[31mred\u001b[0m\nend\n"}}}}"#
    ))
    .await;
    for line in ["red", "end"] {
        let shown = dashboard.expect("TERMINAL_STREAM").await;
        assert_eq!(shown["content"], json!([line]));
        assert!(shown.get("ansiCodes").is_none());
    }
}

#[tokio::test]
async fn a_command_survives_a_lost_link_and_its_output_goes_on_under_its_id() {
    let world = World::start().await;
    let (mut link, id, mut dashboard) = pair(&world).await;
    dashboard.send(page_command("cmd-1", &id, "work", &[])).await;
    let _ = link.expect("COMMAND_REQUEST").await;
    link.send(wrapper_output("cmd-1", &id, 1, "before\n")).await;
    assert_eq!(dashboard.expect("TERMINAL_STREAM").await["content"], json!(["before"]));
    link.close(Some(4000)).await;
    let lost = |s: &Value| s["because"].as_str().is_some_and(|b| b.contains("link"));
    assert_eq!(dashboard.expect_that("COMMAND_STATUS", lost).await["status"], "running");

    let (mut link, same) = wrapper(&world, "ann", &id).await;
    assert_eq!(same, id);
    link.send(wrapper_output("cmd-1", &id, 2, "after\n")).await;
    let new = |s: &Value| s["content"] == json!(["after"]);
    let _ = dashboard.expect_that("TERMINAL_STREAM", new).await;
    assert!(link.all_until_pong().await.iter().all(|m| m["type"] != "COMMAND_REQUEST"));
}

/// Wrappers of other ages name what they write beside their commands otherwise.
#[tokio::test]
async fn monitoring_output_is_stored_and_shown_under_each_of_its_names() {
    let world = World::start().await;
    let (mut link, id, mut dashboard) = pair(&world).await;
    let tab = format!("agent-session-{id}");
    for named in ["agent-session-mock-1", tab.as_str(), "agent-output", "mock-1"] {
        link.send(wrapper_output(named, "mock-1", 1, &format!("as {named}\n"))).await;
        let wanted = |s: &Value| s["content"] == json!([format!("as {named}")]);
        let shown = dashboard.expect_that("TERMINAL_STREAM", wanted).await;
        assert_eq!(shown["commandId"], tab.as_str(), "{named}");
    }
    let stored =
        "SELECT CAST(count(*) AS TEXT) FROM output_records WHERE command_id LIKE 'terminal-%'";
    world.stored_when(stored, "4").await;
}

/// It drops what it writes while it has no link.
#[tokio::test]
async fn a_lost_link_leaves_a_gap_in_what_its_open_commands_wrote() {
    let mut world = World::start().await;
    let (mut link, id, mut dashboard) = pair(&world).await;
    dashboard.send(page_command("cmd-1", &id, "work", &[])).await;
    let _ = link.expect("COMMAND_REQUEST").await;
    link.send(wrapper_output("cmd-1", &id, 1, "before\n")).await;
    let _ = dashboard.expect("TERMINAL_STREAM").await;
    // One that takes over while the link is good has lost nothing.
    let (taken_over, _) = wrapper(&world, "ann", &id).await;
    let story = "SELECT group_concat(coalesce(CAST(bytes AS TEXT), '[' || coalesce(gap_length, 'some') || ']' || char(10)), '')
                 FROM (SELECT * FROM output_records WHERE command_id = 'cmd-1' ORDER BY incarnation, sequence)";
    world.stored_when(story, "before\n").await;
    drop(link);
    drop(taken_over);
    world.stored_when(story, "before\n[some]\n").await;
    let (mut link, _) = wrapper(&world, "ann", &id).await;
    link.send(wrapper_output("cmd-1", &id, 2, "after\n")).await;
    world.stored_when(story, "before\n[some]\nafter\n").await;
    let notice = |s: &Value| s["content"][0].as_str().is_some_and(|t| t.contains("may be missing"));
    let _ = dashboard.expect_that("TERMINAL_STREAM", notice).await;
    // So has the server after a restart.
    world.restart_heard_by(&mut [&mut link, &mut dashboard]).await;
    let (mut link, _) = wrapper(&world, "ann", &id).await;
    link.send(wrapper_output("cmd-1", &id, 3, "again\n")).await;
    world.stored_when(story, "before\n[some]\nafter\n[some]\nagain\n").await;
}

#[tokio::test]
async fn a_stop_says_of_its_commands_only_that_they_were_told() {
    let world = World::start().await;
    let (mut link, id, mut dashboard) = pair(&world).await;
    dashboard.send(page_command("cmd-1", &id, "sleep 1000", &[])).await;
    let _ = link.expect("COMMAND_REQUEST").await;
    let token = world.token("ann", onsembl_server_ref::auth::TokenKind::Dashboard);
    let stop = crate::peer::Request::new("POST", "/api/stop").bearer(Some(&token));
    let report = stop.body(r#"{"all":true}"#).send(world.address()).await.json();
    assert_eq!((&report["commands"], &report["notified"]), (&json!(0), &json!(1)), "{report}");
    assert_eq!(report["agents"][0]["state"], "not-confirmed");
}
