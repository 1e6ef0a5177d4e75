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
    for name in ["one", "two"] {
        desk.agent(name, 0).await.abort();
    }
    let said = desk.run(&["forget", "one"]).await.ok();
    assert!(said.contains("forgot one"), "{said}");
    assert_eq!(desk.run(&["agents", "-o", "name"]).await.ok(), "two\n");
    assert_eq!(desk.run(&["forget", "one"]).await.code, Some(1));
}
