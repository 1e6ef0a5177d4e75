//! `exec` beyond one command in the foreground.

use super::Desk;
use serde_json::Value;

#[tokio::test]
async fn a_directory_and_variables_go_with_a_command() {
    let desk = Desk::of_ann().await;
    let _agent = desk.agent("mine", 0).await;
    let exec = ["exec", "mine", "--cwd", "/srv", "--env", "A=1", "--env", "B=", "--", "make"];
    let said = desk.run(&exec).await;
    assert_eq!((said.code, said.out.as_str()), (Some(0), "ran make\nin /srv with 2\nrest"));
    assert_eq!(said.err, "to stderr\n");
}

#[tokio::test]
async fn several_agents_are_told_apart_and_the_largest_code_counts() {
    let desk = Desk::of_ann().await;
    for (name, code) in [("build-1", 0), ("build-22", 3), ("other", 7)] {
        drop(desk.agent(name, code).await);
    }
    let said = desk.run(&["exec", "--match", "build-*", "--", "make"]).await;
    assert_eq!(said.code, Some(3), "{said:?}");
    let mut lines: Vec<_> = said.out.lines().collect();
    lines.sort_unstable();
    let expected = [
        "build-1  | in - with 0",
        "build-1  | ran make",
        "build-1  | rest",
        "build-22 | in - with 0",
        "build-22 | ran make",
        "build-22 | rest",
    ];
    assert_eq!(lines, expected);
    assert!(said.err.contains("build-22 | to stderr"), "{said:?}");
    assert!(said.err.contains("onsembl: build-22: exit code 3"), "{said:?}");
    let all = desk.run(&["exec", "--all", "-o", "json", "--", "make"]).await;
    assert_eq!(all.code, Some(7), "{all:?}");
    let all: Value = serde_json::from_str(&all.out).unwrap();
    assert_eq!(all["total"], 3);
    let results = all["results"].as_array().unwrap();
    assert!(results.iter().all(|r| r["outcome"] == "exited" && r["stderr"] == "to stderr\n"));
    let none = desk.run(&["exec", "--match", "nobody*", "--", "make"]).await;
    assert!(none.code == Some(125) && none.err.contains("onsembl agents"), "{none:?}");
    let unnamed = desk.run(&["exec", "--", "make"]).await;
    assert!(unnamed.code == Some(2) && unnamed.err.contains("--all"), "{unnamed:?}");
}

#[tokio::test]
async fn a_command_that_is_left_goes_on_and_is_found_again() {
    let desk = Desk::of_ann().await;
    let _agent = desk.agent("mine", 0).await;
    let id = desk.run(&["exec", "mine", "--detach", "--", "wait"]).await.ok();
    assert!(id.starts_with("cmd-") && id.lines().count() == 1, "{id}");
    let detail = desk.run(&["commands", id.trim(), "-o", "json"]).await.json();
    assert!(["queued", "delivered", "running"].contains(&detail["status"].as_str().unwrap()));
    let json = desk.run(&["exec", "mine", "--detach", "--json", "--", "make"]).await.json();
    assert_eq!((&json["outcome"], &json["exit_code"]), (&"detached".into(), &Value::Null));
}

#[tokio::test]
async fn events_are_objects_and_the_last_one_says_how_it_ended() {
    let desk = Desk::of_ann().await;
    let _agent = desk.agent("mine", 5).await;
    let said = desk.run(&["exec", "mine", "-o", "jsonl", "--", "make"]).await;
    assert_eq!(said.code, Some(5), "{said:?}");
    let events: Vec<Value> =
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts: Vec<_> = events.iter().filter_map(|event| event["text"].as_str()).collect();
    for text in ["ran make", "in - with 0", "rest", "to stderr"] {
        assert!(texts.contains(&text), "{text}: {texts:?}");
    }
    let end = events.last().unwrap();
    assert_eq!((&end["event"], &end["exit_code"]), (&"end".into(), &5.into()));
}

#[tokio::test]
async fn a_limit_is_given_only_on_demand_and_a_wait_is_said_unless_quiet() {
    let desk = Desk::of_ann().await;
    let _agent = desk.agent("mine", 0).await;
    let said = desk.run(&["exec", "mine", "--timeout", "2s", "--", "wait"]).await;
    assert_eq!(said.code, Some(124), "{said:?}");
    let away = ["exec", "ghost", "--", "make"];
    let said = desk.run(&away).await;
    assert!(said.code == Some(125) && said.err.contains("ghost"), "{said:?}");
}
