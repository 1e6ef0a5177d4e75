//! Short ids, names that several have, and `forget`.

use super::Desk;

#[tokio::test]
async fn an_id_may_be_short_everywhere_and_ambiguity_lists_candidates() {
    let desk = Desk::of_ann().await;
    let _agent = desk.agent("mine", 0).await;
    let agents = desk.run(&["agents", "-o", "json"]).await.json();
    let agent = agents["agents"][0]["agent_id"].as_str().unwrap().to_owned();
    let _ = desk.run(&["exec", &agent[..8], "--", "make"]).await.ok();
    let _ = desk.run(&["exec", "mine", "--", "test"]).await.ok();
    let ids = desk.run(&["commands", "-o", "name"]).await.ok();
    let ids: Vec<&str> = ids.lines().collect();
    let end = &ids[0][ids[0].len() - 8..];
    let whole = desk.run(&["commands", end, "-o", "name"]).await.ok();
    assert_eq!(whole.trim(), ids[0]);
    let output = desk.run(&["output", end]).await;
    assert_eq!(output.ok(), "ran test\nin - with 0\nrest");
    let why = desk.run(&["why", end]).await.ok();
    assert!(why.contains(ids[0]), "{why}");
    let said = desk.run(&["output", "cmd-"]).await;
    assert!(said.code == Some(1) && ids.iter().all(|id| said.err.contains(id)), "{said:?}");
    let said = desk.run(&["cancel", "no-such-command"]).await;
    assert!(said.code == Some(1) && said.err.contains("onsembl commands"), "{said:?}");
    let table = desk.run(&["commands"]).await.ok();
    assert!(table.contains(end) && !table.contains(ids[0]), "{table}");
    assert!(desk.run(&["commands", "-o", "wide"]).await.ok().contains(ids[0]));
}

#[tokio::test]
async fn an_agent_that_is_forgotten_is_not_listed_any_more() {
    let desk = Desk::of_ann().await;
    let _one = desk.agent("one", 0).await;
    let _two = desk.agent("two", 0).await;
    let said = desk.run(&["forget", "one"]).await;
    assert!(said.code == Some(1) && said.err.contains("\"one\" is online"), "{said:?}");
    assert!(said.err.contains("--force"), "{said:?}");
    assert_eq!(desk.run(&["agents", "-o", "name"]).await.ok().lines().count(), 2);
    let said = desk.run(&["forget", "one", "--force"]).await.ok();
    assert!(said.contains("forgot one"), "{said}");
    assert_eq!(desk.run(&["agents", "-o", "name"]).await.ok(), "two\n");
    assert_eq!(desk.run(&["forget", "one"]).await.code, Some(1));
}

/// A client of an earlier version does not say, and means any agent.
#[tokio::test]
async fn over_http_a_deletion_is_of_any_agent_unless_it_says_otherwise() {
    let desk = Desk::of_ann().await;
    let _agent = desk.agent("one", 0).await;
    let id = desk.world.agents("ann").await[0]["agent_id"].as_str().unwrap().to_owned();
    let refused = desk.world.delete(&format!("/api/agents/{id}?force=false"), "ann").await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert_eq!(desk.world.delete(&format!("/api/agents/{id}"), "ann").await.status, 204);
    assert!(desk.world.agents("ann").await.is_empty());
}

#[tokio::test]
async fn an_agent_that_is_offline_is_forgotten_without_force() {
    let desk = Desk::of_ann().await;
    let mut link = desk.world.agent_link("ann").await;
    link.send(crate::frames::extended_hello("key-1", "run-1", &[])).await;
    let _ = link.expect("ACK").await;
    // It says that it was stopped, and is not awaited.
    link.close(Some(4103)).await;
    let begin = std::time::Instant::now();
    while desk.world.agents("ann").await[0]["status"] != "offline" {
        assert!(begin.elapsed() < crate::fixture::PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let said = desk.run(&["forget", "name of key-1"]).await.ok();
    assert!(said.contains("forgot name of key-1"), "{said}");
}
